//! The rows of the nodes whose frames come to this process.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use starling_proto::{
    ids::NodeId,
    nodes::{Entry, Row},
};

use super::{
    rows::RowReader,
    table::{Source, Table},
};
use crate::ingest::{About, IngestNode, Latest};

/// What was built of a node last.
#[derive(Debug)]
struct Built {
    about: Arc<About>,
    connected: bool,
    stopped: bool,
    entry: Arc<Entry>,
    reader: RowReader,
    /// The second of the row, only to distinguish it from the next one: its values are not held twice.
    latest: Weak<Latest>,
    row: Row,
    /// The numbers of the row were read, not only its second.
    full: bool,
    /// Its number in the table.
    hint: u32,
    /// The pass that saw it last.
    pass: u64,
}

/// See the module. One at a time: whoever builds holds it.
#[derive(Debug)]
pub(super) struct Builder {
    aggregator: NodeId,
    nodes: HashMap<NodeId, Built>,
    pass: u64,
}

impl Builder {
    /// Of the aggregator of this name.
    pub(super) fn new(aggregator: NodeId) -> Self {
        Self { aggregator, nodes: HashMap::new(), pass: 0 }
    }

    /// Builds the rows of `nodes` that have something new. Without `full` only who they are and when they reported:
    /// what is not asked for is not computed.
    pub(super) fn build(&mut self, nodes: &[Arc<IngestNode>], full: bool) {
        self.pass += 1;
        for node in nodes {
            // A node that has sent nothing yet is not in the table.
            if let Some(latest) = node.latest() {
                self.build_one(node, &latest, full);
            }
        }
        let pass = self.pass;
        self.nodes.retain(|_, built| built.pass == pass);
    }

    fn build_one(&mut self, node: &IngestNode, latest: &Arc<Latest>, full: bool) {
        let (about, (connected, stopped)) = (node.about(), node.presence());
        let Some(built) = self.nodes.get_mut(&node.id) else {
            let entry = Arc::new(entry_of(node, &about, connected.then_some(&self.aggregator), stopped));
            let mut reader = RowReader::default();
            let row = row_of(&mut reader, latest, full);
            let (pass, latest) = (self.pass, Arc::downgrade(latest));
            let built = Built { about, connected, stopped, entry, reader, latest, row, full, hint: u32::MAX, pass };
            self.nodes.insert(node.id.clone(), built);
            return;
        };
        built.pass = self.pass;
        if !Arc::ptr_eq(&built.about, &about) || (built.connected, built.stopped) != (connected, stopped) {
            let entry = entry_of(node, &about, connected.then_some(&self.aggregator), stopped);
            if *built.entry != entry {
                built.entry = Arc::new(entry);
            }
            (built.about, built.connected, built.stopped) = (about, connected, stopped);
        }
        // A place in memory is not given to another second while it is pointed to.
        if built.latest.as_ptr() != Arc::as_ptr(latest) || (full && !built.full) {
            built.row = row_of(&mut built.reader, latest, full);
            (built.latest, built.full) = (Arc::downgrade(latest), full);
        }
    }

    /// Puts what was built into the table. Returns how many rows found no room.
    pub(super) fn merge(&mut self, table: &mut Table, source: Source, now: u32) -> usize {
        let mut left_out = 0;
        for built in self.nodes.values_mut() {
            left_out += usize::from(!table.merge(source, &built.entry, &built.row, now, &mut built.hint));
        }
        left_out
    }
}

/// Entry and row of one node, for an answer about it alone.
pub(super) fn of_one(node: &IngestNode, aggregator: &NodeId) -> Option<(Entry, Row)> {
    let latest = node.latest()?;
    let (connected, stopped) = node.presence();
    let entry = entry_of(node, &node.about(), connected.then_some(aggregator), stopped);
    Some((entry, row_of(&mut RowReader::default(), &latest, true)))
}

fn entry_of(node: &IngestNode, about: &About, aggregator: Option<&NodeId>, stopped: bool) -> Entry {
    Entry {
        id: node.id.clone(),
        labels: about.labels.clone(),
        aggregator: aggregator.cloned(),
        simulated: about.simulated,
        cores: about.facts.cores,
        stopped,
        collector_faults: about.collector_faults.clone(),
        silent_reason: about.silent_reason.clone(),
        host_name: other_name(&about.facts.host_name, &node.id),
        origin: about.origin.clone(),
    }
}

/// The name of a host, where it says something beside that of its node.
fn other_name(host: &str, node: &NodeId) -> String {
    if host.is_empty() || NodeId::sanitised(host) == *node { String::new() } else { host.to_owned() }
}

fn row_of(reader: &mut RowReader, latest: &Latest, full: bool) -> Row {
    let second = &latest.second;
    if !full {
        return Row::at(second.tick, latest.delay_ms);
    }
    reader.read(second.tick, latest.delay_ms, &[&second.cluster, &second.node])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_a_name_of_its_own_only_when_it_differs_from_that_of_its_node() {
        let node = NodeId::parse("web-1").unwrap();
        assert_eq!([other_name("web-1", &node), other_name("WEB-1", &node), other_name("", &node)], ["", "", ""]);
        assert_eq!(other_name("Web-9.example", &node), "Web-9.example");
    }
}
