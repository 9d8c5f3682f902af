//! Times as RFC 3339 with milliseconds, in UTC.

/// A second of the data, such as `2026-11-23T16:45:57.000Z`.
pub(crate) fn rfc3339(tick: u32) -> String {
    with_ms(tick, 0)
}

/// A moment in milliseconds since 1970, such as `2026-11-23T16:45:57.250Z`.
pub(crate) fn rfc3339_ms(ms: u64) -> String {
    let tick = u32::try_from(ms / 1_000).unwrap_or(u32::MAX);
    with_ms(tick, ms % 1_000)
}

fn with_ms(tick: u32, ms: u64) -> String {
    let (days, second) = (i64::from(tick / 86_400), tick % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

/// Year, month and day of a day since 1970-01-01, by Howard Hinnant's `civil_from_days`
/// (<https://howardhinnant.github.io/date_algorithms.html>): years start in March, so that the leap day is their last.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(951_782_400), "2000-02-29T00:00:00.000Z");
        assert_eq!(rfc3339(1_700_000_000), "2023-11-14T22:13:20.000Z");
        assert_eq!(rfc3339_ms(1_700_000_000_250), "2023-11-14T22:13:20.250Z");
        assert_eq!(rfc3339(u32::MAX), "2106-02-07T06:28:15.000Z");
    }
}
