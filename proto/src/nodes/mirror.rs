//! The node table of a sender, as its reader holds it.

use std::sync::Arc;

use super::{Entry, Row, UpdateError, rows};
use crate::v1;

/// Bounds of a [`Mirror`]: a sender is not trusted with our memory.
#[derive(Debug, Clone, Copy)]
pub struct Most {
    /// Nodes; those with higher numbers are left out.
    pub nodes: usize,
    /// Bytes of all texts together; beyond it nodes are kept without labels and faults.
    pub bytes: usize,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirroredNode {
    /// Who it is. Shared: a new one comes only when something of it changed.
    pub entry: Arc<Entry>,
    /// Its latest second; of tick 0 until one came.
    pub row: Row,
}

/// What an update changed, by number.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// All that was held before is gone.
    pub reset: bool,
    /// Nodes that are new or changed who they are.
    pub entries: Vec<u32>,
    /// Nodes that are gone.
    pub removed: Vec<u32>,
    /// Nodes with a new second.
    pub rows: Vec<u32>,
    /// Nodes whose labels or faults were cut to the limits.
    pub cut: usize,
    /// Nodes that were left out: no name, or more than are kept.
    pub left_out: usize,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Mirror {
    most: Most,
    nodes: Vec<Option<MirroredNode>>,
    bytes: usize,
    generation: u64,
    revision: u64,
    tick: u32,
}

impl Mirror {
    /// Nothing is known yet.
    #[must_use]
    pub const fn new(most: Most) -> Self {
        Self { most, nodes: Vec::new(), bytes: 0, generation: 0, revision: 0, tick: 0 }
    }

    /// Takes in one message of an update. When it says `more`, the table is whole only after the ones that follow.
    ///
    /// # Errors
    /// [`UpdateError`]; nothing was changed then.
    pub fn apply(&mut self, update: &v1::NodesUpdate) -> Result<Applied, UpdateError> {
        if !update.reset && (update.generation != self.generation || update.revision < self.revision) {
            return Err(UpdateError::Gap { generation: update.generation });
        }
        let columns = update.columns.as_ref().map(|columns| rows(columns, update.tick)).transpose()?;
        let mut applied = Applied { reset: update.reset, ..Applied::default() };
        if update.reset {
            *self = Self { generation: update.generation, ..Self::new(self.most) };
        }
        for &number in &update.removed {
            if self.take(number).is_some() {
                applied.removed.push(number);
            }
        }
        for entry in &update.entries {
            self.put(entry, &mut applied);
        }
        for (number, row) in columns.into_iter().flatten() {
            if let Some(Some(node)) = self.nodes.get_mut(number as usize) {
                node.row = row;
                applied.rows.push(number);
            }
        }
        self.tick = update.tick;
        if !update.more {
            self.revision = update.revision;
        }
        Ok(applied)
    }

    fn put(&mut self, from: &v1::NodeEntry, applied: &mut Applied) {
        let place = from.number as usize;
        let Some((mut entry, mut cut)) = Entry::from_wire(from).ok().filter(|_| place < self.most.nodes) else {
            applied.left_out += 1;
            return;
        };
        // The second of another node that had this number is not its own.
        let row = match self.take(from.number) {
            Some(held) if held.entry.id == entry.id => held.row,
            _ => Row::default(),
        };
        if self.bytes + entry.bytes() > self.most.bytes
            && !(entry.labels.is_empty() && entry.collector_faults.is_empty())
        {
            entry.labels.clear();
            entry.collector_faults.clear();
            cut = true;
        }
        applied.cut += usize::from(cut);
        self.bytes += entry.bytes();
        if self.nodes.len() <= place {
            self.nodes.resize(place + 1, None);
        }
        self.nodes[place] = Some(MirroredNode { entry: Arc::new(entry), row });
        applied.entries.push(from.number);
    }

    fn take(&mut self, number: u32) -> Option<MirroredNode> {
        let node = self.nodes.get_mut(number as usize)?.take()?;
        self.bytes -= node.entry.bytes();
        Some(node)
    }

    /// The node of a number.
    #[must_use]
    pub fn node(&self, number: u32) -> Option<&MirroredNode> {
        self.nodes.get(number as usize)?.as_ref()
    }

    /// All nodes by ascending number.
    pub fn nodes(&self) -> impl Iterator<Item = (u32, &MirroredNode)> {
        (0..).zip(&self.nodes).filter_map(|(number, node)| Some((number, node.as_ref()?)))
    }

    /// Numbering and state to ask for when the stream breaks: both 0 when everything is to be sent again.
    #[must_use]
    pub const fn position(&self) -> (u64, u64) {
        if self.revision == 0 { (0, 0) } else { (self.generation, self.revision) }
    }

    /// The second of the last update.
    #[must_use]
    pub const fn tick(&self) -> u32 {
        self.tick
    }

    /// Bytes of the names and labels held.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::{Measure, Writer};

    const MOST: Most = Most { nodes: 4, bytes: 200 };

    fn entry(number: u32, name: &str, label: usize) -> v1::NodeEntry {
        v1::NodeEntry {
            number,
            node_id: name.into(),
            labels: (0..label).map(|i| (format!("k{i}"), "x".repeat(60))).collect(),
            ..v1::NodeEntry::default()
        }
    }

    fn update(revision: u64, entries: Vec<v1::NodeEntry>) -> v1::NodesUpdate {
        v1::NodesUpdate { tick: 100, generation: 9, revision, entries, ..v1::NodesUpdate::default() }
    }

    fn measured(number: u32) -> Option<v1::NodeColumns> {
        let mut row = Row { tick: 99, ..Row::default() };
        row.set(Measure::Requests, Some(5.0));
        let mut writer = Writer::new(100, false);
        writer.push(number, &row);
        writer.finish()
    }

    #[test]
    fn an_update_that_builds_on_nothing_is_refused() {
        let mut mirror = Mirror::new(MOST);
        assert_eq!(mirror.apply(&update(1, vec![])), Err(UpdateError::Gap { generation: 9 }));
        mirror.apply(&v1::NodesUpdate { reset: true, ..update(5, vec![entry(0, "a", 0)]) }).unwrap();
        assert_eq!(mirror.position(), (9, 5));
        assert_eq!(mirror.apply(&update(4, vec![])), Err(UpdateError::Gap { generation: 9 }));
        assert!(mirror.apply(&v1::NodesUpdate { generation: 8, ..update(6, vec![]) }).is_err());
        let applied = mirror.apply(&v1::NodesUpdate { columns: measured(0), ..update(6, vec![]) }).unwrap();
        assert_eq!(applied, Applied { rows: vec![0], ..Applied::default() });
        let node = mirror.node(0).unwrap();
        assert_eq!((node.row.tick, node.row.value(Measure::Requests)), (99, Some(5.0)));
    }

    #[test]
    fn half_an_update_is_no_position() {
        let mut mirror = Mirror::new(MOST);
        mirror.apply(&v1::NodesUpdate { reset: true, more: true, ..update(5, vec![entry(0, "a", 0)]) }).unwrap();
        assert_eq!(mirror.position(), (0, 0));
        mirror.apply(&update(5, vec![entry(1, "b", 0)])).unwrap();
        assert_eq!((mirror.position(), mirror.nodes().count()), ((9, 5), 2));
    }

    #[test]
    fn a_number_given_to_another_node_forgets_the_second_of_the_first() {
        let mut mirror = Mirror::new(MOST);
        let first = v1::NodesUpdate { reset: true, columns: measured(0), ..update(1, vec![entry(0, "a", 0)]) };
        mirror.apply(&first).unwrap();
        mirror.apply(&update(2, vec![entry(0, "a", 1)])).unwrap();
        assert_eq!(mirror.node(0).unwrap().row.tick, 99);
        mirror.apply(&update(3, vec![entry(0, "b", 0)])).unwrap();
        assert_eq!(mirror.node(0).unwrap().row.tick, 0);
        let applied = mirror.apply(&v1::NodesUpdate { removed: vec![0, 1, 77], ..update(4, vec![]) }).unwrap();
        assert_eq!((applied.removed, mirror.bytes()), (vec![0], 0));
    }

    #[test]
    fn a_sender_cannot_fill_our_memory() {
        let mut mirror = Mirror::new(MOST);
        let entries =
            vec![entry(0, "a", 2), entry(1, "b", 16), entry(4, "e", 0), entry(u32::MAX, "f", 0), entry(2, "", 0)];
        let applied = mirror.apply(&v1::NodesUpdate { reset: true, ..update(1, entries) }).unwrap();
        assert_eq!((applied.entries, applied.cut, applied.left_out), (vec![0, 1], 1, 3));
        assert!(mirror.node(1).unwrap().entry.labels.is_empty() && !mirror.node(0).unwrap().entry.labels.is_empty());
        assert!(mirror.bytes() <= MOST.bytes);
    }
}
