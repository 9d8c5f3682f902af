//! What must be true, checked from outside: the oracle knows every frame ever cut and every entry ever appended.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use starling_proto::{group::Group, ids::WriterId};

use super::{
    Pace,
    node::Dot,
    world::{Outcome, World},
};
use crate::{
    rollup::Sums,
    {Check, Ledger, TickView, decode::Body, hash::LogHash, logs::OWN, tick::Place},
};

/// Everything that happened.
#[derive(Debug, Default)]
pub(super) struct Ghost {
    /// Who merged a dot.
    merged: BTreeMap<Dot, (WriterId, u64)>,
    /// Running hash of every entry ever appended.
    hashes: BTreeMap<(WriterId, u64), LogHash>,
    /// Own entries looked at.
    looked: BTreeMap<WriterId, u64>,
    acknowledged: BTreeSet<Dot>,
    /// Gone with their node, or refused for good.
    pub(super) lost: BTreeSet<Dot>,
    /// Longest length of each log ever held by a ledger.
    held: BTreeMap<WriterId, BTreeMap<WriterId, u64>>,
    /// The slots whose disk has kept a dot.
    pub(super) durable: BTreeMap<Dot, BTreeSet<usize>>,
    /// Writers that a slot ever had.
    pub(super) writers_of: BTreeMap<usize, BTreeSet<WriterId>>,
}

impl Ledger {
    /// Length of every log that has any entry.
    pub(super) fn lengths(&self) -> BTreeMap<WriterId, u64> {
        self.logs.iter().map(|(_, log)| (log.writer(), log.length())).filter(|&(_, length)| length > 0).collect()
    }

    /// The frames of an entry.
    pub(super) fn dots_of(&self, writer: WriterId, sequence: u64) -> Vec<Dot> {
        let Some(number) = self.logs.number(writer) else { return Vec::new() };
        let Some(log) = self.logs.get(number) else { return Vec::new() };
        let streams = match self.body(Place { log: number, sequence }) {
            Some(Body::Merge { tick, coverage, .. }) => (tick, log.numbers().streams_of(&coverage)),
            Some(Body::Raw { tick, stream, .. }) => (tick, log.numbers().stream(stream).into_iter().collect()),
            _ => return Vec::new(),
        };
        let dot = |stream| Some((self.streams.identity(stream)?.1, streams.0));
        streams.1.iter().filter_map(dot).collect()
    }

    /// Whether a log holds the frame, other than that of a `liar`.
    fn knows(&self, dot: Dot, liar: Option<WriterId>) -> bool {
        let Some(state) = self.ticks.get(dot.1) else { return false };
        let liar = liar.and_then(|writer| self.logs.number(writer));
        let is_dot = |stream| self.streams.identity(stream).is_some_and(|(_, id)| id == dot.0);
        let merged = state.merges.iter().filter(|merged| Some(merged.place.log) != liar);
        let mut raws = state.raws.iter().filter(|(_, raw)| raw.places().any(|place| Some(place.log) != liar));
        merged.flat_map(|merged| merged.coverage.iter()).any(is_dot) || raws.any(|(&stream, _)| is_dot(stream))
    }
}

impl World {
    /// I2: no dot in two merges. I3: one entry per place of a log.
    pub(super) fn appended(&mut self, slot: usize) -> Outcome {
        let Self { slots, ghost, .. } = self;
        let Some(aggregator) = &slots[slot] else { return Ok(()) };
        let ledger = &aggregator.ledger;
        let (writer, log) = (ledger.writer(), ledger.logs.own());
        let looked = ghost.looked.entry(writer).or_default();
        for sequence in *looked + 1..=log.length() {
            let hash = log.hash_after(sequence).unwrap_or_default();
            if ghost.hashes.insert((writer, sequence), hash).is_some_and(|before| before != hash) {
                return Err(format!("I3: two entries {sequence} of {writer}"));
            }
            let Some(Body::Merge { tick, coverage, .. }) = ledger.body(Place { log: OWN, sequence }) else { continue };
            for number in coverage {
                let stream = log.numbers().stream(number).and_then(|stream| ledger.streams.identity(stream));
                let Some((_, id)) = stream else { return Err(format!("a merge covers unknown stream {number}")) };
                if let Some(before) = ghost.merged.insert((id, tick), (writer, sequence)) {
                    return Err(format!("I2: {:?} merged by {before:?} and {:?}", (id, tick), (writer, sequence)));
                }
            }
        }
        *looked = log.length().max(*looked);
        Ok(())
    }

    /// I3 at the receiver: what it holds of every log is what the author appended.
    pub(super) fn check_logs(&mut self, slot: usize) -> Outcome {
        let Some(aggregator) = &self.slots[slot] else { return Ok(()) };
        let ledger = &aggregator.ledger;
        for (_, log) in ledger.logs.iter().filter(|(number, _)| *number != OWN) {
            let place = (log.writer(), log.length());
            if log.length() > 0 && self.ghost.hashes.get(&place).is_some_and(|hash| *hash != log.hash()) {
                return Err(format!("I3: slot {slot} holds another entry at {place:?}"));
            }
        }
        Ok(())
    }

    /// I1: the view is the sum over the dots known, each once. I7: coverage.
    pub(super) fn check_tick(&self, slot: usize, tick: u32) -> Outcome {
        let Some(aggregator) = &self.slots[slot] else { return Ok(()) };
        let ledger = &aggregator.ledger;
        if self.is_lied_to(ledger) {
            return Ok(());
        }
        let (Some(state), Some(view)) = (ledger.ticks.get(tick), ledger.view(tick)) else { return Ok(()) };
        let mut expected = Sums::new();
        let mut nodes = BTreeSet::new();
        let mut frames = 0;
        for stream in state.reporting() {
            let Some((_, id)) = ledger.streams.identity(stream) else {
                return Err(format!("slot {slot} tick {tick}: stream {stream} has no name"));
            };
            let Some(cut) = self.contents.get(&(id, tick)) else {
                return Err(format!("slot {slot} tick {tick}: a frame of {id} that was never cut"));
            };
            let node = &self.nodes[cut.node];
            let one = Sums::of_frame(&node.groups, &cut.samples);
            let one = one.counted(&node.id, &node.groups, cut.sections(), &cut.cores);
            expected.add(&one).map_err(|error| error.to_string())?;
            nodes.insert(cut.node);
            frames += 1;
        }
        if self.small {
            partial(&view, &expected).map_err(|detail| format!("I1: slot {slot} tick {tick}: {detail}"))?;
        } else if *view.sums() != expected {
            let detail = view.sums().difference(&expected).unwrap_or_else(|| "extremes differ".into());
            return Err(format!("I1: slot {slot} tick {tick}: {detail}"));
        }
        if view.coverage.reporting != nodes.len() as u32
            || view.coverage.reporting > view.coverage.expected
            || view.coverage.expected > self.nodes.len() as u32
            || view.frames.counted != frames
        {
            return Err(format!("I7: slot {slot} tick {tick}: {:?} {:?} of {nodes:?}", view.coverage, view.frames));
        }
        Ok(())
    }

    /// Every tick of one ledger, and its own books.
    pub(super) fn check_all(&self, slot: usize) -> Outcome {
        let Some(aggregator) = self.slots[slot].as_ref().filter(|one| !self.is_lied_to(&one.ledger)) else {
            return Ok(());
        };
        for tick in aggregator.ledger.ticks() {
            self.check_tick(slot, tick)?;
            match aggregator.ledger.check(tick) {
                Check::Balanced => {}
                Check::Partial(_) if self.small => {}
                other => return Err(format!("conservation: slot {slot} tick {tick}: {other:?}")),
            }
        }
        Ok(())
    }

    /// I5 at the moment of acknowledging: k + 1 processes hold the dot, or held it when the last one crashed.
    pub(super) fn acknowledged(&mut self, dot: Dot, copies: u32) -> Outcome {
        if u64::from(dot.1) + 900 < self.now_ms / 1000 {
            // Some may have pruned it in the meantime.
            return Ok(());
        }
        if self.pace == Pace::Outages && dot.1 < self.forgotten {
            return Ok(());
        }
        if self.disks.is_some() || self.stores.is_some() {
            let holders = self.ghost.durable.get(&dot).map_or(0, BTreeSet::len);
            if holders < 2 || copies < 2 {
                return Err(format!("I5: {dot:?} acknowledged, on {holders} disks, {copies} claimed"));
            }
            self.seen.acknowledged += u64::from(self.ghost.acknowledged.insert(dot));
            return Ok(());
        }
        let holders = self.ledgers().chain(&self.buried).filter(|ledger| ledger.knows(dot, self.liar()));
        let holders = holders.count() as u32;
        if holders < 2 || copies < 2 {
            return Err(format!("I5: {dot:?} acknowledged with {holders} copies, {copies} claimed"));
        }
        self.seen.acknowledged += u64::from(self.ghost.acknowledged.insert(dot));
        Ok(())
    }

    /// I4: the same logs give the same view, bit by bit. I6: logs never shrink.
    pub(super) fn same_logs_same_view(&mut self) -> Outcome {
        let (liar, now_ms) = (self.liar(), self.now_ms);
        if liar.is_some() {
            // Lies of seconds to come count at the next step of each.
            self.slots.iter_mut().flatten().for_each(|aggregator| aggregator.ledger.apply_ahead(now_ms));
        }
        let Self { slots, ghost, pace, .. } = self;
        let ledgers: Vec<&Ledger> = slots.iter().flatten().map(|aggregator| &aggregator.ledger).collect();
        for ledger in &ledgers {
            let held = ghost.held.entry(ledger.writer()).or_default();
            for (writer, length) in ledger.lengths().into_iter().filter(|(writer, _)| Some(*writer) != liar) {
                let before = held.insert(writer, length).unwrap_or(0);
                if before > length && *pace == Pace::Seconds {
                    return Err(format!("I6: {} held {before} entries of {writer}, now {length}", ledger.writer()));
                }
            }
        }
        for (i, a) in ledgers.iter().enumerate() {
            for b in &ledgers[..i] {
                if a.lengths() == b.lengths() {
                    same_view(a, b, *pace)?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn is_drained(&self) -> bool {
        let lengths: Vec<_> = self.ledgers().map(Ledger::lengths).collect();
        let waits = |ledger: &Ledger| self.pace == Pace::Seconds && ledger.unacknowledged.ticks_len() > 0;
        if self.ledgers().any(waits) {
            return false;
        }
        self.nodes.iter().all(|node| node.kept.is_empty()) && lengths.windows(2).all(|pair| pair[0] == pair[1])
    }

    pub(super) fn what_is_left(&self) -> String {
        let kept: usize = self.nodes.iter().map(|node| node.kept.len()).sum();
        let trouble: Vec<String> = self.ledgers().filter_map(Ledger::trouble).collect();
        let lengths: Vec<Vec<u64>> = self.ledgers().map(|ledger| ledger.lengths().into_values().collect()).collect();
        let waiting: Vec<String> = self
            .ledgers()
            .filter(|ledger| ledger.unacknowledged.ticks_len() > 0)
            .map(|ledger| format!("{:?}", ledger.unacknowledged))
            .collect();
        format!(
            "unacknowledged {waiting:?}, {kept} frames kept by nodes, {} messages, trouble {trouble:?}, logs {lengths:?}",
            self.network.len()
        )
    }

    /// I5 after healing: what was acknowledged is in every view; every frame is counted, or lost with a reason.
    pub(super) fn settled(&mut self) -> Outcome {
        self.same_logs_same_view()?;
        for slot in 0..self.slots.len() {
            self.check_all(slot)?;
            let Some(aggregator) = &self.slots[slot] else { continue };
            let ledger = &aggregator.ledger;
            self.readers_see(ledger)?;
            let kept_from = match self.pace {
                Pace::Outages => u64::from(ledger.floor),
                Pace::Seconds | Pace::Minutes => self.now_ms / 1000 - 900,
            };
            for dot in self.contents.keys().filter(|dot| u64::from(dot.1) >= kept_from) {
                let (acknowledged, lost) = (self.ghost.acknowledged.contains(dot), self.ghost.lost.contains(dot));
                if !ledger.knows(*dot, None) && (acknowledged || !lost) {
                    return Err(format!("I5: slot {slot} does not know {dot:?}, acknowledged: {acknowledged}"));
                }
            }
            let stats = ledger.stats();
            self.nothing_is_left(ledger)?;
            let conflicts = if self.small { 0 } else { stats.raw_conflicts };
            let (conflicts, overlaps) = if self.rogue.is_some() { (0, 0) } else { (conflicts, stats.overlaps) };
            let faults = overlaps + stats.forks + stats.imbalances + conflicts + stats.entries_refused;
            let room = if self.small { 0 } else { stats.cells_without_room + stats.samples_left_out };
            if faults + room + stats.merges_ignored + stats.rebuilds > 0 || ledger.trouble().is_some() {
                return Err(format!("slot {slot} counted faults: {stats:?}"));
            }
        }
        Ok(())
    }

    /// I8: what readers were shown last of who is expected is what the logs say.
    fn readers_see(&self, ledger: &Ledger) -> Outcome {
        for tick in ledger.ticks().filter(|_| self.pace == Pace::Seconds) {
            let Some(view) = ledger.view(tick) else { continue };
            let shown = self.shown.get(&(ledger.writer(), tick));
            if shown.is_none_or(|(coverage, missing)| *coverage != view.coverage || *missing != view.missing) {
                let now = (view.coverage, &view.missing);
                return Err(format!("I8: {} shows {shown:?} of tick {tick}, its logs say {now:?}", ledger.writer()));
            }
        }
        Ok(())
    }

    /// Adds up how often rare paths were taken.
    pub(super) fn count(&mut self) {
        for aggregator in self.slots.iter().flatten() {
            let stats = aggregator.ledger.stats();
            self.seen.cells_without_room += stats.cells_without_room;
            self.seen.to_other += stats.samples_to_other;
            self.seen.disputes += stats.overlaps;
            self.seen.merges += stats.merges;
            self.seen.raws += stats.raws;
            self.seen.raws_taken_back += stats.raws_taken_back;
            self.seen.raws_ignored += stats.raws_ignored;
            self.seen.waits_resolved += stats.waits_resolved;
            self.seen.gaps += stats.gaps;
            self.seen.jumps += stats.jumps;
            self.seen.pruned += stats.entries_pruned;
        }
    }
}

/// Where tables were full cells may be missing, and names may have gone to others; what is there of all frames is
/// right, and nothing is there of more frames than there are.
fn partial(view: &TickView, expected: &Sums) -> Outcome {
    let sums = view.sums();
    let cluster = Group::cluster();
    match (sums.census(&cluster), expected.census(&cluster)) {
        (Some(held), Some(whole)) if held.frames() == whole.frames() && held.busiest() == whole.busiest() => {}
        (None, None) => {}
        (held, whole) => return Err(format!("behind the cluster: {held:?} of {whole:?}")),
    }
    for (group, series, whole) in expected.iter() {
        let Some(cell) = sums.get(group, series) else { continue };
        if cell.frames > whole.frames || (cell.frames == whole.frames && !cell.same_amounts(whole)) {
            return Err(format!("{series} of {group}: {cell:?} of {whole:?}"));
        }
    }
    Ok(())
}

fn same_view(a: &Ledger, b: &Ledger, pace: Pace) -> Outcome {
    let floor = a.floor.max(b.floor);
    let ticks = |ledger: &Ledger| ledger.ticks().filter(|&tick| tick >= floor).collect::<Vec<_>>();
    if ticks(a) != ticks(b) {
        return Err(format!("I4: {} and {} hold other ticks", a.writer(), b.writer()));
    }
    for tick in ticks(a) {
        // What is expected follows from the same entries, unless one joined after the start was pruned.
        let (Some(at_a), Some(at_b)) = (a.view(tick), b.view(tick)) else { continue };
        let expected = |view: &TickView| (view.coverage, Arc::clone(&view.missing));
        let differs = pace == Pace::Seconds && expected(&at_a) != expected(&at_b);
        let whole = at_a.skipped_cells == 0 && at_b.skipped_cells == 0;
        let sums_differ = whole && a.view_hash(tick) != b.view_hash(tick);
        if sums_differ || at_a.frames != at_b.frames || differs {
            return Err(format!("I4: tick {tick} differs at {} and {}", a.writer(), b.writer()));
        }
    }
    Ok(())
}
