//! Who takes part in the simulation: names, and numbers that regulators set aside for fiction.

use tandem_model::{E164, Prefix};

/// A member to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Provider {
    /// Its name on the exchange.
    pub(crate) name: String,
    /// Its name for people.
    pub(crate) display_name: String,
    /// The numbers that it holds.
    pub(crate) range: Prefix,
    /// Digits of a full number of the range.
    pub(crate) number_digits: usize,
    /// How many endpoints it has.
    pub(crate) endpoints: Endpoints,
}

/// How a provider is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoints {
    /// One, over UDP.
    One,
    /// Two over UDP that share the calls.
    Shared,
    /// Two over UDP, the second for when the first cannot.
    Spare,
    /// One, over TCP where the hub takes it.
    Stream,
}

/// Name, name for people, range without `+`, digits of a number.
const PROVIDERS: [(&str, &str, &str, usize); 16] = [
    ("acme", "Acme Telecom", "442079460", 12),
    ("globex", "Globex Communications", "121255501", 11),
    ("initech", "Initech Voice", "3319900", 11),
    ("umbrella", "Umbrella Netz", "493023125", 11),
    ("hooli", "Hooli Telefonie", "3185888", 11),
    ("soylent", "Soylent Networks", "441614960", 12),
    ("stark", "Stark Wireless", "131055501", 11),
    ("wonka", "Wonka Telephone", "6125550", 11),
    ("vandelay", "Vandelay Export Lines", "3326191", 11),
    ("tyrell", "Tyrell Carrier", "121355501", 11),
    ("aperture", "Aperture Lines", "441314960", 12),
    ("wayne", "Wayne Telephony", "120155501", 11),
    ("monarch", "Monarch Voix", "3335301", 11),
    ("cyberdyne", "Cyberdyne Networks", "140855501", 11),
    ("nakatomi", "Nakatomi Trunking", "142455501", 11),
    ("tricell", "Tricell Telefoni", "468465004", 11),
];

/// How many providers there are to choose from.
pub(crate) const MOST: usize = PROVIDERS.len();

/// The first `count` providers.
pub(crate) fn providers(count: usize) -> Vec<Provider> {
    let connected = [Endpoints::Spare, Endpoints::One, Endpoints::Stream, Endpoints::Shared, Endpoints::One];
    let made = PROVIDERS.iter().zip(connected.into_iter().cycle()).take(count);
    made.map(|(&(name, display_name, range, number_digits), endpoints)| Provider {
        name: name.to_owned(),
        display_name: display_name.to_owned(),
        range: range.parse().expect("the ranges are prefixes"),
        number_digits,
        endpoints,
    })
    .collect()
}

/// Whether two of `count` providers have an agreement. One pair has none, so that refusals are seen.
pub(crate) fn have_agreement(one: usize, other: usize, count: usize) -> bool {
    let (low, high) = (one.min(other), one.max(other));
    count < 3 || (low, high) != (1, count - 1)
}

impl Provider {
    /// The number of the range whose last digits count up to `subscriber`.
    pub(crate) fn number(&self, subscriber: u64) -> E164 {
        number_of(self.range, self.number_digits, subscriber)
    }

    /// A number near the range that nobody announces.
    pub(crate) fn unassigned(&self) -> E164 {
        let last = self.range.value() % 10;
        let beside = self.range.value() - last + (last + 5) % 10;
        let prefix = beside.to_string().parse().expect("as many digits as a range");
        number_of(prefix, self.number_digits, 0)
    }
}

fn number_of(prefix: Prefix, digits: usize, subscriber: u64) -> E164 {
    let free = digits - prefix.len();
    let size = 10_u64.pow(free as u32);
    let number = prefix.value() * size + subscriber % size;
    number.to_string().parse().expect("a range leaves room for its subscribers")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_ranges_overlap_and_unassigned_numbers_lie_in_none() {
        let all = providers(MOST);
        for one in &all {
            let covering = |number: E164| all.iter().filter(|other| other.range.matches(number)).count();
            assert_eq!(covering(one.number(7)), 1, "{}", one.name);
            assert_eq!(covering(one.unassigned()), 0, "{}", one.name);
            assert_eq!(one.number(123_456_789).len(), one.number_digits);
        }
    }

    #[test]
    fn exactly_one_pair_has_no_agreement() {
        let pairs = (0..5).flat_map(|one| (0..one).map(move |other| (one, other)));
        assert_eq!(pairs.filter(|&(one, other)| !have_agreement(one, other, 5)).count(), 1);
    }
}
