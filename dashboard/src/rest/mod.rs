//! The JSON endpoints over HTTP, and their WebSocket twins.
//!
//! What there is stands in lists: [`seconds`] (what is answered for one second, over HTTP and as a WebSocket), [`others`],
//! [`history::others`] (what is answered over time), [`report::others`], [`alerts::others`] and [`alerts::changes`] (what
//! changes something), [`sessions`] (who asks). The router and the index at `/api/v1` are both made of them.

mod alerts;
mod answers;
mod csv;
mod endpoints;
mod history;
mod moment;
mod number;
mod openapi;
mod paper;
mod parameters;
mod period;
mod plain;
mod prometheus;
mod readers;
mod reference;
mod report;
mod sessions;
mod time;
mod twin;

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{FromRef, Path, Query, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::{map_response, map_response_with_state},
    response::{IntoResponse as _, Response},
    routing::{MethodRouter, any, get},
};
use serde_json::{Value, json};
use starling_proto::{group::Group, v1};
use tokio::time::{error::Elapsed, timeout};
use tonic::{Code, Status};

use crate::{
    access::Access,
    error::{ApiError, GrpcRefusal},
    hub::{LastMinute, Reading, Second, Source},
    live::Sockets,
    metrics::{Metrics, Refusal},
    shared::{Shared, now},
};
pub(crate) use history::PARQUET;

use endpoints::{Columns, Endpoint, Facts, Timeline};
use history::{Asker, Exports};
use parameters::{Parameters, SCOPE};
use readers::{READ_WAIT, Readers};
use twin::Twins;

/// The list of what there is.
const INDEX: &str = "/api/v1";
/// The description of what there is, for programs.
const OPENAPI: &str = "/api/v1/openapi.json";
/// The verdict as plain text.
pub(crate) const VERDICT: &str = "/api/v1/verdict";

/// What is answered for one second: its path over HTTP, those of its WebSocket twin, and what it is. The request
/// timeline is followed here; over HTTP it is one of [`history::others`].
fn seconds() -> [(Option<&'static str>, &'static [&'static str], Endpoint); 9] {
    [
        (Some("/api/v1/metrics/rps"), &["/ws/metrics/rps"], Endpoint::Rps),
        (Some("/api/v1/metrics/latency"), &["/ws/metrics/latency"], Endpoint::Latency),
        (None, &["/ws/metrics/requests"], Endpoint::Requests(Timeline::default())),
        (Some("/api/v1/metrics/protocols"), &[], Endpoint::Protocols),
        (Some("/api/v1/connections/metrics"), &["/ws/connections", "/ws/connections/metrics"], Endpoint::Connections),
        (Some("/api/v1/system/cpu"), &["/ws/metrics/cpu"], Endpoint::Cpu),
        (Some("/api/v1/system/memory"), &["/ws/metrics/memory"], Endpoint::Memory),
        (Some("/api/v1/system/metrics"), &["/ws/system/health"], Endpoint::System),
        (None, &["/ws/alerts"], Endpoint::Alerts),
    ]
}

/// One of the other endpoints over HTTP.
struct Other {
    path: &'static str,
    about: &'static str,
    /// Names of its parameters.
    parameters: Vec<&'static str>,
    answer: MethodRouter<Handles>,
}

/// What changes something.
struct Changed {
    method: &'static str,
    path: &'static str,
    about: &'static str,
    /// Names of its parameters.
    parameters: &'static [&'static str],
    /// Fields of its JSON body.
    body: &'static [&'static str],
    /// Of the first one of a path that has no [`Other`].
    answer: Option<MethodRouter<Handles>>,
}

/// The other endpoints over HTTP.
fn others() -> [Other; 6] {
    [
        Other {
            path: "/api/v1/nodes",
            about: "every node at its latest second",
            parameters: SCOPE.to_vec(),
            answer: get(nodes),
        },
        Other {
            path: "/api/v1/nodes/{id}",
            about: "everything known of one node, with all of its series",
            parameters: Vec::new(),
            answer: get(node),
        },
        Other {
            path: "/api/v1/nodes/{id}/detail",
            about: "the processes of a node one by one, which its daemon reads while this is asked for",
            parameters: Vec::new(),
            answer: get(detail),
        },
        Other {
            path: "/api/v1/services",
            about: "requests, errors and latency by service and route, the busiest first",
            parameters: endpoints::SERVICE_PARAMETERS.to_vec(),
            answer: get(services),
        },
        Other {
            path: VERDICT,
            about: "the verdict and what stands behind it as plain text; / is the same for who does not ask for a page",
            parameters: SCOPE.to_vec(),
            answer: get(plain::answer),
        },
        Other {
            path: "/api/v1/cluster",
            about: "the aggregators, and which one this server reads",
            parameters: Vec::new(),
            answer: get(cluster),
        },
    ]
}

/// Those of all parts of this room.
fn all_others() -> Vec<Other> {
    others()
        .into_iter()
        .chain(history::others())
        .chain(report::others())
        .chain(alerts::others())
        .chain(sessions::others())
        .collect()
}

/// All that changes something.
fn all_changes() -> Vec<Changed> {
    alerts::changes().into_iter().chain(sessions::changes()).collect()
}

/// Requests per second aimed at, from the settings.
#[derive(Clone, Copy)]
struct Target(Option<f64>);

/// What the handlers of this room take, each what it names.
#[derive(Clone)]
struct Handles {
    readers: Readers,
    target: Target,
    twins: Twins,
    asker: Asker,
    exports: Exports,
    access: Arc<Access>,
}

impl FromRef<Handles> for Arc<Access> {
    fn from_ref(from: &Handles) -> Self {
        Self::clone(&from.access)
    }
}

impl FromRef<Handles> for Asker {
    fn from_ref(from: &Handles) -> Self {
        from.asker.clone()
    }
}

impl FromRef<Handles> for Exports {
    fn from_ref(from: &Handles) -> Self {
        from.exports.clone()
    }
}

impl FromRef<Handles> for Readers {
    fn from_ref(from: &Handles) -> Self {
        from.readers.clone()
    }
}

impl FromRef<Handles> for Target {
    fn from_ref(from: &Handles) -> Self {
        from.target
    }
}

impl FromRef<Handles> for Twins {
    fn from_ref(from: &Handles) -> Self {
        from.twins.clone()
    }
}

type Answer = Result<Json<Value>, ApiError>;

/// All paths under `/api` and `/ws` but the page's own socket.
pub(crate) fn router(
    shared: &Arc<Shared>,
    sockets: Sockets,
    access: Arc<Access>,
    (base, target_rps): (&str, Option<f64>),
) -> Router {
    let described = openapi(base);
    let index = Arc::new(Index { json: index(), page: reference::page(&described, base) });
    let mut api = Router::new().route(OPENAPI, get(async || Json(described)));
    for path in ["/api", "/api/", INDEX, "/api/v1/"] {
        let index = Arc::clone(&index);
        api = api.route(path, get(async move |headers: HeaderMap| index.answer(&headers)));
    }
    let mut twins = Router::new();
    for (path, sockets, endpoint) in seconds() {
        for socket in sockets {
            let endpoint = endpoint.clone();
            twins = twins.route(
                socket,
                any(|twins, query, caller, upgrade| twin::follow(twins, query, endpoint, (caller, upgrade))),
            );
        }
        if let Some(path) = path {
            api = api.route(path, get(|readers, target, query| answer(readers, target, query, endpoint)));
        }
    }
    for other in all_others() {
        api = api.route(other.path, other.answer);
    }
    for changed in all_changes() {
        if let Some(answer) = changed.answer {
            api = api.route(changed.path, answer);
        }
    }
    let api = api
        .method_not_allowed_fallback(async || ApiError::method())
        .layer(map_response_with_state(shared.metrics().clone(), counted))
        .layer(map_response(no_store));
    let readers = Readers::new(Arc::clone(shared));
    let prometheus = prometheus::router().layer(map_response(no_store));
    api.merge(twins).merge(prometheus).with_state(Handles {
        asker: Asker::new(readers.clone()),
        exports: Exports::default(),
        access,
        readers,
        target: Target(target_rps),
        twins: Twins::new(Arc::clone(shared), sockets, target_rps),
    })
}

/// An answer is for its second and no other.
async fn no_store(mut response: Response) -> Response {
    response.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Counts what was refused for its parameters.
async fn counted(State(metrics): State<Metrics>, response: Response) -> Response {
    if response.status() == StatusCode::BAD_REQUEST {
        metrics.request_refused(Refusal::Parameter);
    }
    response
}

/// The same for programs.
fn openapi(base: &str) -> Value {
    let of_a_second = seconds();
    let of =
        |path, about, parameters| openapi::Operation { method: "get".to_owned(), path, about, parameters, body: None };
    let over_http =
        of_a_second.iter().filter_map(|(path, _, endpoint)| Some(of((*path)?, endpoint.about(), SCOPE.to_vec())));
    let others = all_others();
    let others = others.iter().map(|is| of(is.path, is.about, is.parameters.clone()));
    let changes = all_changes();
    let changes = changes.iter().map(|is| openapi::Operation {
        method: is.method.to_ascii_lowercase(),
        path: is.path,
        about: is.about,
        parameters: is.parameters.to_vec(),
        body: Some(is.body).filter(|body| !body.is_empty()),
    });
    let itself = std::iter::once(of(INDEX, "what there is: for programs, and as a page for people", Vec::new()));
    let operations: Vec<_> = itself.chain(over_http).chain(others).chain(changes).collect();
    let mut document = openapi::document(&operations, &endpoints::parameters(&history::metrics()), &[VERDICT]);
    document["servers"] = json!([{ "url": if base.is_empty() { "/" } else { base } }]);
    document["components"]["securitySchemes"] = json!({ "token": { "type": "http", "scheme": "bearer" } });
    // Where there is no log-in none is asked for.
    document["security"] = json!([{ "token": [] }, {}]);
    document
}

/// The list of what there is, for programs and for people.
struct Index {
    json: Value,
    page: String,
}

impl Index {
    /// A page for who asks for one.
    fn answer(&self, headers: &HeaderMap) -> Response {
        let mut response = match wants_page(headers) {
            true => paper::page("The API of Starling", &self.page),
            false => Json(&self.json).into_response(),
        };
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
        response
    }
}

/// Whether a request asks for a page, as browsers do.
pub(crate) fn wants_page(headers: &HeaderMap) -> bool {
    let html = |accept: &HeaderValue| accept.to_str().is_ok_and(|accept| accept.contains("text/html"));
    headers.get_all(header::ACCEPT).iter().any(html)
}

/// The list of what there is.
fn index() -> Value {
    let listed = |path: &str, about: &str, parameters: &[&str]| json!({ "path": path, "about": about, "parameters": parameters });
    let of_a_second = seconds();
    let over_http =
        of_a_second.iter().filter_map(|(path, _, endpoint)| Some(listed((*path)?, endpoint.about(), &SCOPE)));
    let sockets = of_a_second.iter().flat_map(|(_, paths, endpoint)| {
        let parameters = [&SCOPE, endpoint.socket_parameters()].concat();
        paths.iter().map(move |path| listed(path, endpoint.about(), &parameters))
    });
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "units": "names end with their unit: PerSecond, Micros, Bytes, Ms, Ratio (0 to 1); without one they are counts. null: not reported",
        "parameters": endpoints::parameters(&history::metrics()),
        "endpoints": over_http
            .chain(all_others().iter().map(|is| listed(is.path, is.about, &is.parameters)))
            .collect::<Vec<_>>(),
        "changes": all_changes()
            .iter()
            .map(|is| json!({ "method": is.method, "path": is.path, "about": is.about, "body": is.body }))
            .collect::<Vec<_>>(),
        "webSockets": sockets.collect::<Vec<_>>(),
        "openapi": OPENAPI,
    })
}

async fn answer(
    State(readers): State<Readers>,
    State(Target(target_rps)): State<Target>,
    Query(query): Query<Parameters>,
    endpoint: Endpoint,
) -> Answer {
    let endpoint = endpoint.asked(&query)?;
    let source = query.source()?;
    let (_lease, reading) = readers.newest(&source).await?;
    let columns = readers.with(|hub| Columns::of(hub, &source, endpoint.columns(), 0..=reading.second.tick()));
    Ok(Json(endpoint.answer(&Facts { reading: &reading, columns, target_rps, now: now() })))
}

async fn nodes(State(readers): State<Readers>, Query(query): Query<Parameters>) -> Answer {
    query.only(&SCOPE)?;
    let (group, node) = match query.source()? {
        Source::Cluster(group) => (group, None),
        Source::Node(node) => (Group::cluster(), Some(node)),
    };
    let table = readers.wait(|hub| Ok(hub.fleet().table().cloned())).await?;
    Ok(Json(endpoints::nodes(&table, &group, node.as_ref().map(|node| node.as_str()), now())))
}

async fn node(State(readers): State<Readers>, Path(id): Path<String>, Query(query): Query<Parameters>) -> Answer {
    query.only(&[])?;
    let node = parameters::node(&id)?;
    let (_place, mut client) = readers.aggregator().await?;
    let request = v1::GetNodeRequest { node_id: node.as_str().to_owned(), include_histograms: true };
    let view = answered(timeout(READ_WAIT, client.get_node(request)).await)?;
    let second = Second::Node(Box::new(view.clone()));
    let minute = LastMinute::of(&second);
    let alerts = readers.with(|hub| hub.alerts(&Source::Node(node)));
    let reading = Reading { second: second.into(), verdict: Default::default(), alerts, minute };
    // Of one node nothing is aimed at.
    let facts = Facts { reading: &reading, columns: Columns::default(), target_rps: None, now: now() };
    Ok(Json(endpoints::node(&view, &facts)))
}

async fn detail(State(readers): State<Readers>, Path(id): Path<String>, Query(query): Query<Parameters>) -> Answer {
    query.only(&[])?;
    let request = v1::GetNodeDetailRequest { node_id: parameters::node(&id)?.as_str().to_owned() };
    let (_place, mut client) = readers.aggregator().await?;
    // The daemon begins to read when it is asked.
    let view = answered(timeout(2 * READ_WAIT, client.get_node_detail(request)).await)?;
    Ok(Json(endpoints::detail(&view, now())))
}

async fn services(State(readers): State<Readers>, Query(query): Query<Parameters>) -> Answer {
    let request = endpoints::services_asked(&query)?;
    let (_place, mut client) = readers.aggregator().await?;
    let list = answered(timeout(READ_WAIT, client.list_services(request)).await)?;
    Ok(Json(endpoints::services(&list, now())))
}

/// What an aggregator answered, or why it did not.
fn answered<T>(outcome: Result<Result<tonic::Response<T>, Status>, Elapsed>) -> Result<T, ApiError> {
    match outcome {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) => Err(match status.code() {
            Code::NotFound => ApiError::refused(&GrpcRefusal::of(status.message()), StatusCode::NOT_FOUND),
            Code::InvalidArgument | Code::OutOfRange => {
                ApiError::refused(&GrpcRefusal::of(status.message()), StatusCode::BAD_REQUEST)
            }
            Code::FailedPrecondition => ApiError::conflict(GrpcRefusal::of(status.message()).message),
            Code::ResourceExhausted => ApiError::limit(GrpcRefusal::of(status.message()).message),
            _ => ApiError::unavailable(format!("the aggregator failed: {}", GrpcRefusal::of(status.message()).message)),
        }),
        Err(_) => Err(ApiError::unavailable("the aggregator did not answer in time; try again")),
    }
}

async fn cluster(State(readers): State<Readers>, Query(query): Query<Parameters>) -> Answer {
    query.only(&[])?;
    readers.wait(|_| Ok(Some(()))).await?;
    Ok(Json(readers.with(|hub| endpoints::cluster(hub, now()))))
}
