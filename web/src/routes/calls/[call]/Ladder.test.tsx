// @vitest-environment happy-dom
import { MantineProvider } from "@mantine/core";
import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { cleanup, fireEvent, render, screen } from "@testing-library/react";
import { MemoryRouter } from "react-router";
import { afterEach, expect, test, vi } from "vitest";

import type { Call, LadderMessage } from "../../../api/types";
import { Ladder } from "./Ladder";

afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
});

const ACME = { member_id: "1", name: "acme", display_name: "Acme" };
const PAYLOAD = "INVITE sip:x SIP/2.0\r\nSubject: <img src=x onerror=\"alert(1)\"><script>alert(2)</script>\r\n\r\n";

function message(position: number, change: Partial<LadderMessage> = {}): LadderMessage {
  return {
    position,
    at: "2026-01-01T00:00:00Z",
    leg: "originating",
    attempt: null,
    member: ACME,
    direction: "received",
    again: false,
    method: "INVITE",
    status: null,
    has_session: true,
    whole: true,
    transport: "udp",
    hub_address: "192.0.2.1:5060",
    member_address: "192.0.2.2:5060",
    text: PAYLOAD,
    ...change,
  };
}

function show(messages: LadderMessage[], traced = true) {
  const answered = { traced, dropped: 0, messages };
  vi.stubGlobal("fetch", () => Promise.resolve(Response.json(answered)));
  const call = { call_id: "c", side: "originating", originating_member: ACME, called: "442079460000", ended_at: "2026-01-01T00:00:09Z" } as Call;
  render(
    <MantineProvider env="test">
      <QueryClientProvider client={new QueryClient()}>
        <MemoryRouter>
          <Ladder call={call} attempts={[]} memberId="1" />
        </MemoryRouter>
      </QueryClientProvider>
    </MantineProvider>,
  );
}

test("what a message holds is text and never becomes markup", async () => {
  show([message(1)]);
  fireEvent.click(await screen.findByRole("button", { name: /^INVITE, from Acme/ }));
  expect(screen.getByLabelText("The message").textContent).toBe(PAYLOAD);
  expect(document.querySelector("img, script")).toBeNull();
});

test("the arrow keys lead from one message to the next", async () => {
  show([message(1), message(2, { direction: "sent", status: 100 })]);
  const first = await screen.findByRole("button", { name: /^INVITE/ });
  const second = screen.getByRole("button", { name: /^100 Trying, from the exchange to Acme/ });
  first.focus();
  fireEvent.keyDown(first, { key: "ArrowDown" });
  expect(document.activeElement).toBe(second);
  fireEvent.keyDown(second, { key: "ArrowUp" });
  expect(document.activeElement).toBe(first);
});

test("a long call is shown a page at a time", async () => {
  show(Array.from({ length: 250 }, (_, index) => message(index + 1)));
  const more = await screen.findByText("Show more of 250 messages");
  const rows = () => document.querySelectorAll(".ladder-row").length;
  expect(rows()).toBe(100);
  fireEvent.click(more);
  fireEvent.click(more);
  expect(rows()).toBe(250);
  expect(screen.queryByText(/^Show more/)).toBeNull();
  // Hundreds of rows take a while on a busy machine.
}, 30_000);

test("of a call that was not traced the page says how to trace the next ones", async () => {
  show([], false);
  expect(await screen.findByText(/were not kept/)).toBeTruthy();
  expect(screen.getByRole("button", { name: "Trace calls" })).toBeTruthy();
});
