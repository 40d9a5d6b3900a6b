// The terms of an agreement, in words and in a form.
import type { Hours, ProposedDirection, Terms, TermsInput, TransitAsked } from "../../api/types";
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
  transit: TransitFields;
} & LimitFields &
  AdvanceFields &
  HoursFields;

/** What is asked of transit, as it is typed. */
export type TransitFields = {
  max_rate: string;
  rate_deck_id: string | null;
  margin_floor: string;
  min_asr_percent: number | "";
  min_ner_percent: number | "";
  max_pdd_ms: number | "";
};

function transitFields(asked: TransitAsked | undefined): TransitFields {
  return {
    max_rate: asked?.max_rate ?? "",
    rate_deck_id: asked?.rate_deck_id ?? null,
    margin_floor: asked?.margin_floor ?? "",
    min_asr_percent: asked?.min_asr_percent ?? "",
    min_ner_percent: asked?.min_ner_percent ?? "",
    max_pdd_ms: asked?.max_pdd_ms ?? "",
  };
}

function transitOf(fields: TransitFields): TransitAsked {
  const text = (typed: string) => (typed.trim() === "" ? null : typed.trim());
  const figure = (typed: number | "") => (typed === "" ? null : typed);
  return {
    max_rate: text(fields.max_rate),
    rate_deck_id: fields.rate_deck_id,
    margin_floor: text(fields.margin_floor),
    min_asr_percent: figure(fields.min_asr_percent),
    min_ner_percent: figure(fields.min_ner_percent),
    max_pdd_ms: figure(fields.max_pdd_ms),
  };
}

/** For people: what is asked of transit, in a few words. */
export function transitText(asked: TransitAsked): string[] {
  const { max_rate, margin_floor, min_asr_percent, min_ner_percent, max_pdd_ms } = asked;
  const lines = [
    max_rate && `transit up to ${max_rate} a minute`,
    margin_floor && `at least ${margin_floor} a minute left of transit`,
    min_asr_percent && `transit answered ${min_asr_percent} % at least`,
    min_ner_percent && `transit reaching ${min_ner_percent} % at least`,
    max_pdd_ms && `transit ringing within ${max_pdd_ms} ms`,
  ];
  return lines.filter((line) => typeof line === "string");
}

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
    transit: transitFields(terms?.transit),
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
    transit: transitOf(fields.transit),
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
    ...transitText(terms.transit),
    terms.notice_days > 0 && `${terms.notice_days} ${terms.notice_days === 1 ? "day" : "days"} of notice`,
  ];
  return lines.filter((line) => typeof line === "string" && line !== "") as string[];
}
