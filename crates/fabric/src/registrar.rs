//! Where endpoints are that say so themselves: REGISTER (RFC 3261 §10.3, SIPconnect 2.0 registration mode).
//!
//! An endpoint is one SIP address of its member, so it has one binding and a newer one replaces it: a switch behind
//! an address that changes is reached at the new one with its next REGISTER. Calls go to where the REGISTER came
//! from, by the listener that it came to, and over the same connection where it came by one; where its Contact leads
//! is only what the Request-URI says. Whoever registers for all its numbers at once (RFC 6140 `bnc`, or a Contact
//! without a user) finds the called number in there.
//!
//! A binding holds at once for the whole node, since it is put into the route table; [`RegistrationWriter`] brings it
//! to Postgres, from where the other nodes have it, and does so whenever Postgres is back.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ahash::AHashMap;
use chrono::TimeDelta;
use prometheus::IntGauge;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use tandem_model::{Clock, EndpointId, Reason, Registration};
use tandem_routing::SharedTable;
use tandem_sip::{Message, Name, NameAddr, Scheme, Uri};
use tandem_store::PgPool;
use tokio::sync::Notify;

use crate::identity::realm_of;
use crate::outbox::Flow;
use crate::share::Common;
use crate::transaction::{Fingerprint, User};
use crate::worker::{Arrival, Now, Worker};

/// Shortest time that a binding may hold, in seconds.
pub(crate) const MIN_EXPIRES_S: u32 = 60;

/// Longest time that a binding holds, and how long one that asks for nothing does, in seconds.
const MAX_EXPIRES_S: u32 = 3_600;

/// Most Contact values of one REGISTER.
const MAX_CONTACTS: usize = 8;

/// Most octets of a Contact URI or a Call-ID that is kept.
const MAX_TEXT: usize = 255;

/// The option tag of RFC 6140.
const GIN: &[u8] = b"gin";

/// Most registrations that go to Postgres at once.
const BATCH: usize = 500;

/// Time to wait after Postgres did not take them.
const RETRY: Duration = Duration::from_millis(500);

/// Longest time that Postgres may take for a batch before it counts as away.
const BATCH_TIMEOUT: Duration = Duration::from_secs(20);

/// Registrations that Postgres is still to be told of: of each endpoint the last.
#[derive(Debug, Default)]
pub(crate) struct Registrar {
    pending: Mutex<AHashMap<EndpointId, Registration>>,
    added: Notify,
}

impl Registrar {
    fn put(&self, endpoint: EndpointId, registration: Registration) {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).insert(endpoint, registration);
        self.added.notify_one();
    }

    pub(crate) fn some(&self) -> Vec<(EndpointId, Registration)> {
        let pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        pending.iter().take(BATCH).map(|(id, registration)| (*id, registration.clone())).collect()
    }

    /// Forgets those that were not replaced meanwhile.
    fn remove(&self, written: &[(EndpointId, Registration)]) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        for (endpoint, registration) in written {
            if pending.get(endpoint) == Some(registration) {
                pending.remove(endpoint);
            }
        }
    }
}

/// Brings a node's registrations to Postgres.
pub struct RegistrationWriter {
    common: Arc<Common>,
}

impl RegistrationWriter {
    pub(crate) fn new(common: Arc<Common>) -> Self {
        Self { common }
    }

    /// Writes for ever; drop the future to stop.
    pub async fn run(self, db: PgPool) {
        let registrar = &self.common.registrar;
        let mut is_away = false;
        loop {
            let batch = registrar.some();
            if batch.is_empty() {
                registrar.added.notified().await;
                continue;
            }
            match tokio::time::timeout(BATCH_TIMEOUT, tandem_store::registration::write(&db, &batch)).await {
                Ok(Ok(())) => {
                    registrar.remove(&batch);
                    if is_away {
                        tracing::info!("Postgres takes registrations again");
                    }
                    is_away = false;
                }
                failed => {
                    if !is_away {
                        let error = match failed {
                            Ok(Err(error)) => error.to_string(),
                            _ => format!("no answer in {} s", BATCH_TIMEOUT.as_secs()),
                        };
                        tracing::warn!(
                            error,
                            "Postgres does not take registrations; this node goes by them meanwhile"
                        );
                    }
                    is_away = true;
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }
}

/// How many endpoints are registered, counted when it is asked for.
pub(crate) struct Registered {
    gauge: IntGauge,
    table: SharedTable,
    clock: Arc<dyn Clock>,
}

impl Registered {
    pub(crate) fn new(table: SharedTable, clock: Arc<dyn Clock>) -> prometheus::Result<Self> {
        let help = "Endpoints that are registered now, at whichever node.";
        Ok(Self { gauge: IntGauge::new("tandem_registrations", help)?, table, clock })
    }
}

impl Collector for Registered {
    fn desc(&self) -> Vec<&Desc> {
        self.gauge.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let (table, now) = (self.table.load(), self.clock.now());
        let registered = table.endpoints().filter(|endpoint| endpoint.access.binding(now).is_some());
        self.gauge.set(registered.count() as i64);
        self.gauge.collect()
    }
}

/// What a REGISTER asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish<'m> {
    /// To be told what is.
    Ask,
    /// A binding for so many seconds.
    Bind(&'m [u8], u32),
    /// That a binding end.
    End(&'m [u8]),
    /// That all of them end.
    EndAll,
}

impl<'m> Wish<'m> {
    fn of(request: &Message<'m>) -> Result<Self, Reason> {
        let header = request.header(Name::Expires).map(expires_s);
        let mut best: Option<(u16, Self)> = None;
        for (index, value) in request.values(Name::Contact).enumerate() {
            if value.trim_ascii() == b"*" {
                let is_alone = index == 0 && request.values(Name::Contact).nth(1).is_none();
                return if is_alone && header == Some(0) { Ok(Self::EndAll) } else { Err(Reason::Malformed) };
            }
            if index >= MAX_CONTACTS {
                return Err(Reason::MessageTooLarge);
            }
            let contact = NameAddr::parse(value).map_err(|_| Reason::Malformed)?;
            let uri = contact.parse_uri().map_err(|_| Reason::Malformed)?;
            if uri.scheme != Scheme::Sip || contact.uri.len() > MAX_TEXT {
                return Err(Reason::ContactUnusable);
            }
            let own = contact.param("expires").flatten().map(expires_s);
            let wish = match own.or(header).unwrap_or(MAX_EXPIRES_S) {
                0 => Self::End(contact.uri),
                1..MIN_EXPIRES_S => return Err(Reason::IntervalTooBrief),
                expires_s => Self::Bind(contact.uri, expires_s.min(MAX_EXPIRES_S)),
            };
            // What ends gives way to what begins, and otherwise the first of the highest q wins.
            let rank = match wish {
                Self::Bind(..) => 1 + q(contact.param("q").flatten()),
                _ => 0,
            };
            if best.is_none_or(|(other, _)| rank > other) {
                best = Some((rank, wish));
            }
        }
        Ok(best.map_or(Self::Ask, |(_, wish)| wish))
    }
}

/// Seconds; what cannot be read counts as the most there is (RFC 3261 §10.3 item 7).
fn expires_s(text: &[u8]) -> u32 {
    let digits = std::str::from_utf8(text.trim_ascii()).ok();
    let digits = digits.filter(|text| !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit()));
    digits.map_or(MAX_EXPIRES_S, |text| text.parse().unwrap_or(u32::MAX))
}

/// Thousandths of a `q` parameter; 1 where there is none that can be read (RFC 3261 §20.10).
fn q(text: Option<&[u8]>) -> u16 {
    let value: Option<f32> = text.and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
    value.filter(|value| (0.0..=1.0).contains(value)).map_or(1_000, |value| (value * 1_000.0) as u16)
}

/// The Request-URI of a call to whoever registered with this Contact: as it stands (RFC 3261 §16.5), or with the called
/// number for its user where it has none (RFC 6140 §5.1), and `phone` then says whether it is one.
pub(crate) fn request_uri(contact: &str, number: &str, phone: &str) -> String {
    let uri = Uri::parse(contact.as_bytes()).ok();
    let Some(uri) = uri.filter(|uri| uri.user.is_none() || uri.param("bnc").is_some()) else {
        return contact.to_owned();
    };
    let host = String::from_utf8_lossy(uri.host);
    let host = if host.contains(':') { format!("[{host}]") } else { host.into_owned() };
    let port = uri.port.map(|port| format!(":{port}")).unwrap_or_default();
    let transport = uri.param("transport").flatten();
    let transport =
        transport.map(|it| format!(";transport={}", String::from_utf8_lossy(it))).unwrap_or_default();
    format!("sip:{number}@{host}{port}{transport}{phone}")
}

/// Whether Require lists an option tag other than [`GIN`].
fn is_unsupported(request: &Message<'_>) -> bool {
    let tags = request.all(Name::Require).flat_map(|line| line.split(|&octet| octet == b','));
    tags.map(<[u8]>::trim_ascii).any(|tag| !tag.is_empty() && !tag.eq_ignore_ascii_case(GIN))
}

impl Worker {
    /// Takes a REGISTER, in the order of RFC 3261 §10.3.
    pub(crate) fn receive_register(
        &mut self,
        now: Now,
        arrival: Arrival,
        request: &Message<'_>,
        fingerprint: Fingerprint,
    ) {
        let (table, flow) = (self.table.clone(), arrival.reply);
        if !table.has_usernames() {
            return self.refuse_request(now, flow, request, fingerprint, Reason::MethodNotAllowed);
        }
        if self.draining {
            return self.refuse_unless_stranger(now, flow, request, fingerprint, Reason::Draining);
        }
        let Some(realm) = realm_of(&table, request) else {
            return self.refuse_unless_stranger(now, flow, request, fingerprint, Reason::DomainUnknown);
        };
        let Some(endpoint) = self.authenticate(now, &table, arrival, request, fingerprint) else { return };
        if is_unsupported(request) {
            return self.refuse_request(now, flow, request, fingerprint, Reason::ExtensionUnsupported);
        }
        let credential = endpoint.access.inbound.as_ref().expect("it has just been proved");
        let is_own = request.to().is_ok_and(|to| {
            to.parse_uri().is_ok_and(|uri| {
                uri.user_number() == Some(credential.username.as_bytes())
                    && uri.host.eq_ignore_ascii_case(realm.as_bytes())
            })
        });
        if !is_own {
            return self.refuse_request(now, flow, request, fingerprint, Reason::AddressOfOther);
        }
        let wish = match Wish::of(request) {
            Ok(wish) => wish,
            Err(reason) => return self.refuse_request(now, flow, request, fingerprint, reason),
        };
        let present = endpoint.access.binding(now.utc);
        let (Ok(call_id), Ok(cseq)) = (request.call_id(), request.cseq()) else { return };
        let call_id = match std::str::from_utf8(call_id) {
            Ok(call_id) if call_id.len() <= MAX_TEXT => call_id,
            _ => return self.refuse_request(now, flow, request, fingerprint, Reason::Malformed),
        };
        let is_late = present.is_some_and(|it| it.call_id == call_id && cseq.number <= it.cseq);
        if is_late && wish != Wish::Ask {
            return self.refuse_request(now, flow, request, fingerprint, Reason::CseqTooLow);
        }
        let text = |uri: &[u8]| String::from_utf8_lossy(uri).into_owned();
        let (contact, expires_s) = match wish {
            Wish::Bind(uri, expires_s) => (Some(text(uri)), expires_s),
            Wish::End(uri) => (present.map(|it| it.contact.clone()).filter(|it| it.as_bytes() == uri), 0),
            Wish::EndAll => (present.map(|it| it.contact.clone()), 0),
            Wish::Ask => (None, 0),
        };
        let id = endpoint.endpoint_id;
        if let Some(contact) = contact {
            let registration = Registration {
                credential_id: credential.credential_id,
                contact,
                source: arrival.source,
                transport: flow.transport,
                listener: self.locals[usize::from(flow.listener)].address,
                call_id: call_id.to_owned(),
                cseq: cseq.number,
                // Later than the one that it replaces, though the clock may have been set back.
                registered_at: endpoint
                    .access
                    .registration
                    .as_ref()
                    .map_or(now.utc, |last| now.utc.max(last.registered_at + TimeDelta::microseconds(1))),
                expires_at: now.utc + TimeDelta::seconds(expires_s.into()),
                node_id: self.settings.node_id,
            };
            self.bind(id, registration);
        }
        let table = self.table.clone();
        let present = table.endpoint(id).and_then(|endpoint| endpoint.access.binding(now.utc));
        let server = self.transactions.open_server(fingerprint, false, flow, User::Nobody);
        let octets = self.build_response(request, flow, 200, None, |writer| {
            if let Some(present) = present {
                let left_s = (present.expires_at - now.utc).num_seconds();
                writer.header("Contact", format_args!("<{}>;expires={left_s}", present.contact));
            }
            writer.header("Supported", "gin");
        });
        self.transactions.respond(&mut self.wire, now.instant, server, 200, octets);
    }

    /// A registration holds from now on, for every worker of the node.
    fn bind(&mut self, id: EndpointId, registration: Registration) {
        tandem_routing::register(self.shared_table(), id, &registration);
        self.refresh_table();
        self.share.common.registrar.put(id, registration);
    }

    fn refuse_unless_stranger(
        &mut self,
        now: Now,
        flow: Flow,
        request: &Message<'_>,
        fingerprint: Fingerprint,
        reason: Reason,
    ) {
        if self.is_stranger {
            return self.wire.metrics.count_drop(reason);
        }
        self.refuse_request(now, flow, request, fingerprint, reason);
    }

    /// The way to a switch that has registered.
    pub(crate) fn registered_flow(&self, registration: &Registration) -> Option<Flow> {
        let Registration { transport, source, listener, .. } = *registration;
        let own = self
            .locals
            .iter()
            .position(|local| local.transport == transport && local.address == listener)
            .map(|index| index as u8);
        let listener = own.or_else(|| self.listener_for(transport, source))?;
        Some(Flow::new(listener, transport, source))
    }
}
