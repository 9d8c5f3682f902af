//! The streams of one node: that of now, those of before steps of its clock, and those that starts before left on the disk.

use std::time::Duration;

use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::error;

use crate::{
    LossReason, Losses, Uplink, UplinkConfig, UplinkHandle, UplinkStats,
    uplink::{Former, Found, Spool},
};

/// Streams of before a step of the clock that still hand over what they kept. More means a clock that is set again and
/// again: the oldest is ended.
const DRAINING_MAX: usize = 3;
/// How long a new stream waits for those before it to hand over what they kept. An aggregator keeps one connection a
/// node; beyond this an outage is likelier than a backlog, and the new stream must find its own way. Twice the 3 s that
/// lie between two acknowledgements, so that a stream whose frames are safe ends before the next one dials.
const HOLD_MAX: Duration = Duration::from_secs(6);

/// The stream of now, and those of before a step of the clock that still hand over what they kept.
pub struct Streams {
    config: UplinkConfig,
    tracker: TaskTracker,
    shutdown: CancellationToken,
    current: UplinkHandle,
    draining: Vec<(watch::Receiver<UplinkStats>, CancellationToken)>,
    /// Counts of streams that have ended.
    ended: UplinkStats,
    /// Where frames are written down.
    spool: Option<Spool>,
    end_current: CancellationToken,
}

impl Streams {
    /// Opens the first stream. Streams run on `tracker` and end after `shutdown`.
    #[must_use]
    pub fn new(config: UplinkConfig, tracker: TaskTracker, shutdown: CancellationToken) -> Self {
        Self::of(config, None, tracker, shutdown)
    }

    /// As [`Streams::new`], with what the starts before left in a spool, and what will be left there.
    pub(crate) fn spooled(
        config: UplinkConfig,
        spool: Option<(Spool, Found)>,
        tracker: TaskTracker,
        shutdown: CancellationToken,
    ) -> Self {
        Self::of(config, spool, tracker, shutdown)
    }

    fn of(
        config: UplinkConfig,
        spool: Option<(Spool, Found)>,
        tracker: TaskTracker,
        shutdown: CancellationToken,
    ) -> Self {
        let (spool, Found { current, former, .. }) =
            spool.map_or((None, Found::default()), |(spool, found)| (Some(spool), found));
        let mut draining = Vec::new();
        let before =
            |draining: &[(watch::Receiver<UplinkStats>, _)]| draining.iter().map(|(stats, _)| stats.clone()).collect();
        for former in former {
            let config = UplinkConfig { collectors: None, detail: None, ..config.clone() };
            let after = before(&draining);
            let (handle, end) = spawn(config, spool.as_ref(), Some(former), (&tracker, &shutdown, after));
            handle.replaced();
            draining.push((handle.stats(), end));
        }
        let after = before(&draining);
        let (current, end_current) = spawn(config.clone(), spool.as_ref(), current, (&tracker, &shutdown, after));
        Self { config, tracker, shutdown, current, draining, ended: UplinkStats::default(), spool, end_current }
    }

    /// Begins a new stream. The one before ends when all it kept is acknowledged; until then, or for 6 s, the
    /// new one keeps its frames and does not connect.
    pub fn begin(&mut self) {
        let before = self.draining.iter().map(|(stats, _)| stats.clone()).chain([self.current.stats()]).collect();
        let how = (&self.tracker, &self.shutdown, before);
        let (current, end_current) = spawn(self.config.clone(), self.spool.as_ref(), None, how);
        let before = std::mem::replace(&mut self.current, current);
        let end_before = std::mem::replace(&mut self.end_current, end_current);
        before.replaced();
        self.draining.push((before.stats(), end_before));
        if self.draining.len() > DRAINING_MAX {
            self.draining[0].1.cancel();
        }
        self.forget_ended();
    }

    /// The stream that takes frames now.
    #[must_use]
    pub const fn current(&self) -> &UplinkHandle {
        &self.current
    }

    fn forget_ended(&mut self) {
        let ended = &mut self.ended;
        self.draining.retain(|(stats, _)| {
            let over = is_over(stats);
            if over {
                let mut last = stats.borrow().clone();
                (last.spool_bytes, last.spool_trouble) = (0, None);
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
    pub(crate) fn stats(&self) -> UplinkStats {
        let mut sum = self.current.stats().borrow().clone();
        self.draining.iter().for_each(|(stats, _)| add(&mut sum, &stats.borrow()));
        add(&mut sum, &self.ended);
        sum
    }

    /// What all streams lost so far. Replaces a current stream that broke off.
    pub(crate) fn lost(&mut self) -> Losses {
        if is_over(&self.current.stats()) && !self.end_current.is_cancelled() {
            self.begin();
        }
        self.forget_ended();
        self.stats().lost
    }
}

fn spawn(
    config: UplinkConfig,
    spool: Option<&Spool>,
    former: Option<Former>,
    (tracker, shutdown, after): (&TaskTracker, &CancellationToken, Vec<watch::Receiver<UplinkStats>>),
) -> (UplinkHandle, CancellationToken) {
    let (uplink, handle) = match spool {
        Some(spool) => Uplink::spooled(config, spool, former),
        None => Uplink::new(config),
    };
    let end = shutdown.child_token();
    tracker.spawn(uplink.after(after, HOLD_MAX).run(end.clone()));
    (handle, end)
}

/// True when the task behind these counts is gone.
fn is_over(stats: &watch::Receiver<UplinkStats>) -> bool {
    stats.has_changed().is_err()
}

fn add(sum: &mut UplinkStats, other: &UplinkStats) {
    sum.recovered += other.recovered;
    sum.cut += other.cut;
    sum.acked += other.acked;
    sum.unacked += other.unacked;
    sum.unacked_bytes += other.unacked_bytes;
    sum.lost.add_all(&other.lost);
    sum.left += other.left;
    sum.spool_failures += other.spool_failures;
    sum.spool_bytes += other.spool_bytes;
    if sum.spool_trouble.is_none() {
        sum.spool_trouble.clone_from(&other.spool_trouble);
    }
    sum.sessions += other.sessions;
    sum.redirects += other.redirects;
    sum.no_ack_hops += other.no_ack_hops;
    sum.clock_hops += other.clock_hops;
}

#[cfg(test)]
mod tests {
    use super::*;
    use starling_proto::{frame::Content, ids::NodeId};

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
}
