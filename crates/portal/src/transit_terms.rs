//! What the terms of agreements and clubs ask of transit, as it is offered and read.

use serde::{Deserialize, Serialize};
use tandem_model::{MemberId, Rate, RateDeckId, TransitTerms};
use tandem_store::{PgConnection, rate_deck};
use utoipa::ToSchema;

use crate::problem::{ApiError, Faults};

/// What is asked of transit routes; nothing where all of it is left out or null.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct TransitAsked {
    /// Transit that costs more a minute is left out. An exact decimal.
    #[schema(example = "0.02")]
    max_rate: Option<String>,
    /// The deck by which the calling member pays for transit: of one of the two members, or of the operator.
    #[schema(value_type = Option<Uuid>)]
    rate_deck_id: Option<RateDeckId>,
    /// The least that is left of what the calling member pays a minute, once the transit is paid: what leaves less is left
    /// out. It needs `rate_deck_id`.
    #[schema(example = "0.001")]
    margin_floor: Option<String>,
    /// Least answer-seizure ratio, in percent.
    #[schema(minimum = 0, maximum = 100)]
    min_asr_percent: Option<u8>,
    /// Least network effectiveness ratio, in percent.
    #[schema(minimum = 0, maximum = 100)]
    min_ner_percent: Option<u8>,
    /// Longest post-dial delay, in milliseconds.
    max_pdd_ms: Option<u32>,
}

impl From<TransitTerms> for TransitAsked {
    fn from(terms: TransitTerms) -> Self {
        let text = |rate: Option<Rate>| rate.map(|rate| rate.to_string());
        Self {
            max_rate: text(terms.max_rate),
            rate_deck_id: terms.rate_deck,
            margin_floor: text(terms.margin_floor),
            min_asr_percent: terms.min_asr_percent,
            min_ner_percent: terms.min_ner_percent,
            max_pdd_ms: terms.max_pdd_ms,
        }
    }
}

impl TransitAsked {
    /// The terms, once looked at; what is at fault is noted.
    pub(crate) fn read(self, faults: &mut Faults) -> TransitTerms {
        let mut rate = |field: &str, text: Option<String>| {
            let text = text.filter(|text| !text.trim().is_empty())?;
            faults.take(field, text.trim().parse::<Rate>())
        };
        let max_rate = rate("transit.max_rate", self.max_rate);
        let margin_floor = rate("transit.margin_floor", self.margin_floor);
        if margin_floor.is_some() && self.rate_deck_id.is_none() {
            faults.note("transit.rate_deck_id", "name the deck of which the margin is to be left");
        }
        for (field, percent) in [
            ("transit.min_asr_percent", self.min_asr_percent),
            ("transit.min_ner_percent", self.min_ner_percent),
        ] {
            if percent.is_some_and(|percent| percent > 100) {
                faults.note(field, "write a number from 0 to 100");
            }
        }
        TransitTerms {
            max_rate,
            rate_deck: self.rate_deck_id,
            margin_floor,
            min_asr_percent: self.min_asr_percent,
            min_ner_percent: self.min_ner_percent,
            max_pdd_ms: self.max_pdd_ms,
        }
    }
}

/// Whether the deck that terms name is the operator's, or one of these members'.
pub(crate) async fn check_deck(
    db: &mut PgConnection,
    terms: &TransitTerms,
    members: &[MemberId],
) -> Result<(), ApiError> {
    let Some(deck) = terms.rate_deck else { return Ok(()) };
    if rate_deck::owned(db, &[deck], members).await?.is_empty() {
        let message = "there is no such rate deck of the operator or of a member that the terms are of";
        return Err(ApiError::field("transit.rate_deck_id", message));
    }
    Ok(())
}
