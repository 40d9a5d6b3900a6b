//! Serves calls that are up, and requests that belong to a call: ACK, BYE, CANCEL, re-INVITE, UPDATE, INFO.

use tandem_model::{EndedBy, Outcome, Reason};
use tandem_sip::transaction::key;
use tandem_sip::{Message, Method, Name, RequestLine, StartLine};

use rand::Rng;

use crate::call::{CallKey, Exchange, InviteExchange};
use crate::crossing::{cross, unsupported};
use crate::leg::{Side, format_tag};
use crate::outbox::{Flow, Octets};
use crate::transaction::{Outgoing, TransactionKey, User, format_branch, parse_hex};
use crate::worker::{Arrival, Now, Worker};

/// Most requests of one call that may be on their way across at once, beside an INVITE.
const MAX_EXCHANGES: usize = 8;

impl Worker {
    /// The leg that a request names by our tag, when it also has the dialog's Call-ID and the peer's tag, and
    /// comes from where that leg lives.
    fn find_leg(&self, arrival: Arrival, request: &Message<'_>) -> Option<(CallKey, Side)> {
        let tag = parse_hex(request.to_tag()?)?;
        let &(key, side) = self.tags.get(&tag)?;
        let leg = self.calls.get(key)?.leg(side)?;
        let is_ours = match &leg.dialog {
            Some(dialog) => dialog.matches(request),
            // Before the answer only the caller knows our tag: the early dialog is that of its INVITE.
            None => {
                let invite = self.calls[key].invite.as_ref()?;
                let first = Message::parse(&invite.request).expect("it was read before");
                side == Side::Ingress
                    && first.call_id() == request.call_id()
                    && first.from_tag() == request.from_tag()
            }
        };
        let source = Flow { remote: arrival.source, ..arrival.reply };
        (is_ours && leg.lives_at(source, self.table.endpoint_from(arrival.source))).then_some((key, side))
    }

    /// Takes a request that names a dialog.
    pub(crate) fn receive_in_dialog(
        &mut self,
        now: Now,
        arrival: Arrival,
        request: &Message<'_>,
        method: Method<'_>,
        fingerprint: u128,
    ) {
        let flow = arrival.reply;
        let Some((key, side)) = self.find_leg(arrival, request) else {
            return self.refuse_request(now, flow, request, fingerprint, Reason::NoDialog);
        };
        let server =
            self.transactions.open_server(fingerprint, method == Method::Invite, flow, User::Call(key));
        if method == Method::Invite {
            let trying = self.build_response(request, flow, 100, None, |_| {});
            self.transactions.respond(&mut self.wire, now.instant, server, 100, trying);
        }
        match self.judge_in_dialog(key, side, request, method) {
            Err(reason) => {
                self.transactions.set_user(server, User::Nobody);
                self.refuse_in(now, server, flow, request, reason);
            }
            Ok(()) => match method {
                Method::Bye => self.receive_bye(now, key, side, flow, request, server),
                Method::Options => {
                    self.transactions.set_user(server, User::Nobody);
                    let octets = self.build_response(request, flow, 200, None, |writer| {
                        writer.header("Allow", crate::crossing::ALLOW).header("Accept", "application/sdp");
                    });
                    self.transactions.respond(&mut self.wire, now.instant, server, 200, octets);
                }
                _ => self.carry_request(now, key, side, request, method, server),
            },
        }
    }

    /// What is asked of a request in a dialog before it is served.
    fn judge_in_dialog(
        &mut self,
        key: CallKey,
        side: Side,
        request: &Message<'_>,
        method: Method<'_>,
    ) -> Result<(), Reason> {
        let call = &mut self.calls[key];
        let is_up = call.is_up();
        let number = request.cseq().map_err(|_| Reason::Malformed)?.number;
        if let Some(dialog) = call.leg_mut(side).and_then(|leg| leg.dialog.as_mut()) {
            dialog.accept_cseq(number).map_err(|_| Reason::CseqTooLow)?;
        }
        match method {
            Method::Bye | Method::Options => return Ok(()),
            Method::Invite | Method::Update | Method::Info => {}
            Method::Refer
            | Method::Message
            | Method::Subscribe
            | Method::Notify
            | Method::Publish
            | Method::Register
            | Method::Prack => return Err(Reason::MethodNotAllowed),
            Method::Other(_) => return Err(Reason::MethodUnknown),
            Method::Ack | Method::Cancel => unreachable!("they were sorted out before"),
        }
        if unsupported(request).is_some() {
            return Err(Reason::ExtensionUnsupported);
        }
        if request.max_forwards() == Ok(Some(0)) {
            return Err(Reason::TooManyHops);
        }
        // Before the answer nothing else can be carried; while an INVITE is under way no second one may
        // cross it (RFC 3261 §14.2).
        if !is_up
            || (method == Method::Invite && call.invite.is_some())
            || call.exchanges.len() >= MAX_EXCHANGES
        {
            return Err(Reason::RequestPending);
        }
        Ok(())
    }

    /// Carries a request across to the other leg.
    fn carry_request(
        &mut self,
        now: Now,
        key: CallKey,
        side: Side,
        request: &Message<'_>,
        method: Method<'_>,
        server: TransactionKey,
    ) {
        let table = self.table.clone();
        let branch = self.rng.next_u64();
        let call = &mut self.calls[key];
        let leg = call.leg_mut(side.other()).expect("a call that is up has both legs");
        let flow = leg.next_hop(table.endpoint(leg.endpoint));
        let dialog = leg.dialog.as_mut().expect("a call that is up has both dialogs");
        let number = dialog.next_cseq();
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
        let mut top: Vec<(&str, &[u8])> = vec![("Via", via.as_bytes()), ("Max-Forwards", hops.as_bytes())];
        top.extend(routes.iter().map(|route| ("Route", &**route)));
        top.extend([
            ("From", &from[..]),
            ("To", &to[..]),
            ("Call-ID", &dialog.call_id[..]),
            ("CSeq", cseq.as_bytes()),
        ]);
        if matches!(method, Method::Invite | Method::Update) {
            top.push(("Contact", local.contact.as_bytes()));
        }
        let start = StartLine::Request(RequestLine { method, uri });
        cross(&mut self.scratch, request, start, &top, &local.host);
        let octets = Octets::from(self.scratch.as_slice());
        let client = self.transactions.open_client(
            &mut self.wire,
            now.instant,
            method,
            Outgoing { branch, flow, octets },
            User::Call(key),
        );
        let request_octets = Octets::from(request.octets());
        let call = &mut self.calls[key];
        if method == Method::Invite {
            call.invite = Some(Box::new(InviteExchange {
                from: side,
                request: request_octets,
                server,
                server_cseq: request.cseq().map_or(0, |cseq| cseq.number),
                client: Some(client),
                success: None,
            }));
        } else {
            call.exchanges.push(Exchange { from: side, request: request_octets, server, client });
        }
    }

    /// Takes the ACK to a 2xx, which names its dialog and its INVITE's number; it is never answered.
    pub(crate) fn receive_success_ack(&mut self, arrival: Arrival, request: &Message<'_>) {
        let Some((key, side)) = self.find_leg(arrival, request) else {
            self.wire.metrics.count_drop(Reason::UnknownTransaction);
            return;
        };
        let number = request.cseq().map_or(0, |cseq| cseq.number);
        let call = &mut self.calls[key];
        let is_awaited = call.invite.as_ref().is_some_and(|invite| {
            invite.from == side && invite.server_cseq == number && invite.success.is_some()
        });
        if !is_awaited {
            return; // It came again.
        }
        let invite = *call.invite.take().expect("it was just seen");
        let success = invite.success.expect("it was just seen");
        for timer in [call.timers.step, call.timers.patience] {
            self.wire.timers.cancel(timer);
        }
        let body = match request.body() {
            [] => None,
            body => Some((request.header(Name::ContentType).unwrap_or(b"application/sdp"), body)),
        };
        self.transactions.forget_octets(invite.server);
        self.send_ack(key, side.other(), invite.client, success.client_cseq, body);
    }

    /// Acknowledges the 2xx that came on a leg.
    fn send_ack(
        &mut self,
        key: CallKey,
        side: Side,
        client: Option<TransactionKey>,
        cseq: u32,
        body: Option<(&[u8], &[u8])>,
    ) {
        let table = self.table.clone();
        let Some(leg) = self.calls[key].leg(side) else { return };
        let Some(dialog) = leg.dialog.clone() else { return };
        let flow = leg.next_hop(table.endpoint(leg.endpoint));
        let ack = self.build_in_dialog(&dialog, flow, Method::Ack, cseq, body, |_| {}).octets;
        self.wire.outbox.push(flow, ack.clone());
        if let Some(client) = client {
            self.transactions.keep_ack(client, ack);
        }
    }

    /// A member hangs up.
    fn receive_bye(
        &mut self,
        now: Now,
        key: CallKey,
        side: Side,
        flow: Flow,
        request: &Message<'_>,
        server: TransactionKey,
    ) {
        self.transactions.set_user(server, User::Nobody);
        let octets = self.build_response(request, flow, 200, None, |_| {});
        self.transactions.respond(&mut self.wire, now.instant, server, 200, octets);
        if !self.calls[key].is_up() {
            return self.caller_gone(now, key);
        }
        let reason = request.header(Name::Reason).map(<[u8]>::to_vec);
        self.end_pending(now, key);
        self.send_bye(now, key, side.other(), |writer| {
            if let Some(reason) = &reason {
                writer.header_bytes("Reason", reason);
            }
        });
        self.calls[key].cdr.ended_by = Some(match side {
            Side::Ingress => EndedBy::Originating,
            Side::Egress => EndedBy::Terminating,
        });
        self.finish(now, key, Outcome::Answered);
    }

    /// The hub ends a call that is up: BYE to both sides.
    pub(crate) fn hang_up(&mut self, now: Now, key: CallKey, by: EndedBy, reason: Option<Reason>) {
        self.end_pending(now, key);
        for side in [Side::Ingress, Side::Egress] {
            self.send_bye(now, key, side, |writer| {
                if let Some(reason) = reason {
                    writer.header(
                        "Reason",
                        format_args!(
                            "SIP;cause={};text=\"{}: {}\"",
                            reason.status(),
                            reason.code(),
                            reason.sentence()
                        ),
                    );
                }
            });
        }
        let cdr = &mut self.calls[key].cdr;
        cdr.ended_by = Some(by);
        cdr.reason = reason;
        self.finish(now, key, Outcome::Answered);
    }

    /// Ends a call because the node stops.
    pub(crate) fn stop_call(&mut self, now: Now, key: CallKey) {
        if self.calls[key].is_up() {
            return self.hang_up(now, key, EndedBy::Hub, Some(Reason::NodeStopped));
        }
        self.abandon_attempt(now, key);
        if self.calls[key].egress.is_some() {
            self.end_attempt(now, key, None, Some(Reason::NodeStopped));
        }
        self.refuse_with(now, key, Reason::Draining.status(), Some(Reason::Draining), Outcome::Failed);
    }

    /// Ends what is under way in a call that is being hung up: an answer that was not acknowledged is
    /// acknowledged before the BYE, and requests that wait are answered.
    fn end_pending(&mut self, now: Now, key: CallKey) {
        let call = &mut self.calls[key];
        let exchanges = std::mem::take(&mut call.exchanges);
        if let Some(invite) = call.invite.take() {
            match invite.success {
                Some(success) => {
                    self.send_ack(key, invite.from.other(), invite.client, success.client_cseq, None)
                }
                None => {
                    if let Some(client) = invite.client {
                        self.abandon(now, client);
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

    fn answer_pending(&mut self, now: Now, server: TransactionKey, request: &Octets, status: u16) {
        let request = Message::parse(request).expect("it was read before");
        if let Some(flow) = self.transactions.flow(server) {
            let octets = self.build_response(&request, flow, status, None, |_| {});
            self.transactions.set_user(server, User::Nobody);
            self.transactions.respond(&mut self.wire, now.instant, server, status, octets);
        }
    }

    fn send_bye(
        &mut self,
        now: Now,
        key: CallKey,
        side: Side,
        extra: impl FnOnce(&mut tandem_sip::Writer<'_>),
    ) {
        let table = self.table.clone();
        let Some(leg) = self.calls[key].leg_mut(side) else { return };
        let flow = leg.next_hop(table.endpoint(leg.endpoint));
        let Some(mut dialog) = leg.dialog.clone() else { return };
        let number = dialog.next_cseq();
        let bye = self.build_in_dialog(&dialog, flow, Method::Bye, number, None, extra);
        self.transactions.open_client(&mut self.wire, now.instant, Method::Bye, bye, User::Nobody);
    }

    /// Takes a CANCEL: it is answered on its own, and the INVITE that it names, if that is pending, is given
    /// up (RFC 3261 §9.2). One that crosses the answer changes nothing.
    pub(crate) fn receive_cancel(&mut self, now: Now, flow: Flow, request: &Message<'_>, fingerprint: u128) {
        let invite = key::server_key_of(request, Method::Invite)
            .map(|invite_key| self.transactions.fingerprint(&invite_key))
            .ok()
            .and_then(|invite| self.transactions.server(invite));
        let Some(invite) = invite else {
            return self.refuse_request(now, flow, request, fingerprint, Reason::NoDialog);
        };
        let call = match self.transactions.user(invite) {
            Some(User::Call(call)) if self.calls.contains_key(call) => Some(call),
            _ => None,
        };
        let own_tag = call.map(|call| format_tag(self.calls[call].ingress.tag));
        let server = self.transactions.open_server(fingerprint, false, flow, User::Nobody);
        let octets = self.build_response(request, flow, 200, own_tag.as_deref().map(str::as_bytes), |_| {});
        self.transactions.respond(&mut self.wire, now.instant, server, 200, octets);
        let Some(call) = call else { return };
        let is_pending = self.calls[call]
            .invite
            .as_ref()
            .is_some_and(|pending| pending.server == invite && pending.success.is_none());
        let same_source =
            self.transactions.flow(invite).is_some_and(|own| own.remote.ip() == flow.remote.ip());
        if !is_pending || !same_source {
            return;
        }
        if self.calls[call].is_up() {
            // A re-INVITE is taken back: its responder says what became of it, 487 or too late.
            if let Some(client) = self.calls[call].invite.as_ref().and_then(|pending| pending.client)
                && !self.transactions.has_had_no_response(client)
            {
                self.cancel_client(now, client);
            }
        } else {
            self.caller_gone(now, call);
        }
    }
}
