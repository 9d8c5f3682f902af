//! OTLP over HTTP: `POST /v1/metrics`, `/v1/traces` and `/v1/logs` with protocol buffers or JSON, as the specification has it
//! (opentelemetry-specification: protocol/otlp.md, "OTLP/HTTP").

use std::sync::Arc;

use axum::{
    Json,
    extract::Request,
    http::{HeaderValue, Method, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use prost::Message as _;

use super::{
    body,
    export::{ExportResponse, Form, Signal},
    failure::Failure,
    grpc::is_grpc,
    intake::Intake,
    json::{self, JSON},
    write,
};

/// As it is named in log lines and metrics.
const PORT: &str = "http";
/// The usual form.
const PROTOBUF: &str = "application/x-protobuf";

/// Answers one request on the HTTP port. `grpc_port`: where OTLP over gRPC is taken.
pub(super) async fn answer(intake: Arc<Intake>, grpc_port: u16, request: Request) -> Response {
    if is_grpc(request.headers()) {
        let advice = format!(
            "OTLP over HTTP here; send OTLP over gRPC to port {grpc_port}, or set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"
        );
        intake.note_foreign(PORT, "gRPC", &advice);
        return tonic::Status::unimplemented(advice).into_http();
    }
    let signal = match request.uri().path() {
        write::PATH => return write::answer(intake, request).await,
        "/v1/metrics" => Signal::Metrics,
        "/v1/traces" => Signal::Traces,
        "/v1/logs" => Signal::Logs,
        _ => {
            let advice = "OTLP over HTTP here: POST /v1/metrics; OTEL_EXPORTER_OTLP_ENDPOINT has no path. Remote write: \
                          POST /api/v1/write";
            let what: String = request.uri().path().chars().take(100).collect();
            intake.note_foreign(PORT, &what, advice);
            return (StatusCode::NOT_FOUND, format!("{advice}\n")).into_response();
        }
    };
    if request.method() != Method::POST {
        return (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "POST")], "POST an OTLP export\n").into_response();
    }
    let kind = request.headers().get(header::CONTENT_TYPE).map_or(&[][..], HeaderValue::as_bytes);
    let Some(form) = form(kind) else {
        let what = String::from_utf8_lossy(&kind[..kind.len().min(100)]).into_owned();
        let advice = "protocol buffers and JSON are taken: set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf";
        intake.note_foreign(PORT, &what, advice);
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, format!("{advice}\n")).into_response();
    };
    match take(&intake, signal, form, request).await {
        Ok(answer) => match form {
            Form::Protobuf => ([(header::CONTENT_TYPE, PROTOBUF)], answer.encode_to_vec()).into_response(),
            Form::Json => Json(json::answer(signal, &answer)).into_response(),
        },
        Err(failure) => {
            intake.note_failure(&failure, PORT);
            let (status, message) = (failure.http(), failure.message());
            let mut answer = match form {
                Form::Protobuf => (status, [(header::CONTENT_TYPE, PROTOBUF)], message.encode_to_vec()).into_response(),
                Form::Json => (status, Json(json::failure(&message))).into_response(),
            };
            if let Some(after) = failure.retry_after() {
                answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs()));
            }
            answer
        }
    }
}

/// The form of a body of this content type, whatever parameters it has.
fn form(kind: &[u8]) -> Option<Form> {
    let name = kind.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    if name.eq_ignore_ascii_case(PROTOBUF.as_bytes()) {
        Some(Form::Protobuf)
    } else {
        name.eq_ignore_ascii_case(JSON.as_bytes()).then_some(Form::Json)
    }
}

async fn take(intake: &Intake, signal: Signal, form: Form, request: Request) -> Result<ExportResponse, Failure> {
    let encoding = request.headers().get(header::CONTENT_ENCODING).cloned();
    let gzip = match encoding.as_ref().map_or(&[][..], HeaderValue::as_bytes) {
        b"" | b"identity" => false,
        b"gzip" => true,
        other => return Err(Failure::Encoding(String::from_utf8_lossy(&other[..other.len().min(100)]).into_owned())),
    };
    let whole = body::read(request.into_body(), &intake.held).await?;
    let whole = if gzip { whole.gunzipped(&intake.held)? } else { whole };
    intake.take(signal, &whole, form).await
}
