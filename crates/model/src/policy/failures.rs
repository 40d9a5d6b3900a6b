//! Which status an endpoint gets for a call that failed, where its switch does not know what to do with the one
//! that came.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Faults;

/// Failures of its calls, for one endpoint. Reason, with its Q.850 cause, crosses as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FailurePolicy {
    /// The status that it gets instead of each that is named here.
    pub statuses: BTreeMap<u16, u16>,
}

/// Most statuses that are replaced.
const MAX_STATUSES: usize = 32;

/// They belong to a transaction, not to a call: a challenge (RFC 3261 §22), the end of a CANCEL (§9.2), a session
/// timer (RFC 4028), glare (§14.1).
const OF_THE_TRANSACTION: [u16; 6] = [401, 407, 422, 481, 487, 491];

impl FailurePolicy {
    /// The status that the endpoint gets for a failure.
    pub fn status(&self, status: u16) -> u16 {
        self.statuses.get(&status).copied().unwrap_or(status)
    }

    pub(super) fn judge(&self, faults: &mut Faults) {
        if self.statuses.len() > MAX_STATUSES {
            let message = format!("there are {}; write at most {MAX_STATUSES}", self.statuses.len());
            faults.note("failures.statuses", message);
        }
        for (from, to) in &self.statuses {
            for status in [from, to] {
                let path = format!("failures.statuses.{from}");
                if !(400..=699).contains(status) {
                    faults.note(path, format!("{status} is no failure; write statuses from 400 to 699"));
                } else if OF_THE_TRANSACTION.contains(status) {
                    let message = format!("{status} is about one request and not about the call; leave it");
                    faults.note(path, message);
                }
            }
        }
    }
}
