//! Reads every aggregator twice a second, the newest second and a random old one, as long as the faults last.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use starling_proto::{
    limits::PEER_MESSAGE_BYTES_MAX,
    v1::{ClusterView, GetClusterRequest},
};
use starling_service::grpc::query_client::QueryClient;
use tokio::task::JoinSet;
use tonic::transport::Channel;

use super::Sum;
use crate::{Oracle, health::Member};

const PAUSE: Duration = Duration::from_millis(500);
/// A held process answers nothing.
const PATIENCE: Duration = Duration::from_secs(2);
/// Findings kept: one is enough to fail, a few help to understand.
const FINDINGS_MAX: usize = 20;

/// What was read so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Reads {
    pub(super) answered: u64,
    pub(super) unanswered: u64,
    /// Seconds that were wrong whoever is in them.
    pub(super) wrong: u64,
    /// The first of them, in words.
    pub(super) findings: Vec<String>,
}

impl Reads {
    pub(super) fn found(&mut self, finding: String) {
        self.wrong += 1;
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        }
    }
}

/// One task an aggregator. They end when this is dropped.
#[derive(Debug)]
pub(super) struct Readers {
    reads: Arc<Mutex<Reads>>,
    _tasks: JoinSet<()>,
}

impl Readers {
    pub(super) fn start(members: Vec<Member>, begin: u32, seed: u64) -> Self {
        let (reads, mut tasks) = (Arc::new(Mutex::new(Reads::default())), JoinSet::new());
        for (i, member) in members.into_iter().enumerate() {
            let (reads, random) = (Arc::clone(&reads), StdRng::seed_from_u64(seed.wrapping_add(i as u64)));
            tasks.spawn(read(member, begin, random, reads));
        }
        Self { reads, _tasks: tasks }
    }

    pub(super) fn end(self) -> Reads {
        self.reads.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn read(member: Member, begin: u32, mut random: StdRng, reads: Arc<Mutex<Reads>>) {
    let mut client = None;
    loop {
        let old = random.random_range(begin..=Oracle::now().max(begin + 1));
        for tick in [0, old] {
            let answer = tokio::time::timeout(PATIENCE, view(&member, &mut client, tick)).await;
            let mut reads = reads.lock().unwrap_or_else(PoisonError::into_inner);
            match answer {
                Ok(Ok(view)) => {
                    reads.answered += 1;
                    if let Some(wrong) = Sum::of(&view).wrong() {
                        reads.found(format!("second {} at {}: {wrong}", view.tick, member.name));
                    }
                }
                Ok(Err(_)) | Err(_) => {
                    reads.unanswered += 1;
                    client = None;
                }
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// One second of the cluster; connects when there is no client.
pub(super) async fn view(
    member: &Member,
    client: &mut Option<QueryClient<Channel>>,
    tick: u32,
) -> Result<ClusterView, String> {
    if client.is_none() {
        let connected = QueryClient::connect(format!("http://{}", member.grpc)).await.map_err(|e| e.to_string())?;
        *client = Some(connected.max_decoding_message_size(PEER_MESSAGE_BYTES_MAX));
    }
    let client = client.as_mut().ok_or("no client")?;
    let request = GetClusterRequest { tick, ..Default::default() };
    Ok(client.get_cluster(request).await.map_err(|status| status.to_string())?.into_inner())
}
