//! `/api/v1/series`: any series by name and attributes, asked of an aggregator.

use serde_json::{Map, Value, json};
use starling_proto::v1;

use super::{
    number::Number,
    parameters::{Parameters, SCOPE},
    time::rfc3339,
};
use crate::{error::ApiError, hub::Source};

/// Parameters beside the scope, as the index lists them.
pub(super) const PARAMETERS: [&str; 7] = ["name", "attribute.KEY", "total", "statistics", "from", "to", "step"];
/// What stands before the key of an attribute.
const ATTRIBUTE: &str = "attribute.";

/// What is asked for; the aggregator checks names and the time.
pub(super) fn request(query: &Parameters) -> Result<v1::GetSeriesRequest, ApiError> {
    query.only_or(&[&SCOPE[..], &PARAMETERS].concat(), ATTRIBUTE)?;
    let (group, node_id) = match query.source()? {
        Source::Cluster(group) => (group.name().to_owned(), String::new()),
        Source::Node(node) => (String::new(), node.as_str().to_owned()),
    };
    let text = |name: &str| query.get(name).unwrap_or_default();
    let number = |name: &'static str| match query.get(name) {
        None => Ok(0),
        Some(text) => text
            .parse()
            .map_err(|_| ApiError::invalid(name, format!("{text:?} is no whole number of seconds below 4294967296"))),
    };
    let total = match text("total") {
        "" | "false" => false,
        "true" => true,
        other => return Err(ApiError::invalid("total", format!("{other:?} is not known; known: true, false"))),
    };
    Ok(v1::GetSeriesRequest {
        group,
        node_id,
        name: text("name").to_owned(),
        attributes: query.starting_with(ATTRIBUTE).map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        total,
        statistics: text("statistics").split(',').filter(|is| !is.is_empty()).map(|is| is.trim().to_owned()).collect(),
        from_tick: number("from")?,
        to_tick: number("to")?,
        step_seconds: number("step")?,
    })
}

/// The answer. `null` among the values means that it was not reported.
pub(super) fn answer(from: &v1::SeriesAnswer) -> Value {
    let point = |is: &v1::SeriesPoint| {
        json!({
            "timestamp": rfc3339(is.tick),
            "tick": is.tick,
            "seconds": is.seconds,
            "nodesReporting": is.nodes_reporting,
            "nodesExpected": is.nodes_expected,
            "skippedCells": is.skipped_cells,
        })
    };
    json!({
        "points": from.points.iter().map(point).collect::<Vec<_>>(),
        "series": from.series.iter().map(series).collect::<Vec<_>>(),
        "leftOut": from.left_out(),
        "answeredBy": from.answered_by,
    })
}

fn series(from: &v1::Series) -> Value {
    // Sorted, so that two answers can be compared as text.
    let mut attributes: Vec<_> = from.attributes.iter().collect();
    attributes.sort_unstable();
    let attributes: Map<String, Value> =
        attributes.into_iter().map(|(key, value)| (key.clone(), value.clone().into())).collect();
    let statistic = |is: &v1::StatisticValues| {
        json!({
            "statistic": is.statistic,
            // What is not a number is `null` in JSON.
            "values": is.values.iter().copied().map(Number).collect::<Vec<_>>(),
            "errorBoundPpm": Some(is.error_bound_ppm).filter(|bound| *bound > 0),
        })
    };
    json!({
        "name": from.name,
        "attributes": attributes,
        "kind": from.kind,
        "unit": from.unit,
        "scope": from.scope,
        "derived": from.derived,
        "statistics": from.statistics.iter().map(statistic).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_reported_is_null_and_what_was_skipped_is_counted() {
        let statistic =
            v1::StatisticValues { statistic: "p50".into(), values: vec![1.5, f64::NAN], error_bound_ppm: 3_906 };
        let series = v1::Series { name: "traffic.duration".into(), statistics: vec![statistic], ..Default::default() };
        let point = v1::SeriesPoint { tick: 7, skipped_cells: Some(3), ..Default::default() };
        let answer = answer(&v1::SeriesAnswer { series: vec![series], points: vec![point], ..Default::default() });
        assert_eq!(answer["points"][0]["skippedCells"], 3);
        assert_eq!(answer["series"][0]["statistics"][0]["values"], json!([1.5, null]));
        assert_eq!(answer["series"][0]["statistics"][0]["errorBoundPpm"], 3906);
    }
}
