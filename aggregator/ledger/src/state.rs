//! The ledger itself, and what comes in from nodes.

use std::collections::{BTreeMap, BTreeSet};

use roaring::RoaringBitmap;
use starling_proto::{
    ids::{NodeId, StreamId, WriterId},
    series::Sample,
};

use super::{
    LedgerConfig,
    faults::{Fault, Faults},
    gather::{Gather, OpenTick},
    limits::{GROUPS_MAX, GROUPS_PER_FRAME_MAX, IDLE_SECONDS, OPEN_TICKS_MAX, SERIES_MAX, WAITING_MAX},
    log::Log,
    logs::Logs,
    peers::Peers,
    stats::LedgerStats,
    streams::StreamTable,
    tick::TickState,
    types::{Offer, OpenError, Refused, StreamNo},
};
use crate::rollup::{self, Accumulator, Names, Sums, within_caps};
use starling_proto::group::Group;

/// Backfill: frames of ticks this much older than now come in bulk.
const BACKFILL_MS: u64 = 10_000;

/// One process's ledger: its own log, the logs of all others as far as they came, and the view they add up to.
#[derive(Debug)]
pub struct Ledger {
    pub(super) writer: WriterId,
    pub(super) config: LedgerConfig,
    /// Numbers of series and groups: of the own log, of packed ticks and of accumulators.
    pub(super) names: Names,
    pub(super) streams: StreamTable,
    pub(super) logs: Logs,
    /// Numbers of the own log by local stream number.
    pub(super) own_numbers: BTreeMap<u32, u32>,
    pub(super) ticks: BTreeMap<u32, TickState>,
    pub(super) gather: Gather,
    /// Connected streams, by local number.
    pub(super) sessions: BTreeMap<u32, Session>,
    /// Dots offered by connected streams and not acknowledged: stream numbers by tick.
    pub(super) unacknowledged: BTreeMap<u32, RoaringBitmap>,
    pub(super) peers: Peers,
    /// Ticks flushed early because a table was full; [`Ledger::poll`] tells them.
    pub(super) flushed_early: BTreeSet<u32>,
    /// Ticks before this one are gone.
    pub(super) floor: u32,
    pub(super) closed: u32,
    /// Aggregators that must hold a frame now, this one included.
    pub(super) enough: u32,
    pub(super) stats: LedgerStats,
    pub(super) faults: Faults,
}

/// A connected stream.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) opened_ms: u64,
    /// Highest tick offered; 0 before the first.
    pub(super) high: u32,
}

impl Session {
    /// False when it lags so far that nobody should wait for it.
    pub(super) fn counts(&self, now_ms: u64) -> bool {
        u64::from(self.high).max(self.opened_ms / 1000) + u64::from(IDLE_SECONDS) >= now_ms / 1000
    }
}

impl Ledger {
    /// An empty ledger. `writer` must never have been used before: a restarted process is a new writer.
    #[must_use]
    pub fn new(writer: WriterId, config: LedgerConfig) -> Self {
        Self {
            writer,
            names: Names::new(SERIES_MAX, GROUPS_MAX),
            streams: StreamTable::new(config.late_seconds),
            logs: Logs::new(Log::new(writer)),
            own_numbers: BTreeMap::new(),
            ticks: BTreeMap::new(),
            gather: Gather::default(),
            sessions: BTreeMap::new(),
            unacknowledged: BTreeMap::new(),
            peers: Peers::default(),
            flushed_early: BTreeSet::new(),
            floor: 0,
            closed: 0,
            enough: config.copies,
            stats: LedgerStats::default(),
            faults: Faults::default(),
            config,
        }
    }

    /// This process.
    #[must_use]
    pub const fn writer(&self) -> WriterId {
        self.writer
    }

    /// Counters since the start.
    #[must_use]
    pub const fn stats(&self) -> &LedgerStats {
        &self.stats
    }

    /// Streams connected now.
    #[must_use]
    pub fn sessions_len(&self) -> usize {
        self.sessions.len()
    }

    /// A node's stream is connected to this process. Calling it again for a connected stream starts its session
    /// over; the number stays.
    ///
    /// # Errors
    /// [`OpenError::Full`].
    pub fn open_stream(&mut self, now_ms: u64, node: &NodeId, stream: StreamId) -> Result<StreamNo, OpenError> {
        let number = self.streams.intern(node, stream).ok_or(OpenError::Full)?;
        self.sessions
            .entry(number)
            .and_modify(|session| session.opened_ms = now_ms)
            .or_insert(Session { opened_ms: now_ms, high: 0 });
        Ok(StreamNo(number))
    }

    /// A stream's connection is gone: nobody is left to acknowledge to. Frames taken stay taken. Not to be called
    /// for a connection that a newer one of the same stream has replaced.
    pub fn close_stream(&mut self, stream: StreamNo) {
        self.sessions.remove(&stream.0);
        self.unacknowledged.retain(|_, streams| {
            streams.remove(stream.0);
            !streams.is_empty()
        });
    }

    /// Takes a frame. `pin` is the first writer it was ever offered to, as the node recorded it; `groups` are the
    /// groups of the node besides the whole cluster; of `samples` those of cluster scope count, one per series.
    pub fn offer(
        &mut self,
        now_ms: u64,
        stream: StreamNo,
        tick: u32,
        pin: Option<WriterId>,
        groups: &[Group],
        samples: &[Sample],
    ) -> Offer {
        self.stats.offered += 1;
        let now = (now_ms / 1000) as u32;
        if tick.saturating_add(self.config.late_seconds) < now || tick < self.floor {
            self.stats.refused_late += 1;
            return Offer::Refused(Refused::TooLate);
        }
        if tick > now.saturating_add(self.config.early_seconds) {
            self.stats.refused_early += 1;
            return Offer::Refused(Refused::TooEarly);
        }
        let Some(session) = self.sessions.get_mut(&stream.0) else {
            self.stats.not_open += 1;
            return Offer::Refused(Refused::NotOpen);
        };
        if !samples.iter().all(within_caps) {
            self.stats.refused_invalid += 1;
            return Offer::Refused(Refused::Invalid);
        }
        session.high = session.high.max(tick);
        let stream = stream.0;
        self.unacknowledged.entry(tick).or_default().insert(stream);
        let in_log = self.ticks.get(&tick).is_some_and(|state| state.knows(stream));
        let held = in_log || self.gather.is_open(tick, stream);
        if held && !self.faults.has(Fault::NoOwnCoverageCheck) {
            self.stats.known += 1;
            return Offer::Known;
        }
        let beyond = groups.len().saturating_sub(GROUPS_PER_FRAME_MAX);
        self.stats.samples_beyond_tables += beyond as u64;
        let groups = &groups[..groups.len() - beyond];
        if pin == Some(self.writer) || self.faults.has(Fault::IgnorePin) {
            self.gather.stop_waiting(tick, stream);
            self.gather_for_merge(now_ms, tick, stream, groups, samples);
            self.stats.pending += 1;
            return Offer::Pending;
        }
        if self.gather.is_waiting(tick, stream) {
            self.stats.known += 1;
            return Offer::Known;
        }
        self.gather_for_raw(now_ms, tick, stream, groups, samples);
        self.stats.waited += 1;
        Offer::WaitingRaw
    }

    fn gather_for_merge(&mut self, now_ms: u64, tick: u32, stream: u32, groups: &[Group], samples: &[Sample]) {
        if !self.gather.open.contains_key(&tick)
            && self.gather.open.len() >= OPEN_TICKS_MAX
            && let Some((&oldest, _)) = self.gather.open.first_key_value()
        {
            self.stats.flushes_cut_short += 1;
            self.flush_tick(now_ms, oldest);
            self.flushed_early.insert(oldest);
        }
        let first_due = u64::from(tick) * 1000 + self.config.flush_after.as_millis() as u64;
        let open = self.gather.open.entry(tick).or_insert_with(|| {
            let live = now_ms <= first_due;
            let gather = if now_ms > u64::from(tick) * 1000 + BACKFILL_MS {
                self.config.backfill_after
            } else {
                self.config.straggler_after
            };
            let due_ms = if live { first_due } else { now_ms + gather.as_millis() as u64 };
            OpenTick { sums: Accumulator::new(), coverage: RoaringBitmap::new(), due_ms, live }
        });
        open.coverage.insert(stream);
        let left_out = open.sums.add(&mut self.names, groups, samples);
        self.stats.samples_beyond_tables += left_out as u64;
    }

    fn gather_for_raw(&mut self, now_ms: u64, tick: u32, stream: u32, groups: &[Group], samples: &[Sample]) {
        if self.gather.waiting_len() >= WAITING_MAX
            && let Some((tick, stream, sums)) = self.gather.waited(None)
        {
            self.stats.waits_cut_short += 1;
            self.ship_raw(now_ms, tick, stream, &sums);
            self.flushed_early.insert(tick);
        }
        let mut sums = Sums::of_frame(groups, samples);
        let before = sums.len();
        let names = &mut self.names;
        sums.retain(|group, series| names.intern_group(group).is_some() && names.intern_series(series).is_some());
        self.stats.samples_beyond_tables += (before - sums.len()) as u64;
        let due_ms = now_ms + self.config.raw_after.as_millis() as u64;
        // Every name was interned just now.
        if let Some(bytes) = rollup::encode(&sums, &self.names) {
            self.gather.wait(due_ms, tick, stream, bytes);
        }
    }

    /// When [`Ledger::poll`] has something to do next, milliseconds since the Unix epoch; `None` while nothing is
    /// gathered.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        self.gather.next_due()
    }
}
