//! The `Cluster` service: the aggregators themselves and the books they keep.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use starling_history::Tier;
use starling_proto::{
    group::Group,
    hex,
    ids::{NodeId, WriterId},
    v1::{self, AggregatorState},
};
use starling_service::grpc::cluster_server;
use tonic::{Request, Response, Status};

use super::{
    forward::{self, Holders},
    gossip_keys, off_thread, parse_tick, quarantine,
    views::{completeness, section_nodes},
};
use crate::{
    catch_up::CatchUp,
    clock::{now_ms, tick_of},
    copies::{self, CopyStatus},
    history::{Disk, Progress},
    ledger_task::{Ended, LedgerHandle},
    membership::{Listed, Member, Membership, State},
    peer::{Exchange, GossipKeys},
    quarantine::Quarantines,
};
use starling_ledger::{Check, Dispute, LedgerStats, LogStatus, PeerStatus, Recount, TickView};
use starling_store::Paused;

/// How long another aggregator has to say how its history is: the list is asked for every second.
const HISTORY_WITHIN: Duration = Duration::from_millis(500);

/// See the module.
#[derive(Clone)]
pub(crate) struct ClusterService {
    /// Name of this aggregator.
    pub(crate) id: NodeId,
    /// Name of the cluster.
    pub(crate) cluster: String,
    /// Who else is there.
    pub(crate) membership: Membership,
    /// The books.
    pub(crate) ledger: LedgerHandle,
    /// Whether it answers yet.
    pub(crate) catch_up: Arc<CatchUp>,
    /// How far copies are; `None` without history.
    pub(crate) copies: Option<copies::Status>,
    /// What the disk holds; `None` without history.
    pub(crate) disk: Option<Arc<Disk>>,
    /// The way to the others.
    pub(crate) holders: Arc<Holders>,
    /// The streams to them.
    pub(crate) exchange: Arc<Exchange>,
    /// The keys of gossip at all of them.
    pub(crate) keys: Arc<GossipKeys>,
    /// Whose word does not count.
    pub(crate) quarantines: Arc<Quarantines>,
}

impl ClusterService {
    /// The service.
    pub(crate) fn server(self) -> cluster_server::ClusterServer<Self> {
        cluster_server::ClusterServer::new(self).max_decoding_message_size(4 * 1024)
    }
}

#[tonic::async_trait]
impl cluster_server::Cluster for ClusterService {
    async fn list_aggregators(
        &self,
        request: Request<v1::ListAggregatorsRequest>,
    ) -> Result<Response<v1::ListAggregatorsResponse>, Status> {
        self.catch_up.check()?;
        let view = self.membership.view();
        // Whoever asks for another one wants to know of this one alone.
        let others = match forward::was_forwarded(request.metadata()) {
            true => Vec::new(),
            false => self.histories(&view.live).await,
        };
        let asked = self.ledger.ask(|ledger| (ledger.logs(), ledger.peers(), ledger.closed(), ledger.sessions_len()));
        let (logs, peers, own_closed, own_nodes) = asked.await.map_err(ended)?;
        let own_nodes = u32::try_from(own_nodes).unwrap_or(u32::MAX);
        let aggregators = view
            .listed
            .iter()
            .map(|listed| {
                let own = (listed.member.writer == self.ledger.writer()).then_some((own_nodes, own_closed));
                let (history_copies, history_store) = match own {
                    Some(_) => (self.copies.as_ref().map(|copies| copies_of(copies.read())), self.store()),
                    None => others
                        .iter()
                        .find(|(writer, ..)| *writer == listed.member.writer)
                        .map_or_else(Default::default, |(_, copies, store)| (*copies, store.clone())),
                };
                let (linked, link_error) = match listed.dead || own.is_some() {
                    true => (None, String::new()),
                    false => self.link(listed.member.writer),
                };
                let row = aggregator(listed, &logs, &peers, own);
                v1::Aggregator { history_copies, history_store, linked, link_error, ..row }
            })
            .collect();
        Ok(Response::new(v1::ListAggregatorsResponse {
            aggregators,
            answered_by: self.id.to_string(),
            cluster: self.cluster.clone(),
            clock_unix_ms: now_ms(),
        }))
    }

    async fn list_gossip_keys(
        &self,
        _: Request<v1::ListGossipKeysRequest>,
    ) -> Result<Response<v1::GossipKeys>, Status> {
        Ok(Response::new(gossip_keys::keys(self.keys.list().await, self.id.as_str())))
    }

    async fn change_gossip_keys(
        &self,
        request: Request<v1::ChangeGossipKeysRequest>,
    ) -> Result<Response<v1::GossipKeysChanged>, Status> {
        let request = request.into_inner();
        let changed = self.keys.change(gossip_keys::step(&request)?, request.force).await?;
        Ok(Response::new(gossip_keys::changed(changed, self.id.as_str())))
    }

    async fn quarantine_aggregator(
        &self,
        request: Request<v1::QuarantineAggregatorRequest>,
    ) -> Result<Response<v1::QuarantineAggregatorResponse>, Status> {
        let request = request.into_inner();
        let (name, writers) = quarantine::whom(&request)?;
        let out = match request.lift {
            true => self.quarantines.lift(&self.ledger, &name).await.map(|()| Vec::new()),
            false => self.quarantines.put(&self.ledger, &name, writers, &request.reason).await,
        };
        let out = out.map_err(|refusal| quarantine::refused(&refusal))?;
        Ok(Response::new(v1::QuarantineAggregatorResponse {
            answered_by: self.id.to_string(),
            logs_taken_out: out.len() as u32,
            quarantined: quarantine::all(self.quarantines.entries()),
        }))
    }

    async fn get_ledger(&self, request: Request<v1::GetLedgerRequest>) -> Result<Response<v1::Ledger>, Status> {
        self.catch_up.check()?;
        let tick = parse_tick(&self.ledger, request.into_inner().tick)?;
        let asked = self.ledger.ask(move |ledger| Books {
            view: ledger.view(tick),
            recount: ledger.recount(tick),
            peers: ledger.peers(),
            logs: ledger.logs(),
            disputes: ledger.disputes(),
            stats: *ledger.stats(),
            view_hash: ledger.view_hash(tick),
        });
        let (service, books) = (self.clone(), asked.await.map_err(ended)?);
        // Adding up the entries of a second again takes milliseconds.
        Ok(Response::new(off_thread(move || ledger(&service, tick, books)).await?))
    }
}

/// What another aggregator says of its history.
type History = (WriterId, Option<v1::HistoryCopies>, Option<v1::HistoryStore>);

impl ClusterService {
    /// What the others say of their history, of those that do within [`HISTORY_WITHIN`].
    async fn histories(&self, live: &[Member]) -> Vec<History> {
        let ask = async |member: &Member| {
            let asked = forward::list_aggregators(&self.holders, member, HISTORY_WITHIN).await.ok()?;
            let own = asked.aggregators.into_iter().find(|one| one.self_)?;
            Some((member.writer, own.history_copies, own.history_store))
        };
        join_all(live.iter().map(ask)).await.into_iter().flatten().collect()
    }

    /// Whether the stream to another one is up, and why the last attempt at it failed.
    fn link(&self, writer: WriterId) -> (Option<bool>, String) {
        let links = &self.exchange.links;
        (Some(links.has(writer)), links.failure(writer).unwrap_or_default())
    }

    /// What the disk here holds.
    fn store(&self) -> Option<v1::HistoryStore> {
        let disk = self.disk.as_ref()?;
        let stats = disk.store().stats(self.ledger.published().borrow().settled);
        let Progress { due, lost, bytes_max } = disk.progress();
        let paused = stats.log.paused.as_ref().or(stats.paused.as_ref());
        let since = |paused: &Paused| now_ms().saturating_sub(paused.since.elapsed().as_millis() as u64);
        let tiers = stats.tiers.iter().zip(bytes_max).map(|(tier, bytes_max)| v1::HistoryTier {
            name: tier.name.clone(),
            bytes: Some(tier.bytes),
            bytes_max: Some(bytes_max),
            oldest_tick: tier.window.as_ref().map_or(0, |window| window.start),
            newest_tick: tier.window.as_ref().map_or(0, |window| window.end.saturating_sub(1)),
            segments: Some(tier.segments as u64),
        });
        let [windows_to_seal, hours_to_roll_up, segments_to_join] = due.map(|due| Some(due as u64));
        Some(v1::HistoryStore {
            tiers: tiers.collect(),
            log_bytes: Some(stats.log.bytes),
            windows_to_seal,
            hours_to_roll_up,
            segments_to_join,
            paused_since_tick: paused.map_or(0, |paused| tick_of(since(paused))),
            paused_reason: paused.map_or_else(String::new, |paused| paused.cause.clone()),
            corrupt_blocks: Some(stats.bad_blocks as u64),
            lost_node_seconds: Some(lost.seconds),
            lost_from_tick: lost.first,
            // It is the start of a window.
            lost_to_tick: if lost.seconds == 0 { 0 } else { lost.last + (Tier::Second.block_seconds() - 1) },
        })
    }
}

/// What one answer is made of, taken out of the ledger.
struct Books {
    view: Option<TickView>,
    recount: Option<Recount>,
    peers: Vec<PeerStatus>,
    logs: Vec<LogStatus>,
    disputes: Vec<Dispute>,
    stats: LedgerStats,
    view_hash: Option<u64>,
}

fn ended(ended: Ended) -> Status {
    Status::unavailable(ended.to_string())
}

fn copies_of(status: CopyStatus) -> v1::HistoryCopies {
    let CopyStatus { restoring, spans_done, spans, lacking_blocks, fetched_blocks, fetched_bytes, whole_tick } = status;
    v1::HistoryCopies {
        restoring: Some(restoring),
        spans_done: Some(spans_done),
        spans: Some(spans),
        lacking_blocks: Some(lacking_blocks),
        fetched_blocks: Some(fetched_blocks),
        fetched_bytes: Some(fetched_bytes),
        whole_tick,
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
        log_length: Some(logs.iter().find(|log| log.writer == member.writer).map_or(0, |log| log.length)),
        closed_tick,
        in_state_for: prost_types::Duration::try_from(listed.since.elapsed()).ok(),
        self_: own.is_some(),
        history_copies: None,
        history_store: None,
        linked: None,
        link_error: String::new(),
        zone: member.zone.clone(),
        weight: u32::from(member.weight),
    }
}

fn ledger(service: &ClusterService, tick: u32, books: Books) -> v1::Ledger {
    let view = service.membership.view();
    let shown = books.view.clone().map(Arc::new).or_else(|| service.ledger.view(tick));
    let frames = books.view.as_ref().map(|view| view.frames);
    let census = books.view.as_ref().and_then(|view| view.sums().census(&Group::cluster()).cloned());
    let sums = books.view.as_ref().map(|view| view.sums().len() as u32);
    let conservation = match books.recount.map_or(Check::Unknown, |recount| recount.run()) {
        Check::Balanced => v1::Conservation {
            balanced: Some(true),
            detail: format!("{} frames, {} sums equal", frames.unwrap_or_default().counted, sums.unwrap_or(0)),
            sums,
        },
        Check::Partial(cells) => v1::Conservation {
            balanced: Some(true),
            detail: format!("{cells} cells of series or groups without room here are missing on both sides"),
            sums,
        },
        Check::Unbalanced(detail) => v1::Conservation { balanced: Some(false), detail, sums },
        Check::Unknown => {
            let detail = "nothing is held of this second".to_owned();
            v1::Conservation { balanced: None, detail, sums: None }
        }
    };
    let peers = books.peers;
    let disputes = quarantine::disputes(books.disputes);
    let logs = books.logs.into_iter().map(|log| {
        let name = view
            .name_of(log.writer)
            .map(ToString::to_string)
            .or_else(|| peers.iter().find(|peer| peer.writer == log.writer).map(|peer| peer.aggregator_id.clone()))
            .or_else(|| log.first_hand.then(|| log.author.clone()));
        v1::LedgerLog {
            writer_id: log.writer.to_string(),
            aggregator_id: name.unwrap_or_default(),
            length: Some(log.length),
            first_kept: log.first_kept,
            hash: hex::encode(&log.hash),
            streams: Some(log.streams),
            brought_by: if log.first_hand { String::new() } else { log.author },
        }
    });
    let logs = logs.collect();
    let view_hash = books.view_hash.map(|hash| format!("{hash:016x}")).unwrap_or_default();
    v1::Ledger {
        tick,
        answered_by: service.id.to_string(),
        logs,
        frames_counted: frames.map(|frames| frames.counted),
        frames_merged: frames.map(|frames| frames.merged),
        frames_raw: frames.map(|frames| frames.raw),
        frames_raw_covered: frames.map(|frames| frames.raw_covered),
        completeness: shown.map(|shown| v1::Completeness {
            skipped_cells: Some(books.view.map_or(0, |view| view.skipped_cells)),
            sections: census.as_ref().map(section_nodes),
            nodes_missing: shown.missing.iter().map(ToString::to_string).collect(),
            ..completeness(&service.ledger, tick, shown.coverage)
        }),
        conservation: Some(conservation),
        view_hash,
        overlaps: Some(books.stats.overlaps),
        forks: Some(books.stats.forks),
        disputes,
        quarantined: quarantine::all(service.quarantines.entries()),
    }
}
