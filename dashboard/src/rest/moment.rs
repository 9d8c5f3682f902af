//! Moments and lengths of time as people and programs write them.
//!
//! All spellings of a moment are the same moment: RFC 3339 with any offset and any fraction, Unix seconds with or without
//! one, `now` and `now-15m`. Fractions count to the millisecond.

use crate::hub::UnixMillis;

/// The last second there is a tick for: in 2106.
const SECOND_MAX: f64 = u32::MAX as f64;
/// Longest length that is read, in milliseconds: 200 years, beyond all there can be.
const LENGTH_MAX_MS: u64 = 200 * 365 * DAY_MS;
const DAY_MS: u64 = 86_400_000;
/// Units of a length, longest first, as Prometheus has them.
const UNITS: [(&str, u64); 7] =
    [("y", 365 * DAY_MS), ("w", 7 * DAY_MS), ("d", DAY_MS), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Why a text is no moment: what it is and what is wanted.
type Refusal = String;

/// A moment in milliseconds since 1970. Empty means now.
pub(crate) fn moment(text: &str, now: UnixMillis) -> Result<UnixMillis, Refusal> {
    let text = text.trim();
    if text.is_empty() || text == "now" {
        return Ok(now);
    }
    if let Some(before) = text.strip_prefix("now-").or_else(|| text.strip_prefix('-')) {
        return Ok(now.saturating_sub(length(before)?));
    }
    if is_calendar(text) {
        return calendar(text);
    }
    // A plus that was not escaped comes as a blank.
    let seconds: f64 = text.replace("e ", "e+").parse().ok().filter(|_| is_number(text)).ok_or_else(|| wanted(text))?;
    if !(0.0..=SECOND_MAX).contains(&seconds) {
        let hint = if seconds > SECOND_MAX { "; milliseconds stand behind a point" } else { "" };
        return Err(format!("{text:?} is outside of 0 to {SECOND_MAX} Unix seconds{hint}"));
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // within 0 to 2^32 seconds
    Ok((seconds * 1_000.0).round() as UnixMillis)
}

/// The second of a moment: the one it lies in.
pub(crate) fn second(moment: UnixMillis) -> u32 {
    u32::try_from(moment / 1_000).unwrap_or(u32::MAX)
}

/// A length in milliseconds, above 0: seconds (`90`, `0.5`) or numbers with units, longest first (`1h30m`, `7d`).
pub(crate) fn length(text: &str) -> Result<u64, Refusal> {
    let text = text.trim();
    let wanted = || format!("{text:?} is no length of time; wanted: seconds such as 60, or such as 15m, 1h30m, 7d");
    let milliseconds = if is_number(text) {
        let seconds: f64 = text.parse().map_err(|_| wanted())?;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // saturates, and negative is 0
        {
            (seconds * 1_000.0).round() as u64
        }
    } else {
        in_units(text).ok_or_else(wanted)?
    };
    match milliseconds {
        0 => Err(format!("{text:?} is no length of time above 0")),
        1..=LENGTH_MAX_MS => Ok(milliseconds),
        _ => Err(format!("{text:?} is longer than 200 years")),
    }
}

/// `1h30m`: every unit at most once, longest first.
fn in_units(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut units = UNITS.iter();
    let mut sum = 0_u64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let (_, size) = units.by_ref().find(|(name, _)| *name == unit)?;
        // Beyond the limit it is refused all the same.
        sum = sum.saturating_add(number.parse::<u64>().unwrap_or(u64::MAX).saturating_mul(*size));
        rest = after;
    }
    Some(sum).filter(|_| !text.is_empty())
}

/// Digits with at most a sign, a point and an exponent: what Rust reads as a number, without its words.
fn is_number(text: &str) -> bool {
    text.chars().any(|c| c.is_ascii_digit()) && text.chars().all(|c| "0123456789+-.eE ".contains(c))
}

/// Begins like a date.
fn is_calendar(text: &str) -> bool {
    text.as_bytes().get(..5).is_some_and(|start| start[..4].iter().all(u8::is_ascii_digit) && start[4] == b'-')
}

fn wanted(text: &str) -> Refusal {
    format!(
        "{text:?} is no time; wanted: RFC 3339 such as 2026-10-20T03:27:18.250Z, Unix seconds such as 1792466838, \
         now, or now-15m"
    )
}

/// RFC 3339. A date alone is its first second in UTC.
fn calendar(text: &str) -> Result<UnixMillis, Refusal> {
    read_calendar(text.as_bytes()).ok_or_else(|| wanted(text))
}

fn read_calendar(text: &[u8]) -> Option<UnixMillis> {
    let (date, rest) = text.split_at_checked(10)?;
    let [year, month, day] = [number(&date[..4])?, number(&date[5..7])?, number(&date[8..])?];
    (date[7] == b'-' && year >= 1_970 && (1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day))
        .then_some(())?;
    let midnight = days_since_1970(year, month, day) * 86_400_000;
    let Some((separator, clock)) = rest.split_first() else { return u64::try_from(midnight).ok() };
    b"Tt ".contains(separator).then_some(())?;
    let (time, mut rest) = clock.split_at_checked(5)?;
    let [hour, minute] = [number(&time[..2])?, number(&time[3..])?];
    (time[2] == b':' && hour < 24 && minute < 60).then_some(())?;
    let (mut second, mut millisecond) = (0, 0);
    if let Some(after) = rest.strip_prefix(b":") {
        let (digits, after) = after.split_at_checked(2)?;
        second = number(digits)?;
        rest = after;
        if let Some(after) = rest.strip_prefix(b".") {
            let digits = after.iter().take_while(|c| c.is_ascii_digit()).count();
            (digits > 0).then_some(())?;
            let shown: String = after[..digits].iter().take(3).map(|&c| char::from(c)).collect();
            millisecond = format!("{shown:0<3}").parse().ok()?;
            rest = &after[digits..];
        }
    }
    (second < 60).then_some(())?;
    let offset = match rest {
        b"Z" | b"z" => 0,
        // A plus that was not escaped comes as a blank.
        [sign @ (b'+' | b'-' | b' '), h1, h2, b':', m1, m2] => {
            let [hours, minutes] = [number(&[*h1, *h2])?, number(&[*m1, *m2])?];
            (hours < 24 && minutes < 60).then_some(())?;
            (hours * 60 + minutes) * if *sign == b'-' { -60_000 } else { 60_000 }
        }
        _ => return None,
    };
    let moment = midnight + ((hour * 60 + minute) * 60 + second) * 1_000 + millisecond - offset;
    u64::try_from(moment).ok().filter(|is| *is / 1_000 <= u64::from(u32::MAX))
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().all(u8::is_ascii_digit).then(|| std::str::from_utf8(digits).ok()?.parse().ok())?
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// By Howard Hinnant's `days_from_civil` (<https://howardhinnant.github.io/date_algorithms.html>).
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rest::time::rfc3339;

    const NOW: UnixMillis = 1_792_500_000_250;

    #[test]
    fn every_spelling_of_a_moment_is_that_moment() {
        for text in [
            "2026-10-20T03:27:18Z",
            "2026-10-20T03:27:18.0Z",
            "2026-10-20T05:27:18+02:00",
            // A plus that was not escaped.
            "2026-10-20T05:27:18 02:00",
            "2026-10-19t22:27:18-05:00",
            "2026-10-20 03:27:18z",
            "1792466838",
            "1.792466838e9",
            "1.792466838e+9",
            "1.792466838e 9",
            " 1792466838.0 ",
        ] {
            assert_eq!(moment(text, NOW), Ok(1_792_466_838_000), "{text}");
        }
        for text in ["2026-10-20T03:27:18.123456Z", "1792466838.123"] {
            assert_eq!(moment(text, NOW), Ok(1_792_466_838_123), "{text}");
            assert_eq!(second(moment(text, NOW).unwrap()), 1_792_466_838);
        }
        assert_eq!(moment("", NOW), Ok(NOW));
        assert_eq!(moment("now-1h30m", NOW), Ok(NOW - 5_400_000));
        assert_eq!(moment("-15m", NOW), Ok(NOW - 900_000));
        assert_eq!(moment("2026-10-20", NOW), moment("2026-10-20T00:00Z", NOW));
    }

    #[test]
    fn what_is_no_moment_is_refused_with_what_is_wanted() {
        for text in [
            "1792466838123",
            "1e18",
            "NaN",
            "Inf",
            "infinity",
            "yesterday",
            "2026-13-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-10-20T24:00:00Z",
            "2026-10-20T03:27:18",
            "2026-10-20T03:27:18.Z",
            "2026-10-20T03:27:18+2:00",
            "2026-10-20T03:27:1éZ",
            "2107-01-01T00:00:00Z",
            "1969-12-31T00:00:00Z",
            "-5",
            "now-0s",
            "now+1h",
        ] {
            match moment(text, NOW) {
                // What was so many seconds ago.
                Ok(is) => assert_eq!((text, is), ("-5", NOW - 5_000)),
                Err(why) => {
                    assert!(why.contains("wanted") || why.contains("outside") || why.contains("above 0"), "{why}");
                }
            }
        }
        assert!(moment("1792466838123", NOW).unwrap_err().contains("milliseconds"));
    }

    #[test]
    fn days_are_those_that_are_written() {
        for tick in (0..u32::MAX - 400_000).step_by(8_640_013).chain([951_782_400, u32::MAX]) {
            assert_eq!(moment(&rfc3339(tick), NOW), Ok(u64::from(tick) * 1_000), "{}", rfc3339(tick));
        }
    }

    #[test]
    fn lengths() {
        for (text, ms) in [
            ("5", 5_000),
            ("0.5", 500),
            ("1d", DAY_MS),
            ("1y", 365 * DAY_MS),
            ("1h30m", 5_400_000),
            ("2w1d", 15 * DAY_MS),
            ("500ms", 500),
            ("1m1ms", 60_001),
        ] {
            assert_eq!(length(text), Ok(ms), "{text}");
        }
        for text in [
            "0", "-1", "1e-9", "NaN", "Inf", "", "1x", "m", "1m1h", "1h1h", "1h 30m", "1.5h", "1000000y", "1e300", "0s",
        ] {
            assert!(length(text).is_err(), "{text}");
        }
    }
}
