import { useQuery } from "@tanstack/react-query";

import { answer, api } from "../api/client";

/** Names of the sites of the exchange, for a choice among them. */
export function useSites(): string[] {
  const connect = useQuery({ queryKey: ["connect"], staleTime: 30_000, queryFn: () => answer(api.GET("/api/v1/connect")) });
  const names = new Set(connect.data?.listeners.map(({ site }) => site));
  return [...names].sort();
}
