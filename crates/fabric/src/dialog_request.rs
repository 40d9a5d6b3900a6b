//! Serves calls that are up, and requests that belong to a call, early or up: ACK, BYE, CANCEL, re-INVITE,
//! PRACK, UPDATE, INFO, and where policies let them pass REFER, NOTIFY and MESSAGE.

use std::time::Duration;

use tandem_model::{Cause, EndedBy, Outcome, PassOrRefuse, Reason, RequestPolicy};
use tandem_routing::RouteTable;
use tandem_sip::session_timer::TooBrief;
use tandem_sip::transaction::key;
use tandem_sip::transaction::timer::{T1, T2};
use tandem_sip::{MAX_HEAD, Message, Method, Name, RequestLine, StartLine};

use rand::Rng;

use crate::call::{Call, CallKey, Cancel, Exchange, InviteExchange};
use crate::cause::{cause_of, reason_value, reasons_of};
use crate::crossing::{Passage, codecs, cross, unsupported};
use crate::early::{CarriedRack, Early};
use crate::invite::policy_of;
use crate::leg::{Side, format_tag};
use crate::outbox::{Flow, Octets};
use crate::record::Record;
use crate::refer::{self, Refer};
use crate::session::{Offer, judge_session, write_timer};
use crate::timer::{CallTimer, Wake};
use crate::transaction::{Fingerprint, Outgoing, TransactionKey, User, format_branch, parse_hex};
use crate::worker::{Arrival, Now, Worker};

/// Most requests of one call that may be on their way across at once, beside an INVITE.
const MAX_EXCHANGES: usize = 8;

/// After which the sender of a request would repeat it only every T2: only now it may get a 100, and now it
/// must (RFC 4320 §4.1).
pub(crate) const SLOW: Duration = T1.saturating_mul(7);

/// How long a request may wait for its answer: its sender gives it up at 64·T1 and is told before
/// (RFC 4320 §4.2).
pub(crate) const OVERDUE: Duration = T1.saturating_mul(64).saturating_sub(T2);

impl Worker {
    /// The leg that a request names by our tag, when it also has the dialog's Call-ID and the peer's tag, and
    /// comes from where that leg lives; with it the pair of dialogs, early or confirmed.
    fn find_leg(&self, now: Now, arrival: Arrival, request: &Message<'_>) -> Option<(CallKey, Side, u64)> {
        let tag = parse_hex(request.to_tag()?)?;
        let &(key, side) = self.tags.get(&tag)?;
        let call = self.calls.get(key)?;
        let leg = call.leg(side)?;
        let pair = match &leg.dialog {
            Some(dialog) => dialog.matches(request).then_some(call.ingress.tag),
            None => {
                let is_meant = |early: &&Early| match side {
                    Side::Ingress => early.ingress.matches(request),
                    Side::Egress => early.egress.matches(request),
                };
                call.early.iter().find(is_meant).map(|early| early.tag)
            }
        };
        let source = arrival.flow();
        pair.filter(|_| self.lives_at(leg, source, now)).map(|pair| (key, side, pair))
    }

    /// Takes a request that names a dialog.
    pub(crate) fn receive_in_dialog(
        &mut self,
        now: Now,
        arrival: Arrival,
        request: &Message<'_>,
        method: Method<'_>,
        fingerprint: Fingerprint,
    ) {
        let flow = arrival.reply;
        let Some((key, side, pair)) = self.find_leg(now, arrival, request) else {
            if method == Method::Prack && self.take_late_prack(now, arrival, request) {
                let server = self.transactions.open_server(fingerprint, false, flow, User::Nobody);
                let octets = self.build_response(request, flow, 200, None, |_| {});
                return self.transactions.respond(&mut self.wire, now.instant, server, 200, octets);
            }
            return self.refuse_request(now, flow, request, fingerprint, Reason::NoDialog);
        };
        self.handle(key);
        self.hear(now, key, side);
        let server =
            self.transactions.open_server(fingerprint, method == Method::Invite, flow, User::Call(key));
        if method == Method::Invite {
            let trying = self.build_response(request, flow, 100, None, |_| {});
            self.transactions.respond(&mut self.wire, now.instant, server, 100, trying);
        }
        match self.judge_in_dialog(key, side, pair, request, method) {
            Err(reason) => {
                self.transactions.set_user(server, User::Nobody);
                match self.calls[key].leg(side).map(|leg| leg.endpoint) {
                    Some(endpoint) if reason == Reason::SessionTooBrief => {
                        self.refuse_brief_session(now, server, flow, request, endpoint);
                    }
                    _ => self.refuse_in(now, server, flow, request, reason),
                }
            }
            Ok(rack) => match method {
                Method::Bye => self.receive_bye(now, key, side, pair, flow, request, server),
                Method::Options => {
                    self.transactions.set_user(server, User::Nobody);
                    let octets = self.build_response(request, flow, 200, None, |writer| {
                        writer.header("Allow", crate::crossing::ALLOW).header("Accept", "application/sdp");
                    });
                    self.transactions.respond(&mut self.wire, now.instant, server, 200, octets);
                }
                _ => {
                    let is_prack = rack.is_some();
                    self.carry_request(now, key, side, pair, request, method, server, rack);
                    if is_prack {
                        self.after_prack(now, key, pair);
                    }
                }
            },
        }
    }

    /// What is asked of a request in a dialog before it is served. A PRACK that passes has acknowledged what it
    /// names, and its RAck is given as the other leg knows it.
    fn judge_in_dialog(
        &mut self,
        key: CallKey,
        side: Side,
        pair: u64,
        request: &Message<'_>,
        method: Method<'_>,
    ) -> Result<Option<CarriedRack>, Reason> {
        let call = &mut self.calls[key];
        let number = request.cseq().map_err(|_| Reason::Malformed)?.number;
        if let Some(dialog) = call.dialog_mut(side, pair) {
            dialog.accept_cseq(number).map_err(|_| Reason::CseqTooLow)?;
        }
        match method {
            Method::Bye | Method::Options => return Ok(None),
            Method::Invite | Method::Update | Method::Info | Method::Prack => {}
            Method::Message if passes(&self.table, call, |requests| requests.message) => {}
            Method::Refer if call.is_up() && passes(&self.table, call, |requests| requests.refer) => {
                let endpoint = call.leg(side).expect("the request came by it").endpoint;
                refer::judge(request, &policy_of(&self.table, endpoint).numbers)?;
            }
            Method::Notify if call.is_up() && passes(&self.table, call, |requests| requests.refer) => {
                refer::subscription(call, side, request).ok_or(Reason::NoDialog)?;
            }
            Method::Refer
            | Method::Message
            | Method::Subscribe
            | Method::Notify
            | Method::Publish
            | Method::Register => return Err(Reason::MethodNotAllowed),
            Method::Other(_) => return Err(Reason::MethodUnknown),
            Method::Ack | Method::Cancel => unreachable!("they were sorted out before"),
        }
        if unsupported(request).is_some() {
            return Err(Reason::ExtensionUnsupported);
        }
        if request.max_forwards() == Ok(Some(0)) {
            return Err(Reason::TooManyHops);
        }
        if call.exchanges.len() >= MAX_EXCHANGES {
            return Err(Reason::RequestPending);
        }
        if matches!(method, Method::Invite | Method::Update) {
            let endpoint = call.leg(side).expect("the request came by it").endpoint;
            judge_session(&policy_of(&self.table, endpoint).session, request)
                .map_err(|TooBrief| Reason::SessionTooBrief)?;
        }
        match method {
            Method::Invite => judge_reinvite(call, side)?,
            Method::Update => judge_update(call, side, pair, request)?,
            Method::Prack => {
                return self.take_prack(key, side, pair, request).map(Some).ok_or(Reason::NoDialog);
            }
            _ => {}
        }
        Ok(None)
    }

    /// Carries a request across to the other leg.
    #[expect(clippy::too_many_arguments, reason = "they are what the request is")]
    fn carry_request(
        &mut self,
        now: Now,
        key: CallKey,
        side: Side,
        pair: u64,
        request: &Message<'_>,
        method: Method<'_>,
        server: TransactionKey,
        rack: Option<CarriedRack>,
    ) {
        let table = self.table.clone();
        let branch = self.mint();
        let call = &mut self.calls[key];
        let event = refer::subscription(call, side, request);
        let dialog = call.dialog_mut(side.other(), pair).expect("a pair has both dialogs");
        let number = dialog.next_cseq();
        if method == Method::Refer {
            let server_cseq = request.cseq().map_or(0, |cseq| cseq.number);
            call.refer = Some(Box::new(Refer { from: side, server_cseq, client_cseq: number }));
        }
        let call = &mut self.calls[key];
        let dialog = call.dialog_mut(side.other(), pair).expect("a pair has both dialogs");
        // Both are parts of the call.
        let dialog = dialog.clone();
        let leg = call.leg(side.other()).expect("a call with a pair of dialogs has both legs");
        let endpoint = table.endpoint(leg.endpoint);
        let flow = leg.next_hop(&dialog, endpoint);
        let sender = call.leg(side).expect("the request came by it").endpoint;
        let (sender, receiver) = (policy_of(&table, sender), policy_of(&table, leg.endpoint));
        let local = &self.locals[usize::from(flow.listener)];
        let hops = request.max_forwards().ok().flatten().unwrap_or(70).saturating_sub(1).to_string();
        let via = format!(
            "SIP/2.0/{} {};rport;branch={}",
            flow.transport.as_via(),
            local.host,
            format_branch(branch)
        );
        let cseq = format!("{number} {method}");
        let (from, to) = (dialog.from_value(), dialog.to_value());
        let (uri, routes) = dialog.request_target();
        let mut top: Vec<(&str, &[u8])> = Vec::with_capacity(14);
        top.extend([("Via", via.as_bytes()), ("Max-Forwards", hops.as_bytes())]);
        top.extend(routes.iter().map(|route| ("Route", &**route)));
        top.extend([
            ("From", &from[..]),
            ("To", &to[..]),
            ("Call-ID", &dialog.call_id[..]),
            ("CSeq", cseq.as_bytes()),
        ]);
        if matches!(method, Method::Invite | Method::Update | Method::Refer | Method::Notify) {
            top.push(("Contact", local.contact_to(receiver).as_bytes()));
        }
        let offer = match method {
            Method::Invite | Method::Update => leg.session.offer(&receiver.session),
            _ => Offer::default(),
        };
        top.extend(offer.fields());
        let has_timer = leg.session.is_offered;
        let rack = rack.map(|rack| format!("{} {} INVITE", rack.rseq, rack.cseq));
        top.extend(rack.iter().map(|rack| ("RAck", rack.as_bytes())));
        let start = StartLine::Request(RequestLine { method, uri });
        let mut passage = Passage::new(local.host_to(receiver), sender, receiver).with_timer(has_timer);
        let event = (method == Method::Notify).then_some(event).flatten();
        top.extend(event.iter().map(|event| ("Event", event.as_bytes())));
        if method == Method::Notify {
            // Beyond its first line it may tell of the leg that the REFER led to.
            passage = passage.with_body(refer::first_line(request.body()));
        }
        cross(&mut self.scratch, request, start, &top, &passage);
        // The other leg has routes of its own: what fitted here may not fit there.
        if self.scratch.len() - request.body().len() > MAX_HEAD {
            self.transactions.set_user(server, User::Nobody);
            if let Some(arrived_by) = self.transactions.flow(server) {
                self.refuse_in(now, server, arrived_by, request, Reason::MessageTooLarge);
            }
            return;
        }
        let octets = Octets::from(self.scratch.as_slice());
        let outgoing = Outgoing { branch, flow, octets };
        let client = self.open_client(now, endpoint, method, outgoing, User::Call(key));
        let request_octets = Octets::from(request.octets());
        let call = &mut self.calls[key];
        if method == Method::Invite {
            let server_cseq = request.cseq().map_or(0, |cseq| cseq.number);
            call.invite = Some(Box::new(InviteExchange {
                from: side,
                request: request_octets,
                server,
                server_cseq,
                client: Some(client),
                addresses: Vec::new(),
                success: None,
                failure: None,
                min_se_s: 0,
                redirected: None,
                cancel: Cancel::No,
                since: now.instant,
                progress_at: now.instant,
            }));
            let timer = Wake::Call(key, CallTimer::Reinvite(server_cseq));
            let place = &mut self.calls[key].timers.patience;
            self.wire.timers.replace(place, now.instant + self.settings.ring_timeout, timer);
        } else {
            let number = self.rng.next_u32();
            let exchange = Exchange { from: side, request: request_octets, server, client, pair, number };
            call.exchanges.push(exchange);
            self.wire.timers.set(now.instant + SLOW, Wake::Call(key, CallTimer::Slow(number)));
            self.wire.timers.set(now.instant + OVERDUE, Wake::Call(key, CallTimer::Overdue(number)));
        }
    }

    /// Takes the ACK to a 2xx, which names its dialog and its INVITE's number; it is never answered.
    pub(crate) fn receive_success_ack(&mut self, now: Now, arrival: Arrival, request: &Message<'_>) {
        let Some((key, side, _)) = self.find_leg(now, arrival, request) else {
            self.wire.metrics.count_drop(Reason::UnknownTransaction);
            return;
        };
        self.handle(key);
        self.hear(now, key, side);
        let number = request.cseq().map_or(0, |cseq| cseq.number);
        let call = &mut self.calls[key];
        let is_awaited = call.invite.as_ref().is_some_and(|invite| {
            invite.from == side && invite.server_cseq == number && invite.success.is_some()
        });
        if !is_awaited {
            return; // It came again.
        }
        if self.end_hung_up(now, key) {
            return;
        }
        let call = &mut self.calls[key];
        let invite = *call.invite.take().expect("it was just seen");
        let success = invite.success.expect("it was just seen");
        for timer in [call.timers.step, call.timers.patience] {
            self.wire.timers.cancel(timer);
        }
        let restricted;
        let body = match request.body() {
            [] => None,
            body => {
                // The answer to an offer in the 2xx (RFC 3261 §13.2.1).
                let policy = |side| {
                    let leg = self.calls[key].leg(side).expect("a call that was answered has both legs");
                    policy_of(&self.table, leg.endpoint)
                };
                restricted = codecs::restrict(request, policy(side), policy(side.other()));
                let kind = request.header(Name::ContentType).unwrap_or(b"application/sdp");
                Some((kind, restricted.as_deref().unwrap_or(body)))
            }
        };
        self.transactions.forget_octets(invite.server);
        let call = &mut self.calls[key];
        call.acked = true;
        let record = Record::Acked(call.cdr.call_id, call.cdr.answered_at);
        self.record_later(now, &record);
        self.send_ack(now, key, side.other(), invite.client, success.client_cseq, body);
    }

    /// Acknowledges the 2xx that came on a leg.
    fn send_ack(
        &mut self,
        now: Now,
        key: CallKey,
        side: Side,
        client: Option<TransactionKey>,
        cseq: u32,
        body: Option<(&[u8], &[u8])>,
    ) {
        let table = self.table.clone();
        let Some(leg) = self.calls[key].leg(side) else { return };
        let Some(dialog) = leg.dialog.clone() else { return };
        let endpoint = table.endpoint(leg.endpoint);
        let flow = leg.next_hop(&dialog, endpoint);
        let ack = self.build_ack(client, &dialog, flow, cseq, body);
        let (flow, sent) = self.by_tcp(now, endpoint, flow, &ack).unwrap_or((flow, ack.clone()));
        self.wire.outbox.push(flow, sent);
        // One without a body is made anew when it is needed again: few are, and every call would keep one.
        if let Some(client) = client.filter(|_| body.is_some()) {
            self.transactions.keep_ack(client, ack);
        }
    }

    /// A member hangs up.
    #[expect(clippy::too_many_arguments, reason = "they are what the request is")]
    fn receive_bye(
        &mut self,
        now: Now,
        key: CallKey,
        side: Side,
        pair: u64,
        flow: Flow,
        request: &Message<'_>,
        server: TransactionKey,
    ) {
        self.transactions.set_user(server, User::Nobody);
        let octets = self.build_response(request, flow, 200, None, |_| {});
        self.transactions.respond(&mut self.wire, now.instant, server, 200, octets);
        if self.calls[key].is_over() {
            return;
        }
        if !self.calls[key].is_up() {
            return self.end_early(now, key, side, pair, request);
        }
        if self.end_hung_up(now, key) {
            return;
        }
        if let Some(invite) = self.calls[key].invite.as_mut().filter(|invite| invite.from != side)
            && let Some(success) = invite.success.as_mut()
        {
            // No BYE may overtake the answer: it goes out once that is acknowledged (RFC 3261 §15).
            success.hung_up = Some(now);
            let (client, cseq) = (invite.client, success.client_cseq);
            self.calls[key].note_cause(cause_of(request));
            self.record_up(key);
            self.wire.outbox.hold(!self.calls[key].acked);
            self.send_ack(now, key, side, client, cseq, None);
            return self.wire.outbox.hold(false);
        }
        self.end_pending(now, key);
        let reasons = reasons_of(request);
        self.send_bye(now, key, side.other(), |writer| {
            if let Some(reasons) = &reasons {
                writer.header_bytes("Reason", reasons);
            }
        });
        self.calls[key].note_cause(cause_of(request));
        self.calls[key].cdr.ended_by = Some(match side {
            Side::Ingress => EndedBy::Originating,
            Side::Egress => EndedBy::Terminating,
        });
        self.finish(now, key, Outcome::Answered);
    }

    /// Ends a call of which one side hung up while the answer to the other was not acknowledged; false when it
    /// is not such a call.
    pub(crate) fn end_hung_up(&mut self, now: Now, key: CallKey) -> bool {
        let invite = self.calls[key].invite.as_ref();
        let Some((from, Some(at))) =
            invite.and_then(|invite| Some((invite.from, invite.success.as_ref()?.hung_up)))
        else {
            return false;
        };
        self.calls[key].invite = None;
        self.end_pending(now, key);
        self.send_bye(now, key, from, |_| {});
        self.calls[key].cdr.ended_by = Some(match from {
            Side::Ingress => EndedBy::Terminating,
            Side::Egress => EndedBy::Originating,
        });
        self.finish(at, key, Outcome::Answered);
        true
    }

    /// BYE in an early dialog. The caller ends that dialog alone when others are left, and with the last one the
    /// call (RFC 3261 §15). The called side may not, but one that does will not answer either: the next
    /// candidate is tried.
    fn end_early(&mut self, now: Now, key: CallKey, side: Side, pair: u64, request: &Message<'_>) {
        let call = &mut self.calls[key];
        if call.early.len() <= 1 {
            if side == Side::Ingress {
                return self.caller_gone(now, key, request);
            }
            self.abandon_attempt(now, key, None);
            self.calls[key].note_egress_cause(cause_of(request));
            return self.attempt_ended(now, key, None, Some(Reason::EndpointUnreachable));
        }
        let table = self.table.clone();
        let at = call.early.iter().position(|early| early.tag == pair).expect("the request named it");
        let Early { mut egress, .. } = call.early.swap_remove(at);
        if side == Side::Ingress
            && let Some(leg) = call.egress.as_ref()
        {
            let endpoint = table.endpoint(leg.endpoint);
            let flow = leg.next_hop(&egress, endpoint);
            let (number, is_offered) = (egress.next_cseq(), leg.session.is_offered);
            let bye = self.build_in_dialog(&egress, flow, Method::Bye, number, None, |writer| {
                write_timer(writer, is_offered);
            });
            self.open_client(now, endpoint, Method::Bye, bye, User::Nobody);
        }
        if self.calls[key].ingress.tag != pair {
            self.tags.remove(&pair);
        }
        let exchanges = &mut self.calls[key].exchanges;
        let lost: Vec<Exchange> = exchanges.extract_if(.., |exchange| exchange.pair == pair).collect();
        for exchange in lost {
            self.transactions.set_user(exchange.client, User::Nobody);
            self.answer_pending(now, exchange.server, &exchange.request, 481);
        }
    }

    /// The hub ends a call that is up: BYE to both sides.
    pub(crate) fn hang_up(&mut self, now: Now, key: CallKey, by: EndedBy, reason: Option<Reason>) {
        self.end_pending(now, key);
        for side in [Side::Ingress, Side::Egress] {
            self.send_bye(now, key, side, |writer| {
                if let Some(reason) = reason {
                    writer.header("Reason", reason_value(reason));
                }
            });
        }
        let call = &mut self.calls[key];
        if let Some(reason) = reason {
            call.note_cause(Cause::of_status(reason.status()));
        }
        let cdr = &mut call.cdr;
        cdr.ended_by = Some(by);
        cdr.reason = reason;
        self.finish(now, key, Outcome::Answered);
    }

    /// Ends a call for a reason of the hub's own, whether it is up or not.
    pub(crate) fn end_call(&mut self, now: Now, key: CallKey, reason: Reason) {
        if self.calls[key].is_up() {
            return self.hang_up(now, key, EndedBy::Hub, Some(reason));
        }
        self.abandon_attempt(now, key, Some(reason_value(reason).as_bytes()));
        if self.calls[key].egress.is_some() {
            self.end_attempt(now, key, None, Some(reason));
        }
        let told = if reason == Reason::NodeStopped { Reason::Draining } else { reason };
        self.refuse_with(now, key, told.status(), Some(told), Outcome::Failed);
    }

    /// Ends what is under way in a call that is being hung up: an answer that was not acknowledged is
    /// acknowledged before the BYE, and requests that wait are answered.
    fn end_pending(&mut self, now: Now, key: CallKey) {
        let call = &mut self.calls[key];
        let exchanges = std::mem::take(&mut call.exchanges);
        if let Some(invite) = call.invite.take() {
            match invite.success {
                Some(success) => {
                    self.send_ack(now, key, invite.from.other(), invite.client, success.client_cseq, None)
                }
                None => {
                    if let Some(client) = invite.client {
                        self.abandon(now, client, None);
                    }
                    self.answer_pending(now, invite.server, &invite.request, 487);
                }
            }
        }
        for exchange in exchanges {
            self.transactions.set_user(exchange.client, User::Nobody);
            self.answer_pending(now, exchange.server, &exchange.request, 481);
        }
    }

    pub(crate) fn answer_pending(&mut self, now: Now, server: TransactionKey, request: &Octets, status: u16) {
        let request = Message::parse(request).expect("it was read before");
        if let Some(flow) = self.transactions.flow(server) {
            let octets = self.build_response(&request, flow, status, None, |_| {});
            self.transactions.set_user(server, User::Nobody);
            self.transactions.respond(&mut self.wire, now.instant, server, status, octets);
        }
    }

    pub(crate) fn send_bye(
        &mut self,
        now: Now,
        key: CallKey,
        side: Side,
        extra: impl FnOnce(&mut tandem_sip::Writer<'_>),
    ) {
        let table = self.table.clone();
        let Some(leg) = self.calls[key].leg_mut(side) else { return };
        let Some(mut dialog) = leg.dialog.clone() else { return };
        let endpoint = table.endpoint(leg.endpoint);
        let flow = leg.next_hop(&dialog, endpoint);
        let (number, is_offered) = (dialog.next_cseq(), leg.session.is_offered);
        let bye = self.build_in_dialog(&dialog, flow, Method::Bye, number, None, |writer| {
            write_timer(writer, is_offered);
            extra(writer);
        });
        self.open_client(now, endpoint, Method::Bye, bye, User::Nobody);
    }

    /// Asks both sides, by OPTIONS in the dialog (RFC 3261 §11), whether they know the call.
    pub(crate) fn probe(&mut self, now: Now, key: CallKey) {
        let table = self.table.clone();
        for side in [Side::Ingress, Side::Egress] {
            let Some(leg) = self.calls[key].leg_mut(side) else { continue };
            let Some(dialog) = leg.dialog.as_mut() else { continue };
            let number = dialog.next_cseq();
            let dialog = dialog.clone();
            let endpoint = table.endpoint(leg.endpoint);
            let flow = leg.next_hop(&dialog, endpoint);
            let is_offered = leg.session.is_offered;
            let probe = self.build_in_dialog(&dialog, flow, Method::Options, number, None, |writer| {
                write_timer(writer, is_offered);
            });
            self.open_client(now, endpoint, Method::Options, probe, User::Probe(key, side));
        }
    }

    /// A side does not know the call, or is gone: the call is over (RFC 3261 §12.2.1.2).
    pub(crate) fn probe_failed(&mut self, now: Now, key: CallKey, reason: Reason) {
        if self.calls.contains_key(key) {
            self.hang_up(now, key, EndedBy::Hub, Some(reason));
        }
    }

    /// Takes a CANCEL: it is answered on its own, and the INVITE that it names, if that is pending, is given
    /// up (RFC 3261 §9.2). One that crosses the answer changes nothing.
    pub(crate) fn receive_cancel(
        &mut self,
        now: Now,
        flow: Flow,
        request: &Message<'_>,
        fingerprint: Fingerprint,
    ) {
        let invite = key::server_key_of(request, Method::Invite)
            .map(|invite_key| self.transactions.fingerprint(&invite_key))
            .ok()
            .and_then(|invite| self.transactions.server(invite));
        let Some(invite) = invite else {
            return self.refuse_request(now, flow, request, fingerprint, Reason::NoDialog);
        };
        // Whoever else knows the branch learns nothing, and leaves nothing that the caller's own CANCEL meets.
        if self.transactions.flow(invite).is_none_or(|own| own.remote.ip() != flow.remote.ip()) {
            return self.refuse_statelessly(flow, request, fingerprint, Reason::NoDialog);
        }
        let call = match self.transactions.user(invite) {
            Some(User::Call(call)) if self.calls.contains_key(call) => Some(call),
            _ => None,
        };
        let own_tag = call.map(|call| format_tag(self.calls[call].ingress.tag));
        let server = self.transactions.open_server(fingerprint, false, flow, User::Nobody);
        let octets = self.build_response(request, flow, 200, own_tag.as_deref().map(str::as_bytes), |_| {});
        self.transactions.respond(&mut self.wire, now.instant, server, 200, octets);
        let Some(call) = call else { return };
        self.handle(call);
        let is_pending = self.calls[call]
            .invite
            .as_ref()
            .is_some_and(|pending| pending.server == invite && pending.success.is_none());
        if !is_pending {
            return;
        }
        if self.calls[call].is_up() {
            // A re-INVITE is taken back: its responder says what became of it, 487 or too late.
            let pending = self.calls[call].invite.as_mut().expect("it is pending");
            let cseq = pending.server_cseq;
            let Some(client) = pending.client else { return };
            if pending.cancel != Cancel::No {
                return;
            }
            let is_silent = self.transactions.has_had_no_response(client);
            pending.cancel = if is_silent { Cancel::Wanted } else { Cancel::Sent };
            pending.since = now.instant;
            if !is_silent {
                self.cancel_client(now, client, reasons_of(request).as_deref());
            }
            // Should it not be answered at all, the call is given up.
            self.wire.timers.set(now.instant + 64 * T1, Wake::Call(call, CallTimer::Reinvite(cseq)));
        } else {
            self.caller_gone(now, call, request);
        }
    }
}

/// Whether the policies of both endpoints of a call let requests of a kind pass.
fn passes(table: &RouteTable, call: &Call, kind: impl Fn(&RequestPolicy) -> PassOrRefuse) -> bool {
    let legs = [Some(&call.ingress), call.egress.as_ref()];
    legs.into_iter().all(|leg| {
        leg.is_some_and(|leg| kind(&policy_of(table, leg.endpoint).requests) == PassOrRefuse::Pass)
    })
}

/// While an INVITE is under way no second one may cross it: neither in the same direction, which is answered
/// with 500, nor in the other, with 491 (RFC 3261 §14.2).
fn judge_reinvite(call: &Call, side: Side) -> Result<(), Reason> {
    match &call.invite {
        Some(pending) if pending.from == side && pending.success.is_none() => Err(Reason::RequestOverlaps),
        Some(_) => Err(Reason::RequestPending),
        None => Ok(()),
    }
}

/// A second UPDATE before the first is answered gets 500, and offers that cross each other 491
/// (RFC 3311 §5.2). Offers in an INVITE or a PRACK are left to the members, who see what the hub sees.
fn judge_update(call: &Call, side: Side, pair: u64, request: &Message<'_>) -> Result<(), Reason> {
    for exchange in call.exchanges.iter().filter(|exchange| exchange.pair == pair) {
        let other = Message::parse(&exchange.request).expect("it was read before");
        if other.request().is_none_or(|line| line.method != Method::Update) {
            continue;
        }
        if exchange.from == side {
            return Err(Reason::RequestOverlaps);
        }
        if !other.body().is_empty() && !request.body().is_empty() {
            return Err(Reason::RequestPending);
        }
    }
    Ok(())
}
