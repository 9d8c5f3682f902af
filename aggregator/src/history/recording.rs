//! Drives the [`Recorder`]: after each settled second, when somebody is about to answer, and at the stop.

use std::{
    collections::BTreeSet,
    sync::mpsc as sync_channel,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use starling_proto::limits::LIVE_WINDOW;
use tokio::{sync::mpsc, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::{History, recorder::Recorder};
use crate::{
    blocks::BLOCK_SECONDS,
    clock::{now_ms, tick_of},
    ingest::Registry,
};

/// Questions that wait for the log: more than are worked on at once.
const REQUESTS: usize = 256;
/// A disk that hangs does not hold a question up for longer.
const WAIT: Duration = Duration::from_millis(500);
/// The log is written at least so often.
const EVERY: Duration = Duration::from_secs(1);
/// Changes of settled seconds come in numbers: not more often than this for their sake.
const AT_MOST_EVERY: Duration = Duration::from_millis(200);
/// From one look for log files that are not needed to the next.
const FORGET_EVERY: Duration = Duration::from_secs(10);

/// Somebody waits until all that is known is in the log.
pub(super) type Request = sync_channel::SyncSender<()>;

/// By which answers wait for the log. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct LogHandle {
    seconds: mpsc::Sender<Request>,
    entries: mpsc::Sender<Request>,
}

/// One of the other ends of a [`LogHandle`].
#[derive(Debug)]
pub(crate) struct LogRequests(pub(super) mpsc::Receiver<Request>);

impl LogHandle {
    /// All ends: for the open seconds, and for the entries of the ledger.
    pub(crate) fn new() -> (Self, LogRequests, LogRequests) {
        let ((seconds, of_seconds), (entries, of_entries)) = (mpsc::channel(REQUESTS), mpsc::channel(REQUESTS));
        (Self { seconds, entries }, LogRequests(of_seconds), LogRequests(of_entries))
    }

    /// Waits until all seconds that are known now are in the log: what was read of nodes before is there after the end of the
    /// process. Returns after half a second in any case. Blocks: not for a runtime thread.
    pub(crate) fn seconds_written(&self) {
        Self::wait(&self.seconds);
    }

    /// The same of the entries of the ledger, and of what was read of the cluster.
    pub(crate) fn entries_written(&self) {
        Self::wait(&self.entries);
    }

    fn wait(at: &mpsc::Sender<Request>) {
        let (request, done) = sync_channel::sync_channel(1);
        if at.try_send(request).is_ok() {
            // Dropped at the stop.
            let _ = done.recv_timeout(WAIT);
        }
    }
}

/// Writes until `stop`, and once more then.
pub(super) async fn run(
    history: &History,
    mut recorder: Recorder,
    LogRequests(mut requests): LogRequests,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut published = history.ledger.published();
    let mut timer = tokio::time::interval(EVERY);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut waiting = Vec::with_capacity(REQUESTS);
    let (mut recorded, mut forgot) = (Instant::now(), Instant::now());
    loop {
        let (sync, stopping) = tokio::select! {
            biased;
            () = stop.cancelled() => (true, true),
            _ = requests.recv_many(&mut waiting, REQUESTS) => (false, false),
            Ok(()) = published.changed(), if recorded.elapsed() >= AT_MOST_EVERY => (true, false),
            _ = timer.tick() => (true, false),
        };
        if sync {
            timer.reset();
        }
        recorded = Instant::now();
        let forget = forgot.elapsed() >= FORGET_EVERY;
        let registry = history.registry.clone();
        let step = move || {
            recorder.step(now_ms(), sync);
            if forget {
                recorder.forget(&still_waiting(&registry, tick_of(now_ms())));
            }
            recorder
        };
        recorder = tokio::task::spawn_blocking(step).await.context("the log of the open seconds")?;
        for request in waiting.drain(..) {
            // Whoever asked may have gone.
            let _ = request.try_send(());
        }
        if forget {
            forgot = Instant::now();
        }
        if stopping {
            return Ok(());
        }
    }
}

/// Starts of the windows that are not on the disk as they are in memory: those of nodes, and of the cluster all that
/// can still change.
fn still_waiting(registry: &Registry, now: u32) -> BTreeSet<u32> {
    let mut waiting: BTreeSet<u32> =
        registry.holders().iter().flat_map(|node| node.waiting(now)).map(|(start, _)| start).collect();
    let oldest = now.saturating_sub(LIVE_WINDOW + BLOCK_SECONDS);
    waiting.extend((oldest - oldest % BLOCK_SECONDS..=now + BLOCK_SECONDS).step_by(BLOCK_SECONDS as usize));
    waiting
}
