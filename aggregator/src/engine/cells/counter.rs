//! What a counter grew by.

use std::collections::BTreeMap;

use super::{KnownSteps, Sampling, Seen, growth::Growth};

/// The cells of a counter. The first step is there for what was reached before the others.
pub(in super::super) fn counter(steps: &BTreeMap<u32, Seen>, sampling: Sampling, first: u32) -> KnownSteps {
    let mut growth = Growth::new(sampling, first);
    let has_samples = |start: u32| steps.get(&start).is_some_and(|seen| seen.samples() > 0);
    let mut before: Option<(u32, f64)> = None;
    for (&start, seen) in steps {
        if seen.samples() == 0 || !seen.last.is_finite() {
            // Reached before the step, and still there.
            before = before.or_else(|| seen.last.is_finite().then_some((start, seen.last)));
            continue;
        }
        let next = start + sampling.tier.seconds();
        // Of the newest step it is not known.
        let ends = !has_samples(next) && steps.range(next..).next().is_some();
        match before {
            // What began again after a hole did so within the step: its zero is a sample too.
            Some((at, value)) if growth.reaches(at, start) && (seen.min >= value || growth.follows(at, start)) => {
                growth.add((start, at), (seen.samples(), ends), sampling.rounded(grown(value, seen)), None);
            }
            _ => {
                let within = if seen.resets > 0.0 { seen.increase } else { seen.last - seen.min };
                growth.add_first(start, seen.samples(), sampling.rounded(within.max(0.0)), None);
            }
        }
        before = Some((start, seen.last));
    }
    growth.finish()
}

/// What a counter grew by, that stood at `before`.
fn grown(before: f64, seen: &Seen) -> f64 {
    if seen.min >= before {
        return seen.last - before;
    }
    // It started again. What it had reached until then is the largest value, when that is above the last one.
    if seen.max > seen.last && seen.max >= before {
        return seen.max - before + seen.last;
    }
    // Else it did so before the first sample of the step, or grew past what it had reached: then the engine's estimate of the
    // growth within the step is larger.
    let within = if seen.resets > 0.0 && seen.increase.is_finite() { seen.increase } else { 0.0 };
    seen.last.max(within)
}

#[cfg(test)]
mod tests {
    use starling_history::Tier;

    use super::{
        super::tests::{START, sampling, seen, sums},
        *,
    };

    /// Scenarios 1 and 59: a counter starts again at the seam of two steps, or within one.
    #[test]
    fn a_counter_that_starts_again_loses_nothing() {
        let of = |values: &[f64]| -> Vec<(u32, f64)> { (START - 1..).zip(values.iter().copied()).collect() };
        // One before, then ten and ten seconds.
        let mut seam = vec![5.0];
        seam.extend((1..=10).map(|n| f64::from(n) * 10.0));
        seam.extend((0..10).map(|n| 96.0 + 11.0 * f64::from(n)));
        let known = counter(&seen(&of(&seam), Tier::TenSeconds, 2), sampling(Tier::TenSeconds, 1), START);
        assert_eq!(sums(&known), [95.0, 195.0], "96 is what came after the restart");
        let mut within = vec![100.0];
        within.extend((1..=5).map(|n| 100.0 + f64::from(n)));
        within.extend((1..=5).map(f64::from));
        let known = counter(&seen(&of(&within), Tier::TenSeconds, 1), sampling(Tier::TenSeconds, 1), START);
        assert_eq!(sums(&known), [10.0]);
        // It grew past what it had reached, within the step.
        let past = [10.0, 12.0, 14.0, 3.0, 9.0, 15.0, 21.0, 27.0, 33.0, 39.0, 45.0];
        let known = counter(&seen(&of(&past), Tier::TenSeconds, 1), sampling(Tier::TenSeconds, 1), START);
        assert!(sums(&known)[0] >= 45.0 && sums(&known)[0] <= 49.0, "{known:?}");
    }

    /// Scenarios 17 and 19.
    #[test]
    fn growth_adds_up_also_over_a_hole() {
        let slow: Vec<(u32, f64)> = (START - 7..START + 301).map(|at| (at, f64::from((at + 7 - START) / 7))).collect();
        let known = counter(&seen(&slow, Tier::TenSeconds, 30), sampling(Tier::TenSeconds, 1), START);
        assert_eq!((sums(&known).iter().sum::<f64>(), known.len()), (43.0, 30));
        assert!(sums(&known).iter().all(|growth| growth.fract() == 0.0));
        let holed: Vec<(u32, f64)> = (START - 1..START + 60)
            .filter(|at| !(START + 15..START + 45).contains(at))
            .map(|at| (at, f64::from(at + 1 - START) * 300.0))
            .collect();
        let known = counter(&seen(&holed, Tier::TenSeconds, 6), sampling(Tier::TenSeconds, 1), START);
        assert_eq!(sums(&known).iter().sum::<f64>(), 60.0 * 300.0);
        let rates: Vec<_> = known.values().map(|known| (known.cell.rate().round(), known.seconds)).collect();
        assert_eq!(rates, [(300.0, 10), (300.0, 5), (300.0, 0), (300.0, 0), (300.0, 5), (300.0, 10)]);
        // One that does not come back.
        let ended: Vec<(u32, f64)> = holed.into_iter().filter(|(at, _)| *at < START + 15).collect();
        let known = counter(&seen(&ended, Tier::TenSeconds, 6), sampling(Tier::TenSeconds, 1), START);
        let rates: Vec<_> =
            known.values().map(|known| (known.cell.rate(), known.cell.seconds, known.seconds)).collect();
        assert_eq!(rates, [(300.0, 10, 10), (300.0, 5, 5)]);
        // The step that is not over yet stands for all of it.
        let newest: Vec<(u32, f64)> = ended.into_iter().filter(|(at, _)| *at < START + 8).collect();
        let known = counter(&seen(&newest, Tier::TenSeconds, 1), sampling(Tier::TenSeconds, 1), START);
        assert_eq!(sums(&known), [2_400.0]);
    }
}
