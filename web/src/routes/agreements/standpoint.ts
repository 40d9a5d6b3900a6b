// An agreement as one of its two members sees it: the other member, who may call whom, who must act.
import type { Agreement, MemberRef, ProposedDirection } from "../../api/types";

export type Standpoint = {
  other: MemberRef;
  direction: ProposedDirection;
  /** Who must answer an offer, as the start of a sentence. */
  waitsFor: string | null;
  /** What else is worth knowing of the state: who holds the agreement up. */
  heldUpBy: string | null;
  /** What the member can do, besides answering an offer. */
  acts: Act[];
};

export type Act = "suspend" | "resume" | "end" | "take back";

export function standpoint(agreement: Agreement, memberId: string): Standpoint {
  const proposed = agreement.proposing_member.member_id === memberId;
  const other = proposed ? agreement.accepting_member : agreement.proposing_member;
  const away = proposed ? "to_accepting" : "to_proposing";
  const direction = agreement.direction === "both" ? "both" : agreement.direction === away ? "outgoing" : "incoming";
  const open = agreement.state === "proposed" || agreement.state === "countered";
  const names = agreement.suspended_by.map(({ member_id, display_name }) => (member_id === memberId ? "you" : display_name));
  return {
    other,
    direction,
    waitsFor: !open ? null : agreement.may_answer ? "You" : other.display_name,
    heldUpBy: names.length === 0 ? null : names.join(" and "),
    acts: acts(agreement, memberId),
  };
}

function acts({ state, may_answer, suspended_by }: Agreement, memberId: string): Act[] {
  const own = suspended_by.some(({ member_id }) => member_id === memberId);
  switch (state) {
    case "proposed":
    case "countered":
      return may_answer ? [] : ["take back"];
    case "accepted":
      return ["suspend", "end"];
    case "suspended":
      return [own ? "resume" : "suspend", "end"];
    case "ending":
      return ["suspend"];
    case "refused":
    case "ended":
      return [];
  }
}

export const DIRECTIONS: Record<ProposedDirection, string> = {
  both: "each may call the other",
  outgoing: "you may call them",
  incoming: "they may call you",
};
