//! `/api/v1/metrics/heatmap/{metric}`: values by time and value, or by time and node.

use axum::{
    Json,
    extract::{Path, Query, State},
};
use serde_json::{Value, json};
use starling_proto::v1;

use super::{
    ATTRIBUTE, ATTRIBUTES, Asker,
    answer::{Completeness, number, point},
    attributes, metric, present, scope, yes,
};
use crate::{
    hub::UnixMillis,
    rest::{
        Answer,
        number::{Number, scaled},
        parameters::{Parameters, SCOPE},
        period::{BETWEEN, Period},
        time::rfc3339,
    },
};

const RANGE: &str = "timeRange";
pub(super) const PARAMETERS: [&str; 7] = [RANGE, BETWEEN[0], BETWEEN[1], "columns", "rows", "eachNode", ATTRIBUTES];
/// Names that an aggregator knows by themselves: what they are counted in differs.
const KINDS: [&str; 3] = ["latency", "throughput", "errors"];

pub(super) async fn answer(
    State(asker): State<Asker>,
    Path(name): Path<String>,
    Query(query): Query<Parameters>,
) -> Answer {
    query.only_or(&[&SCOPE[..], &PARAMETERS].concat(), ATTRIBUTE)?;
    let (source, at) = (query.source()?, present(&asker.readers));
    let period = Period::asked(&query, RANGE, "1h", at)?;
    let name = if KINDS.contains(&name.as_str()) { name } else { metric::series(&name).0.to_owned() };
    let question = v1::GetHeatmapRequest {
        scope: Some(scope(&source, yes(&query, "eachNode")?)),
        name: name.clone(),
        attributes: attributes(&query),
        from_tick: period.from,
        to_tick: period.to,
        step_seconds: 0,
        max_columns: query.whole("columns", 1..=1_000)?,
        max_rows: query.whole("rows", 2..=1_000)?,
        strict: false,
    };
    let asking = asker.aggregator().await?;
    let map = asking
        .ask(question, async |mut client, question| client.get_heatmap(question).await)
        .await
        .map_err(|error| error.about("name", "metric"))?;
    Ok(Json(shown(&name, &map, period, at.now)))
}

fn shown(name: &str, map: &v1::Heatmap, period: Period, now: UnixMillis) -> Value {
    let (unit, factor) = metric::unit(&map.unit);
    // The unit is that of the bounds, or of the cells when rows are nodes.
    let of_cells = if map.cells_are == "values" { factor } else { 1.0 };
    let bound = |is: Option<f64>| is.map(|is| Number(scaled(is, factor)));
    let row = |row: &v1::HeatmapRow| {
        json!({
            "lower": bound(row.lower),
            "upper": bound(row.upper),
            "nodeId": Some(&row.node_id).filter(|id| !id.is_empty()),
        })
    };
    let grid = |row: &v1::HeatmapRow| {
        let cell = |(column, cell): (&v1::RangePoint, &f64)| json!({ "timestamp": rfc3339(column.tick), "value": number(*cell, of_cells) });
        map.columns.iter().zip(&row.cells).map(cell).collect::<Vec<_>>()
    };
    json!({
        "metric": name,
        "from": rfc3339(period.from),
        "to": rfc3339(period.to),
        "stepSeconds": map.step_seconds,
        "unit": unit,
        "cellsAre": map.cells_are,
        "errorBoundPpm": Some(map.error_bound_ppm).filter(|bound| *bound > 0),
        "columns": map.columns.iter().map(|is| Value::from(point(is))).collect::<Vec<_>>(),
        "rows": map.rows.iter().map(row).collect::<Vec<_>>(),
        "grid": map.rows.iter().map(grid).collect::<Vec<_>>(),
        "answeredBy": map.answered_by,
        "completeness": json!(Completeness::of(&map.columns, (&map.missing, map.from_engine.as_ref()), period, now)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(unit: &str, cells_are: &str, row: v1::HeatmapRow) -> Value {
        let columns = [60, 120].map(|tick| v1::RangePoint { tick, seconds: Some(60), ..Default::default() }).to_vec();
        let map = v1::Heatmap {
            columns,
            rows: vec![row],
            unit: unit.into(),
            cells_are: cells_are.into(),
            ..Default::default()
        };
        shown("x", &map, Period { from: 60, to: 179 }, 0)
    }

    #[test]
    fn bounds_of_times_are_micros_and_counts_are_counts() {
        let row = v1::HeatmapRow { lower: Some(0.001), upper: None, cells: vec![0.0, f64::NAN], ..Default::default() };
        let map = of("s", "counts", row);
        assert_eq!(
            (&map["unit"], &map["rows"][0]["lower"], &map["rows"][0]["upper"]),
            (&json!("us"), &json!(1_000), &json!(null))
        );
        // None is another thing than nothing known.
        assert_eq!(map["grid"][0][0], json!({"timestamp": "1970-01-01T00:01:00.000Z", "value": 0}));
        assert_eq!(map["grid"][0][1]["value"], Value::Null);
        let row = v1::HeatmapRow { node_id: "n1".into(), cells: vec![0.5, 0.25], ..Default::default() };
        let map = of("s", "values", row);
        assert_eq!((&map["grid"][0][0]["value"], &map["rows"][0]["nodeId"]), (&json!(500_000), &json!("n1")));
    }
}
