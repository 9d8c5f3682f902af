//! Which steps of which tier are asked of an engine. Pure.

use starling_history::Tier;

/// Steps of one series in one answer: the limit of Prometheus.
const STEPS_MAX: u32 = 11_000;

/// Steps of one tier, one after another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    /// Their length.
    pub(super) tier: Tier,
    /// First second of the first.
    pub(super) from: u32,
    /// First second after the last.
    pub(super) end: u32,
}

/// The steps that hold `from..end` of an engine that has a sample every `interval` seconds, ascending: in steps of `grain`
/// seconds, a tier's, and at the ends of the range in shorter ones, so that none reaches over the end and each second is in
/// one. None is shorter than the interval: what is left over at the ends is left out.
pub(super) fn windows((from, end): (u32, u32), grain: u32, interval: u32) -> Vec<Window> {
    let mut all = Vec::new();
    let fits = |tier: &&Tier| tier.seconds() >= grain.max(interval).min(3_600);
    let seconds = end.saturating_sub(from);
    let few = |tier: &&Tier| seconds / tier.seconds() < STEPS_MAX;
    let Some(at) = Tier::ALL.iter().position(|tier| fits(&tier) && few(&tier)) else { return all };
    // The question itself takes steps of its grain that begin before the range.
    let from = if Tier::ALL[at].seconds() <= grain { Tier::ALL[at].step_of(from) } else { from };
    add(&mut all, (from, end), at, interval);
    all
}

fn add(all: &mut Vec<Window>, (from, end): (u32, u32), at: usize, interval: u32) {
    let tier = Tier::ALL[at];
    if from >= end || tier.seconds() < interval.min(3_600) {
        return;
    }
    let (first, last) = (tier.step_of(from.saturating_add(tier.seconds() - 1)), tier.step_of(end));
    let finer = |all: &mut Vec<Window>, range| {
        if at > 0 {
            add(all, range, at - 1, interval);
        }
    };
    if first >= last {
        return finer(all, (from, end));
    }
    finer(all, (from, first));
    all.push(Window { tier, from: first, end: last });
    finer(all, (last, end));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(range: (u32, u32), grain: u32, interval: u32) -> Vec<(&'static str, u32, u32)> {
        windows(range, grain, interval).iter().map(|one| (one.tier.name(), one.from, one.end)).collect()
    }

    #[test]
    fn the_seam_is_met_to_the_second() {
        assert_eq!(shown((7_200, 14_400), 3_600, 1), [("1h", 7_200, 14_400)]);
        assert_eq!(
            shown((7_200, 14_475), 3_600, 1),
            [("1h", 7_200, 14_400), ("1m", 14_400, 14_460), ("10s", 14_460, 14_470), ("1s", 14_470, 14_475)]
        );
        assert_eq!(shown((7_203, 7_300), 10, 1), [("10s", 7_200, 7_300)], "the question begins there too");
        // With a sample every 15 s steps are minutes.
        assert_eq!(shown((7_203, 7_330), 1, 15), [("1m", 7_260, 7_320)]);
        assert_eq!(shown((7_203, 7_210), 1, 15), []);
        // A week by the second would be too much.
        assert_eq!(shown((0, 604_800), 1, 1), [("1m", 0, 604_800)]);
        assert_eq!(shown((100, 100), 1, 1), []);
    }

    proptest! {
        #[test]
        fn every_second_is_in_one_step(from in 0u32..200_000, seconds in 1u32..2_000_000, grain in prop::sample::select(&[1u32, 10, 60, 3_600][..])) {
            let end = from + seconds;
            let all = windows((from, end), grain, 1);
            prop_assert!(all[0].from <= from && from - all[0].from < grain);
            prop_assert_eq!(all.last().map(|last| last.end), Some(end));
            prop_assert!(all.windows(2).all(|pair| pair[0].end == pair[1].from));
            for one in all {
                prop_assert!(one.from.is_multiple_of(one.tier.seconds()) && one.end.is_multiple_of(one.tier.seconds()));
                prop_assert!((one.end - one.from) / one.tier.seconds() <= STEPS_MAX);
            }
        }
    }
}
