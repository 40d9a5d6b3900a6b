//! What must happen when: the worker's one queue of deadlines.
//!
//! A timer is never taken out: when it fires for something that is gone or has moved on, nothing happens
//! (the keys carry a generation, and the state machines ignore what no longer concerns them).

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

use tandem_sip::transaction::Timer;

use crate::call::CallKey;
use crate::transaction::TransactionKey;

/// Whom a deadline wakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wake {
    /// A timer of a transaction (RFC 3261 appendix A).
    Transaction(TransactionKey, TransactionTimer),
    /// A timer of a call.
    Call(CallKey, CallTimer),
    /// A cancelled INVITE never got its final response (RFC 3261 §9.1): give its transaction up.
    Abandoned(TransactionKey),
}

/// The timers that the hub keeps for a call, beside those of its transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum CallTimer {
    /// Nothing at all has come from the candidate of attempt `n`.
    Attempt(u16),
    /// Attempt `n` rang for too long (RFC 3261 §16.6 item 11: Timer C).
    Ring(u16),
    /// Send the 2xx again: no ACK yet (RFC 3261 §13.3.1.4). Carries the CSeq number of the INVITE.
    Retransmit(u32),
    /// 64·T1 without an ACK to the 2xx (RFC 3261 §13.3.1.4). Carries the CSeq number of the INVITE.
    NoAck(u32),
    /// Send a reliable provisional response again: no PRACK yet (RFC 3262 §3). Carries its RSeq.
    Provisional(u32),
    /// 64·T1 without a PRACK (RFC 3262 §3). Carries the RSeq.
    NoPrack(u32),
    /// A re-INVITE has been under way for too long, or was taken back and got no final response. Carries its
    /// CSeq number.
    Reinvite(u32),
    /// A request other than INVITE has not been answered on the other leg for so long that its sender is
    /// told to wait (RFC 4320 §4.1). Carries the number of the exchange.
    Slow(u32),
    /// Its sender is about to stop waiting. Carries the number of the exchange.
    Overdue(u32),
    /// The longest time that a call may be up.
    MaxDuration,
}

/// An orderable stand-in for [`Timer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TransactionTimer(pub(crate) Timer);

impl PartialOrd for TransactionTimer {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for TransactionTimer {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0 as u8).cmp(&(other.0 as u8))
    }
}

/// Deadlines, earliest first.
#[derive(Default)]
pub(crate) struct TimerQueue {
    heap: BinaryHeap<Reverse<(Instant, Wake)>>,
}

impl TimerQueue {
    /// Wakes `wake` at `at`.
    pub(crate) fn set(&mut self, at: Instant, wake: Wake) {
        self.heap.push(Reverse((at, wake)));
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes one wake that is due at `now`.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<Wake> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse((_, wake))| wake)
    }
}
