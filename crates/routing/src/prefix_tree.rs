//! Finds whatever is kept under the leading digits of a number: a tree by digit with sorted leaves.
//!
//! A leaf holds entries in the order of their prefixes and notes which lengths occur, so that a lookup probes
//! only those; a leaf that grows beyond [`LEAF_MAX`] becomes a branch with a child for each next digit.
//! So a small table is a few leaves, a dense block of numbers is split as deep as it needs, and an update
//! copies one leaf and the branches above it, whatever the size of the table.

use std::sync::Arc;

use uuid::Uuid;

/// Most entries of a leaf that can still be split; tests split early. Lookups and updates are as fast with 32
/// and 64, but the tree takes up to 10 bytes more for an entry.
const LEAF_MAX: usize = if cfg!(test) { 4 } else { 128 };

/// Most digits of a prefix (ITU-T E.164 §6.2.1).
const MAX_DIGITS: usize = 15;

/// What is kept in a tree: several with one prefix are told apart by id.
pub(crate) trait Entry: Clone {
    fn id(&self) -> Uuid;
}

/// The leading digits of a number, as integers, by how many there are.
pub(crate) struct Digits {
    leading: [u64; MAX_DIGITS + 1],
    len: usize,
}

impl Digits {
    /// Of a number or prefix of 1 to 15 digits, the first not 0.
    pub(crate) fn of(value: u64) -> Self {
        let len = count(value);
        let mut leading = [0; MAX_DIGITS + 1];
        let mut rest = value;
        for len in (1..=len).rev() {
            leading[len] = rest;
            rest /= 10;
        }
        Self { leading, len }
    }

    /// The digit after the first `depth` ones.
    fn digit(&self, depth: usize) -> usize {
        (self.leading[depth + 1] - self.leading[depth] * 10) as usize
    }
}

fn count(value: u64) -> usize {
    value.ilog10() as usize + 1
}

/// The digit of a longer prefix after its first `depth` ones.
fn digit(prefix: u64, depth: usize) -> usize {
    (prefix / 10_u64.pow((count(prefix) - depth - 1) as u32) % 10) as usize
}

/// One entry to put, replacing the one of the same prefix and id, or, with `None`, to take out.
pub(crate) struct Edit<T> {
    pub(crate) prefix: u64,
    pub(crate) id: Uuid,
    pub(crate) entry: Option<T>,
}

/// A persistent map from prefix to entries. `clone` copies one pointer.
#[derive(Clone)]
pub(crate) struct PrefixTree<T> {
    root: Option<Node<T>>,
    size: Size,
}

/// What a tree amounts to; kept as it changes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Size {
    pub(crate) entries: usize,
    /// Distinct prefixes.
    pub(crate) prefixes: usize,
    /// Heap bytes, an estimate: what entries point to is not counted.
    pub(crate) bytes: usize,
}

#[derive(Clone)]
enum Node<T> {
    Leaf(Arc<Leaf<T>>),
    Branch(Arc<Branch<T>>),
}

/// Entries whose prefixes have at least the depth's digits, sorted by prefix as integer and then by id.
struct Leaf<T> {
    /// Bit n is set where a prefix of n digits occurs.
    lengths: u16,
    prefixes: Box<[u64]>,
    entries: Box<[T]>,
}

/// At depth n, all prefixes below begin with the same n digits.
struct Branch<T> {
    /// Entries whose prefix is just those digits, sorted by id.
    here: Box<[T]>,
    /// The others, by their next digit.
    children: [Option<Node<T>>; 10],
}

impl<T: Entry> PrefixTree<T> {
    pub(crate) fn new() -> Self {
        Self { root: None, size: Size::default() }
    }

    pub(crate) fn size(&self) -> Size {
        self.size
    }

    /// Gives each prefix that the digits begin with, as its length, with its entries; the longest first.
    pub(crate) fn matches<'a>(&'a self, digits: &Digits, mut visit: impl FnMut(usize, &'a [T])) {
        let mut above: [&[T]; MAX_DIGITS + 1] = [&[]; MAX_DIGITS + 1];
        let mut depth = 0;
        let mut next = self.root.as_ref();
        while let Some(node) = next {
            match node {
                Node::Branch(branch) => {
                    above[depth] = &branch.here;
                    if depth == digits.len {
                        break;
                    }
                    next = branch.children[digits.digit(depth)].as_ref();
                    depth += 1;
                }
                Node::Leaf(leaf) => {
                    leaf.matches(digits, &mut visit);
                    break;
                }
            }
        }
        for len in (1..=depth).rev() {
            if !above[len].is_empty() {
                visit(len, above[len]);
            }
        }
    }

    /// The entry with this prefix and id.
    pub(crate) fn get(&self, prefix: u64, id: Uuid) -> Option<&T> {
        let digits = Digits::of(prefix);
        let mut found = None;
        self.matches(&digits, |len, entries| {
            if len == digits.len {
                found = entries.iter().find(|entry| entry.id() == id);
            }
        });
        found
    }

    /// Every entry with its prefix, in no promised order.
    pub(crate) fn for_each<'a>(&'a self, mut visit: impl FnMut(u64, &'a T)) {
        if let Some(root) = &self.root {
            root.for_each(0, &mut visit);
        }
    }

    /// Edits in any order, at most one for each prefix and id.
    pub(crate) fn edit(&mut self, edits: Vec<Edit<T>>) {
        if edits.is_empty() {
            return;
        }
        self.root = edited(self.root.as_ref(), 0, edits, &mut self.size);
    }
}

impl<T> Leaf<T> {
    #[inline]
    fn matches<'a>(&'a self, digits: &Digits, visit: &mut impl FnMut(usize, &'a [T])) {
        // Prefixes of fewer digits are smaller integers: what is found bounds the search for the next.
        let mut end = self.prefixes.len();
        let mut lengths = self.lengths & (u16::MAX >> (MAX_DIGITS - digits.len));
        while lengths != 0 {
            let len = lengths.ilog2() as usize;
            lengths &= !(1 << len);
            let prefix = digits.leading[len];
            let begin = self.prefixes[..end].partition_point(|other| *other < prefix);
            let same = self.prefixes[begin..end].iter().take_while(|other| **other == prefix).count();
            if same > 0 {
                visit(len, &self.entries[begin..begin + same]);
            }
            end = begin;
        }
    }
}

impl<T> Node<T> {
    fn for_each<'a>(&'a self, above: u64, visit: &mut impl FnMut(u64, &'a T)) {
        match self {
            Self::Leaf(leaf) => {
                leaf.prefixes.iter().zip(&leaf.entries).for_each(|(prefix, entry)| visit(*prefix, entry))
            }
            Self::Branch(branch) => {
                branch.here.iter().for_each(|entry| visit(above, entry));
                for (digit, child) in branch.children.iter().enumerate() {
                    if let Some(child) = child {
                        child.for_each(above * 10 + digit as u64, visit);
                    }
                }
            }
        }
    }

    /// Of this node without its children.
    fn size(&self) -> Size {
        // Each box and each count costs the allocator some bytes too.
        let (entries, prefixes, bytes) = match self {
            Self::Leaf(leaf) => {
                let prefixes = leaf.prefixes.chunk_by(|a, b| a == b).count();
                (leaf.entries.len(), prefixes, size_of::<Leaf<T>>() + 3 * 16 + leaf.entries.len() * 8)
            }
            Self::Branch(branch) => {
                (branch.here.len(), usize::from(!branch.here.is_empty()), size_of::<Branch<T>>() + 2 * 16)
            }
        };
        Size { entries, prefixes, bytes: bytes + entries * size_of::<T>() }
    }
}

impl Size {
    fn grow(&mut self, by: Size) {
        self.entries += by.entries;
        self.prefixes += by.prefixes;
        self.bytes += by.bytes;
    }

    fn shrink(&mut self, by: Size) {
        self.entries -= by.entries;
        self.prefixes -= by.prefixes;
        self.bytes -= by.bytes;
    }
}

/// The node that edits make of another.
///
/// What is edited is sorted only once it is down in a leaf: a whole load is dealt out by digit before.
fn edited<T: Entry>(
    node: Option<&Node<T>>,
    depth: usize,
    edits: Vec<Edit<T>>,
    size: &mut Size,
) -> Option<Node<T>> {
    if let Some(node) = node {
        size.shrink(node.size());
    }
    match node {
        None => build(
            depth,
            edits.into_iter().filter_map(|edit| Some((edit.prefix, edit.entry?))).collect(),
            size,
        ),
        Some(Node::Leaf(leaf)) => build(depth, merge(&leaf.prefixes, &leaf.entries, edits), size),
        Some(Node::Branch(branch)) => {
            let (edits_here, edits_below) = by_digit(depth, edits, |edit| edit.prefix);
            let mut children = branch.children.clone();
            for (child, edits) in children.iter_mut().zip(edits_below) {
                if !edits.is_empty() {
                    *child = edited(child.as_ref(), depth + 1, edits, size);
                }
            }
            let here = match edits_here.first() {
                None => branch.here.clone(),
                Some(first) => {
                    let prefixes = vec![first.prefix; branch.here.len()];
                    merge(&prefixes, &branch.here, edits_here).into_iter().map(|(_, entry)| entry).collect()
                }
            };
            grown(Branch { here, children }, size)
        }
    }
}

/// Sorted entries after edits, sorted.
fn merge<T: Entry>(prefixes: &[u64], entries: &[T], mut edits: Vec<Edit<T>>) -> Vec<(u64, T)> {
    edits.sort_unstable_by_key(|edit| (edit.prefix, edit.id));
    let mut merged = Vec::with_capacity(entries.len() + edits.len());
    let mut old = prefixes.iter().copied().zip(entries).peekable();
    for edit in edits {
        let key = (edit.prefix, edit.id);
        while let Some((prefix, entry)) = old.next_if(|(prefix, entry)| (*prefix, entry.id()) < key) {
            merged.push((prefix, entry.clone()));
        }
        // The one it replaces or takes out.
        old.next_if(|(prefix, entry)| (*prefix, entry.id()) == key);
        merged.extend(edit.entry.map(|entry| (edit.prefix, entry)));
    }
    merged.extend(old.map(|(prefix, entry)| (prefix, entry.clone())));
    merged
}

/// The smallest tree over entries in any order.
fn build<T: Entry>(depth: usize, mut entries: Vec<(u64, T)>, size: &mut Size) -> Option<Node<T>> {
    if entries.len() > LEAF_MAX {
        let (mut here, below) = by_digit(depth, entries, |(prefix, _)| *prefix);
        here.sort_unstable_by_key(|(_, entry)| entry.id());
        let here = here.into_iter().map(|(_, entry)| entry).collect();
        let children = below.map(|entries| build(depth + 1, entries, size));
        return grown(Branch { here, children }, size);
    }
    if entries.is_empty() {
        return None;
    }
    entries.sort_unstable_by_key(|(prefix, entry)| (*prefix, entry.id()));
    let lengths = entries.iter().fold(0, |lengths, (prefix, _)| lengths | 1 << count(*prefix));
    let (prefixes, entries): (Vec<_>, Vec<_>) = entries.into_iter().unzip();
    let leaf = Node::Leaf(Arc::new(Leaf { lengths, prefixes: prefixes.into(), entries: entries.into() }));
    size.grow(leaf.size());
    Some(leaf)
}

/// The branch as a node, unless it holds nothing.
fn grown<T>(branch: Branch<T>, size: &mut Size) -> Option<Node<T>> {
    if branch.here.is_empty() && branch.children.iter().all(Option::is_none) {
        return None;
    }
    let node = Node::Branch(Arc::new(branch));
    size.grow(node.size());
    Some(node)
}

/// Splits what begins with the same `depth` digits: what ends there, and the rest by its next digit.
fn by_digit<I>(depth: usize, items: Vec<I>, prefix: impl Fn(&I) -> u64) -> (Vec<I>, [Vec<I>; 10]) {
    let mut here = Vec::new();
    let mut below = [const { Vec::new() }; 10];
    for item in items {
        match prefix(&item) {
            value if count(value) == depth => here.push(item),
            value => below[digit(value, depth)].push(item),
        }
    }
    (here, below)
}
