//! Known faults of others in history, each by the number under which it is collected, through the whole stack: one import,
//! one aggregator on it with the usual tiers and one whose fine tiers have gone, asked over gRPC and through a dashboard.

#![allow(clippy::unwrap_used, reason = "a step that fails fails its test")]

use std::{collections::BTreeMap, sync::Arc};

use starling_proto::{
    histogram::{Histogram, HistogramSum},
    v1,
};
use starling_tests::imported::{Input, SHORT, Stack, now, promql};

const HOUR: u32 = 3_600;
const DAY: u32 = 86_400;
/// Every second of the import stays.
const LONG: [&str; 1] = ["history.keep_1s_secs=600000"];

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-4 * b.abs().max(1.0)
}

/// The hour of a case; a day and more lies after all of them.
fn of(start: u32, case: u32) -> u32 {
    start + case * HOUR
}

fn input(start: u32) -> Input {
    let mut all = Input::default();
    // 1: a reset on the seam of two windows.
    for t in 0..900 {
        let value = if t < 10 { 10 + 10 * t } else { (96 + 11 * (t - 10)).min(195) };
        all.line("x_total{node=\"n1\"}", value, of(start, 0) + t);
    }
    // 4: one a second.
    (0..=600).for_each(|t| all.line("g4{node=\"n1\"}", 1, of(start, 1) + t));
    // 5: two nodes that differ.
    let times = |value: u64, n: u64| Arc::new(Histogram::of(value, n));
    let a: Vec<_> = (0..60).map(|t| (of(start, 2) + t, times(10_000_000, 165))).collect();
    let b: Vec<_> = (0..60).map(|t| (of(start, 2) + t, times(1_000_000_000, if t < 20 { 4 } else { 3 }))).collect();
    all.histograms("a5", "lat5", &a);
    all.histograms("b5", "lat5", &b);
    // 13: twenty nodes, half of the time the other way round.
    for (k, t) in (1..=20i64).flat_map(|k| (0..HOUR).step_by(10).map(move |t| (k, t))) {
        all.line(&format!("cpu13{{node=\"n{k}\"}}"), if t < 1_800 { k } else { 40 - 2 * k }, of(start, 3) + t);
    }
    // 16: buckets as they are.
    for (bound, n) in [("0.1", 10), ("0.5", 40), ("1", 90), ("+Inf", 100)] {
        all.line(&format!("b16_bucket{{node=\"n1\",le=\"{bound}\"}}"), n, of(start, 5));
    }
    // 17: growth between two windows.
    for t in 0..=300 {
        all.line("a17_total{node=\"n1\"}", if t <= 150 { 100 } else { 105 }, of(start, 6) + t);
        all.line("b17_total{node=\"n1\"}", t / 7, of(start, 6) + t);
    }
    // 19: a hole.
    for t in (0..=120).filter(|t| !(60..65).contains(t)) {
        all.line("c19_total{node=\"n1\"}", 300 * t, of(start, 7) + t);
    }
    // 34: a burst.
    for t in 480..520 {
        all.line("c34_total{node=\"n1\"}", 50 * t + if t >= 500 { 3_000 } else { 0 }, of(start, 8) + t);
    }
    // 50: an hour, and a minute of the next one.
    (0..HOUR).for_each(|t| all.line("g50{node=\"n1\"}", 10, of(start, 9) + t));
    (7_140..7_200).for_each(|t| all.line("g50{node=\"n1\"}", 100, of(start, 9) + t));
    // 58: zeros.
    let mut zeros = HistogramSum::new();
    zeros.record(0, 80);
    zeros.record(1_000_000_000, 20);
    let zeros = Arc::new(zeros.to_histogram());
    let zeros: Vec<_> = (0..10).map(|t| (of(start, 12) + 6 * t, zeros.clone())).collect();
    all.histograms("n58", "lat58", &zeros);
    // 59: the highest rate of an hour, and a process that begins again.
    for t in 0..HOUR {
        let value = if t < 2_345 { 10 * t + if t >= 1_234 { 4_990 } else { 0 } } else { 10 * (t - 2_345) };
        all.line("c59_total{node=\"n1\"}", value, of(start, 13) + t);
    }
    // 2: a day with one peak; by the minute but for the hour of the peak.
    for t in (0..DAY).filter(|t| t / HOUR == 41_237 / HOUR || t % 60 == 0) {
        all.line("g2{node=\"n1\"}", if t == 41_237 { 640 } else { 5 }, of(start, 14) + t);
    }
    // 35: an hour long ago.
    (0..360).for_each(|n| all.line("c35_total{node=\"n1\"}", 500 * n, start - 300 * DAY + 10 * n));
    all
}

/// 52, and what lies between the samples of longer steps.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows_read_in_longer_steps_miss_no_peak_and_read_nothing_ahead() {
    let dir = tempfile::tempdir().unwrap();
    let start = (now() - DAY) / HOUR * HOUR;
    let mut all = Input::default();
    for t in 0..20_000 {
        all.line("g{node=\"n1\"}", t, start + t);
        let peak = match t {
            5_003 => 100,
            7_777 => -100,
            _ => 1,
        };
        all.line("peak{node=\"n1\"}", peak, start + t);
    }
    let [state, _] = all.import(dir.path());
    let stack = Stack::start(&state, &LONG).await;
    let at = start + 4 * HOUR;
    let one = async |query: &str| stack.points(query, (at, at, 0)).await.into_values().next().unwrap();
    assert_eq!(one("last_over_time(g[4h])").await, 14_399.0, "the end of the last step that is over");
    let mean = one("avg_over_time(g[4h])").await;
    assert!((mean - 7_200.5).abs() <= 1.0, "{mean}");
    assert_eq!(one("max_over_time(peak[4h])").await, 100.0);
    assert_eq!(one("min_over_time(peak[4h])").await, -100.0);
    // Five hours by the minute.
    let values = stack.points("g", (start + 600, start + 18_660, 60)).await;
    assert_eq!(values.len(), 302);
    for (tick, value) in values {
        let age = f64::from(tick - start) - value;
        assert!((0.0..=60.0).contains(&age), "{age} s at {}", tick - start);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn known_faults_of_others_give_the_right_answers() {
    let dir = tempfile::tempdir().unwrap();
    // Midnight lies before case 34, whenever the test runs.
    let start = (now() - 3 * DAY) / DAY * DAY - 8 * HOUR;
    let [state, copy] = input(start).import(dir.path());
    let stack = Stack::start(&state, &LONG).await;

    let t = of(start, 0);
    assert_eq!(stack.values("n1", "x_total", (t, t + 19, HOUR), "increase").await.iter().sum::<f64>(), 285.0, "1");

    let t = of(start, 14);
    let answer = stack.range("n1", "g2", (t, t + DAY - 1, 300), &["min", "mean", "max"]).await;
    let values: Vec<f64> = answer.series[0].statistics.iter().map(|one| one.values[41_237 / 300]).collect();
    assert!(values[0] == 5.0 && near(values[1], 5.0 + 635.0 / 300.0) && values[2] == 640.0, "2: {values:?}");
    for (from, to) in [(t, t + DAY - 1), (t + 41_100, t + 41_399), (t - 5 * HOUR, t + DAY - 1)] {
        let peak = stack.summary("g2", from, to, "").await.peak.unwrap();
        assert_eq!((peak.value, peak.tick), (Some(640.0), t + 41_237), "2: {from} to {to}");
    }

    let t = of(start, 1);
    let cells = stack.values("n1", "g4", (t, t + 600, 60), "sum").await;
    assert_eq!((cells[0], cells.iter().sum::<f64>()), (60.0, 601.0), "4");
    let counts = stack.points("count_over_time(g4[1m])", (t + 60, t + 600, 1)).await;
    assert!(counts.len() == 541 && counts.values().all(|n| *n == 60.0), "4: {counts:?}");

    two_nodes_are_one_histogram(&stack, of(start, 2), "usual tiers").await;

    let t = of(start, 3);
    let top = v1::QueryRangeRequest {
        scope: Some(v1::Scope { each_node: true, ..Default::default() }),
        name: "cpu13".into(),
        from_tick: t,
        to_tick: t + HOUR - 1,
        step_seconds: 60,
        statistics: vec!["mean".into()],
        top: 3,
        ..Default::default()
    };
    let top = stack.client.clone().query_range(top).await.unwrap().into_inner();
    let ranked: Vec<_> = top.series.iter().map(|one| (one.node_id.as_str(), one.rank_value.unwrap())).collect();
    assert_eq!(ranked, [("n1", 19.5), ("n2", 19.0), ("n3", 18.5)], "13");
    assert!(top.series.iter().all(|one| one.statistics[0].values.iter().all(|value| !value.is_nan())), "13");
    let top = stack.client.clone().query_promql(promql("topk(3, cpu13)", (t, t + HOUR - 10, 60))).await.unwrap();
    assert_eq!(top.into_inner().series.len(), 6, "13");

    let t = of(start, 5);
    for (q, wanted) in [("0.05", 0.05), ("0.25", 0.3), ("0.5", 0.6), ("0.9", 1.0), ("0.99", 1.0)] {
        let points = stack.points(&format!("histogram_quantile({q}, b16_bucket)"), (t, t, 1)).await;
        assert!(points.get(&t).is_some_and(|value| near(*value, wanted)), "16: {q}: {points:?}");
    }

    let t = of(start, 6);
    let grown = stack.values("n1", "a17_total", (t, t + 300, 15), "increase").await;
    assert_eq!((grown.iter().sum::<f64>(), grown.iter().filter(|value| **value > 0.0).count()), (5.0, 1), "17");
    let grown = stack.values("n1", "b17_total", (t, t + 300, 15), "increase").await;
    assert!(grown.iter().all(|value| value.fract() == 0.0) && grown.iter().sum::<f64>() == 42.0, "17: {grown:?}");
    let grown = stack.points("increase(a17_total[15s])", (t + 15, t + 300, 15)).await;
    assert!(grown.len() == 20 && grown.values().all(|value| *value == 0.0), "17: {grown:?}");

    let t = of(start, 7);
    let rates = stack.values("n1", "c19_total", (t, t + 120, 1), "rate").await;
    assert!(rates.iter().all(|rate| rate.is_nan() || *rate <= 300.0), "19: {rates:?}");
    let answer = stack.range("n1", "c19_total", (t + 60, t + 64, 5), &["rate"]).await;
    assert_eq!(answer.points.iter().map(v1::RangePoint::seconds).sum::<u32>(), 0, "19: {answer:?}");
    let rates = stack.points("rate(c19_total[5s])", (t + 6, t + 120, 1)).await;
    let at = |second: u32| rates.get(&(t + second)).map(|rate| rate.round());
    assert_eq!([at(60), at(62), at(63), at(65)], [Some(300.0), Some(150.0), None, None], "19: {rates:?}");
    assert_eq!([at(66), at(67), at(69)], [Some(90.0), Some(150.0), Some(300.0)], "19: {rates:?}");

    let t = of(start, 8);
    let rates = stack.points("rate(c34_total[4s])", (t + 499, t + 503, 1)).await;
    let rates: Vec<f64> = rates.values().map(|rate| rate.round()).collect();
    assert_eq!(rates, [50.0, 1_050.0, 1_050.0, 1_050.0, 50.0], "34");
    // What was counted on the day before the window is counted once, whatever cells it is read from.
    for (at, sum) in [(499, 950.0), (500, 4_000.0), (511, 4_550.0)] {
        let sums = stack.points("last_over_time(c34_total[4s])", (t + at, t + at, 1)).await;
        assert_eq!(sums, BTreeMap::from([(t + at, sum)]), "34");
    }
    assert_eq!(stack.values("n1", "c34_total", (t + 499, t + 501, 1), "rate").await, [50.0, 3_050.0, 50.0], "34");

    hour_and_minute(&stack, of(start, 9)).await;
    let to = of(start, 9) + 7_199;
    let rest = stack.rest(&format!("/prometheus/api/v1/query?query=avg_over_time(g50[2h])&time={to}")).await;
    let value = rest["data"]["result"][0]["value"][1].as_str().unwrap_or_default().to_owned();
    assert!(value.starts_with("11.475"), "50: {rest}");

    zeros_are_a_row(&stack, of(start, 12)).await;
    let t = of(start, 13);
    let rates = stack.values("n1", "c59_total", (t, t + HOUR - 1, 60), "max").await;
    assert_eq!(rates.into_iter().fold(0.0, f64::max), 5_000.0, "59");
    // Hours after midnight.
    let sums = stack.points("last_over_time(c59_total[4s])", (t + 1_007, t + 1_007, 1)).await;
    assert_eq!(sums, BTreeMap::from([(t + 1_007, 10_070.0)]));
    drop(stack);

    let stack = Stack::start(&copy, &SHORT).await;
    let t = of(start, 0);
    let answer = stack.range("n1", "x_total", (t, t + HOUR - 1, HOUR), &["increase"]).await;
    let grown = answer.series[0].statistics[0].values[0];
    assert_eq!((grown, answer.resolution_seconds), (285.0, HOUR), "1, of the hours");
    two_nodes_are_one_histogram(&stack, of(start, 2), "hours").await;
    zeros_are_a_row(&stack, of(start, 12)).await;
    hour_and_minute(&stack, of(start, 9)).await;
    let t = of(start, 13);
    let answer = stack.range("n1", "c59_total", (t, t + HOUR - 1, HOUR), &["max", "mean", "min"]).await;
    let values: Vec<f64> = answer.series[0].statistics.iter().map(|one| one.values[0]).collect();
    assert!(values[0] == 5_000.0 && (values[1] - 11.38).abs() < 0.01 && values[2] >= 0.0, "59: {values:?}");
    // 35: a window narrower than the tier is refused with the smallest that works.
    let old = start - 300 * DAY;
    let narrow = stack.client.clone().query_promql(promql("rate(c35_total[1m])", (old, old + HOUR, 60))).await;
    let refused = narrow.unwrap_err();
    assert!(refused.message().contains("the window must be at least 7200 s"), "35: {refused}");
    assert!(!stack.aggregator.log().contains("ERROR"), "{}", stack.aggregator.log());
}

/// 5. A percentile is that of all values, never made of percentiles.
async fn two_nodes_are_one_histogram(stack: &Stack, t: u32, tier: &str) {
    let mut whole = HistogramSum::new();
    whole.record(10_000_000, 9_900);
    whole.record(1_000_000_000, 200);
    let whole = whole.to_histogram();
    for (from, to) in [(t, t + HOUR - 1), (t - 4 * DAY, t + 2 * HOUR - 1)] {
        let found = stack.distribution("", "lat5", from, to).await.unwrap();
        assert_eq!(found.count, Some(10_100.0), "5: {tier}, {from} to {to}");
        let value = |at: usize| found.quantiles[at].value.unwrap();
        assert!((value(0) - 0.01).abs() < 1e-4 && (value(2) - 1.0).abs() < 0.004, "5: {tier}: {:?}", found.quantiles);
        let merged = Histogram::decode(&found.histogram).unwrap();
        assert!(merged.buckets().eq(whole.buckets()), "5: {tier}: bucket by bucket");
    }
    let of_node = stack.distribution("b5", "lat5", t, t + HOUR - 1).await.unwrap();
    let p99 = of_node.quantiles[2].value.unwrap();
    assert!(of_node.count == Some(200.0) && (p99 - 1.0).abs() < 0.035, "5: {of_node:?}");
}

/// 50. A mean weighs seconds.
async fn hour_and_minute(stack: &Stack, t: u32) {
    let summary = stack.summary("g50", t, t + 7_199, "").await;
    let (average, deviation) = (summary.average.unwrap(), summary.standard_deviation.unwrap());
    assert!(near(average, 11.4754) && (deviation - 11.428).abs() < 2e-3, "50: {average} {deviation}");
    assert_eq!((summary.seconds, summary.seconds_expected), (3_660, 7_200), "50");
    let extremes = [summary.low, summary.peak].map(|extreme| extreme.unwrap().value);
    assert_eq!(extremes, [Some(10.0), Some(100.0)], "50");
}

/// 58. Values that are zero stay zero.
async fn zeros_are_a_row(stack: &Stack, t: u32) {
    let found = stack.distribution("n58", "lat58", t, t + HOUR - 1).await.unwrap();
    let value = |at: usize| found.quantiles[at].value.unwrap();
    assert!(value(0) == 0.0 && (value(1) - 1.0).abs() < 0.035, "58: {:?}", found.quantiles);
    assert_eq!(found.count, Some(1_000.0), "58");
    assert!(found.buckets.iter().all(|bucket| bucket.lower.unwrap() >= 0.0), "58: {:?}", found.buckets);
}

/// 14. Heat map rows sorted as text, +Inf at the bottom.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_a_heat_map_rise_and_hold_their_values() {
    const MICROS: [u64; 6] = [50, 2_000, 200_000, 3_000_000, 12_000_000, 90_000_000];
    let dir = tempfile::tempdir().unwrap();
    let t = (now() - DAY) / HOUR * HOUR;
    let mut sum = HistogramSum::new();
    MICROS.iter().for_each(|micros| sum.record(micros * 1_000, 1));
    let each = Arc::new(sum.to_histogram());
    let mut input = Input::default();
    input.histograms("n1", "traffic.duration", &(t..t + 60).map(|tick| (tick, each.clone())).collect::<Vec<_>>());
    let [state, _] = input.import(dir.path());
    let stack = Stack::start(&state, &LONG).await;
    let request = v1::GetHeatmapRequest { from_tick: t, to_tick: t + 59, step_seconds: 1, ..Default::default() };
    let map = stack.client.clone().get_heatmap(request).await.unwrap().into_inner();
    let bounds: Vec<[Option<f64>; 2]> = map.rows.iter().map(|row| [row.lower, row.upper]).collect();
    let grid: Vec<Vec<f64>> = map.rows.iter().map(|row| row.cells.clone()).collect();
    rises(&bounds, &grid, 1e-6);
    let path = format!("/api/v1/metrics/heatmap/latency?from={t}&to={}&columns=60", t + 59);
    let shown = stack.rest(&path).await;
    let all = |of: &serde_json::Value| of.as_array().unwrap_or_else(|| panic!("{shown}")).clone();
    let bounds: Vec<[Option<f64>; 2]> =
        all(&shown["rows"]).iter().map(|row| ["lower", "upper"].map(|key| row[key].as_f64())).collect();
    let cell = |cell: &serde_json::Value| cell["value"].as_f64().unwrap_or(f64::NAN);
    let grid: Vec<Vec<f64>> = all(&shown["grid"]).iter().map(|row| all(row).iter().map(cell).collect()).collect();
    assert_eq!((shown["unit"].as_str(), shown["stepSeconds"].as_u64()), (Some("us"), Some(1)), "{shown}");
    rises(&bounds, &grid, 1.0);

    fn rises(bounds: &[[Option<f64>; 2]], grid: &[Vec<f64>], unit: f64) {
        let [lower, upper] = [0, 1].map(|side| move |row: &[Option<f64>; 2]| row[side].unwrap_or(f64::INFINITY));
        assert!(bounds.iter().all(|row| lower(row) < upper(row)), "{bounds:?}");
        assert!(bounds.windows(2).all(|pair| upper(&pair[0]) <= lower(&pair[1])), "{bounds:?}");
        for column in 0..60 {
            assert_eq!(grid.iter().map(|row| row[column]).sum::<f64>(), 6.0, "{column}");
            for micros in MICROS {
                let value = micros as f64 * unit;
                let row = bounds.iter().position(|row| lower(row) <= value && value < upper(row));
                assert_eq!(row.map(|row| grid[row][column]), Some(1.0), "{micros} us in {bounds:?}");
            }
        }
    }
}

/// 49. The same time a week ago, across the change of clocks: 2026-10-25 in Berlin.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_week_ago_is_the_same_time_of_the_day_across_the_change_of_clocks() {
    /// 2026-10-25 00:00Z: at 01:00Z it is 02:00 there instead of 03:00.
    const CHANGE: u32 = 1_792_886_400;
    let dir = tempfile::tempdir().unwrap();
    // It is nine there.
    let nine = |day: u32| {
        let hour = if day < 25 { 7 } else { 8 };
        CHANGE + day * DAY - 25 * DAY + hour * HOUR
    };
    let mut input = Input::default();
    for day in 16..=30 {
        // By the minute, the hours on both sides with it.
        for tick in (nine(day) - 2 * HOUR..nine(day) + 3 * HOUR).step_by(60) {
            let busy = (nine(day)..nine(day) + HOUR).contains(&tick);
            input.line("rps{node=\"n1\"}", if busy { 1_000 } else { 100 }, tick);
            input.line(
                "odd{node=\"n1\"}",
                if !busy {
                    100
                } else if day == 28 {
                    300
                } else {
                    1_000
                },
                tick,
            );
        }
    }
    let [state, _] = input.import(dir.path());
    let stack = Stack::start(&state, &LONG).await;
    for (day, zone) in (24..=30).flat_map(|day| ["Europe/Berlin", ""].map(|zone| (day, zone))) {
        let (from, to) = (nine(day), nine(day) + HOUR - 1);
        let summary = stack.summary("rps", from, to, zone).await;
        let week = summary.week_ago.clone().unwrap();
        let is_after = (25..=31).contains(&day);
        let wanted = if zone.is_empty() { from - 7 * DAY } else { nine(day - 7) };
        assert_eq!(week.from_tick, wanted, "{day} {zone:?}");
        assert_eq!(from - week.from_tick == 608_400, is_after && !zone.is_empty(), "{day} {zone:?}");
        assert_eq!(week.counted_in, if zone.is_empty() { "168 hours in UTC" } else { zone });
        assert_eq!(summary.average, Some(1_000.0), "{day}");
        if !zone.is_empty() {
            assert_eq!((week.average, week.change_ratio), (Some(1_000.0), Some(0.0)), "{day}");
        }
        let broken = |summary: &v1::Summary| summary.insights.iter().any(|one| one.r#type == "daily_pattern");
        assert!(!broken(&summary), "{day} {zone:?}: {:?}", summary.insights);
        // One that is broken is told with and without the zone.
        assert_eq!(broken(&stack.summary("odd", from, to, zone).await), day == 28, "{day} {zone:?}");
        let zone = if zone.is_empty() { String::new() } else { format!("&timeZone={zone}") };
        let shown =
            stack.rest(&format!("/api/v1/metrics/historical?metric=rps&node=n1&from={from}&to={to}{zone}")).await;
        assert!(shown["average"] == 1_000.0 && shown["insights"].is_array(), "{shown}");
        assert!(!shown["insights"].to_string().contains("daily_pattern"), "{shown}");
    }
    // In PromQL a week is 604,800 s: on the 19th it is nine an hour earlier.
    for (hour, wanted) in [(7, 1_000.0), (8, 100.0)] {
        let at = CHANGE + DAY + (hour + 1) * HOUR - 1;
        let mean = stack.points("avg_over_time(rps{node=\"n1\"}[1h] offset 1w)", (at, at, 0)).await[&at];
        assert!((mean - wanted).abs() <= 0.02 * 1_000.0, "{hour}: {mean}");
    }
}

/// A percentile over any tier, range and set is that of one histogram of all samples, bucket for bucket.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_range_of_any_nodes_is_one_histogram_of_all_samples() {
    let dir = tempfile::tempdir().unwrap();
    let start = (now() - 2 * DAY) / HOUR * HOUR;
    let mut seed = u64::from(now()) | 1;
    println!("seed {seed}");
    let mut random = move |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    };
    // Of each node seconds with some values each, over four hours; most seconds have none.
    let mut samples: BTreeMap<(&str, u32), Vec<u64>> = BTreeMap::new();
    for _ in 0..1_500 {
        let node = ["a", "b", "c"][random(3) as usize];
        let tick = start + random(4 * u64::from(HOUR)) as u32;
        let magnitude = 1u64 << random(41);
        let values: Vec<u64> = (0..=random(6)).map(|_| random(magnitude)).collect();
        samples.entry((node, tick)).or_default().extend(values);
    }
    let together = |values: &[u64]| {
        let mut sum = HistogramSum::new();
        values.iter().for_each(|value| sum.record(*value, 1));
        sum.to_histogram()
    };
    let mut input = Input::default();
    for node in ["a", "b", "c"] {
        let of_node = samples.iter().filter(|((own, _), _)| *own == node);
        let seconds: Vec<_> = of_node.map(|((_, tick), values)| (*tick, Arc::new(together(values)))).collect();
        input.histograms(node, "lat", &seconds);
    }
    let [state, copy] = input.import(dir.path());
    for (folder, settings, grains) in [(&state, &[][..], [1, 10, 60, HOUR]), (&copy, &SHORT[..], [HOUR; 4])] {
        let stack = Stack::start(folder, settings).await;
        // Nothing is joined that is too old to stay.
        assert!(!stack.aggregator.log().contains("work=\"join\""), "{}", stack.aggregator.log());
        for case in 0..40 {
            let grain = grains[case % 4];
            let steps = 4 * HOUR / grain;
            let from = random(steps.into()) as u32;
            // Longer ranges may be read in steps that reach beyond their ends by a third of a percent.
            let longest = (steps - from).min(if grain == 1 { 2_900 } else { steps });
            let to = from + 1 + random(longest.into()) as u32;
            let (from, to) = (start + from * grain, start + to * grain - 1);
            let node = ["", "a", "b", "c"][random(4) as usize];
            let wanted = samples.iter().filter(|((own, _), _)| node.is_empty() || *own == node);
            let wanted = wanted.filter(|((_, tick), _)| (from..=to).contains(tick));
            let wanted = together(&wanted.flat_map(|(_, values)| values.clone()).collect::<Vec<_>>());
            let found = match stack.distribution(node, "lat", from, to).await {
                Ok(found) if wanted.is_empty() => {
                    assert_eq!((found.count, found.histogram.len()), (None, 0), "{node:?} {from} to {to}");
                    continue;
                }
                Ok(found) => Histogram::decode(&found.histogram).unwrap(),
                Err(status) => {
                    assert!(wanted.is_empty(), "{node:?} {from} to {to}: {status}");
                    continue;
                }
            };
            let same = |a: &Histogram, b: &Histogram| {
                a.buckets().eq(b.buckets()) && (a.count(), a.sum(), a.max()) == (b.count(), b.sum(), b.max())
            };
            // Nodes have one digit beyond ten seconds.
            let right = same(&found, &wanted) || (!node.is_empty() && same(&found.coarse(), &wanted.coarse()));
            assert!(right, "{node:?} {from} to {to}, grain {grain}: {found:?} instead of {wanted:?}");
        }
    }
}
