import { expect, test } from "vitest";

import { groupsOf, isPrefix, plainNumber } from "./number";

test("a number of a plan without doubt is grouped", () => {
  expect(groupsOf("+442079460000").join(" ")).toBe("+44 20 7946 0000");
  expect(groupsOf("+12025550123").join(" ")).toBe("+1 202 555 0123");
  expect(groupsOf("+33123456789").join(" ")).toBe("+33 1 23 45 67 89");
  expect(groupsOf("442079460000").join(" ")).toBe("+44 20 7946 0000");
});

test("a prefix is grouped as far as it goes", () => {
  expect(groupsOf("+44").join(" ")).toBe("+44");
  expect(groupsOf("+4420794").join(" ")).toBe("+44 20 794");
});

test("what could be grouped in two ways stays plain", () => {
  expect(groupsOf("+441632960123")).toEqual(["+441632960123"]);
  expect(groupsOf("+4930123456")).toEqual(["+4930123456"]);
  expect(groupsOf("+4420794600001")).toEqual(["+4420794600001"]);
});

test("what is no number is left as it came", () => {
  expect(groupsOf("anonymous")).toEqual(["anonymous"]);
  expect(groupsOf("02079460000")).toEqual(["02079460000"]);
});

test("no digit is lost or added by grouping", () => {
  for (const number of ["+1", "+12", "+4477", "+3161234", "+35220", "+34912345678", "+4512345678"]) {
    expect(groupsOf(number).join("")).toBe(number);
  }
});

test("typed numbers become E.164", () => {
  expect(plainNumber(" +44 (20) 7946-0000 ")).toBe("+442079460000");
  expect(plainNumber("0044 20 7946 0000")).toBe("+442079460000");
  expect(plainNumber("442079460000")).toBe("+442079460000");
  // A national number is not E.164; the API says so, we do not guess the country.
  expect(plainNumber("020 7946 0000")).toBe("02079460000");
});

test("a prefix has a plus sign and at most 15 digits", () => {
  expect(isPrefix("+4420")).toBe(true);
  for (const wrong of ["4420", "+", "+0", "+44x", "+1234567890123456"]) expect(isPrefix(wrong)).toBe(false);
});
