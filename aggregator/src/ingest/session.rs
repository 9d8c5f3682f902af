//! One stream of one node, from hello to end.

use std::{
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use prost::Message as _;
use starling_proto::{
    frame::{Decoder, FrameError},
    ids::{NodeId, WriterId},
    nodes::taken_faults,
    v1::{self, RefusalReason, ingest_request, ingest_response},
};
use starling_service::{metrics::Counter, requests::Protocol};
use tokio::sync::mpsc;
use tonic::{Code, Status, Streaming};
use tracing::{debug, info};

use super::{
    Intake,
    cores::CoreReader,
    desk, elsewhere,
    hello::Greeting,
    node::{Claim, ClaimError},
    pace::{GATHER, Pace},
    registry::NEWCOMERS_PER_SECOND,
    respond, stopping,
};
use crate::{
    bucket::Bucket,
    clock::{age_ms, now_ms},
    ledger_task::{AckQueue, Seat, TakeError},
};
use starling_ledger::{Offered, Refused};
use starling_proto::group::Group;

/// A stream without any message for this long is ended; a living daemon sends one a second.
const SILENCE: Duration = Duration::from_secs(30);
/// A node that does not read for this long loses its stream: nothing else of the session goes on meanwhile, neither
/// the hand-over of a stop.
const READ_WITHIN: Duration = Duration::from_secs(2);
/// Frames a node may send faster than [`FRAMES_PER_SECOND`]: a full ring of unacknowledged frames after a failover.
const FRAMES_BURST: f64 = 120.0;
/// Frames a second taken from one node; further ones wait in its own buffers.
const FRAMES_PER_SECOND: f64 = 40.0;

/// A frame that comes so long after its second changes what was shown long ago: after an outage that is right, else it is a node
/// that rewrites its past. It is taken, counted and named.
const LATE_MS: u32 = 60_000;

type Outbox = mpsc::Sender<Result<v1::IngestResponse, Status>>;

/// Why a session is over.
enum End {
    /// The daemon ended its stream, with its last tick.
    Ended(u32),
    /// The daemon goes on with another stream, because its clock was set; with the last tick of this one.
    Continued(u32),
    /// The connection broke or was closed by the node.
    Gone,
    /// We end it, with this status.
    Status(Status),
    /// We end it after this message.
    Redirect(v1::Redirect),
}

/// See the module.
pub(super) struct IngestSession {
    intake: Arc<Intake>,
    claim: Claim,
    seat: Seat,
    groups: Arc<[Group]>,
    acks: Arc<AckQueue>,
    decoder: Decoder,
    cores: CoreReader,
    /// A slice of the newest frame, and so of the buffer it was read into. The first frame, with all names, makes that
    /// buffer some twenty times larger than any later frame needs, and tonic keeps it as long as it
    /// is the only one that uses it when it needs room (`BytesMut::reserve`).
    before: Bytes,
    /// A keyframe was asked for and has not come: further frames are skipped in silence.
    awaits_keyframe: bool,
    bucket: Bucket,
}

impl IngestSession {
    /// Takes the node's place in the registry and in the ledger.
    pub(super) async fn open(intake: &Arc<Intake>, greeting: Greeting) -> Result<Self, Status> {
        if intake.is_new(&greeting.node) && !intake.registry.takes_newcomer(Instant::now()) {
            intake.metrics.newcomer_refused(greeting.node.as_str());
            return Err(Status::unavailable(format!(
                "more than {NEWCOMERS_PER_SECOND} nodes a second are new to the cluster: try again in a few seconds"
            )));
        }
        let claim = intake.registry.claim(&greeting.node, greeting.stream, greeting.session, greeting.about).map_err(
            |error| match error {
                ClaimError::Older => Status::aborted(error.to_string()),
                ClaimError::Full(_) | ClaimError::TooOften => Status::resource_exhausted(error.to_string()),
            },
        )?;
        let groups = intake.registry.groups_of(&claim.node.about().labels).into();
        let acks = Arc::new(AckQueue::new(intake.metrics.acks_dropped.clone()));
        let opened =
            intake.ledger.open(greeting.node.clone(), greeting.stream, acks.clone(), claim.replaced.clone()).await;
        let seat = opened.map_err(|error| {
            claim.release(false);
            match error {
                TakeError::Replaced => Status::aborted(error.to_string()),
                TakeError::Full(_) => Status::resource_exhausted(error.to_string()),
                TakeError::Ended(_) => Status::unavailable(error.to_string()),
            }
        })?;
        if let Some(left_out) = intake.metrics.node_stream_line.allow() {
            let (node, stream, session) = (&greeting.node, greeting.stream, greeting.session);
            info!(%node, %stream, session, left_out, "node connected");
        }
        Ok(Self {
            intake: intake.clone(),
            claim,
            seat,
            groups,
            acks,
            decoder: Decoder::new(),
            cores: CoreReader::default(),
            before: Bytes::new(),
            awaits_keyframe: false,
            bucket: Bucket::new(Instant::now(), FRAMES_BURST, FRAMES_PER_SECOND),
        })
    }

    /// Whose stream it is.
    pub(super) fn node(&self) -> &NodeId {
        &self.claim.node.id
    }

    /// Runs until either side ends the stream.
    pub(super) async fn run(mut self, mut inbound: Streaming<v1::IngestRequest>, outbox: Outbox) {
        let open = self.intake.meter.open(Protocol::Grpc);
        let end = self.exchange(&mut inbound, &outbox).await;
        drop(open);
        let (last_tick, last_message) = match end {
            End::Ended(tick) => {
                if let Some(left_out) = self.intake.metrics.node_stream_line.allow() {
                    info!(node = %self.node(), last_tick = tick, left_out, "node ended its stream");
                }
                (Some(tick), None)
            }
            End::Continued(tick) => {
                info!(node = %self.node(), last_tick = tick, "node goes on with another stream: its clock was set");
                (None, None)
            }
            End::Gone => {
                if let Some(left_out) = self.intake.metrics.node_stream_line.allow() {
                    info!(node = %self.node(), left_out, "node disconnected");
                }
                (None, None)
            }
            End::Status(status) => {
                if let Some(left_out) = self.intake.metrics.node_stream_line.allow() {
                    let (code, message) = (status.code(), status.message());
                    info!(node = %self.node(), ?code, message, left_out, "stream of a node ended");
                }
                (None, Some(Err(status)))
            }
            End::Redirect(redirect) => {
                debug!(node = %self.node(), "node sent to another aggregator");
                (None, Some(Ok(respond(ingest_response::Body::Redirect(redirect)))))
            }
        };
        self.claim.release(last_tick.is_some());
        self.intake.ledger.close(self.seat, last_tick).await;
        if let Some(message) = last_message {
            // The node may be gone, or not read: it will find out by itself.
            let _ = tokio::time::timeout(Duration::from_secs(1), outbox.send(message)).await;
        }
    }

    async fn exchange(&mut self, inbound: &mut Streaming<v1::IngestRequest>, outbox: &Outbox) -> End {
        // Made once: each of them is looked at with every message.
        let mut draining = pin!(self.intake.draining.clone().cancelled_owned());
        let mut replaced = pin!(self.claim.replaced.clone().cancelled_owned());
        let (redirect, acks) = (self.claim.redirect.clone(), self.acks.clone());
        let mut redirect = pin!(redirect.notified());
        let mut heard_at = tokio::time::Instant::now();
        let mut silence = pin!(tokio::time::sleep(SILENCE));
        let mut ack = pin!(tokio::time::sleep_until(heard_at));
        let (mut ack_is_due, mut next_ack, mut pace) = (false, heard_at, Pace::default());
        loop {
            tokio::select! {
                biased;
                () = &mut draining => return self.drained(),
                () = &mut replaced => return self.replaced(),
                () = &mut redirect => {
                    return End::Redirect(elsewhere(&self.intake.membership.view(), self.node()));
                }
                () = acks.filled(), if !ack_is_due => {
                    ack_is_due = true;
                    ack.as_mut().reset((tokio::time::Instant::now() + GATHER).max(next_ack));
                }
                () = &mut ack, if ack_is_due => {
                    match acks.take(self.intake.ledger.alone(), self.intake.ledger.gate()) {
                        Some(due) => {
                            let seconds = due.ticks.len();
                            if let Some(end) = self.send(outbox, ingest_response::Body::Ack(due)).await {
                                return end;
                            }
                            // Further ones will come: they are not waited for one by one.
                            next_ack = pace.next(tokio::time::Instant::now(), seconds);
                            ack.as_mut().reset(next_ack);
                        }
                        None => ack_is_due = false,
                    }
                }
                () = &mut silence => {
                    if heard_at.elapsed() >= SILENCE {
                        return End::Status(Status::deadline_exceeded("no frame for 30 s"));
                    }
                    silence.as_mut().reset(heard_at + SILENCE);
                }
                () = self.claim.looked_at() => {
                    if let Some(seconds) = self.claim.look_seconds() {
                        let request = ingest_response::Body::DetailRequest(v1::DetailRequest { seconds });
                        if let Some(end) = self.send(outbox, request).await {
                            return end;
                        }
                    }
                }
                message = inbound.message() => {
                    heard_at = tokio::time::Instant::now();
                    self.claim.heard();
                    let body = match message {
                        Ok(Some(message)) => message.body,
                        Ok(None) => return End::Gone,
                        Err(status) => return unreadable(&status),
                    };
                    if let Some(end) = self.take(body, outbox).await {
                        return end;
                    }
                }
            }
        }
    }

    fn replaced(&self) -> End {
        End::Status(match self.claim.namesake() {
            Some(text) => Status::already_exists(text),
            None => Status::aborted("a newer connection of this node took over"),
        })
    }

    fn drained(&self) -> End {
        let redirect = elsewhere(&self.intake.membership.view(), self.node());
        if redirect.ranked.is_empty() { End::Status(stopping()) } else { End::Redirect(redirect) }
    }

    async fn take(&mut self, body: Option<ingest_request::Body>, outbox: &Outbox) -> Option<End> {
        match body {
            Some(ingest_request::Body::Frame(frame)) => {
                self.before = frame.rollup.clone();
                let wait = self.bucket.take(Instant::now(), 1.0);
                if !wait.is_zero() {
                    tokio::time::sleep(wait).await;
                }
                let began = Instant::now();
                let answers = self.take_frame(&frame).await;
                // One frame message counts as one request, with the time it takes to decode and offer it.
                self.intake.meter.record(Protocol::Grpc, began.elapsed(), false);
                let answers = match answers {
                    Ok(answers) => answers,
                    Err(end) => return Some(end),
                };
                for answer in answers {
                    let end = self.send(outbox, answer).await;
                    if end.is_some() {
                        return end;
                    }
                }
                None
            }
            Some(ingest_request::Body::Collectors(report)) => {
                let wait = self.bucket.take(Instant::now(), 1.0);
                if !wait.is_zero() {
                    tokio::time::sleep(wait).await;
                }
                let (faults, _) = taken_faults(&report.faults);
                self.claim.collectors(faults);
                None
            }
            Some(ingest_request::Body::Detail(detail)) => {
                let wait = self.bucket.take(Instant::now(), 1.0);
                if !wait.is_zero() {
                    tokio::time::sleep(wait).await;
                }
                self.claim.detail(desk::bounded(detail));
                None
            }
            Some(ingest_request::Body::EndOfStream(end)) => {
                Some(if end.continues { End::Continued(end.last_tick) } else { End::Ended(end.last_tick) })
            }
            Some(ingest_request::Body::Hello(_)) => {
                Some(End::Status(Status::invalid_argument("hello: only the first message may be one")))
            }
            // A message of a newer protocol: nothing we know of was lost.
            None => None,
        }
    }

    /// Decodes one frame, keeps it and offers it to the ledger. Returns what to answer, or why the session is over.
    async fn take_frame(&mut self, frame: &v1::Frame) -> Result<Vec<ingest_response::Body>, End> {
        let decoded = match self.decoder.decode(frame, &self.claim.names(self.intake.registry.names())) {
            Ok(decoded) => decoded,
            Err(FrameError::NeedKeyframe { .. }) if self.awaits_keyframe => return Ok(Vec::new()),
            Err(error) => return Ok(self.undecodable(frame, &error)),
        };
        self.awaits_keyframe = false;
        let pin = match frame.pin.len() {
            0 => None,
            _ => match WriterId::parse(&frame.pin) {
                Ok(pin) => Some(pin),
                Err(error) => {
                    return Ok(vec![self.refuse(frame.tick, RefusalReason::Invalid, format!("frame.pin: {error}"))]);
                }
            },
        };
        let now = now_ms();
        self.intake.metrics.series_without_place(self.node().as_str(), decoded.left_out, decoded.others);
        let tick = decoded.second.tick;
        let (stream, groups, columns) = (self.seat.stream, Arc::clone(&self.groups), decoded.second.cluster.clone());
        let cores = self.cores.read(&decoded.second.node);
        let offer = self.intake.ledger.offer(Offered { stream, tick, pin, groups, columns, cores }).await;
        match offer.map_err(|ended| End::Status(Status::unavailable(ended.to_string())))? {
            Err(refused) => {
                let reason = match refused {
                    Refused::TooLate => RefusalReason::TooLate,
                    Refused::NotYet => RefusalReason::NotYet,
                    Refused::TooEarly => RefusalReason::TooEarly,
                    Refused::Invalid => RefusalReason::Invalid,
                    // Nothing is wrong with the frame: the node keeps it and offers it on its next connection.
                    Refused::NotOpen => return Err(End::Status(Status::unavailable(refused.to_string()))),
                };
                Ok(vec![self.refuse(frame.tick, reason, refused.to_string())])
            }
            Ok(()) => {
                let delay_ms = age_ms(tick, now);
                self.intake.metrics.frame_taken(frame.encoded_len(), delay_ms);
                if delay_ms > LATE_MS {
                    self.intake.metrics.frame_late(self.node().as_str(), tick, delay_ms);
                }
                self.claim.keep(decoded, delay_ms);
                Ok(Vec::new())
            }
        }
    }

    async fn send(&self, outbox: &Outbox, body: ingest_response::Body) -> Option<End> {
        send(outbox, body, &self.intake.metrics.node_stalls).await
    }

    fn undecodable(&mut self, frame: &v1::Frame, error: &FrameError) -> Vec<ingest_response::Body> {
        let reason = error.to_string();
        let mut answers = Vec::with_capacity(2);
        if let FrameError::Invalid(_) = error {
            answers.push(self.refuse(frame.tick, RefusalReason::Invalid, reason.clone()));
        }
        self.intake.metrics.keyframe_requested(self.node().as_str(), &reason);
        self.awaits_keyframe = true;
        answers.push(ingest_response::Body::KeyframeRequest(v1::KeyframeRequest { reason }));
        answers
    }

    fn refuse(&self, tick: u32, reason: RefusalReason, detail: String) -> ingest_response::Body {
        self.intake.metrics.frame_refused(self.node().as_str(), tick, reason, &detail);
        ingest_response::Body::Refusal(v1::Refusal { tick, reason: reason.into(), detail })
    }
}

/// Sends one message; why the session is over when the node is gone, or does not read, which counts as a stall.
async fn send(outbox: &Outbox, body: ingest_response::Body, stalls: &Counter) -> Option<End> {
    match tokio::time::timeout(READ_WITHIN, outbox.send(Ok(respond(body)))).await {
        Ok(Ok(())) => None,
        Ok(Err(_)) => Some(End::Gone),
        Err(_) => {
            stalls.inc();
            Some(End::Status(Status::deadline_exceeded("the node does not read what is sent to it")))
        }
    }
}

/// Why the next message of a node could not be read: its fault is reported, a broken connection cannot be.
fn unreadable(status: &Status) -> End {
    match status.code() {
        // What tonic says of a message above the limit.
        Code::OutOfRange => End::Status(Status::resource_exhausted(status.message())),
        Code::Internal if status.message().contains("decode") => {
            End::Status(Status::invalid_argument(status.message()))
        }
        _ => End::Gone,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_node_that_does_not_read_loses_its_stream() {
        let (outbox, mut inbound) = mpsc::channel(1);
        let stalls = Counter::default();
        let ack = || ingest_response::Body::Ack(v1::Ack::default());
        assert!(send(&outbox, ack(), &stalls).await.is_none());
        let began = tokio::time::Instant::now();
        assert!(
            matches!(send(&outbox, ack(), &stalls).await, Some(End::Status(status)) if status.code() == Code::DeadlineExceeded)
        );
        assert_eq!((began.elapsed(), stalls.get()), (READ_WITHIN, 1));
        assert!(inbound.recv().await.is_some());
        assert!(send(&outbox, ack(), &stalls).await.is_none());
        drop(inbound);
        assert!(matches!(send(&outbox, ack(), &stalls).await, Some(End::Gone)));
    }
}
