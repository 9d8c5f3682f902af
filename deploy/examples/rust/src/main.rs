//! Baskets by axum. One layer measures every request by the semantic conventions of OpenTelemetry; the exporter sends
//! where it does without an endpoint, which is where the daemon of this host takes it.
//!
//! ```text
//! OTEL_SERVICE_NAME=basket cargo run -p starling-example-basket
//! ```

use std::time::Instant;

use axum::{
    Router,
    extract::{MatchedPath, Request, State},
    http::StatusCode,
    middleware::{self, Next},
    response::Response,
    routing::get,
};
use opentelemetry::{
    KeyValue,
    metrics::{Histogram, MeterProvider as _},
};
use opentelemetry_sdk::metrics::{Aggregation, Instrument, InstrumentKind, SdkMeterProvider, Stream};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let exporter = opentelemetry_otlp::MetricExporter::builder().with_tonic().build()?;
    let provider = SdkMeterProvider::builder().with_periodic_exporter(exporter).with_view(exponential).build();
    let duration = provider.meter("basket").f64_histogram("http.server.request.duration").with_unit("s").build();
    let app = Router::new()
        .route("/basket/{id}", get(|| async { "apples" }))
        .route("/lost", get(|| async { StatusCode::SERVICE_UNAVAILABLE }))
        .layer(middleware::from_fn_with_state(duration, measure));
    let port = std::env::var("PORT").unwrap_or_else(|_| "8004".to_owned());
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    axum::serve(listener, app).await?;
    Ok(())
}

async fn measure(State(duration): State<Histogram<f64>>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let mut attributes =
        vec![KeyValue::new("http.request.method", request.method().to_string()), KeyValue::new("url.scheme", "http")];
    // The template, never the path: "/basket/{id}".
    if let Some(route) = request.extensions().get::<MatchedPath>() {
        attributes.push(KeyValue::new("http.route", route.as_str().to_owned()));
    }
    let response = next.run(request).await;
    attributes.push(KeyValue::new("http.response.status_code", i64::from(response.status().as_u16())));
    if response.status().is_server_error() {
        attributes.push(KeyValue::new("error.type", response.status().as_str().to_owned()));
    }
    duration.record(began.elapsed().as_secs_f64(), &attributes);
    response
}

/// Sharp percentiles: what a variable sets elsewhere is a view in Rust.
fn exponential(instrument: &Instrument) -> Option<Stream> {
    let aggregation = Aggregation::Base2ExponentialHistogram { max_size: 160, max_scale: 20, record_min_max: true };
    (instrument.kind() == InstrumentKind::Histogram)
        .then(|| Stream::builder().with_aggregation(aggregation).build().ok())?
}
