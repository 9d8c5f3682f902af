//! Sums as algebra, and the codec against itself and against noise.

use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;
use starling_proto::group::Group;
use starling_proto::{
    catalogue::{self, Section, SectionSet},
    histogram::{Histogram, HistogramSum},
    ids::NodeId,
    limits::GAUGE_MAGNITUDE_MAX,
    series::{Sample, Series, Value},
};

use super::*;

/// What one node sends in one second.
#[derive(Debug, Clone)]
struct Frame {
    /// Number of its node.
    node: u32,
    groups: Vec<Group>,
    samples: Vec<Sample>,
    cores: Cores,
}

impl Frame {
    /// What it reports.
    fn sections(&self) -> SectionSet {
        let of = |sample: &Sample| catalogue::find(sample.series.name()).map(SectionSet::of_metric).unwrap_or_default();
        self.samples.iter().map(of).fold(SectionSet::NONE, SectionSet::and)
    }

    fn sums(&self) -> Sums {
        let node = &nodes()[self.node as usize];
        Sums::of_frame(&self.groups, &self.samples).counted(node, &self.groups, self.sections(), &self.cores)
    }
}

/// The nodes of the frames, by number.
fn nodes() -> Vec<NodeId> {
    (0..8).map(|number| NodeId::sanitised(&format!("n-{number}"))).collect()
}

fn frame() -> impl Strategy<Value = Frame> {
    let gauge = prop_oneof![-10i64..10_000, -GAUGE_MAGNITUDE_MAX..=GAUGE_MAGNITUDE_MAX];
    let values = prop::collection::vec((0u64..1 << 42, 1u64..5), 0..6);
    let cores = prop::collection::vec((0u16..4, 0u32..100), 0..12);
    let parts = (0u64..1 << 40, gauge.clone(), gauge, values, 0u32..32, 0u8..4, 0u32..8, cores);
    parts.prop_map(|(counter, gauge, other, values, present, group, node, cores)| {
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
        let cores = Cores::busiest(cores.into_iter().map(|(share, core)| Busy { share: share * 3_333, core }));
        Frame { node, groups, samples: samples.collect(), cores }
    })
}

fn total<'a>(frames: impl IntoIterator<Item = &'a Frame>) -> Sums {
    let mut sums = Sums::new();
    for frame in frames {
        sums.add(&frame.sums()).unwrap();
    }
    sums
}

/// The sums under the positions of their names, and the names.
fn numbered(sums: &Sums) -> (NumberedSums, Named) {
    let mut named = Named { groups: vec![Group::cluster()], series: Vec::new(), nodes: nodes() };
    let groups = sums.groups().chain(sums.censuses().keys()).filter(|group| !group.is_cluster());
    named.groups.extend(groups.cloned().collect::<std::collections::BTreeSet<_>>());
    named.series.extend(sums.iter().map(|(_, series, _)| series.clone()));
    named.series.sort_unstable();
    named.series.dedup();
    let cells = sums.iter().map(|(group, series, cell)| NumberedCell {
        group: named.groups.binary_search(group).unwrap() as u32,
        series: named.series.binary_search(series).unwrap() as u32,
        cell: cell.clone(),
    });
    let census = sums.censuses().iter().map(|(group, census)| NumberedCensus {
        group: named.groups.binary_search(group).unwrap() as u32,
        frames: census.frames(),
        counts: Section::ALL.map(|section| census.count(section)),
        cores: census
            .busiest()
            .iter()
            .map(|core| NumberedCore { busy: core.busy, stream: named.nodes.binary_search(&core.node).unwrap() as u32 })
            .collect(),
    });
    (NumberedSums::of(cells.collect()).with_census(census.collect()), named)
}

struct Named {
    groups: Vec<Group>,
    series: Vec<Series>,
    nodes: Vec<NodeId>,
}

impl Definitions for Named {
    fn series(&self, number: u32) -> Option<&Series> {
        self.series.get(number as usize)
    }

    fn group(&self, number: u32) -> Option<&Group> {
        self.groups.get(number as usize)
    }

    fn node(&self, stream: u32) -> Option<&NodeId> {
        self.nodes.get(stream as usize)
    }
}

proptest! {
    #[test]
    fn any_split_and_order_gives_the_same_sums(frames in prop::collection::vec(frame(), 0..12), owners in prop::collection::vec(0usize..4, 12), seed: u64) {
        let whole = total(&frames);
        let mut parts = vec![Sums::new(); 4];
        for (frame, &owner) in frames.iter().zip(&owners) {
            parts[owner].add(&frame.sums()).unwrap();
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
    fn the_dense_form_gives_the_same_sums(frames in prop::collection::vec(frame(), 0..12), sets in 0usize..80) {
        // More sets of groups than are added up apart.
        let many = (0..sets).map(|i| Frame {
            groups: [("rack", i % 9), ("role", i / 9)].map(|(label, i)| Group::of(label, &i.to_string()).unwrap()).into(),
            samples: vec![Sample { series: Series::of(&catalogue::LOAD_5M, &[]), value: Value::Gauge(i as i64) }],
            node: i as u32 % 8,
            cores: Cores::busiest((0..9).map(|core| Busy { share: 100 * (core + i as u16 % 7), core: core.into() })),
        });
        let frames: Vec<Frame> = many.chain(frames).collect();
        let (_, named) = numbered(&total(&frames));
        let mut dense = Accumulator::new();
        for frame in &frames {
            let (one, own) = numbered(&frame.sums());
            let mut by_group = BTreeMap::<u32, Vec<(u32, Added)>>::new();
            for cell in one.cells() {
                let group = named.groups.binary_search(own.group(cell.group).unwrap()).unwrap() as u32;
                let series = named.series.binary_search(own.series(cell.series).unwrap()).unwrap() as u32;
                by_group.entry(group).or_default().push((series, added(&cell.cell)));
            }
            // All groups of a frame have the same values.
            let groups = one.census().iter().map(|row| own.group(row.group).unwrap());
            let groups: Vec<u32> = groups.map(|group| named.groups.binary_search(group).unwrap() as u32).collect();
            let (node, sections) = (&named.nodes[frame.node as usize], frame.sections());
            let of = Reported { node, stream: frame.node, sections, cores: &frame.cores };
            dense.add(&groups, by_group.values().next().map_or(&[], |values| values), of);
        }
        prop_assert_eq!(dense.cells().resolve(&named), (total(&frames), 0));
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
            sums.subtract(&frame.sums()).unwrap();
        }
        let (numbers, named) = numbered(&sums);
        let bytes = numbers.encode();
        let census = encode_census(numbers.census());
        let back = decode(&bytes).unwrap().with_census(decode_census(&census).unwrap());
        prop_assert_eq!(encode_census(back.census()), census.clone());
        for end in 1..census.len() {
            prop_assert!(decode_census(&census[..end]).is_err(), "cut at {} of {} was taken", end, census.len());
        }
        prop_assert_eq!(back.resolve(&named).0.difference(&sums), None);
        prop_assert_eq!(back.encode(), bytes.clone());
        let packed = Packed::of(&sums, None);
        prop_assert_eq!(packed.unpack().difference(&sums), None);
        for group in sums.groups().cloned().chain([Group::of("no", "one").unwrap()]) {
            // By turns all, and every other one.
            for every in [1, 2] {
                let wanted = |series: &Series| series.name().len().is_multiple_of(every);
                let (cells, census) = packed.unpack_some(&group, wanted);
                let cells: Vec<_> = cells.iter().map(|(series, cell)| (series, cell)).collect();
                let expected: Vec<_> = sums.cells(&group).filter(|(series, _)| wanted(series)).collect();
                prop_assert_eq!(cells, expected);
                prop_assert_eq!(census, sums.census(&group).cloned().unwrap_or_default());
            }
        }
        prop_assert!(Arc::ptr_eq(Packed::of(&sums, Some(packed.keys())).keys(), packed.keys()));
        for end in 0..bytes.len() {
            prop_assert!(decode(&bytes[..end]).is_err(), "cut at {end} of {} was taken", bytes.len());
        }
    }

    #[test]
    fn random_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 1..300), frames in prop::collection::vec(frame(), 1..4), at: prop::sample::Index, bit in 0u8..8) {
        let sums = total(&frames);
        let (numbers, named) = numbered(&sums);
        bytes[0] = 2;
        let _ = decode(&bytes);
        bytes[0] = 1;
        let _ = decode_census(&bytes);
        let mut damaged = numbers.encode();
        let at = at.index(damaged.len());
        damaged[at] ^= 1 << bit;
        if let Ok(other) = decode(&damaged) {
            // Whatever came in can be added and packed again.
            let (other, _) = other.resolve(&named);
            let mut all = sums.clone();
            all.add(&other).unwrap();
            prop_assert_eq!(Packed::of(&all, None).unpack().difference(&all), None);
        }
    }
}

/// The one value of a cell of one frame.
fn added(cell: &Cell) -> Added {
    match &cell.sum {
        Sum::Counter(sum) => Added::Counter(u64::try_from(*sum).unwrap()),
        Sum::Gauge(gauge) => Added::Gauge(gauge.min, gauge.distribution.is_some()),
        Sum::Histogram(histogram) => Added::Histogram(Arc::clone(histogram)),
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
}

#[test]
fn cells_without_room_are_left_out_and_counted() {
    let group = Group::of("zone", "a").unwrap();
    let samples = ["grpc", "http1"].map(|protocol| Sample {
        series: Series::of(&catalogue::REQUESTS, &[("protocol", protocol)]),
        value: Value::Counter(1),
    });
    let (numbers, mut named) = numbered(&Sums::of_frame(std::slice::from_ref(&group), &samples));
    named.series.pop();
    let (sums, left_out) = numbers.resolve(&named);
    assert_eq!((sums.len(), left_out), (2, 2));
    // A cell of another kind than its series has by definition is not added to it.
    named.series = vec![Series::of(&catalogue::LOAD_5M, &[])];
    assert_eq!(numbers.resolve(&named), (Sums::new(), 4));
}

#[test]
fn values_of_one_frame_fold_within_the_caps() {
    let mut counter = Added::Counter(1 << 40);
    assert!(counter.fold(&Added::Counter(1 << 40)) && counter.is_within_caps());
    assert_eq!(counter, Added::Counter(1 << 40));
    let mut gauge = Added::Gauge(5, false);
    assert!(gauge.fold(&Added::Gauge(-7, false)));
    assert_eq!(gauge, Added::Gauge(-2, false));
    assert!(!gauge.fold(&counter), "two kinds");
    let mut histogram = Added::Histogram(Histogram::of(7, 2).into());
    assert!(histogram.fold(&Added::Histogram(Histogram::of(9, 1).into())));
    assert!(matches!(histogram, Added::Histogram(sum) if sum.count() == 3));
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
fn the_busiest_cores_are_exact_and_equal_ones_stand_by_name() {
    let [a, b] = ["a", "b"].map(NodeId::sanitised);
    let cores = |shares: &[u16]| Cores::busiest((0..).zip(shares).map(|(core, &share)| Busy { share, core }));
    let one = |node: &NodeId, shares: &[u16]| Sums::new().counted(node, &[], SectionSet::NONE, &cores(shares));
    let mut sums = one(&b, &[10_000, 20_000, 3]);
    sums.add(&one(&a, &[10_000; 7])).unwrap();
    let census = sums.census(&Group::cluster()).unwrap();
    let found: Vec<(&str, u32)> = census.busiest().iter().map(|core| (core.node.as_str(), core.busy.core)).collect();
    let wanted: Vec<(&str, u32)> = (0..7).map(|core| ("a", core)).chain([("b", 0)]).collect();
    assert_eq!((found, census.frames()), (wanted, 2));
    // A frame whose cores are all among the kept ones leaves nothing behind when it is taken back.
    assert!(sums.spans(&one(&a, &[10_000; 7])) && sums.spans(&one(&b, &[1])));
    assert!(!one(&a, &[5]).spans(&one(&b, &[1])), "that core is kept and no other frame has it");
}

#[test]
fn a_census_beyond_its_frames_is_refused() {
    // Form, 1 group, number 0, 2 frames, 8 counts, 1 core: share, core, stream.
    let bytes =
        |count: u8, share: [u8; 2]| [&[1, 1, 0, 2, count, 0, 0, 0, 0, 0, 0, 0, 1], &share[..], &[3, 7]].concat();
    let rows = decode_census(&bytes(2, [0x90, 0x4e])).unwrap();
    assert_eq!(rows[0].cores, [NumberedCore { busy: Busy { share: SHARE_MAX, core: 3 }, stream: 7 }]);
    assert_eq!(decode_census(&bytes(3, [0x90, 0x4e])), Err(CodecError::Count(3)));
    assert_eq!(decode_census(&bytes(2, [0x91, 0x4e])), Err(CodecError::Share(10_001)));
    assert_eq!(decode_census(&[]), Ok(Vec::new()));
    assert_eq!(decode_census(&[1, 0]), Err(CodecError::Count(0)));
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
    let bytes = numbered(&sums).0.encode();
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
    let (numbers, named) = numbered(&all);
    let bytes = numbers.encode();
    assert_eq!(bytes.len(), numbered(&one).0.encode().len() + 4);
    assert_eq!(decode(&bytes).unwrap().resolve(&named), (all, 0));
}

#[test]
fn values_beyond_their_frames_are_refused() {
    // Form, 1 group, number 0, 1 cell, series 0 of counters, 1 frame, then a counter of 2^40 + 1 and of 2^40.
    let head = [2, 1, 0, 1, 0, 1];
    let with = |value: u64| {
        let mut bytes = head.to_vec();
        starling_proto::varint::put_u128(&mut bytes, value.into());
        decode(&bytes)
    };
    assert_eq!(with((1 << 40) + 1), Err(CodecError::Value { series: 0, error: ValueError::Beyond }));
    assert!(with(1 << 40).is_ok());
    assert_eq!(decode(&[2, 1, 0, 99, 0, 1, 0, 0]), Err(CodecError::Count(99)));
    assert_eq!(decode(&[2, 1, 0, 0]), Err(CodecError::Count(0)));
    assert_eq!(decode(&[1]), Err(CodecError::Form(1)));
}
