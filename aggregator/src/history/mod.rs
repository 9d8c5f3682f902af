//! What an aggregator keeps on its disk.
//!
//! - [`disk`]: the one store of the process, whose log history shares with the ledger;
//! - [`ledger_logs`]: the logs of the ledger, so that what is acknowledged is on the disk;
//! - [`record`], [`recorder`], [`recording`], [`replay`]: the open seconds, in the log once a second and back after a
//!   restart;
//! - [`agenda`]: what is to be sealed, rolled up and joined next, pure; [`seal`]: blocks of the open seconds; [`worker`]: the
//!   thread that does it, at its [`pace`], with [`remake`]: segments made of others, and beside it the [`chores`] of others;
//! - [`backing`]: what of nodes is on the disk and not in memory; [`versions`]: one block of several; [`listing`]: which
//!   blocks of nodes are on a disk, for other aggregators.

mod agenda;
mod backing;
mod chores;
mod disk;
mod ledger_logs;
pub(crate) mod listing;
mod pace;
mod record;
mod recorder;
mod recording;
mod remake;
mod replay;
mod seal;
mod versions;
mod worker;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::Context as _;
use starling_ledger::{Restored, Saved};
use starling_store::Recovered;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::{backing::NodeBacking, record::Recalled, recorder::Recorder, replay::Replay, worker::Worker};
pub(crate) use self::{
    chores::{ChoreQueue, Chores, Copying, Shift},
    disk::{Disk, LogPart, Progress, row},
    ledger_logs::LedgerLogs,
    recording::{LogHandle, LogRequests},
    seal::Expects,
    versions::versions_of,
};
use crate::{blocks::Backing, config::HistorySettings, ingest::Registry, ledger_task::LedgerHandle, metrics::Metrics};

/// The history of a process; see the module. Shared.
pub(crate) struct History {
    disk: Arc<Disk>,
    registry: Arc<Registry>,
    ledger: LedgerHandle,
    metrics: Arc<Metrics>,
    copying: Arc<Copying>,
    backing: Arc<dyn Backing>,
    /// What the log held of the cluster can be asked for.
    recalled: watch::Sender<bool>,
}

/// Ends the work on the history when it goes.
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What [`History::run`] needs, once.
pub(crate) struct Starting {
    /// The logs of the ledger as they were kept, for the ledger.
    pub(crate) ledger: Restored,
    /// The newest second that was settled by the log.
    pub(crate) settled: Option<u32>,
    recorder: Recorder,
    recalled: Recalled,
    with: With,
}

/// What the history works with beside what it keeps.
pub(crate) struct With {
    /// How long and how much is kept.
    pub(crate) settings: HistorySettings,
    /// Who is expected.
    pub(crate) expects: Arc<dyn Expects>,
    /// Who waits for the log.
    pub(crate) requests: LogRequests,
    /// What others want done.
    pub(crate) chores: ChoreQueue,
    /// What is known of copies.
    pub(crate) copying: Arc<Copying>,
}

/// Opens the store in `state_dir`.
///
/// # Errors
/// As [`Disk::open`].
pub(crate) async fn open(state_dir: PathBuf) -> anyhow::Result<(Arc<Disk>, Recovered)> {
    let opened = tokio::task::spawn_blocking(move || Disk::open(&state_dir, &[LogPart::History, LogPart::Ledger]));
    opened.await.context("the store was not opened")?
}

impl History {
    /// Brings back what the log holds, before any node comes.
    ///
    /// # Errors
    /// When that panics.
    pub(crate) async fn start(
        disk: Arc<Disk>,
        recovered: Recovered,
        registry: Arc<Registry>,
        ledger: LedgerHandle,
        metrics: Arc<Metrics>,
        with: With,
    ) -> anyhow::Result<(Arc<Self>, Starting)> {
        let backing: Arc<dyn Backing> =
            Arc::new(NodeBacking { disk: disk.clone(), names: registry.names().clone(), metrics: metrics.clone() });
        registry.keep_on(backing.clone());
        let read = {
            let (registry, metrics) = (registry.clone(), metrics.clone());
            move || Replay::run(recovered, &registry, &metrics)
        };
        let Replay { windows, recalled, ledger: logs, .. } =
            tokio::task::spawn_blocking(read).await.context("the log was not read")?;
        let recorder = Recorder::new(disk.clone(), registry.clone(), ledger.clone(), metrics.clone(), windows);
        let history = Self {
            disk,
            registry,
            ledger,
            metrics,
            copying: with.copying.clone(),
            backing,
            recalled: watch::Sender::new(false),
        };
        let settled = recalled.settled();
        Ok((Arc::new(history), Starting { ledger: logs, settled, recorder, recalled, with }))
    }

    /// Whether what the log held of the cluster can be asked for. Until then an answer would lack it, without a word.
    pub(crate) fn recalled(&self) -> watch::Receiver<bool> {
        self.recalled.subscribe()
    }

    /// What keeps the logs of the ledger, of which all that is in the store was `saved`, for those who wait for them, and
    /// with them the seconds of nodes.
    pub(crate) fn ledger_logs(&self, saved: Saved, log: (LogHandle, LogRequests)) -> LedgerLogs {
        LedgerLogs::new(self.ledger.clone(), self.disk.clone(), log, self.metrics.clone(), saved)
    }

    /// Writes the open seconds, and in the background what is over, until `stop`.
    ///
    /// # Errors
    /// When one of the two panics.
    pub(crate) async fn run(self: Arc<Self>, starting: Starting, stop: CancellationToken) -> anyhow::Result<()> {
        let Starting { recorder, recalled, with, .. } = starting;
        let With { settings, expects, requests, chores, .. } = with;
        let stopped = Arc::new(AtomicBool::new(false));
        // However this ends: a runtime that is shut down waits for its threads.
        let stop_worker = StopOnDrop(stopped.clone());
        let worker = Worker::new(self.clone(), (settings, expects), recalled, chores, stopped);
        let mut work = tokio::task::spawn_blocking(move || worker.run());
        let recording = recording::run(&self, recorder, requests, stop);
        let ended = tokio::select! {
            ended = recording => ended,
            // It goes on until it is told.
            ended = &mut work => return ended.context("the work on the history ended"),
        };
        drop(stop_worker);
        work.await.context("the work on the history")?;
        ended
    }
}
