//! Remote write of Prometheus on the HTTP port: `POST /api/v1/write`, versions 1 and 2
//! (prometheus/docs: "Prometheus Remote-Write 1.0" and "2.0").
//!
//! Answers: 204 when all was taken; 400 when some samples were refused, with what and why, the others are taken (a sender
//! does not send it again); 503 with `Retry-After` when too much is being received.

use std::sync::Arc;

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse as _, Response},
};

use super::{
    body::{self, Whole},
    failure::Failure,
    intake::Intake,
};
use crate::receive::prometheus::Version;

/// As it is named in log lines.
const PORT: &str = "remote write";
/// The path that Prometheus' own receiver has.
pub(super) const PATH: &str = "/api/v1/write";

/// Answers one request.
pub(super) async fn answer(intake: Arc<Intake>, request: Request) -> Response {
    if request.method() != Method::POST {
        return (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "POST")], "POST a remote write\n").into_response();
    }
    let Some(version) = version(request.headers()) else {
        let advice = "remote write is taken as application/x-protobuf compressed by snappy, version 1 or 2\n";
        intake.note_foreign("http", PORT, advice);
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, advice).into_response();
    };
    match take(&intake, version, request).await {
        Ok(answer) => answer,
        Err(failure) => {
            intake.note_failure(&failure, PORT);
            let mut answer = (failure.http(), format!("{failure}\n")).into_response();
            if let Some(after) = failure.retry_after() {
                answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs()));
            }
            answer
        }
    }
}

/// The version of a message; `None` of what is none, or is not compressed by snappy.
fn version(headers: &HeaderMap) -> Option<Version> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).unwrap_or_default();
    if text(header::CONTENT_ENCODING) != "snappy" {
        return None;
    }
    let mut parts = text(header::CONTENT_TYPE).split(';').map(str::trim);
    if parts.next() != Some("application/x-protobuf") {
        return None;
    }
    match parts.find_map(|part| part.strip_prefix("proto=")) {
        None | Some("prometheus.WriteRequest") => Some(Version::V1),
        Some("io.prometheus.write.v2.Request") => Some(Version::V2),
        Some(_) => None,
    }
}

async fn take(intake: &Arc<Intake>, version: Version, request: Request) -> Result<Response, Failure> {
    let whole = body::read(request.into_body(), &intake.held).await?;
    let plain = whole.unsnapped(&intake.held)?;
    drop(whole);
    let (of_task, plain): (_, Whole) = (Arc::clone(intake), plain);
    // Thousands of samples take longer than others may wait.
    let taken = tokio::task::spawn_blocking(move || of_task.take_write(version, &plain.bytes)).await;
    let written = taken.map_err(|bug| Failure::Malformed(format!("the request was not taken: {bug}")))??;
    let (status, text) = if written.outcome.refused_total() == 0 {
        (StatusCode::NO_CONTENT, String::new())
    } else {
        (StatusCode::BAD_REQUEST, format!("{}\n", written.outcome))
    };
    let mut answer = (status, text).into_response();
    for (name, n) in [
        ("x-prometheus-remote-write-samples-written", written.samples),
        ("x-prometheus-remote-write-histograms-written", written.histograms),
        ("x-prometheus-remote-write-exemplars-written", 0),
    ] {
        answer.headers_mut().insert(name, HeaderValue::from(n));
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_stands_in_the_content_type() {
        let of = |kind: &'static str, encoding: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
            version(&headers)
        };
        assert_eq!(of("application/x-protobuf", "snappy"), Some(Version::V1));
        assert_eq!(of("application/x-protobuf;proto=prometheus.WriteRequest", "snappy"), Some(Version::V1));
        assert_eq!(of("application/x-protobuf; proto=io.prometheus.write.v2.Request", "snappy"), Some(Version::V2));
        assert_eq!(of("application/x-protobuf;proto=v3", "snappy"), None);
        assert_eq!((of("application/json", "snappy"), of("application/x-protobuf", "gzip")), (None, None));
    }
}
