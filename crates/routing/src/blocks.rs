//! Which numbers nobody calls, or a member does not.

use std::sync::Arc;

use tandem_model::{BlockList, E164, MemberId, Prefix, Reason};

use crate::cow_map::CowMap;
use crate::hash;

/// Block lists by whose calls they are about. `clone` copies a pointer.
#[derive(Clone)]
pub(crate) struct Blocks(CowMap<Option<MemberId>, Arc<BlockList>>);

impl Blocks {
    pub(crate) fn new() -> Self {
        Self(CowMap::new())
    }

    /// How many lists there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        let list = |list: &Arc<BlockList>| 16 + size_of::<BlockList>() + size_of_val(&list.prefixes[..]);
        self.0.bytes() + self.0.values().map(list).sum::<usize>()
    }

    /// Puts a list, or takes it out where it has no prefix: the digests of what was there and of what is.
    pub(crate) fn put(&mut self, mut list: BlockList) -> (Option<u128>, Option<u128>) {
        list.prefixes.sort_unstable();
        list.prefixes.dedup();
        let digest = |list: &BlockList| hash::block_list(list);
        if list.prefixes.is_empty() {
            return (self.0.remove(&list.member_id).map(|old| digest(&old)), None);
        }
        let now = digest(&list);
        (self.0.insert(list.member_id, Arc::new(list)).map(|old| digest(&old)), Some(now))
    }

    /// Why a member's calls to a number are refused, where they are.
    pub(crate) fn reason(&self, originating: MemberId, called: E164) -> Option<Reason> {
        if self.0.len() == 0 {
            return None;
        }
        let blocks = |list| {
            let prefixes = self.prefixes(list);
            (1..=called.len()).any(|len| prefixes.binary_search(&called.leading(len)).is_ok())
        };
        match (blocks(Some(originating)), blocks(None)) {
            (true, _) => Some(Reason::BlockedByMember),
            (false, true) => Some(Reason::BlockedByOperator),
            (false, false) => None,
        }
    }

    /// The prefixes of a list, sorted.
    pub(crate) fn prefixes(&self, list: Option<MemberId>) -> &[Prefix] {
        self.0.get(&list).map_or(&[], |list| &list.prefixes)
    }

    /// Every list, in no promised order.
    pub(crate) fn lists(&self) -> impl Iterator<Item = &BlockList> {
        self.0.values().map(Arc::as_ref)
    }
}
