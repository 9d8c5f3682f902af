//! Who may ask, by the names in the headers.
//!
//! Whoever may ask, a web page from elsewhere can make the visitor's browser ask, with the cookie of a session or, on loopback, without
//! any log-in: by a name of its own that resolves to 127.0.0.1 (DNS rebinding), against which the `Host`
//! header is checked; or by opening a WebSocket, which browsers allow across sites, or by sending a form that changes
//! something, against both of which `Origin` is checked. Behind a proxy the `Host` that arrives is often not the one in the
//! address line: without its port, with the usual one, or the name of this server. So an origin is also known by its name, when that
//! is one of those that were configured.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, Method, Uri, header, uri::Authority},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tracing::debug;

use crate::{
    error::ApiError,
    metrics::{Metrics, Refusal},
};

/// Names of this host that need no setting.
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// Where the page that asks stands, and for what, as browsers say it (Fetch Metadata); pages cannot set them.
const FETCH_SITE: &str = "sec-fetch-site";
const FETCH_MODE: &str = "sec-fetch-mode";
/// Paths below this one change nothing.
const READ_BY_POST: &str = "/prometheus/";

/// Names the server answers to.
#[derive(Debug)]
pub(crate) struct Hosts(Vec<String>);

impl Hosts {
    /// The loopback names and the configured ones.
    pub(crate) fn new(configured: &[String]) -> Self {
        let configured = configured.iter().map(|name| name.to_ascii_lowercase());
        Self(LOOPBACK.iter().map(|&name| name.to_owned()).chain(configured).collect())
    }

    /// Whether the name of a request, with any port, is one of them.
    fn allow(&self, authority: &Authority) -> bool {
        let host = authority.host().to_ascii_lowercase();
        let host = host.strip_suffix('.').unwrap_or(&host);
        // "user@host" is not sent by browsers; what stands before the @ must not look like the host.
        !authority.as_str().contains('@') && self.0.iter().any(|name| name == host)
    }

    /// Whether pages of this name, on any port, are the server's own: those that were configured. On this host every port is
    /// another program's.
    fn own_pages(&self, origin: &Authority) -> bool {
        let host = origin.host().to_ascii_lowercase();
        !origin.as_str().contains('@') && self.0.iter().skip(LOOPBACK.len()).any(|name| *name == host)
    }
}

/// Why a request is not let in.
#[derive(Debug, PartialEq, Eq)]
enum NotAdmitted {
    Host(String),
    Origin(String),
}

fn admit(hosts: &Hosts, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), NotAdmitted> {
    // HTTP/2 has the name in the request line, as :authority.
    let named = headers.get(header::HOST).map(|host| String::from_utf8_lossy(host.as_bytes()).into_owned());
    let named = named.or_else(|| uri.authority().map(ToString::to_string)).unwrap_or_default();
    let authority: Authority = named.parse().map_err(|_| NotAdmitted::Host(named.clone()))?;
    if !hosts.allow(&authority) {
        return Err(NotAdmitted::Host(named));
    }
    let is_upgrade = headers.contains_key(header::UPGRADE) || headers.contains_key(header::SEC_WEBSOCKET_VERSION);
    let own = |text: &str| {
        text.split_once("://")
            .and_then(|(scheme, rest)| matches!(scheme, "http" | "https").then(|| rest.parse::<Authority>().ok()))
            .flatten()
            .is_some_and(|origin| origin.as_str().eq_ignore_ascii_case(authority.as_str()) || hosts.own_pages(&origin))
    };
    let origin = headers.get(header::ORIGIN).map(|origin| String::from_utf8_lossy(origin.as_bytes()));
    let says = |name: &str, what: &[u8]| headers.get(name).is_some_and(|value| value.as_bytes() == what);
    // Both come from browsers only; other clients can say what they like anyway.
    let matters = is_upgrade || changes(method, uri.path());
    match origin {
        Some(origin) if matters => own(&origin).then_some(()).ok_or_else(|| NotAdmitted::Origin(origin.into_owned())),
        // A form or a picture of another site: it reads no answer, and what the answer costs is ours.
        origin if says(FETCH_SITE, b"cross-site") && (matters || !says(FETCH_MODE, b"navigate")) => match origin {
            Some(origin) if own(&origin) => Ok(()),
            origin => Err(NotAdmitted::Origin(origin.map_or_else(|| "another site".to_owned(), |is| is.into_owned()))),
        },
        None if matters && says(FETCH_SITE, b"same-site") => {
            Err(NotAdmitted::Origin("another host of the same site".to_owned()))
        }
        _ => Ok(()),
    }
}

/// Whether a request is one that changes something. Prometheus's API reads by POST too.
pub(super) fn changes(method: &Method, path: &str) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) && !path.starts_with(READ_BY_POST)
}

/// What the check needs. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Guard {
    hosts: Arc<Hosts>,
    metrics: Metrics,
}

impl Guard {
    /// Lets in what asks for one of `hosts`.
    pub(crate) fn new(hosts: Hosts, metrics: Metrics) -> Self {
        Self { hosts: Arc::new(hosts), metrics }
    }
}

/// Lets a request through or answers 403.
pub(crate) async fn check(State(Guard { hosts, metrics }): State<Guard>, request: Request, next: Next) -> Response {
    let refused = match admit(&hosts, request.method(), request.uri(), request.headers()) {
        Ok(()) => return next.run(request).await,
        Err(refused) => refused,
    };
    debug!(?refused, "request refused");
    let error = match refused {
        NotAdmitted::Host(name) => {
            metrics.request_refused(Refusal::Host);
            let message =
                format!("this server does not answer to the name {name:?}; add it to allowed_hosts if it should");
            ApiError::forbidden("host", message)
        }
        NotAdmitted::Origin(origin) => {
            metrics.request_refused(Refusal::Origin);
            metrics.client_refused(Refusal::Origin);
            let message = format!(
                "a page from {origin:?} may not open a WebSocket here, change anything or use what is here; do it from the server's own page, or add the name \
                 in its address to allowed_hosts"
            );
            ApiError::forbidden("origin", message)
        }
    };
    error.into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn try_with(host: &str, origin: Option<&str>) -> Result<(), NotAdmitted> {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        headers.insert(header::UPGRADE, "websocket".parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        admit(&Hosts::new(&["Dash.Example.org".to_owned()]), &Method::GET, &Uri::from_static("/"), &headers)
    }

    #[test]
    fn only_known_names_with_any_port() {
        for good in
            ["localhost", "LOCALHOST:7480", "127.0.0.1:1", "[::1]:7480", "dash.example.org", "dash.example.org.:80"]
        {
            assert_eq!(try_with(good, None), Ok(()), "{good}");
        }
        for bad in ["evil.example", "127.0.0.1.evil.example", "localhost@evil.example", "localhost:1@evil", "", "a b"] {
            assert!(matches!(try_with(bad, None), Err(NotAdmitted::Host(_))), "{bad}");
        }
    }

    #[test]
    fn a_socket_opens_from_the_same_origin_only() {
        assert_eq!(try_with("localhost:7480", Some("http://localhost:7480")), Ok(()));
        assert_eq!(try_with("dash.example.org", Some("https://dash.example.org")), Ok(()));
        for bad in
            ["http://evil.example", "null", "http://localhost:9999", "http://127.0.0.1:7480", "file://localhost:7480"]
        {
            assert!(matches!(try_with("localhost:7480", Some(bad)), Err(NotAdmitted::Origin(_))), "{bad}");
        }
    }

    #[test]
    fn a_page_behind_a_proxy_is_known_by_its_name_whatever_host_the_proxy_sends() {
        let page = Some("https://dash.example.org:8443");
        for host in ["dash.example.org:8443", "dash.example.org", "dash.example.org:443", "127.0.0.1:7480"] {
            assert_eq!(try_with(host, page), Ok(()), "{host}");
        }
        for bad in
            ["https://evil.example", "https://dash.example.org.evil.example", "https://dash.example.org@evil.example"]
        {
            assert!(matches!(try_with("dash.example.org", Some(bad)), Err(NotAdmitted::Origin(_))), "{bad}");
        }
    }

    #[test]
    fn what_changes_something_comes_from_the_same_origin_only() {
        let of = |method: Method, uri: &'static str, origin: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, "localhost:7480".parse().unwrap());
            headers.insert(header::ORIGIN, origin.parse().unwrap());
            admit(&Hosts::new(&[]), &method, &Uri::from_static(uri), &headers)
        };
        assert_eq!(of(Method::POST, "/api/v1/silences", "http://localhost:7480"), Ok(()));
        for method in [Method::POST, Method::DELETE, Method::PUT] {
            assert!(of(method, "/api/v1/silences", "http://evil.example").is_err());
        }
        assert_eq!(
            of(Method::GET, "/api/v1/silences", "http://evil.example"),
            Ok(()),
            "reading is the browser's matter"
        );
        assert_eq!(of(Method::POST, "/prometheus/api/v1/query", "http://grafana.example"), Ok(()));
    }

    #[test]
    fn what_browsers_say_of_the_page_that_asks_counts_without_an_origin() {
        let of = |method: Method, site: &'static str, mode: &'static str, origin: Option<&'static str>| {
            let own = [("host", "dash.example.org"), (FETCH_SITE, site), (FETCH_MODE, mode)];
            let all = own.into_iter().chain(origin.map(|origin| ("origin", origin)));
            let headers = all.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
            let hosts = Hosts::new(&["dash.example.org".to_owned(), "dash.example.net".to_owned()]);
            admit(&hosts, &method, &Uri::from_static("/api/v1/silences"), &headers).is_ok()
        };
        for site in ["same-origin", "none"] {
            assert!(of(Method::GET, site, "cors", None) && of(Method::POST, site, "cors", None), "{site}");
        }
        // A link that is followed; a picture, a script and a form of another site.
        assert!(of(Method::GET, "cross-site", "navigate", None));
        assert!(!of(Method::GET, "cross-site", "no-cors", None));
        assert!(!of(Method::GET, "cross-site", "cors", Some("https://evil.example")));
        assert!(!of(Method::POST, "cross-site", "navigate", None) && !of(Method::DELETE, "same-site", "cors", None));
        // Another name of ours, which is another site to a browser.
        assert!(of(Method::GET, "cross-site", "cors", Some("https://dash.example.net")));
        assert!(of(Method::POST, "cross-site", "cors", Some("https://dash.example.net")));
    }

    #[test]
    fn http2_names_the_host_in_the_request_line() {
        let hosts = Hosts::new(&[]);
        let of = |uri: &'static str| admit(&hosts, &Method::GET, &Uri::from_static(uri), &HeaderMap::new());
        assert_eq!(of("http://localhost:7480/"), Ok(()));
        assert!(of("http://evil.example/").is_err());
        assert!(of("/").is_err(), "no name at all");
    }
}
