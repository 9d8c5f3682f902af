//! The door for application metrics.
//!
//! [`Door`] takes OTLP metrics and gives samples, without input or output: one call per metric, one [`Door::cut`] per
//! second. What servers report of their requests becomes the traffic model ([`traffic`]); everything else becomes
//! application series within bounds ([`application`]). [`server`] is the gRPC face.
//!
//! - Points count in the second in which they arrive, whatever time they carry: a second that was sent cannot change.
//! - Cumulative points become increments at the door ([`cumulative`]); deltas are taken as they are.
//! - Foreign buckets are spread over ours with exact counts and a stated error ([`point`]).
//! - A point is taken whole or refused whole, and the sender is told which metric and why ([`refusal`]).

mod application;
mod attributes;
mod cumulative;
mod levels;
mod point;
mod refusal;
mod server;
#[cfg(test)]
mod testing;
mod traffic;

use std::{ops::Range, time::Duration};

use opentelemetry_proto::tonic::{
    common::v1::KeyValue,
    metrics::v1::{AggregationTemporality, Metric, NumberDataPoint, metric::Data, number_data_point},
};
use starling_proto::{
    catalogue::Kind,
    limits::{COUNTER_INCREMENT_MAX, GAUGE_MAGNITUDE_MAX},
    series::{Sample, Series},
};

pub(crate) use attributes::Origin;
pub(crate) use refusal::{Outcome, Refusal};
pub(crate) use server::{SharedDoor, serve};

use application::Applications;
use cumulative::{Cumulative, Identity};
use levels::Levels;
use point::Point;
use traffic::{Role, Traffic};

/// Set on a point that stands for "there is no value" (`DataPointFlags`).
const NO_VALUE: u32 = 1;

/// What the door keeps at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DoorLimits {
    /// Application series present at once.
    pub series: usize,
    /// Cumulative streams whose last value is kept; and as many streams of gauges.
    pub streams: usize,
    /// How long a gauge holds when its interval is not known.
    pub stale_after: Duration,
}

/// A moment by two clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Since the Unix epoch, to compare with what senders say.
    pub(crate) unix_ns: u64,
    /// Since any fixed moment; never goes back.
    pub(crate) monotonic: Duration,
}

/// How large the tables are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DoorSize {
    pub(crate) series: usize,
    pub(crate) streams: usize,
}

/// Application metrics of the second that is not cut yet.
#[derive(Debug)]
pub(crate) struct Door {
    traffic: Traffic,
    applications: Applications,
    cumulative: Cumulative,
    levels: Levels,
    refused: u64,
}

impl Door {
    /// An empty door. Sequences that started after `started` count in full.
    pub(crate) fn new(limits: DoorLimits, started: Moment) -> Self {
        Self {
            traffic: Traffic::new(),
            applications: Applications::new(limits.series),
            cumulative: Cumulative::new(limits.streams, started),
            levels: Levels::new(limits.streams, limits.stale_after),
            refused: 0,
        }
    }

    /// Takes the points `part` of one metric, each whole or not at all.
    pub(crate) fn take(
        &mut self,
        origin: &Origin,
        metric: &Metric,
        part: Range<usize>,
        now: Moment,
        outcome: &mut Outcome,
    ) {
        let before = outcome.refused_total();
        let name = metric.name.as_str();
        match &metric.data {
            Some(Data::Gauge(gauge)) => {
                for point in within(&gauge.data_points, &part) {
                    outcome.note(name, self.gauge(origin, metric, point, now));
                }
            }
            Some(Data::Sum(sum)) => {
                for point in within(&sum.data_points, &part) {
                    let temporality = sum.aggregation_temporality();
                    let result = if sum.is_monotonic {
                        self.counter(origin, metric, point, temporality, now)
                    } else {
                        self.up_and_down(origin, metric, point, temporality, now)
                    };
                    outcome.note(name, result);
                }
            }
            Some(Data::Histogram(histogram)) => {
                for raw in within(&histogram.data_points, &part) {
                    let result = if raw.flags & NO_VALUE != 0 {
                        Ok(())
                    } else {
                        let temporality = histogram.aggregation_temporality();
                        Point::explicit(raw)
                            .and_then(|point| self.histogram(origin, metric, &raw.attributes, point, temporality, now))
                    };
                    outcome.note(name, result);
                }
            }
            Some(Data::ExponentialHistogram(histogram)) => {
                for raw in within(&histogram.data_points, &part) {
                    let result = if raw.flags & NO_VALUE != 0 {
                        Ok(())
                    } else {
                        let temporality = histogram.aggregation_temporality();
                        Point::exponential(raw)
                            .and_then(|point| self.histogram(origin, metric, &raw.attributes, point, temporality, now))
                    };
                    outcome.note(name, result);
                }
            }
            Some(Data::Summary(summary)) => {
                let points = within(&summary.data_points, &part).len();
                outcome.refuse(name, &Refusal::Summary, points as u64);
            }
            None => outcome.refuse(name, &Refusal::UnknownType, 1),
        }
        self.refused += outcome.refused_total() - before;
    }

    /// Takes out what came since the last cut, and how many points were refused.
    pub(crate) fn cut(&mut self, now: Moment, samples: &mut Vec<Sample>) -> u64 {
        self.traffic.cut(now.monotonic, samples);
        self.applications.cut(now.monotonic, samples);
        self.levels.cut(now.monotonic, samples);
        std::mem::take(&mut self.refused)
    }

    /// How large the tables are.
    pub(crate) fn size(&self) -> DoorSize {
        DoorSize { series: self.applications.len(), streams: self.cumulative.len() }
    }

    fn gauge(&mut self, origin: &Origin, metric: &Metric, point: &NumberDataPoint, now: Moment) -> Result<(), Refusal> {
        if let Some(Role::Active { rpc }) = traffic::role(&metric.name) {
            return self.active(origin, metric, point, rpc, None, now);
        }
        let key = origin.stream(&metric.name, &point.attributes, 0);
        if point.flags & NO_VALUE != 0 {
            self.levels.clear(key);
            return Ok(());
        }
        let (value, scale) = number(point, &metric.unit)?;
        let series = application::series(origin, &metric.name, &point.attributes, Kind::Gauge, &metric.unit, scale)?;
        self.applications.admit(&series, now.monotonic)?;
        self.levels.set(key, &series, value, now.monotonic)
    }

    /// A sum that only rises.
    fn counter(
        &mut self,
        origin: &Origin,
        metric: &Metric,
        point: &NumberDataPoint,
        temporality: AggregationTemporality,
        now: Moment,
    ) -> Result<(), Refusal> {
        if point.flags & NO_VALUE != 0 {
            return Ok(());
        }
        let (value, scale) = number(point, &metric.unit)?;
        if value < 0 {
            return Err(Refusal::Negative("a sum that only rises"));
        }
        let delta = match temporality {
            AggregationTemporality::Delta => Some(value.unsigned_abs()),
            AggregationTemporality::Cumulative => None,
            AggregationTemporality::Unspecified => return Err(NO_TEMPORALITY),
        };
        let checked = |increment: u64| {
            (increment <= COUNTER_INCREMENT_MAX).then_some(increment).ok_or(Refusal::OutOfRange("the increment"))
        };
        let delta = delta.map(checked).transpose()?;
        let series = application::series(origin, &metric.name, &point.attributes, Kind::Counter, &metric.unit, scale)?;
        let increment = match delta {
            Some(delta) => {
                self.applications.admit(&series, now.monotonic)?;
                Some(delta)
            }
            None => {
                let times = (point.start_time_unix_nano, point.time_unix_nano);
                let id = identity(origin, &metric.name, &point.attributes, times);
                self.admit_cumulative(&series, id, now)?;
                self.cumulative.number(id, value, now)?.map(checked).transpose()?
            }
        };
        increment.map_or(Ok(()), |increment| self.applications.count(&series, increment))
    }

    /// Makes room for the series of a cumulative point, and remembers the point where there is none.
    fn admit_cumulative(&mut self, series: &Series, id: Identity, now: Moment) -> Result<(), Refusal> {
        self.applications.admit(series, now.monotonic).inspect_err(|_| self.cumulative.missed(id, now))
    }

    /// A sum that also falls: a level.
    fn up_and_down(
        &mut self,
        origin: &Origin,
        metric: &Metric,
        point: &NumberDataPoint,
        temporality: AggregationTemporality,
        now: Moment,
    ) -> Result<(), Refusal> {
        if let Some(Role::Active { rpc }) = traffic::role(&metric.name) {
            return self.active(origin, metric, point, rpc, Some(temporality), now);
        }
        if temporality == AggregationTemporality::Unspecified {
            return Err(NO_TEMPORALITY);
        }
        let (value, scale) = number(point, &metric.unit)?;
        let series = application::series(origin, &metric.name, &point.attributes, Kind::Gauge, &metric.unit, scale)?;
        self.applications.admit(&series, now.monotonic)?;
        self.level(origin, metric, point, &series, value, Some(temporality), now)
    }

    /// Open requests of a server.
    fn active(
        &mut self,
        origin: &Origin,
        metric: &Metric,
        point: &NumberDataPoint,
        rpc: bool,
        temporality: Option<AggregationTemporality>,
        now: Moment,
    ) -> Result<(), Refusal> {
        // Whole requests: a double is rounded.
        let (value, _) = number(point, "By")?;
        let series = traffic::active(traffic::protocol(rpc, &point.attributes));
        self.level(origin, metric, point, &series, value, temporality, now)
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one point, passed on")]
    fn level(
        &mut self,
        origin: &Origin,
        metric: &Metric,
        point: &NumberDataPoint,
        series: &Series,
        value: i64,
        temporality: Option<AggregationTemporality>,
        now: Moment,
    ) -> Result<(), Refusal> {
        // Only a cumulative sum has a start that names its sequence.
        let start = match temporality {
            Some(AggregationTemporality::Cumulative) => point.start_time_unix_nano,
            _ => 0,
        };
        let key = origin.stream(&metric.name, &point.attributes, start);
        if point.flags & NO_VALUE != 0 {
            self.levels.clear(key);
            return Ok(());
        }
        match temporality {
            None | Some(AggregationTemporality::Cumulative) => self.levels.set(key, series, value, now.monotonic),
            Some(AggregationTemporality::Delta) => self.levels.add(key, series, value, now.monotonic),
            Some(AggregationTemporality::Unspecified) => Err(NO_TEMPORALITY),
        }
    }

    fn histogram(
        &mut self,
        origin: &Origin,
        metric: &Metric,
        attributes: &[KeyValue],
        point: Point,
        temporality: AggregationTemporality,
        now: Moment,
    ) -> Result<(), Refusal> {
        match temporality {
            AggregationTemporality::Unspecified => return Err(NO_TEMPORALITY),
            AggregationTemporality::Delta => point.check_interval()?,
            AggregationTemporality::Cumulative => {}
        }
        let id = (temporality == AggregationTemporality::Cumulative)
            .then(|| identity(origin, &metric.name, attributes, (point.start_unix_ns, point.time_unix_ns)));
        let role = traffic::role(&metric.name);
        let (unit, scale, factor) = application::histogram_form(&metric.unit);
        let target = match role {
            Some(Role::Duration { rpc, unit_ns }) => {
                let factor = traffic::unit_ns(&metric.unit).unwrap_or(unit_ns);
                Target::Traffic { protocol: traffic::protocol(rpc, attributes), factor }
            }
            Some(Role::Active { .. }) => return Err(Refusal::Malformed("open requests are no histogram")),
            None => {
                let series = application::series(origin, &metric.name, attributes, Kind::Histogram, unit, scale)?;
                match id {
                    Some(id) => self.admit_cumulative(&series, id, now)?,
                    None => self.applications.admit(&series, now.monotonic)?,
                }
                Target::Application { series, factor }
            }
        };
        let increment = match id {
            Some(id) => self.cumulative.histogram(id, point, now)?,
            None => Some(point),
        };
        match (target, increment) {
            (Target::Traffic { protocol, factor }, Some(point)) => {
                let failed = traffic::failed(attributes);
                self.traffic.record(protocol, failed, &point, factor, now.monotonic)
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

/// What names a cumulative point.
fn identity(
    origin: &Origin,
    metric: &str,
    attributes: &[KeyValue],
    (start_unix_ns, time_unix_ns): (u64, u64),
) -> Identity {
    let (key, family) = (origin.stream(metric, attributes, start_unix_ns), origin.family(metric, start_unix_ns));
    Identity { key, family, start_unix_ns, time_unix_ns }
}

/// The points of `part` that there are.
fn within<'a, T>(points: &'a [T], part: &Range<usize>) -> &'a [T] {
    &points[part.start.min(points.len())..part.end.min(points.len())]
}

/// How many points a metric has; at least 1, so that one without data is refused once.
pub(crate) fn points(metric: &Metric) -> usize {
    let points = match &metric.data {
        Some(Data::Gauge(gauge)) => gauge.data_points.len(),
        Some(Data::Sum(sum)) => sum.data_points.len(),
        Some(Data::Histogram(histogram)) => histogram.data_points.len(),
        Some(Data::ExponentialHistogram(histogram)) => histogram.data_points.len(),
        Some(Data::Summary(summary)) => summary.data_points.len(),
        None => 1,
    };
    points.max(1)
}

/// Where a histogram goes, and how many units of the layout one of its own has.
enum Target {
    Traffic { protocol: traffic::Protocol, factor: f64 },
    Application { series: Series, factor: f64 },
}

const NO_TEMPORALITY: Refusal = Refusal::Malformed("the aggregation temporality is neither delta nor cumulative");

/// The value of a point in fixed point, and the scale.
fn number(point: &NumberDataPoint, unit: &str) -> Result<(i64, u8), Refusal> {
    match point.value {
        Some(number_data_point::Value::AsInt(value)) => Ok((value, 0)),
        Some(number_data_point::Value::AsDouble(value)) if !value.is_finite() => Err(Refusal::NotFinite("the value")),
        Some(number_data_point::Value::AsDouble(value)) => {
            let scale = application::scale(unit);
            let fixed = (value * 10f64.powi(i32::from(scale))).round();
            if fixed.abs() > GAUGE_MAGNITUDE_MAX as f64 {
                return Err(Refusal::OutOfRange("the value"));
            }
            Ok((fixed as i64, scale))
        }
        None if point.flags & NO_VALUE != 0 => Ok((0, 0)),
        None => Err(Refusal::Malformed("the point holds no value")),
    }
}

#[cfg(test)]
mod tests;
