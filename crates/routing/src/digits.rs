//! Digits of numbers and prefixes as a tree by digit wants them: in the order of a dictionary, and one after another.

use tandem_model::{MAX_DIGITS, POW10, without_last};

/// How many digits a number or prefix has that does not begin with 0.
pub(crate) fn count(value: u64) -> usize {
    value.ilog10() as usize + 1
}

/// A prefix in the order of a dictionary: each comes right before those that it begins.
///
/// The digits fill 15 places from the left; how many they are is in the lowest four bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key(u64);

impl Key {
    /// Of a prefix of 1 to 15 digits, the first not 0.
    pub(crate) fn of(prefix: u64) -> Self {
        let len = count(prefix);
        Self((prefix * POW10[MAX_DIGITS - len]) << 4 | len as u64)
    }

    /// No digits.
    pub(crate) const EMPTY: Self = Self(0);

    /// What comes right before the prefix of these `len` digits, which may have become one more than they can be.
    fn before(prefix: u64, len: usize) -> Self {
        Self((prefix * POW10[MAX_DIGITS - len]) << 4)
    }

    /// The digits of this one and then those of `rest`, of which there are `len` before they are filled up to `places`.
    pub(crate) fn then(self, rest: u64, len: usize, places: usize) -> Self {
        Self(self.0 + ((rest * POW10[MAX_DIGITS - self.len() - places]) << 4) + len as u64)
    }

    /// The first so many digits.
    pub(crate) fn cut(self, len: usize) -> Self {
        Self(Self::before(self.leading(len), len).0 | len as u64)
    }

    pub(crate) fn len(self) -> usize {
        (self.0 & 15) as usize
    }

    /// The digits from `depth` on, as an integer of `places` digits: cut off or filled up with 0.
    pub(crate) fn rest(self, depth: usize, places: usize) -> u64 {
        self.leading(depth + places) - self.leading(depth) * POW10[places]
    }

    /// As an integer of 54 bits in the same order.
    pub(crate) fn bits(self) -> u64 {
        self.0
    }

    /// Of such an integer.
    pub(crate) fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The prefix again, as an integer.
    pub(crate) fn prefix(self) -> u64 {
        self.leading(self.len())
    }

    /// Whether this prefix begins the other one, or is it.
    pub(crate) fn begins(self, other: Self) -> bool {
        self.len() <= other.len() && other.leading(self.len()) == self.prefix()
    }

    /// The first so many digits as an integer, filled up with 0.
    pub(crate) fn leading(self, len: usize) -> u64 {
        without_last(self.0 >> 4, MAX_DIGITS - len)
    }
}

/// The digits of a number, taken from the left: what is left of them is a binary fraction, so that ten times it has
/// the next digit before the point.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Digits {
    /// Of 2^64; above the exact value by less than 2^3 at first, and ten times that with each digit taken. A digit is
    /// wrong only from 2^64 / 10^15 > 2^14 on.
    fraction: u64,
    len: usize,
}

impl Digits {
    /// Of a number or prefix of 1 to 15 digits, the first not 0.
    pub(crate) fn of(value: u64) -> Self {
        /// 2^112 / 10^15, rounded up.
        const SCALE: u128 = (1_u128 << 112).div_ceil(POW10[MAX_DIGITS] as u128);
        let len = count(value);
        let left = u128::from(value * POW10[MAX_DIGITS - len]);
        Self { fraction: ((left * SCALE) >> 48) as u64 + 1, len }
    }

    /// How many are left.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The next `len` digits as an integer; at most as many as are left.
    pub(crate) fn leading(&self, len: usize) -> u64 {
        ((u128::from(self.fraction) * u128::from(POW10[len])) >> 64) as u64
    }

    /// The next `len` digits as an integer, and the others; there are as many left.
    pub(crate) fn split(self, len: usize) -> (usize, Self) {
        let product = u128::from(self.fraction) * u128::from(POW10[len]);
        ((product >> 64) as usize, Self { fraction: product as u64, len: self.len - len })
    }
}

/// What is sorted by prefix.
pub(crate) trait Keyed {
    fn key(&self) -> Key;
}

/// Of what is sorted by prefix, and begins with the same `depth` digits: what is too short to be told apart by the `width`
/// digits that follow, and the others by these digits. Without any it is what has just those in common.
pub(crate) fn split<I: Keyed>(mut items: &[I], depth: usize, width: usize) -> (Vec<&I>, Vec<&[I]>) {
    let above = items.first().map_or(0, |item| item.key().leading(depth));
    let mut here: Vec<_> = split_off(&mut items, |item| item.key().len() == depth).iter().collect();
    let children = above * POW10[width]..(above + 1) * POW10[width];
    let below = children.map(|child| {
        // Below the last digit there is nothing to split.
        if items.is_empty() {
            return items;
        }
        let end = Key::before(child + 1, depth + width);
        let mut of_child = split_off(&mut items, |item| item.key() < end);
        // A prefix that is too short comes before the first child that it begins.
        here.extend(split_off(&mut of_child, |item| item.key().len() < depth + width));
        of_child
    });
    let below = below.collect();
    (here, below)
}

/// Takes the first ones away, for which something holds that does for none after them.
fn split_off<'a, I>(items: &mut &'a [I], holds: impl Fn(&I) -> bool) -> &'a [I] {
    let (first, rest) = items.split_at(items.partition_point(holds));
    *items = rest;
    first
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn digits_come_out_as_they_are_written(value in 1..1_000_000_000_000_000_u64, cut in 0..15_u32) {
            let value = (value / 10_u64.pow(cut)).max(1);
            let text = value.to_string();
            let mut digits = Digits::of(value);
            for at in 0..text.len() {
                for len in 1..=text.len() - at {
                    prop_assert_eq!(digits.leading(len), text[at..at + len].parse::<u64>().unwrap());
                }
                if let Some(two) = text.get(at..at + 2) {
                    let (found, rest) = digits.split(2);
                    prop_assert_eq!((found, rest.len()), (two.parse::<usize>().unwrap(), text.len() - at - 2));
                }
                let (digit, rest) = digits.split(1);
                prop_assert_eq!(digit, usize::from(text.as_bytes()[at] - b'0'));
                digits = rest;
            }
            prop_assert_eq!((digits.len(), digits.leading(0)), (0, 0));
        }

        #[test]
        fn keys_are_in_the_order_of_a_dictionary(a in "[1-9][0-9]{0,14}", b in "[1-9][0-9]{0,14}") {
            let key = |text: &str| Key::of(text.parse().unwrap());
            prop_assert_eq!(key(&a).cmp(&key(&b)), a.cmp(&b));
            prop_assert_eq!((key(&a).len(), key(&a).leading(a.len()).to_string()), (a.len(), a));
        }
    }
}
