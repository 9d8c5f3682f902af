//! The cluster of its nodes, second by second, as a ledger merges it.
//!
//! In the ledger's own form, exact integers in the fixed point of the series, as long as all nodes have a value that it can hold. Its
//! `Sums` are not used for that: an import also has numbers with a fraction, which no frame can carry and of which the ledger has no sum.
//! A series in which one of them occurs is summed in floats, and its block says so.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use starling_history::{Block, BlockBuilder, Cell, Coverage, SecondValue, Selection, Subject, Tier};
use starling_proto::{
    catalogue::{self, Kind, Scope},
    histogram::Histogram,
    series::Series,
};

use super::fixed::fixed;

/// One series in one second over nodes.
#[derive(Debug, Clone)]
struct Sum {
    /// In fixed point, while all of them are.
    fixed: Option<(i128, i64, i64)>,
    sum: f64,
    min: f64,
    max: f64,
    nodes: u32,
    /// The values of a histogram series, or of the nodes of a gauge that keeps them.
    histogram: Option<Arc<Histogram>>,
}

/// What one second of the cluster is to be.
pub(super) struct Second {
    tick: u32,
    /// Nodes that reported.
    nodes: u32,
    values: Vec<(Series, Sum)>,
}

/// Sums of a window of 300 s.
pub(super) struct Merged {
    start: u32,
    /// By series and second.
    sums: BTreeMap<Series, BTreeMap<u32, Sum>>,
    /// Nodes that reported, by second.
    nodes: BTreeMap<u32, u32>,
}

impl Merged {
    pub(super) fn new(start: u32) -> Self {
        Self { start, sums: BTreeMap::new(), nodes: BTreeMap::new() }
    }

    /// Adds a node's block, without some series.
    pub(super) fn add(&mut self, block: &Block, but: &HashSet<&Series>) -> anyhow::Result<()> {
        for (tick, coverage) in block.coverage() {
            *self.nodes.entry(tick).or_default() += coverage.seconds;
        }
        let selection = Selection::all(self.start, self.start + (Tier::Second.block_seconds() - 1));
        let wanted = |series: &Series| series.scope() == Scope::Cluster && !but.contains(series);
        for one in block.read(&selection)?.into_iter().filter(|one| !one.derived && wanted(&one.series)) {
            let keeps = catalogue::find(one.series.name()).is_some_and(|metric| metric.distribution);
            let sums = self.sums.entry(one.series.clone()).or_default();
            for (tick, cell) in one.cells {
                let more = Sum::of(&one.series, &cell, keeps);
                match sums.get_mut(&tick) {
                    Some(sum) => sum.add(&more)?,
                    None => drop(sums.insert(tick, more)),
                }
            }
        }
        Ok(())
    }

    /// The seconds that `wanted` wants by their nodes.
    pub(super) fn seconds(self, wanted: impl Fn(u32, u32) -> bool) -> Vec<Second> {
        let ticks: BTreeSet<u32> = self.sums.values().flat_map(BTreeMap::keys).copied().collect();
        let nodes_of = |tick: u32| self.nodes.get(&tick).copied().unwrap_or(0);
        let mut seconds: BTreeMap<u32, Second> = ticks
            .into_iter()
            .filter(|tick| wanted(*tick, nodes_of(*tick)))
            .map(|tick| (tick, Second { tick, nodes: nodes_of(tick), values: Vec::new() }))
            .collect();
        for (series, sums) in self.sums {
            for (tick, sum) in sums {
                if let Some(second) = seconds.get_mut(&tick) {
                    second.values.push((series.clone(), sum));
                }
            }
        }
        seconds.into_values().collect()
    }

    /// The block of some seconds.
    pub(super) fn block(start: u32, revision: &impl Fn(u32) -> u64, seconds: &[Second]) -> anyhow::Result<Block> {
        let mut broken: BTreeSet<&Series> = BTreeSet::new();
        for (series, _) in seconds.iter().flat_map(|second| &second.values).filter(|(_, sum)| sum.fixed.is_none()) {
            broken.insert(series);
        }
        let none = Arc::new(Histogram::empty());
        let mut builder = BlockBuilder::new(Subject::Cluster, start);
        for second in seconds {
            let values = second.values.iter().map(|(series, sum)| {
                let Sum { sum: float, min, max, nodes, histogram, .. } = sum;
                let value = match (series.kind(), sum.fixed.filter(|_| !broken.contains(series))) {
                    (Kind::Histogram, _) => {
                        SecondValue::Histogram { histogram: histogram.as_ref().unwrap_or(&none), nodes: *nodes }
                    }
                    (Kind::Counter, Some((sum, ..))) => SecondValue::Counter { sum, nodes: *nodes },
                    (Kind::Gauge, Some((sum, min, max))) => {
                        SecondValue::Gauge { sum, nodes: *nodes, min, max, distribution: histogram.as_ref() }
                    }
                    (_, None) => SecondValue::Float { sum: *float, nodes: *nodes, min: *min, max: *max },
                };
                (series, value)
            });
            let coverage = Coverage::second(second.nodes, second.nodes.max(1), 0);
            builder.push(second.tick, revision(second.nodes), coverage, values)?;
        }
        Ok(builder.seal()?)
    }
}

impl Sum {
    /// Of one node.
    fn of(series: &Series, cell: &Cell, keeps: bool) -> Self {
        let whole = fixed(series, cell.sum);
        let histogram = match (&cell.histogram, whole) {
            (Some(histogram), _) => Some(histogram.clone()),
            (None, Some(value)) if keeps => Some(Arc::new(Histogram::of(u64::try_from(value).unwrap_or(0), 1))),
            _ => None,
        };
        let (sum, fixed) = (cell.sum, whole.map(|value| (value.into(), value, value)));
        Self { fixed, sum, min: sum, max: sum, nodes: 1, histogram }
    }

    fn add(&mut self, other: &Self) -> anyhow::Result<()> {
        self.fixed = match (self.fixed, other.fixed) {
            (Some((a, low, high)), Some((b, min, max))) => Some((a + b, low.min(min), high.max(max))),
            _ => None,
        };
        self.sum += other.sum;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.nodes += other.nodes;
        self.histogram = match (&self.histogram, &other.histogram) {
            (Some(a), Some(b)) => Some(Arc::new(a.plus(b)?)),
            (a, b) => a.clone().or_else(|| b.clone()),
        };
        Ok(())
    }
}
