//! One writer's log as it is held here: entries, running hash, definitions.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use starling_proto::{
    catalogue::{Kind, Scope},
    ids::WriterId,
    series::Series,
    v1,
};
use xxhash_rust::xxh3::Xxh3Default;

use super::{
    limits::{STREAM_NUMBER_SECONDS, STREAMS_PER_LOG_MAX},
    streams::StreamTable,
};
use crate::rollup::{Definitions, Names};
use starling_proto::group::Group;

/// Running hash of a log.
pub(super) type LogHash = [u8; 16];

/// The hash after one more entry: xxh3_128(previous || payload), big-endian.
pub(super) fn next_hash(previous: &LogHash, payload: &[u8]) -> LogHash {
    let mut hasher = Xxh3Default::new();
    hasher.update(previous);
    hasher.update(payload);
    hasher.digest128().to_be_bytes()
}

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
    pub(super) defined: Defined,
}

/// How many numbers a log has defined.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Defined {
    pub(super) series: usize,
    pub(super) groups: usize,
    /// The next stream number.
    pub(super) next_stream: u32,
}

/// A stream number of this log.
#[derive(Debug, Clone, Copy)]
pub(super) struct Numbered {
    /// Number in this process's table of streams.
    pub(super) stream: u32,
    /// Highest tick of the log that used it.
    last: u32,
    /// Last entry that used it.
    sequence: u64,
}

/// A log with a single author.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) writer: WriterId,
    /// Sequence number of the first entry kept.
    first: u64,
    entries: VecDeque<Stored>,
    /// Running hash before `entries`.
    base_hash: LogHash,
    /// Definitions before `entries`.
    base_defined: Defined,
    defined: Defined,
    series: Vec<Series>,
    groups: Vec<Group>,
    numbers: BTreeMap<u32, Numbered>,
    /// Highest tick in the log so far: its own time.
    time: u32,
    pub(super) bytes: usize,
    pub(super) frozen: bool,
}

impl Log {
    pub(super) fn new(writer: WriterId) -> Self {
        Self {
            writer,
            first: 1,
            entries: VecDeque::new(),
            base_hash: *writer.as_bytes(),
            base_defined: Defined { groups: 1, ..Defined::default() },
            defined: Defined { groups: 1, ..Defined::default() },
            series: Vec::new(),
            groups: vec![Group::cluster()],
            numbers: BTreeMap::new(),
            time: 0,
            bytes: 0,
            frozen: false,
        }
    }

    /// Entries 1..=length are known.
    pub(super) fn length(&self) -> u64 {
        self.first - 1 + self.entries.len() as u64
    }

    pub(super) fn first_kept(&self) -> u64 {
        self.first
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn streams_len(&self) -> usize {
        self.numbers.len()
    }

    pub(super) fn numbers(&self) -> impl Iterator<Item = &Numbered> {
        self.numbers.values()
    }

    pub(super) fn entry(&self, sequence: u64) -> Option<&Stored> {
        self.entries.get(usize::try_from(sequence.checked_sub(self.first)?).ok()?)
    }

    /// Running hash after entry `sequence`, if it is still known.
    pub(super) fn hash_after(&self, sequence: u64) -> Option<LogHash> {
        if sequence + 1 == self.first { Some(self.base_hash) } else { self.entry(sequence).map(|entry| entry.hash) }
    }

    /// Running hash after the last entry.
    pub(super) fn hash(&self) -> LogHash {
        self.entries.back().map_or(self.base_hash, |entry| entry.hash)
    }

    /// Appends an entry whose definitions were taken.
    pub(super) fn push(&mut self, payload: Bytes, hash: LogHash, tick: u32, now_ms: u64) {
        self.bytes += payload.len();
        self.time = self.time.max(tick);
        self.entries.push_back(Stored { payload, hash, tick, since_ms: now_ms, defined: self.defined });
    }

    /// The stream behind a number, in this process's table; notes the use by the next entry, for `tick`.
    pub(super) fn stream(&mut self, number: u32, tick: u32) -> Option<u32> {
        let sequence = self.length() + 1;
        let numbered = self.numbers.get_mut(&number)?;
        numbered.last = numbered.last.max(tick);
        numbered.sequence = sequence;
        Some(numbered.stream)
    }

    /// The stream behind a number.
    pub(super) fn peek_stream(&self, number: u32) -> Option<u32> {
        self.numbers.get(&number).map(|numbered| numbered.stream)
    }

    /// True when the author has given this number up: it was not used for long in the log's own time.
    pub(super) fn is_given_up(&self, number: u32) -> bool {
        self.numbers.get(&number).is_none_or(|numbered| self.gives_up(numbered))
    }

    fn gives_up(&self, numbered: &Numbered) -> bool {
        numbered.last.saturating_add(STREAM_NUMBER_SECONDS) < self.time
    }

    /// Takes the definitions of one entry. Numbers of series and groups are dense, those of streams ascend.
    pub(super) fn define(
        &mut self,
        payload: &v1::LogPayload,
        names: &mut Names,
        streams: &mut StreamTable,
        last: u32,
    ) -> Result<(), String> {
        let sequence = self.length() + 1;
        for definition in &payload.series {
            if definition.number as usize != self.series.len() {
                return Err(format!("series number {} out of order", definition.number));
            }
            let series = series_of(definition)?;
            // One allocation per series in the whole process: comparing becomes comparing pointers.
            let number = names.intern_series(&series).ok_or("too many series")?;
            self.series.push(names.series(number).cloned().unwrap_or(series));
        }
        for definition in &payload.groups {
            if definition.number as usize != self.groups.len() || definition.name.is_empty() {
                return Err(format!("group number {} out of order", definition.number));
            }
            let group = Group::parse(&definition.name).map_err(|error| error.to_string())?;
            let number = names.intern_group(&group).ok_or("too many groups")?;
            self.groups.push(names.group(number).cloned().unwrap_or(group));
        }
        for definition in &payload.streams {
            if definition.number < self.defined.next_stream || definition.number == u32::MAX {
                return Err(format!("stream number {} out of order", definition.number));
            }
            if self.numbers.len() >= STREAMS_PER_LOG_MAX {
                return Err("too many streams".into());
            }
            let stream = streams.intern_definition(definition)?;
            self.defined.next_stream = definition.number + 1;
            self.numbers.insert(definition.number, Numbered { stream, last, sequence });
        }
        self.defined.series = self.series.len();
        self.defined.groups = self.groups.len();
        Ok(())
    }

    /// How many numbers are defined.
    pub(super) fn defined(&self) -> Defined {
        self.defined
    }

    /// The definitions before the first entry kept, for someone who lacks the pruned start.
    pub(super) fn base_definitions(&self, streams: &StreamTable) -> v1::LogPayload {
        let base = self.base_defined;
        v1::LogPayload {
            streams: self
                .numbers
                .range(..base.next_stream)
                .filter_map(|(&number, numbered)| streams.definition(number, numbered.stream))
                .collect(),
            series: self.series.iter().take(base.series).enumerate().map(series_definition).collect(),
            groups: self.groups.iter().take(base.groups).enumerate().skip(1).map(group_definition).collect(),
            body: None,
        }
    }

    /// Starts over in the middle of the log. The caller has checked that nothing held is still needed.
    pub(super) fn jump(&mut self, first: u64, base_hash: LogHash) {
        let (writer, frozen) = (self.writer, self.frozen);
        *self = Self { first, base_hash, frozen, ..Self::new(writer) };
    }

    /// The definitions taken so far are those before the first entry.
    pub(super) fn jumped(&mut self) {
        self.base_defined = self.defined;
    }

    /// True when every entry kept is for a tick before `floor`.
    pub(super) fn is_expired(&self, floor: u32) -> bool {
        self.entries.iter().all(|entry| entry.tick < floor)
    }

    /// Drops the longest prefix of entries for ticks before `floor`, and numbers given up. Returns entries dropped.
    pub(super) fn prune(&mut self, floor: u32) -> usize {
        let mut dropped = 0;
        while let Some(entry) = self.entries.pop_front_if(|entry| entry.tick < floor) {
            self.first += 1;
            self.base_hash = entry.hash;
            self.base_defined = entry.defined;
            self.bytes -= entry.payload.len();
            dropped += 1;
        }
        let mut numbers = std::mem::take(&mut self.numbers);
        // A number that a kept entry uses is still needed to read that entry, here and by those it is handed to.
        numbers.retain(|_, numbered| numbered.sequence >= self.first || !self.gives_up(numbered));
        self.numbers = numbers;
        dropped
    }
}

impl Definitions for Log {
    fn series(&self, number: u32) -> Option<&Series> {
        self.series.get(number as usize)
    }

    fn group(&self, number: u32) -> Option<&Group> {
        self.groups.get(number as usize)
    }
}

fn series_of(definition: &v1::SeriesDefinition) -> Result<Series, String> {
    let kind = v1::MetricKind::try_from(definition.kind)
        .map_err(|error| error.to_string())
        .and_then(|kind| Kind::try_from(kind).map_err(str::to_owned))?;
    let attributes: Option<Vec<_>> = definition.attributes.iter().map(|pair| pair.split_once('=')).collect();
    let attributes = attributes.ok_or("an attribute without '='")?;
    let scale = u8::try_from(definition.scale).map_err(|error| error.to_string())?;
    Series::application(&definition.name, &attributes, kind, &definition.unit, scale, Scope::Cluster)
        .map_err(|error| error.to_string())
}

/// The definition of a series with its number.
pub(super) fn series_definition((number, series): (usize, &Series)) -> v1::SeriesDefinition {
    v1::SeriesDefinition {
        number: number as u32,
        name: series.name().to_owned(),
        attributes: series.attributes().iter().map(|(key, value)| format!("{key}={value}")).collect(),
        kind: v1::MetricKind::from(series.kind()).into(),
        unit: series.unit().to_owned(),
        scale: series.scale().into(),
    }
}

/// The definition of a group with its number.
pub(super) fn group_definition((number, group): (usize, &Group)) -> v1::GroupDefinition {
    v1::GroupDefinition { number: number as u32, name: group.name().to_owned() }
}
