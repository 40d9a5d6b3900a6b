// The filters of the list of calls, kept in the URL so that a view can be sent to a colleague.
import type { Outcome } from "../../api/types";
import { plainNumber } from "../../format/number";

export const OUTCOME_WORDS: Record<Outcome, string> = {
  answered: "answered",
  busy: "busy",
  no_answer: "no answer",
  cancelled: "cancelled",
  rejected: "rejected",
  refused: "refused by the hub",
  failed: "failed",
  redirected: "redirected to call directly",
};

export type CallFilters = {
  number?: string;
  outcome?: Outcome;
  up?: boolean;
  from?: string;
  until?: string;
};

/** The filters as query parameters of the API; what the API would not take is left out. */
export function filtersOf(search: URLSearchParams): CallFilters {
  const filters: CallFilters = {};
  const number = plainNumber(search.get("number") ?? "");
  if (/^\+?\d+$/.test(number)) filters.number = number;
  const outcome = search.get("outcome");
  if (outcome !== null && isOutcome(outcome)) filters.outcome = outcome;
  if (search.get("up") === "true") filters.up = true;
  const from = utcOf(search.get("from"));
  const until = utcOf(search.get("until"));
  if (from) filters.from = from;
  if (until) filters.until = until;
  return filters;
}

/** `2026-11-22T15:46`, as a date field writes it, in UTC. */
function utcOf(typed: string | null): string | null {
  if (!typed || !/^\d{4}-\d\d-\d\dT\d\d:\d\d$/.test(typed)) return null;
  const at = new Date(`${typed}:00Z`);
  return Number.isNaN(at.getTime()) ? null : at.toISOString();
}

function isOutcome(text: string): text is Outcome {
  return Object.hasOwn(OUTCOME_WORDS, text);
}
