//! Conservation: a tick added up again from the entries kept, beside the ledger.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use prost::Message as _;
use roaring::RoaringBitmap;
use starling_proto::v1;

use super::{
    Ledger,
    decode::Body,
    numbering::LogNames,
    tick::{Place, TickSums},
    types::Check,
};
use crate::rollup::Sums;

/// Everything needed to add one tick up again, taken out of the ledger in microseconds.
#[derive(Debug)]
pub struct Recount {
    tick: u32,
    /// Why the next entry of some log cannot be applied.
    trouble: Option<String>,
    view: TickSums,
    /// The frames of the tick by every log, as it was applied: coverage by this process's stream numbers.
    coverage: BTreeMap<Place, RoaringBitmap>,
    /// The raw entry of each stream that counts unless a merge covers it.
    raws: BTreeMap<u32, Place>,
    skipped_cells: u32,
    /// Every entry kept for the tick.
    entries: Vec<(Place, Bytes)>,
    names: BTreeMap<u16, Arc<LogNames>>,
}

impl Ledger {
    /// What is needed to add a tick up again elsewhere; `None` when nothing of it is held.
    #[must_use]
    pub fn recount(&self, tick: u32) -> Option<Recount> {
        let state = self.ticks.get(tick)?;
        let mut entries = Vec::new();
        let mut names = BTreeMap::new();
        for (number, log) in self.logs.iter() {
            let before = entries.len();
            for (sequence, entry) in log.entries().filter(|(_, entry)| entry.tick == tick) {
                entries.push((Place { log: number, sequence }, entry.payload.clone()));
            }
            if entries.len() > before {
                names.insert(number, Arc::clone(log.numbers().names()));
            }
        }
        Some(Recount {
            tick,
            trouble: self.trouble(),
            view: state.snapshot(),
            coverage: state.merges.iter().map(|merged| (merged.place, merged.coverage.clone())).collect(),
            raws: state.raws.iter().map(|(&stream, raw)| (stream, raw.place)).collect(),
            skipped_cells: state.skipped_cells,
            entries,
            names,
        })
    }

    /// Adds up the kept entries of a tick again and compares with the view. Takes as long as applying them did: a
    /// service runs [`Ledger::recount`] elsewhere.
    #[must_use]
    pub fn check(&self, tick: u32) -> Check {
        self.recount(tick).map_or(Check::Unknown, |recount| recount.run())
    }
}

impl Recount {
    /// Adds up and compares.
    #[must_use]
    pub fn run(&self) -> Check {
        if let Some(trouble) = &self.trouble {
            return Check::Unbalanced(format!("a log cannot be applied: {trouble}"));
        }
        match self.sums() {
            Err(detail) => Check::Unbalanced(detail),
            Ok(sums) => match self.view.read().difference(&sums) {
                None if self.skipped_cells > 0 => Check::Partial(self.skipped_cells),
                None => Check::Balanced,
                Some(detail) => Check::Unbalanced(detail),
            },
        }
    }

    fn sums(&self) -> Result<Sums, String> {
        let mut sums = Sums::new();
        let mut covered = RoaringBitmap::new();
        let mut raws = BTreeMap::new();
        for (place, payload) in &self.entries {
            let message = v1::LogPayload::decode(payload.clone()).map_err(|error| error.to_string())?;
            let names = self.names.get(&place.log).ok_or("an entry without its log")?.at(place.sequence);
            match Body::decode(message.body)? {
                Body::Merge { coverage, sums: part, .. } => {
                    let Some(streams) = self.coverage.get(place) else { continue };
                    if coverage.len() != streams.len() || !covered.is_disjoint(streams) {
                        return Err(format!("the merge {place:?} of tick {} covers other frames", self.tick));
                    }
                    covered |= streams;
                    sums.add(&part.resolve(&names).0).map_err(|error| error.to_string())?;
                }
                Body::Raw { sums: part, .. } => drop(raws.insert(*place, part.resolve(&names).0)),
                Body::End { .. } | Body::Roster { .. } | Body::Other => {}
            }
        }
        for (stream, place) in self.raws.iter().filter(|(stream, _)| !covered.contains(**stream)) {
            let part = raws.get(place).ok_or_else(|| format!("the raw frame of stream {stream} is gone"))?;
            sums.add(part).map_err(|error| error.to_string())?;
        }
        Ok(sums)
    }
}
