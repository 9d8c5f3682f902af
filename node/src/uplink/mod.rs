//! The uplink: one stream of frames to whichever aggregator takes it.
//!
//! [`Uplink`] keeps every frame that no aggregator has acknowledged, connects, follows redirects, reconnects with
//! jitter, fails over, and ends its stream. The rules are in `session`, a state machine without input or output;
//! `shell` runs it; `link` is one gRPC stream; `spool` writes down what is kept. Whoever offers frames never waits for the
//! network or a disk.

mod link;
mod loss;
mod pin;
mod ring;
mod route;
mod session;
mod shell;
mod spool;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use starling_proto::{
    frame::Content,
    ids::{Machine, NodeId, StreamId, WriterId},
    limits::RING,
    v1,
};
use starling_service::credentials::Security;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

pub use loss::{LossReason, Losses};
#[cfg(test)]
pub(crate) use route::SplitMix;
pub(crate) use spool::{Former, Found, Spool};

/// Frames between whoever offers them and the uplink's task. The task never waits for the network, so it falls
/// behind only when the machine does not run it for this many seconds.
const OFFERS_MAX: usize = 16;

/// Who speaks, to whom, and how much is kept.
#[derive(Debug, Clone)]
pub struct UplinkConfig {
    /// Name of the node.
    pub node_id: NodeId,
    /// Facts about the host.
    pub host: v1::HostFacts,
    /// Which machine it is.
    pub machine: Machine,
    /// Operator's labels.
    pub labels: std::collections::HashMap<String, String>,
    /// True when the samples are replays made for a demonstration.
    pub simulated: bool,
    /// Where to find any aggregator, as `host:port`; at least one.
    pub seeds: Vec<String>,
    /// How aggregators are spoken with.
    pub security: Security,
    /// Frames kept without an acknowledgement. When full, the oldest is lost and counted.
    pub ring_frames: usize,
    /// About how many bytes those frames may take.
    pub ring_bytes: usize,
    /// How long a stop may take in all.
    pub grace: Duration,
    /// The collectors of this host that do not read all they should, now and from now on; `None` without collectors.
    pub collectors: Option<watch::Receiver<Arc<[v1::CollectorFault]>>>,
    /// What is read only while somebody looks; `None` without such.
    pub detail: Option<DetailLine>,
}

impl UplinkConfig {
    /// Default of [`UplinkConfig::ring_frames`]: what an aggregator still takes.
    pub const RING_FRAMES: usize = RING as usize;
    /// Default of [`UplinkConfig::ring_bytes`]: 900 frames of 700 series.
    pub const RING_BYTES: usize = 16 * 1024 * 1024;
    /// Default of [`UplinkConfig::grace`]. The last frame is safe on a second aggregator up to 1.4 s after it was sent,
    /// and its acknowledgement may wait 3 s more for the next one due; the rest is for a slow network and the end of
    /// stream.
    pub const GRACE: Duration = Duration::from_secs(8);

    /// A node without facts or labels, and the defaults.
    #[must_use]
    pub fn new(node_id: NodeId, seeds: Vec<String>) -> Self {
        Self {
            node_id,
            host: v1::HostFacts::default(),
            machine: Machine::default(),
            labels: std::collections::HashMap::new(),
            simulated: false,
            seeds,
            security: Security::plain(),
            ring_frames: Self::RING_FRAMES,
            ring_bytes: Self::RING_BYTES,
            grace: Self::GRACE,
            collectors: None,
            detail: None,
        }
    }
}

/// Between who reads the detail of a host and who is asked for it.
#[derive(Debug, Clone)]
pub struct DetailLine {
    /// Until when somebody looks; `None` before anybody did.
    pub wanted: watch::Sender<Option<Instant>>,
    /// What was read last; `None` while nobody looks.
    pub read: watch::Receiver<Option<Arc<v1::NodeDetail>>>,
}

/// The aggregator that has the stream now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connected {
    /// Its name.
    pub aggregator_id: NodeId,
    /// Its process.
    pub writer_id: WriterId,
    /// Where it was dialled.
    pub address: String,
    /// Copies of the newest acknowledged frame; 0 before the first acknowledgement.
    pub copies: u32,
    /// True when it has no peer, so that an acknowledged frame is on one machine only.
    pub alone: bool,
}

/// What an uplink has done so far. `recovered + cut == acked + unacked + lost.total() + left` always.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct UplinkStats {
    /// Frames of a process before, read from the disk.
    pub recovered: u64,
    /// Frames offered.
    pub cut: u64,
    /// Frames acknowledged.
    pub acked: u64,
    /// Frames kept.
    pub unacked: u64,
    /// About how many bytes the kept frames take.
    pub unacked_bytes: usize,
    /// Frames lost, by reason.
    pub lost: Losses,
    /// Frames on the disk that are left to the next start.
    pub left: u64,
    /// Times that frames could not be written to the disk.
    pub spool_failures: u64,
    /// Why they are not written at present.
    pub spool_trouble: Option<String>,
    /// Bytes of them on the disk.
    pub spool_bytes: usize,
    /// The newest second offered; 0 before the first.
    pub last_tick: u32,
    /// Links dialled.
    pub sessions: u32,
    /// Redirects followed.
    pub redirects: u64,
    /// Links left because nothing was acknowledged on them.
    pub no_ack_hops: u64,
    /// Links left because the aggregator's clock differs: it refused seconds that are fresh by ours.
    pub clock_hops: u64,
    /// The aggregator's clock less ours, in milliseconds, give or take half the round trip; as of the last accept.
    pub clock_offset_ms: Option<i64>,
    /// The aggregator that has the stream now.
    pub connected: Option<Connected>,
    /// Why no aggregator takes what is sent: what became of the last attempt, with its address. `None` while frames
    /// are acknowledged, or before anything went wrong.
    pub trouble: Option<String>,
    /// True once the uplink has ended by its own rules. Counts that no longer change without it are those of a task
    /// that panicked or was aborted.
    pub ended: bool,
}

/// The queue to the uplink's task is full, or the task has ended; the frame is lost and counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the uplink does not take frames now")]
pub struct NotTaken;

/// The uplink's task ended without its last words: it panicked, which is a bug, or was aborted.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("the uplink broke off with {} frames not acknowledged", last.unacked)]
pub struct BrokenOff {
    /// The last counts it published.
    pub last: Box<UplinkStats>,
}

/// One daemon start's stream of frames. Each has its own [`StreamId`].
pub struct Uplink {
    stream_id: StreamId,
    settings: session::Settings,
    security: Security,
    offers: mpsc::Receiver<Arc<Content>>,
    not_taken: Arc<shell::NotTakenCount>,
    stats: watch::Sender<UplinkStats>,
    collectors: Option<watch::Receiver<Arc<[v1::CollectorFault]>>>,
    detail: Option<DetailLine>,
    replaced: Arc<AtomicBool>,
    /// Uplinks of the same node whose end the first dial waits for.
    after: Vec<watch::Receiver<UplinkStats>>,
    spool: Option<(spool::Writer, mpsc::Receiver<spool::Answer>)>,
}

impl Uplink {
    /// A new stream, and the handle to feed it. Nothing happens before [`Uplink::run`].
    #[must_use]
    pub fn new(config: UplinkConfig) -> (Self, UplinkHandle) {
        Self::of(config, StreamId::random())
    }

    fn of(config: UplinkConfig, stream_id: StreamId) -> (Self, UplinkHandle) {
        let (machine, boot) = config.machine.to_bytes();
        let hello = v1::Hello {
            node_id: config.node_id.to_string(),
            stream_id: stream_id.to_bytes(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            host: Some(config.host),
            labels: config.labels,
            simulated: config.simulated,
            machine,
            boot,
            ..v1::Hello::default()
        };
        let settings = session::Settings {
            hello,
            seeds: config.seeds,
            ring_frames: config.ring_frames,
            ring_bytes: config.ring_bytes,
            grace: config.grace.saturating_sub(session::LEAVING_MAX),
            hold: Duration::ZERO,
            before: session::Before::default(),
            spooled: false,
            // The identifier is random: its first bytes serve as the seed of the jitter.
            seed: stream_id.as_bytes().iter().take(8).fold(0, |seed, &byte| seed << 8 | u64::from(byte)),
        };
        let (sender, offers) = mpsc::channel(OFFERS_MAX);
        let (stats, watch) = watch::channel(UplinkStats::default());
        let not_taken = Arc::new(shell::NotTakenCount::default());
        let replaced = Arc::new(AtomicBool::new(false));
        let handle = UplinkHandle {
            stream_id,
            offers: sender,
            not_taken: Arc::clone(&not_taken),
            stats: watch,
            replaced: Arc::clone(&replaced),
        };
        let (collectors, detail, security) = (config.collectors, config.detail, config.security);
        (
            Self {
                stream_id,
                settings,
                security,
                offers,
                not_taken,
                stats,
                collectors,
                detail,
                replaced,
                after: Vec::new(),
                spool: None,
            },
            handle,
        )
    }

    /// As [`Uplink::new`], with its frames written down in `spool`: the stream of a process before, if `former` is one. When
    /// there is no thread to write, it goes without.
    pub(crate) fn spooled(config: UplinkConfig, spool: &Spool, former: Option<Former>) -> (Self, UplinkHandle) {
        let (node, boot) = (config.node_id.clone(), config.machine.boot.unwrap_or_default());
        let stream = former.as_ref().map_or_else(StreamId::random, |former| former.head.stream);
        let (mut uplink, handle) = Self::of(config, stream);
        let mut aside = spool::Aside::default();
        if let Some(former) = former {
            uplink.settings.before = session::Before {
                aside: former.aside(),
                kept: former.kept.into_values().collect(),
                last_tick: former.last_tick,
                links: links_before(),
            };
            aside = former.aside;
        }
        let head = spool::Head { stream, boot, node };
        let last_tick = uplink.settings.before.last_tick;
        let kept = uplink.settings.before.kept.iter().map(|(pin, content)| (Arc::clone(content), *pin));
        match spool::Writer::start(spool.of(stream), head, (kept, last_tick), aside) {
            Ok(writer) => {
                uplink.spool = Some(writer);
                uplink.settings.spooled = true;
            }
            Err(error) => {
                uplink.settings.before.aside.clear();
                tracing::warn!(%error, "no thread to write frames down: they are kept in memory only");
            }
        }
        (uplink, handle)
    }

    /// Does not dial before the uplinks whose counts these are have ended, at most for `limit`; frames are kept
    /// meanwhile. An aggregator keeps one connection a node, so two uplinks of one node would evict each other.
    #[must_use]
    pub(crate) fn after(mut self, uplinks: Vec<watch::Receiver<UplinkStats>>, limit: Duration) -> Self {
        self.settings.hold = if uplinks.is_empty() { Duration::ZERO } else { limit };
        self.after = uplinks;
        self
    }

    /// Runs until `shutdown` is cancelled and everything is acknowledged or the grace period is over; or, when all
    /// handles are gone, until everything is acknowledged. Ends its stream and returns the final counts.
    pub async fn run(self, shutdown: CancellationToken) -> UplinkStats {
        shell::run(self, shutdown).await
    }

    /// [`Uplink::new`] and [`Uplink::run`] in a task of its own, which ends after `shutdown` or with its last handle.
    /// [`UplinkHandle::ended`] waits for that and distinguishes a panic from a normal end.
    #[must_use]
    pub fn spawn(config: UplinkConfig, shutdown: CancellationToken) -> UplinkHandle {
        let (uplink, handle) = Self::new(config);
        tokio::spawn(uplink.run(shutdown));
        handle
    }
}

/// A number that no link of a process before this one had: an aggregator takes the link of a stream with the highest one. Links
/// are made at less than eight a second over any longer time, also of a round of many aggregators that are all away.
fn links_before() -> u32 {
    /// Start of 2026, Unix milliseconds: eighths of seconds since then fit until 2043, and equal numbers are taken after that.
    const EPOCH_MS: u128 = 1_767_225_600_000;
    u32::try_from(starling_service::clock::unix().as_millis().saturating_sub(EPOCH_MS) / 125).unwrap_or(u32::MAX)
}

/// Feeds and watches an [`Uplink`]. Cheap to clone.
#[derive(Debug, Clone)]
pub struct UplinkHandle {
    stream_id: StreamId,
    offers: mpsc::Sender<Arc<Content>>,
    not_taken: Arc<shell::NotTakenCount>,
    stats: watch::Receiver<UplinkStats>,
    replaced: Arc<AtomicBool>,
}

impl UplinkHandle {
    /// The name of this stream: a frame is named by (stream, tick).
    #[must_use]
    pub const fn stream_id(&self) -> StreamId {
        self.stream_id
    }

    /// Hands over one second. Seconds must rise strictly; never waits.
    ///
    /// # Errors
    /// [`NotTaken`] when the task is far behind or has ended. The loss is counted in [`UplinkStats::lost`].
    pub fn offer(&self, content: impl Into<Arc<Content>>) -> Result<(), NotTaken> {
        self.offers.try_send(content.into()).map_err(|_| {
            self.not_taken.count();
            NotTaken
        })
    }

    /// Says that another stream goes on for the node: the end of this one is no stop of it. To be said before the last
    /// handle goes.
    pub fn replaced(&self) {
        self.replaced.store(true, Ordering::Release);
    }

    /// The counts, kept up to date.
    #[must_use]
    pub fn stats(&self) -> watch::Receiver<UplinkStats> {
        self.stats.clone()
    }

    /// Waits until the uplink has ended, and returns the final counts.
    ///
    /// # Errors
    /// [`BrokenOff`] when its task panicked or was aborted.
    pub async fn ended(&self) -> Result<UplinkStats, BrokenOff> {
        let mut stats = self.stats.clone();
        while stats.changed().await.is_ok() {}
        let last = stats.borrow().clone();
        if last.ended { Ok(last) } else { Err(BrokenOff { last: Box::new(last) }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uplink() -> (Uplink, UplinkHandle) {
        Uplink::new(UplinkConfig::new(NodeId::sanitised("n"), vec!["127.0.0.1:9".into()]))
    }

    #[tokio::test]
    async fn a_task_that_broke_off_is_not_taken_for_one_that_ended() {
        let (normal, handle) = uplink();
        let shutdown = CancellationToken::new();
        shutdown.cancel();
        normal.run(shutdown).await;
        assert!(handle.ended().await.is_ok_and(|stats| stats.ended));

        let (broken, handle) = uplink();
        let task = tokio::spawn(broken.run(CancellationToken::new()));
        task.abort();
        assert!(handle.ended().await.is_err_and(|broken| !broken.last.ended));
    }
}
