// The terms of an agreement, in words and in a form.
import type { ProposedDirection, Terms, TermsInput } from "../../api/types";
import { type LimitFields, limitFields, limitsOf, limitsText } from "../../parts/limits";
import { type AdvanceFields, advanceFields, advanceOf, advanceText } from "./advance";

export type TermsFields = { direction: ProposedDirection; note: string; notice_days: number | "" } & LimitFields & AdvanceFields;

/** What a form begins with: other terms, or none. */
export function termsFields(direction: ProposedDirection, terms?: Terms): TermsFields {
  return {
    direction,
    note: "",
    notice_days: terms === undefined || terms.notice_days === 0 ? "" : terms.notice_days,
    ...limitFields(terms),
    ...advanceFields(terms?.advance_on ?? null),
  };
}

export function termsOf({ direction, note, notice_days, statuses, causes, ...limits }: TermsFields): TermsInput {
  return {
    direction,
    note,
    notice_days: notice_days === "" ? 0 : notice_days,
    ...limitsOf(limits),
    advance_on: advanceOf({ statuses, causes }),
  };
}

/** For people: each term that limits something, in a few words. */
export function termsText(terms: Terms): string[] {
  const advance = advanceText(terms.advance_on);
  return [
    limitsText(terms),
    advance && `goes on ${advance}`,
    terms.notice_days > 0 && `${terms.notice_days} ${terms.notice_days === 1 ? "day" : "days"} of notice`,
  ].filter((line) => typeof line === "string" && line !== "") as string[];
}
