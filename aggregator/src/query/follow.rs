//! The seconds of one node wherever its stream is: when the node moves to another aggregator, so does the watcher.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{Stream, StreamExt as _, stream};
use starling_proto::{ids::NodeId, v1};
use tonic::{Code, Status};

use super::{Answers, Holders, Streams, forward, node};
use crate::{
    clock::{now_ms, tick_of},
    ledger_task::Published,
};

/// How long a node may be nowhere before its watcher hears of it: longer than a failover takes, in which the node finds
/// its next aggregator within seconds and the rows of that one are published once a second.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks when nothing is published either.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// One watcher.
struct Follower {
    holders: Arc<Holders>,
    streams: Streams,
    node: NodeId,
    published: tokio::sync::watch::Receiver<Published>,
    /// Next second to send; what the watcher asked for before the first one.
    next: u32,
    /// The histograms behind the latencies are wanted too.
    histograms: bool,
    begun: bool,
    /// Where the seconds come from; `None` while that is not known.
    source: Option<Answers<v1::NodeView>>,
    opened: Instant,
    /// Since when no source was found, and what the last one said.
    lost: Option<(Instant, Status)>,
    ended: bool,
}

/// The seconds of `node` that are `asked` for, as [`node::watch`] gives them, from whichever aggregator holds the node at the
/// time. Ends when no aggregator has held it for [`PATIENCE`].
///
/// # Errors
/// What [`forward::holder`] and the aggregator asked first say.
pub(super) async fn watch(
    holders: Arc<Holders>,
    streams: Streams,
    node: NodeId,
    asked: v1::WatchNodeRequest,
) -> Result<impl Stream<Item = Result<v1::NodeView, Status>>, Status> {
    // A start in the future would be a later one at each next aggregator.
    let (from, histograms) = (asked.from_tick.min(tick_of(now_ms()).saturating_add(1)), asked.include_histograms);
    let source = open(&holders, &streams, &node, (from, histograms)).await?;
    let follower = Follower {
        published: holders.ledger().published(),
        holders,
        streams,
        node,
        next: from,
        histograms,
        begun: false,
        source: Some(source),
        opened: Instant::now(),
        lost: None,
        ended: false,
    };
    Ok(stream::unfold(follower, |mut follower| async move {
        let item = follower.next().await?;
        Some((item, follower))
    }))
}

async fn open(
    holders: &Arc<Holders>,
    streams: &Streams,
    id: &NodeId,
    (from_tick, include_histograms): (u32, bool),
) -> Result<Answers<v1::NodeView>, Status> {
    let asked = v1::WatchNodeRequest { node_id: id.to_string(), from_tick, include_histograms };
    if let Some(member) = forward::holder(holders, id, false)? {
        let answers = forward::watch_node(holders, &member, asked).await?;
        return Ok(Box::pin(answers.map(move |answer| answer.map_err(|status| forward::explained(&member, &status)))));
    }
    let node = holders.registry().get(id).ok_or_else(|| Status::not_found(format!("node_id: {id} is gone")))?;
    Ok(Box::pin(node::watch(holders.clone(), streams, node, &asked)))
}

/// Whether another aggregator, or the same one a moment later, may answer better.
fn may_pass(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable | Code::NotFound | Code::Cancelled | Code::Unknown | Code::DeadlineExceeded
    )
}

impl Follower {
    async fn next(&mut self) -> Option<Result<v1::NodeView, Status>> {
        while !self.ended {
            let Some(source) = &mut self.source else {
                if let Some(status) = self.look().await? {
                    return Some(Err(status));
                }
                continue;
            };
            match source.next().await {
                // The new holder has seconds that the one before it sent already.
                Some(Ok(view)) if self.begun && view.tick < self.next => {}
                Some(Ok(view)) => {
                    (self.begun, self.next, self.lost) = (true, view.tick.saturating_add(1), None);
                    return Some(Ok(view));
                }
                Some(Err(status)) if may_pass(&status) => self.lose(status),
                Some(Err(status)) => return Some(Err(self.end(status))),
                None => self.lose(Status::unavailable(format!("the aggregator that held node {} stopped", self.node))),
            }
        }
        None
    }

    /// The source has ended. One that stood for long starts the patience again.
    fn lose(&mut self, status: Status) {
        self.source = None;
        let since = match self.lost.take() {
            Some((since, _)) if self.opened.elapsed() < PATIENCE => since,
            _ => Instant::now(),
        };
        self.lost = Some((since, status));
    }

    fn end(&mut self, status: Status) -> Status {
        self.ended = true;
        status
    }

    /// Looks for the node after a moment. Returns the last word to the watcher when it is found nowhere; `None` when
    /// this aggregator stops.
    async fn look(&mut self) -> Option<Option<Status>> {
        tokio::select! {
            biased;
            () = self.streams.stop.cancelled() => return None,
            changed = self.published.changed() => if changed.is_err() { return None },
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
        match open(&self.holders, &self.streams, &self.node, (self.next, self.histograms)).await {
            Ok(source) => (self.source, self.opened) = (Some(source), Instant::now()),
            Err(status) if may_pass(&status) => {
                let since = self.lost.as_ref().map_or_else(Instant::now, |(since, _)| *since);
                if since.elapsed() >= PATIENCE {
                    return Some(Some(self.end(status)));
                }
                self.lost = Some((since, status));
            }
            Err(status) => return Some(Some(self.end(status))),
        }
        Some(None)
    }
}
