use proptest::prelude::*;

use super::*;
use crate::{EpisodeId, Rules, Severity};

const SUBJECT: Subject = Subject::Cluster;

fn rule(rest: &str) -> std::sync::Arc<Rule> {
    let text = format!(
        "[[rule]]\nname = \"r\"\nscope = \"cluster\"\nexpression = \"system.cpu.busy\"\nsummary = \"is busy\"\n{rest}"
    );
    Rules::read(&[("test", &text)]).unwrap_or_else(|mistakes| panic!("{mistakes:?}")).all()[0].clone()
}

/// The episodes as they were after each second that changed their transitions.
fn run(rule: &Rule, values: impl IntoIterator<Item = Option<f64>>) -> Vec<Episode> {
    let (mut last, mut seen): (Option<Episode>, Vec<Episode>) = (None, Vec::new());
    for (tick, value) in (1_000..).zip(values) {
        let next = step(rule, (&SUBJECT, &[]), last.as_ref(), Judged { tick, value, coverage: (3, 3) });
        let key = |episode: &Episode| (episode.id, episode.sequence);
        if let Some(next) = &next
            && last.as_ref().map(key) != Some(key(next))
        {
            seen.push(next.clone());
        }
        last = next;
    }
    seen
}

fn states(seen: &[Episode]) -> Vec<(u32, State)> {
    seen.iter().map(|one| (one.judged, one.state)).collect()
}

fn repeat(value: f64, times: usize) -> impl Iterator<Item = Option<f64>> {
    std::iter::repeat_n(Some(value), times)
}

#[test]
fn it_fires_after_for_and_is_over_after_hold() {
    // Scenarios A01 and A46.
    let rule = rule("above = \"90%\"\nclear = \"80%\"\nseverity = \"error\"\nfor = \"60s\"\nhold = \"10s\"");
    let seen = run(&rule, repeat(0.97, 70).chain(repeat(0.85, 5)).chain(repeat(0.12, 20)));
    assert_eq!(states(&seen), [(1_000, State::Pending), (1_060, State::Firing), (1_085, State::Cleared)]);
    let last = &seen[2];
    assert_eq!((last.since, last.fired, last.value, last.worst), (1_000, Some(1_060), 0.12, 0.97));
    assert_eq!((last.limit, last.ended), ((0.9, 0.8), Some((1_085, Outcome::Recovered))));
    assert!(seen.iter().all(|one| one.id == last.id), "one name from beginning to end");
}

#[test]
fn what_ends_before_it_fires_is_not_heard_of() {
    // Scenario A19.
    let rule = rule("above = \"90%\"\nseverity = \"error\"\nfor = \"60s\"");
    let seen = run(&rule, repeat(0.97, 59).chain(repeat(0.1, 5)));
    assert_eq!(states(&seen), [(1_000, State::Pending), (1_059, State::Cleared)]);
    assert!(!seen[1].has_fired() && seen[1].ended == Some((1_059, Outcome::Passed)));
}

#[test]
fn silence_is_no_recovery() {
    // Scenario A04.
    let rule = rule("above = \"90%\"\nseverity = \"error\"");
    let silent = || std::iter::repeat_n(None, 90);
    let seen = run(&rule, repeat(0.98, 5).chain(silent()).chain(repeat(0.98, 5)).chain(repeat(0.1, 2)));
    assert_eq!(states(&seen), [(1_000, State::Firing), (1_100, State::Cleared)]);
    let pending = self::rule("above = \"90%\"\nseverity = \"error\"\nfor = \"60s\"");
    let seen = run(&pending, repeat(0.98, 5).chain(silent()));
    assert_eq!(seen.last().map(|one| one.ended), Some(Some((1_036, Outcome::Passed))));
    let short = repeat(0.98, 5).chain(std::iter::repeat_n(None, 20)).chain(repeat(0.98, 60));
    assert_eq!(states(&run(&pending, short)), [(1_000, State::Pending), (1_060, State::Firing)]);
}

#[test]
fn a_level_rises_at_once_and_falls_after_hold() {
    // Scenario A58.
    let levels = "above = { warning = 70, error = 85, critical = 95 }\nhold = \"10s\"\nunit = \"number\"";
    let rule = rule(levels);
    let values = [60.0, 75.0, 97.0, 88.0, 75.0, 97.0, 60.0];
    let seen = run(&rule, values.into_iter().flat_map(|value| repeat(value, 60)));
    let severities: Vec<_> = seen.iter().map(|one| (one.judged, one.severity, one.state)).collect();
    use Severity::{Critical, Error, Warning};
    use State::{Cleared, Firing};
    let wanted = [
        (1_060, Warning, Firing),
        (1_120, Critical, Firing),
        (1_190, Error, Firing),
        (1_250, Warning, Firing),
        (1_300, Critical, Firing),
        (1_370, Critical, Cleared),
    ];
    assert_eq!(severities, wanted);
    assert!(seen.iter().all(|one| one.id == seen[0].id));
}

#[test]
fn a_mad_series_is_one_episode_that_ends() {
    // Scenarios A16 and A17: each second for half an hour.
    let rule = rule("above = \"5%\"\nseverity = \"error\"");
    let toggling = (0..1_800).map(|second| Some(if second % 2 == 0 { 0.2 } else { 0.0 }));
    let seen = run(&rule, toggling.chain(repeat(0.0, 400)));
    assert_eq!(seen.len(), 6, "three times it fires, three times it ends");
    let last = seen.last().unwrap();
    assert_eq!((last.state, last.ended.map(|(end, _)| end)), (State::Cleared, Some(1_000 + 1_799 + FLAP_HOLD)));
    assert!(last.crossings > 890, "{last:?}");
    // It ends badly: the last word is firing.
    let toggling = (0..1_800).map(|second| Some(if second % 2 == 0 { 0.2 } else { 0.0 }));
    let seen = run(&rule, toggling.chain(repeat(0.2, 400)));
    assert_eq!(seen.last().unwrap().state, State::Firing);
}

#[test]
fn a_second_that_is_missing_breaks_no_recovery() {
    // A35: a node that loses a second now and then is judged as well as any other.
    let rule = rule("above = \"90%\"\nseverity = \"error\"\nhold = \"30s\"");
    let lossy = (0..100).map(|second| if second % 20 == 7 { None } else { Some(0.1) });
    let seen = run(&rule, repeat(0.97, 5).chain(lossy));
    assert_eq!(states(&seen), [(1_000, State::Firing), (1_035, State::Cleared)]);
    let hole = std::iter::repeat_n(None, 4);
    let seen = run(&rule, repeat(0.97, 5).chain(repeat(0.1, 20)).chain(hole).chain(repeat(0.1, 40)));
    assert_eq!(states(&seen), [(1_000, State::Firing), (1_059, State::Cleared)], "one of four seconds does");
}

#[test]
fn time_that_nobody_judged_is_neither_good_nor_bad() {
    // A02: everything stood still for a while.
    let judged = |tick, value| Judged { tick, value: Some(value), coverage: (3, 3) };
    let rule = rule("above = \"90%\"\nseverity = \"error\"\nfor = \"60s\"\nhold = \"30s\"");
    let pending = run(&rule, repeat(0.97, 5)).pop().unwrap();
    let next = step(&rule, (&SUBJECT, &[]), Some(&pending), judged(1_065, 0.97)).unwrap();
    assert_eq!(next.ended, Some((1_065, Outcome::Passed)), "it was not seen to be bad for a minute: {next:?}");
    let firing = run(&rule, repeat(0.97, 70)).pop().unwrap();
    let good = step(&rule, (&SUBJECT, &[]), Some(&firing), judged(1_061, 0.1)).unwrap();
    let next = step(&rule, (&SUBJECT, &[]), Some(&good), judged(1_107, 0.1)).unwrap();
    assert_eq!((next.state, next.good_since, next.unseen), (State::Firing, Some(1_107), 45));
    // What waits for hours waits on.
    let slow = self::rule("above = \"90%\"\nseverity = \"error\"\nfor = \"1h\"");
    let pending = run(&slow, repeat(0.97, 5)).pop().unwrap();
    let next = step(&slow, (&SUBJECT, &[]), Some(&pending), judged(1_065, 0.97)).unwrap();
    assert_eq!((next.state, next.since, next.unseen), (State::Pending, 1_000, 64));
}

#[test]
fn whoever_has_the_episode_goes_on() {
    let rule = rule("above = \"90%\"\nseverity = \"error\"\nfor = \"60s\"");
    // It was written down 20 s before another one goes on.
    let last = Episode { judged: 1_040, ..run(&rule, repeat(0.97, 41)).pop().unwrap() };
    let judged = Judged { tick: 1_060, value: Some(0.97), coverage: (3, 3) };
    let next = step(&rule, (&SUBJECT, &[]), Some(&last), judged).unwrap();
    assert_eq!((next.state, next.since, next.fired), (State::Firing, 1_000, Some(1_060)));
    let again = step(&rule, (&SUBJECT, &[]), Some(&next), judged).unwrap();
    assert_eq!(again, next, "a second is judged once");
}

proptest! {
    /// Scenario A16: whatever a series does, once it stays on one side the episode says so.
    #[test]
    fn the_last_word_is_the_truth(
        toggles in prop::collection::vec((1..40usize, any::<bool>()), 0..40),
        ends_bad: bool,
        hold in 0..20u32,
        pending in 0..20u32,
    ) {
        let rule = rule(&format!("above = \"5%\"\nseverity = \"error\"\nhold = \"{hold}s\"\nfor = \"{pending}s\""));
        let value = |bad: bool| if bad { 0.2 } else { 0.0 };
        let values = toggles.into_iter().flat_map(|(times, bad)| repeat(value(bad), times));
        let seen = run(&rule, values.chain(repeat(value(ends_bad), 400)));
        let last = seen.last();
        prop_assert_eq!(last.is_some_and(|one| one.state == State::Firing), ends_bad);
        prop_assert_eq!(last.is_none_or(|one| !one.is_open()), !ends_bad);
        // Nothing is over that did not begin, and nothing begins twice.
        let mut open: Option<EpisodeId> = None;
        for one in &seen {
            match one.state {
                State::Cleared => prop_assert_eq!(open.take(), Some(one.id)),
                _ => prop_assert_eq!(*open.get_or_insert(one.id), one.id),
            }
        }
    }
}

proptest! {
    #[test]
    fn seconds_that_are_alike_can_be_judged_at_once(
        spans in prop::collection::vec((1u32..400, prop_oneof![2 => (0u8..12).prop_map(Some), 1 => Just(None)]), 1..30),
        pending in 0u32..150,
        hold in 0u32..150,
    ) {
        let rule = rule(&format!(
            "above = {{ warning = 0.5, error = 0.8 }}\nclear = {{ warning = 0.3, error = 0.7 }}\nfor = \"{pending}s\"\nhold = \"{hold}s\""
        ));
        let (mut each, mut at_once): (Option<Episode>, Option<Episode>) = (None, None);
        let mut tick = 1_000;
        for (seconds, value) in spans {
            let value = value.map(|tenths| f64::from(tenths) / 10.0);
            let to = tick + seconds - 1;
            let judged = |tick| Judged { tick, value, coverage: (3, 3) };
            for tick in tick..=to {
                each = step(&rule, (&SUBJECT, &[]), each.as_ref(), judged(tick));
            }
            at_once = span(&rule, (&SUBJECT, &[]), at_once, judged(tick), to);
            prop_assert_eq!(&each, &at_once);
            tick = to + 1;
        }
    }
}
