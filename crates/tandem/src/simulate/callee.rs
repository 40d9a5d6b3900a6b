//! The called user agent of one call as a table: RFC 3261 §13.3 (INVITE), §9.2 (CANCEL), §15 (BYE), with the
//! retransmissions of §13.3.1.4 and §17.2.1 folded in. Owns no timer, socket or message: `switch.rs`
//! performs the actions.

use super::leg::{Action, Ended};

/// How far the call has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// INVITE came; 100 was sent.
    Trying,
    /// 180 was sent.
    Ringing,
    /// 200 was sent; ACK is awaited.
    Answered,
    /// A failure was sent; ACK is awaited.
    Refusing,
    /// Acknowledged.
    Up,
    /// BYE sent; its response is awaited.
    Ending,
    /// Over; what comes late is still answered.
    Over,
}

/// What happens to the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The same INVITE again.
    Invite,
    /// CANCEL of it.
    Cancel,
    /// ACK, to the 200 or to the failure.
    Ack,
    /// BYE from the other side.
    Bye,
    /// A final response to BYE.
    ByeAnswered,
    /// The telephone begins to ring.
    Ring,
    /// It is picked up.
    Answer,
    /// The call is turned down.
    Refuse,
    /// The called party has talked long enough.
    HangUp,
    /// Time to send the last response or BYE again (Timers G and E, and §13.3.1.4).
    Resend,
    /// Nothing came for 64×T1 (Timers H and F).
    Expired,
}

/// The table.
pub(crate) fn step(state: State, event: Event) -> (State, &'static [Action]) {
    use {Action::*, Event::*, State::*};
    match (state, event) {
        (Trying, Invite) => (Trying, &[SendTrying]),
        (Trying, Ring) => (Ringing, &[SendRinging]),
        (Ringing, Invite) => (Ringing, &[SendRinging]),
        (Trying | Ringing, Answer) => (Answered, &[SendOk, StartTimers]),
        (Trying | Ringing, Refuse) => (Refusing, &[SendRefusal, StartTimers]),
        (Trying | Ringing, Cancel) => (Refusing, &[AnswerCancel, SendTerminated, StartTimers]),

        (Answered, Invite | Resend) => (Answered, &[Repeat]),
        (Answered, Ack) => (Up, &[StopTimers, ReportUp]),
        // The ACK was lost, or comes after the BYE: the 200 was received all the same.
        (Answered, Bye) => (Over, &[StopTimers, AnswerBye, ReportUp, End(Ended::ByPeer)]),
        // Nobody acknowledged the answer: RFC 3261 §13.3.1.4 has it ended by BYE.
        (Answered, Expired) => (Ending, &[NoAck, SendBye, StartTimers]),

        (Refusing, Invite | Resend) => (Refusing, &[Repeat]),
        (Refusing, Ack) => (Over, &[StopTimers, End(Ended::Refused)]),
        (Refusing, Expired) => (Over, &[StopTimers, NoAck, End(Ended::TimedOut)]),

        (Up, HangUp) => (Ending, &[SendBye, StartTimers]),
        (Up, Bye) => (Over, &[AnswerBye, End(Ended::ByPeer)]),

        (Ending, Resend) => (Ending, &[Repeat]),
        (Ending, ByeAnswered) => (Over, &[StopTimers, End(Ended::ByUs)]),
        (Ending, Bye) => (Ending, &[AnswerBye]), // Both hung up at once.
        (Ending, Expired) => (Over, &[StopTimers, End(Ended::TimedOut)]),

        (Over, Bye) => (Over, &[AnswerBye]),
        // Too late to have an effect, but it is answered (§9.2).
        (Answered | Refusing | Up | Ending | Over, Cancel) => (state, &[AnswerCancel]),

        (Trying | Ringing | Answered | Refusing | Up | Ending | Over, _) => (state, &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::{Event::*, State::*, *};

    fn after(events: &[Event]) -> State {
        events.iter().fold(Trying, |state, event| step(state, *event).0)
    }

    #[test]
    fn an_answered_call_ends_by_bye_from_either_side() {
        assert_eq!(after(&[Ring, Answer, Ack, HangUp, ByeAnswered]), Over);
        assert_eq!(after(&[Answer, Ack, Bye]), Over);
    }

    #[test]
    fn a_bye_that_overtakes_the_ack_ends_the_call() {
        assert_eq!(after(&[Ring, Answer, Bye]), Over);
    }

    #[test]
    fn cancel_after_the_answer_is_answered_and_changes_nothing() {
        assert_eq!(step(Answered, Cancel), (Answered, &[Action::AnswerCancel][..]));
        assert_eq!(after(&[Ring, Cancel, Ack]), Over);
    }

    #[test]
    fn an_invite_that_comes_again_gets_the_last_response_again() {
        assert_eq!(step(Trying, Invite).1, [Action::SendTrying]);
        assert_eq!(step(Ringing, Invite).1, [Action::SendRinging]);
        assert_eq!(step(Answered, Invite).1, [Action::Repeat]);
        assert_eq!(step(Refusing, Invite).1, [Action::Repeat]);
    }

    #[test]
    fn an_answer_that_nobody_acknowledges_is_ended_by_bye() {
        assert_eq!(
            step(Answered, Expired),
            (Ending, &[Action::NoAck, Action::SendBye, Action::StartTimers][..])
        );
    }
}
