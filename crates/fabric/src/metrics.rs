//! What the node counts, for Prometheus. Labels come from closed sets: never a number, address or Call-ID.

use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    exponential_buckets,
};
use tandem_model::{EndpointState, Outcome, Reason};

use crate::connection::TooMany;
use crate::identity::Unproven;
use crate::page::PageOutcome;
use crate::routing_number;
use crate::secure::Handshake;
use crate::source_guard::Cause;
use crate::stream::Cut;

/// The node's metrics. Counting is an atomic addition; a clone counts into the same metrics.
#[derive(Clone)]
pub(crate) struct Metrics {
    calls: IntCounterVec,
    refusals: IntCounterVec,
    drops: IntCounterVec,
    left_out: IntCounterVec,
    routing_numbers: IntCounterVec,
    bans: IntCounterVec,
    too_many: IntCounterVec,
    cuts: IntCounterVec,
    handshakes: IntCounterVec,
    endpoints: IntGaugeVec,
    endpoint_transitions: IntCounterVec,
    probes: IntCounterVec,
    pages: IntCounterVec,
    unproven: IntCounterVec,
    /// Requests sent again with a proof of who the hub is.
    pub(crate) proofs: IntCounter,
    /// Requests that were answered with the question who sent them.
    pub(crate) challenges: IntCounter,
    /// Per cent of the new calls that are refused because of overload.
    pub(crate) shed_percent: IntGauge,
    /// Connections of strangers, closed at once.
    pub(crate) connections_of_strangers: IntCounter,
    /// When the hub's TLS certificate ends, in seconds since 1970; 0 without TLS.
    pub(crate) certificate_expires: IntGauge,
    /// Failed readings of the TLS files.
    pub(crate) tls_reload_errors: IntCounter,
    /// Connections that could not be accepted.
    pub(crate) accept_errors: IntCounter,
    /// Messages of strangers, as `drops` counts them.
    pub(crate) strangers: IntCounter,
    /// Messages of strangers that are banned, as `drops` counts them.
    pub(crate) banned: IntCounter,
    /// New calls refused without a transaction or a CDR.
    pub(crate) stateless_refusals: IntCounter,
    requests_in: IntCounterVec,
    responses_in: IntCounterVec,
    /// Calls being set up or up.
    pub(crate) active_calls: IntGauge,
    /// From INVITE to the first response above 100.
    pub(crate) setup_seconds: Histogram,
    /// Messages written to a socket.
    pub(crate) messages_out: IntCounter,
    /// Messages that the hub sent again because nothing came back.
    pub(crate) retransmissions_out: IntCounter,
    /// Requests that came again.
    pub(crate) retransmissions_in: IntCounter,
    /// Messages of traced calls that Postgres has.
    pub(crate) trace_kept: IntCounter,
    /// Messages of traced calls that found no room.
    pub(crate) trace_dropped: IntCounter,
    /// HEP packets sent.
    pub(crate) hep_packets: IntCounter,
    /// HEP packets that could not be sent.
    pub(crate) hep_errors: IntCounter,
    /// Spans that the collector took.
    pub(crate) spans_exported: IntCounter,
    /// Spans that it did not take, or that found no room.
    pub(crate) spans_dropped: IntCounter,
    /// Octets that are no SIP message.
    pub(crate) parse_errors: IntCounter,
    /// Messages that a socket did not take.
    pub(crate) send_errors: IntCounter,
    /// Messages lost between two workers.
    pub(crate) handover_errors: IntCounter,
    /// Open stream connections.
    pub(crate) connections: IntGauge,
    /// Transactions that live, those that only wait for retransmissions too.
    pub(crate) transactions: IntGauge,
    /// Dialogs of the hub's own, early ones too.
    pub(crate) dialogs: IntGauge,
    /// Deadlines that are set.
    pub(crate) timers: IntGauge,
    /// INVITEs sent toward candidates.
    pub(crate) attempts: IntCounter,
    /// Requests by which the hub asked a member whether a call is still up.
    pub(crate) session_refreshes: IntCounter,
    /// Journal records not yet in Postgres.
    pub(crate) journal_backlog: IntGauge,
    /// Octets of journal on disk.
    pub(crate) journal_bytes: IntGauge,
    /// How long the disk takes to flush the journal.
    pub(crate) flush_seconds: Histogram,
    /// Failed writes and flushes of the journal.
    pub(crate) journal_errors: IntCounter,
    /// Panics that ended one call, or the handling of one message.
    pub(crate) panics: IntCounter,
    /// CDRs that Postgres refused for what is in them.
    pub(crate) cdr_errors: IntCounter,
}

/// One worker's part of a gauge that all workers of the node add to.
pub(crate) struct Part {
    gauge: IntGauge,
    value: i64,
}

impl Part {
    /// Nothing yet.
    pub(crate) fn of(gauge: &IntGauge) -> Self {
        Self { gauge: gauge.clone(), value: 0 }
    }

    /// Sets the worker's part.
    pub(crate) fn set(&mut self, value: usize) {
        let value = value as i64;
        if value != self.value {
            self.gauge.add(value - self.value);
            self.value = value;
        }
    }
}

/// How a probe ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProbeOutcome {
    Answered,
    /// With 408 or 503.
    Refused,
    Unanswered,
}

impl ProbeOutcome {
    const ALL: [Self; 3] = [Self::Answered, Self::Refused, Self::Unanswered];

    fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Refused => "refused",
            Self::Unanswered => "unanswered",
        }
    }
}

/// Methods that have a label of their own; others count as `other`.
const METHODS: [&str; 12] = [
    "INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "UPDATE", "INFO", "PRACK", "REGISTER", "MESSAGE", "REFER",
    "NOTIFY",
];

/// Names of the classes of responses, by the first digit.
const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "6xx"];

impl Metrics {
    /// Makes the metrics and registers them.
    ///
    /// # Errors
    /// When the registry has metrics of these names already.
    pub(crate) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone())).map(|()| counter)
        };
        let counters = |name: &str, help: &str, label: &str| {
            let counters = IntCounterVec::new(Opts::new(name, help), &[label])?;
            registry.register(Box::new(counters.clone())).map(|()| counters)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone())).map(|()| gauge)
        };
        let setup_seconds = Histogram::with_opts(
            HistogramOpts::new(
                "tandem_setup_seconds",
                "From INVITE to the first response above 100 sent back.",
            )
            .buckets(exponential_buckets(0.001, 2.0, 17)?),
        )?;
        registry.register(Box::new(setup_seconds.clone()))?;
        let flush_seconds = Histogram::with_opts(
            HistogramOpts::new(
                "tandem_journal_flush_seconds",
                "How long the disk takes to flush the journal; answers wait for it.",
            )
            .buckets(exponential_buckets(0.000_25, 2.0, 15)?),
        )?;
        registry.register(Box::new(flush_seconds.clone()))?;
        let drops = counters("tandem_drops_total", "Messages dropped in silence, by reason.", "reason")?;
        let metrics = Self {
            calls: counters("tandem_calls_total", "Calls that are over, by outcome.", "outcome")?,
            refusals: counters(
                "tandem_refusals_total",
                "Requests that the hub refused, by reason.",
                "reason",
            )?,
            strangers: drops.with_label_values(&[Reason::UnknownSource.code()]),
            banned: drops.with_label_values(&[Reason::SourceBanned.code()]),
            drops,
            too_many: counters(
                "tandem_connections_refused_total",
                "Connections of members closed at once because there were too many, by which bound.",
                "bound",
            )?,
            cuts: counters(
                "tandem_connections_cut_total",
                "Connections that the hub closed, by what the peer did not do.",
                "cause",
            )?,
            handshakes: counters(
                "tandem_tls_handshakes_total",
                "TLS handshakes in both directions, by how they ended.",
                "outcome",
            )?,
            certificate_expires: gauge(
                "tandem_tls_certificate_expires_timestamp_seconds",
                "When the node's TLS certificate ends, in seconds since 1970; 0 without TLS.",
            )?,
            tls_reload_errors: counter(
                "tandem_tls_reload_errors_total",
                "Readings of the changed TLS files that failed, so that those of before stay in use.",
            )?,
            endpoints: {
                let opts = Opts::new("tandem_endpoints", "Endpoints that calls may go to, by their state.");
                let endpoints = IntGaugeVec::new(opts, &["state"])?;
                registry.register(Box::new(endpoints.clone()))?;
                endpoints
            },
            endpoint_transitions: counters(
                "tandem_endpoint_transitions_total",
                "Changes of an endpoint's state, by the state that it came to.",
                "state",
            )?,
            pages: counters(
                "tandem_messages_total",
                "MESSAGE requests that were carried to an endpoint, by outcome.",
                "outcome",
            )?,
            probes: counters("tandem_probes_total", "Probes of endpoints, by outcome.", "outcome")?,
            unproven: counters(
                "tandem_digest_unproven_total",
                "Requests whose sender did not prove who it is, by cause.",
                "cause",
            )?,
            proofs: counter(
                "tandem_digest_answers_total",
                "Requests sent again with the answer to a member's challenge.",
            )?,
            challenges: counter(
                "tandem_digest_challenges_total",
                "Requests answered with 401, the question who sent them.",
            )?,
            shed_percent: gauge(
                "tandem_overload_shed_percent",
                "Per cent of the new calls that are refused because more comes in than the node can handle.",
            )?,
            connections_of_strangers: counter(
                "tandem_connections_of_strangers_total",
                "Connections from addresses of no endpoint, closed at once.",
            )?,
            accept_errors: counter(
                "tandem_accept_errors_total",
                "Connections that could not be accepted, for want of file descriptors for instance.",
            )?,
            bans: counters(
                "tandem_source_bans_total",
                "Strangers banned for a while, by what they did.",
                "cause",
            )?,
            routing_numbers: counters(
                "tandem_routing_numbers_total",
                "Requests that came with rn or npdi (RFC 4694), by what became of it; what is not believed is ignored.",
                "outcome",
            )?,
            left_out: counters(
                "tandem_candidates_left_out_total",
                "Candidates that a call was not sent to though routing chose them, by reason.",
                "reason",
            )?,
            stateless_refusals: counter(
                "tandem_stateless_refusals_total",
                "New calls refused without a transaction or a CDR, because there was too much to do.",
            )?,
            requests_in: counters(
                "tandem_sip_requests_total",
                "SIP requests received, by method.",
                "method",
            )?,
            responses_in: counters(
                "tandem_sip_responses_total",
                "SIP responses received, by class.",
                "class",
            )?,
            active_calls: gauge("tandem_active_calls", "Calls being set up or up.")?,
            setup_seconds,
            flush_seconds,
            messages_out: counter("tandem_sip_messages_sent_total", "SIP messages sent.")?,
            retransmissions_out: counter(
                "tandem_sip_retransmissions_sent_total",
                "SIP messages sent again because nothing came back.",
            )?,
            retransmissions_in: counter(
                "tandem_sip_retransmissions_received_total",
                "SIP requests that came again.",
            )?,
            trace_kept: counter(
                "tandem_trace_messages_kept_total",
                "Messages of traced calls that were written to the database.",
            )?,
            trace_dropped: counter(
                "tandem_trace_messages_dropped_total",
                "Messages of traced calls that found no room: too many, or the database is away.",
            )?,
            hep_packets: counter(
                "tandem_hep_packets_total",
                "HEP packets with messages of calls that were sent to the capture server.",
            )?,
            hep_errors: counter("tandem_hep_errors_total", "HEP packets that could not be sent.")?,
            spans_exported: counter(
                "tandem_spans_exported_total",
                "OpenTelemetry spans of calls that the collector took.",
            )?,
            spans_dropped: counter(
                "tandem_spans_dropped_total",
                "OpenTelemetry spans of calls that the collector did not take, or that found no room.",
            )?,
            parse_errors: counter("tandem_sip_parse_errors_total", "Octets that are no SIP message.")?,
            send_errors: counter("tandem_sip_send_errors_total", "SIP messages that a socket did not take.")?,
            handover_errors: counter(
                "tandem_handover_errors_total",
                "Messages lost because the worker that they were for had too many waiting.",
            )?,
            connections: gauge("tandem_sip_connections", "Open stream connections.")?,
            transactions: gauge("tandem_sip_transactions", "Transactions that live.")?,
            dialogs: gauge("tandem_sip_dialogs", "Dialogs of the hub's own, early ones too.")?,
            timers: gauge("tandem_timers", "Deadlines that are set.")?,
            attempts: counter("tandem_attempts_total", "INVITEs sent toward candidates.")?,
            session_refreshes: counter(
                "tandem_session_refreshes_total",
                "Requests by which the hub asked a member whether a call is still up.",
            )?,
            journal_backlog: gauge("tandem_journal_backlog_records", "Journal records not yet in Postgres.")?,
            journal_bytes: gauge("tandem_journal_bytes", "Octets of journal on disk.")?,
            journal_errors: counter(
                "tandem_journal_errors_total",
                "Failed writes and flushes of the journal.",
            )?,
            panics: counter(
                "tandem_panics_total",
                "Bugs that ended one call, or left one message unhandled.",
            )?,
            cdr_errors: counter("tandem_cdr_errors_total", "CDRs that Postgres refused for their content.")?,
        };
        // Every series exists from the start, so that a rate over it is right from its first increment.
        for outcome in Outcome::ALL {
            metrics.calls.with_label_values(&[outcome.as_str()]);
        }
        for method in METHODS.into_iter().chain(["other"]) {
            metrics.requests_in.with_label_values(&[method]);
        }
        for cause in Cause::ALL {
            metrics.bans.with_label_values(&[cause.as_str()]);
        }
        for too_many in TooMany::ALL {
            metrics.too_many.with_label_values(&[too_many.as_str()]);
        }
        for handshake in Handshake::ALL {
            metrics.handshakes.with_label_values(&[handshake.as_str()]);
        }
        for state in EndpointState::ALL {
            metrics.endpoints.with_label_values(&[state.as_str()]);
            metrics.endpoint_transitions.with_label_values(&[state.as_str()]);
        }
        for outcome in ProbeOutcome::ALL {
            metrics.probes.with_label_values(&[outcome.as_str()]);
        }
        for outcome in PageOutcome::ALL {
            metrics.pages.with_label_values(&[outcome.as_str()]);
        }
        for cut in Cut::ALL {
            metrics.cuts.with_label_values(&[cut.as_str()]);
        }
        for unproven in Unproven::ALL {
            metrics.unproven.with_label_values(&[unproven.as_str()]);
        }
        for outcome in routing_number::OUTCOMES {
            metrics.routing_numbers.with_label_values(&[outcome]);
        }
        for class in CLASSES {
            metrics.responses_in.with_label_values(&[class]);
        }
        for reason in [Reason::UnknownSource, Reason::Unreadable, Reason::UnknownTransaction] {
            metrics.drops.with_label_values(&[reason.code()]);
        }
        Ok(metrics)
    }

    /// Counts a call that is over.
    pub(crate) fn count_call(&self, outcome: Outcome) {
        self.calls.with_label_values(&[outcome.as_str()]).inc();
    }

    /// Counts a request that was refused.
    pub(crate) fn count_refusal(&self, reason: Reason) {
        self.refusals.with_label_values(&[reason.code()]).inc();
    }

    /// Counts a request that said something of ported numbers.
    pub(crate) fn count_routing_number(&self, outcome: &str) {
        self.routing_numbers.with_label_values(&[outcome]).inc();
    }

    /// How many requests said something of ported numbers that had this outcome.
    #[cfg(test)]
    pub(crate) fn routing_numbers(&self, outcome: &str) -> u64 {
        self.routing_numbers.with_label_values(&[outcome]).get()
    }

    /// Counts a candidate that was left out.
    pub(crate) fn count_left_out(&self, reason: Reason) {
        self.left_out.with_label_values(&[reason.code()]).inc();
    }

    /// Counts a stranger that was banned, with the message that it was banned for.
    pub(crate) fn count_ban(&self, cause: Cause) {
        self.bans.with_label_values(&[cause.as_str()]).inc();
        self.banned.inc();
    }

    /// Counts a connection that was one too many.
    pub(crate) fn count_too_many(&self, too_many: TooMany) {
        self.too_many.with_label_values(&[too_many.as_str()]).inc();
    }

    /// Counts a TLS handshake.
    pub(crate) fn count_handshake(&self, outcome: Handshake) {
        self.handshakes.with_label_values(&[outcome.as_str()]).inc();
    }

    /// Counts a connection that the hub closed.
    pub(crate) fn count_cut(&self, cut: Cut) {
        self.cuts.with_label_values(&[cut.as_str()]).inc();
    }

    /// How many endpoints are in a state.
    pub(crate) fn endpoints_in(&self, state: EndpointState) -> IntGauge {
        self.endpoints.with_label_values(&[state.as_str()])
    }

    /// Counts an endpoint that came to a state.
    pub(crate) fn count_transition(&self, state: EndpointState) {
        self.endpoint_transitions.with_label_values(&[state.as_str()]).inc();
    }

    /// Counts a probe that is over.
    pub(crate) fn count_probe(&self, outcome: ProbeOutcome) {
        self.probes.with_label_values(&[outcome.as_str()]).inc();
    }

    /// Counts a MESSAGE that was carried.
    pub(crate) fn count_page(&self, outcome: PageOutcome) {
        self.pages.with_label_values(&[outcome.as_str()]).inc();
    }

    /// MESSAGEs that ended like this so far.
    #[cfg(test)]
    pub(crate) fn pages(&self, outcome: PageOutcome) -> u64 {
        self.pages.with_label_values(&[outcome.as_str()]).get()
    }

    /// Counts a request whose sender did not prove who it is.
    pub(crate) fn count_unproven(&self, why: Unproven) {
        self.unproven.with_label_values(&[why.as_str()]).inc();
    }

    /// Requests so far whose sender did not prove who it is.
    #[cfg(test)]
    pub(crate) fn unproven(&self, why: Unproven) -> u64 {
        self.unproven.with_label_values(&[why.as_str()]).get()
    }

    /// Counts a message that was dropped.
    pub(crate) fn count_drop(&self, reason: Reason) {
        self.drops.with_label_values(&[reason.code()]).inc();
    }

    /// Messages dropped for a reason so far.
    #[cfg(test)]
    pub(crate) fn drops(&self, reason: Reason) -> u64 {
        self.drops.with_label_values(&[reason.code()]).get()
    }

    /// Probes that ended like this so far.
    #[cfg(test)]
    pub(crate) fn probes(&self, outcome: &str) -> u64 {
        self.probes.with_label_values(&[outcome]).get()
    }

    /// Counts a request that came in.
    pub(crate) fn count_request(&self, method: &[u8]) {
        let label = METHODS.into_iter().find(|known| known.as_bytes() == method).unwrap_or("other");
        self.requests_in.with_label_values(&[label]).inc();
    }

    /// Counts a response that came in.
    pub(crate) fn count_response(&self, status: u16) {
        let class = (usize::from(status / 100).saturating_sub(1)).min(CLASSES.len() - 1);
        self.responses_in.with_label_values(&[CLASSES[class]]).inc();
    }
}
