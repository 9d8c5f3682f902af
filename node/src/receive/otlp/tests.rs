use std::time::Duration;

use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    common::v1::{InstrumentationScope, KeyValue},
    metrics::v1::{
        AggregationTemporality, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram,
        HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint,
        metric::Data, number_data_point,
    },
    resource::v1::Resource,
};
use proptest::prelude::*;
use prost::Message as _;
use starling_proto::series::Value;

use super::testing::{at, attribute, explicit, exponential};
use super::{decode, json, origin::Origin, testing, weigh};
use crate::receive::{AppReceiver, Outcome, ReceiverLimits, ReceiverSize};

const DELTA: i32 = AggregationTemporality::Delta as i32;
const CUMULATIVE: i32 = AggregationTemporality::Cumulative as i32;
const LIMITS: ReceiverLimits =
    ReceiverLimits { series: 5, routes: 10, streams: 8, stale_after: Duration::from_secs(60) };

struct Bench {
    receiver: AppReceiver,
    origin: Origin,
}

impl Bench {
    fn new() -> Self {
        let resource = Resource { attributes: vec![attribute("service.name", "shop")], ..Resource::default() };
        Self { receiver: AppReceiver::new(LIMITS, Vec::new(), at(1000)), origin: Origin::new(Some(&resource), None) }
    }

    fn take(&mut self, metric: &Metric, seconds: u64) -> Outcome {
        let mut outcome = Outcome::default();
        decode::take(&mut self.receiver, &self.origin, metric, &(0..usize::MAX), at(seconds), &mut outcome);
        outcome
    }

    /// Takes a metric of which every point must be taken.
    fn taken(&mut self, metric: &Metric, seconds: u64) {
        let outcome = self.take(metric, seconds);
        assert_eq!(outcome.refused_total(), 0, "{outcome}");
    }

    /// Takes a metric of which no point may be taken, and returns what the sender hears.
    fn refused(&mut self, metric: &Metric) -> String {
        let outcome = self.take(metric, 1001);
        assert!(outcome.taken == 0 && outcome.refused_total() > 0, "{outcome:?}");
        outcome.to_string()
    }

    fn cut(&mut self, seconds: u64) -> Vec<(String, Value)> {
        let mut samples = Vec::new();
        self.receiver.cut(at(seconds), 1, &mut samples);
        let mut named: Vec<_> = samples.into_iter().map(|sample| (sample.series.to_string(), sample.value)).collect();
        named.sort_by(|a, b| a.0.cmp(&b.0));
        named
    }

    fn value(&mut self, name: &str, seconds: u64) -> Option<Value> {
        self.cut(seconds).into_iter().find(|(series, _)| series == name).map(|(_, value)| value)
    }
}

fn metric(name: &str, unit: &str, data: Data) -> Metric {
    Metric { name: name.into(), unit: unit.into(), data: Some(data), ..Metric::default() }
}

fn histogram(name: &str, unit: &str, temporality: i32, points: Vec<HistogramDataPoint>) -> Metric {
    metric(name, unit, Data::Histogram(Histogram { data_points: points, aggregation_temporality: temporality }))
}

fn exponential_histogram(name: &str, temporality: i32, points: Vec<ExponentialHistogramDataPoint>) -> Metric {
    let data = ExponentialHistogram { data_points: points, aggregation_temporality: temporality };
    metric(name, "s", Data::ExponentialHistogram(data))
}

fn int(value: i64) -> NumberDataPoint {
    NumberDataPoint { value: Some(number_data_point::Value::AsInt(value)), ..NumberDataPoint::default() }
}

fn double(value: f64) -> NumberDataPoint {
    NumberDataPoint { value: Some(number_data_point::Value::AsDouble(value)), ..NumberDataPoint::default() }
}

fn sum(name: &str, temporality: i32, is_monotonic: bool, points: Vec<NumberDataPoint>) -> Metric {
    metric(name, "1", Data::Sum(Sum { data_points: points, aggregation_temporality: temporality, is_monotonic }))
}

fn gauge(name: &str, points: Vec<NumberDataPoint>) -> Metric {
    metric(name, "1", Data::Gauge(Gauge { data_points: points }))
}

fn request(status: i64, version: &str, counts: &[u64], seconds: f64) -> HistogramDataPoint {
    let attributes: Vec<KeyValue> = vec![
        testing::number("http.response.status_code", status),
        attribute("network.protocol.version", version),
        attribute("http.route", "/cart"),
    ];
    HistogramDataPoint { attributes, ..explicit(&[0.01, 0.1], counts, seconds, Some((0.002, 0.3))) }
}

#[test]
fn requests_errors_and_durations_come_out_by_protocol() {
    let mut bench = Bench::new();
    let points = vec![
        request(200, "1.1", &[5, 3, 1], 0.7),
        request(503, "1.1", &[2, 0, 0], 0.1),
        request(200, "2", &[0, 4, 0], 0.2),
    ];
    bench.taken(&histogram("http.server.request.duration", "s", DELTA, points), 1001);
    let samples = bench.cut(1001);
    let counter = |name: &str| samples.iter().find(|(series, _)| series == name).map(|(_, value)| value.clone());
    assert_eq!(counter("traffic.requests{protocol=http1}"), Some(Value::Counter(11)));
    assert_eq!(counter("traffic.errors{protocol=http1}"), Some(Value::Counter(2)));
    assert_eq!(counter("traffic.requests{protocol=http2}"), Some(Value::Counter(4)));
    assert_eq!(counter("traffic.requests{protocol=grpc}"), None, "never seen is absent");
    let Some(Value::Histogram(durations)) = counter("traffic.duration{protocol=http1}") else { panic!("{samples:?}") };
    assert_eq!((durations.count(), durations.sum(), durations.max()), (11, 800_000_000, 300_000_000));

    assert_eq!(bench.value("traffic.requests{protocol=http1}", 1002), Some(Value::Counter(0)), "seen: 0 is known");
    assert_eq!(bench.value("traffic.duration{protocol=http1}", 1002), None);
    assert_eq!(bench.value("traffic.requests{protocol=http1}", 1300), None, "silent for long is absent");
}

#[test]
fn milliseconds_and_stated_units_are_understood() {
    let mut bench = Bench::new();
    let old = explicit(&[10.0], &[2, 0], 12.0, Some((5.0, 7.0)));
    bench.taken(&histogram("http.server.duration", "ms", DELTA, vec![old.clone()]), 1001);
    bench.taken(&histogram("http.server.duration", "", DELTA, vec![old.clone()]), 1001);
    bench.taken(&histogram("http.server.request.duration", "ms", DELTA, vec![old]), 1001);
    let Some(Value::Histogram(durations)) = bench.value("traffic.duration{protocol=http1}", 1001) else { panic!() };
    assert_eq!((durations.count(), durations.sum(), durations.max()), (6, 36_000_000, 7_000_000));
}

#[test]
fn grpc_comes_as_exponential_histograms() {
    let mut bench = Bench::new();
    let mut bad = exponential(5, -223, &[1, 1], 0, 0.02);
    bad.attributes = vec![testing::number("rpc.grpc.status_code", 14)];
    let good = exponential(5, -223, &[10, 20, 30], 0, 0.5);
    bench.taken(&exponential_histogram("rpc.server.call.duration", DELTA, vec![good, bad]), 1001);
    let samples = bench.cut(1001);
    assert_eq!(
        samples.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        [
            "traffic.duration{protocol=grpc}",
            "traffic.errors{protocol=grpc}",
            "traffic.requests{protocol=grpc}",
            "traffic.service.duration{route=,service=shop}",
            "traffic.service.requests{route=,service=shop,status=error}",
            "traffic.service.requests{route=,service=shop,status=ok}",
        ]
    );
    assert_eq!((&samples[1].1, &samples[2].1), (&Value::Counter(2), &Value::Counter(62)));
}

#[test]
fn cumulative_histograms_are_counted_once() {
    let mut bench = Bench::new();
    let at_time = |seconds: u64, start: u64, counts: &[u64]| {
        let mut point = request(200, "1.1", counts, 1.0);
        (point.start_time_unix_nano, point.time_unix_nano) = (start * 1_000_000_000, seconds * 1_000_000_000);
        histogram("http.server.request.duration", "s", CUMULATIVE, vec![point])
    };
    let requests = "traffic.requests{protocol=http1}";
    bench.taken(&at_time(1001, 900, &[100, 0, 0]), 1001);
    assert_eq!(bench.value(requests, 1001), Some(Value::Counter(0)), "it ran before the daemon: a baseline");
    bench.taken(&at_time(1002, 900, &[100, 5, 0]), 1002);
    assert_eq!(bench.value(requests, 1002), Some(Value::Counter(5)));
    bench.taken(&at_time(1003, 1002, &[3, 0, 0]), 1003);
    assert_eq!(bench.value(requests, 1003), Some(Value::Counter(3)), "a new start is a new sequence");
    assert!(bench.take(&at_time(1001, 1002, &[1, 0, 0]), 1004).to_string().contains("older than the point before"));
}

#[test]
fn open_requests_add_up_over_streams() {
    let mut bench = Bench::new();
    let with = |key: &str, value: &str, n: i64| NumberDataPoint { attributes: vec![attribute(key, value)], ..int(n) };
    let points = vec![with("http.request.method", "GET", 3), with("http.request.method", "PUT", 2)];
    bench.taken(&sum("http.server.active_requests", CUMULATIVE, false, points), 1001);
    let rpc = |n| sum("rpc.server.active_requests", DELTA, false, vec![int(n)]);
    bench.taken(&rpc(7), 1001);
    bench.taken(&rpc(-2), 1002);
    assert_eq!(bench.value("traffic.active{protocol=http1}", 1002), Some(Value::Gauge(5)));
    assert_eq!(bench.value("traffic.active{protocol=grpc}", 1002), Some(Value::Gauge(5)));
}

#[test]
fn everything_else_becomes_application_series_of_this_node() {
    let mut bench = Bench::new();
    bench.taken(&sum("jobs.done", DELTA, true, vec![int(4)]), 1001);
    bench.taken(&gauge("queue.depth", vec![double(2.5)]), 1001);
    let sizes = explicit(&[1000.0], &[1, 1], 3000.0, Some((500.0, 2500.0)));
    bench.taken(&histogram("http.server.request.body.size", "By", DELTA, vec![sizes]), 1001);
    let samples = bench.cut(1001);
    assert_eq!(samples[1], ("jobs.done{service.name=shop}".to_owned(), Value::Counter(4)));
    assert_eq!(samples[2], ("queue.depth{service.name=shop}".to_owned(), Value::Gauge(2_500_000)));
    let Value::Histogram(sizes) = &samples[0].1 else { panic!("{samples:?}") };
    assert_eq!((sizes.count(), sizes.sum()), (2, 3000));
    assert_eq!(bench.value("queue.depth{service.name=shop}", 1050), Some(Value::Gauge(2_500_000)), "it holds");
    assert_eq!(bench.value("queue.depth{service.name=shop}", 1062), None, "until it is stale");
}

#[test]
fn fractions_of_a_cumulative_double_are_not_lost() {
    let mut bench = Bench::new();
    let mut total = 0u64;
    for second in 1..=100u64 {
        let mut point = double(second as f64 * 0.000_000_7);
        (point.start_time_unix_nano, point.time_unix_nano) = (1_000_500_000_000, (1000 + second) * 1_000_000_000);
        bench.taken(&sum("cpu", CUMULATIVE, true, vec![point]), 1000 + second);
        let Some(Value::Counter(n)) = bench.value("cpu{service.name=shop}", 1000 + second) else { panic!() };
        total += n;
    }
    assert_eq!(total, 70, "0.00007 at scale 6");
}

#[test]
fn a_gauge_may_change_its_type_and_its_unit() {
    let mut bench = Bench::new();
    bench.taken(&gauge("queue.depth", vec![int(5)]), 1001);
    assert_eq!(bench.cut(1001), [("queue.depth{service.name=shop}".to_owned(), Value::Gauge(5))]);
    bench.taken(&gauge("queue.depth", vec![double(5.5)]), 1002);
    assert_eq!(bench.cut(1002), [("queue.depth{service.name=shop}".to_owned(), Value::Gauge(5_500_000))]);
    bench.taken(&gauge("queue.depth", vec![int(6)]), 1003);
    assert_eq!(
        bench.cut(1003),
        [("queue.depth{service.name=shop}".to_owned(), Value::Gauge(6_000_000))],
        "its digits stay"
    );
    bench.taken(&metric("queue.depth", "By", Data::Gauge(Gauge { data_points: vec![int(7)] })), 1004);
    let mut samples = Vec::new();
    bench.receiver.cut(at(1004), 1, &mut samples);
    assert_eq!(
        samples.iter().map(|s| (s.series.unit(), s.value.clone())).collect::<Vec<_>>(),
        [("By", Value::Gauge(7))]
    );
}

#[test]
fn a_counter_may_change_its_type() {
    let mut bench = Bench::new();
    let at_time = |mut point: NumberDataPoint, seconds: u64| {
        (point.start_time_unix_nano, point.time_unix_nano) = (1_000_500_000_000, seconds * 1_000_000_000);
        sum("jobs", CUMULATIVE, true, vec![point])
    };
    bench.taken(&at_time(int(100), 1001), 1001);
    assert_eq!(bench.cut(1001), [("jobs{service.name=shop}".to_owned(), Value::Counter(100))]);
    bench.taken(&at_time(double(100.5), 1002), 1002);
    assert_eq!(bench.cut(1002), [("jobs{service.name=shop}".to_owned(), Value::Counter(500_000))], "in millionths");
    bench.taken(&at_time(int(103), 1003), 1003);
    assert_eq!(bench.cut(1003), [("jobs{service.name=shop}".to_owned(), Value::Counter(2_500_000))]);
}

#[test]
fn large_steps_of_a_double_counter_are_not_lost() {
    let mut bench = Bench::new();
    let mut total = 0;
    for (second, rows) in [(1001, 1_000.0), (1002, 1_501_000.0), (1003, 1_502_000.0), (1004, 1_502_000.0)] {
        let mut point = double(rows);
        (point.start_time_unix_nano, point.time_unix_nano) = (1_000_500_000_000, second * 1_000_000_000);
        bench.taken(&sum("rows.read", CUMULATIVE, true, vec![point]), second);
        let Some(Value::Counter(n)) = bench.value("rows.read{service.name=shop}", second) else { panic!() };
        total += n;
    }
    assert_eq!(total, 1_502_000_000_000, "in millionths");
}

#[test]
fn a_server_that_begins_again_does_not_add_its_open_requests() {
    let mut bench = Bench::new();
    let resource = |id: &[KeyValue]| Resource {
        attributes: [&[attribute("service.name", "shop")][..], id].concat(),
        ..Resource::default()
    };
    let open = |n: i64, start: u64| {
        sum(
            "http.server.active_requests",
            CUMULATIVE,
            false,
            vec![NumberDataPoint { start_time_unix_nano: start, ..int(n) }],
        )
    };
    bench.origin = Origin::new(Some(&resource(&[attribute("service.instance.id", "shop-1")])), None);
    bench.taken(&open(50, 7), 1001);
    bench.taken(&open(3, 9), 1002);
    assert_eq!(bench.value("traffic.active{protocol=http1}", 1002), Some(Value::Gauge(3)));
    bench.origin = Origin::new(Some(&resource(&[])), None);
    bench.taken(&open(10, 11), 1002);
    bench.taken(&open(20, 12), 1002);
    assert_eq!(bench.value("traffic.active{protocol=http1}", 1002), Some(Value::Gauge(33)), "these may be two workers");
}

#[test]
fn starlings_own_requests_are_kept_apart() {
    let mut bench = Bench::new();
    let resource =
        Resource { attributes: vec![attribute("service.name", "starling-dashboard")], ..Resource::default() };
    let scope = InstrumentationScope { name: "starling".into(), ..InstrumentationScope::default() };
    let requests = || histogram("http.server.request.duration", "s", DELTA, vec![request(200, "1.1", &[5, 3, 1], 0.7)]);
    bench.taken(&requests(), 1001);
    bench.origin = Origin::new(Some(&resource), Some(&scope));
    bench.taken(&requests(), 1001);
    bench.taken(&sum("http.server.active_requests", CUMULATIVE, false, vec![int(4)]), 1001);
    let samples = bench.cut(1001);
    let value = |name: &str| samples.iter().find(|(series, _)| series == name).map(|(_, value)| value.clone());
    assert_eq!(value("traffic.requests{protocol=http1}"), Some(Value::Counter(9)));
    assert_eq!(value("starling.requests{protocol=http1}"), Some(Value::Counter(9)));
    assert_eq!(value("starling.active{protocol=http1}"), Some(Value::Gauge(4)));
    assert_eq!(value("traffic.active{protocol=http1}"), None);
    let users = Origin::new(Some(&resource), None);
    assert!(!users.own, "a name alone is nothing");
}

/// A report each minute, cumulative as the SDKs do it by default, of 165 requests a second.
#[test]
fn a_report_of_a_minute_shows_the_rate_in_every_second() {
    let mut bench = Bench::new();
    let (requests, mut seen) = ("traffic.requests{protocol=http1}", Vec::new());
    for second in 1001..1400u64 {
        if second % 60 == 0 {
            let served = 165 * (second - 1000);
            let mut point = request(200, "1.1", &[served / 2, served - served / 2, 0], served as f64 * 0.01);
            (point.start_time_unix_nano, point.time_unix_nano) = (1_000_500_000_000, second * 1_000_000_000);
            let jobs = NumberDataPoint {
                start_time_unix_nano: 1_000_500_000_000,
                time_unix_nano: second * 1_000_000_000,
                ..int(served as i64)
            };
            bench.taken(&histogram("http.server.request.duration", "s", CUMULATIVE, vec![point]), second);
            bench.taken(&sum("jobs", CUMULATIVE, true, vec![jobs]), second);
        }
        let samples = bench.cut(second);
        let value = |name: &str| samples.iter().find(|(series, _)| series == name).map(|(_, value)| value.clone());
        let Some(Value::Counter(n)) = value(requests) else { continue };
        if n > 0 {
            let Some(Value::Histogram(durations)) = value("traffic.duration{protocol=http1}") else { panic!() };
            assert_eq!(durations.count(), n);
            assert!(durations.quantile(0.25).unwrap() <= 10_200_000 && durations.quantile(0.75).unwrap() > 9_800_000);
            let interval = value("traffic.report_interval{protocol=http1}");
            assert!(matches!(interval, Some(Value::Gauge(20 | 60))), "{interval:?}");
            let Some(Value::Counter(jobs)) = value("jobs{service.name=shop}") else { panic!() };
            assert!(jobs.abs_diff(n) <= 1, "{jobs} jobs beside {n} requests");
        }
        seen.push(n);
    }
    // The first report is one of 20 s, and not followed by one after 20 s.
    assert!(seen[64..].iter().all(|n| (163..=168).contains(n)) && seen.len() > 300, "{seen:?}");
    let mut samples = Vec::new();
    bench.receiver.last_cut(at(1400), &mut samples);
    let rest = samples.iter().find(|sample| sample.series.to_string() == requests);
    let Some(Value::Counter(rest)) = rest.map(|sample| sample.value.clone()) else { panic!("{samples:?}") };
    assert_eq!(seen.iter().sum::<u64>() + rest, 165 * 380, "the stop counts what waits");
    assert_eq!(bench.receiver.size().playing_bytes, 0);
}

#[test]
fn bad_points_are_refused_with_metric_and_reason() {
    let mut bench = Bench::new();
    let nan = bench.refused(&gauge("g", vec![double(f64::NAN)]));
    assert_eq!(nan, "1 data points refused: g: the value is not a finite number");
    assert!(bench.refused(&sum("s", DELTA, true, vec![int(-1)])).contains("s: a sum that only rises is negative"));
    assert!(bench.refused(&sum("s", 0, true, vec![int(1)])).contains("temporality"));
    assert!(bench.refused(&sum("s", DELTA, true, vec![int(1 << 50)])).contains("out of range"));
    assert!(bench.refused(&gauge("g", vec![NumberDataPoint::default()])).contains("no value"));
    assert!(bench.refused(&gauge("system.cpu.utilization", vec![double(0.5)])).contains("measures this itself"));
    assert!(bench.refused(&gauge("", vec![int(1)])).contains("the name"));
    let summary = Summary { data_points: vec![SummaryDataPoint::default(); 3] };
    assert!(
        bench.refused(&metric("old", "s", Data::Summary(summary))).starts_with("3 data points refused: old: summaries")
    );
    assert!(bench.refused(&Metric { name: "empty".into(), ..Metric::default() }).contains("no data"));
    let mut negative = exponential(5, 0, &[1], 0, 1.0);
    negative.negative = negative.positive.clone();
    negative.count = 2;
    assert!(bench.refused(&exponential_histogram("d", DELTA, vec![negative])).contains("negative"));
    let many = explicit(&[0.1], &[1 << 33, 0], 1.0, None);
    assert!(
        bench.refused(&histogram("http.server.duration", "ms", DELTA, vec![many])).contains("count of one interval")
    );
    let mut samples = Vec::new();
    assert_eq!(bench.receiver.cut(at(1001), 1, &mut samples), 13);
    assert_eq!(samples, [], "nothing of it was counted");
}

#[test]
fn caps_hold_and_say_what_to_do() {
    let mut bench = Bench::new();
    let points: Vec<_> =
        (0..20).map(|i| NumberDataPoint { attributes: vec![attribute("user", &i.to_string())], ..int(1) }).collect();
    let outcome = bench.take(&sum("logins", DELTA, true, points), 1001);
    assert_eq!((outcome.taken, outcome.refused_total()), (5, 15));
    assert!(outcome.to_string().contains("otlp_series_max"), "{outcome}");
    assert_eq!(bench.receiver.size(), ReceiverSize { series: 5, routes: 0, streams: 0, playing_bytes: 0 });
    let requests = (0..20).map(|i| HistogramDataPoint {
        attributes: vec![attribute("user", &i.to_string())],
        ..explicit(&[0.1], &[1, 0], 0.1, None)
    });
    let outcome = bench.take(&histogram("http.server.request.duration", "s", CUMULATIVE, requests.collect()), 1001);
    assert_eq!((outcome.taken, outcome.refused_total()), (8, 12));
    assert!(outcome.to_string().contains("otlp_streams_max"), "{outcome}");
}

#[test]
fn points_are_taken_in_parts() {
    let mut bench = Bench::new();
    let metric = sum("jobs", DELTA, true, vec![int(1), int(2), int(4)]);
    let mut outcome = Outcome::default();
    for part in [0..2, 2..4] {
        decode::take(&mut bench.receiver, &bench.origin, &metric, &part, at(1001), &mut outcome);
    }
    assert_eq!((outcome.taken, decode::points(&metric)), (3, 3));
    assert_eq!(bench.value("jobs{service.name=shop}", 1001), Some(Value::Counter(7)));
}

proptest! {
    /// However totals are exported and reset, what is counted is what happened.
    #[test]
    fn cumulative_counts_are_conserved(steps in prop::collection::vec((0u64..1000, prop::bool::weighted(0.1)), 1..50)) {
        let mut bench = Bench::new();
        bench.receiver = AppReceiver::new(ReceiverLimits { streams: 100, ..LIMITS }, Vec::new(), at(1000));
        let (mut counts, mut start, mut happened) = ([0u64; 3], 1001u64, 0u64);
        let mut counted = 0;
        for (i, (n, restart)) in steps.into_iter().enumerate() {
            let now = 1002 + i as u64;
            if restart {
                (counts, start) = ([0; 3], now);
            }
            counts[i % 3] += n;
            happened += n;
            let mut point = request(200, "1.1", &counts, 1.0);
            // A start that is the time itself would say that it is not known.
            (point.start_time_unix_nano, point.time_unix_nano) = (start * 1_000_000_000 - 1, now * 1_000_000_000);
            bench.taken(&histogram("http.server.request.duration", "s", CUMULATIVE, vec![point]), now);
            if let Some(Value::Counter(n)) = bench.value("traffic.requests{protocol=http1}", now) {
                counted += n;
            }
        }
        prop_assert_eq!(counted, happened);
    }
}

/// Attributes `k000`, `k001`, ... in all `count`, of which the last has `last` as its value.
fn many(count: usize, last: &str) -> Vec<KeyValue> {
    let value = |i| if i + 1 == count { last } else { "v" };
    (0..count).map(|i| attribute(&format!("k{i:03}"), value(i))).collect()
}

#[test]
fn points_that_collapse_to_one_series_add_up_whatever_the_kind() {
    for count in [9, 16, 128] {
        let mut bench = Bench::new();
        let two = |one: NumberDataPoint, other: NumberDataPoint| {
            vec![
                NumberDataPoint { attributes: many(count, "a"), ..one },
                NumberDataPoint { attributes: many(count, "b"), ..other },
            ]
        };
        let distribution = |last: &str, counts: &[u64]| HistogramDataPoint {
            attributes: many(count, last),
            ..explicit(&[1.0], counts, 0.5, None)
        };
        let since = |n: i64| NumberDataPoint { start_time_unix_nano: at(1000).unix_ns, ..int(n) };
        bench.taken(&sum("d", DELTA, true, two(int(3), int(4))), 1001);
        bench.taken(&sum("c", CUMULATIVE, true, two(since(10), since(20))), 1001);
        bench.taken(&sum("u", CUMULATIVE, false, two(int(5), int(-2))), 1001);
        bench.taken(&gauge("g", two(double(1.5), int(2))), 1001);
        bench.taken(&histogram("h", "s", DELTA, vec![distribution("a", &[2, 1]), distribution("b", &[4, 0])]), 1001);
        let cut = |bench: &mut Bench, seconds| -> Vec<(String, Value)> {
            let samples = bench.cut(seconds).into_iter();
            samples.map(|(series, value)| (series.split('{').next().unwrap().to_owned(), value)).collect()
        };
        let first = cut(&mut bench, 1001);
        let [
            (_, Value::Counter(c)),
            (_, Value::Counter(d)),
            (_, Value::Gauge(g)),
            (_, Value::Histogram(h)),
            merged,
            (_, Value::Gauge(u)),
        ] = &first[..]
        else {
            panic!("{first:?}")
        };
        assert_eq!((*c, *d, *u, h.count()), (0, 7, 3, 7), "{count}, a total of before counts from here: {first:?}");
        assert_eq!(*g % 35, 0, "1.5 and 2 are 3.5, in some digits: {first:?}");
        assert_eq!(*merged, ("starling.node.receive.merged".to_owned(), Value::Counter(10)));
        // A rising total counts what it rose, of each stream alone; one that is set again counts once.
        bench.taken(&sum("c", CUMULATIVE, true, two(since(11), since(25))), 1002);
        bench.taken(&gauge("g", two(double(0.5), int(2))), 1002);
        let second = cut(&mut bench, 1002);
        assert!(second.contains(&("c".to_owned(), Value::Counter(6))), "{second:?}");
        let Some((_, Value::Gauge(g))) = second.iter().find(|(name, _)| name == "g") else { panic!("{second:?}") };
        assert_eq!(*g % 25, 0, "0.5 and 2 are 2.5: {second:?}");
        assert!(second.contains(&("starling.node.receive.merged".to_owned(), Value::Counter(4))), "{second:?}");
    }
}

/// Decodes and takes as the server does; returns whether a point was taken.
fn fuzzed(receiver: &mut AppReceiver, request: &ExportMetricsServiceRequest, number: u64) -> bool {
    let (mut outcome, now) = (Outcome::default(), at(1_001 + number / 64));
    for resource in &request.resource_metrics {
        for scope in &resource.scope_metrics {
            let origin = Origin::new(resource.resource.as_ref(), scope.scope.as_ref());
            for metric in &scope.metrics {
                decode::take(receiver, &origin, metric, &(0..usize::MAX), now, &mut outcome);
            }
        }
    }
    if number % 64 == 63 {
        let mut samples = Vec::new();
        receiver.cut(now, 1, &mut samples);
        crate::receive::fuzz::assert_sendable(samples);
    }
    outcome.taken > 0
}

/// An export with every type.
fn whole_export() -> ExportMetricsServiceRequest {
    let since = |point: NumberDataPoint| NumberDataPoint {
        start_time_unix_nano: at(1000).unix_ns,
        time_unix_nano: at(1001).unix_ns,
        attributes: many(9, "a"),
        ..point
    };
    let buckets = ExponentialHistogram {
        data_points: vec![exponential(3, -5, &[1, 2, 3], 1, 2.5)],
        aggregation_temporality: CUMULATIVE,
    };
    let metrics = vec![
        sum("jobs", CUMULATIVE, true, vec![since(int(7)), since(double(0.5))]),
        sum("jobs.delta", DELTA, true, vec![since(int(7))]),
        sum("open", CUMULATIVE, false, vec![since(int(-7))]),
        gauge("depth", vec![since(double(12.5))]),
        histogram("http.server.request.duration", "s", CUMULATIVE, vec![request(503, "1.1", &[1, 2, 3], 0.5)]),
        histogram("sizes", "By", DELTA, vec![explicit(&[10.0, 20.0], &[1, 2, 3], 100.0, Some((5.0, 40.0)))]),
        metric("waits", "ms", Data::ExponentialHistogram(buckets)),
        metric("s", "", Data::Summary(Summary { data_points: vec![SummaryDataPoint::default()] })),
    ];
    let resource = Resource { attributes: vec![attribute("service.name", "shop")], ..Resource::default() };
    let scope = ScopeMetrics { scope: Some(InstrumentationScope::default()), metrics, ..ScopeMetrics::default() };
    let all = ResourceMetrics { resource: Some(resource), scope_metrics: vec![scope], ..ResourceMetrics::default() };
    ExportMetricsServiceRequest { resource_metrics: vec![all] }
}

/// Each metric of [`whole_export`] in a request of its own.
fn single_exports() -> Vec<ExportMetricsServiceRequest> {
    let whole = whole_export();
    (0..whole.resource_metrics[0].scope_metrics[0].metrics.len())
        .map(|place| {
            let mut one = whole.clone();
            let metrics = &mut one.resource_metrics[0].scope_metrics[0].metrics;
            *metrics = vec![metrics.swap_remove(place)];
            one
        })
        .collect()
}

#[test]
fn fuzz_otlp_protobuf() {
    let examples: Vec<Vec<u8>> = single_exports().iter().map(|one| one.encode_to_vec()).collect();
    let mut receiver = Bench::new().receiver;
    crate::receive::fuzz::run(
        "OTLP, protocol buffers",
        &examples,
        &["\n", "\u{12}", "\u{1a}", "\u{7f}"],
        |input, number| {
            let _ = (weigh::request(input), weigh::count(input, &[1, 2, 2]));
            let Ok(request) = ExportMetricsServiceRequest::decode(input) else { return false };
            fuzzed(&mut receiver, &request, number)
        },
    );
}

#[test]
fn fuzz_otlp_json() {
    let examples: Vec<Vec<u8>> = single_exports().iter().map(|one| serde_json::to_vec(one).unwrap()).collect();
    let words =
        ["{", "}", "[", "]", ",", ":", "null", "\"\"", "\"asInt\":", "\"asDouble\":", "\\u0000", "-", "e9", "true"];
    let mut receiver = Bench::new().receiver;
    crate::receive::fuzz::run("OTLP, JSON", &examples, &words, |input, number| {
        let Ok(request) = json::metrics(input) else { return false };
        assert!(json::weigh(input) >= input.len());
        fuzzed(&mut receiver, &request, number)
    });
}
