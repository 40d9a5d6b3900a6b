//! Some hundred entries of the tree whose prefixes begin alike, packed: a lookup waits for memory two or three times.
//!
//! `bytes` holds the keys of all entries in order, then a row for each. A key is what follows the digits that all have
//! in common, filled up to as many as the longest has, with its length in the lowest four bits. A row is the entry's
//! id and which of `commons` it has. Of an id the first six bytes, which are a time in version 7 (RFC 9562 §5.7), are
//! kept as what they are above the least of the leaf. Keys and times take as many bytes as the largest needs.

use std::ops::ControlFlow;
use std::sync::Arc;

use uuid::Uuid;

use crate::digits::{Digits, Key, POW10};
use crate::packed::{width, word};

/// Most entries of a leaf: what an entry has of `commons` is one byte.
pub(crate) const LEAF_MAX: usize = if cfg!(test) { 4 } else { 256 };

/// Keys of which the first is looked at before the others: these first ones come from memory all at once.
const STRIDE: usize = 16;

/// Bytes of a time, of the rest of an id, and of the number of what it has in common.
const TIME_BYTES: usize = 6;
const REST_BYTES: usize = 10;
const COMMON_BYTES: usize = 1;

/// What is kept under a prefix, by id: the time from which it holds, and the terms that it shares with others.
pub(crate) struct Item<T> {
    pub(crate) key: Key,
    pub(crate) id: Uuid,
    pub(crate) common: Common<T>,
}

/// What entries often have alike.
pub(crate) struct Common<T> {
    pub(crate) from_ns: i64,
    pub(crate) terms: Arc<T>,
}

/// An entry that was found.
pub(crate) struct Found<'a, T> {
    pub(crate) id: Uuid,
    pub(crate) from_ns: i64,
    pub(crate) terms: &'a T,
}

impl<T> Clone for Common<T> {
    fn clone(&self) -> Self {
        Self { from_ns: self.from_ns, terms: Arc::clone(&self.terms) }
    }
}

impl<T> PartialEq for Common<T> {
    fn eq(&self, other: &Self) -> bool {
        self.from_ns == other.from_ns && Arc::ptr_eq(&self.terms, &other.terms)
    }
}

impl<T> Clone for Item<T> {
    fn clone(&self) -> Self {
        Self { key: self.key, id: self.id, common: self.common.clone() }
    }
}

impl<T> Clone for Found<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Found<'_, T> {}

impl<T> Item<T> {
    pub(crate) fn found(&self) -> Found<'_, T> {
        Found { id: self.id, from_ns: self.common.from_ns, terms: &self.common.terms }
    }
}

/// Entries sorted by key and id. `clone` copies two pointers.
pub(crate) struct Leaf<T> {
    bytes: Arc<[u8]>,
    commons: Arc<[Common<T>]>,
    /// Of the ids' times.
    least_ms: u64,
    shape: Shape,
}

/// How a leaf is to be read.
#[derive(Clone, Copy)]
struct Shape {
    count: u16,
    /// Bit n is set where a key has n digits.
    lengths: u16,
    /// Digits of the longest key.
    places: u8,
    key_bytes: u8,
    time_bytes: u8,
}

impl<T> Clone for Leaf<T> {
    fn clone(&self) -> Self {
        Self { bytes: Arc::clone(&self.bytes), commons: Arc::clone(&self.commons), ..*self }
    }
}

fn time_ms(id: Uuid) -> u64 {
    (id.as_u128() >> (8 * REST_BYTES)) as u64
}

impl<T> Leaf<T> {
    /// Of 1 to [`LEAF_MAX`] entries, sorted, that have the first `depth` digits in common. Where they have in common what
    /// is in `last` already, which is often so in neighbouring leaves, that is kept once.
    pub(crate) fn new(depth: usize, items: &[Item<T>], last: &mut Option<Arc<[Common<T>]>>) -> Self {
        let places = items.iter().map(|item| item.key.len()).max().unwrap_or(depth) - depth;
        let key = |item: &Item<T>| item.key.rest(depth, places) << 4 | (item.key.len() - depth) as u64;
        let times = || items.iter().map(|item| time_ms(item.id));
        let least_ms = times().min().unwrap_or(0);
        let key_bytes = items.last().map_or(0, |item| width(key(item)));
        let time_bytes = width(times().max().unwrap_or(0) - least_ms);
        let mut bytes =
            Vec::with_capacity(items.len() * (key_bytes + time_bytes + REST_BYTES + COMMON_BYTES));
        let mut lengths = 0;
        for item in items {
            lengths |= 1 << (item.key.len() - depth);
            bytes.extend_from_slice(&key(item).to_le_bytes()[..key_bytes]);
        }
        let mut commons: Vec<Common<T>> = Vec::new();
        for item in items {
            let known = commons.iter().rposition(|common| *common == item.common);
            let common = known.unwrap_or_else(|| {
                commons.push(item.common.clone());
                commons.len() - 1
            });
            bytes.extend_from_slice(&(time_ms(item.id) - least_ms).to_le_bytes()[..time_bytes]);
            bytes.extend_from_slice(&item.id.as_bytes()[TIME_BYTES..]);
            bytes.push(common as u8);
        }
        let shape = Shape {
            count: items.len() as u16,
            lengths,
            places: places as u8,
            key_bytes: key_bytes as u8,
            time_bytes: time_bytes as u8,
        };
        let commons = match last {
            Some(last) if **last == commons[..] => Arc::clone(last),
            _ => Arc::clone(last.insert(commons.into())),
        };
        Self { bytes: bytes.into(), commons, least_ms, shape }
    }

    /// What its entries have in common.
    pub(crate) fn commons(&self) -> Arc<[Common<T>]> {
        Arc::clone(&self.commons)
    }

    pub(crate) fn len(&self) -> usize {
        self.shape.count.into()
    }

    /// Heap bytes, with those that counts of references take; what it shares with other leaves is counted in each.
    pub(crate) fn bytes(&self) -> usize {
        2 * 16 + self.bytes.len() + self.commons.len() * size_of::<Common<T>>()
    }

    /// How many prefixes differ.
    pub(crate) fn prefixes(&self) -> usize {
        (0..self.len()).filter(|at| *at == 0 || self.key(*at) != self.key(at - 1)).count()
    }

    /// Gives the entries under prefixes that the digits begin with, as how many of them, the longest first.
    #[inline]
    pub(crate) fn matches<'a>(
        &'a self,
        digits: &Digits,
        mut visit: impl FnMut(usize, Found<'a, T>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let Shape { mut lengths, places, .. } = self.shape;
        let places = usize::from(places);
        let key = |len: usize| (digits.leading(len) * POW10[places - len]) << 4 | len as u64;
        // In the order of a dictionary whatever begins the digits comes before them, the longest last.
        let whole = digits.len().min(places);
        lengths &= u16::MAX >> (15 - whole);
        let mut end = self.rank(key(whole) + 1, self.len());
        while end > 0 {
            let last = self.key(end - 1);
            // What begins the digits and comes before the last begins the last, too: only so long can it be.
            lengths &= u16::MAX >> (15 - (last & 15));
            let wanted = loop {
                let Some(len) = lengths.checked_ilog2() else { return ControlFlow::Continue(()) };
                lengths &= !(1 << len);
                let key = key(len as usize);
                if key <= last {
                    break key;
                }
            };
            if last != wanted {
                end = self.rank(wanted + 1, end);
            }
            let begin = (0..end).rev().take_while(|at| self.key(*at) == wanted).last().unwrap_or(end);
            let len = (wanted & 15) as usize;
            (begin..end).try_for_each(|at| visit(len, self.found(at)))?;
            end = begin;
        }
        ControlFlow::Continue(())
    }

    /// How many of the first `end` keys are less.
    fn rank(&self, key: u64, end: usize) -> usize {
        let blocks = (0..end).step_by(STRIDE).filter(|at| self.key(*at) < key).count();
        let Some(begin) = blocks.checked_sub(1).map(|block| block * STRIDE) else { return 0 };
        let block = begin + 1..end.min(begin + STRIDE);
        begin + 1 + block.filter(|at| self.key(*at) < key).count()
    }

    fn key(&self, at: usize) -> u64 {
        word(&self.bytes, at * usize::from(self.shape.key_bytes), self.shape.key_bytes)
    }

    fn found(&self, at: usize) -> Found<'_, T> {
        let (id, common) = self.row(at);
        Found { id, from_ns: common.from_ns, terms: &common.terms }
    }

    fn row(&self, at: usize) -> (Uuid, &Common<T>) {
        let Shape { count, key_bytes, time_bytes, .. } = self.shape;
        let time_len = usize::from(time_bytes);
        let row_len = time_len + REST_BYTES + COMMON_BYTES;
        let begin = usize::from(count) * usize::from(key_bytes) + at * row_len;
        let time = self.least_ms + word(&self.bytes, begin, time_bytes);
        let row = &self.bytes[begin + time_len..begin + row_len];
        let mut id = [0; 16];
        id[..TIME_BYTES].copy_from_slice(&time.to_be_bytes()[8 - TIME_BYTES..]);
        id[TIME_BYTES..].copy_from_slice(&row[..REST_BYTES]);
        (Uuid::from_bytes(id), &self.commons[usize::from(row[REST_BYTES])])
    }

    /// Every entry in order; `above` are the digits that all have in common.
    pub(crate) fn items(&self, above: u64) -> impl Iterator<Item = Item<T>> {
        (0..self.len()).map(move |at| {
            let (id, common) = self.row(at);
            Item { key: Key::of(self.prefix(at, above)), id, common: common.clone() }
        })
    }

    /// Every entry with its prefix, in order.
    pub(crate) fn for_each<'a>(&'a self, above: u64, mut visit: impl FnMut(u64, Found<'a, T>)) {
        (0..self.len()).for_each(|at| visit(self.prefix(at, above), self.found(at)));
    }

    fn prefix(&self, at: usize, above: u64) -> u64 {
        let key = self.key(at);
        let len = (key & 15) as usize;
        above * POW10[len] + (key >> 4) / POW10[usize::from(self.shape.places) - len]
    }
}
