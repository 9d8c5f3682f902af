//! `/api/v1/metrics/latency`.

use serde::Serialize;
use starling_proto::v1;

use super::{Completeness, Facts};
use crate::hub::distribution;

/// Percentiles of this second, microseconds; `null` when there was no request.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Latency {
    timestamp: String,
    #[serde(flatten)]
    now: Percentiles,
    /// The same over the 60 seconds that end with this one.
    last_minute: Percentiles,
    /// Counts of these 60 seconds in log-spaced rows; empty rows at the ends are left out.
    distribution: Vec<Row>,
    completeness: Completeness,
}

/// Percentiles of a merged histogram, microseconds.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Percentiles {
    p50: Option<f64>,
    p95: Option<f64>,
    p99: Option<f64>,
    p999: Option<f64>,
    mean: Option<f64>,
    max: Option<f64>,
    /// Requests measured.
    count: f64,
    /// Bound of the relative error of a percentile: 0.0039 is 0.39 %.
    error_bound: Option<f64>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    from_micros: f64,
    to_micros: f64,
    count: u64,
}

impl Percentiles {
    /// Of a histogram; all absent without one.
    pub(super) fn of(from: Option<&v1::Latency>) -> Self {
        let Some(from) = from else { return Self::default() };
        Self {
            p50: Some(from.p50_micros),
            p95: Some(from.p95_micros),
            p99: Some(from.p99_micros),
            p999: Some(from.p999_micros),
            mean: Some(from.mean_micros),
            max: Some(from.max_micros),
            count: from.count,
            error_bound: Some(f64::from(from.error_bound_ppm) / 1e6),
        }
    }
}

pub(super) fn answer(facts: &Facts<'_>) -> Latency {
    let traffic = facts.second().traffic();
    let last_minute = traffic.and_then(|traffic| traffic.latency_last_minute.as_ref());
    let rows = last_minute.map(|latency| distribution(&latency.histogram)).unwrap_or_default();
    let bounds = rows.bounds.windows(2).map(|pair| (pair[0], pair[1]));
    Latency {
        timestamp: facts.timestamp(),
        now: Percentiles::of(traffic.and_then(|traffic| traffic.latency.as_ref())),
        last_minute: Percentiles::of(last_minute),
        distribution: bounds
            .zip(&rows.counts)
            .map(|((from_micros, to_micros), &count)| Row { from_micros, to_micros, count })
            .collect(),
        completeness: facts.completeness(),
    }
}
