import { Button } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";

import { answer, api } from "../../api/client";
import { problemOf } from "../../api/problem";
import type { Member, MemberState } from "../../api/types";
import { Confirm } from "../../parts/Confirm";

type Props = { member: Pick<Member, "member_id" | "display_name" | "name" | "state"> };

/** Approves or suspends a member (operator). */
export function ChangeState({ member }: Props) {
  const [asking, setAsking] = useState(false);
  const queries = useQueryClient();
  const change = useMutation({
    mutationFn: (state: MemberState) =>
      answer(api.PATCH("/api/v1/members/{member_id}", { params: { path: { member_id: member.member_id } }, body: { state } })),
    onSuccess: async (_, state) => {
      setAsking(false);
      await queries.invalidateQueries({ queryKey: ["members"] });
      notifications.show({ message: `${member.display_name} is ${state}.` });
    },
    onError: (thrown) => {
      if (asking) return;
      const { message, remedy } = problemOf(thrown);
      notifications.show({ color: "red", title: message, message: remedy });
    },
  });
  if (member.state !== "approved") {
    const verb = member.state === "suspended" ? "Approve again" : "Approve";
    return (
      <Button size="compact-xs" loading={change.isPending} onClick={() => change.mutate("approved")} aria-label={`${verb} ${member.name}`}>
        {verb}
      </Button>
    );
  }
  return (
    <>
      <Button size="compact-xs" variant="default" onClick={() => setAsking(true)} aria-label={`Suspend ${member.name}`}>
        Suspend
      </Button>
      <Confirm
        opened={asking}
        onClose={() => {
          setAsking(false);
          change.reset();
        }}
        title={`Suspend ${member.display_name}?`}
        action="Suspend"
        pending={change.isPending}
        error={change.error}
        onConfirm={() => change.mutate("suspended")}
      >
        New calls from it and to it are refused on every node from now on. Calls that are up go on. You can approve it again.
      </Confirm>
    </>
  );
}
