//! Histogram points as they come, checked, in one form for explicit and exponential buckets.

use starling_proto::{histogram::HIGHEST, histogram::HistogramSum, limits::BUCKET_COUNT_MAX};

use super::refusal::Refusal;

/// Explicit buckets of one point at most: the SDKs' defaults have 15.
const EXPLICIT_BUCKETS_MAX: usize = 256;
/// Exponential buckets of one point at most: the SDKs' default is 160.
pub(super) const EXPONENTIAL_BUCKETS_MAX: usize = 320;
/// Error stated where none is known: a bucket that starts at 0 or ends nowhere. Ten times the value.
pub(super) const UNBOUNDED_PPM: u32 = 10_000_000;

/// Counts by bucket.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Buckets {
    /// Bucket `i` holds values in `(bounds[i - 1], bounds[i]]`; the outer two are open.
    Explicit { bounds: Vec<f64>, counts: Vec<u64> },
    /// Bucket `i` holds values in `(base^(offset + i), base^(offset + i + 1)]`, base = 2^(2^-scale).
    Exponential { scale: i32, zero: u64, zero_threshold: f64, offset: i32, counts: Vec<u64> },
}

/// A histogram point of values that are never negative, such as durations and sizes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Point {
    pub(super) start_unix_ns: u64,
    pub(super) time_unix_ns: u64,
    pub(super) count: u64,
    pub(super) sum: Option<f64>,
    /// No value is smaller.
    pub(super) min: Option<f64>,
    /// No value is larger.
    pub(super) max: Option<f64>,
    /// The largest value itself, where that is known.
    pub(super) peak: Option<f64>,
    pub(super) buckets: Buckets,
}

impl Point {
    /// Checks that the parts fit each other.
    ///
    /// # Errors
    /// [`Refusal`], naming the part.
    pub(super) fn checked(self) -> Result<Self, Refusal> {
        for (value, name) in [(self.sum, "the sum"), (self.min, "the minimum"), (self.max, "the maximum")] {
            match value {
                Some(value) if !value.is_finite() => return Err(Refusal::NotFinite(name)),
                Some(value) if value < 0.0 => return Err(Refusal::Negative(name)),
                _ => {}
            }
        }
        let mut total = 0u64;
        for n in self.buckets.counts() {
            total = total.checked_add(n).ok_or(Refusal::OutOfRange("the count"))?;
        }
        if total != self.count {
            return Err(Refusal::Malformed("the buckets do not add up to the count"));
        }
        Ok(self)
    }

    /// Checks that the values can belong to one interval.
    pub(super) fn check_interval(&self) -> Result<(), Refusal> {
        if self.count > BUCKET_COUNT_MAX { Err(Refusal::OutOfRange("the count of one interval")) } else { Ok(()) }
    }

    /// Adds the values to `sum`, where one unit of the point is `factor` units of the layout. Counts are exact; each
    /// bucket is spread log-uniformly; the error this may cause is noted with the histogram.
    pub(super) fn spread_into(&self, sum: &mut HistogramSum, factor: f64) -> Result<(), Refusal> {
        self.check_interval()?;
        let (min, max) = (self.min.unwrap_or(0.0), self.max.unwrap_or(f64::INFINITY));
        let (mut error_ppm, mut estimate) = (0u32, 0f64);
        self.buckets.for_each(|low, high, n| {
            let (mut low, mut high) = (low.max(0.0), high);
            // The sender's extremes narrow the outer buckets; extremes that contradict the bucket are not believed.
            if min > low && min <= high {
                low = min;
            }
            if max < high && max >= low {
                high = max;
            }
            let mut ppm = bound_ppm(low, high);
            if high.is_infinite() {
                (high, ppm) = (low, UNBOUNDED_PPM);
            }
            sum.spread(low * factor, high * factor, n);
            estimate += n as f64 * if low > 0.0 { (low * high).sqrt() } else { high / 2.0 };
            error_ppm = error_ppm.max(ppm);
        });
        let highest_sum = u128::from(self.count) * u128::from(HIGHEST);
        // `as` saturates; the sum is finite and not negative here.
        let total = ((self.sum.unwrap_or(estimate) * factor).round() as u128).min(highest_sum);
        let largest = self.peak.map(|peak| ((peak * factor).round() as u64).min(HIGHEST));
        sum.add_foreign_totals(total, largest, error_ppm);
        Ok(())
    }
}

/// How far a value put anywhere in `(low, high]` may be off, in parts per million of the true one.
fn bound_ppm(low: f64, high: f64) -> u32 {
    if high <= low {
        return 0;
    }
    if low <= 0.0 {
        return UNBOUNDED_PPM;
    }
    (((high / low) - 1.0) * 1e6).ceil().min(f64::from(UNBOUNDED_PPM)) as u32
}

impl Buckets {
    /// Buckets between `bounds`, of which there is one less than `counts`.
    ///
    /// # Errors
    /// [`Refusal`]: too many, bounds that do not rise or are no numbers, values below zero.
    pub(super) fn explicit(bounds: Vec<f64>, counts: Vec<u64>) -> Result<Self, Refusal> {
        if counts.len() > EXPLICIT_BUCKETS_MAX {
            return Err(Refusal::Buckets { found: counts.len(), most: EXPLICIT_BUCKETS_MAX });
        }
        if counts.len() != bounds.len() + 1 {
            return Err(Refusal::Malformed("there is not one bucket more than bounds"));
        }
        if bounds.iter().any(|bound| !bound.is_finite()) {
            return Err(Refusal::NotFinite("a bucket's bound"));
        }
        if !bounds.is_sorted_by(|a, b| a < b) {
            return Err(Refusal::Malformed("the bounds do not rise"));
        }
        if bounds.iter().zip(&counts).any(|(&bound, &n)| bound < 0.0 && n > 0) {
            return Err(Refusal::Negative("a bucket in use"));
        }
        Ok(Self::Explicit { bounds, counts })
    }

    fn counts(&self) -> impl Iterator<Item = u64> + '_ {
        let (zero, counts) = match self {
            Self::Explicit { counts, .. } => (0, counts),
            Self::Exponential { zero, counts, .. } => (*zero, counts),
        };
        std::iter::once(zero).chain(counts.iter().copied())
    }

    /// Calls `take` with the bounds and the count of every bucket in use.
    fn for_each(&self, mut take: impl FnMut(f64, f64, u64)) {
        match self {
            Self::Explicit { bounds, counts } => {
                for (i, &n) in counts.iter().enumerate().filter(|&(_, &n)| n > 0) {
                    let low = i.checked_sub(1).map_or(0.0, |before| bounds[before]);
                    take(low, bounds.get(i).copied().unwrap_or(f64::INFINITY), n);
                }
            }
            Self::Exponential { scale, zero, offset, counts, .. } => {
                if *zero > 0 {
                    take(0.0, 0.0, *zero);
                }
                let width = f64::from(-*scale).exp2();
                let bound = |index: f64| (index * width).exp2();
                for (i, &n) in counts.iter().enumerate().filter(|&(_, &n)| n > 0) {
                    let index = f64::from(*offset) + i as f64;
                    take(bound(index), bound(index + 1.0), n);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::otlp::testing::{decoded_explicit, decoded_exponential, explicit, exponential};
    use super::*;
    use proptest::prelude::*;

    fn spread(point: &Point, factor: f64) -> starling_proto::histogram::Histogram {
        let mut sum = HistogramSum::new();
        point.spread_into(&mut sum, factor).unwrap();
        sum.to_histogram()
    }

    #[test]
    fn explicit_buckets_keep_count_sum_and_extremes() {
        let point = explicit(&[0.1, 0.5], &[3, 4, 2], 2.5, Some((0.05, 0.9)));
        let histogram = spread(&decoded_explicit(&point).unwrap(), 1e9);
        assert_eq!((histogram.count(), histogram.sum(), histogram.max()), (9, 2_500_000_000, 900_000_000));
        let low = histogram.quantile(0.0).unwrap();
        assert!((49_000_000..70_000_000).contains(&low), "{low}");
        assert_eq!(histogram.error_ppm(), 4_000_000, "0.5 / 0.1 - 1");
    }

    #[test]
    fn without_extremes_the_open_ends_have_no_bound() {
        let point = explicit(&[0.1, 0.5], &[0, 1, 5], 10.0, None);
        let histogram = spread(&decoded_explicit(&point).unwrap(), 1e9);
        assert_eq!(histogram.error_ppm(), UNBOUNDED_PPM);
        assert!(histogram.quantile(1.0).unwrap() < 505_000_000, "nothing beyond the last bound is made up");
    }

    #[test]
    fn no_buckets_lie_between_the_extremes() {
        let mut point = explicit(&[], &[], 6.0, Some((1.0, 3.0)));
        point.count = 3;
        point.bucket_counts.clear();
        let histogram = spread(&decoded_explicit(&point).unwrap(), 1e9);
        assert_eq!((histogram.count(), histogram.sum()), (3, 6_000_000_000));
        assert!(histogram.quantile(0.0).unwrap() >= 990_000_000 && histogram.max() == 3_000_000_000);
    }

    #[test]
    fn exponential_buckets_have_the_error_of_their_base() {
        // Scale 5, around 8 ms: 2^(-223/32) s.
        let point = exponential(5, -223, &[10, 20, 30], 1, 0.5);
        let histogram = spread(&decoded_exponential(&point).unwrap(), 1e9);
        assert_eq!((histogram.count(), histogram.sum()), (61, 500_000_000));
        let base = 2f64.powf(1.0 / 32.0);
        assert_eq!(histogram.error_ppm(), ((base - 1.0) * 1e6).ceil() as u32);
        let median = histogram.quantile(0.5).unwrap() as f64 / 1e9;
        let low = 2f64.powf(-223.0 / 32.0);
        assert!(median > low && median < low * base.powi(3), "{median}");
        assert_eq!(histogram.buckets().next(), Some((0, 1)), "the zero bucket");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let nan = explicit(&[0.1], &[1, 0], f64::NAN, None);
        assert_eq!(decoded_explicit(&nan), Err(Refusal::NotFinite("the sum")));
        let negative = explicit(&[0.1], &[1, 0], -1.0, None);
        assert_eq!(decoded_explicit(&negative), Err(Refusal::Negative("the sum")));
        let below = explicit(&[-1.0, 0.1], &[1, 0, 0], 1.0, None);
        assert_eq!(decoded_explicit(&below), Err(Refusal::Negative("a bucket in use")));
        let mut short = explicit(&[0.1, 0.2], &[1, 0, 0], 1.0, None);
        short.bucket_counts.pop();
        assert!(matches!(decoded_explicit(&short), Err(Refusal::Malformed(_))));
        let mut wrong = explicit(&[0.1], &[1, 1], 1.0, None);
        wrong.count = 5;
        assert!(matches!(decoded_explicit(&wrong), Err(Refusal::Malformed(_))));
        let falling = explicit(&[0.2, 0.1], &[1, 0, 0], 1.0, None);
        assert!(matches!(decoded_explicit(&falling), Err(Refusal::Malformed(_))));
        let infinite = explicit(&[f64::INFINITY], &[1, 0], 1.0, None);
        assert!(matches!(decoded_explicit(&infinite), Err(Refusal::NotFinite(_))));
        let many = explicit(&vec![0.0; 300], &vec![0; 301], 1.0, None);
        assert!(matches!(decoded_explicit(&many), Err(Refusal::Buckets { found: 301, .. })));
        let overflow = explicit(&[0.1], &[u64::MAX, 2], 1.0, None);
        assert!(matches!(decoded_explicit(&overflow), Err(Refusal::OutOfRange(_))));

        assert!(decoded_exponential(&exponential(21, 0, &[1], 0, 1.0)).is_err());
        assert!(decoded_exponential(&exponential(0, i32::MIN, &[1], 0, 1.0)).is_err());
        assert!(decoded_exponential(&exponential(0, 0, &vec![1; 400], 0, 1.0)).is_err());
    }

    proptest! {
        #[test]
        fn counts_are_exact_for_any_buckets(counts in prop::collection::vec(0u64..1000, 1..160), scale in -10i32..=20, offset in -100_000i32..100_000, zero in 0u64..10) {
            let point = decoded_exponential(&exponential(scale, offset, &counts, zero, 1.0)).unwrap();
            let histogram = spread(&point, 1e9);
            prop_assert_eq!(histogram.count(), counts.iter().sum::<u64>() + zero);
        }
    }
}
