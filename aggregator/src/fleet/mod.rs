//! The nodes of the whole cluster at their latest second: our own and those that peers publish.
//!
//! - [`rows`]: the row of a node from its second;
//! - [`own`]: the rows of our own nodes, built once a second of what is new;
//! - [`table`]: the newest row of every node, and what is asked of it;
//! - [`groups`]: who is in which group;
//! - [`delta`]: what changed since a reader last looked.
//!
//! The table is not part of the ledger: it is a picture, and the newest second of a node wins.

mod delta;
mod groups;
mod own;
mod rows;
mod table;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use starling_ledger::Coverage;
use starling_proto::{
    group::Group,
    ids::{Machine, NodeId, WriterId},
    nodes::{Entry, Mirror, Most, UpdateError},
    v1,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub(crate) use self::table::{Filter, Page, Place};
use self::{
    own::Builder,
    table::{ROWS_MAX, Source, Table},
};
use crate::{
    clock::{now_ms, tick_of},
    ingest::{ALIVE_FOR, HeldElsewhere, Holder, IngestNode, Registry},
    ledger_task::Published,
    membership::{Membership, MembershipView},
    metrics::Metrics,
};

/// Seconds for which the numbers of our own rows are built after somebody asked, beside the peers, who always do.
const WANTED_SECONDS: u32 = 60;
/// Bytes of names and labels kept of one peer: 10,000 nodes of 16 short labels each take 4 MB.
const PEER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Seconds by which the row of a node that is alive is old or ahead, with the way from its aggregator.
const FRESH: u32 = 10;

/// See the module. Shared; every section under a lock is one pass over rows without pointers to follow, a few
/// milliseconds at 10,000 nodes.
pub(crate) struct ClusterFleet {
    /// Plain mutex.
    table: Mutex<Table>,
    /// Plain mutex, taken before that of the table.
    builder: Mutex<Builder>,
    registry: Arc<Registry>,
    metrics: Arc<Metrics>,
    aggregator: NodeId,
    writer: WriterId,
    /// The settled second for which our own rows were built last.
    refreshed: watch::Sender<u32>,
    /// As `refreshed`, for the last time that their numbers were built too.
    full: AtomicU32,
    /// When somebody last asked.
    asked: AtomicU32,
}

impl ClusterFleet {
    /// An empty table. Its own rows are those of the nodes in `registry`, held by `aggregator`.
    pub(crate) fn new(writer: WriterId, aggregator: NodeId, registry: Arc<Registry>, metrics: Arc<Metrics>) -> Self {
        Self {
            table: Mutex::new(Table::new(registry.group_by().to_vec(), ROWS_MAX)),
            builder: Mutex::new(Builder::new(aggregator.clone())),
            registry,
            metrics,
            aggregator,
            writer,
            refreshed: watch::Sender::new(0),
            full: AtomicU32::new(0),
            asked: AtomicU32::new(0),
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The settled second up to which our own rows are in the table, now and from now on.
    pub(crate) fn refreshed(&self) -> watch::Receiver<u32> {
        self.refreshed.subscribe()
    }

    /// Builds our own rows after second `settled`, and brings what follows from the table up to date. Milliseconds.
    fn refresh(&self, settled: u32, view: &MembershipView) {
        let now = tick_of(now_ms());
        let live: BTreeSet<WriterId> = view.live.iter().map(|member| member.writer).collect();
        let peers = live.iter().any(|writer| *writer != self.writer);
        let full = peers || self.asked.load(Ordering::Relaxed).saturating_add(WANTED_SECONDS) >= now;
        let mut builder = self.builder.lock().unwrap_or_else(PoisonError::into_inner);
        builder.build(&self.registry.all(), full);
        {
            let mut table = self.table();
            table.begin();
            table.set_live(live);
            self.metrics.rows_left_out(builder.merge(&mut table, Source { writer: self.writer, own: true }, now));
            table.prune(now);
        }
        if full {
            self.full.store(settled, Ordering::Relaxed);
        }
        self.refreshed.send_replace(settled);
    }

    /// Notes that somebody asks, and builds the numbers of our own rows if they were not asked for lately. May then take
    /// milliseconds: not for a runtime thread.
    fn ask(&self) {
        let now = tick_of(now_ms());
        self.asked.store(now, Ordering::Relaxed);
        if self.full.load(Ordering::Relaxed) >= *self.refreshed.borrow() {
            return;
        }
        let mut builder = self.builder.lock().unwrap_or_else(PoisonError::into_inner);
        let refreshed = *self.refreshed.borrow();
        // Whoever had the builder before may have done it.
        if self.full.load(Ordering::Relaxed) < refreshed {
            builder.build(&self.registry.all(), true);
            let mut table = self.table();
            table.begin();
            self.metrics.rows_left_out(builder.merge(&mut table, Source { writer: self.writer, own: true }, now));
            self.full.store(refreshed, Ordering::Relaxed);
        }
    }

    /// What changed of the nodes in `filter` since `after` (0: nothing is known), at second `tick`; see
    /// [`v1::NodesUpdate`]. Between aggregators only our own rows are sent.
    pub(crate) fn since(&self, filter: &Filter, after: u64, tick: u32) -> Vec<v1::NodesUpdate> {
        if *filter != Filter::Own {
            self.ask();
        }
        let table = self.table();
        // A revision that was never given is of another process.
        let after = if after > table.revision() { 0 } else { after };
        delta::since(&table, self.generation(), filter, after, tick)
    }

    /// The numbering of this process.
    pub(crate) fn generation(&self) -> u64 {
        let bytes = self.writer.to_bytes();
        let half = bytes.iter().take(8).fold(0u64, |half, byte| half << 8 | u64::from(*byte));
        // 0 stands for "nothing is known".
        half.max(1)
    }

    /// One page of rows; see [`Table::page`].
    pub(crate) fn page(&self, group: &Group, after: Option<&NodeId>, most: usize, bytes: usize, tick: u32) -> Page {
        self.ask();
        let mut page = self.table().page(group, after, most, bytes, tick);
        let now = tick_of(now_ms());
        for row in &mut page.rows {
            row.name_clash = self.registry.clashes().of(&row.node_id, now);
        }
        page
    }

    /// The clashes of names that this aggregator has seen in the last minute, for its peers.
    pub(crate) fn name_clashes(&self) -> Vec<v1::NameClash> {
        self.registry.clashes().seen_by(&self.aggregator, tick_of(now_ms()))
    }

    /// The newest clash of each name in the last minute, for people.
    pub(crate) fn shown_clashes(&self) -> Vec<v1::NameClash> {
        self.registry.clashes().shown(tick_of(now_ms()))
    }

    /// Takes those that a peer has seen.
    pub(crate) fn take_name_clashes(&self, clashes: Vec<v1::NameClash>) {
        self.registry.clashes().take(clashes, tick_of(now_ms()));
    }

    /// Ends our own stream of the node in `entry` when another machine held the name first, at `aggregator`.
    fn yield_to(&self, entry: &Entry, aggregator: &NodeId) {
        let node = self.registry.get(&entry.id);
        if let Some(own) = node.and_then(|node| node.yield_to(&entry.origin, aggregator.as_str())) {
            let (node, first) = (entry.id.as_str(), entry.origin.address.as_str());
            self.metrics.name_clash(node, &own, first, aggregator.as_str(), None);
        }
    }

    /// Of the nodes of `group` at second `tick`: those that report, and those that report or are silent.
    pub(crate) fn counts(&self, group: &Group, tick: u32) -> (u32, u32) {
        let (_, reporting, expected) = self.table().count(group, tick);
        (reporting, expected)
    }

    /// Where `node` is; `None` when it was not seen in the last 15 minutes.
    pub(crate) fn place(&self, node: &NodeId) -> Option<Place> {
        self.table().place(node)
    }

    /// Whether another aggregator holds the stream of `node`, and heard of it within `alive_for` seconds before `now`.
    pub(crate) fn is_held_elsewhere(&self, node: &NodeId, now: u32, alive_for: u32) -> bool {
        self.table().held_elsewhere(node, now, alive_for).is_some()
    }

    /// Names that look like `node`, for an error message, and how many nodes there are.
    pub(crate) fn similar(&self, node: &str) -> (Vec<String>, usize) {
        self.table().similar(node)
    }

    /// The values of label `key` among all nodes, as groups ("label:value"), sorted.
    pub(crate) fn groups_of(&self, key: &str) -> Vec<String> {
        self.table().groups_of(key)
    }

    /// Every group that has a node, sorted.
    pub(crate) fn groups(&self) -> Vec<Group> {
        self.table().groups()
    }

    /// The operator's labels of every node.
    pub(crate) fn labels(&self) -> BTreeMap<NodeId, Vec<(String, String)>> {
        self.table().labels()
    }

    /// The operator's labels of a node, whichever aggregator has it; none of one that is not known.
    pub(crate) fn labels_of(&self, node: &NodeId) -> Vec<(String, String)> {
        self.table().labels_of(node)
    }

    /// Whether some node is in `group`.
    pub(crate) fn has_group(&self, group: &Group) -> bool {
        self.table().has_group(group)
    }

    /// Nodes of `group` that are expected at second `tick`: seen lately, and not stopped before.
    pub(crate) fn expected(&self, group: &Group, tick: u32) -> u32 {
        self.table().expected(group, tick)
    }

    /// The nodes of `group` that reported at second `from` or later, by name.
    pub(crate) fn known(&self, group: &Group, from: u32) -> Vec<NodeId> {
        self.table().known(group, from)
    }

    /// How many nodes of `group` there are in the second `tick`: the ledger counts nodes for the whole `cluster`, and the
    /// `frames` of a group, of which a node has one unless it was just started again; who is expected in a group is known
    /// from the rows.
    pub(crate) fn coverage(&self, group: &Group, tick: u32, cluster: Coverage, frames: u32) -> Coverage {
        if group.is_cluster() {
            return cluster;
        }
        Coverage { reporting: frames, expected: self.expected(group, tick).max(frames) }
    }

    /// Those of `nodes` that are known to be in `group`; all of them for the whole cluster.
    pub(crate) fn of_group<'a>(
        &self,
        group: &Group,
        nodes: &'a [NodeId],
    ) -> impl Iterator<Item = &'a NodeId> + use<'a> {
        let table = (!group.is_cluster()).then(|| self.table());
        let held: Vec<&NodeId> =
            nodes.iter().filter(|node| table.as_ref().is_none_or(|table| table.is_in(node, group))).collect();
        held.into_iter()
    }

    /// How many of `nodes` are in each group, without the whole cluster and groups of none.
    pub(crate) fn by_group(&self, nodes: &[NodeId]) -> HashMap<Group, u32> {
        self.table().by_group(nodes)
    }

    /// The row of one of our own nodes at its newest second; `None` before its first frame.
    pub(crate) fn row_of(&self, node: &IngestNode) -> Option<v1::NodeRow> {
        let (entry, row) = own::of_one(node, &self.aggregator)?;
        let mut row = table::wire_row(&entry, &row, row.tick);
        row.name_clash = self.registry.clashes().of(&row.node_id, tick_of(now_ms()));
        Some(row)
    }
}

impl HeldElsewhere for ClusterFleet {
    fn knows(&self, node: &NodeId) -> bool {
        self.place(node).is_some()
    }

    fn held_by_other(&self, node: &NodeId, machine: &Machine) -> Option<Holder> {
        let alive_for = u32::try_from(ALIVE_FOR.as_secs()).unwrap_or(u32::MAX);
        let entry = self.table().held_elsewhere(node, tick_of(now_ms()), alive_for)?;
        entry.origin.machine.differs(machine).then(|| Holder {
            address: entry.origin.address.clone(),
            machine: entry.origin.machine,
            aggregator: entry.aggregator.as_ref().map_or_else(String::new, ToString::to_string),
        })
    }
}

/// The rows of one peer, for as long as a stream with it lasts.
#[derive(Debug)]
pub(crate) struct PeerRows {
    source: Source,
    mirror: Mirror,
    /// By the peer's number: ours, last time.
    hints: Vec<u32>,
}

impl PeerRows {
    /// Of a stream that has just begun.
    pub(crate) fn new(peer: WriterId) -> Self {
        let mirror = Mirror::new(Most { nodes: ROWS_MAX, bytes: PEER_BYTES_MAX });
        Self { source: Source { writer: peer, own: false }, mirror, hints: Vec::new() }
    }

    /// Takes in what the peer published.
    ///
    /// # Errors
    /// [`UpdateError`]; the table is unchanged then.
    pub(crate) fn take(&mut self, fleet: &ClusterFleet, update: &v1::NodesUpdate) -> Result<(), UpdateError> {
        let applied = self.mirror.apply(update)?;
        let now = tick_of(now_ms());
        let mut left_out = applied.left_out;
        {
            let mut table = fleet.table();
            table.begin();
            for &number in applied.entries.iter().chain(&applied.rows) {
                let Some(node) = self.mirror.node(number) else { continue };
                let place = number as usize;
                if self.hints.len() <= place {
                    self.hints.resize(place + 1, u32::MAX);
                }
                left_out += usize::from(!table.merge(self.source, &node.entry, &node.row, now, &mut self.hints[place]));
            }
        }
        // Whoever is silent there holds no name.
        for node in applied.entries.iter().filter_map(|&number| self.mirror.node(number)) {
            if let Some(aggregator) = node.entry.aggregator.as_ref().filter(|_| node.row.tick.abs_diff(now) <= FRESH) {
                fleet.yield_to(&node.entry, aggregator);
            }
        }
        fleet.metrics.rows_left_out(left_out);
        fleet.metrics.rows_cut(applied.cut);
        Ok(())
    }
}

/// Refreshes the table each time a second is settled, until the stop. Also lets the registry forget old nodes.
pub(crate) async fn run(
    fleet: Arc<ClusterFleet>,
    mut published: watch::Receiver<Published>,
    membership: Membership,
    stop: CancellationToken,
) {
    let mut settled = 0;
    loop {
        let newest = published.borrow_and_update().settled;
        if newest != settled {
            settled = newest;
            let (fleet, view) = (fleet.clone(), membership.view());
            // 10,000 rows take tens of milliseconds.
            let built = tokio::task::spawn_blocking(move || {
                fleet.refresh(newest, &view);
                fleet.registry.prune(tick_of(now_ms()));
            });
            if let Err(error) = built.await {
                tracing::error!(%error, "node rows were not built");
            }
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            changed = published.changed() => if changed.is_err() { return },
        }
    }
}

impl crate::history::Expects for ClusterFleet {
    fn coverage(&self, group: &Group, tick: u32, cluster: Coverage, frames: u32) -> Coverage {
        Self::coverage(self, group, tick, cluster, frames)
    }
}

#[cfg(test)]
mod tests;
