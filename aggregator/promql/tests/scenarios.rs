//! Known faults of others in this field: the answers that are right.

mod store;

use store::{Store, T0};

use starling_promql::{Failure, Options, Query, Range, Value, limits::Limits, stale_marker};
use starling_proto::histogram::Histogram;

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * b.abs().max(1.0)
}

/// A counter that grows by `growth(t)` at each second after the first.
fn counter(to: i64, growth: impl Fn(i64) -> f64) -> Vec<(f64, f64)> {
    let mut value = 0.0;
    (0..=to)
        .map(|t| {
            value += if t > 0 { growth(t) } else { 0.0 };
            (t as f64, value)
        })
        .collect()
}

#[test]
fn a_restart_on_a_seam_is_a_restart() {
    let values = (0..10).map(|t| 10.0 + 10.0 * f64::from(t)).chain((0..10).map(|t| 96.0 + 11.0 * f64::from(t)));
    let mut store = Store::default();
    store.add("x_total", &[], values.enumerate().map(|(t, value)| (t as f64, value)));
    assert_eq!(store.one("resets(x_total[20s])", 19.0), Some(1.0));
    assert!(near(store.one("increase(x_total[20s])", 19.0).unwrap(), 295.0));
}

#[test]
fn the_left_edge_is_open() {
    let mut store = Store::default();
    store.add("g", &[], (0..=600).map(|t| (f64::from(t), 1.0)));
    for t in 60..=600 {
        assert_eq!(store.one("count_over_time(g[1m])", f64::from(t)), Some(60.0), "at {t}");
    }
    let whole: f64 = store.values("sum_over_time(g[1m])", 60, 600, 60).iter().sum();
    assert_eq!(whole, 600.0);
    // A sample as old as the look-back is not found.
    assert_eq!(store.one("g", 600.0 + 299.999), Some(1.0));
    assert_eq!(store.one("g", 900.0), None);
}

#[test]
fn top_k_picks_at_each_step() {
    let mut store = Store::default();
    for node in 1..=20 {
        let cpu = |t: i32| if t < 1800 { f64::from(node) } else { 40.0 - 2.0 * f64::from(node) };
        store.add("cpu", &[("node", &format!("n{node}"))], (0..3600).step_by(60).map(|t| (f64::from(t), cpu(t))));
    }
    let found = store.range("topk(3, cpu)", 0, 3599, 60);
    let names: Vec<_> = found.iter().map(|(labels, points)| (labels.as_str(), points.len())).collect();
    let first = ["n18", "n19", "n20"];
    for (labels, points) in &found {
        let in_first = first.iter().any(|node| labels.contains(&format!("\"{node}\"")));
        assert_eq!(points.len(), 30, "{labels}");
        assert!(points.iter().all(|&(t, _)| (t < 1800.0) == in_first), "{labels}");
    }
    assert_eq!(names.len(), 6, "{names:?}");
}

#[test]
fn growth_between_windows_is_lost_and_whole_events_become_fractions_as_in_prometheus() {
    let mut store = Store::default();
    store.add("a", &[], (0..=300).map(|t| (f64::from(t), if t <= 150 { 100.0 } else { 105.0 })));
    store.add("b", &[], (0..=300).map(|t| (f64::from(t), f64::from(1 + t / 7))));
    assert_eq!(store.values("increase(a[15s])", 15, 300, 15), vec![0.0; 20]);
    let events = store.values("increase(b[15s])", 15, 300, 15);
    // 2 events in 14 s between 15 samples, stretched to 15 s.
    assert!(events.iter().all(|&v| near(v, 2.0 * 15.0 / 14.0)), "{events:?}");
    assert!((events.iter().sum::<f64>() - 42.857).abs() < 1e-3);
}

#[test]
fn a_hole_does_not_make_a_spike() {
    let mut store = Store::default();
    let with_hole = counter(120, |_| 300.0).into_iter().filter(|(t, _)| !(60.0..=64.0).contains(t));
    store.add("c", &[], with_hole);
    let at = |t: f64| store.one("rate(c[5s])", t);
    let wanted = [
        (60.0, Some(300.0)),
        (62.0, Some(150.0)),
        (63.0, None),
        (64.0, None),
        (65.0, None),
        (66.0, Some(90.0)),
        (67.0, Some(150.0)),
        (69.0, Some(300.0)),
        (100.0, Some(300.0)),
    ];
    for (t, value) in wanted {
        assert!(
            match (at(t), value) {
                (Some(a), Some(b)) => near(a, b),
                (a, b) => a == b,
            },
            "at {t}: {:?}",
            at(t)
        );
    }
}

#[test]
fn a_burst_between_two_seconds_is_in_three_windows_of_four() {
    let mut store = Store::default();
    store.add("c", &[], counter(600, |t| if t == 500 { 3_050.0 } else { 50.0 }));
    for (t, rate) in [(499.0, 50.0), (500.0, 1_050.0), (501.0, 1_050.0), (502.0, 1_050.0), (503.0, 50.0)] {
        assert!(near(store.one("rate(c[4s])", t).unwrap(), rate), "at {t}");
    }
}

#[test]
fn absent_labels_are_empty() {
    let mut store = Store::default();
    store.add("up", &[("node", "a")], [(0.0, 1.0)]);
    store.add("up", &[("node", "b"), ("zone", "x")], [(0.0, 1.0)]);
    let nodes = |query: &str| {
        let found = store.vector(query, 1.0);
        ["a", "b"]
            .into_iter()
            .filter(|n| found.iter().any(|(l, _)| l.contains(&format!("node={n:?}"))))
            .collect::<String>()
    };
    for (query, wanted) in [
        ("up{zone=\"\"}", "a"),
        ("{zone!=\"\",__name__=\"up\"}", "b"),
        ("up{__ignore_usage__=\"\"}", "ab"),
        ("up{zone=~\".*\"}", "ab"),
        ("up{zone=~\".+\"}", "b"),
        ("up{zone!~\".+\"}", "a"),
        ("up{zone!=\"x\"}", "a"),
    ] {
        assert_eq!(nodes(query), wanted, "{query}");
    }
    for query in ["{}", "{zone=~\".*\"}"] {
        let error = Query::parse(query).unwrap_err();
        assert!(error.text.contains("at least one"), "{query}: {error}");
    }
    let groups = store.vector("sum by (zone) (up)", 1.0);
    assert_eq!(groups, [("{}".to_owned(), 1.0), ("{zone=\"x\"}".to_owned(), 1.0)]);
}

#[test]
fn patterns_are_anchored() {
    let mut store = Store::default();
    for node in ["web-1", "web-10", "xweb-1", "Web-1", "we\nb"] {
        store.add("up", &[("node", node)], [(0.0, 1.0)]);
    }
    store.add("up", &[], [(0.0, 1.0)]);
    let count = |pattern: &str| {
        let of = |op: &str| store.vector(&format!("up{{node{op}{pattern:?}}}"), 1.0).len();
        assert_eq!(of("=~") + of("!~"), 6, "{pattern}");
        of("=~")
    };
    let wanted =
        [("web-1", 1), ("web-1|", 2), (".+|^$", 6), ("()", 1), ("(?i)web-1", 2), (".*", 6), ("web-1|web-10", 2)];
    for (pattern, matched) in wanted {
        assert_eq!(count(pattern), matched, "{pattern}");
    }
    for broken in ["(", "*", "a)|(b", "((a{1000}){1000}){1000}"] {
        assert!(Query::parse(&format!("up{{node=~{broken:?}}}")).is_err(), "{broken}");
    }
}

#[test]
fn an_end_is_an_end() {
    let mut store = Store::default();
    store.add("g", &[], (0..=100).map(|t| (f64::from(t), 42.0)).chain([(101.0, stale_marker())]));
    assert_eq!(store.one("g", 100.5), Some(42.0));
    assert_eq!(store.one("g", 101.0), None);
    assert_eq!(store.one("count_over_time(g[10s])", 105.0), Some(5.0));
    assert_eq!(store.values("sum(g)", 90, 450, 1).len(), 11);
}

#[test]
fn offsets_count_once_and_ends_are_those_of_the_whole_query() {
    let mut store = Store::default();
    let day = 86_400;
    store.add("g", &[("i", "1")], (0..=3 * day).map(|t| (f64::from(t), f64::from(t))));
    let to = i64::from(3 * day);
    assert!(store.values("g @ end()", 0, to, 3600).iter().all(|&v| v == to as f64));
    assert!(store.values("g @ start()", 0, to, 3600).iter().all(|&v| v == 0.0));
    assert_eq!(store.one("avg_over_time(g[1d] offset 1h)", 172_800.0), Some(126_000.5));
    assert_eq!(store.one("g offset -5m", 100.0), Some(400.0));
    assert_eq!(store.one("g offset 1w", 700_000.0), Some(95_200.0));
    assert_eq!(store.one(&format!("g @ {}", T0 + 50), 5.0), Some(50.0));
    store.add("g", &[("i", "2")], [(f64::from(3 * day), 1e9)]);
    store.add("g", &[("i", "3")], [(f64::from(3 * day), -1.0)]);
    let top = store.range("topk(2, g @ end())", 0, to, 3600);
    assert_eq!(top.len(), 2);
    assert!(top.iter().all(|(_, points)| points.len() == 73), "{top:?}");
}

#[test]
fn subqueries_lie_on_an_absolute_grid() {
    let mut store = Store::default();
    store.add("g", &[], (0..=600).map(|t| (f64::from(t), f64::from(t))));
    for at in [300.0, 301.0, 301.5, 302.0, 303.0] {
        assert_eq!(store.one("count_over_time(vector(1)[1m:3s])", at), Some(20.0), "at {at}");
    }
    // T0 is a multiple of 3: the newest inner step at 301.5 is 300.
    assert_eq!(store.one("max_over_time(g[1m:3s])", 301.5), Some(300.0));
    assert_eq!(store.one("min_over_time(g[1m:3s])", 301.5), Some(243.0));
    assert_eq!(store.one("count_over_time(g[1m:])", 301.5), Some(60.0), "one second, the stated default");
    assert_eq!(store.one("max_over_time(avg_over_time(g[10s:1s])[30s:5s])", 300.0), Some(295.5));
}

#[test]
fn a_percentile_is_that_of_all_requests() {
    let mut store = Store::default();
    let second = |_: i64| Histogram::of(10_000_000, 165).plus(&Histogram::of(1_000_000_000, 3)).unwrap();
    store.add_histograms("lat", 9, (0..=120).map(|t| (t, second(t))));
    let p99 = store.one("histogram_quantile(0.99, sum(rate(lat[1m])))", 100.0).unwrap();
    assert!((p99 - 1.0).abs() < 0.004, "{p99}");
    let p50 = store.one("histogram_quantile(0.5, lat)", 100.0).unwrap();
    assert!((p50 - 0.01).abs() < 0.000_04, "{p50}");
    assert_eq!(store.one("histogram_count(lat)", 100.0), Some(101.0 * 168.0));
    assert!(near(store.one("histogram_count(increase(lat[1m]))", 100.0).unwrap(), 168.0 * 60.0));
    assert!(near(store.one("histogram_sum(rate(lat[1m]))", 100.0).unwrap(), 1.65 + 3.0));
    assert!(near(store.one("histogram_avg(rate(lat[1m]))", 100.0).unwrap(), 4.65 / 168.0));
    assert!(near(store.one("histogram_fraction(0.5, 2, rate(lat[1m]))", 100.0).unwrap(), 3.0 / 168.0));
    // The running merge and its growth are the same thing, however it is asked for.
    let (grown, apart) = ("histogram_count(increase(lat[10s]))", "histogram_count((lat - lat offset 9s) * 10 / 9)");
    assert!(near(store.one(grown, 50.0).unwrap(), store.one(apart, 50.0).unwrap()));
    assert_eq!(store.one("count_over_time(lat[10s])", 50.0), Some(10.0));
    assert_eq!(store.one("resets(lat[10s])", 50.0), Some(0.0));
    assert_eq!(store.one("histogram_count(last_over_time(lat[10s]))", 9.0), Some(1680.0));
}

#[test]
fn the_growth_of_a_running_sum_knows_no_midnight() {
    let mut store = Store::default();
    let midnight = 21 * 3600;
    // Little before midnight and a burst right after it: the new sum is higher than the old one.
    store.add_sums("x_total", midnight - 5..midnight + 60, |t| if t == midnight + 1 { 3_000.0 } else { 50.0 });
    let at = |query: &str, after: i64| store.one(query, (midnight + after) as f64);
    assert_eq!([at("x_total", -1), at("x_total", 0), at("x_total", 1)], [Some(250.0), Some(50.0), Some(3_050.0)]);
    for (after, rate) in [(-1, 50.0), (0, 50.0), (1, 3_100.0 / 3.0), (3, 3_100.0 / 3.0), (4, 50.0), (59, 50.0)] {
        assert!(near(at("rate(x_total[4s])", after).unwrap(), rate), "{after}");
        assert!(near(at("increase(x_total[4s])", after).unwrap(), 4.0 * rate), "{after}");
    }
    assert_eq!((at("irate(x_total[4s])", 1), at("irate(x_total[4s])", 0)), (Some(3_000.0), Some(50.0)));
    assert_eq!((at("resets(x_total[10s])", 5), at("count_over_time(x_total[10s])", 4)), (Some(0.0), Some(10.0)));
}

#[test]
fn a_running_merge_begins_again_at_midnight() {
    let mut store = Store::default();
    let midnight = 21 * 3600;
    store.add_histograms("lat", 9, (midnight - 10..midnight + 10).map(|t| (t, Histogram::of(1_000, 2))));
    assert_eq!(store.one("histogram_count(lat)", (midnight - 1) as f64), Some(20.0));
    assert_eq!(store.one("histogram_count(lat)", midnight as f64), Some(2.0));
    assert_eq!(store.one("resets(lat[5s])", (midnight + 1) as f64), Some(0.0), "nothing was restarted");
    let rates = store.values("histogram_count(rate(lat[4s]))", midnight - 3, midnight + 5, 1);
    assert!(rates.iter().all(|&rate| near(rate, 2.0)), "{rates:?}");
}

#[test]
fn what_is_not_supported_is_refused_by_name_and_place() {
    for (query, place, name) in [
        ("1 + limitk(2, up)", "1:5", "limitk"),
        ("sum(up) +\n info(up)", "2:2", "info"),
        ("double_exponential_smoothing(up[5m], 0.5, 0.5)", "1:1", "double_exponential_smoothing"),
        ("up + nope(3)", "1:6", "nope"),
        ("up{a=\"b\" or c=\"d\"}", "1:1", "or"),
    ] {
        let error = Query::parse(query).unwrap_err();
        assert!(error.to_string().starts_with(place) && error.text.contains(name), "{query}: {error}");
    }
    for broken in [
        "sum(",
        "up[0s]",
        "up[-5m]",
        "up[1000000y]",
        "1 > 2",
        "up and 1",
        "rate(up)",
        "up[5m] + 1",
        "-\"a\"",
        "sum(1)",
        "up offset",
        "up @ foo",
    ] {
        let error = Query::parse(broken).unwrap_err();
        assert!(error.to_string().contains("parse error"), "{broken}: {error}");
    }
}

#[test]
fn ranges_beyond_the_limit_name_the_step_that_works() {
    let range =
        |seconds: i64, step: i64| Range { start_ms: T0 * 1000, end_ms: (T0 + seconds) * 1000, step_ms: step * 1000 };
    assert_eq!(range(1_209_600, 110).check(), Ok(()));
    assert_eq!(range(10_999, 1).check(), Ok(()));
    let refused = range(1_209_600, 109).check().unwrap_err();
    assert!(refused.contains("11000") && refused.contains("11098") && refused.contains("110 s"), "{refused}");
    let refused = range(11_001, 1).check().unwrap_err();
    assert!(refused.contains("11002") && refused.contains("2 s"), "{refused}");
    assert!(Range { start_ms: 5, end_ms: 4, step_ms: 1 }.check().is_err());
    assert!(Range { start_ms: 0, end_ms: i64::MAX, step_ms: 1 }.check().is_err());
}

#[test]
fn limits_and_cancelling_stop_a_query() {
    let mut store = Store::default();
    for node in 0..100 {
        store.add("g", &[("node", &node.to_string())], (0..1000).map(|t| (f64::from(t), 1.0)));
    }
    let range = Range { start_ms: T0 * 1000, end_ms: (T0 + 999) * 1000, step_ms: 1000 };
    let with = |limits: Limits| Options { limits, ..Options::default() };
    let failed = |limits: Limits| store.ask_with("sum_over_time(g[1h])", range, &with(limits)).unwrap_err();
    let few_samples = failed(Limits { samples: 1_000_000, ..Limits::default() });
    assert_eq!((few_samples.failure, few_samples.text.contains("1000000")), (Failure::Limit, true), "{few_samples}");
    assert_eq!(failed(Limits { cells: 50_000, ..Limits::default() }).failure, Failure::Limit);
    assert_eq!(failed(Limits { series: 99, ..Limits::default() }).failure, Failure::Limit);
    let options = Options { cancelled: Some(&|| true), ..Options::default() };
    assert_eq!(store.ask_with("sum_over_time(g[1h])", range, &options).unwrap_err().failure, Failure::Cancelled);
}

#[test]
fn ambiguous_matches_are_errors() {
    let mut store = Store::default();
    for (node, disk) in [("a", "1"), ("a", "2"), ("b", "1")] {
        store.add("io", &[("node", node), ("disk", disk)], [(0.0, 6.0)]);
    }
    store.add("cores", &[("node", "a"), ("zone", "x")], [(0.0, 2.0)]);
    store.add("cores", &[("node", "b"), ("zone", "y")], [(0.0, 3.0)]);
    let text = |query: &str| store.ask(query, Range::instant(T0 * 1000 + 1)).unwrap_err().text;
    assert!(text("cores / on(node) io").contains("many-to-many matching not allowed"));
    assert!(text("io / on(node) cores").contains("many-to-one matching must be explicit"));
    assert!(text("io / on(node) group_left io").contains("found duplicate series"));
    let found = store.vector("io / on(node) group_left(zone) cores", 1.0);
    assert_eq!(found[0], ("{disk=\"1\", node=\"a\", zone=\"x\"}".into(), 3.0));
    assert_eq!(store.vector("cores * on(node) group_right(zone) io", 1.0).len(), 3);
    assert_eq!(store.vector("io and on(node) cores{zone=\"x\"}", 1.0).len(), 2);
    assert_eq!(store.vector("io unless on(node) cores{zone=\"x\"}", 1.0).len(), 1);
    assert!(text("label_replace(io, \"disk\", \"\", \"\", \"\")").contains("same labelset"));
}

#[test]
fn constants_need_no_series() {
    let store = Store::default();
    let answer = store.ask("1+1", Range::instant(T0 * 1000)).unwrap();
    assert_eq!(answer.value, Value::Scalar(T0 * 1000, 2.0));
    assert_eq!(store.one("-1 ^ 2", 0.0), Some(-1.0));
    assert_eq!(store.one("2 ^ 3 ^ 2", 0.0), Some(512.0));
    assert_eq!(store.one("1 * 2 + 4 / 6 - 10 % 2 ^ 2", 0.0), Some(1.0 * 2.0 + 4.0 / 6.0 - 2.0));
    assert_eq!(Query::format("sum  by(a)(up{ b = 'c' })").unwrap(), "sum by (a) (up{b=\"c\"})");
    assert!(Query::selector("up{a=\"b\"}").is_ok() && Query::selector("up + 1").is_err());
}
