//! Which endpoint a message comes from. In this order:
//!
//! 1. the endpoint from whose source address it comes;
//! 2. the one that has registered from that very address and port;
//! 3. for REGISTER, and for an INVITE that begins a call, the one whose user name and password its sender proves to
//!    know by digest (RFC 3261 §22, RFC 8760).
//!
//! Whoever is none of these is a stranger and gets no answer at all, with one exception: a REGISTER, or an INVITE
//! that begins a call, whose Request-URI names a realm in which an endpoint has a user name. It is answered with one
//! 401 that nothing is kept of, at most [`GROWTH`] times as long as the question and at most so many a second as
//! `source_guard` allows. Who scans addresses does not know the realm, and where nobody has a user name there is
//! none. The challenge is the same whether there is such a user or not, and so is the answer to a wrong password.

use std::net::{IpAddr, SocketAddr};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use ahash::AHashMap;
use chrono::{DateTime, Utc};
use rand::Rng;
use tandem_model::credential::MD5_REALM;
use tandem_model::{Endpoint, Ha1, Reason, Transport};
use tandem_routing::RouteTable;
use tandem_sip::transaction::timer::T1;
use tandem_sip::{Message, Method, Uri};

use crate::digest::{self, Algorithm, Answer};
use crate::leg::format_tag;
use crate::nonce::{Nonces, Unfit};
use crate::transaction::Fingerprint;
use crate::worker::{Arrival, Now, Worker};

/// How many times as long as its question the answer to a stranger may be.
const GROWTH: usize = 2;

/// Most addresses that are remembered for what they proved.
const MAX_ACQUAINTANCES: usize = 16_384;

/// How long an address is spoken to after a proof: as long as its transactions may last. What it wants to begin
/// needs a proof again.
const ACQUAINTED: Duration = T1.saturating_mul(2 * 64);

/// How much of a message its first line may take for the hub to look for a realm in it.
const FIRST_LINE: usize = 256;

/// Whose password nobody knows.
const NOBODY: Ha1 = Ha1 { sha256: [0; 32], md5: [0; 16] };

/// Why the sender of a request has not proved who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unproven {
    /// It has not been asked yet.
    Unasked,
    /// The user name or the password is wrong.
    Wrong,
    /// The proof is right and its nonce too old.
    Stale,
    /// The proof is right and was used before.
    Replayed,
    /// Its address has been wrong too often; it gets no answer for a while.
    Banned,
}

impl Unproven {
    /// All of them, for the metrics.
    pub(crate) const ALL: [Self; 5] = [Self::Unasked, Self::Wrong, Self::Stale, Self::Replayed, Self::Banned];

    /// As a metric's label.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Unasked => "unasked",
            Self::Wrong => "wrong",
            Self::Stale => "stale",
            Self::Replayed => "replayed",
            Self::Banned => "banned",
        }
    }
}

/// The endpoint from whose address a message comes, or that has registered from there.
pub(crate) fn endpoint_at(
    table: &RouteTable,
    source: SocketAddr,
    transport: Transport,
    now: DateTime<Utc>,
) -> Option<&Endpoint> {
    table.endpoint_from(source).or_else(|| table.endpoint_registered_at(source, transport, now))
}

/// Addresses from which somebody proved lately who it is: its ACK or CANCEL is to be heard, though it has no leg any
/// more.
#[derive(Debug, Default)]
pub(crate) struct Acquaintances {
    until: RwLock<AHashMap<IpAddr, Instant>>,
}

impl Acquaintances {
    /// Somebody at `ip` proved who it is.
    fn add(&self, ip: IpAddr, now: Instant) {
        let mut all = self.until.write().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MAX_ACQUAINTANCES && !all.contains_key(&ip) {
            all.retain(|_, until| now < *until);
            if all.len() >= MAX_ACQUAINTANCES {
                return;
            }
        }
        all.insert(ip, now + ACQUAINTED);
    }

    /// Whether somebody there proved lately who it is.
    pub(crate) fn contains(&self, ip: IpAddr, now: Instant) -> bool {
        let all = self.until.read().unwrap_or_else(PoisonError::into_inner);
        all.get(&ip).is_some_and(|until| now < *until)
    }
}

/// The realm of the exchange that a request's Request-URI names.
pub(crate) fn realm_of(table: &RouteTable, request: &Message<'_>) -> Option<String> {
    let host = Uri::parse(request.request()?.uri).ok()?.host;
    table.is_realm(host).then(|| String::from_utf8_lossy(host).to_ascii_lowercase())
}

/// Whether octets begin like a request by which a stranger may make itself known.
pub(crate) fn is_introduction(table: &RouteTable, octets: &[u8]) -> bool {
    if !table.has_usernames() {
        return false;
    }
    let start = &octets[..octets.len().min(FIRST_LINE)];
    let line = memchr::memchr(b'\r', start).map(|end| &start[..end]).unwrap_or_default();
    let mut words = line.split(|&octet| octet == b' ');
    let is_begun = matches!(words.next(), Some(b"REGISTER" | b"INVITE"));
    let uri = words.next().filter(|_| is_begun).and_then(|uri| Uri::parse(uri).ok());
    uri.is_some_and(|uri| table.is_realm(uri.host))
}

impl Worker {
    /// The endpoint whose password the sender of a request proves to know. Where it does not, it has been told so as
    /// far as it may be, and `None` comes back.
    pub(crate) fn authenticate<'t>(
        &mut self,
        now: Now,
        table: &'t RouteTable,
        arrival: Arrival,
        request: &Message<'_>,
        fingerprint: Fingerprint,
    ) -> Option<&'t Endpoint> {
        let (Some(realm), Some(line)) = (realm_of(table, request), request.request()) else {
            self.wire.metrics.count_drop(Reason::UnknownSource);
            return None;
        };
        let ip = arrival.source.ip();
        if self.guard.guesses_too_often(ip, now.instant) {
            self.wire.metrics.count_unproven(Unproven::Banned);
            return None;
        }
        let answer = Answer::of(request, |named| named == realm.as_bytes());
        let outcome = match &answer {
            None => Err(Unproven::Unasked),
            Some(answer) => self.prove(now, table, ip, line.method, answer),
        };
        match outcome {
            Ok(endpoint) => {
                self.share.common.acquaintances.add(ip, now.instant);
                Some(endpoint)
            }
            Err(why) => {
                self.wire.metrics.count_unproven(why);
                let is_reachable = answer.is_some_and(|answer| self.nonces(now).is_own(answer.nonce, ip));
                self.challenge(now, arrival, request, fingerprint, &realm, why, is_reachable);
                None
            }
        }
    }

    fn nonces(&mut self, now: Now) -> &Nonces {
        let Self { share, rng, .. } = self;
        share.common.nonces.get_or_init(|| {
            let mut key = [0; 32];
            rng.fill_bytes(&mut key);
            Nonces::new(key, now.instant)
        })
    }

    fn prove<'t>(
        &mut self,
        now: Now,
        table: &'t RouteTable,
        ip: IpAddr,
        method: Method<'_>,
        answer: &Answer<'_>,
    ) -> Result<&'t Endpoint, Unproven> {
        let endpoint = table.endpoint_named(answer.realm, answer.username);
        // For a user that is not there the same work is done.
        let secret = endpoint.and_then(|it| it.access.inbound.as_ref()).map_or(&NOBODY, |it| &it.ha1);
        // The URI in it is not held against the Request-URI: many switches put the hub's address there.
        let is_right = answer.is_right(method.as_bytes(), secret);
        let Some(endpoint) = endpoint.filter(|_| is_right) else {
            self.guard.note_guess(ip, now.instant);
            return Err(Unproven::Wrong);
        };
        match self.nonces(now).take(answer.nonce, answer.count(), ip, now.instant) {
            Ok(()) => Ok(endpoint),
            Err(Unfit::Stale) => Err(Unproven::Stale),
            Err(Unfit::Replayed) => Err(Unproven::Replayed),
        }
    }

    /// Asks the sender of a request who it is, without keeping anything of it.
    #[expect(clippy::too_many_arguments, reason = "they are what the challenge is")]
    fn challenge(
        &mut self,
        now: Now,
        arrival: Arrival,
        request: &Message<'_>,
        fingerprint: Fingerprint,
        realm: &str,
        why: Unproven,
        is_reachable: bool,
    ) {
        // Who answers a nonce that was sent there is no forged address.
        if self.is_stranger && !is_reachable && !self.guard.challenges_stranger(now.instant) {
            return self.wire.metrics.count_drop(Reason::UnknownSource);
        }
        let number = self.rng.next_u64();
        let nonce = self.nonces(now).make(arrival.source.ip(), number, now.instant);
        let stale = matches!(why, Unproven::Stale | Unproven::Replayed);
        let tag = format_tag(self.share.mint(fingerprint.0[0]));
        let octets = self.build_response(request, arrival.reply, 401, Some(tag.as_bytes()), |writer| {
            let skipped = usize::from(realm.starts_with(MD5_REALM));
            for algorithm in Algorithm::ALL.into_iter().skip(skipped) {
                writer.header("WWW-Authenticate", digest::challenge(algorithm, realm, &nonce, stale));
            }
        });
        if self.is_stranger && octets.len() > GROWTH * request.octets().len() {
            return self.wire.metrics.count_drop(Reason::UnknownSource);
        }
        self.wire.metrics.challenges.inc();
        self.wire.outbox.push(arrival.reply, octets);
    }
}
