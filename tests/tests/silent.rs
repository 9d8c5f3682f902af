//! Connections that only take a place: silent ones, and those that never end the first line of a request.

use std::{io::Write as _, net::TcpStream, time::Duration};

use starling_proto::v1::ListAggregatorsRequest;
use starling_service::grpc::cluster_client::ClusterClient;
use starling_testkit::eventually;
use starling_tests::{Cost, Launch, Program, binary};

/// Descriptors that the program may have; an aggregator uses some fifty.
const DESCRIPTORS: usize = 200;
/// More connections than that.
const CONNECTIONS: usize = 400;

#[tokio::test(flavor = "multi_thread")]
async fn a_program_without_descriptors_left_serves_the_honest_and_does_not_spin() {
    let settings = [
        "grpc_listen=127.0.0.1:0",
        "gossip_listen=127.0.0.1:0",
        "admin_listen=127.0.0.1:0",
        "state_dir={dir}/state",
        "requests.report=false",
    ];
    let mut arguments = vec![format!("--nofile={DESCRIPTORS}"), binary("starling-aggregator").display().to_string()];
    arguments.extend(settings.iter().flat_map(|setting| ["--set".to_owned(), (*setting).to_owned()]));
    let program = Program::launch(Launch { path: "/usr/bin/prlimit".into(), arguments, user: None, lines: None });
    let ask = async || -> Result<(), String> {
        let within = Duration::from_secs(3);
        let asked = async {
            let mut client = ClusterClient::connect(program.url("grpc")).await.map_err(|error| error.to_string())?;
            client.list_aggregators(ListAggregatorsRequest {}).await.map_err(|status| status.to_string())
        };
        tokio::time::timeout(within, asked).await.map_err(|_| "no answer in 3 s".to_owned())?.map(drop)
    };
    eventually("it answers", &ask).await;
    let (grpc, admin) = (program.address("grpc"), program.address("admin"));
    // They stay open on our side for as long as the test runs.
    let silent: Vec<TcpStream> = (0..CONNECTIONS).filter_map(|_| TcpStream::connect(grpc).ok()).collect();
    assert!(silent.len() > DESCRIPTORS, "{}", silent.len());
    let before = Cost::of(program.id()).unwrap();
    for _ in 0..5 {
        eventually("an honest client is answered", &ask).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let cost = Cost::of(program.id()).unwrap().processor - before.processor;
    assert!(cost < Duration::from_secs(2), "{cost:?} of processor time in 5 s");
    // Those that begin a request and do not go on.
    let dribbling: Vec<TcpStream> = (0..20)
        .filter_map(|_| {
            let mut stream = TcpStream::connect(admin).ok()?;
            stream.write_all(b"GET /me").ok()?;
            Some(stream)
        })
        .collect();
    let metrics = async || {
        let answer =
            reqwest::get(format!("{}/metrics", program.url("admin"))).await.map_err(|error| error.to_string())?;
        answer.text().await.map_err(|error| error.to_string())
    };
    eventually("those that are silent and those that dribble are gone", async || {
        let text = metrics().await?;
        let open = text.lines().find_map(|line| line.strip_prefix("starling_connections_open ")).unwrap_or("none");
        let open: f64 = open.parse().map_err(|_| format!("{open:?} connections"))?;
        if open <= 3.0 { Ok(()) } else { Err(format!("{open} connections are open")) }
    })
    .await;
    let text = metrics().await.unwrap();
    for name in ["starling_connections_refused_total{reason=\"evicted\"}", "starling_accepts_failed_total"] {
        let count = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("");
        assert!(count.trim().parse::<u64>().is_ok_and(|count| count > 0), "{name}: {count:?}");
    }
    drop((silent, dribbling));
}
