//! `/api/v1/differ`: what a box of a heatmap has more of than the rest.

use axum::{
    Json,
    extract::{Query, State},
};
use serde_json::{Value, json};
use starling_proto::v1;

use super::{
    ATTRIBUTE, ATTRIBUTES, Asker, OVER,
    answer::{Completeness, number},
    attributes, metric, present, scope,
};
use crate::{
    error::ApiError,
    hub::UnixMillis,
    rest::{
        Answer,
        moment::{moment, second},
        number::{Number, scaled},
        parameters::{Parameters, SCOPE},
        period::{Period, Present, RANGE},
        time::rfc3339,
    },
};

const METRIC: &str = "metric";
/// First and last second of the box.
const BOX: [&str; 2] = ["boxFrom", "boxTo"];
/// Bounds of its values, in the unit of answers.
const BOUNDS: [&str; 2] = ["lower", "upper"];
pub(super) const PARAMETERS: [&str; 10] =
    [OVER[0], OVER[1], OVER[2], METRIC, BOX[0], BOX[1], BOUNDS[0], BOUNDS[1], "top", ATTRIBUTES];
/// Names that an aggregator knows by themselves.
const KINDS: [&str; 3] = ["latency", "throughput", "errors"];
pub(super) async fn answer(State(asker): State<Asker>, Query(query): Query<Parameters>) -> Answer {
    query.only_or(&[&SCOPE[..], &PARAMETERS].concat(), ATTRIBUTE)?;
    let (source, at) = (query.source()?, present(&asker.readers));
    let period = Period::asked(&query, RANGE, "1m", at)?;
    let name = query.get(METRIC).unwrap_or("latency");
    let [box_from_tick, box_to_tick] = of_box(&query, period, at)?;
    let question = v1::DifferRequest {
        scope: Some(scope(&source, false)),
        name: if KINDS.contains(&name) { name } else { metric::series(name).0 }.to_owned(),
        attributes: attributes(&query),
        from_tick: period.from,
        to_tick: period.to,
        box_from_tick,
        box_to_tick,
        lower: bound(&query, BOUNDS[0])?,
        upper: bound(&query, BOUNDS[1])?,
        top: query.whole("top", 1..=200)?,
        strict: false,
        // As times are in all answers.
        time_unit: "us".to_owned(),
    };
    let asking = asker.aggregator().await?;
    let differences = asking
        .ask(question, async |mut client, question| client.differ(question).await)
        .await
        .map_err(|error| error.about("name", METRIC))?;
    Ok(Json(shown(name, &differences, period, at.now)))
}

/// The seconds of the box, within those that are looked at; 0 for what is not given.
fn of_box(query: &Parameters, period: Period, at: Present) -> Result<[u32; 2], ApiError> {
    let end = |name| {
        let text = query.get(name).filter(|text| !text.is_empty());
        let read = |text: &str| moment(text, at.now).map(second).map_err(|why| ApiError::invalid(name, why));
        text.map(read).transpose()
    };
    let [from, to] = [end(BOX[0])?, end(BOX[1])?];
    // Columns of a heatmap may begin before its range, and end after it.
    let (first, last) = (from.map(|tick| tick.max(period.from)), to.map(|tick| tick.min(period.to)));
    if first.is_some_and(|first| first > period.to) || last.is_some_and(|last| last < period.from) {
        let (from, to) = (rfc3339(period.from), rfc3339(period.to));
        return Err(ApiError::invalid(BOX[0], format!("the box is not within what is looked at, {from} to {to}")));
    }
    Ok([first, last].map(Option::unwrap_or_default))
}

fn bound(query: &Parameters, name: &'static str) -> Result<Option<f64>, ApiError> {
    let Some(text) = query.get(name).filter(|text| !text.is_empty()) else { return Ok(None) };
    match text.parse::<f64>() {
        Ok(bound) if bound.is_finite() => Ok(Some(bound)),
        _ => Err(ApiError::invalid(name, format!("{text:?} is no number; times are in microseconds"))),
    }
}

fn shown(name: &str, found: &v1::Differences, period: Period, now: UnixMillis) -> Value {
    let (unit, factor) = metric::unit(&found.unit);
    let bound = |is: Option<f64>| is.map(|is| Number(scaled(is, factor)));
    let count = |is: Option<f64>| is.map(|is| number(is, 1.0));
    let row = |row: &v1::Overrepresented| {
        json!({
            "dimension": row.dimension,
            "key": Some(&row.key).filter(|key| !key.is_empty()),
            "value": row.value,
            "inside": count(row.inside),
            "rest": count(row.rest),
            "shareInside": count(row.share_inside),
            "shareRest": count(row.share_rest),
            "lift": count(row.lift),
            "excess": count(row.excess),
            "log10P": count(row.log10_p),
            "significant": row.significant,
        })
    };
    let points: Vec<v1::RangePoint> = found.completeness.iter().copied().collect();
    json!({
        "metric": name,
        "from": rfc3339(period.from),
        "to": rfc3339(period.to),
        "box": {
            "from": rfc3339(found.box_from_tick),
            "to": rfc3339(found.box_to_tick),
            "lower": bound(found.lower),
            "upper": bound(found.upper),
        },
        "unit": unit,
        "text": found.text,
        "counted": found.counted,
        "stepSeconds": Some(found.step_seconds).filter(|step| *step > 0),
        "inside": count(found.inside),
        "rest": count(found.rest),
        "tested": found.tested,
        "errorBoundPpm": Some(found.error_bound_ppm).filter(|bound| *bound > 0),
        "rows": found.rows.iter().map(row).collect::<Vec<_>>(),
        "answeredBy": found.answered_by,
        "completeness": json!(Completeness::of(&points, (&found.missing, found.from_engine.as_ref()), period, now)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_micros_and_what_is_unknown_is_null() {
        let found = v1::Differences {
            unit: "s".into(),
            lower: Some(0.25),
            box_from_tick: 60,
            box_to_tick: 119,
            inside: Some(12.0),
            rows: vec![v1::Overrepresented {
                dimension: "node".into(),
                value: "n1".into(),
                inside: Some(9.0),
                significant: true,
                ..Default::default()
            }],
            ..Default::default()
        };
        let shown = shown("latency", &found, Period { from: 60, to: 179 }, 0);
        assert_eq!((&shown["box"]["lower"], &shown["box"]["upper"]), (&json!(250_000), &Value::Null));
        assert_eq!(shown["box"]["to"], "1970-01-01T00:01:59.000Z");
        let row = &shown["rows"][0];
        assert_eq!(
            (&row["value"], &row["inside"], &row["lift"], &row["key"]),
            (&json!("n1"), &json!(9), &Value::Null, &Value::Null)
        );
    }
}
