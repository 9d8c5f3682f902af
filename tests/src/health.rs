//! Whether a cluster as a whole is well: every honest log advances everywhere, equal views, everybody ready.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use starling_proto::v1::{GetLedgerRequest, Ledger, LedgerLog, ListAggregatorsRequest};
use starling_service::grpc::cluster_client::ClusterClient;
use tokio::time::Instant;

use crate::http_get;

/// Longest wait until what an author has is everywhere. Entries travel in milliseconds; a log that takes this long
/// stops advancing.
const ADVANCE_WITHIN: Duration = Duration::from_secs(30);

/// Where one aggregator answers.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its `aggregator_id`.
    pub name: String,
    /// Its gRPC endpoint.
    pub grpc: SocketAddr,
    /// Its admin port.
    pub admin: SocketAddr,
}

impl Member {
    async fn cluster(&self) -> Result<ClusterClient<tonic::transport::Channel>, String> {
        ClusterClient::connect(format!("http://{}", self.grpc)).await.map_err(|error| format!("{}: {error}", self.name))
    }

    /// The books of `tick` (0: newest).
    ///
    /// # Errors
    /// What it answered instead.
    pub async fn ledger(&self, tick: u32) -> Result<Ledger, String> {
        let answer = self.cluster().await?.get_ledger(GetLedgerRequest { tick }).await;
        Ok(answer.map_err(|status| format!("{}: {status}", self.name))?.into_inner())
    }

    /// Nodes whose streams it holds.
    async fn connected_nodes(&self) -> Result<u32, String> {
        let answer = self.cluster().await?.list_aggregators(ListAggregatorsRequest {}).await;
        let list = answer.map_err(|status| format!("{}: {status}", self.name))?.into_inner().aggregators;
        Ok(list.iter().find(|member| member.self_).and_then(|member| member.connected_nodes).unwrap_or(0))
    }

    /// # Errors
    /// What `/ready` answered instead of 200.
    pub async fn ready(&self) -> Result<(), String> {
        match http_get(self.admin, "/ready").await? {
            (200, _) => Ok(()),
            (status, why) => Err(format!("{} /ready {status}: {}", self.name, why.trim())),
        }
    }
}

/// Waits until the log of every member that holds nodes has grown at every member beyond what its author had at the
/// start: no log is frozen anywhere.
///
/// # Errors
/// Which log does not advance, and where.
pub async fn every_log_advances(members: &[Member]) -> Result<(), String> {
    let start = Instant::now();
    let mut goals = BTreeMap::new();
    for author in members {
        let own = own_logs(&author.ledger(0).await?.logs, &author.name);
        if author.connected_nodes().await? > 0 {
            goals.insert(author.name.clone(), own);
        }
    }
    if goals.is_empty() {
        return Err("no member holds a node".into());
    }
    loop {
        let mut standing = Vec::new();
        for member in members {
            let logs = member.ledger(0).await?.logs;
            for (author, lengths) in &goals {
                // Logs of processes that ended do not grow: one of the author's logs has to.
                let now = own_logs(&logs, author);
                if !now.iter().any(|(writer, length)| lengths.get(writer).is_none_or(|before| length > before)) {
                    standing.push(format!("log of {author} at {}: {now:?}, its author had {lengths:?}", member.name));
                }
            }
        }
        if standing.is_empty() {
            return Ok(());
        }
        if start.elapsed() > ADVANCE_WITHIN {
            return Err(standing.join("; "));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Length by writer of the logs of one member, of all its starts.
fn own_logs(logs: &[LedgerLog], name: &str) -> BTreeMap<String, u64> {
    logs.iter().filter(|log| log.aggregator_id == name).map(|log| (log.writer_id.clone(), log.length())).collect()
}

/// The hash of the view of `tick`, which is the same at every member, as are the nodes behind it and those missing.
///
/// # Errors
/// How they differ, or books that do not balance, or faults that are never to be.
pub async fn same_view(members: &[Member], tick: u32) -> Result<String, String> {
    let mut hashes = BTreeMap::new();
    for member in members {
        let ledger = member.ledger(tick).await?;
        let conservation = ledger.conservation.clone().unwrap_or_default();
        if conservation.balanced == Some(false) || ledger.overlaps() != 0 || ledger.forks() != 0 {
            let (name, detail) = (&member.name, conservation.detail);
            let (overlaps, forks) = (ledger.overlaps(), ledger.forks());
            return Err(format!("tick {tick} at {name}: overlaps {overlaps}, forks {forks}, {detail}"));
        }
        let behind = ledger
            .completeness
            .as_ref()
            .map(|of| (of.nodes_reporting, of.nodes_expected, of.sections, of.nodes_missing.clone()));
        hashes.insert(member.name.clone(), (ledger.view_hash.clone(), ledger.frames_counted(), behind));
    }
    let mut all = hashes.values();
    let first = all.next().cloned().unwrap_or_default();
    if all.all(|other| *other == first) { Ok(first.0) } else { Err(format!("tick {tick}: {hashes:?}")) }
}
