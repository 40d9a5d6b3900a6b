//! Server INVITE transaction: RFC 3261 §17.2.1 figure 7, with the Accepted state of RFC 6026 §7.1.
//!
//! The transaction user sends a 100 at once or lets the driver do so within 200 ms, and retransmits its own
//! 2xx until the ACK comes (RFC 3261 §13.3.1.4): here a 2xx is only passed on.

use super::Action::{self, Deliver, Failed, Forget, Start, TimedOut, Transmit};
use super::Timer::{self, G, H, I, L};

/// Where the transaction stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// No final response was sent.
    Proceeding,
    /// A 2xx was sent.
    Accepted,
    /// A final response other than 2xx was sent; its ACK is awaited.
    Completed,
    /// The ACK came.
    Confirmed,
    /// It is over.
    Terminated,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// The INVITE came in again.
    Request,
    /// The transaction user sends a 1xx.
    SendProvisional,
    /// The transaction user sends a 2xx.
    SendSuccess,
    /// The transaction user sends a 300 to 699.
    SendFailure,
    /// The ACK came in.
    Ack,
    /// A timer ran out.
    Fired(Timer),
    /// The transport could not send.
    TransportError,
}

/// Where the transaction begins, and what is done first.
pub const START: (State, &[Action]) = (State::Proceeding, &[Deliver]);

/// The table: where an event leads, and what is done.
pub fn step(state: State, event: Event) -> (State, &'static [Action]) {
    use {Event::*, State::*};
    match (state, event) {
        (Proceeding, Request | SendProvisional) => (Proceeding, &[Transmit]),
        (Proceeding, SendSuccess) => (Accepted, &[Transmit, Start(L)]),
        (Proceeding, SendFailure) => (Completed, &[Transmit, Start(G), Start(H)]),
        (Accepted, SendSuccess) => (Accepted, &[Transmit]), // The user's own retransmission.
        (Accepted, Ack) => (Accepted, &[Deliver]),
        (Accepted, Fired(L)) => (Terminated, &[Forget]),
        (Completed, Request) => (Completed, &[Transmit]),
        (Completed, Fired(G)) => (Completed, &[Transmit, Start(G)]),
        (Completed, Fired(H)) => (Terminated, &[TimedOut, Forget]),
        (Completed, Ack) => (Confirmed, &[Start(I)]),
        (Confirmed, Fired(I)) => (Terminated, &[Forget]),
        // Kept, to absorb what is retransmitted: RFC 6026 §7.1.
        (Proceeding | Accepted | Completed, TransportError) => (state, &[Failed]),
        // States are named, not `_`: a new one does not compile until its rows are written.
        (Proceeding | Accepted | Completed | Confirmed | Terminated, _) => (state, &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::{Event::*, State::*, *};

    #[test]
    fn each_row_of_the_figure_is_there_and_no_other() {
        let rows: &[(State, Event, State, &[Action])] = &[
            (Proceeding, Request, Proceeding, &[Transmit]),
            (Proceeding, SendProvisional, Proceeding, &[Transmit]),
            (Proceeding, TransportError, Proceeding, &[Failed]),
            (Proceeding, SendSuccess, Accepted, &[Transmit, Start(L)]),
            (Proceeding, SendFailure, Completed, &[Transmit, Start(G), Start(H)]),
            (Accepted, Ack, Accepted, &[Deliver]),
            (Accepted, SendSuccess, Accepted, &[Transmit]),
            (Accepted, TransportError, Accepted, &[Failed]),
            (Accepted, Fired(L), Terminated, &[Forget]),
            (Completed, Request, Completed, &[Transmit]),
            (Completed, Fired(G), Completed, &[Transmit, Start(G)]),
            (Completed, TransportError, Completed, &[Failed]),
            (Completed, Ack, Confirmed, &[Start(I)]),
            (Completed, Fired(H), Terminated, &[TimedOut, Forget]),
            (Confirmed, Fired(I), Terminated, &[Forget]),
        ];
        let events = [Request, SendProvisional, SendSuccess, SendFailure, Ack, TransportError];
        for state in [Proceeding, Accepted, Completed, Confirmed, Terminated] {
            for event in events.into_iter().chain(Timer::ALL.map(Fired)) {
                let row = rows.iter().find(|row| (row.0, row.1) == (state, event));
                let expected = row.map_or((state, &[][..]), |row| (row.2, row.3));
                assert_eq!(step(state, event), expected, "{state:?} {event:?}");
            }
        }
    }
}
