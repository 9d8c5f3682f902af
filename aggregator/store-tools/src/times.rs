//! Times as people write them.

use jiff::Timestamp;

/// From here on a whole number is of milliseconds: the year 5138 in seconds, 1973 in milliseconds.
const MILLISECONDS_FROM: u64 = 100_000_000_000;

/// Milliseconds since the Unix epoch of a time: seconds with or without a fraction, whole milliseconds from 10^11 on, or
/// RFC 3339.
pub(crate) fn ms(text: &str) -> Option<i64> {
    if let Ok(whole) = text.parse::<i64>() {
        return if whole.unsigned_abs() >= MILLISECONDS_FROM { Some(whole) } else { whole.checked_mul(1_000) };
    }
    if let Ok(seconds) = text.parse::<f64>() {
        let ms = (seconds * 1_000.0).round();
        return (ms.abs() < 1e15).then_some(ms as i64);
    }
    text.parse::<Timestamp>().ok().map(Timestamp::as_millisecond)
}

/// The second in which a time lies.
pub(crate) fn tick(text: &str) -> Option<u32> {
    u32::try_from(ms(text)?.div_euclid(1_000)).ok()
}

/// A second with its number, for people.
pub(crate) fn told(tick: u32) -> String {
    Timestamp::from_second(tick.into()).map_or_else(|_| tick.to_string(), |time| format!("{time} ({tick})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_spellings_of_a_moment_are_it() {
        for text in [
            "1792466838",
            "1792466838.0",
            "1.792466838e9",
            "1792466838000",
            "2026-10-20T03:27:18Z",
            "2026-10-20T05:27:18+02:00",
        ] {
            assert_eq!((ms(text), tick(text)), (Some(1_792_466_838_000), Some(1_792_466_838)), "{text}");
        }
        assert_eq!(ms("0.1"), Some(100));
        for text in ["", "now", "1e300", "NaN", "-Inf"] {
            assert_eq!(ms(text), None, "{text}");
        }
    }
}
