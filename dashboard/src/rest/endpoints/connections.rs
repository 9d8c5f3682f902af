//! `/api/v1/connections/metrics`.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};
use starling_proto::v1;

use super::{Completeness, Facts, Number, numbers, percent};

/// How many there are. They stand in the short answer too.
pub(super) const COUNTS: &[Number<v1::Connections>] =
    &[("active", |is| is.active), ("idle", |is| is.idle), ("total", |is| is.total)];

/// The rest: per second, and the share of segments sent again, 0 to 1 and `null` when none was sent.
const RATES: &[Number<v1::Connections>] = &[
    ("connectionRate", |is| is.opened_per_second),
    ("resetsPerSecond", |is| is.resets_per_second),
    ("retransmitRatio", |is| is.retransmit_ratio),
];

/// TCP connections of the hosts.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Connections {
    timestamp: String,
    #[serde(flatten)]
    counts: Map<String, Value>,
    #[serde(flatten)]
    rates: Map<String, Value>,
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
        counts: numbers(from, COUNTS),
        rates: numbers(from, RATES),
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
