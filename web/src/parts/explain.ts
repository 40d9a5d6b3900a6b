// A selection in sentences: where a call goes, in which order, and why everything else was left out.
import { sentence } from "../api/problem";
import type { Selection } from "../api/types";
import { groupsOf } from "../format/number";

/** One route that was left out, or several for the same reason. */
export type LeftOut = { what: string; why: string; remedy: string; code: string };

/** A candidate; of another member, whose endpoints are not shown, all of them that follow each other. */
export type Tried = {
  member: string;
  endpoint: string | null;
  prefix: string;
  /** Whether it leads onward, and what a minute costs where that is shown. */
  transit: string | null;
  endpoints: number;
  /** Its place among the endpoints, where the endpoint is shown: `priority 1, weight 100`. */
  place: string | null;
};

export type Explanation = {
  /** What the hub found, in one or two sentences. */
  summary: string;
  /** The candidates in the order to try them. */
  order: Tried[];
  leftOut: LeftOut[];
};

const written = (number: string) => groupsOf(number).join(" ");

/** `now` for a lookup, `then` for a call that was made. */
export function explain(selection: Selection, tense: "now" | "then"): Explanation {
  const { called, dip, matched, candidates, left_out, refusal } = selection;
  const sentences = [
    portedOf(written(called), dip, tense),
    foundOf(written(dip?.routing_number ?? called), matched, candidates, tense),
    outcomeOf(candidates, refusal, tense),
  ];
  return {
    summary: sentences.filter((each) => each !== null).join(" "),
    order: orderOf(candidates),
    leftOut: left_out.map(({ member_name, endpoint_name, prefix, sentence: why, remedy, code }) => ({
      what: `${member_name}${endpoint_name ? `, ${endpoint_name}` : ""}, ${written(prefix)}`,
      why: sentence(why),
      remedy,
      code,
    })),
  };
}

function orderOf(candidates: Selection["candidates"]): Tried[] {
  const order: Tried[] = [];
  for (const { member_name: member, endpoint_name: endpoint, prefix, priority, weight, kind, rate } of candidates) {
    const transit = kind === "home" ? null : rate === null ? "transit" : `transit at ${rate} a minute`;
    const place = priority === null || weight === null ? null : `priority ${priority}, weight ${weight}`;
    const last = order.at(-1);
    if (endpoint === null && last?.endpoint === null && last.member === member && last.prefix === prefix && last.transit === transit) last.endpoints += 1;
    else order.push({ member, endpoint, prefix, transit, endpoints: 1, place });
  }
  return order;
}

function portedOf(called: string, dip: Selection["dip"], tense: "now" | "then"): string | null {
  if (dip?.source === "unanswered") return `Whether ${called} is ported was not said in time, so the number itself decided.`;
  if (!dip?.routing_number) return null;
  return `${called} ${tense === "now" ? "is" : "was"} ported to ${written(dip.routing_number)}, ${SAID_BY[dip.source]}.`;
}

const SAID_BY = {
  call: "as the call said",
  node: "by the ported numbers of the node",
  service: "by the service that the node asks",
};

function foundOf(called: string, matched: string | null, candidates: Selection["candidates"], tense: "now" | "then"): string {
  const is = tense === "now" ? "is" : "was";
  if (matched === null && candidates.length > 0) return `No member announces ${called}; it ${is} carried onward by transit.`;
  if (matched === null) return `No announced prefix that calls may follow ${tense === "now" ? "matches" : "matched"} ${called}.`;
  return `${written(matched)} ${is} the longest announced prefix that ${tense === "now" ? "matches" : "matched"} ${called}.`;
}

function outcomeOf(candidates: Selection["candidates"], refusal: Selection["refusal"], tense: "now" | "then"): string {
  const members = new Set(candidates.map(({ member_name }) => member_name));
  const [first] = members;
  if (first === undefined) {
    const refused = tense === "now" ? "The call would be refused" : "The call was refused";
    return refusal ? `${refused} with ${refusal.status}: ${refusal.sentence}.` : `${refused}.`;
  }
  const goes = tense === "now" ? "The call goes to" : "The call was sent to";
  if (candidates.length === 1) return `${goes} ${first}.`;
  const order = tense === "now" ? "in this order until one takes it" : "in this order until one took it";
  if (members.size === 1) return `${goes} ${first}, to ${candidates.length} endpoints ${order}.`;
  return `${goes} ${candidates.length} endpoints of ${members.size} members, ${order}.`;
}
