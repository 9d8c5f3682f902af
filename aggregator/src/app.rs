//! What the services of one aggregator share.

use std::sync::Arc;

use starling_proto::ids::NodeId;
use starling_service::requests::RequestMeter;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    fleet::Fleet,
    ingest::Registry,
    ledger_task::LedgerHandle,
    membership::Membership,
    metrics::Metrics,
    peer::Links,
    query::{Channels, Views},
};

/// Everything a service needs. One per aggregator, shared.
pub(crate) struct App {
    /// Name of this aggregator.
    pub(crate) id: NodeId,
    /// Name of the cluster.
    pub(crate) cluster: String,
    /// Who else is there.
    pub(crate) membership: Membership,
    /// The ledger and what follows from it.
    pub(crate) ledger: LedgerHandle,
    /// The nodes heard of here.
    pub(crate) registry: Arc<Registry>,
    /// The nodes heard of anywhere.
    pub(crate) fleet: Arc<Fleet>,
    /// Streams to other aggregators.
    pub(crate) links: Links,
    /// Connections to other aggregators' query face.
    pub(crate) channels: Channels,
    /// Views built from the ledger.
    pub(crate) views: Views,
    /// What we count of ourselves.
    pub(crate) metrics: Arc<Metrics>,
    /// Our own requests.
    pub(crate) meter: RequestMeter,
    /// Owns every task of a stream; awaited at the stop.
    pub(crate) tasks: TaskTracker,
    /// Nodes are to be handed over: no new ones are taken.
    pub(crate) draining: CancellationToken,
    /// Everything ends.
    pub(crate) stop: CancellationToken,
}
