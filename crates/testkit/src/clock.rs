//! A clock that stands still until a test moves it.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use tandem_model::Clock;

/// A clock that stands still until it is moved. Its clones are the same clock.
#[derive(Clone, Debug)]
pub struct ManualClock {
    times: Arc<Mutex<Times>>,
}

#[derive(Clone, Copy, Debug)]
struct Times {
    wall: DateTime<Utc>,
    instant: Instant,
}

impl ManualClock {
    /// A clock that stands at the beginning of 2030, in UTC.
    pub fn new() -> Self {
        Self::at("2030-01-01T00:00:00Z".parse().expect("it is a time"))
    }

    /// A clock that stands at `wall`.
    #[allow(clippy::disallowed_methods)] // No other way leads to an `Instant`, and no test sees which one it is.
    pub fn at(wall: DateTime<Utc>) -> Self {
        Self { times: Arc::new(Mutex::new(Times { wall, instant: Instant::now() })) }
    }

    /// Lets time pass.
    pub fn advance(&self, time: Duration) {
        let mut times = self.times();
        times.instant += time;
        times.wall += time;
    }

    /// Sets the wall clock forward or back, as an operator or NTP does. No time passes.
    pub fn step(&self, by: TimeDelta) {
        self.times().wall += by;
    }

    fn times(&self) -> std::sync::MutexGuard<'_, Times> {
        self.times.lock().expect("no test panics while it moves the clock")
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> DateTime<Utc> {
        self.times().wall
    }

    fn instant(&self) -> Instant {
        self.times().instant
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_passes_only_when_it_is_told_to() {
        let clock = ManualClock::new();
        let (wall, instant) = (clock.now(), clock.instant());
        clock.clone().advance(Duration::from_secs(32));
        assert_eq!(clock.now() - wall, TimeDelta::seconds(32));
        assert_eq!(clock.instant() - instant, Duration::from_secs(32));
    }

    #[test]
    fn a_step_of_the_wall_clock_lets_no_time_pass() {
        let clock = ManualClock::new();
        let (wall, instant) = (clock.now(), clock.instant());
        clock.step(TimeDelta::hours(-1));
        assert_eq!(clock.now() - wall, TimeDelta::hours(-1));
        assert_eq!(clock.instant(), instant);
    }
}
