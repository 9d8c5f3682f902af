//! What expressions read of a second.

use std::collections::BTreeSet;

use starling_alerts::Values;
use starling_proto::{
    catalogue::{self, Statistic},
    histogram::Histogram,
};

use crate::reading::Reading;

impl Values for Reading<'_> {
    fn statistic(&self, name: &str, with: &[(&str, &str)], statistic: Statistic) -> Option<f64> {
        Reading::statistic(self, name, with, statistic)
    }

    fn histogram(&self, name: &str, with: &[(&str, &str)]) -> Option<Histogram> {
        Reading::histogram(self, name, with)
    }

    fn nodes_above(&self, name: &str, with: &[(&str, &str)], than: f64) -> Option<f64> {
        let (series, distribution) = self.distribution(name, with)?;
        let limit = than * 10f64.powi(series.scale().into());
        let above = distribution
            .buckets()
            .filter(|(index, _)| starling_proto::histogram::bucket_bounds(*index).0 as f64 > limit);
        Some(above.map(|(_, nodes)| nodes as f64).sum())
    }

    fn attributes(&self, name: &str, keys: &[String]) -> Vec<Vec<String>> {
        // A metric that is computed has the attributes of what it is computed from.
        let base = catalogue::find(name).map_or(name, |metric| metric.base().name);
        let found: BTreeSet<Vec<String>> = self
            .named(base)
            .iter()
            .filter_map(|entry| keys.iter().map(|key| entry.series.attribute(key).map(str::to_owned)).collect())
            .collect();
        found.into_iter().collect()
    }

    fn fact(&self, _: &str) -> Option<f64> {
        None
    }
}
