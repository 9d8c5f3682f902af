//! The JSON endpoints over HTTP, and their WebSocket twins. The table of paths is [`router`].

mod endpoints;
pub(crate) mod error;
mod parameters;
mod series;
mod time;
mod twin;

use std::time::Duration;

use axum::{
    Json, Router,
    extract::{OriginalUri, Path, Query, State},
    http::{HeaderValue, header},
    middleware::map_response,
    response::Response,
    routing::{any, get},
};
use serde_json::{Value, json};
use starling_proto::{limits::PEER_MESSAGE_BYTES_MAX, v1};
use starling_service::grpc::query_client::QueryClient;
use tokio::time::{error::Elapsed, timeout};
use tonic::{Code, Status, transport::Channel};

use crate::{
    app::App,
    hub::{Group, Hub, Link, Reading, Second, Source, ViewKey},
    shared::{Lease, now},
};
use endpoints::{Columns, Endpoint, Facts, Timeline};
use error::ApiError;
use parameters::Parameters;

/// How long a request waits for the first data of a node or group that nobody looked at before, or for the next
/// aggregator when one has just failed.
const READ_WAIT: Duration = Duration::from_secs(2);
/// How long an aggregator may take to read 15 minutes of series, longer than it waits for another one itself.
const SERIES_WAIT: Duration = Duration::from_secs(8);

/// Paths the reference names whose data comes with later versions. They say so instead of inventing an answer.
const LATER: [&str; 8] = [
    "/api/v1/metrics/heatmap/{metric}",
    "/api/v1/metrics/historical",
    "/api/v1/alerts/performance",
    "/api/v1/alerts/{id}/ack",
    "/api/v1/connections/report",
    "/api/v1/export",
    "/api/v1/report",
    "/ws/alerts",
];

type Answer = Result<Json<Value>, ApiError>;

/// All paths under `/api` and `/ws` but the page's own socket.
pub(crate) fn router() -> Router<App> {
    let api = Router::new()
        .route("/api/v1", get(index))
        .route("/api/v1/metrics/rps", get(|app, query| answer(app, query, Endpoint::Rps)))
        .route("/api/v1/metrics/latency", get(|app, query| answer(app, query, Endpoint::Latency)))
        .route("/api/v1/metrics/protocols", get(|app, query| answer(app, query, Endpoint::Protocols)))
        .route("/api/v1/metrics/requests", get(requests))
        .route("/api/v1/connections/metrics", get(|app, query| answer(app, query, Endpoint::Connections)))
        .route("/api/v1/system/cpu", get(|app, query| answer(app, query, Endpoint::Cpu)))
        .route("/api/v1/system/memory", get(|app, query| answer(app, query, Endpoint::Memory)))
        .route("/api/v1/system/metrics", get(|app, query| answer(app, query, Endpoint::System)))
        .route("/api/v1/nodes", get(nodes))
        .route("/api/v1/series", get(series))
        .route("/api/v1/nodes/{id}", get(node))
        .route("/api/v1/cluster", get(cluster));
    LATER
        .iter()
        .fold(api, |api, path| api.route(path, any(later)))
        .method_not_allowed_fallback(async || ApiError::method())
        .layer(map_response(no_store))
        .merge(twin::router())
}

/// An answer is for its second and no other.
async fn no_store(mut response: Response) -> Response {
    response.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

async fn later(OriginalUri(uri): OriginalUri) -> ApiError {
    ApiError::not_in_this_version(uri.path())
}

/// The list of what there is.
async fn index() -> Json<Value> {
    let scope = ["node=ID", "group=label:value"];
    Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "parameters": scope,
        "endpoints": [
            "/api/v1/metrics/rps",
            "/api/v1/metrics/latency",
            "/api/v1/metrics/requests?range=&granularity=&protocols=",
            "/api/v1/metrics/protocols",
            "/api/v1/connections/metrics",
            "/api/v1/system/cpu",
            "/api/v1/system/memory",
            "/api/v1/system/metrics",
            "/api/v1/nodes",
            "/api/v1/series?name=&attribute.KEY=&total=&statistics=&from=&to=&step=",
            "/api/v1/nodes/{id}",
            "/api/v1/cluster",
        ],
        "webSockets": twin::PATHS,
        "later": LATER,
    }))
}

async fn answer(State(app): State<App>, Query(query): Query<Parameters>, endpoint: Endpoint) -> Answer {
    query.only(&["node", "group"])?;
    let source = query.source()?;
    let (_lease, reading) = read(&app, &source).await?;
    Ok(Json(facts(&app, &source, &reading, &endpoint, |facts| endpoint.answer(facts))))
}

async fn requests(State(app): State<App>, Query(query): Query<Parameters>) -> Answer {
    query.only(&["node", "group", "range", "granularity", "protocols"])?;
    let source = query.source()?;
    let endpoint = Endpoint::Requests(query.timeline()?);
    let (_lease, reading) = read(&app, &source).await?;
    Ok(Json(facts(&app, &source, &reading, &endpoint, |facts| endpoint.answer(facts))))
}

async fn nodes(State(app): State<App>, Query(query): Query<Parameters>) -> Answer {
    query.only(&["node", "group"])?;
    let (group, node) = match query.source()? {
        Source::Cluster(group) => (group, None),
        Source::Node(node) => (Group::all(), Some(node)),
    };
    let table = wait(&app, |hub| Ok(hub.fleet().table().cloned())).await?;
    Ok(Json(endpoints::nodes(&table, &group, node.as_ref().map(|node| node.as_str()), now())))
}

async fn node(State(app): State<App>, Path(id): Path<String>, Query(query): Query<Parameters>) -> Answer {
    query.only(&[])?;
    let node = parameters::node(&id)?;
    let mut client = ask(&app).await?;
    let request = v1::GetNodeRequest { node_id: node.as_str().to_owned() };
    let view = answered(timeout(READ_WAIT, client.get_node(request)).await)?;
    let second = Second::Node(Box::new(view.clone()));
    let reading = Reading { second: second.into(), verdict: Default::default() };
    let facts = Facts { reading: &reading, columns: Columns::default(), target_rps: app.target_rps(), now: now() };
    Ok(Json(endpoints::node(&view, &facts)))
}

/// Any series by name and attributes.
async fn series(State(app): State<App>, Query(query): Query<Parameters>) -> Answer {
    let request = series::request(&query)?;
    let _place = app.reader()?;
    let mut client = ask(&app).await?;
    let answer = answered(timeout(SERIES_WAIT, client.get_series(request)).await)?;
    Ok(Json(series::answer(&answer)))
}

/// A client of the aggregator that is followed.
async fn ask(app: &App) -> Result<QueryClient<Channel>, ApiError> {
    wait(app, |_| Ok(Some(()))).await?;
    let channel =
        app.shared().upstream().ok_or_else(|| ApiError::unavailable("no aggregator is reached; try again"))?;
    Ok(QueryClient::new(channel).max_decoding_message_size(PEER_MESSAGE_BYTES_MAX))
}

/// What an aggregator answered, or why it did not.
fn answered<T>(outcome: Result<Result<tonic::Response<T>, Status>, Elapsed>) -> Result<T, ApiError> {
    match outcome {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) => Err(match status.code() {
            Code::NotFound => {
                ApiError::not_found(format!("{}; the nodes are listed at /api/v1/nodes", status.message()))
            }
            Code::InvalidArgument | Code::OutOfRange => {
                ApiError::invalid(series::field_of(status.message()), status.message())
            }
            _ => ApiError::unavailable(format!("the aggregator failed: {}", status.message())),
        }),
        Err(_) => Err(ApiError::unavailable("the aggregator did not answer in time; try again")),
    }
}

async fn cluster(State(app): State<App>, Query(query): Query<Parameters>) -> Answer {
    query.only(&[])?;
    wait(&app, |_| Ok(Some(()))).await?;
    Ok(Json(app.shared().with(|hub| endpoints::cluster(hub, now()))))
}

/// The newest second of a series; opens it when nobody looked at it. The lease keeps it for the next request.
async fn read(app: &App, source: &Source) -> Result<(Lease, Reading), ApiError> {
    let _place = app.reader()?;
    let lease = app.shared().lease(ViewKey::from(source)).map_err(|full| ApiError::limit(full.to_string()))?;
    let reading = wait(app, |hub| match hub.refusal(source) {
        Some(reason) => Err(ApiError::not_found(format!("{reason}; what there is: /api/v1/nodes"))),
        None => Ok(hub.reading(source)),
    })
    .await?;
    Ok((lease, reading))
}

/// Looks at the hub until `look` finds something while an aggregator is connected, for at most [`READ_WAIT`].
async fn wait<T>(app: &App, look: impl Fn(&Hub) -> Result<Option<T>, ApiError>) -> Result<T, ApiError> {
    let mut published = app.shared().published();
    let found = async {
        loop {
            let found = app.shared().with(|hub| match hub.link() {
                Link::Up { .. } => look(hub),
                Link::Down { .. } => Ok(None),
            })?;
            if let Some(found) = found {
                return Ok(found);
            }
            if published.changed().await.is_err() {
                return Err(ApiError::unavailable("the server stops"));
            }
        }
    };
    match timeout(READ_WAIT, found).await {
        Ok(outcome) => outcome,
        Err(_) => Err(app.shared().with(|hub| match hub.link() {
            Link::Down { reason } => ApiError::unavailable(format!(
                "no aggregator is reached ({reason}); start one, or set aggregators to one that runs"
            )),
            Link::Up { name } => {
                ApiError::unavailable(format!("aggregator {name} has no data for this yet; try again in a second"))
            }
        })),
    }
}

/// Makes an answer of a second and of the charted columns its endpoint needs.
fn facts<T>(
    app: &App,
    source: &Source,
    reading: &Reading,
    endpoint: &Endpoint,
    make: impl FnOnce(&Facts<'_>) -> T,
) -> T {
    let wanted = endpoint.columns();
    let history = app.shared().with(|hub| if wanted.is_empty() { None } else { hub.history(source, &wanted, 0) });
    let columns = history.map(|(first_tick, values)| Columns { first_tick, values }).unwrap_or_default();
    make(&Facts { reading, columns, target_rps: app.target_rps(), now: now() })
}
