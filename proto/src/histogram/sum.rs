//! The dense accumulator: records, merges, takes back.

use super::{BUCKETS, Histogram, bucket_bounds, layout::bucket_index};

/// A sum would leave its range, or a value to be taken back was never added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a bucket or a sum of the histogram would leave its range")]
pub struct OverflowError;

/// A dense histogram of 36.9 kB that changes.
///
/// Histograms form a commutative group under [`HistogramSum::add`] and [`HistogramSum::subtract`], apart from the
/// maximum and the error bound, which only rise.
#[derive(Debug, Clone)]
pub struct HistogramSum {
    counts: Vec<u64>,
    count: u64,
    sum: u128,
    max: u64,
    error_ppm: u32,
}

impl Default for HistogramSum {
    fn default() -> Self {
        Self::new()
    }
}

impl HistogramSum {
    /// An accumulator without values.
    #[must_use]
    pub fn new() -> Self {
        Self { counts: vec![0; BUCKETS], count: 0, sum: 0, max: 0, error_ppm: 0 }
    }

    /// Records `value` `n` times. Values above [`super::HIGHEST`] count in its bucket; counts saturate.
    pub fn record(&mut self, value: u64, n: u64) {
        self.record_bucket(bucket_index(value), n);
        self.sum = self.sum.saturating_add(u128::from(value) * u128::from(n));
        if n > 0 {
            self.max = self.max.max(value);
        }
    }

    /// Adds `n` to a bucket, leaving sum and maximum to the caller.
    pub(super) fn record_bucket(&mut self, index: usize, n: u64) {
        let n = n.min(u64::MAX - self.count);
        self.counts[index] += n;
        self.count += n;
    }

    /// Adds exact totals that came beside foreign buckets: the sum, the maximum (without one, the top of the highest
    /// bucket in use) and the bound of the error of the foreign shape.
    pub fn add_foreign_totals(&mut self, sum: u128, max: Option<u64>, error_ppm: u32) {
        self.sum = self.sum.saturating_add(sum);
        let top = || self.counts.iter().rposition(|&n| n > 0).map_or(0, |index| bucket_bounds(index).1);
        self.max = self.max.max(max.unwrap_or_else(top));
        self.error_ppm = self.error_ppm.max(error_ppm);
    }

    /// Adds `other`, bucket by bucket. The order of adding does not change the result.
    ///
    /// # Errors
    /// [`OverflowError`] when a count or sum would leave its range; `self` is then unchanged.
    pub fn add(&mut self, other: &Histogram) -> Result<(), OverflowError> {
        self.add_buckets(other.buckets(), (other.count, other.sum), (other.max, other.error_ppm))
    }

    /// As [`HistogramSum::add`], of what a histogram is made of: its buckets, whose counts add up to the first number, its sum,
    /// its maximum and its error bound.
    #[inline]
    pub(super) fn add_buckets(
        &mut self,
        buckets: impl Iterator<Item = (usize, u64)>,
        (count, sum): (u64, u128),
        (max, error_ppm): (u64, u32),
    ) -> Result<(), OverflowError> {
        let count = self.count.checked_add(count).ok_or(OverflowError)?;
        let sum = self.sum.checked_add(sum).ok_or(OverflowError)?;
        // No bucket exceeds the total, so none can overflow.
        for (index, n) in buckets {
            self.counts[index] += n;
        }
        (self.count, self.sum) = (count, sum);
        self.max = self.max.max(max);
        self.error_ppm = self.error_ppm.max(error_ppm);
        Ok(())
    }

    /// Adds another dense one, as [`HistogramSum::add`] does a sparse one.
    ///
    /// # Errors
    /// [`OverflowError`] when a count or sum would leave its range; `self` is then unchanged.
    pub fn merge(&mut self, other: &Self) -> Result<(), OverflowError> {
        let count = self.count.checked_add(other.count).ok_or(OverflowError)?;
        let sum = self.sum.checked_add(other.sum).ok_or(OverflowError)?;
        self.counts.iter_mut().zip(&other.counts).for_each(|(mine, n)| *mine += n);
        (self.count, self.sum) = (count, sum);
        self.max = self.max.max(other.max);
        self.error_ppm = self.error_ppm.max(other.error_ppm);
        Ok(())
    }

    /// Takes back what was added. Maximum and error bound stay, unless nothing is left.
    ///
    /// # Errors
    /// [`OverflowError`] when `other` was never added; `self` is then unchanged.
    pub fn subtract(&mut self, other: &Histogram) -> Result<(), OverflowError> {
        let count = self.count.checked_sub(other.count).ok_or(OverflowError)?;
        let sum = self.sum.checked_sub(other.sum).ok_or(OverflowError)?;
        if other.buckets().any(|(index, n)| self.counts[index] < n) {
            return Err(OverflowError);
        }
        for (index, n) in other.buckets() {
            self.counts[index] -= n;
        }
        (self.count, self.sum) = (count, sum);
        Ok(())
    }

    /// Number of values.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// True without values.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Forgets all values.
    pub fn clear(&mut self) {
        self.counts.fill(0);
        (self.count, self.sum, self.max, self.error_ppm) = (0, 0, 0, 0);
    }

    /// The values so far, sparse.
    #[must_use]
    pub fn to_histogram(&self) -> Histogram {
        let used = self.counts.iter().filter(|&&n| n > 0).count();
        let (mut indices, mut counts) = (Vec::with_capacity(used), Vec::with_capacity(used));
        for (index, &n) in self.counts.iter().enumerate().filter(|&(_, &n)| n > 0) {
            indices.push(index as u16);
            counts.push(n);
        }
        Histogram::from_parts(indices, counts, self.count, self.sum, self.max, self.error_ppm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::HIGHEST;

    #[test]
    fn what_was_never_added_cannot_be_taken_back() {
        let mut small = HistogramSum::new();
        small.record(5, 1);
        let mut other = HistogramSum::new();
        other.record(6, 1);
        let before = small.to_histogram();
        assert_eq!(small.subtract(&other.to_histogram()), Err(OverflowError));
        assert_eq!(small.to_histogram(), before);
    }

    #[test]
    fn dense_ones_add_up_as_sparse_ones_do() {
        let (mut a, mut b) = (HistogramSum::new(), HistogramSum::new());
        a.record(5, 3);
        b.record(7_000_000, 2);
        b.add_foreign_totals(0, Some(8_000_000), 90);
        let mut sparse = a.clone();
        sparse.add(&b.to_histogram()).unwrap();
        a.merge(&b).unwrap();
        assert_eq!(a.to_histogram(), sparse.to_histogram());
        let mut full = HistogramSum::new();
        full.record(5, u64::MAX);
        assert_eq!(full.merge(&a), Err(OverflowError));
        assert_eq!(full.to_histogram(), Histogram::of(5, u64::MAX));
    }

    #[test]
    fn counts_cannot_overflow() {
        let mut full = HistogramSum::new();
        full.record(5, u64::MAX);
        let whole = full.to_histogram();
        assert_eq!(full.add(&whole), Err(OverflowError));
        full.record(5, 1);
        assert_eq!(full.count(), u64::MAX);
    }

    #[test]
    fn values_beyond_the_layout_count_in_its_last_bucket() {
        let mut sum = HistogramSum::new();
        sum.record(u64::MAX, 2);
        let histogram = sum.to_histogram();
        assert_eq!(histogram.buckets().collect::<Vec<_>>(), [(bucket_index(HIGHEST), 2)]);
        assert_eq!(histogram.max(), u64::MAX);
        sum.clear();
        assert!(sum.is_empty() && sum.to_histogram() == Histogram::empty());
    }
}
