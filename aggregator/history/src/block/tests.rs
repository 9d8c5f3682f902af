//! Blocks as their readers and writers see them.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use proptest::prelude::*;
use starling_proto::{
    catalogue::{self, Kind, Scope},
    histogram::{COARSE_ERROR_PPM, Histogram, HistogramSum},
    series::Series,
};

use crate::{
    Block, BlockBuilder, BlockError, Cell, Coverage, RowError, SecondValue, Selection, SeriesCells, Subject, Tier,
    Versions, roll_up, table::Table,
};

const T0: u32 = 1_800_000_000;

fn node() -> Subject {
    Subject::parse("node/n1").unwrap()
}

fn gauge(name: &str) -> Series {
    Series::kept(name, &[], Kind::Gauge, "By", 0, Scope::Node).unwrap()
}

fn counter(name: &str) -> Series {
    Series::kept(name, &[], Kind::Counter, "1", 0, Scope::Node).unwrap()
}

fn latency() -> Series {
    Series::of(&catalogue::DURATION, &[("protocol", "grpc")])
}

/// What a test says of one series in one second.
#[derive(Debug, Clone)]
enum Value {
    Counter(i128),
    Gauge(i128, i64, i64, Option<Arc<Histogram>>),
    Histogram(Arc<Histogram>),
    Float(f64),
}

impl Value {
    fn of(&self, nodes: u32) -> SecondValue<'_> {
        match self {
            Self::Counter(sum) => SecondValue::Counter { sum: *sum, nodes },
            Self::Gauge(sum, min, max, distribution) => {
                SecondValue::Gauge { sum: *sum, nodes, min: *min, max: *max, distribution: distribution.as_ref() }
            }
            Self::Histogram(histogram) => SecondValue::Histogram { histogram, nodes },
            Self::Float(value) => SecondValue::Float { sum: *value, nodes: 1, min: *value, max: *value },
        }
    }
}

type Row = (u32, u64, Vec<(Series, Value)>);

/// Blocks of rows in ascending order.
fn blocks(subject: &Subject, nodes: u32, rows: &[Row]) -> Vec<Block> {
    let mut blocks = Vec::new();
    for rows in rows.chunk_by(|a, b| a.0 / 300 == b.0 / 300) {
        let mut builder = BlockBuilder::new(subject.clone(), rows[0].0);
        for (tick, revision, values) in rows {
            let values = values.iter().map(|(series, value)| (series, value.of(nodes)));
            builder.push(*tick, *revision, Coverage::second(nodes, nodes, 0), values).unwrap();
        }
        assert_eq!(builder.left_out(), 0);
        blocks.push(builder.seal().unwrap());
    }
    blocks
}

/// One series at the given seconds after [`T0`].
fn series_of(series: &Series, values: impl IntoIterator<Item = (u32, Value)>) -> Vec<Block> {
    let rows: Vec<Row> = values.into_iter().map(|(t, value)| (T0 + t, 0, vec![(series.clone(), value)])).collect();
    blocks(&node(), 1, &rows)
}

fn single(values: impl IntoIterator<Item = (u32, i64)>) -> impl Iterator<Item = (u32, Value)> {
    values.into_iter().map(|(t, value)| (t, Value::Gauge(value.into(), value, value, None)))
}

/// All cells of a name, over blocks.
fn cells(blocks: &[Block], name: &str) -> Vec<(u32, Cell)> {
    let selection = Selection::named(name, 0, u32::MAX);
    blocks
        .iter()
        .flat_map(|block| block.read(&selection).unwrap())
        .flat_map(|found| found.cells)
        .map(|(tick, cell)| (tick - T0, cell))
        .collect()
}

fn whole(cells: &[(u32, Cell)]) -> Cell {
    let mut all = cells.iter().map(|(_, cell)| cell.clone());
    let mut whole = all.next().unwrap();
    all.for_each(|cell| whole.append(&cell).unwrap());
    whole
}

/// The hour of all blocks in each coarser tier.
fn tiers(blocks: &[Block]) -> Vec<Block> {
    let start = blocks[0].start() / 3_600 * 3_600;
    Tier::ALL[1..].iter().map(|tier| roll_up(blocks, *tier, start).unwrap()).collect()
}

#[test]
fn a_peak_of_one_second_survives_every_tier() {
    // Scenario 2.
    let blocks = series_of(&gauge("g"), single((0..3_600).map(|t| (t, if t == 1_237 { 640 } else { 5 }))));
    for block in tiers(&blocks) {
        let found = cells(std::slice::from_ref(&block), "g");
        let step = block.tier().seconds();
        assert_eq!(found.len() as u32, 3_600 / step);
        for (start, cell) in found {
            let peak = (start..start + step).contains(&1_237);
            assert_eq!((cell.max, cell.min, cell.seconds), (if peak { 640.0 } else { 5.0 }, 5.0, step), "{start}");
            let sum = f64::from(5 * step) + if peak { 635.0 } else { 0.0 };
            assert!((cell.mean() - sum / f64::from(step)).abs() < 1e-9);
        }
    }
}

#[test]
fn no_growth_is_lost_at_the_seam_of_two_windows() {
    // Scenario 1: increments of a counter that starts again at t = 10, and 17 (a): one step between two windows.
    let increments = (1..10).map(|_| 10).chain([96]).chain((11..20).map(|_| 11)).chain((20..120).map(|_| 0));
    let restart = series_of(&counter("x"), (1..).zip(increments).map(|(t, n)| (t, Value::Counter(n))));
    let stair = series_of(&counter("x"), (1..300).map(|t| (t, Value::Counter(if t == 151 { 5 } else { 0 }))));
    for (blocks, growth) in [(restart, 285.0), (stair, 5.0)] {
        assert_eq!(whole(&cells(&blocks, "x")).sum, growth);
        for block in tiers(&blocks) {
            assert_eq!(whole(&cells(std::slice::from_ref(&block), "x")).sum, growth, "{}", block.tier());
        }
    }
}

#[test]
fn the_highest_rate_of_an_hour_is_that_of_a_second() {
    // Scenario 59: 10/s, 5,000 more in one second, a restart that shows in no increment.
    let values = (0..3_600).map(|t| (t, Value::Counter(if t == 1_234 { 5_000 } else { 10 })));
    for block in tiers(&series_of(&counter("c"), values)) {
        let hour = whole(&cells(std::slice::from_ref(&block), "c"));
        assert_eq!((hour.max, hour.min), (5_000.0, 10.0));
        assert!((hour.rate() - 11.386).abs() < 0.01, "{}", hour.rate());
    }
}

#[test]
fn a_mean_over_a_hole_weighs_seconds_in_every_tier() {
    // Scenario 50, an hour with 60 seconds of data beside a whole one.
    let first = series_of(&gauge("g"), single((0..3_600).map(|t| (t, 10))));
    let second = series_of(&gauge("g"), single((7_140..7_200).map(|t| (t, 100))));
    for (a, b) in tiers(&first).into_iter().zip(tiers(&second)) {
        let both = [a, b];
        let cell = whole(&cells(&both, "g"));
        assert!((cell.mean() - 11.4754).abs() < 1e-4 && (cell.deviation() - 11.428).abs() < 1e-3);
        assert_eq!((cell.min, cell.max, cell.seconds), (10.0, 100.0, 3_660));
        let mut coverage = Coverage::default();
        both.iter().flat_map(Block::coverage).for_each(|(_, step)| coverage.append(&step));
        assert!((coverage.completeness(7_200) - 0.508_333).abs() < 1e-6);
    }
}

#[test]
fn two_copies_with_holes_are_whole_together() {
    // Scenario 40.
    let row = |t: u32| (t, Value::Counter(10));
    let a = series_of(&counter("c"), (0..300).filter(|t| !(100..130).contains(t) && *t != 299).map(row));
    let b = series_of(&counter("c"), (0..300).filter(|t| !(200..230).contains(t)).map(row));
    let (ab, ba) = (a[0].merge(&b[0]).unwrap(), b[0].merge(&a[0]).unwrap());
    assert_eq!(ab.encode(), ba.encode(), "the order of merging shows");
    let found = cells(&[ab], "c");
    assert!(found.len() == 300 && found.iter().all(|(_, cell)| cell.sum == 10.0));
    assert_eq!((cells(&a, "c").len(), cells(&b, "c").len()), (269, 270));
}

#[test]
fn the_newer_revision_of_a_second_wins_also_after_merging() {
    let block = |rows: &[(u32, u64, i128)]| {
        let rows: Vec<Row> =
            rows.iter().map(|(t, revision, n)| (T0 + t, *revision, vec![(counter("c"), Value::Counter(*n))])).collect();
        blocks(&node(), 1, &rows).remove(0)
    };
    let old = block(&[(0, 1, 1), (1, 1, 2), (2, 1, 3)]);
    let new = block(&[(1, 5, 20)]);
    let between = block(&[(1, 3, 7), (2, 3, 9)]);
    let orders = [[&old, &new, &between], [&between, &new, &old], [&new, &between, &old]];
    for [a, b, c] in orders {
        let all = a.merge(b).unwrap().merge(c).unwrap();
        let values: Vec<f64> = cells(std::slice::from_ref(&all), "c").iter().map(|(_, cell)| cell.sum).collect();
        assert_eq!((values, all.revision()), (vec![1.0, 20.0, 9.0], 5));
    }
    assert_eq!(old.merge(&tiers(std::slice::from_ref(&old))[0]).unwrap_err(), BlockError::Apart("several tiers"));
}

#[test]
fn odd_floats_come_back_and_leave_their_neighbours_alone() {
    // Scenario 44.
    let odd = [1.5, 2.33, f64::INFINITY, f64::NAN, f64::NEG_INFINITY, -0.0, 5e-324, 9_007_199_254_740_993.0, 2.33];
    let given: Vec<f64> = odd.into_iter().chain((0..60).map(|n| f64::from(n) * 0.1)).collect();
    let blocks = series_of(&gauge("f"), (0..).zip(&given).map(|(t, value)| (t, Value::Float(*value))));
    let found: Vec<u64> = cells(&blocks, "f").iter().map(|(_, cell)| cell.last.to_bits()).collect();
    assert_eq!(found, given.iter().map(|value| value.to_bits()).collect::<Vec<_>>());
    let minutes = cells(&[roll_up(&blocks, Tier::Minute, T0).unwrap()], "f");
    assert_eq!((minutes[0].1.max, minutes[0].1.min, minutes[0].1.seconds), (f64::INFINITY, f64::NEG_INFINITY, 60));
    assert!((minutes[1].1.max - 5.9).abs() < 1e-12 && minutes[1].1.seconds == 9);
    // Whole numbers of the same series at another time become numbers with a fraction.
    let whole = series_of(&gauge("f"), single((100..110).map(|t| (t, 7))));
    let both = cells(&[blocks[0].merge(&whole[0]).unwrap()], "f");
    assert_eq!((both.len(), both[0].1.sum, both[69].1.sum), (79, 1.5, 7.0));
}

#[test]
fn what_is_computed_from_others_keeps_its_extremes() {
    let time = |mode: &str| Series::of(&catalogue::CPU_TIME, &[("cpu.mode", mode)]);
    let rows: Vec<Row> = (0..120)
        .map(|t| {
            let busy = if t == 77 { 900 } else { 100 };
            (T0 + t, 0, vec![(time("idle"), Value::Counter(1_000 - busy)), (time("user"), Value::Counter(busy))])
        })
        .collect();
    let seconds = blocks(&node(), 1, &rows);
    let name = catalogue::CPU_BUSY.name;
    assert!(seconds[0].series().unwrap().iter().all(|(_, derived)| !derived));
    let found = cells(&seconds, name);
    assert_eq!((found.len(), found[76].1.last, found[77].1.last), (120, 0.1, 0.9));
    let mut read = seconds[0].read(&Selection::named(name, T0 + 10, T0 + 11)).unwrap();
    let read = read.remove(0);
    assert!(read.derived && read.cells.len() == 2 && read.series.unit() == catalogue::CPU_BUSY.unit);
    for block in tiers(&seconds) {
        let cell = whole(&cells(std::slice::from_ref(&block), name));
        assert_eq!((cell.max, cell.min, cell.last, cell.seconds), (0.9, 0.1, 0.1, 120), "{}", block.tier());
        assert!((cell.mean() - (0.1 * 119.0 + 0.9) / 120.0).abs() < 1e-9);
        assert!(block.series().unwrap().iter().any(|(series, derived)| *derived && series.name() == name));
    }
}

#[test]
fn the_percentile_of_a_week_is_that_of_all_requests() {
    // Scenario 5, for two nodes and the cluster.
    let values = |n: u64, nanos: u64| Value::Histogram(Arc::new(Histogram::of(nanos, n)));
    let rows = |of: &dyn Fn(u32) -> Value| (0..60).map(|t| (T0 + t, 0, vec![(latency(), of(t))])).collect::<Vec<Row>>();
    let (a, b) = (values(165, 10_000_000), |t: u32| values(if t < 20 { 10 } else { 0 }, 1_000_000_000));
    let both = |t: u32| match (&a, b(t)) {
        (Value::Histogram(a), Value::Histogram(b)) => Value::Histogram(Arc::new(a.plus(&b).unwrap())),
        _ => panic!("histograms"),
    };
    let expected = Histogram::of(10_000_000, 9_900).plus(&Histogram::of(1_000_000_000, 200)).unwrap();
    let cluster = blocks(&Subject::Cluster, 2, &rows(&both));
    for block in cluster.iter().chain(&tiers(&cluster)) {
        let cell = whole(&cells(std::slice::from_ref(block), latency().name()));
        assert_eq!(cell.histogram.as_deref(), Some(&expected), "{}", block.tier());
        assert_eq!((cell.sum, cell.seconds, cell.nodes), (10_100.0, 60, 120));
    }
    let [of_a, of_b] = [blocks(&node(), 1, &rows(&|_| a.clone())), blocks(&node(), 1, &rows(&b))];
    for (a, b) in tiers(&of_a).iter().zip(tiers(&of_b)) {
        let mut sum = whole(&cells(std::slice::from_ref(a), latency().name()));
        sum.add_over_nodes(&whole(&cells(std::slice::from_ref(&b), latency().name()))).unwrap();
        let histogram = sum.histogram.unwrap();
        let coarse = a.tier().coarse_node_histograms();
        assert_eq!(*histogram, if coarse { expected.coarse() } else { expected.clone() });
        assert_eq!(histogram.error_ppm(), if coarse { COARSE_ERROR_PPM } else { 0 });
        let p99 = histogram.quantile(0.99).unwrap() as f64 / 1e9;
        assert!((p99 - 1.0).abs() <= f64::from(histogram.quantile_error_ppm()) / 1e6, "{p99}");
    }
}

#[test]
fn seconds_are_taken_in_order_and_each_series_once() {
    let mut builder = BlockBuilder::new(node(), T0 + 7);
    let (series, other) = (counter("c"), gauge("g"));
    let one = |n| (&series, SecondValue::Counter { sum: n, nodes: 1 });
    let second = Coverage::second(1, 1, 0);
    assert!(builder.is_empty());
    builder.push(T0 + 7, 0, second, [one(1), one(2)]).unwrap();
    for tick in [T0 + 7, T0, T0 + 300, T0 - 1] {
        assert_eq!(builder.push(tick, 0, second, [one(1)]), Err(RowError::Tick { tick, start: T0, seconds: 300 }));
    }
    // Not of the kind of its series.
    builder.push(T0 + 8, 0, second, [(&other, SecondValue::Counter { sum: 1, nodes: 1 })]).unwrap();
    assert_eq!(builder.left_out(), 2);
    let block = builder.seal().unwrap();
    assert_eq!((block.coverage().len(), block.series().unwrap().len(), block.seconds()), (2, 1, 300));
    assert_eq!(cells(&[block], "c")[0].1.sum, 1.0);
}

#[test]
fn the_hour_is_one_block_that_reads_like_its_parts() {
    let blocks = series_of(&gauge("g"), single((0..3_600).map(|t| (t, (t * t % 977).into()))));
    let hour = Block::join(&blocks).unwrap();
    assert_eq!((hour.start(), hour.seconds(), hour.tier()), (T0, 3_600, Tier::Second));
    assert_eq!(cells(std::slice::from_ref(&hour), "g"), cells(&blocks, "g"));
    assert_eq!(tiers(&[hour])[2].encode(), tiers(&blocks)[2].encode());
    let far = series_of(&gauge("g"), single([(7_200, 1)]));
    assert!(matches!(Block::join(&[blocks[0].clone(), far[0].clone()]), Err(BlockError::Window { steps: 7_500, .. })));
    assert_eq!(Block::join(&[]).unwrap_err(), BlockError::Apart("no block"));
}

#[test]
fn sizes_are_checked_before_allocation() {
    let decode = |bytes: &[u8]| Block::decode(Bytes::copy_from_slice(bytes)).unwrap_err();
    assert_eq!(decode(&[9]), BlockError::Version(9));
    assert_eq!(decode(&[1, 4]), BlockError::Tier(4));
    assert!(matches!(decode(b"\x01\x00\x07clust"), BlockError::Number(_)));
    assert!(matches!(decode(b"\x01\x00\x04none"), BlockError::Subject(_)));
    let with = |rest: &[u8]| [&b"\x01\x01\x07cluster"[..], rest].concat();
    assert_eq!(decode(&with(&[7, 1])), BlockError::Window { start: 7, steps: 1 });
    assert_eq!(decode(&with(&[10, 0x91, 0x1c])), BlockError::Window { start: 10, steps: 3_601 });
    // One step, held; a coverage of 100 MB in 1 byte.
    assert_eq!(decode(&with(&[10, 1, 1, 0xff, 0xff, 0xff, 0x3f, 1, 0])), BlockError::Bytes(0x07ff_ffff));
}

/// A counter, the two values of a gauge, a histogram, a number with a fraction.
type OneSecond = (Option<i128>, Option<(i64, i64)>, Option<Arc<Histogram>>, Option<f64>);

/// Rows of a handful of series that come and go.
fn rows(length: u32) -> impl Strategy<Value = Vec<Row>> {
    let histogram = prop::collection::vec((0u64..5_000_000_000, 1u64..50), 0..5).prop_map(|values| {
        let mut sum = HistogramSum::new();
        values.iter().for_each(|(value, n)| sum.record(*value, *n));
        Arc::new(sum.to_histogram())
    });
    let low = || prop_oneof![5 => -50i64..50, 1 => any::<i64>().prop_map(|n| n >> 2)];
    let values = (
        prop::option::of(prop_oneof![3 => 0i128..20, 1 => 0i128..1 << 90]),
        prop::option::of((low(), low())),
        prop::option::of(histogram),
        prop::option::of(prop_oneof![(-1e6..1e6f64), any::<f64>()]),
    );
    prop::collection::btree_map(0..length, (values, 0u64..3), 1..60).prop_map(|rows| {
        let row = |(t, (one, revision)): (u32, (OneSecond, u64))| {
            let (count, level, histogram, float) = one;
            let mut values = Vec::new();
            values.extend(count.map(|n| (counter("c"), Value::Counter(n))));
            values.extend(level.map(|(a, b)| {
                let distribution = Some(Arc::new(Histogram::of(a.unsigned_abs() >> 20, 2)));
                (gauge("g"), Value::Gauge(i128::from(a) + i128::from(b), a.min(b), a.max(b), distribution))
            }));
            values.extend(histogram.map(|one| (latency(), Value::Histogram(one))));
            values.extend(float.map(|value| (gauge("f"), Value::Float(value))));
            (T0 + t, revision, values)
        };
        rows.into_iter().map(row).collect()
    })
}

#[test]
fn versions_go_together() {
    let second = |subject: &Subject| blocks(subject, 1, &[(T0, 0, vec![(counter("c"), Value::Counter(1))])]).remove(0);
    let (node, cluster) = (second(&node()), second(&Subject::Cluster));
    let coarse = roll_up(std::slice::from_ref(&cluster), Tier::TenSeconds, T0).unwrap();
    for (apart, why) in [
        (vec![], "no block"),
        (vec![node, cluster.clone()], "several subjects"),
        (vec![cluster, coarse], "several tiers"),
    ] {
        assert_eq!(Versions::of(apart).unwrap_err(), BlockError::Apart(why));
    }
}

fn taken_apart(blocks: &[Block]) -> Table {
    Block::tables(blocks, T0, 3_600).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_block_is_the_seconds_it_was_made_of(rows in rows(300)) {
        let block = blocks(&Subject::Cluster, 2, &rows).remove(0);
        prop_assert_eq!(block.coverage().len(), rows.len());
        let count = |name: &str| rows.iter().flat_map(|row| &row.2).filter(|(series, _)| series.name() == name).count();
        for (name, found) in ["c", "g", "f", latency().name()].map(|name| (name, cells(std::slice::from_ref(&block), name))) {
            prop_assert_eq!(found.len(), count(name));
        }
        for (tick, _, values) in &rows {
            for (series, value) in values {
                let selection = Selection::named(series.name(), *tick, *tick);
                let cell = block.read(&selection).unwrap().remove(0).cells.remove(0).1;
                match value {
                    Value::Counter(n) => prop_assert_eq!((cell.sum, cell.nodes), (*n as f64, 2)),
                    Value::Gauge(sum, min, max, distribution) => {
                        prop_assert_eq!((cell.sum, cell.node_min, cell.node_max), (*sum as f64, Some(*min as f64), Some(*max as f64)));
                        prop_assert_eq!(&cell.histogram, distribution);
                    }
                    Value::Histogram(histogram) => prop_assert_eq!(cell.histogram.as_ref(), Some(histogram)),
                    Value::Float(value) => prop_assert_eq!(cell.sum.to_bits(), value.to_bits()),
                }
            }
        }
    }

    #[test]
    fn histograms_merged_on_reading_are_those_merged_afterwards(rows in rows(300), step in 1u32..400, from in 0u32..300, length in 0u32..300, single: bool) {
        let subject = if single { node() } else { Subject::Cluster };
        let block = blocks(&subject, if single { 1 } else { 2 }, &rows).remove(0);
        let selection = Selection::all(T0 + from, T0 + from + length);
        let in_steps = |all: Vec<SeriesCells>| -> Vec<String> {
            let one = |one: SeriesCells| {
                let mut steps: BTreeMap<u32, Cell> = BTreeMap::new();
                for (tick, cell) in one.cells {
                    match steps.get_mut(&(tick / step)) {
                        Some(sum) => sum.append(&cell).unwrap(),
                        None => drop(steps.insert(tick / step, cell)),
                    }
                }
                format!("{} {} {steps:?}", one.series, one.derived)
            };
            all.into_iter().map(one).collect()
        };
        prop_assert_eq!(in_steps(block.read_merged(&selection, step).unwrap()), in_steps(block.read(&selection).unwrap()));
        let none = selection.without_histograms();
        prop_assert_eq!(in_steps(block.read_merged(&none, step).unwrap()), in_steps(block.read(&none).unwrap()));
    }

    #[test]
    fn versions_are_read_as_what_they_are_joined_to(
        all in prop::collection::vec(rows(300), 1..4), tier in 0usize..2, step in 1u32..400, from in 0u32..300, length in 0u32..300, single: bool,
    ) {
        let subject = if single { node() } else { Subject::Cluster };
        let of = |rows| blocks(&subject, if single { 1 } else { 2 }, rows);
        let coarser = |blocks: Vec<Block>| vec![roll_up(&blocks, Tier::TenSeconds, T0).unwrap()];
        let versions: Vec<Block> = all.iter().flat_map(|rows| if tier == 0 { of(rows) } else { coarser(of(rows)) }).collect();
        let joined = Block::join(&versions).unwrap();
        let read = Versions::of(versions).unwrap();
        prop_assert_eq!((read.tier(), read.start(), read.seconds()), (joined.tier(), joined.start(), joined.seconds()));
        prop_assert!(read.coverage().eq(joined.coverage()));
        // Floats may be no numbers: as text these are equal.
        let text = |found: Vec<SeriesCells>| format!("{found:?}");
        let some = Selection::named(latency().name(), T0 + from, T0 + from + length);
        for selection in [Selection::all(T0 + from, T0 + from + length), some] {
            let none = selection.clone().without_histograms();
            prop_assert_eq!(text(read.read(&selection).unwrap()), text(joined.read(&selection).unwrap()));
            prop_assert_eq!(text(read.read(&none).unwrap()), text(joined.read(&none).unwrap()));
            let merged = Versions::of(vec![joined.clone()]).unwrap().read_merged(&selection, step).unwrap();
            prop_assert_eq!(text(merged), text(joined.read_merged(&selection, step).unwrap()));
        }
    }

    #[test]
    fn every_way_to_an_hour_gives_the_same_bytes(rows in rows(3_600), single: bool) {
        let subject = if single { node() } else { Subject::Cluster };
        let seconds = blocks(&subject, if single { 1 } else { 2 }, &rows);
        let [tens, minutes, hour] = Tier::ALL.map(|tier| (tier > Tier::Second).then(|| roll_up(&seconds, tier, T0).unwrap())).into_iter().flatten().collect::<Vec<_>>().try_into().unwrap();
        // One block of all the seconds is no window of 300.
        let whole = Block::join(&seconds).unwrap();
        prop_assert_eq!(roll_up(std::slice::from_ref(&whole), Tier::TenSeconds, T0).unwrap().encode(), tens.encode());
        prop_assert_eq!(roll_up(std::slice::from_ref(&tens), Tier::Minute, T0).unwrap().encode(), minutes.encode());
        prop_assert_eq!(roll_up(&[minutes], Tier::Hour, T0).unwrap().encode(), hour.encode());
        prop_assert_eq!(roll_up(&[tens], Tier::Hour, T0).unwrap().encode(), hour.encode());
        let mut expected = HistogramSum::new();
        for (series, value) in rows.iter().flat_map(|row| &row.2) {
            if let (Value::Histogram(histogram), true) = (value, series.kind() == Kind::Histogram) {
                expected.add(histogram).unwrap();
            }
        }
        let found = cells(&[hour], latency().name());
        if let Some((_, cell)) = found.first() {
            let expected = expected.to_histogram();
            let expected = if single { expected.coarse() } else { expected };
            prop_assert_eq!(cell.histogram.as_deref(), Some(&expected));
        }
    }

    /// Of a single node and merged: a count is the same, whether the histogram that it stands in at seconds is wanted or not.
    #[test]
    fn without_histograms_every_number_is_the_same(rows in rows(300), single: bool) {
        let seconds = blocks(&if single { node() } else { Subject::Cluster }, if single { 1 } else { 2 }, &rows);
        let others = Tier::ALL.into_iter().skip(1).map(|tier| roll_up(&seconds, tier, T0).unwrap());
        for block in seconds.iter().cloned().chain(others) {
            let with = Selection::all(0, u32::MAX);
            let mut wanted = block.read(&with).unwrap();
            wanted.iter_mut().flat_map(|series| &mut series.cells).for_each(|(_, cell)| cell.histogram = None);
            // Compared as text: NaN is equal to itself.
            let without = block.read(&with.without_histograms()).unwrap();
            prop_assert_eq!(format!("{without:?}"), format!("{wanted:?}"), "{:?}", block.tier());
        }
    }

    #[test]
    fn merging_loses_nothing_in_any_order(rows in rows(300), second: Vec<bool>) {
        let mine = |first: bool| -> Vec<Row> {
            rows.iter().enumerate().filter(|(n, _)| second.get(*n).copied().unwrap_or_default() != first).map(|(_, row)| row.clone()).collect()
        };
        let (a, b) = (blocks(&node(), 1, &mine(true)), blocks(&node(), 1, &mine(false)));
        let whole = blocks(&node(), 1, &rows).remove(0);
        if let ([a], [b]) = (&a[..], &b[..]) {
            prop_assert_eq!(a.merge(b).unwrap().encode(), whole.encode());
            prop_assert_eq!(b.merge(a).unwrap().encode(), whole.encode());
        }
        prop_assert_eq!(whole.merge(&whole).unwrap().encode(), whole.encode());
    }

    #[test]
    fn damaged_blocks_never_panic(rows in rows(300), flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4), random in prop::collection::vec(any::<u8>(), 0..300)) {
        let good = blocks(&Subject::Cluster, 2, &rows).remove(0);
        let tier = roll_up(std::slice::from_ref(&good), Tier::Minute, T0).unwrap();
        for good in [good, tier] {
            good.check().unwrap();
            let bytes = good.encode();
            for end in (0..bytes.len()).step_by(1 + bytes.len() / 40) {
                prop_assert!(Block::decode(bytes.slice(..end)).is_err(), "cut at {end} of {} was taken", bytes.len());
            }
            let mut damaged = bytes.to_vec();
            for (at, with) in &flips {
                let at = at.index(damaged.len());
                damaged[at] ^= with;
            }
            for bytes in [damaged, [&bytes[..bytes.len() / 2], &random].concat(), random.clone()] {
                if let Ok(block) = Block::decode(Bytes::from(bytes)) {
                    // Whatever is taken can be read, or says why not.
                    let read = block.read(&Selection::all(0, u32::MAX));
                    if block.check().is_ok() {
                        prop_assert!(read.is_ok());
                        prop_assert!(taken_apart(&[block]).tracks.len() <= 64);
                    }
                }
            }
        }
    }
}

#[test]
fn a_second_that_was_filled_counts_as_one_without_data() {
    let series = gauge("g");
    let mut builder = BlockBuilder::new(node(), T0);
    for t in 0..60 {
        let there = !(20..25).contains(&t);
        let value = SecondValue::Gauge { sum: 7, nodes: 1, min: 7, max: 7, distribution: None };
        builder.push(T0 + t, 1, Coverage::second(u32::from(there), 1, 0), [(&series, value)]).unwrap();
    }
    let block = builder.seal().unwrap();
    let read = Block::decode(block.encode()).unwrap();
    assert_eq!(read.coverage().filter(|(_, coverage)| coverage.seconds == 0).count(), 5);
    let minute = roll_up(&[read], Tier::Minute, T0).unwrap();
    let coverage = minute.coverage().next().unwrap().1;
    assert_eq!((coverage.seconds, coverage.nodes_reporting, coverage.nodes_expected), (55, 1, 1));
    assert_eq!(cells(&[minute], "g")[0].1.sum, 420.0);
}

#[test]
fn a_correction_of_one_series_leaves_the_others() {
    let other = Series::of(&catalogue::UPTIME, &[]);
    let fixed = |value: i64| Value::Gauge(value.into(), value, value, None);
    let rows: Vec<Row> = (0..5).map(|t| (T0 + t, 1, vec![(gauge("g"), fixed(1)), (other.clone(), fixed(2))])).collect();
    let base = blocks(&node(), 1, &rows);
    let rows: Vec<Row> = (3..8).map(|t| (T0 + t, 9, vec![(gauge("g"), Value::Float(0.5))])).collect();
    let corrected = Block::overlay(&[base[0].clone(), blocks(&node(), 1, &rows)[0].clone()]).unwrap();
    let values = |name: &str| {
        cells(std::slice::from_ref(&corrected), name).into_iter().map(|(t, cell)| (t, cell.sum)).collect::<Vec<_>>()
    };
    assert_eq!(values(other.name()), [(0, 2.0), (1, 2.0), (2, 2.0), (3, 2.0), (4, 2.0)]);
    let own: Vec<f64> = values("g").into_iter().map(|(_, value)| value).collect();
    let unit = 1.0;
    assert_eq!(own, [unit, unit, unit, 0.5, 0.5, 0.5, 0.5, 0.5]);
    assert_eq!((corrected.revision(), corrected.coverage().len()), (9, 8));
}
