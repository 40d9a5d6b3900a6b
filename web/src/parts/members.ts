import { useQuery } from "@tanstack/react-query";

import { answer, api } from "../api/client";
import type { MemberItem } from "../api/types";

/** Most pages of members that a choice loads; 500 members each. */
const MAX_PAGES = 20;

/** The members of the exchange that the session may know, for a choice among them. */
export function useMembers() {
  return useQuery({
    queryKey: ["members", "choice"],
    staleTime: 30_000,
    queryFn: async () => {
      const members: MemberItem[] = [];
      let cursor: string | null = null;
      for (let page = 0; page < MAX_PAGES; page++) {
        const query: { limit: number; cursor?: string } = { limit: 500, ...(cursor && { cursor }) };
        const { items, next_cursor } = await answer(api.GET("/api/v1/members", { params: { query } }));
        members.push(...items);
        cursor = next_cursor;
        if (cursor === null) break;
      }
      return members.sort((one, other) => one.display_name.localeCompare(other.display_name));
    },
  });
}
