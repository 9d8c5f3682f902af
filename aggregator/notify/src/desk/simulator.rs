//! Three desks, receivers that fail, records that come late or not at all, evaluators that stop and come back: what must hold
//! of every schedule. Mistakes that are planted on purpose are found by the same checks.

use std::collections::{BTreeMap, VecDeque};

use proptest::{prelude::*, strategy::ValueTree as _};
use starling_proto::v1::AlertSeverity;

use super::*;
use crate::{
    config::Config,
    samples::{alert, cleared},
};

/// Mistakes that the checks must find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Planted {
    /// An end is said without its beginning.
    ClearedAlone,
    /// What others said is not heard.
    DeafToRecords,
    /// Who slept speaks at once.
    NoGuard,
}

const T0: u32 = 1_800_000_000;
const EPISODES: u64 = 6;
const SECONDS: u32 = 120;
/// Tenths of a second before who slept hears of what happened.
const SLEEPY: u64 = 15;

/// A schedule of faults.
#[derive(Debug, Clone)]
struct Schedule {
    /// First second and length of each episode.
    episodes: Vec<(u32, u32)>,
    /// Seconds in which the receiver fails.
    failing: Vec<(u32, u32)>,
    /// Answers take so many tenths of a second.
    delay: u64,
    /// Desk, first second, length: it is stopped.
    asleep: Vec<(usize, u32, u32)>,
    /// Records take so many tenths of a second.
    record_delay: u64,
}

impl Schedule {
    fn is_faultless(&self) -> bool {
        self.failing.is_empty() && self.asleep.is_empty() && self.delay < 15
    }
}

fn schedules() -> impl Strategy<Value = Schedule> {
    let span = |most: u32| (0..80_u32, 1..most);
    (
        prop::collection::vec(span(40), EPISODES as usize),
        prop::collection::vec(span(40), 0..3),
        0..30_u64,
        prop::collection::vec((0..3_usize, 0..80_u32, 5..40_u32), 0..3),
        1..12_u64,
    )
        .prop_map(|(episodes, failing, delay, asleep, record_delay)| Schedule {
            episodes,
            failing,
            delay,
            asleep,
            record_delay,
        })
}

/// What the receiver took: episode, as open, sequence.
type Taken = Vec<(u64, bool, u32)>;

fn play(schedule: &Schedule, planted: Option<Planted>) -> Taken {
    play_counting(schedule, planted).0
}

/// What the receiver took, and in which seconds it was tried.
fn play_counting(schedule: &Schedule, planted: Option<Planted>) -> (Taken, Vec<u32>) {
    let config =
        Config::read("n", "[notifier.a]\nurl = \"http://a.example.org\"\n[[route]]\nnotifiers = [\"a\"]").unwrap();
    let plan = Arc::new(Plan::new(&config));
    let start = u64::from(T0) * 1_000;
    let mut desks: Vec<Desk> = (0..3).map(|_| Desk::new(plan.clone(), start)).collect();
    for desk in &mut desks {
        desk.planted = planted;
        desk.judged(T0);
    }
    let (mut taken, mut tried) = (Taken::new(), Vec::new());
    // When, at which desk, which message, with which outcome.
    let mut answers: Vec<(u64, usize, u64, Outcome)> = Vec::new();
    let mut records: Vec<VecDeque<(u64, AlertDelivery)>> = vec![VecDeque::new(); 3];
    let within = |(from, length): (u32, u32), second: u32| (from..from + length).contains(&second);
    let asleep = |k: usize, second: u32| {
        schedule.asleep.iter().any(|(which, from, length)| *which == k && within((*from, *length), second))
    };
    let mut woke = [0_u64; 3];
    for tenth in 0..u64::from(SECONDS) * 10 + 600 {
        let (second, now) = ((tenth / 10) as u32, start + tenth * 100);
        // Who sleeps is missed after 3 s, and has its place again 8 s after it woke.
        let missed = |k: &usize| {
            let since = |back: u32| second.checked_sub(back).is_some_and(|then| asleep(*k, then));
            (0..=3).all(|back| asleep(*k, second.saturating_sub(back))) || (1..=8).any(since) && !asleep(*k, second)
        };
        let ranked: Vec<usize> = (0..3).filter(|k| !missed(k)).collect();
        for k in 0..3 {
            if asleep(k, second) {
                woke[k] = tenth + 1 + SLEEPY;
                continue;
            }
            // For a moment it knows nothing of what happened meanwhile.
            let sleepy = tenth < woke[k];
            let desk = &mut desks[k];
            // What it heard from others comes first; a record that came while it slept has waited.
            while !sleepy && records[k].front().is_some_and(|(due, _)| *due <= now) {
                let (_, record) = records[k].pop_front().unwrap();
                desk.delivery(&record);
            }
            if tenth % 10 == 0 && !sleepy {
                desk.judged(T0 + second);
                for (id, (from, length)) in schedule.episodes.iter().enumerate() {
                    let one = alert(id as u64 + 1, "n", AlertSeverity::Error, T0 + from);
                    if second >= from + length {
                        desk.changed(cleared(one, T0 + from + length), &BTreeMap::new());
                    } else if second >= *from {
                        desk.changed(one, &BTreeMap::new());
                    }
                }
                desk.rank(ranked.iter().position(|other| *other == k).map(|rank| rank as u32));
            }
            let due: Vec<usize> =
                (0..answers.len()).rev().filter(|at| answers[*at].1 == k && answers[*at].0 <= now).collect();
            for at in due {
                let (_, _, id, outcome) = answers.remove(at);
                desk.outcome(id, outcome, now, 0.5);
            }
            for action in desk.poll(now) {
                match action {
                    Action::Send(message) => {
                        tried.push(second);
                        let fails = schedule.failing.iter().any(|span| within(*span, second));
                        let outcome = if fails {
                            Outcome::Retry { what: "500".to_owned(), after: None, slower: false }
                        } else {
                            taken.extend(message.items.iter().map(|item| (item.id.0, item.firing, item.sequence)));
                            Outcome::Accepted
                        };
                        answers.push((now + schedule.delay * 100, k, message.id, outcome));
                    }
                    Action::Record(record) => {
                        for (_, others) in records.iter_mut().enumerate().filter(|(other, _)| *other != k) {
                            others.push_back((now + schedule.record_delay * 100, record.clone()));
                        }
                    }
                }
            }
        }
    }
    (taken, tried)
}

/// W2, A61 and A62 of the scenarios, of what a receiver took. It may hear an episode from its beginning `again` so often after it
/// heard its end.
fn check(schedule: &Schedule, taken: &Taken, again: usize) -> Result<(), String> {
    for id in 1..=EPISODES {
        let of: Vec<(bool, u32)> = taken.iter().filter(|one| one.0 == id).map(|one| (one.1, one.2)).collect();
        let fail = |what: &str| Err(format!("episode {id}: {what}: {of:?}"));
        if of.is_empty() {
            return fail("nobody was told of it");
        }
        if !of[0].0 {
            return fail("its end came without its beginning");
        }
        if of.last().is_some_and(|last| last.0) {
            return fail("the last word is that it is open");
        }
        if of.windows(2).filter(|pair| pair[0].1 > pair[1].1).count() > again {
            return fail("it began again after its end");
        }
        if schedule.is_faultless() && of.len() != 2 {
            return fail("without faults each comes once");
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn a_receiver_hears_each_beginning_and_then_its_end(schedule in schedules()) {
        let taken = play(&schedule, None);
        // Who takes over from one that slept, at a receiver that fails or is slow, may say it once more from the beginning: by
        // the same key, and with its end behind it.
        let again = usize::from(!schedule.asleep.is_empty());
        prop_assert_eq!(check(&schedule, &taken, again), Ok(()), "{:?}", schedule);
    }
}

/// Schedules that are the same each time.
fn some(count: usize) -> Vec<Schedule> {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    (0..count).map(|_| schedules().new_tree(&mut runner).unwrap().current()).collect()
}

#[test]
fn planted_mistakes_are_found() {
    let sound = |schedule: &Schedule| check(schedule, &play(schedule, None), 0).is_ok();
    let all: Vec<Schedule> = some(150).into_iter().filter(sound).collect();
    assert!(all.len() > 140, "{} of 150 are without a beginning after an end", all.len());
    for planted in [Planted::ClearedAlone, Planted::DeafToRecords, Planted::NoGuard] {
        let found = all.iter().filter(|schedule| check(schedule, &play(schedule, Some(planted)), 0).is_err()).count();
        assert!(found > 0, "{planted:?} was not found");
        eprintln!("{planted:?}: found by {found} of {}", all.len());
    }
}

#[test]
fn without_faults_each_transition_is_told_once() {
    let mut transitions = 0;
    for schedule in some(250) {
        let calm = Schedule { failing: Vec::new(), asleep: Vec::new(), delay: schedule.delay % 15, ..schedule };
        let taken = play(&calm, None);
        assert_eq!(check(&calm, &taken, 0), Ok(()), "{calm:?}");
        transitions += taken.len();
    }
    assert_eq!(transitions, 250 * 2 * EPISODES as usize);
}

/// A07: while a receiver fails for a minute one of three tries, at most twelve times, and it takes one message once it is well.
#[test]
fn a_receiver_that_fails_for_a_minute_is_tried_by_one_and_gets_one_message() {
    for (record_delay, delay) in [(1, 0), (5, 3), (11, 20)] {
        let schedule =
            Schedule { episodes: vec![(5, 200)], failing: vec![(0, 60)], delay, asleep: Vec::new(), record_delay };
        let (taken, tried) = play_counting(&schedule, None);
        assert_eq!(taken.len(), 1, "{taken:?}");
        let (failed, last): (Vec<u32>, Vec<u32>) = tried.iter().partition(|second| **second < 60);
        assert!(failed.len() <= 12 && last.len() == 1 && last[0] <= 70, "{tried:?}");
    }
}
