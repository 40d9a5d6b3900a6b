//! What a minute costs, exactly.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Decimals of a rate.
const DECIMALS: usize = 6;

/// How many millionths are one.
const ONE: u64 = 1_000_000;

/// An amount a minute in the currency of its deck, in millionths: from 0 to 999,999.999999.
///
/// Text form: a decimal such as `0.0045`. It is never a binary fraction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate(u64);

/// Why a text is no rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RateError {
    /// It is not digits with at most one point between them.
    #[error("a rate is a decimal of at most 6 places, such as 0.0045; it has no sign, exponent or currency")]
    NotADecimal,
    /// It has more decimals than are kept.
    #[error("a rate has at most 6 decimals")]
    TooFine,
    /// It is a million or more.
    #[error("a rate is less than a million")]
    TooHigh,
}

impl Rate {
    /// The highest rate.
    pub const MAX: Self = Self(999_999_999_999);

    /// Of millionths.
    pub fn from_millionths(millionths: u64) -> Result<Self, RateError> {
        if millionths <= Self::MAX.0 { Ok(Self(millionths)) } else { Err(RateError::TooHigh) }
    }

    /// In millionths.
    pub fn millionths(self) -> u64 {
        self.0
    }

    /// Whether at least `floor` is left of this rate once `cost` is paid.
    pub fn leaves(self, floor: Self, cost: Self) -> bool {
        self.0 >= cost.0 + floor.0
    }
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        let (whole, part) = match text.split_once('.') {
            Some((whole, part)) if !part.is_empty() => (whole, part),
            Some(_) => return Err(RateError::NotADecimal),
            None => (text, ""),
        };
        if whole.is_empty() || !whole.bytes().chain(part.bytes()).all(|octet| octet.is_ascii_digit()) {
            return Err(RateError::NotADecimal);
        }
        if part.len() > DECIMALS {
            return Err(RateError::TooFine);
        }
        let whole: u64 = whole.parse().map_err(|_| RateError::TooHigh)?;
        let part: u64 = format!("{part:0<DECIMALS$}").parse().map_err(|_| RateError::NotADecimal)?;
        let millionths = whole.checked_mul(ONE).and_then(|whole| whole.checked_add(part));
        Self::from_millionths(millionths.ok_or(RateError::TooHigh)?)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = format!("{:06}", self.0 % ONE);
        // Four places, and those after them that say something.
        let (four, fine) = part.split_at(4);
        write!(f, "{}.{four}{}", self.0 / ONE, fine.trim_end_matches('0'))
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_string())
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_written_as_it_is_read() {
        for (text, millionths, written) in [
            ("0", 0, "0.0000"),
            ("0.0045", 4_500, "0.0045"),
            ("0.000001", 1, "0.000001"),
            ("12.5", 12_500_000, "12.5000"),
            ("0.01235", 12_350, "0.01235"),
            ("999999.999999", 999_999_999_999, "999999.999999"),
        ] {
            let rate: Rate = text.parse().unwrap();
            assert_eq!((rate.millionths(), rate.to_string()), (millionths, written.to_owned()));
            assert_eq!(written.parse(), Ok(rate));
            assert_eq!(serde_json::from_str::<Rate>(&format!("\"{text}\"")).unwrap(), rate);
        }
    }

    #[test]
    fn what_is_no_rate_is_refused() {
        use RateError::{NotADecimal, TooFine, TooHigh};
        for (text, error) in [
            ("-1", NotADecimal),
            ("NaN", NotADecimal),
            ("inf", NotADecimal),
            ("1e-3", NotADecimal),
            ("", NotADecimal),
            (".5", NotADecimal),
            ("5.", NotADecimal),
            ("0,5", NotADecimal),
            ("+1", NotADecimal),
            ("1.2.3", NotADecimal),
            ("0.0000001", TooFine),
            ("1000000", TooHigh),
            ("99999999999999999999", TooHigh),
        ] {
            assert_eq!(text.parse::<Rate>(), Err(error), "{text}");
        }
    }

    #[test]
    fn what_is_left_of_a_rate_is_counted_to_the_millionth() {
        let rate = |text: &str| text.parse::<Rate>().unwrap();
        assert!(rate("0.005").leaves(rate("0.001"), rate("0.004")));
        assert!(!rate("0.005").leaves(rate("0.001"), rate("0.004001")));
        assert!(!rate("0.001").leaves(Rate::default(), Rate::MAX));
    }
}
