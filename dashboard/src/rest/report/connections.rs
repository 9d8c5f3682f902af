//! The report of TCP connections. Pure.

use std::{cmp::Reverse, collections::BTreeMap};

use serde_json::{Value, json};
use starling_proto::{nodes::Measure, series::OTHER};

use super::{
    Material,
    form::{Column, Report, Shown, Table},
    head::head,
    offenders::{self, last},
};
use crate::rest::{
    endpoints::{Endpoint, Facts},
    number::Number,
};

const STATES: &[Column] = &[Column("state", "State", Shown::Text), Column("sockets", "Sockets", Shown::Number)];
const PORTS: &[Column] = &[
    Column("port", "Local port", Shown::Text),
    Column("established", "Established", Shown::Number),
    Column("healthy", "Healthy", Shown::Number),
    Column("warning", "Warning", Shown::Number),
    Column("warningRatio", "Of established", Shown::Share),
];
const NODES: &[Column] = &[Column("node", "Node", Shown::Name), Column("connections", "Connections", Shown::Number)];

pub(super) fn report(of: &Material, facts: &Facts<'_>) -> Report {
    let mut section = Endpoint::Connections.answer(facts);
    if let Some(fields) = section.as_object_mut() {
        fields.remove("byState");
    }
    Report {
        title: "TCP connections",
        file: "connections",
        tables: vec![states(of), ports(of), offenders::table(of), nodes(of)],
        ..head(of, section)
    }
}

/// Sockets by state, most first.
pub(super) fn states(of: &Material) -> Table {
    let from = of.reading.second.connections();
    let mut all: Vec<_> = from.map(|is| is.by_state.iter().collect()).unwrap_or_default();
    all.sort_by(|a: &(&String, &f64), b| b.1.total_cmp(a.1).then_with(|| a.0.cmp(b.0)));
    let rows = all.into_iter().map(|(state, sockets)| vec![json!(state), Number(*sockets).into()]);
    Table { name: "states", title: "By state", columns: STATES, rows: rows.collect(), note: "" }
}

/// Established connections by local port, most first, what is beside them last.
pub(super) fn ports(of: &Material) -> Table {
    let mut by_port: BTreeMap<&str, [f64; 2]> = BTreeMap::new();
    for series in of.ports.iter().flat_map(|answer| &answer.series) {
        let attribute = |key: &str| series.attributes.get(key).map(String::as_str);
        let Some(value) = last(series) else { continue };
        let place = usize::from(attribute("health") == Some("warning"));
        by_port.entry(attribute("network.local.port").unwrap_or(OTHER)).or_default()[place] += value;
    }
    // One that had connections a moment ago is none.
    let has_some = |port: &str, of: &[f64; 2]| port == OTHER || of[0] + of[1] > 0.0;
    let mut all: Vec<_> = by_port.into_iter().filter(|(port, of)| has_some(port, of)).collect();
    // Counts are whole.
    all.sort_by_key(|(port, [healthy, warning])| (*port == OTHER, Reverse((healthy + warning) as u64), *port));
    let rows = all.into_iter().map(|(port, [healthy, warning])| {
        let established = healthy + warning;
        let ratio = (established > 0.0).then(|| warning / established);
        let number = |value: f64| Value::from(Number(value));
        vec![json!(port), number(established), number(healthy), number(warning), ratio.map_or(Value::Null, number)]
    });
    Table {
        name: "ports",
        title: "Established, by local port",
        columns: PORTS,
        rows: rows.collect(),
        note: "Ports on which a host listens, of each host the 16 with most connections. _other: those of further ports, and those \
               that hosts opened themselves.",
    }
}

fn nodes(of: &Material) -> Table {
    let mut all: Vec<_> = of.hosts.iter().map(|host| (host.id(), host.value(Measure::Connections))).collect();
    all.sort_by(|a, b| b.1.unwrap_or(-1.0).total_cmp(&a.1.unwrap_or(-1.0)).then_with(|| a.0.cmp(b.0)));
    let rows =
        all.into_iter().map(|(node, open)| vec![json!(node), open.map_or(Value::Null, |open| Number(open).into())]);
    Table { name: "nodes", title: "By node", columns: NODES, rows: rows.collect(), note: "" }
}

#[cfg(test)]
mod tests {
    use starling_proto::v1;

    use super::{
        super::offenders::tests::{material, series},
        *,
    };

    fn of() -> Material {
        let connections = v1::Connections {
            by_state: [("established".to_owned(), 12.0), ("time_wait".to_owned(), 30.0)].into(),
            healthy: Some(9.0),
            warning: Some(3.0),
            total: Some(42.0),
            ..Default::default()
        };
        let mut of = material(
            v1::Sections { connections: Some(connections), ..Default::default() },
            &[("web-1", 2.0), ("web-2", 40.0)],
        );
        let port = |health, port, value| series("", &[("health", health), ("network.local.port", port)], value);
        of.ports = Some(v1::RangeAnswer {
            series: vec![
                port("healthy", OTHER, 4.0),
                port("healthy", "22", 1.0),
                port("healthy", "23", 0.0),
                port("healthy", "443", 4.0),
                port("warning", "443", 3.0),
            ],
            ..Default::default()
        });
        of
    }

    #[test]
    fn each_part_is_ordered_by_what_it_counts() {
        let of = of();
        assert_eq!(states(&of).rows, [[json!("time_wait"), json!(30)], [json!("established"), json!(12)]]);
        assert_eq!(nodes(&of).rows[0], [json!("web-2"), json!(40)]);
        let ports = ports(&of).rows;
        let names: Vec<_> = ports.iter().map(|row| row[0].as_str().unwrap()).collect();
        assert_eq!(names, ["443", "22", OTHER]);
        assert_eq!(ports[0][1..4], [json!(7), json!(4), json!(3)]);
        // All of them are what is established.
        assert_eq!(ports.iter().map(|row| row[1].as_f64().unwrap()).sum::<f64>(), 12.0);
    }

    #[test]
    fn the_report_holds_the_figures_of_the_endpoint_and_its_tables() {
        let of = of();
        let facts = Facts { reading: &of.reading, columns: Default::default(), target_rps: None, now: 60_500 };
        let report = report(&of, &facts);
        assert_eq!(report.fields["healthStatus"]["warning"]["count"], 3);
        assert_eq!(
            report.tables.iter().map(|is| is.name).collect::<Vec<_>>(),
            ["states", "ports", "offenders", "nodes"]
        );
        assert_eq!(report.complete, "2 of 2 nodes");
    }
}
