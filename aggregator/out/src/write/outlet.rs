//! Which samples follow from the seconds of subjects, and when a series has ended. A state machine without a clock.
//!
//! Seconds of one subject come in order and each once, also over a restart: a batch says up to which second it goes, and the
//! next process begins behind it. A counter and a histogram begin with a sample of 0 half a second before their first, so
//! that a receiver sees the start, and a restart of ours as one, whatever the totals are.
//!
//! A series that ended gets the stale marker a quarter of a second after its last sample: a receiver ends it there, and a
//! node that brings seconds it had held back goes on behind the marker. Markers have requests of their own, by subject: what
//! a receiver refuses of them, because another aggregator was faster, costs nothing else.

use std::collections::{BTreeMap, HashMap};

use starling_history::{Matcher, SeriesCells, Subject};
use starling_promql::{Labels, NAME};
use starling_proto::catalogue::Kind;

use super::batch::{Batch, Point, Points};
use crate::{
    ENDED_AFTER, Native,
    total::{Reached, Total, Totals},
};

/// From the last sample of a series to its stale marker.
const MARKER_MS: i64 = 250;
/// From the sample of 0 of a counter to its first.
const ZERO_MS: i64 = 500;

/// What is sent.
#[derive(Debug, Clone, Default)]
pub struct OutletSettings {
    /// What the name must match, one of them; all do without any.
    pub names: Vec<Matcher>,
    /// Labels that every series gets, unless it has them.
    pub external: Vec<(String, String)>,
    /// A request is closed once it has so many samples.
    pub batch_samples: u64,
    /// Series that are followed; further ones are left out.
    pub series_max: usize,
}

/// A series as the receiver has it.
#[derive(Debug)]
struct Sent {
    labels: Labels,
    kind: Kind,
    help: &'static str,
    last: u32,
}

/// See the module.
#[derive(Debug)]
pub struct Outlet {
    settings: OutletSettings,
    totals: Totals,
    /// The last second that is taken, by subject.
    taken: BTreeMap<Subject, u32>,
    /// The series that have not ended, by subject and our own labels.
    open: BTreeMap<Subject, HashMap<Labels, Sent>>,
    gathering: Batch,
    closed: Vec<Batch>,
}

impl Outlet {
    /// One that goes on behind what a former process has `taken`.
    #[must_use]
    pub fn new(settings: OutletSettings, taken: BTreeMap<Subject, u32>) -> Self {
        let totals = Totals::new(settings.series_max);
        Self { settings, totals, taken, open: BTreeMap::new(), gathering: Batch::default(), closed: Vec::new() }
    }

    /// The last second that is taken of `subject`.
    #[must_use]
    pub fn taken(&self, subject: &Subject) -> Option<u32> {
        self.taken.get(subject).copied()
    }

    /// Seconds that are taken, by subject, of those that are not older than `oldest`; the others are forgotten.
    pub fn all_taken(&mut self, oldest: u32) -> &BTreeMap<Subject, u32> {
        self.taken.retain(|_, last| *last >= oldest);
        &self.taken
    }

    /// Series of `subject` that have not ended.
    #[must_use]
    pub fn open(&self, subject: &Subject) -> usize {
        self.open.get(subject).map_or(0, HashMap::len)
    }

    /// Series that have not ended.
    #[must_use]
    pub fn open_series(&self) -> usize {
        self.open.values().map(HashMap::len).sum()
    }

    /// How often a series was left out; see [`Totals::left_out`].
    #[must_use]
    pub const fn left_out(&self) -> u64 {
        self.totals.left_out()
    }

    /// Takes in the seconds of `subject` up to `last`. `of_node` are its labels if it is a node.
    pub fn take(&mut self, subject: &Subject, of_node: &[(String, String)], series: &[SeriesCells], last: u32) {
        let Self { settings, totals, open, gathering, .. } = self;
        let open = open.entry(subject.clone()).or_default();
        let wanted = |labels: &Labels| {
            let name = labels.get(NAME);
            settings.names.is_empty() || settings.names.iter().any(|matcher| matcher.matches(name))
        };
        let mut current: Option<(Labels, Points)> = None;
        totals.take(subject, of_node, series, wanted, |total, tick| {
            if current.as_ref().is_none_or(|(labels, _)| *labels != total.labels) {
                gathering.extend(current.take());
                let sent = open.entry(total.labels.clone()).or_insert_with(|| Sent::of(total, &settings.external));
                current = Some((total.labels.clone(), sent.points(total)));
            }
            if let Some((labels, points)) = &mut current {
                points.samples.extend(samples(total, tick));
                if let Some(sent) = open.get_mut(labels) {
                    sent.last = tick;
                }
            }
        });
        gathering.extend(current);
        self.taken.insert(subject.clone(), last);
        self.gathering.taken.push((subject.clone(), last));
        if self.gathering.samples() >= self.settings.batch_samples {
            self.close();
        }
    }

    /// Ends the series of `subject` without data in the last [`ENDED_AFTER`] seconds up to `now`.
    pub fn quiet(&mut self, subject: &Subject, now: u32) {
        self.end_those(subject, |sent| sent.last + ENDED_AFTER <= now);
    }

    /// Ends all series of `subject`: it is gone, or another aggregator sends it from now on.
    pub fn end(&mut self, subject: &Subject) {
        self.end_those(subject, |_| true);
    }

    /// Whose series have not all ended.
    #[must_use]
    pub fn subjects(&self) -> Vec<Subject> {
        self.open.keys().cloned().collect()
    }

    fn end_those(&mut self, subject: &Subject, ended: impl Fn(&Sent) -> bool) {
        let Some(open) = self.open.get_mut(subject) else { return };
        let mut markers = Batch::default();
        open.retain(|_, sent| {
            let ends = ended(sent);
            if ends {
                let end = Point::end(sent.kind == Kind::Histogram);
                let samples = vec![(ms(sent.last) + MARKER_MS, end)];
                markers.push(Points {
                    labels: sent.labels.clone(),
                    kind: sent.kind,
                    help: sent.help,
                    created_ms: 0,
                    samples,
                });
            }
            !ends
        });
        if open.is_empty() {
            self.open.remove(subject);
        }
        if !markers.points.is_empty() {
            // Behind the last samples.
            self.close();
            self.closed.push(markers);
        }
    }

    fn close(&mut self) {
        let batch = std::mem::take(&mut self.gathering);
        if !batch.points.is_empty() || !batch.taken.is_empty() {
            self.closed.push(batch);
        }
    }

    /// All that is to be sent, in this order. One without samples only says what is taken. Forgets what ended long before
    /// `now`.
    pub fn batches(&mut self, now: u32) -> Vec<Batch> {
        self.close();
        self.totals.forget(now);
        std::mem::take(&mut self.closed)
    }
}

impl Extend<(Labels, Points)> for Batch {
    fn extend<I: IntoIterator<Item = (Labels, Points)>>(&mut self, all: I) {
        all.into_iter().for_each(|(_, points)| self.push(points));
    }
}

impl Sent {
    fn of(total: &Total, external: &[(String, String)]) -> Self {
        let missing = external.iter().filter(|(key, _)| total.labels.get(key).is_empty());
        let labels = missing.fold(total.labels.clone(), |labels, (key, value)| labels.with(key, value));
        Self { labels, kind: total.series.kind(), help: total.help(), last: total.last }
    }

    fn points(&self, total: &Total) -> Points {
        let created_ms = if self.kind == Kind::Gauge { 0 } else { ms(total.created) };
        Points { labels: self.labels.clone(), kind: self.kind, help: self.help, created_ms, samples: Vec::new() }
    }
}

fn ms(tick: u32) -> i64 {
    i64::from(tick) * 1_000
}

/// The sample of a second, and the zero before it where the series begins.
fn samples(total: &Total, tick: u32) -> impl Iterator<Item = (i64, Point)> {
    let (zero, point) = match &total.reached {
        Reached::Gauge(value) => (None, Point::Number(*value)),
        Reached::Counter(sum) => (Some(Point::Number(0.0)), Point::Number(*sum)),
        Reached::Histogram(all) => {
            (Some(Point::Histogram(Native::default())), Point::Histogram(Native::of(all, total.series.scale())))
        }
    };
    let zero = zero.filter(|_| tick == total.created + 1).map(|zero| (ms(tick) - ZERO_MS, zero));
    zero.into_iter().chain([(ms(tick), point)])
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use starling_history::{Cell, Tier};
    use starling_promql::is_stale;
    use starling_proto::{catalogue, histogram::Histogram, ids::NodeId, series::Series};

    use super::*;

    fn node(name: &str) -> Subject {
        Subject::Node(NodeId::parse(name).unwrap())
    }

    fn requests(subject: &Subject, cells: &[(u32, f64)]) -> SeriesCells {
        SeriesCells {
            subject: subject.clone(),
            series: Series::of(&catalogue::REQUESTS, &[("protocol", "grpc")]),
            derived: false,
            tier: Tier::Second,
            cells: cells.iter().map(|(tick, value)| (*tick, Cell::second(*value))).collect(),
        }
    }

    fn outlet(batch_samples: u64) -> Outlet {
        let external = vec![("cluster".to_owned(), "c1".to_owned()), ("node".to_owned(), "other".to_owned())];
        let settings = OutletSettings { external, batch_samples, series_max: 100, ..OutletSettings::default() };
        Outlet::new(settings, BTreeMap::new())
    }

    /// Times and values; a marker as not a number.
    fn numbers(batches: &[Batch]) -> Vec<(i64, f64)> {
        let all = batches.iter().flat_map(|batch| &batch.points).flat_map(|points| &points.samples);
        all.map(|(time, point)| match point {
            Point::Number(value) => (*time, *value),
            Point::Histogram(native) => (*time, native.count as f64),
        })
        .collect()
    }

    #[test]
    fn a_counter_begins_with_zero_and_goes_on_without() {
        let (mut outlet, web) = (outlet(1_000), node("web-1"));
        let rack = [("rack".to_owned(), "r".to_owned())];
        outlet.take(&web, &rack, &[requests(&web, &[(100, 5.0), (101, 0.0)])], 101);
        let batches = outlet.batches(101);
        assert_eq!(numbers(&batches), [(99_500, 0.0), (100_000, 5.0), (101_000, 5.0)]);
        assert_eq!(
            (batches.len(), batches[0].taken.as_slice(), batches[0].seconds),
            (1, &[(web.clone(), 101)][..], Some((99, 101)))
        );
        let points = &batches[0].points[0];
        assert_eq!(
            points.labels.to_string(),
            "traffic_requests_total{cluster=\"c1\", node=\"web-1\", protocol=\"grpc\", rack=\"r\"}"
        );
        assert_eq!(points.created_ms, 99_000);
        outlet.take(&web, &rack, &[requests(&web, &[(101, 9.0), (102, 2.0)])], 102);
        assert_eq!(numbers(&outlet.batches(102)), [(102_000, 7.0)], "no second twice");
    }

    /// Scenario 25.
    #[test]
    fn a_series_that_is_silent_ends_behind_its_last_sample_and_may_come_back() {
        let (mut outlet, web) = (outlet(1_000), node("web-1"));
        outlet.take(&web, &[], &[requests(&web, &[(100, 5.0)])], 100);
        outlet.batches(100);
        outlet.quiet(&web, 103);
        outlet.quiet(&web, 107);
        assert_eq!(outlet.batches(107), [], "three missed seconds are no end");
        outlet.quiet(&web, 108);
        let ended = outlet.batches(108);
        assert!(numbers(&ended).len() == 1 && numbers(&ended)[0].0 == 100_250 && is_stale(numbers(&ended)[0].1));
        assert_eq!((outlet.open_series(), outlet.subjects().len()), (0, 0));
        outlet.quiet(&web, 109);
        assert_eq!(outlet.batches(109), [], "once");
        // What it had held back, and what is new.
        outlet.take(&web, &[], &[requests(&web, &[(101, 1.0), (110, 1.0)])], 110);
        assert_eq!(numbers(&outlet.batches(110)), [(101_000, 6.0), (110_000, 7.0)]);
    }

    #[test]
    fn what_moves_away_ends_at_once_and_in_a_request_of_its_own() {
        let mut outlet = outlet(1_000);
        for name in ["web-1", "web-2"] {
            let web = node(name);
            outlet.take(&web, &[], &[requests(&web, &[(100, 5.0)])], 100);
        }
        outlet.end(&node("web-1"));
        let batches = outlet.batches(100);
        assert_eq!(batches.iter().map(|batch| batch.points.len()).collect::<Vec<_>>(), [2, 1]);
        assert!(batches[1].taken.is_empty() && is_stale(numbers(&batches[1..])[0].1));
        assert_eq!(outlet.open(&node("web-2")), 1);
    }

    #[test]
    fn histograms_are_running_totals_too() {
        let (mut outlet, web) = (outlet(1_000), node("web-1"));
        let with = |value| Cell { histogram: Some(Arc::new(Histogram::of(value, 2))), ..Cell::second(2.0) };
        let series = SeriesCells {
            series: Series::of(&catalogue::DURATION, &[("protocol", "grpc")]),
            cells: vec![(100, with(7)), (101, with(900))],
            ..requests(&web, &[])
        };
        outlet.take(&web, &[], &[series], 101);
        outlet.end(&web);
        let batches = outlet.batches(101);
        assert_eq!(numbers(&batches), [(99_500, 0.0), (100_000, 2.0), (101_000, 4.0), (101_250, 0.0)]);
        assert_eq!((batches[0].numbers, batches[0].histograms), (0, 3));
        let Point::Histogram(marker) = &batches[1].points[0].samples[0].1 else { panic!() };
        assert!(is_stale(marker.sum));
    }

    #[test]
    fn only_wanted_names_are_sent() {
        let settings = OutletSettings {
            names: vec![Matcher::regex("system_.*").unwrap()],
            batch_samples: 10,
            series_max: 10,
            ..OutletSettings::default()
        };
        let (mut outlet, web) = (Outlet::new(settings, BTreeMap::new()), node("web-1"));
        outlet.take(&web, &[], &[requests(&web, &[(100, 5.0)])], 100);
        let batches = outlet.batches(100);
        assert_eq!((batches.len(), batches[0].points.len(), batches[0].taken.len()), (1, 0, 1));
        assert_eq!(outlet.left_out(), 0);
    }

    proptest! {
        /// However the seconds are cut into steps and batches, and wherever the process restarts: every second arrives once,
        /// in order, and the growth that a receiver sees is that of the increments.
        #[test]
        fn every_second_arrives_once_and_growth_is_exact(
            increments in prop::collection::vec(0u32..50, 1..60),
            steps in prop::collection::vec((1usize..9, prop::bool::weighted(0.2)), 1..60),
            batch_samples in 1u64..20,
        ) {
            let web = node("web-1");
            let (mut outlet, mut at, mut received) = (outlet(batch_samples), 0, Vec::new());
            for (length, restarts) in steps {
                let seconds: Vec<(u32, f64)> = (at..increments.len().min(at + length)).map(|i| (1_000 + i as u32, increments[i].into())).collect();
                at += seconds.len();
                let Some((last, _)) = seconds.last().copied() else { break };
                // A step reads again what was taken, as after a failed write.
                let again: Vec<_> = (at.saturating_sub(seconds.len() + 2)..at).map(|i| (1_000 + i as u32, increments[i].into())).filter(|(tick, _)| outlet.taken(&web).is_none_or(|taken| *tick > taken)).collect();
                outlet.take(&web, &[], &[requests(&web, &again)], last);
                received.extend(numbers(&outlet.batches(last)));
                if restarts {
                    outlet = Outlet::new(outlet.settings.clone(), outlet.taken.clone());
                }
            }
            prop_assert!(received.is_sorted_by(|a, b| a.0 < b.0), "{received:?}");
            let whole: Vec<i64> = received.iter().map(|one| one.0).filter(|time| time % 1_000 == 0).collect();
            prop_assert_eq!(whole, (0..at).map(|i| 1_000_000 + 1_000 * i as i64).collect::<Vec<_>>());
            let growth: f64 = received.windows(2).map(|pair| if pair[1].1 < pair[0].1 { pair[1].1 } else { pair[1].1 - pair[0].1 }).sum();
            prop_assert_eq!(growth, f64::from(increments[..at].iter().sum::<u32>()));
        }
    }
}
