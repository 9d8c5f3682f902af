//! One series in one step a row.

use std::io::{self, Write};

use starling_history::Tier;
use starling_proto::{
    catalogue::{Kind, Scope},
    hex,
};

use super::{Part, json::OF_CELL, number};

const SERIES: &str = "time,subject,name,attributes,kind,unit,scale,scope";

pub(super) fn head(out: &mut impl Write, tier: Tier) -> io::Result<()> {
    if tier == Tier::Second {
        return writeln!(out, "{SERIES},value,nodes,min,max,histogram");
    }
    let of_cell: Vec<&str> = OF_CELL.iter().map(|(name, _)| *name).collect();
    writeln!(out, "{SERIES},tier,seconds,{},nodes,histogram", of_cell.join(","))
}

pub(super) fn write(out: &mut impl Write, part: &Part<'_>) -> io::Result<()> {
    let series = &part.cells.series;
    let escaped = |text: &str| {
        text.chars().fold(String::new(), |mut all, c| {
            if matches!(c, '\\' | '=' | ';') {
                all.push('\\');
            }
            all.push(c);
            all
        })
    };
    let attributes: Vec<String> =
        series.attributes().iter().map(|(key, value)| format!("{}={}", escaped(key), escaped(value))).collect();
    let named = [
        part.subject.to_string(),
        series.name().to_owned(),
        attributes.join(";"),
        series.kind().as_str().to_owned(),
        series.unit().to_owned(),
        series.scale().to_string(),
        if series.scope() == Scope::Node { "node" } else { "cluster" }.to_owned(),
    ];
    let named: Vec<String> = named.iter().map(|text| quoted(text)).collect();
    let (named, merged) = (named.join(","), part.subject.is_merged());
    for (tick, cell) in &part.cells.cells {
        write!(out, "{tick},{named}")?;
        let nodes = if merged { cell.nodes.to_string() } else { String::new() };
        let histogram = cell.histogram.as_ref().map(|histogram| hex::encode(&histogram.encode())).unwrap_or_default();
        if part.cells.tier == Tier::Second {
            let value = if series.kind() == Kind::Histogram { String::new() } else { number(cell.sum) };
            let extreme = |value: Option<f64>| value.filter(|_| merged).map(number).unwrap_or_default();
            writeln!(out, ",{value},{nodes},{},{},{histogram}", extreme(cell.node_min), extreme(cell.node_max))?;
        } else {
            let of_cell: Vec<String> = OF_CELL.iter().map(|(_, of)| number(of(cell))).collect();
            writeln!(out, ",{},{},{},{nodes},{histogram}", part.cells.tier, cell.seconds, of_cell.join(","))?;
        }
    }
    Ok(())
}

fn quoted(text: &str) -> String {
    if text.contains([',', '"']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}
