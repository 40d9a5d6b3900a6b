//! What was measured of the calls: how many went how, and how long things took.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Counts, and times in nanoseconds.
#[derive(Default)]
pub(crate) struct Figures {
    pub(crate) placed: u64,
    pub(crate) completed: u64,
    pub(crate) failed: u64,
    pub(crate) retransmitted: u64,
    pub(crate) up: u64,
    /// Answers that came after their call had ended.
    pub(crate) late: u64,
    /// Calls for which no index was free: the load was less than asked for.
    pub(crate) unplaced: u64,
    pub(crate) most_behind: i64,
    pub(crate) refusals: BTreeMap<u16, u64>,
    pub(crate) invite_transit: Vec<i64>,
    pub(crate) ringing_transit: Vec<i64>,
    pub(crate) setup: Vec<i64>,
    pub(crate) answer_transit: Vec<i64>,
    pub(crate) bye_round_trip: Vec<i64>,
}

impl Figures {
    /// All of it, after calls were placed for `placing_ns`.
    pub(crate) fn result(mut self, placing_ns: i64) -> Value {
        let placing_s = (placing_ns as f64 / 1e9).max(1e-9);
        let refusals: serde_json::Map<String, Value> =
            self.refusals.iter().map(|(status, count)| (status.to_string(), json!(count))).collect();
        json!({
            "placed": self.placed,
            "completed": self.completed,
            "failed": self.failed,
            "retransmitted": self.retransmitted,
            "unfinished": self.up,
            "late": self.late,
            "unplaced": self.unplaced,
            "refusals": refusals,
            "calls_per_second": self.placed as f64 / placing_s,
            "most_behind_us": self.most_behind / 1_000,
            "invite_transit_us": percentiles(&mut self.invite_transit),
            "ringing_transit_us": percentiles(&mut self.ringing_transit),
            "invite_to_180_us": percentiles(&mut self.setup),
            "answer_transit_us": percentiles(&mut self.answer_transit),
            "bye_round_trip_us": percentiles(&mut self.bye_round_trip),
        })
    }
}

/// How long things took, in microseconds.
fn percentiles(nanos: &mut [i64]) -> Value {
    nanos.sort_unstable();
    let at = |share: f64| {
        let index = (nanos.len() as f64 * share) as usize;
        nanos.get(index.min(nanos.len().saturating_sub(1))).map(|nanos| nanos / 1_000)
    };
    json!({ "count": nanos.len(), "p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "p999": at(0.999), "max": at(1.0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_sorted_values_in_microseconds() {
        let mut nanos: Vec<i64> = (1..=1_000).rev().map(|us| us * 1_000).collect();
        let found = percentiles(&mut nanos);
        assert_eq!((&found["p50"], &found["p99"], &found["max"]), (&json!(501), &json!(991), &json!(1_000)));
        assert_eq!(percentiles(&mut [])["p50"], Value::Null);
    }
}
