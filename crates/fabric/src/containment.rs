//! Keeps a bug to one call: a panic while a call is handled ends that call, and every other goes on.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tandem_model::{EndedBy, Outcome, Reason};

use crate::call::CallKey;
use crate::worker::{Now, Worker};

impl Worker {
    /// Does `work`, and tells whether it came to its end. Should it panic, the call that it had to do with ends.
    pub(crate) fn contain(&mut self, now: Now, work: impl FnOnce(&mut Self)) -> bool {
        self.handled = None;
        self.transactions.clear_begun();
        let outcome = catch_unwind(AssertUnwindSafe(|| work(self)));
        if outcome.is_err() {
            self.after_panic(now);
        }
        outcome.is_ok()
    }

    /// What is done from here on concerns this call.
    pub(crate) fn handle(&mut self, key: CallKey) {
        self.handled = Some(key);
        self.fault_point();
    }

    fn after_panic(&mut self, now: Now) {
        self.wire.metrics.panics.inc();
        self.wire.outbox.hold(false);
        let handled = self.handled.take();
        match handled.filter(|&key| self.calls.contains_key(key)) {
            Some(key) => self.end_handled(now, key),
            None => tracing::error!("a message or a deadline could not be handled: a bug, please report it"),
        }
        self.transactions.forget_unanswered(&mut self.wire, handled);
        if let Some(handled) = handled {
            self.tags.retain(|_, (key, _)| *key != handled);
        }
    }

    fn end_handled(&mut self, now: Now, key: CallKey) {
        let call_id = self.calls[key].cdr.call_id;
        tracing::error!(call = %call_id, "a call could not be handled and is ended: a bug, please report it");
        // What the panic has left of the call may not do for a good end: then its record has to.
        let ended = catch_unwind(AssertUnwindSafe(|| self.end_call(now, key, Reason::HubFault)));
        if ended.is_err() && self.calls.contains_key(key) {
            let cdr = &mut self.calls[key].cdr;
            cdr.reason = Some(Reason::HubFault);
            cdr.ended_by = cdr.answered_at.map(|_| EndedBy::Hub);
            let outcome = if cdr.answered_at.is_some() { Outcome::Answered } else { Outcome::Failed };
            self.finish(now, key, outcome);
        }
    }

    /// Where a test may let the handling of a call fail.
    #[cfg(not(test))]
    #[inline(always)]
    pub(crate) fn fault_point(&mut self) {}

    /// Where a test may let the handling of a call fail.
    #[cfg(test)]
    pub(crate) fn fault_point(&mut self) {
        if let Some(left) = &mut self.fault_in {
            *left -= 1;
            if *left == 0 {
                self.fault_in = None;
                self.faults += 1;
                panic!("a fault that a test wants");
            }
        }
    }
}
