//! Session timers of a call's two legs (RFC 4028), each on its own: the hub is a party on either leg, so that a call
//! whose ends have vanished ends.
//!
//! A member that knows the extension refreshes its leg itself: that keeps the hub's part a deadline. Where a member
//! does not, or wants the hub to refresh, the hub asks half-way through the interval whether the dialog is still known
//! there: by an UPDATE that changes nothing, where Allow has it (RFC 3311), and otherwise by OPTIONS. It sends no
//! re-INVITE of its own: that needs a session description, and the hub keeps none.
//!
//! What crosses the hub counts on both legs: a re-INVITE or UPDATE of one member refreshes the other leg, too.

use std::time::{Duration, Instant};

use rand::RngExt;
use serde::{Deserialize, Serialize};
use tandem_model::{EarlyMedia, EndedBy, EndpointId, Outcome, Reason, SessionPolicy, SessionTimer};
use tandem_sip::session_timer::{
    LONGEST_S, Refresher, SHORTEST_S, SessionExpires, Terms, TooBrief, Wish, answer, conclude, min_se,
};
use tandem_sip::{Message, Method, Name, Writer};

use crate::call::CallKey;
use crate::crossing::{ALLOW, TIMER, lists};
use crate::invite::policy_of;
use crate::leg::Side;
use crate::outbox::Flow;
use crate::timer::{CallTimer, Wake};
use crate::transaction::{TransactionKey, User};
use crate::worker::{Now, Worker, write_reason};

/// How long before the end of the interval a leg that its member did not refresh is given up, at most (§10).
const LAST_WORDS: Duration = Duration::from_secs(32);

/// When a refresh is tried again that could not be sent, or that the member could not take at that moment.
const SOON: Duration = Duration::from_secs(5);

/// Who shows that the far end of a leg is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Duty {
    /// Nobody: neither side asked for it.
    Nobody,
    /// The member refreshes. A leg that it does not refresh is over.
    Member,
    /// The hub refreshes, as the two have agreed.
    Hub,
    /// Nothing was agreed on; the hub asks.
    Probe,
}

/// The session timer of a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Session {
    pub(crate) duty: Duty,
    /// Whether the member takes UPDATE.
    pub(crate) takes_update: bool,
    /// Whether the member is told that the hub has session timers.
    pub(crate) is_offered: bool,
    /// A session that is not refreshed for so long is over.
    pub(crate) interval_s: u32,
    /// The shortest interval that the hub asks for: its own, or what the member has named in a 422.
    pub(crate) min_se_s: u32,
}

impl Session {
    /// Nothing is agreed yet with an endpoint of this policy.
    pub(crate) fn new(policy: &SessionPolicy) -> Self {
        Self {
            duty: Duty::Nobody,
            takes_update: false,
            is_offered: policy.timer != SessionTimer::Off,
            interval_s: policy.session_expires_s,
            min_se_s: policy.min_se_s,
        }
    }

    /// The member takes no interval below its Min-SE (§7.3).
    pub(crate) fn lengthened(self, min_se_s: u32) -> Self {
        let min_se_s = min_se_s.clamp(self.min_se_s, LONGEST_S);
        Self { min_se_s, interval_s: self.interval_s.max(min_se_s), ..self }
    }

    /// A damaged journal may say less than any member may ask for (§4): then each refresh would be due at once.
    fn interval(self) -> Duration {
        Duration::from_secs(self.interval_s.max(SHORTEST_S).into())
    }

    /// How long after a refresh something is to be done: the next one, or the end.
    pub(crate) fn patience(self) -> Duration {
        match self.duty {
            Duty::Member => self.interval() - LAST_WORDS.min(self.interval() / 3),
            Duty::Hub | Duty::Probe | Duty::Nobody => self.interval() / 2,
        }
    }

    /// What a request of the hub's on this leg says of the timer: who refreshes stays who it is, and from the start it
    /// is the member.
    pub(crate) fn offer(self, policy: &SessionPolicy) -> Offer {
        let is_agreed = matches!(self.duty, Duty::Member | Duty::Hub);
        if !self.is_offered || !(is_agreed || policy.timer == SessionTimer::Ask) {
            return Offer::default();
        }
        let refresher = if self.duty == Duty::Hub { Refresher::Uac } else { Refresher::Uas };
        let expires = SessionExpires { interval_s: self.interval_s, refresher: Some(refresher) };
        // Min-SE has a default (§5), and may not be above the interval.
        let min_se_s = self.min_se_s.min(self.interval_s);
        Offer {
            expires: Some(expires.to_string()),
            min_se: (min_se_s > SHORTEST_S).then(|| min_se_s.to_string()),
        }
    }
}

/// What a request says of the session timer.
#[derive(Debug, Default)]
pub(crate) struct Offer {
    expires: Option<String>,
    min_se: Option<String>,
}

impl Offer {
    /// As header fields.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        let expires = self.expires.iter().map(|value| ("Session-Expires", value.as_bytes()));
        expires.chain(self.min_se.iter().map(|value| ("Min-SE", value.as_bytes())))
    }
}

/// Says that the hub has session timers, in a request of its own making to an endpoint that is told so: in each but ACK
/// (RFC 4028 §7.1).
pub(crate) fn write_timer(writer: &mut Writer<'_>, is_offered: bool) {
    if is_offered {
        writer.header_bytes("Supported", TIMER);
    }
}

/// Whether the sender of a message takes UPDATE, where it says.
fn takes_update(message: &Message<'_>) -> Option<bool> {
    message.header(Name::Allow)?;
    Some(message.all(Name::Allow).any(|methods| lists(methods, b"UPDATE")))
}

/// What the hub wishes of an endpoint's sessions; `None` where they have no timer.
fn wish(policy: &SessionPolicy, takes_update: bool) -> Option<Wish> {
    (policy.timer != SessionTimer::Off).then_some(Wish {
        expires_s: policy.session_expires_s,
        min_s: policy.min_se_s,
        can_refresh: takes_update,
        asks: policy.timer == SessionTimer::Ask,
    })
}

/// Whether a request asks for a session interval that an endpoint of this policy may have.
pub(crate) fn judge_session(policy: &SessionPolicy, request: &Message<'_>) -> Result<(), TooBrief> {
    wish(policy, true).map_or(Ok(()), |wish| answer(request, wish).map(drop))
}

impl Worker {
    /// The policy for the calls of an endpoint; the usual one for an endpoint that is gone.
    pub(crate) fn session_policy(&self, endpoint: EndpointId) -> SessionPolicy {
        policy_of(&self.table, endpoint).session
    }

    /// How long a candidate may ring, and whether that is from its INVITE on: otherwise each provisional response
    /// begins it anew (Timer C, RFC 3261 §16.7 item 2).
    pub(crate) fn ringing(&self, endpoint: EndpointId) -> (Duration, bool) {
        match self.session_policy(endpoint).ring_timeout_s {
            Some(seconds) => (Duration::from_secs(seconds.into()), true),
            None => (self.settings.ring_timeout, false),
        }
    }

    /// Whether media before the answer is kept from crossing between the legs of a call.
    pub(crate) fn blocks_early_media(&self, key: CallKey) -> bool {
        let call = &self.calls[key];
        let legs = [Some(&call.ingress), call.egress.as_ref()];
        legs.into_iter()
            .flatten()
            .any(|leg| self.session_policy(leg.endpoint).early_media == EarlyMedia::Block)
    }

    /// The member on a leg has shown that it is there.
    pub(crate) fn hear(&mut self, now: Now, key: CallKey, side: Side) {
        if let Some(leg) = self.calls.get_mut(key).and_then(|call| call.leg_mut(side)) {
            leg.heard_at = now.utc;
        }
    }

    /// Refuses a request that asks for too short a session interval (§9).
    pub(crate) fn refuse_brief_session(
        &mut self,
        now: Now,
        server: TransactionKey,
        flow: Flow,
        request: &Message<'_>,
        endpoint: EndpointId,
    ) {
        let reason = Reason::SessionTooBrief;
        let min_se_s = self.session_policy(endpoint).min_se_s;
        self.wire.metrics.count_refusal(reason);
        let octets = self.build_response(request, flow, reason.status(), None, |writer| {
            write_reason(writer, reason);
            writer.header("Min-SE", min_se_s);
        });
        self.transactions.respond(&mut self.wire, now.instant, server, reason.status(), octets);
    }

    /// Settles the session timer of a leg by the request that came on it and is about to get its 2xx; gives what that
    /// says of it (§9).
    pub(crate) fn answer_session(
        &mut self,
        now: Now,
        key: CallKey,
        side: Side,
        request: &Message<'_>,
    ) -> Option<Terms> {
        let leg = self.calls[key].leg(side)?;
        let policy = self.session_policy(leg.endpoint);
        let takes_update = takes_update(request).unwrap_or(leg.session.takes_update);
        let terms = wish(&policy, takes_update).and_then(|wish| answer(request, wish).ok().flatten());
        self.settle_session(now, key, side, takes_update, terms, Refresher::Uas);
        terms
    }

    /// Settles the session timer of a leg by the 2xx to a request of the hub's (§7.2).
    pub(crate) fn conclude_session(&mut self, now: Now, key: CallKey, side: Side, success: &Message<'_>) {
        let Some(leg) = self.calls[key].leg(side) else { return };
        let policy = self.session_policy(leg.endpoint);
        let takes_update = takes_update(success).unwrap_or(leg.session.takes_update);
        let terms = wish(&policy, takes_update).and_then(|wish| conclude(success, wish));
        self.settle_session(now, key, side, takes_update, terms, Refresher::Uac);
    }

    fn settle_session(
        &mut self,
        now: Now,
        key: CallKey,
        side: Side,
        takes_update: bool,
        terms: Option<Terms>,
        own_role: Refresher,
    ) {
        let Some(leg) = self.calls[key].leg(side) else { return };
        let policy = self.session_policy(leg.endpoint);
        let (duty, interval_s) = match terms {
            Some(terms) if terms.refresher == own_role => (Duty::Hub, terms.interval_s),
            Some(terms) => (Duty::Member, terms.interval_s),
            None if policy.timer == SessionTimer::Ask => (Duty::Probe, policy.session_expires_s),
            None => (Duty::Nobody, policy.session_expires_s),
        };
        if let Some(leg) = self.calls[key].leg_mut(side) {
            leg.session = Session { duty, takes_update, interval_s, ..leg.session };
            leg.heard_at = now.utc;
            leg.session_due = now.instant + leg.session.patience();
        }
    }

    /// A member takes no session interval as short as the hub asked for: what is asked next is as long as it wants.
    /// False when it does not say how long.
    pub(crate) fn lengthen_session(&mut self, key: CallKey, side: Side, refusal: &Message<'_>) -> bool {
        let Some(leg) = self.calls[key].leg_mut(side).filter(|_| refusal.header(Name::MinSe).is_some())
        else {
            return false;
        };
        leg.session = leg.session.lengthened(min_se(refusal));
        true
    }

    /// Sets the deadline of a call that is up: the first one of its legs', or the longest time that it may last.
    pub(crate) fn schedule_session(&mut self, key: CallKey) {
        let Some(call) = self.calls.get_mut(key) else { return };
        let is_over = call.is_over();
        let legs = [Some(&call.ingress), call.egress.as_ref()].into_iter().flatten();
        let watched = legs.filter(|leg| leg.session.duty != Duty::Nobody && !is_over);
        let at = watched.map(|leg| leg.session_due).fold(call.until, Instant::min);
        self.wire.timers.replace(&mut call.timers.session, at, Wake::Call(key, CallTimer::Session));
    }

    /// The deadline of a call that is up has come.
    pub(crate) fn session_due(&mut self, now: Now, key: CallKey) {
        let call = &self.calls[key];
        if call.is_over() {
            return self.finish(now, key, Outcome::Answered);
        }
        if now.instant >= call.until {
            return self.hang_up(now, key, EndedBy::Hub, None);
        }
        for side in [Side::Ingress, Side::Egress] {
            let Some(leg) = self.calls[key].leg(side) else { continue };
            match leg.session.duty {
                _ if leg.session_due > now.instant => {}
                Duty::Nobody => {}
                Duty::Member => return self.hang_up(now, key, EndedBy::Hub, Some(Reason::SessionExpired)),
                Duty::Hub | Duty::Probe => self.refresh(now, key, side),
            }
        }
        self.schedule_session(key);
    }

    /// Takes up the session timers of a call that was up before the node restarted.
    ///
    /// Refreshes after the last record are not known, so that a member gets its whole time again. The hub's own are
    /// early: the last one is at most half an interval ago, and the member waits for another third. They are spread,
    /// so that those of a node do not all come at once.
    pub(crate) fn resume_session(&mut self, now: Now, key: CallKey) {
        for side in [Side::Ingress, Side::Egress] {
            let share: f64 = self.rng.random_range(0.0..1.0);
            if let Some(leg) = self.calls[key].leg_mut(side) {
                let patience = leg.session.patience();
                leg.session_due = match leg.session.duty {
                    Duty::Hub => now.instant + patience.mul_f64(share / 3.0),
                    Duty::Probe => now.instant + patience.mul_f64(0.5 + share / 2.0),
                    Duty::Member | Duty::Nobody => now.instant + patience,
                };
            }
        }
        self.schedule_session(key);
    }

    /// Asks a member whether its leg is still there, and refreshes it by that.
    fn refresh(&mut self, now: Now, key: CallKey, side: Side) {
        let table = self.table.clone();
        let call = &mut self.calls[key];
        let has_invite = call.invite.is_some();
        let Some(leg) = call.leg_mut(side) else { return };
        let Some(dialog) = leg.dialog.as_mut() else { return };
        let method = if leg.session.takes_update { Method::Update } else { Method::Options };
        if has_invite && method == Method::Update {
            // It would be refused with 491 or 500, and what is under way may refresh the leg itself.
            leg.session_due = now.instant + SOON;
            return;
        }
        leg.session_due = now.instant + leg.session.patience();
        let number = dialog.next_cseq();
        let dialog = dialog.clone();
        let endpoint = table.endpoint(leg.endpoint);
        let flow = leg.next_hop(&dialog, endpoint);
        let policy = policy_of(&table, leg.endpoint);
        let (offer, is_offered) = (leg.session.offer(&policy.session), leg.session.is_offered);
        let contact = self.locals[usize::from(flow.listener)].contact_to(policy).to_owned();
        let request = self.build_in_dialog(&dialog, flow, method, number, None, |writer| {
            write_timer(writer, is_offered);
            if method == Method::Update {
                writer.header("Contact", contact).header("Allow", ALLOW);
                for (name, value) in offer.fields() {
                    writer.header_bytes(name, value);
                }
            }
        });
        self.wire.metrics.session_refreshes.inc();
        self.open_client(now, endpoint, method, request, User::Probe(key, side));
    }

    /// The answer of a member to whether its leg is still there (§7.4, §10).
    pub(crate) fn refresh_answered(
        &mut self,
        now: Now,
        key: CallKey,
        side: Side,
        method: Method<'_>,
        response: &Message<'_>,
        status: u16,
    ) {
        self.hear(now, key, side);
        let is_update = method == Method::Update;
        let Some(leg) = self.calls.get_mut(key).and_then(|call| call.leg_mut(side)) else { return };
        match status {
            481 => return self.probe_failed(now, key, Reason::NoDialog),
            408 => return self.probe_failed(now, key, Reason::SessionExpired),
            200..=299 if is_update => {
                let before = leg.session;
                let has_moved = leg.dialog.as_mut().is_some_and(|dialog| dialog.update_target(response));
                self.conclude_session(now, key, side, response);
                if has_moved || self.calls[key].leg(side).is_some_and(|leg| leg.session != before) {
                    self.record_up(key);
                }
            }
            422 if is_update && min_se(response) > leg.session.interval_s => {
                leg.session = leg.session.lengthened(min_se(response));
                leg.session_due = now.instant + SOON;
            }
            // Not now: the session that the member has agreed to runs out unless it is tried again.
            491 | 500 | 502..=599 if is_update && leg.session.duty == Duty::Hub => {
                leg.session_due = now.instant + SOON;
            }
            // It does not take UPDATE after all; that it answered says that it is there.
            300.. if is_update => {
                leg.session = Session { duty: Duty::Probe, takes_update: false, ..leg.session };
            }
            _ => {}
        }
        self.schedule_session(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `cargo xtask fuzz journal` found a call that was refreshed without end in the moment in which it was taken up.
    #[test]
    fn an_interval_that_no_member_may_ask_for_is_waited_for_as_the_shortest_one() {
        for duty in [Duty::Hub, Duty::Probe, Duty::Nobody, Duty::Member] {
            let session = Session { duty, interval_s: 0, ..Session::new(&SessionPolicy::default()) };
            assert!(session.patience() >= Duration::from_secs(u64::from(SHORTEST_S) / 2), "{duty:?}");
        }
    }
}
