//! Full tables, old entries, forgotten streams.

use super::*;
use crate::{
    EntriesError,
    limits::{GROUPS_PER_FRAME_MAX, OPEN_TICKS_MAX, RAWS_BESIDE_MERGE, RAWS_PER_STEP, WAITING_MAX, WRITERS_MAX},
};

#[test]
fn a_tick_too_many_flushes_the_oldest() {
    let mut a = ledger(1);
    let node = stream(&mut a, T_MS, 1);
    for back in 0..=OPEN_TICKS_MAX as u32 {
        offer_own(&mut a, T_MS, node, T - 60 - back, 1);
    }
    assert_eq!(a.stats().flushes_cut_short, 1);
    // Flushed before anything was due, and brought out at the next turn.
    let oldest_then = T - 60 - OPEN_TICKS_MAX as u32 + 1;
    assert_eq!(poll(&mut a, T_MS + 1), [oldest_then]);
    assert_eq!(flush(&mut a, T_MS + 1).len(), OPEN_TICKS_MAX);
}

#[test]
fn what_is_due_at_one_moment_is_done_in_small_steps() {
    let mut a = ledger(1);
    let nodes: Vec<StreamNo> = (0..100).map(|number| stream(&mut a, T_MS, number)).collect();
    for &node in nodes.iter().take(2 * RAWS_BESIDE_MERGE + RAWS_PER_STEP + 5) {
        offer(&mut a, T_MS, node, T - 1, Some(writer(9)), &[], &samples(1));
    }
    for &node in &nodes {
        offer_own(&mut a, T_MS, node, T - 20, 1);
        offer_own(&mut a, T_MS, node, T, 1);
    }
    let late = T_MS + 60_000;
    let done = |a: &Ledger| (a.stats().merges, a.stats().raws);
    let newest = |a: &Ledger| a.view(T).unwrap().coverage.reporting;
    let beside = RAWS_BESIDE_MERGE as u64;
    a.poll(late);
    assert_eq!((done(&a), newest(&a)), ((1, beside), 100), "the newest second comes first");
    assert!(a.gather.next_due().unwrap() <= late, "the rest is due at once");
    a.poll(late);
    assert_eq!(done(&a), (2, 2 * beside));
    a.poll(late);
    assert_eq!(done(&a), (2, 2 * beside + RAWS_PER_STEP as u64));
    a.poll(late);
    assert_eq!((done(&a), a.gather.next_due()), ((2, 2 * beside + RAWS_PER_STEP as u64 + 5), None));
}

#[test]
fn a_wait_too_many_ships_the_oldest_raw() {
    let mut a = ledger(1);
    let nodes: Vec<StreamNo> = (0..20).map(|number| stream(&mut a, T_MS, number)).collect();
    let mut offered = 0;
    'all: for back in 0..900 {
        for &node in &nodes {
            offer(&mut a, T_MS, node, T - back, None, &[], &samples(1));
            offered += 1;
            if offered > WAITING_MAX {
                break 'all;
            }
        }
    }
    assert_eq!((a.stats().waits_cut_short, a.stats().raws), (1, 1));
    assert_eq!(poll(&mut a, T_MS + 1), [T]);
}

#[test]
fn groups_beyond_the_limit_are_left_out_and_counted() {
    let mut a = ledger(1);
    let node = stream(&mut a, T_MS, 1);
    let groups: Vec<Group> = (0..10).map(|n| Group::of("zone", &n.to_string()).unwrap()).collect();
    let pin = Some(a.writer());
    offer(&mut a, T_MS, node, T, pin, &groups, &samples(1));
    poll(&mut a, T_MS + 300);
    assert_eq!(a.view(T).unwrap().sums().groups().count(), 1 + GROUPS_PER_FRAME_MAX);
    assert_eq!(a.stats().samples_left_out, 2);
}

#[test]
fn a_writer_too_many_is_refused_until_there_is_room() {
    let mut b = ledger(2);
    let mut entry_of = |number: u16, now_ms: u64, tick: u32| {
        let id = WriterId::new([&[0; 14][..], &number.to_be_bytes()].concat().try_into().unwrap());
        let mut a = Ledger::new(id, LedgerConfig::default(), Arc::default());
        let node = stream(&mut a, now_ms, 1);
        offer_own(&mut a, now_ms, node, tick, 1);
        flush(&mut a, now_ms);
        a.peer_opened(writer(2));
        b.prune(now_ms);
        apply(&mut b, now_ms, &a.entries_for(now_ms, writer(2), BUDGET)[0])
    };
    for number in 1..WRITERS_MAX as u16 {
        entry_of(number, T_MS, T).unwrap();
    }
    assert!(matches!(entry_of(9_999, T_MS, T), Err(EntriesError::Limit { what: "logs", .. })));
    // Writers that are no peers and of which nothing is kept make room.
    entry_of(9_999, T_MS + 1000 * u64::from(KEPT), T + KEPT).unwrap();
    assert_eq!(b.logs().len(), 2);
}

#[test]
fn an_hour_leaves_no_more_than_15_minutes() {
    let mut a = ledger(1);
    let node = stream(&mut a, T_MS, 1);
    for tick in T..T + 3600 {
        let now_ms = u64::from(tick) * 1000 + 10;
        // A daemon that restarts every ten seconds.
        let restarted = stream(&mut a, now_ms, (tick / 10 % 250) as u8 + 2);
        offer_own(&mut a, now_ms, node, tick, 1);
        offer_own(&mut a, now_ms, restarted, tick, 1);
        poll(&mut a, now_ms + 300);
        a.close_stream(KEY, restarted);
        a.prune(now_ms + 300);
    }
    assert_eq!(a.ticks().count(), KEPT as usize);
    assert_eq!(total(&a, T + 3599), Some((2, 2)));
    let log = &a.logs()[0];
    assert_eq!(log.length - log.first_kept + 1, u64::from(KEPT));
    // Streams of the last half hour, and the one that never went away.
    assert!(a.streams.len() < 250 && log.streams < 250, "{} streams, {} numbers", a.streams.len(), log.streams);
    assert!(a.unacknowledged.ticks_len() <= KEPT as usize);
}

#[test]
fn a_stream_number_is_given_up_after_a_silence_and_drawn_again() {
    let (mut a, mut b) = (ledger(1), ledger(2));
    let (idle, busy) = (stream(&mut a, T_MS, 1), stream(&mut a, T_MS, 2));
    offer_own(&mut a, T_MS, idle, T, 1);
    for back in (0..=1300).step_by(100) {
        let tick = T + back;
        let now_ms = u64::from(tick) * 1000;
        offer_own(&mut a, now_ms, busy, tick, 1);
        flush(&mut a, now_ms);
        a.prune(now_ms);
        exchange(now_ms, &mut a, &mut b);
        b.prune(now_ms);
    }
    let now_ms = T_MS + 1_300_000;
    offer_own(&mut a, now_ms, idle, T + 1300, 1);
    flush(&mut a, now_ms);
    exchange(now_ms, &mut a, &mut b);
    assert_eq!(total(&b, T + 1300), Some((2, 2)));
    assert_eq!(a.view_hash(T + 1300), b.view_hash(T + 1300));
    assert_eq!(a.logs.own().numbers().defined().streams, 3, "the idle stream got a new number");
}
