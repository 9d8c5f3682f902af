//! The files of the history on this machine's disk: `cargo bench -p starling-store --bench store`.
//!
//! Prints open time at 10,000 segments, appends and syncs a second, segments written and read, and bytes beside what was
//! given.

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use starling_store::{BlockKey, Options, Store, Subjects};

fn open(dir: &Path) -> Store {
    let (store, recovered) = Store::open(dir, &Options::new(["1s"])).expect("opens");
    drop(recovered);
    store
}

fn key(subject: &str, start: u32) -> BlockKey {
    BlockKey { subject: subject.into(), start, seconds: 300 }
}

/// Bytes that no compression would shrink, as blocks are.
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..length.div_ceil(8)).flat_map(|_| next()).take(length).collect()
}

fn folder_bytes(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).expect("a folder");
    entries.map(|entry| entry.and_then(|entry| entry.metadata()).expect("a file").len()).sum()
}

fn log(dir: &Path) {
    let store = open(dir);
    let second = noise(700, 1);
    let records: Vec<(u8, &[u8])> = (0..1000).map(|_| (1, &*second)).collect();
    let begun = Instant::now();
    let rounds = 300;
    let mut slowest = Duration::ZERO;
    for _ in 0..rounds {
        let begun = Instant::now();
        store.append(&records).expect("appends");
        store.sync().expect("syncs");
        slowest = slowest.max(begun.elapsed());
    }
    let each = begun.elapsed() / rounds;
    println!("append and sync of 1,000 records of 700 bytes: {each:?}, slowest {slowest:?}");
    let bytes = folder_bytes(&dir.join("log"));
    let beside = bytes as f64 / f64::from(rounds) / 1000.0 - 700.0;
    println!("  beside each payload: {beside:.2} bytes");
    let before = store.stats(0).log.syncs;
    let begun = Instant::now();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..200 {
                    store.append(&[(1, &second)]).expect("appends");
                    store.sync().expect("syncs");
                }
            });
        }
    });
    let syncs = store.stats(0).log.syncs - before;
    println!("8 callers, each 200 appends with a sync: {:?}, {syncs} syncs for 1,600", begun.elapsed());
    drop(store);
    let begun = Instant::now();
    let (_, recovered) = Store::open(dir, &Options::new(["1s"])).expect("opens");
    let opened = begun.elapsed();
    let count = recovered.log.count();
    let rate = bytes as f64 / 1e6 / (begun.elapsed() - opened).as_secs_f64();
    println!("open {opened:?}, then {count} records replayed at {rate:.0} MB/s");
}

fn segments(dir: &Path) {
    let store = open(dir);
    let nodes: Vec<String> = (0..1000).map(|node| format!("node/web-{node}")).collect();
    let body = Bytes::from(noise(24_000, 2));
    let begun = Instant::now();
    let count = 24;
    for at in 0..count {
        let start = at * 300;
        let blocks = nodes.iter().map(|node| (key(node, start), 1, body.clone()));
        store.write_segment(0, start..start + 300, blocks).expect("writes");
    }
    let given = u64::from(count) * 1000 * body.len() as u64;
    let rate = given as f64 / 1e6 / begun.elapsed().as_secs_f64();
    println!("segments of 1,000 blocks of 24 kB: {rate:.0} MB/s, synced");
    let stats = store.stats(u32::MAX);
    let beside = (stats.tiers[0].bytes - given) as f64 / f64::from(count * 1000);
    println!("  beside each body: {beside:.1} bytes, {:.2} %", beside * 100.0 / body.len() as f64);
    drop(store);
    let store = open(dir);
    for what in ["cold index", "warm index"] {
        let begun = Instant::now();
        let found = store.find(0, Subjects::One("node/web-500"), 0..3600);
        let sizes: usize = found.blocks.iter().map(|block| store.read(block).expect("reads").len()).sum();
        println!("one node over an hour, {what}: {:?} for {sizes} bytes", begun.elapsed());
    }
    let begun = Instant::now();
    let report = store.check(None, |_| std::ops::ControlFlow::Continue(()));
    assert!(report.is_clean());
    println!("check: {:.0} MB/s", report.bytes as f64 / 1e6 / begun.elapsed().as_secs_f64());
}

fn opening(dir: &Path) {
    let store = open(dir);
    let begun = Instant::now();
    for at in 0..10_000 {
        let start = at * 300;
        store
            .write_segment(0, start..start + 300, [(key("cluster", start), 1, Bytes::from_static(b"x"))])
            .expect("writes");
    }
    println!("10,000 small segments, each synced: {:?} each", begun.elapsed() / 10_000);
    drop(store);
    let begun = Instant::now();
    let store = open(dir);
    println!("open with 10,000 segments: {:?}", begun.elapsed());
    let found = store.find(0, Subjects::One("cluster"), 0..3_000_000);
    println!("  and an answer from all of them: {:?}, {} blocks", begun.elapsed(), found.blocks.len());
}

fn main() {
    for part in [log, segments, opening] {
        // On the disk of the build, not in memory as a temporary folder may be.
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"));
        part(dir.expect("a folder").path());
    }
}
