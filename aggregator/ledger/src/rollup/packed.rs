//! Sums at rest: a tenth of the memory.

use std::{collections::BTreeMap, sync::Arc};

use starling_proto::{group::Group, series::Series};

use super::{
    cell::Cell,
    census::Census,
    codec::{Definitions, NumberedCell, NumberedSums, decode, decode_some},
    sums::Sums,
};

/// The names of packed sums, numbered by position. Ticks of a steady cluster share one.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// Sorted; the whole cluster first, also without cells.
    groups: Vec<Group>,
    /// Sorted.
    series: Vec<Series>,
}

impl Keys {
    fn of(sums: &Sums) -> Self {
        let cluster = Group::cluster();
        let groups = std::iter::once(&cluster).chain(sums.groups().filter(|group| !group.is_cluster()));
        let mut series: Vec<Series> = sums.iter().map(|(_, series, _)| series.clone()).collect();
        series.sort_unstable();
        series.dedup();
        Self { groups: groups.cloned().collect(), series }
    }
}

impl Definitions for Keys {
    fn series(&self, number: u32) -> Option<&Series> {
        self.series.get(number as usize)
    }

    fn group(&self, number: u32) -> Option<&Group> {
        self.groups.get(number as usize)
    }
}

/// Sums by the rollup codec, with names of their own.
#[derive(Debug, Clone)]
pub struct Packed {
    keys: Arc<Keys>,
    bytes: Box<[u8]>,
    /// Small beside the sums.
    census: BTreeMap<Group, Census>,
}

impl Packed {
    /// Packs `sums`; shares the names with `like` when they are the same.
    #[must_use]
    pub fn of(sums: &Sums, like: Option<&Arc<Keys>>) -> Self {
        let keys = Keys::of(sums);
        let keys = like.filter(|like| ***like == keys).cloned().unwrap_or_else(|| Arc::new(keys));
        let mut cells = Vec::with_capacity(sums.len());
        let mut group_at = 0;
        let mut series_at = 0;
        for (group, series, cell) in sums.iter() {
            if keys.groups[group_at] != *group {
                group_at = keys.groups.partition_point(|other| other < group);
                series_at = 0;
            }
            // Both are sorted: mostly it is the next one.
            if keys.series.get(series_at) != Some(series) {
                series_at += keys.series[series_at..].partition_point(|other| other < series);
            }
            cells.push(NumberedCell { group: group_at as u32, series: series_at as u32, cell: cell.clone() });
            series_at += 1;
        }
        Self { bytes: NumberedSums::of(cells).encode().into(), keys, census: sums.censuses().clone() }
    }

    /// The names.
    #[must_use]
    pub const fn keys(&self) -> &Arc<Keys> {
        &self.keys
    }

    /// Who is behind `group`; `None` without cells of it.
    #[must_use]
    pub fn census(&self, group: &Group) -> Option<&Census> {
        self.census.get(group)
    }

    /// The cells of `group` whose series are `wanted`, sorted by series, and who is behind the group.
    #[must_use]
    pub fn unpack_some(&self, group: &Group, wanted: impl Fn(&Series) -> bool) -> (Vec<(Series, Cell)>, Census) {
        let census = self.census.get(group).cloned().unwrap_or_default();
        let number = self.keys.groups.iter().position(|other| other == group);
        let Some(number) = number else { return (Vec::new(), census) };
        let by_number = |series: u32| self.keys.series.get(series as usize);
        let cells = decode_some(&self.bytes, number as u32, |series| by_number(series).is_some_and(&wanted));
        debug_assert!(cells.is_ok(), "what this process packed it can unpack: {cells:?}");
        let cells = cells.unwrap_or_default().into_iter();
        (cells.filter_map(|(series, cell)| Some((by_number(series)?.clone(), cell))).collect(), census)
    }

    /// The sums again.
    #[must_use]
    pub fn unpack(&self) -> Sums {
        let sums = decode(&self.bytes).map(|numbered| numbered.resolve(&*self.keys));
        debug_assert!(matches!(sums, Ok((_, 0))), "what this process packed it can unpack: {sums:?}");
        sums.map(|(sums, _)| sums).unwrap_or_default().with_census(self.census.clone())
    }
}
