//! Answers of a double in Prometheus's language: it knows `1+1`, `up` of two nodes and one histogram, and what is broken.

use std::collections::HashMap;

use starling_proto::v1;
use tonic::Status;

/// `1+1` is 2, `lat` a histogram, `half(` and the like are broken; anything else is 1 and 2 of two nodes at each step.
pub(crate) fn answer(request: &v1::QueryPromqlRequest, name: &str) -> Result<v1::PromqlAnswer, Status> {
    let query = request.query.as_str();
    if query.is_empty() || query.matches('(').count() != query.matches(')').count() {
        return Err(Status::invalid_argument("bad_data: 1:5: parse error: \"(\" is never closed"));
    }
    if query.contains("many") {
        return Err(Status::failed_precondition("execution: 1:1: many-to-many matching not allowed"));
    }
    let answered_by = name.to_owned();
    if request.check_only {
        return Ok(v1::PromqlAnswer { text: query.replace("  ", " "), answered_by, ..Default::default() });
    }
    let step = request.step_ms.max(1);
    let times: Vec<i64> =
        (0..=(request.end_ms - request.start_ms) / step).map(|n| request.start_ms + n * step).collect();
    let (result_type, series) = match query {
        "1+1" => ("scalar", vec![of(&[], &times, 2.0)]),
        "lat" => ("vector", vec![histogram(request.start_ms)]),
        _ => {
            let kind = if request.step_ms == 0 { "vector" } else { "matrix" };
            let one = |node: &str, value| of(&[("__name__", "up"), ("node", node)], &times, value);
            (kind, vec![one("a", 1.0), one("b", f64::INFINITY)])
        }
    };
    let result_type = result_type.to_owned();
    let warnings = if query == "partial" { vec!["incomplete: 1 nodes".to_owned()] } else { Vec::new() };
    Ok(v1::PromqlAnswer { result_type, series, warnings, answered_by, ..Default::default() })
}

/// `up` of two nodes and a histogram.
pub(crate) fn series(request: &v1::ListPromqlSeriesRequest) -> Result<v1::PromqlSeriesList, Status> {
    if request.selectors.iter().any(|selector| selector.contains('(')) {
        return Err(Status::invalid_argument("bad_data: 1:1: parse error: expected a selector"));
    }
    let entry = |labels: &[(&str, &str)], kind: &str, unit: &str| v1::PromqlSeriesEntry {
        labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        kind: kind.to_owned(),
        unit: unit.to_owned(),
        help: "What it is.".to_owned(),
    };
    Ok(v1::PromqlSeriesList {
        series: vec![
            entry(&[("__name__", "lat_seconds"), ("node", "a")], "histogram", "s"),
            entry(&[("__name__", "up"), ("node", "a")], "gauge", "1"),
            entry(&[("__name__", "up"), ("node", "b"), ("zone", "x")], "gauge", "1"),
        ],
        ..Default::default()
    })
}

fn of(labels: &[(&str, &str)], times: &[i64], value: f64) -> v1::PromqlSeries {
    let labels: HashMap<String, String> =
        labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    v1::PromqlSeries { labels, times_ms: times.to_vec(), values: vec![value; times.len()], ..Default::default() }
}

fn histogram(time_ms: i64) -> v1::PromqlSeries {
    let one = v1::PromqlHistogram {
        time_ms,
        count: 3.0,
        sum: 0.5,
        lowers: vec![0.0, 0.25],
        uppers: vec![0.0, 0.5],
        counts: vec![1.0, 2.0],
    };
    let labels = [("__name__".to_owned(), "lat".to_owned())].into();
    v1::PromqlSeries { labels, histograms: vec![one], ..Default::default() }
}
