//! `/api/v1/connections/metrics`.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    Completeness, Facts,
    numbers::{self, numbers},
    percent,
};

/// TCP connections of the hosts.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Connections {
    timestamp: String,
    #[serde(flatten)]
    counts: Map<String, Value>,
    #[serde(flatten)]
    rates: Map<String, Value>,
    by_state: BTreeMap<String, f64>,
    /// `null` when connections were not reported.
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
        counts: numbers(from, numbers::CONNECTION_COUNTS),
        rates: numbers(from, numbers::CONNECTION_RATES),
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
