//! Exchanges for tests, in a few words: `routes("+4420 acme | +44 globex")`.
//!
//! Each route gets its member, approved, with a valid range of just that prefix and an endpoint of the member's
//! name; an agreement lets `caller` and the member call each other. A test then changes what it is about.

use chrono::{DateTime, Utc};
use tandem_model::{
    Agreement, AgreementDirection, AgreementState, Announcement, Authority, CallLimits, DeckRate, E164,
    Endpoint, Facts, Member, MemberId, MemberState, Policy, Prefix, Range, RateDeck, TransitOffer, Validity,
};
use uuid::Uuid;

use crate::{CallRequest, RouteTable, Selection, select};

/// The member that places the calls of the tests.
const CALLER: &str = "caller";

/// Seconds after the moment at which tests place their calls.
pub(crate) fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).expect("a time of this century")
}

/// From an hour before the calls, without end.
pub(crate) fn always() -> Validity {
    Validity { from: at(-3600), until: None }
}

/// An id that is the same for the same text.
pub(crate) fn id<Id: From<Uuid>>(text: &str) -> Id {
    let hash = text.bytes().fold(0x6c62272e07bb0142_u128, |hash, byte| {
        (hash ^ u128::from(byte)).wrapping_mul(0x0000000001000000000000000000013b)
    });
    Uuid::from_u128(hash).into()
}

pub(crate) fn prefix(text: &str) -> Prefix {
    text.parse().expect("the test writes a prefix")
}

pub(crate) fn number(text: &str) -> E164 {
    text.parse().expect("the test writes a number")
}

/// An exchange that a test can change before it makes the table.
#[derive(Default)]
pub(crate) struct Exchange(pub(crate) Facts);

/// Routes between bars: a prefix, its member and, where it is about them, endpoints as `name/priority/weight`.
pub(crate) fn exchange(routes: &str) -> Exchange {
    let mut exchange = Exchange::default();
    exchange.add_member(CALLER);
    for route in routes.split('|').map(str::trim).filter(|route| !route.is_empty()) {
        let mut words = route.split_whitespace();
        let (text, member) = (words.next().expect("a prefix"), words.next().expect("a member"));
        exchange.add_member(member);
        if member != CALLER {
            exchange.add_agreement(CALLER, member);
        }
        let mut endpoints: Vec<_> = words.collect();
        if endpoints.is_empty() {
            endpoints.push(member);
        }
        for endpoint in &endpoints {
            let mut parts = endpoint.split('/');
            let name = parts.next().expect("split gives at least one part");
            let mut figure =
                || parts.next().map_or(0, |part| part.parse().expect("priority and weight are figures"));
            exchange.add_endpoint(member, name, figure(), figure());
        }
        let names: Vec<_> =
            endpoints.iter().map(|endpoint| endpoint.split('/').next().unwrap_or_default()).collect();
        exchange.add_range(text, member);
        exchange.0.announcements.push(Announcement {
            announcement_id: id(&format!("announcement {text} {member}")),
            member_id: id(member),
            prefix: prefix(text),
            endpoints: names.into_iter().map(id).collect(),
            validity: always(),
            limits: CallLimits::NONE,
            tags: Vec::new(),
        });
    }
    exchange
}

/// A deck of rates between bars: a prefix, what a minute costs and, where it is about them, the seconds from which and
/// until which that is in force.
pub(crate) fn deck(name: &str, member: Option<&str>, rates: &str) -> RateDeck {
    let rate = |text: &str| {
        let mut words = text.split_whitespace();
        let (digits, rate) = (words.next().expect("a prefix"), words.next().expect("a rate"));
        let mut second = || words.next().map(|word| at(word.parse().expect("seconds are figures")));
        DeckRate {
            prefix: prefix(digits),
            per_minute: rate.parse().expect("the test writes a rate"),
            validity: Validity { from: second().unwrap_or(always().from), until: second() },
        }
    };
    let rates = rates.split('|').map(rate).collect();
    RateDeck { rate_deck_id: id(name), member_id: member.map(id), rates }
}

/// The table of such an exchange.
pub(crate) fn routes(routes: &str) -> RouteTable {
    exchange(routes).table()
}

impl Exchange {
    pub(crate) fn table(&self) -> RouteTable {
        RouteTable::from_facts(self.0.clone())
    }

    /// Changes it in passing.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// A member, with an endpoint and an agreement with the caller, that offers transit at the rates of a deck.
    pub(crate) fn add_transit(&mut self, member: &str, rates: &str) {
        self.add_member(member);
        self.add_agreement(CALLER, member);
        self.add_endpoint(member, member, 0, 0);
        self.0.rate_decks.push(deck(&format!("deck {member}"), Some(member), rates));
        self.0.transit_offers.push(TransitOffer {
            announcement_id: id(&format!("offer {member}")),
            member_id: id(member),
            rate_deck: id(&format!("deck {member}")),
            endpoints: vec![id(member)],
            validity: always(),
            is_permitted: true,
            preference: 0,
            limits: CallLimits::NONE,
            tags: Vec::new(),
            quality: None,
        });
    }

    pub(crate) fn offer(&mut self, member: &str) -> &mut TransitOffer {
        let id = id(&format!("offer {member}"));
        self.0
            .transit_offers
            .iter_mut()
            .find(|each| each.announcement_id == id)
            .expect("the test named it before")
    }

    pub(crate) fn add_member(&mut self, name: &str) {
        if self.0.members.iter().all(|member| member.name != name) {
            self.0.members.push(Member {
                member_id: id(name),
                name: name.into(),
                state: MemberState::Approved,
                limits: CallLimits::NONE,
            });
        }
    }

    fn add_endpoint(&mut self, member: &str, name: &str, priority: u16, weight: u16) {
        if self.0.endpoints.iter().all(|endpoint| endpoint.name != name) {
            self.0.endpoints.push(Endpoint {
                endpoint_id: id(name),
                member_id: id(member),
                name: name.into(),
                sources: Vec::new(),
                call_mark: None,
                certificate_names: Vec::new(),
                target: "sip:192.0.2.21".parse().expect("it is a target"),
                access: tandem_model::Access::default(),
                priority,
                weight,
                max_calls: None,
                max_calls_per_second: None,
                enabled: true,
                policy: Policy::default(),
                sites: Vec::new(),
            });
        }
    }

    pub(crate) fn add_range(&mut self, text: &str, member: &str) {
        self.0.ranges.push(Range {
            range_id: id(&format!("range {text} {member}")),
            member_id: id(member),
            prefix: prefix(text),
            authority: Authority::Valid,
            validity: always(),
        });
    }

    fn add_agreement(&mut self, proposing: &str, accepting: &str) {
        if self.0.agreements.iter().all(|agreement| agreement.accepting_member != id(accepting)) {
            self.0.agreements.push(Agreement {
                agreement_id: id(&format!("agreement {proposing} {accepting}")),
                proposing_member: id(proposing),
                accepting_member: id(accepting),
                direction: AgreementDirection::Both,
                state: AgreementState::Accepted,
                validity: Some(always()),
                limits: CallLimits::NONE,
                advance_on: None,
                terms: None,
            });
        }
    }

    pub(crate) fn member(&mut self, name: &str) -> &mut Member {
        self.0.members.iter_mut().find(|member| member.name == name).expect("the test named it before")
    }

    pub(crate) fn endpoint(&mut self, name: &str) -> &mut Endpoint {
        self.0.endpoints.iter_mut().find(|endpoint| endpoint.name == name).expect("the test named it before")
    }

    pub(crate) fn range(&mut self, text: &str, member: &str) -> &mut Range {
        let id = id(&format!("range {text} {member}"));
        self.0.ranges.iter_mut().find(|range| range.range_id == id).expect("the test named it before")
    }

    pub(crate) fn announcement(&mut self, text: &str, member: &str) -> &mut Announcement {
        let id = id(&format!("announcement {text} {member}"));
        self.0
            .announcements
            .iter_mut()
            .find(|each| each.announcement_id == id)
            .expect("the test named it before")
    }

    /// The agreement of the caller with a member.
    pub(crate) fn agreement(&mut self, member: &str) -> &mut Agreement {
        let id = id(&format!("agreement {CALLER} {member}"));
        self.0.agreements.iter_mut().find(|each| each.agreement_id == id).expect("the test named it before")
    }
}

/// The selection for a call of a member at a time.
pub(crate) fn selection(
    table: &RouteTable,
    originating: &str,
    called: &str,
    now: DateTime<Utc>,
) -> Selection {
    let originating_member = id(originating);
    select(
        table,
        &CallRequest { originating_member, called: number(called), dip: None, site: None, draw: 1 },
        now,
    )
}

/// The members that may take a call of the caller, in order.
pub(crate) fn candidates(table: &RouteTable, called: &str) -> Vec<String> {
    let selection = selection(table, CALLER, called, at(0));
    selection.candidates.iter().map(|candidate| name(table, candidate.member)).collect()
}

/// The members that were left out of a call of the caller, each with the reason's code.
pub(crate) fn left_out(table: &RouteTable, called: &str) -> Vec<String> {
    let selection = selection(table, CALLER, called, at(0));
    selection.left_out.iter().map(|each| format!("{} {}", name(table, each.member), each.reason)).collect()
}

/// The code of the reason why a call of the caller is refused.
pub(crate) fn refusal(table: &RouteTable, called: &str) -> Option<&'static str> {
    selection(table, CALLER, called, at(0)).refusal().map(|reason| reason.code())
}

pub(crate) fn name(table: &RouteTable, member: MemberId) -> String {
    table.member(member).map_or("unknown".into(), |member| member.name.clone())
}
