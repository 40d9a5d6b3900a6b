import { expect, test } from "vitest";

import type { Terms } from "../../api/types";
import { termsFields, termsOf, termsText } from "./terms";

const terms: Terms = {
  direction: "both",
  note: "hello",
  notice_days: 30,
  max_calls: 10,
  max_calls_per_second: null,
  advance_on: { statuses: [486], causes: [] },
};

test("terms are told in a few words, and those that limit nothing are not told", () => {
  expect(termsText(terms)).toEqual(["at most 10 calls at once", "goes on after 486", "30 days of notice"]);
  expect(termsText({ ...terms, notice_days: 0, max_calls: null, advance_on: null })).toEqual([]);
});

test("a form that begins with terms says the same terms, with a note of its own", () => {
  expect(termsOf(termsFields("outgoing", terms))).toEqual({ ...terms, direction: "outgoing", note: "" });
  expect(termsOf(termsFields("both"))).toMatchObject({ notice_days: 0, max_calls: null, advance_on: null });
});
