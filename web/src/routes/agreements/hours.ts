// The hours of an agreement, in words and in a form: one window a week there, which is what most agree on.
import type { Hours } from "../../api/types";

export type Day = Hours["windows"][number]["days"][number];

export const DAYS: Day[] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/** No days are chosen: calls cross at any time. More windows than the form shows are kept as they are. */
export type HoursFields = { days: Day[]; from: string; until: string; zone: string; more: Hours["windows"] };

export function hoursFields(hours: Hours | null): HoursFields {
  const [first, ...more] = hours?.windows ?? [];
  return {
    days: first?.days ?? [],
    from: first?.from ?? "00:00",
    until: first?.until ?? "24:00",
    zone: hours?.zone ?? Intl.DateTimeFormat().resolvedOptions().timeZone,
    more,
  };
}

export function hoursOf({ days, from, until, zone, more }: HoursFields): Hours | null {
  const first = days.length === 0 ? [] : [{ days: DAYS.filter((day) => days.includes(day)), from, until }];
  const windows = [...first, ...more];
  return windows.length === 0 ? null : { zone, windows };
}

/** For people: `mon tue 08:00–18:00 (Europe/London)`. */
export function hoursText({ zone, windows }: Hours): string {
  const texts = windows.map(({ days, from, until }) => `${days.join(" ")} ${from}–${until}`);
  return `${texts.join(", ")} (${zone})`;
}
