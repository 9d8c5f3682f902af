//! Lengths of time as Prometheus writes them.

use crate::limits::DURATION_MAX_MS;

/// Units in the order they may follow each other, in milliseconds.
const UNITS: [(&str, i64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// A length like `1h30m`, or a number of seconds like `15` or `0.5`, in milliseconds.
///
/// # Errors
/// What is wrong with it: no length at all, not above 0, or longer than [`DURATION_MAX_MS`].
pub fn parse_duration(text: &str) -> Result<i64, String> {
    let ms = match text.parse::<f64>() {
        Ok(seconds) => {
            if !seconds.is_finite() {
                return Err(format!("{text:?} is no length of time"));
            }
            let ms = (seconds * 1000.0).round();
            if ms > DURATION_MAX_MS as f64 {
                return Err(too_long(text));
            }
            ms as i64
        }
        Err(_) => units(text)?,
    };
    if ms <= 0 {
        return Err(format!("the length {text:?} must be at least one millisecond"));
    }
    Ok(ms)
}

fn units(text: &str) -> Result<i64, String> {
    let no_length = || format!("{text:?} is no length of time; write it like 30s, 5m or 1h30m");
    let (mut rest, mut next, mut total) = (text, 0, 0i64);
    if rest.is_empty() {
        return Err(no_length());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(no_length)?;
        let end = rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |at| digits + at);
        let unit = UNITS[next..].iter().position(|(name, _)| *name == &rest[digits..end]).ok_or_else(no_length)? + next;
        if digits == 0 {
            return Err(no_length());
        }
        let amount: i64 = rest[..digits].parse().map_err(|_| too_long(text))?;
        total = amount
            .checked_mul(UNITS[unit].1)
            .and_then(|part| total.checked_add(part))
            .filter(|&sum| sum <= DURATION_MAX_MS)
            .ok_or_else(|| too_long(text))?;
        (rest, next) = (&rest[end..], unit + 1);
    }
    Ok(total)
}

fn too_long(text: &str) -> String {
    let start: String = text.chars().take(40).collect();
    format!("the length {start:?} is longer than 100 years")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_seconds_are_taken_and_nonsense_is_named() {
        assert_eq!(parse_duration("1h30m"), Ok(5_400_000));
        assert_eq!(parse_duration("1d"), Ok(86_400_000));
        assert_eq!(parse_duration("1y"), Ok(31_536_000_000));
        assert_eq!(parse_duration("0.5"), Ok(500));
        assert_eq!(parse_duration("5"), Ok(5_000));
        assert_eq!(parse_duration("1s250ms"), Ok(1_250));
        for bad in
            ["", "0", "-1", "1e-9", "NaN", "Inf", "1m1h", "m", "5x", "0s", "1e300", "1000000y", "99999999999999999999s"]
        {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }
}
