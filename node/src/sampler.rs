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
    CollectConfig, Collection, Collectors, LossReason, Losses, Uplink, UplinkConfig, UplinkHandle, UplinkStats,
    metrics::Metrics,
    receive::{SharedReceiver, WhichCut},
    report,
    report::{LeftOut, LossSamples},
    schedule::{Cut, Reading, Schedule, Turn},
};

/// How long a cut waits for the collectors. A second without one that is late goes out; what it reads late is part of the
/// second in which it returns, so that nothing is lost.
const COLLECT_MAX: Duration = Duration::from_millis(300);
/// Streams of before a step of the clock that still hand over what they kept. More means a clock that is set again and
/// again: the oldest is ended.
const DRAINING_MAX: usize = 3;
/// How long a new stream waits for those before it to hand over what they kept. An aggregator keeps one connection a
/// node; beyond this an outage is likelier than a backlog, and the new stream must find its own way. Twice the 3 s that
/// lie between two acknowledgements, so that a stream whose frames are safe ends before the next one dials.
const HOLD_MAX: Duration = Duration::from_secs(6);

/// What the loop needs.
pub(crate) struct SamplerConfig {
    pub(crate) collect: CollectConfig,
    pub(crate) uplink: UplinkConfig,
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
    pub(crate) async fn start(config: SamplerConfig, tracker: TaskTracker, shutdown: CancellationToken) -> Self {
        let (faults, collectors) = watch::channel(Arc::default());
        let uplink = UplinkConfig { collectors: Some(collectors), ..config.uplink.clone() };
        let streams = Streams::new(uplink, tracker, shutdown);
        let mut collecting = Collecting::new(config.collect.clone(), Arc::clone(&config.metrics), faults);
        // The first reading of a counter has no increment; its gauges come again with the first second.
        collecting.read().await;
        Self {
            config,
            started: Instant::now(),
            collecting,
            streams,
            losses: LossSamples::default(),
            left_out: LeftOut::default(),
            last_tick: 0,
            counted: UplinkStats::default(),
        }
    }

    /// Cuts every second until `stop`, and then what is left of the current one.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut schedule = Schedule::default();
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
        let mut samples = self.collecting.read().await;
        let Some(receiver) = &self.config.receiver else { return (samples, 0) };
        let cut = receiver.cut(which, &mut samples);
        self.config.metrics.receiver(cut.unplayed, cut.size.series, cut.size.streams, cut.size.playing_bytes);
        (samples, cut.refused)
    }

    fn hand_over(&mut self, content: Arc<Content>) {
        self.last_tick = content.tick;
        self.config.latest.send_replace(Some(Arc::clone(&content)));
        if self.streams.current.offer(content).is_err() {
            // Counted by the uplink as lost.
            warn!(tick = self.last_tick, "the uplink does not take frames");
        }
    }

    /// Publishes the counts and the readiness of the uplinks.
    fn publish(&mut self) {
        let stats = self.streams.stats();
        self.config.metrics.uplink(&self.counted, &stats);
        self.counted.clone_from(&stats);
        let readiness = readiness(&stats);
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

    /// Reads the host: what the collectors bring within [`COLLECT_MAX`].
    async fn read(&mut self) -> Vec<Sample> {
        let mut collectors = self.idle.take().unwrap_or_else(|| Collectors::new(&self.config));
        let elapsed = std::mem::replace(&mut self.since, Instant::now()).elapsed();
        let reading = tokio::task::spawn_blocking(move || {
            let collection = collectors.collect(elapsed, COLLECT_MAX);
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

/// The stream of now, and those of before a step of the clock.
struct Streams {
    config: UplinkConfig,
    tracker: TaskTracker,
    shutdown: CancellationToken,
    current: UplinkHandle,
    draining: Vec<(watch::Receiver<UplinkStats>, CancellationToken)>,
    /// Counts of streams that have ended.
    ended: UplinkStats,
    end_current: CancellationToken,
}

impl Streams {
    fn new(config: UplinkConfig, tracker: TaskTracker, shutdown: CancellationToken) -> Self {
        let (current, end_current) = spawn(&config, &tracker, &shutdown, Vec::new());
        Self { config, tracker, shutdown, current, draining: Vec::new(), ended: UplinkStats::default(), end_current }
    }

    /// Begins a new stream. The one before ends when all it kept is acknowledged; until then, or for [`HOLD_MAX`], the
    /// new one keeps its frames and does not connect.
    fn begin(&mut self) {
        let before = self.draining.iter().map(|(stats, _)| stats.clone()).chain([self.current.stats()]).collect();
        let (current, end_current) = spawn(&self.config, &self.tracker, &self.shutdown, before);
        let before = std::mem::replace(&mut self.current, current);
        let end_before = std::mem::replace(&mut self.end_current, end_current);
        before.replaced();
        self.draining.push((before.stats(), end_before));
        if self.draining.len() > DRAINING_MAX {
            self.draining[0].1.cancel();
        }
        self.forget_ended();
    }

    fn forget_ended(&mut self) {
        let ended = &mut self.ended;
        self.draining.retain(|(stats, _)| {
            let over = is_over(stats);
            if over {
                let mut last = stats.borrow().clone();
                if !last.ended {
                    error!(unacknowledged = last.unacked, "an uplink broke off, which is a bug");
                    last.lost.add(LossReason::Shutdown, std::mem::take(&mut last.unacked));
                    last.unacked_bytes = 0;
                }
                add(ended, &last);
            }
            !over
        });
    }

    /// All counts together, and the connection of the current stream.
    fn stats(&self) -> UplinkStats {
        let mut sum = self.current.stats().borrow().clone();
        self.draining.iter().for_each(|(stats, _)| add(&mut sum, &stats.borrow()));
        add(&mut sum, &self.ended);
        sum
    }

    /// What all streams lost so far. Replaces a current stream that broke off.
    fn lost(&mut self) -> Losses {
        if is_over(&self.current.stats()) && !self.end_current.is_cancelled() {
            self.begin();
        }
        self.forget_ended();
        self.stats().lost
    }
}

fn spawn(
    config: &UplinkConfig,
    tracker: &TaskTracker,
    shutdown: &CancellationToken,
    after: Vec<watch::Receiver<UplinkStats>>,
) -> (UplinkHandle, CancellationToken) {
    let (uplink, handle) = Uplink::new(config.clone());
    let end = shutdown.child_token();
    tracker.spawn(uplink.after(after, HOLD_MAX).run(end.clone()));
    (handle, end)
}

/// True when the task behind these counts is gone.
fn is_over(stats: &watch::Receiver<UplinkStats>) -> bool {
    stats.has_changed().is_err()
}

fn add(sum: &mut UplinkStats, other: &UplinkStats) {
    sum.cut += other.cut;
    sum.acked += other.acked;
    sum.unacked += other.unacked;
    sum.unacked_bytes += other.unacked_bytes;
    sum.lost.add_all(&other.lost);
    sum.sessions += other.sessions;
    sum.redirects += other.redirects;
    sum.no_ack_hops += other.no_ack_hops;
    sum.clock_hops += other.clock_hops;
}

#[cfg(test)]
mod tests {
    use super::*;
    use starling_proto::ids::{NodeId, WriterId};

    #[tokio::test]
    async fn a_stream_that_drained_keeps_its_counts() {
        let tracker = TaskTracker::new();
        // Nothing listens there; what is kept is lost when the stream is ended.
        let mut config = UplinkConfig::new(NodeId::parse("n").unwrap(), vec!["127.0.0.1:9".into()]);
        config.grace = Duration::from_secs(1);
        let mut streams = Streams::new(config, tracker.clone(), CancellationToken::new());
        streams.current.offer(Content { tick: 7, ..Content::default() }).unwrap();
        let mut stats = streams.current.stats();
        stats.wait_for(|stats| stats.unacked == 1).await.unwrap();
        streams.begin();
        assert_eq!(streams.stats().unacked, 1);
        streams.draining[0].1.cancel();
        while stats.changed().await.is_ok() {}
        assert_eq!(streams.lost().get(LossReason::Shutdown), 1);
        assert!(streams.draining.is_empty());
        assert_eq!(streams.stats().cut, 1);
    }
    fn streams() -> Streams {
        // Nothing listens there.
        let mut config = UplinkConfig::new(NodeId::sanitised("n"), vec!["127.0.0.1:9".into()]);
        config.grace = Duration::from_secs(1);
        Streams::new(config, TaskTracker::new(), CancellationToken::new())
    }

    #[tokio::test]
    async fn a_new_stream_does_not_dial_while_the_one_before_drains() {
        let mut streams = streams();
        streams.current.offer(Content { tick: 7, ..Content::default() }).unwrap();
        let mut before = streams.current.stats();
        before.wait_for(|stats| stats.unacked == 1 && stats.sessions > 1).await.unwrap();
        streams.begin();
        streams.current.offer(Content { tick: 3, ..Content::default() }).unwrap();
        let mut now = streams.current.stats();
        now.wait_for(|stats| stats.unacked == 1).await.unwrap();
        let dials = before.borrow().sessions;
        before.wait_for(|stats| stats.sessions > dials + 1).await.unwrap();
        assert_eq!(now.borrow().sessions, 0, "the one before dials, this one waits");
        streams.draining[0].1.cancel();
        while before.changed().await.is_ok() {}
        now.wait_for(|stats| stats.sessions > 0).await.unwrap();
    }

    #[tokio::test]
    async fn a_stream_that_broke_off_is_counted_and_replaced() {
        let mut streams = streams();
        let (broken, handle) = Uplink::new(streams.config.clone());
        let task = tokio::spawn(broken.run(CancellationToken::new()));
        streams.current = handle;
        streams.current.offer(Content { tick: 7, ..Content::default() }).unwrap();
        streams.current.stats().wait_for(|stats| stats.unacked == 1).await.unwrap();
        task.abort();
        assert!(streams.current.ended().await.is_err());
        assert_eq!(streams.lost().get(LossReason::Shutdown), 1);
        assert!(streams.current.offer(Content { tick: 8, ..Content::default() }).is_ok(), "the next one takes frames");
    }

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
