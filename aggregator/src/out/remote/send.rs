//! Sends what waits, in order, one request at a time: so the samples of each series arrive in order, whatever is repeated.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::http::{HeaderName, HeaderValue, header};
use starling_out::write::{Judgement, Protocol, Refusal, judge};
use starling_service::{
    backoff::Backoff,
    http_client::{Answer, HttpClient},
};
use tokio_util::sync::CancellationToken;

use super::queue::{Cursor, Queue, Request};
use crate::metrics::Metrics;

/// Wait after the first failure: doubled with each further one, give or take a half.
const WAIT_FIRST: Duration = Duration::from_millis(500);
/// Longest wait, give or take a half, unless the receiver asks for a longer one.
const WAIT_LONGEST: Duration = Duration::from_secs(20);
/// A receiver that asks for more is asked again after this time.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(600);
/// Bytes of an answer that are read: an error is a line.
const ANSWER_MAX: usize = 64 * 1024;
/// How long it goes on after the stop with what waits, if nothing fails.
const DRAIN: Duration = Duration::from_secs(2);

const VERSION: HeaderName = HeaderName::from_static("x-prometheus-remote-write-version");
const SAMPLES_WRITTEN: &str = "x-prometheus-remote-write-samples-written";
const HISTOGRAMS_WRITTEN: &str = "x-prometheus-remote-write-histograms-written";

/// See the module.
pub(super) struct Sender {
    pub(super) queue: Arc<Queue>,
    pub(super) client: HttpClient,
    pub(super) timeout: Duration,
    pub(super) metrics: Arc<Metrics>,
}

impl Sender {
    /// Sends until `stop`, and then what waits as long as that works, for two seconds.
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut cursor = Cursor::default();
        let mut drained_by: Option<Instant> = None;
        loop {
            let queue = self.queue.clone();
            let read = move || {
                let request = queue.next(&mut cursor);
                (request, cursor)
            };
            // It panics only by a mistake of ours; the part ends then, and with it the process.
            let Ok((request, kept)) = tokio::task::spawn_blocking(read).await else { return };
            cursor = kept;
            if stop.is_cancelled() {
                let by = *drained_by.get_or_insert_with(|| Instant::now() + DRAIN);
                let Some(request) = request.filter(|_| Instant::now() < by) else { return };
                let left = by.saturating_duration_since(Instant::now());
                if !matches!(tokio::time::timeout(left, self.attempt(&request)).await, Ok(None)) {
                    return;
                }
                continue;
            }
            match request {
                Some(request) => self.until_done(&request, &stop).await,
                None => {
                    let _ = stop.run_until_cancelled(self.queue.filled.notified()).await;
                }
            }
        }
    }

    /// Sends one request until it is done, however long that takes, or until `stop`.
    async fn until_done(&self, request: &Request, stop: &CancellationToken) {
        let mut backoff = Backoff::new(WAIT_FIRST, WAIT_LONGEST);
        let began = Instant::now();
        while let Some(Some(asked)) = stop.run_until_cancelled(self.attempt(request)).await {
            self.metrics.remote_write_waits(began.elapsed());
            let wait = backoff.wait(rand::random()).max(asked.min(RETRY_AFTER_MAX));
            if stop.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() || self.queue.is_gone(request.end) {
                return;
            }
        }
        self.metrics.remote_write_goes_on(began.elapsed());
    }

    /// Sends it once. `None` when it is done, else how long the receiver asks to wait at least.
    async fn attempt(&self, request: &Request) -> Option<Duration> {
        let protocol = request.protocol;
        let headers = [
            (header::CONTENT_TYPE, protocol.content_type()),
            (header::CONTENT_ENCODING, "snappy"),
            (VERSION, protocol.version()),
        ];
        let began = Instant::now();
        let answered = self.client.post("", &headers, request.body.clone(), self.timeout, ANSWER_MAX).await;
        self.metrics.remote_write_request.record(began.elapsed());
        let answer = match answered {
            Ok(answer) => answer,
            Err(error) => {
                self.metrics.remote_write_failed("unreachable", &error.to_string());
                return Some(Duration::ZERO);
            }
        };
        let judged = judge(protocol, answer.status.as_u16(), answer.retry_after(), written(&answer), request.samples);
        match judged {
            Judgement::Again(asked) => {
                let text = answer.failure().unwrap_or_default();
                self.metrics.remote_write_failed("again", &text);
                Some(asked.unwrap_or_default())
            }
            Judgement::Done { written, refusal } => {
                let (queue, end) = (self.queue.clone(), request.end);
                let done = tokio::task::spawn_blocking(move || queue.done(end)).await;
                // What went meanwhile, because the queue was full, is counted as that.
                if matches!(done, Ok(Some(_))) {
                    self.metrics.remote_write_sent.add(written);
                    if let Some(refusal) = refusal {
                        let text = answer.failure().unwrap_or_else(|| not_written(protocol, refusal));
                        self.metrics.remote_write_refused(refusal, request.samples - written, request.seconds, &text);
                    }
                }
                None
            }
        }
    }
}

/// How many samples the receiver says it wrote, of both kinds; `None` when it says nothing.
fn written(answer: &Answer) -> Option<u64> {
    let number = |value: &HeaderValue| value.to_str().ok()?.trim().parse::<u64>().ok();
    let of = |name: &str| answer.headers.get(name).and_then(number);
    match (of(SAMPLES_WRITTEN), of(HISTOGRAMS_WRITTEN)) {
        (None, None) => None,
        (numbers, histograms) => Some(numbers.unwrap_or(0).saturating_add(histograms.unwrap_or(0))),
    }
}

fn not_written(protocol: Protocol, refusal: Refusal) -> String {
    match refusal {
        Refusal::NotConfirmed => format!(
            "it took a request of version {} and does not say what it wrote: it may speak only version 1.0, see remote_write.protocol",
            protocol.version()
        ),
        Refusal::NotWritten | Refusal::Refused => "it says that it wrote fewer".to_owned(),
    }
}
