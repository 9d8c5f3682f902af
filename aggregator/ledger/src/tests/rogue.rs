//! An author that lies: what it can reach, and how it is taken back out.

use super::*;
use crate::{
    Quarantine,
    limits::{AUTHOR_ENTRIES_BURST, AUTHOR_LOGS_MAX},
};

/// Says that `from` is a peer of `to`, by its name.
fn introduce(now_ms: u64, from: &mut Ledger, to: &mut Ledger) {
    let digest = from.digest(now_ms);
    to.peer_digest(now_ms, &digest).unwrap();
}

/// The whole log of `from`.
fn log_of(from: &mut Ledger, now_ms: u64) -> v1::Entries {
    from.peer_opened(writer(250));
    from.entries_for(now_ms, writer(250), usize::MAX).swap_remove(0)
}

fn quarantine(names: &[&str], writers: &[(u8, &str)]) -> Quarantine {
    Quarantine {
        aggregators: names.iter().map(ToString::to_string).collect(),
        writers: writers.iter().map(|(number, name)| (writer(*number), (*name).to_owned())).collect(),
    }
}

/// Claims the frame of stream `number` at `tick` before its owner has it.
fn claim(rogue: &mut Ledger, now_ms: u64, number: u8, tick: u32, requests: u64) {
    let node = stream(rogue, now_ms, number);
    offer_own(rogue, now_ms, node, tick, requests);
    flush(rogue, now_ms);
}

#[test]
fn who_claims_a_frame_first_makes_its_owner_drop_nothing() {
    let (mut rogue, mut owner, mut third) = (ledger(1), ledger(2), ledger(3));
    let at_owner = stream(&mut owner, T_MS, 7);
    claim(&mut rogue, T_MS, 7, T, 1_000_000);
    for ledger in [&mut owner, &mut third] {
        introduce(T_MS, &mut rogue, ledger);
        apply(ledger, T_MS, &log_of(&mut rogue, T_MS)).unwrap();
    }
    assert_eq!(offer_own(&mut owner, T_MS + 10, at_owner, T, 5), Offer::Pending, "it is pinned here");
    poll(&mut owner, T_MS + 300);
    assert!(acks(&mut owner).is_empty(), "what another one claims is no copy");
    exchange(T_MS + 400, &mut owner, &mut third);
    assert_eq!(acks(&mut owner).len(), 1);
    for ledger in [&mut owner, &mut third] {
        assert_eq!(total(ledger, T), Some((1_000_005, 2)), "both count, and both are named");
        let disputes = ledger.disputes();
        assert_eq!((disputes.len(), disputes[0].writers, disputes[0].frames), (1, [writer(1), writer(2)], 1));
        assert_eq!(disputes[0].authors, ["aggregator-1", "aggregator-2"]);
        assert_eq!(disputes[0].nodes, [NodeId::sanitised("node-7")]);
        let before = ledger.view(T).unwrap().rank();
        ledger.set_quarantine(T_MS + 500, quarantine(&["aggregator-1"], &[]));
        assert!(ledger.view(T).unwrap().rank() > before, "the history keeps this one, with fewer frames");
        assert_eq!((total(ledger, T), ledger.check(T)), (Some((5, 1)), Check::Balanced));
        assert!(ledger.disputes().is_empty() && ledger.quarantine().writers.contains_key(&writer(1)));
    }
    assert_eq!(owner.view_hash(T), third.view_hash(T));
}

#[test]
fn what_was_taken_out_does_not_come_back_by_anybody() {
    let (mut rogue, mut b, mut c) = (ledger(1), ledger(2), ledger(3));
    claim(&mut rogue, T_MS, 7, T, 9);
    for ledger in [&mut b, &mut c] {
        introduce(T_MS, &mut rogue, ledger);
        apply(ledger, T_MS, &log_of(&mut rogue, T_MS)).unwrap();
    }
    sync(&mut b);
    b.handle(T_MS, Event::Quarantine(quarantine(&["aggregator-1"], &[])));
    let out = sync(&mut b);
    let taken = |action: &Action| match action {
        Action::TakenOut { writer: of, aggregator, entries, span } => {
            (*of, aggregator.as_str(), *entries, *span) == (writer(1), "aggregator-1", 1, Some((T, T)))
        }
        _ => false,
    };
    assert!(out.iter().any(taken), "{out:?}");
    assert_eq!((total(&b, T), total(&c, T)), (None, Some((9, 1))));
    let digest = rogue.digest(T_MS);
    assert!(matches!(b.peer_digest(T_MS, &digest), Err(DigestError::Quarantined(_))));
    let relayed = send(T_MS, writer(3), &log_of(&mut rogue, T_MS), &mut b);
    assert!(matches!(relayed, Err(EntriesError::Quarantined { .. })), "{relayed:?}");
    // Its next process under the same name does not get in either, and a third one's is no matter.
    let mut again = Ledger::new(
        writer(9),
        LedgerConfig { aggregator_id: "aggregator-1".into(), ..LedgerConfig::default() },
        Arc::default(),
    );
    let digest = again.digest(T_MS);
    assert!(b.peer_digest(T_MS, &digest).is_err());
    // Once it is believed again, its log is fetched from whoever has it.
    b.handle(T_MS, Event::Quarantine(Quarantine::default()));
    exchange(T_MS + 4_000, &mut b, &mut c);
    assert_eq!(total(&b, T), Some((9, 1)));
}

#[test]
fn who_only_brought_a_log_takes_none_of_it_along() {
    let (mut honest, mut rogue, mut b) = (ledger(1), ledger(2), ledger(3));
    claim(&mut honest, T_MS, 7, T, 5);
    exchange(T_MS, &mut honest, &mut rogue);
    introduce(T_MS, &mut rogue, &mut b);
    send(T_MS, writer(2), &log_of(&mut honest, T_MS), &mut b).unwrap();
    let status = |b: &Ledger| b.logs().into_iter().find(|log| log.writer == writer(1)).unwrap();
    assert_eq!((status(&b).author.as_str(), status(&b).first_hand), ("aggregator-2", false));
    b.set_quarantine(T_MS, quarantine(&["aggregator-2"], &[]));
    assert_eq!(total(&b, T), Some((5, 1)), "an honest one's log may come by anybody");
    introduce(T_MS, &mut honest, &mut b);
    send(T_MS, writer(1), &log_of(&mut honest, T_MS), &mut b).unwrap();
    assert_eq!((status(&b).author.as_str(), status(&b).first_hand), ("aggregator-1", true));
    // A log that nobody vouches for goes by its writer.
    b.set_quarantine(T_MS, quarantine(&[], &[(1, "aggregator-2")]));
    assert_eq!(total(&b, T), None);
    // Nobody takes himself out.
    b.set_quarantine(T_MS, quarantine(&["aggregator-3"], &[(3, "aggregator-3")]));
    assert_eq!(b.quarantine(), &Quarantine::default());
}

#[test]
fn seconds_to_come_and_made_up_ends_make_nobody_expected_or_forgotten() {
    let (mut rogue, mut owner) = (ledger(1), ledger(2));
    rogue.config.early_seconds = u32::MAX / 2;
    let at_owner = stream(&mut owner, T_MS, 7);
    for tick in [T - 1, T] {
        offer_own(&mut owner, T_MS, at_owner, tick, 5);
    }
    flush(&mut owner, T_MS);
    claim(&mut rogue, T_MS, 8, T - 1, 1);
    claim(&mut rogue, T_MS, 8, T + 1_000_000, 1);
    let seven = stream(&mut rogue, T_MS, 7);
    rogue.end_stream(T_MS, seven, T - 100);
    introduce(T_MS, &mut rogue, &mut owner);
    apply(&mut owner, T_MS, &log_of(&mut rogue, T_MS)).unwrap();
    let expected = |owner: &Ledger, tick| owner.nothing_at(tick).coverage.expected;
    assert_eq!(expected(&owner, T + 1), 0, "node-8 was seen in one second so far, node-7 is said to have ended");
    assert_eq!(owner.stats().entries_ahead, 1);
    owner.set_quarantine(T_MS, quarantine(&["aggregator-1"], &[]));
    assert_eq!(expected(&owner, T + 1), 1, "node-7 did not end");
    assert!(owner.ahead.is_empty() && owner.nodes().len() == 1, "{:?}", owner.nodes());
}

#[test]
fn an_author_has_its_quota_under_all_its_writers() {
    let mut b = ledger(2);
    let bring = |b: &mut Ledger, number: u16, from: WriterId| {
        let id = WriterId::new([&[0; 14][..], &number.to_be_bytes()].concat().try_into().unwrap());
        let mut made_up = Ledger::new(id, LedgerConfig::default(), Arc::default());
        claim(&mut made_up, T_MS, 1, T, 1);
        send(T_MS, from, &log_of(&mut made_up, T_MS), b)
    };
    let (mut rogue, mut honest) = (ledger(1), ledger(3));
    introduce(T_MS, &mut rogue, &mut b);
    introduce(T_MS, &mut honest, &mut b);
    for number in 0..AUTHOR_LOGS_MAX as u16 {
        bring(&mut b, 1_000 + number, writer(1)).unwrap();
    }
    let refused = bring(&mut b, 9_999, writer(1)).unwrap_err();
    assert_eq!(refused.to_string(), format!("aggregator-1 is over its quota of logs: {AUTHOR_LOGS_MAX}"));
    bring(&mut b, 9_999, writer(3)).unwrap();
    assert_eq!(b.stats().runs_refused, 1);
}

#[test]
fn a_flood_of_one_author_is_refused_and_another_ones_entries_are_taken() {
    let (mut rogue, mut b) = (ledger(1), ledger(2));
    introduce(T_MS, &mut rogue, &mut b);
    // Entries that say nothing cost one all the same.
    let flood = |first: u64, many: usize, previous: &[u8]| v1::Entries {
        writer_id: writer(1).to_bytes(),
        first_sequence: first,
        previous_hash: previous.to_vec().into(),
        payloads: vec![bytes::Bytes::new(); many],
        ..v1::Entries::default()
    };
    let (mut first, mut hash) = (1, writer(1).as_bytes().to_vec());
    let refused = loop {
        let run = flood(first, 50_000, &hash);
        if let Err(error) = apply(&mut b, T_MS, &run) {
            break error;
        }
        first += 50_000;
        hash = b.logs().into_iter().find(|log| log.writer == writer(1)).unwrap().hash.to_vec();
    };
    assert!(matches!(refused, EntriesError::Quota { ref author, .. } if author == "aggregator-1"), "{refused}");
    assert!(first <= AUTHOR_ENTRIES_BURST + 1);
    let mut honest = ledger(3);
    claim(&mut honest, T_MS, 3, T, 5);
    exchange(T_MS, &mut honest, &mut b);
    assert_eq!(total(&b, T), Some((5, 1)));
    // What it may comes back with time.
    apply(&mut b, T_MS + 1_000, &flood(first, 1_000, &hash)).unwrap();
}
