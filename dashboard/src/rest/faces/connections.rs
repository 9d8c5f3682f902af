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
    let from = facts.second().connections();
    Connections {
        timestamp: facts.timestamp(),
        active: from.and_then(|is| is.active),
        idle: from.and_then(|is| is.idle),
        total: from.and_then(|is| is.total),
        connection_rate: from.and_then(|is| is.opened_per_second),
        resets_per_second: from.and_then(|is| is.resets_per_second),
        retransmit_ratio: from.and_then(|is| is.retransmit_ratio),
        by_state: from.map(|is| is.by_state.clone().into_iter().collect()).unwrap_or_default(),
        health_status: from.and_then(|is| {
            let (healthy, warning, error) = (is.healthy?, is.warning?, is.error?);
            let all = healthy + warning + error;
            let share = |count: f64| Share { count, percent: if all > 0.0 { percent(count / all) } else { 0.0 } };
            Some(HealthStatus { healthy: share(healthy), warning: share(warning), error: share(error) })
        }),
        completeness: facts.completeness(),
    }
}
