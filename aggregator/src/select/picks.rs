//! What questions picked of the open blocks of nodes: the next question of the same kind reads only the rows that came since.

use std::sync::Arc;

use starling_history::Selection;
use starling_proto::{
    catalogue::{self, Metric},
    ids::NodeId,
    series::Series,
};
use starling_store::Recent;

use crate::{
    blocks::{Begun, Picked, WantedOfLayouts},
    ingest::IngestNode,
    metrics::Metrics,
};

/// Bytes of what is kept: one series of 1,000 nodes over a whole open block, or the last minute of three.
const KEPT_BYTES_MAX: usize = 12 << 20;
/// Bytes of it of one node: of questions about hundreds of series nothing is kept.
const ONE_BYTES_MAX: usize = 64 << 10;
/// Bytes of which series of which layouts a question wants: some hundred questions.
const WANTED_BYTES_MAX: usize = 1 << 20;
/// What one of these is taken for: a position and a kind of each of some hundred series.
const WANTED_BYTES: usize = 4 << 10;

/// Of each open block of a node.
type BegunBlocks = Arc<[Arc<Begun>]>;

/// What a selection needs, found out once for all nodes.
#[derive(Debug, Default)]
pub(super) struct Needs {
    /// The wanted metrics that are computed.
    pub(super) derived: Vec<&'static Metric>,
    /// What those come from.
    operands: Vec<&'static str>,
    /// Which series of which layouts are wanted.
    of_layouts: WantedOfLayouts,
}

impl Needs {
    /// Of a selection.
    pub(super) fn of(selection: &Selection) -> Self {
        let wanted = |metric: &&'static Metric| !metric.is_sent() && selection.wants_name(metric.name);
        let derived: Vec<_> = catalogue::METRICS.iter().copied().filter(wanted).collect();
        let mut operands = Vec::new();
        derived.iter().for_each(|metric| add_operands(metric, &mut operands));
        Self { derived, operands, of_layouts: WantedOfLayouts::default() }
    }

    /// Whether a series is wanted by the selection that it is of, or something that is wanted comes from it.
    pub(super) fn needs(&self, selection: &Selection, series: &Series) -> bool {
        selection.wants_series(series) || self.operands.contains(&series.name())
    }
}

fn add_operands(metric: &Metric, names: &mut Vec<&'static str>) {
    for operand in metric.derivation.iter().flat_map(|derivation| derivation.operands()) {
        names.push(operand.metric.name);
        add_operands(operand.metric, names);
    }
}

/// See the module. Shared.
pub(super) struct Picks {
    begun: Recent<(Arc<str>, NodeId), BegunBlocks>,
    needs: Recent<Arc<str>, Arc<Needs>>,
    metrics: Arc<Metrics>,
}

impl Picks {
    /// Nothing yet.
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self { begun: Recent::new(KEPT_BYTES_MAX), needs: Recent::new(WANTED_BYTES_MAX), metrics }
    }

    /// What a question needs, which alone decides its selection beside the seconds.
    pub(super) fn needs(&self, question: &Arc<str>, selection: &Selection) -> Arc<Needs> {
        self.needs.get(question).unwrap_or_else(|| {
            let new = Arc::new(Needs::of(selection));
            self.needs.keep(question.clone(), new.clone(), WANTED_BYTES + question.len());
            new
        })
    }

    /// The seconds of the selection of a node, picked for a question; without one nothing is kept.
    pub(super) fn pick(
        &self,
        (node, question): (&IngestNode, Option<&Arc<str>>),
        selection: &Selection,
        needs: &Needs,
        (from, to): (u32, u32),
    ) -> Picked {
        let wanted = |series: &Series| needs.needs(selection, series);
        let Some(question) = question else { return node.pick((from, to), &[], (wanted, &needs.of_layouts)).0 };
        let key = (question.clone(), node.id.clone());
        let begun = self.begun.get(&key);
        let before = begun.as_deref().unwrap_or_default();
        let (picked, after) = node.pick((from, to), before, (wanted, &needs.of_layouts));
        let is_same = after.len() == before.len() && after.iter().zip(before).all(|(a, b)| Arc::ptr_eq(a, b));
        let outcome = match begun {
            Some(_) if is_same => "found",
            Some(_) => "continued",
            None => "made",
        };
        self.metrics.history_picks_lookups.of(outcome).inc();
        if !is_same {
            self.begun.forget(&key);
            let bytes: usize = after.iter().map(|begun| begun.bytes() + 2 * size_of::<usize>()).sum();
            // Histograms are read of a few seconds only.
            if bytes <= ONE_BYTES_MAX && !after.iter().any(|begun| begun.has_histograms()) {
                self.begun.keep(key, after.into(), bytes + question.len());
            }
            self.metrics.history_picks_bytes.set(self.begun.stats().bytes as f64);
        }
        picked
    }
}
