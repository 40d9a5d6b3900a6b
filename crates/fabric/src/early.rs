//! Early dialogs and what happens in them: RFC 3261 §12.1, RFC 3262.
//!
//! A candidate may be a proxy that forks: each of its branches answers with a To tag of its own. The hub shows
//! each to the originating member as an early dialog with its own tag, so that PRACK and UPDATE reach the
//! branch that they are meant for. A pair of dialogs, one on each leg, is named by that tag.
//!
//! Reliable provisional responses are carried from end to end where both sides have `100rel`. On the leg that
//! the INVITE came from, the hub is the one that sends them: it numbers them, sends them again until their
//! PRACK comes, and then carries the PRACK across.

use std::time::{Duration, Instant};

use rand::Rng;
use tandem_model::{EndedBy, Outcome, Reason};
use tandem_sip::transaction::timer::T1;
use tandem_sip::{Dialog, Message, Method, Name};

use crate::call::CallKey;
use crate::cause::reason_value;
use crate::crossing::{RELIABLE, lists};
use crate::invite::policy_of;
use crate::leg::{Side, format_tag};
use crate::outbox::Octets;
use crate::response::Back;
use crate::timer::{CallTimer, Wake};
use crate::transaction::TransactionKey;
use crate::worker::{Now, Worker};

/// Most early dialogs of one attempt: what a member forks beyond is not shown to the caller before it answers.
const MAX_EARLY: usize = 16;

/// Most reliable provisional responses of one early dialog that wait for their turn: the far side sends what
/// finds no room again.
const MAX_WAITING: usize = 4;

/// How often the originating member hears that it still rings (RFC 3261 §13.3.1.1).
pub(crate) const PROGRESS_EVERY: Duration = Duration::from_secs(60);

/// A pair of early dialogs.
#[derive(Debug)]
pub(crate) struct Early {
    /// The hub's tag on the ingress leg.
    pub(crate) tag: u64,
    /// The originating member's.
    pub(crate) ingress: Dialog,
    /// The terminating member's.
    pub(crate) egress: Dialog,
    /// Present from the first reliable provisional response on.
    pub(crate) reliable: Option<Box<Reliable>>,
}

/// The reliable provisional responses to one INVITE in one dialog.
#[derive(Debug)]
pub(crate) struct Reliable {
    /// The leg that the INVITE came from.
    from: Side,
    /// Number in its CSeq, there.
    server_cseq: u32,
    /// Number in its CSeq on the other leg.
    client_cseq: u32,
    /// RSeq of the last response that was taken from the other leg.
    received: u32,
    /// RSeq of the last response that was made of one.
    sent: u32,
    /// Not acknowledged yet: the first one is being sent, the others wait for it.
    waiting: Vec<Waiting>,
    /// The 2xx, where it came before an answer or offer in `waiting` was acknowledged (RFC 3262 §3).
    held: Option<Octets>,
}

#[derive(Debug)]
struct Waiting {
    received: u32,
    sent: u32,
    status: u16,
    octets: Octets,
    /// Whether it has a body, an offer or an answer: the 2xx may not overtake it.
    has_session: bool,
    sent_again: u32,
}

impl Reliable {
    /// Whether a 2xx to this INVITE has to wait for a PRACK.
    fn holds(&self, from: Side, server_cseq: u32) -> bool {
        (self.from, self.server_cseq) == (from, server_cseq)
            && self.waiting.iter().any(|waiting| waiting.has_session)
    }

    /// Whether a PRACK is still to come.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// RSeq of the response that was sent and is not acknowledged, with the number in the CSeq of its INVITE.
    pub(crate) fn outstanding(&self) -> Option<(u32, u32)> {
        self.waiting.first().map(|first| (first.sent, self.server_cseq))
    }

    /// Takes out the 2xx that waits.
    pub(crate) fn take_held(&mut self) -> Option<Octets> {
        self.held.take()
    }
}

/// A request's RAck as it must read on the other leg.
pub(crate) struct CarriedRack {
    pub(crate) rseq: u32,
    pub(crate) cseq: u32,
}

impl Worker {
    /// A provisional response above 100 goes back, in the dialog that it belongs to.
    pub(crate) fn carry_progress(
        &mut self,
        now: Now,
        key: CallKey,
        client: TransactionKey,
        response: &Message<'_>,
        status: u16,
    ) {
        self.note_progress(now, key);
        if let Some(invite) = self.calls[key].invite.as_mut() {
            invite.progress_at = now.instant;
        }
        let egress =
            self.calls[key].egress.as_ref().filter(|_| !self.calls[key].is_up()).map(|leg| leg.endpoint);
        if let Some((ringing, false)) = egress.map(|endpoint| self.ringing(endpoint)) {
            self.calls[key].until = now.instant + ringing;
        }
        let call = &mut self.calls[key];
        let has_room = call.early.len() < MAX_EARLY;
        let has_tag = response.to_tag().is_some_and(|tag| !tag.is_empty());
        let pair = match self.find_pair(key, response) {
            Some(pair) => pair,
            None if has_tag && !has_room => return,
            None if has_tag => self.open_pair(key, client, response).unwrap_or(self.calls[key].ingress.tag),
            None => self.calls[key].ingress.tag,
        };
        let number = reliable_number(response).filter(|_| {
            let invite = self.calls[key].invite.as_ref().expect("a provisional response is to an INVITE");
            offers_reliable(&Message::parse(&invite.request).expect("it was read before"))
        });
        match number {
            Some(number) => self.carry_reliable(now, key, pair, response, status, number),
            None if !response.body().is_empty()
                && !self.calls[key].is_up()
                && self.blocks_early_media(key) =>
            {
                self.ring_without_media(now, key, pair);
            }
            None => drop(self.carry_back(now, key, pair, response, status, None)),
        }
    }

    /// When the last provisional response is to be sent again, so that it is not missed by who waits for one each minute
    /// (RFC 3261 §13.3.1.1).
    pub(crate) fn progress_due(&self, key: CallKey) -> Option<Instant> {
        Some(self.calls[key].invite.as_ref()?.progress_at + PROGRESS_EVERY)
    }

    /// Sends the last provisional response to the originating member again. Not a reliable one: it is known to have
    /// arrived.
    pub(crate) fn send_progress_again(&mut self, now: Now, key: CallKey) {
        let Some(invite) = self.calls[key].invite.as_mut() else { return };
        invite.progress_at = now.instant;
        let server = invite.server;
        let (Some(octets), Some(flow)) =
            (self.transactions.octets(server).cloned(), self.transactions.flow(server))
        else {
            return;
        };
        let last = Message::parse(&octets).expect("the hub wrote it");
        if last.status().is_some_and(|status| (101..200).contains(&status))
            && last.header(Name::RSeq).is_none()
        {
            self.wire.outbox.push(flow, octets);
            self.wire.metrics.retransmissions_out.inc();
        }
    }

    /// A provisional response with a session description goes back as 180 without it.
    fn ring_without_media(&mut self, now: Now, key: CallKey, pair: u64) {
        let Some(invite) = self.calls[key].invite.as_ref() else { return };
        let (server, request) = (invite.server, invite.request.clone());
        let Some(flow) = self.transactions.flow(server) else { return };
        let request = Message::parse(&request).expect("it was read before");
        let caller = policy_of(&self.table, self.calls[key].ingress.endpoint);
        let contact = self.locals[usize::from(flow.listener)].contact_to(caller).to_owned();
        let tag = format_tag(pair);
        let octets = self.build_response(&request, flow, 180, Some(tag.as_bytes()), |writer| {
            // It makes an early dialog (RFC 3261 §12.1.1).
            writer.copy(&request, Name::RecordRoute);
            writer.header("Contact", contact);
        });
        self.transactions.respond(&mut self.wire, now.instant, server, 180, octets);
    }

    /// The pair of dialogs that a response to the INVITE under way belongs to.
    pub(crate) fn find_pair(&self, key: CallKey, response: &Message<'_>) -> Option<u64> {
        let call = &self.calls[key];
        if call.is_up() {
            return Some(call.ingress.tag);
        }
        let tag = response.to_tag().unwrap_or_default();
        call.early.iter().find(|early| *early.egress.remote_tag == *tag).map(|early| early.tag)
    }

    /// Begins a pair of dialogs by a response to the call's first INVITE. `None` when the response or the
    /// INVITE cannot make a dialog.
    pub(crate) fn open_pair(
        &mut self,
        key: CallKey,
        client: TransactionKey,
        response: &Message<'_>,
    ) -> Option<u64> {
        let fresh = self.mint();
        let call = &self.calls[key];
        let tag = if call.early.is_empty() { call.ingress.tag } else { fresh };
        let request = Message::parse(&call.invite.as_ref()?.request).expect("it was read before");
        let ingress = Dialog::from_request(&request, format_tag(tag).as_bytes()).ok()?;
        let sent = Message::parse(self.transactions.octets(client)?).expect("the hub wrote it");
        let egress = Dialog::from_response(&sent, response).ok()?;
        self.calls[key].early.push(Early { tag, ingress, egress, reliable: None });
        self.tags.insert(tag, (key, Side::Ingress));
        Some(tag)
    }

    /// Forgets the early dialogs of an attempt that is over. Those of the next attempt have other tags.
    pub(crate) fn drop_early(&mut self, now: Now, key: CallKey) {
        if self.calls[key].early.is_empty() {
            return;
        }
        let tag = self.mint();
        for early in std::mem::take(&mut self.calls[key].early) {
            self.tags.remove(&early.tag);
            self.expect_late_prack(now, key, early);
        }
        let used = std::mem::replace(&mut self.calls[key].ingress.tag, tag);
        self.tags.remove(&used);
        self.tags.insert(tag, (key, Side::Ingress));
    }

    /// A reliable provisional response goes back with a number of the hub's own (RFC 3262 §3). One that came
    /// before or that has overtaken another is not taken; the far side sends it again (§4).
    fn carry_reliable(
        &mut self,
        now: Now,
        key: CallKey,
        pair: u64,
        response: &Message<'_>,
        status: u16,
        received: u32,
    ) {
        let call = &mut self.calls[key];
        let invite = call.invite.as_ref().expect("a provisional response is to an INVITE");
        let (from, server, server_cseq) = (invite.from, invite.server, invite.server_cseq);
        let request = invite.request.clone();
        let slot = call.reliable_mut(pair);
        if slot.as_ref().is_some_and(|reliable| (reliable.from, reliable.server_cseq) != (from, server_cseq))
        {
            *slot = None; // It belongs to an INVITE that is over.
        }
        let sent = match slot {
            Some(reliable)
                if reliable.received.checked_add(1) != Some(received)
                    || reliable.waiting.len() >= MAX_WAITING =>
            {
                return;
            }
            Some(reliable) => reliable.sent.saturating_add(1),
            // From 1 to 2^31 − 1.
            None => (self.rng.next_u32() >> 1).max(1),
        };
        let back = Back { rseq: Some(sent), ..Back::default() };
        let octets = self.build_back((key, from), server, &request, pair, response, status, back);
        let Some(octets) = octets else { return };
        let client_cseq = response.cseq().map_or(1, |cseq| cseq.number);
        let reliable = self.calls[key].reliable_mut(pair).get_or_insert_with(|| {
            Box::new(Reliable {
                from,
                server_cseq,
                client_cseq,
                received,
                sent,
                waiting: Vec::new(),
                held: None,
            })
        });
        (reliable.received, reliable.sent) = (received, sent);
        self.refresh_targets(key, from, &request, response);
        let reliable = self.calls[key].reliable_mut(pair).as_mut().expect("it was just put there");
        let has_session = !response.body().is_empty();
        reliable.waiting.push(Waiting { received, sent, status, octets, has_session, sent_again: 0 });
        if reliable.waiting.len() == 1 {
            self.send_provisional(now, key, pair);
        }
    }

    /// A response that is sure to arrive moves the targets of both dialogs to where the re-INVITE and it say (RFC 6141 §4.6).
    fn refresh_targets(&mut self, key: CallKey, from: Side, request: &Octets, response: &Message<'_>) {
        let call = &mut self.calls[key];
        if !call.is_up() {
            return;
        }
        if let Some(dialog) = call.leg_mut(from.other()).and_then(|leg| leg.dialog.as_mut()) {
            dialog.update_target(response);
        }
        if let Some(dialog) = call.leg_mut(from).and_then(|leg| leg.dialog.as_mut()) {
            dialog.update_target(&Message::parse(request).expect("it was read before"));
        }
        self.record_up(key);
    }

    /// Sends the first of the reliable provisional responses that wait.
    fn send_provisional(&mut self, now: Now, key: CallKey, pair: u64) {
        let call = &mut self.calls[key];
        let Some(server) = call.invite.as_ref().filter(|it| it.success.is_none()).map(|it| it.server) else {
            return;
        };
        let reliable = call.reliable_mut(pair).as_ref();
        let Some(first) = reliable.and_then(|reliable| reliable.waiting.first()) else { return };
        let (sent, status, octets) = (first.sent, first.status, first.octets.clone());
        self.transactions.respond(&mut self.wire, now.instant, server, status, octets);
        self.wire.timers.set(now.instant + T1, Wake::Call(key, CallTimer::Provisional(sent)));
        self.wire.timers.set(now.instant + 64 * T1, Wake::Call(key, CallTimer::NoPrack(sent)));
    }

    /// Sends a reliable provisional response again (RFC 3262 §3).
    pub(crate) fn send_provisional_again(&mut self, now: Now, key: CallKey, number: u32) {
        let call = &mut self.calls[key];
        let Some(server) = call.invite.as_ref().filter(|it| it.success.is_none()).map(|it| it.server) else {
            return;
        };
        let early = call.early.iter_mut().filter_map(|early| early.reliable.as_mut());
        let first = early
            .chain(call.reliable.as_mut())
            .filter_map(|reliable| reliable.waiting.first_mut())
            .find(|first| first.sent == number);
        let Some(first) = first else { return };
        first.sent_again += 1;
        let wait = T1 * (1 << first.sent_again.min(8));
        let octets = first.octets.clone();
        if let Some(flow) = self.transactions.flow(server) {
            self.wire.outbox.push(flow, octets);
            self.wire.metrics.retransmissions_out.inc();
        }
        self.wire.timers.set(now.instant + wait, Wake::Call(key, CallTimer::Provisional(number)));
    }

    /// A reliable provisional response was never acknowledged: its INVITE is refused (RFC 3262 §3). A member
    /// that falls silent in a call that is up has lost the call.
    pub(crate) fn no_prack(&mut self, now: Now, key: CallKey, number: u32) {
        let call = &self.calls[key];
        if call.invite.as_ref().is_none_or(|invite| invite.success.is_some()) {
            return;
        }
        let mut all = call.early.iter().filter_map(|early| early.reliable.as_ref()).chain(&call.reliable);
        if !all.any(|reliable| reliable.waiting.first().is_some_and(|first| first.sent == number)) {
            return;
        }
        if call.is_up() {
            return self.hang_up(now, key, EndedBy::Hub, Some(Reason::NoPrack));
        }
        self.abandon_attempt(now, key, Some(reason_value(Reason::NoPrack).as_bytes()));
        self.end_attempt(now, key, None, Some(Reason::NoPrack));
        self.refuse_with(now, key, Reason::NoPrack.status(), Some(Reason::NoPrack), Outcome::Failed);
    }

    /// Whether this 2xx has to wait for a PRACK; if so it is kept.
    pub(crate) fn hold_success(&mut self, key: CallKey, pair: u64, response: &Message<'_>) -> bool {
        let call = &mut self.calls[key];
        let Some((from, cseq)) = call.invite.as_ref().map(|invite| (invite.from, invite.server_cseq)) else {
            return false;
        };
        match call.reliable_mut(pair) {
            Some(reliable) if reliable.holds(from, cseq) => {
                reliable.held = Some(Octets::from(response.octets()));
                true
            }
            _ => false,
        }
    }

    /// Takes a PRACK: its RAck as the other leg knows it, when it acknowledges what is being sent.
    pub(crate) fn take_prack(
        &mut self,
        key: CallKey,
        side: Side,
        pair: u64,
        request: &Message<'_>,
    ) -> Option<CarriedRack> {
        let (number, cseq) = rack(request)?;
        let reliable = self.calls[key].reliable_mut(pair).as_mut()?;
        let is_first = reliable.waiting.first().is_some_and(|first| first.sent == number);
        if !is_first || (reliable.from, reliable.server_cseq) != (side, cseq) {
            return None;
        }
        let first = reliable.waiting.remove(0);
        Some(CarriedRack { rseq: first.received, cseq: reliable.client_cseq })
    }

    /// After a PRACK: what waited for it is sent.
    pub(crate) fn after_prack(&mut self, now: Now, key: CallKey, pair: u64) {
        self.send_provisional(now, key, pair);
        let Some(call) = self.calls.get_mut(key) else { return };
        let Some(invite) = call.invite.as_ref().filter(|invite| invite.success.is_none()) else { return };
        let (Some(client), from, cseq) = (invite.client, invite.from, invite.server_cseq) else { return };
        let Some(reliable) = call.reliable_mut(pair).as_mut() else { return };
        if reliable.holds(from, cseq) {
            return;
        }
        if let Some(held) = reliable.take_held() {
            let response = Message::parse(&held).expect("it was read before");
            self.carry_success(now, key, client, &response, response.status().unwrap_or(200));
        }
    }
}

/// RSeq of a provisional response that is to be acknowledged.
fn reliable_number(response: &Message<'_>) -> Option<u32> {
    let number = number(response.header(Name::RSeq)?)?;
    response.all(Name::Require).any(|tags| lists(tags, RELIABLE)).then_some(number)
}

/// Whether the sender of an INVITE takes reliable provisional responses.
fn offers_reliable(invite: &Message<'_>) -> bool {
    invite.all(Name::Supported).chain(invite.all(Name::Require)).any(|tags| lists(tags, RELIABLE))
}

/// RSeq and CSeq number that a PRACK names; none for another method than INVITE.
pub(crate) fn rack(request: &Message<'_>) -> Option<(u32, u32)> {
    let mut parts =
        request.header(Name::RAck)?.split(u8::is_ascii_whitespace).filter(|part| !part.is_empty());
    let (rseq, cseq) = (number(parts.next()?)?, number(parts.next()?)?);
    (Method::from_bytes(parts.next()?) == Method::Invite).then_some((rseq, cseq))
}

fn number(text: &[u8]) -> Option<u32> {
    if !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}
