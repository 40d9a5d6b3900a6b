// What a change set changes: announcements, routes as callers find them, and the calls of the last day.
import { Alert, Stack, Text } from "@mantine/core";

import type { ChangeSet } from "../../../../api/types";
import { count } from "../../../../format/time";
import { DataTable, Empty, type Column } from "../../../../parts/DataTable";
import { E164 } from "../../../../parts/E164";
import { useReasons } from "../../../../parts/reasons";

type PlanOf = NonNullable<ChangeSet["plan"]>;
type Route = PlanOf["routes"][number];
type Taker = Route["before"][number];
type Move = PlanOf["moves"][number];

export function Plan({ set }: { set: ChangeSet }) {
  const { plan } = set;
  const reasons = useReasons();
  const sentence = (code: string | null) => reasons.data?.find((reason) => reason.code === code)?.sentence ?? code ?? "";
  if (!plan) {
    return <Empty title="Not planned yet">Plan it to see which routes change and how many of the last day’s calls would have moved.</Empty>;
  }
  const { announcements } = plan;
  const routes: Column<Route>[] = [
    { header: "Prefix", cell: ({ prefix }) => <E164>{prefix}</E164> },
    { header: "Calls from", cell: ({ originating_member_name }) => <strong>{originating_member_name}</strong> },
    { header: "Now to", cell: ({ before, before_reason }) => takers(before) || <Nobody>{sentence(before_reason)}</Nobody> },
    { header: "Then to", cell: ({ after, after_reason }) => takers(after) || <Nobody>{sentence(after_reason)}</Nobody> },
  ];
  const moves: Column<Move>[] = [
    { header: "Calls", align: "end", cell: ({ calls }) => <span className="figures">{count(calls)}</span> },
    { header: "From", cell: ({ from }) => (from ? (from.member_name ?? "another member") : "nobody: refused") },
    { header: "To", cell: ({ to, from }) => whereTo(to, from) },
  ];
  return (
    <Stack>
      <Text size="sm">
        Announcements: {count(announcements.added)} added, {count(announcements.changed)} changed, {count(announcements.withdrawn)} withdrawn,{" "}
        {count(announcements.unchanged)} as they are. Routes: {count(plan.routes_added)} added, {count(plan.routes_changed)} changed,{" "}
        {count(plan.routes_removed)} removed, for {count(plan.prefixes)} {plan.prefixes === 1 ? "prefix" : "prefixes"}.
      </Text>
      {plan.routes_removed > 0 && (
        <Alert color="red" variant="light" role="status">
          Numbers become unreachable for callers of {count(plan.routes_removed)} removed {plan.routes_removed === 1 ? "route" : "routes"}.
        </Alert>
      )}
      {plan.idle > 0 && (
        <Alert color="copper" variant="light" role="status" title={`${count(plan.idle)} will not count`}>
          {plan.idle_announcements.slice(0, 10).map(({ prefix, reason }) => (
            <div key={prefix}>
              <E164>{prefix}</E164>: {sentence(reason)}
            </div>
          ))}
        </Alert>
      )}
      {plan.routes.length > 0 && (
        <DataTable
          label="Routes"
          columns={routes}
          list={{ items: plan.routes, error: null, page: 1, forward: null, back: null }}
          rowKey={({ prefix, originating_member_id }) => `${prefix} ${originating_member_id}`}
          empty={null}
        />
      )}
      <Text size="sm">
        Of {count(plan.calls)} calls answered in the last 24 hours, <strong>{count(plan.moved_calls)}</strong>{" "}
        {set.applied_at ? "were predicted to go elsewhere." : "would go elsewhere."}
      </Text>
      {plan.moves.length > 0 && (
        <DataTable
          label="Moved calls"
          columns={moves}
          list={{ items: plan.moves, error: null, page: 1, forward: null, back: null }}
          rowKey={({ from, to }) => `${from?.member_id ?? "-"} ${to?.member_id ?? "-"}`}
          empty={null}
        />
      )}
      {plan.needs_approval && !set.approved && !set.applied_at && (
        <Alert color="copper" variant="light" role="status">
          It moves so much that a person other than its author must approve it.
        </Alert>
      )}
    </Stack>
  );
}

function Nobody({ children }: { children: string }) {
  return <span className="quiet">nobody: {children}</span>;
}

function takers(all: Taker[]): string {
  return all.map(({ member_name, endpoint_name }) => (endpoint_name ? `${member_name ?? ""} ${endpoint_name}` : (member_name ?? "another member"))).join(", ");
}

function whereTo(to: Taker | null, from: Taker | null): string {
  if (!to) return "nobody: refused";
  return `${to.member_name ?? "another member"}${to.member_id && to.member_id === from?.member_id ? ", another endpoint" : ""}`;
}
