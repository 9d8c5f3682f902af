//! Some series over the seconds of a slice, without the others: what a question over time reads.

use std::{collections::BTreeMap, sync::Arc};

use starling_proto::{histogram::Histogram, series::Series};

/// One value of one second.
#[derive(Debug, Clone, PartialEq)]
pub enum PickedValue {
    /// Of a counter its increment, of a gauge its value in fixed point.
    Integer(i64),
    /// Of a histogram; `None` for one without values.
    Histogram(Option<Arc<Histogram>>),
}

/// See the module.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Picked {
    /// Seconds that are held, ascending, with the samples that were lost in each.
    pub seconds: Vec<(u32, u32)>,
    /// Values by series, ascending by second.
    pub series: BTreeMap<Series, Vec<(u32, PickedValue)>>,
}

impl Picked {
    /// Adds a value; seconds come in any order until [`Picked::sort`].
    pub(super) fn push(&mut self, series: &Series, tick: u32, value: PickedValue) {
        match self.series.get_mut(series) {
            Some(values) => values.push((tick, value)),
            None => drop(self.series.insert(series.clone(), vec![(tick, value)])),
        }
    }

    /// Adds values of a series.
    pub(super) fn extend(&mut self, series: &Series, values: impl Iterator<Item = (u32, PickedValue)>) {
        match self.series.get_mut(series) {
            Some(held) => held.extend(values),
            None => drop(self.series.insert(series.clone(), values.collect())),
        }
    }

    /// Brings what was added into the order of time.
    pub(super) fn sort(&mut self) {
        self.seconds.sort_unstable();
        for values in self.series.values_mut().filter(|values| !values.is_sorted_by_key(|(tick, _)| *tick)) {
            values.sort_by_key(|(tick, _)| *tick);
        }
    }
}
