//! Hours in which a route is quiet: by the clock of a place, whatever that of the host says.

use jiff::{Timestamp, civil::Weekday, tz::TimeZone};

/// The days, from Monday, and the words for them.
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
/// Minutes of a day.
const DAY: u32 = 24 * 60;

/// From one minute of the day up to another one, on some days, by the clock of a zone.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Hours {
    /// From Monday: those on which it begins.
    days: [bool; 7],
    /// The first minute of the day.
    from: u32,
    /// The first minute after it; of the next day when it is not after `from`.
    to: u32,
    zone: TimeZone,
}

impl Hours {
    /// Of "22:00-06:00 Europe/Berlin", "sat,sun 00:00-24:00" or "mon-fri 12:00-13:00 UTC": days on which it begins (all without
    /// them), from and to, and the zone (UTC without it).
    ///
    /// # Errors
    /// Which part of it is not so, and what is wanted.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wanted = |what: String| format!("{text:?}: {what}, wanted is \"[mon-fri] 22:00-06:00 [Europe/Berlin]\"");
        let mut parts = text.split_whitespace().peekable();
        let mut days = [true; 7];
        if let Some(named) = parts.next_if(|part| part.starts_with(|c: char| c.is_ascii_alphabetic())) {
            days = days_of(named).map_err(wanted)?;
        }
        let span = parts.next().ok_or_else(|| wanted("no hours".to_owned()))?;
        let (from, to) = span.split_once('-').ok_or_else(|| wanted(format!("{span:?} is no span of hours")))?;
        let (from, to) = (minute_of(from).map_err(wanted)?, minute_of(to).map_err(wanted)?);
        if from == DAY || from == to {
            return Err(wanted(format!("{span:?} is no span of hours")));
        }
        let zone = match parts.next() {
            None => TimeZone::UTC,
            Some(name) => TimeZone::get(name).map_err(|_| wanted(format!("there is no zone {name:?}")))?,
        };
        match parts.next() {
            Some(more) => Err(wanted(format!("{more:?} is too much"))),
            None => Ok(Self { days, from, to, zone }),
        }
    }

    /// Whether second `tick` (Unix time) is within.
    pub(crate) fn has(&self, tick: u32) -> bool {
        let Ok(at) = Timestamp::from_second(tick.into()) else { return false };
        let local = self.zone.to_datetime(at);
        let minute = u32::from(local.hour().unsigned_abs()) * 60 + u32::from(local.minute().unsigned_abs());
        let today = place_of(local.date().weekday());
        let begins_on = |day: usize| self.days[day % 7];
        if self.from < self.to {
            return begins_on(today) && (self.from..self.to).contains(&minute);
        }
        // Over midnight: it began today, or the day before.
        begins_on(today) && minute >= self.from || begins_on(today + 6) && minute < self.to
    }
}

fn place_of(day: Weekday) -> usize {
    usize::from(day.to_monday_zero_offset().unsigned_abs())
}

fn days_of(text: &str) -> Result<[bool; 7], String> {
    let place = |word: &str| {
        let found = DAYS.iter().position(|day| *day == word);
        found.ok_or_else(|| format!("{word:?} is no day, the days are {}", DAYS.join(", ")))
    };
    let mut days = [false; 7];
    for part in text.split(',') {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (from, to) = (place(from)?, place(to)?);
        (0..=(to + 7 - from) % 7).for_each(|more| days[(from + more) % 7] = true);
    }
    Ok(days)
}

/// The minute of "06:00", up to "24:00".
fn minute_of(text: &str) -> Result<u32, String> {
    let two = |text: &str| (text.len() == 2).then(|| text.parse::<u32>().ok()).flatten();
    let parsed = text.split_once(':').and_then(|(hour, minute)| Some((two(hour)?, two(minute)?)));
    match parsed {
        Some((hour, minute)) if minute < 60 && hour * 60 + minute <= DAY => Ok(hour * 60 + minute),
        _ => Err(format!("{text:?} is no time of the day from 00:00 to 24:00")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> u32 {
        u32::try_from(text.parse::<Timestamp>().unwrap().as_second()).unwrap()
    }

    /// A31: 22:00 inclusive to 06:00 exclusive by the clock of Berlin, also in the nights in which that is put forward and back.
    #[test]
    fn a_night_is_as_long_as_the_clock_of_its_zone_says() {
        let night = Hours::parse("22:00-06:00 Europe/Berlin").unwrap();
        for (from, hours) in [("2026-02-10T12:00:00Z", 8), ("2026-03-28T12:00:00Z", 7), ("2026-10-24T12:00:00Z", 9)] {
            let from = at(from);
            let within: Vec<u32> = (from..from + 86_400).step_by(60).filter(|tick| night.has(*tick)).collect();
            assert_eq!(within.len(), hours * 60, "{from}");
            let (first, last) = (within[0], within[within.len() - 1]);
            assert_eq!((last - first) / 60 + 1, hours as u32 * 60, "in one piece");
            assert!(!night.has(first - 1) && night.has(first) && night.has(last + 59) && !night.has(last + 60));
        }
        for (text, wanted) in [
            ("2026-02-10T21:59:59+01:00", false),
            ("2026-02-10T22:00:00+01:00", true),
            ("2026-02-10T23:59:59+01:00", true),
            ("2026-02-11T00:00:00+01:00", true),
            ("2026-02-11T05:59:59+01:00", true),
            ("2026-02-11T06:00:00+01:00", false),
        ] {
            assert_eq!(night.has(at(text)), wanted, "{text}");
        }
    }

    #[test]
    fn days_are_those_on_which_it_begins() {
        let weekend = Hours::parse("fri,sat 22:00-06:00").unwrap();
        // 2026-02-13 is a Friday.
        for (text, wanted) in [
            ("2026-02-13T05:00:00Z", false),
            ("2026-02-13T22:00:00Z", true),
            ("2026-02-15T05:59:00Z", true),
            ("2026-02-15T22:00:00Z", false),
        ] {
            assert_eq!(weekend.has(at(text)), wanted, "{text}");
        }
        let whole = Hours::parse("sat-mon 00:00-24:00").unwrap();
        let days: Vec<bool> = (0..7).map(|day| whole.has(at("2026-02-09T12:00:00Z") + day * 86_400)).collect();
        assert_eq!(days, [true, false, false, false, false, true, true], "from Monday");
        let late = Hours::parse("22:00-24:00").unwrap();
        assert!(late.has(at("2026-02-09T23:59:59Z")) && !late.has(at("2026-02-10T00:00:00Z")));
    }

    #[test]
    fn mistakes_are_named() {
        for (text, wanted) in [
            ("", "no hours"),
            ("22-06", "\"22\" is no time of the day"),
            ("22:00-25:00", "\"25:00\" is no time of the day"),
            ("22:00", "is no span of hours"),
            ("22:00-22:00", "is no span of hours"),
            ("22:00-06:00 Europe/Berlyn", "there is no zone \"Europe/Berlyn\""),
            ("mo 22:00-06:00", "\"mo\" is no day"),
            ("22:00-06:00 UTC UTC", "is too much"),
        ] {
            let error = Hours::parse(text).unwrap_err();
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }
}
