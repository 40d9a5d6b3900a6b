import { Anchor, Loader } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link, useParams } from "react-router";

import { answer, api } from "../../../../api/client";
import { problemOf } from "../../../../api/problem";
import { LIVE_MS } from "../../../../app/queries";
import { Page, Section } from "../../../../parts/Page";
import { ProblemNote } from "../../../../parts/ProblemNote";
import { titleOf } from "../../title";
import { Actions } from "./Actions";
import { Changes } from "./Changes";
import { History } from "./History";
import { Plan } from "./Plan";

export default function ChangeSetPage() {
  const { member: memberId = "", set: setId = "" } = useParams();
  const path = { member_id: memberId, change_set_id: setId };
  const { data: set, error } = useQuery({
    queryKey: ["change-sets", memberId, setId],
    queryFn: () => answer(api.GET("/api/v1/members/{member_id}/change-sets/{change_set_id}", { params: { path } })),
    refetchInterval: LIVE_MS,
  });
  if (!set) {
    return <Page title="Change set">{error ? <ProblemNote problem={problemOf(error)} /> : <Loader role="status" aria-label="Loading" />}</Page>;
  }
  return (
    <Page
      title={titleOf(set)}
      lead={
        <>
          <Anchor component={Link} to="/change-sets" size="sm">
            All change sets
          </Anchor>
          {` · ${set.member_name} · by ${set.author}`}
        </>
      }
      actions={<Actions set={set} />}
    >
      <History set={set} />
      <Section title={set.applied_at ? "What it changed" : "What it would change"}>
        <Plan set={set} />
      </Section>
      <Section title="Prefixes">
        <Changes set={set} />
      </Section>
    </Page>
  );
}
