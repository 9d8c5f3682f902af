//! How aggregators keep one ledger: one stream between each two, entries pushed as they are appended.
//!
//! Of two aggregators the one with the lower name dials; the stream carries both directions. Each direction has its
//! own task half: reading never waits for writing, so two slow sides cannot block each other.
//!
//! Beside it they ask each other for what one alone holds of the history ([`history`]), and for the blocks of which they are to
//! keep copies ([`blocks`]), and for the keys of gossip ([`keys`]), and for the last 15 minutes of nodes that moved ([`recent`]), over [`channels`] of their own.

mod alerts;
mod blocks;
mod channels;
mod dial;
mod history;
mod keys;
mod link;
mod recent;
mod turns;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use starling_notify::Notifiers;
use starling_proto::{ids::WriterId, limits::PEER_MESSAGE_BYTES_MAX, v1};
use starling_service::{grpc::peer_server, listen::Peer};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Request, Response, Status, Streaming};

pub(crate) use self::{
    alerts::share_alerts,
    blocks::WANTED_MAX,
    channels::Channels,
    dial::{DIAL, dial_peers},
    keys::{Changed, GossipKeys},
    recent::NODES_MAX,
};
use self::{
    blocks::Blocks,
    history::Reads,
    link::{Outbox, Wanted},
    recent::Recents,
};
use crate::{
    alerts::Alerts, catch_up::CatchUp, fleet::ClusterFleet, history::Disk, ingest::Registry, ledger_task::LedgerHandle,
    membership::Membership, metrics::Metrics, select::Held,
};

/// Messages to one peer on their way. A message holds up to a megabyte of entries; the writer waits when it is full
/// and what it would have sent stays in the log.
const OUTBOX: usize = 4;

/// The streams that are up, by the process at the other end.
pub(crate) struct Links {
    /// Plain mutex, short sections.
    up: Mutex<HashMap<WriterId, (u64, CancellationToken)>>,
    /// Why the last attempt failed, of those that are dialled and not reached: as many as there are live members at most.
    /// Plain mutex, short sections.
    failures: Mutex<HashMap<WriterId, String>>,
    last: AtomicU64,
    metrics: Arc<Metrics>,
}

impl Links {
    /// None is up.
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        Self { up: Mutex::default(), failures: Mutex::default(), last: AtomicU64::new(0), metrics }
    }

    fn failures(&self) -> MutexGuard<'_, HashMap<WriterId, String>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An attempt to reach `peer` failed, or the stream to it ended with this error.
    fn failed(&self, peer: WriterId, cause: String) {
        self.failures().insert(peer, cause);
    }

    /// `peer` is not dialled any more.
    fn forget(&self, peer: WriterId) {
        self.failures().remove(&peer);
    }

    /// Why the last attempt to reach `peer` failed; `None` while it is reached, and of one that is not dialled from here.
    pub(crate) fn failure(&self, peer: WriterId) -> Option<String> {
        self.failures().get(&peer).cloned()
    }

    /// A stream to `peer` is up; one before it ends. Returns what ends this one, and its number.
    fn add(&self, peer: WriterId, parent: &CancellationToken) -> (CancellationToken, u64) {
        let (token, number) = (parent.child_token(), self.last.fetch_add(1, Ordering::Relaxed));
        self.forget(peer);
        let mut up = self.up.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, older)) = up.insert(peer, (number, token.clone())) {
            older.cancel();
        }
        self.metrics.peer_links.set(up.len() as f64);
        (token, number)
    }

    /// Stream `number` to `peer` is down. A newer one stays.
    fn remove(&self, peer: WriterId, number: u64) {
        let mut up = self.up.lock().unwrap_or_else(PoisonError::into_inner);
        if up.get(&peer).is_some_and(|(current, _)| *current == number) {
            up.remove(&peer);
        }
        self.metrics.peer_links.set(up.len() as f64);
    }

    /// Whether a stream to `peer` is up.
    pub(crate) fn has(&self, peer: WriterId) -> bool {
        self.up.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&peer)
    }
}

/// What a stream to another aggregator needs.
pub(crate) struct Exchange {
    /// Who is a peer.
    pub(crate) membership: Membership,
    /// What is exchanged.
    pub(crate) ledger: LedgerHandle,
    /// Node rows, which go along.
    pub(crate) fleet: Arc<ClusterFleet>,
    /// History that is asked for.
    pub(crate) held: Held,
    /// Blocks that are copied; `None` without history.
    pub(crate) disk: Option<Arc<Disk>>,
    /// The nodes that have, or had, a stream here.
    pub(crate) registry: Arc<Registry>,
    /// Records of alerts; `None` when they are off.
    pub(crate) alerts: Option<Alerts>,
    /// Who is told of alerts; `None` when nobody is.
    pub(crate) notifiers: Option<Notifiers>,
    /// Hears what peers hold.
    pub(crate) catch_up: Arc<CatchUp>,
    /// The streams that are up.
    pub(crate) links: Links,
    /// What is counted.
    pub(crate) metrics: Arc<Metrics>,
    /// Owns the tasks of the streams.
    pub(crate) tasks: TaskTracker,
    /// Everything ends.
    pub(crate) stop: CancellationToken,
}

/// The gRPC service.
pub(crate) struct PeerService {
    exchange: Arc<Exchange>,
    reads: Reads,
    blocks: Blocks,
    recents: Recents,
}

impl PeerService {
    /// The service with its limits.
    pub(crate) fn server(exchange: Arc<Exchange>) -> peer_server::PeerServer<Self> {
        let reads = Reads::new(exchange.held.clone(), exchange.fleet.clone());
        let blocks = Blocks::new(exchange.disk.clone(), exchange.metrics.clone());
        let recents = Recents::new(exchange.registry.clone());
        peer_server::PeerServer::new(Self { exchange, reads, blocks, recents })
            .max_decoding_message_size(PEER_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(PEER_MESSAGE_BYTES_MAX)
    }

    /// Passes a request on, unless its certificate names an aggregator that is in quarantine here.
    fn heard<T>(&self, request: Request<T>) -> Result<Request<T>, Status> {
        let identity = request.extensions().get::<Peer>().and_then(|peer| peer.identity.as_ref());
        match identity.filter(|identity| self.exchange.membership.is_refused(identity.name.as_str())) {
            Some(identity) => Err(Status::permission_denied(format!("{} is in quarantine here", identity.name))),
            None => Ok(request),
        }
    }

    fn alerts(&self) -> Result<&Alerts, Status> {
        self.exchange.alerts.as_ref().ok_or_else(|| Status::unimplemented("alerts are off here (alerts.enabled)"))
    }
}

#[tonic::async_trait]
impl peer_server::Peer for PeerService {
    type SyncStream = ReceiverStream<Result<v1::SyncMessage, Status>>;
    type ReadHistoryStream = ReceiverStream<Result<v1::HistoryPart, Status>>;
    type ListBlocksStream = ReceiverStream<Result<v1::BlockList, Status>>;
    type ReadRecentStream = ReceiverStream<Result<v1::RecentBlock, Status>>;
    type ReadBlocksStream = ReceiverStream<Result<v1::BlockPart, Status>>;
    type ReadAlertsStream = ReceiverStream<Result<v1::AlertRecords, Status>>;

    async fn sync(&self, request: Request<Streaming<v1::SyncMessage>>) -> Result<Response<Self::SyncStream>, Status> {
        let request = self.heard(request)?;
        if self.exchange.stop.is_cancelled() {
            return Err(Status::unavailable("this aggregator is stopping"));
        }
        let (outbox, responses) = mpsc::channel(OUTBOX);
        let exchange = self.exchange.clone();
        let peer = request.extensions().get::<Peer>().cloned();
        self.exchange.tasks.spawn(async move {
            let outbox = Outbox::Answered(outbox);
            if let Err(error) =
                link::run(&exchange, request.into_inner(), outbox, Wanted::Whoever(peer), &exchange.stop).await
            {
                exchange.metrics.peer_failed("inbound", &error.to_string());
            }
        });
        Ok(Response::new(ReceiverStream::new(responses)))
    }

    async fn read_history(
        &self,
        request: Request<v1::ReadHistoryRequest>,
    ) -> Result<Response<Self::ReadHistoryStream>, Status> {
        Ok(Response::new(ReceiverStream::new(self.reads.begin(self.heard(request)?)?)))
    }

    async fn list_blocks(
        &self,
        request: Request<v1::ListBlocksRequest>,
    ) -> Result<Response<Self::ListBlocksStream>, Status> {
        Ok(Response::new(ReceiverStream::new(self.blocks.list(self.heard(request)?.get_ref())?)))
    }

    async fn read_blocks(
        &self,
        request: Request<v1::ReadBlocksRequest>,
    ) -> Result<Response<Self::ReadBlocksStream>, Status> {
        Ok(Response::new(ReceiverStream::new(self.blocks.read(self.heard(request)?.into_inner())?)))
    }

    async fn read_recent(
        &self,
        request: Request<v1::ReadRecentRequest>,
    ) -> Result<Response<Self::ReadRecentStream>, Status> {
        Ok(Response::new(ReceiverStream::new(self.recents.begin(self.heard(request)?.get_ref())?)))
    }

    async fn put_alerts(&self, request: Request<v1::AlertRecords>) -> Result<Response<v1::AlertDigest>, Status> {
        Ok(Response::new(alerts::take(self.alerts()?, self.heard(request)?.into_inner())?))
    }

    async fn exchange_gossip_ring(
        &self,
        request: Request<v1::ExchangeGossipRingRequest>,
    ) -> Result<Response<v1::ExchangeGossipRingResponse>, Status> {
        Ok(Response::new(keys::answer(&self.exchange.membership, self.heard(request)?).await?))
    }

    async fn read_alerts(
        &self,
        request: Request<v1::ReadAlertsRequest>,
    ) -> Result<Response<Self::ReadAlertsStream>, Status> {
        self.heard(request)?;
        Ok(Response::new(ReceiverStream::new(alerts::all(self.alerts()?))))
    }
}
