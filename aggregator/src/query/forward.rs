//! Asks another aggregator for what only it holds.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use starling_proto::{ids::NodeId, limits::PEER_MESSAGE_BYTES_MAX, v1};
use starling_service::grpc::{alerts_client::AlertsClient, cluster_client::ClusterClient, query_client::QueryClient};
use tonic::{
    Request, Status, Streaming,
    metadata::{Ascii, MetadataMap, MetadataValue},
    transport::Channel,
};

use crate::{
    fleet::ClusterFleet,
    ingest::Registry,
    ledger_task::LedgerHandle,
    membership::{Member, Membership},
    peer::Channels,
};

/// Marks a request that was forwarded once: it is answered from what is held, or not at all.
const FORWARDED: &str = "starling-forwarded";
/// A unary question to another aggregator takes this long at most.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Which aggregator holds a node, and the way to it.
pub(crate) struct Holders {
    membership: Membership,
    ledger: LedgerHandle,
    registry: Arc<Registry>,
    fleet: Arc<ClusterFleet>,
    channels: Channels,
}

impl Holders {
    /// By `membership`, and by the nodes known here (`registry`) and anywhere (`fleet`).
    pub(crate) fn new(
        membership: Membership,
        ledger: LedgerHandle,
        registry: Arc<Registry>,
        fleet: Arc<ClusterFleet>,
    ) -> Self {
        let channels = Channels::new(membership.security().clone());
        Self { membership, ledger, registry, fleet, channels }
    }

    /// The ledger of this aggregator.
    pub(super) const fn ledger(&self) -> &LedgerHandle {
        &self.ledger
    }

    /// The nodes of this aggregator.
    pub(super) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Who else is there.
    pub(super) const fn membership(&self) -> &Membership {
        &self.membership
    }

    /// The rows of all nodes.
    pub(super) fn fleet(&self) -> &ClusterFleet {
        &self.fleet
    }
}

/// Whether the request came from another aggregator.
pub(crate) fn was_forwarded(metadata: &MetadataMap) -> bool {
    metadata.contains_key(FORWARDED)
}

/// The aggregator to ask about `node`; `None` when we are to answer ourselves.
///
/// # Errors
/// `NOT_FOUND` for a node that is not known, with names that are close; `UNAVAILABLE` for one whose
/// aggregator is gone.
pub(super) fn holder(holders: &Holders, node: &NodeId, forwarded: bool) -> Result<Option<Member>, Status> {
    let known_here = holders.registry.get(node).is_some_and(|node| node.latest().is_some());
    let connected_here = holders.registry.get(node).is_some_and(|node| node.presence().0);
    let place = holders.fleet.place(node);
    if known_here
        && (connected_here || forwarded || place.as_ref().is_none_or(|place| place.writer == holders.ledger.writer()))
    {
        return Ok(None);
    }
    let (Some(place), false) = (place, forwarded) else { return Err(unknown(holders, node)) };
    let view = holders.membership.view();
    let teller = view.live.iter().find(|member| member.writer == place.writer);
    match teller {
        Some(member) => Ok(Some(member.clone())),
        // What was left here before it moved is better than nothing.
        None if known_here => Ok(None),
        None => {
            let name = if place.aggregator_id.is_empty() { "unknown" } else { &place.aggregator_id };
            Err(Status::unavailable(format!("the aggregator {name}, which held node {node}, is gone")))
        }
    }
}

/// `NOT_FOUND` for a node that is not known, with names that are close.
pub(super) fn unknown(holders: &Holders, node: &NodeId) -> Status {
    let (similar, count) = holders.fleet.similar(node.as_str());
    let hint = if similar.is_empty() { String::new() } else { format!("; similar: {}", similar.join(", ")) };
    Status::not_found(format!(
        "node_id: no node called {node} in the last 15 minutes, {count} are known, see ListNodes{hint}"
    ))
}

/// [`v1::query_client`] `GetNode` at `member`.
pub(super) async fn get_node(
    holders: &Holders,
    member: &Member,
    request: v1::GetNodeRequest,
) -> Result<v1::NodeView, Status> {
    let mut request = marked(request);
    request.set_timeout(TIMEOUT);
    let answer = client(holders, member)?.get_node(request).await;
    Ok(answer.map_err(|status| explained(member, &status))?.into_inner())
}

/// [`v1::query_client`] `GetNodeDetail` at `member`.
pub(super) async fn get_node_detail(
    holders: &Holders,
    member: &Member,
    request: v1::GetNodeDetailRequest,
) -> Result<v1::NodeDetailView, Status> {
    let mut request = marked(request);
    request.set_timeout(TIMEOUT);
    let answer = client(holders, member)?.get_node_detail(request).await;
    Ok(answer.map_err(|status| explained(member, &status))?.into_inner())
}

/// [`v1::query_client`] `GetSeries` at `member`.
pub(super) async fn get_series(
    holders: &Holders,
    member: &Member,
    request: v1::GetSeriesRequest,
) -> Result<v1::SeriesAnswer, Status> {
    let mut request = marked(request);
    request.set_timeout(TIMEOUT);
    let answer = client(holders, member)?.get_series(request).await;
    Ok(answer.map_err(|status| explained(member, &status))?.into_inner())
}

/// [`v1::query_client`] `WatchNode` at `member`.
pub(super) async fn watch_node(
    holders: &Holders,
    member: &Member,
    request: v1::WatchNodeRequest,
) -> Result<Streaming<v1::NodeView>, Status> {
    let answer = client(holders, member)?.watch_node(marked(request)).await;
    Ok(answer.map_err(|status| explained(member, &status))?.into_inner())
}

/// [`v1::peer_client`] `ReadHistory` at `member`, which is to end at `until`.
pub(super) async fn read_history(
    holders: &Holders,
    member: &Member,
    request: v1::ReadHistoryRequest,
    until: Instant,
) -> Result<Streaming<v1::HistoryPart>, Status> {
    let mut request = marked(request);
    request.set_timeout(until.saturating_duration_since(Instant::now()));
    let mut client = holders.channels.peer(&member.grpc).map_err(|error| unreachable(member, &error))?;
    Ok(client.read_history(request).await?.into_inner())
}

/// `Cluster.ListAggregators` at `member`, of which only what it says of itself is meant.
pub(super) async fn list_aggregators(
    holders: &Holders,
    member: &Member,
    within: Duration,
) -> Result<v1::ListAggregatorsResponse, Status> {
    let mut request = marked(v1::ListAggregatorsRequest {});
    request.set_timeout(within);
    let asked = async { ClusterClient::new(channel(holders, member)?).list_aggregators(request).await };
    let answer = tokio::time::timeout(within, asked).await;
    Ok(answer.map_err(|_| Status::deadline_exceeded("it did not answer in time"))??.into_inner())
}

/// `Alerts.ListDeadLetters` at `member`, of its own.
pub(super) async fn list_dead_letters(
    holders: &Holders,
    member: &Member,
    request: v1::ListDeadLettersRequest,
) -> Result<v1::ListDeadLettersResponse, Status> {
    let mut request = marked(request);
    request.set_timeout(TIMEOUT);
    let mut client = AlertsClient::new(channel(holders, member)?).max_decoding_message_size(PEER_MESSAGE_BYTES_MAX);
    Ok(client.list_dead_letters(request).await.map_err(|status| explained(member, &status))?.into_inner())
}

/// `Alerts.ResendDeadLetters` at `member`, of its own.
pub(super) async fn resend_dead_letters(
    holders: &Holders,
    member: &Member,
    request: v1::ResendDeadLettersRequest,
) -> Result<v1::ResendDeadLettersResponse, Status> {
    let mut request = marked(request);
    request.set_timeout(TIMEOUT);
    let mut client = AlertsClient::new(channel(holders, member)?);
    Ok(client.resend_dead_letters(request).await.map_err(|status| explained(member, &status))?.into_inner())
}

fn client(holders: &Holders, member: &Member) -> Result<QueryClient<Channel>, Status> {
    Ok(QueryClient::new(channel(holders, member)?).max_decoding_message_size(PEER_MESSAGE_BYTES_MAX))
}

fn channel(holders: &Holders, member: &Member) -> Result<Channel, Status> {
    holders.channels.get(&member.grpc).map_err(|error| unreachable(member, &error))
}

fn unreachable(member: &Member, error: &str) -> Status {
    Status::unavailable(format!("aggregator {} at {}: {error}", member.id, member.grpc))
}

/// A request that is answered from what is held there, or not at all.
pub(crate) fn marked<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert(FORWARDED, MetadataValue::<Ascii>::from_static("1"));
    request
}

/// The status of the other aggregator, saying which one it was.
pub(super) fn explained(member: &Member, status: &Status) -> Status {
    if status.code() == tonic::Code::Unavailable || status.code() == tonic::Code::Unknown {
        let detail = format!("aggregator {} at {} is unreachable: {}", member.id, member.grpc, status.message());
        return Status::unavailable(detail);
    }
    Status::new(status.code(), format!("aggregator {}: {}", member.id, status.message()))
}
