//! Numbers as they stand in texts.

use super::observation::Number;

/// Digits that always fit an `i64`.
const DIGITS_MAX: usize = 18;
/// Decimal digits that are kept as they were written: what fixed point usually has. More come from a double.
const SCALE_MAX: usize = 6;

/// The number that `text` is: exact when it is short, else the nearest double. NaN and infinities are numbers here.
pub(super) fn number(text: &[u8]) -> Option<Number> {
    plain(text).or_else(|| {
        let text = std::str::from_utf8(text).ok()?;
        // What Rust takes is what is usual in such texts: "1e3", "+Inf", "NaN".
        text.parse().ok().map(Number::Double)
    })
}

/// A sign, digits, a point, digits.
fn plain(text: &[u8]) -> Option<Number> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let (mut value, mut scale, mut point, mut seen) = (0i64, 0usize, false, 0usize);
    for &byte in digits {
        match byte {
            b'0'..=b'9' => {
                seen += 1;
                if seen > DIGITS_MAX {
                    return None;
                }
                value = value * 10 + i64::from(byte - b'0');
                scale += usize::from(point);
            }
            b'.' if !point => point = true,
            _ => return None,
        }
    }
    if seen == 0 {
        return None;
    }
    while scale > 0 && value % 10 == 0 {
        (value, scale) = (value / 10, scale - 1);
    }
    let value = if negative { -value } else { value };
    match scale {
        0 => Some(Number::Integer(value)),
        // At most 6.
        1..=SCALE_MAX => Some(Number::Decimal { value, scale: scale as u8 }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn short_numbers_are_exact() {
        for (text, wanted) in [
            ("1", Number::Integer(1)),
            ("-0042", Number::Integer(-42)),
            ("+5", Number::Integer(5)),
            ("12.500000", Number::Decimal { value: 125, scale: 1 }),
            ("-.25", Number::Decimal { value: -25, scale: 2 }),
            ("7.", Number::Integer(7)),
            ("0.000", Number::Integer(0)),
            ("999999999999999999", Number::Integer(999_999_999_999_999_999)),
            ("1e3", Number::Double(1e3)),
            ("0.12345678", Number::Double(0.123_456_78)),
            ("99999999999999999999", Number::Double(1e20)),
            ("+Inf", Number::Double(f64::INFINITY)),
        ] {
            assert_eq!(number(text.as_bytes()), Some(wanted), "{text}");
        }
        assert!(matches!(number(b"NaN"), Some(Number::Double(value)) if value.is_nan()));
        for text in ["", "-", ".", "+-1", "1.2.3", "one", "1 ", "0x10", "\u{661}"] {
            assert_eq!(number(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(value in any::<f64>(), bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = number(&bytes);
            let text = value.to_string();
            let read = match number(text.as_bytes()).unwrap() {
                Number::Integer(value) => value as f64,
                Number::Double(value) => value,
                Number::Decimal { value, scale } => value as f64 / 10f64.powi(i32::from(scale)),
            };
            prop_assert!(read == value || (read.is_nan() && value.is_nan()) || ((read - value) / value).abs() < 1e-15);
        }
    }
}
