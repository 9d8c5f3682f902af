//! What the logs add up to.

use prost::Message as _;
use roaring::RoaringBitmap;
use starling_proto::v1::{self, log_payload::Body};
use xxhash_rust::xxh3::Xxh3Default;

use super::{
    Ledger,
    limits::PACK_AFTER,
    tick::TickState,
    types::{Check, Coverage, LogStatus, NodeStatus, View},
};
use crate::rollup::{self, Sums};

impl Ledger {
    /// One tick; `None` when nothing of it is held.
    #[must_use]
    pub fn view(&self, tick: u32) -> Option<View<'_>> {
        let state = self.ticks.get(&tick)?;
        let (reporting, expected) = self.streams.coverage(tick, &state.reporting());
        Some(View {
            tick,
            revision: state.revision,
            sums: state.sums(&self.names),
            frames: state.frames(),
            coverage: Coverage { reporting, expected },
        })
    }

    /// Nodes at one tick, also when nothing of it is held.
    #[must_use]
    pub fn coverage(&self, tick: u32) -> Coverage {
        let reporting = self.ticks.get(&tick).map(TickState::reporting).unwrap_or_default();
        let (reporting, expected) = self.streams.coverage(tick, &reporting);
        Coverage { reporting, expected }
    }

    /// Ticks of which something is held, ascending.
    pub fn ticks(&self) -> impl DoubleEndedIterator<Item = u32> + '_ {
        self.ticks.keys().copied()
    }

    /// Every node in the logs, sorted by name.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeStatus> {
        self.streams.statuses()
    }

    /// Every log held, sorted by writer.
    #[must_use]
    pub fn logs(&self) -> Vec<LogStatus> {
        let status = |(_, log): (u16, &super::log::Log)| LogStatus {
            writer: log.writer,
            length: log.length(),
            first_kept: log.first_kept(),
            hash: log.hash(),
            streams: log.streams_len() as u32,
            bytes: log.bytes,
            frozen: log.frozen,
        };
        self.logs.iter().map(status).collect()
    }

    /// Adds up the kept entries of a tick anew and compares with the view.
    #[must_use]
    pub fn check(&self, tick: u32) -> Check {
        let Some(state) = self.ticks.get(&tick) else { return Check::Unknown };
        match self.recount(tick, state) {
            Err(detail) => Check::Unbalanced(detail),
            Ok(sums) => match state.sums(&self.names).difference(&sums) {
                None => Check::Balanced,
                Some(detail) => Check::Unbalanced(detail),
            },
        }
    }

    fn recount(&self, tick: u32, state: &TickState) -> Result<Sums, String> {
        let mut sums = Sums::new();
        let mut covered = RoaringBitmap::new();
        for (number, log) in self.logs.iter() {
            for sequence in log.first_kept()..=log.length() {
                let Some(entry) = log.entry(sequence).filter(|entry| entry.tick == tick) else { continue };
                let payload = v1::LogPayload::decode(entry.payload.clone()).map_err(|error| error.to_string())?;
                let Some(Body::Merge(merge)) = payload.body else { continue };
                let numbers = RoaringBitmap::deserialize_from(&*merge.coverage).map_err(|error| error.to_string())?;
                let streams: RoaringBitmap = numbers.iter().filter_map(|number| log.peek_stream(number)).collect();
                if !covered.is_disjoint(&streams) {
                    return Err(format!("entry {sequence} of log {number} covers a frame again"));
                }
                covered |= streams;
                let part = rollup::decode(&merge.sums, log).map_err(|error| error.to_string())?;
                sums.add(&part).map_err(|error| error.to_string())?;
            }
        }
        for (&stream, raw) in state.raws.iter().filter(|&(&stream, _)| !covered.contains(stream)) {
            let part = self.raw_sums(raw.place).ok_or_else(|| format!("the raw frame of stream {stream} is gone"))?;
            sums.add(&part).map_err(|error| error.to_string())?;
        }
        Ok(sums)
    }

    /// Hash of the view of a tick: sums, and the frames behind them by name. Equal at every aggregator that holds
    /// the same entries; `None` when nothing of the tick is held.
    #[must_use]
    pub fn view_hash(&self, tick: u32) -> Option<u64> {
        let state = self.ticks.get(&tick)?;
        let mut hasher = Xxh3Default::new();
        hasher.update(&tick.to_be_bytes());
        state.sums(&self.names).hash_into(&mut hasher);
        let reporting = state.reporting();
        let mut dots: Vec<_> = reporting.iter().filter_map(|stream| self.streams.identity(stream)).collect();
        dots.sort_unstable();
        for (node, stream) in dots {
            hasher.update(node.as_str().as_bytes());
            hasher.update(stream.as_bytes());
        }
        Some(hasher.digest())
    }

    /// Packs ticks that have not changed for a while.
    pub(super) fn pack(&mut self, now_ms: u64) {
        let before = now_ms.saturating_sub(PACK_AFTER.as_millis() as u64);
        for state in self.ticks.values_mut().filter(|state| !state.is_packed() && state.changed_ms < before) {
            state.pack(&self.names);
        }
    }
}
