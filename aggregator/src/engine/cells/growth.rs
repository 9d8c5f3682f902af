//! Growth becoming cells.

use std::{collections::BTreeMap, sync::Arc};

use starling_history::{Cell, Tier};
use starling_proto::histogram::Histogram;

use super::{Known, KnownSteps, Sampling};

/// Over a hole of more seconds than this growth is not spread: it is that of the samples after it.
const HOLE_MAX: u32 = 300;

/// Whether what had been reached in the step `at` tells what came since, up to the step `start`.
pub(super) fn reaches(at: u32, start: u32, tier: Tier) -> bool {
    start - at <= HOLE_MAX.max(tier.seconds())
}

/// Growth becoming cells.
pub(super) struct Growth {
    known: KnownSteps,
    sampling: Sampling,
    /// What begins before it was asked for only to know what had been reached.
    first: u32,
}

impl Growth {
    /// Of which only what begins from `first` on is wanted.
    pub(super) const fn new(sampling: Sampling, first: u32) -> Self {
        Self { known: BTreeMap::new(), sampling, first }
    }

    /// The cells.
    pub(super) fn finish(mut self) -> KnownSteps {
        self.known.split_off(&self.first)
    }

    pub(super) fn reaches(&self, at: u32, start: u32) -> bool {
        reaches(at, start, self.sampling.tier)
    }

    /// Whether no step lies between the two.
    pub(super) fn follows(&self, at: u32, start: u32) -> bool {
        start - at <= self.sampling.tier.seconds()
    }

    /// What came after the last sample of the step `at` up to the last one of the step `start`. Over a hole it is spread evenly over the
    /// seconds from the one sample on to the end of the step. When the step `ends` before a hole, its samples stand at its begin.
    pub(super) fn add(
        &mut self,
        (start, at): (u32, u32),
        (samples, ends): (u32, bool),
        growth: f64,
        histogram: Option<Arc<Histogram>>,
    ) {
        let (length, seconds) = (self.sampling.tier.seconds(), self.sampling.seconds(samples));
        let steps = (start - at) / length;
        if histogram.is_some() || steps <= 1 {
            self.step(start, if ends { seconds } else { length }, seconds, growth, histogram);
            return;
        }
        // Where the hole began some seconds of the step have no part in its growth yet.
        let rest = self.known.get(&at).map_or(0, |known| length.saturating_sub(known.cell.seconds));
        let rate = growth / f64::from(steps * length + rest);
        if let Some(Known { cell, seconds }) = self.known.get(&at).filter(|_| rest > 0).cloned() {
            self.step(at, length, seconds, cell.sum + rate * f64::from(rest), cell.histogram);
        }
        for step in 1..=steps {
            let known = if step == steps { seconds } else { 0 };
            self.step(at + step * length, length, known, rate * f64::from(length), None);
        }
    }

    /// What came after the first sample of a step.
    pub(super) fn add_first(&mut self, start: u32, samples: u32, growth: f64, histogram: Option<Arc<Histogram>>) {
        let seconds = self.sampling.seconds(samples.saturating_sub(1));
        if seconds > 0 {
            self.step(start, seconds, seconds, growth, histogram);
        }
    }

    fn step(&mut self, start: u32, of: u32, seconds: u32, growth: f64, histogram: Option<Arc<Histogram>>) {
        let rate = growth / f64::from(of.max(1));
        let spread = if of <= 1 { 0.0 } else { f64::NAN };
        let cell = Cell { seconds: of.max(1), sum: growth, spread, histogram, ..Cell::second(rate) };
        self.known.insert(start, Known { cell, seconds });
    }
}
