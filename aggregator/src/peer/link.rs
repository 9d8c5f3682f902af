//! One stream between two aggregators, the same at both ends.

use std::time::Duration;

use starling_proto::{
    ids::WriterId,
    v1::{self, sync_message::Body},
};
use tokio::{
    sync::{Notify, mpsc},
    time::MissedTickBehavior,
};
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};
use tracing::info;

use crate::{app::App, clock::now_ms, ledger::EntriesError, metrics};

/// The other side must say what it holds within this time.
const FIRST_DIGEST: Duration = Duration::from_secs(5);
/// A digest at least this often, so that silence means that the other side is gone.
const DIGEST_EVERY: Duration = Duration::from_millis(500);
/// Nothing heard for this long: the stream is ended and dialled again.
const SILENCE: Duration = Duration::from_secs(10);
/// Bytes of entries per message: far below the limit of a message, so that a digest never waits long behind it.
const ENTRIES_BYTES: usize = 1024 * 1024;

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    /// The other side ended it or broke.
    #[error("{0}")]
    Status(Box<Status>),
    /// The first message was no digest, or did not come.
    #[error("no digest within 5 s of connecting")]
    NoDigest,
    /// The digest cannot be taken.
    #[error("its digest was refused: {0}")]
    Digest(#[from] crate::ledger::DigestError),
    /// It is another process than gossip said.
    #[error("writer {found} answered where {wanted} was expected")]
    Stranger {
        /// Who answered.
        found: WriterId,
        /// Who was dialled.
        wanted: WriterId,
    },
    /// Nothing was heard for [`SILENCE`].
    #[error("nothing heard for 10 s")]
    Silent,
}

impl From<Status> for LinkError {
    fn from(status: Status) -> Self {
        Self::Status(Box::new(status))
    }
}

/// Where messages to the other side go: its type differs at the two ends of a call.
pub(super) enum Outbox {
    /// We dialled.
    Dialled(mpsc::Sender<v1::SyncMessage>),
    /// We were dialled.
    Answered(mpsc::Sender<Result<v1::SyncMessage, Status>>),
}

impl Outbox {
    /// Waits for room; false when the other side is gone.
    async fn send(&self, message: v1::SyncMessage) -> bool {
        match self {
            Self::Dialled(outbox) => outbox.send(message).await.is_ok(),
            Self::Answered(outbox) => outbox.send(Ok(message)).await.is_ok(),
        }
    }
}

/// Runs the stream until it ends or is replaced by a newer one. `wanted` is the process that was dialled.
pub(super) async fn run(
    app: &App,
    mut inbound: Streaming<v1::SyncMessage>,
    outbox: Outbox,
    wanted: Option<WriterId>,
) -> Result<(), LinkError> {
    // Both sides begin with a digest; neither waits for the other's.
    if !outbox.send(digest(app)).await {
        return Ok(());
    }
    let first = tokio::time::timeout(FIRST_DIGEST, inbound.message()).await.map_err(|_| LinkError::NoDigest)??;
    let Some(v1::SyncMessage { body: Some(Body::Digest(first)) }) = first else { return Err(LinkError::NoDigest) };
    let peer = app.core.ledger().peer_digest(now_ms(), &first)?;
    if let Some(wanted) = wanted.filter(|wanted| *wanted != peer) {
        return Err(LinkError::Stranger { found: peer, wanted });
    }
    app.core.ledger().peer_opened(peer);
    let ended = app.links.add(peer, &app.stop);
    info!(peer = %first.aggregator_id, writer = %peer, "peer connected");
    let wake = Notify::new();
    wake.notify_one();
    app.core.nudge();
    let result = tokio::select! {
        biased;
        () = ended.cancelled() => Ok(()),
        result = read(app, &mut inbound, peer, &wake) => result,
        () = write(app, &outbox, peer, &wake, &ended) => Ok(()),
    };
    if app.links.remove(peer, &ended) {
        app.core.ledger().peer_closed(peer);
    }
    info!(peer = %first.aggregator_id, writer = %peer, "peer disconnected");
    result
}

/// Takes what the other side sends. Never waits for our own sending.
async fn read(
    app: &App,
    inbound: &mut Streaming<v1::SyncMessage>,
    peer: WriterId,
    wake: &Notify,
) -> Result<(), LinkError> {
    loop {
        let message = tokio::time::timeout(SILENCE, inbound.message()).await.map_err(|_| LinkError::Silent)??;
        let Some(message) = message else { return Ok(()) };
        match message.body {
            Some(Body::Digest(digest)) => {
                let from = app.core.ledger().peer_digest(now_ms(), &digest)?;
                if from != peer {
                    return Err(LinkError::Stranger { found: from, wanted: peer });
                }
                app.core.nudge();
                wake.notify_one();
            }
            Some(Body::Entries(entries)) => {
                let applied = app.core.ledger().apply_entries(now_ms(), &entries);
                match applied {
                    Ok(applied) => {
                        if applied.entries > 0 {
                            app.core.announce(&applied.ticks);
                        }
                    }
                    // Entries overtook each other over two streams; the next digest asks for what is missing.
                    Err(EntriesError::Gap { .. }) => {}
                    Err(error) => metrics::peer_message_refused(&peer.to_string(), &error.to_string()),
                }
                wake.notify_one();
            }
            Some(Body::Nodes(table)) => app.fleet.take_from(peer, &table),
            // A message of a newer protocol.
            None => {}
        }
    }
}

/// Sends entries as they come, digests when they change and at least twice a second, and our node rows.
async fn write(app: &App, outbox: &Outbox, peer: WriterId, wake: &Notify, ended: &CancellationToken) {
    let mut changes = app.core.changes();
    let mut rows = app.fleet.own();
    rows.mark_changed();
    let mut timer = tokio::time::interval(DIGEST_EVERY);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = None;
    loop {
        let mut due = false;
        tokio::select! {
            () = ended.cancelled() => return,
            () = wake.notified() => {}
            changed = changes.changed() => if changed.is_err() { return },
            changed = rows.changed() => {
                if changed.is_err() {
                    return;
                }
                let table = v1::NodeTable::clone(&rows.borrow_and_update());
                if !outbox.send(v1::SyncMessage { body: Some(Body::Nodes(table)) }).await {
                    return;
                }
            }
            _ = timer.tick() => due = true,
        }
        loop {
            let entries = app.core.ledger().entries_for(now_ms(), peer, ENTRIES_BYTES);
            if entries.is_empty() {
                break;
            }
            for entries in entries {
                if !outbox.send(v1::SyncMessage { body: Some(Body::Entries(entries)) }).await {
                    return;
                }
            }
        }
        let message = digest(app);
        if due || last.as_ref() != Some(&message) {
            last = Some(message.clone());
            if !outbox.send(message).await {
                return;
            }
        }
    }
}

fn digest(app: &App) -> v1::SyncMessage {
    v1::SyncMessage { body: Some(Body::Digest(app.core.ledger().digest(now_ms()))) }
}
