//! How a switch writes telephone numbers: E.164 with or without `+`, with an international access code, or in
//! the national form of one country (ITU-T E.164, E.123).

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

use super::Faults;
use crate::{E164, NumberError};

/// Numbers, for one endpoint. What it sends is read by its prefixes, whichever form it takes; what it is sent is
/// written in its `form`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NumberPolicy {
    /// The form in which it is sent numbers.
    pub form: NumberForm,
    /// Country code of its national numbers, such as 44; none where it has no national numbers.
    pub country: Digits,
    /// What a national number begins with before its area code: 0 in most of Europe, 1 in North America,
    /// nothing where there is no such digit.
    pub national_prefix: Digits,
    /// What an international number begins with instead of `+`: 00 in most of the world, 011 in North America.
    pub international_prefix: Digits,
    /// What digits without any prefix are.
    pub unprefixed: Unprefixed,
    /// Whether the calling number, and those in identities, are converted as the called number is.
    pub calling: CallingForm,
    /// Whether URIs that hold a number say so by `user=phone` (RFC 3261 §19.1.1).
    pub user_phone: bool,
    /// Whether what it says of a look-up among ported numbers, by `rn` and `npdi` of RFC 4694, is believed: its call is
    /// routed by that, then, and the number not looked up again. What another says is as if it were not there. The
    /// operator's to set.
    pub routing_number: bool,
    /// Whether it is told, by `rn` and `npdi` in the Request-URI, what a look-up of the called number has found.
    pub write_routing_number: bool,
}

/// How a number is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NumberForm {
    /// `+442079460000`
    E164,
    /// `442079460000`
    Plain,
    /// `00442079460000`, with the international prefix.
    International,
    /// `02079460000` in its own country, with the international prefix to others.
    National,
    /// `2079460000`, the national (significant) number, in its own country; the rest as [`Self::National`].
    Significant,
}

/// What digits without `+` and without a prefix are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unprefixed {
    /// An E.164 number: `442079460000`.
    International,
    /// A number of its own country: `2079460000`.
    National,
}

/// How numbers other than the called one are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CallingForm {
    /// As the other member wrote them, unless that one's are converted.
    Received,
    /// In this endpoint's form.
    Converted,
}

impl Default for NumberPolicy {
    fn default() -> Self {
        Self {
            form: NumberForm::E164,
            country: Digits::default(),
            national_prefix: Digits::default(),
            international_prefix: Digits::default(),
            unprefixed: Unprefixed::International,
            calling: CallingForm::Received,
            user_phone: true,
            routing_number: false,
            write_routing_number: false,
        }
    }
}

/// Longest number as it is written that is read: an E.164 number, a prefix and a `+`.
const MAX_WRITTEN: usize = 32;

impl NumberPolicy {
    /// The number that the switch means by `written`: its prefixes are taken off, visual separators
    /// (RFC 3966 §5.1.1) carry no meaning.
    pub fn read(&self, written: &[u8]) -> Result<E164, NumberError> {
        let mut octets = [0; MAX_WRITTEN];
        let mut len = 0;
        for &octet in written.iter().filter(|octet| !matches!(octet, b'-' | b'.' | b'(' | b')')) {
            *octets.get_mut(len).ok_or(NumberError::TooLong(written.len()))? = octet;
            len += 1;
        }
        let text = std::str::from_utf8(&octets[..len]).map_err(|_| NumberError::NotADigit('\u{fffd}'))?;
        if text.starts_with('+') {
            return text.parse();
        }
        if let Some(international) = self.international_prefix.strip_from(text) {
            return parse_bare(international);
        }
        if let Some(national) = self.national_prefix.strip_from(text).filter(|_| !self.country.is_empty()) {
            return self.parse_national(national);
        }
        match self.unprefixed {
            Unprefixed::International => text.parse(),
            Unprefixed::National => self.parse_national(text),
        }
    }

    fn parse_national(&self, significant: &str) -> Result<E164, NumberError> {
        if significant.is_empty() {
            return Err(NumberError::Empty);
        }
        parse_bare(&[self.country.as_str(), significant].concat())
    }

    /// The number as the switch expects it. One that the switch would read as another, by its own prefixes, is
    /// written with a `+`.
    pub fn write(&self, number: E164) -> String {
        let international = number.to_string();
        let digits = &international[1..];
        let national = || digits.strip_prefix(self.country.as_str()).filter(|_| !self.country.is_empty());
        let written = match self.form {
            NumberForm::E164 => return international,
            NumberForm::Plain => digits.to_owned(),
            NumberForm::International => [self.international_prefix.as_str(), digits].concat(),
            NumberForm::National | NumberForm::Significant => match national() {
                Some(national) if self.form == NumberForm::Significant => national.to_owned(),
                Some(national) => [self.national_prefix.as_str(), national].concat(),
                None => [self.international_prefix.as_str(), digits].concat(),
            },
        };
        if self.read(written.as_bytes()) == Ok(number) { written } else { international }
    }

    pub(super) fn judge(&self, faults: &mut Faults) {
        let country = self.country.as_str();
        if country.len() > 3 || country.starts_with('0') {
            let message =
                "a country code has one to three digits and does not begin with 0, such as 44".to_owned();
            faults.note("numbers.country", message);
        }
        let is_national = matches!(self.form, NumberForm::National | NumberForm::Significant)
            || self.unprefixed == Unprefixed::National
            || !self.national_prefix.is_empty();
        if is_national && country.is_empty() {
            let message = "write the country code of its national numbers, such as 44".to_owned();
            faults.note("numbers.country", message);
        }
        let is_prefixed =
            matches!(self.form, NumberForm::International | NumberForm::National | NumberForm::Significant);
        if is_prefixed && self.international_prefix.is_empty() {
            let message = format!(
                "numbers of other countries are written with it in the form {}; write 00, or 011 in North America",
                serde_json::to_value(self.form).expect("it is a word").as_str().unwrap_or_default()
            );
            faults.note("numbers.international_prefix", message);
        }
        if self.form == NumberForm::Significant && self.unprefixed != Unprefixed::National {
            faults.note("numbers.unprefixed", "the form significant has no prefix; write national");
        }
        let is_hidden = self.national_prefix.as_str().starts_with(self.international_prefix.as_str())
            && !self.international_prefix.is_empty()
            && !self.national_prefix.is_empty();
        if is_hidden {
            let message = "it begins like the international prefix, so that no number could be told national; \
                           write 0, or 1 in North America";
            faults.note("numbers.national_prefix", message);
        }
    }
}

/// Digits and nothing else: a second `+` after a prefix is no number.
fn parse_bare(digits: &str) -> Result<E164, NumberError> {
    if digits.starts_with('+') { Err(NumberError::NotADigit('+')) } else { digits.parse() }
}

/// Up to eight decimal digits, kept as they were written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Digits(Box<str>);

/// Longest access code or trunk prefix.
const MAX_DIGITS: usize = 8;

impl Digits {
    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn strip_from<'t>(&self, text: &'t str) -> Option<&'t str> {
        text.strip_prefix(&*self.0).filter(|_| !self.0.is_empty())
    }
}

impl fmt::Display for Digits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Digits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.len() > MAX_DIGITS || !text.bytes().all(|octet| octet.is_ascii_digit()) {
            let message = format!("write at most {MAX_DIGITS} digits and nothing else, or an empty text");
            return Err(serde::de::Error::custom(message));
        }
        Ok(Self(text.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn policy(text: &str) -> NumberPolicy {
        let mut words = text.split(' ');
        let mut digits = || Digits(words.next().unwrap().trim_matches('_').into());
        let (country, national_prefix, international_prefix) = (digits(), digits(), digits());
        let word = |word: &str| serde_json::Value::from(word);
        let policy = NumberPolicy {
            country,
            national_prefix,
            international_prefix,
            unprefixed: serde_json::from_value(word(words.next().unwrap())).unwrap(),
            form: serde_json::from_value(word(words.next().unwrap())).unwrap(),
            ..NumberPolicy::default()
        };
        let mut faults = Faults::default();
        policy.judge(&mut faults);
        assert_eq!(faults.0, [], "{text}");
        policy
    }

    const BRITAIN: &str = "44 0 00 international national";
    const AMERICA: &str = "1 1 011 national significant";
    const ITALY: &str = "39 _ 00 national national";
    const DENMARK: &str = "45 _ 00 national significant";
    const RUSSIA: &str = "7 8 810 international national";
    const ANY: &str = "_ _ 00 international international";
    const CISCO: &str = "_ _ _ international plain";

    #[test]
    fn numbers_are_read_by_the_prefixes_of_the_switch() {
        for (rules, written, number) in [
            (BRITAIN, "02079460000", Some("+442079460000")),
            (BRITAIN, "00442079460000", Some("+442079460000")),
            (BRITAIN, "+442079460000", Some("+442079460000")),
            (BRITAIN, "442079460000", Some("+442079460000")),
            (BRITAIN, "0033199001234", Some("+33199001234")),
            (BRITAIN, "020-7946 0000", None),
            (BRITAIN, "(020)7946-0000", Some("+442079460000")),
            (BRITAIN, "00+442079460000", None),
            (BRITAIN, "0", None),
            (BRITAIN, "999", None),
            (AMERICA, "2125550100", Some("+12125550100")),
            (AMERICA, "12125550100", Some("+12125550100")),
            (AMERICA, "011442079460000", Some("+442079460000")),
            (ITALY, "0612345678", Some("+390612345678")),
            (ITALY, "00442079460000", Some("+442079460000")),
            (DENMARK, "32123456", Some("+4532123456")),
            (RUSSIA, "84951234567", Some("+74951234567")),
            (RUSSIA, "810442079460000", Some("+442079460000")),
            (ANY, "02079460000", None),
            (CISCO, "442079460000", Some("+442079460000")),
            (CISCO, "0442079460000", None),
            (CISCO, "anonymous", None),
            (CISCO, "", None),
            (CISCO, "+", None),
            (CISCO, "4420794600004420794600004420794600", None),
        ] {
            let read = policy(rules).read(written.as_bytes()).ok();
            assert_eq!(read, number.map(|number| number.parse().unwrap()), "{written} by {rules}");
        }
    }

    #[test]
    fn numbers_are_written_as_the_switch_dials_them() {
        for (rules, number, written) in [
            (BRITAIN, "+442079460000", "02079460000"),
            (BRITAIN, "+33199001234", "0033199001234"),
            (AMERICA, "+12125550100", "2125550100"),
            (AMERICA, "+442079460000", "011442079460000"),
            (ITALY, "+390612345678", "0612345678"),
            (DENMARK, "+4532123456", "32123456"),
            (RUSSIA, "+74951234567", "84951234567"),
            (ANY, "+442079460000", "00442079460000"),
            (CISCO, "+442079460000", "442079460000"),
            // Moscow's access code begins like Japan's country code after the national prefix's digit.
            ("7 8 810 international plain", "+81312345678", "+81312345678"),
        ] {
            assert_eq!(policy(rules).write(number.parse().unwrap()), written, "{number} by {rules}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_the_same_number(
            number in "[1-9][0-9]{4,14}",
            country in "([1-9][0-9]{0,2})?",
            national_prefix in "[0-9]{0,2}",
            international_prefix in "[0-9]{0,3}",
            form in prop::sample::select(vec![
                NumberForm::E164, NumberForm::Plain, NumberForm::International, NumberForm::National,
                NumberForm::Significant,
            ]),
            is_national: bool,
        ) {
            let policy = NumberPolicy {
                form,
                country: Digits(country.into()),
                national_prefix: Digits(national_prefix.into()),
                international_prefix: Digits(international_prefix.into()),
                unprefixed: if is_national { Unprefixed::National } else { Unprefixed::International },
                ..NumberPolicy::default()
            };
            let number: E164 = number.parse().unwrap();
            prop_assert_eq!(policy.read(policy.write(number).as_bytes()), Ok(number));
        }

        #[test]
        fn the_usual_rules_of_a_country_never_need_a_plus(number in "[1-9][0-9]{6,13}") {
            for rules in [BRITAIN, AMERICA, DENMARK, ITALY, ANY] {
                let own = policy(rules).country;
                for number in [number.clone(), format!("{own}2{number}")] {
                    let Ok(number) = number.parse::<E164>() else { continue };
                    // A national number never begins with the trunk prefix or an access code.
                    let clashes = number.digits().strip_prefix(own.as_str()).is_some_and(|national| {
                        !own.is_empty() && national.starts_with(['0', '1'])
                    });
                    prop_assert!(clashes || !policy(rules).write(number).starts_with('+'));
                }
            }
        }
    }
}
