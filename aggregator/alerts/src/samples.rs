//! Seconds that are made up, for tests.

use std::collections::BTreeMap;

use starling_proto::{catalogue::Statistic, histogram::Histogram};

use super::Values;

/// Values of a second, by "name" or "name{key=value}".
#[derive(Debug, Clone, Default)]
pub(crate) struct Made {
    values: BTreeMap<(String, Option<(String, String)>), f64>,
    histograms: BTreeMap<String, Histogram>,
    facts: BTreeMap<String, f64>,
    nodes: f64,
}

impl Made {
    /// Of so many nodes.
    pub(crate) fn of_nodes(nodes: f64) -> Self {
        Self { nodes, ..Self::default() }
    }

    /// With a value, of "name" or "name{key=value}"; a fact when there is one of that name.
    pub(crate) fn with(mut self, what: &str, value: f64) -> Self {
        if crate::facts::find(what).is_some() {
            self.facts.insert(what.to_owned(), value);
            return self;
        }
        let (name, attribute) = match what.trim_end_matches('}').split_once('{') {
            None => (what, None),
            Some((name, pair)) => (name, pair.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned()))),
        };
        self.values.insert((name.to_owned(), attribute), value);
        self
    }

    /// The same with what another has of histograms.
    pub(crate) fn and(mut self, other: &Self) -> Self {
        for (name, histogram) in &other.histograms {
            let sum = self.histograms.get(name).map_or(Ok(histogram.clone()), |own| own.plus(histogram));
            self.histograms.insert(name.clone(), sum.unwrap_or_else(|_| Histogram::empty()));
        }
        self
    }

    /// With so many values of so many seconds each.
    pub(crate) fn with_histogram(mut self, name: &str, seconds: f64, count: u64) -> Self {
        self.histograms.insert(name.to_owned(), Histogram::of((seconds * 1e9) as u64, count));
        self
    }
}

impl Values for Made {
    fn statistic(&self, name: &str, with: &[(&str, &str)], statistic: Statistic) -> Option<f64> {
        if statistic == Statistic::Nodes {
            return Some(self.nodes);
        }
        let attribute = with.first().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        self.values.get(&(name.to_owned(), attribute)).copied()
    }

    fn histogram(&self, name: &str, _with: &[(&str, &str)]) -> Option<Histogram> {
        self.histograms.get(name).cloned()
    }

    fn nodes_above(&self, name: &str, with: &[(&str, &str)], than: f64) -> Option<f64> {
        self.statistic(name, with, Statistic::Value).map(|value| if value > than { self.nodes } else { 0.0 })
    }

    fn attributes(&self, name: &str, keys: &[String]) -> Vec<Vec<String>> {
        let of_name = self.values.keys().filter(|(own, _)| own == name).filter_map(|(_, attribute)| attribute.as_ref());
        of_name.filter(|(key, _)| keys.first() == Some(key)).map(|(_, value)| vec![value.clone()]).collect()
    }

    fn fact(&self, name: &str) -> Option<f64> {
        self.facts.get(name).copied()
    }
}
