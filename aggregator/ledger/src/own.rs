//! The names of the own frames: dense slots for adding up, and the quota of this author.
//!
//! Here a name enters the cluster, and here it is limited. Beyond the quota an application series is added to one of
//! the same metric whose attribute values are all `_other`, a group to the group `label:_other`; what finds no place
//! there either is left out and counted.

use std::{collections::HashMap, sync::Arc};

use starling_proto::{
    catalogue::{self, Kind, Scope, Section, SectionSet},
    frame::Columns,
    group::Group,
    ids::NodeId,
    interner::{Facts, Interned, Interner, SeriesId},
    series::{OTHER, Series},
};

use super::{
    LedgerLimits,
    decode::NewNames,
    limits::{GROUPS_PER_FRAME_MAX, OTHERS_PER_FRAME_MAX},
    log::Log,
};
use crate::rollup::{
    Accumulator, Added, Cores, Definitions, NumberedCell, NumberedCensus, NumberedCore, NumberedSums, Reported,
};

/// Slot of the whole cluster.
const CLUSTER: u32 = 0;

/// A name in use by own frames.
#[derive(Debug)]
struct Slot<T> {
    name: T,
    /// Its number in the own log, once an entry used it.
    number: Option<u32>,
    /// Last time it was added to a tick, Unix seconds.
    touched: u32,
}

/// Slots of one kind of name. A slot is used again once its name is forgotten.
#[derive(Debug)]
struct Slots<T> {
    places: Vec<Option<Slot<T>>>,
    free: Vec<u32>,
}

impl<T> Slots<T> {
    const fn new() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }

    fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    fn put(&mut self, name: T, touched: u32) -> u32 {
        let slot = Some(Slot { name, number: None, touched });
        if let Some(place) = self.free.pop() {
            self.places[place as usize] = slot;
            return place;
        }
        self.places.push(slot);
        self.places.len() as u32 - 1
    }

    fn get(&self, slot: u32) -> Option<&Slot<T>> {
        self.places.get(slot as usize)?.as_ref()
    }

    fn get_mut(&mut self, slot: u32) -> Option<&mut Slot<T>> {
        self.places.get_mut(slot as usize)?.as_mut()
    }

    /// Takes the names out that were last touched before `before`.
    fn forget(&mut self, before: u32, mut gone: impl FnMut(T)) {
        for (place, slot) in self.places.iter_mut().enumerate().skip(1) {
            if slot.as_ref().is_some_and(|slot| slot.touched < before)
                && let Some(slot) = slot.take()
            {
                self.free.push(place as u32);
                gone(slot.name);
            }
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct OwnNames {
    interner: Arc<Interner>,
    /// Slot 0 is never used.
    series: Slots<Option<Interned>>,
    /// By number of the series in this process: its slot, 0 for none.
    by_id: Vec<u32>,
    groups: Slots<Group>,
    by_group: HashMap<Group, u32>,
    series_max: usize,
    groups_max: usize,
    number_seconds: u32,
    /// Scratch of one frame.
    frame: Vec<(u32, Added)>,
}

/// Of a frame: its node, the number of its stream, its busiest cores.
pub(super) type Sender<'a> = (&'a NodeId, u32, &'a Cores);

/// The values of one frame by slots, and what was left out of it.
#[derive(Debug)]
pub(super) struct Slotted {
    groups: Vec<u32>,
    values: Vec<(u32, Added)>,
    /// What the frame reports.
    sections: SectionSet,
    /// Values and groups without any place.
    pub(super) left_out: usize,
    /// Values and groups that went to a place of others.
    pub(super) others: usize,
}

impl OwnNames {
    pub(super) fn new(interner: Arc<Interner>, limits: &LedgerLimits) -> Self {
        let (mut series, mut groups) = (Slots::new(), Slots::new());
        series.put(None, u32::MAX);
        groups.put(Group::cluster(), u32::MAX);
        Self {
            interner,
            series,
            by_id: Vec::new(),
            by_group: HashMap::from([(Group::cluster(), CLUSTER)]),
            groups,
            series_max: limits.own_series,
            groups_max: limits.own_groups,
            number_seconds: limits.number_seconds,
            frame: Vec::new(),
        }
    }

    /// The series of this process.
    #[cfg(test)]
    pub(super) const fn interner(&self) -> &Arc<Interner> {
        &self.interner
    }

    /// Slots of the groups of a frame, the whole cluster first.
    fn group_slots(&mut self, now: u32, groups: &[Group]) -> (Vec<u32>, usize, usize) {
        let (mut slots, mut left_out, mut others) = (vec![CLUSTER], 0, 0);
        for group in groups.iter().filter(|group| !group.is_cluster()) {
            if slots.len() > GROUPS_PER_FRAME_MAX {
                left_out += 1;
                continue;
            }
            let mut slot = self.group_slot(now, group, self.groups_max);
            if slot.is_none()
                && let Some((label, _)) = group.label()
                && let Ok(other) = Group::of(label, OTHER)
            {
                // One more than the quota for every label: there are at most eight.
                slot = self.group_slot(now, &other, self.groups_max + GROUPS_PER_FRAME_MAX);
                others += usize::from(slot.is_some());
            }
            match slot {
                Some(slot) if !slots.contains(&slot) => slots.push(slot),
                Some(_) => {}
                None => left_out += 1,
            }
        }
        (slots, left_out, others)
    }

    fn group_slot(&mut self, now: u32, group: &Group, most: usize) -> Option<u32> {
        let slot = self.by_group.get(group).copied().or_else(|| {
            // The whole cluster does not count.
            (self.groups.len() <= most).then(|| {
                let slot = self.groups.put(group.clone(), now);
                self.by_group.insert(group.clone(), slot);
                slot
            })
        })?;
        if let Some(held) = self.groups.get_mut(slot) {
            held.touched = held.touched.max(now);
        }
        Some(slot)
    }

    fn known(&self, series: SeriesId) -> Option<u32> {
        self.by_id.get(series.index()).copied().filter(|&slot| slot != 0)
    }

    fn enter(&mut self, now: u32, series: &Interned, most: usize) -> Option<u32> {
        if let Some(slot) = self.known(series.id()) {
            return Some(slot);
        }
        // A key with '=' could not be separated from its value in a definition.
        if self.series.len() > most || series.attributes().iter().any(|(key, _)| key.contains('=')) {
            return None;
        }
        let slot = self.series.put(Some(series.clone()), now);
        let id = series.id().index();
        if self.by_id.len() <= id {
            self.by_id.resize(id + 1, 0);
        }
        self.by_id[id] = slot;
        Some(slot)
    }

    /// The series that stands for those of a metric without a place.
    fn other_of(&self, series: &Series) -> Option<Interned> {
        if series.attributes().is_empty() || catalogue::is_of_every_host(series.name()) {
            return None;
        }
        let other = series.other();
        self.interner.intern(&other)
    }

    /// Gives every value of cluster scope of a frame its slot; `None` when one is beyond the caps.
    pub(super) fn slotted(&mut self, now: u32, groups: &[Group], columns: &Columns) -> Option<Slotted> {
        let mut values = std::mem::take(&mut self.frame);
        values.clear();
        let (mut left_out, mut others) = (0, 0);
        let mut sections = SectionSet::NONE;
        let mut fresh = Vec::new();
        for (position, facts) in columns.layout.facts().iter().enumerate() {
            if facts.scope != Scope::Cluster {
                continue;
            }
            let added = added(columns, position, facts)?;
            if !added.is_within_caps() {
                return None;
            }
            sections = sections.and(match &added {
                Added::Histogram(histogram) if histogram.count() == 0 => facts.sections.without_values(),
                _ => facts.sections,
            });
            match self.known(facts.id) {
                Some(slot) => values.push((slot, added)),
                None => fresh.extend(columns.layout.series().get(position).map(|series| (series, added))),
            }
        }
        let (groups, no_group, other_groups) = self.group_slots(now, groups);
        left_out += no_group;
        others += other_groups;
        for (series, added) in fresh {
            // The catalogue has a quarter of the quota to itself: no flood of application names hides the hosts.
            let cataloged = catalogue::is_of_every_host(series.name());
            let most = if cataloged { self.series_max } else { self.series_max - self.series_max / 4 };
            if let Some(slot) = self.enter(now, series, most) {
                values.push((slot, added));
                continue;
            }
            let other = if others < OTHERS_PER_FRAME_MAX { self.other_of(series) } else { None };
            let Some(slot) = other.and_then(|other| self.enter(now, &other, self.series_max)) else {
                left_out += 1;
                continue;
            };
            let folded = match values.iter_mut().find(|(at, _)| *at == slot) {
                Some((_, value)) => value.fold(&added),
                None => {
                    values.push((slot, added));
                    true
                }
            };
            others += usize::from(folded);
            left_out += usize::from(!folded);
        }
        Some(Slotted { groups, values, sections, left_out, others })
    }

    /// Adds a frame of stream `stream` of `node` to a tick that is gathered.
    pub(super) fn add(&mut self, now: u32, frame: Slotted, (node, stream, cores): Sender<'_>, into: &mut Accumulator) {
        for (slot, _) in &frame.values {
            if let Some(held) = self.series.get_mut(*slot) {
                held.touched = held.touched.max(now);
            }
        }
        let reported = Reported { node, stream, sections: frame.sections, cores };
        into.add(&frame.groups, &frame.values, reported);
        self.frame = frame.values;
    }

    /// The sums of one frame of stream `stream`, under the slots as numbers.
    pub(super) fn one(&mut self, frame: Slotted, stream: u32, cores: &Cores) -> NumberedSums {
        let mut cells = Vec::with_capacity(frame.values.len() * frame.groups.len());
        for (series, added) in &frame.values {
            let cell = added.cell();
            for &group in &frame.groups {
                cells.push(NumberedCell { group, series: *series, cell: cell.clone() });
            }
        }
        let counts = Section::ALL.map(|section| u32::from(frame.sections.has(section)));
        let census = frame.groups.iter().map(|&group| NumberedCensus {
            group,
            frames: 1,
            counts,
            cores: cores.iter().map(|busy| NumberedCore { busy, stream }).collect(),
        });
        let census = census.collect();
        self.frame = frame.values;
        NumberedSums::of(cells).with_census(census)
    }

    /// Gives the scratch of a frame back that is not added.
    pub(super) fn skip(&mut self, frame: Slotted) {
        self.frame = frame.values;
    }

    /// The same sums under the numbers of the own log. Names without a number get the next ones, with their
    /// definitions. `streams`: the number in the log of each stream behind them, ascending.
    pub(super) fn numbered(
        &mut self,
        now: u32,
        slots: &NumberedSums,
        streams: &[(u32, u32)],
        log: &Log,
        new: &mut NewNames,
    ) -> NumberedSums {
        let mut next_series = log.numbers().defined().series;
        // The whole cluster, and the group of every frame, are among these.
        let groups: HashMap<u32, u32> = slots
            .census()
            .iter()
            .filter_map(|row| Some((row.group, self.group_number(now, row.group, log, new)?)))
            .collect();
        let number = |core: &NumberedCore| {
            let place = streams.binary_search_by_key(&core.stream, |(stream, _)| *stream).ok()?;
            Some(NumberedCore { stream: streams[place].1, ..*core })
        };
        let census = slots.census().iter().filter_map(|row| {
            let cores = row.cores.iter().filter_map(number).collect();
            Some(NumberedCensus { group: *groups.get(&row.group)?, cores, ..row.clone() })
        });
        let census = census.collect();
        let mut cells = Vec::with_capacity(slots.cells().len());
        for of_group in slots.cells().chunk_by(|a, b| a.group == b.group) {
            let Some(&group) = groups.get(&of_group[0].group) else { continue };
            for NumberedCell { series, cell, .. } in of_group {
                let Some(held) = self.series.get_mut(*series) else { continue };
                let Some(name) = &held.name else { continue };
                held.touched = held.touched.max(now);
                let kept = held.number.filter(|&number| {
                    number >= log.numbers().defined().series || !log.numbers().gave_series_up(number)
                });
                let series = kept.unwrap_or_else(|| {
                    held.number = Some(next_series);
                    new.series.push((next_series, name.series().clone()));
                    next_series += 1;
                    next_series - 1
                });
                cells.push(NumberedCell { group, series, cell: cell.clone() });
            }
        }
        debug_assert_eq!(cells.len(), slots.cells().len(), "a slot in use was given up");
        NumberedSums::of(cells).with_census(census)
    }

    /// The number of a group in the own log; a new one comes with its definition.
    fn group_number(&mut self, now: u32, slot: u32, log: &Log, new: &mut NewNames) -> Option<u32> {
        if slot == CLUSTER {
            return Some(0);
        }
        let held = self.groups.get_mut(slot)?;
        held.touched = held.touched.max(now);
        let defined = log.numbers().defined().groups;
        let kept = held.number.filter(|&number| number >= defined || !log.numbers().gave_group_up(number));
        Some(kept.unwrap_or_else(|| {
            let number = new.groups.last().map_or(defined, |(number, _)| number + 1);
            held.number = Some(number);
            new.groups.push((number, held.name.clone()));
            number
        }))
    }

    /// Forgets names that were not used for long before `now`. `gathered_since`: when the oldest tick that is still
    /// gathered was begun; its slots stay.
    pub(super) fn forget(&mut self, now: u32, gathered_since: u32) {
        let before = now.saturating_sub(self.number_seconds).min(gathered_since);
        let by_id = &mut self.by_id;
        self.series.forget(before, |name| {
            if let Some(series) = name {
                by_id[series.id().index()] = 0;
            }
        });
        let by_group = &mut self.by_group;
        self.groups.forget(before, |group| {
            by_group.remove(&group);
        });
    }

    /// Series and groups in use, without the whole cluster.
    pub(super) fn len(&self) -> (usize, usize) {
        (self.series.len() - 1, self.groups.len() - 1)
    }
}

impl Definitions for OwnNames {
    fn series(&self, slot: u32) -> Option<&Series> {
        self.series.get(slot)?.name.as_ref().map(Interned::series)
    }

    fn group(&self, slot: u32) -> Option<&Group> {
        self.groups.get(slot).map(|held| &held.name)
    }
}

/// The value at a position; `None` for a counter below zero, which no decoder gives.
fn added(columns: &Columns, position: usize, facts: &Facts) -> Option<Added> {
    let value = columns.values.get(position).copied()?;
    Some(match facts.kind {
        Kind::Counter => Added::Counter(u64::try_from(value).ok()?),
        Kind::Gauge => Added::Gauge(value, facts.distribution),
        Kind::Histogram => Added::Histogram(columns.histogram(position).cloned().unwrap_or_default()),
    })
}
