//! One tick by the entries applied so far.

use std::{collections::BTreeMap, sync::Arc};

use roaring::RoaringBitmap;
use starling_proto::{group::Group, ids::WriterId, series::Series};

use super::types::Frames;
use crate::rollup::{Cell, Census, Keys, Packed, RollupError, Sums};

/// Where an entry is: number of the log in this process, sequence number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) log: u16,
    pub(super) sequence: u64,
}

/// A `Merge` entry of this tick.
#[derive(Debug)]
pub(super) struct Merged {
    pub(super) place: Place,
    /// By this process's stream numbers.
    pub(super) coverage: RoaringBitmap,
}

/// The `Raw` entries of one dot: mostly one.
#[derive(Debug)]
pub(super) struct RawDot {
    /// The one that is counted, if any is.
    pub(super) place: Place,
    /// In the sums now.
    pub(super) counted: bool,
    /// The same dot in other logs.
    pub(super) others: Vec<Place>,
}

impl RawDot {
    pub(super) fn places(&self) -> impl Iterator<Item = Place> {
        std::iter::once(self.place).chain(self.others.iter().copied())
    }
}

/// Sums as they are kept.
#[derive(Debug, Clone)]
enum Kept {
    /// Being changed or read. Shared with snapshots: a change copies while one is out.
    Open(Arc<Sums>),
    Packed(Arc<Packed>),
}

/// Sums of a tick that nothing changes any more, unpacked when they are read.
#[derive(Debug, Clone)]
pub struct TickSums(Kept);

impl TickSums {
    /// The sums. Unpacking those of an old tick takes about a millisecond a group.
    #[must_use]
    pub fn read(&self) -> Arc<Sums> {
        match &self.0 {
            Kept::Open(sums) => Arc::clone(sums),
            Kept::Packed(packed) => Arc::new(packed.unpack()),
        }
    }

    /// Frames behind `group`.
    #[must_use]
    pub fn frames(&self, group: &Group) -> u32 {
        let census = match &self.0 {
            Kept::Packed(packed) => packed.census(group),
            Kept::Open(sums) => sums.census(group),
        };
        census.map_or(0, Census::frames)
    }

    /// The cells of `group` whose series are `wanted`, sorted by series, and who is behind the group. Of an old tick some
    /// ten microseconds, and what the histograms cost that are wanted.
    #[must_use]
    pub fn some(&self, group: &Group, wanted: impl Fn(&Series) -> bool) -> (Vec<(Series, Cell)>, Census) {
        match &self.0 {
            Kept::Packed(packed) => packed.unpack_some(group, wanted),
            Kept::Open(sums) => {
                let cells = sums.cells(group).filter(|(series, _)| wanted(series));
                let cells = cells.map(|(series, cell)| (series.clone(), cell.clone())).collect();
                (cells, sums.census(group).cloned().unwrap_or_default())
            }
        }
    }
}

/// Everything known of one tick.
#[derive(Debug)]
pub(super) struct TickState {
    pub(super) revision: u32,
    kept: Kept,
    pub(super) merges: Vec<Merged>,
    /// All dots of `merges`.
    pub(super) covered: RoaringBitmap,
    /// By stream number.
    pub(super) raws: BTreeMap<u32, RawDot>,
    pub(super) changed_ms: u64,
    /// Cells of entries that found no room here: the sums lack them, for good.
    pub(super) skipped_cells: u32,
    /// How often logs of authors in quarantine were taken out.
    pub(super) corrections: u32,
}

impl Default for TickState {
    fn default() -> Self {
        Self {
            revision: 0,
            kept: Kept::Open(Arc::default()),
            merges: Vec::new(),
            covered: RoaringBitmap::new(),
            raws: BTreeMap::new(),
            changed_ms: 0,
            skipped_cells: 0,
            corrections: 0,
        }
    }
}

impl TickState {
    /// True when some log holds the dot of this stream.
    pub(super) fn knows(&self, stream: u32) -> bool {
        self.covered.contains(stream) || self.raws.contains_key(&stream)
    }

    /// True when no entry of this tick is held.
    pub(super) fn is_empty(&self) -> bool {
        self.merges.is_empty() && self.raws.is_empty()
    }

    /// The sums, unpacked if need be.
    pub(super) fn sums(&self) -> Arc<Sums> {
        self.snapshot().read()
    }

    /// The sums as they are now, whatever happens next.
    pub(super) fn snapshot(&self) -> TickSums {
        TickSums(self.kept.clone())
    }

    /// Changes the sums.
    pub(super) fn change(
        &mut self,
        now_ms: u64,
        change: impl FnOnce(&mut Sums) -> Result<(), RollupError>,
    ) -> Result<(), RollupError> {
        let mut sums = match &mut self.kept {
            Kept::Open(sums) => std::mem::take(sums),
            Kept::Packed(packed) => Arc::new(packed.unpack()),
        };
        self.changed_ms = now_ms;
        self.revision += 1;
        let changed = change(Arc::make_mut(&mut sums));
        self.kept = Kept::Open(sums);
        changed
    }

    /// Packs the sums; shares the names with `like` when they are the same. Returns the names.
    pub(super) fn pack(&mut self, like: Option<&Arc<Keys>>) -> Option<Arc<Keys>> {
        let Kept::Open(sums) = &self.kept else { return None };
        let packed = Packed::of(sums, like);
        let keys = Arc::clone(packed.keys());
        self.kept = Kept::Packed(Arc::new(packed));
        self.covered.optimize();
        Some(keys)
    }

    /// Takes everything out that came from places for which `gone` is true, and says what must be added up again:
    /// every merge left, and every raw frame that no merge left covers. `writer` gives the author at a place: of several
    /// raw frames of one dot that of the lowest counts.
    pub(super) fn without(
        &mut self,
        gone: impl Fn(Place) -> bool,
        writer: impl Fn(Place) -> Option<WriterId>,
    ) -> Vec<Place> {
        self.merges.retain(|merged| !gone(merged.place));
        self.covered = self.merges.iter().fold(RoaringBitmap::new(), |all, merged| all | &merged.coverage);
        let covered = &self.covered;
        self.raws.retain(|&stream, raw| {
            raw.others.retain(|&place| !gone(place));
            if gone(raw.place) {
                let lowest = raw.others.iter().copied().min_by_key(|&place| (writer(place), place));
                let Some(next) = lowest else { return false };
                raw.others.retain(|&place| place != next);
                raw.place = next;
            }
            raw.counted = !covered.contains(stream);
            true
        });
        self.kept = Kept::Open(Arc::default());
        self.skipped_cells = 0;
        let raws = self.raws.values().filter(|raw| raw.counted).map(|raw| raw.place);
        self.merges.iter().map(|merged| merged.place).chain(raws).collect()
    }

    /// Streams whose frame is in the sums.
    pub(super) fn reporting(&self) -> RoaringBitmap {
        let mut reporting = self.covered.clone();
        reporting.extend(self.raws.keys().copied());
        reporting
    }

    pub(super) fn frames(&self) -> Frames {
        let merged = self.merges.iter().map(|merge| merge.coverage.len() as u32).sum();
        let raw = self.raws.values().filter(|raw| raw.counted).count() as u32;
        Frames { counted: merged + raw, merged, raw, raw_covered: self.raws.len() as u32 - raw }
    }
}
