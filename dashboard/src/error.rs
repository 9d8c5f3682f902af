//! What a request is answered instead of data: a problem by RFC 9457, each with the next step in its `detail`. The same at every path, JSON or WebSocket.

use std::time::Duration;

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

/// What an aggregator refused, in the words of this API: its texts begin with the name of a gRPC field and may name a
/// procedure, which a reader of JSON or of the page does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GrpcRefusal {
    /// The parameter it is about.
    pub(crate) field: Option<&'static str>,
    /// Why.
    pub(crate) message: String,
}

/// Fields of gRPC requests and the parameters that they come from.
const FIELDS: [(&str, &str); 32] = [
    ("box_from_tick", "boxFrom"),
    ("lower", "lower"),
    ("upper", "upper"),
    ("node_id", "node"),
    ("scope.node_id", "node"),
    ("group", "group"),
    ("scope.group", "group"),
    ("scope.each_node", "eachNode"),
    ("each_node", "eachNode"),
    ("max_points", "points"),
    ("max_columns", "columns"),
    ("max_rows", "rows"),
    ("statistic", "statistic"),
    ("top", "top"),
    ("top_by", "topBy"),
    ("time_zone", "timeZone"),
    ("over_nodes", "overNodes"),
    ("name", "name"),
    ("attributes", "attribute.KEY"),
    ("statistics", "statistics"),
    ("from_tick", "from"),
    ("to_tick", "to"),
    ("step_seconds", "step"),
    ("tick", "tick"),
    ("episode_id", "id"),
    ("silence_id", "id"),
    ("author", "who"),
    ("comment", "comment"),
    ("matchers", "matchers"),
    ("for_seconds", "forSeconds"),
    ("starts_tick", "starts"),
    ("page_token", "page"),
];
/// What a text of gRPC says to look at next.
const LIST_NODES: &str = ", see ListNodes";

impl GrpcRefusal {
    /// Reads the message of a gRPC status.
    pub(crate) fn of(message: &str) -> Self {
        // One that was forwarded begins with the name of the other aggregator.
        let (from, said) = match message.split_once(": ") {
            Some((from, rest)) if from.starts_with("aggregator ") => (Some(from), rest),
            _ => (None, message),
        };
        let named = said.split_once(": ").and_then(|(field, rest)| {
            FIELDS.iter().find(|(is, _)| *is == field).map(|(_, parameter)| (*parameter, rest))
        });
        let said = named.map_or(said, |(_, rest)| rest).replace(LIST_NODES, "");
        let message = from.map_or_else(|| said.clone(), |from| format!("{from}: {said}"));
        Self { field: named.map(|(parameter, _)| parameter), message }
    }
}

/// The form of an error (RFC 9457).
const PROBLEM: &str = "application/problem+json";

/// An answer that is not data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    field: Option<&'static str>,
    /// When it may be tried again.
    wait: Option<Duration>,
}

/// How a program says who it is (RFC 6750).
const CHALLENGE: &str = "Bearer realm=\"starling\"";

impl ApiError {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), field: None, wait: None }
    }

    /// 400: a parameter has a value that is not understood.
    pub(crate) fn invalid(field: &'static str, message: impl Into<String>) -> Self {
        Self { field: Some(field), ..Self::new(StatusCode::BAD_REQUEST, "invalid", message) }
    }

    /// 404 or 400: what the aggregator refused.
    pub(crate) fn refused(refusal: &GrpcRefusal, status: StatusCode) -> Self {
        let GrpcRefusal { field, message } = refusal;
        match status {
            StatusCode::NOT_FOUND if *field == Some("id") => Self { field: *field, ..Self::not_found(message) },
            StatusCode::NOT_FOUND => Self { field: *field, ..Self::nowhere(message) },
            _ => Self { field: *field, ..Self::new(status, "invalid", message) },
        }
    }

    /// 404: there is no such node or group.
    pub(crate) fn unknown_source(field: &'static str, reason: &str) -> Self {
        Self { field: Some(field), ..Self::nowhere(reason) }
    }

    fn nowhere(reason: &str) -> Self {
        Self::not_found(format!("{reason}; the nodes and their labels are listed at /api/v1/nodes"))
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

    /// 401: it does not say who asks, or nobody who may.
    pub(crate) fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
    }

    /// 403: it takes another role.
    pub(crate) fn role(needed: &str, has: &str) -> Self {
        let message = format!(
            "this takes the role {needed}, and yours is {has}; somebody who may edit the file of users can change that"
        );
        Self::forbidden("role", message)
    }

    /// 429: there were too many, and when to come again.
    pub(crate) fn too_many(message: impl Into<String>, wait: Duration) -> Self {
        Self { wait: Some(wait), ..Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many", message) }
    }

    /// 405: the path is there, and not for this.
    pub(crate) fn method() -> Self {
        let message =
            "this path does not take that method; the paths, and what changes something, are listed at /api/v1";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method", message)
    }

    /// 415: the body is not what is read.
    pub(crate) fn media_type() -> Self {
        let message = "the body is a JSON object, sent with the header content-type: application/json";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media_type", message)
    }

    /// 415: the same, of a form.
    pub(crate) fn form() -> Self {
        let message = "the body is a form, sent with the header content-type: application/x-www-form-urlencoded";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media_type", message)
    }

    /// 413: the body is longer than a limit.
    pub(crate) fn too_large(bytes: usize) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", format!("the body may have {bytes} bytes"))
    }

    /// 408: the body did not come.
    pub(crate) fn late(within: Duration) -> Self {
        let message = format!("the body did not come within {} s", within.as_secs());
        Self::new(StatusCode::REQUEST_TIMEOUT, "late", message)
    }

    /// 409: it cannot be done as things are.
    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", message)
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

impl ApiError {
    /// The same about the parameter `to`, when it is about `from`: what an aggregator calls it is called otherwise here.
    pub(crate) fn about(self, from: &str, to: &'static str) -> Self {
        if self.field == Some(from) { Self { field: Some(to), ..self } } else { self }
    }

    /// The status of an answer that says so.
    pub(crate) const fn status(&self) -> StatusCode {
        self.status
    }

    /// Why.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// What is sent, over HTTP and on a WebSocket: the members of RFC 9457, and under `error` the same as it was called
    /// before.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "detail": self.message,
            "code": self.code,
            "parameter": self.field,
            "error": { "code": self.code, "message": self.message, "field": self.field },
        })
    }
}

/// Whole seconds, at least one.
pub(crate) fn retry_after(wait: Duration) -> HeaderValue {
    HeaderValue::from(wait.as_millis().div_ceil(1_000).clamp(1, 86_400) as u64)
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, [(header::CONTENT_TYPE, PROBLEM)], Json(self.to_json())).into_response();
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(CHALLENGE));
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        if let Some(wait) = self.wait {
            headers.insert(header::RETRY_AFTER, retry_after(wait));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_grpc_become_those_of_this_api() {
        let of = |message: &str| {
            let GrpcRefusal { field, message } = GrpcRefusal::of(message);
            (field, message)
        };
        let node = "node_id: no node called nope in the last 15 minutes, 3 are known, see ListNodes; similar: nose";
        let wanted = "no node called nope in the last 15 minutes, 3 are known; similar: nose";
        assert_eq!(of(node), (Some("node"), wanted.to_owned()));
        assert_eq!(of("from_tick: 999 is outside of 1 to 2"), (Some("from"), "999 is outside of 1 to 2".to_owned()));
        let forwarded = "aggregator a1: step_seconds: 901 is too many";
        assert_eq!(of(forwarded), (Some("step"), "aggregator a1: 901 is too many".to_owned()));
        assert_eq!(of("something: else"), (None, "something: else".to_owned()));
        let error = ApiError::refused(&GrpcRefusal::of(node), StatusCode::NOT_FOUND).to_json();
        assert_eq!((&error["error"]["code"], &error["error"]["field"]), (&json!("not_found"), &json!("node")));
    }
}
