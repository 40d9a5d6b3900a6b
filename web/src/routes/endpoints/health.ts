// What the nodes know of an endpoint, in words.
import type { Endpoint, HealthSign } from "../../api/types";

export type Look = { color: string; text: string };

/** One look for all nodes: the worst that any of them sees, and on how many where not on all. */
export function healthLook({ enabled, health }: Pick<Endpoint, "enabled" | "health">): Look {
  if (!enabled) return { color: "gray", text: "disabled" };
  const { up = 0, ramping = 0, down = 0, held = 0 } = health ?? {};
  const nodes = up + ramping + down;
  const some = (bad: number) => (bad < nodes ? ` on ${bad} of ${nodes} nodes` : "");
  if (down > 0) return { color: "red", text: `down${some(down)}` };
  if (held > 0) return { color: "copper", text: `held${some(held)}` };
  if (ramping > 0) return { color: "copper", text: `coming back${some(ramping)}` };
  if (up > 0) return { color: "petrol", text: "up" };
  return { color: "gray", text: "not heard of yet" };
}

export const STATES: Record<string, Look> = {
  up: { color: "petrol", text: "up" },
  ramping: { color: "copper", text: "coming back" },
  down: { color: "red", text: "down" },
  unknown: { color: "gray", text: "not heard of yet" },
};

export const SIGNS: Record<HealthSign, string> = {
  probe_answered: "It answered a probe.",
  probe_unanswered: "Probes went unanswered.",
  probe_refused: "It answered probes with 408 or 503.",
  call_taken: "It took a call.",
  call_unanswered: "Calls went unanswered.",
  call_refused: "It refused calls with 408 or 503.",
  retry_after: "It answered 503 with Retry-After: no new calls for a while.",
  time_passed: "It kept well while its share of calls grew.",
};
