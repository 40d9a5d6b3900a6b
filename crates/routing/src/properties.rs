//! What holds for any facts and any sequence of changes: the table against lists that are searched from end to end.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::select as one_of;
use tandem_model::{
    AdvanceOn, Agreement, AgreementDirection, AgreementState, AgreementTerms, Announcement, Authority,
    CallLimits, Club, E164, Endpoint, Facts, Hours, HoursText, Member, MemberId, MemberState, ObjectId,
    Policy, Prefix, Range, Reason, Validity, WindowText,
};

use crate::exchange::{at, id, number};
use crate::{CallRequest, Comparison, LeftOut, Reach, ReachDelta, RouteTable, Selection, select};

/// Names are few, so that objects meet each other; the last of each is never declared by a fact.
const MEMBERS: [&str; 4] = ["acme", "globex", "initech", "nobody"];
const ENDPOINTS: [&str; 5] = ["one", "two", "three", "four", "none"];

fn member_id() -> impl Strategy<Value = MemberId> {
    one_of(&MEMBERS[..]).prop_map(id)
}

fn validity() -> impl Strategy<Value = Validity> {
    let until = prop_oneof![4 => Just(None), 1 => one_of(vec![-10, 0, 10]).prop_map(|s| Some(at(s)))];
    (prop_oneof![4 => Just(-20), 1 => Just(0), 1 => Just(5)], until)
        .prop_map(|(from, until)| Validity { from: at(from), until })
}

fn prefix() -> impl Strategy<Value = Prefix> {
    "[12][12]{0,6}".prop_map(|text| text.parse().unwrap())
}

/// Of version 7 and made within a second, or any other.
fn any_id() -> impl Strategy<Value = uuid::Uuid> {
    let made = (0..1000_u64, any::<[u8; 10]>()).prop_map(|(ms, random)| {
        uuid::Builder::from_unix_timestamp_millis(1_800_000_000_000 + ms, &random).into_uuid()
    });
    prop_oneof![made, any::<u128>().prop_map(uuid::Uuid::from_u128)]
}

fn limits() -> impl Strategy<Value = CallLimits> {
    let limit = || prop::option::weighted(0.2, 1..3_u32);
    (limit(), limit())
        .prop_map(|(max_calls, max_calls_per_second)| CallLimits { max_calls, max_calls_per_second })
}

fn member() -> impl Strategy<Value = Member> {
    let state = prop_oneof![5 => Just(MemberState::Approved), 1 => Just(MemberState::Suspended)];
    (0..3_usize, state, limits()).prop_map(|(n, state, limits)| Member {
        member_id: id(MEMBERS[n]),
        name: MEMBERS[n].into(),
        state,
        limits,
    })
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    let source = (one_of(vec!["192.0.2.1/32", "192.0.2.0/24", "2001:db8::/32"]), any::<bool>())
        .prop_map(|(net, any)| tandem_model::Source { net: net.parse().unwrap(), port: any.then_some(5060) });
    (
        0..4_usize,
        member_id(),
        0..3_u16,
        0..3_u16,
        prop::bool::weighted(0.8),
        prop::collection::vec(source, 0..3),
    )
        .prop_map(|(n, member_id, priority, weight, enabled, sources)| Endpoint {
            endpoint_id: id(ENDPOINTS[n]),
            member_id,
            name: ENDPOINTS[n].into(),
            sources,
            call_mark: None,
            certificate_names: Vec::new(),
            target: "sip:192.0.2.21".parse().unwrap(),
            access: tandem_model::Access::default(),
            priority,
            weight,
            max_calls: None,
            max_calls_per_second: None,
            enabled,
            policy: Policy::default(),
            sites: Vec::new(),
        })
}

fn range() -> impl Strategy<Value = Range> {
    let authority = prop_oneof![4 => Just(Authority::Valid), 1 => Just(Authority::Pending), 1 => Just(Authority::Refused)];
    (0..20, member_id(), prefix(), authority, validity()).prop_map(
        |(n, member_id, prefix, authority, validity)| Range {
            range_id: id(&format!("range {n}")),
            member_id,
            prefix,
            authority,
            validity,
        },
    )
}

fn announcement() -> impl Strategy<Value = Announcement> {
    let endpoints = prop::collection::vec(one_of(&ENDPOINTS[..]).prop_map(id), 0..4);
    let tags = prop_oneof![2 => Just(""), 1 => one_of(vec!["a", "b", "a b"])];
    (0..60, member_id(), prefix(), endpoints, validity(), limits(), tags).prop_map(
        |(n, member_id, prefix, endpoints, validity, limits, tags)| Announcement {
            announcement_id: id(&format!("announcement {n}")),
            member_id,
            prefix,
            endpoints,
            validity,
            limits,
            tags: tags.split_whitespace().map(|tag| tag.parse().unwrap()).collect(),
        },
    )
}

/// Whether a demand is met where the tags `a` and `b` are borne, or not.
type Judge = fn(bool, bool) -> bool;

/// Demands, and how the reference judges them.
const DEMANDS: [(&str, Judge); 4] =
    [("a", |a, _| a), ("a and b", |a, b| a && b), ("a or b", |a, b| a || b), ("b and (a or b)", |_, b| b)];

/// Hours, and whether calls at `at(0)`, a Friday at 08:00 UTC, lie in them.
const HOURS: [(&str, &str, &str, bool); 4] = [
    ("UTC", "08:00", "09:00", true),
    ("UTC", "07:00", "08:00", false),
    ("Europe/Berlin", "09:00", "09:01", true),
    ("Europe/Berlin", "08:00", "09:00", false),
];

fn on_fridays((zone, from, until, _): (&str, &str, &str, bool)) -> Hours {
    let window = WindowText { days: vec!["fri".into()], from: from.into(), until: until.into() };
    HoursText { zone: zone.into(), windows: vec![window] }.try_into().unwrap()
}

fn terms() -> impl Strategy<Value = AgreementTerms> {
    let prefixes = || prop_oneof![2 => Just(Vec::new()), 1 => prop::collection::vec(prefix(), 1..3)];
    let hours = prop::option::weighted(0.3, one_of(&HOURS[..]).prop_map(on_fridays));
    let demand =
        prop::option::weighted(0.3, one_of(&DEMANDS[..]).prop_map(|(text, _)| text.parse().unwrap()));
    (prefixes(), prefixes(), hours, demand).prop_map(
        |(prefixes_of_proposing, prefixes_of_accepting, hours, demand)| AgreementTerms {
            prefixes_of_proposing,
            prefixes_of_accepting,
            hours,
            sites: Vec::new(),
            demand,
        },
    )
}

fn agreement() -> impl Strategy<Value = Agreement> {
    let direction = one_of(vec![
        AgreementDirection::Both,
        AgreementDirection::ToAccepting,
        AgreementDirection::ToProposing,
    ]);
    let state = prop_oneof![4 => Just(AgreementState::Accepted), 2 => one_of(&AgreementState::ALL[..])];
    let validity = prop::option::weighted(0.9, validity());
    let advance_on = prop::option::weighted(0.2, prop::collection::btree_set(300..400u16, 0..3))
        .prop_map(|list| list.map(|statuses| AdvanceOn { statuses, causes: [34].into() }));
    let terms = prop::option::weighted(0.5, terms().prop_map(Box::new));
    (0..8, member_id(), member_id(), direction, state, validity, limits(), advance_on, terms).prop_map(
        |(n, proposing_member, accepting_member, direction, state, validity, limits, advance_on, terms)| {
            Agreement {
                agreement_id: id(&format!("agreement {n}")),
                proposing_member,
                accepting_member,
                direction,
                state,
                validity,
                limits,
                advance_on,
                terms,
            }
        },
    )
}

fn club() -> impl Strategy<Value = Club> {
    let terms = prop::option::weighted(0.5, terms()).prop_map(|terms| {
        terms.map(|terms| {
            Box::new(AgreementTerms {
                prefixes_of_proposing: Vec::new(),
                prefixes_of_accepting: Vec::new(),
                ..terms
            })
        })
    });
    (0..3, prop::collection::vec(member_id(), 0..4), limits(), terms).prop_map(
        |(n, members, limits, terms)| Club {
            agreement_id: id(&format!("club {n}")),
            members,
            limits,
            advance_on: None,
            terms,
        },
    )
}

fn gone() -> impl Strategy<Value = ObjectId> {
    prop_oneof![
        1 => one_of(&MEMBERS[..]).prop_map(|name| ObjectId::Member(id(name))),
        1 => one_of(&ENDPOINTS[..]).prop_map(|name| ObjectId::Endpoint(id(name))),
        3 => (0..20).prop_map(|n| ObjectId::Range(id(&format!("range {n}")))),
        6 => (0..60).prop_map(|n| ObjectId::Announcement(id(&format!("announcement {n}")))),
        1 => (0..8).prop_map(|n| ObjectId::Agreement(id(&format!("agreement {n}")))),
        1 => (0..3).prop_map(|n| ObjectId::Club(id(&format!("club {n}")))),
    ]
}

/// One change, of up to so many announcements.
fn changes(most: usize) -> impl Strategy<Value = Facts> {
    (
        any::<u64>(),
        prop::collection::vec(member(), 0..4),
        prop::collection::vec(endpoint(), 0..6),
        prop::collection::vec(range(), 0..=most / 2),
        prop::collection::vec(announcement(), 0..=most),
        prop::collection::vec(agreement(), 0..8),
        prop::collection::vec(club(), 0..3),
        prop::collection::vec(gone(), 0..=most / 2),
    )
        .prop_map(|(position, members, endpoints, ranges, announcements, agreements, clubs, gone)| {
            Facts { position, members, endpoints, ranges, announcements, agreements, clubs, gone }
        })
}

fn call() -> impl Strategy<Value = CallRequest<'static>> {
    (member_id(), "[12]{5,8}", any::<u64>()).prop_map(|(originating_member, called, draw)| CallRequest {
        originating_member,
        called: number(&called),
        dip: None,
        site: None,
        draw,
    })
}

/// What a sequence of changes comes to, kept as plainly as can be.
fn end_state(sequence: &[Facts]) -> Facts {
    let mut members = BTreeMap::new();
    let mut endpoints = BTreeMap::new();
    let mut ranges = BTreeMap::new();
    let mut announcements = BTreeMap::new();
    let mut agreements = BTreeMap::new();
    let mut clubs = BTreeMap::new();
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
        for id in facts.gone {
            match id {
                ObjectId::Member(id) => drop(members.remove(&id)),
                ObjectId::Endpoint(id) => drop(endpoints.remove(&id)),
                ObjectId::Range(id) => drop(ranges.remove(&id)),
                ObjectId::Announcement(id) => drop(announcements.remove(&id)),
                ObjectId::Agreement(id) => drop(agreements.remove(&id)),
                ObjectId::Club(id) => drop(clubs.remove(&id)),
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
        gone: Vec::new(),
    }
}

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
fn uncrossed(facts: &Facts, call: &CallRequest, announcement: &Announcement) -> Option<Reason> {
    let terminating = announcement.member_id;
    let between = facts.agreements.iter().filter(|agreement| {
        agreement.validity.is_some_and(|validity| validity.contains(at(0)))
            && agreement.permits(call.originating_member, terminating)
    });
    let mut between: Vec<&Agreement> = between.collect();
    between.sort_by_key(|agreement| agreement.agreement_id);
    let crossing = |it: &&&Agreement| matches!(it.state, AgreementState::Accepted | AgreementState::Ending);
    let mut objections: Vec<Option<Reason>> =
        between.iter().filter(crossing).map(|it| objection(it, call, announcement)).collect();
    let mut clubs: Vec<&Club> = facts.clubs.iter().collect();
    clubs.sort_by_key(|club| club.agreement_id);
    let both = [call.originating_member, terminating];
    let is_suspended = between.iter().any(|agreement| agreement.state == AgreementState::Suspended);
    let is_shared = |club: &&Club| both.iter().all(|member| club.members.contains(member));
    let shared = clubs.into_iter().filter(|club| !is_suspended && is_shared(club));
    objections.extend(shared.map(|club| by_terms(club.terms.as_deref(), &[], call, announcement)));
    if objections.contains(&None) {
        return None;
    }
    let otherwise = if is_suspended { Reason::AgreementSuspended } else { Reason::NoAgreement };
    Some(objections.into_iter().flatten().next().unwrap_or(otherwise))
}

/// What the terms of an agreement have against a call.
fn objection(agreement: &Agreement, call: &CallRequest, announcement: &Announcement) -> Option<Reason> {
    let terms = agreement.terms.as_deref();
    let prefixes = terms.map_or(&[][..], |terms| {
        if announcement.member_id == agreement.proposing_member {
            &terms.prefixes_of_proposing
        } else {
            &terms.prefixes_of_accepting
        }
    });
    by_terms(terms, prefixes, call, announcement)
}

fn by_terms(
    terms: Option<&AgreementTerms>,
    prefixes: &[Prefix],
    call: &CallRequest,
    announcement: &Announcement,
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
    let (.., is_open) = HOURS.into_iter().find(|it| Some(on_fridays(*it)) == terms.hours)?;
    (!is_open).then_some(Reason::AgreementHours)
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
        } else if let Some(reason) = uncrossed(facts, call, announcement) {
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
            let priorities: Vec<_> = selection
                .candidates
                .iter()
                .map(|candidate| table.endpoint(candidate.endpoint).unwrap().priority)
                .collect();
            prop_assert!(priorities.is_sorted(), "{:?}", priorities);
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
                .map(|it| (it.endpoint, table.endpoint(it.endpoint).map(|it| (it.priority, it.weight))))
                .collect();
            takers.sort_unstable();
            (takers, selection.matched)
        };
        let announced = [&before, &after].map(|table| table.facts().announcements);
        let is_approved = |member| [&before, &after].iter().any(|table| table.is_approved(member));
        // What the terms of a member's agreements name cuts its calls to a prefix into parts.
        let named_by_terms = |member| -> std::collections::BTreeSet<String> {
            let terms = [&before, &after].into_iter().filter(|_| is_approved(member));
            terms.flat_map(|table| table.term_prefixes(member, at(0))).map(Prefix::digits).collect()
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
            let announcement =
                facts.announcements.iter().find(|each| each.announcement_id == candidate.announcement).expect("it is a fact");
            prop_assert_eq!(uncrossed(&facts, &call, announcement), None);
            let range = facts.ranges.iter().find(|each| each.range_id == candidate.range).expect("it is a fact");
            prop_assert!(range.prefix.covers(candidate.prefix) && range.member_id == candidate.member);
            prop_assert!(range.authority == Authority::Valid && range.validity.contains(at(0)));
        }
        // Without any valid range there is no route, whatever else is there.
        let mut without = facts;
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
        let announcements = facts.announcements.clone();
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
            prop_assert_eq!(table.is_called(endpoint), announcements.iter().any(names));
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
                member_id: MemberId(uuid::Uuid::nil()),
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
            let expected = longest.map(|each| (each.prefix, each.announcement_id));
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
            .collect();
        let table = table.apply(Facts { gone, ..Facts::default() });
        prop_assert!(table.is_empty());
        prop_assert_eq!(table.hash(), RouteTable::empty().hash());
    }
}
