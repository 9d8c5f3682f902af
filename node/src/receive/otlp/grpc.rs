//! OTLP over gRPC: the `Export` of `MetricsService`, `TraceService` and `LogsService`.
//!
//! The call is unary and its framing five bytes, so it is read here, by the bounds of [`super::body`]: a library that
//! reads it would hold a place for every sender that stalls, and would decode before anything can be weighed.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use http_body_util::{BodyExt as _, Full};
use prost::Message as _;
use tonic::{Code, Status};

use super::{
    body,
    export::{Form, Signal},
    failure::Failure,
    intake::Intake,
};

/// As it is named in log lines and metrics.
const PORT: &str = "grpc";

/// Answers one request on the gRPC port. `http_port`: where OTLP over HTTP is taken, when it is.
pub(super) async fn answer(intake: Arc<Intake>, http_port: Option<u16>, request: Request) -> Response {
    if !is_grpc(request.headers()) {
        return foreign(&intake, http_port, &request);
    }
    let signal = match request.uri().path() {
        "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export" => Signal::Metrics,
        "/opentelemetry.proto.collector.trace.v1.TraceService/Export" => Signal::Traces,
        "/opentelemetry.proto.collector.logs.v1.LogsService/Export" => Signal::Logs,
        other => {
            let path: String = other.chars().take(100).collect();
            return Status::unimplemented(format!("{path} is no call of OTLP")).into_http();
        }
    };
    match take(&intake, signal, request).await {
        Ok(message) => success(&message),
        Err(failure) => {
            intake.note_failure(&failure, PORT);
            let mut answer: Response = failure.status().into_http();
            if matches!(failure, Failure::Encoding(_)) {
                answer.headers_mut().insert("grpc-accept-encoding", HeaderValue::from_static("identity,gzip"));
            }
            answer
        }
    }
}

/// True when a request says that it is gRPC.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map_or(&[][..], HeaderValue::as_bytes);
    // "application/grpc+proto" and the like; grpc-web is something else.
    kind.strip_prefix(b"application/grpc").is_some_and(|rest| !rest.starts_with(b"-"))
}

async fn take(intake: &Intake, signal: Signal, request: Request) -> Result<Vec<u8>, Failure> {
    let encoding = request.headers().get("grpc-encoding").cloned();
    let whole = body::read(request.into_body(), &intake.held).await?;
    let (compressed, message) = whole.grpc_message()?;
    let answer = if compressed {
        match encoding.as_ref().map_or(&[][..], HeaderValue::as_bytes) {
            b"gzip" => intake.take(signal, &message.gunzipped(&intake.held)?, Form::Protobuf).await?,
            other => return Err(Failure::Encoding(String::from_utf8_lossy(other).into_owned())),
        }
    } else {
        intake.take(signal, &message, Form::Protobuf).await?
    };
    Ok(answer.encode_to_vec())
}

fn success(message: &[u8]) -> Response {
    let mut framed = Vec::with_capacity(5 + message.len());
    framed.push(0);
    // An answer is a few hundred bytes.
    framed.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    framed.extend_from_slice(message);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from(Code::Ok as i32));
    let body = Full::new(bytes::Bytes::from(framed)).with_trailers(std::future::ready(Some(Ok(trailers))));
    ([(header::CONTENT_TYPE, "application/grpc")], Body::new(body)).into_response()
}

/// Answers what is not gRPC, most likely OTLP over HTTP that was sent to this port.
fn foreign(intake: &Intake, http_port: Option<u16>, request: &Request) -> Response {
    let otherwise = http_port.map_or_else(String::new, |port| format!("send OTLP over HTTP to port {port}, or "));
    let advice = format!("OTLP over gRPC here; {otherwise}set OTEL_EXPORTER_OTLP_PROTOCOL=grpc");
    let what: String = format!("{:?} {} {}", request.version(), request.method(), request.uri().path());
    let what: String = what.chars().take(100).collect();
    intake.note_foreign(PORT, &what, &advice);
    (StatusCode::UNSUPPORTED_MEDIA_TYPE, format!("{advice}\n")).into_response()
}
