//! What happens to remote write: each failure counted and logged by one function.

use std::{fmt::Display, time::Duration};

use starling_history::Subject;
use starling_out::write::{Gone, Refusal};
use starling_store::LogDamage;
use tracing::{error, info, warn};

use super::Metrics;

/// A receiver that is away for longer than this is told in the log; a restart takes less.
const AWAY: Duration = Duration::from_secs(10);

impl Metrics {
    /// What waits from the process before.
    pub(crate) fn remote_write_recovered(&self, requests: usize, samples: u64) {
        if requests > 0 {
            info!(requests, samples, "remote write goes on with what the process before had not sent");
        }
    }

    /// Bytes of the queue that are no record.
    pub(crate) fn remote_write_damaged(&self, damage: &LogDamage) {
        self.remote_write_damage.inc();
        if let Some(left_out) = self.remote_write_line.allow() {
            warn!(%damage, left_out, "the queue of remote write is damaged: what was there is not sent");
        }
    }

    /// A record of the queue that is whole and cannot be used.
    pub(crate) fn remote_write_unreadable(&self) {
        self.remote_write_damage.inc();
        if let Some(left_out) = self.remote_write_line.allow() {
            warn!(left_out, "a record in the queue of remote write cannot be read: what was there is not sent");
        }
    }

    /// The disk did not take something of the queue; it is tried again.
    pub(crate) fn remote_write_not_kept(&self, error: &dyn Display) {
        self.remote_write_failures.of("disk").inc();
        if let Some(left_out) = self.remote_write_line.allow() {
            error!(%error, left_out, "the queue of remote write cannot be written; it is tried again");
        }
    }

    /// The oldest went because the queue was full.
    pub(crate) fn remote_write_dropped_full(&self, gone: &Gone) {
        self.remote_write_dropped.of("full").add(gone.samples);
        if let Some(left_out) = self.remote_write_full_line.allow() {
            let Gone { requests, samples, seconds: (first, last) } = gone;
            error!(
                requests,
                samples,
                first_second = first,
                last_second = last,
                left_out,
                "the queue of remote write is full (remote_write.queue_bytes): the oldest samples are dropped"
            );
        }
    }

    /// A request is longer than the queue can hold.
    pub(crate) fn remote_write_dropped_long(&self, error: &dyn Display, samples: u64, (first, last): (u32, u32)) {
        self.remote_write_dropped.of("too_long").add(samples);
        if let Some(left_out) = self.remote_write_line.allow() {
            error!(
                %error, samples, first_second = first, last_second = last, left_out,
                "a request of remote write is too long for its queue and dropped: lower remote_write.batch_samples"
            );
        }
    }

    /// Memory forgot seconds of `subject` before they were taken.
    pub(crate) fn remote_write_lost_seconds(&self, subject: &Subject, seconds: u32) {
        if seconds == 0 {
            return;
        }
        self.remote_write_lost_seconds.add(seconds.into());
        if let Some(left_out) = self.remote_write_line.allow() {
            warn!(%subject, seconds, left_out, "seconds are not sent by remote write: memory forgot them before they were taken");
        }
    }

    /// A request failed in a way that may pass; it is sent again.
    pub(crate) fn remote_write_failed(&self, reason: &'static str, text: &str) {
        self.remote_write_failures.of(reason).inc();
        if let Some(left_out) = self.remote_write_again_line.allow() {
            warn!(receiver = text, left_out, "remote write: the receiver did not take a request, it is sent again");
        }
    }

    /// A request waits since `waited`: the receiver counts as away.
    pub(crate) fn remote_write_waits(&self, waited: Duration) {
        self.remote_write_away.set(f64::from(u8::from(waited >= AWAY)));
    }

    /// The receiver took a request that had waited since `waited`.
    pub(crate) fn remote_write_goes_on(&self, waited: Duration) {
        self.remote_write_away.set(0.0);
        if waited >= AWAY {
            info!(seconds = waited.as_secs(), "remote write: the receiver takes requests again");
        }
    }

    /// Samples of a request are not written and not sent again.
    pub(crate) fn remote_write_refused(&self, refusal: Refusal, samples: u64, seconds: (u32, u32), text: &str) {
        let reason = match refusal {
            Refusal::Refused => "refused",
            Refusal::NotWritten => "not_written",
            Refusal::NotConfirmed => "not_confirmed",
        };
        self.remote_write_dropped.of(reason).add(samples);
        if let Some(left_out) = self.remote_write_refused_line.allow() {
            let (first_second, last_second) = seconds;
            warn!(
                samples,
                first_second,
                last_second,
                reason,
                receiver = text,
                left_out,
                "remote write: the receiver refuses samples for good, they are dropped"
            );
        }
    }
}
