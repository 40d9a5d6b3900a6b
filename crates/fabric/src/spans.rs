//! Exports traced calls as OpenTelemetry traces: one span from the INVITE until the CDR is in the database, with
//! children for the selection, each attempt, the journal's flush, the answer and the shipping of the CDR.
//!
//! Spans are made of a call's messages and its record after it is over, with the times of then; the way of the call
//! knows nothing of them. The trace's id is the call's, so that one leads to the other. No message, address or
//! secret is in a span, and no number unless the operator says so.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks};
use tandem_model::{CallId, NodeId, Outcome};
use tandem_store::call_message::CallMessage;
use tokio::sync::mpsc;

use crate::metrics::Metrics;
use crate::record::CallRecord;

/// Where spans go.
#[derive(Clone, Debug)]
pub struct OtlpSettings {
    /// URL of the collector, with `/v1/traces` where it has that path.
    pub endpoint: String,
    /// Whether calling and called numbers are in the spans.
    pub has_numbers: bool,
}

/// Most calls whose end is awaited.
const MAX_CALLS: usize = 20_000;

/// How long a call that is over waits for its CDR to be shipped.
const PATIENCE: Duration = Duration::from_secs(30);

/// Calls that may wait for the exporter.
pub(crate) const QUEUE: usize = 1_024;

/// How long spans are collected for one export, and most of them.
const PACE: Duration = Duration::from_secs(1);
const BATCH: usize = 512;

/// Longest time that the collector may take for an export.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What is known of traced calls whose spans are still to be made.
pub(crate) struct Spans {
    node_id: NodeId,
    has_numbers: bool,
    calls: HashMap<CallId, Known>,
    metrics: Metrics,
}

/// What the messages of a call have told.
#[derive(Debug, Default)]
struct Known {
    transport: Option<&'static str>,
    /// When the first answer came, left for the caller, and was acknowledged by it.
    answer_came: Option<DateTime<Utc>>,
    answer_left: Option<DateTime<Utc>>,
    acknowledged: Option<DateTime<Utc>>,
    over: Option<(Instant, Box<CallRecord>)>,
}

impl Spans {
    pub(crate) fn new(node_id: NodeId, has_numbers: bool, metrics: Metrics) -> Self {
        Self { node_id, has_numbers, calls: HashMap::new(), metrics }
    }

    /// A message of a traced call.
    pub(crate) fn note(&mut self, message: &CallMessage) {
        if !self.calls.contains_key(&message.call_id) {
            // Only the INVITE begins one: what comes after the end of a call is of no interest.
            if message.position != 1 || self.calls.len() >= MAX_CALLS {
                return;
            }
        }
        let known = self.calls.entry(message.call_id).or_default();
        let is_ingress = message.attempt.is_none();
        let is_success = message.status.is_some_and(|status| (200..300).contains(&status));
        let at = Some(message.at);
        match (&*message.method, message.is_received) {
            ("INVITE", true) if is_success && !is_ingress => known.answer_came = known.answer_came.or(at),
            ("INVITE", false) if is_success && is_ingress => known.answer_left = known.answer_left.or(at),
            ("ACK", true) if is_ingress && known.answer_left.is_some() => {
                known.acknowledged = known.acknowledged.or(at);
            }
            _ => {}
        }
        if is_ingress {
            known.transport = Some(message.transport.as_str());
        }
    }

    /// A traced call is over.
    pub(crate) fn note_over(&mut self, now: Instant, record: Box<CallRecord>) {
        if let Some(known) = self.calls.get_mut(&record.call_id) {
            known.over = Some((now, record));
        } else if self.calls.len() < MAX_CALLS {
            // It was up when the node restarted: what its messages said was forgotten, and its record was not.
            let call_id = record.call_id;
            self.calls.insert(call_id, Known { over: Some((now, record)), ..Known::default() });
        } else {
            self.metrics.spans_dropped.inc();
        }
    }

    /// The CDR of a call is in the database: its spans, if it was traced.
    pub(crate) fn note_shipped(&mut self, call: CallId, at: DateTime<Utc>) -> Option<Vec<SpanData>> {
        self.calls.get(&call)?.over.as_ref()?;
        let known = self.calls.remove(&call)?;
        self.spans(known, Some(at))
    }

    /// The spans of calls whose CDRs have not been shipped for too long.
    pub(crate) fn take_overdue(&mut self, now: Instant) -> Vec<Vec<SpanData>> {
        let is_overdue = |known: &Known| {
            known.over.as_ref().is_some_and(|(since, _)| now.saturating_duration_since(*since) >= PATIENCE)
        };
        let overdue: Vec<Known> =
            self.calls.extract_if(|_, known| is_overdue(known)).map(|(_, known)| known).collect();
        overdue.into_iter().filter_map(|known| self.spans(known, None)).collect()
    }

    fn spans(&self, known: Known, shipped_at: Option<DateTime<Utc>>) -> Option<Vec<SpanData>> {
        let (_, record) = known.over?;
        let ended_at = record.ended_at?;
        let mut trace = Trace::of(&record);
        let mut call = vec![
            KeyValue::new("tandem.call.id", record.call_id.to_string()),
            KeyValue::new("tandem.node.id", self.node_id.to_string()),
            KeyValue::new("network.protocol.name", "sip"),
            KeyValue::new("tandem.originating.member.id", record.originating_member.to_string()),
            KeyValue::new("tandem.originating.endpoint.id", record.originating_endpoint.to_string()),
            KeyValue::new("tandem.route_table.version", int(record.table_version)),
        ];
        let mut add = |key: &'static str, value: Option<String>| {
            call.extend(value.map(|value| KeyValue::new(key, value)));
        };
        add("network.transport", known.transport.map(str::to_owned));
        add("tandem.outcome", record.outcome.map(|outcome| outcome.as_str().to_owned()));
        add("tandem.ended_by", record.ended_by.map(|by| by.as_str().to_owned()));
        add("tandem.prefix", record.tried().map(|candidate| candidate.prefix.to_string()));
        if self.has_numbers {
            add("tandem.calling", Some(record.calling.to_string()));
            add("tandem.called", Some(record.called.to_string()));
        }
        call.extend(record.status.map(|status| KeyValue::new("sip.response.status_code", i64::from(status))));
        let is_good = matches!(
            record.outcome,
            Some(Outcome::Answered | Outcome::Busy | Outcome::NoAnswer | Outcome::Cancelled)
        );
        let error = error_type(record.status, record.reason.map(|reason| reason.code()));
        let failure = if is_good { None } else { error };
        trace.add(
            None,
            "call",
            SpanKind::Server,
            record.started_at,
            shipped_at.unwrap_or(ended_at),
            call,
            failure,
        );

        if let Some(selection) = &record.selection {
            let attributes = vec![
                KeyValue::new("tandem.candidates", int(selection.candidates.len() as u64)),
                KeyValue::new("tandem.left_out", int(selection.left_out.len() as u64)),
            ];
            let at = record.started_at;
            trace.add(Some(ROOT), "selection", SpanKind::Internal, at, at, attributes, None);
        }
        for (attempt, position) in record.attempts.iter().zip(1_i64..) {
            let mut attributes = vec![KeyValue::new("tandem.attempt", position)];
            if let Some(candidate) = record.candidate(attempt.candidate) {
                attributes.extend([
                    KeyValue::new("tandem.terminating.member.id", candidate.member.to_string()),
                    KeyValue::new("tandem.terminating.endpoint.id", candidate.endpoint.to_string()),
                    KeyValue::new("tandem.agreement.id", candidate.agreement.to_string()),
                ]);
            }
            let status = attempt.status;
            attributes.extend(status.map(|it| KeyValue::new("sip.response.status_code", i64::from(it))));
            let is_good = status.is_some_and(|status| status < 300);
            let failure = if is_good { None } else { error_type(status, attempt.reason.map(|it| it.code())) };
            let end = attempt.ended_at.unwrap_or(ended_at);
            let start = attempt.attempted_at;
            trace.add(Some(ROOT), "attempt", SpanKind::Client, start, end, attributes, failure);
        }
        if let (Some(came), Some(left)) = (known.answer_came, known.answer_left) {
            trace.add(Some(ROOT), "journal flush", SpanKind::Internal, came, left, Vec::new(), None);
            let acknowledged = known.acknowledged.unwrap_or(ended_at);
            let failure = known.acknowledged.is_none().then_some(Cow::Borrowed("no_ack"));
            trace.add(Some(ROOT), "answer", SpanKind::Internal, left, acknowledged, Vec::new(), failure);
        }
        if let Some(at) = shipped_at {
            trace.add(Some(ROOT), "ship", SpanKind::Internal, ended_at, at, Vec::new(), None);
        }
        Some(trace.spans)
    }
}

/// An unsigned number as attributes have them.
fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// `error.type` of the semantic conventions: the hub's reason, or the status.
fn error_type(status: Option<u16>, reason: Option<&'static str>) -> Option<Cow<'static, str>> {
    reason.map(Cow::Borrowed).or_else(|| status.map(|status| Cow::Owned(status.to_string())))
}

/// Index of the span of the whole call.
const ROOT: u64 = 0;

/// The spans of one call.
struct Trace {
    trace_id: TraceId,
    /// What tells its spans from those of others.
    seed: u64,
    spans: Vec<SpanData>,
}

impl Trace {
    fn of(record: &CallRecord) -> Self {
        let trace_id = TraceId::from_bytes(*record.call_id.0.as_bytes());
        Self { trace_id, seed: record.call_id.0.as_u64_pair().1, spans: Vec::new() }
    }

    fn id(&self, index: u64) -> SpanId {
        // An odd factor gives each index another number; 0 is no id.
        let mixed = self.seed ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        SpanId::from_bytes(mixed.max(1).to_be_bytes())
    }

    #[expect(clippy::too_many_arguments, reason = "they are what a span is")]
    fn add(
        &mut self,
        parent: Option<u64>,
        name: &'static str,
        kind: SpanKind,
        start: DateTime<Utc>,
        end: DateTime<Utc>,
        mut attributes: Vec<KeyValue>,
        failure: Option<Cow<'static, str>>,
    ) {
        let id = self.id(self.spans.len() as u64);
        let status = match &failure {
            Some(failure) => Status::error(failure.clone()),
            None => Status::Unset,
        };
        attributes.extend(failure.map(|failure| KeyValue::new("error.type", failure.into_owned())));
        self.spans.push(SpanData {
            span_context: SpanContext::new(
                self.trace_id,
                id,
                TraceFlags::SAMPLED,
                false,
                TraceState::default(),
            ),
            parent_span_id: parent.map_or(SpanId::INVALID, |parent| self.id(parent)),
            parent_span_is_remote: false,
            span_kind: kind,
            name: Cow::Borrowed(name),
            start_time: start.into(),
            end_time: end.max(start).into(),
            attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status,
            instrumentation_scope: InstrumentationScope::builder("tandem").build(),
        });
    }
}

/// An exporter to the collector, speaking OTLP over HTTP.
pub(crate) fn exporter(settings: &OtlpSettings, node_id: NodeId) -> Result<SpanExporter, ExporterBuildError> {
    let exporter =
        SpanExporter::builder().with_http().with_endpoint(&settings.endpoint).with_timeout(TIMEOUT);
    let mut exporter = exporter.build()?;
    let resource = Resource::builder_empty()
        .with_service_name("tandem")
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_attribute(KeyValue::new("service.instance.id", node_id.to_string()));
    exporter.set_resource(&resource.build());
    Ok(exporter)
}

/// Exports what comes, in batches, for ever. What the collector does not take is lost, and counted.
pub(crate) async fn export(
    exporter: &SpanExporter,
    mut waiting: mpsc::Receiver<Vec<SpanData>>,
    metrics: &Metrics,
) {
    let mut is_away = false;
    while let Some(mut batch) = waiting.recv().await {
        tokio::time::sleep(PACE).await;
        while batch.len() < BATCH
            && let Ok(more) = waiting.try_recv()
        {
            batch.extend(more);
        }
        let count = batch.len() as u64;
        match exporter.export(batch).await {
            Ok(()) => {
                metrics.spans_exported.inc_by(count);
                is_away = false;
            }
            Err(error) => {
                metrics.spans_dropped.inc_by(count);
                if !std::mem::replace(&mut is_away, true) {
                    tracing::warn!(%error, "the collector does not take spans; they are dropped");
                }
            }
        }
    }
}
