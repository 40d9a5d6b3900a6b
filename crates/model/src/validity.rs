//! When a fact holds: a half-open interval of UTC.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// `[from, until)`: the start belongs to it, the end does not; no end means until further notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validity {
    /// The first instant.
    pub from: DateTime<Utc>,
    /// The first instant after it, where there is one.
    pub until: Option<DateTime<Utc>>,
}

impl Validity {
    /// Whether `at` lies in it.
    pub fn contains(&self, at: DateTime<Utc>) -> bool {
        self.from <= at && self.until.is_none_or(|until| at < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_belongs_to_it_and_the_end_does_not() {
        let at = |s| DateTime::from_timestamp(s, 0).unwrap();
        let hour = Validity { from: at(0), until: Some(at(3600)) };
        assert!(hour.contains(at(0)) && hour.contains(at(3599)));
        assert!(!hour.contains(at(3600)) && !hour.contains(at(-1)));
        assert!(Validity { from: at(0), until: None }.contains(at(i64::from(u32::MAX))));
    }
}
