//! Exact re-bucketing to one significant digit.

use super::{BUCKETS, Histogram, bucket_bounds, bucket_index};

/// Bound of the relative error of one significant digit, in parts per million: half a bucket of 1/16. The layout's own
/// [`super::ERROR_PPM`] comes on top.
pub const COARSE_ERROR_PPM: u32 = 31_250;

/// Values 0 to 31 have a bucket each (HdrHistogram: 1 digit needs 20 single units, next power of two).
const SUB_BUCKETS: u64 = 32;
/// Each further power of two is cut in this many.
const HALF: u64 = 16;

impl Histogram {
    /// The same values with one significant digit: every bucket of HdrHistogram's layout with 1 digit is one bucket of
    /// ours, the one that holds its middle. Count, sum and maximum stay, the bound of the error grows by
    /// [`COARSE_ERROR_PPM`]. Merging before or after gives the same.
    #[must_use]
    pub fn coarse(&self) -> Self {
        if self.is_empty() {
            return self.clone();
        }
        let (mut indices, mut counts): (Vec<u16>, Vec<u64>) = (Vec::new(), Vec::new());
        for (index, n) in self.buckets() {
            let index = coarse_index(index) as u16;
            match counts.last_mut().filter(|_| indices.last() == Some(&index)) {
                // No bucket exceeds the total, so none can overflow.
                Some(count) => *count += n,
                None => {
                    indices.push(index);
                    counts.push(n);
                }
            }
        }
        let error_ppm = self.error_ppm.saturating_add(COARSE_ERROR_PPM);
        Self::from_parts(indices, counts, self.count, self.sum, self.max, error_ppm)
    }
}

/// The bucket of ours that stands for the bucket of one digit in which `index` lies.
fn coarse_index(index: usize) -> usize {
    let (value, _) = bucket_bounds(index.min(BUCKETS - 1));
    if value < SUB_BUCKETS {
        return index;
    }
    // Powers of two above 32.
    let power = (64 - 5) - value.leading_zeros();
    let low = value >> power << power;
    debug_assert!((HALF..SUB_BUCKETS).contains(&(value >> power)), "the top five bits of {value}");
    let middle = low + ((1 << power) - 1) / 2;
    // The few buckets beyond the highest value count as its own.
    bucket_index(middle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::{ERROR_PPM, HIGHEST, HistogramSum};
    use proptest::prelude::*;

    fn of(values: &[u64]) -> Histogram {
        let mut sum = HistogramSum::new();
        values.iter().for_each(|&v| sum.record(v, 1));
        sum.to_histogram()
    }

    #[test]
    fn the_buckets_are_those_of_one_digit() {
        let one_digit = hdrhistogram::Histogram::<u64>::new_with_bounds(1, HIGHEST, 1).unwrap();
        for index in 0..=bucket_index(HIGHEST) {
            let (low, high) = bucket_bounds(index);
            let (low, high) = (low, high.min(HIGHEST));
            assert_eq!(one_digit.lowest_equivalent(low), one_digit.lowest_equivalent(high), "bucket {index} is cut");
            let stands_for = bucket_bounds(coarse_index(index)).0;
            assert_eq!(one_digit.lowest_equivalent(low), one_digit.lowest_equivalent(stands_for), "bucket {index}");
            assert_eq!(coarse_index(coarse_index(index)), coarse_index(index));
        }
    }

    proptest! {
        #[test]
        fn merging_before_or_after_gives_the_same(a in prop::collection::vec(0u64..=HIGHEST, 0..100), b in prop::collection::vec(0u64..100_000, 0..100), q in 0.0f64..=1.0) {
            let (left, right) = (of(&a), of(&b));
            let whole = left.plus(&right).unwrap();
            prop_assert_eq!(left.coarse().plus(&right.coarse()).unwrap(), whole.coarse());
            prop_assert_eq!((whole.coarse().count(), whole.coarse().sum(), whole.coarse().max()), (whole.count(), whole.sum(), whole.max()));
            let mut values: Vec<u64> = a.iter().chain(&b).copied().collect();
            values.sort_unstable();
            if let Some(answer) = whole.coarse().quantile(q) {
                let rank = ((q * values.len() as f64).ceil() as usize).clamp(1, values.len());
                let (exact, answer) = (values[rank - 1] as f64, answer as f64);
                let bound = exact * f64::from(COARSE_ERROR_PPM + ERROR_PPM) / 1e6 + 1.0;
                prop_assert!((answer - exact).abs() <= bound, "{answer} for {exact}");
            }
        }
    }
}
