//! The HTTP server around the endpoints: what is let in, what is said in every header, what is measured, the page.
//!
//! A request loses its prefix in [`below`], then passes [`guard`] (by which name it came, and from which page), then [`gate`] (who asks, and may they).

mod assets;
mod below;
mod cookie;
mod gate;
mod guard;
mod login;
mod ways;

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderName, HeaderValue, Uri, Version, header},
    middleware::{Next, from_fn_with_state},
    response::Response,
    routing::{MethodRouter, get},
};
use starling_service::requests::{Protocol, RequestMeter};
use tower::ServiceExt as _;
use tower_http::{
    compression::{
        CompressionLayer,
        predicate::{DefaultPredicate, NotForContentType, Predicate as _},
    },
    set_header::SetResponseHeaderLayer,
};

use crate::rest::{PARQUET, VERDICT, wants_page};
pub(crate) use cookie::Cookies;
pub(crate) use gate::{Gate, Rates};
pub(crate) use guard::{Guard, Hosts};

/// What a page of ours may do, and nothing else: no inline script, no other origin, no frame around it, no text that becomes markup or
/// script. Charts set their styles through the CSSOM, which `style-src 'self'` allows.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
     require-trusted-types-for 'script'; trusted-types 'none'";

const HEADERS: [(HeaderName, &str); 5] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Everything the server answers: the endpoints, the sockets, and the page for every other path. `admin` is served
/// beside it, to any `Host` name; where there is a log-in, to who may read.
pub(crate) fn router(
    endpoints: Router,
    sockets: Router,
    admin: Option<Router>,
    (guard, gate): (Guard, Gate),
    meter: RequestMeter,
) -> Router {
    // Parquet is compressed within.
    let wanted = DefaultPredicate::new().and(NotForContentType::const_new(PARQUET));
    let plain = endpoints.clone();
    let base = assets::Base::clone(&gate.base);
    let of_page = get(assets::serve).with_state(base.clone());
    let endpoints = endpoints.route("/", get(|request| at_root(request, of_page, plain)));
    let page = Router::new().fallback(assets::serve).with_state(base.clone());
    let compressed = endpoints.fallback_service(page).layer(CompressionLayer::new().compress_when(wanted));
    let all = sockets.merge(login::router(gate.clone())).merge(compressed);
    let mut router =
        all.layer(from_fn_with_state(gate.clone(), gate::check)).layer(from_fn_with_state(guard, guard::check));
    for (name, value) in HEADERS {
        router = router.layer(SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value)));
    }
    let router = router.layer(from_fn_with_state(meter, measure));
    let router = match admin {
        // Probes and scrapers come by address, often of a container, and read nothing that a page could abuse.
        Some(admin) => router.merge(admin.layer(from_fn_with_state(gate, gate::check_admin))),
        None => router,
    };
    if base.is_empty() {
        return router;
    }
    // Before it is looked which route it is.
    Router::new().fallback_service(router).layer(from_fn_with_state(base, below::below))
}

/// The page for who asks for one; for a terminal the verdict as plain text.
async fn at_root(mut request: Request, page: MethodRouter, endpoints: Router) -> Response {
    if wants_page(request.headers()) {
        return match page.oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
    }
    let query = request.uri().query().unwrap_or_default();
    // What was a query before is one.
    *request.uri_mut() = format!("{VERDICT}?{query}").parse().unwrap_or_else(|_| Uri::from_static(VERDICT));
    match endpoints.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// Records each request from its headers to the headers of its answer. An upgrade is one request; the messages of the
/// socket are recorded by themselves.
async fn measure(State(meter): State<RequestMeter>, request: Request, next: Next) -> Response {
    let protocol = if request.version() == Version::HTTP_2 { Protocol::Http2 } else { Protocol::Http1 };
    let open = meter.open(protocol);
    let response = next.run(request).await;
    open.served(response.status().is_server_error());
    response
}
