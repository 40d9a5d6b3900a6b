//! PRACKs of reliable provisional responses whose INVITE has had its final response already (RFC 3262 §3): their dialog is
//! gone, and they are answered 200 all the same. They tell nobody anything, so that they do not cross.

use std::net::IpAddr;

use smallvec::SmallVec;
use tandem_model::{EndpointId, Transport};
use tandem_sip::transaction::timer::T1;
use tandem_sip::{Dialog, Message};

use crate::call::CallKey;
use crate::early::{Early, rack};
use crate::timer::Wake;
use crate::transaction::parse_hex;
use crate::worker::{Arrival, Now, Worker};

/// A PRACK that may still come.
pub(crate) struct LatePrack {
    dialog: Dialog,
    /// RSeq of what it acknowledges, and the number in the CSeq of the INVITE.
    rack: (u32, u32),
    /// Who may send it, and from where.
    endpoint: EndpointId,
    transport: Transport,
    ips: SmallVec<[IpAddr; 1]>,
}

impl Worker {
    /// An early dialog toward the originating member of a call is over: what was sent in it and is not acknowledged may
    /// be acknowledged for as long as a member repeats its PRACK.
    pub(crate) fn expect_late_prack(&mut self, now: Now, key: CallKey, early: Early) {
        let Some(rack) = early.reliable.as_ref().and_then(|reliable| reliable.outstanding()) else { return };
        let leg = &self.calls[key].ingress;
        let late = LatePrack {
            dialog: early.ingress,
            rack,
            endpoint: leg.endpoint,
            transport: leg.flow.transport,
            ips: leg.ips().collect(),
        };
        self.late_pracks.insert(early.tag, late);
        self.wire.timers.set(now.instant + 64 * T1, Wake::LatePrack(early.tag));
    }

    /// Whether a request that belongs to no dialog any more is a PRACK that was still to come.
    pub(crate) fn take_late_prack(&mut self, now: Now, arrival: Arrival, request: &Message<'_>) -> bool {
        let Some(tag) = request.to_tag().and_then(parse_hex) else { return false };
        let Some(late) = self.late_pracks.get(&tag) else { return false };
        let source = arrival.flow();
        let is_from_there = source.transport == late.transport
            && (late.ips.contains(&source.remote.ip())
                || self
                    .endpoint_of(&self.table, source, now)
                    .is_some_and(|endpoint| endpoint.endpoint_id == late.endpoint));
        let is_meant = late.dialog.matches(request) && rack(request) == Some(late.rack);
        is_from_there && is_meant && self.late_pracks.remove(&tag).is_some()
    }
}
