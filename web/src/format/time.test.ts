import { expect, test } from "vitest";

import { clock, length, milliseconds, moment, since } from "./time";

test("times are UTC wherever the browser is", () => {
  expect(moment("2026-11-22T15:46:05+01:00")).toBe("22 Nov 2026 14:46:05");
  expect(clock("2026-11-22T00:00:00Z")).toBe("00:00:00");
});

test("a duration is written as on a telephone bill", () => {
  expect(length(6_600)).toBe("0:07");
  expect(length(185_000)).toBe("3:05");
  expect(length(3_723_000)).toBe("1:02:03");
});

test("the past is told in words while it is near", () => {
  const now = new Date("2026-11-22T12:00:00Z");
  expect(since("2026-11-22T12:00:00Z", now)).toBe("now");
  expect(since("2026-11-22T11:59:48Z", now)).toBe("12 s ago");
  expect(since("2026-11-22T11:57:00Z", now)).toBe("3 min ago");
  expect(since("2026-11-22T07:00:00Z", now)).toBe("5 h ago");
  expect(since("2026-11-01T07:00:00Z", now)).toBe("1 Nov 2026");
});

test("short times are in ms, long ones in s", () => {
  expect(milliseconds(83.6)).toBe("84 ms");
  expect(milliseconds(1240)).toBe("1.24 s");
});
