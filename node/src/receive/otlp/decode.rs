//! OTLP metrics into observations.

use std::ops::Range;

use opentelemetry_proto::tonic::{
    common::v1::KeyValue,
    metrics::v1::{
        AggregationTemporality, ExponentialHistogramDataPoint, HistogramDataPoint, Metric, NumberDataPoint,
        metric::Data, number_data_point,
    },
};

use super::origin::{Origin, value};
use crate::receive::{
    AppReceiver, Moment, Outcome, Refusal,
    observation::{Attribute, Identity, Number, Observation, Reading, Temporality},
    point::{Buckets, EXPONENTIAL_BUCKETS_MAX, Point},
};

/// Set on a point that stands for "there is no value" (`DataPointFlags`).
const NO_VALUE: u32 = 1;

const NO_TEMPORALITY: Refusal = Refusal::Malformed("the aggregation temporality is neither delta nor cumulative");

/// How many points a metric has; at least 1, so that one without data is refused once.
pub(super) fn points(metric: &Metric) -> usize {
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

/// Hands the points `part` of one metric to `receiver`, each whole or not at all.
pub(super) fn take(
    receiver: &mut AppReceiver,
    origin: &Origin,
    metric: &Metric,
    part: &Range<usize>,
    now: Moment,
    outcome: &mut Outcome,
) {
    let before = outcome.refused_total();
    let name = metric.name.as_str();
    // A reading that is absent is a point without a value: nothing to take, nothing to refuse.
    let mut give = |attributes: &[KeyValue], times: (u64, u64), reading: Result<Option<Reading>, Refusal>| {
        let result = reading.and_then(|reading| match reading {
            Some(reading) => receiver.take(observation(origin, metric, attributes, times, reading), now),
            None => Ok(()),
        });
        outcome.note(name, result);
    };
    // The two kinds of histogram share their fields and no type.
    macro_rules! distributions {
        ($histogram:ident, $check:ident) => {{
            let temporality = temporality($histogram.aggregation_temporality());
            for point in within(&$histogram.data_points, part) {
                let times = (point.start_time_unix_nano, point.time_unix_nano);
                let reading = distribution(point.flags, &temporality, || $check(point));
                give(&point.attributes, times, reading);
            }
        }};
    }
    match &metric.data {
        Some(Data::Gauge(gauge)) => {
            for point in within(&gauge.data_points, part) {
                give(&point.attributes, (0, point.time_unix_nano), level(point).map(Some));
            }
        }
        Some(Data::Sum(sum)) => {
            let temporality = temporality(sum.aggregation_temporality());
            for point in within(&sum.data_points, part) {
                let times = (point.start_time_unix_nano, point.time_unix_nano);
                let reading = temporality.clone().and_then(|temporality| {
                    if sum.is_monotonic { counter(point, temporality) } else { change(point, temporality).map(Some) }
                });
                give(&point.attributes, times, reading);
            }
        }
        Some(Data::Histogram(histogram)) => distributions!(histogram, explicit),
        Some(Data::ExponentialHistogram(histogram)) => distributions!(histogram, exponential),
        Some(Data::Summary(summary)) => {
            let points = within(&summary.data_points, part).len();
            outcome.refuse(name, &Refusal::Summary, points as u64);
        }
        None => outcome.refuse(name, &Refusal::UnknownType, 1),
    }
    receiver.count_refused(outcome.refused_total() - before);
}

/// The points of `part` that there are.
fn within<'a, T>(points: &'a [T], part: &Range<usize>) -> &'a [T] {
    &points[part.start.min(points.len())..part.end.min(points.len())]
}

fn observation<'a>(
    origin: &'a Origin,
    metric: &'a Metric,
    attributes: &'a [KeyValue],
    (start_unix_ns, time_unix_ns): (u64, u64),
    reading: Reading,
) -> Observation<'a> {
    // Processes that look alike differ by the start of what they add up. A level says where one of them stands; after a
    // restart it stands elsewhere, which can only be seen of one that says which one it is.
    let counted_since = match &reading {
        Reading::Counter(_, Temporality::Cumulative) | Reading::Histogram(_, Temporality::Cumulative) => start_unix_ns,
        Reading::Level(_) if !origin.is_one => start_unix_ns,
        _ => 0,
    };
    let identity = Identity {
        key: origin.stream(&metric.name, attributes, counted_since),
        family: origin.family(&metric.name, counted_since),
        sender: origin.key,
        start_unix_ns,
        time_unix_ns,
    };
    let attributes = attributes
        .iter()
        .map(|attribute| Attribute { key: &attribute.key, value: value(attribute.value.as_ref()) })
        .collect();
    let service = origin.service_name.as_deref();
    let own = origin.own;
    Observation { metric: &metric.name, unit: &metric.unit, service, own, attributes, identity, reading }
}

fn temporality(stated: AggregationTemporality) -> Result<Temporality, Refusal> {
    match stated {
        AggregationTemporality::Delta => Ok(Temporality::Delta),
        AggregationTemporality::Cumulative => Ok(Temporality::Cumulative),
        AggregationTemporality::Unspecified => Err(NO_TEMPORALITY),
    }
}

fn number(point: &NumberDataPoint) -> Result<Number, Refusal> {
    match point.value {
        Some(number_data_point::Value::AsInt(value)) => Ok(Number::Integer(value)),
        Some(number_data_point::Value::AsDouble(value)) => Ok(Number::Double(value)),
        None => Err(Refusal::Malformed("the point holds no value")),
    }
}

fn level(point: &NumberDataPoint) -> Result<Reading, Refusal> {
    if point.flags & NO_VALUE != 0 {
        return Ok(Reading::Level(None));
    }
    number(point).map(|value| Reading::Level(Some(value)))
}

/// A sum that also falls.
fn change(point: &NumberDataPoint, temporality: Temporality) -> Result<Reading, Refusal> {
    match temporality {
        Temporality::Delta if point.flags & NO_VALUE == 0 => number(point).map(Reading::Change),
        Temporality::Delta | Temporality::Cumulative => level(point),
    }
}

/// A sum that only rises.
fn counter(point: &NumberDataPoint, temporality: Temporality) -> Result<Option<Reading>, Refusal> {
    if point.flags & NO_VALUE != 0 {
        return Ok(None);
    }
    number(point).map(|value| Some(Reading::Counter(value, temporality)))
}

fn distribution(
    flags: u32,
    temporality: &Result<Temporality, Refusal>,
    point: impl FnOnce() -> Result<Point, Refusal>,
) -> Result<Option<Reading>, Refusal> {
    if flags & NO_VALUE != 0 {
        return Ok(None);
    }
    let point = point()?;
    temporality.clone().map(|temporality| Some(Reading::Histogram(point, temporality)))
}

/// Checks a point with explicit bounds.
pub(in crate::receive) fn explicit(point: &HistogramDataPoint) -> Result<Point, Refusal> {
    let (bounds, counts) = (&point.explicit_bounds, &point.bucket_counts);
    // No buckets: all values lie in one that is open at both ends.
    let counts = if counts.is_empty() && bounds.is_empty() { vec![point.count] } else { counts.clone() };
    let buckets = Buckets::explicit(bounds.clone(), counts)?;
    Point {
        start_unix_ns: point.start_time_unix_nano,
        time_unix_ns: point.time_unix_nano,
        count: point.count,
        sum: point.sum,
        min: point.min,
        max: point.max,
        peak: point.max,
        buckets,
    }
    .checked()
}

/// Checks a point with exponential buckets.
pub(in crate::receive) fn exponential(point: &ExponentialHistogramDataPoint) -> Result<Point, Refusal> {
    let positive = point.positive.clone().unwrap_or_default();
    let negative = point.negative.as_ref().map_or(&[][..], |buckets| &buckets.bucket_counts);
    let found = positive.bucket_counts.len().max(negative.len());
    if found > EXPONENTIAL_BUCKETS_MAX {
        return Err(Refusal::Buckets { found, most: EXPONENTIAL_BUCKETS_MAX });
    }
    if negative.iter().any(|&n| n > 0) {
        return Err(Refusal::Negative("a bucket in use"));
    }
    // From 2^1024 wide, where everything is one bucket, to the finest scale of the SDKs.
    if !(-10..=20).contains(&point.scale) {
        return Err(Refusal::OutOfRange("the scale"));
    }
    // Beyond these no double has a value.
    if positive.offset.unsigned_abs() > 1 << 30 {
        return Err(Refusal::OutOfRange("the offset"));
    }
    if !point.zero_threshold.is_finite() || point.zero_threshold < 0.0 {
        return Err(Refusal::Malformed("the zero threshold is no positive number"));
    }
    Point {
        start_unix_ns: point.start_time_unix_nano,
        time_unix_ns: point.time_unix_nano,
        count: point.count,
        sum: point.sum,
        min: point.min,
        max: point.max,
        peak: point.max,
        buckets: Buckets::Exponential {
            scale: point.scale,
            zero: point.zero_count,
            zero_threshold: point.zero_threshold,
            offset: positive.offset,
            counts: positive.bucket_counts,
        },
    }
    .checked()
}
