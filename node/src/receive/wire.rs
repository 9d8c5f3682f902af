//! Fields of a message of protocol buffers, read off its bytes one by one.

use starling_proto::varint::{Reader, VarintError};

/// Why bytes are no message of protocol buffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum WireError {
    #[error("the message is not protocol buffers: {0}")]
    Number(#[from] VarintError),
    #[error("the message is not protocol buffers: wire type {0}")]
    WireType(u64),
    #[error("the message is not protocol buffers: a text is not UTF-8")]
    Text,
}

/// The value of a field.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Field<'a> {
    Number(u64),
    Eight([u8; 8]),
    Bytes(&'a [u8]),
    Four,
}

impl<'a> Field<'a> {
    /// A message, a text or packed numbers; `None` of another type.
    pub(super) const fn bytes(self) -> Option<&'a [u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// A whole number; 0 of another type.
    pub(super) const fn number(self) -> u64 {
        match self {
            Self::Number(number) => number,
            _ => 0,
        }
    }

    /// A double; 0 of another type.
    pub(super) const fn double(self) -> f64 {
        match self {
            Self::Eight(bytes) => f64::from_le_bytes(bytes),
            _ => 0.0,
        }
    }

    /// A text; empty of another type.
    ///
    /// # Errors
    /// [`WireError::Text`].
    pub(super) fn text(self) -> Result<&'a str, WireError> {
        std::str::from_utf8(self.bytes().unwrap_or_default()).map_err(|_| WireError::Text)
    }
}

/// Calls `take` with the number of each field and its value.
///
/// # Errors
/// [`WireError`], also that of `take`.
pub(super) fn each_field<'a>(
    bytes: &'a [u8],
    mut take: impl FnMut(u64, Field<'a>) -> Result<(), WireError>,
) -> Result<(), WireError> {
    let mut reader = Reader::new(bytes);
    while !reader.is_empty() {
        let key = reader.u64()?;
        let value = match key & 7 {
            0 => Field::Number(reader.u64()?),
            1 => {
                let mut eight = [0; 8];
                eight.copy_from_slice(reader.take(8)?);
                Field::Eight(eight)
            }
            2 => {
                let length = usize::try_from(reader.u64()?).unwrap_or(usize::MAX);
                Field::Bytes(reader.take(length)?)
            }
            5 => {
                reader.take(4)?;
                Field::Four
            }
            other => return Err(WireError::WireType(other)),
        };
        take(key >> 3, value)?;
    }
    Ok(())
}

/// Whole numbers of a repeated field, packed or one by one, appended to `numbers`.
///
/// # Errors
/// [`WireError`].
pub(super) fn numbers(field: Field<'_>, numbers: &mut Vec<u64>) -> Result<(), WireError> {
    match field {
        Field::Number(number) => numbers.push(number),
        Field::Bytes(bytes) => {
            let mut reader = Reader::new(bytes);
            while !reader.is_empty() {
                numbers.push(reader.u64()?);
            }
        }
        Field::Eight(_) | Field::Four => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fields_are_read_by_their_type() {
        let bytes = [0x08, 0x96, 0x01, 0x12, 2, b'h', b'i', 0x19, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0x25, 1, 2, 3, 4];
        let mut seen = Vec::new();
        each_field(&bytes, |number, value| {
            seen.push((number, value));
            Ok(())
        })
        .unwrap();
        assert_eq!(
            (seen[0].1.number(), seen[1].1.text(), seen[2].1.double(), seen[3]),
            (150, Ok("hi"), 1.0, (4, Field::Four))
        );
        let mut packed = Vec::new();
        numbers(Field::Bytes(&[1, 0x96, 0x01]), &mut packed).unwrap();
        numbers(Field::Number(7), &mut packed).unwrap();
        assert_eq!(packed, [1, 150, 7]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = each_field(&bytes, |_, value| numbers(value, &mut Vec::new()));
        }
    }
}
