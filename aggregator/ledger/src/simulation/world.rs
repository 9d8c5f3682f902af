//! The cluster of one schedule: aggregators, nodes and the messages between them.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    num::NonZeroUsize,
    sync::Arc,
};

use bytes::Bytes;
use roaring::RoaringBitmap;
use starling_proto::{
    frame::Columns,
    ids::{NodeId, StreamId, WriterId},
    interner::Interner,
    v1,
};

use super::{
    Pace, Plant, Seen,
    node::{Connection, Cut, Dot, Pin, Shapes, SimulatedNode},
    oracle::Ghost,
    outage::{Store, scaled},
    rng::Rng,
    rogue::Rogue,
};
use crate::{
    Action, Coverage, DecodedRun, EntriesError, Event, KnownStream, Ledger, LedgerConfig, LedgerLimits, Offer, Offered,
    Outgoing, Refused, StreamNo, TickView, faults::Faults, tick::TickState,
};

/// What went wrong, and where.
pub(super) type Outcome = Result<(), String>;

/// Of every connection of a node: the world says which ones are open.
const KEY: u64 = 0;

/// Who is behind a view, and who is missing.
pub(super) type Shown = (Coverage, Arc<[NodeId]>);

/// Bytes of entries in one answer: small, so that logs travel in pieces.
const BUDGET: usize = 600;

#[derive(Debug)]
pub(super) struct Aggregator {
    pub(super) ledger: Ledger,
    pub(super) paused: bool,
    /// Whose frames the ledger's stream numbers are.
    pub(super) sessions: BTreeMap<StreamNo, (usize, StreamId)>,
    pub(super) interner: Arc<Interner>,
    /// On its way to the disk.
    pub(super) unsynced: VecDeque<(WriterId, u64, Bytes)>,
}

#[derive(Debug, Clone)]
pub(super) enum Message {
    Frame { slot: usize, writer: WriterId, node: usize, dot: Dot, pin: Option<WriterId> },
    Acknowledged { node: usize, dot: Dot },
    Refused { node: usize, dot: Dot },
    NotYet { node: usize, dot: Dot },
    Digest { from: usize, author: WriterId, to: usize, digest: v1::Digest },
    Entries { from: usize, author: WriterId, to: usize, run: v1::Entries },
    Forged { to: usize, digest: v1::Digest, run: v1::Entries },
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) seed: u64,
    pub(super) rng: Rng,
    pub(super) pace: Pace,
    pub(super) plant: Plant,
    pub(super) now_ms: u64,
    pub(super) slots: Vec<Option<Aggregator>>,
    pub(super) nodes: Vec<SimulatedNode>,
    pub(super) network: Vec<Message>,
    /// Messages from aggregator to aggregator are lost.
    pub(super) cut: Vec<Vec<bool>>,
    /// Messages between node and aggregator are lost.
    pub(super) cut_nodes: Vec<Vec<bool>>,
    /// The last crashed ledger, until the others have all that it held for others to count on.
    pub(super) buried: Option<Ledger>,
    /// Writers of slots, for the plant that reuses them.
    pub(super) writers: Vec<WriterId>,
    pub(super) shapes: Shapes,
    pub(super) histograms: bool,
    /// Names come and go.
    pub(super) churn: bool,
    /// All tables of names are tiny.
    pub(super) small: bool,
    /// What the disk of each slot has kept, by log from its first entry; `None` in schedules without disks.
    pub(super) disks: Option<Vec<BTreeMap<WriterId, Vec<Bytes>>>>,
    /// The same in schedules of outages, where ticks and logs are pruned.
    pub(super) stores: Option<Vec<Store>>,
    /// Some process has pruned the seconds before this one.
    pub(super) forgotten: u32,
    /// Frames of a second that a slot counted.
    pub(super) counted: BTreeMap<(usize, u32), u32>,
    /// What readers last saw of a second of a ledger: who is behind it, and who is missing.
    pub(super) shown: BTreeMap<(WriterId, u32), Shown>,
    /// The streams whose frame of a second readers of a ledger last saw.
    pub(super) seen_by_readers: BTreeMap<(WriterId, u32), RoaringBitmap>,
    /// What the process of a slot had written down of its nodes when it crashed.
    pub(super) rosters: Vec<Vec<KnownStream>>,
    /// An aggregator that lies; `None` in schedules without one.
    pub(super) rogue: Option<Rogue>,
    pub(super) contents: BTreeMap<Dot, Cut>,
    pub(super) ghost: Ghost,
    pub(super) seen: Seen,
}

/// Of every ledger of a schedule, the one that lies included: after how long a number is given up is a rule of the log.
fn limits(small: bool) -> LedgerLimits {
    if !small {
        return LedgerLimits::default();
    }
    let (own_series, own_groups, series, groups) = (6, 2, 5, 3);
    LedgerLimits { own_series, own_groups, series, groups, number_seconds: 6, ..LedgerLimits::default() }
}

impl World {
    pub(super) fn new(seed: u64, pace: Pace, plant: Plant) -> Self {
        let mut rng = Rng::new(seed);
        let (slots, nodes) = (3 + rng.below(3), 2 + rng.below(4));
        let small = rng.one_in(4);
        // Logs on a disk are read from their start: nothing may be pruned.
        let disk = pace == Pace::Seconds && rng.one_in(3);
        let mut world = Self {
            seed,
            pace,
            plant,
            now_ms: 1_000_000_000 + rng.below(1000) as u64,
            slots: Vec::new(),
            nodes: (0..nodes).map(|number| SimulatedNode::new(number, &mut rng, small)).collect(),
            network: Vec::new(),
            cut: vec![vec![false; slots]; slots],
            cut_nodes: vec![vec![false; slots]; nodes],
            buried: None,
            writers: (0..slots).map(|_| WriterId::new(rng.bytes())).collect(),
            shapes: Shapes::new(),
            histograms: rng.one_in(50),
            churn: small || rng.one_in(4),
            small,
            disks: disk.then(|| vec![BTreeMap::new(); slots]),
            stores: None,
            counted: BTreeMap::new(),
            forgotten: 0,
            shown: BTreeMap::new(),
            seen_by_readers: BTreeMap::new(),
            rosters: vec![Vec::new(); slots],
            rogue: Rogue::of(seed, plant, slots, limits(small)).filter(|_| pace != Pace::Outages),
            contents: BTreeMap::new(),
            ghost: Ghost::default(),
            seen: Seen::default(),
            rng,
        };
        if pace == Pace::Outages {
            world.stores = Some((0..slots).map(|_| Store::default()).collect());
        }
        world.slots.resize_with(slots, || None);
        (0..slots).for_each(|slot| world.start(slot));
        if pace == Pace::Outages {
            world.catch_up_all().expect("nothing has happened yet");
        }
        world
    }

    /// Starts the aggregator of a slot as a new process.
    pub(super) fn start(&mut self, slot: usize) {
        if self.plant != Plant::ReusedWriter {
            self.writers[slot] = WriterId::new(self.rng.bytes());
        }
        let config = LedgerConfig {
            aggregator_id: format!("aggregator-{slot}"),
            resend_after: std::time::Duration::from_millis(400),
            relay_after: std::time::Duration::from_millis(200),
            limits: limits(self.small),
            ..LedgerConfig::default()
        };
        let config = if self.pace == Pace::Outages { scaled(config) } else { config };
        let interner = Arc::new(Interner::new(if self.small { 40 } else { 1_000 }));
        let mut ledger = Ledger::new(self.writers[slot], config, Arc::clone(&interner));
        if let Plant::Ledger(fault) = self.plant {
            ledger.faults = Faults::of(Some(fault));
        }
        for other in (0..self.slots.len()).filter(|&other| other != slot) {
            ledger.peer_opened(self.writers[other]);
            if let Some(aggregator) = &mut self.slots[other] {
                aggregator.ledger.peer_opened(self.writers[slot]);
            }
        }
        let (sessions, unsynced) = (BTreeMap::new(), VecDeque::new());
        if let Some(rogue) = self.rogue.as_ref().filter(|rogue| rogue.refused_by[slot]) {
            ledger.handle(self.now_ms, Event::Quarantine(rogue.quarantine()));
        }
        self.slots[slot] = Some(Aggregator { ledger, paused: false, sessions, interner, unsynced });
        self.restore(slot);
        self.restore_stored(slot);
        self.recall(slot);
    }

    /// Half of the new processes find what the one before wrote down of its nodes.
    fn recall(&mut self, slot: usize) {
        let roster = std::mem::take(&mut self.rosters[slot]);
        let (now_ms, found) = (self.now_ms, self.now_ms.is_multiple_of(2) && self.plant != Plant::ReusedWriter);
        if let Some(aggregator) = self.slots[slot].as_mut().filter(|_| found && !roster.is_empty()) {
            let before = aggregator.ledger.logs.own().length();
            aggregator.ledger.recall(now_ms, roster);
            self.seen.recalled += aggregator.ledger.logs.own().length() - before;
        }
    }

    /// A new process reads the logs that its disk has kept: they are logs of others now.
    fn restore(&mut self, slot: usize) {
        let (Some(disks), Some(aggregator)) = (&self.disks, &mut self.slots[slot]) else { return };
        let me = aggregator.ledger.writer();
        for (writer, payloads) in disks[slot].iter().filter(|(writer, _)| **writer != me) {
            let run = v1::Entries {
                writer_id: writer.to_bytes(),
                first_sequence: 1,
                previous_hash: writer.to_bytes(),
                payloads: payloads.clone(),
                ..v1::Entries::default()
            };
            let run = DecodedRun::decode(&run).expect("what the disk has kept was read before");
            let applied = aggregator.ledger.apply_entries(self.now_ms, me, &run);
            if matches!(applied, Err(EntriesError::Quarantined { .. })) {
                continue;
            }
            assert!(applied.is_ok(), "what the disk has kept fits: {applied:?}");
            aggregator.ledger.synced(*writer, payloads.len() as u64);
        }
        while let Some(action) = aggregator.ledger.next_action() {
            debug_assert!(matches!(action, Action::Persist { .. }), "{action:?}");
        }
    }

    /// Takes the actions of a ledger: entries go to the disk, or are kept at once when there is none; messages to the
    /// network; acknowledgements to the nodes.
    pub(super) fn act(&mut self, slot: usize) -> Outcome {
        let mut changed = Vec::new();
        loop {
            let Some(aggregator) = &mut self.slots[slot] else { return Ok(()) };
            let Some(action) = aggregator.ledger.next_action() else { break };
            let author = aggregator.ledger.writer();
            match action {
                Action::Persist { .. } if self.stores.is_some() => {}
                Action::Persist { writer, sequence, .. } if self.disks.is_none() => {
                    aggregator.ledger.synced(writer, sequence);
                }
                Action::Persist { writer, sequence, payload } => {
                    aggregator.unsynced.push_back((writer, sequence, payload));
                }
                Action::Send { peer, message } => {
                    let Some(to) = self.writers.iter().position(|writer| *writer == peer) else { continue };
                    match message {
                        Outgoing::Digest(digest) => {
                            self.network.push(Message::Digest { from: slot, author, to, digest });
                        }
                        Outgoing::Entries(runs) => {
                            let entries = |run| Message::Entries { from: slot, author, to, run };
                            self.network.extend(runs.into_iter().map(entries));
                        }
                    }
                }
                Action::Acks(acks) => acks.into_iter().try_for_each(|ack| self.acknowledge_one(slot, ack))?,
                Action::Changed(view) => {
                    changed.push(view.tick);
                    self.show(slot, author, &view);
                }
                Action::Settled(view) => self.show(slot, author, &view),
                Action::TakenOut { .. } => self.seen.taken_out += 1,
                Action::Packed(_) => {}
                Action::Pruned { tick, frames, .. } => self.note_counted(slot, tick, frames.counted),
                other @ (Action::Opened { .. }
                | Action::Refused { .. }
                | Action::Dropped { .. }
                | Action::Taken { .. }
                | Action::DigestRefused { .. }) => return Err(format!("slot {slot}: {other:?}")),
            }
        }
        self.appended(slot)?;
        changed.into_iter().try_for_each(|tick| self.check_tick(slot, tick))
    }

    /// Readers see a view.
    fn show(&mut self, slot: usize, author: WriterId, view: &TickView) {
        let state = self.slots[slot].as_ref().and_then(|aggregator| aggregator.ledger.ticks.get(view.tick));
        self.seen_by_readers.insert((author, view.tick), state.map(TickState::reporting).unwrap_or_default());
        self.shown.insert((author, view.tick), (view.coverage, Arc::clone(&view.missing)));
    }

    /// The disk of a slot keeps the next few entries, and says so.
    pub(super) fn sync(&mut self, slot: usize, most: usize) {
        self.store_some(slot, most);
        let Some(disks) = &mut self.disks else { return };
        let Some(aggregator) = self.slots[slot].as_mut().filter(|aggregator| !aggregator.paused) else { return };
        for _ in 0..most {
            let Some((writer, sequence, payload)) = aggregator.unsynced.pop_front() else { return };
            let log = disks[slot].entry(writer).or_default();
            let is_lie = self.rogue.as_ref().is_some_and(|rogue| rogue.writer() == writer);
            if is_lie && sequence == 1 {
                // It was taken out and came back.
                log.clear();
            }
            assert_eq!(log.len() as u64 + 1, sequence, "entries reach the disk in order");
            log.push(payload);
            for dot in aggregator.ledger.dots_of(writer, sequence).into_iter().filter(|_| !is_lie) {
                self.ghost.durable.entry(dot).or_default().insert(slot);
            }
            aggregator.ledger.synced(writer, sequence);
        }
    }

    /// The aggregator of a slot, if it runs and is not paused.
    pub(super) fn running(&mut self, slot: usize) -> Option<&mut Aggregator> {
        self.slots[slot].as_mut().filter(|aggregator| !aggregator.paused)
    }

    /// Every ledger that still exists, paused or not.
    pub(super) fn ledgers(&self) -> impl Iterator<Item = &Ledger> {
        self.slots.iter().flatten().map(|aggregator| &aggregator.ledger)
    }

    pub(super) fn cut_frame(&mut self, number: usize) {
        let tick = (self.now_ms / 1000) as u32;
        let node = &mut self.nodes[number];
        if tick <= node.last_tick {
            return;
        }
        node.last_tick = tick;
        let dot = (node.stream, tick);
        node.kept.insert(dot, Pin::Free);
        let samples = self.shapes.frame(&mut self.rng, tick, self.histograms, self.churn);
        self.contents.insert(dot, Cut::of(number, samples));
        self.seen.frames += 1;
    }

    /// Connects a node to a random aggregator, if it answers.
    pub(super) fn connect(&mut self, number: usize) {
        let slot = self.rng.below(self.slots.len());
        let reachable = !self.cut_nodes[number][slot];
        let writer = self.running(slot).map(|aggregator| aggregator.ledger.writer()).filter(|_| reachable);
        self.disconnect(number);
        if let Some(writer) = writer {
            if self.plant == Plant::PinIsHost {
                self.repin(number, slot, writer);
            }
            self.nodes[number].connection = Some(Connection { slot, writer, sent: BTreeSet::new() });
        }
    }

    fn repin(&mut self, number: usize, slot: usize, writer: WriterId) {
        let before = self.ghost.writers_of.entry(slot).or_default();
        for pin in self.nodes[number].kept.values_mut() {
            if matches!(pin, Pin::To(old) if before.contains(old)) {
                *pin = Pin::To(writer);
            }
        }
        before.insert(writer);
    }

    pub(super) fn disconnect(&mut self, number: usize) {
        let Some(connection) = self.nodes[number].connection.take() else { return };
        if self.plant == Plant::PinForgotten {
            self.nodes[number].kept.values_mut().for_each(|pin| *pin = Pin::Free);
        }
        // The aggregator notices now or never: both happen.
        if self.rng.one_in(2)
            && let Some(aggregator) = self.running(connection.slot)
            && aggregator.ledger.writer() == connection.writer
        {
            let gone = |&(node, _): &(usize, StreamId)| node == number;
            let streams: Vec<_> =
                aggregator.sessions.iter().filter(|(_, of)| gone(of)).map(|(&stream, _)| stream).collect();
            for stream in streams {
                aggregator.sessions.remove(&stream);
                aggregator.ledger.close_stream(KEY, stream);
            }
        }
    }

    /// Sends a few frames that were not sent on this connection yet.
    pub(super) fn send_frames(&mut self, number: usize, most: usize) -> usize {
        let node = &mut self.nodes[number];
        let Some(connection) = &mut node.connection else { return 0 };
        // As the aggregator says with each acknowledgement.
        let (floor, old_before, old_until) = match self.slots[connection.slot].as_ref().map(|process| &process.ledger) {
            Some(ledger) => {
                let old_before = (self.now_ms / 1000) as u32 - ledger.config.late_seconds;
                (ledger.gate_floor(), old_before, ledger.old_until())
            }
            None => (0, 0, 0),
        };
        let mut sent = 0;
        for (&dot, pin) in &mut node.kept {
            let waits = (floor..old_before).contains(&dot.1) && dot.1 > old_until && !self.rng.one_in(8);
            if sent == most || waits || connection.sent.contains(&dot) {
                continue;
            }
            if *pin == Pin::Free {
                *pin = Pin::To(connection.writer);
            }
            connection.sent.insert(dot);
            sent += 1;
            let pin = match *pin {
                Pin::To(writer) => Some(writer),
                Pin::Free | Pin::Unknown => None,
            };
            let (slot, writer) = (connection.slot, connection.writer);
            self.network.push(Message::Frame { slot, writer, node: number, dot, pin });
        }
        sent
    }

    /// Sends acknowledgements that are due.
    pub(super) fn acknowledge(&mut self, slot: usize) -> Outcome {
        let now_ms = self.now_ms;
        let Some(aggregator) = self.running(slot) else { return Ok(()) };
        aggregator.ledger.handle(now_ms, Event::BringOut);
        let acks = aggregator.ledger.acks();
        self.act(slot)?;
        acks.into_iter().try_for_each(|ack| self.acknowledge_one(slot, ack))
    }

    fn acknowledge_one(&mut self, slot: usize, ack: crate::Ack) -> Outcome {
        let Some(&(node, stream)) = self.slots[slot].as_ref().and_then(|a| a.sessions.get(&ack.stream)) else {
            return Ok(());
        };
        let dot = (stream, ack.tick);
        let seen = self.seen_by_readers.get(&(self.writers[slot], ack.tick));
        if !seen.is_some_and(|streams| streams.contains(ack.stream.0)) {
            return Err(format!("I5: slot {slot} acknowledges {dot:?}, which no reader sees"));
        }
        self.acknowledged(dot, ack.copies)?;
        self.network.push(Message::Acknowledged { node, dot });
        Ok(())
    }

    pub(super) fn send_digest(&mut self, from: usize, to: usize) {
        let now_ms = self.now_ms;
        if from == to {
            return;
        }
        let Some(aggregator) = self.running(from) else { return };
        let (author, digest) = (aggregator.ledger.writer(), aggregator.ledger.digest(now_ms));
        self.network.push(Message::Digest { from, author, to, digest });
    }

    pub(super) fn send_entries(&mut self, from: usize, to: usize) {
        let (now_ms, peer) = (self.now_ms, self.writers[to]);
        if from == to {
            return;
        }
        let Some(aggregator) = self.running(from) else { return };
        let author = aggregator.ledger.writer();
        for run in aggregator.ledger.entries_for(now_ms, peer, BUDGET) {
            if self.plant == Plant::NoRelay && run.writer_id != author.to_bytes() {
                continue;
            }
            self.network.push(Message::Entries { from, author, to, run });
        }
    }

    /// Lets an aggregator do what is due.
    pub(super) fn poll(&mut self, slot: usize) -> Outcome {
        let now_ms = self.now_ms;
        let peers: Vec<WriterId> = self.writers.clone();
        let Some(aggregator) = self.running(slot) else { return Ok(()) };
        for peer in peers {
            aggregator.ledger.handle(now_ms, Event::Room { peer, bytes: BUDGET });
        }
        aggregator.ledger.handle(now_ms, Event::Tick);
        let floor = aggregator.ledger.floor;
        self.forgotten = self.forgotten.max(floor);
        self.act(slot)
    }

    /// Delivers message `at` of the network.
    pub(super) fn deliver(&mut self, at: usize) -> Outcome {
        let message = self.network.swap_remove(at);
        let now_ms = self.now_ms;
        match message {
            Message::Frame { slot, writer, node, dot, pin } => {
                if self.cut_nodes[node][slot] || self.slots[slot].as_ref().is_none_or(|a| a.ledger.writer() != writer) {
                    return Ok(());
                }
                if self.running(slot).is_none() {
                    self.network.push(Message::Frame { slot, writer, node, dot, pin });
                    return Ok(());
                }
                let id = self.nodes[node].id.clone();
                let groups = self.nodes[node].groups.clone();
                let (samples, cores) = (self.contents[&dot].samples.clone(), self.contents[&dot].cores.clone());
                let (small, tick) = (self.small, dot.1);
                let Some(aggregator) = self.running(slot) else { return Ok(()) };
                let ledger = &mut aggregator.ledger;
                let stream = ledger.open_stream(now_ms, KEY, &id, dot.0).map_err(|error| error.to_string())?;
                aggregator.sessions.insert(stream, (node, dot.0));
                let (columns, left_out) = Columns::of_samples(&aggregator.interner, samples.iter());
                if left_out > 0 && !small {
                    return Err(format!("{left_out} samples left out"));
                }
                let is_old = u64::from(tick + ledger.config.late_seconds) < now_ms / 1000;
                match ledger.offer(now_ms, Offered { stream, tick, pin, groups: groups.into(), columns, cores }) {
                    Offer::Refused(Refused::NotYet) => self.network.push(Message::NotYet { node, dot }),
                    Offer::Refused(Refused::TooLate) => self.network.push(Message::Refused { node, dot }),
                    Offer::Refused(other) => return Err(format!("frame {dot:?} refused: {other}")),
                    Offer::Known => {}
                    Offer::Pending | Offer::WaitingRaw => {
                        self.seen.old += u64::from(is_old);
                        self.nobody_has_forgotten(slot, tick)?;
                    }
                }
                self.act(slot)
            }
            Message::Acknowledged { node, dot } => {
                self.nodes[node].kept.remove(&dot);
                Ok(())
            }
            Message::Refused { node, dot } => {
                if self.nodes[node].kept.remove(&dot).is_some() {
                    self.seen.refused_late += 1;
                    self.ghost.lost.insert(dot);
                }
                Ok(())
            }
            Message::NotYet { node, dot } => {
                self.seen.not_yet += 1;
                if let Some(connection) = &mut self.nodes[node].connection {
                    connection.sent.remove(&dot);
                }
                Ok(())
            }
            Message::Digest { from, author, to, digest } => {
                let Some(aggregator) = self.reachable(from, to) else { return Ok(()) };
                let _ = (author, aggregator.ledger.peer_digest(now_ms, &digest));
                self.send_entries(to, from);
                self.acknowledge(to)
            }
            Message::Entries { from, author, to, run } => self.deliver_entries(from, author, to, run),
            Message::Forged { to, digest, run } => self.deliver_forged(to, &digest, &run),
        }
    }

    fn deliver_entries(&mut self, from: usize, author: WriterId, to: usize, mut run: v1::Entries) -> Outcome {
        let (now_ms, plant) = (self.now_ms, self.plant);
        let most = NonZeroUsize::MIN.saturating_add(self.rng.below(4));
        let Some(aggregator) = self.reachable(from, to) else { return Ok(()) };
        let ledger = &mut aggregator.ledger;
        if plant == Plant::GapsClosed
            && let Some(held) = ledger.logs().into_iter().find(|log| log.writer.to_bytes() == run.writer_id)
            && run.first_sequence > held.length + 1
        {
            (run.first_sequence, run.previous_hash) = (held.length + 1, Bytes::copy_from_slice(&held.hash));
        }
        let run = DecodedRun::decode(&run).map_err(|error| error.to_string())?;
        for piece in run.pieces(most, usize::MAX) {
            match ledger.apply_entries(now_ms, author, &piece) {
                Ok(_) | Err(EntriesError::Gap { .. } | EntriesError::Quarantined { .. }) => {}
                Err(error) => return Err(format!("slot {to} refuses entries: {error}")),
            }
        }
        let changed: Vec<u32> = ledger.ticks.changed().collect();
        self.check_logs(to)?;
        changed.into_iter().try_for_each(|tick| self.check_tick(to, tick))?;
        self.act(to)?;
        if self.rng.one_in(2) {
            self.send_digest(to, from);
        }
        Ok(())
    }

    fn reachable(&mut self, from: usize, to: usize) -> Option<&mut Aggregator> {
        let cut = self.cut[from][to];
        self.running(to).filter(|_| !cut)
    }
}
