//! The numbering plan: distinct prefixes of 3 to 12 digits as dense and uneven as real ones, who announces them, and
//! numbers to call.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use tandem_model::{
    Agreement, AgreementDirection, AgreementState, Announcement, Authority, CallLimits, E164, Endpoint,
    Facts, Member, MemberId, MemberState, Policy, Prefix, Range, Source, Validity,
};
use uuid::Uuid;

pub(crate) const MEMBERS: u64 = 200;

/// Milliseconds between two announcements: ten million are made in ten years.
const PACE_MS: u64 = 31_536;

/// SplitMix64: the same in each run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((u128::from(bits ^ (bits >> 31)) * u128::from(bound)) >> 64) as u64
    }

    /// A block of three digits; some countries have far more numbers than others.
    fn block(&mut self) -> u64 {
        100 + self.below(900) * self.below(900) / 900
    }

    /// A digit after the block: low ones more often, as areas are numbered.
    fn digit(&mut self) -> u64 {
        self.below(10).min(self.below(14))
    }

    fn prefix(&mut self) -> u64 {
        let more = [0, 2, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9][self.below(14) as usize];
        (0..more).fold(self.block(), |value, _| value * 10 + self.digit())
    }
}

/// `count` prefixes, each once, in no order.
pub(crate) fn prefixes(count: usize) -> Vec<u64> {
    let mut random = Random(count as u64);
    let mut seen = HashSet::with_capacity(count);
    let draws = std::iter::repeat_with(|| random.prefix());
    draws.filter(|prefix| seen.insert(*prefix)).take(count).collect()
}

/// `count` numbers of 12 digits or more: three of four below a prefix that is announced, the others anywhere in a block.
pub(crate) fn numbers(prefixes: &[u64], count: usize) -> Vec<E164> {
    let mut random = Random(7);
    let mut number = || {
        let mut value = match random.below(4) {
            0 => random.block(),
            _ => prefixes[random.below(prefixes.len() as u64) as usize],
        };
        while value < 100_000_000_000 {
            value = value * 10 + random.below(10);
        }
        value.to_string().parse().expect("12 digits that begin with 1 to 9")
    };
    (0..count).map(|_| number()).collect()
}

fn id<Id: From<Uuid>>(kind: u64, n: u64) -> Id {
    let mut random = Random((kind << 56) ^ n);
    Uuid::from_u64_pair(random.below(u64::MAX), random.below(u64::MAX)).into()
}

pub(crate) fn member_id(n: u64) -> MemberId {
    id(1, n)
}

fn prefix(value: u64) -> Prefix {
    value.to_string().parse().expect("digits that begin with 1 to 9")
}

fn validity(n: u64) -> Validity {
    Validity {
        from: DateTime::from_timestamp_nanos(1_700_000_000_000_000_000 + n as i64 * 1000),
        until: None,
    }
}

pub(crate) fn now() -> DateTime<Utc> {
    DateTime::from_timestamp_nanos(1_800_000_000_000_000_000)
}

/// Whether members announce one by one, or the whole of what they have by one file.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Announced {
    ByFile,
    OneByOne,
}

/// The `n`th announcement: by the member that holds the block. Its id is of version 7, as the hub makes them.
pub(crate) fn announcement(n: u64, value: u64, announced: Announced) -> Announcement {
    let owner = value / 10_u64.pow(value.ilog10() - 2) % MEMBERS;
    let random = id::<Uuid>(4, n).as_u128();
    let mut bytes = [0; 10];
    bytes.copy_from_slice(&random.to_be_bytes()[..10]);
    let made_ms = 1_500_000_000_000 + n * PACE_MS;
    Announcement {
        announcement_id: uuid::Builder::from_unix_timestamp_millis(made_ms, &bytes).into_uuid().into(),
        member_id: member_id(owner),
        prefix: prefix(value),
        endpoints: vec![id(2, owner)],
        validity: validity(if announced == Announced::ByFile { owner } else { n * PACE_MS }),
        limits: CallLimits::NONE,
        tags: Vec::new(),
    }
}

pub(crate) fn announcements(prefixes: &[u64], announced: Announced) -> Vec<Announcement> {
    prefixes.iter().zip(0..).map(|(prefix, n)| announcement(n, *prefix, announced)).collect()
}

/// Everything but announcements: members that all agree with each other, an endpoint and a host each, and each block a
/// range of one of them.
pub(crate) fn exchange() -> Facts {
    let mut facts = Facts::default();
    for n in 0..MEMBERS {
        let member_id = member_id(n);
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
            call_mark: None,
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
                accepting_member: self::member_id(other),
                direction: AgreementDirection::Both,
                state: AgreementState::Accepted,
                validity: Some(validity(0)),
                limits: CallLimits::NONE,
                advance_on: None,
                terms: None,
            });
        }
    }
    let range = |block| Range {
        range_id: id(5, block),
        member_id: member_id(block % MEMBERS),
        prefix: prefix(block),
        authority: Authority::Valid,
        validity: validity(0),
    };
    facts.ranges = (100..1000).map(range).collect();
    facts
}
