//! The indexes of segments that were read lately, within a bound.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use crate::segment::{Index, SegmentId};

/// Keeps indexes up to a number of bytes and drops the one that was longest not asked for.
pub(crate) struct IndexCache {
    limit: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    kept: HashMap<SegmentId, Kept>,
    /// By when they were last asked for.
    order: BTreeMap<u64, SegmentId>,
    clock: u64,
    bytes: usize,
    hits: u64,
    misses: u64,
}

struct Kept {
    index: Arc<Index>,
    asked: u64,
}

/// How the indexes of segments are kept in memory.
#[derive(Debug, Clone, Copy, Default)]
pub struct IndexStats {
    /// Indexes in memory.
    pub kept: usize,
    /// Their bytes.
    pub bytes: usize,
    /// The bound of `bytes`.
    pub limit: usize,
    /// Found in memory.
    pub hits: u64,
    /// Read from disk.
    pub misses: u64,
}

impl IndexCache {
    pub(crate) fn new(limit: usize) -> IndexCache {
        IndexCache { limit, state: Mutex::default() }
    }

    pub(crate) fn get(&self, id: SegmentId) -> Option<Arc<Index>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *state;
        state.clock += 1;
        let Some(kept) = state.kept.get_mut(&id) else {
            state.misses += 1;
            return None;
        };
        state.hits += 1;
        state.order.remove(&kept.asked);
        kept.asked = state.clock;
        state.order.insert(kept.asked, id);
        Some(kept.index.clone())
    }

    /// Keeps an index if it fits at all; one that alone is over the bound is used once and dropped.
    pub(crate) fn keep(&self, id: SegmentId, index: &Arc<Index>) {
        let bytes = cost(index);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if bytes > self.limit || state.kept.contains_key(&id) {
            return;
        }
        while state.bytes + bytes > self.limit {
            let Some((_, oldest)) = state.order.pop_first() else { break };
            if let Some(dropped) = state.kept.remove(&oldest) {
                state.bytes -= cost(&dropped.index);
            }
        }
        state.clock += 1;
        let asked = state.clock;
        state.order.insert(asked, id);
        state.kept.insert(id, Kept { index: index.clone(), asked });
        state.bytes += bytes;
    }

    pub(crate) fn forget(&self, id: SegmentId) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(dropped) = state.kept.remove(&id) {
            state.order.remove(&dropped.asked);
            state.bytes -= cost(&dropped.index);
        }
    }

    pub(crate) fn stats(&self) -> IndexStats {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { bytes, hits, misses, .. } = *state;
        IndexStats { kept: state.kept.len(), bytes, limit: self.limit, hits, misses }
    }
}

/// An index with its rows in the two tables here.
fn cost(index: &Index) -> usize {
    index.memory() + 2 * (size_of::<Kept>() + size_of::<(u64, SegmentId)>())
}
