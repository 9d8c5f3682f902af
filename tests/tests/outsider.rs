//! Somebody without a key or a certificate, who can send datagrams to the gossip of aggregators: real processes.
//!
//! Every packet that ended, poisoned or stretched a member when it was plain (research of the library, and an attack on an
//! early Starling) is sent here: to sealed gossip, which must not move, and to plain gossip of one host, which must recover.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use starling_proto::v1::{Aggregator, AggregatorState, ListAggregatorsRequest};
use starling_service::{channel::Dial, credentials::Security, grpc::cluster_client::ClusterClient, identity::Role};
use starling_testkit::eventually;
use starling_tests::{Issuer, Program, Scrape, http_get};
use tokio::net::UdpSocket;

const DIAL: Dial = Dial::within(Duration::from_secs(5));

/// What the library writes, by hand.
#[derive(Default, Clone)]
struct Bytes(Vec<u8>);

impl Bytes {
    fn message(kind: u8) -> Self {
        // Its magic number, protocol V0.
        Self(vec![0x53, 0xb0, 0, kind])
    }

    fn text(mut self, text: &str) -> Self {
        self.0.extend(u16::try_from(text.len()).expect("a short text").to_le_bytes());
        self.0.extend(text.as_bytes());
        self
    }

    fn number(mut self, number: u64) -> Self {
        self.0.extend(number.to_le_bytes());
        self
    }

    fn byte(mut self, byte: u8) -> Self {
        self.0.push(byte);
        self
    }

    fn id(self, name: &str, generation: u64, at: SocketAddr) -> Self {
        let mut bytes = self.text(name).number(generation).byte(4);
        let SocketAddr::V4(at) = at else { panic!("tests are on IPv4") };
        bytes.0.extend(at.ip().octets());
        bytes.0.extend(at.port().to_le_bytes());
        bytes
    }

    /// An ACK with these operations.
    fn ack(operations: &Self) -> Vec<u8> {
        let mut ack = Self::message(2).byte(2);
        ack.0.extend(u16::try_from(operations.0.len()).expect("a short delta").to_le_bytes());
        ack.0.extend(&operations.0);
        ack.byte(0).0
    }

    fn node(name: &str, generation: u64, at: SocketAddr) -> Self {
        Self::default().byte(0).id(name, generation, at).number(0).number(0)
    }

    fn value(self, key: &str, value: &str, version: u64) -> Self {
        self.byte(1).text(key).text(value).number(version).byte(0)
    }

    fn syn(digests: &[(String, u64, SocketAddr, u64)], cluster: &str) -> Vec<u8> {
        let mut syn = Self::message(0);
        syn.0.extend(u16::try_from(digests.len()).expect("fewer").to_le_bytes());
        for (name, generation, at, heartbeat) in digests {
            syn = syn.id(name, *generation, *at).number(*heartbeat).number(0).number(0);
        }
        syn.text(cluster).0
    }
}

/// The packets of the research, and those that an attack used: against `victim`, told of `other` too.
fn attacks(victim: (&str, u64, SocketAddr), other: (&str, u64, SocketAddr)) -> Vec<(&'static str, Vec<u8>)> {
    let stranger = ("x", 1, other.2);
    let node = |(name, generation, at): (&str, u64, SocketAddr)| Bytes::node(name, generation, at);
    let many: Vec<_> = (0..700).map(|n| (format!("n{n}"), 1, other.2, 1)).collect();
    // 64 KiB of zeros in 27 bytes: a frame of zstd with one run.
    let zeros = [0x28, 0xb5, 0x2f, 0xfd, 0x60, 0xff, 0xfe, 0x53, 0x00, 0x08];
    let mut bomb = Bytes::message(2);
    for _ in 0..2_000 {
        bomb = bomb.byte(1);
        bomb.0.extend(10_u16.to_le_bytes());
        bomb.0.extend(zeros);
    }
    vec![
        ("key beyond ASCII", Bytes::ack(&node(stranger).value("ärger", "x", 1))),
        ("version back", Bytes::ack(&node(stranger).value("k", "x", 100).byte(2).number(5))),
        ("own version at its end", Bytes::ack(&node(victim).value("load", "1", u64::MAX))),
        ("own facts", Bytes::ack(&node(victim).value("grpc", "127.0.0.1:1", 1_000))),
        ("heartbeat at its end", Bytes::syn(&[(other.0.to_owned(), other.1, other.2, u64::MAX)], "test")),
        ("another leaves", Bytes::ack(&node(other).value("st", "l", 1_000))),
        ("invented members", Bytes::syn(&many, "test")),
        ("bomb", bomb.0),
        ("empty question", Bytes::syn(&[], "test")),
        ("question of another cluster", Bytes::syn(&[], "other")),
        ("cut", Bytes::ack(&node(stranger))[..20].to_vec()),
    ]
}

fn aggregator(name: &str, seeds: &[SocketAddr], more: &[String]) -> Program {
    let seeds: Vec<String> = seeds.iter().map(|seed| format!("\"{seed}\"")).collect();
    let own = [
        format!("aggregator_id={name}"),
        "cluster=test".to_owned(),
        format!("seeds=[{}]", seeds.join(",")),
        "grpc_listen=127.0.0.1:0".to_owned(),
        "gossip_listen=127.0.0.1:0".to_owned(),
        "admin_listen=127.0.0.1:0".to_owned(),
        "state_dir={dir}/state".to_owned(),
        "requests.report=false".to_owned(),
    ];
    let settings: Vec<&str> = own.iter().chain(more).map(String::as_str).collect();
    Program::with_settings("starling-aggregator", &settings)
}

async fn listed(security: &Security, aggregator: &Program) -> Result<Vec<Aggregator>, String> {
    let channel = DIAL.connect(security, &aggregator.address("grpc").to_string()).await?;
    let answer = ClusterClient::new(channel).list_aggregators(ListAggregatorsRequest {}).await;
    Ok(answer.map_err(|status| status.to_string())?.into_inner().aggregators)
}

async fn both_ready(security: &Security, members: &[&Program]) {
    eventually("both are ready", async || {
        for member in members {
            let all = listed(security, member).await?;
            let ready = all.iter().filter(|one| one.state() == AggregatorState::Ready).count();
            if ready != members.len() {
                return Err(format!("{ready} are"));
            }
        }
        Ok(())
    })
    .await;
}

/// What must not change: who is there, in which life and state, and where.
async fn picture(security: &Security, member: &Program) -> Vec<(String, i32, u64, String, String)> {
    let all = listed(security, member).await.expect("it answers");
    all.into_iter()
        .map(|one| (one.aggregator_id, one.state, one.generation, one.grpc_address, one.gossip_address))
        .collect()
}

/// Between one member and another: hands datagrams on both ways, and records them.
async fn relay(target: SocketAddr) -> (SocketAddr, Arc<Mutex<Vec<Vec<u8>>>>) {
    let (front, back) = (
        UdpSocket::bind("127.0.0.1:0").await.expect("a socket of this host"),
        UdpSocket::bind("127.0.0.1:0").await.expect("a socket of this host"),
    );
    let (at, recorded) = (front.local_addr().expect("a socket of this host"), Arc::new(Mutex::new(Vec::new())));
    let record = recorded.clone();
    tokio::spawn(async move {
        let (mut question, mut answer) = (vec![0; 65_535], vec![0; 65_535]);
        let mut asker = None;
        loop {
            tokio::select! {
                Ok((length, from)) = front.recv_from(&mut question) => {
                    asker = Some(from);
                    record.lock().expect("no panic before").push(question[..length].to_vec());
                    let _ = back.send_to(&question[..length], target).await;
                }
                Ok((length, _)) = back.recv_from(&mut answer) => {
                    record.lock().expect("no panic before").push(answer[..length].to_vec());
                    if let Some(asker) = asker {
                        let _ = front.send_to(&answer[..length], asker).await;
                    }
                }
            }
        }
    });
    (at, recorded)
}

/// Sends `count` datagrams of every kind to both members and gives how many bytes came back.
async fn flood(members: [&Program; 2], kinds: &[Vec<u8>], count: usize) -> (usize, usize) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket of this host");
    let (mut sent, mut answered, mut answer) = (0, 0, vec![0; 65_535]);
    for n in 0..count {
        let kind = &kinds[n % kinds.len()];
        // A full queue of our own side is waited for, as a real sender's is.
        if socket.send_to(kind, members[n % 2].address("gossip")).await.is_ok() {
            sent += kind.len();
        }
        while let Ok((length, _)) = socket.try_recv_from(&mut answer) {
            answered += length;
        }
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    while let Ok((length, _)) = socket.try_recv_from(&mut answer) {
        answered += length;
    }
    (sent, answered)
}

async fn an_outsider_at_sealed_gossip(count: usize) {
    let issuer = Issuer::new("test");
    for (role, name) in [("aggregator", "agg-1"), ("aggregator", "agg-2"), ("operator", "ann")] {
        issuer.issue(role, name);
    }
    let ann = issuer.security("ann", Role::Operator);
    let one = aggregator("agg-1", &[], &issuer.settings("agg-1"));
    let (through, recorded) = relay(one.address("gossip")).await;
    let mut more = issuer.settings("agg-2");
    more.push(format!("join=[\"{}\"]", one.address("grpc")));
    let mut two = aggregator("agg-2", &[through], &more);
    both_ready(&ann, &[&one, &two]).await;
    let recorded: Vec<Vec<u8>> = recorded.lock().expect("no panic before").clone();
    assert!(recorded.len() >= 4 && recorded.iter().all(|datagram| datagram.len() <= 1_200), "{}", recorded.len());

    let all = listed(&ann, &one).await.expect("an answer");
    let of = |name: &str| {
        let found = all.iter().find(|one| one.aggregator_id == name).expect("it is listed");
        (found.generation, found.gossip_address.parse().expect("an address"))
    };
    let ((g1, at1), (g2, at2)) = (of("agg-1"), of("agg-2"));
    let mut kinds: Vec<Vec<u8>> =
        attacks(("agg-1", g1, at1), ("agg-2", g2, at2)).into_iter().map(|(_, packet)| packet).collect();
    // Recordings as they are (each goes to both members: one is their receiver, the other their sender), cut, and changed.
    for datagram in recorded.iter().rev().take(20) {
        kinds.push(datagram.clone());
        kinds.push(datagram[..datagram.len() - 1].to_vec());
        let mut changed = datagram.clone();
        changed[10] ^= 1;
        kinds.push(changed);
    }
    kinds.extend([Vec::new(), vec![1], vec![1; 61], (0..255).collect(), vec![0x53; 1_400]]);

    let before = (picture(&ann, &one).await, picture(&ann, &two).await);
    let (lines, costs) = ([&one, &two].map(|member| member.log().lines().count()), [&one, &two].map(Program::cost));
    let began = Instant::now();
    let (sent, answered) = flood([&one, &two], &kinds, count).await;
    let took = began.elapsed();
    for (at, member) in [&one, &two].into_iter().enumerate() {
        let (processor, resident) = member.cost();
        let share = (processor - costs[at].0).as_secs_f64() / took.as_secs_f64();
        let lines = member.log().lines().count() - lines[at];
        let grown = resident.saturating_sub(costs[at].1) / 1_024;
        println!(
            "{count} datagrams, {sent} bytes in {:.1} s: agg-{} {:.0} % of a core, RSS +{grown} KiB, {lines} lines, {answered} \
             bytes of answers",
            took.as_secs_f64(),
            at + 1,
            share * 100.0
        );
        assert!(lines < 12, "{lines} lines");
        assert!(grown < 48 * 1_024, "{grown} KiB");
    }
    assert_eq!(answered, 0, "an outsider was answered");
    assert_eq!(before, (picture(&ann, &one).await, picture(&ann, &two).await));
    let scrape = Scrape::of(one.address("admin")).await.expect("its metrics");
    assert!(scrape.sum("starling_aggregator_gossip_dropped_total") > count as f64 / 10.0);
    assert_eq!(scrape.sum("starling_aggregator_gossip_failures_total"), 0.0);

    // A receiver that has started again: recordings of its former life, and of one that is gone.
    two.kill();
    eventually("it is gone", async || {
        match picture(&ann, &one).await.iter().any(|one| one.1 == AggregatorState::Dead as i32) {
            true => Ok(()),
            false => Err("still there".to_owned()),
        }
    })
    .await;
    let (_, answered) = flood([&one, &one], &recorded, 2_000.min(count)).await;
    assert_eq!(answered, 0, "a recording was answered");
    let now = picture(&ann, &one).await;
    assert!(now.iter().any(|one| one.1 == AggregatorState::Dead as i32), "back from the dead: {now:?}");
    two.start_again();
    both_ready(&ann, &[&one, &two]).await;
    let before = picture(&ann, &two).await;
    let (sent, answered) = flood([&two, &two], &recorded, 2_000.min(count)).await;
    assert!(answered <= sent / 10, "{answered} bytes for {sent}");
    assert_eq!(before, picture(&ann, &two).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outsider_changes_nothing_of_sealed_gossip_and_is_not_answered() {
    an_outsider_at_sealed_gossip(20_000).await;
}

/// Figures: `cargo test --release -p starling-tests --test outsider -- --ignored --nocapture`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a million datagrams"]
async fn a_million_datagrams_of_an_outsider() {
    an_outsider_at_sealed_gossip(1_000_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_gossip_of_one_host_recovers_from_every_packet_that_ends_it() {
    let plain = Security::plain();
    let one = aggregator("agg-1", &[], &[]);
    let two = aggregator("agg-2", &[one.address("gossip")], &[]);
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    both_ready(&plain, &[&one, &two]).await;
    let count = attacks(("agg-1", 0, one.address("gossip")), ("agg-2", 0, two.address("gossip"))).len();
    for at in 0..count {
        let all = listed(&plain, &one).await.unwrap();
        let of = |name: &str| all.iter().find(|one| one.aggregator_id == name).map_or(0, |found| found.generation);
        let packets =
            attacks(("agg-1", of("agg-1"), one.address("gossip")), ("agg-2", of("agg-2"), two.address("gossip")));
        let (name, packet) = &packets[at];
        // What a poisoned heartbeat or a forged leave does to plain gossip lasts for that life of the member.
        if ["heartbeat at its end", "another leaves"].contains(name) {
            continue;
        }
        println!("{name}");
        let before = one.cost().0;
        socket.send_to(packet, one.address("gossip")).await.unwrap();
        tokio::time::sleep(Duration::from_millis(700)).await;
        both_ready(&plain, &[&one, &two]).await;
        eventually("it is ready and says so", async || match http_get(one.address("admin"), "/ready").await? {
            (200, _) => Ok(()),
            (status, text) => Err(format!("{status}: {text}")),
        })
        .await;
        let spent = one.cost().0 - before;
        assert!(spent < Duration::from_secs(8), "{name}: {spent:?} of processor");
    }
    assert!(one.log().lines().count() < 300, "{}", one.log());
}
