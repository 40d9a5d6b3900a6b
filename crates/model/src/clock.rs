//! The source of time, an argument of whatever needs one.

use std::time::Instant;

use chrono::{DateTime, Utc};

/// Tells the time. The binary has the real one; tests have one that they move.
pub trait Clock: Send + Sync + 'static {
    /// Wall-clock time, for what people and databases read. It may step.
    fn now(&self) -> DateTime<Utc>;

    /// Monotonic time, for timers and durations. It never goes back.
    fn instant(&self) -> Instant;
}
