//! What an entry does to the view: the rules that count every frame once.

use prost::Message as _;
use roaring::RoaringBitmap;
use starling_proto::v1;

use super::{
    Ledger,
    decode::Body,
    faults::Fault,
    log::Log,
    streams::Touched,
    tick::{Merged, Place, RawDot},
};
use crate::rollup::{NumberedSums, RollupError, Sums};

#[cfg(test)]
use super::logs::OWN;

impl Ledger {
    /// Applies a held entry. One ahead of the clock waits, with all that follows from it: also a far one makes nobody
    /// expected before its time.
    pub(super) fn apply_body(&mut self, now_ms: u64, place: Place, body: &Body) {
        let tick = body.tick();
        if self.config.is_ahead(now_ms, tick) {
            self.ahead.insert((tick, place));
            self.stats.entries_ahead += 1;
            return;
        }
        let Some(log) = self.logs.get(place.log) else { return };
        let mut touched = Touched::default();
        body.said().note(|number| log.numbers().stream(number), &mut self.streams, &mut touched);
        self.expect_again(&touched);
        let Some(log) = self.logs.get(place.log) else { return };
        match body {
            Body::Merge { coverage, sums, .. } => {
                let streams = log.numbers().streams_of(coverage);
                if self.is_shown(tick) {
                    self.apply_merge(now_ms, place, tick, streams, sums);
                }
            }
            Body::Raw { stream, sums, .. } => {
                let Some(stream) = log.numbers().stream(*stream) else { return };
                if self.is_shown(tick) {
                    self.apply_raw(now_ms, place, tick, stream, sums);
                }
            }
            Body::End { .. } | Body::Roster { .. } | Body::Other => {}
        }
    }

    fn is_shown(&mut self, tick: u32) -> bool {
        let shown = tick >= self.floor;
        self.stats.entries_out_of_window += u64::from(!shown);
        shown
    }

    /// Applies entries that were ahead of the clock when they came.
    pub(super) fn apply_ahead(&mut self, now_ms: u64) {
        while let Some(&(tick, place)) = self.ahead.first()
            && !self.config.is_ahead(now_ms, tick)
        {
            self.ahead.pop_first();
            if let Some(body) = self.body(place) {
                self.apply_body(now_ms, place, &body);
            }
        }
    }

    /// The sums of an entry by name; what finds no room here is counted and marks the tick.
    fn resolve(&mut self, place: Place, tick: u32, sums: &NumberedSums) -> Sums {
        let Some(log) = self.logs.get(place.log) else { return Sums::new() };
        let (sums, skipped) = sums.resolve(&log.numbers().at(place.sequence));
        #[cfg(test)]
        let sums = if self.faults.has(Fault::CoresOfOwnOnly) && place.log != OWN { sums.without_cores() } else { sums };
        if skipped > 0 {
            self.stats.cells_without_room += u64::from(skipped);
            if let Some(state) = self.ticks.get_mut(tick) {
                state.skipped_cells = state.skipped_cells.saturating_add(skipped);
            }
        }
        sums
    }

    /// Adds a merge and takes back what it covers of raw frames.
    fn apply_merge(&mut self, now_ms: u64, place: Place, tick: u32, coverage: RoaringBitmap, sums: &NumberedSums) {
        let state = self.ticks.hold(tick);
        let again = |merged: &Merged| merged.place.log == place.log && !merged.coverage.is_disjoint(&coverage);
        if state.merges.iter().any(again) && !self.faults.has(Fault::NoOwnCoverageCheck) {
            // By this log alone its author broke the rule: it counts nowhere.
            self.stats.merges_ignored += 1;
            return;
        }
        let overlap = &state.covered & &coverage;
        if !overlap.is_empty() {
            self.dispute(tick, place.log, &overlap);
        }
        let state = self.ticks.hold(tick);
        let mut covered_raws = Vec::new();
        if !self.faults.has(Fault::MergeKeepsRaw) {
            for (stream, raw) in &mut state.raws {
                if raw.counted && coverage.contains(*stream) {
                    raw.counted = false;
                    covered_raws.push(raw.place);
                }
            }
        }
        state.covered |= &coverage;
        state.merges.push(Merged { place, coverage });
        let sums = self.resolve(place, tick, sums);
        self.change(now_ms, tick, |kept| kept.add(&sums));
        let mut spans_all = true;
        for raw in covered_raws {
            self.stats.raws_taken_back += 1;
            let raw = self.raw_sums(raw).map(|(raw, _)| raw);
            spans_all &= raw.as_ref().is_some_and(|raw| sums.spans(raw));
            self.change(now_ms, tick, |kept| kept.subtract(&raw.ok_or(RollupError::Missing)?));
        }
        // The merge names a frame differently than its raw entry did: the extremes of that entry must not stay.
        if !spans_all {
            self.add_up_again(now_ms, tick);
        }
    }

    /// The author of `log` claims frames that merges of other authors cover.
    fn dispute(&mut self, tick: u32, log: u16, overlap: &RoaringBitmap) {
        self.stats.overlaps += overlap.len();
        let writer = |log: u16| self.logs.get(log).map(Log::writer);
        let (Some(author), Some(state)) = (writer(log), self.ticks.get(tick)) else { return };
        for merged in state.merges.iter().filter(|merged| merged.place.log != log) {
            let both = &merged.coverage & overlap;
            if let Some(other) = writer(merged.place.log).filter(|_| !both.is_empty()) {
                let nodes = both.iter().filter_map(|stream| self.streams.identity(stream)).map(|(node, _)| node);
                self.disputes.note([author, other], tick, both.len(), nodes);
            }
        }
    }

    /// Counts a raw frame unless a merge covers it or another raw entry came before.
    fn apply_raw(&mut self, now_ms: u64, place: Place, tick: u32, stream: u32, sums: &NumberedSums) {
        let state = self.ticks.hold(tick);
        let counted = !state.covered.contains(stream) || self.faults.has(Fault::RawIgnoresCoverage);
        let Some(known) = state.raws.get_mut(&stream) else {
            state.raws.insert(stream, RawDot { place, counted, others: Vec::new() });
            if counted {
                let sums = self.resolve(place, tick, sums);
                self.change(now_ms, tick, |kept| kept.add(&sums));
            } else {
                self.stats.raws_ignored += 1;
            }
            return;
        };
        self.stats.raws_ignored += 1;
        known.others.push(place);
        let (first, counted) = (known.place, known.counted);
        if self.faults.has(Fault::EveryRawCounts) {
            let sums = self.resolve(place, tick, sums);
            self.change(now_ms, tick, |kept| kept.add(&sums));
            return;
        }
        self.choose_raw(now_ms, tick, stream, (first, place), counted);
    }

    /// Of two raw entries of one dot that of the lower writer counts, at every aggregator. A frame never changes, so
    /// both hold the same sums; they differ in names only where a quota was used up, or if a node lies.
    fn choose_raw(&mut self, now_ms: u64, tick: u32, stream: u32, (first, second): (Place, Place), counted: bool) {
        let (before, after) = (self.raw_sums(first), self.raw_sums(second));
        let skipped = |raw: &Option<(Sums, u32)>| raw.as_ref().is_none_or(|(_, skipped)| *skipped > 0);
        // Where cells found no room here the two may look alike and not be: adding up again then marks the tick.
        let differ = before != after || skipped(&after);
        self.stats.raw_conflicts += u64::from(differ);
        let writer = |place: Place| self.logs.get(place.log).map(|log| log.writer());
        if writer(second) >= writer(first) {
            return;
        }
        if let Some(raw) = self.ticks.get_mut(tick).and_then(|state| state.raws.get_mut(&stream)) {
            raw.place = second;
            raw.others.retain(|&place| place != second);
            raw.others.push(first);
        }
        if counted && differ {
            self.add_up_again(now_ms, tick);
        }
    }

    /// Brings seconds out again at which other nodes are expected now.
    pub(super) fn expect_again(&mut self, touched: &Touched) {
        if !self.faults.has(Fault::ExpectedIsNotNews) {
            self.ticks.touch(touched);
        }
    }

    pub(super) fn change(&mut self, now_ms: u64, tick: u32, change: impl FnOnce(&mut Sums) -> Result<(), RollupError>) {
        if self.ticks.change(now_ms, tick, change).is_err() {
            // By the caps no sum overflows, and only what was added is taken back.
            debug_assert!(self.faults.is_planted(), "the books of tick {tick} do not balance");
            self.stats.imbalances += 1;
        }
    }

    /// Adds a tick up again from its entries. What cannot be taken back, the extremes and what found no room, is then
    /// that of the entries that count: needed where two authors name a value of one frame differently, because the
    /// quota of one was used up.
    fn add_up_again(&mut self, now_ms: u64, tick: u32) {
        if let Some(state) = self.ticks.get_mut(tick) {
            let places = state.without(|_| false, |_| None);
            self.add_up(now_ms, tick, &places);
        }
    }

    /// Adds entries of a tick up, starting from nothing.
    pub(super) fn add_up(&mut self, now_ms: u64, tick: u32, places: &[Place]) {
        self.change(now_ms, tick, |_| Ok(()));
        for &place in places {
            if let Some(Body::Merge { sums, .. } | Body::Raw { sums, .. }) = self.body(place) {
                let sums = self.resolve(place, tick, &sums);
                self.change(now_ms, tick, |kept| kept.add(&sums));
            }
        }
    }

    /// The sums of a raw entry, read again from its log: what was added when it was counted, and how many cells found
    /// no room.
    fn raw_sums(&self, place: Place) -> Option<(Sums, u32)> {
        match self.body(place)? {
            Body::Raw { sums, .. } => Some(sums.resolve(&self.logs.get(place.log)?.numbers().at(place.sequence))),
            _ => None,
        }
    }

    /// What an entry says, read again from its log.
    pub(super) fn body(&self, place: Place) -> Option<Body> {
        let entry = self.logs.get(place.log)?.entry(place.sequence)?;
        Body::decode(v1::LogPayload::decode(entry.payload.clone()).ok()?.body).ok()
    }
}
