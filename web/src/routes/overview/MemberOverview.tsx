import { Anchor, Button, Skeleton, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link } from "react-router";

import { answer, api } from "../../api/client";
import { problemOf } from "../../api/problem";
import type { Member } from "../../api/types";
import { LIVE_MS } from "../../app/queries";
import { Figures, LastHour } from "../../parts/Figures";
import { Icon } from "../../parts/Icon";
import { Page, Section } from "../../parts/Page";
import { ProblemNote } from "../../parts/ProblemNote";
import { checklist, isLive, type Step } from "./checklist";

/** How often the steps are asked for again: others act on them, but not every second. */
const STEPS_MS = 10_000;

export function MemberOverview({ member }: { member: Member }) {
  const params = { path: { member_id: member.member_id } };
  const overview = useQuery({
    queryKey: ["overview", member.member_id],
    queryFn: () => answer(api.GET("/api/v1/members/{member_id}/overview", { params })),
    refetchInterval: LIVE_MS,
  });
  const standing = useQuery({
    queryKey: ["standing", member.member_id],
    refetchInterval: STEPS_MS,
    queryFn: async () => {
      const first = { params: { ...params, query: { limit: 100 } } };
      const [now, endpoints, ranges, announcements, agreements] = await Promise.all([
        answer(api.GET("/api/v1/members/{member_id}", { params })),
        answer(api.GET("/api/v1/members/{member_id}/endpoints", first)),
        answer(api.GET("/api/v1/members/{member_id}/ranges", first)),
        answer(api.GET("/api/v1/members/{member_id}/announcements", first)),
        answer(api.GET("/api/v1/members/{member_id}/agreements", first)),
      ]);
      return {
        member: now,
        endpoints: endpoints.items,
        ranges: ranges.items,
        announcements: announcements.items,
        agreements: agreements.items,
      };
    },
  });

  const figures = overview.data;
  const steps =
    standing.data && figures
      ? checklist({ ...standing.data, calls: figures.today.answered + figures.calls_up })
      : undefined;
  const error = overview.error ?? standing.error;
  const todo = steps && !isLive(steps) && <NextSteps steps={steps} />;
  return (
    <Page title={member.display_name} lead="Your calls on the exchange, as they are now. Times are UTC.">
      {error && !figures && <ProblemNote problem={problemOf(error)} />}
      {steps === undefined && !error && <Skeleton height={180} />}
      {todo}
      <Figures overview={figures} />
      <LastHour overview={figures} />
    </Page>
  );
}

function NextSteps({ steps }: { steps: Step[] }) {
  const done = steps.filter(({ state }) => state === "done").length;
  return (
    <Section title="What to do next" lead={`${done} of ${steps.length} steps are done.`}>
      <ol className="steps">
        {steps.map((step, index) => (
          <li key={step.key}>
            <span className="step-mark" data-state={step.state}>
              {step.state === "done" ? (
                <Icon name="check" size={13} />
              ) : step.state === "waiting" ? (
                <Icon name="wait" size={13} />
              ) : (
                index + 1
              )}
            </span>
            <div>
              <Text size="sm" fw={550} component="span">
                {step.title}
              </Text>
              <Text size="sm" className="quiet">
                {step.text}
              </Text>
            </div>
            <StepAction step={step} />
          </li>
        ))}
      </ol>
    </Section>
  );
}

function StepAction({ step }: { step: Step }) {
  if (step.state === "now" && step.href) {
    return (
      <Button component={Link} to={step.href} size="xs" aria-label={`${step.title}: go there`}>
        Go
      </Button>
    );
  }
  if (step.state === "waiting") {
    return (
      <Text size="xs" c="copper">
        {step.who} must act
      </Text>
    );
  }
  if (step.state === "done" && step.href) {
    return (
      <Anchor component={Link} to={step.href} size="xs" aria-label={`${step.title}: see`}>
        See
      </Anchor>
    );
  }
  return <span />;
}
