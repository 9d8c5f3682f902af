//! The task that gossips, over `chitchat`.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime},
};

use anyhow::Context;
use chitchat::{
    Chitchat, ChitchatConfig, ChitchatHandle, ChitchatId, FailureDetectorConfig, NodeState, ProtocolVersion,
    spawn_chitchat,
};
use rand::seq::IndexedRandom as _;
use starling_proto::ids::NodeId;
use starling_service::{backoff::Backoff, clock, credentials::Security};
use tokio::{
    sync::{mpsc, watch},
    time::MissedTickBehavior,
};
use tokio_util::task::TaskTracker;
use tracing::{debug, error, info, warn};

use super::{
    Command, Load, Membership, Reached, Settings,
    damped::{Damped, Sighting, Timing},
    generation, known,
    member::{FactError, Member, State},
    namesake::{self, Namesakes},
    ring::{InUse, Rings},
    seeds,
    settle::Settle,
    signed::{self, Believed},
    socket::{OpenTransport, Wire},
    view::{Listed, MembershipView},
};
use crate::metrics::Metrics;

/// Rounds of gossip. 250 ms find a dead member of 30 in 2 to 2.75 s and cost 37 packets a second.
const GOSSIP_INTERVAL: Duration = Duration::from_millis(250);
/// Mean intervals without a heartbeat before a member is dead; 8 flaps when a host stalls for two seconds.
const PHI_THRESHOLD: f64 = 12.0;
/// Heartbeats the failure detector averages over.
const SAMPLING_WINDOW: usize = 1000;
/// Longer gaps are not taken for a heartbeat interval.
const MAX_INTERVAL: Duration = Duration::from_secs(10);
/// How long the dead and their facts are kept: it bounds the digest when a member crash-loops.
const GRACE: Duration = Duration::from_secs(15 * 60);
/// How often the view is computed; also the watchdog of our own pauses.
const POLL: Duration = Duration::from_millis(100);
/// A poll later than this means that our own process was paused.
const PAUSE: Duration = Duration::from_millis(500);
/// How often changed load is published.
const PUBLISH_EVERY: Duration = Duration::from_secs(2);
/// How long "leaving" is shown before the socket closes: four rounds.
const LEAVE_WAIT: Duration = Duration::from_secs(1);
/// How often one of the addresses of seeds that are names is gossiped with, unless a member that is alive has it: so two
/// halves of a cluster find each other again, and one that starts finds the others.
const SEED_EVERY: Duration = Duration::from_secs(1);
/// First and longest wait before a dead gossip task is started again.
const RESPAWN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// A task that ran for this long is not failing over and over.
const HEALTHY_AFTER: Duration = Duration::from_secs(300);
/// Version of our own facts from which on they are not written any more: far beyond what a process writes, so somebody
/// else did. The library would panic beyond the largest number.
const OWN_VERSION_MAX: u64 = 1 << 62;
/// Failures in a row after which the membership is called degraded.
const DEGRADED_AFTER: u32 = 3;

/// How often it is looked which address of this host others can be told, where that is not set.
const ADDRESS_EVERY: Duration = Duration::from_secs(2);

/// Why a life of gossip ended.
enum End {
    /// This process leaves.
    Left,
    /// Others are told another address.
    Moved,
    /// Not meant, with the reason.
    Failed(String),
}

/// See [`Membership::start`].
pub(super) async fn start(
    mut settings: Settings,
    rings: Rings,
    tasks: &TaskTracker,
    metrics: Arc<Metrics>,
) -> anyhow::Result<Membership> {
    let keys = rings.in_use();
    let socket = bind(&settings, keys.is_some()).await?;
    let bound = socket.local_addr()?;
    let is_name = |seed: &&String| seed.parse::<SocketAddr>().is_err();
    let remembered = known::Remembered::read(&settings.state_dir);
    settings.remembered = remembered.addresses();
    let named = seeds::follow(settings.seeds.iter().filter(is_name).cloned(), tasks);
    let reached = settings.reached(bound, &named.borrow());
    let unreached = reached.as_ref().err().cloned();
    let reached = reached.unwrap_or_else(|_| Reached { gossip: bound, grpc: settings.grpc.to_string(), reason: None });
    let mut me = Member {
        id: settings.id.clone(),
        generation: next_generation(&settings)?,
        gossip: reached.gossip,
        state: State::Joining,
        grpc: reached.grpc.clone(),
        writer: settings.writer,
        weight: settings.weight,
        zone: settings.zone.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        load: None,
        closed: 0,
        on_disk: false,
        refused: false,
        ending: false,
        blind: 0,
        keys: rings.status(),
    };
    let alone = settings.seeds.iter().all(|seed| is_own(seed, bound, me.gossip));
    // Others that were there last time are looked for as long as seeds are; that none of them answers is no fault.
    let mut settle = Settle::new(alone && settings.remembered.is_empty());
    let wanting = unreached.clone().or_else(|| wanting(keys.as_ref()));
    let too_few = settings.too_few(1);
    if settle.observe(Duration::ZERO, false, 0, 0) && wanting.is_none() && too_few.is_none() {
        me.state = State::Ready;
    }
    let mut own = signed::Own::default();
    let handle = match &unreached {
        None => {
            tell(&reached);
            Some(spawn(&settings, &me, &mut own, (bound, keys.clone()), Some(socket), &metrics).await?)
        }
        Some(reason) => {
            warn!(reason, "gossip has not begun");
            None
        }
    };
    let started = Instant::now();
    let view = MembershipView {
        listed: vec![Listed::after(None, &me, false, started)],
        me,
        others: Vec::new(),
        live: Vec::new(),
        suspects_partition: false,
        degraded: false,
        silent_seeds: None,
        wanting,
        too_few,
        conflict: None,
    };
    let (view_sender, view) = watch::channel(Arc::new(view));
    let (load, load_receiver) = watch::channel(Load::default());
    let (refused, refused_receiver) = watch::channel(BTreeSet::new());
    // One caller leaves, once.
    let (commands, receiver) = mpsc::channel(1);
    let security = settings.security.clone();
    remembered.follow(view.clone(), tasks);
    let task = GossipTask {
        settings,
        metrics,
        bound,
        keys,
        view: view_sender,
        load: load_receiver,
        damped: Damped::new(Timing::default()),
        settle,
        answered: alone,
        namesakes: Namesakes::default(),
        believed: Believed::default(),
        own,
        started,
        published_at: started,
        named,
        refused: refused_receiver,
    };
    tasks.spawn(task.run(handle, receiver));
    Ok(Membership { view, load, commands, security, rings, refused })
}

/// Opens the socket. Of every address, that which others are told alone, if it is one of this host: an answer would leave from
/// another one of them than was asked, and firewalls drop it. Behind a translated address they do stay all.
async fn bind(settings: &Settings, sealed: bool) -> anyhow::Result<Wire> {
    let listen = settings.listen;
    if let Some(told) = settings.advertise.filter(|_| listen.ip().is_unspecified())
        && let Ok(wire) = Wire::open(SocketAddr::new(told.ip(), listen.port()), sealed).await
    {
        return Ok(wire);
    }
    Wire::open(listen, sealed)
        .await
        .with_context(|| format!("cannot gossip on {listen}: the UDP port is taken or not ours; change gossip_listen"))
}

/// Why gossip cannot begin.
fn wanting(keys: Option<&watch::Receiver<InUse>>) -> Option<String> {
    keys.and_then(|keys| keys.borrow().wanting.clone())
}

/// Says which address of this host is told to others, where that was found.
fn tell(reached: &Reached) {
    if let Reached { gossip, grpc, reason: Some(reason) } = reached {
        info!(%gossip, grpc, reason, "others are told this address of this host");
    }
}

fn is_own(seed: &str, bound: SocketAddr, advertise: SocketAddr) -> bool {
    let own = [bound, advertise].map(seeds::canonical);
    seed.parse().is_ok_and(|seed| own.contains(&seeds::canonical(seed)))
}

fn next_generation(settings: &Settings) -> anyhow::Result<u64> {
    generation::next(&settings.state_dir, clock::unix_ms())
}

async fn spawn(
    settings: &Settings,
    me: &Member,
    own: &mut signed::Own,
    (listen_addr, keys): (SocketAddr, Option<watch::Receiver<InUse>>),
    socket: Option<Wire>,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<ChitchatHandle> {
    // A new life says everything again.
    *own = signed::Own::default();
    let facts = own.facts((&settings.security, &settings.cluster), me).map_err(anyhow::Error::msg)?;
    let config = ChitchatConfig {
        chitchat_id: ChitchatId::new(me.id.as_str(), me.generation, me.gossip),
        cluster_id: settings.cluster.clone(),
        gossip_interval: GOSSIP_INTERVAL,
        listen_addr,
        // Names are looked up by us: the library would wait for each before it starts.
        seed_nodes: settings.literal_seeds().iter().map(SocketAddr::to_string).collect(),
        failure_detector_config: FailureDetectorConfig::new(
            PHI_THRESHOLD,
            SAMPLING_WINDOW,
            MAX_INTERVAL,
            GOSSIP_INTERVAL,
            GRACE,
        ),
        marked_for_deletion_grace_period: GRACE,
        catchup_callback: None,
        extra_liveness_predicate: None,
        protocol_version: ProtocolVersion::V1,
    };
    let (cluster, metrics, longest) = (settings.cluster.clone(), metrics.clone(), settings.datagram_bytes);
    let transport = OpenTransport { open: Mutex::new(socket), cluster, longest, keys, metrics };
    spawn_chitchat(config, facts, &transport).await
}

/// What one look at the gossip state gives.
#[derive(Default)]
struct Seen {
    live: Vec<Member>,
    dead: Vec<Member>,
    skipped: Vec<(String, FactError)>,
    /// Other processes under our own name.
    namesakes: Vec<Member>,
    identities: usize,
}

/// Reads everything under one short lock.
fn look(chitchat: &Chitchat, of: (&Security, &str), believed: &mut Believed) -> Seen {
    let (me, clock) = (chitchat.self_chitchat_id(), SystemTime::now());
    believed.begin(of.0, chitchat.node_states().keys());
    let mut read = |id: &ChitchatId, state: &NodeState| believed.read(of, id, state, clock);
    let live: Vec<&ChitchatId> = chitchat.live_nodes().filter(|id| *id != me).collect();
    let mut seen = Seen { identities: chitchat.node_states().len(), ..Seen::default() };
    let mut newest: BTreeMap<NodeId, (Member, bool)> = BTreeMap::new();
    for (id, state) in chitchat.node_states() {
        if id == me {
            continue;
        }
        if id.node_id == me.node_id {
            seen.namesakes.extend(read(id, state));
            continue;
        }
        match read(id, state) {
            Ok(member) => {
                let entry = (member.clone(), live.contains(&id));
                match newest.get(&member.id) {
                    Some(other) if stands_for_its_name(&entry, other).is_lt() => {}
                    _ => drop(newest.insert(member.id, entry)),
                }
            }
            Err(error) => seen.skipped.push((id.node_id.to_string(), error)),
        }
    }
    for (member, alive) in newest.into_values() {
        if alive { seen.live.push(member) } else { seen.dead.push(member) }
    }
    seen
}

/// Which of two processes of one name stands for it: one that is alive, and of two that are the ready one before one that
/// has still to find out whether the name is free. One that has the address of the other took its place.
fn stands_for_its_name(one: &(Member, bool), other: &(Member, bool)) -> std::cmp::Ordering {
    let moved = one.0.grpc != other.0.grpc;
    let key = |(member, alive): &(Member, bool)| (*alive, moved && member.state == State::Ready, member.generation);
    key(one).cmp(&key(other))
}

/// Owner of everything that gossip touches.
struct GossipTask {
    settings: Settings,
    metrics: Arc<Metrics>,
    bound: SocketAddr,
    keys: Option<watch::Receiver<InUse>>,
    view: watch::Sender<Arc<MembershipView>>,
    load: watch::Receiver<Load>,
    damped: Damped,
    settle: Settle,
    /// Some other member was seen, or there is none to be seen.
    answered: bool,
    namesakes: Namesakes,
    /// What the others signed for.
    believed: Believed,
    /// What this process signed for.
    own: signed::Own,
    started: Instant,
    published_at: Instant,
    /// Seeds that are names.
    named: watch::Receiver<seeds::Addresses>,
    /// Names of members that do not count.
    refused: watch::Receiver<BTreeSet<String>>,
}

impl GossipTask {
    async fn run(mut self, handle: Option<ChitchatHandle>, mut commands: mpsc::Receiver<Command>) {
        let Some(mut running) = self.first(handle, &mut commands).await else { return };
        let (mut failures, mut backoff) = (0, Backoff::new(RESPAWN.0, RESPAWN.1));
        loop {
            let began = Instant::now();
            let end = self.gossip(&running, &mut commands).await;
            match &end {
                End::Failed(_) => drop(running),
                End::Left | End::Moved => {
                    if let Err(error) = running.shutdown().await {
                        debug!(%error, "gossip ended with an error");
                    }
                }
            }
            let cause = match end {
                End::Left => return,
                End::Failed(cause) => cause,
                End::Moved => match self.respawn().await {
                    Ok(handle) => {
                        running = handle;
                        continue;
                    }
                    Err(error) => format!("cannot start gossip at another address: {error:#}"),
                },
            };
            if began.elapsed() > HEALTHY_AFTER {
                failures = 0;
                backoff.reset();
            }
            running = loop {
                failures += 1;
                self.metrics.gossip_failed(&cause, failures);
                if failures >= DEGRADED_AFTER {
                    self.change(|view| view.degraded = true);
                }
                tokio::select! {
                    biased;
                    // Gossip is down: a leave reaches no peer and need not wait.
                    _ = commands.recv() => return,
                    () = tokio::time::sleep(backoff.wait(rand::random())) => {}
                }
                match self.respawn().await {
                    Ok(handle) => break handle,
                    Err(error) => error!(error = %format!("{error:#}"), "cannot start gossip again"),
                }
            };
            self.change(|view| view.degraded = false);
        }
    }

    /// Gossip, once this host has an address that others can be told. `None` when nobody waits for it any more.
    async fn first(
        &mut self,
        handle: Option<ChitchatHandle>,
        commands: &mut mpsc::Receiver<Command>,
    ) -> Option<ChitchatHandle> {
        if handle.is_some() {
            return handle;
        }
        loop {
            tokio::select! {
                biased;
                // Nobody was told anything.
                _ = commands.recv() => return None,
                () = tokio::time::sleep(ADDRESS_EVERY) => {}
            }
            let reached = self.settings.reached(self.bound, &self.named.borrow());
            match reached {
                Err(reason) => self.change(|view| view.wanting = Some(reason)),
                Ok(reached) => {
                    self.move_to(reached);
                    match self.respawn().await {
                        Ok(handle) => return Some(handle),
                        Err(error) => self.change(|view| view.wanting = Some(format!("{error:#}"))),
                    }
                }
            }
        }
    }

    fn move_to(&self, reached: Reached) {
        tell(&reached);
        self.change(|view| (view.me.gossip, view.me.grpc) = (reached.gossip, reached.grpc));
    }

    /// Whether others are told another address of this host from now on. One that is gone for a while stays told.
    fn has_moved(&self) -> bool {
        let Ok(reached) = self.settings.reached(self.bound, &self.named.borrow()) else { return false };
        let view = self.view.borrow().clone();
        let moved = (view.me.gossip, &view.me.grpc) != (reached.gossip, &reached.grpc);
        if moved {
            self.move_to(reached);
        }
        moved
    }

    /// A new life needs a new generation, or peers would give us the old one's facts.
    async fn respawn(&mut self) -> anyhow::Result<ChitchatHandle> {
        let generation = next_generation(&self.settings)?;
        self.change(|view| view.me.generation = generation);
        let me = self.view.borrow().me.clone();
        spawn(&self.settings, &me, &mut self.own, (self.bound, self.keys.clone()), None, &self.metrics).await
    }

    async fn gossip(&mut self, handle: &ChitchatHandle, commands: &mut mpsc::Receiver<Command>) -> End {
        let mut ended = Box::pin(handle.termination_watcher());
        let mut poll = tokio::time::interval(POLL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last = Instant::now();
        let mut seeding = tokio::time::interval(SEED_EVERY);
        seeding.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut addresses = tokio::time::interval(ADDRESS_EVERY);
        addresses.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                command = commands.recv() => match command {
                    Some(Command::Leave(done)) => {
                        self.leave(handle).await;
                        // The caller may have stopped waiting.
                        let _ = done.send(());
                        return End::Left;
                    }
                    #[cfg(test)]
                    Some(Command::Crash) => handle.abort(),
                    #[cfg(test)]
                    Some(Command::Overwrite) => {
                        handle.with_chitchat(|chitchat| chitchat.self_node_state().set_max_version(u64::MAX)).await;
                    }
                    #[cfg(test)]
                    Some(Command::Forge(id, facts)) => {
                        let status = chitchat::DeletionStatus::Set;
                        let at = |(version, (key, value))| (key, chitchat::VersionedValue { value, version, status });
                        let facts = (1_000..).zip(facts).map(at);
                        handle.with_chitchat(|all| all.reset_node_state_if_update(&id, facts.clone(), 2_000, 0)).await;
                    }
                    // Every handle is gone.
                    None => return End::Left,
                },
                result = &mut ended => {
                    return End::Failed(result.err().map_or_else(|| "ended".to_owned(), |error| format!("{error:#}")));
                }
                alive = self.namesakes.answered() => {
                    let conflict = namesake::conflict(&self.view.borrow().me, &alive.member);
                    if let Some(conflict) = conflict {
                        self.change(|view| view.conflict = Some(conflict));
                    }
                }
                _ = seeding.tick() => self.seed(handle),
                _ = addresses.tick() => if self.has_moved() {
                    return End::Moved;
                },
                _ = poll.tick() => {
                    if last.elapsed() > POLL + PAUSE {
                        let paused_ms = u64::try_from(last.elapsed().as_millis()).unwrap_or(u64::MAX);
                        warn!(paused_ms, "this process was paused, no member is removed for a while");
                        self.damped.local_pause(self.started.elapsed());
                    }
                    last = Instant::now();
                    if !self.poll(handle).await {
                        return End::Failed("our own facts were overwritten by somebody".to_owned());
                    }
                }
            }
        }
    }

    /// Gossips with an address of a seed that is a name.
    fn seed(&self, handle: &ChitchatHandle) {
        let view = self.view.borrow().clone();
        let is_other = |address: &SocketAddr| {
            *address != view.me.gossip && view.live.iter().all(|member| member.gossip != *address)
        };
        let addresses: Vec<SocketAddr> = self.named.borrow().values().flatten().copied().filter(is_other).collect();
        if let Some(address) = addresses.choose(&mut rand::rng()) {
            // It fails when the task has ended, which is seen above.
            let _ = handle.gossip(*address);
        }
    }

    async fn leave(&mut self, handle: &ChitchatHandle) {
        // Facts that cannot be written are not read either: the others find us gone.
        let _ = self.set_state(handle, State::Leaving).await;
        if !self.view.borrow().live.is_empty() {
            tokio::time::sleep(LEAVE_WAIT).await;
        }
        info!("left the cluster");
    }

    #[must_use]
    async fn set_state(&mut self, handle: &ChitchatHandle, state: State) -> bool {
        self.change(|view| view.me.state = state);
        self.publish(handle).await
    }

    /// Writes the facts that changed. False when somebody has made them unwritable: a new generation is needed.
    #[must_use]
    async fn publish(&mut self, handle: &ChitchatHandle) -> bool {
        let me = self.view.borrow().me.clone();
        let facts = match self.own.facts((&self.settings.security, &self.settings.cluster), &me) {
            Ok(facts) => facts,
            Err(error) => {
                self.metrics.facts_not_signed(&error);
                return true;
            }
        };
        handle
            .with_chitchat(|chitchat| {
                let own = chitchat.self_node_state();
                for (key, value) in &facts {
                    if own.max_version() >= OWN_VERSION_MAX {
                        return false;
                    }
                    if own.get(key) != Some(value) {
                        own.set(key, value);
                    }
                }
                true
            })
            .await
    }

    /// False when our facts cannot be written any more.
    #[must_use]
    async fn poll(&mut self, handle: &ChitchatHandle) -> bool {
        let Self { settings, believed, .. } = &mut *self;
        let of = (&settings.security, settings.cluster.as_str());
        let seen = handle.with_chitchat(|chitchat| look(chitchat, of, believed)).await;
        let now = self.started.elapsed();
        self.report(&seen);
        let sightings: Vec<Sighting> = seen
            .live
            .iter()
            .map(|member| Sighting {
                id: member.id.clone(),
                generation: member.generation,
                leaving: member.state == State::Leaving,
            })
            .collect();
        self.answered |= seen.identities > 1;
        let me = self.view.borrow().me.clone();
        self.namesakes.ask((&me, &self.settings.cluster, &self.settings.security), &seen.namesakes);
        let changed = self.damped.observe(now, &sightings);
        let in_view = self.damped.members().filter(|(id, _)| !self.refused.borrow().contains(id.as_str())).count();
        let ready = self.settle.observe(now, changed, in_view, seen.live.len());
        self.rebuild(now, &seen);
        let wanting = wanting(self.keys.as_ref());
        let has_keys = wanting.is_none();
        if !has_keys {
            self.settle.begin(now);
        }
        self.change(|view| view.wanting = wanting);
        if changed {
            let view = self.view.borrow().clone();
            let members: Vec<&str> = view.everybody().map(|member| member.id.as_str()).collect();
            info!(?members, suspects_partition = view.suspects_partition, "membership changed");
        }
        let too_few = self.settings.too_few(in_view + 1);
        let enough = too_few.is_none();
        if !enough && me.state == State::Ready {
            warn!(reason = too_few, "not ready any more");
            if !self.set_state(handle, State::Joining).await {
                return false;
            }
        }
        self.change(|view| view.too_few = too_few);
        if ready && has_keys && enough && me.state == State::Joining && self.namesakes.is_settled() {
            info!(members = in_view + 1, "settled, ready for nodes");
            if !self.set_state(handle, State::Ready).await {
                return false;
            }
        }
        let load = *self.load.borrow();
        // Others must know it before they miss its nodes.
        let at_once = (load.blind > 0) != (self.view.borrow().me.blind > 0);
        if at_once || self.published_at.elapsed() >= PUBLISH_EVERY {
            self.published_at = Instant::now();
            let ending = self.settings.security.credentials().is_some_and(|own| own.ends_soon(SystemTime::now()));
            let keys = self.keys.as_ref().and_then(|keys| keys.borrow().status.clone());
            self.change(|view| {
                (view.me.ending, view.me.keys) = (ending, keys);
                (view.me.load, view.me.closed) = (Some(load.nodes), load.closed);
                (view.me.on_disk, view.me.refused, view.me.blind) = (load.on_disk, load.refused, load.blind);
            });
            return self.publish(handle).await;
        }
        true
    }

    /// Counts who is there, and reports whose facts cannot be read.
    fn report(&self, seen: &Seen) {
        self.metrics.gossip_identities(seen.identities, seen.live.len());
        // Facts arrive one datagram after the name: missing ones are normal for a moment.
        let unreadable = seen.skipped.iter().filter(|(_, reason)| !matches!(reason, FactError::Missing(_)));
        let unreadable = unreadable.map(|(name, reason)| (name.as_str(), reason.to_string()));
        let forged = self.believed.forged().map(|(name, why)| (name, format!("{why}; what it said before counts")));
        let unreadable: Vec<_> = unreadable.chain(forged).collect();
        self.metrics.members_skipped(&unreadable);
    }

    fn rebuild(&mut self, now: Duration, seen: &Seen) {
        let old = self.view.borrow().clone();
        // A member absent for a moment stays in the damped view with the facts it had.
        let facts = |id: &NodeId, generation: u64| {
            let same = |member: &&Member| member.id == *id && member.generation == generation;
            seen.live.iter().find(same).or_else(|| old.others.iter().find(same)).cloned()
        };
        // Who is in quarantine is listed, and nothing more.
        let refused = self.refused.borrow().clone();
        let counts = |member: &Member| !refused.contains(member.id.as_str());
        let others = self.damped.members().filter_map(|(id, generation)| facts(id, generation));
        let others = others.filter(|member| counts(member)).collect();
        let mut listed: Vec<Listed> = Vec::with_capacity(seen.live.len() + seen.dead.len() + 1);
        let everybody = std::iter::once((&old.me, false))
            .chain(seen.live.iter().map(|member| (member, false)))
            .chain(seen.dead.iter().map(|member| (member, true)));
        let at = Instant::now();
        for (member, dead) in everybody {
            let before = old.listed.iter().find(|listed| listed.member.id == member.id);
            listed.push(Listed::after(before, member, dead, at));
        }
        listed.sort_by(|a, b| a.member.id.cmp(&b.member.id));
        let suspects_partition = self.damped.suspects_partition(now);
        let live = seen.live.iter().filter(|member| counts(member)).cloned().collect();
        let silent_seeds = (!self.answered).then(|| self.settings.seeds.join(", "));
        self.change(move |view| {
            view.silent_seeds = silent_seeds;
            (view.others, view.live, view.listed) = (others, live, listed);
            view.suspects_partition = suspects_partition;
        });
    }

    /// Replaces the view; those who watch it wake only if it differs.
    fn change(&self, change: impl FnOnce(&mut MembershipView)) {
        self.view.send_if_modified(|view| {
            let mut next = MembershipView::clone(view);
            change(&mut next);
            let differs = next != **view;
            if differs {
                *view = Arc::new(next);
            }
            differs
        });
    }
}
