//! What the numbers of one log mean: series and groups by name, streams by this process's numbers. Which numbers may be
//! used follows from the log alone; for which names there is room here does not.

use std::sync::Arc;

use roaring::RoaringBitmap;
use starling_proto::{group::Group, ids::NodeId, series::Series};

use super::{
    decode::{Body, NewNames},
    limits::{LOG_GROUPS_MAX, LOG_SERIES_MAX},
    names::{Name, Names, Numbers},
    streams::StreamTable,
};
use crate::rollup::{Definitions, NumberedSums};

/// The next numbers of a log: every number below was defined at some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Defined {
    pub(super) series: u32,
    pub(super) groups: u32,
    pub(super) streams: u32,
}

impl Defined {
    /// Group 0 is the whole cluster.
    pub(super) const NONE: Self = Self { series: 0, groups: 1, streams: 0 };
}

/// Before no entry of any log.
const NO_ROOM: u64 = u64::MAX;

/// A number of this log and what it means.
#[derive(Debug, Clone)]
struct Numbered<T> {
    name: T,
    /// Entries from this one on find room for the name here; [`NO_ROOM`] while there is none.
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

/// Numbers whose meaning is a name of [`Names`].
#[derive(Debug, Clone)]
struct Named<T>(Numbers<Numbered<T>>);

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self(Numbers::default())
    }
}

impl<T: Name> Named<T> {
    /// Defines a number for entry `sequence`, unless `most` are held. Without `names` there is room for every name.
    /// Returns false when there is none.
    fn define(&mut self, most: usize, number: u32, name: &T, at: (u64, u32), names: Option<&mut Names>) -> bool {
        if self.0.len() >= most {
            return true;
        }
        let (sequence, tick) = at;
        let shared = names.map_or_else(|| Some(name.clone()), |names| name.take(names));
        let found = shared.is_some();
        let room_from = if found { sequence } else { NO_ROOM };
        let name = shared.unwrap_or_else(|| name.clone());
        self.0.insert(number, Numbered { name, room_from, last: tick, sequence });
        found
    }

    /// Forgets the numbers that are not `kept`, by the last entry that used them and its tick. Returns how many of them
    /// had no room.
    fn forget(&mut self, kept: impl Fn(u64, u32) -> bool, mut names: Option<&mut Names>) -> usize {
        let mut roomless = 0;
        self.0.retain(|_, numbered| {
            let stays = kept(numbered.sequence, numbered.last);
            match &mut names {
                _ if stays => {}
                Some(names) if numbered.room_from != NO_ROOM => numbered.name.give(names),
                Some(_) => roomless += 1,
                None => {}
            }
            stays
        });
        roomless
    }

    /// Names that found no room may find it now, for entries from `from` on. Returns how many did.
    fn find_room(&mut self, from: u64, names: &mut Names) -> usize {
        let mut found = 0;
        for numbered in self.0.values_mut().filter(|numbered| numbered.room_from == NO_ROOM) {
            let Some(shared) = numbered.name.take(names) else { break };
            (numbered.name, numbered.room_from) = (shared, from);
            found += 1;
        }
        found
    }

    /// Gives all names back.
    fn release(&self, names: &mut Names) {
        let with_room = self.0.values().filter(|numbered| numbered.room_from != NO_ROOM);
        with_room.for_each(|numbered| numbered.name.give(names));
    }

    /// The name of a number for the entry at `sequence`; `None` without room.
    fn at(&self, number: u32, sequence: u64) -> Option<&T> {
        self.0.get(&number).filter(|numbered| numbered.room_from <= sequence).map(|known| &known.name)
    }

    /// The numbers before `end` with their names, ascending.
    fn below(&self, end: u32) -> Vec<(u32, T)> {
        let below = self.0.iter().filter(|(number, _)| **number < end);
        let mut all: Vec<_> = below.map(|(&number, numbered)| (number, numbered.name.clone())).collect();
        all.sort_unstable_by_key(|(number, _)| *number);
        all
    }
}

/// What the numbers of a log's series and groups mean.
#[derive(Debug, Clone, Default)]
pub(super) struct LogNames {
    series: Named<Series>,
    groups: Named<Group>,
    /// Of streams.
    nodes: Numbers<NodeId>,
}

impl LogNames {
    /// The names of entry `sequence`.
    pub(super) const fn at(&self, sequence: u64) -> At<'_> {
        At { names: self, sequence }
    }
}

/// The numbers of one log.
#[derive(Debug)]
pub(super) struct Numbering {
    defined: Defined,
    /// Shared with those who read entries elsewhere; copied when it changes meanwhile.
    names: Arc<LogNames>,
    streams: Numbers<Numbered<u32>>,
    /// Names without room here.
    roomless: usize,
    /// Highest tick in the log so far: its own time.
    time: u32,
    /// A number not used for this long in the log's own time is given up by its author and forgotten by all.
    number_seconds: u32,
}

impl Numbering {
    /// No number is defined.
    pub(super) fn new(number_seconds: u32) -> Self {
        Self {
            defined: Defined::NONE,
            names: Arc::default(),
            streams: Numbers::default(),
            roomless: 0,
            time: 0,
            number_seconds,
        }
    }

    /// Streams with a number.
    pub(super) fn streams_len(&self) -> usize {
        self.streams.len()
    }

    /// Streams with a number, by this process's numbers.
    pub(super) fn streams(&self) -> impl Iterator<Item = u32> {
        self.streams.values().map(|numbered| numbered.name)
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

    /// As [`Numbering::gave_stream_up`].
    pub(super) fn gave_series_up(&self, number: u32) -> bool {
        self.names.series.0.get(&number).is_none_or(|numbered| self.is_old(numbered))
    }

    /// As [`Numbering::gave_stream_up`].
    pub(super) fn gave_group_up(&self, number: u32) -> bool {
        self.names.groups.0.get(&number).is_none_or(|numbered| self.is_old(numbered))
    }

    /// Whether an entry may follow: by the entry, by the numbers of its log, and by room for streams. Changes nothing.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(super) fn check(&self, new: &NewNames, body: &Body, streams: &StreamTable) -> Result<(), String> {
        self.check_new(new, streams)?;
        // Ascending, as was just checked: after a failover thousands are new at once.
        let is_new = |number: u32| new.streams.binary_search_by_key(&number, |(number, ..)| *number).is_ok();
        let defined = |number: u32| self.streams.contains_key(&number) || is_new(number);
        let next_series = new.series.last().map_or(self.defined.series, |(number, _)| number + 1);
        let next_group = new.groups.last().map_or(self.defined.groups, |(number, _)| number + 1);
        let known = |sums: &NumberedSums| {
            let unknown = sums.cells().iter().find(|cell| cell.group >= next_group || cell.series >= next_series);
            if let Some(row) = sums.census().iter().find(|row| row.group >= next_group) {
                return Err(format!("group {} was never defined", row.group));
            }
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
            Body::Roster { streams } => {
                let unknown = streams.iter().find(|known| !defined(known.stream));
                unknown.map_or(Ok(()), |known| Err(format!("the roster names stream {}, never defined", known.stream)))
            }
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

    /// Takes checked definitions, for entry `sequence`. Without `names` there is room for every name.
    pub(super) fn define(
        &mut self,
        sequence: u64,
        new: &NewNames,
        mut names: Option<&mut Names>,
        streams: &mut StreamTable,
        tick: u32,
    ) {
        let own = Arc::make_mut(&mut self.names);
        let at = (sequence, tick);
        for (number, series) in &new.series {
            self.defined.series = number + 1;
            let found = own.series.define(LOG_SERIES_MAX, *number, series, at, names.as_deref_mut());
            self.roomless += usize::from(!found);
        }
        for (number, group) in &new.groups {
            self.defined.groups = number + 1;
            let found = own.groups.define(LOG_GROUPS_MAX, *number, group, at, names.as_deref_mut());
            self.roomless += usize::from(!found);
        }
        for (number, node, id) in &new.streams {
            self.defined.streams = number + 1;
            // Room was asked for.
            if let Some(stream) = streams.intern(node, *id) {
                self.streams.insert(*number, Numbered { name: stream, room_from: sequence, last: tick, sequence });
                own.nodes.insert(*number, node.clone());
            }
        }
    }

    /// Entry `sequence` of this log uses the numbers in `body`.
    pub(super) fn used(&mut self, sequence: u64, body: &Body) {
        let tick = body.tick();
        match body {
            Body::Merge { coverage, sums, .. } => {
                coverage.iter().for_each(|number| self.use_stream(number, sequence, tick));
                self.use_names(sums, sequence, tick);
            }
            Body::Raw { stream, sums, .. } => {
                self.use_stream(*stream, sequence, tick);
                self.use_names(sums, sequence, tick);
            }
            Body::End { stream, .. } => self.use_stream(*stream, sequence, tick),
            Body::Roster { streams } => {
                streams.iter().for_each(|known| self.use_stream(known.stream, sequence, tick));
            }
            Body::Other => {}
        }
        self.time = self.time.max(tick);
    }

    fn use_stream(&mut self, number: u32, sequence: u64, tick: u32) {
        if let Some(numbered) = self.streams.get_mut(&number) {
            numbered.used(sequence, tick);
        }
    }

    fn use_names(&mut self, sums: &NumberedSums, sequence: u64, tick: u32) {
        let names = Arc::make_mut(&mut self.names);
        for row in sums.census() {
            if let Some(numbered) = names.groups.0.get_mut(&row.group) {
                numbered.used(sequence, tick);
            }
        }
        for cells in sums.cells().chunk_by(|a, b| a.group == b.group) {
            if let Some(numbered) = names.groups.0.get_mut(&cells[0].group) {
                numbered.used(sequence, tick);
            }
            for cell in cells {
                if let Some(numbered) = names.series.0.get_mut(&cell.series) {
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

    /// What was defined of all numbers before `base`, as far as it is not forgotten.
    pub(super) fn definitions_before(&self, base: Defined, streams: &StreamTable) -> NewNames {
        let mut new = NewNames::default();
        for (&number, numbered) in self.streams.iter().filter(|&(&number, _)| number < base.streams) {
            if let Some((node, id)) = streams.identity(numbered.name) {
                new.streams.push((number, node.clone(), id));
            }
        }
        new.streams.sort_unstable_by_key(|&(number, ..)| number);
        new.series = self.names.series.below(base.series);
        new.groups = self.names.groups.below(base.groups);
        new
    }

    /// Forgets the numbers that were given up and that no entry from `first` on uses. Names that found no room may find
    /// it now, for the entries from `next` on.
    pub(super) fn forget(&mut self, first: u64, next: u64, mut names: Option<&mut Names>) {
        // A number that a kept entry uses is still needed to read that entry, here and by those it is handed to.
        let (time, seconds) = (self.time, self.number_seconds);
        let kept = |sequence: u64, last: u32| sequence >= first || last.saturating_add(seconds) >= time;
        let own = Arc::make_mut(&mut self.names);
        self.streams.retain(|number, numbered| {
            let stays = kept(numbered.sequence, numbered.last);
            if !stays {
                own.nodes.remove(number);
            }
            stays
        });
        self.roomless -= own.series.forget(kept, names.as_deref_mut()) + own.groups.forget(kept, names.as_deref_mut());
        if let Some(names) = names {
            self.find_room(next, names);
        }
    }

    /// Names that found no room may find it now, for the entries that are still to come.
    fn find_room(&mut self, from: u64, names: &mut Names) {
        if self.roomless == 0 {
            return;
        }
        let own = Arc::make_mut(&mut self.names);
        self.roomless -= own.series.find_room(from, names) + own.groups.find_room(from, names);
    }

    /// Gives all names back, and begins again without any number.
    #[must_use]
    pub(super) fn restart(&mut self, names: &mut Names) -> Self {
        self.release(names);
        Self::new(self.number_seconds)
    }

    /// Gives all its names back.
    pub(super) fn release(&mut self, names: &mut Names) {
        self.names.series.release(names);
        self.names.groups.release(names);
        self.names = Arc::default();
        self.roomless = 0;
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

/// The names of one entry.
#[derive(Debug, Clone, Copy)]
pub(super) struct At<'a> {
    names: &'a LogNames,
    sequence: u64,
}

impl Definitions for At<'_> {
    fn series(&self, number: u32) -> Option<&Series> {
        self.names.series.at(number, self.sequence)
    }

    fn group(&self, number: u32) -> Option<&Group> {
        if number == 0 {
            return Some(cluster());
        }
        self.names.groups.at(number, self.sequence)
    }

    fn node(&self, stream: u32) -> Option<&NodeId> {
        self.names.nodes.get(&stream)
    }
}

fn cluster() -> &'static Group {
    static CLUSTER: std::sync::LazyLock<Group> = std::sync::LazyLock::new(Group::cluster);
    &CLUSTER
}
