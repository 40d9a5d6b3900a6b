// The ladder of a traced call: a lane for each party, an arrow for each message, and the message that is chosen.
import { Badge, Button, CopyButton, Group, Loader, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useRef, useState, type KeyboardEvent } from "react";

import { answer, api } from "../../../api/client";
import { problemOf } from "../../../api/problem";
import type { Attempt, Call, LadderMessage } from "../../../api/types";
import { LIVE_MS } from "../../../app/queries";
import { Section } from "../../../parts/Page";
import { ProblemNote } from "../../../parts/ProblemNote";
import { TraceCalls } from "../../traces/Traces";
import { rowsOf, type Row } from "./ladder";

/** Rows that are shown before one asks for more. */
const PAGE = 100;

type Props = { call: Call; attempts: Attempt[]; memberId: string | null };

export function Ladder({ call, attempts, memberId }: Props) {
  const { data, error } = useQuery({
    queryKey: ["ladder", call.call_id, memberId],
    queryFn: () =>
      memberId
        ? answer(
            api.GET("/api/v1/members/{member_id}/calls/{call_id}/ladder", {
              params: { path: { member_id: memberId, call_id: call.call_id } },
            }),
          )
        : answer(api.GET("/api/v1/calls/{call_id}/ladder", { params: { path: { call_id: call.call_id } } })),
    // The last messages come a moment after the call is over.
    refetchInterval: () => (!call.ended_at || Date.now() - Date.parse(call.ended_at) < 60_000 ? LIVE_MS : false),
  });
  const mine = call.side ? ` The other member's leg is shown in outline.` : "";
  return (
    <Section
      title="Messages"
      lead={data?.traced ? `What was sent and received for this call, secrets masked.${mine}` : undefined}
      actions={memberId && <TraceCalls memberId={memberId} prefix={call.called} />}
    >
      {error && !data ? (
        <ProblemNote problem={problemOf(error)} />
      ) : !data ? (
        <Loader role="status" aria-label="Loading" />
      ) : data.messages.length === 0 ? (
        <Text size="sm" className="quiet">
          {data.traced
            ? "The messages of this call are on their way, or found no room."
            : "The messages of this call were not kept. Trace calls to see those of the next ones."}
        </Text>
      ) : (
        <Diagram messages={data.messages} dropped={data.dropped} call={call} attempts={attempts} />
      )}
    </Section>
  );
}

type DiagramProps = { messages: LadderMessage[]; dropped: number; call: Call; attempts: Attempt[] };

function Diagram({ messages, dropped, call, attempts }: DiagramProps) {
  const [shown, setShown] = useState(PAGE);
  const [chosen, setChosen] = useState<number | null>(null);
  const list = useRef<HTMLOListElement>(null);
  const rows = rowsOf(messages);
  const message = messages.find(({ position }) => position === chosen) ?? null;
  const toward = [...new Set(attempts.map(({ terminating_member }) => terminating_member.display_name))];

  function move(event: KeyboardEvent) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step || !(event.target instanceof HTMLElement)) return;
    const buttons = [...(list.current?.querySelectorAll<HTMLElement>(".ladder-row") ?? [])];
    const next = buttons[buttons.indexOf(event.target) + step];
    if (!next) return;
    event.preventDefault();
    next.focus();
  }

  return (
    <div className="ladder">
      <div className="ladder-diagram">
        <div className="ladder-lanes" aria-hidden>
          <span>s</span>
          <span>{call.originating_member.display_name}</span>
          <span>Exchange</span>
          <span>{toward.length === 1 ? toward[0] : toward.length > 1 ? "Terminating members" : "Nobody"}</span>
        </div>
        <ol ref={list} onKeyDown={move} aria-label="Messages in their order">
          {rows.slice(0, shown).map((row) => (
            <li key={row.message.position}>
              {row.attempt !== null && toward.length > 1 && (
                <div className="ladder-attempt">
                  Attempt {row.attempt}: {row.message.member.display_name}
                </div>
              )}
              <Rung row={row} chosen={row.message.position === chosen} onChoose={() => setChosen(row.message.position)} />
            </li>
          ))}
        </ol>
        {rows.length > shown && (
          <Button variant="default" size="xs" mt="xs" onClick={() => setShown(shown + PAGE)}>
            Show more of {rows.length} messages
          </Button>
        )}
        {dropped > 0 && (
          <Text size="sm" className="quiet" mt="xs">
            {dropped === 1 ? "One more message" : `${dropped} more messages`} found no room.
          </Text>
        )}
      </div>
      <div className="ladder-message" aria-live="polite">
        {message ? (
          <Chosen message={message} />
        ) : (
          <Text size="sm" className="quiet">
            Choose a message to read it. The arrow keys lead from one to the next.
          </Text>
        )}
      </div>
    </div>
  );
}

function Rung({ row, chosen, onChoose }: { row: Row; chosen: boolean; onChoose: () => void }) {
  const { message, label, offset, between, points } = row;
  const from = between === "left" ? message.member.display_name : "the exchange";
  const to = between === "left" ? "the exchange" : message.member.display_name;
  const [sender, receiver] = points === "right" ? [from, to] : [to, from];
  const again = message.again ? ", again" : "";
  return (
    <button
      type="button"
      className="ladder-row"
      aria-pressed={chosen}
      aria-label={`${label}${again}, from ${sender} to ${receiver}, after ${offset} seconds`}
      data-kind={message.status === null ? "request" : message.status < 200 ? "progress" : message.status < 300 ? "success" : "failure"}
      data-again={message.again || undefined}
      onClick={onChoose}
    >
      <span className="ladder-time">{offset}</span>
      <span className="ladder-arrow" data-between={between} data-points={points}>
        <span className="ladder-label">
          {label}
          {message.has_session && <small>SDP</small>}
          {message.again && <small>again</small>}
        </span>
      </span>
    </button>
  );
}

function Chosen({ message }: { message: LadderMessage }) {
  const way = message.direction === "received" ? [message.member_address, message.hub_address] : [message.hub_address, message.member_address];
  return (
    <>
      <Group justify="space-between" mb="xs" gap="xs">
        <Text size="sm" className="figures">
          {message.whole ? `${way[0]} → ${way[1]}, ${message.transport?.toUpperCase()}` : message.member.display_name}
        </Text>
        {!message.whole && <Badge color="gray">outline</Badge>}
        {message.whole && (
          <CopyButton value={message.text}>
            {({ copied, copy }) => (
              <Button variant="default" size="compact-xs" onClick={copy}>
                {copied ? "Copied" : "Copy"}
              </Button>
            )}
          </CopyButton>
        )}
      </Group>
      {/* Whatever a message holds is text here, never markup. */}
      <pre tabIndex={0} aria-label="The message">
        {message.text}
      </pre>
      {!message.whole && (
        <Text size="xs" className="quiet" mt="xs">
          Addresses, Call-IDs and bodies of the other member&apos;s leg are not shown.
        </Text>
      )}
    </>
  );
}
