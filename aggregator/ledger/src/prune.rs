//! What is forgotten, and when.

use super::{Ledger, logs::OWN, message::Action};

impl Ledger {
    /// Forgets ticks older than the floor and 60 s of slack, the start of every log as far as it is for such
    /// ticks only, empty logs of others, and names and streams that nothing uses. Once a second is right.
    pub(crate) fn prune(&mut self, now_ms: u64) {
        let floor = self.floor_at(now_ms);
        self.prune_ticks(floor);
        let Self { logs, names, stats, .. } = self;
        for (number, log) in logs.iter_mut() {
            stats.entries_pruned += log.prune(floor, (number != OWN).then_some(&mut *names)) as u64;
        }
        let peers = &self.peers;
        // If the writer lives on unseen, its log comes back in the middle, as one that was never seen.
        self.logs.drop_if(&mut self.names, |log| log.is_empty() && !peers.contains(log.writer()));
        let logs = &self.logs;
        self.disputes.prune(floor, |writer| logs.number(writer).is_some());
        let (logs, ahead) = (&self.logs, &mut self.ahead);
        ahead.retain(|(_, place)| logs.get(place.log).is_some_and(|log| log.entry(place.sequence).is_some()));
        let own = self.logs.own();
        self.own_numbers.retain(|_, &mut number| !own.numbers().gave_stream_up(number));
        self.own.forget((now_ms / 1000) as u32, self.gather.since().unwrap_or(u32::MAX));
        self.forget_streams();
    }

    /// Lets the floor move. Logs cannot be pruned while old seconds come into them: when they would not fit, the rest of the
    /// outage is given up.
    pub(crate) fn move_floor(&mut self, now_ms: u64) {
        self.gate.advance(now_ms);
        let limits = &self.config.limits;
        let full = |held: usize, most: usize| held > most / 4 * 3;
        if self.gate.is_behind()
            && (full(self.logs.own().bytes(), limits.log_bytes) || full(self.logs.bytes(), limits.logs_bytes))
        {
            self.gate.give_up(now_ms);
            self.stats.catch_ups_cut += 1;
        }
    }

    /// Ticks before this one are gone once `now_ms` is pruned at. Never falls.
    pub(super) fn floor_at(&self, now_ms: u64) -> u32 {
        let gate = if self.gate.is_behind() {
            self.gate.told()
        } else {
            self.gate.at().max(((now_ms / 1000) as u32).saturating_sub(self.config.late_seconds))
        };
        let own = gate.saturating_sub(self.gate.kept(now_ms, self.config.slack_seconds));
        self.floor.max(own).max(self.gate.forgotten())
    }

    pub(super) fn prune_ticks(&mut self, floor: u32) {
        self.floor = floor;
        for (tick, state) in self.ticks.prune(floor) {
            self.actions.push_back(Action::Pruned { tick, sums: state.snapshot(), frames: state.frames() });
        }
        self.stats.expired_unacknowledged += self.unacknowledged.prune(floor);
    }

    fn forget_streams(&mut self) {
        let mut needed = self.sessions.streams();
        self.gather.streams(&mut needed);
        for (_, log) in self.logs.iter() {
            needed.extend(log.numbers().streams());
        }
        // Every stream of a kept tick was seen at or after the floor.
        self.streams.forget(self.floor, &needed);
    }
}
