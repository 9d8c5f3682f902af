//! What expressions read of a second: its values, and facts.

use std::collections::{BTreeMap, BTreeSet};

use starling_alerts::Values;
use starling_proto::{
    catalogue::{self, Statistic},
    histogram::Histogram,
};

use crate::reading::Reading;

/// See the module.
#[derive(Default)]
pub(super) struct Sight<'a> {
    /// `None` of a subject that did not report in the second.
    pub(super) reading: Option<Reading<'a>>,
    pub(super) facts: BTreeMap<&'static str, f64>,
}

impl Values for Sight<'_> {
    fn statistic(&self, name: &str, with: &[(&str, &str)], statistic: Statistic) -> Option<f64> {
        self.reading.as_ref()?.statistic(name, with, statistic)
    }

    fn histogram(&self, name: &str, with: &[(&str, &str)]) -> Option<Histogram> {
        self.reading.as_ref()?.histogram(name, with)
    }

    fn nodes_above(&self, name: &str, with: &[(&str, &str)], than: f64) -> Option<f64> {
        let (series, distribution) = self.reading.as_ref()?.distribution(name, with)?;
        let limit = than * 10f64.powi(series.scale().into());
        let above = distribution
            .buckets()
            .filter(|(index, _)| starling_proto::histogram::bucket_bounds(*index).0 as f64 > limit);
        Some(above.map(|(_, nodes)| nodes as f64).sum())
    }

    fn attributes(&self, name: &str, keys: &[String]) -> Vec<Vec<String>> {
        let Some(reading) = &self.reading else { return Vec::new() };
        // A metric that is computed has the attributes of what it is computed from.
        let base = catalogue::find(name).map_or(name, |metric| metric.base().name);
        let found: BTreeSet<Vec<String>> = reading
            .named(base)
            .iter()
            .filter_map(|entry| keys.iter().map(|key| entry.series.attribute(key).map(str::to_owned)).collect())
            .collect();
        found.into_iter().collect()
    }

    fn fact(&self, name: &str) -> Option<f64> {
        self.facts.get(name).copied()
    }
}
