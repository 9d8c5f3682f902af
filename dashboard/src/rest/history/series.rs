//! `/api/v1/series`: any series by name and attributes, over any range that is kept.

use axum::{
    Json,
    extract::{Query, State},
};
use serde_json::{Map, Value, json};
use starling_proto::v1;

use super::{
    ATTRIBUTE, ATTRIBUTES, Asker, OVER,
    answer::{Completeness, numbers, point, sources},
    attributes, present, scope, yes,
};
use crate::{
    error::ApiError,
    hub::{Source, UnixMillis},
    rest::{
        Answer,
        parameters::{Parameters, SCOPE},
        period::{POINTS_MAX, Period, Present, RANGE},
        time::rfc3339,
    },
};

/// Parameters beside the scope, as the index lists them.
pub(super) const PARAMETERS: [&str; 15] = [
    OVER[0],
    OVER[1],
    OVER[2],
    "step",
    "granularity",
    "name",
    ATTRIBUTES,
    "total",
    "statistics",
    "eachNode",
    "top",
    "bottom",
    "topBy",
    "overNodes",
    "strict",
];
/// Most series that can be asked for by rank.
const TOP_MAX: u32 = 1_000;
/// Points when no step is asked for: of many series each.
const POINTS_USUAL: u32 = 600;

pub(super) async fn answer(State(asker): State<Asker>, Query(query): Query<Parameters>) -> Answer {
    query.only_or(&[&SCOPE[..], &PARAMETERS].concat(), ATTRIBUTE)?;
    let (source, at) = (query.source()?, present(&asker.readers));
    if query.get("name").is_none() {
        return list(&asker, source, &query).await;
    }
    let (period, question) = question(&query, &source, at, POINTS_MAX)?;
    let asking = asker.aggregator().await?;
    let answer = asking.range(question).await?;
    Ok(Json(shown(&answer, period, at.now)))
}

/// What is asked for; the aggregator checks names.
pub(super) fn question(
    query: &Parameters,
    source: &Source,
    at: Present,
    points_max: u32,
) -> Result<(Period, v1::QueryRangeRequest), ApiError> {
    let period = Period::asked(query, RANGE, "1h", at)?;
    let chosen = query.get("step").or(query.get("granularity")).is_none();
    let step = if chosen { period.chosen(POINTS_USUAL) } else { period.step(query, points_max)? };
    let text = |name: &str| query.get(name).unwrap_or_default();
    let (top, bottom) = (query.whole("top", 1..=TOP_MAX)?, query.whole("bottom", 1..=TOP_MAX)?);
    if top > 0 && bottom > 0 {
        return Err(ApiError::invalid("top", "give top or bottom, not both"));
    }
    let question = v1::QueryRangeRequest {
        scope: Some(scope(source, yes(query, "eachNode")?)),
        name: text("name").to_owned(),
        attributes: attributes(query),
        matchers: Vec::new(),
        total: yes(query, "total")?,
        statistics: text("statistics").split(',').filter(|is| !is.is_empty()).map(|is| is.trim().to_owned()).collect(),
        from_tick: period.from,
        to_tick: period.to,
        step_seconds: step,
        max_points: POINTS_MAX,
        top: top.max(bottom),
        top_by: text("topBy").to_owned(),
        bottom: bottom > 0,
        over_nodes: text("overNodes").to_owned(),
        strict: yes(query, "strict")?,
    };
    Ok((period, question))
}

/// The series there are.
async fn list(asker: &Asker, source: Source, query: &Parameters) -> Answer {
    let scope = scope(&source, false);
    let question = v1::GetSeriesRequest {
        group: scope.group,
        node_id: scope.node_id,
        attributes: attributes(query),
        ..Default::default()
    };
    let asking = asker.aggregator().await?;
    let answer = asking.ask(question, async |mut client, question| client.get_series(question).await).await?;
    let series = |is: &v1::Series| {
        json!({
            "name": is.name,
            "attributes": sorted(&is.attributes),
            "kind": is.kind,
            "unit": is.unit,
            "derived": is.derived,
        })
    };
    Ok(Json(json!({
        "series": answer.series.iter().map(series).collect::<Vec<_>>(),
        "leftOut": answer.left_out(),
        "answeredBy": answer.answered_by,
    })))
}

/// The answer. `null` among the values means that nothing is known.
fn shown(from: &v1::RangeAnswer, period: Period, now: UnixMillis) -> Value {
    json!({
        "from": rfc3339(period.from),
        "to": rfc3339(period.to),
        "stepSeconds": from.step_seconds,
        "resolutionSeconds": from.resolution_seconds,
        "points": from.points.iter().map(|is| Value::from(point(is))).collect::<Vec<_>>(),
        "series": from.series.iter().map(series).collect::<Vec<_>>(),
        "leftOut": from.left_out(),
        "answeredBy": from.answered_by,
        "completeness": json!(Completeness::of(&from.points, sources(from), period, now)),
    })
}

/// Attributes in the order of their keys, so that two answers can be compared as text.
fn sorted(attributes: &std::collections::HashMap<String, String>) -> Map<String, Value> {
    let mut attributes: Vec<_> = attributes.iter().collect();
    attributes.sort_unstable();
    attributes.into_iter().map(|(key, value)| (key.clone(), value.clone().into())).collect()
}

fn series(from: &v1::RangeSeries) -> Value {
    let statistic = |is: &v1::RangeValues| {
        json!({
            "statistic": is.statistic,
            "values": numbers(&is.values, 1.0),
            "errorBoundPpm": Some(is.error_bound_ppm).filter(|bound| *bound > 0),
        })
    };
    json!({
        "nodeId": Some(&from.node_id).filter(|id| !id.is_empty()),
        "name": from.name,
        "attributes": sorted(&from.attributes),
        "kind": from.kind,
        "unit": from.unit,
        "derived": from.derived,
        "statistics": from.statistics.iter().map(statistic).collect::<Vec<_>>(),
        "rankValue": from.rank_value.map(|value| numbers(&[value], 1.0).remove(0)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_null() {
        let statistic =
            v1::RangeValues { statistic: "p50".into(), values: vec![1.5, f64::NAN], error_bound_ppm: 3_906 };
        let series =
            v1::RangeSeries { name: "traffic.duration".into(), statistics: vec![statistic], ..Default::default() };
        let points = vec![v1::RangePoint { tick: 7, seconds: Some(1), ..Default::default() }];
        let answer = v1::RangeAnswer { series: vec![series], points, ..Default::default() };
        let answer = shown(&answer, Period { from: 7, to: 8 }, 0);
        assert_eq!(answer["points"][0]["timestamp"], "1970-01-01T00:00:07.000Z");
        assert_eq!(answer["series"][0]["statistics"][0]["values"], json!([1.5, null]));
        assert_eq!(answer["series"][0]["statistics"][0]["errorBoundPpm"], 3906);
        assert_eq!(answer["series"][0]["nodeId"], Value::Null);
    }
}
