//! What is asked for, checked.

use starling_proto::{
    catalogue::{self, Statistic},
    limits::ATTRIBUTES_MAX,
    v1,
};
use tonic::Status;

use super::about::Pairs;

/// Statistics asked for at once.
pub(crate) const STATISTICS_MAX: usize = 16;
/// Seconds before the last one that are read when no first one is given.
pub(crate) const USUAL_SECONDS: u32 = 60;

/// A request, checked.
#[derive(Debug)]
pub(crate) struct Asked {
    /// Empty for a list.
    pub(crate) name: String,
    /// Attributes a series must have, sorted.
    pub(super) with: Pairs,
    /// All of them as one series.
    pub(super) total: bool,
    /// Empty for the usual ones.
    pub(super) statistics: Vec<Statistic>,
    /// First second.
    pub(crate) from: u32,
    /// Last second.
    pub(crate) to: u32,
    /// Seconds of a point.
    pub(super) step: u32,
}

impl Asked {
    /// Checks what a request says of series and time. `newest` and `oldest` are the seconds that can be read.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` or `OUT_OF_RANGE`, naming the field, what it is and what is wanted.
    pub(crate) fn parse(request: &v1::GetSeriesRequest, oldest: u32, newest: u32) -> Result<Self, Status> {
        let invalid = |text: String| Err(Status::invalid_argument(text));
        if request.attributes.len() > ATTRIBUTES_MAX {
            return invalid(format!("attributes: {} are given, at most {ATTRIBUTES_MAX}", request.attributes.len()));
        }
        if request.statistics.len() > STATISTICS_MAX {
            return invalid(format!("statistics: {} are given, at most {STATISTICS_MAX}", request.statistics.len()));
        }
        let statistics = request.statistics.iter().map(|text| Statistic::parse(text));
        let statistics: Vec<_> = statistics
            .collect::<Result<_, _>>()
            .map_err(|error| Status::invalid_argument(format!("statistics: {error}")))?;
        let window = newest.saturating_sub(oldest).saturating_add(1);
        let step = request.step_seconds.max(1);
        if step > window {
            return invalid(format!("step_seconds: {step} is given, 1 to {window} are kept"));
        }
        let to = if request.to_tick == 0 { newest } else { request.to_tick };
        let from = match request.from_tick {
            0 => to.saturating_sub(USUAL_SECONDS - 1).max(oldest),
            from => from,
        };
        for (field, tick) in [("to_tick", to), ("from_tick", from)] {
            if !(oldest..=newest).contains(&tick) {
                return Err(Status::out_of_range(format!("{field}: {tick} is outside of {oldest} to {newest}")));
            }
        }
        if from > to {
            return invalid(format!("from_tick: {from} is after to_tick, which is {to}"));
        }
        let mut with: Pairs = request.attributes.clone().into_iter().collect();
        with.sort_unstable();
        Ok(Self { name: request.name.clone(), with, total: request.total, statistics, from, to, step })
    }

    /// Whether the series `name` is needed: it is the one asked for, or what that is computed from.
    pub(crate) fn needs(&self, name: &str) -> bool {
        fn derives(from: &catalogue::Metric, name: &str) -> bool {
            from.derivation.is_some_and(|derivation| {
                derivation.operands().iter().any(|part| part.metric.name == name || derives(part.metric, name))
            })
        }
        self.name.is_empty()
            || self.name == name
            || catalogue::find(&self.name).is_some_and(|metric| derives(metric, name))
    }

    /// How many points there are.
    pub(super) fn points(&self) -> usize {
        (self.to / self.step - self.from / self.step + 1) as usize
    }

    /// The point that the second `tick` is part of.
    pub(super) fn point_of(&self, tick: u32) -> usize {
        (tick / self.step).saturating_sub(self.from / self.step) as usize
    }
}
