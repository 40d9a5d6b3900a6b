// How requests behave everywhere: what is tried again, and what happens when the session has ended.
import { MutationCache, QueryCache, QueryClient } from "@tanstack/react-query";

import { problemOf } from "../api/problem";

export const SESSION = ["session"] as const;

/** How often live figures are asked for again, in milliseconds. */
export const LIVE_MS = 3000;

function onError(thrown: unknown) {
  if (problemOf(thrown).code === "unauthenticated") queries.setQueryData(SESSION, null);
}

export const queries = new QueryClient({
  queryCache: new QueryCache({ onError }),
  mutationCache: new MutationCache({ onError }),
  defaultOptions: {
    queries: {
      staleTime: 2000,
      // What the API refused stays refused; what did not arrive may arrive.
      retry: (failures, thrown) => {
        const { status } = problemOf(thrown);
        return failures < 2 && (status === 0 || status >= 500);
      },
    },
  },
});
