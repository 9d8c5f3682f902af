use proptest::{prelude::*, strategy::ValueTree as _};

use super::{
    Cause, Fault, Plant, STEP, Said, Schedule, Span,
    cluster::{Cluster, PHASES, Taken},
};

fn play(schedule: &Schedule, plant: Option<Plant>) -> Result<Vec<Taken>, String> {
    Cluster::new(schedule, plant).play()
}

const CAUSES: [Cause; 9] = [
    Cause::Busy(0),
    Cause::Slow(0),
    Cause::Errors,
    Cause::Load,
    Cause::Zone(0),
    Cause::Busy(1),
    Cause::Slow(2),
    Cause::Zone(1),
    Cause::Gone(3),
];

/// Each cause once or twice, and nothing bad at the end.
fn bad() -> impl Strategy<Value = Vec<(Cause, Span)>> {
    let span = || (10..40_u32, 15..40_u32).prop_map(|(from, length)| Span::of(from, length));
    prop::collection::vec(span(), CAUSES.len()).prop_map(|spans| CAUSES.into_iter().zip(spans).collect())
}

fn faults(members: usize) -> impl Strategy<Value = Vec<Fault>> {
    let who = 0..members;
    let kill = (who.clone(), 60..600_u64, 0..PHASES, 5..30_u32).prop_map(|(who, at, phase, back)| Fault::Kill {
        who,
        at: at * STEP,
        phase,
        back: Some(back),
    });
    let sleep =
        (who, 8..50_u32, 2..25_u32).prop_map(|(who, from, length)| Fault::Sleep { who, span: Span::of(from, length) });
    let mask: u8 = (1 << members) - 1;
    let cut = (1..mask, 0..16_u8, 8..40_u32, 3..30_u32).prop_map(|(members, nodes, from, length)| Fault::Cut {
        members,
        nodes,
        span: Span::of(from, length),
    });
    let moved = (0..4_usize, 8..70_u32).prop_map(|(node, at)| Fault::Move { node, at });
    prop::collection::vec(prop_oneof![kill, sleep, cut, moved], 1..3)
}

fn said(members: usize) -> impl Strategy<Value = Vec<Said>> {
    let acknowledge = (15..60_u32, 0..members, 0..CAUSES.len()).prop_map(|(at, who, cause)| Said::Acknowledge {
        at,
        who,
        cause: CAUSES[cause],
    });
    let back = prop::option::of((3..20_u32, 0..members));
    let silence =
        (10..50_u32, 5..40_u32, 0..members, 0..CAUSES.len(), back).prop_map(|(from, length, who, cause, back)| {
            let back = back.map(|(after, who)| (from + after, who));
            Said::Silence { span: Span::of(from, length), who, cause: CAUSES[cause], back }
        });
    let outdated =
        (8..40_u32, 0..members, 5..30_u32).prop_map(|(at, who, kept)| Said::Outdated { at, who, until: at + kept });
    prop::collection::vec(prop_oneof![acknowledge, silence, outdated], 0..4)
}

fn schedules() -> impl Strategy<Value = Schedule> {
    (3..=5_usize).prop_flat_map(|members| {
        let failing = prop::collection::vec((10..60_u32, 1..15_u32), 0..2);
        (
            bad(),
            faults(members),
            said(members),
            failing,
            20..150_u64,
            prop_oneof![2 => Just(0_u64), 1 => 1..20_u64],
            1..u64::MAX,
        )
            .prop_map(move |(bad, faults, said, failing, delay, loss, seed)| Schedule {
                bad,
                faults,
                said,
                failing: failing.into_iter().map(|(from, length)| Span::of(from, length)).collect(),
                delay,
                loss,
                seed,
                ..Schedule::calm(members, 150)
            })
    })
}

/// Of one partition and nothing else.
fn partitions() -> impl Strategy<Value = Schedule> {
    (3..=5_usize).prop_flat_map(|members| {
        let mask: u8 = (1 << members) - 1;
        let cut = (1..mask, 0..16_u8, 8..20_u32, 30..60_u32).prop_map(|(members, nodes, from, length)| Fault::Cut {
            members,
            nodes,
            span: Span::of(from, length),
        });
        let span = (10..50_u32, 15..40_u32).prop_map(|(from, length)| Span::of(from, length));
        (prop::collection::vec(span, CAUSES.len()), cut, 20..200_u64, 1..u64::MAX).prop_map(
            move |(spans, cut, delay, seed)| Schedule {
                bad: CAUSES.into_iter().zip(spans).collect(),
                faults: vec![cut],
                delay,
                seed,
                ..Schedule::calm(members, 150)
            },
        )
    })
}

/// Schedules that are the same each time.
fn some(of: &impl Strategy<Value = Schedule>, count: usize) -> Vec<Schedule> {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    (0..count).map(|_| of.new_tree(&mut runner).unwrap().current()).collect()
}

/// An episode of each kind.
fn episodes() -> Vec<(Cause, Span)> {
    vec![
        (Cause::Errors, Span::of(12, 9)),
        (Cause::Load, Span::of(10, 14)),
        (Cause::Busy(0), Span::of(13, 8)),
        (Cause::Busy(1), Span::of(15, 7)),
        (Cause::Slow(0), Span::of(9, 12)),
        (Cause::Zone(0), Span::of(14, 10)),
    ]
}

/// Ends an aggregator at each of 201 steps, at one of the parts of a step in turn.
fn killed_at_every_step(who: usize, phase: u8) {
    for step in 0..=200_u64 {
        let at = 8_000 + step * STEP;
        let phase = ((step + step / 10 + u64::from(phase)) % u64::from(PHASES)) as u8;
        let kill = Fault::Kill { who, at, phase, back: None };
        let schedule = Schedule { bad: episodes(), faults: vec![kill], seed: step + 1, ..Schedule::calm(3, 60) };
        if let Err(what) = play(&schedule, None) {
            panic!("killed at {at} ms before part {phase}: {what}");
        }
    }
}

// Each of three aggregators: each judges other nodes, one of them what is merged, and one speaks.
#[test]
fn the_first_aggregator_is_killed_at_every_step() {
    killed_at_every_step(0, 0);
}

#[test]
fn the_second_aggregator_is_killed_at_every_step() {
    killed_at_every_step(1, 1);
}

#[test]
fn the_third_aggregator_is_killed_at_every_step() {
    killed_at_every_step(2, 2);
}

#[test]
fn without_faults_each_of_ten_thousand_transitions_is_told_once() {
    let mut told = 0;
    for seed in 1..=97 {
        let of_node = |node: usize| [Cause::Busy(node), Cause::Slow(node)];
        let causes = (0..24).flat_map(of_node).chain([Cause::Errors, Cause::Load, Cause::Zone(0), Cause::Zone(1)]);
        let spans = causes.zip(seed..).map(|(cause, n)| (cause, Span::of(10 + n * 7 % 40, 8 + n * 5 % 13)));
        let schedule = Schedule { nodes: 24, bad: spans.collect(), seed: seed.into(), ..Schedule::calm(3, 90) };
        told += play(&schedule, None).unwrap_or_else(|what| panic!("{what}")).len();
    }
    assert!(told >= 10_000, "{told}");
}

/// All end at once, and start again from what they saved; some causes go meanwhile.
fn all_start_again() -> Schedule {
    let kill = |who| Fault::Kill { who, at: 25_000, phase: 0, back: Some(15) };
    let bad = vec![
        (Cause::Errors, Span::of(12, 60)),
        (Cause::Load, Span::of(10, 24)),
        (Cause::Zone(0), Span::of(11, 50)),
        (Cause::Busy(0), Span::of(13, 20)),
        (Cause::Slow(1), Span::of(9, 60)),
    ];
    Schedule { bad, faults: (0..3).map(kill).collect(), ..Schedule::calm(3, 120) }
}

#[test]
fn what_was_told_before_all_start_again_is_not_told_again_and_what_ended_meanwhile_is() {
    // Scenario A02.
    let told = play(&all_start_again(), None).unwrap_or_else(|what| panic!("{what}"));
    assert_eq!(told.len(), 2 * all_start_again().bad.len(), "{told:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn whatever_befalls_a_cluster(schedule in schedules()) {
        prop_assert_eq!(play(&schedule, None).err(), None, "{:?}", schedule);
    }

    #[test]
    fn each_side_of_a_partition_tells_once(schedule in partitions()) {
        prop_assert_eq!(play(&schedule, None).err(), None, "{:?}", schedule);
    }
}

#[test]
fn planted_mistakes_are_found() {
    let (mixed, cuts) = (some(&schedules(), 30), some(&partitions(), 15));
    // In the step in which a second is judged, before what was judged and told is given to others.
    let kills = (0..20_u64).flat_map(|second| (0..3).map(move |who| (second, who))).map(|(second, who)| {
        let kill = Fault::Kill { who, at: 8_000 + second * 1_000, phase: PHASES - 1, back: None };
        Schedule { bad: episodes(), faults: vec![kill], ..Schedule::calm(3, 60) }
    });
    let all: Vec<Schedule> = [all_start_again()].into_iter().chain(kills).chain(cuts).chain(mixed).collect();
    for plant in Plant::ALL {
        let finds = |schedule: &Schedule| play(schedule, Some(plant)).is_err() && play(schedule, None).is_ok();
        assert!(all.iter().any(finds), "{plant:?} was not found");
    }
}
