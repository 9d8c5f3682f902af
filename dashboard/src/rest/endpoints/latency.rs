//! `/api/v1/metrics/latency`.

use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    Completeness, Facts,
    numbers::{self, numbers},
};
use crate::{hub::distribution, rest::number::Number};

/// Percentiles of this second; `null` when there was no request.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Latency {
    timestamp: String,
    #[serde(flatten)]
    now: Map<String, Value>,
    /// The same over the 60 seconds that end with this one.
    latency_last_minute: Map<String, Value>,
    /// Counts of these 60 seconds in log-spaced rows; empty rows at the ends are left out.
    distribution: Vec<Row>,
    completeness: Completeness,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    from_micros: Number,
    to_micros: Number,
    count: u64,
}

pub(super) fn answer(facts: &Facts<'_>) -> Latency {
    let traffic = facts.second().traffic();
    let last_minute = traffic.and_then(|traffic| traffic.latency_last_minute.as_ref());
    let rows = last_minute.map(|latency| distribution(&latency.histogram)).unwrap_or_default();
    let bounds = rows.bounds.windows(2).map(|pair| (Number(pair[0]), Number(pair[1])));
    Latency {
        timestamp: facts.timestamp(),
        now: numbers(traffic.and_then(|traffic| traffic.latency.as_ref()), numbers::LATENCY),
        latency_last_minute: numbers(last_minute, numbers::LATENCY),
        distribution: bounds
            .zip(&rows.counts)
            .map(|((from_micros, to_micros), &count)| Row { from_micros, to_micros, count })
            .collect(),
        completeness: facts.completeness(),
    }
}
