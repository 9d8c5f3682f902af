//! The nodes of the whole cluster at their latest second: our own rows and those that peers tell.
//!
//! Each aggregator sends the rows of the nodes it has heard of itself to every peer once a second. This table is not
//! part of the ledger: it is a picture, and the newest row of a node wins.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use starling_proto::{
    catalogue::{self, Statistic},
    ids::{NodeId, WriterId},
    limits::{LABELS_MAX, NODE_FORGOTTEN_AFTER},
    v1::{self, NodeState},
};
use tokio::sync::watch;

use crate::{
    app::App,
    clock::{now_ms, tick_of},
    ingest::Node,
    membership::View,
    metrics,
    reading::Reading,
};
use starling_proto::group::Group;

/// Rows kept of all peers together; further nodes are left out and counted.
const ROWS_MAX: usize = 100_000;
/// Cores shown per node.
pub(crate) const BUSIEST_PER_NODE: usize = 4;
/// Cores shown for the cluster.
const BUSIEST: usize = 8;
/// Seconds without a frame after which a node is called silent.
const SILENT_AFTER: u32 = 3;
/// A row further ahead of our clock than this is not believed.
const AHEAD_MAX: u32 = 60;

/// A row with the process that told it; `None` for ourselves.
#[derive(Debug, Clone)]
struct Told {
    row: v1::NodeRow,
    by: WriterId,
    own: bool,
}

/// See the module.
pub(crate) struct Fleet {
    /// Plain mutex, short sections: at most one pass over the rows.
    rows: Mutex<BTreeMap<NodeId, Told>>,
    own: watch::Sender<Arc<v1::NodeTable>>,
    writer: WriterId,
}

/// Where a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The process that told the newest row of it.
    pub(crate) writer: WriterId,
    /// The name it gave for the aggregator that holds the stream; empty when none does.
    pub(crate) aggregator_id: String,
}

impl Fleet {
    /// An empty table.
    pub(crate) fn new(writer: WriterId) -> Self {
        Self { rows: Mutex::default(), own: watch::Sender::new(Arc::default()), writer }
    }

    fn rows(&self) -> MutexGuard<'_, BTreeMap<NodeId, Told>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Our own rows, now and each second, for the peers.
    pub(crate) fn own(&self) -> watch::Receiver<Arc<v1::NodeTable>> {
        self.own.subscribe()
    }

    /// Replaces our own rows.
    fn publish(&self, table: v1::NodeTable) {
        self.take(self.writer, true, &table.nodes);
        self.own.send_replace(Arc::new(table));
    }

    /// Takes the rows of a peer.
    pub(crate) fn take_from(&self, peer: WriterId, table: &v1::NodeTable) {
        self.take(peer, false, &table.nodes);
    }

    fn take(&self, by: WriterId, own: bool, table: &[v1::NodeRow]) {
        let now = tick_of(now_ms());
        let mut left_out = 0;
        let mut rows = self.rows();
        for row in table {
            let Ok(id) = NodeId::parse(&row.node_id) else { continue };
            if row.last_tick > now + AHEAD_MAX || row.labels.len() > LABELS_MAX || row.busiest.len() > BUSIEST_PER_NODE
            {
                continue;
            }
            match rows.get(&id) {
                Some(held) if held.by != by && !newer(row, &held.row) => {}
                None if rows.len() >= ROWS_MAX => left_out += 1,
                _ => drop(rows.insert(id, Told { row: row.clone(), by, own })),
            }
        }
        rows.retain(|_, told| told.row.last_tick + NODE_FORGOTTEN_AFTER >= now);
        metrics::rows_left_out(left_out);
    }

    /// Where `node` is; `None` when nobody heard of it in the last quarter of an hour.
    pub(crate) fn place(&self, node: &NodeId) -> Option<Place> {
        self.rows().get(node).map(|told| Place { writer: told.by, aggregator_id: told.row.aggregator_id.clone() })
    }

    /// Names that look like `node`, for an error message, and how many nodes there are.
    pub(crate) fn similar(&self, node: &str) -> (Vec<String>, usize) {
        let rows = self.rows();
        let close = |name: &&NodeId| {
            let name = name.as_str();
            let same_start = name.get(..3).is_some_and(|start| node.starts_with(start));
            !node.is_empty() && (name.contains(node) || node.contains(name) || same_start)
        };
        (rows.keys().filter(close).take(3).map(ToString::to_string).collect(), rows.len())
    }

    /// The values of label `key` among all nodes, as groups ("label:value"), sorted.
    pub(crate) fn groups_of(&self, key: &str) -> Vec<String> {
        let values: BTreeSet<String> =
            self.rows().values().filter_map(|told| told.row.labels.get(key).cloned()).collect();
        values.into_iter().map(|value| format!("{key}:{value}")).collect()
    }

    /// The rows at second `tick`, by name, of one group or of all nodes.
    pub(crate) fn table(&self, tick: u32, group: &Group, view: &View) -> Vec<v1::NodeRow> {
        self.rows()
            .values()
            .filter(|told| is_in(group, &told.row))
            .map(|told| {
                let holds = told.own || view.live.iter().any(|member| member.writer == told.by);
                at(told.row.clone(), tick, holds)
            })
            .collect()
    }

    /// Nodes of `group` that are expected at second `tick`: heard of lately, and not stopped before.
    pub(crate) fn expected(&self, group: &Group, tick: u32) -> u32 {
        let expected = |told: &&Told| {
            let row = &told.row;
            is_in(group, row)
                && row.last_tick + NODE_FORGOTTEN_AFTER >= tick
                && (row.state() != NodeState::Stopped || row.last_tick >= tick)
        };
        u32::try_from(self.rows().values().filter(expected).count()).unwrap_or(u32::MAX)
    }

    /// The busiest cores of the nodes that report at second `tick`.
    pub(crate) fn busiest(&self, tick: u32, group: &Group) -> Vec<v1::CoreUtilization> {
        let mut cores: Vec<v1::CoreUtilization> = Vec::new();
        for told in self.rows().values() {
            let row = &told.row;
            if is_in(group, row) && row.last_tick.abs_diff(tick) <= SILENT_AFTER {
                cores.extend(row.busiest.iter().cloned());
            }
        }
        sort_busiest(&mut cores, BUSIEST);
        cores
    }
}

fn is_in(group: &Group, row: &v1::NodeRow) -> bool {
    group.name().split_once(':').is_none_or(|(key, value)| row.labels.get(key).is_some_and(|held| held == value))
}

/// The row of a node that moved: the one with the newer second, of equal ones that with a stream.
fn newer(row: &v1::NodeRow, held: &v1::NodeRow) -> bool {
    (row.last_tick, !row.aggregator_id.is_empty()) > (held.last_tick, !held.aggregator_id.is_empty())
}

/// A row as it is at `tick`; `holds`: the aggregator that told it is alive.
fn at(mut row: v1::NodeRow, tick: u32, holds: bool) -> v1::NodeRow {
    if row.state() != NodeState::Stopped {
        let silent = tick > row.last_tick + SILENT_AFTER;
        row.set_state(if silent { NodeState::Silent } else { NodeState::Reporting });
    }
    if !holds {
        row.aggregator_id.clear();
    }
    row
}

fn sort_busiest(cores: &mut Vec<v1::CoreUtilization>, keep: usize) {
    cores.sort_by(|a, b| {
        b.utilization.total_cmp(&a.utilization).then_with(|| a.node_id.cmp(&b.node_id)).then(a.core.cmp(&b.core))
    });
    cores.truncate(keep);
}

/// The row of one of our own nodes; `None` before its first frame.
pub(crate) fn row_of(node: &Node, aggregator_id: &NodeId) -> Option<v1::NodeRow> {
    let latest = node.latest()?;
    let (connected, stopped) = node.presence();
    let about = node.about();
    let reading = Reading::of_node_shown(&latest.second);
    let of = |metric| reading.value(metric, &[]);
    let mut busiest: Vec<v1::CoreUtilization> = reading
        .cores()
        .into_iter()
        .zip(0u32..)
        .map(|(utilization, core)| v1::CoreUtilization { node_id: node.id.to_string(), core, utilization })
        .collect();
    sort_busiest(&mut busiest, BUSIEST_PER_NODE);
    let state = if stopped { NodeState::Stopped } else { NodeState::Reporting };
    Some(v1::NodeRow {
        node_id: node.id.to_string(),
        state: state.into(),
        last_tick: latest.second.tick,
        aggregator_id: if connected { aggregator_id.to_string() } else { String::new() },
        labels: about.labels.clone().into_iter().collect(),
        simulated: about.simulated,
        cpu: reading.busy(),
        memory: of(&catalogue::MEMORY_UTILIZATION),
        requests_per_second: of(&catalogue::REQUESTS),
        errors_per_second: of(&catalogue::ERRORS),
        p99_micros: reading.statistic(catalogue::DURATION.name, &[], Statistic::P99).map(|seconds| seconds * 1e6),
        load1: of(&catalogue::LOAD_1M),
        connections: of(&catalogue::TCP_OPEN),
        cores: about.facts.cores,
        busiest,
        delay_ms: latest.delay_ms,
    })
}

/// Builds our own rows each time a second is settled, until the stop. Also forgets old nodes.
pub(crate) async fn publish_rows(app: Arc<App>) {
    let mut published = app.ledger.published();
    let mut settled = 0;
    loop {
        let newest = published.borrow_and_update().settled;
        if newest != settled {
            settled = newest;
            let builder = app.clone();
            // 1,000 rows take tens of milliseconds.
            let built = tokio::task::spawn_blocking(move || {
                let mut nodes: Vec<v1::NodeRow> =
                    builder.registry.all().iter().filter_map(|node| row_of(node, &builder.id)).collect();
                nodes.sort_by(|a, b| a.node_id.cmp(&b.node_id));
                builder.fleet.publish(v1::NodeTable { tick: newest, nodes, completeness: None });
                builder.registry.prune(tick_of(now_ms()));
            });
            if let Err(error) = built.await {
                tracing::error!(%error, "node rows were not built");
            }
        }
        tokio::select! {
            biased;
            () = app.stop.cancelled() => return,
            changed = published.changed() => if changed.is_err() { return },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, last_tick: u32, aggregator: &str) -> v1::NodeRow {
        let core = |n: u32| v1::CoreUtilization { node_id: name.into(), core: n, utilization: f64::from(n) / 10.0 };
        v1::NodeRow {
            node_id: name.into(),
            last_tick,
            aggregator_id: aggregator.into(),
            labels: [("zone".to_owned(), "a".to_owned())].into(),
            busiest: vec![core(1), core(2)],
            ..v1::NodeRow::default()
        }
    }

    fn table(nodes: Vec<v1::NodeRow>) -> v1::NodeTable {
        v1::NodeTable { tick: 0, nodes, completeness: None }
    }

    fn id(name: &str) -> NodeId {
        NodeId::parse(name).unwrap()
    }

    #[test]
    fn the_newest_row_wins_and_a_stream_breaks_the_tie() {
        let now = tick_of(now_ms());
        let (one, two) = (WriterId::random(), WriterId::random());
        let fleet = Fleet::new(one);
        fleet.publish(table(vec![row("a", now, "one")]));
        fleet.take_from(two, &table(vec![row("a", now - 1, "two"), row("b", now, "two")]));
        assert_eq!(fleet.place(&id("a")).unwrap().aggregator_id, "one");
        // It moved: our own row has no stream any more.
        fleet.publish(table(vec![row("a", now, "")]));
        fleet.take_from(two, &table(vec![row("a", now, "two")]));
        assert_eq!(fleet.place(&id("a")).unwrap(), Place { writer: two, aggregator_id: "two".into() });
        assert_eq!(fleet.place(&id("c")), None);
        assert_eq!(fleet.similar("b1"), (vec!["b".to_owned()], 2));
    }

    #[test]
    fn rows_age() {
        let base = row("a", 100, "one");
        assert_eq!(at(base.clone(), 103, true).state(), NodeState::Reporting);
        let silent = at(base.clone(), 104, false);
        assert_eq!((silent.state(), silent.aggregator_id.as_str()), (NodeState::Silent, ""));
        let mut stopped = base;
        stopped.set_state(NodeState::Stopped);
        assert_eq!(at(stopped, 500, true).state(), NodeState::Stopped);
    }

    #[test]
    fn hostile_rows_are_skipped_and_old_ones_go() {
        let now = tick_of(now_ms());
        let fleet = Fleet::new(WriterId::random());
        let peer = WriterId::random();
        fleet
            .take_from(peer, &table(vec![row("a", now + 1000, "x"), row("A b", now, "x"), row("old", now - 901, "x")]));
        assert_eq!(fleet.similar("").1, 0);
        fleet.take_from(peer, &table(vec![row("a", now, "x"), row("b", now, "x")]));
        let cores = fleet.busiest(now, &Group::of("zone", "a").unwrap());
        assert_eq!(cores.len(), 4);
        assert!((cores[0].utilization - 0.2).abs() < 1e-9 && cores[0].node_id == "a");
        assert!(fleet.busiest(now, &Group::of("zone", "b").unwrap()).is_empty());
    }
}
