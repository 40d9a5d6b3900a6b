import { Anchor } from "@mantine/core";
import { Link } from "react-router";

import { sentence } from "../../api/problem";
import type { Reason } from "../../api/types";
import type { Audience } from "../../app/paths";
import { DataTable, type Column } from "../../parts/DataTable";
import { Page } from "../../parts/Page";
import { useReasons } from "../../parts/reasons";

export const audience: Audience = "anyone";

const COLUMNS: Column<Reason>[] = [
  {
    header: "Code",
    cell: ({ code }) => (
      <Anchor component={Link} to={`/reasons/${code}`} size="sm" className="mono">
        {code}
      </Anchor>
    ),
  },
  { header: "Status", align: "end", cell: ({ status }) => <span className="figures">{status}</span> },
  { header: "What happened", cell: (reason) => sentence(reason.sentence) },
  { header: "What to do", cell: ({ remedy }) => remedy },
];

export default function Reasons() {
  const { data, error } = useReasons();
  return (
    <Page title="Reasons" lead="Why the exchange refuses or leaves out something: one code each, everywhere the same.">
      <DataTable
        label="Reasons"
        columns={COLUMNS}
        list={{ items: data, error, page: 1, forward: null, back: null }}
        rowKey={({ code }) => code}
        href={({ code }) => `/reasons/${code}`}
        empty={null}
      />
    </Page>
  );
}
