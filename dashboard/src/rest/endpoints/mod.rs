//! The JSON answers: shapes and how they are filled from one second. Pure.
//!
//! Names are camelCase. Latencies are microseconds, memory bytes, rates per second, and what is called utilization is
//! in percent (0 to 100), as the widgets of the reference take it. A number that was not reported is `null`, never 0.

mod connections;
mod cpu;
mod fleet;
mod latency;
mod memory;
mod numbers;
mod protocols;
mod requests;
mod rps;
mod system;

use std::ops::RangeInclusive;

use serde::Serialize;
use serde_json::Value;
use starling_proto::v1;

use super::{
    parameters::{Parameters, SCOPE},
    time::rfc3339,
};
use crate::{
    error::ApiError,
    hub::{Hub, RPS_TOTAL, Reading, Second, Source, UnixMillis, age_ms},
};

pub(crate) use fleet::{cluster, node, nodes};
pub(crate) use requests::Timeline;

/// An endpoint: what is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Endpoint {
    /// Requests per second.
    Rps,
    /// Latency percentiles and distribution.
    Latency,
    /// TCP connections.
    Connections,
    /// Requests per second by protocol over time.
    Requests(Timeline),
    /// Processors.
    Cpu,
    /// Memory.
    Memory,
    /// Requests by protocol now.
    Protocols,
    /// All of it in short.
    System,
}

/// Charted columns, oldest first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Columns {
    /// The second of the first values.
    pub(crate) first_tick: u32,
    /// In the order asked for; all of one length.
    pub(crate) values: Vec<Vec<f32>>,
}

impl Columns {
    /// Those named `wanted`, as far as they are kept.
    pub(crate) fn of(hub: &Hub, source: &Source, wanted: &[&str], seconds: RangeInclusive<u32>) -> Self {
        let kept = if wanted.is_empty() { None } else { hub.history(source, wanted, *seconds.start()) };
        let (first_tick, mut values) = kept.unwrap_or_default();
        let length = (u64::from(*seconds.end()) + 1).saturating_sub(first_tick.into());
        for column in &mut values {
            column.truncate(usize::try_from(length).unwrap_or(usize::MAX));
        }
        Self { first_tick, values }
    }
}

/// Everything an answer is made of.
pub(crate) struct Facts<'a> {
    pub(crate) reading: &'a Reading,
    /// What [`Endpoint::columns`] asked for.
    pub(crate) columns: Columns,
    pub(crate) target_rps: Option<f64>,
    pub(crate) now: UnixMillis,
}

impl Facts<'_> {
    fn second(&self) -> &Second {
        &self.reading.second
    }

    fn tick(&self) -> u32 {
        self.reading.second.tick()
    }

    fn timestamp(&self) -> String {
        rfc3339(self.tick())
    }

    fn completeness(&self) -> Completeness {
        Completeness::of(self.second().completeness(), self.tick(), self.now)
    }
}

impl Endpoint {
    /// Names of the parameters it takes beside [`SCOPE`].
    pub(crate) fn parameters(&self) -> &'static [&'static str] {
        match self {
            Self::Requests(_) => &requests::PARAMETERS,
            _ => &[],
        }
    }

    /// The same endpoint with the parameters of a request; others are refused.
    pub(crate) fn asked(self, query: &Parameters) -> Result<Self, ApiError> {
        query.only(&[&SCOPE, self.parameters()].concat())?;
        match self {
            Self::Requests(_) => Ok(Self::Requests(Timeline::asked(query)?)),
            other => Ok(other),
        }
    }

    /// The charted columns it needs.
    pub(crate) fn columns(&self) -> &'static [&'static str] {
        match self {
            Self::Rps => &[RPS_TOTAL],
            Self::Requests(_) => &*requests::COLUMNS,
            _ => &[],
        }
    }

    /// Of how many seconds, up to the newest, [`Endpoint::tick`] needs these columns.
    pub(crate) fn tick_seconds(&self) -> u32 {
        match self {
            Self::Rps => rps::TREND_WINDOW,
            _ => 1,
        }
    }

    /// The answer to one request.
    pub(crate) fn answer(&self, facts: &Facts<'_>) -> Value {
        match self {
            Self::Rps => json(rps::answer(facts)),
            Self::Latency => json(latency::answer(facts)),
            Self::Connections => json(connections::answer(facts)),
            Self::Requests(timeline) => json(requests::answer(facts, timeline)),
            Self::Cpu => json(cpu::answer(facts)),
            Self::Memory => json(memory::answer(facts)),
            Self::Protocols => json(protocols::answer(facts)),
            Self::System => json(system::answer(facts)),
        }
    }

    /// One more second on a WebSocket: the same, but what is a list over time holds the new second only.
    pub(crate) fn tick(&self, facts: &Facts<'_>) -> Value {
        match self {
            Self::Rps => json(rps::tick(facts)),
            Self::Requests(timeline) => json(requests::tick(facts, timeline)),
            _ => self.answer(facts),
        }
    }
}

/// An endpoint inside another answer: it does not say time and completeness again.
fn section(endpoint: &Endpoint, facts: &Facts<'_>) -> Value {
    let mut section = endpoint.answer(facts);
    if let Some(fields) = section.as_object_mut() {
        fields.remove("timestamp");
        fields.remove("completeness");
    }
    section
}

/// The shapes hold nothing that JSON cannot: no map with other keys than text.
fn json(shape: impl Serialize) -> Value {
    serde_json::to_value(shape).unwrap_or_default()
}

/// How much of the truth an answer holds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Completeness {
    nodes_reporting: u32,
    nodes_expected: u32,
    /// The second the answer is for, Unix seconds.
    tick: u32,
    /// Milliseconds from the end of that second to the answer.
    age_ms: u32,
    /// Aggregators that hold an acknowledged frame.
    copies: u32,
    /// Values that the sums lack because the aggregator had no room for their series or group.
    skipped_cells: u32,
    /// Of the reporting nodes, how many reported what; `null` where nothing is added up.
    sections: Option<SectionNodes>,
    /// Names of expected nodes that did not report: the first 32.
    nodes_missing: Vec<String>,
}

/// Nodes behind the parts of a view.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SectionNodes {
    cpu: u32,
    memory: u32,
    disk: u32,
    filesystem: u32,
    network: u32,
    connections: u32,
    traffic: u32,
    latency: u32,
}

impl SectionNodes {
    fn of(from: &v1::SectionNodes) -> Self {
        Self {
            cpu: from.cpu(),
            memory: from.memory(),
            disk: from.disk(),
            filesystem: from.filesystem(),
            network: from.network(),
            connections: from.connections(),
            traffic: from.traffic(),
            latency: from.latency(),
        }
    }
}

impl Completeness {
    fn of(from: Option<&v1::Completeness>, tick: u32, now: UnixMillis) -> Self {
        let from = from.cloned().unwrap_or_default();
        Self {
            nodes_reporting: from.nodes_reporting(),
            nodes_expected: from.nodes_expected(),
            tick,
            age_ms: age_ms(tick, now),
            copies: from.copies,
            skipped_cells: from.skipped_cells(),
            sections: from.sections.as_ref().map(SectionNodes::of),
            nodes_missing: from.nodes_missing,
        }
    }
}

/// A share as a percentage.
fn percent(share: f64) -> f64 {
    share * 100.0
}

/// A charted value; `None` for "no data".
fn charted(value: f32) -> Option<f64> {
    (!value.is_nan()).then_some(f64::from(value))
}

#[cfg(test)]
mod tests;
