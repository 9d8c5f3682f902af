//! One node: who it is, its open stream, its newest second and its last 15 minutes.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use starling_proto::{
    frame::{DecodedFrame, Second},
    ids::{Machine, NodeId, StreamId},
    interner::Interner,
    limits::LIVE_WINDOW,
    nodes::Origin,
    series::Series,
    v1,
};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::{
    desk::{Desk, Shown},
    names::{NameQuota, NodeNames},
    namesakes::ALIVE_FOR,
};
use crate::{
    blocks::{
        BLOCK_SECONDS, Backing, Begun, Block, History, LogPlace, LogRows, Lost, OpenBlock, Picked, Restored, Slice,
        WantedOfLayouts, sparse,
    },
    bucket::Bucket,
    clock::now_ms,
    metrics::Metrics,
};

/// So many takeovers by another daemon within [`CONTEST_WINDOW`] are no restarts any more.
const CONTEST_TAKEOVERS: usize = 3;
/// See [`CONTEST_TAKEOVERS`].
const CONTEST_WINDOW: Duration = Duration::from_secs(60);
/// Connections that a node may open at once: a failover with a network that comes and goes takes some ten. Beyond it one a second
/// ([`CONNECTS_PER_SECOND`]); a further one is refused and counted as such, and the open one stays.
const CONNECTS_BURST: f64 = 60.0;
/// See [`CONNECTS_BURST`].
const CONNECTS_PER_SECOND: f64 = 1.0;
/// Bytes of the blocks of all nodes together. Beyond it the oldest blocks go, whichever node they belong to, and are
/// counted: the last 15 minutes of 4,000 busy hosts (100 to 150 bytes a frame) fit. About half of what is written to is
/// not sealed yet and takes up to twice as much.
pub(super) const BLOCKS_BYTES_MAX: usize = 512 * 1024 * 1024;
/// What may come above [`BLOCKS_BYTES_MAX`] between two rounds of dropping, once a second; beyond it a node that
/// writes drops its own oldest block.
const BLOCKS_BYTES_SLACK: usize = BLOCKS_BYTES_MAX / 8;

/// Seconds of a former owner that are written in one short section: about a quarter of a millisecond.
const ADOPTED_AT_ONCE: usize = 16;

/// What a node says of itself: when it connects, and of its collectors whenever it changes.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct About {
    /// Facts that change only with a reboot, and the version of the daemon.
    pub(crate) facts: v1::NodeFacts,
    /// Operator's labels.
    pub(crate) labels: BTreeMap<String, String>,
    /// Why none of its newest seconds may be counted: how far its clock is off. Empty when it is right.
    pub(crate) silent_reason: String,
    /// Its samples are replays.
    pub(crate) simulated: bool,
    /// Its collectors that do not read all they should, sorted by name; as of [`starling_proto::nodes::taken_faults`].
    pub(crate) collector_faults: Vec<v1::CollectorFault>,
    /// From where it comes.
    pub(crate) origin: Origin,
}

/// The open stream of a node.
#[derive(Debug, Clone)]
pub(crate) struct NodeSession {
    /// The daemon's start.
    pub(crate) stream: StreamId,
    /// Grows with each connection of that start.
    pub(crate) number: u32,
    /// Ends the stream: a newer one took its place.
    pub(crate) replaced: CancellationToken,
    /// Asks the stream to send its node to the owner.
    pub(crate) redirect: Arc<Notify>,
    /// Why it must end, when another machine holds the name: set before `replaced` is cancelled.
    pub(super) namesake: Arc<OnceLock<String>>,
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

/// What all nodes of a registry have together.
#[derive(Debug)]
pub(super) struct Shared {
    /// When the process started.
    pub(super) started: Instant,
    /// Nodes with an open stream.
    pub(super) connected: AtomicUsize,
    /// Bytes of the blocks of all nodes, counted exactly once a second and by what was written since.
    pub(super) block_bytes: AtomicUsize,
    /// Newest rows of each node that stay in memory when a log has them.
    pub(super) newest_rows: AtomicUsize,
    /// Where is what memory does not hold; none without a disk. Blocks that are over wait for whoever keeps them there,
    /// instead of being sealed in memory.
    pub(super) backing: OnceLock<Arc<dyn Backing>>,
    /// Where it is counted.
    pub(super) metrics: Arc<Metrics>,
}

impl Shared {
    /// Blocks take so many bytes less. The exact count may have come before: never below 0.
    fn freed(&self, bytes: usize) {
        let less = |now: usize| Some(now.saturating_sub(bytes));
        let _ = self.block_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }
}

/// As [`DecodedFrame::sparse`] has them.
type SparseBytes = [Box<[Bytes]>; 2];

#[derive(Debug, Default)]
struct State {
    about: Arc<About>,
    session: Option<NodeSession>,
    /// Number of the stream that may write; an older one that is still ending may not.
    epoch: u64,
    history: History,
    /// A second that is not in its block yet, with the bytes of its histograms. It is written when the next one comes,
    /// when the history is read, and once a second after the cluster's second is settled: work without a reader
    /// does not delay what all wait for.
    unwritten: Option<(Arc<Latest>, SparseBytes)>,
    latest: Option<Arc<Latest>>,
    stopped: bool,
    /// What it may still connect; full before the first connection.
    connects: Option<Bucket>,
    /// What is read of it while somebody looks; `None` when nobody does.
    desk: Option<Box<Desk>>,
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
pub(crate) struct IngestNode {
    /// Its name.
    pub(crate) id: NodeId,
    state: Mutex<State>,
    /// Plain mutex; taken when the node brings a name that is new to the process.
    quota: Mutex<NameQuota>,
    ticks: watch::Sender<u32>,
    /// Milliseconds from the start of the process to the newest message of its stream.
    heard_ms: AtomicU64,
    /// Somebody begins to look, or looks on.
    looked_at: Notify,
    shared: Arc<Shared>,
}

/// The right of one session to write the history of its node.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) node: Arc<IngestNode>,
    /// Cancelled when a newer session takes over.
    pub(crate) replaced: CancellationToken,
    /// Notified when the node is to be sent to its owner.
    pub(crate) redirect: Arc<Notify>,
    namesake: Arc<OnceLock<String>>,
    epoch: u64,
}

/// Why a session cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ClaimError {
    /// A newer connection of the same daemon is open.
    #[error("a newer connection of this daemon is open")]
    Older,
    /// It connects again and again.
    #[error(
        "this node opened {CONNECTS_BURST} connections within moments and one a second since: it is to wait longer"
    )]
    TooOften,
    /// As many nodes as the settings allow are connected.
    #[error("{0} nodes are connected, as many as nodes_max allows")]
    Full(usize),
}

/// What pruning a node found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pruned {
    /// Bytes of its blocks.
    pub(super) bytes: usize,
    /// Of these, what a log has, too.
    pub(super) newest_bytes: usize,
    /// It has a stream.
    pub(super) connected: bool,
    /// Its newest tick; 0 before the first frame.
    pub(super) last_tick: u32,
    /// A block is due to be sealed.
    pub(super) due: bool,
    /// What went before it was kept on the disk, since the last time.
    pub(super) lost: Lost,
}

#[cfg(test)]
thread_local! {
    /// How often this thread has locked a node: what tests call work.
    pub(super) static LOCKS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

impl IngestNode {
    pub(super) fn new(id: NodeId, shared: Arc<Shared>) -> Arc<Self> {
        let (state, quota) = (Mutex::default(), Mutex::default());
        let (ticks, heard_ms, looked_at) = (watch::Sender::new(0), AtomicU64::new(0), Notify::new());
        Arc::new(Self { id, state, quota, ticks, heard_ms, looked_at, shared })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        #[cfg(test)]
        LOCKS.with(|locks| locks.set(locks.get() + 1));
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

    /// Whether it has a stream here, and whether it ended its stream.
    pub(crate) fn presence(&self) -> (bool, bool) {
        let state = self.state();
        (state.session.is_some(), state.stopped)
    }

    /// Its open stream.
    pub(super) fn session(&self) -> Option<NodeSession> {
        self.state().session.clone()
    }

    fn heard_now(&self) {
        let since_start = u64::try_from(self.shared.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.heard_ms.store(since_start, Ordering::Relaxed);
    }

    fn is_alive(&self) -> bool {
        let heard = Duration::from_millis(self.heard_ms.load(Ordering::Relaxed));
        self.shared.started.elapsed().saturating_sub(heard) < ALIVE_FOR
    }

    /// From where its open stream comes, if that is another machine than `machine` and alive.
    pub(super) fn held_by_other(&self, machine: &Machine) -> Option<Origin> {
        let state = self.state();
        let held = state.session.is_some() && self.is_alive() && state.about.origin.machine.differs(machine);
        held.then(|| state.about.origin.clone())
    }

    /// Ends its stream if `other`, which `aggregator` holds, is another machine and came first: both asked for the name
    /// before the one aggregator knew of the other. Returns from where our own stream came.
    pub(crate) fn yield_to(&self, other: &Origin, aggregator: &str) -> Option<String> {
        let state = self.state();
        let (session, own) = (state.session.as_ref()?, &state.about.origin);
        let order = |origin: &Origin| (origin.since_unix_ms, origin.machine.id, origin.machine.boot);
        if other.since_unix_ms == 0 || !own.machine.differs(&other.machine) || order(other) >= order(own) {
            return None;
        }
        session.namesake.set(super::held_text(&self.id, &other.address, aggregator)).ok()?;
        session.replaced.cancel();
        Some(own.address.clone())
    }

    /// Its newest tick, now and from now on; 0 before the first frame.
    pub(crate) fn ticks(&self) -> watch::Receiver<u32> {
        self.ticks.subscribe()
    }

    /// Seconds `from..=to` as far as they are kept, to be read outside of the lock.
    pub(crate) fn slice(&self, from: u32, to: u32) -> Slice {
        let mut state = self.state();
        self.write(&mut state);
        state.history.slice(from, to).of(&self.id, self.shared.backing.get())
    }

    /// Some series over the seconds `from..=to` as far as they are in open blocks or in memory, and what was picked of open blocks;
    /// `begun` is what an earlier call gave for the same `wanted` series.
    pub(crate) fn pick(
        &self,
        (from, to): (u32, u32),
        begun: &[Arc<Begun>],
        wanted: (impl Fn(&Series) -> bool, &WantedOfLayouts),
    ) -> (Picked, Vec<Arc<Begun>>) {
        let picking = {
            let mut state = self.state();
            self.write(&mut state);
            state.history.picking(from, to, begun)
        };
        let (here, logged) = picking.rows();
        self.shared.metrics.open_rows_read(here, logged);
        picking.pick(begun, self.shared.backing.get().map(|backing| &**backing), wanted)
    }

    /// Puts the newest second into its block if it is not there yet.
    pub(super) fn write_newest(&self) {
        self.write(&mut self.state());
    }

    fn write(&self, state: &mut State) {
        let Some((kept, sparse)) = state.unwritten.take() else { return };
        let history = &mut state.history;
        let before = history.bytes();
        if !history.push(&kept.second, &sparse) {
            self.shared.metrics.seconds_not_kept.inc();
        }
        let all = &self.shared.block_bytes;
        let added = history.bytes().saturating_sub(before);
        let mut now = all.fetch_add(added, Ordering::Relaxed) + added;
        while now > BLOCKS_BYTES_MAX + BLOCKS_BYTES_SLACK {
            let lost = history.drop_oldest();
            if lost == 0 {
                break;
            }
            self.shared.metrics.blocks_lost(lost);
            now = all.fetch_sub(lost.min(now), Ordering::Relaxed).saturating_sub(lost);
        }
    }

    /// `None` while a stream is open; otherwise when it was last seen.
    pub(super) fn gone_since(&self) -> Option<u32> {
        let state = self.state();
        state.session.is_none().then(|| state.last_tick())
    }

    /// A new stream takes over. Returns the right to write, and whether the node's labels are others than before.
    ///
    /// # Errors
    /// [`ClaimError::Older`].
    pub(super) fn claim(
        self: &Arc<Self>,
        stream: StreamId,
        number: u32,
        mut about: About,
    ) -> Result<(Claim, bool), ClaimError> {
        let mut state = self.state();
        let now = Instant::now();
        let full = || Bucket::new(now, CONNECTS_BURST, CONNECTS_PER_SECOND);
        if !state.connects.get_or_insert_with(full).try_take(now) {
            return Err(ClaimError::TooOften);
        }
        let before = &state.about.origin;
        about.origin.since_unix_ms = match &state.session {
            Some(_) if !before.machine.differs(&about.origin.machine) => before.since_unix_ms,
            _ => now_ms(),
        };
        match &state.session {
            Some(session) => {
                if session.stream == stream && session.number > number {
                    return Err(ClaimError::Older);
                }
                session.replaced.cancel();
                let restarted = session.stream != stream;
                if restarted && state.taken_over(Instant::now()) {
                    self.shared.metrics.node_contested(self.id.as_str());
                }
            }
            None => drop(self.shared.connected.fetch_add(1, Ordering::Relaxed)),
        }
        let session = NodeSession {
            stream,
            number,
            replaced: CancellationToken::new(),
            redirect: Arc::new(Notify::new()),
            namesake: Arc::default(),
            since: Instant::now(),
        };
        state.epoch += 1;
        let claim = Claim {
            node: self.clone(),
            replaced: session.replaced.clone(),
            redirect: session.redirect.clone(),
            namesake: session.namesake.clone(),
            epoch: state.epoch,
        };
        state.session = Some(session);
        let relabelled = state.about.labels != about.labels;
        state.about = Arc::new(about);
        state.stopped = false;
        self.heard_now();
        Ok((claim, relabelled))
    }

    /// Somebody looks at it: has it read what is dear to read, for some seconds, and gives what it read last, now and from now
    /// on. `None` when it has no stream here.
    pub(crate) fn look(&self) -> Option<watch::Receiver<Shown>> {
        let mut state = self.state();
        state.session.as_ref()?;
        let desk = state.desk.get_or_insert_default();
        let asks = desk.wanted(Instant::now());
        let shown = desk.shown();
        drop(state);
        if asks {
            self.looked_at.notify_one();
        }
        Some(shown)
    }

    /// Forgets what is older than the live window, as [`History::prune`] does.
    pub(super) fn prune(&self, now_tick: u32) -> Pruned {
        let mut state = self.state();
        if state.desk.as_ref().is_some_and(|desk| desk.is_left(Instant::now())) {
            state.desk = None;
        }
        self.write(&mut state);
        let due = state.history.prune(now_tick, LIVE_WINDOW, self.shared.backing.get().is_some());
        state.history.keep_newest(self.shared.newest_rows.load(Ordering::Relaxed));
        // What a log brought back is older than the first frame.
        let last_tick = state.last_tick().max(state.history.newest().unwrap_or(0));
        let (bytes, newest_bytes) = (state.history.bytes(), state.history.newest_bytes());
        let lost = state.history.take_lost();
        Pruned { bytes, newest_bytes, connected: state.session.is_some(), last_tick, due, lost }
    }

    /// The rows of its blocks that no log has, its newest second among them; they count as logged from now on.
    pub(crate) fn unlogged(&self) -> Vec<LogRows> {
        let mut state = self.state();
        self.write(&mut state);
        state.history.unlogged()
    }

    /// As [`History::log_again`].
    pub(crate) fn log_again(&self, start: u32, first: u32) {
        self.state().history.log_again(start, first);
    }

    /// As [`History::now_logged`], of rows of one block from number `first` on.
    pub(crate) fn now_logged(&self, start: u32, first: u32, rows: &[(Arc<[u8]>, LogPlace)]) {
        let mut state = self.state();
        let before = state.history.bytes();
        for ((bytes, place), number) in rows.iter().zip(first as usize..) {
            state.history.now_logged(start, number, bytes, *place);
        }
        state.history.keep_newest(self.shared.newest_rows.load(Ordering::Relaxed));
        let freed = before.saturating_sub(state.history.bytes());
        drop(state);
        self.shared.freed(freed);
    }

    /// Puts rows that a log held back.
    pub(super) fn restore(&self, rows: LogRows) -> Restored {
        self.state().history.restore(rows)
    }

    /// Its blocks in memory with seconds from `tick` on, for its next owner. About 2 ms each.
    pub(crate) fn since(&self, tick: u32) -> impl Iterator<Item = Block> + '_ {
        let recent = {
            let mut state = self.state();
            self.write(&mut state);
            state.history.since(tick)
        };
        recent.into_iter().map(|recent| recent.into_block(self.shared.backing.get().map(|backing| &**backing)))
    }

    /// Adds the seconds of a block of its former owner that are not in memory. How many.
    pub(crate) fn adopt(&self, block: &Block) -> usize {
        let start = block.start();
        let missing: Vec<u32> = {
            let state = self.state();
            let ticks = (start..start + BLOCK_SECONDS).filter(|tick| block.holds(*tick));
            ticks.filter(|tick| !state.history.holds(*tick)).collect()
        };
        let (Some(first), Some(last)) = (missing.first(), missing.last()) else { return 0 };
        let mut seconds = block.seconds(*first, *last);
        seconds.retain(|second| missing.binary_search(&second.tick).is_ok());
        // Short sections: a node that reports does not wait for all of them.
        let push = |some: &[Second]| {
            let mut state = self.state();
            some.iter().filter(|second| state.history.push(second, &sparse(second))).count()
        };
        seconds.chunks(ADOPTED_AT_ONCE).map(push).sum()
    }

    /// As [`History::waiting`]: the starts of blocks that are not kept on the disk, and whether they can be now.
    pub(crate) fn waiting(&self, now_tick: u32) -> Vec<(u32, bool)> {
        self.state().history.waiting(now_tick).collect()
    }

    /// Its open blocks that are due to be kept on the disk, to be read outside of the lock.
    pub(crate) fn due(&self, now_tick: u32) -> Vec<OpenBlock> {
        self.state().history.due(now_tick)
    }

    /// As [`History::forget`]: what is kept on the disk, memory need not.
    pub(crate) fn forget_block(&self, block: u32, seconds: usize) {
        let mut state = self.state();
        let before = state.history.bytes();
        state.history.forget(block, seconds);
        let freed = before.saturating_sub(state.history.bytes());
        drop(state);
        self.shared.freed(freed);
    }

    /// The newest second of it that is held; 0 without one.
    pub(crate) fn newest(&self) -> u32 {
        let state = self.state();
        state.last_tick().max(state.history.newest().unwrap_or(0))
    }

    /// Whether no second of it is held.
    pub(super) fn is_empty(&self) -> bool {
        let state = self.state();
        state.history.is_empty() && state.unwritten.is_none()
    }

    /// Seals the blocks that are due, without a disk to keep them on. The work, about 2 ms for 500 series, is done outside of the lock.
    pub(super) fn seal(&self, now_tick: u32) {
        let due = self.state().history.due(now_tick);
        for open in due {
            let (sealed, _) = open.seal(None);
            self.state().history.seal(&open, sealed);
        }
    }

    /// Start of its oldest block.
    pub(super) fn oldest_block(&self) -> Option<u32> {
        self.state().history.oldest()
    }

    /// Forgets its oldest block. Returns its bytes.
    pub(super) fn drop_oldest_block(&self) -> usize {
        self.state().history.drop_oldest()
    }
}

impl Claim {
    /// A message came.
    pub(super) fn heard(&self) {
        self.node.heard_now();
    }

    /// Why the stream must end, when that is because another machine holds the name.
    pub(super) fn namesake(&self) -> Option<&str> {
        self.namesake.get().map(String::as_str)
    }

    /// The names of the process within the quota of this node.
    pub(super) fn names<'a>(&'a self, names: &'a Interner) -> NodeNames<'a> {
        NodeNames { names, quota: &self.node.quota, now: Instant::now() }
    }

    /// Keeps one second.
    pub(crate) fn keep(&self, frame: DecodedFrame, delay_ms: u32) {
        let DecodedFrame { second, sparse, .. } = frame;
        let tick = second.tick;
        {
            let mut state = self.node.state();
            if state.epoch != self.epoch {
                return;
            }
            self.node.write(&mut state);
            let kept = Arc::new(Latest { second, delay_ms });
            if state.last_tick() <= tick {
                state.latest = Some(Arc::clone(&kept));
            }
            state.unwritten = Some((kept, sparse));
        }
        self.node.ticks.send_if_modified(|newest| {
            let newer = tick > *newest;
            *newest = tick.max(*newest);
            newer
        });
    }

    /// Waits until somebody looks at the node.
    pub(super) async fn looked_at(&self) {
        self.node.looked_at.notified().await;
    }

    /// For how many seconds the node is to read its detail; `None` when nobody looks.
    pub(super) fn look_seconds(&self) -> Option<u32> {
        let mut state = self.node.state();
        state.desk.as_mut()?.told(Instant::now())
    }

    /// Shows what the node read because somebody looks.
    pub(super) fn detail(&self, detail: v1::NodeDetail) {
        let state = self.node.state();
        if state.epoch == self.epoch
            && let Some(desk) = &state.desk
        {
            desk.show(detail, Instant::now());
        }
    }

    /// Replaces what is known of the node's collectors.
    pub(super) fn collectors(&self, faults: Vec<v1::CollectorFault>) {
        let mut state = self.node.state();
        if state.epoch == self.epoch && state.about.collector_faults != faults {
            state.about = Arc::new(About { collector_faults: faults, ..About::clone(&state.about) });
        }
    }

    /// The session is over; `end_of_stream` when the daemon stopped on purpose.
    pub(crate) fn release(&self, end_of_stream: bool) {
        let mut state = self.node.state();
        if state.epoch == self.epoch {
            if state.session.take().is_some() {
                self.node.shared.connected.fetch_sub(1, Ordering::Relaxed);
            }
            state.stopped = end_of_stream;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_daemons_of_one_name_are_distinguished_from_restarts() {
        let (mut state, start) = (State::default(), Instant::now());
        let at = |secs| start + Duration::from_secs(secs);
        assert!(!state.taken_over(at(0)) && !state.taken_over(at(40)) && !state.taken_over(at(80)), "restarts");
        assert!(!state.taken_over(at(110)), "three within 70 s");
        assert!(state.taken_over(at(130)) && state.taken_over(at(131)), "three within 50 s");
        assert_eq!(state.takeovers.len(), CONTEST_TAKEOVERS);
    }
}
