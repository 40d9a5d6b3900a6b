import { expect, test } from "vitest";

import { describeNumbering } from "./numbering";

test("a country is named, and its type", () => {
  expect(describeNumbering({ country_code: 44, countries: ["GB"], types: ["fixed_line"] })).toBe("United Kingdom, fixed line");
  expect(describeNumbering({ country_code: 1, countries: ["US"], types: ["fixed_line", "mobile"] })).toBe("United States, fixed line or mobile");
  expect(describeNumbering({ country_code: 800, countries: ["001"], types: ["toll_free"] })).toBe("international, toll free");
});

test("a prefix that many countries or types share is not pinned to one", () => {
  const countries = ["US", "CA", "JM", "BS"];
  expect(describeNumbering({ country_code: 1, countries, types: ["toll_free"] })).toBe("+1, shared by 4 countries, toll free");
  expect(describeNumbering({ country_code: 49, countries: ["DE"], types: ["fixed_line", "mobile", "pager"] })).toBe("Germany, several types");
});
