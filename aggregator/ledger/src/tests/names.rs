//! Names: quotas where they enter, room where they arrive, generations everywhere. A log never freezes.

use proptest::prelude::*;
use starling_proto::{
    catalogue::{Kind, Scope},
    series::OTHER,
};

use super::*;
use crate::{Check, Frames, LedgerLimits};

fn app(name: &str, value: &str) -> Series {
    Series::application(name, &[("kind", value)], Kind::Counter, "1", 0, Scope::Cluster).unwrap()
}

fn counted(series: Series, value: u64) -> Sample {
    Sample { series, value: Value::Counter(value) }
}

fn limited(number: u8, limits: LedgerLimits) -> Ledger {
    let config = LedgerConfig { aggregator_id: format!("aggregator-{number}"), limits, ..LedgerConfig::default() };
    Ledger::new(writer(number), config, Arc::new(Interner::default()))
}

fn value(ledger: &Ledger, tick: u32, group: &Group, series: &Series) -> Option<u128> {
    match ledger.view(tick)?.sums().get(group, series)?.sum {
        Sum::Counter(sum) => Some(sum),
        _ => None,
    }
}

#[test]
fn series_beyond_the_quota_go_to_other() {
    let mut a = limited(1, LedgerLimits { own_series: 8, ..LedgerLimits::default() });
    let node = stream(&mut a, T_MS, 1);
    let mut samples: Vec<Sample> = (0..20).map(|n| counted(app("jobs", &n.to_string()), 1 << n)).collect();
    samples.push(counted(requests(), 9));
    let pin = Some(a.writer());
    assert_eq!(offer(&mut a, T_MS, node, T, pin, &[], &samples), Offer::Pending);
    flush(&mut a, T_MS);
    let cluster = Group::cluster();
    // Six of eight places are for applications; what has none is added up, so that nothing is lost of the whole.
    let own: u128 = (0..6).map(|n| value(&a, T, &cluster, &app("jobs", &n.to_string())).unwrap()).sum();
    let other = value(&a, T, &cluster, &app("jobs", OTHER)).unwrap();
    assert_eq!(own + other, (1 << 20) - 1);
    assert_eq!(value(&a, T, &cluster, &requests()), Some(9), "the catalogue has places of its own");
    assert_eq!((a.stats().samples_to_other, a.stats().samples_left_out), (14, 0));
    assert_eq!((a.check(T), a.names_len().0.0), (Check::Balanced, 8));
    // Nothing is left for the next metric, nor for its other.
    let next = stream(&mut a, T_MS, 2);
    offer(&mut a, T_MS, next, T + 1, pin, &[], &[counted(app("more", "x"), 1)]);
    flush(&mut a, T_MS);
    assert_eq!((a.stats().samples_left_out, a.view(T + 1).unwrap().frames.counted), (1, 1));
}

#[test]
fn groups_beyond_the_quota_go_to_other() {
    let mut a = limited(1, LedgerLimits { own_groups: 2, ..LedgerLimits::default() });
    let pin = Some(a.writer());
    for number in 0..5 {
        let node = stream(&mut a, T_MS, number);
        let zone = Group::of("zone", &number.to_string()).unwrap();
        offer(&mut a, T_MS, node, T, pin, &[zone], &[counted(requests(), 1 << number)]);
    }
    flush(&mut a, T_MS);
    let zone = |name: &str| value(&a, T, &Group::of("zone", name).unwrap(), &requests());
    assert_eq!([zone("0"), zone("1"), zone("2"), zone(OTHER)], [Some(1), Some(2), None, Some(4 + 8 + 16)]);
    assert_eq!((a.stats().samples_to_other, a.stats().samples_left_out), (3, 0));
}

#[test]
fn a_full_table_leaves_cells_out_and_nothing_else() {
    let limits = LedgerLimits { series: 1, groups: 1, ..LedgerLimits::default() };
    let (mut a, mut b, mut c) = (ledger(1), limited(2, limits), ledger(3));
    let zones = ["a", "b"].map(|zone| Group::of("zone", zone).unwrap());
    let pin = Some(a.writer());
    for (number, zone) in (1..).zip(&zones) {
        let node = stream(&mut a, T_MS, number);
        offer(&mut a, T_MS, node, T, pin, std::slice::from_ref(zone), &samples(5));
        offer(&mut a, T_MS, node, T + 1, None, std::slice::from_ref(zone), &samples(7));
    }
    flush(&mut a, T_MS);
    exchange(T_MS, &mut a, &mut b);
    // One series for the cluster and one of two zones.
    let view = b.view(T).unwrap();
    assert_eq!((view.sums().len(), total(&b, T)), (2, Some((10, 2))));
    // The cells without room, and who is behind the zone without room.
    assert_eq!(view.skipped_cells, a.view(T).unwrap().sums().len() as u32 - 2 + 1);
    assert_eq!((view.frames, view.coverage), (a.view(T).unwrap().frames, a.view(T).unwrap().coverage));
    assert_eq!(b.check(T), Check::Partial(view.skipped_cells));
    assert_eq!((b.trouble(), acks(&mut a).len()), (None, 4));
    // It hands the whole on.
    b.peers.lost(a.writer());
    exchange(T_MS, &mut b, &mut c);
    assert_eq!(c.view_hash(T), a.view_hash(T));
    // Raw frames are taken back as they were added.
    let mut d = ledger(4);
    let pin = Some(d.writer());
    for number in 1..3 {
        let node = stream(&mut d, T_MS, number);
        offer(&mut d, T_MS, node, T + 1, pin, &[], &samples(7));
    }
    flush(&mut d, T_MS);
    exchange(T_MS, &mut d, &mut b);
    assert_eq!(b.view(T + 1).unwrap().frames, Frames { counted: 2, merged: 2, raw: 0, raw_covered: 2 });
    assert_eq!((total(&b, T + 1), b.stats().imbalances), (Some((14, 2)), 0));
    assert_eq!(b.check(T + 1), Check::Balanced, "what stays of it has room");
}

#[test]
fn names_that_are_not_used_make_room_everywhere() {
    let limits = LedgerLimits { own_series: 8, series: 8, ..LedgerLimits::default() };
    let (mut a, mut b) = (limited(1, limits.clone()), limited(2, limits));
    let node = stream(&mut a, T_MS, 1);
    let pin = Some(a.writer());
    // Every ten minutes three new names: six are in use at a time, 90 in all.
    for (round, tick) in (T..).step_by(600).take(30).enumerate() {
        let now_ms = u64::from(tick) * 1000;
        let fresh: Vec<Sample> = (0..3).map(|n| counted(app("batch", &format!("{round}-{n}")), 1)).collect();
        for later in [0, 1] {
            offer(&mut a, now_ms + later * 1000, node, tick + later as u32, pin, &[], &fresh);
            flush(&mut a, now_ms + later * 1000);
        }
        for at in (0..600).step_by(30) {
            let (now_ms, tick) = (now_ms + at * 1000, tick + at as u32 + 2);
            offer(&mut a, now_ms, node, tick, pin, &[], &[counted(requests(), 1)]);
            flush(&mut a, now_ms);
            a.prune(now_ms);
            exchange(now_ms, &mut a, &mut b);
            b.prune(now_ms);
        }
        let late = (a.stats().samples_to_other, a.stats().samples_left_out, b.stats().cells_without_room);
        if round > 4 {
            assert_eq!(a.view_hash(tick + 1), b.view_hash(tick + 1), "round {round}: {late:?}");
        }
    }
    let ((own, _), (others, _)) = (a.names_len().0, b.names_len().1);
    assert!(own <= 8 && others <= 10, "{own} own names, {others} at the peer");
    assert_eq!(b.trouble(), None);
}

#[test]
fn one_authors_volume_never_stops_anothers() {
    let limits = LedgerLimits { log_bytes: 1_000, logs_bytes: 100_000, ..LedgerLimits::default() };
    let mut b = limited(2, limits);
    let mut loud = ledger(1);
    let node = stream(&mut loud, T_MS, 1);
    for tick in T - 60..T {
        offer_own(&mut loud, T_MS, node, tick, 1);
        flush(&mut loud, T_MS);
    }
    loud.peer_opened(writer(2));
    let mut refused = 0;
    for run in std::iter::repeat_with(|| loud.entries_for(T_MS, writer(2), 200)).take_while(|runs| !runs.is_empty()) {
        refused += run.iter().filter(|run| apply(&mut b, T_MS, run).is_err()).count();
    }
    assert!(refused > 0 && b.logs()[0].bytes < 1_500, "{refused} refused, {} bytes", b.logs()[0].bytes);
    let mut quiet = ledger(3);
    let node = stream(&mut quiet, T_MS, 3);
    offer_own(&mut quiet, T_MS, node, T, 5);
    flush(&mut quiet, T_MS);
    exchange(T_MS, &mut quiet, &mut b);
    assert_eq!(total(&b, T), Some((5, 1)));
}

proptest! {
    /// Whatever the sizes of the tables and whatever comes first: logs, frames and coverage are equal, and what is in
    /// the sums is right.
    #[test]
    fn tables_of_any_size_hold_equal_logs(series in 0usize..6, groups in 0usize..3, order: bool, names in prop::collection::vec((0u8..9, 0u8..4), 1..20)) {
        let limits = LedgerLimits { series, groups, ..LedgerLimits::default() };
        let (mut a, mut c, mut small, mut large) = (ledger(1), ledger(3), limited(2, limits), ledger(4));
        for (at, &(name, zone)) in names.iter().enumerate() {
            let author = if at % 2 == 0 { &mut a } else { &mut c };
            let node = stream(author, T_MS, at as u8);
            let zone = Group::of("zone", &zone.to_string()).unwrap();
            let pin = (at % 3 > 0).then(|| author.writer());
            offer(author, T_MS, node, T + at as u32 % 5, pin, &[zone], &[counted(app("x", &name.to_string()), 1)]);
            flush(author, T_MS);
        }
        let (first, second) = if order { (&mut a, &mut c) } else { (&mut c, &mut a) };
        for author in [first, second] {
            exchange(T_MS, author, &mut small);
            exchange(T_MS, author, &mut large);
        }
        let logs = |ledger: &Ledger| ledger.logs().into_iter().filter(|log| log.length > 0).map(|log| log.hash).collect::<Vec<_>>();
        prop_assert_eq!(logs(&small), logs(&large));
        for tick in T..T + 5 {
            let (Some(partial), Some(whole)) = (small.view(tick), large.view(tick)) else { continue };
            prop_assert_eq!((partial.frames, partial.coverage), (whole.frames, whole.coverage));
            prop_assert_eq!(partial.sums().len() + partial.skipped_cells as usize >= whole.sums().len(), true);
            let whole = whole.sums();
            for (group, series, cell) in partial.sums().iter() {
                prop_assert!(whole.get(group, series).is_some_and(|all| cell.frames <= all.frames));
            }
            prop_assert!(matches!(small.check(tick), Check::Balanced | Check::Partial(_)));
        }
    }
}
