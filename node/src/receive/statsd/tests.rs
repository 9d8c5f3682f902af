use std::time::Duration;

use proptest::prelude::*;
use starling_proto::{limits::ATTRIBUTE_VALUE_LEN_MAX, series::Value};

use super::{NegativeGauges, StatsdRules, table::Table};
use crate::receive::{AppReceiver, Mapping, Outcome, ReceiverLimits, otlp::testing::at};

const STREAMS: usize = 8;

struct Bench {
    receiver: AppReceiver,
    table: Table,
}

impl Bench {
    fn new() -> Self {
        let limits = ReceiverLimits { series: 20, routes: 10, streams: 20, stale_after: Duration::from_secs(60) };
        let rules = StatsdRules {
            mappings: Mapping::defaults(),
            negative_gauges: NegativeGauges::Auto,
            gauges_hold: Duration::from_secs(300),
            streams: STREAMS,
        };
        Self { receiver: AppReceiver::new(limits, Mapping::defaults(), at(1000)), table: Table::new(rules) }
    }

    /// Takes a datagram and flushes.
    fn take(&mut self, datagram: impl AsRef<[u8]>, seconds: u64) -> Outcome {
        self.table.take(datagram.as_ref(), at(seconds));
        self.table.flush(&mut self.receiver, at(seconds))
    }

    /// Takes a datagram of which every sample must be taken.
    fn taken(&mut self, datagram: &str, seconds: u64) {
        let outcome = self.take(datagram, seconds);
        assert_eq!(outcome.refused_total(), 0, "{outcome}");
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

/// Count, sum and maximum of a histogram.
fn histogram(value: Option<Value>) -> Option<(u64, u128, u64)> {
    match value {
        Some(Value::Histogram(histogram)) => Some((histogram.count(), histogram.sum(), histogram.max())),
        _ => None,
    }
}

#[test]
fn every_type_of_a_datagram_is_taken() {
    let mut bench = Bench::new();
    bench.taken(
        "sold:1|c\nsold:2:3|c\r\n\ndepth:7|g\ntook:12.500000|ms\ntook:1:2|ms|#service:shop\nsizes:1.25|h\nusers:ann|s\nusers:bob|s\nusers:ann|s\n",
        1001,
    );
    let samples = bench.cut(1001);
    let of = |name: &str| samples.iter().find(|(series, _)| series == name).map(|(_, value)| value.clone());
    assert_eq!(
        (of("sold"), of("depth"), of("users")),
        (Some(Value::Counter(6)), Some(Value::Gauge(7)), Some(Value::Gauge(2)))
    );
    assert_eq!(histogram(of("took")), Some((1, 12_500_000, 12_500_000)), "nanoseconds");
    assert_eq!(histogram(of("took{service.name=shop}")), Some((2, 3_000_000, 2_000_000)));
    assert_eq!(histogram(of("sizes")), Some((1, 1_250, 1_250)), "thousandths");
    assert_eq!(bench.value("users", 1002), Some(Value::Gauge(0)));
}

#[test]
fn tags_in_any_order_are_one_stream() {
    let mut bench = Bench::new();
    bench.taken("a:1|c|#x:1,y:2\na:2|c|#y:2,x:1\ng:1|g|#x:1,y:2\ng:5|g|#y:2,x:1", 1001);
    assert_eq!(bench.value("a{x=1,y=2}", 1001), Some(Value::Counter(3)));
    assert_eq!(bench.value("g{x=1,y=2}", 1001), Some(Value::Gauge(5)), "the last one, no sum");
    assert_eq!(bench.table.len(), 2);
}

#[test]
fn samples_are_weighted_and_stated_times_are_not() {
    let mut bench = Bench::new();
    bench.taken(&"hits:1|c|@0.3\n".repeat(3), 1001);
    bench.taken(&"took:2|ms|@0.25\n".repeat(2), 1001);
    bench.taken("told:5|c|@0.1|T1000", 1001);
    let samples = bench.cut(1001);
    let of = |name: &str| samples.iter().find(|(series, _)| series == name).map(|(_, value)| value.clone());
    assert_eq!((of("hits"), of("told")), (Some(Value::Counter(10)), Some(Value::Counter(5))));
    assert_eq!(histogram(of("took")), Some((8, 16_000_000, 2_000_000)));
}

#[test]
fn gauges_are_set_changed_and_hold() {
    let mut bench = Bench::new();
    bench.taken("q:10|g\nq:+4|g\nq:-1|g\nt:-5|g|#env:a", 1001);
    let samples = bench.cut(1001);
    assert_eq!(samples, [("q".to_owned(), Value::Gauge(13)), ("t{env=a}".to_owned(), Value::Gauge(-5))]);
    for second in 1002..1300 {
        bench.take("", second);
        assert_eq!(bench.value("q", second), Some(Value::Gauge(13)), "{second}");
    }
    (1300..1400).for_each(|second| drop(bench.take("", second)));
    assert_eq!(bench.value("q", 1400), None, "long silent");
    bench.taken("q:+2|g", 1400);
    assert_eq!(bench.value("q", 1400), Some(Value::Gauge(15)), "the value is known all the same");
    assert_eq!(bench.take("q:1|g|T1390\nq:2|g|T1389\nq:3|g|T99", 1400).refused, [("old", 1), ("out_of_range", 1)]);
    assert_eq!(bench.value("q", 1400), Some(Value::Gauge(1)));
}

#[test]
fn usual_names_become_traffic() {
    let mut bench = Bench::new();
    bench.taken(
        "gunicorn.request.duration:20:30|ms\nhttp_request_duration_seconds:0.5|h|#service:shop,status:503",
        1001,
    );
    // The durations of the same service are known: requests are not counted twice.
    bench.taken("http_requests_total:9|c|#service:shop\nhttp_requests_total:4|c|#service:other,code:5xx", 1001);
    let samples = bench.cut(1001);
    let of = |name: &str| samples.iter().find(|(series, _)| series == name).map(|(_, value)| value.clone());
    assert_eq!(of("traffic.requests{protocol=http1}"), Some(Value::Counter(7)));
    assert_eq!(of("traffic.errors{protocol=http1}"), Some(Value::Counter(5)));
    assert_eq!(histogram(of("traffic.duration{protocol=http1}")), Some((3, 550_000_000, 500_000_000)));
    assert_eq!(of("http_requests_total{service.name=shop}"), Some(Value::Counter(9)));
}

#[test]
fn each_bad_line_has_its_reason_and_costs_only_itself() {
    let mut bench = Bench::new();
    let outcome = bench.take(
        b"good:1|c\n_e{5,4}:title|text\n_sc|db|0\nbad\nbad:1|x\nbad:one|c\ngood:-1|c\ngood:1e300|c\n\xff:1|c\ngood:2|c\ntook:-1|ms\ntook:1:x:2|ms\nnan:NaN|g\ncatalogue:1|c|@0\nsystem.cpu.utilization:1|g",
        1001,
    );
    assert_eq!(
        outcome.refused,
        [
            ("event", 1),
            ("service_check", 1),
            ("malformed", 5),
            ("type", 1),
            ("negative", 2),
            ("out_of_range", 1),
            ("not_finite", 1),
            ("reserved", 1)
        ]
    );
    let text = outcome.to_string();
    assert!(text.starts_with("13 data points refused: ") && text.contains("events are not taken"), "{text}");
    assert_eq!(outcome.taken, 4);
    assert_eq!(bench.value("good", 1001), Some(Value::Counter(3)));
}

#[test]
fn streams_and_spellings_are_bounded() {
    let mut bench = Bench::new();
    for i in 0..STREAMS {
        bench.taken(&format!("m{i}:1|c"), 1001);
    }
    assert_eq!(bench.take("more:1|c\nm0:1|c", 1001).refused, [("streams_full", 1)]);
    for i in 0..100 {
        bench.taken(&format!("m0:1|c|#{}", ",".repeat(i)), 1001);
    }
    assert_eq!(bench.value("m0", 1001), Some(Value::Counter(102)));
    bench.taken("more:1|c", 1001 + 1000);
    assert_eq!((bench.table.len(), bench.value("more", 2001)), (1, Some(Value::Counter(1))));
    bench.taken("m0:5|c", 2001);
    assert_eq!(bench.value("m0", 2001), Some(Value::Counter(5)), "one that was forgotten begins again");
    let long = "v".repeat(ATTRIBUTE_VALUE_LEN_MAX + 1);
    assert_eq!(bench.take(format!("long:1:1|c|#k:{long}"), 2001).refused, [("series", 2)]);
}

proptest! {
    /// Whatever else a datagram holds, its good lines count.
    #[test]
    fn a_good_line_among_junk_counts(
        junk in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20),
        odd in prop::collection::vec("[a-c:|@#T.0-9,-]{0,30}", 0..20),
        at_line in 0usize..40,
    ) {
        let mut bench = Bench::new();
        let mut lines: Vec<Vec<u8>> = junk.into_iter().chain(odd.into_iter().map(String::into_bytes)).collect();
        lines.iter_mut().for_each(|line| line.retain(|byte| *byte != b'\n'));
        lines.insert(at_line.min(lines.len()), b"good.line:3|c".to_vec());
        // Before the rest, so that there is room for its stream.
        bench.taken("good.line:1|c", 1001);
        bench.take(lines.join(&b'\n'), 1001);
        prop_assert_eq!(bench.value("good.line", 1001), Some(Value::Counter(4)));
        prop_assert!(bench.table.len() <= STREAMS);
    }
}

#[test]
fn fuzz_statsd() {
    let examples = [
        "shop.sold:1|c|#service:shop,user:7\nshop.sold:2.5|c|@0.1",
        "depth:+4|g\ndepth:-4|g|#a:b",
        "took:1:2:3|ms|@0.5|#route:/cart\nsize_bytes:12.5|h\nsize:7|d|T1656581400|c:abc|e:it",
        "users:anna|s\nusers:bert|s",
        "_e{5,4}:title|text|#a:b\n_sc|check|0",
    ];
    let examples = examples.map(|example| example.as_bytes().to_vec());
    let words =
        [":", "|", "|c", "|g", "|ms", "|h", "|d", "|s", "|@", "|#", "|T", "\n", ",", "+", "-", "gunicorn.requests"];
    let mut bench = Bench::new();
    crate::receive::fuzz::run("statsd", &examples, &words, |input, number| {
        let now = 1_001 + number / 64;
        let outcome = bench.take(input, now);
        let mut samples = Vec::new();
        if number % 64 == 63 {
            bench.receiver.cut(at(now), 1, &mut samples);
            crate::receive::fuzz::assert_sendable(samples);
        }
        outcome.taken > 0
    });
}
