//! Takes one complete OTLP message, whichever way it came.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use opentelemetry_proto::tonic::{collector::metrics::v1::ExportMetricsServiceRequest, metrics::v1::Metric};
use prost::Message;
use starling_service::log::LogLimiter;
use tokio::{
    sync::{Notify, Semaphore},
    time::{sleep, timeout},
};
use tracing::warn;

use super::{
    body::{HELD_BYTES_MAX, Whole},
    decode,
    export::{ExportResponse, Form, PartialSuccess, Signal},
    failure::Failure,
    json,
    origin::Origin,
    weigh,
};
use crate::{
    metrics::Metrics,
    receive::{
        Outcome, SharedReceiver,
        prometheus::{Version, Writes, Written},
        traffic,
    },
};

/// Memory of all messages that are decoded at once, and so of the largest one that is taken. A message of
/// [`super::failure::MESSAGE_BYTES_MAX`] of usual points takes half of it.
const DECODED_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Memory is given out in pieces of this size.
const UNIT: usize = 1024;
/// A message waits for memory for no longer than this; the others are taken in milliseconds each.
const WAIT_MAX: Duration = Duration::from_secs(3);
/// Points converted under one lock: about a millisecond.
const POINTS_PER_TURN: usize = 200;
/// How often histograms of remote write are looked at, as long as there are any.
const SETTLE_EVERY: Duration = Duration::from_millis(500);
/// Lines of one kind in the log come at most this often.
const REPEAT_AFTER: Duration = Duration::from_secs(60);

/// Takes messages into the receiver of the daemon.
#[derive(Debug)]
pub(super) struct Intake {
    receiver: SharedReceiver,
    metrics: Arc<Metrics>,
    /// Bytes of bodies that may still be held.
    pub(super) held: Arc<Semaphore>,
    /// Memory that decoded messages may still take.
    decoding: Semaphore,
    /// What remote write keeps between requests.
    writes: Mutex<Writes>,
    /// Told when histograms are being put together there.
    unsettled: Notify,
    refused: LogLimiter,
    failed: LogLimiter,
    foreign: LogLimiter,
    other_signals: LogLimiter,
}

impl Intake {
    pub(super) fn new(receiver: SharedReceiver, metrics: Arc<Metrics>) -> Self {
        let lines = || LogLimiter::new(REPEAT_AFTER);
        Self {
            receiver,
            metrics,
            held: Arc::new(Semaphore::new(HELD_BYTES_MAX)),
            decoding: Semaphore::new(DECODED_BYTES_MAX / UNIT),
            writes: Mutex::new(Writes::default()),
            unsettled: Notify::new(),
            refused: lines(),
            failed: lines(),
            foreign: lines(),
            other_signals: lines(),
        }
    }

    /// Takes a message. What is wrong with some of its points is said in the answer.
    ///
    /// # Errors
    /// [`Failure`]: nothing of it is taken.
    pub(super) async fn take(&self, signal: Signal, message: &Whole, form: Form) -> Result<ExportResponse, Failure> {
        match signal {
            Signal::Metrics => self.take_metrics(&message.bytes, form).await,
            Signal::Traces | Signal::Logs => self.reject(signal, &message.bytes, form),
        }
    }

    async fn take_metrics(&self, message: &[u8], form: Form) -> Result<ExportResponse, Failure> {
        let weight = match form {
            Form::Protobuf => weigh::request(message)?,
            Form::Json => json::weigh(message),
        };
        if weight > DECODED_BYTES_MAX {
            return Err(Failure::TooHeavy(weight));
        }
        let units = u32::try_from(weight.div_ceil(UNIT)).map_err(|_| Failure::TooHeavy(weight))?;
        let memory = timeout(WAIT_MAX, self.decoding.acquire_many(units)).await;
        // Closed never: what is left is that the wait was too long.
        let Ok(Ok(_memory)) = memory else { return Err(Failure::Busy) };
        let request = match form {
            Form::Protobuf => ExportMetricsServiceRequest::decode(message)
                .map_err(|error| Failure::Malformed(format!("the message is not an OTLP export: {error}")))?,
            Form::Json => json::metrics(message)?,
        };
        let mut outcome = Outcome::default();
        for resource in &request.resource_metrics {
            for scope in &resource.scope_metrics {
                let origin = Origin::new(resource.resource.as_ref(), scope.scope.as_ref());
                for metric in &scope.metrics {
                    let names = || scope.metrics.iter().map(|metric| metric.name.as_str());
                    if traffic::is_superseded(&metric.name, names) {
                        self.metrics.otlp_superseded.add(decode::points(metric) as u64);
                    } else {
                        self.take_metric(&origin, metric, &mut outcome).await;
                    }
                }
            }
        }
        self.metrics.otlp_requests.inc();
        outcome.count_in(&self.metrics.otlp_points, &self.metrics.otlp_refused);
        Ok(ExportResponse { partial_success: self.partial_success(&outcome) })
    }

    async fn take_metric(&self, origin: &Origin, metric: &Metric, outcome: &mut Outcome) {
        for from in (0..decode::points(metric)).step_by(POINTS_PER_TURN) {
            let (now, part) = (self.receiver.now(), from..from + POINTS_PER_TURN);
            decode::take(&mut self.receiver.lock(), origin, metric, &part, now, outcome);
            // Gives way by the runtime's own budget, so that a large request does not hold up the second's cut.
            tokio::task::coop::consume_budget().await;
        }
    }

    /// Takes a request of remote write, decompressed.
    ///
    /// # Errors
    /// [`Failure::Malformed`]; what stands before the place where it breaks off was taken.
    pub(super) fn take_write(&self, version: Version, body: &[u8]) -> Result<Written, Failure> {
        let written = self.writes().take(version, body, &self.receiver)?;
        self.unsettled.notify_one();
        self.metrics.write_requests.inc();
        self.note_written(&written.outcome);
        Ok(written)
    }

    /// Hands over histograms of remote write of which no more comes, for ever.
    pub(super) async fn settle(&self) {
        loop {
            self.unsettled.notified().await;
            loop {
                sleep(SETTLE_EVERY).await;
                let outcome = self.writes().settle(&self.receiver);
                self.note_written(&outcome);
                if self.writes().is_settled() {
                    break;
                }
            }
        }
    }

    /// Hands over what is left of remote write: no more comes.
    pub(super) fn settle_all(&self) {
        let outcome = self.writes().settle_all(&self.receiver);
        self.note_written(&outcome);
    }

    fn writes(&self) -> MutexGuard<'_, Writes> {
        // A panic inside is a bug; what was taken before it is still right.
        self.writes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_written(&self, outcome: &Outcome) {
        outcome.count_in(&self.metrics.write_samples, &self.metrics.write_refused);
        let refused = outcome.refused_total();
        if refused == 0 {
            return;
        }
        self.receiver.lock().count_refused(refused);
        if let Some(left_out) = self.refused.allow() {
            warn!(left_out, refused, taken = outcome.taken, detail = %outcome, "samples of remote write refused");
        }
    }

    /// What the sender hears, and once in a while the operator.
    fn partial_success(&self, outcome: &Outcome) -> Option<PartialSuccess> {
        let refused = outcome.refused_total();
        if refused == 0 {
            return None;
        }
        let message = outcome.to_string();
        if let Some(left_out) = self.refused.allow() {
            warn!(left_out, refused, taken = outcome.taken, detail = %message, "data points refused");
        }
        Some(PartialSuccess { rejected: i64::try_from(refused).unwrap_or(i64::MAX), error_message: message })
    }

    /// Says that spans and log records have no place here, and what to set.
    fn reject(&self, signal: Signal, message: &[u8], form: Form) -> Result<ExportResponse, Failure> {
        let (word, upper) = (signal.as_str(), signal.as_str().to_uppercase());
        // Spans and log records stand at the same place.
        let rejected = match form {
            Form::Protobuf => weigh::count(message, &[1, 2, 2])?,
            Form::Json => json::count(message)?,
        };
        self.metrics.otlp_other_signals.of(word).inc();
        if let Some(left_out) = self.other_signals.allow() {
            warn!(
                left_out,
                rejected,
                signal = word,
                "an application sends more than metrics, which are all that is taken"
            );
        }
        let error_message = format!(
            "Starling takes metrics and no {word}: set OTEL_{upper}_EXPORTER=none, or send them elsewhere by \
             OTEL_EXPORTER_OTLP_{upper}_ENDPOINT"
        );
        let rejected = i64::try_from(rejected).unwrap_or(i64::MAX);
        Ok(ExportResponse { partial_success: Some(PartialSuccess { rejected, error_message }) })
    }

    /// Counts a request of which nothing was taken.
    pub(super) fn note_failure(&self, failure: &Failure, port: &'static str) {
        self.metrics.otlp_failed.of(failure.as_str()).inc();
        if let Some(left_out) = self.failed.allow() {
            warn!(left_out, port, reason = %failure, "an OTLP request was not taken");
        }
    }

    /// Counts a request in a protocol that is not spoken on this port.
    pub(super) fn note_foreign(&self, port: &'static str, what: &str, advice: &str) {
        self.metrics.otlp_foreign.of(port).inc();
        if let Some(left_out) = self.foreign.allow() {
            warn!(left_out, port, what, advice, "a request in another protocol");
        }
    }
}
