//! JSON bodies: an object of known fields, of bounded length. What is wrong is said with the name of the field.

use std::time::Duration;

use axum::{
    body::to_bytes,
    extract::{FromRequest, Request},
    http::header,
};
use serde_json::{Map, Value};
use tokio::time::timeout;

use crate::error::ApiError;

/// Longest body: sixteen matchers with long values and a comment.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// How long it may take to come.
const BODY_WITHIN: Duration = Duration::from_secs(10);

/// The fields of a body. Each is taken once; [`Body::end`] refuses those that are left.
#[derive(Debug)]
pub(super) struct Body(Map<String, Value>);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        // A form of another site cannot say this without asking first.
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|is| is.to_str().ok()).unwrap_or_default();
        if kind.split(';').next().is_none_or(|kind| !kind.trim().eq_ignore_ascii_case("application/json")) {
            return Err(ApiError::media_type());
        }
        let bytes = timeout(BODY_WITHIN, to_bytes(request.into_body(), BODY_BYTES_MAX)).await;
        let bytes = bytes.map_err(|_| ApiError::late(BODY_WITHIN))?;
        Self::of(&bytes.map_err(|_| ApiError::too_large(BODY_BYTES_MAX))?)
    }
}

impl Body {
    fn of(bytes: &[u8]) -> Result<Self, ApiError> {
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) => Err(ApiError::bad_request("the body is a JSON object")),
            Err(error) => Err(ApiError::bad_request(format!("the body is no JSON: {error}"))),
        }
    }

    fn take(&mut self, field: &str) -> Option<Value> {
        self.0.remove(field).filter(|value| !value.is_null())
    }

    /// A text that must be there and not be blank.
    pub(super) fn needed(&mut self, field: &'static str, why: &str) -> Result<String, ApiError> {
        let text = self.text(field)?;
        if text.trim().is_empty() {
            Err(ApiError::invalid(field, format!("{field} is missing: {why}")))
        } else {
            Ok(text)
        }
    }

    /// A text; empty when it is not there.
    pub(super) fn text(&mut self, field: &'static str) -> Result<String, ApiError> {
        match self.take(field) {
            None => Ok(String::new()),
            Some(Value::String(text)) => Ok(text),
            Some(other) => Err(ApiError::invalid(field, format!("{other} is no text"))),
        }
    }

    /// A switch; off when it is not there.
    pub(super) fn switch(&mut self, field: &'static str) -> Result<bool, ApiError> {
        match self.take(field) {
            None => Ok(false),
            Some(Value::Bool(on)) => Ok(on),
            Some(other) => Err(ApiError::invalid(field, format!("{other} is neither true nor false"))),
        }
    }

    /// A whole number of seconds; 0 when it is not there.
    pub(super) fn seconds(&mut self, field: &'static str) -> Result<u32, ApiError> {
        let Some(value) = self.take(field) else { return Ok(0) };
        let seconds = value.as_u64().and_then(|seconds| u32::try_from(seconds).ok());
        seconds.ok_or_else(|| ApiError::invalid(field, format!("{value} is no whole number of seconds")))
    }

    /// A whole number; 0 when it is not there.
    pub(super) fn whole(&mut self, field: &'static str) -> Result<u64, ApiError> {
        let Some(value) = self.take(field) else { return Ok(0) };
        value.as_u64().ok_or_else(|| ApiError::invalid(field, format!("{value} is no whole number")))
    }

    /// A list of objects; empty when it is not there.
    pub(super) fn objects(&mut self, field: &'static str) -> Result<Vec<Self>, ApiError> {
        let object = |value: Value| match value {
            Value::Object(fields) => Ok(Self(fields)),
            other => Err(ApiError::invalid(field, format!("{other} is no object"))),
        };
        match self.take(field) {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) => items.into_iter().map(object).collect(),
            Some(other) => Err(ApiError::invalid(field, format!("{other} is no list"))),
        }
    }

    /// Refuses fields that nobody took: a misspelt one would be ignored.
    pub(super) fn end(self, known: &[&str]) -> Result<(), ApiError> {
        match self.0.keys().next() {
            Some(unknown) => Err(ApiError::unknown_parameter(unknown, known)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_name_the_field() {
        let body = |text: &str| Body::of(text.as_bytes());
        assert!(body("[1]").is_err() && body("{").is_err() && body("").is_err());
        let field = |error: ApiError| error.to_json()["error"]["field"].as_str().map(str::to_owned);
        let mut of = body(r#"{"who":" ","comment":5,"preview":"yes","forSeconds":-1,"matchers":{},"odd":1}"#).unwrap();
        assert_eq!(field(of.needed("who", "say who you are").unwrap_err()).as_deref(), Some("who"));
        assert_eq!(field(of.text("comment").unwrap_err()).as_deref(), Some("comment"));
        assert_eq!(field(of.switch("preview").unwrap_err()).as_deref(), Some("preview"));
        assert_eq!(field(of.seconds("forSeconds").unwrap_err()).as_deref(), Some("forSeconds"));
        assert_eq!(field(of.objects("matchers").unwrap_err()).as_deref(), Some("matchers"));
        assert!(of.end(&["who"]).unwrap_err().message().contains("\"odd\""));
        let mut of = body(r#"{"comment":null}"#).unwrap();
        assert_eq!((of.text("comment"), of.seconds("forSeconds")), (Ok(String::new()), Ok(0)));
    }
}
