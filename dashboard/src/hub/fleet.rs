//! The table of nodes: its dictionary, its medians, and which nodes have been over a limit for how long.

use std::{collections::HashMap, sync::Arc};

use starling_proto::v1;

use super::verdict::{CPU_MAX, MEMORY_MAX};

/// How long a node has been over its limits, in ticks in a row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Hot {
    /// Above [`CPU_MAX`].
    pub(crate) cpu: u32,
    /// Above [`MEMORY_MAX`].
    pub(crate) memory: u32,
}

/// Medians over the reporting nodes; `None` when no node reported the number.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Medians {
    pub(crate) cpu: Option<f64>,
    pub(crate) memory: Option<f64>,
    pub(crate) requests_per_second: Option<f64>,
    pub(crate) errors_per_second: Option<f64>,
    pub(crate) p99_micros: Option<f64>,
    pub(crate) connections: Option<f64>,
}

/// Nodes a median needs: of two nodes it is neither.
const MEDIAN_NODES_MIN: usize = 3;

/// All nodes at the newest second of the table.
#[derive(Debug, Default)]
pub(crate) struct Fleet {
    table: Option<Arc<v1::NodeTable>>,
    dictionary_version: u32,
    hot: HashMap<String, Hot>,
}

impl Fleet {
    /// Takes in a table. Returns false for one that is older than the present one or the same.
    pub(crate) fn apply(&mut self, mut table: v1::NodeTable) -> bool {
        // Names are the order of every list; one aggregator of another opinion must not reorder a page.
        table.nodes.sort_by(|a, b| a.node_id.cmp(&b.node_id));
        table.nodes.dedup_by(|a, b| a.node_id == b.node_id);
        if self.table.as_deref().is_some_and(|known| table.tick < known.tick || *known == table) {
            return false;
        }
        if self.table.as_deref().is_none_or(|known| !same_dictionary(known, &table)) {
            self.dictionary_version += 1;
        }
        self.heat(&table);
        self.table = Some(Arc::new(table));
        true
    }

    fn heat(&mut self, table: &v1::NodeTable) {
        let passed = self.table.as_deref().map_or(1, |known| table.tick - known.tick);
        let count = |before: u32, over: bool| if over { before.saturating_add(passed) } else { 0 };
        self.hot = table
            .nodes
            .iter()
            .filter(|row| row.state() == v1::NodeState::Reporting)
            .filter_map(|row| {
                let before = self.hot.get(&row.node_id).copied().unwrap_or_default();
                let hot = Hot {
                    cpu: count(before.cpu, row.cpu.is_some_and(|cpu| cpu > CPU_MAX)),
                    memory: count(before.memory, row.memory.is_some_and(|memory| memory > MEMORY_MAX)),
                };
                (hot != Hot::default()).then(|| (row.node_id.clone(), hot))
            })
            .collect();
    }

    /// The table, once there is one.
    pub(crate) fn table(&self) -> Option<&Arc<v1::NodeTable>> {
        self.table.as_ref()
    }

    /// All rows, sorted by name.
    pub(crate) fn rows(&self) -> &[v1::NodeRow] {
        self.table.as_deref().map_or(&[], |table| &table.nodes)
    }

    /// Rises when names, labels or the set of nodes change.
    pub(crate) fn dictionary_version(&self) -> u32 {
        self.dictionary_version
    }

    /// How long a node has been over its limits.
    pub(crate) fn hot(&self, node: &str) -> Hot {
        self.hot.get(node).copied().unwrap_or_default()
    }

    /// Row of a node.
    pub(crate) fn row(&self, node: &str) -> Option<&v1::NodeRow> {
        self.place(node).and_then(|place| self.rows().get(place))
    }

    /// Names before and after a node; empty at the ends.
    pub(crate) fn neighbours(&self, node: &str) -> (String, String) {
        let name = |place: Option<usize>| {
            place.and_then(|place| self.rows().get(place)).map_or_else(String::new, |row| row.node_id.clone())
        };
        match self.place(node) {
            Some(place) => (name(place.checked_sub(1)), name(place.checked_add(1))),
            None => Default::default(),
        }
    }

    fn place(&self, node: &str) -> Option<usize> {
        self.rows().binary_search_by(|row| row.node_id.as_str().cmp(node)).ok()
    }

    /// Medians over the reporting nodes; `None` with fewer than three.
    pub(crate) fn medians(&self) -> Option<Medians> {
        let rows: Vec<_> = self.rows().iter().filter(|row| row.state() == v1::NodeState::Reporting).collect();
        let of = |value: fn(&v1::NodeRow) -> Option<f64>| median(rows.iter().filter_map(|row| value(row)).collect());
        (rows.len() >= MEDIAN_NODES_MIN).then(|| Medians {
            cpu: of(|row| row.cpu),
            memory: of(|row| row.memory),
            requests_per_second: of(|row| row.requests_per_second),
            errors_per_second: of(|row| row.errors_per_second),
            p99_micros: of(|row| row.p99_micros),
            connections: of(|row| row.connections),
        })
    }
}

fn same_dictionary(a: &v1::NodeTable, b: &v1::NodeTable) -> bool {
    let entry = |row: &v1::NodeRow| (row.node_id.clone(), row.labels.clone(), row.simulated);
    a.nodes.len() == b.nodes.len() && a.nodes.iter().zip(&b.nodes).all(|(a, b)| entry(a) == entry(b))
}

/// The middle value; of an even number the mean of the two.
fn median(mut values: Vec<f64>) -> Option<f64> {
    let middle = values.len() / 2;
    values.sort_unstable_by(f64::total_cmp);
    let upper = *values.get(middle)?;
    let lower = values.get(middle - usize::from(values.len().is_multiple_of(2))).copied().unwrap_or(upper);
    Some(f64::midpoint(lower, upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, cpu: f64) -> v1::NodeRow {
        v1::NodeRow {
            node_id: name.into(),
            state: v1::NodeState::Reporting.into(),
            cpu: Some(cpu),
            ..Default::default()
        }
    }

    fn table(tick: u32, nodes: Vec<v1::NodeRow>) -> v1::NodeTable {
        v1::NodeTable { tick, nodes, completeness: None }
    }

    #[test]
    fn the_dictionary_rises_only_with_names_and_labels() {
        let mut fleet = Fleet::default();
        assert!(fleet.apply(table(1, vec![row("b", 0.1), row("a", 0.1)])));
        assert_eq!(fleet.rows()[0].node_id, "a");
        assert_eq!(fleet.dictionary_version(), 1);
        assert!(fleet.apply(table(2, vec![row("a", 0.9), row("b", 0.2)])));
        assert_eq!(fleet.dictionary_version(), 1);
        let mut labelled = row("a", 0.9);
        labelled.labels.insert("zone".into(), "z".into());
        fleet.apply(table(3, vec![labelled, row("b", 0.2)]));
        assert_eq!(fleet.dictionary_version(), 2);
        assert!(!fleet.apply(table(2, vec![])), "an older table");
    }

    #[test]
    fn heat_counts_seconds_in_a_row() {
        let mut fleet = Fleet::default();
        fleet.apply(table(1, vec![row("a", 0.99)]));
        fleet.apply(table(2, vec![row("a", 0.99)]));
        fleet.apply(table(4, vec![row("a", 0.99)]));
        assert_eq!(fleet.hot("a").cpu, 4);
        fleet.apply(table(5, vec![row("a", 0.5)]));
        assert_eq!(fleet.hot("a"), Hot::default());
    }

    #[test]
    fn medians_and_neighbours() {
        let mut fleet = Fleet::default();
        fleet.apply(table(1, vec![row("a", 0.1), row("b", 0.9)]));
        assert_eq!(fleet.medians(), None);
        fleet.apply(table(2, vec![row("a", 0.1), row("b", 0.9), row("c", 0.3), row("d", 0.5)]));
        let medians = fleet.medians().unwrap();
        assert_eq!(medians.cpu, Some(0.4));
        assert_eq!(medians.p99_micros, None);
        assert_eq!(fleet.neighbours("a"), (String::new(), "b".into()));
        assert_eq!(fleet.neighbours("d"), ("c".into(), String::new()));
        assert_eq!(fleet.neighbours("x"), Default::default());
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
    }
}
