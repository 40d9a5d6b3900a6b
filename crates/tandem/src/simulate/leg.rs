//! What the tables of [`super::caller`] and [`super::callee`] ask of the switch that performs them.

/// One thing to do for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// ACK to the 2xx.
    SendAck,
    /// ACK to a failure, within the INVITE transaction (RFC 3261 §17.1.1.3).
    SendAckOfFailure,
    /// CANCEL of the INVITE.
    SendCancel,
    /// BYE.
    SendBye,
    /// 200 to BYE.
    AnswerBye,
    /// 200 to CANCEL.
    AnswerCancel,
    /// 100 to INVITE.
    SendTrying,
    /// 180 to INVITE.
    SendRinging,
    /// 200 with the answer to the offer.
    SendOk,
    /// The failure that the plan of the call wants.
    SendRefusal,
    /// 487, after CANCEL.
    SendTerminated,
    /// Sends again what was sent last and waits for a reply.
    Repeat,
    /// Starts resending what was sent last, and the time after which it is given up.
    StartTimers,
    /// Stops resending; the time to give up goes on.
    StopResending,
    /// Stops both.
    StopTimers,
    /// The call is up: says so.
    ReportUp,
    /// The ACK to our final response never came.
    NoAck,
    /// The call is over.
    End(Ended),
}

/// How a leg was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// A failure was received or sent.
    Refused,
    /// We sent BYE.
    ByUs,
    /// BYE came.
    ByPeer,
    /// The other side stopped answering.
    TimedOut,
}
