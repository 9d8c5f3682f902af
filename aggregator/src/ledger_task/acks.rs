//! Acknowledgements of one stream on their way to its node.

use std::sync::{Mutex, PoisonError};

use starling_proto::{limits::LATE_WINDOW, v1};
use starling_service::metrics::Counter;
use tokio::sync::Notify;

use super::Gate;

/// Ticks that wait to be reported. A stream has no more unacknowledged frames than the ledger keeps seconds; beyond it
/// the oldest go, and their frames are acknowledged when the node sends them again.
const WAITING_MAX: usize = LATE_WINDOW as usize + 64;

/// Filled by the core, emptied by the stream's session.
#[derive(Debug, Default)]
pub(crate) struct AckQueue {
    /// (tick, copies). Plain mutex, short sections.
    waiting: Mutex<Vec<(u32, u32)>>,
    filled: Notify,
    /// Those that went because too many waited.
    dropped: Counter,
}

impl AckQueue {
    /// An empty one, which counts in `dropped` what it cannot keep.
    pub(crate) fn new(dropped: Counter) -> Self {
        Self { dropped, ..Self::default() }
    }

    /// `tick` is held by `copies` aggregators.
    pub(crate) fn push(&self, tick: u32, copies: u32) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= WAITING_MAX {
            waiting.remove(0);
            self.dropped.inc();
        }
        waiting.push((tick, copies));
        drop(waiting);
        self.filled.notify_one();
    }

    /// Waits until there is something to send. May wake once too often.
    pub(crate) async fn filled(&self) {
        self.filled.notified().await;
    }

    /// Everything that waits, as one message that says which seconds are taken; `None` when nothing does.
    pub(crate) fn take(&self, alone: bool, gate: Gate) -> Option<v1::Ack> {
        let mut waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        waiting.sort_unstable();
        waiting.dedup_by_key(|(tick, _)| *tick);
        let copies = waiting.iter().map(|(_, copies)| *copies).min()?;
        Some(v1::Ack {
            ticks: waiting.into_iter().map(|(tick, _)| tick).collect(),
            copies,
            alone: alone && copies == 1,
            floor: gate.floor,
            old_until: gate.old_until,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GATE: Gate = Gate { floor: 5, old_until: 6 };

    #[test]
    fn ticks_come_sorted_with_the_fewest_copies() {
        let queue = AckQueue::default();
        assert_eq!(queue.take(true, GATE), None);
        for (tick, copies) in [(9, 2), (7, 3), (8, 2), (8, 2)] {
            queue.push(tick, copies);
        }
        assert_eq!(
            queue.take(true, GATE),
            Some(v1::Ack { ticks: vec![7, 8, 9], copies: 2, alone: false, floor: 5, old_until: 6 })
        );
        queue.push(10, 1);
        assert!(queue.take(true, GATE).unwrap().alone);
        assert_eq!(queue.take(false, GATE), None);
    }

    #[test]
    fn a_node_that_does_not_read_costs_a_bounded_number() {
        let dropped = Counter::default();
        let queue = AckQueue::new(dropped.clone());
        (0..5000).for_each(|tick| queue.push(tick, 2));
        assert_eq!(queue.take(false, GATE).unwrap().ticks.len(), WAITING_MAX);
        assert_eq!(dropped.get(), 5000 - WAITING_MAX as u64);
    }
}
