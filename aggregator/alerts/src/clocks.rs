//! How far the clocks of the aggregators are apart, and whose is wrong: of three or more whoever is far from the one in the
//! middle; of two nobody can say.

use std::{collections::BTreeMap, fmt::Write as _};

/// A measurement holds for so long, in milliseconds.
const HOLDS_MS: u64 = 10_000;
/// A round trip that took longer says nothing, in milliseconds.
const ROUND_TRIP_MAX_MS: u64 = 1_000;
/// Beyond this an aggregator takes its nodes for silent, or for ahead: it judges nothing, in milliseconds.
pub const OFF_MAX_MS: u64 = 5_000;
/// Aggregators that are named.
const NAMES_MAX: usize = 5;

/// One measurement.
#[derive(Debug, Clone, Copy)]
struct Offset {
    /// How far it is ahead of ours, in milliseconds.
    ahead_ms: i64,
    /// It may be so much less, or more.
    within_ms: u64,
    /// When it was measured, by any clock that never goes back.
    at_ms: u64,
}

/// The clocks of others, as they are measured from here.
#[derive(Debug, Default)]
pub struct Clocks {
    others: BTreeMap<String, Offset>,
}

/// What is known of all of them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Skew {
    /// By how many seconds the worst is off, at least.
    pub seconds: f64,
    /// Who is off and by how much, worst first; empty when nobody is.
    pub text: String,
    /// Those that are off by more than [`OFF_MAX_MS`].
    pub off: Vec<String>,
}

impl Clocks {
    /// Another aggregator showed `theirs_ms` (Unix milliseconds) in an answer that came when our clock showed `ours_ms`, a
    /// round trip after it was asked. `now_ms` is of a clock that never goes back.
    pub fn measured(&mut self, name: &str, (theirs_ms, ours_ms): (u64, u64), round_trip_ms: u64, now_ms: u64) {
        if theirs_ms == 0 || round_trip_ms > ROUND_TRIP_MAX_MS {
            return;
        }
        let signed = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
        let within_ms = round_trip_ms.div_ceil(2);
        let ahead_ms = signed(theirs_ms).saturating_sub(signed(ours_ms).saturating_sub(signed(within_ms)));
        self.others.insert(name.to_owned(), Offset { ahead_ms, within_ms, at_ms: now_ms });
    }

    /// Who is off at `now_ms`; `me` is the name of this aggregator.
    pub fn skew(&mut self, me: &str, now_ms: u64) -> Skew {
        self.others.retain(|_, one| one.at_ms.saturating_add(HOLDS_MS) > now_ms);
        let mut all: Vec<(&str, i64, u64)> =
            self.others.iter().map(|(name, one)| (name.as_str(), one.ahead_ms, one.within_ms)).collect();
        all.push((me, 0, 0));
        all.sort_by_key(|(_, ahead, _)| *ahead);
        if let [(behind, low, a), (ahead, high, b)] = all.as_slice() {
            let apart = (high - low).unsigned_abs().saturating_sub(a + b);
            let text = format!("{ahead} is {} s ahead of {behind}: one of the two is wrong", seconds(high - low));
            return if apart > 0 { Skew { seconds: of_ms(apart), text, off: Vec::new() } } else { Skew::default() };
        }
        let (_, middle, of_middle) = all[(all.len() - 1) / 2];
        let off = |(name, ahead, within): (&str, i64, u64)| {
            let apart = (ahead - middle).unsigned_abs().saturating_sub(within + of_middle);
            (apart > 0).then(|| (apart, ahead - middle, name.to_owned()))
        };
        let mut off: Vec<(u64, i64, String)> = all.into_iter().filter_map(off).collect();
        off.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.2.cmp(&b.2)));
        let worst = off.first().map_or(0, |one| one.0);
        let mut text = String::new();
        // One that is off by a moment beside one that is off by minutes is none of it.
        let named = off.iter().filter(|one| one.0 * 10 >= worst).take(NAMES_MAX);
        for (at, (_, ahead, name)) in named.enumerate() {
            let _ = write!(text, "{}{name} {} s", if at == 0 { "" } else { ", " }, seconds_signed(*ahead));
        }
        let off = off.into_iter().filter(|one| one.0 > OFF_MAX_MS).map(|one| one.2).collect();
        Skew { seconds: of_ms(worst), text, off }
    }
}

fn of_ms(ms: u64) -> f64 {
    ms as f64 / 1_000.0
}

/// With one digit below ten seconds.
fn seconds(ms: i64) -> String {
    let seconds = ms as f64 / 1_000.0;
    if ms.unsigned_abs() < 10_000 { format!("{seconds:.1}") } else { format!("{seconds:.0}") }
}

fn seconds_signed(ms: i64) -> String {
    if ms > 0 { format!("+{}", seconds(ms)) } else { seconds(ms) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000_000;

    /// Clocks as they are seen from one that is off by `me_ms`.
    fn seen(me_ms: i64, others: &[(&str, i64)]) -> Clocks {
        let mut clocks = Clocks::default();
        for (name, ms) in others {
            let show = |off: i64| NOW.saturating_add_signed(off);
            clocks.measured(name, (show(*ms), show(me_ms) + 10), 20, 0);
        }
        clocks
    }

    #[test]
    fn of_three_the_wrong_ones_are_named_whoever_looks() {
        // A55: 90 s behind, right, 120 s ahead.
        let all = [("agg-1", -90_000), ("agg-2", 0), ("agg-3", 120_000)];
        for (me, ms) in all {
            let others: Vec<_> = all.into_iter().filter(|one| one.0 != me).collect();
            let skew = seen(ms, &others).skew(me, 5_000);
            assert_eq!((skew.text.as_str(), skew.off.len()), ("agg-3 +120 s, agg-1 -90 s", 2), "by {me}");
            assert!((skew.seconds - 120.0).abs() < 0.1);
        }
    }

    #[test]
    fn one_that_is_wrong_names_itself() {
        let skew = seen(120_000, &[("agg-1", 0), ("agg-2", 30)]).skew("agg-3", 0);
        assert_eq!((skew.text.as_str(), skew.off), ("agg-3 +120 s", vec!["agg-3".to_owned()]));
        let right = seen(0, &[("agg-1", 5), ("agg-2", -5)]).skew("agg-3", 0);
        assert_eq!(right, Skew::default(), "within a round trip");
    }

    #[test]
    fn of_two_nobody_can_say_who_is_wrong() {
        let skew = seen(0, &[("agg-2", 4_200)]).skew("agg-1", 0);
        assert_eq!(skew.text, "agg-2 is 4.2 s ahead of agg-1: one of the two is wrong");
        assert!(skew.off.is_empty() && skew.seconds > 4.0);
        assert_eq!(Clocks::default().skew("agg-1", 0), Skew::default(), "alone");
    }

    #[test]
    fn what_is_old_or_slow_says_nothing() {
        let mut clocks = seen(0, &[("agg-2", 60_000), ("agg-3", 0)]);
        assert!(!clocks.skew("agg-1", HOLDS_MS - 1).text.is_empty());
        assert_eq!(clocks.skew("agg-1", HOLDS_MS), Skew::default());
        clocks.measured("agg-2", (NOW + 60_000, NOW), ROUND_TRIP_MAX_MS + 1, HOLDS_MS);
        clocks.measured("agg-3", (0, NOW), 1, HOLDS_MS);
        assert_eq!(clocks.skew("agg-1", HOLDS_MS), Skew::default());
    }
}
