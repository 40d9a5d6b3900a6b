//! How the hub watches an endpoint: how often it probes, and how many signs it takes to believe one.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

/// How an endpoint is watched. What calls show of it counts in any case; probes are for the time between calls.
///
/// An endpoint goes *down* after `fall` bad signs in a row and comes back after `rise` good ones. Bad are a probe
/// or an INVITE without an answer, and 408 or 503 to either. An endpoint that has never answered a probe, but whose
/// last call got through, is not down because probes go unanswered: some switches take calls and drop OPTIONS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProbePolicy {
    /// Whether the hub sends OPTIONS to the endpoint (RFC 3261 §11).
    pub enabled: bool,
    /// Time between two probes, in seconds; a call that gets through takes the place of one.
    #[serde(deserialize_with = "bounded::<_, _, 1, 3_600>")]
    pub interval_s: u16,
    /// How long a probe waits for its answer, in milliseconds.
    #[serde(deserialize_with = "bounded::<_, _, 200, 32_000>")]
    pub timeout_ms: u16,
    /// Bad signs in a row that take the endpoint out of use.
    #[serde(deserialize_with = "bounded::<_, _, 1, 10>")]
    pub fall: u8,
    /// Good signs in a row that bring it back.
    #[serde(deserialize_with = "bounded::<_, _, 1, 10>")]
    pub rise: u8,
    /// How long it takes a growing share of its calls once it is back, in seconds; 0 for all of them at once.
    #[serde(deserialize_with = "bounded::<_, _, 0, 600>")]
    pub ramp_s: u16,
    /// Longest Retry-After that is believed, in seconds; 0 to take no notice of it.
    #[serde(deserialize_with = "bounded::<_, _, 0, 3_600>")]
    pub max_retry_after_s: u16,
    /// Whether every 5xx is a bad sign, not only 503.
    pub server_errors: bool,
}

impl Default for ProbePolicy {
    fn default() -> Self {
        Self {
            enabled: true,
            interval_s: 30,
            timeout_ms: 2_000,
            fall: 3,
            rise: 2,
            ramp_s: 20,
            max_retry_after_s: 60,
            server_errors: false,
        }
    }
}

/// A number between two bounds, both of them allowed.
fn bounded<'de, D, T, const LEAST: u32, const MOST: u32>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<u32>,
{
    let number = u32::deserialize(deserializer)?;
    let fits = T::try_from(number).ok().filter(|_| (LEAST..=MOST).contains(&number));
    fits.ok_or_else(|| D::Error::custom(format!("{number} is out of bounds; write {LEAST} to {MOST}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<ProbePolicy, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn the_usual_policy_is_within_its_bounds() {
        let usual = ProbePolicy::default();
        assert_eq!(read(&serde_json::to_string(&usual).unwrap()), Ok(usual));
    }

    #[test]
    fn what_is_left_out_is_as_usual_and_what_cannot_be_says_what_to_write() {
        assert_eq!(
            read(r#"{"interval_s": 3600, "ramp_s": 0}"#),
            Ok(ProbePolicy { interval_s: 3_600, ramp_s: 0, ..ProbePolicy::default() })
        );
        for (text, says) in [
            (r#"{"interval_s": 0}"#, "0 is out of bounds; write 1 to 3600"),
            (r#"{"interval_s": 70000}"#, "70000 is out of bounds; write 1 to 3600"),
            (r#"{"rise": 11}"#, "11 is out of bounds; write 1 to 10"),
            (r#"{"fall": 0}"#, "0 is out of bounds; write 1 to 10"),
            (r#"{"timeout_ms": 100}"#, "100 is out of bounds; write 200 to 32000"),
            (r#"{"intervall_s": 5}"#, "unknown field `intervall_s`"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
