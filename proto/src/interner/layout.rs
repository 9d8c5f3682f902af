//! Lists of series, one of each in the whole process: hosts of one kind send the same series in the same order.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    sync::{Arc, Mutex, PoisonError, Weak},
};

use super::{Interned, SeriesId};
use crate::catalogue::{Kind, Scope, SectionSet};

/// What is asked of a series with every value. Beside each other in memory, where the series themselves are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Its number in this process.
    pub id: SeriesId,
    /// What its values are.
    pub kind: Kind,
    /// Whether they are added up over the cluster.
    pub scope: Scope,
    /// As [`Interned::keeps_distribution`].
    pub distribution: bool,
    /// What a node has reported that sent it.
    pub sections: SectionSet,
}

/// The series of a part of a frame by position. Shared by all seconds in which the same series are present, so that two
/// seconds with the same [`Arc`] have the same series at the same positions.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Layout {
    series: Box<[Interned]>,
    facts: Box<[Facts]>,
}

impl Layout {
    /// Of series of which none stands twice.
    #[must_use]
    pub fn of(series: Vec<Interned>) -> Self {
        let facts = series.iter().map(|one| Facts {
            id: one.id(),
            kind: one.kind(),
            scope: one.scope(),
            distribution: one.keeps_distribution(),
            sections: one.sections(),
        });
        Self { facts: facts.collect(), series: series.into() }
    }

    /// By position.
    #[must_use]
    pub const fn series(&self) -> &[Interned] {
        &self.series
    }

    /// By position.
    #[must_use]
    pub const fn facts(&self) -> &[Facts] {
        &self.facts
    }

    fn has(&self, series: &[Interned]) -> bool {
        self.facts.len() == series.len() && self.facts.iter().zip(series).all(|(facts, one)| facts.id == one.id())
    }
}

/// The layouts in use. As many as connections and blocks hold: whoever holds one pays for it.
#[derive(Debug, Default)]
pub(super) struct Layouts {
    hasher: RandomState,
    /// By hash of the numbers of their series. Plain mutex, short sections.
    known: Mutex<HashMap<u64, Vec<Weak<Layout>>>>,
}

impl Layouts {
    /// The one copy of the layout of `series`.
    pub(super) fn of(&self, series: Vec<Interned>) -> Arc<Layout> {
        let hash = self.hasher.hash_one(series.iter().map(Interned::id).collect::<Vec<_>>());
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let alike = known.entry(hash).or_default();
        alike.retain(|layout| layout.strong_count() > 0);
        if let Some(layout) = alike.iter().filter_map(Weak::upgrade).find(|layout| layout.has(&series)) {
            return layout;
        }
        let layout = Arc::new(Layout::of(series));
        alike.push(Arc::downgrade(&layout));
        layout
    }

    /// Forgets layouts that are not held.
    pub(super) fn sweep(&self) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, alike| {
            alike.retain(|layout| layout.strong_count() > 0);
            !alike.is_empty()
        });
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).values().map(Vec::len).sum()
    }
}
