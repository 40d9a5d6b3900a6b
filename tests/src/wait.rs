//! Waiting for something to become true, with a deadline instead of a guess.

use std::thread::sleep;
use std::time::{Duration, Instant};

/// How often a condition is asked.
const STEP: Duration = Duration::from_millis(20);

/// The machine's monotonic clock: scenarios run in real time.
#[expect(
    clippy::disallowed_methods,
    reason = "the peers of a scenario are programs, whose time cannot be chosen"
)]
pub fn now() -> Instant {
    Instant::now()
}

/// Asks `condition` until it gives a value; panics, naming `what`, when the deadline has passed.
pub fn until<T>(what: &str, deadline: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let started = now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(started.elapsed() < deadline, "waited {:.1} s for {what}", deadline.as_secs_f64());
        sleep(STEP);
    }
}
