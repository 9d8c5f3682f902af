//! One series of one block a line.

use std::io::{self, Write};

use serde_json::{Map, Value, json};
use starling_history::{Cell, Tier};
use starling_proto::{
    catalogue::{Kind, Scope},
    hex,
};

use super::{Part, number};

pub(super) fn write(out: &mut impl Write, part: &Part<'_>) -> io::Result<()> {
    let series = &part.cells.series;
    let attributes: Map<String, Value> =
        series.attributes().iter().map(|(key, value)| (key.to_string(), json!(value))).collect();
    let scope = if series.scope() == Scope::Node { "node" } else { "cluster" };
    let text = |key: &str, value: &str| format!("{}:{}", json!(key), json!(value));
    let mut fields = vec![
        text("subject", &part.subject.to_string()),
        text("name", series.name()),
        format!("\"attributes\":{}", Value::Object(attributes)),
        text("kind", series.kind().as_str()),
        text("unit", series.unit()),
        format!("\"scale\":{}", series.scale()),
        text("scope", scope),
        text("tier", part.cells.tier.name()),
    ];
    if part.cells.derived {
        fields.push("\"derived\":true".to_owned());
    }
    let cells = &part.cells.cells;
    let list = |key: &str, of: &dyn Fn(&Cell) -> String| {
        let all: Vec<String> = cells.iter().map(|(_, cell)| of(cell)).collect();
        format!("{}:[{}]", json!(key), all.join(","))
    };
    let times: Vec<String> = cells.iter().map(|(tick, _)| tick.to_string()).collect();
    fields.push(format!("\"times\":[{}]", times.join(",")));
    let merged = part.subject.is_merged();
    if part.cells.tier == Tier::Second {
        match series.kind() {
            Kind::Counter => fields.push(list("increments", &|cell| strict(cell.sum))),
            Kind::Gauge => fields.push(list("values", &|cell| strict(cell.sum))),
            Kind::Histogram => {}
        }
        if merged && series.kind() == Kind::Gauge {
            fields.push(list("min", &|cell| strict(cell.node_min.unwrap_or(cell.min))));
            fields.push(list("max", &|cell| strict(cell.node_max.unwrap_or(cell.max))));
        }
    } else {
        fields.push(list("seconds", &|cell| cell.seconds.to_string()));
        for (key, of) in OF_CELL {
            fields.push(list(key, &|cell| strict(of(cell))));
        }
    }
    if merged {
        fields.push(list("nodes", &|cell| cell.nodes.to_string()));
    }
    if cells.iter().any(|(_, cell)| cell.histogram.is_some()) {
        fields.push(list("histograms", &|cell| match &cell.histogram {
            Some(histogram) => {
                let unit = series.to_f64(1);
                let (count, sum) = (histogram.count(), strict(histogram.sum() as f64 * unit));
                format!("{{\"count\":{count},\"sum\":{sum},\"bytes\":\"{}\"}}", hex::encode(&histogram.encode()))
            }
            None => "null".to_owned(),
        }));
    }
    writeln!(out, "{{{}}}", fields.join(","))
}

type OfCell = fn(&Cell) -> f64;

/// What is told of a step that is longer than a second.
pub(super) const OF_CELL: [(&str, OfCell); 5] = [
    ("sum", |cell| cell.sum),
    ("min", |cell| cell.min),
    ("max", |cell| cell.max),
    ("last", |cell| cell.last),
    ("deviation", Cell::deviation),
];

/// JSON knows no infinities: those are texts.
fn strict(value: f64) -> String {
    let text = number(value);
    if value.is_finite() { text } else { format!("\"{text}\"") }
}
