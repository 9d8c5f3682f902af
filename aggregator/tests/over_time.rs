//! Questions over time, asked of aggregators in this process.

#![allow(clippy::unwrap_used, reason = "a step that fails fails its test")]

mod support;

use starling_proto::v1;
use support::{Aggregator, TestNode, cluster, eventually, now};
use tonic::{Code, Request};

/// Requests per second of a node at a second.
fn requests(tick: u32) -> u64 {
    u64::from(tick % 10) + 1
}

/// Sends the seconds of `from..=to` that are `wanted`, oldest first, and waits until they are counted.
async fn feed(node: &mut TestNode, from: u32, to: u32, wanted: impl Fn(u32) -> bool) {
    let ticks: Vec<u32> = (from..=to).filter(|tick| wanted(*tick)).collect();
    for some in ticks.chunks(20) {
        for tick in some {
            node.send(*tick, requests(*tick), 2_000).await;
        }
        node.until_acked(some.iter().copied()).await;
    }
}

fn of_node(node: &str) -> Option<v1::Scope> {
    Some(v1::Scope { node_id: node.into(), ..v1::Scope::default() })
}

fn each_node() -> Option<v1::Scope> {
    Some(v1::Scope { each_node: true, ..v1::Scope::default() })
}

fn asked(from: u32, to: u32, scope: Option<v1::Scope>, statistics: &[&str]) -> v1::QueryRangeRequest {
    v1::QueryRangeRequest {
        scope,
        from_tick: from,
        to_tick: to,
        step_seconds: 1,
        statistics: statistics.iter().map(ToString::to_string).collect(),
        ..v1::QueryRangeRequest::default()
    }
}

async fn query(aggregator: &Aggregator, request: v1::QueryRangeRequest) -> Result<v1::RangeAnswer, tonic::Status> {
    Ok(aggregator.query().await.query_range(request).await?.into_inner())
}

/// Values of a statistic, `None` where there is none.
fn values(series: &v1::RangeSeries, at: usize) -> Vec<Option<f64>> {
    series.statistics[at].values.iter().map(|value| (!value.is_nan()).then_some(*value)).collect()
}

#[tokio::test]
async fn the_last_minutes_are_answered_with_what_is_missing() {
    let aggregator = Aggregator::start("solo", &[]).await;
    let mut nodes = [TestNode::new("web-1", "a"), TestNode::new("web-2", "b")];
    let to = now() - 2;
    let from = to - 39;
    let hole = from + 20..from + 25;
    for (node, shift) in nodes.iter_mut().zip([0, 10]) {
        node.connect(&aggregator.url()).await;
        feed(node, from + shift, to, |tick| !hole.contains(&tick)).await;
    }
    let counts = ["increase", "rate", "nodes"];
    let answer = query(&aggregator, asked(from, to, None, &counts)).await.unwrap();
    assert_eq!((answer.points.len(), answer.series.len(), answer.step_seconds), (40, 1, 1));
    assert_eq!((answer.resolution_seconds, answer.answered_by.as_str(), answer.missing.len()), (1, "solo", 0));
    let growth = values(&answer.series[0], 0);
    for (tick, (point, growth)) in (from..).zip(answer.points.iter().zip(&growth)) {
        let behind = if hole.contains(&tick) { 0 } else { 1 + u32::from(tick >= from + 10) };
        assert_eq!((point.tick, point.seconds_expected(), point.seconds()), (tick, 1, u32::from(behind > 0)));
        assert_eq!(point.nodes_reporting(), behind, "{point:?}");
        assert_eq!(*growth, (behind > 0).then(|| (requests(tick) * u64::from(behind)) as f64));
        assert_eq!(point.provisional, behind == 0 || behind < point.nodes_expected(), "late data may come: {point:?}");
    }
    // The same in steps of 10 s: the seconds that are missing are neither zero nor filled.
    let of_ten = v1::QueryRangeRequest { step_seconds: 10, ..asked(from, to, of_node("web-1"), &counts) };
    let answer = query(&aggregator, of_ten).await.unwrap();
    let (growth, rates) = (values(&answer.series[0], 0), values(&answer.series[0], 1));
    assert_eq!(
        growth.iter().flatten().sum::<f64>(),
        (from..=to).filter(|t| !hole.contains(t)).map(requests).sum::<u64>() as f64
    );
    assert!(rates.iter().flatten().all(|rate| *rate <= 10.0), "{rates:?}");
    assert_eq!(answer.points.iter().map(v1::RangePoint::seconds).sum::<u32>(), 35);
    assert_eq!(answer.series[0].node_id, "web-1");
    // Histograms are merged before a quantile is read; the total of a group is that of its nodes.
    let zone = Some(v1::Scope { group: "zone:b".into(), ..v1::Scope::default() });
    let latency = v1::QueryRangeRequest {
        name: "traffic.duration".into(),
        total: true,
        step_seconds: 0,
        ..asked(from, to, zone, &["p99", "count", "max"])
    };
    let answer = query(&aggregator, latency).await.unwrap();
    let series = &answer.series[0];
    let counted: f64 = values(series, 1).into_iter().flatten().sum();
    assert_eq!(counted, (from + 10..=to).filter(|t| !hole.contains(t)).map(requests).sum::<u64>() as f64);
    assert!(values(series, 0).into_iter().flatten().all(|p99| (p99 - 0.002).abs() < 0.002 * 0.004), "{series:?}");
    assert!(series.statistics[0].error_bound_ppm > 0 && series.statistics[1].error_bound_ppm == 0);
    // GetSeries reads the same when it begins before the last 15 minutes.
    let long = v1::GetSeriesRequest {
        name: "traffic.requests".into(),
        total: true,
        statistics: vec!["value".into(), "nodes".into()],
        from_tick: to - 4_000,
        to_tick: to,
        ..v1::GetSeriesRequest::default()
    };
    let series = aggregator.query().await.get_series(long).await.unwrap().into_inner();
    assert_eq!((series.points.len(), series.answered_by.as_str()), (4_001, "solo"));
    let last = series.series[0].statistics.iter().map(|one| one.values[4_000]).collect::<Vec<_>>();
    assert_eq!(last, [2.0 * requests(to) as f64, 2.0]);
    assert!(series.series[0].statistics[0].values[..3_900].iter().all(|value| value.is_nan()));
    let listed = v1::GetSeriesRequest { from_tick: 0, to_tick: to - 1_000, ..v1::GetSeriesRequest::default() };
    let listed = aggregator.query().await.get_series(listed).await.unwrap().into_inner();
    assert!(listed.series.is_empty() && listed.points.is_empty(), "nothing is kept of then");
    // What is computed is computed at each second.
    let busy = v1::QueryRangeRequest { name: "traffic.error_ratio".into(), ..asked(from, to, None, &["value"]) };
    assert!(query(&aggregator, busy).await.unwrap().series.iter().all(|series| series.derived));
    aggregator.stopped().await;
}

#[tokio::test]
async fn requests_that_cannot_be_answered_say_why() {
    let aggregator = Aggregator::start("solo", &[]).await;
    let mut node = TestNode::new("web-1", "a");
    node.connect(&aggregator.url()).await;
    let to = now() - 2;
    feed(&mut node, to - 5, to, |_| true).await;
    let base = || asked(to - 5, to, None, &[]);
    let limits = |step_seconds, max_points| v1::QueryRangeRequest {
        from_tick: to - 1_209_599,
        step_seconds,
        max_points,
        ..base()
    };
    for (request, code, text) in [
        (limits(109, 0), Code::InvalidArgument, "step_seconds: 109 s"),
        (limits(0, 50_000), Code::InvalidArgument, "max_points: 50000"),
        (v1::QueryRangeRequest { from_tick: to + 1, ..base() }, Code::InvalidArgument, "from_tick: "),
        (v1::QueryRangeRequest { to_tick: u32::MAX, ..base() }, Code::OutOfRange, "to_tick: "),
        (v1::QueryRangeRequest { from_tick: 1, ..base() }, Code::InvalidArgument, "from_tick: "),
        (asked(to, to, None, &["median"]), Code::InvalidArgument, "statistics: \"median\""),
        (asked(to, to, of_node("nobody"), &[]), Code::NotFound, "node_id: no node called nobody"),
        (asked(to, to, of_node("No body"), &[]), Code::InvalidArgument, "scope.node_id: "),
        (v1::QueryRangeRequest { over_nodes: "avg".into(), ..base() }, Code::InvalidArgument, "over_nodes: \"avg\""),
        (v1::QueryRangeRequest { over_nodes: "sum".into(), ..base() }, Code::InvalidArgument, "over_nodes: "),
        (v1::QueryRangeRequest { top_by: "best".into(), ..base() }, Code::InvalidArgument, "top_by: \"best\""),
        (v1::QueryRangeRequest { top: 5_000, ..base() }, Code::InvalidArgument, "top: 5000"),
    ] {
        let began = std::time::Instant::now();
        let status = query(&aggregator, request.clone()).await.unwrap_err();
        assert_eq!(status.code(), code, "{status}");
        assert!(status.message().starts_with(text), "{status} for {request:?}");
        assert!(began.elapsed() < std::time::Duration::from_millis(500), "{:?}", began.elapsed());
    }
    // The border itself, and one second.
    assert!(query(&aggregator, limits(110, 0)).await.is_ok());
    let one = query(&aggregator, asked(to, to, None, &[])).await.unwrap();
    assert_eq!((one.points.len(), one.points[0].seconds()), (1, 1));
    // What there is not is no error.
    let none = v1::QueryRangeRequest { name: "no.such.metric".into(), ..base() };
    assert!(query(&aggregator, none).await.unwrap().series.is_empty());
    // Conditions on attributes.
    let only = |kind: v1::MatchKind, value: &str| v1::QueryRangeRequest {
        matchers: vec![v1::AttributeMatcher { key: "protocol".into(), kind: kind.into(), value: value.into() }],
        ..base()
    };
    for (request, found) in [
        (only(v1::MatchKind::Regex, "gr.*"), 1),
        (only(v1::MatchKind::Regex, "r.*"), 0),
        (only(v1::MatchKind::NotEqual, "grpc"), 0),
        (only(v1::MatchKind::NotRegex, ""), 1),
    ] {
        assert_eq!(query(&aggregator, request.clone()).await.unwrap().series.len(), found, "{request:?}");
    }
    aggregator.stopped().await;
}

#[tokio::test]
async fn any_aggregator_answers_for_the_nodes_of_all() {
    let mut aggregators = cluster(3).await;
    let to = now() - 2;
    let from = to - 19;
    let mut owners = std::collections::BTreeSet::new();
    let mut nodes: Vec<TestNode> = (1..=9).map(|n| TestNode::new(&format!("web-{n}"), "a")).collect();
    for node in &mut nodes {
        owners.insert(node.connect(&aggregators[0].url()).await);
        feed(node, from, to, |_| true).await;
    }
    assert_eq!(owners.len(), 3, "each has some");
    let all = asked(from, to, each_node(), &["value"]);
    for aggregator in &aggregators {
        let mut answer = eventually("an answer with all nodes", async || {
            let answer = query(aggregator, all.clone()).await.map_err(|status| status.to_string())?;
            if answer.series.len() == 9 { Ok(answer) } else { Err(format!("{answer:?}")) }
        })
        .await;
        assert_eq!((answer.missing.len(), std::mem::take(&mut answer.answered_by)), (0, aggregator.name.clone()));
        assert!(answer.points.iter().all(|point| (point.nodes_reporting(), point.nodes_expected()) == (9, 9)));
        for series in &answer.series {
            assert_eq!(values(series, 0), (from..=to).map(|tick| Some(requests(tick) as f64)).collect::<Vec<_>>());
        }
        let sum = v1::QueryRangeRequest { over_nodes: "sum".into(), ..all.clone() };
        let sum = query(aggregator, sum).await.unwrap();
        assert_eq!(values(&sum.series[0], 0)[0], Some(9.0 * requests(from) as f64));
        let top = v1::QueryRangeRequest { top: 2, ..all.clone() };
        let top = query(aggregator, top).await.unwrap();
        let names: Vec<_> = top.series.iter().map(|series| series.node_id.as_str()).collect();
        assert_eq!(names, ["web-1", "web-2"], "equal ones by name");
        for node in ["web-1", "web-5", "web-9"] {
            let answer = query(aggregator, asked(from, to, of_node(node), &["last"])).await.unwrap();
            assert_eq!(values(&answer.series[0], 0).len(), 20, "{node}");
        }
    }
    // Scenario 41: the only holder of some nodes is gone.
    let gone = aggregators.remove(2);
    let lost: Vec<String> =
        nodes.iter().filter(|node| node.aggregator() == gone.name).map(|node| node.id.clone()).collect();
    let name = gone.name.clone();
    gone.stopped().await;
    let answer = eventually("an answer that says what it lacks", async || {
        let answer = query(&aggregators[0], all.clone()).await.map_err(|status| status.to_string())?;
        if answer.missing.is_empty() { Err(format!("{answer:?}")) } else { Ok(answer) }
    })
    .await;
    assert_eq!(answer.series.len(), 9 - lost.len());
    let part = &answer.missing[0];
    assert_eq!((&part.aggregator_id, &part.node_ids, part.nodes as usize), (&name, &lost, lost.len()));
    assert_eq!((part.from_tick, part.to_tick), (from, to));
    for point in &answer.points {
        assert_eq!((point.nodes_reporting() as usize, point.nodes_expected()), (9 - lost.len(), 9));
    }
    let strict = v1::QueryRangeRequest { strict: true, ..all };
    let status = query(&aggregators[1], strict).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().starts_with("strict: ") && status.message().contains(&name), "{status}");
    for aggregator in aggregators {
        aggregator.stopped().await;
    }
}

#[tokio::test]
async fn an_asker_that_has_no_time_gets_what_there_is_in_time() {
    let aggregator = Aggregator::start("solo", &[]).await;
    let mut node = TestNode::new("web-1", "a");
    node.connect(&aggregator.url()).await;
    let to = now() - 2;
    feed(&mut node, to - 5, to, |_| true).await;
    let mut request = Request::new(asked(to - 5, to, each_node(), &[]));
    request.set_timeout(std::time::Duration::from_millis(400));
    let answer = aggregator.query().await.query_range(request).await.unwrap().into_inner();
    assert_eq!(answer.series.len(), 1);
    aggregator.stopped().await;
}

#[tokio::test]
async fn heatmaps_distributions_and_summaries_say_the_same_as_the_seconds() {
    let aggregator = Aggregator::start("solo", &[]).await;
    let mut nodes = [TestNode::new("web-1", "a"), TestNode::new("web-2", "a")];
    let to_tick = now() - 2;
    let from_tick = to_tick - 29;
    for (node, micros) in nodes.iter_mut().zip([10_000, 1_000_000]) {
        node.connect(&aggregator.url()).await;
        for some in (from_tick..=to_tick).collect::<Vec<_>>().chunks(15) {
            for tick in some {
                // One slow request a second beside 50 quick ones.
                node.send(*tick, if micros > 10_000 { 1 } else { 50 }, micros).await;
            }
            node.until_acked(some.iter().copied()).await;
        }
    }
    let mut client = aggregator.query().await;
    // Scenario 5: the percentile of all requests, in any way it is asked for.
    for each_node in [false, true] {
        let scope = Some(v1::Scope { each_node, ..v1::Scope::default() });
        let request = v1::GetDistributionRequest {
            scope,
            from_tick,
            to_tick,
            quantiles: vec![0.5, 0.99],
            include_histogram: true,
            ..Default::default()
        };
        let answer = client.get_distribution(request).await.unwrap().into_inner();
        assert_eq!((answer.count, answer.unit.as_str()), (Some(51.0 * 30.0), "s"), "{answer:?}");
        assert!(
            (answer.quantiles[0].value() - 0.01).abs() < 0.0001 && (answer.quantiles[1].value() - 1.0).abs() < 0.004
        );
        assert!(answer.quantiles[1].lower() <= answer.quantiles[1].value() && !answer.histogram.is_empty());
        let completeness = answer.completeness.unwrap();
        assert_eq!((completeness.seconds(), completeness.nodes_reporting()), (30, 2));
        assert_eq!(answer.answered_by, "solo");
    }
    let busy = v1::GetDistributionRequest { name: "traffic.requests".into(), from_tick, to_tick, ..Default::default() };
    let status = client.get_distribution(busy).await.unwrap_err();
    assert!(status.message().starts_with("name: traffic.requests is a counter"), "{status}");

    let request = v1::GetHeatmapRequest { from_tick, to_tick, step_seconds: 1, ..Default::default() };
    let map = client.get_heatmap(request).await.unwrap().into_inner();
    assert_eq!((map.columns.len(), map.cells_are.as_str()), (30, "counts"));
    for value in [0.01, 1.0] {
        let row = map.rows.iter().find(|row| row.lower() <= value && value < row.upper()).unwrap();
        assert!(row.cells.iter().all(|count| *count == if value < 1.0 { 50.0 } else { 1.0 }), "{row:?}");
    }
    let request =
        v1::GetHeatmapRequest { name: "throughput".into(), from_tick, to_tick, step_seconds: 60, ..Default::default() };
    let map = client.get_heatmap(request).await.unwrap().into_inner();
    let counted: f64 = map.rows.iter().flat_map(|row| &row.cells).sum();
    assert_eq!(counted, 30.0, "each second once: {map:?}");
    let request = v1::GetHeatmapRequest {
        scope: each_node(),
        name: "traffic.requests".into(),
        from_tick,
        to_tick,
        step_seconds: 60,
        ..Default::default()
    };
    let map = client.get_heatmap(request).await.unwrap().into_inner();
    let rows: Vec<_> = map
        .rows
        .iter()
        .map(|row| (row.node_id.as_str(), row.cells.iter().find(|cell| !cell.is_nan()).copied()))
        .collect();
    assert_eq!(rows, [("web-1", Some(50.0)), ("web-2", Some(1.0))]);

    let request = v1::SummarizeRequest { from_tick, to_tick, time_zone: "Europe/Berlin".into(), ..Default::default() };
    let summary = client.summarize(request).await.unwrap().into_inner();
    assert_eq!(
        (summary.average, summary.total, summary.standard_deviation),
        (Some(51.0), Some(51.0 * 30.0), Some(0.0))
    );
    assert_eq!(summary.peak.unwrap(), v1::Extreme { value: Some(51.0), tick: from_tick, resolution_seconds: 1 });
    assert_eq!((summary.seconds, summary.seconds_expected), (30, 30));
    let week = summary.week_ago.unwrap();
    assert_eq!((week.average, week.counted_in.as_str()), (None, "Europe/Berlin"), "nothing is known of then");
    assert_eq!(summary.period_before.unwrap().to_tick, from_tick - 1);
    let series = summary.series.unwrap();
    assert_eq!((series.points.len(), series.series.len()), (30, 1));
    let request = v1::SummarizeRequest { name: "traffic.duration".into(), from_tick, to_tick, ..Default::default() };
    let summary = client.summarize(request).await.unwrap().into_inner();
    assert!((summary.average.unwrap() - 1.0).abs() < 0.004, "the p99 of all, not a mean: {summary:?}");
    aggregator.stopped().await;
}
