import { Anchor, Group, Loader, Tabs } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { Link, useParams, useSearchParams } from "react-router";

import { answer, api } from "../../../api/client";
import { problemOf } from "../../../api/problem";
import type { Audience } from "../../../app/paths";
import { LIVE_MS } from "../../../app/queries";
import { Figures, LastHour } from "../../../parts/Figures";
import { limitsText } from "../../../parts/limits";
import { Page } from "../../../parts/Page";
import { ProblemNote } from "../../../parts/ProblemNote";
import { MemberBadge } from "../../../parts/State";
import { Time } from "../../../parts/Time";
import { Agreements } from "../../agreements/Agreements";
import { Propose } from "../../agreements/TermsForm";
import { Announce } from "../../announcements/AnnounceForm";
import { Announcements } from "../../announcements/Announcements";
import { UploadCsv } from "../../announcements/UploadCsv";
import { Calls } from "../../calls/Calls";
import { Endpoints, NewEndpoint } from "../../endpoints/Endpoints";
import { MemberLookup } from "../../lookup/Lookup";
import { ClaimRange, Ranges } from "../../ranges/Ranges";
import { TraceCalls, Traces } from "../../traces/Traces";
import { NewUser, Users } from "../../users/Users";
import { ChangeState } from "../ChangeState";
import { SetLimits } from "../SetLimits";

export const audience: Audience = "operator";

type Part = { key: string; label: string; content: (memberId: string) => ReactNode; actions?: (memberId: string) => ReactNode };

/** What the operator sees of a member: the member's own pages. */
const PARTS: Part[] = [
  { key: "overview", label: "Overview", content: (id) => <MemberFigures memberId={id} /> },
  { key: "endpoints", label: "Endpoints", content: (id) => <Endpoints memberId={id} />, actions: (id) => <NewEndpoint memberId={id} /> },
  { key: "ranges", label: "Ranges", content: (id) => <Ranges memberId={id} />, actions: (id) => <ClaimRange memberId={id} /> },
  {
    key: "announcements",
    label: "Announcements",
    content: (id) => <Announcements memberId={id} />,
    actions: (id) => (
      <>
        <UploadCsv memberId={id} />
        <Announce memberId={id} />
      </>
    ),
  },
  { key: "agreements", label: "Agreements", content: (id) => <Agreements memberId={id} />, actions: (id) => <Propose memberId={id} /> },
  { key: "calls", label: "Calls", content: (id) => <Calls memberId={id} /> },
  { key: "traces", label: "Traces", content: (id) => <Traces memberId={id} />, actions: (id) => <TraceCalls memberId={id} /> },
  { key: "lookup", label: "Lookup", content: (id) => <MemberLookup memberId={id} /> },
  { key: "users", label: "Users", content: (id) => <Users memberId={id} />, actions: (id) => <NewUser memberId={id} /> },
];

export default function MemberPage() {
  const { member: memberId = "" } = useParams();
  const [search, setSearch] = useSearchParams();
  const shown = PARTS.find(({ key }) => key === search.get("show"))?.key ?? "overview";
  const { data: member, error } = useQuery({
    queryKey: ["members", memberId],
    queryFn: () => answer(api.GET("/api/v1/members/{member_id}", { params: { path: { member_id: memberId } } })),
  });
  if (!member) {
    return <Page title="Member">{error ? <ProblemNote problem={problemOf(error)} /> : <Loader role="status" aria-label="Loading" />}</Page>;
  }
  return (
    <Page
      title={member.display_name}
      lead={
        <>
          <Anchor component={Link} to="/members" size="sm">
            All members
          </Anchor>
          {` · ${member.name} · ${member.contact_email} · since `}
          <Time>{member.created_at}</Time>
          {limitsText(member) && ` · ${limitsText(member)}`}
        </>
      }
      actions={
        <>
          <MemberBadge state={member.state} />
          <SetLimits member={member} />
          <ChangeState member={member} />
        </>
      }
    >
      <Tabs value={shown} onChange={(key) => setSearch({ show: key ?? "overview" })} keepMounted={false}>
        <Tabs.List mb="lg">
          {PARTS.map(({ key, label }) => (
            <Tabs.Tab key={key} value={key}>
              {label}
            </Tabs.Tab>
          ))}
        </Tabs.List>
        {PARTS.map(({ key, content, actions }) => (
          <Tabs.Panel key={key} value={key}>
            {actions && (
              <Group mb="md" gap="xs">
                {actions(memberId)}
              </Group>
            )}
            {content(memberId)}
          </Tabs.Panel>
        ))}
      </Tabs>
    </Page>
  );
}

function MemberFigures({ memberId }: { memberId: string }) {
  const { data, error } = useQuery({
    queryKey: ["overview", memberId],
    queryFn: () => answer(api.GET("/api/v1/members/{member_id}/overview", { params: { path: { member_id: memberId } } })),
    refetchInterval: LIVE_MS,
  });
  if (error && !data) return <ProblemNote problem={problemOf(error)} />;
  return (
    <>
      <Figures overview={data} calls={`/members/${memberId}?show=calls&`} />
      <div style={{ height: 28 }} />
      <LastHour overview={data} />
    </>
  );
}
