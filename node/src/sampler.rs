//! The loop that cuts one second after the other.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use starling_proto::{frame::Content, series::Sample, v1};
use starling_service::{admin::Readiness, clock};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, error, info, warn};

use crate::{
    CollectConfig, Collection, Collectors, UplinkConfig, UplinkStats,
    metrics::Metrics,
    receive::{SharedReceiver, WhichCut},
    report,
    report::{LeftOut, LossSamples},
    schedule::{Cut, Reading, Schedule, Turn},
    streams::Streams,
    uplink::{Found, Spool},
};

/// How long a cut waits for the collectors. A second without one that is late goes out; what it reads late is part of the
/// second in which it returns, so that nothing is lost.
const COLLECT_MAX: Duration = Duration::from_millis(300);

/// What the loop needs.
pub(crate) struct SamplerConfig {
    pub(crate) collect: CollectConfig,
    pub(crate) uplink: UplinkConfig,
    /// Where frames are written down, and what was there.
    pub(crate) spool: Option<(Spool, Found)>,
    /// Application metrics; `None` without a receiver.
    pub(crate) receiver: Option<SharedReceiver>,
    /// The newest second.
    pub(crate) latest: watch::Sender<Option<Arc<Content>>>,
    /// What became of the frames, all streams together.
    pub(crate) stats: watch::Sender<UplinkStats>,
    pub(crate) ready: watch::Sender<Readiness>,
    pub(crate) metrics: Arc<Metrics>,
}

/// The sampler of this host.
pub(crate) struct Sampler {
    config: SamplerConfig,
    started: Instant,
    collecting: Collecting,
    streams: Streams,
    losses: LossSamples,
    left_out: LeftOut,
    last_tick: u32,
    /// What the metrics know of the streams.
    counted: UplinkStats,
}

impl Sampler {
    /// Reads the host once, for the baselines, and opens the first stream. Streams run on `tracker` and end after
    /// `shutdown`.
    pub(crate) async fn start(mut config: SamplerConfig, tracker: TaskTracker, shutdown: CancellationToken) -> Self {
        let (faults, collectors) = watch::channel(Arc::default());
        let uplink = UplinkConfig { collectors: Some(collectors), ..config.uplink.clone() };
        let spool = config.spool.take();
        config.metrics.spool_unreadable(spool.as_ref().map_or(0, |(_, found)| found.unreadable));
        // The last cut of a daemon that stops is for the second in progress: that one is not cut again.
        let last_tick =
            spool.as_ref().and_then(|(_, found)| found.current.as_ref()).map_or(0, |current| current.last_tick);
        let streams = Streams::spooled(uplink, spool, tracker, shutdown);
        let mut collecting = Collecting::new(config.collect.clone(), Arc::clone(&config.metrics), faults);
        // The first reading of a counter has no increment; its gauges come again with the first second.
        collecting.read(false).await;
        Self {
            config,
            started: Instant::now(),
            collecting,
            streams,
            losses: LossSamples::default(),
            left_out: LeftOut::default(),
            last_tick,
            counted: UplinkStats::default(),
        }
    }

    /// Cuts every second until `stop`, and then what is left of the current one.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut schedule = Schedule::after(self.last_tick);
        loop {
            let wait = Schedule::wait(self.clocks());
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = tokio::time::sleep(wait) => {}
            }
            match schedule.turn(self.clocks()) {
                Turn::Early => {}
                Turn::Cut(cut) => self.cut(cut).await,
            }
        }
        self.last_cut().await;
    }

    async fn cut(&mut self, cut: Cut) {
        if cut.stepped {
            warn!(tick = cut.tick, before = self.last_tick, "the clock was set, beginning a new stream");
            self.config.metrics.clock_steps.inc();
            self.streams.begin();
        }
        if cut.missed > 0 {
            warn!(tick = cut.tick, missed = cut.missed, "seconds were missed, this one holds what happened in them");
        }
        let (mut samples, refused) = self.gather(WhichCut::Seconds(cut.missed.saturating_add(1))).await;
        self.losses.cut(self.streams.lost(), &mut samples);
        let content = self.report(cut.tick, samples, refused);
        debug!(tick = cut.tick, samples = content.samples.len(), delay = ?cut.delay, "cut");
        self.config.metrics.tick(
            cut.missed,
            self.clocks().wall.saturating_sub(Duration::from_secs(cut.tick.into())),
            content.samples.len(),
        );
        self.hand_over(content);
        self.publish();
    }

    /// What happened since the last second. It belongs to the second in progress, which has not ended: the frame is
    /// early by less than a second.
    async fn last_cut(&mut self) {
        let (samples, refused) = self.gather(WhichCut::Last).await;
        let tick = u32::try_from(self.clocks().wall.as_secs() + 1).unwrap_or(u32::MAX);
        let content = self.report(tick, report::increments(samples), refused);
        if tick > self.last_tick && !content.samples.is_empty() {
            self.hand_over(content);
        }
        info!(tick = self.last_tick, "sampling ended");
    }

    fn report(&mut self, tick: u32, samples: Vec<Sample>, refused: u64) -> Arc<Content> {
        let report = report::content(tick, samples, refused);
        self.left_out.note(&report, &self.config.metrics);
        report.content
    }

    /// What the host and the applications brought, and how many points were refused.
    async fn gather(&mut self, which: WhichCut) -> (Vec<Sample>, u64) {
        let mut samples = self.collecting.read(which == WhichCut::Last).await;
        let Some(receiver) = &self.config.receiver else { return (samples, 0) };
        let cut = receiver.cut(which, &mut samples);
        self.config.metrics.receiver(cut.unplayed, cut.size.series, cut.size.streams, cut.size.playing_bytes);
        self.config.metrics.services(cut.size.routes, cut.in_other);
        self.left_out.note_merged(&cut.merged, &self.config.metrics);
        (samples, cut.refused)
    }

    fn hand_over(&mut self, content: Arc<Content>) {
        self.last_tick = content.tick;
        self.config.latest.send_replace(Some(Arc::clone(&content)));
        if self.streams.current().offer(content).is_err() {
            // Counted by the uplink as lost.
            warn!(tick = self.last_tick, "the uplink does not take frames");
        }
    }

    /// Publishes the counts and the readiness of the uplinks.
    fn publish(&mut self) {
        let stats = self.streams.stats();
        self.config.metrics.uplink(&self.counted, &stats);
        self.counted.clone_from(&stats);
        let readiness = readiness(&stats).of(&self.config.uplink.security);
        self.config.ready.send_if_modified(|now| std::mem::replace(now, readiness.clone()) != readiness);
        self.config.stats.send_replace(stats);
    }

    fn clocks(&self) -> Reading {
        Reading { wall: clock::unix(), monotonic: self.started.elapsed() }
    }
}

/// Ready means that an aggregator has the stream and takes what it is sent.
fn readiness(stats: &UplinkStats) -> Readiness {
    match (&stats.connected, &stats.trouble) {
        (Some(_), None) => Readiness::Ready,
        (Some(_), Some(why)) => {
            Readiness::NotReady(format!("nothing is acknowledged, {} seconds are kept; {why}", stats.unacked))
        }
        (None, why) => {
            let why = why.as_ref().map(|why| format!("; {why}")).unwrap_or_default();
            Readiness::NotReady(format!("no aggregator has taken the stream, {} seconds are kept{why}", stats.unacked))
        }
    }
}

/// The collectors, on a blocking thread while they read.
struct Collecting {
    config: CollectConfig,
    /// Where they are between readings.
    idle: Option<Collectors>,
    since: Instant,
    metrics: Arc<Metrics>,
    faults: watch::Sender<Arc<[v1::CollectorFault]>>,
}

impl Collecting {
    fn new(config: CollectConfig, metrics: Arc<Metrics>, faults: watch::Sender<Arc<[v1::CollectorFault]>>) -> Self {
        Self { idle: Some(Collectors::new(&config)), config, since: Instant::now(), metrics, faults }
    }

    /// Reads the host: what the collectors bring within [`COLLECT_MAX`], the `last` time all that is left.
    async fn read(&mut self, last: bool) -> Vec<Sample> {
        let mut collectors = self.idle.take().unwrap_or_else(|| Collectors::new(&self.config));
        let elapsed = std::mem::replace(&mut self.since, Instant::now()).elapsed();
        let reading = tokio::task::spawn_blocking(move || {
            let collection = match last {
                false => collectors.collect(elapsed, COLLECT_MAX),
                true => collectors.collect_last(elapsed, COLLECT_MAX),
            };
            (collectors, collection)
        });
        match reading.await {
            Ok((collectors, Collection { samples, late })) => {
                self.metrics.collectors(collectors.up(), &late);
                let faults = collectors.faults();
                self.faults.send_if_modified(|now| {
                    let changed = *now != faults;
                    *now = faults;
                    changed
                });
                self.idle = Some(collectors);
                samples
            }
            Err(error) => {
                // A bug; the next reading begins with new ones.
                error!(%error, "the collectors panicked");
                Vec::new()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use starling_proto::ids::{NodeId, WriterId};

    #[test]
    fn ready_means_that_frames_are_taken() {
        let connected = crate::Connected {
            aggregator_id: NodeId::sanitised("agg-1"),
            writer_id: WriterId::new([1; 16]),
            address: "a:1".into(),
            copies: 0,
            alone: false,
        };
        let trouble = Some("a:1: InvalidArgument: hello.labels".to_owned());
        let fresh = UplinkStats { connected: Some(connected), ..UplinkStats::default() };
        assert_eq!(readiness(&fresh), Readiness::Ready);
        let refused = UplinkStats { trouble: trouble.clone(), ..fresh };
        assert!(matches!(readiness(&refused), Readiness::NotReady(why) if why.contains("hello.labels")));
        let apart = UplinkStats { connected: None, ..refused };
        assert!(matches!(readiness(&apart), Readiness::NotReady(why) if why.contains("hello.labels")));
        assert!(matches!(readiness(&UplinkStats::default()), Readiness::NotReady(_)));
    }
}
