//! Keys of gossip that aggregators hand to each other over mutual TLS: real processes, each on an address of loopback of its
//! own, so that all have the same ports and the settings of a real cluster fit.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use starling_proto::v1::{
    AggregatorState, ChangeGossipKeysRequest, GossipKeys, GossipSealing, InstallGossipKey, ListAggregatorsRequest,
    ListGossipKeysRequest, change_gossip_keys_request::Step,
};
use starling_service::{channel::Dial, credentials::Security, grpc::cluster_client::ClusterClient, identity::Role};
use starling_testkit::eventually;
use starling_tests::{Issuer, Program};
use tokio::{net::UdpSocket, time::timeout};
use tonic::{Code, Status, transport::Channel};

const DIAL: Dial = Dial::within(Duration::from_secs(5));

/// A cluster whose members have certificates and no keys.
struct Cluster {
    issuer: Issuer,
    /// The first three parts of the addresses: of this process, so that tests beside each other have others.
    net: String,
    insecure: bool,
    operator: Security,
    members: BTreeMap<u8, Program>,
}

impl Cluster {
    fn new(insecure: bool) -> Self {
        let issuer = Issuer::new("test");
        issuer.issue("operator", "ann");
        let operator = issuer.security("ann", Role::Operator);
        let id = std::process::id();
        let net = format!("127.{}.{}", 1 + id / 250 % 250, 1 + id % 250);
        Self { issuer, net, insecure, operator, members: BTreeMap::new() }
    }

    fn grpc(&self, n: u8) -> String {
        format!("{}.{n}:7400", self.net)
    }

    /// Starts agg-`n`, for which the first three are seeds.
    fn start(&mut self, n: u8) {
        let name = format!("agg-{n}");
        self.issuer.issue("aggregator", &name);
        let seeds: Vec<String> = (1..=3).map(|n| format!("\"{}.{n}:7401\"", self.net)).collect();
        let mut settings = vec![
            "cluster=test".to_owned(),
            format!("seeds=[{}]", seeds.join(",")),
            format!("grpc_listen={}", self.grpc(n)),
            format!("gossip_listen={}.{n}:7401", self.net),
            "admin_listen=127.0.0.1:0".to_owned(),
            "state_dir={dir}/state".to_owned(),
            format!("insecure={}", self.insecure),
        ];
        settings.extend(self.issuer.settings(&name));
        let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
        self.members.insert(n, Program::with_settings("starling-aggregator", &settings));
    }

    fn member(&mut self, n: u8) -> &mut Program {
        self.members.get_mut(&n).expect("a member that was started")
    }

    async fn client(&self, n: u8) -> Result<ClusterClient<Channel>, String> {
        Ok(ClusterClient::new(DIAL.connect(&self.operator, &self.grpc(n)).await?))
    }

    /// How many are ready, as agg-`n` says.
    async fn ready(&self, n: u8) -> Result<usize, String> {
        let answer = self.client(n).await?.list_aggregators(ListAggregatorsRequest {}).await;
        let all = answer.map_err(|status| status.to_string())?.into_inner().aggregators;
        Ok(all.iter().filter(|listed| listed.state() == AggregatorState::Ready).count())
    }

    /// Waits until every one that was started sees all as ready.
    async fn whole(&self) {
        eventually("everybody sees everybody", async || {
            for n in self.members.keys() {
                let found = self.ready(*n).await.map_err(|error| format!("agg-{n}: {error}"))?;
                if found != self.members.len() {
                    return Err(format!("agg-{n} sees {found}"));
                }
            }
            Ok(())
        })
        .await;
    }

    /// Whether agg-1 answers what somebody sends who has no key: a SYN of the library's protocol, with nothing in it.
    async fn answers_open(&self) -> bool {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket of this host");
        // Magic number, version, SYN, no digest; then the name of the cluster.
        let syn = [&[0x53, 0xb0, 0, 0, 0, 0, 4, 0], &b"test"[..]].concat();
        socket.send_to(&syn, format!("{}.1:7401", self.net)).await.expect("it is sent");
        let mut answer = [0; 2_048];
        timeout(Duration::from_secs(1), socket.recv_from(&mut answer)).await.is_ok()
    }

    async fn keys(&self, n: u8) -> GossipKeys {
        self.client(n)
            .await
            .expect("it answers")
            .list_gossip_keys(ListGossipKeysRequest {})
            .await
            .expect("it answers")
            .into_inner()
    }

    /// The keys at agg-`n`, the one that seals first.
    async fn ids(&self, n: u8) -> Vec<Vec<u8>> {
        let keys = self.keys(n).await;
        let own =
            keys.members.into_iter().find(|member| member.aggregator_id == format!("agg-{n}")).expect("it answers");
        own.status.expect("it answers").key_ids.iter().map(|id| id.to_vec()).collect()
    }

    async fn step(&self, n: u8, step: Step) -> Result<Vec<u8>, Status> {
        self.change(n, step, false).await
    }

    async fn change(&self, n: u8, step: Step, force: bool) -> Result<Vec<u8>, Status> {
        let request = ChangeGossipKeysRequest { step: Some(step), force };
        let answer = self.client(n).await.expect("it answers").change_gossip_keys(request).await?.into_inner();
        Ok(answer.key_id.to_vec())
    }

    /// Install, use, retire.
    async fn rotate(&self, n: u8) {
        let old = self.ids(n).await.remove(0);
        let new = self.step(n, Step::Install(InstallGossipKey {})).await.expect("it answers");
        self.step(n, Step::Use(new.into())).await.expect("it answers");
        eventually("the former key is retired", async || {
            self.step(n, Step::Retire(old.clone().into())).await.map(drop).map_err(|status| status.message().to_owned())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_handed_to_who_has_a_certificate_and_change_while_one_is_away() {
    let mut cluster = Cluster::new(false);
    // All at once, and nobody has a key.
    let began = Instant::now();
    for n in 1..=3 {
        cluster.start(n);
    }
    cluster.whole().await;
    println!("three without a key see each other after {:.1} s", began.elapsed().as_secs_f64());
    let first = cluster.ids(1).await;
    assert_eq!((first.len(), &first), (1, &cluster.ids(3).await));

    // What is unsafe is refused, with the reason; what is for operators is refused to others.
    let only = first[0].clone();
    let refused = cluster.step(2, Step::Retire(only.clone().into())).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("is the one that seals"), "{refused}");
    let refused = cluster.step(2, Step::Use(vec![0; 4].into())).await.unwrap_err();
    assert!(refused.message().contains("there is no key 00000000"), "{refused}");
    cluster.issuer.issue("dashboard", "page");
    let page = DIAL.connect(&cluster.issuer.security("page", Role::Dashboard), &cluster.grpc(1)).await.unwrap();
    let step = Some(Step::Install(InstallGossipKey {}));
    let refused = ClusterClient::new(page).change_gossip_keys(ChangeGossipKeysRequest { step, force: true }).await;
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);

    // Two rotations while the second is away: it still seals by the first key, which keeps that one.
    cluster.member(2).kill();
    let new = cluster.step(1, Step::Install(InstallGossipKey {})).await.unwrap();
    // As long as gossip calls it alive it may be one that cannot be reached, and would hear nothing any more.
    let refused = cluster.step(1, Step::Use(new.clone().into())).await.unwrap_err();
    assert!(refused.message().contains("agg-2 does not have"), "{refused}");
    eventually("it counts as away", async || match cluster.step(1, Step::Use(new.clone().into())).await {
        Ok(_) => Ok(()),
        Err(status) => Err(status.message().to_owned()),
    })
    .await;
    let refused = cluster.step(1, Step::Retire(only.clone().into())).await.unwrap_err();
    assert!(refused.message().contains("agg-2 still seals by"), "{refused}");
    let listed = cluster.keys(1).await;
    let away = listed.members.iter().find(|member| member.aggregator_id == "agg-2").unwrap();
    assert!(!away.unreachable.is_empty() && away.status.as_ref().unwrap().key_ids.len() == 1, "{away:?}");
    cluster.change(1, Step::Retire(only.clone().into()), true).await.unwrap();
    let second = cluster.ids(1).await.remove(0);
    let third = cluster.step(1, Step::Install(InstallGossipKey {})).await.unwrap();
    cluster.step(1, Step::Use(third.into())).await.unwrap();
    cluster.change(1, Step::Retire(second.into()), true).await.unwrap();

    // A new one, and the one that was away.
    let began = Instant::now();
    cluster.start(4);
    cluster.member(2).start_again();
    cluster.whole().await;
    println!("a new one and one that was away are in after {:.1} s", began.elapsed().as_secs_f64());
    let newest = cluster.ids(1).await;
    for n in [2, 3, 4] {
        assert_eq!(cluster.ids(n).await, newest, "agg-{n}");
    }
    assert!(!newest.contains(&only));

    // A rotation with everybody there, then a restart of all at once.
    cluster.rotate(4).await;
    for n in 1..=4 {
        cluster.member(n).kill();
    }
    for n in 1..=4 {
        cluster.member(n).start_again();
    }
    cluster.whole().await;
    assert_ne!(cluster.ids(1).await, newest);
}

#[tokio::test(flavor = "multi_thread")]
async fn from_open_to_sealed_gossip_nobody_is_lost_for_a_second() {
    let mut cluster = Cluster::new(true);
    for n in 1..=3 {
        cluster.start(n);
    }
    cluster.whole().await;
    let sealing = async |cluster: &Cluster, n: u8| {
        let keys = cluster.keys(n).await;
        keys.members.iter().map(|member| member.status.as_ref().unwrap().sealing()).collect::<Vec<_>>()
    };
    assert_eq!(sealing(&cluster, 1).await, [GossipSealing::Open; 3]);
    assert!(cluster.answers_open().await, "what is asked for later is answered now");
    let refused = cluster.step(1, Step::Seal(GossipSealing::Require as i32)).await.unwrap_err();
    assert!(refused.message().contains("seal send first"), "{refused}");
    // One that allows no open gossip waits, and says why, until the cluster is sealed.
    cluster.insecure = false;
    cluster.start(4);
    let waiting = format!("{}/ready", cluster.member(4).url("admin"));
    eventually("it says why it waits", async || {
        let text = reqwest::get(&waiting).await.map_err(|error| error.to_string())?.text().await.unwrap_or_default();
        if text.contains("starling gossip seal send") { Ok(()) } else { Err(text) }
    })
    .await;
    for (step, wanted) in [(GossipSealing::Send, 2), (GossipSealing::Require, 3)] {
        cluster.step(2, Step::Seal(step as i32)).await.unwrap();
        // Longer than it takes to find one dead.
        for _ in 0..8 {
            for n in 1..=3 {
                assert!(cluster.ready(n).await.unwrap() >= 3, "at agg-{n}, step {wanted}");
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        assert_eq!(sealing(&cluster, 3).await, [step; 4], "{wanted}");
    }
    cluster.whole().await;
    // An open datagram is believed no more.
    assert!(!cluster.answers_open().await, "an open datagram was answered");
    for member in cluster.members.values() {
        assert!(!member.log().contains("membership changed members=[\"agg-1\"]"), "{}", member.log());
    }
}
