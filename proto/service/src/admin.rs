//! The admin port: `/metrics` (Prometheus text), `/live` (the process answers), `/ready` (it does its work).

use std::{fmt, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    credentials::Security,
    listen::{Connections, serve_http},
    metrics::Registry,
};

/// Of the Prometheus text format.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Whether a program does its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// It does.
    Ready,
    /// It does, but for something that a person should look at: what, and the next step.
    Impaired(String),
    /// Not yet or no longer: why, in words.
    NotReady(String),
}

impl Readiness {
    /// Whether it does its work.
    #[must_use]
    pub const fn is_ready(&self) -> bool {
        matches!(self, Self::Ready | Self::Impaired(_))
    }

    /// The same of a program that has to prove who it is: with a certificate that is not valid now it is not ready, and what
    /// it is else comes after that.
    #[must_use]
    pub fn of(self, security: &Security) -> Self {
        let Some(invalid) = security.not_valid_now() else { return self };
        Self::NotReady(match self {
            Self::Ready => invalid,
            Self::Impaired(what) | Self::NotReady(what) => format!("{invalid}; {what}"),
        })
    }
}

/// One line, as `/ready` answers.
impl fmt::Display for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready => write!(f, "ready"),
            Self::Impaired(what) => write!(f, "ready, but: {what}"),
            Self::NotReady(why) => write!(f, "not ready: {why}"),
        }
    }
}

/// The routes, for a program that serves them beside its own.
pub fn router(registry: Arc<Registry>, ready: watch::Receiver<Readiness>) -> Router {
    let metrics = async move || ([(header::CONTENT_TYPE, TEXT_FORMAT)], registry.render());
    Router::new()
        .route("/metrics", get(metrics))
        .route("/live", get(|| async { "live\n" }))
        .route("/ready", get(readiness))
        .with_state(ready)
}

async fn readiness(State(ready): State<watch::Receiver<Readiness>>) -> impl IntoResponse {
    let now = ready.borrow().clone();
    let code = if now.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, format!("{now}\n"))
}

/// What a port of its own says at `/`.
const INDEX: &str =
    "/metrics: measurements as Prometheus text\n/live: the process answers\n/ready: it does its work, or why not\n";

/// What a program serves at its admin port beside the routes of all programs.
#[derive(Debug, Default)]
pub struct Beside {
    /// Its routes.
    pub routes: Router,
    /// What `/` says of them, a line each.
    pub index: &'static str,
}

/// The routes of a port of its own.
fn alone(registry: Arc<Registry>, ready: watch::Receiver<Readiness>, beside: Beside) -> Router {
    let index = format!("{INDEX}{}", beside.index);
    router(registry, ready).merge(beside.routes).route("/", get(async move || index.clone()))
}

/// Serves the admin port until `shutdown`.
///
/// # Errors
/// When the server fails.
pub async fn serve(
    connections: Connections,
    registry: Arc<Registry>,
    ready: watch::Receiver<Readiness>,
    beside: Beside,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    serve_http(connections, alone(registry, ready, beside), shutdown.cancelled_owned()).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::http::Request;
    use tower::ServiceExt as _;

    #[tokio::test]
    async fn readiness_is_shown_with_its_reason_and_metrics_with_their_format() {
        let (sender, ready) = watch::channel(Readiness::NotReady("no peer".to_owned()));
        let registry = Arc::new(Registry::default());
        let ask = async |path: &str| {
            let request = Request::get(path).body(Body::empty()).unwrap();
            let routes = Router::new().route("/more", get(|| async { "more" }));
            let beside = Beside { routes, index: "/more: more\n" };
            let answer = alone(Arc::clone(&registry), ready.clone(), beside).oneshot(request).await.unwrap();
            let (status, form) = (answer.status(), answer.headers()[header::CONTENT_TYPE].clone());
            let body = axum::body::to_bytes(answer.into_body(), 65_536).await.unwrap();
            (status, String::from_utf8(body.to_vec()).unwrap(), form)
        };
        let (status, text, _) = ask("/ready").await;
        assert_eq!((status, text.as_str()), (StatusCode::SERVICE_UNAVAILABLE, "not ready: no peer\n"));
        sender.send(Readiness::Ready).unwrap();
        assert_eq!(ask("/ready").await.0, StatusCode::OK);
        assert_eq!(ask("/live").await.0, StatusCode::OK);
        let (status, text, _) = ask("/").await;
        assert!(status == StatusCode::OK && text.contains("/metrics") && text.ends_with("/more: more\n"), "{text}");
        assert_eq!(ask("/more").await.1, "more");
        let (_, text, form) = ask("/metrics").await;
        assert!(text.contains("starling_build_info{") && form == TEXT_FORMAT, "{text}");
    }
}
