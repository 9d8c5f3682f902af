//! PromQL asked of an aggregator in this process.

#![allow(clippy::unwrap_used, reason = "a step that fails fails its test")]

mod support;

use starling_proto::v1;
use support::{Aggregator, TestNode, now};
use tonic::Code;

/// Requests per second of a node at a second.
fn requests(tick: u32) -> u64 {
    u64::from(tick % 10) + 1
}

async fn ask(
    aggregator: &Aggregator,
    query: &str,
    from: u32,
    to: u32,
    step: u32,
) -> Result<v1::PromqlAnswer, tonic::Status> {
    let request = v1::QueryPromqlRequest {
        query: query.to_owned(),
        start_ms: i64::from(from) * 1_000,
        end_ms: i64::from(to) * 1_000,
        step_ms: i64::from(step) * 1_000,
        ..Default::default()
    };
    Ok(aggregator.query().await.query_promql(request).await?.into_inner())
}

/// The value of the only series about one moment.
async fn one(aggregator: &Aggregator, query: &str, at: u32) -> Option<f64> {
    let answer = ask(aggregator, query, at, at, 0).await.unwrap_or_else(|status| panic!("{query}: {status}"));
    assert!(answer.series.len() < 2, "{query}: {answer:?}");
    Some(*answer.series.first()?.values.first()?)
}

#[tokio::test]
async fn promql_reads_nodes_groups_and_the_cluster_apart() {
    let aggregator = Aggregator::start("solo", &[]).await;
    let mut nodes = [TestNode::new("web-1", "a"), TestNode::new("web-2", "b")];
    let to = now() - 2;
    let from = to - 59;
    for node in &mut nodes {
        node.connect(&aggregator.url()).await;
        for tick in from..=to {
            node.send(tick, requests(tick), 2_000).await;
        }
        node.until_acked(from..=to).await;
    }
    let growth: u64 = (to - 19..=to).map(requests).sum();
    let text = "sum(traffic_requests_total - traffic_requests_total offset 20s)";
    assert_eq!(one(&aggregator, text, to).await, Some(2.0 * growth as f64), "of the nodes together");
    let text = "sum(cluster:traffic_requests_total - cluster:traffic_requests_total offset 20s)";
    assert_eq!(one(&aggregator, text, to).await, Some(2.0 * growth as f64), "what was merged");
    let text = "sum(group:traffic_requests_total{zone=\"a\"} - group:traffic_requests_total offset 20s)";
    assert_eq!(one(&aggregator, text, to).await, Some(growth as f64), "of one group");
    let text = "sum(rate(traffic_requests_total{node=\"web-1\",zone=\"a\"}[20s]))";
    let rate = one(&aggregator, text, to).await.unwrap();
    assert!((rate - 5.5).abs() < 1.0, "{rate}");
    assert_eq!(one(&aggregator, "count(traffic_requests_total{zone=\"\"})", to).await, None);
    assert_eq!(one(&aggregator, "count(traffic_requests_total{node=\"web-9\"})", to).await, None);
    assert_eq!(one(&aggregator, "count_over_time(cluster:traffic_requests_total[20s])", to).await, Some(20.0));
    assert_eq!(one(&aggregator, "1+1", to).await, Some(2.0));
    // Histograms: every request took 2 ms.
    let p99 = one(&aggregator, "histogram_quantile(0.99, sum(rate(traffic_duration_seconds[20s])))", to).await.unwrap();
    assert!((p99 - 0.002).abs() < 0.002 * 0.004, "{p99}");
    let p99 = one(&aggregator, "histogram_quantile(0.99, sum(cluster:traffic_duration_seconds))", to).await.unwrap();
    assert!((p99 - 0.002).abs() < 0.002 * 0.004, "{p99}");
    // Over a range a point for each second, and none after what did not report any more has ended.
    let answer = ask(&aggregator, "sum by (node) (traffic_requests_total)", from, to, 1).await.unwrap();
    assert_eq!((answer.result_type.as_str(), answer.series.len()), ("matrix", 2));
    assert_eq!(answer.series[0].times_ms.len(), 60, "{answer:?}");
    assert!(answer.series[0].values.is_sorted());
    // Refusals say what they are.
    for (query, code, word) in [
        ("sum(", Code::InvalidArgument, "bad_data: 1:4"),
        ("limitk(2, traffic_requests_total)", Code::InvalidArgument, "limitk"),
        ("traffic_requests_total + on() traffic_requests_total", Code::FailedPrecondition, "execution: 1:"),
    ] {
        let status = ask(&aggregator, query, to, to, 0).await.unwrap_err();
        assert!(status.code() == code && status.message().contains(word), "{query}: {status}");
    }
    let status = ask(&aggregator, "1", from - 20_000, to, 1).await.unwrap_err();
    assert!(status.message().contains("2 s"), "{status}");
    // What there is.
    let listed = |selectors: &[&str]| v1::ListPromqlSeriesRequest {
        selectors: selectors.iter().map(ToString::to_string).collect(),
        ..Default::default()
    };
    let mut query = aggregator.query().await;
    let all = query.list_promql_series(listed(&[])).await.unwrap().into_inner();
    let names: std::collections::BTreeSet<_> = all.series.iter().map(|one| one.labels["__name__"].as_str()).collect();
    for name in ["traffic_requests_total", "cluster:traffic_requests_total", "group:traffic_duration_seconds"] {
        assert!(names.contains(name), "{name} in {names:?}");
    }
    let of_one =
        query.list_promql_series(listed(&["traffic_requests_total{node=\"web-2\"}"])).await.unwrap().into_inner();
    assert!(!of_one.series.is_empty() && of_one.series.iter().all(|one| one.labels["zone"] == "b"), "{of_one:?}");
    assert_eq!((of_one.series[0].kind.as_str(), of_one.series[0].help.is_empty()), ("counter", false));
    aggregator.stopped().await;
}
