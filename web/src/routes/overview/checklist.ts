// What stands between a member and its first call, step by step, and who must act on each.
import type { Agreement, Announcement, Endpoint, Member, Range } from "../../api/types";

export type Standing = {
  member: Pick<Member, "state" | "member_id">;
  endpoints: Pick<Endpoint, "enabled">[];
  ranges: Pick<Range, "authority" | "prefix">[];
  announcements: Pick<Announcement, "routable" | "prefix" | "reason">[];
  agreements: Pick<Agreement, "state" | "may_answer" | "accepting_member" | "proposing_member">[];
  /** Calls that were answered today, or are up. */
  calls: number;
};

/** `now`: the reader can act. `waiting`: somebody else must. `later`: an earlier step comes first. */
export type StepState = "done" | "now" | "waiting" | "later";

export type Step = {
  key: "approval" | "endpoint" | "range" | "announcement" | "agreement" | "live";
  title: string;
  state: StepState;
  /** Who must act, where somebody must. */
  who: string | null;
  text: string;
  href: string | null;
};

const YOU = "You";
const OPERATOR = "The operator";

export function checklist(standing: Standing): Step[] {
  const steps = [
    approval(standing),
    endpoint(standing),
    range(standing),
    announcement(standing),
    agreement(standing),
  ];
  return [...steps, live(standing, steps)];
}

export function isLive(steps: Step[]): boolean {
  return steps.every(({ state }) => state === "done");
}

function approval({ member }: Standing): Step {
  const step = { key: "approval", title: "Be approved", href: null } as const;
  switch (member.state) {
    case "approved":
      return { ...step, state: "done", who: null, text: "The operator has approved you." };
    case "applied":
      return { ...step, state: "waiting", who: OPERATOR, text: "Your application is with the operator. You can prepare the rest meanwhile." };
    case "suspended":
      return { ...step, state: "waiting", who: OPERATOR, text: "You are suspended: no call crosses. Ask the operator why." };
  }
}

function endpoint({ endpoints }: Standing): Step {
  const step = { key: "endpoint", title: "Connect a switch", href: "/endpoints" } as const;
  if (endpoints.length === 0) {
    return { ...step, state: "now", who: YOU, text: "Add an endpoint: where your switch sends from, and where it takes calls." };
  }
  if (!endpoints.some(({ enabled }) => enabled)) {
    return { ...step, state: "now", who: YOU, text: "All your endpoints are disabled. Enable one." };
  }
  return { ...step, state: "done", who: null, text: several(endpoints.length, "endpoint") };
}

function range({ ranges }: Standing): Step {
  const step = { key: "range", title: "Prove your numbers", href: "/ranges" } as const;
  const pending = ranges.filter(({ authority }) => authority === "pending" || authority === "disputed");
  const valid = ranges.filter(({ authority }) => authority === "valid");
  if (valid.length > 0) return { ...step, state: "done", who: null, text: `${several(valid.length, "range")} verified` };
  if (pending.length > 0) {
    const prefixes = pending.map(({ prefix }) => prefix).join(", ");
    return { ...step, state: "waiting", who: OPERATOR, text: `The operator checks your evidence for ${prefixes}.` };
  }
  if (ranges.length > 0) {
    return { ...step, state: "now", who: YOU, text: "Your range was refused or has expired. Claim it again with better evidence." };
  }
  return { ...step, state: "now", who: YOU, text: "Claim the range of numbers you hold, with evidence such as the regulator's allocation." };
}

function announcement({ announcements, endpoints, ranges }: Standing): Step {
  const step = { key: "announcement", title: "Announce them", href: "/announcements" } as const;
  const routable = announcements.filter(({ routable }) => routable);
  if (routable.length > 0) return { ...step, state: "done", who: null, text: `${several(routable.length, "prefix", "prefixes")} routed to you` };
  const first = announcements[0];
  if (first?.reason === "range_unverified") {
    return { ...step, state: "waiting", who: OPERATOR, text: `${first.prefix} is announced and waits until its range is verified.` };
  }
  if (first) {
    return { ...step, state: "now", who: YOU, text: `${first.prefix} is announced but not routed. See why.` };
  }
  if (endpoints.length === 0 || ranges.length === 0) {
    return { ...step, state: "later", who: null, text: "Then say which prefixes go to which endpoints." };
  }
  return { ...step, state: "now", who: YOU, text: "Say which prefixes go to which of your endpoints." };
}

function agreement({ agreements, member }: Standing): Step {
  const step = { key: "agreement", title: "Agree with a member", href: "/agreements" } as const;
  const accepted = agreements.filter(({ state }) => state === "accepted" || state === "ending");
  if (accepted.length > 0) return { ...step, state: "done", who: null, text: `${several(accepted.length, "agreement")} in force` };
  const open = agreements.filter(({ state }) => state === "proposed" || state === "countered");
  const otherOf = ({ proposing_member, accepting_member }: (typeof open)[number]) =>
    proposing_member.member_id === member.member_id ? accepting_member : proposing_member;
  const asked = open.find(({ may_answer }) => may_answer);
  if (asked) {
    return { ...step, state: "now", who: YOU, text: `${otherOf(asked).display_name} offers an agreement. Accept or refuse it.` };
  }
  const [offered] = open;
  if (offered) {
    const other = otherOf(offered).display_name;
    return { ...step, state: "waiting", who: other, text: `Your proposal waits for ${other}.` };
  }
  return { ...step, state: "now", who: YOU, text: "Propose to another member that your calls may cross." };
}

function live({ calls }: Standing, before: Step[]): Step {
  const step = { key: "live", title: "Go live", href: "/lookup" } as const;
  const open = before.filter(({ state }) => state !== "done");
  if (open.length > 0) {
    return { ...step, state: "later", href: null, who: null, text: `${several(open.length, "step")} to go before calls cross.` };
  }
  if (calls > 0) return { ...step, state: "done", who: null, href: "/calls", text: "Calls cross." };
  return { ...step, state: "now", who: YOU, text: "Look up a number of the other member, then call it." };
}

function several(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}
