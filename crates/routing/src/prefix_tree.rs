//! Finds whatever is kept under the leading digits of a number: a tree by digit with packed leaves.
//!
//! A leaf that grows beyond [`LEAF_MAX`] becomes a branch with a child for each next digit. So a small table is a few
//! leaves, a dense block of numbers is split as deep as it needs, and an update copies one leaf and the branches above
//! it, whatever the size of the table.

use std::ops::ControlFlow;
use std::sync::Arc;

use uuid::Uuid;

use crate::digits::{Digits, Key, MAX_DIGITS, POW10, count};
use crate::leaf::{Common, Found, Item, LEAF_MAX, Leaf};

/// One entry to put, replacing the one of the same prefix and id, or, with `None`, to take out.
pub(crate) struct Edit<T> {
    pub(crate) key: Key,
    pub(crate) id: Uuid,
    pub(crate) common: Option<Common<T>>,
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
    /// Heap bytes; what entries have in common is not counted, and the allocator adds some.
    pub(crate) bytes: usize,
}

enum Node<T> {
    Empty,
    Leaf(Leaf<T>),
    Branch(Arc<Branch<T>>),
}

/// At depth n, all prefixes below begin with the same n digits.
struct Branch<T> {
    /// Entries whose prefix is just those digits, sorted by id.
    here: Box<[Item<T>]>,
    /// The others, by their next digit.
    children: [Node<T>; 10],
}

impl<T> Clone for Node<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Empty => Self::Empty,
            Self::Leaf(leaf) => Self::Leaf(leaf.clone()),
            Self::Branch(branch) => Self::Branch(Arc::clone(branch)),
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
    pub(crate) fn matches<'a>(
        &'a self,
        mut digits: Digits,
        mut visit: impl FnMut(usize, Found<'a, T>) -> ControlFlow<()>,
    ) {
        let mut above: [Option<&Branch<T>>; MAX_DIGITS + 1] = [None; MAX_DIGITS + 1];
        let mut depth = 0;
        let mut node = &self.root;
        let is_over = loop {
            match node {
                Node::Empty => break false,
                Node::Leaf(leaf) => {
                    break leaf.matches(&digits, |len, found| visit(depth + len, found)).is_break();
                }
                Node::Branch(branch) => {
                    above[depth] = Some(branch);
                    if digits.len() == 0 {
                        break false;
                    }
                    let (digit, rest) = digits.split_first();
                    node = &branch.children[digit];
                    digits = rest;
                    depth += 1;
                }
            }
        };
        if is_over {
            return;
        }
        for (len, branch) in above.iter().enumerate().rev() {
            for item in branch.map_or(&[][..], |branch| &branch.here) {
                if visit(len, item.found()).is_break() {
                    return;
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
        self.root.for_each(0, &mut visit);
    }

    /// Each entry under a prefix that begins with this one, with that prefix: shorter ones before longer ones beneath
    /// them, until `visit` breaks off.
    pub(crate) fn beneath<'a>(
        &'a self,
        prefix: u64,
        mut visit: impl FnMut(u64, Found<'a, T>) -> ControlFlow<()>,
    ) {
        let whole = count(prefix);
        let (mut node, mut above, mut depth) = (&self.root, 0, 0);
        while let Node::Branch(branch) = node
            && depth < whole
        {
            let digit = prefix / POW10[whole - depth - 1] % 10;
            (node, above, depth) = (&branch.children[digit as usize], above * 10 + digit, depth + 1);
        }
        // A leaf holds others, too, that begin alike.
        let begins = |other: u64| count(other) >= whole && other / POW10[count(other) - whole] == prefix;
        let _ = node.walk(above, &mut |other, found| {
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

impl<T> Edit<T> {
    fn put(self) -> Option<Item<T>> {
        Some(Item { key: self.key, id: self.id, common: self.common? })
    }
}

impl<T> Node<T> {
    fn for_each<'a>(&'a self, above: u64, visit: &mut impl FnMut(u64, Found<'a, T>)) {
        match self {
            Self::Empty => {}
            Self::Leaf(leaf) => leaf.for_each(above, visit),
            Self::Branch(branch) => {
                branch.here.iter().for_each(|item| visit(above, item.found()));
                for (digit, child) in branch.children.iter().enumerate() {
                    child.for_each(above * 10 + digit as u64, visit);
                }
            }
        }
    }

    fn walk<'a>(
        &'a self,
        above: u64,
        visit: &mut impl FnMut(u64, Found<'a, T>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        match self {
            Self::Empty => ControlFlow::Continue(()),
            Self::Leaf(leaf) => {
                let mut flow = ControlFlow::Continue(());
                leaf.for_each(above, |prefix, found| {
                    if flow.is_continue() {
                        flow = visit(prefix, found);
                    }
                });
                flow
            }
            Self::Branch(branch) => {
                branch.here.iter().try_for_each(|item| visit(above, item.found()))?;
                let mut children = branch.children.iter().zip(0_u64..);
                children.try_for_each(|(child, digit)| child.walk(above * 10 + digit, visit))
            }
        }
    }

    /// Of this node without its children.
    fn size(&self) -> Size {
        match self {
            Self::Empty => Size::default(),
            Self::Leaf(leaf) => Size { entries: leaf.len(), prefixes: leaf.prefixes(), bytes: leaf.bytes() },
            Self::Branch(branch) => Size {
                entries: branch.here.len(),
                prefixes: usize::from(!branch.here.is_empty()),
                bytes: 16 + size_of::<Branch<T>>() + size_of_val(&branch.here[..]),
            },
        }
    }

    /// The branch as a node, unless it holds nothing.
    fn branch(branch: Branch<T>, size: &mut Size) -> Self {
        if branch.here.is_empty() && branch.children.iter().all(|child| matches!(child, Self::Empty)) {
            return Self::Empty;
        }
        let node = Self::Branch(Arc::new(branch));
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
        Node::Empty => built(depth, &merge(std::iter::empty(), edits), &mut None, size),
        Node::Leaf(leaf) => {
            let items = merge(leaf.items(first.key.leading(depth)), edits);
            built(depth, &items, &mut Some(leaf.commons()), size)
        }
        Node::Branch(branch) => {
            let (here, mut below) = edits.split_at(edits.partition_point(|edit| edit.key.len() == depth));
            let here = merge(branch.here.iter().cloned(), here).into();
            let children = std::array::from_fn(|digit| {
                let edits = split_off(&mut below, |edit| edit.key.digit(depth) == digit);
                edited(&branch.children[digit], depth + 1, edits, size)
            });
            Node::branch(Branch { here, children }, size)
        }
    }
}

/// Sorted entries after sorted edits.
fn merge<T>(items: impl Iterator<Item = Item<T>>, edits: &[Edit<T>]) -> Vec<Item<T>> {
    let mut merged = Vec::with_capacity(items.size_hint().0 + edits.len());
    let mut items = items.peekable();
    for edit in edits {
        let key = (edit.key, edit.id);
        while let Some(item) = items.next_if(|item| (item.key, item.id) < key) {
            merged.push(item);
        }
        // The one it replaces or takes out.
        items.next_if(|item| (item.key, item.id) == key);
        merged.extend(edit.common.clone().map(|common| Item { key: edit.key, id: edit.id, common }));
    }
    merged.extend(items);
    merged
}

/// The smallest node over sorted entries that have the first `depth` digits in common; `last` is what those of the
/// leaf before had in common.
fn built<T>(
    depth: usize,
    items: &[Item<T>],
    last: &mut Option<Arc<[Common<T>]>>,
    size: &mut Size,
) -> Node<T> {
    if items.is_empty() {
        return Node::Empty;
    }
    if items.len() <= LEAF_MAX {
        let leaf = Node::Leaf(Leaf::new(depth, items, last));
        size.grow(leaf.size());
        return leaf;
    }
    let (here, mut below) = items.split_at(items.partition_point(|item| item.key.len() == depth));
    let children = std::array::from_fn(|digit| {
        built(depth + 1, split_off(&mut below, |item| item.key.digit(depth) == digit), last, size)
    });
    Node::branch(Branch { here: here.into(), children }, size)
}

/// Takes the first ones away, for which something holds that does for none after them.
fn split_off<'a, I>(items: &mut &'a [I], holds: impl Fn(&I) -> bool) -> &'a [I] {
    let (first, rest) = items.split_at(items.partition_point(holds));
    *items = rest;
    first
}
