use std::sync::Arc;

use proptest::prelude::*;
use starling_history::Coverage;

use super::*;

const MS: u64 = 1_000_000;

fn request(change: impl FnOnce(&mut v1::DifferRequest)) -> v1::DifferRequest {
    let mut request = v1::DifferRequest { from_tick: 1_200, to_tick: 1_259, ..Default::default() };
    change(&mut request);
    request
}

fn asked(change: impl FnOnce(&mut v1::DifferRequest)) -> Asked {
    Asked::parse(request(change), 2_000).unwrap()
}

fn of_values(values: impl IntoIterator<Item = u64>) -> Cell {
    let mut sum = HistogramSum::new();
    values.into_iter().for_each(|value| sum.record(value, 1));
    Cell { histogram: Some(Arc::new(sum.to_histogram())), ..Cell::second(0.0) }
}

/// What each node has of a series, in the steps of `span`.
fn found(span: Span, of: &[(&str, Series, Vec<Option<Cell>>)]) -> Found {
    let mut found = Found::new(span, Keep::ALL);
    let mut subjects: BTreeMap<Subject, Folded> = BTreeMap::new();
    for (node, series, steps) in of {
        let folded = subjects.entry(Subject::parse(&format!("node/{node}")).unwrap()).or_default();
        folded.coverage = vec![Coverage::second(1, 1, 0); steps.len()];
        folded.series.insert(Key { series: series.clone(), derived: false }, steps.clone());
    }
    subjects.into_iter().for_each(|(subject, folded)| found.add(subject, folded).unwrap());
    found
}

fn durations(protocol: &str) -> Series {
    Series::of(&catalogue::DURATION, &[("protocol", protocol)])
}

fn labels(of: &[(&str, &str)]) -> Labels {
    let label =
        |(node, zone): &(&str, &str)| (NodeId::parse(node).unwrap(), vec![("zone".to_owned(), (*zone).to_owned())]);
    of.iter().map(label).collect()
}

fn shown(answer: &v1::Differences) -> Vec<(&str, &str, &str)> {
    answer.rows.iter().map(|row| (row.dimension.as_str(), row.key.as_str(), row.value.as_str())).collect()
}

#[test]
fn every_field_is_checked_and_named() {
    for (change, text) in [
        (
            (|r| r.box_from_tick = 1_100) as fn(&mut v1::DifferRequest),
            "box_from_tick: the box from 1100 to 1259 is not within",
        ),
        (|r| (r.box_from_tick, r.box_to_tick) = (1_250, 1_240), "box_from_tick: 1250 is after box_to_tick"),
        (|r| r.lower = Some(f64::NAN), "lower: NaN is no number"),
        (|r| (r.lower, r.upper) = (Some(2.0), Some(2.0)), "lower: 2 is not below upper"),
        (|r| r.time_unit = "min".into(), "time_unit: \"min\" is given"),
        (|r| r.top = 201, "top: 201 are asked for"),
        (|r| r.to_tick = 100_000, "to_tick: 100000 lies in the future"),
        (|r| (r.from_tick, r.to_tick) = (1_259, 1_200), "from_tick: 1259 is after to_tick"),
        (|r| r.scope = Some(v1::Scope { group: "zone".into(), ..Default::default() }), "scope.group: "),
    ] {
        let refused = Asked::parse(request(change), 2_000).unwrap_err();
        assert!(refused.message().starts_with(text), "{}", refused.message());
    }
    let empty = Asked::parse(v1::DifferRequest::default(), 2_000).unwrap();
    assert_eq!((empty.whole, empty.boxed, empty.kind()), ((1_941, 2_000), (1_941, 2_000), Some(Kind::Histogram)));
    let of_box = v1::DifferRequest { box_from_tick: 1_500, box_to_tick: 1_509, ..Default::default() };
    assert_eq!(Asked::parse(of_box, 2_000).unwrap().whole, (1_500, 1_509), "the same seconds are looked at");
    let all = asked(|r| r.name = "throughput".into());
    assert!(all.check_box().unwrap_err().message().starts_with("lower: the box holds all"));
}

#[test]
fn the_slowest_hundredth_names_who_is_slow() {
    let slow = (0..30).map(|_| 900 * MS).chain((0..70).map(|n| (2 + n % 5) * MS));
    let quick = |_| (0..100).map(|n| (2 + n % 5) * MS);
    let mut of: Vec<_> = (0..20).map(|n| (format!("n{n}"), of_values(quick(n)))).collect();
    of[7].1 = of_values(slow);
    let of: Vec<_> =
        of.iter().map(|(name, cell)| (name.as_str(), durations("grpc"), vec![Some(cell.clone())])).collect();
    let asked = asked(|_| {});
    let span = asked.question_whole(true).span;
    let read = Pair { whole: found(span, &of), boxed: None };
    let answer = asked.of_values(&read, None, &labels(&[("n7", "b"), ("n8", "b"), ("n9", "a")])).unwrap();
    assert_eq!(shown(&answer), [("node", "", "n7"), ("label", "zone", "b")], "the only protocol does not differ");
    assert_eq!((answer.inside, answer.rest, answer.rows[0].inside), (Some(30.0), Some(1_970.0), Some(30.0)));
    assert_eq!((answer.unit.as_str(), answer.counted.as_str(), answer.upper), ("s", "values", None));
    assert!((answer.lower() - 0.9).abs() < 0.01, "the bound that was chosen is told: {:?}", answer.lower);
    assert_eq!(answer.text, "node n7 makes 100 % of the 30 requests in the box, and 3.6 % of the others.");
}

#[test]
fn events_are_counted_in_steps_whose_rate_is_within_the_bounds() {
    let asked = asked(|r| {
        (r.name, r.lower) = ("throughput".into(), Some(150.0));
        (r.box_from_tick, r.box_to_tick) = (1_220, 1_239);
    });
    let rate = asked.question_of_rate(2).unwrap();
    assert_eq!(rate.span, Span { from: 1_220, to: 1_239, step: 1 });
    let of = |protocol| Series::of(&catalogue::REQUESTS, &[("protocol", protocol)]);
    let steps = |value: fn(u32) -> f64| (0..20u32).map(|at| Some(Cell::second(value(at)))).collect::<Vec<_>>();
    // In every fourth second http2 brings 200 requests more.
    let extra = |at: u32| if at.is_multiple_of(4) { 200.0 } else { 0.0 };
    let cluster = (Subject::Cluster, (0..20).map(|at| Some(Cell::second(100.0 + extra(at)))).collect::<Vec<_>>());
    let mut by_second = Found::new(rate.span, Keep::ALL);
    let key = Key { series: of("grpc"), derived: false };
    let coverage = vec![Coverage::second(1, 1, 0); 20];
    by_second.add(cluster.0, Folded { coverage, series: [(key, cluster.1)].into(), resolution: 1 }).unwrap();
    let nodes = [
        ("a", of("grpc"), steps(|_| 100.0)),
        ("b", of("http2"), steps(|at| if at.is_multiple_of(4) { 200.0 } else { 0.0 })),
    ];
    let total = |steps: &[Option<Cell>]| steps.iter().flatten().map(|cell| cell.sum).sum::<f64>();
    // The 40 seconds beside the box have 100 of grpc each.
    let whole: Vec<_> = nodes
        .iter()
        .map(|(node, series, steps)| {
            let beside = if *node == "a" { 4_000.0 } else { 0.0 };
            (*node, series.clone(), vec![Some(Cell::second(total(steps) + beside))])
        })
        .collect();
    let read = Pair { whole: found(asked.question_whole(false).span, &whole), boxed: Some(found(rate.span, &nodes)) };
    let answer = asked.of_events(&read, None, Some(&by_second), &labels(&[]));
    assert_eq!((answer.inside, answer.rest), (Some(5.0 * 300.0), Some(4_000.0 + 15.0 * 100.0)));
    assert_eq!(shown(&answer), [("node", "", "b"), ("attribute", "protocol", "http2")]);
    assert_eq!((answer.rows[0].inside, answer.rows[0].rest, answer.step_seconds), (Some(1_000.0), Some(0.0), 1));
}

#[test]
fn readings_of_a_gauge_are_those_of_each_node_and_step() {
    let asked = asked(|r| (r.name, r.lower) = ("system.load_average.1m".into(), Some(4.0)));
    let question = asked.question_of_readings(3);
    let steps = |value: f64| (0..60).map(|_| Some(Cell::second(value))).collect::<Vec<_>>();
    let of = |value| (Series::of(&catalogue::LOAD_1M, &[]), steps(value));
    let nodes: Vec<_> =
        [("a", 1.0), ("b", 9.0), ("c", 2.0)].map(|(node, value)| (node, of(value).0, of(value).1)).into();
    let answer = asked.of_readings(&found(question.span, &nodes), &labels(&[("b", "x")]));
    assert_eq!((answer.inside, answer.rest, answer.counted.as_str()), (Some(60.0), Some(120.0), "readings"));
    assert_eq!(shown(&answer), [("node", "", "b"), ("label", "zone", "x")]);
}

#[test]
fn bounds_of_times_are_in_the_unit_that_is_named() {
    let in_unit = |unit: &str, of: &str| {
        let asked = asked(|r| (r.lower, r.upper, r.time_unit) = (Some(250.0), Some(500.0), unit.into()));
        let bounds = asked.bounds.in_unit(of);
        (bounds.lower.unwrap(), bounds.upper.unwrap())
    };
    let near = |(a, b): (f64, f64), (c, d): (f64, f64)| (a - c).abs() < 1e-9 && (b - d).abs() < 1e-9;
    assert!(near(in_unit("ms", "s"), (0.25, 0.5)) && near(in_unit("us", "ms"), (0.25, 0.5)));
    assert!(near(in_unit("", "s"), (250.0, 500.0)) && near(in_unit("us", "By"), (250.0, 500.0)));
}

#[test]
fn steps_fit_the_size_of_the_fleet() {
    let asked = asked(|r| (r.name, r.lower, r.from_tick) = ("throughput".into(), Some(1.0), 1));
    for nodes in [0, 1, 1_000, 10_000, 1_000_000] {
        let points = asked.question_of_rate(nodes).unwrap().span.points() as usize;
        assert!(points <= 60 && (points * nodes * 8 <= 500_000 || points <= 2), "{nodes}: {points}");
        let points = asked.question_of_readings(nodes).span.points() as usize;
        assert!(points <= 600 && (points * nodes <= 500_000 || points <= 2), "{nodes}: {points}");
    }
}

proptest! {
    /// Against values counted one by one.
    #[test]
    fn every_value_is_in_the_box_or_not(
        nodes in prop::collection::vec(prop::collection::vec((1u64..1 << 40, any::<bool>()), 0..60), 1..12),
        low in 1u64..1 << 40,
        width in 1u64..1 << 40,
    ) {
        let to_seconds = |nanos: u64| nanos as f64 / 1e9;
        let asked = asked(|r| {
            (r.lower, r.upper) = (Some(to_seconds(low)), Some(to_seconds(low + width)));
            (r.box_from_tick, r.box_to_tick) = (1_210, 1_219);
        });
        let buckets = bucket_index(low)..bucket_index(low + width).max(bucket_index(low) + 1);
        let names: Vec<String> = (0..nodes.len()).map(|n| format!("n{n}")).collect();
        let of = |in_time: bool| -> Vec<_> {
            let cell = |values: &Vec<(u64, bool)>| {
                of_values(values.iter().filter(|(_, is)| *is || !in_time).map(|(value, _)| *value))
            };
            names.iter().zip(&nodes).map(|(name, values)| (name.as_str(), durations("grpc"), vec![Some(cell(values))])).collect()
        };
        let span = |question: Option<Question>| question.unwrap().span;
        let read = Pair {
            whole: found(asked.question_whole(true).span, &of(false)),
            boxed: Some(found(span(asked.question_box(true)), &of(true))),
        };
        let answer = asked.clone().of_values(&read, None, &labels(&[])).unwrap();
        let inside = |values: &Vec<(u64, bool)>| {
            values.iter().filter(|(value, is)| *is && buckets.contains(&bucket_index(*value))).count() as f64
        };
        let all: usize = nodes.iter().map(Vec::len).sum();
        let expected: f64 = nodes.iter().map(inside).sum();
        prop_assert_eq!((answer.inside(), answer.rest()), (expected, all as f64 - expected));
        for row in answer.rows.iter().filter(|row| row.dimension == "node") {
            let n: usize = row.value[1..].parse().unwrap();
            prop_assert_eq!(row.inside(), inside(&nodes[n]));
            prop_assert_eq!(row.rest(), nodes[n].len() as f64 - inside(&nodes[n]));
        }
    }
}
