// The messages of a traced call as rows of a ladder: what is said of each, and when.
import type { LadderMessage } from "../../../api/types";

export type Row = {
  message: LadderMessage;
  /** `INVITE`, `180 Ringing`. */
  label: string;
  /** Since the first message: `0.000`, `12.345`, in seconds. */
  offset: string;
  /** Between which lanes the arrow is, and to which side it points. */
  between: "left" | "right";
  points: "left" | "right";
  /** The attempt, where it begins with this row. */
  attempt: number | null;
};

/** The phrases of RFC 3261 §21 that calls meet most; a status alone says enough of the others. */
const PHRASES: Record<number, string> = {
  100: "Trying",
  180: "Ringing",
  183: "Session Progress",
  200: "OK",
  302: "Moved Temporarily",
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  407: "Proxy Authentication Required",
  408: "Request Timeout",
  480: "Temporarily Unavailable",
  481: "Call Does Not Exist",
  482: "Loop Detected",
  483: "Too Many Hops",
  484: "Address Incomplete",
  486: "Busy Here",
  487: "Request Terminated",
  488: "Not Acceptable Here",
  491: "Request Pending",
  500: "Server Internal Error",
  502: "Bad Gateway",
  503: "Service Unavailable",
  504: "Server Time-out",
  603: "Decline",
};

export function labelOf({ method, status }: LadderMessage): string {
  if (status === null) return method;
  // Which request a response is to goes without saying for the INVITE.
  const phrase = method === "INVITE" ? PHRASES[status] : `${PHRASES[status] ?? ""} (${method})`.trim();
  return phrase ? `${status} ${phrase}` : String(status);
}

export function rowsOf(messages: LadderMessage[]): Row[] {
  const first = messages[0];
  if (!first) return [];
  const began = microseconds(first.at);
  let attempt: number | null = null;
  return messages.map((message) => {
    const isOriginating = message.leg === "originating";
    const begins = message.attempt !== null && message.attempt !== attempt;
    if (begins) attempt = message.attempt;
    return {
      message,
      label: labelOf(message),
      offset: ((microseconds(message.at) - began) / 1_000_000).toFixed(3),
      between: isOriginating ? "left" : "right",
      // What comes from the left goes to the right.
      points: isOriginating === (message.direction === "received") ? "right" : "left",
      attempt: begins ? message.attempt : null,
    };
  });
}

/** A time of the API in microseconds, which `Date` does not keep. */
function microseconds(time: string): number {
  const fraction = /\.(\d+)/.exec(time)?.[1] ?? "";
  const whole = Date.parse(time.replace(/\.\d+/, ""));
  return whole * 1000 + Number(fraction.padEnd(6, "0").slice(0, 6));
}
