//! Parameters behind the `?` and in the body of a POST, in the order they came; a name may stand several times.

use std::convert::Infallible;

use axum::{
    body::to_bytes,
    extract::{FromRequest, Query, Request},
    http::Method,
};

use super::Refused;

/// Longest body: a query of 16 KiB, escaped, and some selectors.
const BODY_BYTES_MAX: usize = 128 * 1024;

/// See the module. Reading it never fails, so that a refusal has Prometheus's form: [`Form::checked`] says what was wrong.
#[derive(Debug, Default)]
pub(super) struct Form {
    pairs: Vec<(String, String)>,
    fault: Option<String>,
}

impl<S: Send + Sync> FromRequest<S> for Form {
    type Rejection = Infallible;

    async fn from_request(request: Request, _: &S) -> Result<Self, Infallible> {
        let mut form = Self::default();
        form.take(request.uri().query().unwrap_or_default());
        if request.method() == Method::POST {
            match to_bytes(request.into_body(), BODY_BYTES_MAX).await {
                Ok(body) => form.take(&String::from_utf8_lossy(&body)),
                Err(_) => form.fault = Some(format!("the body cannot be read or has more than {BODY_BYTES_MAX} bytes")),
            }
        }
        Ok(form)
    }
}

impl Form {
    fn take(&mut self, text: &str) {
        let uri = format!("/?{}", text.trim()).parse();
        let pairs = uri.ok().and_then(|uri| Query::<Vec<(String, String)>>::try_from_uri(&uri).ok());
        match pairs {
            Some(Query(pairs)) => self.pairs.extend(pairs),
            None => self.fault = Some("the parameters are no form: name=value&name=value, escaped".to_owned()),
        }
    }

    pub(super) fn checked(self) -> Result<Self, Refused> {
        match self.fault {
            Some(fault) => Err(Refused::bad(fault)),
            None => Ok(self),
        }
    }

    /// The value of `name`; `None` when it is missing or empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.pairs
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// All values of `name`.
    pub(super) fn all(&self, name: &str) -> Vec<String> {
        self.pairs.iter().filter(|(key, _)| key == name).map(|(_, value)| value.clone()).collect()
    }

    /// How many are wanted; 0 and nothing mean all.
    pub(super) fn limit(&self) -> Result<Option<usize>, Refused> {
        match self.get("limit") {
            None => Ok(None),
            Some(text) => match text.parse() {
                Ok(0) => Ok(None),
                Ok(limit) => Ok(Some(limit)),
                Err(_) => Err(Refused::parameter("limit", "a whole number is wanted")),
            },
        }
    }
}
