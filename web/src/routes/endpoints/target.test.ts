import { expect, test } from "vitest";

import { fieldsOf, targetOf } from "./target";

test("a target survives the form unchanged", () => {
  for (const target of [
    "sip:192.0.2.21:5060;transport=udp",
    "sip:192.0.2.21:5061;transport=tcp",
    "sip:[2001:db8::21]:5060;transport=udp",
    "sip:192.0.2.21;transport=tcp",
    "sip:sbc.acme.example:5061;transport=tls",
    "sip:acme.example",
    "registration",
  ]) {
    expect(targetOf(fieldsOf(target))).toBe(target);
  }
});

test("an IPv6 address may be typed with or without brackets", () => {
  for (const host of ["2001:db8::21", "[2001:db8::21]", " 2001:db8::21 "]) {
    expect(targetOf({ host, port: 5060, transport: "udp" })).toBe("sip:[2001:db8::21]:5060;transport=udp");
  }
});
