//! Limits on calls as members and the operator write them.

use serde::{Deserialize, Deserializer};
use tandem_model::CallLimits;

use crate::problem::Faults;

/// Most that `max_calls` and `max_calls_per_second` can be.
const MAX_CALLS: u32 = 1_000_000;

/// The limits, once looked at; what is at fault is noted.
pub(crate) fn read(
    faults: &mut Faults,
    max_calls: Option<u32>,
    max_calls_per_second: Option<u32>,
) -> CallLimits {
    for (field, limit) in [("max_calls", max_calls), ("max_calls_per_second", max_calls_per_second)] {
        if limit.is_some_and(|limit| !(1..=MAX_CALLS).contains(&limit)) {
            faults.note(field, format!("write a number from 1 to {MAX_CALLS}, or null for no bound"));
        }
    }
    CallLimits { max_calls, max_calls_per_second }
}

/// A field of a change that is there, null or not; with `serde(default)` one that is left out is `None`.
pub(crate) fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<u32>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}
