//! OTLP as JSON (opentelemetry-specification: protocol/otlp.md, "JSON Protobuf Encoding"), which the web and scripts send.

use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    metrics::v1::{ExponentialHistogramDataPoint, HistogramDataPoint},
};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Value, json};

use super::{
    export::{ExportResponse, Signal},
    failure::{Failure, RpcStatus},
};

/// The form of a body, and of its answer.
pub(super) const JSON: &str = "application/json";

/// What an object takes at most: the largest message that lists hold, in a list that grows by doubling.
const OBJECT_BYTES: usize = 2 * max(size_of::<ExponentialHistogramDataPoint>(), size_of::<HistogramDataPoint>());
/// What an element of a list takes at most that is no object: a number.
const ELEMENT_BYTES: usize = 2 * size_of::<u64>();

const fn max(a: usize, b: usize) -> usize {
    if a > b { a } else { b }
}

/// How many bytes a message takes once it is decoded, at most, by a walk over its bytes: "{}" are three of them in a list and
/// some hundreds in memory.
pub(super) fn weigh(message: &[u8]) -> usize {
    let (mut objects, mut elements) = (0, 0);
    for byte in message {
        objects += usize::from(*byte == b'{');
        elements += usize::from(*byte == b',');
    }
    message.len() + objects * OBJECT_BYTES + elements * ELEMENT_BYTES
}

/// Reads an export of metrics. Nesting is bounded by the parser.
///
/// # Errors
/// [`Failure::Malformed`], with the place.
pub(super) fn metrics(message: &[u8]) -> Result<ExportMetricsServiceRequest, Failure> {
    serde_json::from_slice(message).map_err(|error| malformed(&error))
}

/// How many spans or log records a message holds. Takes no memory for them.
///
/// # Errors
/// [`Failure::Malformed`], with the place.
pub(super) fn count(message: &[u8]) -> Result<u64, Failure> {
    #[derive(Deserialize)]
    struct Request {
        #[serde(default, alias = "resourceSpans", alias = "resourceLogs")]
        resources: Vec<Resource>,
    }
    #[derive(Deserialize)]
    struct Resource {
        #[serde(default, alias = "scopeSpans", alias = "scopeLogs")]
        scopes: Vec<Scope>,
    }
    #[derive(Deserialize)]
    struct Scope {
        #[serde(default, alias = "spans", alias = "logRecords")]
        records: Vec<IgnoredAny>,
    }
    let request: Request = serde_json::from_slice(message).map_err(|error| malformed(&error))?;
    let scopes = request.resources.iter().flat_map(|resource| &resource.scopes);
    Ok(scopes.map(|scope| scope.records.len() as u64).sum())
}

fn malformed(error: &serde_json::Error) -> Failure {
    Failure::Malformed(format!("the message is not an OTLP export as JSON: {error}"))
}

/// The answer to an export; 64-bit numbers are text.
pub(super) fn answer(signal: Signal, response: &ExportResponse) -> Value {
    let rejected = match signal {
        Signal::Metrics => "rejectedDataPoints",
        Signal::Traces => "rejectedSpans",
        Signal::Logs => "rejectedLogRecords",
    };
    match &response.partial_success {
        None => json!({}),
        Some(part) => json!({
            "partialSuccess": { rejected: part.rejected.to_string(), "errorMessage": part.error_message },
        }),
    }
}

/// The answer to a request of which nothing was taken, `google.rpc.Status`.
pub(super) fn failure(status: &RpcStatus) -> Value {
    json!({ "code": status.code, "message": status.message })
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::metrics::v1::{metric::Data, number_data_point};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_read_as_text_and_as_numbers() {
        let point = |value: &str| {
            let message = format!(
                r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"name":"a","gauge":{{"dataPoints":[
                {{"timeUnixNano":"1700000000000000000","startTimeUnixNano":1700000000000000000,{value},"later":{{}}}}]}}}}]}}]}}]}}"#
            );
            let request = metrics(message.as_bytes()).unwrap();
            let metric = request.resource_metrics[0].scope_metrics[0].metrics[0].clone();
            let Some(Data::Gauge(gauge)) = metric.data else { panic!("{metric:?}") };
            let point = &gauge.data_points[0];
            assert_eq!(
                (point.time_unix_nano, point.start_time_unix_nano),
                (1_700_000_000_000_000_000, 1_700_000_000_000_000_000)
            );
            point.value
        };
        assert_eq!(point(r#""asInt":"5""#), Some(number_data_point::Value::AsInt(5)));
        assert_eq!(point(r#""asInt":5"#), Some(number_data_point::Value::AsInt(5)));
        assert_eq!(point(r#""asDouble":5.5"#), Some(number_data_point::Value::AsDouble(5.5)));
    }

    #[test]
    fn what_is_no_export_says_where() {
        for broken in
            ["", "[", "{\"resourceMetrics\":7}", "{\"resourceMetrics\":[{\"scopeMetrics\":{}}]}", "\u{feff}{}"]
        {
            let error = metrics(broken.as_bytes()).unwrap_err().to_string();
            assert!(error.contains("as JSON") && error.contains("column"), "{broken}: {error}");
        }
        let deep = "[".repeat(100_000);
        let message = format!(r#"{{"resourceMetrics":[{{"resource":{{"attributes":[{{"key":"a","value":{{"x":{deep}"#);
        assert!(metrics(message.as_bytes()).is_err());
        assert_eq!(metrics(b"{}").unwrap().resource_metrics.len(), 0);
    }

    #[test]
    fn a_message_of_empty_points_is_as_heavy_as_what_it_makes() {
        let points = vec!["{}"; 10_000].join(",");
        let message = format!(
            r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"histogram":{{"dataPoints":[{points}]}}}}]}}]}}]}}"#
        );
        let request = metrics(message.as_bytes()).unwrap();
        let Some(Data::Histogram(histogram)) = &request.resource_metrics[0].scope_metrics[0].metrics[0].data else {
            panic!()
        };
        let taken = histogram.data_points.capacity() * size_of::<HistogramDataPoint>();
        assert!(weigh(message.as_bytes()) >= taken, "{} < {taken}", weigh(message.as_bytes()));
    }

    #[test]
    fn spans_and_records_are_counted() {
        let spans = br#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"a"},{}]},{"spans":[{}]}]},{}]}"#;
        assert_eq!(count(spans), Ok(3));
        assert_eq!(
            count(br#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"x"}}]}]}]}"#),
            Ok(1)
        );
        assert!(count(b"no").is_err());
    }

    proptest! {
        #[test]
        fn nothing_that_is_sent_panics(message in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = (metrics(&message), count(&message), weigh(&message));
        }
    }
}
