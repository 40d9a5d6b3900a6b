//! How large an INVITE an endpoint takes, and what becomes of a larger one.

use serde::{Deserialize, Serialize};

use super::Faults;

/// Size of a request, for one endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SizePolicy {
    /// Octets of the largest INVITE that it takes; for a larger one another endpoint is tried. None but the hub's own
    /// bound where it is null.
    pub max_bytes: Option<u32>,
    /// Octets beyond which a request goes by TCP although its target says UDP, as long as it takes a connection: 1300 by
    /// RFC 3261 §18.1.1. Never where it is null.
    pub tcp_above_bytes: Option<u32>,
}

/// Bounds that make sense: an ordinary INVITE fits the first, and no datagram is larger than the second.
const MIN_BYTES: u32 = 1_000;
const MAX_BYTES: u32 = 65_535;

impl Default for SizePolicy {
    fn default() -> Self {
        Self { max_bytes: None, tcp_above_bytes: Some(1_300) }
    }
}

impl SizePolicy {
    /// Whether the endpoint takes an INVITE of so many octets.
    pub fn takes(&self, octets: usize) -> bool {
        self.max_bytes.is_none_or(|most| octets <= most as usize)
    }

    /// Whether a request of so many octets is too large for a datagram to it.
    pub fn wants_tcp(&self, octets: usize) -> bool {
        self.tcp_above_bytes.is_some_and(|most| octets > most as usize)
    }

    pub(super) fn judge(&self, faults: &mut Faults) {
        for (name, bytes) in [("max_bytes", self.max_bytes), ("tcp_above_bytes", self.tcp_above_bytes)] {
            if bytes.is_some_and(|bytes| !(MIN_BYTES..=MAX_BYTES).contains(&bytes)) {
                let message = format!("write a number from {MIN_BYTES} to {MAX_BYTES}, or null");
                faults.note(format!("size.{name}"), message);
            }
        }
    }
}
