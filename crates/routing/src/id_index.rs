//! From the id of an announcement or a range to its prefix: 16 bytes an object.
//!
//! The index keeps 64 bits folded from the id, not the id: two ids may fold alike, so that the reader looks
//! at each prefix it is given for the object that it means.

use std::sync::Arc;

use uuid::Uuid;

/// Shards by the highest bits of the folded id. An update copies these many pointers and one shard.
const SHARD_BITS: u32 = 10;

/// 64 well-mixed bits of an id; version 7 ids made in one second differ in few bits only.
pub(crate) fn fold(id: Uuid) -> u64 {
    let (high, low) = id.as_u64_pair();
    let mix = |a: u64, b: u64| {
        let product = u128::from(a) * u128::from(b);
        (product as u64) ^ ((product >> 64) as u64)
    };
    mix(mix(high ^ 0x9e37_79b9_7f4a_7c15, 0xd6e8_feb8_6659_fd93) ^ low, 0xa076_1d64_78bd_642f)
}

/// One entry to put in or take out.
pub(crate) struct Edit {
    pub(crate) folded: u64,
    pub(crate) prefix: u64,
    pub(crate) put: bool,
}

/// Folded ids, sorted, each with the prefix of its object.
type Shard = Arc<[(u64, u64)]>;

/// A multi-map from folded id to prefix, each shard sorted. `clone` copies one pointer.
#[derive(Clone, Default)]
pub(crate) struct IdIndex {
    /// No shard, or 2^[`SHARD_BITS`] of them.
    shards: Arc<Vec<Shard>>,
}

impl IdIndex {
    /// The prefixes of the objects whose ids fold to this: one, but for a rare accident.
    pub(crate) fn prefixes(&self, folded: u64) -> impl Iterator<Item = u64> {
        let shard = self.shards.get(shard_of(folded)).map_or(&[][..], |shard| &shard[..]);
        let first = shard.partition_point(|entry| entry.0 < folded);
        shard[first..].iter().take_while(move |entry| entry.0 == folded).map(|entry| entry.1)
    }

    /// Edits sorted by folded id.
    pub(crate) fn edit(&mut self, edits: &[Edit]) {
        if edits.is_empty() {
            return;
        }
        let shards = Arc::make_mut(&mut self.shards);
        if shards.is_empty() {
            shards.resize(1 << SHARD_BITS, Arc::from([]));
        }
        for group in edits.chunk_by(|a, b| shard_of(a.folded) == shard_of(b.folded)) {
            let shard = &mut shards[shard_of(group[0].folded)];
            *shard = merge(shard, group);
        }
    }

    /// Heap bytes, an estimate.
    pub(crate) fn bytes(&self, len: usize) -> usize {
        self.shards.len() * (16 + 16 + 16) + len * 16
    }
}

fn shard_of(folded: u64) -> usize {
    (folded >> (u64::BITS - SHARD_BITS)) as usize
}

fn merge(shard: &[(u64, u64)], edits: &[Edit]) -> Shard {
    let mut merged = Vec::with_capacity(shard.len() + edits.len());
    let mut old = shard;
    for edit in edits.chunk_by(|a, b| a.folded == b.folded) {
        let folded = edit[0].folded;
        let (before, rest) = old.split_at(old.partition_point(|entry| entry.0 < folded));
        let (same, after) = rest.split_at(rest.partition_point(|entry| entry.0 == folded));
        merged.extend_from_slice(before);
        let begin = merged.len();
        merged.extend_from_slice(same);
        for edit in edit {
            if edit.put {
                merged.push((folded, edit.prefix));
            } else if let Some(at) = merged[begin..].iter().position(|entry| entry.1 == edit.prefix) {
                merged.remove(begin + at);
            }
        }
        old = after;
    }
    merged.extend_from_slice(old);
    merged.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(folded: u64, prefix: u64, put: bool) -> Edit {
        Edit { folded, prefix, put }
    }

    fn prefixes(index: &IdIndex, folded: u64) -> Vec<u64> {
        index.prefixes(folded).collect()
    }

    #[test]
    fn what_is_put_is_found_until_it_is_taken_out() {
        let mut index = IdIndex::default();
        assert_eq!(prefixes(&index, 5), [0_u64; 0]);
        index.edit(&[edit(5, 44, true), edit(7, 49, true), edit(u64::MAX, 1, true)]);
        let before = index.clone();
        index.edit(&[edit(5, 44, false), edit(5, 4420, true)]);
        assert_eq!((prefixes(&index, 5), prefixes(&index, 7)), (vec![4420], vec![49]));
        assert_eq!((prefixes(&before, 5), prefixes(&index, u64::MAX)), (vec![44], vec![1]));
    }

    #[test]
    fn ids_that_fold_alike_keep_an_entry_each() {
        let mut index = IdIndex::default();
        index.edit(&[edit(5, 44, true), edit(5, 44, true), edit(5, 49, true)]);
        index.edit(&[edit(5, 44, false)]);
        assert_eq!(prefixes(&index, 5), [44, 49]);
    }

    #[test]
    fn ids_in_a_row_spread_over_the_shards() {
        let shards: std::collections::HashSet<_> =
            (0..4096).map(|n| shard_of(fold(Uuid::from_u128(n)))).collect();
        assert!(shards.len() > 900, "{} of 1024 shards used", shards.len());
    }
}
