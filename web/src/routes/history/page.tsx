import { Button, Collapse, Text } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";

import { answer, api } from "../../api/client";
import type { AuditEntry } from "../../api/types";
import { useSession } from "../../app/session";
import { DataTable, Empty, type Column } from "../../parts/DataTable";
import { useMembers } from "../../parts/members";
import { Page } from "../../parts/Page";
import { usePaged } from "../../parts/paged";
import { Time } from "../../parts/Time";
import { changesOf } from "./changes";

export default function History() {
  const { role } = useSession();
  const members = useMembers();
  const nameOf = (id: string | null) => members.data?.find(({ member_id }) => member_id === id)?.name ?? "";
  const list = usePaged({
    key: ["audit"],
    fetch: (cursor) => answer(api.GET("/api/v1/audit", { params: { query: { ...(cursor && { cursor }) } } })),
  });
  const columns: Column<AuditEntry>[] = [
    { header: "When", cell: ({ at }) => <Time>{at}</Time> },
    { header: "Who", cell: ({ actor }) => actor },
    { header: "What", cell: ({ action }) => <span className="mono">{action}</span> },
    ...(role === "operator" ? [{ header: "Member", cell: ({ member_id }: AuditEntry) => nameOf(member_id) }] : []),
    { header: "Changes", cell: (entry) => <Changes entry={entry} /> },
    { header: "From address", cell: ({ source }) => <span className="mono">{source}</span> },
  ];
  return (
    <Page title="History" lead="Every change, who made it, and from where. Nothing here can be altered.">
      <DataTable
        label="History"
        columns={columns}
        list={list}
        rowKey={({ audit_entry_id }) => audit_entry_id}
        empty={<Empty title="Nothing has changed yet">Changes to endpoints, ranges, announcements, agreements and access appear here.</Empty>}
      />
    </Page>
  );
}

function Changes({ entry }: { entry: AuditEntry }) {
  const [opened, { toggle }] = useDisclosure(false);
  const changes = changesOf(entry.before, entry.after);
  if (changes.length === 0) return null;
  return (
    <>
      <Button variant="subtle" size="compact-xs" onClick={toggle} aria-expanded={opened}>
        {changes.length} {changes.length === 1 ? "field" : "fields"}
      </Button>
      <Collapse expanded={opened}>
        {changes.map(({ field, before, after }) => (
          <Text key={field} size="xs" style={{ overflowWrap: "anywhere" }} maw={480}>
            <span className="mono">{field}</span>: {before !== null && <span className="quiet">{before} → </span>}
            {after ?? "none"}
          </Text>
        ))}
      </Collapse>
    </>
  );
}
