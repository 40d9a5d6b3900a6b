// How states look, the same colour for the same meaning everywhere: done, waiting, turned down, over.
import { Badge, Tooltip } from "@mantine/core";

import type { Agreement, Announcement, Authority, ChangeSet, Import, MemberState, Outcome } from "../api/types";

type Look = { color: string; text: string };

const DONE = "petrol";
const WAITING = "copper";
const DOWN = "red";
const OVER = "gray";

const MEMBER: Record<MemberState, Look> = {
  applied: { color: WAITING, text: "applied" },
  approved: { color: DONE, text: "approved" },
  suspended: { color: DOWN, text: "suspended" },
};

const AUTHORITY: Record<Authority, Look> = {
  pending: { color: WAITING, text: "pending" },
  disputed: { color: DOWN, text: "disputed" },
  valid: { color: DONE, text: "valid" },
  refused: { color: DOWN, text: "refused" },
  expired: { color: OVER, text: "expired" },
};

const ANNOUNCED: Record<Announcement["authority"], Look> = {
  valid: { color: DONE, text: "valid" },
  invalid: { color: DOWN, text: "invalid" },
  unknown: { color: WAITING, text: "unknown" },
  too_broad: { color: WAITING, text: "too broad" },
  expired: { color: OVER, text: "expired" },
};

const AGREEMENT: Record<Agreement["state"], Look> = {
  proposed: { color: WAITING, text: "proposed" },
  countered: { color: WAITING, text: "other terms" },
  accepted: { color: DONE, text: "accepted" },
  suspended: { color: DOWN, text: "suspended" },
  ending: { color: WAITING, text: "ending" },
  refused: { color: DOWN, text: "refused" },
  ended: { color: OVER, text: "ended" },
};

const CHANGE_SET: Record<ChangeSet["state"], Look> = {
  draft: { color: WAITING, text: "draft" },
  scheduled: { color: WAITING, text: "waits for its time" },
  applied: { color: DONE, text: "applied" },
  rolled_back: { color: OVER, text: "rolled back" },
  cancelled: { color: OVER, text: "cancelled" },
  failed: { color: DOWN, text: "failed" },
};

const IMPORT: Record<Import["state"], Look> = {
  receiving: { color: WAITING, text: "being uploaded" },
  checking: { color: WAITING, text: "being checked" },
  applying: { color: WAITING, text: "being applied" },
  applied: { color: DONE, text: "applied" },
  failed: { color: DOWN, text: "failed" },
};

export const OUTCOMES: Record<Outcome, Look> = {
  answered: { color: DONE, text: "answered" },
  busy: { color: OVER, text: "busy" },
  no_answer: { color: OVER, text: "no answer" },
  cancelled: { color: OVER, text: "cancelled" },
  rejected: { color: WAITING, text: "rejected" },
  refused: { color: DOWN, text: "refused" },
  failed: { color: DOWN, text: "failed" },
  redirected: { color: OVER, text: "redirected" },
};

/** An announcement in the looking glass; one that counts may still get nobody's calls. */
export function SeenBadge({ accepted, isIdle }: { accepted: boolean; isIdle: boolean }) {
  if (!accepted) return <Look look={{ color: DOWN, text: "refused" }} />;
  return <Look look={isIdle ? { color: WAITING, text: "accepted, no calls" } : { color: DONE, text: "accepted" }} />;
}

export function MemberBadge({ state }: { state: MemberState }) {
  return <Look look={MEMBER[state]} />;
}

export function AuthorityBadge({ authority }: { authority: Authority }) {
  return <Look look={AUTHORITY[authority]} />;
}

/** Whether the announced numbers are the member's own. */
export function AnnouncedBadge({ authority }: { authority: Announcement["authority"] }) {
  return <Look look={ANNOUNCED[authority]} />;
}

export function AgreementBadge({ state }: { state: Agreement["state"] }) {
  return <Look look={AGREEMENT[state]} />;
}

/** How far a change set has come; a draft may wait for a second person. */
export function ChangeSetBadge({ set }: { set: ChangeSet }) {
  const waits = set.state === "draft" && set.plan?.needs_approval && !set.approved;
  return <Look look={waits ? { color: WAITING, text: "waits for approval" } : CHANGE_SET[set.state]} />;
}

export function OutcomeBadge({ outcome }: { outcome: Outcome | null | undefined }) {
  if (!outcome) return <Badge color="petrol" variant="filled">up</Badge>;
  return <Look look={OUTCOMES[outcome]} />;
}

/** Whether calls follow the announcement, on how many nodes, or why not. */
export function RoutableBadge({ announcement, why }: { announcement: Announcement; why: string | undefined }) {
  const { routable, reason, live_on } = announcement;
  if (!routable) {
    return (
      <Tooltip label={why ?? reason} multiline maw={320}>
        <Badge color={WAITING}>not routed</Badge>
      </Tooltip>
    );
  }
  return <LiveBadge liveOn={live_on} />;
}

/** How far an import has come, and once it is applied, on how many nodes. */
export function ImportBadge({ imported: { state, live_on } }: { imported: Import }) {
  return live_on ? <LiveBadge liveOn={live_on} /> : <Look look={IMPORT[state]} />;
}

function LiveBadge({ liveOn: { nodes, of } }: { liveOn: Announcement["live_on"] }) {
  return (
    <Badge color={nodes === of ? DONE : WAITING}>
      live on {nodes} of {of} {of === 1 ? "node" : "nodes"}
    </Badge>
  );
}

function Look({ look }: { look: Look }) {
  return <Badge color={look.color}>{look.text}</Badge>;
}
