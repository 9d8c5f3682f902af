//! The ledger itself, and what comes in from nodes.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use roaring::RoaringBitmap;
use starling_proto::{
    ids::{NodeId, StreamId, WriterId},
    interner::Interner,
    limits::NODE_FORGOTTEN_AFTER,
};

use super::{
    LedgerConfig,
    authors::Allowances,
    disputes::Disputes,
    faults::{Fault, Faults},
    floor::{Floor, Gate},
    gather::{Gather, OpenTick, Waiting},
    limits::{BRING_OUT_MS, OPEN_TICKS_MAX, STREAMS_PER_LOG_MAX, WAITING_MAX},
    logs::{Logs, OWN},
    message::{Action, Offered},
    names::{Names, Numbers},
    own::OwnNames,
    peers::Peers,
    sessions::Sessions,
    stats::LedgerStats,
    streams::StreamTable,
    tick::{Merged, Place},
    ticks::Ticks,
    types::{Offer, OpenError, Quarantine, Refused, StreamNo},
    unacknowledged::Unacknowledged,
};
use crate::rollup::Accumulator;

/// Backfill: frames of ticks this much older than now come in bulk.
const BACKFILL_MS: u64 = 10_000;

/// One process's ledger: its own log, the logs of all others as far as they came, and the view they add up to.
#[derive(Debug)]
pub struct Ledger {
    pub(super) writer: WriterId,
    pub(super) config: LedgerConfig,
    /// Names that the logs of others use.
    pub(super) names: Names,
    /// Names that own frames use.
    pub(super) own: OwnNames,
    pub(super) streams: StreamTable,
    pub(super) logs: Logs,
    /// Numbers of the own log by local stream number.
    pub(super) own_numbers: Numbers<u32>,
    pub(super) ticks: Ticks,
    /// Entries for ticks ahead of the clock: held, shown when it gets there.
    pub(super) ahead: BTreeSet<(u32, Place)>,
    pub(super) gather: Gather,
    pub(super) sessions: Sessions,
    /// Dots offered by connected streams and not acknowledged.
    pub(super) unacknowledged: Unacknowledged,
    /// Something happened that may have made copies.
    pub(super) acks_due: bool,
    pub(super) peers: Peers,
    /// What each author may still send.
    pub(super) allowances: Allowances,
    pub(super) disputes: Disputes,
    pub(super) quarantine: Quarantine,
    /// Processes that settling waits for.
    pub(super) live: Vec<WriterId>,
    pub(super) settled: Option<u32>,
    pub(super) brought_out_ms: u64,
    pub(super) pruned_ms: u64,
    /// Which frames are taken by their age.
    pub(super) gate: Floor,
    /// Ticks before this one are gone.
    pub(super) floor: u32,
    pub(super) closed: u32,
    /// Aggregators that must hold a frame now, this one included.
    pub(super) enough: u32,
    pub(super) actions: VecDeque<Action>,
    pub(super) stats: LedgerStats,
    pub(super) faults: Faults,
}

impl Ledger {
    /// An empty ledger. `writer` must never have been used before: a restarted process is a new writer. `interner`
    /// is that of the process.
    #[must_use]
    pub fn new(writer: WriterId, config: LedgerConfig, interner: Arc<Interner>) -> Self {
        let limits = &config.limits;
        Self {
            writer,
            names: Names::new(Arc::clone(&interner), limits.series, limits.groups),
            own: OwnNames::new(interner, limits),
            streams: StreamTable::new(NODE_FORGOTTEN_AFTER),
            logs: Logs::new(writer, limits.number_seconds),
            own_numbers: Numbers::default(),
            ticks: Ticks::default(),
            ahead: BTreeSet::new(),
            gather: Gather::default(),
            sessions: Sessions::default(),
            unacknowledged: Unacknowledged::default(),
            acks_due: false,
            peers: Peers::default(),
            allowances: Allowances::default(),
            disputes: Disputes::default(),
            quarantine: Quarantine::default(),
            live: Vec::new(),
            settled: None,
            brought_out_ms: 0,
            pruned_ms: 0,
            gate: Floor::new(config.late_seconds, config.catch_up.clone()),
            floor: 0,
            closed: 0,
            enough: config.copies,
            actions: VecDeque::new(),
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

    /// Series and groups in use: of own frames, and of the logs of others.
    #[must_use]
    pub fn names_len(&self) -> ((usize, usize), (usize, usize)) {
        (self.own.len(), self.names.len())
    }

    pub(crate) fn open_stream(
        &mut self,
        now_ms: u64,
        key: u64,
        node: &NodeId,
        stream: StreamId,
    ) -> Result<StreamNo, OpenError> {
        if self.logs.own().numbers().streams_len() >= STREAMS_PER_LOG_MAX {
            return Err(OpenError::Full);
        }
        let number = self.streams.intern(node, stream).ok_or(OpenError::Full)?;
        self.sessions.open((now_ms / 1000) as u32, number, key);
        Ok(StreamNo(number))
    }

    pub(crate) fn close_stream(&mut self, key: u64, stream: StreamNo) -> bool {
        if !self.sessions.close(stream.0, key) {
            return false;
        }
        self.unacknowledged.close(stream.0);
        true
    }

    pub(crate) fn offer(&mut self, now_ms: u64, offered: Offered) -> Offer {
        self.stats.offered += 1;
        let (now, tick, stream) = ((now_ms / 1000) as u32, offered.tick, offered.stream.0);
        self.gate.advance(now_ms);
        match self.gate.gate(now_ms, tick) {
            Gate::Taken if tick >= self.floor => {}
            Gate::NotYet => {
                self.stats.refused_not_yet += 1;
                return Offer::Refused(Refused::NotYet);
            }
            // The floor may have passed it since it was taken, before its node was told.
            Gate::TooLate if tick >= self.floor && self.is_held(tick, stream, offered.pin) => {}
            Gate::Taken | Gate::TooLate => {
                self.stats.refused_late += 1;
                return Offer::Refused(Refused::TooLate);
            }
        }
        if self.config.is_ahead(now_ms, tick) {
            self.stats.refused_early += 1;
            return Offer::Refused(Refused::TooEarly);
        }
        if !self.sessions.contains(stream) {
            self.stats.not_open += 1;
            return Offer::Refused(Refused::NotOpen);
        }
        let own_pin = offered.pin == Some(self.writer) || self.faults.has(Fault::IgnorePin);
        // A node that lost the pin since may have told it before.
        let told = || self.gather.waiting_pin(tick, stream);
        let pin = if own_pin { Some(self.writer) } else { offered.pin.or_else(told) };
        let held = self.is_held(tick, stream, pin) || (!own_pin && self.gather.is_waiting(tick, stream));
        if held && !self.faults.has(Fault::NoOwnCoverageCheck) {
            self.note(tick, stream, pin);
            self.stats.known += 1;
            return Offer::Known;
        }
        // Names get their places here also for a frame that waits: its caps are checked on the way.
        let Some(slotted) = self.own.slotted(now, &offered.groups, &offered.columns) else {
            self.stats.refused_invalid += 1;
            return Offer::Refused(Refused::Invalid);
        };
        self.note(tick, stream, pin);
        if own_pin {
            self.stats.samples_left_out += slotted.left_out as u64;
            self.stats.samples_to_other += slotted.others as u64;
            self.gather.stop_waiting(tick, stream);
            self.open_tick(now_ms, tick).coverage.insert(stream);
            if let Some(open) = self.gather.open.get_mut(&tick)
                && let Some((node, _)) = self.streams.identity(stream)
            {
                self.own.add(now, slotted, (node, stream, &offered.cores), &mut open.sums);
            }
            self.stats.pending += 1;
            return Offer::Pending;
        }
        self.own.skip(slotted);
        if self.gather.waiting_len() >= WAITING_MAX
            && let Some((tick, stream, frame)) = self.gather.waited(None)
        {
            self.stats.waits_cut_short += 1;
            self.ship_raw(now_ms, tick, stream, &frame);
        }
        let due_ms = now_ms + self.config.raw_after.as_millis() as u64;
        let frame = Waiting { groups: offered.groups, columns: offered.columns, cores: offered.cores, pin };
        self.gather.wait(due_ms, tick, stream, frame);
        self.stats.waited += 1;
        Offer::WaitingRaw
    }

    /// A good frame of a connected stream: it has reported, and waits for its acknowledgement.
    fn note(&mut self, tick: u32, stream: u32, pin: Option<WriterId>) {
        self.sessions.offered(stream, tick);
        let elsewhere = (pin != Some(self.writer)).then_some(pin);
        self.acks_due |= self.unacknowledged.insert(tick, stream, elsewhere);
    }

    /// Whether a frame needs no entry of this log: it is in it, or gathered for it, or in the log of the writer it is
    /// pinned to. What any other log says of it does not count: whoever claims frames that were never offered to him
    /// makes nobody drop or acknowledge them, and once his log is taken out nothing is missing. A frame whose node lost
    /// the pin is shipped raw in any case: a merge that has it covers that.
    pub(super) fn is_held(&self, tick: u32, stream: u32, pin: Option<WriterId>) -> bool {
        if self.gather.is_open(tick, stream) {
            return true;
        }
        let Some(state) = self.ticks.get(tick) else { return false };
        if self.faults.has(Fault::ClaimsCount) {
            return state.knows(stream);
        }
        let (of_pin, own_pin) = (pin.and_then(|pin| self.logs.number(pin)), pin == Some(self.writer));
        let merged = |merged: &Merged| {
            (merged.place.log == OWN || Some(merged.place.log) == of_pin) && merged.coverage.contains(stream)
        };
        // What was shipped raw by a writer that does not know its own pin is merged by it all the same.
        state.merges.iter().any(merged)
            || (!own_pin && state.raws.get(&stream).is_some_and(|raw| raw.places().any(|place| place.log == OWN)))
    }

    fn open_tick(&mut self, now_ms: u64, tick: u32) -> &mut OpenTick {
        if !self.gather.open.contains_key(&tick)
            && self.gather.open.len() >= OPEN_TICKS_MAX
            && let Some((&oldest, _)) = self.gather.open.first_key_value()
        {
            self.stats.flushes_cut_short += 1;
            self.flush_tick(now_ms, oldest);
        }
        let first_due = u64::from(tick) * 1000 + self.config.flush_after.as_millis() as u64;
        self.gather.open.entry(tick).or_insert_with(|| {
            let live = now_ms <= first_due;
            let gather = if now_ms > u64::from(tick) * 1000 + BACKFILL_MS {
                self.config.backfill_after
            } else {
                self.config.straggler_after
            };
            let due_ms = if live { first_due } else { now_ms + gather.as_millis() as u64 };
            let since = (now_ms / 1000) as u32;
            OpenTick { sums: Accumulator::new(), coverage: RoaringBitmap::new(), due_ms, since, live }
        })
    }

    /// Seconds before this one are not taken. Never falls.
    #[must_use]
    pub const fn gate_floor(&self) -> u32 {
        self.gate.at()
    }

    /// What [`super::Event::Floor`] of the next process is to be; `None` while that of the one before is all there is.
    #[must_use]
    pub const fn floor_to_keep(&self) -> Option<u32> {
        if self.gate.is_open() { Some(self.gate.at()) } else { None }
    }

    /// Of the seconds older than [`LedgerConfig::late_seconds`] those up to this one are taken now; 0 when none are.
    #[must_use]
    pub const fn old_until(&self) -> u32 {
        self.gate.old_until()
    }

    /// Whether seconds older than [`LedgerConfig::late_seconds`] are taken, or will be.
    #[must_use]
    pub const fn is_behind(&self) -> bool {
        self.gate.is_behind()
    }

    /// When [`super::Event::Tick`] has something to flush, ship or bring out next, milliseconds since the Unix epoch;
    /// `None` while there is nothing.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        let changed = self.ticks.has_changed().then_some(self.brought_out_ms + BRING_OUT_MS);
        self.gather.next_due().into_iter().chain(changed).min()
    }
}
