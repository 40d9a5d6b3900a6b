//! What holds for any facts and any sequence of changes: the table against lists that are searched from end to end.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tandem_model::{
    Agreement, AgreementState, AgreementTerms, Announcement, Authority, CallLimits, Club, DeckRate, E164,
    Endpoint, Facts, MemberId, MemberState, ObjectId, Prefix, Quality, Range, Rate, RateDeckId, Reason,
    TransitOffer,
};

use crate::arbitrary::{DEMANDS, ENDPOINTS, HOURS, MEMBERS, any_id, call, changes, on_fridays, validity};
use crate::exchange::{at, id, number};
use crate::{CallRequest, Candidate, Comparison, LeftOut, Reach, ReachDelta, RouteTable, Selection, select};

/// What a sequence of changes comes to, kept as plainly as can be.
fn end_state(sequence: &[Facts]) -> Facts {
    let mut members = BTreeMap::new();
    let mut endpoints = BTreeMap::new();
    let mut ranges = BTreeMap::new();
    let mut announcements = BTreeMap::new();
    let mut agreements = BTreeMap::new();
    let mut clubs = BTreeMap::new();
    let mut transit_offers = BTreeMap::new();
    let mut rate_decks = BTreeMap::new();
    let mut block_lists = BTreeMap::new();
    let mut position = 0;
    for facts in sequence.iter().cloned() {
        position = facts.position;
        members.extend(facts.members.into_iter().map(|each| (each.member_id, each)));
        endpoints.extend(facts.endpoints.into_iter().map(|each| (each.endpoint_id, each)));
        ranges.extend(facts.ranges.into_iter().map(|each| (each.range_id, each)));
        announcements.extend(facts.announcements.into_iter().map(|mut each| {
            each.endpoints.sort_unstable();
            each.endpoints.dedup();
            (each.announcement_id, each)
        }));
        clubs.extend(facts.clubs.into_iter().map(|mut each| {
            each.members.sort_unstable();
            each.members.dedup();
            (each.agreement_id, each)
        }));
        agreements.extend(facts.agreements.into_iter().map(|each| (each.agreement_id, each)));
        transit_offers.extend(facts.transit_offers.into_iter().map(|mut each| {
            each.endpoints.sort_unstable();
            each.endpoints.dedup();
            (each.announcement_id, each)
        }));
        rate_decks.extend(facts.rate_decks.into_iter().map(|mut each| {
            each.rates.sort_by_key(order_of_rates);
            each.rates.dedup();
            (each.rate_deck_id, each)
        }));
        block_lists.extend(facts.block_lists.into_iter().map(|mut each| {
            each.prefixes.sort_unstable();
            each.prefixes.dedup();
            (each.member_id, each)
        }));
        for id in facts.gone {
            match id {
                ObjectId::Member(id) => drop(members.remove(&id)),
                ObjectId::Endpoint(id) => drop(endpoints.remove(&id)),
                ObjectId::Range(id) => drop(ranges.remove(&id)),
                ObjectId::Announcement(id) => drop(announcements.remove(&id)),
                ObjectId::Agreement(id) => drop(agreements.remove(&id)),
                ObjectId::Club(id) => drop(clubs.remove(&id)),
                ObjectId::TransitOffer(id) => drop(transit_offers.remove(&id)),
                ObjectId::RateDeck(id) => drop(rate_decks.remove(&id)),
                ObjectId::BlockList(list) => drop(block_lists.remove(&list)),
            }
        }
    }
    Facts {
        position,
        members: members.into_values().collect(),
        endpoints: endpoints.into_values().collect(),
        ranges: ranges.into_values().collect(),
        announcements: announcements.into_values().collect(),
        agreements: agreements.into_values().collect(),
        clubs: clubs.into_values().collect(),
        transit_offers: transit_offers.into_values().collect(),
        rate_decks: rate_decks.into_values().collect(),
        block_lists: block_lists.into_values().filter(|list| !list.prefixes.is_empty()).collect(),
        gone: Vec::new(),
    }
}

/// By prefix, then by time: the last one in force counts.
fn order_of_rates(
    rate: &DeckRate,
) -> (Prefix, chrono::DateTime<chrono::Utc>, chrono::DateTime<chrono::Utc>, Rate) {
    let until = rate.validity.until.unwrap_or(chrono::DateTime::<chrono::Utc>::MAX_UTC);
    (rate.prefix, rate.validity.from, until, rate.per_minute)
}

/// The rate of a deck for a number, and its prefix; no rate where only rates out of force have it.
fn rate_of(facts: &Facts, deck: RateDeckId, called: E164) -> Option<(Prefix, Option<Rate>)> {
    let deck = facts.rate_decks.iter().find(|each| each.rate_deck_id == deck)?;
    let of_number = deck.rates.iter().filter(|rate| rate.prefix.matches(called));
    let longest = of_number.clone().map(|rate| rate.prefix).max_by_key(|prefix| prefix.len())?;
    let in_force = of_number.filter(|rate| rate.validity.contains(at(0)));
    let best = in_force.max_by_key(|rate| (rate.prefix.len(), order_of_rates(rate)));
    Some(best.map_or((longest, None), |rate| (rate.prefix, Some(rate.per_minute))))
}

/// Why a member's calls to a number are blocked.
fn blocked(facts: &Facts, call: &CallRequest) -> Option<Reason> {
    let on_list = |member| {
        let mut lists = facts.block_lists.iter().filter(|list| list.member_id == member);
        lists.any(|list| list.prefixes.iter().any(|prefix| prefix.matches(call.called)))
    };
    let by_member = on_list(Some(call.originating_member)).then_some(Reason::BlockedByMember);
    by_member.or(on_list(None).then_some(Reason::BlockedByOperator))
}

/// What is known of an offer of transit that terms may object to.
type OfTransit = Option<(Rate, Option<Quality>)>;

fn is_approved(facts: &Facts, id: MemberId) -> bool {
    facts.members.iter().any(|member| member.member_id == id && member.state == MemberState::Approved)
}

/// The reason why an announcement is not routable in itself for a number, by the letter of the rules.
fn fault(facts: &Facts, announcement: &Announcement, called: E164) -> Option<Reason> {
    let is_own = |range: &&&Range| range.member_id == announcement.member_id;
    let holds = |range: &&Range| range.authority == Authority::Valid && range.validity.contains(at(0));
    let of_number: Vec<&Range> = facts.ranges.iter().filter(|range| range.prefix.matches(called)).collect();
    let own: Vec<&Range> = of_number.iter().filter(is_own).copied().collect();
    let covering: Vec<&Range> =
        own.iter().filter(|range| range.prefix.covers(announcement.prefix)).copied().collect();
    let is_over = |range: &&Range| {
        range.authority == Authority::Valid && range.validity.until.is_some_and(|until| until <= at(0))
    };
    if !announcement.validity.contains(at(0)) {
        Some(Reason::NotYetInForce)
    } else if !is_approved(facts, announcement.member_id) {
        Some(Reason::MemberNotApproved)
    } else if covering.iter().any(holds) {
        None
    } else if of_number.iter().any(|range| holds(range) && !own.contains(range)) {
        Some(Reason::RangeOfOther)
    } else if covering.iter().any(|range| !is_over(range)) {
        Some(Reason::RangeUnverified)
    } else if !covering.is_empty() {
        Some(Reason::RangeExpired)
    } else if own.iter().any(holds) {
        Some(Reason::AnnouncementTooBroad)
    } else {
        Some(Reason::RangeMissing)
    }
}

/// Why no agreement lets a call cross to who announces, by the letter of each.
fn uncrossed(
    facts: &Facts,
    call: &CallRequest,
    announcement: &Announcement,
    transit: OfTransit,
) -> Option<Reason> {
    let terminating = announcement.member_id;
    let between = facts.agreements.iter().filter(|agreement| {
        agreement.validity.is_some_and(|validity| validity.contains(at(0)))
            && agreement.permits(call.originating_member, terminating)
    });
    let mut between: Vec<&Agreement> = between.collect();
    between.sort_by_key(|agreement| agreement.agreement_id);
    let crossing = |it: &&&Agreement| matches!(it.state, AgreementState::Accepted | AgreementState::Ending);
    let mut objections: Vec<Option<Reason>> =
        between.iter().filter(crossing).map(|it| objection(facts, it, call, announcement, transit)).collect();
    let mut clubs: Vec<&Club> = facts.clubs.iter().collect();
    clubs.sort_by_key(|club| club.agreement_id);
    let both = [call.originating_member, terminating];
    let is_suspended = between.iter().any(|agreement| agreement.state == AgreementState::Suspended);
    let is_shared = |club: &&Club| both.iter().all(|member| club.members.contains(member));
    let shared = clubs.into_iter().filter(|club| !is_suspended && is_shared(club));
    objections
        .extend(shared.map(|club| by_terms(facts, club.terms.as_deref(), &[], call, announcement, transit)));
    if objections.contains(&None) {
        return None;
    }
    let otherwise = if is_suspended { Reason::AgreementSuspended } else { Reason::NoAgreement };
    Some(objections.into_iter().flatten().next().unwrap_or(otherwise))
}

/// What the terms of an agreement have against a call.
fn objection(
    facts: &Facts,
    agreement: &Agreement,
    call: &CallRequest,
    announcement: &Announcement,
    transit: OfTransit,
) -> Option<Reason> {
    let terms = agreement.terms.as_deref();
    let prefixes = terms.map_or(&[][..], |terms| {
        if announcement.member_id == agreement.proposing_member {
            &terms.prefixes_of_proposing
        } else {
            &terms.prefixes_of_accepting
        }
    });
    by_terms(facts, terms, prefixes, call, announcement, transit)
}

fn by_terms(
    facts: &Facts,
    terms: Option<&AgreementTerms>,
    prefixes: &[Prefix],
    call: &CallRequest,
    announcement: &Announcement,
    transit: OfTransit,
) -> Option<Reason> {
    let terms = terms?;
    if !prefixes.is_empty() && !prefixes.iter().any(|prefix| prefix.matches(call.called)) {
        return Some(Reason::AgreementPrefix);
    }
    if let Some(demand) = &terms.demand {
        let bears = |wanted: &str| announcement.tags.iter().any(|tag| tag.as_str() == wanted);
        let (_, is_met) = DEMANDS.iter().find(|(text, _)| *text == demand.to_string()).unwrap();
        if !is_met(bears("a"), bears("b")) {
            return Some(Reason::AgreementTags);
        }
    }
    let hours = HOURS.into_iter().find(|it| Some(on_fridays(*it)) == terms.hours);
    if hours.is_some_and(|(.., is_open)| !is_open) {
        return Some(Reason::AgreementHours);
    }
    let (cost, quality) = transit?;
    let asked = &terms.transit;
    if asked.max_rate.is_some_and(|most| most < cost) {
        return Some(Reason::RateTooHigh);
    }
    if let Some(quality) = quality
        && (asked.min_asr_percent > Some(quality.asr_percent)
            || asked.min_ner_percent > Some(quality.ner_percent)
            || asked.max_pdd_ms.unwrap_or(u32::MAX) < quality.pdd_ms)
    {
        return Some(Reason::QualityTooLow);
    }
    let floor = asked.margin_floor?;
    let price = asked.rate_deck.and_then(|deck| rate_of(facts, deck, call.called)?.1);
    let left = price.map(|price| price.millionths() as i64 - cost.millionths() as i64);
    (left.is_none_or(|left| left < floor.millionths() as i64)).then_some(Reason::AtALoss)
}

/// An offer as far as agreements ask about it.
fn as_announcement(offer: &TransitOffer, prefix: Prefix) -> Announcement {
    Announcement {
        announcement_id: offer.announcement_id,
        member_id: offer.member_id,
        prefix,
        endpoints: offer.endpoints.clone(),
        validity: offer.validity,
        limits: offer.limits,
        tags: offer.tags.clone(),
    }
}

/// Why an offer gets no call at its rate; its endpoints aside.
fn transit_fault(
    facts: &Facts,
    call: &CallRequest,
    offer: &TransitOffer,
    rate: Option<Rate>,
    is_own: bool,
) -> Option<Reason> {
    let Some(rate) = rate.filter(|_| offer.is_permitted) else {
        return Some(if !offer.validity.contains(at(0)) {
            Reason::NotYetInForce
        } else if !is_approved(facts, offer.member_id) {
            Reason::MemberNotApproved
        } else if !offer.is_permitted {
            Reason::TransitNotPermitted
        } else {
            Reason::RateMissing
        });
    };
    if !offer.validity.contains(at(0)) {
        Some(Reason::NotYetInForce)
    } else if !is_approved(facts, offer.member_id) {
        Some(Reason::MemberNotApproved)
    } else if is_own {
        Some(Reason::WouldReturn)
    } else if !is_approved(facts, call.originating_member) {
        Some(Reason::MemberNotApproved)
    } else if offer.member_id == call.originating_member {
        Some(Reason::WouldReturn)
    } else if let Some(reason) = blocked(facts, call) {
        Some(reason)
    } else {
        uncrossed(
            facts,
            call,
            &as_announcement(offer, offer_prefix(facts, offer, call)),
            Some((rate, offer.quality)),
        )
    }
}

fn offer_prefix(facts: &Facts, offer: &TransitOffer, call: &CallRequest) -> Prefix {
    rate_of(facts, offer.rate_deck, call.called).expect("it has a rate for the number").0
}

/// Members with endpoints that may take a call, and everything left out, both sorted.
type Outcome = (Option<Prefix>, Vec<String>, Vec<String>);

fn reference(facts: &Facts, call: &CallRequest) -> Outcome {
    let matching: Vec<_> =
        facts.announcements.iter().filter(|each| each.prefix.matches(call.called)).collect();
    let routable = matching.iter().filter(|each| fault(facts, each, call.called).is_none());
    let matched = routable.map(|each| each.prefix).max_by_key(|prefix| prefix.len());
    let (mut candidates, mut left_out) = (Vec::new(), Vec::new());
    for announcement in matching {
        let terminating = announcement.member_id;
        let mut leave_out = |endpoint, reason| {
            left_out.push(format!(
                "{:?}",
                LeftOut {
                    member: terminating,
                    endpoint,
                    announcement: announcement.announcement_id,
                    prefix: announcement.prefix,
                    reason,
                }
            ));
        };
        if let Some(reason) = fault(facts, announcement, call.called) {
            leave_out(None, reason);
        } else if Some(announcement.prefix) != matched {
            leave_out(None, Reason::LongerPrefix);
        } else if !is_approved(facts, call.originating_member) {
            leave_out(None, Reason::MemberNotApproved);
        } else if call.originating_member == terminating {
            leave_out(None, Reason::OwnNumber);
        } else if let Some(reason) =
            blocked(facts, call).or_else(|| uncrossed(facts, call, announcement, None))
        {
            leave_out(None, reason);
        } else if announcement.endpoints.is_empty() {
            leave_out(None, Reason::EndpointDisabled);
        } else {
            for id in &announcement.endpoints {
                let usable = |endpoint: &&Endpoint| {
                    endpoint.endpoint_id == *id && endpoint.member_id == terminating && endpoint.enabled
                };
                match facts.endpoints.iter().find(usable) {
                    Some(_) => candidates.push(format!("{terminating} {id}")),
                    None => leave_out(Some(*id), Reason::EndpointDisabled),
                }
            }
        }
    }
    let is_own = left_out.iter().any(|it: &String| it.contains("OwnNumber"));
    for offer in &facts.transit_offers {
        let Some((prefix, rate)) = rate_of(facts, offer.rate_deck, call.called) else { continue };
        let mut leave_out = |endpoint, reason| {
            let (member, announcement) = (offer.member_id, offer.announcement_id);
            left_out.push(format!("{:?}", LeftOut { member, endpoint, announcement, prefix, reason }));
        };
        if let Some(reason) = transit_fault(facts, call, offer, rate, is_own) {
            leave_out(None, reason);
        } else if offer.endpoints.is_empty() {
            leave_out(None, Reason::EndpointDisabled);
        } else {
            for id in &offer.endpoints {
                let usable =
                    |it: &&Endpoint| it.endpoint_id == *id && it.member_id == offer.member_id && it.enabled;
                match facts.endpoints.iter().find(usable) {
                    Some(_) => candidates.push(format!("{} {id}", offer.member_id)),
                    None => leave_out(Some(*id), Reason::EndpointDisabled),
                }
            }
        }
    }
    candidates.sort();
    candidates.dedup();
    left_out.sort();
    (matched, candidates, left_out)
}

fn outcome(selection: &Selection) -> Outcome {
    let mut candidates: Vec<_> =
        selection.candidates.iter().map(|each| format!("{} {}", each.member, each.endpoint)).collect();
    let mut left_out: Vec<_> = selection.left_out.iter().map(|each| format!("{each:?}")).collect();
    candidates.sort();
    left_out.sort();
    (selection.matched, candidates, left_out)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn select_agrees_with_a_search_through_all_facts(
        facts in changes(60), calls in prop::collection::vec(call(), 1..12),
    ) {
        let table = RouteTable::from_facts(facts.clone());
        let facts = end_state(&[facts]);
        for call in &calls {
            let selection = select(&table, call, at(0));
            prop_assert_eq!(outcome(&selection), reference(&facts, call));
            let rank = |it: &Candidate| {
                let preference = facts.transit_offers.iter().find(|offer| offer.announcement_id == it.announcement);
                (it.rate, preference.map(|it| it.preference), table.endpoint(it.endpoint).unwrap().priority)
            };
            let ranks: Vec<_> = selection.candidates.iter().map(rank).collect();
            prop_assert!(ranks.is_sorted(), "{:?}", ranks);
            // Of each endpoint the cheapest way to it is taken.
            for candidate in &selection.candidates {
                let offers = facts.transit_offers.iter().filter(|it| it.endpoints.contains(&candidate.endpoint));
                let offers = offers.filter(|it| it.member_id == candidate.member);
                let rates = offers.filter_map(|it| {
                    let (_, rate) = rate_of(&facts, it.rate_deck, call.called)?;
                    let is_own = selection.left_out.iter().any(|it| it.reason == Reason::OwnNumber);
                    rate.filter(|_| transit_fault(&facts, call, it, rate, is_own).is_none())
                });
                prop_assert!(candidate.rate.is_none_or(|rate| rates.min() == Some(rate)));
            }
            prop_assert_eq!(selection.refusal().is_none(), !selection.candidates.is_empty());
        }
    }

    #[test]
    fn what_follows_from_the_changes_of_reach_says_of_every_number_what_select_says(
        sequence in prop::collection::vec(changes(20), 1..6), calls in prop::collection::vec(call(), 1..12),
    ) {
        let mut table = RouteTable::empty();
        let mut followers: BTreeMap<MemberId, (Reach, BTreeMap<Prefix, bool>)> = BTreeMap::new();
        for facts in sequence {
            table = table.apply(facts);
            for member in MEMBERS.map(id) {
                let (last, held) = followers.entry(member).or_default();
                let next = Reach::of(&table, member, at(0));
                let ReachDelta { reached, excepted, gone } = last.delta(&next);
                for prefix in gone {
                    prop_assert!(held.remove(&prefix).is_some());
                }
                held.extend(reached.into_iter().map(|prefix| (prefix, true)));
                held.extend(excepted.into_iter().map(|prefix| (prefix, false)));
                let mut full = BTreeMap::new();
                for part in next.parts(3) {
                    full.extend(part.reached.into_iter().map(|prefix| (prefix, true)));
                    full.extend(part.excepted.into_iter().map(|prefix| (prefix, false)));
                }
                prop_assert_eq!(&*held, &full);
                *last = next;
            }
            for call in &calls {
                let held = &followers[&call.originating_member].1;
                let longest = (1..=call.called.len()).rev().find_map(|len| held.get(&call.called.leading(len)));
                let is_routed = select(&table, call, at(0)).refusal().is_none();
                prop_assert_eq!(longest.copied().unwrap_or(false), is_routed, "{:?}", call);
            }
        }
    }

    #[test]
    fn a_comparison_names_what_a_search_through_all_prefixes_and_members_finds(
        whole in changes(40), change in changes(12), calls in prop::collection::vec(call(), 1..12),
    ) {
        let (before, after) = (RouteTable::from_facts(whole.clone()), RouteTable::from_facts(whole).apply(change.clone()));
        let comparison = Comparison::of(&before, &change, usize::MAX, at(0));
        let named: Vec<(Prefix, MemberId)> =
            comparison.changes.iter().map(|it| (it.prefix, it.originating_member)).collect();
        // Takers with what decides among them, and the prefix that decided.
        let ask = |table: &RouteTable, originating_member, called| {
            let call = CallRequest { originating_member, called, dip: None, site: None, draw: 0 };
            let selection = select(table, &call, at(0));
            let mut takers: Vec<_> = selection
                .candidates
                .iter()
                .map(|it| {
                    let place = table.endpoint(it.endpoint).map(|it| (it.priority, it.weight));
                    (it.endpoint, place, it.rate, table.transit_offer(it.announcement).map(|it| it.preference))
                })
                .collect();
            takers.sort_unstable();
            (takers, selection.matched)
        };
        let announced = [&before, &after].map(|table| table.facts().announcements);
        let is_approved = |member| [&before, &after].iter().any(|table| table.is_approved(member));
        // What the terms of a member's agreements name cuts its calls to a prefix into parts.
        let named_by_terms = |member| -> std::collections::BTreeSet<String> {
            let terms = [&before, &after].into_iter().filter(|_| is_approved(member));
            let by_terms = terms.flat_map(|table| table.term_prefixes(member, at(0))).map(Prefix::digits);
            let common = [&before, &after].into_iter().flat_map(|table| table.common_prefixes());
            by_terms.chain(common.map(|prefix| prefix.to_string())).collect()
        };
        let mut prefixes: std::collections::BTreeSet<String> =
            announced.iter().flatten().map(|it| it.prefix.digits()).collect();
        MEMBERS.map(id).into_iter().for_each(|member| prefixes.extend(named_by_terms(member)));
        let mut expected = Vec::new();
        for prefix in prefixes {
            let prefix: Prefix = prefix.parse().unwrap();
            let mut members = MEMBERS.map(id);
            members.sort_unstable();
            for member in members {
                let ((was, at_before), (is, at_after)) =
                    (ask(&before, member, prefix.into()), ask(&after, member, prefix.into()));
                let is_own = [at_before, at_after].contains(&Some(prefix))
                    || named_by_terms(member).contains(&prefix.digits());
                if was != is && is_own {
                    expected.push((prefix, member));
                }
            }
        }
        prop_assert_eq!(&named, &expected);
        prop_assert_eq!(comparison.added + comparison.changed + comparison.removed, named.len() as u64);
        // And of every number it says what becomes of it: the longest prefix at which anything counts does.
        for call in &calls {
            let ((was, at_before), (is, at_after)) =
                (ask(&before, call.originating_member, call.called), ask(&after, call.originating_member, call.called));
            let of_terms = named_by_terms(call.originating_member);
            let of_terms = of_terms.iter().map(|text| text.parse::<Prefix>().unwrap());
            let of_terms = of_terms.filter(|prefix| prefix.matches(call.called));
            let decisive = at_before.into_iter().chain(at_after).chain(of_terms).max_by_key(|prefix| prefix.len());
            let is_named = decisive.is_some_and(|prefix| named.contains(&(prefix, call.originating_member)));
            prop_assert_eq!(was != is, is_named, "{:?}", call);
        }
    }

    #[test]
    fn no_call_crosses_without_an_agreement_and_a_range_in_force(facts in changes(60), call in call()) {
        let selection = select(&RouteTable::from_facts(facts.clone()), &call, at(0));
        let facts = end_state(&[facts]);
        for candidate in &selection.candidates {
            prop_assert_eq!(blocked(&facts, &call), None);
            match facts.agreements.iter().find(|each| each.agreement_id == candidate.agreement) {
                Some(agreement) => {
                    prop_assert!(agreement.permits(call.originating_member, candidate.member));
                    prop_assert!(agreement.state.lets_calls_cross());
                    prop_assert!(agreement.validity.unwrap().contains(at(0)));
                }
                None => {
                    let club =
                        facts.clubs.iter().find(|each| each.agreement_id == candidate.agreement).expect("it is a fact");
                    prop_assert!([call.originating_member, candidate.member].iter().all(|it| club.members.contains(it)));
                }
            }
            let Some(id) = candidate.range else {
                let cost = candidate.rate.expect("transit costs something");
                let offers = &facts.transit_offers;
                let offer = offers.iter().find(|each| each.announcement_id == candidate.announcement).expect("it is a fact");
                prop_assert!(offer.is_permitted && offer.member_id != call.originating_member);
                let rate = rate_of(&facts, offer.rate_deck, call.called);
                prop_assert_eq!(rate, Some((candidate.prefix, Some(cost))));
                let terms = facts.agreements.iter().find(|it| it.agreement_id == candidate.agreement);
                let terms = terms.map(|it| &it.terms);
                let club = || facts.clubs.iter().find(|it| it.agreement_id == candidate.agreement).map(|it| &it.terms);
                if let Some(terms) = terms.or_else(club).expect("it is a fact") {
                    let asked = &terms.transit;
                    prop_assert!(asked.max_rate.is_none_or(|most| cost <= most), "dearer than the ceiling");
                    if let Some(floor) = asked.margin_floor {
                        let price = asked.rate_deck.and_then(|deck| rate_of(&facts, deck, call.called)?.1);
                        let price = price.expect("at a loss: nothing is paid").millionths();
                        prop_assert!(price >= cost.millionths() + floor.millionths(), "at a loss");
                    }
                }
                continue;
            };
            let announcement =
                facts.announcements.iter().find(|each| each.announcement_id == candidate.announcement).expect("it is a fact");
            prop_assert_eq!(uncrossed(&facts, &call, announcement, None), None);
            let range = facts.ranges.iter().find(|each| each.range_id == id).expect("it is a fact");
            prop_assert!(range.prefix.covers(candidate.prefix) && range.member_id == candidate.member);
            prop_assert!(range.authority == Authority::Valid && range.validity.contains(at(0)));
        }
        // Without any valid range and any offer there is no route, whatever else is there.
        let mut without = facts;
        without.transit_offers.clear();
        without.ranges.retain(|range| range.authority != Authority::Valid || !range.validity.contains(at(0)));
        prop_assert_eq!(select(&RouteTable::from_facts(without), &call, at(0)).candidates, []);
    }

    #[test]
    fn any_sequence_of_changes_ends_in_the_table_of_the_whole_load(
        sequence in prop::collection::vec(changes(20), 1..10), calls in prop::collection::vec(call(), 1..6),
    ) {
        let mut table = RouteTable::empty();
        for changes in &sequence {
            let (before, state) = (table.clone(), table.facts());
            table = table.apply(changes.clone());
            prop_assert_eq!(table.version(), changes.position);
            prop_assert_eq!(before.facts(), state, "a change reached an earlier table");
        }
        let facts = end_state(&sequence);
        let whole = RouteTable::from_facts(facts.clone());
        prop_assert_eq!(table.hash(), whole.hash());
        let (announcements, offers) = (facts.announcements.clone(), facts.transit_offers.clone());
        prop_assert_eq!(table.facts(), facts);
        let counts = |table: &RouteTable| crate::Counts { bytes: 0, ..table.counts() };
        prop_assert_eq!(counts(&table), counts(&whole));
        for call in &calls {
            prop_assert_eq!(select(&table, call, at(0)), select(&whole, call, at(0)));
        }
        for address in ["192.0.2.1:5060", "192.0.2.1:5061", "192.0.2.9:5060", "[2001:db8::7]:5060"] {
            let address = address.parse().unwrap();
            prop_assert_eq!(table.endpoint_from(address), whole.endpoint_from(address));
            let any = whole
                .endpoints()
                .any(|endpoint| endpoint.enabled && endpoint.sources.iter().any(|source| source.contains(address)));
            prop_assert_eq!(table.endpoint_from(address).is_some(), any);
        }
        for endpoint in ENDPOINTS.map(id) {
            let names = |it: &Announcement| it.endpoints.contains(&endpoint);
            let is_offered = offers.iter().any(|it| it.endpoints.contains(&endpoint));
            prop_assert_eq!(table.is_called(endpoint), is_offered || announcements.iter().any(names));
        }
    }

    #[test]
    fn the_longest_announced_prefix_is_found_among_prefixes_of_any_length_and_ids_of_any_kind(
        announced in prop::collection::btree_map(any_id(), ("[1-9][059]{0,14}", validity()), 1..80),
        withdrawn in prop::collection::vec(any::<bool>(), 80),
        numbers in prop::collection::vec("[1-9][059]{4,14}", 1..40),
    ) {
        let announcements: Vec<_> = announced
            .into_iter()
            .map(|(id, (prefix, validity))| Announcement {
                announcement_id: id.into(),
                // Neighbours have an owner in common or not.
                member_id: MemberId(uuid::Uuid::from_u128(id.as_u128() % 3)),
                prefix: prefix.parse().unwrap(),
                endpoints: Vec::new(),
                validity,
                limits: CallLimits::NONE,
                tags: Vec::new(),
            })
            .collect();
        let table = RouteTable::from_facts(Facts { announcements: announcements.clone(), ..Facts::default() });
        prop_assert_eq!(&table.facts().announcements, &announcements);
        let (gone, left): (Vec<_>, Vec<_>) =
            announcements.into_iter().zip(withdrawn).partition(|(_, is_withdrawn)| *is_withdrawn);
        let gone = gone.into_iter().map(|(each, _)| ObjectId::Announcement(each.announcement_id)).collect();
        let left: Vec<_> = left.into_iter().map(|(each, _)| each).collect();
        let table = table.apply(Facts { gone, ..Facts::default() });
        prop_assert_eq!(&table.facts().announcements, &left);
        for text in &numbers {
            let covering = left.iter().filter(|each| each.prefix.matches(number(text)));
            let longest = covering.min_by_key(|each| (std::cmp::Reverse(each.prefix.len()), each.announcement_id));
            let expected = longest.map(|each| (each.prefix, each.member_id));
            prop_assert_eq!(table.announced_prefix(number(text)), expected);
        }
    }

    #[test]
    fn a_table_without_anything_left_is_empty_and_has_the_empty_hash(facts in changes(60)) {
        let table = RouteTable::from_facts(facts);
        let all = table.facts();
        let gone = (all.members.iter().map(|each| ObjectId::Member(each.member_id)))
            .chain(all.endpoints.iter().map(|each| ObjectId::Endpoint(each.endpoint_id)))
            .chain(all.ranges.iter().map(|each| ObjectId::Range(each.range_id)))
            .chain(all.announcements.iter().map(|each| ObjectId::Announcement(each.announcement_id)))
            .chain(all.agreements.iter().map(|each| ObjectId::Agreement(each.agreement_id)))
            .chain(all.clubs.iter().map(|each| ObjectId::Club(each.agreement_id)))
            .chain(all.transit_offers.iter().map(|each| ObjectId::TransitOffer(each.announcement_id)))
            .chain(all.rate_decks.iter().map(|each| ObjectId::RateDeck(each.rate_deck_id)))
            .chain(all.block_lists.iter().map(|each| ObjectId::BlockList(each.member_id)))
            .collect();
        let table = table.apply(Facts { gone, ..Facts::default() });
        prop_assert!(table.is_empty());
        prop_assert_eq!(table.hash(), RouteTable::empty().hash());
    }
}
