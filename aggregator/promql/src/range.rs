//! When and how a query is evaluated, and what it needs for that.

use std::fmt;

use crate::{
    LabelMatcher,
    limits::{Limits, POINTS_MAX, TIME_MAX_MS},
};

/// When a query is evaluated, in milliseconds of Unix time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// First step.
    pub start_ms: i64,
    /// Last moment at which there may be a step.
    pub end_ms: i64,
    /// Time between steps; 0 for a question about one moment.
    pub step_ms: i64,
}

impl Range {
    /// A question about one moment.
    #[must_use]
    pub const fn instant(at_ms: i64) -> Self {
        Self { start_ms: at_ms, end_ms: at_ms, step_ms: 0 }
    }

    /// Steps from start to end.
    pub(crate) const fn steps(&self) -> i64 {
        if self.step_ms <= 0 { 1 } else { (self.end_ms - self.start_ms) / self.step_ms + 1 }
    }

    /// Whether it can be answered.
    ///
    /// # Errors
    /// What is wrong: a moment beyond the year 9999, an end before the start, a step that is not above 0 or gives more than
    /// [`POINTS_MAX`] points; then with the smallest whole step that works.
    pub fn check(&self) -> Result<(), String> {
        if self.start_ms.abs() > TIME_MAX_MS || self.end_ms.abs() > TIME_MAX_MS {
            return Err("start and end must lie before the year 9999".into());
        }
        if self.end_ms < self.start_ms {
            return Err("invalid parameter \"end\": end timestamp must not be before start time".into());
        }
        if self.step_ms < 0 {
            return Err("invalid parameter \"step\": it must be above 0".into());
        }
        if self.steps() > POINTS_MAX {
            let asked = self.steps();
            let seconds = (self.end_ms - self.start_ms).div_euclid((POINTS_MAX - 1) * 1000);
            let fits = |step: &i64| Self { step_ms: step * 1000, ..*self }.steps() <= POINTS_MAX;
            let step = (seconds.max(1)..).find(fits).unwrap_or(seconds + 1);
            return Err(format!(
                "exceeded maximum resolution of {POINTS_MAX} points per timeseries: {asked} were asked for; the smallest whole step for this range is {step} s"
            ));
        }
        Ok(())
    }
}

/// How a query is evaluated.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// How old a sample may be to stand for a later moment, in milliseconds. One exactly as old does not.
    pub lookback_ms: i64,
    /// Resolution of a subquery that names none, in milliseconds.
    pub subquery_step_ms: i64,
    /// What it may use.
    pub limits: Limits,
    /// Whether to stop the evaluation: asked every few thousand samples.
    pub cancelled: Option<&'a (dyn Fn() -> bool + Sync)>,
}

impl fmt::Debug for Options<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lookback_ms, subquery_step_ms, limits, .. } = self;
        write!(f, "look-back {lookback_ms} ms, subqueries by {subquery_step_ms} ms, {limits:?}")
    }
}

impl Default for Options<'_> {
    /// Five minutes of look-back, as Prometheus has; one second, Starling's interval.
    fn default() -> Self {
        Self { lookback_ms: 300_000, subquery_step_ms: 1_000, limits: Limits::default(), cancelled: None }
    }
}

/// Which value of a gauge stands for what is read of it in longer steps than seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OfStep {
    /// That of its last second.
    #[default]
    Last,
    /// The mean of its seconds: a mean over the window is asked for.
    Mean,
    /// The smallest: so that the smallest of the window is not missed.
    Min,
    /// The largest.
    Max,
}

/// What the samples of a selector are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hint {
    /// Length of the window of a range function; 0 when the newest sample is taken.
    pub range_ms: i64,
    /// Only the growth is looked at: what running sums and histograms held before the first sample does not matter.
    pub growth_only: bool,
    /// Which value of a longer step is looked at.
    pub of_step: OfStep,
}

/// Samples that a query needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Select {
    /// All must hold; at least one does not hold for an empty label.
    pub matchers: Vec<LabelMatcher>,
    /// Samples after this moment, in milliseconds of Unix time.
    pub after_ms: i64,
    /// Samples up to this moment.
    pub to_ms: i64,
    /// What they are for.
    pub hint: Hint,
}
