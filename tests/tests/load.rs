//! An application under load: what the dashboard shows is what the load generator counted.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use std::{
    collections::BTreeMap,
    process::Command,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{Router, extract::State, routing::get};
use starling_proto::{
    histogram::{Histogram, HistogramSum},
    v1::WatchClusterRequest,
};
use starling_service::requests::{Protocol, RequestMeter};
use starling_tests::{Cluster, Oracle, Program, eventually};

/// Seconds of load.
const SECONDS: u32 = 8;

/// An application that serves in 0 to 8 ms, measures itself by the OpenTelemetry SDK (exponential histograms), and
/// remembers every duration.
#[derive(Clone)]
struct App {
    meter: RequestMeter,
    durations: Arc<Mutex<Vec<u64>>>,
}

async fn serve(State(app): State<App>) -> &'static str {
    let began = Instant::now();
    let wait = rand::random_range(0..8u64);
    tokio::time::sleep(Duration::from_millis(wait)).await;
    let took = began.elapsed();
    app.meter.record(Protocol::Http1, took, false);
    app.durations.lock().unwrap().push(u64::try_from(took.as_nanos()).unwrap());
    "served\n"
}

/// Requests that wrk says were answered.
fn wrk(url: &str) -> u64 {
    let duration = format!("-d{SECONDS}s");
    let output = Command::new("wrk").args(["-t1", "-c16", &duration, url]).output();
    let output = output.expect("wrk is installed by `make tools`");
    let said = String::from_utf8(output.stdout).unwrap();
    // "  12345 requests in 8.01s, 1.62MB read"
    let line = said.lines().find(|line| line.contains(" requests in ")).unwrap_or_else(|| panic!("wrk said {said}"));
    line.trim().split(' ').next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_wrk_counted_is_what_is_shown() {
    let cluster = Cluster::start(1).await;
    let node = Program::daemon("app", &cluster.seeds(), &[]);
    let app = App { meter: RequestMeter::start(&node.url("otlp"), "load-test-app", "1"), durations: Arc::default() };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let router = Router::new().route("/", get(serve)).with_state(app.clone());
    let server = tokio::spawn(axum::serve(listener, router).into_future());

    let from_tick = Oracle::now();
    let counted = tokio::task::spawn_blocking(move || wrk(&url)).await.unwrap();
    let until = Oracle::now() + 8;
    server.abort();
    app.meter.shutdown().await;

    // Every second of the load, and those in which the last export arrives: on a busy machine an export covers more than a
    // second, and then it is counted over the seconds that follow.
    eventually("the last second is there", async || match cluster.view(0, 0).await {
        Ok(view) if view.tick >= until => Ok(()),
        other => Err(format!("{:?}", other.map(|view| view.tick))),
    })
    .await;
    let request = WatchClusterRequest { from_tick, include_histograms: true, ..Default::default() };
    let mut views = cluster.query(0).await.watch_cluster(request).await.unwrap().into_inner();
    // A second that changed after it was sent is sent again: the last view of it counts.
    let mut seconds = BTreeMap::new();
    loop {
        let view = views.message().await.unwrap().expect("the stream goes on");
        let tick = view.tick;
        seconds.insert(tick, view);
        if tick >= until {
            break;
        }
    }
    let (mut shown, mut merged, mut error_ppm) = (0.0, HistogramSum::new(), 0);
    for protocol in seconds
        .values()
        .filter_map(|view| view.sections.as_ref()?.traffic.as_ref())
        .flat_map(|traffic| &traffic.protocols)
        .filter(|protocol| protocol.protocol == "http1")
    {
        shown += protocol.requests_per_second();
        if let Some(latency) = &protocol.latency {
            merged.add(&Histogram::decode(&latency.histogram).unwrap()).unwrap();
            error_ppm = error_ppm.max(latency.error_bound_ppm);
        }
    }
    // wrk does not count the requests it cuts off at the end: at most one a connection.
    assert!(counted > 1_000, "wrk counted {counted}");
    assert!((shown / counted as f64 - 1.0).abs() < 0.02, "shown {shown}, wrk counted {counted}");

    let mut exact = std::mem::take(&mut *app.durations.lock().unwrap());
    exact.sort_unstable();
    assert_eq!(shown, exact.len() as f64, "the application served and what is shown");
    let bound = f64::from(error_ppm) / 1e6;
    // The SDK has 160 buckets for all from the fastest to the slowest: at scale 3 its bound is 9 %, which is what it takes when a
    // busy machine makes a request wait for a second.
    assert!(bound < 0.1, "exponential histograms keep the error small, stated is {bound}");
    let merged = merged.to_histogram();
    for q in [0.5, 0.95, 0.99] {
        let wanted = exact[((q * exact.len() as f64).ceil() as usize).max(1) - 1] as f64;
        let answer = merged.quantile(q).unwrap() as f64;
        println!("p{}: shown {answer} ns, exact {wanted} ns, bound {bound}", q * 100.0);
        assert!(
            (answer / wanted - 1.0).abs() <= bound,
            "p{}: shown {answer}, exact {wanted}, bound {bound}",
            q * 100.0
        );
    }
}
