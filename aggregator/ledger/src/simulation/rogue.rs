//! An aggregator that lies: it has a name and a log like any other, and claims frames of streams that were never offered
//! to it, with sums it made up, also of seconds to come, whole or merged, and ends streams that go on. After a while a
//! person takes its word out, at one aggregator after the other; then nothing of it may be left anywhere.

use std::{collections::BTreeMap, sync::Arc};

use starling_proto::{frame::Columns, ids::WriterId, interner::Interner, v1};

use super::{
    Pace, Plant,
    rng::Rng,
    world::{Message, Outcome, World},
};
use crate::{
    DecodedRun, EntriesError, Event, Ledger, LedgerConfig, LedgerLimits, Offered, Quarantine, Saved, faults::Fault,
    rollup::Cores,
};

/// Its name.
const NAME: &str = "rogue";
/// Of its connections, which no node ever made.
const KEY: u64 = 0;

/// See the module.
#[derive(Debug)]
pub(super) struct Rogue {
    /// What its log is made by: an honest ledger, told lies.
    ledger: Ledger,
    interner: Arc<Interner>,
    /// Of its own: the schedules without it stay as they are.
    rng: Rng,
    /// The aggregators that refuse it by now, over their restarts.
    pub(super) refused_by: Vec<bool>,
}

impl Rogue {
    /// In a quarter of the schedules, and in all those whose planted fault is about it.
    pub(super) fn of(seed: u64, plant: Plant, slots: usize, limits: LedgerLimits) -> Option<Self> {
        let mut rng = Rng::new(seed ^ 0x7261_7467);
        let there = match plant {
            Plant::Sound => rng.one_in(4),
            Plant::Ledger(fault) => matches!(
                fault,
                Fault::ClaimsCount
                    | Fault::QuarantineTakesNothingOut
                    | Fault::QuarantineKeepsExpectations
                    | Fault::QuarantinedComesBack
            ),
            _ => false,
        };
        let (aggregator_id, early_seconds) = (NAME.to_owned(), 1_000);
        let config = LedgerConfig { aggregator_id, early_seconds, limits, ..LedgerConfig::default() };
        let interner = Arc::new(Interner::new(1_000));
        let ledger = Ledger::new(WriterId::new(rng.bytes()), config, Arc::clone(&interner));
        there.then(|| Self { ledger, interner, rng, refused_by: vec![false; slots] })
    }

    pub(super) fn writer(&self) -> WriterId {
        self.ledger.writer()
    }

    /// What a person says to each aggregator.
    pub(super) fn quarantine(&self) -> Quarantine {
        Quarantine {
            aggregators: [NAME.to_owned()].into(),
            writers: BTreeMap::from([(self.ledger.writer(), NAME.to_owned())]),
        }
    }

    /// What it says of itself.
    fn digest(&self) -> v1::Digest {
        self.ledger.own_digest()
    }

    /// Its log from the start.
    fn log(&self) -> v1::Entries {
        let runs = self.ledger.unsaved(&Saved::default(), usize::MAX);
        runs.into_iter().next().map(|unsaved| unsaved.run).unwrap_or_default()
    }
}

impl World {
    /// The author whose claims are lies.
    pub(super) fn liar(&self) -> Option<WriterId> {
        self.rogue.as_ref().map(Rogue::writer)
    }

    /// Whether a ledger holds its log: then its views are not those of the frames.
    pub(super) fn is_lied_to(&self, ledger: &Ledger) -> bool {
        self.liar().is_some_and(|writer| ledger.logs.number(writer).is_some())
    }

    /// One step of it, beside each step of the others.
    pub(super) fn lie(&mut self) -> Outcome {
        let Some(mut rogue) = self.rogue.take() else { return Ok(()) };
        if rogue.rng.one_in(6) {
            self.make_up(&mut rogue);
        }
        let told = rogue.rng.one_in(80).then(|| rogue.rng.below(self.slots.len()));
        self.rogue = Some(rogue);
        told.map_or(Ok(()), |slot| self.quarantine(slot))
    }

    fn make_up(&mut self, rogue: &mut Rogue) {
        let now_ms = self.now_ms;
        for _ in 0..1 + rogue.rng.below(4) {
            let node = &self.nodes[rogue.rng.below(self.nodes.len())];
            let tick = (now_ms / 1000) as u32 + rogue.rng.below(40) as u32 - 20;
            let Ok(stream) = rogue.ledger.open_stream(now_ms, KEY, &node.id, node.stream) else { continue };
            let samples = self.shapes.frame(&mut rogue.rng, tick, false, false);
            let (columns, _) = Columns::of_samples(&rogue.interner, samples.iter());
            let pin = (!rogue.rng.one_in(3)).then(|| rogue.ledger.writer());
            let (groups, cores) = (node.groups.clone().into(), Cores::default());
            rogue.ledger.offer(now_ms, Offered { stream, tick, pin, groups, columns, cores });
            if rogue.rng.one_in(6) {
                rogue.ledger.end_stream(now_ms, stream, tick);
            }
        }
        rogue.ledger.flush(now_ms);
        while rogue.ledger.next_action().is_some() {}
        self.seen.lies += 1;
        for to in 0..self.slots.len() {
            if rogue.rng.one_in(2) {
                self.network.push(Message::Forged { to, digest: rogue.digest(), run: rogue.log() });
            }
        }
    }

    /// What it sent arrives.
    pub(super) fn deliver_forged(&mut self, to: usize, digest: &v1::Digest, run: &v1::Entries) -> Outcome {
        let (now_ms, Some(liar)) = (self.now_ms, self.liar()) else { return Ok(()) };
        let Some(aggregator) = self.running(to) else { return Ok(()) };
        let run = DecodedRun::decode(run).map_err(|error| error.to_string())?;
        // The link ends with a digest that is refused.
        if aggregator.ledger.peer_digest(now_ms, digest).is_err() {
            return Ok(());
        }
        match aggregator.ledger.apply_entries(now_ms, liar, &run) {
            Ok(_) | Err(EntriesError::Gap { .. } | EntriesError::Quarantined { .. }) => {}
            Err(error) => return Err(format!("slot {to} refuses made-up entries: {error}")),
        }
        self.act(to)
    }

    /// A person tells one aggregator.
    fn quarantine(&mut self, slot: usize) -> Outcome {
        let Some(rogue) = &mut self.rogue else { return Ok(()) };
        let quarantine = rogue.quarantine();
        let now_ms = self.now_ms;
        let Some(aggregator) = self.slots[slot].as_mut().filter(|aggregator| !aggregator.paused) else { return Ok(()) };
        rogue.refused_by[slot] = true;
        aggregator.ledger.handle(now_ms, Event::Quarantine(quarantine));
        self.act(slot)?;
        self.check_all(slot)
    }

    /// All of them, at last.
    pub(super) fn quarantine_everywhere(&mut self) -> Outcome {
        (0..self.slots.len()).try_for_each(|slot| self.quarantine(slot))
    }

    /// Who is expected is what the logs that are held say, and nothing of logs that were taken out.
    pub(super) fn nothing_is_left(&self, ledger: &Ledger) -> Outcome {
        if self.rogue.is_none() || self.pace != Pace::Seconds {
            return Ok(());
        }
        let mut fresh = Ledger::new(WriterId::new([0xfe; 16]), ledger.config.clone(), Arc::default());
        for unsaved in ledger.unsaved(&Saved::default(), usize::MAX) {
            let run = DecodedRun::decode(&unsaved.run).map_err(|error| error.to_string())?;
            fresh.apply_entries(self.now_ms, fresh.writer(), &run).map_err(|error| error.to_string())?;
        }
        for tick in ledger.ticks() {
            let (held, again) = (ledger.view(tick), fresh.view(tick));
            let shown = |view: &crate::TickView| (view.coverage, Arc::clone(&view.missing), view.frames.counted);
            if held.as_ref().map(shown) != again.as_ref().map(shown) {
                return Err(format!("tick {tick} of {}: {held:?}, by its logs {again:?}", ledger.writer()));
            }
        }
        Ok(())
    }
}
