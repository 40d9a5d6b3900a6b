//! Client INVITE transaction: RFC 3261 §17.1.1 figure 5, with the Accepted state of RFC 6026 §7.2.

use super::Action::{self, Ack, Deliver, Failed, Forget, Start, TimedOut, Transmit};
use super::Timer::{self, A, B, D, M};

/// Where the transaction stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Nothing came back yet.
    Calling,
    /// A provisional response came.
    Proceeding,
    /// A final response other than 2xx came and was acknowledged.
    Completed,
    /// A 2xx came; more may, retransmitted or from other forks.
    Accepted,
    /// It is over.
    Terminated,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// A 1xx came in.
    Provisional,
    /// A 2xx came in.
    Success,
    /// A 300 to 699 came in.
    Failure,
    /// A timer ran out.
    Fired(Timer),
    /// The transport could not send.
    TransportError,
}

/// Where the transaction begins, and what is done first.
pub const START: (State, &[Action]) = (State::Calling, &[Transmit, Start(A), Start(B)]);

/// The table: where an event leads, and what is done.
pub fn step(state: State, event: Event) -> (State, &'static [Action]) {
    use {Event::*, State::*};
    match (state, event) {
        (Calling, Fired(A)) => (Calling, &[Transmit, Start(A)]),
        (Calling, Fired(B)) => (Terminated, &[TimedOut, Forget]),
        (Calling, TransportError) => (Terminated, &[Failed, Forget]),
        (Calling, Provisional) => (Proceeding, &[Deliver]),
        (Proceeding, Provisional) => (Proceeding, &[Deliver]),
        (Calling | Proceeding, Success) => (Accepted, &[Deliver, Start(M)]),
        (Calling | Proceeding, Failure) => (Completed, &[Ack, Deliver, Start(D)]),
        (Completed, Failure) => (Completed, &[Ack]), // Our ACK was lost.
        (Completed, TransportError) => (Terminated, &[Failed, Forget]),
        (Completed, Fired(D)) => (Terminated, &[Forget]),
        (Accepted, Success) => (Accepted, &[Deliver]), // Retransmission, or another fork's answer.
        (Accepted, Fired(M)) => (Terminated, &[Forget]),
        // States are named, not `_`: a new one does not compile until its rows are written.
        (Calling | Proceeding | Completed | Accepted | Terminated, _) => (state, &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::{Event::*, State::*, *};

    #[test]
    fn each_row_of_the_figure_is_there_and_no_other() {
        let rows: &[(State, Event, State, &[Action])] = &[
            (Calling, Fired(A), Calling, &[Transmit, Start(A)]),
            (Calling, Fired(B), Terminated, &[TimedOut, Forget]),
            (Calling, TransportError, Terminated, &[Failed, Forget]),
            (Calling, Provisional, Proceeding, &[Deliver]),
            (Calling, Success, Accepted, &[Deliver, Start(M)]),
            (Calling, Failure, Completed, &[Ack, Deliver, Start(D)]),
            (Proceeding, Provisional, Proceeding, &[Deliver]),
            (Proceeding, Success, Accepted, &[Deliver, Start(M)]),
            (Proceeding, Failure, Completed, &[Ack, Deliver, Start(D)]),
            (Completed, Failure, Completed, &[Ack]),
            (Completed, TransportError, Terminated, &[Failed, Forget]),
            (Completed, Fired(D), Terminated, &[Forget]),
            (Accepted, Success, Accepted, &[Deliver]),
            (Accepted, Fired(M), Terminated, &[Forget]),
        ];
        let events = [Provisional, Success, Failure, TransportError];
        for state in [Calling, Proceeding, Completed, Accepted, Terminated] {
            for event in events.into_iter().chain(Timer::ALL.map(Fired)) {
                let row = rows.iter().find(|row| (row.0, row.1) == (state, event));
                let expected = row.map_or((state, &[][..]), |row| (row.2, row.3));
                assert_eq!(step(state, event), expected, "{state:?} {event:?}");
            }
        }
    }
}
