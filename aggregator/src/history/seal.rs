//! What memory holds of a window of 300 seconds, as blocks of the finest tier.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, LazyLock},
};

use starling_history::{Block, BlockBuilder, BlockError, Coverage, SecondValue, Subject};
use starling_ledger::{
    self as ledger,
    rollup::{Cell, GaugeSum, Sum, Sums},
};
use starling_proto::{
    catalogue::Kind,
    frame::{Columns, Second},
    group::Group,
    histogram::Histogram,
    ids::NodeId,
    series::Series,
};

use crate::blocks::BLOCK_SECONDS;

/// Groups whose seconds are gathered at once: each takes some megabytes for 200 series.
const GROUPS_AT_ONCE: usize = 8;

/// What a histogram series that counted nothing in a second reported.
static EMPTY: LazyLock<Arc<Histogram>> = LazyLock::new(Arc::default);

/// How many nodes of a group are expected: known by whoever keeps the table of nodes.
pub(crate) trait Expects: Send + Sync {
    /// The nodes of `group` in the second `tick`, of which `cluster` says those of the whole cluster and `frames` are
    /// behind the sums of the group.
    fn coverage(&self, group: &Group, tick: u32, cluster: ledger::Coverage, frames: u32) -> ledger::Coverage;
}

/// A second of the cluster and its groups.
pub(super) struct ClusterSecond {
    /// Unix seconds.
    pub(super) tick: u32,
    /// As [`ledger::TickView::rank`].
    pub(super) rank: u32,
    /// Nodes behind it.
    pub(super) coverage: ledger::Coverage,
    /// Frames behind each group.
    pub(super) frames_of: BTreeMap<Group, u32>,
    /// Values that are missing in the sums.
    pub(super) skipped: u32,
    /// By group and series.
    pub(super) sums: Arc<Sums>,
}

/// A block of the `seconds` of a node in the window at `start`, ascending, sealed at `now`: of two versions the later one counts.
///
/// # Errors
/// [`BlockError`] when it is beyond the limits of a block.
pub(super) fn of_node(node: &NodeId, start: u32, seconds: &[Second], now: u32) -> Result<Block, BlockError> {
    let mut builder = BlockBuilder::new(Subject::Node(node.clone()), start);
    for second in seconds {
        let coverage = Coverage::second(1, 1, second.dropped.into());
        let pushed = builder.push(second.tick, now.into(), coverage, values(second));
        debug_assert!(pushed.is_ok(), "seconds of a block ascend");
    }
    builder.seal()
}

fn values(second: &Second) -> impl Iterator<Item = (&Series, SecondValue<'_>)> {
    [&second.cluster, &second.node].into_iter().flat_map(|columns| {
        let series = columns.layout.series().iter().enumerate();
        series.map(|(position, series)| (series.series(), value(series.kind(), columns, position)))
    })
}

fn value(kind: Kind, columns: &Columns, position: usize) -> SecondValue<'_> {
    let value = columns.values.get(position).copied().unwrap_or_default();
    match kind {
        Kind::Counter => SecondValue::Counter { sum: value.into(), nodes: 1 },
        Kind::Gauge => SecondValue::Gauge { sum: value.into(), nodes: 1, min: value, max: value, distribution: None },
        Kind::Histogram => {
            SecondValue::Histogram { histogram: columns.histogram(position).unwrap_or(&EMPTY), nodes: 1 }
        }
    }
}

/// The blocks of the cluster and of each group of one window, handed to `each` one by one. `second` gives the seconds
/// there are, again for each few groups: all of them unpacked would take hundreds of megabytes. Of two versions of a
/// second the one of the higher rank counts, of equals the one that was sealed later.
pub(super) fn of_cluster(
    start: u32,
    now: u32,
    expects: &dyn Expects,
    second: impl Fn(u32) -> Option<ClusterSecond>,
    mut each: impl FnMut(Result<Block, BlockError>),
) {
    let mut done = BTreeSet::<Group>::new();
    loop {
        let mut builders = BTreeMap::<Group, BlockBuilder>::new();
        let mut more = false;
        for tick in start..start + BLOCK_SECONDS {
            let Some(second) = second(tick) else { continue };
            for group in second.sums.groups() {
                if done.contains(group) {
                    continue;
                }
                if !builders.contains_key(group) && builders.len() >= GROUPS_AT_ONCE {
                    more = true;
                    continue;
                }
                let new = || BlockBuilder::new(Subject::from(group.clone()), start);
                let builder = builders.entry(group.clone()).or_insert_with(new);
                let revision = u64::from(second.rank) << 32 | u64::from(now);
                let pushed =
                    builder.push(tick, revision, coverage(&second, group, expects), cells(&second.sums, group));
                debug_assert!(pushed.is_ok(), "seconds of a window ascend");
            }
        }
        for (group, builder) in builders {
            done.insert(group);
            each(builder.seal());
        }
        if !more {
            return;
        }
    }
}

fn coverage(second: &ClusterSecond, group: &Group, expects: &dyn Expects) -> Coverage {
    let frames = second.frames_of.get(group).copied().unwrap_or(0);
    let nodes = expects.coverage(group, second.tick, second.coverage, frames);
    Coverage::second(nodes.reporting, nodes.expected, second.skipped.into())
}

fn cells<'a>(sums: &'a Sums, group: &Group) -> impl Iterator<Item = (&'a Series, SecondValue<'a>)> {
    sums.cells(group).map(|(series, Cell { frames, sum })| {
        let nodes = (*frames).max(1);
        let value = match sum {
            Sum::Counter(sum) => SecondValue::Counter { sum: i128::try_from(*sum).unwrap_or(i128::MAX), nodes },
            Sum::Gauge(GaugeSum { sum, min, max, distribution }) => {
                SecondValue::Gauge { sum: *sum, nodes, min: *min, max: *max, distribution: distribution.as_ref() }
            }
            Sum::Histogram(histogram) => SecondValue::Histogram { histogram, nodes },
        };
        (series, value)
    })
}
