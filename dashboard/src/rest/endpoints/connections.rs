//! `/api/v1/connections/metrics`.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    Completeness, Facts,
    numbers::{self, numbers},
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
    attempts_last_minute: Attempts,
    completeness: Completeness,
}

/// Established connections are healthy or in warning; `error` are events, of the attempts of the last minute.
#[derive(Debug, Serialize)]
struct HealthStatus {
    healthy: Share,
    warning: Share,
    error: Share,
}

/// A part of `of`.
#[derive(Debug, Serialize)]
struct Share {
    count: Option<f64>,
    of: Option<f64>,
    /// `null` when nothing of the whole is there. Of `error` it may exceed 1: what was reset may have been opened before.
    ratio: Option<f64>,
}

impl Share {
    fn of(count: Option<f64>, of: Option<f64>) -> Self {
        let whole = of.filter(|&of| of > 0.0);
        Self { count, of, ratio: count.zip(whole).map(|(count, of)| count / of) }
    }
}

/// What became of the connections of the last minute; `null` what was not reported.
#[derive(Debug, Serialize)]
struct Attempts {
    opened: Option<f64>,
    /// Refused, unanswered, reset or timed out.
    failed: Option<f64>,
    /// Of the failed: those that were established before.
    reset: Option<f64>,
}

pub(super) fn answer(facts: &Facts<'_>) -> Connections {
    let from = facts.second().connections();
    let attempts = facts.reading.minute.connections;
    Connections {
        timestamp: facts.timestamp(),
        counts: numbers(from, numbers::CONNECTION_COUNTS),
        rates: numbers(from, numbers::CONNECTION_RATES),
        by_state: from.map(|is| is.by_state.clone().into_iter().collect()).unwrap_or_default(),
        health_status: from.and_then(|is| {
            let established = Some(is.healthy? + is.warning?);
            Some(HealthStatus {
                healthy: Share::of(is.healthy, established),
                warning: Share::of(is.warning, established),
                error: Share::of(attempts.failed, attempts.opened),
            })
        }),
        attempts_last_minute: Attempts { opened: attempts.opened, failed: attempts.failed, reset: attempts.reset },
        completeness: facts.completeness(),
    }
}
