//! Carries responses back across the hub, and decides what a final one means for the call.

use smallvec::SmallVec;
use tandem_model::{EndedBy, Outcome, Policy};
use tandem_sip::session_timer::Terms;
use tandem_sip::transaction::key;
use tandem_sip::transaction::timer::{T1, T2};
use tandem_sip::{Dialog, Message, Method, Name, StartLine, StatusLine, Writer, write_stamped_via};

use crate::call::{CallKey, Cancel, Exchange, Success};
use crate::cause::cause_of;
use crate::crossing::{Passage, TIMER, cross, lists};
use crate::early::Early;
use crate::invite::{FIRST_CSEQ, policy_of};
use crate::leg::{CSEQ_GAP, Side, format_tag};
use crate::outbox::{Flow, Octets};
use crate::session::write_timer;
use crate::timer::{CallTimer, Wake};
use crate::transaction::{Outgoing, TransactionKey, User, format_branch};
use crate::worker::{Now, Worker, phrase};

use tandem_model::Reason;

/// Whether a final failure means "this egress cannot", so that another may be tried; anything else is the
/// called party's own word and goes back as it is.
pub(crate) fn is_egress_failure(status: u16) -> bool {
    match status {
        // Redirections and challenges are for the hub: it has followed or answered them if it may.
        300..=399 | 401 | 407 => true,
        // The server there timed out, or speaks something else, or wants longer sessions than the hub has.
        408 | 422 | 500..=599 => true,
        _ => false,
    }
}

/// What a response says on its way back, beside what it said when it came.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Back {
    /// Its number, when a PRACK is to come.
    pub(crate) rseq: Option<u32>,
    /// The session timer of the leg that it goes back on.
    pub(crate) terms: Option<Terms>,
    /// Whether it belongs to no dialog, so that it has no Contact.
    pub(crate) is_of_no_dialog: bool,
}

impl Back {
    /// A response that belongs to no dialog.
    pub(crate) const OF_NO_DIALOG: Self = Self { rseq: None, terms: None, is_of_no_dialog: true };
}

/// How a call ended that was answered with this failure.
pub(crate) fn outcome_of(status: u16) -> Outcome {
    match status {
        486 | 600 => Outcome::Busy,
        408 | 480 => Outcome::NoAnswer,
        487 => Outcome::Cancelled,
        _ => Outcome::Rejected,
    }
}

impl Worker {
    /// Takes a response. One that belongs to no transaction, or comes from elsewhere than the request went
    /// to, goes nowhere.
    pub(crate) fn receive_response(&mut self, now: Now, flow: Flow, response: &Message<'_>, status: u16) {
        let client = key::client_branch(response)
            .ok()
            .and_then(|(branch, method)| Some((self.transactions.client(branch, method, flow)?, method)));
        let Some((client, method)) = client else {
            if !self.acknowledge_again(now, None, flow, response) {
                self.wire.metrics.count_drop(Reason::UnknownTransaction);
            }
            return;
        };
        // What it asked is taken before an ACK takes its place.
        let asked = matches!(status, 401 | 407).then(|| self.transactions.octets(client).cloned()).flatten();
        let told = self.transactions.receive_response(&mut self.wire, now.instant, client, response, status);
        if !told.deliver {
            return;
        }
        if let User::Call(call) | User::Probe(call, _) = told.user
            && self.calls.contains_key(call)
        {
            self.handle(call);
        }
        if let Some(request) = asked
            && matches!(
                told.user,
                User::Nobody | User::Call(_) | User::Page(_) | User::Registration(_) | User::Challenge(_)
            )
            && self.prove_again(now, client, told.user, response, &request)
        {
            return;
        }
        match told.user {
            User::Nobody => {}
            User::Registration(place) => self.registration_response(now, place, response, status),
            User::Challenge(key) => self.challenge_response(now, key, client, response, status),
            User::Abandoned { cancelled } => {
                self.abandoned_response(now, client, response, status, cancelled)
            }
            User::Probe(_, _) if status < 200 => {}
            User::Probe(call, side) => {
                self.refresh_answered(now, call, side, method, response, status);
            }
            User::Health(key) => self.probe_answered(now, key, client, response, status),
            User::Page(key) => self.page_response(now, key, response, status),
            User::Call(call) if method == Method::Invite => {
                self.invite_response(now, call, client, response, status);
            }
            User::Call(call) => self.exchange_response(now, call, client, response, status),
        }
    }

    /// A response to an INVITE that its call has given up.
    fn abandoned_response(
        &mut self,
        now: Now,
        client: TransactionKey,
        response: &Message<'_>,
        status: u16,
        cancelled: bool,
    ) {
        match status {
            100..=199 if !cancelled => self.cancel_abandoned(now, client, None),
            200..=299 => self.hang_up_fork(now, client, response),
            _ => {}
        }
    }

    fn invite_response(
        &mut self,
        now: Now,
        key: CallKey,
        client: TransactionKey,
        response: &Message<'_>,
        status: u16,
    ) {
        let is_pending = self
            .calls
            .get(key)
            .and_then(|call| call.invite.as_ref())
            .is_some_and(|invite| invite.client == Some(client) && invite.success.is_none());
        if status < 200 && is_pending {
            self.cancel_taken_back(now, key);
        }
        if is_pending && !self.calls[key].is_up() {
            self.hear_response(now, key, response, status);
        }
        match status {
            100 => {}
            101..=199 if is_pending => self.carry_progress(now, key, client, response, status),
            101..=199 => {}
            200..=299 if is_pending => self.carry_success(now, key, client, response, status),
            200..=299 => self.success_again(now, key, client, response),
            _ if is_pending => self.carry_failure(now, key, response, status),
            _ => {}
        }
    }

    /// The answer: the call is up, or a re-INVITE succeeded.
    pub(crate) fn carry_success(
        &mut self,
        now: Now,
        key: CallKey,
        client: TransactionKey,
        response: &Message<'_>,
        status: u16,
    ) {
        let pair = self.find_pair(key, response).or_else(|| self.open_pair(key, client, response));
        let Some(pair) = pair else {
            // Without its Contact an answer leads nowhere: it is a broken egress.
            self.hang_up_fork(now, client, response);
            return self.attempt_ended(now, key, Some(502), None);
        };
        if self.hold_success(key, pair, response) {
            return;
        }
        let call = &mut self.calls[key];
        let invite = call.invite.as_ref().expect("it is pending");
        let (from, server_cseq) = (invite.from, invite.server_cseq);
        let request = invite.request.clone();
        let request = Message::parse(&request).expect("it was read before");
        // Not the first one where a challenge was answered in between.
        let mut client_cseq = response.cseq().map_or(FIRST_CSEQ, |cseq| cseq.number);
        if call.is_up() {
            let Some(sent) = self.transactions.octets(client) else { return };
            client_cseq =
                Message::parse(sent).expect("the hub wrote it").cseq().map_or(0, |cseq| cseq.number);
            // A re-INVITE refreshes the targets of both dialogs (RFC 3261 §12.2.1.2, §12.2.2).
            if let Some(dialog) = call.leg_mut(from.other()).and_then(|leg| leg.dialog.as_mut()) {
                dialog.update_target(response);
            }
            if let Some(dialog) = call.leg_mut(from).and_then(|leg| leg.dialog.as_mut()) {
                dialog.update_target(&request);
            }
        } else {
            self.confirm_pair(now, key, client, pair, response);
            let call = &mut self.calls[key];
            call.cdr.answered_at = Some(now.utc);
            call.cdr.status = Some(status);
            call.answered = Some(now.instant);
            if let Some(attempt) = call.cdr.attempts.last_mut() {
                attempt.ended_at = Some(now.utc);
                attempt.status = Some(status);
            }
            self.note_progress(now, key);
            self.calls[key].until = now.instant + self.settings.max_duration;
        }
        // Both legs are refreshed by what crosses.
        let terms = self.answer_session(now, key, from, &request);
        self.conclude_session(now, key, from.other(), response);
        self.schedule_session(key);
        // From here the request octets are of no more use: the ACK takes their place.
        self.transactions.forget_octets(client);
        // With a re-INVITE the call is on the disk already.
        self.wire.outbox.hold(!self.calls[key].acked);
        let carried = self.carry_back(now, key, pair, response, status, terms);
        self.wire.outbox.hold(false);
        let branch = self.transactions.branch(client);
        let invite = self.calls[key].invite.as_mut().expect("it is pending");
        let (Some(octets), Some(to)) = (carried, self.transactions.flow(invite.server)) else {
            return self.record_up(key);
        };
        invite.success = Some(Success {
            octets,
            remote: to.remote,
            branch,
            since: now,
            hung_up: None,
            wait: T1,
            again_at: now.instant + T1,
            client_cseq,
        });
        // What tells of the answer waits for this record.
        self.record_up(key);
        let timers = &mut self.calls[key].timers;
        let timer = Wake::Call(key, CallTimer::Retransmit(server_cseq));
        self.wire.timers.replace(&mut timers.step, now.instant + T1, timer);
        let timer = Wake::Call(key, CallTimer::NoAck(server_cseq));
        self.wire.timers.replace(&mut timers.patience, now.instant + 64 * T1, timer);
    }

    /// The pair of dialogs of the 2xx becomes that of the call; the other branches are over for the caller.
    fn confirm_pair(
        &mut self,
        now: Now,
        key: CallKey,
        client: TransactionKey,
        pair: u64,
        response: &Message<'_>,
    ) {
        let call = &mut self.calls[key];
        self.identities.remove(&std::mem::take(&mut call.identity));
        let mut early = std::mem::take(&mut call.early);
        let at = early.iter().position(|early| early.tag == pair).expect("it was just found");
        let Early { ingress, mut egress, reliable, .. } = early.swap_remove(at);
        egress.confirm(response);
        let unused = std::mem::replace(&mut call.ingress.tag, pair);
        call.ingress.dialog = Some(ingress);
        call.egress.as_mut().expect("it was tried").dialog = Some(egress);
        call.reliable = reliable.filter(|reliable| reliable.is_waiting());
        if unused != pair {
            self.tags.remove(&unused);
        }
        for mut other in early {
            self.tags.remove(&other.tag);
            if let Some(held) = other.reliable.as_mut().and_then(|reliable| reliable.take_held()) {
                self.hang_up_fork(now, client, &Message::parse(&held).expect("it was read before"));
            }
            self.expect_late_prack(now, key, other);
        }
        let exchanges = &mut self.calls[key].exchanges;
        let lost: SmallVec<[Exchange; 2]> =
            exchanges.extract_if(.., |exchange| exchange.pair != pair).collect();
        for exchange in lost {
            self.transactions.set_user(exchange.client, User::Nobody);
            self.answer_pending(now, exchange.server, &exchange.request, 481);
        }
    }

    /// Keeps the state of a call that is up.
    pub(crate) fn record_up(&mut self, key: CallKey) {
        let call = &self.calls[key];
        let trace = self.tracer.record(call.cdr.call_id);
        if let Some(record) = call.record(trace).filter(|_| !call.is_over()) {
            self.journal.append(&record);
            self.wire.metrics.journal_backlog.inc();
        }
    }

    /// The 2xx has not been acknowledged: it is sent again (RFC 3261 §13.3.1.4).
    pub(crate) fn send_success_again(&mut self, now: Now, key: CallKey, cseq: u32) {
        let Some(invite) = self.calls[key].invite.as_mut().filter(|invite| invite.server_cseq == cseq) else {
            return;
        };
        let server = invite.server;
        let Some(success) = invite.success.as_mut() else { return };
        if now.instant < success.again_at {
            return; // The timer of an earlier INVITE with the same number, from the other leg.
        }
        let wait = (success.wait * 2).min(T2);
        (success.wait, success.again_at) = (wait, now.instant + wait);
        let octets = success.octets.clone();
        if let Some(flow) = self.transactions.flow(server) {
            // The disk may be slower than this timer.
            self.wire.outbox.hold(!self.calls[key].acked);
            self.wire.outbox.push(flow, octets);
            self.wire.outbox.hold(false);
            self.wire.metrics.retransmissions_out.inc();
        }
        let timer = Wake::Call(key, CallTimer::Retransmit(cseq));
        self.wire.timers.replace(&mut self.calls[key].timers.step, now.instant + wait, timer);
    }

    /// The 2xx was never acknowledged: the call ends (RFC 3261 §13.3.1.4).
    pub(crate) fn no_ack(&mut self, now: Now, key: CallKey, cseq: u32) {
        let is_unacknowledged = self.calls[key]
            .invite
            .as_ref()
            .filter(|invite| invite.server_cseq == cseq)
            .and_then(|invite| invite.success.as_ref())
            .is_some_and(|success| now.instant >= success.since.instant + 64 * T1);
        if !is_unacknowledged {
            return;
        }
        // The answer itself may still wait for the disk: no BYE overtakes it.
        self.wire.outbox.hold(!self.calls[key].acked);
        if !self.end_hung_up(now, key) {
            self.hang_up(now, key, EndedBy::Hub, Some(Reason::NoAck));
        }
        self.wire.outbox.hold(false);
    }

    /// A 2xx that came again is acknowledged again; one of another fork is hung up (RFC 3261 §13.2.2.4).
    fn success_again(&mut self, now: Now, key: CallKey, client: TransactionKey, response: &Message<'_>) {
        if let Some(ack) = self.transactions.octets(client).cloned() {
            let same_fork = Message::parse(&ack).is_ok_and(|ack| ack.to_tag() == response.to_tag());
            if same_fork {
                if let Some(flow) = self.transactions.flow(client) {
                    self.wire.outbox.push(flow, ack);
                    self.wire.metrics.retransmissions_out.inc();
                }
                return;
            }
        } else if self.calls.get(key).is_some_and(|call| {
            let invite = call.invite.as_ref().filter(|invite| invite.client == Some(client));
            let leg = invite.and_then(|invite| call.leg(invite.from.other()));
            let dialog = leg.and_then(|leg| leg.dialog.as_ref());
            dialog.is_some_and(|dialog| response.to_tag() == Some(&*dialog.remote_tag))
        }) {
            return; // The same answer, and the caller's ACK is still to come.
        }
        let flow = self.transactions.flow(client);
        if flow.is_some_and(|flow| self.acknowledge_again(now, Some(client), flow, response)) {
            return;
        }
        self.hang_up_fork(now, client, response);
    }

    /// Acknowledges a 2xx that nobody wants and ends its dialog.
    pub(crate) fn hang_up_fork(&mut self, now: Now, client: TransactionKey, response: &Message<'_>) {
        let Some(flow) = self.transactions.flow(client) else { return };
        // The response has the dialog's From, Call-ID and CSeq as the request had them.
        let Ok(mut dialog) = Dialog::from_response(response, response) else { return };
        let number = dialog.local_cseq;
        let ack = self.build_in_dialog(&dialog, flow, Method::Ack, number, None, |_| {});
        self.wire.outbox.push(flow, ack.octets);
        // PRACK and UPDATE may have taken numbers while it was early.
        dialog.local_cseq = dialog.local_cseq.saturating_add(CSEQ_GAP);
        let (number, is_offered) = (dialog.next_cseq(), self.was_told_of_timers(client));
        let bye = self.build_in_dialog(&dialog, flow, Method::Bye, number, None, |writer| {
            write_timer(writer, is_offered);
        });
        self.transactions.open_client(&mut self.wire, now.instant, Method::Bye, bye, User::Nobody);
    }

    /// Whether an INVITE said that the hub has session timers: its own octets do as long as they are there, and its leg
    /// afterwards.
    fn was_told_of_timers(&self, client: TransactionKey) -> bool {
        let invite = self.transactions.octets(client).and_then(|octets| Message::parse(octets).ok());
        let is_invite = |it: &Message<'_>| it.request().is_some_and(|line| line.method == Method::Invite);
        match (invite.filter(is_invite), self.transactions.user(client)) {
            (Some(invite), _) => invite.all(Name::Supported).any(|tags| lists(tags, TIMER)),
            (None, Some(User::Call(key))) => self.calls.get(key).is_some_and(|call| {
                let invite = call.invite.as_ref().filter(|invite| invite.client == Some(client));
                let leg = call.leg(invite.map_or(Side::Egress, |invite| invite.from.other()));
                leg.is_some_and(|leg| leg.session.is_offered)
            }),
            (None, _) => false,
        }
    }

    /// A failure: another candidate, or back it goes.
    fn carry_failure(&mut self, now: Now, key: CallKey, response: &Message<'_>, status: u16) {
        if self.calls[key].is_up() {
            // A re-INVITE was refused: the call goes on as it was (RFC 3261 §14.1), unless it is gone there.
            let from = self.calls[key].invite.as_ref().expect("it is pending").from;
            self.hear(now, key, from.other());
            if status == 422 && self.lengthen_session(key, from.other(), response) {
                let invite = self.calls[key].invite.take().expect("it is pending");
                return self.answer_pending(now, invite.server, &invite.request, 500);
            }
            let pair = self.calls[key].ingress.tag;
            self.carry_back(now, key, pair, response, status, None);
            self.calls[key].invite = None;
            if matches!(status, 408 | 481) {
                self.hang_up(now, key, EndedBy::Hub, Some(Reason::NoDialog));
            }
            return;
        }
        if status == 422 && self.try_longer_session(now, key, response) {
            return;
        }
        if self.follow_redirection(now, key, response, status) {
            return;
        }
        if self.advances(key, response, status) {
            self.note_failure(key, response);
            self.attempt_ended(now, key, Some(status), None);
            return;
        }
        if is_egress_failure(status) {
            // The members agreed to stop here, yet it is nobody's own no.
            self.note_failure(key, response);
            self.end_attempt(now, key, Some(status), None);
            return self.fail_call(now, key, Some(status), Reason::EndpointUnreachable);
        }
        self.note_progress(now, key);
        let pair = self.find_pair(key, response).unwrap_or(self.calls[key].ingress.tag);
        let told = policy_of(&self.table, self.calls[key].ingress.endpoint).failures.status(status);
        self.carry_back(now, key, pair, response, told, None);
        self.calls[key].note_cause(cause_of(response));
        self.end_attempt(now, key, Some(status), None);
        self.calls[key].cdr.status = Some(status);
        self.finish(now, key, outcome_of(status));
    }

    /// Whether a failed attempt leads to the next candidate: as the agreement under which it was made says, and where
    /// that says nothing for what means "this egress cannot".
    fn advances(&self, key: CallKey, response: &Message<'_>, status: u16) -> bool {
        let call = &self.calls[key];
        let has_servers = call.invite.as_ref().is_some_and(|invite| !invite.addresses.is_empty());
        if status == 503 && has_servers {
            return true; // Another server of the same candidate (RFC 3263 §4.3).
        }
        let tried = call.cdr.tried();
        match tried.and_then(|candidate| self.table.advance_on(candidate.agreement)) {
            Some(list) => list.includes(status, cause_of(response).q850),
            None => is_egress_failure(status),
        }
    }

    /// Sends a response to the INVITE under way back to where that came from, with the hub's own names and, when it is
    /// a 2xx, the terms of that leg's session timer.
    pub(crate) fn carry_back(
        &mut self,
        now: Now,
        key: CallKey,
        pair: u64,
        response: &Message<'_>,
        status: u16,
        terms: Option<Terms>,
    ) -> Option<Octets> {
        let invite = self.calls[key].invite.as_ref()?;
        let (from, server, request) = (invite.from, invite.server, invite.request.clone());
        let octets = self.build_back(
            (key, from),
            server,
            &request,
            pair,
            response,
            status,
            Back { terms, ..Back::default() },
        )?;
        self.transactions.respond(&mut self.wire, now.instant, server, status, octets.clone());
        Some(octets)
    }

    /// A response as it goes back to one side of a call, in the transaction `server` of `request`: with `tag`
    /// where To has none yet.
    #[expect(clippy::too_many_arguments, reason = "they are what the response is")]
    pub(crate) fn build_back(
        &mut self,
        (key, side): (CallKey, Side),
        server: TransactionKey,
        request: &Octets,
        tag: u64,
        response: &Message<'_>,
        status: u16,
        back: Back,
    ) -> Option<Octets> {
        let table = self.table.clone();
        let policy = |side: Side| {
            let leg = self.calls.get(key).and_then(|call| call.leg(side));
            leg.map_or(Policy::neutral(), |leg| policy_of(&table, leg.endpoint))
        };
        let policies = (policy(side.other()), policy(side));
        self.write_back(server, request, tag, response, status, back, policies)
    }

    /// A response as it goes back in the transaction `server` of `request`, between the endpoints of two policies.
    #[expect(clippy::too_many_arguments, reason = "they are what the response is")]
    pub(crate) fn write_back(
        &mut self,
        server: TransactionKey,
        request: &Octets,
        tag: u64,
        response: &Message<'_>,
        status: u16,
        back: Back,
        (sender, receiver): (&Policy, &Policy),
    ) -> Option<Octets> {
        let flow = self.transactions.flow(server)?;
        let request = Message::parse(request).expect("it was read before");
        let local = &self.locals[usize::from(flow.listener)];
        let mut vias = request.values(Name::Via);
        let mut top_via = Vec::with_capacity(128);
        if let Some(via) = vias.next() {
            write_stamped_via(&mut top_via, via, flow.remote);
        }
        let mut to = request.header(Name::To).unwrap_or_default().to_vec();
        if request.to_tag().is_none() {
            to.extend_from_slice(b";tag=");
            to.extend_from_slice(format_tag(tag).as_bytes());
        }
        let mut top: Vec<(&str, &[u8])> = Vec::with_capacity(12);
        top.push(("Via", &top_via));
        top.extend(vias.map(|via| ("Via", via)));
        // Route recording is for requests that make or refresh a dialog (RFC 3261 §12.1.1).
        top.extend(request.values(Name::RecordRoute).map(|route| ("Record-Route", route)));
        top.extend([
            ("From", request.header(Name::From).unwrap_or_default()),
            ("To", &to[..]),
            ("Call-ID", request.header(Name::CallId).unwrap_or_default()),
            ("CSeq", request.header(Name::CSeq).unwrap_or_default()),
        ]);
        if !back.is_of_no_dialog {
            top.push(("Contact", local.contact_to(receiver).as_bytes()));
        }
        let rseq = back.rseq.map(|rseq| rseq.to_string());
        top.extend(rseq.iter().map(|rseq| ("RSeq", rseq.as_bytes())));
        let expires = back.terms.map(|terms| terms.expires().to_string());
        top.extend(expires.iter().map(|expires| ("Session-Expires", expires.as_bytes())));
        if back.terms.is_some_and(|terms| terms.is_required) {
            top.push(("Require", TIMER));
        }
        let phrase = match response.start() {
            StartLine::Status(line) if line.status == status => line.reason,
            StartLine::Status(_) | StartLine::Request(_) => phrase(status).as_bytes(),
        };
        let start = StartLine::Status(StatusLine { status, reason: phrase });
        let passage = Passage::new(local.host_to(receiver), sender, receiver);
        let passage = passage.with_timer(back.terms.is_some());
        cross(&mut self.scratch, response, start, &top, &passage);
        self.overload.stamp(&mut self.scratch);
        Some(Octets::from(self.scratch.as_slice()))
    }

    /// A request of the hub's own making in a dialog.
    pub(crate) fn build_in_dialog(
        &mut self,
        dialog: &Dialog,
        flow: Flow,
        method: Method<'_>,
        cseq: u32,
        body: Option<(&[u8], &[u8])>,
        extra: impl FnOnce(&mut Writer<'_>),
    ) -> Outgoing {
        let branch = self.mint();
        self.build_with_branch(branch, dialog, flow, method, cseq, body, extra)
    }

    /// The ACK to a 2xx, the same each time that it is built for the INVITE transaction `client`.
    pub(crate) fn build_ack(
        &mut self,
        client: Option<TransactionKey>,
        dialog: &Dialog,
        flow: Flow,
        cseq: u32,
        body: Option<(&[u8], &[u8])>,
    ) -> Octets {
        // A branch of its own (RFC 3261 §17.1.1.3), with the owner of the INVITE's.
        let branch = client.and_then(|client| self.transactions.branch(client)).map(|branch| branch ^ 1);
        let branch = branch.unwrap_or_else(|| self.mint());
        self.build_with_branch(branch, dialog, flow, Method::Ack, cseq, body, |_| {}).octets
    }

    #[expect(clippy::too_many_arguments, reason = "they are what the request is")]
    fn build_with_branch(
        &mut self,
        branch: u64,
        dialog: &Dialog,
        flow: Flow,
        method: Method<'_>,
        cseq: u32,
        body: Option<(&[u8], &[u8])>,
        extra: impl FnOnce(&mut Writer<'_>),
    ) -> Outgoing {
        let local = &self.locals[usize::from(flow.listener)];
        let (uri, routes) = dialog.request_target();
        let mut writer = Writer::request(&mut self.scratch, method, uri);
        writer.header(
            "Via",
            format_args!(
                "SIP/2.0/{} {};rport;branch={}",
                flow.transport.as_via(),
                local.host,
                format_branch(branch)
            ),
        );
        writer.header("Max-Forwards", 70);
        for route in &routes {
            writer.header_bytes("Route", route);
        }
        writer.header_bytes("From", &dialog.from_value());
        writer.header_bytes("To", &dialog.to_value());
        writer.header_bytes("Call-ID", &dialog.call_id);
        writer.header("CSeq", format_args!("{cseq} {method}"));
        extra(&mut writer);
        match body {
            Some((content_type, body)) => writer.finish(Some(content_type), body),
            None => writer.finish(None, b""),
        }
        Outgoing { branch, flow, octets: Octets::from(self.scratch.as_slice()) }
    }

    /// A response to a request other than INVITE that was carried across.
    fn exchange_response(
        &mut self,
        now: Now,
        key: CallKey,
        client: TransactionKey,
        response: &Message<'_>,
        status: u16,
    ) {
        let Some(call) = self.calls.get_mut(key) else { return };
        let Some(at) = call.exchanges.iter().position(|exchange| exchange.client == client) else { return };
        if status < 200 {
            return; // RFC 4320 §4.1: a provisional response to these says nothing that is needed.
        }
        let exchange = call.exchanges.swap_remove(at);
        let request = Message::parse(&exchange.request).expect("it was read before");
        let method = request.request().map(|line| line.method);
        let (from, is_up) = (exchange.from, call.is_up());
        self.hear(now, key, from.other());
        if status == 422 && self.lengthen_session(key, from.other(), response) {
            return self.answer_pending(now, exchange.server, &exchange.request, 500);
        }
        let mut terms = None;
        if method == Some(Method::Update) && status < 300 {
            let call = &mut self.calls[key];
            let mut changed = false;
            if let Some(dialog) = call.dialog_mut(exchange.from.other(), exchange.pair) {
                changed |= dialog.update_target(response);
            }
            if let Some(dialog) = call.dialog_mut(exchange.from, exchange.pair) {
                changed |= dialog.update_target(&request);
            }
            if is_up {
                terms = self.answer_session(now, key, from, &request);
                self.conclude_session(now, key, from.other(), response);
                self.schedule_session(key);
            }
            if changed {
                self.record_up(key);
            }
        }
        // Nobody answers 408 to a request other than INVITE (RFC 4320 §4.2).
        let sent = if status == 408 { 504 } else { status };
        let (side, back) = ((key, exchange.from), Back { terms, ..Back::default() });
        let octets =
            self.build_back(side, exchange.server, &exchange.request, exchange.pair, response, sent, back);
        if let Some(octets) = octets {
            self.transactions.respond(&mut self.wire, now.instant, exchange.server, sent, octets);
        }
        // A PRACK that matches nothing over there came too late, that is all; and a member that has not
        // acknowledged the answer may not have got it yet, so that it knows no dialog.
        let call = &self.calls[key];
        let awaits_ack = call
            .invite
            .as_ref()
            .is_some_and(|invite| invite.success.is_some() && invite.from != exchange.from);
        // What NOTIFY is about is the subscription of a REFER.
        let is_lost = call.is_up() && !matches!(method, Some(Method::Prack | Method::Notify)) && !awaits_ack;
        if matches!(status, 408 | 481) && is_lost {
            self.hang_up(now, key, EndedBy::Hub, Some(Reason::NoDialog));
        }
    }

    /// A request has waited for its answer until its sender would send it only every T2 (RFC 4320 §4.1).
    pub(crate) fn exchange_slow(&mut self, now: Now, key: CallKey, number: u32) {
        let Some(exchange) = self.calls[key].exchanges.iter().find(|it| it.number == number) else { return };
        let (server, request) = (exchange.server, exchange.request.clone());
        if let Some(flow) = self.transactions.flow(server) {
            let request = Message::parse(&request).expect("it was read before");
            let octets = self.build_response(&request, flow, 100, None, |_| {});
            self.transactions.respond(&mut self.wire, now.instant, server, 100, octets);
        }
    }

    /// The sender of a request is about to give it up.
    pub(crate) fn exchange_overdue(&mut self, now: Now, key: CallKey, number: u32) {
        let Some(exchange) = self.calls[key].exchanges.iter().find(|it| it.number == number) else { return };
        let client = exchange.client;
        self.transactions.set_user(client, User::Nobody);
        self.exchange_ended(now, key, client);
    }

    /// A re-INVITE that its sender took back is cancelled, now that something has come from the other leg.
    fn cancel_taken_back(&mut self, now: Now, key: CallKey) {
        let invite = self.calls[key].invite.as_mut();
        let Some(invite) = invite.filter(|invite| invite.cancel == Cancel::Wanted) else { return };
        invite.cancel = Cancel::Sent;
        if let Some(client) = invite.client {
            self.cancel_client(now, client, None);
        }
    }

    /// A re-INVITE has had no final response for as long as a candidate may ring, or it was cancelled 64·T1
    /// ago: first it is cancelled, then the call is given up.
    pub(crate) fn reinvite_overdue(&mut self, now: Now, key: CallKey, cseq: u32) {
        let Some(invite) = self.calls[key].invite.as_mut() else { return };
        let Some(client) = invite.client.filter(|_| invite.server_cseq == cseq && invite.success.is_none())
        else {
            return;
        };
        let limit = if invite.cancel == Cancel::No { self.settings.ring_timeout } else { 64 * T1 };
        if now.instant < invite.since + limit {
            return; // The timer of an earlier INVITE with the same number, or of one that was taken back since.
        }
        if invite.cancel != Cancel::No {
            self.transactions.set_user(client, User::Abandoned { cancelled: true });
            self.wire.timers.set(now.instant + 64 * T1, Wake::Abandoned(client));
            return self.exchange_ended(now, key, client);
        }
        (invite.cancel, invite.since) = (Cancel::Sent, now.instant);
        self.cancel_client(now, client, None);
        self.wire.timers.set(now.instant + 64 * T1, Wake::Call(key, CallTimer::Reinvite(cseq)));
    }

    /// A request that was carried across got no final response: its sender is told, and a call that is up is
    /// over (RFC 3261 §12.2.1.2).
    pub(crate) fn exchange_ended(&mut self, now: Now, key: CallKey, client: TransactionKey) {
        let call = &mut self.calls[key];
        let (server, request) = if let Some(at) = call.exchanges.iter().position(|e| e.client == client) {
            let exchange = call.exchanges.swap_remove(at);
            (exchange.server, exchange.request)
        } else if call.invite.as_ref().is_some_and(|invite| invite.client == Some(client)) {
            let invite = call.invite.take().expect("it was just seen");
            (invite.server, invite.request)
        } else {
            return;
        };
        let message = Message::parse(&request).expect("it was read before");
        if let Some(flow) = self.transactions.flow(server) {
            // Not 408: RFC 4320 §4.2 forbids it for requests other than INVITE.
            let octets = self.build_response(&message, flow, 504, None, |_| {});
            self.transactions.respond(&mut self.wire, now.instant, server, 504, octets);
        }
        let is_notify = message.request().is_some_and(|line| line.method == Method::Notify);
        if self.calls[key].is_up() && !is_notify {
            self.hang_up(now, key, EndedBy::Hub, Some(Reason::EndpointUnreachable));
        }
    }
}
