//! What a change of the table does to calls: for each prefix and calling member, and for calls of the past.
//!
//! It adds no rule of its own: both tables are put to [`select()`]. Only prefixes that the change can touch are asked
//! about; that this leaves none out is a property that is tested.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::ControlFlow;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tandem_model::{
    AgreementId, AnnouncementId, CallId, E164, EndpointId, Facts, MemberId, ObjectId, Prefix, Rate,
    RateDeckId, Reason,
};

use crate::digits::{Digits, Key};
use crate::glass::fault;
use crate::table::RouteTable;
use crate::terms::{Announced, as_prefix};
use crate::{CallRequest, Dip, draw_of, select};

/// Where the calls of one member to one prefix go, by one table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// Who takes them, by priority; nobody where they are refused.
    pub takers: Vec<Taker>,
    /// Why they are refused.
    pub refusal: Option<Reason>,
}

/// An endpoint that takes calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Taker {
    /// What it costs a minute where it is transit: home routes are tried before it, and dearer ones after it.
    pub rate: Option<Rate>,
    /// Among transit of the same rate lower is tried first; 0 at home.
    pub preference: u16,
    /// Lower is tried first.
    pub priority: u16,
    /// The endpoint.
    pub endpoint: EndpointId,
    /// Its member.
    pub member: MemberId,
    /// Share of the calls among those of the same priority.
    pub weight: u16,
}

/// What happens to the calls of one member to one prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RouteChangeKind {
    /// They were refused and go somewhere.
    Added,
    /// They go to other endpoints, or to the same ones in other shares.
    Changed,
    /// They went somewhere and are refused: the numbers become unreachable.
    Removed,
}

/// A prefix that a member's calls find otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteChange {
    /// The prefix, of which longer ones in the list are no part.
    pub prefix: Prefix,
    /// The member that calls.
    pub originating_member: MemberId,
    /// What happens.
    pub kind: RouteChangeKind,
    /// Where its calls go by the table as it is.
    pub before: Route,
    /// Where they will go.
    pub after: Route,
}

/// An announcement that will not count, and that the change names or makes idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdleAnnouncement {
    /// Its id.
    pub announcement: AnnouncementId,
    /// Who makes it.
    pub member: MemberId,
    /// For which prefix.
    pub prefix: Prefix,
    /// Why it will not count.
    pub reason: Reason,
}

/// What a change does to the calls that members could make.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Prefixes that some member's calls find otherwise.
    pub prefixes: u64,
    /// Pairs of prefix and calling member whose calls will go somewhere.
    pub added: u64,
    /// Those whose calls will go elsewhere.
    pub changed: u64,
    /// Those whose calls will be refused.
    pub removed: u64,
    /// The first of those pairs, in the order of a dictionary.
    pub changes: Vec<RouteChange>,
    /// How many announcements will not count.
    pub idle: u64,
    /// The first of them.
    pub idle_announcements: Vec<IdleAnnouncement>,
}

impl Comparison {
    /// What `changes` do to the table `before`, at a time; it names so many changes at `most`.
    ///
    /// Each prefix that is touched costs two selections for every member.
    pub fn of(before: &RouteTable, changes: &Facts, most: usize, now: DateTime<Utc>) -> Self {
        Self::between(before, &before.apply(changes.clone()), changes, most, now)
    }

    /// The same, where the table with the changes is at hand.
    pub fn between(
        before: &RouteTable,
        after: &RouteTable,
        changes: &Facts,
        most: usize,
        now: DateTime<Utc>,
    ) -> Self {
        let touched = Touched::by(before, after, changes);
        let mut approved: BTreeSet<MemberId> = BTreeSet::new();
        for table in [before, after] {
            let ids = table.members().map(|member| member.member_id);
            approved.extend(ids.filter(|id| table.is_approved(*id)));
        }
        let named = changes.announcements.iter().map(|it| it.announcement_id).collect();
        let terms = Terms::of([before, after], &approved, now);
        let mut comparison = Self::default();
        for touched in touched.prefixes(before, after, &terms).chunk_by(|one, other| one.0 == other.0) {
            let prefix = as_prefix(touched[0].0.prefix());
            let is_for_all = touched.iter().any(|(_, caller)| caller.is_none());
            let callers: Vec<MemberId> = match is_for_all {
                true => approved.iter().copied().collect(),
                false => touched.iter().filter_map(|(_, caller)| *caller).collect(),
            };
            comparison.compare((before, after), prefix, &callers, &terms, most, now);
            if is_for_all {
                comparison.look_for_idle(before, after, prefix, &named, most, now);
            }
        }
        comparison
    }

    /// Whether no call that a member could make goes elsewhere.
    pub fn is_empty(&self) -> bool {
        self.prefixes == 0
    }

    fn compare(
        &mut self,
        (before, after): (&RouteTable, &RouteTable),
        prefix: Prefix,
        callers: &[MemberId],
        terms: &Terms,
        most: usize,
        now: DateTime<Utc>,
    ) {
        let mut is_touched = false;
        for &caller in callers {
            let (was, matched_before) = route(before, caller, prefix, now);
            let (will_be, matched_after) = route(after, caller, prefix, now);
            // A prefix at which nothing counts is a part of the next shorter one, unless terms name it.
            let is_own =
                [matched_before, matched_after].contains(&Some(prefix)) || terms.name(caller, prefix);
            if was.takers == will_be.takers || !is_own {
                continue;
            }
            let kind = match (was.takers.is_empty(), will_be.takers.is_empty()) {
                (true, _) => RouteChangeKind::Added,
                (_, true) => RouteChangeKind::Removed,
                _ => RouteChangeKind::Changed,
            };
            *match kind {
                RouteChangeKind::Added => &mut self.added,
                RouteChangeKind::Changed => &mut self.changed,
                RouteChangeKind::Removed => &mut self.removed,
            } += 1;
            is_touched = true;
            if self.changes.len() < most {
                let change =
                    RouteChange { prefix, originating_member: caller, kind, before: was, after: will_be };
                self.changes.push(change);
            }
        }
        self.prefixes += u64::from(is_touched);
    }

    fn look_for_idle(
        &mut self,
        before: &RouteTable,
        after: &RouteTable,
        prefix: Prefix,
        named: &HashSet<AnnouncementId>,
        most: usize,
        now: DateTime<Utc>,
    ) {
        after.announcements.matches(Digits::of(prefix.value()), |len, announced| {
            if len != prefix.len() {
                return ControlFlow::Break(());
            }
            let (announcement, member) = (AnnouncementId::from(announced.id), announced.terms.member);
            let Some(reason) = fault(after, announcement, member, prefix, now) else {
                return ControlFlow::Continue(());
            };
            let was_idle = before.announcements.get(prefix.value(), announced.id).is_some()
                && fault(before, announcement, member, prefix, now).is_some();
            if was_idle && !named.contains(&announcement) {
                return ControlFlow::Continue(());
            }
            self.idle += 1;
            if self.idle_announcements.len() < most {
                self.idle_announcements.push(IdleAnnouncement { announcement, member, prefix, reason });
            }
            ControlFlow::Continue(())
        });
    }
}

/// Where a member's calls to a prefix go, and the announced prefix that decides it.
fn route(
    table: &RouteTable,
    originating_member: MemberId,
    prefix: Prefix,
    now: DateTime<Utc>,
) -> (Route, Option<Prefix>) {
    let call = CallRequest {
        originating_member,
        called: prefix.into(),
        dip: Some(Dip::OF_PREFIX),
        site: None,
        draw: 0,
    };
    let selection = select(table, &call, now);
    let taker = |endpoint: EndpointId| table.endpoint(endpoint).map(|it| (it.priority, it.weight));
    let takers = selection.candidates.iter().map(|candidate| {
        let (priority, weight) = taker(candidate.endpoint).unwrap_or_default();
        let offer = table.transit_offer(candidate.announcement);
        Taker {
            rate: candidate.rate,
            preference: offer.map_or(0, |offer| offer.preference),
            priority,
            endpoint: candidate.endpoint,
            member: candidate.member,
            weight,
        }
    });
    let mut takers: Vec<Taker> = takers.collect();
    takers.sort_unstable();
    (Route { takers, refusal: selection.refusal() }, selection.matched)
}

/// Prefixes that are named beside the announced ones: calls to a part of a prefix may go elsewhere.
struct Terms {
    /// Those in the terms of a member's agreements, and those that it blocks.
    by_caller: BTreeMap<MemberId, BTreeSet<u64>>,
    /// Those that have a rate, and those that the operator blocks.
    common: BTreeSet<Key>,
}

impl Terms {
    fn of(tables: [&RouteTable; 2], callers: &BTreeSet<MemberId>, now: DateTime<Utc>) -> Self {
        let mut terms: BTreeMap<MemberId, BTreeSet<u64>> = BTreeMap::new();
        for &caller in callers {
            let named = tables.iter().flat_map(|table| table.term_prefixes(caller, now));
            let named: BTreeSet<u64> = named.map(Prefix::value).collect();
            if !named.is_empty() {
                terms.insert(caller, named);
            }
        }
        let common = tables.iter().flat_map(|table| table.common_prefixes()).map(Key::of).collect();
        Self { by_caller: terms, common }
    }

    fn is_empty(&self) -> bool {
        self.by_caller.is_empty() && self.common.is_empty()
    }

    fn name(&self, caller: MemberId, prefix: Prefix) -> bool {
        let is_own = |named: &BTreeSet<u64>| named.contains(&prefix.value());
        self.by_caller.get(&caller).is_some_and(is_own) || self.common.contains(&Key::of(prefix.value()))
    }

    /// Those beneath a prefix, of a caller or of all.
    fn beneath(&self, key: Key, caller: Option<MemberId>, keys: &mut Vec<(Key, Option<MemberId>)>) {
        let of_all = self.common.range(key..).take_while(|other| key.begins(**other));
        keys.extend(of_all.filter(|other| **other != key).map(|other| (*other, caller)));
        let concerned =
            self.by_caller.iter().filter(|(member, _)| caller.is_none_or(|caller| caller == **member));
        for (member, named) in concerned {
            let longer = named.iter().map(|prefix| Key::of(*prefix));
            let longer = longer.filter(|other| *other != key && key.begins(*other));
            keys.extend(longer.map(|other| (other, Some(*member))));
        }
    }
}

/// What a change may have an effect on.
#[derive(Default)]
struct Touched {
    /// Prefixes that are announced or withdrawn, or whose announcement is another.
    prefixes: HashSet<u64>,
    /// Prefixes of ranges, with rates or blocked, each with the member whose calls are concerned, or with none where
    /// everybody's are: what is beneath them may go elsewhere.
    ranges: HashSet<(u64, Option<MemberId>)>,
    /// Members whose announcements may lead elsewhere.
    terminating: HashSet<MemberId>,
    /// Members that may call others than before, whoever they are.
    callers: BTreeSet<MemberId>,
    /// Members that may call a member otherwise, by that one.
    pairs: HashMap<MemberId, Vec<MemberId>>,
}

impl Touched {
    fn by(before: &RouteTable, after: &RouteTable, changes: &Facts) -> Self {
        let mut touched = Self::default();
        for table in [before, after] {
            changes.announcements.iter().for_each(|it| touched.announcement(table, it.announcement_id));
            changes.ranges.iter().for_each(|it| touched.range(table, it.range_id.0));
            changes.endpoints.iter().for_each(|it| touched.endpoint(table, it.endpoint_id));
            changes.agreements.iter().for_each(|it| touched.agreement(table, it.agreement_id));
            changes.clubs.iter().for_each(|it| touched.club(table, it.agreement_id));
            changes.transit_offers.iter().for_each(|it| touched.offer(table, it.announcement_id));
            changes.rate_decks.iter().for_each(|it| touched.deck(table, it.rate_deck_id, None));
            changes.block_lists.iter().for_each(|it| touched.block_list(table, it.member_id));
            for id in &changes.gone {
                match *id {
                    ObjectId::Announcement(id) => touched.announcement(table, id),
                    ObjectId::Range(id) => touched.range(table, id.0),
                    ObjectId::Endpoint(id) => touched.endpoint(table, id),
                    ObjectId::Agreement(id) => touched.agreement(table, id),
                    ObjectId::Club(id) => touched.club(table, id),
                    ObjectId::TransitOffer(id) => touched.offer(table, id),
                    ObjectId::RateDeck(id) => touched.deck(table, id, None),
                    ObjectId::BlockList(list) => touched.block_list(table, list),
                    ObjectId::Member(_) => {}
                }
            }
        }
        let gone = changes.gone.iter().filter_map(|id| match id {
            ObjectId::Member(id) => Some(*id),
            _ => None,
        });
        for id in changes.members.iter().map(|member| member.member_id).chain(gone) {
            if before.is_approved(id) != after.is_approved(id) {
                touched.terminating.insert(id);
                touched.callers.insert(id);
            }
        }
        for table in [before, after] {
            touched.offers_by_member(table);
        }
        touched
    }

    fn announcement(&mut self, table: &RouteTable, id: AnnouncementId) {
        self.prefixes.extend(table.announcements.prefix_of(id.0));
    }

    fn range(&mut self, table: &RouteTable, id: uuid::Uuid) {
        self.ranges.extend(table.ranges.prefix_of(id).map(|prefix| (prefix, None)));
    }

    fn offer(&mut self, table: &RouteTable, id: AnnouncementId) {
        if let Some(offer) = table.transit.offer(id) {
            self.deck(table, offer.rate_deck, None);
        }
    }

    fn deck(&mut self, table: &RouteTable, id: RateDeckId, caller: Option<MemberId>) {
        let rates = table.transit.deck(id).into_iter();
        self.ranges.extend(rates.flat_map(|rates| rates.prefixes()).map(|prefix| (prefix, caller)));
    }

    fn block_list(&mut self, table: &RouteTable, list: Option<MemberId>) {
        self.ranges.extend(table.blocks.prefixes(list).iter().map(|prefix| (prefix.value(), list)));
    }

    /// Transit of members, and to members, of which something else is touched.
    fn offers_by_member(&mut self, table: &RouteTable) {
        let callers: Vec<MemberId> = self.callers.iter().copied().collect();
        for offer in table.transit.offers() {
            if self.terminating.contains(&offer.member_id) {
                self.deck(table, offer.rate_deck, None);
            }
            let others = self.pairs.get(&offer.member_id).cloned().unwrap_or_default();
            for caller in callers.iter().chain(&others) {
                self.deck(table, offer.rate_deck, Some(*caller));
            }
        }
    }

    fn endpoint(&mut self, table: &RouteTable, id: EndpointId) {
        self.terminating.extend(table.endpoint(id).map(|endpoint| endpoint.member_id));
    }

    fn club(&mut self, table: &RouteTable, id: AgreementId) {
        let Some(club) = table.club_by_id(id) else { return };
        for member in &club.members {
            self.pairs.entry(*member).or_default().extend_from_slice(&club.members);
        }
    }

    fn agreement(&mut self, table: &RouteTable, id: AgreementId) {
        let Some(agreement) = table.agreement_by_id(id) else { return };
        let (one, other) = (agreement.proposing_member, agreement.accepting_member);
        self.pairs.entry(one).or_default().push(other);
        self.pairs.entry(other).or_default().push(one);
    }

    /// Announced prefixes in the order of a dictionary, each with a member whose calls may be concerned, or with none
    /// where everybody's may be.
    fn prefixes(
        &self,
        before: &RouteTable,
        after: &RouteTable,
        terms: &Terms,
    ) -> Vec<(Key, Option<MemberId>)> {
        let mut keys: Vec<(Key, Option<MemberId>)> =
            self.prefixes.iter().map(|prefix| (Key::of(*prefix), None)).collect();
        for table in [before, after] {
            for (range, caller) in &self.ranges {
                // Where nothing is named by it, it is a part of what is shorter.
                keys.push((Key::of(*range), *caller));
                table.announcements.beneath(*range, |prefix, _| {
                    keys.push((Key::of(prefix), *caller));
                    ControlFlow::Continue(())
                });
            }
            if self.terminating.is_empty() && self.callers.is_empty() && self.pairs.is_empty() {
                continue;
            }
            table.announcements.for_each(|prefix, announced: Announced<'_>| {
                let (key, member) = (Key::of(prefix), announced.terms.member);
                if self.terminating.contains(&member) {
                    keys.push((key, None));
                }
                keys.extend(self.callers.iter().map(|caller| (key, Some(*caller))));
                let others = self.pairs.get(&member).into_iter().flatten();
                keys.extend(others.map(|caller| (key, Some(*caller))));
            });
        }
        let mut of_terms = Vec::new();
        if !terms.is_empty() {
            keys.iter().for_each(|(key, caller)| terms.beneath(*key, *caller, &mut of_terms));
        }
        keys.extend(of_terms);
        keys.sort_unstable();
        keys.dedup();
        keys
    }
}

/// A call that was answered, as far as its record tells what routing asks about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PastCall {
    /// Its id; the draw among endpoints comes of it, the same each time.
    pub call_id: CallId,
    /// Who sent it.
    pub originating_member: MemberId,
    /// From which endpoint.
    pub originating_endpoint: EndpointId,
    /// The number that was called.
    pub called: E164,
    /// What was known of the number's portability.
    pub dip: Option<Dip>,
    /// The endpoint that answered.
    pub taken_by: Option<EndpointId>,
}

/// Calls of the past, as they would be routed by a table and by the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replay {
    /// How many there are.
    pub calls: u64,
    /// How many would be tried first at another endpoint than by the table as it is, or be refused or no longer be.
    pub moved: u64,
    /// Those by the member that gets them and the one that will; nobody where they are refused.
    pub moves: BTreeMap<(Option<MemberId>, Option<MemberId>), u64>,
    /// How many were answered by an endpoint that the table as it is has no candidate of any more.
    pub strayed: u64,
}

impl Replay {
    /// Routes a call by both tables, as at `now`.
    ///
    /// The site where it came in is that of its endpoint, where that has just one. Which endpoint of several a call
    /// gets is drawn anew, alike for both tables: so many move as will, and not just those.
    pub fn add(&mut self, before: &RouteTable, after: &RouteTable, call: &PastCall, now: DateTime<Utc>) {
        let was = call.route(before, now);
        let first = |route: &[(EndpointId, MemberId)]| route.first().copied();
        let (from, to) = (first(&was), first(&call.route(after, now)));
        self.calls += 1;
        self.strayed +=
            u64::from(call.taken_by.is_some_and(|taken_by| was.iter().all(|(id, _)| *id != taken_by)));
        if from != to {
            self.moved += 1;
            *self.moves.entry((from.map(|it| it.1), to.map(|it| it.1))).or_default() += 1;
        }
    }
}

impl PastCall {
    /// Where the call would go, in the order to try.
    fn route(&self, table: &RouteTable, now: DateTime<Utc>) -> Vec<(EndpointId, MemberId)> {
        let site = match table.endpoint(self.originating_endpoint).map(|endpoint| endpoint.sites.as_slice()) {
            Some([site]) => Some(site.as_str()),
            _ => None,
        };
        let call = CallRequest {
            originating_member: self.originating_member,
            called: self.called,
            dip: self.dip,
            site,
            draw: draw_of(self.call_id),
        };
        select(table, &call, now).candidates.iter().map(|it| (it.endpoint, it.member)).collect()
    }
}

#[cfg(test)]
mod tests {
    use tandem_model::AgreementState;

    use super::*;
    use crate::exchange::{Exchange, at, exchange, id, name, number};

    /// Lines such as `+4420 caller changed acme > globex`.
    fn lines(before: &Exchange, after: &Exchange) -> Vec<String> {
        let (table, next) = (before.table(), after.table());
        let comparison = Comparison::of(&table, &difference(before, after), 100, at(0));
        let names = |route: &Route| {
            let names: Vec<String> =
                route.takers.iter().map(|taker| name(&next_or(&table, &next, taker), taker.member)).collect();
            let refusal = route.refusal.map(|reason| reason.to_string());
            refusal.unwrap_or_else(|| names.join(","))
        };
        let line = |change: &RouteChange| {
            let caller = name(&next, change.originating_member);
            let RouteChange { prefix, kind, before, after, .. } = change;
            format!("{prefix} {caller} {kind:?} {} > {}", names(before), names(after))
        };
        let idle = comparison.idle_announcements.iter();
        let idle = idle.map(|it| format!("{} {} idle {}", it.prefix, name(&next, it.member), it.reason));
        comparison.changes.iter().map(line).chain(idle).collect()
    }

    fn next_or(table: &RouteTable, next: &RouteTable, taker: &Taker) -> RouteTable {
        if next.member(taker.member).is_some() { next.clone() } else { table.clone() }
    }

    /// What makes one exchange of another.
    fn difference(before: &Exchange, after: &Exchange) -> Facts {
        let mut changes = after.0.clone();
        let mut gone = Vec::new();
        let left = |id: ObjectId, is_there: bool| (!is_there).then_some(id);
        gone.extend(before.0.announcements.iter().filter_map(|it| {
            let is_there =
                changes.announcements.iter().any(|other| other.announcement_id == it.announcement_id);
            left(ObjectId::Announcement(it.announcement_id), is_there)
        }));
        gone.extend(before.0.ranges.iter().filter_map(|it| {
            let is_there = changes.ranges.iter().any(|other| other.range_id == it.range_id);
            left(ObjectId::Range(it.range_id), is_there)
        }));
        changes.gone = gone;
        changes
    }

    #[test]
    fn a_change_is_told_by_prefix_and_calling_member() {
        let before = exchange("+44 acme | +33 globex");
        assert_eq!(lines(&before, &exchange("+44 acme | +33 globex")), [""; 0]);
        assert_eq!(
            lines(&before, &exchange("+44 acme | +33 globex | +4420 globex | +49 acme")),
            ["+4420 caller Changed acme > globex", "+49 caller Added no_route > acme"]
        );
        assert_eq!(lines(&before, &exchange("+44 acme")), ["+33 caller Removed globex > no_route"]);
    }

    #[test]
    fn an_agreement_that_ends_makes_numbers_unreachable() {
        let before = exchange("+44 acme | +4420 globex");
        let after =
            exchange("+44 acme | +4420 globex").with(|x| x.agreement("globex").state = AgreementState::Ended);
        assert_eq!(lines(&before, &after), ["+4420 caller Removed globex > no_agreement"]);
    }

    #[test]
    fn an_announcement_that_does_not_count_is_named_with_its_reason() {
        let before = exchange("+44 acme");
        let after = exchange("+44 acme | +4420 globex").with(|x| {
            let id = x.range("+4420", "globex").range_id;
            x.0.ranges.retain(|range| range.range_id != id);
        });
        assert_eq!(lines(&before, &after), ["+4420 globex idle range_of_other"]);
        assert_eq!(
            lines(&after, &after),
            ["+4420 globex idle range_of_other"],
            "it is named where it is written"
        );
    }

    #[test]
    fn more_than_asked_for_is_counted_and_not_named() {
        let changes = exchange("+44 acme | +4420 globex | +33 globex | +49 acme").0;
        let comparison = Comparison::of(&RouteTable::empty(), &changes, 1, at(0));
        assert_eq!((comparison.added, comparison.prefixes, comparison.changes.len()), (4, 4, 1));
    }

    #[test]
    fn calls_of_the_past_move_where_the_table_changed_and_nowhere_else() {
        let (before, after) =
            (exchange("+44 acme | +33 globex").table(), exchange("+44 acme | +4420 globex").table());
        let call = |n: u128, called: &str, taken_by: &str| PastCall {
            call_id: CallId(uuid::Uuid::from_u128(n)),
            originating_member: id("caller"),
            originating_endpoint: id("caller"),
            called: number(called),
            dip: None,
            taken_by: Some(id(taken_by)),
        };
        let calls = [
            call(1, "+442079460000", "acme"),
            call(2, "+443012345678", "acme"),
            call(3, "+33123456789", "globex"),
            call(4, "+33123456780", "somebody"),
        ];
        let mut replay = Replay::default();
        calls.iter().for_each(|call| replay.add(&before, &after, call, at(0)));
        let moves = [((Some(id("acme")), Some(id("globex"))), 1), ((Some(id("globex")), None), 2)];
        assert_eq!(replay, Replay { calls: 4, moved: 3, moves: moves.into(), strayed: 1 });
        let mut same = Replay::default();
        calls.iter().for_each(|call| same.add(&before, &before, call, at(0)));
        assert_eq!(same, Replay { calls: 4, moved: 0, moves: BTreeMap::new(), strayed: 1 });
    }
}
