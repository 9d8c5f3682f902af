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

    /// Whether a series has or could get a place.
    pub(super) fn has_room(&self, series: &Series) -> bool {
        self.series.contains_key(series) || self.series.len() < self.series_max
    }

    /// Series and groups in use.
    pub(super) fn len(&self) -> (usize, usize) {
        (self.series.len(), self.groups.len())
    }
}

/// A series or a group, of which [`Names`] keeps one copy.
pub(super) trait Name: Clone {
    /// One more use; `None` without room. Gives the one copy that all uses share.
    fn take(&self, names: &mut Names) -> Option<Self>;
    /// One use less.
    fn give(&self, names: &mut Names);
}

impl Name for Series {
    fn take(&self, names: &mut Names) -> Option<Self> {
        if let Some((interned, uses)) = names.series.get_mut(self) {
            *uses += 1;
            return Some(interned.series().clone());
        }
        if names.series.len() >= names.series_max {
            return None;
        }
        let interned = names.interner.intern(self)?;
        let shared = interned.series().clone();
        names.series.insert(shared.clone(), (interned, 1));
        Some(shared)
    }

    fn give(&self, names: &mut Names) {
        if let Some((_, uses)) = names.series.get_mut(self) {
            *uses -= 1;
            if *uses == 0 {
                names.series.remove(self);
            }
        }
    }
}

impl Name for Group {
    fn take(&self, names: &mut Names) -> Option<Self> {
        if let Some((known, _)) = names.groups.get_key_value(self) {
            let known = known.clone();
            names.groups.entry(known.clone()).and_modify(|uses| *uses += 1);
            return Some(known);
        }
        if names.groups.len() >= names.groups_max {
            return None;
        }
        names.groups.insert(self.clone(), 1);
        Some(self.clone())
    }

    fn give(&self, names: &mut Names) {
        if let Some(uses) = names.groups.get_mut(self) {
            *uses -= 1;
            if *uses == 0 {
                names.groups.remove(self);
            }
        }
    }
}
