//! What a request is answered instead of data: `{"error": {"code", "message", "field"}}`, each with the next step in its
//! message. The same at every path, JSON or WebSocket.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;

/// An answer that is not data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    field: Option<&'static str>,
}

#[derive(Serialize)]
struct Body<'a> {
    error: Inner<'a>,
}

#[derive(Serialize)]
struct Inner<'a> {
    code: &'a str,
    message: &'a str,
    field: Option<&'a str>,
}

impl ApiError {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), field: None }
    }

    /// 400: a parameter has a value that is not understood.
    pub(crate) fn invalid(field: &'static str, message: impl Into<String>) -> Self {
        Self { field: Some(field), ..Self::new(StatusCode::BAD_REQUEST, "invalid", message) }
    }

    /// 400: a parameter is not known at all.
    pub(crate) fn unknown_parameter(name: &str, known: &[&str]) -> Self {
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        let message = format!("the parameter {name:?} is not known; known here: {known}");
        Self::new(StatusCode::BAD_REQUEST, "invalid", message)
    }

    /// 400: the request is not what this path takes.
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid", message)
    }

    /// 404: nothing of that name.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// 403: the request came by a name or from a site that is not on the list.
    pub(crate) fn forbidden(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, message)
    }

    /// 405: only reading.
    pub(crate) fn method() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method", "this path is read with GET")
    }

    /// 501: named by the reference, not part of this version.
    pub(crate) fn not_in_this_version(path: &str) -> Self {
        let message = format!(
            "{path} is not available in version {}; the live endpoints are listed at /api/v1",
            env!("CARGO_PKG_VERSION")
        );
        Self::new(StatusCode::NOT_IMPLEMENTED, "not_available", message)
    }

    /// 503: no aggregator, or no data yet.
    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
    }

    /// 503: a limit is reached.
    pub(crate) fn limit(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "limit", message)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let error = Inner { code: self.code, message: &self.message, field: self.field };
        (self.status, Json(Body { error })).into_response()
    }
}
