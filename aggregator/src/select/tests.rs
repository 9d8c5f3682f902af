//! What is kept of sealed blocks in the steps of questions, against reading all of it again.

use std::{ops::Range, sync::Arc};

use proptest::prelude::*;
use starling_history::{Block, BlockBuilder, Coverage, SecondValue, Selection, Subject, Tier, roll_up};
use starling_proto::{catalogue, histogram::Histogram, series::Series};

use super::*;
use crate::{
    history::{Disk, row},
    metrics::Metrics,
};

/// The first second of an hour.
const T0: u32 = 1_800_000_000;

fn write(disk: &Disk, tier: Tier, window: Range<u32>, blocks: &[Block]) {
    disk.store().write_segment(tier.code(), window, blocks.iter().map(row)).unwrap();
}

/// A block of the window at `start` without the seconds in `hole`, with values of `version`.
fn block(subject: &Subject, start: u32, hole: &Range<u32>, version: u64) -> Block {
    let mut builder = BlockBuilder::new(subject.clone(), start);
    let series = [
        Series::of(&catalogue::REQUESTS, &[("protocol", "grpc")]),
        Series::of(&catalogue::REQUESTS, &[("protocol", "http1")]),
        Series::of(&catalogue::CPU_UTILIZATION, &[]),
        Series::of(&catalogue::DURATION, &[("protocol", "grpc")]),
        Series::of(&catalogue::DURATION, &[("protocol", "http1")]),
    ];
    for tick in (start..start + 300).filter(|tick| !hole.contains(&(tick - start))) {
        let any = u64::from(tick).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(version as u32 * 7) >> 40;
        let histogram = Arc::new(Histogram::of(any % 9_000_000, 1 + any % 5));
        let value = |at: usize| match at {
            0 | 1 => SecondValue::Counter { sum: i128::from(any) + at as i128, nodes: 1 },
            2 => {
                let value = (any % 10_000).cast_signed();
                SecondValue::Gauge { sum: value.into(), nodes: 1, min: value, max: value, distribution: None }
            }
            _ => SecondValue::Histogram { histogram: &histogram, nodes: 1 },
        };
        // Some series are not there all the time.
        let there = series.iter().enumerate().filter(|(at, _)| *at != 1 || tick % 700 < 500);
        let values = there.map(|(at, series)| (series, value(at)));
        builder.push(tick, version, Coverage::second(1, 1, 0), values).unwrap();
    }
    builder.seal().unwrap()
}

/// One question by both ways, and the first second that is missing by the second way.
fn ask(
    held: &Held,
    subject: &Subject,
    (name, total): (&str, bool),
    span: Span,
) -> (Mixed, Folded, Folded, Option<u32>) {
    let selection = match name {
        "" => Selection::all(span.from, span.to),
        name => Selection::named(name, span.from, span.to),
    };
    let none = |part: &Part| Part { series: Vec::new(), coverage: part.coverage.clone() };
    let by_way = |part: &Part, span: &Span| {
        let part = if total { Folded::total(part, &[]).unwrap().unwrap_or_else(|| none(part)) } else { part.clone() };
        Folded::of(&part, span).ok()
    };
    let steps = |part: &Part, span: &Span| {
        (if total { Folded::of_total(part, &[], span) } else { Folded::of(part, span) }).ok()
    };
    let folding = Folding { span, identity: format!("{name} {total}").into(), fold: &steps };
    let stop = Stop::at(std::time::Instant::now() + std::time::Duration::from_secs(60));
    let mixed = held.read_folding(subject, (&selection, span.grain()), Some(&folding), &stop);
    let kept = mixed.fold(&span, |part| steps(part, &span).ok_or(())).unwrap();
    let part = held.read(subject, &selection, span.grain(), &stop);
    let missing = part.first_missing(span.from, span.to);
    (mixed, kept, by_way(&part, &span).unwrap(), missing)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    /// The first answer, the second one, and those after late corrections.
    #[test]
    fn what_is_kept_is_what_is_read(
        holes in prop::collection::vec((0u32..600, 0u32..40), 16),
        gap in 0usize..20,
        corrected in prop::collection::vec(0usize..16, 1..3),
        steps in prop::collection::vec(prop_oneof![
            prop::sample::select(vec![1u32, 5, 10, 15, 60, 120, 300, 600, 1_200, 3_600]), 1u32..700
        ], 2),
        from in 0u32..4_500,
        length in 1u32..4_800,
        single: bool,
        total: bool,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let (disk, _) = Disk::open(folder.path(), &[]).unwrap();
        let subject = if single { Subject::parse("node/n1").unwrap() } else { Subject::Cluster };
        let windows: Vec<Block> = holes
            .iter()
            .zip(0..)
            .filter(|(_, at)| *at != gap)
            .map(|((from, length), at)| block(&subject, T0 + at as u32 * 300, &(*from..from + length), 1))
            .collect();
        for one in &windows {
            write(&disk, Tier::Second, one.start()..one.start() + 300, std::slice::from_ref(one));
        }
        let first_hour: Vec<Block> = windows.iter().filter(|one| one.start() < T0 + 3_600).cloned().collect();
        for tier in [Tier::TenSeconds, Tier::Minute, Tier::Hour] {
            write(&disk, tier, T0..T0 + 3_600, &[roll_up(&first_hour, tier, T0).unwrap()]);
        }
        let metrics = Metrics::of_a_test();
        let held = Held::new(vec![Box::new(Stored::new(disk.clone(), metrics))], None);
        for correction in 0..=corrected.len() {
            for step in &steps {
                let span = Span { from: T0 + from, to: T0 + from + length, step: *step };
                for name in if total { ["traffic.requests", "traffic.duration"] } else { ["", "traffic.duration"] } {
                    for _ in 0..2 {
                        let (mixed, kept, read, missing) = ask(&held, &subject, (name, total), span);
                        prop_assert_eq!(&kept, &read, "{:?}, {} pieces", span, mixed.pieces.len());
                        prop_assert_eq!(mixed.first_missing(span.from, span.to), missing);
                    }
                }
            }
            if let Some(at) = corrected.get(correction) {
                let start = T0 + *at as u32 * 300;
                write(&disk, Tier::Second, start..start + 300, &[block(&subject, start, &(0..0), 2 + correction as u64)]);
            }
        }
    }
}

#[test]
fn whole_windows_are_read_from_the_disk_once() {
    let folder = tempfile::tempdir().unwrap();
    let (disk, _) = Disk::open(folder.path(), &[]).unwrap();
    let metrics = Metrics::of_a_test();
    for at in 0..4 {
        // Of the second window a second is missing.
        let one = block(&Subject::Cluster, T0 + at * 300, &(0..u32::from(at == 1)), 1);
        write(&disk, Tier::Second, one.start()..one.start() + 300, &[one]);
    }
    let held = Held::new(vec![Box::new(Stored::new(disk, metrics.clone()))], None);
    let span = Span { from: T0 + 7, to: T0 + 1_199, step: 15 };
    let lookups = |outcome| metrics.history_kept_steps_lookups.of(outcome).get();
    for round in 1..=3 {
        let (mixed, kept, read, _) = ask(&held, &Subject::Cluster, ("traffic.duration", true), span);
        assert_eq!(kept, read);
        let pieces: Vec<u32> = mixed.pieces.iter().map(|piece| piece.start - T0).collect();
        assert_eq!(pieces, [600, 900], "the first one is not asked for whole");
        assert_eq!((lookups("made"), lookups("found")), (3, 3 * (round - 1)), "that one is not whole is kept too");
    }
}
