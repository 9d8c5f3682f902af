//! How programs join this cluster: the one aggregator that holds an authority signs, all others pass on what they are
//! asked, and every one refuses who was removed.

mod author;
mod identities;
mod removed;
mod service;
mod signing;
mod tries;
mod trusted;

use std::{
    collections::HashSet,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use starling_proto::{
    ids::{Machine, NodeId},
    v1,
};
use starling_service::{credentials::Security, identity::Role};
use tonic::{Status, transport::Channel};

pub(crate) use self::{
    removed::follow as follow_removed, service::EnrolmentService, trusted::follow as follow_trusted,
};
use self::{signing::Signing, tries::Tries, trusted::Trusted};
use crate::{
    Config,
    clock::{now_ms, tick_of},
    fleet::ClusterFleet,
    ingest::{ALIVE_FOR, Registry},
    ledger_task::LedgerHandle,
    membership::{Member, Membership},
    metrics::Metrics,
    peer::Channels,
};

/// File of the register in the state folder.
const REGISTER: &str = "enrolment";
/// File of the keys that are refused, as they were last heard of.
const REMOVED: &str = "removed";

/// Enrolment at this aggregator. Shared.
pub(crate) struct Enrolment {
    /// Where we can sign; `None` when another one does.
    signing: Option<Signing>,
    membership: Membership,
    registry: Arc<Registry>,
    fleet: Arc<ClusterFleet>,
    ledger: LedgerHandle,
    channels: Channels,
    tries: Mutex<Tries>,
    /// Who signed last time.
    signer: Mutex<Option<NodeId>>,
    trusted: Mutex<Trusted>,
    metrics: Arc<Metrics>,
    cluster: String,
    state_dir: PathBuf,
}

impl Enrolment {
    /// Opens the authority, when the settings name one.
    ///
    /// # Errors
    /// Which file is wrong, and how.
    pub(crate) async fn open(
        config: &Config,
        membership: Membership,
        (registry, fleet, ledger): (Arc<Registry>, Arc<ClusterFleet>, LedgerHandle),
        metrics: Arc<Metrics>,
    ) -> anyhow::Result<Self> {
        let signing = match &config.enrolment.authority {
            None => None,
            Some(folder) => {
                let register = config.state_dir.join(REGISTER);
                Some(Signing::open(folder.clone(), register, &config.enrolment, membership.security()).await?)
            }
        };
        let channels = Channels::new(membership.security().clone());
        let cluster = membership.security().identity().map_or_else(String::new, |own| own.trust_domain);
        let state_dir = config.state_dir.clone();
        let (tries, signer, trusted) = (Mutex::default(), Mutex::default(), Mutex::default());
        Ok(Self {
            signing,
            membership,
            registry,
            fleet,
            ledger,
            channels,
            tries,
            signer,
            trusted,
            metrics,
            cluster,
            state_dir,
        })
    }

    /// Whether there is anybody to refuse.
    pub(crate) fn has_certificates(&self) -> bool {
        self.security().credentials().is_some()
    }

    fn security(&self) -> &Security {
        self.membership.security()
    }

    /// Whether the bearer of a name speaks with the cluster now.
    fn is_alive(&self, role: Role, name: &NodeId) -> bool {
        match role {
            Role::Node => self.is_node_alive(name),
            Role::Aggregator => {
                let view = self.membership.view();
                view.me.id == *name || view.live.iter().any(|member| member.id == *name)
            }
            Role::Dashboard | Role::Operator => false,
        }
    }

    fn is_node_alive(&self, name: &NodeId) -> bool {
        let alive_for = u32::try_from(ALIVE_FOR.as_secs()).unwrap_or(u32::MAX);
        let here = self.registry.get(name).is_some_and(|node| node.presence().0);
        here || self.fleet.is_held_elsewhere(name, tick_of(now_ms()), alive_for)
    }

    /// Those that may sign, the one of last time first.
    fn others(&self) -> Vec<Member> {
        let last = self.signer.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut others = self.membership.view().live.clone();
        others.sort_by_key(|member| Some(&member.id) != last.as_ref());
        others
    }

    /// What the first of the others says that signs; `None` when nobody does, or answers.
    async fn of_signer<T, F: Future<Output = Option<T>>>(&self, ask: impl Fn(Channel) -> F) -> Option<T> {
        for member in self.others() {
            let Ok(channel) = self.channels.get(&member.grpc) else { continue };
            if let Some(said) = ask(channel).await {
                self.signed_by(&member);
                return Some(said);
            }
        }
        None
    }

    fn signed_by(&self, member: &Member) {
        *self.signer.lock().unwrap_or_else(PoisonError::into_inner) = Some(member.id.clone());
    }

    /// Adds to an answer what this aggregator knows: the way to the others, and where it signed itself the authorities.
    fn completed(&self, membership: v1::Membership) -> v1::Membership {
        let view = self.membership.view();
        let everybody = || view.everybody();
        let own = || self.security().credentials().map_or_else(String::new, |own| own.authorities());
        v1::Membership {
            // Who signed knows of a change first.
            authorities: Some(membership.authorities).filter(|said| !said.is_empty()).unwrap_or_else(own),
            aggregators: everybody().map(|member| member.grpc.clone()).collect(),
            seeds: everybody().map(|member| member.gossip.to_string()).collect(),
            ..membership
        }
    }

    /// Refuses here at once who was taken out; the others ask for it.
    async fn refuse_removed(&self, signing: &Signing) {
        if let Some(removed) = removed::own(signing).await {
            self.set_removed(removed);
        }
    }

    /// Ends the waiting for a node; the last second that it reported, `None` when nobody waits for it.
    async fn forget(&self, name: &NodeId) -> Result<Option<u32>, Status> {
        let ended = |_| Status::unavailable("this aggregator is stopping");
        let node = name.clone();
        let known = self.ledger.ask(move |ledger| ledger.nodes().into_iter().find(|known| known.node == node));
        let Some(known) = known.await.map_err(ended)? else { return Ok(None) };
        self.ledger.gone(name.clone()).await.map_err(ended)?;
        Ok(Some(known.last_tick))
    }

    fn set_removed(&self, keys: HashSet<[u8; 32]>) {
        if let Some(credentials) = self.security().credentials() {
            credentials.set_removed(keys);
        }
    }
}

/// 16 bytes, or none.
fn machine(bytes: &[u8]) -> Result<Option<[u8; 16]>, Status> {
    Machine::parse(bytes, &[])
        .map(|machine| machine.id)
        .map_err(|error| Status::invalid_argument(format!("machine: {error}")))
}
