//! `/api/v1/outliers`: nodes whose values are beyond those of their peers.

use axum::{
    Json,
    extract::{Query, State},
};
use serde_json::{Value, json};
use starling_proto::v1;

use super::{
    ATTRIBUTE, ATTRIBUTES, Asker,
    answer::{Completeness, number},
    attributes, metric, present,
};
use crate::{
    error::ApiError,
    hub::{Source, UnixMillis},
    rest::{
        Answer,
        moment::{moment, second},
        parameters::{Parameters, SCOPE},
        period::Period,
        time::rfc3339,
    },
};

pub(super) const PARAMETERS: [&str; 4] = ["to", "metric", "top", ATTRIBUTES];
/// Seconds that are shown.
const WINDOW: u32 = 60;

pub(super) async fn answer(State(asker): State<Asker>, Query(query): Query<Parameters>) -> Answer {
    query.only_or(&[&SCOPE[..], &PARAMETERS].concat(), ATTRIBUTE)?;
    let at = present(&asker.readers);
    let Source::Cluster(group) = query.source()? else {
        return Err(ApiError::invalid("node", "nodes are compared with each other: give a group, or nothing"));
    };
    let to = moment(query.get("to").unwrap_or_default(), at.now).map(second);
    let to = to.map_err(|why| ApiError::invalid("to", why))?.min(at.newest);
    let name = query.get("metric").unwrap_or("latency");
    let question = v1::ListOutliersRequest {
        group: group.name().to_owned(),
        name: metric::series(name).0.to_owned(),
        attributes: attributes(&query),
        to_tick: to,
        top: query.whole("top", 1..=200)?,
        strict: false,
    };
    let asking = asker.aggregator().await?;
    let found = asking
        .ask(question, async |mut client, question| client.list_outliers(question).await)
        .await
        .map_err(|error| error.about("name", "metric").about("to_tick", "to"))?;
    Ok(Json(shown(name, &found, to, at.now)))
}

fn shown(name: &str, found: &v1::Outliers, to: u32, now: UnixMillis) -> Value {
    let (unit, factor) = metric::unit(&found.unit);
    let value = |is: Option<f64>, factor: f64| is.map(|is| number(is, factor));
    let row = |row: &v1::Outlier| {
        let p99 = row.p99.unwrap_or_default();
        json!({
            "node": row.node_id,
            "values": value(row.values, 1.0),
            "p99": value(p99.value, factor),
            "p99Lower": value(p99.lower, factor),
            "p99Upper": value(p99.upper, factor),
            "peersP99": value(row.peers_p99, factor),
            "factor": value(row.factor, 1.0),
            "distance": value(row.distance, 1.0),
            "shareBeyond": value(row.share_beyond, 1.0),
            "usualShareBeyond": value(row.usual_share_beyond, 1.0),
            "log10P": value(row.log10_p, 1.0),
            "odd": row.odd,
            "usual": row.usual,
            "since": row.since_tick.map(rfc3339),
            "sinceBefore": row.since_before,
        })
    };
    let period = Period { from: to.saturating_sub(WINDOW - 1), to };
    let points: Vec<v1::RangePoint> = found.completeness.iter().copied().collect();
    json!({
        "metric": name,
        "from": rfc3339(period.from),
        "to": rfc3339(period.to),
        "unit": unit,
        "text": found.text,
        "nodes": found.nodes,
        "nodesWithFewValues": found.nodes_with_few_values,
        "errorBoundPpm": Some(found.error_bound_ppm).filter(|bound| *bound > 0),
        "rows": found.rows.iter().map(row).collect::<Vec<_>>(),
        "answeredBy": found.answered_by,
        "completeness": json!(Completeness::of(&points, (&found.missing, found.from_engine.as_ref()), period, now)),
    })
}
