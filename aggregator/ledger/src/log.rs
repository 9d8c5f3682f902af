//! One writer's log as it is held here: entries, running hash, what its numbers mean.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use roaring::RoaringBitmap;
use starling_proto::{group::Group, ids::WriterId, series::Series};

use super::{
    decode::{Body, DecodedEntry, NewNames},
    hash::LogHash,
    limits::{LOG_GROUPS_MAX, LOG_SERIES_MAX},
    names::{Names, Numbers},
    streams::StreamTable,
};
use crate::rollup::{Definitions, NumberedSums};

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

/// The next numbers of a log: every number below was defined at some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Defined {
    pub(super) series: u32,
    pub(super) groups: u32,
    pub(super) streams: u32,
}

impl Defined {
    /// Group 0 is the whole cluster.
    const NONE: Self = Self { series: 0, groups: 1, streams: 0 };
}

/// A number of this log and what it means.
#[derive(Debug, Clone)]
struct Numbered<T> {
    name: T,
    /// Entries from this one on find room for the name here; `u64::MAX` while there is none.
    room_from: u64,
    /// Highest tick of the log that used it.
    last: u32,
    /// Last entry that used it.
    sequence: u64,
}

impl<T> Numbered<T> {
    fn used(&mut self, sequence: u64, tick: u32) {
        self.last = self.last.max(tick);
        self.sequence = sequence;
    }
}

/// What the numbers of a log's series and groups mean.
#[derive(Debug, Clone, Default)]
pub(super) struct LogNames {
    series: Numbers<Numbered<Series>>,
    groups: Numbers<Numbered<Group>>,
}

impl LogNames {
    /// The names of entry `sequence`.
    pub(super) const fn at(&self, sequence: u64) -> At<'_> {
        At { names: self, sequence }
    }
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
    /// Sequence number of the first entry kept.
    first: u64,
    entries: VecDeque<Stored>,
    /// Running hash before `entries`.
    base_hash: LogHash,
    /// Definitions before `entries`.
    base_defined: Defined,
    defined: Defined,
    /// Shared with those who read entries elsewhere; copied when it changes meanwhile.
    names: Arc<LogNames>,
    streams: BTreeMap<u32, Numbered<u32>>,
    /// Names without room here.
    roomless: usize,
    /// Highest tick in the log so far: its own time.
    time: u32,
    /// A number not used for this long in the log's own time is given up by its author and forgotten by all.
    number_seconds: u32,
    bytes: usize,
    /// Entries 1..=durable survive a crash of this process.
    durable: u64,
    trouble: Option<Trouble>,
}

impl Log {
    pub(super) fn new(writer: WriterId, number_seconds: u32) -> Self {
        Self {
            writer,
            first: 1,
            entries: VecDeque::new(),
            base_hash: *writer.as_bytes(),
            base_defined: Defined::NONE,
            defined: Defined::NONE,
            names: Arc::default(),
            streams: BTreeMap::new(),
            roomless: 0,
            time: 0,
            number_seconds,
            bytes: 0,
            durable: 0,
            trouble: None,
        }
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

    /// Streams with a number.
    pub(super) fn streams_len(&self) -> usize {
        self.streams.len()
    }

    /// Streams with a number, by this process's numbers.
    pub(super) fn streams(&self) -> impl Iterator<Item = u32> {
        self.streams.values().map(|numbered| numbered.name)
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

    /// Running hash after the last entry.
    pub(super) fn hash(&self) -> LogHash {
        self.entries.back().map_or(self.base_hash, |entry| entry.hash)
    }

    /// The next numbers.
    pub(super) const fn defined(&self) -> Defined {
        self.defined
    }

    /// The stream behind a number, in this process's table.
    pub(super) fn stream(&self, number: u32) -> Option<u32> {
        self.streams.get(&number).map(|numbered| numbered.name)
    }

    fn is_old<T>(&self, numbered: &Numbered<T>) -> bool {
        numbered.last.saturating_add(self.number_seconds) < self.time
    }

    /// True when the author has given this number up: it was not used for long in the log's own time.
    pub(super) fn gave_stream_up(&self, number: u32) -> bool {
        self.streams.get(&number).is_none_or(|numbered| self.is_old(numbered))
    }

    /// As [`Log::gave_stream_up`].
    pub(super) fn gave_series_up(&self, number: u32) -> bool {
        self.names.series.get(&number).is_none_or(|numbered| self.is_old(numbered))
    }

    /// As [`Log::gave_stream_up`].
    pub(super) fn gave_group_up(&self, number: u32) -> bool {
        self.names.groups.get(&number).is_none_or(|numbered| self.is_old(numbered))
    }

    /// Whether an entry may follow: by the entry, by this log, and by room for streams. Changes nothing.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(super) fn check(&self, new: &NewNames, body: &Body, streams: &StreamTable) -> Result<(), String> {
        self.check_new(new, streams)?;
        let defined = |number: u32| self.streams.contains_key(&number) || new.streams.iter().any(|s| s.0 == number);
        let next_series = new.series.last().map_or(self.defined.series, |(number, _)| number + 1);
        let next_group = new.groups.last().map_or(self.defined.groups, |(number, _)| number + 1);
        let known = |sums: &NumberedSums| {
            let unknown = sums.cells().iter().find(|cell| cell.group >= next_group || cell.series >= next_series);
            unknown
                .map_or(Ok(()), |cell| Err(format!("series {} of group {} was never defined", cell.series, cell.group)))
        };
        match body {
            Body::Merge { coverage, sums, .. } => {
                let unknown = coverage.iter().find(|&number| !defined(number));
                unknown.map_or(Ok(()), |number| Err(format!("the coverage names stream {number}, never defined")))?;
                known(sums)
            }
            Body::Raw { stream, sums, .. } => {
                if !defined(*stream) {
                    return Err(format!("stream {stream} was never defined"));
                }
                known(sums)
            }
            Body::End { stream, .. } if !defined(*stream) => Err(format!("stream {stream} was never defined")),
            Body::End { .. } | Body::Other => Ok(()),
        }
    }

    /// Numbers ascend, and no definition stands twice.
    fn check_new(&self, new: &NewNames, streams: &StreamTable) -> Result<(), String> {
        ascending("series", self.defined.series, new.series.iter().map(|(number, _)| *number))?;
        ascending("group", self.defined.groups, new.groups.iter().map(|(number, _)| *number))?;
        ascending("stream", self.defined.streams, new.streams.iter().map(|(number, ..)| *number))?;
        streams.room_for(new.streams.iter().map(|(_, node, id)| (node, *id)))
    }

    /// Takes checked definitions, for the entry after the last. Without `names` there is room for every name.
    pub(super) fn define(&mut self, new: &NewNames, names: Option<&mut Names>, streams: &mut StreamTable, tick: u32) {
        let sequence = self.length() + 1;
        let mut names = names;
        let own = Arc::make_mut(&mut self.names);
        for (number, series) in &new.series {
            self.defined.series = number + 1;
            if own.series.len() < LOG_SERIES_MAX {
                let shared = names.as_mut().map_or_else(|| Some(series.clone()), |names| names.take_series(series));
                let room_from = if shared.is_some() { sequence } else { u64::MAX };
                self.roomless += usize::from(shared.is_none());
                let name = shared.unwrap_or_else(|| series.clone());
                own.series.insert(*number, Numbered { name, room_from, last: tick, sequence });
            }
        }
        for (number, group) in &new.groups {
            self.defined.groups = number + 1;
            if own.groups.len() < LOG_GROUPS_MAX {
                let shared = names.as_mut().map_or_else(|| Some(group.clone()), |names| names.take_group(group));
                let room_from = if shared.is_some() { sequence } else { u64::MAX };
                self.roomless += usize::from(shared.is_none());
                let name = shared.unwrap_or_else(|| group.clone());
                own.groups.insert(*number, Numbered { name, room_from, last: tick, sequence });
            }
        }
        for (number, node, id) in &new.streams {
            self.defined.streams = number + 1;
            // Room was asked for.
            if let Some(stream) = streams.intern(node, *id) {
                self.streams.insert(*number, Numbered { name: stream, room_from: sequence, last: tick, sequence });
            }
        }
    }

    /// Holds a checked entry whose definitions were taken, and notes which numbers it uses.
    pub(super) fn push(&mut self, now_ms: u64, entry: &DecodedEntry) {
        let (sequence, tick) = (self.length() + 1, entry.body.tick());
        match &entry.body {
            Body::Merge { coverage, sums, .. } => {
                coverage.iter().for_each(|number| self.use_stream(number, sequence, tick));
                self.use_names(sums, sequence, tick);
            }
            Body::Raw { stream, sums, .. } => {
                self.use_stream(*stream, sequence, tick);
                self.use_names(sums, sequence, tick);
            }
            Body::End { stream, .. } => self.use_stream(*stream, sequence, tick),
            Body::Other => {}
        }
        self.bytes += entry.payload.len();
        self.time = self.time.max(tick);
        let (payload, hash) = (entry.payload.clone(), entry.hash);
        self.entries.push_back(Stored { payload, hash, tick, since_ms: now_ms, defined: self.defined });
    }

    fn use_stream(&mut self, number: u32, sequence: u64, tick: u32) {
        if let Some(numbered) = self.streams.get_mut(&number) {
            numbered.used(sequence, tick);
        }
    }

    fn use_names(&mut self, sums: &NumberedSums, sequence: u64, tick: u32) {
        let names = Arc::make_mut(&mut self.names);
        for cells in sums.cells().chunk_by(|a, b| a.group == b.group) {
            if let Some(numbered) = names.groups.get_mut(&cells[0].group) {
                numbered.used(sequence, tick);
            }
            for cell in cells {
                if let Some(numbered) = names.series.get_mut(&cell.series) {
                    numbered.used(sequence, tick);
                }
            }
        }
    }

    /// The streams of a coverage, by this process's numbers.
    pub(super) fn streams_of(&self, coverage: &RoaringBitmap) -> RoaringBitmap {
        coverage.iter().filter_map(|number| self.stream(number)).collect()
    }

    /// What its numbers mean here.
    pub(super) const fn names(&self) -> &Arc<LogNames> {
        &self.names
    }

    /// What the numbers of entry `sequence` mean here.
    pub(super) fn at(&self, sequence: u64) -> At<'_> {
        self.names.at(sequence)
    }

    /// The definitions before the first entry kept, for someone who lacks the pruned start.
    pub(super) fn base_definitions(&self, streams: &StreamTable) -> NewNames {
        let base = self.base_defined;
        let mut new = NewNames::default();
        for (&number, numbered) in self.streams.range(..base.streams) {
            if let Some((node, id)) = streams.identity(numbered.name) {
                new.streams.push((number, node.clone(), id));
            }
        }
        new.series = below(&self.names.series, base.series);
        new.groups = below(&self.names.groups, base.groups);
        new
    }

    /// Starts over, empty, after entry `first - 1`. The caller has checked that nothing held is still shown.
    pub(super) fn restart(&mut self, first: u64, base_hash: LogHash, names: &mut Names) {
        self.release(names);
        let (number_seconds, trouble) = (self.number_seconds, self.trouble.take());
        *self = Self { first, base_hash, trouble, durable: first - 1, ..Self::new(self.writer, number_seconds) };
    }

    /// The definitions taken so far are those before the first entry.
    pub(super) fn restarted(&mut self) {
        self.base_defined = self.defined;
    }

    /// Gives all its names back.
    pub(super) fn release(&mut self, names: &mut Names) {
        for numbered in self.names.series.values().filter(|numbered| numbered.room_from != u64::MAX) {
            names.give_series(&numbered.name);
        }
        for numbered in self.names.groups.values().filter(|numbered| numbered.room_from != u64::MAX) {
            names.give_group(&numbered.name);
        }
        self.names = Arc::default();
        self.roomless = 0;
    }

    /// True when every entry kept is for a tick before `floor`.
    pub(super) fn is_expired(&self, floor: u32) -> bool {
        self.entries.iter().all(|entry| entry.tick < floor)
    }

    /// Drops the longest prefix of entries for ticks before `floor`, and numbers given up. Returns entries dropped.
    pub(super) fn prune(&mut self, floor: u32, mut names: Option<&mut Names>) -> usize {
        let mut dropped = 0;
        while let Some(entry) = self.entries.pop_front_if(|entry| entry.tick < floor) {
            self.first += 1;
            self.base_hash = entry.hash;
            self.base_defined = entry.defined;
            self.bytes -= entry.payload.len();
            dropped += 1;
        }
        // What is pruned needs no store any more.
        self.durable = self.durable.max(self.first - 1);
        // A number that a kept entry uses is still needed to read that entry, here and by those it is handed to.
        let (first, time, seconds) = (self.first, self.time, self.number_seconds);
        let kept = |sequence: u64, last: u32| sequence >= first || last.saturating_add(seconds) >= time;
        self.streams.retain(|_, numbered| kept(numbered.sequence, numbered.last));
        let roomless = &mut self.roomless;
        let own = Arc::make_mut(&mut self.names);
        own.series.retain(|_, numbered| {
            let stays = kept(numbered.sequence, numbered.last);
            match &mut names {
                _ if stays => {}
                Some(names) if numbered.room_from != u64::MAX => names.give_series(&numbered.name),
                Some(_) => *roomless -= 1,
                None => {}
            }
            stays
        });
        own.groups.retain(|_, numbered| {
            let stays = kept(numbered.sequence, numbered.last);
            match &mut names {
                _ if stays => {}
                Some(names) if numbered.room_from != u64::MAX => names.give_group(&numbered.name),
                Some(_) => *roomless -= 1,
                None => {}
            }
            stays
        });
        if let Some(names) = names {
            self.find_room(names);
        }
        dropped
    }

    /// Names that found no room may find it now, for the entries that are still to come.
    fn find_room(&mut self, names: &mut Names) {
        if self.roomless == 0 {
            return;
        }
        let from = self.length() + 1;
        let own = Arc::make_mut(&mut self.names);
        for numbered in own.series.values_mut().filter(|numbered| numbered.room_from == u64::MAX) {
            let Some(shared) = names.take_series(&numbered.name) else { break };
            (numbered.name, numbered.room_from) = (shared, from);
            self.roomless -= 1;
        }
        for numbered in own.groups.values_mut().filter(|numbered| numbered.room_from == u64::MAX) {
            let Some(shared) = names.take_group(&numbered.name) else { break };
            (numbered.name, numbered.room_from) = (shared, from);
            self.roomless -= 1;
        }
    }
}

fn ascending(what: &str, mut next: u32, numbers: impl Iterator<Item = u32>) -> Result<(), String> {
    for number in numbers {
        if number < next || number == u32::MAX {
            return Err(format!("{what} number {number} out of order"));
        }
        next = number + 1;
    }
    Ok(())
}

fn below<T: Clone>(numbers: &Numbers<Numbered<T>>, end: u32) -> Vec<(u32, T)> {
    let below = numbers.iter().filter(|(number, _)| **number < end);
    let mut all: Vec<_> = below.map(|(&number, numbered)| (number, numbered.name.clone())).collect();
    all.sort_unstable_by_key(|(number, _)| *number);
    all
}

/// The names of one entry.
#[derive(Debug, Clone, Copy)]
pub(super) struct At<'a> {
    names: &'a LogNames,
    sequence: u64,
}

impl Definitions for At<'_> {
    fn series(&self, number: u32) -> Option<&Series> {
        self.names.series.get(&number).filter(|numbered| numbered.room_from <= self.sequence).map(|known| &known.name)
    }

    fn group(&self, number: u32) -> Option<&Group> {
        if number == 0 {
            return Some(cluster());
        }
        self.names.groups.get(&number).filter(|numbered| numbered.room_from <= self.sequence).map(|known| &known.name)
    }
}

fn cluster() -> &'static Group {
    static CLUSTER: std::sync::LazyLock<Group> = std::sync::LazyLock::new(Group::cluster);
    &CLUSTER
}
