//! Dense numbers for series and groups.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

use starling_proto::group::Group;
use starling_proto::series::Series;

use super::codec::{Definitions, Numbering};

/// A series carries its hash: nothing is left to compute.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Carried(u64);

impl Hasher for Carried {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

type SeriesMap = HashMap<Series, u32, BuildHasherDefault<Carried>>;

/// Numbers handed out to series and groups, never taken back. Group 0 is the whole cluster.
#[derive(Debug, Clone)]
pub struct Names {
    series: Vec<Series>,
    series_numbers: SeriesMap,
    groups: Vec<Group>,
    group_numbers: HashMap<Group, u32>,
    series_max: usize,
    groups_max: usize,
}

impl Names {
    /// Number of the whole cluster.
    pub const CLUSTER: u32 = 0;

    /// Room for so many series and groups.
    #[must_use]
    pub fn new(series_max: usize, groups_max: usize) -> Self {
        Self {
            series: Vec::new(),
            series_numbers: SeriesMap::default(),
            groups: vec![Group::cluster()],
            group_numbers: HashMap::from([(Group::cluster(), Self::CLUSTER)]),
            series_max,
            groups_max,
        }
    }

    /// Number of a series, a new one if need be; `None` when full, or when an attribute's key holds a '=' and so
    /// could not be told from its value in a definition.
    pub fn intern_series(&mut self, series: &Series) -> Option<u32> {
        if let Some(&number) = self.series_numbers.get(series) {
            return Some(number);
        }
        if self.series.len() >= self.series_max || series.attributes().iter().any(|(key, _)| key.contains('=')) {
            return None;
        }
        let number = self.series.len() as u32;
        self.series.push(series.clone());
        self.series_numbers.insert(series.clone(), number);
        Some(number)
    }

    /// Number of a group, a new one if need be; `None` when full.
    pub fn intern_group(&mut self, group: &Group) -> Option<u32> {
        if let Some(&number) = self.group_numbers.get(group) {
            return Some(number);
        }
        if self.groups.len() > self.groups_max {
            return None;
        }
        let number = self.groups.len() as u32;
        self.groups.push(group.clone());
        self.group_numbers.insert(group.clone(), number);
        Some(number)
    }

    /// Numbers handed out to series: 0 to this.
    #[must_use]
    pub fn series_len(&self) -> usize {
        self.series.len()
    }

    /// Numbers handed out to groups, the whole cluster included.
    #[must_use]
    pub fn groups_len(&self) -> usize {
        self.groups.len()
    }

    /// The series with this number.
    #[must_use]
    pub fn series(&self, number: u32) -> Option<&Series> {
        self.series.get(number as usize)
    }

    /// The group with this number.
    #[must_use]
    pub fn group(&self, number: u32) -> Option<&Group> {
        self.groups.get(number as usize)
    }
}

impl Numbering for Names {
    fn series_number(&self, series: &Series) -> Option<u32> {
        self.series_numbers.get(series).copied()
    }

    fn group_number(&self, group: &Group) -> Option<u32> {
        self.group_numbers.get(group).copied()
    }
}

impl Definitions for Names {
    fn series(&self, number: u32) -> Option<&Series> {
        Self::series(self, number)
    }

    fn group(&self, number: u32) -> Option<&Group> {
        Self::group(self, number)
    }
}
