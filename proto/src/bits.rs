//! Bits: numbers of any number of them, low bit first, and maps of one bit a place. Shared by the codecs of frames,
//! histograms and blocks.

use crate::varint::VarintError;

/// Quotients of a Rice code from here on are escaped.
const ESCAPE: u32 = 24;
/// Largest Rice parameter.
pub const RICE_MAX: u8 = 56;
/// Bits that [`BitReader::window`] has at least.
const WINDOW: u32 = 57;
/// Pairs of Rice codes that take at most so many bits together are looked up.
const PAIR_BITS: u32 = 10;
/// Parameters below this have a table for their pairs: those of small numbers, which are most.
const TABLE_PARAMETERS: usize = 4;

/// What the low [`PAIR_BITS`] of a window begin with.
#[derive(Debug, Clone, Copy)]
struct Pair {
    first: u8,
    second: u8,
    /// Of both together; 0 when they are longer.
    bits: u8,
}

/// By the parameters of both numbers, 3 kB for each two of them.
static PAIRS: [[[Pair; 1 << PAIR_BITS]; TABLE_PARAMETERS]; TABLE_PARAMETERS] = pairs();

const fn pairs() -> [[[Pair; 1 << PAIR_BITS]; TABLE_PARAMETERS]; TABLE_PARAMETERS] {
    let mut tables = [[[Pair { first: 0, second: 0, bits: 0 }; 1 << PAIR_BITS]; TABLE_PARAMETERS]; TABLE_PARAMETERS];
    let mut at = 0;
    while at < (TABLE_PARAMETERS * TABLE_PARAMETERS) << PAIR_BITS {
        let (window, k) = (at & ((1 << PAIR_BITS) - 1), at >> PAIR_BITS);
        let (k_first, k_second) = (k / TABLE_PARAMETERS, k % TABLE_PARAMETERS);
        let (first, used) = short(window as u64, k_first as u8);
        let (second, more) = short(window as u64 >> used, k_second as u8);
        if used + more <= PAIR_BITS {
            tables[k_first][k_second][window] =
                Pair { first: first as u8, second: second as u8, bits: (used + more) as u8 };
        }
        at += 1;
    }
    tables
}

/// The Rice parameter for `n` numbers with this sum: the power of two at or below their mean.
#[must_use]
pub fn rice_parameter(sum: u128, n: u64) -> u8 {
    let mean = sum / u128::from(n.max(1));
    (mean.checked_ilog2().unwrap_or(0) as u8).min(RICE_MAX)
}

/// Appends bits to bytes. Nothing is complete before [`BitWriter::finish`].
#[derive(Debug)]
pub struct BitWriter<'a> {
    out: &'a mut Vec<u8>,
    pending: u128,
    used: u32,
}

impl<'a> BitWriter<'a> {
    /// Starts at the end of `out`, with a byte of its own.
    pub const fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, pending: 0, used: 0 }
    }

    /// Appends the lowest `bits` (at most 64) of `value`, which must have no higher ones.
    pub fn put(&mut self, value: u64, bits: u32) {
        self.pending |= u128::from(value) << self.used;
        self.used += bits;
        while self.used >= 8 {
            self.out.push(self.pending as u8);
            self.pending >>= 8;
            self.used -= 8;
        }
    }

    /// Appends a number by a Rice code with parameter `k` (at most [`RICE_MAX`]): at most 88 bits.
    pub fn rice(&mut self, value: u64, k: u8) {
        let quotient = value >> k;
        if quotient >= u64::from(ESCAPE) {
            self.put((1 << ESCAPE) - 1, ESCAPE);
            self.put(value, 64);
        } else {
            // That many ones and a zero.
            self.put((1 << quotient) - 1, quotient as u32 + 1);
            self.put(value & ((1 << k) - 1), u32::from(k));
        }
    }

    /// Fills the last byte with zeros.
    pub fn finish(self) {
        if self.used > 0 {
            self.out.push(self.pending as u8);
        }
    }
}

/// Reads bits from the front of bytes.
#[derive(Debug, Clone)]
pub struct BitReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> BitReader<'a> {
    /// Starts at the front.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The bytes after the last one of which a bit was read.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at.div_ceil(8)..).unwrap_or_default()
    }

    /// The next [`WINDOW`] bits or more, zeros beyond the end.
    fn window(&self) -> u64 {
        let rest = self.bytes.get(self.at / 8..).unwrap_or_default();
        let word = rest.first_chunk().map_or_else(
            || {
                let mut word = [0u8; 8];
                word[..rest.len()].copy_from_slice(rest);
                u64::from_le_bytes(word)
            },
            |word| u64::from_le_bytes(*word),
        );
        word >> (self.at % 8)
    }

    fn skip(&mut self, bits: u32) -> Result<(), VarintError> {
        self.at += bits as usize;
        if self.at > self.bytes.len() * 8 { Err(VarintError::Truncated) } else { Ok(()) }
    }

    /// The next `bits` (at most 64) as a number.
    ///
    /// # Errors
    /// [`VarintError::Truncated`] beyond the end.
    pub fn read(&mut self, bits: u32) -> Result<u64, VarintError> {
        let low = bits.min(32);
        let mut value = self.window() & ((1u64 << low) - 1);
        self.skip(low)?;
        if bits > low {
            value |= (self.window() & ((1u64 << (bits - low)) - 1)) << low;
            self.skip(bits - low)?;
        }
        Ok(value)
    }

    /// One number by a Rice code with parameter `k`.
    ///
    /// # Errors
    /// [`VarintError::Truncated`] beyond the end.
    pub fn rice(&mut self, k: u8) -> Result<u64, VarintError> {
        let window = self.window();
        let (value, used) = short(window, k);
        if used <= WINDOW {
            self.skip(used)?;
            return Ok(value);
        }
        let ones = window.trailing_ones().min(ESCAPE);
        if ones == ESCAPE {
            self.skip(ESCAPE)?;
            return self.read(64);
        }
        // The rest begins in a window of its own: less than 24 << 56 fits.
        self.skip(ones + 1)?;
        Ok((u64::from(ones) << k) | self.read(u32::from(k))?)
    }

    /// Hands over `n` pairs of numbers that follow each other. A window holds many of them: it is read once for all.
    ///
    /// # Errors
    /// [`VarintError::Truncated`] beyond the end; what was handed over by then means nothing.
    #[inline]
    pub fn rice_pairs(
        &mut self,
        n: usize,
        (k_first, k_second): (u8, u8),
        mut each: impl FnMut(u64, u64),
    ) -> Result<(), VarintError> {
        let table = PAIRS.get(usize::from(k_first)).and_then(|tables| tables.get(usize::from(k_second)));
        let mut missing = n;
        while missing > 0 {
            let (mut window, mut left) = (self.window(), WINDOW);
            while missing > 0 {
                if let Some(table) = table {
                    let pair = table[(window & ((1 << PAIR_BITS) - 1)) as usize];
                    let bits = u32::from(pair.bits);
                    if bits > 0 && bits <= left {
                        each(pair.first.into(), pair.second.into());
                        (window, left, missing) = (window >> bits, left - bits, missing - 1);
                        continue;
                    }
                }
                let (first, used) = short(window, k_first);
                // Where the first does not end within the window, whatever follows is not looked at.
                let rest = window >> (used % u64::BITS);
                let (second, more) = short(rest, k_second);
                if used + more > left {
                    break;
                }
                each(first, second);
                (window, left, missing) = (rest >> more, left - used - more, missing - 1);
            }
            if left < WINDOW {
                self.skip(WINDOW - left)?;
            } else if missing > 0 {
                // One pair of many bits.
                each(self.rice(k_first)?, self.rice(k_second)?);
                missing -= 1;
            }
        }
        Ok(())
    }
}

/// The number at the front of a window and its bits; more than [`WINDOW`] bits when it does not lie in it.
const fn short(window: u64, k: u8) -> (u64, u32) {
    let ones = window.trailing_ones();
    if ones >= ESCAPE {
        return (0, WINDOW + 1);
    }
    let low = (window >> (ones + 1)) & ((1u64 << k) - 1);
    (((ones as u64) << k) | low, ones + 1 + k as u32)
}

/// Whether a bit of a map is set; false beyond its end.
#[must_use]
pub fn is_set(map: &[u64], at: usize) -> bool {
    map.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
}

/// Sets a bit of a map.
///
/// # Panics
/// When the map does not reach so far.
pub fn set(map: &mut [u64], at: usize) {
    map[at / 64] |= 1 << (at % 64);
}

/// The places of the set bits of a map, ascending.
pub fn ones(map: &[u64]) -> impl Iterator<Item = usize> + Clone + '_ {
    map.iter().enumerate().flat_map(|(at, &word)| {
        std::iter::successors((word != 0).then_some(word), |rest| Some(rest & (rest - 1)).filter(|rest| *rest != 0))
            .map(move |rest| at * 64 + rest.trailing_zeros() as usize)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_length() -> impl Strategy<Value = u64> {
        (any::<u64>(), 0u32..64).prop_map(|(value, shorter)| value >> shorter)
    }

    proptest! {
        #[test]
        fn maps_hold_their_places(places in prop::collection::btree_set(0usize..300, 0..50)) {
            let mut map = [0; 5];
            places.iter().for_each(|at| set(&mut map, *at));
            prop_assert!(ones(&map).eq(places.iter().copied()));
            prop_assert!((0..400).all(|at| is_set(&map, at) == places.contains(&at)));
        }

        #[test]
        fn rice_codes_round_trip(pairs in prop::collection::vec((any_length(), any_length()), 1..40), k_first in 0u8..=RICE_MAX, k_second in 0u8..=RICE_MAX) {
            let mut out = Vec::new();
            let mut bits = BitWriter::new(&mut out);
            for &(first, second) in &pairs {
                bits.rice(first, k_first);
                bits.rice(second, k_second);
            }
            bits.finish();
            let (mut together, mut apart) = (BitReader::new(&out), BitReader::new(&out));
            let mut found = Vec::new();
            let read = together.rice_pairs(pairs.len(), (k_first, k_second), |first, second| found.push((first, second)));
            prop_assert_eq!((read, &found), (Ok(()), &pairs));
            for &(first, second) in &pairs {
                prop_assert_eq!((apart.rice(k_first), apart.rice(k_second)), (Ok(first), Ok(second)));
            }
            prop_assert!(together.rest().is_empty() && apart.rest().is_empty());
            // What is missing is no number, even where zeros would make one.
            let mut cut = BitReader::new(&out[..out.len() - 1]);
            prop_assert_eq!(cut.rice_pairs(pairs.len(), (k_first, k_second), |_, _| ()), Err(VarintError::Truncated));
        }

        #[test]
        fn plain_numbers_round_trip(numbers in prop::collection::vec((any_length(), 0u32..=64), 1..40)) {
            let numbers: Vec<(u64, u32)> = numbers.into_iter().map(|(value, bits)| (value & u64::MAX.checked_shr(64 - bits).unwrap_or(0), bits)).collect();
            let mut out = Vec::new();
            let mut writer = BitWriter::new(&mut out);
            numbers.iter().for_each(|&(value, bits)| writer.put(value, bits));
            writer.finish();
            let mut reader = BitReader::new(&out);
            for (value, bits) in numbers {
                prop_assert_eq!(reader.read(bits), Ok(value));
            }
            prop_assert!(reader.rest().is_empty());
            let past_the_end = (0..8).try_for_each(|_| reader.read(1).map(drop));
            prop_assert_eq!(past_the_end, Err(VarintError::Truncated));
        }
    }
}
