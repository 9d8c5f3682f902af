//! `/ws/metrics/requests`: the request timeline as it goes on. Over HTTP it is asked of an aggregator, see `history`.

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

/// Ranges by name, in seconds. A socket has the last 15 minutes; `/api/v1/metrics/requests` has all of them.
const RANGES: [(&str, u32); 6] =
    [("5m", 300), ("15m", 900), ("1h", 3_600), ("6h", 21_600), ("24h", 86_400), ("7d", 604_800)];

/// The charted columns of the protocols, in the order of [`PROTOCOLS`].
pub(crate) static COLUMNS: LazyLock<[&str; PROTOCOLS.len()]> = LazyLock::new(|| {
    let charts = catalogue::REQUESTS.charts;
    let column = |protocol| charts.iter().find(|chart| chart.attributes == [(catalogue::PROTOCOL, protocol)]);
    PROTOCOLS.map(|protocol| column(protocol).map_or("", |chart| chart.name))
});

/// How far back.
pub(super) const RANGE: &str = "range";
/// Names of the parameters.
pub(super) const PARAMETERS: [&str; 2] = [RANGE, "protocols"];

/// What part of the timeline is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Timeline {
    range: &'static str,
    range_seconds: u32,
    /// Indices into [`PROTOCOLS`].
    protocols: Vec<usize>,
}

impl Default for Timeline {
    /// The last 15 minutes by the second, all protocols.
    fn default() -> Self {
        let (range, range_seconds) = RANGES[1];
        Self { range, range_seconds, protocols: (0..PROTOCOLS.len()).collect() }
    }
}

impl Timeline {
    /// Reads [`PARAMETERS`]; absent ones are those of [`Timeline::default`].
    pub(super) fn asked(query: &Parameters) -> Result<Self, ApiError> {
        let absent = Self::default();
        let text = query.get(RANGE).unwrap_or(absent.range);
        let (range, range_seconds) = RANGES.into_iter().find(|(name, _)| *name == text).ok_or_else(|| {
            let names: Vec<_> = RANGES.iter().map(|(name, _)| *name).collect();
            ApiError::invalid(RANGE, format!("{text:?} is not known; known: {}", names.join(", ")))
        })?;
        Ok(Self { range, range_seconds, protocols: protocols(query)? })
    }

    fn names(&self) -> Vec<&'static str> {
        self.protocols.iter().map(|&protocol| PROTOCOLS[protocol]).collect()
    }

    fn point(&self, tick: u32, value: impl Fn(usize) -> Option<f64>) -> Point {
        let value = |&protocol: &usize| (PROTOCOLS[protocol], value(protocol).map(Number));
        Point { timestamp: rfc3339(tick), tick, requests_per_second: self.protocols.iter().map(value).collect() }
    }
}

/// The protocols that are asked for, all without `protocols`: places in [`PROTOCOLS`].
pub(crate) fn protocols(query: &Parameters) -> Result<Vec<usize>, ApiError> {
    let Some(list) = query.get("protocols") else { return Ok((0..PROTOCOLS.len()).collect()) };
    let place = |name: &str| {
        PROTOCOLS.iter().position(|is| *is == name.trim()).ok_or_else(|| {
            ApiError::invalid("protocols", format!("{name:?} is not known; known: {}", PROTOCOLS.join(", ")))
        })
    };
    list.split(',').map(place).collect()
}

/// One second of the timeline.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Point {
    timestamp: String,
    /// The same, Unix seconds.
    tick: u32,
    /// By protocol; `null` where none was reported.
    requests_per_second: BTreeMap<&'static str, Option<Number>>,
}

/// The timeline.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Requests {
    range: &'static str,
    protocols: Vec<&'static str>,
    /// Oldest first.
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
    let value = |protocol: usize, tick: u32| charted(*at(protocol, tick)?);
    let points = ticks.iter().map(|&tick| timeline.point(tick, |protocol| value(protocol, tick))).collect();
    let available = u32::try_from(ticks.len()).unwrap_or(u32::MAX).min(timeline.range_seconds);
    Requests {
        range: timeline.range,
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
        format!(
            "a socket begins with {} minutes at most, /api/v1/metrics/requests has more; the points cover {available} s \
             of {requested} s",
            PAGE_WINDOW / 60
        )
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
        let asked = |pairs: &[(&str, &str)]| Timeline::asked(&Parameters::of(pairs));
        let timeline = asked(&[("range", "1h"), ("protocols", "grpc,http1")]).unwrap();
        assert_eq!((timeline.range_seconds, timeline.names()), (3_600, vec!["grpc", "http1"]));
        assert!(asked(&[("range", "2h")]).is_err());
        assert!(asked(&[("protocols", "http1,smtp")]).is_err());
    }

    #[test]
    fn every_protocol_is_charted() {
        assert_eq!(COLUMNS.len(), PROTOCOLS.len());
        assert!(COLUMNS.iter().zip(PROTOCOLS).all(|(column, protocol)| *column == format!("rps.{protocol}")));
    }

    #[test]
    fn a_note_says_why_a_range_is_short() {
        assert_eq!(note(900, 900), None);
        assert!(note(900, 3_600).unwrap().contains("begins with 15 minutes"));
        assert!(note(10, 300).unwrap().contains("coming in for less"));
    }
}
