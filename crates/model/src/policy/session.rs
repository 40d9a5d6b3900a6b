//! What holds for the calls of an endpoint while they are set up and up: session timers (RFC 4028), how long it may ring,
//! and whether what sounds before the answer is passed on.

use serde::{Deserialize, Serialize};

use super::Faults;

/// The shortest session interval that may be set, and the default of Min-SE (RFC 4028 §5).
const SHORTEST_S: u32 = 90;

/// The longest session interval that may be set.
const LONGEST_S: u32 = 86_400;

/// The shortest and the longest time to ring that may be set.
const RINGING_S: std::ops::RangeInclusive<u32> = 5..=600;

/// The policy for an endpoint's sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SessionPolicy {
    /// Whether its calls have session timers.
    pub timer: SessionTimer,
    /// The session interval, where the endpoint asks for none that is shorter: a call whose end has vanished is up for
    /// at most so long.
    pub session_expires_s: u32,
    /// The shortest session interval that the endpoint may ask for.
    pub min_se_s: u32,
    /// How long the endpoint may ring, from the INVITE to the answer; as long as the node says where it is left out.
    pub ring_timeout_s: Option<u32>,
    /// Whether media before the answer is passed on, to the endpoint and from it.
    pub early_media: EarlyMedia,
    /// What becomes of a call that the endpoint redirects.
    pub redirect: Redirect,
}

/// Whether the hub has a session timer on an endpoint's leg of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionTimer {
    /// It asks for one, and where the endpoint has none it asks the endpoint now and then whether the call is up.
    #[default]
    Ask,
    /// It has one where the endpoint asks for it.
    Accept,
    /// It has none, and does not say that it knows of them.
    Off,
}

/// Whether media before the answer crosses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EarlyMedia {
    /// Every provisional response crosses as it is.
    #[default]
    Pass,
    /// A provisional response with a session description becomes 180 without one, unless it is sent reliably
    /// (RFC 3262): then it is a part of offer and answer, and crosses.
    Block,
}

/// What becomes of a call to which an endpoint answers 3xx (RFC 3261 §21.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Redirect {
    /// The endpoint cannot take it: the next one is tried.
    #[default]
    Refuse,
    /// The number in its Contact is called instead, as if the originating member had called that: under its
    /// agreements. Where Contact has no number of the exchange the call is refused.
    Follow,
}

impl Default for SessionPolicy {
    fn default() -> Self {
        Self {
            timer: SessionTimer::Ask,
            session_expires_s: 1_800,
            min_se_s: SHORTEST_S,
            ring_timeout_s: None,
            early_media: EarlyMedia::Pass,
            redirect: Redirect::Refuse,
        }
    }
}

impl SessionPolicy {
    pub(super) fn judge(&self, faults: &mut Faults) {
        if !(SHORTEST_S..=LONGEST_S).contains(&self.session_expires_s) {
            faults.note("session.session_expires_s", format!("write {SHORTEST_S} to {LONGEST_S} seconds"));
        } else if !(SHORTEST_S..=self.session_expires_s).contains(&self.min_se_s) {
            let most = self.session_expires_s;
            let message =
                format!("write {SHORTEST_S} seconds to the session interval, which is {most} seconds");
            faults.note("session.min_se_s", message);
        }
        if self.ring_timeout_s.is_some_and(|it| !RINGING_S.contains(&it)) {
            let (least, most) = RINGING_S.into_inner();
            faults.note("session.ring_timeout_s", format!("write {least} to {most} seconds, or null"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_as_usual_and_what_is_wrong_is_explained() {
        let usual = SessionPolicy::default();
        assert_eq!(serde_json::from_str::<SessionPolicy>("{}").unwrap(), usual);
        let written = serde_json::to_string(&usual).unwrap();
        assert_eq!(serde_json::from_str::<SessionPolicy>(&written).unwrap(), usual);
        let read = |json: &str| serde_json::from_str::<SessionPolicy>(json);
        let hour = read(
            r#"{ "timer": "accept", "session_expires_s": 3600, "min_se_s": 600, "ring_timeout_s": 30 }"#,
        );
        let hour = hour.unwrap();
        assert_eq!((hour.timer, hour.min_se_s, hour.ring_timeout_s), (SessionTimer::Accept, 600, Some(30)));
        for (json, why) in [
            (r#"{ "early_media": "some" }"#, "unknown variant `some`"),
            (r#"{ "redirect": "ask" }"#, "unknown variant `ask`"),
            (r#"{ "refer": true }"#, "unknown field `refer`"),
        ] {
            let error = read(json).unwrap_err().to_string();
            assert!(error.starts_with(why), "{json}: {error}");
        }
        for (json, path, why) in [
            (r#"{ "session_expires_s": 89 }"#, "session_expires_s", "write 90 to 86400 seconds"),
            (r#"{ "session_expires_s": 86401 }"#, "session_expires_s", "write 90 to 86400 seconds"),
            (
                r#"{ "min_se_s": 1801 }"#,
                "min_se_s",
                "write 90 seconds to the session interval, which is 1800 seconds",
            ),
            (
                r#"{ "min_se_s": 30, "session_expires_s": 90 }"#,
                "min_se_s",
                "write 90 seconds to the session interval, which is 90 seconds",
            ),
            (r#"{ "ring_timeout_s": 0 }"#, "ring_timeout_s", "write 5 to 600 seconds, or null"),
        ] {
            let mut faults = Faults::default();
            read(json).unwrap().judge(&mut faults);
            let faults: Vec<_> = faults.0.iter().map(|fault| (&*fault.path, &*fault.message)).collect();
            assert_eq!(faults, [(&*format!("session.{path}"), why)], "{json}");
        }
    }
}
