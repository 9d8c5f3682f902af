//! What is answered over time, asked of an aggregator: the request timeline, charts, heatmaps, the historical analysis,
//! any series, and their export.
//!
//! Parameters are checked before anything is waited for. An answer says how much of its range it holds: `null` where
//! nothing is known, and what another aggregator did not give under `missing`.

mod answer;
mod ask;
mod charts;
mod differ;
mod export;
mod heatmap;
mod historical;
mod metric;
mod outliers;
mod requests;
mod series;

use axum::routing::get;
use starling_proto::{group::Group, v1};

use super::{
    Other,
    parameters::{Parameters, SCOPE},
    period::{BETWEEN, Present, RANGE},
    readers::Readers,
};
use crate::{error::ApiError, hub::Source, shared::now};

pub(super) use ask::Asker;
pub(super) use export::Exports;
pub(crate) use export::PARQUET;

/// Parameters of a range beside the scope.
const OVER: [&str; 3] = [RANGE, BETWEEN[0], BETWEEN[1]];
/// What stands before the key of an attribute.
const ATTRIBUTE: &str = "attribute.";
/// The same as the index lists it.
const ATTRIBUTES: &str = "attribute.KEY";

/// The endpoints of this room.
pub(super) fn others() -> Vec<Other> {
    let other = |path, about, parameters: &[&'static str], answer| Other {
        path,
        about,
        parameters: [&SCOPE, parameters].concat(),
        answer,
    };
    vec![
        other(
            "/api/v1/metrics/requests",
            "requests per second by protocol over any range that is kept",
            &requests::PARAMETERS,
            get(requests::answer),
        ),
        other(
            "/api/v1/metrics/charts",
            "columns of the page's charts over any range that is kept, each with its extremes",
            &charts::PARAMETERS,
            get(charts::answer),
        ),
        other(
            "/api/v1/metrics/heatmap/{metric}",
            "latency, throughput, errors or any metric by time and value, or by time and node",
            &heatmap::PARAMETERS,
            get(heatmap::answer),
        ),
        other(
            "/api/v1/differ",
            "which nodes, labels, protocols, services and routes a box of seconds and values has more of than the rest",
            &differ::PARAMETERS,
            get(differ::answer),
        ),
        other(
            "/api/v1/outliers",
            "nodes whose values are beyond those of their peers in the last minute, since when, the oddest first",
            &outliers::PARAMETERS,
            get(outliers::answer),
        ),
        other(
            "/api/v1/metrics/historical",
            "average, peak, low and deviation of a metric, against the period before and a week ago, and what stands out",
            &historical::PARAMETERS,
            get(historical::answer),
        ),
        other(
            "/api/v1/series",
            "lists the series of the cluster, of a group or of a node; with `name`, their points over any range that is kept",
            &series::PARAMETERS,
            get(series::answer),
        ),
        other(
            "/api/v1/export",
            "the points of `/api/v1/series` as a stream of CSV, JSON or Parquet",
            &export::PARAMETERS,
            get(export::answer),
        ),
    ]
}

/// The metrics that have a short name, for the index.
pub(super) fn metrics() -> String {
    metric::names()
}

/// What is known when a request comes.
fn present(readers: &Readers) -> Present {
    let now = now();
    let cluster = Source::Cluster(Group::cluster());
    // Without any data yet: the last second that can be whole.
    let before = u32::try_from(now / 1_000).unwrap_or(u32::MAX).saturating_sub(1);
    let newest = readers.with(|hub| hub.reading(&cluster).map(|reading| reading.second.tick())).unwrap_or(before);
    Present { now, newest }
}

/// Whose series, for an aggregator.
pub(super) fn scope(source: &Source, each_node: bool) -> v1::Scope {
    let (group, node_id) = match source {
        Source::Cluster(group) => (group.name().to_owned(), String::new()),
        Source::Node(node) => (String::new(), node.as_str().to_owned()),
    };
    v1::Scope { group, node_id, each_node }
}

/// The attributes that are asked for.
fn attributes(query: &Parameters) -> std::collections::HashMap<String, String> {
    query.starting_with(ATTRIBUTE).map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// A switch.
fn yes(query: &Parameters, name: &'static str) -> Result<bool, ApiError> {
    match query.get(name) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(other) => Err(ApiError::invalid(name, format!("{other:?} is not known; known: true, false"))),
    }
}
