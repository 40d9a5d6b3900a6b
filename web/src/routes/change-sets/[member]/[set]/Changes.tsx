// The prefixes that a change set names.
import { Text } from "@mantine/core";

import type { ChangeSet } from "../../../../api/types";
import { count } from "../../../../format/time";
import { DataTable, type Column } from "../../../../parts/DataTable";
import { E164 } from "../../../../parts/E164";

type Change = ChangeSet["changes"][number];

const COLUMNS: Column<Change>[] = [
  { header: "Prefix", cell: ({ prefix }) => <E164>{prefix}</E164> },
  { header: "What", cell: ({ action }) => action },
  { header: "Endpoints", cell: ({ endpoints }) => endpoints.map(({ name }) => name).join(", ") },
];

export function Changes({ set }: { set: ChangeSet }) {
  const hidden = set.items - set.changes.length;
  return (
    <>
      <DataTable
        label="Prefixes"
        columns={COLUMNS}
        list={{ items: set.changes, error: null, page: 1, forward: null, back: null }}
        rowKey={({ prefix }) => prefix}
        empty={null}
      />
      {hidden > 0 && (
        <Text size="xs" className="quiet" mt={4}>
          and {count(hidden)} more
        </Text>
      )}
    </>
  );
}
