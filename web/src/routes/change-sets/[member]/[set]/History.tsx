// How far a change set has come, and who brought it there.
import { Group, Text } from "@mantine/core";

import type { ChangeSet } from "../../../../api/types";
import { useReason } from "../../../../parts/reasons";
import { ChangeSetBadge } from "../../../../parts/State";
import { Time } from "../../../../parts/Time";

export function History({ set }: { set: ChangeSet }) {
  const failure = useReason(set.failure);
  const steps: [string, string | null | undefined][] = [
    ["written", set.created_at],
    ["planned", set.plan?.planned_at],
    [`approved by ${set.approved_by ?? ""}`, set.approved_at],
    [set.state === "scheduled" ? "takes effect" : "was to take effect", set.state === "applied" ? null : set.apply_at],
    ["applied", set.applied_at],
    ["rolled back", set.rolled_back_at],
    [set.state === "failed" ? "failed" : "cancelled", set.ended_at],
  ];
  return (
    <div>
      <Group gap="md">
        <ChangeSetBadge set={set} />
        {steps.map(
          ([step, at]) =>
            at && (
              <Text key={step} size="sm" component="span">
                {step} <Time>{at}</Time>
              </Text>
            ),
        )}
      </Group>
      {failure && (
        <Text size="sm" c="red" mt="xs">
          {failure.sentence} {failure.remedy}
        </Text>
      )}
    </div>
  );
}
