import { expect, test } from "vitest";

import { checklist, isLive, type Standing } from "./checklist";

const me = { member_id: "a", name: "acme", display_name: "Acme" };
const other = { member_id: "g", name: "globex", display_name: "Globex" };

const NEWCOMER: Standing = {
  member: { member_id: "a", state: "applied" },
  endpoints: [],
  ranges: [],
  announcements: [],
  agreements: [],
  calls: 0,
};

const READY: Standing = {
  member: { member_id: "a", state: "approved" },
  endpoints: [{ enabled: true }],
  ranges: [{ authority: "valid", prefix: "+4420" }],
  announcements: [{ routable: true, prefix: "+4420", reason: null }],
  agreements: [{ state: "accepted", may_answer: false, proposing_member: me, accepting_member: other }],
  calls: 0,
};

const states = (standing: Standing) => Object.fromEntries(checklist(standing).map(({ key, state }) => [key, state]));
const step = (standing: Standing, key: string) => checklist(standing).find((found) => found.key === key);

test("a newcomer may prepare while the operator decides", () => {
  expect(states(NEWCOMER)).toEqual({
    approval: "waiting",
    endpoint: "now",
    range: "now",
    announcement: "later",
    agreement: "now",
    live: "later",
  });
});

test("with every step done, what is left is a call", () => {
  expect(step(READY, "live")).toMatchObject({ state: "now", who: "You" });
  expect(isLive(checklist(READY))).toBe(false);
  expect(isLive(checklist({ ...READY, calls: 3 }))).toBe(true);
});

test("a claimed range waits for the operator, a refused one for the member", () => {
  expect(step({ ...NEWCOMER, ranges: [{ authority: "pending", prefix: "+4420" }] }, "range")).toMatchObject({
    state: "waiting",
    who: "The operator",
  });
  expect(step({ ...NEWCOMER, ranges: [{ authority: "refused", prefix: "+4420" }] }, "range")).toMatchObject({
    state: "now",
    who: "You",
  });
});

test("an announcement in an unverified range waits for the operator", () => {
  const announcements: Standing["announcements"] = [{ routable: false, prefix: "+4420", reason: "range_unverified" }];
  expect(step({ ...READY, announcements }, "announcement")).toMatchObject({ state: "waiting", who: "The operator" });
});

test("who must answer a proposal is named", () => {
  const proposed = { state: "proposed" as const, proposing_member: me, accepting_member: other, may_answer: false };
  expect(step({ ...READY, agreements: [proposed] }, "agreement")).toMatchObject({ state: "waiting", who: "Globex" });
  const asked = { state: "proposed" as const, proposing_member: other, accepting_member: me, may_answer: true };
  expect(step({ ...READY, agreements: [asked] }, "agreement")).toMatchObject({ state: "now", who: "You" });
});

test("disabled endpoints do not count as connected", () => {
  expect(step({ ...READY, endpoints: [{ enabled: false }] }, "endpoint")?.state).toBe("now");
});

test("a suspended member is told that no call crosses", () => {
  const suspended = step({ ...READY, member: { member_id: "a", state: "suspended" } }, "approval");
  expect(suspended).toMatchObject({ state: "waiting", who: "The operator" });
});
