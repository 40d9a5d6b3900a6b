//! Telephone numbers: which digits are a full E.164 number, and which are the leading digits of one.
//!
//! Both types hold the digits as an integer: an international number never begins with 0 (ITU-T E.164
//! §6.2: country codes begin with 1–9), so the integer keeps every digit, and fits a word.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Most digits of an international number, and of a prefix of one (ITU-T E.164 §6.2.1).
pub const MAX_DIGITS: usize = 15;

/// Powers of ten, up to as many digits as there can be.
pub const POW10: [u64; MAX_DIGITS + 1] = {
    let mut powers = [1; MAX_DIGITS + 1];
    let mut n = 1;
    while n <= MAX_DIGITS {
        powers[n] = powers[n - 1] * 10;
        n += 1;
    }
    powers
};

/// A power of ten as what to multiply by and how far to shift: quotients of 50 bits at most are exact, as 10^n times the
/// factor is above 2^shift by less than 10^n, which is at most 2^(shift - 50).
const RECIPROCALS: [(u64, u32); MAX_DIGITS + 1] = {
    let mut reciprocals = [(0, 0); MAX_DIGITS + 1];
    let mut n = 0;
    while n <= MAX_DIGITS {
        let shift = 50 + POW10[n].next_power_of_two().ilog2();
        reciprocals[n] = ((1_u128 << shift).div_ceil(POW10[n] as u128) as u64, shift);
        n += 1;
    }
    reciprocals
};

/// An integer of at most 15 digits without its last `n`, at most 15: `value / 10^n`, which takes no division.
pub fn without_last(value: u64, n: usize) -> u64 {
    let (factor, shift) = RECIPROCALS[n];
    ((u128::from(value) * u128::from(factor)) >> shift) as u64
}

/// Fewest digits that the exchange takes for a full number: shorter ones are national or short codes.
const MIN_DIGITS: usize = 5;

/// Why a text is not a number or a prefix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NumberError {
    /// There is nothing but an optional `+`.
    #[error("it has no digits; write the country code and number, such as +442079460000")]
    Empty,
    /// Something other than `0`–`9` after the optional `+`.
    #[error("{0:?} is not a digit; write digits only, with an optional + before them")]
    NotADigit(char),
    /// It begins with 0, so it is national or has an international access code before it.
    #[error("it begins with 0; write it internationally, beginning with the country code")]
    LeadingZero,
    /// More than 15 digits.
    #[error("it has {0} digits; an E.164 number has at most 15")]
    TooLong(usize),
    /// Too few digits for a full number.
    #[error("it has {0} digits; a full E.164 number has at least 5")]
    TooShort(usize),
}

fn parse_digits(text: &str, shortest: usize) -> Result<NonZeroU64, NumberError> {
    let digits = text.strip_prefix('+').unwrap_or(text);
    if let Some(other) = digits.chars().find(|c| !c.is_ascii_digit()) {
        return Err(NumberError::NotADigit(other));
    }
    match digits.len() {
        0 => Err(NumberError::Empty),
        n if n > MAX_DIGITS => Err(NumberError::TooLong(n)),
        _ if digits.starts_with('0') => Err(NumberError::LeadingZero),
        n if n < shortest => Err(NumberError::TooShort(n)),
        _ => {
            let value = digits.bytes().fold(0, |value, digit| value * 10 + u64::from(digit - b'0'));
            Ok(NonZeroU64::new(value).expect("the first digit is not 0"))
        }
    }
}

fn count_digits(value: NonZeroU64) -> usize {
    value.ilog10() as usize + 1
}

macro_rules! digits {
    ($name:ident, $shortest:expr) => {
        impl $name {
            /// How many digits it has.
            pub fn len(self) -> usize {
                count_digits(self.0)
            }

            /// Never: there is at least one digit. Here because `len` is.
            pub fn is_empty(self) -> bool {
                false
            }

            /// The digits as an integer, without the `+`.
            pub fn value(self) -> u64 {
                self.0.get()
            }

            /// The one of which the digits are this integer.
            pub fn from_value(value: u64) -> Result<Self, NumberError> {
                let value = NonZeroU64::new(value).ok_or(NumberError::LeadingZero)?;
                match count_digits(value) {
                    n if n > MAX_DIGITS => Err(NumberError::TooLong(n)),
                    n if n < $shortest => Err(NumberError::TooShort(n)),
                    _ => Ok(Self(value)),
                }
            }

            /// The digits as text, without the `+`: how SQL stores them.
            pub fn digits(self) -> String {
                self.0.to_string()
            }

            /// The leading `len` digits.
            ///
            /// # Panics
            /// If `len` is 0 or more than there are.
            pub fn leading(self, len: usize) -> Prefix {
                assert!(len >= 1 && len <= self.len(), "{len} of {} digits", self.len());
                let value = without_last(self.value(), self.len() - len);
                Prefix(NonZeroU64::new(value).expect("the first digit is not 0"))
            }
        }

        impl FromStr for $name {
            type Err = NumberError;

            fn from_str(text: &str) -> Result<Self, NumberError> {
                parse_digits(text, $shortest).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "+{}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    serializer.serialize_u64(self.value())
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                    return text.parse().map_err(serde::de::Error::custom);
                }
                let digits = u64::deserialize(deserializer)?.to_string();
                digits.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

/// A full international number: 5 to 15 digits, the first not 0 (ITU-T E.164). Text form `+442079460000`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct E164(NonZeroU64);

/// Leading digits of an E.164 number: 1 to 15 digits, the first not 0. Text form `+4420`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix(NonZeroU64);

/// The number that leads to the network which serves a ported one: `rn` of RFC 4694 §4, in its global form without
/// letters. 1 to 15 digits, the first not 0. Text form `+16095550000`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoutingNumber(NonZeroU64);

digits!(E164, MIN_DIGITS);
digits!(Prefix, 1);
digits!(RoutingNumber, 1);

impl Prefix {
    /// Whether every number that begins with `other` also begins with this one.
    pub fn covers(self, other: Prefix) -> bool {
        self.len() <= other.len() && other.leading(self.len()) == self
    }

    /// Whether `number` begins with this prefix.
    pub fn matches(self, number: E164) -> bool {
        self.len() <= number.len() && number.leading(self.len()) == self
    }
}

impl From<Prefix> for E164 {
    /// The number of just these digits, fewer than a full one has perhaps: what is asked about it is asked about the
    /// prefix, without the longer ones beneath.
    fn from(prefix: Prefix) -> Self {
        Self(prefix.0)
    }
}

impl From<E164> for Prefix {
    fn from(number: E164) -> Self {
        Self(number.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn prefix(text: &str) -> Prefix {
        text.parse().expect("the test writes a prefix")
    }

    proptest! {
        #[test]
        fn the_last_digits_are_left_off_as_a_division_does(value in 0..POW10[MAX_DIGITS], n in 0..=MAX_DIGITS) {
            // Where a quotient that is a little too large shows: at multiples, and right below them.
            let multiple = value / POW10[n] * POW10[n];
            for value in [value, multiple, multiple.saturating_sub(1), POW10[MAX_DIGITS] - 1] {
                prop_assert_eq!(without_last(value, n), value / POW10[n]);
            }
        }
    }

    #[test]
    fn a_number_is_read_with_and_without_the_plus() {
        assert_eq!("+442079460000".parse::<E164>(), "442079460000".parse());
        assert_eq!("442079460000".parse::<E164>().unwrap().to_string(), "+442079460000");
    }

    #[test]
    fn an_integer_is_a_number_where_its_digits_are_one() {
        assert_eq!(E164::from_value(442079460000), "+442079460000".parse());
        assert_eq!(E164::from_value(4420), Err(NumberError::TooShort(4)));
        assert_eq!(Prefix::from_value(0), Err(NumberError::LeadingZero));
        assert_eq!(Prefix::from_value(1_000_000_000_000_000), Err(NumberError::TooLong(16)));
    }

    #[test]
    fn other_spellings_are_refused_with_the_reason() {
        let table = [
            ("", NumberError::Empty),
            ("+", NumberError::Empty),
            ("+44 20", NumberError::NotADigit(' ')),
            ("004420", NumberError::LeadingZero),
            ("4420;npdi", NumberError::NotADigit(';')),
            ("４４", NumberError::NotADigit('４')),
            ("++44", NumberError::NotADigit('+')),
            ("1234567890123456", NumberError::TooLong(16)),
        ];
        for (text, error) in table {
            assert_eq!(text.parse::<Prefix>(), Err(error), "{text:?}");
        }
        assert_eq!("+4420".parse::<E164>(), Err(NumberError::TooShort(4)));
    }

    #[test]
    fn a_prefix_covers_itself_and_what_begins_with_it() {
        assert!(prefix("+4420").covers(prefix("+4420")));
        assert!(prefix("+4420").covers(prefix("+44207")));
        assert!(!prefix("+44207").covers(prefix("+4420")));
        assert!(!prefix("+4420").covers(prefix("+4421")));
    }

    proptest! {
        #[test]
        fn text_and_value_agree(text in "[1-9][0-9]{4,14}") {
            let number: E164 = text.parse().unwrap();
            prop_assert_eq!(number.digits(), text.clone());
            prop_assert_eq!(number.len(), text.len());
            for len in 1..=text.len() {
                prop_assert_eq!(number.leading(len).digits(), &text[..len]);
                prop_assert!(number.leading(len).matches(number));
            }
        }
    }
}
