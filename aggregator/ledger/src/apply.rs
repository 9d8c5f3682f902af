//! What an entry does to the view: the rules that count every frame once.

use prost::Message as _;
use roaring::RoaringBitmap;
use starling_proto::v1::{self, log_payload::Body};

use super::{
    Ledger,
    faults::Fault,
    limits::AHEAD_SECONDS_MAX,
    tick::{Merged, Place, RawDot},
};
use crate::rollup::{self, RollupError, Sums};

impl Ledger {
    /// True when entries for `tick` are shown; otherwise they are only held and relayed.
    fn is_in_window(&self, now_ms: u64, tick: u32) -> bool {
        tick >= self.floor && u64::from(tick) <= now_ms / 1000 + u64::from(AHEAD_SECONDS_MAX)
    }

    /// Adds a merge and takes back what it covers of raw frames. True when the view changed.
    pub(super) fn apply_merge(
        &mut self,
        now_ms: u64,
        place: Place,
        tick: u32,
        coverage: RoaringBitmap,
        sums: &Sums,
    ) -> bool {
        coverage.iter().for_each(|stream| self.streams.seen(stream, tick));
        if !self.is_in_window(now_ms, tick) {
            self.stats.entries_out_of_window += 1;
            return false;
        }
        let state = self.ticks.entry(tick).or_default();
        self.stats.overlaps += state.covered.intersection_len(&coverage);
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
        self.change(now_ms, tick, |kept| kept.add(sums));
        for raw in covered_raws {
            self.take_back(now_ms, tick, raw);
        }
        true
    }

    /// Counts a raw frame unless a merge covers it or another raw entry came before. True when the view changed.
    pub(super) fn apply_raw(&mut self, now_ms: u64, place: Place, tick: u32, stream: u32, sums: &Sums) -> bool {
        self.streams.seen(stream, tick);
        if !self.is_in_window(now_ms, tick) {
            self.stats.entries_out_of_window += 1;
            return false;
        }
        let state = self.ticks.entry(tick).or_default();
        let counted = !state.covered.contains(stream) || self.faults.has(Fault::RawIgnoresCoverage);
        let Some(known) = state.raws.get_mut(&stream) else {
            state.raws.insert(stream, RawDot { place, counted, others: Vec::new() });
            if counted {
                self.change(now_ms, tick, |kept| kept.add(sums));
            } else {
                self.stats.raws_ignored += 1;
            }
            return counted;
        };
        self.stats.raws_ignored += 1;
        known.others.push(place);
        let (first, counted) = (known.place, known.counted);
        if self.faults.has(Fault::EveryRawCounts) {
            self.change(now_ms, tick, |kept| kept.add(sums));
            return true;
        }
        self.settle_conflict(now_ms, tick, stream, first, place, counted, sums)
    }

    /// A frame never changes, so two raw entries of one dot hold the same sums. If they do not, the entry of the
    /// lower writer counts, at every aggregator.
    #[allow(clippy::too_many_arguments, reason = "one call, to keep the rule in one place")]
    fn settle_conflict(
        &mut self,
        now_ms: u64,
        tick: u32,
        stream: u32,
        first: Place,
        second: Place,
        counted: bool,
        sums: &Sums,
    ) -> bool {
        let before = self.raw_sums(first);
        if before.as_ref() == Some(sums) {
            return false;
        }
        self.stats.raw_conflicts += 1;
        let writer = |place: Place| self.logs.get(place.log).map(|log| log.writer);
        if writer(second) >= writer(first) {
            return false;
        }
        if let Some(raw) = self.ticks.get_mut(&tick).and_then(|state| state.raws.get_mut(&stream)) {
            raw.place = second;
            raw.others.retain(|&place| place != second);
            raw.others.push(first);
        }
        if counted {
            self.change(now_ms, tick, |kept| kept.add(sums));
            self.take_back(now_ms, tick, first);
            self.stats.raws_taken_back -= 1;
        }
        counted
    }

    /// Notes the end of a stream. Returns the ticks whose view changed: fewer nodes are expected there.
    pub(super) fn apply_end(&mut self, stream: u32, last_tick: u32) -> Vec<u32> {
        self.streams.ended(stream, last_tick);
        let later = self.ticks.range_mut(last_tick.saturating_add(1)..);
        later
            .map(|(&tick, state)| {
                state.revision += 1;
                tick
            })
            .collect()
    }

    fn take_back(&mut self, now_ms: u64, tick: u32, raw: Place) {
        self.stats.raws_taken_back += 1;
        let sums = self.raw_sums(raw);
        self.change(now_ms, tick, |kept| kept.subtract(&sums.ok_or(RollupError::Missing)?));
    }

    fn change(&mut self, now_ms: u64, tick: u32, change: impl FnOnce(&mut Sums) -> Result<(), RollupError>) {
        let Some(state) = self.ticks.get_mut(&tick) else { return };
        state.revision += 1;
        if state.change(now_ms, &self.names, change).is_err() {
            // By the caps at the door no sum overflows, and only what was added is taken back.
            debug_assert!(self.faults.is_planted(), "the books of tick {tick} do not balance");
            self.stats.imbalances += 1;
        }
    }

    /// The sums of a raw entry, read again from its log.
    pub(super) fn raw_sums(&self, place: Place) -> Option<Sums> {
        match self.body(place)? {
            Body::Raw(raw) => rollup::decode(&raw.sums, self.logs.get(place.log)?).ok(),
            _ => None,
        }
    }

    /// What an entry says, read again from its log.
    pub(super) fn body(&self, place: Place) -> Option<Body> {
        let entry = self.logs.get(place.log)?.entry(place.sequence)?;
        v1::LogPayload::decode(entry.payload.clone()).ok()?.body
    }
}
