//! What a member's question about a number is answered by ENUM (RFC 6116): a NAPTR record that leads to the hub.
//!
//! Pure: the table, who asks, the question and the time come in, the answer goes out. The answer names the hub and
//! never another member: the call comes to the hub and is routed when it comes. There is a record for a number
//! where `routing::select` has a candidate for this member at this moment.

use std::net::SocketAddr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use hickory_proto::op::{Edns, Message, MessageType, Metadata, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{NAPTR, SOA};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use tandem_model::{E164, MemberId, MemberState, Transport};
use tandem_routing::{CallRequest, RouteTable, select};

/// Octets of an answer by UDP that every sender of a question takes (RFC 1035 §4.2.1).
const PLAIN_PAYLOAD: u16 = 512;

/// Most octets of an answer by UDP, whatever the question allows (RFC 6891 §6.2.5): it crosses every network unfragmented.
const MAX_PAYLOAD: u16 = 1232;

/// Fewest digits of a number; a shorter name has only others beneath it.
const MIN_DIGITS: usize = 5;

/// Most listeners that an answer names.
const MAX_RECORDS: usize = 4;

/// Most octets of the domain under which numbers are asked for: what is left of a name (RFC 1035 §2.3.4) holds 15 digits.
const MAX_SUFFIX: usize = 200;

/// By what a question came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    /// The answer is as long as the question allows; a longer one is cut and says so.
    Udp,
    /// The answer is as long as it is.
    Tcp,
}

/// What became of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// There is a route for the member.
    Answered,
    /// The name is there, with nothing of the type that is asked for.
    NoData,
    /// There is no route for the member.
    NoRoute,
    /// The question is none for this server, or the member may not ask.
    Refused,
    /// The question cannot be read.
    Malformed,
    /// There is no route table yet.
    NotReady,
}

impl Outcome {
    /// All, for the metrics.
    pub(crate) const ALL: [Self; 6] =
        [Self::Answered, Self::NoData, Self::NoRoute, Self::Refused, Self::Malformed, Self::NotReady];

    /// As a metric's label.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::NoData => "no_data",
            Self::NoRoute => "no_route",
            Self::Refused => "refused",
            Self::Malformed => "malformed",
            Self::NotReady => "not_ready",
        }
    }

    fn code(self) -> ResponseCode {
        match self {
            Self::Answered | Self::NoData => ResponseCode::NoError,
            Self::NoRoute => ResponseCode::NXDomain,
            Self::Refused => ResponseCode::Refused,
            Self::Malformed => ResponseCode::FormErr,
            Self::NotReady => ResponseCode::ServFail,
        }
    }
}

/// The names that are answered, and where they lead.
#[derive(Debug)]
pub(crate) struct Zone {
    suffix: Name,
    ttl_s: u32,
    /// What follows the number in a URI, for each listener.
    hosts: Vec<String>,
}

impl Zone {
    /// The numbers under `suffix`, which lead to these listeners; `None` where it is no domain.
    pub(crate) fn new(
        suffix: &str,
        ttl: Duration,
        listeners: impl Iterator<Item = (Transport, SocketAddr)>,
    ) -> Option<Self> {
        let suffix = Name::from_ascii(format!("{}.", suffix.trim_end_matches('.'))).ok();
        let suffix = suffix.filter(|name| name.len() <= MAX_SUFFIX && !name.is_root())?;
        let hosts = listeners.take(MAX_RECORDS).map(|(transport, address)| host(transport, address));
        Some(Self { suffix, ttl_s: ttl.as_secs() as u32, hosts: hosts.collect() })
    }

    /// The answer to a question of a member, and what became of it; nothing where it is no question.
    pub(crate) fn answer(
        &self,
        table: &RouteTable,
        member: MemberId,
        question: &[u8],
        carrier: Carrier,
        now: DateTime<Utc>,
    ) -> Option<(Vec<u8>, Outcome)> {
        const HEADER: usize = 12;
        const IS_RESPONSE: u8 = 0x80;
        // An answer to an answer would go back and forth for ever.
        if question.len() < HEADER || question[2] & IS_RESPONSE != 0 {
            return None;
        }
        let Ok(asked) = Message::from_vec(question) else {
            let id = u16::from_be_bytes([question[0], question[1]]);
            let answer = Message::error_msg(id, OpCode::Query, ResponseCode::FormErr);
            return Some((answer.to_vec().ok()?, Outcome::Malformed));
        };
        let mut answer = Message::new(asked.metadata.id, MessageType::Response, asked.metadata.op_code);
        answer.metadata = Metadata::response_from_request(&asked.metadata);
        let outcome = match &asked.queries[..] {
            _ if asked.metadata.op_code != OpCode::Query => Outcome::Refused,
            [query] => {
                answer.add_query(query.clone());
                self.fill(&mut answer, table, member, query, now)
            }
            _ => Outcome::Malformed,
        };
        answer.metadata.response_code = match outcome {
            Outcome::Refused if asked.metadata.op_code != OpCode::Query => ResponseCode::NotImp,
            outcome => outcome.code(),
        };
        let mut payload = PLAIN_PAYLOAD;
        if let Some(edns) = &asked.edns {
            payload = edns.max_payload().clamp(PLAIN_PAYLOAD, MAX_PAYLOAD);
            let mut own = Edns::new();
            own.set_max_payload(MAX_PAYLOAD);
            if edns.version() > 0 {
                // RFC 6891 §6.1.3: only version 0 is spoken here.
                answer.metadata.response_code = ResponseCode::BADVERS;
                answer.answers.clear();
            }
            answer.set_edns(own);
        }
        let octets = answer.to_vec().ok()?;
        if carrier == Carrier::Udp && octets.len() > usize::from(payload) {
            return Some((answer.truncate().to_vec().ok()?, outcome));
        }
        Some((octets, outcome))
    }

    /// Puts the records into the answer.
    fn fill(
        &self,
        answer: &mut Message,
        table: &RouteTable,
        originating_member: MemberId,
        query: &Query,
        now: DateTime<Utc>,
    ) -> Outcome {
        if table.is_unloaded() {
            return Outcome::NotReady;
        }
        let is_approved = |id| table.member(id).is_some_and(|member| member.state == MemberState::Approved);
        if !is_approved(originating_member)
            || query.query_class() != DNSClass::IN
            || !self.suffix.zone_of(query.name())
        {
            return Outcome::Refused;
        }
        answer.metadata.authoritative = true;
        let outcome = match self.number(query.name()) {
            Asked::Above => Outcome::NoData,
            Asked::Nothing => Outcome::NoRoute,
            Asked::Number(called) => {
                let call = CallRequest { originating_member, called, dip: None, site: None, draw: 0 };
                // A number that a call to it would be refused for has no route either.
                let has_route = called.has_possible_length() && select(table, &call, now).refusal().is_none();
                match query.query_type() {
                    // A name that does not exist has none beneath it (RFC 8020): a resolver that asks digit by digit
                    // would not go on.
                    _ if !has_route && table.announces_beneath(called.into()) => Outcome::NoData,
                    _ if !has_route => Outcome::NoRoute,
                    RecordType::NAPTR | RecordType::ANY => {
                        answer.add_answers(self.records(query.name(), called));
                        Outcome::Answered
                    }
                    _ => Outcome::NoData,
                }
            }
        };
        let is_about_zone = *query.name() == self.suffix && query.query_type() == RecordType::SOA;
        if is_about_zone {
            answer.add_answer(self.soa(table.version()));
            return Outcome::Answered;
        }
        if outcome != Outcome::Answered {
            // It says how long there being nothing may be remembered (RFC 2308 §3).
            answer.add_authority(self.soa(table.version()));
        }
        outcome
    }

    /// The number that a name stands for: its digits in reverse order, each a label (RFC 6116 §3.2).
    fn number(&self, name: &Name) -> Asked {
        let (labels, suffix) = (name.iter().count(), self.suffix.iter().count());
        let mut digits = String::new();
        for label in name.iter().take(labels - suffix) {
            match label {
                [digit @ b'0'..=b'9'] => digits.insert(0, char::from(*digit)),
                _ => return Asked::Nothing,
            }
        }
        match digits.parse() {
            Ok(number) => Asked::Number(number),
            Err(_) if digits.len() < MIN_DIGITS && !digits.starts_with('0') => Asked::Above,
            Err(_) => Asked::Nothing,
        }
    }

    /// One record for each listener, in their order (RFC 6116 §3.4, RFC 3764 §4).
    fn records(&self, name: &Name, called: E164) -> impl Iterator<Item = Record> {
        self.hosts.iter().zip(1_u16..).map(move |(host, position)| {
            let regexp = format!("!^.*$!sip:{called}@{host};user=phone!");
            let (flags, service) = (b"u".as_slice().into(), b"E2U+sip".as_slice().into());
            let regexp = regexp.into_bytes().into();
            let naptr = NAPTR::new(100, 10 * position, flags, service, regexp, Name::root());
            Record::from_rdata(name.clone(), self.ttl_s, RData::NAPTR(naptr))
        })
    }

    fn soa(&self, version: u64) -> Record {
        let ttl = self.ttl_s as i32;
        let mailbox = self.suffix.prepend_label("hostmaster").expect("the suffix leaves room");
        let soa = SOA::new(self.suffix.clone(), mailbox, version as u32, ttl, ttl, ttl, self.ttl_s);
        Record::from_rdata(self.suffix.clone(), self.ttl_s, RData::SOA(soa))
    }
}

/// What a name under the suffix stands for.
enum Asked {
    /// A full number.
    Number(E164),
    /// The suffix itself, or so few digits that numbers lie beneath it.
    Above,
    /// No number.
    Nothing,
}

/// Host, port where it is not the usual one, and transport where it is not UDP, as in a URI (RFC 3261 §19.1.1).
fn host(transport: Transport, address: SocketAddr) -> String {
    let usual = if transport == Transport::Tls { 5061 } else { 5060 };
    let host = match address {
        _ if address.port() != usual => address.to_string(),
        SocketAddr::V4(address) => address.ip().to_string(),
        SocketAddr::V6(address) => format!("[{}]", address.ip()),
    };
    match transport {
        Transport::Udp => host,
        Transport::Tcp | Transport::Tls => format!("{host};transport={}", transport.as_str()),
    }
}
