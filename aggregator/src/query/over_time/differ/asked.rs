//! A box, checked; what is to be read for it, and the answer. Pure.

use std::{collections::BTreeMap, ops::Range};

use starling_history::{Cell, Subject};
use starling_proto::{
    catalogue::{self, Kind},
    group::Group,
    histogram::{BUCKETS, Histogram, HistogramSum, bucket_bounds, bucket_index},
    ids::NodeId,
    series::Series,
    v1,
};
use tonic::Status;

use super::{
    super::{
        asked::{Wanted, Whose},
        found::{Found, Keep},
        heatmap,
        question::Question,
        statistic::RangeStatistic,
    },
    tally::{Candidate, Counts, Tally},
};
use crate::{
    query::services::is_failed,
    select::{Folded, Key, NODES_RANGE_MAX, Span},
};

/// Rows of an answer at most, and how many usually.
const ROWS_MAX: u32 = 200;
const ROWS_USUAL: u32 = 20;
/// Seconds that are looked at when the request does not say.
const SECONDS_USUAL: u32 = 60;
/// Steps that are held against the bounds, of a counter and of a gauge.
const STEPS_OF_COUNTER: u32 = 60;
const STEPS_OF_GAUGE: u32 = 600;
/// Steps of all nodes that are read for them at most: fewer than what one question may hold.
const STEPS_OF_ALL: u32 = 500_000;
/// Series of a counter that a node is taken to have, when steps are chosen.
const SERIES_A_NODE: u32 = 8;
/// The box of an empty request is what lies beyond this quantile.
const SLOWEST: f64 = 0.99;

/// Smallest value in a box, and what those in it are smaller than, in the unit of the metric.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Bounds {
    lower: Option<f64>,
    upper: Option<f64>,
    /// What they are given in, in seconds, when the metric is a time.
    time_unit: Option<f64>,
}

/// Units of time by UCUM, in seconds.
const TIME_UNITS: [(&str, f64); 4] = [("s", 1.0), ("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9)];

fn seconds_of(unit: &str) -> Option<f64> {
    TIME_UNITS.iter().find(|(name, _)| *name == unit).map(|(_, seconds)| *seconds)
}

impl Bounds {
    fn is_none(self) -> bool {
        self.lower.is_none() && self.upper.is_none()
    }

    /// The same in the unit of a metric.
    fn in_unit(self, unit: &str) -> Self {
        let factor = self.time_unit.zip(seconds_of(unit)).map_or(1.0, |(given, own)| given / own);
        let bound = |bound: Option<f64>| bound.map(|bound| bound * factor);
        Self { lower: bound(self.lower), upper: bound(self.upper), time_unit: None }
    }

    fn hold(self, value: f64) -> bool {
        self.lower.is_none_or(|lower| value >= lower) && self.upper.is_none_or(|upper| value < upper)
    }

    /// The buckets of `series` in it: those in which its ends lie belong to it, the lower, and not, the upper; at least one.
    fn buckets(self, series: &Series) -> Range<usize> {
        // Floats saturate as integers.
        let bucket = |value: f64| bucket_index((value / series.to_f64(1)).round() as u64);
        let Self { lower, upper, .. } = self.in_unit(series.unit());
        let first = lower.map_or(0, bucket);
        let end = upper.map_or(BUCKETS, bucket);
        first..end.max(first + 1)
    }
}

/// A request, checked.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// Whose; of more than one node they are told apart.
    subject: Subject,
    wanted: Wanted,
    /// First and last second that is looked at.
    whole: (u32, u32),
    /// Those of the box.
    boxed: (u32, u32),
    bounds: Bounds,
    top: usize,
}

/// What was read to count the values of a histogram, or the events of a counter.
#[derive(Debug)]
pub(crate) struct Pair {
    /// Of all seconds, in one step.
    pub(crate) whole: Found,
    /// Of the box; `None` when it has the same seconds.
    pub(crate) boxed: Option<Found>,
}

impl Pair {
    fn boxed(&self) -> &Found {
        self.boxed.as_ref().unwrap_or(&self.whole)
    }

    /// Each series of each subject: all of it, and its steps in the box.
    fn each(&self) -> impl Iterator<Item = (&Subject, &Key, &Cell, &[Option<Cell>])> {
        let boxed = self.boxed();
        let subjects = self.whole.subjects().iter();
        let series = subjects.flat_map(|(subject, folded)| folded.series.iter().map(move |of| (subject, of)));
        series.filter_map(move |(subject, (key, whole))| {
            let steps = boxed.subjects().get(subject).and_then(|folded| folded.series.get(key));
            Some((subject, key, whole.first()?.as_ref()?, steps.map_or(&[][..], Vec::as_slice)))
        })
    }
}

/// Labels of the nodes.
pub(crate) type Labels = BTreeMap<NodeId, Vec<(String, String)>>;

impl Asked {
    /// Checks a request.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` or `OUT_OF_RANGE`, naming the field.
    pub(crate) fn parse(request: v1::DifferRequest, settled: u32) -> Result<Self, Status> {
        let scope = request.scope.unwrap_or_default();
        let subject = match Whose::parse(Some(v1::Scope { each_node: false, ..scope }))? {
            Whose::Subject(subject) => subject,
            Whose::EachNode(group) => group.into(),
        };
        let wanted = Wanted::parse(heatmap::called(request.name), "", request.attributes, &[])?;
        let or = |given: u32, else_: u32| if given == 0 { else_ } else { given };
        let to = or(or(request.to_tick, request.box_to_tick), settled);
        let from = or(or(request.from_tick, request.box_from_tick), to.saturating_sub(SECONDS_USUAL - 1));
        let whole = Span::range(from, to, settled, NODES_RANGE_MAX)?;
        let boxed = (or(request.box_from_tick, whole.0), or(request.box_to_tick, whole.1));
        if boxed.0 > boxed.1 {
            return Err(Status::invalid_argument(format!(
                "box_from_tick: {} is after box_to_tick, which is {}",
                boxed.0, boxed.1
            )));
        }
        if boxed.0 < whole.0 || boxed.1 > whole.1 {
            return Err(Status::invalid_argument(format!(
                "box_from_tick: the box from {} to {} is not within from_tick {} to to_tick {}",
                boxed.0, boxed.1, whole.0, whole.1
            )));
        }
        let time_unit = seconds_of(&request.time_unit);
        if time_unit.is_none() && !request.time_unit.is_empty() {
            let given: String = request.time_unit.chars().take(16).collect();
            return Err(Status::invalid_argument(format!("time_unit: {given:?} is given, known are s, ms, us and ns")));
        }
        let bounds = Bounds { lower: request.lower, upper: request.upper, time_unit };
        for (field, bound) in [("lower", bounds.lower), ("upper", bounds.upper)] {
            if let Some(odd) = bound.filter(|bound| !bound.is_finite()) {
                return Err(Status::invalid_argument(format!("{field}: {odd} is no number")));
            }
        }
        if let (Some(lower), Some(upper)) = (bounds.lower, bounds.upper)
            && lower >= upper
        {
            return Err(Status::invalid_argument(format!("lower: {lower} is not below upper, which is {upper}")));
        }
        let top = or(request.top, ROWS_USUAL);
        if top > ROWS_MAX {
            return Err(Status::invalid_argument(format!("top: {top} are asked for, wanted are 1 to {ROWS_MAX}")));
        }
        Ok(Self { subject, wanted, whole, boxed, bounds, top: top as usize })
    }

    /// What kind the metric is, as far as its name says.
    pub(crate) fn kind(&self) -> Option<Kind> {
        catalogue::find(&self.wanted.name).map(|metric| metric.kind)
    }

    /// All seconds in one step, of a histogram with its histograms. Without them it also says of what kind a metric is that the
    /// catalogue does not know.
    pub(crate) fn question_whole(&self, histograms: bool) -> Question {
        self.once(self.whole, histograms)
    }

    /// Those of the box; `None` when they are all.
    pub(crate) fn question_box(&self, histograms: bool) -> Option<Question> {
        (self.boxed != self.whole).then(|| self.once(self.boxed, histograms))
    }

    fn once(&self, (from, to): (u32, u32), histograms: bool) -> Question {
        Question {
            whose: match &self.subject {
                Subject::Node(_) => Whose::Subject(self.subject.clone()),
                Subject::Group(group) => Whose::EachNode(group.clone()),
                Subject::Cluster => Whose::EachNode(Group::cluster()),
            },
            wanted: self.wanted.clone(),
            span: Span::one(from, to),
            total: false,
            histograms,
            keep: Keep::ALL,
        }
    }

    /// The same of services and routes: the metric in which they are counted; `None` when there is none.
    pub(crate) fn of_services(&self) -> Option<Self> {
        let name = &self.wanted.name;
        let metric = if *name == catalogue::DURATION.name {
            &catalogue::SERVICE_DURATION
        } else if *name == catalogue::REQUESTS.name || *name == catalogue::ERRORS.name {
            &catalogue::SERVICE_REQUESTS
        } else {
            return None;
        };
        if !self.wanted.with.is_empty() {
            return None;
        }
        let wanted = Wanted::parse(metric.name.to_owned(), "", std::collections::HashMap::new(), &[]).ok()?;
        Some(Self { wanted, ..self.clone() })
    }

    /// Whether seconds of a counter are held against bounds: then its rate over the scope by the step, for a fleet of so many nodes.
    pub(crate) fn question_of_rate(&self, nodes: usize) -> Option<Question> {
        (!self.bounds.is_none()).then(|| Question {
            whose: Whose::Subject(self.subject.clone()),
            wanted: self.wanted.clone(),
            span: self.steps(self.boxed, STEPS_OF_COUNTER, nodes, SERIES_A_NODE),
            total: true,
            histograms: false,
            keep: Keep::ALL,
        })
    }

    /// The nodes of the box, in the same steps.
    pub(crate) fn question_by_step(&self, of: &Question) -> Question {
        Question { span: of.span, ..self.once(self.boxed, false) }
    }

    /// The readings of a gauge, of so many nodes.
    pub(crate) fn question_of_readings(&self, nodes: usize) -> Question {
        let span = self.steps(self.whole, STEPS_OF_GAUGE, nodes, 1);
        Question { span, total: true, ..self.once(self.whole, false) }
    }

    fn steps(&self, (from, to): (u32, u32), most: u32, nodes: usize, series: u32) -> Span {
        let nodes = u32::try_from(nodes).unwrap_or(u32::MAX).max(1);
        let most = (STEPS_OF_ALL / nodes.saturating_mul(series)).clamp(2, most);
        let span = |step| Span { from, to, step };
        let step = (1..).find(|step| span(*step).points() <= most).unwrap_or(u32::MAX);
        span(step)
    }

    /// Refuses a box that holds everything by what it says.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT`, naming what is missing.
    pub(crate) fn check_box(&self) -> Result<(), Status> {
        if self.bounds.is_none() && self.boxed == self.whole {
            return Err(Status::invalid_argument(format!(
                "lower: the box holds all that is looked at of {}: give bounds of its values, or of its seconds by box_from_tick",
                self.wanted.name
            )));
        }
        Ok(())
    }

    /// The answer for a histogram, without who gives it.
    ///
    /// # Errors
    /// `OUT_OF_RANGE` when counts do not fit 64 bits.
    pub(crate) fn of_values(
        mut self,
        read: &Pair,
        services: Option<&Pair>,
        labels: &Labels,
    ) -> Result<v1::Differences, Status> {
        if self.bounds.is_none() && self.boxed == self.whole {
            self.bounds = Bounds { lower: slowest(&read.whole)?, upper: None, time_unit: None };
        }
        let (mut tally, mut error_bound_ppm) = (Tally::default(), 0);
        for (subject, key, whole, steps) in read.each() {
            let counts = values(whole, steps, &self.bounds.buckets(&key.series));
            error_bound_ppm = error_bound_ppm.max(whole.histogram.as_ref().map_or(0, |all| all.quantile_error_ppm()));
            tally.add(counts, candidates(subject, &key.series, labels));
        }
        for (_, key, whole, steps) in services.into_iter().flat_map(Pair::each) {
            let counts = values(whole, steps, &self.bounds.buckets(&key.series));
            add_service(&mut tally, &key.series, counts);
        }
        let first = read.whole.keys().next().map(|key| key.series.clone());
        let requests = self.wanted.name == catalogue::DURATION.name;
        let words = if requests { ("request", "requests") } else { ("value", "values") };
        let bound = |of: Option<f64>, at: fn(&Range<usize>) -> usize| {
            let series = first.as_ref()?;
            of.map(|_| series.to_f64(bucket_bounds(at(&self.bounds.buckets(series)).min(BUCKETS - 1)).0.into()))
        };
        Ok(v1::Differences {
            lower: bound(self.bounds.lower, |buckets| buckets.start),
            upper: bound(self.bounds.upper, |buckets| buckets.end),
            counted: "values".to_owned(),
            error_bound_ppm,
            ..self.answer(&tally, first.as_ref(), words)
        })
    }

    /// The answer for a counter. Of `rate`, when it was read, the steps of the box are those whose rate lies within the bounds.
    pub(crate) fn of_events(
        &self,
        read: &Pair,
        services: Option<&Pair>,
        rate: Option<&Found>,
        labels: &Labels,
    ) -> v1::Differences {
        let wanted = rate.map(|rate| self.steps_within(rate));
        let counted = |whole: &Cell, steps: &[Option<Cell>]| {
            let is_in = |at: &usize| wanted.as_ref().is_none_or(|wanted| wanted.get(*at).copied().unwrap_or(false));
            let inside = steps.iter().enumerate().filter(|(at, _)| is_in(at));
            let inside: f64 = inside.filter_map(|(_, cell)| cell.as_ref()).map(|cell| cell.sum).sum();
            Counts { inside, rest: (whole.sum - inside).max(0.0) }
        };
        let mut tally = Tally::default();
        for (subject, key, whole, steps) in read.each() {
            tally.add(counted(whole, steps), candidates(subject, &key.series, labels));
        }
        let errors = self.wanted.name == catalogue::ERRORS.name;
        for (_, key, whole, steps) in services.into_iter().flat_map(Pair::each) {
            if !errors || key.series.attribute("status").is_some_and(is_failed) {
                add_service(&mut tally, &key.series, counted(whole, steps));
            }
        }
        let first = read.whole.keys().next().map(|key| key.series.clone());
        let words = match first.as_ref().map(Series::unit) {
            Some("{request}") if errors => ("failed request", "failed requests"),
            Some("{request}") => ("request", "requests"),
            _ => ("event", "events"),
        };
        let bounds = self.bounds.in_unit(first.as_ref().map_or("", Series::unit));
        v1::Differences {
            lower: bounds.lower,
            upper: bounds.upper,
            counted: "events".to_owned(),
            step_seconds: rate.map_or(0, |rate| rate.span().step),
            ..self.answer(&tally, first.as_ref(), words)
        }
    }

    /// The answer for a gauge.
    pub(crate) fn of_readings(&self, found: &Found, labels: &Labels) -> v1::Differences {
        let span = *found.span();
        let in_time = |at: usize| (self.boxed.0..=self.boxed.1).contains(&span.tick_of(at as u32));
        let mut tally = Tally::default();
        for (subject, folded) in found.subjects() {
            for (key, steps) in &folded.series {
                let (mut counts, bounds) = (Counts::default(), self.bounds.in_unit(key.series.unit()));
                for (at, cell) in steps.iter().enumerate() {
                    let value = cell.as_ref().and_then(|cell| RangeStatistic::Value.of(key, cell));
                    let Some(value) = value.filter(|value| value.is_finite()) else { continue };
                    let is_in = in_time(at) && bounds.hold(value);
                    *(if is_in { &mut counts.inside } else { &mut counts.rest }) += 1.0;
                }
                tally.add(counts, candidates(subject, &key.series, labels));
            }
        }
        let first = found.keys().next().map(|key| key.series.clone());
        let bounds = self.bounds.in_unit(first.as_ref().map_or("", Series::unit));
        v1::Differences {
            lower: bounds.lower,
            upper: bounds.upper,
            counted: "readings".to_owned(),
            step_seconds: span.step,
            ..self.answer(&tally, first.as_ref(), ("reading", "readings"))
        }
    }

    /// Which steps of `rate` lie within the bounds.
    fn steps_within(&self, rate: &Found) -> Vec<bool> {
        let mut within = vec![false; rate.span().points() as usize];
        let series = rate.subjects().values().flat_map(|Folded { series, .. }| series);
        for (key, steps) in series {
            let bounds = self.bounds.in_unit(key.series.unit());
            for (within, cell) in within.iter_mut().zip(steps) {
                let value = cell.as_ref().and_then(|cell| RangeStatistic::Value.of(key, cell));
                *within |= value.is_some_and(|value| bounds.hold(value));
            }
        }
        within
    }

    fn answer(&self, tally: &Tally, series: Option<&Series>, words: (&str, &str)) -> v1::Differences {
        let (rows, tested, text) = tally.rank(self.top, words);
        v1::Differences {
            rows,
            inside: Some(tally.all().inside),
            rest: Some(tally.all().rest),
            unit: series.map(Series::unit).unwrap_or_default().to_owned(),
            tested,
            text,
            box_from_tick: self.boxed.0,
            box_to_tick: self.boxed.1,
            ..v1::Differences::default()
        }
    }
}

/// Values of a series in `buckets` of the box, and all others.
fn values(whole: &Cell, steps: &[Option<Cell>], buckets: &Range<usize>) -> Counts {
    let within = |histogram: &Histogram| -> u64 {
        histogram.buckets().filter(|(bucket, _)| buckets.contains(bucket)).map(|(_, count)| count).sum()
    };
    let inside = steps.iter().flatten().filter_map(|cell| cell.histogram.as_deref()).map(within).sum::<u64>() as f64;
    let all = whole.histogram.as_ref().map_or(0.0, |all| all.count() as f64);
    // A late second may have come between the two readings.
    Counts { inside, rest: (all - inside).max(0.0) }
}

fn add_service(tally: &mut Tally, series: &Series, counts: Counts) {
    if let (Some(service), Some(route)) = (series.attribute("service"), series.attribute("route")) {
        tally.add_service(counts, service, route);
    }
}

/// Everything that a series of a subject is.
fn candidates(subject: &Subject, series: &Series, labels: &Labels) -> Vec<Candidate> {
    let mut all: Vec<_> =
        series.attributes().iter().map(|(key, value)| Candidate::Attribute(key.clone(), value.clone())).collect();
    if let Some(node) = subject.node() {
        all.push(Candidate::Node(node.as_str().into()));
        let labels = labels.get(node).into_iter().flatten();
        all.extend(labels.map(|(key, value)| Candidate::Label(key.as_str().into(), value.as_str().into())));
    }
    all
}

/// The value that one in a hundred of all exceeds.
fn slowest(found: &Found) -> Result<Option<f64>, Status> {
    let mut all = HistogramSum::new();
    let mut first = None;
    for (key, steps) in found.subjects().values().flat_map(|folded| &folded.series) {
        for histogram in steps.iter().flatten().filter_map(|cell| cell.histogram.as_deref()) {
            let series = first.get_or_insert_with(|| key.series.clone());
            if series.scale() == key.series.scale() {
                all.add(histogram)
                    .map_err(|_| Status::out_of_range("name: the counts of this range exceed 64 bits"))?;
            }
        }
    }
    let quantile = all.to_histogram().quantile(SLOWEST);
    Ok(first.zip(quantile).map(|(series, value)| series.to_f64(bucket_bounds(bucket_index(value)).0.into())))
}

#[cfg(test)]
mod tests;
