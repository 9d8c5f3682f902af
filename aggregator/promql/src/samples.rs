//! What an evaluation is given: samples of series, selected before.

use std::sync::Arc;

use starling_proto::histogram::Histogram;

use crate::Labels;

/// The bits of the number that Prometheus writes where a series ends.
const STALE_BITS: u64 = 0x7ff0_0000_0000_0002;

/// The marker that a series ends: a number that is none, told apart from every other one by its bits.
#[must_use]
pub fn stale_marker() -> f64 {
    f64::from_bits(STALE_BITS)
}

/// True for [`stale_marker`].
#[must_use]
pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_BITS
}

/// One number at one time, in milliseconds of Unix time.
pub type FloatPoint = (i64, f64);

/// One series with its samples.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesSamples {
    /// Its labels, the name too.
    pub labels: Labels,
    /// Its samples, ascending in time.
    pub samples: Samples,
}

/// Samples of one series.
#[derive(Debug, Clone, PartialEq)]
pub enum Samples {
    /// Numbers; a [`stale_marker`] where the series ended.
    Floats(Vec<FloatPoint>),
    /// Running sums of a counter whose growth is known: they begin again at each 00:00 UTC and at no other time; a
    /// [`stale_marker`] where the series ended.
    Sums(Vec<FloatPoint>),
    /// Histograms.
    Histograms(HistogramSamples),
}

/// What a histogram series recorded, step by step. Towards PromQL it is a running merge that begins again at each
/// 00:00 UTC, as counters are running sums.
#[derive(Debug, Clone, PartialEq)]
pub struct HistogramSamples {
    /// Decimal digits of fixed point of the series.
    pub scale: u8,
    /// What was recorded on the day of the first increment before it, merged. Only a query that looks at the running
    /// merge itself needs it (`Hint::growth_only`).
    pub base: Option<Arc<Histogram>>,
    /// What each step added; `None` where the series ended.
    pub increments: Vec<(i64, Option<Arc<Histogram>>)>,
}

impl Samples {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Floats(points) | Self::Sums(points) => points.len(),
            Self::Histograms(histograms) => histograms.increments.len(),
        }
    }

    /// True without any.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
