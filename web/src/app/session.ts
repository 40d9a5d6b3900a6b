// Who is signed in: the operator, or a user of one member.
import { useQuery, useQueryClient, useMutation } from "@tanstack/react-query";

import { answer, api } from "../api/client";
import { problemOf } from "../api/problem";
import type { Session } from "../api/types";
import { SESSION } from "./queries";

/** The session, `null` where nobody is signed in, `undefined` until that is known. */
export function useSessionQuery() {
  return useQuery<Session | null>({
    queryKey: SESSION,
    queryFn: async () => {
      try {
        return await answer(api.GET("/api/v1/session"));
      } catch (thrown) {
        if (problemOf(thrown).status === 401) return null;
        throw thrown;
      }
    },
    staleTime: 60_000,
  });
}

/** The session of a page that is only shown to those who are signed in. */
export function useSession(): Session {
  const { data } = useSessionQuery();
  if (!data) throw new Error("the page is shown without a session");
  return data;
}

/** The member that the session acts for; pages of the operator name theirs in the URL. */
export function useOwnMember() {
  const { member } = useSession();
  if (!member) throw new Error("the page is shown without a member");
  return member;
}

export function useSignOut() {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: () => answer(api.DELETE("/api/v1/session")),
    onSuccess: () => {
      queries.clear();
      queries.setQueryData(SESSION, null);
    },
  });
}
