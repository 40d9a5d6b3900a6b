//! The sans-I/O heart of a node: takes one message or one deadline at a time and drives it to its end.
//!
//! Nothing in here waits. Messages to send collect in the outbox and what happened in the journal; the driver
//! writes the journal, then sends. `invite` sets calls up, `response` carries answers back, `dialog_request`
//! serves calls that are up.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ahash::{AHashMap, AHashSet};
use chrono::{DateTime, Utc};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use slotmap::SlotMap;
use tandem_model::{EndedBy, Endpoint, HealthSign, NodeId, Outcome, OwnHost, Reason, Settings, Transport};
use tandem_routing::{RouteTable, SharedTable};
use tandem_sip::transaction::key;
use tandem_sip::transaction::timer::T1;
use tandem_sip::{Fault, MAX_MESSAGE, Message, Method, Scheme, Uri, judge, refuse, respond};

use crate::call::{Call, CallKey, CallTimers};
use crate::challenge::Challenges;
use crate::crossing::{ALLOW, SUPPORTED};
use crate::dipper::Dipper;
use crate::identity::endpoint_at;
use crate::journal::Journal;
use crate::large_request::UdpOnly;
use crate::late_prack::LatePrack;
use crate::leg::{Leg, Side, format_tag};
use crate::metrics::Metrics;
use crate::outbound_registration::OutboundRegistrations;
use crate::outbox::{Flow, Octets, Outbox, Parcel};
use crate::overload::{EmergencyNumbers, Overload};
use crate::page::{Page, PageKey};
use crate::passes::Passes;
use crate::record::{CallRecord, Heard, Record, UpRecord};
use crate::share::Share;
use crate::source_guard::SourceGuard;
use crate::timer::{CallTimer, TimerHandle, TimerQueue, Wake};
use crate::tracer::Tracer;
use crate::transaction::{Fingerprint, TransactionKey, Transactions, User, Wire};
use crate::watch::Watch;

/// One moment, by both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    /// For timers and durations.
    pub(crate) instant: Instant,
    /// For records.
    pub(crate) utc: DateTime<Utc>,
}

/// Where a request came from, and where its responses go: the same address, at times another port
/// (RFC 3261 §18.2.2, RFC 3581).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) source: SocketAddr,
    pub(crate) reply: Flow,
}

impl Arrival {
    /// The way that it came by.
    pub(crate) fn flow(&self) -> Flow {
        Flow { remote: self.source, ..self.reply }
    }
}

/// What the worker is told at its start.
#[derive(Clone, Debug)]
pub(crate) struct WorkerSettings {
    /// By which calls that come back are known.
    pub(crate) node_id: NodeId,
    /// Most calls at once.
    pub(crate) max_calls: usize,
    /// Most messages a second of one known source.
    pub(crate) source_messages_per_second: u32,
    /// Calls to these are never shed.
    pub(crate) emergency_numbers: EmergencyNumbers,
    /// How long a candidate may be silent before the next one is tried.
    pub(crate) attempt_timeout: Duration,
    /// How long a candidate may ring after its last provisional response (Timer C).
    pub(crate) ring_timeout: Duration,
    /// How long a call may be set up, over all its candidates.
    pub(crate) setup_timeout: Duration,
    /// How long a call may be up.
    pub(crate) max_duration: Duration,
    /// Whether endpoints are probed whose policy says so.
    pub(crate) probes: bool,
}

/// How the hub names itself on one listener.
#[derive(Clone, Debug)]
pub(crate) struct Local {
    /// Name of the site that it belongs to.
    pub(crate) site: Box<str>,
    pub(crate) transport: Transport,
    /// The address that members see.
    pub(crate) address: SocketAddr,
    /// `address` as text.
    pub(crate) host: String,
    /// The Contact of the hub there.
    contact: String,
    /// Its public name with the port, and the Contact with these.
    named: Option<(String, String)>,
}

fn contact(host: &str, transport: Transport) -> String {
    match transport {
        Transport::Udp => format!("<sip:{host}>"),
        Transport::Tcp | Transport::Tls => format!("<sip:{host};transport={}>", transport.as_str()),
    }
}

impl Local {
    pub(crate) fn new(site: &str, transport: Transport, address: SocketAddr) -> Self {
        let host = address.to_string();
        let contact = contact(&host, transport);
        Self { site: site.into(), transport, address, host, contact, named: None }
    }

    /// The same, with a DNS name.
    pub(crate) fn with_name(mut self, name: &str) -> Self {
        let host = format!("{name}:{}", self.address.port());
        self.named = Some((host.clone(), contact(&host, self.transport)));
        self
    }

    fn named_to(&self, policy: &Settings) -> Option<&(String, String)> {
        self.named.as_ref().filter(|_| policy.headers.own_host == OwnHost::Name)
    }

    /// What the hub calls itself there to an endpoint of this policy: host and port.
    pub(crate) fn host_to(&self, policy: &Settings) -> &str {
        self.named_to(policy).map_or(&self.host, |(host, _)| host)
    }

    /// Its Contact to an endpoint of this policy.
    pub(crate) fn contact_to(&self, policy: &Settings) -> &str {
        self.named_to(policy).map_or(&self.contact, |(_, contact)| contact)
    }
}

/// Seconds after which a member that got 503 may try again.
const RETRY_AFTER_S: u32 = 5;

/// How long a record that can wait is kept in memory.
const JOURNAL_DELAY: Duration = Duration::from_millis(50);

/// Time after a restart until both sides are asked about a call whose answer was not acknowledged and cannot be sent
/// again: whoever never got it, or no ACK to its own, has given it up by then (RFC 3261 §13.3.1.4).
const PROBE_AFTER: Duration = T1.saturating_mul(64);

/// See the module.
pub(crate) struct Worker {
    pub(crate) settings: WorkerSettings,
    pub(crate) locals: Vec<Local>,
    shared_table: SharedTable,
    /// The table that this batch routes by.
    pub(crate) table: Arc<RouteTable>,
    pub(crate) calls: SlotMap<CallKey, Box<Call>>,
    /// INVITEs of calls that are being set up, by what tells one from another.
    pub(crate) identities: AHashSet<u64>,
    /// Which leg a tag of ours belongs to.
    pub(crate) tags: AHashMap<u64, (CallKey, Side)>,
    /// PRACKs that may still come, by the tag of the early dialog that is over.
    pub(crate) late_pracks: AHashMap<u64, LatePrack>,
    /// MESSAGEs on their way across.
    pub(crate) pages: SlotMap<PageKey, Page>,
    pub(crate) transactions: Transactions,
    /// Where large requests go as datagrams all the same.
    pub(crate) udp_only: UdpOnly,
    /// Which of the node's workers it is, and what it has in common with the others.
    pub(crate) share: Share,
    pub(crate) passes: Passes,
    pub(crate) guard: SourceGuard,
    pub(crate) outbound: OutboundRegistrations,
    pub(crate) challenges: Challenges,
    pub(crate) overload: Overload,
    /// Whether the message that is being handled is from an address of nobody.
    pub(crate) is_stranger: bool,
    /// Whether the source of the message that is being handled keeps within its rate.
    pub(crate) is_within_rate: bool,
    pub(crate) wire: Wire,
    pub(crate) tracer: Tracer,
    /// By which called numbers are looked up elsewhere, where they are.
    pub(crate) dipper: Option<Dipper>,
    /// The first worker's watch over the endpoints; the others have none.
    pub(crate) watch: Option<Box<Watch>>,
    pub(crate) journal: Journal,
    /// When records that can wait are written.
    pub(crate) journal_timer: TimerHandle,
    pub(crate) rng: StdRng,
    pub(crate) draining: bool,
    /// The call that is being handled.
    pub(crate) handled: Option<CallKey>,
    /// After how many more fault points a test wants a panic.
    #[cfg(test)]
    pub(crate) fault_in: Option<u32>,
    /// Panics that a test wanted.
    #[cfg(test)]
    pub(crate) faults: u64,
    /// For messages being written.
    pub(crate) scratch: Vec<u8>,
}

impl Worker {
    pub(crate) fn new(
        settings: WorkerSettings,
        share: Share,
        locals: Vec<Local>,
        shared_table: SharedTable,
        journal: Journal,
        metrics: Metrics,
        seed: [u8; 32],
    ) -> Self {
        let mut rng = StdRng::from_seed(seed);
        let transactions =
            Transactions::new([rng.next_u64(), rng.next_u64(), rng.next_u64(), rng.next_u64()]);
        let seeds = [rng.next_u64(), rng.next_u64(), rng.next_u64(), rng.next_u64()];
        let guard = SourceGuard::new(settings.source_messages_per_second, seeds);
        Self {
            passes: Passes::new(settings.node_id, rng.next_u64()),
            settings,
            locals,
            table: shared_table.load_full(),
            shared_table,
            calls: SlotMap::with_key(),
            identities: AHashSet::new(),
            tags: AHashMap::new(),
            late_pracks: AHashMap::new(),
            pages: SlotMap::with_key(),
            transactions,
            udp_only: UdpOnly::default(),
            watch: (share.index == 0).then(Box::default),
            share,
            guard,
            outbound: OutboundRegistrations::default(),
            challenges: Challenges::default(),
            overload: Overload::default(),
            is_stranger: false,
            is_within_rate: true,
            wire: Wire { outbox: Outbox::default(), timers: TimerQueue::default(), metrics },
            tracer: Tracer::default(),
            dipper: None,
            journal,
            journal_timer: TimerHandle::NONE,
            rng,
            draining: false,
            handled: None,
            #[cfg(test)]
            fault_in: None,
            #[cfg(test)]
            faults: 0,
            scratch: Vec::with_capacity(MAX_MESSAGE),
        }
    }

    /// Takes up calls that were up before the node restarted, and begins the journal anew with them. Once every
    /// worker of the node has, [`seal`](Self::seal) lets the old journal go.
    ///
    /// The journal knows of an answer before the caller does. Where it does not say that it was acknowledged, it is
    /// sent again.
    pub(crate) fn resume(&mut self, calls: Vec<UpRecord<'static>>, now: Now) {
        self.wire.timers.start(now.instant);
        for record in calls {
            let UpRecord { cdr, acked, answer, ingress, egress, trace } = record;
            let cdr = cdr.into_owned();
            let (Some(ingress_listener), Some(egress_listener)) = (
                self.listener_for(ingress.transport, ingress.remote),
                self.listener_for(egress.transport, egress.remote),
            ) else {
                tracing::error!(call = %cdr.call_id, "no listener is left for a call that was up; it is given up");
                self.close_record(cdr, now);
                continue;
            };
            let ingress_lease = self.share.common.limits.resume(&ingress, None, now.instant);
            let egress_lease = self.share.common.limits.resume(&egress, cdr.tried(), now.instant);
            let left = match (cdr.outcome, cdr.answered_at) {
                (Some(_), _) => 64 * T1,
                (None, Some(at)) => {
                    self.settings.max_duration.saturating_sub((now.utc - at).to_std().unwrap_or_default())
                }
                (None, None) => self.settings.max_duration,
            };
            let call = Call {
                awaits: None,
                cdr,
                started: now.instant,
                answered: None,
                is_told: true,
                acked,
                ingress: Leg::from_record(ingress, ingress_listener, ingress_lease, now),
                egress: Some(Leg::from_record(egress, egress_listener, egress_lease, now)),
                candidates_done: 0,
                invite: None,
                exchanges: Vec::new(),
                early: Vec::new(),
                reliable: None,
                refer: None,
                until: now.instant + left,
                identity: 0,
                numbers: 0,
                timers: CallTimers::default(),
            };
            let key = self.add_call(call);
            self.add_egress_leg(key);
            self.resume_trace(now, key, trace);
            let is_taken_up = answer.is_some_and(|answer| self.resume_answer(now, key, answer));
            if !acked && !is_taken_up && !self.calls[key].is_over() {
                self.calls[key].timers.step =
                    self.wire.timers.set(now.instant + PROBE_AFTER, Wake::Call(key, CallTimer::Probe));
            }
            if self.calls[key].is_over() {
                // Its end is recorded; whoever was not told is told now, and may have sent a BYE of its own.
                for side in [Side::Ingress, Side::Egress] {
                    self.send_bye(now, key, side, |_| {});
                }
            }
            self.resume_session(now, key);
        }
        self.append_up();
    }

    /// Ends the record of a call that cannot be carried on.
    fn close_record(&mut self, mut cdr: CallRecord, now: Now) {
        cdr.outcome = Some(Outcome::Answered);
        cdr.ended_at = Some(now.utc);
        cdr.ended_by = Some(EndedBy::Hub);
        cdr.reason = Some(Reason::NodeStopped);
        cdr.duration_ms = cdr.answered_at.map(|at| (now.utc - at).num_milliseconds().max(0) as u64);
        self.record(&Record::Over(Cow::Owned(cdr)));
    }

    /// Begins a journal segment with every call that is up.
    fn append_up(&mut self) {
        let up = self.calls.values().filter(|call| call.is_up() && !call.is_over());
        for record in up.filter_map(|call| call.record(self.tracer.record(call.cdr.call_id))) {
            self.journal.append(&record);
            self.wire.metrics.journal_backlog.inc();
        }
    }

    /// Says in the journal that every call that is up stands in this segment.
    pub(crate) fn seal(&mut self) {
        self.record(&Record::Checkpoint);
    }

    /// Adds to the journal.
    pub(crate) fn record(&mut self, record: &Record<'_>) {
        self.journal.append(record);
        self.wire.metrics.journal_backlog.inc();
    }

    /// Adds a record to the journal that can wait for the next one, or a moment.
    pub(crate) fn record_later(&mut self, now: Now, record: &Record<'_>) {
        self.journal.append_later(record);
        if self.journal_timer == TimerHandle::NONE {
            self.journal_timer = self.wire.timers.set(now.instant + JOURNAL_DELAY, Wake::Journal);
        }
    }

    /// Writes the journal. Call it after a batch, before the outbox is sent.
    pub(crate) fn commit(&mut self) {
        if self.journal.needs_segment() {
            match self.journal.commit().and_then(|()| self.journal.rotate()) {
                Ok(()) => {
                    self.append_up();
                    self.seal();
                }
                Err(error) => tracing::error!(%error, "cannot begin a journal segment"),
            }
        }
        let was_failing = self.journal.has_unwritten();
        match self.journal.commit() {
            Ok(()) if was_failing => tracing::info!("the journal can be written again"),
            Ok(()) => {}
            Err(error) => {
                self.wire.metrics.journal_errors.inc();
                if !was_failing {
                    tracing::error!(%error, "cannot write the journal; new calls are refused until it works");
                }
            }
        }
    }

    /// Reads the route table anew. Call it before a batch.
    pub(crate) fn refresh_table(&mut self) {
        let table = self.shared_table.load();
        if !Arc::ptr_eq(&table, &self.table) {
            self.table = Arc::clone(&table);
        }
    }

    /// The table that all workers of the node share.
    pub(crate) fn shared_table(&self) -> &SharedTable {
        &self.shared_table
    }

    /// Takes the octets of one message that came by `flow`.
    pub(crate) fn receive(&mut self, now: Now, flow: Flow, octets: &[u8]) {
        let (common, ip) = (&self.share.common, flow.remote.ip());
        let is_known = self.endpoint_of(&self.table, flow, now).is_some()
            || common.neighbours.contains(ip)
            || common.acquaintances.contains(ip, now.instant);
        if !is_known && !self.reads_stranger(now, flow, octets) {
            return;
        }
        self.is_stranger = !is_known;
        self.is_within_rate = true;
        if is_known {
            self.overload.note_known();
            self.is_within_rate = self.guard.is_within_rate(ip, now.instant);
        }
        let message = match Message::parse(octets) {
            Ok(message) => message,
            Err(_) => {
                // A keep-alive is no message either, and no error (RFC 5626 §3.5.1).
                if octets.iter().any(|octet| !matches!(octet, b'\r' | b'\n' | 0)) {
                    self.wire.metrics.parse_errors.inc();
                    self.wire.metrics.count_drop(Reason::Unreadable);
                }
                return;
            }
        };
        let owner = self.share.owner(&message);
        if owner != self.share.index {
            let (is_stranger, is_within_rate) = (self.is_stranger, self.is_within_rate);
            let octets = Octets::from(octets);
            let parcel = Parcel::Message { flow, octets, is_stranger, is_within_rate };
            return self.wire.outbox.hand_over(owner, parcel);
        }
        self.take(now, flow, &message);
    }

    /// Which enabled endpoint a message comes from: over TLS the one that the certificate names, and otherwise the one
    /// that sends from the address.
    pub(crate) fn endpoint_of<'t>(
        &self,
        table: &'t RouteTable,
        flow: Flow,
        now: Now,
    ) -> Option<&'t Endpoint> {
        if flow.transport == Transport::Tls
            && let Some(id) = flow.connection
            && let Some(certificate) = self.share.common.certificates.get(id)
            && let Some(endpoint) = table.endpoint_by_certificate(&certificate.names)
        {
            return Some(endpoint);
        }
        endpoint_at(table, flow.remote, flow.transport, now.utc)
    }

    /// Whether a message that came by a flow may speak for a leg.
    pub(crate) fn lives_at(&self, leg: &Leg, flow: Flow, now: Now) -> bool {
        let there = self.endpoint_of(&self.table, flow, now);
        // Of those that share an address, each lives there.
        let sharing = there.filter(|endpoint| endpoint.call_mark.is_some()).and_then(|_| {
            let own = self.table.endpoint(leg.endpoint)?;
            own.sources.iter().any(|source| source.contains(flow.remote)).then_some(own)
        });
        leg.lives_at(flow, sharing.or(there))
    }

    /// Takes what another worker of the node handed over.
    pub(crate) fn receive_parcel(&mut self, now: Now, parcel: Parcel) {
        match parcel {
            Parcel::Message { flow, octets, is_stranger, is_within_rate } => {
                if !is_stranger {
                    self.overload.note_known();
                }
                (self.is_stranger, self.is_within_rate) = (is_stranger, is_within_rate);
                self.take(now, flow, &Message::parse(&octets).expect("it was read before"));
            }
            Parcel::Unreachable(flow) => self.unreachable(now, flow),
            Parcel::Send(flow, octets) => self.wire.outbox.push(flow, octets),
            Parcel::Sign { endpoint, sign, since } => self.hear_sign(now, endpoint, sign, since),
            Parcel::Hold { endpoint, until } => self.take_hold(now, endpoint, until),
            Parcel::Dipped { call, number, dip } => self.dipped(now, call, number, dip),
            Parcel::Challenge(order) => self.place_challenge(now, &order),
        }
    }

    /// Takes a message that is this worker's.
    fn take(&mut self, now: Now, flow: Flow, message: &Message<'_>) {
        if !self.tracer.is_idle() {
            self.trace_received(now, flow, message);
        }
        match (message.request(), message.status()) {
            (Some(line), _) => {
                self.wire.metrics.count_request(line.method.as_bytes());
                self.receive_request(now, flow, message, line.method);
            }
            (None, Some(status)) => {
                self.wire.metrics.count_response(status);
                if judge(message).is_err() {
                    self.wire.metrics.count_drop(Reason::Malformed);
                } else {
                    self.receive_response(now, flow, message, status);
                }
            }
            (None, None) => unreachable!("a message is a request or a response"),
        }
    }

    fn receive_request(&mut self, now: Now, flow: Flow, request: &Message<'_>, method: Method<'_>) {
        let source = flow.remote;
        let flow = match request.top_via() {
            Ok(via) if !flow.transport.is_reliable() => {
                Flow { remote: tandem_sip::via::response_target(&via, source), ..flow }
            }
            _ => flow,
        };
        let arrival = Arrival { source, reply: flow };
        if let Err(fault) = judge(request) {
            if method != Method::Ack && !self.is_stranger {
                self.refuse_malformed(now, flow, request, fault);
            } else {
                self.wire.metrics.count_drop(Reason::Malformed);
            }
            return;
        }
        let Ok(server_key) = key::server_key(request) else {
            self.wire.metrics.count_drop(Reason::Malformed);
            return;
        };
        let fingerprint = self.transactions.fingerprint(&server_key);
        if let Some(key) = self.transactions.server(fingerprint) {
            match method {
                Method::Ack => {
                    if self.transactions.receive_ack(&mut self.wire, now.instant, key).deliver {
                        self.receive_success_ack(now, arrival, request);
                    }
                }
                _ => self.transactions.receive_again(&mut self.wire, now.instant, key),
            }
            return;
        }
        if self.is_stranger && self.table.is_unloaded() {
            return match (method, request.to_tag()) {
                (Method::Invite, None) => {
                    self.refuse_statelessly(flow, request, fingerprint, Reason::NotReady)
                }
                _ => self.wire.metrics.count_drop(Reason::UnknownSource),
            };
        }
        if self.sheds(flow, request, method, fingerprint) {
            return;
        }
        match (method, request.to_tag()) {
            // Nothing that is begun is a stranger's.
            (_, Some(_)) if self.is_stranger => self.wire.metrics.count_drop(Reason::UnknownSource),
            (Method::Cancel, _) => self.receive_cancel(now, flow, request, fingerprint),
            (Method::Ack, _) => self.receive_success_ack(now, arrival, request),
            (_, Some(_)) => self.receive_in_dialog(now, arrival, request, method, fingerprint),
            (Method::Invite, None) => self.receive_invite(now, arrival, request, fingerprint),
            (Method::Options, None) => self.answer_options(now, flow, request, fingerprint),
            (Method::Bye | Method::Update | Method::Info | Method::Prack, None) => {
                self.refuse_request(now, flow, request, fingerprint, Reason::NoDialog);
            }
            (Method::Register, None) => self.receive_register(now, arrival, request, fingerprint),
            (Method::Message, None) => self.receive_message(now, arrival, request, fingerprint),
            (Method::Subscribe | Method::Notify | Method::Refer | Method::Publish, None) => {
                self.refuse_request(now, flow, request, fingerprint, Reason::MethodNotAllowed)
            }
            (Method::Other(_), None) => {
                self.refuse_request(now, flow, request, fingerprint, Reason::MethodUnknown);
            }
        }
    }

    /// Answers OPTIONS outside a dialog: the hub's health and what it can do (RFC 3261 §11.2).
    fn answer_options(&mut self, now: Now, flow: Flow, request: &Message<'_>, fingerprint: Fingerprint) {
        if self.draining {
            return self.refuse_request(now, flow, request, fingerprint, Reason::Draining);
        }
        // RFC 3261 §8.2.2.1 and §8.2.2.3.
        let uri = request.request().and_then(|line| Uri::parse(line.uri).ok());
        if uri.is_none_or(|uri| uri.scheme == Scheme::Other) {
            return self.refuse_request(now, flow, request, fingerprint, Reason::SchemeUnsupported);
        }
        if crate::crossing::unsupported(request).is_some() {
            return self.refuse_request(now, flow, request, fingerprint, Reason::ExtensionUnsupported);
        }
        let key = self.transactions.open_server(fingerprint, false, flow, User::Nobody);
        let octets = self.build_response(request, flow, 200, None, |writer| {
            writer.header("Allow", ALLOW).header("Accept", "application/sdp").header("Supported", SUPPORTED);
        });
        self.transactions.respond(&mut self.wire, now.instant, key, 200, octets);
    }

    /// Answers a message that breaks the grammar, without a transaction: the same again gets the same again.
    fn refuse_malformed(&mut self, now: Now, flow: Flow, request: &Message<'_>, fault: Fault) {
        let ip = flow.remote.ip();
        if !self.is_within_rate || !self.guard.answers_malformed(ip, now.instant) {
            self.wire.metrics.count_drop(Reason::Malformed);
            return;
        }
        let reason = if fault.status() == 513 { Reason::MessageTooLarge } else { Reason::Malformed };
        self.wire.metrics.count_refusal(reason);
        let add = |writer: &mut tandem_sip::Writer<'_>| write_reason(writer, reason);
        if refuse(&mut self.scratch, request, flow.remote, fault, b"malformed", add) {
            self.wire.outbox.push(flow, Octets::from(self.scratch.as_slice()));
        } else {
            self.wire.metrics.count_drop(reason);
        }
    }

    /// Refuses a request without a transaction and without a CDR: the same again gets the same again
    /// (RFC 3261 §8.2.7). For when there is too much to do already.
    pub(crate) fn refuse_statelessly(
        &mut self,
        flow: Flow,
        request: &Message<'_>,
        fingerprint: Fingerprint,
        reason: Reason,
    ) {
        self.wire.metrics.count_refusal(reason);
        self.wire.metrics.stateless_refusals.inc();
        let tag = format_tag(self.share.mint(fingerprint.0[0]));
        let octets = self.build_response(request, flow, reason.status(), Some(tag.as_bytes()), |writer| {
            write_reason(writer, reason);
        });
        self.wire.outbox.push(flow, octets);
    }

    /// Refuses a request in a transaction of its own.
    pub(crate) fn refuse_request(
        &mut self,
        now: Now,
        flow: Flow,
        request: &Message<'_>,
        fingerprint: Fingerprint,
        reason: Reason,
    ) {
        let is_invite = request.request().is_some_and(|line| line.method == Method::Invite);
        let key = self.transactions.open_server(fingerprint, is_invite, flow, User::Nobody);
        self.refuse_in(now, key, flow, request, reason);
    }

    /// Refuses a request in the transaction that it has.
    pub(crate) fn refuse_in(
        &mut self,
        now: Now,
        key: TransactionKey,
        flow: Flow,
        request: &Message<'_>,
        reason: Reason,
    ) {
        self.wire.metrics.count_refusal(reason);
        let status = reason.status();
        let tag = format_tag(self.mint());
        let retry_after = self.rng.next_u32() % 11;
        let octets = self.build_response(request, flow, status, Some(tag.as_bytes()), |writer| {
            write_reason(writer, reason);
            match reason {
                // RFC 3261 §14.2, RFC 3311 §5.2.
                Reason::RequestOverlaps => {
                    writer.header("Retry-After", retry_after);
                }
                Reason::MethodNotAllowed | Reason::MethodUnknown => {
                    writer.header("Allow", ALLOW);
                }
                Reason::IntervalTooBrief => {
                    writer.header("Min-Expires", crate::registrar::MIN_EXPIRES_S);
                }
                Reason::ExtensionUnsupported => {
                    if let Some(tags) = crate::crossing::unsupported(request) {
                        writer.header_bytes("Unsupported", &tags);
                    }
                }
                _ => {}
            }
        });
        self.transactions.respond(&mut self.wire, now.instant, key, status, octets);
    }

    /// A response of the hub's own making.
    pub(crate) fn build_response(
        &mut self,
        request: &Message<'_>,
        flow: Flow,
        status: u16,
        to_tag: Option<&[u8]>,
        extra: impl FnOnce(&mut tandem_sip::Writer<'_>),
    ) -> Octets {
        let fresh = format_tag(self.mint());
        let to_tag = match (status, to_tag) {
            (100, _) => None,
            (_, Some(tag)) => Some(tag),
            (_, None) => Some(fresh.as_bytes()),
        };
        respond(&mut self.scratch, request, flow.remote, status, phrase(status), to_tag, extra);
        self.overload.stamp(&mut self.scratch);
        Octets::from(self.scratch.as_slice())
    }

    /// Does everything that is due.
    pub(crate) fn fire_due(&mut self, now: Now) {
        while let Some(wake) = self.wire.timers.pop_due(now.instant) {
            match wake {
                Wake::Transaction(key, timer) => {
                    let told = self.transactions.fire(&mut self.wire, now.instant, key, timer);
                    if told.ending.is_some() {
                        self.client_ended(now, told.user, key);
                    }
                }
                Wake::Journal => {
                    self.journal_timer = TimerHandle::NONE;
                    self.journal.hurry();
                }
                Wake::OutboundRegistrations => self.register_outbound(now),
                Wake::LatePrack(tag) => drop(self.late_pracks.remove(&tag)),
                Wake::PageSlow(key) => self.page_slow(now, key),
                Wake::PageOverdue(key) => self.page_unanswered(now, key),
                Wake::Challenge(key) => self.challenge_overdue(now, key),
                Wake::Abandoned(key) => self.transactions.forget(&mut self.wire, key),
                Wake::Call(key, timer) => self.fire_call(now, key, timer),
            }
        }
        self.fire_watch(now);
    }

    /// When the next deadline is.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let watch = self.watch.as_ref().and_then(|watch| watch.next_deadline());
        self.wire.timers.next().into_iter().chain(watch).min()
    }

    fn fire_call(&mut self, now: Now, key: CallKey, timer: CallTimer) {
        if !self.calls.contains_key(key) {
            return;
        }
        self.handle(key);
        match timer {
            CallTimer::Attempt(position) => self.attempt_silent(now, key, position),
            CallTimer::Ring(position) => self.attempt_rang_too_long(now, key, position),
            CallTimer::Retransmit(cseq) => self.send_success_again(now, key, cseq),
            CallTimer::NoAck(cseq) => self.no_ack(now, key, cseq),
            CallTimer::Provisional(rseq) => self.send_provisional_again(now, key, rseq),
            CallTimer::NoPrack(rseq) => self.no_prack(now, key, rseq),
            CallTimer::Reinvite(cseq) => self.reinvite_overdue(now, key, cseq),
            CallTimer::Slow(number) => self.exchange_slow(now, key, number),
            CallTimer::Overdue(number) => self.exchange_overdue(now, key, number),
            CallTimer::Probe => self.probe(now, key),
            CallTimer::Session => self.session_due(now, key),
            CallTimer::Dip => self.dip_late(now, key),
        }
    }

    /// The transport could not bring messages to `flow.remote`.
    pub(crate) fn unreachable(&mut self, now: Now, flow: Flow) {
        if flow.transport == Transport::Tcp {
            self.udp_only.add(now.instant, flow.remote);
        }
        for key in self.transactions.clients_toward(flow) {
            let told = self.transactions.fail(&mut self.wire, now.instant, key);
            if told.ending.is_some() {
                self.client_ended(now, told.user, key);
            }
        }
    }

    /// A client transaction ended without a final response.
    fn client_ended(&mut self, now: Now, user: User, key: TransactionKey) {
        let call = match user {
            User::Call(call) => call,
            User::Probe(call, _) => return self.probe_failed(now, call, Reason::SessionExpired),
            User::Health(key) => return self.probe_unanswered(now, key),
            User::Page(key) => return self.page_unanswered(now, key),
            User::Registration(place) => return self.registration_failed(now, place),
            User::Challenge(key) => return self.challenge_failed(key),
            User::Nobody | User::Abandoned { .. } => return,
        };
        if !self.calls.contains_key(call) {
            return;
        }
        self.handle(call);
        let state = &self.calls[call];
        let is_invite = state.invite.as_ref().is_some_and(|invite| invite.client == Some(key));
        if is_invite && !state.is_up() {
            self.hear_failed(now, call, HealthSign::CallUnanswered);
            self.attempt_ended(now, call, None, Some(Reason::EndpointUnreachable));
        } else {
            self.exchange_ended(now, call, key);
        }
    }

    /// Hangs up every call, for a node that stops.
    pub(crate) fn hang_up_all(&mut self, now: Now) {
        for key in self.calls.keys().collect::<Vec<_>>() {
            self.end_call(now, key, Reason::NodeStopped);
        }
    }

    /// The listener from which messages to an endpoint leave: at one of its sites where there is one.
    pub(crate) fn listener_toward(
        &self,
        endpoint: &Endpoint,
        transport: Transport,
        remote: SocketAddr,
    ) -> Option<u8> {
        let fits = |local: &&Local| {
            local.transport == transport
                && local.address.is_ipv4() == remote.is_ipv4()
                && endpoint.is_at(&local.site)
        };
        match self.locals.iter().position(|local| fits(&local)) {
            Some(index) => Some(index as u8),
            None => self.listener_for(transport, remote),
        }
    }

    /// The listener from which messages to `remote` leave.
    pub(crate) fn listener_for(&self, transport: Transport, remote: SocketAddr) -> Option<u8> {
        self.locals
            .iter()
            .position(|local| local.transport == transport && local.address.is_ipv4() == remote.is_ipv4())
            .map(|index| index as u8)
    }

    /// Adds a call with its ingress leg.
    pub(crate) fn add_call(&mut self, call: Call) -> CallKey {
        let tag = call.ingress.tag;
        call.ingress.ips().for_each(|ip| self.share.common.neighbours.add(ip));
        if !call.is_over() {
            self.share.common.active_calls.fetch_add(1, Ordering::Relaxed);
            self.wire.metrics.active_calls.inc();
        }
        let key = self.calls.insert(Box::new(call));
        self.tags.insert(tag, (key, Side::Ingress));
        key
    }

    /// A tag or branch by which whatever follows finds this worker.
    pub(crate) fn mint(&mut self) -> u64 {
        self.fault_point();
        self.share.mint(self.rng.next_u64())
    }

    /// Makes the egress leg of a call known.
    pub(crate) fn add_egress_leg(&mut self, key: CallKey) {
        if let Some(leg) = &self.calls[key].egress {
            self.tags.insert(leg.tag, (key, Side::Egress));
            leg.ips().for_each(|ip| self.share.common.neighbours.add(ip));
        }
    }

    /// Forgets a leg.
    pub(crate) fn drop_leg(&mut self, leg: Leg) {
        self.tags.remove(&leg.tag);
        leg.ips().for_each(|ip| self.share.common.neighbours.remove(ip));
    }

    /// Ends a call: its CDR goes into the journal, and nothing of it is left but its transactions.
    pub(crate) fn finish(&mut self, now: Now, key: CallKey, outcome: Outcome) {
        let Some(call) = self.calls.remove(key) else { return };
        let Call { mut cdr, answered, ingress, egress, timers, early, numbers, identity, .. } = *call;
        self.identities.remove(&identity);
        for timer in [timers.step, timers.patience, timers.session] {
            self.wire.timers.cancel(timer);
        }
        self.passes.remove(numbers, key);
        if let (Some(EndedBy::Hub), Some(egress)) = (cdr.ended_by, egress.as_ref()) {
            let (originating_at, terminating_at) = (ingress.heard_at, egress.heard_at);
            cdr.heard = Some(Heard { originating_at, terminating_at });
        }
        for early in early {
            self.tags.remove(&early.tag);
        }
        self.drop_leg(ingress);
        if let Some(egress) = egress {
            self.drop_leg(egress);
        }
        if cdr.outcome.is_some() {
            return; // Recorded before the node restarted.
        }
        self.share.common.active_calls.fetch_sub(1, Ordering::Relaxed);
        self.wire.metrics.active_calls.dec();
        cdr.outcome = Some(outcome);
        cdr.ended_at = Some(now.utc);
        if let Some(answered_at) = cdr.answered_at {
            cdr.duration_ms = Some(match answered {
                Some(answered) => now.instant.saturating_duration_since(answered).as_millis() as u64,
                None => (now.utc - answered_at).num_milliseconds().max(0) as u64,
            });
        }
        self.wire.metrics.count_call(outcome);
        if !self.tracer.is_idle() {
            self.trace_over(now, &cdr);
        }
        self.record(&Record::Over(Cow::Owned(cdr)));
    }
}

/// Says why in a response: Warning 399 (RFC 3261 §20.43) with the code and the sentence of the registry, and
/// when to try again where that helps.
pub(crate) fn write_reason(writer: &mut tandem_sip::Writer<'_>, reason: Reason) {
    writer.header("Warning", format_args!("399 tandem \"{}: {}\"", reason.code(), reason.sentence()));
    if reason.status() == 503 {
        writer.header("Retry-After", RETRY_AFTER_S);
    }
}

/// The phrase of RFC 3261 §21 for a status that the hub itself gives.
pub(crate) fn phrase(status: u16) -> &'static str {
    match status {
        100 => "Trying",
        180 => "Ringing",
        200 => "OK",
        302 => "Moved Temporarily",
        400 => "Bad Request",
        402 => "Payment Required",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        410 => "Gone",
        413 => "Request Entity Too Large",
        415 => "Unsupported Media Type",
        416 => "Unsupported URI Scheme",
        420 => "Bad Extension",
        422 => "Session Interval Too Small",
        423 => "Interval Too Brief",
        480 => "Temporarily Unavailable",
        481 => "Call/Transaction Does Not Exist",
        482 => "Loop Detected",
        483 => "Too Many Hops",
        484 => "Address Incomplete",
        485 => "Ambiguous",
        486 => "Busy Here",
        487 => "Request Terminated",
        488 => "Not Acceptable Here",
        491 => "Request Pending",
        500 => "Server Internal Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Server Time-out",
        513 => "Message Too Large",
        600 => "Busy Everywhere",
        603 => "Decline",
        604 => "Does Not Exist Anywhere",
        606 => "Not Acceptable",
        _ => "Error",
    }
}
