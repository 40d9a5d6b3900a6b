//! All that a node needs to choose an egress, as one immutable value.
//!
//! [`RouteTable::apply`] makes the next table from the last and what changed; the two share everything else.
//! What several announcements or ranges have in common (member, endpoints, authority, end) is kept once, so that
//! one takes 30 bytes where a member announces many at a time, and 46 where each has a time of its own, its id and the
//! index by id included. `cargo xtask bench routing` measures it.

use std::net::{IpAddr, SocketAddr};
use std::ops::ControlFlow;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use smallvec::SmallVec;
use tandem_model::{
    AdvanceOn, Agreement, AgreementId, AgreementState, AgreementTerms, AnnouncementId, BlockList, CallLimits,
    CallMark, Club, E164, Endpoint, EndpointId, Facts, Member, MemberId, MemberState, ObjectId, Party,
    Prefix, RateDeck, RateDeckId, Reason, TransitOffer,
};

use crate::access::AccessIndex;
use crate::blocks::Blocks;
use crate::called::{Called, Tally};
use crate::catalog::{Catalog, Change};
use crate::cow_map::CowMap;
use crate::digits::Digits;
use crate::hash::{self, TableHash};
use crate::portability::PortedNumbers;
use crate::sources::Sources;
use crate::terms::{Announced, AnnouncedTerms, CommonTerms, Held, HeldTerms, Shared};
use crate::transit::Transit;

/// The route table. `clone` copies some pointers.
///
/// Facts that do not fit together, such as an announcement by a member that is unknown, are kept and never
/// route; they may fit once the rest has come.
#[derive(Clone)]
pub struct RouteTable {
    version: u64,
    hash: TableHash,
    members: CowMap<MemberId, Arc<Member>>,
    endpoints: CowMap<EndpointId, Arc<Endpoint>>,
    sources: Sources,
    /// Which endpoints a name in a certificate stands for; more than one only where facts are bad.
    certificates: CowMap<String, SmallVec<[EndpointId; 1]>>,
    pub(crate) access: AccessIndex,
    agreements: CowMap<AgreementId, Arc<Agreement>>,
    /// Accepted agreements, suspended ones too, by originating and terminating member, sorted by id.
    permitted: CowMap<(MemberId, MemberId), SmallVec<[Arc<Agreement>; 1]>>,
    clubs: CowMap<AgreementId, Arc<Club>>,
    /// Clubs by each member that has joined, sorted by id.
    joined: CowMap<MemberId, SmallVec<[Arc<Club>; 1]>>,
    pub(crate) announcements: Catalog<Shared<AnnouncedTerms>>,
    pub(crate) ranges: Catalog<Shared<HeldTerms>>,
    called: Called,
    announced_terms: CommonTerms<AnnouncedTerms>,
    held_terms: CommonTerms<HeldTerms>,
    pub(crate) transit: Transit,
    pub(crate) blocks: Blocks,
    pub(crate) ported: PortedNumbers,
}

/// By what a call crosses.
#[derive(Clone, Copy)]
pub(crate) struct Crossing<'a> {
    /// The agreement of the two, or the club.
    pub(crate) agreement: AgreementId,
    /// Its terms, where they say something.
    pub(crate) terms: Option<&'a AgreementTerms>,
}

/// How much a table holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Members, approved or not.
    pub members: usize,
    /// Endpoints, enabled or not.
    pub endpoints: usize,
    /// Ranges, whatever their authority.
    pub ranges: usize,
    /// Announcements, routable or not.
    pub announcements: usize,
    /// Agreements, whatever their state.
    pub agreements: usize,
    /// Clubs.
    pub clubs: usize,
    /// Offers of transit.
    pub transit_offers: usize,
    /// Rate decks.
    pub rate_decks: usize,
    /// Block lists.
    pub block_lists: usize,
    /// Distinct prefixes that are announced.
    pub prefixes: usize,
    /// Memory, an estimate that leaves out what the allocator adds to small objects.
    pub bytes: usize,
}

impl std::fmt::Debug for RouteTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { version, hash, .. } = self;
        write!(f, "RouteTable {{ version: {version}, hash: {hash}, {:?} }}", self.counts())
    }
}

impl Default for RouteTable {
    fn default() -> Self {
        Self::empty()
    }
}

impl RouteTable {
    /// The table of version 0, that routes nothing.
    pub fn empty() -> Self {
        Self {
            version: 0,
            hash: TableHash::default(),
            members: CowMap::new(),
            endpoints: CowMap::new(),
            sources: Sources::new(),
            certificates: CowMap::new(),
            access: AccessIndex::new(),
            agreements: CowMap::new(),
            permitted: CowMap::new(),
            clubs: CowMap::new(),
            joined: CowMap::new(),
            announcements: Catalog::new(),
            ranges: Catalog::new(),
            called: Called::new(),
            announced_terms: CommonTerms::new(),
            held_terms: CommonTerms::new(),
            transit: Transit::default(),
            blocks: Blocks::new(),
            ported: PortedNumbers::default(),
        }
    }

    /// The table of a whole load.
    pub fn from_facts(facts: Facts) -> Self {
        Self::empty().apply(facts)
    }

    /// The next table: changed objects replace those of the same id, those that are gone are left out, and the
    /// version is the position of the changes. Of several with one id the last counts; what is both changed and
    /// gone is gone.
    pub fn apply(&self, changes: Facts) -> Self {
        let Facts { position, members, endpoints, ranges, announcements, agreements, clubs, .. } = changes;
        let Facts { transit_offers, rate_decks, block_lists, gone, .. } = changes;
        let mut next = self.clone();
        next.version = position;
        members.into_iter().for_each(|member| next.put_member(member));
        endpoints.into_iter().for_each(|endpoint| next.put_endpoint(endpoint));
        agreements.into_iter().for_each(|agreement| next.put_agreement(agreement));
        clubs.into_iter().for_each(|club| next.put_club(club));
        rate_decks.iter().for_each(|deck| next.put_deck(deck.rate_deck_id, Some(deck)));
        transit_offers.into_iter().for_each(|offer| next.put_offer(offer.announcement_id, Some(offer)));
        block_lists.into_iter().for_each(|list| next.put_block_list(list));
        let held = |range| Held::change(range, &mut next.held_terms);
        let mut ranges: Vec<_> = ranges.into_iter().map(held).collect();
        let announced = |announcement| Announced::change(announcement, &mut next.announced_terms);
        let mut announcements: Vec<_> = announcements.into_iter().map(announced).collect();
        for id in gone {
            match id {
                ObjectId::Member(id) => next.remove_member(id),
                ObjectId::Endpoint(id) => next.remove_endpoint(id),
                ObjectId::Agreement(id) => next.remove_agreement(id),
                ObjectId::Club(id) => next.remove_club(id),
                ObjectId::TransitOffer(id) => next.put_offer(id, None),
                ObjectId::RateDeck(id) => next.put_deck(id, None),
                ObjectId::BlockList(member_id) => {
                    next.put_block_list(BlockList { member_id, prefixes: Vec::new() });
                }
                ObjectId::Range(id) => ranges.push(Change { id: id.0, now: None }),
                ObjectId::Announcement(id) => announcements.push(Change { id: id.0, now: None }),
            }
        }
        let (mut taken, mut put) = (TableHash::default(), TableHash::default());
        next.ranges.change(
            ranges,
            |prefix, range| taken.add(range.digest(prefix)),
            |prefix, range| put.add(range.digest(prefix)),
        );
        let (mut gone, mut come) = (Tally::default(), Tally::default());
        next.announcements.change(
            announcements,
            |prefix, announcement| {
                taken.add(announcement.digest(prefix));
                gone.add(announcement.terms);
            },
            |prefix, announcement| {
                put.add(announcement.digest(prefix));
                come.add(announcement.terms);
            },
        );
        next.called.change(gone, come);
        next.hash = next.hash.plus(put).minus(taken);
        next
    }

    /// Position of the change feed that it is true for.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Equal where two tables hold the same facts, however they came to; the version is not part of it.
    pub fn hash(&self) -> TableHash {
        self.hash
    }

    /// Whether it holds nothing at all.
    pub fn is_empty(&self) -> bool {
        Counts { bytes: 0, ..self.counts() } == Counts::default()
    }

    /// Whether it is the one of before any was loaded: nothing is known, not even that there are no routes.
    pub fn is_unloaded(&self) -> bool {
        self.version == 0 && self.is_empty()
    }

    /// How much it holds; kept as it changes, so this is cheap.
    pub fn counts(&self) -> Counts {
        let (announcements, ranges) = (self.announcements.size(), self.ranges.size());
        let (transit_offers, rate_decks) = self.transit.counts();
        Counts {
            members: self.members.len(),
            endpoints: self.endpoints.len(),
            ranges: ranges.entries,
            announcements: announcements.entries,
            agreements: self.agreements.len(),
            clubs: self.clubs.len(),
            transit_offers,
            rate_decks,
            block_lists: self.blocks.len(),
            prefixes: announcements.prefixes,
            bytes: announcements.bytes
                + ranges.bytes
                + self.members.bytes()
                + self.members.len() * (16 + size_of::<Member>())
                + self.endpoints.bytes()
                + self.endpoints.len() * (16 + size_of::<Endpoint>() + size_of::<tandem_model::Source>())
                + self.sources.bytes()
                + self.certificates.bytes()
                + self.access.bytes()
                + self.agreements.bytes()
                + self.agreements.len() * (16 + size_of::<Agreement>())
                + self.permitted.bytes()
                + self.clubs.bytes()
                + self
                    .clubs
                    .values()
                    .map(|club| 16 + size_of_val(&**club) + size_of_val(&club.members[..]))
                    .sum::<usize>()
                + self.joined.bytes()
                + self.called.bytes()
                + self.announced_terms.bytes()
                + self.held_terms.bytes()
                + self.transit.bytes()
                + self.blocks.bytes()
                + self.ported.bytes(),
        }
    }

    /// Which enabled endpoint sends from an address: the one with the smallest block that holds it, of two such
    /// the one that names the port, of several that are told by their marks any. An IPv4 address mapped into IPv6 is the IPv4 address.
    ///
    /// Allocates nothing and takes as many hash probes as there are lengths of blocks among all sources.
    pub fn endpoint_from(&self, source: SocketAddr) -> Option<&Endpoint> {
        self.sources.endpoints(source).filter_map(|id| self.endpoint(id)).find(|endpoint| endpoint.enabled)
    }

    /// Whether an enabled endpoint of the member sends from the address.
    pub fn sends_from(&self, member: MemberId, source: SocketAddr) -> bool {
        let mut there = self.sources.endpoints(source).filter_map(|id| self.endpoint(id));
        there.any(|endpoint| endpoint.enabled && endpoint.member_id == member)
    }

    /// The enabled endpoint that sends from the address and whose calls bear a mark that `is_borne`: at most one does
    /// where marks are as [`CallMark`] says.
    pub fn endpoint_marked(
        &self,
        source: SocketAddr,
        is_borne: impl Fn(&CallMark) -> bool,
    ) -> Option<&Endpoint> {
        let there = self.sources.endpoints(source).filter_map(|id| self.endpoint(id));
        let mut marked = there.filter(|endpoint| endpoint.call_mark.as_ref().is_some_and(&is_borne));
        marked.find(|endpoint| endpoint.enabled)
    }

    /// Which member an address is of, whatever the port: the one whose enabled endpoint sends from the smallest block
    /// around it. None where two members do from the same block, who are told apart by their ports only.
    pub fn member_at(&self, ip: IpAddr) -> Option<MemberId> {
        let enabled = |id: &EndpointId| self.endpoint(*id).filter(|endpoint| endpoint.enabled);
        let mut members = self.sources.endpoints_at(ip).filter_map(|ids| {
            let mut members = ids.iter().filter_map(enabled).map(|endpoint| endpoint.member_id);
            members.next().map(|first| members.all(|member| member == first).then_some(first))
        });
        members.next().flatten()
    }

    /// The enabled endpoint that a certificate with these names, in lower case, stands for: the first that is one's.
    pub fn endpoint_by_certificate(&self, names: &[String]) -> Option<&Endpoint> {
        names
            .iter()
            .filter_map(|name| self.certificates.get(name))
            .flatten()
            .filter_map(|id| self.endpoint(*id))
            .find(|endpoint| endpoint.enabled)
    }

    /// Whether any endpoint is known by its certificate.
    pub fn has_certificates(&self) -> bool {
        self.certificates.len() > 0
    }

    /// The endpoint with this id, enabled or not.
    pub fn endpoint(&self, id: EndpointId) -> Option<&Endpoint> {
        self.endpoints.get(&id).map(Arc::as_ref)
    }

    /// The member with this id, in whatever state.
    pub fn member(&self, id: MemberId) -> Option<&Member> {
        self.members.get(&id).map(Arc::as_ref)
    }

    /// The member with this name. It looks at every member: for people, not for calls.
    pub fn member_by_name(&self, name: &str) -> Option<&Member> {
        self.members().filter(|member| member.name == name).min_by_key(|member| member.member_id)
    }

    /// Every member, in no promised order.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values().map(Arc::as_ref)
    }

    /// Whether no endpoint or member was touched between the two tables, and the same endpoints are announced; at a glance, so that it may say no where all
    /// are the same after all.
    pub fn has_endpoints_of(&self, other: &Self) -> bool {
        self.endpoints.is_unchanged_from(&other.endpoints)
            && self.members.is_unchanged_from(&other.members)
            && self.called.is_as(&other.called)
            && self.transit.has_offers_of(&other.transit)
    }

    /// Whether an announcement or an offer of transit names the endpoint, in force or not: nothing else brings a call to it.
    pub fn is_called(&self, endpoint: EndpointId) -> bool {
        self.called.contains(endpoint) || self.transit.names(endpoint)
    }

    /// Every endpoint, in no promised order.
    pub fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.endpoints.values().map(Arc::as_ref)
    }

    /// The longest prefix of a number that is announced, whether or not it routes, and who announces it: of several, the
    /// member of the first announcement by id.
    pub fn announced_prefix(&self, number: E164) -> Option<(Prefix, MemberId)> {
        let mut longest = None;
        self.announcements.matches(Digits::of(number.value()), |len, announced| {
            longest = Some((number.leading(len), announced.terms.member));
            ControlFlow::Break(())
        });
        longest
    }

    /// All that it holds, sorted by id: what a node saves to start from while the database is away.
    ///
    /// `from_facts` makes an equal table of it. An announcement's endpoints come back sorted, and times are
    /// bounded by what 64 bits of nanoseconds hold (the years 1677 to 2262).
    pub fn facts(&self) -> Facts {
        let mut facts = Facts {
            position: self.version,
            members: self.members().cloned().collect(),
            endpoints: self.endpoints().cloned().collect(),
            agreements: self.agreements.values().map(|agreement| Agreement::clone(agreement)).collect(),
            clubs: self.clubs.values().map(|club| Club::clone(club)).collect(),
            transit_offers: self.transit.offers().cloned().collect(),
            rate_decks: self.transit.decks().map(|(id, rates)| rates.as_deck(id)).collect(),
            block_lists: self.blocks.lists().cloned().collect(),
            ..Facts::default()
        };
        self.ranges.for_each(|prefix, range| facts.ranges.push(range.as_range(prefix)));
        self.announcements
            .for_each(|prefix, announced| facts.announcements.push(announced.as_announcement(prefix)));
        facts.members.sort_unstable_by_key(|member| member.member_id);
        facts.endpoints.sort_unstable_by_key(|endpoint| endpoint.endpoint_id);
        facts.agreements.sort_unstable_by_key(|agreement| agreement.agreement_id);
        facts.clubs.sort_unstable_by_key(|club| club.agreement_id);
        facts.block_lists.sort_unstable_by_key(|list| list.member_id);
        facts.ranges.sort_unstable_by_key(|range| range.range_id);
        facts.announcements.sort_unstable_by_key(|announcement| announcement.announcement_id);
        facts
    }

    /// Whether a longer prefix that begins with this one is announced.
    pub fn announces_beneath(&self, prefix: Prefix) -> bool {
        let mut is_there = false;
        self.announcements.beneath(prefix.value(), |other, _| {
            is_there = other != prefix.value();
            if is_there { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        is_there
    }

    /// What may cross under the agreement; no bound where it is unknown.
    pub fn agreement_limits(&self, id: AgreementId) -> CallLimits {
        let limits = self.agreements.get(&id).map(|agreement| agreement.limits);
        limits.or_else(|| Some(self.clubs.get(&id)?.limits)).unwrap_or(CallLimits::NONE)
    }

    /// After which failures a call under the agreement goes on to its next candidate, where the two members agreed on
    /// that.
    pub fn advance_on(&self, id: AgreementId) -> Option<&AdvanceOn> {
        match self.agreements.get(&id) {
            Some(agreement) => agreement.advance_on.as_ref(),
            None => self.clubs.get(&id)?.advance_on.as_ref(),
        }
    }

    /// What the announcement of the prefix takes, or the offer of transit; no bound where it is unknown.
    pub fn announcement_limits(&self, prefix: Prefix, id: AnnouncementId) -> CallLimits {
        let announced = self.announcements.get(prefix.value(), id.0);
        match announced {
            Some(announced) => announced.terms.limits,
            None => self.transit_offer(id).map_or(CallLimits::NONE, |offer| offer.limits),
        }
    }

    /// The club with this id.
    pub(crate) fn club_by_id(&self, id: AgreementId) -> Option<&Club> {
        self.clubs.get(&id).map(Arc::as_ref)
    }

    /// The agreement with this id, in whatever state.
    pub fn agreement_by_id(&self, id: AgreementId) -> Option<&Agreement> {
        self.agreements.get(&id).map(Arc::as_ref)
    }

    /// Whether a member is known and may exchange calls.
    pub(crate) fn is_approved(&self, id: MemberId) -> bool {
        self.member(id).is_some_and(|member| member.state == MemberState::Approved)
    }

    /// By what one member may call another: an accepted agreement of the two in force whose terms `admit` the call, of
    /// several the one with the lowest id; else a club that both have joined, likewise; or why there is none. Where the two have
    /// suspended an agreement of their own that covers the direction, no club lets the call cross either.
    pub(crate) fn agreement(
        &self,
        originating: MemberId,
        terminating: MemberId,
        now: DateTime<Utc>,
        admit: impl Fn(&AgreementTerms, Party) -> Result<(), Reason>,
    ) -> Result<Crossing<'_>, Reason> {
        let agreements = self.permitted.get(&(originating, terminating));
        let (mut found, mut by_terms) = (Reason::NoAgreement, None);
        for agreement in agreements.into_iter().flatten() {
            if agreement.validity.as_ref().is_none_or(|validity| !validity.contains(now)) {
                continue;
            }
            if !agreement.state.lets_calls_cross() {
                found = Reason::AgreementSuspended;
                continue;
            }
            let crossing = Crossing { agreement: agreement.agreement_id, terms: agreement.terms.as_deref() };
            match crossing.terms.map_or(Ok(()), |terms| admit(terms, agreement.party(terminating))) {
                Ok(()) => return Ok(crossing),
                Err(reason) => by_terms = by_terms.or(Some(reason)),
            }
        }
        if found == Reason::AgreementSuspended {
            return Err(by_terms.unwrap_or(found));
        }
        let clubs = self.joined.get(&originating).into_iter().flatten();
        for club in clubs.filter(|club| originating != terminating && club.has(terminating)) {
            let crossing = Crossing { agreement: club.agreement_id, terms: club.terms.as_deref() };
            // Its terms are of no side.
            match crossing.terms.map_or(Ok(()), |terms| admit(terms, Party::Accepting)) {
                Ok(()) => return Ok(crossing),
                Err(reason) => by_terms = by_terms.or(Some(reason)),
            }
        }
        Err(by_terms.unwrap_or(found))
    }

    /// The prefixes that terms of agreements in force have of numbers that the member may call, and those that it blocks,
    /// in no promised order: what becomes of a number that begins with one may differ from what becomes of a shorter one.
    pub(crate) fn term_prefixes(
        &self,
        originating: MemberId,
        now: DateTime<Utc>,
    ) -> impl Iterator<Item = Prefix> {
        let in_force = move |agreement: &&Arc<Agreement>| {
            agreement.state.lets_calls_cross()
                && agreement.validity.as_ref().is_some_and(|validity| validity.contains(now))
        };
        let named = self.agreements.values().filter(in_force).flat_map(move |agreement| {
            let terms = agreement.terms.as_deref();
            let of = move |party, member| {
                let is_callable = agreement.permits(originating, member);
                terms.filter(|_| is_callable).map_or(&[][..], |terms| terms.prefixes_of(party))
            };
            let proposing = of(Party::Proposing, agreement.proposing_member);
            proposing.iter().chain(of(Party::Accepting, agreement.accepting_member)).copied()
        });
        named.chain(self.blocks.prefixes(Some(originating)).iter().copied())
    }

    /// The prefixes at which, for every member, what becomes of a number may differ from what becomes of a shorter one
    /// without an announcement: those that have a rate, and those that the operator blocks.
    pub(crate) fn common_prefixes(&self) -> impl Iterator<Item = u64> {
        let rated = self.transit.decks().flat_map(|(_, rates)| rates.prefixes());
        // Without an offer no rate has an effect.
        let rated = rated.filter(|_| !self.transit.is_empty());
        rated.chain(self.blocks.prefixes(None).iter().map(|prefix| prefix.value()))
    }

    fn put_member(&mut self, member: Member) {
        self.hash.add(hash::member(&member));
        if let Some(old) = self.members.insert(member.member_id, Arc::new(member)) {
            self.hash.take(hash::member(&old));
        }
    }

    fn remove_member(&mut self, id: MemberId) {
        if let Some(old) = self.members.remove(&id) {
            self.hash.take(hash::member(&old));
        }
    }

    pub(crate) fn put_endpoint(&mut self, mut endpoint: Endpoint) {
        if let Some(old) = self.endpoints.get(&endpoint.endpoint_id) {
            endpoint.access.keep_later(&old.access);
        }
        self.remove_endpoint(endpoint.endpoint_id);
        self.hash.add(hash::endpoint(&endpoint));
        self.sources.add(&endpoint);
        for name in &endpoint.certificate_names {
            self.certificates.update(name.clone(), |ids| {
                let at = ids.partition_point(|id| *id < endpoint.endpoint_id);
                ids.insert(at, endpoint.endpoint_id);
            });
        }
        self.access.add(&endpoint);
        self.endpoints.insert(endpoint.endpoint_id, Arc::new(endpoint));
    }

    pub(crate) fn remove_endpoint(&mut self, id: EndpointId) {
        if let Some(old) = self.endpoints.remove(&id) {
            self.hash.take(hash::endpoint(&old));
            self.sources.remove(&old);
            for name in &old.certificate_names {
                self.certificates.update(name.clone(), |ids| ids.retain(|other| *other != old.endpoint_id));
            }
            self.access.remove(&old);
        }
    }

    fn put_agreement(&mut self, agreement: Agreement) {
        self.remove_agreement(agreement.agreement_id);
        self.hash.add(hash::agreement(&agreement));
        let agreement = Arc::new(agreement);
        for pair in permitted_pairs(&agreement) {
            self.permitted.update(pair, |agreements| {
                let at = agreements.partition_point(|other| other.agreement_id < agreement.agreement_id);
                agreements.insert(at, Arc::clone(&agreement));
            });
        }
        self.agreements.insert(agreement.agreement_id, agreement);
    }

    fn put_offer(&mut self, id: AnnouncementId, offer: Option<TransitOffer>) {
        if let Some(old) = self.transit.put_offer(id, offer) {
            self.hash.take(hash::transit_offer(&old));
        }
        if let Some(now) = self.transit.offer(id) {
            self.hash.add(hash::transit_offer(now));
        }
    }

    fn put_deck(&mut self, id: RateDeckId, deck: Option<&RateDeck>) {
        if let Some(old) = self.transit.put_deck(id, deck) {
            self.hash.take(old.digest());
        }
        if let Some(now) = self.transit.deck(id) {
            self.hash.add(now.digest());
        }
    }

    fn put_block_list(&mut self, list: BlockList) {
        let (old, now) = self.blocks.put(list);
        old.into_iter().for_each(|old| self.hash.take(old));
        now.into_iter().for_each(|now| self.hash.add(now));
    }

    fn put_club(&mut self, mut club: Club) {
        club.members.sort_unstable();
        club.members.dedup();
        self.remove_club(club.agreement_id);
        self.hash.add(hash::club(&club));
        let club = Arc::new(club);
        for member in &club.members {
            self.joined.update(*member, |clubs| {
                let at = clubs.partition_point(|other| other.agreement_id < club.agreement_id);
                clubs.insert(at, Arc::clone(&club));
            });
        }
        self.clubs.insert(club.agreement_id, club);
    }

    fn remove_club(&mut self, id: AgreementId) {
        if let Some(old) = self.clubs.remove(&id) {
            self.hash.take(hash::club(&old));
            for member in &old.members {
                self.joined.update(*member, |clubs| clubs.retain(|other| other.agreement_id != id));
            }
        }
    }

    fn remove_agreement(&mut self, id: AgreementId) {
        if let Some(old) = self.agreements.remove(&id) {
            self.hash.take(hash::agreement(&old));
            for pair in permitted_pairs(&old) {
                self.permitted.update(pair, |agreements| agreements.retain(|other| other.agreement_id != id));
            }
        }
    }
}

/// Who may call whom under an agreement, its validity aside: up to two ordered pairs.
fn permitted_pairs(agreement: &Agreement) -> impl Iterator<Item = (MemberId, MemberId)> {
    let (one, other) = (agreement.proposing_member, agreement.accepting_member);
    let is_accepted = agreement.state.lets_calls_cross() || agreement.state == AgreementState::Suspended;
    [(one, other), (other, one)]
        .into_iter()
        .filter(move |pair| is_accepted && one != other && agreement.permits(pair.0, pair.1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::{candidates, exchange, id, prefix, refusal, routes};

    const LONDON: &str = "+442079460000";

    #[test]
    fn an_empty_table_has_version_0_and_nothing() {
        let table = RouteTable::empty();
        assert_eq!((table.version(), table.is_empty()), (0, true));
        assert_eq!(table.hash().to_string(), "0".repeat(32));
        assert!(!routes("+44 acme").is_empty());
    }

    #[test]
    fn an_announcement_that_moves_leaves_its_old_prefix() {
        let mut exchange = exchange("+4420 acme");
        exchange.add_range("+33", "acme");
        let table = exchange.table();
        exchange.announcement("+4420", "acme").prefix = prefix("+33");
        let announcements = exchange.0.announcements.clone();
        let moved = table.apply(Facts { position: 9, announcements, ..Facts::default() });
        assert_eq!((moved.version(), moved.counts().prefixes), (9, 1));
        assert_eq!(
            (refusal(&moved, LONDON), candidates(&moved, "+33123456789")),
            (Some("no_route"), vec!["acme".into()])
        );
        assert_eq!(candidates(&table, LONDON), ["acme"], "an earlier table does not change");
        assert_eq!(moved.hash(), exchange.table().hash());
    }

    #[test]
    fn what_is_both_changed_and_gone_is_gone() {
        let exchange = exchange("+4420 acme");
        let mut facts = exchange.0.clone();
        facts.gone = vec![ObjectId::Announcement(exchange.0.announcements[0].announcement_id)];
        assert_eq!(refusal(&RouteTable::from_facts(facts), LONDON), Some("no_route"));
    }

    #[test]
    fn facts_that_come_in_the_wrong_order_route_once_they_fit() {
        let Facts { members, endpoints, ranges, announcements, agreements, .. } = exchange("+4420 acme").0;
        let mut table = RouteTable::empty();
        for part in [
            Facts { announcements, ..Facts::default() },
            Facts { agreements, ..Facts::default() },
            Facts { ranges, ..Facts::default() },
            Facts { endpoints, ..Facts::default() },
        ] {
            table = table.apply(part);
            assert_eq!(refusal(&table, LONDON), Some("member_not_approved"));
        }
        assert_eq!(candidates(&table.apply(Facts { members, ..Facts::default() }), LONDON), ["acme"]);
    }

    #[test]
    fn a_member_is_found_by_name() {
        let table = routes("+44 acme | +33 globex");
        assert_eq!(table.member_by_name("globex").map(|member| member.member_id), Some(id("globex")));
        assert_eq!(table.member_by_name("nobody"), None);
        assert_eq!(table.counts().members, 3);
    }

    #[test]
    fn times_beyond_what_nanoseconds_hold_are_the_bounds() {
        let far = "3000-01-01T00:00:00Z".parse().unwrap();
        let mut exchange = exchange("+4420 acme");
        exchange.announcement("+4420", "acme").validity.until = Some(far);
        assert_eq!(candidates(&exchange.table(), LONDON), ["acme"]);
        exchange.announcement("+4420", "acme").validity.from = far;
        assert_eq!(refusal(&exchange.table(), LONDON), Some("not_yet_in_force"));
    }
}
