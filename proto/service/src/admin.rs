//! The admin port: `/metrics` (Prometheus text), `/live` (the process answers), `/ready` (it does its work).

use std::{sync::OnceLock, time::Duration};

use axum::{Router, extract::State, http::StatusCode, routing::get};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::CancellationToken;

/// Whether a program does its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// It does.
    Ready,
    /// Not yet or no longer: why, in words.
    NotReady(String),
}

/// The process-wide recorder of the `metrics` crate. The first call installs it; several services in one process
/// share it.
///
/// # Panics
/// When another recorder was installed before: a bug in the program.
pub fn metrics_handle() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE
        .get_or_init(|| PrometheusBuilder::new().install_recorder().expect("no other metrics recorder is installed"))
        .clone()
}

/// The routes, for a program that serves them beside its own.
pub fn router(ready: watch::Receiver<Readiness>) -> Router {
    let metrics = metrics_handle();
    Router::new()
        .route(
            "/metrics",
            get(move || {
                let metrics = metrics.clone();
                async move { metrics.render() }
            }),
        )
        .route("/live", get(|| async { "live\n" }))
        .route("/ready", get(readiness))
        .with_state(ready)
}

async fn readiness(State(ready): State<watch::Receiver<Readiness>>) -> (StatusCode, String) {
    match &*ready.borrow() {
        Readiness::Ready => (StatusCode::OK, "ready\n".to_owned()),
        Readiness::NotReady(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")),
    }
}

/// Serves the admin port until `shutdown`.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    ready: watch::Receiver<Readiness>,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    /// The recorder keeps histogram samples until upkeep folds them; once per scrape interval is enough.
    const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);
    let stop = shutdown.clone();
    let upkeep = async move {
        let mut timer = tokio::time::interval(UPKEEP_INTERVAL);
        timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                _ = timer.tick() => metrics_handle().run_upkeep(),
            }
        }
    };
    let server = axum::serve(listener, router(ready)).with_graceful_shutdown(stop.cancelled_owned()).into_future();
    tokio::join!(server, upkeep).0
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::http::Request;
    use tower::ServiceExt as _;

    #[tokio::test]
    async fn readiness_is_told_with_its_reason() {
        let (sender, ready) = watch::channel(Readiness::NotReady("no peer".to_owned()));
        let ask = async |path: &str| {
            let request = Request::get(path).body(Body::empty()).unwrap();
            let answer = router(ready.clone()).oneshot(request).await.unwrap();
            let status = answer.status();
            let body = axum::body::to_bytes(answer.into_body(), 4096).await.unwrap();
            (status, String::from_utf8(body.to_vec()).unwrap())
        };
        assert_eq!(ask("/ready").await, (StatusCode::SERVICE_UNAVAILABLE, "not ready: no peer\n".to_owned()));
        sender.send(Readiness::Ready).unwrap();
        assert_eq!(ask("/ready").await.0, StatusCode::OK);
        assert_eq!(ask("/live").await.0, StatusCode::OK);
        metrics::counter!("starling_test_things_total").increment(3);
        assert!(ask("/metrics").await.1.contains("starling_test_things_total 3"));
    }
}
