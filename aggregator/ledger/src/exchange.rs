//! Runs of entries out to peers and in from them.

use std::{borrow::Cow, collections::BTreeSet};

use bytes::Bytes;
use starling_proto::{ids::WriterId, v1};

use super::{
    Ledger,
    authors::Author,
    decode::{Body, DecodedEntry, DecodedRun},
    faults::Fault,
    hash::LogHash,
    limits::{AUTHOR_LOGS_MAX, ENTRIES_PER_MESSAGE_MAX, STREAMS_PER_LOG_MAX, WRITERS_MAX},
    log::{Log, Trouble},
    message::Action,
    peers::Sent,
    tick::Place,
    types::{Applied, EntriesError},
};

/// Bytes of a message around one payload.
const PAYLOAD_OVERHEAD: usize = 8;

impl Ledger {
    /// Entries that the peer lacks, of any writer, by its last digest and by what was sent since: at most
    /// `budget_bytes` of payloads, but at least one entry when any is due. Own entries go at once; those of another
    /// live peer only when they are still lacking after [`super::LedgerConfig::relay_after`].
    pub(crate) fn entries_for(&mut self, now_ms: u64, peer: WriterId, budget_bytes: usize) -> Vec<v1::Entries> {
        let mut runs = Vec::new();
        let mut left = budget_bytes;
        // Own entries first: no other process may have them.
        let own = self.writer;
        let others = self.logs.iter().map(|(_, log)| log.writer()).filter(|&writer| writer != own);
        for writer in std::iter::once(own).chain(others).collect::<Vec<_>>() {
            if writer == peer {
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
        let author_is_live = self.peers.is_open(writer);
        let relay_before =
            if author_is_live { now_ms.saturating_sub(self.config.relay_after.as_millis() as u64) } else { now_ms };
        let log = self.logs.of(writer)?;
        let (holds, sent) = self.peers.progress(to, writer)?;
        let resend_ms = self.config.resend_after.as_millis() as u64;
        let sent = sent.filter(|sent| sent.up_to > holds && now_ms < sent.since_ms + resend_ms);
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
        self.peers.note_sent(to, writer, Sent { up_to, since_ms });
        let skips_pruned = first == log.first_kept() && first > 1;
        Some(v1::Entries {
            writer_id: writer.to_bytes(),
            first_sequence: first,
            previous_hash: Bytes::copy_from_slice(&log.hash_after(first - 1)?),
            payloads,
            definitions: skips_pruned.then(|| log.base_definitions(&self.streams).message()),
            forgotten: if skips_pruned { self.floor } else { 0 },
        })
    }

    /// Takes a run of some writer's log that the process `from` sent, in strict order, the hash chain checked. What
    /// is held already is skipped.
    ///
    /// # Errors
    /// [`EntriesError`]. [`EntriesError::Gap`] is normal after a loss: the next digest asks for what is missing.
    /// Entries before the one that was refused are kept; those from the refused one on change nothing.
    pub(crate) fn apply_entries(
        &mut self,
        now_ms: u64,
        from: WriterId,
        run: &DecodedRun,
    ) -> Result<Applied, EntriesError> {
        let writer = run.writer;
        if writer == self.writer {
            return self.check_own(run);
        }
        let number = self.admit(now_ms, from, run)?;
        if self.logs.get(number).is_some_and(|log| run.first > log.length() + 1) {
            self.jump(now_ms, number, run)?;
        }
        let mut applied = Applied::default();
        let mut previous = run.previous;
        for (at, entry) in (run.first..).zip(&run.entries) {
            self.check_fork(now_ms, number, at, previous, from)?;
            previous = entry.hash;
            if at > self.length(number) {
                self.take_entry(now_ms, number, entry).map_err(|detail| self.refuse(number, at, detail))?;
                applied.entries += 1;
            } else {
                applied.known += 1;
            }
        }
        let after = run.first + run.entries.len() as u64;
        self.check_fork(now_ms, number, after, previous, from)?;
        self.stats.entries_applied += applied.entries as u64;
        self.stats.entries_known += applied.known as u64;
        self.confirm_closed(writer);
        if let Some(detail) = run.unreadable.as_ref().filter(|_| after > self.length(number)) {
            return Err(self.refuse(number, after, detail.clone()));
        }
        if let Some(log) = self.logs.get_mut(number).filter(|_| applied.entries > 0 || from == writer) {
            // It goes on, or its author agrees with what is held.
            log.set_trouble(None);
        }
        Ok(applied)
    }

    fn length(&self, log: u16) -> u64 {
        self.logs.get(log).map_or(0, Log::length)
    }

    /// The log of a run, if its author may send it: the quotas of an author, and its share of the whole. What is not
    /// taken is asked for again.
    fn admit(&mut self, now_ms: u64, from: WriterId, run: &DecodedRun) -> Result<u16, EntriesError> {
        let (writer, own) = (run.writer, from == self.writer);
        let name = self.peers.name_of(from).unwrap_or_default().to_owned();
        if !self.faults.has(Fault::QuarantinedComesBack) {
            let refused =
                self.quarantine.of_writer(writer).or_else(|| self.quarantine.has_name(&name).then_some(&name));
            if let Some(aggregator) = refused {
                self.stats.runs_of_quarantined += 1;
                return Err(EntriesError::Quarantined { writer, aggregator: aggregator.to_owned() });
            }
        }
        let mut author = self.logs.of(writer).map_or(Author::UNKNOWN, |log| log.author().clone());
        author.came(writer, from, &name);
        let account = author.account(writer);
        // What the store here has kept is taken as it is.
        if !own {
            self.check_account(&account, run)?;
            let held = self.logs.of(writer).map_or(0, Log::length);
            let new = usize::try_from((held + 1).saturating_sub(run.first)).unwrap_or(usize::MAX);
            let new = run.entries.get(new..).unwrap_or_default();
            let bytes = new.iter().map(|entry| entry.payload.len() as u64).sum();
            let burst = self.config.limits.log_bytes as u64;
            let taken = self.allowances.take(now_ms, &account, (new.len() as u64, bytes), burst);
            taken.map_err(|(what, limit)| self.over_quota(&account, what, limit))?;
        }
        let number = self.logs.open(writer).ok_or(EntriesError::Limit { what: "logs", limit: WRITERS_MAX })?;
        if let Some(log) = self.logs.get_mut(number) {
            log.set_author(author);
        }
        Ok(number)
    }

    /// What the author of a run holds of the whole: logs, streams, bytes.
    fn check_account(&mut self, account: &str, run: &DecodedRun) -> Result<(), EntriesError> {
        let limits = &self.config.limits;
        let (mut bytes, mut streams, mut logs) = (0, run.streams_len(), 1);
        let mut accounts = BTreeSet::from([Cow::Borrowed(account)]);
        for (_, log) in self.logs.iter() {
            let of = log.author().account(log.writer());
            if of == account {
                (bytes, streams) = (bytes + log.bytes(), streams + log.numbers().streams_len());
                logs += usize::from(log.writer() != run.writer);
            }
            accounts.insert(of);
        }
        let share = limits.logs_bytes / accounts.len();
        let over = if bytes > limits.log_bytes {
            ("bytes kept", limits.log_bytes)
        } else if bytes > share && self.logs.bytes() > limits.logs_bytes {
            ("its share of the bytes kept of all logs", share)
        } else if logs > AUTHOR_LOGS_MAX {
            ("logs", AUTHOR_LOGS_MAX)
        } else if streams > STREAMS_PER_LOG_MAX {
            ("streams", STREAMS_PER_LOG_MAX)
        } else {
            return Ok(());
        };
        Err(self.over_quota(account, over.0, over.1))
    }

    fn over_quota(&mut self, author: &str, what: &'static str, limit: usize) -> EntriesError {
        self.stats.runs_refused += 1;
        EntriesError::Quota { author: author.to_owned(), what, limit }
    }

    /// Own entries that come back: they must be those appended here.
    fn check_own(&mut self, run: &DecodedRun) -> Result<Applied, EntriesError> {
        let last = run.first - 1 + run.entries.len() as u64;
        let hash = run.entries.last().map_or(run.previous, |entry| entry.hash);
        let log = self.logs.own();
        if last > log.length() || log.hash_after(last).is_some_and(|held| held != hash) {
            self.stats.forks += 1;
            return Err(EntriesError::Fork { writer: self.writer, sequence: last });
        }
        Ok(Applied { known: run.entries.len(), ..Applied::default() })
    }

    /// An equal place with another hash is a fork; places before the first kept cannot be checked. The author's own
    /// word replaces what is held: the log is dropped whole and asked for again.
    fn check_fork(
        &mut self,
        now_ms: u64,
        number: u16,
        at: u64,
        hash: LogHash,
        from: WriterId,
    ) -> Result<(), EntriesError> {
        let Some(log) = self.logs.get(number) else { return Ok(()) };
        if log.hash_after(at - 1).is_none_or(|held| held == hash) {
            return Ok(());
        }
        let writer = log.writer();
        self.stats.forks += 1;
        if from == writer {
            self.rebuild(now_ms, number);
        }
        let detail = format!("another process holds another entry at or before {at}");
        if let Some(log) = self.logs.get_mut(number) {
            log.set_trouble(Some(Trouble { sequence: at, detail }));
        }
        Err(EntriesError::Fork { writer, sequence: at })
    }

    /// Drops all that is held of a log, here and in the ticks. The next digest asks for it again.
    fn rebuild(&mut self, now_ms: u64, number: u16) {
        self.stats.rebuilds += 1;
        let gone = |place: Place| place.log == number;
        let again = self.forget_in_ticks(gone);
        if let Some(log) = self.logs.get_mut(number) {
            let start = *log.writer().as_bytes();
            log.restart(1, start, &mut self.names);
            self.actions.push_back(Action::Dropped { writer: log.writer() });
        }
        for (tick, places) in again {
            self.add_up(now_ms, tick, &places);
        }
    }

    /// Takes everything out of the ticks that came from places for which `gone` is true, and says what is to be added up
    /// again at those it touched.
    pub(super) fn forget_in_ticks(&mut self, gone: impl Fn(Place) -> bool) -> Vec<(u32, Vec<Place>)> {
        self.ahead.retain(|&(_, place)| !gone(place));
        let logs = &self.logs;
        let writer = |place: Place| logs.get(place.log).map(Log::writer);
        let mut again = Vec::new();
        for (tick, state) in self.ticks.iter_mut() {
            let touched = state.merges.iter().any(|merged| gone(merged.place))
                || state.raws.values().any(|raw| raw.places().any(&gone));
            if touched {
                again.push((tick, state.without(&gone, writer)));
            }
        }
        again
    }

    /// Starts a log in the middle when its start is pruned, and nothing that is held of it is still shown. The seconds of what
    /// was pruned are forgotten with it: here they would lack its frames.
    fn jump(&mut self, now_ms: u64, number: u16, run: &DecodedRun) -> Result<(), EntriesError> {
        if run.definitions.is_some() && self.hears_what_is_forgotten() {
            self.gate.hear_forgotten(now_ms, run.forgotten);
        }
        let floor = self.floor_at(now_ms);
        let Some(log) = self.logs.get(number) else { return Ok(()) };
        let (from, first) = (log.length() + 1, run.first);
        let Some(new) = run.definitions.as_ref().filter(|_| log.is_expired(floor)) else {
            if let Some(detail) = &run.unreadable
                && log.is_expired(floor)
                && run.entries.is_empty()
            {
                return Err(self.refuse(number, first - 1, detail.clone()));
            }
            self.stats.gaps += 1;
            return Err(EntriesError::Gap { from, first });
        };
        // Checked against an empty log, which is what it becomes.
        let empty = Log::new(run.writer, self.config.limits.number_seconds);
        if let Err(detail) = empty.numbers().check(new, &Body::Other, &self.streams) {
            return Err(self.refuse(number, first - 1, detail));
        }
        self.stats.jumps += 1;
        self.prune_ticks(floor);
        let time = (now_ms / 1000) as u32 + self.config.early_seconds;
        let Some(log) = self.logs.get_mut(number) else { return Ok(()) };
        log.restart(first, run.previous, &mut self.names);
        log.define(new, Some(&mut self.names), &mut self.streams, time);
        log.restarted();
        Ok(())
    }

    /// Notes that an entry cannot be taken. It is asked for again with every digest.
    fn refuse(&mut self, number: u16, sequence: u64, detail: String) -> EntriesError {
        self.stats.entries_refused += 1;
        let Some(log) = self.logs.get_mut(number) else {
            return EntriesError::Limit { what: "logs", limit: WRITERS_MAX };
        };
        let writer = log.writer();
        log.set_trouble(Some(Trouble { sequence, detail: detail.clone() }));
        EntriesError::Refused { writer, sequence, detail }
    }

    /// Checks one new entry, then takes its definitions, holds it and applies it.
    ///
    /// # Errors
    /// Why it may not follow, in words; nothing has changed then.
    fn take_entry(&mut self, now_ms: u64, number: u16, entry: &DecodedEntry) -> Result<(), String> {
        let Self { logs, names, streams, .. } = self;
        let log = logs.get_mut(number).ok_or("no such log")?;
        log.numbers().check(&entry.new, &entry.body, streams)?;
        if self.faults.has(Fault::RoomDecides) && entry.new.series.iter().any(|(_, series)| !names.has_room(series)) {
            return Err("too many series".into());
        }
        let place = Place { log: number, sequence: log.length() + 1 };
        log.define(&entry.new, Some(names), streams, entry.body.tick());
        self.hold(now_ms, number, entry);
        self.apply_body(now_ms, place, &entry.body);
        Ok(())
    }
}
