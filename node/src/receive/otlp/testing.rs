//! Builders of OTLP messages for the tests of the receiver.

use std::time::Duration;

use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, KeyValue, any_value::Value},
    metrics::v1::{ExponentialHistogramDataPoint, HistogramDataPoint, exponential_histogram_data_point::Buckets},
};

pub(in crate::receive) use super::decode::{explicit as decoded_explicit, exponential as decoded_exponential};
use crate::receive::Moment;

/// A moment so many seconds after the epoch, by both clocks.
pub(in crate::receive) fn at(seconds: u64) -> Moment {
    Moment { unix_ns: seconds * 1_000_000_000, monotonic: Duration::from_secs(seconds) }
}

fn pair(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

/// A text attribute.
pub(in crate::receive) fn attribute(key: &str, value: &str) -> KeyValue {
    pair(key, Value::StringValue(value.to_owned()))
}

/// An integer attribute.
pub(in crate::receive) fn number(key: &str, value: i64) -> KeyValue {
    pair(key, Value::IntValue(value))
}

/// A point with explicit bounds.
pub(in crate::receive) fn explicit(
    bounds: &[f64],
    counts: &[u64],
    sum: f64,
    extremes: Option<(f64, f64)>,
) -> HistogramDataPoint {
    HistogramDataPoint {
        count: counts.iter().fold(0, |sum, &n| sum.wrapping_add(n)),
        sum: Some(sum),
        bucket_counts: counts.to_vec(),
        explicit_bounds: bounds.to_vec(),
        min: extremes.map(|(min, _)| min),
        max: extremes.map(|(_, max)| max),
        ..HistogramDataPoint::default()
    }
}

/// A point with exponential buckets.
pub(in crate::receive) fn exponential(
    scale: i32,
    offset: i32,
    counts: &[u64],
    zero: u64,
    sum: f64,
) -> ExponentialHistogramDataPoint {
    ExponentialHistogramDataPoint {
        count: counts.iter().sum::<u64>() + zero,
        sum: Some(sum),
        scale,
        zero_count: zero,
        positive: Some(Buckets { offset, bucket_counts: counts.to_vec() }),
        ..ExponentialHistogramDataPoint::default()
    }
}
