import { expect, test } from "vitest";

import { SETTING_GROUPS, countDiffering, pathsOf, rulesOf, statusesOf, textOfRules, textOfStatuses, valueAt, withValue } from "./settings";

test("a setting is put at its path and taken away with its empty group", () => {
  const set = withValue({ probe: { interval_s: 5 } }, "headers.sent.others", "drop");
  expect(set).toEqual({ probe: { interval_s: 5 }, headers: { sent: { others: "drop" } } });
  expect(valueAt(set, "headers.sent.others")).toBe("drop");
  expect(withValue(set, "headers.sent.others", undefined)).toEqual({ probe: { interval_s: 5 } });
});

test("only settings that differ are counted", () => {
  const numbers = SETTING_GROUPS.find(({ group }) => group === "numbers");
  expect(numbers && countDiffering(numbers, { numbers: { country: "44", form: "national" }, identity: {} })).toBe(2);
});

test("header rules are read as they are written", () => {
  const rules = { "X-Account": { set: "a b" }, "X-Note": "drop" };
  expect(rulesOf(textOfRules(rules))).toEqual(rules);
  expect(rulesOf(" X-Note:  keep \n\n")).toEqual({ "X-Note": "keep" });
});

test("statuses are read as they are written", () => {
  const statuses = { "603": 486, "404": 480 };
  expect(statusesOf(textOfStatuses(statuses))).toEqual(statuses);
  expect(statusesOf("603 → 486")).toEqual({ "603": 486 });
});

test("each rule is one setting, and each of a group another", () => {
  const tree = { headers: { sent: { others: "keep", rules: { "X-A": "drop" } }, own_host: "name" }, codecs: { allow: [] }, size: { max_bytes: null } };
  expect(pathsOf(tree)).toEqual(["headers.sent.others", "headers.sent.rules", "headers.own_host", "codecs.allow", "size.max_bytes"]);
});
