//! Reads every aggregator twice a second, the newest second and a random old one, and follows its stream of views, as
//! long as the faults last.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use starling_proto::{
    limits::PEER_MESSAGE_BYTES_MAX,
    v1::{ClusterView, Completeness, GetClusterRequest, WatchClusterRequest},
};
use starling_service::grpc::query_client::QueryClient;
use tokio::task::JoinSet;
use tonic::transport::Channel;

use super::{
    Sum,
    said::{AllSaid, nodes_in},
};
use crate::{Oracle, health::Member};

const PAUSE: Duration = Duration::from_millis(500);
/// A held process answers nothing.
const PATIENCE: Duration = Duration::from_secs(2);
/// A stream of views without a view for so long is opened again.
const SILENCE: Duration = Duration::from_secs(5);
/// Findings kept: one is enough to fail, a few help to understand.
const FINDINGS_MAX: usize = 20;

/// Seconds back that are read: aggregators hold 900.
const BACK: u32 = 850;

/// Seconds after the first one in which not every node need be known yet.
const KNOWN_AFTER: u32 = 8;

/// What was read so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Reads {
    pub(super) answered: u64,
    pub(super) unanswered: u64,
    /// Seconds that were wrong whoever is in them.
    pub(super) wrong: u64,
    /// Answers that claimed to be complete without all nodes.
    pub(super) claims: u64,
    /// By member: the seconds that its stream of views sent, over all its connections.
    pub(super) watched: BTreeMap<String, BTreeSet<u32>>,
    /// The first of them, in words.
    pub(super) findings: Vec<String>,
}

impl Reads {
    fn look_at(&mut self, view: &ClusterView, member: &Member, expects: &Expects) {
        self.answered += 1;
        let sum = Sum::of(view);
        if let Some(wrong) = sum.wrong() {
            self.wrong += 1;
            self.found(format!("second {} at {}: {wrong}", view.tick, member.name));
        }
        if let Some(claim) = expects.wrong_claim(view, &sum) {
            self.claim(format!("second {} at {}: {claim}", view.tick, member.name));
        }
    }

    /// Somebody claimed what is not true.
    pub(super) fn claim(&mut self, finding: String) {
        self.claims += 1;
        self.found(finding);
    }

    fn found(&mut self, finding: String) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        }
    }
}

/// What every answer must know of.
#[derive(Debug, Clone)]
pub(super) struct Expects {
    /// First second of the run.
    pub(super) begin: u32,
    /// Nodes of the cluster, each of which is expected whatever happens to it.
    pub(super) nodes: usize,
    /// What they said.
    pub(super) said: AllSaid,
}

impl Expects {
    /// A claim of a view that is not true: of its completeness, or of how many nodes are in its sums.
    pub(super) fn wrong_claim(&self, view: &ClusterView, sum: &Sum) -> Option<String> {
        let completeness = view.completeness.clone().unwrap_or_default();
        let inside = nodes_in(&self.said.lock().unwrap_or_else(PoisonError::into_inner), sum, view.tick);
        let reporting = completeness.nodes_reporting() as usize;
        let other = || {
            let inside = inside.filter(|inside| *inside != reporting)?;
            Some(format!("{reporting} nodes reporting, {inside} are in the sum"))
        };
        self.wrong_completeness(view.tick, &completeness).or_else(other)
    }

    /// A claim to be complete that is not true: a node is neither reported nor missed.
    pub(super) fn wrong_completeness(&self, tick: u32, completeness: &Completeness) -> Option<String> {
        let (reporting, expected) = (completeness.nodes_reporting(), completeness.nodes_expected());
        let missing = completeness.nodes_missing.len();
        let all = expected as usize == self.nodes && reporting as usize + missing == self.nodes;
        (tick >= self.begin + KNOWN_AFTER && !all)
            .then(|| format!("{reporting} of {expected} nodes, {missing} named, there are {}", self.nodes))
    }
}

/// Two tasks an aggregator. They end when this is dropped.
#[derive(Debug)]
pub(super) struct Readers {
    reads: Arc<Mutex<Reads>>,
    tasks: JoinSet<()>,
}

impl Readers {
    pub(super) fn start(members: Vec<Member>, expects: &Expects, seed: u64) -> Self {
        let (reads, mut tasks) = (Arc::new(Mutex::new(Reads::default())), JoinSet::new());
        for (i, member) in members.into_iter().enumerate() {
            let random = StdRng::seed_from_u64(seed.wrapping_add(i as u64));
            tasks.spawn(read(member.clone(), expects.clone(), random, Arc::clone(&reads)));
            tasks.spawn(watch(member, expects.clone(), Arc::clone(&reads)));
        }
        Self { reads, tasks }
    }

    /// What was read so far; wrong claims of others are added to it.
    pub(super) fn reads(&self) -> Arc<Mutex<Reads>> {
        Arc::clone(&self.reads)
    }

    pub(super) fn end(mut self) -> Reads {
        self.tasks.abort_all();
        self.reads.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn read(member: Member, expects: Expects, mut random: StdRng, reads: Arc<Mutex<Reads>>) {
    let mut client = None;
    loop {
        let now = Oracle::now().max(expects.begin + 1);
        let old = random.random_range(expects.begin.max(now - BACK)..=now);
        for tick in [0, old] {
            let answer = tokio::time::timeout(PATIENCE, view(&member, &mut client, tick)).await;
            let mut reads = reads.lock().unwrap_or_else(PoisonError::into_inner);
            match answer {
                Ok(Ok(view)) => reads.look_at(&view, &member, &expects),
                Ok(Err(_)) | Err(_) => {
                    reads.unanswered += 1;
                    client = None;
                }
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Follows the stream of views; goes on after the last second that came when it breaks.
async fn watch(member: Member, expects: Expects, reads: Arc<Mutex<Reads>>) {
    let mut next = expects.begin;
    loop {
        // Held, cut off, killed or not caught up yet: it is asked again.
        let _ = follow(&member, &expects, &mut next, &reads).await;
        tokio::time::sleep(PAUSE).await;
    }
}

async fn follow(member: &Member, expects: &Expects, next: &mut u32, reads: &Mutex<Reads>) -> Result<(), String> {
    let request = WatchClusterRequest { from_tick: *next, ..WatchClusterRequest::default() };
    let opened = tokio::time::timeout(PATIENCE, async {
        let mut client = connect(member).await?;
        client.watch_cluster(request).await.map_err(|status| status.to_string())
    });
    let mut views = opened.await.map_err(|_| "no answer")??.into_inner();
    loop {
        let view = tokio::time::timeout(SILENCE, views.message()).await.map_err(|_| "silent")?;
        let Some(view) = view.map_err(|status| status.to_string())? else { return Ok(()) };
        *next = (*next).max(view.tick + 1);
        let mut reads = reads.lock().unwrap_or_else(PoisonError::into_inner);
        reads.look_at(&view, member, expects);
        reads.watched.entry(member.name.clone()).or_default().insert(view.tick);
    }
}

async fn connect(member: &Member) -> Result<QueryClient<Channel>, String> {
    let connected = QueryClient::connect(format!("http://{}", member.grpc)).await.map_err(|error| error.to_string())?;
    Ok(connected.max_decoding_message_size(PEER_MESSAGE_BYTES_MAX))
}

/// One second of the cluster, all that is said of it; connects when there is no client.
pub(super) async fn view(
    member: &Member,
    client: &mut Option<QueryClient<Channel>>,
    tick: u32,
) -> Result<ClusterView, String> {
    if client.is_none() {
        *client = Some(connect(member).await?);
    }
    let client = client.as_mut().ok_or("no client")?;
    let request = GetClusterRequest { tick, include_histograms: true, ..Default::default() };
    Ok(client.get_cluster(request).await.map_err(|status| status.to_string())?.into_inner())
}
