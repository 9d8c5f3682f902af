//! The one shape of every histogram: which value falls in which bucket.

/// Lowest value distinguished from 0.
pub const LOWEST: u64 = 1;
/// Highest value, one hour in nanoseconds; larger ones count as this.
pub const HIGHEST: u64 = 3_600_000_000_000;
/// Significant decimal digits.
pub const SIGNIFICANT_DIGITS: u8 = 2;
/// Buckets of the layout.
pub const BUCKETS: usize = 4608;
/// Bound of the relative error of a bucket's middle, in parts per million: half a bucket of 1/128.
pub const ERROR_PPM: u32 = 3_906;

/// Values 0 to 255 have a bucket each (HdrHistogram: 2 digits need 200 single units, next power of two).
const SUB_BUCKETS: u64 = 256;
/// Each further power of two is cut in this many buckets.
const HALF: usize = 128;

/// The bucket of `value`. Values above [`HIGHEST`] fall in the bucket of [`HIGHEST`].
#[must_use]
pub const fn bucket_index(value: u64) -> usize {
    let value = if value > HIGHEST { HIGHEST } else { value };
    // Powers of two above 256: 0 for values below 256.
    let power = (64 - 8) - (value | (SUB_BUCKETS - 1)).leading_zeros() as usize;
    power * HALF + (value >> power) as usize
}

/// Smallest and largest value of a bucket below [`BUCKETS`].
#[must_use]
pub const fn bucket_bounds(index: usize) -> (u64, u64) {
    if index < SUB_BUCKETS as usize {
        return (index as u64, index as u64);
    }
    let power = index / HALF - 1;
    let low = ((index % HALF + HALF) as u64) << power;
    (low, low + (1 << power) - 1)
}

/// The middle of a bucket: what is reported for every value in it.
#[must_use]
pub const fn bucket_middle(index: usize) -> u64 {
    let (low, high) = bucket_bounds(index);
    low + (high - low) / 2
}

/// An empty histogram of the crate in this layout: what the layout and the quantiles are tested against.
#[cfg(test)]
pub(super) fn crate_histogram() -> hdrhistogram::Histogram<u64> {
    hdrhistogram::Histogram::new_with_bounds(LOWEST, HIGHEST, SIGNIFICANT_DIGITS)
        .expect("constant bounds that the crate takes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_layout_is_the_crates() {
        let crate_histogram = crate_histogram();
        assert_eq!(crate_histogram.distinct_values(), BUCKETS);
        for index in 0..=bucket_index(HIGHEST) {
            let (low, high) = bucket_bounds(index);
            assert_eq!((bucket_index(low), bucket_index(high.min(HIGHEST))), (index, index));
            assert_eq!(crate_histogram.lowest_equivalent(low), low);
            assert_eq!(crate_histogram.highest_equivalent(low), high);
        }
    }

    proptest! {
        #[test]
        fn a_value_lies_in_its_bucket(value: u64) {
            let index = bucket_index(value);
            let (low, high) = bucket_bounds(index);
            prop_assert!(index < BUCKETS && low <= value.min(HIGHEST) && value.min(HIGHEST) <= high);
            let middle = bucket_middle(index) as f64;
            prop_assert!((middle - low as f64).max(high as f64 - middle) <= (low as f64) * f64::from(ERROR_PPM) / 1e6 + 0.5);
        }
    }
}
