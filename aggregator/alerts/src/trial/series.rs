//! Tests of rules that are queries, on series that are given:
//!
//! ```toml
//! series = [
//!   { name = "shop_queue", labels = { pod = "a" }, values = [{ for = "5m", value = 130 }, { for = "60s", from = 0, to = 100 }] },
//! ]
//! ```
//!
//! Each has a sample a second from the first one on; a piece without a value has none. Every query is asked in its period, from
//! the first second on, until the longest series is over.

use std::collections::HashMap;

use starling_promql::{
    Answer, FloatPoint, Labels, NAME, Options, Query, Range, SampleValue, Samples, Select, SeriesSamples,
    Value as PromValue,
};
use starling_proto::v1;
use toml::Value;

use super::{BEGIN, SECONDS_MAX, Seen, seconds, see};
use crate::{Board, Rules, query};

/// Most series of a test.
const SERIES_MAX: usize = 256;
/// Most samples of a test: 16 bytes each.
const SAMPLES_MAX: usize = 2_000_000;
/// As live.
const LOOKBACK_MS: i64 = 10_000;

/// The series, and how many seconds the longest has.
fn given(test: &Value) -> Result<(Vec<SeriesSamples>, u32), String> {
    let Some(Value::Array(all)) = test.get("series") else { return Err("series: wanted is a list".to_owned()) };
    if all.len() > SERIES_MAX {
        return Err(format!("series: {} are too many, at most {SERIES_MAX} are wanted", all.len()));
    }
    let (mut series, mut longest, mut count) = (Vec::new(), 0, 0);
    for (at, one) in all.iter().enumerate() {
        let place = format!("series[{at}]");
        let name = one.get("name").and_then(Value::as_str).ok_or_else(|| format!("{place}.name: is missing"))?;
        let mut labels: Vec<(String, String)> = vec![(NAME.to_owned(), name.to_owned())];
        if let Some(own) = one.get("labels") {
            let own = own.as_table().ok_or_else(|| format!("{place}.labels: wanted is a table of texts"))?;
            for (key, value) in own {
                let value = value.as_str().ok_or_else(|| format!("{place}.labels.{key}: wanted is a text"))?;
                labels.push((key.clone(), value.to_owned()));
            }
        }
        let (points, seconds) = points(one, &place)?;
        longest = longest.max(seconds);
        count += points.len();
        if count > SAMPLES_MAX {
            return Err(format!("series: more than {SAMPLES_MAX} samples"));
        }
        series.push(SeriesSamples { labels: Labels::new(labels), samples: Samples::Floats(points) });
    }
    Ok((series, longest))
}

fn points(one: &Value, place: &str) -> Result<(Vec<FloatPoint>, u32), String> {
    let pieces = one.get("values").and_then(Value::as_array).ok_or_else(|| format!("{place}.values: is missing"))?;
    let (mut points, mut second) = (Vec::new(), 0u32);
    for (at, piece) in pieces.iter().enumerate() {
        let place = format!("{place}.values[{at}]");
        let length = seconds(piece.get("for"), &format!("{place}.for"))?;
        if i64::from(second) + i64::from(length) > SECONDS_MAX {
            return Err(format!("{place}: more than a day"));
        }
        let number = |key: &str| {
            let value = piece.get(key)?;
            value.as_float().or_else(|| value.as_integer().map(|value| value as f64))
        };
        let known = piece
            .as_table()
            .is_some_and(|piece| piece.keys().all(|key| ["for", "value", "from", "to"].contains(&key.as_str())));
        let (from, to) = match (number("value"), number("from"), number("to")) {
            (Some(value), None, None) if known => (value, value),
            (None, Some(from), Some(to)) if known => (from, to),
            (None, None, None) if known && piece.get("value").is_none() => {
                second += length;
                continue;
            }
            _ => {
                return Err(format!(
                    "{place}: wanted is {{ for = \"60s\", value = 1 }}, {{ for = \"60s\", from = 0, to = 1 }} or {{ for = \"60s\" }}"
                ));
            }
        };
        let each = (to - from) / f64::from(length.max(1));
        points.extend((0..length).map(|at| (ms(second + at), from + each * f64::from(at))));
        second += length;
    }
    Ok((points, second))
}

fn ms(second: u32) -> i64 {
    i64::from(BEGIN + second) * 1_000
}

/// The samples of `series` that a selector takes.
fn selected(series: &[SeriesSamples], select: &Select) -> Vec<SeriesSamples> {
    let matches = |labels: &Labels| select.matchers.iter().all(|one| one.condition.matches(labels.get(&one.label)));
    let of = |one: &SeriesSamples| {
        let (Samples::Floats(points) | Samples::Sums(points)) = &one.samples else { return None };
        let first = points.partition_point(|(time, _)| *time <= select.after_ms);
        let end = points.partition_point(|(time, _)| *time <= select.to_ms);
        let points = points.get(first..end).filter(|points| !points.is_empty())?;
        Some(SeriesSamples { labels: one.labels.clone(), samples: Samples::Floats(points.to_vec()) })
    };
    series.iter().filter(|one| matches(&one.labels)).filter_map(of).collect()
}

/// The answer as it comes from an aggregator.
fn sent(answer: Answer) -> v1::PromqlAnswer {
    let all = match answer.value {
        PromValue::Scalar(time, value) => {
            vec![v1::PromqlSeries { times_ms: vec![time], values: vec![value], ..Default::default() }]
        }
        PromValue::Vector(all) | PromValue::Matrix(all) => all
            .into_iter()
            .map(|one| {
                let labels: HashMap<String, String> =
                    one.labels.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
                let floats = one.points.into_iter().filter_map(|(time, value)| match value {
                    SampleValue::Float(value) => Some((time, value)),
                    SampleValue::Histogram(_) => None,
                });
                let (times_ms, values) = floats.unzip();
                v1::PromqlSeries { labels, times_ms, values, ..Default::default() }
            })
            .collect(),
        PromValue::Text(..) => Vec::new(),
    };
    v1::PromqlAnswer { series: all, ..Default::default() }
}

/// What the queries among `rules` say of the series of `test`.
///
/// # Errors
/// What is wrong with the test, or why a query has no answer.
pub(super) fn run(rules: &Rules, test: &Value) -> Result<Vec<Seen>, String> {
    let (series, longest) = given(test)?;
    let options = Options { lookback_ms: LOOKBACK_MS, ..Options::default() };
    let mut board = Board::new(rules.clone());
    let mut seen = Vec::new();
    for rule in rules.all() {
        let Some(every) = rule.every else { continue };
        let failed = |what: String| format!("{}: {what}", rule.name);
        let query = Query::parse(&rule.text).map_err(|error| failed(error.to_string()))?;
        for second in (0..=longest).step_by(every as usize) {
            let range = Range::instant(ms(second));
            let data: Vec<_> = query.selects(&range, &options).iter().map(|select| selected(&series, select)).collect();
            let answer = query.evaluate(&range, &data, &options).map_err(|error| failed(error.to_string()))?;
            let answer = query::values(&sent(answer)).map_err(failed)?;
            let tick = BEGIN + second;
            see(&mut seen, tick, board.answered(&rule.name, tick, &answer, (1, 1)));
        }
    }
    Ok(seen)
}
