//! Streams of views: a cursor over seconds, and nothing that grows with the slowness of its reader.

use std::{collections::BTreeMap, sync::Arc};

use futures_util::{Stream, stream};
use starling_proto::v1;
use tonic::Status;

use super::{OpenStream, Streams, Views, off_thread, oldest_kept, views::stamped};
use crate::ledger_task::{LedgerHandle, Published};
use starling_proto::group::Group;

/// Seconds already sent that are sent again when late frames change them: longer than a failover takes.
const CORRECTED_SECONDS: u32 = 30;

/// One reader of the views of one group.
struct Cursor {
    views: Arc<Views>,
    group: Group,
    published: tokio::sync::watch::Receiver<Published>,
    /// Next second to send.
    next: u32,
    /// The last seconds sent, and how often each had changed by then.
    sent: BTreeMap<u32, u32>,
    /// The newest settled second for which corrections were looked for.
    corrected: u32,
    /// The histograms behind the latencies are wanted too.
    histograms: bool,
    open: OpenStream,
}

/// The views of `group` from `from` on (0: from the newest settled second), oldest first, then as they settle. A
/// second of the last half minute whose view changes after it was sent is sent again with a higher revision.
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
    let cursor = Cursor { views, group, published, next, sent: BTreeMap::new(), corrected: settled, histograms, open };
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
        if self.corrected == settled {
            return None;
        }
        let from = settled.saturating_sub(CORRECTED_SECONDS);
        self.sent.retain(|tick, _| *tick >= from);
        let changed =
            |(tick, edits): &(&u32, &u32)| self.views.ledger().revision(**tick).is_some_and(|now| now > **edits);
        let found = self.sent.iter().find(changed).map(|(tick, _)| *tick);
        if found.is_none() {
            self.corrected = settled;
        }
        found
    }

    async fn send(&mut self, tick: u32) -> Result<v1::ClusterView, Status> {
        let edits = self.views.ledger().revision(tick).unwrap_or_default();
        self.sent.insert(tick, edits);
        while self.sent.len() > CORRECTED_SECONDS as usize + 1 {
            self.sent.pop_first();
        }
        let (views, group, histograms) = (self.views.clone(), self.group.clone(), self.histograms);
        off_thread(move || stamped(&views.get(&group, tick), histograms)).await
    }
}
