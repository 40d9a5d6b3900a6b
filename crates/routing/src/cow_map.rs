//! A hash map whose copies share what did not change: a change of one key copies one shard of many.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use ahash::RandomState;

/// How many shards a map has: what an update copies is these many pointers and one shard's entries.
const SHARDS: usize = 256;

/// The hash of keys is fixed: nothing here is random. Keys are ids that the exchange makes itself.
fn hasher() -> RandomState {
    RandomState::with_seeds(0x5441_4e44, 0x454d_0001, 0x726f_7574, 0x696e_6700)
}

type Shard<K, V> = HashMap<K, V, RandomState>;

/// A copy-on-write map. `clone` copies one pointer.
#[derive(Clone)]
pub(crate) struct CowMap<K, V> {
    /// No shard, or [`SHARDS`] of them.
    shards: Arc<Vec<Arc<Shard<K, V>>>>,
    hasher: RandomState,
    len: usize,
}

impl<K: Hash + Eq + Clone, V: Clone> CowMap<K, V> {
    pub(crate) fn new() -> Self {
        Self { shards: Arc::default(), hasher: hasher(), len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether the two are copies of one another between which nothing was changed.
    pub(crate) fn is_unchanged_from(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shards, &other.shards)
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.shards.get(self.shard_of(key))?.get(key)
    }

    /// Puts a value and gives back what it replaces.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let old = self.shard_mut(&key).insert(key, value);
        self.len += usize::from(old.is_none());
        old
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        self.get(key)?;
        self.len -= 1;
        self.shard_mut(key).remove(key)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.shards.iter().flat_map(|shard| shard.values())
    }

    /// Heap bytes, what the entries themselves point to aside. An estimate.
    pub(crate) fn bytes(&self) -> usize {
        // A hash map is 7/16 to 7/8 full, and has a control byte for each slot.
        self.shards.len() * (8 + 16 + size_of::<Shard<K, V>>()) + self.len * (size_of::<(K, V)>() + 1) * 3 / 2
    }

    fn shard_of(&self, key: &K) -> usize {
        // The map inside the shard uses the low bits and the highest seven.
        (self.hasher.hash_one(key) >> 40) as usize % SHARDS
    }

    fn shard_mut(&mut self, key: &K) -> &mut Shard<K, V> {
        let index = self.shard_of(key);
        let shards = Arc::make_mut(&mut self.shards);
        if shards.is_empty() {
            let empty = Arc::new(HashMap::with_hasher(self.hasher.clone()));
            shards.resize(SHARDS, empty);
        }
        Arc::make_mut(&mut shards[index])
    }
}

impl<K: Hash + Eq + Clone, V: Clone + Default + PartialEq> CowMap<K, V> {
    /// Changes the value of a key, beginning from the default; a key left at the default goes.
    pub(crate) fn update(&mut self, key: K, change: impl FnOnce(&mut V)) {
        let mut value = self.get(&key).cloned().unwrap_or_default();
        change(&mut value);
        if value == V::default() {
            self.remove(&key);
        } else {
            self.insert(key, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_keeps_what_it_had_when_the_original_changes() {
        let mut map = CowMap::new();
        for key in 0..1000_u32 {
            assert_eq!(map.insert(key, key), None);
        }
        let before = map.clone();
        assert_eq!(map.insert(7, 70), Some(7));
        assert_eq!(map.remove(&8), Some(8));
        assert_eq!(map.remove(&8), None);
        assert_eq!((before.get(&7), before.get(&8), before.len()), (Some(&7), Some(&8), 1000));
        assert_eq!((map.get(&7), map.get(&8), map.len()), (Some(&70), None, 999));
        let copied = before.shards.iter().zip(map.shards.iter()).filter(|(a, b)| !Arc::ptr_eq(a, b)).count();
        assert!(copied <= 2, "{copied} shards were copied for two keys");
    }
}
