//! The WebSocket twins of the JSON endpoints: one JSON object a tick, of the same shapes.
//!
//! A client follows the whole seconds that the hub keeps; one that is more than three behind jumps to the newest, and
//! the object then says `skipped`. Nothing is queued.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Query, State, WebSocketUpgrade, ws::Message, ws::rejection::WebSocketUpgradeRejection},
    response::Response,
    routing::any,
};

use super::{Endpoint, error::ApiError, facts, parameters::Parameters};
use crate::{
    app::App,
    hub::{Source, ViewKey},
    live::socket::{self, Client, Refused},
    shared::{Lease, now},
};

/// Paths of the sockets.
pub(super) const PATHS: [&str; 8] = [
    "/ws/metrics/rps",
    "/ws/metrics/latency",
    "/ws/metrics/memory",
    "/ws/metrics/cpu",
    "/ws/metrics/requests?range=&granularity=&protocols=",
    "/ws/connections",
    "/ws/connections/metrics",
    "/ws/system/health",
];

/// An upgrade, or what was asked instead.
pub(crate) type Upgrade = Result<WebSocketUpgrade, WebSocketUpgradeRejection>;

pub(super) fn router() -> Router<App> {
    let plain = |endpoint: Endpoint| {
        any(move |State(app): State<App>, Query(query): Query<Parameters>, upgrade: Upgrade| async move {
            query.only(&["node", "group"])?;
            follow(&app, &query, endpoint, upgrade)
        })
    };
    Router::new()
        .route("/ws/metrics/rps", plain(Endpoint::Rps))
        .route("/ws/metrics/latency", plain(Endpoint::Latency))
        .route("/ws/metrics/memory", plain(Endpoint::Memory))
        .route("/ws/metrics/cpu", plain(Endpoint::Cpu))
        .route("/ws/connections", plain(Endpoint::Connections))
        .route("/ws/connections/metrics", plain(Endpoint::Connections))
        .route("/ws/system/health", plain(Endpoint::System))
        .route("/ws/metrics/requests", any(requests))
}

async fn requests(
    State(app): State<App>,
    Query(query): Query<Parameters>,
    upgrade: Upgrade,
) -> Result<Response, ApiError> {
    query.only(&["node", "group", "range", "granularity", "protocols"])?;
    let endpoint = Endpoint::Requests(query.timeline()?);
    follow(&app, &query, endpoint, upgrade)
}

fn follow(app: &App, query: &Parameters, endpoint: Endpoint, upgrade: Upgrade) -> Result<Response, ApiError> {
    let source = query.source()?;
    let upgrade = upgrade.map_err(|_| ApiError::bad_request("this path is a WebSocket; connect with ws://"))?;
    let context = app.context()?;
    let lease = app.shared().lease(ViewKey::from(&source)).map_err(|full| ApiError::limit(full.to_string()))?;
    let client = JsonClient { app: app.clone(), source, endpoint, lease: Some(lease), last: 0 };
    Ok(socket::upgrade(upgrade, client, context))
}

/// One follower of one endpoint.
struct JsonClient {
    app: App,
    source: Source,
    endpoint: Endpoint,
    /// Keeps the view open; gone after a refusal.
    lease: Option<Lease>,
    /// The second sent last; 0 before the first.
    last: u32,
}

impl JsonClient {
    /// The refusal of a node or group, reported once.
    fn refusal(&mut self) -> Option<Message> {
        let shared = Arc::clone(self.app.shared());
        let reason = shared.with(|hub| hub.refusal(&self.source).map(ToOwned::to_owned))?;
        self.lease = None;
        let error = serde_json::json!({ "error": { "code": "not_found", "message": reason, "field": null } });
        Some(Message::Text(error.to_string().into()))
    }
}

impl Client for JsonClient {
    const KIND: &'static str = "json";

    fn next(&mut self) -> Option<Message> {
        self.lease.as_ref()?;
        if let Some(refusal) = self.refusal() {
            return Some(refusal);
        }
        let reading = self.app.shared().with(|hub| hub.reading_after(&self.source, self.last, now()))?;
        let tick = reading.second.tick();
        let mut object = facts(&self.app, &self.source, &reading, &self.endpoint, |facts| self.endpoint.tick(facts));
        let skipped = if self.last == 0 { 0 } else { tick - self.last - 1 };
        if let Some(fields) = object.as_object_mut().filter(|_| skipped > 0) {
            fields.insert("skipped".to_owned(), skipped.into());
        }
        self.app.shared().metrics().ticks_skipped.add(skipped.into());
        self.last = tick;
        Some(Message::Text(object.to_string().into()))
    }

    fn received(&mut self, _: Message) -> Result<(), Refused> {
        Err(Refused("this socket only sends"))
    }

    fn farewell(&mut self) -> Option<Message> {
        None
    }
}
