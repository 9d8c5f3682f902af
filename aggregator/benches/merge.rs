//! Cost of merging one second of 1,000 nodes: `cargo bench -p starling-aggregator --bench merge`.
//!
//! A frame has 100 counters, 100 gauges and 5 histograms of 1,000 log-normal samples each; every node is in two
//! groups besides the cluster. Prints medians; name the processor beside a figure that is published.

use std::{hint::black_box, sync::Arc, time::Instant};

use starling_ledger::rollup::{Accumulator, Names, Sums, decode, encode};
use starling_ledger::{Ledger, LedgerConfig};
use starling_proto::group::Group;
use starling_proto::{
    catalogue::{Kind, Scope},
    histogram::HistogramSum,
    ids::{NodeId, StreamId, WriterId},
    series::{Sample, Series, Value},
};

const NODES: usize = 1_000;
const COUNTERS: usize = 100;
const GAUGES: usize = 100;
const HISTOGRAMS: usize = 5;
const RECORDINGS: usize = 1_000;
const RUNS: usize = 15;
const TICK: u32 = 1_000_000;
const NOW_MS: u64 = 1_000_000_000;

/// xorshift64*: the same frames in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// About normal with mean 0 and deviation 1: twelve uniform numbers.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| (self.next() >> 11) as f64 / (1u64 << 53) as f64).sum::<f64>() - 6.0
    }
}

fn series(kind: Kind, number: usize) -> Series {
    let name = format!("bench.{}.{number}", kind.as_str());
    Series::application(&name, &[], kind, "1", 0, Scope::Cluster).expect("a short plain name")
}

fn frames() -> Vec<Vec<Sample>> {
    let mut random = Random(42);
    let counters: Vec<Series> = (0..COUNTERS).map(|n| series(Kind::Counter, n)).collect();
    let gauges: Vec<Series> = (0..GAUGES).map(|n| series(Kind::Gauge, n)).collect();
    let histograms: Vec<Series> = (0..HISTOGRAMS).map(|n| series(Kind::Histogram, n)).collect();
    let mut frame = || {
        let mut samples = Vec::with_capacity(COUNTERS + GAUGES + HISTOGRAMS);
        let mut push = |series: &Series, value| samples.push(Sample { series: series.clone(), value });
        counters.iter().for_each(|series| push(series, Value::Counter(random.next() >> 44)));
        gauges.iter().for_each(|series| push(series, Value::Gauge((random.next() >> 34).cast_signed())));
        for series in &histograms {
            let mut sum = HistogramSum::new();
            // A median of 8 ms.
            (0..RECORDINGS).for_each(|_| sum.record((8e6 * (0.5 * random.normal()).exp()) as u64, 1));
            push(series, Value::Histogram(Arc::new(sum.to_histogram())));
        }
        samples
    };
    (0..NODES).map(|_| frame()).collect()
}

/// Runs `work` on fresh input and prints the median.
fn measure<I, O>(what: &str, mut input: impl FnMut() -> I, mut work: impl FnMut(I) -> O) -> O {
    let mut times = Vec::with_capacity(RUNS);
    let mut last = None;
    for _ in 0..RUNS {
        let input = input();
        let started = Instant::now();
        let output = black_box(work(black_box(input)));
        times.push(started.elapsed());
        last = Some(output);
    }
    times.sort_unstable();
    println!("{what:<58} {:>10.3} ms", times[RUNS / 2].as_secs_f64() * 1e3);
    last.expect("at least one run")
}

fn groups(node: usize) -> Vec<Group> {
    let group = |label: &str, n: usize| Group::of(label, &n.to_string()).expect("a short plain name");
    vec![group("zone", node % 3), group("role", node % 5)]
}

fn node(number: usize) -> (NodeId, StreamId) {
    (NodeId::sanitised(&format!("node-{number}")), StreamId::new((number as u128).to_be_bytes()))
}

fn ledger(number: u8) -> Ledger {
    Ledger::new(WriterId::new([number; 16]), LedgerConfig::default())
}

/// A ledger to which every frame was offered, pinned to itself or to nobody.
fn offered(number: u8, frames: &[Vec<Sample>], groups: &[Vec<Group>], pinned: bool) -> Ledger {
    let mut ledger = ledger(number);
    for (number, (frame, groups)) in frames.iter().zip(groups).enumerate() {
        let (name, id) = node(number);
        let stream = ledger.open_stream(NOW_MS, &name, id).expect("room for 1,000 streams");
        let pin = pinned.then(|| ledger.writer());
        ledger.offer(NOW_MS, stream, TICK, pin, groups, frame);
    }
    ledger
}

fn main() {
    let frames = frames();
    let with: Vec<Vec<Group>> = (0..NODES).map(groups).collect();
    println!("{NODES} frames of {COUNTERS} counters, {GAUGES} gauges, {HISTOGRAMS} histograms of {RECORDINGS} samples");

    let accumulate = |names: &mut Names, grouped: bool| {
        let mut sums = Accumulator::new();
        for (frame, groups) in frames.iter().zip(&with) {
            sums.add(names, if grouped { groups } else { &[] }, frame);
        }
        sums
    };
    let mut names = Names::new(10_000, 100);
    measure("add 1,000 frames, cluster only", || (), |()| accumulate(&mut names, false));
    let dense = measure("add 1,000 frames, cluster and 2 groups", || (), |()| accumulate(&mut names, true));
    let sums = measure("make the sums sparse", || (), |()| dense.to_sums(&names));
    let bytes = measure("encode them", || (), |()| encode(&sums, &names)).expect("every name has a number");
    measure("decode them", || (), |()| decode(&bytes, &names)).expect("what was just encoded");
    measure("add them to sums of the same size", || sums.clone(), |mut both| both.add(&sums)).expect("no overflow");
    println!("{:<58} {:>10} ({} cells)", "bytes of the merge", bytes.len(), sums.len());

    let one = Sums::of_frame(&with[0], &frames[0]);
    let raw = encode(&one, &names).expect("every name has a number");
    println!("{:<58} {:>10}", "bytes of one raw frame", raw.len());

    let offer = || offered(1, &frames, &with, true);
    measure("ledger: offer 1,000 frames", || (), |()| offer());
    let mut merged = measure("ledger: flush, append and apply", offer, |mut ledger| {
        ledger.flush(NOW_MS);
        ledger
    });
    let peer = WriterId::new([2; 16]);
    merged.peer_opened(peer);
    let runs = merged.entries_for(NOW_MS, peer, usize::MAX);
    measure(
        "ledger of a peer: take the merge in",
        || ledger(2),
        |mut ledger| {
            runs.iter().for_each(|run| drop(ledger.apply_entries(NOW_MS, run)));
            ledger
        },
    );
    measure("ledger: check the conservation of the tick", || (), |()| merged.check(TICK));

    let mut shipped = measure(
        "ledger: ship 1,000 frames raw",
        || offered(1, &frames, &with, false),
        |mut ledger| {
            ledger.flush(NOW_MS);
            ledger
        },
    );
    shipped.peer_opened(peer);
    let raws = shipped.entries_for(NOW_MS, peer, usize::MAX);
    let mut both = measure(
        "ledger of a peer: take 1,000 raw frames in",
        || ledger(2),
        |mut ledger| {
            raws.iter().for_each(|run| drop(ledger.apply_entries(NOW_MS, run)));
            ledger
        },
    );
    let mut late = offered(3, &frames, &with, true);
    late.flush(NOW_MS);
    late.peer_opened(peer);
    let runs = late.entries_for(NOW_MS, peer, usize::MAX);
    let started = Instant::now();
    runs.iter().for_each(|run| drop(both.apply_entries(NOW_MS, run)));
    let what = "... and then the merge that takes all of them back";
    println!("{what:<58} {:>10.3} ms", started.elapsed().as_secs_f64() * 1e3);
    assert_eq!(both.stats().raws_taken_back, NODES as u64);
}
