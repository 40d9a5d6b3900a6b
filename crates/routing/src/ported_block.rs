//! Some hundred ported numbers side by side, in four or five bytes each.

use std::sync::Arc;

use crate::packed::{Bytes, width, word};

/// Most numbers of a block.
const BLOCK_MAX: usize = if cfg!(test) { 4 } else { 256 };

/// Numbers of a block that is one of several made at once: some can be added before it has to be cut.
pub(crate) const BLOCK_LOADED: usize = BLOCK_MAX / 2;

/// A number as an integer, and which of the routing numbers it has.
pub(crate) type Entry = (u64, u32);

/// Entries sorted by number, at least one. `clone` copies one pointer.
///
/// For each entry there is how far its number is above the first one and its routing number above the least one, in as
/// many bytes as the largest of them needs.
#[derive(Clone)]
pub(crate) struct Block {
    bytes: Arc<[u8]>,
    first: u64,
    least_rn: u32,
    count: u16,
    above_bytes: u8,
    rn_bytes: u8,
}

impl Block {
    /// Of 1 to [`BLOCK_MAX`] entries, sorted.
    pub(crate) fn new(entries: &[Entry]) -> Self {
        let first = entries[0].0;
        let rns = || entries.iter().map(|(_, rn)| *rn);
        let least_rn = rns().min().unwrap_or(0);
        let above_bytes = width(entries[entries.len() - 1].0 - first);
        let rn_bytes = width((rns().max().unwrap_or(0) - least_rn).into());
        let mut bytes = Bytes::of(entries.len() * (above_bytes + rn_bytes));
        for (number, rn) in entries {
            bytes.push(number - first, above_bytes as u8);
            bytes.push((rn - least_rn).into(), rn_bytes as u8);
        }
        Self {
            bytes: bytes.finish().into(),
            first,
            least_rn,
            count: entries.len() as u16,
            above_bytes: above_bytes as u8,
            rn_bytes: rn_bytes as u8,
        }
    }

    /// Bytes of the block itself and on the heap.
    pub(crate) fn bytes(&self) -> usize {
        /// Of the counters of an `Arc`.
        const COUNTERS: usize = 16;
        size_of::<Self>() + COUNTERS + self.bytes.len()
    }

    /// The first number.
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    pub(crate) fn len(&self) -> usize {
        self.count.into()
    }

    pub(crate) fn get(&self, number: u64) -> Option<u32> {
        let above = number.checked_sub(self.first)?;
        let (mut begin, mut end) = (0, self.len());
        while begin < end {
            let middle = begin.midpoint(end);
            if self.above(middle) < above { begin = middle + 1 } else { end = middle }
        }
        (begin < self.len() && self.above(begin) == above).then(|| self.entry(begin).1)
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = Entry> {
        (0..self.len()).map(|at| self.entry(at))
    }

    /// The same of a block that nothing else needs.
    pub(crate) fn into_entries(self) -> impl Iterator<Item = Entry> {
        (0..self.len()).map(move |at| self.entry(at))
    }

    fn entry(&self, at: usize) -> Entry {
        let rn = word(&self.bytes, self.begin(at) + usize::from(self.above_bytes), self.rn_bytes);
        (self.first + self.above(at), self.least_rn + rn as u32)
    }

    fn above(&self, at: usize) -> u64 {
        word(&self.bytes, self.begin(at), self.above_bytes)
    }

    fn begin(&self, at: usize) -> usize {
        at * usize::from(self.above_bytes + self.rn_bytes)
    }
}

/// Sorted entries cut into blocks: as they are where they fit one, else half-full ones of the same size.
pub(crate) fn blocks(entries: &[Entry]) -> impl Iterator<Item = Block> {
    let size = if entries.len() <= BLOCK_MAX { BLOCK_MAX } else { BLOCK_LOADED };
    entries.chunks(size).map(Block::new)
}
