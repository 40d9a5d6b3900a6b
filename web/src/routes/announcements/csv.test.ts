import { expect, test } from "vitest";

import { MAX_ROWS, preview } from "./csv";

const faultsOf = (text: string) => preview(text).rows.map(({ fault }) => fault);

test("a file is read with its line numbers", () => {
  const read = preview("prefix,endpoints\n+44207946,ams-1;ams-2\n\n+3120,ams-1 ams-3\n");
  expect(read).toMatchObject({ fault: null, faults: 0 });
  expect(read.rows).toEqual([
    { line: 2, prefix: "+44207946", endpoints: ["ams-1", "ams-2"], fault: null },
    { line: 4, prefix: "+3120", endpoints: ["ams-1", "ams-3"], fault: null },
  ]);
});

test("what spreadsheets write is taken: byte order mark, CR LF, quotes, spaces", () => {
  const read = preview('\uFEFF"Prefix", "Endpoints"\r\n"+44 20 7946","ams-1; ams-2"\r\n');
  expect(read.rows).toMatchObject([{ endpoints: ["ams-1", "ams-2"], fault: null }]);
});

test("a file without its header is refused as a whole", () => {
  expect(preview("+4420,ams-1\n").fault).toContain("first line");
  expect(preview("").fault).toContain("first line");
  expect(preview("prefix,endpoints\n\n").fault).toBe("The file has no rows.");
});

test("each bad row says what is wrong with it", () => {
  expect(faultsOf("prefix,endpoints\n4420,ams-1\n+4420,\n+44,ams-1,ams-2\n+1,ams-1")).toEqual([
    "The prefix must be a plus sign and 1 to 15 digits.",
    "No endpoint is named.",
    "There are more than two columns; separate endpoints by a semicolon.",
    null,
  ]);
});

test("a formula is no prefix", () => {
  expect(faultsOf('prefix,endpoints\n"=HYPERLINK(""x"")",ams-1')).toEqual(["The prefix must be a plus sign and 1 to 15 digits."]);
});

test("a prefix that comes twice names the first line", () => {
  expect(faultsOf("prefix,endpoints\n+44,a\n+44,b")).toEqual([null, "The prefix is on line 2 already."]);
});

test("a file beyond the API's bound is refused before it is sent", () => {
  const rows = Array.from({ length: MAX_ROWS + 1 }, (_, index) => `+${1_000_000 + index},a`);
  expect(preview(["prefix,endpoints", ...rows].join("\n")).fault).toContain("at most");
});
