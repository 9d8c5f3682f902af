//! The last 15 minutes of a node go with it: the aggregator to which it moved asks the others for what they have of it in
//! memory. What was sealed before is on its disk, as copies, and is read from there. So its drill-down does not begin again.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use starling_proto::{ids::NodeId, limits::LIVE_WINDOW, v1};
use tokio_util::sync::CancellationToken;

use super::ask::AskError;
use crate::{
    blocks,
    clock::{now_ms, tick_of},
    ingest::Registry,
    membership::{Member, Membership},
    metrics::Metrics,
    peer::{Channels, NODES_MAX},
};

/// Between two looks for nodes that came.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// An answer takes this long at most: 256 nodes, four blocks each.
const ANSWER: Duration = Duration::from_secs(20);
/// So often it is asked for a node when somebody does not answer.
const TRIES: u8 = 5;
/// Blocks that are taken in at once: each costs some milliseconds.
const BLOCKS_AT_ONCE: usize = 64;

/// See the module.
pub(crate) struct TakingOver {
    membership: Membership,
    registry: Arc<Registry>,
    metrics: Arc<Metrics>,
    channels: Channels,
    newcomers: Newcomers,
}

/// The nodes of which was asked since they came. Pure.
#[derive(Debug, Default)]
struct Newcomers(HashMap<NodeId, (Instant, u8)>);

impl Newcomers {
    /// Of those that are connected, each with when it came, the ones to ask for; the others are forgotten. Each a few times.
    fn due(&mut self, connected: &[(NodeId, Instant)]) -> Vec<NodeId> {
        let here: HashSet<&NodeId> = connected.iter().map(|(node, _)| node).collect();
        self.0.retain(|node, _| here.contains(node));
        let mut due = Vec::new();
        for (node, since) in connected {
            let (asked_since, tries) = self.0.entry(node.clone()).or_insert((*since, 0));
            if *asked_since != *since {
                (*asked_since, *tries) = (*since, 0);
            }
            if *tries < TRIES {
                *tries += 1;
                due.push(node.clone());
            }
        }
        due
    }

    /// Nobody has more of these.
    fn answered(&mut self, nodes: &[NodeId]) {
        for node in nodes {
            if let Some((_, tries)) = self.0.get_mut(node) {
                *tries = TRIES;
            }
        }
    }
}

impl TakingOver {
    /// Of the nodes that come to `registry`.
    pub(crate) fn new(membership: Membership, registry: Arc<Registry>, metrics: Arc<Metrics>) -> Self {
        let (channels, newcomers) = (Channels::new(membership.security().clone()), Newcomers::default());
        Self { membership, registry, metrics, channels, newcomers }
    }

    /// Takes over until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        stop.run_until_cancelled_owned(async move {
            loop {
                tokio::time::sleep(LOOK_EVERY).await;
                self.look().await;
            }
        })
        .await;
    }

    async fn look(&mut self) {
        let from = tick_of(now_ms()).saturating_sub(LIVE_WINDOW);
        let connected = self.registry.connected().into_iter();
        let connected: Vec<_> = connected.map(|(node, session)| (node.id.clone(), session.since)).collect();
        for nodes in self.newcomers.due(&connected).chunks(NODES_MAX) {
            let members = self.membership.view().live.clone();
            let asked = members.iter().map(|member| self.ask(member, nodes, from));
            let mut whole = true;
            for (member, answer) in members.iter().zip(join_all(asked).await) {
                if let Err(error) = answer {
                    let older = matches!(error, AskError::Older);
                    let reason = if older { "older" } else { "peer" };
                    self.metrics.history_copies_failed(reason, member.id.as_str(), &error);
                    whole &= older;
                }
            }
            if whole {
                self.newcomers.answered(nodes);
            }
        }
    }

    /// Takes in what `member` has of `nodes`.
    async fn ask(&self, member: &Member, nodes: &[NodeId], from_tick: u32) -> Result<(), AskError> {
        let node_ids = nodes.iter().map(ToString::to_string).collect();
        let mut request = tonic::Request::new(v1::ReadRecentRequest { node_ids, from_tick });
        request.set_timeout(ANSWER);
        let mut client = self.channels.peer(&member.grpc).map_err(AskError::Odd)?;
        let asked: HashSet<&NodeId> = nodes.iter().collect();
        let talk = async {
            let mut recent = client.read_recent(request).await?.into_inner();
            let mut came = Vec::new();
            while let Some(v1::RecentBlock { node_id, block }) = recent.message().await? {
                let node = NodeId::parse(&node_id).ok().filter(|node| asked.contains(node));
                let node =
                    node.ok_or_else(|| AskError::Odd("it sent a block of a node that was not asked for".into()))?;
                came.push((node, block));
                if came.len() >= BLOCKS_AT_ONCE {
                    self.take(std::mem::take(&mut came), from_tick).await?;
                }
            }
            self.take(came, from_tick).await
        };
        tokio::time::timeout(ANSWER, talk).await.unwrap_or(Err(AskError::Silent))
    }

    async fn take(&self, came: Vec<(NodeId, bytes::Bytes)>, from: u32) -> Result<(), AskError> {
        let (registry, metrics) = (self.registry.clone(), self.metrics.clone());
        let work = move || {
            let newest = tick_of(now_ms());
            for (node, bytes) in came {
                let Some(node) = registry.get(&node) else { continue };
                let read = blocks::Block::decode(&bytes, registry.names());
                let (block, _) = read.map_err(|error| AskError::Odd(error.to_string()))?;
                // What is older is forgotten anyway, and of the future nothing is measured.
                if block.start() + blocks::BLOCK_SECONDS > from && block.start() <= newest {
                    metrics.history_copies_recent.add(node.adopt(&block) as u64);
                }
            }
            Ok(())
        };
        tokio::task::spawn_blocking(work)
            .await
            .unwrap_or_else(|_| Err(AskError::Odd("its blocks were not read".into())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_node_that_comes_is_asked_for_a_few_times() {
        let (web, db) = (NodeId::parse("web-1").unwrap(), NodeId::parse("db-1").unwrap());
        let (first, later) = (Instant::now(), Instant::now() + Duration::from_secs(5));
        let mut newcomers = Newcomers::default();
        let both = [(web.clone(), first), (db.clone(), first)];
        assert_eq!(newcomers.due(&both), [web.clone(), db.clone()]);
        newcomers.answered(std::slice::from_ref(&web));
        for _ in 1..TRIES {
            assert_eq!(newcomers.due(&both), std::slice::from_ref(&db), "somebody did not answer");
        }
        assert!(newcomers.due(&both).is_empty(), "not for ever");
        assert_eq!(newcomers.due(&[(web.clone(), later)]), std::slice::from_ref(&web), "it came again");
        assert_eq!(newcomers.due(&both).len(), 2, "of those that went nothing is remembered");
    }
}
