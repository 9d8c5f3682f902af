//! Prometheus's text and OpenMetrics.

use std::fmt::Write as _;

use starling_promql::BOUND;
use starling_proto::catalogue::Kind;

use super::{Family, pairs};
use crate::{
    buckets::{bounds, cumulative},
    number::spelled,
    total::{Reached, Total},
};

/// All families, one after another.
pub(super) fn write(families: &[Family<'_>], openmetrics: bool) -> String {
    let mut out = String::new();
    for family in families {
        head(&mut out, family, openmetrics);
        for total in &family.members {
            series(&mut out, family.name, total, openmetrics);
        }
    }
    if openmetrics {
        out.push_str("# EOF\n");
    }
    out
}

fn head(out: &mut String, family: &Family<'_>, openmetrics: bool) {
    let kind = match family.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    };
    let name = match openmetrics {
        true => base(family.name, family.kind),
        false => family.name,
    };
    let help = family.help.replace('\\', "\\\\").replace('\n', "\\n");
    let help = if openmetrics { help.replace('"', "\\\"") } else { help };
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
    if openmetrics && !family.unit.is_empty() && name.ends_with(family.unit) {
        let _ = writeln!(out, "# UNIT {name} {}", family.unit);
    }
}

/// The name of the family: of a counter without what all its samples end in.
fn base(name: &str, kind: Kind) -> &str {
    name.strip_suffix("_total").filter(|_| kind == Kind::Counter).unwrap_or(name)
}

fn series(out: &mut String, name: &str, total: &Total, openmetrics: bool) {
    let labels = labels(total);
    let created = || spelled(f64::from(total.created));
    match &total.reached {
        Reached::Gauge(value) => sample(out, name, "", &labels, &spelled(*value)),
        Reached::Counter(sum) => {
            sample(out, name, "", &labels, &spelled(*sum));
            if openmetrics {
                sample(out, base(name, Kind::Counter), "_created", &labels, &created());
            }
        }
        Reached::Histogram(all) => {
            let bounds = bounds(total.series.unit(), total.series.scale());
            let comma = if labels.is_empty() { "" } else { "," };
            for ((bound, _), count) in bounds.iter().zip(cumulative(all, &bounds)) {
                let _ = writeln!(out, "{name}_bucket{{{labels}{comma}{BOUND}=\"{}\"}} {count}", spelled(*bound));
            }
            let _ = writeln!(out, "{name}_bucket{{{labels}{comma}{BOUND}=\"+Inf\"}} {}", all.count());
            let sum = total.series.to_f64(i128::try_from(all.sum()).unwrap_or(i128::MAX));
            sample(out, name, "_sum", &labels, &spelled(sum));
            sample(out, name, "_count", &labels, &all.count().to_string());
            if openmetrics {
                sample(out, name, "_created", &labels, &created());
            }
        }
    }
}

fn sample(out: &mut String, name: &str, suffix: &str, labels: &str, value: &str) {
    let (open, close) = if labels.is_empty() { ("", "") } else { ("{", "}") };
    let _ = writeln!(out, "{name}{suffix}{open}{labels}{close} {value}");
}

/// All but the name, as they stand in braces.
fn labels(total: &Total) -> String {
    let mut out = String::new();
    for (key, value) in pairs(&total.labels) {
        let comma = if out.is_empty() { "" } else { "," };
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let _ = write!(out, "{comma}{key}=\"{value}\"");
    }
    out
}
