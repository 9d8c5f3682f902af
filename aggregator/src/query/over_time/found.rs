//! What was read for a question, in its steps: by subject and series, within a limit. Pure.

use std::collections::{BTreeMap, BTreeSet};

use starling_history::{Cell, Coverage, Subject};
use starling_proto::{histogram::Histogram, ids::NodeId, limits::LATE_WINDOW, v1};
use tonic::Status;

use super::{
    grown::{Grown, grown},
    statistic::RangeStatistic,
};
use crate::select::{Folded, Key, Span};

/// Steps of series that are held for one question: 600 of each of 1,000 nodes, about 70 MB.
const STEPS_MAX: usize = 600_000;
/// Samples of PromQL count by their bytes, as so many of a step.
const STEP_BYTES: usize = size_of::<Option<Cell>>();
/// So many bytes of histograms count as a step: up to 170 MB, five series of the cluster for an hour by the second.
const HISTOGRAM_BYTES: usize = 3 * STEP_BYTES;

/// Which series are kept of many.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Keep {
    /// How many; 0 for all.
    pub(crate) top: usize,
    /// By what they rank, over the whole range.
    pub(crate) by: RangeStatistic,
    /// The lowest instead of the highest.
    pub(crate) bottom: bool,
    /// Only what samples of PromQL are made of, of a gauge this statistic: a sixth of the memory.
    pub(crate) samples: Option<RangeStatistic>,
}

impl Keep {
    /// All of them.
    pub(crate) const ALL: Self = Self { top: 0, by: RangeStatistic::Mean, bottom: false, samples: None };

    /// Whether `a` comes before `b`. What has no value is last.
    fn order(self, a: Option<f64>, b: Option<f64>) -> std::cmp::Ordering {
        match (a, b) {
            (Some(a), Some(b)) if self.bottom => a.total_cmp(&b),
            (Some(a), Some(b)) => b.total_cmp(&a),
            (a, b) => b.is_some().cmp(&a.is_some()),
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Found {
    span: Span,
    keep: Keep,
    subjects: BTreeMap<Subject, Folded>,
    /// In place of their steps, when only samples are kept.
    grown: BTreeMap<Subject, Vec<(Key, Grown)>>,
    /// Of what is kept, when only some is.
    ranks: BTreeMap<(Subject, Key), Option<f64>>,
    steps: usize,
}

impl Found {
    /// Nothing yet.
    pub(crate) fn new(span: Span, keep: Keep) -> Self {
        let (subjects, grown, ranks) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { span, keep, subjects, grown, ranks, steps: 0 }
    }

    /// Whether anything of `subject` was added.
    pub(crate) fn has(&self, subject: &Subject) -> bool {
        self.subjects.contains_key(subject)
    }

    /// Whether nothing was added.
    pub(crate) fn is_empty(&self) -> bool {
        self.subjects.is_empty()
    }

    /// The nodes of which something was added.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &NodeId> {
        self.subjects.keys().filter_map(Subject::node)
    }

    /// What samples are made of, by subject; see [`Keep::samples`].
    pub(crate) fn into_grown(self) -> BTreeMap<Subject, Vec<(Key, Grown)>> {
        self.grown
    }

    /// The series that were added, each as often as a subject has it.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &Key> {
        let steps = self.subjects.values().flat_map(|folded| folded.series.keys());
        steps.chain(self.grown.values().flatten().map(|(key, _)| key))
    }

    /// What was added, by subject.
    pub(crate) const fn subjects(&self) -> &BTreeMap<Subject, Folded> {
        &self.subjects
    }

    /// When, in which steps.
    pub(crate) const fn span(&self) -> &Span {
        &self.span
    }

    /// Seconds of the coarsest cell; 1 without any.
    pub(crate) fn resolution(&self) -> u32 {
        self.subjects.values().map(|folded| folded.resolution).max().unwrap_or(1).max(1)
    }

    /// Adds a subject.
    ///
    /// # Errors
    /// `RESOURCE_EXHAUSTED` beyond the limit of steps.
    pub(crate) fn add(&mut self, subject: Subject, folded: Folded) -> Result<(), Status> {
        let readied = Readied::of(&subject, folded, self.keep, &self.span);
        self.add_readied(subject, readied)
    }

    /// As [`Found::add`], of what was readied: the only part for which others who add have to wait.
    ///
    /// # Errors
    /// `RESOURCE_EXHAUSTED` beyond the limit of steps.
    pub(crate) fn add_readied(&mut self, subject: Subject, readied: Readied) -> Result<(), Status> {
        let Readied { folded, grown, steps } = readied;
        self.steps += steps;
        if self.keep.samples.is_some() {
            self.grown.insert(subject.clone(), grown);
        }
        if self.keep.top > 0 {
            for (key, steps) in &folded.series {
                let rank = whole(steps, self.keep.by).and_then(|cell| self.keep.by.of(key, &cell));
                self.ranks.insert((subject.clone(), key.clone()), rank);
            }
        }
        self.subjects.insert(subject, folded);
        if self.keep.top > 0 && (self.steps > STEPS_MAX || self.ranks.len() > 4 * self.keep.top + 64) {
            self.drop_beyond_top();
        }
        if self.steps > STEPS_MAX {
            return Err(Status::resource_exhausted(format!(
                "step_seconds: more than {STEPS_MAX} steps of series would be read: ask for longer steps, fewer series or nodes, or a `top`"
            )));
        }
        Ok(())
    }

    /// What ranks highest, best first; of equal ones the first by name.
    pub(crate) fn top(&mut self) -> Vec<(Subject, Key, Option<f64>)> {
        self.drop_beyond_top();
        let mut ranked: Vec<_> =
            self.ranks.iter().map(|((subject, key), rank)| (subject.clone(), key.clone(), *rank)).collect();
        // Stable: of equal ones the order of names stays.
        ranked.sort_by(|(_, _, a), (_, _, b)| self.keep.order(*a, *b));
        ranked
    }

    fn drop_beyond_top(&mut self) {
        let mut ranked: Vec<_> = self.ranks.iter().collect();
        ranked.sort_by(|(_, a), (_, b)| self.keep.order(**a, **b));
        let beyond: Vec<(Subject, Key)> =
            ranked.into_iter().skip(self.keep.top).map(|(which, _)| which.clone()).collect();
        for (subject, key) in beyond {
            if let Some(folded) = self.subjects.get_mut(&subject)
                && let Some(steps) = folded.series.remove(&key)
            {
                self.steps -= weight(&steps);
            }
            self.ranks.remove(&(subject, key));
        }
    }

    /// The same in the steps of `span`, which begins and ends with those it is in.
    ///
    /// # Errors
    /// `OUT_OF_RANGE` when counts do not fit 64 bits.
    pub(crate) fn regrouped(&self, span: &Span) -> Result<Self, Status> {
        let mut longer = Self::new(*span, Keep::ALL);
        for (subject, folded) in &self.subjects {
            let regrouped = folded.regrouped(&self.span, span);
            let regrouped =
                regrouped.map_err(|_| Status::out_of_range("from_tick: the counts of this range exceed 64 bits"))?;
            longer.add(subject.clone(), regrouped)?;
        }
        Ok(longer)
    }

    /// Whether some second up to `settled` has no data.
    pub(crate) fn lacks_seconds(&self, settled: u32) -> bool {
        let asked = |point: u32| {
            let first = self.span.tick_of(point);
            self.span.seconds_of(point).min(settled.saturating_add(1).saturating_sub(first))
        };
        self.subjects
            .values()
            .any(|folded| folded.coverage.iter().zip(0..).any(|(coverage, point)| coverage.seconds < asked(point)))
    }

    /// How much there is of each step: of one subject its own coverage, of several the nodes counted, of which those in
    /// `known` are expected too.
    pub(crate) fn points(&self, settled: u32, known: &BTreeSet<NodeId>) -> Vec<v1::RangePoint> {
        let several = self.subjects.keys().any(|subject| !subject.is_merged());
        let coverage = if several || self.subjects.is_empty() { self.over_nodes(known) } else { self.merged() };
        let point = |(coverage, at): (Coverage, u32)| {
            let (first, seconds) = (self.span.tick_of(at), self.span.seconds_of(at));
            let whole = coverage.seconds >= seconds && coverage.nodes_reporting >= coverage.nodes_expected;
            let last = first + (seconds - 1);
            v1::RangePoint {
                tick: first,
                seconds_expected: Some(seconds),
                seconds: Some(coverage.seconds.min(seconds)),
                nodes_reporting: Some(if coverage.seconds == 0 { 0 } else { coverage.nodes_reporting }),
                nodes_expected: Some(coverage.nodes_expected),
                provisional: !whole && last.saturating_add(LATE_WINDOW) > settled,
            }
        };
        coverage.into_iter().zip(0..).map(point).collect()
    }

    fn merged(&self) -> Vec<Coverage> {
        self.subjects.values().next().map(|folded| folded.coverage.clone()).unwrap_or_default()
    }

    fn over_nodes(&self, known: &BTreeSet<NodeId>) -> Vec<Coverage> {
        let mut all = vec![Coverage::default(); self.span.points() as usize];
        for (subject, folded) in &self.subjects {
            let known = subject.node().is_some_and(|node| known.contains(node));
            let held = |coverage: &Coverage| coverage.seconds > 0;
            let first = folded.coverage.iter().position(held);
            let last = folded.coverage.iter().rposition(held);
            for (at, (sum, coverage)) in all.iter_mut().zip(&folded.coverage).enumerate() {
                sum.seconds = sum.seconds.max(coverage.seconds);
                sum.nodes_reporting += u32::from(held(coverage));
                // One that is known still is expected to the end, and one between its first and last second.
                let after_first = first.is_some_and(|first| at >= first);
                sum.nodes_expected += u32::from(known || after_first && last.is_some_and(|last| at <= last));
                sum.dropped = sum.dropped.saturating_add(coverage.dropped);
            }
        }
        let absent = known.iter().filter(|node| !self.has(&Subject::Node((*node).clone()))).count();
        all.iter_mut().for_each(|sum| sum.nodes_expected += u32::try_from(absent).unwrap_or(u32::MAX));
        all
    }
}

/// What is found of one subject, as it is kept.
#[derive(Debug)]
pub(crate) struct Readied {
    folded: Folded,
    /// In place of its series, when only samples are kept.
    grown: Vec<(Key, Grown)>,
    /// What it counts towards [`STEPS_MAX`].
    steps: usize,
}

impl Readied {
    /// What `keep` keeps of `subject`.
    pub(crate) fn of(subject: &Subject, mut folded: Folded, keep: Keep, span: &Span) -> Self {
        let mut samples = Vec::new();
        if let Some(of_gauge) = keep.samples {
            let series = std::mem::take(&mut folded.series);
            let of = |(key, steps): (Key, Vec<Option<Cell>>)| {
                let grown = grown(&key, &steps, &folded.coverage, (span, of_gauge));
                (key, grown)
            };
            samples = series.into_iter().map(of).collect();
            if !subject.is_merged() {
                // Of nodes nothing is said of each step.
                folded.coverage = Vec::new();
            }
        }
        let grown = samples
            .iter()
            .map(|(_, grown): &(Key, Grown)| grown.bytes() / STEP_BYTES + grown.histogram_bytes() / HISTOGRAM_BYTES);
        let steps = grown.sum::<usize>() + size(&folded);
        Self { folded, grown: samples, steps }
    }
}

fn size(folded: &Folded) -> usize {
    folded.series.values().map(|steps| weight(steps)).sum()
}

/// Steps, and the histograms in them by their bytes.
fn weight(steps: &[Option<Cell>]) -> usize {
    let histograms = steps.iter().flatten().filter_map(|cell| cell.histogram.as_deref());
    steps.len() + histograms.map(Histogram::memory).sum::<usize>() / HISTOGRAM_BYTES
}

/// All steps in one cell, as far as `statistic` needs it. `None` without data.
pub(crate) fn whole(steps: &[Option<Cell>], statistic: RangeStatistic) -> Option<Cell> {
    let mut all: Option<Cell> = None;
    for cell in steps.iter().flatten() {
        let cell = if statistic.is_of_values() { cell.clone() } else { Cell { histogram: None, ..cell.clone() } };
        match &mut all {
            // Counts that do not fit 64 bits were refused when the steps were made; of many steps the rest is left out.
            Some(all) => drop(all.append(&cell)),
            none => *none = Some(cell),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use starling_proto::{catalogue, series::Series};

    use super::*;

    fn folded(values: &[Option<f64>]) -> Folded {
        let key = Key { series: Series::of(&catalogue::LOAD_1M, &[]), derived: false };
        let coverage = values.iter().map(|value| match value {
            Some(_) => Coverage::second(1, 1, 0),
            None => Coverage::default(),
        });
        Folded {
            coverage: coverage.collect(),
            series: [(key, values.iter().map(|value| value.map(Cell::second)).collect())].into(),
            resolution: 1,
        }
    }

    fn node(name: &str) -> Subject {
        Subject::parse(&format!("node/{name}")).unwrap()
    }

    fn names(ranked: &[(Subject, Key, Option<f64>)]) -> Vec<(&str, f64)> {
        ranked.iter().map(|(subject, _, rank)| (subject.node().unwrap().as_str(), rank.unwrap())).collect()
    }

    /// Scenario 13.
    #[test]
    fn the_top_is_of_the_whole_range_with_stable_ties() {
        let span = Span { from: 0, to: 3_599, step: 1 };
        let top = |by, bottom| {
            let mut found = Found::new(span, Keep { top: 3, by, bottom, ..Keep::ALL });
            for k in 1..=20u32 {
                let half = |tick| if tick < 1_800 { f64::from(k) } else { f64::from(40 - 2 * k) };
                let values: Vec<_> = (0..3_600).map(|tick| Some(half(tick))).collect();
                found.add(node(&format!("n{k}")), folded(&values)).unwrap();
            }
            found
        };
        assert_eq!(names(&top(RangeStatistic::Mean, false).top()), [("n1", 19.5), ("n2", 19.0), ("n3", 18.5)]);
        assert_eq!(names(&top(RangeStatistic::Max, false).top()), [("n1", 38.0), ("n2", 36.0), ("n3", 34.0)]);
        assert_eq!(names(&top(RangeStatistic::Last, true).top()), [("n20", 0.0), ("n19", 2.0), ("n18", 4.0)]);
        assert_eq!(names(&top(RangeStatistic::Count, false).top()), [("n1", 3600.0), ("n10", 3600.0), ("n11", 3600.0)]);
    }

    /// Scenario 41.
    #[test]
    fn nodes_that_are_known_and_not_there_are_expected() {
        let span = Span { from: 10, to: 13, step: 1 };
        let mut found = Found::new(span, Keep::ALL);
        found.add(node("a"), folded(&[Some(1.0); 4])).unwrap();
        found.add(node("b"), folded(&[None, Some(1.0), None, None])).unwrap();
        found.add(node("c"), folded(&[Some(1.0), None, Some(1.0), None])).unwrap();
        let known = ["a", "b", "z"].map(|name| NodeId::parse(name).unwrap()).into();
        let points = found.points(5_000, &known);
        let counts: Vec<_> = points.iter().map(|point| (point.nodes_reporting(), point.nodes_expected())).collect();
        assert_eq!(counts, [(2, 4), (2, 4), (2, 4), (1, 3)]);
        assert!(points.iter().all(|point| !point.provisional), "nothing so late is taken any more");
        assert!(found.points(500, &known).iter().all(|point| point.provisional));
    }

    #[test]
    fn the_limit_of_steps_is_named() {
        let span = Span { from: 0, to: 10_999, step: 1 };
        let many = vec![Some(1.0); 11_000];
        let mut found = Found::new(span, Keep::ALL);
        let refused = (0..60).find_map(|n| found.add(node(&format!("n{n}")), folded(&many)).err()).unwrap();
        assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
        let mut found = Found::new(span, Keep { top: 2, ..Keep::ALL });
        (0..60).for_each(|n| found.add(node(&format!("n{n}")), folded(&many)).unwrap());
        assert_eq!(names(&found.top()), [("n0", 1.0), ("n1", 1.0)]);
    }
}
