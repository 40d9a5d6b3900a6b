//! MESSAGE outside a dialog (RFC 3428), where the policies of both endpoints let it pass: routed as a call to its number
//! would be, one transaction on each side, its body as it came. It leaves no CDR; it is counted.

use tandem_model::{E164, Endpoint, EndpointId, PassOrRefuse, Reason, SessionTimer, Transport};
use tandem_routing::{CallRequest, Candidate, Dip, RouteTable, select};
use tandem_sip::{MAX_HEAD, Message, Method, RequestLine, StartLine};

use rand::Rng;

use crate::crossing::{Passage, cross, unsupported, write_caller};
use crate::dialog_request::{OVERDUE, SLOW};
use crate::invite::{DEFAULT_MAX_FORWARDS, addresses_of, called_number, marked, policy_of};
use crate::leg::format_tag;
use crate::limit::{Full, Lease};
use crate::outbox::{Flow, Octets};
use crate::passes::TOKEN;
use crate::response::Back;
use crate::timer::Wake;
use crate::transaction::{Fingerprint, Outgoing, TransactionKey, User, format_branch};
use crate::worker::{Arrival, Now, Worker};

/// Most octets of a MESSAGE that goes by UDP (RFC 3428 §8).
const MAX_DATAGRAM: usize = 1_300;

/// Standing from which on an endpoint is down: others are tried before it.
const DOWN: u32 = 100;

slotmap::new_key_type! {
    /// Names a MESSAGE on its way across the hub.
    pub(crate) struct PageKey;
}

/// A MESSAGE on its way across the hub.
#[derive(Debug)]
pub(crate) struct Page {
    /// As it came; its response is built from it.
    request: Octets,
    /// Its transaction.
    server: TransactionKey,
    /// The hub's tag in the response.
    tag: u64,
    sender: EndpointId,
    receiver: EndpointId,
    /// Its places among the calls of both sides: while it is under way it counts as one.
    _leases: [Lease; 2],
}

/// How a MESSAGE ended that was carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PageOutcome {
    /// 2xx.
    Delivered,
    /// Another final response.
    Refused,
    Unanswered,
}

impl PageOutcome {
    pub(crate) const ALL: [Self; 3] = [Self::Delivered, Self::Refused, Self::Unanswered];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Refused => "refused",
            Self::Unanswered => "unanswered",
        }
    }
}

impl Worker {
    /// Takes a MESSAGE that belongs to no dialog.
    pub(crate) fn receive_message(
        &mut self,
        now: Now,
        arrival: Arrival,
        request: &Message<'_>,
        fingerprint: Fingerprint,
    ) {
        let flow = arrival.reply;
        let table = self.table.clone();
        let sender = self.endpoint_of(&table, arrival.flow(), now);
        let sender =
            sender.and_then(|sender| marked(&table, sender, flow, request)).filter(|sender| passes(sender));
        let Some(sender) = sender else {
            return self.refuse_request(now, flow, request, fingerprint, Reason::MethodNotAllowed);
        };
        let admitted = self.share.common.limits.admit(&table, sender, now.instant);
        if let Err(Full { reason, is_recorded: false }) = admitted {
            return self.refuse_statelessly(flow, request, fingerprint, reason);
        }
        let server = self.transactions.open_server(fingerprint, false, flow, User::Nobody);
        let carried = admitted
            .map_err(|full| full.reason)
            .and_then(|lease| self.carry_message(now, &table, sender, flow, request, server, lease));
        if let Err(reason) = carried {
            self.refuse_in(now, server, flow, request, reason);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "they are what the request is")]
    fn carry_message(
        &mut self,
        now: Now,
        table: &RouteTable,
        sender: &Endpoint,
        flow: Flow,
        request: &Message<'_>,
        server: TransactionKey,
        lease: Lease,
    ) -> Result<(), Reason> {
        let called = self.judge_message(request, sender)?;
        let question = CallRequest {
            originating_member: sender.member_id,
            called,
            dip: self.read_dip(request, sender).or_else(|| self.recall_dip(now, called)),
            site: Some(&self.locals[usize::from(flow.listener)].site),
            draw: self.rng.next_u64(),
        };
        let mut selection = select(table, &question, now.utc);
        let mut reason = selection.refusal().unwrap_or(Reason::MethodNotAllowed);
        let standings = &self.share.common.standings;
        selection.candidates.sort_by_key(|candidate| standings.badness(candidate.endpoint) >= DOWN);
        for candidate in &selection.candidates {
            match self.send_message(now, table, sender, candidate, request, (called, selection.dip)) {
                Ok((outgoing, further)) => {
                    let page = Page {
                        request: Octets::from(request.octets()),
                        server,
                        tag: self.mint(),
                        sender: sender.endpoint_id,
                        receiver: candidate.endpoint,
                        _leases: [lease, further],
                    };
                    let key = self.pages.insert(page);
                    let user = User::Page(key);
                    self.transactions.open_client(
                        &mut self.wire,
                        now.instant,
                        Method::Message,
                        outgoing,
                        user,
                    );
                    self.wire.timers.set(now.instant + SLOW, Wake::PageSlow(key));
                    self.wire.timers.set(now.instant + OVERDUE, Wake::PageOverdue(key));
                    return Ok(());
                }
                Err(why) => reason = why,
            }
        }
        Err(reason)
    }

    /// What is asked of a MESSAGE before it is routed; its number.
    fn judge_message(&self, request: &Message<'_>, sender: &Endpoint) -> Result<E164, Reason> {
        if self.draining {
            return Err(Reason::Draining);
        }
        if self.table.is_unloaded() {
            return Err(Reason::NotReady);
        }
        if request.max_forwards() == Ok(Some(0)) {
            return Err(Reason::TooManyHops);
        }
        if unsupported(request).is_some() {
            return Err(Reason::ExtensionUnsupported);
        }
        let called = called_number(request, sender)?;
        if self.is_own_call_back(request, &called.digits()) {
            return Err(Reason::LoopDetected);
        }
        Ok(called)
    }

    /// Writes the MESSAGE to a candidate, and takes its place there.
    fn send_message(
        &mut self,
        now: Now,
        table: &RouteTable,
        sender: &Endpoint,
        candidate: &Candidate,
        request: &Message<'_>,
        (called, dip): (E164, Option<Dip>),
    ) -> Result<(Outgoing, Lease), Reason> {
        let endpoint = table.endpoint(candidate.endpoint).ok_or(Reason::EndpointDisabled)?;
        if !passes(endpoint) {
            return Err(Reason::MethodNotAllowed);
        }
        let (flow, _) = self.destinations(endpoint, now)?;
        let reserved = self.share.common.limits.reserve(table, endpoint, candidate, now.instant);
        let lease = reserved.map_err(|full| full.reason)?;
        let (tag, branch) = (self.mint(), self.mint());
        let local = &self.locals[usize::from(flow.listener)];
        let passage = Passage::new(local.host_to(&endpoint.policy), &sender.policy, &endpoint.policy)
            .with_timer(endpoint.policy.session.timer != SessionTimer::Off);
        let digits = called.digits();
        let (uri, to) = addresses_of(endpoint, flow, &digits, dip);
        let hops = request.max_forwards().ok().flatten().unwrap_or(DEFAULT_MAX_FORWARDS).saturating_sub(1);
        let hops = hops.to_string();
        let via = format!(
            "SIP/2.0/{} {};rport;branch={}",
            flow.transport.as_via(),
            local.host,
            format_branch(branch)
        );
        let mut from = write_caller(request, &request.from().map_err(|_| Reason::Malformed)?, &passage);
        from.extend_from_slice(b";tag=");
        from.extend_from_slice(format_tag(tag).as_bytes());
        let call_id = format!("{}@{}", format_tag(tag), local.host);
        let token = self.passes.token(&digits);
        // No Contact: a MESSAGE makes no dialog (RFC 3428 §4).
        let top: [(&str, &[u8]); 7] = [
            ("Via", via.as_bytes()),
            ("Max-Forwards", hops.as_bytes()),
            ("From", &from),
            ("To", to.as_bytes()),
            ("Call-ID", call_id.as_bytes()),
            ("CSeq", b"1 MESSAGE"),
            (TOKEN, token.as_bytes()),
        ];
        let start = StartLine::Request(RequestLine { method: Method::Message, uri: uri.as_bytes() });
        cross(&mut self.scratch, request, start, &top, &passage);
        let size = self.scratch.len();
        if size - request.body().len() > MAX_HEAD
            || (flow.transport == Transport::Udp && size > MAX_DATAGRAM)
            || endpoint.policy.size.max_bytes.is_some_and(|most| size > most as usize)
        {
            return Err(Reason::MessageTooLarge);
        }
        Ok((Outgoing { branch, flow, octets: Octets::from(self.scratch.as_slice()) }, lease))
    }

    /// The response to a MESSAGE that was carried.
    pub(crate) fn page_response(&mut self, now: Now, key: PageKey, response: &Message<'_>, status: u16) {
        if status < 200 {
            return; // RFC 4320 §4.1.
        }
        let Some(page) = self.pages.remove(key) else { return };
        let outcome = if status < 300 { PageOutcome::Delivered } else { PageOutcome::Refused };
        self.wire.metrics.count_page(outcome);
        let table = self.table.clone();
        let policies = (policy_of(&table, page.receiver), policy_of(&table, page.sender));
        let told = match status {
            // What is between the hub and that endpoint, and what would say that the whole hub cannot.
            300..=399 | 401 | 407 | 503 => 502,
            // RFC 4320 §4.2.
            408 => 504,
            status => policies.1.failures.status(status),
        };
        let octets = self.write_back(
            page.server,
            &page.request,
            page.tag,
            response,
            told,
            Back::OF_NO_DIALOG,
            policies,
        );
        if let Some(octets) = octets {
            self.transactions.respond(&mut self.wire, now.instant, page.server, told, octets);
        }
    }

    /// A MESSAGE has waited so long that its sender would repeat it only every T2 (RFC 4320 §4.1).
    pub(crate) fn page_slow(&mut self, now: Now, key: PageKey) {
        let Some(page) = self.pages.get(key) else { return };
        let (server, request) = (page.server, page.request.clone());
        if let Some(flow) = self.transactions.flow(server) {
            let request = Message::parse(&request).expect("it was read before");
            let octets = self.build_response(&request, flow, 100, None, |_| {});
            self.transactions.respond(&mut self.wire, now.instant, server, 100, octets);
        }
    }

    /// Nothing came back, or its sender is about to give it up.
    pub(crate) fn page_unanswered(&mut self, now: Now, key: PageKey) {
        let Some(page) = self.pages.remove(key) else { return };
        self.wire.metrics.count_page(PageOutcome::Unanswered);
        // Not 408: RFC 4320 §4.2.
        self.answer_pending(now, page.server, &page.request, 504);
    }
}

fn passes(endpoint: &Endpoint) -> bool {
    endpoint.policy.requests.message == PassOrRefuse::Pass
}
