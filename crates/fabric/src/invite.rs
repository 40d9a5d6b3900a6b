//! Sets calls up: from the INVITE of the originating member to an INVITE toward each candidate in turn.

use smallvec::SmallVec;
use tandem_model::{
    CallId, Cause, E164, Endpoint, EndpointId, HealthSign, NumberForm, NumberPolicy, Outcome, Policy, Reason,
    Transport,
};
use tandem_routing::{CallRequest, Candidate, Dip, LeftOut, RouteTable, select};
use tandem_sip::session_timer::{LONGEST_S, TooBrief, min_se};
use tandem_sip::transaction::timer::T1;
use tandem_sip::{MAX_HEAD, Message, Method, Name, RequestLine, Scheme, StartLine, Uri};

use std::sync::atomic::Ordering;
use std::time::Instant;

use rand::Rng;

use crate::call::{Call, CallKey, CallTimers, Cancel, InviteExchange};
use crate::cause::{cause_of, reason_value, reasons_of};
use crate::crossing::{Passage, calling_text, cross, unsupported, user_text, write_caller};
use crate::destination::place_of;
use crate::early::PROGRESS_EVERY;
use crate::leg::{Leg, Side, format_tag};
use crate::limit::{Full, Lease};
use crate::outbox::{Flow, Octets};
use crate::passes::TOKEN;
use crate::record::{AttemptRecord, CallRecord};
use crate::registrar::request_uri;
use crate::response::{is_egress_failure, outcome_of};
use crate::routing_number;
use crate::session::{Session, judge_session};
use crate::timer::{CallTimer, Wake};
use crate::transaction::{Fingerprint, Outgoing, TransactionKey, User, cancel, format_branch};
use crate::worker::{Arrival, Now, Worker, write_reason};

/// Max-Forwards of a request that came without one (RFC 3261 §16.6 item 3).
pub(crate) const DEFAULT_MAX_FORWARDS: u8 = 70;

/// CSeq number of the INVITE that begins a dialog on the egress leg.
pub(crate) const FIRST_CSEQ: u32 = 1;

/// Most candidates of one call, and most attempts: what is not reached by then is not reached.
pub(crate) const MAX_ATTEMPTS: u8 = 8;

impl Worker {
    /// Takes an INVITE that begins a call.
    pub(crate) fn receive_invite(
        &mut self,
        now: Now,
        arrival: Arrival,
        request: &Message<'_>,
        fingerprint: Fingerprint,
    ) {
        let flow = arrival.reply;
        let table = self.table.clone();
        // A neighbour that only takes calls may not begin one.
        let endpoint = match self.endpoint_of(&table, arrival.flow(), now) {
            Some(endpoint) => endpoint,
            None => match self.authenticate(now, &table, arrival, request, fingerprint) {
                Some(endpoint) => endpoint,
                None => return,
            },
        };
        let Some(endpoint) = marked(&table, endpoint, flow, request) else {
            return self.refuse_statelessly(flow, request, fingerprint, Reason::CallMarkMissing);
        };
        let admitted = self.share.common.limits.admit(&table, endpoint, now.instant);
        if let Err(Full { reason, is_recorded: false }) = admitted {
            return self.refuse_statelessly(flow, request, fingerprint, reason);
        }
        let server = self.transactions.open_server(fingerprint, true, flow, User::Nobody);
        let trying = self.build_response(request, flow, 100, None, |_| {});
        self.transactions.respond(&mut self.wire, now.instant, server, 100, trying);

        let identity = self.transactions.identity(request);
        if self.identities.contains(&identity) {
            // RFC 3261 §8.2.2.2: it has forked on its way here.
            return self.refuse_in(now, server, flow, request, Reason::MergedRequest);
        }
        if let Err(TooBrief) = judge_session(&endpoint.policy.session, request) {
            return self.refuse_brief_session(now, server, flow, request, endpoint.endpoint_id);
        }
        if let Err(reason) = self.admit_request(request, endpoint) {
            // Not a call yet: a broken, looping or untimely request has no CDR, only its metric.
            return self.refuse_in(now, server, flow, request, reason);
        }
        let key = match self.begin_call(now, flow, request, server, endpoint) {
            Ok(key) => key,
            Err(reason) => return self.refuse_in(now, server, flow, request, reason),
        };
        self.trace_call(key);
        self.identities.insert(identity);
        self.calls[key].identity = identity;
        let called = match called_number(request, endpoint) {
            Ok(called) => called,
            Err(reason) => return self.refuse_call(now, key, reason),
        };
        match admitted {
            Ok(lease) => self.calls[key].ingress.lease = Some(lease),
            Err(full) => return self.refuse_call(now, key, full.reason),
        }
        self.calls[key].cdr.called = called.digits().into();
        match self.read_dip(request, endpoint) {
            None if self.await_dip(now, key, called) => {}
            dip => self.route(now, key, called, dip),
        }
    }

    /// Routes a call by its called number, or by what the look-up of that has found, and sends it to the first candidate.
    pub(crate) fn route(&mut self, now: Now, key: CallKey, called: E164, dip: Option<Dip>) {
        let table = self.table.clone();
        let draw = self.rng.next_u64();
        let call = &mut self.calls[key];
        let question = CallRequest {
            originating_member: call.ingress.member,
            called,
            dip,
            site: Some(&self.locals[usize::from(call.ingress.flow.listener)].site),
            draw,
        };
        let mut selection = select(&table, &question, now.utc);
        selection.note(&question, &table, now.utc);
        let refusal = selection.refusal();
        call.cdr.selection = Some(Box::new(selection));
        if let Some(reason) = refusal {
            return self.refuse_call(now, key, reason);
        }
        if !self.count_pass(now, key) {
            return self.refuse_call(now, key, Reason::LoopDetected);
        }
        if !self.direct_caller(now, key) {
            self.try_next(now, key, None, Reason::EndpointUnreachable);
        }
    }

    /// What is asked of an INVITE before it becomes a call.
    fn admit_request(&self, request: &Message<'_>, endpoint: &Endpoint) -> Result<(), Reason> {
        if self.draining {
            return Err(Reason::Draining);
        }
        if self.table.is_unloaded() {
            return Err(Reason::NotReady);
        }
        if self.journal.is_failing() {
            return Err(Reason::JournalUnwritable);
        }
        if self.share.common.active_calls.load(Ordering::Relaxed) >= self.settings.max_calls {
            return Err(Reason::NodeFull);
        }
        if request.max_forwards() == Ok(Some(0)) {
            return Err(Reason::TooManyHops);
        }
        if unsupported(request).is_some() {
            return Err(Reason::ExtensionUnsupported);
        }
        if request.header(Name::Contact).is_none() {
            // Without it no dialog can begin (RFC 3261 §8.1.1.8, §12.1.1).
            return Err(Reason::Malformed);
        }
        if called_number(request, endpoint)
            .is_ok_and(|called| self.is_own_call_back(request, &called.digits()))
        {
            return Err(Reason::LoopDetected);
        }
        Ok(())
    }

    fn begin_call(
        &mut self,
        now: Now,
        flow: Flow,
        request: &Message<'_>,
        server: TransactionKey,
        endpoint: &Endpoint,
    ) -> Result<CallKey, Reason> {
        let (Ok(from), Ok(call_id), Ok(cseq)) = (request.from(), request.call_id(), request.cseq()) else {
            return Err(Reason::Malformed);
        };
        let millis = now.utc.timestamp_millis().max(0) as u64;
        let mut random = [0; 10];
        self.rng.fill_bytes(&mut random);
        let call_uuid = uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid();
        let line = request.request().ok_or(Reason::Malformed)?;
        let cdr = CallRecord {
            call_id: CallId(call_uuid),
            started_at: now.utc,
            originating_member: endpoint.member_id,
            originating_endpoint: endpoint.endpoint_id,
            calling: calling_text(from.parse_uri().ok(), &endpoint.policy).into(),
            called: user_text(Uri::parse(line.uri).ok()).into(),
            ingress_call_id: String::from_utf8_lossy(call_id).into(),
            table_version: self.table.version(),
            selection: None,
            attempts: SmallVec::new(),
            outcome: None,
            status: None,
            reason: None,
            answered_at: None,
            ended_at: None,
            ended_by: None,
            setup_ms: None,
            duration_ms: None,
            cause: Cause::default(),
            heard: None,
        };
        let ingress = Leg {
            endpoint: endpoint.endpoint_id,
            member: endpoint.member_id,
            flow: flow.toward(endpoint.endpoint_id),
            targets: self.targets_of(endpoint, now),
            tag: self.mint(),
            dialog: None,
            session: Session::new(&endpoint.policy.session),
            session_due: now.instant,
            heard_at: now.utc,
            lease: None,
        };
        let invite = InviteExchange {
            from: Side::Ingress,
            request: Octets::from(request.octets()),
            server,
            server_cseq: cseq.number,
            client: None,
            addresses: Vec::new(),
            success: None,
            failure: None,
            min_se_s: 0,
            redirected: None,
            cancel: Cancel::No,
            since: now.instant,
            progress_at: now.instant,
        };
        let call = Call {
            cdr,
            started: now.instant,
            answered: None,
            is_told: false,
            acked: false,
            ingress,
            egress: None,
            awaits: None,
            candidates_done: 0,
            invite: Some(Box::new(invite)),
            exchanges: Vec::new(),
            early: Vec::new(),
            reliable: None,
            refer: None,
            until: now.instant,
            identity: 0,
            numbers: 0,
            timers: CallTimers::default(),
        };
        let key = self.add_call(call);
        self.transactions.set_user(server, User::Call(key));
        self.handle(key);
        Ok(key)
    }

    /// Tries candidates until an INVITE is under way; with none left, the call fails with the last attempt's
    /// status, or `reason`.
    pub(crate) fn try_next(&mut self, now: Now, key: CallKey, last_status: Option<u16>, reason: Reason) {
        let mut reason = reason;
        loop {
            if now.instant >= self.setup_end(key) {
                let reason = Reason::RingTimeout;
                return self.refuse_with(now, key, reason.status(), Some(reason), Outcome::NoAnswer);
            }
            let Some((index, candidate)) = self.calls[key].next_candidate(MAX_ATTEMPTS) else {
                if let Some((index, candidate)) = self.take_last_resort(key) {
                    match self.try_candidate(now, key, index, &candidate) {
                        Ok(()) => return,
                        Err(left_out) => {
                            reason = left_out;
                            self.leave_out(key, &candidate, left_out);
                        }
                    }
                }
                return self.fail_call(now, key, last_status, reason);
            };
            let tried = self
                .admit_to(now, key, candidate.endpoint)
                .and_then(|()| self.try_candidate(now, key, index, &candidate));
            match tried {
                Ok(()) => return,
                Err(left_out) => {
                    reason = left_out;
                    self.leave_out(key, &candidate, left_out);
                }
            }
        }
    }

    /// Where nothing was tried because of what is known of the candidates' endpoints: the best bet among them, which
    /// is not left out then. Probes may be filtered where calls are not, and a call that is refused is lost for sure.
    fn take_last_resort(&mut self, key: CallKey) -> Option<(u8, Candidate)> {
        let call = &mut self.calls[key];
        let selection = call.cdr.selection.as_mut().filter(|_| call.cdr.attempts.is_empty())?;
        let is_unwell =
            |left_out: &LeftOut| matches!(left_out.reason, Reason::EndpointDown | Reason::EndpointRecovering);
        let candidates = selection.candidates.iter().enumerate().take(call.candidates_done.into());
        let unwell = candidates.filter(|(_, candidate)| {
            selection.left_out.iter().any(|it| it.endpoint == Some(candidate.endpoint) && is_unwell(it))
        });
        let standings = &self.share.common.standings;
        let (index, candidate) = unwell.min_by_key(|(_, candidate)| standings.badness(candidate.endpoint))?;
        let candidate = *candidate;
        selection.left_out.retain(|it| it.endpoint != Some(candidate.endpoint) || !is_unwell(it));
        Some((index as u8, candidate))
    }

    /// Notes in the call's selection that a candidate could not be tried.
    fn leave_out(&mut self, key: CallKey, candidate: &Candidate, reason: Reason) {
        self.wire.metrics.count_left_out(reason);
        let left_out = LeftOut {
            member: candidate.member,
            endpoint: Some(candidate.endpoint),
            announcement: candidate.announcement,
            prefix: candidate.prefix,
            reason,
        };
        if let Some(selection) = self.calls[key].cdr.selection.as_mut() {
            selection.left_out.push(left_out);
        }
    }

    /// Sends the call's INVITE to a candidate: to the first of its addresses.
    fn try_candidate(
        &mut self,
        now: Now,
        key: CallKey,
        index: u8,
        candidate: &Candidate,
    ) -> Result<(), Reason> {
        let table = self.table.clone();
        let endpoint = table.endpoint(candidate.endpoint).ok_or(Reason::EndpointDisabled)?;
        let (flow, further) = self.destinations(endpoint, now)?;
        let reserved = self.share.common.limits.reserve(&table, endpoint, candidate, now.instant);
        let lease = reserved.map_err(|full| full.reason)?;
        let invite = self.calls[key].invite.as_mut();
        invite.expect("a call that is being set up has its INVITE").addresses = further;
        self.send_invite(now, key, index, endpoint, flow, lease)
    }

    /// Sends the call's INVITE to one address of an endpoint.
    pub(crate) fn send_invite(
        &mut self,
        now: Now,
        key: CallKey,
        index: u8,
        endpoint: &Endpoint,
        flow: Flow,
        lease: Lease,
    ) -> Result<(), Reason> {
        let tag = self.mint();
        let branch = self.mint();
        let min_se_s = self.calls[key].invite.as_ref().map_or(0, |invite| invite.min_se_s);
        let session = Session::new(&endpoint.policy.session).lengthened(min_se_s);
        let targets = self.targets_of(endpoint, now);
        let egress_call_id = self.write_invite(key, endpoint, session, flow, tag, branch)?;
        if !endpoint.policy.size.takes(self.scratch.len()) {
            return Err(Reason::MessageTooLarge);
        }
        let octets = Octets::from(self.scratch.as_slice());

        let call = &mut self.calls[key];
        let position = call.cdr.attempts.len() as u16 + 1;
        let redirected = call.invite.as_ref().and_then(|invite| invite.redirected.as_ref());
        let called = redirected.map(|redirected| redirected.called.clone());
        call.cdr.attempts.push(AttemptRecord {
            candidate: index,
            attempted_at: now.utc,
            ended_at: None,
            status: None,
            reason: None,
            cause: Cause::default(),
            called,
            egress_call_id: egress_call_id.into(),
        });
        call.egress = Some(Leg {
            endpoint: endpoint.endpoint_id,
            member: endpoint.member_id,
            flow,
            targets,
            tag,
            dialog: None,
            session,
            session_due: now.instant,
            heard_at: now.utc,
            lease: Some(lease),
        });
        self.add_egress_leg(key);
        self.trace_attempt(key);
        let request = Outgoing { branch, flow, octets };
        let client = self.open_client(now, Some(endpoint), Method::Invite, request, User::Call(key));
        self.calls[key].invite.as_mut().expect("it is there").client = Some(client);
        self.wire.metrics.attempts.inc();
        let timer = Wake::Call(key, CallTimer::Attempt(position));
        let attempt_until = now.instant + self.settings.attempt_timeout;
        let (ringing, _) = self.ringing(endpoint.endpoint_id);
        let ring_until = now.instant + ringing;
        let call_until = ring_until.min(self.setup_end(key)).min(now.instant + PROGRESS_EVERY);
        let call = &mut self.calls[key];
        call.until = ring_until;
        self.wire.timers.replace(&mut call.timers.step, attempt_until, timer);
        let timer = Wake::Call(key, CallTimer::Ring(position));
        self.wire.timers.replace(&mut call.timers.patience, call_until, timer);
        Ok(())
    }

    /// Writes the call's INVITE to an endpoint, as it goes by `flow`, and gives its Call-ID.
    fn write_invite(
        &mut self,
        key: CallKey,
        endpoint: &Endpoint,
        session: Session,
        flow: Flow,
        tag: u64,
        branch: u64,
    ) -> Result<String, Reason> {
        let local = &self.locals[usize::from(flow.listener)];
        let call = &self.calls[key];
        let invite = call.invite.as_ref().expect("a call that is being set up has its INVITE");
        let request = Message::parse(&invite.request).expect("it was read before");
        let from = request.from().expect("it was judged");
        let hops = request.max_forwards().ok().flatten().unwrap_or(DEFAULT_MAX_FORWARDS).saturating_sub(1);
        let called = call.target();
        let sender = policy_of(&self.table, call.ingress.endpoint);
        let own_host = local.host_to(&endpoint.policy);
        let diversions = invite.redirected.as_ref().map_or(&[][..], |redirected| &redirected.diversions);
        let passage = Passage::new(own_host, sender, &endpoint.policy)
            .with_timer(session.is_offered)
            .with_redirections(diversions);
        let (uri, to_value) = addresses_of(endpoint, flow, called, call.target_dip());
        let egress_call_id = format!("{}@{}", format_tag(tag), local.host);
        let via = format!(
            "SIP/2.0/{} {};rport;branch={}",
            flow.transport.as_via(),
            local.host,
            format_branch(branch)
        );
        let mut from_value = write_caller(&request, &from, &passage);
        from_value.extend_from_slice(b";tag=");
        from_value.extend_from_slice(format_tag(tag).as_bytes());
        let hops = hops.to_string();
        let cseq = format!("{FIRST_CSEQ} INVITE");
        let token = self.passes.token(called);
        let offer = session.offer(&endpoint.policy.session);
        let mut top: SmallVec<[(&str, &[u8]); 10]> = SmallVec::from_slice(&[
            ("Via", via.as_bytes()),
            ("Max-Forwards", hops.as_bytes()),
            ("From", &from_value),
            ("To", to_value.as_bytes()),
            ("Call-ID", egress_call_id.as_bytes()),
            ("CSeq", cseq.as_bytes()),
            ("Contact", local.contact_to(&endpoint.policy).as_bytes()),
            (TOKEN, token.as_bytes()),
        ]);
        top.extend(offer.fields());
        let start = StartLine::Request(RequestLine { method: Method::Invite, uri: uri.as_bytes() });
        cross(&mut self.scratch, &request, start, &top, &passage);
        drop(top);
        if self.scratch.len() - request.body().len() > MAX_HEAD {
            return Err(Reason::MessageTooLarge);
        }
        Ok(egress_call_id)
    }

    /// A candidate takes no session interval as short as the hub's (422): it is tried once more, with one as long as
    /// it wants (RFC 4028 §7.3). False when that has been done already, or would be of no use.
    pub(crate) fn try_longer_session(&mut self, now: Now, key: CallKey, refusal: &Message<'_>) -> bool {
        let call = &self.calls[key];
        let Some(asked_s) = call.egress.as_ref().map(|leg| leg.session.interval_s) else { return false };
        let min_se_s = min_se(refusal);
        let (Some(last), before) = (call.cdr.attempts.last(), call.cdr.attempts.iter().rev().nth(1)) else {
            return false;
        };
        let index = last.candidate;
        if before.is_some_and(|before| before.candidate == index)
            || !(asked_s + 1..=LONGEST_S).contains(&min_se_s)
        {
            return false;
        }
        let Some(candidate) = call.cdr.candidate(index).copied() else { return false };
        if let Some(invite) = self.calls[key].invite.as_mut() {
            (invite.client, invite.min_se_s) = (None, min_se_s);
        }
        self.note_failure(key, refusal);
        self.end_attempt(now, key, Some(422), None);
        if let Err(reason) = self.try_candidate(now, key, index, &candidate) {
            self.leave_out(key, &candidate, reason);
            self.try_next(now, key, Some(422), reason);
        }
        true
    }

    /// When a call must be set up, whatever its candidates do.
    pub(crate) fn setup_end(&self, key: CallKey) -> Instant {
        self.calls[key].started + self.settings.setup_timeout
    }

    /// Nothing came from the candidate of attempt `position`: the next one is tried.
    pub(crate) fn attempt_silent(&mut self, now: Now, key: CallKey, position: u16) {
        let call = &self.calls[key];
        let client = call.invite.as_ref().and_then(|invite| invite.client);
        let is_silent = self.is_pending_attempt(key, position)
            && client.is_some_and(|client| self.transactions.has_had_no_response(client));
        if is_silent {
            let flow = client.and_then(|client| self.transactions.flow(client));
            if let Some(flow) = flow.filter(|flow| flow.transport == Transport::Tcp) {
                // Something took the connection, and does not read from it.
                self.udp_only.add(now.instant, flow.remote);
            }
            self.hear_failed(now, key, HealthSign::CallUnanswered);
            self.abandon_attempt(now, key, None);
            self.attempt_ended(now, key, None, Some(Reason::EndpointUnreachable));
        }
    }

    /// The candidate of attempt `position` rang for too long: the call ends, nobody took it.
    pub(crate) fn attempt_rang_too_long(&mut self, now: Now, key: CallKey, position: u16) {
        if self.is_pending_attempt(key, position) {
            let mut until = self.calls[key].until.min(self.setup_end(key));
            if now.instant < until {
                if self.progress_due(key).is_some_and(|due| now.instant >= due) {
                    self.send_progress_again(now, key);
                }
                until = self.progress_due(key).map_or(until, |due| due.min(until));
                // Provisional responses keep Timer C running (RFC 3261 §16.7 item 2).
                let timer = Wake::Call(key, CallTimer::Ring(position));
                self.wire.timers.replace(&mut self.calls[key].timers.patience, until, timer);
                return;
            }
            self.abandon_attempt(now, key, Some(reason_value(Reason::RingTimeout).as_bytes()));
            self.end_attempt(now, key, None, Some(Reason::RingTimeout));
            self.refuse_with(
                now,
                key,
                Reason::RingTimeout.status(),
                Some(Reason::RingTimeout),
                Outcome::NoAnswer,
            );
        }
    }

    fn is_pending_attempt(&self, key: CallKey, position: u16) -> bool {
        let call = &self.calls[key];
        !call.is_up() && call.cdr.attempts.len() == usize::from(position)
    }

    /// Gives up the INVITE that is under way: it is cancelled, or hung up should it be answered all the same.
    pub(crate) fn abandon_attempt(&mut self, now: Now, key: CallKey, why: Option<&[u8]>) {
        let Some(client) = self.calls[key].invite.as_mut().and_then(|invite| invite.client.take()) else {
            return;
        };
        let held = self.calls[key].early.iter_mut().find_map(|early| early.reliable.as_mut()?.take_held());
        let Some(held) = held else { return self.abandon(now, client, why) };
        // It is answered already, though the caller was not told: what crosses it is too late to cancel it.
        self.transactions.set_user(client, User::Abandoned { cancelled: true });
        self.hang_up_fork(now, client, &Message::parse(&held).expect("it was read before"));
    }

    /// Gives an INVITE transaction up. `why` is the Reason of its CANCEL, when that can be sent at once.
    pub(crate) fn abandon(&mut self, now: Now, client: TransactionKey, why: Option<&[u8]>) {
        self.transactions.set_user(client, User::Abandoned { cancelled: false });
        // Before any response a CANCEL may overtake its INVITE: it waits for one (RFC 3261 §9.1).
        if !self.transactions.has_had_no_response(client) {
            self.cancel_abandoned(now, client, why);
        }
    }

    /// Sends the CANCEL of an INVITE that was given up, and gives its transaction a last term.
    pub(crate) fn cancel_abandoned(&mut self, now: Now, client: TransactionKey, why: Option<&[u8]>) {
        self.transactions.set_user(client, User::Abandoned { cancelled: true });
        self.cancel_client(now, client, why);
        self.wire.timers.set(now.instant + 64 * T1, Wake::Abandoned(client));
    }

    /// Sends the CANCEL of an INVITE that has had a provisional response.
    pub(crate) fn cancel_client(&mut self, now: Now, client: TransactionKey, why: Option<&[u8]>) {
        let (Some(octets), Some(flow)) =
            (self.transactions.octets(client).cloned(), self.transactions.flow(client))
        else {
            return;
        };
        let invite = Message::parse(&octets).expect("the hub wrote it");
        let Some(branch) = self.transactions.branch(client) else { return };
        let octets = cancel(&invite, why);
        self.transactions.open_client(
            &mut self.wire,
            now.instant,
            Method::Cancel,
            Outgoing { branch, flow, octets },
            User::Nobody,
        );
    }

    /// Closes the record of the attempt under way and lets its leg go.
    pub(crate) fn end_attempt(
        &mut self,
        now: Now,
        key: CallKey,
        status: Option<u16>,
        reason: Option<Reason>,
    ) {
        let call = &mut self.calls[key];
        if let Some(attempt) = call.cdr.attempts.last_mut() {
            attempt.ended_at = Some(now.utc);
            attempt.status = status;
            attempt.reason = reason;
        }
        let exchanges = std::mem::take(&mut call.exchanges);
        if let Some(leg) = call.egress.take() {
            self.drop_leg(leg);
        }
        for exchange in exchanges {
            self.transactions.set_user(exchange.client, User::Nobody);
            self.answer_pending(now, exchange.server, &exchange.request, 481);
        }
        self.drop_early(now, key);
    }

    /// An attempt ended without an answer, for a cause that means "this egress cannot": the next is tried.
    pub(crate) fn attempt_ended(
        &mut self,
        now: Now,
        key: CallKey,
        status: Option<u16>,
        reason: Option<Reason>,
    ) {
        if let Some(invite) = self.calls[key].invite.as_mut() {
            invite.client = None;
            if status.is_none() {
                invite.failure = None;
            }
        }
        let places = self.places_for_next_server(key, status, reason);
        self.end_attempt(now, key, status, reason);
        if places.is_some_and(|(transport, lease)| self.try_next_server(now, key, transport, lease)) {
            return;
        }
        self.try_next(now, key, status, reason.unwrap_or(Reason::EndpointUnreachable));
    }

    /// No candidate took the call.
    pub(crate) fn fail_call(&mut self, now: Now, key: CallKey, last_status: Option<u16>, reason: Reason) {
        let tried = !self.calls[key].cdr.attempts.is_empty();
        if !tried {
            self.wire.metrics.count_refusal(reason);
        }
        let status = match last_status {
            // 503 would say that the whole hub cannot (RFC 3261 §16.7 item 6); a challenge, a redirection or
            // the session timer is between the hub and that endpoint.
            Some(503 | 300..=399 | 401 | 407 | 422) => 502,
            Some(status) => status,
            None => reason.status(),
        };
        let outcome = match last_status {
            // By agreement its own no was not the last word, and nobody said yes.
            Some(status) if !is_egress_failure(status) => outcome_of(status),
            _ if tried => Outcome::Failed,
            _ => Outcome::Refused,
        };
        self.refuse_with(now, key, status, last_status.is_none().then_some(reason), outcome);
    }

    /// Refuses a call before any attempt.
    pub(crate) fn refuse_call(&mut self, now: Now, key: CallKey, reason: Reason) {
        self.wire.metrics.count_refusal(reason);
        self.refuse_with(now, key, reason.status(), Some(reason), Outcome::Refused);
    }

    /// Sends the final response of the hub's own making to a call that was not answered, and ends it.
    pub(crate) fn refuse_with(
        &mut self,
        now: Now,
        key: CallKey,
        status: u16,
        reason: Option<Reason>,
        outcome: Outcome,
    ) {
        let call = &mut self.calls[key];
        call.cdr.reason = reason;
        let failure =
            call.invite.as_mut().and_then(|invite| invite.failure.take()).filter(|_| reason.is_none());
        if let (Some(attempt), true) = (call.cdr.attempts.last(), failure.is_some()) {
            call.cdr.cause = attempt.cause;
        }
        self.respond_finally(now, key, status, outcome, |writer| {
            if let Some(reason) = reason {
                write_reason(writer, reason);
            }
            if let Some(failure) = &failure {
                writer.header_bytes("Reason", failure);
            }
        });
    }

    /// Sends the final response, with header fields of its own, to a call that was not answered, and ends it.
    pub(crate) fn respond_finally(
        &mut self,
        now: Now,
        key: CallKey,
        status: u16,
        outcome: Outcome,
        extra: impl FnOnce(&mut tandem_sip::Writer<'_>),
    ) {
        let call = &mut self.calls[key];
        call.cdr.status = Some(status);
        let tag = format_tag(call.ingress.tag);
        let invite = call.invite.as_ref().expect("a call that is not answered has its INVITE");
        let (octets, server) = (invite.request.clone(), invite.server);
        let request = Message::parse(&octets).expect("it was read before");
        if let Some(flow) = self.transactions.flow(server) {
            let endpoint = self.calls[key].ingress.endpoint;
            let status = policy_of(&self.table, endpoint).failures.status(status);
            self.note_progress(now, key);
            let octets = self.build_response(&request, flow, status, Some(tag.as_bytes()), extra);
            self.transactions.set_user(server, User::Nobody);
            self.transactions.respond(&mut self.wire, now.instant, server, status, octets);
        }
        self.finish(now, key, outcome);
    }

    /// Notes the time of the first response above 100.
    pub(crate) fn note_progress(&mut self, now: Now, key: CallKey) {
        let call = &mut self.calls[key];
        if call.cdr.setup_ms.is_none() {
            let setup = now.instant.saturating_duration_since(call.started);
            call.cdr.setup_ms = Some(setup.as_millis().min(u128::from(u32::MAX)) as u32);
            self.wire.metrics.setup_seconds.observe(setup.as_secs_f64());
        }
    }

    /// The caller gives the call up, by CANCEL or by BYE before the answer (RFC 3261 §9.2, §15.1.2).
    pub(crate) fn caller_gone(&mut self, now: Now, key: CallKey, request: &Message<'_>) {
        self.abandon_attempt(now, key, reasons_of(request).as_deref());
        self.calls[key].note_cause(cause_of(request));
        if self.calls[key].egress.is_some() {
            self.end_attempt(now, key, None, Some(Reason::CallerGone));
        }
        self.refuse_with(now, key, Reason::CallerGone.status(), Some(Reason::CallerGone), Outcome::Cancelled);
    }
}

/// The endpoint that calls, of those that send from the address of `endpoint`: the one whose mark the Request-URI bears.
/// Without a mark there is no other.
pub(crate) fn marked<'t>(
    table: &'t RouteTable,
    endpoint: &'t Endpoint,
    flow: Flow,
    request: &Message<'_>,
) -> Option<&'t Endpoint> {
    let Some(mark) = &endpoint.call_mark else { return Some(endpoint) };
    let uri = Uri::parse(request.request()?.uri).ok()?;
    let user = uri.user_number().unwrap_or_default();
    if mark.is_borne_by(user, uri.host) {
        return Some(endpoint);
    }
    table.endpoint_marked(flow.remote, |mark| mark.is_borne_by(user, uri.host))
}

/// The called number, without the endpoint's tech-prefix and by its number policy.
pub(crate) fn called_number(request: &Message<'_>, endpoint: &Endpoint) -> Result<E164, Reason> {
    let uri =
        request.request().and_then(|line| Uri::parse(line.uri).ok()).ok_or(Reason::SchemeUnsupported)?;
    if !matches!(uri.scheme, Scheme::Sip | Scheme::Tel) {
        return Err(Reason::SchemeUnsupported);
    }
    let user = uri.user_number().ok_or(Reason::NumberInvalid)?;
    let written = endpoint.call_mark.as_ref().map_or(user, |mark| mark.strip_from(user));
    let number = endpoint.policy.numbers.read(written).map_err(|_| Reason::NumberInvalid)?;
    if number.has_possible_length() { Ok(number) } else { Err(Reason::NumberImpossible) }
}

/// The called number, kept as digits, in the form of the endpoint that takes the call.
pub(crate) fn write_called(digits: &str, numbers: &NumberPolicy) -> String {
    match numbers.form {
        NumberForm::E164 => format!("+{digits}"),
        _ => numbers.write(digits.parse().expect("it was read as a number before")),
    }
}

/// Request-URI and To of a request for a number, kept as digits, that goes to an endpoint by `flow`. The Request-URI says
/// what the look-up of the number has found, where the endpoint is told that.
pub(crate) fn addresses_of(
    endpoint: &Endpoint,
    flow: Flow,
    digits: &str,
    dip: Option<Dip>,
) -> (String, String) {
    let number = write_called(digits, &endpoint.policy.numbers);
    let routed = number.clone() + &routing_number::write(dip, &endpoint.policy.numbers);
    let phone = if endpoint.policy.numbers.user_phone { ";user=phone" } else { "" };
    let (place, parameter) = place_of(&endpoint.target, flow);
    let registration = endpoint.access.registration.as_ref();
    let uri = match registration.filter(|_| endpoint.target.is_registration()) {
        Some(registration) => request_uri(&registration.contact, &routed, phone),
        None => format!("sip:{routed}@{place}{parameter}{phone}"),
    };
    (uri, format!("<sip:{number}@{place}{phone}>"))
}

/// The policy of an endpoint; one that is gone is as one about which nothing is set.
pub(crate) fn policy_of(table: &RouteTable, endpoint: EndpointId) -> &Policy {
    table.endpoint(endpoint).map_or(Policy::neutral(), |endpoint| &endpoint.policy)
}
