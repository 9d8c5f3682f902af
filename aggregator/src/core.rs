//! The one owner of the ledger: every change goes through here, and everybody who waits for one is woken from here.
//!
//! The ledger stands behind one plain mutex. Sections are short (offering a frame, taking in a run of entries,
//! copying the cells of one group) and never cross an await. What a change sets off (flushes, acknowledgements,
//! settled seconds) is done by one task, [`Core::drive`], so that a burst of frames costs one step and not one each.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use starling_proto::ids::{NodeId, StreamId, WriterId};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::{Jump, Jumps, age_ms, now_ms, tick_of},
    ingest::AckQueue,
    membership::Membership,
    metrics,
};
use starling_ledger::{Ledger, OpenError, StreamNo};

/// How long the driver sleeps at most: once a second it prunes.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);
/// How soon it looks again whether a second is settled, when one is due.
const SETTLE_POLL: Duration = Duration::from_millis(50);
/// Seconds that may be settled in one step after a long pause of the process; older ones are skipped.
const CATCH_UP_SECONDS: u32 = 900;
/// Seconds whose changes are counted: what the ledger keeps, with its slack.
const EDITS_MAX: usize = 1_024;

/// What has been published so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Published {
    /// Newest settled second.
    pub(crate) settled: u32,
    /// Rises with every settled second and with every change of one that was settled before.
    pub(crate) version: u64,
}

/// What the driver has done so far.
struct Done {
    pruned_at: Instant,
    closed: u32,
    began: Instant,
    jumps: Jumps,
}

/// Why a stream is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TakeError {
    /// A newer connection of the node came while this one was being taken.
    #[error("a newer connection of this node took over")]
    Replaced,
    /// The ledger knows too many streams.
    #[error(transparent)]
    Full(#[from] OpenError),
}

/// See the module.
pub(crate) struct Core {
    ledger: Mutex<Ledger>,
    writer: WriterId,
    copies: u32,
    membership: Membership,
    /// Where the acknowledgements of a stream go. Plain mutex; whoever takes it and the ledger takes it first.
    acks: Mutex<HashMap<StreamNo, Arc<AckQueue>>>,
    /// How often the view of each kept second has changed: cheaper to ask than the view itself. Plain mutex.
    edits: Mutex<BTreeMap<u32, u32>>,
    wake: Notify,
    changes: watch::Sender<u64>,
    published: watch::Sender<Published>,
    /// How far the clock went back, once it did: nothing is settled from then on.
    clock_back: watch::Sender<Option<Duration>>,
}

impl Core {
    /// Takes the ledger over. `copies` is what its settings ask for.
    pub(crate) fn new(ledger: Ledger, copies: u32, membership: Membership) -> Self {
        let settled = tick_of(now_ms()).saturating_sub(1);
        Self {
            writer: ledger.writer(),
            ledger: Mutex::new(ledger),
            copies,
            membership,
            acks: Mutex::default(),
            edits: Mutex::default(),
            wake: Notify::new(),
            changes: watch::Sender::new(0),
            published: watch::Sender::new(Published { settled, version: 0 }),
            clock_back: watch::Sender::new(None),
        }
    }

    /// The ledger, for one short section.
    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        // A panic in a section is a bug that the panicking task reports; the others go on.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The log this process writes.
    pub(crate) const fn writer(&self) -> WriterId {
        self.writer
    }

    /// On how many aggregators a frame must be held now before it is acknowledged.
    pub(crate) fn copies(&self) -> u32 {
        self.membership.view().copies(self.copies, Instant::now())
    }

    /// No other aggregator is known: frames are acknowledged on our own.
    pub(crate) fn alone(&self) -> bool {
        self.membership.view().is_alone(Instant::now())
    }

    /// How far the clock of this host went back; `None` as long as it did not. The process must then end: the ledger
    /// never takes a closed or settled second back, so this writer would stand still until the clock has caught up.
    pub(crate) fn clock_back(&self) -> watch::Receiver<Option<Duration>> {
        self.clock_back.subscribe()
    }

    /// Changes of the logs held, for those who send them on.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// What is settled, now and from now on.
    pub(crate) fn published(&self) -> watch::Receiver<Published> {
        self.published.subscribe()
    }

    /// How often the view of `tick` has changed; `None` when nothing of it is known.
    pub(crate) fn edits(&self, tick: u32) -> Option<u32> {
        self.edits.lock().unwrap_or_else(PoisonError::into_inner).get(&tick).copied()
    }

    fn count_edits(&self, changed: &[u32]) {
        let mut edits = self.edits.lock().unwrap_or_else(PoisonError::into_inner);
        for tick in changed {
            *edits.entry(*tick).or_default() += 1;
        }
        while edits.len() > EDITS_MAX {
            edits.pop_first();
        }
    }

    /// Something was offered or applied: the driver looks what follows from it.
    pub(crate) fn nudge(&self) {
        self.wake.notify_one();
    }

    /// A node's stream is taken, unless its connection was `replaced` by a newer one already. Acknowledgements go to
    /// `acks` from now on.
    ///
    /// The queues stay locked across the ledger's part, here and in [`Core::close_stream`]: otherwise the end of one
    /// connection could close the stream that the next one of the same daemon has just opened.
    ///
    /// # Errors
    /// [`TakeError`].
    pub(crate) fn open_stream(
        &self,
        node: &NodeId,
        stream: StreamId,
        acks: &Arc<AckQueue>,
        replaced: &CancellationToken,
    ) -> Result<StreamNo, TakeError> {
        let mut queues = self.ack_queues();
        // A claim cancels the one before it and opens afterwards: whoever is not cancelled here is opened before.
        if replaced.is_cancelled() {
            return Err(TakeError::Replaced);
        }
        let number = self.ledger().open_stream(now_ms(), node, stream)?;
        queues.insert(number, acks.clone());
        Ok(number)
    }

    /// A node's stream broke or ended, with its last tick when it said goodbye. Does nothing when a newer connection
    /// of the same stream took its place.
    pub(crate) fn close_stream(&self, number: StreamNo, acks: &Arc<AckQueue>, last_tick: Option<u32>) {
        let changed = {
            let mut queues = self.ack_queues();
            if !queues.get(&number).is_some_and(|current| Arc::ptr_eq(current, acks)) {
                return;
            }
            queues.remove(&number);
            let mut ledger = self.ledger();
            let changed = last_tick.map(|tick| ledger.end_stream(now_ms(), number, tick));
            ledger.close_stream(number);
            changed.unwrap_or_default()
        };
        self.announce(&changed);
    }

    fn ack_queues(&self) -> MutexGuard<'_, HashMap<StreamNo, Arc<AckQueue>>> {
        self.acks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drives the ledger by time until `stop`, then hands everything pending to the log.
    pub(crate) async fn drive(self: Arc<Self>, stop: CancellationToken) {
        let began = Instant::now();
        let mut done = Done { pruned_at: began, closed: 0, began, jumps: Jumps::new(now_ms()) };
        loop {
            let sleep = self.step(&mut done);
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = self.wake.notified() => {}
                () = tokio::time::sleep(sleep) => {}
            }
        }
        self.flush();
    }

    /// Everything pending becomes an entry now, for a stop.
    pub(crate) fn flush(&self) {
        let changed = self.ledger().flush(now_ms());
        self.announce(&changed);
    }

    /// Does what is due and returns how long nothing will be.
    fn step(&self, done: &mut Done) -> Duration {
        let began = Instant::now();
        let now = now_ms();
        match done.jumps.look(now, done.began.elapsed()) {
            Some(Jump::Back(by)) => {
                metrics::clock_jumped_back(by);
                self.clock_back.send_replace(Some(by));
            }
            Some(Jump::Forward(by)) => metrics::clock_jumped_forward(by),
            None => {}
        }
        let view = self.membership.view();
        let copies = view.copies(self.copies, began);
        let live: Vec<WriterId> = view.live.iter().map(|member| member.writer).collect();
        let (changed, acks, settled, deadline) = {
            let mut ledger = self.ledger();
            ledger.set_copies(copies);
            let changed = ledger.poll(now);
            if done.pruned_at.elapsed() >= LONGEST_SLEEP {
                done.pruned_at = Instant::now();
                ledger.prune(now);
                metrics::ledger(ledger.stats());
            }
            let closed = ledger.closed_tick(now);
            if closed > done.closed {
                done.closed = closed;
                // Peers wait for it before they call the second settled.
                self.changes.send_modify(|version| *version += 1);
            }
            let settled = self.next_settled(&ledger, now, &live);
            (changed, ledger.acks(), settled, ledger.next_deadline())
        };
        // The ledger is free again: the queues are never locked while it is held.
        for ack in acks {
            if let Some(queue) = self.ack_queues().get(&ack.stream) {
                queue.push(ack.tick, ack.copies);
            }
        }
        self.publish(settled, now, &changed);
        metrics::ledger_step(began.elapsed().as_secs_f64());
        let next = deadline.map_or(LONGEST_SLEEP, |at| Duration::from_millis(at.saturating_sub(now)));
        // A second that has ended and is not settled yet may become so by a digest, or by time alone.
        let due = tick_of(now) > self.published.borrow().settled;
        let to_second = Duration::from_millis(1000 - now % 1000);
        next.min(if due { SETTLE_POLL } else { to_second }).min(LONGEST_SLEEP)
    }

    /// The newest second such that it and all before it are settled.
    fn next_settled(&self, ledger: &Ledger, now: u64, live: &[WriterId]) -> u32 {
        let newest = tick_of(now);
        let mut settled = self.published.borrow().settled.max(newest.saturating_sub(CATCH_UP_SECONDS));
        while settled < newest && ledger.settled(settled + 1, now, live) {
            settled += 1;
        }
        settled
    }

    fn publish(&self, settled: u32, now: u64, changed: &[u32]) {
        self.count_edits(changed);
        let before = *self.published.borrow();
        if settled > before.settled {
            metrics::settled(age_ms(settled, now));
        }
        if settled > before.settled || changed.iter().any(|tick| *tick <= before.settled) {
            self.published.send_modify(|published| {
                published.settled = published.settled.max(settled);
                published.version += 1;
            });
        }
        if !changed.is_empty() {
            self.changes.send_modify(|version| *version += 1);
        }
    }

    /// Logs or views changed outside of the driver: peers are told, watchers look again.
    pub(crate) fn announce(&self, changed: &[u32]) {
        self.count_edits(changed);
        let settled = self.published.borrow().settled;
        if changed.iter().any(|tick| *tick <= settled) {
            self.published.send_modify(|published| published.version += 1);
        }
        self.changes.send_modify(|version| *version += 1);
        self.nudge();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::membership::Settings;
    use starling_ledger::{LedgerConfig, Offer};

    async fn core(tasks: &TaskTracker, state: &tempfile::TempDir) -> Core {
        let writer = WriterId::random();
        let settings = Settings {
            id: NodeId::parse("solo").unwrap(),
            writer,
            cluster: "test".into(),
            listen: "127.0.0.1:0".parse().unwrap(),
            advertise: None,
            seeds: Vec::new(),
            grpc: "127.0.0.1:7400".into(),
            weight: 100,
            zone: String::new(),
            state_dir: state.path().to_owned(),
        };
        let membership = Membership::start(settings, tasks).await.unwrap();
        Core::new(Ledger::new(writer, LedgerConfig::default()), 2, membership)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_end_of_a_connection_never_closes_the_next_one() {
        const ROUNDS: usize = 30_000;
        let (tasks, state) = (TaskTracker::new(), tempfile::tempdir().unwrap());
        let core = Arc::new(core(&tasks, &state).await);
        let (node, stream) = (NodeId::parse("web-1").unwrap(), StreamId::random());
        let open = |acks: &Arc<AckQueue>| {
            core.open_stream(&node, stream, acks, &CancellationToken::new()).expect("there is room")
        };
        let queues: Vec<Arc<AckQueue>> = (0..=ROUNDS).map(|_| Arc::default()).collect();
        let number = open(&queues[0]);
        // Spinning brings the two closer together than a barrier that sleeps; the delays sweep over the sections.
        let (begun, ended) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let reached = |counter: &AtomicUsize, round| {
            while counter.load(Ordering::Acquire) < round {
                std::thread::yield_now();
            }
        };
        let delay = |steps| (0..steps).for_each(|_| std::hint::spin_loop());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for (old, round) in queues[..ROUNDS].iter().zip(1..) {
                    reached(&begun, round);
                    delay(round / 100 % 100);
                    core.close_stream(number, old, None);
                    ended.store(round, Ordering::Release);
                }
            });
            for (new, round) in queues[1..].iter().zip(1..) {
                begun.store(round, Ordering::Release);
                delay(round % 100);
                open(new);
                reached(&ended, round);
                let offer = core.ledger().offer(now_ms(), number, tick_of(now_ms()), None, &[], &[]);
                if matches!(offer, Offer::Refused(_)) {
                    // Lets the other thread end, so that the scope does.
                    begun.store(usize::MAX, Ordering::Release);
                    panic!("round {round}: {offer:?}");
                }
            }
        });
        assert_eq!(core.ledger().sessions_len(), 1);
    }

    #[tokio::test]
    async fn a_connection_that_was_replaced_does_not_take_the_stream_back() {
        let (tasks, state) = (TaskTracker::new(), tempfile::tempdir().unwrap());
        let core = core(&tasks, &state).await;
        let (node, stream) = (NodeId::parse("web-1").unwrap(), StreamId::random());
        let (old, new) = (Arc::default(), Arc::default());
        let replaced = CancellationToken::new();
        replaced.cancel();
        let number = core.open_stream(&node, stream, &new, &CancellationToken::new()).unwrap();
        assert_eq!(core.open_stream(&node, stream, &old, &replaced), Err(TakeError::Replaced));
        core.close_stream(number, &old, None);
        assert_eq!(core.ledger().sessions_len(), 1);
    }
}
