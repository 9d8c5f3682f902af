//! Adding and taking back between sparse histograms, in one walk over both.

use std::cmp::Ordering;

use super::{Histogram, OverflowError};

impl Histogram {
    /// The sum of both; as [`super::HistogramSum::add`], at the cost of the buckets in use instead of all of them.
    ///
    /// # Errors
    /// [`OverflowError`] when a count or sum would leave its range.
    pub fn plus(&self, other: &Self) -> Result<Self, OverflowError> {
        let count = self.count.checked_add(other.count).ok_or(OverflowError)?;
        let sum = self.sum.checked_add(other.sum).ok_or(OverflowError)?;
        let most = self.indices.len() + other.indices.len();
        let (mut indices, mut counts) = (Vec::with_capacity(most), Vec::with_capacity(most));
        let (mut left, mut right) = (0, 0);
        loop {
            let (index, n) = match (self.indices.get(left), other.indices.get(right)) {
                (None, None) => break,
                (Some(a), Some(b)) => match a.cmp(b) {
                    Ordering::Less => (*a, self.counts[left]),
                    Ordering::Greater => (*b, other.counts[right]),
                    // No bucket exceeds the total, so none can overflow.
                    Ordering::Equal => (*a, self.counts[left] + other.counts[right]),
                },
                (Some(a), None) => (*a, self.counts[left]),
                (None, Some(b)) => (*b, other.counts[right]),
            };
            left += usize::from(self.indices.get(left) == Some(&index));
            right += usize::from(other.indices.get(right) == Some(&index));
            indices.push(index);
            counts.push(n);
        }
        Ok(Self::from_parts(indices, counts, count, sum, self.max.max(other.max), self.error_ppm.max(other.error_ppm)))
    }

    /// What is left without `other`. Maximum and error bound stay, unless nothing is left: then the result is
    /// [`Histogram::empty`].
    ///
    /// # Errors
    /// [`OverflowError`] when `other` is not part of `self`.
    pub fn minus(&self, other: &Self) -> Result<Self, OverflowError> {
        let count = self.count.checked_sub(other.count).ok_or(OverflowError)?;
        let sum = self.sum.checked_sub(other.sum).ok_or(OverflowError)?;
        let (mut indices, mut counts) = (Vec::with_capacity(self.indices.len()), Vec::with_capacity(self.counts.len()));
        let mut taken = other.indices.iter().zip(&other.counts).peekable();
        for (&index, &n) in self.indices.iter().zip(&self.counts) {
            let less = taken.next_if(|&(&other, _)| other == index).map_or(0, |(_, &n)| n);
            let rest = n.checked_sub(less).ok_or(OverflowError)?;
            if rest > 0 {
                indices.push(index);
                counts.push(rest);
            }
        }
        if taken.next().is_some() {
            return Err(OverflowError);
        }
        if count == 0 {
            return Ok(Self::empty());
        }
        Ok(Self::from_parts(indices, counts, count, sum, self.max, self.error_ppm))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::{HIGHEST, HistogramSum};
    use proptest::prelude::*;

    fn of(values: &[u64]) -> (HistogramSum, Histogram) {
        let mut sum = HistogramSum::new();
        values.iter().for_each(|&v| sum.record(v, 1));
        let sparse = sum.to_histogram();
        (sum, sparse)
    }

    proptest! {
        #[test]
        fn sparse_is_dense(a in prop::collection::vec(0u64..=HIGHEST, 0..200), b in prop::collection::vec(0u64..2_000, 0..200)) {
            let ((mut dense, left), (_, right)) = (of(&a), of(&b));
            dense.add(&right).unwrap();
            let whole = left.plus(&right).unwrap();
            prop_assert_eq!(&whole, &dense.to_histogram());
            prop_assert_eq!(&right.plus(&left).unwrap(), &whole);
            let back = whole.minus(&right).unwrap();
            prop_assert!(back.buckets().eq(left.buckets()));
            prop_assert_eq!((back.count(), back.sum()), (left.count(), left.sum()));
            prop_assert_eq!(whole.minus(&whole), Ok(Histogram::empty()));
        }
    }

    #[test]
    fn one_value_is_one_bucket() {
        let mut dense = HistogramSum::new();
        dense.record(HIGHEST + 7, 3);
        assert_eq!(Histogram::of(HIGHEST + 7, 3), dense.to_histogram());
        assert_eq!(Histogram::of(5, 0), Histogram::empty());
    }

    #[test]
    fn what_is_not_there_cannot_be_taken_back() {
        let (_, five) = of(&[5, 5]);
        let (_, six) = of(&[6]);
        assert_eq!(five.minus(&six), Err(OverflowError));
        assert_eq!(six.minus(&five), Err(OverflowError));
        let mut full = HistogramSum::new();
        full.record(5, u64::MAX);
        assert_eq!(full.to_histogram().plus(&six), Err(OverflowError));
    }
}
