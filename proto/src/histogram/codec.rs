//! The sparse bytes of a histogram.
//!
//! ```text
//! form       1 byte   0 = empty, 1 = varints, 2 = Rice
//! buckets    varint   1..=4608
//! sum        2 varints (128 bits, low half first)
//! max        varint
//! error_ppm  varint
//! first      varint   number of the first bucket
//! body       form 1: per bucket varint gap, varint count - 1
//!            form 2: byte k of gaps, byte k of counts, then bits: per bucket Rice(gap), Rice(count - 1)
//! ```
//! A gap is the distance to the bucket before, less one; 0 for the first. Rice codes with the parameter from the mean take 216 bytes
//! for 1,000 samples where HdrHistogram's V2 takes 469 (measured). A quotient of 24 or more is written as
//! that many ones and the plain 64 bits, so that no number exceeds 88 bits ([`crate::bits`]).
//!
//! Bytes from a peer are checked before anything is allocated: the number of buckets against the layout and against
//! the bits that are there, every index against the layout, the counts by checked addition.

use bytes::Bytes;

use super::{BUCKETS, Histogram, HistogramSum};
use crate::{
    bits::{BitReader, BitWriter, RICE_MAX, rice_parameter},
    varint::{self, Reader, VarintError},
};

const FORM_EMPTY: u8 = 0;
const FORM_VARINT: u8 = 1;
const FORM_RICE: u8 = 2;

/// Why bytes are not a histogram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The first byte names no form.
    #[error("a histogram starts with form {0}, known are 0 to 2")]
    Form(u8),
    /// More buckets than the layout has or than the bytes can hold, or none.
    #[error("a histogram announces {0} buckets, the layout has {BUCKETS} and the bytes hold fewer")]
    Buckets(u64),
    /// A bucket beyond the layout.
    #[error("a histogram names a bucket beyond {BUCKETS}")]
    Index,
    /// Counts that do not fit 64 bits.
    #[error("the counts of a histogram do not fit 64 bits")]
    Count,
    /// A Rice parameter above 56.
    #[error("a histogram has the Rice parameter {0}, at most {RICE_MAX} is taken")]
    Parameter(u8),
    /// A number is cut or too long.
    #[error("a histogram is damaged")]
    Number(#[from] VarintError),
    /// Bytes after the end.
    #[error("a histogram is followed by {0} more bytes")]
    Trailing(usize),
}

impl Histogram {
    /// The sparse bytes, by Rice codes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(32 + self.indices.len() * 2);
        self.encode_into(&mut out);
        out.into()
    }

    /// Appends the sparse bytes.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        self.encode_form(out, FORM_RICE);
    }

    fn encode_form(&self, out: &mut Vec<u8>, form: u8) {
        if self.is_empty() {
            return out.push(FORM_EMPTY);
        }
        out.push(form);
        varint::put(out, self.indices.len() as u64);
        varint::put_u128(out, self.sum);
        varint::put(out, self.max);
        varint::put(out, u64::from(self.error_ppm));
        varint::put(out, u64::from(self.indices[0]));
        if form == FORM_VARINT {
            for (gap, count) in self.pairs() {
                varint::put(out, gap);
                varint::put(out, count);
            }
            return;
        }
        let n = self.indices.len() as u64;
        let gaps = self.pairs().map(|(gap, _)| u128::from(gap)).sum::<u128>();
        let (k_gap, k_count) = (rice_parameter(gaps, n), rice_parameter(u128::from(self.count - n), n));
        out.extend_from_slice(&[k_gap, k_count]);
        let mut bits = BitWriter::new(out);
        for (gap, count) in self.pairs() {
            bits.rice(gap, k_gap);
            bits.rice(count, k_count);
        }
        bits.finish();
    }

    /// Gap and count less one of every bucket.
    fn pairs(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let first = self.indices.first().map(|&index| u64::from(index));
        let before = first.into_iter().chain(self.indices.iter().map(|&index| u64::from(index) + 1));
        self.indices.iter().zip(before).zip(&self.counts).map(|((&index, from), &n)| (u64::from(index) - from, n - 1))
    }

    /// Reads exactly one histogram.
    ///
    /// Allocates at most 46 kB whatever the bytes say.
    ///
    /// # Errors
    /// [`DecodeError`], naming what is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut buckets = Buckets::default();
        let Totals { count, sum, max, error_ppm } = buckets.read(bytes)?;
        Ok(Self::from_parts(buckets.indices, buckets.counts, count, sum, max, error_ppm))
    }
}

/// Adds histograms that are given by their sparse bytes, at less than half of what it takes to make each of them first.
#[derive(Debug, Default)]
pub struct HistogramAdder(Buckets);

impl HistogramAdder {
    /// Adds what [`Histogram::decode`] reads to `sum`, as [`HistogramSum::add`] does, and returns how many values that was.
    ///
    /// # Errors
    /// As [`Histogram::decode`], and [`DecodeError::Count`] when the sum would leave its range; `sum` is then unchanged.
    pub fn add(&mut self, bytes: &[u8], sum: &mut HistogramSum) -> Result<u64, DecodeError> {
        let Totals { count, sum: total, max, error_ppm } = self.0.read(bytes)?;
        let buckets = self.0.indices.iter().zip(&self.0.counts).map(|(&index, &n)| (usize::from(index), n));
        sum.add_buckets(buckets, (count, total), (max, error_ppm)).map_err(|_| DecodeError::Count)?;
        Ok(count)
    }

    /// How many values [`Histogram::decode`] reads.
    ///
    /// # Errors
    /// As [`Histogram::decode`].
    pub fn count(&mut self, bytes: &[u8]) -> Result<u64, DecodeError> {
        self.0.read(bytes).map(|totals| totals.count)
    }
}

/// What stands beside the buckets.
#[derive(Default)]
struct Totals {
    count: u64,
    sum: u128,
    max: u64,
    error_ppm: u32,
}

/// Buckets that are being read.
#[derive(Debug, Default)]
struct Buckets {
    indices: Vec<u16>,
    counts: Vec<u64>,
}

/// Puts one bucket after another; whether they are good is asked once, after the last.
struct Filling<'a> {
    places: std::iter::Zip<std::slice::IterMut<'a, u16>, std::slice::IterMut<'a, u64>>,
    /// Of all together.
    count: u128,
    /// After the last bucket: rises with each, up to the largest number there is.
    next: u64,
}

impl Buckets {
    /// Reads exactly one histogram in place of what was read before.
    fn read(&mut self, bytes: &[u8]) -> Result<Totals, DecodeError> {
        let mut reader = Reader::new(bytes);
        let form = reader.byte()?;
        self.indices.clear();
        self.counts.clear();
        if form == FORM_EMPTY {
            let totals = Totals::default();
            return if reader.is_empty() { Ok(totals) } else { Err(DecodeError::Trailing(reader.rest().len())) };
        }
        if form > FORM_RICE {
            return Err(DecodeError::Form(form));
        }
        let n = reader.u64()?;
        let sum = reader.u128()?;
        let max = reader.u64()?;
        let error_ppm = u32::try_from(reader.u64()?).map_err(|_| VarintError::TooLong)?;
        let first = reader.u64()?;
        // Two numbers a bucket, of at least a byte or a bit each.
        let room = if form == FORM_VARINT { reader.rest().len() / 2 } else { reader.rest().len() * 4 };
        if n == 0 || n > BUCKETS as u64 || n > room as u64 {
            return Err(DecodeError::Buckets(n));
        }
        let n = n as usize;
        self.indices.resize(n, 0);
        self.counts.resize(n, 0);
        let mut filling = self.fill(first);
        if form == FORM_VARINT {
            for _ in 0..n {
                filling.put(reader.u64()?, reader.u64()?);
            }
        } else {
            let (k_gap, k_count) = (reader.byte()?, reader.byte()?);
            if let Some(&k) = [k_gap, k_count].iter().find(|&&k| k > RICE_MAX) {
                return Err(DecodeError::Parameter(k));
            }
            let mut bits = BitReader::new(reader.rest());
            bits.rice_pairs(n, (k_gap, k_count), |gap, count| filling.put(gap, count))?;
            reader = Reader::new(bits.rest());
        }
        let count = filling.check()?;
        if reader.is_empty() {
            Ok(Totals { count, sum, max, error_ppm })
        } else {
            Err(DecodeError::Trailing(reader.rest().len()))
        }
    }

    fn fill(&mut self, first: u64) -> Filling<'_> {
        Filling { places: self.indices.iter_mut().zip(&mut self.counts), count: 0, next: first }
    }
}

impl Filling<'_> {
    #[inline]
    fn put(&mut self, gap: u64, count_less_one: u64) {
        let index = self.next.saturating_add(gap);
        self.next = index.saturating_add(1);
        // Fewer than 2^13 numbers of 64 bits.
        self.count += u128::from(count_less_one) + 1;
        if let Some((at, count)) = self.places.next() {
            (*at, *count) = (index as u16, count_less_one.wrapping_add(1));
        }
    }

    /// The count of all buckets.
    fn check(self) -> Result<u64, DecodeError> {
        if self.next > BUCKETS as u64 {
            return Err(DecodeError::Index);
        }
        u64::try_from(self.count).map_err(|_| DecodeError::Count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::HIGHEST;
    use proptest::prelude::*;

    fn of(values: &[(u64, u64)], error_ppm: u32) -> Histogram {
        let mut sum = HistogramSum::new();
        values.iter().for_each(|&(v, n)| sum.record(v, n));
        sum.add_foreign_totals(0, Some(0), error_ppm);
        sum.to_histogram()
    }

    proptest! {
        #[test]
        fn both_forms_round_trip(values in prop::collection::vec((0u64..=HIGHEST, prop_oneof![1u64..10, 1u64..1 << 50]), 0..400), ppm in 0u32..1_000_000) {
            let histogram = of(&values, if values.is_empty() { 0 } else { ppm });
            for form in [FORM_VARINT, FORM_RICE] {
                let mut bytes = Vec::new();
                histogram.encode_form(&mut bytes, form);
                prop_assert_eq!(Histogram::decode(&bytes), Ok(histogram.clone()));
                let (mut adder, mut direct, mut by_way) = (HistogramAdder::default(), HistogramSum::new(), HistogramSum::new());
                for _ in 0..2 {
                    prop_assert_eq!(adder.add(&bytes, &mut direct), Ok(histogram.count()));
                    by_way.add(&histogram).unwrap();
                }
                prop_assert_eq!(direct.to_histogram(), by_way.to_histogram());
                prop_assert_eq!(adder.count(&bytes), Ok(histogram.count()));
                if !histogram.is_empty() {
                    prop_assert!(Histogram::decode(&bytes[..bytes.len() - 1]).is_err(), "a cut histogram was taken");
                }
                bytes.push(0);
                prop_assert!(Histogram::decode(&bytes).is_err());
            }
        }

        #[test]
        fn random_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 1..200), form in 0u8..4) {
            bytes[0] = form;
            if let Ok(histogram) = Histogram::decode(&bytes) {
                prop_assert!(histogram.buckets().len() <= BUCKETS);
            }
        }
    }

    #[test]
    fn announced_sizes_are_checked_before_allocation() {
        // Form 1, 4,000 buckets, sum 0, max 0, error 0, first 0 and no body.
        assert_eq!(Histogram::decode(&[1, 0xa0, 0x1f, 0, 0, 0, 0, 0]), Err(DecodeError::Buckets(4000)));
        assert_eq!(Histogram::decode(&[9]), Err(DecodeError::Form(9)));
        assert_eq!(Histogram::decode(&[2, 1, 0, 0, 0, 0, 5, 99, 0, 0]), Err(DecodeError::Parameter(99)));
        assert_eq!(Histogram::decode(&[]), Err(DecodeError::Number(VarintError::Truncated)));
    }

    #[test]
    fn a_second_of_requests_is_small() {
        // Log-normal round 8 ms; twelve uniform numbers less six are nearly normal.
        let mut state = 1u64;
        let mut uniform = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1u64 << 53) as f64
        };
        let mut sum = HistogramSum::new();
        for _ in 0..1000 {
            let normal = (0..12).map(|_| uniform()).sum::<f64>() - 6.0;
            sum.record((8e6 * (0.5 * normal).exp()) as u64, 1);
        }
        let bytes = sum.to_histogram().encode();
        assert!(bytes.len() < 240, "{} bytes", bytes.len());
    }
}
