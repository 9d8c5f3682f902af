//! What notifiers count. A failure is logged and counted by one function.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use starling_service::metrics::{By, Counter, Gauge};
use tracing::{error, info, warn};

use crate::desk::{Counts, Outcome};

/// Between two log lines of one kind.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// Names of notifiers that are known to metrics: those of eight files with other names each. Further ones count as "other".
const NAMES_MAX: usize = 256;

starling_service::metrics! {
    /// What notifiers count.
    pub struct Metrics {
        /// Messages that a receiver took, by notifier.
        sent: By<Counter> = "starling_alerts_notifications_sent", label "notifier";
        /// Messages that were tried, by notifier.
        tried: By<Counter> = "starling_alerts_notifications_tried", label "notifier";
        /// Tries that failed, by notifier.
        failed: By<Counter> = "starling_alerts_notifications_failed", label "notifier";
        /// Messages that are tried again after a failure, by notifier.
        retried: By<Counter> = "starling_alerts_notifications_retried", label "notifier";
        /// Beginnings that found no place in the queue, and dead letters that found none in their list, by notifier.
        dropped: By<Counter> = "starling_alerts_notifications_dropped", label "notifier";
        /// Messages that were given up or refused, by notifier.
        given_up: By<Counter> = "starling_alerts_notifications_given_up", label "notifier";
        /// Dead letters that are sent again because somebody asked for it, by notifier.
        resent: By<Counter> = "starling_alerts_notifications_resent", label "notifier";
        /// Episodes that wait for the receiver, by notifier.
        queued: By<Gauge> = "starling_alerts_notifications_queued", label "notifier";
        /// Dead letters that are listed, by notifier.
        dead_letters: By<Gauge> = "starling_alerts_notifications_dead_letters", label "notifier";
        /// Failures in a row, by notifier; 0 while it works.
        failing: By<Gauge> = "starling_alerts_notifications_failing", label "notifier";
        /// Episodes that are not told because too many are known.
        left_out: Counter = "starling_alerts_notifications_left_out";
        /// Records that other aggregators were not given because they did not take them in time.
        records_dropped: Counter = "starling_alerts_notifications_records_dropped";

        log failed_line most 20 every LINE_EVERY;
        log dead_line most 20 every LINE_EVERY;
        log dropped_line every LINE_EVERY;
    }
}

/// A name as a label. Names come from the settings; each is kept once for as long as the process lives.
pub(crate) fn label(name: &str) -> &'static str {
    static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    match names.get(name).copied() {
        Some(known) => known,
        None if names.len() >= NAMES_MAX => "other",
        None => {
            let kept: &'static str = Box::leak(name.into());
            names.insert(kept);
            kept
        }
    }
}

impl Metrics {
    /// A try of notifier `name` came to its end.
    pub(crate) fn outcome(&self, name: &str, outcome: &Outcome, failures: u32) {
        let label = label(name);
        match outcome {
            Outcome::Accepted => {
                self.tried.of(label).inc();
                self.sent.of(label).inc();
                if failures > 0 {
                    info!(notifier = name, failures, "the receiver of a notifier takes messages again");
                }
            }
            Outcome::Retry { what, .. } => {
                self.tried.of(label).inc();
                self.failed.of(label).inc();
                self.retried.of(label).inc();
                if let Some(left_out) = self.failed_line.allow() {
                    warn!(notifier = name, error = what, left_out, "a notification failed, it is tried again");
                }
            }
            Outcome::Refused(what) => {
                self.tried.of(label).inc();
                self.failed.of(label).inc();
                if let Some(left_out) = self.dead_line.allow() {
                    error!(
                        notifier = name,
                        error = what,
                        left_out,
                        "a notification was refused for good: see the dead letters"
                    );
                }
            }
            Outcome::Stale => {}
        }
    }

    /// Dead letters of notifier `name` are sent again.
    pub(crate) fn resent(&self, name: &str, count: usize) {
        self.resent.of(label(name)).add(count as u64);
        info!(notifier = name, count, "dead letters are sent again");
    }

    /// Where notifier `name` stands.
    pub(crate) fn stands(&self, name: &str, (queued, letters, failures): (usize, usize, u32), counts: Counts) {
        let label = label(name);
        self.queued.of(label).set(queued as f64);
        self.dead_letters.of(label).set(letters as f64);
        self.failing.of(label).set(f64::from(failures));
        self.given_up.of(label).add(counts.dead);
        if counts.dropped > 0 {
            self.dropped.of(label).add(counts.dropped);
            if let Some(left_out) = self.dropped_line.allow() {
                error!(notifier = name, dropped = counts.dropped, left_out, "notifications are dropped: too many wait");
            }
        }
    }
}
