//! Parts that all answers over time have. Pure.

use serde::Serialize;
use serde_json::{Value, json};
use starling_proto::v1;

use crate::{
    hub::{UnixMillis, age_ms},
    rest::{
        number::{Number, scaled},
        period::Period,
        time::rfc3339,
    },
};

/// How much of its range an answer holds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Completeness {
    /// Nodes in the second that has fewest, of those that hold data; `null` without any.
    nodes_reporting: Option<u32>,
    /// Nodes expected, the most of any second.
    nodes_expected: Option<u32>,
    /// Seconds that hold data, of those that were asked for, and their share.
    pub(super) seconds: u64,
    pub(super) seconds_expected: u64,
    ratio: Option<Number>,
    /// The last second asked for, Unix seconds, and milliseconds from its end to the answer.
    tick: u32,
    age_ms: u32,
    /// Whether late data can still change a point.
    provisional: bool,
    /// The first step that holds data, when steps before it hold none.
    first_data: Option<String>,
    /// What could not be had, and from whom.
    missing: Vec<Value>,
    /// What is older than what is kept and came from an engine; `null` when nothing did.
    engine: Option<Value>,
}

/// What an answer lacks, and what of it came from an engine.
pub(super) type Sources<'a> = (&'a [v1::MissingPart], Option<&'a v1::FromEngine>);

impl Completeness {
    pub(super) fn of(
        points: &[v1::RangePoint],
        (missing, engine): Sources<'_>,
        period: Period,
        now: UnixMillis,
    ) -> Self {
        let held = || points.iter().filter(|point| point.seconds() > 0);
        // An engine does not say how many nodes were behind what is merged.
        let counted = || held().filter(|point| point.nodes_expected() > 0);
        let sum = |of: fn(&v1::RangePoint) -> u32| points.iter().map(|point| u64::from(of(point))).sum::<u64>();
        let (seconds, expected) = (sum(v1::RangePoint::seconds), sum(v1::RangePoint::seconds_expected));
        let empty_before = points.first().is_some_and(|first| first.seconds() == 0);
        Self {
            nodes_reporting: counted().filter_map(|point| point.nodes_reporting).min(),
            nodes_expected: counted().filter_map(|point| point.nodes_expected).max(),
            seconds,
            seconds_expected: expected,
            ratio: ratio(seconds, expected),
            tick: period.to,
            age_ms: age_ms(period.to, now),
            provisional: points.iter().any(|point| point.provisional),
            first_data: held().next().filter(|_| empty_before).map(|first| rfc3339(first.tick)),
            missing: missing.iter().map(missing_part).collect(),
            engine: engine.map(from_engine),
        }
    }

    /// The same of an answer that says itself how many of its seconds hold data.
    pub(super) fn holding(self, seconds: u64, expected: u64) -> Self {
        Self { seconds, seconds_expected: expected, ratio: ratio(seconds, expected), ..self }
    }

    /// In words, when the range is not whole.
    pub(super) fn note(&self) -> Option<String> {
        let (seconds, expected) = (self.seconds, self.seconds_expected);
        if seconds >= expected {
            return None;
        }
        let held = format!("{seconds} s of {expected} s hold data");
        Some(self.first_data.as_ref().map_or_else(|| held.clone(), |at| format!("the first data is of {at}; {held}")))
    }
}

fn ratio(seconds: u64, expected: u64) -> Option<Number> {
    (expected > 0).then(|| Number(seconds as f64 / expected as f64))
}

/// Those of a range.
pub(super) fn sources(answer: &v1::RangeAnswer) -> Sources<'_> {
    (&answer.missing, answer.from_engine.as_ref())
}

fn from_engine(from: &v1::FromEngine) -> Value {
    json!({
        "address": from.engine,
        "from": rfc3339(from.from_tick),
        "to": rfc3339(from.to_tick),
        "resolutionSeconds": from.resolution_seconds,
    })
}

fn missing_part(from: &v1::MissingPart) -> Value {
    json!({
        "aggregatorId": Some(&from.aggregator_id).filter(|id| !id.is_empty()),
        "nodes": from.nodes,
        "nodeIds": from.node_ids,
        "from": rfc3339(from.from_tick),
        "to": rfc3339(from.to_tick),
        "reason": from.reason,
    })
}

/// One step in the answers that list their points.
pub(super) fn point(from: &v1::RangePoint) -> serde_json::Map<String, Value> {
    [
        ("timestamp", rfc3339(from.tick).into()),
        ("tick", from.tick.into()),
        ("seconds", from.seconds().into()),
        ("secondsExpected", from.seconds_expected.into()),
        ("nodesReporting", from.nodes_reporting.into()),
        ("nodesExpected", from.nodes_expected.into()),
        ("provisional", from.provisional.into()),
    ]
    .map(|(name, value): (&str, Value)| (name.to_owned(), value))
    .into_iter()
    .collect()
}

/// A value times `factor`; `null` when there is none.
pub(super) fn number(value: f64, factor: f64) -> Value {
    Number(scaled(value, factor)).into()
}

/// Values in the order of the points.
pub(super) fn numbers(values: &[f64], factor: f64) -> Vec<Value> {
    values.iter().map(|value| number(*value, factor)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn step(tick: u32, seconds: u32, reporting: u32) -> v1::RangePoint {
        v1::RangePoint {
            tick,
            seconds_expected: Some(60),
            seconds: Some(seconds),
            nodes_reporting: Some(reporting).filter(|_| seconds > 0),
            nodes_expected: Some(3).filter(|_| seconds > 0),
            provisional: false,
        }
    }

    #[test]
    fn a_range_says_where_its_first_data_and_what_it_lacks() {
        let period = Period { from: 1_699_999_980, to: 1_700_000_159 };
        let points = [step(1_699_999_980, 0, 0), step(1_700_000_040, 30, 2), step(1_700_000_100, 60, 3)];
        let missing =
            v1::MissingPart { aggregator_id: "a2".into(), nodes: 1, reason: "stopped".into(), ..Default::default() };
        let engine = v1::FromEngine { engine: "http://e:1".into(), from_tick: 1_700_000_000, ..Default::default() };
        let of = Completeness::of(&points, (&[missing], Some(&engine)), period, 1_700_000_160_500);
        assert_eq!(of.engine.as_ref().unwrap()["address"], "http://e:1");
        assert_eq!(
            (of.nodes_reporting, of.nodes_expected, of.seconds, of.seconds_expected),
            (Some(2), Some(3), 90, 180)
        );
        assert_eq!((of.ratio, of.age_ms), (Some(Number(0.5)), 1_500));
        assert_eq!(of.note().unwrap(), "the first data is of 2023-11-14T22:14:00.000Z; 90 s of 180 s hold data");
        assert_eq!((&of.missing[0]["aggregatorId"], &of.missing[0]["reason"]), (&json!("a2"), &json!("stopped")));
        // A gap in the middle is none before the beginning.
        let of = Completeness::of(&[points[2], points[0]], (&[], None), period, 0);
        assert_eq!(of.note().unwrap(), "60 s of 120 s hold data");
        let of = Completeness::of(&points[2..], (&[], None), period, 0);
        assert_eq!(of.note(), None);
        let of = Completeness::of(&[], (&[], None), period, 0);
        assert_eq!((of.ratio, of.nodes_reporting), (None, None));
    }
}
