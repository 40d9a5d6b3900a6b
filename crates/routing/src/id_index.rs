//! From the id of an announcement or a range to its prefix: 8 bytes an object.
//!
//! The index keeps some bits folded from the id, not the id: many ids fold alike, so that the reader looks at each
//! prefix it is given for the object that it means. With ten million objects that is one or two.

use std::sync::Arc;

use uuid::Uuid;

/// Shards by the highest bits of the folded id. An update copies these many pointers and one shard.
const SHARD_BITS: u32 = 10;

/// An entry is a prefix, of 15 digits at most, below the bits of the folded id that follow those of the shard.
const PREFIX_BITS: u32 = 50;

/// 64 well-mixed bits of an id, of which the index tells the highest apart; version 7 ids made in one second differ in
/// few bits.
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

/// Sorted.
type Shard = Arc<[u64]>;

/// A multi-map from folded id to prefix. `clone` copies one pointer.
#[derive(Clone, Default)]
pub(crate) struct IdIndex {
    /// No shard, or 2^[`SHARD_BITS`] of them.
    shards: Arc<Vec<Shard>>,
}

impl IdIndex {
    /// The prefixes of all objects whose ids fold to this.
    pub(crate) fn prefixes(&self, folded: u64) -> impl Iterator<Item = u64> {
        let shard = self.shards.get(shard_of(folded)).map_or(&[][..], |shard| &shard[..]);
        let first = entry(folded, 0);
        let begin = shard.partition_point(|entry| *entry < first);
        let alike =
            shard[begin..].iter().take_while(move |entry| **entry >> PREFIX_BITS == first >> PREFIX_BITS);
        alike.map(|entry| entry & ((1 << PREFIX_BITS) - 1))
    }

    /// Edits in any order.
    pub(crate) fn edit(&mut self, mut edits: Vec<Edit>) {
        if edits.is_empty() {
            return;
        }
        edits.sort_unstable_by_key(|edit| shard_of(edit.folded));
        let shards = Arc::make_mut(&mut self.shards);
        if shards.is_empty() {
            shards.resize(1 << SHARD_BITS, Arc::from([]));
        }
        for group in edits.chunk_by(|a, b| shard_of(a.folded) == shard_of(b.folded)) {
            let shard = &mut shards[shard_of(group[0].folded)];
            *shard = merge(shard, group);
        }
    }

    /// Heap bytes, with those that counts of references take.
    pub(crate) fn bytes(&self, len: usize) -> usize {
        self.shards.len() * (16 + 16) + len * 8
    }
}

fn shard_of(folded: u64) -> usize {
    (folded >> (u64::BITS - SHARD_BITS)) as usize
}

fn entry(folded: u64, prefix: u64) -> u64 {
    (folded << SHARD_BITS) >> PREFIX_BITS << PREFIX_BITS | prefix
}

/// The shard after edits of its own.
fn merge(shard: &[u64], edits: &[Edit]) -> Shard {
    let mut edits: Vec<_> = edits.iter().map(|edit| (entry(edit.folded, edit.prefix), edit.put)).collect();
    edits.sort_unstable();
    let mut merged = Vec::with_capacity(shard.len() + edits.len());
    let mut old = shard;
    for (entry, put) in edits {
        let (before, rest) = old.split_at(old.partition_point(|other| *other < entry));
        merged.extend_from_slice(before);
        old = rest;
        if put {
            merged.push(entry);
        } else if old.first() == Some(&entry) {
            old = &old[1..];
        }
    }
    merged.extend_from_slice(old);
    merged.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Folds of one shard that the index tells apart.
    const FIVE: u64 = 5 << (PREFIX_BITS - SHARD_BITS);
    const SEVEN: u64 = 7 << (PREFIX_BITS - SHARD_BITS);

    fn edit(folded: u64, prefix: u64, put: bool) -> Edit {
        Edit { folded, prefix, put }
    }

    fn prefixes(index: &IdIndex, folded: u64) -> Vec<u64> {
        index.prefixes(folded).collect()
    }

    #[test]
    fn what_is_put_is_found_until_it_is_taken_out() {
        let mut index = IdIndex::default();
        assert_eq!(prefixes(&index, FIVE), [0_u64; 0]);
        index.edit(vec![edit(FIVE, 44, true), edit(SEVEN, 49, true), edit(u64::MAX, 1, true)]);
        let before = index.clone();
        index.edit(vec![edit(FIVE, 44, false), edit(FIVE, 4420, true)]);
        assert_eq!((prefixes(&index, FIVE), prefixes(&index, SEVEN)), (vec![4420], vec![49]));
        assert_eq!((prefixes(&before, FIVE), prefixes(&index, u64::MAX)), (vec![44], vec![1]));
    }

    #[test]
    fn ids_that_fold_alike_keep_an_entry_each() {
        let mut index = IdIndex::default();
        index.edit(vec![edit(FIVE, 44, true), edit(FIVE, 44, true), edit(FIVE, 49, true)]);
        index.edit(vec![edit(FIVE, 44, false)]);
        assert_eq!(prefixes(&index, FIVE), [44, 49]);
    }

    #[test]
    fn ids_in_a_row_spread_over_the_shards() {
        let shards: std::collections::HashSet<_> =
            (0..4096).map(|n| shard_of(fold(Uuid::from_u128(n)))).collect();
        assert!(shards.len() > 900, "{} of 1024 shards used", shards.len());
    }
}
