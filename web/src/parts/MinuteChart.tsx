// Calls per minute as two lines: answered, and all that were not.
import { useComputedColorScheme } from "@mantine/core";
import { useEffect, useMemo, useRef } from "react";
import uPlot from "uplot";

import type { Overview } from "../api/types";
import { clock, count } from "../format/time";

const HEIGHT = 210;

type Minutes = Overview["per_minute"];

export function MinuteChart({ minutes }: { minutes: Minutes }) {
  const frame = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const scheme = useComputedColorScheme("light");
  const data = useMemo<uPlot.AlignedData>(
    () => [
      minutes.map(({ at }) => Date.parse(at) / 1000),
      minutes.map(({ answered }) => answered),
      minutes.map(({ not_answered }) => not_answered),
    ],
    [minutes],
  );
  const latest = useRef(data);

  // A canvas does not follow CSS: the plot is made anew when the colours change.
  useEffect(() => {
    const element = frame.current;
    if (!element) return;
    const made = new uPlot(options(element), latest.current, element);
    plot.current = made;
    const resized = new ResizeObserver(() => made.setSize({ width: element.clientWidth, height: HEIGHT }));
    resized.observe(element);
    return () => {
      resized.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [scheme]);

  useEffect(() => {
    latest.current = data;
    plot.current?.setData(data);
  }, [data]);

  return <div ref={frame} role="img" aria-label={summary(minutes)} style={{ minHeight: HEIGHT + 30 }} />;
}

function summary(minutes: Minutes): string {
  const answered = minutes.reduce((sum, minute) => sum + minute.answered, 0);
  const other = minutes.reduce((sum, minute) => sum + minute.not_answered, 0);
  return `Calls per minute over the last ${minutes.length} minutes: ${count(answered)} answered, ${count(other)} not answered.`;
}

function options(element: HTMLElement): uPlot.Options {
  const style = getComputedStyle(element);
  const colour = (name: string) => style.getPropertyValue(name).trim();
  const quiet = colour("--quiet");
  const hairline = colour("--hairline");
  const font = `11px ${style.fontFamily}`;
  const axis = { stroke: quiet, font, grid: { stroke: hairline, width: 1 }, ticks: { stroke: hairline, width: 1, size: 4 } };
  const value = (_: uPlot, calls: number | null) => (calls === null ? "–" : count(calls));
  return {
    width: element.clientWidth,
    height: HEIGHT,
    tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
    cursor: { points: { size: 6 }, drag: { x: false, y: false } },
    scales: { y: { range: (_, __, max) => [0, Math.max(4, max * 1.15)] } },
    axes: [
      { ...axis, grid: { show: false }, values: (_, ticks) => ticks.map((at) => clock(new Date(at * 1000)).slice(0, 5)) },
      { ...axis, size: 44, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 50_000] },
    ],
    series: [
      { label: "Minute (UTC)", value: (_, at: number | null) => (at === null ? "–" : clock(new Date(at * 1000)).slice(0, 5)) },
      {
        label: "Answered",
        stroke: colour("--line-answered"),
        width: 2,
        fill: `color-mix(in srgb, ${colour("--line-answered")} 12%, transparent)`,
        points: { show: false },
        value,
      },
      { label: "Not answered", stroke: colour("--line-other"), width: 1.5, points: { show: false }, value },
    ],
  };
}
