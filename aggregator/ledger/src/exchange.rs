//! Runs of entries out to peers and in from them.

use bytes::Bytes;
use prost::Message as _;
use roaring::RoaringBitmap;
use starling_proto::{
    ids::WriterId,
    v1::{self, log_payload::Body},
};

use super::{
    Ledger,
    faults::Fault,
    limits::{ENTRIES_PER_MESSAGE_MAX, ENTRY_BYTES_MAX, LOG_BYTES_MAX, STREAMS_PER_LOG_MAX, WRITERS_MAX},
    log::{Log, LogHash, next_hash},
    logs::OWN,
    peers::Sent,
    tick::Place,
    types::{Applied, EntriesError},
};
use crate::rollup;

/// Longest roaring bitmap of [`STREAMS_PER_LOG_MAX`] streams, with room.
const COVERAGE_BYTES_MAX: usize = 4 * STREAMS_PER_LOG_MAX;
/// Bytes of a message around one payload.
const PAYLOAD_OVERHEAD: usize = 8;

impl Ledger {
    /// Entries that the peer lacks, of any writer, by its last digest and by what was sent since: at most
    /// `budget_bytes` of payloads, but at least one entry when any is due. Own entries go at once; those of another
    /// live peer only when they are still lacking after [`super::LedgerConfig::relay_after`].
    pub fn entries_for(&mut self, now_ms: u64, peer: WriterId, budget_bytes: usize) -> Vec<v1::Entries> {
        let mut runs = Vec::new();
        let mut left = budget_bytes;
        // Own entries first: nobody else may have them.
        let own = self.logs.own().writer;
        let others = self.logs.iter().map(|(_, log)| log.writer).filter(|&writer| writer != own);
        for writer in std::iter::once(own).chain(others).collect::<Vec<_>>() {
            if writer == peer || (writer != own && self.faults.has(Fault::NoRelay)) {
                continue;
            }
            if let Some(run) = self.run_for(now_ms, peer, writer, left) {
                let bytes: usize = run.payloads.iter().map(|payload| payload.len() + PAYLOAD_OVERHEAD).sum();
                runs.push(run);
                left = left.saturating_sub(bytes);
                if left == 0 {
                    break;
                }
            }
        }
        runs
    }

    fn run_for(&mut self, now_ms: u64, to: WriterId, writer: WriterId, budget: usize) -> Option<v1::Entries> {
        let author_is_live = self.peers.get(&writer).is_some_and(|author| author.open);
        let relay_before =
            if author_is_live { now_ms.saturating_sub(self.config.relay_after.as_millis() as u64) } else { now_ms };
        let log = self.logs.of(writer)?;
        let peer = self.peers.get_mut(&to)?;
        let holds = peer.holds(writer);
        let resend_ms = self.config.resend_after.as_millis() as u64;
        let sent = peer.sent.get(&writer).filter(|sent| sent.up_to > holds && now_ms < sent.since_ms + resend_ms);
        let since_ms = sent.map_or(now_ms, |sent| sent.since_ms);
        let first = (sent.map_or(holds, |sent| sent.up_to) + 1).max(log.first_kept());
        let mut payloads = Vec::new();
        let mut bytes = 0;
        for sequence in first..=log.length() {
            let Some(entry) = log.entry(sequence) else { break };
            bytes += entry.payload.len() + PAYLOAD_OVERHEAD;
            let enough = payloads.len() >= ENTRIES_PER_MESSAGE_MAX || (bytes > budget && !payloads.is_empty());
            if enough || (writer != self.writer && entry.since_ms > relay_before) {
                break;
            }
            payloads.push(entry.payload.clone());
        }
        let up_to = first + payloads.len() as u64 - 1;
        // A live writer's log of which nothing is left to send: the peer must still learn how long it is.
        let only_length = log.is_empty() && up_to > holds && (author_is_live || writer == self.writer);
        if payloads.is_empty() && (!only_length || sent.is_some()) {
            return None;
        }
        peer.sent.insert(writer, Sent { up_to, since_ms });
        let skips_pruned = first == log.first_kept() && first > 1;
        Some(v1::Entries {
            writer_id: writer.to_bytes(),
            first_sequence: first,
            previous_hash: Bytes::copy_from_slice(&log.hash_after(first - 1)?),
            payloads,
            definitions: skips_pruned.then(|| log.base_definitions(&self.streams)),
        })
    }

    /// Takes a run of some writer's log, in strict order, the hash chain checked. What is held already is skipped.
    ///
    /// # Errors
    /// [`EntriesError`]. [`EntriesError::Gap`] is normal after a loss: answer with a digest. Entries before the one
    /// that was refused are kept; those from the refused one on change nothing.
    pub fn apply_entries(&mut self, now_ms: u64, run: &v1::Entries) -> Result<Applied, EntriesError> {
        let writer = WriterId::parse(&run.writer_id)?;
        let first = run.first_sequence.max(1);
        self.check_size(run)?;
        if writer == self.writer {
            return self.check_own(run, first);
        }
        let number = self.logs.open(writer).ok_or(EntriesError::Limit { what: "logs", limit: WRITERS_MAX })?;
        let log = self.logs.get(number).ok_or(EntriesError::Frozen(writer))?;
        if log.frozen {
            return Err(EntriesError::Frozen(writer));
        }
        let previous = LogHash::try_from(&*run.previous_hash).unwrap_or_default();
        let mut hash = previous;
        if first > log.length() + 1 && !self.faults.has(Fault::AllowGaps) {
            self.jump(now_ms, number, first, previous, run)?;
        } else if self.faults.has(Fault::AllowGaps) && first > log.length() + 1 {
            hash = log.hash();
        }
        let mut applied = Applied::default();
        let mut at = if self.faults.has(Fault::AllowGaps) { first.min(self.length(number) + 1) } else { first };
        // An equal place with another hash is a fork. Places before the first kept cannot be checked.
        let fits = |log: &Log, at: u64, hash: &LogHash| log.hash_after(at - 1).is_none_or(|held| held == *hash);
        for payload in &run.payloads {
            if !self.logs.get(number).is_some_and(|log| fits(log, at, &hash)) {
                return Err(self.freeze_fork(number, writer, at));
            }
            hash = next_hash(&hash, payload);
            if at > self.length(number) {
                let ticks = self.take_entry(now_ms, number, at, payload, hash).map_err(|detail| {
                    self.freeze(number);
                    self.stats.invalid_logs += 1;
                    EntriesError::Invalid { writer, sequence: at, detail }
                })?;
                applied.ticks.extend(ticks);
                applied.entries += 1;
            } else {
                applied.known += 1;
            }
            at += 1;
        }
        if !self.logs.get(number).is_some_and(|log| fits(log, at, &hash)) {
            return Err(self.freeze_fork(number, writer, at));
        }
        self.stats.entries_applied += applied.entries as u64;
        self.stats.entries_known += applied.known as u64;
        applied.ticks.sort_unstable();
        applied.ticks.dedup();
        self.confirm_closed(writer);
        Ok(applied)
    }

    fn length(&self, log: u16) -> u64 {
        self.logs.get(log).map_or(0, Log::length)
    }

    fn check_size(&mut self, run: &v1::Entries) -> Result<(), EntriesError> {
        let refused = if run.payloads.len() > ENTRIES_PER_MESSAGE_MAX {
            Some(EntriesError::Limit { what: "entries of one message", limit: ENTRIES_PER_MESSAGE_MAX })
        } else if run.payloads.iter().any(|payload| payload.len() > ENTRY_BYTES_MAX) {
            Some(EntriesError::Limit { what: "bytes of one entry", limit: ENTRY_BYTES_MAX })
        } else if self.logs.bytes() > LOG_BYTES_MAX {
            Some(EntriesError::Limit { what: "bytes of all logs", limit: LOG_BYTES_MAX })
        } else {
            None
        };
        refused.map_or(Ok(()), |error| {
            self.stats.runs_refused += 1;
            Err(error)
        })
    }

    /// Own entries that come back: they must be those appended here.
    fn check_own(&mut self, run: &v1::Entries, first: u64) -> Result<Applied, EntriesError> {
        let last = first - 1 + run.payloads.len() as u64;
        let mut hash = LogHash::try_from(&*run.previous_hash).unwrap_or_default();
        run.payloads.iter().for_each(|payload| hash = next_hash(&hash, payload));
        let log = self.logs.own();
        if last > log.length() || log.hash_after(last).is_some_and(|held| held != hash) {
            self.stats.forks += 1;
            return Err(EntriesError::Fork { writer: self.writer, sequence: last });
        }
        Ok(Applied { known: run.payloads.len(), ..Applied::default() })
    }

    /// Starts a log in the middle when its start is pruned, and nothing that is held of it is still shown.
    fn jump(
        &mut self,
        now_ms: u64,
        number: u16,
        first: u64,
        previous: LogHash,
        run: &v1::Entries,
    ) -> Result<(), EntriesError> {
        let floor = self.floor_at(now_ms);
        let Some(log) = self.logs.get_mut(number) else { return Ok(()) };
        let from = log.length() + 1;
        let Some(definitions) = run.definitions.as_ref().filter(|_| log.is_expired(floor)) else {
            self.stats.gaps += 1;
            return Err(EntriesError::Gap { from, first });
        };
        self.stats.jumps += 1;
        self.prune_ticks(floor);
        let Some(log) = self.logs.get_mut(number) else { return Ok(()) };
        log.jump(first, previous);
        let time = (now_ms / 1000) as u32 + self.config.early_seconds;
        let (writer, defined) = (log.writer, log.define(definitions, &mut self.names, &mut self.streams, time));
        log.jumped();
        defined.map_err(|detail| {
            self.freeze(number);
            self.stats.invalid_logs += 1;
            EntriesError::Invalid { writer, sequence: first - 1, detail }
        })
    }

    fn freeze(&mut self, log: u16) {
        if let Some(log) = self.logs.get_mut(log) {
            log.frozen = true;
        }
    }

    fn freeze_fork(&mut self, log: u16, writer: WriterId, sequence: u64) -> EntriesError {
        self.freeze(log);
        self.stats.forks += 1;
        EntriesError::Fork { writer, sequence }
    }

    /// Checks one new entry whole, then takes its definitions, holds it and applies it. Returns the ticks whose view
    /// changed. What is said in words freezes the log.
    fn take_entry(
        &mut self,
        now_ms: u64,
        number: u16,
        sequence: u64,
        bytes: &Bytes,
        hash: LogHash,
    ) -> Result<Vec<u32>, String> {
        let payload = v1::LogPayload::decode(bytes.clone()).map_err(|error| error.to_string())?;
        let Self { logs, names, streams, .. } = self;
        let log = logs.get_mut(number).ok_or("no such log")?;
        let tick = match &payload.body {
            Some(Body::Merge(merge)) => merge.tick,
            Some(Body::Raw(raw)) => raw.tick,
            Some(Body::End(end)) => end.last_tick,
            None => 0,
        };
        log.define(&payload, names, streams, tick)?;
        let place = Place { log: number, sequence };
        debug_assert_ne!(number, OWN);
        match payload.body {
            Some(Body::Merge(merge)) => {
                let coverage = coverage_of(log, &merge)?;
                let sums = rollup::decode(&merge.sums, log).map_err(|error| error.to_string())?;
                if let Some((_, series, _)) = sums.iter().find(|(.., cell)| u64::from(cell.frames) > coverage.len()) {
                    return Err(format!("{series} has more frames than the merge covers"));
                }
                let again = |merged: &super::tick::Merged| {
                    merged.place.log == number && !merged.coverage.is_disjoint(&coverage)
                };
                if self.ticks.get(&tick).is_some_and(|state| state.merges.iter().any(again)) {
                    self.stats.overlaps += 1;
                    return Err(format!("tick {tick}: the writer merges a frame again"));
                }
                self.hold(now_ms, number, bytes, hash, tick);
                Ok(self.apply_merge(now_ms, place, tick, coverage, &sums).then_some(tick).into_iter().collect())
            }
            Some(Body::Raw(raw)) => {
                let stream = log.stream(raw.stream, tick).ok_or("an undefined stream")?;
                let sums = rollup::decode(&raw.sums, log).map_err(|error| error.to_string())?;
                if sums.iter().any(|(.., cell)| cell.frames != 1) {
                    return Err("a raw frame with sums of several frames".into());
                }
                self.hold(now_ms, number, bytes, hash, tick);
                Ok(self.apply_raw(now_ms, place, tick, stream, &sums).then_some(tick).into_iter().collect())
            }
            Some(Body::End(end)) => {
                let stream = log.stream(end.stream, tick).ok_or("an undefined stream")?;
                self.hold(now_ms, number, bytes, hash, tick);
                Ok(self.apply_end(stream, end.last_tick))
            }
            // A later version's entry: held and relayed, not applied.
            None => {
                self.hold(now_ms, number, bytes, hash, tick);
                Ok(Vec::new())
            }
        }
    }

    fn hold(&mut self, now_ms: u64, log: u16, bytes: &Bytes, hash: LogHash, tick: u32) {
        if let Some(log) = self.logs.get_mut(log) {
            log.push(bytes.clone(), hash, tick, now_ms);
        }
    }
}

/// The streams a merge covers, by this process's numbers.
fn coverage_of(log: &mut Log, merge: &v1::Merge) -> Result<RoaringBitmap, String> {
    if merge.coverage.len() > COVERAGE_BYTES_MAX {
        return Err("the coverage is too long".into());
    }
    let numbers = RoaringBitmap::deserialize_from(&*merge.coverage).map_err(|error| error.to_string())?;
    // Runs can claim any number of members in a few bytes.
    if numbers.is_empty() || numbers.len() > log.streams_len() as u64 {
        return Err(format!("the coverage names {} streams", numbers.len()));
    }
    let streams: Option<RoaringBitmap> = numbers.iter().map(|number| log.stream(number, merge.tick)).collect();
    let streams = streams.ok_or("the coverage names an undefined stream")?;
    if streams.len() == numbers.len() { Ok(streams) } else { Err("two numbers of one stream in a coverage".into()) }
}
