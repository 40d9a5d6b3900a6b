//! Tables are swapped while calls are routed: each selection is that of exactly one version.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use chrono::{DateTime, Utc};
use tandem_model::{
    Agreement, AgreementDirection, AgreementState, Announcement, Authority, CallLimits, E164, Endpoint,
    EndpointId, Facts, Member, MemberId, MemberState, Policy, Range, Validity,
};
use tandem_routing::{CallRequest, RouteTable, replace, select, shared};
use uuid::Uuid;

const SWAPS: u64 = 100;

const LOOKUPS: usize = 10_000;

const READERS: usize = 3;

fn at() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).expect("a time of this century")
}

fn id<T: From<Uuid>>(number: u128) -> T {
    Uuid::from_u128(number).into()
}

/// What the version `position` changes, and all of it for the first: who announces, at which endpoint and under which
/// agreement are of one version together.
fn facts(position: u64) -> Facts {
    let validity = Validity { from: at(), until: None };
    let member = |number: u128, name: &str| Member {
        member_id: id(number),
        name: name.to_owned(),
        state: MemberState::Approved,
        limits: CallLimits::NONE,
    };
    let holder: MemberId = id(2 + u128::from(position % 2));
    let new = 100 * u128::from(position);
    let endpoint = Endpoint {
        endpoint_id: id(new + 1),
        member_id: holder,
        name: format!("gateway-{position}"),
        sources: Vec::new(),
        call_mark: None,
        certificate_names: Vec::new(),
        sites: Vec::new(),
        target: "sip:192.0.2.1:5060".parse().expect("a target"),
        access: Default::default(),
        priority: 1,
        weight: 1,
        max_calls: None,
        max_calls_per_second: None,
        enabled: true,
        policy: Policy::default(),
    };
    let agreement = Agreement {
        agreement_id: id(new + 2),
        proposing_member: id(1),
        accepting_member: holder,
        direction: AgreementDirection::Both,
        state: AgreementState::Accepted,
        validity: Some(validity),
        limits: CallLimits::NONE,
        advance_on: None,
        terms: None,
    };
    let prefix = "+4420".parse().expect("a prefix");
    let range = Range { range_id: id(4), member_id: holder, prefix, authority: Authority::Valid, validity };
    let announcement = Announcement {
        announcement_id: id(5),
        member_id: holder,
        prefix,
        endpoints: vec![endpoint.endpoint_id],
        validity,
        limits: CallLimits::NONE,
        tags: Default::default(),
    };
    let before = 100 * u128::from(position.saturating_sub(1));
    Facts {
        position,
        members: if position == 1 {
            vec![member(1, "caller"), member(2, "one"), member(3, "two")]
        } else {
            Vec::new()
        },
        endpoints: vec![endpoint],
        ranges: vec![range],
        announcements: vec![announcement],
        agreements: vec![agreement],
        gone: vec![
            tandem_model::ObjectId::Endpoint(id(before + 1)),
            tandem_model::ObjectId::Agreement(id(before + 2)),
        ],
        ..Facts::default()
    }
}

#[test]
fn each_of_ten_thousand_lookups_during_a_hundred_swaps_is_explained_by_exactly_one_version() {
    let mut tables = vec![Arc::new(RouteTable::from_facts(facts(1)))];
    for version in 2..=SWAPS {
        let last = tables.last().expect("there is a first").clone();
        tables.push(Arc::new(last.apply(facts(version))));
    }
    let table = shared(RouteTable::clone(&tables[0]));
    let (done, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let selections = thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS)
            .map(|_| {
                scope.spawn(|| {
                    let called: E164 = "+442079460000".parse().expect("a number");
                    let mut selections = Vec::new();
                    while !is_over.load(Ordering::Relaxed) {
                        let table = table.load();
                        let draw = selections.len() as u64;
                        let call =
                            CallRequest { originating_member: id(1), called, dip: None, site: None, draw };
                        let mut selection = select(&table, &call, at());
                        selection.note(&call, &table, at());
                        selections.push(selection);
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                    selections
                })
            })
            .collect();
        // A swap waits for its hundredth of the lookups. When it came, each reader was in at most
        // one lookup of the version before: one more lookup than readers has met the new one.
        let wait_for = |lookups: usize| {
            while done.load(Ordering::Relaxed) < lookups {
                thread::yield_now();
            }
        };
        let mut met = READERS + 1;
        for next in &tables[1..] {
            let share = LOOKUPS * next.version() as usize / SWAPS as usize;
            wait_for(met.max(share));
            replace(&table, table.load_full(), RouteTable::clone(next));
            met = done.load(Ordering::Relaxed) + READERS + 1;
        }
        wait_for(met.max(LOOKUPS));
        is_over.store(true, Ordering::Relaxed);
        readers.into_iter().flat_map(|reader| reader.join().expect("it reads")).collect::<Vec<_>>()
    });
    assert!(selections.len() >= LOOKUPS);
    let mut seen = HashSet::new();
    for selection in &selections {
        let version = selection.table_version;
        seen.insert(version);
        let own: EndpointId = id(100 * u128::from(version) + 1);
        assert_eq!(
            selection.candidates.iter().map(|it| it.endpoint).collect::<Vec<_>>(),
            [own],
            "version {version}"
        );
        assert_eq!(selection.verify(0, id(1), &tables[version as usize - 1]), Ok(()));
    }
    assert_eq!(seen.len(), SWAPS as usize, "versions that lookups met");
}
