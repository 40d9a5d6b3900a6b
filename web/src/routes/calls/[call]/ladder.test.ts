import { expect, test } from "vitest";

import type { LadderMessage } from "../../../api/types";
import { labelOf, rowsOf } from "./ladder";

const GLOBEX = { member_id: "2", name: "globex", display_name: "Globex" };

function message(at: string, change: Partial<LadderMessage> = {}): LadderMessage {
  return {
    position: 1,
    at,
    leg: "originating",
    attempt: null,
    member: GLOBEX,
    direction: "received",
    again: false,
    method: "INVITE",
    status: null,
    has_session: false,
    whole: true,
    transport: "udp",
    hub_address: "192.0.2.1:5060",
    member_address: "192.0.2.2:5060",
    text: "",
    ...change,
  };
}

test("a message is named by its method, or by its status and phrase", () => {
  const named = (change: Partial<LadderMessage>) => labelOf(message("2026-01-01T00:00:00Z", change));
  expect(named({ method: "BYE" })).toBe("BYE");
  expect(named({ status: 180 })).toBe("180 Ringing");
  expect(named({ status: 299 })).toBe("299");
  expect(named({ status: 200, method: "BYE" })).toBe("200 OK (BYE)");
  expect(named({ status: 299, method: "BYE" })).toBe("299 (BYE)");
});

test("arrows point from who sent a message to who got it", () => {
  const at = "2026-01-01T00:00:00Z";
  const rows = rowsOf([
    message(at),
    message(at, { direction: "sent" }),
    message(at, { leg: "terminating", attempt: 1, direction: "sent" }),
    message(at, { leg: "terminating", attempt: 1 }),
  ]);
  expect(rows.map(({ between, points }) => `${between} ${points}`)).toEqual(["left right", "left left", "right right", "right left"]);
});

test("times are seconds since the first message, to the millisecond", () => {
  const times = ["2026-01-01T00:00:00.999900Z", "2026-01-01T00:00:01.001Z", "2026-01-01T00:01:01Z"];
  expect(rowsOf(times.map((at) => message(at))).map(({ offset }) => offset)).toEqual(["0.000", "0.001", "60.000"]);
});

test("the first message of each attempt says so", () => {
  const at = "2026-01-01T00:00:00Z";
  const to = (attempt: number) => message(at, { leg: "terminating", attempt, direction: "sent" });
  expect(rowsOf([message(at), to(1), to(1), to(2)]).map(({ attempt }) => attempt)).toEqual([null, 1, null, 2]);
});
