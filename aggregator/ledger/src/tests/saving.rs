//! What a store keeps, and the process after reads.

use std::collections::BTreeMap;

use starling_proto::ids::WriterId;

use super::*;
use crate::{LogStatus, Restored, Saved};

/// A store: what it has kept, in order.
#[derive(Default)]
struct Store {
    saved: Saved,
    runs: Vec<v1::Entries>,
}

impl Store {
    /// Keeps what is lacking, in small pieces.
    fn fetch(&mut self, ledger: &mut Ledger) {
        while ledger.next_action().is_some() {}
        loop {
            let lacking = ledger.unsaved(&self.saved, 40);
            if lacking.is_empty() {
                return;
            }
            for run in lacking {
                self.saved.keep(&run);
                ledger.synced(run.writer(), run.up_to());
                self.runs.push(run.run);
            }
        }
    }

    /// Forgets `parts` of the oldest, once it has kept where the logs begin.
    fn checkpoint(&mut self, ledger: &Ledger, forget: usize) {
        let heads = ledger.heads();
        self.saved.retain(&heads);
        self.runs.drain(..forget);
        self.runs.extend(heads.into_iter().map(|head| head.run));
    }

    /// The ledger of the next process.
    fn restored(&self, now_ms: u64) -> Ledger {
        let mut restored = Restored::default();
        self.runs.iter().for_each(|run| restored.take(run.clone()));
        assert_eq!(restored.left_out(), 0);
        let mut next = ledger(9);
        for run in restored.runs() {
            let decoded = DecodedRun::decode(&run).unwrap();
            assert_eq!(next.apply_entries(now_ms, writer(9), &decoded).unwrap().entries, run.payloads.len());
        }
        next
    }
}

/// Of every log but the own: how long it is and its hash.
fn books(ledger: &Ledger) -> BTreeMap<WriterId, (u64, [u8; 16])> {
    let of = |log: LogStatus| (log.writer, (log.length, log.hash));
    ledger.logs().into_iter().filter(|log| log.writer != writer(9)).map(of).collect()
}

/// A ledger that merges a frame in each of `ticks` beside the log of another, whole.
fn two_logs(ticks: std::ops::Range<u32>, store: &mut Store) -> Ledger {
    let (mut a, mut b) = (ledger(1), ledger(2));
    for tick in ticks {
        let now_ms = u64::from(tick) * 1000 + 10;
        for (ledger, number) in [(&mut a, 1), (&mut b, 2)] {
            let node = stream(ledger, now_ms, number);
            offer_own(ledger, now_ms, node, tick, u64::from(tick));
            poll_unsaved(ledger, now_ms + 300);
        }
        exchange(now_ms + 400, &mut a, &mut b);
        store.fetch(&mut b);
    }
    b
}

fn poll_unsaved(ledger: &mut Ledger, now_ms: u64) {
    ledger.poll(now_ms);
    while ledger.gather.next_due().is_some_and(|due| due <= now_ms) {
        ledger.poll(now_ms);
    }
}

#[test]
fn the_next_process_holds_what_was_kept() {
    let mut store = Store::default();
    let ledger = two_logs(T..T + 6, &mut store);
    let next = store.restored(T_MS + 7_000);
    assert_eq!(books(&next), books(&ledger));
    for tick in T..T + 6 {
        assert_eq!((total(&next, tick), next.view_hash(tick)), (total(&ledger, tick), ledger.view_hash(tick)));
        assert_eq!(total(&next, tick), Some((u128::from(tick) * 2, 2)));
    }
}

#[test]
fn what_stands_before_the_heads_may_be_forgotten() {
    let mut store = Store::default();
    let mut ledger = two_logs(T..T + 3, &mut store);
    let runs = store.runs.len();
    let now_ms = T_MS + 1000 * u64::from(KEPT) + 1000;
    let node = stream(&mut ledger, now_ms, 2);
    offer_own(&mut ledger, now_ms, node, T + KEPT, 5);
    ledger.flush(now_ms);
    ledger.prune(now_ms);
    store.fetch(&mut ledger);
    // T and T + 1 are pruned: their runs are the first third and more.
    store.checkpoint(&ledger, runs / 3);
    let next = store.restored(now_ms);
    assert_eq!(books(&next), books(&ledger));
    assert_eq!((total(&next, T), total(&next, T + 2)), (None, Some((u128::from(T + 2) * 2, 2))));
    assert_eq!((total(&next, T + KEPT), next.view_hash(T + KEPT)), (Some((5, 1)), ledger.view_hash(T + KEPT)));
    // And it goes on from there, as after the start.
    let mut again = Store { saved: Saved::default(), runs: Vec::new() };
    let mut next = next;
    again.fetch(&mut next);
    assert_eq!(books(&again.restored(now_ms)), books(&next));
}

#[test]
fn a_store_that_could_not_keep_anything_for_long_begins_where_the_log_does() {
    let mut store = Store::default();
    let mut ledger = two_logs(T..T + 2, &mut store);
    // Full for so long that what it lacks was pruned.
    for tick in [T + 2, T + 3, T + 3 + KEPT] {
        let now_ms = u64::from(tick) * 1000 + 10;
        let node = stream(&mut ledger, now_ms, 2);
        offer_own(&mut ledger, now_ms, node, tick, 7);
        ledger.flush(now_ms);
    }
    let now_ms = T_MS + 1000 * u64::from(KEPT + 3) + 500;
    ledger.prune(now_ms);
    store.fetch(&mut ledger);
    let next = store.restored(now_ms);
    assert_eq!(books(&next)[&writer(2)], books(&ledger)[&writer(2)]);
    assert_eq!(total(&next, T + 3 + KEPT), Some((7, 1)));
}

#[test]
fn runs_of_nobody_and_parts_without_a_beginning_are_left_out() {
    let mut store = Store::default();
    let ledger = two_logs(T..T + 3, &mut store);
    let mut restored = Restored::default();
    restored.take(v1::Entries { writer_id: vec![1, 2].into(), ..v1::Entries::default() });
    assert_eq!(restored.left_out(), 1);
    // The first run of each log is gone: what follows cannot be read, and is not guessed.
    let mut seen = std::collections::BTreeSet::new();
    for run in store.runs.iter().filter(|run| !seen.insert(run.writer_id.clone())) {
        restored.take(run.clone());
    }
    assert_eq!((restored.runs().count(), books(&ledger).len()), (0, 2));
}
