//! The numbering plans of the world: in which country numbers lie that begin with some digits, of what type they
//! are, and which digits begin no number at all (ITU-T E.164).
//!
//! The plans are those of Google's libphonenumber as the crate `phonenumber` carries them; `plans.tsv` is the part
//! of them that is needed here, and a test renews it. The patterns of one country code become one automaton when it
//! is first asked about, which takes milliseconds and is for people. A call is held only against the lengths that
//! numbers of its country code have: one table of 2 kB.

use std::collections::BTreeMap;
use std::sync::{LazyLock, OnceLock};

use serde::{Deserialize, Serialize};

use crate::{E164, Prefix, Reason};

mod automaton;

use automaton::{Automaton, Kinds};

/// One line for each country and type: country code, country, type, and the pattern of the national number. Also
/// the lengths of national numbers, and which are emergency numbers.
const PLANS: &str = include_str!("numbering/plans.tsv");

/// What a number is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NumberType {
    /// A place.
    FixedLine,
    /// A mobile telephone. In some countries, such as those of North America, a number does not show whether it is.
    Mobile,
    /// The called party pays.
    TollFree,
    /// The caller pays more than for a call.
    PremiumRate,
    /// Caller and called party share the cost.
    SharedCost,
    /// A telephone that is nowhere in particular.
    Voip,
    /// A person, wherever they are.
    PersonalNumber,
    /// A pager.
    Pager,
    /// A company, in all the country.
    Uan,
    /// A mailbox.
    Voicemail,
}

impl NumberType {
    /// Every type.
    pub const ALL: [Self; 10] = [
        Self::FixedLine,
        Self::Mobile,
        Self::TollFree,
        Self::PremiumRate,
        Self::SharedCost,
        Self::Voip,
        Self::PersonalNumber,
        Self::Pager,
        Self::Uan,
        Self::Voicemail,
    ];

    /// The word for it in JSON and in the plans.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FixedLine => "fixed_line",
            Self::Mobile => "mobile",
            Self::TollFree => "toll_free",
            Self::PremiumRate => "premium_rate",
            Self::SharedCost => "shared_cost",
            Self::Voip => "voip",
            Self::PersonalNumber => "personal_number",
            Self::Pager => "pager",
            Self::Uan => "uan",
            Self::Voicemail => "voicemail",
        }
    }
}

/// What the plans say of a number, or of all numbers with a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbering {
    /// Its country code, such as 44.
    pub country_code: u16,
    /// Where it may lie: ISO 3166 codes such as `GB`, the main country of the code first; `001` for a code of no
    /// country. Numbers of North America that lie in no country in particular name each.
    pub countries: Vec<&'static str>,
    /// What it may be.
    pub types: Vec<NumberType>,
}

/// Why no number begins with some digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// No country code begins so.
    #[error("no country code begins with these digits")]
    NoCountryCode,
    /// The digits are less than a country code.
    #[error("several country codes begin with these digits; write the country code and what follows it")]
    SeveralCountryCodes,
    /// More digits than any number of the country code has.
    #[error("numbers of the country code +{country_code} have at most {most} digits, the code included")]
    TooLong {
        /// The country code.
        country_code: u16,
        /// Digits of its longest number.
        most: usize,
    },
    /// It is an emergency number of that country, which is called without the country code.
    #[error("these are the digits of an emergency number in the country +{country_code}")]
    Emergency {
        /// The country code.
        country_code: u16,
    },
    /// The country has given out no numbers that begin so.
    #[error("the country +{country_code} has given out no numbers that begin with these digits")]
    Unallocated {
        /// The country code.
        country_code: u16,
    },
}

impl Misfit {
    /// The reason for a refusal.
    pub fn reason(self) -> Reason {
        match self {
            Self::NoCountryCode | Self::SeveralCountryCodes | Self::TooLong { .. } => {
                Reason::PrefixImpossible
            }
            Self::Emergency { .. } => Reason::PrefixEmergency,
            Self::Unallocated { .. } => Reason::PrefixUnallocated,
        }
    }
}

impl Prefix {
    /// In which countries the numbers lie that begin with it, and what they are; or why there are none.
    pub fn numbering(self) -> Result<Numbering, Misfit> {
        let (plan, national) = Plan::of(self)?;
        plan.kinds(&national, Automaton::leading).map(|kinds| plan.show(kinds))
    }
}

impl E164 {
    /// In which country it lies and what it is; or why it is no number that a country has given out.
    pub fn numbering(self) -> Result<Numbering, Misfit> {
        let (plan, national) = Plan::of(self.into())?;
        plan.kinds(&national, Automaton::whole).map(|kinds| plan.show(kinds))
    }

    /// Whether any number of its country code has as many digits. A few nanoseconds once [`load`] was called.
    pub fn has_possible_length(self) -> bool {
        let lengths = (1..=3.min(self.len())).map(|len| LENGTHS[self.leading(len).value() as usize]);
        lengths
            .into_iter()
            .find(|lengths| *lengths != 0)
            .is_some_and(|lengths| lengths & 1 << self.len() != 0)
    }
}

/// Reads the plans, so that no call does.
pub fn load() {
    LazyLock::force(&LENGTHS);
}

/// By country code: a bit for each count of digits that a number has, the code included; 0 for what is none.
static LENGTHS: LazyLock<[u16; 1000]> = LazyLock::new(|| {
    let mut lengths = [0; 1000];
    for (code, plan) in PLANS_BY_CODE.iter() {
        lengths[usize::from(*code)] = plan.lengths;
    }
    lengths
});

static PLANS_BY_CODE: LazyLock<BTreeMap<u16, Plan>> = LazyLock::new(|| {
    let mut plans: BTreeMap<u16, Plan> = BTreeMap::new();
    for line in PLANS.lines() {
        let mut fields = line.split('\t');
        let mut field = || fields.next().expect("each line has four fields");
        let code = field().parse().expect("it begins with a country code");
        plans.entry(code).or_insert_with(|| Plan::new(code)).add(field(), field(), field());
    }
    plans
});

/// The numbers of one country code.
struct Plan {
    code: u16,
    /// As in [`LENGTHS`].
    lengths: u16,
    countries: Vec<&'static str>,
    patterns: BTreeMap<&'static str, Kinds>,
    /// National numbers.
    emergency: Vec<&'static str>,
    automaton: OnceLock<Automaton>,
}

impl Plan {
    fn new(code: u16) -> Self {
        let (countries, patterns, emergency) = (Vec::new(), BTreeMap::new(), Vec::new());
        Self { code, lengths: 0, countries, patterns, emergency, automaton: OnceLock::new() }
    }

    fn add(&mut self, country: &'static str, what: &str, data: &'static str) {
        let place = self.countries.iter().position(|other| *other == country).unwrap_or_else(|| {
            self.countries.push(country);
            self.countries.len() - 1
        });
        match what {
            "lengths" => {
                let code_len = self.code.ilog10() as usize + 1;
                for len in data.split(',').map(|len| len.parse::<usize>().expect("a length is a figure")) {
                    // Some plans foresee more digits than E.164 has.
                    if code_len + len <= 15 {
                        self.lengths |= 1 << (code_len + len);
                    }
                }
            }
            "emergency" => self.emergency.extend(data.split(',')),
            _ => {
                let types = NumberType::ALL.iter().position(|each| each.as_str() == what);
                let kinds = Kinds { countries: 1 << place, types: 1 << types.expect("a type is known") };
                self.patterns.entry(data).or_default().add(kinds);
            }
        }
    }

    /// The plan that a prefix belongs to, and the digits after its country code.
    fn of(prefix: Prefix) -> Result<(&'static Self, String), Misfit> {
        let digits = prefix.digits();
        for len in 1..=3.min(digits.len()) {
            let code = prefix.leading(len).value() as u16;
            if let Some(plan) = PLANS_BY_CODE.get(&code) {
                return Ok((plan, digits[len..].to_owned()));
            }
        }
        let begins = |code: &u16| code.to_string().starts_with(&digits);
        if PLANS_BY_CODE.keys().any(begins) {
            Err(Misfit::SeveralCountryCodes)
        } else {
            Err(Misfit::NoCountryCode)
        }
    }

    fn kinds(&self, national: &str, of: fn(&Automaton, &str) -> Kinds) -> Result<Kinds, Misfit> {
        let country_code = self.code;
        let automaton = self.automaton.get_or_init(|| Automaton::of(&self.patterns));
        let kinds = of(automaton, national);
        let most = self.lengths.checked_ilog2().unwrap_or_default() as usize;
        if kinds != Kinds::default() {
            Ok(kinds)
        } else if self.emergency.contains(&national) {
            Err(Misfit::Emergency { country_code })
        } else if country_code.to_string().len() + national.len() > most {
            Err(Misfit::TooLong { country_code, most })
        } else {
            Err(Misfit::Unallocated { country_code })
        }
    }

    fn show(&self, kinds: Kinds) -> Numbering {
        let countries = self.countries.iter().enumerate();
        let is_of = |bit: usize| kinds.types & 1 << bit != 0;
        Numbering {
            country_code: self.code,
            countries: countries
                .filter(|(place, _)| kinds.countries & 1 << place != 0)
                .map(|(_, country)| *country)
                .collect(),
            types: NumberType::ALL
                .into_iter()
                .enumerate()
                .filter(|(bit, _)| is_of(*bit))
                .map(|(_, it)| it)
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests;
