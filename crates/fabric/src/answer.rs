//! A 2xx to INVITE whose ACK is awaited, as the journal keeps it: a node that was restarted sends it again until
//! the ACK comes (RFC 3261 §13.3.1.4), and acknowledges the one that it comes from in turn (§13.2.2.4).

use std::borrow::Cow;
use std::time::Duration;

use rand::Rng;
use tandem_sip::transaction::key;
use tandem_sip::transaction::timer::{T1, T2};
use tandem_sip::{Message, Method, Name};

use crate::call::{Call, CallKey, Cancel, InviteExchange, Success};
use crate::leg::Side;
use crate::outbox::{Flow, Octets};
use crate::record::AnswerRecord;
use crate::timer::{CallTimer, Wake};
use crate::transaction::{Fingerprint, TransactionKey, User, parse_hex};
use crate::worker::{Now, Worker};

/// How long an answer can have been waiting for its ACK when it is taken up: what is left of 64·T1 is enough for
/// it to be sent once more and acknowledged.
const LONGEST_WAIT: Duration = T1.saturating_mul(64).saturating_sub(T2);

impl InviteExchange {
    /// The answer as the journal keeps it until its ACK comes.
    pub(crate) fn record(&self) -> Option<AnswerRecord<'_>> {
        let success = self.success.as_ref()?;
        Some(AnswerRecord {
            to_caller: self.from == Side::Ingress,
            octets: Cow::Borrowed(&success.octets),
            remote: success.remote,
            server_cseq: self.server_cseq,
            client_cseq: success.client_cseq,
            branch: success.branch,
            since: success.since.utc,
            hung_up: success.hung_up.map(|at| at.utc),
        })
    }
}

impl Worker {
    /// An answer leaves, now that the disk has its record: from here on the call is up for the caller, who does not
    /// pay for the disk.
    pub(crate) fn answer_leaves(&mut self, now: Now, answer: &[u8]) {
        let tag = Message::parse(answer).ok().and_then(|answer| answer.to_tag().and_then(parse_hex));
        let Some(&(key, _)) = tag.and_then(|tag| self.tags.get(&tag)) else { return };
        let Some(call) = self.calls.get_mut(key).filter(|call| call.answered.is_some() && !call.is_told)
        else {
            return;
        };
        call.is_told = true;
        call.answered = Some(now.instant);
        call.cdr.answered_at = Some(now.utc);
    }

    /// Goes on with an answer that was not acknowledged when the node stopped: it is sent again at once. False
    /// when the record is of no use.
    pub(crate) fn resume_answer(&mut self, now: Now, key: CallKey, record: AnswerRecord<'_>) -> bool {
        let Ok(response) = Message::parse(&record.octets) else { return false };
        if !response.status().is_some_and(|status| (200..300).contains(&status)) {
            return false;
        }
        let table = self.table.clone();
        let call = &self.calls[key];
        let from = if record.to_caller { Side::Ingress } else { Side::Egress };
        let (Some(leg), Some(other)) = (call.leg(from), call.leg(from.other())) else { return false };
        let client_flow = match &other.dialog {
            // A re-INVITE went to where the dialog leads, the first INVITE to the endpoint.
            Some(dialog) if call.acked => other.next_hop(dialog, table.endpoint(other.endpoint)),
            _ => other.flow,
        };
        let server_flow = Flow { remote: record.remote, ..leg.flow };
        // The top Via of a response is that of its request.
        let fingerprint = match key::server_key_of(&response, Method::Invite) {
            Ok(server_key) => self.transactions.fingerprint(&server_key),
            Err(_) => Fingerprint([self.rng.next_u64(), 0]), // A sender of RFC 2543: its INVITE is not known again.
        };
        let user = User::Call(key);
        let server =
            self.transactions.resume_server(&mut self.wire, now.instant, fingerprint, server_flow, user);
        let client = record.branch.map(|branch| {
            self.transactions.resume_client(&mut self.wire, now.instant, branch, client_flow, user)
        });
        let waited = (now.utc - record.since).to_std().unwrap_or_default().min(LONGEST_WAIT);
        let since = now.instant.checked_sub(waited).unwrap_or(now.instant);
        let octets = Octets::from(&*record.octets);
        let call = &mut self.calls[key];
        call.invite = Some(Box::new(InviteExchange {
            from,
            request: octets.clone(), // Nothing but the answer is ever sent in this exchange.
            server,
            server_cseq: record.server_cseq,
            client,
            addresses: Vec::new(),
            success: Some(Success {
                octets,
                remote: record.remote,
                branch: record.branch,
                since: Now { instant: since, utc: record.since },
                hung_up: record.hung_up.map(|utc| Now { instant: now.instant, utc }),
                wait: T1 / 2,
                again_at: now.instant,
                client_cseq: record.client_cseq,
            }),
            failure: None,
            min_se_s: 0,
            redirected: None,
            cancel: Cancel::No,
            since: now.instant,
            progress_at: now.instant,
        }));
        let timer = Wake::Call(key, CallTimer::Retransmit(record.server_cseq));
        self.wire.timers.replace(&mut call.timers.step, now.instant, timer);
        let timer = Wake::Call(key, CallTimer::NoAck(record.server_cseq));
        self.wire.timers.replace(&mut call.timers.patience, since + 64 * T1, timer);
        true
    }

    /// Acknowledges a 2xx to an INVITE that has been acknowledged before, perhaps before the node was restarted: its
    /// dialog says where to. False when it belongs to no call.
    ///
    /// The ACK has no body: one that had is kept, save over a restart.
    pub(crate) fn acknowledge_again(
        &mut self,
        now: Now,
        client: Option<TransactionKey>,
        flow: Flow,
        response: &Message<'_>,
    ) -> bool {
        let Ok(cseq) = response.cseq() else { return false };
        let status = response.status().unwrap_or_default();
        if !(200..300).contains(&status) || cseq.method != Method::Invite {
            return false;
        }
        let named = response.from_tag().and_then(parse_hex).and_then(|tag| self.tags.get(&tag));
        let Some(&(key, side)) = named else { return false };
        let table = self.table.clone();
        let is_known = |call: &Call| {
            // One that is being carried across has its transaction, and is acknowledged when its sender does.
            let leg = call.leg(side).filter(|_| call.is_up() && call.invite.is_none())?;
            let dialog = leg.dialog.as_ref().filter(|dialog| {
                response.header(Name::CallId) == Some(&*dialog.call_id)
                    && response.to_tag() == Some(&*dialog.remote_tag)
                    && cseq.number <= dialog.local_cseq
            })?;
            self.lives_at(leg, flow, now)
                .then(|| (dialog.clone(), leg.next_hop(dialog, table.endpoint(leg.endpoint))))
        };
        let Some((dialog, hop)) = self.calls.get(key).and_then(|call| is_known(call)) else { return false };
        let ack = self.build_ack(client, &dialog, hop, cseq.number, None);
        self.wire.outbox.push(hop, ack);
        self.wire.metrics.retransmissions_out.inc();
        true
    }
}
