import { expect, test } from "vitest";

import { socketOf, uriOf } from "./listener";

test("an IPv6 address stands in brackets", () => {
  const listener = { site: "ams", address: "2001:db8::10", port: 5060, transport: "tcp" as const };
  expect(socketOf(listener)).toBe("[2001:db8::10]:5060");
  expect(uriOf(listener)).toBe("sip:[2001:db8::10]:5060;transport=tcp");
});
