//! Takes the messages of traced calls from the workers, masks their secrets before anything else, and brings them
//! to where they are wanted. Everything here is bounded and may be late; calls never wait for it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use opentelemetry_sdk::trace::SpanData;
use tandem_model::{CallId, Clock, NodeId};
use tandem_sip::{Message, outline, redact};
use tandem_store::call_message::{CallMessage, CallTrace};
use tandem_store::{Error, PgPool, call_message, database, trace_selection};
use tokio::sync::mpsc;

use crate::hep::{HepSender, HepSettings};
use crate::metrics::Metrics;
use crate::spans::{self, OtlpSettings, Spans};
use crate::tap::{Held, Tap, Told, TracedMessage};

/// What the operator decides about traces.
#[derive(Clone, Debug)]
pub struct TraceSettings {
    /// Share of all calls that is traced by chance, from 0 to 1.
    pub sample: f64,
    /// How long a trace is kept.
    pub keep: Duration,
    /// Most octets of traces that are kept, over all nodes.
    pub max_octets: u64,
    /// The capture server that gets the messages, too.
    pub hep: Option<HepSettings>,
    /// The collector that gets a trace of each call, too.
    pub otlp: Option<OtlpSettings>,
}

impl Default for TraceSettings {
    fn default() -> Self {
        Self {
            sample: 0.0,
            keep: Duration::from_secs(7 * 86_400),
            max_octets: 1 << 30,
            hep: None,
            otlp: None,
        }
    }
}

/// Time between two looks at what is selected: how late a selection is known on a node.
const LOOK: Duration = Duration::from_secs(1);

/// Most selections that a node follows.
const MAX_SELECTIONS: i64 = 1_000;

/// How long messages are collected for one batch.
const PACE: Duration = Duration::from_millis(200);

/// Most messages of a batch.
const BATCH: usize = 256;

/// Time to wait after Postgres failed to take a batch.
const RETRY: Duration = Duration::from_millis(500);

/// Longest time that Postgres may take for a statement before it counts as away.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Masked messages that may wait for Postgres.
const QUEUE: usize = 8_192;

/// Time between two prunings, and traces that are deleted at once.
const PRUNE_EVERY: Duration = Duration::from_secs(60);
const PRUNE_AT_ONCE: i64 = 500;

/// Masks, keeps and exports what the workers of one node note.
pub struct Recorder {
    pub(crate) node_id: NodeId,
    pub(crate) settings: TraceSettings,
    pub(crate) tap: Arc<Tap>,
    pub(crate) told: mpsc::Receiver<Told>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Metrics,
}

/// A message without its secrets, on its way to Postgres.
struct Masked {
    trace: CallTrace,
    dropped: u32,
    message: CallMessage,
    _held: Held,
}

impl Recorder {
    /// Works for ever; drop the future to stop.
    pub async fn run(self, db: PgPool) {
        let Self { node_id, settings, tap, told, clock, metrics } = self;
        let (masked, waiting) = mpsc::channel(QUEUE);
        let (finished, spans) = mpsc::channel(spans::QUEUE);
        let exporter = settings.otlp.as_ref().and_then(|otlp| {
            let exporter = spans::exporter(otlp, node_id);
            exporter.inspect_err(|error| tracing::error!(%error, "no spans are exported")).ok()
        });
        let distribution = Distribution {
            node_id,
            masked,
            hep: settings.hep.clone().map(|hep| HepSender::new(hep, metrics.clone())),
            spans: settings
                .otlp
                .as_ref()
                .map(|otlp| (Spans::new(node_id, otlp.has_numbers, metrics.clone()), finished)),
            metrics: metrics.clone(),
        };
        let export = async {
            if let Some(exporter) = &exporter {
                spans::export(exporter, spans, &metrics).await;
            }
        };
        let distribute = distribution.run(told, clock.as_ref());
        let follow = follow(&db, node_id, &tap, clock.as_ref());
        let keep = keep(&db, waiting, &settings, clock.as_ref(), &metrics);
        tokio::join!(distribute, export, follow, keep);
    }
}

/// Who gets what the workers tell.
struct Distribution {
    node_id: NodeId,
    masked: mpsc::Sender<Masked>,
    hep: Option<HepSender>,
    /// With who exports them.
    spans: Option<(Spans, mpsc::Sender<Vec<SpanData>>)>,
    metrics: Metrics,
}

impl Distribution {
    async fn run(mut self, mut told: mpsc::Receiver<Told>, clock: &dyn Clock) {
        let mut look = tokio::time::interval(HepSender::look_again_after());
        loop {
            tokio::select! {
                told = told.recv() => match told {
                    Some(told) => self.take(told, clock),
                    None => return,
                },
                _ = look.tick() => {
                    if let Some(hep) = &mut self.hep {
                        hep.connect().await;
                    }
                    if let Some((spans, _)) = &mut self.spans {
                        let overdue = spans.take_overdue(clock.instant());
                        overdue.into_iter().for_each(|spans| self.finish(spans));
                    }
                }
            }
        }
    }

    fn take(&mut self, told: Told, clock: &dyn Clock) {
        match told {
            Told::Message(message) => self.take_message(message),
            Told::Over(record) => {
                if let Some((spans, _)) = &mut self.spans {
                    spans.note_over(clock.instant(), record);
                }
            }
            Told::Shipped(calls) => {
                for call in calls {
                    let Some((spans, _)) = &mut self.spans else { return };
                    if let Some(spans) = spans.note_shipped(call, clock.now()) {
                        self.finish(spans);
                    }
                }
            }
        }
    }

    fn take_message(&mut self, message: TracedMessage) {
        let is_kept = message.call.cause.is_kept;
        let Some(masked) = mask(self.node_id, message) else { return };
        if let Some(hep) = &self.hep {
            hep.send(&masked.message);
        }
        if !is_kept {
            return;
        }
        if let Some((spans, _)) = &mut self.spans {
            spans.note(&masked.message);
        }
        if self.masked.try_send(masked).is_err() {
            self.metrics.trace_dropped.inc();
        }
    }

    /// Hands the spans of a call to the exporter.
    fn finish(&self, spans: Vec<SpanData>) {
        let count = spans.len() as u64;
        if let Some((_, finished)) = &self.spans
            && finished.try_send(spans).is_err()
        {
            self.metrics.spans_dropped.inc_by(count);
        }
    }
}

/// Masks a message. From here on nobody has its secrets.
fn mask(node_id: NodeId, noted: TracedMessage) -> Option<Masked> {
    let TracedMessage { call, octets, held, .. } = &noted;
    let message = Message::parse(octets).ok()?;
    let outline = outline(&message);
    let _ = held;
    let masked = CallMessage {
        call_id: call.call_id,
        position: noted.position,
        at: noted.at,
        member_id: noted.member,
        attempt: noted.attempt,
        is_received: noted.is_received,
        is_again: noted.is_again,
        transport: noted.transport,
        hub_address: noted.hub,
        member_address: noted.remote,
        method: outline.method,
        status: outline.status,
        has_session: outline.has_session,
        outline: outline.text,
        octets: redact(&message),
    };
    let trace = CallTrace {
        call_id: call.call_id,
        node_id,
        began_at: call.began_at,
        selection: call.cause.selection,
    };
    Some(Masked { trace, dropped: noted.dropped, message: masked, _held: noted.held })
}

/// Tells the workers what is selected. While Postgres is away, what was selected last holds until its time is over.
async fn follow(db: &PgPool, node_id: NodeId, tap: &Tap, clock: &dyn Clock) {
    let started = clock.now();
    loop {
        let read = trace_selection::in_force(db, node_id, started, clock.now(), MAX_SELECTIONS);
        if let Ok(stored) = database::within(TIMEOUT, read).await {
            tap.select(stored.into_iter().map(|it| (it.selection, it.calls)).collect());
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Writes what is masked, in batches, and deletes what is old.
async fn keep(
    db: &PgPool,
    mut waiting: mpsc::Receiver<Masked>,
    settings: &TraceSettings,
    clock: &dyn Clock,
    metrics: &Metrics,
) {
    let mut batch = Vec::with_capacity(BATCH);
    let mut prune_at = clock.instant() + PRUNE_EVERY;
    loop {
        if clock.instant() >= prune_at {
            prune_at = clock.instant() + PRUNE_EVERY;
            if let Err(error) = prune(db, settings, clock.now()).await {
                tracing::warn!(%error, "cannot delete old traces yet");
            }
        }
        tokio::select! {
            count = waiting.recv_many(&mut batch, BATCH) => if count == 0 { return },
            () = tokio::time::sleep(PRUNE_EVERY) => continue,
        }
        tokio::time::sleep(PACE).await;
        while batch.len() < BATCH
            && let Ok(more) = waiting.try_recv()
        {
            batch.push(more);
        }
        write(db, &batch, metrics).await;
        batch.clear();
    }
}

/// Writes a batch, as often as it takes.
async fn write(db: &PgPool, batch: &[Masked], metrics: &Metrics) {
    let mut traces: HashMap<CallId, CallTrace> = HashMap::new();
    let mut dropped: HashMap<CallId, u32> = HashMap::new();
    for masked in batch {
        traces.entry(masked.trace.call_id).or_insert_with(|| masked.trace.clone());
        let most = dropped.entry(masked.trace.call_id).or_default();
        *most = masked.dropped.max(*most);
    }
    let traces: Vec<CallTrace> = traces.into_values().collect();
    let dropped: Vec<(CallId, u32)> = dropped.into_iter().collect();
    let messages: Vec<CallMessage> = batch.iter().map(|masked| masked.message.clone()).collect();
    let mut is_away = false;
    loop {
        match database::within(TIMEOUT, call_message::write(db, &traces, &messages, &dropped)).await {
            Ok(()) => {
                metrics.trace_kept.inc_by(messages.len() as u64);
                if is_away {
                    tracing::info!("Postgres takes traces again");
                }
                return;
            }
            Err(error) if database::is_data_error(&error) => {
                metrics.trace_dropped.inc_by(messages.len() as u64);
                return tracing::error!(%error, "Postgres refuses the messages of traced calls");
            }
            Err(error) => {
                if !is_away {
                    tracing::warn!(%error, "Postgres does not take traces; what finds no room meanwhile is dropped");
                }
                is_away = true;
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

async fn prune(db: &PgPool, settings: &TraceSettings, now: DateTime<Utc>) -> Result<(), Error> {
    let keep = TimeDelta::from_std(settings.keep).unwrap_or(TimeDelta::MAX);
    let before = now.checked_sub_signed(keep).unwrap_or(DateTime::UNIX_EPOCH);
    let most = i64::try_from(settings.max_octets).unwrap_or(i64::MAX);
    let limit = PRUNE_AT_ONCE;
    while database::within(TIMEOUT, call_message::prune(db, before, most, limit)).await? == limit as u64 {}
    database::within(TIMEOUT, trace_selection::forget(db, before)).await.map(|_| ())
}
