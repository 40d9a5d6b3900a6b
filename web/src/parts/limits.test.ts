import { expect, test } from "vitest";

import { limitFields, limitsOf, limitsText } from "./limits";

test("an empty field is no bound, and back", () => {
  const limits = { max_calls: 30, max_calls_per_second: null };
  expect(limitFields(limits)).toEqual({ max_calls: 30, max_calls_per_second: "" });
  expect(limitsOf(limitFields(limits))).toEqual(limits);
  expect(limitsOf(limitFields(undefined))).toEqual({ max_calls: null, max_calls_per_second: null });
});

test("limits are said in words", () => {
  expect(limitsText({ max_calls: null, max_calls_per_second: null })).toBe("");
  expect(limitsText({ max_calls: 1, max_calls_per_second: 2 })).toBe("at most 1 call at once, 2 new a second");
});
