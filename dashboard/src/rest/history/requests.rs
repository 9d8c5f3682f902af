//! `/api/v1/metrics/requests`: the request timeline over any range.

use axum::{
    Json,
    extract::{Query, State},
};
use serde_json::{Map, Value, json};
use starling_proto::catalogue::PROTOCOLS;

use super::{
    Asker, OVER,
    answer::{Completeness, point, sources},
    charts::{self, Charted, Column, known},
    present,
};
use crate::rest::{
    Answer,
    endpoints::{REQUEST_COLUMNS, protocols},
    parameters::{Parameters, SCOPE},
    period::{POINTS_MAX, Period, RANGE},
    time::rfc3339,
};

pub(super) const PARAMETERS: [&str; 6] = [OVER[0], OVER[1], OVER[2], "step", "granularity", "protocols"];

pub(super) async fn answer(State(asker): State<Asker>, Query(query): Query<Parameters>) -> Answer {
    query.only(&[&SCOPE[..], &PARAMETERS].concat())?;
    let (source, protocols, at) = (query.source()?, protocols(&query)?, present(&asker.readers));
    let period = Period::asked(&query, RANGE, "1h", at)?;
    let step = period.step(&query, POINTS_MAX)?;
    let period = period.on_grid(step);
    let columns: Vec<_> = protocols.iter().filter_map(|&protocol| Charted::named(REQUEST_COLUMNS[protocol])).collect();
    let names: Vec<_> = protocols.iter().map(|&protocol| PROTOCOLS[protocol]).collect();
    let asking = asker.aggregator().await?;
    let read = charts::read(&asking, &source, &columns, period, step).await?;
    let points = &read.answer.points;
    let by_protocol = |place: usize, pick: fn(&Column) -> Option<&Vec<f64>>| -> Value {
        let value = |(name, column): (&&str, &Column)| {
            ((*name).to_owned(), json!(pick(column).and_then(|values| known(values, place))))
        };
        names.iter().zip(&read.columns).map(value).collect::<Map<_, _>>().into()
    };
    let shown = |(place, is): (usize, &starling_proto::v1::RangePoint)| {
        let mut shown = point(is);
        shown.insert("requestsPerSecond".into(), by_protocol(place, |column| Some(&column.values)));
        if step > 1 {
            let extreme = |pick| by_protocol(place, pick);
            shown.insert("requestsPerSecondMin".into(), extreme(|column| Some(&column.extremes.as_ref()?.0)));
            shown.insert("requestsPerSecondMax".into(), extreme(|column| Some(&column.extremes.as_ref()?.1)));
        }
        Value::from(shown)
    };
    let completeness = Completeness::of(points, sources(&read.answer), period, at.now);
    Ok(Json(json!({
        "range": query.get(RANGE),
        "granularity": query.get("granularity"),
        "stepSeconds": step,
        "resolutionSeconds": read.answer.resolution_seconds,
        "protocols": names,
        "points": points.iter().enumerate().map(shown).collect::<Vec<_>>(),
        "coverage": {
            "from": rfc3339(period.from),
            "to": rfc3339(period.to),
            "requestedSeconds": completeness.seconds_expected,
            "availableSeconds": completeness.seconds,
            "complete": completeness.seconds >= completeness.seconds_expected,
            "note": completeness.note(),
        },
        "answeredBy": read.answer.answered_by,
        "completeness": json!(completeness),
    })))
}
