//! One stream between two aggregators, the same at both ends.

use std::time::{Duration, Instant};

use starling_proto::{
    ids::WriterId,
    limits::NODE_ID_LEN_MAX,
    v1::{self, sync_message::Body},
};
use starling_service::{identity::Role, listen::Peer};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};
use tracing::info;

use super::{Exchange, turns::Turns};
use crate::{
    fleet::{Filter, PeerRows},
    ledger_task::{Ended, Inlet, Outlet},
    membership::{Member, MembershipView},
};
use starling_ledger::{
    DecodedRun, Ledger,
    limits::{BYTES_PER_EVENT, ENTRIES_PER_EVENT},
};

/// The other side must say what it holds within this time.
const FIRST_DIGEST: Duration = Duration::from_secs(5);
/// Nothing heard for this long: the stream is ended and dialled again.
const SILENCE: Duration = Duration::from_secs(10);
/// Bytes of entries handed out at once: taking them in costs the other side's ledger a few milliseconds, and a digest
/// never waits long behind them.
const ENTRIES_BYTES: usize = 128 * 1024;

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
    Digest(#[from] starling_ledger::DigestError),
    /// It is another process than gossip said.
    #[error("writer {found} answered where {wanted} was expected")]
    OtherProcess {
        /// Who answered.
        found: WriterId,
        /// Who was dialled.
        wanted: WriterId,
    },
    /// It speaks for another than its certificate names.
    #[error("it calls itself {name}: {what}")]
    OtherName {
        /// The name it gave.
        name: String,
        /// Whose certificate it has.
        what: String,
    },
    /// Gossip does not call that process alive: what it says must not reach the ledger. Passes when gossip is only
    /// behind; the dialling side tries again.
    #[error("{name} with writer {writer} is not a member that is known here yet")]
    Unknown {
        /// The name it gave.
        name: String,
        /// The writer it gave.
        writer: WriterId,
    },
    /// Its word counts no more here.
    #[error("{0} is in quarantine here")]
    Quarantined(String),
    /// Our own ledger has ended, and with it soon this process.
    #[error(transparent)]
    Ended(#[from] Ended),
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

    /// Answers the side that dialled why the stream ends.
    fn refuse(&self, error: &LinkError) {
        if let Self::Answered(outbox) = self {
            // Only our first digest was sent before: there is room, or it is not read.
            let _ = outbox.try_send(Err(Status::unavailable(error.to_string())));
        }
    }
}

/// Who may be at the other end.
pub(super) enum Wanted {
    /// The process that was dialled, at an address whose certificate was looked at.
    Process(WriterId),
    /// Whoever dialled, as the name in its certificate.
    Whoever(Option<Peer>),
}

/// The process a digest speaks for, if it is the one that was dialled or, when somebody else dialled, a member that
/// gossip sees alive and that its certificate names. To be asked before the ledger sees it: a digest of a name replaces the process before it.
fn speaker(view: &MembershipView, digest: &v1::Digest, wanted: &Wanted) -> Result<WriterId, LinkError> {
    let writer = WriterId::parse(&digest.writer_id).map_err(starling_ledger::DigestError::from)?;
    let name: String = digest.aggregator_id.chars().take(NODE_ID_LEN_MAX).collect();
    match wanted {
        Wanted::Process(wanted) if *wanted != writer => {
            return Err(LinkError::OtherProcess { found: writer, wanted: *wanted });
        }
        Wanted::Whoever(Some(peer)) => {
            if let Err(what) = peer.speaks_for(Role::Aggregator, &digest.aggregator_id) {
                return Err(LinkError::OtherName { name, what });
            }
        }
        Wanted::Process(_) | Wanted::Whoever(None) => {}
    }
    let known = |member: &Member| member.writer == writer && member.id.as_str() == digest.aggregator_id;
    if view.live.iter().any(known) {
        return Ok(writer);
    }
    Err(LinkError::Unknown { name, writer })
}

/// Runs the stream until it ends, is replaced by a newer one, or `stop`. Not to be dropped before: what it said up is to be
/// said down.
pub(super) async fn run(
    exchange: &Exchange,
    mut inbound: Streaming<v1::SyncMessage>,
    outbox: Outbox,
    wanted: Wanted,
    stop: &CancellationToken,
) -> Result<(), LinkError> {
    // Both sides begin with a digest; neither waits for the other's.
    let own = exchange.ledger.ask(Ledger::own_digest).await?;
    if !outbox.send(message(Body::Digest(own))).await {
        return Ok(());
    }
    let first = tokio::time::timeout(FIRST_DIGEST, inbound.message()).await.map_err(|_| LinkError::NoDigest)??;
    let Some(v1::SyncMessage { body: Some(Body::Digest(first)) }) = first else { return Err(LinkError::NoDigest) };
    if exchange.membership.is_refused(&first.aggregator_id) {
        let error = LinkError::Quarantined(first.aggregator_id);
        outbox.refuse(&error);
        return Err(error);
    }
    let peer = speaker(&exchange.membership.view(), &first, &wanted).inspect_err(|error| outbox.refuse(error))?;
    let name = first.aggregator_id.clone();
    exchange.catch_up.held_by(peer, &first);
    exchange.ledger.digest(first).await??;
    let (ended, link) = exchange.links.add(peer, stop);
    let (outlet, inlet) = Outlet::new();
    exchange.ledger.peer_opened(peer, link, outlet).await;
    info!(peer = %name, writer = %peer, "peer connected");
    let result = tokio::select! {
        biased;
        () = ended.cancelled() => Ok(()),
        result = read(exchange, &mut inbound, (peer, &name)) => result,
        () = write(exchange, &outbox, peer, inlet) => Ok(()),
    };
    exchange.links.remove(peer, link);
    exchange.ledger.peer_closed(peer, link).await;
    info!(peer = %name, writer = %peer, "peer disconnected");
    result
}

/// Takes what the other side sends. Never waits for our own sending.
async fn read(
    exchange: &Exchange,
    inbound: &mut Streaming<v1::SyncMessage>,
    (peer, name): (WriterId, &str),
) -> Result<(), LinkError> {
    let mut nodes = PeerRows::new(peer);
    let mut turns = Turns::new(Instant::now());
    loop {
        let message = tokio::time::timeout(SILENCE, inbound.message()).await.map_err(|_| LinkError::Silent)??;
        let Some(message) = message else { return Ok(()) };
        if exchange.membership.is_refused(name) {
            return Err(LinkError::Quarantined(name.to_owned()));
        }
        match message.body {
            Some(Body::Digest(digest)) => {
                // Whether it is still alive is not asked again: gossip may be down while streams go on.
                let found = WriterId::parse(&digest.writer_id).map_err(starling_ledger::DigestError::from)?;
                if found != peer || digest.aggregator_id != name {
                    return Err(LinkError::OtherProcess { found, wanted: peer });
                }
                exchange.ledger.digest(digest).await??;
            }
            // Read here, on the task of this stream: the ledger only looks numbers up.
            Some(Body::Entries(entries)) => match DecodedRun::decode(&entries) {
                Ok(run) => {
                    for piece in run.pieces(ENTRIES_PER_EVENT, BYTES_PER_EVENT) {
                        let turn = exchange.ledger.entries(peer, piece).await?;
                        let wait = turns.took(Instant::now(), turn);
                        if !wait.is_zero() {
                            exchange.metrics.peer_turn_waited(name, wait);
                            tokio::time::sleep(wait).await;
                        }
                        if turn.over_quota {
                            // What follows does not fit either: it is asked for again.
                            break;
                        }
                    }
                }
                Err(error) => exchange.metrics.peer_message_refused(&peer.to_string(), &error.to_string()),
            },
            Some(Body::Nodes(update)) => {
                if let Err(error) = nodes.take(&exchange.fleet, &update) {
                    exchange.metrics.peer_message_refused(&peer.to_string(), &error.to_string());
                }
                if !update.more {
                    exchange.catch_up.rows_of(peer);
                }
            }
            Some(Body::NameClashes(list)) => exchange.fleet.take_name_clashes(list.clashes),
            // A message of a newer protocol.
            None => {}
        }
    }
}

/// Sends what the ledger hands out for this peer, and our node rows.
async fn write(exchange: &Exchange, outbox: &Outbox, peer: WriterId, mut inlet: Inlet) {
    let mut rows = exchange.fleet.refreshed();
    rows.mark_changed();
    // What this stream was sent of our rows.
    let mut seen = 0;
    exchange.ledger.room(peer, ENTRIES_BYTES).await;
    loop {
        tokio::select! {
            changed = inlet.digest.changed() => {
                let newest = inlet.digest.borrow_and_update().clone();
                if changed.is_err() {
                    return;
                }
                if let Some(digest) = newest
                    && !outbox.send(message(Body::Digest(digest))).await
                {
                    return;
                }
            }
            runs = inlet.entries.recv() => {
                let Some(runs) = runs else { return };
                for run in runs {
                    if !outbox.send(message(Body::Entries(run))).await {
                        return;
                    }
                }
                exchange.ledger.room(peer, ENTRIES_BYTES).await;
            }
            changed = rows.changed() => {
                if changed.is_err() {
                    return;
                }
                let tick = *rows.borrow_and_update();
                let clashes = exchange.fleet.name_clashes();
                if !clashes.is_empty() && !outbox.send(message(Body::NameClashes(v1::NameClashes { clashes }))).await {
                    return;
                }
                for part in exchange.fleet.since(&Filter::Own, seen, tick) {
                    seen = part.revision;
                    if !outbox.send(message(Body::Nodes(part))).await {
                        return;
                    }
                }
            }
        }
    }
}

fn message(body: Body) -> v1::SyncMessage {
    v1::SyncMessage { body: Some(body) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::State;
    use starling_service::identity::Identity;
    use std::sync::Arc;

    fn member(name: &str, writer: u8) -> Member {
        Member { writer: WriterId::new([writer; 16]), ..Member::for_test(name, State::Ready) }
    }

    #[test]
    fn only_members_that_are_alive_speak() {
        let view = MembershipView {
            me: member("agg-0", 0),
            others: vec![member("agg-2", 2)],
            live: vec![member("agg-1", 1)],
            listed: Vec::new(),
            suspects_partition: false,
            degraded: false,
            silent_seeds: None,
            wanting: None,
            too_few: None,
            conflict: None,
        };
        let says = |name: &str, writer: u8| v1::Digest {
            writer_id: WriterId::new([writer; 16]).to_bytes(),
            aggregator_id: name.to_owned(),
            ..v1::Digest::default()
        };
        let (one, two) = (WriterId::new([1; 16]), WriterId::new([2; 16]));
        let whoever = Wanted::Whoever(None);
        assert_eq!(speaker(&view, &says("agg-1", 1), &whoever).unwrap(), one);
        assert_eq!(speaker(&view, &says("agg-1", 1), &Wanted::Process(one)).unwrap(), one);
        // An unknown process, another process under a member's name, a member's process under another name, one that
        // is not alive, another one than was dialled.
        for (digest, wanted) in [
            (says("agg-9", 9), &whoever),
            (says("agg-1", 9), &whoever),
            (says("agg-9", 1), &whoever),
            (says("agg-2", 2), &whoever),
            (says("agg-9", 9), &Wanted::Process(WriterId::new([9; 16]))),
        ] {
            assert!(matches!(speaker(&view, &digest, wanted), Err(LinkError::Unknown { .. })), "{digest:?}");
        }
        assert!(matches!(
            speaker(&view, &says("agg-1", 1), &Wanted::Process(two)),
            Err(LinkError::OtherProcess { .. })
        ));
        // Under the certificate of another member, or of a node.
        for (uri, is_taken) in [
            ("spiffe://s/aggregator/agg-1", true),
            ("spiffe://s/aggregator/agg-2", false),
            ("spiffe://s/node/agg-1", false),
        ] {
            let identity = Some(Arc::new(Identity::parse(uri).unwrap()));
            let peer = Peer { address: ([10, 0, 0, 1], 1).into(), identity, encrypted: true };
            let found = speaker(&view, &says("agg-1", 1), &Wanted::Whoever(Some(peer)));
            assert_eq!(found.is_ok(), is_taken, "{uri}");
            assert!(is_taken || matches!(found, Err(LinkError::OtherName { .. })), "{uri}");
        }
    }
}
