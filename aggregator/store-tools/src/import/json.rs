//! JSON lines: one series a line, as `store export` writes them, or as `{"metric": {...}, "values": [...], "timestamps": [...]}`.

use serde_json::{Map, Value};
use starling_history::Subject;
use starling_proto::{
    catalogue::{Kind, Scope},
    hex,
    histogram::Histogram,
};

use super::said::{Amount, Meant, Part, Reading, by_parts, histogram_scale, number};
use crate::times::ms;

/// The samples of one line.
pub(crate) struct Samples {
    pub(crate) meant: Meant,
    pub(crate) samples: Vec<(i64, Amount)>,
}

/// Reads a line.
///
/// # Errors
/// What is wrong, in words.
pub(crate) fn read(line: &str, reading: &Reading) -> Result<Option<Samples>, String> {
    let value: Value = serde_json::from_str(line).map_err(|error| format!("no JSON: {error}"))?;
    let object =
        value.as_object().ok_or("a line is an object: {\"name\": ..., \"times\": [...], \"values\": [...]}")?;
    if object.contains_key("metric") {
        return of_metric(object, reading);
    }
    let series = of_series(object, reading)?;
    let times = list(object, "times")?.ok_or("`times` is missing")?;
    let (nodes, min, max) = (list(object, "nodes")?, list(object, "min")?, list(object, "max")?);
    let key = match series.part {
        Part::Total => "totals",
        Part::Increment => "increments",
        Part::Exact => "histograms",
        _ => "values",
    };
    let values = list(object, key)?.ok_or_else(|| format!("`{key}` is missing"))?;
    for (name, other) in [(key, Some(values)), ("nodes", nodes), ("min", min), ("max", max)] {
        if let Some(other) = other.filter(|other| other.len() != times.len()) {
            return Err(format!("`times` has {} entries and `{name}` {}", times.len(), other.len()));
        }
    }
    let mut samples = Vec::with_capacity(times.len());
    for (at, time) in times.iter().enumerate() {
        let ms = time_of(time).ok_or_else(|| format!("times[{at}] is no time: {time}"))?;
        let nodes = match nodes {
            Some(nodes) => Some(count(&nodes[at]).ok_or_else(|| format!("nodes[{at}] is no number: {}", nodes[at]))?),
            None => None,
        };
        let number = |all: &[Value], name: &str| {
            number_of(&all[at]).ok_or_else(|| format!("{name}[{at}] is no number: {}", all[at]))
        };
        let amount = if series.part == Part::Exact {
            let histogram = histogram(&values[at]).map_err(|error| format!("histograms[{at}]: {error}"))?;
            Amount::Histogram(histogram, nodes.unwrap_or(1))
        } else {
            let value = number(values, key)?;
            match nodes {
                None => Amount::One(value),
                Some(nodes) => {
                    let (min, max) = (
                        min.map(|min| number(min, "min")).transpose()?,
                        max.map(|max| number(max, "max")).transpose()?,
                    );
                    Amount::Over(value, nodes, min.unwrap_or(value), max.unwrap_or(value))
                }
            }
        };
        samples.push((ms, amount));
    }
    Ok(Some(Samples { meant: series, samples }))
}

fn of_series(object: &Map<String, Value>, reading: &Reading) -> Result<Meant, String> {
    let text = |key: &str| match object.get(key) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(other) => Err(format!("`{key}` is no text: {other}")),
    };
    if let Some(tier) = text("tier")?.filter(|tier| *tier != "1s") {
        return Err(format!("a row of the tier {tier}: only seconds are imported, coarser tiers are made of them"));
    }
    let name = text("name")?.ok_or("`name` is missing")?;
    let subject = match text("subject")? {
        Some(subject) => Subject::parse(subject).map_err(|error| error.to_string())?,
        None => reading.subject.clone(),
    };
    let attributes: Vec<(&str, &str)> = match object.get("attributes") {
        None => Vec::new(),
        Some(Value::Object(all)) => {
            let pair = |(key, value): (&'_ String, &'_ Value)| {
                value.as_str().map(|_| ()).ok_or(format!("attribute {key:?} is no text"))
            };
            all.iter().try_for_each(pair)?;
            all.iter().filter_map(|(key, value)| Some((key.as_str(), value.as_str()?))).collect()
        }
        Some(other) => return Err(format!("`attributes` is no object: {other}")),
    };
    let part = [("totals", Part::Total), ("increments", Part::Increment), ("histograms", Part::Exact)];
    let part = part.into_iter().find(|(key, _)| object.contains_key(*key)).map_or(Part::Level, |(_, part)| part);
    let kind = match part {
        Part::Level => Kind::Gauge,
        Part::Exact => Kind::Histogram,
        _ => Kind::Counter,
    };
    if let Some(said) = text("kind")?.filter(|said| *said != kind.as_str()) {
        return Err(format!(
            "kind is {said:?}, but a {} is what it has: gauges have `values`, counters `totals` or `increments`, histograms `histograms`",
            kind.as_str()
        ));
    }
    let unit = text("unit")?.unwrap_or_default();
    let scale = match object.get("scale") {
        None if kind == Kind::Histogram => histogram_scale(unit),
        None => 0,
        Some(scale) => count(scale)
            .and_then(|scale| u8::try_from(scale).ok())
            .ok_or_else(|| format!("`scale` is no digit: {scale}"))?,
    };
    let scope = scope(text("scope")?.unwrap_or("cluster"))?;
    let series = by_parts(name, &attributes, kind, unit, scale, scope)?;
    Ok(Meant { subject, series, part })
}

fn of_metric(object: &Map<String, Value>, reading: &Reading) -> Result<Option<Samples>, String> {
    let metric = object.get("metric").and_then(Value::as_object).ok_or("`metric` is no object")?;
    let text = |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.to_owned()));
    let mut labels: Vec<(String, String)> =
        metric.iter().filter_map(text).filter(|(_, value)| !value.is_empty()).collect();
    let name = labels.iter().position(|(key, _)| key == "__name__").ok_or("`metric` has no __name__")?;
    let (_, name) = labels.swap_remove(name);
    let Some(meant) = reading.meant(&name, labels, |_| None)? else { return Ok(None) };
    let (times, values) = (list(object, "timestamps")?, list(object, "values")?);
    let (Some(times), Some(values)) = (times, values) else {
        return Err("`timestamps` or `values` is missing".to_owned());
    };
    if times.len() != values.len() {
        return Err(format!("{} timestamps and {} values", times.len(), values.len()));
    }
    let sample = |(time, value): (&Value, &Value)| {
        let ms = time_of(time).ok_or_else(|| format!("{time} is no time"))?;
        Ok((ms, Amount::One(number_of(value).ok_or_else(|| format!("{value} is no number"))?)))
    };
    let samples = times.iter().zip(values).map(sample).collect::<Result<Vec<_>, String>>()?;
    Ok(Some(Samples { meant, samples }))
}

/// Where a series is merged.
pub(crate) fn scope(text: &str) -> Result<Scope, String> {
    match text {
        "cluster" | "" => Ok(Scope::Cluster),
        "node" => Ok(Scope::Node),
        other => Err(format!("scope is {other:?}; known are cluster, node")),
    }
}

fn list<'a>(object: &'a Map<String, Value>, key: &str) -> Result<Option<&'a [Value]>, String> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Array(all)) => Ok(Some(all)),
        Some(_) => Err(format!("`{key}` is no list")),
    }
}

fn time_of(value: &Value) -> Option<i64> {
    match value {
        Value::String(text) => ms(text),
        Value::Number(number) => ms(&number.to_string()),
        _ => None,
    }
}

fn number_of(value: &Value) -> Option<f64> {
    match value {
        Value::Null => Some(f64::NAN),
        Value::String(text) => number(text),
        other => other.as_f64(),
    }
}

fn count(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|count| u32::try_from(count).ok())
}

/// A histogram of one second: its bytes, or values with how often each was seen.
fn histogram(value: &Value) -> Result<Histogram, String> {
    let object = value.as_object().ok_or_else(|| format!("an object is wanted: {value}"))?;
    let text = object.get("bytes").and_then(Value::as_str).ok_or("`bytes` is missing")?;
    exact(text)
}

/// A histogram by its bytes in hexadecimal.
pub(crate) fn exact(text: &str) -> Result<Histogram, String> {
    let bytes = hex::decode(text).ok_or("its bytes are no hexadecimal")?;
    Histogram::decode(&bytes).map_err(|error| error.to_string())
}
