//! The ledger by hand: each rule, each limit, each refusal.

mod counting;
mod exchange;
mod limits;

use starling_proto::{
    catalogue,
    ids::{NodeId, StreamId, WriterId},
    series::{Sample, Series, Value},
};

use super::{Ledger, LedgerConfig, Offer, StreamNo};
use crate::rollup::Sum;
use starling_proto::group::Group;

/// A tick to start from, and the millisecond it ends.
const T: u32 = 1_000_000;
const T_MS: u64 = 1_000_000_000;
const BUDGET: usize = 1 << 20;

fn writer(number: u8) -> WriterId {
    WriterId::new([number; 16])
}

fn ledger(number: u8) -> Ledger {
    let config = LedgerConfig { aggregator_id: format!("aggregator-{number}"), ..LedgerConfig::default() };
    Ledger::new(writer(number), config)
}

fn stream(ledger: &mut Ledger, now_ms: u64, number: u8) -> StreamNo {
    let node = NodeId::sanitised(&format!("node-{number}"));
    ledger.open_stream(now_ms, &node, StreamId::new([number; 16])).unwrap()
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
    ledger.offer(now_ms, stream, tick, pin, &[], &samples(requests_made))
}

/// The requests of a tick over the cluster, and the frames that had them.
fn total(ledger: &Ledger, tick: u32) -> Option<(u128, u32)> {
    let view = ledger.view(tick)?;
    match view.sums.get(&Group::cluster(), &requests())? {
        cell if matches!(cell.sum, Sum::Counter(_)) => match cell.sum {
            Sum::Counter(sum) => Some((sum, cell.frames)),
            _ => None,
        },
        _ => None,
    }
}

/// Two peers tell each other everything, both ways, until both know that both know.
fn exchange(now_ms: u64, a: &mut Ledger, b: &mut Ledger) {
    for _ in 0..3 {
        let (from_a, from_b) = (a.digest(now_ms), b.digest(now_ms));
        a.peer_digest(now_ms, &from_b).unwrap();
        b.peer_digest(now_ms, &from_a).unwrap();
        for run in a.entries_for(now_ms, b.writer(), BUDGET) {
            b.apply_entries(now_ms, &run).unwrap();
        }
        for run in b.entries_for(now_ms, a.writer(), BUDGET) {
            a.apply_entries(now_ms, &run).unwrap();
        }
    }
}
