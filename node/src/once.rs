//! `starling-node --once`: what a frame of this host would hold now, for people and scripts.

use std::{
    fmt::Write as _,
    sync::mpsc,
    time::{Duration, Instant},
};

use serde_json::{Map, Value as Json, json};
use starling_proto::{
    catalogue,
    series::{Sample, Value},
};
use starling_service::{clock, settings::Settings as _};

use crate::{Collection, Collectors, Config};

/// What counters count is what happens in this time.
const SECOND: Duration = Duration::from_secs(1);
/// A collector that takes longer is named, and left out.
const COLLECT_MAX: Duration = Duration::from_secs(2);

/// Reads the host twice, a second apart: counters as what was added, the others as they are. As lines of name, attributes, value
/// and unit, or as JSON.
///
/// # Errors
/// Settings that are not valid.
pub(crate) fn once(config: &Config, as_json: bool) -> anyhow::Result<String> {
    config.check()?;
    let mut collectors = Collectors::new(&config.collect());
    collectors.collect(Duration::ZERO, COLLECT_MAX);
    let began = Instant::now();
    // Nobody sends: it is a pause.
    let (_waits, pause) = mpsc::channel::<()>();
    let _ = pause.recv_timeout(SECOND);
    let Collection { mut samples, late } = collectors.collect(began.elapsed(), COLLECT_MAX);
    samples.sort_by_cached_key(|sample| (catalogue::place(sample.series.name()), sample.series.clone()));
    let faults: Vec<(String, String)> = collectors
        .faults()
        .iter()
        .map(|fault| (fault.collector.clone(), fault.reason.clone()))
        .chain(late.iter().map(|name| ((*name).to_owned(), "did not return in time".to_owned())))
        .collect();
    Ok(if as_json { document(config, &samples, &faults) } else { lines(&samples, &faults) })
}

fn lines(samples: &[Sample], faults: &[(String, String)]) -> String {
    let mut text = String::new();
    for Sample { series, value } in samples {
        let attributes: Vec<String> = series.attributes().iter().map(|(key, value)| format!("{key}={value}")).collect();
        let number = |n: i128| series.to_f64(n);
        // Into a text there is always room.
        let _ = write!(text, "{}", series.name());
        if !attributes.is_empty() {
            let _ = write!(text, "{{{}}}", attributes.join(","));
        }
        let _ = match value {
            Value::Counter(n) => writeln!(text, " +{} {}", number((*n).into()), series.unit()),
            Value::Gauge(n) => writeln!(text, " {} {}", number((*n).into()), series.unit()),
            Value::Histogram(histogram) => {
                let quantile = |q| number(histogram.quantiles(&[q])[0].into());
                let (count, unit) = (histogram.count(), series.unit());
                if count == 0 {
                    writeln!(text, " no values")
                } else {
                    writeln!(text, " {count} values, p50 {} {unit}, p99 {} {unit}", quantile(0.5), quantile(0.99))
                }
            }
        };
    }
    for (collector, why) in faults {
        let _ = writeln!(text, "# {collector} does not read all it should: {why}");
    }
    text
}

fn document(config: &Config, samples: &[Sample], faults: &[(String, String)]) -> String {
    let series = samples.iter().map(|Sample { series, value }| {
        let number = |n: i128| series.to_f64(n);
        let attributes: Map<String, Json> =
            series.attributes().iter().map(|(key, value)| (key.to_string(), Json::from(&**value))).collect();
        let mut one = json!({
            "name": series.name(), "attributes": attributes, "kind": series.kind().as_str(), "unit": series.unit(),
        });
        match value {
            Value::Counter(n) => one["value"] = number((*n).into()).into(),
            Value::Gauge(n) => one["value"] = number((*n).into()).into(),
            Value::Histogram(histogram) => {
                one["count"] = histogram.count().into();
                if !histogram.is_empty() {
                    let quantiles = histogram.quantiles(&[0.5, 0.99]).into_iter().map(|value| number(value.into()));
                    for (name, value) in ["p50", "p99"].into_iter().zip(quantiles) {
                        one[name] = value.into();
                    }
                    one["max"] = number(histogram.max().into()).into();
                }
            }
        }
        one
    });
    let faults = faults.iter().map(|(collector, why)| json!({ "collector": collector, "reason": why }));
    let document = json!({
        "node": config.name().as_str(), "time_unix_s": clock::unix().as_secs(),
        "series": series.collect::<Vec<_>>(), "faults": faults.collect::<Vec<_>>(),
    });
    format!("{document:#}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        Config { node_id: Some(starling_proto::ids::NodeId::sanitised("web-1")), ..Config::default() }
    }

    #[test]
    fn this_host_is_said_in_lines_and_as_json() {
        let text = once(&config(), false).unwrap();
        let uptime = text.lines().find(|line| line.starts_with("system.uptime ")).unwrap();
        assert!(uptime.ends_with(" s"), "{uptime}");
        let places: Vec<_> = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| catalogue::place(line.split([' ', '{']).next().unwrap()))
            .collect();
        assert!(places.is_sorted() && places.len() > 50, "{text}");

        let said: Json = serde_json::from_str(&once(&config(), true).unwrap()).unwrap();
        assert_eq!(said["node"], "web-1");
        let all = said["series"].as_array().unwrap();
        let limit = all.iter().find(|one| one["name"] == "system.memory.limit").unwrap();
        assert!(limit["value"].as_f64().unwrap() > 1e6 && limit["unit"] == "By" && limit["kind"] == "gauge", "{limit}");
    }
}
