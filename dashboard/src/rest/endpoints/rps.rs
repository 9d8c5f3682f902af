//! `/api/v1/metrics/rps`.

use serde::Serialize;

use super::{Completeness, Facts, charted};
use crate::rest::{number::Number, time::rfc3339};

/// Seconds that are compared: the last ones with those before them.
const TREND_SECONDS: u32 = 60;
/// Seconds a trend is made of.
pub(super) const TREND_WINDOW: u32 = 2 * TREND_SECONDS;
/// Changes below this share are called flat: they are the noise of a steady load.
const FLAT: f64 = 0.01;

/// Requests per second.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Rps {
    timestamp: String,
    /// `current`, `target` and the values are requests per second.
    current: Option<Number>,
    target: Option<Number>,
    trend: Trend,
    historical_data: Vec<Point>,
    completeness: Completeness,
}

/// How the last minute compares.
#[derive(Debug, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Trend {
    /// "up", "down", "flat", or "unknown" without enough data.
    direction: &'static str,
    /// Of the mean of the last 60 seconds against the mean of the 60 seconds before; `null` when that is 0 or unknown.
    change_ratio: Option<Number>,
    versus: &'static str,
}

#[derive(Debug, Serialize)]
struct Point {
    timestamp: String,
    value: Option<Number>,
}

pub(super) fn answer(facts: &Facts<'_>) -> Rps {
    let values = facts.columns.values.first().map_or(&[][..], Vec::as_slice);
    let historical_data = (facts.columns.first_tick..)
        .zip(values)
        .map(|(tick, &value)| Point { timestamp: rfc3339(tick), value: charted(value).map(Number) })
        .collect();
    Rps { historical_data, ..without_history(facts) }
}

pub(super) fn tick(facts: &Facts<'_>) -> Rps {
    let answer = without_history(facts);
    let point = Point { timestamp: answer.timestamp.clone(), value: answer.current };
    Rps { historical_data: vec![point], ..answer }
}

fn without_history(facts: &Facts<'_>) -> Rps {
    Rps {
        timestamp: facts.timestamp(),
        current: facts.second().traffic().and_then(|traffic| traffic.requests_per_second).map(Number),
        target: facts.target_rps.map(Number),
        trend: trend(facts.columns.values.first().map_or(&[][..], Vec::as_slice)),
        historical_data: Vec::new(),
        completeness: facts.completeness(),
    }
}

fn trend(values: &[f32]) -> Trend {
    let seconds = TREND_SECONDS as usize;
    let (before, last) = values.split_at(values.len().saturating_sub(seconds));
    let before = mean(&before[before.len().saturating_sub(seconds)..]);
    let change = match (before, mean(last)) {
        (Some(before), Some(last)) if before > 0.0 => Some((last - before) / before),
        _ => None,
    };
    let direction = match change {
        None => "unknown",
        Some(change) if change >= FLAT => "up",
        Some(change) if change <= -FLAT => "down",
        Some(_) => "flat",
    };
    Trend { direction, change_ratio: change.map(Number), versus: "the minute before the last" }
}

/// Mean over the seconds that have data.
fn mean(values: &[f32]) -> Option<f64> {
    let known: Vec<_> = values.iter().filter_map(|&value| charted(value)).collect();
    (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trend_compares_two_minutes() {
        let values = |before: f32, last: f32| [vec![before; 60], vec![last; 60]].concat();
        let of = |before, last| trend(&values(before, last));
        assert_eq!((of(100.0, 112.5).direction, of(100.0, 112.5).change_ratio), ("up", Some(Number(0.125))));
        assert_eq!(of(100.0, 50.0).direction, "down");
        assert_eq!(of(100.0, 100.5).direction, "flat");
        assert_eq!(of(0.0, 5.0).change_ratio, None);
        assert_eq!(of(f32::NAN, 5.0).direction, "unknown");
        assert_eq!(trend(&[1.0; 30]).direction, "unknown");
        assert_eq!(trend(&[]).direction, "unknown");
    }
}
