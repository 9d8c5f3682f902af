//! Whether somebody may ask what is asked: who they are, and what their role may do.

use std::{
    borrow::Cow,
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, Method, header},
    middleware::Next,
    response::{IntoResponse, Redirect, Response},
};
use starling_service::listen::Peer;

use super::{
    cookie::Cookies,
    guard::changes,
    ways::{LOGIN, LOGOUT, SCRIPT, STYLE, login_address},
};
use crate::{
    access::{Access, Caller, Denied, Done, Net, NotIn, Role, bucket::Buckets, client},
    error::ApiError,
    mcp,
    metrics::Refusal,
    rest::wants_page,
};

/// What everybody may fetch: what it takes to sign in, and what browsers ask of every server.
const OPEN: [&str; 5] = [LOGIN, STYLE, SCRIPT, "/favicon.ico", "/robots.txt"];
/// What begins with one of these is asked by programs, or by a page that is there: an answer in place of a way to sign in.
const NO_PAGES: [&str; 8] = ["/api", "/ws", "/assets", "/prometheus", "/mcp", "/metrics", "/live", "/ready"];

/// What the check needs. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Gate {
    pub(crate) access: Arc<Access>,
    pub(crate) cookies: Arc<Cookies>,
    /// Proxies that are believed when they say where a request comes from.
    pub(crate) proxies: Arc<[Net]>,
    /// What all paths stand below: "" or "/prefix".
    pub(crate) base: Arc<str>,
    pub(crate) rates: Rates,
}

/// How many requests one address may send. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Rates(Arc<Mutex<Buckets<IpAddr>>>);

/// Seconds' worth of requests that may come at once: a page that opens asks for some 40 things.
const BURST_SECONDS: u32 = 10;

impl Rates {
    /// So many a second, and [`BURST_SECONDS`] of them at once.
    pub(crate) fn new(per_second: u32) -> Self {
        let each = Duration::from_secs(1) / per_second.max(1);
        Self(Arc::new(Mutex::new(Buckets::new(per_second.saturating_mul(BURST_SECONDS), each))))
    }

    /// Counts a request. This host has no bound, as for its connections: all that come through a proxy here which says nothing of
    /// them stand behind it.
    fn count(&self, from: IpAddr) -> Result<(), Duration> {
        if from.is_loopback() {
            return Ok(());
        }
        // Held for a look into a table.
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.add(&client::bucket(from), Instant::now())
    }
}

impl Gate {
    /// Where a request comes from.
    pub(super) fn from(&self, request: &Request) -> IpAddr {
        let peer = request.extensions().get::<Peer>();
        // Every connection has one; without it nothing is believed.
        let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.address.ip());
        client::origin(peer, forwarded(request.headers()).iter().map(|value| &**value), &self.proxies)
    }

    /// Who asks.
    pub(super) fn caller(&self, headers: &HeaderMap, from: IpAddr) -> Result<Caller, NotIn> {
        self.access.caller(headers, self.cookies.read(headers), from)
    }
}

/// What `X-Forwarded-For` says. Whatever a client put before what its proxy added, that is read: bytes that are no text are no reason
/// to take a request for the proxy's own.
fn forwarded(headers: &HeaderMap) -> Vec<Cow<'_, str>> {
    headers.get_all("x-forwarded-for").iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect()
}

/// The least role that may ask. What changes something takes an operator, whatever it is, but for who only wants to go.
fn needed(method: &Method, path: &str) -> Role {
    let reads = !changes(method, path) || path == mcp::PATH || path == LOGOUT;
    if reads { Role::Viewer } else { Role::Operator }
}

/// Whether a path is one of the page's.
fn is_page(path: &str) -> bool {
    let under = |folder: &str| path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    !NO_PAGES.iter().any(|folder| under(folder))
}

/// Lets a request through, with who asks among its extensions, or answers 401, 403, 429, or with the way to sign in.
pub(crate) async fn check(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    let (from, path) = (gate.from(&request), request.uri().path());
    if let Err(wait) = gate.rates.count(from) {
        gate.access.metrics().request_refused(Refusal::Rate);
        let message = "too many requests from this address (limits.requests); ask less often, or over a WebSocket";
        return ApiError::too_many(message, wait).into_response();
    }
    if OPEN.contains(&path) {
        return next.run(request).await;
    }
    let caller = match gate.caller(request.headers(), from) {
        Ok(caller) => caller,
        Err(why) => return refused(&gate, &request, why),
    };
    let needed = needed(request.method(), path);
    if caller.role() < needed {
        gate.access.metrics().request_refused(Refusal::Role);
        let detail = format!("{} {}", request.method(), request.uri().path());
        gate.access.audit().denied(Denied::Role, caller.name().unwrap_or("-"), Some(from), detail);
        return ApiError::role(needed.name(), caller.role().name()).into_response();
    }
    let changed = (needed > Role::Viewer).then(|| (caller.clone(), format!("{} {}", request.method(), path)));
    request.extensions_mut().insert(caller);
    let response = next.run(request).await;
    if let Some((caller, what)) = changed {
        let detail = format!("{what} {}", response.status().as_u16());
        let done = if response.status().is_success() { Done::Change } else { Done::NoChange };
        gate.access.audit().done(done, caller.name(), caller.from(), detail);
    }
    response
}

fn refused(gate: &Gate, request: &Request, why: NotIn) -> Response {
    let (method, uri) = (request.method(), request.uri());
    let reads = matches!(*method, Method::GET | Method::HEAD);
    if why == NotIn::Nobody && reads && wants_page(request.headers()) && is_page(uri.path()) {
        let here = uri.path_and_query().map_or("/", |is| is.as_str());
        let to = login_address(&gate.base, here);
        return ([(header::CACHE_CONTROL, "no-store")], Redirect::to(&to)).into_response();
    }
    gate.access.metrics().request_refused(Refusal::Login);
    let in_address = uri.query().is_some_and(|query| {
        let mut names = form_urlencoded::parse(query.as_bytes()).map(|(name, _)| name);
        names.any(|name| matches!(&*name, "token" | "api_key" | "access_token"))
    });
    match why {
        NotIn::Wait(wait) => ApiError::too_many("too many API tokens that are not known; wait and look at it", wait),
        NotIn::Token => ApiError::unauthorized(
            "the API token is not known: it was taken out, or the header is not authorization: Bearer TOKEN",
        ),
        NotIn::Nobody if in_address => ApiError::unauthorized(
            "a token in the address is not taken, as addresses are written down on the way; send it in the header \
             authorization: Bearer TOKEN",
        ),
        NotIn::Nobody => ApiError::unauthorized(
            "sign in at /login with a browser; programs send an API token in the header authorization: Bearer TOKEN",
        ),
    }
    .into_response()
}

/// As [`check`], of answers that everybody may have where there is no log-in: those of the admin port beside the page.
pub(crate) async fn check_admin(gate: State<Gate>, request: Request, next: Next) -> Response {
    if gate.access.has_login() { check(gate, request, next).await } else { next.run(request).await }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_something_takes_an_operator() {
        for (method, path, wanted) in [
            (Method::GET, "/api/v1/silences", Role::Viewer),
            (Method::POST, "/api/v1/silences", Role::Operator),
            (Method::DELETE, "/api/v1/alerts/x/ack", Role::Operator),
            (Method::POST, "/prometheus/api/v1/query", Role::Viewer),
            (Method::POST, "/prometheusx", Role::Operator),
            (Method::POST, "/mcp", Role::Viewer),
            (Method::POST, "/mcp/", Role::Operator),
            (Method::POST, "/logout", Role::Viewer),
            (Method::PATCH, "/anything", Role::Operator),
        ] {
            assert_eq!(needed(&method, path), wanted, "{method} {path}");
        }
    }

    #[test]
    fn bytes_before_what_a_proxy_adds_hide_nobody() {
        let mut headers = HeaderMap::new();
        headers.append("x-forwarded-for", header::HeaderValue::from_bytes(b"\xff, 192.0.2.7").unwrap());
        let proxy = [Net::parse("127.0.0.1").unwrap()];
        let from =
            client::origin(IpAddr::V4(Ipv4Addr::LOCALHOST), forwarded(&headers).iter().map(|value| &**value), &proxy);
        assert_eq!(from.to_string(), "192.0.2.7");
    }

    #[test]
    fn only_pages_lead_to_the_log_in() {
        for page in ["/", "/nodes", "/nodes/a", "/apix", "/explore"] {
            assert!(is_page(page), "{page}");
        }
        for other in ["/api", "/api/v1/nodes", "/ws/v1/live", "/assets/index.js", "/mcp", "/metrics"] {
            assert!(!is_page(other), "{other}");
        }
    }
}
