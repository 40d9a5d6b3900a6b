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
