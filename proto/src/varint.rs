//! LEB128 varints and zigzag, read with every bound checked. Shared by the frame, histogram and rollup codecs.

/// Why bytes are not what they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VarintError {
    /// The bytes end inside a number.
    #[error("the bytes end inside a number")]
    Truncated,
    /// A number does not fit 64 (or 128) bits.
    #[error("a number is longer than its type")]
    TooLong,
}

/// Appends `value`, 1 to 10 bytes.
pub fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a signed value by zigzag: small magnitudes stay short.
pub fn put_signed(out: &mut Vec<u8>, value: i64) {
    put(out, zigzag(value));
}

/// Appends a 128-bit value as two varints, low half first.
pub fn put_u128(out: &mut Vec<u8>, value: u128) {
    put(out, value as u64);
    put(out, (value >> 64) as u64);
}

/// Appends a length and the bytes.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Maps 0, -1, 1, -2, ... to 0, 1, 2, 3, ...
#[must_use]
pub const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

/// The inverse of [`zigzag`].
#[must_use]
pub const fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

/// Reads numbers from the front of a slice.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the front.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What was not read yet.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// True when everything was read.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// One byte.
    ///
    /// # Errors
    /// [`VarintError::Truncated`] at the end.
    pub fn byte(&mut self) -> Result<u8, VarintError> {
        let (&first, rest) = self.rest.split_first().ok_or(VarintError::Truncated)?;
        self.rest = rest;
        Ok(first)
    }

    /// One varint.
    ///
    /// # Errors
    /// [`VarintError`], when the bytes end or the number exceeds 64 bits.
    #[inline]
    pub fn u64(&mut self) -> Result<u64, VarintError> {
        // Most numbers of a frame are below 128.
        match self.rest.split_first() {
            Some((&byte, rest)) if byte < 0x80 => {
                self.rest = rest;
                Ok(u64::from(byte))
            }
            _ => self.long(),
        }
    }

    fn long(&mut self) -> Result<u64, VarintError> {
        let mut value = 0u64;
        for (i, &byte) in self.rest.iter().enumerate() {
            let low = u64::from(byte & 0x7f);
            if i == 9 && byte > 1 {
                return Err(VarintError::TooLong);
            }
            value |= low << (7 * i);
            if byte < 0x80 {
                self.rest = &self.rest[i + 1..];
                return Ok(value);
            }
        }
        Err(if self.rest.len() >= 10 { VarintError::TooLong } else { VarintError::Truncated })
    }

    /// One zigzag varint.
    ///
    /// # Errors
    /// As [`Reader::u64`].
    pub fn i64(&mut self) -> Result<i64, VarintError> {
        self.u64().map(unzigzag)
    }

    /// One 128-bit number written by [`put_u128`].
    ///
    /// # Errors
    /// As [`Reader::u64`].
    pub fn u128(&mut self) -> Result<u128, VarintError> {
        let low = u128::from(self.u64()?);
        Ok(low | u128::from(self.u64()?) << 64)
    }

    /// Exactly `n` bytes.
    ///
    /// # Errors
    /// [`VarintError::Truncated`] when fewer are left.
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], VarintError> {
        let (taken, rest) = self.rest.split_at_checked(n).ok_or(VarintError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// A length and that many bytes, at most `limit`.
    ///
    /// # Errors
    /// [`VarintError::TooLong`] above the limit, [`VarintError::Truncated`] when fewer are left.
    pub fn bytes(&mut self, limit: usize) -> Result<&'a [u8], VarintError> {
        let length = usize::try_from(self.u64()?).map_err(|_| VarintError::TooLong)?;
        if length > limit {
            return Err(VarintError::TooLong);
        }
        self.take(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_round_trip(values: Vec<u64>, signed: Vec<i64>, wide: u128) {
            let mut out = Vec::new();
            values.iter().for_each(|&v| put(&mut out, v));
            signed.iter().for_each(|&v| put_signed(&mut out, v));
            put_u128(&mut out, wide);
            let mut reader = Reader::new(&out);
            for v in values { prop_assert_eq!(reader.u64(), Ok(v)); }
            for v in signed { prop_assert_eq!(reader.i64(), Ok(v)); }
            prop_assert_eq!(reader.u128(), Ok(wide));
            prop_assert!(reader.is_empty());
        }

        #[test]
        fn random_bytes_never_panic(bytes: Vec<u8>) {
            let mut reader = Reader::new(&bytes);
            while reader.u64().is_ok() {}
        }
    }

    #[test]
    fn overlong_and_cut_numbers_are_distinguished() {
        assert_eq!(Reader::new(&[0xff; 11]).u64(), Err(VarintError::TooLong));
        assert_eq!(Reader::new(&[0xff; 3]).u64(), Err(VarintError::Truncated));
        assert_eq!(Reader::new(&[5, 1, 2]).bytes(4), Err(VarintError::TooLong));
        assert_eq!(Reader::new(&[3, 1, 2]).bytes(4), Err(VarintError::Truncated));
    }
}
