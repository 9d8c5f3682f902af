//! Every frame once, whoever ships it.

use starling_proto::{catalogue::Section, histogram::HistogramSum};

use super::*;
use crate::{Ack, Check, Coverage, Frames, Refused, limits::RESTART_SECONDS, rollup::Busy};

#[test]
fn a_frame_is_merged_by_its_pin_and_acknowledged_with_its_second_copy() {
    let (mut a, mut b) = (ledger(1), ledger(2));
    let node = stream(&mut a, T_MS, 1);
    assert_eq!(offer_own(&mut a, T_MS + 10, node, T, 5), Offer::Pending);
    assert_eq!(offer_own(&mut a, T_MS + 11, node, T, 5), Offer::Known);
    assert_eq!(total(&a, T), None);
    // The only stream has reported: nothing to wait for.
    assert_eq!(poll(&mut a, T_MS + 12), [T]);
    assert_eq!(total(&a, T), Some((5, 1)));
    assert!(acks(&mut a).is_empty());

    exchange(T_MS + 20, &mut a, &mut b);
    assert_eq!(total(&b, T), Some((5, 1)));
    assert_eq!(a.view_hash(T), b.view_hash(T));
    assert_eq!(acks(&mut a), [Ack { stream: node, tick: T, copies: 2 }]);
    assert!(acks(&mut a).is_empty(), "acknowledged twice");
    assert_eq!((a.check(T), b.check(T), a.check(T + 1)), (Check::Balanced, Check::Balanced, Check::Unknown));
    assert_eq!(a.view(T).unwrap().frames, Frames { counted: 1, merged: 1, raw: 0, raw_covered: 0 });
    assert_eq!(a.view(T).unwrap().coverage, Coverage { reporting: 1, expected: 1 });
}

#[test]
fn alone_one_copy_is_enough() {
    let mut a = ledger(1);
    let node = stream(&mut a, T_MS, 1);
    offer_own(&mut a, T_MS + 10, node, T, 5);
    poll(&mut a, T_MS + 300);
    assert!(acks(&mut a).is_empty());
    a.set_copies(1);
    assert_eq!(acks(&mut a), [Ack { stream: node, tick: T, copies: 1 }]);
}

#[test]
fn a_copy_at_a_lost_process_does_not_count() {
    let (mut a, mut b) = (ledger(1), ledger(2));
    let node = stream(&mut a, T_MS, 1);
    offer_own(&mut a, T_MS + 10, node, T, 5);
    poll(&mut a, T_MS + 300);
    exchange(T_MS + 310, &mut a, &mut b);
    a.peers.lost(b.writer());
    assert!(acks(&mut a).is_empty());
    // The next process of the same aggregator replaces the one before without a word.
    exchange(T_MS + 320, &mut a, &mut b);
    let mut next = ledger(3);
    next.config.aggregator_id = "aggregator-2".into();
    a.peer_digest(T_MS + 330, &next.digest(T_MS + 330)).unwrap();
    assert!(acks(&mut a).is_empty());
    assert_eq!(a.peers().len(), 1);
}

#[test]
fn a_frame_pinned_elsewhere_waits_then_goes_raw_then_is_taken_back() {
    let (mut a, mut b) = (ledger(1), ledger(2));
    let at_a = stream(&mut a, T_MS, 1);
    offer_own(&mut a, T_MS + 10, at_a, T, 5);
    // The node loses a and turns to b with the same frame.
    let at_b = stream(&mut b, T_MS + 400, 1);
    let offered = offer(&mut b, T_MS + 400, at_b, T, Some(a.writer()), &[], &samples(5));
    assert_eq!(offered, Offer::WaitingRaw);
    assert_eq!(offer(&mut b, T_MS + 401, at_b, T, Some(a.writer()), &[], &samples(5)), Offer::Known);
    assert_eq!(b.gather.next_due(), Some(T_MS + 2400));
    assert!(poll(&mut b, T_MS + 2399).is_empty());
    assert_eq!(poll(&mut b, T_MS + 2400), [T]);
    assert_eq!(b.view(T).unwrap().frames, Frames { counted: 1, merged: 0, raw: 1, raw_covered: 0 });

    // a was only slow.
    poll(&mut a, T_MS + 2500);
    exchange(T_MS + 2600, &mut a, &mut b);
    for ledger in [&a, &b] {
        assert_eq!(total(ledger, T), Some((5, 1)));
        assert_eq!(ledger.view(T).unwrap().frames, Frames { counted: 1, merged: 1, raw: 0, raw_covered: 1 });
        assert_eq!(ledger.check(T), Check::Balanced);
    }
    assert_eq!((b.stats().raws_taken_back, a.stats().raws_ignored), (1, 1));
    assert_eq!(acks(&mut b).len(), 1);
}

#[test]
fn a_wait_ends_when_the_other_entry_comes() {
    let (mut a, mut b) = (ledger(1), ledger(2));
    let at_a = stream(&mut a, T_MS, 1);
    offer_own(&mut a, T_MS + 10, at_a, T, 5);
    poll(&mut a, T_MS + 300);
    let at_b = stream(&mut b, T_MS + 400, 1);
    offer(&mut b, T_MS + 400, at_b, T, Some(a.writer()), &[], &samples(5));
    exchange(T_MS + 500, &mut a, &mut b);
    assert_eq!(acks(&mut b).len(), 1, "known now, and on two aggregators");
    assert!(poll(&mut b, T_MS + 3000).is_empty());
    assert_eq!((b.stats().waits_resolved, b.stats().raws), (1, 0));
}

#[test]
fn a_frame_whose_pin_is_lost_goes_raw_whoever_claims_it() {
    let (mut a, mut b) = (ledger(1), ledger(2));
    let at_a = stream(&mut a, T_MS, 1);
    offer_own(&mut a, T_MS + 10, at_a, T, 5);
    poll(&mut a, T_MS + 300);
    exchange(T_MS + 350, &mut a, &mut b);
    let at_b = stream(&mut b, T_MS + 400, 1);
    assert_eq!(offer(&mut b, T_MS + 400, at_b, T, None, &[], &samples(5)), Offer::WaitingRaw);
    poll(&mut b, T_MS + 3000);
    exchange(T_MS + 3000, &mut a, &mut b);
    assert_eq!((acks(&mut b).len(), b.stats().raws), (1, 1));
    assert_eq!((total(&a, T), total(&b, T)), (Some((5, 1)), Some((5, 1))), "the merge covers it");
}

#[test]
fn of_two_different_raw_frames_of_one_dot_all_count_the_same() {
    let (mut a, mut b, mut c) = (ledger(1), ledger(2), ledger(3));
    for (ledger, lies) in [(&mut a, 5), (&mut b, 6)] {
        let node = stream(ledger, T_MS, 1);
        offer(ledger, T_MS + 10, node, T, Some(writer(9)), &[], &samples(lies));
        poll(ledger, T_MS + 2010);
    }
    exchange(T_MS + 3000, &mut b, &mut c);
    exchange(T_MS + 3000, &mut a, &mut c);
    exchange(T_MS + 3000, &mut a, &mut b);
    for ledger in [&a, &b, &c] {
        assert_eq!(total(ledger, T), Some((5, 1)), "{:?}", ledger.writer());
        assert_eq!(ledger.view_hash(T), a.view_hash(T));
        assert_eq!((ledger.stats().raw_conflicts, ledger.check(T)), (1, Check::Balanced));
    }
}

#[test]
fn stragglers_and_backfill_are_gathered() {
    let mut a = ledger(1);
    let (one, two) = (stream(&mut a, T_MS, 1), stream(&mut a, T_MS, 2));
    offer_own(&mut a, T_MS + 10, one, T, 1);
    assert_eq!(a.gather.next_due(), Some(T_MS + 300));
    assert!(poll(&mut a, T_MS + 299).is_empty(), "stream two may still report");
    assert_eq!(poll(&mut a, T_MS + 300), [T]);
    offer_own(&mut a, T_MS + 400, two, T, 2);
    assert!(poll(&mut a, T_MS + 649).is_empty());
    assert_eq!(poll(&mut a, T_MS + 650), [T]);
    assert_eq!(total(&a, T), Some((3, 2)));
    assert_eq!(a.view(T).unwrap().revision, 2);
    // An old second comes in bulk.
    offer_own(&mut a, T_MS + 700, two, T - 60, 2);
    assert_eq!(a.gather.next_due(), Some(T_MS + 1700));
    // A stop waits for nothing.
    assert_eq!(flush(&mut a, T_MS + 701), [T - 60]);
}

#[test]
fn frames_outside_the_window_are_refused() {
    let mut a = ledger(1);
    let node = stream(&mut a, T_MS, 1);
    assert_eq!(offer_own(&mut a, T_MS, node, T - LATE_WINDOW - 1, 1), Offer::Refused(Refused::TooLate));
    assert_eq!(offer_own(&mut a, T_MS, node, T - LATE_WINDOW, 1), Offer::Pending);
    assert_eq!(offer_own(&mut a, T_MS, node, T + 11, 1), Offer::Refused(Refused::TooEarly));
    assert_eq!(offer_own(&mut a, T_MS, node, T + 10, 1), Offer::Pending);
    assert_eq!(offer_own(&mut a, T_MS, node, T, (1 << 40) + 1), Offer::Refused(Refused::Invalid));
    a.close_stream(KEY, node);
    assert_eq!(offer_own(&mut a, T_MS, node, T, 1), Offer::Refused(Refused::NotOpen));
    let stats = a.stats();
    assert_eq!((stats.refused_late, stats.refused_early, stats.refused_invalid, stats.not_open), (1, 1, 1, 1));
}

#[test]
fn the_end_of_a_stream_ends_the_expectation_everywhere() {
    let (mut a, mut b) = (ledger(1), ledger(2));
    let (one, two) = (stream(&mut a, T_MS, 1), stream(&mut a, T_MS, 2));
    let restart = T + RESTART_SECONDS;
    offer_own(&mut a, T_MS + 10, two, T - 1, 1);
    offer_own(&mut a, T_MS + 10, two, T, 1);
    for tick in [T, T + 1, restart, restart + 1] {
        offer_own(&mut a, u64::from(tick) * 1000 + 10, one, tick, 1);
        poll(&mut a, u64::from(tick) * 1000 + 900);
    }
    assert_eq!(a.view(restart + 1).unwrap().coverage, Coverage { reporting: 1, expected: 2 });
    let now_ms = u64::from(restart + 2) * 1000;
    a.end_stream(now_ms, two, T);
    assert_eq!(changed(&mut a), [restart + 1]);
    exchange(now_ms, &mut a, &mut b);
    for ledger in [&a, &b] {
        assert_eq!(ledger.view(T).unwrap().coverage, Coverage { reporting: 2, expected: 2 });
        // It may be starting again: what is missing meanwhile is shown, with its name.
        let view = ledger.view(restart).unwrap();
        assert_eq!(view.coverage, Coverage { reporting: 1, expected: 2 });
        assert_eq!(view.missing.iter().map(NodeId::as_str).collect::<Vec<_>>(), ["node-2"]);
        let view = ledger.view(restart + 1).unwrap();
        assert_eq!((view.coverage, view.missing.len()), (Coverage { reporting: 1, expected: 1 }, 0));
        assert_eq!(ledger.nodes().iter().map(|node| node.ended).collect::<Vec<_>>(), [false, true]);
    }
}

/// Somebody says so at an aggregator that never had its stream.
#[test]
fn a_node_that_is_gone_for_good_is_expected_no_more() {
    let (mut a, mut b) = (ledger(1), ledger(2));
    let (one, two) = (stream(&mut a, T_MS, 1), stream(&mut a, T_MS, 2));
    let later = T + RESTART_SECONDS + 1;
    for tick in [T - 1, T] {
        offer_own(&mut a, T_MS + 10, two, tick, 1);
    }
    for tick in [T - 1, T, later] {
        offer_own(&mut a, u64::from(tick) * 1000 + 10, one, tick, 1);
        poll(&mut a, u64::from(tick) * 1000 + 900);
    }
    let now_ms = u64::from(later + 1) * 1000;
    exchange(now_ms, &mut a, &mut b);
    assert_eq!(b.view(later).unwrap().coverage, Coverage { reporting: 1, expected: 2 });
    let gone = || Event::Gone(NodeId::parse("node-2").unwrap());
    b.handle(now_ms, gone());
    // Said again, or of nobody, it is no entry.
    let length = |ledger: &Ledger| ledger.logs().iter().map(|log| log.length).sum::<u64>();
    let before = length(&b);
    b.handle(now_ms, gone());
    b.handle(now_ms, Event::Gone(NodeId::parse("nobody").unwrap()));
    assert_eq!(length(&b), before);
    exchange(now_ms, &mut a, &mut b);
    for ledger in [&a, &b] {
        assert_eq!(ledger.view(later).unwrap().coverage, Coverage { reporting: 1, expected: 1 });
        assert_eq!(ledger.view(T).unwrap().coverage, Coverage { reporting: 2, expected: 2 }, "what was counted stays");
    }
}

/// What a frame reports of its cores, busiest first.
fn busy(shares: &[(u32, u16)]) -> Cores {
    Cores::busiest(shares.iter().map(|&(core, share)| Busy { core, share }))
}

fn offer_cores(ledger: &mut Ledger, now_ms: u64, stream: StreamNo, tick: u32, pin: Option<WriterId>, cores: Cores) {
    let (columns, _) = Columns::of_samples(ledger.own.interner(), samples(1).iter());
    let offered = Offered { stream, tick, pin, groups: [].into(), columns, cores };
    assert!(!matches!(ledger.offer(now_ms, offered), Offer::Refused(_)));
}

fn busiest(ledger: &Ledger, tick: u32) -> Vec<(String, u32, u16)> {
    let sums = ledger.view(tick).unwrap().sums();
    let census = sums.census(&Group::cluster()).unwrap();
    census.busiest().iter().map(|core| (core.node.to_string(), core.busy.core, core.busy.share)).collect()
}

#[test]
fn busy_cores_belong_to_their_second_and_to_its_hash_wherever_they_came_from() {
    let (mut a, mut b, mut late) = (ledger(1), ledger(2), ledger(3));
    let (one, two) = (stream(&mut a, T_MS, 1), stream(&mut b, T_MS, 2));
    let (writer_a, writer_b) = (Some(a.writer()), Some(b.writer()));
    for (tick, share) in [(T, 9_000), (T + 1, 10)] {
        let now_ms = u64::from(tick) * 1000 + 10;
        offer_cores(&mut a, now_ms, one, tick, writer_a, busy(&[(0, share), (1, 500)]));
        // Node 2 has lost track of its pin: its frame goes in whole.
        offer_cores(&mut b, now_ms, two, tick, if tick == T { None } else { writer_b }, busy(&[(7, 9_000)]));
    }
    poll(&mut a, T_MS + 4_000);
    poll(&mut b, T_MS + 4_000);
    assert_eq!(b.view(T).unwrap().frames.raw, 1);
    exchange(T_MS + 4_100, &mut a, &mut b);
    // One that catches up from one of them only.
    exchange(T_MS + 4_200, &mut b, &mut late);
    for ledger in [&a, &b, &late] {
        let named = |node: u8, core, share| (format!("node-{node}"), core, share);
        assert_eq!(busiest(ledger, T), [named(1, 0, 9_000), named(2, 7, 9_000), named(1, 1, 500)]);
        assert_eq!(busiest(ledger, T + 1), [named(2, 7, 9_000), named(1, 1, 500), named(1, 0, 10)]);
        assert_eq!((ledger.view_hash(T), ledger.view_hash(T + 1)), (a.view_hash(T), a.view_hash(T + 1)));
        assert_eq!(ledger.check(T), Check::Balanced);
    }
    let mut other = ledger(4);
    let one = stream(&mut other, T_MS, 1);
    let pin = Some(other.writer());
    offer_cores(&mut other, T_MS + 10, one, T, pin, busy(&[(0, 9_000), (1, 501)]));
    let mut same = ledger(5);
    let one = stream(&mut same, T_MS, 1);
    let pin = Some(same.writer());
    offer_cores(&mut same, T_MS + 10, one, T, pin, busy(&[(0, 9_000), (1, 500)]));
    poll(&mut other, T_MS + 4_000);
    poll(&mut same, T_MS + 4_000);
    assert_ne!(other.view_hash(T), same.view_hash(T), "the hash covers the cores");
}

#[test]
fn a_view_counts_the_nodes_behind_each_section() {
    let mut a = ledger(1);
    let (one, two) = (stream(&mut a, T_MS, 1), stream(&mut a, T_MS, 2));
    let zone = Group::of("zone", "a").unwrap();
    let duration = |values: &[u64]| {
        let mut sum = HistogramSum::new();
        values.iter().for_each(|&value| sum.record(value, 1));
        let series = Series::of(&catalogue::DURATION, &[("protocol", "grpc")]);
        Sample { series, value: Value::Histogram(sum.to_histogram().into()) }
    };
    let gauge = |metric: &'static catalogue::Metric| Sample { series: Series::of(metric, &[]), value: Value::Gauge(1) };
    let whole = [gauge(&catalogue::CPU_UTILIZATION), gauge(&catalogue::MEMORY_LIMIT), duration(&[5])];
    // The last second of a daemon that stops: increments alone, and no request.
    let time = Series::of(&catalogue::CPU_TIME, &[("cpu.mode", "user")]);
    let last = [Sample { series: time, value: Value::Counter(3) }, duration(&[])];
    let pin = Some(a.writer());
    offer(&mut a, T_MS + 10, one, T, pin, std::slice::from_ref(&zone), &whole);
    offer(&mut a, T_MS + 10, two, T, pin, &[], &last);
    poll(&mut a, T_MS + 400);
    let sums = a.view(T).unwrap().sums();
    let of = |group: &Group| {
        let census = sums.census(group).unwrap();
        let count = |section| census.count(section);
        let counts = [Section::Cpu, Section::Memory, Section::Disk, Section::Traffic, Section::Latency].map(count);
        (census.frames(), counts)
    };
    assert_eq!(of(&Group::cluster()), (2, [1, 1, 0, 2, 1]), "two report, one of them its processors and memory");
    assert_eq!(of(&zone), (1, [1, 1, 0, 1, 1]));
}

#[test]
fn what_was_known_before_a_restart_stays_expected_everywhere() {
    let (mut before, mut peer) = (ledger(1), ledger(2));
    let (one, two) = (stream(&mut before, T_MS, 1), stream(&mut before, T_MS, 2));
    for tick in [T - 1, T] {
        offer_own(&mut before, T_MS + 10, one, tick, 1);
        offer_own(&mut before, T_MS + 10, two, tick, 1);
    }
    poll(&mut before, T_MS + 1_400);
    let roster = before.known_streams(T_MS + 1_500);
    assert_eq!(roster.len(), 2);

    // The restarted process holds nothing, and has met node 3 and again node 1.
    let mut after = ledger(3);
    let now_ms = T_MS + 20_000;
    let (one, three) = (stream(&mut after, now_ms, 1), stream(&mut after, now_ms, 3));
    offer_own(&mut after, now_ms, one, T + 20, 1);
    offer_own(&mut after, now_ms, three, T + 20, 1);
    poll(&mut after, now_ms + 400);
    assert_eq!(after.view(T + 20).unwrap().coverage, Coverage { reporting: 2, expected: 2 });
    changed(&mut after);
    after.recall(now_ms + 500, roster.clone());
    assert_eq!(changed(&mut after), [T + 20], "readers hear of it");
    exchange(now_ms + 600, &mut after, &mut peer);
    for ledger in [&after, &peer] {
        let view = ledger.view(T + 20).unwrap();
        assert_eq!(view.coverage, Coverage { reporting: 2, expected: 3 });
        assert_eq!(view.missing.iter().map(NodeId::as_str).collect::<Vec<_>>(), ["node-2"]);
        assert_eq!(ledger.check(T + 20), Check::Balanced);
    }
    // Nothing of it is news once the logs say it, nor when it is too old.
    let length = after.logs.own().length();
    after.recall(now_ms + 700, roster.clone());
    assert_eq!(after.logs.own().length(), length);
    let mut old = ledger(4);
    old.recall(T_MS + 902_000, roster);
    assert_eq!(old.logs.own().length(), 0);
}

#[test]
fn a_tick_is_settled_when_all_closed_it_or_its_time_is_up() {
    let (mut a, mut b) = (ledger(1), ledger(2));
    let (at_a, at_b) = (stream(&mut a, T_MS - 500, 1), stream(&mut b, T_MS - 500, 2));
    let live = [b.writer()];
    offer_own(&mut a, T_MS + 10, at_a, T, 1);
    assert_eq!(a.closed_tick(T_MS + 11), T - 1, "gathered, not in the log");
    poll(&mut a, T_MS + 12);
    assert_eq!(a.closed_tick(T_MS + 12), T);
    exchange(T_MS + 20, &mut a, &mut b);
    assert!(!a.is_settled(T, T_MS + 20, &live), "b waits for its node");
    offer_own(&mut b, T_MS + 30, at_b, T, 1);
    poll(&mut b, T_MS + 31);
    // The word alone is not enough: the entries it speaks of must be here.
    a.peer_digest(T_MS + 32, &b.digest(T_MS + 32)).unwrap();
    assert!(!a.is_settled(T, T_MS + 33, &live));
    exchange(T_MS + 40, &mut a, &mut b);
    assert!(a.is_settled(T, T_MS + 41, &live));
    // Never a second early: a has closed the next one, b has not.
    offer_own(&mut a, T_MS + 1010, at_a, T + 1, 1);
    poll(&mut a, T_MS + 1011);
    assert_eq!(a.closed_tick(T_MS + 1011), T + 1);
    exchange(T_MS + 1020, &mut a, &mut b);
    assert_eq!(a.peers()[0].closed_tick, T);
    assert!(a.is_settled(T, T_MS + 1021, &live) && !a.is_settled(T + 1, T_MS + 1021, &live));
    assert!(!a.is_settled(T + 1, T_MS + 1999, &live));
    assert!(a.is_settled(T + 1, T_MS + 2000, &live));
}
