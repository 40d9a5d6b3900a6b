// How the nodes find one endpoint, and what happened to it.
import { Anchor, Badge, Group, Stack, Text, Title } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link } from "react-router";

import { answer, api } from "../../api/client";
import type { Endpoint, HealthChange, NodeHealth } from "../../api/types";
import { LIVE_MS } from "../../app/queries";
import { DataTable, Empty, type Column } from "../../parts/DataTable";
import { usePaged } from "../../parts/paged";
import { Time } from "../../parts/Time";
import { milliseconds } from "../../format/time";
import { SIGNS, STATES } from "./health";

function State({ state }: { state: string }) {
  const look = STATES[state];
  return <Badge color={look?.color ?? "gray"}>{look?.text ?? state}</Badge>;
}

const NODES: Column<NodeHealth>[] = [
  { header: "Node", cell: ({ node }) => <strong>{node}</strong> },
  {
    header: "State",
    cell: ({ state, held_until }) => (
      <Group gap={6}>
        <State state={state} />
        {held_until && (
          <Badge color="copper">
            held until <Time>{held_until}</Time>
          </Badge>
        )}
      </Group>
    ),
  },
  { header: "Since", cell: ({ since }) => <Time>{since}</Time> },
  { header: "Why", cell: ({ sign }) => (sign ? SIGNS[sign] : "") },
  {
    header: "Last probe",
    align: "end",
    cell: ({ probed_at, rtt_ms }) =>
      probed_at === null ? (
        <span className="quiet">none</span>
      ) : (
        <span className="figures">
          <Time>{probed_at}</Time>
          {rtt_ms === null ? ", no answer" : `, ${rtt_ms < 1 ? "under 1 ms" : milliseconds(rtt_ms)}`}
        </span>
      ),
  },
];

const LEADS_TO: Column<NodeHealth> = {
  header: "Leads to",
  cell: ({ servers, unresolved }) => {
    if (unresolved !== null) {
      return (
        <Anchor component={Link} to={`/reasons/${unresolved}`} size="sm">
          {unresolved}
        </Anchor>
      );
    }
    return servers?.map((server) => (
      <div key={server} className="mono">
        {server}
      </div>
    ));
  },
};

const HISTORY: Column<HealthChange>[] = [
  { header: "Time", cell: ({ at }) => <Time>{at}</Time> },
  { header: "Node", cell: ({ node }) => node ?? <span className="quiet">a node that is gone</span> },
  { header: "State", cell: ({ state }) => <State state={state} /> },
  { header: "Why", cell: ({ sign }) => SIGNS[sign] },
];

export function Health({ endpoint }: { endpoint: Endpoint }) {
  const { member_id, endpoint_id } = endpoint;
  const key = ["endpoint-health", member_id, endpoint_id];
  const fetch = (cursor?: string) =>
    answer(
      api.GET("/api/v1/members/{member_id}/endpoints/{endpoint_id}/health", {
        params: { path: { member_id, endpoint_id }, query: { limit: 20, ...(cursor && { cursor }) } },
      }),
    );
  const now = useQuery({ queryKey: [...key, "nodes"], queryFn: () => fetch(), refetchInterval: LIVE_MS });
  const hasName = now.data?.nodes.some(({ servers, unresolved }) => servers !== null || unresolved !== null) ?? false;
  const history = usePaged({ key: [...key, "history"], fetch: async (cursor) => (await fetch(cursor)).history, liveMs: LIVE_MS });
  return (
    <Stack>
      <Text size="sm" className="quiet">
        The exchange asks by OPTIONS whether the switch is there, and sees what becomes of calls. An endpoint that is down gets calls
        only where no other one can take them; when it answers again its share of calls grows within seconds.
      </Text>
      <DataTable
        label="State by node"
        columns={hasName ? [...NODES, LEADS_TO] : NODES}
        list={{ items: now.data?.nodes, error: now.error, page: 1, forward: null, back: null }}
        rowKey={({ node }) => node}
        empty={<Empty title="Nothing was heard of it yet">A probe is sent within a minute once an announcement names it and it is enabled; one that only sends is not probed.</Empty>}
      />
      <Title order={3} size="h5">
        What happened
      </Title>
      <DataTable
        label="History"
        columns={HISTORY}
        list={history}
        rowKey={({ at, node, state, sign }) => `${at} ${node ?? ""} ${state} ${sign}`}
        empty={<Empty title="Nothing has happened">Changes of state of the last thirty days are listed here.</Empty>}
      />
    </Stack>
  );
}
