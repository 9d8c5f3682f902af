//! Histograms inside an expression: Starling's buckets with counts that may be fractions.

use starling_proto::histogram::{Histogram, bucket_bounds, bucket_middle};

/// A histogram whose counts were summed, scaled or taken apart. Its buckets are those of [`Histogram`]; its numbers are
/// in the unit of the series (seconds, bytes), not in fixed point.
#[derive(Debug, Clone, PartialEq)]
pub struct FloatHistogram {
    /// Bucket number and count, ascending, counts not 0.
    buckets: Vec<(u16, f64)>,
    count: f64,
    sum: f64,
    /// Largest value that can be in it; 0 when nothing is known.
    max: f64,
    /// Decimal digits of fixed point.
    scale: u8,
}

/// One bucket as it is written in answers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    /// Lower bound; part of the bucket only when it equals `upper`.
    pub lower: f64,
    /// Upper bound; part of the bucket.
    pub upper: f64,
    /// Values in it.
    pub count: f64,
}

impl FloatHistogram {
    /// One without values, with the decimal digits of its series.
    #[must_use]
    pub fn empty(scale: u8) -> Self {
        Self { buckets: Vec::new(), count: 0.0, sum: 0.0, max: 0.0, scale }
    }

    /// `histogram`, whose values are in fixed point of `scale` digits.
    #[must_use]
    pub fn of(histogram: &Histogram, scale: u8) -> Self {
        let unit = unit(scale);
        Self {
            buckets: histogram.buckets().map(|(index, n)| (index as u16, n as f64)).collect(),
            count: histogram.count() as f64,
            sum: histogram.sum() as f64 / unit,
            max: histogram.max() as f64 / unit,
            scale,
        }
    }

    /// With another largest value, in fixed point: that of what is left when something was taken away.
    #[must_use]
    pub(crate) fn at_most(self, max: u64) -> Self {
        Self { max: max as f64 / unit(self.scale), ..self }
    }

    /// Number of values.
    #[must_use]
    pub const fn count(&self) -> f64 {
        self.count
    }

    /// Sum of the values.
    #[must_use]
    pub const fn sum(&self) -> f64 {
        self.sum
    }

    /// How many buckets are in use: what it costs to look at it.
    #[must_use]
    pub const fn weight(&self) -> u64 {
        1 + self.buckets.len() as u64
    }

    /// Buckets in use, ascending. The bounds are those of integers in fixed point: a bucket of 256 to 257 is written as
    /// (255, 257], so that neighbours touch.
    pub fn buckets(&self) -> impl Iterator<Item = Bucket> {
        let unit = unit(self.scale);
        self.buckets.iter().map(move |&(index, count)| {
            let (low, high) = bucket_bounds(usize::from(index));
            Bucket { lower: low.saturating_sub(1) as f64 / unit, upper: high as f64 / unit, count }
        })
    }

    /// The sum of both with `factor` times the other, bucket by bucket; `None` when their series have another number of
    /// decimal digits, so that their buckets are not the same.
    #[must_use]
    pub fn plus(&self, other: &Self, factor: f64) -> Option<Self> {
        if self.scale != other.scale {
            return None;
        }
        let mut buckets = Vec::with_capacity(self.buckets.len().max(other.buckets.len()));
        let (mut left, mut right) = (self.buckets.iter().peekable(), other.buckets.iter().peekable());
        loop {
            let index = match (left.peek(), right.peek()) {
                (None, None) => break,
                (Some(a), None) => a.0,
                (None, Some(b)) => b.0,
                (Some(a), Some(b)) => a.0.min(b.0),
            };
            let a = left.next_if(|bucket| bucket.0 == index).map_or(0.0, |bucket| bucket.1);
            let b = right.next_if(|bucket| bucket.0 == index).map_or(0.0, |bucket| bucket.1);
            let count = a + factor * b;
            if count != 0.0 {
                buckets.push((index, count));
            }
        }
        Some(Self {
            buckets,
            count: self.count + factor * other.count,
            sum: self.sum + factor * other.sum,
            max: self.max.max(other.max),
            scale: self.scale,
        })
    }

    /// Every count and the sum times `factor`.
    #[must_use]
    pub fn times(&self, factor: f64) -> Self {
        let buckets = self.buckets.iter().map(|&(index, count)| (index, count * factor)).collect();
        Self { buckets, count: self.count * factor, sum: self.sum * factor, ..*self }
    }

    /// True when `self` cannot follow `earlier` without a restart in between: a count fell.
    #[must_use]
    pub fn is_reset_after(&self, earlier: &Self) -> bool {
        let mut own = self.buckets.iter().peekable();
        self.count < earlier.count
            || earlier.buckets.iter().any(|&(index, count)| {
                while own.next_if(|bucket| bucket.0 < index).is_some() {}
                own.peek().filter(|bucket| bucket.0 == index).map_or(0.0, |bucket| bucket.1) < count
            })
    }

    /// The value at quantile `q`: the middle of its bucket and at most the largest value, as everywhere in Starling.
    /// `-Inf` below 0, `+Inf` above 1, not a number without values.
    #[must_use]
    pub fn quantile(&self, q: f64) -> f64 {
        if q.is_nan() || self.count <= 0.0 {
            return f64::NAN;
        }
        if !(0.0..=1.0).contains(&q) {
            return if q < 0.0 { f64::NEG_INFINITY } else { f64::INFINITY };
        }
        // Counts are fractions: what is less than a billionth short of the rank has reached it.
        let rank = q * self.count * (1.0 - 1e-9);
        let mut reached = 0.0;
        let mut at = self.buckets.last();
        for bucket in self.buckets.iter().filter(|bucket| bucket.1 > 0.0) {
            reached += bucket.1;
            at = Some(bucket);
            if reached >= rank {
                break;
            }
        }
        let Some(&(index, _)) = at else { return f64::NAN };
        let middle = bucket_middle(usize::from(index)) as f64 / unit(self.scale);
        if self.max > 0.0 { middle.min(self.max) } else { middle }
    }

    /// The share of the values in (`lower`, `upper`]; within a bucket values are taken as spread evenly.
    #[must_use]
    pub fn fraction(&self, lower: f64, upper: f64) -> f64 {
        if self.count <= 0.0 || lower.is_nan() || upper.is_nan() {
            return f64::NAN;
        }
        if lower >= upper {
            return 0.0;
        }
        let below = |bound: f64| -> f64 {
            self.buckets()
                .map(|bucket| {
                    if bound >= bucket.upper {
                        bucket.count
                    } else if bound <= bucket.lower {
                        0.0
                    } else {
                        bucket.count * (bound - bucket.lower) / (bucket.upper - bucket.lower)
                    }
                })
                .sum()
        };
        (below(upper) - below(lower)) / self.count
    }

    /// The variance of the values, each taken as the middle of its bucket; not a number without values.
    #[must_use]
    pub fn variance(&self) -> f64 {
        let mean = self.sum / self.count;
        let unit = unit(self.scale);
        let spread: f64 = self
            .buckets
            .iter()
            .map(|&(index, count)| {
                let off = bucket_middle(usize::from(index)) as f64 / unit - mean;
                count * off * off
            })
            .sum();
        spread / self.count
    }
}

fn unit(scale: u8) -> f64 {
    10f64.powi(i32::from(scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(values: &[(u64, u64)]) -> FloatHistogram {
        values.iter().fold(FloatHistogram::empty(9), |sum, &(value, n)| {
            sum.plus(&FloatHistogram::of(&Histogram::of(value, n), 9), 1.0).unwrap()
        })
    }

    #[test]
    fn the_zero_bucket_is_a_bucket() {
        // Scenario 58: 800 zeros and 200 of one second.
        let histogram = seconds(&[(0, 800), (1_000_000_000, 200)]);
        assert_eq!(histogram.quantile(0.5), 0.0);
        assert_eq!(histogram.quantile(0.9), 1.0);
        let buckets: Vec<_> = histogram.buckets().collect();
        assert_eq!((buckets[0].lower, buckets[0].upper, buckets[0].count), (0.0, 0.0, 800.0));
        assert!(buckets[1].lower < 1.0 && buckets[1].upper >= 1.0 && buckets.len() == 2);
    }

    #[test]
    fn the_p99_of_two_nodes_is_that_of_all_requests() {
        // Scenario 5: never 505 ms, the mean of the two.
        let merged = seconds(&[(10_000_000, 9_900), (1_000_000_000, 200)]);
        assert!((merged.quantile(0.99) - 1.0).abs() < 0.004);
        assert!((merged.quantile(0.5) - 0.01).abs() < 0.000_04);
        assert!((merged.times(1.0 / 60.0).quantile(0.99) - 1.0).abs() < 0.004);
        assert!((merged.fraction(0.5, 2.0) - 200.0 / 10_100.0).abs() < 1e-12);
    }

    #[test]
    fn what_was_added_can_be_taken_away() {
        let (a, b) = (seconds(&[(5, 3), (700, 2)]), seconds(&[(700, 1), (9_000, 4)]));
        let both = a.plus(&b, 1.0).unwrap();
        assert_eq!(both.plus(&b, -1.0).unwrap().buckets, a.buckets);
        assert!(a.is_reset_after(&both) && !both.is_reset_after(&a));
        assert_eq!(a.plus(&FloatHistogram::empty(3), 1.0), None);
        assert!(FloatHistogram::empty(9).quantile(0.5).is_nan());
        assert_eq!(a.quantile(-1.0), f64::NEG_INFINITY);
        assert_eq!(a.quantile(2.0), f64::INFINITY);
    }
}
