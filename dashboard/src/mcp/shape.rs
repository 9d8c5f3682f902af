//! What is kept of an answer, so that it fits. Pure.

use rmcp::model::JsonObject;
use serde_json::{Map, Value, json};

/// All of it.
pub(super) fn as_it_is(value: &Value, _: &JsonObject) -> Value {
    value.clone()
}

/// Some fields of an object.
fn some(of: &Value, fields: &[&str]) -> Value {
    let kept = fields.iter().filter_map(|name| of.get(*name).map(|value| ((*name).to_owned(), value.clone())));
    Value::Object(kept.collect())
}

/// Some fields of each object of a list.
fn each(list: &Value, fields: &[&str]) -> Vec<Value> {
    list.as_array().into_iter().flatten().map(|of| some(of, fields)).collect()
}

fn text<'a>(arguments: &'a JsonObject, name: &str) -> Option<&'a str> {
    arguments.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// What differs, or is odd: the sentence and its rows.
pub(super) fn rows(value: &Value, _: &JsonObject) -> Value {
    let mut kept =
        some(value, &["metric", "from", "to", "box", "unit", "text", "counted", "inside", "rest", "tested", "nodes"]);
    kept["rows"] = value.get("rows").cloned().unwrap_or_default();
    kept
}

/// Alerts: what a person would read.
pub(super) fn alerts(value: &Value, _: &JsonObject) -> Value {
    let list = value.get("alerts").unwrap_or(value);
    let fields =
        ["severity", "metric", "subject", "sentence", "state", "since", "currentValue", "threshold", "resolution"];
    json!({ "rows": each(list, &fields) })
}

/// Nodes by what `sortBy` names, the highest first; else those that do not report, then by name.
pub(super) fn nodes(value: &Value, arguments: &JsonObject) -> Value {
    let fields = [
        "nodeId",
        "state",
        "cpuUtilizationRatio",
        "memoryUsedRatio",
        "requestsPerSecond",
        "errorsPerSecond",
        "p99Micros",
        "labels",
    ];
    let mut rows = each(value.get("nodes").unwrap_or(value), &fields);
    let count = rows.len();
    match text(arguments, "sortBy") {
        Some(by) => {
            let of = |row: &Value| row.get(by).and_then(Value::as_f64).unwrap_or(f64::NEG_INFINITY);
            rows.sort_by(|a, b| of(b).total_cmp(&of(a)));
        }
        None => rows.sort_by_key(|row| row.get("state").and_then(Value::as_str) == Some("reporting")),
    }
    json!({ "nodes": count, "rows": rows })
}

/// Services, or the routes of the one that was asked for.
pub(super) fn services(value: &Value, arguments: &JsonObject) -> Value {
    let fields = ["service", "route", "requestsPerSecond", "errorRatio", "nodes"];
    let flat = |of: &Value| {
        let mut row = some(of, &fields);
        let latency = of.get("latency").cloned().unwrap_or_default();
        for name in ["p50Micros", "p99Micros"] {
            row[name] = latency.get(name).cloned().unwrap_or_default();
        }
        row
    };
    let list = |of: &Value| of.as_array().into_iter().flatten().map(flat).collect::<Vec<_>>();
    let all = value.get("services").unwrap_or(&Value::Null);
    if text(arguments, "service").is_some() {
        let one = all.get(0).cloned().unwrap_or_default();
        let mut kept = flat(&one);
        kept["rows"] = list(one.get("routes").unwrap_or(&Value::Null)).into();
        return kept;
    }
    json!({ "rows": list(all) })
}

/// The figures of a range, its comparisons and what stands out; the series itself last, as far as it has room.
pub(super) fn history(value: &Value, _: &JsonObject) -> Value {
    let mut kept = some(
        value,
        &[
            "metric",
            "statistic",
            "from",
            "to",
            "unit",
            "average",
            "peak",
            "peakAt",
            "low",
            "lowAt",
            "standardDeviation",
            "comparisons",
        ],
    );
    kept["insights"] = each(value.get("insights").unwrap_or(&Value::Null), &["type", "message"]).into();
    kept["rows"] = each(value.get("timeSeries").unwrap_or(&Value::Null), &["timestamp", "value", "max"]).into();
    kept
}

/// Names of series, each with its unit.
pub(super) fn series(value: &Value, arguments: &JsonObject) -> Value {
    let wanted = text(arguments, "contains").unwrap_or_default();
    let mut names: Map<String, Value> = Map::new();
    for of in value.get("series").and_then(Value::as_array).into_iter().flatten() {
        if let Some(name) = of.get("name").and_then(Value::as_str).filter(|name| name.contains(wanted)) {
            names.insert(name.to_owned(), of.get("unit").cloned().unwrap_or_default());
        }
    }
    let rows: Vec<Value> = names.into_iter().map(|(name, unit)| json!({ "name": name, "unit": unit })).collect();
    json!({ "rows": rows })
}

/// A value in at most `most` bytes: what its list `rows` has no room for is left out, and counted.
pub(super) fn fit(mut value: Value, most: usize) -> String {
    let whole = value.to_string();
    if whole.len() <= most {
        return whole;
    }
    let Some(rows) = value.get_mut("rows").and_then(Value::as_array_mut).map(std::mem::take) else {
        return cut(&whole, most);
    };
    // With a number as long as any.
    value["leftOut"] = rows.len().into();
    let mut used = value.to_string().len();
    let fitting = rows.iter().take_while(|row| {
        used += row.to_string().len() + 1;
        used <= most
    });
    let fitting = fitting.count();
    value["leftOut"] = (rows.len() - fitting).into();
    value["rows"] = rows.into_iter().take(fitting).collect();
    cut(&value.to_string(), most)
}

/// A text in at most `most` bytes; what is cut off says so.
pub(super) fn cut(text: &str, most: usize) -> String {
    const MARK: &str = "... (cut)";
    if text.len() <= most {
        return text.to_owned();
    }
    let end = (0..=most - MARK.len()).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    format!("{}{MARK}", &text[..end])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn nothing_is_longer_than_it_may_be(rows in prop::collection::vec(".{0,300}", 0..40), head in ".{0,3000}") {
            let value = json!({ "text": head, "rows": rows });
            let fitted = fit(value.clone(), 2_000);
            prop_assert!(fitted.len() <= 2_000);
            if let Ok(short) = serde_json::from_str::<Value>(&fitted) {
                let left = short.get("leftOut").and_then(Value::as_u64).unwrap_or(0) as usize;
                prop_assert_eq!(short["rows"].as_array().unwrap().len() + left, rows.len());
            } else {
                prop_assert!(fitted.ends_with("... (cut)"));
            }
        }
    }

    #[test]
    fn nodes_are_sorted_and_what_does_not_report_comes_first() {
        let node = |id: &str, state: &str, cpu: f64| json!({ "nodeId": id, "state": state, "cpuUtilizationRatio": cpu, "facts": "long" });
        let answer =
            json!({ "nodes": [node("a", "reporting", 0.1), node("b", "silent", 0.0), node("c", "reporting", 0.9)] });
        let ids = |shown: &Value| {
            shown["rows"].as_array().unwrap().iter().map(|row| row["nodeId"].clone()).collect::<Vec<_>>()
        };
        assert_eq!(ids(&nodes(&answer, &JsonObject::new())), ["b", "a", "c"]);
        let by_cpu = json!({ "sortBy": "cpuUtilizationRatio" });
        let shown = nodes(&answer, by_cpu.as_object().unwrap());
        assert_eq!(
            (ids(&shown), &shown["nodes"], shown["rows"][0].get("facts")),
            (vec!["c".into(), "a".into(), "b".into()], &json!(3), None)
        );
    }
}
