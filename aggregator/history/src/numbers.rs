//! The numbers of one component of a series, and their bytes.
//!
//! ```text
//! 1 byte, then
//!   0 whole      a column of integers ([`crate::column`])
//!   1 multiples  varint factor, then a column of value / factor
//!   2 wide       a column of the low 64 bits, a column of the high 64 bits
//!   3 same       1 byte: the same as that component of the series
//!   4 covered    the same as the coverage says of each step: its seconds
//!   5 decimals   1 byte scale, then a column of value * 10^scale
//!   6 floats     8 planes of bytes, the highest first: each value's bits xor those of the one before
//!   7 learnt     varint length, then the values by a range coder ([`crate::range`])
//!   8 learnt deltas  the same of the differences of each to the one before, the first to 0
//! ```
//! Whole numbers are written learnt when that is shorter. Numbers with a fraction are those of imports. What is a decimal of at most nine places comes back bit for bit from a
//! whole number; everything else (infinities, what is no number, -0.0) from its own bits.

use starling_proto::varint::{self, Reader};

use crate::{
    column::{self, ColumnError},
    range,
};

const WHOLE: u8 = 0;
const MULTIPLES: u8 = 1;
const WIDE: u8 = 2;
const SAME: u8 = 3;
const COVERED: u8 = 4;
const DECIMALS: u8 = 5;
const FLOATS: u8 = 6;
const LEARNT: u8 = 7;
const LEARNT_DELTAS: u8 = 8;
/// Bytes of a column of fewer are left as they are: what there is to gain is less than the length in front.
const SHORT: usize = 12;

/// Most places of a decimal.
const PLACES_MAX: u8 = 9;
/// Whole numbers up to here are exact as `f64`.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// One number a step.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Numbers {
    /// Whole numbers, in fixed point.
    Whole(Vec<i64>),
    /// Whole numbers of which some need more than 64 bits.
    Wide(Vec<i128>),
    /// Numbers with a fraction.
    Floats(Vec<f64>),
}

impl Numbers {
    pub(crate) const fn new(float: bool) -> Self {
        if float { Self::Floats(Vec::new()) } else { Self::Whole(Vec::new()) }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Whole(values) => values.len(),
            Self::Wide(values) => values.len(),
            Self::Floats(values) => values.len(),
        }
    }

    /// Appends a whole number. Among floats it becomes one.
    pub(crate) fn push(&mut self, value: i128) {
        match (&mut *self, i64::try_from(value)) {
            (Self::Whole(values), Ok(value)) => values.push(value),
            (Self::Whole(values), Err(_)) => {
                let mut wide: Vec<i128> = values.iter().map(|value| i128::from(*value)).collect();
                wide.push(value);
                *self = Self::Wide(wide);
            }
            (Self::Wide(values), _) => values.push(value),
            (Self::Floats(values), _) => values.push(value as f64),
        }
    }

    /// Appends a number with a fraction; only to floats.
    pub(crate) fn push_float(&mut self, value: f64) {
        if let Self::Floats(values) = self {
            values.push(value);
        }
    }

    /// The number at `at`; 0 beyond the end. Of floats the nearest whole one.
    #[inline]
    pub(crate) fn whole(&self, at: usize) -> i128 {
        match self {
            Self::Whole(values) => values.get(at).copied().unwrap_or_default().into(),
            Self::Wide(values) => values.get(at).copied().unwrap_or_default(),
            Self::Floats(values) => values.get(at).copied().unwrap_or_default() as i128,
        }
    }

    /// The number at `at` as it is; 0 beyond the end.
    pub(crate) fn float(&self, at: usize) -> f64 {
        match self {
            Self::Floats(values) => values.get(at).copied().unwrap_or_default(),
            whole => whole.whole(at) as f64,
        }
    }

    pub(crate) const fn is_float(&self) -> bool {
        matches!(self, Self::Floats(_))
    }

    /// Bit for bit, unlike `==` of floats.
    fn same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Floats(a), Self::Floats(b)) => a.iter().map(|v| v.to_bits()).eq(b.iter().map(|v| v.to_bits())),
            (a, b) => a == b,
        }
    }

    /// Appends the bytes. `earlier` are the components of the series before this one; `covered` what the coverage says.
    pub(crate) fn put(&self, out: &mut Vec<u8>, earlier: &[Self], covered: &[i64]) {
        match self {
            Self::Whole(values) if values == covered => return out.push(COVERED),
            Self::Floats(values) => {
                if let Some(same) = earlier.iter().position(|other| self.same_as(other)) {
                    return out.extend_from_slice(&[SAME, same as u8]);
                }
                return put_floats(out, values);
            }
            _ => {}
        }
        if self.len() > 0
            && let Some(same) = earlier.iter().position(|other| self.same_as(other))
        {
            return out.extend_from_slice(&[SAME, same as u8]);
        }
        match self {
            Self::Whole(values) => put_whole(out, values),
            Self::Wide(values) => {
                out.push(WIDE);
                let half = |shift: u32| values.iter().map(|value| (value >> shift) as i64).collect::<Vec<_>>();
                column::put(out, &half(0));
                column::put(out, &half(64));
            }
            Self::Floats(_) => {}
        }
    }

    /// Reads `count` numbers: as floats when `float`, as whole ones otherwise.
    pub(crate) fn read(
        reader: &mut Reader<'_>,
        count: usize,
        float: bool,
        earlier: &[Self],
        covered: &[i64],
    ) -> Result<Self, ColumnError> {
        let kind = reader.byte()?;
        let numbers = match kind {
            WHOLE => Self::Whole(column::read(reader, count)?),
            MULTIPLES => {
                let factor = reader.u64()?.cast_signed();
                let mut values = column::read(reader, count)?;
                values.iter_mut().for_each(|value| *value = value.wrapping_mul(factor));
                Self::Whole(values)
            }
            WIDE => {
                let (low, high) = (column::read(reader, count)?, column::read(reader, count)?);
                let join = |(low, high): (&i64, &i64)| i128::from(*high) << 64 | i128::from(low.cast_unsigned());
                Self::Wide(low.iter().zip(&high).map(join).collect())
            }
            SAME => {
                let same = usize::from(reader.byte()?);
                earlier.get(same).cloned().ok_or(ColumnError::Beyond)?
            }
            COVERED if covered.len() == count => Self::Whole(covered.to_vec()),
            LEARNT | LEARNT_DELTAS => {
                // No number takes more than 88 bits, most of them far less.
                let bytes = reader.bytes(count.saturating_mul(16) + 16)?;
                Self::Whole(range::decode(bytes, count, kind == LEARNT_DELTAS)?)
            }
            DECIMALS => {
                let scale = reader.byte()?;
                if scale > PLACES_MAX {
                    return Err(ColumnError::Form(kind));
                }
                let power = 10f64.powi(scale.into());
                Self::Floats(column::read(reader, count)?.into_iter().map(|value| value as f64 / power).collect())
            }
            FLOATS => Self::Floats(read_floats(reader, count)?),
            _ => return Err(ColumnError::Form(kind)),
        };
        // What refers to another component is of its kind, and may not be of this one's.
        if numbers.is_float() == float && numbers.len() == count { Ok(numbers) } else { Err(ColumnError::Form(kind)) }
    }
}

fn put_whole(out: &mut Vec<u8>, values: &[i64]) {
    let mut factor = 0u64;
    for value in values {
        factor = common_factor(factor, value.unsigned_abs());
        if factor == 1 {
            break;
        }
    }
    let start = out.len();
    // A factor of 2 saves less than it takes.
    if factor < 4 || factor > i64::MAX.cast_unsigned() || values.iter().all(|value| *value == values[0]) {
        out.push(WHOLE);
        column::put(out, values);
    } else {
        out.push(MULTIPLES);
        varint::put(out, factor);
        let divided: Vec<i64> = values.iter().map(|value| value / factor.cast_signed()).collect();
        column::put(out, &divided);
    }
    if out.len() - start > SHORT {
        put_learnt(out, start, values);
    }
}

/// Puts the learnt form in place of what stands from `start` on, when it is shorter.
fn put_learnt(out: &mut Vec<u8>, start: usize, values: &[i64]) {
    let bits = |value: i64| u64::from(u64::BITS - value.unsigned_abs().leading_zeros());
    let plain: u64 = values.iter().map(|value| bits(*value)).sum();
    let deltas: u64 = values.windows(2).map(|pair| bits(pair[1].wrapping_sub(pair[0]))).sum();
    let differences = deltas < plain;
    let bytes = range::encode(values, differences);
    // The length and the kind stand in front.
    if bytes.len() + 2 < out.len() - start {
        out.truncate(start);
        out.push(if differences { LEARNT_DELTAS } else { LEARNT });
        varint::put_bytes(out, &bytes);
    }
}

/// By Euclid; 0 has every factor.
const fn common_factor(mut a: u64, mut b: u64) -> u64 {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}

fn put_floats(out: &mut Vec<u8>, values: &[f64]) {
    if let Some((scale, whole)) = (0..=PLACES_MAX).find_map(|scale| Some((scale, decimals(values, scale)?))) {
        out.extend_from_slice(&[DECIMALS, scale]);
        return column::put(out, &whole);
    }
    out.push(FLOATS);
    let differences: Vec<[u8; 8]> = values
        .iter()
        .scan(0u64, |before, value| {
            let bits = value.to_bits();
            Some((bits ^ std::mem::replace(before, bits)).to_be_bytes())
        })
        .collect();
    for plane in 0..8 {
        out.extend(differences.iter().map(|bytes| bytes[plane]));
    }
}

/// The values as whole numbers of 10^-scale, when they come back bit for bit.
fn decimals(values: &[f64], scale: u8) -> Option<Vec<i64>> {
    let power = 10f64.powi(scale.into());
    let whole = |value: &f64| {
        let scaled = (value * power).round();
        let back = scaled.abs() < EXACT_MAX && ((scaled as i64) as f64 / power).to_bits() == value.to_bits();
        back.then_some(scaled as i64)
    };
    values.iter().map(whole).collect()
}

fn read_floats(reader: &mut Reader<'_>, count: usize) -> Result<Vec<f64>, ColumnError> {
    let bytes = reader.take(count * 8)?;
    let mut before = 0u64;
    let value = |at: usize| {
        let bits = (0..8).fold(0u64, |bits, plane| bits << 8 | u64::from(bytes[plane * count + at]));
        before ^= bits;
        f64::from_bits(before)
    };
    Ok((0..count).map(value).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn back(numbers: &Numbers, earlier: &[Numbers], covered: &[i64]) -> (Numbers, usize) {
        let mut out = Vec::new();
        numbers.put(&mut out, earlier, covered);
        let mut reader = Reader::new(&out);
        let read = Numbers::read(&mut reader, numbers.len(), numbers.is_float(), earlier, covered).unwrap();
        assert!(reader.is_empty());
        (read, out.len())
    }

    fn bits(numbers: &Numbers) -> Vec<u64> {
        match numbers {
            Numbers::Floats(values) => values.iter().map(|value| value.to_bits()).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn odd_floats_come_back_bit_for_bit() {
        // Scenario 44.
        let odd =
            vec![1.5, 2.33, f64::INFINITY, f64::NAN, f64::NEG_INFINITY, -0.0, 5e-324, 9_007_199_254_740_993.0, 2.33];
        let odd = Numbers::Floats(odd);
        assert_eq!(bits(&back(&odd, &[], &[]).0), bits(&odd));
        let plain =
            Numbers::Floats((0..60).map(|n| 2.33 + f64::from(n) * 0.01).map(|v| (v * 100.0).round() / 100.0).collect());
        let (read, bytes) = back(&plain, &[], &[]);
        assert_eq!(bits(&read), bits(&plain));
        assert!(bytes < 10, "{bytes} bytes for an even row of decimals");
    }

    #[test]
    fn what_stands_elsewhere_is_not_written_twice() {
        let sum = Numbers::Whole((0..300).map(|n| n * n % 1_000).collect());
        let earlier = [Numbers::Whole(vec![10; 300]), sum.clone()];
        assert_eq!(back(&sum, &earlier, &[]), (sum, 2));
        let covered = vec![10i64; 300];
        let seconds = Numbers::Whole(covered.clone());
        assert_eq!(back(&seconds, &[], &covered), (seconds, 1));
    }

    #[test]
    fn pages_are_counted_in_pages() {
        let pages: Vec<i64> = (0..300).map(|n| (1 << 20) + n * n % 61).collect();
        let bytes: Vec<i64> = pages.iter().map(|n| n * 4096).collect();
        let (_, of_pages) = back(&Numbers::Whole(pages), &[], &[]);
        let (_, of_bytes) = back(&Numbers::Whole(bytes), &[], &[]);
        assert!(of_bytes <= of_pages + 2, "{of_bytes} bytes for {of_pages}");
    }

    proptest! {
        #[test]
        fn any_numbers_come_back(whole in prop::collection::vec(any::<i64>(), 0..50), wide in prop::collection::vec(any::<i128>(), 1..50), floats in prop::collection::vec(any::<f64>(), 0..50), factor in 1i64..1_000_000) {
            let multiples = whole.iter().map(|n| n >> 24).map(|n| n * factor).collect();
            for numbers in [Numbers::Whole(whole), Numbers::Whole(multiples), Numbers::Wide(wide)] {
                let (read, _) = back(&numbers, &[], &[]);
                prop_assert!((0..numbers.len()).all(|at| read.whole(at) == numbers.whole(at)));
            }
            let floats = Numbers::Floats(floats);
            prop_assert_eq!(bits(&back(&floats, &[], &[]).0), bits(&floats));
        }

        #[test]
        fn any_bytes_give_numbers_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300), count in 0usize..=60, float: bool) {
            let earlier = [Numbers::Whole(vec![1; count]), Numbers::Floats(vec![1.0; count])];
            if let Ok(numbers) = Numbers::read(&mut Reader::new(&bytes), count, float, &earlier, &[1; 10]) {
                prop_assert!(numbers.len() == count && numbers.is_float() == float);
            }
        }
    }
}
