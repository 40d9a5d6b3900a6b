//! Times the route table: `cargo run --release -p tandem-routing --example lookup [announcements …]`.
//!
//! Two plans: numbers clustered as numbering plans are, 3 to 13 digits in blocks of two hundred members, and one in
//! which every announcement is a ported number in a single block.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a stopwatch that prints what it measures"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use tandem_model::{
    Agreement, AgreementDirection, AgreementState, Announcement, Authority, CallLimits, E164, Endpoint,
    Facts, Member, MemberId, MemberState, Policy, Prefix, Range, Source, Validity,
};
use tandem_routing::{CallRequest, RouteTable, select};
use uuid::Uuid;

const MEMBERS: u64 = 200;
const BLOCKS: u64 = 1_000;
const CHANGES: u64 = 500;
const CALLS: usize = 1_000_000;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((u128::from(bits ^ (bits >> 31)) * u128::from(bound)) >> 64) as u64
    }

    fn digits(&mut self, count: u64) -> String {
        (0..count).map(|_| char::from(b'0' + self.below(10) as u8)).collect()
    }
}

fn id<Id: From<Uuid>>(kind: u64, n: u64) -> Id {
    let mut random = Random(kind << 56 ^ n);
    Uuid::from_u64_pair(random.below(u64::MAX), random.below(u64::MAX)).into()
}

fn validity(n: u64) -> Validity {
    Validity { from: DateTime::from_timestamp_nanos(1_700_000_000_000_000_000 + n as i64), until: None }
}

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp_nanos(1_800_000_000_000_000_000)
}

fn prefix(text: &str) -> Prefix {
    text.parse().expect("digits that begin with 1 to 9")
}

/// Members that all agree with each other, an endpoint and a host each.
fn members() -> Facts {
    let mut facts = Facts::default();
    for n in 0..MEMBERS {
        let member_id = id(1, n);
        let name = format!("member-{n}");
        facts.members.push(Member {
            member_id,
            name: name.clone(),
            state: MemberState::Approved,
            limits: CallLimits::NONE,
        });
        facts.endpoints.push(Endpoint {
            endpoint_id: id(2, n),
            member_id,
            name,
            sources: vec![Source {
                net: format!("10.0.{}.{}/32", n / 100, n % 100).parse().expect("a host"),
                port: None,
            }],
            certificate_names: Vec::new(),
            target: "sip:192.0.2.21".parse().expect("a target"),
            access: tandem_model::Access::default(),
            priority: 10,
            weight: 10,
            max_calls: None,
            max_calls_per_second: None,
            enabled: true,
            policy: Policy::default(),
            sites: Vec::new(),
        });
        for other in 0..n {
            facts.agreements.push(Agreement {
                agreement_id: id(3, n * MEMBERS + other),
                proposing_member: member_id,
                accepting_member: id(1, other),
                direction: AgreementDirection::Both,
                state: AgreementState::Accepted,
                validity: Some(validity(0)),
                limits: CallLimits::NONE,
            });
        }
    }
    facts
}

fn announcement(n: u64, member: MemberId, prefix: Prefix, endpoint: u64) -> Announcement {
    Announcement {
        announcement_id: id(4, n),
        member_id: member,
        prefix,
        endpoints: vec![id(2, endpoint)],
        validity: validity(n),
        limits: CallLimits::NONE,
    }
}

/// The `n`th announcement within the blocks of four digits that members hold.
fn clustered(n: u64) -> Announcement {
    let mut random = Random(n);
    // Some countries and areas have far more numbers than others.
    let block = if n < BLOCKS { n } else { random.below(BLOCKS) * random.below(BLOCKS) / BLOCKS };
    let owner = block % MEMBERS;
    let more = if n < BLOCKS { 0 } else { [3, 4, 5, 5, 6, 7, 7, 8, 8][random.below(9) as usize] };
    announcement(n, id(1, owner), prefix(&format!("{}{}", 1000 + block, random.digits(more))), owner)
}

/// The `n`th of numbers in one block, each ported to some member.
fn ported(n: u64) -> Announcement {
    let owner = n % MEMBERS;
    announcement(
        n,
        id(1, owner),
        prefix(&format!("3161{:08}", n.wrapping_mul(40_503_477) % 100_000_000)),
        owner,
    )
}

/// The ranges under the announcements of the clustered plan: each block is one member's.
fn ranges() -> Vec<Range> {
    (0..BLOCKS)
        .map(|block| range(block, id(1, block % MEMBERS), prefix(&(1000 + block).to_string())))
        .collect()
}

fn range(n: u64, member_id: MemberId, prefix: Prefix) -> Range {
    Range { range_id: id(5, n), member_id, prefix, authority: Authority::Valid, validity: validity(n) }
}

fn per(duration: Duration, count: usize) -> f64 {
    duration.as_secs_f64() * 1e9 / count as f64
}

fn measure(name: &str, size: u64, plan: fn(u64) -> Announcement) {
    let announcements: Vec<_> = (0..size).map(plan).collect();
    // In the second plan a number that is ported is a range of its own.
    let own = announcements.iter().filter(|each| each.prefix.len() == 12).enumerate();
    let own = own.map(|(n, each)| range(BLOCKS + n as u64, each.member_id, each.prefix));
    let ranges = if name == "ported" { own.collect() } else { ranges() };
    let table = RouteTable::from_facts(Facts { ranges, ..members() });
    let ranges_bytes = table.counts().bytes;
    let facts = Facts { announcements, ..Facts::default() };
    let begun = Instant::now();
    let mut table = table.apply(facts);
    let build = begun.elapsed();
    let bytes = table.counts().bytes - ranges_bytes;

    let mut random = Random(1);
    let calls: Vec<_> = (0..CALLS)
        .map(|_| {
            let announced = plan(random.below(size)).prefix.digits();
            let missing = 13_u64.saturating_sub(announced.len() as u64);
            let called: E164 =
                format!("{announced}{}", random.digits(missing)).parse().expect("at most 15 digits");
            CallRequest {
                originating_member: id(1, random.below(MEMBERS)),
                called,
                site: None,
                draw: random.below(u64::MAX),
            }
        })
        .collect();
    let time_calls = |calls: &[CallRequest<'_>]| {
        let begun = Instant::now();
        let routed =
            calls.iter().filter(|call| black_box(select(&table, call, now())).refusal().is_none()).count();
        (per(begun.elapsed(), calls.len()), routed)
    };
    let (cold, routed) = time_calls(&calls);
    // The same thousand again and again: what a lookup costs apart from waiting for memory.
    let warm = (0..20).map(|_| time_calls(&calls[..1000]).0).fold(f64::MAX, f64::min);

    let mut times: Vec<_> = (0..CHANGES)
        .map(|n| {
            // A new announcement, a change of an old one or a withdrawal.
            let mut change = Facts { position: n, ..Facts::default() };
            let old = plan(random.below(size));
            match n % 3 {
                0 => change.announcements = vec![plan(size + n)],
                1 => change.announcements = vec![Announcement { validity: validity(n), ..old }],
                _ => change.gone = vec![tandem_model::ObjectId::Announcement(old.announcement_id)],
            }
            let begun = Instant::now();
            let next = table.apply(change);
            let previous = std::mem::replace(&mut table, next);
            drop(previous);
            begun.elapsed()
        })
        .collect();
    times.sort_unstable();
    let us = |part: usize| times[times.len() * part / 100].as_secs_f64() * 1e6;

    println!(
        "{name:<10} {size:>9} {cold:>9.0} {warm:>9.0} {:>7.1} {:>6.1} {:>9.1} {:>9.1} {:>8.0}",
        routed as f64 / CALLS as f64 * 100.0,
        bytes as f64 / size as f64,
        us(50),
        us(99),
        build.as_secs_f64() * 1e3,
    );
}

fn admission() {
    let table = RouteTable::from_facts(members());
    let addresses: Vec<_> = (0..1000_u64)
        .map(|n| format!("10.0.{}.{}:5060", n % 4, n % 100).parse().expect("an address"))
        .collect();
    let begun = Instant::now();
    let rounds = 1000;
    for _ in 0..rounds {
        for address in &addresses {
            black_box(table.endpoint_from(*address));
        }
    }
    println!("endpoint_from: {:.0} ns", per(begun.elapsed(), rounds * addresses.len()));
}

fn main() {
    let sizes: Vec<u64> = std::env::args().skip(1).filter_map(|size| size.parse().ok()).collect();
    let sizes = if sizes.is_empty() { vec![1_000, 100_000, 1_000_000] } else { sizes };
    println!("select in ns, bytes an announcement, one change in µs, load of all announcements in ms");
    println!("plan       announced    random      same routed%  bytes change 50 change 99     load");
    for &size in &sizes {
        measure("clustered", size, clustered);
        measure("ported", size, ported);
    }
    admission();
}
