//! Known faults of others in history that more than one aggregator holds, each by the number under which it is collected.

#![allow(clippy::unwrap_used, reason = "a step that fails fails its test")]

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use starling_proto::{
    catalogue::{Kind, Scope},
    frame::Content,
    series::{Sample, Series, Value},
    v1::{self, ListAggregatorsRequest},
};
use starling_service::grpc::{cluster_client::ClusterClient, query_client::QueryClient};
use starling_tests::{
    Cluster, Program, eventually, http_get,
    imported::{Input, dashboard, holder, now, points, promql, rest, scope},
    swarm::{Swarm, SwarmConfig, Template},
};

const HOUR: u32 = 3_600;
const DAY: u32 = 86_400;
/// Every second of an import stays.
const LONG: [&str; 1] = ["history.keep_1s_secs=600000"];

async fn ask(aggregator: &Program, query: &str, range: (u32, u32, u32)) -> Result<v1::PromqlAnswer, String> {
    let mut client = QueryClient::connect(aggregator.url("grpc")).await.map_err(|error| error.to_string())?;
    let answer = client.query_promql(promql(query, range)).await;
    answer.map(tonic::Response::into_inner).map_err(|status| format!("{query}: {status}"))
}

/// The points of the only series of a query.
async fn values(aggregator: &Program, query: &str, range: (u32, u32, u32)) -> BTreeMap<u32, f64> {
    let answer = ask(aggregator, query, range).await.unwrap();
    assert!(answer.series.len() < 2, "{query}: {answer:?}");
    points(&answer)
}

/// The value of the only series at one moment.
async fn one(aggregator: &Program, query: &str, at: u32) -> Option<f64> {
    values(aggregator, query, (at, at, 0)).await.into_values().next()
}

/// Waits until `aggregator` answers.
async fn answers(aggregator: &Program) {
    eventually("it answers", async || ask(aggregator, "1", (now(), now(), 0)).await).await;
}

/// Waits until `aggregator` has looked through all history that others have since `since`, and has all it wants.
async fn has_its_copies(aggregator: &Program, since: u32) {
    eventually("whole copies", async || {
        let mut client = ClusterClient::connect(aggregator.url("grpc")).await.map_err(|error| error.to_string())?;
        let list = client.list_aggregators(ListAggregatorsRequest {}).await.map_err(|status| status.to_string())?;
        let own = list.into_inner().aggregators.into_iter().find(|one| one.self_).ok_or("not in its own list")?;
        let copies = own.history_copies.ok_or("no copies")?;
        let whole = copies.whole_tick > since && !copies.restoring() && copies.lacking_blocks == Some(0);
        if whole { Ok(()) } else { Err(format!("{copies:?}")) }
    })
    .await;
}

/// 40. Two copies, each with its own hole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_copies_with_holes_are_whole_together_and_each_alone_afterwards() {
    let dir = tempfile::tempdir().unwrap();
    let t = (now() - DAY) / HOUR * HOUR + 1_200;
    let copy = |name: &str, has: &dyn Fn(u32) -> bool| {
        let mut input = Input::default();
        // The sample before says where it begins.
        input.line("c_total{node=\"n1\"}", 0, t - 1);
        for n in (0..600).filter(|n| has(*n)) {
            input.line("c_total{node=\"n1\"}", 10 * (n + 1), t + n);
            input.line("g{node=\"n1\"}", 1, t + n);
        }
        let state = dir.path().join(name);
        input.add_to(&state);
        state
    };
    let a_state = copy("a", &|n| !(100..130).contains(&n) && n != 300);
    let b_state = copy("b", &|n| !(200..230).contains(&n));
    let last = t + 599;
    let count =
        async |aggregator: &Program| one(aggregator, "count_over_time(c_total{node=\"n1\"}[10m])", last).await.unwrap();

    // Each by itself says which seconds it has.
    let a = holder("agg-1", &a_state, &[], &LONG);
    answers(&a).await;
    let mut client = QueryClient::connect(a.url("grpc")).await.unwrap();
    let request = v1::QueryRangeRequest {
        scope: scope("n1"),
        name: "c_total".into(),
        from_tick: t,
        to_tick: last,
        step_seconds: 60,
        ..Default::default()
    };
    let alone = client.query_range(request.clone()).await.unwrap().into_inner();
    assert_eq!(alone.points.iter().map(v1::RangePoint::seconds).sum::<u32>(), 569, "{alone:?}");
    assert_eq!(count(&a).await, 569.0);

    // Together they are whole, whoever is asked.
    let began = now();
    let b = holder("agg-2", &b_state, &[&a], &LONG);
    let mut cluster = Cluster { aggregators: vec![a, b] };
    cluster.agree(2).await;
    let mut said = Vec::new();
    for aggregator in &cluster.aggregators {
        assert_eq!(count(aggregator).await, 600.0);
        let rates = values(aggregator, "rate(c_total{node=\"n1\"}[5s])", (t + 5, last, 1)).await;
        assert!(rates.len() == 595 && rates.values().all(|rate| (rate - 10.0).abs() < 1e-9), "{rates:?}");
        assert_eq!(one(aggregator, "resets(c_total{node=\"n1\"}[10m])", last).await, Some(0.0));
        let mut client = QueryClient::connect(aggregator.url("grpc")).await.unwrap();
        let answer = client.query_range(request.clone()).await.unwrap().into_inner();
        assert!(answer.missing.is_empty() && answer.points.iter().all(|point| point.seconds() == 60), "{answer:?}");
        said.push(v1::RangeAnswer { answered_by: String::new(), ..answer });
    }
    assert_eq!(said[0], said[1]);

    // And each of them alone, once it has the copies.
    for aggregator in &cluster.aggregators {
        has_its_copies(aggregator, began).await;
    }
    cluster.aggregators[1].kill();
    assert_eq!(count(&cluster.aggregators[0]).await, 600.0);
    cluster.aggregators[1].start_again();
    cluster.agree(2).await;

    // A correction at one of them is the newer version at both.
    cluster.aggregators[0].stop().await;
    assert_eq!(count(&cluster.aggregators[1]).await, 600.0);
    let mut correction = Input::default();
    (300..310).for_each(|n| correction.line("g{node=\"n1\"}", 5, t + n));
    correction.add_to(&a_state);
    cluster.aggregators[0].start_again();
    cluster.agree(2).await;
    for aggregator in &cluster.aggregators {
        eventually("the corrected seconds", async || {
            let sum = ask(aggregator, "sum_over_time(g{node=\"n1\"}[10m])", (last, last, 0)).await?;
            let counted = ask(aggregator, "count_over_time(g{node=\"n1\"}[10m])", (last, last, 0)).await?;
            let both = [sum, counted].map(|answer| points(&answer).into_values().next());
            if both == [Some(640.0), Some(600.0)] { Ok(()) } else { Err(format!("{both:?}")) }
        })
        .await;
    }
}

/// 41. A holder is gone and nobody says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_holder_does_not_say_is_told_on_every_face_in_time() {
    const NODES: u32 = 30;
    for stopped in [false, true] {
        let mut cluster = Cluster::start(3).await;
        let asked = dashboard(&cluster.aggregators[2]);
        let series = Series::application("g", &[], Kind::Gauge, "1", 0, Scope::Node).unwrap();
        let content = |tick| Content {
            tick,
            samples: vec![Sample { series: series.clone(), value: Value::Gauge(1) }],
            dropped: 0,
        };
        let swarm = Swarm::start(SwarmConfig {
            targets: cluster.aggregators.iter().map(|aggregator| aggregator.address("grpc")).collect(),
            nodes: NODES as usize,
            prefix: "n".into(),
            templates: vec![Arc::new(Template::of(&[content(0), content(1)]))],
            labels: Box::new(|_| HashMap::new()),
            spread: Duration::from_millis(100),
            ramp: 100.0,
            tls: None,
        });
        let third = &cluster.aggregators[2];
        let to = eventually("all nodes at three aggregators", async || {
            // Acknowledged: what is not comes again, to another one. Five seconds of each.
            let settled = cluster.view(2, 0).await?.tick - 8;
            let sum = points(&ask(third, "sum(sum_over_time(g_ratio[5s]))", (settled, settled, 0)).await?);
            let by = swarm.counts().by;
            let spread = by.len() == 3 && by.values().sum::<usize>() == NODES as usize;
            if spread && sum.values().eq([&f64::from(5 * NODES)]) {
                Ok(settled)
            } else {
                Err(format!("{by:?}, {sum:?}"))
            }
        })
        .await;
        let victim = &mut cluster.aggregators[0];
        if stopped {
            victim.signal(rustix::process::Signal::STOP);
        } else {
            victim.kill();
        }

        // At once, before and after the others know.
        let third = &cluster.aggregators[2];
        let until = Instant::now() + Duration::from_secs(8);
        let mut rest_of: f64 = 0.0;
        while Instant::now() < until {
            let began = Instant::now();
            let answer = ask(third, "sum(g_ratio)", (to, to, 0)).await.unwrap();
            assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
            let sum = points(&answer).into_values().next().unwrap();
            // Never less without a word.
            let partial = (1.0..f64::from(NODES)).contains(&sum) && !answer.warnings.is_empty();
            assert!(partial && sum >= rest_of, "stopped {stopped}, {rest_of}: {answer:?}");
            rest_of = sum;
        }
        let request = v1::QueryRangeRequest {
            scope: Some(v1::Scope { each_node: true, ..Default::default() }),
            name: "g".into(),
            from_tick: to,
            to_tick: to,
            step_seconds: 1,
            ..Default::default()
        };
        let mut client = QueryClient::connect(third.url("grpc")).await.unwrap();
        let answer = client.query_range(request.clone()).await.unwrap().into_inner();
        let point = answer.points.last().unwrap();
        assert!(f64::from(point.nodes_reporting()) >= rest_of && point.nodes_expected() == NODES, "{answer:?}");
        assert_eq!(answer.missing.iter().map(|part| part.aggregator_id.as_str()).collect::<Vec<_>>(), ["agg-1"]);
        let lost = answer.missing.iter().map(|part| part.nodes).sum::<u32>();
        assert!(lost > 0 && lost == NODES - point.nodes_reporting(), "{answer:?}");
        let strict = client.query_range(v1::QueryRangeRequest { strict: true, ..request }).await.unwrap_err();
        assert!(strict.message().starts_with("strict: "), "{strict}");

        let found = rest(&asked, &format!("/prometheus/api/v1/query?query=sum(g_ratio)&time={to}")).await;
        assert!(found["warnings"].as_array().is_some_and(|all| !all.is_empty()), "{found}");
        let range = format!("name=g&eachNode=true&from={to}&to={to}&step=1");
        let found = rest(&asked, &format!("/api/v1/series?{range}")).await;
        assert!(found["completeness"]["missing"].to_string().contains("agg-1"), "{found}");
        let refused = rest(&asked, &format!("/api/v1/series?{range}&strict=true")).await;
        assert!(refused["error"]["message"].to_string().contains("strict"), "{refused}");
        let (status, csv) =
            http_get(asked.address("http"), &format!("/api/v1/export?{range}&format=csv")).await.unwrap();
        assert_eq!(status, 200, "{csv}");
        let rows: Vec<&str> = csv.lines().filter(|line| line.contains(",g,")).collect();
        assert!(!rows.is_empty() && rows.iter().all(|row| row.contains("agg-1")), "{csv}");
        if stopped {
            cluster.aggregators[0].signal(rustix::process::Signal::CONT);
        }
    }
}

/// 52. `offset` twice or not at all, `@ end()` of the wrong end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ends_and_offsets_are_those_of_the_query_whatever_it_is_read_from() {
    let dir = tempfile::tempdir().unwrap();
    let start = (now() - 4 * DAY) / HOUR * HOUR;
    let whole = start..start + 3 * DAY;
    let mut input = Input::default();
    for tick in whole.clone() {
        input.line("g{node=\"n1\"}", tick - start, tick);
    }
    for tick in whole.end - 60..whole.end {
        input.line("g{node=\"n2\"}", 300_000, tick);
        input.line("g{node=\"n3\"}", 1, tick);
    }
    let [state, copy] = input.import(dir.path());
    let third = dir.path().join("third");
    let end = whole.end - 1;

    // Three tiers: what is older stands at the ends of longer steps.
    let tiers = ["history.keep_1s_secs=86400", "history.keep_10s_secs=172800"];
    let alone = holder("agg-1", &copy, &[], &tiers);
    eventually("only the last day by the second", async || {
        let left = std::fs::read_dir(copy.join("history/segments/1s")).map_err(|error| error.to_string())?.count();
        if left <= 290 { Ok(()) } else { Err(format!("{left} segments")) }
    })
    .await;
    answers(&alone).await;
    right(&alone, start, end, 60.0).await;
    drop(alone);

    // Two holders, and one that has nothing is asked.
    let a = holder("agg-1", &state, &[], &LONG);
    let b_state = dir.path().join("b");
    let mut later = Input::default();
    (start + DAY..whole.end).for_each(|tick| later.line("g{node=\"n1\"}", tick - start, tick));
    later.add_to(&b_state);
    let began = now();
    let b = holder("agg-2", &b_state, &[&a], &LONG);
    let c = holder("agg-3", &third, &[&a, &b], &LONG);
    let mut cluster = Cluster { aggregators: vec![a, b, c] };
    cluster.agree(3).await;
    right(&cluster.aggregators[2], start, end, 0.0).await;
    for aggregator in &cluster.aggregators {
        has_its_copies(aggregator, began).await;
    }
    for gone in [0, 1] {
        cluster.aggregators[gone].kill();
        right(&cluster.aggregators[2], start, end, 0.0).await;
        cluster.aggregators[gone].start_again();
        cluster.agree(3).await;
    }
}

/// What is asked of `g`, which is the seconds since `start`, up to `end`; off by at most `by` where it is read in longer steps.
async fn right(aggregator: &Program, start: u32, end: u32, by: f64) {
    let near = |value: f64, wanted: f64, by: f64| (value - wanted).abs() <= by;
    let range = (end - 3 * DAY + HOUR, end, HOUR);
    let at_end = values(aggregator, "g{node=\"n1\"} @ end()", range).await;
    assert!(at_end.len() == 72 && at_end.values().all(|value| *value == f64::from(end - start)), "{at_end:?}");
    let at_start = values(aggregator, "g{node=\"n1\"} @ start()", range).await;
    let first = f64::from(range.0 - start);
    assert!(at_start.len() == 72 && at_start.values().all(|value| near(*value, first, by)), "{at_start:?}");
    let middle = start + 2 * DAY;
    let mean = one(aggregator, "avg_over_time(g{node=\"n1\"}[1d] offset 1h)", middle).await.unwrap();
    // A day by the second is more than is read of one series: it is the mean of the means of 10 s, without the last second.
    assert!(near(mean, 126_000.5, by.max(1.0)), "{mean}");
    let ahead = values(aggregator, "g{node=\"n1\"} offset -5m", (end - 1_800, end, 60)).await;
    for (tick, value) in &ahead {
        assert_eq!(*value, f64::from(tick - start + 300), "at {tick}");
    }
    assert_eq!(ahead.len(), 26, "none past the last sample: {ahead:?}");
    let top = ask(aggregator, "topk(2, g @ end())", range).await.unwrap();
    let names: Vec<(&str, usize)> =
        top.series.iter().map(|series| (series.labels["node"].as_str(), series.times_ms.len())).collect();
    assert!(names.len() == 2 && names.contains(&("n1", 72)) && names.contains(&("n2", 72)), "{names:?}");
}
