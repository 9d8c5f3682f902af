//! Remote write: every second of the series of the cluster, its groups and its nodes to a receiver of Prometheus's kind.
//!
//! - [`turns`]: whose series are sent from here, and from which second on, pure;
//! - [`gather`]: from settled seconds to requests;
//! - [`queue`]: what waits, on the disk;
//! - [`send`]: one request after another, until the receiver has it.
//!
//! Nothing else waits for any of it: a receiver that is away fills the queue, and a full queue loses its oldest.

mod gather;
mod queue;
mod send;
mod turns;

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::Context as _;
use starling_history::Matcher;
use starling_out::write::{OutletSettings, Protocol};
use starling_service::http_client::{Access, Credentials, HttpClient};
use starling_store::OpenError;
use tokio::{task::JoinHandle, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use self::{
    gather::{Gather, What},
    queue::Opened,
    send::Sender,
};
use super::follow::Follow;
use crate::{
    config::{RemoteWriteSettings, WriteVersion},
    ingest::Registry,
    membership::Membership,
    metrics::Metrics,
};

/// What a receiver is sent, ready to run.
pub(crate) struct RemoteWrite {
    settings: RemoteWriteSettings,
    client: HttpClient,
    queue: Opened,
}

impl RemoteWrite {
    /// Opens the queue in `state_dir`; `None` when the settings say no receiver.
    ///
    /// # Errors
    /// When another process has it, the disk refuses, or the receiver's address is none.
    pub(crate) async fn open(state_dir: &Path, settings: &RemoteWriteSettings) -> anyhow::Result<Option<Self>> {
        let Some(url) = settings.url.clone() else { return Ok(None) };
        let credentials = Credentials::of(settings.secret_file.as_deref(), settings.user.as_deref());
        let headers = settings.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        let client = HttpClient::new(Access { url, headers, credentials })
            .map_err(|error| anyhow::anyhow!("remote_write: {error}"))?;
        let (folder, bytes) = (state_dir.to_owned(), settings.queue_bytes);
        let opened = tokio::task::spawn_blocking(move || Opened::of(&folder, bytes)).await;
        let queue = opened.context("the queue of remote write was not opened")?.map_err(|error| {
            let hint = match &error {
                OpenError::InUse(_) => "each aggregator wants a `state_dir` of its own",
                _ => "set another `state_dir`, or no `remote_write.url`",
            };
            anyhow::Error::new(error).context(format!("state_dir: no queue of remote write can be kept; {hint}"))
        })?;
        Ok(Some(Self { settings: settings.clone(), client, queue }))
    }

    /// Reads what a former process left, which takes seconds when the receiver was long away, then gathers and sends until
    /// `stop`; then everything that is settled goes to the queue, and what waits is sent as far as that works at once.
    ///
    /// # Errors
    /// When one of these panics.
    pub(crate) async fn run(
        self,
        follow: Follow,
        holders: (Arc<Registry>, Membership),
        metrics: Arc<Metrics>,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        let Self { settings, client, queue } = self;
        let read = {
            let (metrics, stop) = (metrics.clone(), stop.clone());
            tokio::task::spawn_blocking(move || queue.read(metrics, &stop)).await
        };
        let Some((queue, taken)) = read.context("the queue of remote write was not read")? else { return Ok(()) };
        let sender = Sender { queue: queue.clone(), client, timeout: settings.timeout, metrics: metrics.clone() };
        let gathered = CancellationToken::new();
        let mut sending: JoinHandle<()> = tokio::spawn(sender.run(gathered.clone()));
        let gather = Gather::new(follow, holders, metrics, queue, what(&settings), taken);
        let ended = tokio::select! {
            ended = gather_every(gather, settings.gather, &stop) => ended,
            ended = &mut sending => return Err(anyhow::anyhow!("sending ended by itself: {ended:?}")),
        };
        gathered.cancel();
        sending.await.context("sending what waits")?;
        ended
    }
}

async fn gather_every(mut gather: Gather, every: Duration, stop: &CancellationToken) -> anyhow::Result<()> {
    let mut timer = tokio::time::interval(every);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let stopping = stop.run_until_cancelled(timer.tick()).await.is_none();
        let step = move || {
            gather.step(stopping);
            gather
        };
        gather = tokio::task::spawn_blocking(step).await.context("the series for remote write")?;
        if stopping {
            return Ok(());
        }
    }
}

fn what(settings: &RemoteWriteSettings) -> What {
    let mut external: Vec<_> = settings.external_labels.clone().into_iter().collect();
    external.sort_unstable();
    What {
        scopes: settings.scopes.clone(),
        protocol: match settings.protocol {
            WriteVersion::One => Protocol::V1,
            WriteVersion::Two => Protocol::V2,
        },
        outlet: OutletSettings {
            // Checked with the settings.
            names: settings.names.iter().filter_map(|pattern| Matcher::regex(pattern).ok()).collect(),
            external,
            batch_samples: settings.batch_samples.into(),
            series_max: usize::MAX,
        },
    }
}
