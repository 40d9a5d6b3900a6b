import { expect, test } from "vitest";

import type { Hours, Terms } from "../../api/types";
import { hoursFields, hoursOf } from "./hours";
import { termsFields, termsOf, termsText } from "./terms";

const hours: Hours = {
  zone: "Europe/London",
  windows: [
    { days: ["mon", "fri"], from: "08:00", until: "18:00" },
    { days: ["sun"], from: "22:00", until: "06:00" },
  ],
};

const nothing: Terms = {
  direction: "both",
  note: "hello",
  notice_days: 0,
  max_calls: null,
  max_calls_per_second: null,
  advance_on: null,
  prefixes_of_proposing: [],
  prefixes_of_accepting: [],
  hours: null,
  sites: [],
  demand: null,
  transit: { max_rate: null, rate_deck_id: null, margin_floor: null, min_asr_percent: null, min_ner_percent: null, max_pdd_ms: null },
};

const terms: Terms = {
  ...nothing,
  notice_days: 30,
  max_calls: 10,
  advance_on: { statuses: [486], causes: [] },
  prefixes_of_proposing: ["+4420"],
  prefixes_of_accepting: ["+49", "+33"],
  hours,
  sites: ["ams"],
  demand: "premium",
};

test("terms are told in a few words, and those that limit nothing are not told", () => {
  expect(termsText(terms, "Acme", "Globex")).toEqual([
    "at most 10 calls at once",
    "to Acme: +4420",
    "to Globex: +49, +33",
    "mon fri 08:00–18:00, sun 22:00–06:00 (Europe/London)",
    "demands premium",
    "first at ams",
    "goes on after 486",
    "30 days of notice",
  ]);
  expect(termsText(nothing, "Acme", "Globex")).toEqual([]);
});

test("a form that begins with terms says the same terms, from its own side", () => {
  const { prefixes_of_proposing, prefixes_of_accepting, ...rest } = terms;
  const same = { ...rest, direction: "outgoing", note: "" };
  expect(termsOf(termsFields("outgoing", terms))).toEqual({
    ...same,
    own_prefixes: prefixes_of_proposing,
    other_prefixes: prefixes_of_accepting,
  });
  expect(termsOf(termsFields("outgoing", terms, false))).toMatchObject({
    own_prefixes: prefixes_of_accepting,
    other_prefixes: prefixes_of_proposing,
  });
  expect(termsOf(termsFields("both"))).toMatchObject({ notice_days: 0, demand: null, hours: null, own_prefixes: [] });
});

test("what is asked of transit is told and kept by a form", () => {
  const asked: Terms = { ...nothing, transit: { ...nothing.transit, max_rate: "0.0200", rate_deck_id: "deck", margin_floor: "0.0010", min_asr_percent: 40 } };
  expect(termsText(asked, "Acme", "Globex")).toEqual([
    "transit up to 0.0200 a minute",
    "at least 0.0010 a minute left of transit",
    "transit answered 40 % at least",
  ]);
  expect(termsOf(termsFields("both", asked)).transit).toEqual(asked.transit);
});

test("hours keep the windows that the form does not show", () => {
  expect(hoursOf(hoursFields(hours))).toEqual(hours);
  expect(hoursOf({ ...hoursFields(hours), days: [] })?.windows).toEqual([hours.windows[1]]);
});
