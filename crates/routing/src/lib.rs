//! LUF and LRF of RFC 5486: which member holds the called number, and which of its endpoints take the call.
//!
//! A [`RouteTable`] is everything that a choice depends on, as one immutable value with a version and a hash;
//! [`select()`] asks it. Both are pure: facts, call, time and random bits come in as arguments. Where facts
//! come from (`store`) and what is done with the candidates (`fabric`) is not known here.
#![forbid(unsafe_code)]

mod access;
mod asked;
mod blocks;
mod called;
mod catalog;
mod comparison;
mod cow_map;
mod digits;
mod dip;
mod glass;
mod hash;
mod id_index;
mod leaf;
mod packed;
mod portability;
mod ported_block;
mod prefix_tree;
mod rates;
mod reach;
mod select;
mod sources;
mod table;
mod terms;
mod transit;
mod weight;

#[cfg(test)]
mod agreement_properties;
#[cfg(test)]
mod arbitrary;
#[cfg(test)]
mod exchange;
#[cfg(test)]
mod properties;

use std::sync::Arc;

use arc_swap::ArcSwap;

pub use access::{port, register, replace};
pub use asked::{Asked, Mismatch};
pub use comparison::{
    Comparison, IdleAnnouncement, PastCall, Replay, Route, RouteChange, RouteChangeKind, Taker,
};
pub use dip::{Dip, DipSource};
pub use glass::{Glass, Seen};
pub use hash::TableHash;
pub use portability::{PortedLoad, PortedNumbers};
pub use reach::{Reach, ReachDelta};
pub use select::{CallRequest, Candidate, LeftOut, Selection, select};
pub use table::{Counts, RouteTable};
pub use weight::{Weighted, draw_of, order};

/// The table that a node routes by: readers load it without a lock, the writer swaps in the next one.
pub type SharedTable = Arc<ArcSwap<RouteTable>>;

/// Puts a first table where readers can load it and a writer can replace it.
pub fn shared(table: RouteTable) -> SharedTable {
    Arc::new(ArcSwap::from_pointee(table))
}
