//! The HTTP server around the endpoints: what is let in, what is said in every header, what is measured, the page.

mod assets;
pub(crate) mod guard;

use axum::{
    Router,
    extract::{Request, State, WebSocketUpgrade, ws::rejection::WebSocketUpgradeRejection},
    http::{HeaderName, HeaderValue, Version, header},
    middleware::{Next, from_fn_with_state},
    response::Response,
    routing::any,
};
use starling_service::requests::Protocol;
use tower_http::{compression::CompressionLayer, set_header::SetResponseHeaderLayer};

use crate::{
    app::App,
    live::{LiveClient, SUBPROTOCOL, socket},
    rest::{self, error::ApiError},
};

/// What a page of ours may do, and nothing else: no inline script, no other origin, no frame around it. Charts set
/// their styles through the CSSOM, which `style-src 'self'` allows.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 5] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Everything the server answers. `admin` is served beside it, to any `Host` name.
pub(crate) fn router(app: App, admin: Option<Router>) -> Router {
    let compressed = rest::router().fallback(assets::serve).layer(CompressionLayer::new());
    let mut router = Router::new().route("/ws/v1/live", any(live)).merge(compressed);
    router = router.layer(from_fn_with_state(app.clone(), guard::check));
    for (name, value) in HEADERS {
        router = router.layer(SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value)));
    }
    let router = router.layer(from_fn_with_state(app.clone(), measure)).with_state(app);
    match admin {
        // Probes and scrapers come by address, often of a container, and read nothing that a page could abuse.
        Some(admin) => router.merge(admin),
        None => router,
    }
}

/// The page's socket.
async fn live(
    State(app): State<App>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, ApiError> {
    let upgrade = upgrade.map_err(|_| ApiError::bad_request("this path is a WebSocket; connect with ws://"))?;
    let upgrade = upgrade.protocols([SUBPROTOCOL]);
    if upgrade.selected_protocol().is_none() {
        return Err(ApiError::bad_request(format!("this socket speaks the subprotocol {SUBPROTOCOL}; ask for it")));
    }
    let context = app.context()?;
    let client = LiveClient::new(app.shared().clone(), app.epoch(), app.target_rps().unwrap_or(0.0));
    Ok(socket::upgrade(upgrade, client, context))
}

/// Records each request from its headers to the headers of its answer. An upgrade is one request; the messages of the
/// socket are recorded by themselves.
async fn measure(State(app): State<App>, request: Request, next: Next) -> Response {
    let protocol = if request.version() == Version::HTTP_2 { Protocol::Http2 } else { Protocol::Http1 };
    let open = app.meter().open(protocol);
    let response = next.run(request).await;
    open.served(response.status().is_server_error());
    response
}
