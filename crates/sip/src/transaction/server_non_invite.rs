//! Server non-INVITE transaction: RFC 3261 §17.2.2 figure 8, with RFC 6026 §8.8.
//!
//! By RFC 4320 §4.1 and §4.2 the transaction user sends no provisional response but 100, and that one only
//! when the request came over a reliable transport or Timer E of its client has reached T2, and never a
//! 408: by then its client has given up, and the 408 would only blame the wrong hop.

use super::Action::{self, Deliver, Failed, Forget, Start, Transmit};
use super::Timer::{self, J};

/// Where the transaction stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// No response was sent.
    Trying,
    /// A provisional response was sent.
    Proceeding,
    /// A final response was sent.
    Completed,
    /// It is over.
    Terminated,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// The request came in again.
    Request,
    /// The transaction user sends a 1xx.
    SendProvisional,
    /// The transaction user sends a 200 to 699.
    SendFinal,
    /// A timer ran out.
    Fired(Timer),
    /// The transport could not send.
    TransportError,
}

/// Where the transaction begins, and what is done first.
pub const START: (State, &[Action]) = (State::Trying, &[Deliver]);

/// The table: where an event leads, and what is done.
pub fn step(state: State, event: Event) -> (State, &'static [Action]) {
    use {Event::*, State::*};
    match (state, event) {
        (Trying | Proceeding, SendProvisional) => (Proceeding, &[Transmit]),
        (Trying | Proceeding, SendFinal) => (Completed, &[Transmit, Start(J)]),
        (Proceeding | Completed, Request) => (state, &[Transmit]),
        // Kept, to absorb what is retransmitted: RFC 6026 §8.8.
        (Proceeding | Completed, TransportError) => (state, &[Failed]),
        (Completed, Fired(J)) => (Terminated, &[Forget]),
        // States are named, not `_`: a new one does not compile until its rows are written.
        (Trying | Proceeding | Completed | Terminated, _) => (state, &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::{Event::*, State::*, *};

    #[test]
    fn each_row_of_the_figure_is_there_and_no_other() {
        let rows: &[(State, Event, State, &[Action])] = &[
            (Trying, SendProvisional, Proceeding, &[Transmit]),
            (Trying, SendFinal, Completed, &[Transmit, Start(J)]),
            (Proceeding, Request, Proceeding, &[Transmit]),
            (Proceeding, SendProvisional, Proceeding, &[Transmit]),
            (Proceeding, TransportError, Proceeding, &[Failed]),
            (Proceeding, SendFinal, Completed, &[Transmit, Start(J)]),
            (Completed, Request, Completed, &[Transmit]),
            (Completed, TransportError, Completed, &[Failed]),
            (Completed, Fired(J), Terminated, &[Forget]),
        ];
        for state in [Trying, Proceeding, Completed, Terminated] {
            for event in
                [Request, SendProvisional, SendFinal, TransportError].into_iter().chain(Timer::ALL.map(Fired))
            {
                let row = rows.iter().find(|row| (row.0, row.1) == (state, event));
                let expected = row.map_or((state, &[][..]), |row| (row.2, row.3));
                assert_eq!(step(state, event), expected, "{state:?} {event:?}");
            }
        }
    }
}
