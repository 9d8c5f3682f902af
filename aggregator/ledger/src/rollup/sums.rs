//! Cells by group and series.

use std::{cmp::Ordering, collections::BTreeMap};

use starling_proto::group::Group;
use starling_proto::{
    catalogue::{Scope, SectionSet},
    ids::NodeId,
    series::{Sample, Series},
    varint,
};
use xxhash_rust::xxh3::Xxh3Default;

use super::{
    cell::{Cell, RollupError},
    census::{Census, Cores},
    value,
};

/// Sums of a set of frames, by group and series: sparse, sorted, equal for equal sets of frames.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sums {
    /// Strictly ascending by (group, series).
    rows: Vec<Row>,
    /// Who is behind them.
    census: BTreeMap<Group, Census>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) group: Group,
    pub(super) series: Series,
    pub(super) cell: Cell,
}

impl Row {
    fn same_key(&self, other: &Self) -> bool {
        // The series first: comparing it is mostly comparing pointers.
        self.series == other.series && self.group == other.group
    }

    fn order(&self, other: &Self) -> Ordering {
        self.group.cmp(&other.group).then_with(|| self.series.cmp(&other.series))
    }
}

impl Sums {
    /// Sums of nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { rows: Vec::new(), census: BTreeMap::new() }
    }

    /// Sums of one frame, for the whole cluster and for each of `groups`. Series of node scope are skipped; of two
    /// samples of one series the first counts.
    #[must_use]
    pub fn of_frame(groups: &[Group], samples: &[Sample]) -> Self {
        let mut rows = Vec::new();
        let cluster = Group::cluster();
        for sample in samples.iter().filter(|sample| sample.series.scope() == Scope::Cluster) {
            let cell = Cell::of(sample);
            for group in std::iter::once(&cluster).chain(groups.iter().filter(|group| !group.is_cluster())) {
                rows.push(Row { group: group.clone(), series: sample.series.clone(), cell: cell.clone() });
            }
        }
        Self::from_rows(rows)
    }

    /// Takes rows in any order; of equal keys the first stays.
    pub(super) fn from_rows(mut rows: Vec<Row>) -> Self {
        rows.sort_by(Row::order);
        rows.dedup_by(|later, first| later.same_key(first));
        Self { rows, census: BTreeMap::new() }
    }

    /// With who is behind them.
    pub(super) fn with_census(self, census: BTreeMap<Group, Census>) -> Self {
        Self { census, ..self }
    }

    /// As one frame of `node` that reported `sections`, for the whole cluster and for each of `groups`.
    #[must_use]
    pub fn counted(mut self, node: &NodeId, groups: &[Group], sections: SectionSet, cores: &Cores) -> Self {
        let cluster = Group::cluster();
        let one = Census::of_frame(node, sections, cores);
        let groups = std::iter::once(&cluster).chain(groups);
        self.census = groups.map(|group| (group.clone(), one.clone())).collect();
        self
    }

    /// Who is behind the sums of a group; `None` when no frame is.
    #[must_use]
    pub fn census(&self, group: &Group) -> Option<&Census> {
        self.census.get(group)
    }

    /// Who is behind the sums, by group.
    pub(super) const fn censuses(&self) -> &BTreeMap<Group, Census> {
        &self.census
    }

    /// Without the busy cores.
    #[cfg(test)]
    pub(crate) fn without_cores(mut self) -> Self {
        self.census.values_mut().for_each(Census::forget_cores);
        self
    }

    /// Adds the samples of one frame, for the whole cluster and for each of `groups`.
    ///
    /// # Errors
    /// [`RollupError`]; `self` is then unchanged.
    pub fn add_samples(&mut self, groups: &[Group], samples: &[Sample]) -> Result<(), RollupError> {
        self.add(&Self::of_frame(groups, samples))
    }

    /// Adds `other`. The order of adding does not change the result.
    ///
    /// # Errors
    /// [`RollupError::Overflow`] and [`RollupError::Kind`]; `self` is then unchanged.
    pub fn add(&mut self, other: &Self) -> Result<(), RollupError> {
        if self.rows.is_empty() && self.census.is_empty() {
            self.clone_from(other);
            return Ok(());
        }
        let mut counted = Vec::with_capacity(other.census.len());
        for (group, census) in &other.census {
            let sum = self.census.get(group).map_or_else(|| Ok(census.clone()), |held| held.plus(census))?;
            counted.push((group.clone(), sum));
        }
        let mut changed = Vec::with_capacity(other.rows.len());
        let mut new = Vec::new();
        let mut from = 0;
        for row in &other.rows {
            match self.find(row, from) {
                Ok(at) => {
                    changed.push((at, self.rows[at].cell.plus(&row.cell)?));
                    from = at + 1;
                }
                Err(at) => {
                    new.push(row.clone());
                    from = at;
                }
            }
        }
        self.census.extend(counted);
        for (at, cell) in changed {
            self.rows[at].cell = cell;
        }
        if !new.is_empty() {
            self.rows.append(&mut new);
            // Two sorted runs: one merge.
            self.rows.sort_by(Row::order);
        }
        Ok(())
    }

    /// Takes back what was added: exact, but for extremes and error bounds, which stay. Cells of which no frame is
    /// left go.
    ///
    /// # Errors
    /// [`RollupError::Missing`] when `other` was never added; `self` is then unchanged.
    pub fn subtract(&mut self, other: &Self) -> Result<(), RollupError> {
        let mut changed = Vec::with_capacity(other.rows.len());
        let mut from = 0;
        for row in &other.rows {
            let at = self.find(row, from).map_err(|_| RollupError::Missing)?;
            changed.push((at, self.rows[at].cell.minus(&row.cell)?));
            from = at + 1;
        }
        let mut counted = Vec::with_capacity(other.census.len());
        for (group, census) in &other.census {
            let rest = self.census.get(group).ok_or(RollupError::Missing)?.minus(census)?;
            counted.push((group, rest));
        }
        for (group, rest) in counted {
            match rest {
                Some(rest) => drop(self.census.insert(group.clone(), rest)),
                None => drop(self.census.remove(group)),
            }
        }
        let mut gone = false;
        for (at, cell) in changed {
            match cell {
                Some(cell) => self.rows[at].cell = cell,
                None => {
                    self.rows[at].cell.frames = 0;
                    gone = true;
                }
            }
        }
        if gone {
            self.rows.retain(|row| row.cell.frames > 0);
        }
        Ok(())
    }

    /// True when every cell of `other` has one here whose extremes and error bounds reach at least as far, and no core
    /// of `other` is busier than those here: where these sums were added, taking `other` back leaves nothing of it
    /// behind.
    pub(crate) fn spans(&self, other: &Self) -> bool {
        let mut censuses = other.census.iter();
        if !censuses.all(|(group, census)| self.census.get(group).is_some_and(|held| held.spans(census))) {
            return false;
        }
        let mut from = 0;
        other.rows.iter().all(|row| {
            let found = self.find(row, from);
            from = found.map_or_else(|at| at, |at| at + 1);
            found.is_ok_and(|at| self.rows[at].cell.spans(&row.cell))
        })
    }

    /// Where the key of `row` is at or after `from`, or would be.
    fn find(&self, row: &Row, from: usize) -> Result<usize, usize> {
        let rest = &self.rows[from..];
        match rest.first() {
            // Two sums of one cluster mostly hold the same series.
            Some(first) if first.same_key(row) => Ok(from),
            _ => rest.binary_search_by(|at| at.order(row)).map(|i| i + from).map_err(|i| i + from),
        }
    }

    /// The cell of one series of one group; `None` when no frame had it.
    #[must_use]
    pub fn get(&self, group: &Group, series: &Series) -> Option<&Cell> {
        self.rows
            .binary_search_by(|row| row.group.cmp(group).then_with(|| row.series.cmp(series)))
            .ok()
            .map(|at| &self.rows[at].cell)
    }

    /// The cells of one group, sorted by series.
    pub fn cells<'a>(&'a self, group: &Group) -> impl ExactSizeIterator<Item = (&'a Series, &'a Cell)> + use<'a> {
        let from = self.rows.partition_point(|row| row.group < *group);
        let count = self.rows[from..].partition_point(|row| row.group == *group);
        self.rows[from..from + count].iter().map(|row| (&row.series, &row.cell))
    }

    /// All cells, sorted by group and series.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Group, &Series, &Cell)> {
        self.rows.iter().map(|row| (&row.group, &row.series, &row.cell))
    }

    /// The groups that have cells, sorted; the whole cluster first.
    pub fn groups(&self) -> impl Iterator<Item = &Group> {
        self.rows.chunk_by(|a, b| a.group == b.group).map(|rows| &rows[0].group)
    }

    /// Cells.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// True without cells.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// What differs from `other` in anything that can be taken back, in words; `None` when nothing does.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Option<String> {
        let mut others = other.rows.iter().peekable();
        for row in &self.rows {
            match others.next_if(|o| o.same_key(row)) {
                Some(o) if o.cell.same_amounts(&row.cell) => {}
                Some(o) => {
                    return Some(format!("{} of {}: {:?} and {:?}", row.series, row.group, row.cell, o.cell));
                }
                None => return Some(format!("{} of {} is on one side only", row.series, row.group)),
            }
        }
        if let Some(o) = others.next() {
            return Some(format!("{} of {} is on one side only", o.series, o.group));
        }
        let groups = self.census.keys().chain(other.census.keys());
        let differs = |group: &&Group| match (self.census.get(group), other.census.get(group)) {
            (Some(a), Some(b)) => !a.same_counts(b),
            _ => true,
        };
        groups.into_iter().find(differs).map(|group| format!("other frames are behind {group}"))
    }

    /// Feeds everything to a hash, by name, in order.
    pub(crate) fn hash_into(&self, hasher: &mut Xxh3Default) {
        let mut bytes = Vec::new();
        for row in &self.rows {
            bytes.clear();
            varint::put_bytes(&mut bytes, row.group.name().as_bytes());
            varint::put_bytes(&mut bytes, row.series.name().as_bytes());
            for (key, value) in row.series.attributes() {
                varint::put_bytes(&mut bytes, key.as_bytes());
                varint::put_bytes(&mut bytes, value.as_bytes());
            }
            varint::put(&mut bytes, u64::from(row.cell.frames));
            value::put(&mut bytes, &row.cell);
            hasher.update(&bytes);
        }
        for (group, census) in &self.census {
            bytes.clear();
            varint::put_bytes(&mut bytes, group.name().as_bytes());
            hasher.update(&bytes);
            census.hash_into(hasher);
        }
    }
}
