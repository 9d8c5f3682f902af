//! One series of one group, added over the nodes.

use std::sync::Arc;

use starling_proto::{
    catalogue::{self, Kind},
    histogram::{BUCKETS, Histogram, HistogramSum},
    limits::{BUCKET_COUNT_MAX, COUNTER_INCREMENT_MAX, GAUGE_MAGNITUDE_MAX},
    series::{Sample, Series, Value},
};

/// Largest count of one histogram of one frame.
pub(crate) const HISTOGRAM_COUNT_MAX: u64 = BUCKET_COUNT_MAX * BUCKETS as u64;
/// Largest sum of one histogram of one frame: its count, each of the longest value a `u64` holds, with room.
pub(crate) const HISTOGRAM_SUM_MAX: u128 = 1 << 109;

/// Why sums cannot be added or taken back. By the caps at the receiver neither happens; both are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RollupError {
    /// A sum would leave its range.
    #[error("a sum would leave its range")]
    Overflow,
    /// What is taken back was never added.
    #[error("what is taken back was never added")]
    Missing,
    /// The two sides hold different kinds of value for one series.
    #[error("two kinds of value for one series")]
    Kind,
}

/// One series of one group at one tick, over all frames that had it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// Frames that had the series, at least 1. A series that no frame had is no cell: missing is never zero.
    pub frames: u32,
    /// Their sum.
    pub sum: Sum,
}

/// What is added up, by kind of series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sum {
    /// Sum of the increments.
    Counter(u128),
    /// Sum, extremes and distribution of the values.
    Gauge(GaugeSum),
    /// The merged histogram.
    Histogram(Arc<Histogram>),
}

/// A gauge over nodes, in the fixed point of its series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GaugeSum {
    /// Sum of the values.
    pub sum: i128,
    /// Smallest value.
    pub min: i64,
    /// Largest value.
    pub max: i64,
    /// Histogram of the nodes' values in fixed point, negative ones as 0. Only for metrics of the catalogue with
    /// [`catalogue::Metric::distribution`].
    pub distribution: Option<Arc<Histogram>>,
}

/// True when the gauge `series` keeps a distribution.
fn keeps_distribution(series: &Series) -> bool {
    series.kind() == Kind::Gauge && catalogue::find(series.name()).is_some_and(|metric| metric.distribution)
}

/// What a gauge's value counts as in its distribution.
pub(super) fn distributed(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// The distribution of `frames` times the same value.
pub(super) fn distribution_of_one(value: i64, frames: u32) -> Arc<Histogram> {
    Arc::new(Histogram::of(distributed(value), u64::from(frames)))
}

/// One value of one frame, as it is added.
#[derive(Debug, Clone, PartialEq)]
pub enum Added {
    /// An increment.
    Counter(u64),
    /// A value in fixed point, and whether its distribution over nodes is kept.
    Gauge(i64, bool),
    /// A histogram, empty or not.
    Histogram(Arc<Histogram>),
}

impl Added {
    /// True within the caps that make overflow impossible.
    #[must_use]
    pub fn is_within_caps(&self) -> bool {
        match self {
            Self::Counter(increment) => *increment <= COUNTER_INCREMENT_MAX,
            Self::Gauge(value, _) => (-GAUGE_MAGNITUDE_MAX..=GAUGE_MAGNITUDE_MAX).contains(value),
            Self::Histogram(histogram) => {
                histogram.count() <= HISTOGRAM_COUNT_MAX
                    && histogram.sum() <= HISTOGRAM_SUM_MAX
                    && (histogram.sum() == 0 || !histogram.is_empty())
            }
        }
    }

    /// Both as one value of the same frame, held to the caps. False when they are of two kinds, or histograms that
    /// together are beyond the caps: nothing has changed then.
    pub fn fold(&mut self, other: &Self) -> bool {
        match (&mut *self, other) {
            (Self::Counter(a), Self::Counter(b)) => *a = a.saturating_add(*b).min(COUNTER_INCREMENT_MAX),
            (Self::Gauge(a, _), Self::Gauge(b, _)) => {
                *a = a.saturating_add(*b).clamp(-GAUGE_MAGNITUDE_MAX, GAUGE_MAGNITUDE_MAX);
            }
            (Self::Histogram(a), Self::Histogram(b)) => match a.plus(b).map(|sum| Self::Histogram(Arc::new(sum))) {
                Ok(sum) if sum.is_within_caps() => *self = sum,
                _ => return false,
            },
            _ => return false,
        }
        true
    }

    /// The cell of this one value.
    #[must_use]
    pub fn cell(&self) -> Cell {
        let sum = match self {
            Self::Counter(increment) => Sum::Counter(u128::from(*increment)),
            Self::Gauge(value, distributed) => Sum::Gauge(GaugeSum {
                sum: i128::from(*value),
                min: *value,
                max: *value,
                distribution: distributed.then(|| distribution_of_one(*value, 1)),
            }),
            Self::Histogram(histogram) if histogram.is_empty() => Sum::Histogram(Arc::default()),
            Self::Histogram(histogram) => Sum::Histogram(Arc::clone(histogram)),
        };
        Cell { frames: 1, sum }
    }
}

impl Cell {
    /// The cell of one sample.
    #[must_use]
    pub fn of(sample: &Sample) -> Self {
        let added = match &sample.value {
            Value::Counter(increment) => Added::Counter(*increment),
            Value::Gauge(value) => Added::Gauge(*value, keeps_distribution(&sample.series)),
            Value::Histogram(histogram) => Added::Histogram(Arc::clone(histogram)),
        };
        added.cell()
    }

    /// What kind of series it belongs to.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match &self.sum {
            Sum::Counter(_) => Kind::Counter,
            Sum::Gauge(_) => Kind::Gauge,
            Sum::Histogram(_) => Kind::Histogram,
        }
    }

    /// The sum of both.
    pub(super) fn plus(&self, other: &Self) -> Result<Self, RollupError> {
        let frames = self.frames.checked_add(other.frames).ok_or(RollupError::Overflow)?;
        let sum = match (&self.sum, &other.sum) {
            (Sum::Counter(a), Sum::Counter(b)) => Sum::Counter(a.checked_add(*b).ok_or(RollupError::Overflow)?),
            (Sum::Gauge(a), Sum::Gauge(b)) => Sum::Gauge(GaugeSum {
                sum: a.sum.checked_add(b.sum).ok_or(RollupError::Overflow)?,
                min: a.min.min(b.min),
                max: a.max.max(b.max),
                // Without one side's distribution the whole's is not known.
                distribution: match (&a.distribution, &b.distribution) {
                    (Some(a), Some(b)) => Some(add(a, b)?),
                    _ => None,
                },
            }),
            (Sum::Histogram(a), Sum::Histogram(b)) => Sum::Histogram(add(a, b)?),
            _ => return Err(RollupError::Kind),
        };
        Ok(Self { frames, sum })
    }

    /// What is left without `other`; `None` when no frame is left. Extremes and error bounds stay.
    pub(super) fn minus(&self, other: &Self) -> Result<Option<Self>, RollupError> {
        let frames = self.frames.checked_sub(other.frames).ok_or(RollupError::Missing)?;
        let (sum, nothing) = match (&self.sum, &other.sum) {
            (Sum::Counter(a), Sum::Counter(b)) => {
                let left = a.checked_sub(*b).ok_or(RollupError::Missing)?;
                (Sum::Counter(left), left == 0)
            }
            (Sum::Gauge(a), Sum::Gauge(b)) => {
                let left = a.sum.checked_sub(b.sum).ok_or(RollupError::Overflow)?;
                let distribution = match (&a.distribution, &b.distribution) {
                    (Some(a), Some(b)) => Some(subtract(a, b)?),
                    _ => None,
                };
                let nothing = left == 0 && distribution.as_ref().is_none_or(|left| left.is_empty());
                (Sum::Gauge(GaugeSum { sum: left, min: a.min, max: a.max, distribution }), nothing)
            }
            (Sum::Histogram(a), Sum::Histogram(b)) => {
                let left = subtract(a, b)?;
                let nothing = left.is_empty();
                (Sum::Histogram(left), nothing)
            }
            _ => return Err(RollupError::Kind),
        };
        match (frames, nothing) {
            (0, true) => Ok(None),
            // Something is left of no frame at all: what was taken back is not what was added.
            (0, false) => Err(RollupError::Missing),
            _ => Ok(Some(Self { frames, sum })),
        }
    }

    /// True when the extremes and error bounds of `other` lie within those of this cell.
    pub(super) fn spans(&self, other: &Self) -> bool {
        let within = |a: &Histogram, b: &Histogram| a.max() >= b.max() && a.error_ppm() >= b.error_ppm();
        match (&self.sum, &other.sum) {
            (Sum::Counter(_), Sum::Counter(_)) => true,
            (Sum::Gauge(a), Sum::Gauge(b)) => a.min <= b.min && a.max >= b.max,
            (Sum::Histogram(a), Sum::Histogram(b)) => within(a, b),
            _ => false,
        }
    }

    /// True when all that can be taken back is equal: everything but extremes and error bounds.
    pub(crate) fn same_amounts(&self, other: &Self) -> bool {
        self.frames == other.frames
            && match (&self.sum, &other.sum) {
                (Sum::Counter(a), Sum::Counter(b)) => a == b,
                (Sum::Gauge(a), Sum::Gauge(b)) => {
                    a.sum == b.sum
                        && match (&a.distribution, &b.distribution) {
                            (Some(a), Some(b)) => same_counts(a, b),
                            (None, None) => true,
                            _ => false,
                        }
                }
                (Sum::Histogram(a), Sum::Histogram(b)) => same_counts(a, b),
                _ => false,
            }
    }
}

/// The sparse form. A histogram without values has no maximum and no error either: its bytes say nothing of them.
pub(super) fn sparse(sum: &HistogramSum) -> Arc<Histogram> {
    if sum.is_empty() { Arc::default() } else { Arc::new(sum.to_histogram()) }
}

fn add(a: &Histogram, b: &Histogram) -> Result<Arc<Histogram>, RollupError> {
    a.plus(b).map(Arc::new).map_err(|_| RollupError::Overflow)
}

fn subtract(a: &Histogram, b: &Histogram) -> Result<Arc<Histogram>, RollupError> {
    a.minus(b).map(Arc::new).map_err(|_| RollupError::Missing)
}

fn same_counts(a: &Histogram, b: &Histogram) -> bool {
    (a.count(), a.sum()) == (b.count(), b.sum()) && a.buckets().eq(b.buckets())
}
