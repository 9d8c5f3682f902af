//! An adaptive binary range coder for whole numbers: what does not repeat, but is distributed in a way that can be learnt.
//!
//! Each number is told by decisions whose chances are learnt from those before: whether it is 0 given the two numbers
//! before, its sign given the last one, how many bits it has given how many the last one had, its three bits after the
//! highest; the rest as it is. The coder is that of LZMA (32 bits, carries resolved); chances are learnt quickly at first,
//! by 1 / n, because a column has only a few hundred numbers.

use crate::column::ColumnError;

/// Bits of a chance.
const CHANCE_BITS: u32 = 12;
/// Below this the range is widened by a byte.
const TOP: u32 = 1 << 24;
/// After so many decisions a chance follows at this pace and no slower.
const SLOWEST: u16 = 40;
/// Bits after the highest that are learnt.
const LEARNT: u32 = 3;

/// A chance that the next decision is 0.
#[derive(Clone, Copy)]
struct Chance {
    zero: u16,
    seen: u16,
}

impl Chance {
    const EVEN: Self = Self { zero: 1 << 15, seen: 1 };

    fn bound(self, range: u32) -> u32 {
        // Never 0 and never all of it.
        let chance = u32::from(self.zero >> (16 - CHANCE_BITS)).clamp(1, (1 << CHANCE_BITS) - 1);
        (range >> CHANCE_BITS) * chance
    }

    fn learn(&mut self, bit: bool) {
        self.seen = (self.seen + 1).min(SLOWEST);
        if bit {
            self.zero -= self.zero / self.seen;
        } else {
            self.zero += (u16::MAX - self.zero) / self.seen;
        }
    }
}

/// Writes or reads decisions.
trait Coder {
    fn decide(&mut self, chance: &mut Chance, bit: bool) -> bool;
    /// `bits` of `value` as they are, at most 64.
    fn plain(&mut self, value: u64, bits: u32) -> u64;
}

struct Writer {
    out: Vec<u8>,
    low: u64,
    range: u32,
    /// The byte that a carry may still change, and how many of 0xff follow it.
    open: Option<u8>,
    full: usize,
}

impl Writer {
    const fn new() -> Self {
        Self { out: Vec::new(), low: 0, range: u32::MAX, open: None, full: 0 }
    }

    fn shift(&mut self) {
        if self.low < 0xff00_0000 || self.low > u64::from(u32::MAX) {
            let carry = (self.low >> 32) as u8;
            self.out.extend(self.open.map(|byte| byte.wrapping_add(carry)));
            self.out.extend(std::iter::repeat_n(0xffu8.wrapping_add(carry), std::mem::take(&mut self.full)));
            self.open = Some((self.low >> 24) as u8);
        } else {
            self.full += 1;
        }
        self.low = (self.low & 0x00ff_ffff) << 8;
    }

    /// The bytes, without zeros at their end: the reader adds them.
    fn finish(mut self) -> Vec<u8> {
        (0..5).for_each(|_| self.shift());
        while self.out.last() == Some(&0) {
            self.out.pop();
        }
        self.out
    }
}

impl Coder for Writer {
    fn decide(&mut self, chance: &mut Chance, bit: bool) -> bool {
        let bound = chance.bound(self.range);
        if bit {
            self.low += u64::from(bound);
            self.range -= bound;
        } else {
            self.range = bound;
        }
        chance.learn(bit);
        while self.range < TOP {
            self.range <<= 8;
            self.shift();
        }
        bit
    }

    fn plain(&mut self, value: u64, bits: u32) -> u64 {
        for at in (0..bits).rev() {
            self.range >>= 1;
            if value >> at & 1 == 1 {
                self.low += u64::from(self.range);
            }
            while self.range < TOP {
                self.range <<= 8;
                self.shift();
            }
        }
        value
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    code: u32,
    range: u32,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let mut reader = Self { bytes, at: 0, code: 0, range: u32::MAX };
        (0..4).for_each(|_| reader.code = reader.code << 8 | reader.byte());
        reader
    }

    fn byte(&mut self) -> u32 {
        self.at += 1;
        self.bytes.get(self.at - 1).copied().unwrap_or_default().into()
    }

    fn widen(&mut self) {
        while self.range < TOP {
            self.range <<= 8;
            self.code = self.code << 8 | self.byte();
        }
    }
}

impl Coder for Reader<'_> {
    fn decide(&mut self, chance: &mut Chance, _: bool) -> bool {
        let bound = chance.bound(self.range);
        let bit = self.code >= bound;
        if bit {
            self.code -= bound;
            self.range -= bound;
        } else {
            self.range = bound;
        }
        chance.learn(bit);
        self.widen();
        bit
    }

    fn plain(&mut self, _: u64, bits: u32) -> u64 {
        let mut value = 0;
        for _ in 0..bits {
            self.range >>= 1;
            let bit = self.code >= self.range;
            if bit {
                self.code -= self.range;
            }
            value = value << 1 | u64::from(bit);
            self.widen();
        }
        value
    }
}

/// What is learnt of a column.
struct Model {
    zero: [Chance; 4],
    sign: [Chance; 3],
    /// By the length before, the tree of the length less one.
    length: Vec<[Chance; 64]>,
    /// By length, the tree of the bits after the highest.
    mantissa: Vec<[Chance; 1 << LEARNT]>,
    before: [i64; 2],
}

impl Model {
    fn new() -> Self {
        Self {
            zero: [Chance::EVEN; 4],
            sign: [Chance::EVEN; 3],
            length: vec![[Chance::EVEN; 64]; 17],
            mantissa: vec![[Chance::EVEN; 1 << LEARNT]; 65],
            before: [0; 2],
        }
    }

    /// Codes one number; a reader does not look at `value`.
    fn code(&mut self, coder: &mut impl Coder, value: i64) -> i64 {
        let [last, earlier] = self.before;
        let context = usize::from(last != 0) * 2 + usize::from(earlier != 0);
        let mut found = 0;
        if coder.decide(&mut self.zero[context], value != 0) {
            let negative = coder.decide(&mut self.sign[(last.signum() + 1) as usize], value < 0);
            // 1 to 2^63; less one its length is that of a number of 0 to 63 bits.
            let magnitude = value.unsigned_abs();
            let length_before = u64::BITS - last.unsigned_abs().leading_zeros();
            let tree = &mut self.length[(length_before as usize).div_ceil(4)];
            let wanted = u64::BITS.saturating_sub(magnitude.leading_zeros()).saturating_sub(1);
            let mut node = 1usize;
            for at in (0..6).rev() {
                let bit = coder.decide(&mut tree[node], wanted >> at & 1 == 1);
                node = node << 1 | usize::from(bit);
            }
            let length = (node & 63) as u32;
            let learnt = length.min(LEARNT);
            let tree = &mut self.mantissa[length as usize];
            let mut top = 1usize;
            for at in 0..learnt {
                let bit = coder.decide(&mut tree[top], magnitude >> (length - 1 - at) & 1 == 1);
                top = top << 1 | usize::from(bit);
            }
            let rest = length - learnt;
            let low = coder.plain(magnitude & ((1u64 << rest) - 1), rest);
            let magnitude = (top as u64) << rest | low;
            found = if negative { magnitude.wrapping_neg().cast_signed() } else { magnitude.cast_signed() };
        }
        self.before = [found, last];
        found
    }
}

/// The bytes of `values`, or of their differences.
pub(crate) fn encode(values: &[i64], differences: bool) -> Vec<u8> {
    let (mut writer, mut model, mut before) = (Writer::new(), Model::new(), 0i64);
    for value in values {
        model.code(&mut writer, if differences { value.wrapping_sub(before) } else { *value });
        before = *value;
    }
    writer.finish()
}

/// Reads `count` values of [`encode`]; of any bytes some come out.
///
/// # Errors
/// [`ColumnError::Beyond`] when there are more bytes than were needed.
pub(crate) fn decode(bytes: &[u8], count: usize, differences: bool) -> Result<Vec<i64>, ColumnError> {
    let (mut reader, mut model, mut before) = (Reader::new(bytes), Model::new(), 0i64);
    let value = |_| {
        let found = model.code(&mut reader, 0);
        before = if differences { before.wrapping_add(found) } else { found };
        before
    };
    let values = (0..count).map(value).collect();
    if bytes.len() > reader.at { Err(ColumnError::Beyond) } else { Ok(values) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_numbers_come_back(values in prop::collection::vec(prop_oneof![any::<i64>(), -9i64..9, Just(0), Just(i64::MIN)], 0..300), differences: bool) {
            let bytes = encode(&values, differences);
            prop_assert_eq!(decode(&bytes, values.len(), differences), Ok(values));
        }

        #[test]
        fn any_bytes_give_numbers_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300), count in 0usize..300, differences: bool) {
            if let Ok(values) = decode(&bytes, count, differences) {
                prop_assert_eq!(values.len(), count);
            }
        }
    }

    #[test]
    fn what_is_seldom_costs_little() {
        let values: Vec<i64> = (0..300).map(|n| i64::from(n % 60 == 7) * 500).collect();
        let bytes = encode(&values, false);
        let mut sparse = Vec::new();
        crate::column::put(&mut sparse, &values);
        assert!(bytes.len() < sparse.len(), "{} bytes for five of 300, {} as a column", bytes.len(), sparse.len());
    }
}
