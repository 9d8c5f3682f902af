//! `/api/v1/system/metrics`: everything in short, with the verdict.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};
use starling_proto::{catalogue::PROTOCOLS, live};

use super::{
    Completeness, Endpoint, Facts,
    numbers::{self, numbers},
    protocols::{self, Protocol},
    section,
};
use crate::hub::verdict_text;

/// All of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SystemMetrics {
    timestamp: String,
    #[serde(flatten)]
    traffic: Map<String, Value>,
    latency: Map<String, Value>,
    connections: Map<String, Value>,
    memory: Value,
    cpu: Value,
    /// All five; `null` for a protocol that never reported.
    protocols: BTreeMap<&'static str, Option<Protocol>>,
    verdict: Verdict,
    completeness: Completeness,
}

/// One sentence about the state.
#[derive(Debug, Serialize)]
pub(super) struct Verdict {
    /// "Healthy", "Degraded", "Partial", "No data".
    word: String,
    /// "ok", "info", "warning", "error", "critical".
    severity: &'static str,
    text: String,
    /// The nodes the sentence names.
    nodes: Vec<String>,
}

impl Verdict {
    pub(super) fn of(from: &live::Verdict) -> Self {
        Self {
            word: from.word.clone(),
            severity: match from.severity() {
                live::Severity::Unspecified => "unknown",
                live::Severity::Ok => "ok",
                live::Severity::Info => "info",
                live::Severity::Warning => "warning",
                live::Severity::Error => "error",
                live::Severity::Critical => "critical",
            },
            text: verdict_text(from),
            nodes: from.parts.iter().map(|part| part.node_id.clone()).filter(|node| !node.is_empty()).collect(),
        }
    }
}

pub(super) fn answer(facts: &Facts<'_>) -> SystemMetrics {
    let traffic = facts.second().traffic();
    let connections = facts.second().connections();
    SystemMetrics {
        timestamp: facts.timestamp(),
        traffic: numbers(traffic, numbers::TRAFFIC),
        latency: numbers(traffic.and_then(|traffic| traffic.latency.as_ref()), numbers::LATENCY),
        connections: numbers(connections, numbers::CONNECTIONS),
        memory: section(&Endpoint::Memory, facts),
        cpu: section(&Endpoint::Cpu, facts),
        protocols: PROTOCOLS.into_iter().map(|name| (name, protocols::find(facts, name))).collect(),
        verdict: Verdict::of(&facts.reading.verdict),
        completeness: facts.completeness(),
    }
}
