//! One writer's log as it is held here: its entries and their running hash.

use std::collections::VecDeque;

use bytes::Bytes;
use starling_proto::ids::WriterId;

use super::{
    authors::Author,
    decode::{DecodedEntry, NewNames},
    hash::LogHash,
    names::Names,
    numbering::{Defined, Numbering},
    streams::StreamTable,
};

/// What an entry costs beside its bytes: without it a log of empty ones would have no bound.
const ENTRY_OVERHEAD: usize = size_of::<Stored>();

/// One entry as its author encoded it.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) payload: Bytes,
    /// Running hash after it.
    pub(super) hash: LogHash,
    /// The tick it is for; 0 when none. Decides when it may be pruned.
    pub(super) tick: u32,
    /// When it was appended or came, milliseconds since the Unix epoch.
    pub(super) since_ms: u64,
    /// Definitions of this log up to and including this entry.
    defined: Defined,
}

/// Why nothing more of a log can be taken at the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    /// The entry that cannot be applied.
    pub(super) sequence: u64,
    /// Why.
    pub(super) detail: String,
}

/// A log with a single author.
#[derive(Debug)]
pub(super) struct Log {
    writer: WriterId,
    /// Who answers for it.
    author: Author,
    /// Sequence number of the first entry kept.
    first: u64,
    entries: VecDeque<Stored>,
    /// Running hash before `entries`.
    base_hash: LogHash,
    /// Definitions before `entries`.
    base_defined: Defined,
    numbers: Numbering,
    bytes: usize,
    /// Entries 1..=durable survive a crash of this process.
    durable: u64,
    trouble: Option<Trouble>,
}

impl Log {
    pub(super) fn new(writer: WriterId, number_seconds: u32) -> Self {
        Self {
            writer,
            author: Author::UNKNOWN,
            first: 1,
            entries: VecDeque::new(),
            base_hash: *writer.as_bytes(),
            base_defined: Defined::NONE,
            numbers: Numbering::new(number_seconds),
            bytes: 0,
            durable: 0,
            trouble: None,
        }
    }

    /// Who answers for it.
    pub(super) const fn author(&self) -> &Author {
        &self.author
    }

    /// Says who answers for it.
    pub(super) fn set_author(&mut self, author: Author) {
        self.author = author;
    }

    /// Its author.
    pub(super) const fn writer(&self) -> WriterId {
        self.writer
    }

    /// Entries 1..=length are known.
    pub(super) fn length(&self) -> u64 {
        self.first - 1 + self.entries.len() as u64
    }

    /// Entries 1..=durable survive a crash of this process; at most [`Log::length`].
    pub(super) const fn durable(&self) -> u64 {
        self.durable
    }

    /// The store holds entries 1..=up_to.
    pub(super) fn synced(&mut self, up_to: u64) {
        self.durable = self.durable.max(up_to.min(self.length()));
    }

    pub(super) const fn first_kept(&self) -> u64 {
        self.first
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of the entries kept.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) const fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref()
    }

    /// Notes why the next entry cannot be taken, or that it can again.
    pub(super) fn set_trouble(&mut self, trouble: Option<Trouble>) {
        self.trouble = trouble;
    }

    pub(super) fn entry(&self, sequence: u64) -> Option<&Stored> {
        self.entries.get(usize::try_from(sequence.checked_sub(self.first)?).ok()?)
    }

    /// The entries kept, with their sequence numbers.
    pub(super) fn entries(&self) -> impl Iterator<Item = (u64, &Stored)> {
        (self.first..).zip(&self.entries)
    }

    /// Running hash after entry `sequence`, if it is still known.
    pub(super) fn hash_after(&self, sequence: u64) -> Option<LogHash> {
        if sequence + 1 == self.first { Some(self.base_hash) } else { self.entry(sequence).map(|entry| entry.hash) }
    }

    /// Running hash before the first entry kept.
    pub(super) const fn base_hash(&self) -> &LogHash {
        &self.base_hash
    }

    /// Running hash after the last entry.
    pub(super) fn hash(&self) -> LogHash {
        self.entries.back().map_or(self.base_hash, |entry| entry.hash)
    }

    /// What its numbers mean.
    pub(super) const fn numbers(&self) -> &Numbering {
        &self.numbers
    }

    /// Takes checked definitions, for the entry after the last. Without `names` there is room for every name.
    pub(super) fn define(&mut self, new: &NewNames, names: Option<&mut Names>, streams: &mut StreamTable, tick: u32) {
        let sequence = self.length() + 1;
        self.numbers.define(sequence, new, names, streams, tick);
    }

    /// Holds a checked entry whose definitions were taken, and notes which numbers it uses.
    pub(super) fn push(&mut self, now_ms: u64, entry: &DecodedEntry) {
        let (sequence, tick) = (self.length() + 1, entry.body.tick());
        self.numbers.used(sequence, &entry.body);
        self.bytes += entry.payload.len() + ENTRY_OVERHEAD;
        let (payload, hash) = (entry.payload.clone(), entry.hash);
        self.entries.push_back(Stored { payload, hash, tick, since_ms: now_ms, defined: self.numbers.defined() });
    }

    /// The definitions before the first entry kept, for a process that lacks the pruned start.
    pub(super) fn base_definitions(&self, streams: &StreamTable) -> NewNames {
        self.numbers.definitions_before(self.base_defined, streams)
    }

    /// Gives all its names back.
    pub(super) fn release(&mut self, names: &mut Names) {
        self.numbers.release(names);
    }

    /// Starts over, empty, after entry `first - 1`. The caller has checked that nothing held is still shown.
    pub(super) fn restart(&mut self, first: u64, base_hash: LogHash, names: &mut Names) {
        let (numbers, trouble) = (self.numbers.restart(names), self.trouble.take());
        let author = std::mem::replace(&mut self.author, Author::UNKNOWN);
        *self = Self { author, first, base_hash, numbers, trouble, durable: first - 1, ..Self::new(self.writer, 0) };
    }

    /// The definitions taken so far are those before the first entry.
    pub(super) fn restarted(&mut self) {
        self.base_defined = self.numbers.defined();
    }

    /// True when every entry kept is for a tick before `floor`.
    pub(super) fn is_expired(&self, floor: u32) -> bool {
        self.entries.iter().all(|entry| entry.tick < floor)
    }

    /// Drops the longest prefix of entries for ticks before `floor`, and numbers given up. Returns entries dropped.
    pub(super) fn prune(&mut self, floor: u32, names: Option<&mut Names>) -> usize {
        let mut dropped = 0;
        while let Some(entry) = self.entries.pop_front_if(|entry| entry.tick < floor) {
            self.first += 1;
            self.base_hash = entry.hash;
            self.base_defined = entry.defined;
            self.bytes -= entry.payload.len() + ENTRY_OVERHEAD;
            dropped += 1;
        }
        // What is pruned needs no store any more.
        self.durable = self.durable.max(self.first - 1);
        let next = self.length() + 1;
        self.numbers.forget(self.first, next, names);
        dropped
    }
}
