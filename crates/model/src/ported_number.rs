//! Ported numbers: which network serves a number that has left the block it belongs to.

use serde::{Deserialize, Serialize};

use crate::{E164, Reason, RoutingNumber};

/// A number that was ported, and by which number it is routed since.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortedNumber {
    /// The number that is called.
    pub number: E164,
    /// The number that leads to the network which serves it now.
    pub rn: RoutingNumber,
}

/// One change to the ported numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "change")]
pub enum PortedChange {
    /// It was not ported before.
    Add(PortedNumber),
    /// It was ported, and now is elsewhere.
    Change(PortedNumber),
    /// It is back where its block belongs.
    Remove {
        /// The number.
        number: E164,
    },
}

impl PortedChange {
    /// The number that it is about.
    pub fn number(&self) -> E164 {
        match self {
            Self::Add(ported) | Self::Change(ported) => ported.number,
            Self::Remove { number } => *number,
        }
    }
}

/// What changed from one state of the ported numbers to the next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortedDelta {
    /// Of the state that it leads to; it follows only the state with the serial before.
    pub serial: u64,
    /// In any order, at most one to a number.
    pub changes: Vec<PortedChange>,
}

/// Why a load or a delta of ported numbers is refused, whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortedError {
    /// A delta is missing, or came before.
    #[error("delta {serial} does not follow the state {state}; the next is {}", state + 1)]
    OutOfOrder {
        /// Of the delta.
        serial: u64,
        /// Of what is there.
        state: u64,
    },
    /// A number is there more than once.
    #[error("{0} is there more than once")]
    Repeated(E164),
    /// A number is added that is ported already.
    #[error("{0} is to be added and is ported already")]
    AlreadyPorted(E164),
    /// A number is changed or removed that is not ported.
    #[error("{0} is to be changed or removed and is not ported")]
    NotPorted(E164),
    /// More routing numbers than can be told apart.
    #[error("there are more than {} routing numbers", u32::MAX)]
    TooManyRoutingNumbers,
}

impl PortedError {
    /// The code for it.
    pub fn reason(&self) -> Reason {
        match self {
            Self::OutOfOrder { .. } => Reason::PortedDeltaOutOfOrder,
            Self::Repeated(_) => Reason::PortedNumberRepeated,
            Self::AlreadyPorted(_) => Reason::PortedNumberExists,
            Self::NotPorted(_) => Reason::PortedNumberUnknown,
            Self::TooManyRoutingNumbers => Reason::PortedNetworksTooMany,
        }
    }
}
