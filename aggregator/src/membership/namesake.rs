//! Another process under the name of this aggregator.
//!
//! Gossip knows old processes and can be behind; whether one lives is asked of itself, at the address it gave. While this
//! process starts, one that lives keeps it from starting; later the newer of two goes on and the older one stops.

use std::{collections::BTreeMap, time::Duration};

use starling_proto::{ids::NodeId, v1};
use starling_service::{channel::Dial, credentials::Security, grpc::cluster_client::ClusterClient};
use tokio::{
    task::JoinSet,
    time::{Instant, timeout},
};

use super::member::{Member, State};

/// How it is dialled, and how long it may take to answer.
const DIAL: Dial = Dial::within(Duration::from_secs(1));
const ANSWER: Duration = Duration::from_secs(1);
/// One that did not answer is asked again after this time, as long as gossip knows it.
const ASK_AGAIN: Duration = Duration::from_secs(5);
/// Processes remembered. A member that starts over and over would fill it; then all are asked again.
const ASKED_MAX: usize = 64;

/// A process under our name that has answered.
#[derive(Debug)]
pub(super) struct Alive {
    /// As gossip has it.
    pub(super) member: Member,
}

/// Asks processes under our name whether they live.
#[derive(Debug, Default)]
pub(super) struct Namesakes {
    asked: BTreeMap<(u64, State), Instant>,
    asking: JoinSet<Option<Alive>>,
}

impl Namesakes {
    /// Asks those that were not asked lately. `me` is this process, and no answer.
    pub(super) fn ask(&mut self, (me, cluster, security): (&Member, &str, &Security), seen: &[Member]) {
        for member in seen.iter().filter(|member| member.grpc != me.grpc) {
            let key = (member.generation, member.state);
            if self.asked.get(&key).is_some_and(|at| at.elapsed() < ASK_AGAIN) {
                continue;
            }
            if self.asked.len() >= ASKED_MAX {
                self.asked.clear();
            }
            self.asked.insert(key, Instant::now());
            let (id, own, cluster) = (me.id.clone(), me.generation, cluster.to_owned());
            let (member, security) = (member.clone(), security.clone());
            self.asking.spawn(async move {
                let answer =
                    timeout(ANSWER, generation_at(&security, &member.grpc, &id, &cluster)).await.ok().flatten()?;
                // Ourselves under another address, or another life of it than gossip has.
                (answer != own && answer == member.generation).then_some(Alive { member })
            });
        }
    }

    /// No answer is waited for.
    pub(super) fn is_settled(&self) -> bool {
        self.asking.is_empty()
    }

    /// The next one that has answered; never ready without.
    pub(super) async fn answered(&mut self) -> Alive {
        loop {
            match self.asking.join_next().await {
                Some(Ok(Some(alive))) => return alive,
                Some(_) => {}
                None => std::future::pending().await,
            }
        }
    }
}

/// The generation of the aggregator `id` of `cluster` that answers at `address`.
async fn generation_at(security: &Security, address: &str, id: &NodeId, cluster: &str) -> Option<u64> {
    let channel = DIAL.connect(security, address).await.ok()?;
    let answer = ClusterClient::new(channel).list_aggregators(v1::ListAggregatorsRequest {}).await.ok()?.into_inner();
    let own = answer.aggregators.iter().find(|listed| listed.self_)?;
    (answer.cluster == cluster && answer.answered_by == id.as_str()).then_some(own.generation)
}

/// Why this process must not go on beside `other`, which lives; `None` when the other one must stop.
pub(super) fn conflict(me: &Member, other: &Member) -> Option<String> {
    let (id, address) = (&me.id, &other.grpc);
    match me.state {
        // One that leaves makes room.
        State::Joining if other.state != State::Leaving => Some(format!(
            "{id} is alive at {address}: give this aggregator an aggregator_id of its own, or stop the other one"
        )),
        State::Ready if other.state == State::Ready && other.generation > me.generation => Some(format!(
            "a newer process at {address} has taken the name {id}: give one of the two an aggregator_id of its own"
        )),
        State::Joining | State::Ready | State::Leaving => None,
    }
}
