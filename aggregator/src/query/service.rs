//! The `Query` service.

use std::sync::Arc;

use starling_proto::{ids::NodeId, limits::PEER_MESSAGE_BYTES_MAX, v1};
use starling_service::grpc::query_server;
use tonic::{Code, Request, Response, Status, metadata::MetadataMap};

use super::{
    Answers, Holders, OverTime, Streams, Views, check_group, follow, forward, node, nodes, off_thread, oldest_kept,
    parse_group, parse_node, parse_tick,
    series::Asked,
    services,
    views::{self, stamped},
    watch,
};
use crate::{catch_up::CatchUp, fleet::ClusterFleet, ingest::Registry, ledger_task::LedgerHandle};
use starling_proto::group::Group;

/// Requests hold names and numbers, and conditions that may list 500 names of nodes.
const REQUEST_BYTES_MAX: usize = 128 * 1024;

/// See the module.
pub(crate) struct QueryService {
    /// Name of this aggregator.
    pub(crate) id: NodeId,
    /// What is settled.
    pub(crate) ledger: LedgerHandle,
    /// The nodes known here.
    pub(crate) registry: Arc<Registry>,
    /// The nodes known anywhere.
    pub(crate) fleet: Arc<ClusterFleet>,
    /// Views of the cluster and of groups.
    pub(crate) views: Arc<Views>,
    /// Who else to ask.
    pub(crate) holders: Arc<Holders>,
    /// Questions over time.
    pub(crate) over_time: Arc<OverTime>,
    /// For answers that go on.
    pub(crate) streams: Streams,
    /// Whether it answers yet.
    pub(crate) catch_up: Arc<CatchUp>,
}

impl QueryService {
    /// The service with its limits.
    pub(crate) fn server(self) -> query_server::QueryServer<Self> {
        query_server::QueryServer::new(self)
            .max_decoding_message_size(REQUEST_BYTES_MAX)
            .max_encoding_message_size(PEER_MESSAGE_BYTES_MAX)
    }

    /// Whether another aggregator asks, about a node that is held here: that can be answered from the start.
    ///
    /// # Errors
    /// [`CatchUp::check`], for anybody else.
    fn asked_by_peer(&self, metadata: &MetadataMap) -> Result<bool, Status> {
        let forwarded = forward::was_forwarded(metadata);
        if !forwarded {
            self.catch_up.check()?;
        }
        Ok(forwarded)
    }

    fn group(&self, text: &str) -> Result<Group, Status> {
        let group = parse_group(text)?;
        check_group(&self.registry, &self.fleet, &group)?;
        Ok(group)
    }
}

#[tonic::async_trait]
impl query_server::Query for QueryService {
    type WatchClusterStream = Answers<v1::ClusterView>;
    type WatchNodesStream = Answers<v1::NodesUpdate>;
    type WatchNodeStream = Answers<v1::NodeView>;

    async fn get_cluster(&self, request: Request<v1::GetClusterRequest>) -> Result<Response<v1::ClusterView>, Status> {
        self.catch_up.check()?;
        let request = request.into_inner();
        let group = self.group(&request.group)?;
        let tick = parse_tick(&self.ledger, request.tick)?;
        let views = self.views.clone();
        Ok(Response::new(off_thread(move || stamped(&views.get(&group, tick), request.include_histograms)).await?))
    }

    async fn watch_cluster(
        &self,
        request: Request<v1::WatchClusterRequest>,
    ) -> Result<Response<Self::WatchClusterStream>, Status> {
        self.catch_up.check()?;
        let request = request.into_inner();
        let group = self.group(&request.group)?;
        let (from, histograms) = (request.from_tick, request.include_histograms);
        Ok(Response::new(Box::pin(watch::watch_cluster(self.views.clone(), &self.streams, group, from, histograms))))
    }

    async fn list_nodes(&self, request: Request<v1::ListNodesRequest>) -> Result<Response<v1::NodeTable>, Status> {
        self.catch_up.check()?;
        let request = request.into_inner();
        let group = self.group(&request.group)?;
        let paging = nodes::Paging::parse(&request)?;
        let (ledger, fleet) = (self.ledger.clone(), self.fleet.clone());
        Ok(Response::new(off_thread(move || nodes::page(&ledger, &fleet, &group, &paging)).await?))
    }

    async fn watch_nodes(
        &self,
        request: Request<v1::WatchNodesRequest>,
    ) -> Result<Response<Self::WatchNodesStream>, Status> {
        self.catch_up.check()?;
        let request = request.into_inner();
        let group = self.group(&request.group)?;
        let known = (request.generation, request.revision);
        Ok(Response::new(Box::pin(nodes::watch(
            (self.ledger.clone(), self.fleet.clone()),
            &self.streams,
            group,
            known,
        ))))
    }

    async fn get_node(&self, request: Request<v1::GetNodeRequest>) -> Result<Response<v1::NodeView>, Status> {
        let forwarded = self.asked_by_peer(request.metadata())?;
        let request = request.into_inner();
        let id = parse_node(&request.node_id)?;
        if let Some(member) = forward::holder(&self.holders, &id, forwarded)? {
            return Ok(Response::new(forward::get_node(&self.holders, &member, request).await?));
        }
        let holders = self.holders.clone();
        let node = self.registry.get(&id).ok_or_else(|| Status::not_found(format!("node_id: {id} is gone")))?;
        let view = off_thread(move || node::newest(&holders, &node, request.include_histograms)).await?;
        view.map(Response::new).ok_or_else(|| Status::not_found(format!("node_id: {id} has sent nothing yet")))
    }

    async fn get_node_detail(
        &self,
        request: Request<v1::GetNodeDetailRequest>,
    ) -> Result<Response<v1::NodeDetailView>, Status> {
        let forwarded = self.asked_by_peer(request.metadata())?;
        let request = request.into_inner();
        let id = parse_node(&request.node_id)?;
        if let Some(member) = forward::holder(&self.holders, &id, forwarded)? {
            return Ok(Response::new(forward::get_node_detail(&self.holders, &member, request).await?));
        }
        let node = self.registry.get(&id).ok_or_else(|| Status::not_found(format!("node_id: {id} is gone")))?;
        let detail = node::detail(&node).await?;
        let answered_by = self.id.to_string();
        Ok(Response::new(v1::NodeDetailView { node_id: id.to_string(), detail: Some(detail), answered_by }))
    }

    async fn get_series(&self, request: Request<v1::GetSeriesRequest>) -> Result<Response<v1::SeriesAnswer>, Status> {
        let forwarded = self.asked_by_peer(request.metadata())?;
        let settled = self.ledger.published().borrow().settled;
        let oldest = oldest_kept(settled);
        let before = |tick: u32| (1..oldest).contains(&tick);
        if before(request.get_ref().from_tick) || before(request.get_ref().to_tick) {
            return Ok(Response::new(self.over_time.series(request).await?));
        }
        let request = request.into_inner();
        let answered_by = self.id.to_string();
        if request.node_id.is_empty() {
            let group = self.group(&request.group)?;
            let asked = Asked::parse(&request, oldest, settled)?;
            let views = self.views.clone();
            let answer = off_thread(move || views::series(&views, &group, &asked)).await?;
            return Ok(Response::new(v1::SeriesAnswer { answered_by, ..answer }));
        }
        if !request.group.is_empty() {
            return Err(Status::invalid_argument("node_id: give a node or a group, not both"));
        }
        let id = parse_node(&request.node_id)?;
        match forward::holder(&self.holders, &id, forwarded) {
            // One that did not come back after we started again: its seconds are in the log, and it is in no table.
            Err(unknown) if unknown.code() == Code::NotFound && request.from_tick > 0 && !forwarded => {
                return Ok(Response::new(self.over_time.series(Request::new(request)).await?));
            }
            Ok(Some(member)) => {
                return Ok(Response::new(forward::get_series(&self.holders, &member, request).await?));
            }
            Ok(None) => {}
            Err(other) => return Err(other),
        }
        let gone = || Status::not_found(format!("node_id: {id} has sent nothing in the last 15 minutes"));
        let node = self.registry.get(&id).ok_or_else(gone)?;
        let newest = *node.ticks().borrow();
        // A node's clock may be ahead of what is settled, and a silent node's newest second is long ago.
        let asked = Asked::parse(&request, oldest, newest.max(oldest))?;
        let answer = off_thread(move || node::series(&node, &asked)).await?;
        Ok(Response::new(v1::SeriesAnswer { answered_by, ..answer }))
    }

    async fn list_services(
        &self,
        request: Request<v1::ListServicesRequest>,
    ) -> Result<Response<v1::ServiceList>, Status> {
        self.catch_up.check()?;
        let request = request.into_inner();
        let group = self.group(&request.group)?;
        let to = parse_tick(&self.ledger, request.to_tick)?;
        let oldest = oldest_kept(self.ledger.published().borrow().settled);
        let asked = services::Asked::parse(request, oldest, to)?;
        let (views, answered_by) = (self.views.clone(), self.id.to_string());
        let list = off_thread(move || views::services(&views, &group, &asked)).await?;
        Ok(Response::new(v1::ServiceList { answered_by, ..list }))
    }

    async fn query_range(&self, request: Request<v1::QueryRangeRequest>) -> Result<Response<v1::RangeAnswer>, Status> {
        self.catch_up.check()?;
        Ok(Response::new(self.over_time.query_range(request).await?))
    }

    async fn query_promql(
        &self,
        request: Request<v1::QueryPromqlRequest>,
    ) -> Result<Response<v1::PromqlAnswer>, Status> {
        self.catch_up.check()?;
        Ok(Response::new(self.over_time.query_promql(request).await?))
    }

    async fn list_promql_series(
        &self,
        request: Request<v1::ListPromqlSeriesRequest>,
    ) -> Result<Response<v1::PromqlSeriesList>, Status> {
        self.catch_up.check()?;
        Ok(Response::new(self.over_time.list_promql_series(request).await?))
    }

    async fn get_heatmap(&self, request: Request<v1::GetHeatmapRequest>) -> Result<Response<v1::Heatmap>, Status> {
        self.catch_up.check()?;
        Ok(Response::new(self.over_time.heatmap(request).await?))
    }

    async fn summarize(&self, request: Request<v1::SummarizeRequest>) -> Result<Response<v1::Summary>, Status> {
        self.catch_up.check()?;
        Ok(Response::new(self.over_time.summarize(request).await?))
    }

    async fn differ(&self, request: Request<v1::DifferRequest>) -> Result<Response<v1::Differences>, Status> {
        self.catch_up.check()?;
        Ok(Response::new(Box::pin(self.over_time.differ(request)).await?))
    }

    async fn list_outliers(&self, request: Request<v1::ListOutliersRequest>) -> Result<Response<v1::Outliers>, Status> {
        self.catch_up.check()?;
        Ok(Response::new(Box::pin(self.over_time.outliers(request)).await?))
    }

    async fn get_distribution(
        &self,
        request: Request<v1::GetDistributionRequest>,
    ) -> Result<Response<v1::Distribution>, Status> {
        self.catch_up.check()?;
        Ok(Response::new(self.over_time.distribution(request).await?))
    }

    async fn watch_node(
        &self,
        request: Request<v1::WatchNodeRequest>,
    ) -> Result<Response<Self::WatchNodeStream>, Status> {
        let forwarded = self.asked_by_peer(request.metadata())?;
        let request = request.into_inner();
        let id = parse_node(&request.node_id)?;
        if !forwarded {
            return Ok(Response::new(Box::pin(
                follow::watch(self.holders.clone(), self.streams.clone(), id, request).await?,
            )));
        }
        // The aggregator that asks follows the node: it is answered from what is held here, as long as it is held.
        forward::holder(&self.holders, &id, forwarded)?;
        let node = self.registry.get(&id).ok_or_else(|| Status::not_found(format!("node_id: {id} is gone")))?;
        Ok(Response::new(Box::pin(node::watch(self.holders.clone(), &self.streams, node, &request))))
    }
}
