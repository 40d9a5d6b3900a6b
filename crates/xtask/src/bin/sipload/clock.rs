//! The clock of the measurements.

use std::time::{SystemTime, UNIX_EPOCH};

/// Nanoseconds since 1970: the clock of the kernel's stamps.
#[expect(clippy::disallowed_methods, reason = "a measurement reads the machine's clock")]
pub(crate) fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as i64)
}
