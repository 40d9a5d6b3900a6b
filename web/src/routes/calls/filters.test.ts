import { expect, test } from "vitest";

import { filtersOf } from "./filters";

const read = (search: string) => filtersOf(new URLSearchParams(search));

test("filters are read from the URL", () => {
  expect(read("number=%2B44+20&outcome=busy&up=true&from=2026-11-22T15:46")).toEqual({
    number: "+4420",
    outcome: "busy",
    up: true,
    from: "2026-11-22T15:46:00.000Z",
  });
});

test("what the API would refuse is left out", () => {
  expect(read("number=alice&outcome=lost&up=maybe&from=yesterday&until=2026-99-99T99:99")).toEqual({});
  expect(read("")).toEqual({});
});
