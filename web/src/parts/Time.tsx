import { clock, day, moment } from "../format/time";

/** A UTC time: of today the time alone, else with its day. */
export function Time({ children, full = false }: { children: string; full?: boolean }) {
  const today = day(children) === day(new Date());
  return (
    <time dateTime={children} title={`${moment(children)} UTC`} className="figures" style={{ whiteSpace: "nowrap" }}>
      {full ? `${moment(children)} UTC` : today ? clock(children) : moment(children)}
    </time>
  );
}
