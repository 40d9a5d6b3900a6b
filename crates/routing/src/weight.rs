//! The order in which endpoints are tried: priority, then a draw by weight (RFC 2782).

use smallvec::SmallVec;

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

/// What is ordered, with what orders it. `tie` makes the outcome independent of the order given.
pub(crate) struct Weighted<T, Tie> {
    pub(crate) priority: u16,
    pub(crate) weight: u16,
    pub(crate) tie: Tie,
    pub(crate) item: T,
}

/// Lower priorities first; among equals each is drawn in proportion to its weight, again and again among
/// those that are left.
///
/// Weight 0 is as in RFC 2782: it comes before others only with the small chance of one part among the sum of
/// the weights. Where the RFC draws from 0 to the sum inclusive always, 0 is drawn here only if an endpoint of
/// weight 0 is there to take it: otherwise the first of two endpoints of weight 1 would get two thirds. Where all
/// weights are 0 each is as likely.
pub(crate) fn order<T, Tie: Ord + Copy, const N: usize>(
    items: &mut SmallVec<[Weighted<T, Tie>; N]>,
    draw: u64,
) where
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
