//! Histograms: one layout everywhere, merged exactly, never averaged.
//!
//! The layout is HdrHistogram's with lowest value 1, highest 3.6e12 (one hour in nanoseconds) and 2 significant
//! digits: 4,608 buckets. A quantile is reported as the middle of its bucket, at most 0.39 % off.
//!
//! - [`Histogram`]: immutable and sparse, for keeping and sending;
//! - [`HistogramSum`]: dense, for recording, merging and taking back;
//! - `codec`: the sparse bytes on the wire and on disk;
//! - `coarse`: the same with one digit, for what is kept long;
//! - `foreign`: how OTLP and Prometheus buckets are spread over ours.

mod coarse;
mod codec;
mod foreign;
mod layout;
mod part;
mod sparse;
mod sum;

pub use coarse::COARSE_ERROR_PPM;
pub use codec::{DecodeError, HistogramAdder};
pub use layout::{BUCKETS, ERROR_PPM, HIGHEST, LOWEST, SIGNIFICANT_DIGITS, bucket_bounds, bucket_index, bucket_middle};
pub use sum::{HistogramSum, OverflowError};

/// An immutable histogram: only the buckets in use, with the exact sum and maximum beside them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Histogram {
    /// Ascending bucket numbers below [`BUCKETS`].
    indices: Box<[u16]>,
    /// A count above 0 for each of them.
    counts: Box<[u64]>,
    count: u64,
    sum: u128,
    max: u64,
    error_ppm: u32,
}

impl Histogram {
    /// A histogram without values.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// `n` times the same value. Values above [`HIGHEST`] count in its bucket.
    #[must_use]
    pub fn of(value: u64, n: u64) -> Self {
        if n == 0 {
            return Self::empty();
        }
        let sum = u128::from(value) * u128::from(n);
        Self::from_parts(vec![bucket_index(value) as u16], vec![n], n, sum, value, 0)
    }

    /// Takes parts that the caller has checked: ascending indices, counts above 0 that add up to `count`.
    fn from_parts(indices: Vec<u16>, counts: Vec<u64>, count: u64, sum: u128, max: u64, error_ppm: u32) -> Self {
        debug_assert!(indices.is_sorted_by(|a, b| a < b) && counts.iter().all(|&n| n > 0));
        debug_assert_eq!(counts.iter().sum::<u64>(), count);
        Self { indices: indices.into(), counts: counts.into(), count, sum, max, error_ppm }
    }

    /// Number of values.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Sum of the values, exact as far as the sender was.
    #[must_use]
    pub const fn sum(&self) -> u128 {
        self.sum
    }

    /// Largest value, exact as far as the sender reported it; 0 when empty.
    #[must_use]
    pub const fn max(&self) -> u64 {
        self.max
    }

    /// Bound of the relative error of values taken over from another shape, in parts per million; 0 when all were
    /// recorded here. Merges by maximum. The layout's own [`ERROR_PPM`] comes on top.
    #[must_use]
    pub const fn error_ppm(&self) -> u32 {
        self.error_ppm
    }

    /// Bound of the relative error of a quantile, in parts per million: the layout's own and the senders'.
    #[must_use]
    pub const fn quantile_error_ppm(&self) -> u32 {
        self.error_ppm.saturating_add(ERROR_PPM)
    }

    /// True without values.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Arithmetic mean; `None` when empty.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum as f64 / self.count as f64)
    }

    /// Bytes it takes in memory.
    #[must_use]
    pub fn memory(&self) -> usize {
        size_of::<Self>() + size_of_val(&*self.indices) + size_of_val(&*self.counts)
    }

    /// Buckets in use, ascending: number and count.
    pub fn buckets(&self) -> impl DoubleEndedIterator<Item = (usize, u64)> + ExactSizeIterator + '_ {
        self.indices.iter().zip(&self.counts).map(|(&index, &count)| (usize::from(index), count))
    }

    /// True when no bucket holds more than `most` values.
    #[must_use]
    pub fn within(&self, most: u64) -> bool {
        self.count <= most || self.counts.iter().all(|&n| n <= most)
    }

    /// The values at `quantiles` (0 to 1), each the middle of its bucket and at most the maximum. All 0 when empty.
    ///
    /// The rank of a quantile is HdrHistogram's: the next integer at or above quantile times count, at least 1. One
    /// pass over the buckets in use while the quantiles ascend.
    #[must_use]
    pub fn quantiles(&self, quantiles: &[f64]) -> Vec<u64> {
        if self.is_empty() {
            return vec![0; quantiles.len()];
        }
        let (mut at, mut reached) = (0, self.counts[0]);
        let value = |&quantile: &f64| {
            // `as` saturates and maps what is not a number to 0 (Rust reference, numeric cast).
            let quantile = if quantile > 1.0 { 1.0 } else { quantile };
            let rank = ((quantile * self.count as f64).ceil() as u64).max(1);
            if rank <= reached - self.counts[at] {
                (at, reached) = (0, self.counts[0]);
            }
            while reached < rank && at + 1 < self.counts.len() {
                at += 1;
                reached += self.counts[at];
            }
            // A count beyond 2^53 may round up to a rank that no bucket reaches.
            let index = if reached < rank { 0 } else { usize::from(self.indices[at]).min(LAST_BUCKET) };
            bucket_middle(index).min(self.max)
        };
        quantiles.iter().map(value).collect()
    }

    /// The value at quantile `q` (0 to 1); `None` when empty.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<u64> {
        (!self.is_empty()).then(|| self.quantiles(&[q])[0])
    }
}

/// The bucket of [`HIGHEST`]; bytes may name the few beyond it, which count as this one.
const LAST_BUCKET: usize = bucket_index(HIGHEST);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(values: &[u64]) -> Histogram {
        let mut sum = HistogramSum::new();
        values.iter().for_each(|&v| sum.record(v, 1));
        sum.to_histogram()
    }

    proptest! {
        #[test]
        fn any_split_merged_equals_the_whole(values in prop::collection::vec(0u64..=HIGHEST, 0..300), cut: prop::sample::Index) {
            let at = if values.is_empty() { 0 } else { cut.index(values.len()) };
            let mut merged = HistogramSum::new();
            merged.add(&of(&values[at..])).unwrap();
            merged.add(&of(&values[..at])).unwrap();
            prop_assert_eq!(merged.to_histogram(), of(&values));
        }

        #[test]
        fn what_was_added_can_be_taken_back(left in prop::collection::vec(0u64..=HIGHEST, 0..100), right in prop::collection::vec(0u64..=HIGHEST, 0..100)) {
            let mut sum = HistogramSum::new();
            sum.add(&of(&left)).unwrap();
            sum.add(&of(&right)).unwrap();
            sum.subtract(&of(&right)).unwrap();
            let (back, left) = (sum.to_histogram(), of(&left));
            prop_assert!(back.buckets().eq(left.buckets()));
            prop_assert_eq!((back.count(), back.sum()), (left.count(), left.sum()));
        }

        #[test]
        fn quantiles_are_the_crates(buckets in prop::collection::btree_map(0u16..BUCKETS as u16, prop_oneof![1u64..5, 1u64..1 << 51], 1..60), max: u64, quantiles in prop::collection::vec(prop_oneof![0.0f64..=1.0, Just(0.0), Just(1.0), Just(0.5), Just(0.999), any::<f64>()], 1..6)) {
            let count = buckets.values().sum();
            let histogram = Histogram::from_parts(buckets.keys().copied().collect(), buckets.values().copied().collect(), count, 0, max, 0);
            let mut reference = layout::crate_histogram();
            for (index, n) in histogram.buckets() {
                reference.saturating_record_n(bucket_bounds(index).0, n);
            }
            let expected: Vec<u64> = quantiles
                .iter()
                .map(|&q| bucket_middle(bucket_index(reference.value_at_quantile(q))).min(max))
                .collect();
            prop_assert_eq!(histogram.quantiles(&quantiles), expected);
        }

        #[test]
        fn quantiles_stay_within_the_bound(mut values in prop::collection::vec(1u64..10_000_000_000, 1..200), q in 0.0f64..=1.0) {
            values.sort_unstable();
            let rank = ((q * values.len() as f64).ceil() as usize).clamp(1, values.len());
            let exact = values[rank - 1] as f64;
            let answer = of(&values).quantile(q).unwrap() as f64;
            // Half a unit of rounding for values whose bucket holds an even number of integers.
            prop_assert!((answer - exact).abs() <= exact * f64::from(ERROR_PPM) / 1e6 + 0.5, "{answer} for {exact}");
        }
    }

    #[test]
    fn no_quantile_exceeds_the_largest_value() {
        // The bucket of 1,000,000 is 999,424..=1,003,519 with the middle 1,001,471.
        assert_eq!(of(&[1_000_000]).quantiles(&[0.5, 1.0]), [1_000_000; 2]);
        assert_eq!(of(&[1_000_000, 1_003_000]).quantile(0.5), Some(1_001_471));
        assert_eq!(Histogram::empty().quantile(0.5), None);
    }
}
