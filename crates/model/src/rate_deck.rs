//! Rate decks: what calls to prefixes cost, and when.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{MemberId, Prefix, Rate, RateDeckId, Validity};

/// The rate for numbers that begin with a prefix. Of several whose time has come the longest prefix decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeckRate {
    /// Which numbers.
    pub prefix: Prefix,
    /// What a minute costs.
    pub per_minute: Rate,
    /// When it is in force; of one prefix at most one rate is at a time.
    pub validity: Validity,
}

/// A dated list of prefixes and rates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateDeck {
    /// Its id.
    pub rate_deck_id: RateDeckId,
    /// Whose it is; the operator's where it is `None`.
    pub member_id: Option<MemberId>,
    /// Its rates, those of the past left out; by prefix, then by their begin.
    pub rates: Vec<DeckRate>,
}

/// A currency by its alphabetic code of ISO 4217.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Currency([u8; 3]);

impl Currency {
    /// The code.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("it is three letters")
    }
}

impl FromStr for Currency {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let letters: Option<[u8; 3]> = text.as_bytes().try_into().ok();
        let letters = letters.filter(|letters| letters.iter().all(u8::is_ascii_uppercase));
        letters.map(Self).ok_or("a currency is its code of ISO 4217: three capital letters, such as EUR")
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_currency_is_three_capital_letters() {
        assert_eq!("EUR".parse::<Currency>().unwrap().to_string(), "EUR");
        for text in ["eur", "EU", "EURO", "", "E1R", "€"] {
            assert!(text.parse::<Currency>().is_err(), "{text}");
        }
    }
}
