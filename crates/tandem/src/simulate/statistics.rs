//! What came of the simulated calls, in numbers and lines.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Words of the outcomes, in the order in which they are shown.
const OUTCOMES: [&str; 6] = ["answered", "busy", "no answer", "rejected", "cancelled", "refused"];

/// Counts since the start, and times since the last line.
#[derive(Debug, Default)]
pub(crate) struct Statistics {
    /// Calls placed.
    pub(crate) placed: u64,
    /// Calls that are over, by outcome.
    pub(crate) over: BTreeMap<&'static str, u64>,
    /// Messages sent again.
    pub(crate) retransmitted: u64,
    /// Things that must not happen.
    pub(crate) unexpected: u64,
    /// What the hub added to the time until the caller's first response above 100.
    added: Vec<Duration>,
}

impl Statistics {
    /// Notes what the hub added to the setup of one call.
    pub(crate) fn add_setup(&mut self, added: Duration) {
        self.added.push(added);
    }

    /// One line about everything so far, and the setup times since the last line.
    pub(crate) fn line(&mut self, open: usize) -> String {
        self.added.sort_unstable();
        let line = format!("{self}, {open} going on{}", shown(&self.added));
        self.added.clear();
        line
    }
}

/// Median and 99th percentile of sorted times.
fn shown(sorted: &[Duration]) -> String {
    let at = |percent: usize| sorted.get((sorted.len().saturating_sub(1) * percent).div_ceil(100));
    match (at(50), at(99)) {
        (Some(median), Some(high)) => {
            let ms = |time: &Duration| time.as_secs_f64() * 1000.0;
            format!(", setup +{:.1} ms (p99 {:.1})", ms(median), ms(high))
        }
        _ => String::new(),
    }
}

impl fmt::Display for Statistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} placed", self.placed)?;
        for outcome in OUTCOMES {
            write!(f, ", {} {outcome}", self.over.get(outcome).unwrap_or(&0))?;
        }
        write!(f, ", {} retransmitted, {} unexpected", self.retransmitted, self.unexpected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_everything_and_forgets_the_times() {
        let mut statistics = Statistics { placed: 3, ..Statistics::default() };
        statistics.over.insert("busy", 2);
        (1..=100).for_each(|ms| statistics.add_setup(Duration::from_millis(ms)));
        assert_eq!(
            statistics.line(1),
            "3 placed, 0 answered, 2 busy, 0 no answer, 0 rejected, 0 cancelled, 0 refused, 0 retransmitted, \
             0 unexpected, 1 going on, setup +51.0 ms (p99 100.0)"
        );
        assert!(statistics.line(0).ends_with("0 going on"));
    }
}
