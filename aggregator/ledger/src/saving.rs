//! What a store keeps of the logs, and how the process after this one reads it back.
//!
//! The store is asked by [`super::Action::Persist`], and fetches what it lacks when it can ([`Ledger::unsaved`]): nothing
//! waits in a queue, and what a full disk could not take is still there afterwards. The next process reads the runs in the
//! order in which they were kept ([`Restored`]) and takes them as the logs of others: it is a new writer.

use std::collections::BTreeMap;

use bytes::Bytes;
use starling_proto::{ids::WriterId, v1};

use super::{
    Ledger,
    hash::LogHash,
    limits::{ENTRIES_PER_MESSAGE_MAX, LOGS_BYTES_MAX, WRITERS_MAX},
    log::Log,
};

/// How far each log is kept.
#[derive(Debug, Clone, Default)]
pub struct Saved(BTreeMap<WriterId, Place>);

/// A place in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    sequence: u64,
    /// Running hash after it: a log that was dropped and fetched again is another one.
    hash: LogHash,
}

/// Entries of a log that are to be kept, next to each other.
#[derive(Debug, Clone)]
pub struct Unsaved {
    /// As they are to be written.
    pub run: v1::Entries,
    writer: WriterId,
    end: Place,
}

impl Unsaved {
    /// Author of the log.
    #[must_use]
    pub const fn writer(&self) -> WriterId {
        self.writer
    }

    /// The last entry of the run.
    #[must_use]
    pub const fn up_to(&self) -> u64 {
        self.end.sequence
    }
}

impl Saved {
    /// A run is kept.
    pub fn keep(&mut self, run: &Unsaved) {
        self.0.insert(run.writer, run.end);
    }

    /// How far each log is kept.
    pub fn lengths(&self) -> impl Iterator<Item = (WriterId, u64)> {
        self.0.iter().map(|(writer, place)| (*writer, place.sequence))
    }

    /// Logs that are no longer held need no place.
    pub fn retain(&mut self, heads: &[Unsaved]) {
        self.0.retain(|writer, _| heads.iter().any(|head| head.writer == *writer));
    }
}

impl Ledger {
    /// Entries that are not `saved`, of each log in its order: at most `budget_bytes` of payloads, but at least one entry
    /// when there is any.
    #[must_use]
    pub fn unsaved(&self, saved: &Saved, budget_bytes: usize) -> Vec<Unsaved> {
        let (mut runs, mut left) = (Vec::new(), Some(budget_bytes));
        for (_, log) in self.logs.iter() {
            let place = saved.0.get(&log.writer()).copied();
            // A place before the first entry kept cannot be checked, and needs no check: what follows begins anew there.
            let goes_on = place.filter(|place| log.hash_after(place.sequence) == Some(place.hash));
            let first = goes_on.map_or_else(|| log.first_kept(), |place| place.sequence + 1);
            let (mut payloads, mut end) = (Vec::new(), goes_on.map_or(*log.base_hash(), |place| place.hash));
            let previous = end;
            for sequence in first..=log.length() {
                let (Some(entry), Some(bytes)) = (log.entry(sequence), left) else { break };
                payloads.push(entry.payload.clone());
                end = entry.hash;
                left = bytes.checked_sub(entry.payload.len());
                if payloads.len() >= ENTRIES_PER_MESSAGE_MAX {
                    break;
                }
            }
            if payloads.is_empty() {
                continue;
            }
            let end = Place { sequence: first + payloads.len() as u64 - 1, hash: end };
            let run = v1::Entries { payloads, ..self.begin(log, first, previous, goes_on.is_none()) };
            runs.push(Unsaved { run, writer: log.writer(), end });
        }
        runs
    }

    /// Everything that is held, as saved: it was read from the store.
    #[must_use]
    pub fn all_saved(&self) -> Saved {
        let end = |log: &Log| (log.writer(), Place { sequence: log.length(), hash: log.hash() });
        Saved(self.logs.iter().map(|(_, log)| end(log)).collect())
    }

    /// Where each log begins that is held, without its entries: what stands before it in the store may be forgotten once
    /// these are kept.
    #[must_use]
    pub fn heads(&self) -> Vec<Unsaved> {
        let head = |log: &Log| Unsaved {
            run: self.begin(log, log.first_kept(), *log.base_hash(), true),
            writer: log.writer(),
            end: Place { sequence: log.first_kept() - 1, hash: *log.base_hash() },
        };
        self.logs.iter().map(|(_, log)| head(log)).collect()
    }

    /// A run without entries that begins at `first`; with the definitions of what was pruned when it `stands_alone`.
    fn begin(&self, log: &Log, first: u64, previous: LogHash, stands_alone: bool) -> v1::Entries {
        v1::Entries {
            writer_id: log.writer().to_bytes(),
            first_sequence: first,
            previous_hash: Bytes::copy_from_slice(&previous),
            payloads: Vec::new(),
            definitions: (stands_alone && first > 1).then(|| log.base_definitions(&self.streams).message()),
            forgotten: if stands_alone && first > 1 { self.floor } else { 0 },
        }
    }
}

/// Logs as a store has kept them, being read.
#[derive(Debug, Default)]
pub struct Restored {
    logs: BTreeMap<WriterId, KeptLog>,
    bytes: usize,
    left_out: usize,
}

#[derive(Debug, Default)]
struct KeptLog {
    /// A run without entries that says how the log begins; `None` as long as only later parts were read.
    begin: Option<v1::Entries>,
    /// Sequence number of the first of `payloads`.
    first: u64,
    payloads: Vec<Bytes>,
}

impl Restored {
    /// Takes a run, in the order in which they were kept. What does not belong to a log, or is beyond what a ledger holds
    /// ([`WRITERS_MAX`] logs, [`LOGS_BYTES_MAX`]), is left out and counted.
    pub fn take(&mut self, run: v1::Entries) {
        let bytes: usize = run.payloads.iter().map(Bytes::len).sum();
        let Ok(writer) = WriterId::parse(&run.writer_id) else {
            self.left_out += 1;
            return;
        };
        let full = self.logs.len() >= WRITERS_MAX && !self.logs.contains_key(&writer);
        if full || self.bytes + bytes > LOGS_BYTES_MAX {
            self.left_out += 1;
            return;
        }
        let log = self.logs.entry(writer).or_default();
        let before = log.bytes();
        log.take(run);
        self.bytes = self.bytes - before + log.bytes();
    }

    /// Runs that were left out.
    #[must_use]
    pub const fn left_out(&self) -> usize {
        self.left_out
    }

    /// Whether nothing was read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.logs.is_empty()
    }

    /// One run for each log whose beginning is known.
    pub fn runs(self) -> impl Iterator<Item = v1::Entries> {
        self.logs.into_values().filter_map(|log| Some(v1::Entries { payloads: log.payloads, ..log.begin? }))
    }
}

impl KeptLog {
    fn bytes(&self) -> usize {
        self.payloads.iter().map(Bytes::len).sum()
    }

    fn take(&mut self, mut run: v1::Entries) {
        let (first, payloads) = (run.first_sequence.max(1), std::mem::take(&mut run.payloads));
        let begins = first == 1 || run.definitions.is_some();
        let known = first.checked_sub(self.first).and_then(|skip| usize::try_from(skip).ok());
        let known = known.filter(|skip| *skip <= self.payloads.len() && self.first > 0);
        match known {
            // Only says where the log begins by now.
            Some(skip) if begins && payloads.is_empty() => {
                self.payloads.drain(..skip);
                (self.begin, self.first) = (Some(run), first);
            }
            // It goes on, or what stood here was dropped and fetched again.
            Some(skip) if !begins || skip > 0 => {
                self.payloads.truncate(skip);
                self.payloads.extend(payloads);
            }
            _ => *self = Self { begin: begins.then_some(run), first, payloads },
        }
    }
}
