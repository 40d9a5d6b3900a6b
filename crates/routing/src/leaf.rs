//! Up to some thousand entries of the tree whose prefixes begin alike, packed: a lookup waits for distant memory twice.
//!
//! The next one or two digits after those that all have in common are its index, which says where the group of entries
//! with these digits begins. After the groups come entries of prefixes that are too short for the index.
//!
//! The bytes of a leaf are a key for each entry, then a row for each. A key is the digits after the index, filled up to
//! as many as the longest has, how many they are in four bits, and how far before it in its group the entry above it is:
//! the last one of the longest shorter prefix that begins its own. A row is the entry's id, from when on it holds, and which
//! of the leaf's terms it has. Of an id the first six bytes, which are a time in version 7 (RFC 9562 §5.7), are kept as what
//! they are above the least of the leaf, as are the other times. All but the rest of an id take as many bytes as the largest
//! of their kind needs: none where all entries have the same, as those of one owner often do.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use ahash::AHashMap;
use tandem_model::POW10;
use triomphe::ThinArc;
use uuid::Uuid;

use crate::digits::{Digits, Key, Keyed, split};
use crate::packed::{Bytes, width, word};

/// Most entries of a leaf; each change copies one.
pub(crate) const LEAF_MAX: usize = if cfg!(test) { 8 } else { 4096 };

const _: () = assert!(LEAF_MAX <= u16::MAX as usize, "entries are counted by 16 bits");

/// From how many entries on the index has one digit, and two.
const INDEXED: [usize; 2] = if cfg!(test) { [2, 4] } else { [100, 1000] };

/// Keys of which the first is looked at before the others: these first ones come from memory all at once.
const STRIDE: usize = 12;

/// Bits of a key that say how far before it the one above it is.
const ABOVE_BITS: u32 = 8;

/// What they are where none is, and where it is this far or farther.
const NONE: u8 = 0;
const FAR: u8 = if cfg!(test) { 2 } else { 255 };

/// Bytes of a time, and of the rest of an id.
const TIME_BYTES: usize = 6;
const REST_BYTES: usize = 10;

/// What is kept under a prefix, by id.
pub(crate) struct Item<T> {
    pub(crate) key: Key,
    pub(crate) id: Uuid,
    pub(crate) entry: Entry<T>,
}

/// The time from which it holds, and the terms that it shares with others.
pub(crate) struct Entry<T> {
    pub(crate) from_ns: i64,
    pub(crate) terms: Arc<T>,
}

/// An entry that was found.
pub(crate) struct Found<'a, T> {
    pub(crate) id: Uuid,
    pub(crate) from_ns: i64,
    pub(crate) terms: &'a T,
}

impl<T> Clone for Entry<T> {
    fn clone(&self) -> Self {
        Self { from_ns: self.from_ns, terms: Arc::clone(&self.terms) }
    }
}

impl<T> Clone for Item<T> {
    fn clone(&self) -> Self {
        Self { key: self.key, id: self.id, entry: self.entry.clone() }
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
        Found { id: self.id, from_ns: self.entry.from_ns, terms: &self.entry.terms }
    }
}

impl<T> Keyed for Item<T> {
    fn key(&self) -> Key {
        self.key
    }
}

/// Entries sorted by key and id. `clone` copies a pointer.
pub(crate) struct Leaf<T> {
    /// The slice has where each group begins, and where the last one ends.
    body: ThinArc<Head<T>, u16>,
    shape: Shape,
}

/// The terms of entries, each once: mostly all have the same.
pub(crate) enum TermSet<T> {
    One(Arc<T>),
    Many(Arc<[Arc<T>]>),
}

impl<T> Clone for TermSet<T> {
    fn clone(&self) -> Self {
        match self {
            Self::One(terms) => Self::One(Arc::clone(terms)),
            Self::Many(terms) => Self::Many(Arc::clone(terms)),
        }
    }
}

impl<T> TermSet<T> {
    #[inline]
    fn get(&self, at: usize) -> &Arc<T> {
        match self {
            Self::One(terms) => terms,
            Self::Many(terms) => &terms[at],
        }
    }

    /// Heap bytes, with those that counts of references take.
    fn bytes(&self) -> usize {
        match self {
            Self::One(_) => 0,
            Self::Many(terms) => 16 + size_of_val(&terms[..]),
        }
    }
}

struct Head<T> {
    terms: TermSet<T>,
    /// Keys, then rows.
    bytes: Box<[u8]>,
    rows: Rows,
}

/// How rows are to be read.
#[derive(Clone, Copy)]
struct Rows {
    /// Of the ids' times, and of the times from which entries hold.
    least_ms: u64,
    least_ns: i64,
    /// What the latter are counted in from there: microseconds, where that is exact.
    unit_ns: u32,
    time_bytes: u8,
    from_bytes: u8,
    number_bytes: u8,
}

impl Rows {
    fn of<T>(items: &[&Item<T>], terms: usize) -> Self {
        let times = || items.iter().map(|item| time_ms(item.id));
        let froms = || items.iter().map(|item| item.entry.from_ns);
        let (least_ms, least_ns) = (times().min().unwrap_or(0), froms().min().unwrap_or(0));
        let is_whole = froms().all(|from_ns| from_ns.wrapping_sub(least_ns).cast_unsigned() % 1000 == 0);
        let mut rows = Self {
            least_ms,
            least_ns,
            unit_ns: if is_whole { 1000 } else { 1 },
            time_bytes: width(times().max().unwrap_or(0) - least_ms) as u8,
            from_bytes: 0,
            number_bytes: width(terms as u64 - 1) as u8,
        };
        rows.from_bytes = width(froms().max().map_or(0, |from_ns| rows.units(from_ns))) as u8;
        rows
    }

    /// How long after the first one that is.
    fn units(self, from_ns: i64) -> u64 {
        from_ns.wrapping_sub(self.least_ns).cast_unsigned() / u64::from(self.unit_ns)
    }

    fn time_ns(self, units: u64) -> i64 {
        self.least_ns.wrapping_add((units * u64::from(self.unit_ns)).cast_signed())
    }

    /// Where in a row that begins there the time of the id is, the other time, the number of the terms, and the end.
    fn columns(self, begin: usize) -> [usize; 4] {
        let time = begin + REST_BYTES;
        let from = time + usize::from(self.time_bytes);
        let number = from + usize::from(self.from_bytes);
        [time, from, number, number + usize::from(self.number_bytes)]
    }

    /// Bytes of a row.
    fn bytes(self) -> usize {
        self.columns(0)[3]
    }
}

/// How a leaf is to be read: kept beside the pointer to it, so that its index is asked for at once.
#[derive(Clone, Copy)]
struct Shape {
    count: u16,
    /// Digits of the index.
    index: u8,
    /// Digits of the longest key.
    places: u8,
    key_bytes: u8,
    /// Whether some prefixes are too short for the index.
    has_short: bool,
}

impl<T> Clone for Leaf<T> {
    fn clone(&self) -> Self {
        Self { body: ThinArc::clone(&self.body), ..*self }
    }
}

/// The terms of entries, each once, and which of them each has.
fn numbered<T>(items: &[&Item<T>]) -> (Vec<Arc<T>>, Vec<u16>) {
    let mut all: Vec<Arc<T>> = Vec::new();
    let mut known: AHashMap<*const T, u16> = AHashMap::new();
    let mut number = 0;
    let mut numbers = Vec::with_capacity(items.len());
    for Item { entry: Entry { terms, .. }, .. } in items {
        if !all.get(usize::from(number)).is_some_and(|last| Arc::ptr_eq(last, terms)) {
            number = *known.entry(Arc::as_ptr(terms)).or_insert_with(|| {
                all.push(Arc::clone(terms));
                (all.len() - 1) as u16
            });
        }
        numbers.push(number);
    }
    (all, numbers)
}

/// Of each entry of a group how far before it is the last one under the longest shorter prefix that begins its own.
fn above<T>(group: &[Item<T>]) -> impl Iterator<Item = u8> {
    // The entries that may begin the next one, the longest last, each with the one above it.
    let mut open: Vec<(usize, Option<usize>)> = Vec::new();
    group.iter().enumerate().map(move |(at, item)| {
        while open.pop_if(|(last, _)| !group[*last].key.begins(item.key)).is_some() {}
        let above = match open.last() {
            Some((last, above)) if group[*last].key == item.key => {
                let above = *above;
                open.pop();
                above
            }
            last => last.map(|(last, _)| *last),
        };
        open.push((at, above));
        above.map_or(NONE, |above| (at - above).min(FAR.into()) as u8)
    })
}

fn is_same<T>(some: &[Arc<T>], others: &[Arc<T>]) -> bool {
    some.len() == others.len() && some.iter().zip(others).all(|(a, b)| Arc::ptr_eq(a, b))
}

fn time_ms(id: Uuid) -> u64 {
    (id.as_u128() >> (8 * REST_BYTES)) as u64
}

impl<T> Leaf<T> {
    /// Of 1 to [`LEAF_MAX`] entries, sorted, that have the first `depth` digits in common. Where their terms are those of
    /// `last`, which is often so in neighbouring leaves, the set of them is kept once.
    pub(crate) fn new(depth: usize, items: &[Item<T>], last: &mut Option<TermSet<T>>) -> Self {
        let longest = items.iter().map(|item| item.key.len()).max().unwrap_or(depth) - depth;
        let index = INDEXED.iter().filter(|least| items.len() >= **least).count().min(longest);
        let (short, groups) = split(items, depth, index);
        let bottom = depth + index;
        let places = longest - index;

        let mut words = Vec::with_capacity(items.len());
        let mut starts = vec![0];
        for group in &groups {
            words.extend(group.iter().zip(above(group)).map(|(item, above)| {
                let key = item.key.rest(bottom, places) << 4 | (item.key.len() - bottom) as u64;
                key << ABOVE_BITS | u64::from(above)
            }));
            starts.push(words.len() as u16);
        }
        words.extend(short.iter().map(|item| {
            let key = item.key.rest(depth, index) << 4 | (item.key.len() - depth) as u64;
            key << ABOVE_BITS | u64::from(NONE)
        }));
        let has_short = !short.is_empty();
        let items: Vec<_> = groups.into_iter().flatten().chain(short).collect();

        let (terms, numbers) = numbered(&items);
        let rows = Rows::of(&items, terms.len());
        let shape = Shape {
            count: items.len() as u16,
            index: index as u8,
            places: places as u8,
            key_bytes: words.iter().copied().max().map_or(0, width) as u8,
            has_short,
        };
        let mut bytes = Bytes::of(items.len() * (usize::from(shape.key_bytes) + rows.bytes()));
        for word in words {
            bytes.push(word, shape.key_bytes);
        }
        for (Item { id, entry, .. }, number) in items.iter().zip(numbers) {
            bytes.push_all(&id.as_bytes()[TIME_BYTES..]);
            bytes.push(time_ms(*id) - rows.least_ms, rows.time_bytes);
            bytes.push(rows.units(entry.from_ns), rows.from_bytes);
            bytes.push(number.into(), rows.number_bytes);
        }
        let terms = match (last.as_ref(), &terms[..]) {
            (_, [terms]) => TermSet::One(Arc::clone(terms)),
            (Some(TermSet::Many(last)), terms) if is_same(last, terms) => TermSet::Many(Arc::clone(last)),
            (_, terms) => last.insert(TermSet::Many(terms.into())).clone(),
        };
        let head = Head { terms, bytes: bytes.finish(), rows };
        Self { body: ThinArc::from_header_and_slice(head, &starts), shape }
    }

    /// The terms of its entries.
    pub(crate) fn terms(&self) -> TermSet<T> {
        self.head().terms.clone()
    }

    fn head(&self) -> &Head<T> {
        &self.body.header.header
    }

    fn starts(&self) -> &[u16] {
        &self.body.slice
    }

    pub(crate) fn len(&self) -> usize {
        self.shape.count.into()
    }

    /// Heap bytes, with those that counts of references take; what it shares with other leaves is counted in each.
    pub(crate) fn bytes(&self) -> usize {
        let head = self.head();
        16 + size_of_val(head) + size_of_val(self.starts()) + head.bytes.len() + head.terms.bytes()
    }

    /// How many prefixes differ.
    pub(crate) fn prefixes(&self) -> usize {
        let differ = |range: Range<usize>| {
            let begin = range.start;
            range.filter(|at| *at == begin || self.key(*at) != self.key(at - 1)).count()
        };
        self.groups().map(differ).sum::<usize>() + differ(self.short())
    }

    /// Where entries are whose prefixes have the digits of the index in common: in the order of these digits.
    fn groups(&self) -> impl Iterator<Item = Range<usize>> {
        self.starts().windows(2).map(|pair| pair[0].into()..pair[1].into())
    }

    /// Where those are whose prefixes are too short for it.
    fn short(&self) -> Range<usize> {
        self.starts().last().map_or(0, |end| usize::from(*end))..self.len()
    }

    /// Gives the entries under prefixes that the digits begin with, as how many of them, the longest first.
    #[inline]
    pub(crate) fn matches<'a>(
        &'a self,
        digits: &Digits,
        mut visit: impl FnMut(usize, Found<'a, T>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let index = usize::from(self.shape.index);
        if digits.len() >= index {
            let (group, rest) = digits.split(index);
            let starts = self.starts();
            let group = starts[group].into()..starts[group + 1].into();
            self.matches_in(group, &rest, |len, found| visit(index + len, found))?;
        }
        if !self.shape.has_short {
            return ControlFlow::Continue(());
        }
        // Without an index it is those whose prefix is what all have in common.
        for len in (0..index.max(1)).rev().filter(|len| *len <= digits.len()) {
            let key = (digits.leading(len) * POW10[index - len]) << 4 | len as u64;
            let begin = self.rank(self.short(), key << ABOVE_BITS);
            let mut alike = (begin..self.len()).take_while(|at| self.key(*at) == key);
            alike.try_for_each(|at| visit(len, self.found(at)))?;
        }
        ControlFlow::Continue(())
    }

    #[inline]
    fn matches_in<'a>(
        &'a self,
        group: Range<usize>,
        digits: &Digits,
        mut visit: impl FnMut(usize, Found<'a, T>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let places = usize::from(self.shape.places);
        let whole = digits.len().min(places);
        let key = |len: usize| (digits.leading(len) * POW10[places - len]) << 4 | len as u64;
        let begins = |key_of_entry: u64| {
            let len = (key_of_entry & 15) as usize;
            (len <= whole && key_of_entry == key(len)).then_some(len)
        };
        // In the order of a dictionary whatever begins the digits comes before them, the longest last: it is the one right
        // before them, or begins that one.
        let mut after = self.rank(group.clone(), (key(whole) + 1) << ABOVE_BITS);
        while after > group.start {
            let last = after - 1;
            let word = self.word(last);
            let found = word >> ABOVE_BITS;
            if let Some(len) = begins(found) {
                let mut begin = last;
                while begin > group.start && self.key(begin - 1) == found {
                    begin -= 1;
                }
                (begin..after).try_for_each(|at| visit(len, self.found(at)))?;
            }
            after = match word as u8 {
                NONE => group.start,
                FAR => {
                    let begins = |at: &usize| self.key(*at) != found && begins(self.key(*at)).is_some();
                    (group.start..last).rev().find(begins).map_or(group.start, |at| at + 1)
                }
                distance => after - usize::from(distance),
            };
        }
        ControlFlow::Continue(())
    }

    /// The first of some entries whose key, with what follows it, is not less.
    fn rank(&self, entries: Range<usize>, word: u64) -> usize {
        let Range { start, end } = entries;
        let blocks = (start..end).step_by(STRIDE).filter(|at| self.word(*at) < word).count();
        let Some(begin) = blocks.checked_sub(1).map(|block| start + block * STRIDE) else { return start };
        let block = begin + 1..end.min(begin + STRIDE);
        begin + 1 + block.filter(|at| self.word(*at) < word).count()
    }

    /// A key, with the bits that follow it.
    fn word(&self, at: usize) -> u64 {
        word(&self.head().bytes, at * usize::from(self.shape.key_bytes), self.shape.key_bytes)
    }

    fn key(&self, at: usize) -> u64 {
        self.word(at) >> ABOVE_BITS
    }

    // Who does not ask for the id or the time does not wait for them.
    #[inline(always)]
    fn found(&self, at: usize) -> Found<'_, T> {
        let (id, from_ns, terms) = self.row(at);
        Found { id, from_ns, terms }
    }

    #[inline(always)]
    fn row(&self, at: usize) -> (Uuid, i64, &Arc<T>) {
        let Head { terms, bytes, rows } = self.head();
        let begin = self.len() * usize::from(self.shape.key_bytes) + at * rows.bytes();
        let [time, from, number, _] = rows.columns(begin);
        let time_ms = rows.least_ms + word(bytes, time, rows.time_bytes);
        let mut id = [0; 16];
        id[..TIME_BYTES].copy_from_slice(&time_ms.to_be_bytes()[8 - TIME_BYTES..]);
        id[TIME_BYTES..].copy_from_slice(&bytes[begin..time]);
        let from_ns = rows.time_ns(word(bytes, from, rows.from_bytes));
        (Uuid::from_bytes(id), from_ns, terms.get(word(bytes, number, rows.number_bytes) as usize))
    }

    /// Every entry in order; `above` are the digits that all have in common.
    pub(crate) fn items(&self, above: Key) -> Vec<Item<T>> {
        let item = |(key, at)| {
            let (id, from_ns, terms) = self.row(at);
            Item { key, id, entry: Entry { from_ns, terms: Arc::clone(terms) } }
        };
        let mut items: Vec<_> = self.entries(above).map(item).collect();
        if self.shape.has_short {
            items.sort_by_key(|item| (item.key, item.id));
        }
        items
    }

    /// Every entry with its prefix, shorter ones before longer ones beneath them, until `visit` breaks off.
    pub(crate) fn walk<'a>(
        &'a self,
        above: Key,
        visit: &mut impl FnMut(u64, Found<'a, T>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        self.entries(above).try_for_each(|(key, at)| visit(key.prefix(), self.found(at)))
    }

    /// The prefix of each entry, and where it is.
    fn entries(&self, above: Key) -> impl Iterator<Item = (Key, usize)> {
        let (index, places) = (usize::from(self.shape.index), usize::from(self.shape.places));
        let entry = move |above: Key, places: usize, at: usize| {
            let key = self.key(at);
            (above.then(key >> 4, (key & 15) as usize, places), at)
        };
        let short = self.short().map(move |at| entry(above, index, at));
        let groups = (0..).map(move |digits| above.then(digits, index, index)).zip(self.groups());
        short.chain(groups.flat_map(move |(above, group)| group.map(move |at| entry(above, places, at))))
    }
}
