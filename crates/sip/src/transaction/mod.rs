//! The four transactions of RFC 3261 §17, with RFC 6026: each a table from state and event to state and actions.
//!
//! [`key`] says to which transaction a message belongs, [`timer`] how long each timer runs. A table owns no
//! timer: a driver performs the [`Action`]s in their order. There is no action that stops a timer; one that
//! fires in a state that has no row for it does nothing.

pub mod client_invite;
pub mod client_non_invite;
pub mod key;
pub mod server_invite;
pub mod server_non_invite;
pub mod timer;

pub use key::Match;
pub use timer::Timer;

/// What the driver of a transaction does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Sends the request, or the last response, for the first time or again; nothing while there is none.
    Transmit,
    /// Sends an ACK for a final response other than 2xx (RFC 3261 §17.1.1.3).
    Ack,
    /// Starts the timer, where [`Timer::delay`] has it on this transport.
    Start(Timer),
    /// Hands what came in to the transaction user.
    Deliver,
    /// Tells the transaction user that no final response, or no ACK, came in time.
    TimedOut,
    /// Tells the transaction user that the transport failed.
    Failed,
    /// The transaction is over: the driver drops it.
    Forget,
}
