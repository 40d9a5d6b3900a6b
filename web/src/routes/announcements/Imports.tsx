// Files that were uploaded: how far each has come, what it changed, and the rows that could not be taken.
import { Anchor, Progress, Text } from "@mantine/core";

import { answer, api } from "../../api/client";
import type { Import } from "../../api/types";
import { LIVE_MS } from "../../app/queries";
import { count } from "../../format/time";
import { DataTable, Empty, type Column } from "../../parts/DataTable";
import { usePaged } from "../../parts/paged";
import { useReason } from "../../parts/reasons";
import { ImportBadge } from "../../parts/State";
import { Time } from "../../parts/Time";

export function Imports({ memberId }: { memberId: string }) {
  const list = usePaged({
    key: ["imports", memberId],
    liveMs: LIVE_MS,
    fetch: (cursor) =>
      answer(
        api.GET("/api/v1/members/{member_id}/imports", {
          params: { path: { member_id: memberId }, query: { ...(cursor && { cursor }) } },
        }),
      ),
  });
  const columns: Column<Import>[] = [
    { header: "File", cell: ({ file_name }) => file_name || <span className="quiet">without a name</span> },
    { header: "State", cell: (imported) => <State imported={imported} /> },
    { header: "Rows", align: "end", cell: ({ good_rows }) => <span className="figures">{count(good_rows)}</span> },
    { header: "Bad rows", align: "end", cell: (imported) => <Errors imported={imported} /> },
    { header: "Did", cell: (imported) => <span className="figures">{didOf(imported)}</span> },
    { header: "Begun", cell: ({ created_at }) => <Time>{created_at}</Time> },
  ];
  return (
    <DataTable
      label="Imports"
      columns={columns}
      list={list}
      rowKey={({ import_id }) => import_id}
      empty={<Empty title="No file imported yet">For hundreds of thousands of prefixes, import a file: it is uploaded in parts, and takes effect as a whole.</Empty>}
    />
  );
}

function State({ imported }: { imported: Import }) {
  const why = useReason(imported.reason);
  return (
    <div>
      <ImportBadge imported={imported} />
      {imported.state === "receiving" && (
        <Progress value={(100 * imported.received_octets) / imported.octets} aria-label={`Uploaded of ${imported.file_name}`} mt={4} w={120} />
      )}
      {why && (
        <Text size="xs" className="quiet" mt={2}>
          {why.sentence}
        </Text>
      )}
    </div>
  );
}

function Errors({ imported }: { imported: Import }) {
  const { member_id, import_id, faulty_rows } = imported;
  if (faulty_rows === 0) return <span className="figures">0</span>;
  return (
    <Anchor href={`/api/v1/members/${member_id}/imports/${import_id}/errors`} download="import-errors.csv" size="sm" className="figures">
      {count(faulty_rows)}, as CSV
    </Anchor>
  );
}

function didOf({ state, added, changed, withdrawn, unchanged }: Import): string {
  if (state !== "applied") return "";
  const done = [
    [added, "added"],
    [changed, "changed"],
    [withdrawn, "withdrawn"],
    [unchanged, "unchanged"],
  ] as const;
  const said = done.filter(([number]) => number > 0).map(([number, word]) => `${count(number)} ${word}`);
  return said.length > 0 ? said.join(", ") : "nothing";
}
