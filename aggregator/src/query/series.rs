//! Any series by name and attributes, over the seconds that are kept: what is asked, and how seconds become points. Pure.

use std::collections::BTreeMap;

use starling_proto::{
    catalogue::{self, Kind, METRICS, Scope, Statistic},
    histogram::HistogramSum,
    series::Series,
    v1,
};
use tonic::Status;

use crate::reading::{Entry, Reading, of_histogram};

/// Series with points in one answer.
const SERIES_MAX: usize = 256;
/// Values in one answer: 800 kB.
const VALUES_MAX: usize = 100_000;
/// Series in a list: all of a node ([`starling_proto::limits::SERIES_PER_NODE_MAX`]) with what is derived, in about 1 MB.
const LISTED_MAX: usize = 10_000;
/// Statistics asked for at once.
const STATISTICS_MAX: usize = 16;
/// Attributes asked for at once: as many as a series can have.
const ATTRIBUTES_MAX: usize = starling_proto::limits::ATTRIBUTES_MAX;
/// Seconds before the last one that are read when no first one is given.
const USUAL_SECONDS: u32 = 60;

type Pairs = Vec<(String, String)>;

/// A request, checked.
#[derive(Debug)]
pub(super) struct Asked {
    /// Empty for a list.
    pub(super) name: String,
    with: Pairs,
    total: bool,
    statistics: Vec<Statistic>,
    /// First second.
    pub(super) from: u32,
    /// Last second.
    pub(super) to: u32,
    step: u32,
}

impl Asked {
    /// Checks what a request says of series and time. `newest` and `oldest` are the seconds that can be read.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` or `OUT_OF_RANGE`, naming the field, what it is and what is wanted.
    pub(super) fn parse(request: &v1::GetSeriesRequest, oldest: u32, newest: u32) -> Result<Self, Status> {
        let invalid = |text: String| Err(Status::invalid_argument(text));
        if request.attributes.len() > ATTRIBUTES_MAX {
            return invalid(format!("attributes: {} are given, at most {ATTRIBUTES_MAX}", request.attributes.len()));
        }
        if request.statistics.len() > STATISTICS_MAX {
            return invalid(format!("statistics: {} are given, at most {STATISTICS_MAX}", request.statistics.len()));
        }
        let statistics = request.statistics.iter().map(|text| Statistic::parse(text));
        let statistics: Vec<_> = statistics
            .collect::<Result<_, _>>()
            .map_err(|error| Status::invalid_argument(format!("statistics: {error}")))?;
        let window = newest.saturating_sub(oldest).saturating_add(1);
        let step = request.step_seconds.max(1);
        if step > window {
            return invalid(format!("step_seconds: {step} is given, 1 to {window} are kept"));
        }
        let to = if request.to_tick == 0 { newest } else { request.to_tick };
        let from = match request.from_tick {
            0 => to.saturating_sub(USUAL_SECONDS - 1).max(oldest),
            from => from,
        };
        for (field, tick) in [("to_tick", to), ("from_tick", from)] {
            if !(oldest..=newest).contains(&tick) {
                return Err(Status::out_of_range(format!("{field}: {tick} is outside of {oldest} to {newest}")));
            }
        }
        if from > to {
            return invalid(format!("from_tick: {from} is after to_tick, which is {to}"));
        }
        let mut with: Pairs = request.attributes.clone().into_iter().collect();
        with.sort_unstable();
        Ok(Self { name: request.name.clone(), with, total: request.total, statistics, from, to, step })
    }

    /// Whether the series `name` is needed: it is the one asked for, or what that is computed from.
    pub(super) fn needs(&self, name: &str) -> bool {
        fn derives(from: &catalogue::Metric, name: &str) -> bool {
            from.derivation.is_some_and(|derivation| {
                derivation.operands().iter().any(|part| part.metric.name == name || derives(part.metric, name))
            })
        }
        self.name.is_empty()
            || self.name == name
            || catalogue::find(&self.name).is_some_and(|metric| derives(metric, name))
    }

    fn points(&self) -> usize {
        (self.to / self.step - self.from / self.step + 1) as usize
    }

    fn point_of(&self, tick: u32) -> usize {
        (tick / self.step).saturating_sub(self.from / self.step) as usize
    }
}

/// Borrowed attributes of a key.
fn borrowed(pairs: &Pairs) -> Vec<(&str, &str)> {
    pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
}

fn owned(pairs: &[(&str, &str)]) -> Pairs {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// What a series is.
#[derive(Debug, Clone, Copy)]
struct About<'a> {
    kind: Kind,
    unit: &'a str,
    scope: Scope,
    derived: bool,
}

impl<'a> From<&'a Series> for About<'a> {
    fn from(series: &'a Series) -> Self {
        Self { kind: series.kind(), unit: series.unit(), scope: series.scope(), derived: false }
    }
}

impl From<&'static catalogue::Metric> for About<'_> {
    fn from(metric: &'static catalogue::Metric) -> Self {
        Self { kind: metric.kind, unit: metric.unit, scope: metric.scope, derived: !metric.is_sent() }
    }
}

impl About<'_> {
    fn series(self, name: &str, attributes: &Pairs, statistics: Vec<v1::StatisticValues>) -> v1::Series {
        let scope = match self.scope {
            Scope::Cluster => "cluster",
            Scope::Node => "node",
        };
        v1::Series {
            name: name.to_owned(),
            attributes: attributes.iter().cloned().collect(),
            kind: self.kind.as_str().to_owned(),
            unit: self.unit.to_owned(),
            scope: scope.to_owned(),
            derived: self.derived,
            statistics,
        }
    }

    /// What is read when nothing is asked for.
    fn usual(self) -> Vec<Statistic> {
        match self.kind {
            Kind::Histogram => {
                vec![Statistic::Count, Statistic::Mean, Statistic::P50, Statistic::P99, Statistic::Max]
            }
            Kind::Counter | Kind::Gauge => vec![Statistic::Value],
        }
    }
}

/// The series of one second with the attributes asked for, what was sent and what is derived, sorted by name.
pub(super) fn list(reading: &Reading<'_>, asked: &Asked) -> v1::SeriesAnswer {
    let with = borrowed(&asked.with);
    let pairs = |series: &Series| series.attributes().iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    let sent = reading.entries().iter().filter(|entry| entry.has(&with));
    let sent =
        sent.map(|entry| About::from(entry.series).series(entry.series.name(), &pairs(entry.series), Vec::new()));
    let derived = METRICS.iter().copied().filter(|metric| !metric.is_sent()).flat_map(|metric| {
        let all = reading.derived_series(metric).into_iter();
        let wanted = all.filter(|attributes| with.iter().all(|pair| attributes.contains(pair)));
        wanted.map(move |attributes| About::from(metric).series(metric.name, &owned(&attributes), Vec::new()))
    });
    let mut series: Vec<v1::Series> = sent.chain(derived).collect();
    // Sent ones are in the order of their attributes already: the sort is stable.
    series.sort_by(|a, b| a.name.cmp(&b.name));
    let left_out = u32::try_from(series.len().saturating_sub(LISTED_MAX)).unwrap_or(u32::MAX);
    series.truncate(LISTED_MAX);
    v1::SeriesAnswer { series, left_out, ..v1::SeriesAnswer::default() }
}

/// Seconds becoming points.
pub(super) struct Fold<'a> {
    asked: &'a Asked,
    points: Vec<v1::SeriesPoint>,
    series: BTreeMap<Pairs, Track>,
    most: usize,
    left_out: usize,
}

/// One series over time.
struct Track {
    kind: Kind,
    unit: String,
    scope: Scope,
    derived: bool,
    statistics: Vec<Statistic>,
    /// By statistic, then by point.
    values: Vec<Vec<f64>>,
    error_ppm: u32,
    /// The point being gathered.
    open: Open,
}

/// What the seconds of one point come to.
#[derive(Default)]
struct Open {
    point: usize,
    seconds: u32,
    /// By statistic: sum or extreme, and of how many seconds.
    numbers: Vec<(f64, u32)>,
    merged: Option<(Series, HistogramSum)>,
    nodes: u32,
}

impl<'a> Fold<'a> {
    pub(super) fn new(asked: &'a Asked) -> Self {
        let statistics = asked.statistics.len().max(1);
        Self {
            points: (0..asked.points())
                .map(|point| {
                    let start = (asked.from / asked.step + point as u32).saturating_mul(asked.step);
                    v1::SeriesPoint { tick: start.max(asked.from), ..v1::SeriesPoint::default() }
                })
                .collect(),
            most: (VALUES_MAX / (asked.points() * statistics)).clamp(1, SERIES_MAX),
            asked,
            series: BTreeMap::new(),
            left_out: 0,
        }
    }

    /// Takes in the second `tick`, in ascending order. `reading` is `None` when nothing of it is known.
    pub(super) fn take(&mut self, tick: u32, reporting: u32, expected: u32, reading: Option<&Reading<'_>>) {
        let at = self.asked.point_of(tick);
        let Some(point) = self.points.get_mut(at) else { return };
        point.nodes_expected = point.nodes_expected.max(expected);
        let Some(reading) = reading else { return };
        point.nodes_reporting = if point.seconds == 0 { reporting } else { point.nodes_reporting.min(reporting) };
        point.seconds += 1;
        let mut refused = 0;
        for (key, about) in self.found(reading) {
            if !self.series.contains_key(&key) {
                if self.series.len() >= self.most {
                    refused += 1;
                    continue;
                }
                self.series.insert(key.clone(), Track::new(about, self.asked, self.points.len()));
            }
            if let Some(track) = self.series.get_mut(&key) {
                track.take(at, reading, &self.asked.name, &key);
            }
        }
        self.left_out = self.left_out.max(refused);
    }

    /// The series of this second, by their attributes.
    fn found<'r>(&self, reading: &Reading<'r>) -> Vec<(Pairs, About<'r>)> {
        let (name, with) = (self.asked.name.as_str(), borrowed(&self.asked.with));
        if let Some(metric) = catalogue::find(name).filter(|metric| !metric.is_sent()) {
            if self.asked.total {
                let known = reading.statistic(name, &with, Statistic::Value).is_some();
                return known.then(|| (self.asked.with.clone(), metric.into())).into_iter().collect();
            }
            let all = reading.derived_series(metric).into_iter();
            let wanted = all.filter(|attributes| with.iter().all(|pair| attributes.contains(pair)));
            return wanted.map(|attributes| (owned(&attributes), metric.into())).collect();
        }
        let mut wanted = reading.named(name).iter().filter(|entry| entry.has(&with));
        let about = |entry: &Entry<'r>| About::from(entry.series);
        if self.asked.total {
            return wanted.next().map(|first| (self.asked.with.clone(), about(first))).into_iter().collect();
        }
        let pairs = |series: &Series| series.attributes().iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        wanted.map(|entry| (pairs(entry.series), about(entry))).collect()
    }

    /// The answer, once every second was taken.
    pub(super) fn finish(self) -> v1::SeriesAnswer {
        let name = &self.asked.name;
        let series = self.series.into_iter().map(|(attributes, mut track)| {
            track.close();
            track.answer(name, &attributes)
        });
        v1::SeriesAnswer {
            series: series.collect(),
            points: self.points,
            left_out: u32::try_from(self.left_out).unwrap_or(u32::MAX),
            answered_by: String::new(),
        }
    }
}

impl Track {
    fn new(about: About<'_>, asked: &Asked, points: usize) -> Self {
        let statistics = if asked.statistics.is_empty() { about.usual() } else { asked.statistics.clone() };
        Self {
            kind: about.kind,
            unit: about.unit.to_owned(),
            scope: about.scope,
            derived: about.derived,
            values: vec![vec![f64::NAN; points]; statistics.len()],
            error_ppm: 0,
            open: Open::default(),
            statistics,
        }
    }

    fn take(&mut self, point: usize, reading: &Reading<'_>, name: &str, key: &Pairs) {
        if self.open.point != point {
            self.close();
            self.open = Open { point, ..Open::default() };
        }
        let with = borrowed(key);
        let histogram = self.kind == Kind::Histogram;
        self.open.seconds += 1;
        if (histogram || self.statistics.iter().any(|statistic| statistic.quantile().is_some()))
            && let Some((series, seen)) = reading.distribution(name, &with)
        {
            let (_, merged) = self.open.merged.get_or_insert_with(|| (series.clone(), HistogramSum::new()));
            // Counts are capped where they enter: 900 seconds of them fit.
            let added = merged.add(&seen);
            debug_assert!(added.is_ok(), "{added:?}");
        }
        let nodes = reading.statistic(name, &with, Statistic::Nodes).unwrap_or_default();
        self.open.nodes = self.open.nodes.max(nodes as u32);
        if histogram {
            return;
        }
        self.open.numbers.resize(self.statistics.len(), (0.0, 0));
        let read = reading.statistics(name, &with, &self.statistics);
        for ((number, statistic), value) in self.open.numbers.iter_mut().zip(&self.statistics).zip(read) {
            let Some(value) = value else { continue };
            let (so_far, seconds) = *number;
            let together = match statistic {
                _ if seconds == 0 => value,
                Statistic::Min => so_far.min(value),
                Statistic::Max | Statistic::Nodes => so_far.max(value),
                _ => so_far + value,
            };
            *number = (together, seconds + 1);
        }
    }

    /// Ends the point being gathered.
    fn close(&mut self) {
        let open = std::mem::take(&mut self.open);
        if open.seconds == 0 {
            return;
        }
        let merged = open.merged.map(|(series, sum)| (series, sum.to_histogram()));
        let of_values = merged.as_ref().map(|(series, histogram)| {
            if self.statistics.iter().any(|statistic| statistic.quantile().is_some()) {
                self.error_ppm = self.error_ppm.max(histogram.quantile_error_ppm());
            }
            of_histogram(series, histogram, open.nodes, &self.statistics)
        });
        for (at, statistic) in self.statistics.iter().enumerate() {
            let of_values = of_values.as_ref().and_then(|values| values[at]);
            let number = open.numbers.get(at).filter(|(_, seconds)| *seconds > 0);
            let value = match statistic {
                _ if self.kind == Kind::Histogram => of_values,
                Statistic::Quantile(_) => of_values,
                Statistic::Min | Statistic::Max | Statistic::Nodes => number.map(|(value, _)| *value),
                _ => number.map(|(sum, seconds)| sum / f64::from(*seconds)),
            };
            if let (Some(value), Some(slot)) = (value, self.values[at].get_mut(open.point)) {
                *slot = value;
            }
        }
    }

    fn answer(self, name: &str, attributes: &Pairs) -> v1::Series {
        let about = About { kind: self.kind, unit: &self.unit, scope: self.scope, derived: self.derived };
        let error_ppm = self.error_ppm;
        let statistics = self.statistics.iter().zip(self.values).map(|(statistic, values)| v1::StatisticValues {
            statistic: statistic.to_string(),
            values,
            error_bound_ppm: if statistic.quantile().is_some() { error_ppm } else { 0 },
        });
        about.series(name, attributes, statistics.collect())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use starling_proto::{
        frame::{Content, Second},
        histogram::Histogram,
        interner::Interner,
        series::{Sample, Value},
    };

    use super::*;

    /// What a decoder makes of the frame.
    fn columns(content: &Content) -> Second {
        Second::of_content(&Interner::default(), content).0
    }

    fn second(tick: u32, grpc: u64, micros: u64) -> Content {
        let of = |protocol, increment| Sample {
            series: Series::of(&catalogue::REQUESTS, &[("protocol", protocol)]),
            value: Value::Counter(increment),
        };
        let latency = Sample {
            series: Series::of(&catalogue::DURATION, &[("protocol", "grpc")]),
            value: Value::Histogram(Arc::new(Histogram::of(micros * 1000, 10))),
        };
        let gauge = |metric: &'static catalogue::Metric, value| Sample {
            series: Series::of(metric, &[]),
            value: Value::Gauge(value),
        };
        let memory = [gauge(&catalogue::MEMORY_LIMIT, 100), gauge(&catalogue::MEMORY_AVAILABLE, 25)];
        let samples = [of("grpc", grpc), of("http1", 1), latency].into_iter().chain(memory).collect();
        Content { tick, samples, dropped: 0 }
    }

    fn request(name: &str) -> v1::GetSeriesRequest {
        v1::GetSeriesRequest { name: name.to_owned(), ..v1::GetSeriesRequest::default() }
    }

    /// Seconds 1000 to 1009 but for 1004; the requests over grpc are the last digit.
    fn read(request: &v1::GetSeriesRequest) -> v1::SeriesAnswer {
        let asked = Asked::parse(request, 1000, 1009).unwrap();
        let mut fold = Fold::new(&asked);
        for tick in asked.from..=asked.to {
            let content = second(tick, u64::from(tick % 10), u64::from(tick % 10 + 1) * 100);
            let second = columns(&content);
            let reading = Reading::of_node(&second);
            fold.take(tick, 1, 1, (tick != 1004).then_some(&reading));
        }
        fold.finish()
    }

    #[test]
    fn seconds_are_points_and_a_missing_one_is_missing() {
        let answer = read(&request("traffic.requests"));
        assert_eq!(answer.points.len(), 10);
        assert_eq!(
            (answer.points[4].seconds, answer.points[4].nodes_reporting, answer.points[4].nodes_expected),
            (0, 0, 1)
        );
        let names: Vec<_> = answer.series.iter().map(|series| series.attributes["protocol"].as_str()).collect();
        assert_eq!(names, ["grpc", "http1"]);
        let grpc = &answer.series[0];
        assert_eq!((grpc.kind.as_str(), grpc.unit.as_str(), grpc.scope.as_str()), ("counter", "{request}", "cluster"));
        let values = &grpc.statistics[0].values;
        assert_eq!((values[3], values[9], grpc.statistics[0].statistic.as_str()), (3.0, 9.0, "value"));
        assert!(values[4].is_nan(), "no data is not zero");
    }

    #[test]
    fn a_total_adds_up_and_a_step_is_a_mean() {
        let asked = v1::GetSeriesRequest { total: true, step_seconds: 5, ..request("traffic.requests") };
        let answer = read(&asked);
        let [total] = answer.series.as_slice() else { panic!("{answer:?}") };
        assert!(total.attributes.is_empty());
        // (0 + 1 + 2 + 3) / 4 and (5 + 6 + 7 + 8 + 9) / 5, and one of http1.
        assert_eq!(total.statistics[0].values, [2.5, 8.0]);
        assert_eq!(
            answer.points.iter().map(|point| (point.tick, point.seconds)).collect::<Vec<_>>(),
            [(1000, 4), (1005, 5)]
        );
    }

    #[test]
    fn quantiles_are_read_of_merged_histograms_and_say_their_error() {
        let statistics = ["count", "p50", "max"].map(str::to_owned).to_vec();
        let asked = v1::GetSeriesRequest { statistics, step_seconds: 10, ..request("traffic.duration") };
        let answer = read(&asked);
        let [duration] = answer.series.as_slice() else { panic!("{answer:?}") };
        let of = |at: usize| duration.statistics[at].values[0];
        assert_eq!(of(0), 90.0, "ten a second");
        assert!((of(1) - 600e-6).abs() < 3e-6, "the middle of nine seconds: {}", of(1));
        assert_eq!(of(2), 0.001);
        assert_eq!(duration.statistics.iter().map(|is| is.error_bound_ppm).collect::<Vec<_>>(), [0, 3_906, 0]);
    }

    #[test]
    fn what_is_derived_is_read_and_listed_like_the_rest() {
        let answer = read(&request("system.memory.utilization"));
        let [used] = answer.series.as_slice() else { panic!("{answer:?}") };
        assert!(used.derived && used.statistics[0].values[0] == 0.75);
        let content = second(1, 1, 1);
        let asked = Asked::parse(&request(""), 1000, 1009).unwrap();
        let listed = list(&Reading::of_node(&columns(&content)), &asked);
        let names: Vec<_> = listed.series.iter().map(|series| (series.name.as_str(), series.derived)).collect();
        assert!(names.is_sorted() && names.contains(&("system.memory.used", true)), "{names:?}");
        assert!(names.contains(&("traffic.requests", false)) && listed.left_out == 0);
        let mut of_grpc = request("");
        of_grpc.attributes.insert("protocol".into(), "grpc".into());
        let listed = list(&Reading::of_node(&columns(&content)), &Asked::parse(&of_grpc, 1000, 1009).unwrap());
        assert!(listed.series.iter().all(|series| series.attributes["protocol"] == "grpc") && listed.series.len() == 2);
        let needed = Asked::parse(&request("system.memory.utilization"), 1, 2).unwrap();
        assert!(needed.needs("system.memory.available") && !needed.needs("system.memory.usage"));
    }

    #[test]
    fn series_beyond_the_limits_are_counted() {
        let asked = Asked::parse(&request("jobs"), 101, 1000).unwrap();
        let mut fold = Fold::new(&asked);
        let sample = |n: u32| {
            let series = Series::application("jobs", &[("n", &n.to_string())], Kind::Counter, "1", 0, Scope::Node);
            Sample { series: series.unwrap(), value: Value::Counter(1) }
        };
        let content = Content { tick: 1000, samples: (0..300).map(sample).collect(), dropped: 0 };
        fold.take(1000, 1, 1, Some(&Reading::of_node(&columns(&content))));
        let answer = fold.finish();
        assert_eq!((answer.series.len(), answer.left_out), (SERIES_MAX, 300 - SERIES_MAX as u32));
    }

    #[test]
    fn mistakes_are_named_with_what_is_wanted() {
        let refused =
            |request: v1::GetSeriesRequest| Asked::parse(&request, 1000, 1899).unwrap_err().message().to_owned();
        let base = || request("traffic.requests");
        let statistics = vec!["median".to_owned()];
        assert!(refused(v1::GetSeriesRequest { statistics, ..base() }).contains("such as p50"));
        let text = refused(v1::GetSeriesRequest { from_tick: 999, ..base() });
        assert_eq!(text, "from_tick: 999 is outside of 1000 to 1899");
        let text = refused(v1::GetSeriesRequest { from_tick: 1500, to_tick: 1400, ..base() });
        assert_eq!(text, "from_tick: 1500 is after to_tick, which is 1400");
        let text = refused(v1::GetSeriesRequest { step_seconds: 901, ..base() });
        assert_eq!(text, "step_seconds: 901 is given, 1 to 900 are kept");
    }
}
