//! Who else is there: gossip membership behind one type. Nothing outside this module sees the gossip library.
//!
//! Gossip is a hint. It says where nodes should connect and with whom logs are exchanged; it never decides what is
//! counted. Facts that others publish are small ([`member`]), the view is damped ([`damped`]), and the gossip task is
//! supervised: streams of nodes and peers go on while it is down.

mod advertise;
mod damped;
mod generation;
mod gossip;
mod known;
mod member;
mod namesake;
mod ownership;
mod ring;
mod sealed;
mod seeds;
mod settle;
mod signed;
mod socket;
mod view;

use std::{collections::BTreeSet, net::SocketAddr, path::PathBuf, sync::Arc};

use starling_proto::ids::{NodeId, WriterId};
use starling_service::credentials::Security;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::task::TaskTracker;

use crate::metrics::Metrics;

pub(crate) use self::{
    member::{Member, State},
    ring::{Answered, KeyId, KeySource, Ring, RingStatus, Rings, Sealing, Standing, Step, may_make, objections},
    view::{Listed, MembershipView, endpoint},
};

/// What membership needs to know of this process.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Name of this aggregator.
    pub(crate) id: NodeId,
    /// The log it writes.
    pub(crate) writer: WriterId,
    /// Name of the cluster; members of another are not heard.
    pub(crate) cluster: String,
    /// UDP address to bind; port 0 takes any.
    pub(crate) listen: SocketAddr,
    /// Address others send to. `None`: the bound one, or the one that leads to the seeds when that is every address.
    pub(crate) advertise: Option<SocketAddr>,
    /// "host:port" of others' gossip; own addresses among them do no harm.
    pub(crate) seeds: Vec<String>,
    /// Where others gossiped when this aggregator ran last; found at the start.
    pub(crate) remembered: Vec<SocketAddr>,
    /// Aggregators, this one included, below which it is not ready.
    pub(crate) min_members: u32,
    /// Bytes of a sealed datagram, at most.
    pub(crate) datagram_bytes: usize,
    /// Address of the own gRPC endpoint.
    pub(crate) grpc: SocketAddr,
    /// "host:port" where others reach that. `None`: as with `advertise`.
    pub(crate) grpc_advertise: Option<String>,
    /// Share of the nodes, 1 to 1000.
    pub(crate) weight: u16,
    /// Where it stands.
    pub(crate) zone: String,
    /// Folder of the generation file.
    pub(crate) state_dir: PathBuf,
    /// How members are spoken with.
    pub(crate) security: Security,
    /// Where the keys come from that seal gossip.
    pub(crate) keys: KeySource,
}

impl Settings {
    /// Why `members`, this one included, are not enough; `None` when they are.
    fn too_few(&self, members: usize) -> Option<String> {
        let wanted = self.min_members as usize;
        (members < wanted).then(|| {
            format!("{members} of at least {wanted} aggregators are here (min_members): it takes no nodes and judges no rules")
        })
    }

    /// Seeds that are addresses, and where others were last time.
    fn literal_seeds(&self) -> Vec<SocketAddr> {
        let literal = self.seeds.iter().filter_map(|seed| seed.parse().ok());
        literal.chain(self.remembered.iter().copied()).map(seeds::canonical).collect()
    }

    /// Where others reach the gossip and the gRPC endpoint of this process, when it gossips at `bound`; `named` are the
    /// addresses of seeds that are names.
    ///
    /// # Errors
    /// Why there is no such address (yet).
    fn reached(&self, bound: SocketAddr, named: &seeds::Addresses) -> Result<Reached, String> {
        let seeds: Vec<SocketAddr> =
            self.literal_seeds().into_iter().chain(named.values().flatten().copied()).collect();
        let mut reason = None;
        let mut told = |address: SocketAddr| {
            if !address.ip().is_unspecified() {
                return Ok(address);
            }
            let seeded = !self.seeds.is_empty();
            let (ip, why) = advertise::find(advertise::Known { listen: address.ip(), seeds: &seeds, seeded })?;
            reason = Some(why);
            Ok::<_, String>(SocketAddr::new(ip, address.port()))
        };
        let gossip = seeds::canonical(self.advertise.map_or_else(|| told(bound), Ok)?);
        let grpc = match &self.grpc_advertise {
            Some(advertised) => advertised.clone(),
            None => told(self.grpc)?.to_string(),
        };
        Ok(Reached { gossip, grpc, reason })
    }
}

/// Where others reach this process.
#[derive(Debug, PartialEq, Eq)]
struct Reached {
    gossip: SocketAddr,
    grpc: String,
    /// Why there, when that was found and not set.
    reason: Option<String>,
}

/// Facts that change while the process runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Load {
    /// Nodes connected now.
    pub(crate) nodes: u32,
    /// Last tick closed.
    pub(crate) closed: u32,
    /// This process keeps the ledger on its disk.
    pub(crate) on_disk: bool,
    /// This process refuses a file of alert rules or notifiers.
    pub(crate) refused: bool,
    /// This process lost so many nodes at once and has none since.
    pub(crate) blind: u32,
}

/// What the gossip task can be asked.
#[derive(Debug)]
enum Command {
    /// Announce to the others that this process leaves, end, and answer.
    Leave(oneshot::Sender<()>),
    /// Lose the gossip library's task, as after a panic.
    #[cfg(test)]
    Crash,
    /// Have our own facts at a version that cannot be followed by another, as after a forged packet.
    #[cfg(test)]
    Overwrite,
    /// Say in gossip of another process what is not its own.
    #[cfg(test)]
    Forge(chitchat::ChitchatId, Vec<(String, String)>),
}

/// Handle to the membership. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Membership {
    view: watch::Receiver<Arc<MembershipView>>,
    load: watch::Sender<Load>,
    commands: mpsc::Sender<Command>,
    security: Security,
    rings: Rings,
    /// Shared by all handles.
    refused: watch::Sender<BTreeSet<String>>,
}

impl Membership {
    /// Binds the socket, stores a new generation and starts to gossip on a task of `tasks`. The task ends after
    /// [`Membership::leave`], or when every handle is gone.
    ///
    /// # Errors
    /// When the address cannot be bound or the generation cannot be stored.
    pub(crate) async fn start(settings: Settings, tasks: &TaskTracker, metrics: Arc<Metrics>) -> anyhow::Result<Self> {
        let rings = Rings::open(settings.keys.clone(), &settings.state_dir, tasks).await?;
        gossip::start(settings, rings, tasks, metrics).await
    }

    /// The membership now.
    pub(crate) fn view(&self) -> Arc<MembershipView> {
        self.view.borrow().clone()
    }

    /// The membership now and every change after it: nothing falls between.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<MembershipView>> {
        self.view.clone()
    }

    /// How members are spoken with.
    pub(crate) const fn security(&self) -> &Security {
        &self.security
    }

    /// The keys of gossip.
    pub(crate) const fn rings(&self) -> &Rings {
        &self.rings
    }

    /// Members of these names do not count from the next look on: they are listed, and nobody's peer, owner or copy.
    pub(crate) fn refuse(&self, names: BTreeSet<String>) {
        self.refused.send_if_modified(|known| {
            let differs = *known != names;
            *known = names;
            differs
        });
    }

    /// Whether a member of this name does not count.
    pub(crate) fn is_refused(&self, name: &str) -> bool {
        self.refused.borrow().contains(name)
    }

    /// Where others reach the gossip of this process.
    pub(crate) fn gossip_addr(&self) -> SocketAddr {
        self.view.borrow().me.gossip
    }

    /// Publishes how busy this process is; sent every few seconds at most.
    pub(crate) fn publish(&self, load: Load) {
        self.load.send_if_modified(|last| std::mem::replace(last, load) != load);
    }

    /// Announces to the others that this process leaves, and waits until they had time to see it.
    pub(crate) async fn leave(&self) {
        let (done, left) = oneshot::channel();
        if self.commands.send(Command::Leave(done)).await.is_ok() {
            // An error means that the task ended, which is what leaving is for.
            let _ = left.await;
        }
        self.rings.end();
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant, SystemTime};

    use starling_authority::{Authority, Wish};
    use starling_service::{
        credentials::{Credentials, Files},
        identity::Role,
    };

    use super::*;
    use std::net::UdpSocket;

    /// A member on a free port, with a state folder of its own.
    async fn member(name: &str, seeds: Vec<String>, tasks: &TaskTracker) -> (Membership, tempfile::TempDir) {
        let (settings, state) = settings_of(name, seeds);
        (Membership::start(settings, tasks, Metrics::of_a_test()).await.unwrap(), state)
    }

    fn settings_of(name: &str, seeds: Vec<String>) -> (Settings, tempfile::TempDir) {
        let state = tempfile::tempdir().unwrap();
        let settings = Settings {
            id: NodeId::parse(name).unwrap(),
            writer: WriterId::random(),
            cluster: "test".into(),
            listen: "127.0.0.1:0".parse().unwrap(),
            advertise: None,
            seeds,
            remembered: Vec::new(),
            grpc: "127.0.0.1:7400".parse().unwrap(),
            grpc_advertise: None,
            min_members: 1,
            datagram_bytes: 1_200,
            weight: 100,
            zone: "a".into(),
            state_dir: state.path().to_owned(),
            security: Security::plain(),
            keys: KeySource::Open,
        };
        (settings, state)
    }

    /// A ring with one key, in a file of `state`.
    fn sealed(mut settings: Settings, state: &tempfile::TempDir, datagram_bytes: usize) -> Settings {
        let file = state.path().join("keyring");
        starling_service::state_folder::replace(&file, "ab".repeat(32).as_bytes(), 0o600).unwrap();
        (settings.keys, settings.datagram_bytes) = (KeySource::File(file), datagram_bytes);
        settings
    }

    #[tokio::test]
    async fn below_min_members_it_is_not_ready_and_owns_nothing() {
        let tasks = TaskTracker::new();
        let start = async |name: &str, seeds: Vec<String>| {
            let (settings, state) = settings_of(name, seeds);
            let settings = Settings { min_members: 2, ..settings };
            (Membership::start(settings, &tasks, Metrics::of_a_test()).await.unwrap(), state)
        };
        let (one, _state_one) = start("one", vec![]).await;
        let node = NodeId::parse("web-1").unwrap();
        let view = one.view();
        assert_eq!(view.me.state, State::Joining);
        assert!(
            view.too_few.as_ref().is_some_and(|why| why.starts_with("1 of at least 2")) && view.rank(&node).is_empty()
        );
        assert!(!view.is_first("anything") && !view.is_alone(Instant::now()));
        // By a name, which is looked up aside.
        let port = one.gossip_addr().port();
        let (two, _state_two) = start("two", vec![format!("localhost:{port}")]).await;
        until(&one, "ready", |view| view.me.state == State::Ready && view.too_few.is_none()).await;
        until(&two, "ready", |view| view.me.state == State::Ready && view.rank(&node).len() == 2).await;
        two.leave().await;
        until(&one, "too few again", |view| view.me.state == State::Joining && view.rank(&node).is_empty()).await;
    }

    #[tokio::test]
    async fn facts_that_are_longer_than_a_datagram_arrive_in_pieces() {
        let tasks = TaskTracker::new();
        let mut seeds = Vec::new();
        let mut members = Vec::new();
        for n in 0..4 {
            let long = format!("{n}{}", "n".repeat(starling_proto::limits::NODE_ID_LEN_MAX - 1));
            let (settings, state) = settings_of(&long, seeds.clone());
            let zone = "z".repeat(starling_proto::limits::NODE_ID_LEN_MAX);
            let settings = Settings { zone, grpc_advertise: Some(format!("{}:7400", "h.".repeat(100))), ..settings };
            let settings = sealed(settings, &state, 512);
            let member = Membership::start(settings, &tasks, Metrics::of_a_test()).await.unwrap();
            seeds = vec![member.gossip_addr().to_string()];
            members.push((member, state));
        }
        for (member, _) in &members {
            until(member, "everybody", |view| view.others.len() == 3 && view.me.state == State::Ready).await;
        }
        let began = Instant::now();
        members[0].0.publish(Load { nodes: 77, closed: 9, on_disk: true, refused: false, blind: 0 });
        until(&members[3].0, "a fact", |view| view.live.iter().any(|other| other.load == Some(77))).await;
        assert!(began.elapsed() < Duration::from_secs(5), "published every two seconds, heard in less than two more");
    }

    /// One of three has a certificate and a key of gossip, and tells lies about another.
    #[tokio::test]
    async fn what_one_says_in_the_name_of_another_is_not_believed() {
        let tasks = TaskTracker::new();
        let authority = Authority::create("test", SystemTime::now().into()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (mut seeds, mut members) = (Vec::new(), Vec::new());
        for name in ["agg-1", "agg-2", "agg-3"] {
            let id = NodeId::parse(name).unwrap();
            let wish = Wish {
                role: Role::Aggregator,
                name: id,
                life: Duration::from_secs(3_600).try_into().unwrap(),
                hosts: Vec::new(),
            };
            let issued = authority.issue(&wish, SystemTime::now().into()).unwrap();
            let own = folder.path().join(name);
            starling_authority::folder::write_issued(&own, &issued, authority.certificate()).unwrap();
            let credentials = Credentials::load(Files::of_folder(&own), None, Role::Aggregator, false).unwrap();
            let (settings, state) = settings_of(name, seeds.clone());
            let settings = Settings { security: Security::of(Arc::new(credentials)), ..settings };
            let (settings, metrics) = (sealed(settings, &state, 1_200), Metrics::of_a_test());
            let member = Membership::start(settings, &tasks, Arc::clone(&metrics)).await.unwrap();
            seeds = vec![member.gossip_addr().to_string()];
            members.push((member, metrics, state));
        }
        for (member, ..) in &members {
            until(member, "everybody", |view| view.others.len() == 2 && view.me.state == State::Ready).await;
        }
        let (one, metrics, _) = &members[0];
        let truth = members[1].0.view().me.clone();
        let id = chitchat::ChitchatId::new("agg-2", truth.generation, truth.gossip);
        let lie = Member { grpc: "10.6.6.6:7400".to_owned(), ..truth.clone() };
        members[2].0.commands.send(Command::Forge(id, lie.facts())).await.unwrap();
        let nobody = Member { gossip: ([10, 6, 6, 6], 7401).into(), ..Member::for_test("agg-9", State::Ready) };
        let id = chitchat::ChitchatId::new("agg-9", nobody.generation, nobody.gossip);
        members[2].0.commands.send(Command::Forge(id, nobody.facts())).await.unwrap();
        starling_testkit::eventually("both lies are heard and counted", async || {
            let skipped = metrics.members_skipped.get();
            if skipped >= 40 { Ok(()) } else { Err(format!("{skipped} so far")) }
        })
        .await;
        let view = one.view();
        assert_eq!(view.others.iter().map(|other| other.id.as_str()).collect::<Vec<_>>(), ["agg-2", "agg-3"]);
        assert_eq!(view.listed.len(), 3, "nobody is listed whom no certificate names");
        assert!(view.listed.iter().all(|listed| listed.member.grpc == truth.grpc), "{view:?}");
        // What it says itself goes on being heard.
        members[1].0.publish(Load { nodes: 7, closed: 9, on_disk: true, refused: false, blind: 0 });
        until(one, "the load", |view| view.live.iter().any(|other| other.load == Some(7))).await;
    }

    async fn until(membership: &Membership, what: &str, holds: impl Fn(&MembershipView) -> bool) {
        starling_testkit::until(&mut membership.subscribe(), what, |view| holds(view)).await;
    }

    /// Every address of the host is bound; the seed is on this host, which alone is no reason to tell 0.0.0.0 or nothing.
    #[tokio::test]
    async fn who_listens_everywhere_tells_one_address() {
        let tasks = TaskTracker::new();
        let everywhere = async |name: &str, seeds: Vec<String>| {
            let (settings, state) = settings_of(name, seeds);
            let any = "0.0.0.0:0".parse().unwrap();
            let settings = Settings { listen: any, grpc: "0.0.0.0:7400".parse().unwrap(), ..settings };
            (Membership::start(settings, &tasks, Metrics::of_a_test()).await.unwrap(), state)
        };
        let (one, _state_one) = everywhere("one", vec![]).await;
        let told = one.gossip_addr();
        assert!(!told.ip().is_unspecified() && told.port() != 0, "{told}");
        assert_eq!(one.view().me.grpc, format!("{}:7400", told.ip()));
        let (two, _state_two) = everywhere("two", vec![told.to_string()]).await;
        until(&one, "the other", |view| view.others.iter().any(|other| other.gossip.ip() == told.ip())).await;
        drop((one, two));
    }

    /// An answer leaves from where it was asked: of every address only the one that others are told is bound, if it is ours.
    #[tokio::test]
    async fn who_listens_everywhere_and_is_told_where_it_is_reached_listens_there_alone() {
        let tasks = TaskTracker::new();
        for (advertise, alone) in [("127.0.0.2", true), ("192.0.2.7", false)] {
            let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let (settings, state) = settings_of("one", vec![]);
            let told = SocketAddr::new(advertise.parse().unwrap(), port);
            let settings = Settings {
                listen: SocketAddr::new([0, 0, 0, 0].into(), port),
                advertise: Some(told),
                ..sealed(settings, &state, 1_200)
            };
            let one = Membership::start(settings, &tasks, Metrics::of_a_test()).await.unwrap();
            assert_eq!(one.gossip_addr(), told);
            let beside = UdpSocket::bind(("127.0.0.1", port));
            assert_eq!(beside.is_ok(), alone, "{advertise}: {beside:?}");
        }
    }

    #[tokio::test]
    async fn one_that_starts_again_looks_for_the_others_where_they_were() {
        let tasks = TaskTracker::new();
        let (one, state) = member("one", vec![], &tasks).await;
        let (two, _state_two) = member("two", vec![one.gossip_addr().to_string()], &tasks).await;
        let there = two.gossip_addr().to_string();
        let written = async |wanted: bool| {
            starling_testkit::eventually("what is written down", async || {
                let text = std::fs::read_to_string(state.path().join("members")).map_err(|error| error.to_string())?;
                if text.contains(&there) == wanted { Ok(()) } else { Err(text) }
            })
            .await;
        };
        written(true).await;
        one.leave().await;
        let (settings, _) = settings_of("one", vec![]);
        let settings = Settings { state_dir: state.path().to_owned(), ..settings };
        let again = Membership::start(settings, &tasks, Metrics::of_a_test()).await.unwrap();
        assert_eq!(again.view().me.state, State::Joining, "without seeds, it knows that it was not alone");
        until(&again, "the other", |view| view.me.state == State::Ready && view.others.len() == 1).await;
        two.leave().await;
        written(false).await;
    }

    #[tokio::test]
    async fn two_meet_and_one_leaves() {
        let tasks = TaskTracker::new();
        let (one, _state_one) = member("one", vec![], &tasks).await;
        assert_eq!(one.view().me.state, State::Ready, "alone, it is ready at once");
        let (two, _state_two) = member("two", vec![one.gossip_addr().to_string()], &tasks).await;
        assert_eq!(two.view().me.state, State::Joining);
        until(&two, "ready", |view| view.me.state == State::Ready && view.others.len() == 1).await;
        until(&one, "the other", |view| view.others.iter().any(|other| other.state == State::Ready)).await;
        let node = NodeId::parse("web-1").unwrap();
        let ranked = |membership: &Membership| -> Vec<NodeId> {
            membership.view().rank(&node).into_iter().map(|member| member.id.clone()).collect()
        };
        assert_eq!(ranked(&one), ranked(&two));
        two.publish(Load { nodes: 7, closed: 9, on_disk: true, refused: false, blind: 0 });
        until(&one, "the load", |view| view.live.iter().any(|other| other.load == Some(7) && other.closed == 9)).await;

        let began = Instant::now();
        two.leave().await;
        until(&one, "the leave", |view| view.others.is_empty()).await;
        assert!(began.elapsed() < Duration::from_secs(3), "a leave is heard at once");
        assert_eq!(ranked(&one).len(), 1);
        one.leave().await;
        tasks.close();
        tasks.wait().await;
    }

    #[tokio::test]
    async fn facts_that_somebody_made_unwritable_are_published_by_a_new_generation() {
        let tasks = TaskTracker::new();
        let (one, _state_one) = member("one", vec![], &tasks).await;
        let (two, _state_two) = member("two", vec![one.gossip_addr().to_string()], &tasks).await;
        until(&one, "the other", |view| view.others.len() == 1).await;
        let generation = two.view().me.generation;
        two.commands.send(Command::Overwrite).await.unwrap();
        two.publish(Load { nodes: 3, closed: 7, on_disk: false, refused: true, blind: 9 });
        until(&two, "a new generation", |view| view.me.generation > generation).await;
        let new_life = |view: &MembershipView| {
            view.others.iter().any(|other| other.generation > generation && other.load == Some(3))
        };
        until(&one, "its facts", new_life).await;
    }

    #[tokio::test]
    async fn a_dead_gossip_task_is_started_again() {
        let tasks = TaskTracker::new();
        let (one, _state_one) = member("one", vec![], &tasks).await;
        let (two, _state_two) = member("two", vec![one.gossip_addr().to_string()], &tasks).await;
        until(&one, "the other", |view| view.others.len() == 1).await;
        let generation = two.view().me.generation;
        two.commands.send(Command::Crash).await.unwrap();
        until(&two, "a new generation", |view| view.me.generation > generation).await;
        until(&one, "the new life", |view| view.others.iter().any(|other| other.generation > generation)).await;
        until(&two, "the other again", |view| view.others.len() == 1).await;
    }
}
