//! The calling user agent of one call as a table: RFC 3261 §13.2 (INVITE), §9.1 (CANCEL), §15 (BYE), with
//! the retransmissions of §17.1 folded in. Owns no timer, socket or message: `switch.rs` performs the actions.

use super::leg::{Action, Ended};

/// How far the call has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// INVITE sent; nothing came back.
    Calling,
    /// As `Calling`, but the caller has given up: CANCEL waits for the first response (§9.1).
    Withdrawn,
    /// A provisional response came.
    Proceeding,
    /// CANCEL sent; its response is awaited.
    Cancelling,
    /// CANCEL was answered; the final response to INVITE is awaited.
    Cancelled,
    /// Answered.
    Up,
    /// BYE sent; its response is awaited.
    Ending,
    /// Over; what comes late is still answered.
    Over,
}

/// What happens to the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A response below 200 to INVITE.
    Provisional,
    /// A 2xx to INVITE.
    Success,
    /// A final response to INVITE that is no 2xx.
    Failure,
    /// A final response to CANCEL.
    CancelAnswered,
    /// A final response to BYE.
    ByeAnswered,
    /// BYE from the other side.
    Bye,
    /// The caller has waited long enough.
    GiveUp,
    /// The caller has talked long enough.
    HangUp,
    /// Time to send the last request again (Timers A and E).
    Resend,
    /// No response for 64×T1 (Timers B and F).
    Expired,
}

/// The table.
pub(crate) fn step(state: State, event: Event) -> (State, &'static [Action]) {
    use {Action::*, Event::*, State::*};
    match (state, event) {
        (Calling, Resend) => (Calling, &[Repeat]),
        (Calling, Provisional) => (Proceeding, &[StopTimers]),
        (Calling, GiveUp) => (Withdrawn, &[]),

        (Withdrawn, Resend) => (Withdrawn, &[Repeat]),
        (Withdrawn, Provisional) => (Cancelling, &[SendCancel, StartTimers]),

        (Proceeding, GiveUp) => (Cancelling, &[SendCancel, StartTimers]),

        (Calling | Proceeding, Success) => (Up, &[StopTimers, SendAck, ReportUp]),
        // The answer crossed our CANCEL: the call is up, so it is ended by BYE (§9.1).
        (Withdrawn | Cancelling | Cancelled, Success) => (Ending, &[SendAck, ReportUp, SendBye, StartTimers]),
        (Calling | Withdrawn | Proceeding | Cancelling | Cancelled, Failure) => {
            (Over, &[StopTimers, SendAckOfFailure, End(Ended::Refused)])
        }
        (Calling | Withdrawn | Cancelling | Cancelled, Expired) => {
            (Over, &[StopTimers, End(Ended::TimedOut)])
        }

        (Cancelling, Resend) => (Cancelling, &[Repeat]),
        (Cancelling, CancelAnswered) => (Cancelled, &[StopResending]),

        (Up, HangUp) => (Ending, &[SendBye, StartTimers]),
        (Up, Bye) => (Over, &[AnswerBye, End(Ended::ByPeer)]),

        (Ending, Resend) => (Ending, &[Repeat]),
        (Ending, ByeAnswered) => (Over, &[StopTimers, End(Ended::ByUs)]),
        (Ending, Bye) => (Ending, &[AnswerBye]), // Both hung up at once.
        (Ending, Expired) => (Over, &[StopTimers, End(Ended::TimedOut)]),

        (Up | Ending | Over, Success) => (state, &[SendAck]), // Our ACK was lost (§13.2.2.4).
        (Over, Failure) => (Over, &[SendAckOfFailure]),
        (Over, Bye) => (Over, &[AnswerBye]),

        (Calling | Withdrawn | Proceeding | Cancelling | Cancelled | Up | Ending | Over, _) => (state, &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::{Event::*, State::*, *};

    fn after(events: &[Event]) -> State {
        events.iter().fold(Calling, |state, event| step(state, *event).0)
    }

    #[test]
    fn an_answered_call_ends_by_bye_from_either_side() {
        assert_eq!(after(&[Provisional, Success, HangUp, ByeAnswered]), Over);
        assert_eq!(after(&[Success, Bye]), Over);
    }

    #[test]
    fn cancel_waits_for_the_first_response() {
        assert_eq!(step(Calling, GiveUp), (Withdrawn, &[][..]));
        assert_eq!(
            step(Withdrawn, Provisional),
            (Cancelling, &[Action::SendCancel, Action::StartTimers][..])
        );
    }

    #[test]
    fn an_answer_that_crosses_cancel_is_acknowledged_and_ended() {
        for state in [Withdrawn, Cancelling, Cancelled] {
            let (next, actions) = step(state, Success);
            assert_eq!(next, Ending);
            assert!(actions.contains(&Action::SendAck) && actions.contains(&Action::SendBye));
        }
    }

    #[test]
    fn an_answer_that_comes_again_is_acknowledged_again() {
        for state in [Up, Ending, Over] {
            assert_eq!(step(state, Success), (state, &[Action::SendAck][..]));
        }
    }

    #[test]
    fn every_state_that_waits_for_a_response_gives_up_after_64_t1() {
        for state in [Calling, Withdrawn, Cancelling, Cancelled, Ending] {
            assert_eq!(step(state, Expired), (Over, &[Action::StopTimers, Action::End(Ended::TimedOut)][..]));
        }
    }
}
