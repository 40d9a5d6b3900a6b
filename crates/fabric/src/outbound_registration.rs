//! The hub registers at members' switches that want it (RFC 3261 §10.2): the first worker of each node does, under the
//! user name that the member gave it, and again before half of the time is over.
//!
//! Where a switch refuses or is silent it is asked again after a while, at first after half a minute and then more
//! and more seldom (RFC 5626 §4.5).

use std::time::{Duration, Instant};

use rand::Rng;
use tandem_model::credential::is_own_realm;
use tandem_model::{EndpointId, SessionTimer};
use tandem_sip::{Message, Method, Name, NameAddr, Writer};

use crate::leg::format_tag;
use crate::outbox::Octets;
use crate::session::write_timer;
use crate::timer::{TimerHandle, Wake};
use crate::transaction::{Outgoing, User, format_branch};
use crate::worker::{Now, Worker};

/// How long the hub wants to be registered, in seconds.
const EXPIRES_S: u32 = 600;

/// Shortest and longest time that a switch may make of it, in seconds.
const SHORTEST_S: u32 = 30;
const LONGEST_S: u32 = 3_600;

/// Time between two looks at what is due.
const LOOK: Duration = Duration::from_secs(1);

/// Wait after the first failure; it doubles up to [`LONGEST_WAIT`], and half of it is by chance.
const FIRST_WAIT: Duration = Duration::from_secs(30);
const LONGEST_WAIT: Duration = Duration::from_secs(1_800);

/// One registration of the hub.
#[derive(Debug)]
struct Place {
    endpoint: EndpointId,
    call_id: String,
    from_tag: u64,
    cseq: u32,
    /// How long the switch is asked for.
    expires_s: u32,
    /// When the next REGISTER leaves; `None` while one is under way.
    next_at: Option<Instant>,
    failures: u32,
    is_registered: bool,
}

/// The registrations of a worker.
#[derive(Debug, Default)]
pub(crate) struct OutboundRegistrations {
    places: Vec<Place>,
    timer: TimerHandle,
}

impl OutboundRegistrations {
    /// The endpoint at which a registration is.
    pub(crate) fn endpoint(&self, place: u32) -> Option<EndpointId> {
        self.places.get(place as usize).map(|place| place.endpoint)
    }
}

impl Worker {
    /// Sees to it that what is to be registered is looked after. Call it with each new table.
    pub(crate) fn watch_registrations(&mut self, now: Now) {
        let is_wanted = self.share.index == 0 && self.table.registering().next().is_some();
        if is_wanted && self.outbound.timer == TimerHandle::NONE {
            self.outbound.timer = self.wire.timers.set(now.instant, Wake::OutboundRegistrations);
        }
    }

    /// Sends every REGISTER that is due.
    pub(crate) fn register_outbound(&mut self, now: Now) {
        self.outbound.timer = TimerHandle::NONE;
        let table = self.table.clone();
        if table.registering().next().is_none() {
            return; // What is left over there expires.
        }
        for endpoint in table.registering() {
            if self.outbound.places.iter().any(|place| place.endpoint == endpoint) {
                continue;
            }
            let (call_id, from_tag) = (format_tag(self.mint()), self.mint());
            self.outbound.places.push(Place {
                endpoint,
                call_id,
                from_tag,
                cseq: 0,
                expires_s: EXPIRES_S,
                next_at: Some(now.instant),
                failures: 0,
                is_registered: false,
            });
        }
        for index in 0..self.outbound.places.len() {
            let place = &self.outbound.places[index];
            if place.next_at.is_some_and(|at| at <= now.instant) && !self.send_register(now, index as u32) {
                self.registration_failed(now, index as u32);
            }
        }
        self.outbound.timer = self.wire.timers.set(now.instant + LOOK, Wake::OutboundRegistrations);
    }

    /// Sends a REGISTER; false where the endpoint does not want one, or there is no way to it.
    fn send_register(&mut self, now: Now, index: u32) -> bool {
        let table = self.table.clone();
        let place = &mut self.outbound.places[index as usize];
        let endpoint = table.endpoint(place.endpoint).filter(|endpoint| endpoint.enabled);
        let outbound = endpoint.and_then(|it| it.access.outbound.as_ref()).filter(|it| it.registers);
        let (Some(endpoint), Some(outbound)) = (endpoint, outbound) else { return false };
        place.cseq += 1;
        place.next_at = None;
        let (cseq, expires_s, tag) = (place.cseq, place.expires_s, format_tag(place.from_tag));
        let call_id = place.call_id.clone();
        let Ok((flow, _)) = self.destinations(endpoint, now) else { return false };
        let branch = self.mint();
        let local = &self.locals[usize::from(flow.listener)];
        let credential = &outbound.credential;
        // A realm that can be a domain is the one that is registered at (RFC 3261 §22.4).
        let domain = match is_own_realm(&credential.realm) && credential.realm.contains('.') {
            true => credential.realm.clone(),
            false => flow.remote.to_string(),
        };
        let address = format!("<sip:{}@{domain}>", credential.username);
        let contact = local.contact_to(&endpoint.policy).replacen(
            "<sip:",
            &format!("<sip:{}@", credential.username),
            1,
        );
        let uri = format!("sip:{domain}");
        let mut writer = Writer::request(&mut self.scratch, Method::Register, uri.as_bytes());
        let via = flow.transport.as_via();
        writer.header(
            "Via",
            format_args!("SIP/2.0/{via} {};rport;branch={}", local.host, format_branch(branch)),
        );
        writer.header("Max-Forwards", 70);
        writer.header("From", format_args!("{address};tag={tag}"));
        writer.header("To", &address);
        writer.header("Call-ID", format_args!("{call_id}@{}", local.host));
        writer.header("CSeq", format_args!("{cseq} REGISTER"));
        writer.header("Contact", contact);
        writer.header("Expires", expires_s);
        write_timer(&mut writer, endpoint.policy.session.timer != SessionTimer::Off);
        writer.finish(None, b"");
        let outgoing = Outgoing { branch, flow, octets: Octets::from(self.scratch.as_slice()) };
        let user = User::Registration(index);
        self.transactions.open_client(&mut self.wire, now.instant, Method::Register, outgoing, user);
        true
    }

    /// A switch answered a REGISTER.
    pub(crate) fn registration_response(
        &mut self,
        now: Now,
        index: u32,
        response: &Message<'_>,
        status: u16,
    ) {
        if status < 200 {
            return;
        }
        let wait = self.rng.next_u32() % 1_000;
        let Some(place) = self.outbound.places.get_mut(index as usize) else { return };
        if let Ok(cseq) = response.cseq() {
            place.cseq = place.cseq.max(cseq.number); // A proof took a number, too.
        }
        match status {
            200..=299 => {
                let granted_s = granted_s(response, place.expires_s);
                if !place.is_registered {
                    tracing::info!(endpoint = %place.endpoint, expires_s = granted_s, "registered at a member's switch");
                }
                (place.failures, place.is_registered) = (0, true);
                let half = Duration::from_secs(u64::from(granted_s)) / 2;
                place.next_at = Some(now.instant + half.mul_f64(1.0 - f64::from(wait) / 10_000.0));
            }
            423 if place.failures == 0 => {
                let wanted = response.header(Name::MinExpires).and_then(number);
                place.expires_s = wanted.unwrap_or(LONGEST_S).clamp(EXPIRES_S, LONGEST_S);
                place.failures = 1;
                place.next_at = Some(now.instant);
            }
            _ => {
                tracing::warn!(endpoint = %place.endpoint, status, "a member's switch refuses the hub's registration");
                self.registration_failed(now, index);
            }
        }
    }

    /// A REGISTER was refused, or not answered: it is sent again later.
    pub(crate) fn registration_failed(&mut self, now: Now, index: u32) {
        let draw = f64::from(self.rng.next_u32()) / f64::from(u32::MAX);
        let Some(place) = self.outbound.places.get_mut(index as usize) else { return };
        let wait = FIRST_WAIT.saturating_mul(1 << place.failures.min(6)).min(LONGEST_WAIT);
        place.failures = place.failures.saturating_add(1);
        place.is_registered = false;
        place.next_at = Some(now.instant + wait.mul_f64(0.5 + draw / 2.0));
    }
}

fn number(text: &[u8]) -> Option<u32> {
    std::str::from_utf8(text.trim_ascii()).ok()?.parse().ok()
}

/// For how long a switch has registered the hub, in seconds: as its Contact says, or else Expires, or as it was asked.
fn granted_s(response: &Message<'_>, asked_s: u32) -> u32 {
    let contacts = response.values(Name::Contact).filter_map(|value| NameAddr::parse(value).ok());
    // Where there are others they are of other nodes, and about as long.
    let own = contacts.filter_map(|contact| contact.param("expires").flatten().and_then(number)).min();
    let granted_s = own.or_else(|| response.header(Name::Expires).and_then(number));
    granted_s.unwrap_or(asked_s).clamp(SHORTEST_S, LONGEST_S)
}
