//! Offers to carry calls onward, and what agreements ask of them.

use serde::{Deserialize, Serialize};

use crate::{AnnouncementId, CallLimits, EndpointId, MemberId, Rate, RateDeckId, Reason, Tag, Validity};

/// A member's offer to carry calls to numbers that it does not hold, at the rates of a deck: what has a rate is offered.
///
/// Nobody's authority over numbers is asked of it; that the operator permits it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransitOffer {
    /// Its id; a call that goes by it names it as its announcement.
    pub announcement_id: AnnouncementId,
    /// Who offers.
    pub member_id: MemberId,
    /// What it costs.
    pub rate_deck: RateDeckId,
    /// The endpoints of the member that take the calls.
    pub endpoints: Vec<EndpointId>,
    /// When it holds; withdrawing ends it.
    pub validity: Validity,
    /// Whether the operator lets the member offer it.
    pub is_permitted: bool,
    /// Among offers of the same rate the operator prefers the lower one.
    pub preference: u16,
    /// The most that the member takes by it, over all its endpoints.
    pub limits: CallLimits,
    /// What the member promises of it, sorted; agreements may demand it.
    pub tags: Vec<Tag>,
    /// How its calls went lately; `None` where too few were tried to tell.
    pub quality: Option<Quality>,
}

/// How calls that were sent somewhere went, in the terms of ITU-T E.425 and E.431; in steps, so that it changes seldom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quality {
    /// Answer-seizure ratio: of 100 attempts so many were answered.
    pub asr_percent: u8,
    /// Network effectiveness ratio: of 100 so many reached the called party, whatever that did.
    pub ner_percent: u8,
    /// Post-dial delay: the median time until it rang, in milliseconds.
    pub pdd_ms: u32,
}

/// How calls that were sent somewhere went, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// INVITEs that were sent, and are over.
    pub attempts: u32,
    /// Of them, those that were answered.
    pub answered: u32,
    /// Of them, those that reached the called party: answered, busy, unanswered, declined or given up by the caller.
    pub reached: u32,
    /// The median time until it rang, in milliseconds; 0 where nothing rang.
    pub pdd_ms: u32,
}

/// Fewest attempts that tell anything.
pub const LEAST_SAMPLE: u32 = 30;

/// Steps of ratios, in percent.
const RATIO_STEP: u32 = 5;

/// Steps of the post-dial delay, in milliseconds.
const PDD_STEP: u32 = 500;

impl Quality {
    /// The quality that a sample shows, where `last` was shown before: a figure stays until it is a whole step off. It is
    /// lost only when the sample has less than half of what tells anything.
    pub fn of(sample: Sample, last: Option<Self>) -> Option<Self> {
        let least = if last.is_some() { LEAST_SAMPLE / 2 } else { LEAST_SAMPLE };
        if sample.attempts < least {
            return None;
        }
        let percent = |count: u32| {
            let percent = u64::from(count.min(sample.attempts)) * 100 / u64::from(sample.attempts);
            u32::try_from(percent).expect("it is at most 100")
        };
        let ratio = |count, last: Option<u8>| {
            let stepped = stepped(percent(count), last.map(u32::from), RATIO_STEP);
            u8::try_from(stepped).expect("it is at most 100")
        };
        Some(Self {
            asr_percent: ratio(sample.answered, last.map(|last| last.asr_percent)),
            ner_percent: ratio(sample.reached, last.map(|last| last.ner_percent)),
            pdd_ms: stepped(sample.pdd_ms, last.map(|last| last.pdd_ms), PDD_STEP),
        })
    }
}

/// The last figure, unless the new one is a whole step off; then the step below that.
fn stepped(now: u32, last: Option<u32>, step: u32) -> u32 {
    match last {
        Some(last) if now.abs_diff(last) < step => last,
        _ => now - now % step,
    }
}

/// What an agreement asks of transit routes; the default asks nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TransitTerms {
    /// Transit that costs more a minute is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_rate: Option<Rate>,
    /// What the originating member pays for calls that go by transit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_deck: Option<RateDeckId>,
    /// The least that must be left of what the originating member pays, once the transit is paid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub margin_floor: Option<Rate>,
    /// Least answer-seizure ratio, in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_asr_percent: Option<u8>,
    /// Least network effectiveness ratio, in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_ner_percent: Option<u8>,
    /// Longest post-dial delay, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_pdd_ms: Option<u32>,
}

impl TransitTerms {
    /// Whether they ask nothing.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Whether transit at this cost and of this quality is admitted, or why it is not. `price` is what the originating
    /// member pays by the deck of the terms, where that has a rate.
    ///
    /// What was not measured is not held against anyone: who gets no calls could never be measured again.
    pub fn admit(
        &self,
        cost: Rate,
        price: impl FnOnce(RateDeckId) -> Option<Rate>,
        quality: Option<Quality>,
    ) -> Result<(), Reason> {
        if self.max_rate.is_some_and(|most| cost > most) {
            return Err(Reason::RateTooHigh);
        }
        let is_below = quality.is_some_and(|quality| {
            self.min_asr_percent.is_some_and(|least| quality.asr_percent < least)
                || self.min_ner_percent.is_some_and(|least| quality.ner_percent < least)
                || self.max_pdd_ms.is_some_and(|most| quality.pdd_ms > most)
        });
        if is_below {
            return Err(Reason::QualityTooLow);
        }
        if let Some(floor) = self.margin_floor {
            let price = self.rate_deck.and_then(price);
            if !price.is_some_and(|price| price.leaves(floor, cost)) {
                return Err(Reason::AtALoss);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(text: &str) -> Rate {
        text.parse().unwrap()
    }

    #[test]
    fn terms_that_ask_nothing_admit_any_transit_and_are_written_as_nothing() {
        let terms: TransitTerms = serde_json::from_str("{}").unwrap();
        assert!(terms.is_default());
        assert_eq!(serde_json::to_string(&terms).unwrap(), "{}");
        let poor = Quality { asr_percent: 0, ner_percent: 0, pdd_ms: u32::MAX };
        assert_eq!(terms.admit(Rate::MAX, |_| None, Some(poor)), Ok(()));
    }

    #[test]
    fn a_figure_stays_until_it_is_a_whole_step_off_and_few_attempts_tell_nothing() {
        let sample = |attempts, answered, pdd_ms| Sample { attempts, answered, reached: attempts, pdd_ms };
        assert_eq!(Quality::of(sample(29, 29, 0), None), None);
        let first = Quality::of(sample(100, 43, 1_700), None);
        assert_eq!(first, Some(Quality { asr_percent: 40, ner_percent: 100, pdd_ms: 1_500 }));
        for answered in [36, 44] {
            assert_eq!(Quality::of(sample(100, answered, 1_999), first), first);
        }
        let asr = |answered| Quality::of(sample(100, answered, 1_700), first).unwrap().asr_percent;
        assert_eq!((asr(45), asr(35)), (45, 35));
        assert_eq!(Quality::of(sample(15, 6, 1_700), first), first);
        assert_eq!(Quality::of(sample(14, 6, 1_700), first), None);
    }

    #[test]
    fn each_bound_admits_what_just_meets_it_and_nothing_beyond() {
        let quality = Quality { asr_percent: 40, ner_percent: 80, pdd_ms: 3000 };
        let admit = |json: &str, cost: &str, price: Option<&str>| {
            let terms: TransitTerms = serde_json::from_str(json).unwrap();
            terms.admit(rate(cost), |_| price.map(rate), Some(quality)).err()
        };
        assert_eq!(admit(r#"{"max_rate":"0.01"}"#, "0.01", None), None);
        assert_eq!(admit(r#"{"max_rate":"0.01"}"#, "0.010001", None), Some(Reason::RateTooHigh));
        for (met, missed) in [
            (r#"{"min_asr_percent":40}"#, r#"{"min_asr_percent":41}"#),
            (r#"{"min_ner_percent":80}"#, r#"{"min_ner_percent":81}"#),
            (r#"{"max_pdd_ms":3000}"#, r#"{"max_pdd_ms":2999}"#),
        ] {
            assert_eq!(admit(met, "0", None), None);
            assert_eq!(admit(missed, "0", None), Some(Reason::QualityTooLow));
        }
        let floor = r#"{"rate_deck":"00000000-0000-0000-0000-000000000001","margin_floor":"0.002"}"#;
        assert_eq!(admit(floor, "0.01", Some("0.012")), None);
        assert_eq!(admit(floor, "0.01", Some("0.011999")), Some(Reason::AtALoss));
        assert_eq!(admit(floor, "0.01", None), Some(Reason::AtALoss), "who pays nothing leaves nothing");
        assert_eq!(admit(r#"{"margin_floor":"0"}"#, "0.01", Some("1")), Some(Reason::AtALoss));
    }
}
