//! What an aggregator keeps on its disk.
//!
//! - [`disk`]: the one store of the process, whose log history shares with the ledger;
//! - [`record`], [`recorder`], [`recording`], [`replay`]: the open seconds, in the log once a second and back after a
//!   restart.

#![expect(dead_code, reason = "what is sealed and read back follows")]

mod disk;
mod record;
mod recorder;
mod recording;
mod replay;

use std::{path::PathBuf, sync::Arc};

use anyhow::Context as _;
use starling_store::Recovered;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub(crate) use self::disk::{Disk, LogPart};
use self::{recorder::Recorder, recording::Request, replay::Replay};
use crate::{ingest::Registry, ledger_task::LedgerHandle, metrics::Metrics};

/// The history of a process; see the module. Shared.
pub(crate) struct History {
    disk: Arc<Disk>,
    registry: Arc<Registry>,
    ledger: LedgerHandle,
    metrics: Arc<Metrics>,
    requests: mpsc::Sender<Request>,
}

/// What [`History::run`] needs, once.
pub(crate) struct Starting {
    recorder: Recorder,
    requests: mpsc::Receiver<Request>,
}

/// Opens the store in `state_dir`.
///
/// # Errors
/// As [`Disk::open`].
pub(crate) async fn open(state_dir: PathBuf) -> anyhow::Result<(Arc<Disk>, Recovered)> {
    let opened = tokio::task::spawn_blocking(move || Disk::open(&state_dir, &[LogPart::History]));
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
    ) -> anyhow::Result<(Arc<Self>, Starting)> {
        let read = {
            let (registry, metrics) = (registry.clone(), metrics.clone());
            move || Replay::run(recovered, &registry, &metrics)
        };
        let Replay { windows, .. } = tokio::task::spawn_blocking(read).await.context("the log was not read")?;
        let recorder = Recorder::new(disk.clone(), registry.clone(), ledger.clone(), metrics.clone(), windows);
        let (sender, requests) = mpsc::channel(recording::REQUESTS);
        let history = Self { disk, registry, ledger, metrics, requests: sender };
        Ok((Arc::new(history), Starting { recorder, requests }))
    }

    /// Writes the open seconds until `stop`.
    ///
    /// # Errors
    /// When that panics.
    pub(crate) async fn run(self: Arc<Self>, starting: Starting, stop: CancellationToken) -> anyhow::Result<()> {
        recording::run(&self, starting.recorder, starting.requests, stop).await
    }

    /// Waits until all that is known now is in the log: what is answered afterwards is there after the end of the process.
    /// A disk that does not take it does not hold an answer up.
    pub(crate) async fn recorded(&self) {
        let (request, done) = tokio::sync::oneshot::channel();
        if self.requests.send(request).await.is_ok() {
            // Dropped at the stop.
            let _ = done.await;
        }
    }
}
