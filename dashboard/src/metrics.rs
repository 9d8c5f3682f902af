//! The server's own metrics: names, help and what is counted, in one place. Served at `/metrics`.

use std::time::Duration;

use starling_service::metrics::{By, Counter, Durations, Gauge};

/// Why a client was not let in.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Refusal {
    /// The limit of clients is reached.
    Clients,
    /// The `Host` header is not on the list.
    Host,
    /// The `Origin` header is of another site.
    Origin,
    /// It does not say who asks, or nobody who may.
    Login,
    /// It takes another role.
    Role,
    /// Too many from one address.
    Rate,
    /// A parameter is not known, or has a value that is not understood.
    Parameter,
}

impl Refusal {
    fn label(self) -> &'static str {
        match self {
            Self::Clients => "clients",
            Self::Host => "host",
            Self::Origin => "origin",
            Self::Login => "login",
            Self::Role => "role",
            Self::Rate => "rate",
            Self::Parameter => "parameter",
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
    /// What it asked for is not known.
    Refused,
    /// Its session ended, or its token was taken out.
    SignedOut,
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
            Self::Refused => "refused",
            Self::SignedOut => "signed_out",
            Self::Shutdown => "shutdown",
        }
    }
}

/// What became of somebody who wanted in.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Login {
    /// A session began.
    Done,
    /// Name or password is wrong.
    Wrong,
    /// Too many attempts.
    Limited,
    /// Too many at this moment.
    Busy,
    /// An API token that is not known.
    Token,
}

impl Login {
    fn label(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Wrong => "wrong",
            Self::Limited => "limited",
            Self::Busy => "busy",
            Self::Token => "token",
        }
    }
}

starling_service::metrics! {
    /// The server's own metrics.
    pub struct Metrics {
        /// WebSocket clients connected now, by kind: live, json.
        clients: By<Gauge> = "starling_dashboard_clients", label "kind";
        /// WebSocket clients not let in, by reason.
        clients_refused: By<Counter> = "starling_dashboard_clients_refused", label "reason";
        /// WebSocket clients that ended, by reason.
        clients_closed: By<Counter> = "starling_dashboard_clients_closed", label "reason";
        /// WebSocket messages sent, by kind.
        frames_sent: By<Counter> = "starling_dashboard_frames_sent", label "kind";
        /// Bytes of WebSocket messages sent, by kind.
        frame_bytes_sent: By<Counter> = "starling_dashboard_frame_bytes_sent", label "kind";
        /// Seconds left out for clients that were behind.
        ticks_skipped: Counter = "starling_dashboard_ticks_skipped";
        /// Time one WebSocket message took to be written.
        send_duration: Durations = "starling_dashboard_send_duration", unit Seconds;
        /// Time to take in one second and to encode it for all clients.
        apply_duration: Durations = "starling_dashboard_apply_duration", unit Seconds;
        /// From the end of a second to its publication to clients.
        tick_age: Durations = "starling_dashboard_tick_age", unit Seconds;
        /// Nodes and groups watched now, beside the whole cluster.
        watches: Gauge = "starling_dashboard_watches";
        /// Attempts to reach an aggregator.
        upstream_dials: Counter = "starling_dashboard_upstream_dials";
        /// Connections made to aggregators.
        upstream_connections: Counter = "starling_dashboard_upstream_connections";
        /// Connections to aggregators that failed or ended.
        upstream_losses: Counter = "starling_dashboard_upstream_losses";
        /// Alerts that there was no room for.
        alerts_left_out: Counter = "starling_dashboard_alerts_left_out";
        /// Log-ins and unknown API tokens, by what became of them: done, wrong, limited, busy, token.
        logins: By<Counter> = "starling_dashboard_logins", label "outcome";
        /// Sessions of browsers that are signed in.
        sessions: Gauge = "starling_dashboard_sessions";
        /// HTTP requests refused, by reason: host, origin, login, role, rate, parameter.
        requests_refused: By<Counter> = "starling_dashboard_requests_refused", label "reason";
    }
}

impl Metrics {
    /// A client was not let in.
    pub(crate) fn client_refused(&self, reason: Refusal) {
        self.clients_refused.of(reason.label()).inc();
    }

    /// A request was refused by its headers.
    pub(crate) fn request_refused(&self, reason: Refusal) {
        self.requests_refused.of(reason.label()).inc();
    }

    /// Somebody wanted in.
    pub(crate) fn login(&self, outcome: Login) {
        self.logins.of(outcome.label()).inc();
    }

    /// A client ended.
    pub(crate) fn client_closed(&self, reason: Closed) {
        self.clients_closed.of(reason.label()).inc();
    }

    /// A message was sent.
    pub(crate) fn frame_sent(&self, kind: &'static str, bytes: usize, took: Duration) {
        self.frames_sent.of(kind).inc();
        self.frame_bytes_sent.of(kind).add(bytes as u64);
        self.send_duration.record(took);
    }

    /// So many alerts were left out.
    pub(crate) fn alerts_left_out(&self, count: u32) {
        self.alerts_left_out.add(count.into());
    }

    /// A second was taken in, `age_ms` after its end.
    pub(crate) fn applied(&self, took: Duration, age_ms: u32) {
        self.apply_duration.record(took);
        self.tick_age.record(Duration::from_millis(age_ms.into()));
    }
}
