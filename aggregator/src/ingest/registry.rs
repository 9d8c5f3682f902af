//! The nodes this aggregator has heard of itself: who they are, their open stream and their last quarter of an hour.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use starling_proto::{
    frame::{Decoder, Second},
    ids::{NodeId, StreamId},
    interner::Interner,
    limits::HISTORY_SECONDS,
    v1,
};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::frame_log::{FrameLog, Slice};
use crate::metrics;
use starling_proto::group::Group;

/// Nodes without a stream whose last quarter of an hour is kept beside `nodes_max` connected ones. Beyond it the one
/// that went longest ago is forgotten early.
const GONE_MAX: usize = 1_000;
/// So many takeovers by another daemon within [`CONTEST_WINDOW`] are no restarts any more.
const CONTEST_TAKEOVERS: usize = 3;
/// See [`CONTEST_TAKEOVERS`].
const CONTEST_WINDOW: Duration = Duration::from_secs(60);

/// What a node says of itself when it connects.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct About {
    /// Facts that change only with a reboot, and the version of the daemon.
    pub(crate) facts: v1::NodeFacts,
    /// Operator's labels.
    pub(crate) labels: BTreeMap<String, String>,
    /// Its samples are replays.
    pub(crate) simulated: bool,
}

/// The open stream of a node.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    /// The daemon's start.
    pub(crate) stream: StreamId,
    /// Grows with each connection of that start.
    pub(crate) number: u32,
    /// Ends the stream: a newer one took its place.
    pub(crate) replaced: CancellationToken,
    /// Asks the stream to send its node to the owner.
    pub(crate) redirect: Arc<Notify>,
    /// When it was accepted.
    pub(crate) since: Instant,
}

/// The newest second of a node.
#[derive(Debug, Clone)]
pub(crate) struct Latest {
    /// What it measured.
    pub(crate) second: Second,
    /// Milliseconds from the end of the second to its arrival.
    pub(crate) delay_ms: u32,
}

#[derive(Debug, Default)]
struct State {
    about: Arc<About>,
    session: Option<Session>,
    /// Number of the stream that may write; an older one that is still ending may not.
    epoch: u64,
    log: FrameLog,
    latest: Option<Arc<Latest>>,
    stopped: bool,
    /// When another daemon of this name last took an open stream's place: at most [`CONTEST_TAKEOVERS`].
    takeovers: VecDeque<Instant>,
}

impl State {
    /// Another daemon takes the place of one whose stream is open. Returns whether two of them contest the name.
    fn taken_over(&mut self, now: Instant) -> bool {
        self.takeovers.push_back(now);
        if self.takeovers.len() > CONTEST_TAKEOVERS {
            self.takeovers.pop_front();
        }
        self.takeovers.len() == CONTEST_TAKEOVERS
            && self.takeovers.front().is_some_and(|first| now.saturating_duration_since(*first) <= CONTEST_WINDOW)
    }

    /// Newest tick; 0 before the first frame.
    fn last_tick(&self) -> u32 {
        self.latest.as_ref().map_or(0, |latest| latest.second.tick)
    }
}

/// One node. Everything behind its plain mutex is read and written in short sections.
#[derive(Debug)]
pub(crate) struct Node {
    /// Its name.
    pub(crate) id: NodeId,
    names: Arc<Interner>,
    state: Mutex<State>,
    ticks: watch::Sender<u32>,
}

/// The right of one session to write the history of its node.
#[derive(Debug)]
pub(crate) struct Claim {
    /// The node.
    pub(crate) node: Arc<Node>,
    /// Cancelled when a newer session takes over.
    pub(crate) replaced: CancellationToken,
    /// Notified when the node is to be sent to its owner.
    pub(crate) redirect: Arc<Notify>,
    epoch: u64,
}

impl Node {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it says of itself.
    pub(crate) fn about(&self) -> Arc<About> {
        self.state().about.clone()
    }

    /// Its newest second; `None` before the first frame.
    pub(crate) fn latest(&self) -> Option<Arc<Latest>> {
        self.state().latest.clone()
    }

    /// Whether it has a stream here, and whether it said goodbye.
    pub(crate) fn presence(&self) -> (bool, bool) {
        let state = self.state();
        (state.session.is_some(), state.stopped)
    }

    /// Its newest tick, now and from now on; 0 before the first frame.
    pub(crate) fn ticks(&self) -> watch::Receiver<u32> {
        self.ticks.subscribe()
    }

    /// Seconds `from..=to` as far as they are kept, still encoded.
    pub(crate) fn slice(&self, from: u32, to: u32) -> Slice {
        self.state().log.slice(from, to, self.names.clone())
    }
}

impl Claim {
    /// Whether [`Claim::keep`] needs the decoder as it is before the next frame.
    pub(crate) fn wants_decoder(&self) -> bool {
        self.node.state().log.wants_decoder()
    }

    /// Keeps one frame and what it says.
    pub(crate) fn keep(&self, before: Option<Decoder>, frame: &v1::Frame, second: Second, delay_ms: u32) {
        let tick = second.tick;
        {
            let mut state = self.node.state();
            if state.epoch != self.epoch {
                return;
            }
            metrics::frame_log_lost(state.log.push(before, frame));
            if state.latest.as_ref().is_none_or(|latest| latest.second.tick <= tick) {
                state.latest = Some(Arc::new(Latest { second, delay_ms }));
            }
        }
        self.node.ticks.send_if_modified(|newest| {
            let newer = tick > *newest;
            *newest = tick.max(*newest);
            newer
        });
    }

    /// Keeps the bytes of a frame that is not counted: the frames after it are decoded on top of it.
    pub(crate) fn keep_unread(&self, before: Option<Decoder>, frame: &v1::Frame) {
        let mut state = self.node.state();
        if state.epoch == self.epoch {
            // Second 0 is in nobody's history.
            metrics::frame_log_lost(state.log.push(before, &v1::Frame { tick: 0, ..frame.clone() }));
        }
    }

    /// The session is over; `goodbye` when the daemon stopped on purpose.
    pub(crate) fn release(&self, goodbye: bool) {
        let mut state = self.node.state();
        if state.epoch == self.epoch {
            state.session = None;
            state.stopped = goodbye;
        }
    }
}

/// Why a session cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ClaimError {
    /// A newer connection of the same daemon is open.
    #[error("a newer connection of this daemon is open")]
    Older,
    /// As many nodes as the settings allow are connected.
    #[error("{0} nodes are connected, as many as nodes_max allows")]
    Full(usize),
}

/// All nodes heard of in the last quarter of an hour.
#[derive(Debug)]
pub(crate) struct Registry {
    /// Plain mutex, short sections.
    nodes: Mutex<HashMap<NodeId, Arc<Node>>>,
    groups: Mutex<Groups>,
    group_by: Vec<String>,
    groups_max: usize,
    nodes_max: usize,
    names: Arc<Interner>,
    /// When [`Interner::sweep`] ran last, as a tick.
    swept: AtomicU32,
}

/// Seconds between two sweeps of the names: each walks the whole table.
const SWEEP_SECONDS: u32 = 60;

/// The groups that have a view.
#[derive(Debug, Default)]
struct Groups {
    known: BTreeSet<Group>,
    /// Some node went or changed its labels: a group may have lost its last one.
    stale: bool,
}

impl Registry {
    /// An empty one; see [`crate::Config`] for the limits.
    pub(crate) fn new(group_by: Vec<String>, groups_max: u32, nodes_max: u32) -> Self {
        Self {
            nodes: Mutex::default(),
            groups: Mutex::default(),
            group_by,
            groups_max: groups_max as usize,
            nodes_max: nodes_max as usize,
            names: Arc::default(),
            swept: AtomicU32::new(0),
        }
    }

    /// The series of this process.
    pub(crate) const fn names(&self) -> &Arc<Interner> {
        &self.names
    }

    /// The labels whose values are groups.
    pub(crate) fn group_by(&self) -> &[String] {
        &self.group_by
    }

    fn nodes(&self) -> MutexGuard<'_, HashMap<NodeId, Arc<Node>>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The node called `id`.
    pub(crate) fn get(&self, id: &NodeId) -> Option<Arc<Node>> {
        self.nodes().get(id).cloned()
    }

    /// All nodes, in no order.
    pub(crate) fn all(&self) -> Vec<Arc<Node>> {
        self.nodes().values().cloned().collect()
    }

    /// Nodes with an open stream.
    pub(crate) fn connected(&self) -> Vec<(Arc<Node>, Session)> {
        let open = |node: Arc<Node>| {
            let session = node.state().session.clone()?;
            Some((node, session))
        };
        self.all().into_iter().filter_map(open).collect()
    }

    /// Takes a connection: the newest of a node wins, and the one before it is told.
    ///
    /// # Errors
    /// [`ClaimError`].
    pub(crate) fn claim(&self, id: &NodeId, stream: StreamId, number: u32, about: About) -> Result<Claim, ClaimError> {
        let mut nodes = self.nodes();
        let held = nodes.get(id).is_some_and(|node| node.state().session.is_some());
        if !held {
            let connected = nodes.values().filter(|node| node.state().session.is_some()).count();
            if connected >= self.nodes_max {
                return Err(ClaimError::Full(connected));
            }
            if !nodes.contains_key(id) && nodes.len() >= self.nodes_max + GONE_MAX {
                self.forget_one(&mut nodes);
            }
        }
        let node = nodes.entry(id.clone()).or_insert_with(|| {
            Arc::new(Node {
                id: id.clone(),
                names: self.names.clone(),
                state: Mutex::default(),
                ticks: watch::Sender::new(0),
            })
        });
        let mut state = node.state();
        if let Some(session) = &state.session {
            if session.stream == stream && session.number > number {
                return Err(ClaimError::Older);
            }
            session.replaced.cancel();
            let restarted = session.stream != stream;
            if restarted && state.taken_over(Instant::now()) {
                metrics::node_contested(id.as_str());
            }
        }
        let session = Session {
            stream,
            number,
            replaced: CancellationToken::new(),
            redirect: Arc::new(Notify::new()),
            since: Instant::now(),
        };
        state.epoch += 1;
        let claim = Claim {
            node: node.clone(),
            replaced: session.replaced.clone(),
            redirect: session.redirect.clone(),
            epoch: state.epoch,
        };
        state.session = Some(session);
        if state.about.labels != about.labels {
            self.groups().stale = true;
        }
        state.about = Arc::new(about);
        state.stopped = false;
        state.log.detach();
        drop(state);
        Ok(claim)
    }

    /// Forgets the node that went longest ago. There is one: fewer are connected than are kept.
    fn forget_one(&self, nodes: &mut HashMap<NodeId, Arc<Node>>) {
        let gone = nodes.values().filter_map(|node| {
            let state = node.state();
            state.session.is_none().then(|| (state.last_tick(), node.id.clone()))
        });
        if let Some((_, oldest)) = gone.min() {
            nodes.remove(&oldest);
            self.groups().stale = true;
            metrics::node_forgotten_early();
        }
    }

    /// Locked after the nodes and after the state of a node.
    fn groups(&self) -> MutexGuard<'_, Groups> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The groups by the labels of a node.
    fn named_by<'a>(&'a self, labels: &'a BTreeMap<String, String>) -> impl Iterator<Item = Group> + 'a {
        // A value that cannot name a group was refused with the hello.
        self.group_by.iter().filter_map(|key| labels.get(key).and_then(|value| Group::of(key, value).ok()))
    }

    /// The groups a node with these labels belongs to, within the cap of groups. Asked after the node is claimed, so
    /// that a group is never forgotten between the two.
    pub(crate) fn groups_of(&self, labels: &BTreeMap<String, String>) -> Vec<Group> {
        let known = &mut self.groups().known;
        let mut groups = Vec::with_capacity(self.group_by.len());
        for group in self.named_by(labels) {
            if known.len() < self.groups_max || known.contains(&group) {
                known.insert(group.clone());
                groups.push(group);
            } else {
                metrics::group_left_out();
            }
        }
        groups
    }

    /// Gives the place of groups without a node to others. A node that was left out joins when it connects next.
    fn forget_groups(&self) {
        if !std::mem::take(&mut self.groups().stale) {
            return;
        }
        let nodes = self.nodes();
        let used: BTreeSet<Group> =
            nodes.values().flat_map(|node| self.named_by(&node.about().labels).collect::<Vec<_>>()).collect();
        self.groups().known.retain(|group| used.contains(group));
    }

    /// Forgets what is older than the history, and tells how much is kept. Once a second.
    pub(crate) fn prune(&self, now_tick: u32) {
        let mut bytes = 0;
        let mut open = 0;
        let mut nodes = self.nodes();
        let before = nodes.len();
        nodes.retain(|_, node| {
            let mut state = node.state();
            state.log.prune(now_tick);
            bytes += state.log.bytes();
            open += usize::from(state.session.is_some());
            state.session.is_some() || state.last_tick() + HISTORY_SECONDS >= now_tick
        });
        if nodes.len() != before {
            self.groups().stale = true;
        }
        drop(nodes);
        self.forget_groups();
        if now_tick.saturating_sub(self.swept.load(Ordering::Relaxed)) >= SWEEP_SECONDS {
            self.swept.store(now_tick, Ordering::Relaxed);
            self.names.sweep();
        }
        metrics::series(self.names.len());
        metrics::frame_log_bytes(bytes);
        metrics::sessions(open);
    }

    /// How long a session must be open before its node is moved without need.
    pub(crate) const SETTLED_AFTER: Duration = Duration::from_secs(15);
}

#[cfg(test)]
mod tests {
    use starling_proto::frame::{Content, Encoder};

    use super::*;

    fn registry() -> Registry {
        Registry::new(vec!["zone".into(), "role".into()], 2, 2)
    }

    fn id(name: &str) -> NodeId {
        NodeId::parse(name).unwrap()
    }

    fn send(claim: &Claim, decoder: &mut Decoder, encoder: &mut Encoder, tick: u32) {
        let frame = encoder.encode(&Content { tick, ..Content::default() }, None, false);
        let before = claim.wants_decoder().then(|| decoder.clone());
        let second = decoder.decode(&frame, &Interner::default()).unwrap().second;
        claim.keep(before, &frame, second, 5);
    }

    #[test]
    fn the_newest_session_wins() {
        let registry = registry();
        let stream = StreamId::random();
        let first = registry.claim(&id("a"), stream, 5, About::default()).unwrap();
        assert_eq!(registry.claim(&id("a"), stream, 4, About::default()).unwrap_err(), ClaimError::Older);
        let second = registry.claim(&id("a"), stream, 6, About::default()).unwrap();
        assert!(first.replaced.is_cancelled() && !second.replaced.is_cancelled());
        let (mut old, mut new) = ((Decoder::new(), Encoder::new()), (Decoder::new(), Encoder::new()));
        send(&second, &mut new.0, &mut new.1, 10);
        send(&first, &mut old.0, &mut old.1, 11);
        assert_eq!(second.node.latest().unwrap().second.tick, 10, "the older session writes no more");
        first.release(true);
        assert_eq!(second.node.presence(), (true, false));
        // A restarted daemon takes over whatever its number.
        let third = registry.claim(&id("a"), StreamId::random(), 1, About::default()).unwrap();
        assert!(second.replaced.is_cancelled());
        third.release(true);
        assert_eq!(third.node.presence(), (false, true));
    }

    #[test]
    fn the_number_of_nodes_is_bounded() {
        let registry = registry();
        let one = registry.claim(&id("a"), StreamId::random(), 1, About::default()).unwrap();
        let _two = registry.claim(&id("b"), StreamId::random(), 1, About::default()).unwrap();
        assert_eq!(registry.claim(&id("c"), StreamId::random(), 1, About::default()).unwrap_err(), ClaimError::Full(2));
        let again = registry.claim(&id("a"), StreamId::random(), 1, About::default());
        assert!(again.is_ok(), "a node that is connected may connect anew");
        one.release(false);
        assert_eq!(registry.connected().len(), 2);
        again.unwrap().release(false);
        assert!(registry.claim(&id("c"), StreamId::random(), 1, About::default()).is_ok());
    }

    #[test]
    fn a_group_goes_with_its_last_node() {
        let registry = registry();
        let about = |zone: &str| About { labels: [("zone".to_owned(), zone.to_owned())].into(), ..About::default() };
        let stream = StreamId::random();
        let connect = |node: &str, number, zone: &str| {
            let claim = registry.claim(&id(node), stream, number, about(zone)).unwrap();
            (registry.groups_of(&about(zone).labels).len(), claim)
        };
        let (_, one) = connect("a", 1, "x");
        let (groups, _two) = connect("b", 1, "y");
        assert_eq!((groups, registry.groups_of(&about("z").labels).len()), (1, 0));
        // Gone, but its last quarter of an hour is not.
        send(&one, &mut Decoder::new(), &mut Encoder::new(), 1000);
        one.release(false);
        registry.prune(1500);
        assert!(registry.groups_of(&about("z").labels).is_empty());
        registry.prune(2000);
        let (groups, _one) = connect("a", 2, "z");
        assert_eq!(groups, 1, "x was given back");
        // Its labels change with a new connection.
        let (groups, _one) = connect("a", 3, "y");
        registry.prune(2000);
        assert_eq!((groups, registry.groups_of(&about("w").labels).len()), (1, 1), "z was given back");
    }

    #[test]
    fn nodes_that_went_are_bounded() {
        let registry = registry();
        for n in 0..GONE_MAX as u32 + 5 {
            let name = id(&format!("node-{n}"));
            let claim = registry.claim(&name, StreamId::random(), 1, About::default()).unwrap();
            send(&claim, &mut Decoder::new(), &mut Encoder::new(), 1000 + n);
            claim.release(false);
        }
        assert_eq!(registry.all().len(), GONE_MAX + 2);
        assert!(registry.get(&id("node-0")).is_none() && registry.get(&id("node-3")).is_some());
    }

    #[test]
    fn two_daemons_of_one_name_are_told_from_restarts() {
        let (mut state, start) = (State::default(), Instant::now());
        let at = |secs| start + Duration::from_secs(secs);
        assert!(!state.taken_over(at(0)) && !state.taken_over(at(40)) && !state.taken_over(at(80)), "restarts");
        assert!(!state.taken_over(at(110)), "three within 70 s");
        assert!(state.taken_over(at(130)) && state.taken_over(at(131)), "three within 50 s");
        assert_eq!(state.takeovers.len(), CONTEST_TAKEOVERS);
    }

    #[test]
    fn groups_are_bounded_and_stay() {
        let registry = registry();
        let labels = |zone: &str| BTreeMap::from([("zone".to_owned(), zone.to_owned()), ("rack".into(), "1".into())]);
        assert_eq!(registry.groups_of(&labels("a")).len(), 1);
        assert_eq!(registry.groups_of(&labels("b")).len(), 1);
        assert!(registry.groups_of(&labels("c")).is_empty());
        assert_eq!(registry.groups_of(&labels("a")), [Group::of("zone", "a").unwrap()]);
    }

    #[test]
    fn forgotten_after_a_quarter_of_an_hour() {
        let registry = registry();
        let claim = registry.claim(&id("a"), StreamId::random(), 1, About::default()).unwrap();
        send(&claim, &mut Decoder::new(), &mut Encoder::new(), 1000);
        registry.prune(5000);
        assert!(registry.get(&id("a")).is_some(), "a connected node stays");
        claim.release(false);
        registry.prune(1900);
        assert!(registry.get(&id("a")).is_some());
        registry.prune(1901);
        assert!(registry.get(&id("a")).is_none());
    }
}
