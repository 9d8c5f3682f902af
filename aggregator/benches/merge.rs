//! Cost of merging one second of 1,000 nodes: `cargo bench -p starling-aggregator --bench merge`.
//!
//! A frame has 100 counters, 100 gauges and 5 histograms of 1,000 log-normal samples each; every node is in two
//! groups besides the cluster. Prints medians; name the processor beside a figure that is published.

use std::{hint::black_box, sync::Arc, time::Instant};

use starling_ledger::rollup::{Cores, NumberedCell, NumberedSums, Packed, Sums, decode};
use starling_ledger::{Action, DecodedRun, Event, Ledger, LedgerConfig, Offered, Outgoing};
use starling_proto::{
    catalogue::{Kind, Scope},
    frame::Columns,
    group::Group,
    histogram::HistogramSum,
    ids::{NodeId, StreamId, WriterId},
    interner::Interner,
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
    Ledger::new(WriterId::new([number; 16]), LedgerConfig::default(), Arc::default())
}

/// What is offered: columns of every frame.
struct Offers {
    columns: Vec<Columns>,
    groups: Vec<Arc<[Group]>>,
}

/// Does what the ledger asks for; the store keeps everything at once. Returns the runs for a peer.
fn act(ledger: &mut Ledger) -> Vec<DecodedRun> {
    let mut runs = Vec::new();
    while let Some(action) = ledger.next_action() {
        match action {
            Action::Persist { writer, sequence, .. } => {
                ledger.handle(NOW_MS, Event::Synced { writer, up_to: sequence });
            }
            Action::Send { message: Outgoing::Entries(entries), .. } => {
                runs.extend(entries.iter().map(|run| DecodedRun::decode(run).expect("what was just encoded")));
            }
            _ => {}
        }
    }
    runs
}

/// A ledger to which every frame was offered, pinned to itself or not at all.
fn offered(number: u8, offers: &Offers, pinned: bool) -> Ledger {
    let mut ledger = ledger(number);
    let pin = pinned.then(|| ledger.writer());
    for (number, (columns, groups)) in offers.columns.iter().zip(&offers.groups).enumerate() {
        let (node, stream) = node(number);
        ledger.handle(NOW_MS, Event::Open { key: number as u64, node, stream });
        let opened = std::iter::from_fn(|| ledger.next_action()).find_map(|action| match action {
            Action::Opened { result, .. } => result.ok(),
            _ => None,
        });
        let stream = opened.expect("room for 1,000 streams");
        let (columns, groups) = (columns.clone(), Arc::clone(groups));
        ledger.handle(
            NOW_MS,
            Event::Offer(Offered { stream, tick: TICK, pin, groups, columns, cores: Cores::default() }),
        );
    }
    ledger
}

/// Everything of a ledger, for a peer.
fn runs(ledger: &mut Ledger) -> Vec<DecodedRun> {
    let peer = WriterId::new([99; 16]);
    act(ledger);
    ledger.handle(NOW_MS, Event::PeerOpened(peer));
    ledger.handle(NOW_MS, Event::Room { peer, bytes: usize::MAX });
    ledger.handle(NOW_MS, Event::Tick);
    act(ledger)
}

fn take(ledger: &mut Ledger, from: u8, runs: &[DecodedRun]) {
    for run in runs {
        ledger.handle(NOW_MS, Event::Entries { from: WriterId::new([from; 16]), run: run.clone() });
        act(ledger);
    }
}

fn numbered(sums: &Sums) -> NumberedSums {
    let cells = sums.iter().enumerate().map(|(number, (_, _, cell))| NumberedCell {
        group: 0,
        series: number as u32,
        cell: cell.clone(),
    });
    NumberedSums::of(cells.collect())
}

fn main() {
    let frames = frames();
    let interner = Interner::default();
    let columns = frames.iter().map(|frame| Columns::of_samples(&interner, frame.iter()).0).collect();
    let offers = Offers { columns, groups: (0..NODES).map(|node| groups(node).into()).collect() };
    println!("{NODES} frames of {COUNTERS} counters, {GAUGES} gauges, {HISTOGRAMS} histograms of {RECORDINGS} samples");

    let offer = || offered(1, &offers, true);
    measure("open 1,000 streams, offer 1,000 frames, 2 groups", || (), |()| offer());
    let mut merged = measure("flush, append and apply", offer, |mut ledger| {
        ledger.handle(NOW_MS, Event::Flush);
        act(&mut ledger);
        ledger
    });
    let sums = merged.view(TICK).expect("it was just flushed").sums();
    let bytes = measure("encode the sums", || numbered(&sums), |numbered| numbered.encode());
    measure("decode them", || (), |()| decode(&bytes)).expect("what was just encoded");
    measure("add them to sums of the same size", || Sums::clone(&sums), |mut both| both.add(&sums))
        .expect("no overflow");
    measure("pack them", || (), |()| Packed::of(&sums, None));
    println!("{:<58} {:>10} ({} cells)", "bytes of the merge", bytes.len(), sums.len());
    let merge = runs(&mut merged);
    measure("peer: take the merge in", || ledger(2), |mut ledger| take(&mut ledger, 1, &merge));
    let recount = merged.recount(TICK).expect("it is held");
    measure("check the conservation of the tick", || (), |()| recount.run());

    let unpinned = || offered(1, &offers, false);
    let mut shipped = measure("ship 1,000 frames raw", unpinned, |mut ledger| {
        ledger.handle(NOW_MS, Event::Flush);
        act(&mut ledger);
        ledger
    });
    let raws = runs(&mut shipped);
    let mut both = measure(
        "peer: take 1,000 raw frames in",
        || ledger(2),
        |mut ledger| {
            take(&mut ledger, 1, &raws);
            ledger
        },
    );
    let mut late = offered(3, &offers, true);
    late.handle(NOW_MS, Event::Flush);
    let runs = runs(&mut late);
    let started = Instant::now();
    take(&mut both, 3, &runs);
    let what = "... and then the merge that takes all of them back";
    println!("{what:<58} {:>10.3} ms", started.elapsed().as_secs_f64() * 1e3);
    assert_eq!(both.stats().raws_taken_back, NODES as u64);
}
