//! Tables are swapped while calls are routed: each call is explained by one version, whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use chrono::{DateTime, Utc};
use tandem_model::{
    Access, Agreement, AgreementDirection, AgreementState, Announcement, Authority, CallLimits, Endpoint,
    Facts, Member, MemberState, ObjectId, Policy, Range, Validity,
};
use tandem_routing::{CallRequest, RouteTable, Selection, select, shared};
use uuid::Uuid;

const SWAPS: u64 = 100;
const LOOKUPS: u64 = 10_000;
const READERS: u64 = 2;

const NUMBERS: [&str; 3] = ["+442079460000", "+4930123456", "+442071234567"];

fn id<Id: From<Uuid>>(kind: u128, n: u64) -> Id {
    Uuid::from_u128(kind << 64 | u128::from(n)).into()
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).expect("a time of this century")
}

fn always() -> Validity {
    Validity { from: at(-3600), until: None }
}

/// Everything of version `n` is another object than in the version before, and its ids say so; only the caller stays.
fn facts(n: u64) -> Facts {
    let member = |n: u64| Member {
        member_id: id(1, n),
        name: format!("member-{n}"),
        state: MemberState::Approved,
        limits: CallLimits::NONE,
    };
    let endpoint = Endpoint {
        endpoint_id: id(2, n),
        member_id: id(1, n),
        name: format!("endpoint-{n}"),
        sources: Vec::new(),
        certificate_names: Vec::new(),
        target: "sip:192.0.2.21".parse().expect("a target"),
        access: Access::default(),
        priority: 10,
        weight: 10,
        max_calls: None,
        max_calls_per_second: None,
        enabled: true,
        policy: Policy::default(),
        sites: Vec::new(),
        call_mark: None,
    };
    let agreement = Agreement {
        agreement_id: id(3, n),
        proposing_member: id(1, 0),
        accepting_member: id(1, n),
        direction: AgreementDirection::Both,
        state: AgreementState::Accepted,
        validity: Some(always()),
        limits: CallLimits::NONE,
        advance_on: None,
        terms: None,
    };
    // Each other version has the longer prefixes, so that what is matched differs, too.
    let prefixes = if n.is_multiple_of(2) { ["+44", "+49", "+4420"] } else { ["+4420", "+4930", "+44"] };
    let mut facts = Facts { position: n, ..Facts::default() };
    for (nth, prefix) in (0..).zip(prefixes.map(|text| text.parse().expect("a prefix"))) {
        let (member_id, validity) = (id(1, n), always());
        let range_id = id(4 + nth, n);
        facts.ranges.push(Range { range_id, member_id, prefix, authority: Authority::Valid, validity });
        facts.announcements.push(Announcement {
            announcement_id: id(8 + nth, n),
            member_id,
            prefix,
            endpoints: vec![id(2, n)],
            validity,
            limits: CallLimits::NONE,
            tags: Vec::new(),
        });
    }
    if n > 1 {
        let before = n - 1;
        facts.gone = vec![
            ObjectId::Member(id(1, before)),
            ObjectId::Endpoint(id(2, before)),
            ObjectId::Agreement(id(3, before)),
        ];
        for nth in 0..3 {
            facts.gone.push(ObjectId::Range(id(4 + nth, before)));
            facts.gone.push(ObjectId::Announcement(id(8 + nth, before)));
        }
    }
    facts.members = vec![member(0), member(n)];
    facts.endpoints = vec![endpoint];
    facts.agreements = vec![agreement];
    facts
}

fn route(table: &RouteTable, lookup: u64) -> Selection {
    let called = NUMBERS[lookup as usize % NUMBERS.len()].parse().expect("a number");
    select(
        table,
        &CallRequest { originating_member: id(1, 0), called, dip: None, site: None, draw: lookup },
        at(0),
    )
}

#[test]
fn each_of_ten_thousand_lookups_during_a_hundred_swaps_is_explained_by_exactly_one_version() {
    let mut versions = vec![RouteTable::from_facts(facts(1))];
    for n in 2..=SWAPS + 1 {
        versions.push(versions[versions.len() - 1].apply(facts(n)));
    }
    let table = shared(versions[0].clone());
    let (done, swapped) = (AtomicU64::new(0), AtomicU64::new(0));
    let reader = || {
        let mut selections = Vec::new();
        loop {
            let lookup = done.fetch_add(1, SeqCst);
            if lookup >= LOOKUPS {
                return selections;
            }
            // At most one swap behind, so that each version is asked.
            while swapped.load(SeqCst) + 1 < lookup * SWAPS / LOOKUPS {
                std::thread::yield_now();
            }
            selections.push((lookup, route(&table.load(), lookup)));
        }
    };
    let selections = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS).map(|_| scope.spawn(reader)).collect();
        for (next, after) in versions[1..].iter().zip(0..) {
            // The swaps are spread evenly over the lookups.
            while done.load(SeqCst) < after * LOOKUPS / SWAPS {
                std::thread::yield_now();
            }
            table.store(Arc::new(next.clone()));
            swapped.fetch_add(1, SeqCst);
        }
        readers.into_iter().flat_map(|reader| reader.join().expect("it does not panic")).collect::<Vec<_>>()
    });
    assert_eq!(selections.len() as u64, LOOKUPS);
    let mut seen = std::collections::BTreeSet::new();
    for (lookup, selection) in &selections {
        let version = selection.table_version;
        assert_eq!(*selection, route(&versions[version as usize - 1], *lookup));
        assert_eq!(selection.candidates[0].member, id(1, version), "all of it is of that version");
        seen.insert(version);
    }
    assert!(seen.len() > SWAPS as usize / 3, "only {} versions were live during a lookup", seen.len());
}
