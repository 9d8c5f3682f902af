//! What was found as samples of PromQL: gauges as they are, counters as running sums since 00:00 UTC, histograms as what
//! each step added. Pure.

use std::collections::{BTreeMap, btree_map::Entry};

use starling_history::{Cell, Subject};
use starling_promql::{HistogramSamples, LabelMatcher, Labels, Samples, SeriesSamples, names};
use starling_proto::{catalogue::Kind, ids::NodeId, series::Series};

use super::{
    found::Found,
    grown::{Grown, ms},
};
use crate::select::Key;

pub(super) const DAY: u32 = 86_400;

/// The first second of the day of `tick`.
pub(super) const fn midnight(tick: u32) -> u32 {
    tick - tick % DAY
}

/// What counters and histograms held on the day of the first second asked for, before it.
#[derive(Debug, Default)]
pub(super) struct Bases(BTreeMap<(Subject, Key), Cell>);

impl Bases {
    /// Adds what `found` holds, as one cell a series.
    pub(super) fn add(&mut self, found: &Found) {
        for (subject, folded) in found.subjects() {
            for (key, cells) in &folded.series {
                let mut cells = cells.iter().flatten();
                let Some(first) = cells.next() else { continue };
                // Counts beyond 64 bits are lost at the top.
                let sum = match self.0.entry((subject.clone(), key.clone())) {
                    Entry::Vacant(none) => none.insert(first.clone()),
                    Entry::Occupied(sum) => {
                        let sum = sum.into_mut();
                        let _ = sum.append(first);
                        sum
                    }
                };
                for cell in cells {
                    let _ = sum.append(cell);
                }
            }
        }
    }
}

/// The operator's labels of nodes.
type NodeLabels = BTreeMap<NodeId, Vec<(String, String)>>;

fn own<'a>(subject: &Subject, of_nodes: &'a NodeLabels) -> &'a [(String, String)] {
    subject.node().and_then(|node| of_nodes.get(node)).map(Vec::as_slice).unwrap_or_default()
}

/// The labels of a series as PromQL sees it.
pub(super) fn labels(subject: &Subject, key: &Key, of_nodes: &NodeLabels) -> Labels {
    names::labels(subject, &key.series, own(subject, of_nodes))
}

/// Whether all conditions hold.
pub(super) fn matches(matchers: &[LabelMatcher], labels: &Labels) -> bool {
    matchers.iter().all(|matcher| matcher.condition.matches(labels.get(&matcher.label)))
}

/// Whether something of `found` has a running sum.
pub(super) fn has_sums(found: &Found) -> bool {
    found.keys().any(|key| key.series.kind() != Kind::Gauge)
}

/// The series of `found` that `matchers` want. `found` was asked for samples.
pub(super) fn samples(
    found: Found,
    bases: &Bases,
    matchers: &[LabelMatcher],
    of_nodes: &NodeLabels,
) -> Vec<SeriesSamples> {
    let mut all = Vec::new();
    // The same for all subjects that have the series.
    let mut plain: BTreeMap<Series, String> = BTreeMap::new();
    let from = found.span().from;
    for (subject, series) in found.into_grown() {
        for (key, grown) in series {
            let series = &key.series;
            if !plain.contains_key(series) {
                plain.insert(series.clone(), names::metric_name(series.name(), series.kind(), series.unit()));
            }
            let Some(plain) = plain.get(series) else { continue };
            let labels = names::labels_named(plain, &subject, series, own(&subject, of_nodes));
            if !matches(matchers, &labels) {
                continue;
            }
            let samples = finished(&key, grown, from, bases.0.get(&(subject.clone(), key.clone())));
            if !samples.is_empty() {
                all.push(SeriesSamples { labels, samples });
            }
        }
    }
    all.sort_by(|a, b| a.labels.cmp(&b.labels));
    all
}

/// Samples of a series that held `base` on the day of `from` before it.
fn finished(key: &Key, grown: Grown, from: u32, base: Option<&Cell>) -> Samples {
    match grown {
        Grown::Values(values) => Samples::Floats(values),
        Grown::Histograms(increments) => Samples::Histograms(HistogramSamples {
            scale: key.series.scale(),
            base: base.and_then(|base| base.histogram.clone()),
            increments,
        }),
        Grown::Sums(sums) => {
            let (mut day, mut sum) = (midnight(from), base.map_or(0.0, |base| base.sum));
            let running = |(last, is_sample, growth): (u32, bool, f64)| {
                if midnight(last) != day {
                    (day, sum) = (midnight(last), 0.0);
                }
                sum += growth;
                is_sample.then(|| (ms(last), sum))
            };
            Samples::Sums(sums.into_iter().filter_map(running).collect())
        }
    }
}
