//! Native histograms: Prometheus's sparse exponential buckets, made of Starling's.
//!
//! Schema 5: 32 buckets for each doubling, each 2.2 % wide. Each of Starling's buckets, at most 0.8 % wide, goes whole into
//! the one that holds its middle; always into the same one, so that totals rise bucket by bucket. A quantile of the native
//! histogram is off by at most 2.6 %: the width of a bucket, and 0.4 % of Starling's own.

use starling_proto::histogram::{Histogram, bucket_middle};

/// Buckets for each doubling, as a power of two.
pub const SCHEMA: i32 = 5;
/// Values up to this are zeros: the width of client libraries' zero bucket, 2^-128.
pub(crate) const ZERO_THRESHOLD: f64 = f64::from_bits((1023 - 128) << 52);

/// A histogram in the buckets of [`SCHEMA`].
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Native {
    /// Values.
    pub count: u64,
    /// Their sum, in the unit of the series.
    pub sum: f64,
    /// Values that are 0.
    pub zeros: u64,
    /// Number of a bucket and values in it, ascending: bucket i holds what is above 2^((i-1)/32) and at most 2^(i/32).
    pub buckets: Vec<(i32, u64)>,
}

impl Native {
    /// Of values in fixed point of `scale` digits.
    #[must_use]
    pub fn of(histogram: &Histogram, scale: u8) -> Self {
        let unit = 10f64.powi(i32::from(scale));
        let mut native = Self { count: histogram.count(), sum: histogram.sum() as f64 / unit, ..Self::default() };
        for (index, count) in histogram.buckets() {
            let middle = bucket_middle(index);
            if middle == 0 {
                native.zeros += count;
                continue;
            }
            let number = libm::ceil(libm::log2(middle as f64 / unit) * f64::from(1 << SCHEMA)) as i32;
            match native.buckets.last_mut() {
                Some((last, held)) if *last == number => *held += count,
                _ => native.buckets.push((number, count)),
            }
        }
        native
    }

    /// Runs of buckets without a gap: how many numbers lie between the end of the last run and this one (of the first its
    /// number), and how long it is.
    pub(crate) fn spans(&self) -> Vec<(i32, u32)> {
        let mut spans: Vec<(i32, u32)> = Vec::new();
        let mut next = 0;
        for (at, (number, _)) in self.buckets.iter().enumerate() {
            match spans.last_mut() {
                Some((_, length)) if at > 0 && *number == next => *length += 1,
                _ => spans.push((number - next, 1)),
            }
            next = number + 1;
        }
        spans
    }

    /// The difference of each count to the one before.
    pub(crate) fn deltas(&self) -> Vec<i64> {
        let mut before = 0;
        let delta = |(_, count): &(i32, u64)| {
            let count = i64::try_from(*count).unwrap_or(i64::MAX);
            count - std::mem::replace(&mut before, count)
        };
        self.buckets.iter().map(delta).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn upper(number: i32) -> f64 {
        2f64.powf(f64::from(number) / f64::from(1 << SCHEMA))
    }

    #[test]
    fn a_value_is_in_the_bucket_that_holds_it() {
        let native = Native::of(&Histogram::of(2_000_000, 3), 9);
        let (number, count) = native.buckets[0];
        assert!(upper(number - 1) < 0.002 * 1.004 && 0.002 * 0.996 <= upper(number) && count == 3);
        assert_eq!(Native::of(&Histogram::of(1, 7), 0).buckets, [(0, 7)], "1 is the upper bound of bucket 0");
        assert_eq!(Native::of(&Histogram::of(2, 7), 0).buckets, [(32, 7)]);
    }

    /// Scenario 58.
    #[test]
    fn zeros_are_in_the_zero_bucket() {
        let both = Histogram::of(0, 800).plus(&Histogram::of(1_000_000_000, 200)).unwrap();
        let native = Native::of(&both, 9);
        assert_eq!((native.count, native.zeros, native.sum), (1_000, 800, 200.0));
        assert_eq!(native.buckets.len(), 1);
    }

    #[test]
    fn spans_and_deltas_say_the_same_as_the_buckets() {
        let native = Native { buckets: vec![(-3, 5), (-2, 2), (1, 9)], ..Native::default() };
        assert_eq!(native.spans(), [(-3, 2), (2, 1)]);
        assert_eq!(native.deltas(), [5, -3, 7]);
        let from_zero = Native { buckets: vec![(0, 1)], ..Native::default() };
        assert_eq!(from_zero.spans(), [(0, 1)]);
    }

    proptest! {
        #[test]
        fn totals_rise_bucket_by_bucket(values in prop::collection::vec((0u64..3_600_000_000_000, 1u64..50), 1..40)) {
            let mut total = Histogram::empty();
            let mut before = Native::default();
            for (value, count) in values {
                total = total.plus(&Histogram::of(value, count)).unwrap();
                let native = Native::of(&total, 9);
                let in_buckets: u64 = native.buckets.iter().map(|(_, count)| count).sum();
                prop_assert_eq!(in_buckets + native.zeros, native.count);
                prop_assert!(native.buckets.is_sorted_by(|a, b| a.0 < b.0));
                for (number, count) in &before.buckets {
                    let now = native.buckets.iter().find(|(held, _)| held == number);
                    prop_assert!(now.is_some_and(|(_, now)| now >= count));
                }
                before = native;
            }
        }
    }
}
