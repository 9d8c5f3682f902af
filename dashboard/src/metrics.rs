//! The server's own metrics: names, help and what is counted, in one place. Served at `/metrics`.

use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

const CLIENTS: &str = "starling_dashboard_clients";
const CLIENTS_REFUSED: &str = "starling_dashboard_clients_refused_total";
const CLIENTS_CLOSED: &str = "starling_dashboard_clients_closed_total";
const FRAMES: &str = "starling_dashboard_frames_sent_total";
const FRAME_BYTES: &str = "starling_dashboard_frame_bytes_sent_total";
const SKIPPED: &str = "starling_dashboard_ticks_skipped_total";
const SEND: &str = "starling_dashboard_send_duration_seconds";
const APPLY: &str = "starling_dashboard_apply_duration_seconds";
const AGE: &str = "starling_dashboard_tick_age_seconds";
const WATCHES: &str = "starling_dashboard_watches";
const UPSTREAM: &str = "starling_dashboard_upstream_connections_total";
const UPSTREAM_LOST: &str = "starling_dashboard_upstream_losses_total";
const REFUSED: &str = "starling_dashboard_requests_refused_total";

/// Why a client was not let in.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Refusal {
    /// The limit of clients is reached.
    Clients,
    /// The `Host` header is not on the list.
    Host,
    /// The `Origin` header is of another site.
    Origin,
}

impl Refusal {
    fn label(self) -> &'static str {
        match self {
            Self::Clients => "clients",
            Self::Host => "host",
            Self::Origin => "origin",
        }
    }
}

/// Why a WebSocket ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closed {
    /// The client went, or the connection broke.
    Client,
    /// One send was blocked for too long.
    Slow,
    /// Nothing was heard for too long.
    Silent,
    /// It sent what is not part of the protocol.
    Invalid,
    /// It sent more than a message may hold.
    TooLarge,
    /// The server stops.
    Shutdown,
}

impl Closed {
    fn label(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Slow => "slow",
            Self::Silent => "silent",
            Self::Invalid => "invalid",
            Self::TooLarge => "too_large",
            Self::Shutdown => "shutdown",
        }
    }
}

/// Describes every metric, once at start.
pub(crate) fn describe() {
    describe_gauge!(CLIENTS, "WebSocket clients connected now, by kind: live, json");
    describe_counter!(CLIENTS_REFUSED, "WebSocket clients not let in, by reason");
    describe_counter!(CLIENTS_CLOSED, "WebSocket clients that ended, by reason");
    describe_counter!(FRAMES, "WebSocket messages sent, by kind");
    describe_counter!(FRAME_BYTES, Unit::Bytes, "bytes of WebSocket messages sent, by kind");
    describe_counter!(SKIPPED, "seconds left out for clients that were behind");
    describe_histogram!(SEND, Unit::Seconds, "time one WebSocket message took to be written");
    describe_histogram!(APPLY, Unit::Seconds, "time to take in one second and to encode it for all clients");
    describe_histogram!(AGE, Unit::Seconds, "from the end of a second to its publication to clients");
    describe_gauge!(WATCHES, "nodes and groups watched now, beside the whole cluster");
    describe_counter!(UPSTREAM, "connections made to aggregators");
    describe_counter!(UPSTREAM_LOST, "connections to aggregators that failed or ended");
    describe_counter!(REFUSED, "HTTP requests refused before they were looked at, by reason");
}

/// One client more or less.
pub(crate) fn clients(kind: &'static str, change: f64) {
    gauge!(CLIENTS, "kind" => kind).increment(change);
}

/// A client was not let in.
pub(crate) fn client_refused(reason: Refusal) {
    counter!(CLIENTS_REFUSED, "reason" => reason.label()).increment(1);
}

/// A request was refused by its headers.
pub(crate) fn request_refused(reason: Refusal) {
    counter!(REFUSED, "reason" => reason.label()).increment(1);
}

/// A client ended.
pub(crate) fn client_closed(reason: Closed) {
    counter!(CLIENTS_CLOSED, "reason" => reason.label()).increment(1);
}

/// A message was sent.
pub(crate) fn frame_sent(kind: &'static str, bytes: usize, took: Duration) {
    counter!(FRAMES, "kind" => kind).increment(1);
    counter!(FRAME_BYTES, "kind" => kind).increment(bytes as u64);
    histogram!(SEND).record(took.as_secs_f64());
}

/// Seconds were left out for a client.
pub(crate) fn skipped(seconds: u32) {
    if seconds > 0 {
        counter!(SKIPPED).increment(seconds.into());
    }
}

/// A second was taken in, `age_ms` after its end.
pub(crate) fn applied(took: Duration, age_ms: u32) {
    histogram!(APPLY).record(took.as_secs_f64());
    histogram!(AGE).record(f64::from(age_ms) / 1000.0);
}

/// Views on demand.
pub(crate) fn watches(count: usize) {
    gauge!(WATCHES).set(count as f64);
}

/// An aggregator was reached.
pub(crate) fn connected() {
    counter!(UPSTREAM).increment(1);
}

/// An aggregator was lost or not reached.
pub(crate) fn connection_lost() {
    counter!(UPSTREAM_LOST).increment(1);
}
