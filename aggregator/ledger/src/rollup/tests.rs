//! Sums as algebra, and the codec against itself and against noise.

use std::sync::Arc;

use proptest::prelude::*;
use starling_proto::group::Group;
use starling_proto::{
    catalogue,
    histogram::HistogramSum,
    limits::GAUGE_MAGNITUDE_MAX,
    series::{Sample, Series, Value},
};

use super::*;

/// What one node sends in one second.
#[derive(Debug, Clone)]
struct Frame {
    groups: Vec<Group>,
    samples: Vec<Sample>,
}

fn frame() -> impl Strategy<Value = Frame> {
    let gauge = prop_oneof![-10i64..10_000, -GAUGE_MAGNITUDE_MAX..=GAUGE_MAGNITUDE_MAX];
    let values = prop::collection::vec((0u64..1 << 42, 1u64..5), 0..6);
    let parts = (0u64..1 << 40, gauge.clone(), gauge, values, 0u32..32, 0u8..4);
    parts.prop_map(|(counter, gauge, other, values, present, group)| {
        let mut histogram = HistogramSum::new();
        values.iter().for_each(|&(value, n)| histogram.record(value, n));
        let protocol = [("protocol", if group % 2 == 0 { "grpc" } else { "http1" })];
        let all = [
            (Series::of(&catalogue::REQUESTS, &protocol), Value::Counter(counter)),
            // Keeps a distribution.
            (Series::of(&catalogue::CPU_UTILIZATION, &[]), Value::Gauge(gauge)),
            (Series::of(&catalogue::LOAD_5M, &[]), Value::Gauge(other)),
            (Series::of(&catalogue::DURATION, &protocol), Value::Histogram(Arc::new(histogram.to_histogram()))),
            // Node scope: never merged.
            (Series::of(&catalogue::UPTIME, &[]), Value::Gauge(gauge)),
        ];
        let samples = all
            .into_iter()
            .enumerate()
            .filter(|(i, _)| present >> i & 1 == 1)
            .map(|(_, (series, value))| Sample { series, value });
        let groups = if group == 0 { Vec::new() } else { vec![Group::of("zone", &group.to_string()).unwrap()] };
        Frame { groups, samples: samples.collect() }
    })
}

fn total<'a>(frames: impl IntoIterator<Item = &'a Frame>) -> Sums {
    let mut sums = Sums::new();
    for frame in frames {
        sums.add_samples(&frame.groups, &frame.samples).unwrap();
    }
    sums
}

fn names_of(sums: &Sums) -> Names {
    let mut names = Names::new(1000, 100);
    for (group, series, _) in sums.iter() {
        names.intern_group(group).unwrap();
        names.intern_series(series).unwrap();
    }
    names
}

proptest! {
    #[test]
    fn any_split_and_order_gives_the_same_sums(frames in prop::collection::vec(frame(), 0..12), owners in prop::collection::vec(0usize..4, 12), seed: u64) {
        let whole = total(&frames);
        let mut parts = vec![Sums::new(); 4];
        for (frame, &owner) in frames.iter().zip(&owners) {
            parts[owner].add_samples(&frame.groups, &frame.samples).unwrap();
        }
        parts.rotate_left((seed % 4) as usize);
        let mut merged = Sums::new();
        for part in &parts {
            merged.add(part).unwrap();
        }
        prop_assert_eq!(&merged, &whole);
        prop_assert_eq!(merged.difference(&whole), None);
    }

    #[test]
    fn the_dense_form_gives_the_same_sums(frames in prop::collection::vec(frame(), 0..12)) {
        let mut names = Names::new(1000, 100);
        let mut dense = Accumulator::new();
        for frame in &frames {
            prop_assert_eq!(dense.add(&mut names, &frame.groups, &frame.samples), 0);
        }
        prop_assert_eq!(dense.to_sums(&names), total(&frames));
    }

    #[test]
    fn what_was_added_can_be_taken_back(left in prop::collection::vec(frame(), 0..6), right in prop::collection::vec(frame(), 0..6)) {
        let kept = total(&left);
        let mut sums = kept.clone();
        let taken = total(&right);
        sums.add(&taken).unwrap();
        sums.subtract(&taken).unwrap();
        prop_assert_eq!(sums.difference(&kept), None);
        // The extremes stay where they were, and adding again brings back the very same sums.
        sums.add(&taken).unwrap();
        prop_assert_eq!(sums, total(left.iter().chain(&right)));
    }

    #[test]
    fn what_was_never_added_cannot_be_taken_back(frames in prop::collection::vec(frame(), 1..6)) {
        let mut sums = total(&frames[1..]);
        let all = total(&frames);
        if !all.is_empty() && sums.difference(&all).is_some() {
            let before = sums.clone();
            prop_assert!(sums.subtract(&all).is_err());
            prop_assert_eq!(sums, before);
        }
    }

    #[test]
    fn bytes_round_trip_and_are_canonical(frames in prop::collection::vec(frame(), 0..8), taken in 0usize..8) {
        let mut sums = total(&frames);
        // Also sums whose extremes are those of frames that were taken back.
        for frame in frames.iter().take(taken.min(frames.len().saturating_sub(1))) {
            sums.subtract(&Sums::of_frame(&frame.groups, &frame.samples)).unwrap();
        }
        let names = names_of(&sums);
        let bytes = encode(&sums, &names).unwrap();
        let back = decode(&bytes, &names).unwrap();
        prop_assert_eq!(back.difference(&sums), None);
        prop_assert_eq!(encode(&back, &names).unwrap(), bytes.clone());
        for end in 0..bytes.len() {
            prop_assert!(decode(&bytes[..end], &names).is_err(), "cut at {end} of {} was taken", bytes.len());
        }
    }

    #[test]
    fn random_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 1..300), frames in prop::collection::vec(frame(), 1..4), at: prop::sample::Index, bit in 0u8..8) {
        let sums = total(&frames);
        let names = names_of(&sums);
        bytes[0] = 1;
        let _ = decode(&bytes, &names);
        let mut damaged = encode(&sums, &names).unwrap();
        let at = at.index(damaged.len());
        damaged[at] ^= 1 << bit;
        if let Ok(other) = decode(&damaged, &names) {
            // Whatever came in can be added and packed again.
            let mut all = sums.clone();
            all.add(&other).unwrap();
            prop_assert!(encode(&all, &names).is_some());
        }
    }
}

#[test]
fn missing_is_not_zero() {
    let requests = Series::of(&catalogue::REQUESTS, &[("protocol", "grpc")]);
    let mut sums = Sums::new();
    sums.add_samples(&[], &[Sample { series: requests.clone(), value: Value::Counter(0) }]).unwrap();
    assert_eq!(sums.get(&Group::cluster(), &requests), Some(&Cell { frames: 1, sum: Sum::Counter(0) }));
    let one = sums.clone();
    sums.subtract(&one).unwrap();
    assert!(sums.is_empty());
}

#[test]
fn a_series_stands_once_in_a_frame() {
    let series = Series::of(&catalogue::REQUESTS, &[("protocol", "grpc")]);
    let twice = [3, 5].map(|n| Sample { series: series.clone(), value: Value::Counter(n) });
    let expected = Cell { frames: 1, sum: Sum::Counter(3) };
    assert_eq!(Sums::of_frame(&[], &twice).get(&Group::cluster(), &series), Some(&expected));
    let (mut names, mut dense) = (Names::new(10, 10), Accumulator::new());
    dense.add(&mut names, &[], &twice);
    assert_eq!(dense.to_sums(&names).get(&Group::cluster(), &series), Some(&expected));
}

#[test]
fn full_tables_leave_samples_out() {
    let (mut names, mut dense) = (Names::new(1, 1), Accumulator::new());
    let samples = ["grpc", "http1"].map(|protocol| Sample {
        series: Series::of(&catalogue::REQUESTS, &[("protocol", protocol)]),
        value: Value::Counter(1),
    });
    let groups = ["a", "b"].map(|zone| Group::of("zone", zone).unwrap());
    assert_eq!(dense.add(&mut names, &groups, &samples), 2);
    assert_eq!(dense.to_sums(&names).len(), 2);
}

#[test]
fn groups_hold_their_own_cells() {
    let a = Group::of("zone", "a").unwrap();
    let series = Series::of(&catalogue::LOAD_5M, &[]);
    let sample = |value| [Sample { series: series.clone(), value: Value::Gauge(value) }];
    let mut sums = Sums::new();
    sums.add_samples(std::slice::from_ref(&a), &sample(100)).unwrap();
    sums.add_samples(&[], &sample(-300)).unwrap();
    assert_eq!(sums.groups().cloned().collect::<Vec<_>>(), [Group::cluster(), a.clone()]);
    let gauge = |group: &Group| match &sums.get(group, &series).unwrap().sum {
        Sum::Gauge(gauge) => (gauge.sum, gauge.min, gauge.max),
        other => panic!("{other:?}"),
    };
    assert_eq!(gauge(&Group::cluster()), (-200, -300, 100));
    assert_eq!(gauge(&a), (100, 100, 100));
    assert_eq!(sums.cells(&a).len(), 1);
}

#[test]
fn a_host_in_a_second_is_small() {
    let samples: Vec<Sample> = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"]
        .map(|mode| Sample {
            series: Series::of(&catalogue::CPU_TIME, &[("cpu.mode", mode)]),
            value: Value::Counter(125),
        })
        .into();
    let sums = Sums::of_frame(&[], &samples);
    let bytes = encode(&sums, &names_of(&sums)).unwrap();
    assert!(bytes.len() <= 8 * 3 + 8, "{} bytes for 8 counters", bytes.len());
}

#[test]
fn groups_of_one_frame_cost_two_bytes_each() {
    let groups = ["a", "b"].map(|zone| Group::of("zone", zone).unwrap());
    let mut histogram = HistogramSum::new();
    (1..1000).for_each(|value| histogram.record(value * value, 1));
    let value = Value::Histogram(Arc::new(histogram.to_histogram()));
    let samples = [Sample { series: Series::of(&catalogue::DURATION, &[("protocol", "grpc")]), value }];
    let (one, all) = (Sums::of_frame(&[], &samples), Sums::of_frame(&groups, &samples));
    let names = names_of(&all);
    let bytes = encode(&all, &names).unwrap();
    assert_eq!(bytes.len(), encode(&one, &names).unwrap().len() + 4);
    assert_eq!(decode(&bytes, &names).unwrap(), all);
}

#[test]
fn values_beyond_their_frames_are_refused() {
    let mut names = Names::new(10, 10);
    let counter = Series::of(&catalogue::REQUESTS, &[("protocol", "grpc")]);
    names.intern_series(&counter).unwrap();
    // Form, 1 group, number 0, 1 cell, series 0, 1 frame, then a counter of 2^40 + 1 and of 2^40.
    let head = [1, 1, 0, 1, 0, 1];
    let with = |value: u64| {
        let mut bytes = head.to_vec();
        starling_proto::varint::put_u128(&mut bytes, value.into());
        decode(&bytes, &names)
    };
    assert_eq!(with((1 << 40) + 1), Err(CodecError::Value(counter.clone())));
    assert!(with(1 << 40).is_ok());
    assert_eq!(decode(&[1, 1, 0, 1, 2, 1, 0, 0], &names), Err(CodecError::Undefined { what: "series", number: 1 }));
    assert_eq!(decode(&[1, 1, 9, 1, 0, 1, 0, 0], &names), Err(CodecError::Undefined { what: "group", number: 9 }));
    assert_eq!(decode(&[1, 1, 0, 99, 0, 1, 0, 0], &names), Err(CodecError::Count(99)));
    assert_eq!(decode(&[1, 1, 0, 0], &names), Err(CodecError::Count(0)));
    assert_eq!(decode(&[2], &names), Err(CodecError::Form(2)));
}
