//! Bytes as hexadecimal digits.

use std::fmt::Write as _;

/// Two lower-case digits a byte.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Into a text it does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The bytes; `None` for what is not two digits, of either case, a byte.
#[must_use]
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let digit = |digit: u8| char::from(digit).to_digit(16).map(|value| value as u8);
    digits.chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

/// As [`decode`], of so many bytes.
#[must_use]
pub fn decode_array<const N: usize>(text: &str) -> Option<[u8; N]> {
    // A longer text is not decoded.
    (text.len() == 2 * N).then(|| decode(text)?.try_into().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let all: Vec<u8> = (0..=u8::MAX).collect();
        let text = encode(&all);
        assert!(text.starts_with("000102") && text.ends_with("fdfeff"));
        assert_eq!(decode(&text), Some(all.clone()));
        assert_eq!(decode(&text.to_uppercase()), Some(all));
        assert_eq!(decode_array("00ff"), Some([0, 255]));
        assert_eq!(decode(""), Some(Vec::new()));
    }

    #[test]
    fn what_is_no_digit_is_refused() {
        // The first is a number to the standard library.
        for odd in ["+f", "-1", "0", "0g", " 0", "0x", "ü"] {
            assert_eq!(decode(odd), None, "{odd}");
        }
        for long in ["00", "000000"] {
            assert_eq!(decode_array::<2>(long), None, "{long}");
        }
    }
}
