//! How a metric is shown.

use super::{METRICS, Metric, Scope, Statistic};

/// How values are written for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A plain number.
    Number,
    /// Per second.
    Rate,
    /// Bytes, in powers of 1024.
    Bytes,
    /// Bytes per second.
    BytesPerSecond,
    /// A share of 0 to 1, as a percentage.
    Share,
    /// A time in seconds, shown in microseconds to seconds; charted in microseconds.
    Time,
}

impl Unit {
    /// The word for it in generated tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Rate => "rate",
            Self::Bytes => "bytes",
            Self::BytesPerSecond => "bytesPerSecond",
            Self::Share => "share",
            Self::Time => "micros",
        }
    }

    /// What a value in the unit of its metric is multiplied with for a chart.
    #[must_use]
    pub const fn charted(self) -> f64 {
        match self {
            Self::Time => 1e6,
            _ => 1.0,
        }
    }
}

/// Which direction of a value is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Good {
    /// More is better.
    Up,
    /// Less is better.
    Down,
    /// Neither: it says how much there is to do.
    Neither,
}

impl Good {
    /// The word for it in generated tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Neither => "neither",
        }
    }
}

/// One charted column: a metric read with some attributes and one statistic.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Chart {
    /// Name of the column, unique in the catalogue. What is charted goes by this name from the aggregator to the page.
    pub name: &'static str,
    /// Attributes it is read with; added up over the others.
    pub attributes: &'static [(&'static str, &'static str)],
    /// What is read.
    pub statistic: Statistic,
    /// Charted for a single node only.
    pub of_node: bool,
}

/// The metric over all its attributes as column `name`.
pub(super) const fn chart(name: &'static str) -> Chart {
    Chart { name, attributes: &[], statistic: Statistic::Value, of_node: false }
}

impl Chart {
    /// Only the series with these attributes.
    pub(super) const fn with(self, attributes: &'static [(&'static str, &'static str)]) -> Self {
        Self { attributes, ..self }
    }

    /// A statistic other than the value.
    pub(super) const fn of(self, statistic: Statistic) -> Self {
        Self { statistic, ..self }
    }

    /// For a single node only.
    pub(super) const fn on_node(self) -> Self {
        Self { of_node: true, ..self }
    }
}

/// Every charted column with its metric, in the order of the table; those of a single node after those of every view,
/// so that the order of a cluster's columns is the beginning of the order of a node's.
pub fn charts() -> impl Iterator<Item = (&'static Metric, &'static Chart)> {
    let all = || METRICS.iter().flat_map(|metric| metric.charts.iter().map(|chart| (*metric, chart)));
    let of_node = |(metric, chart): &(&'static Metric, &'static Chart)| chart.of_node || metric.scope == Scope::Node;
    all().filter(move |chart| !of_node(chart)).chain(all().filter(of_node))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_have_one_name_each() {
        let names: Vec<_> = charts().map(|(_, chart)| chart.name).collect();
        for (i, name) in names.iter().enumerate() {
            assert!(!names[..i].contains(name), "{name} twice");
        }
        assert!(names.contains(&"rps.grpc") && names.contains(&"latency.p999"));
    }
}
