//! How an endpoint fares as a node of the hub sees it, and the signs from which that follows.

use serde::{Deserialize, Serialize};

/// Whether an endpoint is fit to be given calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndpointState {
    /// Nothing good or decisive has been heard of it: it takes calls.
    Unknown,
    /// It takes calls.
    Up,
    /// It has come back and takes a growing share of its calls.
    Ramping,
    /// It takes calls only where no other endpoint can.
    Down,
}

impl EndpointState {
    /// Every state, for metrics that begin at 0.
    pub const ALL: [Self; 4] = [Self::Unknown, Self::Up, Self::Ramping, Self::Down];

    /// As in JSON, SQL and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Ramping => "ramping",
            Self::Down => "down",
        }
    }
}

/// What was heard of an endpoint, or not heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthSign {
    /// It answered a probe: whatever it said, it is there.
    ProbeAnswered,
    /// A probe got no answer in time, or could not be sent.
    ProbeUnanswered,
    /// It answered a probe with 408 or 503: it is there and cannot.
    ProbeRefused,
    /// It took an INVITE: it rang, answered, or gave the called party's own no.
    CallTaken,
    /// An INVITE got no answer in time, or could not be sent.
    CallUnanswered,
    /// It answered an INVITE with 408 or 503.
    CallRefused,
    /// It asked by Retry-After to be left alone for a while (RFC 3261 §21.5.4).
    RetryAfter,
    /// It has kept well for as long as the next step of its share takes.
    TimePassed,
}

impl HealthSign {
    /// As in JSON and SQL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ProbeAnswered => "probe_answered",
            Self::ProbeUnanswered => "probe_unanswered",
            Self::ProbeRefused => "probe_refused",
            Self::CallTaken => "call_taken",
            Self::CallUnanswered => "call_unanswered",
            Self::CallRefused => "call_refused",
            Self::RetryAfter => "retry_after",
            Self::TimePassed => "time_passed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_the_same_in_sql_and_json() {
        for state in EndpointState::ALL {
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
        for sign in [
            HealthSign::ProbeAnswered,
            HealthSign::ProbeUnanswered,
            HealthSign::ProbeRefused,
            HealthSign::CallTaken,
            HealthSign::CallUnanswered,
            HealthSign::CallRefused,
            HealthSign::RetryAfter,
            HealthSign::TimePassed,
        ] {
            assert_eq!(serde_json::to_value(sign).unwrap(), sign.as_str());
        }
    }
}
