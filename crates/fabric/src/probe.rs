//! Asks endpoints by OPTIONS outside a dialog whether they are there (RFC 3261 §11).
//!
//! Any final response says so, save 408 and 503, and by policy other 5xx. It counts only from where the probe went.

use tandem_model::{HealthSign, SessionTimer, Transport};
use tandem_sip::{Message, Method, Writer};

use crate::leg::format_tag;
use crate::metrics::ProbeOutcome;
use crate::outbox::Octets;
use crate::session::write_timer;
use crate::transaction::{Outgoing, TransactionKey, User, format_branch};
use crate::watch::{Underway, WatchKey};
use crate::worker::{Now, Worker};

use std::time::Duration;

impl Worker {
    /// Sends a probe. Where the node has no way there, nothing is learnt.
    pub(crate) fn send_probe(&mut self, now: Now, key: WatchKey) {
        let Some(watched) = self.watch.as_ref().map(|watch| &watch.of[key]) else { return };
        let timeout = Duration::from_millis(watched.policy.timeout_ms.into());
        let (table, endpoint) = (self.table.clone(), watched.endpoint);
        let Some(endpoint) = table.endpoint(endpoint) else { return };
        // Of several servers each has its turn, as calls have it.
        let Ok((flow, _)) = self.destinations(endpoint, now) else { return };
        let (address, transport) = (flow.remote, flow.transport);
        let (branch, tag) = (self.mint(), format_tag(self.mint()));
        let local = &self.locals[usize::from(flow.listener)];
        let host = &local.host;
        let uri = match transport {
            Transport::Udp => format!("sip:{address}"),
            Transport::Tcp | Transport::Tls => format!("sip:{address};transport={}", transport.as_str()),
        };
        let mut writer = Writer::request(&mut self.scratch, Method::Options, uri.as_bytes());
        let via = transport.as_via();
        writer.header("Via", format_args!("SIP/2.0/{via} {host};rport;branch={}", format_branch(branch)));
        writer.header("Max-Forwards", 70);
        writer.header("From", format_args!("<sip:{}>;tag={tag}", local.host_to(&endpoint.policy)));
        writer.header("To", format_args!("<{uri}>"));
        writer.header("Call-ID", format_args!("{tag}@{host}"));
        writer.header("CSeq", "1 OPTIONS");
        writer.header("Contact", local.contact_to(&endpoint.policy));
        writer.header("Accept", "application/sdp");
        write_timer(&mut writer, endpoint.policy.session.timer != SessionTimer::Off);
        writer.finish(None, b"");
        let octets = Octets::from(self.scratch.as_slice());
        let request = Outgoing { branch, flow, octets };
        let user = User::Health(key);
        let client =
            self.transactions.open_client(&mut self.wire, now.instant, Method::Options, request, user);
        let ip = flow.remote.ip();
        // An endpoint that only receives sends from nowhere else: its answer is to be heard.
        self.share.common.neighbours.add(ip);
        let Some(watch) = self.watch.as_mut() else { return };
        watch.probes += 1;
        let watched = &mut watch.of[key];
        watched.probe = Some(Underway { client, sent: now, ip });
        watched.probe_at = Some(now.instant + timeout);
    }

    /// The endpoint answered its probe.
    pub(crate) fn probe_answered(
        &mut self,
        now: Now,
        key: WatchKey,
        client: TransactionKey,
        response: &Message<'_>,
        status: u16,
    ) {
        let Some(watched) = self.watch.as_ref().and_then(|watch| watch.of.get(key)) else { return };
        let is_current = watched.probe.as_ref().is_some_and(|probe| probe.client == client);
        if status < 200 || !is_current {
            return;
        }
        let (endpoint, policy) = (watched.endpoint, watched.policy);
        let is_refusal = matches!(status, 408 | 503) || (500..600).contains(&status) && policy.server_errors;
        if status == 503 {
            self.hear_retry_after(now, endpoint, response);
        }
        let (sign, outcome) = match is_refusal {
            true => (HealthSign::ProbeRefused, ProbeOutcome::Refused),
            false => (HealthSign::ProbeAnswered, ProbeOutcome::Answered),
        };
        self.conclude_probe(now, key, sign, outcome);
    }

    /// A probe has waited for its answer for long enough, or could not be sent.
    pub(crate) fn probe_unanswered(&mut self, now: Now, key: WatchKey) {
        self.conclude_probe(now, key, HealthSign::ProbeUnanswered, ProbeOutcome::Unanswered);
    }

    fn conclude_probe(&mut self, now: Now, key: WatchKey, sign: HealthSign, outcome: ProbeOutcome) {
        let Some(probe) = self.end_probe(key) else { return };
        self.wire.metrics.count_probe(outcome);
        if sign == HealthSign::ProbeUnanswered {
            // It is not sent again and again to where nobody is.
            self.transactions.forget(&mut self.wire, probe.client);
        }
        self.note_sign(now, key, sign, probe.sent.instant);
        self.note_probe(now, key, probe.sent, sign != HealthSign::ProbeUnanswered);
    }

    /// Takes the probe under way from an endpoint.
    pub(crate) fn end_probe(&mut self, key: WatchKey) -> Option<Underway> {
        let watch = self.watch.as_mut()?;
        let watched = watch.of.get_mut(key)?;
        let probe = watched.probe.take()?;
        watched.probe_at = None;
        watch.probes -= 1;
        self.share.common.neighbours.remove(probe.ip);
        Some(probe)
    }
}
