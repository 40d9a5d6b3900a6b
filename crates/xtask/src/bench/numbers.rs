//! The numbering plan of the bench: prefixes in the shape of a world-wide rate deck, and numbers to call.

use std::collections::BTreeSet;

/// Country codes (ITU-T E.164), a prefix begins with one of them.
const COUNTRIES: &str = "1 7 20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 54 55 56 57 60 61 62 63 \
    64 65 66 81 82 84 86 90 91 92 93 94 95 98 212 213 216 218 220 221 233 234 237 249 251 254 255 256 260 263 350 \
    351 352 353 354 355 356 357 358 359 370 371 372 373 374 375 376 377 380 381 385 386 387 389 420 421 501 502 \
    503 504 505 506 507 509 591 592 593 595 597 598 673 852 853 855 856 880 886 960 961 962 963 964 965 966 967 \
    968 971 972 973 974 975 976 977 992 993 994 995 996 998";

/// Digits of the numbers of most countries, the code included.
const NUMBER_DIGITS: usize = 12;

/// Those of the countries that have no such numbers, by libphonenumber's metadata: the hub refuses a called number that
/// is too short or too long for its country.
const OTHER_DIGITS: [(usize, &str); 4] = [
    (10, "45 47 220 592 597 673"),
    (
        11,
        "1 7 32 33 34 36 40 41 51 93 94 216 350 356 357 370 371 373 374 386 389 502 503 504 505 509 853 961 965 973 \
         975 993",
    ),
    (13, "234 372 506 507 960 977"),
    (14, "501"),
];

/// `count` distinct prefixes, always the same: the more there are, the deeper they reach.
pub(crate) fn prefixes(count: usize) -> Vec<String> {
    let countries: Vec<&str> = COUNTRIES.split(' ').collect();
    let further = match count {
        0..=2_000 => 1..=4,
        2_001..=200_000 => 3..=6,
        _ => 4..=7,
    };
    let mut random = Random(count as u64);
    let mut prefixes: BTreeSet<String> =
        countries.iter().take(count).map(|&country| country.to_owned()).collect();
    while prefixes.len() < count {
        let country = countries[random.below(countries.len())];
        let digits = further.start() + random.below(further.end() - further.start() + 1);
        prefixes.insert(random.with_digits(country, digits));
    }
    prefixes.into_iter().collect()
}

/// `count` numbers to call, each below one of `prefixes`, and as long as the numbers of its country.
pub(crate) fn numbers(prefixes: &[String], count: usize) -> Vec<String> {
    let mut random = Random(7);
    let mut number = || {
        let prefix = &prefixes[random.below(prefixes.len())];
        random.with_digits(prefix, digits(prefix).saturating_sub(prefix.len()))
    };
    (0..count).map(|_| number()).collect()
}

/// How long a number is that begins with these digits: no code begins with another one.
fn digits(number: &str) -> usize {
    let is_in = |codes: &str| codes.split_ascii_whitespace().any(|code| number.starts_with(code));
    OTHER_DIGITS.iter().find(|(_, codes)| is_in(codes)).map_or(NUMBER_DIGITS, |&(digits, _)| digits)
}

/// SplitMix64: the same numbers in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }

    fn with_digits(&mut self, start: &str, digits: usize) -> String {
        let mut text = start.to_owned();
        text.extend((0..digits).map(|_| char::from(b'0' + self.below(10) as u8)));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_prefixes_as_asked_for_and_each_run_has_the_same() {
        for count in [1, 100, 1_000, 5_000] {
            let made = prefixes(count);
            assert_eq!(made.len(), count);
            assert_eq!(made, prefixes(count));
        }
    }

    #[test]
    fn each_number_lies_below_a_prefix_and_is_one_of_e164() {
        let prefixes = prefixes(1_000);
        for number in numbers(&prefixes, 500) {
            assert!(prefixes.iter().any(|prefix| number.starts_with(prefix)), "{number}");
            assert!(number.len() == digits(&number) && !number.starts_with('0'), "{number}");
        }
    }
}
