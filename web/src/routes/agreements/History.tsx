import { Modal, Stack, Text, Timeline } from "@mantine/core";

import { answer, api } from "../../api/client";
import { problemOf } from "../../api/problem";
import type { Agreement, AgreementEvent } from "../../api/types";
import { usePaged } from "../../parts/paged";
import { ProblemNote } from "../../parts/ProblemNote";
import { Time } from "../../parts/Time";
import { standpoint } from "./standpoint";
import { termsText } from "./terms";

const DONE: Record<AgreementEvent["action"], string> = {
  propose: "proposed it",
  declare: "declared it",
  counter: "offered other terms",
  accept: "accepted",
  refuse: "refused",
  suspend: "suspended it",
  resume: "resumed it",
  end: "ended it",
};

const DIRECTION: Record<Agreement["direction"], (agreement: Agreement) => string> = {
  both: () => "each may call the other",
  to_accepting: ({ proposing_member, accepting_member }) =>
    `${proposing_member.display_name} may call ${accepting_member.display_name}`,
  to_proposing: ({ proposing_member, accepting_member }) =>
    `${accepting_member.display_name} may call ${proposing_member.display_name}`,
};

/** What was done about an agreement, the last first, with each version of its terms. */
export function History({ agreement, memberId, onDone }: { agreement: Agreement; memberId: string; onDone: () => void }) {
  const { agreement_id, version, state } = agreement;
  const list = usePaged({
    key: ["agreements", memberId, agreement_id, "history", state, version],
    fetch: (cursor) =>
      answer(
        api.GET("/api/v1/members/{member_id}/agreements/{agreement_id}/history", {
          params: { path: { member_id: memberId, agreement_id }, query: { ...(cursor && { cursor }) } },
        }),
      ),
  });
  return (
    <Modal opened onClose={onDone} title={`Agreement with ${standpoint(agreement, memberId).other.display_name}`}>
      {list.error ? <ProblemNote problem={problemOf(list.error)} /> : null}
      <Timeline bulletSize={14} lineWidth={2} aria-label="History">
        {(list.items ?? []).map((event) => (
          <Timeline.Item
            key={`${event.at} ${event.action} ${event.version}`}
            title={`${event.member?.display_name ?? "The operator"} ${DONE[event.action]}`}
          >
            <Text size="xs" className="quiet">
              <Time full>{event.at}</Time>
            </Text>
            {event.terms && (
              <Stack gap={2} mt={4}>
                <Text size="sm">
                  Version {event.version}: {DIRECTION[event.terms.direction](agreement)}
                </Text>
                {termsText(event.terms, agreement.proposing_member.display_name, agreement.accepting_member.display_name).map((line) => (
                  <Text size="sm" key={line}>
                    {line}
                  </Text>
                ))}
                {event.terms.note && (
                  <Text size="sm" fs="italic">
                    {event.terms.note}
                  </Text>
                )}
              </Stack>
            )}
          </Timeline.Item>
        ))}
      </Timeline>
    </Modal>
  );
}
