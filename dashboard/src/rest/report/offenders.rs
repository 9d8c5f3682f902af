//! The nodes whose connections are in trouble, worst first. Pure.

use std::{cmp::Ordering, collections::BTreeMap};

use serde_json::{Value, json};
use starling_proto::{nodes::Measure, v1};

use super::{
    Material,
    form::{Column, Shown, Table},
};
use crate::rest::number::Number;

/// Nodes that are named, and that are asked for of each kind of trouble.
pub(super) const NODES_MAX: u32 = 20;
/// Kinds of trouble, as the attribute `health` has them.
pub(super) const HEALTH: [&str; 2] = ["warning", "error"];

/// What is asked for.
pub(super) enum Asked {
    /// A sum over the nodes, of so many series.
    Sum { top: u32 },
    /// Each node with connections of this health, most first.
    EachNode { health: &'static str },
}

const COLUMNS: &[Column] = &[
    Column("node", "Node", Shown::Name),
    Column("warning", "Warning", Shown::Number),
    Column("failedLastMinute", "Failed, last minute", Shown::Number),
    Column("connections", "Connections", Shown::Number),
    Column("ratio", "Of connections", Shown::Share),
    Column("because", "Mostly", Shown::Text),
];

#[derive(Debug, Default, Clone, Copy)]
struct Trouble {
    warning: Option<f64>,
    failed: Option<f64>,
    connections: Option<f64>,
}

impl Trouble {
    fn amount(self) -> f64 {
        self.warning.unwrap_or_default() + self.failed.unwrap_or_default()
    }

    fn because(self) -> &'static str {
        if self.failed.unwrap_or_default() > self.warning.unwrap_or_default() {
            "refused, reset or timed out"
        } else {
            "segments sent again, or silent past 300 s"
        }
    }

    /// Of what is open and what failed.
    fn ratio(self) -> Option<f64> {
        let whole = self.connections? + self.failed.unwrap_or_default();
        (whole > 0.0).then(|| (self.amount() / whole).min(1.0))
    }
}

pub(super) fn table(of: &Material) -> Table {
    let mut found: BTreeMap<&str, Trouble> = BTreeMap::new();
    for (health, answer) in &of.troubled {
        for series in &answer.series {
            let trouble = found.entry(&series.node_id).or_default();
            match *health {
                "warning" => trouble.warning = last(series),
                _ => trouble.failed = last(series),
            }
        }
    }
    for host in &of.hosts {
        if let Some(trouble) = found.get_mut(host.id()) {
            trouble.connections = host.value(Measure::Connections);
        }
    }
    let mut found: Vec<_> = found.into_iter().filter(|(_, trouble)| trouble.amount() > 0.0).collect();
    let by_amount = |a: &Trouble, b: &Trouble| b.amount().partial_cmp(&a.amount()).unwrap_or(Ordering::Equal);
    found.sort_by(|a, b| by_amount(&a.1, &b.1).then_with(|| a.0.cmp(b.0)));
    found.truncate(NODES_MAX as usize);
    let rows = found.into_iter().map(|(node, trouble)| {
        let number = |value: Option<f64>| value.map_or(Value::Null, |value| Number(value).into());
        vec![
            json!(node),
            number(trouble.warning),
            number(trouble.failed),
            number(trouble.connections),
            number(trouble.ratio()),
            json!(trouble.because()),
        ]
    });
    Table {
        name: "offenders",
        title: "Nodes with most connections in trouble",
        columns: COLUMNS,
        rows: rows.collect(),
        note: "By the sum of connections in warning and those that failed in the last minute. \
               Probes of closed ports fail, too, and are ordinary.",
    }
}

/// The newest value of a series; `None` without one.
pub(super) fn last(series: &v1::RangeSeries) -> Option<f64> {
    let values = &series.statistics.first()?.values;
    values.iter().rev().copied().find(|value| !value.is_nan())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{
        hub::{Host, LastMinute, OfSource, Reading, Second},
        rest::report::Material,
    };

    pub(in crate::rest::report) fn series(node: &str, attributes: &[(&str, &str)], value: f64) -> v1::RangeSeries {
        v1::RangeSeries {
            node_id: node.into(),
            attributes: attributes.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect(),
            statistics: vec![v1::RangeValues {
                statistic: "last".into(),
                values: vec![value, f64::NAN],
                error_bound_ppm: 0,
            }],
            ..Default::default()
        }
    }

    pub(in crate::rest::report) fn material(sections: v1::Sections, hosts: &[(&str, f64)]) -> Material {
        let completeness = v1::Completeness { nodes_reporting: Some(2), nodes_expected: Some(2), ..Default::default() };
        let view = v1::ClusterView {
            tick: 60,
            completeness: Some(completeness),
            sections: Some(sections),
            ..Default::default()
        };
        let second = Second::Cluster(Box::new(view));
        let minute = LastMinute::of(&second);
        let row = |(id, connections): &(&str, f64)| v1::NodeRow {
            node_id: (*id).into(),
            last_tick: 60,
            connections: Some(*connections),
            ..Default::default()
        };
        Material {
            of: "all nodes".into(),
            reading: Reading {
                second: second.into(),
                verdict: Default::default(),
                alerts: OfSource::default(),
                minute,
            },
            hosts: hosts.iter().filter_map(|host| Host::of(&row(host))).collect(),
            ports: None,
            troubled: Vec::new(),
        }
    }

    #[test]
    fn the_worst_come_first_with_why_and_the_healthy_not_at_all() {
        let mut of = material(v1::Sections::default(), &[("a", 100.0), ("b", 40.0), ("c", 5.0)]);
        let answer = |all: &[(&str, f64)]| v1::RangeAnswer {
            series: all.iter().map(|(node, value)| series(node, &[], *value)).collect(),
            ..Default::default()
        };
        of.troubled = vec![
            ("warning", answer(&[("a", 10.0), ("b", 0.0), ("c", 0.0)])),
            ("error", answer(&[("b", 60.0), ("c", 0.0)])),
        ];
        let rows = table(&of).rows;
        assert_eq!(rows.len(), 2, "{rows:?}");
        assert_eq!(
            rows[0],
            [json!("b"), json!(0), json!(60), json!(40), json!(0.6), json!("refused, reset or timed out")]
        );
        assert_eq!(rows[1][..5], [json!("a"), json!(10), Value::Null, json!(100), json!(0.1)]);
    }
}
