//! What was found as samples of PromQL: gauges as they are, counters as running sums since 00:00 UTC, histograms as what
//! each step added. Pure.

use std::collections::BTreeMap;

use starling_history::{Cell, Coverage, Subject};
use starling_promql::{HistogramSamples, LabelMatcher, Labels, Samples, SeriesSamples, names};
use starling_proto::{catalogue::Kind, ids::NodeId};

use super::{found::Found, statistic::RangeStatistic};
use crate::select::{Key, Span};

const DAY: u32 = 86_400;

/// The first second of the day of `tick`.
pub(super) const fn midnight(tick: u32) -> u32 {
    tick - tick % DAY
}

/// What counters and histograms held on the day of the first second asked for, before it.
#[derive(Debug, Default)]
pub(super) struct Bases(BTreeMap<(Subject, Key), Cell>);

impl Bases {
    /// What `found` holds, as one cell a series.
    pub(super) fn of(found: &Found) -> Self {
        let mut bases = BTreeMap::new();
        for (subject, folded) in found.subjects() {
            for (key, cells) in &folded.series {
                let mut whole: Option<Cell> = None;
                for cell in cells.iter().flatten() {
                    match &mut whole {
                        // Counts beyond 64 bits are lost at the top.
                        Some(sum) => drop(sum.append(cell)),
                        none => *none = Some(cell.clone()),
                    }
                }
                if let Some(cell) = whole {
                    bases.insert((subject.clone(), key.clone()), cell);
                }
            }
        }
        Self(bases)
    }
}

/// The labels of a series as PromQL sees it.
pub(super) fn labels(subject: &Subject, key: &Key, of_nodes: &BTreeMap<NodeId, Vec<(String, String)>>) -> Labels {
    let own = subject.node().and_then(|node| of_nodes.get(node)).map(Vec::as_slice).unwrap_or_default();
    names::labels(subject, &key.series, own)
}

/// Whether all conditions hold.
pub(super) fn matches(matchers: &[LabelMatcher], labels: &Labels) -> bool {
    matchers.iter().all(|matcher| matcher.condition.matches(labels.get(&matcher.label)))
}

/// Whether something of `found` has a running sum.
pub(super) fn has_sums(found: &Found) -> bool {
    let sums = |key: &Key| key.series.kind() != Kind::Gauge;
    found.subjects().values().any(|folded| folded.series.keys().any(sums))
}

/// The series of `found` that `matchers` want.
pub(super) fn samples(
    found: &Found,
    bases: &Bases,
    matchers: &[LabelMatcher],
    of_nodes: &BTreeMap<NodeId, Vec<(String, String)>>,
) -> Vec<SeriesSamples> {
    let mut all = Vec::new();
    for (subject, folded) in found.subjects() {
        for (key, cells) in &folded.series {
            let labels = labels(subject, key, of_nodes);
            if !matches(matchers, &labels) {
                continue;
            }
            let base = bases.0.get(&(subject.clone(), key.clone()));
            let samples = of_series(key, cells, &folded.coverage, found.span(), base);
            if !samples.is_empty() {
                all.push(SeriesSamples { labels, samples });
            }
        }
    }
    all.sort_by(|a, b| a.labels.cmp(&b.labels));
    all
}

/// A sample stands at the last second of its step. A step without a second of data has none: what stands in it was spread
/// over a hole, and counts from the next sample on.
fn of_series(key: &Key, cells: &[Option<Cell>], coverage: &[Coverage], span: &Span, base: Option<&Cell>) -> Samples {
    let known = (0..).zip(cells).filter_map(|(point, cell)| {
        let last = span.tick_of(point) + span.seconds_of(point) - 1;
        Some((last, cell.as_ref()?))
    });
    let is_sample =
        |last: u32| span.point_of(last).and_then(|at| coverage.get(at as usize)).is_none_or(|held| held.seconds > 0);
    match key.series.kind() {
        Kind::Histogram => Samples::Histograms(HistogramSamples {
            scale: key.series.scale(),
            base: base.and_then(|base| base.histogram.clone()),
            increments: known
                .filter(|(last, _)| is_sample(*last))
                .map(|(last, cell)| (ms(last), Some(cell.histogram.clone().unwrap_or_default())))
                .collect(),
        }),
        Kind::Counter => {
            let (mut day, mut sum) = (midnight(span.from), base.map_or(0.0, |base| base.sum));
            let running = |(last, cell): (u32, &Cell)| {
                if midnight(last) != day {
                    (day, sum) = (midnight(last), 0.0);
                }
                sum += cell.sum;
                (last, sum)
            };
            let samples = known.map(running).filter(|(last, _)| is_sample(*last));
            Samples::Floats(samples.map(|(last, sum)| (ms(last), sum)).collect())
        }
        Kind::Gauge => {
            let value = |(last, cell): (u32, &Cell)| Some((ms(last), RangeStatistic::Last.of(key, cell)?));
            Samples::Floats(known.filter_map(value).collect())
        }
    }
}

fn ms(tick: u32) -> i64 {
    i64::from(tick) * 1_000
}
