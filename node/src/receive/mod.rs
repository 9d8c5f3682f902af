//! Metrics of applications: what receivers take, until the second is cut.
//!
//! [`AppReceiver`] takes [`Observation`]s and gives samples, without input or output: one [`AppReceiver::take`] per
//! observation, one [`AppReceiver::cut`] per second. What servers report of their requests becomes the traffic model
//! ([`traffic`]); everything else becomes application series within bounds ([`application`]). [`otlp`] makes
//! observations of OTLP.
//!
//! - Observations count in the second in which they arrive, whatever time they carry: a second that was sent cannot
//!   change.
//! - Cumulative values become increments here ([`cumulative`]); deltas are taken as they are.
//! - Foreign buckets are spread over ours with exact counts and a stated error ([`point`]).
//! - An observation is taken whole or refused whole, and the sender hears which metric and why ([`refusal`]).

mod application;
mod cumulative;
mod levels;
mod observation;
mod otlp;
mod point;
mod refusal;
mod shared;
mod traffic;

use std::time::Duration;

use starling_proto::{
    catalogue::Kind,
    limits::{COUNTER_INCREMENT_MAX, GAUGE_MAGNITUDE_MAX},
    series::{Sample, Series},
};

pub(crate) use observation::Moment;
pub(crate) use otlp::serve;
pub(crate) use refusal::{Outcome, Refusal};
pub(crate) use shared::SharedReceiver;

use application::Applications;
use cumulative::Cumulative;
use levels::Levels;
use observation::{Number, Observation, Reading, Temporality};
use point::Point;
use traffic::{Role, Traffic};

/// What the receiver keeps at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceiverLimits {
    /// Application series present at once.
    pub series: usize,
    /// Cumulative streams whose last value is kept; and as many streams of gauges.
    pub streams: usize,
    /// How long a gauge holds when its interval is not known.
    pub stale_after: Duration,
}

/// How large the tables are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReceiverSize {
    pub(crate) series: usize,
    pub(crate) streams: usize,
}

/// Application metrics of the second that is not cut yet.
#[derive(Debug)]
pub(crate) struct AppReceiver {
    traffic: Traffic,
    applications: Applications,
    cumulative: Cumulative,
    levels: Levels,
    refused: u64,
}

impl AppReceiver {
    /// An empty receiver. Sequences that started after `started` count in full.
    pub(crate) fn new(limits: ReceiverLimits, started: Moment) -> Self {
        Self {
            traffic: Traffic::new(),
            applications: Applications::new(limits.series),
            cumulative: Cumulative::new(limits.streams, started),
            levels: Levels::new(limits.streams, limits.stale_after),
            refused: 0,
        }
    }

    /// Takes one observation, whole or not at all.
    ///
    /// # Errors
    /// [`Refusal`]: nothing of it is counted then.
    fn take(&mut self, mut observation: Observation<'_>, now: Moment) -> Result<(), Refusal> {
        match std::mem::replace(&mut observation.reading, Reading::Level(None)) {
            Reading::Level(None) => {
                self.levels.clear(observation.identity.key);
                Ok(())
            }
            Reading::Level(Some(value)) => {
                let (series, value) = self.level(&observation, value, now)?;
                self.levels.set(observation.identity.key, &series, value, now.monotonic)
            }
            Reading::Change(value) => {
                let (series, value) = self.level(&observation, value, now)?;
                self.levels.add(observation.identity.key, &series, value, now.monotonic)
            }
            Reading::Counter(value, temporality) => self.counter(&observation, value, temporality, now),
            Reading::Histogram(point, temporality) => self.histogram(&observation, point, temporality, now),
        }
    }

    /// Notes that `points` were refused, to be reported with the next cut.
    fn count_refused(&mut self, points: u64) {
        self.refused += points;
    }

    /// Takes out what came since the last cut, and how many observations were refused.
    pub(crate) fn cut(&mut self, now: Moment, samples: &mut Vec<Sample>) -> u64 {
        self.traffic.cut(now.monotonic, samples);
        self.applications.cut(now.monotonic, samples);
        self.levels.cut(now.monotonic, samples);
        std::mem::take(&mut self.refused)
    }

    /// How large the tables are.
    pub(crate) fn size(&self) -> ReceiverSize {
        ReceiverSize { series: self.applications.len(), streams: self.cumulative.len() }
    }

    /// The series of a level, admitted, and the value in its fixed point.
    fn level(&mut self, observation: &Observation<'_>, value: Number, now: Moment) -> Result<(Series, i64), Refusal> {
        if let Some(Role::Active { rpc }) = traffic::role(observation.metric) {
            // Whole requests: a double is rounded.
            let (value, _) = fixed(value, "By")?;
            return Ok((traffic::active(traffic::protocol(rpc, &observation.attributes)), value));
        }
        let (value, scale) = fixed(value, observation.unit)?;
        let series = application::series(observation, Kind::Gauge, observation.unit, scale)?;
        self.applications.admit(&series, now.monotonic)?;
        Ok((series, value))
    }

    fn counter(
        &mut self,
        observation: &Observation<'_>,
        value: Number,
        temporality: Temporality,
        now: Moment,
    ) -> Result<(), Refusal> {
        let (value, scale) = fixed(value, observation.unit)?;
        if value < 0 {
            return Err(Refusal::Negative("a sum that only rises"));
        }
        let checked = |increment: u64| {
            (increment <= COUNTER_INCREMENT_MAX).then_some(increment).ok_or(Refusal::OutOfRange("the increment"))
        };
        let delta = (temporality == Temporality::Delta).then(|| checked(value.unsigned_abs())).transpose()?;
        let series = application::series(observation, Kind::Counter, observation.unit, scale)?;
        let increment = match delta {
            Some(delta) => {
                self.applications.admit(&series, now.monotonic)?;
                Some(delta)
            }
            None => {
                self.admit_cumulative(&series, observation, now)?;
                self.cumulative.number(observation.identity, value, now)?.map(checked).transpose()?
            }
        };
        increment.map_or(Ok(()), |increment| self.applications.count(&series, increment))
    }

    /// Makes room for the series of a cumulative value, and remembers the value where there is none.
    fn admit_cumulative(&mut self, series: &Series, observation: &Observation<'_>, now: Moment) -> Result<(), Refusal> {
        let admitted = self.applications.admit(series, now.monotonic);
        admitted.inspect_err(|_| self.cumulative.missed(observation.identity, now))
    }

    fn histogram(
        &mut self,
        observation: &Observation<'_>,
        point: Point,
        temporality: Temporality,
        now: Moment,
    ) -> Result<(), Refusal> {
        if temporality == Temporality::Delta {
            point.check_interval()?;
        }
        let cumulative = temporality == Temporality::Cumulative;
        let attributes = &observation.attributes;
        let target = match traffic::role(observation.metric) {
            Some(Role::Duration { rpc, unit_ns }) => {
                let factor = traffic::unit_ns(observation.unit).unwrap_or(unit_ns);
                Target::Traffic { protocol: traffic::protocol(rpc, attributes), factor }
            }
            Some(Role::Active { .. }) => return Err(Refusal::Malformed("open requests are no histogram")),
            None => {
                let (unit, scale, factor) = application::histogram_form(observation.unit);
                let series = application::series(observation, Kind::Histogram, unit, scale)?;
                if cumulative {
                    self.admit_cumulative(&series, observation, now)?;
                } else {
                    self.applications.admit(&series, now.monotonic)?;
                }
                Target::Application { series, factor }
            }
        };
        let increment =
            if cumulative { self.cumulative.histogram(observation.identity, point, now)? } else { Some(point) };
        match (target, increment) {
            (Target::Traffic { protocol, factor }, Some(point)) => {
                self.traffic.record(protocol, traffic::failed(attributes), &point, factor, now.monotonic)
            }
            (Target::Traffic { protocol, .. }, None) => {
                self.traffic.saw(protocol, now.monotonic);
                Ok(())
            }
            (Target::Application { series, factor }, Some(point)) => self.applications.record(&series, &point, factor),
            (Target::Application { .. }, None) => Ok(()),
        }
    }
}

/// Where a histogram goes, and how many units of the layout one of its own has.
enum Target {
    Traffic { protocol: traffic::Protocol, factor: f64 },
    Application { series: Series, factor: f64 },
}

/// A number in fixed point, and the scale. Integers keep scale 0.
fn fixed(number: Number, unit: &str) -> Result<(i64, u8), Refusal> {
    match number {
        Number::Integer(value) => Ok((value, 0)),
        Number::Double(value) if !value.is_finite() => Err(Refusal::NotFinite("the value")),
        Number::Double(value) => {
            let scale = application::scale(unit);
            let fixed = (value * 10f64.powi(i32::from(scale))).round();
            if fixed.abs() > GAUGE_MAGNITUDE_MAX as f64 {
                return Err(Refusal::OutOfRange("the value"));
            }
            Ok((fixed as i64, scale))
        }
    }
}
