//! Client non-INVITE transaction: RFC 3261 §17.1.2 figure 6.
//!
//! A 408 that comes late says nothing that Timer F did not (RFC 4320 §4.2): the transaction user need not
//! treat it as a failure of the next hop.

use super::Action::{self, Deliver, Failed, Forget, Start, TimedOut, Transmit};
use super::Timer::{self, E, F, K};

/// Where the transaction stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Nothing came back yet.
    Trying,
    /// A provisional response came. Timer E runs by [`Timer::delay_in_proceeding`].
    Proceeding,
    /// A final response came.
    Completed,
    /// It is over.
    Terminated,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// A 1xx came in.
    Provisional,
    /// A 200 to 699 came in.
    Final,
    /// A timer ran out.
    Fired(Timer),
    /// The transport could not send.
    TransportError,
}

/// Where the transaction begins, and what is done first.
pub const START: (State, &[Action]) = (State::Trying, &[Transmit, Start(E), Start(F)]);

/// The table: where an event leads, and what is done.
pub fn step(state: State, event: Event) -> (State, &'static [Action]) {
    use {Event::*, State::*};
    match (state, event) {
        (Trying | Proceeding, Fired(E)) => (state, &[Transmit, Start(E)]),
        (Trying | Proceeding, Fired(F)) => (Terminated, &[TimedOut, Forget]),
        (Trying | Proceeding, TransportError) => (Terminated, &[Failed, Forget]),
        (Trying | Proceeding, Provisional) => (Proceeding, &[Deliver]),
        (Trying | Proceeding, Final) => (Completed, &[Deliver, Start(K)]),
        (Completed, Fired(K)) => (Terminated, &[Forget]),
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
            (Trying, Fired(E), Trying, &[Transmit, Start(E)]),
            (Trying, Fired(F), Terminated, &[TimedOut, Forget]),
            (Trying, TransportError, Terminated, &[Failed, Forget]),
            (Trying, Provisional, Proceeding, &[Deliver]),
            (Trying, Final, Completed, &[Deliver, Start(K)]),
            (Proceeding, Fired(E), Proceeding, &[Transmit, Start(E)]),
            (Proceeding, Fired(F), Terminated, &[TimedOut, Forget]),
            (Proceeding, TransportError, Terminated, &[Failed, Forget]),
            (Proceeding, Provisional, Proceeding, &[Deliver]),
            (Proceeding, Final, Completed, &[Deliver, Start(K)]),
            (Completed, Fired(K), Terminated, &[Forget]),
        ];
        for state in [Trying, Proceeding, Completed, Terminated] {
            for event in [Provisional, Final, TransportError].into_iter().chain(Timer::ALL.map(Fired)) {
                let row = rows.iter().find(|row| (row.0, row.1) == (state, event));
                let expected = row.map_or((state, &[][..]), |row| (row.2, row.3));
                assert_eq!(step(state, event), expected, "{state:?} {event:?}");
            }
        }
    }
}
