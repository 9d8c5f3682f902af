//! The one owner of the ledger. It goes at its own pace: requests are taken as they come, what follows from them
//! (flushes, acknowledgements, settled seconds, messages to peers) is done every few milliseconds, so that a burst of
//! frames costs one step and not one each. Nothing is read or decoded in here that can be done before.
//!
//! Only this task touches the ledger, so there is no lock, and a bug in it ends the task and with it the process: a
//! restart is a new writer.

mod acks;
mod gate;
mod handle;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use starling_ledger::{
    Action, CatchUp, DecodedRun, Dispute, EntriesError, Event, Ledger, Quarantine, Restored, Saved, StreamNo,
    limits::{BYTES_PER_EVENT, ENTRIES_PER_EVENT},
};
use starling_proto::{ids::WriterId, limits::LATE_WINDOW};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::handle::{Request, Shared};
pub(crate) use self::{
    acks::AckQueue,
    gate::Gate,
    handle::{Ended, Inlet, LedgerHandle, Outlet, Published, Seat, TakeError, TakenOut, Turn},
};
use crate::{
    clock::{JUMP_MAX, Jump, Jumps, age_ms, now_ms, tick_of},
    membership::Membership,
    metrics::Metrics,
};

/// At most one step in this time.
const STEP_EVERY: Duration = Duration::from_millis(5);
/// Requests taken out of the queue at once.
const BATCH: usize = 64;
/// How long it sleeps at most: digests go to peers twice a second.
const LONGEST_SLEEP: Duration = Duration::from_millis(500);
/// How soon it looks again whether a second is settled, when one is due.
const SETTLE_POLL: Duration = Duration::from_millis(25);
/// Views that readers see: more than the ledger keeps, also while it makes up for the longest outage. The oldest go first.
const VIEWS_MAX: usize = 8_192;
const _: () = assert!(VIEWS_MAX > CatchUp::DEFAULT.seconds_held(LATE_WINDOW) as usize);
/// How often counters are passed on.
const METRICS_EVERY: Duration = Duration::from_secs(1);

/// See the module.
pub(crate) struct LedgerTask {
    ledger: Ledger,
    inbox: mpsc::Receiver<Request>,
    shared: Arc<Shared>,
    metrics: Arc<Metrics>,
    /// Where the acknowledgements of a stream go, and its connection.
    acks: HashMap<StreamNo, (u64, Arc<AckQueue>)>,
    /// The connections to peers.
    outlets: BTreeMap<WriterId, (u64, Outlet)>,
    last_key: u64,
    live: Vec<WriterId>,
    copies: u32,
    metered_at: Instant,
}

/// What came of one request, for whoever waits for it.
#[derive(Default)]
struct Outcome {
    opened: Option<Result<StreamNo, starling_ledger::OpenError>>,
    refused: Option<starling_ledger::Refused>,
    digest_refused: Option<starling_ledger::DigestError>,
    over_quota: bool,
    taken_out: Vec<TakenOut>,
}

impl LedgerTask {
    /// Takes the ledger over. `copies` is what its settings ask for.
    pub(crate) fn new(
        ledger: Ledger,
        copies: u32,
        membership: Membership,
        metrics: Arc<Metrics>,
    ) -> (LedgerHandle, Self) {
        let settled = tick_of(now_ms()).saturating_sub(1);
        let (handle, inbox) = LedgerHandle::new(ledger.writer(), copies, membership, settled);
        let shared = handle.shared();
        let task = Self {
            ledger,
            inbox,
            shared,
            metrics,
            acks: HashMap::new(),
            outlets: BTreeMap::new(),
            last_key: 0,
            live: Vec::new(),
            copies: 0,
            metered_at: Instant::now(),
        };
        (handle, task)
    }

    /// Takes the logs that the store kept for the process before this one, as those of others: they are shown, and passed
    /// on to whoever lacks them. From now on only what the store keeps counts as a copy. Returns what it has kept.
    ///
    /// `settled` is the newest second that was settled then: it was answered, and is so again from the first answer on. `floor` is
    /// where that process had its floor, if it wrote it down: without the logs nobody knows what was counted above it.
    pub(crate) fn restore(&mut self, restored: Restored, settled: Option<u32>, floor: Option<u32>) -> Saved {
        self.shared.on_disk.store(true, Ordering::Relaxed);
        let floor = floor.or_else(|| settled.map(|settled| settled.saturating_sub(LATE_WINDOW)));
        self.handle(Event::Floor(floor.filter(|_| !restored.is_empty())));
        let (me, began) = (self.shared.writer, Instant::now());
        let (mut logs, mut entries, mut left_out) = (0u64, 0u64, restored.left_out() as u64);
        for run in restored.runs() {
            let Ok(run) = DecodedRun::decode(&run) else {
                left_out += 1;
                continue;
            };
            logs += 1;
            entries += run.len() as u64;
            for piece in run.pieces(ENTRIES_PER_EVENT, BYTES_PER_EVENT) {
                self.handle(Event::Entries { from: me, run: piece });
            }
        }
        for log in self.ledger.logs() {
            self.handle(Event::Synced { writer: log.writer, up_to: log.length });
        }
        self.handle(Event::Tick);
        self.show_gate();
        // A step brings out a few seconds only: until all were, answers would lack what was acknowledged.
        self.handle(Event::BringOut);
        // One that lies ahead is of a clock that was put back since.
        if let Some(settled) = settled.filter(|settled| *settled <= tick_of(now_ms())) {
            self.shared.published.send_modify(|published| published.settled = published.settled.max(settled));
        }
        self.metrics.ledger_restored(logs, entries, left_out, began.elapsed());
        self.ledger.all_saved()
    }

    /// Whose word counts no more, from the start on.
    pub(crate) fn refuse(&mut self, quarantine: Quarantine) {
        self.handle(Event::Quarantine(quarantine));
    }

    /// Drives the ledger until `stop`, then hands everything pending to the log.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let began = Instant::now();
        let mut jumps = Jumps::new(JUMP_MAX, now_ms(), Duration::ZERO);
        let mut stepped = began;
        let mut batch = Vec::with_capacity(BATCH);
        let mut sleep = Duration::ZERO;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                taken = self.inbox.recv_many(&mut batch, BATCH) => if taken == 0 { break },
                () = tokio::time::sleep_until((stepped + sleep).into()) => {}
            }
            let asked = !batch.is_empty();
            for request in batch.drain(..) {
                let taken = Instant::now();
                self.take(request);
                // Shown beside the steps: nothing else is done meanwhile either.
                if taken.elapsed() >= STEP_EVERY {
                    self.metrics.ledger_step.record(taken.elapsed());
                }
                if stepped.elapsed() >= STEP_EVERY {
                    (stepped, sleep) = self.look_and_step(&mut jumps, began);
                }
            }
            if asked {
                sleep = sleep.min(STEP_EVERY);
            } else if stepped.elapsed() >= sleep {
                (stepped, sleep) = self.look_and_step(&mut jumps, began);
            }
        }
        self.handle(Event::Flush);
        self.handle(Event::Tick);
    }

    /// One step. Returns when it began and how long nothing will be due.
    fn look_and_step(&mut self, jumps: &mut Jumps, began: Instant) -> (Instant, Duration) {
        let stepped = Instant::now();
        self.look_at_the_clock(jumps, began.elapsed());
        let sleep = self.step();
        self.metrics.ledger_step.record(stepped.elapsed());
        (stepped, sleep)
    }

    fn look_at_the_clock(&self, jumps: &mut Jumps, since_start: Duration) {
        match jumps.look(now_ms(), since_start) {
            Some(Jump::Back(by)) => {
                self.metrics.clock_jumped_back(by);
                self.shared.clock_back.send_replace(Some(by));
            }
            Some(Jump::Forward(by)) => self.metrics.clock_jumped_forward(by),
            None => {}
        }
    }

    /// Does what is due and returns how long nothing will be.
    fn step(&mut self) -> Duration {
        let view = self.shared.membership.view();
        let copies = view.copies(self.shared.wanted_copies, Instant::now());
        if copies != self.copies {
            self.copies = copies;
            self.handle(Event::Copies(copies));
        }
        let live: Vec<WriterId> = view.live.iter().map(|member| member.writer).collect();
        if live != self.live {
            self.live.clone_from(&live);
            self.handle(Event::Live(live));
        }
        self.handle(Event::Tick);
        self.show_gate();
        self.shared.sessions.store(self.ledger.sessions_len(), Ordering::Relaxed);
        let trouble = self.ledger.trouble();
        self.shared.trouble.send_if_modified(|known| {
            let differs = *known != trouble;
            if differs {
                self.metrics.ledger_trouble(trouble.as_deref());
                *known = trouble;
            }
            differs
        });
        if self.metered_at.elapsed() >= METRICS_EVERY {
            self.metered_at = Instant::now();
            self.metrics.ledger(self.ledger.stats());
            self.look_for_disputes();
        }
        let now = now_ms();
        let next = self.ledger.next_deadline().map(|at| Duration::from_millis(at.saturating_sub(now)));
        // A second that has ended and is not settled yet may become so by a digest, or by time alone.
        let due = tick_of(now) > self.shared.published.borrow().settled;
        let to_second = Duration::from_millis(1000 - now % 1000);
        let settle = if due { SETTLE_POLL } else { to_second };
        next.map_or(settle, |next| next.min(settle)).min(LONGEST_SLEEP).max(STEP_EVERY)
    }

    /// Which seconds are taken from now on.
    fn show_gate(&self) {
        let (floor, old_until) = (self.ledger.gate_floor(), self.ledger.old_until());
        self.shared.is_behind.store(self.ledger.is_behind(), Ordering::Relaxed);
        let [shown_floor, shown_until] = &self.shared.gate;
        shown_floor.store(floor, Ordering::Relaxed);
        let taken_before = shown_until.swap(old_until, Ordering::Relaxed) > 0;
        if taken_before != (old_until > 0) {
            self.metrics.making_up(old_until > 0, floor);
        }
    }

    /// Names authors that contradict each other.
    fn look_for_disputes(&self) {
        let mut named = BTreeSet::new();
        for Dispute { authors, frames, nodes, .. } in self.ledger.disputes() {
            self.metrics.dispute([&authors[0], &authors[1]], frames, nodes.len());
            named.extend(authors);
        }
        self.metrics.ledger_disputed.set(named.len() as f64);
        self.shared.disputed.store(named.len(), Ordering::Relaxed);
    }

    fn take(&mut self, request: Request) {
        match request {
            Request::Open { node, stream, acks, replaced, answer } => {
                // A claim cancels the one before it and asks afterwards: whoever is not cancelled here came first.
                if replaced.is_cancelled() {
                    let _ = answer.send(Err(TakeError::Replaced));
                    return;
                }
                self.last_key += 1;
                let key = self.last_key;
                let opened = self.handle(Event::Open { key, node, stream }).opened;
                let seat = opened.ok_or(Ended.into()).and_then(|opened| Ok(Seat { key, stream: opened? }));
                if let Ok(seat) = seat {
                    self.acks.insert(seat.stream, (key, acks));
                }
                let _ = answer.send(seat);
            }
            Request::Offer { offered, answer } => {
                let refused = self.handle(Event::Offer(offered)).refused;
                let _ = answer.send(refused.map_or(Ok(()), Err));
            }
            Request::Close { seat: Seat { key, stream }, last_tick } => {
                if self.acks.get(&stream).is_some_and(|(current, _)| *current == key) {
                    self.acks.remove(&stream);
                }
                self.handle(Event::Close { key, stream, last_tick });
            }
            Request::PeerOpened { peer, link, outlet } => {
                self.outlets.insert(peer, (link, outlet));
                self.handle(Event::PeerOpened(peer));
            }
            Request::PeerClosed { peer, link } => {
                if self.outlets.get(&peer).is_some_and(|(current, _)| *current == link) {
                    self.outlets.remove(&peer);
                    self.handle(Event::PeerClosed(peer));
                }
            }
            Request::PeerLost(peer) => drop(self.handle(Event::PeerLost(peer))),
            Request::Room { peer, bytes } => drop(self.handle(Event::Room { peer, bytes })),
            Request::Digest { digest, answer } => {
                let refused = self.handle(Event::Digest(digest)).digest_refused;
                let _ = answer.send(refused.map_or(Ok(()), Err));
            }
            Request::Entries { from, run, answer } => {
                let began = Instant::now();
                let over_quota = self.handle(Event::Entries { from, run }).over_quota;
                // The stream may have ended meanwhile.
                let _ = answer.send(Turn { took: began.elapsed(), over_quota });
            }
            Request::Quarantine { quarantine, answer } => {
                let taken_out = self.handle(Event::Quarantine(quarantine)).taken_out;
                let _ = answer.send(taken_out);
            }
            Request::CaughtUp => drop(self.handle(Event::CaughtUp)),
            Request::Recall(known) => drop(self.handle(Event::Recall(known))),
            Request::Gone(node) => drop(self.handle(Event::Gone(node))),
            Request::Stored(logs) => {
                for (writer, up_to) in logs {
                    self.handle(Event::Synced { writer, up_to });
                }
            }
            Request::Flush(answer) => {
                self.handle(Event::Flush);
                self.handle(Event::Tick);
                let _ = answer.send(());
            }
            Request::BringOut(answer) => {
                self.handle(Event::BringOut);
                let _ = answer.send(());
            }
            Request::Ask(question) => question(&self.ledger),
        }
    }

    /// Hands an event in and does what it asks for.
    fn handle(&mut self, event: Event) -> Outcome {
        let mut outcome = Outcome::default();
        self.ledger.handle(now_ms(), event);
        while let Some(action) = self.ledger.next_action() {
            self.act(action, &mut outcome);
        }
        outcome
    }

    fn act(&mut self, action: Action, outcome: &mut Outcome) {
        match action {
            Action::Opened { result, .. } => outcome.opened = Some(result),
            Action::Refused { refused, .. } => outcome.refused = Some(refused),
            Action::DigestRefused { error, .. } => outcome.digest_refused = Some(error),
            Action::Persist { .. } if self.shared.on_disk.load(Ordering::Relaxed) => {
                self.shared.persists.fetch_add(1, Ordering::AcqRel);
                self.shared.persist.notify_one();
            }
            // Kept in memory: as durable as it gets.
            Action::Persist { writer, sequence, .. } => {
                self.shared.persists.fetch_add(1, Ordering::AcqRel);
                self.shared.persist.notify_one();
                self.ledger.handle(now_ms(), Event::Synced { writer, up_to: sequence });
            }
            Action::Dropped { writer } => self.metrics.log_rebuilt(&writer.to_string()),
            Action::Send { peer, message } => {
                if let Some((_, outlet)) = self.outlets.get(&peer) {
                    outlet.pass(message);
                }
            }
            Action::Taken { from, result } => match result {
                // A gap: entries overtook each other over two streams; the next digest asks for what is missing.
                Ok(_) | Err(EntriesError::Gap { .. }) => {}
                Err(error) => {
                    outcome.over_quota = matches!(error, EntriesError::Quota { .. });
                    self.metrics.peer_message_refused(&from.to_string(), &error.to_string());
                }
            },
            Action::TakenOut { writer, aggregator, entries, span } => {
                self.metrics.log_taken_out(&aggregator, &writer.to_string(), entries, span);
                outcome.taken_out.push(TakenOut { writer, aggregator, span });
            }
            Action::Acks(acks) => {
                for ack in acks {
                    if let Some((_, queue)) = self.acks.get(&ack.stream) {
                        queue.push(ack.tick, ack.copies);
                    }
                }
            }
            Action::Changed(view) => {
                let settled = view.tick <= self.shared.published.borrow().settled;
                self.shared.change_views(|views| drop(views.insert(view.tick, view)));
                if settled {
                    self.shared.published.send_modify(|published| published.version += 1);
                }
            }
            Action::Packed(view) => self.shared.change_views(|views| drop(views.insert(view.tick, view))),
            Action::Settled(view) => {
                let settled = view.tick;
                self.metrics.settled(age_ms(settled, now_ms()));
                self.shared.change_views(|views| {
                    views.insert(settled, view);
                    while views.len() > VIEWS_MAX {
                        views.pop_first();
                    }
                });
                self.shared.published.send_modify(|published| {
                    published.settled = published.settled.max(settled);
                    published.version += 1;
                });
            }
            Action::Pruned { tick, .. } => {
                self.shared.change_views(|views| *views = views.split_off(&tick.saturating_add(1)));
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use starling_ledger::{LedgerConfig, LedgerLimits, Offered, Refused};
    use starling_proto::ids::{NodeId, StreamId};
    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::membership::Settings;

    async fn task(tasks: &TaskTracker, state: &tempfile::TempDir) -> LedgerHandle {
        task_limited(tasks, state, LedgerLimits::default()).await
    }

    /// A ledger at work, of an aggregator without peers.
    pub(crate) async fn task_limited(
        tasks: &TaskTracker,
        state: &tempfile::TempDir,
        limits: LedgerLimits,
    ) -> LedgerHandle {
        let (handle, task) = not_started(tasks, state, limits).await;
        tokio::spawn(task.run(CancellationToken::new()));
        handle
    }

    async fn not_started(
        tasks: &TaskTracker,
        state: &tempfile::TempDir,
        limits: LedgerLimits,
    ) -> (LedgerHandle, LedgerTask) {
        let writer = WriterId::random();
        let settings = Settings {
            id: NodeId::parse("solo").unwrap(),
            writer,
            cluster: "test".into(),
            listen: "127.0.0.1:0".parse().unwrap(),
            advertise: None,
            seeds: Vec::new(),
            remembered: Vec::new(),
            grpc: "127.0.0.1:7400".parse().unwrap(),
            grpc_advertise: None,
            weight: 100,
            zone: String::new(),
            state_dir: state.path().to_owned(),
            security: starling_service::credentials::Security::plain(),
            keys: crate::membership::KeySource::Open,
            min_members: 1,
            datagram_bytes: 1_200,
        };
        let membership = Membership::start(settings, tasks, Metrics::of_a_test()).await.unwrap();
        let ledger = Ledger::new(writer, LedgerConfig { limits, ..LedgerConfig::default() }, Arc::default());
        LedgerTask::new(ledger, 2, membership, Metrics::of_a_test())
    }

    #[tokio::test]
    async fn what_was_settled_before_a_restart_is_settled_from_the_start() {
        let (tasks, state) = (TaskTracker::new(), tempfile::tempdir().unwrap());
        let (handle, mut task) = not_started(&tasks, &state, LedgerLimits::default()).await;
        let settled = || handle.published().borrow().settled;
        task.restore(Restored::default(), Some(tick_of(now_ms()) + 1_000), None);
        assert!(settled() <= tick_of(now_ms()), "by a clock that was ahead");
        // By itself it settles a second when that is over for one.
        let now = tick_of(now_ms());
        task.restore(Restored::default(), Some(now), None);
        assert!(settled() >= now, "{} and {now}", settled());
        task.restore(Restored::default(), Some(now - 100), None);
        assert!(settled() >= now, "it never goes back");
    }

    fn frame(stream: StreamNo, tick: u32, pin: WriterId) -> Offered {
        Offered {
            stream,
            tick,
            pin: Some(pin),
            groups: [].into(),
            columns: Default::default(),
            cores: Default::default(),
        }
    }

    #[tokio::test]
    async fn a_frame_becomes_a_settled_second_that_everybody_can_read() {
        let (tasks, state) = (TaskTracker::new(), tempfile::tempdir().unwrap());
        let ledger = task(&tasks, &state).await;
        let (node, stream) = (NodeId::parse("web-1").unwrap(), StreamId::random());
        let mut published = ledger.published();
        let seat = ledger.open(node, stream, Arc::default(), CancellationToken::new()).await.unwrap();
        let tick = tick_of(now_ms());
        ledger.offer(frame(seat.stream, tick, ledger.writer())).await.unwrap().unwrap();
        // The second may have been settled, without a frame, before the stream was opened.
        let counted = |published: &Published| published.settled >= tick && ledger.revision(tick) > Some(0);
        published.wait_for(counted).await.unwrap();
        let view = ledger.view(tick).unwrap();
        assert_eq!((view.frames.counted, view.coverage.reporting, ledger.revision(tick)), (1, 1, Some(1)));
        assert_eq!((ledger.first_from(0), ledger.sessions()), (Some(tick), 1));
        let refused = ledger.offer(frame(seat.stream, tick - 2000, ledger.writer())).await.unwrap();
        assert_eq!(refused, Err(Refused::TooLate));
    }

    /// Entries of `seconds` from `from` on, as a process before this one kept them.
    fn kept(from: u32, seconds: u32) -> Vec<starling_proto::v1::Entries> {
        let mut before = Ledger::new(WriterId::random(), LedgerConfig::default(), Arc::default());
        let now = u64::from(from) * 1000 - 1000;
        let (node, stream) = (NodeId::parse("web-1").unwrap(), StreamId::random());
        before.handle(now, Event::Open { key: 1, node, stream });
        let Some(Action::Opened { result: Ok(stream), .. }) = before.next_action() else { panic!("not opened") };
        for tick in from..from + seconds {
            before.handle(u64::from(tick) * 1000, Event::Offer(frame(stream, tick, before.writer())));
            before.handle(u64::from(tick) * 1000, Event::Flush);
        }
        before.unsaved(&Saved::default(), usize::MAX).into_iter().map(|unsaved| unsaved.run).collect()
    }

    /// An answer right after a start lacked what had been acknowledged just before the end.
    #[tokio::test]
    async fn all_that_was_kept_is_shown_before_the_first_answer() {
        let (tasks, state) = (TaskTracker::new(), tempfile::tempdir().unwrap());
        let (handle, mut task) = not_started(&tasks, &state, LedgerLimits::default()).await;
        let from = tick_of(now_ms()) - 200;
        let mut restored = Restored::default();
        kept(from, 150).into_iter().for_each(|run| restored.take(run));
        task.restore(restored, None, None);
        let shown = (from..from + 150).filter(|tick| handle.revision(*tick) > Some(0)).count();
        assert_eq!(shown, 150);
    }

    /// The same of what peers held, before this process says that it has caught up.
    #[tokio::test]
    async fn what_peers_sent_is_shown_before_it_has_caught_up() {
        let (tasks, state) = (TaskTracker::new(), tempfile::tempdir().unwrap());
        let ledger = task(&tasks, &state).await;
        let from = tick_of(now_ms()) - 200;
        for run in kept(from, 150) {
            let run = DecodedRun::decode(&run).unwrap();
            ledger.entries(run.writer(), run).await.unwrap();
        }
        ledger.brought_out().await.unwrap();
        let shown = (from..from + 150).filter(|tick| ledger.revision(*tick) > Some(0)).count();
        assert_eq!(shown, 150);
    }

    #[tokio::test]
    async fn the_end_of_a_connection_never_closes_the_next_one() {
        let (tasks, state) = (TaskTracker::new(), tempfile::tempdir().unwrap());
        let ledger = task(&tasks, &state).await;
        let (node, stream) = (NodeId::parse("web-1").unwrap(), StreamId::random());
        let replaced = CancellationToken::new();
        let old = ledger.open(node.clone(), stream, Arc::default(), replaced.clone()).await.unwrap();
        replaced.cancel();
        let new = ledger.open(node.clone(), stream, Arc::default(), CancellationToken::new()).await.unwrap();
        ledger.close(old, Some(1)).await;
        let sessions = ledger.ask(Ledger::sessions_len).await.unwrap();
        assert_eq!((sessions, old.stream), (1, new.stream));
        // Whoever was replaced before he was taken does not take the stream back.
        let late = ledger.open(node, stream, Arc::default(), replaced).await;
        assert_eq!(late, Err(TakeError::Replaced));
        ledger.close(new, None).await;
        assert_eq!(ledger.ask(Ledger::sessions_len).await.unwrap(), 0);
    }
}
