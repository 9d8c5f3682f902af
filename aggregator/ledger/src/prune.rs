//! What is forgotten, and when.

use roaring::RoaringBitmap;

use super::{Ledger, limits::PRUNE_SLACK_SECONDS};

impl Ledger {
    /// Forgets ticks older than `late_seconds` and 60 s of slack, the start of every log as far as it is for such
    /// ticks only, empty logs of others, and streams nothing refers to. Once a second is right.
    pub fn prune(&mut self, now_ms: u64) {
        let floor = self.floor_at(now_ms);
        self.prune_ticks(floor);
        for log in self.logs.iter_mut() {
            self.stats.entries_pruned += log.prune(floor) as u64;
        }
        let peers = &self.peers;
        // If the writer lives on unseen, its log comes back in the middle, as one that was never seen.
        self.logs.drop_if(|log| log.is_empty() && !log.frozen && !peers.contains_key(&log.writer));
        let own = self.logs.own();
        self.own_numbers.retain(|_, &mut number| !own.is_given_up(number));
        self.forget_streams();
    }

    /// Ticks before this one are gone once `now_ms` is pruned at. Never falls.
    pub(super) fn floor_at(&self, now_ms: u64) -> u32 {
        let kept = self.config.late_seconds.saturating_add(PRUNE_SLACK_SECONDS);
        self.floor.max(((now_ms / 1000) as u32).saturating_sub(kept))
    }

    pub(super) fn prune_ticks(&mut self, floor: u32) {
        self.floor = floor;
        self.ticks = self.ticks.split_off(&floor);
        let kept = self.unacknowledged.split_off(&floor);
        let expired: u64 = self.unacknowledged.values().map(RoaringBitmap::len).sum();
        self.stats.expired_unacknowledged += expired;
        self.unacknowledged = kept;
    }

    fn forget_streams(&mut self) {
        let mut needed: RoaringBitmap = self.sessions.keys().copied().collect();
        self.gather.streams(&mut needed);
        for (_, log) in self.logs.iter() {
            needed.extend(log.numbers().map(|numbered| numbered.stream));
        }
        // Every stream of a kept tick was seen at or after the floor.
        self.streams.forget(self.floor, &needed);
    }
}
