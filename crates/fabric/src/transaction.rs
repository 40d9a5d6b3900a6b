//! Drives the four transactions of `sip`: keeps their state, sends and resends their messages, runs their
//! timers, and tells the call what came of them.

use std::time::{Duration, Instant};

use ahash::{AHashMap, RandomState};
use slotmap::SlotMap;
use tandem_sip::transaction::{
    Action, Match, Timer, client_invite, client_non_invite, server_invite, server_non_invite,
};
use tandem_sip::{Message, Method, Name, Uri, Writer};

use crate::call::CallKey;
use crate::challenge::ChallengeKey;
use crate::crossing::{TIMER, lists};
use crate::leg::Side;
use crate::metrics::Metrics;
use crate::outbox::{Flow, Octets, Outbox};
use crate::page::PageKey;
use crate::timer::{TimerHandle, TimerQueue, Wake};
use crate::watch::WatchKey;

slotmap::new_key_type! {
    /// Names a transaction of this worker; a key is never used again.
    pub(crate) struct TransactionKey;
}

/// The key of a server transaction as 128 bits: equal for equal keys, and for others by a chance that does not
/// happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Fingerprint(pub(crate) [u64; 2]);

/// What every handler of the worker writes to.
pub(crate) struct Wire {
    pub(crate) outbox: Outbox,
    pub(crate) timers: TimerQueue,
    pub(crate) metrics: Metrics,
}

/// On whose behalf a transaction runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum User {
    /// Nobody waits for it: the hub's own answer, or a request whose outcome changes nothing.
    Nobody,
    /// A call.
    Call(CallKey),
    /// The question whether the member on a leg still knows the call, which refreshes it.
    Probe(CallKey, Side),
    /// The question whether an endpoint is there.
    Health(WatchKey),
    /// A MESSAGE that belongs to no call.
    Page(PageKey),
    /// A registration of the hub at a member's switch, by its place.
    Registration(u32),
    /// A call to a number of a claimed range.
    Challenge(ChallengeKey),
    /// A call gave this INVITE up: it is cancelled as soon as that is allowed, and should it be answered
    /// all the same, the answer is acknowledged and hung up (RFC 3261 §9.1, §15).
    Abandoned {
        /// Whether its CANCEL has been sent.
        cancelled: bool,
    },
}

/// How a client transaction ended without a final response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// No response in time (timers B and F), or no ACK (timer H).
    TimedOut,
    /// The transport failed.
    Failed,
}

#[derive(Clone, Copy, Debug)]
enum Machine {
    InviteClient(client_invite::State),
    NonInviteClient(client_non_invite::State),
    InviteServer(server_invite::State),
    NonInviteServer(server_non_invite::State),
}

/// What happened to a transaction, for whichever machine it runs.
#[derive(Clone, Copy, Debug)]
enum Happening {
    Request,
    Ack,
    Response(u16),
    Send(u16),
    Fired(Timer),
    TransportError,
}

#[derive(Debug)]
enum Key {
    Client { branch: u64, cancel: bool },
    Server(Fingerprint),
}

/// A request ready to be sent.
#[derive(Debug)]
pub(crate) struct Outgoing {
    /// The number in its branch.
    pub(crate) branch: u64,
    pub(crate) flow: Flow,
    pub(crate) octets: Octets,
}

#[derive(Debug)]
struct Transaction {
    machine: Machine,
    key: Key,
    flow: Flow,
    user: User,
    /// Client: the request, after a final response its ACK. Server: the last response.
    octets: Option<Octets>,
    /// How often the retransmission timer fired.
    fired: u8,
    /// The next retransmission: timer A, E or G.
    resend: TimerHandle,
    /// Whichever other timer was started last.
    wait: TimerHandle,
}

impl Transaction {
    fn new(machine: Machine, key: Key, flow: Flow, user: User, octets: Option<Octets>) -> Self {
        let none = TimerHandle::NONE;
        Self { machine, key, flow, user, octets, fired: 0, resend: none, wait: none }
    }

    fn step(&mut self, happening: Happening) -> &'static [Action] {
        match &mut self.machine {
            Machine::InviteClient(state) => {
                use client_invite::Event;
                let event = match happening {
                    Happening::Response(100..=199) => Event::Provisional,
                    Happening::Response(200..=299) => Event::Success,
                    Happening::Response(_) => Event::Failure,
                    Happening::Fired(timer) => Event::Fired(timer),
                    Happening::TransportError => Event::TransportError,
                    Happening::Request | Happening::Ack | Happening::Send(_) => return &[],
                };
                let (next, actions) = client_invite::step(*state, event);
                *state = next;
                actions
            }
            Machine::NonInviteClient(state) => {
                use client_non_invite::Event;
                let event = match happening {
                    Happening::Response(100..=199) => Event::Provisional,
                    Happening::Response(_) => Event::Final,
                    Happening::Fired(timer) => Event::Fired(timer),
                    Happening::TransportError => Event::TransportError,
                    Happening::Request | Happening::Ack | Happening::Send(_) => return &[],
                };
                let (next, actions) = client_non_invite::step(*state, event);
                *state = next;
                actions
            }
            Machine::InviteServer(state) => {
                use server_invite::Event;
                let event = match happening {
                    Happening::Request => Event::Request,
                    Happening::Ack => Event::Ack,
                    Happening::Send(100..=199) => Event::SendProvisional,
                    Happening::Send(200..=299) => Event::SendSuccess,
                    Happening::Send(_) => Event::SendFailure,
                    Happening::Fired(timer) => Event::Fired(timer),
                    Happening::TransportError => Event::TransportError,
                    Happening::Response(_) => return &[],
                };
                let (next, actions) = server_invite::step(*state, event);
                *state = next;
                actions
            }
            Machine::NonInviteServer(state) => {
                use server_non_invite::Event;
                let event = match happening {
                    Happening::Request => Event::Request,
                    Happening::Send(100..=199) => Event::SendProvisional,
                    Happening::Send(_) => Event::SendFinal,
                    Happening::Fired(timer) => Event::Fired(timer),
                    Happening::TransportError => Event::TransportError,
                    Happening::Ack | Happening::Response(_) => return &[],
                };
                let (next, actions) = server_non_invite::step(*state, event);
                *state = next;
                actions
            }
        }
    }

    /// How long a timer runs, given where the transaction stands.
    fn delay(&self, timer: Timer) -> Option<Duration> {
        let (reliable, fired) = (self.flow.transport.is_reliable(), u32::from(self.fired));
        match self.machine {
            Machine::NonInviteClient(client_non_invite::State::Proceeding) => {
                timer.delay_in_proceeding(reliable, fired)
            }
            _ => timer.delay(reliable, fired),
        }
    }
}

/// What is left for the caller to do after an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    /// On whose behalf the transaction runs.
    pub(crate) user: User,
    /// Whether what came in is for the user.
    pub(crate) deliver: bool,
    /// Whether the transaction has ended without what it waited for.
    pub(crate) ending: Option<Ending>,
}

/// Transactions that a worker has room for from its start: to make room copies all that there are, between two messages.
/// Room that was never used takes no memory.
const ROOM: usize = 1 << 16;

/// The transactions of a worker.
pub(crate) struct Transactions {
    slots: SlotMap<TransactionKey, Transaction>,
    clients: AHashMap<(u64, bool), TransactionKey>,
    servers: AHashMap<Fingerprint, TransactionKey>,
    /// Requests that went by TCP for their size, as datagrams: until there is a response to them.
    datagrams: AHashMap<TransactionKey, (Flow, Octets)>,
    fingerprints: [RandomState; 2],
    /// The server transaction that was begun last.
    begun: Option<TransactionKey>,
    scratch: Vec<u8>,
}

impl Transactions {
    /// None yet; `seeds` keep outsiders from choosing keys that collide.
    pub(crate) fn new(seeds: [u64; 4]) -> Self {
        let [a, b, c, d] = seeds;
        Self {
            slots: SlotMap::with_capacity_and_key(ROOM),
            clients: AHashMap::new(),
            servers: AHashMap::new(),
            datagrams: AHashMap::new(),
            fingerprints: [RandomState::with_seeds(a, b, c, d), RandomState::with_seeds(d, c, b, a)],
            begun: None,
            scratch: Vec::new(),
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The fingerprint of a key.
    pub(crate) fn fingerprint(&mut self, key: &Match<'_>) -> Fingerprint {
        self.scratch.clear();
        key.write(&mut self.scratch);
        let [high, low] = &self.fingerprints;
        Fingerprint([high.hash_one(&self.scratch), low.hash_one(&self.scratch)])
    }

    /// What tells an INVITE from every other, whichever way it came (RFC 3261 §8.2.2.2): From tag, Call-ID, CSeq, and
    /// the called number too, since one hub is the way to many. Never 0.
    pub(crate) fn identity(&self, invite: &Message<'_>) -> u64 {
        let uri = invite.request().map(|line| line.uri);
        let called = uri.and_then(|uri| Uri::parse(uri).ok()?.user_number());
        let number = invite.cseq().map_or(0, |cseq| cseq.number);
        self.fingerprints[0].hash_one((invite.from_tag(), invite.call_id().ok(), number, called)).max(1)
    }

    /// The server transaction with this fingerprint.
    pub(crate) fn server(&self, fingerprint: Fingerprint) -> Option<TransactionKey> {
        self.servers.get(&fingerprint).copied()
    }

    /// The client transaction that a response belongs to, when it comes from where the request went.
    pub(crate) fn client(&self, branch: &[u8], method: Method<'_>, flow: Flow) -> Option<TransactionKey> {
        let branch = parse_branch(branch)?;
        let key = *self.clients.get(&(branch, method == Method::Cancel))?;
        let transaction = &self.slots[key];
        let same_peer =
            transaction.flow.remote.ip() == flow.remote.ip() && transaction.flow.transport == flow.transport;
        same_peer.then_some(key)
    }

    /// The user of a transaction.
    pub(crate) fn user(&self, key: TransactionKey) -> Option<User> {
        self.slots.get(key).map(|transaction| transaction.user)
    }

    /// Where a transaction's messages go.
    pub(crate) fn flow(&self, key: TransactionKey) -> Option<Flow> {
        self.slots.get(key).map(|transaction| transaction.flow)
    }

    /// A client's request, or the ACK that followed it.
    pub(crate) fn octets(&self, key: TransactionKey) -> Option<&Octets> {
        self.slots.get(key)?.octets.as_ref()
    }

    /// Whether a client INVITE transaction still waits for its first response.
    pub(crate) fn has_had_no_response(&self, key: TransactionKey) -> bool {
        self.slots.get(key).is_some_and(|transaction| {
            matches!(transaction.machine, Machine::InviteClient(client_invite::State::Calling))
        })
    }

    /// The branch of a client transaction.
    pub(crate) fn branch(&self, key: TransactionKey) -> Option<u64> {
        match self.slots.get(key)?.key {
            Key::Client { branch, .. } => Some(branch),
            Key::Server(_) => None,
        }
    }

    /// Begins a server transaction for a request that came by `flow`; responses go by it, too.
    pub(crate) fn open_server(
        &mut self,
        fingerprint: Fingerprint,
        is_invite: bool,
        flow: Flow,
        user: User,
    ) -> TransactionKey {
        let machine = if is_invite {
            Machine::InviteServer(server_invite::START.0)
        } else {
            Machine::NonInviteServer(server_non_invite::START.0)
        };
        let key = Key::Server(fingerprint);
        let key = self.slots.insert(Transaction::new(machine, key, flow, user, None));
        self.servers.insert(fingerprint, key);
        self.begun = Some(key);
        key
    }

    /// Begins a client transaction and sends its request.
    pub(crate) fn open_client(
        &mut self,
        wire: &mut Wire,
        now: Instant,
        method: Method<'_>,
        request: Outgoing,
        user: User,
    ) -> TransactionKey {
        let Outgoing { branch, flow, octets } = request;
        let (machine, actions) = if method == Method::Invite {
            (Machine::InviteClient(client_invite::START.0), client_invite::START.1)
        } else {
            (Machine::NonInviteClient(client_non_invite::START.0), client_non_invite::START.1)
        };
        let cancel = method == Method::Cancel;
        let key = Key::Client { branch, cancel };
        let key = self.slots.insert(Transaction::new(machine, key, flow, user, Some(octets)));
        self.clients.insert((branch, cancel), key);
        self.perform(wire, now, key, actions, None, false);
        key
    }

    /// Keeps a request of a client transaction as a datagram: what is sent where no stream can be opened.
    pub(crate) fn keep_datagram(&mut self, key: TransactionKey, flow: Flow, octets: Octets) {
        self.datagrams.insert(key, (flow, octets));
    }

    /// Takes up an INVITE server transaction that has had its 2xx (RFC 6026 §7.1).
    pub(crate) fn resume_server(
        &mut self,
        wire: &mut Wire,
        now: Instant,
        fingerprint: Fingerprint,
        flow: Flow,
        user: User,
    ) -> TransactionKey {
        let key = self.open_server(fingerprint, true, flow, user);
        self.happen(wire, now, key, Happening::Send(200), None);
        key
    }

    /// Takes up an INVITE client transaction that has had its 2xx (RFC 6026 §7.2).
    pub(crate) fn resume_client(
        &mut self,
        wire: &mut Wire,
        now: Instant,
        branch: u64,
        flow: Flow,
        user: User,
    ) -> TransactionKey {
        let (machine, key) =
            (Machine::InviteClient(client_invite::START.0), Key::Client { branch, cancel: false });
        let key = self.slots.insert(Transaction::new(machine, key, flow, user, None));
        self.clients.insert((branch, false), key);
        self.happen(wire, now, key, Happening::Response(200), None);
        key
    }

    /// Changes on whose behalf a transaction runs.
    pub(crate) fn set_user(&mut self, key: TransactionKey, user: User) {
        if let Some(transaction) = self.slots.get_mut(key) {
            transaction.user = user;
        }
    }

    /// Keeps the ACK to a 2xx with its INVITE transaction: it is sent again when the 2xx comes again.
    pub(crate) fn keep_ack(&mut self, key: TransactionKey, ack: Octets) {
        if let Some(transaction) = self.slots.get_mut(key) {
            transaction.octets = Some(ack);
        }
    }

    /// Lets go of octets that cannot be needed again.
    pub(crate) fn forget_octets(&mut self, key: TransactionKey) {
        if let Some(transaction) = self.slots.get_mut(key) {
            transaction.octets = None;
        }
    }

    /// Takes a request that came again.
    pub(crate) fn receive_again(&mut self, wire: &mut Wire, now: Instant, key: TransactionKey) {
        wire.metrics.retransmissions_in.inc();
        self.happen(wire, now, key, Happening::Request, None);
    }

    /// Takes the ACK with the branch of an INVITE: to a final response other than 2xx or, from a sender that
    /// makes no new branch for it, to a 2xx; that one is to be delivered.
    pub(crate) fn receive_ack(&mut self, wire: &mut Wire, now: Instant, key: TransactionKey) -> Told {
        self.happen(wire, now, key, Happening::Ack, None)
    }

    /// Takes a response.
    pub(crate) fn receive_response(
        &mut self,
        wire: &mut Wire,
        now: Instant,
        key: TransactionKey,
        response: &Message<'_>,
        status: u16,
    ) -> Told {
        self.datagrams.remove(&key);
        self.happen(wire, now, key, Happening::Response(status), Some(response))
    }

    /// Sends a response.
    pub(crate) fn respond(
        &mut self,
        wire: &mut Wire,
        now: Instant,
        key: TransactionKey,
        status: u16,
        octets: Octets,
    ) {
        if let Some(transaction) = self.slots.get_mut(key) {
            transaction.octets = Some(octets);
            self.happen(wire, now, key, Happening::Send(status), None);
        }
    }

    /// A timer of a transaction ran out.
    pub(crate) fn fire(&mut self, wire: &mut Wire, now: Instant, key: TransactionKey, timer: Timer) -> Told {
        if matches!(timer, Timer::A | Timer::E | Timer::G)
            && let Some(transaction) = self.slots.get_mut(key)
        {
            transaction.fired = transaction.fired.saturating_add(1);
        }
        self.happen(wire, now, key, Happening::Fired(timer), None)
    }

    /// The client transactions whose requests went to `remote` by a stream that failed.
    pub(crate) fn clients_toward(&self, flow: Flow) -> Vec<TransactionKey> {
        self.slots
            .iter()
            .filter(|(_, transaction)| {
                matches!(transaction.key, Key::Client { .. })
                    && transaction.flow.transport == flow.transport
                    && transaction.flow.remote == flow.remote
            })
            .map(|(key, _)| key)
            .collect()
    }

    /// The transport could not send a client transaction's request: it begins anew with the datagram, where there is one
    /// and anybody waits for it still.
    pub(crate) fn fail(&mut self, wire: &mut Wire, now: Instant, key: TransactionKey) -> Told {
        if let Some((flow, octets)) = self.datagrams.remove(&key)
            && let Some(transaction) = self.slots.get_mut(key)
            && !matches!(transaction.user, User::Abandoned { .. })
        {
            (transaction.flow, transaction.octets) = (flow, Some(octets));
            let actions = match transaction.machine {
                Machine::InviteClient(_) => client_invite::START.1,
                _ => client_non_invite::START.1,
            };
            return self.perform(wire, now, key, actions, None, false);
        }
        self.happen(wire, now, key, Happening::TransportError, None)
    }

    /// Drops a transaction whatever its state.
    pub(crate) fn forget(&mut self, wire: &mut Wire, key: TransactionKey) {
        if let Some(transaction) = self.slots.remove(key) {
            wire.timers.cancel(transaction.resend);
            wire.timers.cancel(transaction.wait);
            self.datagrams.remove(&key);
            match transaction.key {
                Key::Client { branch, cancel } => drop(self.clients.remove(&(branch, cancel))),
                Key::Server(fingerprint) => drop(self.servers.remove(&fingerprint)),
            }
        }
    }

    /// Forgets which server transaction was begun last.
    pub(crate) fn clear_begun(&mut self) {
        self.begun = None;
    }

    /// Drops the server transactions that nobody will answer any more: of those without a final response, the one
    /// that was begun last and those of `call`. A request that comes again is a new one then.
    pub(crate) fn forget_unanswered(&mut self, wire: &mut Wire, call: Option<CallKey>) {
        use server_non_invite::State::{Proceeding, Trying};
        let begun = self.begun.take();
        let unanswered = self.slots.iter().filter(|(key, transaction)| {
            let is_meant =
                begun == Some(*key) || call.is_some_and(|call| transaction.user == User::Call(call));
            let is_unanswered = matches!(
                transaction.machine,
                Machine::InviteServer(server_invite::State::Proceeding)
                    | Machine::NonInviteServer(Trying | Proceeding)
            );
            is_meant && is_unanswered
        });
        for key in unanswered.map(|(key, _)| key).collect::<Vec<_>>() {
            self.forget(wire, key);
        }
    }

    fn happen(
        &mut self,
        wire: &mut Wire,
        now: Instant,
        key: TransactionKey,
        happening: Happening,
        response: Option<&Message<'_>>,
    ) -> Told {
        let Some(transaction) = self.slots.get_mut(key) else {
            return Told { user: User::Nobody, deliver: false, ending: None };
        };
        let actions = transaction.step(happening);
        let again = matches!(happening, Happening::Fired(_) | Happening::Request);
        self.perform(wire, now, key, actions, response, again)
    }

    fn perform(
        &mut self,
        wire: &mut Wire,
        now: Instant,
        key: TransactionKey,
        actions: &[Action],
        response: Option<&Message<'_>>,
        again: bool,
    ) -> Told {
        let transaction = self.slots.get_mut(key).expect("the caller looked it up");
        let mut told = Told { user: transaction.user, deliver: false, ending: None };
        let mut over = false;
        for &action in actions {
            match action {
                Action::Transmit => {
                    if let Some(octets) = &transaction.octets {
                        wire.outbox.push(transaction.flow, octets.clone());
                        if again {
                            wire.metrics.retransmissions_out.inc();
                        }
                    }
                }
                Action::Ack => {
                    if let (Some(octets), Some(response)) = (&transaction.octets, response) {
                        let request = Message::parse(octets).expect("the hub wrote it");
                        if let Some(line) = request.request()
                            && line.method == Method::Invite
                        {
                            transaction.octets = Some(ack_to_failure(&request, response));
                        }
                    }
                    if let Some(ack) = &transaction.octets {
                        wire.outbox.push(transaction.flow, ack.clone());
                    }
                }
                Action::Start(timer) => {
                    if let Some(delay) = transaction.delay(timer) {
                        let place = match timer {
                            Timer::A | Timer::E | Timer::G => &mut transaction.resend,
                            _ => &mut transaction.wait,
                        };
                        wire.timers.replace(place, now + delay, Wake::Transaction(key, timer));
                    }
                }
                Action::Deliver => told.deliver = true,
                Action::TimedOut => told.ending = Some(Ending::TimedOut),
                Action::Failed => told.ending = Some(Ending::Failed),
                Action::Forget => over = true,
            }
        }
        if over {
            self.forget(wire, key);
        }
        told
    }
}

/// The ACK to a final response other than 2xx: the request's own top Via, routes and numbers, the To of the
/// response (RFC 3261 §17.1.1.3).
fn ack_to_failure(invite: &Message<'_>, response: &Message<'_>) -> Octets {
    follow_up(invite, Method::Ack, response.header(Name::To), None)
}

/// The CANCEL of an INVITE: its Request-URI, top Via, From, To, Call-ID and CSeq number (RFC 3261 §9.1), and why.
pub(crate) fn cancel(invite: &Message<'_>, why: Option<&[u8]>) -> Octets {
    follow_up(invite, Method::Cancel, None, why)
}

fn follow_up(invite: &Message<'_>, method: Method<'_>, to: Option<&[u8]>, why: Option<&[u8]>) -> Octets {
    let mut out = Vec::with_capacity(512);
    let line = invite.request().expect("it is a request");
    let mut writer = Writer::request(&mut out, method, line.uri);
    if let Ok(via) = invite.top_via_value() {
        writer.header_bytes("Via", via);
    }
    writer.header("Max-Forwards", 70);
    writer.copy(invite, Name::Route);
    if let Some(from) = invite.header(Name::From) {
        writer.header_bytes("From", from);
    }
    if let Some(to) = to.or_else(|| invite.header(Name::To)) {
        writer.header_bytes("To", to);
    }
    if let Some(call_id) = invite.header(Name::CallId) {
        writer.header_bytes("Call-ID", call_id);
    }
    let number = invite.cseq().map_or(1, |cseq| cseq.number);
    writer.header("CSeq", format_args!("{number} {method}"));
    let is_told_of_timers = || invite.all(Name::Supported).any(|tags| lists(tags, TIMER));
    if method == Method::Cancel && is_told_of_timers() {
        // In every request but ACK (RFC 4028 §7.1).
        writer.header_bytes("Supported", TIMER);
    }
    if let Some(why) = why {
        writer.header_bytes("Reason", why);
    }
    writer.finish(None, b"");
    out.into()
}

/// Octets that begin every branch of RFC 3261 §8.1.1.7.
const COOKIE: &str = "z9hG4bK";

/// A branch of this hub as text.
pub(crate) fn format_branch(branch: u64) -> String {
    format!("{COOKIE}{branch:016x}")
}

/// The number in a branch that this hub made.
pub(crate) fn parse_branch(branch: &[u8]) -> Option<u64> {
    parse_hex(branch.strip_prefix(COOKIE.as_bytes())?)
}

/// Sixteen lower-case hexadecimal digits as a number.
pub(crate) fn parse_hex(text: &[u8]) -> Option<u64> {
    let is_hex = |octet: &u8| matches!(octet, b'0'..=b'9' | b'a'..=b'f');
    if text.len() != 16 || !text.iter().all(is_hex) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(text).ok()?, 16).ok()
}
