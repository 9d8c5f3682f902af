//! Dates in UTC.

use crate::plan::Calendar;

/// A part of the date of `seconds` of Unix time; not a number when there is no such date.
pub(super) fn part(calendar: Calendar, seconds: f64) -> f64 {
    // Beyond that no calendar speaks of days.
    if seconds.is_nan() || seconds.abs() > 1e15 {
        return f64::NAN;
    }
    let seconds = seconds as i64;
    let (days, of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let value = match calendar {
        Calendar::Minute => of_day / 60 % 60,
        Calendar::Hour => of_day / 3_600,
        // 1970-01-01 was a Thursday; 0 is Sunday.
        Calendar::DayOfWeek => (days + 4).rem_euclid(7),
        Calendar::DayOfMonth => day,
        Calendar::DayOfYear => days - since_epoch(year, 1, 1) + 1,
        Calendar::DaysInMonth => {
            let (next_year, next_month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
            since_epoch(next_year, next_month, 1) - since_epoch(year, month, 1)
        }
        Calendar::Month => month,
        Calendar::Year => year,
    };
    value as f64
}

/// Days since 1970-01-01 of a date, by years that begin in March, so that the leap day is the last of its year.
fn since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year - era * 400;
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Year, month and day of a day since 1970-01-01.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days - era * 146_097;
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, of_year - (153 * shifted + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_dates() {
        // 2024-02-29T12:34:56Z, a Thursday.
        let at = 1_709_210_096.0;
        let parts = [Calendar::Year, Calendar::Month, Calendar::DayOfMonth, Calendar::DaysInMonth, Calendar::DayOfYear];
        assert_eq!(parts.map(|p| part(p, at)), [2024.0, 2.0, 29.0, 29.0, 60.0]);
        assert_eq!([Calendar::Hour, Calendar::Minute, Calendar::DayOfWeek].map(|p| part(p, at)), [12.0, 34.0, 4.0]);
        assert_eq!(
            [Calendar::Year, Calendar::DayOfYear, Calendar::DayOfWeek].map(|p| part(p, -1.0)),
            [1969.0, 365.0, 3.0]
        );
        assert_eq!([Calendar::Year, Calendar::DayOfYear].map(|p| part(p, -86_400.0)), [1969.0, 365.0]);
        assert!(part(Calendar::Year, f64::NAN).is_nan() && part(Calendar::Year, f64::INFINITY).is_nan());
        for day in (-800_000..800_000).step_by(37) {
            let (y, m, d) = civil(day);
            assert_eq!(since_epoch(y, m, d), day);
        }
    }
}
