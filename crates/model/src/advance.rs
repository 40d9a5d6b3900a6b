//! On which failures of an attempt a call goes on to its next candidate, where two members agreed on a list.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// The final responses to an attempt after which the next candidate is tried, instead of the hub's own rule. It is
/// tried when one of the two lists has what the response says; with both empty no response leads to another attempt.
///
/// A candidate that says nothing, or cannot be reached, is passed over whatever the lists have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Said")]
pub struct AdvanceOn {
    /// Status codes of SIP, 300 to 699 (RFC 3261 §21).
    pub statuses: BTreeSet<u16>,
    /// Cause values of ITU-T Q.850, 1 to 127, as the Reason header field of the response gives them (RFC 3326).
    pub causes: BTreeSet<u8>,
}

/// The lists as they are written, before they are judged.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Said {
    statuses: BTreeSet<u16>,
    causes: BTreeSet<u16>,
}

/// What 487 says is that the hub itself gave the attempt up (RFC 3261 §15.1.2).
const TERMINATED: u16 = 487;

impl AdvanceOn {
    /// The lists, or what is wrong with them and what to write.
    pub fn new(statuses: BTreeSet<u16>, causes: BTreeSet<u16>) -> Result<Self, String> {
        if let Some(status) = statuses.iter().find(|status| !(300..=699).contains(*status)) {
            return Err(format!("statuses: {status} is no failure; write statuses from 300 to 699"));
        }
        if statuses.contains(&TERMINATED) {
            return Err(
                "statuses: 487 answers a cancelled call, which goes nowhere else; leave it out".into()
            );
        }
        if let Some(cause) = causes.iter().find(|cause| !(1..=127).contains(*cause)) {
            return Err(format!("causes: {cause} is no cause of Q.850; write causes from 1 to 127"));
        }
        Ok(Self { statuses, causes: causes.into_iter().map(|cause| cause as u8).collect() })
    }

    /// Whether the next candidate is tried after a final response with this status and, where it says one, this
    /// Q.850 cause.
    pub fn includes(&self, status: u16, cause: Option<u8>) -> bool {
        self.statuses.contains(&status) || cause.is_some_and(|cause| self.causes.contains(&cause))
    }
}

impl TryFrom<Said> for AdvanceOn {
    type Error = String;

    fn try_from(Said { statuses, causes }: Said) -> Result<Self, String> {
        Self::new(statuses, causes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_or_a_cause_on_the_list_is_enough() {
        let list: AdvanceOn = serde_json::from_str(r#"{ "statuses": [503, 486], "causes": [34] }"#).unwrap();
        let table = [
            ((503, None), true),
            ((486, Some(17)), true),
            ((500, Some(34)), true),
            ((500, Some(41)), false),
            ((500, None), false),
        ];
        for ((status, cause), advances) in table {
            assert_eq!(list.includes(status, cause), advances, "{status} {cause:?}");
        }
        let none: AdvanceOn = serde_json::from_str("{}").unwrap();
        assert!(!none.includes(503, Some(34)));
    }

    #[test]
    fn what_is_no_failure_is_refused_with_what_to_write() {
        for (json, says) in [
            (r#"{ "statuses": [200] }"#, "statuses: 200 is no failure; write statuses from 300 to 699"),
            (r#"{ "statuses": [700] }"#, "statuses: 700 is no failure"),
            (r#"{ "statuses": [487] }"#, "statuses: 487 answers a cancelled call"),
            (r#"{ "causes": [0] }"#, "causes: 0 is no cause of Q.850; write causes from 1 to 127"),
            (r#"{ "causes": [128] }"#, "causes: 128 is no cause"),
            (r#"{ "codes": [1] }"#, "unknown field `codes`"),
        ] {
            let error = serde_json::from_str::<AdvanceOn>(json).unwrap_err().to_string();
            assert!(error.starts_with(says), "{json}: {error}");
        }
    }
}
