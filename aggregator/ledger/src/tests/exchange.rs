//! Logs from hand to hand, and what is not taken.

use bytes::Bytes;
use proptest::prelude::*;
use prost::Message as _;
use starling_proto::v1;

use super::*;
use crate::{Check, DigestError, EntriesError};

/// A ledger with one merged frame in each of `ticks`.
fn filled(number: u8, ticks: std::ops::Range<u32>) -> Ledger {
    let mut ledger = ledger(number);
    for tick in ticks {
        let now_ms = u64::from(tick) * 1000 + 10;
        let node = stream(&mut ledger, now_ms, number);
        offer_own(&mut ledger, now_ms, node, tick, u64::from(tick));
        ledger.poll(now_ms + 300);
    }
    ledger
}

/// Everything of a ledger's own log.
fn whole(ledger: &mut Ledger, now_ms: u64) -> v1::Entries {
    let reader = writer(99);
    ledger.peer_opened(reader);
    let runs = ledger.entries_for(now_ms, reader, usize::MAX);
    ledger.peer_lost(reader);
    runs.into_iter().find(|run| run.writer_id == ledger.writer().to_bytes()).unwrap()
}

#[test]
fn gaps_wait_repeats_are_skipped() {
    let (mut a, mut b) = (filled(1, T..T + 4), ledger(2));
    let run = whole(&mut a, T_MS + 5000);
    let hash = |sequence| Bytes::copy_from_slice(&a.logs.own().hash_after(sequence).unwrap());
    let part = |from: usize, to: usize| v1::Entries {
        first_sequence: from as u64 + 1,
        previous_hash: hash(from as u64),
        payloads: run.payloads[from..to].to_vec(),
        ..run.clone()
    };
    assert_eq!(b.apply_entries(T_MS + 5000, &part(2, 4)), Err(EntriesError::Gap { from: 1, first: 3 }));
    assert_eq!(b.apply_entries(T_MS + 5000, &part(0, 2)).unwrap().ticks, [T, T + 1]);
    let applied = b.apply_entries(T_MS + 5000, &part(1, 4)).unwrap();
    assert_eq!((applied.entries, applied.known, applied.ticks), (2, 1, vec![T + 2, T + 3]));
    assert_eq!(b.apply_entries(T_MS + 5000, &run).unwrap().known, 4);
    assert_eq!(b.logs()[0].hash, a.logs()[0].hash);
}

#[test]
fn two_entries_at_one_place_freeze_the_writer() {
    // Two processes that call themselves the same writer.
    let (mut a, mut twin, mut b) = (filled(1, T..T + 3), filled(1, T + 1..T + 4), ledger(2));
    let (run, other) = (whole(&mut a, T_MS + 5000), whole(&mut twin, T_MS + 5000));
    b.apply_entries(T_MS + 5000, &run).unwrap();
    assert_eq!(b.apply_entries(T_MS + 5000, &other), Err(EntriesError::Fork { writer: writer(1), sequence: 2 }));
    assert_eq!(b.apply_entries(T_MS + 5000, &run), Err(EntriesError::Frozen(writer(1))));
    assert!(b.logs().iter().any(|log| log.frozen));
    assert_eq!((b.stats().forks, total(&b, T)), (1, Some((u128::from(T), 1))));
    // The writer itself sees it too.
    assert!(matches!(a.apply_entries(T_MS + 5000, &other), Err(EntriesError::Fork { .. })));
    assert_eq!(a.apply_entries(T_MS + 5000, &whole(&mut filled(1, T..T + 3), T_MS + 5000)).unwrap().known, 3);
}

#[test]
fn a_wrong_start_of_the_chain_is_a_fork() {
    let (mut a, mut b) = (filled(1, T..T + 1), ledger(2));
    let run = v1::Entries { previous_hash: Bytes::from_static(&[7; 16]), ..whole(&mut a, T_MS + 5000) };
    assert_eq!(b.apply_entries(T_MS + 5000, &run), Err(EntriesError::Fork { writer: writer(1), sequence: 1 }));
}

#[test]
fn a_dead_writers_log_is_relayed_at_once_a_live_ones_later() {
    let (mut a, mut b, mut c) = (filled(1, T..T + 1), ledger(2), ledger(3));
    let now_ms = T_MS + 1000;
    b.peer_opened(a.writer());
    exchange(now_ms, &mut a, &mut b);
    exchange(now_ms, &mut b, &mut c);
    assert_eq!(total(&c, T), None, "a is live and will send it itself");
    exchange(now_ms + 1000, &mut b, &mut c);
    assert_eq!(total(&c, T), Some((u128::from(T), 1)));
    let mut d = ledger(4);
    b.peer_closed(a.writer());
    exchange(now_ms, &mut b, &mut d);
    assert_eq!(d.view_hash(T), b.view_hash(T));
}

#[test]
fn what_was_sent_is_not_sent_again_until_it_must_have_been_lost() {
    let (mut a, b) = (filled(1, T..T + 1), writer(2));
    let now_ms = T_MS + 1000;
    assert!(a.entries_for(now_ms, b, BUDGET).is_empty(), "not a peer");
    a.peer_opened(b);
    assert_eq!(a.entries_for(now_ms, b, BUDGET).len(), 1);
    assert!(a.entries_for(now_ms + 2999, b, BUDGET).is_empty());
    assert_eq!(a.entries_for(now_ms + 3000, b, BUDGET).len(), 1);
    // A new connection starts over.
    a.peer_opened(b);
    assert_eq!(a.entries_for(now_ms + 3001, b, BUDGET).len(), 1);
}

#[test]
fn who_joins_late_starts_after_the_pruned_part() {
    let mut a = filled(1, T..T + 3);
    let later = T_MS + 961_000;
    let node = stream(&mut a, later, 1);
    offer_own(&mut a, later, node, T + 961, 7);
    a.poll(later + 300);
    // Before pruning, as a reference.
    let mut early = ledger(2);
    exchange(later + 400, &mut a, &mut early);
    a.prune(later + 400);
    assert_eq!(a.logs()[0].first_kept, 2);
    let mut late = ledger(3);
    exchange(later + 400, &mut a, &mut late);
    assert_eq!(late.stats().jumps, 1);
    assert_eq!(late.logs()[0].hash, early.logs()[0].hash);
    for tick in [T + 1, T + 2, T + 961] {
        assert_eq!(late.view_hash(tick), a.view_hash(tick));
        assert_eq!(late.check(tick), Check::Balanced);
    }
    // And it can hand on what it has.
    let mut last = ledger(4);
    exchange(later + 400, &mut late, &mut last);
    assert_eq!(last.view_hash(T + 961), a.view_hash(T + 961));
}

#[test]
fn digests_are_checked() {
    let mut a = ledger(1);
    let own = a.digest(T_MS);
    assert_eq!(a.peer_digest(T_MS, &own), Err(DigestError::Own));
    let mut digest = ledger(2).digest(T_MS);
    digest.logs = vec![digest.logs[0].clone(); crate::limits::DIGEST_LOGS_MAX + 1];
    assert!(matches!(a.peer_digest(T_MS, &digest), Err(DigestError::Logs(_))));
    digest.logs.clear();
    digest.writer_id = Bytes::from_static(b"short");
    assert!(matches!(a.peer_digest(T_MS, &digest), Err(DigestError::Writer(_))));
    assert!(a.peers().is_empty());
}

#[test]
fn an_entry_its_author_should_not_have_written_freezes_its_log() {
    let (mut a, mut b) = (filled(1, T..T + 2), ledger(2));
    let mut run = whole(&mut a, T_MS + 5000);
    // The same frame merged a second time.
    let again =
        v1::LogPayload { streams: vec![], series: vec![], ..v1::LogPayload::decode(&*run.payloads[0]).unwrap() };
    run.payloads.push(again.encode_to_vec().into());
    let error = b.apply_entries(T_MS + 5000, &run).unwrap_err();
    assert!(matches!(error, EntriesError::Invalid { sequence: 3, .. }), "{error}");
    assert_eq!(total(&b, T), Some((u128::from(T), 1)), "what came before it stays");
    assert_eq!(b.apply_entries(T_MS + 5000, &run), Err(EntriesError::Frozen(writer(1))));
}

proptest! {
    #[test]
    fn damaged_entries_never_panic(entry in 0usize..3, at: prop::sample::Index, bit in 0u8..8, cut: prop::sample::Index) {
        let mut a = filled(1, T..T + 3);
        let mut run = whole(&mut a, T_MS + 5000);
        let mut bytes = run.payloads[entry].to_vec();
        let place = at.index(bytes.len());
        bytes[place] ^= 1 << bit;
        if bit == 0 {
            bytes.truncate(cut.index(bytes.len()));
        }
        run.payloads[entry] = bytes.into();
        let mut b = ledger(2);
        let _ = b.apply_entries(T_MS + 5000, &run);
        for tick in b.ticks().collect::<Vec<_>>() {
            prop_assert_eq!(b.check(tick), Check::Balanced);
            let _ = b.view_hash(tick);
        }
        b.prune(T_MS + 5000);
    }

    #[test]
    fn random_entries_never_panic(payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..4), first in 0u64..4, jump: bool) {
        let mut b = ledger(2);
        let run = v1::Entries {
            writer_id: writer(1).to_bytes(),
            first_sequence: first,
            previous_hash: writer(1).to_bytes(),
            payloads: payloads.into_iter().map(Bytes::from).collect(),
            definitions: jump.then(v1::LogPayload::default),
        };
        let _ = b.apply_entries(T_MS, &run);
        let _ = b.apply_entries(T_MS, &run);
    }
}
