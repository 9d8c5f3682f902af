//! `/api/v1/connections/metrics`.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Completeness, Facts, percent};

/// TCP connections of the hosts.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Connections {
    timestamp: String,
    pub(super) active: Option<f64>,
    pub(super) idle: Option<f64>,
    pub(super) total: Option<f64>,
    /// Opened per second.
    pub(super) connection_rate: Option<f64>,
    resets_per_second: Option<f64>,
    /// Share of segments sent again, 0 to 1; `null` when none was sent.
    retransmit_ratio: Option<f64>,
    by_state: BTreeMap<String, f64>,
    /// `null` when nobody reported connections.
    health_status: Option<HealthStatus>,
    completeness: Completeness,
}

#[derive(Debug, Serialize)]
struct HealthStatus {
    healthy: Share,
    warning: Share,
    error: Share,
}

#[derive(Debug, Serialize)]
struct Share {
    count: f64,
    /// Of the three together; 0 without connections.
    percent: f64,
}

pub(super) fn answer(facts: &Facts<'_>) -> Connections {
    let from = facts.sections().connections;
    Connections {
        timestamp: facts.timestamp(),
        active: from.map(|is| is.active),
        idle: from.map(|is| is.idle),
        total: from.map(|is| is.total),
        connection_rate: from.map(|is| is.opened_per_second),
        resets_per_second: from.map(|is| is.resets_per_second),
        retransmit_ratio: from
            .filter(|is| is.segments_sent_per_second > 0.0)
            .map(|is| is.retransmits_per_second / is.segments_sent_per_second),
        by_state: from.map(|is| is.by_state.clone().into_iter().collect()).unwrap_or_default(),
        health_status: from.map(|is| {
            let all = is.healthy + is.warning + is.error;
            let share = |count: f64| Share { count, percent: if all > 0.0 { percent(count / all) } else { 0.0 } };
            HealthStatus { healthy: share(is.healthy), warning: share(is.warning), error: share(is.error) }
        }),
        completeness: facts.completeness(),
    }
}
