// An agreement as one of its two members sees it: the other member, who may call whom, who must act.
import type { Agreement, MemberRef, ProposedDirection } from "../../api/types";

export type Standpoint = {
  other: MemberRef;
  direction: ProposedDirection;
  /** Who must answer a proposal, as the start of a sentence. */
  waitsFor: string | null;
};

export function standpoint(agreement: Agreement, memberId: string): Standpoint {
  const proposed = agreement.proposing_member.member_id === memberId;
  const other = proposed ? agreement.accepting_member : agreement.proposing_member;
  const away = proposed ? "to_accepting" : "to_proposing";
  const direction = agreement.direction === "both" ? "both" : agreement.direction === away ? "outgoing" : "incoming";
  const open = agreement.state === "proposed";
  return { other, direction, waitsFor: !open ? null : agreement.may_answer ? "You" : other.display_name };
}

export const DIRECTIONS: Record<ProposedDirection, string> = {
  both: "each may call the other",
  outgoing: "you may call them",
  incoming: "they may call you",
};
