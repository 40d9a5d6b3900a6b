// @vitest-environment happy-dom
import { expect, test } from "vitest";

import { keyOf, PART, rangeOf } from "./upload";

test("a part says which octets of the file it has", () => {
  expect(rangeOf(0, 10)).toEqual({ end: 10, header: "bytes 0-9/10" });
  expect(rangeOf(PART, PART + 1)).toEqual({ end: PART + 1, header: `bytes ${PART}-${PART}/${PART + 1}` });
  expect(rangeOf(0, 3 * PART).end).toBe(PART);
});

test("a key is that of a file and of what is wished of it, and a header takes it", () => {
  const file = { name: "Zürich routes.csv", size: 10, lastModified: 1 };
  expect(keyOf(file, "merge")).toBe(keyOf({ ...file }, "merge"));
  expect(keyOf(file, "merge")).not.toBe(keyOf(file, "replace"));
  expect(keyOf(file, "merge")).not.toBe(keyOf({ ...file, lastModified: 2 }, "merge"));
  expect(keyOf({ ...file, name: "é".repeat(300) }, "merge")).toMatch(/^[\x20-\x7e]{1,200}$/);
});
