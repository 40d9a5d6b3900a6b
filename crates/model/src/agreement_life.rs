//! How far an agreement has come, and what each of the two can do about it.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::{Reason, Validity};

/// How far an agreement has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgreementState {
    /// Offered by the proposing member; the other has not answered.
    Proposed,
    /// Answered with other terms, by either of the two; the one that did not offer them has not answered.
    Countered,
    /// Accepted by both.
    Accepted,
    /// Accepted by both, and held up by one of them or both: nothing crosses until they resume it.
    Suspended,
    /// Notice was given: it is in force until its end.
    Ending,
    /// Turned down by the member that was asked last.
    Refused,
    /// Over: ended by one of the two.
    Ended,
}

impl AgreementState {
    /// Every state.
    pub const ALL: [Self; 7] = [
        Self::Proposed,
        Self::Countered,
        Self::Accepted,
        Self::Suspended,
        Self::Ending,
        Self::Refused,
        Self::Ended,
    ];

    /// Whether an agreement in this state lets calls cross, within its validity.
    pub fn lets_calls_cross(self) -> bool {
        matches!(self, Self::Accepted | Self::Ending)
    }

    /// Whether one of the two is to answer.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Proposed | Self::Countered)
    }

    /// Whether nothing comes after it.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Refused | Self::Ended)
    }
}

/// One of the two members of an agreement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Party {
    /// Who made the first offer.
    Proposing,
    /// Who was asked.
    Accepting,
}

/// What a member does about an agreement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgreementAction {
    /// It answers an offer with other terms.
    Counter,
    /// It takes an offer as it is.
    Accept,
    /// It turns an offer down.
    Refuse,
    /// It holds the agreement up.
    Suspend,
    /// It holds the agreement up no more.
    Resume,
    /// It takes its offer back, or ends the agreement with the notice that the terms ask for.
    End,
}

/// Most versions of the terms of one agreement.
pub const MAX_AGREEMENT_VERSIONS: u32 = 100;

/// Longest notice that terms can ask for.
pub const MAX_NOTICE_DAYS: u32 = 365;

/// How far an agreement has come, whose turn it is, and when it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AgreementLife {
    /// The state, as it was when somebody last did something; see [`AgreementLife::at`].
    pub state: AgreementState,
    /// Whose offer the terms are; the other one answers it.
    pub offered_by: Party,
    /// The how manieth offer the terms are, from 1.
    pub version: u32,
    /// Whether the proposing member holds it up.
    pub suspended_by_proposing: bool,
    /// Whether the accepting member holds it up.
    pub suspended_by_accepting: bool,
    /// When it holds; `None` until both have accepted, and where they never did.
    pub validity: Option<Validity>,
}

impl AgreementLife {
    /// The life of a proposal that has just been made.
    pub const PROPOSED: Self = Self {
        state: AgreementState::Proposed,
        offered_by: Party::Proposing,
        version: 1,
        suspended_by_proposing: false,
        suspended_by_accepting: false,
        validity: None,
    };

    /// The same at a time: what has reached its end meanwhile has ended.
    #[must_use]
    pub fn at(self, now: DateTime<Utc>) -> Self {
        let until = self.validity.and_then(|validity| validity.until);
        if self.state.is_final() || until.is_none_or(|until| now < until) {
            return self;
        }
        Self {
            state: AgreementState::Ended,
            suspended_by_proposing: false,
            suspended_by_accepting: false,
            ..self
        }
    }

    /// Whether one of the two holds it up.
    pub fn is_suspended_by(&self, party: Party) -> bool {
        match party {
            Party::Proposing => self.suspended_by_proposing,
            Party::Accepting => self.suspended_by_accepting,
        }
    }

    /// What becomes of it when one of the two acts, or why it cannot. `notice` is what the terms ask for.
    ///
    /// Who suspended an agreement resumes it, each for itself. A suspended one ends at once, as nothing crosses anyway.
    pub fn step(
        self,
        action: AgreementAction,
        by: Party,
        notice: TimeDelta,
        now: DateTime<Utc>,
    ) -> Result<Self, Reason> {
        use AgreementAction::{Accept, Counter, End, Refuse, Resume, Suspend};
        use AgreementState::{Accepted, Countered, Ended, Ending, Proposed, Refused, Suspended};
        let life = self.at(now);
        let is_asked = by != life.offered_by;
        match (life.state, action) {
            (Proposed | Countered, Counter | Accept | Refuse) if !is_asked => {
                Err(Reason::AgreementAwaitsOther)
            }
            (Proposed | Countered, Counter) if life.version >= MAX_AGREEMENT_VERSIONS => {
                Err(Reason::AgreementVersionsExceeded)
            }
            (Proposed | Countered, Counter) => {
                Ok(Self { state: Countered, offered_by: by, version: life.version + 1, ..life })
            }
            (Proposed | Countered, Accept) => {
                Ok(Self { state: Accepted, validity: Some(Validity { from: now, until: None }), ..life })
            }
            (Proposed | Countered, Refuse) => Ok(Self { state: Refused, ..life }),
            (Proposed | Countered, End) if is_asked => Err(Reason::AgreementAwaitsYou),
            (Proposed | Countered, End) => Ok(Self { state: Ended, ..life }),
            (Proposed | Countered, Suspend | Resume) => Err(Reason::AgreementNotAccepted),

            (Accepted | Suspended | Ending, Counter | Accept | Refuse) => Err(Reason::AgreementAccepted),
            (Accepted | Suspended | Ending, Suspend) => Ok(life.held_up(by, true)),
            (Accepted | Suspended | Ending, Resume) if !life.is_suspended_by(by) => {
                Err(Reason::AgreementNotSuspended)
            }
            (Accepted | Suspended | Ending, Resume) => Ok(life.held_up(by, false)),
            (Accepted, End) if notice > TimeDelta::zero() => Ok(life.until(now + notice, Ending)),
            (Accepted | Suspended, End) => Ok(life.until(now, Ended)),
            (Ending, End) => Err(Reason::AgreementEnding),

            (Refused | Ended, _) => Err(Reason::AgreementOver),
        }
    }

    fn held_up(mut self, by: Party, is_held_up: bool) -> Self {
        match by {
            Party::Proposing => self.suspended_by_proposing = is_held_up,
            Party::Accepting => self.suspended_by_accepting = is_held_up,
        }
        let has_end = self.validity.is_some_and(|validity| validity.until.is_some());
        self.state = match self.suspended_by_proposing || self.suspended_by_accepting {
            true => AgreementState::Suspended,
            false if has_end => AgreementState::Ending,
            false => AgreementState::Accepted,
        };
        self
    }

    fn until(self, until: DateTime<Utc>, state: AgreementState) -> Self {
        let validity = self.validity.map(|validity| Validity { until: Some(until), ..validity });
        Self { state, suspended_by_proposing: false, suspended_by_accepting: false, validity, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use AgreementAction::{Accept, Counter, End, Refuse, Resume, Suspend};
    use AgreementState::{Accepted, Countered, Ended, Ending, Proposed, Refused, Suspended};
    use Party::{Accepting, Proposing};

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    /// What becomes of a proposal when these act, a second after each other.
    fn life(steps: &[(AgreementAction, Party)], notice_s: i64) -> Result<AgreementLife, Reason> {
        let steps = steps.iter().zip(1..);
        steps.into_iter().try_fold(AgreementLife::PROPOSED, |life, (&(action, by), second)| {
            life.step(action, by, TimeDelta::seconds(notice_s), at(second))
        })
    }

    fn state(steps: &[(AgreementAction, Party)]) -> Result<AgreementState, Reason> {
        life(steps, 0).map(|life| life.state)
    }

    #[test]
    fn an_offer_is_answered_by_the_one_that_did_not_make_it() {
        for action in [Counter, Accept, Refuse] {
            assert_eq!(state(&[(action, Proposing)]), Err(Reason::AgreementAwaitsOther));
            assert_eq!(
                state(&[(Counter, Accepting), (action, Accepting)]),
                Err(Reason::AgreementAwaitsOther)
            );
        }
        assert_eq!(state(&[(Accept, Accepting)]), Ok(Accepted));
        assert_eq!(state(&[(Refuse, Accepting)]), Ok(Refused));
        assert_eq!(state(&[(End, Accepting)]), Err(Reason::AgreementAwaitsYou));
        assert_eq!(state(&[(End, Proposing)]), Ok(Ended));
        assert_eq!(state(&[(Counter, Accepting)]), Ok(Countered));
        assert_eq!(state(&[(Counter, Accepting), (Accept, Proposing)]), Ok(Accepted));
        assert_eq!(state(&[(Counter, Accepting), (End, Accepting)]), Ok(Ended));
        let twice = life(&[(Counter, Accepting), (Counter, Proposing)], 0).unwrap();
        assert_eq!((twice.state, twice.offered_by, twice.version), (Countered, Proposing, 3));
        assert_eq!(twice.validity, None);
    }

    #[test]
    fn each_resumes_what_it_suspended_itself() {
        let both = [(Accept, Accepting), (Suspend, Proposing), (Suspend, Accepting)];
        assert_eq!(state(&both), Ok(Suspended));
        assert_eq!(state(&[&both[..], &[(Resume, Proposing)]].concat()), Ok(Suspended));
        assert_eq!(state(&[&both[..], &[(Resume, Proposing), (Resume, Accepting)]].concat()), Ok(Accepted));
        assert_eq!(
            state(&[(Accept, Accepting), (Suspend, Proposing), (Resume, Accepting)]),
            Err(Reason::AgreementNotSuspended)
        );
        assert_eq!(state(&[(Suspend, Proposing)]), Err(Reason::AgreementNotAccepted));
    }

    #[test]
    fn notice_lets_it_hold_until_its_end_and_a_suspended_one_ends_at_once() {
        let ending = life(&[(Accept, Accepting), (End, Proposing)], 60).unwrap();
        assert_eq!(ending.state, Ending);
        assert_eq!(ending.validity, Some(Validity { from: at(1), until: Some(at(62)) }));
        assert_eq!([61, 62].map(|s| ending.at(at(s)).state), [Ending, Ended]);
        let held_up = life(&[(Accept, Accepting), (End, Proposing), (Suspend, Accepting)], 60).unwrap();
        assert_eq!(held_up.state, Suspended);
        assert_eq!(held_up.at(at(62)).state, Ended);
        let again = held_up.step(Resume, Accepting, TimeDelta::zero(), at(9)).unwrap();
        assert_eq!((again.state, again.validity), (Ending, ending.validity));
        assert_eq!(
            life(&[(Accept, Accepting), (End, Proposing), (End, Accepting)], 60),
            Err(Reason::AgreementEnding)
        );
        let ended = life(&[(Accept, Accepting), (Suspend, Proposing), (End, Accepting)], 60).unwrap();
        assert_eq!((ended.state, ended.validity.unwrap().until), (Ended, Some(at(3))));
        assert!(!ended.suspended_by_proposing);
    }

    #[test]
    fn nothing_is_done_about_what_is_over_or_answered_already() {
        for action in [Counter, Accept, Refuse, Suspend, Resume, End] {
            for by in [Proposing, Accepting] {
                assert_eq!(state(&[(Refuse, Accepting), (action, by)]), Err(Reason::AgreementOver));
                assert_eq!(
                    state(&[(Accept, Accepting), (End, Accepting), (action, by)]),
                    Err(Reason::AgreementOver)
                );
            }
        }
        for action in [Counter, Accept, Refuse] {
            assert_eq!(state(&[(Accept, Accepting), (action, Accepting)]), Err(Reason::AgreementAccepted));
        }
        assert_eq!(AgreementState::ALL.iter().filter(|state| state.is_final()).count(), 2);
        assert!(Proposed.is_open() && Ending.lets_calls_cross() && !Suspended.lets_calls_cross());
    }

    #[test]
    fn terms_are_offered_a_hundred_times_at_most() {
        let mut life = AgreementLife::PROPOSED;
        for version in 2..=MAX_AGREEMENT_VERSIONS {
            let by = if version % 2 == 0 { Accepting } else { Proposing };
            life = life.step(Counter, by, TimeDelta::zero(), at(0)).unwrap();
        }
        let more = life.step(Counter, Proposing, TimeDelta::zero(), at(0));
        assert_eq!(more, Err(Reason::AgreementVersionsExceeded));
    }
}
