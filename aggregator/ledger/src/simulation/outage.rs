//! Outages of the whole cluster that last longer than frames are taken in a cluster that runs. Everything is scaled down: late is
//! 20 s, an outage up to two minutes, of 1,000 s that could be made up for.
//!
//! Two kinds of schedules:
//! - *whole*: all aggregators are away together, several times, also while they make up for the outage before. Then every frame
//!   that was ever cut is counted, once, at every one of them; none is refused.
//! - *ragged*: some live on, some come later or crash meanwhile, some have lost what they kept. Then nobody takes a second that
//!   somebody else who is there has forgotten.

use std::time::Duration;

use starling_proto::{ids::WriterId, v1};

use super::{
    Pace, Plant, Seen,
    world::{Outcome, World},
};
use crate::{CatchUp, DecodedRun, Event, LedgerConfig, Restored, Saved, saving::Unsaved};

/// The disk of a slot.
#[derive(Debug, Default)]
pub(super) struct Store {
    pub(super) saved: Saved,
    runs: Vec<v1::Entries>,
    /// Where the floor was when that was last written down.
    floor: Option<u32>,
}

/// The settings of a scaled cluster.
pub(super) fn scaled(config: LedgerConfig) -> LedgerConfig {
    LedgerConfig {
        late_seconds: 20,
        slack_seconds: 5,
        catch_up: CatchUp { outage_max: 1_000, hold: Duration::from_secs(3), rate: 5, window: 15, kept: 20 },
        backfill_after: Duration::from_millis(300),
        raw_after: Duration::from_millis(500),
        ..config
    }
}

impl World {
    /// Runs a schedule of outages.
    pub(super) fn run_outages(mut self) -> Result<Seen, String> {
        let seed = self.seed;
        self.outages().map_err(|what| format!("seed {seed}: {what}"))?;
        self.count();
        Ok(self.seen)
    }

    fn outages(&mut self) -> Outcome {
        let whole = self.rng.one_in(2);
        for _ in 0..1 + self.rng.below(3) {
            self.live(80, whole)?;
            self.outage(whole)?;
        }
        self.live(40, whole)?;
        for slot in 0..self.slots.len() {
            self.come(slot)?;
        }
        // Until all is made up for.
        for round in 0.. {
            let behind = self.ledgers().any(crate::Ledger::is_behind);
            let late = (self.now_ms / 1000) as u32 - 15;
            if !behind && self.nodes.iter().all(|node| node.kept.keys().all(|(_, tick)| *tick >= late)) {
                break;
            }
            if round > 1_500 {
                let floors: Vec<_> = self.ledgers().map(|ledger| (ledger.gate_floor(), ledger.is_behind())).collect();
                let kept: Vec<_> =
                    self.nodes.iter().map(|node| node.kept.keys().map(|dot| dot.1).collect::<Vec<_>>()).collect();
                let (now, left) = (self.now_ms / 1000, self.what_is_left());
                return Err(format!(
                    "the outage is not made up for at {now}: floors {floors:?}, nodes keep {kept:?}; {left}"
                ));
            }
            self.now_ms += 200;
            self.round()?;
        }
        self.drain()?;
        self.bring_out()?;
        self.settled()?;
        if whole { self.all_is_counted() } else { Ok(()) }
    }

    /// Some steps of a cluster that runs.
    fn live(&mut self, steps: usize, whole: bool) -> Outcome {
        for _ in 0..steps {
            self.now_ms += self.rng.below(400) as u64;
            let (slots, nodes) = (self.slots.len(), self.nodes.len());
            let (slot, node) = (self.rng.below(slots), self.rng.below(nodes));
            if whole && !self.rng.one_in(4) {
                // Nodes keep up with the floor, and nothing is lost on the way.
                self.round()?;
                continue;
            }
            match self.rng.below(40) {
                0..8 => (0..nodes).for_each(|node| self.cut_frame(node)),
                8..10 => self.connect(node),
                10..16 => self.send(node),
                16..24 if whole => self.deliver_all()?,
                16..24 => self.deliver_few()?,
                24..28 => self.poll(slot)?,
                28..32 => self.sync(slot, 1 + slot),
                32..34 => self.send_entries(slot, node % slots),
                34..36 => self.acknowledge(slot)?,
                36 => self.prune_slot(slot)?,
                37 if !whole => self.go(slot),
                38 if !whole => self.come(slot)?,
                _ => self.round()?,
            }
            self.hear_all()?;
        }
        Ok(())
    }

    fn deliver_few(&mut self) -> Outcome {
        for _ in 0..4 {
            self.deliver_some()?;
        }
        Ok(())
    }

    /// Everybody does what is due: a fifth of a second of a cluster without faults.
    fn round(&mut self) -> Outcome {
        let (slots, nodes) = (self.slots.len(), self.nodes.len());
        self.hear_all()?;
        for node in 0..nodes {
            if self.rng.one_in(3) {
                self.cut_frame(node);
            }
            if self.rng.one_in(8) {
                // What was lost on the way is sent again.
                self.connect(node);
            }
            self.send(node);
        }
        self.deliver_all()?;
        for slot in 0..slots {
            // A real one looks every few milliseconds: each look appends one second.
            for _ in 0..8 {
                self.poll(slot)?;
            }
            self.sync(slot, usize::MAX);
            for to in 0..slots {
                self.send_entries(slot, to);
            }
        }
        self.deliver_all()?;
        for slot in 0..slots {
            self.sync(slot, usize::MAX);
        }
        self.hear_all()?;
        (0..slots).try_for_each(|slot| self.acknowledge(slot))?;
        self.deliver_all()?;
        (0..slots).try_for_each(|slot| self.prune_slot(slot))
    }

    fn prune_slot(&mut self, slot: usize) -> Outcome {
        let now_ms = self.now_ms;
        if let Some(aggregator) = self.running(slot) {
            aggregator.ledger.move_floor(now_ms);
            // It is written down more often than it goes by what is kept below it.
            self.store_floor(slot);
            if let Some(aggregator) = self.running(slot) {
                aggregator.ledger.prune(now_ms);
                let floor = aggregator.ledger.floor;
                self.forgotten = self.forgotten.max(floor);
            }
            self.act(slot)?;
            self.check_all(slot)?;
        }
        Ok(())
    }

    /// All who are there hear what the others say of themselves.
    fn hear_all(&mut self) -> Outcome {
        let now_ms = self.now_ms;
        let digests: Vec<v1::Digest> =
            self.slots.iter_mut().flatten().map(|aggregator| aggregator.ledger.digest(now_ms)).collect();
        for slot in 0..self.slots.len() {
            let Some(aggregator) = &mut self.slots[slot] else { continue };
            let own = aggregator.ledger.writer().to_bytes();
            for digest in digests.iter().filter(|digest| digest.writer_id != own) {
                aggregator.ledger.peer_digest(now_ms, digest).map_err(|error| error.to_string())?;
            }
            self.act(slot)?;
        }
        Ok(())
    }

    /// Aggregators are away while nodes go on, then come again.
    fn outage(&mut self, whole: bool) -> Outcome {
        let slots = self.slots.len();
        let stays = (!whole && self.rng.one_in(2)).then(|| self.rng.below(slots));
        (0..slots).filter(|slot| Some(*slot) != stays).for_each(|slot| self.go(slot));
        self.network.clear();
        (0..self.nodes.len()).for_each(|node| self.disconnect(node));
        for _ in 0..30 + self.rng.below(60) {
            self.now_ms += 500 + self.rng.below(1_000) as u64;
            for node in 0..self.nodes.len() {
                if self.rng.one_in(2) {
                    self.cut_frame(node);
                }
            }
            if stays.is_some() {
                self.round()?;
            }
        }
        self.seen.outages += 1;
        for slot in 0..slots {
            if !whole && self.rng.one_in(8) {
                // What it had kept is gone, as that of no other: k is 1.
                if self.ledgers().count() > 1 && self.stores.iter().flatten().all(|store| store.floor.is_some()) {
                    self.stores.iter_mut().for_each(|stores| stores[slot] = Store::default());
                }
            }
            if whole || !self.rng.one_in(4) {
                self.start_again(slot);
            }
        }
        self.catch_up_all()
    }

    /// A slot comes again, if it is away.
    fn come(&mut self, slot: usize) -> Outcome {
        self.start_again(slot);
        self.catch_up_all()
    }

    fn start_again(&mut self, slot: usize) {
        if self.slots[slot].is_none() {
            self.start(slot);
        }
    }

    /// The process of a slot ends, whatever it has not kept yet.
    fn go(&mut self, slot: usize) {
        if self.ledgers().count() > 0 && self.slots[slot].is_some() {
            self.crash_one(slot);
        }
    }

    /// All who have just come hear the others, then take what is old.
    pub(super) fn catch_up_all(&mut self) -> Outcome {
        self.hear_all()?;
        let now_ms = self.now_ms;
        for slot in 0..self.slots.len() {
            if let Some(aggregator) = &mut self.slots[slot] {
                aggregator.ledger.handle(now_ms, Event::CaughtUp);
                self.store_floor(slot);
            }
            self.act(slot)?;
        }
        self.hear_all()
    }

    /// What a new process finds on its disk.
    pub(super) fn restore_stored(&mut self, slot: usize) {
        let Some(stores) = &mut self.stores else { return };
        let store = &mut stores[slot];
        let Some(aggregator) = &mut self.slots[slot] else { return };
        let before = if self.plant == Plant::FloorForgotten { None } else { store.floor };
        aggregator.ledger.handle(self.now_ms, Event::Floor(before));
        let mut restored = Restored::default();
        store.runs.iter().for_each(|run| restored.take(run.clone()));
        let me = aggregator.ledger.writer();
        for run in restored.runs() {
            let run = DecodedRun::decode(&run).expect("what was kept can be read");
            let applied = aggregator.ledger.apply_entries(self.now_ms, me, &run);
            assert!(applied.is_ok(), "what was kept fits: {applied:?}");
        }
        let kept: Vec<(WriterId, u64)> = aggregator.ledger.logs().iter().map(|log| (log.writer, log.length)).collect();
        kept.into_iter().for_each(|(writer, length)| aggregator.ledger.synced(writer, length));
        store.saved = aggregator.ledger.all_saved();
        while aggregator.ledger.next_action().is_some() {}
    }

    /// The disk of a slot keeps some runs, and says so; and where the floor is, by and by.
    pub(super) fn store_some(&mut self, slot: usize, most: usize) {
        let Some(stores) = &mut self.stores else { return };
        let Some(aggregator) = self.slots[slot].as_mut().filter(|aggregator| !aggregator.paused) else { return };
        let store = &mut stores[slot];
        for unsaved in aggregator.ledger.unsaved(&store.saved, if most == usize::MAX { most } else { 400 * most }) {
            let (writer, up_to): (WriterId, u64) = (Unsaved::writer(&unsaved), unsaved.up_to());
            let first = unsaved.run.first_sequence;
            store.saved.keep(&unsaved);
            store.runs.push(unsaved.run);
            for sequence in first..=up_to {
                for dot in aggregator.ledger.dots_of(writer, sequence) {
                    self.ghost.durable.entry(dot).or_default().insert(slot);
                }
            }
            aggregator.ledger.synced(writer, up_to);
        }
        if self.rng.one_in(2) {
            self.store_floor(slot);
        }
    }

    /// Where the floor is, is written down.
    fn store_floor(&mut self, slot: usize) {
        if let (Some(stores), Some(aggregator)) = (&mut self.stores, &self.slots[slot]) {
            stores[slot].floor = aggregator.ledger.floor_to_keep().or(stores[slot].floor);
        }
    }

    /// Nobody takes what somebody else who is there has forgotten.
    pub(super) fn nobody_has_forgotten(&self, slot: usize, tick: u32) -> Outcome {
        if self.pace != Pace::Outages {
            return Ok(());
        }
        match self.ledgers().find(|ledger| ledger.floor > tick) {
            Some(other) => Err(format!(
                "I9: slot {slot} takes {tick}, which {} has forgotten up to {}",
                other.writer(),
                other.floor
            )),
            None => Ok(()),
        }
    }

    /// What was cut is counted at every slot, once; nothing was refused.
    fn all_is_counted(&mut self) -> Outcome {
        for slot in 0..self.slots.len() {
            let Some(ledger) = self.slots[slot].as_ref().map(|aggregator| &aggregator.ledger) else { continue };
            let held = ledger.ticks().filter_map(|tick| Some((tick, ledger.view(tick)?.frames.counted)));
            held.collect::<Vec<_>>().into_iter().for_each(|(tick, counted)| self.note_counted(slot, tick, counted));
        }
        let mut cut = std::collections::BTreeMap::<u32, u32>::new();
        self.contents.keys().for_each(|dot| *cut.entry(dot.1).or_default() += 1);
        for (tick, frames) in cut {
            for slot in 0..self.slots.len() {
                let counted = self.counted.get(&(slot, tick)).copied().unwrap_or(0);
                if counted != frames {
                    let dots: Vec<_> = self.contents.keys().filter(|dot| dot.1 == tick).copied().collect();
                    let refused: Vec<_> = dots.iter().filter(|dot| self.ghost.lost.contains(dot)).collect();
                    let all: Vec<_> = (0..self.slots.len()).map(|slot| self.counted.get(&(slot, tick))).collect();
                    let what = format!("of {dots:?} {refused:?} were refused, the slots counted {all:?}");
                    return Err(format!("I9: slot {slot} counted {counted} of {frames} frames of {tick}: {what}"));
                }
            }
        }
        Ok(())
    }

    /// How many frames of a second a slot counted, as it was last seen there.
    pub(super) fn note_counted(&mut self, slot: usize, tick: u32, counted: u32) {
        let known = self.counted.entry((slot, tick)).or_default();
        *known = counted.max(*known);
    }
}
