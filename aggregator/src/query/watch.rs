//! Streams of views: a cursor over seconds, and nothing that grows with the slowness of its reader.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures_util::{Stream, stream};
use starling_proto::v1;
use tonic::Status;

use super::{OpenStream, Streams, Views, off_thread, oldest_kept, views::stamped};
use crate::ledger_task::{LedgerHandle, Published};
use starling_proto::{group::Group, limits::LIVE_WINDOW};

/// Seconds already sent that are looked at every second for late frames: longer than a failover takes. Older ones, which
/// a node brings that was cut off or whose clock was behind, are looked at every [`OLDER_EVERY`] seconds, so that each is
/// sent again so often at most while a backlog comes.
const RECENT_SECONDS: u32 = 30;
/// See [`RECENT_SECONDS`].
const OLDER_EVERY: u32 = 5;

/// One reader of the views of one group.
struct Cursor {
    views: Arc<Views>,
    group: Group,
    published: tokio::sync::watch::Receiver<Published>,
    /// Next second to send.
    next: u32,
    /// The seconds sent that are still held, at most [`LIVE_WINDOW`], and how often each had changed by then.
    sent: BTreeMap<u32, u32>,
    /// Of these, what changed since and is to be sent again.
    changed: BTreeSet<u32>,
    /// The newest settled second for which corrections were looked for, and that for which all seconds were looked at.
    corrected: u32,
    all_corrected: u32,
    /// The histograms behind the latencies are wanted too.
    histograms: bool,
    open: OpenStream,
}

/// The views of `group` from `from` on (0: from the newest settled second), oldest first, then as they settle. A
/// second whose view changes after it was sent, as long as it is held, is sent again with a higher revision.
pub(super) fn watch_cluster(
    views: Arc<Views>,
    streams: &Streams,
    group: Group,
    from: u32,
    histograms: bool,
) -> impl Stream<Item = Result<v1::ClusterView, Status>> + use<> {
    let published = views.ledger().published();
    let settled = published.borrow().settled;
    let next = if from == 0 { settled } else { from.clamp(first_held(views.ledger(), settled), settled + 1) };
    let open = streams.open();
    let cursor = Cursor {
        views,
        group,
        published,
        next,
        sent: BTreeMap::new(),
        changed: BTreeSet::new(),
        corrected: settled,
        all_corrected: settled,
        histograms,
        open,
    };
    stream::unfold(cursor, |mut cursor| async move {
        let item = cursor.next().await?;
        Some((item, cursor))
    })
}

/// The oldest second anything is known of: a replay does not begin with seconds before the cluster was there.
fn first_held(ledger: &LedgerHandle, settled: u32) -> u32 {
    let oldest = oldest_kept(settled);
    ledger.first_from(oldest).unwrap_or(settled).min(settled)
}

impl Cursor {
    async fn next(&mut self) -> Option<Result<v1::ClusterView, Status>> {
        loop {
            let settled = self.published.borrow_and_update().settled;
            self.next = self.next.max(oldest_kept(settled));
            if self.next <= settled {
                self.next += 1;
                return Some(self.send(self.next - 1).await);
            }
            if let Some(tick) = self.correction(settled) {
                return Some(self.send(tick).await);
            }
            tokio::select! {
                biased;
                () = self.open.stop.cancelled() => {
                    return Some(Err(Status::unavailable("this aggregator is stopping, ask another one"))).filter(|_| self.end());
                }
                changed = self.published.changed() => if changed.is_err() { return None },
            }
        }
    }

    /// Lets the status of the stop be sent once.
    fn end(&mut self) -> bool {
        std::mem::replace(&mut self.next, u32::MAX) != u32::MAX
    }

    /// A second that was sent and has changed since; looked for once per settled second.
    fn correction(&mut self, settled: u32) -> Option<u32> {
        if self.corrected < settled {
            self.corrected = settled;
            let oldest = oldest_kept(settled);
            self.sent = self.sent.split_off(&oldest);
            self.changed = self.changed.split_off(&oldest);
            let all = settled.saturating_sub(self.all_corrected) >= OLDER_EVERY;
            if all {
                self.all_corrected = settled;
            }
            let from = if all { oldest } else { settled.saturating_sub(RECENT_SECONDS) };
            let ledger = self.views.ledger();
            let changed = |(tick, edits): &(&u32, &u32)| ledger.revision(**tick).is_some_and(|now| now > **edits);
            self.changed.extend(self.sent.range(from..).filter(changed).map(|(tick, _)| *tick));
        }
        self.changed.pop_first()
    }

    async fn send(&mut self, tick: u32) -> Result<v1::ClusterView, Status> {
        let edits = self.views.ledger().revision(tick).unwrap_or_default();
        self.sent.insert(tick, edits);
        // Nobody may read so slowly that seconds settle which are not looked at.
        while self.sent.len() > LIVE_WINDOW as usize {
            self.sent.pop_first();
        }
        let (views, group, histograms) = (self.views.clone(), self.group.clone(), self.histograms);
        off_thread(move || stamped(&views.get(&group, tick), histograms)).await
    }
}
