//! `/api/v1/metrics/protocols`.

use serde::Serialize;
use starling_proto::{catalogue::PROTOCOLS, live::Severity, v1};

use super::{Completeness, Facts};
use crate::hub::protocol_severity;

/// Requests by protocol.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Protocols {
    timestamp: String,
    /// Requests per second of each protocol that ever reported.
    distribution: Vec<Slice>,
    protocols: Vec<Protocol>,
    completeness: Completeness,
}

#[derive(Debug, Serialize)]
struct Slice {
    name: &'static str,
    value: f64,
}

/// One protocol.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Protocol {
    name: &'static str,
    /// "healthy", "warning" above 1 % of failures, "error" above 5 %.
    status: &'static str,
    rps: f64,
    /// Mean, microseconds; `null` without requests.
    avg_latency: Option<f64>,
    p99_latency: Option<f64>,
    /// Failed requests per second.
    error_rate: f64,
    /// Failed / all, 0 to 1; `null` without requests.
    error_ratio: Option<f64>,
    /// `null` when the applications do not say.
    active_connections: Option<f64>,
}

impl Protocol {
    fn of(name: &'static str, from: &v1::ProtocolTraffic) -> Self {
        let (rps, errors) = (from.requests_per_second, from.errors_per_second);
        Self {
            name,
            status: match protocol_severity(rps, errors) {
                Severity::Error | Severity::Critical => "error",
                Severity::Warning => "warning",
                Severity::Ok | Severity::Info | Severity::Unspecified => "healthy",
            },
            rps,
            avg_latency: from.latency.as_ref().map(|latency| latency.mean_micros),
            p99_latency: from.latency.as_ref().map(|latency| latency.p99_micros),
            error_rate: errors,
            error_ratio: (rps > 0.0).then(|| errors / rps),
            active_connections: from.active,
        }
    }
}

/// The protocols that ever reported, in their order.
pub(super) fn list(facts: &Facts<'_>) -> Vec<Protocol> {
    let Some(traffic) = facts.second().traffic() else { return Vec::new() };
    let of = |name: &&'static str| {
        let from = traffic.protocols.iter().find(|is| is.protocol == *name)?;
        Some(Protocol::of(name, from))
    };
    PROTOCOLS.iter().filter_map(of).collect()
}

impl Protocol {
    pub(super) fn name(&self) -> &'static str {
        self.name
    }
}

pub(super) fn answer(facts: &Facts<'_>) -> Protocols {
    let protocols = list(facts);
    Protocols {
        timestamp: facts.timestamp(),
        distribution: protocols.iter().map(|is| Slice { name: is.name, value: is.rps }).collect(),
        protocols,
        completeness: facts.completeness(),
    }
}
