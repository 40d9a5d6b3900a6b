// Lists of the API, one page at a time: the cursor of each page leads to the next.
import { keepPreviousData, useQuery, type QueryKey } from "@tanstack/react-query";
import { useState } from "react";

export type Page<Item> = { items: Item[]; next_cursor?: string | null };

/** What a table needs to show a list and move through it. */
export type Paged<Item> = {
  items: Item[] | undefined;
  error: unknown;
  /** 1 for the newest page. */
  page: number;
  forward: (() => void) | null;
  back: (() => void) | null;
};

type Options<Item> = {
  /** Names the list; a change of filters belongs in here, and begins at the newest page again. */
  key: QueryKey;
  fetch: (cursor: string | undefined) => Promise<Page<Item>>;
  /** Ask again this often, on the newest page only: older pages do not change. */
  liveMs?: number | false;
};

export function usePaged<Item>({ key, fetch, liveMs = false }: Options<Item>): Paged<Item> {
  const name = JSON.stringify(key);
  const [place, setPlace] = useState<{ name: string; cursors: string[] }>({ name, cursors: [] });
  const cursors = place.name === name ? place.cursors : [];
  const cursor = cursors.at(-1);
  const { data, error } = useQuery({
    queryKey: [...key, cursor ?? null],
    queryFn: () => fetch(cursor),
    placeholderData: keepPreviousData,
    refetchInterval: cursor === undefined ? liveMs : false,
  });
  const next = data?.next_cursor;
  return {
    items: data?.items,
    error,
    page: cursors.length + 1,
    forward: next ? () => setPlace({ name, cursors: [...cursors, next] }) : null,
    back: cursors.length > 0 ? () => setPlace({ name, cursors: cursors.slice(0, -1) }) : null,
  };
}
