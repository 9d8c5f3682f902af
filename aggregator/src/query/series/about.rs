//! What a series is, for the wire.

use starling_proto::{
    catalogue::{self, Kind, Scope, Statistic},
    series::Series,
    v1,
};

/// Attributes of a series, by key.
pub(crate) type Pairs = Vec<(String, String)>;

/// Borrowed attributes of a key.
pub(crate) fn borrowed(pairs: &Pairs) -> Vec<(&str, &str)> {
    pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
}

/// The key of a series with these attributes.
pub(crate) fn owned(pairs: &[(&str, &str)]) -> Pairs {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// The key of a series.
pub(crate) fn pairs(series: &Series) -> Pairs {
    series.attributes().iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
}

/// What a series is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct About<'a> {
    pub(crate) kind: Kind,
    pub(crate) unit: &'a str,
    pub(crate) scope: Scope,
    pub(crate) derived: bool,
}

impl<'a> From<&'a Series> for About<'a> {
    fn from(series: &'a Series) -> Self {
        Self { kind: series.kind(), unit: series.unit(), scope: series.scope(), derived: false }
    }
}

impl From<&'static catalogue::Metric> for About<'_> {
    fn from(metric: &'static catalogue::Metric) -> Self {
        Self { kind: metric.kind, unit: metric.unit, scope: metric.scope, derived: !metric.is_sent() }
    }
}

impl About<'_> {
    /// The series with these values.
    pub(crate) fn series(self, name: &str, attributes: &Pairs, statistics: Vec<v1::StatisticValues>) -> v1::Series {
        let scope = match self.scope {
            Scope::Cluster => "cluster",
            Scope::Node => "node",
        };
        v1::Series {
            name: name.to_owned(),
            attributes: attributes.iter().cloned().collect(),
            kind: self.kind.as_str().to_owned(),
            unit: self.unit.to_owned(),
            scope: scope.to_owned(),
            derived: self.derived,
            statistics,
        }
    }

    /// What is read when nothing is asked for.
    pub(crate) fn usual(self) -> Vec<Statistic> {
        match self.kind {
            Kind::Histogram => {
                vec![Statistic::Count, Statistic::Mean, Statistic::P50, Statistic::P99, Statistic::Max]
            }
            Kind::Counter | Kind::Gauge => vec![Statistic::Value],
        }
    }
}
