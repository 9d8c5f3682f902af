//! The values of one series in a block: whole numbers in the shortest of nine forms, or histograms as they came.
//!
//! ```text
//! integers    1 byte form, then
//!   0 constant        zigzag value
//!   1 step            zigzag first, zigzag difference of each to the one before
//!   2 packed          zigzag least, 1 byte bits, then value - least of each in that many bits
//!   3 packed deltas   zigzag first, then as 2 for the differences of the others
//!   4 deltas          zigzag first, then the zigzag difference of each other
//!   5 sparse          zigzag base, varint n, then n times varint gap and zigzag (value - base)
//!   6 sparse deltas   zigzag first, then as 5 for the differences of the others
//!   7 masked          zigzag base, a bit for each that is not the base, then those - base as 2
//!   8 masked deltas   zigzag first, then as 7 for the differences of the others
//! histograms  a bit for each that is not empty, then varint length and sparse bytes of each of those
//! ```
//! Differences are modulo 2^64: every pair of values has one. How many values there are is known from the block.

use starling_proto::{
    bits::{self, BitReader, BitWriter},
    varint::{self, Reader, VarintError, zigzag},
};

/// Bytes of one histogram: all buckets in use by varints, and the numbers before them, take less.
pub const HISTOGRAM_BYTES_MAX: usize = 64 * 1024;

/// Why bytes are not a column.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ColumnError {
    /// The first byte names no form.
    #[error("a column of form {0}, which is not known")]
    Form(u8),
    /// A number of bits above 64.
    #[error("a column of {0} bits a value, at most 64 are taken")]
    Bits(u32),
    /// A place after the last one.
    #[error("a place beyond the seconds of a block")]
    Beyond,
    /// A number is cut or too long.
    #[error("a column is damaged: {0}")]
    Number(#[from] VarintError),
}

const CONSTANT: u8 = 0;
const STEP: u8 = 1;
const PACKED: u8 = 2;
const PACKED_DELTAS: u8 = 3;
const DELTAS: u8 = 4;
const SPARSE: u8 = 5;
const SPARSE_DELTAS: u8 = 6;
const MASKED: u8 = 7;
const MASKED_DELTAS: u8 = 8;

/// Appends `values` in the form that takes the fewest bytes. Nothing for no values.
pub fn put(out: &mut Vec<u8>, values: &[i64]) {
    let Some((&first, rest)) = values.split_first() else { return };
    let deltas: Vec<i64> = values.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
    if rest.iter().all(|value| *value == first) {
        out.push(CONSTANT);
        return varint::put_signed(out, first);
    }
    if deltas.iter().all(|delta| *delta == deltas[0]) {
        out.push(STEP);
        varint::put_signed(out, first);
        return varint::put_signed(out, deltas[0]);
    }
    let packed = Packed::of(values);
    let packed_deltas = Packed::of(&deltas);
    let (base, common) = (most_common(values), most_common(&deltas));
    let one = signed_len(first);
    let sizes = [
        (packed.size(values.len()), PACKED),
        (one + packed_deltas.size(deltas.len()), PACKED_DELTAS),
        (one + deltas.iter().map(|delta| signed_len(*delta)).sum::<usize>(), DELTAS),
        (sparse_size(values, base), SPARSE),
        (one + sparse_size(&deltas, common), SPARSE_DELTAS),
        (masked_size(values, base), MASKED),
        (one + masked_size(&deltas, common), MASKED_DELTAS),
    ];
    let form = sizes.into_iter().min().map_or(DELTAS, |(_, form)| form);
    out.push(form);
    if matches!(form, PACKED_DELTAS | DELTAS | SPARSE_DELTAS | MASKED_DELTAS) {
        varint::put_signed(out, first);
    }
    match form {
        PACKED => packed.put(out, values),
        PACKED_DELTAS => packed_deltas.put(out, &deltas),
        SPARSE => put_sparse(out, values, base),
        SPARSE_DELTAS => put_sparse(out, &deltas, common),
        MASKED => put_masked(out, values, base),
        MASKED_DELTAS => put_masked(out, &deltas, common),
        _ => deltas.iter().for_each(|delta| varint::put_signed(out, *delta)),
    }
}

/// Reads `count` values and allocates room for them: a number that the caller has bounded.
///
/// # Errors
/// [`ColumnError`], naming what is wrong.
pub fn read(reader: &mut Reader<'_>, count: usize) -> Result<Vec<i64>, ColumnError> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let form = reader.byte()?;
    Ok(match form {
        CONSTANT => vec![reader.i64()?; count],
        STEP => {
            let (first, step) = (reader.i64()?, reader.i64()?);
            std::iter::successors(Some(first), |value| Some(value.wrapping_add(step))).take(count).collect()
        }
        PACKED => read_packed(reader, count)?,
        SPARSE => read_sparse(reader, count)?,
        MASKED => read_masked(reader, count)?,
        PACKED_DELTAS | DELTAS | SPARSE_DELTAS | MASKED_DELTAS => {
            let first = reader.i64()?;
            let deltas = match form {
                PACKED_DELTAS => read_packed(reader, count - 1)?,
                SPARSE_DELTAS => read_sparse(reader, count - 1)?,
                MASKED_DELTAS => read_masked(reader, count - 1)?,
                _ => (1..count).map(|_| reader.i64()).collect::<Result<_, _>>()?,
            };
            let mut values = Vec::with_capacity(count);
            values.push(first);
            values.extend(deltas.into_iter().scan(first, |value, delta| {
                *value = value.wrapping_add(delta);
                Some(*value)
            }));
            values
        }
        form => return Err(ColumnError::Form(form)),
    })
}

/// Values as bits above their least.
struct Packed {
    least: i64,
    bits: u32,
}

impl Packed {
    fn of(values: &[i64]) -> Self {
        let least = values.iter().copied().min().unwrap_or_default();
        let most = values.iter().map(|value| value.wrapping_sub(least).cast_unsigned()).max().unwrap_or_default();
        Self { least, bits: u64::BITS - most.leading_zeros() }
    }

    fn size(&self, count: usize) -> usize {
        signed_len(self.least) + 1 + (count * self.bits as usize).div_ceil(8)
    }

    fn put(&self, out: &mut Vec<u8>, values: &[i64]) {
        varint::put_signed(out, self.least);
        out.push(self.bits as u8);
        let mut writer = BitWriter::new(out);
        for value in values {
            writer.put(value.wrapping_sub(self.least).cast_unsigned(), self.bits);
        }
        writer.finish();
    }
}

fn read_packed(reader: &mut Reader<'_>, count: usize) -> Result<Vec<i64>, ColumnError> {
    let least = reader.i64()?;
    let bits = u32::from(reader.byte()?);
    if bits > u64::BITS {
        return Err(ColumnError::Bits(bits));
    }
    let mut packed = BitReader::new(reader.take((count * bits as usize).div_ceil(8))?);
    (0..count).map(|_| Ok(least.wrapping_add(packed.read(bits)?.cast_signed()))).collect()
}

/// The value that stands most often; of several the least.
fn most_common(values: &[i64]) -> i64 {
    // Sorting a few hundred numbers takes less than hashing them.
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let runs = sorted.chunk_by(|a, b| a == b).map(|run| (run.len(), std::cmp::Reverse(run[0])));
    runs.max().map_or(0, |(_, value)| value.0)
}

/// Distance to the exception before, and the exception itself.
fn exceptions(values: &[i64], base: i64) -> impl Iterator<Item = (u64, i64)> + '_ {
    let mut next = 0;
    values.iter().enumerate().filter(move |(_, value)| **value != base).map(move |(at, value)| {
        let gap = at - next;
        next = at + 1;
        (gap as u64, value.wrapping_sub(base))
    })
}

fn sparse_size(values: &[i64], base: i64) -> usize {
    let (mut size, mut count) = (0, 0u64);
    for (gap, difference) in exceptions(values, base) {
        size += unsigned_len(gap) + signed_len(difference);
        count += 1;
    }
    size + signed_len(base) + unsigned_len(count)
}

fn put_sparse(out: &mut Vec<u8>, values: &[i64], base: i64) {
    varint::put_signed(out, base);
    varint::put(out, exceptions(values, base).count() as u64);
    for (gap, difference) in exceptions(values, base) {
        varint::put(out, gap);
        varint::put_signed(out, difference);
    }
}

fn read_sparse(reader: &mut Reader<'_>, count: usize) -> Result<Vec<i64>, ColumnError> {
    let base = reader.i64()?;
    let mut values = vec![base; count];
    let mut rest = values.iter_mut();
    for _ in 0..reader.u64()? {
        let gap = usize::try_from(reader.u64()?).map_err(|_| ColumnError::Beyond)?;
        *rest.nth(gap).ok_or(ColumnError::Beyond)? = base.wrapping_add(reader.i64()?);
    }
    Ok(values)
}

/// What [`put_masked`] packs.
fn masked(values: &[i64], base: i64) -> Vec<i64> {
    exceptions(values, base).map(|(_, difference)| difference).collect()
}

fn masked_size(values: &[i64], base: i64) -> usize {
    let some = masked(values, base);
    signed_len(base) + values.len().div_ceil(8) + Packed::of(&some).size(some.len())
}

fn put_masked(out: &mut Vec<u8>, values: &[i64], base: i64) {
    varint::put_signed(out, base);
    let mut mask = vec![0u64; values.len().div_ceil(64)];
    values.iter().enumerate().filter(|(_, value)| **value != base).for_each(|(at, _)| bits::set(&mut mask, at));
    put_map(out, &mask, values.len());
    let some = masked(values, base);
    Packed::of(&some).put(out, &some);
}

fn read_masked(reader: &mut Reader<'_>, count: usize) -> Result<Vec<i64>, ColumnError> {
    let base = reader.i64()?;
    let mask = read_map(reader, count)?;
    let some = read_packed(reader, bits::ones(&mask).count())?;
    let mut values = vec![base; count];
    bits::ones(&mask).zip(some).for_each(|(at, difference)| values[at] = base.wrapping_add(difference));
    Ok(values)
}

const fn unsigned_len(value: u64) -> usize {
    ((u64::BITS - (value | 1).leading_zeros()) as usize).div_ceil(7)
}

const fn signed_len(value: i64) -> usize {
    unsigned_len(zigzag(value))
}

/// Appends histograms by their sparse bytes; `None` for an empty one.
pub fn put_histograms(out: &mut Vec<u8>, histograms: &[Option<&[u8]>]) {
    let mut some = vec![0u64; histograms.len().div_ceil(64)];
    for (at, _) in histograms.iter().enumerate().filter(|(_, histogram)| histogram.is_some()) {
        bits::set(&mut some, at);
    }
    put_map(out, &some, histograms.len());
    histograms.iter().flatten().for_each(|bytes| varint::put_bytes(out, bytes));
}

/// Reads `count` histograms as their bytes, which are not looked into.
///
/// # Errors
/// [`ColumnError`], naming what is wrong.
pub fn read_histograms<'a>(reader: &mut Reader<'a>, count: usize) -> Result<Vec<Option<&'a [u8]>>, ColumnError> {
    let some = read_map(reader, count)?;
    (0..count)
        .map(|at| Ok(if bits::is_set(&some, at) { Some(reader.bytes(HISTOGRAM_BYTES_MAX)?) } else { None }))
        .collect()
}

/// Appends the first `count` bits of `map`.
pub fn put_map(out: &mut Vec<u8>, map: &[u64], count: usize) {
    out.extend(map.iter().flat_map(|word| word.to_le_bytes()).take(count.div_ceil(8)));
}

/// Reads `count` bits.
///
/// # Errors
/// [`ColumnError::Beyond`] when a bit after them is set.
pub fn read_map(reader: &mut Reader<'_>, count: usize) -> Result<Vec<u64>, ColumnError> {
    let mut map = vec![0u64; count.div_ceil(64)];
    for (at, byte) in reader.take(count.div_ceil(8))?.iter().enumerate() {
        map[at / 8] |= u64::from(*byte) << (at % 8 * 8);
    }
    if bits::ones(&map).any(|at| at >= count) { Err(ColumnError::Beyond) } else { Ok(map) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn values() -> impl Strategy<Value = Vec<i64>> {
        let small = prop::collection::vec(-5i64..5, 0..300);
        let rare = prop::collection::vec(prop_oneof![20 => Just(7i64), 1 => any::<i64>()], 0..300);
        let walk = prop::collection::vec(-100i64..100, 0..300).prop_map(|steps| {
            steps
                .iter()
                .scan(1i64 << 40, |at, step| {
                    *at += step;
                    Some(*at)
                })
                .collect()
        });
        let even = (any::<i64>(), any::<i64>(), 0usize..300)
            .prop_map(|(first, step, n)| (0..n as i64).map(|i| first.wrapping_add(step.wrapping_mul(i))).collect());
        prop_oneof![small, rare, walk, even, prop::collection::vec(any::<i64>(), 0..300)]
    }

    proptest! {
        #[test]
        fn any_values_are_read_back(values in values()) {
            let mut out = Vec::new();
            put(&mut out, &values);
            let mut reader = Reader::new(&out);
            prop_assert_eq!(read(&mut reader, values.len()).unwrap(), values.clone());
            prop_assert!(reader.is_empty());
            if !values.is_empty() {
                prop_assert!(read(&mut Reader::new(&out[..out.len() - 1]), values.len()).is_err(), "a cut column was taken");
                prop_assert!(out.len() <= 12 + 10 * values.len());
            }
        }

        #[test]
        fn any_bytes_give_that_many_values_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..400), count in 0usize..=300) {
            match read(&mut Reader::new(&bytes), count) {
                Ok(values) => prop_assert_eq!(values.len(), count),
                Err(error) => prop_assert!(count > 0 && !error.to_string().is_empty()),
            }
            match read_histograms(&mut Reader::new(&bytes), count) {
                Ok(histograms) => prop_assert_eq!(histograms.len(), count),
                Err(error) => prop_assert!(!error.to_string().is_empty()),
            }
        }
    }

    #[test]
    fn each_form_is_chosen_for_what_it_is_for() {
        let form = |values: &[i64]| {
            let mut out = Vec::new();
            put(&mut out, values);
            (out[0], out.len())
        };
        let of = |f: fn(i64) -> i64| (0..300).map(f).collect::<Vec<_>>();
        // Without a pattern.
        const fn any(i: i64) -> i64 {
            let x = (i.cast_unsigned() + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let x = (x ^ x >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            ((x ^ x >> 32) & 0x7fff_ffff).cast_signed()
        }
        assert_eq!(form(&of(|_| 1 << 40)), (CONSTANT, 7));
        assert_eq!(form(&of(|i| (1 << 40) + i)), (STEP, 8));
        assert_eq!(form(&of(|i| any(i) & 3)), (PACKED, 3 + 75));
        assert_eq!(form(&of(|i| (1 << 40) + i * 100 + (any(i) & 7))).0, PACKED_DELTAS);
        assert_eq!(form(&of(|i| if i == 150 { 1 << 50 } else { any(i) % 60 })).0, DELTAS);
        assert_eq!(form(&of(|i| i64::from(i == 30) * 500)).0, SPARSE);
        assert_eq!(form(&of(|i| (1 << 30) + i / 100)).0, SPARSE_DELTAS);
        assert_eq!(form(&of(|i| if any(i) % 3 == 0 { 0 } else { 1000 + any(i) % 60 })).0, MASKED);
        assert_eq!(form(&of(|i| (1 << 30) + i / 3 * 70 + i / 3 % 5)).0, MASKED_DELTAS);
        let mut empty = Vec::new();
        put(&mut empty, &[]);
        assert!(empty.is_empty());
    }

    #[test]
    fn what_lies_beyond_is_refused() {
        assert_eq!(read(&mut Reader::new(&[9]), 3), Err(ColumnError::Form(9)));
        assert_eq!(read(&mut Reader::new(&[PACKED, 0, 65]), 3), Err(ColumnError::Bits(65)));
        assert_eq!(read(&mut Reader::new(&[SPARSE, 0, 1, 3, 2]), 3), Err(ColumnError::Beyond));
        assert_eq!(read_map(&mut Reader::new(&[0b1000]), 3), Err(ColumnError::Beyond));
    }
}
