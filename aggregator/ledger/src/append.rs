//! Own entries: merges, raw frames, ends of streams.

use bytes::Bytes;
use prost::Message as _;
use roaring::RoaringBitmap;
use starling_proto::{
    catalogue::Kind,
    ids::NodeId,
    limits::NODE_FORGOTTEN_AFTER,
    v1::{self, log_payload},
};

use super::{
    Ledger,
    decode::{Body, DecodedEntry, NewNames, Remembered},
    gather::Waiting,
    hash::next_hash,
    limits::{ENTRY_BYTES_MAX, RAWS_BESIDE_MERGE, RAWS_PER_STEP, ROSTER_MAX},
    logs::OWN,
    message::Action,
    tick::Place,
    types::{KnownStream, StreamNo},
};
use crate::rollup::{self, CELLS_MAX, NumberedSums};

impl Ledger {
    /// Does what is due: flushes ticks (as soon as every connected stream has reported, at the latest at their
    /// deadline), ships raw frames that waited in vain, packs old ticks.
    ///
    /// Not all at once: after a failover thousands of frames are due in one moment, and whoever waits for the ledger
    /// waits for a few of them only. What is left is due at once again. Returns whether anything was appended.
    pub(crate) fn poll(&mut self, now_ms: u64) -> bool {
        let reported = self.sessions.reported_by_all((now_ms / 1000) as u32);
        // The newest first: it is the one that is waited for.
        let due = self
            .gather
            .open
            .iter()
            .rev()
            .find(|&(&tick, open)| open.due_ms <= now_ms || (open.live && reported.is_some_and(|all| tick <= all)));
        let mut appended = due.is_some();
        if let Some((&tick, _)) = due {
            self.flush_tick(now_ms, tick);
        }
        for _ in 0..if appended { RAWS_BESIDE_MERGE } else { RAWS_PER_STEP } {
            let Some((tick, stream, frame)) = self.gather.waited(Some(now_ms)) else { break };
            self.ship_raw(now_ms, tick, stream, &frame);
            appended = true;
        }
        self.ticks.pack(now_ms);
        appended
    }

    /// Appends everything gathered, whether due or not: before a shutdown.
    pub(crate) fn flush(&mut self, now_ms: u64) {
        let all: Vec<u32> = self.gather.open.keys().copied().collect();
        all.iter().for_each(|&tick| self.flush_tick(now_ms, tick));
        while let Some((tick, stream, frame)) = self.gather.waited(None) {
            self.ship_raw(now_ms, tick, stream, &frame);
        }
    }

    /// Appends the `Merge` of what was gathered for `tick`.
    pub(super) fn flush_tick(&mut self, now_ms: u64, tick: u32) {
        let Some(open) = self.gather.open.remove(&tick) else { return };
        let mut new = NewNames::default();
        let streams: Vec<(u32, u32)> =
            open.coverage.iter().map(|stream| (stream, self.own_number(stream, &mut new))).collect();
        let coverage: RoaringBitmap = streams.iter().map(|(_, number)| *number).collect();
        let slots = self.fitting(open.sums.cells());
        let sums = self.own.numbered((now_ms / 1000) as u32, &slots, &streams, self.logs.own(), &mut new);
        self.stats.merges += 1;
        self.stats.merged_frames += open.coverage.len();
        self.append(now_ms, new, Body::Merge { tick, coverage, sums });
    }

    /// The sums of a merge, without the groups or even the histograms if the entry or the log would be too long.
    fn fitting(&mut self, mut slots: NumberedSums) -> NumberedSums {
        let log_is_full = self.logs.own().bytes() > self.config.limits.log_bytes / 4 * 3;
        let fits = |slots: &NumberedSums| {
            // A cell takes a few bytes; only a large merge is worth measuring. Room for coverage and definitions.
            slots.cells().len() <= CELLS_MAX / 16
                || (slots.cells().len() <= CELLS_MAX && slots.encode().len() <= ENTRY_BYTES_MAX / 2)
        };
        if log_is_full || !fits(&slots) {
            self.stats.merges_cut += 1;
            slots.retain_cluster();
        }
        if !fits(&slots) {
            slots.retain(|cell| cell.cell.kind() != Kind::Histogram);
        }
        slots
    }

    /// Appends a raw frame, unless the writer it is pinned to has it by now.
    pub(super) fn ship_raw(&mut self, now_ms: u64, tick: u32, stream: u32, frame: &Waiting) {
        if self.is_held(tick, stream, frame.pin) || tick < self.floor {
            self.stats.waits_resolved += 1;
            return;
        }
        let now = (now_ms / 1000) as u32;
        // Its caps were checked when it was offered.
        let Some(slotted) = self.own.slotted(now, &frame.groups, &frame.columns) else { return };
        self.stats.samples_left_out += slotted.left_out as u64;
        self.stats.samples_to_other += slotted.others as u64;
        let slots = self.own.one(slotted, stream, &frame.cores);
        let mut new = NewNames::default();
        let number = self.own_number(stream, &mut new);
        let sums = self.own.numbered(now, &slots, &[(stream, number)], self.logs.own(), &mut new);
        self.stats.raws += 1;
        self.append(now_ms, new, Body::Raw { tick, stream: number, sums });
    }

    /// A stream ended on purpose: its node is not expected after `last_tick`.
    pub(crate) fn end_stream(&mut self, now_ms: u64, stream: StreamNo, last_tick: u32) {
        if self.streams.identity(stream.0).is_none() {
            return;
        }
        let mut new = NewNames::default();
        let number = self.own_number(stream.0, &mut new);
        self.append(now_ms, new, Body::End { stream: number, last_tick });
    }

    /// Ends every stream of a node with its last tick, unless it has ended. Any writer may: what is counted stays.
    pub(crate) fn end_node(&mut self, now_ms: u64, node: &NodeId) {
        for (stream, last_tick) in self.streams.going_on(node) {
            self.end_stream(now_ms, StreamNo(stream), last_tick);
        }
    }

    /// Takes streams known from before the start: of nodes of which no log held here speaks.
    pub(crate) fn recall(&mut self, now_ms: u64, mut known: Vec<KnownStream>) {
        let now = (now_ms / 1000) as u32;
        let sound = |known: &KnownStream| {
            let (first, last) = (known.first_tick, known.last_tick);
            first <= last && last <= now && last.saturating_add(NODE_FORGOTTEN_AFTER) >= now
        };
        known.retain(|known| sound(known) && !self.streams.has_reported(&known.node));
        known.sort_unstable_by_key(|known| std::cmp::Reverse(known.last_tick));
        known.truncate(ROSTER_MAX);
        let mut new = NewNames::default();
        let (mut taken, mut streams) = (RoaringBitmap::new(), Vec::with_capacity(known.len()));
        for known in known {
            let Some(stream) = self.streams.intern(&known.node, known.stream) else { break };
            if taken.insert(stream) {
                let number = self.own_number(stream, &mut new);
                let (first, last, ended) = (known.first_tick, known.last_tick, known.ended);
                streams.push(Remembered { stream: number, first, last, ended });
            }
        }
        if !streams.is_empty() {
            self.append(now_ms, new, Body::Roster { streams });
        }
    }

    /// Number of a local stream in the own log; a new one comes with its definition.
    fn own_number(&mut self, stream: u32, new: &mut NewNames) -> u32 {
        let log = self.logs.own();
        if let Some(&number) = self.own_numbers.get(&stream)
            && !log.numbers().gave_stream_up(number)
        {
            return number;
        }
        let number = log.numbers().defined().streams + new.streams.len() as u32;
        if let Some((node, id)) = self.streams.identity(stream) {
            new.streams.push((number, node.clone(), id));
            self.own_numbers.insert(stream, number);
        }
        number
    }

    /// Appends an entry and applies it.
    fn append(&mut self, now_ms: u64, new: NewNames, body: Body) {
        let mut payload = new.message();
        payload.body = message(&body);
        let payload = Bytes::from(payload.encode_to_vec());
        let log = self.logs.own();
        debug_assert_eq!(log.numbers().check(&new, &body, &self.streams), Ok(()), "own entries follow their log");
        let (hash, sequence) = (next_hash(&log.hash(), &payload), log.length() + 1);
        let entry = DecodedEntry { payload, hash, new, body };
        // Every name of an own frame has its place: nothing is asked of the table of the others' names.
        self.logs.own_mut().define(&entry.new, None, &mut self.streams, entry.body.tick());
        self.hold(now_ms, OWN, &entry);
        self.apply_body(now_ms, Place { log: OWN, sequence }, &entry.body);
    }

    /// Holds an entry whose definitions were taken, and asks the store to keep it.
    pub(super) fn hold(&mut self, now_ms: u64, log: u16, entry: &DecodedEntry) {
        let Some(log) = self.logs.get_mut(log) else { return };
        log.push(now_ms, entry);
        let (writer, sequence) = (log.writer(), log.length());
        self.actions.push_back(Action::Persist { writer, sequence, payload: entry.payload.clone() });
    }
}

/// The body as it travels.
fn message(body: &Body) -> Option<log_payload::Body> {
    Some(match body {
        Body::Merge { tick, coverage, sums } => {
            let mut coverage = coverage.clone();
            coverage.optimize();
            let mut bytes = Vec::with_capacity(coverage.serialized_size());
            if coverage.serialize_into(&mut bytes).is_err() {
                debug_assert!(false, "writing to memory cannot fail");
            }
            let (sums, census) = (sums.encode().into(), rollup::encode_census(sums.census()).into());
            log_payload::Body::Merge(v1::Merge { tick: *tick, coverage: bytes.into(), sums, census })
        }
        Body::Raw { tick, stream, sums } => {
            let (sums, census) = (sums.encode().into(), rollup::encode_census(sums.census()).into());
            log_payload::Body::Raw(v1::Raw { tick: *tick, stream: *stream, sums, census })
        }
        Body::End { stream, last_tick } => {
            log_payload::Body::End(v1::StreamEnd { stream: *stream, last_tick: *last_tick })
        }
        Body::Roster { streams } => {
            let stream = |known: &Remembered| v1::RosterStream {
                stream: known.stream,
                first_tick: known.first,
                last_tick: known.last,
                ended: known.ended,
            };
            log_payload::Body::Roster(v1::Roster { streams: streams.iter().map(stream).collect() })
        }
        Body::Other => return None,
    })
}
