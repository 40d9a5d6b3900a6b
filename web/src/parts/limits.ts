/** Limits on calls in a form: an empty field is no bound. */
export type LimitFields = { max_calls: number | ""; max_calls_per_second: number | "" };

type Limits = { max_calls: number | null; max_calls_per_second: number | null };

export const LIMIT_FIELDS = ["max_calls", "max_calls_per_second"];

export function limitFields(limits: Limits | undefined): LimitFields {
  return { max_calls: limits?.max_calls ?? "", max_calls_per_second: limits?.max_calls_per_second ?? "" };
}

export function limitsOf({ max_calls, max_calls_per_second }: LimitFields): Limits {
  const orNull = (value: number | "") => (value === "" ? null : value);
  return { max_calls: orNull(max_calls), max_calls_per_second: orNull(max_calls_per_second) };
}

/** For people: `at most 30 calls, 2 new ones a second`; empty where there is no bound. */
export function limitsText({ max_calls, max_calls_per_second }: Limits): string {
  const parts = [
    max_calls !== null && `${max_calls} ${max_calls === 1 ? "call" : "calls"} at once`,
    max_calls_per_second !== null && `${max_calls_per_second} new a second`,
  ].filter(Boolean);
  return parts.length === 0 ? "" : `at most ${parts.join(", ")}`;
}
