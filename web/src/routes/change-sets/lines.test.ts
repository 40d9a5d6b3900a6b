import { expect, test } from "vitest";

import { announcedLines, withdrawnLines } from "./lines";

test("a line is a prefix and its endpoints, however they are parted", () => {
  const two = { prefix: "+44207946", endpoints: ["ams-1", "ams-2"] };
  expect(announcedLines("+44207946,ams-1;ams-2\n\n +44 20 7946 ams-1 ams-2 ")).toEqual([two, two]);
});

test("what is no prefix is sent as it is, for the exchange to say so", () => {
  expect(announcedLines("ams-1")).toEqual([{ prefix: "", endpoints: ["ams-1"] }]);
  expect(withdrawnLines("+44 20\nx\n")).toEqual(["+4420", "x"]);
});
