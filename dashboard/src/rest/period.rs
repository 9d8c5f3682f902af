//! From when to when, and in what steps: the parameters of everything over time, checked before anything is waited for.

use super::{
    moment::{length, moment, second},
    parameters::Parameters,
    time::rfc3339,
};
use crate::{error::ApiError, hub::UnixMillis};

/// Parameters of a range. Some endpoints call the first one otherwise.
pub(super) const BETWEEN: [&str; 2] = ["from", "to"];
/// How far back.
pub(super) const RANGE: &str = "range";
/// Ranges that are named in errors and in the index; any other length is taken too.
pub(super) const RANGES: &str = "5m, 15m, 1h, 6h, 24h, 7d";
/// The range that is given by its ends.
const CUSTOM: &str = "custom";
/// Granularities by name, in seconds.
pub(super) const GRANULARITIES: [(&str, u32); 3] = [("second", 1), ("minute", 60), ("hour", 3_600)];
/// Most points of an answer.
pub(super) const POINTS_MAX: u32 = 11_000;
/// Steps that are chosen when none is asked for: an hour by the second, 6 h by 20 s, a day by the minute, a week by
/// 5 min. Beyond them whole days.
const LADDER: [u32; 8] = [1, 20, 60, 300, 900, 3_600, 21_600, 86_400];
/// Points up to which a step of the ladder is chosen: an hour of seconds.
const CHOSEN_MAX: u32 = 3_600;
/// Longest range: what the coarsest tier keeps by default, with leap days.
const RANGE_MAX: u32 = 2 * 366 * 86_400;

/// Seconds from and to, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Period {
    pub(super) from: u32,
    pub(super) to: u32,
}

/// What is known when a request comes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Present {
    /// The clock.
    pub(super) now: UnixMillis,
    /// The newest second that is whole.
    pub(super) newest: u32,
}

impl Period {
    /// Reads `name` (`range` or what the endpoint calls it), `from` and `to`. A range ends with the newest second, as
    /// does a `to` that lies after it.
    pub(super) fn asked(query: &Parameters, name: &'static str, usual: &str, at: Present) -> Result<Self, ApiError> {
        let range = query.get(name).filter(|range| *range != CUSTOM);
        let ends = (query.get("from"), query.get("to"));
        let end = |name, text: &str| moment(text, at.now).map(second).map_err(|why| ApiError::invalid(name, why));
        let period = match (range, ends) {
            (Some(_), (Some(_), _) | (_, Some(_))) => {
                return Err(ApiError::invalid(name, format!("give {name}, or from and to, not both")));
            }
            (None, (Some(from), to)) => {
                let (from, to) = (end("from", from)?, end("to", to.unwrap_or_default())?);
                if from > to {
                    let message = format!("{} is after to, which is {}", rfc3339(from), rfc3339(to));
                    return Err(ApiError::invalid("from", message));
                }
                Self { from, to: to.min(at.newest).max(from) }
            }
            (None, (None, None)) if query.get(name) == Some(CUSTOM) => {
                return Err(ApiError::invalid("from", format!("{name}={CUSTOM} needs from, and to unless it is now")));
            }
            (range, (None, to)) => {
                let to = end("to", to.unwrap_or_default())?.min(at.newest);
                let seconds = Self::length(name, range.unwrap_or(usual))?;
                Self { from: to.saturating_sub(seconds - 1), to }
            }
        };
        match period.seconds() {
            1..=RANGE_MAX => Ok(period),
            seconds => Err(ApiError::invalid(
                if range.is_some() { name } else { "from" },
                format!("{seconds} s are asked for, at most {RANGE_MAX} (two years) are answered"),
            )),
        }
    }

    fn length(name: &'static str, text: &str) -> Result<u32, ApiError> {
        let refused = |why| ApiError::invalid(name, format!("{why}; known: {RANGES}, or any other length"));
        let milliseconds = length(text).map_err(refused)?;
        if milliseconds % 1_000 != 0 {
            return Err(refused(format!("{text:?} is no whole number of seconds")));
        }
        Ok(u32::try_from(milliseconds / 1_000).unwrap_or(u32::MAX))
    }

    pub(super) const fn seconds(self) -> u32 {
        (self.to - self.from).saturating_add(1)
    }

    /// Points at a step, which lie on its grid.
    pub(super) const fn points(self, step: u32) -> u32 {
        self.to / step - self.from / step + 1
    }

    /// The same, beginning on the grid of a step: so that the first point is as long as the others.
    pub(super) const fn on_grid(self, step: u32) -> Self {
        Self { from: self.from - self.from % step, ..self }
    }

    /// The step asked for by `step` or `granularity`, else the smallest of the ladder that suits the range.
    /// With it there are at most `most` points.
    pub(super) fn step(self, query: &Parameters, most: u32) -> Result<u32, ApiError> {
        let (name, step) = match (query.get("step"), query.get("granularity")) {
            (Some(_), Some(_)) => return Err(ApiError::invalid("step", "give step or granularity, not both")),
            (None, None) => return Ok(self.chosen(CHOSEN_MAX)),
            (Some(text), None) => ("step", step(text)?),
            (None, Some(text)) => ("granularity", granularity(text)?),
        };
        if self.points(step) <= most {
            return Ok(step);
        }
        let works = (self.seconds().div_ceil(most)..).find(|step| self.points(*step) <= most);
        let mut message = format!(
            "{} points of {step} s are asked for, at most {most} are answered; the smallest step that works is {} s",
            self.points(step),
            works.unwrap_or(u32::MAX)
        );
        if name == "granularity" {
            let coarser = GRANULARITIES.iter().find(|(_, step)| self.points(*step) <= most);
            message = format!("{message}, the finest granularity {}", coarser.map_or("none", |(name, _)| name));
        }
        Err(ApiError::invalid(name, message))
    }

    /// The smallest step of the ladder with at most `points` points.
    pub(super) fn chosen(self, points: u32) -> u32 {
        let fits = |step: &u32| self.points(*step) <= points.max(1);
        LADDER.into_iter().find(fits).or_else(|| (2..).map(|days| days * 86_400).find(fits)).unwrap_or(86_400)
    }
}

/// Seconds in a point.
fn step(text: &str) -> Result<u32, ApiError> {
    let refused = |why| ApiError::invalid("step", format!("{why}; a step is a whole number of seconds from 1 on"));
    match length(text).map_err(refused)? {
        ms if ms % 1_000 != 0 => Err(refused(format!("{text:?} is none"))),
        ms => u32::try_from(ms / 1_000).map_err(|_| refused(format!("{text:?} is too long"))),
    }
}

fn granularity(text: &str) -> Result<u32, ApiError> {
    GRANULARITIES.iter().find(|(name, _)| *name == text).map(|(_, step)| *step).ok_or_else(|| {
        let names: Vec<_> = GRANULARITIES.iter().map(|(name, _)| *name).collect();
        ApiError::invalid("granularity", format!("{text:?} is not known; known: {}", names.join(", ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Present = Present { now: 1_792_466_840_500, newest: 1_792_466_838 };

    fn of(pairs: &[(&str, &str)]) -> Parameters {
        Parameters::of(pairs)
    }

    fn asked(pairs: &[(&str, &str)]) -> Result<Period, ApiError> {
        Period::asked(&of(pairs), RANGE, "1h", AT)
    }

    #[test]
    fn a_range_ends_with_the_newest_second() {
        let newest = AT.newest;
        assert_eq!(asked(&[]).unwrap(), Period { from: newest - 3_599, to: newest });
        assert_eq!(asked(&[("range", "24h")]).unwrap().seconds(), 86_400);
        assert_eq!(asked(&[("range", "30d")]).unwrap().seconds(), 30 * 86_400);
        assert_eq!(asked(&[("from", "now-10m")]).unwrap(), Period { from: newest + 2 - 600, to: newest });
        let both = [("from", "2026-10-20T01:00:00Z"), ("to", "2026-10-20T02:00:00+00:00")];
        assert_eq!(asked(&both).unwrap().seconds(), 3_601, "both ends are in it");
        assert_eq!(asked(&[("range", "custom"), both[0], both[1]]), asked(&both));
        let moment = [("from", "1792460000"), ("to", "1792460000")];
        assert_eq!(asked(&moment).unwrap().seconds(), 1);
        assert_eq!(asked(&[("to", "1792460000")]).unwrap(), Period { from: 1_792_456_401, to: 1_792_460_000 });
    }

    #[test]
    fn mistakes_name_the_parameter() {
        for (pairs, field, words) in [
            (&[("range", "1x")][..], "range", "known: 5m, 15m"),
            (&[("range", "0s")], "range", "above 0"),
            (&[("range", "500ms")], "range", "whole number"),
            (&[("range", "1000000y")], "range", "longer"),
            (&[("range", "3y")], "range", "at most"),
            (&[("range", "1h"), ("from", "1")], "range", "not both"),
            (&[("range", "custom")], "from", "needs from"),
            (&[("from", "1792466838123")], "from", "milliseconds"),
            (&[("from", "1e18")], "from", "outside"),
            (&[("from", "1792460000"), ("to", "1792459999")], "from", "is after to"),
            (&[("from", "1")], "from", "at most"),
            (&[("from", "1792460000"), ("to", "soon")], "to", "wanted: RFC 3339"),
        ] {
            let error = asked(pairs).unwrap_err().to_json();
            assert_eq!(error["error"]["field"], field, "{pairs:?}: {error}");
            assert!(error["error"]["message"].as_str().unwrap().contains(words), "{pairs:?}: {error}");
        }
    }

    #[test]
    fn a_step_is_chosen_and_the_limit_is_explained() {
        let week = asked(&[("range", "7d")]).unwrap();
        let step = |period: Period, pairs: &[(&str, &str)]| period.step(&of(pairs), POINTS_MAX);
        for (range, wanted) in [("1h", 1), ("6h", 20), ("24h", 60), ("7d", 300), ("30d", 900), ("1y", 21_600)] {
            assert_eq!(step(asked(&[("range", range)]).unwrap(), &[]), Ok(wanted), "{range}");
        }
        assert_eq!(step(week, &[("step", "1d")]), Ok(86_400));
        assert_eq!(step(week, &[("granularity", "hour")]), Ok(3_600));
        for text in ["0", "-1", "1e-9", "NaN", "Inf", "0.5", "500ms", "2e300"] {
            for period in [week, Period { from: week.to, ..week }] {
                let error = step(period, &[("step", text)]).unwrap_err().to_json();
                assert_eq!(error["error"]["field"], "step", "{text}: {error}");
            }
        }
        let two_weeks = Period { from: 1_792_368_000, to: 1_792_368_000 + 1_209_599 };
        assert_eq!(step(two_weeks, &[("step", "110")]), Ok(110));
        let error = step(two_weeks, &[("step", "109")]).unwrap_err().to_json()["error"]["message"].to_string();
        assert!(
            error.contains("11098 points") && error.contains("at most 11000") && error.contains("works is 110 s"),
            "{error}"
        );
        let seconds = |n: u32| Period { from: 1_792_368_000, to: 1_792_368_000 + n - 1 };
        assert_eq!(step(seconds(11_000), &[("step", "1")]), Ok(1));
        let error = step(seconds(11_001), &[("granularity", "second")]).unwrap_err().to_json();
        let message = error["error"]["message"].as_str().unwrap();
        assert!(message.contains("works is 2 s") && message.contains("granularity minute"), "{error}");
        assert_eq!(error["error"]["field"], "granularity");
    }

    #[test]
    fn points_lie_on_the_grid() {
        let period = Period { from: 119, to: 180 };
        assert_eq!(period.points(60), 3);
        assert_eq!(period.on_grid(60), Period { from: 60, to: 180 });
        assert_eq!(Period { from: 0, to: 3_000_000_000 }.chosen(300), 116 * 86_400);
    }
}
