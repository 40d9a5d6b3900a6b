import { expect, test } from "vitest";

import type { Selection } from "../api/types";
import { explain } from "./explain";

const route = (member_name: string, endpoint_name: string | null = null) => ({
  member_id: member_name,
  member_name,
  endpoint_name,
  prefix: "+44207946",
});

function candidate(member_name: string, endpoint_name: string | null = null): Selection["candidates"][number] {
  const hidden = endpoint_name === null;
  return { ...route(member_name, endpoint_name), kind: "home", rate: null, priority: hidden ? null : 1, weight: hidden ? null : 100 };
}

function selection(change: Partial<Selection>): Selection {
  return { called: "+442079460000", numbering: null, dip: null, table_version: 7, matched: "+44207946", candidates: [], left_out: [], refusal: null, ...change };
}

test("one candidate is one sentence on the prefix and one on the member", () => {
  const { summary } = explain(selection({ candidates: [candidate("globex")] }), "now");
  expect(summary).toBe("+44 20 7946 is the longest announced prefix that matches +44 20 7946 0000. The call goes to globex.");
});

test("of a past call it is told in the past", () => {
  const { summary } = explain(selection({ candidates: [candidate("globex")] }), "then");
  expect(summary).toBe("+44 20 7946 was the longest announced prefix that matched +44 20 7946 0000. The call was sent to globex.");
});

test("a ported number is explained by its routing number", () => {
  const dip = { routing_number: "+44161", source: "node" as const };
  expect(explain(selection({ dip, matched: "+44161", candidates: [candidate("globex")] }), "now").summary).toBe(
    "+44 20 7946 0000 is ported to +44161, by the ported numbers of the node. " +
      "+44161 is the longest announced prefix that matches +44161. The call goes to globex.",
  );
});

test("of a number about which nobody answered in time it is said so", () => {
  const dip = { routing_number: null, source: "unanswered" as const };
  expect(explain(selection({ dip, candidates: [candidate("globex")] }), "then").summary).toContain(
    "Whether +44 20 7946 0000 is ported was not said in time, so the number itself decided. +44 20 7946 was the longest",
  );
});

test("several candidates say that they are tried in order", () => {
  expect(explain(selection({ candidates: [candidate("globex"), candidate("globex")] }), "now").summary).toContain(
    "The call goes to globex, to 2 endpoints in this order until one takes it.",
  );
  expect(explain(selection({ candidates: [candidate("globex"), candidate("initech")] }), "now").summary).toContain(
    "2 endpoints of 2 members",
  );
});

test("endpoints of another member, which are not shown, make one line", () => {
  const candidates = [candidate("globex"), candidate("globex"), candidate("acme", "ams-1"), candidate("acme", "ams-2")];
  expect(explain(selection({ candidates }), "now").order.map(({ member, endpoint, endpoints }) => [member, endpoint, endpoints])).toEqual([
    ["globex", null, 2],
    ["acme", "ams-1", 1],
    ["acme", "ams-2", 1],
  ]);
});

test("a refusal names its status and its reason", () => {
  const refusal = { code: "no_agreement" as const, status: 403, sentence: "no agreement lets you call it", remedy: "Propose one." };
  expect(explain(selection({ refusal }), "now").summary).toContain("The call would be refused with 403: no agreement lets you call it.");
});

test("what is left out says what, why and what to do", () => {
  const left_out = [{ ...route("globex", "lon-2"), authority: null, code: "endpoint_full" as const, sentence: "the endpoint is full", remedy: "Try again." }];
  expect(explain(selection({ left_out }), "now").leftOut).toEqual([
    { what: "globex, lon-2, +44 20 7946", why: "The endpoint is full.", remedy: "Try again.", code: "endpoint_full" },
  ]);
});

test("what leads onward is told as transit, with its rate where that is shown", () => {
  const transit = (name: string, rate: string | null): Selection["candidates"][number] => ({ ...candidate(name), kind: "transit", rate, prefix: "+44" });
  const { summary, order } = explain(selection({ matched: null, candidates: [transit("telco", "0.0100"), transit("other", null)] }), "now");
  expect(summary).toBe(
    "No member announces +44 20 7946 0000; it is carried onward by transit. The call goes to 2 endpoints of 2 members, in this order until one takes it.",
  );
  expect(order.map((each) => each.transit)).toEqual(["transit at 0.0100 a minute", "transit"]);
});
