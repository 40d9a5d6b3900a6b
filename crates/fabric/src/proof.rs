//! The hub proves who it is to a member's switch that asks (RFC 3261 §22.2): only over a leg or a registration of that
//! endpoint, only in the realm that was named for it, and once for each request.
//!
//! Whatever else asks, gets nothing: who could make the hub answer a challenge of its own making could use the answer
//! elsewhere. A request is never answered twice, so a switch that asks again and again, with a stale nonce or not,
//! has refused it.

use rand::Rng;
use tandem_model::{EndpointId, OutboundCredential};
use tandem_sip::{Message, Method, Name, Writer};

use crate::call::CallKey;
use crate::digest::Challenge;
use crate::leg::Side;
use crate::outbox::{Flow, Octets};
use crate::transaction::{Outgoing, TransactionKey, User, format_branch, parse_hex};
use crate::worker::{Now, Worker};

/// A request of the hub's own that is sent again with a proof.
struct Proven<'m> {
    request: Message<'m>,
    flow: Flow,
    cseq: u32,
    field: (&'static str, Vec<u8>),
}

impl Worker {
    /// Answers a 401 or 407 to `request`, which the transaction `client` carried; false where it is not answered.
    pub(crate) fn prove_again(
        &mut self,
        now: Now,
        client: TransactionKey,
        user: User,
        response: &Message<'_>,
        request: &Octets,
    ) -> bool {
        let Ok(request) = Message::parse(request) else { return false };
        let (Some(line), Some(flow), Ok(cseq)) =
            (request.request(), self.transactions.flow(client), request.cseq())
        else {
            return false;
        };
        let is_proven = request.header(Name::Authorization).is_some()
            || request.header(Name::ProxyAuthorization).is_some();
        // An ACK cannot be asked for one, and a CANCEL not sent again (RFC 3261 §22.1).
        if is_proven || matches!(line.method, Method::Ack | Method::Cancel) {
            return false;
        }
        let Some((endpoint, leg)) = self.asked_by(user, &request, flow, now) else { return false };
        let table = self.table.clone();
        let outbound = table.endpoint(endpoint).and_then(|endpoint| endpoint.access.outbound.as_ref());
        let Some(OutboundCredential { credential, .. }) = outbound else { return false };
        let Some(challenge) = Challenge::of(response, &credential.realm) else { return false };
        let cnonce = self.rng.next_u64();
        let method = line.method;
        let field =
            challenge.answer(&credential.username, &credential.ha1, method.as_bytes(), line.uri, cnonce);
        let cseq = leg.and_then(|leg| self.next_cseq(leg, &request)).unwrap_or(cseq.number + 1);
        let outgoing = self.build_proven(Proven { request, flow, cseq, field });
        self.wire.metrics.proofs.inc();
        self.transactions.set_user(client, User::Nobody);
        let again = self.open_client(now, table.endpoint(endpoint), method, outgoing, user);
        if let User::Call(key) = user {
            self.replace_client(key, client, again);
        }
        true
    }

    /// The endpoint that a request of the hub's went to, and the leg that it was of.
    fn asked_by(
        &self,
        user: User,
        request: &Message<'_>,
        flow: Flow,
        now: Now,
    ) -> Option<(EndpointId, Option<(CallKey, Side)>)> {
        match user {
            User::Registration(place) => return Some((self.outbound.endpoint(place)?, None)),
            User::Challenge(key) => return Some((self.challenges.endpoint(key)?, None)),
            _ => {}
        }
        let tag = request.from_tag().and_then(parse_hex)?;
        if let Some(&(key, side)) = self.tags.get(&tag) {
            let leg = self.calls.get(key)?.leg(side)?;
            return Some((leg.endpoint, Some((key, side))));
        }
        // The BYE of a call that is over.
        let there = crate::identity::endpoint_at(&self.table, flow.remote, flow.transport, now.utc)?;
        Some((there.endpoint_id, None))
    }

    /// The next number in the dialog of a request, where that has begun.
    fn next_cseq(&mut self, (key, side): (CallKey, Side), request: &Message<'_>) -> Option<u32> {
        let call = self.calls.get_mut(key)?;
        let to_tag = request.to_tag()?;
        if let Some(dialog) = call.leg_mut(side)?.dialog.as_mut() {
            return (*dialog.remote_tag == *to_tag).then(|| dialog.next_cseq());
        }
        let early = call.early.iter_mut().map(|early| match side {
            Side::Ingress => &mut early.ingress,
            Side::Egress => &mut early.egress,
        });
        early.into_iter().find(|dialog| *dialog.remote_tag == *to_tag).map(|dialog| dialog.next_cseq())
    }

    fn build_proven(&mut self, proven: Proven<'_>) -> Outgoing {
        let Proven { request, flow, cseq, field: (name, value) } = proven;
        let branch = self.mint();
        let local = &self.locals[usize::from(flow.listener)];
        let line = request.request().expect("it was just seen");
        let mut writer = Writer::request(&mut self.scratch, line.method, line.uri);
        writer.header(
            "Via",
            format_args!(
                "SIP/2.0/{} {};rport;branch={}",
                flow.transport.as_via(),
                local.host,
                format_branch(branch)
            ),
        );
        for header in request.headers() {
            match header.name {
                Name::Via | Name::ContentLength | Name::ContentType => {}
                Name::CSeq => {
                    writer.header("CSeq", format_args!("{cseq} {}", line.method));
                }
                _ => {
                    let raw_name = std::str::from_utf8(header.raw_name).expect("a name is a token");
                    writer.header_bytes(raw_name, header.value);
                }
            }
        }
        writer.header_bytes(name, &value);
        writer.finish(request.header(Name::ContentType), request.body());
        Outgoing { branch, flow, octets: Octets::from(self.scratch.as_slice()) }
    }

    /// What waited for one transaction waits for another.
    fn replace_client(&mut self, key: CallKey, client: TransactionKey, again: TransactionKey) {
        let Some(call) = self.calls.get_mut(key) else { return };
        if let Some(invite) = call.invite.as_mut().filter(|invite| invite.client == Some(client)) {
            invite.client = Some(again);
        }
        for exchange in call.exchanges.iter_mut().filter(|exchange| exchange.client == client) {
            exchange.client = again;
        }
    }
}
