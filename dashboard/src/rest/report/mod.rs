//! Reports of one second: of the TCP connections, and of everything, as JSON, CSV or a page to print.
//!
//! What both are made of is asked for here and put in tables by [`connections`] and [`whole`], which are pure; [`form`]
//! writes the tables.

mod connections;
mod form;
mod head;
mod offenders;
mod whole;

use axum::{
    extract::{Query, State},
    response::Response,
    routing::get,
};
use starling_proto::{catalogue, v1};

use super::{
    Other, Target,
    endpoints::{Columns, Facts},
    history::Asker,
    parameters::{Parameters, SCOPE},
};
use crate::{
    error::ApiError,
    hub::{Host, Reading, Source},
    shared::now,
};
use form::Form;
use offenders::Asked;

const FORMAT: &str = "format";
/// Seconds whose last value is taken of nodes that are asked one by one: a node may be a moment late.
const LATE_SECONDS: u32 = 5;
/// Most ports of a whole cluster; the others are added up.
const PORTS_MAX: u32 = 1_000;

/// The endpoints of this room.
pub(super) fn others() -> [Other; 2] {
    let parameters = [&SCOPE[..], &[FORMAT]].concat();
    [
        Other {
            path: "/api/v1/connections/report",
            about: "TCP connections by state, by node and by local port, and the nodes where most of them are in trouble",
            parameters: parameters.clone(),
            answer: get(connections),
        },
        Other {
            path: "/api/v1/report",
            about: "everything of one second in one document: figures, protocols, connections, nodes, open alerts",
            parameters,
            answer: get(whole),
        },
    ]
}

/// What a report is made of.
struct Material {
    /// Whose it is, in words.
    of: String,
    reading: Reading,
    /// Its nodes, by name.
    hosts: Vec<Host>,
    /// Connections by port; `None` when the aggregator knows of none.
    ports: Option<v1::RangeAnswer>,
    /// The nodes with most connections in trouble, by what the trouble is; empty of one node.
    troubled: Vec<(&'static str, v1::RangeAnswer)>,
}

async fn connections(
    State(asker): State<Asker>,
    State(target): State<Target>,
    Query(query): Query<Parameters>,
) -> Result<Response, ApiError> {
    answer(asker, target, &query, connections::report).await
}

async fn whole(
    State(asker): State<Asker>,
    State(target): State<Target>,
    Query(query): Query<Parameters>,
) -> Result<Response, ApiError> {
    answer(asker, target, &query, whole::report).await
}

async fn answer(
    asker: Asker,
    Target(target_rps): Target,
    query: &Parameters,
    report: fn(&Material, &Facts<'_>) -> form::Report,
) -> Result<Response, ApiError> {
    query.only(&[&SCOPE[..], &[FORMAT]].concat())?;
    let (form, source) = (Form::asked(query.get(FORMAT))?, query.source()?);
    let material = gather(&asker, &source).await?;
    let facts = Facts {
        reading: &material.reading,
        columns: Columns::default(),
        target_rps: target_rps.filter(|_| matches!(&source, Source::Cluster(group) if group.is_cluster())),
        now: now(),
    };
    Ok(report(&material, &facts).answer(form))
}

async fn gather(asker: &Asker, source: &Source) -> Result<Material, ApiError> {
    let (_lease, reading) = asker.readers().newest(source).await?;
    let is_of = |host: &Host| match source {
        Source::Cluster(group) => group.holds(host.labels()),
        Source::Node(node) => host.id() == node.as_str(),
    };
    let hosts = asker.readers().with(|hub| hub.fleet().hosts().iter().filter(|host| is_of(host)).cloned().collect());
    let tick = reading.second.tick();
    let asking = asker.aggregator().await?;
    let ports = question(source, &catalogue::TCP_PORT_CONNECTIONS, tick, &Asked::Sum { top: PORTS_MAX });
    let ports = known(asking.range(ports).await)?;
    let mut troubled = Vec::new();
    if matches!(source, Source::Cluster(_)) {
        for health in offenders::HEALTH {
            let asked = question(source, &catalogue::TCP_HEALTH, tick, &Asked::EachNode { health });
            troubled.extend(known(asking.range(asked).await)?.map(|answer| (health, answer)));
        }
    }
    let of = match source {
        Source::Cluster(group) if group.is_cluster() => "all nodes".to_owned(),
        Source::Cluster(group) => group.name().to_owned(),
        Source::Node(node) => node.as_str().to_owned(),
    };
    Ok(Material { of, reading, hosts, ports, troubled })
}

/// Nothing when the aggregator knows no such series: no node has reported it.
fn known(answer: Result<v1::RangeAnswer, ApiError>) -> Result<Option<v1::RangeAnswer>, ApiError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.status() == axum::http::StatusCode::NOT_FOUND => Ok(None),
        Err(error) => Err(error),
    }
}

fn question(source: &Source, metric: &catalogue::Metric, tick: u32, asked: &Asked) -> v1::QueryRangeRequest {
    let each = matches!(asked, Asked::EachNode { .. });
    let seconds = if each { LATE_SECONDS } else { 1 };
    let (attributes, top) = match asked {
        Asked::Sum { top } => (Default::default(), *top),
        Asked::EachNode { health } => ([("health".to_owned(), (*health).to_owned())].into(), offenders::NODES_MAX),
    };
    v1::QueryRangeRequest {
        scope: Some(super::history::scope(source, each)),
        name: metric.name.to_owned(),
        attributes,
        statistics: vec!["last".to_owned()],
        from_tick: tick.saturating_sub(seconds - 1),
        to_tick: tick,
        step_seconds: 1,
        max_points: LATE_SECONDS,
        top,
        top_by: "last".to_owned(),
        ..Default::default()
    }
}
