//! How much an OTLP message takes once it is decoded, read off its bytes without decoding it.
//!
//! An empty data point is 2 bytes on the wire and up to 208 in memory: a message of 4 MiB could take half a gigabyte.
//! Usual messages take two to four times their length. So the length of a message says little, and what bounds memory is
//! its weight: a walk over the lists of the message, a few nanoseconds an element.

use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, EntityRef, KeyValue},
    metrics::v1::{
        Exemplar, ExponentialHistogramDataPoint, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
        ScopeMetrics, SummaryDataPoint, summary_data_point::ValueAtQuantile,
    },
};

use crate::receive::wire::{WireError, each_field};

/// A list grows by doubling: its last step holds up to twice what is in it.
const GROWTH: usize = 2;
/// Lists within lists of attribute values beyond this depth are weighed by their length. prost ends at 100.
const DEPTH_MAX: usize = 12;
/// An element of a list within an attribute takes 2 bytes on the wire and up to a key and a value in memory.
const NESTED_FACTOR: usize = GROWTH * size_of::<KeyValue>() / 2;

/// A kind of message: what one takes, and which of its fields hold messages.
struct Kind {
    bytes: usize,
    fields: &'static [(u64, &'static Kind)],
    /// What a byte of another field takes: 8 where numbers are packed as varints.
    factor: usize,
}

const fn kind(bytes: usize, fields: &'static [(u64, &'static Kind)]) -> Kind {
    Kind { bytes, fields, factor: 1 }
}

// Numbers of fields as in opentelemetry/proto/metrics/v1/metrics.proto, common.proto and resource.proto.
static REQUEST: Kind = kind(0, &[(1, &RESOURCE_METRICS)]);
static RESOURCE_METRICS: Kind = kind(size_of::<ResourceMetrics>(), &[(1, &RESOURCE), (2, &SCOPE_METRICS)]);
static RESOURCE: Kind = kind(0, &[(1, &KEY_VALUE), (3, &ENTITY)]);
static ENTITY: Kind = kind(size_of::<EntityRef>(), &[(3, &TEXT), (4, &TEXT)]);
static TEXT: Kind = kind(size_of::<String>(), &[]);
static SCOPE_METRICS: Kind = kind(size_of::<ScopeMetrics>(), &[(1, &SCOPE), (2, &METRIC)]);
static SCOPE: Kind = kind(0, &[(3, &KEY_VALUE)]);
static METRIC: Kind = kind(
    size_of::<Metric>(),
    &[(5, &NUMBERS), (7, &NUMBERS), (9, &HISTOGRAMS), (10, &EXPONENTIALS), (11, &SUMMARIES), (12, &KEY_VALUE)],
);
static NUMBERS: Kind = kind(0, &[(1, &NUMBER)]);
static NUMBER: Kind = kind(size_of::<NumberDataPoint>(), &[(5, &EXEMPLAR), (7, &KEY_VALUE)]);
static HISTOGRAMS: Kind = kind(0, &[(1, &HISTOGRAM)]);
static HISTOGRAM: Kind = kind(size_of::<HistogramDataPoint>(), &[(8, &EXEMPLAR), (9, &KEY_VALUE)]);
static EXPONENTIALS: Kind = kind(0, &[(1, &EXPONENTIAL)]);
static EXPONENTIAL: Kind =
    kind(size_of::<ExponentialHistogramDataPoint>(), &[(1, &KEY_VALUE), (8, &BUCKETS), (9, &BUCKETS), (11, &EXEMPLAR)]);
static BUCKETS: Kind = Kind { bytes: 0, fields: &[], factor: GROWTH * size_of::<u64>() };
static SUMMARIES: Kind = kind(0, &[(1, &SUMMARY)]);
static SUMMARY: Kind = kind(size_of::<SummaryDataPoint>(), &[(6, &QUANTILE), (7, &KEY_VALUE)]);
static QUANTILE: Kind = kind(size_of::<ValueAtQuantile>(), &[]);
static EXEMPLAR: Kind = kind(size_of::<Exemplar>(), &[(7, &KEY_VALUE)]);
static KEY_VALUE: Kind = kind(size_of::<KeyValue>(), &[(2, &ANY)]);
static ANY: Kind = kind(0, &[(5, &ARRAY), (6, &LIST)]);
static ARRAY: Kind = kind(0, &[(1, &ELEMENT)]);
static ELEMENT: Kind = kind(size_of::<AnyValue>(), &[(5, &ARRAY), (6, &LIST)]);
static LIST: Kind = kind(0, &[(1, &KEY_VALUE)]);

/// At most how many bytes an `ExportMetricsServiceRequest` takes once it is decoded, beside its own.
///
/// # Errors
/// [`WireError`].
pub(super) fn request(bytes: &[u8]) -> Result<usize, WireError> {
    weigh(bytes, &REQUEST, 0)
}

fn weigh(bytes: &[u8], kind: &Kind, depth: usize) -> Result<usize, WireError> {
    if depth >= DEPTH_MAX {
        return Ok(bytes.len().saturating_mul(NESTED_FACTOR));
    }
    let mut weight = 0usize;
    each_field(bytes, |number, value| {
        let child = kind.fields.iter().find(|(field, _)| *field == number);
        weight = weight.saturating_add(match (value.bytes(), child) {
            (Some(inner), Some((_, child))) => GROWTH * child.bytes + weigh(inner, child, depth + 1)?,
            (Some(inner), None) => inner.len() * kind.factor,
            // A number that stands alone may be one of a list of numbers.
            (None, _) => GROWTH * size_of::<u64>(),
        });
        Ok(())
    })?;
    Ok(weight)
}

/// How many messages there are at the end of `path`, a field of each level: spans and log records stand at 1, 2, 2.
///
/// # Errors
/// [`WireError`].
pub(super) fn count(bytes: &[u8], path: &[u64]) -> Result<u64, WireError> {
    let Some((&first, rest)) = path.split_first() else { return Ok(1) };
    let mut found = 0;
    each_field(bytes, |number, value| {
        if let Some(inner) = value.bytes()
            && number == first
        {
            found += count(inner, rest)?;
        }
        Ok(())
    })?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::{
        collector::metrics::v1::ExportMetricsServiceRequest,
        common::v1::{ArrayValue, KeyValueList, any_value::Value},
        metrics::v1::{
            ExponentialHistogram, Gauge, Histogram, Sum, Summary, exponential_histogram_data_point::Buckets,
            metric::Data,
        },
        resource::v1::Resource,
    };
    use prost::Message;

    const N: usize = 20_000;

    fn of_metrics(metrics: Vec<Metric>) -> ExportMetricsServiceRequest {
        let scope_metrics = vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }];
        ExportMetricsServiceRequest {
            resource_metrics: vec![ResourceMetrics { scope_metrics, ..ResourceMetrics::default() }],
        }
    }

    fn of_data(data: Data) -> ExportMetricsServiceRequest {
        of_metrics(vec![Metric { data: Some(data), ..Metric::default() }])
    }

    fn of_attributes(attributes: Vec<KeyValue>) -> ExportMetricsServiceRequest {
        let point = NumberDataPoint { attributes, ..NumberDataPoint::default() };
        of_data(Data::Gauge(Gauge { data_points: vec![point] }))
    }

    fn nested(depth: usize, value: Value) -> Value {
        (0..depth)
            .fold(value, |value, _| Value::ArrayValue(ArrayValue { values: vec![AnyValue { value: Some(value) }] }))
    }

    /// Every list of many empty elements weighs at least the memory of a list that has just grown.
    #[test]
    fn no_list_of_empty_elements_is_lighter_than_it_is() {
        let numbers = vec![NumberDataPoint::default(); N];
        let value = |value| AnyValue { value: Some(value) };
        let elements = Value::ArrayValue(ArrayValue { values: vec![AnyValue::default(); N] });
        let pairs = Value::KvlistValue(KeyValueList { values: vec![KeyValue::default(); N] });
        let with = |value| vec![KeyValue { value: Some(value), ..KeyValue::default() }];
        let exponential = ExponentialHistogramDataPoint {
            positive: Some(Buckets { offset: 0, bucket_counts: vec![0; N] }),
            ..ExponentialHistogramDataPoint::default()
        };
        let resources = |resource_metrics| ExportMetricsServiceRequest { resource_metrics };
        let entity = EntityRef { id_keys: vec![String::new(); N], ..EntityRef::default() };
        let cases = [
            (size_of::<NumberDataPoint>(), of_data(Data::Gauge(Gauge { data_points: numbers.clone() }))),
            (size_of::<NumberDataPoint>(), of_data(Data::Sum(Sum { data_points: numbers, ..Sum::default() }))),
            (
                size_of::<HistogramDataPoint>(),
                of_data(Data::Histogram(Histogram {
                    data_points: vec![HistogramDataPoint::default(); N],
                    ..Histogram::default()
                })),
            ),
            (
                size_of::<ExponentialHistogramDataPoint>(),
                of_data(Data::ExponentialHistogram(ExponentialHistogram {
                    data_points: vec![ExponentialHistogramDataPoint::default(); N],
                    ..ExponentialHistogram::default()
                })),
            ),
            (
                size_of::<u64>(),
                of_data(Data::ExponentialHistogram(ExponentialHistogram {
                    data_points: vec![exponential],
                    ..ExponentialHistogram::default()
                })),
            ),
            (
                size_of::<SummaryDataPoint>(),
                of_data(Data::Summary(Summary { data_points: vec![SummaryDataPoint::default(); N] })),
            ),
            (size_of::<Metric>(), of_metrics(vec![Metric::default(); N])),
            (size_of::<ResourceMetrics>(), resources(vec![ResourceMetrics::default(); N])),
            (
                size_of::<ScopeMetrics>(),
                resources(vec![ResourceMetrics {
                    scope_metrics: vec![ScopeMetrics::default(); N],
                    ..ResourceMetrics::default()
                }]),
            ),
            (
                size_of::<String>(),
                resources(vec![ResourceMetrics {
                    resource: Some(Resource { entity_refs: vec![entity], ..Resource::default() }),
                    ..ResourceMetrics::default()
                }]),
            ),
            (size_of::<KeyValue>(), of_attributes(vec![KeyValue::default(); N])),
            (size_of::<AnyValue>(), of_attributes(with(value(elements.clone())))),
            (size_of::<KeyValue>(), of_attributes(with(value(pairs.clone())))),
            (size_of::<AnyValue>(), of_attributes(with(value(nested(20, elements))))),
            (size_of::<KeyValue>(), of_attributes(with(value(nested(20, pairs))))),
        ];
        for (place, (bytes, message)) in cases.into_iter().enumerate() {
            let weight = request(&message.encode_to_vec()).unwrap();
            assert!(weight >= N.next_power_of_two() * bytes, "{place}: {weight} for {N} of {bytes}");
        }
    }

    #[test]
    fn a_usual_message_weighs_a_few_times_its_length() {
        let attribute = |key: &str, text: &str| KeyValue {
            key: key.into(),
            value: Some(AnyValue { value: Some(Value::StringValue(text.into())) }),
            ..KeyValue::default()
        };
        let point = NumberDataPoint {
            attributes: vec![
                attribute("http.route", "/api/v1/customers/12/orders"),
                attribute("k8s.pod.name", "shop-7d9c5b8f4-x2x9z"),
                attribute("server.address", "shop.example.org"),
            ],
            start_time_unix_nano: 1_700_000_000_000_000_000,
            time_unix_nano: 1_700_000_060_000_000_000,
            ..NumberDataPoint::default()
        };
        let message = of_data(Data::Gauge(Gauge { data_points: vec![point; 1_000] })).encode_to_vec();
        let weight = request(&message).unwrap();
        assert!(weight > message.len() && weight < message.len() * 6, "{weight} for {} bytes", message.len());
    }

    #[test]
    fn what_is_no_message_is_found() {
        assert_eq!(request(&[]), Ok(0));
        assert!(request(&[0x0a, 100, 0xff]).is_err() && request(&[0x0b]).is_err() && request(&[0xff; 20]).is_err());
        assert!(count(&[0x0a, 3, 0x12, 9, 0], &[1, 2, 2]).is_err());
    }

    #[test]
    fn messages_of_a_level_are_counted() {
        let request = of_metrics(vec![Metric::default(); 7]).encode_to_vec();
        assert_eq!((count(&request, &[1, 2, 2]), count(&request, &[1]), count(&[], &[1])), (Ok(7), Ok(1), Ok(0)));
    }
}
