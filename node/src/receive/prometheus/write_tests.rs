use std::time::Duration;

use proptest::prelude::*;
use prost::Message;
use starling_proto::series::Value;

use super::{Version, Writes, write::Written};
use crate::receive::{Mapping, ReceiverLimits, SharedReceiver, WhichCut};

#[derive(Clone, PartialEq, Message)]
struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    timeseries: Vec<TimeSeries>,
    #[prost(message, repeated, tag = "3")]
    metadata: Vec<Metadata>,
}
#[derive(Clone, PartialEq, Message)]
struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
    #[prost(message, repeated, tag = "4")]
    histograms: Vec<Histogram>,
}
#[derive(Clone, PartialEq, Message)]
struct Metadata {
    #[prost(uint64, tag = "1")]
    kind: u64,
    #[prost(string, tag = "2")]
    family: String,
}
#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}
#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
}
#[derive(Clone, PartialEq, Message)]
struct Histogram {
    #[prost(uint64, tag = "1")]
    count: u64,
    #[prost(double, tag = "3")]
    sum: f64,
    #[prost(sint32, tag = "4")]
    schema: i32,
    #[prost(message, repeated, tag = "11")]
    spans: Vec<Span>,
    #[prost(sint64, repeated, tag = "12")]
    deltas: Vec<i64>,
    #[prost(int64, tag = "15")]
    timestamp: i64,
}
#[derive(Clone, PartialEq, Message)]
struct Span {
    #[prost(sint32, tag = "1")]
    offset: i32,
    #[prost(uint32, tag = "2")]
    length: u32,
}
#[derive(Clone, PartialEq, Message)]
struct Request2 {
    #[prost(string, repeated, tag = "4")]
    symbols: Vec<String>,
    #[prost(message, repeated, tag = "5")]
    timeseries: Vec<TimeSeries2>,
}
#[derive(Clone, PartialEq, Message)]
struct TimeSeries2 {
    #[prost(uint32, repeated, tag = "1")]
    labels_refs: Vec<u32>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
    #[prost(message, repeated, tag = "3")]
    histograms: Vec<Histogram>,
    #[prost(message, optional, tag = "5")]
    metadata: Option<Metadata2>,
    #[prost(int64, tag = "6")]
    created_timestamp: i64,
}
#[derive(Clone, PartialEq, Message)]
struct Metadata2 {
    #[prost(uint64, tag = "1")]
    kind: u64,
    #[prost(uint32, tag = "4")]
    unit_ref: u32,
}

struct Bench {
    writes: Writes,
    receiver: SharedReceiver,
    /// Milliseconds since the epoch when it began.
    began: i64,
}

impl Bench {
    fn new() -> Self {
        let limits = ReceiverLimits { series: 50, routes: 10, streams: 100, stale_after: Duration::from_secs(60) };
        let receiver = SharedReceiver::new(limits, Mapping::defaults(), Vec::new());
        let began = i64::try_from(receiver.now().unix_ns / 1_000_000).unwrap();
        Self { writes: Writes::default(), receiver, began }
    }

    /// A series of samples so many seconds from the beginning on.
    fn series(&self, labels: &[(&str, &str)], samples: &[(i64, f64)]) -> TimeSeries {
        let labels = [("job", "shop"), ("instance", "a")].iter().chain(labels);
        let label = |(name, value): &(&str, &str)| Label { name: (*name).to_owned(), value: (*value).to_owned() };
        let samples =
            samples.iter().map(|(second, value)| Sample { value: *value, timestamp: self.began + second * 1_000 });
        TimeSeries { labels: labels.map(label).collect(), samples: samples.collect(), histograms: Vec::new() }
    }

    fn write(&mut self, timeseries: Vec<TimeSeries>) -> Written {
        let request = WriteRequest { timeseries, metadata: Vec::new() };
        self.writes.take(Version::V1, &request.encode_to_vec(), &self.receiver).unwrap()
    }

    /// What is shown now, everything that waits to be counted with it.
    fn cut(&mut self) -> Vec<(String, Value)> {
        let mut samples = Vec::new();
        self.receiver.cut(WhichCut::Last, &mut samples);
        samples.into_iter().map(|sample| (sample.series.to_string(), sample.value)).collect()
    }

    fn value(&mut self, name: &str) -> Option<Value> {
        self.cut().into_iter().find(|(series, _)| series.starts_with(name)).map(|(_, value)| value)
    }
}

const STALE: u64 = 0x7ff0_0000_0000_0002;

#[test]
fn counters_and_gauges_are_told_by_name_and_by_type() {
    let mut bench = Bench::new();
    let metadata =
        vec![Metadata { kind: 1, family: "odd_counter".to_owned() }, Metadata { kind: 5, family: "sum".to_owned() }];
    let request = WriteRequest { timeseries: Vec::new(), metadata };
    bench.writes.take(Version::V1, &request.encode_to_vec(), &bench.receiver).unwrap();
    let jobs = bench.series(&[("__name__", "jobs_total")], &[(-3, 100.0), (-2, 107.0), (-1, 3.0)]);
    let odd = bench.series(&[("__name__", "odd_counter")], &[(-3, 5.0), (-2, 6.0)]);
    let depth = bench.series(&[("__name__", "depth")], &[(-1, 12.5)]);
    let gone = bench.series(&[("__name__", "gone")], &[(-2, 1.0), (-1, f64::from_bits(STALE))]);
    let summary = bench.series(&[("__name__", "sum"), ("quantile", "0.5")], &[(-1, 1.0)]);
    let written = bench.write(vec![jobs, odd, depth, gone, summary]);
    assert_eq!((written.samples, written.outcome.refused), (8, vec![("type", 1)]));
    let cut = bench.cut();
    let of = |name: &str| cut.iter().find(|(series, _)| series.starts_with(name)).map(|(_, value)| value.clone());
    assert_eq!(of("jobs_total{instance=a,service.name=shop}"), Some(Value::Counter(10)));
    assert_eq!((of("odd_counter"), of("depth"), of("gone")), (Some(Value::Counter(1)), Some(Value::Gauge(125)), None));
}

#[test]
fn a_label_that_is_new_in_a_known_family_counts_in_full() {
    let mut bench = Bench::new();
    let old = bench.series(&[("__name__", "jobs_total"), ("queue", "a")], &[(-3, 100.0), (-2, 100.0)]);
    let new = bench.series(&[("__name__", "jobs_total"), ("queue", "b")], &[(-2, 5.0)]);
    bench.write(vec![old, new]);
    assert_eq!(bench.value("jobs_total{instance=a,queue=b"), Some(Value::Counter(5)));
}

#[test]
fn classic_histograms_are_put_together_over_requests() {
    let mut bench = Bench::new();
    let name = "http_request_duration_seconds";
    let part = |bench: &Bench, suffix: &str, le: Option<&str>, values: [f64; 3]| {
        let name = format!("{name}{suffix}");
        let mut labels = vec![("__name__", name.as_str()), ("code", "500")];
        labels.extend(le.map(|le| ("le", le)));
        let samples: Vec<(i64, f64)> = (-3..).zip(values).collect();
        let series = bench.series(&labels, &samples);
        // A request for each second.
        series
            .samples
            .iter()
            .map(|sample| TimeSeries { samples: vec![sample.clone()], ..series.clone() })
            .collect::<Vec<_>>()
    };
    let buckets = part(&bench, "_bucket", Some("0.1"), [1.0, 3.0, 3.0]);
    let all = part(&bench, "_bucket", Some("+Inf"), [1.0, 4.0, 4.0]);
    let sums = part(&bench, "_sum", None, [0.05, 1.05, 1.05]);
    let counts = part(&bench, "_count", None, [1.0, 4.0, 4.0]);
    for second in 0..3 {
        bench.write(vec![buckets[second].clone(), sums[second].clone()]);
        bench.write(vec![counts[second].clone(), all[second].clone()]);
    }
    // The counter of the same requests gives way.
    let requests = bench.series(&[("__name__", "http_requests_total"), ("code", "500")], &[(-2, 1.0), (-1, 4.0)]);
    bench.write(vec![requests]);
    let cut = bench.cut();
    let of = |name: &str| cut.iter().find(|(series, _)| series.starts_with(name)).map(|(_, value)| value.clone());
    assert_eq!(of("traffic.errors{protocol=http1}"), Some(Value::Counter(3)));
    assert_eq!(of("http_requests_total"), Some(Value::Counter(3)));
    let Some(Value::Histogram(durations)) = of("traffic.duration{protocol=http1}") else { panic!("{cut:?}") };
    assert_eq!((durations.count(), durations.sum()), (3, 1_000_000_000));
    assert!(!bench.writes.is_settled());
}

/// Version 2: a counter with its start, and a native histogram with its unit.
fn second_request(bench: &Bench) -> Request2 {
    let symbols = ["", "__name__", "jobs", "took", "job", "shop", "seconds"].map(str::to_owned).to_vec();
    let at = |second: i64| bench.began + second * 1_000;
    let counter = TimeSeries2 {
        labels_refs: vec![1, 2, 4, 5],
        samples: vec![Sample { value: 7.0, timestamp: at(5) }],
        metadata: Some(Metadata2 { kind: 1, unit_ref: 0 }),
        created_timestamp: at(4),
        ..TimeSeries2::default()
    };
    let native = |count: u64, second: i64| Histogram {
        count,
        sum: count as f64,
        schema: 3,
        spans: vec![Span { offset: 0, length: 1 }],
        deltas: vec![count as i64],
        timestamp: at(second),
    };
    let histogram = TimeSeries2 {
        labels_refs: vec![1, 3, 4, 5],
        histograms: vec![native(2, 5), native(5, 6)],
        metadata: Some(Metadata2 { kind: 3, unit_ref: 6 }),
        ..TimeSeries2::default()
    };
    Request2 { symbols, timeseries: vec![counter, histogram] }
}

#[test]
fn version_2_says_types_units_and_starts() {
    let mut bench = Bench::new();
    let request = second_request(&bench);
    let written = bench.writes.take(Version::V2, &request.encode_to_vec(), &bench.receiver).unwrap();
    assert_eq!(
        (written.samples, written.histograms, written.outcome.refused_total()),
        (1, 2, 0),
        "{}",
        written.outcome
    );
    let cut = bench.cut();
    let of = |name: &str| cut.iter().find(|(series, _)| series.starts_with(name)).map(|(_, value)| value.clone());
    assert_eq!(of("jobs{service.name=shop}"), Some(Value::Counter(7)), "it began after the daemon did");
    let Some(Value::Histogram(took)) = of("took{service.name=shop}") else { panic!("{cut:?}") };
    assert_eq!((took.count(), took.sum()), (3, 3_000_000_000));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut bench = Bench::new();
        let _ = bench.writes.take(Version::V1, &bytes, &bench.receiver);
        let _ = bench.writes.take(Version::V2, &bytes, &bench.receiver);
    }
}

#[test]
fn fuzz_remote_write() {
    let mut bench = Bench::new();
    let part = |suffix: &str, le: &str| bench.series(&[("__name__", suffix), ("le", le)], &[(-2, 1.0), (-1, 4.0)]);
    let first = [
        vec![bench.series(&[("__name__", "jobs_total")], &[(-2, 100.0), (-1, 107.5)])],
        vec![part("took_seconds_bucket", "0.1"), part("took_seconds_bucket", "+Inf"), part("took_seconds_count", "")],
        vec![bench.series(&[("__name__", "depth")], &[(-1, f64::from_bits(STALE))])],
    ];
    let metadata = || vec![Metadata { kind: 1, family: "jobs_total".to_owned() }];
    let mut examples: Vec<Vec<u8>> = first
        .into_iter()
        .map(|timeseries| [vec![1], WriteRequest { timeseries, metadata: metadata() }.encode_to_vec()].concat())
        .collect();
    examples.push([vec![2], second_request(&bench).encode_to_vec()].concat());
    let words = ["\n", "\u{12}", "\u{22}", "\u{7f}", "le", "__name__", "_total", "_bucket"];
    // The version is the first byte.
    crate::receive::fuzz::run("remote write", &examples, &words, |input, number| {
        let Some((version, body)) = input.split_first() else { return false };
        let version = if version % 2 == 1 { Version::V1 } else { Version::V2 };
        let taken = bench.writes.take(version, body, &bench.receiver);
        if number % 64 == 63 {
            let mut samples = Vec::new();
            bench.writes.settle_all(&bench.receiver);
            bench.receiver.cut(WhichCut::Seconds(1), &mut samples);
            crate::receive::fuzz::assert_sendable(samples);
        }
        taken.is_ok_and(|written| written.outcome.taken > 0)
    });
}
