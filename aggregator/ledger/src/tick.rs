//! One tick as the entries applied so far tell it.

use std::{borrow::Cow, collections::BTreeMap};

use roaring::RoaringBitmap;

use super::types::Frames;
use crate::rollup::{self, Names, RollupError, Sums};

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

/// Sums as they are kept.
#[derive(Debug)]
enum Kept {
    /// Being changed or read.
    Open(Sums),
    /// By the rollup codec, with this process's numbers: a tenth of the memory.
    Packed(Box<[u8]>),
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
}

impl Default for TickState {
    fn default() -> Self {
        Self {
            revision: 0,
            kept: Kept::Open(Sums::new()),
            merges: Vec::new(),
            covered: RoaringBitmap::new(),
            raws: BTreeMap::new(),
            changed_ms: 0,
        }
    }
}

impl TickState {
    /// True when some log holds the dot of this stream.
    pub(super) fn knows(&self, stream: u32) -> bool {
        self.covered.contains(stream) || self.raws.contains_key(&stream)
    }

    /// The sums, unpacked if need be.
    pub(super) fn sums(&self, names: &Names) -> Cow<'_, Sums> {
        match &self.kept {
            Kept::Open(sums) => Cow::Borrowed(sums),
            Kept::Packed(bytes) => Cow::Owned(unpack(bytes, names)),
        }
    }

    /// Changes the sums.
    pub(super) fn change(
        &mut self,
        now_ms: u64,
        names: &Names,
        change: impl FnOnce(&mut Sums) -> Result<(), RollupError>,
    ) -> Result<(), RollupError> {
        if let Kept::Packed(bytes) = &self.kept {
            self.kept = Kept::Open(unpack(bytes, names));
        }
        self.changed_ms = now_ms;
        match &mut self.kept {
            Kept::Open(sums) => change(sums),
            Kept::Packed(_) => Ok(()),
        }
    }

    /// Packs the sums.
    pub(super) fn pack(&mut self, names: &Names) {
        if let Kept::Open(sums) = &self.kept
            && let Some(bytes) = rollup::encode(sums, names)
        {
            self.kept = Kept::Packed(bytes.into());
            self.covered.optimize();
        }
    }

    pub(super) const fn is_packed(&self) -> bool {
        matches!(self.kept, Kept::Packed(_))
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

fn unpack(bytes: &[u8], names: &Names) -> Sums {
    let sums = rollup::decode(bytes, names);
    debug_assert!(sums.is_ok(), "what this process packed it can unpack: {sums:?}");
    sums.unwrap_or_default()
}
