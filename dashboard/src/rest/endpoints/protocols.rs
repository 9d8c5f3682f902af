//! `/api/v1/metrics/protocols`.

use serde::Serialize;
use serde_json::{Map, Value};
use starling_proto::{catalogue::PROTOCOLS, live::Severity, v1};

use super::{
    Completeness, Facts,
    numbers::{self, numbers},
};
use crate::{hub::OfSource, rest::number::Number};

/// Requests by protocol.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Protocols {
    timestamp: String,
    /// The share of each protocol that ever reported.
    distribution: Vec<Slice>,
    protocols: Vec<Protocol>,
    completeness: Completeness,
}

#[derive(Debug, Serialize)]
struct Slice {
    protocol: &'static str,
    /// Of all requests of the second; `null` without any.
    ratio: Option<Number>,
}

/// One protocol.
#[derive(Debug, Serialize)]
pub(super) struct Protocol {
    protocol: &'static str,
    /// By its open alerts about failures: "healthy", "warning", "error"; "unknown" when alerts are not known.
    status: &'static str,
    #[serde(flatten)]
    numbers: Map<String, Value>,
    /// `null` without requests.
    latency: Option<Map<String, Value>>,
}

impl Protocol {
    fn of(name: &'static str, from: &v1::ProtocolTraffic, alerts: &OfSource) -> Self {
        let status = match alerts.protocol(name) {
            Severity::Error | Severity::Critical => "error",
            Severity::Warning => "warning",
            Severity::Ok | Severity::Info => "healthy",
            Severity::Unspecified => "unknown",
        };
        Self {
            protocol: name,
            status,
            numbers: numbers(Some(from), numbers::PROTOCOL),
            latency: from.latency.as_ref().map(|is| numbers(Some(is), numbers::LATENCY)),
        }
    }
}

/// A protocol, if it ever reported.
pub(super) fn find(facts: &Facts<'_>, name: &'static str) -> Option<Protocol> {
    reported(facts, name).map(|from| Protocol::of(name, from, &facts.reading.alerts))
}

fn reported<'a>(facts: &'a Facts<'_>, name: &str) -> Option<&'a v1::ProtocolTraffic> {
    facts.second().traffic()?.protocols.iter().find(|is| is.protocol == name)
}

pub(super) fn answer(facts: &Facts<'_>) -> Protocols {
    let all = facts.second().traffic().map_or(0.0, |is| is.requests_per_second());
    let ratio = |is: &v1::ProtocolTraffic| (all > 0.0).then(|| Number(is.requests_per_second() / all));
    let slice = |protocol| reported(facts, protocol).map(|is| Slice { protocol, ratio: ratio(is) });
    Protocols {
        timestamp: facts.timestamp(),
        distribution: PROTOCOLS.into_iter().filter_map(slice).collect(),
        protocols: PROTOCOLS.into_iter().filter_map(|name| find(facts, name)).collect(),
        completeness: facts.completeness(),
    }
}
