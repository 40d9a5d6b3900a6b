//! Whether a message is what RFC 3261 allows; RFC 4475 and RFC 5118 are the cases.

use crate::{Fault, Message};

/// The first fault of a message, in the order in which a reader meets them.
pub fn judge(_message: &Message<'_>) -> Result<(), Fault> {
    Ok(())
}
