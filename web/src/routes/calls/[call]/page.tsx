import { Anchor, Group, Loader, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { Link, useParams, useSearchParams } from "react-router";

import { answer, api } from "../../../api/client";
import { problemOf } from "../../../api/problem";
import type { Attempt, Call } from "../../../api/types";
import { LIVE_MS } from "../../../app/queries";
import { useSession } from "../../../app/session";
import { groupsOf } from "../../../format/number";
import { causeOf } from "../../../format/cause";
import { length, milliseconds } from "../../../format/time";
import { Copyable } from "../../../parts/Copyable";
import { DataTable, Empty, type Column } from "../../../parts/DataTable";
import { E164 } from "../../../parts/E164";
import { Explanation } from "../../../parts/Explanation";
import { Page, Section } from "../../../parts/Page";
import { ProblemNote } from "../../../parts/ProblemNote";
import { useReason } from "../../../parts/reasons";
import { OutcomeBadge } from "../../../parts/State";
import { Time } from "../../../parts/Time";
import { Ladder } from "./Ladder";
import { SelectionCheck } from "./SelectionCheck";

export default function CallPage() {
  const { call: callId = "" } = useParams();
  const [search] = useSearchParams();
  const { member } = useSession();
  const memberId = member?.member_id ?? search.get("member");
  const { data, error } = useQuery({
    queryKey: ["call", callId, memberId],
    queryFn: () =>
      memberId
        ? answer(
            api.GET("/api/v1/members/{member_id}/calls/{call_id}", { params: { path: { member_id: memberId, call_id: callId } } }),
          )
        : answer(api.GET("/api/v1/calls/{call_id}", { params: { path: { call_id: callId } } })),
    // A call that is over does not change any more.
    refetchInterval: (query) => (query.state.data && !query.state.data.call.ended_at ? LIVE_MS : false),
  });

  if (!data) {
    return <Page title="Call">{error ? <ProblemNote problem={problemOf(error)} /> : <Loader role="status" aria-label="Loading" />}</Page>;
  }
  const { call, attempts, selection } = data;
  return (
    <Page
      title={`Call to ${groupsOf(call.called).join(" ")}`}
      lead={
        <Anchor component={Link} to="/calls" size="sm">
          All calls
        </Anchor>
      }
    >
      <Story call={call} />
      <Facts call={call} />
      <Section title="Attempts" lead={call.side === "terminating" ? "Those toward you." : "Each INVITE that the exchange sent for this call."}>
        <DataTable
          label="Attempts"
          columns={ATTEMPTS}
          list={{ items: attempts, error: null, page: 1, forward: null, back: null }}
          rowKey={({ position }) => String(position)}
          empty={<Empty title="No attempt">The exchange sent this call to nobody.</Empty>}
        />
      </Section>
      <Ladder call={call} attempts={attempts} memberId={memberId} />
      <Section title="Why it went there">
        {selection ? (
          <>
            <Explanation selection={selection} tense="then" />
            <SelectionCheck callId={callId} memberId={memberId} />
          </>
        ) : (
          <Text size="sm" className="quiet">
            The originating member sees how its route was chosen.
          </Text>
        )}
      </Section>
    </Page>
  );
}

/** What became of the call, in a line. */
function Story({ call }: { call: Call }) {
  const reason = useReason(call.reason);
  return (
    <Group gap="sm" align="baseline">
      <OutcomeBadge outcome={call.outcome} />
      <Text>
        {storyOf(call)} {reason?.sentence}
      </Text>
      {call.reason && (
        <Anchor component={Link} to={`/reasons/${call.reason}`} size="sm">
          About {call.reason}
        </Anchor>
      )}
    </Group>
  );
}

function storyOf(call: Call): string {
  if (!call.ended_at) return call.answered_at ? "The call was answered and is up." : "The call is being set up.";
  if (call.outcome === "answered") {
    const by = call.ended_by === "hub" ? "the exchange" : call.ended_by === "originating" ? call.originating_member.display_name : call.terminating_member?.display_name;
    const lasted = call.duration_ms === null ? "The call was answered" : `It lasted ${length(call.duration_ms)}`;
    return by ? `${lasted}; ${by} ended it.` : `${lasted}.`;
  }
  return call.status === null ? "It was not answered." : `It ended with ${call.status}.`;
}

function Facts({ call }: { call: Call }) {
  const facts: [string, ReactNode][] = [
    ["Calling number", <E164 key="calling">{call.calling}</E164>],
    ["Called number", <E164 key="called">{call.called}</E164>],
    ["Originating member", party(call.originating_member.display_name, call.originating_endpoint?.name)],
    ["Terminating member", call.terminating_member ? party(call.terminating_member.display_name, call.terminating_endpoint?.name) : "none"],
    ["Started", <Time key="started" full>{call.started_at}</Time>],
    ["Answered", call.answered_at && <Time key="answered" full>{call.answered_at}</Time>],
    ["Ended", call.ended_at && <Time key="ended" full>{call.ended_at}</Time>],
    ["Cause", causeOf(call)],
    ["Originating member last heard from", call.originating_heard_at && <Time key="originating-heard" full>{call.originating_heard_at}</Time>],
    ["Terminating member last heard from", call.terminating_heard_at && <Time key="terminating-heard" full>{call.terminating_heard_at}</Time>],
    ["Set-up time", call.setup_ms !== null && milliseconds(call.setup_ms)],
    ["Prefix", call.prefix && <E164 key="prefix">{call.prefix}</E164>],
    ["Call-ID", call.ingress_call_id && <Copyable key="call-id" text={call.ingress_call_id} label="the Call-ID" />],
    ["Id on the exchange", <Copyable key="id" text={call.call_id} label="the id of the call" />],
  ];
  return (
    <dl className="facts">
      {facts
        .filter(([, value]) => value !== null && value !== false)
        .map(([name, value]) => (
          <div key={name} style={{ display: "contents" }}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
    </dl>
  );
}

function party(member: string, endpoint: string | undefined): string {
  return endpoint ? `${member}, ${endpoint}` : member;
}

const ATTEMPTS: Column<Attempt>[] = [
  { header: "Attempt", cell: ({ position }) => <span className="figures">{position}</span> },
  {
    header: "To",
    cell: ({ terminating_member, endpoint, called }) => (
      <>
        {party(terminating_member.display_name, endpoint?.name)}
        {called && (
          <>
            , redirected to <E164>{called}</E164>
          </>
        )}
      </>
    ),
  },
  { header: "Sent", cell: ({ attempted_at }) => <Time>{attempted_at}</Time> },
  {
    header: "Took",
    align: "end",
    cell: ({ attempted_at, ended_at }) => (
      <span className="figures">{ended_at ? milliseconds(Date.parse(ended_at) - Date.parse(attempted_at)) : "pending"}</span>
    ),
  },
  { header: "Result", cell: (attempt) => <Result attempt={attempt} /> },
  { header: "Cause", cell: (attempt) => causeOf(attempt) },
  {
    header: "Call-ID",
    cell: ({ egress_call_id }) => (egress_call_id ? <Copyable text={egress_call_id} label="the Call-ID" /> : null),
  },
];

function Result({ attempt }: { attempt: Attempt }) {
  const reason = useReason(attempt.reason);
  return (
    <>
      <span className="figures">{attempt.status ?? ""}</span> {reason?.sentence ?? attempt.reason ?? ""}
    </>
  );
}
