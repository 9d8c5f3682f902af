//! Frames on their way into an own entry.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use roaring::RoaringBitmap;
use starling_proto::{frame::Columns, group::Group, ids::WriterId};

use crate::rollup::{Accumulator, Cores};

/// A tick being gathered for a `Merge`.
#[derive(Debug)]
pub(super) struct OpenTick {
    pub(super) sums: Accumulator,
    /// By this process's stream numbers.
    pub(super) coverage: RoaringBitmap,
    pub(super) due_ms: u64,
    /// When its first frame came, Unix seconds.
    pub(super) since: u32,
    /// Its first flush is still to come: it goes as soon as every session has reported.
    pub(super) live: bool,
}

/// A frame whole, as it was offered.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) groups: Arc<[Group]>,
    pub(super) columns: Columns,
    pub(super) cores: Cores,
    /// The first writer it was offered to; `None` when its node does not know.
    pub(super) pin: Option<WriterId>,
}

/// Frames that wait in memory: dots to merge by tick, and dots that another writer may have.
#[derive(Debug, Default)]
pub(super) struct Gather {
    pub(super) open: BTreeMap<u32, OpenTick>,
    /// By (tick, stream).
    waiting: BTreeMap<(u32, u32), Waiting>,
    /// When each of `waiting` is due, oldest first. Holds also some that wait no longer.
    queue: VecDeque<(u64, u32, u32)>,
}

impl Gather {
    /// True when the dot is to be merged.
    pub(super) fn is_open(&self, tick: u32, stream: u32) -> bool {
        self.open.get(&tick).is_some_and(|open| open.coverage.contains(stream))
    }

    /// True when the dot waits for another writer's entry.
    pub(super) fn is_waiting(&self, tick: u32, stream: u32) -> bool {
        self.waiting.contains_key(&(tick, stream))
    }

    /// The pin of a dot that waits.
    pub(super) fn waiting_pin(&self, tick: u32, stream: u32) -> Option<WriterId> {
        self.waiting.get(&(tick, stream))?.pin
    }

    pub(super) fn wait(&mut self, due_ms: u64, tick: u32, stream: u32, frame: Waiting) {
        self.waiting.insert((tick, stream), frame);
        self.queue.push_back((due_ms, tick, stream));
    }

    pub(super) fn waiting_len(&self) -> usize {
        self.waiting.len()
    }

    /// Takes a dot out of the queue.
    pub(super) fn stop_waiting(&mut self, tick: u32, stream: u32) -> Option<Waiting> {
        self.waiting.remove(&(tick, stream))
    }

    /// The next dot whose wait is over at `now_ms`; with `None` the oldest in any case.
    pub(super) fn waited(&mut self, now_ms: Option<u64>) -> Option<(u32, u32, Waiting)> {
        loop {
            let &(due, tick, stream) = self.queue.front()?;
            let waits = self.waiting.contains_key(&(tick, stream));
            if waits && now_ms.is_some_and(|now| due > now) {
                return None;
            }
            self.queue.pop_front();
            if let Some(frame) = self.waiting.remove(&(tick, stream)) {
                return Some((tick, stream, frame));
            }
        }
    }

    /// The lowest tick after `tick` that is not wholly in the log yet.
    pub(super) fn lowest_tick_after(&self, tick: u32) -> Option<u32> {
        let after = tick.saturating_add(1);
        let open = self.open.range(after..).next().map(|(&tick, _)| tick);
        let waiting = self.waiting.range((after, 0)..).next().map(|(&(tick, _), _)| tick);
        open.into_iter().chain(waiting).min()
    }

    /// When something is due.
    pub(super) fn next_due(&self) -> Option<u64> {
        let open = self.open.values().map(|open| open.due_ms).min();
        let waiting = self.queue.front().map(|&(due, ..)| due);
        open.into_iter().chain(waiting).min()
    }

    /// When the oldest tick that is being gathered was begun, Unix seconds.
    pub(super) fn since(&self) -> Option<u32> {
        self.open.values().map(|open| open.since).min()
    }

    /// Streams with a frame in here.
    pub(super) fn streams(&self, into: &mut RoaringBitmap) {
        self.open.values().for_each(|open| *into |= &open.coverage);
        into.extend(self.waiting.keys().map(|&(_, stream)| stream));
    }
}
