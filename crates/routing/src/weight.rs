//! The order in which endpoints, and the servers of one, are tried: priority, then a draw by weight (RFC 2782).

use smallvec::SmallVec;
use tandem_model::CallId;

/// What decides among the endpoints of a call: the random half of its id, so that the same call is drawn alike again.
pub fn draw_of(call: CallId) -> u64 {
    call.0.as_u128() as u64
}

/// SplitMix64: from one number as many as are needed, each well mixed.
struct Draws(u64);

impl Draws {
    /// From 0 to `bound` - 1; `bound` is less than 2^32, so that no value is preferred by more than 2^-32.
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        ((u128::from(bits) * u128::from(bound)) >> 64) as u64
    }
}

/// What is ordered, with what orders it.
#[derive(Debug)]
pub struct Weighted<T, Tie> {
    /// Lower comes first.
    pub priority: u32,
    /// Share of the first places among those of the same priority.
    pub weight: u16,
    /// Makes the outcome independent of the order given.
    pub tie: Tie,
    /// What is ordered.
    pub item: T,
}

/// Lower priorities first; among equals each is drawn in proportion to its weight, again and again among
/// those that are left.
///
/// Weight 0 is as in RFC 2782: it comes before others only with the small chance of one part among the sum of
/// the weights. Where the RFC draws from 0 to the sum inclusive always, 0 is drawn here only if an endpoint of
/// weight 0 is there to take it: otherwise the first of two endpoints of weight 1 would get two thirds. Where all
/// weights are 0 each is as likely.
pub fn order<T, Tie: Ord + Copy, const N: usize>(items: &mut SmallVec<[Weighted<T, Tie>; N]>, draw: u64)
where
    [Weighted<T, Tie>; N]: smallvec::Array<Item = Weighted<T, Tie>>,
{
    if items.len() < 2 {
        return;
    }
    items.sort_unstable_by_key(|item| (item.priority, item.weight != 0, item.tie));
    let mut draws = Draws(draw);
    for group in items.chunk_by_mut(|a, b| a.priority == b.priority) {
        let mut left = group;
        while left.len() > 1 {
            let chosen = choose(left, &mut draws);
            left[..=chosen].rotate_right(1);
            left = &mut left[1..];
        }
    }
}

/// Draws one of several that are sorted with weight 0 first.
fn choose<T, Tie>(left: &[Weighted<T, Tie>], draws: &mut Draws) -> usize {
    let zeros = left.iter().take_while(|item| item.weight == 0).count();
    let sum: u64 = left.iter().map(|item| u64::from(item.weight)).sum();
    let drawn = if zeros > 0 { draws.below(sum + 1) } else { 1 + draws.below(sum) };
    if drawn == 0 {
        return draws.below(zeros as u64) as usize;
    }
    let mut running = 0;
    left.iter()
        .position(|item| {
            running += u64::from(item.weight);
            running >= drawn
        })
        .expect("what is drawn is at most the sum")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWS: u64 = 100_000;

    /// How often each of several of one priority comes first.
    fn firsts(weights: &[u16]) -> Vec<u64> {
        let mut firsts = vec![0; weights.len()];
        for draw in 0..DRAWS {
            let items = weights.iter().enumerate();
            let mut items: SmallVec<[_; 4]> =
                items.map(|(tie, &weight)| Weighted { priority: 0, weight, tie, item: tie }).collect();
            order(&mut items, draw);
            firsts[items[0].item] += 1;
        }
        firsts
    }

    /// Asserts that counts are as likely as 999 of 1000 are, given the odds of each.
    fn assert_split(counts: &[u64], odds: &[u64]) {
        // The 99.9 % quantiles of chi-square with 1, 2 and 3 degrees of freedom.
        const QUANTILES: [f64; 3] = [10.83, 13.82, 16.27];
        let sum: u64 = odds.iter().sum();
        let chi_square: f64 = counts
            .iter()
            .zip(odds)
            .map(|(&count, &odds)| {
                let expected = (DRAWS * odds) as f64 / sum as f64;
                (count as f64 - expected).powi(2) / expected
            })
            .sum();
        assert!(chi_square < QUANTILES[counts.len() - 2], "{counts:?} for {odds:?}: {chi_square}");
    }

    #[test]
    fn calls_split_in_proportion_to_the_weights() {
        for weights in [&[1, 1][..], &[1, 3], &[60, 30, 10], &[5, 10, 20, 65], &[65535, 65535]] {
            let odds: Vec<_> = weights.iter().map(|&weight| u64::from(weight)).collect();
            assert_split(&firsts(weights), &odds);
        }
    }

    #[test]
    fn weight_0_has_one_part_among_the_sum_and_is_as_good_as_another_0() {
        assert_split(&firsts(&[0, 9]), &[1, 9]);
        assert_split(&firsts(&[9, 0]), &[9, 1]);
        assert_split(&firsts(&[0, 0, 0]), &[1, 1, 1]);
    }

    #[test]
    fn the_second_is_drawn_among_those_that_are_left() {
        let mut seconds = [0; 2];
        for draw in 0..DRAWS {
            let weight = [1000, 30, 10];
            let mut items: SmallVec<[_; 4]> = (0..3)
                .map(|n: usize| Weighted { priority: u32::from(n != 0), weight: weight[n], tie: n, item: n })
                .collect();
            order(&mut items, draw);
            assert_eq!(items[0].item, 0);
            seconds[items[1].item - 1] += 1;
        }
        assert_split(&seconds, &[3, 1]);
    }

    #[test]
    fn the_order_given_does_not_matter() {
        for draw in 0..100 {
            let ordered = |ties: [usize; 3]| {
                let mut items: SmallVec<[_; 4]> = ties
                    .into_iter()
                    .map(|tie| Weighted { priority: 0, weight: tie as u16, tie, item: tie })
                    .collect();
                order(&mut items, draw);
                items.into_iter().map(|item| item.item).collect::<Vec<_>>()
            };
            assert_eq!(ordered([0, 1, 2]), ordered([2, 0, 1]));
        }
    }
}
