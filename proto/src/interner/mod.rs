//! One number and one allocation per series in the whole process.
//!
//! Whoever keeps a series by its number also keeps the [`Interned`] it belongs to; a number is given to another series
//! only after the last one of those is gone, by [`Interner::sweep`]. So names that are not in use are forgotten.

mod layout;

use std::{
    collections::HashMap,
    fmt,
    ops::Deref,
    sync::{Arc, PoisonError, RwLock},
};

pub use self::layout::{Facts, Layout};
use crate::{
    catalogue::{self, Kind, SectionSet},
    series::Series,
};

/// Series interned at one time. A further one is refused: its values are skipped and counted by whoever asked.
/// About 200 bytes each.
pub const INTERNED_MAX: usize = 1 << 20;

/// Dense number of a series in this process: an index for arrays. Never leaves the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesId(u32);

impl SeriesId {
    /// The number as an index.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A series with its number. Cheap to clone; equal exactly when the series are, within one interner.
#[derive(Clone)]
pub struct Interned(Arc<Entry>);

struct Entry {
    id: SeriesId,
    series: Series,
    distribution: bool,
    sections: SectionSet,
}

impl Interned {
    /// Its number in this process.
    #[must_use]
    pub fn id(&self) -> SeriesId {
        self.0.id
    }

    /// The series.
    #[must_use]
    pub fn series(&self) -> &Series {
        &self.0.series
    }

    /// True for a gauge whose values over nodes are kept as a histogram ([`catalogue::Metric::distribution`]).
    #[must_use]
    pub fn keeps_distribution(&self) -> bool {
        self.0.distribution
    }

    /// What a node has reported that sent it.
    #[must_use]
    pub fn sections(&self) -> SectionSet {
        self.0.sections
    }
}

impl Deref for Interned {
    type Target = Series;

    fn deref(&self) -> &Series {
        &self.0.series
    }
}

impl PartialEq for Interned {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.series == other.0.series
    }
}

impl Eq for Interned {}

impl fmt::Debug for Interned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.0.series, self.0.id.0)
    }
}

/// Turns the names that come over a connection into series of this process.
pub trait Resolve {
    /// What the values of `series` count in.
    fn resolve(&self, series: &Series) -> Resolved;

    /// The one copy of the layout of `series`, of which none stands twice.
    fn layout(&self, series: Vec<Interned>) -> Arc<Layout>;
}

/// What the values of a series count in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolved {
    /// The series itself.
    Own(Interned),
    /// One of the same kind, scale and scope that stands for many: the series is beyond a quota.
    Other(Interned),
    /// Nothing: there is no room.
    LeftOut,
}

impl Resolve for Interner {
    fn resolve(&self, series: &Series) -> Resolved {
        self.intern(series).map_or(Resolved::LeftOut, Resolved::Own)
    }

    fn layout(&self, series: Vec<Interned>) -> Arc<Layout> {
        self.layouts.of(series)
    }
}

/// The table of all series of one process. Shared; a look-up takes a read lock, a new series a write lock.
#[derive(Debug)]
pub struct Interner {
    table: RwLock<Table>,
    layouts: layout::Layouts,
    most: usize,
}

#[derive(Debug, Default)]
struct Table {
    by_series: HashMap<Series, Interned>,
    free: Vec<u32>,
    next: u32,
}

impl Default for Interner {
    fn default() -> Self {
        Self::new(INTERNED_MAX)
    }
}

impl Interner {
    /// An empty table with room for `most` series.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { table: RwLock::default(), layouts: layout::Layouts::default(), most }
    }

    /// The one copy of `series` if it is in the table.
    #[must_use]
    pub fn get(&self, series: &Series) -> Option<Interned> {
        self.table.read().unwrap_or_else(PoisonError::into_inner).by_series.get(series).cloned()
    }

    /// The one copy of `series`; `None` when the table is full.
    #[must_use]
    pub fn intern(&self, series: &Series) -> Option<Interned> {
        if let Some(known) = self.get(series) {
            return Some(known);
        }
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = table.by_series.get(series) {
            return Some(known.clone());
        }
        if table.by_series.len() >= self.most {
            return None;
        }
        let number = table.free.pop().unwrap_or_else(|| {
            table.next += 1;
            table.next - 1
        });
        let metric = catalogue::find(series.name()).filter(|metric| metric.kind == series.kind());
        let distribution = series.kind() == Kind::Gauge && metric.is_some_and(|metric| metric.distribution);
        let sections = metric.map_or(SectionSet::NONE, SectionSet::of_metric);
        let entry = Entry { id: SeriesId(number), series: series.clone(), distribution, sections };
        let interned = Interned(Arc::new(entry));
        table.by_series.insert(series.clone(), interned.clone());
        Some(interned)
    }

    /// Forgets series that are not held elsewhere. Returns how many. Once a minute is right: it walks the whole table.
    pub fn sweep(&self) -> usize {
        self.layouts.sweep();
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let Table { by_series, free, .. } = &mut *table;
        let before = by_series.len();
        // Under the write lock no further copy can be taken: a count of one stays one.
        by_series.retain(|_, interned| {
            let used = Arc::strong_count(&interned.0) > 1;
            if !used {
                free.push(interned.0.id.0);
            }
            used
        });
        before - by_series.len()
    }

    /// Series in the table.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.read().unwrap_or_else(PoisonError::into_inner).by_series.len()
    }

    /// True without series.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Scope;

    fn named(value: &str) -> Series {
        Series::of(&catalogue::REQUESTS, &[("protocol", value)])
    }

    #[test]
    fn one_series_is_one_number() {
        let interner = Interner::new(2);
        let (a, b) = (interner.intern(&named("a")).unwrap(), interner.intern(&named("b")).unwrap());
        assert_ne!(a.id(), b.id());
        assert_eq!(interner.intern(&named("a")).unwrap().id(), a.id());
        assert!(interner.intern(&named("c")).is_none(), "the table is bounded");
        assert!(interner.get(&named("c")).is_none() && interner.get(&named("b")) == Some(b));
    }

    #[test]
    fn what_is_held_nowhere_is_forgotten_and_its_number_used_again() {
        let interner = Interner::new(2);
        let a = interner.intern(&named("a")).unwrap();
        let gone = interner.intern(&named("b")).unwrap().id();
        assert_eq!(interner.sweep(), 1);
        assert_eq!(interner.len(), 1);
        let c = interner.intern(&named("c")).unwrap();
        assert_eq!(c.id(), gone);
        assert_ne!(a.id(), c.id());
    }

    #[test]
    fn one_list_of_series_is_one_layout_while_it_is_held() {
        let interner = Interner::default();
        let [a, b] = ["a", "b"].map(|value| interner.intern(&named(value)).unwrap());
        let both = interner.layout(vec![a.clone(), b.clone()]);
        assert!(Arc::ptr_eq(&both, &interner.layout(vec![a.clone(), b.clone()])));
        assert_eq!(interner.layout(vec![b.clone(), a.clone()]).series(), [b, a.clone()]);
        let (kind, scope, sections) = (Kind::Counter, Scope::Cluster, a.sections());
        assert_eq!(both.facts()[0], Facts { id: a.id(), kind, scope, distribution: false, sections });
        drop((both, a));
        assert_eq!((interner.sweep(), interner.layouts.len(), interner.len()), (2, 0, 0));
    }
}
