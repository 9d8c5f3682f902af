//! The report of everything. Pure.

use serde_json::{Value, json};
use starling_proto::nodes::Measure;

use super::{
    Material, connections,
    form::{Column, Report, Shown, Table},
    head::head,
    offenders,
};
use crate::{
    hub::Standing,
    rest::{
        alerts::{performance, severity, state},
        endpoints::{Endpoint, Facts, numbered},
        number::Number,
    },
};

const FIGURES: &[Column] = &[Column("figure", "Figure", Shown::Text), Column("value", "Value", Shown::Number)];
const PROTOCOLS: &[Column] = &[
    Column("protocol", "Protocol", Shown::Text),
    Column("status", "Status", Shown::Text),
    Column("requestsPerSecond", "Requests/s", Shown::Number),
    Column("errorRatio", "Failed", Shown::Share),
    Column("p50Micros", "p50", Shown::Micros),
    Column("p95Micros", "p95", Shown::Micros),
    Column("p99Micros", "p99", Shown::Micros),
];
const ALERTS: &[Column] = &[
    Column("alert", "Alert", Shown::Text),
    Column("severity", "Severity", Shown::Text),
    Column("alertState", "State", Shown::Text),
    Column("since", "Since", Shown::Text),
    Column("sentence", "What", Shown::Name),
];
const NODES: &[Column] = &[
    Column("node", "Node", Shown::Name),
    Column("nodeState", "State", Shown::Text),
    Column("cpuUtilizationRatio", "CPU", Shown::Share),
    Column("memoryUsedRatio", "Memory", Shown::Share),
    Column("load1", "Load", Shown::Number),
    Column("requestsPerSecond", "Requests/s", Shown::Number),
    Column("errorsPerSecond", "Errors/s", Shown::Number),
    Column("p99Micros", "p99", Shown::Micros),
    Column("connections", "Connections", Shown::Number),
];

pub(super) fn report(of: &Material, facts: &Facts<'_>) -> Report {
    Report {
        title: "State of the cluster",
        file: "report",
        tables: vec![
            figures(facts),
            protocols(facts),
            alerts(of),
            connections::states(of),
            connections::ports(of),
            offenders::table(of),
            nodes(of),
        ],
        ..head(of, Endpoint::System.answer(facts))
    }
}

/// Every number of the second by its name, which ends with its unit.
fn figures(facts: &Facts<'_>) -> Table {
    let rows = numbered(facts).into_iter().map(|(name, value)| vec![json!(name), value]);
    Table { name: "figures", title: "Figures", columns: FIGURES, rows: rows.collect(), note: "" }
}

fn protocols(facts: &Facts<'_>) -> Table {
    let all = Endpoint::Protocols.answer(facts);
    let row = |is: &Value| {
        let of = |name: &str| is.get(name).or_else(|| is.get("latency")?.get(name)).cloned().unwrap_or_default();
        PROTOCOLS.iter().map(|column| of(column.0)).collect()
    };
    let rows = all["protocols"].as_array().map(|all| all.iter().map(row).collect()).unwrap_or_default();
    // In JSON `protocols` is the map of the endpoint.
    Table { name: "byProtocol", title: "Protocols", columns: PROTOCOLS, rows, note: "" }
}

fn alerts(of: &Material) -> Table {
    let alerts = &of.reading.alerts;
    let row = |alert: &std::sync::Arc<starling_proto::v1::Alert>| {
        let episode = alert.episode.clone().unwrap_or_default();
        let fields = performance(alert);
        vec![
            fields["metric"].clone(),
            json!(severity(episode.severity())),
            json!(state(alert)),
            fields["since"].clone(),
            json!(alert.sentence),
        ]
    };
    let note = match alerts.standing {
        Standing::Followed => "",
        _ => "Not known: the aggregator has not told them.",
    };
    Table { name: "alerts", title: "Open alerts", columns: ALERTS, rows: alerts.open().map(row).collect(), note }
}

fn nodes(of: &Material) -> Table {
    let row = |host: &crate::hub::Host| {
        let value = |measure| host.value(measure).map_or(Value::Null, |value| Number(value).into());
        let measures = [
            Measure::Cpu,
            Measure::Memory,
            Measure::Load1,
            Measure::Requests,
            Measure::Errors,
            Measure::P99,
            Measure::Connections,
        ];
        let head = [json!(host.id()), json!(crate::rest::endpoints::state(host.state()))];
        head.into_iter().chain(measures.map(value)).collect()
    };
    Table { name: "nodes", title: "Nodes", columns: NODES, rows: of.hosts.iter().map(row).collect(), note: "" }
}

#[cfg(test)]
mod tests {
    use starling_proto::v1;

    use super::{super::offenders::tests::material, *};

    #[test]
    fn everything_is_in_it_by_the_names_of_the_endpoints() {
        let traffic = v1::Traffic {
            requests_per_second: Some(5.0),
            protocols: vec![v1::ProtocolTraffic {
                protocol: "grpc".into(),
                requests_per_second: Some(5.0),
                errors_per_second: Some(1.0),
                ..Default::default()
            }],
            ..Default::default()
        };
        let of = material(v1::Sections { traffic: Some(traffic), ..Default::default() }, &[("web-1", 3.0)]);
        let facts = Facts { reading: &of.reading, columns: Default::default(), target_rps: None, now: 60_500 };
        let report = report(&of, &facts);
        let table = |name: &str| report.tables.iter().find(|is| is.name == name).unwrap();
        assert!(table("figures").rows.contains(&vec![json!("traffic.requestsPerSecond"), json!(5)]));
        assert_eq!(table("byProtocol").rows[0][..4], [json!("grpc"), json!("unknown"), json!(5), json!(0.2)]);
        assert_eq!(table("nodes").rows[0][8], json!(3));
        assert!(table("alerts").note.starts_with("Not known"));
        for table in &report.tables {
            assert!(table.rows.iter().all(|row| row.len() == table.columns.len()), "{}", table.name);
        }
    }
}
