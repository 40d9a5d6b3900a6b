//! What two nodes compare to know that they route alike: one hash over all facts.
//!
//! Each object is hashed in a canonical form by a function that never changes between runs, machines or
//! releases; the hash of a table is the sum of its objects' hashes. A sum does not depend on the order, and
//! an update takes out the old object and puts in the new one. It guards against mistakes, not against
//! somebody who searches for collisions.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tandem_model::{
    Access, AdvanceOn, Agreement, AgreementDirection, AgreementState, AgreementTerms, BlockList, CallLimits,
    Club, Credential, Endpoint, Member, MemberState, Policy, TransitOffer, Transport, Validity,
};
use uuid::Uuid;

use crate::sources::canonical;
use crate::terms::{ENDLESS, nanos};

/// 128 bits that are equal where two tables hold the same facts. Text form: 32 hexadecimal digits; a number where people do
/// not read it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableHash(u128);

impl TableHash {
    pub(crate) fn add(&mut self, object: u128) {
        self.0 = self.0.wrapping_add(object);
    }

    pub(crate) fn take(&mut self, object: u128) {
        self.0 = self.0.wrapping_sub(object);
    }

    /// The hash of this and of a text after it: of a plan for this table, or of what came of it.
    #[must_use]
    pub fn followed_by(self, text: &str) -> Self {
        Self(Digest::of(kind::FOLLOWED).wide(self.0).text(text).finish())
    }

    /// Of two sums, the sum.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self(self.0.wrapping_add(other.0))
    }

    pub(crate) fn minus(self, other: Self) -> Self {
        Self(self.0.wrapping_sub(other.0))
    }
}

impl fmt::Display for TableHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for TableHash {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u128::from_str_radix(text, 16).map(Self)
    }
}

impl<'de> Deserialize<'de> for TableHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return u128::deserialize(deserializer).map(Self);
        }
        let text = Cow::<'_, str>::deserialize(deserializer)?;
        text.parse().map_err(|_| serde::de::Error::custom(format!("{text:?} is no hash of a route table")))
    }
}

impl Serialize for TableHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_u128(self.0)
        }
    }
}

/// Folds words into 128 bits; each step is a bijection of the state, so that no word is ever lost.
#[derive(Clone, Copy)]
pub(crate) struct Digest(u128);

impl Digest {
    /// Begins an object; the kind keeps a range from having the hash of an agreement.
    pub(crate) fn of(kind: u64) -> Self {
        Self(0x74616e64_656d2d72_6f757465_2d763031).word(kind)
    }

    #[must_use]
    pub(crate) fn word(self, word: u64) -> Self {
        let product = (self.0 ^ u128::from(word)).wrapping_mul(0x2360ed05_1fc65da4_4385df64_9fccf645);
        Self(product ^ (product >> 64))
    }

    #[must_use]
    pub(crate) fn wide(self, value: u128) -> Self {
        self.word(value as u64).word((value >> 64) as u64)
    }

    #[must_use]
    pub(crate) fn id(self, id: Uuid) -> Self {
        self.wide(id.as_u128())
    }

    #[must_use]
    pub(crate) fn text(self, text: &str) -> Self {
        text.as_bytes().chunks(8).fold(self.word(text.len() as u64), |digest, chunk| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            digest.word(u64::from_le_bytes(word))
        })
    }

    #[must_use]
    fn option(self, value: Option<u64>) -> Self {
        match value {
            None => self.word(0),
            Some(value) => self.word(1).word(value),
        }
    }

    #[must_use]
    fn validity(self, validity: &Validity) -> Self {
        self.word(nanos(validity.from) as u64).word(validity.until.map_or(ENDLESS, nanos) as u64)
    }

    /// Nothing where there are none, so that facts from before there were limits keep their hash.
    #[must_use]
    pub(crate) fn limits(self, limits: CallLimits) -> Self {
        match limits {
            CallLimits::NONE => self,
            CallLimits { max_calls, max_calls_per_second } => {
                self.option(max_calls.map(u64::from)).option(max_calls_per_second.map(u64::from))
            }
        }
    }

    /// Nothing where there is none, as with limits.
    #[must_use]
    fn advance_on(self, advance_on: Option<&AdvanceOn>) -> Self {
        let Some(AdvanceOn { statuses, causes }) = advance_on else { return self };
        let digest = self.text("advance_on").word(statuses.len() as u64);
        let digest = statuses.iter().fold(digest, |digest, status| digest.word(u64::from(*status)));
        causes.iter().fold(digest, |digest, cause| digest.word(u64::from(*cause)))
    }

    /// Nothing where there are none, as with limits.
    #[must_use]
    fn terms(self, terms: Option<&AgreementTerms>) -> Self {
        let Some(terms) = terms else { return self };
        self.text("terms").text(&serde_json::to_string(terms).expect("terms are JSON"))
    }

    /// Nothing where there are none, as with limits.
    #[must_use]
    pub(crate) fn texts(self, texts: &[String]) -> Self {
        // A set, too.
        let sorted: std::collections::BTreeSet<&str> = texts.iter().map(String::as_str).collect();
        sorted.into_iter().fold(self, |digest, text| digest.text(text))
    }

    /// Nothing for the policy that says nothing.
    #[must_use]
    pub(crate) fn policy(self, policy: &Policy) -> Self {
        if *policy == Policy::default() {
            return self;
        }
        self.text(&serde_json::to_string(policy).expect("a policy is JSON"))
    }

    /// Nothing where there are none, as with limits. A credential's id says what it is; it is another each time that the
    /// credential is. Registrations come and go at each node a moment apart, and are no part of it.
    #[must_use]
    fn access(self, access: &Access) -> Self {
        let credential = |digest: Self, credential: &Credential| {
            digest.id(credential.credential_id.0).text(&credential.realm).text(&credential.username)
        };
        let digest = access.inbound.iter().fold(self, |digest, it| credential(digest.word(1), it));
        let outbound = access.outbound.iter();
        outbound
            .fold(digest, |digest, it| credential(digest.word(2 + u64::from(it.registers)), &it.credential))
    }

    pub(crate) fn finish(self) -> u128 {
        self.word(0).word(0).0
    }
}

/// The kinds of objects; [`Digest::of`] begins with one.
pub(crate) mod kind {
    pub(crate) const MEMBER: u64 = 1;
    pub(crate) const ENDPOINT: u64 = 2;
    pub(crate) const RANGE: u64 = 3;
    pub(crate) const ANNOUNCEMENT: u64 = 4;
    pub(crate) const AGREEMENT: u64 = 5;
    pub(crate) const ANNOUNCED_TERMS: u64 = 6;
    pub(crate) const HELD_TERMS: u64 = 7;
    pub(crate) const FOLLOWED: u64 = 8;
    pub(crate) const CLUB: u64 = 9;
    pub(crate) const TRANSIT_OFFER: u64 = 10;
    pub(crate) const RATE_DECK: u64 = 11;
    pub(crate) const BLOCK_LIST: u64 = 12;
}

// The numbers below are part of the hash: a new variant takes a new one, none is used again.

pub(crate) fn member(member: &Member) -> u128 {
    let state = match member.state {
        MemberState::Applied => 0,
        MemberState::Approved => 1,
        MemberState::Suspended => 2,
    };
    let digest = Digest::of(kind::MEMBER).id(member.member_id.0).text(&member.name).word(state);
    digest.limits(member.limits).finish()
}

pub(crate) fn endpoint(endpoint: &Endpoint) -> u128 {
    let (target, transport) = match endpoint.target.literal() {
        Some((address, transport)) => (address.to_string(), Some(transport)),
        None => (endpoint.target.to_string(), endpoint.target.transport),
    };
    let transport = match transport {
        Some(Transport::Udp) => 0,
        Some(Transport::Tcp) => 1,
        Some(Transport::Tls) => 2,
        None => 3,
    };
    // Sources are a set: the order in which the database gives them says nothing.
    let sources = endpoint.sources.iter().fold(0_u128, |sum, source| {
        let net = canonical(source.net);
        let port = source.port.map(u64::from);
        sum.wrapping_add(Digest::of(kind::ENDPOINT).text(&net.to_string()).option(port).finish())
    });
    let digest = Digest::of(kind::ENDPOINT)
        .id(endpoint.endpoint_id.0)
        .id(endpoint.member_id.0)
        .text(&endpoint.name)
        .wide(sources)
        .text(&target)
        .word(transport)
        .word(endpoint.priority.into())
        .word(endpoint.weight.into())
        .option(endpoint.max_calls.map(u64::from))
        .option(endpoint.max_calls_per_second.map(u64::from))
        .word(endpoint.enabled.into())
        .texts(&endpoint.certificate_names)
        .texts(&endpoint.sites)
        .policy(&endpoint.policy)
        .access(&endpoint.access);
    // Without a mark it is as it was before there were any.
    match &endpoint.call_mark {
        Some(mark) => digest.text(&mark.to_string()).finish(),
        None => digest.finish(),
    }
}

pub(crate) fn agreement(agreement: &Agreement) -> u128 {
    let direction = match agreement.direction {
        AgreementDirection::Both => 0,
        AgreementDirection::ToAccepting => 1,
        AgreementDirection::ToProposing => 2,
    };
    let state = match agreement.state {
        AgreementState::Proposed => 0,
        AgreementState::Accepted => 1,
        AgreementState::Refused => 2,
        AgreementState::Ended => 3,
        AgreementState::Countered => 4,
        AgreementState::Suspended => 5,
        AgreementState::Ending => 6,
    };
    let digest = Digest::of(kind::AGREEMENT)
        .id(agreement.agreement_id.0)
        .id(agreement.proposing_member.0)
        .id(agreement.accepting_member.0)
        .word(direction)
        .word(state);
    match &agreement.validity {
        None => digest.word(0),
        Some(validity) => digest.word(1).validity(validity),
    }
    .limits(agreement.limits)
    .advance_on(agreement.advance_on.as_ref())
    .terms(agreement.terms.as_deref())
    .finish()
}

/// Its members are sorted, each once.
pub(crate) fn club(club: &Club) -> u128 {
    let digest = Digest::of(kind::CLUB).id(club.agreement_id.0).word(club.members.len() as u64);
    club.members
        .iter()
        .fold(digest, |digest, member| digest.id(member.0))
        .limits(club.limits)
        .advance_on(club.advance_on.as_ref())
        .terms(club.terms.as_deref())
        .finish()
}

/// Its endpoints are sorted, each once.
pub(crate) fn transit_offer(offer: &TransitOffer) -> u128 {
    let digest = Digest::of(kind::TRANSIT_OFFER)
        .id(offer.announcement_id.0)
        .id(offer.member_id.0)
        .id(offer.rate_deck.0)
        .word(offer.endpoints.len() as u64);
    let digest = offer.endpoints.iter().fold(digest, |digest, endpoint| digest.id(endpoint.0));
    let digest = digest
        .validity(&offer.validity)
        .word(offer.is_permitted.into())
        .word(offer.preference.into())
        .limits(offer.limits)
        .word(offer.tags.len() as u64);
    let digest = offer.tags.iter().fold(digest, |digest, tag| digest.text(tag.as_str()));
    let quality = offer.quality.into_iter();
    quality
        .fold(digest, |digest, it| {
            digest.word(it.asr_percent.into()).word(it.ner_percent.into()).word(it.pdd_ms.into())
        })
        .finish()
}

/// Its prefixes are sorted, each once.
pub(crate) fn block_list(list: &BlockList) -> u128 {
    let digest = list.member_id.into_iter().fold(Digest::of(kind::BLOCK_LIST), |digest, it| digest.id(it.0));
    list.prefixes.iter().fold(digest, |digest, prefix| digest.word(prefix.value())).finish()
}

#[cfg(test)]
mod tests {
    use ipnet::IpNet;
    use tandem_model::{MemberId, Source};

    use super::*;
    use crate::exchange::exchange;

    fn acme() -> Member {
        Member {
            member_id: MemberId(Uuid::from_u128(1)),
            name: "acme".into(),
            state: MemberState::Approved,
            limits: CallLimits::NONE,
        }
    }

    #[test]
    fn the_hash_of_the_same_facts_is_the_same_in_every_build() {
        // A node of another release computes it too: where this fails, the hash has changed, not the test.
        let exchange = exchange("+4420 acme one/10/20 two/10/30 | +44 globex");
        let exchange = exchange
            .with(|x| x.endpoint("one").sources = vec!["192.0.2.21/32".parse().map(any_port).unwrap()]);
        assert_eq!(exchange.table().hash().to_string(), "06e58859ec95d1f4f79bfbcf42ffd6f0");
    }

    #[test]
    fn the_order_of_sources_and_endpoints_changes_nothing() {
        let nets = ["192.0.2.1/32", "2001:db8::/32"].map(|net| net.parse().map(any_port).unwrap());
        let mut exchange = exchange("+4420 acme one two");
        exchange.endpoint("one").sources = nets.to_vec();
        let hash = exchange.table().hash();
        exchange.endpoint("one").sources.reverse();
        exchange.announcement("+4420", "acme").endpoints.reverse();
        assert_eq!(exchange.table().hash(), hash);
    }

    fn any_port(net: IpNet) -> Source {
        Source { net, port: None }
    }

    #[test]
    fn a_list_of_failures_changes_the_hash_wherever_a_number_stands_in_it() {
        let mut seen = std::collections::HashSet::from([exchange("+4420 acme").table().hash()]);
        for (statuses, causes) in
            [(vec![], vec![]), (vec![500], vec![]), (vec![500], vec![34]), (vec![], vec![34])]
        {
            let list = AdvanceOn::new(statuses.into_iter().collect(), causes.into_iter().collect()).unwrap();
            let exchange = exchange("+4420 acme").with(|x| x.agreement("acme").advance_on = Some(list));
            assert!(seen.insert(exchange.table().hash()));
        }
    }

    #[test]
    fn any_field_changes_the_hash_and_taking_an_object_out_restores_it() {
        let before = TableHash(17);
        let suspended = Member { state: MemberState::Suspended, ..acme() };
        let renamed = Member { name: "acme2".into(), ..acme() };
        let few = Member { limits: CallLimits { max_calls: Some(1), ..CallLimits::NONE }, ..acme() };
        let slow =
            Member { limits: CallLimits { max_calls_per_second: Some(1), ..CallLimits::NONE }, ..acme() };
        let mut seen = std::collections::HashSet::new();
        for object in [acme(), suspended, renamed, few, slow].map(|it| member(&it)) {
            let mut hash = before;
            hash.add(object);
            assert!(seen.insert(hash));
            hash.take(object);
            assert_eq!(hash, before);
        }
    }
}
