import { expect, test } from "vitest";

import { changesOf } from "./changes";

test("only the fields that differ are told", () => {
  expect(changesOf({ name: "ams-1", enabled: true, max_calls: null }, { name: "ams-1", enabled: false, max_calls: 20 })).toEqual([
    { field: "enabled", before: "true", after: "false" },
    { field: "max_calls", before: null, after: "20" },
  ]);
});

test("of a new object every field is told", () => {
  expect(changesOf(null, { prefix: "+4420", endpoints: ["a"] })).toEqual([
    { field: "endpoints", before: null, after: '["a"]' },
    { field: "prefix", before: null, after: "+4420" },
  ]);
});
