//! The nodes this aggregator has had a stream of, and the groups they are in.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use starling_proto::{
    group::Group,
    ids::{Machine, NodeId, StreamId},
    interner::Interner,
    limits::NODE_FORGOTTEN_AFTER,
    nodes::Origin,
    series::OTHER,
};

use super::namesakes::Clashes;
use super::node::{About, BLOCKS_BYTES_MAX, Claim, ClaimError, IngestNode, NodeSession, Shared};
use crate::{
    blocks::{Backing, LogRows, Lost, NEWEST_ROWS_MAX, Restored},
    bucket::Bucket,
    metrics::Metrics,
};

/// Nodes without a stream whose last 15 minutes are kept beside `nodes_max` connected ones. Beyond it the one that went
/// longest ago is forgotten early.
const GONE_MAX: usize = 1_000;
/// Nodes that are new to the cluster and that this aggregator takes at once: all of its own after a first start of 4,000
/// nodes. Beyond it so many a second as [`NEWCOMERS_PER_SECOND`]; a further one is sent away, counted, and comes again: names
/// made up one after the other neither fill the node table nor count as expected.
const NEWCOMERS_BURST: f64 = 4_096.0;
/// See [`NEWCOMERS_BURST`].
pub(super) const NEWCOMERS_PER_SECOND: f64 = 256.0;
/// Bytes of the newest rows of all nodes that are in memory though a log has them. Beyond it fewer of each node are: of 1,000 nodes
/// of 500 series some 44, enough for questions about now, which look back 10 seconds.
const NEWEST_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Seconds between two sweeps of the names: each walks the whole table.
const SWEEP_SECONDS: u32 = 60;
/// A block is sealed within so many seconds of being due: all nodes' blocks are over at the same moment, and sealing
/// those of 10,000 nodes takes 20 s of a processor.
const SEAL_SPREAD_SECONDS: usize = 128;

/// All nodes seen in the last 15 minutes.
#[derive(Debug)]
pub(crate) struct Registry {
    /// Plain mutex, short sections.
    nodes: Mutex<HashMap<NodeId, Arc<IngestNode>>>,
    /// Nodes whose seconds a log brought back and that have not come themselves: no part of any table. Plain mutex, taken
    /// after that of the nodes.
    absent: Mutex<HashMap<NodeId, Arc<IngestNode>>>,
    /// What went from memory before it was kept on the disk. Plain mutex.
    lost: Mutex<Lost>,
    groups: Mutex<Groups>,
    group_by: Vec<String>,
    groups_max: usize,
    nodes_max: usize,
    names: Arc<Interner>,
    /// When [`Interner::sweep`] ran last, as a tick.
    swept: AtomicU32,
    clashes: Clashes,
    /// Plain mutex, short sections.
    newcomers: Mutex<Bucket>,
    shared: Arc<Shared>,
}

/// The groups that have a view.
#[derive(Debug, Default)]
struct Groups {
    /// At most `groups_max`; the groups "label:_other" come on top.
    known: BTreeSet<Group>,
    /// Some node went or changed its labels: a group may have lost its last one.
    stale: bool,
}

impl Registry {
    /// An empty one; see [`crate::Config`] for the limits.
    pub(crate) fn new(group_by: Vec<String>, groups_max: u32, nodes_max: u32, metrics: Arc<Metrics>) -> Self {
        let (connected, block_bytes) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let newest_rows = AtomicUsize::new(NEWEST_ROWS_MAX);
        Self {
            nodes: Mutex::default(),
            absent: Mutex::default(),
            lost: Mutex::default(),
            groups: Mutex::default(),
            group_by,
            groups_max: groups_max as usize,
            nodes_max: nodes_max as usize,
            names: Arc::default(),
            swept: AtomicU32::new(0),
            clashes: Clashes::default(),
            newcomers: Mutex::new(Bucket::new(Instant::now(), NEWCOMERS_BURST, NEWCOMERS_PER_SECOND)),
            shared: Arc::new(Shared {
                started: Instant::now(),
                connected,
                block_bytes,
                newest_rows,
                backing: OnceLock::new(),
                metrics,
            }),
        }
    }

    /// Whether one more node that is new to the cluster is taken now.
    pub(super) fn takes_newcomer(&self, now: Instant) -> bool {
        self.newcomers.lock().unwrap_or_else(PoisonError::into_inner).try_take(now)
    }

    /// The clashes of names in the cluster.
    pub(crate) const fn clashes(&self) -> &Clashes {
        &self.clashes
    }

    /// From where the open stream of `node` comes, if that is another machine than `machine` and alive.
    pub(super) fn held_by_other(&self, node: &NodeId, machine: &Machine) -> Option<Origin> {
        self.get(node)?.held_by_other(machine)
    }

    /// The series of this process.
    pub(crate) const fn names(&self) -> &Arc<Interner> {
        &self.names
    }

    /// The labels whose values are groups.
    pub(crate) fn group_by(&self) -> &[String] {
        &self.group_by
    }

    fn nodes(&self) -> MutexGuard<'_, HashMap<NodeId, Arc<IngestNode>>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The node called `id`.
    pub(crate) fn get(&self, id: &NodeId) -> Option<Arc<IngestNode>> {
        self.nodes().get(id).cloned()
    }

    /// All nodes, in no order.
    pub(crate) fn all(&self) -> Vec<Arc<IngestNode>> {
        self.nodes().values().cloned().collect()
    }

    fn absent(&self) -> MutexGuard<'_, HashMap<NodeId, Arc<IngestNode>>> {
        self.absent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All nodes of which seconds are held here, those among them that have not come since the start.
    pub(crate) fn holders(&self) -> Vec<Arc<IngestNode>> {
        // One that comes meanwhile is in the one table or the other.
        let nodes = self.nodes();
        let absent = self.absent();
        nodes.values().chain(absent.values()).cloned().collect()
    }

    /// The node called `id` as far as seconds of it are held here, though it may not have come since the start.
    pub(crate) fn holder(&self, id: &NodeId) -> Option<Arc<IngestNode>> {
        let nodes = self.nodes();
        nodes.get(id).or(self.absent().get(id)).cloned()
    }

    /// From now on memory need not hold what `backing` does, and blocks that are over wait for whoever keeps them there. The
    /// first one stays.
    pub(crate) fn keep_on(&self, backing: Arc<dyn Backing>) {
        let _ = self.shared.backing.set(backing);
    }

    /// Puts rows that a log held back, before the node itself comes.
    pub(crate) fn restore(&self, id: &NodeId, rows: LogRows) -> Restored {
        let node = self.get(id).unwrap_or_else(|| {
            let mut absent = self.absent();
            absent.entry(id.clone()).or_insert_with(|| IngestNode::new(id.clone(), self.shared.clone())).clone()
        });
        node.restore(rows)
    }

    /// What went from memory since the last call before it was kept on the disk.
    pub(crate) fn take_lost(&self) -> Lost {
        std::mem::take(&mut *self.lost.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How many nodes have an open stream.
    pub(crate) fn connected_len(&self) -> usize {
        self.shared.connected.load(Ordering::Relaxed)
    }

    /// Nodes with an open stream.
    pub(crate) fn connected(&self) -> Vec<(Arc<IngestNode>, NodeSession)> {
        let open = |node: Arc<IngestNode>| {
            let session = node.session()?;
            Some((node, session))
        };
        self.all().into_iter().filter_map(open).collect()
    }

    /// Takes a connection: the newest of a node wins, and the one before it is ended.
    ///
    /// # Errors
    /// [`ClaimError`].
    pub(crate) fn claim(&self, id: &NodeId, stream: StreamId, number: u32, about: About) -> Result<Claim, ClaimError> {
        // Claims are under this lock: none comes between the question and the count.
        let mut nodes = self.nodes();
        let known = nodes.get(id).cloned();
        if known.as_ref().is_none_or(|node| node.gone_since().is_some()) {
            let connected = self.connected_len();
            if connected >= self.nodes_max {
                return Err(ClaimError::Full(connected));
            }
        }
        let node = match known {
            Some(node) => node,
            None => {
                if nodes.len() >= self.nodes_max + GONE_MAX {
                    self.forget_some(&mut nodes);
                }
                let restored = self.absent().remove(id);
                let node = restored.unwrap_or_else(|| IngestNode::new(id.clone(), self.shared.clone()));
                nodes.insert(id.clone(), node.clone());
                node
            }
        };
        let (claim, relabelled) = node.claim(stream, number, about)?;
        if relabelled {
            self.groups().stale = true;
        }
        Ok(claim)
    }

    /// Forgets the tenth of the nodes without a stream that went longest ago, at least one: the walk over all nodes is
    /// then made once for every hundred new ones. There are some: fewer are connected than are kept.
    fn forget_some(&self, nodes: &mut HashMap<NodeId, Arc<IngestNode>>) {
        let mut gone: Vec<(u32, NodeId)> =
            nodes.values().filter_map(|node| Some((node.gone_since()?, node.id.clone()))).collect();
        gone.sort_unstable();
        for (_, oldest) in gone.iter().take((gone.len() / 10).max(1)) {
            nodes.remove(oldest);
            self.shared.metrics.nodes_forgotten_early.inc();
        }
        self.groups().stale = true;
    }

    /// Locked after the nodes and after the state of a node.
    fn groups(&self) -> MutexGuard<'_, Groups> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The groups by the labels of a node, each with its label.
    fn named_by<'a>(&'a self, labels: &'a BTreeMap<String, String>) -> impl Iterator<Item = (&'a str, Group)> + 'a {
        // A value that cannot name a group was refused with the hello.
        self.group_by.iter().filter_map(|key| {
            let value = labels.get(key)?;
            Some((key.as_str(), Group::of(key, value).ok()?))
        })
    }

    /// The groups a node with these labels belongs to. Beyond the cap of groups it is in the group "label:_other".
    /// Asked after the node is claimed, so that a group is never forgotten between the two.
    pub(crate) fn groups_of(&self, labels: &BTreeMap<String, String>) -> Vec<Group> {
        let known = &mut self.groups().known;
        let mut groups = Vec::with_capacity(self.group_by.len());
        for (label, group) in self.named_by(labels) {
            if known.len() < self.groups_max || known.contains(&group) {
                known.insert(group.clone());
                groups.push(group);
            } else if let Ok(other) = Group::of(label, OTHER) {
                self.shared.metrics.group_other();
                groups.push(other);
            }
        }
        groups
    }

    /// Gives the place of groups without a node to others. A node that is in "label:_other" gets its own group when it
    /// connects next.
    fn forget_groups(&self) {
        if !std::mem::take(&mut self.groups().stale) {
            return;
        }
        let nodes = self.nodes();
        let used: BTreeSet<Group> = nodes
            .values()
            .flat_map(|node| self.named_by(&node.about().labels).map(|(_, group)| group).collect::<Vec<_>>())
            .collect();
        self.groups().known.retain(|group| used.contains(group));
    }

    /// Writes the newest seconds to their blocks, forgets what is older than the live window, seals blocks, keeps all of
    /// them within [`BLOCKS_BYTES_MAX`] and shows how much is kept. Once a second.
    pub(crate) fn prune(&self, now_tick: u32) {
        // Some ten microseconds a node: not under the lock of all of them.
        self.all().iter().for_each(|node| node.write_newest());
        let (mut bytes, mut newest_bytes) = (0, 0);
        let mut due = Vec::new();
        let mut lost = Lost::default();
        let mut nodes = self.nodes();
        let before = nodes.len();
        nodes.retain(|_, node| {
            let pruned = node.prune(now_tick);
            let kept = pruned.connected || pruned.last_tick + NODE_FORGOTTEN_AFTER >= now_tick;
            if kept {
                bytes += pruned.bytes;
                newest_bytes += pruned.newest_bytes;
                due.extend(pruned.due.then(|| node.clone()));
            }
            lost.merge(pruned.lost);
            kept
        });
        self.absent().retain(|_, node| {
            let pruned = node.prune(now_tick);
            bytes += pruned.bytes;
            newest_bytes += pruned.newest_bytes;
            due.extend(pruned.due.then(|| node.clone()));
            lost.merge(pruned.lost);
            !node.is_empty()
        });
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).merge(lost);
        let most = nodes.len() / SEAL_SPREAD_SECONDS + 1;
        if nodes.len() != before {
            self.groups().stale = true;
        }
        drop(nodes);
        if self.shared.backing.get().is_none() {
            due.iter().take(most).for_each(|node| node.seal(now_tick));
        }
        self.shared.block_bytes.store(bytes, Ordering::Relaxed);
        self.keep_within(bytes, BLOCKS_BYTES_MAX);
        let rows = newest_rows(self.shared.newest_rows.load(Ordering::Relaxed), newest_bytes, NEWEST_BYTES_MAX);
        self.shared.newest_rows.store(rows, Ordering::Relaxed);
        self.forget_groups();
        if now_tick.saturating_sub(self.swept.load(Ordering::Relaxed)) >= SWEEP_SECONDS {
            self.swept.store(now_tick, Ordering::Relaxed);
            self.names.sweep();
        }
        let metrics = &self.shared.metrics;
        metrics.series.set(self.names.len() as f64);
        metrics.block_bytes.set(self.shared.block_bytes.load(Ordering::Relaxed) as f64);
        metrics.node_sessions.set(self.connected_len() as f64);
        metrics.newest_rows.set(rows as f64);
        metrics.newest_rows_bytes.set(newest_bytes as f64);
    }

    /// Drops the oldest blocks of all nodes until their `bytes` are at most `most`.
    fn keep_within(&self, mut bytes: usize, most: usize) {
        while bytes > most {
            let nodes = self.holders();
            let Some(oldest) = nodes.iter().filter_map(|node| node.oldest_block()).min() else { return };
            for node in nodes {
                if bytes > most && node.oldest_block() == Some(oldest) {
                    let lost = node.drop_oldest_block();
                    self.shared.metrics.blocks_lost(lost);
                    bytes = bytes.saturating_sub(lost);
                }
            }
            self.shared.block_bytes.store(bytes, Ordering::Relaxed);
        }
    }

    /// How long a session must be open before its node is moved without need.
    pub(crate) const SETTLED_AFTER: Duration = Duration::from_secs(15);
}

/// How many of the newest rows of each node stay in memory, when `rows` of each took `bytes` and `most` are allowed.
fn newest_rows(rows: usize, bytes: usize, most: usize) -> usize {
    (rows * most).checked_div(bytes).map_or(NEWEST_ROWS_MAX, |fitting| fitting.clamp(1, NEWEST_ROWS_MAX))
}

#[cfg(test)]
mod tests {
    use starling_proto::{
        catalogue,
        frame::{Content, Decoder, Encoder},
        series::{Sample, Series, Value},
    };

    use super::*;
    use crate::ingest::node::LOCKS;

    fn registry() -> Registry {
        Registry::new(vec!["zone".into(), "role".into()], 2, 2, Metrics::of_a_test())
    }

    fn id(name: &str) -> NodeId {
        NodeId::parse(name).unwrap()
    }

    fn send(claim: &Claim, tick: u32) {
        let samples = vec![Sample { series: Series::of(&catalogue::UPTIME, &[]), value: Value::Gauge(tick.into()) }];
        let frame = Encoder::new().encode(&Content { tick, samples, dropped: 0 }, None, false);
        claim.keep(Decoder::new().decode(&frame, &Interner::default()).unwrap(), 5);
    }

    #[test]
    fn the_newest_rows_of_all_nodes_fit_their_bytes() {
        assert_eq!(newest_rows(80, 0, 1_000), 80);
        assert_eq!((newest_rows(80, 1_000, 1_000), newest_rows(80, 500, 1_000)), (80, 80));
        assert_eq!(newest_rows(80, 4_000, 1_000), 20);
        assert_eq!(newest_rows(20, 1_000, 1_000), 20, "it stays there");
        assert_eq!(newest_rows(20, 500, 1_000), 40, "half of the nodes went");
        assert_eq!(newest_rows(1, 9_000, 1_000), 1);
    }

    #[test]
    fn made_up_names_come_in_at_a_bounded_rate() {
        let (registry, now) = (registry(), Instant::now());
        let taken = |at| (0..20_000).filter(|_| registry.takes_newcomer(at)).count() as f64;
        assert_eq!((taken(now), taken(now + Duration::from_secs(1))), (NEWCOMERS_BURST, NEWCOMERS_PER_SECOND));
    }

    #[test]
    fn a_node_that_connects_again_and_again_is_refused_and_keeps_what_it_has() {
        let registry = registry();
        let stream = StreamId::random();
        let claims: Vec<_> = (1..100).map(|n| registry.claim(&id("a"), stream, n, About::default())).collect();
        let taken: Vec<_> = claims.iter().flatten().collect();
        assert!((60..64).contains(&taken.len()), "{}", taken.len());
        assert!(matches!(claims.last(), Some(Err(ClaimError::TooOften))));
        assert!(taken.last().is_some_and(|open| !open.replaced.is_cancelled()), "the open one stays");
        assert!(
            registry.claim(&id("b"), StreamId::random(), 1, About::default()).is_ok(),
            "another node does not wait"
        );
    }

    #[test]
    fn the_newest_session_wins() {
        let registry = registry();
        let stream = StreamId::random();
        let first = registry.claim(&id("a"), stream, 5, About::default()).unwrap();
        assert_eq!(registry.claim(&id("a"), stream, 4, About::default()).unwrap_err(), ClaimError::Older);
        let second = registry.claim(&id("a"), stream, 6, About::default()).unwrap();
        assert!(first.replaced.is_cancelled() && !second.replaced.is_cancelled());
        send(&second, 10);
        send(&first, 11);
        assert_eq!(second.node.latest().unwrap().second.tick, 10, "the older session writes no more");
        first.release(true);
        assert_eq!((second.node.presence(), registry.connected_len()), ((true, false), 1));
        // A restarted daemon takes over whatever its number.
        let third = registry.claim(&id("a"), StreamId::random(), 1, About::default()).unwrap();
        assert!(second.replaced.is_cancelled());
        third.release(true);
        assert_eq!((third.node.presence(), registry.connected_len()), ((false, true), 0));
    }

    #[test]
    fn the_number_of_nodes_is_bounded() {
        let registry = registry();
        let one = registry.claim(&id("a"), StreamId::random(), 1, About::default()).unwrap();
        let _two = registry.claim(&id("b"), StreamId::random(), 1, About::default()).unwrap();
        assert_eq!(registry.claim(&id("c"), StreamId::random(), 1, About::default()).unwrap_err(), ClaimError::Full(2));
        let again = registry.claim(&id("a"), StreamId::random(), 1, About::default());
        assert!(again.is_ok(), "a node that is connected may connect again");
        one.release(false);
        assert_eq!((registry.connected().len(), registry.connected_len()), (2, 2));
        again.unwrap().release(false);
        assert!(registry.claim(&id("c"), StreamId::random(), 1, About::default()).is_ok());
    }

    #[test]
    fn ten_thousand_nodes_connect_with_a_bounded_number_of_steps_each() {
        const NODES: u32 = 10_000;
        let registry = Registry::new(vec!["zone".into()], 64, NODES, Metrics::of_a_test());
        let claim = |n: u32, session| registry.claim(&id(&format!("node-{n}")), STREAM, session, About::default());
        const STREAM: StreamId = StreamId::new([7; 16]);
        for session in 1..=2 {
            let before = LOCKS.get();
            let claims: Vec<Claim> = (0..NODES).map(|n| claim(n, session).unwrap()).collect();
            let locks = LOCKS.get() - before;
            assert!(locks <= 3 * claims.len(), "{locks} locks for {} nodes", claims.len());
            assert_eq!(registry.connected_len(), claims.len());
            assert!(matches!(claim(NODES, 1), Err(ClaimError::Full(10_000))));
        }
    }

    #[test]
    fn nodes_that_come_and_go_cost_a_bounded_number_of_steps_each() {
        let registry = registry();
        let visit = |n: u32| {
            let claim = registry.claim(&id(&format!("node-{n}")), StreamId::random(), 1, About::default()).unwrap();
            claim.release(false);
        };
        (0..GONE_MAX as u32 + 2).for_each(visit);
        let before = LOCKS.get();
        (10_000..11_000).for_each(visit);
        let locks = LOCKS.get() - before;
        assert!(locks <= 1_000 * 20, "{locks} locks for 1,000 visits");
    }

    #[test]
    fn a_group_goes_with_its_last_node() {
        let registry = registry();
        let about = |zone: &str| About { labels: [("zone".to_owned(), zone.to_owned())].into(), ..About::default() };
        let zone = |zone: &str| [Group::of("zone", zone).unwrap()];
        let stream = StreamId::random();
        let connect = |node: &str, number, zone: &str| {
            let claim = registry.claim(&id(node), stream, number, about(zone)).unwrap();
            (registry.groups_of(&about(zone).labels), claim)
        };
        let (_, one) = connect("a", 1, "x");
        let (groups, _two) = connect("b", 1, "y");
        assert_eq!((&groups[..], &registry.groups_of(&about("z").labels)[..]), (&zone("y")[..], &zone(OTHER)[..]));
        // Gone, but its last 15 minutes are not.
        send(&one, 1000);
        one.release(false);
        registry.prune(1500);
        assert_eq!(registry.groups_of(&about("z").labels), zone(OTHER));
        registry.prune(2000);
        let (groups, _one) = connect("a", 2, "z");
        assert_eq!(groups, zone("z"), "x was given back");
        // Its labels change with a new connection.
        let (groups, _one) = connect("a", 3, "y");
        registry.prune(2000);
        assert_eq!((&groups[..], &registry.groups_of(&about("w").labels)[..]), (&zone("y")[..], &zone("w")[..]));
    }

    #[test]
    fn what_a_log_brought_back_is_in_no_table_until_its_node_comes() {
        let registry = registry();
        let claim = registry.claim(&id("a"), StreamId::random(), 1, About::default()).unwrap();
        (900..910).for_each(|tick| send(&claim, tick));
        let logged = claim.node.unlogged();
        assert_eq!((logged.len(), claim.node.unlogged().len()), (1, 0));
        let again = self::registry();
        assert_eq!(again.restore(&id("a"), logged[0].clone()), Restored { rows: 10, lost: 0 });
        assert_eq!((again.all().len(), again.holders().len()), (0, 1));
        let held = |from: u32| again.holder(&id("a")).map_or(0, |node| node.slice(from, 2_000).seconds().len());
        again.prune(912);
        assert_eq!(held(900), 10);
        let claim = again.claim(&id("a"), StreamId::random(), 1, About::default()).unwrap();
        send(&claim, 912);
        again.prune(913);
        assert_eq!((held(900), again.all().len(), again.holders().len()), (11, 1, 1), "it goes on");
        // A node that never comes back goes with its last second.
        assert_eq!(again.restore(&id("b"), logged[0].clone()).rows, 10);
        again.prune(2_200);
        assert_eq!(again.holders().len(), 1);
        assert_eq!(again.take_lost(), Lost { seconds: 21, first: 900, last: 900 }, "no disk kept them");
        assert_eq!(again.take_lost(), Lost::default());
    }

    #[test]
    fn what_a_log_brought_back_after_a_long_stop_waits_for_the_disk() {
        #[derive(Debug)]
        struct Nothing;

        impl Backing for Nothing {
            fn row(&self, _: crate::blocks::LogPlace, _: usize) -> Option<Vec<u8>> {
                None
            }

            fn kept(&self, _: &NodeId, _: u32, _: u32) -> Vec<starling_proto::frame::Second> {
                Vec::new()
            }
        }

        let registry = registry();
        let claim = registry.claim(&id("a"), StreamId::random(), 1, About::default()).unwrap();
        (900..910).for_each(|tick| send(&claim, tick));
        let logged = claim.node.unlogged();
        let again = self::registry();
        again.keep_on(Arc::new(Nothing));
        for name in ["a", "b"] {
            assert_eq!(again.restore(&id(name), logged[0].clone()).rows, 10);
        }
        let node = |name: &str| again.holder(&id(name)).unwrap();
        // A day later.
        let start = 90_000;
        (start..start + 11).for_each(|now| again.prune(now));
        assert_eq!(
            node("a").due(start + 11).iter().map(|block| (block.start(), block.len())).collect::<Vec<_>>(),
            [(900, 10)]
        );
        node("a").forget_block(900, 10);
        again.prune(start + 11);
        assert_eq!((again.holders().len(), again.take_lost()), (1, Lost::default()), "the other one waits still");
        // A disk that takes nothing for as long as memory holds seconds.
        (start + 12..start + 1_000).for_each(|now| again.prune(now));
        assert_eq!((again.holders().len(), again.take_lost()), (0, Lost { seconds: 10, first: 900, last: 900 }));
    }

    #[test]
    fn nodes_that_went_are_bounded() {
        let registry = registry();
        for n in 0..GONE_MAX as u32 + 5 {
            let name = id(&format!("node-{n}"));
            let claim = registry.claim(&name, StreamId::random(), 1, About::default()).unwrap();
            send(&claim, 1000 + n);
            claim.release(false);
        }
        let kept = registry.all().len();
        assert!((GONE_MAX * 9 / 10..=GONE_MAX + 2).contains(&kept), "{kept} kept");
        assert!(registry.get(&id("node-0")).is_none() && registry.get(&id("node-1004")).is_some());
        assert!(registry.get(&id("node-200")).is_some(), "the oldest tenth went");
    }

    #[test]
    fn groups_are_bounded_and_stay() {
        let registry = registry();
        let labels = |zone: &str| BTreeMap::from([("zone".to_owned(), zone.to_owned()), ("rack".into(), "1".into())]);
        let zone = |zone: &str| [Group::of("zone", zone).unwrap()];
        assert_eq!(registry.groups_of(&labels("a")), zone("a"));
        assert_eq!(registry.groups_of(&labels("b")), zone("b"));
        assert_eq!(registry.groups_of(&labels("c")), zone(OTHER));
        assert_eq!(registry.groups_of(&labels("a")), zone("a"));
    }

    #[test]
    fn forgotten_after_15_minutes() {
        let registry = registry();
        let claim = registry.claim(&id("a"), StreamId::random(), 1, About::default()).unwrap();
        send(&claim, 1000);
        registry.prune(5000);
        assert!(registry.get(&id("a")).is_some(), "a connected node stays");
        claim.release(false);
        registry.prune(1900);
        assert!(registry.get(&id("a")).is_some());
        registry.prune(1901);
        assert!(registry.get(&id("a")).is_none());
    }

    #[test]
    fn the_oldest_blocks_of_all_nodes_go_first() {
        let registry = registry();
        let claims = ["a", "b"].map(|name| registry.claim(&id(name), StreamId::random(), 1, About::default()).unwrap());
        for (claim, from) in claims.iter().zip([900, 1200]) {
            (from..1500).for_each(|tick| send(claim, tick));
        }
        let bytes = || registry.shared.block_bytes.load(Ordering::Relaxed);
        let kept = |node: usize| claims[node].node.slice(0, 2000).seconds().len();
        registry.prune(1500);
        let all = bytes();
        registry.keep_within(all, all - 1);
        assert_eq!((kept(0), kept(1)), (300, 300), "the block of 900 went, of 1200 both are there");
        assert!(bytes() < all);
        registry.keep_within(bytes(), 0);
        assert_eq!((kept(0), kept(1), bytes()), (0, 0, 0));
    }
}
