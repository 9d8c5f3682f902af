//! What was made or read lately, within a bound of bytes.

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Keeps values up to a number of bytes and drops the one that was longest not asked for. Shared; its lock is held for
/// moments. Values are given out as clones: cheap ones such as an `Arc`.
#[derive(Debug)]
pub struct Recent<K, V> {
    limit: usize,
    state: Mutex<State<K, V>>,
}

#[derive(Debug)]
struct State<K, V> {
    kept: HashMap<K, Kept<V>>,
    /// By when they were last asked for.
    order: BTreeMap<u64, K>,
    clock: u64,
    bytes: usize,
    hits: u64,
    misses: u64,
}

#[derive(Debug)]
struct Kept<V> {
    value: V,
    bytes: usize,
    asked: u64,
}

/// How much is kept in memory, and how often that was of use.
#[derive(Debug, Clone, Copy, Default)]
pub struct RecentStats {
    /// Values in memory.
    pub kept: usize,
    /// Their bytes.
    pub bytes: usize,
    /// The bound of `bytes`.
    pub limit: usize,
    /// Found in memory.
    pub hits: u64,
    /// Asked for and not in memory.
    pub misses: u64,
}

impl<K: Clone + Eq + Hash, V: Clone> Recent<K, V> {
    /// Keeps at most `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        let (kept, order) = (HashMap::new(), BTreeMap::new());
        Self { limit, state: Mutex::new(State { kept, order, clock: 0, bytes: 0, hits: 0, misses: 0 }) }
    }

    /// What is kept for `key`.
    pub fn get(&self, key: &K) -> Option<V> {
        let mut state = self.lock();
        let state = &mut *state;
        state.clock += 1;
        let Some(kept) = state.kept.get_mut(key) else {
            state.misses += 1;
            return None;
        };
        state.hits += 1;
        let before = std::mem::replace(&mut kept.asked, state.clock);
        if let Some(key) = state.order.remove(&before) {
            state.order.insert(state.clock, key);
        }
        Some(kept.value.clone())
    }

    /// Keeps a value that takes `bytes`, unless one is kept for `key`; one that alone is over the bound is not kept.
    pub fn keep(&self, key: K, value: V, bytes: usize) {
        // With its rows in the two tables here.
        let bytes = bytes + size_of::<Kept<V>>() + 2 * size_of::<(u64, K)>();
        let mut state = self.lock();
        if bytes > self.limit || state.kept.contains_key(&key) {
            return;
        }
        while state.bytes + bytes > self.limit {
            let Some((_, oldest)) = state.order.pop_first() else { break };
            if let Some(dropped) = state.kept.remove(&oldest) {
                state.bytes -= dropped.bytes;
            }
        }
        state.clock += 1;
        let asked = state.clock;
        state.order.insert(asked, key.clone());
        state.kept.insert(key, Kept { value, bytes, asked });
        state.bytes += bytes;
    }

    /// Drops what is kept for `key`.
    pub fn forget(&self, key: &K) {
        let mut state = self.lock();
        if let Some(dropped) = state.kept.remove(key) {
            state.order.remove(&dropped.asked);
            state.bytes -= dropped.bytes;
        }
    }

    /// How much is kept.
    pub fn stats(&self) -> RecentStats {
        let state = self.lock();
        let State { bytes, hits, misses, .. } = *state;
        RecentStats { kept: state.kept.len(), bytes, limit: self.limit, hits, misses }
    }

    fn lock(&self) -> MutexGuard<'_, State<K, V>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_longest_not_asked_for_goes() {
        let recent = Recent::new(1_000);
        (0..3u32).for_each(|key| recent.keep(key, key, 200));
        assert_eq!((recent.get(&0), recent.stats().kept), (Some(0), 3));
        recent.keep(3, 3, 200);
        assert_eq!((recent.get(&1), recent.get(&0), recent.get(&3)), (None, Some(0), Some(3)));
        recent.keep(4, 4, 1_000);
        assert_eq!(recent.get(&4), None, "with its rows it is over the bound");
        recent.forget(&0);
        let stats = recent.stats();
        assert_eq!((stats.kept, stats.hits, stats.misses), (2, 3, 2));
        assert!(stats.bytes <= stats.limit && stats.bytes > 400);
        [2, 3].iter().for_each(|key| recent.forget(key));
        assert_eq!(recent.stats().bytes, 0);
    }
}
