//! Facts for properties: small exchanges of any kind, in which objects meet each other often.

use proptest::prelude::*;
use proptest::sample::select as one_of;
use tandem_model::{
    AdvanceOn, Agreement, AgreementDirection, AgreementState, AgreementTerms, Announcement, Authority,
    BlockList, CallLimits, Club, DeckRate, Endpoint, Facts, Hours, HoursText, Member, MemberId, MemberState,
    ObjectId, Policy, Prefix, Quality, Range, Rate, RateDeck, TransitOffer, TransitTerms, Validity,
    WindowText,
};

use crate::CallRequest;
use crate::exchange::{at, id, number};

/// Names are few, so that objects meet each other; the last of each is never declared by a fact.
pub(crate) const MEMBERS: [&str; 4] = ["acme", "globex", "initech", "nobody"];
pub(crate) const ENDPOINTS: [&str; 5] = ["one", "two", "three", "four", "none"];

pub(crate) fn member_id() -> impl Strategy<Value = MemberId> {
    one_of(&MEMBERS[..]).prop_map(id)
}

pub(crate) fn validity() -> impl Strategy<Value = Validity> {
    let until = prop_oneof![4 => Just(None), 1 => one_of(vec![-10, 0, 10]).prop_map(|s| Some(at(s)))];
    (prop_oneof![4 => Just(-20), 1 => Just(0), 1 => Just(5)], until)
        .prop_map(|(from, until)| Validity { from: at(from), until })
}

pub(crate) fn prefix() -> impl Strategy<Value = Prefix> {
    "[12][12]{0,6}".prop_map(|text| text.parse().unwrap())
}

/// Of version 7 and made within a second, or any other.
pub(crate) fn any_id() -> impl Strategy<Value = uuid::Uuid> {
    let made = (0..1000_u64, any::<[u8; 10]>()).prop_map(|(ms, random)| {
        uuid::Builder::from_unix_timestamp_millis(1_800_000_000_000 + ms, &random).into_uuid()
    });
    prop_oneof![made, any::<u128>().prop_map(uuid::Uuid::from_u128)]
}

pub(crate) fn limits() -> impl Strategy<Value = CallLimits> {
    let limit = || prop::option::weighted(0.2, 1..3_u32);
    (limit(), limit())
        .prop_map(|(max_calls, max_calls_per_second)| CallLimits { max_calls, max_calls_per_second })
}

pub(crate) fn member() -> impl Strategy<Value = Member> {
    let state = prop_oneof![5 => Just(MemberState::Approved), 1 => Just(MemberState::Suspended)];
    (0..3_usize, state, limits()).prop_map(|(n, state, limits)| Member {
        member_id: id(MEMBERS[n]),
        name: MEMBERS[n].into(),
        state,
        limits,
    })
}

pub(crate) fn endpoint() -> impl Strategy<Value = Endpoint> {
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

pub(crate) fn range() -> impl Strategy<Value = Range> {
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

pub(crate) fn announcement() -> impl Strategy<Value = Announcement> {
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
pub(crate) type Judge = fn(bool, bool) -> bool;

/// Demands, and how the reference judges them.
pub(crate) const DEMANDS: [(&str, Judge); 4] =
    [("a", |a, _| a), ("a and b", |a, b| a && b), ("a or b", |a, b| a || b), ("b and (a or b)", |_, b| b)];

/// Hours, and whether calls at `at(0)`, a Friday at 08:00 UTC, lie in them.
pub(crate) const HOURS: [(&str, &str, &str, bool); 4] = [
    ("UTC", "08:00", "09:00", true),
    ("UTC", "07:00", "08:00", false),
    ("Europe/Berlin", "09:00", "09:01", true),
    ("Europe/Berlin", "08:00", "09:00", false),
];

pub(crate) fn on_fridays((zone, from, until, _): (&str, &str, &str, bool)) -> Hours {
    let window = WindowText { days: vec!["fri".into()], from: from.into(), until: until.into() };
    HoursText { zone: zone.into(), windows: vec![window] }.try_into().unwrap()
}

pub(crate) fn terms() -> impl Strategy<Value = AgreementTerms> {
    let prefixes = || prop_oneof![2 => Just(Vec::new()), 1 => prop::collection::vec(prefix(), 1..3)];
    let hours = prop::option::weighted(0.3, one_of(&HOURS[..]).prop_map(on_fridays));
    let demand =
        prop::option::weighted(0.3, one_of(&DEMANDS[..]).prop_map(|(text, _)| text.parse().unwrap()));
    (prefixes(), prefixes(), hours, demand, transit_terms()).prop_map(
        |(prefixes_of_proposing, prefixes_of_accepting, hours, demand, transit)| AgreementTerms {
            prefixes_of_proposing,
            prefixes_of_accepting,
            hours,
            sites: Vec::new(),
            demand,
            transit,
        },
    )
}

pub(crate) fn agreement() -> impl Strategy<Value = Agreement> {
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

pub(crate) fn club() -> impl Strategy<Value = Club> {
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

/// Few, so that offers meet at one.
pub(crate) fn rate() -> impl Strategy<Value = Rate> {
    (0..4_u64).prop_map(|millionths| Rate::from_millionths(millionths).unwrap())
}

pub(crate) fn rate_deck() -> impl Strategy<Value = RateDeck> {
    let rate = (prefix(), rate(), validity()).prop_map(|(prefix, per_minute, validity)| DeckRate {
        prefix,
        per_minute,
        validity,
    });
    (0..4, prop::option::weighted(0.8, member_id()), prop::collection::vec(rate, 0..8)).prop_map(
        |(n, member_id, rates)| RateDeck { rate_deck_id: id(&format!("deck {n}")), member_id, rates },
    )
}

pub(crate) fn quality() -> impl Strategy<Value = Quality> {
    (0..3_u8, 0..3_u8, 0..3_u32).prop_map(|(asr_percent, ner_percent, pdd_ms)| Quality {
        asr_percent,
        ner_percent,
        pdd_ms,
    })
}

pub(crate) fn transit_offer() -> impl Strategy<Value = TransitOffer> {
    let endpoints = prop::collection::vec(one_of(&ENDPOINTS[..]).prop_map(id), 0..4);
    let tags = prop_oneof![2 => Just(""), 1 => one_of(vec!["a", "b", "a b"])];
    let ids = (0..5, member_id(), 0..5);
    let permission = (prop::bool::weighted(0.8), 0..2_u16);
    let quality = prop::option::weighted(0.5, quality());
    (ids, endpoints, validity(), permission, limits(), tags, quality).prop_map(
        |((n, member_id, deck), endpoints, validity, (is_permitted, preference), limits, tags, quality)| {
            TransitOffer {
                announcement_id: id(&format!("offer {n}")),
                member_id,
                rate_deck: id(&format!("deck {deck}")),
                endpoints,
                validity,
                is_permitted,
                preference,
                limits,
                tags: tags.split_whitespace().map(|tag| tag.parse().unwrap()).collect(),
                quality,
            }
        },
    )
}

pub(crate) fn transit_terms() -> impl Strategy<Value = TransitTerms> {
    let sometimes = |most| prop::option::weighted(0.2, 0..=most);
    let deck = prop::option::weighted(0.4, (0..5).prop_map(|n| id(&format!("deck {n}"))));
    let (max_rate, floor) = (prop::option::weighted(0.2, rate()), prop::option::weighted(0.2, rate()));
    (max_rate, deck, floor, sometimes(2_u8), sometimes(2_u8), prop::option::weighted(0.2, 0..3_u32)).prop_map(
        |(max_rate, rate_deck, margin_floor, min_asr_percent, min_ner_percent, max_pdd_ms)| TransitTerms {
            max_rate,
            rate_deck,
            margin_floor,
            min_asr_percent,
            min_ner_percent,
            max_pdd_ms,
        },
    )
}

pub(crate) fn block_list() -> impl Strategy<Value = BlockList> {
    let prefixes = prop::collection::vec("[12]{3,6}".prop_map(|text| text.parse().unwrap()), 0..3);
    (prop::option::weighted(0.7, member_id()), prefixes)
        .prop_map(|(member_id, prefixes)| BlockList { member_id, prefixes })
}

pub(crate) fn gone() -> impl Strategy<Value = ObjectId> {
    prop_oneof![
        1 => one_of(&MEMBERS[..]).prop_map(|name| ObjectId::Member(id(name))),
        1 => one_of(&ENDPOINTS[..]).prop_map(|name| ObjectId::Endpoint(id(name))),
        3 => (0..20).prop_map(|n| ObjectId::Range(id(&format!("range {n}")))),
        6 => (0..60).prop_map(|n| ObjectId::Announcement(id(&format!("announcement {n}")))),
        1 => (0..8).prop_map(|n| ObjectId::Agreement(id(&format!("agreement {n}")))),
        1 => (0..3).prop_map(|n| ObjectId::Club(id(&format!("club {n}")))),
        1 => (0..5).prop_map(|n| ObjectId::TransitOffer(id(&format!("offer {n}")))),
        1 => (0..4).prop_map(|n| ObjectId::RateDeck(id(&format!("deck {n}")))),
        1 => prop::option::of(member_id()).prop_map(ObjectId::BlockList),
    ]
}

/// One change, of up to so many announcements.
pub(crate) fn changes(most: usize) -> impl Strategy<Value = Facts> {
    (
        any::<u64>(),
        prop::collection::vec(member(), 0..4),
        prop::collection::vec(endpoint(), 0..6),
        prop::collection::vec(range(), 0..=most / 2),
        prop::collection::vec(announcement(), 0..=most),
        prop::collection::vec(agreement(), 0..8),
        prop::collection::vec(club(), 0..3),
        prop_oneof![1 => Just(Facts::default()), 2 => beside_home()],
        prop::collection::vec(gone(), 0..=most / 2),
    )
        .prop_map(
            |(position, members, endpoints, ranges, announcements, agreements, clubs, beside, gone)| {
                let Facts { transit_offers, rate_decks, block_lists, .. } = beside;
                let home = Facts {
                    position,
                    members,
                    endpoints,
                    ranges,
                    announcements,
                    agreements,
                    clubs,
                    ..Facts::default()
                };
                Facts { transit_offers, rate_decks, block_lists, gone, ..home }
            },
        )
}

/// Transit, and what is blocked.
pub(crate) fn beside_home() -> impl Strategy<Value = Facts> {
    (
        prop::collection::vec(transit_offer(), 0..5),
        prop::collection::vec(rate_deck(), 0..4),
        prop::collection::vec(block_list(), 0..2),
    )
        .prop_map(|(transit_offers, rate_decks, block_lists)| Facts {
            transit_offers,
            rate_decks,
            block_lists,
            ..Facts::default()
        })
}

pub(crate) fn call() -> impl Strategy<Value = CallRequest<'static>> {
    (member_id(), "[12]{5,8}", any::<u64>()).prop_map(|(originating_member, called, draw)| CallRequest {
        originating_member,
        called: number(&called),
        dip: None,
        site: None,
        draw,
    })
}
