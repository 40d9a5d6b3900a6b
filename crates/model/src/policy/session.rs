//! What holds for the calls of an endpoint while they are set up and up: session timers (RFC 4028), how long it may ring,
//! and whether what sounds before the answer is passed on.

use serde::{Deserialize, Serialize};

/// The shortest session interval that may be set, and the default of Min-SE (RFC 4028 §5).
const SHORTEST_S: u32 = 90;

/// The longest session interval that may be set.
const LONGEST_S: u32 = 86_400;

/// The shortest and the longest time to ring that may be set.
const RINGING_S: std::ops::RangeInclusive<u32> = 5..=600;

/// The policy for an endpoint's sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Said")]
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

/// The policy as it is written, before it is judged.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Said {
    timer: SessionTimer,
    session_expires_s: u32,
    min_se_s: u32,
    ring_timeout_s: Option<u32>,
    early_media: EarlyMedia,
    redirect: Redirect,
}

impl Default for Said {
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

impl TryFrom<Said> for SessionPolicy {
    type Error = String;

    fn try_from(said: Said) -> Result<Self, String> {
        let Said { timer, session_expires_s, min_se_s, ring_timeout_s, early_media, redirect } = said;
        if !(SHORTEST_S..=LONGEST_S).contains(&session_expires_s) {
            return Err(format!(
                "session_expires_s is {session_expires_s}; write {SHORTEST_S} to {LONGEST_S} seconds"
            ));
        }
        if !(SHORTEST_S..=session_expires_s).contains(&min_se_s) {
            return Err(format!(
                "min_se_s is {min_se_s}; write {SHORTEST_S} seconds to the session_expires_s"
            ));
        }
        if let Some(ring_timeout_s) = ring_timeout_s.filter(|it| !RINGING_S.contains(it)) {
            let (least, most) = RINGING_S.into_inner();
            return Err(format!("ring_timeout_s is {ring_timeout_s}; write {least} to {most} seconds"));
        }
        Ok(Self { timer, session_expires_s, min_se_s, ring_timeout_s, early_media, redirect })
    }
}

impl Default for SessionPolicy {
    fn default() -> Self {
        Self::try_from(Said::default()).expect("the usual policy is a policy")
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
        let wrong = [
            (r#"{ "session_expires_s": 89 }"#, "session_expires_s is 89; write 90 to 86400 seconds"),
            (r#"{ "session_expires_s": 86401 }"#, "session_expires_s is 86401"),
            (r#"{ "min_se_s": 1801 }"#, "min_se_s is 1801; write 90 seconds to the session_expires_s"),
            (r#"{ "min_se_s": 30 }"#, "min_se_s is 30"),
            (r#"{ "ring_timeout_s": 0 }"#, "ring_timeout_s is 0; write 5 to 600 seconds"),
            (r#"{ "early_media": "some" }"#, "unknown variant `some`"),
            (r#"{ "redirect": "ask" }"#, "unknown variant `ask`"),
            (r#"{ "refer": true }"#, "unknown field `refer`"),
        ];
        for (json, why) in wrong {
            let error = read(json).unwrap_err().to_string();
            assert!(error.starts_with(why), "{json}: {error}");
        }
    }
}
