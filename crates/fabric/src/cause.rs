//! Why a leg ends: what Reason says of it (RFC 3326), carried from leg to leg and kept for the record.

use tandem_model::{Cause, Reason};
use tandem_sip::cause::Causes;
use tandem_sip::{Message, Name};

use crate::call::{Call, CallKey};
use crate::worker::Worker;

/// The value of Reason for a reason of the hub's own.
pub(crate) fn reason_value(reason: Reason) -> String {
    format!("SIP;cause={};text=\"{}: {}\"", reason.status(), reason.code(), reason.sentence())
}

/// The Reason header fields of a message as one value.
pub(crate) fn reasons_of(message: &Message<'_>) -> Option<Vec<u8>> {
    let values: Vec<&[u8]> = message.all(Name::Reason).filter(|value| !value.is_empty()).collect();
    (!values.is_empty()).then(|| values.join(&b", "[..]))
}

/// What a message says of why it ends something.
pub(crate) fn cause_of(message: &Message<'_>) -> Cause {
    let Causes { sip, q850 } = Causes::of(message);
    Cause { sip, q850 }
}

impl Call {
    /// Notes why the egress leg of the last attempt ended.
    pub(crate) fn note_egress_cause(&mut self, cause: Cause) {
        if let Some(attempt) = self.cdr.attempts.last_mut() {
            attempt.cause = cause;
        }
    }

    /// Notes why both legs end: the one is told what the other one said.
    pub(crate) fn note_cause(&mut self, cause: Cause) {
        self.cdr.cause = cause;
        self.note_egress_cause(cause);
    }
}

impl Worker {
    /// Notes why an attempt failed, for the record and, should it be the last one, for the originating member.
    pub(crate) fn note_failure(&mut self, key: CallKey, response: &Message<'_>) {
        let call = &mut self.calls[key];
        call.note_egress_cause(cause_of(response));
        if let Some(invite) = call.invite.as_mut() {
            invite.failure = reasons_of(response).map(Vec::into_boxed_slice);
        }
    }
}
