import { Anchor, Button, Group, SegmentedControl, Text } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { Link, useSearchParams } from "react-router";

import { answer, api } from "../../api/client";
import { problemOf } from "../../api/problem";
import type { Authority, Range } from "../../api/types";
import type { Audience } from "../../app/paths";
import { Confirm } from "../../parts/Confirm";
import { Conflicts } from "../../parts/Conflicts";
import { DataTable, Empty, type Column } from "../../parts/DataTable";
import { verifiedBy } from "../../parts/evidence";
import { Page } from "../../parts/Page";
import { Numbers } from "../../parts/Numbers";
import { usePaged } from "../../parts/paged";
import { AuthorityBadge } from "../../parts/State";
import { Time } from "../../parts/Time";

export const audience: Audience = "operator";

const AUTHORITIES: Authority[] = ["pending", "disputed", "valid", "refused", "expired"];

type Decision = { range: Range; verify: boolean };

export default function Verification() {
  const [search, setSearch] = useSearchParams();
  const [refused, setRefused] = useState<Range | null>(null);
  const queries = useQueryClient();
  const authority = AUTHORITIES.find((known) => known === search.get("authority")) ?? "pending";
  const list = usePaged({
    key: ["ranges", "all", authority],
    liveMs: 10_000,
    fetch: (cursor) => answer(api.GET("/api/v1/ranges", { params: { query: { authority, ...(cursor && { cursor }) } } })),
  });
  const decide = useMutation({
    mutationFn: ({ range: { range_id }, verify }: Decision) => {
      const params = { path: { range_id } };
      return verify
        ? answer(api.POST("/api/v1/ranges/{range_id}/verify", { params }))
        : answer(api.POST("/api/v1/ranges/{range_id}/refuse", { params }));
    },
    onSuccess: async ({ prefix, member_name, authority: now }) => {
      setRefused(null);
      notifications.show({ message: `${prefix} of ${member_name} is ${now}.` });
      await queries.invalidateQueries({ queryKey: ["ranges"] });
    },
    onError: (thrown, { verify }) => {
      if (!verify) return;
      const { message, remedy } = problemOf(thrown);
      notifications.show({ color: "red", title: message, message: remedy });
    },
  });

  const columns: Column<Range>[] = [
    { header: "Prefix", cell: ({ prefix, numbering }) => <Numbers prefix={prefix} numbering={numbering} /> },
    {
      header: "Member",
      cell: ({ member_id, member_name }) => (
        <Anchor component={Link} to={`/members/${member_id}?show=ranges`} size="sm">
          {member_name}
        </Anchor>
      ),
    },
    {
      header: "Evidence",
      cell: ({ evidence }) => (
        <Text size="sm" maw={480} style={{ whiteSpace: "pre-wrap", overflowWrap: "anywhere" }}>
          {evidence || <span className="quiet">none given</span>}
        </Text>
      ),
    },
    { header: "Claimed", cell: ({ created_at }) => <Time>{created_at}</Time> },
    {
      header: "Authority",
      cell: (range) => (
        <>
          <AuthorityBadge authority={range.authority} />
          {range.renewal_requested_at && (
            <Text size="xs" className="quiet">
              to be renewed
            </Text>
          )}
          <Text size="xs" fw={range.evidence_gone ? 600 : undefined} className={range.evidence_gone ? undefined : "quiet"}>
            {verifiedBy(range)}
            {range.evidence_gone && ", which no longer says so"}
          </Text>
          <Conflicts range={range} />
        </>
      ),
    },
    { header: "Until", cell: ({ valid_until }) => (valid_until ? <Time>{valid_until}</Time> : <span className="quiet nowrap">further notice</span>) },
    {
      header: "Decide",
      align: "end",
      cell: (range) =>
        range.authority === "pending" || range.authority === "disputed" || range.renewal_requested_at || range.evidence_gone ? (
          <Group gap={6} justify="flex-end" wrap="nowrap">
            <Button
              size="compact-xs"
              loading={decide.isPending && decide.variables.range.range_id === range.range_id}
              onClick={() => decide.mutate({ range, verify: true })}
              aria-label={`Verify ${range.prefix} of ${range.member_name}`}
            >
              Verify
            </Button>
            <Button
              size="compact-xs"
              variant="default"
              onClick={() => setRefused(range)}
              aria-label={`Refuse ${range.prefix} of ${range.member_name}`}
            >
              Refuse
            </Button>
          </Group>
        ) : null,
    },
  ];
  return (
    <Page title="Verification" lead="Ranges that members claim or ask to renew. Verify one when its evidence shows that the member holds the numbers. A number has one holder: a verified range stands until its member withdraws it, it ends or you refuse it, and of two claims the earlier one comes first. What a regulator's file or an STI certificate gives to a member, and what calls prove, is verified by itself; where the file or certificate no longer does, the range waits here while it stands.">
      <div>
        <SegmentedControl
          mb="md"
          aria-label="Authority"
          value={authority}
          onChange={(value) => setSearch({ authority: value }, { replace: true })}
          data={AUTHORITIES}
        />
        <DataTable
          label="Ranges"
          columns={columns}
          list={list}
          rowKey={({ range_id }) => range_id}
          empty={
            <Empty title={authority === "pending" ? "Nothing waits" : `No range is ${authority}`}>
              {authority === "pending" ? "Every claim has been decided. New ones appear here by themselves." : "Choose another state above."}
            </Empty>
          }
        />
      </div>
      <Confirm
        opened={refused !== null}
        onClose={() => {
          setRefused(null);
          decide.reset();
        }}
        title={`Refuse ${refused?.prefix ?? ""} of ${refused?.member_name ?? ""}?`}
        action="Refuse"
        pending={decide.isPending}
        error={decide.error}
        onConfirm={() => refused && decide.mutate({ range: refused, verify: false })}
      >
        {refused?.renewal_requested_at
          ? "The range stands until its end and is not renewed. The member sees it and can ask again with better evidence."
          : refused?.evidence_gone
            ? "Announcements in it are no longer routed. The member sees the refusal and can claim the range again with other evidence."
            : "Announcements in it stay unrouted. The member sees the refusal and can claim the range again with better evidence."}
      </Confirm>
    </Page>
  );
}
