//! Parting values off a histogram, so that it can be counted little by little.

use super::{Histogram, bucket_bounds};

impl Histogram {
    /// Parts `n` of the values off: the part, and what is left. Both together are the whole, bucket by bucket and in
    /// their sum; a part has its share of the sum, so that all parts have the mean of the whole.
    ///
    /// The values are taken evenly over their order, one of each `count / n` neighbours, so that the quantiles of a part
    /// are those of the whole as near as so few values can be. `phase`, from 0 to below 1, says which of the neighbours
    /// it is. One that changes from part to part keeps rare values from all staying behind for the last one.
    #[must_use]
    pub fn part(&self, n: u64, phase: f64) -> (Self, Self) {
        if n == 0 {
            return (Self::empty(), self.clone());
        }
        if n >= self.count {
            return (self.clone(), Self::empty());
        }
        // `as` saturates: a phase that is no number is 0, one of 1 and more takes the last neighbour.
        let offset = ((phase * self.count as f64) as u64).min(self.count - 1);
        let mut part = (Vec::new(), Vec::new());
        let mut rest = (Vec::with_capacity(self.indices.len()), Vec::with_capacity(self.indices.len()));
        let (mut below, mut taken) = (0, 0);
        for (&index, &count) in self.indices.iter().zip(&self.counts) {
            below += count;
            let until = self.chosen_below(below, n, offset);
            for (side, count) in [(&mut part, until - taken), (&mut rest, count - (until - taken))] {
                if count > 0 {
                    side.0.push(index);
                    side.1.push(count);
                }
            }
            taken = until;
        }
        // The sum times n divided by the count, without overflow.
        let (count, wide) = (u128::from(self.count), u128::from(n));
        let sum = self.sum / count * wide + self.sum % count * wide / count;
        (self.side(part, n, sum), self.side(rest, self.count - n, self.sum - sum))
    }

    /// How many of the `n` chosen values are among the lowest `below`: value `i` of them is at place
    /// `(i * count + offset) / n`.
    fn chosen_below(&self, below: u64, n: u64, offset: u64) -> u64 {
        // Nearly all fit 64 bits, whose division takes a tenth of the time.
        match below.checked_mul(n) {
            Some(reached) => reached.saturating_sub(offset).div_ceil(self.count),
            None => {
                let reached = u128::from(below) * u128::from(n);
                // At most n.
                reached.saturating_sub(u128::from(offset)).div_ceil(u128::from(self.count)) as u64
            }
        }
    }

    fn side(&self, (indices, counts): (Vec<u16>, Vec<u64>), count: u64, sum: u128) -> Self {
        let top = indices.last().copied().unwrap_or_default();
        // The largest value itself is known of the side that has its bucket.
        let max = if self.indices.last() == Some(&top) { self.max } else { bucket_bounds(top.into()).1.min(self.max) };
        Self::from_parts(indices, counts, count, sum, max, self.error_ppm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::{HIGHEST, HistogramSum};
    use proptest::prelude::*;

    fn of(values: impl IntoIterator<Item = u64>) -> Histogram {
        let mut sum = HistogramSum::new();
        values.into_iter().for_each(|value| sum.record(value, 1));
        sum.to_histogram()
    }

    proptest! {
        #[test]
        fn parts_add_up_to_the_whole(
            values in prop::collection::vec(0u64..=HIGHEST, 1..300),
            parts in prop::collection::vec((0u64..40, 0.0f64..1.0), 0..20),
        ) {
            let whole = of(values);
            let (mut rest, mut together) = (whole.clone(), Histogram::empty());
            for (n, phase) in parts {
                let (part, left) = rest.part(n, phase);
                prop_assert_eq!(part.count(), n.min(rest.count()));
                prop_assert!(part.max() <= whole.max());
                together = together.plus(&part).unwrap();
                rest = left;
            }
            prop_assert_eq!(together.plus(&rest).unwrap(), whole);
        }

        #[test]
        fn counts_of_any_size_are_parted(counts in prop::collection::vec(1u64..u64::MAX / 8, 1..8), n: u64, phase: f64) {
            let mut sum = HistogramSum::new();
            counts.iter().zip(1u64..).for_each(|(&count, value)| sum.record(value * 1_000, count));
            let whole = sum.to_histogram();
            let (part, rest) = whole.part(n, phase);
            prop_assert_eq!(part.count(), n.min(whole.count()));
            prop_assert_eq!(part.plus(&rest).unwrap(), whole);
        }
    }

    #[test]
    fn a_part_is_like_the_whole() {
        let whole = of((1..=10_000u64).map(|i| i * 1_000));
        let mut rest = whole.clone();
        for second in 0..60u32 {
            let (part, left) = rest.part(165, (f64::from(second) * 0.618).fract());
            for q in [0.5, 0.9, 0.95] {
                let (of_part, of_whole) = (part.quantile(q).unwrap() as f64, whole.quantile(q).unwrap() as f64);
                assert!((of_part / of_whole - 1.0).abs() < 0.03, "{of_part} for {of_whole} at {q} in second {second}");
            }
            assert!((part.mean().unwrap() / whole.mean().unwrap() - 1.0).abs() < 1e-6);
            rest = left;
        }
        assert_eq!(rest.count(), 100);
    }

    #[test]
    fn rare_values_do_not_all_stay_behind() {
        // 60 of 10,000 are slow.
        let mut rest = of((0..10_000u64).map(|i| if i < 60 { 9_000_000 } else { 1_000 }));
        let slow = |histogram: &Histogram| histogram.buckets().filter(|&(i, _)| i > 2_000).map(|(_, n)| n).sum::<u64>();
        let mut most = 0;
        for second in 0..60u32 {
            let n = rest.count() / u64::from(60 - second);
            let (part, left) = rest.part(n, (f64::from(second) * 0.618_034).fract());
            most = most.max(slow(&part));
            rest = left;
        }
        assert!(rest.is_empty() && most <= 3, "{most} of 60 in one part");
    }
}
