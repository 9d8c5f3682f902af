//! The names that the logs of others use: one copy of each, bounded, forgotten with its last use.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    sync::Arc,
};

use starling_proto::{
    group::Group,
    interner::{Interned, Interner},
    series::Series,
};

/// A series carries its hash: nothing is left to compute.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Carried(u64);

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

/// Spreads small numbers (Fibonacci hashing).
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u32(u32::from(byte)));
    }

    fn write_u32(&mut self, number: u32) {
        self.0 = (self.0 ^ u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// A map by number.
pub(super) type Numbers<T> = HashMap<u32, T, BuildHasherDefault<Spread>>;

/// See the module. A name that finds no room here is left out of the sums and counted; nothing else depends on it.
#[derive(Debug)]
pub(super) struct Names {
    interner: Arc<Interner>,
    series: HashMap<Series, (Interned, u32), BuildHasherDefault<Carried>>,
    groups: HashMap<Group, u32>,
    series_max: usize,
    groups_max: usize,
}

impl Names {
    pub(super) fn new(interner: Arc<Interner>, series_max: usize, groups_max: usize) -> Self {
        Self { interner, series: HashMap::default(), groups: HashMap::new(), series_max, groups_max }
    }

    /// One more use of a series; `None` without room. Gives the one copy that everybody shares.
    pub(super) fn take_series(&mut self, series: &Series) -> Option<Series> {
        if let Some((interned, uses)) = self.series.get_mut(series) {
            *uses += 1;
            return Some(interned.series().clone());
        }
        if self.series.len() >= self.series_max {
            return None;
        }
        let interned = self.interner.intern(series)?;
        let shared = interned.series().clone();
        self.series.insert(shared.clone(), (interned, 1));
        Some(shared)
    }

    /// Whether a series has or could get a place.
    pub(super) fn has_room(&self, series: &Series) -> bool {
        self.series.contains_key(series) || self.series.len() < self.series_max
    }

    /// One use less.
    pub(super) fn give_series(&mut self, series: &Series) {
        if let Some((_, uses)) = self.series.get_mut(series) {
            *uses -= 1;
            if *uses == 0 {
                self.series.remove(series);
            }
        }
    }

    /// One more use of a group; `None` without room.
    pub(super) fn take_group(&mut self, group: &Group) -> Option<Group> {
        if let Some((known, _)) = self.groups.get_key_value(group) {
            let known = known.clone();
            self.groups.entry(known.clone()).and_modify(|uses| *uses += 1);
            return Some(known);
        }
        if self.groups.len() >= self.groups_max {
            return None;
        }
        self.groups.insert(group.clone(), 1);
        Some(group.clone())
    }

    /// One use less.
    pub(super) fn give_group(&mut self, group: &Group) {
        if let Some(uses) = self.groups.get_mut(group) {
            *uses -= 1;
            if *uses == 0 {
                self.groups.remove(group);
            }
        }
    }

    /// Series and groups in use.
    pub(super) fn len(&self) -> (usize, usize) {
        (self.series.len(), self.groups.len())
    }
}
