//! One series at one second.

use std::sync::{Arc, LazyLock};

use starling_ledger::rollup::{Cell, Sum};
use starling_proto::{catalogue::Kind, frame::Columns, histogram::Histogram, series::Series};

use super::Attributes;

/// What a histogram series that counted nothing in a second reported.
static EMPTY: LazyLock<Arc<Histogram>> = LazyLock::new(Arc::default);

/// A series with what was reported of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry<'a> {
    /// Which series.
    pub(crate) series: &'a Series,
    /// Nodes that reported it; at least 1.
    pub(crate) nodes: u32,
    /// What they reported.
    pub(crate) amount: Amount<'a>,
}

/// What was reported of a series, in its fixed point.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Amount<'a> {
    /// Sum of the increments.
    Counter(i128),
    /// Over nodes.
    Gauge {
        /// Sum of the values.
        sum: i128,
        /// Smallest.
        min: i64,
        /// Largest.
        max: i64,
        /// The nodes' values, of metrics that keep them.
        distribution: Option<&'a Arc<Histogram>>,
    },
    /// Of all nodes together.
    Histogram(&'a Arc<Histogram>),
}

impl<'a> Entry<'a> {
    /// Of one node: what stands at `position`.
    pub(super) fn of_column(series: &'a Series, columns: &'a Columns, position: usize) -> Self {
        let value = columns.values.get(position).copied().unwrap_or_default();
        let amount = match series.kind() {
            Kind::Counter => Amount::Counter(value.into()),
            Kind::Gauge => Amount::Gauge { sum: value.into(), min: value, max: value, distribution: None },
            Kind::Histogram => Amount::of_histogram(columns.histogram(position)),
        };
        Self { series, nodes: 1, amount }
    }

    /// Added over nodes.
    pub(super) fn of_cell(series: &'a Series, cell: &'a Cell) -> Self {
        let amount = match &cell.sum {
            Sum::Counter(sum) => Amount::Counter(i128::try_from(*sum).unwrap_or(i128::MAX)),
            Sum::Gauge(gauge) => Amount::Gauge {
                sum: gauge.sum,
                min: gauge.min,
                max: gauge.max,
                distribution: gauge.distribution.as_ref(),
            },
            Sum::Histogram(histogram) => Amount::Histogram(histogram),
        };
        Self { series, nodes: cell.frames.max(1), amount }
    }

    /// Whether the series has all of these attributes.
    pub(crate) fn has(&self, attributes: &Attributes<'_>) -> bool {
        attributes.iter().all(|(key, value)| self.series.attribute(key) == Some(value))
    }
}

impl<'a> Amount<'a> {
    /// Of one node; `None` stands for one without values.
    pub(crate) fn of_histogram(histogram: Option<&'a Arc<Histogram>>) -> Self {
        Self::Histogram(histogram.unwrap_or(&EMPTY))
    }
}
