import { Anchor, Button, Group, Select, Switch, Text, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link, useSearchParams } from "react-router";

import { answer, api } from "../../api/client";
import type { Call } from "../../api/types";
import { LIVE_MS } from "../../app/queries";
import { length, milliseconds } from "../../format/time";
import { DataTable, Empty, type Column } from "../../parts/DataTable";
import { E164 } from "../../parts/E164";
import { usePaged } from "../../parts/paged";
import { OutcomeBadge } from "../../parts/State";
import { Time } from "../../parts/Time";
import { filtersOf, OUTCOME_WORDS } from "./filters";

/** The calls of one member, or of the whole exchange where `memberId` is null (operator). */
export function Calls({ memberId }: { memberId: string | null }) {
  const [search, setSearch] = useSearchParams();
  const filters = filtersOf(search);
  const list = usePaged({
    key: ["calls", memberId, filters],
    liveMs: LIVE_MS,
    fetch: (cursor) => {
      const query = { ...filters, ...(cursor && { cursor }) };
      return memberId
        ? answer(api.GET("/api/v1/members/{member_id}/calls", { params: { path: { member_id: memberId }, query } }))
        : answer(api.GET("/api/v1/calls", { params: { query } }));
    },
  });

  function set(name: string, value: string) {
    setSearch(
      (now) => {
        const next = new URLSearchParams(now);
        if (value) next.set(name, value);
        else next.delete(name);
        return next;
      },
      { replace: true },
    );
  }
  const filtered = ["number", "outcome", "up", "from", "until"].some((name) => search.has(name));

  return (
    <div>
      <Group align="flex-end" gap="sm" mb="md">
        <TextInput
          label="Number begins with"
          placeholder="+44 20"
          w={170}
          value={search.get("number") ?? ""}
          onChange={(event) => set("number", event.currentTarget.value)}
        />
        <Select
          label="Outcome"
          w={170}
          value={search.get("outcome") ?? ""}
          onChange={(value) => set("outcome", value ?? "")}
          data={[{ value: "", label: "any" }, ...Object.entries(OUTCOME_WORDS).map(([value, label]) => ({ value, label }))]}
        />
        <TextInput
          label="From (UTC)"
          type="datetime-local"
          w={200}
          value={search.get("from") ?? ""}
          onChange={(event) => set("from", event.currentTarget.value)}
        />
        <TextInput
          label="Until (UTC)"
          type="datetime-local"
          w={200}
          value={search.get("until") ?? ""}
          onChange={(event) => set("until", event.currentTarget.value)}
        />
        <Switch
          label="Up now"
          mb={8}
          checked={filters.up === true}
          onChange={(event) => set("up", event.currentTarget.checked ? "true" : "")}
        />
        {filtered && (
          <Button variant="subtle" size="sm" onClick={() => setSearch(clearedOf(search), { replace: true })}>
            Clear
          </Button>
        )}
        <CallsUp memberId={memberId} />
      </Group>
      <DataTable
        label="Calls"
        columns={columnsOf(memberId)}
        list={list}
        rowKey={({ call_id }) => call_id}
        href={({ call_id }) => hrefOf(call_id, memberId)}
        empty={
          filtered ? (
            <Empty title="No call matches">Widen the filters, or clear them.</Empty>
          ) : (
            <Empty
              title="No call yet"
              action={
                <Button component={Link} to="/lookup" variant="light">
                  Look up a number
                </Button>
              }
            >
              Calls appear here as soon as the exchange takes them. Look up where a call would go before you place the first.
            </Empty>
          )
        }
      />
    </div>
  );
}

/** How many calls are up, beside the filters. */
function CallsUp({ memberId }: { memberId: string | null }) {
  const { data } = useQuery({
    queryKey: ["overview", memberId ?? "exchange"],
    queryFn: () =>
      memberId
        ? answer(api.GET("/api/v1/members/{member_id}/overview", { params: { path: { member_id: memberId } } }))
        : answer(api.GET("/api/v1/overview")),
    refetchInterval: LIVE_MS,
  });
  if (!data) return null;
  return (
    <Text size="sm" ml="auto" mb={8} className="figures" aria-live="off">
      <strong>{data.calls_up}</strong> up now
    </Text>
  );
}

function clearedOf(search: URLSearchParams): URLSearchParams {
  const kept = new URLSearchParams(search);
  for (const name of ["number", "outcome", "up", "from", "until"]) kept.delete(name);
  return kept;
}

/** The operator may look at a call as one of its members does. */
function hrefOf(callId: string, memberId: string | null): string {
  return memberId ? `/calls/${callId}?member=${memberId}` : `/calls/${callId}`;
}

function columnsOf(memberId: string | null): Column<Call>[] {
  const calling: Column<Call> = { header: "Calling", cell: (call) => <E164>{call.calling}</E164> };
  const called: Column<Call> = {
    header: "Called",
    cell: (call) => (
      <Anchor component={Link} to={hrefOf(call.call_id, memberId)} size="sm" c="inherit" underline="hover">
        <E164>{call.called}</E164>
      </Anchor>
    ),
  };
  const parties: Column<Call>[] = memberId
    ? [
        {
          header: "With",
          cell: (call) =>
            call.side === "terminating" ? (
              <>
                <span className="quiet">from</span> {call.originating_member.display_name}
              </>
            ) : call.terminating_member ? (
              <>
                <span className="quiet">to</span> {call.terminating_member.display_name}
              </>
            ) : (
              <span className="quiet">nobody</span>
            ),
        },
      ]
    : [
        { header: "From", cell: (call) => call.originating_member.name },
        { header: "To", cell: (call) => call.terminating_member?.name ?? <span className="quiet">nobody</span> },
      ];
  return [
    { header: "Started", cell: (call) => <Time>{call.started_at}</Time> },
    calling,
    called,
    ...parties,
    { header: "Outcome", cell: (call) => <OutcomeBadge outcome={call.outcome} /> },
    {
      header: "Status",
      cell: (call) => (
        <span className="figures">
          {call.status ?? ""} {call.reason && <span className="quiet">{call.reason}</span>}
        </span>
      ),
    },
    {
      header: "Set-up",
      align: "end",
      cell: (call) => <span className="figures">{call.setup_ms === null ? "" : milliseconds(call.setup_ms)}</span>,
    },
    {
      header: "Length",
      align: "end",
      cell: (call) => <span className="figures">{call.duration_ms === null ? "" : length(call.duration_ms)}</span>,
    },
  ];
}
