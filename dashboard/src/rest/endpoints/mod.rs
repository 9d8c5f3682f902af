//! The JSON answers: shapes and how they are filled from one second. Pure.
//!
//! Names and units are those of gRPC's JSON: camelCase, ending with the unit (`PerSecond`, `Micros`, `Bytes`, `Ratio` from 0
//! to 1); without one it is a count. Whole numbers have no point, 64-bit ones are texts. What was not reported is `null`,
//! never 0.

mod alerts;
mod connections;
mod cpu;
mod detail;
mod fleet;
mod latency;
mod memory;
mod numbers;
mod protocols;
mod requests;
mod rps;
mod services;
mod system;

use std::ops::RangeInclusive;

use serde::Serialize;
use serde_json::{Value, json};
use starling_proto::{catalogue::PROTOCOLS, v1};

use super::{
    parameters::{Parameters, SCOPE},
    period,
    time::rfc3339,
};
use crate::{
    error::ApiError,
    hub::{Hub, RPS_TOTAL, Reading, Second, Source, UnixMillis, age_ms},
};

pub(crate) use detail::detail;
pub(crate) use fleet::{cluster, node, nodes, state};
pub(crate) use numbers::numbered;
pub(crate) use requests::{COLUMNS as REQUEST_COLUMNS, Timeline, protocols};
pub(crate) use services::{PARAMETERS as SERVICE_PARAMETERS, asked as services_asked, services};

/// What each parameter takes, for the index. `metrics` have a short name.
pub(crate) fn parameters(metrics: &str) -> Value {
    let names = |of: &[(&str, u32)]| of.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let range = format!("{}, or any length such as 90m or 30d; custom: from and to", period::RANGES);
    json!({
        "node": "the name of one node; not together with group",
        "group": "label:value, such as zone:a; the whole cluster without it",
        "range": range,
        "timeRange": range,
        "granularity": names(&period::GRANULARITIES),
        "protocols": PROTOCOLS.join(","),
        "name": "of a series; without it the series are listed",
        "attribute.KEY": "only series with this value of the attribute KEY",
        "total": "true adds up what the attributes leave open",
        "statistics": "of value, sum, mean, min, max, last, deviation, nodes, count, rate, increase and quantiles such as \
            p99.9, with commas",
        "statistic": "value, or a quantile of a histogram such as p99",
        "from": "first second: RFC 3339, Unix seconds, or now-15m; a fraction is of the second it lies in",
        "to": "last second, as from; empty means now",
        "step": "seconds in a point, or a length such as 5m; chosen without it",
        "columns": "of charts: names of charted columns, with commas; of a heatmap: how many at most, 1 to 1000",
        "rows": "how many at most, 2 to 1000",
        "metric": format!("{metrics}, or the name of a series"),
        "boxFrom": "first second of the box, as from; that of the range without it",
        "boxTo": "last second of the box, as from; that of the range without it",
        "lower": "smallest value in the box, times in microseconds; no bound without it",
        "upper": "values in the box are smaller, times in microseconds; no bound without it",
        "points": "how many at most, 1 to 11000",
        "timeZone": "of the week ago, such as Europe/Berlin; without it 168 hours",
        "eachNode": "true reads the nodes one by one instead of what was merged over them",
        "top": "only so many series, the highest by topBy",
        "bottom": "only so many series, the lowest by topBy",
        "topBy": "statistic by which top and bottom rank; mean without it",
        "overNodes": "with eachNode: sum, mean, min, max or count over the nodes",
        "strict": "true: an error instead of an answer that lacks what another aggregator holds",
        "service": "the name of a service; all without it",
        "window": "seconds up to the newest one, 1 to 900; 60 without it",
        "services": "how many services at most, 1 to 200; 50 without it",
        "routes": "how many routes of each service at most, 1 to 500; 10 without it",
        "format": "csv, json; of an export also parquet, of a report also html",
        "state": alerts_states(),
        "rule": "the name of a rule",
        "notifier": "the name of a notifier",
        "subject": "the name of a node, or label:value of a group",
        "limit": "how many at most, 1 to 10000; 500 without it",
        "page": "nextPage of the answer before",
    })
}

fn alerts_states() -> String {
    format!("{}; all that is open without it", super::alerts::STATES.join(", "))
}

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
    /// What is open.
    Alerts,
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
    /// What it answers, for the index.
    pub(crate) fn about(&self) -> &'static str {
        match self {
            Self::Rps => "requests per second: now, aimed at, against the minute before, and the last 15 minutes",
            Self::Latency => "percentiles of this second and of the last minute, and the distribution of that minute",
            Self::Connections => "TCP sockets by state and health, and what failed of the last minute's attempts",
            Self::Requests(_) => {
                "requests per second by protocol: the points are the new second, after those of `range`, of which a socket \
                 has 15 minutes at most"
            }
            Self::Cpu => "processors: busy share, modes, load, and the busiest cores or all cores of a node",
            Self::Memory => "what memory is used for, swap and huge pages",
            Self::Protocols => "shares, rates, latency and status of each protocol",
            Self::System => "all of it in short, and the verdict in one sentence",
            Self::Alerts => "the alerts that are open, worst first, and the verdict in one sentence",
        }
    }

    /// The same endpoint with the parameters of a request over HTTP; others than [`SCOPE`] are refused.
    pub(crate) fn asked(self, query: &Parameters) -> Result<Self, ApiError> {
        query.only(&SCOPE)?;
        Ok(self)
    }

    /// Names of the parameters that its WebSocket takes beside [`SCOPE`].
    pub(crate) fn socket_parameters(&self) -> &'static [&'static str] {
        match self {
            Self::Requests(_) => &requests::PARAMETERS,
            _ => &[],
        }
    }

    /// As [`Endpoint::asked`], for a WebSocket.
    pub(crate) fn followed(self, query: &Parameters) -> Result<Self, ApiError> {
        query.only(&[&SCOPE, self.socket_parameters()].concat())?;
        match self {
            Self::Requests(_) => Ok(Self::Requests(Timeline::asked(query)?)),
            other => Ok(other),
        }
    }

    /// Whether the first object on a WebSocket is to hold what was before.
    pub(crate) fn wants_history(&self, query: &Parameters) -> bool {
        matches!(self, Self::Requests(_)) && query.get(requests::RANGE).is_some()
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
            Self::Rps => to_json(rps::answer(facts)),
            Self::Latency => to_json(latency::answer(facts)),
            Self::Connections => to_json(connections::answer(facts)),
            Self::Requests(timeline) => to_json(requests::answer(facts, timeline)),
            Self::Cpu => to_json(cpu::answer(facts)),
            Self::Memory => to_json(memory::answer(facts)),
            Self::Protocols => to_json(protocols::answer(facts)),
            Self::System => to_json(system::answer(facts)),
            Self::Alerts => alerts::answer(facts),
        }
    }

    /// One more second on a WebSocket: the same, but what is a list over time holds the new second only.
    pub(crate) fn tick(&self, facts: &Facts<'_>) -> Value {
        match self {
            Self::Rps => to_json(rps::tick(facts)),
            Self::Requests(timeline) => to_json(requests::tick(facts, timeline)),
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
fn to_json(shape: impl Serialize) -> Value {
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
    /// On how many disks at least; `null` when the aggregator does not say.
    copies_on_disk: Option<u32>,
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
            copies_on_disk: from.copies_on_disk,
            skipped_cells: from.skipped_cells(),
            sections: from.sections.as_ref().map(SectionNodes::of),
            nodes_missing: from.nodes_missing,
        }
    }
}

/// A charted value; `None` for "no data".
fn charted(value: f32) -> Option<f64> {
    (!value.is_nan()).then_some(f64::from(value))
}

#[cfg(test)]
mod tests;
