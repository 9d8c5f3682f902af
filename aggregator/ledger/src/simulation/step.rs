//! What happens in a schedule, and how it ends.

use starling_proto::ids::StreamId;

use super::{
    super::limits::BRING_OUT_MS,
    Pace, Seen,
    node::Pin,
    world::{Message, Outcome, World},
};

const STEPS: usize = 400;
/// Rounds of the healed cluster before it must have drained.
const ROUNDS: usize = 40;

impl World {
    /// Runs the whole schedule.
    pub(super) fn run(mut self) -> Result<Seen, String> {
        let seed = self.seed;
        self.schedule().map_err(|what| format!("seed {seed}: {what}"))?;
        self.count();
        Ok(self.seen)
    }

    fn schedule(&mut self) -> Outcome {
        for _ in 0..STEPS {
            self.now_ms += match self.pace {
                Pace::Seconds => self.rng.below(150) as u64,
                Pace::Minutes | Pace::Outages => self.rng.below(10_000) as u64,
            };
            self.step()?;
            self.lie()?;
            if self.rng.one_in(16) {
                self.same_logs_same_view()?;
            }
        }
        self.heal();
        self.quarantine_everywhere()?;
        self.drain()?;
        self.bring_out()?;
        self.settled()
    }

    fn step(&mut self) -> Outcome {
        let (slots, nodes) = (self.slots.len(), self.nodes.len());
        let (x, y, node) = (self.rng.below(slots), self.rng.below(slots), self.rng.below(nodes));
        match self.rng.below(100) {
            0..16 => self.cut_frame(node),
            16..20 => {
                if self.nodes[node].connection.is_none() || self.rng.one_in(3) {
                    self.connect(node);
                }
            }
            20..34 => self.send(node),
            34..62 => {
                for _ in 0..3 {
                    self.deliver_some()?;
                }
            }
            62..70 => self.poll(x)?,
            70..76 => self.send_digest(x, y),
            76..80 => {
                let most = self.rng.below(12);
                self.sync(x, most);
            }
            80..84 => self.send_entries(x, y),
            84..88 => self.acknowledge(x)?,
            88 => self.crash(x),
            89..92 => {
                if self.slots[x].is_none() {
                    self.start(x);
                }
            }
            92 => {
                if let Some(aggregator) = &mut self.slots[x] {
                    aggregator.paused = !aggregator.paused;
                }
            }
            93 => {
                if self.rng.one_in(3) {
                    self.restart_daemon(node);
                }
            }
            94 => self.heal_network(),
            95 => self.split_network(),
            96 => self.cut[x][y] = !self.cut[x][y],
            97 => self.cut_nodes[node][x] = !self.cut_nodes[node][x],
            98 => {
                let now_ms = self.now_ms;
                if let Some(aggregator) = self.running(x) {
                    aggregator.ledger.prune(now_ms);
                    self.act(x)?;
                    self.check_all(x)?;
                }
            }
            _ => {
                // Everybody talks to everybody at once: racing digests.
                for from in 0..slots {
                    for to in 0..slots {
                        self.send_digest(from, to);
                    }
                }
            }
        }
        Ok(())
    }

    pub(super) fn send(&mut self, node: usize) {
        let most = 1 + self.rng.below(4);
        let alive = self.nodes[node].connection.as_ref().is_some_and(|connection| {
            let process = self.slots[connection.slot].as_ref();
            !self.cut_nodes[node][connection.slot] && process.is_some_and(|a| a.ledger.writer() == connection.writer)
        });
        if !alive {
            self.connect(node);
        }
        self.send_frames(node, most);
    }

    pub(super) fn deliver_some(&mut self) -> Outcome {
        if self.network.is_empty() {
            return Ok(());
        }
        let at = self.rng.below(self.network.len());
        if self.rng.one_in(10) {
            self.network.swap_remove(at);
            return Ok(());
        }
        if self.rng.one_in(10) {
            let again = self.network[at].clone();
            self.network.push(again);
        }
        self.deliver(at)
    }

    /// The process of a slot is gone with all it held, unless another loss has not been made up for: k is 1.
    fn crash(&mut self, slot: usize) {
        if self.disks.is_some() {
            self.crash_with_disk(slot);
            return;
        }
        self.unbury();
        if self.buried.is_none() && self.slots.iter().flatten().count() > 2 {
            self.buried = self.slots[slot].take().map(|aggregator| aggregator.ledger);
            self.rosters[slot] = self.buried.as_ref().map(|gone| gone.known_streams(self.now_ms)).unwrap_or_default();
            self.seen.crashes += u64::from(self.buried.is_some());
            let gone = self.writers[slot];
            self.slots.iter_mut().flatten().for_each(|aggregator| aggregator.ledger.peers.closed(gone));
        }
    }

    /// With disks any number of processes may be gone; each keeps what its disk has kept.
    fn crash_with_disk(&mut self, slot: usize) {
        let all = self.rng.one_in(4);
        for slot in if all { 0..self.slots.len() } else { slot..slot + 1 } {
            self.crash_one(slot);
        }
    }

    /// The process of a slot is gone; its disk keeps what it has kept.
    pub(super) fn crash_one(&mut self, slot: usize) {
        if let Some(aggregator) = self.slots[slot].take() {
            self.rosters[slot] = aggregator.ledger.known_streams(self.now_ms);
            self.seen.crashes += 1;
            self.seen.disk_crashes += 1;
            let gone = self.writers[slot];
            self.slots.iter_mut().flatten().for_each(|aggregator| aggregator.ledger.peers.closed(gone));
        }
    }

    /// Forgets the last crashed process once the others hold the same logs and know that it is gone.
    fn unbury(&mut self) {
        let Some(buried) = &self.buried else { return };
        let gone = buried.writer();
        let lengths: Vec<_> = self.ledgers().map(|ledger| ledger.lengths()).collect();
        let speaks = |message: &Message| match message {
            Message::Digest { author, .. } | Message::Entries { author, .. } => *author == gone,
            _ => false,
        };
        if lengths.windows(2).all(|pair| pair[0] == pair[1]) && !self.network.iter().any(speaks) {
            self.buried = None;
            self.slots.iter_mut().flatten().for_each(|aggregator| aggregator.ledger.peers.lost(gone));
        }
    }

    /// A daemon starts again: a new stream. Its frames are gone, or it still has them but not their pins.
    fn restart_daemon(&mut self, number: usize) {
        self.seen.daemon_restarts += 1;
        self.disconnect(number);
        let keeps = self.rng.one_in(2);
        let node = &mut self.nodes[number];
        node.stream = StreamId::new(self.rng.bytes());
        if keeps {
            node.kept.values_mut().for_each(|pin| *pin = Pin::Unknown);
            self.seen.unknown_pins += node.kept.len() as u64;
        } else {
            let lost = std::mem::take(&mut node.kept);
            self.seen.lost_with_daemon += lost.len() as u64;
            self.ghost.lost.extend(lost.into_keys());
        }
    }

    fn heal_network(&mut self) {
        self.cut.iter_mut().flatten().for_each(|cut| *cut = false);
        self.cut_nodes.iter_mut().flatten().for_each(|cut| *cut = false);
    }

    fn split_network(&mut self) {
        let sides: Vec<bool> = self.slots.iter().map(|_| self.rng.one_in(2)).collect();
        for (from, row) in self.cut.iter_mut().enumerate() {
            for (to, cut) in row.iter_mut().enumerate() {
                *cut = sides[from] != sides[to];
            }
        }
        for (node, row) in self.cut_nodes.iter_mut().enumerate() {
            for (slot, cut) in row.iter_mut().enumerate() {
                *cut = sides[slot] != (node % 2 == 0);
            }
        }
    }

    fn heal(&mut self) {
        self.heal_network();
        for slot in 0..self.slots.len() {
            match &mut self.slots[slot] {
                Some(aggregator) => aggregator.paused = false,
                None => self.start(slot),
            }
        }
    }

    /// Membership has seen who is gone, and every second something is pruned.
    fn tidy(&mut self) {
        let (now_ms, writers) = (self.now_ms, &self.writers);
        for aggregator in self.slots.iter_mut().flatten() {
            let peers = aggregator.ledger.peers();
            for gone in peers.iter().filter(|peer| !writers.contains(&peer.writer)) {
                aggregator.ledger.peers.lost(gone.writer);
            }
            aggregator.ledger.prune(now_ms);
        }
        for slot in 0..self.slots.len() {
            self.sync(slot, usize::MAX);
        }
    }

    /// No more faults: within a bounded time every frame is acknowledged and every log is everywhere.
    pub(super) fn drain(&mut self) -> Outcome {
        let slots = self.slots.len();
        for round in 0..ROUNDS {
            self.now_ms += 250;
            self.tidy();
            for node in 0..self.nodes.len() {
                if round % 12 == 0 || self.nodes[node].connection.is_none() {
                    self.connect(node);
                }
                self.send_frames(node, usize::MAX);
            }
            self.deliver_all()?;
            (0..slots).try_for_each(|slot| self.poll(slot))?;
            for _ in 0..2 {
                for from in 0..slots {
                    for to in 0..slots {
                        self.send_entries(from, to);
                        self.send_digest(from, to);
                    }
                }
                self.deliver_all()?;
            }
            (0..slots).try_for_each(|slot| self.acknowledge(slot))?;
            if self.network.is_empty() && self.is_drained() {
                return Ok(());
            }
        }
        Err(format!("not drained after {ROUNDS} rounds: {}", self.what_is_left()))
    }

    /// Every ledger brings out what changed.
    pub(super) fn bring_out(&mut self) -> Outcome {
        for slot in 0..self.slots.len() {
            while self.slots[slot].as_ref().is_some_and(|aggregator| aggregator.ledger.ticks.has_changed()) {
                self.now_ms += BRING_OUT_MS;
                self.poll(slot)?;
            }
        }
        Ok(())
    }

    pub(super) fn deliver_all(&mut self) -> Outcome {
        // Each delivery may answer; the answers end because what they carry ends.
        for _ in 0..20_000 {
            if self.network.is_empty() {
                return Ok(());
            }
            let at = self.rng.below(self.network.len());
            self.deliver(at)?;
        }
        Err("messages never end".into())
    }
}
