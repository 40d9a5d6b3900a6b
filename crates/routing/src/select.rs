//! Chooses the egress of a call: the LUF and LRF of RFC 5486 over a [`RouteTable`].
//!
//! Pure: the table, the call and the time come in, the candidates come out in the order to try
//! them, each other announcement with the reason it was left out. No socket, SQL or clock in here.
//!
//! 1. An announcement is *routable in itself* while it is in force, its member is approved, and a valid range of
//!    that member covers its prefix. One that is not hides no other.
//! 2. The longest prefix of the called number at which an announcement is routable in itself decides.
//!    Shorter ones are never a fallback, also when no agreement lets the call cross at the longer one: whoever
//!    holds the numbers decides who may call them, and a transit member must not sell a way around it.
//! 3. At that prefix, each member with an agreement in force takes the call on its enabled endpoints.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use tandem_model::{
    AgreementId, AnnouncementId, Authority, E164, Endpoint, EndpointId, MemberId, Prefix, RangeId, Reason,
};

use crate::prefix_tree::Digits;
use crate::table::{Announced, Held, RouteTable, nanos};
use crate::weight::{Weighted, order};

/// What routing asks about a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallRequest {
    /// Who sends it.
    pub originating_member: MemberId,
    /// The number that is called.
    pub called: E164,
    /// Random bits that decide among endpoints by weight. The same bits give the same order.
    pub draw: u64,
}

/// The outcome of one lookup: what a node does, what the looking glass shows and what a CDR keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// Version of the table that was asked.
    pub table_version: u64,
    /// The number that was called.
    pub called: E164,
    /// The prefix that decided: the longest at which an announcement is routable in itself.
    pub matched: Option<Prefix>,
    /// Where to send the call, in the order to try.
    pub candidates: Vec<Candidate>,
    /// Everything else that was announced for the number, and why it was left out; longest prefix first.
    pub left_out: Vec<LeftOut>,
}

/// One endpoint that may take the call, and by what right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// The terminating member.
    pub member: MemberId,
    /// Its endpoint.
    pub endpoint: EndpointId,
    /// The announcement that names the endpoint.
    pub announcement: AnnouncementId,
    /// The agreement under which the call crosses.
    pub agreement: AgreementId,
    /// The announced prefix.
    pub prefix: Prefix,
    /// The range that covers it: where several do, the smallest.
    pub range: RangeId,
}

/// What was announced for the number but gets no call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Who announced it.
    pub member: MemberId,
    /// The endpoint, where just that one was left out.
    pub endpoint: Option<EndpointId>,
    /// The announcement.
    pub announcement: AnnouncementId,
    /// The announced prefix.
    pub prefix: Prefix,
    /// Why.
    pub reason: Reason,
}

/// Which reason is given for a call where several were found, the most telling first: what lies with the caller,
/// then what lies with the member that holds the number.
const TELLING: [Reason; 8] = [
    Reason::OwnNumber,
    Reason::NoAgreement,
    Reason::MemberNotApproved,
    Reason::RangeUnverified,
    Reason::RangeExpired,
    Reason::RangeMissing,
    Reason::NotYetInForce,
    Reason::EndpointDisabled,
];

impl Selection {
    /// Why the call cannot be routed; `None` where there is a candidate.
    ///
    /// [`Reason::NoRoute`] where nothing is announced for the number. Otherwise the first of `OwnNumber`,
    /// `NoAgreement`, `MemberNotApproved`, `RangeUnverified`, `RangeExpired`, `RangeMissing`, `NotYetInForce` and
    /// `EndpointDisabled` that was found at the prefix that decided, or at any where none did.
    pub fn refusal(&self) -> Option<Reason> {
        if !self.candidates.is_empty() {
            return None;
        }
        let decisive = |left_out: &&LeftOut| self.matched.is_none_or(|matched| left_out.prefix == matched);
        let rank =
            |reason: &Reason| TELLING.iter().position(|other| other == reason).unwrap_or(TELLING.len());
        let reasons = self.left_out.iter().filter(decisive).map(|left_out| left_out.reason);
        Some(reasons.min_by_key(rank).unwrap_or(Reason::NoRoute))
    }
}

/// Chooses where a call may go, in order, with the reason for everything announced that it may not go to.
///
/// Candidates are ordered by the endpoints' priority, then drawn by weight (RFC 2782). An endpoint that two
/// announcements name is a candidate once. See the head of `select.rs` for the rules.
pub fn select(table: &RouteTable, call: &CallRequest, now: DateTime<Utc>) -> Selection {
    let mut selection = Selection {
        table_version: table.version(),
        called: call.called,
        matched: None,
        candidates: Vec::new(),
        left_out: Vec::new(),
    };
    let digits = Digits::of(call.called.value());
    let mut announced: SmallVec<[(usize, &[Announced]); 8]> = SmallVec::new();
    table.announcements.matches(&digits, |len, entries| announced.push((len, entries)));
    if announced.is_empty() {
        return selection;
    }
    let mut held: SmallVec<[(usize, &[Held]); 8]> = SmallVec::new();
    table.ranges.matches(&digits, |len, entries| held.push((len, entries)));

    let lookup = Lookup { table, call, now, now_ns: nanos(now), held: &held };
    let mut candidates: SmallVec<[Weighted<Candidate, EndpointId>; 4]> = SmallVec::new();
    for (len, announcements) in announced {
        let prefix = call.called.leading(len);
        for announcement in announcements {
            let leave_out = |endpoint, reason| LeftOut {
                member: announcement.terms.member,
                endpoint,
                announcement: announcement.id,
                prefix,
                reason,
            };
            let range = match lookup.standing(len, announcement) {
                Ok(range) => range,
                Err(reason) => {
                    selection.left_out.push(leave_out(None, reason));
                    continue;
                }
            };
            if *selection.matched.get_or_insert(prefix) != prefix {
                selection.left_out.push(leave_out(None, Reason::LongerPrefix));
                continue;
            }
            let agreement = match lookup.agreement(announcement.terms.member) {
                Ok(agreement) => agreement,
                Err(reason) => {
                    selection.left_out.push(leave_out(None, reason));
                    continue;
                }
            };
            if announcement.terms.endpoints.is_empty() {
                selection.left_out.push(leave_out(None, Reason::EndpointDisabled));
            }
            for &id in &announcement.terms.endpoints {
                let endpoint = table
                    .endpoint(id)
                    .filter(|endpoint| endpoint.enabled && endpoint.member_id == announcement.terms.member);
                let Some(endpoint) = endpoint else {
                    selection.left_out.push(leave_out(Some(id), Reason::EndpointDisabled));
                    continue;
                };
                if candidates.iter().any(|candidate| candidate.tie == id) {
                    continue;
                }
                let candidate = Candidate {
                    member: announcement.terms.member,
                    endpoint: id,
                    announcement: announcement.id,
                    agreement,
                    prefix,
                    range,
                };
                let Endpoint { priority, weight, .. } = *endpoint;
                candidates.push(Weighted { priority, weight, tie: id, item: candidate });
            }
        }
    }
    order(&mut candidates, call.draw);
    selection.candidates = candidates.into_iter().map(|candidate| candidate.item).collect();
    selection
}

/// What stays the same while one call's announcements are looked at.
struct Lookup<'a> {
    table: &'a RouteTable,
    call: &'a CallRequest,
    now: DateTime<Utc>,
    now_ns: i64,
    /// Ranges that hold the called number, the smallest first.
    held: &'a [(usize, &'a [Held])],
}

impl Lookup<'_> {
    /// Whether an announcement is routable in itself: the range that covers it, or what it lacks.
    fn standing(&self, len: usize, announcement: &Announced) -> Result<RangeId, Reason> {
        let member = announcement.terms.member;
        if !announcement.is_in_force(self.now_ns) {
            return Err(Reason::NotYetInForce);
        }
        if !self.table.is_approved(member) {
            return Err(Reason::MemberNotApproved);
        }
        let mut reason = Reason::RangeMissing;
        let covering =
            self.held.iter().filter(|(range_len, _)| *range_len <= len).flat_map(|(_, ranges)| *ranges);
        for range in covering.filter(|range| range.member == member) {
            let expired = range.validity.until.is_some_and(|until| until <= self.now);
            match range.authority {
                Authority::Valid if range.validity.contains(self.now) => return Ok(range.id),
                Authority::Valid if expired && reason == Reason::RangeMissing => {
                    reason = Reason::RangeExpired
                }
                Authority::Valid if expired => {}
                // A verified range that is yet to begin is none that is verified now.
                Authority::Valid | Authority::Pending | Authority::Refused => {
                    reason = Reason::RangeUnverified
                }
            }
        }
        Err(reason)
    }

    /// By which agreement the call may cross to a member, or why it may not.
    fn agreement(&self, terminating: MemberId) -> Result<AgreementId, Reason> {
        let originating = self.call.originating_member;
        if !self.table.is_approved(originating) {
            return Err(Reason::MemberNotApproved);
        }
        if originating == terminating {
            return Err(Reason::OwnNumber);
        }
        self.table.agreement(originating, terminating, self.now).ok_or(Reason::NoAgreement)
    }
}
