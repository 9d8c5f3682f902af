//! kill -9 at random moments: the store opens at once, and nothing that was acknowledged is missing.
//!
//! 50 rounds; `STARLING_STORE_KILLS=1000` makes it a thousand.

#![allow(clippy::unwrap_used, reason = "a step that fails fails its test")]

use std::{
    collections::BTreeMap,
    env,
    hash::{BuildHasher as _, RandomState},
    io::{BufRead as _, BufReader, Write as _, stdout},
    ops::ControlFlow,
    path::Path,
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use starling_store::{BlockKey, LogFault, Options, Recovered, Replayed, Store, Subjects};

const FOLDER: &str = "STARLING_STORE_KILLED_FOLDER";
const FIRST: &str = "STARLING_STORE_KILLED_FIRST";

fn open(dir: &Path) -> (Store, Recovered) {
    Store::open(dir, &Options { log_file_bytes: 20_000, ..Options::new(["1s"]) }).unwrap()
}

fn payload(id: u32) -> Vec<u8> {
    id.to_le_bytes().repeat(1 + id as usize % 50)
}

fn body(start: u32) -> Bytes {
    payload(start.wrapping_mul(2_654_435_761)).into()
}

/// Lines that the parent reads: what was acknowledged, and what will be given up, in time.
fn say(what: char, number: u32) {
    let mut out = stdout().lock();
    writeln!(out, "{what} {number}").unwrap();
    out.flush().unwrap();
}

#[test]
#[ignore = "the process that the test below kills"]
fn child() {
    let Ok(folder) = env::var(FOLDER) else { return };
    let mut id: u32 = env::var(FIRST).unwrap().parse().unwrap();
    let (store, recovered) = open(folder.as_ref());
    drop(recovered);
    loop {
        for _ in 0..20 {
            let batch: Vec<Vec<u8>> = (id..id + 1 + id % 4).map(payload).collect();
            let records: Vec<(u8, &[u8])> = batch.iter().map(|payload| (1, &**payload)).collect();
            store.append(&records).unwrap();
            id += batch.len() as u32;
            say('a', id - 1);
            if id.is_multiple_of(7) {
                store.sync().unwrap();
            }
        }
        let end = store.append(&[]).unwrap();
        let start = store.segments(0).iter().map(|segment| segment.window.end).max().unwrap_or(0);
        let key = |start| BlockKey { subject: "node/a".into(), start, seconds: 10 };
        store.write_segment(0, start..start + 10, [(key(start), 1, body(start))]).unwrap();
        say('w', start);
        let segments = store.segments(0);
        if segments.len() > 8 {
            let old: Vec<_> = segments.iter().map(|segment| segment.id).collect();
            let found = store.find(0, Subjects::All, 0..u32::MAX);
            let blocks = found.blocks.iter().map(|block| (block.key(), 1, store.read(block).unwrap()));
            store.replace(&old, 0, 0..start + 10, blocks).unwrap();
        }
        say('c', id);
        store.checkpoint(end).unwrap();
    }
}

/// What the child said before it ended; it is killed after `lines` lines and a little more.
fn run_and_kill(dir: &Path, first: u32, lines: usize, more: Duration) -> Vec<(char, u32)> {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "child", "--ignored", "--nocapture"])
        .env(FOLDER, dir)
        .env(FIRST, first.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (sender, said) = mpsc::sync_channel(100_000);
    let output = BufReader::new(child.stdout.take().unwrap());
    let reader = thread::spawn(move || {
        for line in output.lines().map_while(Result::ok) {
            let parsed =
                line.split_once(' ').and_then(|(what, number)| Some((what.parse().ok()?, number.parse().ok()?)));
            if parsed.is_some_and(|parsed| sender.send(parsed).is_err()) {
                break;
            }
        }
    });
    let mut all: Vec<(char, u32)> = Vec::new();
    while all.len() < lines {
        all.push(said.recv_timeout(Duration::from_secs(30)).expect("the child goes on"));
    }
    let until = Instant::now() + more;
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        all.extend(said.recv_timeout(left));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap();
    all.extend(said.try_iter());
    all
}

#[test]
fn nothing_that_was_acknowledged_is_missing_after_kill_9() {
    let rounds: usize = env::var("STARLING_STORE_KILLS").map_or(50, |rounds| rounds.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let random = RandomState::new();
    // The first record that must be there; the one after the last that must; the blocks that must.
    let (mut kept_from, mut next) = (0, 0);
    let mut blocks: BTreeMap<u32, Bytes> = BTreeMap::new();
    let (mut slowest, mut records, mut tails) = (Duration::ZERO, 0, 0);
    for round in 0..rounds {
        let dice = random.hash_one(round);
        // Also while it opens: then it has said nothing yet.
        let lines = if dice.is_multiple_of(11) { 0 } else { dice as usize % 60 };
        let more = Duration::from_micros((dice >> 32) % 8_000);
        let mut first_missing = next;
        for (what, number) in run_and_kill(dir.path(), next, lines, more) {
            match what {
                'a' => first_missing = number + 1,
                'w' => drop(blocks.insert(number, body(number))),
                'c' => kept_from = number,
                _ => {}
            }
        }
        let begun = Instant::now();
        let (store, recovered) = open(dir.path());
        slowest = slowest.max(begun.elapsed());
        let mut there = Vec::new();
        for item in recovered.log {
            match item {
                Replayed::Record(record) => {
                    let id = u32::from_le_bytes(record.payload[..4].try_into().unwrap());
                    assert_eq!(record.payload, payload(id), "round {round}");
                    there.push(id);
                }
                Replayed::Damage(damage) if matches!(damage.what, LogFault::Tail) => tails += 1,
                Replayed::Damage(damage) => panic!("round {round}: {damage}"),
            }
        }
        // In order, each once, up to at least what was acknowledged; a few more may have been written than were told.
        assert!(there.is_sorted_by(|a, b| a + 1 == *b), "round {round}: {there:?}");
        let (from, to) = (there.first().copied().unwrap_or(next), there.last().map_or(next, |last| last + 1));
        assert!(from <= kept_from.max(next) && to >= first_missing, "round {round}: {from}..{to}, {first_missing}");
        records += there.len();
        next = to.max(first_missing);
        let found = store.find(0, Subjects::All, 0..u32::MAX);
        let read: BTreeMap<u32, Bytes> =
            found.blocks.iter().map(|block| (block.window().start, store.read(block).unwrap())).collect();
        assert_eq!(read.len(), found.blocks.len(), "round {round}: no block twice");
        for (start, body) in &blocks {
            assert_eq!(read.get(start), Some(body), "round {round}: block {start}");
        }
        for (start, bytes) in read {
            assert_eq!(bytes, body(start), "round {round}");
            blocks.insert(start, bytes);
        }
        let report = store.check(None, |_| ControlFlow::Continue(()));
        assert!(report.faults.is_empty() && report.bad.is_empty(), "round {round}: {report:?}");
    }
    assert!(slowest < Duration::from_secs(2), "opened in {slowest:?}");
    assert!(records > 0 && !blocks.is_empty());
    println!(
        "{rounds} kills: {records} records replayed, {} blocks, {tails} torn tails, slowest open {slowest:?}",
        blocks.len()
    );
}
