import { useQuery } from "@tanstack/react-query";

import { answer, api } from "../api/client";
import { sentence } from "../api/problem";
import type { Reason } from "../api/types";

/** The registry of reasons; it changes only with the hub itself. */
export function useReasons() {
  return useQuery({
    queryKey: ["reasons"],
    queryFn: async () => (await answer(api.GET("/api/v1/reasons"))).items,
    staleTime: Infinity,
  });
}

/** What a code means, as sentences. */
export function useReason(code: string | null | undefined): { sentence: string; remedy: string } | undefined {
  const { data } = useReasons();
  const found: Reason | undefined = data?.find((reason) => reason.code === code);
  return found && { sentence: sentence(found.sentence), remedy: found.remedy };
}
