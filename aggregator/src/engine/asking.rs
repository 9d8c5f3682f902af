//! Requests to the engine: each within its time and its bytes, none while the engine is left alone.

use std::{
    fmt::Write as _,
    sync::PoisonError,
    time::{Duration, Instant},
};

use bytes::Bytes;
use starling_service::http_client::{Answer, HttpError};
use tonic::codegen::http::{StatusCode, header};

use super::{Engine, answer};

/// Bytes of one answer: some hundred series of the most steps.
const ANSWER_MAX: usize = 32 * 1024 * 1024;
/// An engine that had less time than this and did not answer has not failed: the question came late.
const FAIR: Duration = Duration::from_millis(500);

/// How a request went, as it is counted.
mod outcome {
    pub(super) const ANSWERED: &str = "answered";
    pub(super) const LATE: &str = "late";
    pub(super) const UNREACHABLE: &str = "unreachable";
    pub(super) const TOO_LONG: &str = "too_long";
    pub(super) const SECRET: &str = "secret";
    pub(super) const STATUS: &str = "status";
    pub(super) const UNREADABLE: &str = "unreadable";
}

impl Engine {
    /// Asks for `path` with the fields of a form, until `until`. The body of an answer that says success.
    ///
    /// # Errors
    /// Why there is none, in words that follow the name of the engine.
    pub(super) async fn post(&self, path: &str, fields: &[(&str, String)], until: Instant) -> Result<Bytes, String> {
        let content = [(header::CONTENT_TYPE, "application/x-www-form-urlencoded")];
        let body = Bytes::from(form(fields));
        self.asked(until, async |within| self.client.post(path, &content, body.clone(), within, ANSWER_MAX).await).await
    }

    /// The same with the fields in the address.
    ///
    /// # Errors
    /// As [`Engine::post`].
    pub(super) async fn get(&self, path: &str, fields: &[(&str, String)], until: Instant) -> Result<Bytes, String> {
        let path = format!("{path}?{}", form(fields));
        self.asked(until, async |within| self.client.get(&path, within, ANSWER_MAX).await).await
    }

    async fn asked(
        &self,
        until: Instant,
        ask: impl AsyncFnOnce(Duration) -> Result<Answer, HttpError>,
    ) -> Result<Bytes, String> {
        let turn = tokio::time::timeout_at(until.into(), self.requests.acquire());
        let Ok(Ok(_turn)) = turn.await else { return Err("was busy with other questions of ours".to_owned()) };
        let began = Instant::now();
        self.may_ask(began)?;
        let within = self.timeout.min(until.saturating_duration_since(began));
        let answer = ask(within).await;
        self.metrics.history_engine_answer.record(began.elapsed());
        let (reason, outcome, wait, failed) = match answer {
            Ok(answer) => {
                self.metrics.history_engine_bytes.add(answer.body.len() as u64);
                let Some(failure) = answer.failure() else {
                    self.metrics.history_engine_requests.of(outcome::ANSWERED).inc();
                    self.note(|breaker| breaker.answered());
                    return Ok(answer.body);
                };
                // What it says itself, when it says it in the form of Prometheus.
                let said = answer::error(&answer.body).map(|error| format!("answered {}: {error}", answer.status));
                // A question that it cannot answer is no failure of the engine.
                let of_question = [StatusCode::BAD_REQUEST, StatusCode::UNPROCESSABLE_ENTITY].contains(&answer.status);
                (said.unwrap_or(failure), outcome::STATUS, answer.retry_after(), !of_question)
            }
            Err(error) => {
                let (outcome, failed) = match &error {
                    HttpError::Late(_) => (outcome::LATE, within >= FAIR),
                    HttpError::Unreachable(_) => (outcome::UNREACHABLE, true),
                    HttpError::TooLong(_) => (outcome::TOO_LONG, false),
                    HttpError::Secret(_) => (outcome::SECRET, true),
                };
                (error.to_string(), outcome, None, failed)
            }
        };
        self.metrics.history_engine_failed(outcome, &self.name, &reason);
        if failed {
            self.note(|breaker| breaker.failed(Instant::now(), wait));
        }
        Err(reason)
    }

    /// Counts an answer that cannot be read.
    pub(super) fn unreadable(&self, reason: &str) {
        self.metrics.history_engine_failed(outcome::UNREADABLE, &self.name, reason);
        self.note(|breaker| breaker.failed(Instant::now(), None));
    }

    fn may_ask(&self, now: Instant) -> Result<(), String> {
        let may = self.note(|breaker| breaker.may_ask(now));
        may.map_err(|wait| {
            self.metrics.history_engine_skipped.inc();
            format!("failed several times and is asked again in {} s", wait.as_secs() + 1)
        })
    }

    fn note<T>(&self, change: impl FnOnce(&mut super::Breaker) -> T) -> T {
        let mut breaker = self.breaker.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut breaker);
        self.metrics.history_engine_paused.set(f64::from(u8::from(breaker.is_open())));
        result
    }
}

/// Fields as a form has them (application/x-www-form-urlencoded).
fn form(fields: &[(&str, String)]) -> String {
    let mut text = String::new();
    for (name, value) in fields {
        if !text.is_empty() {
            text.push('&');
        }
        text.push_str(name);
        text.push('=');
        for byte in value.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => text.push(byte.into()),
                _ => drop(write!(text, "%{byte:02X}")),
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_escaped() {
        let fields = [("query", "a{b=\"ü&\"}".to_owned()), ("step", "60".to_owned())];
        assert_eq!(form(&fields), "query=a%7Bb%3D%22%C3%BC%26%22%7D&step=60");
    }
}
