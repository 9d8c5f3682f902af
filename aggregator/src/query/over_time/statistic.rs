//! What is read of a series over a step. Pure.

use std::fmt;

use starling_history::Cell;
use starling_proto::catalogue::{self, Kind, OverNodes, Statistic};

use crate::select::Key;

/// One number of a series over a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RangeStatistic {
    /// Of a counter its rate, of a gauge its mean.
    Value,
    /// Mean of the seconds; of a histogram the mean of its values.
    Mean,
    /// Sum over the seconds; of a histogram the sum of its values.
    Sum,
    /// Smallest second.
    Min,
    /// Largest second; of a histogram its largest value.
    Max,
    /// The last second.
    Last,
    /// Standard deviation of the seconds.
    Deviation,
    /// Seconds with data; of a histogram its values.
    Count,
    /// Nodes behind it, in the mean of the seconds.
    Nodes,
    /// Growth per second, of counters; of a histogram its values per second.
    Rate,
    /// Growth, of counters; of a histogram its values.
    Increase,
    /// Quantile in parts per million: of a histogram's values, or of the nodes' values of a gauge that keeps them.
    Quantile(u32),
}

/// A text that names no statistic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no statistic, there are value, mean, sum, min, max, last, deviation, count, nodes, rate, increase and \
     quantiles such as p50 or p99.9"
)]
pub(crate) struct RangeStatisticError(String);

const WORDS: [(&str, RangeStatistic); 11] = [
    ("value", RangeStatistic::Value),
    ("mean", RangeStatistic::Mean),
    ("sum", RangeStatistic::Sum),
    ("min", RangeStatistic::Min),
    ("max", RangeStatistic::Max),
    ("last", RangeStatistic::Last),
    ("deviation", RangeStatistic::Deviation),
    ("count", RangeStatistic::Count),
    ("nodes", RangeStatistic::Nodes),
    ("rate", RangeStatistic::Rate),
    ("increase", RangeStatistic::Increase),
];

impl RangeStatistic {
    /// The statistic called `text`.
    ///
    /// # Errors
    /// [`RangeStatisticError`], listing what there is.
    pub(crate) fn parse(text: &str) -> Result<Self, RangeStatisticError> {
        if let Some((_, found)) = WORDS.into_iter().find(|(word, _)| *word == text) {
            return Ok(found);
        }
        match Statistic::parse(text) {
            Ok(Statistic::Quantile(ppm)) => Ok(Self::Quantile(ppm)),
            _ => Err(RangeStatisticError(text.chars().take(32).collect())),
        }
    }

    /// What is read of a kind when nothing is asked for.
    pub(crate) fn usual(kind: Kind) -> Vec<Self> {
        match kind {
            Kind::Histogram => vec![Self::Count, Self::Quantile(500_000), Self::Quantile(990_000)],
            Kind::Counter | Kind::Gauge => vec![Self::Mean, Self::Min, Self::Max],
        }
    }

    /// Whether it is read of a histogram: a quantile, or mean, sum and maximum of a histogram series.
    pub(crate) const fn is_of_values(self) -> bool {
        matches!(self, Self::Quantile(_) | Self::Mean | Self::Sum | Self::Max)
    }

    /// The number of `cell`, which is of the series `key`; `None` when there is none.
    pub(crate) fn of(self, key: &Key, cell: &Cell) -> Option<f64> {
        let series = &key.series;
        if let Self::Quantile(ppm) = self {
            let quantile = f64::from(ppm) / 1e6;
            let found = cell.histogram.as_ref()?.quantile(quantile)?;
            return Some(series.to_f64(found.into()));
        }
        if self == Self::Nodes {
            return (cell.nodes > 0).then(|| cell.nodes as f64 / f64::from(cell.seconds.max(1)));
        }
        match series.kind() {
            Kind::Histogram => self.of_histogram(key, cell),
            Kind::Counter => match self {
                Self::Increase => Some(cell.sum),
                Self::Rate | Self::Value => Some(cell.rate()),
                _ => self.of_number(cell),
            },
            Kind::Gauge => {
                // What is computed was computed over all nodes at once; what is of one node is its own mean.
                let several = !key.derived && cell.nodes > u64::from(cell.seconds.max(1));
                let over_nodes = || catalogue::find(series.name()).map_or(OverNodes::Sum, |metric| metric.over_nodes);
                if several && over_nodes() == OverNodes::Mean {
                    self.of_number(&cell.over_nodes(OverNodes::Mean))
                } else {
                    self.of_number(cell)
                }
            }
        }
        .filter(|number| !number.is_nan())
    }

    fn of_number(self, cell: &Cell) -> Option<f64> {
        Some(match self {
            Self::Value | Self::Mean => cell.mean(),
            Self::Sum => cell.sum,
            Self::Min => cell.min,
            Self::Max => cell.max,
            Self::Last => cell.last,
            Self::Deviation => cell.deviation(),
            Self::Count => f64::from(cell.seconds),
            Self::Rate | Self::Increase | Self::Nodes | Self::Quantile(_) => return None,
        })
    }

    fn of_histogram(self, key: &Key, cell: &Cell) -> Option<f64> {
        let values = || cell.histogram.as_ref().filter(|histogram| !histogram.is_empty());
        let series = &key.series;
        Some(match self {
            Self::Count | Self::Increase => cell.sum,
            Self::Rate => cell.rate(),
            Self::Mean => values()?.mean()? * series.to_f64(1),
            Self::Sum => series.to_f64(i128::try_from(cell.histogram.as_ref()?.sum()).unwrap_or(i128::MAX)),
            Self::Max => series.to_f64(values()?.max().into()),
            _ => return None,
        })
    }
}

impl fmt::Display for RangeStatistic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (WORDS.into_iter().find(|(_, statistic)| statistic == self), self) {
            (Some((word, _)), _) => f.write_str(word),
            (None, Self::Quantile(ppm)) => Statistic::Quantile(*ppm).fmt(f),
            (None, _) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use starling_proto::{histogram::Histogram, series::Series};

    use super::*;

    fn key(metric: &'static catalogue::Metric, with: &[(&str, &str)]) -> Key {
        Key { series: Series::of(metric, with), derived: false }
    }

    #[test]
    fn names_are_read_and_written() {
        for (text, statistic) in WORDS {
            assert_eq!(RangeStatistic::parse(text), Ok(statistic));
            assert_eq!(statistic.to_string(), text);
        }
        assert_eq!(RangeStatistic::parse("p99.9").unwrap().to_string(), "p99.9");
        for text in ["", "avg", "p101", "Mean"] {
            assert!(RangeStatistic::parse(text).unwrap_err().to_string().contains("deviation"), "{text}");
        }
    }

    #[test]
    fn each_kind_says_what_it_can_and_no_more() {
        use RangeStatistic::*;
        let mut cell = Cell::second(10.0);
        cell.append(&Cell::second(5_000.0)).unwrap();
        let requests = key(&catalogue::REQUESTS, &[("protocol", "grpc")]);
        let all = |key: &Key, cell: &Cell| [Value, Rate, Increase, Min, Max, Last, Count].map(|one| one.of(key, cell));
        let known = [2_505.0, 2_505.0, 5_010.0, 10.0, 5_000.0, 5_000.0, 2.0].map(Some);
        assert_eq!(all(&requests, &cell), known);
        let load = key(&catalogue::LOAD_1M, &[]);
        assert_eq!((Rate.of(&load, &cell), Quantile(500_000).of(&load, &cell)), (None, None));
        // Loads of four nodes.
        let of_four = Cell { nodes: 8, ..cell };
        assert_eq!((Value.of(&load, &of_four), Max.of(&load, &of_four)), (Some(2_505.0 / 4.0), Some(1_250.0)));
        assert_eq!(Nodes.of(&load, &of_four), Some(4.0));
        let duration = key(&catalogue::DURATION, &[("protocol", "grpc")]);
        let values = Cell { histogram: Some(Arc::new(Histogram::of(2_000_000, 4))), ..Cell::second(4.0) };
        assert_eq!((Count.of(&duration, &values), Max.of(&duration, &values)), (Some(4.0), Some(0.002)));
        assert_eq!((Min.of(&duration, &values), Last.of(&duration, &values)), (None, None));
        assert_eq!(Quantile(990_000).of(&duration, &values), Some(0.002));
        let none = Cell { histogram: Some(Arc::default()), ..Cell::second(0.0) };
        assert_eq!((Count.of(&duration, &none), Quantile(500_000).of(&duration, &none)), (Some(0.0), None));
    }
}
