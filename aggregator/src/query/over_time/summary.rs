//! `Summarize`: what a series was like over a range, and over the same range before. Pure.

use jiff::{Timestamp, ToSpan as _, tz::TimeZone};
use starling_history::{Cell, Subject, Tier};
use starling_proto::{catalogue::Kind, group::Group, v1};
use tonic::Status;

use super::{
    asked::{Wanted, Whose},
    found::{Found, Keep, whole},
    question::Question,
    statistic::RangeStatistic,
};
use crate::select::{Folded, Key, Most, POINTS, POINTS_MAX, RANGE_MAX, Span};

/// Points of the series that is sent along, when the request does not say.
const POINTS_USUAL: u32 = 300;
/// Steps that are read: a day by the second.
const STEPS_MAX: u32 = 86_400;
/// Longest name of a time zone: the longest of IANA has 32 characters.
const ZONE_LEN_MAX: usize = 64;
/// A week.
const WEEK: u32 = 7 * 86_400;

/// A request, checked.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    whose: Whose,
    wanted: Wanted,
    /// Of the series that is sent along.
    span: Span,
    statistic: Option<RangeStatistic>,
    zone: Option<(String, TimeZone)>,
}

/// A range to compare with, and how it was counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Before {
    /// First second.
    pub(crate) from: u32,
    /// Last second.
    pub(crate) to: u32,
    counted_in: String,
}

/// A second that has an extreme, or the step in which that second lies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Extreme {
    /// The value.
    pub(crate) value: f64,
    /// First second of the step.
    pub(crate) tick: u32,
    /// Seconds of the step.
    pub(crate) seconds: u32,
}

/// What a range comes to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Totals {
    /// Mean of the seconds, or the quantile of all values.
    pub(crate) average: Option<f64>,
    deviation: Option<f64>,
    total: Option<f64>,
    seconds: u32,
}

impl Asked {
    /// Checks a request.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` or `OUT_OF_RANGE`, naming the field.
    pub(crate) fn parse(request: v1::SummarizeRequest, settled: u32) -> Result<Self, Status> {
        let whose = Whose::parse(request.scope)?;
        if whose.is_each_node() {
            return Err(Status::invalid_argument("scope.each_node: a summary is of the cluster, a group or one node"));
        }
        let wanted = Wanted::parse(request.name, "traffic.requests", request.attributes, &[])?;
        let statistic = match request.statistic.as_str() {
            "" => None,
            text => match RangeStatistic::parse(text) {
                Ok(one @ (RangeStatistic::Value | RangeStatistic::Quantile(_))) => Some(one),
                _ => {
                    let text: String = text.chars().take(32).collect();
                    return Err(Status::invalid_argument(format!(
                        "statistic: {text:?} cannot be summarized, wanted is value or a quantile such as p99"
                    )));
                }
            },
        };
        let zone = match request.time_zone.as_str() {
            "" => None,
            name => {
                let unknown = || {
                    let name: String = name.chars().take(ZONE_LEN_MAX).collect();
                    Status::invalid_argument(format!(
                        "time_zone: {name:?} is no time zone, wanted is an IANA name such as Europe/Berlin"
                    ))
                };
                if name.len() > ZONE_LEN_MAX {
                    return Err(unknown());
                }
                Some((name.to_owned(), TimeZone::get(name).map_err(|_| unknown())?))
            }
        };
        let range = Span::range(request.from_tick, request.to_tick, settled, RANGE_MAX)?;
        let most = Most { asked: request.max_points, usual: POINTS_USUAL, limit: POINTS_MAX };
        let span = Span::of(range, 0, most, POINTS)?;
        Ok(Self { whose, wanted, span, statistic, zone })
    }

    /// What is to be read for it: by the second, as far as that is not too much, else in steps of a tier.
    pub(crate) fn question(&self) -> Question {
        let least = self.span.seconds().div_ceil(STEPS_MAX);
        let nested = |seconds: &u32| *seconds >= least && self.span.step.is_multiple_of(*seconds);
        let step = Tier::ALL.iter().map(|tier| tier.seconds()).find(nested).unwrap_or(self.span.step);
        self.question_of(Span { step, ..self.span })
    }

    /// What is to be read instead of `question` when only longer steps than those are kept of the range: a step that is
    /// spread over several would bring its histogram to each of them.
    pub(crate) fn question_coarser(&self, found: &Found) -> Option<Question> {
        let step = found.resolution();
        (step > found.span().step).then(|| self.question_of(Span { step, ..*found.span() }))
    }

    /// The same over a range that it is compared with.
    pub(crate) fn question_before(&self, before: &Before) -> Question {
        let range = Span { from: before.from, to: before.to, step: 1 };
        let step = range.seconds().div_ceil(self.span.points());
        self.question_of(Span { step, ..range })
    }

    /// The same over any range.
    pub(crate) fn question_over(&self, from: u32, to: u32) -> Question {
        self.question_of(Span { from, to, step: 1 })
    }

    /// Name of the metric.
    pub(crate) fn name(&self) -> &str {
        &self.wanted.name
    }

    /// Whose series it is.
    pub(crate) const fn whose(&self) -> &Whose {
        &self.whose
    }

    /// The group whose nodes are behind it; `None` of a node.
    pub(crate) fn group(&self) -> Option<Group> {
        match &self.whose {
            Whose::Subject(Subject::Cluster) => Some(Group::cluster()),
            Whose::Subject(Subject::Group(group)) => Some(group.clone()),
            Whose::Subject(Subject::Node(_)) | Whose::EachNode(_) => None,
        }
    }

    /// Whether the time zone is known.
    pub(crate) const fn has_zone(&self) -> bool {
        self.zone.is_some()
    }

    /// The values of the summarized statistic, where there are any.
    pub(crate) fn points(&self, found: &Found) -> Vec<(u32, f64)> {
        let Some((_, key, steps)) = only(found) else { return Vec::new() };
        let statistic = self.statistic_of(key.series.kind());
        let value =
            |(cell, at): (&Option<Cell>, u32)| Some((found.span().tick_of(at), statistic.of(key, cell.as_ref()?)?));
        steps.iter().zip(0..).filter_map(value).collect()
    }

    /// The same over the step of an extreme, by the second; `None` when it is known by the second.
    pub(crate) fn question_within(&self, extreme: &Extreme) -> Option<Question> {
        let to = extreme.tick.saturating_add(extreme.seconds - 1).min(self.span.to);
        (extreme.seconds > 1).then(|| self.question_of(Span { from: extreme.tick, to, step: 1 }))
    }

    fn question_of(&self, span: Span) -> Question {
        let histogram = starling_proto::catalogue::find(&self.wanted.name).is_none_or(|is| is.kind == Kind::Histogram);
        Question {
            whose: self.whose.clone(),
            wanted: self.wanted.clone(),
            span,
            total: true,
            histograms: histogram || matches!(self.statistic, Some(RangeStatistic::Quantile(_))),
            keep: Keep::ALL,
        }
    }

    /// The period before, and the same time a week ago; `None` where that lies before all time.
    pub(crate) fn before(&self) -> (Option<Before>, Option<Before>) {
        let Span { from, to, .. } = self.span;
        let length = self.span.seconds();
        let period = from.checked_sub(length).filter(|from| *from > 0).map(|begin| Before {
            from: begin,
            to: from - 1,
            counted_in: "the seconds before".to_owned(),
        });
        let week = self.week_ago(from).map(|begin| Before {
            from: begin,
            to: to - (from - begin),
            counted_in: self.zone.as_ref().map_or_else(|| "168 hours in UTC".to_owned(), |(name, _)| name.clone()),
        });
        (period, week)
    }

    /// The same time of the day on the same day a week before `tick`.
    fn week_ago(&self, tick: u32) -> Option<u32> {
        let Some((_, zone)) = &self.zone else { return tick.checked_sub(WEEK) };
        let then = Timestamp::from_second(tick.into()).ok()?.to_zoned(zone.clone()).checked_sub(1.week()).ok()?;
        u32::try_from(then.timestamp().as_second()).ok()
    }

    fn statistic_of(&self, kind: Kind) -> RangeStatistic {
        let usual = if kind == Kind::Histogram { RangeStatistic::Quantile(990_000) } else { RangeStatistic::Value };
        self.statistic.unwrap_or(usual)
    }

    /// Average, deviation and total of what was found.
    pub(crate) fn totals(&self, found: &Found) -> Totals {
        let none = Totals { average: None, deviation: None, total: None, seconds: 0 };
        let Some((folded, key, steps)) = only(found) else { return none };
        let seconds = folded.coverage.iter().map(|coverage| coverage.seconds).sum();
        let statistic = self.statistic_of(key.series.kind());
        let Some(all) = whole(steps, statistic) else { return Totals { seconds, ..none } };
        let deviation = match statistic {
            RangeStatistic::Quantile(_) => deviation(steps, statistic, key),
            _ => RangeStatistic::Deviation.of(key, &all),
        };
        let total = (key.series.kind() == Kind::Counter).then_some(all.sum);
        Totals { average: statistic.of(key, &all), deviation, total, seconds }
    }

    /// Highest and lowest second of what was found.
    pub(crate) fn extremes(&self, found: &Found) -> Option<(Extreme, Extreme)> {
        let (folded, key, steps) = only(found)?;
        let statistic = self.statistic_of(key.series.kind());
        // Of a step longer than a second the extremes are kept, of a quantile the quantile of the step.
        let (high, low) = match statistic {
            RangeStatistic::Quantile(_) => (statistic, statistic),
            _ => (RangeStatistic::Max, RangeStatistic::Min),
        };
        let seconds = folded.resolution.max(found.span().step).max(1);
        let mut extremes: Option<(Extreme, Extreme)> = None;
        for (cell, at) in steps.iter().zip(0..) {
            let Some(cell) = cell else { continue };
            let (Some(most), Some(least)) = (high.of(key, cell), low.of(key, cell)) else { continue };
            let tick = found.span().tick_of(at);
            let of = |value| Extreme { value, tick, seconds };
            match &mut extremes {
                Some((peak, bottom)) => {
                    if most > peak.value {
                        *peak = of(most);
                    }
                    if least < bottom.value {
                        *bottom = of(least);
                    }
                }
                none => *none = Some((of(most), of(least))),
            }
        }
        extremes
    }

    /// The second of an extreme, by what was found within its step; `peak` when it is the highest.
    pub(crate) fn within(&self, extreme: Extreme, found: &Found, peak: bool) -> Extreme {
        let fine = self.extremes(found).map(|(high, low)| if peak { high } else { low });
        // A quantile of a second is another one than that of its step.
        fine.filter(|fine| fine.seconds == 1 && fine.value == extreme.value).unwrap_or(extreme)
    }

    /// In which steps the series is that is sent along.
    pub(crate) const fn span(&self) -> &Span {
        &self.span
    }

    /// The range request whose answer the series is.
    pub(crate) fn evidence(&self, request: &v1::SummarizeRequest) -> v1::QueryRangeRequest {
        v1::QueryRangeRequest {
            scope: request.scope.clone(),
            name: self.wanted.name.clone(),
            attributes: request.attributes.clone(),
            total: true,
            statistics: match self.statistic {
                Some(one @ RangeStatistic::Quantile(_)) => vec![one.to_string()],
                _ => Vec::new(),
            },
            from_tick: self.span.from,
            to_tick: self.span.to,
            step_seconds: self.span.step,
            ..v1::QueryRangeRequest::default()
        }
    }

    /// The answer, without insights, series and who gives it.
    pub(crate) fn answer(
        &self,
        unit: String,
        totals: &Totals,
        extremes: Option<(Extreme, Extreme)>,
        before: [Option<(Before, Totals)>; 2],
    ) -> v1::Summary {
        let compare = |(before, then): (Before, Totals)| v1::Comparison {
            from_tick: before.from,
            to_tick: before.to,
            average: then.average,
            change_ratio: match (totals.average, then.average) {
                (Some(now), Some(then)) if then != 0.0 => Some((now - then) / then.abs()),
                _ => None,
            },
            seconds: then.seconds,
            counted_in: before.counted_in,
        };
        let [period, week] = before;
        v1::Summary {
            average: totals.average,
            peak: extremes.map(|(peak, _)| peak.into()),
            low: extremes.map(|(_, low)| low.into()),
            standard_deviation: totals.deviation,
            total: totals.total,
            unit,
            seconds: totals.seconds,
            seconds_expected: self.span.seconds(),
            period_before: period.map(compare),
            week_ago: week.map(compare),
            from_tick: self.span.from,
            to_tick: self.span.to,
            ..v1::Summary::default()
        }
    }
}

impl From<Extreme> for v1::Extreme {
    fn from(extreme: Extreme) -> Self {
        Self { value: Some(extreme.value), tick: extreme.tick, resolution_seconds: extreme.seconds }
    }
}

/// The one series of the one subject that is summarized.
fn only(found: &Found) -> Option<(&Folded, &Key, &[Option<Cell>])> {
    let folded = found.subjects().values().next()?;
    let (key, steps) = folded.series.iter().next()?;
    Some((folded, key, steps))
}

/// Unit of what was found; empty without anything.
pub(crate) fn unit(found: &Found) -> String {
    only(found).map(|(_, key, _)| key.series.unit().to_owned()).unwrap_or_default()
}

/// Standard deviation of a statistic over the steps that have it.
fn deviation(steps: &[Option<Cell>], statistic: RangeStatistic, key: &Key) -> Option<f64> {
    let values: Vec<f64> = steps.iter().flatten().filter_map(|cell| statistic.of(key, cell)).collect();
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    (!values.is_empty()).then(|| (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt())
}

#[cfg(test)]
mod tests {
    use starling_history::Coverage;
    use starling_proto::{catalogue, series::Series};

    use super::*;

    fn asked(request: v1::SummarizeRequest) -> Asked {
        Asked::parse(request, 2_000_000_000).unwrap()
    }

    fn over(from_tick: u32, to_tick: u32) -> v1::SummarizeRequest {
        v1::SummarizeRequest { name: "system.load_average.1m".into(), from_tick, to_tick, ..Default::default() }
    }

    /// A gauge by `value`, in steps of the question.
    fn found(question: &Question, value: impl Fn(u32) -> Option<f64>) -> Found {
        let span = question.span;
        let mut folded = Folded { resolution: 1, ..Folded::default() };
        let mut steps = Vec::new();
        for point in 0..span.points() {
            let mut step: Option<Cell> = None;
            for tick in span.tick_of(point)..span.tick_of(point) + span.seconds_of(point) {
                let Some(value) = value(tick) else { continue };
                match &mut step {
                    Some(step) => step.append(&Cell::second(value)).unwrap(),
                    none => *none = Some(Cell::second(value)),
                }
            }
            let seconds = step.as_ref().map_or(0, |cell| cell.seconds);
            folded.coverage.push(Coverage { seconds, nodes_reporting: 1, nodes_expected: 1, dropped: 0 });
            steps.push(step);
        }
        folded.series.insert(Key { series: Series::of(&catalogue::LOAD_1M, &[]), derived: false }, steps);
        let mut found = Found::new(span, Keep::ALL);
        found.add(Subject::Cluster, folded).unwrap();
        found
    }

    /// Scenario 2: a peak of one second in the view of a day and of a week.
    #[test]
    fn a_peak_of_one_second_is_told_with_its_second() {
        let start = 1_900_000_800;
        let value = |tick: u32| Some(if tick == start + 41_237 { 640.0 } else { 5.0 });
        for days in [1, 7] {
            let asked = asked(over(start, start + days * 86_400 - 1));
            let question = asked.question();
            let all = found(&question, value);
            let (mut peak, low) = asked.extremes(&all).unwrap();
            if let Some(within) = asked.question_within(&peak) {
                assert!(days > 1);
                peak = asked.within(peak, &found(&within, value), true);
            }
            assert_eq!(peak, Extreme { value: 640.0, tick: start + 41_237, seconds: 1 });
            assert_eq!(low.value, 5.0);
            let totals = asked.totals(&all);
            if days == 1 {
                assert!((totals.average.unwrap() - 5.00735).abs() < 1e-5);
            }
            assert_eq!(totals.seconds, days * 86_400);
            let series = all.regrouped(&asked.span).unwrap();
            let (_, key, steps) = only(&series).unwrap();
            let highest = steps.iter().flatten().filter_map(|cell| RangeStatistic::Max.of(key, cell));
            assert_eq!(highest.fold(0.0, f64::max), 640.0, "in every view");
        }
    }

    /// Scenario 50.
    #[test]
    fn a_mean_over_a_hole_weighs_seconds() {
        let start = 1_900_000_800;
        let asked = asked(over(start, start + 7_199));
        let value = |tick: u32| match tick - start {
            0..3_600 => Some(10.0),
            7_140.. => Some(100.0),
            _ => None,
        };
        let all = found(&asked.question(), value);
        let (totals, extremes) = (asked.totals(&all), asked.extremes(&all).unwrap());
        let answer = asked.answer("1".into(), &totals, Some(extremes), [None, None]);
        assert!((answer.average.unwrap() - 11.4754).abs() < 1e-4, "never 55: {answer:?}");
        assert!((answer.standard_deviation.unwrap() - 11.428).abs() < 1e-3);
        assert_eq!((answer.low.unwrap().value, answer.peak.unwrap().value), (Some(10.0), Some(100.0)));
        assert_eq!((answer.seconds, answer.seconds_expected), (3_660, 7_200));
    }

    /// Scenario 49: 2026-10-26 08:00Z is nine in Berlin, after the change of clocks.
    #[test]
    fn a_week_ago_is_the_same_time_of_the_day() {
        let monday = "2026-10-26T08:00:00Z".parse::<Timestamp>().unwrap().as_second() as u32;
        let week = |zone: &str| {
            let request = v1::SummarizeRequest { time_zone: zone.into(), ..over(monday, monday + 3_599) };
            let asked = Asked::parse(request, monday + 3_600).unwrap();
            asked.before().1.unwrap()
        };
        let berlin = week("Europe/Berlin");
        assert_eq!((monday - berlin.from, berlin.to - berlin.from), (608_400, 3_599));
        assert_eq!(berlin.counted_in, "Europe/Berlin");
        let utc = week("");
        assert_eq!((monday - utc.from, utc.counted_in.as_str()), (604_800, "168 hours in UTC"));
        let asked = asked(over(monday, monday + 3_599));
        assert_eq!(asked.before().0.unwrap().from, monday - 3_600);
    }

    #[test]
    fn changes_are_ratios_and_absent_where_there_is_none() {
        let asked = asked(over(1_900_000_000, 1_900_000_099));
        let of = |average| Totals { average, deviation: None, total: None, seconds: 1 };
        let change = |now, then| {
            let (period, _) = asked.before();
            let answer = asked.answer(String::new(), &of(now), None, [Some((period.unwrap(), of(then))), None]);
            answer.period_before.unwrap().change_ratio
        };
        assert_eq!(change(Some(110.0), Some(100.0)), Some(0.1));
        assert_eq!(
            (change(Some(1.0), Some(0.0)), change(Some(1.0), None), change(None, Some(1.0))),
            (None, None, None)
        );
    }

    #[test]
    fn what_cannot_be_summarized_is_refused() {
        let refused = |request| Asked::parse(request, 2_000_000_000).unwrap_err().message().to_owned();
        let each = v1::Scope { each_node: true, ..Default::default() };
        assert!(
            refused(v1::SummarizeRequest { scope: Some(each), ..Default::default() }).starts_with("scope.each_node")
        );
        assert!(
            refused(v1::SummarizeRequest { statistic: "max".into(), ..Default::default() }).starts_with("statistic")
        );
        for zone in ["Middle/Earth", "../../etc/passwd", &"x".repeat(5_000)] {
            let text = refused(v1::SummarizeRequest { time_zone: (*zone).into(), ..Default::default() });
            assert!(text.starts_with("time_zone: ") && text.len() < 200, "{text}");
        }
    }
}
