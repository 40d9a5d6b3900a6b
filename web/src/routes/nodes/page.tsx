import { Badge } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";

import { answer, api } from "../../api/client";
import type { Node, RowLeftOut } from "../../api/types";
import type { Audience } from "../../app/paths";
import { LIVE_MS } from "../../app/queries";
import { count, since } from "../../format/time";
import { DataTable, Empty, type Column } from "../../parts/DataTable";
import { Page, Section } from "../../parts/Page";
import { Time } from "../../parts/Time";

export const audience: Audience = "operator";

export default function Nodes() {
  const { data, error, dataUpdatedAt } = useQuery({
    queryKey: ["nodes"],
    queryFn: () => answer(api.GET("/api/v1/nodes")),
    refetchInterval: LIVE_MS,
  });
  const position = data?.feed_position ?? 0;
  const columns: Column<Node>[] = [
    { header: "Node", cell: ({ name }) => <strong>{name}</strong> },
    { header: "State", cell: ({ state }) => <Badge color={state === "serving" ? "petrol" : state === "stopped" ? "gray" : "copper"}>{state}</Badge> },
    {
      header: "Route table",
      cell: (node) => (
        <span className="figures">
          {count(node.table_version)}{" "}
          {node.current ? (
            <Badge color="petrol">current</Badge>
          ) : (
            <Badge color="red">{node.table_version < position ? `${count(position - node.table_version)} behind` : "not heard lately"}</Badge>
          )}
        </span>
      ),
    },
    { header: "Hash", cell: ({ table_hash, table_chain }) => <span className="mono" title={`${table_hash} ${table_chain}`}>{table_hash.slice(0, 12)}</span> },
    { header: "Ported numbers", cell: (node) => <Ported {...node} /> },
    { header: "Calls up", align: "end", cell: ({ active_calls }) => <span className="figures">{count(active_calls)}</span> },
    { header: "Journal backlog", align: "end", cell: ({ journal_backlog }) => <span className="figures">{count(journal_backlog)}</span> },
    { header: "Heard", cell: ({ seen_at }) => <span className="figures">{since(seen_at, new Date(dataUpdatedAt))}</span> },
    { header: "Started", cell: ({ started_at }) => <Time>{started_at}</Time> },
  ];
  return (
    <Page
      title="Nodes"
      lead={data ? `The database is at change ${count(position)}. A node is current when its route table has every change.` : "The programs that carry calls."}
    >
      <DataTable
        label="Nodes"
        columns={columns}
        list={{ items: data?.items, error, page: 1, forward: null, back: null }}
        rowKey={({ node_id }) => node_id}
        empty={<Empty title="No node has reported">Start tandem with the fabric role; it appears here within seconds.</Empty>}
      />
      {data && data.rows_left_out_count > 0 && (
        <Section
          title={`Rows left out: ${count(data.rows_left_out_count)}`}
          lead="They are against the rules, so that calls are routed without them. What they said before is not in force any more; all other rows are."
        >
          <DataTable
            label="Rows left out"
            columns={LEFT_OUT}
            list={{ items: data.rows_left_out, error: null, page: 1, forward: null, back: null }}
            rowKey={({ id }) => id}
            empty={null}
          />
        </Section>
      )}
    </Page>
  );
}

const LEFT_OUT: Column<RowLeftOut>[] = [
  { header: "What", cell: ({ kind }) => kind },
  { header: "Id", cell: ({ id }) => <span className="mono">{id}</span> },
  { header: "What is wrong with it", cell: ({ why }) => why },
];

function Ported({ ported_numbers, ported_serial, ported_fault }: Node) {
  return (
    <span className="figures">
      {ported_numbers === null ? "none" : `${count(ported_numbers)} of serial ${count(ported_serial ?? 0)}`}{" "}
      {ported_fault && (
        <Badge color="red" title={`${ported_fault.sentence}. ${ported_fault.remedy}`}>
          {ported_fault.code}
        </Badge>
      )}
    </span>
  );
}
