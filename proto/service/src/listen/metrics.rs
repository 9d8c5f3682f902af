//! What the listeners of a service count.

use std::time::Duration;

use tracing::warn;

use crate::{
    log::LogLimiter,
    metrics::{By, Counter, Gauge},
};

crate::metrics! {
    /// Of all listeners of a service together. Cheap to clone; clones count together.
    pub struct ListenMetrics {
        /// Connections that were opened: of which a first byte came and, with TLS, whose certificate was taken.
        opened: Counter = "starling_connections_opened";
        /// Connections that are open now.
        open: Gauge = "starling_connections_open";
        /// Connections that were not opened, by reason: "silent" sent nothing in time, "evicted" was the oldest of too
        /// many that were being opened, "closed" went before it said anything, "tls" spoke no TLS that we take,
        /// "certificate" brought none that we take, "many" is one too many of its certificate or address.
        refused: By<Counter> = "starling_connections_refused", label "reason";
        /// Calls that were refused: the certificate or token is of somebody who may not make them.
        denied: Counter = "starling_calls_denied";
        /// Accepts that failed for want of something, mostly of descriptors.
        failed: Counter = "starling_accepts_failed";

        log refused_line most 10 every Duration::from_secs(60);
        log foreign_line every Duration::from_secs(60);
        log denied_line most 10 every Duration::from_secs(60);
        log failed_line every Duration::from_secs(10);
    }
}

impl ListenMetrics {
    /// A connection that was not opened. A line only where somebody can do something about it: a check of the port by
    /// a load balancer is none.
    pub(super) fn refuse(&self, reason: &'static str, from: std::net::SocketAddr, why: Option<&str>) {
        self.refuse_by(&self.refused_line, reason, from, why);
    }

    /// One of somebody who shows nothing of this cluster, such as a check of the port that speaks something. Its lines are
    /// counted apart: however many come, they leave room for that of a certificate that is not taken.
    pub(super) fn refuse_foreign(&self, reason: &'static str, from: std::net::SocketAddr, why: &str) {
        self.refuse_by(&self.foreign_line, reason, from, Some(why));
    }

    fn refuse_by(&self, lines: &LogLimiter, reason: &'static str, from: std::net::SocketAddr, why: Option<&str>) {
        self.refused.of(reason).inc();
        if let Some(why) = why
            && let Some(left_out) = lines.allow()
        {
            warn!(%from, why, left_out, "connection refused");
        }
    }

    /// A call that was refused.
    pub(crate) fn deny(&self, from: std::net::SocketAddr, why: &str) {
        self.denied.inc();
        if let Some(left_out) = self.denied_line.allow() {
            warn!(%from, why, left_out, "call refused");
        }
    }

    /// An accept that failed.
    pub(super) fn fail(&self, error: &std::io::Error) {
        self.failed.inc();
        if let Some(left_out) = self.failed_line.allow() {
            warn!(%error, left_out, "connection not accepted, waiting a moment");
        }
    }
}

impl Default for ListenMetrics {
    /// Shown nowhere.
    fn default() -> Self {
        Self::new(&mut crate::metrics::Registry::default())
    }
}
