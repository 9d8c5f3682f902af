//! What came of the data points of one request.

use std::fmt;

use starling_proto::series::SeriesError;
use starling_service::metrics::{By, Counter};

/// Different refusals named to the sender; the others are only counted.
const NAMED_MAX: usize = 5;

/// Why a data point was not taken.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum Refusal {
    /// NaN or an infinity where a number is needed.
    #[error("{0} is not a finite number")]
    NotFinite(&'static str),
    /// Negative where nothing negative can be.
    #[error("{0} is negative")]
    Negative(&'static str),
    /// Fields that contradict each other or the specification.
    #[error("{0}")]
    Malformed(&'static str),
    /// A number beyond what the wire carries.
    #[error("{0} is out of range")]
    OutOfRange(&'static str),
    /// More buckets than the receiver keeps.
    #[error("{found} buckets, at most {most} are taken")]
    Buckets {
        /// Buckets of the point.
        found: usize,
        /// The bound.
        most: usize,
    },
    /// A type that cannot be merged.
    #[error("summaries cannot be merged over hosts: send a histogram")]
    Summary,
    /// A type this version does not know.
    #[error("the metric holds no data, or data of an unknown type")]
    UnknownType,
    /// A name the daemon measures itself.
    #[error("the daemon measures this itself: leave it out, or send it under another name")]
    Reserved,
    /// A name, unit or attribute beyond the limits.
    #[error(transparent)]
    Series(#[from] SeriesError),
    /// Too many application series.
    #[error(
        "{0} application series are present, which is the limit (otlp_series_max): drop attributes that take many values"
    )]
    SeriesFull(usize),
    /// Too many cumulative streams.
    #[error(
        "{0} streams are known, which is the limit (otlp_streams_max): drop attributes that take many values, or send deltas"
    )]
    StreamsFull(usize),
    /// More different members of sets in one second than are kept.
    #[error("{0} different members of sets came in this second, which is the limit: count fewer, or send a histogram")]
    SetFull(usize),
    /// An event of DogStatsD.
    #[error("events are not taken, only metrics: send them elsewhere")]
    Event,
    /// A service check of DogStatsD.
    #[error("service checks are not taken, only metrics: send a gauge of 0 or 1")]
    ServiceCheck,
    /// Older than the last one of its stream, which already contains it.
    #[error("older than the point before")]
    Old,
}

impl Refusal {
    /// The word used as a label.
    pub(crate) const fn as_str(&self) -> &'static str {
        match self {
            Self::NotFinite(_) => "not_finite",
            Self::Negative(_) => "negative",
            Self::Malformed(_) => "malformed",
            Self::OutOfRange(_) => "out_of_range",
            Self::Buckets { .. } => "buckets",
            Self::Summary | Self::UnknownType => "type",
            Self::Reserved => "reserved",
            Self::Series(_) => "series",
            Self::SeriesFull(_) => "series_full",
            Self::StreamsFull(_) => "streams_full",
            Self::SetFull(_) => "set_full",
            Self::Event => "event",
            Self::ServiceCheck => "service_check",
            Self::Old => "old",
        }
    }
}

/// The outcome of one request.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Data points taken.
    pub(crate) taken: u64,
    /// Data points refused, by reason.
    pub(crate) refused: Vec<(&'static str, u64)>,
    reported: Vec<String>,
    /// Refusals, or different ones of a kind, without a name.
    unnamed: u64,
}

impl Outcome {
    /// Notes what became of one data point of `metric`.
    pub(crate) fn note(&mut self, metric: &str, result: Result<(), Refusal>) {
        match result {
            Ok(()) => self.taken += 1,
            Err(refusal) => self.refuse(metric, &refusal, 1),
        }
    }

    /// Notes that `points` of `metric` were refused.
    pub(crate) fn refuse(&mut self, metric: &str, refusal: &Refusal, points: u64) {
        if points == 0 {
            return;
        }
        self.count(refusal, points);
        let name: String = metric.chars().take(80).filter(|c| !c.is_control()).collect();
        let text = format!("{name}: {refusal}");
        if self.reported.contains(&text) {
            return;
        }
        if self.reported.len() < NAMED_MAX { self.reported.push(text) } else { self.unnamed += 1 }
    }

    /// As [`Outcome::refuse`], without a name: for what comes in floods.
    pub(crate) fn refuse_unnamed(&mut self, refusal: &Refusal, points: u64) {
        self.count(refusal, points);
        self.unnamed += points;
    }

    fn count(&mut self, refusal: &Refusal, points: u64) {
        let reason = refusal.as_str();
        match self.refused.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, n)) => *n += points,
            None => self.refused.push((reason, points)),
        }
    }

    /// Counts what was taken, and what was refused by reason.
    pub(crate) fn count_in(&self, taken: &Counter, refused: &By<Counter>) {
        taken.add(self.taken);
        for &(reason, points) in &self.refused {
            refused.of(reason).add(points);
        }
    }

    /// Data points refused.
    pub(crate) fn refused_total(&self) -> u64 {
        self.refused.iter().map(|(_, n)| n).sum()
    }
}

/// The message for the sender.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} data points refused: {}", self.refused_total(), self.reported.join("; "))?;
        if self.unnamed > 0 {
            write!(f, "; and {} more", self.unnamed)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_names_metric_and_reason_once_and_stays_short() {
        let mut outcome = Outcome::default();
        outcome.note("a", Ok(()));
        outcome.note("a", Err(Refusal::Negative("the sum")));
        outcome.note("a", Err(Refusal::Negative("the sum")));
        for i in 0..100 {
            outcome.note(&format!("m{i}\n{}", "x".repeat(1000)), Err(Refusal::Summary));
        }
        let text = outcome.to_string();
        assert!(text.starts_with("102 data points refused: a: the sum is negative; m0x"), "{text}");
        assert!(text.ends_with("and 96 more") && text.len() < 1024, "{text}");
        assert_eq!(outcome.refused, [("negative", 2), ("type", 100)]);
    }
}
