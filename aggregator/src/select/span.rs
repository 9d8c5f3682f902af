//! Which seconds are asked for, and in which steps. Pure.

use tonic::Status;

/// Points of one answer.
pub(crate) const POINTS_MAX: u32 = 11_000;
/// Points when the request does not say.
pub(crate) const POINTS_USUAL: u32 = 600;
/// Seconds that are read when no first one is given.
pub(crate) const SECONDS_USUAL: u32 = 3_600;
/// Longest range: as long as the coarsest tier keeps, with a week for "a week ago".
pub(crate) const RANGE_MAX: u32 = (2 * 366 + 7) * 86_400;
/// Longest range of the nodes one by one: what they keep by the minute, with a day of leap.
pub(crate) const NODES_RANGE_MAX: u32 = 31 * 86_400;
/// Cells of a series that are read for a step that is no multiple of the next longer ones: three hours of seconds, 30 hours of
/// ten seconds, a week of minutes. Beyond it a cell counts in the step in which it begins.
const FINE_MAX: u32 = 11_000;
/// A range may begin after the newest settled second, as clocks differ, by so much.
const AHEAD_MAX: u32 = 3_600;
/// Steps that are chosen: those that people read without arithmetic. Beyond them whole days.
const ROUND: [u32; 20] =
    [1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1_200, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400];

/// Seconds `from..=to` in steps. A step holds the seconds whose Unix time divided by it is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    /// First second.
    pub(crate) from: u32,
    /// Last second, at least the first.
    pub(crate) to: u32,
    /// Seconds of a step, at least 1.
    pub(crate) step: u32,
}

/// How the fields of a request are called.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Names {
    /// Of the step.
    pub(crate) step: &'static str,
    /// Of the most steps.
    pub(crate) most: &'static str,
}

/// The usual names.
pub(crate) const POINTS: Names = Names { step: "step_seconds", most: "max_points" };

/// How many steps an answer has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Most {
    /// As asked for; 0 for the usual number.
    pub(crate) asked: u32,
    /// When it is not asked for.
    pub(crate) usual: u32,
    /// Limit.
    pub(crate) limit: u32,
}

impl Span {
    /// `from..=to` of a request: 0 stands for the newest settled second, and for [`SECONDS_USUAL`] before the last one.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` or `OUT_OF_RANGE`, naming the field, what it is and what is wanted.
    pub(crate) fn range(from: u32, to: u32, settled: u32, longest: u32) -> Result<(u32, u32), Status> {
        let to = if to == 0 { settled } else { to };
        let from = if from == 0 { to.saturating_sub(SECONDS_USUAL - 1) } else { from };
        if from > to {
            return Err(Status::invalid_argument(format!("from_tick: {from} is after to_tick, which is {to}")));
        }
        let newest = settled.saturating_add(AHEAD_MAX);
        if to > newest {
            return Err(Status::out_of_range(format!(
                "to_tick: {to} lies in the future, the newest settled second is {settled}"
            )));
        }
        let seconds = to - from + 1;
        if seconds > longest {
            return Err(Status::invalid_argument(format!(
                "from_tick: {seconds} seconds are asked for, at most {longest} ({} days) are answered",
                longest / 86_400
            )));
        }
        Ok((from, to))
    }

    /// `from..=to` with the step asked for, or with one that is chosen for 0: the shortest round one of which at most
    /// so many fit.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT`, naming the field, the limit and the shortest step that works.
    pub(crate) fn of((from, to): (u32, u32), step: u32, most: Most, names: Names) -> Result<Self, Status> {
        if most.asked > most.limit {
            let Most { asked, limit, .. } = most;
            return Err(Status::invalid_argument(format!("{}: {asked} are asked for, at most {limit}", names.most)));
        }
        let span = |step| Self { from, to, step };
        if step == 0 {
            let at_most = if most.asked == 0 { most.usual } else { most.asked };
            let days = (1..).map(|days| days * 86_400);
            let mut steps = ROUND.into_iter().chain(days).map(span);
            // Ends: one step holds everything once it is longer than the range, or two when they lie on a border.
            let fitting = steps.find(|span| span.points() <= at_most || span.step > span.seconds());
            return Ok(fitting.unwrap_or_else(|| span(to - from + 1)));
        }
        let limit = if most.asked == 0 { most.limit } else { most.asked };
        let asked = span(step);
        let points = asked.points();
        if points > limit {
            let shortest = (asked.seconds().div_ceil(limit)..).find(|step| span(*step).points() <= limit);
            return Err(Status::invalid_argument(format!(
                "{}: {step} s over {} s make {points} points, at most {limit} are answered; the shortest step that fits is {} s",
                names.step,
                asked.seconds(),
                shortest.unwrap_or(u32::MAX)
            )));
        }
        Ok(asked)
    }

    /// `from..=to` in one step.
    pub(crate) const fn one(from: u32, to: u32) -> Self {
        Self { from, to, step: u32::MAX }
    }

    /// How coarse the cells may be that are read for it: such that its steps are made of whole ones, as long as that takes at most
    /// [`FINE_MAX`] of them, and that what is read beyond its ends is nothing, or less than a third of a percent of it.
    pub(crate) fn grain(&self) -> u32 {
        let ends = |grain: u32| self.from.is_multiple_of(grain) && (self.to + 1).is_multiple_of(grain);
        let whole = |grain: u32| self.points() == 1 || self.step.is_multiple_of(grain);
        let fits = |(grain, finer): &(u32, u32)| {
            *grain <= self.step
                && (ends(*grain) || self.seconds() / 300 >= *grain)
                && (whole(*grain) || self.seconds() / finer > FINE_MAX)
        };
        [(3_600, 60), (60, 10), (10, 1)].into_iter().find(fits).map_or(1, |(grain, _)| grain)
    }

    /// Seconds of the range.
    pub(crate) const fn seconds(&self) -> u32 {
        self.to - self.from + 1
    }

    /// Steps of the range.
    pub(crate) const fn points(&self) -> u32 {
        self.to / self.step - self.from / self.step + 1
    }

    /// First second of step `point` that was asked for.
    pub(crate) fn tick_of(&self, point: u32) -> u32 {
        (self.from / self.step + point).saturating_mul(self.step).max(self.from)
    }

    /// Seconds of step `point` that were asked for.
    pub(crate) fn seconds_of(&self, point: u32) -> u32 {
        let after = u64::from(self.from / self.step + point + 1) * u64::from(self.step);
        let after = after.min(u64::from(self.to) + 1);
        (after - u64::from(self.tick_of(point))) as u32
    }

    /// The step that holds `tick`; `None` outside of the range.
    pub(crate) fn point_of(&self, tick: u32) -> Option<u32> {
        (self.from..=self.to).contains(&tick).then(|| tick / self.step - self.from / self.step)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SETTLED: u32 = 1_800_000_000;

    fn span(from: u32, to: u32, step: u32, asked: u32) -> Result<Span, Status> {
        let most = Most { asked, usual: POINTS_USUAL, limit: POINTS_MAX };
        Span::of((from, to), step, most, POINTS)
    }

    #[test]
    fn the_limit_of_points_is_named_with_the_step_that_works() {
        let two_weeks = (SETTLED - 1_209_600 + 1, SETTLED);
        assert!(span(two_weeks.0, two_weeks.1, 110, 0).is_ok());
        let error = span(two_weeks.0, two_weeks.1, 109, 0).unwrap_err();
        assert_eq!(error.code(), tonic::Code::InvalidArgument);
        let text = error.message();
        assert!(
            text.starts_with("step_seconds: 109 s") && text.contains("11000") && text.ends_with("is 110 s"),
            "{text}"
        );
        assert_eq!(span(SETTLED - 10_999, SETTLED, 1, 0).unwrap().points(), 11_000);
        let text = span(SETTLED - 11_000, SETTLED, 1, 0).unwrap_err();
        assert!(text.message().contains("make 11001 points") && text.message().ends_with("is 2 s"), "{text}");
        let text = span(SETTLED - 59, SETTLED, 0, 50_000).unwrap_err();
        assert!(text.message().contains("max_points: 50000 are asked for, at most 11000"), "{text}");
        assert_eq!(span(SETTLED - 86_399, SETTLED, 0, 10).unwrap().step, 10_800);
        assert_eq!(span(SETTLED - 86_399, SETTLED, 0, 1_000).unwrap().step, 120);
        assert_eq!(span(SETTLED - 599, SETTLED, 0, 0).unwrap().step, 1);
    }

    #[test]
    fn cells_are_as_coarse_as_the_ends_allow() {
        let grain = |from, to, step| Span { from, to, step }.grain();
        assert_eq!(grain(7_200, 14_399, 3_600), 3_600);
        assert_eq!(grain(7_200, 14_400, 3_600), 10, "an hour more would be read for one second");
        assert_eq!(grain(7_201, 7_260, 60), 1);
        assert_eq!(grain(7_200, 7_259, 15), 1, "steps of 15 s are not made of tens");
        assert_eq!([20, 15, 90, 100].map(|step| grain(7_200, 7_200 + 10_799, step)), [10, 1, 10, 10]);
        assert_eq!(
            [15, 90].map(|step| grain(7_200, 7_200 + 21_599, step)),
            [10, 10],
            "6 hours of seconds are too many"
        );
        assert_eq!([90, 120, 5_400, 7_200].map(|step| grain(7_200, 7_200 + 172_799, step)), [60, 60, 60, 3_600]);
        assert_eq!(Span::one(1, 604_800).grain(), 60);
        assert_eq!(Span::one(1, 604_800).points(), 1);
        assert_eq!(Span::one(SETTLED - 3_599, SETTLED).seconds_of(0), 3_600);
    }

    #[test]
    fn nonsense_is_refused_with_its_field() {
        let range = |from, to| Span::range(from, to, SETTLED, RANGE_MAX);
        assert_eq!(range(0, 0).unwrap(), (SETTLED - 3_599, SETTLED));
        assert_eq!(range(SETTLED, SETTLED).unwrap(), (SETTLED, SETTLED), "one second");
        for (from, to, text) in [
            (SETTLED, SETTLED - 1, "from_tick: 1800000000 is after to_tick, which is 1799999999"),
            (1, 0, "from_tick: 1800000000 seconds are asked for"),
            (0, u32::MAX, "to_tick: 4294967295 lies in the future"),
        ] {
            let error = range(from, to).unwrap_err();
            assert!(error.message().starts_with(text), "{error}");
        }
    }

    proptest! {
        #[test]
        fn every_second_is_in_exactly_one_step(from in 1u32..4_000_000_000, length in 0u32..100_000_000, step in 1u32..100_000, asked in 1u32..11_000) {
            let to = from + length;
            let chosen = span(from, to, 0, asked).unwrap();
            prop_assert!(chosen.points() <= asked || chosen.points() <= 2, "{chosen:?}");
            for span in [span(from, to, step, 0).ok(), Some(chosen)].into_iter().flatten() {
                prop_assert!(span.points() <= POINTS_MAX);
                let seconds: u64 = (0..span.points()).map(|point| u64::from(span.seconds_of(point))).sum();
                prop_assert_eq!(seconds, u64::from(span.seconds()));
                for tick in [from, to, from + length / 2] {
                    let point = span.point_of(tick).unwrap();
                    let first = span.tick_of(point);
                    prop_assert!((first..first + span.seconds_of(point)).contains(&tick));
                }
            }
        }
    }
}
