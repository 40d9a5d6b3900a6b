// The figures of an overview: calls up now, the day so far, and the last hour as a chart.
import { Badge, Group, Skeleton, Text } from "@mantine/core";
import { Link } from "react-router";

import type { Outcome, Overview } from "../api/types";
import { count, milliseconds } from "../format/time";
import { Section } from "./Page";
import { MinuteChart } from "./MinuteChart";
import { OUTCOMES } from "./State";

const ORDER: Outcome[] = ["answered", "busy", "no_answer", "cancelled", "rejected", "refused", "failed", "redirected"];

/** `calls` is the page that lists the calls; an outcome leads there. */
export function Figures({ overview, calls = "/calls?" }: { overview: Overview | undefined; calls?: string }) {
  if (!overview) return <Skeleton height={92} />;
  const total = ORDER.reduce((sum, outcome) => sum + overview.today[outcome], 0);
  const share = total === 0 ? "–" : `${Math.round((overview.today.answered / total) * 100)} %`;
  return (
    <div>
      <dl className="strip">
        <Figure name="Calls up" value={count(overview.calls_up)} />
        <Figure name="Calls today" value={count(total)} />
        <Figure name="Answered today" value={share} note={total > 0 ? `${count(overview.today.answered)} calls` : undefined} />
        <Figure
          name="Set-up time, median"
          value={overview.setup_ms_median === null ? "–" : milliseconds(overview.setup_ms_median)}
        />
        <Figure name="Minutes today" value={count(overview.minutes_today)} />
      </dl>
      <Group gap={6} mt="sm" aria-label="Calls today by outcome" role="group">
        {ORDER.filter((outcome) => overview.today[outcome] > 0).map((outcome) => (
          <Badge
            key={outcome}
            component={Link}
            to={`${calls}outcome=${outcome}`}
            color={OUTCOMES[outcome].color}
            style={{ cursor: "pointer" }}
            className="figures"
          >
            {OUTCOMES[outcome].text} {count(overview.today[outcome])}
          </Badge>
        ))}
      </Group>
    </div>
  );
}

export function Figure({ name, value, note }: { name: string; value: string; note?: string | undefined }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>
        {value} {note && <small>{note}</small>}
      </dd>
    </div>
  );
}

export function LastHour({ overview }: { overview: Overview | undefined }) {
  const quiet = overview?.per_minute.every(({ answered, not_answered }) => answered + not_answered === 0);
  return (
    <Section title="Calls per minute, last hour">
      {!overview ? (
        <Skeleton height={240} />
      ) : quiet ? (
        <Text size="sm" className="quiet">
          No call in the last hour.
        </Text>
      ) : (
        <MinuteChart minutes={overview.per_minute} />
      )}
    </Section>
  );
}
