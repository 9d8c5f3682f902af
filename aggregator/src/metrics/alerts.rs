//! What happens to alerts: each failure counted and logged by one function.

use std::{io, path::Path, time::Duration};

use starling_alerts::{Episode, Mistake, Rules, words};
use tracing::{error, info, warn};

use super::Metrics;

impl Metrics {
    /// The records of alerts could not be read at the start.
    pub(crate) fn alerts_not_read(&self, path: &Path, error: &io::Error) {
        self.alerts_failures.of("disk").inc();
        error!(path = %path.display(), %error, "the records of alerts cannot be read: those of the other aggregators are taken");
    }

    /// The query of a rule was evaluated; `error` is empty when it succeeded.
    pub(crate) fn alert_query(&self, rule: &str, took: Duration, error: &str) {
        self.alert_queries.record(took);
        if error.is_empty() {
            return;
        }
        self.alert_queries_failed.inc();
        if let Some(left_out) = self.alert_query_line.allow() {
            warn!(rule, error, left_out, "a rule in PromQL could not be evaluated: its alerts stay as they are");
        }
    }

    /// The records of alerts could not be written; they are tried again.
    pub(crate) fn alerts_not_kept(&self, path: &Path, error: &io::Error) {
        self.alerts_failures.of("disk").inc();
        if let Some(left_out) = self.alerts_line.allow() {
            error!(path = %path.display(), %error, left_out, "the records of alerts cannot be written; it is tried again");
        }
    }

    /// A record is not taken.
    pub(crate) fn alert_record_refused(&self, why: &str) {
        self.alerts_failures.of("record").inc();
        if let Some(left_out) = self.alerts_line.allow() {
            warn!(why, left_out, "a record of alerts is not taken");
        }
    }

    /// A peer could not be given records, or asked for them; it is tried again.
    pub(crate) fn alert_peer_failed(&self, peer: &str, error: &str) {
        self.alerts_failures.of("peer").inc();
        if let Some(left_out) = self.alerts_line.allow() {
            warn!(peer, error, left_out, "records of alerts were not exchanged; it is tried again");
        }
    }

    /// The files of rules were read.
    pub(crate) fn alert_rules(&self, rules: &Rules, mistakes: &[Mistake]) {
        self.alert_rules_refused.set(if mistakes.is_empty() { 0.0 } else { 1.0 });
        match mistakes.first() {
            None => info!(rules = rules.all().len(), "alert rules are in force"),
            Some(first) => error!(
                mistakes = mistakes.len(),
                %first,
                "files of rules are refused, the rules before stay in force; `starling rules check FILE` names every mistake"
            ),
        }
    }

    /// The file of notifiers is refused, the one before stays in force.
    pub(crate) fn notifiers_refused(&self, error: &anyhow::Error) {
        self.alerts_failures.of("notify").inc();
        if let Some(left_out) = self.alerts_line.allow() {
            error!(%error, left_out, "the file of notifiers is refused, the former one stays in force");
        }
    }

    /// An episode fired, became another severity or is over.
    pub(crate) fn alert_transition(&self, episode: &Episode) {
        self.alert_transitions.of(episode.state.as_str()).inc();
        if let Some(left_out) = self.alert_transition_line.allow() {
            info!(
                episode = %episode.id,
                rule = episode.rule,
                subject = %episode.subject,
                severity = episode.severity.as_str(),
                state = episode.state.as_str(),
                value = episode.value,
                since = episode.since,
                lasted = words::length(episode.seconds()),
                left_out,
                "alert"
            );
        }
    }
}
