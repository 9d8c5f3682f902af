use std::time::Duration;

use proptest::prelude::*;
use starling_proto::series::Value;

use super::{exposition, labels::Source, target::ScrapeTarget};
use crate::receive::{AppReceiver, Mapping, Outcome, ReceiverLimits, otlp::testing::at};

struct Bench {
    receiver: AppReceiver,
    source: Source,
}

impl Bench {
    fn new() -> Self {
        let limits = ReceiverLimits { series: 50, routes: 10, streams: 100, stale_after: Duration::from_secs(60) };
        let target = ScrapeTarget::parse("127.0.0.1:1 job=shop instance=a").unwrap();
        Self {
            receiver: AppReceiver::new(limits, Mapping::defaults(), at(1000)),
            source: Source::new(&target.url(), target.labels),
        }
    }

    fn scrape(&mut self, text: &str, seconds: u64) -> (Result<usize, String>, Outcome) {
        let mut outcome = Outcome::default();
        let mut all = Vec::new();
        let read = exposition::read(text, 1_000, &mut outcome, |given, _| all.push(given));
        for given in all {
            exposition::take_one(&mut self.receiver, &self.source, given, at(seconds), &mut outcome);
        }
        (read, outcome)
    }

    /// Scrapes a text of which everything must be taken.
    fn taken(&mut self, text: &str, seconds: u64) {
        let (read, outcome) = self.scrape(text, seconds);
        assert!(read.is_ok() && outcome.refused_total() == 0, "{read:?} {outcome}");
    }

    fn cut(&mut self, seconds: u64) -> Vec<(String, Value)> {
        let mut samples = Vec::new();
        self.receiver.cut(at(seconds), 1, &mut samples);
        samples.into_iter().map(|sample| (sample.series.to_string(), sample.value)).collect()
    }

    /// For many inputs: a second each 64 of them.
    fn cut_now_and_then(&mut self, number: u64) {
        if number % 64 == 63 {
            let mut samples = Vec::new();
            self.receiver.cut(at(1_001 + number / 64), 1, &mut samples);
            crate::receive::fuzz::assert_sendable(samples);
        }
    }

    fn value(&mut self, name: &str, seconds: u64) -> Option<Value> {
        self.cut(seconds).into_iter().find(|(series, _)| series.starts_with(name)).map(|(_, value)| value)
    }
}

#[test]
fn the_first_total_is_where_counting_begins_and_a_restart_counts_in_full() {
    let mut bench = Bench::new();
    let jobs = |n: u64| format!("# TYPE jobs_total counter\njobs_total{{queue=\"mail\"}} {n}\n");
    bench.taken(&jobs(100), 1001);
    assert_eq!(bench.value("jobs_total", 1001), Some(Value::Counter(0)));
    bench.taken(&jobs(107), 1002);
    let cut = bench.cut(1002);
    assert_eq!(cut[0], ("jobs_total{instance=a,queue=mail,service.name=shop}".to_owned(), Value::Counter(7)));
    bench.taken(&jobs(3), 1003);
    assert_eq!(bench.value("jobs_total", 1003), Some(Value::Counter(3)));
    // New in a family that is known: it was not there a second ago.
    bench.taken(&format!("{}jobs_total{{queue=\"new\"}} 5\n", jobs(3)), 1004);
    assert_eq!(bench.value("jobs_total{instance=a,queue=new", 1004), Some(Value::Counter(5)));
}

#[test]
fn a_stated_start_after_ours_counts_in_full() {
    let mut bench = Bench::new();
    let text = "# TYPE jobs counter\njobs_total 5.0\njobs_created 1000.5\n# TYPE old counter\nold_total 7\nold_created 900\n# EOF\n";
    bench.taken(text, 1001);
    let cut = bench.cut(1001);
    let of = |name: &str| cut.iter().find(|(series, _)| series.starts_with(name)).map(|(_, value)| value.clone());
    assert_eq!((of("jobs_total"), of("old_total")), (Some(Value::Counter(5)), Some(Value::Counter(0))));
}

#[test]
fn usual_histograms_and_counters_are_requests_once() {
    let mut bench = Bench::new();
    let text = |ok: u64, failed: u64| {
        format!(
            "# TYPE http_requests_total counter\nhttp_requests_total{{code=\"200\"}} {}\n\
             # TYPE http_request_duration_seconds histogram\n\
             http_request_duration_seconds_bucket{{code=\"200\",le=\"0.1\"}} {ok}\n\
             http_request_duration_seconds_bucket{{code=\"200\",le=\"+Inf\"}} {ok}\n\
             http_request_duration_seconds_sum{{code=\"200\"}} {}\n\
             http_request_duration_seconds_count{{code=\"200\"}} {ok}\n\
             http_request_duration_seconds_bucket{{le=\"+Inf\",code=\"503\"}} {failed}\n\
             http_request_duration_seconds_bucket{{le=\"0.1\",code=\"503\"}} 0\n\
             http_request_duration_seconds_sum{{code=\"503\"}} {failed}\n\
             http_request_duration_seconds_count{{code=\"503\"}} {failed}\n",
            ok + failed,
            ok as f64 / 20.0
        )
    };
    bench.taken(&text(100, 10), 1001);
    bench.cut(1001);
    bench.taken(&text(120, 13), 1002);
    let cut = bench.cut(1002);
    let of = |name: &str| cut.iter().find(|(series, _)| series.starts_with(name)).map(|(_, value)| value.clone());
    assert_eq!(of("traffic.requests{protocol=http1}"), Some(Value::Counter(23)));
    assert_eq!(of("traffic.errors{protocol=http1}"), Some(Value::Counter(3)));
    let Some(Value::Histogram(durations)) = of("traffic.duration{protocol=http1}") else { panic!("{cut:?}") };
    assert_eq!((durations.count(), durations.sum()), (23, 4_000_000_000));
    assert_eq!(of("http_requests_total"), Some(Value::Counter(23)), "a series like any other");
}

#[test]
fn what_cannot_be_taken_has_its_reason_and_costs_only_itself() {
    let mut bench = Bench::new();
    let text = "# TYPE s summary\ns{quantile=\"0.5\"} 1\ns_sum 2\ns_count 3\n# TYPE g gauge\ng 5\ng{broken\n# TYPE n gauge\nn NaN\n\
                # TYPE h histogram\nh_bucket{le=\"x\"} 1\nh_count 1\nloose 3\n# TYPE i gauge\ni +Inf\n";
    let (read, outcome) = bench.scrape(text, 1001);
    assert_eq!(read, Ok(9));
    assert_eq!(outcome.refused, [("malformed", 3), ("type", 3), ("not_finite", 1)]);
    assert_eq!(bench.value("g{", 1001), Some(Value::Gauge(5)));
    assert_eq!(bench.value("n{", 1001), None, "there is no value now");
    assert_eq!(bench.value("loose{", 1001), Some(Value::Gauge(3)));
    let (page, _) = bench.scrape("<html>\n<body>hello</body>\n", 1001);
    assert!(page.unwrap_err().contains("is the path right?"));
    let many: String = (0..1_001).map(|i| format!("m{i} 1\n")).collect();
    assert!(bench.scrape(&many, 1001).0.unwrap_err().contains("more than 1000 samples"));
    assert_eq!(bench.scrape("", 1001).0, Ok(0), "a target without metrics is up");
}

proptest! {
    /// However totals are scraped and reset, what is counted is what happened after the first scrape.
    #[test]
    fn totals_are_conserved(steps in prop::collection::vec((0u64..1000, prop::bool::weighted(0.1)), 1..40)) {
        let mut bench = Bench::new();
        let (mut total, mut happened, mut counted) = (0u64, 0u64, 0u64);
        bench.taken("jobs_total 0\n", 1001);
        for (i, (n, restart)) in steps.into_iter().enumerate() {
            let now = 1002 + i as u64;
            if restart {
                // A reset is seen by a total that is smaller.
                total = 0;
                bench.taken("jobs_total 0\n", now);
            }
            total += n;
            happened += n;
            bench.taken(&format!("jobs_total {total}\n"), now);
            if let Some(Value::Counter(n)) = bench.value("jobs_total", now) {
                counted += n;
            }
        }
        prop_assert_eq!(counted, happened);
    }

    #[test]
    fn a_good_line_among_junk_counts(junk in prop::collection::vec("[a-c_{}=\",\\\\ #0-9.]{0,30}", 0..20), place in 0usize..20) {
        let mut bench = Bench::new();
        let mut lines = junk;
        lines.insert(place.min(lines.len()), "good_line 7".to_owned());
        let _ = bench.scrape(&lines.join("\n"), 1001);
        prop_assert_eq!(bench.value("good_line{", 1001), Some(Value::Gauge(7)));
    }
}

const TEXT: &str = "# HELP jobs Jobs.\n# TYPE jobs counter\n# UNIT size bytes\njobs_total{queue=\"mail\",a=\"b\\n\\\"\"} 7 1700000000\n\
                    jobs_created{queue=\"mail\"} 1000.5\n# TYPE took_seconds histogram\ntook_seconds_bucket{le=\"0.1\"} 1\n\
                    took_seconds_bucket{le=\"+Inf\"} 3 # {trace=\"x\"} 0.5\ntook_seconds_sum 1.5\ntook_seconds_count 3\n\
                    # TYPE depth gauge\ndepth 12.5\n# TYPE s summary\ns{quantile=\"0.5\"} 1\n# EOF\n";

#[test]
fn fuzz_prometheus_text() {
    let examples: Vec<Vec<u8>> =
        [TEXT].into_iter().chain(TEXT.split_inclusive('\n')).map(|text| text.as_bytes().to_vec()).collect();
    let words = [
        "# TYPE ",
        "# UNIT ",
        "# HELP ",
        " counter",
        " histogram",
        " gauge",
        "_bucket",
        "_total",
        "{",
        "}",
        "le=\"",
        "\"",
        "=",
        ",",
        "\n",
        "\\",
        " ",
    ];
    let mut bench = Bench::new();
    crate::receive::fuzz::run("Prometheus, text", &examples, &words, |input, number| {
        let (_, outcome) = bench.scrape(&String::from_utf8_lossy(input), 1_001 + number / 64);
        bench.cut_now_and_then(number);
        outcome.taken > 0
    });
}

#[test]
fn fuzz_prometheus_binary() {
    let examples = super::binary::examples();
    let mut bench = Bench::new();
    crate::receive::fuzz::run(
        "Prometheus, binary",
        &examples,
        &["\n", "\u{12}", "\u{3a}", "\u{7f}"],
        |input, number| {
            let (mut outcome, mut all) = (Outcome::default(), Vec::new());
            let _ = super::binary::read(input, 1_000, &mut outcome, |given| all.push(given));
            for given in all {
                exposition::take_one(&mut bench.receiver, &bench.source, given, at(1_001 + number / 64), &mut outcome);
            }
            bench.cut_now_and_then(number);
            outcome.taken > 0
        },
    );
}
