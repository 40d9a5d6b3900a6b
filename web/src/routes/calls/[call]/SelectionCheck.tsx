// Makes the selection of a call again on the route table of its time, and says whether the same comes of it.
import { Button, Group, Text } from "@mantine/core";
import { useMutation } from "@tanstack/react-query";

import { answer, api } from "../../../api/client";
import { problemOf } from "../../../api/problem";
import type { SelectionCheck as Check } from "../../../api/types";
import { count } from "../../../format/time";
import { Explanation } from "../../../parts/Explanation";
import { ProblemNote } from "../../../parts/ProblemNote";

export function SelectionCheck({ callId, memberId }: { callId: string; memberId: string | null }) {
  const check = useMutation({
    mutationFn: () =>
      memberId
        ? answer(
            api.GET("/api/v1/members/{member_id}/calls/{call_id}/selection/verify", {
              params: { path: { member_id: memberId, call_id: callId } },
            }),
          )
        : answer(api.GET("/api/v1/calls/{call_id}/selection/verify", { params: { path: { call_id: callId } } })),
  });
  return (
    <>
      <Group mt="md" gap="sm">
        <Button variant="default" loading={check.isPending} onClick={() => check.mutate()}>
          Make it again
        </Button>
        {check.data && (
          <Text size="sm" data-testid="verdict">
            {said(check.data)}
          </Text>
        )}
      </Group>
      {check.error && <ProblemNote problem={problemOf(check.error)} />}
      {check.data?.made_again && <Explanation selection={check.data.made_again} tense="then" />}
    </>
  );
}

function said({ verdict, table_version, table_hash, found_hash }: Check): string {
  switch (verdict) {
    case "same":
      return `On route table ${count(table_version)}, hash ${table_hash?.slice(0, 12)}, the same comes of it.`;
    case "differs":
      return `On route table ${count(table_version)} something else comes of it: the record of the call is not what was decided.`;
    case "table_differs":
      return `Route table ${count(table_version)} had the hash ${table_hash?.slice(0, 12)}, and what is kept of it has ${found_hash?.slice(0, 12)}: the past of the exchange was changed.`;
    case "not_said":
      return "Nothing can be said: no route was looked for, or an earlier release did.";
  }
}
