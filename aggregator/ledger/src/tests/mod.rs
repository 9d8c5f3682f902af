//! The ledger by hand: each rule, each limit, each refusal.

mod counting;
mod events;
mod exchange;
mod limits;
mod names;
mod rogue;
mod saving;

use std::sync::Arc;

use starling_proto::{
    catalogue,
    frame::Columns,
    group::Group,
    ids::{NodeId, StreamId, WriterId},
    interner::Interner,
    limits::LATE_WINDOW,
    series::{Sample, Series, Value},
    v1,
};

use super::{
    Ack, Action, Check, DecodedRun, DigestError, EntriesError, Event, Ledger, LedgerConfig, Offer, Offered, Outgoing,
    StreamNo,
};
use crate::{
    limits::PRUNE_SLACK_SECONDS,
    rollup::{Cores, Sum},
};

/// A tick to start from, and the millisecond it ends.
const T: u32 = 1_000_000;
const T_MS: u64 = 1_000_000_000;
const BUDGET: usize = 1 << 20;
/// Ticks that are held at one time.
const KEPT: u32 = LATE_WINDOW + PRUNE_SLACK_SECONDS + 1;
/// Of every connection of a node.
const KEY: u64 = 7;

fn writer(number: u8) -> WriterId {
    WriterId::new([number; 16])
}

fn ledger(number: u8) -> Ledger {
    let config = LedgerConfig { aggregator_id: format!("aggregator-{number}"), ..LedgerConfig::default() };
    Ledger::new(writer(number), config, Arc::new(Interner::default()))
}

fn stream(ledger: &mut Ledger, now_ms: u64, number: u8) -> StreamNo {
    let node = NodeId::sanitised(&format!("node-{number}"));
    ledger.open_stream(now_ms, KEY, &node, StreamId::new([number; 16])).unwrap()
}

fn requests() -> Series {
    Series::of(&catalogue::REQUESTS, &[("protocol", "grpc")])
}

fn samples(requests_made: u64) -> Vec<Sample> {
    vec![
        Sample { series: requests(), value: Value::Counter(requests_made) },
        Sample { series: Series::of(&catalogue::UPTIME, &[]), value: Value::Gauge(7) },
    ]
}

/// Offers a frame pinned to the ledger itself.
fn offer_own(ledger: &mut Ledger, now_ms: u64, stream: StreamNo, tick: u32, requests_made: u64) -> Offer {
    let pin = Some(ledger.writer());
    offer(ledger, now_ms, stream, tick, pin, &[], &samples(requests_made))
}

/// Offers a frame.
fn offer(
    ledger: &mut Ledger,
    now_ms: u64,
    stream: StreamNo,
    tick: u32,
    pin: Option<WriterId>,
    groups: &[Group],
    samples: &[Sample],
) -> Offer {
    let (columns, left_out) = Columns::of_samples(ledger.own.interner(), samples.iter());
    assert_eq!(left_out, 0);
    ledger.offer(now_ms, Offered { stream, tick, pin, groups: groups.into(), columns, cores: Cores::default() })
}

/// A store that keeps everything at once. Returns what else is to be done.
fn sync(ledger: &mut Ledger) -> Vec<Action> {
    let mut others = Vec::new();
    while let Some(action) = ledger.next_action() {
        match action {
            Action::Persist { writer, sequence, .. } => ledger.synced(writer, sequence),
            other => others.push(other),
        }
    }
    others
}

/// The ticks whose view changed.
fn changed(ledger: &mut Ledger) -> Vec<u32> {
    sync(ledger);
    let mut changed = ledger.ticks.take_changed(usize::MAX);
    changed.sort_unstable();
    changed
}

fn poll(ledger: &mut Ledger, now_ms: u64) -> Vec<u32> {
    ledger.poll(now_ms);
    while ledger.gather.next_due().is_some_and(|due| due <= now_ms) {
        ledger.poll(now_ms);
    }
    changed(ledger)
}

fn flush(ledger: &mut Ledger, now_ms: u64) -> Vec<u32> {
    ledger.flush(now_ms);
    changed(ledger)
}

fn acks(ledger: &mut Ledger) -> Vec<Ack> {
    sync(ledger);
    ledger.acks()
}

/// What came of a run that its author sends.
fn apply(ledger: &mut Ledger, now_ms: u64, run: &v1::Entries) -> Result<(usize, usize, Vec<u32>), EntriesError> {
    let run = DecodedRun::decode(run)?;
    let applied = ledger.apply_entries(now_ms, run.writer(), &run);
    let changed = changed(ledger);
    applied.map(|applied| (applied.entries, applied.known, changed))
}

/// The requests of a tick over the cluster, and the frames that had them.
fn total(ledger: &Ledger, tick: u32) -> Option<(u128, u32)> {
    match ledger.view(tick)?.sums().get(&Group::cluster(), &requests())? {
        cell if matches!(cell.sum, Sum::Counter(_)) => match cell.sum {
            Sum::Counter(sum) => Some((sum, cell.frames)),
            _ => None,
        },
        _ => None,
    }
}

/// Two peers publish everything to each other, both ways, until both know that both know.
fn exchange(now_ms: u64, a: &mut Ledger, b: &mut Ledger) {
    for _ in 0..3 {
        sync(a);
        sync(b);
        let (from_a, from_b) = (a.digest(now_ms), b.digest(now_ms));
        a.peer_digest(now_ms, &from_b).unwrap();
        b.peer_digest(now_ms, &from_a).unwrap();
        for run in a.entries_for(now_ms, b.writer(), BUDGET) {
            send(now_ms, a.writer(), &run, b).unwrap();
        }
        for run in b.entries_for(now_ms, a.writer(), BUDGET) {
            send(now_ms, b.writer(), &run, a).unwrap();
        }
        changed(a);
        changed(b);
    }
}

/// A run that `from` sends.
fn send(now_ms: u64, from: WriterId, run: &v1::Entries, to: &mut Ledger) -> Result<(), EntriesError> {
    to.apply_entries(now_ms, from, &DecodedRun::decode(run)?).map(drop)
}
