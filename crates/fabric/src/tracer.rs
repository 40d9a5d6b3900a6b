//! Notes every message of a traced call: what came, what leaves, what came or left again.
//!
//! Messages find their call by the Call-ID of a leg, and only where they come from or go to who has that leg; so
//! nothing is asked of the code that makes them, and what belongs to no traced call is never noted. While no call
//! is traced a message costs one branch.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ahash::{AHashMap, AHashSet};
use chrono::{DateTime, Utc};
use memchr::memmem;
use smallvec::SmallVec;
use tandem_model::{CallId, MemberId};
use tandem_routing::RouteTable;
use tandem_sip::transaction::timer::T1;
use tandem_sip::{Message, Method, judge};

use crate::call::CallKey;
use crate::outbox::{Flow, Octets};
use crate::record::{CallRecord, TraceRecord};
use crate::tap::{Cause, Party, Tap, TracedCall, TracedMessage};
use crate::worker::{Local, Now, Worker};

/// Most calls that a worker traces at once; further ones are not traced.
const MAX_CALLS: usize = 20_000;

/// Most messages of a call that are told, and most octets of them.
const MAX_MESSAGES: u32 = 300;
const MAX_OCTETS: usize = 512 << 10;

/// How far positions jump at a restart: messages that came after the last record took some, too.
const POSITION_GAP: u32 = 1_000;

/// How long messages of a call may still come after its end: as long as its transactions last.
const AFTERMATH: Duration = T1.saturating_mul(65);

/// The calls of a worker that are traced.
#[derive(Default)]
pub(crate) struct Tracer {
    /// None where nothing is ever traced.
    tap: Option<Arc<Tap>>,
    calls: AHashMap<CallId, Tracing>,
    /// By Call-ID.
    legs: AHashMap<Box<[u8]>, TracedLeg>,
    /// Calls that have ended, in the order in which they are forgotten.
    ended: VecDeque<(Instant, CallId)>,
}

/// A call that is traced.
struct Tracing {
    call: Arc<TracedCall>,
    /// The position of the next message.
    next: u32,
    told: u32,
    octets: usize,
    dropped: u32,
    /// Hashes of what has crossed its legs.
    seen: AHashSet<u64>,
    /// Call-IDs of its legs.
    legs: SmallVec<[Box<[u8]>; 2]>,
    is_over: bool,
}

/// A leg of a call that is traced.
#[derive(Clone, Copy)]
struct TracedLeg {
    call_id: CallId,
    member: MemberId,
    /// On the egress leg: of which attempt, from 1.
    attempt: Option<u16>,
    remote: IpAddr,
}

/// How a message travels.
#[derive(Clone, Copy)]
struct Passage<'a> {
    at: DateTime<Utc>,
    flow: Flow,
    local: &'a Local,
    is_received: bool,
}

impl Tracer {
    /// A tracer that tells what it notes to `tap`.
    pub(crate) fn new(tap: Arc<Tap>) -> Self {
        Self { tap: Some(tap), ..Self::default() }
    }

    /// Whether no call is traced.
    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        self.legs.is_empty()
    }

    /// One that tells the same, and traces nothing yet.
    #[cfg(test)]
    pub(crate) fn anew(&self) -> Self {
        Self { tap: self.tap.clone(), ..Self::default() }
    }

    /// How many calls are traced, those that have just ended too.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.calls.len().max(self.legs.len()).max(self.ended.len())
    }

    fn begin(&mut self, call_id: CallId, began_at: DateTime<Utc>, cause: Cause) {
        let call = Arc::new(TracedCall { call_id, began_at, cause });
        let tracing = Tracing {
            call,
            next: 1,
            told: 0,
            octets: 0,
            dropped: 0,
            seen: AHashSet::new(),
            legs: SmallVec::new(),
            is_over: false,
        };
        self.calls.insert(call_id, tracing);
    }

    /// How a call is traced, for the journal.
    pub(crate) fn record(&self, call_id: CallId) -> Option<TraceRecord> {
        if self.is_idle() {
            return None;
        }
        let &Tracing { ref call, next, told, dropped, .. } = self.calls.get(&call_id)?;
        let Cause { selection, is_kept } = call.cause;
        Some(TraceRecord { selection, is_kept, next, told, dropped })
    }

    fn add_leg(&mut self, call_id_header: &[u8], leg: TracedLeg) {
        if let Some(tracing) = self.calls.get_mut(&leg.call_id) {
            tracing.legs.push(call_id_header.into());
            self.legs.insert(call_id_header.into(), leg);
        }
    }

    /// The leg that a message between the hub and `flow.remote` belongs to.
    fn leg(&self, call_id: &[u8], flow: Flow, table: &RouteTable) -> Option<TracedLeg> {
        let leg = self.legs.get(call_id)?;
        let is_theirs = leg.remote == flow.remote.ip() || table.sends_from(leg.member, flow.remote);
        is_theirs.then_some(*leg)
    }

    fn note(
        &mut self,
        leg: TracedLeg,
        passage: Passage<'_>,
        octets: &[u8],
        is_begin: bool,
        shared: impl FnOnce() -> Octets,
    ) {
        let (Some(tap), Some(tracing)) = (&self.tap, self.calls.get_mut(&leg.call_id)) else { return };
        let hash = tracing.seen.hasher().hash_one((octets, passage.is_received, leg.attempt));
        let is_again = tracing.seen.contains(&hash);
        if is_begin && tracing.is_over && !is_again {
            return; // Another call with the same Call-ID.
        }
        let position = tracing.next;
        tracing.next = position.saturating_add(1);
        let has_room = tracing.told < MAX_MESSAGES && tracing.octets + octets.len() <= MAX_OCTETS;
        let held = if has_room { tap.hold(octets.len()) } else { None };
        let is_told = held.is_some_and(|held| {
            tap.tell(TracedMessage {
                call: tracing.call.clone(),
                position,
                dropped: tracing.dropped,
                at: passage.at,
                member: leg.member,
                attempt: leg.attempt,
                is_received: passage.is_received,
                is_again,
                transport: passage.flow.transport,
                hub: passage.local.address,
                remote: passage.flow.remote,
                octets: shared(),
                held,
            })
        });
        if is_told {
            tracing.told += 1;
            tracing.octets += octets.len();
            tracing.seen.insert(hash);
        } else {
            tracing.dropped += 1;
            tap.count_dropped();
        }
    }

    /// Forgets the calls that ended long enough ago.
    fn sweep(&mut self, now: Instant) {
        while let Some(&(at, call_id)) = self.ended.front()
            && at <= now
        {
            self.ended.pop_front();
            let Some(tracing) = self.calls.remove(&call_id) else { continue };
            for leg in tracing.legs {
                // A later call may have taken the Call-ID over.
                if self.legs.get(&leg).is_some_and(|it| it.call_id == call_id) {
                    self.legs.remove(&leg);
                }
            }
        }
    }
}

impl Worker {
    /// Decides whether a call that has just begun is traced, and notes its INVITE if so.
    pub(crate) fn trace_call(&mut self, key: CallKey) {
        let Some(tap) = &self.tracer.tap else { return };
        if !tap.is_on() && self.tracer.is_idle() {
            return;
        }
        let cdr = &self.calls[key].cdr;
        let party = Party { member: cdr.originating_member, endpoint: cdr.originating_endpoint };
        let cause = tap.cause_at_begin(cdr.call_id, party, [&cdr.calling, &cdr.called], cdr.started_at);
        if let Some(cause) = cause.filter(|_| self.tracer.calls.len() < MAX_CALLS) {
            self.begin_trace(key, cause);
        } else if !self.tracer.is_idle() {
            // The Call-ID is this call's from here on, whichever had it.
            self.tracer.legs.remove(cdr.ingress_call_id.as_bytes());
        }
    }

    /// Decides whether a call that is tried at an endpoint is traced for that, and adds the leg if it is traced.
    pub(crate) fn trace_attempt(&mut self, key: CallKey) {
        let Some(tap) = &self.tracer.tap else { return };
        if !tap.is_on() && self.tracer.is_idle() {
            return;
        }
        let cdr = &self.calls[key].cdr;
        if !self.tracer.calls.contains_key(&cdr.call_id)
            && let Some(leg) = &self.calls[key].egress
        {
            let numbers = [&*cdr.calling, &*cdr.called];
            // The number in its final form may meet what the dialled one did not.
            let cause = [(cdr.originating_member, cdr.originating_endpoint), (leg.member, leg.endpoint)]
                .into_iter()
                .map(|(member, endpoint)| Party { member, endpoint })
                .find_map(|party| tap.cause_by_selection(party, numbers, cdr.started_at));
            if let Some(cause) = cause.filter(|_| self.tracer.calls.len() < MAX_CALLS) {
                self.begin_trace(key, cause);
            }
        }
        let call = &self.calls[key];
        let (Some(leg), Some(attempt)) = (&call.egress, call.cdr.attempts.last()) else { return };
        let traced = TracedLeg {
            call_id: call.cdr.call_id,
            member: leg.member,
            attempt: Some(call.cdr.attempts.len() as u16),
            remote: leg.flow.remote.ip(),
        };
        self.tracer.add_leg(attempt.egress_call_id.as_bytes(), traced);
    }

    /// Goes on tracing a call that was up before the node restarted.
    ///
    /// What crossed its legs before is not known any more: a message that comes again across the restart is noted as a
    /// new one.
    pub(crate) fn resume_trace(&mut self, now: Now, key: CallKey, trace: Option<TraceRecord>) {
        let (Some(trace), true) = (trace, self.tracer.tap.is_some()) else { return };
        let call = &self.calls[key];
        let cdr = &call.cdr;
        self.tracer.begin(
            cdr.call_id,
            cdr.started_at,
            Cause { selection: trace.selection, is_kept: trace.is_kept },
        );
        for (leg, attempt) in [(Some(&call.ingress), None), (call.egress.as_ref(), Some(cdr.attempts.len()))]
        {
            let Some((leg, dialog)) = leg.and_then(|leg| Some((leg, leg.dialog.as_ref()?))) else { continue };
            let traced = TracedLeg {
                call_id: cdr.call_id,
                member: leg.member,
                attempt: attempt.map(|attempts| attempts as u16),
                remote: leg.flow.remote.ip(),
            };
            self.tracer.add_leg(&dialog.call_id, traced);
        }
        let Some(tracing) = self.tracer.calls.get_mut(&cdr.call_id) else { return };
        tracing.next = trace.next.saturating_add(POSITION_GAP);
        (tracing.told, tracing.dropped) = (trace.told, trace.dropped);
        if call.is_over() {
            tracing.is_over = true;
            self.tracer.ended.push_back((now.instant + AFTERMATH, cdr.call_id));
        }
    }

    fn begin_trace(&mut self, key: CallKey, cause: Cause) {
        let call = &self.calls[key];
        let Some(invite) = &call.invite else { return };
        let Ok(message) = Message::parse(&invite.request) else { return };
        let Ok(header) = message.call_id() else { return };
        let leg = TracedLeg {
            call_id: call.cdr.call_id,
            member: call.ingress.member,
            attempt: None,
            remote: call.ingress.flow.remote.ip(),
        };
        let flow = call.ingress.flow;
        let local = &self.locals[usize::from(flow.listener)];
        let passage = Passage { at: call.cdr.started_at, flow, local, is_received: true };
        self.tracer.begin(leg.call_id, passage.at, cause);
        self.tracer.add_leg(header, leg);
        self.tracer.note(leg, passage, &invite.request, true, || invite.request.clone());
    }

    /// Notes a message that came, if it belongs to a call that is traced.
    pub(crate) fn trace_received(&mut self, now: Now, flow: Flow, message: &Message<'_>) {
        let Ok(header) = message.call_id() else { return };
        let Some(leg) = self.tracer.leg(header, flow, &self.table) else { return };
        if judge(message).is_err() {
            return;
        }
        let is_begin =
            message.request().is_some_and(|line| line.method == Method::Invite) && message.to_tag().is_none();
        let local = &self.locals[usize::from(flow.listener)];
        let passage = Passage { at: now.utc, flow, local, is_received: true };
        let octets = message.octets();
        self.tracer.note(leg, passage, octets, is_begin, || Octets::from(octets));
    }

    /// Notes what is about to leave, if it belongs to calls that are traced. Call it before the outbox is emptied.
    pub(crate) fn trace_sent(&mut self, now: Now) {
        if self.tracer.is_idle() {
            return;
        }
        for (flow, octets) in self.wire.outbox.waiting() {
            let Some(header) = call_id(octets) else { continue };
            let Some(leg) = self.tracer.leg(header, *flow, &self.table) else { continue };
            let local = &self.locals[usize::from(flow.listener)];
            let passage = Passage { at: now.utc, flow: *flow, local, is_received: false };
            self.tracer.note(leg, passage, octets, false, || octets.clone());
        }
        self.tracer.sweep(now.instant);
    }

    /// A call is over: what still comes of it is noted for as long as its transactions last.
    pub(crate) fn trace_over(&mut self, now: Now, record: &CallRecord) {
        let call_id = record.call_id;
        if let Some(tracing) = self.tracer.calls.get_mut(&call_id) {
            tracing.is_over = true;
            self.tracer.ended.push_back((now.instant + AFTERMATH, call_id));
            if let Some(tap) = self.tracer.tap.as_ref().filter(|_| tracing.call.cause.is_kept) {
                tap.tell_over(record);
            }
        }
    }
}

/// The Call-ID of a message that the hub wrote: it writes the name in full, and before anything of others'.
fn call_id(octets: &[u8]) -> Option<&[u8]> {
    const NAME: &[u8] = b"\r\nCall-ID: ";
    let start = memmem::find(octets, NAME)? + NAME.len();
    let len = memchr::memchr(b'\r', &octets[start..])?;
    Some(&octets[start..start + len])
}
