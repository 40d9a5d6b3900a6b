//! Which calls are traced, and the bounded way by which their messages leave the workers.
//!
//! Workers only read it, save for counters; a background task changes what is selected and takes what is told.
//! Nothing in here waits: what finds no room is dropped and counted.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};
use prometheus::IntCounter;
use tandem_model::{CallId, E164, EndpointId, MemberId, TraceSelection, TraceSelectionId, Transport};
use tokio::sync::mpsc;

use crate::metrics::Metrics;
use crate::outbox::Octets;
use crate::record::CallRecord;
use crate::recorder::TraceSettings;

/// Octets of traced messages that a node holds at most, whatever waits for whom.
const ROOM: usize = 16 << 20;

/// What a held message takes beside its octets.
const OVERHEAD: usize = 512;

/// Messages that may wait for the background task.
const QUEUE: usize = 8_192;

/// Bits of a call's id that are random to everyone (RFC 9562 §5.7: `rand_b`).
const CHANCE_BITS: u32 = 62;

/// A selection as the workers count by it.
#[derive(Debug)]
pub(crate) struct Selected {
    pub(crate) selection: TraceSelection,
    /// Calls that this node has traced for it.
    pub(crate) taken: Arc<AtomicU32>,
    /// Calls that were traced for it by others, or before this node was started.
    pub(crate) elsewhere: u32,
}

impl Selected {
    /// Counts a call, unless there were enough.
    fn take(&self) -> bool {
        let most = self.selection.max_calls.saturating_sub(self.elsewhere);
        let count = |taken: u32| (taken < most).then_some(taken + 1);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, count).is_ok()
    }
}

/// One side of a call, as a selection sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Party {
    pub(crate) member: MemberId,
    pub(crate) endpoint: EndpointId,
}

/// Why a call is traced, and what is done with its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cause {
    /// For whose selection; `None` for chance, or because everything is exported.
    pub(crate) selection: Option<TraceSelectionId>,
    /// Whether its messages are kept for the ladder; otherwise they are only exported.
    pub(crate) is_kept: bool,
}

/// The call that a message belongs to.
#[derive(Debug)]
pub(crate) struct TracedCall {
    pub(crate) call_id: CallId,
    pub(crate) began_at: DateTime<Utc>,
    pub(crate) cause: Cause,
}

/// One message of a traced call, as it came or left: its secrets are still in it.
#[derive(Debug)]
pub(crate) struct TracedMessage {
    pub(crate) call: Arc<TracedCall>,
    /// Its place in the order of the call's messages, from 1; after a restart of the node some are left out.
    pub(crate) position: u32,
    /// Messages of the call before this one that found no room.
    pub(crate) dropped: u32,
    pub(crate) at: DateTime<Utc>,
    /// On whose leg.
    pub(crate) member: MemberId,
    /// On the egress leg: of which attempt, from 1.
    pub(crate) attempt: Option<u16>,
    pub(crate) is_received: bool,
    /// Whether the same octets crossed the leg before.
    pub(crate) is_again: bool,
    pub(crate) transport: Transport,
    pub(crate) hub: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) octets: Octets,
    pub(crate) held: Held,
}

/// What the background task is told.
#[derive(Debug)]
pub(crate) enum Told {
    /// A message of a traced call came or left.
    Message(TracedMessage),
    /// A traced call is over.
    Over(Box<CallRecord>),
    /// The CDRs of these calls are in the database.
    Shipped(Vec<CallId>),
}

/// Room that a message takes, until it is let go.
#[derive(Debug)]
pub(crate) struct Held {
    room: Arc<AtomicUsize>,
    octets: usize,
}

impl Held {
    fn of(room: &Arc<AtomicUsize>, octets: usize) -> Option<Self> {
        let octets = octets + OVERHEAD;
        let take = |left: usize| left.checked_sub(octets);
        room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).ok()?;
        Some(Self { room: room.clone(), octets })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.room.fetch_add(self.octets, Ordering::Relaxed);
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Tap {
    /// A call whose random bits are below it is traced.
    chance: u64,
    /// Whether the messages of every call are exported.
    is_all: bool,
    /// Whether `selections` has any.
    is_selecting: AtomicBool,
    selections: ArcSwap<Vec<Selected>>,
    sender: mpsc::Sender<Told>,
    /// Whether spans are made of traced calls.
    has_spans: bool,
    /// Octets that may still be held.
    room: Arc<AtomicUsize>,
    dropped: IntCounter,
    spans_dropped: IntCounter,
}

impl Tap {
    /// A tap that traces by these settings, with the other end of its way out.
    pub(crate) fn new(settings: &TraceSettings, metrics: &Metrics) -> (Arc<Self>, mpsc::Receiver<Told>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let chance = (settings.sample.clamp(0.0, 1.0) * (1_u64 << CHANCE_BITS) as f64) as u64;
        let tap = Self {
            chance,
            is_all: settings.hep.as_ref().is_some_and(|hep| hep.is_all),
            is_selecting: AtomicBool::new(false),
            selections: ArcSwap::default(),
            sender,
            has_spans: settings.otlp.is_some(),
            room: Arc::new(AtomicUsize::new(ROOM)),
            dropped: metrics.trace_dropped.clone(),
            spans_dropped: metrics.spans_dropped.clone(),
        };
        (Arc::new(tap), receiver)
    }

    /// Whether any call may be traced.
    pub(crate) fn is_on(&self) -> bool {
        self.chance > 0 || self.is_all || self.is_selecting.load(Ordering::Relaxed)
    }

    /// Replaces what is selected. The calls that this node has traced for a selection stay counted.
    pub(crate) fn select(&self, selections: Vec<(TraceSelection, u32)>) {
        let before = self.selections.load();
        let selected = selections.into_iter().map(|(selection, elsewhere)| {
            let known =
                before.iter().find(|it| it.selection.trace_selection_id == selection.trace_selection_id);
            Selected { selection, taken: known.map(|it| it.taken.clone()).unwrap_or_default(), elsewhere }
        });
        let selected: Vec<Selected> = selected.collect();
        self.is_selecting.store(!selected.is_empty(), Ordering::Relaxed);
        self.selections.store(Arc::new(selected));
    }

    /// Whether a call that begins is traced, by chance or by a selection that its originating side meets.
    pub(crate) fn cause_at_begin(
        &self,
        call: CallId,
        party: Party,
        numbers: [&str; 2],
        at: DateTime<Utc>,
    ) -> Option<Cause> {
        if let Some(cause) = self.cause_by_selection(party, numbers, at) {
            return Some(cause);
        }
        let random = call.0.as_u64_pair().1 & ((1 << CHANCE_BITS) - 1);
        let is_kept = random < self.chance;
        (is_kept || self.is_all).then_some(Cause { selection: None, is_kept })
    }

    /// Whether a side of a call meets a selection that is in force and has not had enough.
    pub(crate) fn cause_by_selection(
        &self,
        party: Party,
        numbers: [&str; 2],
        at: DateTime<Utc>,
    ) -> Option<Cause> {
        if !self.is_selecting.load(Ordering::Relaxed) {
            return None;
        }
        let selections = self.selections.load();
        let met = selections.iter().find(|it| meets(&it.selection, party, numbers, at) && it.take())?;
        Some(Cause { selection: Some(met.selection.trace_selection_id), is_kept: true })
    }

    /// Room for a message of so many octets, if there is any.
    pub(crate) fn hold(&self, octets: usize) -> Option<Held> {
        Held::of(&self.room, octets)
    }

    /// Hands a message over; false where there is no room for it.
    pub(crate) fn tell(&self, message: TracedMessage) -> bool {
        self.sender.try_send(Told::Message(message)).is_ok()
    }

    /// Tells that a traced call is over, where spans are made of it.
    pub(crate) fn tell_over(&self, record: &CallRecord) {
        if self.has_spans && self.sender.try_send(Told::Over(Box::new(record.clone()))).is_err() {
            self.spans_dropped.inc();
        }
    }

    /// Tells which CDRs are in the database, where spans wait for them.
    pub(crate) fn tell_shipped(&self, calls: impl FnOnce() -> Vec<CallId>) {
        if self.has_spans {
            // What is not told is waited for a while.
            let _ = self.sender.try_send(Told::Shipped(calls()));
        }
    }

    /// Counts a message that found no room.
    pub(crate) fn count_dropped(&self) {
        self.dropped.inc();
    }
}

fn meets(selection: &TraceSelection, party: Party, numbers: [&str; 2], at: DateTime<Utc>) -> bool {
    let begins = |number: &str| {
        let number: Option<E164> = number.parse().ok();
        selection.prefix.is_none_or(|prefix| number.is_some_and(|number| prefix.matches(number)))
    };
    selection.member_id == party.member
        && selection.endpoint_id.is_none_or(|endpoint| endpoint == party.endpoint)
        && at < selection.until
        && numbers.into_iter().any(begins)
}
