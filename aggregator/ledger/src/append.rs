//! Own entries: merges, raw frames, ends of streams.

use bytes::Bytes;
use prost::Message as _;
use roaring::RoaringBitmap;
use starling_proto::v1::{self, log_payload::Body};

use super::{
    Ledger,
    limits::ENTRY_BYTES_MAX,
    log::{group_definition, next_hash, series_definition},
    logs::OWN,
    tick::Place,
    types::StreamNo,
};
use crate::rollup::{self, CELLS_MAX, Sums};

impl Ledger {
    /// Does what is due: flushes ticks (as soon as every connected stream has reported, at the latest at their
    /// deadline), ships raw frames that waited in vain, packs old ticks. Returns the ticks whose view changed,
    /// ascending.
    pub fn poll(&mut self, now_ms: u64) -> Vec<u32> {
        let reported = self.reported_by_all(now_ms);
        let due: Vec<u32> = self
            .gather
            .open
            .iter()
            .filter(|&(&tick, open)| open.due_ms <= now_ms || (open.live && reported.is_some_and(|all| tick <= all)))
            .map(|(&tick, _)| tick)
            .collect();
        let changed = self.flush_ticks(now_ms, &due, Some(now_ms));
        self.pack(now_ms);
        changed
    }

    /// Appends everything gathered, whether due or not: before a shutdown.
    pub fn flush(&mut self, now_ms: u64) -> Vec<u32> {
        let due: Vec<u32> = self.gather.open.keys().copied().collect();
        self.flush_ticks(now_ms, &due, None)
    }

    fn flush_ticks(&mut self, now_ms: u64, due: &[u32], raws_due_ms: Option<u64>) -> Vec<u32> {
        let mut changed: Vec<u32> = std::mem::take(&mut self.flushed_early).into_iter().collect();
        for &tick in due {
            if self.flush_tick(now_ms, tick) {
                changed.push(tick);
            }
        }
        while let Some((tick, stream, sums)) = self.gather.waited(raws_due_ms) {
            if self.ship_raw(now_ms, tick, stream, &sums) {
                changed.push(tick);
            }
        }
        changed.sort_unstable();
        changed.dedup();
        changed
    }

    /// Appends the `Merge` of what was gathered for `tick`. True when the view of the tick changed.
    pub(super) fn flush_tick(&mut self, now_ms: u64, tick: u32) -> bool {
        let Some(open) = self.gather.open.remove(&tick) else { return false };
        let sums = open.sums.to_sums(&self.names);
        let mut definitions = Vec::new();
        let coverage = open.coverage.iter().map(|stream| self.own_number(stream, tick, &mut definitions)).collect();
        let (sums, bytes) = self.fitting(sums);
        let mut coverage: RoaringBitmap = coverage;
        coverage.optimize();
        let mut coverage_bytes = Vec::with_capacity(coverage.serialized_size());
        if coverage.serialize_into(&mut coverage_bytes).is_err() {
            debug_assert!(false, "writing to memory cannot fail");
        }
        let merge = v1::Merge { tick, coverage: coverage_bytes.into(), sums: bytes.into() };
        let sequence = self.append(now_ms, tick, definitions, Body::Merge(merge));
        self.stats.merges += 1;
        self.stats.merged_frames += open.coverage.len();
        self.apply_merge(now_ms, Place { log: OWN, sequence }, tick, open.coverage, &sums)
    }

    /// The sums with their bytes, without the groups or even the histograms if the entry would be too long.
    fn fitting(&mut self, mut sums: Sums) -> (Sums, Vec<u8>) {
        for attempt in 0.. {
            let bytes = rollup::encode(&sums, &self.names).unwrap_or_default();
            // Room for coverage and definitions.
            if (bytes.len() <= ENTRY_BYTES_MAX / 2 && sums.len() <= CELLS_MAX) || attempt == 2 {
                return (sums, bytes);
            }
            if attempt == 0 {
                self.stats.merges_cut += 1;
                sums.retain(|group, _| group.is_cluster());
            } else {
                sums.retain(|_, series| series.kind() != starling_proto::catalogue::Kind::Histogram);
            }
        }
        (sums, Vec::new())
    }

    /// Appends a raw frame, unless its dot became known. `sums` are encoded with this process's numbers, which are
    /// those of its log. True when the view of the tick changed.
    pub(super) fn ship_raw(&mut self, now_ms: u64, tick: u32, stream: u32, sums: &[u8]) -> bool {
        let known = self.ticks.get(&tick).is_some_and(|state| state.knows(stream));
        if known || self.gather.is_open(tick, stream) || tick < self.floor {
            self.stats.waits_resolved += 1;
            return false;
        }
        let mut definitions = Vec::new();
        let number = self.own_number(stream, tick, &mut definitions);
        let raw = v1::Raw { tick, stream: number, sums: Bytes::copy_from_slice(sums) };
        let sequence = self.append(now_ms, tick, definitions, Body::Raw(raw));
        self.stats.raws += 1;
        let sums = rollup::decode(sums, &self.names).unwrap_or_default();
        self.apply_raw(now_ms, Place { log: OWN, sequence }, tick, stream, &sums)
    }

    /// A stream ended on purpose: its node is not expected after `last_tick`. Returns the ticks whose view changed.
    pub fn end_stream(&mut self, now_ms: u64, stream: StreamNo, last_tick: u32) -> Vec<u32> {
        if self.streams.identity(stream.0).is_none() {
            return Vec::new();
        }
        let mut definitions = Vec::new();
        let number = self.own_number(stream.0, last_tick, &mut definitions);
        self.append(now_ms, last_tick, definitions, Body::End(v1::StreamEnd { stream: number, last_tick }));
        self.apply_end(stream.0, last_tick)
    }

    /// Number of a local stream in the own log; a new one comes with its definition.
    fn own_number(&mut self, stream: u32, tick: u32, definitions: &mut Vec<v1::StreamDefinition>) -> u32 {
        let log = self.logs.own_mut();
        if let Some(&number) = self.own_numbers.get(&stream)
            && !log.is_given_up(number)
        {
            log.stream(number, tick);
            return number;
        }
        let number = log.defined().next_stream + definitions.len() as u32;
        definitions.extend(self.streams.definition(number, stream));
        self.own_numbers.insert(stream, number);
        number
    }

    /// Appends an entry with all definitions that are not in the log yet. Returns its sequence number.
    fn append(&mut self, now_ms: u64, tick: u32, streams: Vec<v1::StreamDefinition>, body: Body) -> u64 {
        let names = &mut self.names;
        let log = self.logs.own_mut();
        let defined = log.defined();
        let series = (defined.series..names.series_len())
            .filter_map(|number| names.series(number as u32).map(|series| series_definition((number, series))));
        let groups = (defined.groups..names.groups_len())
            .filter_map(|number| names.group(number as u32).map(|group| group_definition((number, group))));
        let payload = v1::LogPayload { streams, series: series.collect(), groups: groups.collect(), body: Some(body) };
        let taken = log.define(&payload, names, &mut self.streams, tick);
        debug_assert_eq!(taken, Ok(()), "own definitions are in order");
        let bytes = Bytes::from(payload.encode_to_vec());
        let hash = next_hash(&log.hash(), &bytes);
        log.push(bytes, hash, tick, now_ms);
        log.length()
    }
}
