//! The cluster of one schedule: aggregators, nodes and the messages between them.

use std::collections::{BTreeMap, BTreeSet};

use starling_proto::{
    ids::{StreamId, WriterId},
    series::Sample,
    v1,
};

use super::{
    Pace, Plant, Seen,
    node::{Connection, Dot, Node, Pin, Shapes},
    oracle::Ghost,
    rng::Rng,
};
use crate::{Applied, EntriesError, Ledger, LedgerConfig, Offer, Refused, StreamNo, faults::Faults};

/// What went wrong, and where.
pub(super) type Outcome = Result<(), String>;

/// Bytes of entries in one answer: small, so that logs travel in pieces.
const BUDGET: usize = 600;

#[derive(Debug)]
pub(super) struct Aggregator {
    pub(super) ledger: Ledger,
    pub(super) paused: bool,
    /// Whose frames the ledger's stream numbers are.
    pub(super) sessions: BTreeMap<StreamNo, (usize, StreamId)>,
}

#[derive(Debug, Clone)]
pub(super) enum Message {
    Frame { slot: usize, writer: WriterId, node: usize, dot: Dot, pin: Option<WriterId> },
    Acknowledged { node: usize, dot: Dot },
    Refused { node: usize, dot: Dot },
    Digest { from: usize, author: WriterId, to: usize, digest: v1::Digest },
    Entries { from: usize, author: WriterId, to: usize, run: v1::Entries },
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) seed: u64,
    pub(super) rng: Rng,
    pub(super) pace: Pace,
    pub(super) plant: Plant,
    pub(super) now_ms: u64,
    pub(super) slots: Vec<Option<Aggregator>>,
    pub(super) nodes: Vec<Node>,
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
    pub(super) contents: BTreeMap<Dot, (usize, Vec<Sample>)>,
    pub(super) ghost: Ghost,
    pub(super) seen: Seen,
}

impl World {
    pub(super) fn new(seed: u64, pace: Pace, plant: Plant) -> Self {
        let mut rng = Rng::new(seed);
        let (slots, nodes) = (3 + rng.below(3), 2 + rng.below(4));
        let mut world = Self {
            seed,
            pace,
            plant,
            now_ms: 1_000_000_000 + rng.below(1000) as u64,
            slots: Vec::new(),
            nodes: (0..nodes).map(|number| Node::new(number, &mut rng)).collect(),
            network: Vec::new(),
            cut: vec![vec![false; slots]; slots],
            cut_nodes: vec![vec![false; slots]; nodes],
            buried: None,
            writers: (0..slots).map(|_| WriterId::new(rng.bytes())).collect(),
            shapes: Shapes::new(),
            histograms: rng.one_in(50),
            contents: BTreeMap::new(),
            ghost: Ghost::default(),
            seen: Seen::default(),
            rng,
        };
        world.slots.resize_with(slots, || None);
        (0..slots).for_each(|slot| world.start(slot));
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
            ..LedgerConfig::default()
        };
        let mut ledger = Ledger::new(self.writers[slot], config);
        if let Plant::Ledger(fault) = self.plant {
            ledger.faults = Faults::of(Some(fault));
        }
        for other in (0..self.slots.len()).filter(|&other| other != slot) {
            ledger.peer_opened(self.writers[other]);
            if let Some(aggregator) = &mut self.slots[other] {
                aggregator.ledger.peer_opened(self.writers[slot]);
            }
        }
        self.slots[slot] = Some(Aggregator { ledger, paused: false, sessions: BTreeMap::new() });
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
        self.contents.insert(dot, (number, self.shapes.frame(&mut self.rng, self.histograms)));
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
                aggregator.ledger.close_stream(stream);
            }
        }
    }

    /// Sends a few frames that were not sent on this connection yet.
    pub(super) fn send_frames(&mut self, number: usize, most: usize) -> usize {
        let node = &mut self.nodes[number];
        let Some(connection) = &mut node.connection else { return 0 };
        let mut sent = 0;
        for (&dot, pin) in &mut node.kept {
            if sent == most || connection.sent.contains(&dot) {
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
        let Some(aggregator) = self.running(slot) else { return Ok(()) };
        let acks = aggregator.ledger.acks();
        for ack in acks {
            let Some(&(node, stream)) = self.slots[slot].as_ref().and_then(|a| a.sessions.get(&ack.stream)) else {
                continue;
            };
            let dot = (stream, ack.tick);
            self.acknowledged(dot, ack.copies)?;
            self.network.push(Message::Acknowledged { node, dot });
        }
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
            self.network.push(Message::Entries { from, author, to, run });
        }
    }

    /// Lets an aggregator do what is due.
    pub(super) fn poll(&mut self, slot: usize) -> Outcome {
        let now_ms = self.now_ms;
        let Some(aggregator) = self.running(slot) else { return Ok(()) };
        let changed = aggregator.ledger.poll(now_ms);
        self.appended(slot)?;
        changed.into_iter().try_for_each(|tick| self.check_tick(slot, tick))
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
                let samples = self.contents[&dot].1.clone();
                let Some(aggregator) = self.running(slot) else { return Ok(()) };
                let stream = aggregator.ledger.open_stream(now_ms, &id, dot.0).map_err(|error| error.to_string())?;
                aggregator.sessions.insert(stream, (node, dot.0));
                match aggregator.ledger.offer(now_ms, stream, dot.1, pin, &groups, &samples) {
                    Offer::Refused(Refused::TooLate) => self.network.push(Message::Refused { node, dot }),
                    Offer::Refused(other) => return Err(format!("frame {dot:?} refused: {other}")),
                    Offer::Pending | Offer::WaitingRaw | Offer::Known => {}
                }
                // A full table flushes early.
                self.appended(slot)
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
            Message::Digest { from, author, to, digest } => {
                let Some(aggregator) = self.reachable(from, to) else { return Ok(()) };
                let _ = (author, aggregator.ledger.peer_digest(now_ms, &digest));
                self.send_entries(to, from);
                self.acknowledge(to)
            }
            Message::Entries { from, to, run, .. } => {
                let Some(aggregator) = self.reachable(from, to) else { return Ok(()) };
                let applied = match aggregator.ledger.apply_entries(now_ms, &run) {
                    Ok(applied) => applied,
                    Err(EntriesError::Gap { .. }) => Applied::default(),
                    Err(error) => return Err(format!("slot {to} refuses entries: {error}")),
                };
                self.check_logs(to)?;
                applied.ticks.into_iter().try_for_each(|tick| self.check_tick(to, tick))?;
                if self.rng.one_in(2) {
                    self.send_digest(to, from);
                }
                Ok(())
            }
        }
    }

    fn reachable(&mut self, from: usize, to: usize) -> Option<&mut Aggregator> {
        let cut = self.cut[from][to];
        self.running(to).filter(|_| !cut)
    }
}
