//! How far copying is, for whoever asks.

use std::sync::{Arc, Mutex, PoisonError};

use crate::{
    clock::{now_ms, tick_of},
    metrics::Metrics,
};

/// How far copying is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct CopyStatus {
    /// All of history is being looked through, and something was lacking.
    pub(crate) restoring: bool,
    /// Spans of time and tier that are looked through, of how many. Both 0 before the first time.
    pub(crate) spans_done: u64,
    /// See above.
    pub(crate) spans: u64,
    /// Blocks that are known to be lacking in the span at hand.
    pub(crate) lacking_blocks: u64,
    /// Blocks fetched since the start.
    pub(crate) fetched_blocks: u64,
    /// Their bytes.
    pub(crate) fetched_bytes: u64,
    /// Unix time at which all copies were last found to be whole; 0 when they never were.
    pub(crate) whole_tick: u32,
}

/// Shared: written by the copies, read by whoever answers.
#[derive(Clone)]
pub(crate) struct Status {
    /// Plain mutex, short sections.
    now: Arc<Mutex<CopyStatus>>,
    metrics: Arc<Metrics>,
}

impl Status {
    /// Nothing was looked through yet.
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        Self { now: Arc::default(), metrics }
    }

    /// How far it is.
    pub(crate) fn read(&self) -> CopyStatus {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut CopyStatus)) {
        let status = {
            let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
            change(&mut now);
            *now
        };
        let CopyStatus { restoring, spans_done, spans, lacking_blocks, whole_tick, .. } = status;
        self.metrics.history_copies(lacking_blocks, restoring, (spans_done, spans), whole_tick);
    }

    pub(super) fn begins(&self, spans: usize) {
        self.change(|now| (now.spans_done, now.spans) = (0, spans as u64));
    }

    pub(super) fn is_at(&self, spans_done: usize, restoring: bool) {
        self.change(|now| (now.spans_done, now.restoring) = (spans_done as u64, restoring));
    }

    pub(super) fn lacks(&self, blocks: usize) {
        self.change(|now| now.lacking_blocks = blocks as u64);
    }

    pub(super) fn fetched(&self, blocks: u64, bytes: u64) {
        self.change(|now| {
            now.fetched_blocks += blocks;
            now.fetched_bytes += bytes;
        });
    }

    pub(super) fn ended(&self, whole: bool) {
        self.change(|now| {
            now.restoring = false;
            if whole {
                now.whole_tick = tick_of(now_ms());
            }
        });
    }
}
