import { expect, test } from "vitest";

import { healthLook } from "./health";

const of = (up: number, ramping: number, down: number, held = 0) => healthLook({ enabled: true, health: { up, ramping, down, held } }).text;

test("the worst that any node sees is shown, and on how many nodes where not on all", () => {
  expect(of(2, 0, 0)).toBe("up");
  expect(of(0, 0, 2)).toBe("down");
  expect(of(1, 1, 1)).toBe("down on 1 of 3 nodes");
  expect(of(1, 1, 0)).toBe("coming back on 1 of 2 nodes");
  expect(of(1, 0, 0, 1)).toBe("held");
  expect(of(0, 0, 0)).toBe("not heard of yet");
});

test("a disabled endpoint is disabled, whatever was heard of it", () => {
  expect(healthLook({ enabled: false, health: { up: 1, ramping: 0, down: 0, held: 0 } }).text).toBe("disabled");
});
