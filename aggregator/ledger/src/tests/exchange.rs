//! Logs from hand to hand, and what is not taken.

use std::num::NonZeroUsize;

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
        poll(&mut ledger, now_ms + 300);
    }
    ledger
}

/// Everything of a ledger's own log.
fn whole(ledger: &mut Ledger, now_ms: u64) -> v1::Entries {
    let reader = writer(99);
    ledger.peer_opened(reader);
    let runs = ledger.entries_for(now_ms, reader, usize::MAX);
    ledger.peers.lost(reader);
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
    assert_eq!(apply(&mut b, T_MS + 5000, &part(2, 4)), Err(EntriesError::Gap { from: 1, first: 3 }));
    assert_eq!(apply(&mut b, T_MS + 5000, &part(0, 2)).unwrap().2, [T, T + 1]);
    assert_eq!(apply(&mut b, T_MS + 5000, &part(1, 4)), Ok((2, 1, vec![T + 2, T + 3])));
    assert_eq!(apply(&mut b, T_MS + 5000, &run), Ok((0, 4, vec![])));
    assert_eq!(b.logs()[0].hash, a.logs()[0].hash);
}

#[test]
fn a_run_in_pieces_is_the_run() {
    let mut a = filled(1, T..T + 5);
    let mut run = whole(&mut a, T_MS + 5000);
    let pieces = |run: &v1::Entries, most| -> Vec<_> {
        DecodedRun::decode(run).unwrap().pieces(NonZeroUsize::new(most).unwrap(), usize::MAX).collect()
    };
    for most in 1..=6 {
        let mut b = ledger(2);
        let pieces = pieces(&run, most);
        assert_eq!(pieces.len(), 5_usize.div_ceil(most));
        let taken: usize = pieces.iter().map(|piece| b.apply_entries(T_MS, writer(1), piece).unwrap().entries).sum();
        assert_eq!((taken, b.logs()[0].hash), (5, a.logs()[0].hash));
    }
    // Without entries it is one piece: it says how long the log is. What cannot be read is refused at its place.
    run.payloads[3] = Bytes::from_static(b"\xff");
    let refused: Vec<_> = pieces(&run, 2).iter().map(|piece| (piece.first, piece.unreadable.is_some())).collect();
    assert_eq!(refused, [(1, false), (3, true)]);
    // However small the bytes, a piece has an entry.
    let tiny: Vec<_> = DecodedRun::decode(&run).unwrap().pieces(NonZeroUsize::new(4).unwrap(), 1).collect();
    assert_eq!(tiny.iter().map(DecodedRun::len).collect::<Vec<_>>(), [1, 1, 1]);
    run.payloads.clear();
    assert_eq!(pieces(&run, 2).len(), 1);
}

#[test]
fn of_two_entries_at_one_place_the_authors_own_counts() {
    // Two processes that call themselves the same writer; b holds the log of the one that is gone.
    let (mut a, mut twin, mut b) = (filled(1, T..T + 3), filled(1, T + 1..T + 4), ledger(2));
    let (run, other) = (whole(&mut a, T_MS + 5000), whole(&mut twin, T_MS + 5000));
    apply(&mut b, T_MS + 5000, &run).unwrap();
    let fork = Err(EntriesError::Fork { writer: writer(1), sequence: 2 });
    let relayed = DecodedRun::decode(&other).unwrap();
    assert_eq!(b.apply_entries(T_MS + 5000, writer(9), &relayed).map(drop), fork.clone().map(drop));
    // Another holder is not believed; that there is a dispute is known.
    assert_eq!((total(&b, T), b.stats().rebuilds), (Some((u128::from(T), 1)), 0));
    assert!(b.trouble().is_some() && matches!(b.check(T), Check::Unbalanced(_)));
    // The author is: what was held is dropped, here and in the ticks, and his log is taken from its start.
    assert_eq!(apply(&mut b, T_MS + 5000, &other), fork);
    assert_eq!((b.stats().rebuilds, total(&b, T), b.logs()[0].length), (1, None, 0));
    assert_eq!(apply(&mut b, T_MS + 5000, &other), Ok((3, 0, vec![T + 1, T + 2, T + 3])));
    assert_eq!((b.trouble(), b.view_hash(T + 3), b.logs()[0].hash), (None, twin.view_hash(T + 3), twin.logs()[0].hash));
    assert!((T + 1..T + 4).all(|tick| b.check(tick) == Check::Balanced && total(&b, tick).is_some()));
    // The writer itself sees it too, and goes on.
    assert!(matches!(apply(&mut a, T_MS + 5000, &other), Err(EntriesError::Fork { .. })));
    assert_eq!(apply(&mut a, T_MS + 5000, &whole(&mut filled(1, T..T + 3), T_MS + 5000)), Ok((0, 3, vec![])));
}

#[test]
fn a_log_that_is_dropped_gives_back_only_its_own_frames() {
    // Node 3 is merged by writer 1 and, unknown to it, shipped raw by writer 3; node 4 is shipped raw by both.
    let (mut a, mut c, mut b) = (ledger(1), ledger(3), ledger(2));
    let (three, four) = (stream(&mut a, T_MS, 3), stream(&mut a, T_MS, 4));
    offer_own(&mut a, T_MS + 10, three, T, 30);
    offer(&mut a, T_MS + 10, four, T, None, &[], &samples(40));
    flush(&mut a, T_MS + 10);
    let (three, four) = (stream(&mut c, T_MS, 3), stream(&mut c, T_MS, 4));
    offer(&mut c, T_MS + 10, three, T, None, &[], &samples(30));
    offer(&mut c, T_MS + 10, four, T, None, &[], &samples(40));
    flush(&mut c, T_MS + 10);
    apply(&mut b, T_MS + 20, &whole(&mut a, T_MS + 20)).unwrap();
    apply(&mut b, T_MS + 20, &whole(&mut c, T_MS + 20)).unwrap();
    assert_eq!(total(&b, T), Some((70, 2)));
    // Another process of writer 1 had only node 5.
    let mut twin = ledger(1);
    let five = stream(&mut twin, T_MS, 5);
    offer_own(&mut twin, T_MS + 10, five, T + 1, 5);
    flush(&mut twin, T_MS + 10);
    let run = whole(&mut twin, T_MS + 20);
    assert!(matches!(apply(&mut b, T_MS + 30, &run), Err(EntriesError::Fork { .. })));
    // What writer 3 holds of both nodes counts again.
    assert_eq!(total(&b, T), Some((70, 2)));
    assert_eq!(b.view(T).unwrap().frames, crate::Frames { counted: 2, merged: 0, raw: 2, raw_covered: 0 });
    apply(&mut b, T_MS + 30, &run).unwrap();
    assert_eq!((total(&b, T + 1), b.check(T), b.check(T + 1)), (Some((5, 1)), Check::Balanced, Check::Balanced));
}

#[test]
fn a_wrong_start_of_the_chain_is_a_fork() {
    let (mut a, mut b) = (filled(1, T..T + 1), ledger(2));
    let run = v1::Entries { previous_hash: Bytes::from_static(&[7; 16]), ..whole(&mut a, T_MS + 5000) };
    assert_eq!(apply(&mut b, T_MS + 5000, &run), Err(EntriesError::Fork { writer: writer(1), sequence: 1 }));
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
    b.peers.closed(a.writer());
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
    let later = T_MS + 1000 * u64::from(KEPT);
    let node = stream(&mut a, later, 1);
    offer_own(&mut a, later, node, T + KEPT, 7);
    poll(&mut a, later + 300);
    // Before pruning, as a reference.
    let mut early = ledger(2);
    exchange(later + 400, &mut a, &mut early);
    a.prune(later + 400);
    assert_eq!(a.logs()[0].first_kept, 2);
    let mut late = ledger(3);
    exchange(later + 400, &mut a, &mut late);
    assert_eq!(late.stats().jumps, 1);
    assert_eq!(late.logs()[0].hash, early.logs()[0].hash);
    for tick in [T + 1, T + 2, T + KEPT] {
        assert_eq!(late.view_hash(tick), a.view_hash(tick));
        assert_eq!(late.check(tick), Check::Balanced);
    }
    // And it can hand on what it has.
    let mut last = ledger(4);
    exchange(later + 400, &mut late, &mut last);
    assert_eq!(last.view_hash(T + KEPT), a.view_hash(T + KEPT));
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
fn a_durable_length_is_at_most_what_is_received() {
    let (mut a, b) = (ledger(1), ledger(2));
    let node = stream(&mut a, T_MS, 1);
    offer_own(&mut a, T_MS + 10, node, T, 5);
    poll(&mut a, T_MS + 300);
    let says = |received, durable| v1::Digest {
        writer_id: b.writer().to_bytes(),
        aggregator_id: "aggregator-2".into(),
        logs: vec![v1::LogLength { writer_id: writer(1).to_bytes(), received, durable }],
        ..v1::Digest::default()
    };
    // Received and not yet kept, and kept but not received, are no copies.
    for (received, durable) in [(1, 0), (0, 1)] {
        a.peer_digest(T_MS + 400, &says(received, durable)).unwrap();
        assert!(acks(&mut a).is_empty(), "received {received}, durable {durable}");
    }
    a.peer_digest(T_MS + 400, &says(1, 1)).unwrap();
    assert_eq!(acks(&mut a).len(), 1);
}

#[test]
fn an_own_entry_is_a_copy_when_the_store_has_kept_it() {
    let (mut a, mut b) = (ledger(1), ledger(2));
    let node = stream(&mut a, T_MS, 1);
    offer_own(&mut a, T_MS + 10, node, T, 5);
    a.poll(T_MS + 300);
    assert_eq!((a.digest(T_MS + 300).logs[0].received, a.digest(T_MS + 300).logs[0].durable), (1, 0));
    // The entry goes out at once: b keeps it first.
    b.peer_opened(a.writer());
    a.peer_digest(T_MS + 310, &b.digest(T_MS + 310)).unwrap();
    for run in a.entries_for(T_MS + 310, b.writer(), BUDGET) {
        send(T_MS + 310, a.writer(), &run, &mut b).unwrap();
    }
    sync(&mut b);
    a.peer_digest(T_MS + 320, &b.digest(T_MS + 320)).unwrap();
    assert!(a.acks().is_empty(), "one copy, at b");
    sync(&mut a);
    assert!(a.acks().is_empty(), "two copies, and no reader sees it yet");
    assert_eq!(changed(&mut a), [T]);
    assert_eq!(a.acks(), [Ack { stream: node, tick: T, copies: 2 }]);
}

#[test]
fn an_entry_that_cannot_be_read_is_asked_for_again() {
    let (mut a, mut b) = (filled(1, T..T + 3), ledger(2));
    let run = whole(&mut a, T_MS + 5000);
    let mut damaged = run.clone();
    damaged.payloads[1] = Bytes::from_static(b"no entry");
    let error = apply(&mut b, T_MS + 5000, &damaged).unwrap_err();
    assert!(matches!(error, EntriesError::Refused { sequence: 2, .. }), "{error}");
    // What came before stays, the rest is asked for, and everybody can see that something is wrong.
    assert_eq!((total(&b, T), b.logs()[0].length), (Some((u128::from(T), 1)), 1));
    assert!(b.trouble().unwrap().contains("entry 2"), "{:?}", b.trouble());
    assert!(matches!(b.check(T), Check::Unbalanced(_)));
    assert_eq!(apply(&mut b, T_MS + 8000, &run), Ok((2, 1, vec![T + 1, T + 2])));
    assert_eq!((b.trouble(), b.check(T)), (None, Check::Balanced));
}

#[test]
fn a_merge_that_covers_a_frame_again_is_held_and_not_counted() {
    let (mut a, mut b, mut c) = (filled(1, T..T + 2), ledger(2), ledger(3));
    let mut run = whole(&mut a, T_MS + 5000);
    let again =
        v1::LogPayload { streams: vec![], series: vec![], ..v1::LogPayload::decode(&*run.payloads[0]).unwrap() };
    run.payloads.push(again.encode_to_vec().into());
    assert_eq!(apply(&mut b, T_MS + 5000, &run), Ok((3, 0, vec![T, T + 1])));
    assert_eq!((total(&b, T), b.stats().merges_ignored, b.check(T)), (Some((u128::from(T), 1)), 1, Check::Balanced));
    // It is relayed, and the next one does the same.
    exchange(T_MS + 6000, &mut b, &mut c);
    assert_eq!((c.view_hash(T), c.logs()[0].hash), (b.view_hash(T), b.logs()[0].hash));
}

#[test]
fn a_tick_ahead_of_the_clock_is_held_back() {
    let (mut a, mut b) = (ledger(1), ledger(2));
    // The clock of a is 20 s ahead of that of b.
    let node = stream(&mut a, T_MS + 20_000, 1);
    offer_own(&mut a, T_MS + 20_000, node, T + 20, 5);
    poll(&mut a, T_MS + 20_300);
    apply(&mut b, T_MS, &whole(&mut a, T_MS)).unwrap();
    assert_eq!((b.view(T + 20).is_some(), b.logs()[0].length, b.stats().entries_ahead), (false, 1, 1));
    b.apply_ahead(T_MS + 9_999);
    assert_eq!(total(&b, T + 20), None);
    b.apply_ahead(T_MS + 10_000);
    assert_eq!((total(&b, T + 20), b.view_hash(T + 20)), (Some((5, 1)), a.view_hash(T + 20)));
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
        let _ = apply(&mut b, T_MS + 5000, &run);
        for tick in b.ticks().collect::<Vec<_>>() {
            prop_assert!(b.trouble().is_some() || matches!(b.check(tick), Check::Balanced | Check::Partial(_)));
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
            forgotten: if jump { u32::MAX } else { 0 },
        };
        let _ = apply(&mut b, T_MS, &run);
        let _ = apply(&mut b, T_MS, &run);
    }
}
