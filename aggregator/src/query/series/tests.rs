use std::sync::Arc;

use starling_ledger::Coverage;
use starling_proto::{
    catalogue::{self, Kind, Scope},
    frame::{Content, Second},
    histogram::Histogram,
    interner::Interner,
    series::{Sample, Series, Value},
    v1,
};

use super::{fold::SERIES_MAX, *};
use crate::reading::Reading;

/// One node, and it reported.
const ONE: Coverage = Coverage { reporting: 1, expected: 1 };

/// What a decoder makes of the frame.
fn columns(content: &Content) -> Second {
    Second::of_content(&Interner::default(), content).0
}

fn second(tick: u32, grpc: u64, micros: u64) -> Content {
    let of = |protocol, increment| Sample {
        series: Series::of(&catalogue::REQUESTS, &[("protocol", protocol)]),
        value: Value::Counter(increment),
    };
    let latency = Sample {
        series: Series::of(&catalogue::DURATION, &[("protocol", "grpc")]),
        value: Value::Histogram(Arc::new(Histogram::of(micros * 1000, 10))),
    };
    let gauge = |metric: &'static catalogue::Metric, value| Sample {
        series: Series::of(metric, &[]),
        value: Value::Gauge(value),
    };
    let memory = [gauge(&catalogue::MEMORY_LIMIT, 100), gauge(&catalogue::MEMORY_AVAILABLE, 25)];
    let samples = [of("grpc", grpc), of("http1", 1), latency].into_iter().chain(memory).collect();
    Content { tick, samples, dropped: 0 }
}

fn request(name: &str) -> v1::GetSeriesRequest {
    v1::GetSeriesRequest { name: name.to_owned(), ..v1::GetSeriesRequest::default() }
}

/// Seconds 1000 to 1009 but for 1004; the requests over grpc are the last digit.
fn read(request: &v1::GetSeriesRequest) -> v1::SeriesAnswer {
    let asked = Asked::parse(request, 1000, 1009).unwrap();
    let mut fold = Fold::new(&asked);
    for tick in asked.from..=asked.to {
        let content = second(tick, u64::from(tick % 10), u64::from(tick % 10 + 1) * 100);
        let second = columns(&content);
        let reading = Reading::of_node(&second);
        let skipped_cells = if tick == 1002 { 7 } else { tick % 2 };
        fold.take(tick, ONE, skipped_cells, (tick != 1004).then_some(&reading));
    }
    fold.finish()
}

#[test]
fn seconds_are_points_and_a_missing_one_is_missing() {
    let answer = read(&request("traffic.requests"));
    assert_eq!(answer.points.len(), 10);
    assert_eq!(
        (answer.points[4].seconds(), answer.points[4].nodes_reporting(), answer.points[4].nodes_expected()),
        (0, 0, 1)
    );
    let names: Vec<_> = answer.series.iter().map(|series| series.attributes["protocol"].as_str()).collect();
    assert_eq!(names, ["grpc", "http1"]);
    let grpc = &answer.series[0];
    assert_eq!((grpc.kind.as_str(), grpc.unit.as_str(), grpc.scope.as_str()), ("counter", "{request}", "cluster"));
    let values = &grpc.statistics[0].values;
    assert_eq!((values[3], values[9], grpc.statistics[0].statistic.as_str()), (3.0, 9.0, "value"));
    assert!(values[4].is_nan(), "no data is not zero");
}

#[test]
fn a_total_adds_up_and_a_step_is_a_mean() {
    let asked = v1::GetSeriesRequest { total: true, step_seconds: 5, ..request("traffic.requests") };
    let answer = read(&asked);
    let [total] = answer.series.as_slice() else { panic!("{answer:?}") };
    assert!(total.attributes.is_empty());
    // (0 + 1 + 2 + 3) / 4 and (5 + 6 + 7 + 8 + 9) / 5, and one of http1.
    assert_eq!(total.statistics[0].values, [2.5, 8.0]);
    assert_eq!(
        answer.points.iter().map(|point| (point.tick, point.seconds())).collect::<Vec<_>>(),
        [(1000, 4), (1005, 5)]
    );
    let skipped: Vec<_> = answer.points.iter().map(v1::SeriesPoint::skipped_cells).collect();
    assert_eq!(skipped, [7, 1], "the second of a point that lacks most");
}

#[test]
fn quantiles_are_read_of_merged_histograms_and_say_their_error() {
    let statistics = ["count", "p50", "max"].map(str::to_owned).to_vec();
    let asked = v1::GetSeriesRequest { statistics, step_seconds: 10, ..request("traffic.duration") };
    let answer = read(&asked);
    let [duration] = answer.series.as_slice() else { panic!("{answer:?}") };
    let of = |at: usize| duration.statistics[at].values[0];
    assert_eq!(of(0), 90.0, "ten a second");
    assert!((of(1) - 600e-6).abs() < 3e-6, "the middle of nine seconds: {}", of(1));
    assert_eq!(of(2), 0.001);
    assert_eq!(duration.statistics.iter().map(|is| is.error_bound_ppm).collect::<Vec<_>>(), [0, 3_906, 0]);
}

#[test]
fn what_is_derived_is_read_and_listed_like_the_rest() {
    let answer = read(&request("system.memory.utilization"));
    let [used] = answer.series.as_slice() else { panic!("{answer:?}") };
    assert!(used.derived && used.statistics[0].values[0] == 0.75);
    let content = second(1, 1, 1);
    let asked = Asked::parse(&request(""), 1000, 1009).unwrap();
    let listed = list(&Reading::of_node(&columns(&content)), &asked);
    let names: Vec<_> = listed.series.iter().map(|series| (series.name.as_str(), series.derived)).collect();
    assert!(names.is_sorted() && names.contains(&("system.memory.used", true)), "{names:?}");
    assert!(names.contains(&("traffic.requests", false)) && listed.left_out() == 0);
    let mut of_grpc = request("");
    of_grpc.attributes.insert("protocol".into(), "grpc".into());
    let listed = list(&Reading::of_node(&columns(&content)), &Asked::parse(&of_grpc, 1000, 1009).unwrap());
    assert!(listed.series.iter().all(|series| series.attributes["protocol"] == "grpc") && listed.series.len() == 2);
    let needed = Asked::parse(&request("system.memory.utilization"), 1, 2).unwrap();
    assert!(needed.needs("system.memory.available") && !needed.needs("system.memory.usage"));
}

#[test]
fn series_beyond_the_limits_are_counted() {
    let asked = Asked::parse(&request("jobs"), 101, 1000).unwrap();
    let mut fold = Fold::new(&asked);
    let sample = |n: u32| {
        let series = Series::application("jobs", &[("n", &n.to_string())], Kind::Counter, "1", 0, Scope::Node);
        Sample { series: series.unwrap(), value: Value::Counter(1) }
    };
    let content = Content { tick: 1000, samples: (0..300).map(sample).collect(), dropped: 0 };
    fold.take(1000, ONE, 0, Some(&Reading::of_node(&columns(&content))));
    let answer = fold.finish();
    assert_eq!((answer.series.len(), answer.left_out()), (SERIES_MAX, 300 - SERIES_MAX as u32));
}

#[test]
fn mistakes_are_named_with_what_is_wanted() {
    let refused = |request: v1::GetSeriesRequest| Asked::parse(&request, 1000, 1899).unwrap_err().message().to_owned();
    let base = || request("traffic.requests");
    let statistics = vec!["median".to_owned()];
    assert!(refused(v1::GetSeriesRequest { statistics, ..base() }).contains("such as p50"));
    let text = refused(v1::GetSeriesRequest { from_tick: 999, ..base() });
    assert_eq!(text, "from_tick: 999 is outside of 1000 to 1899");
    let text = refused(v1::GetSeriesRequest { from_tick: 1500, to_tick: 1400, ..base() });
    assert_eq!(text, "from_tick: 1500 is after to_tick, which is 1400");
    let text = refused(v1::GetSeriesRequest { step_seconds: 901, ..base() });
    assert_eq!(text, "step_seconds: 901 is given, 1 to 900 are kept");
}
