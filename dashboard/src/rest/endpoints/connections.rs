//! `/api/v1/connections/metrics`.

use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    Completeness, Facts,
    numbers::{self, numbers},
};
use crate::rest::number::Number;

/// TCP connections of the hosts.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Connections {
    timestamp: String,
    #[serde(flatten)]
    numbers: Map<String, Value>,
    /// Sorted by state, which is named as the kernel names it: "close_wait".
    by_state: Vec<InState>,
    /// `null` when connections were not reported.
    health_status: Option<HealthStatus>,
    attempts_last_minute: Attempts,
    completeness: Completeness,
}

#[derive(Debug, Serialize)]
struct InState {
    state: String,
    count: Number,
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
    count: Option<Number>,
    of: Option<Number>,
    /// `null` when nothing of the whole is there. Of `error` it may exceed 1: what was reset may have been opened before.
    ratio: Option<Number>,
}

impl Share {
    fn of(count: Option<f64>, of: Option<f64>) -> Self {
        let whole = of.filter(|&of| of > 0.0);
        Self {
            count: count.map(Number),
            of: of.map(Number),
            ratio: count.zip(whole).map(|(count, of)| Number(count / of)),
        }
    }
}

/// What became of the connections of the last minute; `null` what was not reported.
#[derive(Debug, Serialize)]
struct Attempts {
    opened: Option<Number>,
    /// Refused, unanswered, reset or timed out.
    failed: Option<Number>,
    /// Of the failed: those that were established before.
    reset: Option<Number>,
}

pub(super) fn answer(facts: &Facts<'_>) -> Connections {
    let from = facts.second().connections();
    let attempts = facts.reading.minute.connections;
    let in_state = |(state, count): (&String, &f64)| InState { state: state.clone(), count: Number(*count) };
    let mut by_state: Vec<_> = from.map(|is| is.by_state.iter().map(in_state).collect()).unwrap_or_default();
    by_state.sort_unstable_by(|a, b| a.state.cmp(&b.state));
    Connections {
        timestamp: facts.timestamp(),
        numbers: numbers(from, numbers::CONNECTIONS),
        by_state,
        health_status: from.and_then(|is| {
            let established = Some(is.healthy? + is.warning?);
            Some(HealthStatus {
                healthy: Share::of(is.healthy, established),
                warning: Share::of(is.warning, established),
                error: Share::of(attempts.failed, attempts.opened),
            })
        }),
        attempts_last_minute: Attempts {
            opened: attempts.opened.map(Number),
            failed: attempts.failed.map(Number),
            reset: attempts.reset.map(Number),
        },
        completeness: facts.completeness(),
    }
}
