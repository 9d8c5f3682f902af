//! Answers for people, dashboards and scripts. Any aggregator answers for the whole cluster.

mod alerts;
mod built;
mod cluster;
mod follow;
mod forward;
mod gossip_keys;
mod node;
mod nodes;
mod over_time;
mod quarantine;
mod series;
mod service;
mod services;
mod views;
mod watch;

use std::pin::Pin;

use futures_util::Stream;
use starling_proto::ids::NodeId;
use starling_service::requests::{OpenRequest, Protocol, RequestMeter};
use tokio_util::sync::CancellationToken;
use tonic::Status;

pub(crate) use self::{
    alerts::AlertService,
    cluster::ClusterService,
    forward::{Holders, marked, was_forwarded},
    over_time::OverTime,
    service::QueryService,
    views::Views,
};
use crate::{fleet::ClusterFleet, ingest::Registry, ledger_task::LedgerHandle};
use starling_proto::group::Group;

/// A stream of answers.
type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Opens streams of answers.
#[derive(Clone)]
pub(crate) struct Streams {
    /// Counts those that are open.
    pub(crate) meter: RequestMeter,
    /// Ends them.
    pub(crate) stop: CancellationToken,
}

impl Streams {
    fn open(&self) -> OpenStream {
        OpenStream { stop: self.stop.clone(), _counted: self.meter.open(Protocol::Grpc) }
    }
}

/// Held by a stream of answers as long as it is open.
struct OpenStream {
    stop: CancellationToken,
    _counted: OpenRequest,
}

/// Reads a group of a request.
///
/// # Errors
/// `INVALID_ARGUMENT` for a text that is no group.
fn parse_group(text: &str) -> Result<Group, Status> {
    Group::parse(text).map_err(|error| Status::invalid_argument(format!("group: {error}")))
}

/// Refuses a group that no node has been in lately.
///
/// # Errors
/// `INVALID_ARGUMENT`, naming the groups there are.
fn check_group(registry: &Registry, fleet: &ClusterFleet, group: &Group) -> Result<(), Status> {
    let Some((key, value)) = group.label() else { return Ok(()) };
    let group_by = registry.group_by();
    if !group_by.iter().any(|label| label == key) {
        let labels = group_by.join(", ");
        return Err(Status::invalid_argument(format!("group: nodes are grouped by {labels}, not by {key:?}")));
    }
    // Whoever is beyond `groups_max` at some aggregator; none may be.
    if value == starling_proto::series::OTHER || fleet.has_group(group) {
        return Ok(());
    }
    let known = fleet.groups_of(key);
    let hint =
        if known.is_empty() { "none has that label".to_owned() } else { format!("there are {}", known.join(", ")) };
    Err(Status::invalid_argument(format!("group: no node is in {group}, {hint}")))
}

/// Reads a name of a node in a request.
fn parse_node(text: &str) -> Result<NodeId, Status> {
    NodeId::parse(text).map_err(|error| Status::invalid_argument(format!("node_id: {error}")))
}

/// The second of a request: the newest settled one for 0.
///
/// # Errors
/// `OUT_OF_RANGE`, naming the window, for a second that is not kept or not settled.
fn parse_tick(ledger: &LedgerHandle, tick: u32) -> Result<u32, Status> {
    let settled = ledger.published().borrow().settled;
    let oldest = oldest_kept(settled);
    match tick {
        0 => Ok(settled),
        tick if (oldest..=settled).contains(&tick) => Ok(tick),
        tick => Err(Status::out_of_range(format!("tick: {tick} is outside of {oldest} to {settled}"))),
    }
}

/// The oldest second that can be asked for.
const fn oldest_kept(settled: u32) -> u32 {
    settled.saturating_sub(starling_proto::limits::LIVE_WINDOW - 1)
}

/// Runs what may take milliseconds off the runtime's threads.
async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Status> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Status::internal(format!("the answer was not built: {error}")))
}
