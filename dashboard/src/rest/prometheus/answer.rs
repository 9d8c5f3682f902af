//! Answers in Prometheus's form.

use std::collections::{BTreeMap, HashMap};

use axum::Json;
use serde_json::{Map, Value, json};
use starling_proto::v1;

/// Which bounds belong to a bucket of an answer: the upper one, or both.
const UPPER: u8 = 0;
const BOTH: u8 = 3;

/// The body of an answer, with at most `limit` series.
pub(super) fn written(answer: &v1::PromqlAnswer, limit: Option<usize>) -> Json<Value> {
    let most = limit.unwrap_or(usize::MAX);
    let result = match answer.result_type.as_str() {
        "scalar" => answer.series.first().and_then(|one| points(one).next()).unwrap_or(Value::Null),
        "string" => {
            let time = answer.series.first().and_then(|one| one.times_ms.first()).map_or(0, |time| *time);
            json!([seconds(time), answer.text])
        }
        "vector" => {
            Value::Array(answer.series.iter().take(most).map(|one| series(one, "value", "histogram", true)).collect())
        }
        _ => Value::Array(
            answer.series.iter().take(most).map(|one| series(one, "values", "histograms", false)).collect(),
        ),
    };
    let mut body = json!({ "status": "success", "data": { "resultType": answer.result_type, "result": result } });
    let mut warnings = answer.warnings.clone();
    if answer.series.len() > most {
        warnings.push("results truncated due to limit".to_owned());
    }
    if !warnings.is_empty() {
        body["warnings"] = json!(warnings);
    }
    if !answer.infos.is_empty() {
        body["infos"] = json!(answer.infos);
    }
    Json(body)
}

/// Labels in the order of their names.
pub(super) fn labels(labels: &HashMap<String, String>) -> Value {
    let sorted: BTreeMap<_, _> = labels.iter().collect();
    sorted.into_iter().map(|(key, value)| (key.clone(), json!(value))).collect::<Map<_, _>>().into()
}

fn series(one: &v1::PromqlSeries, numbers: &str, histograms: &str, single: bool) -> Value {
    let mut body = Map::new();
    body.insert("metric".into(), labels(&one.labels));
    let mut put = |name: &str, mut all: Vec<Value>| {
        if !all.is_empty() {
            body.insert(name.into(), if single { all.swap_remove(0) } else { Value::Array(all) });
        }
    };
    put(numbers, points(one).collect());
    put(histograms, one.histograms.iter().map(histogram).collect());
    body.into()
}

fn points(one: &v1::PromqlSeries) -> impl Iterator<Item = Value> {
    one.times_ms.iter().zip(&one.values).map(|(time, value)| json!([seconds(*time), number(*value)]))
}

fn histogram(one: &v1::PromqlHistogram) -> Value {
    let bounds = one.lowers.iter().zip(&one.uppers).zip(&one.counts);
    let bucket = |((lower, upper), count): ((&f64, &f64), &f64)| {
        let rule = if lower == upper { BOTH } else { UPPER };
        json!([rule, number(*lower), number(*upper), number(*count)])
    };
    let buckets: Vec<_> = bounds.map(bucket).collect();
    json!([seconds(one.time_ms), { "count": number(one.count), "sum": number(one.sum), "buckets": buckets }])
}

/// Unix seconds, whole ones without a point.
fn seconds(ms: i64) -> Value {
    if ms % 1_000 == 0 { json!(ms / 1_000) } else { json!(ms as f64 / 1_000.0) }
}

/// All digits that tell a number from its neighbours, never an exponent.
fn number(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() }
    } else {
        value.to_string()
    }
}
