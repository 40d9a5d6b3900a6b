import { Anchor, Group, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link } from "react-router";

import { answer, api } from "../../api/client";
import { problemOf } from "../../api/problem";
import { LIVE_MS } from "../../app/queries";
import { count } from "../../format/time";
import { Figure, Figures, LastHour } from "../../parts/Figures";
import { Page, Section } from "../../parts/Page";
import { ProblemNote } from "../../parts/ProblemNote";

export function ExchangeOverview() {
  const { data, error } = useQuery({
    queryKey: ["overview", "exchange"],
    queryFn: () => answer(api.GET("/api/v1/overview")),
    refetchInterval: LIVE_MS,
  });
  const applied = useQuery({
    queryKey: ["members", "applied"],
    queryFn: () => answer(api.GET("/api/v1/members", { params: { query: { state: "applied", limit: 500 } } })),
    refetchInterval: 10_000,
  });
  const pending = useQuery({
    queryKey: ["ranges", "pending"],
    queryFn: () => answer(api.GET("/api/v1/ranges", { params: { query: { authority: "pending", limit: 500 } } })),
    refetchInterval: 10_000,
  });
  const nodes = useQuery({
    queryKey: ["nodes"],
    queryFn: () => answer(api.GET("/api/v1/nodes")),
    refetchInterval: LIVE_MS,
  });

  const waiting = [
    { count: applied.data?.items.length ?? 0, one: "member waits for approval", many: "members wait for approval", to: "/members?state=applied" },
    { count: pending.data?.items.length ?? 0, one: "range waits for verification", many: "ranges wait for verification", to: "/verification" },
    {
      count: nodes.data?.items.filter(({ current, state }) => !current && state !== "stopped").length ?? 0,
      one: "node is behind",
      many: "nodes are behind",
      to: "/nodes",
    },
  ].filter((task) => task.count > 0);

  return (
    <Page title="The exchange" lead="All members, as they are now. Times are UTC.">
      {error && !data && <ProblemNote problem={problemOf(error)} />}
      {waiting.length > 0 && (
        <Section title="Waiting for you">
          <ul className="steps">
            {waiting.map((task) => (
              <li key={task.to}>
                <span className="step-mark figures" data-state="waiting">
                  {task.count > 99 ? "99" : task.count}
                </span>
                <Text size="sm">{task.count === 1 ? task.one : task.many}</Text>
                <Anchor component={Link} to={task.to} size="sm">
                  Go there
                </Anchor>
              </li>
            ))}
          </ul>
        </Section>
      )}
      <Figures overview={data} />
      <LastHour overview={data} />
      {data && (
        <Section title="What is connected">
          <dl className="strip">
            <Figure name="Members" value={data.members === null ? "–" : count(data.members)} />
            <Figure name="Endpoints" value={count(data.endpoints)} />
            <Figure name="Announcements" value={count(data.announcements)} />
            <Figure name="Agreements in force" value={count(data.agreements)} />
            <Figure
              name="Nodes current"
              value={nodes.data ? `${nodes.data.items.filter(({ current }) => current).length} of ${nodes.data.items.length}` : "–"}
            />
          </dl>
          <Group mt="xs" gap="lg">
            <Anchor component={Link} to="/members" size="sm">
              Members
            </Anchor>
            <Anchor component={Link} to="/nodes" size="sm">
              Nodes
            </Anchor>
          </Group>
        </Section>
      )}
    </Page>
  );
}
