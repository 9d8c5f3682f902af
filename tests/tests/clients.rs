//! Clients that are not ours: gRPC reflection from Python, the OpenTelemetry SDK, and DuckDB.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use serde_json::json;
use starling_proto::v1::WatchClusterRequest;
use starling_tests::{
    Cluster, Oracle, Program, eventually,
    imported::{Input, Stack, now},
    python,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reflection_client_lists_and_calls_every_service() {
    let cluster = Cluster::start(3).await;
    let mut oracle = Oracle::start(3, &cluster.seeds(), 7);
    for _ in 0..3 {
        oracle.cut().await;
    }
    // The stream of the script needs seconds to come.
    let cutting = tokio::spawn(async move {
        loop {
            oracle.cut().await;
        }
    });
    for aggregator in &cluster.aggregators {
        let said = python("reflect.py", &[aggregator.address("grpc").to_string()]).await;
        for service in [
            "starling.v1.Ingest",
            "starling.v1.Peer",
            "starling.v1.Query",
            "starling.v1.Cluster",
            "grpc.health.v1.Health",
        ] {
            assert!(
                said["services"].as_array().unwrap().iter().any(|s| s == service),
                "{service} is not in {}",
                said["services"]
            );
        }
        assert!(said["cluster_view_fields"].as_array().unwrap().iter().any(|f| f == "completeness"));
        assert_eq!(said["cluster"]["completeness"]["nodesReporting"], 3, "{}", said["cluster"]);
        assert_eq!(said["nodes"]["nodes"].as_array().unwrap().len(), 3);
        assert_eq!(said["aggregators"]["aggregators"].as_array().unwrap().len(), 3);
        assert_eq!(said["ledger"]["conservation"]["balanced"], true, "{}", said["ledger"]);
        // A zero is sent: what is absent is not known.
        assert_eq!(said["ledger"]["forks"], "0", "{}", said["ledger"]);
        assert_eq!(said["ledger"]["framesRaw"], 0, "{}", said["ledger"]);
        assert_eq!(said["cluster"]["completeness"]["skippedCells"], 0, "{}", said["cluster"]);
        let latency = &said["cluster"]["sections"]["traffic"]["latency"];
        assert!(latency["count"].is_number() && latency["histogram"].is_null(), "not asked for: {latency}");
        assert_eq!(said["health"]["status"], "SERVING");
        let ticks: Vec<u64> = said["watched"].as_array().unwrap().iter().map(|v| v["tick"].as_u64().unwrap()).collect();
        assert!(ticks.len() == 3 && ticks.windows(2).all(|pair| pair[0] < pair[1]), "{ticks:?}");
    }
    cutting.abort();
}

/// Requests and errors per protocol over all seconds, as the aggregator shows them.
async fn totals(cluster: &Cluster, from_tick: u32) -> std::collections::BTreeMap<String, (f64, f64, f64)> {
    let mut totals = std::collections::BTreeMap::<String, (f64, f64, f64)>::new();
    let newest = cluster.view(0, 0).await.unwrap().tick;
    let request = WatchClusterRequest { from_tick, ..Default::default() };
    let mut views = cluster.query(0).await.watch_cluster(request).await.unwrap().into_inner();
    let mut seen = std::collections::BTreeMap::new();
    while let Some(view) = views.message().await.unwrap() {
        let tick = view.tick;
        // A corrected second replaces the one before.
        seen.insert(tick, view);
        if tick >= newest {
            break;
        }
    }
    for protocol in seen.into_values().filter_map(|view| view.sections?.traffic).flat_map(|traffic| traffic.protocols) {
        let (requests, errors) = (protocol.requests_per_second(), protocol.errors_per_second());
        let total = totals.entry(protocol.protocol).or_default();
        total.0 += requests;
        total.1 += errors;
        if let Some(latency) = protocol.latency {
            total.2 += latency.mean_micros * latency.count / 1000.0;
        }
    }
    totals
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_opentelemetry_sdk_is_counted_exactly() {
    for (protocol, temporality, histogram) in [
        ("grpc", "cumulative", "explicit"),
        ("grpc", "delta", "exponential"),
        ("http", "cumulative", "exponential"),
        ("http", "delta", "explicit"),
    ] {
        let cluster = Cluster::start(1).await;
        let node = Program::daemon("otel", &cluster.seeds(), &[]);
        eventually("the node reports", async || match cluster.view(0, 0).await {
            Ok(view) if view.completeness.as_ref().is_some_and(|c| c.nodes_reporting() == 1) => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
        let start = Oracle::now() - 60;
        let port = if protocol == "http" { "otlp_http" } else { "otlp" };
        let chosen = [protocol, &node.url(port), temporality, histogram, "500"];
        let arguments = chosen.map(ToOwned::to_owned);
        let done = python("otlp_app.py", &arguments).await;
        eventually("every request is counted once", async || {
            let totals = totals(&cluster, start).await;
            for (protocol, wanted) in done.as_object().unwrap() {
                let (requests, errors, sum_ms) = totals.get(protocol).copied().unwrap_or_default();
                let wanted_counts = (wanted["requests"].as_f64().unwrap(), wanted["errors"].as_f64().unwrap());
                if (requests, errors) != wanted_counts {
                    return Err(format!("{protocol}: {requests} requests and {errors} errors, wanted {wanted}"));
                }
                let wanted_sum = wanted["sum_ms"].as_f64().unwrap();
                assert!((sum_ms / wanted_sum - 1.0).abs() < 1e-6, "{protocol}: sum {sum_ms} ms, wanted {wanted_sum}");
            }
            Ok(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn duckdb_reads_an_export_as_parquet() {
    const SECONDS: u32 = 60_000;
    let dir = tempfile::tempdir().unwrap();
    let start = now() - 2 * SECONDS;
    let mut input = Input::default();
    // A hole, and more than a row group.
    for tick in (start..start + SECONDS).filter(|tick| !(start + 100..start + 200).contains(tick)) {
        input.line("g{node=\"n1\",zone=\"a,b\"}", f64::from(tick - start) / 7.0, tick);
    }
    let [state, _] = input.import(dir.path());
    let stack = Stack::start(&state, &[]).await;
    let to = start + SECONDS - 1;
    let url = |format: &str| {
        let query = format!("name=g&node=n1&statistics=mean,max&from={start}&to={to}&step=1&format={format}");
        format!("http://{}/api/v1/export?{query}", stack.dashboard.address("http"))
    };
    let said = python("parquet.py", &[url("parquet"), url("csv")]).await;
    assert_eq!((&said["rows"], &said["groups"]), (&json!(SECONDS), &json!(2)), "{said}");
    assert_eq!((&said["only_parquet"], &said["only_csv"]), (&json!(0), &json!(0)), "{said}");
    let types = &said["types"];
    assert_eq!(types["timestamp"], "TIMESTAMP WITH TIME ZONE", "{said}");
    assert_eq!(
        (&types["mean"], &types["seconds"], &types["missing"]),
        (&json!("DOUBLE"), &json!("UINTEGER"), &json!("VARCHAR"))
    );
    println!("bytes of Parquet and CSV: {}", said["bytes"]);
}
