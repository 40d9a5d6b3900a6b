import { expect, test } from "vitest";

import { advanceOf, advanceText, numbersFault } from "./advance";

test("numbers are read from the fields, and two empty fields are the rule of the hub", () => {
  expect(advanceOf({ statuses: "486, 503", causes: " 34 " })).toEqual({ statuses: [486, 503], causes: [34] });
  expect(advanceOf({ statuses: "", causes: "34;38" })).toEqual({ statuses: [], causes: [34, 38] });
  expect(advanceOf({ statuses: " ", causes: "" })).toBeNull();
});

test("what is no number is named before it is sent", () => {
  expect(numbersFault("486, busy")).toMatch(/whole numbers/);
  expect(numbersFault("486 503")).toBeNull();
});

test("the lists are said in words", () => {
  expect(advanceText(null)).toBe("");
  expect(advanceText({ statuses: [486, 503], causes: [34] })).toBe("after 486, 503, Q.850 34");
  expect(advanceText({ statuses: [], causes: [] })).toBe("after no response");
});
