//! What the numbering plans of the world say of numbers, as the API shows it.

use serde::Serialize;
use tandem_model::{Misfit, NumberType, Numbering};
use utoipa::ToSchema;

use crate::vocabulary;

/// Country and type of a number, or of all numbers with a prefix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct NumberingView {
    /// The country code.
    #[schema(example = 44)]
    country_code: u16,
    /// Where the numbers may lie: ISO 3166 codes, the main country first; `001` where a code belongs to no country.
    #[schema(value_type = Vec<String>, example = json!(["GB"]))]
    countries: Vec<&'static str>,
    /// What they may be.
    #[schema(value_type = Vec<vocabulary::NumberType>)]
    types: Vec<NumberType>,
}

impl NumberingView {
    /// What is known; nothing of digits that begin no number.
    pub(crate) fn of(numbering: Result<Numbering, Misfit>) -> Option<Self> {
        let Numbering { country_code, countries, types } = numbering.ok()?;
        Some(Self { country_code, countries, types })
    }
}
