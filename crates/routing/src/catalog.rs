//! Objects that are found by prefix and changed by id: announcements and ranges.

use std::ops::ControlFlow;

use tandem_model::Prefix;
use uuid::Uuid;

use crate::digits::{Digits, Key};
use crate::id_index::{self, IdIndex, fold};
use crate::leaf::{Entry, Found};
use crate::prefix_tree::{self, PrefixTree, Size};

/// An object as it stands now; `None` where it is gone.
pub(crate) struct Change<T> {
    pub(crate) id: Uuid,
    pub(crate) now: Option<(Prefix, Entry<T>)>,
}

/// A persistent map by prefix and by id. `clone` copies a few pointers.
pub(crate) struct Catalog<T> {
    tree: PrefixTree<T>,
    ids: IdIndex,
}

impl<T> Clone for Catalog<T> {
    fn clone(&self) -> Self {
        Self { tree: self.tree.clone(), ids: self.ids.clone() }
    }
}

impl<T> Catalog<T> {
    pub(crate) fn new() -> Self {
        Self { tree: PrefixTree::new(), ids: IdIndex::default() }
    }

    /// Its size; the bytes are those of both indexes.
    pub(crate) fn size(&self) -> Size {
        let size = self.tree.size();
        Size { bytes: size.bytes + self.ids.bytes(size.entries), ..size }
    }

    /// The entry of this id under this prefix.
    pub(crate) fn get(&self, prefix: u64, id: Uuid) -> Option<Found<'_, T>> {
        self.tree.get(prefix, id)
    }

    /// The prefix under which the entry of this id is.
    pub(crate) fn prefix_of(&self, id: Uuid) -> Option<u64> {
        self.ids.prefixes(fold(id)).find(|prefix| self.tree.get(*prefix, id).is_some())
    }

    /// Gives each entry under a prefix that the digits begin with, and how many digits that has: the longest first.
    pub(crate) fn matches<'a>(
        &'a self,
        digits: Digits,
        visit: impl FnMut(usize, Found<'a, T>) -> ControlFlow<()>,
    ) {
        self.tree.matches(digits, visit);
    }

    /// Each entry under a prefix that begins with this one, with that prefix, until `visit` breaks off.
    pub(crate) fn beneath<'a>(
        &'a self,
        prefix: u64,
        visit: impl FnMut(u64, Found<'a, T>) -> ControlFlow<()>,
    ) {
        self.tree.beneath(prefix, visit);
    }

    /// Every entry with its prefix, in no promised order.
    pub(crate) fn for_each<'a>(&'a self, visit: impl FnMut(u64, Found<'a, T>)) {
        self.tree.for_each(visit);
    }

    /// Makes the changes; of several to one id the last counts. Each prefix and entry that is taken out or put
    /// in is given to `taken` or `put`.
    pub(crate) fn change(
        &mut self,
        changes: Vec<Change<T>>,
        mut taken: impl FnMut(u64, Found<'_, T>),
        mut put: impl FnMut(u64, Found<'_, T>),
    ) {
        let superseded = superseded(&changes);
        let mut superseded = superseded.iter().copied().peekable();
        let mut edits = Vec::with_capacity(changes.len());
        let mut id_edits = Vec::with_capacity(changes.len());
        for (at, Change { id, now }) in changes.into_iter().enumerate() {
            if superseded.next_if_eq(&at).is_some() {
                continue;
            }
            let folded = fold(id);
            let old = self.ids.prefixes(folded).find_map(|prefix| Some((prefix, self.tree.get(prefix, id)?)));
            let new_prefix = now.as_ref().map(|(prefix, _)| prefix.value());
            if let Some((prefix, entry)) = old {
                taken(prefix, entry);
                if new_prefix != Some(prefix) {
                    edits.push(prefix_tree::Edit { key: Key::of(prefix), id, entry: None });
                    id_edits.push(id_index::Edit { folded, prefix, put: false });
                }
            }
            if let Some((prefix, entry)) = now {
                let prefix = prefix.value();
                put(prefix, Found { id, from_ns: entry.from_ns, terms: &entry.terms });
                if old.map(|(prefix, _)| prefix) != Some(prefix) {
                    id_edits.push(id_index::Edit { folded, prefix, put: true });
                }
                edits.push(prefix_tree::Edit { key: Key::of(prefix), id, entry: Some(entry) });
            }
        }
        self.ids.edit(id_edits);
        self.tree.edit(edits);
    }
}

/// Which changes are followed by one to the same id, in order.
fn superseded<T>(changes: &[Change<T>]) -> Vec<usize> {
    let mut order: Vec<_> = changes.iter().zip(0_u32..).map(|(change, at)| (fold(change.id), at)).collect();
    order.sort_unstable();
    let mut superseded = Vec::new();
    for alike in order.chunk_by(|a, b| a.0 == b.0) {
        for (nth, (_, at)) in alike.iter().enumerate() {
            let id = changes[*at as usize].id;
            if alike[nth + 1..].iter().any(|(_, later)| changes[*later as usize].id == id) {
                superseded.push(*at as usize);
            }
        }
    }
    superseded.sort_unstable();
    superseded
}
