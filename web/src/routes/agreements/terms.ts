// The terms of an agreement, in words and in a form.
import type { Hours, ProposedDirection, Terms, TermsInput } from "../../api/types";
import { type LimitFields, limitFields, limitsOf, limitsText } from "../../parts/limits";
import { type AdvanceFields, advanceFields, advanceOf, advanceText } from "./advance";
import { type HoursFields, hoursFields, hoursOf, hoursText } from "./hours";

export type TermsFields = {
  direction: ProposedDirection;
  note: string;
  notice_days: number | "";
  own_prefixes: string;
  other_prefixes: string;
  demand: string;
  sites: string[];
} & LimitFields &
  AdvanceFields &
  HoursFields;

/** What a form begins with: other terms, as the proposing member or the accepting one sees them, or none. */
export function termsFields(direction: ProposedDirection, terms?: Terms, isProposing = true): TermsFields {
  const [own, other] = isProposing
    ? [terms?.prefixes_of_proposing, terms?.prefixes_of_accepting]
    : [terms?.prefixes_of_accepting, terms?.prefixes_of_proposing];
  return {
    direction,
    note: "",
    notice_days: terms === undefined || terms.notice_days === 0 ? "" : terms.notice_days,
    own_prefixes: (own ?? []).join(", "),
    other_prefixes: (other ?? []).join(", "),
    demand: terms?.demand ?? "",
    sites: terms?.sites ?? [],
    ...limitFields(terms),
    ...advanceFields(terms?.advance_on ?? null),
    ...hoursFields(terms?.hours ?? null),
  };
}

export function termsOf(fields: TermsFields): TermsInput {
  const { direction, note, notice_days, own_prefixes, other_prefixes, demand, sites } = fields;
  return {
    direction,
    note,
    notice_days: notice_days === "" ? 0 : notice_days,
    own_prefixes: wordsOf(own_prefixes),
    other_prefixes: wordsOf(other_prefixes),
    demand: demand.trim() === "" ? null : demand,
    sites,
    ...limitsOf(fields),
    advance_on: advanceOf(fields),
    hours: hoursOf(fields),
  };
}

function wordsOf(text: string): string[] {
  return text.split(/[\s,;]+/).filter(Boolean);
}

/** For people: each term that limits something, in a few words. */
export function termsText(terms: Terms, proposing: string, accepting: string): string[] {
  const prefixes = (who: string, list: string[]) => list.length > 0 && `to ${who}: ${list.join(", ")}`;
  const hours: Hours | null = terms.hours;
  const advance = advanceText(terms.advance_on);
  const lines = [
    limitsText(terms),
    prefixes(proposing, terms.prefixes_of_proposing),
    prefixes(accepting, terms.prefixes_of_accepting),
    hours && hoursText(hours),
    terms.demand && `demands ${terms.demand}`,
    terms.sites.length > 0 && `first at ${terms.sites.join(", ")}`,
    advance && `goes on ${advance}`,
    terms.notice_days > 0 && `${terms.notice_days} ${terms.notice_days === 1 ? "day" : "days"} of notice`,
  ];
  return lines.filter((line) => typeof line === "string" && line !== "") as string[];
}
