//! Finds whatever is kept under the leading digits of a number: a tree by digit with packed leaves.
//!
//! A leaf that grows beyond [`LEAF_MAX`] becomes a branch with a child for each next digit, or for each next two where
//! that makes no small leaves. So a small table is one leaf, a dense block of numbers is split as deep as it needs, and an
//! update copies one leaf and the branches above it, whatever the size of the table. What is above the leaves stays in the
//! cache: at ten million entries a lookup meets two branches.

use std::iter;
use std::ops::ControlFlow;
use std::sync::Arc;

use tandem_model::MAX_DIGITS;
use uuid::Uuid;

use crate::digits::{Digits, Key, Keyed, count, split};
use crate::leaf::{Entry, Found, Item, LEAF_MAX, Leaf, TermSet};

/// One entry to put, replacing the one of the same prefix and id, or, with `None`, to take out.
pub(crate) struct Edit<T> {
    pub(crate) key: Key,
    pub(crate) id: Uuid,
    pub(crate) entry: Option<Entry<T>>,
}

/// A persistent map from prefix to entries. `clone` copies two pointers.
pub(crate) struct PrefixTree<T> {
    root: Node<T>,
    size: Size,
}

/// What a tree amounts to; kept as it changes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Size {
    pub(crate) entries: usize,
    /// Distinct prefixes.
    pub(crate) prefixes: usize,
    /// Heap bytes; the terms that entries share are not counted, and the allocator adds some.
    pub(crate) bytes: usize,
}

/// At depth n, all prefixes below begin with the same n digits.
enum Node<T> {
    Empty,
    Leaf(Leaf<T>),
    /// By one digit.
    Ten(Arc<Branch<T, 10>>),
    /// By two digits.
    Hundred(Arc<Branch<T, 100>>),
}

// Ten of them and the rest of a branch are three lines of memory.
const _: () = assert!(size_of::<Node<()>>() == 16);

/// Fewest entries for each child of a branch by two digits.
const HUNDREDTH_MIN: usize = if cfg!(test) { 1 } else { 64 };

struct Branch<T, const N: usize> {
    /// Entries of prefixes that are too short for the children, sorted by prefix and id.
    here: Box<[Item<T>]>,
    /// The others, by their next digits.
    children: [Node<T>; N],
}

impl<T> Clone for Node<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Empty => Self::Empty,
            Self::Leaf(leaf) => Self::Leaf(leaf.clone()),
            Self::Ten(branch) => Self::Ten(Arc::clone(branch)),
            Self::Hundred(branch) => Self::Hundred(Arc::clone(branch)),
        }
    }
}

impl<T> Clone for PrefixTree<T> {
    fn clone(&self) -> Self {
        Self { root: self.root.clone(), size: self.size }
    }
}

impl<T> PrefixTree<T> {
    pub(crate) fn new() -> Self {
        Self { root: Node::Empty, size: Size::default() }
    }

    pub(crate) fn size(&self) -> Size {
        self.size
    }

    /// Gives each entry under a prefix that the digits begin with, and how many digits that has: the longest first,
    /// under one prefix by id.
    #[inline]
    pub(crate) fn matches<'a>(
        &'a self,
        whole: Digits,
        mut visit: impl FnMut(usize, Found<'a, T>) -> ControlFlow<()>,
    ) {
        let mut above = [&Node::Empty; MAX_DIGITS + 1];
        let (mut node, mut depth, mut digits) = (&self.root, 0, whole);
        while let Some((children, width)) = node.children() {
            above[depth] = node;
            if digits.len() < width {
                node = &Node::Empty;
                break;
            }
            let (child, rest) = digits.split(width);
            (node, digits) = (&children[child], rest);
            depth += width;
        }
        if let Node::Leaf(leaf) = node
            && leaf.matches(&digits, |len, found| visit(depth + len, found)).is_break()
        {
            return;
        }
        for (depth, node) in above.iter().enumerate().rev() {
            for len in (depth..depth + node.width()).rev() {
                for item in node.under(&whole, len) {
                    if visit(len, item.found()).is_break() {
                        return;
                    }
                }
            }
        }
    }

    /// The entry with this prefix and id.
    pub(crate) fn get(&self, prefix: u64, id: Uuid) -> Option<Found<'_, T>> {
        let digits = Digits::of(prefix);
        let whole = digits.len();
        let mut entry = None;
        self.matches(digits, |len, found| {
            if len == whole && found.id == id {
                entry = Some(found);
            }
            // Those under the whole prefix come first.
            if len == whole && entry.is_none() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        entry
    }

    /// Every entry with its prefix, in no promised order.
    pub(crate) fn for_each<'a>(&'a self, mut visit: impl FnMut(u64, Found<'a, T>)) {
        let _ = self.root.walk(Key::EMPTY, &mut |prefix, found| {
            visit(prefix, found);
            ControlFlow::Continue(())
        });
    }

    /// Each entry under a prefix that begins with this one, with that prefix: shorter ones before longer ones beneath
    /// them, until `visit` breaks off.
    pub(crate) fn beneath<'a>(
        &'a self,
        prefix: u64,
        mut visit: impl FnMut(u64, Found<'a, T>) -> ControlFlow<()>,
    ) {
        let (whole, key) = (count(prefix), Key::of(prefix));
        let (mut node, mut depth) = (&self.root, 0);
        while let Some((children, width)) = node.children()
            && depth + width <= whole
        {
            node = &children[key.rest(depth, width) as usize];
            depth += width;
        }
        // A leaf holds others, too, that begin alike, and so does a branch by more digits than are left.
        let begins = |other: u64| key.begins(Key::of(other));
        let _ = node.walk(key.cut(depth), &mut |other, found| {
            if begins(other) { visit(other, found) } else { ControlFlow::Continue(()) }
        });
    }

    /// Edits in any order, at most one for each prefix and id.
    pub(crate) fn edit(&mut self, mut edits: Vec<Edit<T>>) {
        edits.sort_unstable_by_key(|edit| (edit.key, edit.id));
        self.root = match &self.root {
            Node::Empty => {
                let items: Vec<_> = edits.into_iter().filter_map(Edit::put).collect();
                built(0, &items, &mut None, &mut self.size)
            }
            root => edited(root, 0, &edits, &mut self.size),
        };
    }
}

impl<T> Keyed for Edit<T> {
    fn key(&self) -> Key {
        self.key
    }
}

impl<T> Edit<T> {
    fn put(self) -> Option<Item<T>> {
        Some(Item { key: self.key, id: self.id, entry: self.entry? })
    }
}

impl<T> Node<T> {
    /// Those of a branch, and how many digits tell them apart.
    #[inline]
    fn children(&self) -> Option<(&[Self], usize)> {
        match self {
            Self::Empty | Self::Leaf(_) => None,
            Self::Ten(branch) => Some((&branch.children, 1)),
            Self::Hundred(branch) => Some((&branch.children, 2)),
        }
    }

    /// How many digits tell its children apart; 0 where it has none.
    fn width(&self) -> usize {
        self.children().map_or(0, |(_, width)| width)
    }

    /// Entries of prefixes that are too short for the children of a branch.
    fn here(&self) -> &[Item<T>] {
        match self {
            Self::Empty | Self::Leaf(_) => &[],
            Self::Ten(branch) => &branch.here,
            Self::Hundred(branch) => &branch.here,
        }
    }

    /// What is here of the prefix that is the first `len` digits.
    fn under(&self, digits: &Digits, len: usize) -> &[Item<T>] {
        let here = self.here();
        if here.is_empty() || len == 0 || len > digits.len() {
            return &[];
        }
        let key = Key::of(digits.leading(len));
        let begin = here.partition_point(|item| item.key < key);
        &here[begin..here.partition_point(|item| item.key <= key)]
    }

    fn walk<'a>(
        &'a self,
        above: Key,
        visit: &mut impl FnMut(u64, Found<'a, T>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        if let Self::Leaf(leaf) = self {
            return leaf.walk(above, visit);
        }
        let Some((children, width)) = self.children() else { return ControlFlow::Continue(()) };
        self.here().iter().try_for_each(|item| visit(item.key.prefix(), item.found()))?;
        let mut children = (0..).zip(children).filter(|(_, child)| !matches!(child, Self::Empty));
        children.try_for_each(|(digits, child)| child.walk(above.then(digits, width, width), visit))
    }

    /// Of this node without its children.
    fn size(&self) -> Size {
        let of_branch = |here: &[Item<T>], bytes: usize| Size {
            entries: here.len(),
            prefixes: here.chunk_by(|a, b| a.key == b.key).count(),
            bytes: 16 + bytes + size_of_val(here),
        };
        match self {
            Self::Empty => Size::default(),
            Self::Leaf(leaf) => Size { entries: leaf.len(), prefixes: leaf.prefixes(), bytes: leaf.bytes() },
            Self::Ten(branch) => of_branch(&branch.here, size_of_val(&**branch)),
            Self::Hundred(branch) => of_branch(&branch.here, size_of_val(&**branch)),
        }
    }

    /// A branch of 10 or 100 children, unless it holds nothing.
    fn branch(here: Vec<Item<T>>, children: Vec<Self>, size: &mut Size) -> Self {
        if here.is_empty() && children.iter().all(|child| matches!(child, Self::Empty)) {
            return Self::Empty;
        }
        let here = here.into_boxed_slice();
        let node = match <[Self; 10]>::try_from(children) {
            Ok(children) => Self::Ten(Arc::new(Branch { here, children })),
            Err(children) => {
                let Ok(children) = children.try_into() else {
                    unreachable!("a branch is by one digit or two")
                };
                Self::Hundred(Arc::new(Branch { here, children }))
            }
        };
        size.grow(node.size());
        node
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

/// The node that sorted edits make of another.
fn edited<T>(node: &Node<T>, depth: usize, edits: &[Edit<T>], size: &mut Size) -> Node<T> {
    let Some(first) = edits.first() else { return node.clone() };
    size.shrink(node.size());
    match node {
        Node::Empty => built(depth, &merge(iter::empty(), edits), &mut None, size),
        Node::Leaf(leaf) => {
            let items = merge(leaf.items(first.key.cut(depth)).into_iter(), edits);
            built(depth, &items, &mut Some(leaf.terms()), size)
        }
        Node::Ten(_) | Node::Hundred(_) => {
            let (children, width) = node.children().unwrap_or_default();
            let (here, below) = split(edits, depth, width);
            let here = merge(node.here().iter().cloned(), here);
            let children = children.iter().zip(below);
            let children = children.map(|(child, edits)| edited(child, depth + width, edits, size));
            Node::branch(here, children.collect(), size)
        }
    }
}

/// Sorted entries after sorted edits.
fn merge<'a, T: 'a>(
    items: impl Iterator<Item = Item<T>>,
    edits: impl IntoIterator<Item = &'a Edit<T>>,
) -> Vec<Item<T>> {
    let edits = edits.into_iter();
    let mut merged = Vec::with_capacity(items.size_hint().0 + edits.size_hint().0);
    let mut items = items.peekable();
    for edit in edits {
        let key = (edit.key, edit.id);
        while let Some(item) = items.next_if(|item| (item.key, item.id) < key) {
            merged.push(item);
        }
        // The one it replaces or takes out.
        items.next_if(|item| (item.key, item.id) == key);
        merged.extend(edit.entry.clone().map(|entry| Item { key: edit.key, id: edit.id, entry }));
    }
    merged.extend(items);
    merged
}

/// The smallest node over sorted entries that have the first `depth` digits in common; `last` are the terms of the
/// leaf before.
fn built<T>(depth: usize, items: &[Item<T>], last: &mut Option<TermSet<T>>, size: &mut Size) -> Node<T> {
    if items.is_empty() {
        return Node::Empty;
    }
    if items.len() <= LEAF_MAX {
        let leaf = Node::Leaf(Leaf::new(depth, items, last));
        size.grow(leaf.size());
        return leaf;
    }
    let is_wide = items.len() >= 100 * HUNDREDTH_MIN && depth + 2 <= MAX_DIGITS;
    let width = if is_wide { 2 } else { 1 };
    let (here, below) = split(items, depth, width);
    let here = here.into_iter().cloned().collect();
    let below = below.into_iter();
    let children = below.map(|items| built(depth + width, items, last, size)).collect();
    Node::branch(here, children, size)
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    /// Prefixes that often begin each other, some of all digits that there can be.
    fn prefix() -> impl Strategy<Value = u64> {
        let digits = prop_oneof!["[12][01]{0,5}", "[12][019]{0,14}", "1{1,15}", "[1-9][0-9]{0,3}"];
        digits.prop_map(|digits| digits.parse().expect("digits"))
    }

    /// Puts and removals, in batches.
    fn batches() -> impl Strategy<Value = Vec<BTreeMap<(u64, u128), Option<i64>>>> {
        let id = prop_oneof![0..4_u128, any::<u128>()];
        let from_ns = prop_oneof![0..3_i64, (0..1_000_000_i64).prop_map(|us| us * 1000), any::<i64>()];
        let from_ns = prop::option::weighted(0.8, from_ns);
        prop::collection::vec(prop::collection::btree_map((prefix(), id), from_ns, 0..150), 1..4)
    }

    proptest! {
        #[test]
        fn the_tree_finds_what_a_map_of_all_entries_finds(batches in batches(), asked in prop::collection::vec(prefix(), 20)) {
            let terms = [0_u8, 1, 2].map(Arc::new);
            let terms_of = |from_ns: i64| &terms[from_ns.rem_euclid(3) as usize];
            let mut tree = PrefixTree::new();
            let mut map = BTreeMap::new();
            for batch in batches {
                let edits = batch.iter().map(|((prefix, id), from_ns)| Edit {
                    key: Key::of(*prefix),
                    id: Uuid::from_u128(*id),
                    entry: from_ns.map(|from_ns| Entry { from_ns, terms: Arc::clone(terms_of(from_ns)) }),
                });
                tree.edit(edits.collect());
                for (at, from_ns) in batch {
                    match from_ns {
                        Some(from_ns) => map.insert(at, from_ns),
                        None => map.remove(&at),
                    };
                }
                let entry = |prefix: u64, found: Found<'_, u8>| {
                    assert_eq!(*found.terms, **terms_of(found.from_ns), "terms of another entry");
                    ((prefix, found.id.as_u128()), found.from_ns)
                };

                let mut all = BTreeMap::new();
                tree.for_each(|prefix, found| all.extend([entry(prefix, found)]));
                prop_assert_eq!(&all, &map);
                let prefixes: BTreeSet<_> = map.keys().map(|(prefix, _)| prefix).collect();
                prop_assert_eq!((tree.size().entries, tree.size().prefixes), (map.len(), prefixes.len()));

                for number in &asked {
                    let text = number.to_string();
                    let mut found = Vec::new();
                    tree.matches(Digits::of(*number), |len, it| {
                        found.push(entry(text[..len].parse().expect("digits"), it));
                        ControlFlow::Continue(())
                    });
                    let begins = map.iter().filter(|((prefix, _), _)| text.starts_with(&prefix.to_string()));
                    let mut expected: Vec<_> = begins.map(|(at, from_ns)| (*at, *from_ns)).collect();
                    expected.sort_by_key(|((prefix, id), _)| (Reverse(*prefix), *id));
                    prop_assert_eq!(found, expected);

                    let mut found = Vec::new();
                    tree.beneath(*number, |prefix, it| {
                        found.push(entry(prefix, it));
                        ControlFlow::Continue(())
                    });
                    let shorter_first = found.iter().enumerate().all(|(nth, ((prefix, _), _))| {
                        !found[nth..].iter().any(|((later, _), _)| later < prefix && prefix.to_string().starts_with(&later.to_string()))
                    });
                    prop_assert!(shorter_first);
                    found.sort_unstable();
                    let beneath = map.iter().filter(|((prefix, _), _)| prefix.to_string().starts_with(&text));
                    prop_assert_eq!(found, beneath.map(|(at, from_ns)| (*at, *from_ns)).collect::<Vec<_>>());

                    for id in 0..4 {
                        let found = tree.get(*number, Uuid::from_u128(id)).map(|found| found.from_ns);
                        prop_assert_eq!(found, map.get(&(*number, id)).copied());
                    }
                }
                for ((prefix, id), from_ns) in map.iter().take(20) {
                    let found = tree.get(*prefix, Uuid::from_u128(*id));
                    prop_assert_eq!(found.map(|found| found.from_ns), Some(*from_ns));
                }
            }
        }
    }
}
