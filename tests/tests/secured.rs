//! A cluster whose programs speak by mutual TLS, as `starling ca` makes its certificates: real processes.

use std::{path::Path, time::Duration};

use futures_util::StreamExt as _;
use starling_proto::v1::{AggregatorState, GetClusterRequest, ListAggregatorsRequest, WatchClusterRequest};
use starling_service::{
    channel::Dial,
    credentials::Security,
    grpc::{
        cluster_client::ClusterClient, ingest_client::IngestClient, peer_client::PeerClient, query_client::QueryClient,
    },
    identity::Role,
};
use starling_testkit::eventually;
use starling_tests::{Issuer, LIMIT, Launch, Program, aggregator, binary};
use tonic::Code;

const DIAL: Dial = Dial::within(Duration::from_secs(5));

fn daemon(issuer: &Issuer, name: &str, aggregators: &[String]) -> Program {
    issuer.issue("node", name);
    let settings = issuer.settings(name);
    Program::daemon("some-other-name", aggregators, &settings.iter().map(String::as_str).collect::<Vec<_>>())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_by_mutual_tls_counts_its_nodes_and_shows_them() {
    let issuer = Issuer::new("test");
    let one = aggregator(&issuer, "agg-1", &[], &[]);
    let two = aggregator(&issuer, "agg-2", &[one.address("gossip").to_string()], &[]);
    let seeds = vec![one.address("grpc").to_string(), two.address("grpc").to_string()];
    let _daemons = [daemon(&issuer, "web-1", &seeds), daemon(&issuer, "web-2", &seeds)];
    issuer.issue("dashboard", "page");
    let mut settings = vec!["listen=127.0.0.1:0".to_owned(), format!("aggregators=[\"{}\"]", seeds[1])];
    settings.extend(issuer.settings("page"));
    let page = Program::with_settings("starling-dashboard", &settings.iter().map(String::as_str).collect::<Vec<_>>());

    issuer.issue("operator", "ann");
    let ann = issuer.security("ann", Role::Operator);
    for seed in &seeds {
        eventually("both nodes at every aggregator, by the names in their certificates", async || {
            let channel = DIAL.connect(&ann, seed).await?;
            let view = QueryClient::new(channel).get_cluster(GetClusterRequest::default()).await;
            let view = view.map_err(|status| status.to_string())?.into_inner();
            match view.completeness {
                Some(all) if all.nodes_reporting == Some(2) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }
    eventually("the dashboard is ready", async || {
        let answer = reqwest::get(format!("{}/ready", page.url("http"))).await.map_err(|error| error.to_string())?;
        if answer.status().is_success() { Ok(()) } else { Err(answer.text().await.unwrap_or_default()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_does_its_own_and_nothing_else() {
    let issuer = Issuer::new("test");
    let tokens = Path::new(&issuer.path("tokens")).to_owned();
    std::fs::write(&tokens, "ann 0123456789abcdefghijklmnop\n").unwrap();
    std::process::Command::new("chmod").arg("600").arg(&tokens).status().unwrap();
    let one = aggregator(&issuer, "agg-1", &[], &[format!("operator_tokens={}", tokens.display())]);
    let address = one.address("grpc").to_string();
    for (role, name) in [("node", "web-1"), ("operator", "ann"), ("dashboard", "page"), ("aggregator", "agg-9")] {
        issuer.issue(role, name);
    }
    for (role, name, may) in [
        (Role::Node, "web-1", [true, false, false]),
        (Role::Operator, "ann", [false, true, false]),
        (Role::Dashboard, "page", [false, true, false]),
        (Role::Aggregator, "agg-9", [false, true, true]),
    ] {
        let channel = DIAL.connect(&issuer.security(name, role), &address).await.unwrap();
        let ingest = IngestClient::new(channel.clone())
            .stream(futures_util::stream::empty())
            .await
            .err()
            .map(|status| status.code());
        let query = ClusterClient::new(channel.clone()).list_aggregators(ListAggregatorsRequest {}).await;
        let query = query.err().map(|status| status.code());
        let peer = PeerClient::new(channel).sync(futures_util::stream::empty()).await.err().map(|status| status.code());
        for (code, may) in [ingest, query, peer].into_iter().zip(may) {
            assert_eq!(code != Some(Code::PermissionDenied), may, "{role} {name}: {code:?}");
        }
    }
    // A node under the name of another.
    issuer.issue("node", "web-2");
    let channel = DIAL.connect(&issuer.security("web-2", Role::Node), &address).await.unwrap();
    let hello = starling_proto::v1::Hello {
        node_id: "web-1".to_owned(),
        stream_id: vec![7; 16].into(),
        session: 1,
        ..Default::default()
    };
    let body = Some(starling_proto::v1::ingest_request::Body::Hello(hello));
    let request = futures_util::stream::iter([starling_proto::v1::IngestRequest { body }]);
    let refused = IngestClient::new(channel).stream(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert!(refused.message().contains("web-1 is not its name: its certificate is that of node web-2"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_of_the_cluster_is_refused_with_the_reason() {
    let (issuer, stranger, other) = (Issuer::new("test"), Issuer::new("test"), Issuer::new("other"));
    let revoked = issuer.path("revoked");
    std::fs::write(&revoked, "").unwrap();
    let one = aggregator(&issuer, "agg-1", &[], &[format!("tls.revoked={revoked}")]);
    let address = one.address("grpc").to_string();
    let ask = async |security: Security| -> Result<(), String> {
        let channel = DIAL.connect(&security, &address).await?;
        let answer = ClusterClient::new(channel).list_aggregators(ListAggregatorsRequest {}).await;
        answer.map(drop).map_err(|status| status.to_string())
    };
    // Another authority under the same name: neither side takes the other.
    stranger.issue("operator", "eve");
    let error = ask(stranger.security("eve", Role::Operator)).await.unwrap_err();
    assert!(error.contains("not of this cluster's authority"), "{error}");
    // That authority's certificate with trust in ours: refused by the aggregator.
    let of_both = [stranger.path("ca"), issuer.path("ca")]
        .map(|folder| std::fs::read_to_string(Path::new(&folder).join("ca.pem")).unwrap())
        .concat();
    std::fs::write(Path::new(&stranger.path("eve")).join("ca.pem"), of_both).unwrap();
    ask(stranger.security("eve", Role::Operator)).await.unwrap_err();
    // Another cluster.
    other.issue("operator", "eve");
    let of_both = [other.path("ca"), issuer.path("ca")]
        .map(|folder| std::fs::read_to_string(Path::new(&folder).join("ca.pem")).unwrap())
        .concat();
    std::fs::write(Path::new(&other.path("eve")).join("ca.pem"), of_both).unwrap();
    let error = ask(other.security("eve", Role::Operator)).await.unwrap_err();
    assert!(error.contains("is of spiffe://test/aggregator/agg-1, wanted is one of \"other\""), "{error}");
    // Plain text on the port of TLS.
    ask(Security::plain()).await.unwrap_err();
    // Revoked while it runs.
    issuer.issue("operator", "bob");
    ask(issuer.security("bob", Role::Operator)).await.unwrap();
    let channel = DIAL.connect(&issuer.security("bob", Role::Operator), &address).await.unwrap();
    let watched = QueryClient::new(channel).watch_cluster(WatchClusterRequest::default()).await.unwrap().into_inner();
    std::fs::write(&revoked, "operator bob\n").unwrap();
    eventually("bob is refused", async || match ask(issuer.security("bob", Role::Operator)).await {
        Ok(()) => Err("he is still taken".to_owned()),
        Err(_) => Ok(()),
    })
    .await;
    // What he had open ends too.
    let ended = tokio::time::timeout(LIMIT, watched.take_while(|view| std::future::ready(view.is_ok())).count()).await;
    ended.expect("his stream is cut");
    issuer.issue("operator", "ann");
    ask(issuer.security("ann", Role::Operator)).await.unwrap();
    for reason in
        ["none of the trusted authorities has signed it", "does not speak TLS here", "operator bob is revoked"]
    {
        // Whoever is refused hears of it before the line is written.
        eventually(reason, async || {
            let log = one.log();
            if log.contains(reason) { Ok(()) } else { Err(log) }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_is_taken_up_and_a_wrong_one_is_not() {
    let issuer = Issuer::new("test");
    let one = aggregator(&issuer, "agg-1", &[], &[]);
    let address = one.address("grpc").to_string();
    issuer.issue("operator", "ann");
    let ask = async || -> Result<(), String> {
        let channel = DIAL.connect(&issuer.security("ann", Role::Operator), &address).await?;
        let answer = ClusterClient::new(channel).list_aggregators(ListAggregatorsRequest {}).await;
        answer.map(drop).map_err(|status| status.to_string())
    };
    ask().await.unwrap();
    // A key that does not fit: what is in use stays.
    let folder = Path::new(&issuer.path("agg-1")).to_owned();
    let key = std::fs::read(folder.join("key.pem")).unwrap();
    std::fs::copy(Path::new(&issuer.path("ann")).join("key.pem"), folder.join("key.pem")).unwrap();
    eventually("the wrong key is named", async || {
        let log = one.log();
        if log.contains("is not the key of the certificate") { Ok(()) } else { Err(log) }
    })
    .await;
    ask().await.unwrap();
    std::fs::write(folder.join("key.pem"), key).unwrap();
    // A pair that fits, of another name: the others know this one by the name that it has.
    let other = Path::new(&issuer.path("other")).to_owned();
    issuer.run(&["issue", "aggregator", "agg-9", "--dir", &issuer.path("ca"), "--out", &issuer.path("other")]);
    for file in ["certificate.pem", "key.pem"] {
        std::fs::copy(other.join(file), folder.join(file)).unwrap();
    }
    eventually("another name takes a restart", async || {
        let log = one.log();
        let said = "is that of spiffe://test/aggregator/agg-9, and this runs as spiffe://test/aggregator/agg-1";
        if log.contains(said) { Ok(()) } else { Err(log) }
    })
    .await;
    ask().await.unwrap();
    issuer.issue("aggregator", "agg-1");
    eventually("the new certificate is taken up", async || {
        let log = one.log();
        if log.contains("certificate taken up") { Ok(()) } else { Err(log) }
    })
    .await;
    ask().await.unwrap();
}

/// Questions that came to a name server that answers none.
fn asked(server: &std::net::UdpSocket) -> usize {
    std::iter::from_fn(|| server.recv_from(&mut [0; 512]).ok()).count()
}

/// One that the name server does not answer would hold up everybody who comes from there; and a name is no identity.
#[tokio::test(flavor = "multi_thread")]
async fn where_a_connection_comes_from_is_looked_up_nowhere() {
    let issuer = Issuer::new("test");
    issuer.issue("aggregator", "agg-1");
    issuer.issue("operator", "ann");
    let resolv = issuer.path("resolv.conf");
    std::fs::write(&resolv, "nameserver 127.9.9.53\n").unwrap();
    let script = |then: &str| format!("mount --bind {resolv} /etc/resolv.conf && exec {then}");
    let Ok(server) = std::net::UdpSocket::bind("127.9.9.53:53") else {
        eprintln!("left out: who runs this may not be a name server");
        return;
    };
    server.set_nonblocking(true).unwrap();
    // That such a question would be seen.
    let look = script("timeout 1 getent hosts 127.9.9.9");
    let looked = std::process::Command::new("unshare").args(["--mount", "sh", "-c", &look]).output();
    if looked.is_err() || asked(&server) == 0 {
        eprintln!("left out: no question of a program that looks names up is seen here");
        return;
    }
    let settings = ["cluster=test", "grpc_listen=127.0.0.1:0", "gossip_listen=127.0.0.1:0", "admin_listen=127.0.0.1:0"];
    let settings = settings.iter().map(|&one| one.to_owned()).chain(["state_dir={dir}/state".to_owned()]);
    let flags = settings.chain(issuer.settings("agg-1")).flat_map(|setting| ["--set".to_owned(), setting]);
    let program = binary("starling-aggregator").display().to_string();
    let begun = ["--mount", "sh", "-c", &script("\"$0\" \"$@\""), &program].map(str::to_owned);
    let launch = Launch {
        path: "/usr/bin/unshare".into(),
        arguments: begun.into_iter().chain(flags).collect(),
        user: None,
        lines: None,
    };
    let one = Program::launch(launch);
    let before = asked(&server);
    let from = async || {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.9.9.9:0".parse().unwrap()).unwrap();
        socket.connect(one.address("grpc")).await.unwrap()
    };
    let ann = issuer.security("ann", Role::Operator);
    let connector = tokio_rustls::TlsConnector::from(ann.credentials().unwrap().client());
    for _ in 0..100 {
        connector.connect("aggregator.starling".try_into().unwrap(), from().await).await.unwrap();
    }
    // And one that the log names, by its address.
    let mut odd = from().await;
    tokio::io::AsyncWriteExt::write_all(&mut odd, b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    eventually("the odd one is logged", async || {
        let log = one.log();
        if log.contains("127.9.9.9") { Ok(()) } else { Err(log) }
    })
    .await;
    assert_eq!((before, asked(&server)), (0, 0), "questions before and after");
}

/// Who is ready, as one aggregator says.
async fn ready(issuer: &Issuer, aggregator: &Program) -> Result<usize, String> {
    issuer.issue("operator", "ann");
    let channel =
        DIAL.connect(&issuer.security("ann", Role::Operator), &aggregator.address("grpc").to_string()).await?;
    let answer = ClusterClient::new(channel).list_aggregators(ListAggregatorsRequest {}).await;
    let all = answer.map_err(|status| status.to_string())?.into_inner().aggregators;
    Ok(all.iter().filter(|listed| listed.state() == AggregatorState::Ready).count())
}

#[tokio::test(flavor = "multi_thread")]
async fn gossip_is_for_those_who_have_a_key_and_its_keys_change_without_a_gap() {
    let issuer = Issuer::new("test");
    let one = aggregator(&issuer, "agg-1", &[], &[]);
    let gossip = one.address("gossip");
    let two = aggregator(&issuer, "agg-2", &[gossip.to_string()], &[]);
    eventually("two are ready", async || match ready(&issuer, &one).await? {
        2 => Ok(()),
        found => Err(format!("{found}")),
    })
    .await;

    // Who has no key, or another, is no member and gets no answer: plain gossip, junk, one datagram of another ring.
    let other = Issuer::new("test");
    let stranger = aggregator(&other, "agg-3", &[gossip.to_string()], &[]);
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for length in (0..2_000_usize).map(|n| n % 1_400) {
        socket.send_to(&vec![u8::try_from(length % 251).unwrap(); length], gossip).await.unwrap();
    }
    let mut answer = [0; 2_048];
    let answered = tokio::time::timeout(Duration::from_secs(2), socket.recv_from(&mut answer)).await;
    assert!(answered.is_err(), "an outsider was answered");
    let metrics = reqwest::get(format!("{}/metrics", one.url("admin"))).await.unwrap().text().await.unwrap();
    for reason in ["not_sealed", "unknown_key"] {
        let line = format!("starling_aggregator_gossip_dropped_total{{reason=\"{reason}\"}}");
        assert!(metrics.contains(&line), "{line}");
    }
    assert_eq!(ready(&issuer, &one).await, Ok(2));
    drop(stranger);

    // A key is installed, used, and the former retired, at one after the other.
    let ring = |name: &str| Path::new(&issuer.path(name)).join("gossip.keyring");
    let old = std::fs::read_to_string(ring("agg-1")).unwrap();
    let (old, new) = (old.lines().last().unwrap().to_owned(), "5a".repeat(32));
    for keys in [[old.as_str(), &new].join("\n"), [&new, old.as_str()].join("\n"), new.clone()] {
        for (name, aggregator) in [("agg-1", &one), ("agg-2", &two)] {
            let before = aggregator.log().matches("keys of gossip").count();
            std::fs::write(ring(name), &keys).unwrap();
            eventually("the keys are taken up", async || {
                if aggregator.log().matches("keys of gossip").count() > before { Ok(()) } else { Err(aggregator.log()) }
            })
            .await;
            assert_eq!(ready(&issuer, &one).await, Ok(2));
        }
    }
    assert!(!one.log().contains("membership changed members=[\"agg-1\"]"), "{}", one.log());
}
