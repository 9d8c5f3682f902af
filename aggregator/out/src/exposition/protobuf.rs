//! Prometheus's messages (package `io.prometheus.client`): the fields that are written, by their numbers.

use prost::Message;
use starling_proto::catalogue::Kind;

use super::{Family, pairs};
use crate::{
    buckets::{bounds, cumulative},
    native::{Native, SCHEMA, ZERO_THRESHOLD},
    total::{Reached, Total},
};

/// Values of `MetricType`.
const COUNTER: i32 = 0;
const GAUGE: i32 = 1;
const HISTOGRAM: i32 = 4;

/// A name with its series.
#[derive(Clone, PartialEq, Message)]
pub(super) struct MetricFamily {
    #[prost(string, optional, tag = "1")]
    pub(super) name: Option<String>,
    #[prost(string, optional, tag = "2")]
    pub(super) help: Option<String>,
    #[prost(int32, optional, tag = "3")]
    pub(super) r#type: Option<i32>,
    #[prost(message, repeated, tag = "4")]
    pub(super) metric: Vec<Metric>,
    #[prost(string, optional, tag = "5")]
    pub(super) unit: Option<String>,
}

/// A series.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Metric {
    #[prost(message, repeated, tag = "1")]
    pub(super) label: Vec<LabelPair>,
    #[prost(message, optional, tag = "2")]
    pub(super) gauge: Option<Gauge>,
    #[prost(message, optional, tag = "3")]
    pub(super) counter: Option<Counter>,
    #[prost(message, optional, tag = "7")]
    pub(super) histogram: Option<HistogramMessage>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct LabelPair {
    #[prost(string, optional, tag = "1")]
    pub(super) name: Option<String>,
    #[prost(string, optional, tag = "2")]
    pub(super) value: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Gauge {
    #[prost(double, optional, tag = "1")]
    pub(super) value: Option<f64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Counter {
    #[prost(double, optional, tag = "1")]
    pub(super) value: Option<f64>,
    #[prost(message, optional, tag = "3")]
    pub(super) created_timestamp: Option<Timestamp>,
}

/// `google.protobuf.Timestamp`, of whole seconds.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Timestamp {
    #[prost(int64, tag = "1")]
    pub(super) seconds: i64,
}

/// `Histogram`, classic and native at once.
#[derive(Clone, PartialEq, Message)]
pub(super) struct HistogramMessage {
    #[prost(uint64, optional, tag = "1")]
    pub(super) sample_count: Option<u64>,
    #[prost(double, optional, tag = "2")]
    pub(super) sample_sum: Option<f64>,
    #[prost(message, repeated, tag = "3")]
    pub(super) bucket: Vec<Bucket>,
    #[prost(sint32, optional, tag = "5")]
    pub(super) schema: Option<i32>,
    #[prost(double, optional, tag = "6")]
    pub(super) zero_threshold: Option<f64>,
    #[prost(uint64, optional, tag = "7")]
    pub(super) zero_count: Option<u64>,
    #[prost(message, repeated, tag = "12")]
    pub(super) positive_span: Vec<BucketSpan>,
    // Messages of proto2: numbers are not packed.
    #[prost(sint64, repeated, packed = "false", tag = "13")]
    pub(super) positive_delta: Vec<i64>,
    #[prost(message, optional, tag = "15")]
    pub(super) created_timestamp: Option<Timestamp>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Bucket {
    #[prost(uint64, optional, tag = "1")]
    pub(super) cumulative_count: Option<u64>,
    #[prost(double, optional, tag = "2")]
    pub(super) upper_bound: Option<f64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct BucketSpan {
    #[prost(sint32, optional, tag = "1")]
    pub(super) offset: Option<i32>,
    #[prost(uint32, optional, tag = "2")]
    pub(super) length: Option<u32>,
}

/// All families, each behind its length.
pub(super) fn write(families: &[Family<'_>]) -> Vec<u8> {
    families.iter().flat_map(|family| message(family).encode_length_delimited_to_vec()).collect()
}

fn message(family: &Family<'_>) -> MetricFamily {
    let kind = match family.kind {
        Kind::Counter => COUNTER,
        Kind::Gauge => GAUGE,
        Kind::Histogram => HISTOGRAM,
    };
    MetricFamily {
        name: Some(family.name.to_owned()),
        help: Some(family.help.to_owned()),
        r#type: Some(kind),
        metric: family.members.iter().map(|total| metric(total)).collect(),
        unit: Some(family.unit.to_owned()).filter(|unit| !unit.is_empty()),
    }
}

fn metric(total: &Total) -> Metric {
    let label = pairs(&total.labels)
        .map(|(key, value)| LabelPair { name: Some(key.to_owned()), value: Some(value.to_owned()) });
    let mut metric = Metric { label: label.collect(), ..Metric::default() };
    let created_timestamp = Some(Timestamp { seconds: total.created.into() });
    match &total.reached {
        Reached::Gauge(value) => metric.gauge = Some(Gauge { value: Some(*value) }),
        Reached::Counter(sum) => metric.counter = Some(Counter { value: Some(*sum), created_timestamp }),
        Reached::Histogram(all) => {
            let bounds = bounds(total.series.unit(), total.series.scale());
            let counts = cumulative(all, &bounds).into_iter().chain([all.count()]);
            let uppers = bounds.iter().map(|(bound, _)| *bound).chain([f64::INFINITY]);
            let bucket = uppers
                .zip(counts)
                .map(|(upper, count)| Bucket { cumulative_count: Some(count), upper_bound: Some(upper) });
            let native = Native::of(all, total.series.scale());
            let mut spans = native.spans();
            if spans.is_empty() {
                // One of no length says that there are native buckets, all empty.
                spans.push((0, 0));
            }
            metric.histogram = Some(HistogramMessage {
                sample_count: Some(native.count),
                sample_sum: Some(native.sum),
                bucket: bucket.collect(),
                schema: Some(SCHEMA),
                zero_threshold: Some(ZERO_THRESHOLD),
                zero_count: Some(native.zeros),
                positive_span: spans
                    .into_iter()
                    .map(|(offset, length)| BucketSpan { offset: Some(offset), length: Some(length) })
                    .collect(),
                positive_delta: native.deltas(),
                created_timestamp,
            });
        }
    }
    metric
}
