//! The `Cluster` service: the aggregators themselves and the books they keep.

use std::sync::Arc;

use starling_proto::v1::{self, AggregatorState};
use starling_service::grpc::cluster_server;
use tonic::{Request, Response, Status};

use super::{off_thread, parse_tick, views::completeness};
use crate::{
    app::App,
    membership::{Listed, State},
};
use starling_ledger::{Check, LogStatus, PeerStatus};

/// See the module.
pub(crate) struct ClusterService(Arc<App>);

impl ClusterService {
    /// The service.
    pub(crate) fn server(app: Arc<App>) -> cluster_server::ClusterServer<Self> {
        cluster_server::ClusterServer::new(Self(app)).max_decoding_message_size(4 * 1024)
    }
}

#[tonic::async_trait]
impl cluster_server::Cluster for ClusterService {
    async fn list_aggregators(
        &self,
        _: Request<v1::ListAggregatorsRequest>,
    ) -> Result<Response<v1::ListAggregatorsResponse>, Status> {
        let app = &self.0;
        let view = app.membership.view();
        let (logs, peers, own_closed, own_nodes) = {
            let mut ledger = app.core.ledger();
            let closed = ledger.closed_tick(crate::clock::now_ms());
            (ledger.logs(), ledger.peers(), closed, ledger.sessions_len())
        };
        let own_nodes = u32::try_from(own_nodes).unwrap_or(u32::MAX);
        let aggregators = view
            .listed
            .iter()
            .map(|listed| {
                let own = (listed.member.writer == app.core.writer()).then_some((own_nodes, own_closed));
                aggregator(listed, &logs, &peers, own)
            })
            .collect();
        Ok(Response::new(v1::ListAggregatorsResponse {
            aggregators,
            answered_by: app.id.to_string(),
            cluster: app.cluster.clone(),
        }))
    }

    async fn get_ledger(&self, request: Request<v1::GetLedgerRequest>) -> Result<Response<v1::Ledger>, Status> {
        let tick = parse_tick(&self.0, request.into_inner().tick)?;
        let app = self.0.clone();
        // Adding up the entries of a second anew takes milliseconds.
        Ok(Response::new(off_thread(move || ledger(&app, tick)).await?))
    }
}

/// One line of the list. The digest of a peer is newer than what gossip says of it. `own`: nodes and closed tick.
fn aggregator(listed: &Listed, logs: &[LogStatus], peers: &[PeerStatus], own: Option<(u32, u32)>) -> v1::Aggregator {
    let member = &listed.member;
    let state = match (listed.dead, member.state) {
        (true, _) => AggregatorState::Dead,
        (false, State::Joining) => AggregatorState::Joining,
        (false, State::Ready) => AggregatorState::Ready,
        (false, State::Leaving) => AggregatorState::Leaving,
    };
    let peer = peers.iter().find(|peer| peer.writer == member.writer);
    let (connected_nodes, closed_tick) = match (own, peer) {
        (Some((nodes, closed)), _) => (Some(nodes), closed),
        (None, Some(peer)) => (Some(peer.connected_nodes), peer.closed_tick),
        (None, None) => (member.load, member.closed),
    };
    v1::Aggregator {
        aggregator_id: member.id.to_string(),
        state: state.into(),
        grpc_address: member.grpc.clone(),
        gossip_address: member.gossip.to_string(),
        version: member.version.clone(),
        generation: member.generation,
        connected_nodes: connected_nodes.filter(|_| !listed.dead),
        log_length: logs.iter().find(|log| log.writer == member.writer).map_or(0, |log| log.length),
        closed_tick,
        in_state_for: prost_types::Duration::try_from(listed.since.elapsed()).ok(),
        self_: own.is_some(),
    }
}

fn ledger(app: &App, tick: u32) -> v1::Ledger {
    let view = app.membership.view();
    let ledger = app.core.ledger();
    let (frames, coverage) = match ledger.view(tick) {
        Some(view) => (view.frames, view.coverage),
        None => (starling_ledger::Frames::default(), ledger.coverage(tick)),
    };
    let conservation = match ledger.check(tick) {
        Check::Balanced => v1::Conservation { balanced: true, detail: String::new() },
        Check::Unbalanced(detail) => v1::Conservation { balanced: false, detail },
        Check::Unknown => v1::Conservation { balanced: true, detail: "nothing is held of this second".to_owned() },
    };
    let peers = ledger.peers();
    let logs = ledger.logs().into_iter().map(|log| {
        let name = view
            .name_of(log.writer)
            .map(ToString::to_string)
            .or_else(|| peers.iter().find(|peer| peer.writer == log.writer).map(|peer| peer.aggregator_id.clone()));
        v1::LedgerLog {
            writer_id: log.writer.to_string(),
            aggregator_id: name.unwrap_or_default(),
            length: log.length,
            first_kept: log.first_kept,
            hash: log.hash.iter().map(|byte| format!("{byte:02x}")).collect(),
            streams: log.streams,
        }
    });
    let logs = logs.collect();
    let stats = *ledger.stats();
    let view_hash = ledger.view_hash(tick).map(|hash| format!("{hash:016x}")).unwrap_or_default();
    drop(ledger);
    v1::Ledger {
        tick,
        answered_by: app.id.to_string(),
        logs,
        frames_counted: frames.counted,
        frames_merged: frames.merged,
        frames_raw: frames.raw,
        frames_raw_covered: frames.raw_covered,
        completeness: Some(completeness(app, tick, coverage)),
        conservation: Some(conservation),
        view_hash,
        overlaps: stats.overlaps,
        forks: stats.forks,
    }
}
