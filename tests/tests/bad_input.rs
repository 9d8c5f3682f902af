//! What does not belong: each gets a clear message, and everything else goes on.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use opentelemetry_proto::tonic::{
    collector::metrics::v1::{ExportMetricsServiceRequest, metrics_service_client::MetricsServiceClient},
    metrics::v1::{
        AggregationTemporality, Histogram, HistogramDataPoint, Metric, ResourceMetrics, ScopeMetrics, metric,
    },
};
use starling_proto::{
    ids::StreamId,
    limits,
    v1::{
        Frame, GetClusterRequest, GetNodeRequest, Hello, IngestRequest, RefusalReason, ingest_request, ingest_response,
    },
};
use starling_service::grpc::{ingest_client::IngestClient, query_client::QueryClient};
use starling_tests::{Cluster, LIMIT, Oracle, Program, eventually};
use tonic::Code;

fn said(program: &str, arguments: &[&str]) -> String {
    let (code, stderr) = Program::run_to_end(program, arguments);
    assert!(code.is_some_and(|code| code != 0), "{program} {arguments:?} ended with {code:?}: {stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    stderr
}

#[test]
fn an_unknown_key_is_named_by_every_program() {
    for program in ["starling-node", "starling-aggregator", "starling-dashboard"] {
        let stderr = said(program, &["--set", "nonsense=1", "--check-config"]);
        assert!(stderr.contains("nonsense"), "{program}: {stderr}");
        let (code, stderr) = Program::run_to_end(program, &["--check-config"]);
        assert_eq!(code, Some(0), "{program}: {stderr}");
    }
}

#[test]
fn all_mistakes_of_a_file_are_reported_at_once() {
    let file = tempfile::NamedTempFile::with_suffix(".toml").unwrap();
    std::fs::write(file.path(), "grpc_listen = '0.0.0.0:7400'\ncopies = 9\nseeds = ['nowhere']\n").unwrap();
    let stderr = said("starling-aggregator", &["--config", &file.path().display().to_string()]);
    for part in ["grpc_listen", "without TLS", "copies", "seeds", "host:port"] {
        assert!(stderr.contains(part), "{part} is not in {stderr}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_taken_port_is_named_with_the_next_step() {
    let cluster = Cluster::start(1).await;
    let taken = format!("grpc_listen={}", cluster.aggregators[0].address("grpc"));
    let directory = tempfile::tempdir().unwrap();
    let settings = [taken, "gossip_listen=127.0.0.1:0".to_owned(), format!("state_dir={}", directory.path().display())];
    let arguments: Vec<String> = settings.into_iter().flat_map(|setting| ["--set".to_owned(), setting]).collect();
    let stderr = tokio::task::spawn_blocking(move || {
        said("starling-aggregator", &arguments.iter().map(String::as_str).collect::<Vec<_>>())
    })
    .await
    .unwrap();
    assert!(stderr.contains("grpc_listen") && stderr.contains("another port"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_an_aggregator_says_so_and_loses_nothing() {
    // A port that is free now; should another program take it, the start of the aggregator says so.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut node = Program::daemon("lonely", &[address.to_string()], &[]);
    let admin = node.url("admin");
    let get = async |path: &str| {
        let answer = reqwest::get(format!("{admin}{path}")).await.map_err(|e| e.to_string())?;
        Ok::<_, String>((answer.status().as_u16(), answer.text().await.map_err(|e| e.to_string())?))
    };
    let first = Oracle::now() + 1;
    eventually("it says what it waits for", async || {
        let (status, text) = get("/ready").await?;
        let waits = status == 503 && text.contains("aggregator") && Oracle::now() > first + 3;
        if waits { Ok(()) } else { Err(format!("{status} {text}")) }
    })
    .await;
    assert_eq!(get("/live").await.unwrap().0, 200);

    // An aggregator appears where the node looks: every second since the first is there.
    let appeared = Oracle::now();
    let settings = [
        "aggregator_id=late".to_owned(),
        format!("grpc_listen={address}"),
        "gossip_listen=127.0.0.1:0".to_owned(),
        "admin_listen=127.0.0.1:0".to_owned(),
        "state_dir={dir}/state".to_owned(),
    ];
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let aggregator = Program::with_settings("starling-aggregator", &settings);
    let mut query = QueryClient::connect(aggregator.url("grpc")).await.unwrap();
    for tick in first..=appeared + 1 {
        eventually("the second is there", async || {
            let view = query.get_cluster(GetClusterRequest { tick, ..Default::default() }).await;
            let view = view.map_err(|status| status.to_string())?.into_inner();
            let reporting = view.completeness.unwrap_or_default().nodes_reporting();
            if reporting == 1 { Ok(()) } else { Err(format!("{reporting} nodes at {tick}")) }
        })
        .await;
    }
    eventually("it says that it is ready", async || match get("/ready").await? {
        (200, _) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    assert_eq!(node.stop().await, Some(0));
}

/// Opens a stream as a node would, sends what no node would, and gives the answers up to the first refusal.
async fn talk(
    cluster: &Cluster,
    messages: Vec<ingest_request::Body>,
) -> Result<Vec<ingest_response::Body>, tonic::Status> {
    let mut client = IngestClient::connect(cluster.aggregators[0].url("grpc")).await.unwrap();
    let (sender, receiver) = tokio::sync::mpsc::channel(16);
    for body in messages {
        sender.send(IngestRequest { body: Some(body) }).await.unwrap();
    }
    let mut answers = client.stream(tokio_stream(receiver)).await?.into_inner();
    let mut seen = Vec::new();
    while !matches!(seen.last(), Some(ingest_response::Body::Refusal(_))) {
        let next = tokio::time::timeout(LIMIT, answers.message()).await;
        match next.unwrap_or_else(|_| panic!("neither refused nor ended: {seen:?}"))? {
            Some(message) => seen.extend(message.body),
            None => break,
        }
    }
    drop(sender);
    Ok(seen)
}

fn tokio_stream<T: Send + 'static>(
    receiver: tokio::sync::mpsc::Receiver<T>,
) -> impl futures_util::Stream<Item = T> + Send {
    futures_util::stream::unfold(receiver, |mut receiver| async { receiver.recv().await.map(|item| (item, receiver)) })
}

fn hello(node_id: &str) -> ingest_request::Body {
    ingest_request::Body::Hello(Hello {
        node_id: node_id.to_owned(),
        stream_id: StreamId::random().to_bytes(),
        session: 1,
        version: "0".to_owned(),
        ..Default::default()
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_on_a_stream_is_refused_and_others_go_on() {
    let cluster = Cluster::start(1).await;
    let mut oracle = Oracle::start(1, &cluster.seeds(), 3);

    let status = talk(&cluster, vec![hello("Not A Name!")]).await.expect_err("a bad name is refused");
    assert!(status.code() == Code::InvalidArgument && status.message().contains("node_id"), "{status}");

    let frame =
        Frame { tick: Oracle::now(), sequence: 1, keyframe: true, rollup: vec![0xff; 40].into(), ..Default::default() };
    let answers = talk(&cluster, vec![hello("garbage"), ingest_request::Body::Frame(frame)]).await.unwrap();
    let refusal = answers.iter().find_map(|body| match body {
        ingest_response::Body::Refusal(refusal) => Some(refusal),
        _ => None,
    });
    let refusal = refusal.unwrap_or_else(|| panic!("no refusal in {answers:?}"));
    assert_eq!(refusal.reason(), RefusalReason::Invalid);
    assert!(refusal.detail.contains("rollup part"), "{refusal:?}");

    let huge = Frame {
        tick: Oracle::now(),
        sequence: 1,
        node: vec![0; limits::MESSAGE_BYTES_MAX + 1].into(),
        ..Default::default()
    };
    let status = talk(&cluster, vec![hello("huge"), ingest_request::Body::Frame(huge)]).await.expect_err("too large");
    assert!(status.code() == Code::ResourceExhausted && status.message().contains("262144"), "{status}");

    let old = Frame {
        tick: Oracle::now() - 5000,
        sequence: 1,
        keyframe: true,
        rollup: vec![0, 0, 0, 0].into(),
        node: vec![0, 0, 0, 0].into(),
        ..Default::default()
    };
    let answers = talk(&cluster, vec![hello("late"), ingest_request::Body::Frame(old)]).await.unwrap();
    assert!(
        answers
            .iter()
            .any(|body| matches!(body, ingest_response::Body::Refusal(r) if r.reason() == RefusalReason::TooLate)),
        "{answers:?}"
    );

    for _ in 0..3 {
        oracle.cut().await;
    }
    eventually("the good node is counted", async || match oracle.outstanding() {
        (0, 0) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn questions_that_make_no_sense_say_which_field() {
    let cluster = Cluster::start(1).await;
    let mut oracle = Oracle::start(1, &cluster.seeds(), 4);
    oracle.cut().await;
    let mut query = cluster.query(0).await;
    let ask = |group: &str, tick| GetClusterRequest { group: group.to_owned(), tick, ..Default::default() };
    let status = query.get_cluster(ask("no-colon", 0)).await.unwrap_err();
    assert!(status.code() == Code::InvalidArgument && status.message().contains("group"), "{status}");
    let status = query.get_cluster(ask("", 5)).await.unwrap_err();
    assert!(status.code() == Code::OutOfRange && status.message().contains("tick"), "{status}");
    let status =
        query.get_node(GetNodeRequest { node_id: "nobody".to_owned(), ..Default::default() }).await.unwrap_err();
    assert!(status.code() == Code::NotFound && status.message().contains("nobody"), "{status}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_otlp_is_refused_in_words_and_the_receiver_goes_on() {
    let node = Program::daemon("receiver", &["127.0.0.1:1".to_owned()], &[]);
    let mut receiver = MetricsServiceClient::connect(node.url("otlp")).await.unwrap();
    let point = |bounds: Vec<f64>, counts: Vec<u64>| HistogramDataPoint {
        count: counts.iter().sum(),
        sum: Some(1.0),
        explicit_bounds: bounds,
        bucket_counts: counts,
        ..Default::default()
    };
    let request = |points| ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            scope_metrics: vec![ScopeMetrics {
                metrics: vec![Metric {
                    name: "http.server.request.duration".to_owned(),
                    unit: "s".to_owned(),
                    data: Some(metric::Data::Histogram(Histogram {
                        data_points: points,
                        aggregation_temporality: AggregationTemporality::Delta.into(),
                    })),
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        }],
    };
    // Two bounds want three counts.
    let answer = receiver.export(request(vec![point(vec![0.1, 0.2], vec![1])])).await.unwrap().into_inner();
    let partial = answer.partial_success.expect("a partial success");
    assert_eq!(partial.rejected_data_points, 1);
    assert!(partial.error_message.contains("http.server.request.duration"), "{}", partial.error_message);

    let answer = receiver.export(request(vec![point(vec![0.1, 0.2], vec![1, 2, 3])])).await.unwrap().into_inner();
    assert_eq!(answer.partial_success.map_or(0, |partial| partial.rejected_data_points), 0);
}
