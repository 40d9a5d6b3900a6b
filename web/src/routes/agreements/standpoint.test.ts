import { expect, test } from "vitest";

import type { Agreement } from "../../api/types";
import { standpoint } from "./standpoint";

const acme = { member_id: "a", name: "acme", display_name: "Acme" };
const globex = { member_id: "g", name: "globex", display_name: "Globex" };

function agreement(change: Partial<Agreement>): Agreement {
  return {
    agreement_id: "1",
    proposing_member: acme,
    accepting_member: globex,
    direction: "to_accepting",
    state: "proposed",
    offered_by: acme,
    version: 1,
    suspended_by: [],
    note: "",
    notice_days: 0,
    valid_from: null,
    valid_until: null,
    proposed_at: "2026-11-22T12:00:00Z",
    decided_at: null,
    ended_at: null,
    max_calls: null,
    max_calls_per_second: null,
    advance_on: null,
    prefixes_of_proposing: [],
    prefixes_of_accepting: [],
    transit: {},
    hours: null,
    sites: [],
    demand: null,
    may_answer: false,
    ...change,
  };
}

test("the same agreement is outgoing for one member and incoming for the other", () => {
  expect(standpoint(agreement({}), "a")).toMatchObject({ other: globex, direction: "outgoing" });
  expect(standpoint(agreement({}), "g")).toMatchObject({ other: acme, direction: "incoming" });
  expect(standpoint(agreement({ direction: "to_proposing" }), "a").direction).toBe("incoming");
  expect(standpoint(agreement({ direction: "both" }), "g").direction).toBe("both");
});

test("a proposal waits for whoever was asked", () => {
  expect(standpoint(agreement({}), "a").waitsFor).toBe("Globex");
  expect(standpoint(agreement({ may_answer: true }), "g").waitsFor).toBe("You");
  expect(standpoint(agreement({ state: "accepted" }), "a").waitsFor).toBeNull();
});

test("terms that were answered with others wait for whoever did not offer them last", () => {
  const countered = { state: "countered", offered_by: globex } as const;
  expect(standpoint(agreement({ ...countered, may_answer: true }), "a")).toMatchObject({ waitsFor: "You", acts: [] });
  expect(standpoint(agreement(countered), "g")).toMatchObject({ waitsFor: "Acme", acts: ["take back"] });
});

test("who suspended an agreement can resume it, and the other one can suspend it too", () => {
  const suspended = agreement({ state: "suspended", suspended_by: [globex] });
  expect(standpoint(suspended, "g")).toMatchObject({ heldUpBy: "you", acts: ["resume", "end"] });
  expect(standpoint(suspended, "a")).toMatchObject({ heldUpBy: "Globex", acts: ["suspend", "end"] });
  expect(standpoint(agreement({ state: "ending" }), "a").acts).toEqual(["suspend"]);
});
