//! What the node does not do because there is too much of it: strangers, greedy sources, and more new work than
//! it can take. In-dialog requests, ACK and CANCEL are never shed: they end work.

use rand::Rng;
use tandem_model::Reason;
use tandem_sip::{Message, Method};

use crate::identity::is_introduction;
use crate::outbox::Flow;
use crate::source_guard::{Cause, Stranger};
use crate::transaction::Fingerprint;
use crate::worker::{Now, Worker};

/// Most transactions at once: about 1 GB. A call takes four or five, for half a minute after each ends.
const MAX_TRANSACTIONS: usize = 1_000_000;

impl Worker {
    /// A message from an address of nobody who takes part: it is counted, and its source banned where that is due.
    /// Whether it is read all the same, since its sender may make itself known by it.
    pub(crate) fn reads_stranger(&mut self, now: Now, flow: Flow, octets: &[u8]) -> bool {
        self.overload.note_stranger();
        let metrics = &self.wire.metrics;
        match self.guard.stranger(flow.remote.ip(), octets, now.instant) {
            Stranger::Ignored
                if is_introduction(&self.table, octets) && self.guard.reads_introduction(now.instant) =>
            {
                return true;
            }
            // Who is a member is not known without a table: its switch is to try elsewhere at once.
            Stranger::Ignored
                if self.table.is_unloaded()
                    && octets.starts_with(b"INVITE ")
                    && self.guard.reads_introduction(now.instant) =>
            {
                return true;
            }
            Stranger::Ignored => metrics.strangers.inc(),
            Stranger::Banned => metrics.banned.inc(),
            Stranger::BannedNow(cause) => {
                metrics.count_ban(cause);
                match cause {
                    Cause::Flood => {
                        tracing::debug!(source = %flow.remote, "banned a stranger that sent too much")
                    }
                    Cause::Scanner => tracing::debug!(source = %flow.remote, "banned a scanner"),
                }
            }
        }
        false
    }

    /// A batch has been handled; `is_drained` where nothing waits any more, and otherwise `backlog` tells how much.
    pub(crate) fn observe_load(&mut self, now: Now, is_drained: bool, backlog: impl FnOnce() -> u64) {
        let (before, after) = self.overload.observe(now.instant, now.utc, is_drained, backlog);
        if before != after {
            // The mean over all workers.
            let part = |percent: u32| i64::from(percent / self.share.workers());
            self.wire.metrics.shed_percent.add(part(after) - part(before));
        }
        match (before, after) {
            (0, 1..) => {
                tracing::warn!("more comes in than the node can handle: a part of the new calls is refused")
            }
            (1.., 0) => tracing::info!("the node keeps up again: every new call is taken"),
            _ => {}
        }
    }

    /// Whether a request that begins something is not served because there is too much to do; an INVITE is told
    /// so, with the least effort.
    pub(crate) fn sheds(
        &mut self,
        flow: Flow,
        request: &Message<'_>,
        method: Method<'_>,
        fingerprint: Fingerprint,
    ) -> bool {
        if request.to_tag().is_some() || matches!(method, Method::Ack | Method::Cancel) {
            return false;
        }
        let reason = if !self.is_within_rate {
            Reason::SourceRateExceeded
        } else if self.transactions.len() >= MAX_TRANSACTIONS {
            Reason::NodeFull
        } else if method == Method::Invite
            && self.overload.sheds(self.rng.next_u32())
            && !self.settings.emergency_numbers.are_called_by(request)
        {
            Reason::HubOverloaded
        } else {
            return false;
        };
        match method {
            Method::Invite if !self.is_stranger => {
                self.refuse_statelessly(flow, request, fingerprint, reason)
            }
            _ => self.wire.metrics.count_drop(reason),
        }
        true
    }
}
