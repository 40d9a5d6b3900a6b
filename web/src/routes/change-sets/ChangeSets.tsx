// Change sets of a member or, for the operator, of all, newest first.
import { Anchor } from "@mantine/core";
import { Link } from "react-router";

import { answer, api } from "../../api/client";
import type { ChangeSet } from "../../api/types";
import { LIVE_MS } from "../../app/queries";
import { count } from "../../format/time";
import { DataTable, Empty, type Column } from "../../parts/DataTable";
import { usePaged } from "../../parts/paged";
import { ChangeSetBadge } from "../../parts/State";
import { Time } from "../../parts/Time";
import { NewChangeSet } from "./NewChangeSet";
import { titleOf } from "./title";

function pathOf({ member_id, change_set_id }: ChangeSet): string {
  return `/change-sets/${member_id}/${change_set_id}`;
}

export function ChangeSets({ memberId }: { memberId: string | null }) {
  const list = usePaged({
    key: ["change-sets", memberId],
    liveMs: LIVE_MS,
    fetch: (cursor) => {
      const query = { ...(cursor && { cursor }) };
      return memberId
        ? answer(api.GET("/api/v1/members/{member_id}/change-sets", { params: { path: { member_id: memberId }, query } }))
        : answer(api.GET("/api/v1/change-sets", { params: { query } }));
    },
  });
  const member: Column<ChangeSet>[] = memberId ? [] : [{ header: "Member", cell: ({ member_name }) => <strong>{member_name}</strong> }];
  const columns: Column<ChangeSet>[] = [
    ...member,
    {
      header: "For",
      cell: (set) => (
        <Anchor component={Link} to={pathOf(set)} size="sm">
          {titleOf(set)}
        </Anchor>
      ),
    },
    { header: "State", cell: (set) => <ChangeSetBadge set={set} /> },
    { header: "Prefixes", align: "end", cell: ({ items }) => <span className="figures">{count(items)}</span> },
    { header: "Calls moved", align: "end", cell: ({ plan }) => <span className="figures">{plan ? count(plan.moved_calls) : "not planned"}</span> },
    { header: "By", cell: ({ author }) => author },
    { header: "Written", cell: ({ created_at }) => <Time>{created_at}</Time> },
  ];
  return (
    <DataTable
      label="Change sets"
      columns={columns}
      list={list}
      rowKey={({ change_set_id }) => change_set_id}
      href={pathOf}
      empty={
        <Empty title="No change set yet" action={memberId && <NewChangeSet memberId={memberId} />}>
          {memberId ? "Write down what to announce and to withdraw; nothing changes until you apply it." : "Members write them on their own page."}
        </Empty>
      }
    />
  );
}
