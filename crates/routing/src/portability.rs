//! Ported numbers: by which number is a call routed whose called number has left its block?
//!
//! A whole state is loaded once ([`PortedLoad`]); deltas make the next state from the last ([`PortedNumbers::apply`]),
//! which shares with it what they do not touch, so that who reads the last one is not disturbed. Numbers lie in order
//! in packed blocks, blocks in chunks: a lookup is three searches, and a delta copies blocks, their chunks and the list
//! of those. A number takes four or five bytes where numbers are as dense as in a national plan, seven at worst.

use std::collections::HashMap;
use std::sync::Arc;

use ahash::RandomState;
use tandem_model::{E164, PortedChange, PortedDelta, PortedError, PortedNumber, RoutingNumber};

use crate::ported_block::{BLOCK_LOADED, Block, Entry, blocks};

/// Most blocks of a chunk; one that grows beyond is cut in halves.
const CHUNK_MAX: usize = if cfg!(test) { 4 } else { 256 };

/// Entries of a load that are put in order at a time.
const SORTED_AT_ONCE: usize = if cfg!(test) { 8 } else { 1 << 20 };

/// The ported numbers at one moment. `clone` copies some pointers.
#[derive(Clone, Default)]
pub struct PortedNumbers {
    serial: u64,
    len: usize,
    bytes: usize,
    rns: Arc<RoutingNumbers>,
    /// The first number of each chunk.
    firsts: Arc<[u64]>,
    chunks: Arc<[Arc<[Block]>]>,
}

/// Few routing numbers stand for many ported ones: each is kept once, also when no number has it any more.
#[derive(Clone, Default)]
struct RoutingNumbers {
    all: Vec<RoutingNumber>,
    by_number: HashMap<RoutingNumber, u32, RandomState>,
}

impl RoutingNumbers {
    fn position(&mut self, rn: RoutingNumber) -> Result<u32, PortedError> {
        if let Some(at) = self.by_number.get(&rn) {
            return Ok(*at);
        }
        let at = u32::try_from(self.all.len()).map_err(|_| PortedError::TooManyRoutingNumbers)?;
        self.all.push(rn);
        self.by_number.insert(rn, at);
        Ok(at)
    }
}

impl std::fmt::Debug for PortedNumbers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PortedNumbers {{ serial: {}, len: {} }}", self.serial, self.len)
    }
}

impl PortedNumbers {
    /// Of the last delta, or of the load where none came after it.
    pub fn serial(&self) -> u64 {
        self.serial
    }

    /// How many numbers are ported.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Heap bytes, an estimate that leaves out what the allocator adds to small objects.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether somebody else holds this very state, so that dropping it frees nothing.
    pub fn is_shared(&self) -> bool {
        Arc::strong_count(&self.chunks) > 1
    }

    /// The number by which calls to a ported one are routed.
    pub fn get(&self, number: E164) -> Option<RoutingNumber> {
        let number = number.value();
        let chunk = &self.chunks[self.firsts.partition_point(|first| *first <= number).checked_sub(1)?];
        let block = &chunk[chunk.partition_point(|block| block.first() <= number).checked_sub(1)?];
        block.get(number).map(|rn| self.rns.all[rn as usize])
    }

    /// Every ported number, in the order of the numbers as integers.
    pub fn iter(&self) -> impl Iterator<Item = PortedNumber> {
        let entries = self.chunks.iter().flat_map(|chunk| chunk.iter()).flat_map(Block::entries);
        entries.map(|(number, rn)| PortedNumber { number: as_number(number), rn: self.rns.all[rn as usize] })
    }

    /// The next state. Where anything in the delta does not fit the error says what, and nothing of it is made.
    pub fn apply(&self, delta: &PortedDelta) -> Result<Self, PortedError> {
        let PortedDelta { serial, changes } = delta;
        if self.serial.checked_add(1) != Some(*serial) {
            return Err(PortedError::OutOfOrder { serial: *serial, state: self.serial });
        }
        let mut rns = RoutingNumbers::clone(&self.rns);
        let mut edits =
            changes.iter().map(|change| Edit::new(change, &mut rns)).collect::<Result<Vec<_>, _>>()?;
        edits.sort_unstable_by_key(|edit| edit.number);
        if let Some(twice) = edits.windows(2).find(|pair| pair[0].number == pair[1].number) {
            return Err(PortedError::Repeated(as_number(twice[0].number)));
        }
        let mut edits = &edits[..];
        let mut chunks: Vec<Arc<[Block]>> = Vec::with_capacity(self.chunks.len());
        for (at, chunk) in self.chunks.iter().enumerate() {
            match below(&mut edits, self.firsts.get(at + 1)) {
                [] => chunks.push(Arc::clone(chunk)),
                edits => chunks.extend(cut(edited(chunk, edits)?)),
            }
        }
        // Where there was no chunk.
        chunks.extend(cut(blocks(&merged(std::iter::empty(), edits)?).collect()));
        let len = changes.iter().fold(self.len, |len, change| match change {
            PortedChange::Add(_) => len + 1,
            PortedChange::Change(_) => len,
            PortedChange::Remove { .. } => len - 1,
        });
        Ok(Self::of(*serial, len, rns, chunks))
    }

    fn of(serial: u64, len: usize, rns: RoutingNumbers, chunks: Vec<Arc<[Block]>>) -> Self {
        let firsts: Arc<[u64]> = chunks.iter().map(|chunk| chunk[0].first()).collect();
        let blocks: usize = chunks.iter().flat_map(|chunk| chunk.iter()).map(Block::bytes).sum();
        let each_rn = size_of::<RoutingNumber>() + size_of::<(RoutingNumber, u32)>() + 1;
        let each_chunk = size_of::<Arc<[Block]>>() + size_of::<u64>();
        let bytes = blocks + chunks.len() * each_chunk + rns.all.len() * each_rn;
        Self { serial, len, bytes, rns: Arc::new(rns), firsts, chunks: chunks.into() }
    }
}

fn as_number(value: u64) -> E164 {
    E164::from_value(value).expect("the value was a number's")
}

/// One change, to an entry that must be there or must not.
struct Edit {
    number: u64,
    must_be_there: bool,
    rn: Option<u32>,
}

impl Edit {
    fn new(change: &PortedChange, rns: &mut RoutingNumbers) -> Result<Self, PortedError> {
        let rn = match change {
            PortedChange::Add(ported) | PortedChange::Change(ported) => Some(rns.position(ported.rn)?),
            PortedChange::Remove { .. } => None,
        };
        let must_be_there = !matches!(change, PortedChange::Add(_));
        Ok(Self { number: change.number().value(), must_be_there, rn })
    }
}

/// Takes away the edits of numbers below a bound, or all of them.
fn below<'a>(edits: &mut &'a [Edit], bound: Option<&u64>) -> &'a [Edit] {
    let end = bound.map_or(edits.len(), |bound| edits.partition_point(|edit| edit.number < *bound));
    let (first, rest) = edits.split_at(end);
    *edits = rest;
    first
}

/// The blocks of a chunk after edits.
fn edited(chunk: &[Block], mut edits: &[Edit]) -> Result<Vec<Block>, PortedError> {
    let mut next = Vec::with_capacity(chunk.len() + 1);
    for (at, block) in chunk.iter().enumerate() {
        match below(&mut edits, chunk.get(at + 1).map(Block::first).as_ref()) {
            [] => next.push(block.clone()),
            edits => next.extend(blocks(&merged(block.entries(), edits)?)),
        }
    }
    Ok(next)
}

/// Sorted entries after sorted edits.
fn merged(entries: impl Iterator<Item = Entry>, edits: &[Edit]) -> Result<Vec<Entry>, PortedError> {
    let mut merged = Vec::with_capacity(entries.size_hint().0 + edits.len());
    let mut entries = entries.peekable();
    for edit in edits {
        while let Some(entry) = entries.next_if(|(number, _)| *number < edit.number) {
            merged.push(entry);
        }
        let is_there = entries.next_if(|(number, _)| *number == edit.number).is_some();
        match (is_there, edit.must_be_there) {
            (true, false) => return Err(PortedError::AlreadyPorted(as_number(edit.number))),
            (false, true) => return Err(PortedError::NotPorted(as_number(edit.number))),
            _ => merged.extend(edit.rn.map(|rn| (edit.number, rn))),
        }
    }
    merged.extend(entries);
    Ok(merged)
}

/// Blocks as chunks: one where they fit it, else half-full ones.
fn cut(blocks: Vec<Block>) -> impl Iterator<Item = Arc<[Block]>> {
    let size = if blocks.len() <= CHUNK_MAX { CHUNK_MAX } else { CHUNK_MAX / 2 };
    let mut blocks = blocks.into_iter();
    std::iter::from_fn(move || {
        let chunk: Arc<[Block]> = blocks.by_ref().take(size).collect();
        (!chunk.is_empty()).then_some(chunk)
    })
}

/// A whole state as it is read: in any order, in little more memory than it takes in the end.
///
/// Some are put in order at a time and packed; such runs are merged as soon as two are alike in size.
#[derive(Default)]
pub struct PortedLoad {
    rns: RoutingNumbers,
    unsorted: Vec<Entry>,
    /// Each sorted, the largest first.
    runs: Vec<Run>,
}

struct Run {
    len: usize,
    blocks: Vec<Block>,
}

impl PortedLoad {
    /// With nothing in it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes one more number. That it was there before may be found now or at the end.
    pub fn push(&mut self, ported: PortedNumber) -> Result<(), PortedError> {
        let rn = self.rns.position(ported.rn)?;
        self.unsorted.push((ported.number.value(), rn));
        if self.unsorted.len() == SORTED_AT_ONCE { self.sort() } else { Ok(()) }
    }

    /// All that was taken, as the state with a serial.
    pub fn finish(mut self, serial: u64) -> Result<PortedNumbers, PortedError> {
        self.sort()?;
        self.unsorted = Vec::new();
        while self.runs.len() > 1 {
            self.merge_two()?;
        }
        let Some(Run { len, blocks }) = self.runs.pop() else {
            return Ok(PortedNumbers { serial, ..PortedNumbers::default() });
        };
        Ok(PortedNumbers::of(serial, len, self.rns, cut(blocks).collect()))
    }

    fn sort(&mut self) -> Result<(), PortedError> {
        if self.unsorted.is_empty() {
            return Ok(());
        }
        self.unsorted.sort_unstable();
        if let Some(twice) = self.unsorted.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(PortedError::Repeated(as_number(twice[0].0)));
        }
        self.runs.push(Run { len: self.unsorted.len(), blocks: blocks(&self.unsorted).collect() });
        self.unsorted.clear();
        while let [.., before, last] = &self.runs[..]
            && before.len < 2 * last.len
        {
            self.merge_two()?;
        }
        Ok(())
    }

    /// Makes one run of the last two.
    fn merge_two(&mut self) -> Result<(), PortedError> {
        let (Some(b), Some(a)) = (self.runs.pop(), self.runs.pop()) else { return Ok(()) };
        let len = a.len + b.len;
        let mut merged = Vec::with_capacity(a.blocks.len() + b.blocks.len());
        let mut a = a.blocks.into_iter().flat_map(Block::into_entries).peekable();
        let mut b = b.blocks.into_iter().flat_map(Block::into_entries).peekable();
        let mut some = Vec::with_capacity(BLOCK_LOADED);
        loop {
            let entry = match (a.peek(), b.peek()) {
                (Some((x, _)), Some((y, _))) if x == y => {
                    return Err(PortedError::Repeated(as_number(*x)));
                }
                (Some((x, _)), Some((y, _))) if x > y => b.next(),
                (Some(_), _) => a.next(),
                (None, _) => b.next(),
            };
            some.extend(entry);
            if some.len() == BLOCK_LOADED || entry.is_none() && !some.is_empty() {
                merged.push(Block::new(&some));
                some.clear();
            }
            if entry.is_none() {
                break;
            }
        }
        self.runs.push(Run { len, blocks: merged });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn number(n: u64) -> E164 {
        as_number(31_610_000_000 + n)
    }

    fn rn(n: u64) -> RoutingNumber {
        (3_100 + n).to_string().parse().unwrap()
    }

    fn ported(n: u64, to: u64) -> PortedNumber {
        PortedNumber { number: number(n), rn: rn(to) }
    }

    fn load(all: impl IntoIterator<Item = (u64, u64)>) -> Result<PortedNumbers, PortedError> {
        let mut load = PortedLoad::new();
        all.into_iter().try_for_each(|(n, to)| load.push(ported(n, to)))?;
        load.finish(1)
    }

    fn content(numbers: &PortedNumbers) -> Vec<PortedNumber> {
        assert_eq!(numbers.iter().count(), numbers.len());
        numbers.iter().collect()
    }

    #[test]
    fn a_number_that_is_not_ported_has_no_routing_number() {
        let numbers = load([(10, 1), (20, 2)]).unwrap();
        assert_eq!(
            [9, 10, 11, 20, 21].map(|n| numbers.get(number(n))),
            [None, Some(rn(1)), None, Some(rn(2)), None]
        );
        assert_eq!(PortedNumbers::default().get(number(10)), None);
        assert!(load([]).unwrap().is_empty());
    }

    #[test]
    fn a_delta_that_does_not_follow_or_does_not_fit_is_refused_whole() {
        let numbers = load([(10, 1), (20, 2)]).unwrap();
        let before = content(&numbers);
        let refused = |serial, change| {
            let changes =
                vec![PortedChange::Add(ported(1, 9)), change, PortedChange::Remove { number: number(20) }];
            numbers.apply(&PortedDelta { serial, changes }).unwrap_err()
        };
        let add = |n| PortedChange::Add(ported(n, 3));
        assert_eq!(refused(3, add(2)), PortedError::OutOfOrder { serial: 3, state: 1 });
        assert_eq!(refused(1, add(2)), PortedError::OutOfOrder { serial: 1, state: 1 });
        assert_eq!(refused(2, add(10)), PortedError::AlreadyPorted(number(10)));
        assert_eq!(refused(2, PortedChange::Change(ported(11, 3))), PortedError::NotPorted(number(11)));
        assert_eq!(
            refused(2, PortedChange::Remove { number: number(30) }),
            PortedError::NotPorted(number(30))
        );
        assert_eq!(refused(2, add(1)), PortedError::Repeated(number(1)));
        assert_eq!((content(&numbers), numbers.serial()), (before, 1));
    }

    #[test]
    fn a_number_that_is_there_twice_is_found_however_far_apart() {
        let all = (0..100).map(|n| (n, n % 7));
        assert_eq!(load(all.clone().chain([(3, 1)])).unwrap_err(), PortedError::Repeated(number(3)));
        assert_eq!(load(all.rev().chain([(98, 0)])).unwrap_err(), PortedError::Repeated(number(98)));
    }

    proptest! {
        #[test]
        fn a_load_and_any_deltas_end_as_a_plain_map_does(
            mut all in prop::collection::btree_map(0..400_u64, 0..9_u64, 0..200)
                .prop_flat_map(|all| Just(all.into_iter().collect::<Vec<_>>()).prop_shuffle()),
            deltas in prop::collection::vec(prop::collection::btree_map(0..400_u64, prop::option::of(0..12_u64), 0..80), 0..6),
        ) {
            let mut plain: BTreeMap<u64, u64> = all.iter().copied().collect();
            let mut numbers = load(all.iter().copied()).unwrap();
            for (delta, serial) in deltas.into_iter().zip(2..) {
                let mut changes = Vec::new();
                for (n, to) in delta {
                    changes.extend(match (plain.get(&n), to) {
                        (None, Some(to)) => Some(PortedChange::Add(ported(n, to))),
                        (Some(_), Some(to)) => Some(PortedChange::Change(ported(n, to))),
                        (Some(_), None) => Some(PortedChange::Remove { number: number(n) }),
                        (None, None) => None,
                    });
                    match to {
                        Some(to) => plain.insert(n, to),
                        None => plain.remove(&n),
                    };
                }
                changes.reverse();
                let (earlier, before) = (numbers.clone(), content(&numbers));
                numbers = numbers.apply(&PortedDelta { serial, changes }).unwrap();
                prop_assert_eq!(numbers.serial(), serial);
                prop_assert_eq!(content(&earlier), before, "a delta reached an earlier state");
            }
            let expected: Vec<_> = plain.iter().map(|(n, to)| ported(*n, *to)).collect();
            prop_assert_eq!(content(&numbers), expected);
            for n in 0..401 {
                prop_assert_eq!(numbers.get(number(n)), plain.get(&n).map(|to| rn(*to)));
            }
            all.sort_unstable();
            prop_assert_eq!(content(&load(all.iter().copied()).unwrap()).len(), all.len());
        }
    }
}
