//! Connections that only take a place: silent ones, and those that never end the first line of a request.

use std::{
    io::Write as _,
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, metrics_service_client::MetricsServiceClient,
};
use starling_proto::v1::ListAggregatorsRequest;
use starling_service::{channel::Dial, credentials::Security, grpc::cluster_client::ClusterClient, identity::Role};
use starling_testkit::eventually;
use starling_tests::{Cost, Issuer, Launch, Program, Scrape, aggregator, binary, http_get};

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

/// Silent connections at one listener.
const CROWD: usize = 10_000;

/// How an honest client asks a listener, each time by a new connection.
enum Ask {
    Cluster(Security),
    Otlp,
    Page(&'static str),
}

impl Ask {
    /// How long it took.
    async fn once(&self, at: SocketAddr) -> Result<Duration, String> {
        let began = Instant::now();
        match self {
            Self::Cluster(security) => {
                let channel = Dial::within(Duration::from_secs(5)).connect(security, &at.to_string()).await?;
                let answer = ClusterClient::new(channel).list_aggregators(ListAggregatorsRequest {}).await;
                answer.map_err(|status| status.to_string())?;
            }
            Self::Otlp => {
                let client = MetricsServiceClient::connect(format!("http://{at}")).await;
                let answer = client.map_err(|e| e.to_string())?.export(ExportMetricsServiceRequest::default()).await;
                answer.map_err(|status| status.to_string())?;
            }
            Self::Page(path) => {
                http_get(at, path).await?;
            }
        }
        Ok(began.elapsed())
    }

    /// Of forty times the slowest but one, and the median.
    async fn times(&self, at: SocketAddr, what: &str) -> (Duration, Duration) {
        let mut all = Vec::new();
        for _ in 0..40 {
            all.push(self.once(at).await.unwrap_or_else(|error| panic!("{what}: {error}")));
        }
        all.sort();
        (all[38], all[20])
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_silent_connections_at_any_listener_are_in_nobody_s_way() {
    let issuer = Issuer::new("test");
    issuer.issue("operator", "ann");
    issuer.issue("node", "web-1");
    issuer.issue("dashboard", "page");
    let ann = issuer.security("ann", Role::Operator);
    let one = aggregator(&issuer, "agg-1", &[], &["requests.report=false".to_owned()]);
    let seeds = vec![one.address("grpc").to_string()];
    let settings = issuer.settings("web-1");
    let node = Program::daemon("web-1", &seeds, &settings.iter().map(String::as_str).collect::<Vec<_>>());
    let mut settings = vec!["listen=127.0.0.1:0".to_owned(), format!("aggregators=[\"{}\"]", seeds[0])];
    settings.extend(issuer.settings("page"));
    let page = Program::with_settings("starling-dashboard", &settings.iter().map(String::as_str).collect::<Vec<_>>());
    for (program, listener, ask) in [
        (&one, "grpc", Ask::Cluster(ann)),
        (&one, "admin", Ask::Page("/live")),
        (&node, "otlp", Ask::Otlp),
        (&node, "otlp_http", Ask::Page("/")),
        (&node, "admin", Ask::Page("/live")),
        (&page, "http", Ask::Page("/live")),
    ] {
        let (at, what) = (program.address(listener), listener);
        eventually("it answers", async || ask.once(at).await.map(drop)).await;
        let alone = ask.times(at, what).await;
        let (cost, lines, began) = (program.cost(), program.log().lines().count(), Instant::now());
        // They stay open on our side.
        let crowd: Vec<TcpStream> = (0..CROWD).filter_map(|_| TcpStream::connect(at).ok()).collect();
        assert!(crowd.len() > CROWD * 9 / 10, "{}", crowd.len());
        let beside = ask.times(at, what).await;
        tokio::time::sleep(Duration::from_secs(7).saturating_sub(began.elapsed())).await;
        let (took, after) = (began.elapsed(), program.cost());
        let share = (after.0 - cost.0).as_secs_f64() / took.as_secs_f64();
        let (grown, lines) = (after.1.saturating_sub(cost.1) >> 10, program.log().lines().count() - lines);
        println!(
            "{listener}: alone {alone:?}, beside {CROWD} silent ones {beside:?}, {:.0} % of a core in {took:.1?}, RSS +{grown} KiB, \
             {lines} lines",
            share * 100.0
        );
        assert!(beside.0 < Duration::from_millis(500) + 3 * alone.0, "{listener}: {beside:?}, alone {alone:?}");
        assert!(grown < 64 << 10 && lines < 15, "{listener}: {grown} KiB, {lines} lines");
        drop(crowd);
        eventually("they are gone", async || {
            let scrape = Scrape::of(program.address(if listener == "http" { "http" } else { "admin" })).await?;
            let open = scrape.sum("starling_connections_open");
            if open < 64.0 { Ok(()) } else { Err(format!("{open} are open")) }
        })
        .await;
    }
}
