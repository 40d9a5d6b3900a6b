//! Chooses the egress of a call: the LUF and LRF of RFC 5486 over a [`RouteTable`].
//!
//! Pure: the table, the call and the time come in, the candidates come out in the order to try
//! them, each other announcement with the reason it was left out. No socket, SQL or clock in here.
//!
//! 1. Where the called number was ported, its routing number takes its place from here on: the one that the call came
//!    with, or, where nobody has looked the number up before, the one among the ported numbers that the node holds.
//! 2. An announcement is *routable in itself* while it is in force, its member is approved, and a valid range of
//!    that member covers its prefix. One that is not hides no other.
//! 3. The longest prefix of that number at which an announcement is routable in itself decides.
//!    Shorter ones are never a fallback, also when no agreement lets the call cross at the longer one: whoever
//!    holds the numbers decides who may call them by the exchange.
//! 4. At that prefix, each member with an agreement in force whose terms admit the call takes it on its enabled
//!    endpoints: those at a site that the agreement prefers before all others, then those at the site where the call came in.
//! 5. After them come the offers of transit, which lead out of the exchange: `transit.rs` has their rules.
//!
//! A number that the originating member or the operator blocks goes nowhere, whoever would take the call.

use std::ops::ControlFlow;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use tandem_model::{
    AgreementId, AnnouncementId, Authority, E164, Endpoint, EndpointId, MemberId, Prefix, RangeId, Rate,
    Reason, RoutingNumber,
};

use crate::asked::Asked;
use crate::digits::Digits;
use crate::dip::Dip;
use crate::table::{Crossing, RouteTable};
use crate::terms::{Announced, Held, nanos};
use crate::weight::{Weighted, order};

/// What routing asks about a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallRequest<'a> {
    /// Who sends it.
    pub originating_member: MemberId,
    /// The number that is called.
    pub called: E164,
    /// What the call says of a look-up among ported numbers, as far as who sends it is trusted with that; `None`
    /// where the number was not looked up yet.
    pub dip: Option<Dip>,
    /// Name of the site where the call came in; `None` where no site is nearer than another.
    pub site: Option<&'a str>,
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
    /// What was found among ported numbers; where there is a routing number, prefixes are those of that number.
    /// `None` where nobody looked, and in selections of before there were ported numbers.
    #[serde(default)]
    pub dip: Option<Dip>,
    /// The prefix that decided: the longest at which an announcement is routable in itself.
    pub matched: Option<Prefix>,
    /// Where to send the call, in the order to try.
    pub candidates: Vec<Candidate>,
    /// Everything else that was announced for the number, and why it was left out; longest prefix first.
    pub left_out: Vec<LeftOut>,
    /// What it was made of, a call that was redirected having asked more than once; empty where nobody noted it, and in
    /// selections of earlier releases.
    #[serde(default)]
    pub asked: Vec<Asked>,
}

/// One endpoint that may take the call, and by what right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// The terminating member.
    pub member: MemberId,
    /// Its endpoint.
    pub endpoint: EndpointId,
    /// The announcement that names the endpoint, or the offer of transit.
    pub announcement: AnnouncementId,
    /// The agreement under which the call crosses; of two members, or a club.
    pub agreement: AgreementId,
    /// The announced prefix; of transit the one that has the rate.
    pub prefix: Prefix,
    /// The range that covers it: where several do, the smallest. `None` for transit.
    #[serde(default)]
    pub range: Option<RangeId>,
    /// What transit costs a minute; `None` for a home route.
    #[serde(default)]
    pub rate: Option<Rate>,
}

/// What was announced for the number but gets no call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Who announced it.
    pub member: MemberId,
    /// The endpoint, where just that one was left out.
    pub endpoint: Option<EndpointId>,
    /// The announcement, or the offer of transit.
    pub announcement: AnnouncementId,
    /// The announced prefix, or the one that has a rate.
    pub prefix: Prefix,
    /// Why.
    pub reason: Reason,
}

/// Which reason is given for a call where several were found, the most telling first: what lies with the caller,
/// then what lies with the member that holds the number.
const TELLING: [Reason; 23] = [
    Reason::OwnNumber,
    Reason::WouldReturn,
    Reason::BlockedByMember,
    Reason::BlockedByOperator,
    Reason::AgreementPrefix,
    Reason::AgreementTags,
    Reason::AgreementHours,
    Reason::AgreementSuspended,
    Reason::NoAgreement,
    Reason::RateTooHigh,
    Reason::AtALoss,
    Reason::QualityTooLow,
    Reason::MemberNotApproved,
    Reason::RangeOfOther,
    Reason::RangeUnverified,
    Reason::RangeExpired,
    Reason::AnnouncementTooBroad,
    Reason::RangeMissing,
    Reason::NotYetInForce,
    Reason::TransitNotPermitted,
    Reason::RateMissing,
    Reason::NotRegistered,
    Reason::EndpointDisabled,
];

/// Which reason is given for an announcement without authority where several hold, the first one first.
const AUTHORITY: [Reason; 5] = [
    Reason::RangeOfOther,
    Reason::RangeUnverified,
    Reason::RangeExpired,
    Reason::AnnouncementTooBroad,
    Reason::RangeMissing,
];

impl Selection {
    /// Why the call cannot be routed; `None` where there is a candidate.
    ///
    /// [`Reason::NoRoute`] where nothing is announced or offered for the number. Otherwise the first of [`TELLING`] that
    /// was found at the prefix that decided, or at any where none did.
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
/// Candidates are ordered by whether they are at a site that the agreement prefers, whether they are at the call's site, by the endpoints' priority, then drawn by weight (RFC 2782). An endpoint that two
/// announcements name is a candidate once. See the head of `select.rs` for the rules.
pub fn select(table: &RouteTable, call: &CallRequest<'_>, now: DateTime<Utc>) -> Selection {
    let mut selection = Selection {
        table_version: table.version(),
        called: call.called,
        dip: call.dip.or_else(|| table.dip(call.called)),
        matched: None,
        candidates: Vec::new(),
        left_out: Vec::new(),
        asked: Vec::new(),
    };
    let rn = selection.dip.and_then(|dip| dip.rn);
    let digits = Digits::of(rn.map_or(call.called.value(), RoutingNumber::value));
    let mut announced: SmallVec<[(usize, Announced<'_>); 8]> = SmallVec::new();
    table.announcements.matches(digits, |len, found| {
        announced.push((len, found));
        ControlFlow::Continue(())
    });
    if announced.is_empty() && table.transit.is_empty() {
        return selection;
    }
    let mut held: SmallVec<[(usize, Held<'_>); 8]> = SmallVec::new();
    table.ranges.matches(digits, |len, found| {
        held.push((len, found));
        ControlFlow::Continue(())
    });

    let number = rn.map_or_else(|| call.called.into(), |rn| rn.leading(rn.len()));
    let lookup = Lookup { table, call, number, now, now_ns: nanos(now), held: &held };
    let mut candidates: SmallVec<[Weighted<Candidate, EndpointId>; 4]> = SmallVec::new();
    for (len, announcement) in announced {
        let prefix = rn.map_or_else(|| call.called.leading(len), |rn| rn.leading(len));
        let leave_out = |endpoint, reason| LeftOut {
            member: announcement.terms.member,
            endpoint,
            announcement: announcement.id.into(),
            prefix,
            reason,
        };
        let range = match lookup.standing(len, &announcement) {
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
        let crossing = match lookup.crossing(&announcement) {
            Ok(crossing) => crossing,
            Err(reason) => {
                selection.left_out.push(leave_out(None, reason));
                continue;
            }
        };
        if announcement.terms.endpoints.is_empty() {
            selection.left_out.push(leave_out(None, Reason::EndpointDisabled));
        }
        for &id in &announcement.terms.endpoints {
            let endpoint = match lookup.usable(id, announcement.terms.member) {
                Ok(endpoint) => endpoint,
                Err(reason) => {
                    selection.left_out.push(leave_out(Some(id), reason));
                    continue;
                }
            };
            if candidates.iter().any(|candidate| candidate.tie == id) {
                continue;
            }
            let candidate = Candidate {
                member: announcement.terms.member,
                endpoint: id,
                announcement: announcement.id.into(),
                agreement: crossing.agreement,
                prefix,
                range: Some(range),
                rate: None,
            };
            let (priority, weight) = (lookup.place(endpoint, &crossing), endpoint.weight);
            candidates.push(Weighted { priority, weight, tie: id, item: candidate });
        }
    }
    order(&mut candidates, call.draw);
    selection.candidates = candidates.into_iter().map(|candidate| candidate.item).collect();
    if !table.transit.is_empty() {
        lookup.add_transit(&mut selection);
    }
    selection
}

/// What stays the same while one call's announcements and the offers of transit are looked at.
pub(crate) struct Lookup<'a> {
    pub(crate) table: &'a RouteTable,
    pub(crate) call: &'a CallRequest<'a>,
    /// The digits of the number that decides.
    pub(crate) number: Prefix,
    pub(crate) now: DateTime<Utc>,
    pub(crate) now_ns: i64,
    /// Ranges that hold the number that decides, the smallest first.
    pub(crate) held: &'a [(usize, Held<'a>)],
}

impl Lookup<'_> {
    /// Whether an announcement is routable in itself: the range that covers it, or what it lacks.
    fn standing(&self, len: usize, announcement: &Announced<'_>) -> Result<RangeId, Reason> {
        let member = announcement.terms.member;
        if !announcement.is_in_force(self.now_ns) {
            return Err(Reason::NotYetInForce);
        }
        if !self.table.is_approved(member) {
            return Err(Reason::MemberNotApproved);
        }
        let mut found = Reason::RangeMissing;
        let mut note = |reason| {
            if AUTHORITY.iter().position(|it| *it == reason) < AUTHORITY.iter().position(|it| *it == found) {
                found = reason;
            }
        };
        for (range_len, range) in self.held {
            let covers = *range_len <= len;
            let is_own = range.terms.member == member;
            let is_valid = range.terms.authority == Authority::Valid;
            let holds = is_valid && range.is_in_force(self.now_ns);
            match (is_own, covers) {
                (true, true) if holds => return Ok(range.id.into()),
                (true, true) if is_valid && range.is_over(self.now_ns) => note(Reason::RangeExpired),
                // A verified range that is yet to begin is none that is verified now.
                (true, true) => note(Reason::RangeUnverified),
                (true, false) if holds => note(Reason::AnnouncementTooBroad),
                (false, _) if holds => note(Reason::RangeOfOther),
                _ => {}
            }
        }
        Err(found)
    }

    /// By which agreement the call may cross to who announces, or why it may not.
    fn crossing(&self, announced: &Announced<'_>) -> Result<Crossing<'_>, Reason> {
        let terminating = announced.terms.member;
        self.may_call(terminating, Reason::OwnNumber)?;
        self.table.agreement(self.call.originating_member, terminating, self.now, |terms, party| {
            terms.admit(party, |len| self.leading(len), &announced.terms.tags, self.now)
        })
    }

    /// Whether the originating member may call at all, and not `own` what it has itself, and not what is blocked.
    pub(crate) fn may_call(&self, terminating: MemberId, own: Reason) -> Result<(), Reason> {
        let originating = self.call.originating_member;
        if !self.table.is_approved(originating) {
            return Err(Reason::MemberNotApproved);
        }
        if originating == terminating {
            return Err(own);
        }
        self.table.blocks.reason(originating, self.call.called).map_or(Ok(()), Err)
    }

    /// So many leading digits of the number that decides, where it has them.
    pub(crate) fn leading(&self, len: usize) -> Option<Prefix> {
        (len <= self.number.len()).then(|| self.number.leading(len))
    }

    /// An endpoint of the member that takes calls now, or why this one does not.
    pub(crate) fn usable(&self, id: EndpointId, member: MemberId) -> Result<&Endpoint, Reason> {
        let endpoint = self.table.endpoint(id).filter(|it| it.enabled && it.member_id == member);
        let endpoint = endpoint.ok_or(Reason::EndpointDisabled)?;
        if endpoint.target.is_registration() && endpoint.access.binding(self.now).is_none() {
            return Err(Reason::NotRegistered);
        }
        Ok(endpoint)
    }

    /// The place of an endpoint among others, lower before higher: by the sites that the agreement prefers, the site
    /// where the call came in, then its priority.
    pub(crate) fn place(&self, endpoint: &Endpoint, crossing: &Crossing<'_>) -> u32 {
        let is_far = self.call.site.is_some_and(|site| !endpoint.is_at(site));
        let preferred = crossing.terms.map_or(&[][..], |terms| &terms.sites);
        let is_elsewhere = !preferred.is_empty() && !preferred.iter().any(|site| endpoint.is_at(site));
        u32::from(is_elsewhere) << 17 | u32::from(is_far) << 16 | u32::from(endpoint.priority)
    }
}

#[cfg(test)]
mod tests {
    use tandem_model::{
        AgreementDirection, AgreementState, Club, Facts, MemberState, PortedNumber, Validity,
    };

    use super::*;
    use crate::exchange::{
        always, at, candidates, exchange, id, left_out, name, number, prefix, refusal, routes, selection,
    };
    use crate::{DipSource, PortedLoad, port, replace, shared};

    const LONDON: &str = "+442079460000";

    #[test]
    fn the_longest_prefix_wins_over_shorter_ones() {
        let table = routes("+4 initech | +4420 acme | +44 globex | +4421 umbrella");
        assert_eq!(candidates(&table, LONDON), ["acme"]);
        assert_eq!(left_out(&table, LONDON), ["globex longer_prefix", "initech longer_prefix"]);
        assert_eq!(candidates(&table, "+443012345678"), ["globex"]);
        assert_eq!(selection(&table, "caller", LONDON, at(0)).matched, Some(prefix("+4420")));
    }

    #[test]
    fn a_prefix_longer_than_the_number_does_not_match() {
        assert_eq!(refusal(&routes("+442079 acme"), "+44207"), Some("no_route"));
        assert_eq!(candidates(&routes("+44207 acme"), "+44207"), ["acme"]);
    }

    #[test]
    fn a_candidate_names_everything_it_rests_on() {
        let exchange = exchange("+4420 acme").with(|x| x.add_range("+44", "acme"));
        let selection = selection(&exchange.table(), "caller", LONDON, at(0));
        let candidate = Candidate {
            member: id("acme"),
            endpoint: id("acme"),
            announcement: id("announcement +4420 acme"),
            agreement: id("agreement caller acme"),
            prefix: prefix("+4420"),
            range: Some(id("range +4420 acme")),
            rate: None,
        };
        assert_eq!((selection.candidates, selection.left_out), (vec![candidate], vec![]));
    }

    #[test]
    fn an_endpoint_at_the_site_of_the_call_comes_before_one_elsewhere_whatever_their_priorities() {
        let table = exchange("+44 acme ams/2 fra/1 anywhere/3")
            .with(|x| x.endpoint("ams").sites = vec!["ams".into()])
            .with(|x| x.endpoint("fra").sites = vec!["fra".into(), "muc".into()])
            .table();
        let order = |site| {
            let call = CallRequest {
                originating_member: id("caller"),
                called: number(LONDON),
                dip: None,
                site,
                draw: 1,
            };
            let candidates = select(&table, &call, at(0)).candidates;
            let name = |candidate: &Candidate| table.endpoint(candidate.endpoint).unwrap().name.clone();
            candidates.iter().map(name).collect::<Vec<_>>()
        };
        assert_eq!(order(Some("ams")), ["ams", "anywhere", "fra"]);
        assert_eq!(order(Some("muc")), ["fra", "anywhere", "ams"]);
        assert_eq!(order(Some("lon")), ["anywhere", "fra", "ams"]);
        assert_eq!(order(None), ["fra", "ams", "anywhere"]);
    }

    #[test]
    fn nothing_announced_is_no_route() {
        let table = routes("+33 acme");
        assert_eq!(refusal(&table, LONDON), Some("no_route"));
        assert_eq!(left_out(&table, LONDON), [""; 0]);
        assert_eq!(refusal(&RouteTable::empty(), LONDON), Some("no_route"));
    }

    #[test]
    fn the_holder_of_the_longer_prefix_decides_also_when_it_has_no_agreement() {
        let mut exchange = exchange("+4420 acme | +44 globex");
        exchange.agreement("acme").state = AgreementState::Ended;
        let table = exchange.table();
        assert_eq!(candidates(&table, LONDON), [""; 0]);
        assert_eq!(left_out(&table, LONDON), ["acme no_agreement", "globex longer_prefix"]);
        assert_eq!(refusal(&table, LONDON), Some("no_agreement"));
    }

    #[test]
    fn an_announcement_that_does_not_route_hides_no_shorter_one() {
        type Break = fn(&mut crate::exchange::Exchange);
        let table: [(Break, &str, &str); 8] = [
            (
                |x| x.announcement("+4420", "acme").validity.from = at(1),
                "not_yet_in_force",
                "not_yet_in_force",
            ),
            (
                |x| x.announcement("+4420", "acme").validity.until = Some(at(0)),
                "not_yet_in_force",
                "not_yet_in_force",
            ),
            (
                |x| x.member("acme").state = MemberState::Suspended,
                "member_not_approved",
                "member_not_approved",
            ),
            (
                |x| x.0.members.retain(|member| member.name != "acme"),
                "member_not_approved",
                "member_not_approved",
            ),
            (|x| x.0.ranges.retain(|range| range.member_id != id("acme")), "range_missing", "range_of_other"),
            (
                |x| x.range("+4420", "acme").prefix = prefix("+44207"),
                "announcement_too_broad",
                "range_of_other",
            ),
            (
                |x| x.range("+4420", "acme").authority = Authority::Pending,
                "range_unverified",
                "range_of_other",
            ),
            (|x| x.range("+4420", "acme").validity.until = Some(at(0)), "range_expired", "range_of_other"),
        ];
        for (break_it, code, code_beside_a_holder) in table {
            let broken = exchange("+4420 acme | +44 globex").with(break_it).table();
            assert_eq!(candidates(&broken, LONDON), ["globex"], "{code}");
            let member = if broken.member(id("acme")).is_some() { "acme" } else { "unknown" };
            assert_eq!(left_out(&broken, LONDON), [format!("{member} {code_beside_a_holder}")]);
            let alone = exchange("+4420 acme").with(break_it).table();
            assert_eq!(refusal(&alone, LONDON), Some(code));
        }
    }

    #[test]
    fn numbers_that_another_member_holds_are_not_routed_whatever_is_announced_of_them() {
        for announced in ["+44", "+4420", "+442079"] {
            for claim in [None, Some(Authority::Pending), Some(Authority::Refused)] {
                let mut exchange = exchange(&format!("+4420 acme | {announced} globex"));
                match claim {
                    Some(authority) => exchange.range(announced, "globex").authority = authority,
                    None => exchange.0.ranges.retain(|range| range.member_id != id("globex")),
                }
                exchange.0.announcements.retain(|each| each.member_id == id("globex"));
                assert_eq!(left_out(&exchange.table(), LONDON), ["globex range_of_other"], "{announced}");
            }
        }
    }

    #[test]
    fn an_announcement_broader_than_the_range_of_its_member_is_not_routed() {
        let table = exchange("+44 acme").with(|x| x.range("+44", "acme").prefix = prefix("+4420")).table();
        assert_eq!(left_out(&table, LONDON), ["acme announcement_too_broad"]);
        // Of these numbers its member holds none.
        assert_eq!(left_out(&table, "+443012345678"), ["acme range_missing"]);
    }

    #[test]
    fn one_valid_range_is_enough_and_a_claim_to_renew_tells_more_than_its_end() {
        let mut exchange = exchange("+4420 acme");
        exchange.add_range("+44", "acme");
        exchange.range("+4420", "acme").validity.until = Some(at(0));
        assert_eq!(candidates(&exchange.table(), LONDON), ["acme"]);
        exchange.range("+44", "acme").authority = Authority::Pending;
        assert_eq!(refusal(&exchange.table(), LONDON), Some("range_unverified"));
        exchange.range("+44", "acme").authority = Authority::Valid;
        exchange.range("+44", "acme").validity.from = at(1);
        assert_eq!(refusal(&exchange.table(), LONDON), Some("range_unverified"));
    }

    #[test]
    fn a_call_does_not_go_back_to_the_member_that_sends_it() {
        let table = routes("+4420 caller | +44 globex");
        assert_eq!(refusal(&table, LONDON), Some("own_number"));
        let table = routes("+4420 caller | +4420 globex");
        assert_eq!(candidates(&table, LONDON), ["globex"]);
        assert_eq!(left_out(&table, LONDON), ["caller own_number"]);
    }

    #[test]
    fn a_member_that_is_not_approved_calls_nobody() {
        let table =
            exchange("+4420 acme").with(|x| x.member("caller").state = MemberState::Suspended).table();
        assert_eq!(left_out(&table, LONDON), ["acme member_not_approved"]);
        assert_eq!(refusal(&table, LONDON), Some("member_not_approved"));
        let unknown = selection(&table, "stranger", LONDON, at(0));
        assert_eq!(unknown.refusal(), Some(Reason::MemberNotApproved));
    }

    #[test]
    fn an_agreement_lets_calls_cross_only_in_its_direction() {
        let table = [
            (AgreementDirection::Both, true, true),
            (AgreementDirection::ToAccepting, true, false),
            (AgreementDirection::ToProposing, false, true),
        ];
        for (direction, forward, backward) in table {
            let mut exchange = exchange("+4420 acme | +49 caller");
            exchange.agreement("acme").direction = direction;
            let table = exchange.table();
            let crosses = |from, to| selection(&table, from, to, at(0)).refusal().is_none();
            assert_eq!((crosses("caller", LONDON), crosses("acme", "+4930123456")), (forward, backward));
        }
    }

    #[test]
    fn an_agreement_holds_from_its_first_instant_until_just_before_its_end() {
        let mut exchange = exchange("+4420 acme");
        exchange.agreement("acme").validity = Some(Validity { from: at(0), until: Some(at(60)) });
        let table = exchange.table();
        let crosses = |seconds| selection(&table, "caller", LONDON, at(seconds)).refusal().is_none();
        assert_eq!([-1, 0, 59, 60].map(crosses), [false, true, true, false]);
    }

    #[test]
    fn an_announcement_holds_from_its_first_instant_until_just_before_its_end() {
        let mut exchange = exchange("+4420 acme");
        exchange.announcement("+4420", "acme").validity = Validity { from: at(0), until: Some(at(60)) };
        let table = exchange.table();
        let crosses = |seconds| selection(&table, "caller", LONDON, at(seconds)).refusal().is_none();
        assert_eq!([-1, 0, 59, 60].map(crosses), [false, true, true, false]);
    }

    #[test]
    fn an_agreement_that_is_not_accepted_by_both_lets_nothing_cross() {
        for state in AgreementState::ALL {
            if state.lets_calls_cross() || state == AgreementState::Suspended {
                continue;
            }
            let table = exchange("+4420 acme").with(|x| x.agreement("acme").state = state).table();
            assert_eq!(refusal(&table, LONDON), Some("no_agreement"));
        }
        let table = exchange("+4420 acme").with(|x| x.agreement("acme").validity = None).table();
        assert_eq!(refusal(&table, LONDON), Some("no_agreement"));
    }

    #[test]
    fn a_suspended_agreement_lets_nothing_cross_and_one_that_is_ending_does_until_its_end() {
        let suspended =
            exchange("+4420 acme").with(|x| x.agreement("acme").state = AgreementState::Suspended).table();
        assert_eq!(left_out(&suspended, LONDON), ["acme agreement_suspended"]);
        assert_eq!(refusal(&suspended, LONDON), Some("agreement_suspended"));
        let mut exchange = exchange("+4420 acme");
        exchange.agreement("acme").state = AgreementState::Ending;
        exchange.agreement("acme").validity = Some(Validity { from: at(-60), until: Some(at(60)) });
        let table = exchange.table();
        assert_eq!(candidates(&table, LONDON), ["acme"]);
        assert_eq!(selection(&table, "caller", LONDON, at(60)).refusal(), Some(Reason::NoAgreement));
    }

    #[test]
    fn who_has_joined_a_club_calls_who_has_and_nobody_else() {
        let club = |members: &[&str]| Club {
            agreement_id: id("club"),
            members: members.iter().map(|name| id(name)).collect(),
            limits: tandem_model::CallLimits { max_calls: Some(7), ..Default::default() },
            advance_on: None,
            terms: None,
        };
        let mut exchange = exchange("+4420 acme | +4421 globex");
        exchange.0.agreements.clear();
        exchange.0.clubs = vec![club(&["globex", "caller"])];
        let table = exchange.table();
        assert_eq!(candidates(&table, "+4421123456"), ["globex"]);
        assert_eq!(left_out(&table, LONDON), ["acme no_agreement"]);
        let chosen = selection(&table, "caller", "+4421123456", at(0)).candidates[0];
        assert_eq!(chosen.agreement, id("club"));
        assert_eq!(table.agreement_limits(chosen.agreement).max_calls, Some(7));
        let left = table.apply(Facts { clubs: vec![club(&["globex"])], ..Facts::default() });
        assert_eq!(refusal(&left, "+4421123456"), Some("no_agreement"));
        let back = left.apply(Facts { clubs: exchange.0.clubs.clone(), ..Facts::default() });
        assert_eq!((back.hash(), candidates(&back, "+4421123456")), (table.hash(), vec!["globex".into()]));
        let gone = vec![tandem_model::ObjectId::Club(id("club"))];
        assert_eq!(
            refusal(&back.apply(Facts { gone, ..Facts::default() }), "+4421123456"),
            Some("no_agreement")
        );
    }

    #[test]
    fn an_agreement_of_two_that_admits_the_call_comes_before_a_club() {
        let mut exchange = exchange("+4420 acme");
        let members = ["acme", "caller"].map(id).to_vec();
        let limits = tandem_model::CallLimits::NONE;
        exchange.0.clubs =
            vec![Club { agreement_id: id("club"), members, limits, advance_on: None, terms: None }];
        let by = |exchange: &crate::exchange::Exchange| {
            let chosen = selection(&exchange.table(), "caller", LONDON, at(0));
            chosen.candidates.first().map(|candidate| candidate.agreement)
        };
        assert_eq!(by(&exchange), Some(id("agreement caller acme")));
        let terms = serde_json::from_str(r#"{ "prefixes_of_accepting": ["+4421"] }"#).unwrap();
        exchange.agreement("acme").terms = Some(Box::new(terms));
        assert_eq!(by(&exchange), Some(id("club")));
    }

    #[test]
    fn what_two_members_have_suspended_crosses_by_no_club_either() {
        let mut exchange = exchange("+4420 acme | +49 caller");
        let members = ["acme", "caller"].map(id).to_vec();
        let limits = tandem_model::CallLimits::NONE;
        exchange.0.clubs =
            vec![Club { agreement_id: id("club"), members, limits, advance_on: None, terms: None }];
        exchange.agreement("acme").state = AgreementState::Suspended;
        let table = exchange.table();
        assert_eq!(refusal(&table, LONDON), Some("agreement_suspended"));
        let back = |table: &RouteTable| selection(table, "acme", "+4930123456", at(0)).refusal();
        assert_eq!(back(&table), Some(Reason::AgreementSuspended));
        // What the agreement is not about the club decides, and so it does once the agreement is over.
        exchange.agreement("acme").direction = AgreementDirection::ToAccepting;
        assert_eq!(back(&exchange.table()), None);
        exchange.agreement("acme").validity = Some(Validity { from: at(-60), until: Some(at(0)) });
        assert_eq!(candidates(&exchange.table(), LONDON), ["acme"]);
    }

    /// The exchange of `+4420 acme`, with the terms of its agreement from JSON.
    fn with_terms(terms: &str) -> crate::exchange::Exchange {
        let terms = serde_json::from_str(terms).unwrap();
        exchange("+4420 acme").with(|x| x.agreement("acme").terms = Some(Box::new(terms)))
    }

    #[test]
    fn terms_name_the_prefixes_of_each_side_that_the_other_may_call() {
        let terms = r#"{ "prefixes_of_accepting": ["+4420794", "+3315"], "prefixes_of_proposing": ["+1"] }"#;
        let table = with_terms(terms).table();
        assert_eq!(candidates(&table, LONDON), ["acme"]);
        assert_eq!(left_out(&table, "+442089460000"), ["acme agreement_prefix"]);
        assert_eq!(refusal(&table, "+442089460000"), Some("agreement_prefix"));
        assert_eq!(refusal(&table, "+44207"), Some("agreement_prefix"), "a number shorter than the prefix");
        // A ported number is admitted by its routing number.
        let ported = ported(table, "+442089460000>+4420794");
        assert_eq!(candidates(&ported, "+442089460000"), ["acme"]);
    }

    #[test]
    fn terms_demand_tags_of_the_announcement() {
        let exchange = with_terms(r#"{ "demand": "cli-guaranteed and (no-transit or premium)" }"#);
        assert_eq!(left_out(&exchange.table(), LONDON), ["acme agreement_tags"]);
        for (tags, is_routed) in
            [("cli-guaranteed", false), ("cli-guaranteed premium", true), ("no-transit premium", false)]
        {
            let mut exchange = crate::exchange::Exchange(exchange.0.clone());
            let tags = tags.split(' ').map(|tag| tag.parse().unwrap()).collect();
            exchange.announcement("+4420", "acme").tags = tags;
            assert_eq!(refusal(&exchange.table(), LONDON).is_none(), is_routed);
        }
    }

    #[test]
    fn terms_let_calls_cross_in_their_hours_only() {
        // Calls are placed on a Friday at 08:00 UTC.
        let window = r#"{ "days": ["fri"], "from": "09:00", "until": "10:00" }"#;
        let table =
            with_terms(&format!(r#"{{ "hours": {{ "zone": "Europe/Paris", "windows": [{window}] }} }}"#))
                .table();
        let outcome = |seconds| selection(&table, "caller", LONDON, at(seconds)).refusal();
        assert_eq!(outcome(-1), Some(Reason::AgreementHours));
        assert_eq!([0, 3599].map(outcome), [None, None]);
        assert_eq!(outcome(3600), Some(Reason::AgreementHours));
    }

    #[test]
    fn an_endpoint_at_a_site_that_the_agreement_prefers_comes_before_one_at_the_site_of_the_call() {
        let table = exchange("+44 acme ams/2 fra/1 lon/0")
            .with(|x| x.endpoint("ams").sites = vec!["ams".into()])
            .with(|x| x.endpoint("fra").sites = vec!["fra".into()])
            .with(|x| x.endpoint("lon").sites = vec!["lon".into()])
            .with(|x| {
                let terms = serde_json::from_str(r#"{ "sites": ["ams", "muc"] }"#).unwrap();
                x.agreement("acme").terms = Some(Box::new(terms));
            })
            .table();
        let call = CallRequest {
            originating_member: id("caller"),
            called: number(LONDON),
            dip: None,
            site: Some("fra"),
            draw: 1,
        };
        let order: Vec<EndpointId> =
            select(&table, &call, at(0)).candidates.iter().map(|it| it.endpoint).collect();
        assert_eq!(order, ["ams", "fra", "lon"].map(id));
    }

    #[test]
    fn an_agreement_with_one_member_says_nothing_about_another() {
        let mut exchange = exchange("+4420 acme | +4420 globex");
        exchange.agreement("acme").accepting_member = id("globex");
        let table = exchange.table();
        assert_eq!(candidates(&table, LONDON), ["globex"]);
        assert_eq!(left_out(&table, LONDON), ["acme no_agreement"]);
    }

    #[test]
    fn a_disabled_endpoint_is_left_out_by_name_and_the_others_are_tried() {
        let mut exchange = exchange("+4420 acme one/0/0 two/1/0");
        exchange.endpoint("one").enabled = false;
        let chosen = selection(&exchange.table(), "caller", LONDON, at(0));
        assert_eq!(chosen.candidates.iter().map(|each| each.endpoint).collect::<Vec<_>>(), [id("two")]);
        assert_eq!(
            (chosen.left_out[0].endpoint, chosen.left_out[0].reason),
            (Some(id("one")), Reason::EndpointDisabled)
        );
        exchange.endpoint("two").enabled = false;
        assert_eq!(refusal(&exchange.table(), LONDON), Some("endpoint_disabled"));
    }

    #[test]
    fn an_endpoint_that_is_unknown_or_another_members_takes_no_call() {
        let mut exchange = exchange("+4420 acme one/0/0 | +33 globex");
        exchange.announcement("+4420", "acme").endpoints = vec![id("globex"), id("nothing")];
        assert_eq!(left_out(&exchange.table(), LONDON), ["acme endpoint_disabled"; 2]);
        exchange.announcement("+4420", "acme").endpoints = Vec::new();
        assert_eq!(refusal(&exchange.table(), LONDON), Some("endpoint_disabled"));
    }

    #[test]
    fn an_endpoint_that_two_announcements_name_is_tried_once() {
        let mut exchange = exchange("+4420 acme");
        let mut twin = exchange.announcement("+4420", "acme").clone();
        twin.announcement_id = id("twin");
        exchange.0.announcements.push(twin);
        assert_eq!(candidates(&exchange.table(), LONDON), ["acme"]);
    }

    #[test]
    fn the_refusal_is_the_most_telling_reason_of_the_prefix_that_decides() {
        let mut exchange = exchange("+4420 acme | +4420 globex | +44 initech");
        exchange.range("+4420", "globex").authority = Authority::Pending;
        exchange.endpoint("acme").enabled = false;
        assert_eq!(refusal(&exchange.table(), LONDON), Some("range_of_other"));
        exchange.agreement("acme").state = AgreementState::Ended;
        assert_eq!(refusal(&exchange.table(), LONDON), Some("no_agreement"));
    }

    #[test]
    fn lower_priorities_are_tried_first() {
        let table = routes("+4420 acme one/20/1 two/10/1 | +4420 globex three/15/1");
        let chosen = selection(&table, "caller", LONDON, at(0));
        let order: Vec<_> = chosen.candidates.iter().map(|each| each.endpoint).collect();
        assert_eq!(order, [id("two"), id("three"), id("one")]);
    }

    #[test]
    fn the_same_draw_gives_the_same_order_and_others_give_others() {
        let table = routes("+4420 acme one/0/1 two/0/1 three/0/1");
        let order = |draw| {
            let call = CallRequest {
                originating_member: id("caller"),
                called: number(LONDON),
                dip: None,
                site: None,
                draw,
            };
            let selection = select(&table, &call, at(0));
            selection.candidates.iter().map(|each| each.endpoint).collect::<Vec<_>>()
        };
        let orders: std::collections::HashSet<_> = (0..200).map(order).collect();
        assert_eq!(orders.len(), 6);
        assert_eq!(order(7), order(7));
    }

    /// A table whose node holds ported numbers, such as `+442079460000>+3319`.
    fn ported(table: RouteTable, numbers: &str) -> RouteTable {
        let mut load = PortedLoad::new();
        for (number, rn) in numbers.split(' ').map(|each| each.split_once('>').unwrap()) {
            load.push(PortedNumber { number: number.parse().unwrap(), rn: rn.parse().unwrap() }).unwrap();
        }
        let table = shared(table);
        port(&table, &load.finish(1).unwrap());
        RouteTable::clone(&table.load())
    }

    fn dipped(table: &RouteTable, rn: Option<&str>) -> Selection {
        let dip = Some(Dip { rn: rn.map(|rn| rn.parse().unwrap()), source: DipSource::Call });
        let call = CallRequest {
            originating_member: id("caller"),
            called: number(LONDON),
            dip,
            site: None,
            draw: 1,
        };
        select(table, &call, at(0))
    }

    #[test]
    fn a_ported_number_is_routed_by_its_routing_number() {
        let table = ported(routes("+4420 acme | +33 globex"), &format!("{LONDON}>+3319"));
        let chosen = selection(&table, "caller", LONDON, at(0));
        assert_eq!(candidates(&table, LONDON), ["globex"]);
        assert_eq!((chosen.called, chosen.matched), (number(LONDON), Some(prefix("+33"))));
        assert_eq!(chosen.candidates[0].prefix, prefix("+33"));
        assert_eq!(chosen.dip, Some(Dip { rn: "+3319".parse().ok(), source: DipSource::Node }));
        // It neighbours one that was ported.
        let chosen = selection(&table, "caller", "+442079460001", at(0));
        assert_eq!(candidates(&table, "+442079460001"), ["acme"]);
        assert_eq!(chosen.dip, Some(Dip { rn: None, source: DipSource::Node }));
    }

    #[test]
    fn a_routing_number_that_nobody_announces_leads_nowhere() {
        let table = ported(routes("+4420 acme"), &format!("{LONDON}>+3319"));
        assert_eq!(refusal(&table, LONDON), Some("no_route"));
    }

    #[test]
    fn what_the_call_has_looked_up_is_not_looked_up_again() {
        let table = ported(routes("+4420 acme | +33 globex | +49 initech"), &format!("{LONDON}>+3319"));
        let first = |chosen: &Selection| name(&table, chosen.candidates[0].member);
        assert_eq!(first(&dipped(&table, Some("+491"))), "initech");
        let not_ported = dipped(&table, None);
        assert_eq!(first(&not_ported), "acme");
        assert_eq!(not_ported.dip, Some(Dip { rn: None, source: DipSource::Call }));
    }

    #[test]
    fn a_node_without_ported_numbers_says_nothing_of_them() {
        assert_eq!(selection(&routes("+4420 acme"), "caller", LONDON, at(0)).dip, None);
    }

    #[test]
    fn a_changed_table_and_a_new_one_keep_the_ported_numbers() {
        let table = shared(ported(routes("+4420 acme | +33 globex"), &format!("{LONDON}>+3319")));
        for next in [table.load().apply(Facts::default()), routes("+33 globex")] {
            replace(&table, table.load_full(), next);
            assert_eq!(candidates(&table.load(), LONDON), ["globex"]);
        }
    }

    #[test]
    fn a_selection_of_before_ported_numbers_is_read() {
        let chosen = selection(&routes("+4420 acme"), "caller", LONDON, at(0));
        let mut old = serde_json::to_value(&chosen).unwrap();
        old.as_object_mut().unwrap().remove("dip").unwrap();
        assert_eq!(serde_json::from_value::<Selection>(old).unwrap(), chosen);
        let new = serde_json::to_value(dipped(&routes("+4420 acme"), Some("+4420"))).unwrap();
        assert_eq!(new["dip"], serde_json::json!({"rn": "+4420", "source": "call"}));
        assert_eq!(serde_json::from_value::<Selection>(new).unwrap().refusal(), None);
    }

    #[test]
    fn a_selection_says_which_table_was_asked_and_is_read_back_from_json() {
        let mut exchange = exchange("+4420 acme | +44 globex");
        exchange.0.position = 42;
        exchange.add_member("idle");
        let selection = selection(&exchange.table(), "caller", LONDON, always().from);
        assert_eq!(selection.table_version, 42);
        let json = serde_json::to_string(&selection).unwrap();
        assert_eq!(serde_json::from_str::<Selection>(&json).unwrap(), selection);
        assert!(
            json.contains(r#""matched":"+4420""#) && json.contains(r#""reason":"longer_prefix""#),
            "{json}"
        );
    }
}
