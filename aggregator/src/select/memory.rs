//! The last 15 minutes as they are in memory: the ledger's views of the cluster and of its groups, and the blocks of the
//! nodes that are held here.

use std::{collections::BTreeMap, sync::Arc};

use starling_history::{Cell, Coverage, Selection, SeriesCells, Subject, Tier};
use starling_ledger::TickView;
use starling_proto::{
    catalogue::{Kind, Statistic},
    group::Group,
    histogram::Histogram,
    ids::NodeId,
    limits::{LATE_WINDOW, LIVE_WINDOW},
    series::Series,
};

use super::{
    Folding, Mixed, Part, Source, Stop,
    chunks::{Chunks, KEPT_BYTES_MAX, Version},
    picks::{Needs, Picks},
};
use crate::{
    blocks::{Picked, PickedValue},
    fleet::ClusterFleet,
    ingest::Registry,
    ledger_task::LedgerHandle,
    metrics::Metrics,
    reading::{Amount, Entry, Reading},
};

/// See the module.
pub(crate) struct Memory {
    ledger: LedgerHandle,
    registry: Arc<Registry>,
    fleet: Arc<ClusterFleet>,
    /// What was read of the cluster and of groups.
    chunks: Chunks,
    /// What was picked of nodes.
    picks: Picks,
}

impl Memory {
    /// What these hold.
    pub(crate) fn new(
        ledger: LedgerHandle,
        registry: Arc<Registry>,
        fleet: Arc<ClusterFleet>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let chunks = Chunks::new(KEPT_BYTES_MAX, "memory", metrics.clone());
        Self { ledger, registry, fleet, chunks, picks: Picks::new(metrics) }
    }

    /// The part of `from..=to` that can be here of the last `back` seconds: nothing newer than what is settled.
    fn window(&self, (from, to): (u32, u32), back: u32) -> (u32, u32) {
        let settled = self.ledger.published().borrow().settled;
        (from.max(settled.saturating_sub(back - 1)), to.min(settled))
    }

    /// A node, in seconds; with `folding` what is picked of open blocks is gone on with at the next question of the same kind.
    fn of_node(
        &self,
        node: &NodeId,
        selection: &Selection,
        (from, to): (u32, u32),
        folding: Option<&Folding<'_>>,
    ) -> Part {
        let Some(node) = self.registry.holder(node) else { return Part::default() };
        let question = folding.map(|folding| &folding.identity);
        let needs = question.map(|question| self.picks.needs(question, selection));
        let needs = needs.unwrap_or_else(|| Arc::new(Needs::of(selection)));
        let mut seconds = Seconds::new(Subject::Node(node.id.clone()), selection, &needs);
        let picked = self.picks.pick((&node, question), selection, &needs, (from, to));
        if needs.derived.is_empty() {
            return seconds.of_picked(&picked);
        }
        let mut columns: Vec<_> =
            picked.series.iter().map(|(series, values)| (series, values.iter().peekable())).collect();
        for (tick, dropped) in &picked.seconds {
            let mut entries = Vec::with_capacity(columns.len());
            for (series, values) in &mut columns {
                if let Some((_, value)) = values.next_if(|(at, _)| at == tick) {
                    entries.push(Entry { series, nodes: 1, amount: amount(series, value) });
                }
            }
            seconds.take(*tick, Coverage::second(1, 1, u64::from(*dropped)), &Reading::of_entries(entries));
        }
        seconds.finish()
    }

    /// What is merged, in seconds; with `folding` in the steps of its question histograms may be merged already.
    fn of_group(
        &self,
        group: &Group,
        selection: &Selection,
        (from, to): (u32, u32),
        folding: Option<&Folding<'_>>,
        stop: &Stop,
    ) -> Part {
        let read = |from: u32, to: u32| self.seconds_of_group(group, selection, (from, to), stop);
        let Some(folding) = folding else { return read(from, to) };
        let version = |tick: u32| {
            let view = self.ledger.view(tick).filter(|view| view.revision > 0)?;
            Some(Version { revision: view.revision, coverage: self.coverage(group, &view, view.sums.frames(group)) })
        };
        self.chunks.of_memory((folding, group.name()), (from, to), version, read, stop)
    }

    fn seconds_of_group(&self, group: &Group, selection: &Selection, (from, to): (u32, u32), stop: &Stop) -> Part {
        let needs = Needs::of(selection);
        let mut seconds = Seconds::new(Subject::from(group.clone()), selection, &needs);
        for tick in from..=to {
            if stop.is_due() {
                break;
            }
            let Some(view) = self.ledger.view(tick) else { continue };
            if view.revision == 0 {
                let expected = Coverage { nodes_expected: view.coverage.expected, ..Coverage::default() };
                seconds.coverage.insert((tick, Tier::Second), expected);
                continue;
            }
            let (cells, census) = view.sums.some(group, |series| needs.needs(selection, series));
            let coverage = self.coverage(group, &view, census.frames());
            seconds.take(tick, coverage, &Reading::of_cells(cells.iter().map(|(series, cell)| (series, cell))));
        }
        seconds.finish()
    }

    /// How much there is of a second of `group`, of which `frames` are in the view.
    fn coverage(&self, group: &Group, view: &TickView, frames: u32) -> Coverage {
        let nodes = self.fleet.coverage(group, view.tick, view.coverage, frames);
        Coverage::second(nodes.reporting, nodes.expected, u64::from(view.skipped_cells))
    }
}

impl Source for Memory {
    fn nodes(&self, from: u32, to: u32) -> Vec<NodeId> {
        let (from, to) = self.window((from, to), LIVE_WINDOW);
        let held = |node: &Arc<crate::ingest::IngestNode>| node.newest() >= from && from <= to;
        self.registry.holders().iter().filter(|node| held(node)).map(|node| node.id.clone()).collect()
    }

    fn oldest(&self) -> Option<u32> {
        let (from, to) = self.window((0, u32::MAX), LIVE_WINDOW);
        (from..=to).find(|tick| self.ledger.view(*tick).is_some_and(|view| view.revision > 0))
    }

    fn read(
        &self,
        subject: &Subject,
        (selection, _): (&Selection, u32),
        folding: Option<(&Folding<'_>, u32)>,
        stop: &Stop,
    ) -> Mixed {
        let back = match subject {
            // Blocks are held until they are on the disk, however old they are by then.
            Subject::Node(_) => u32::MAX,
            // As long as frames are taken: what has just been acknowledged is on the disk only some time later.
            Subject::Group(_) | Subject::Cluster => LATE_WINDOW,
        };
        let window = self.window((selection.from, selection.to), back);
        if window.0 > window.1 {
            return Mixed::default();
        }
        let folding = folding.map(|(folding, _)| folding);
        let part = match subject {
            Subject::Node(node) => self.of_node(node, selection, window, folding),
            Subject::Group(group) => self.of_group(group, selection, window, folding, stop),
            Subject::Cluster => self.of_group(&Group::cluster(), selection, window, folding, stop),
        };
        Mixed { part, ..Mixed::default() }
    }
}

fn amount<'a>(series: &Series, value: &'a PickedValue) -> Amount<'a> {
    match value {
        PickedValue::Integer(value) if series.kind() == Kind::Counter => Amount::Counter((*value).into()),
        PickedValue::Integer(value) => {
            Amount::Gauge { sum: (*value).into(), min: *value, max: *value, distribution: None }
        }
        PickedValue::Histogram(histogram) => Amount::of_histogram(histogram.as_ref()),
    }
}

/// Seconds of one subject becoming cells.
struct Seconds<'a> {
    subject: Subject,
    selection: &'a Selection,
    needs: &'a Needs,
    cells: BTreeMap<(Series, bool), Vec<(u32, Cell)>>,
    coverage: BTreeMap<(u32, Tier), Coverage>,
}

impl<'a> Seconds<'a> {
    const fn new(subject: Subject, selection: &'a Selection, needs: &'a Needs) -> Self {
        Self { subject, selection, needs, cells: BTreeMap::new(), coverage: BTreeMap::new() }
    }

    /// Takes in one second, in ascending order.
    fn take(&mut self, tick: u32, coverage: Coverage, reading: &Reading<'_>) {
        self.coverage.insert((tick, Tier::Second), coverage);
        for entry in reading.entries().iter().filter(|entry| self.selection.wants_series(entry.series)) {
            let cell = cell(entry, self.selection.histograms);
            self.cells.entry((entry.series.clone(), false)).or_default().push((tick, cell));
        }
        for metric in &self.needs.derived {
            for with in reading.derived_series(metric) {
                if !self.selection.wants(metric.name, &with) {
                    continue;
                }
                let read = reading.statistics(metric.name, &with, &[Statistic::Value, Statistic::Nodes]);
                let [Some(value), Some(nodes)] = read[..] else { continue };
                let kept =
                    Series::kept(metric.name, &with, metric.kind, metric.unit, metric.kept_scale(), metric.scope);
                if let Ok(series) = kept {
                    let cell = Cell { nodes: nodes as u64, ..Cell::second(value) };
                    self.cells.entry((series, true)).or_default().push((tick, cell));
                }
            }
        }
    }

    /// Of one node, when nothing that is computed is wanted.
    fn of_picked(self, picked: &Picked) -> Part {
        let second =
            |(tick, dropped): &(u32, u32)| ((*tick, Tier::Second), Coverage::second(1, 1, u64::from(*dropped)));
        let series = picked.series.iter().map(|(series, values)| SeriesCells {
            subject: self.subject.clone(),
            series: series.clone(),
            derived: false,
            tier: Tier::Second,
            cells: values
                .iter()
                .map(|(tick, value)| {
                    let entry = Entry { series, nodes: 1, amount: amount(series, value) };
                    (*tick, cell(&entry, self.selection.histograms))
                })
                .collect(),
        });
        Part { series: series.collect(), coverage: picked.seconds.iter().map(second).collect() }
    }

    fn finish(self) -> Part {
        let Self { subject, cells, coverage, .. } = self;
        let series = cells.into_iter().map(|((series, derived), cells)| SeriesCells {
            subject: subject.clone(),
            series,
            derived,
            tier: Tier::Second,
            cells,
        });
        Part { series: series.collect(), coverage }
    }
}

/// One second of a series.
fn cell(entry: &Entry<'_>, histograms: bool) -> Cell {
    let series = entry.series;
    let shared = |histogram: &Arc<Histogram>| histograms.then(|| histogram.clone());
    let cell = match entry.amount {
        Amount::Counter(sum) => Cell::second(series.to_f64(sum)),
        Amount::Gauge { sum, min, max, distribution } => Cell {
            node_min: Some(series.to_f64(min.into())),
            node_max: Some(series.to_f64(max.into())),
            histogram: distribution.and_then(shared),
            ..Cell::second(series.to_f64(sum))
        },
        Amount::Histogram(histogram) => Cell { histogram: shared(histogram), ..Cell::second(histogram.count() as f64) },
    };
    Cell { nodes: entry.nodes.into(), ..cell }
}
