//! `/api/v1/metrics/requests`: the request timeline.

use std::{collections::BTreeMap, sync::LazyLock};

use serde::Serialize;
use starling_proto::{
    catalogue::{self, PROTOCOLS},
    limits::PAGE_WINDOW,
};

use super::{Completeness, Facts, charted};
use crate::{
    error::ApiError,
    rest::{number::Number, parameters::Parameters, time::rfc3339},
};

/// Ranges by name, in seconds. This version keeps 15 minutes; a longer range answers what there is and says so.
pub(super) const RANGES: [(&str, u32); 6] =
    [("5m", 300), ("15m", 900), ("1h", 3_600), ("6h", 21_600), ("24h", 86_400), ("7d", 604_800)];
/// Granularities by name, in seconds.
pub(super) const GRANULARITIES: [(&str, u32); 3] = [("second", 1), ("minute", 60), ("hour", 3_600)];

/// The charted columns of the protocols, in the order of [`PROTOCOLS`].
pub(super) static COLUMNS: LazyLock<[&str; PROTOCOLS.len()]> = LazyLock::new(|| {
    let charts = catalogue::REQUESTS.charts;
    let column = |protocol| charts.iter().find(|chart| chart.attributes == [(catalogue::PROTOCOL, protocol)]);
    PROTOCOLS.map(|protocol| column(protocol).map_or("", |chart| chart.name))
});

/// How far back.
pub(super) const RANGE: &str = "range";
/// Names of the parameters.
pub(super) const PARAMETERS: [&str; 3] = [RANGE, "granularity", "protocols"];
/// Those of a WebSocket.
pub(super) const SOCKET_PARAMETERS: [&str; 2] = [RANGE, "protocols"];

/// What part of the timeline is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Timeline {
    range: &'static str,
    range_seconds: u32,
    granularity: &'static str,
    step: u32,
    /// Indices into [`PROTOCOLS`].
    protocols: Vec<usize>,
}

impl Default for Timeline {
    /// The last 15 minutes by the second, all protocols.
    fn default() -> Self {
        let (range, range_seconds) = RANGES[1];
        let (granularity, step) = GRANULARITIES[0];
        Self { range, range_seconds, granularity, step, protocols: (0..PROTOCOLS.len()).collect() }
    }
}

impl Timeline {
    /// Reads [`PARAMETERS`].
    pub(super) fn asked(query: &Parameters) -> Result<Self, ApiError> {
        let [range, granularity, protocols] = PARAMETERS.map(|name| query.get(name));
        Self::parse(range, granularity, protocols)
    }

    /// Reads the parameters; absent ones are those of [`Timeline::default`].
    pub(super) fn parse(
        range: Option<&str>,
        granularity: Option<&str>,
        protocols: Option<&str>,
    ) -> Result<Self, ApiError> {
        let pick = |field, text: &str, known: &[(&'static str, u32)]| {
            known.iter().find(|(name, _)| *name == text).copied().ok_or_else(|| {
                let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
                ApiError::invalid(field, format!("{text:?} is not known; known: {}", names.join(", ")))
            })
        };
        let absent = Self::default();
        let (range, range_seconds) = pick("range", range.unwrap_or(absent.range), &RANGES)?;
        let (granularity, step) = pick("granularity", granularity.unwrap_or(absent.granularity), &GRANULARITIES)?;
        let protocols = match protocols {
            None => absent.protocols,
            Some(list) => list.split(',').map(protocol).collect::<Result<Vec<_>, _>>()?,
        };
        Ok(Self { range, range_seconds, granularity, step, protocols })
    }

    fn names(&self) -> Vec<&'static str> {
        self.protocols.iter().map(|&protocol| PROTOCOLS[protocol]).collect()
    }

    fn point(&self, tick: u32, value: impl Fn(usize) -> Option<f64>) -> Point {
        let value = |&protocol: &usize| (PROTOCOLS[protocol], value(protocol).map(Number));
        Point { timestamp: rfc3339(tick), tick, requests_per_second: self.protocols.iter().map(value).collect() }
    }
}

fn protocol(name: &str) -> Result<usize, ApiError> {
    PROTOCOLS.iter().position(|is| *is == name.trim()).ok_or_else(|| {
        ApiError::invalid("protocols", format!("{name:?} is not known; known: {}", PROTOCOLS.join(", ")))
    })
}

/// One step of the timeline.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Point {
    timestamp: String,
    /// Its first second, Unix seconds.
    tick: u32,
    /// By protocol; `null` where none was reported.
    requests_per_second: BTreeMap<&'static str, Option<Number>>,
}

/// The timeline.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Requests {
    range: &'static str,
    granularity: &'static str,
    protocols: Vec<&'static str>,
    /// Oldest first. A coarser point is the mean of its seconds that have data, and stands at its first second.
    points: Vec<Point>,
    coverage: Coverage,
    completeness: Completeness,
}

/// How much of the range there is.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Coverage {
    from: Option<String>,
    to: String,
    requested_seconds: u32,
    available_seconds: u32,
    complete: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

impl Coverage {
    fn of(from: Option<u32>, to: u32, requested: u32, available: u32) -> Self {
        Self {
            from: from.map(rfc3339),
            to: rfc3339(to),
            requested_seconds: requested,
            available_seconds: available,
            complete: available == requested,
            note: note(available, requested),
        }
    }
}

pub(super) fn answer(facts: &Facts<'_>, timeline: &Timeline) -> Requests {
    let newest = facts.tick();
    let columns = &facts.columns;
    let length = columns.values.first().map_or(0, Vec::len);
    let end = columns.first_tick.saturating_add(u32::try_from(length).unwrap_or(u32::MAX));
    let from = newest.saturating_sub(timeline.range_seconds - 1).max(columns.first_tick);
    let ticks: Vec<u32> = (from..end).collect();
    let at = |protocol: usize, tick: u32| {
        columns.values.get(protocol).and_then(|is| is.get((tick - columns.first_tick) as usize))
    };
    let mean = |protocol: usize, bucket: &[u32]| {
        let known: Vec<_> = bucket.iter().filter_map(|&tick| charted(*at(protocol, tick)?)).collect();
        (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
    };
    let points = ticks
        .chunk_by(|a, b| a / timeline.step == b / timeline.step)
        .map(|bucket| timeline.point(bucket[0], |protocol| mean(protocol, bucket)))
        .collect();
    let available = u32::try_from(ticks.len()).unwrap_or(u32::MAX).min(timeline.range_seconds);
    Requests {
        range: timeline.range,
        granularity: timeline.granularity,
        protocols: timeline.names(),
        points,
        coverage: Coverage::of(ticks.first().copied(), newest, timeline.range_seconds, available),
        completeness: facts.completeness(),
    }
}

fn note(available: u32, requested: u32) -> Option<String> {
    let text = if available >= requested {
        return None;
    } else if requested > PAGE_WINDOW {
        format!("this version keeps {} minutes; the points cover {available} s of {requested} s", PAGE_WINDOW / 60)
    } else {
        format!("data has been coming in for less; the points cover {available} s of {requested} s")
    };
    Some(text)
}

/// One point more, for the WebSocket: the same shape, with the new second only.
pub(super) fn tick(facts: &Facts<'_>, timeline: &Timeline) -> Requests {
    let newest = facts.tick();
    let columns = &facts.columns;
    let offset = newest.checked_sub(columns.first_tick);
    let value = |protocol: usize| charted(*columns.values.get(protocol)?.get(offset? as usize)?);
    Requests {
        range: timeline.range,
        granularity: timeline.granularity,
        protocols: timeline.names(),
        points: vec![timeline.point(newest, value)],
        coverage: Coverage::of(Some(newest), newest, 1, 1),
        completeness: facts.completeness(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_checked() {
        let timeline = Timeline::parse(Some("1h"), Some("minute"), Some("grpc,http1")).unwrap();
        assert_eq!((timeline.range_seconds, timeline.step, timeline.names()), (3_600, 60, vec!["grpc", "http1"]));
        for (range, granularity, protocols) in
            [(Some("2h"), None, None), (None, Some("day"), None), (None, None, Some("http1,smtp"))]
        {
            assert!(Timeline::parse(range, granularity, protocols).is_err());
        }
    }

    #[test]
    fn every_protocol_is_charted() {
        assert_eq!(COLUMNS.len(), PROTOCOLS.len());
        assert!(COLUMNS.iter().zip(PROTOCOLS).all(|(column, protocol)| *column == format!("rps.{protocol}")));
    }

    #[test]
    fn a_note_says_why_a_range_is_short() {
        assert_eq!(note(900, 900), None);
        assert!(note(900, 3_600).unwrap().contains("keeps 15 minutes"));
        assert!(note(10, 300).unwrap().contains("coming in for less"));
    }
}
