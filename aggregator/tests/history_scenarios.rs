//! Known faults of others in answers over time, asked of an aggregator in this process: each by the number under which it is
//! collected.

#![allow(clippy::unwrap_used, reason = "a step that fails fails its test")]

mod support;

use std::{collections::BTreeMap, time::Duration};

use futures_util::future::join_all;
use starling_proto::{
    catalogue::{Kind, Scope},
    series::{Sample, Series, Value},
    v1,
};
use support::{Aggregator, TestNode, eventually, now};

fn gauge(name: &str, value: i64) -> Sample {
    let series = Series::application(name, &[], Kind::Gauge, "1", 0, Scope::Cluster).unwrap();
    Sample { series, value: Value::Gauge(value) }
}

fn counter(name: &str, increment: u64) -> Sample {
    let series = Series::application(name, &[], Kind::Counter, "1", 0, Scope::Cluster).unwrap();
    Sample { series, value: Value::Counter(increment) }
}

/// Sends what `samples` gives for each second; nothing for a second without any.
async fn feed(node: &mut TestNode, ticks: impl Iterator<Item = u32>, samples: impl Fn(u32) -> Vec<Sample>) {
    let all: Vec<(u32, Vec<Sample>)> =
        ticks.map(|tick| (tick, samples(tick))).filter(|(_, samples)| !samples.is_empty()).collect();
    for some in all.chunks(20) {
        for (tick, samples) in some {
            node.send_samples(*tick, samples.clone()).await;
        }
        node.until_acked(some.iter().map(|(tick, _)| *tick)).await;
    }
}

async fn node_at(aggregator: &Aggregator, name: &str) -> TestNode {
    let mut node = TestNode::new(name, "a");
    node.connect(&aggregator.url()).await;
    node
}

fn ask(name: &str, from_tick: u32, to_tick: u32, step_seconds: u32, statistics: &[&str]) -> v1::QueryRangeRequest {
    v1::QueryRangeRequest {
        name: name.into(),
        from_tick,
        to_tick,
        step_seconds,
        statistics: statistics.iter().map(ToString::to_string).collect(),
        ..v1::QueryRangeRequest::default()
    }
}

async fn query(aggregator: &Aggregator, request: v1::QueryRangeRequest) -> v1::RangeAnswer {
    aggregator.query().await.query_range(request).await.unwrap().into_inner()
}

fn known(values: &[f64]) -> Vec<Option<f64>> {
    values.iter().map(|value| (!value.is_nan()).then_some(*value)).collect()
}

/// The newest time that is a multiple of `step`, with `seconds` after it that have passed.
fn start(seconds: u32, step: u32) -> u32 {
    let latest = now() - 3 - seconds;
    latest - latest % step
}

/// 7. The newest seconds repeat an old value.
#[tokio::test]
async fn each_second_shows_its_own_value() {
    let aggregator = Aggregator::start("solo", &[]).await;
    let mut node = node_at(&aggregator, "n1").await;
    let mut shown: BTreeMap<u32, f64> = BTreeMap::new();
    let mut sent = now() - 1;
    let until = sent + 12;
    eventually("twelve seconds", async || {
        while sent < now() {
            sent += 1;
            node.send_samples(sent, vec![gauge("g", i64::from(sent))]).await;
        }
        let at = now();
        for step in [1, 5] {
            let answer = query(&aggregator, ask("g", at - 60, at, step, &["last"])).await;
            let Some(series) = answer.series.first() else { continue };
            for (point, value) in answer.points.iter().zip(&series.statistics[0].values) {
                if value.is_nan() {
                    assert_eq!(point.seconds(), 0, "{point:?}");
                    assert!(point.provisional || shown.is_empty() || point.tick < *shown.keys().next().unwrap());
                    continue;
                }
                let (first, last) = (f64::from(point.tick), f64::from(point.tick + point.seconds_expected() - 1));
                assert!((first..=last).contains(value), "{value} at {point:?}");
                if step == 1 && !point.provisional {
                    assert_eq!(*shown.entry(point.tick).or_insert(*value), *value, "it changed");
                }
            }
        }
        // Settled at most a second after its end, shown at once.
        let newest = shown.keys().next_back().copied().unwrap_or(sent);
        assert!(newest + 3 >= at, "the newest is of {newest} at {at}");
        if at >= until { Ok(()) } else { Err(format!("{} seconds", shown.len())) }
    })
    .await;
    assert!(shown.len() >= 9, "{shown:?}");
    aggregator.stopped().await;
}

/// 13. Top 3 over a time shows six lines, or broken ones.
#[tokio::test]
async fn the_top_three_are_three_with_all_their_points() {
    let aggregator = Aggregator::start("solo", &[]).await;
    let from = start(240, 60);
    let half = |k: i64, tick: u32| if tick < from + 120 { k } else { 40 - 2 * k };
    let mut nodes = Vec::new();
    for k in 1..=20 {
        nodes.push((k, node_at(&aggregator, &format!("n{k}")).await));
    }
    // All at once: an acknowledgement waits for the ledger.
    let feeds =
        nodes.iter_mut().map(|(k, node)| feed(node, from..from + 240, |tick| vec![gauge("cpu", half(*k, tick))]));
    join_all(feeds).await;
    let top = |by: &str| v1::QueryRangeRequest {
        scope: Some(v1::Scope { each_node: true, ..v1::Scope::default() }),
        top: 3,
        top_by: by.into(),
        ..ask("cpu", from, from + 239, 60, &["mean"])
    };
    for (by, wanted) in [
        ("mean", [("n1", 19.5), ("n2", 19.0), ("n3", 18.5)]),
        ("max", [("n1", 38.0), ("n2", 36.0), ("n3", 34.0)]),
        ("last", [("n1", 38.0), ("n2", 36.0), ("n3", 34.0)]),
    ] {
        let answer = query(&aggregator, top(by)).await;
        let ranked: Vec<_> =
            answer.series.iter().map(|series| (series.node_id.as_str(), series.rank_value.unwrap())).collect();
        assert_eq!(ranked, wanted, "by {by}");
        assert!(answer.series.iter().all(|series| known(&series.statistics[0].values).iter().flatten().count() == 4));
        assert_eq!(known(&answer.series[0].statistics[0].values), [1.0, 1.0, 38.0, 38.0].map(Some));
    }
    aggregator.stopped().await;
}

/// 17. Growth lost between two windows, fractions of whole events. 19. All missed seconds land in one.
#[tokio::test]
async fn growth_is_whole_and_in_its_second() {
    let aggregator = Aggregator::start("solo", &[]).await;
    let mut node = node_at(&aggregator, "n1").await;
    let from = start(300, 60);
    let missing = from + 60..from + 65;
    feed(&mut node, from..from + 300, |tick| {
        if missing.contains(&tick) {
            return Vec::new();
        }
        let step = counter("step", if tick == from + 151 { 5 } else { 0 });
        vec![step, counter("sevens", u64::from((tick - from) % 7 == 6)), counter("steady", 300)]
    })
    .await;
    let answer = query(&aggregator, ask("step", from, from + 299, 15, &["increase"])).await;
    let growth = known(&answer.series[0].statistics[0].values);
    assert_eq!(growth.iter().flatten().filter(|growth| **growth != 0.0).collect::<Vec<_>>(), [&5.0]);
    assert_eq!(growth[10], Some(5.0), "151 is in the eleventh");
    let answer = query(&aggregator, ask("sevens", from, from + 299, 15, &["increase"])).await;
    let growth = known(&answer.series[0].statistics[0].values);
    assert!(growth.iter().flatten().all(|growth| growth.fract() == 0.0), "{growth:?}");
    // Of 42 one fell into the hole.
    assert_eq!(growth.iter().flatten().sum::<f64>(), 41.0);
    let answer = query(&aggregator, ask("steady", from, from + 119, 1, &["rate"])).await;
    let rates = known(&answer.series[0].statistics[0].values);
    for (point, rate) in answer.points.iter().zip(rates) {
        let wanted = (!missing.contains(&point.tick)).then_some(300.0);
        assert_eq!((rate, point.seconds()), (wanted, u32::from(wanted.is_some())), "{point:?}");
    }
    aggregator.stopped().await;
}

/// 26. Zero, nothing and a line across the hole. 50. Mean of means over a hole.
#[tokio::test]
async fn nothing_is_neither_zero_nor_the_last_value() {
    let aggregator = Aggregator::start("solo", &[]).await;
    let mut node = node_at(&aggregator, "n1").await;
    let from = start(480, 60);
    feed(&mut node, from..from + 480, |tick| match tick - from {
        0..60 => vec![counter("rate", 20), gauge("level", 10)],
        60..120 => vec![counter("rate", 0), gauge("level", 10)],
        120..180 => Vec::new(),
        180..240 => vec![counter("rate", 5), gauge("level", 10)],
        420.. => vec![gauge("level", 100)],
        _ => Vec::new(),
    })
    .await;
    let answer = query(&aggregator, ask("rate", from, from + 239, 60, &["rate", "mean", "increase"])).await;
    let of = |at: usize| known(&answer.series[0].statistics[at].values);
    assert_eq!(of(0), [Some(20.0), Some(0.0), None, Some(5.0)]);
    assert_eq!(of(2), [Some(1_200.0), Some(0.0), None, Some(300.0)]);
    let seconds: Vec<_> = answer.points.iter().map(|point| (point.seconds(), point.seconds_expected())).collect();
    assert_eq!(seconds, [(60, 60), (60, 60), (0, 60), (60, 60)]);
    // Zero of 60 known seconds, half of what was asked for.
    let request = v1::SummarizeRequest {
        name: "rate".into(),
        from_tick: from + 60,
        to_tick: from + 179,
        ..v1::SummarizeRequest::default()
    };
    let summary = aggregator.query().await.summarize(request).await.unwrap().into_inner();
    assert_eq!((summary.average, summary.seconds, summary.seconds_expected), (Some(0.0), 60, 120));
    // Seconds weigh, not minutes: 180 of 10 and 60 of 100.
    let request = v1::SummarizeRequest {
        name: "level".into(),
        from_tick: from,
        to_tick: from + 479,
        ..v1::SummarizeRequest::default()
    };
    let summary = aggregator.query().await.summarize(request).await.unwrap().into_inner();
    assert_eq!((summary.average, summary.seconds, summary.seconds_expected), (Some(32.5), 240, 480));
    assert!((summary.standard_deviation.unwrap() - 38.9711).abs() < 1e-3, "{summary:?}");
    assert_eq!((summary.low.unwrap().value, summary.peak.unwrap().value), (Some(10.0), Some(100.0)));
    aggregator.stopped().await;
}

/// A question of which nobody takes the answer ends, and the next one has its turn.
#[tokio::test]
async fn questions_that_are_given_up_leave_room_for_others() {
    let aggregator = Aggregator::start("solo", &[]).await;
    let mut node = node_at(&aggregator, "n1").await;
    let to = now() - 3;
    feed(&mut node, to - 30..to, |_| vec![gauge("g", 1)]).await;
    let mut given_up = Vec::new();
    for _ in 0..200 {
        let mut client = aggregator.query().await;
        given_up.push(tokio::spawn(async move { client.query_range(ask("g", to - 800, to, 1, &[])).await }));
    }
    tokio::time::sleep(Duration::from_millis(5)).await;
    given_up.iter().for_each(tokio::task::JoinHandle::abort);
    let answer = eventually("an answer", async || {
        let answer = aggregator.query().await.query_range(ask("g", to - 30, to - 1, 1, &["last"])).await;
        answer.map(tonic::Response::into_inner).map_err(|status| status.to_string())
    })
    .await;
    assert_eq!(known(&answer.series[0].statistics[0].values), vec![Some(1.0); 30]);
    aggregator.stopped().await;
}
