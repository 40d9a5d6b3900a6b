import { Anchor, Loader, Text } from "@mantine/core";
import { Link, useParams } from "react-router";

import { problemOf, sentence } from "../../../api/problem";
import type { Audience } from "../../../app/paths";
import { Page, Section } from "../../../parts/Page";
import { ProblemNote } from "../../../parts/ProblemNote";
import { useReasons } from "../../../parts/reasons";

export const audience: Audience = "anyone";

export default function ReasonPage() {
  const { code } = useParams();
  const { data, error } = useReasons();
  if (!data) {
    return <Page title={code ?? "Reason"}>{error ? <ProblemNote problem={problemOf(error)} /> : <Loader role="status" aria-label="Loading" />}</Page>;
  }
  const reason = data.find((known) => known.code === code);
  if (!reason) {
    return (
      <Page title={`${code ?? ""} is no reason of the exchange`}>
        <Anchor component={Link} to="/reasons">
          All reasons
        </Anchor>
      </Page>
    );
  }
  return (
    <Page
      title={sentence(reason.sentence)}
      lead={
        <>
          <span className="mono">{reason.code}</span>, status {reason.status} ·{" "}
          <Anchor component={Link} to="/reasons" size="sm">
            All reasons
          </Anchor>
        </>
      }
    >
      <Section title="What to do">
        <Text maw="46rem">{reason.remedy}</Text>
      </Section>
      <Text size="sm" className="quiet" maw="46rem">
        The same code stands in the text of the SIP Reason header field, in the record of the call, in API problems and in metrics.
      </Text>
    </Page>
  );
}
