//! What samples of PromQL are made of: of each step of a series the number that counts, small. Pure.

use std::sync::Arc;

use starling_history::{Cell, Coverage};
use starling_proto::{catalogue::Kind, histogram::Histogram};

use super::statistic::RangeStatistic;
use crate::select::{Key, Span};

/// What the samples of one series are made of.
#[derive(Debug)]
pub(super) enum Grown {
    /// Values of a gauge as they are.
    Values(Vec<(i64, f64)>),
    /// The growth of a counter in each step, by its last second, and whether there is a sample.
    Sums(Vec<(u32, bool, f64)>),
    /// What each step added to a histogram.
    Histograms(Vec<(i64, Option<Arc<Histogram>>)>),
}

impl Grown {
    /// What it takes in memory without histograms.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Values(values) => size_of_val(&**values),
            Self::Sums(sums) => size_of_val(&**sums),
            Self::Histograms(all) => size_of_val(&**all),
        }
    }

    /// What its histograms take.
    pub(super) fn histogram_bytes(&self) -> usize {
        match self {
            Self::Histograms(all) => all.iter().filter_map(|(_, one)| one.as_deref()).map(Histogram::memory).sum(),
            Self::Values(_) | Self::Sums(_) => 0,
        }
    }
}

/// A sample stands at the last second of its step. A step without a second of data has none: what stands in it was spread
/// over a hole, and counts from the next sample on.
///
/// Of a gauge it is the statistic `of_gauge` of the step.
pub(super) fn grown(
    key: &Key,
    cells: &[Option<Cell>],
    coverage: &[Coverage],
    (span, of_gauge): (&Span, RangeStatistic),
) -> Grown {
    let known = (0..).zip(cells).filter_map(|(point, cell)| {
        let last = span.tick_of(point) + span.seconds_of(point) - 1;
        Some((last, cell.as_ref()?))
    });
    let is_sample =
        |last: u32| span.point_of(last).and_then(|at| coverage.get(at as usize)).is_none_or(|held| held.seconds > 0);
    match key.series.kind() {
        Kind::Histogram => {
            let added = |(last, cell): (u32, &Cell)| (ms(last), Some(cell.histogram.clone().unwrap_or_default()));
            Grown::Histograms(known.filter(|(last, _)| is_sample(*last)).map(added).collect())
        }
        Kind::Counter => Grown::Sums(known.map(|(last, cell)| (last, is_sample(last), cell.sum)).collect()),
        Kind::Gauge => {
            let value = |(last, cell): (u32, &Cell)| Some((ms(last), of_gauge.of(key, cell)?));
            Grown::Values(known.filter_map(value).collect())
        }
    }
}

/// A second in milliseconds.
pub(super) fn ms(tick: u32) -> i64 {
    i64::from(tick) * 1_000
}
