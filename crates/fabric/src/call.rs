//! One call through the hub: two legs, what is pending between them, and the record of it.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tandem_model::E164;
use tandem_routing::{Candidate, Dip};
use tandem_sip::Dialog;

use crate::early::{Early, Reliable};
use crate::leg::{Leg, Side};
use crate::outbox::Octets;
use crate::record::{CallRecord, Record, TraceRecord, UpRecord};
use crate::redirect::Redirected;
use crate::refer::Refer;
use crate::timer::TimerHandle;
use crate::transaction::TransactionKey;
use crate::worker::Now;

slotmap::new_key_type! {
    /// Names a call of this worker; a key is never used again.
    pub(crate) struct CallKey;
}

/// A call, from its INVITE until it is over.
#[derive(Debug)]
pub(crate) struct Call {
    /// The record so far; the `selection` and `attempts` in it grow as the call goes on.
    pub(crate) cdr: CallRecord,
    /// When the INVITE came.
    pub(crate) started: Instant,
    /// When the answer was sent, by the clock that does not step; `None` for a call that was up before the
    /// node restarted, whose times are the CDR's.
    pub(crate) answered: Option<Instant>,
    /// Whether the answer has left; until then it waits for the disk.
    pub(crate) is_told: bool,
    /// Whether the caller has acknowledged the answer.
    pub(crate) acked: bool,
    /// The leg facing the originating member.
    pub(crate) ingress: Leg,
    /// The leg facing the member that is tried, or that answered.
    pub(crate) egress: Option<Leg>,
    /// The number whose look-up it waits for before it is routed.
    pub(crate) awaits: Option<E164>,
    /// How many of the selection's candidates have had their turn.
    pub(crate) candidates_done: u8,
    /// The INVITE that is being carried across: the first one, or a re-INVITE.
    pub(crate) invite: Option<Box<InviteExchange>>,
    /// Other requests in the dialog that are being carried across.
    pub(crate) exchanges: Vec<Exchange>,
    /// Early dialogs of the attempt under way, in the order in which they began; none once the call is up.
    pub(crate) early: Vec<Early>,
    /// Reliable provisional responses to the last INVITE of a call that is up, when there are any.
    pub(crate) reliable: Option<Box<Reliable>>,
    /// The last REFER that crossed.
    pub(crate) refer: Option<Box<Refer>>,
    /// Until when the candidate may ring (Timer C); once it has answered, how long the call may be up.
    pub(crate) until: Instant,
    /// What tells its INVITE from every other; 0 once it is answered.
    pub(crate) identity: u64,
    /// By which the calls between the same two numbers find each other; 0 before the call is routed.
    pub(crate) numbers: u64,
    pub(crate) timers: CallTimers,
}

/// The deadlines of a call; setting one of a place cancels the one that was there.
#[derive(Debug, Default)]
pub(crate) struct CallTimers {
    /// The look-up of the called number, then silence of the candidate, then the next retransmission of the 2xx.
    pub(crate) step: TimerHandle,
    /// The end of ringing, or of waiting for the answer to a re-INVITE, then that of waiting for the ACK.
    pub(crate) patience: TimerHandle,
    /// What the session timers of the legs ask for next, or the longest time that a call may be up.
    pub(crate) session: TimerHandle,
}

/// An INVITE on its way across the hub.
#[derive(Debug)]
pub(crate) struct InviteExchange {
    /// The leg that it came from.
    pub(crate) from: Side,
    /// The INVITE as it came; responses are built from it.
    pub(crate) request: Octets,
    /// Its transaction.
    pub(crate) server: TransactionKey,
    /// Number in its CSeq: the ACK has the same.
    pub(crate) server_cseq: u32,
    /// The transaction in which it was sent on; none while no candidate is being tried.
    pub(crate) client: Option<TransactionKey>,
    /// Further addresses of the candidate that is being tried, the next one last.
    pub(crate) addresses: Vec<SocketAddr>,
    /// The 2xx that was sent back, until its ACK comes.
    pub(crate) success: Option<Success>,
    /// The shortest session interval that a candidate takes, once one has said so.
    pub(crate) min_se_s: u32,
    /// Where a redirection leads the call, and who sent it there.
    pub(crate) redirected: Option<Box<Redirected>>,
    /// Why the last attempt failed, as its Reason said.
    pub(crate) failure: Option<Box<[u8]>>,
    /// When the last provisional response above 100 went back.
    pub(crate) progress_at: Instant,
    /// What became of a re-INVITE that is taken back.
    pub(crate) cancel: Cancel,
    /// Since when it is under way, or taken back.
    pub(crate) since: Instant,
}

/// Whether a re-INVITE is cancelled on the leg that it was sent on to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cancel {
    /// It is not.
    No,
    /// As soon as something comes from there: a CANCEL may overtake its INVITE (RFC 3261 §9.1).
    Wanted,
    /// Its CANCEL was sent.
    Sent,
}

/// A 2xx whose ACK is awaited.
#[derive(Debug)]
pub(crate) struct Success {
    /// As it was sent back.
    pub(crate) octets: Octets,
    /// To where.
    pub(crate) remote: SocketAddr,
    /// The number in the branch of the INVITE that was sent on.
    pub(crate) branch: Option<u64>,
    /// When it was sent first.
    pub(crate) since: Now,
    /// When the other side hung up without waiting for the ACK: the call ends as of then, as soon as the ACK
    /// has come.
    pub(crate) hung_up: Option<Now>,
    /// The time between the last two times that it was sent.
    pub(crate) wait: Duration,
    /// When it is sent again next.
    pub(crate) again_at: Instant,
    /// Number in the CSeq of the INVITE that was sent on: its ACK has the same.
    pub(crate) client_cseq: u32,
}

/// A request other than INVITE on its way across the hub.
#[derive(Debug)]
pub(crate) struct Exchange {
    /// The leg that it came from.
    pub(crate) from: Side,
    /// As it came.
    pub(crate) request: Octets,
    /// Its transaction.
    pub(crate) server: TransactionKey,
    /// The transaction in which it was sent on.
    pub(crate) client: TransactionKey,
    /// In which pair of dialogs: the hub's tag on the ingress leg.
    pub(crate) pair: u64,
    /// Told by its timers.
    pub(crate) number: u32,
}

impl Call {
    /// The leg on that side, once there is one.
    pub(crate) fn leg(&self, side: Side) -> Option<&Leg> {
        match side {
            Side::Ingress => Some(&self.ingress),
            Side::Egress => self.egress.as_ref(),
        }
    }

    /// The leg on that side, once there is one.
    pub(crate) fn leg_mut(&mut self, side: Side) -> Option<&mut Leg> {
        match side {
            Side::Ingress => Some(&mut self.ingress),
            Side::Egress => self.egress.as_mut(),
        }
    }

    /// One dialog of a pair: the hub's tag on the ingress leg names the pair, early or confirmed.
    pub(crate) fn dialog_mut(&mut self, side: Side, pair: u64) -> Option<&mut Dialog> {
        match self.early.iter().position(|early| early.tag == pair) {
            Some(at) => Some(match side {
                Side::Ingress => &mut self.early[at].ingress,
                Side::Egress => &mut self.early[at].egress,
            }),
            None if self.ingress.tag == pair => self.leg_mut(side)?.dialog.as_mut(),
            None => None,
        }
    }

    /// The reliable provisional responses in a pair of dialogs.
    pub(crate) fn reliable_mut(&mut self, pair: u64) -> &mut Option<Box<Reliable>> {
        match self.early.iter_mut().find(|early| early.tag == pair) {
            Some(early) => &mut early.reliable,
            None => &mut self.reliable,
        }
    }

    /// Whether the answer has been sent.
    pub(crate) fn is_up(&self) -> bool {
        self.cdr.answered_at.is_some()
    }

    /// Whether its end is recorded already: it ended just before the node was restarted.
    pub(crate) fn is_over(&self) -> bool {
        self.cdr.outcome.is_some()
    }

    /// The number that the next attempt is made for, as digits: the called one, or where a redirection leads.
    pub(crate) fn target(&self) -> &str {
        let redirected = self.invite.as_ref().and_then(|invite| invite.redirected.as_ref());
        redirected.map_or(&self.cdr.called, |redirected| &redirected.called)
    }

    /// What the look-up of that number has found.
    pub(crate) fn target_dip(&self) -> Option<Dip> {
        match self.invite.as_ref().and_then(|invite| invite.redirected.as_ref()) {
            Some(redirected) => redirected.dip,
            None => self.cdr.selection.as_ref()?.dip,
        }
    }

    /// The next candidate, if one is left of the first `limit`.
    pub(crate) fn next_candidate(&mut self, limit: u8) -> Option<(u8, Candidate)> {
        let index = self.candidates_done;
        // The servers of a name are tried one by one, too.
        if index >= limit || self.cdr.attempts.len() >= limit.into() {
            return None;
        }
        let candidate = *self.cdr.candidate(index)?;
        self.candidates_done += 1;
        Some((index, candidate))
    }

    /// The call as the journal keeps it while it is up, and is traced like this.
    pub(crate) fn record(&self, trace: Option<TraceRecord>) -> Option<Record<'_>> {
        let egress = self.egress.as_ref()?.record()?;
        let ingress = self.ingress.record()?;
        Some(Record::Up(Box::new(UpRecord {
            cdr: Cow::Borrowed(&self.cdr),
            acked: self.acked,
            answer: self.invite.as_ref().and_then(|invite| invite.record()),
            ingress,
            egress,
            trace,
        })))
    }
}
