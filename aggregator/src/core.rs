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
    clock::{age_ms, now_ms, tick_of},
    ingest::AckQueue,
    ledger::{Ledger, OpenError, StreamNo},
    membership::{Membership, State},
    metrics,
};

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
}

/// See the module.
pub(crate) struct Core {
    ledger: Mutex<Ledger>,
    writer: WriterId,
    copies: u32,
    membership: Membership,
    acks: Mutex<HashMap<StreamNo, Arc<AckQueue>>>,
    /// How often the view of each kept second has changed: cheaper to ask than the view itself. Plain mutex.
    edits: Mutex<BTreeMap<u32, u32>>,
    wake: Notify,
    changes: watch::Sender<u64>,
    published: watch::Sender<Published>,
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

    /// On how many aggregators an acknowledged frame is held now.
    pub(crate) fn copies(&self) -> u32 {
        if self.alone() { 1 } else { self.copies }
    }

    /// No other aggregator is known: frames are acknowledged on our own.
    pub(crate) fn alone(&self) -> bool {
        let view = self.membership.view();
        view.me.state != State::Joining && view.live.is_empty() && view.others.is_empty()
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

    /// A node's stream is taken. Acknowledgements go to `acks` from now on.
    ///
    /// # Errors
    /// [`OpenError`] when the ledger knows too many streams.
    pub(crate) fn open_stream(
        &self,
        node: &NodeId,
        stream: StreamId,
        acks: &Arc<AckQueue>,
    ) -> Result<StreamNo, OpenError> {
        let number = self.ledger().open_stream(now_ms(), node, stream)?;
        self.ack_queues().insert(number, acks.clone());
        Ok(number)
    }

    /// A node's stream broke or ended, with its last tick when it said goodbye. Does nothing when a newer connection
    /// of the same stream took its place.
    pub(crate) fn close_stream(&self, number: StreamNo, acks: &Arc<AckQueue>, last_tick: Option<u32>) {
        {
            let mut queues = self.ack_queues();
            if !queues.get(&number).is_some_and(|current| Arc::ptr_eq(current, acks)) {
                return;
            }
            queues.remove(&number);
        }
        let changed = {
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
        let mut done = Done { pruned_at: Instant::now(), closed: 0 };
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
        let alone = self.alone();
        let live: Vec<WriterId> = self.membership.view().live.iter().map(|member| member.writer).collect();
        let (changed, acks, settled, deadline) = {
            let mut ledger = self.ledger();
            ledger.set_alone(alone);
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
