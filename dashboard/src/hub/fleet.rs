//! The table of nodes: its dictionary and its medians.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use starling_proto::{
    nodes::{Entry, Measure, Mirror, Most, Row, UpdateError, state},
    v1::{self, NodeState},
};

/// Nodes of a table: as many as an aggregator keeps.
const NODES_MAX: usize = 100_000;
/// Bytes of names and labels: 100,000 nodes of 16 short labels each.
const TEXT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Nodes a median needs: of two nodes it is neither.
const MEDIAN_NODES_MIN: usize = 3;

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

/// One node at the second of the table.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Host {
    entry: Arc<Entry>,
    row: Row,
    state: NodeState,
    /// Another machine calls itself so.
    clash: Option<Box<v1::NameClash>>,
}

impl Host {
    /// Of a row as people are shown it; `None` when its name is none.
    pub(crate) fn of(row: &v1::NodeRow) -> Option<Self> {
        let named = v1::NodeEntry {
            node_id: row.node_id.clone(),
            labels: row.labels.clone(),
            aggregator_id: row.aggregator_id.clone(),
            simulated: row.simulated,
            cores: row.cores,
            stopped: row.state() == NodeState::Stopped,
            collector_faults: row.collector_faults.clone(),
            silent_reason: row.silent_reason.clone(),
            host_name: row.host_name.clone(),
            origin: Some(v1::NodeOrigin { address: row.address.clone(), ..Default::default() }),
            ..v1::NodeEntry::default()
        };
        let (entry, _) = Entry::from_wire(&named).ok()?;
        let mut measured = Row::at(row.last_tick, row.delay_ms);
        for (measure, value) in [
            (Measure::Cpu, row.cpu_utilization_ratio),
            (Measure::Memory, row.memory_used_ratio),
            (Measure::Requests, row.requests_per_second),
            (Measure::Errors, row.errors_per_second),
            (Measure::P99, row.p99_micros),
            (Measure::Load1, row.load1),
            (Measure::Connections, row.connections),
        ] {
            measured.set(measure, value);
        }
        let clash = row.name_clash.clone().map(Box::new);
        Some(Self { entry: entry.into(), row: measured, state: row.state(), clash })
    }

    /// Name, labels and facts.
    pub(crate) fn entry(&self) -> &Entry {
        &self.entry
    }

    /// Its name.
    pub(crate) fn id(&self) -> &str {
        self.entry.id.as_str()
    }

    /// Operator's labels.
    pub(crate) fn labels(&self) -> &BTreeMap<String, String> {
        &self.entry.labels
    }

    /// Name of the aggregator that holds its stream; empty when none does.
    pub(crate) fn aggregator(&self) -> &str {
        self.entry.aggregator.as_ref().map_or("", |name| name.as_str())
    }

    /// How it is doing.
    pub(crate) fn state(&self) -> NodeState {
        self.state
    }

    /// Its latest second, Unix seconds.
    pub(crate) fn last_tick(&self) -> u32 {
        self.row.tick
    }

    /// Milliseconds from the end of that second to the arrival of its frame; 0 when unknown.
    pub(crate) fn delay_ms(&self) -> u32 {
        self.row.delay_ms
    }

    /// A number of that second.
    pub(crate) fn value(&self, measure: Measure) -> Option<f64> {
        self.row.value(measure)
    }

    /// Another machine that calls itself by its name.
    pub(crate) fn clash(&self) -> Option<&v1::NameClash> {
        self.clash.as_deref()
    }
}

/// All nodes at one second.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Table {
    /// Unix seconds.
    pub(crate) tick: u32,
    /// Sorted by name.
    pub(crate) hosts: Vec<Host>,
    /// How many report, by the aggregator.
    pub(crate) completeness: Option<v1::Completeness>,
}

/// The table as it is followed.
#[derive(Debug)]
pub(crate) struct ShownFleet {
    mirror: Mirror,
    /// Shared with answers that are being written; copied only when one of them is when a second comes.
    table: Option<Arc<Table>>,
    /// By the aggregator's number of a node: its place in the table.
    places: Vec<u32>,
    dictionary_version: u32,
}

impl Default for ShownFleet {
    fn default() -> Self {
        let mirror = Mirror::new(Most { nodes: NODES_MAX, bytes: TEXT_BYTES_MAX });
        Self { mirror, table: None, places: Vec::new(), dictionary_version: 0 }
    }
}

impl ShownFleet {
    /// Takes in the messages of one update. Returns false when nothing came of it: not even a new second.
    ///
    /// # Errors
    /// [`UpdateError`] when everything has to be sent again.
    pub(crate) fn apply(&mut self, parts: &[v1::NodesUpdate]) -> Result<bool, UpdateError> {
        let (mut dictionary, mut rows) = (false, Vec::new());
        for part in parts {
            let applied = self.mirror.apply(part).inspect_err(|_| self.forget())?;
            dictionary |= applied.reset || !applied.entries.is_empty() || !applied.removed.is_empty();
            rows.extend(applied.rows);
        }
        let Some(last) = parts.last() else { return Ok(false) };
        let known = self.table.as_ref().map_or(0, |table| table.tick);
        if !dictionary && rows.is_empty() && last.tick <= known && self.table.is_some() {
            return Ok(false);
        }
        let mut table = self.table.take().unwrap_or_default();
        // Copies the rows, not what they point to, and only while somebody reads them.
        let now = Arc::make_mut(&mut table);
        if dictionary {
            self.rebuild(now);
        } else {
            for number in rows {
                let place = self.places.get(number as usize).and_then(|place| now.hosts.get_mut(*place as usize));
                if let (Some(host), Some(node)) = (place, self.mirror.node(number)) {
                    host.row = node.row;
                }
            }
        }
        // Another aggregator may be a second behind the one before it.
        now.tick = now.tick.max(last.tick);
        now.completeness.clone_from(&last.completeness);
        let clashes: HashMap<&str, &v1::NameClash> =
            last.name_clashes.iter().map(|clash| (clash.node_id.as_str(), clash)).collect();
        for host in &mut now.hosts {
            // Seldom there is any; what is not told again is over.
            if host.clash.is_some() || !clashes.is_empty() {
                host.clash = clashes.get(host.id()).map(|clash| Box::new((*clash).clone()));
            }
            host.state = state(&host.entry, &host.row, now.tick);
        }
        self.table = Some(table);
        Ok(true)
    }

    /// Asks for everything when the stream begins next. What is shown stays until it comes.
    fn forget(&mut self) {
        self.mirror = Self::default().mirror;
    }

    /// What to ask the aggregator for: generation and revision.
    pub(crate) fn position(&self) -> (u64, u64) {
        self.mirror.position()
    }

    /// The nodes by name, after some came, went, or changed who they are.
    fn rebuild(&mut self, table: &mut Table) {
        let before = std::mem::take(&mut table.hosts);
        // A node that has sent nothing yet is not shown.
        let mut nodes: Vec<_> = self.mirror.nodes().filter(|(_, node)| node.row.tick != 0).collect();
        nodes.sort_unstable_by(|(_, a), (_, b)| a.entry.id.cmp(&b.entry.id));
        nodes.dedup_by(|(_, a), (_, b)| a.entry.id == b.entry.id);
        self.places.clear();
        table.hosts.reserve(nodes.len());
        for (place, (number, node)) in (0..).zip(nodes) {
            let number = number as usize;
            if self.places.len() <= number {
                self.places.resize(number + 1, u32::MAX);
            }
            self.places[number] = place;
            let entry = node.entry.clone();
            table.hosts.push(Host { entry, row: node.row, state: NodeState::Silent, clash: None });
        }
        let same = |(a, b): (&Host, &Host)| Arc::ptr_eq(&a.entry, &b.entry) || a.entry.same_dictionary(&b.entry);
        if before.len() != table.hosts.len() || !before.iter().zip(&table.hosts).all(same) || before.is_empty() {
            self.dictionary_version += 1;
        }
    }

    /// The table, once there is one.
    pub(crate) fn table(&self) -> Option<&Arc<Table>> {
        self.table.as_ref()
    }

    /// All nodes, sorted by name.
    pub(crate) fn hosts(&self) -> &[Host] {
        self.table.as_deref().map_or(&[], |table| &table.hosts)
    }

    /// Rises when names, labels or the set of nodes change.
    pub(crate) fn dictionary_version(&self) -> u32 {
        self.dictionary_version
    }

    /// A node by its name.
    pub(crate) fn host(&self, node: &str) -> Option<&Host> {
        self.place(node).and_then(|place| self.hosts().get(place))
    }

    /// Names before and after a node; empty at the ends.
    pub(crate) fn neighbours(&self, node: &str) -> (String, String) {
        let name = |place: Option<usize>| {
            place.and_then(|place| self.hosts().get(place)).map_or_else(String::new, |host| host.id().to_owned())
        };
        match self.place(node) {
            Some(place) => (name(place.checked_sub(1)), name(place.checked_add(1))),
            None => Default::default(),
        }
    }

    fn place(&self, node: &str) -> Option<usize> {
        self.hosts().binary_search_by(|host| host.id().cmp(node)).ok()
    }

    /// Medians over the reporting nodes; `None` with fewer than three.
    pub(crate) fn medians(&self) -> Option<Medians> {
        let hosts: Vec<_> = self.hosts().iter().filter(|host| host.state == NodeState::Reporting).collect();
        let of = |measure| median(hosts.iter().filter_map(|host| host.value(measure)).collect());
        (hosts.len() >= MEDIAN_NODES_MIN).then(|| Medians {
            cpu: of(Measure::Cpu),
            memory: of(Measure::Memory),
            requests_per_second: of(Measure::Requests),
            errors_per_second: of(Measure::Errors),
            p99_micros: of(Measure::P99),
            connections: of(Measure::Connections),
        })
    }
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
    use starling_testkit::update;

    use super::*;

    fn row(name: &str, cpu: f64) -> v1::NodeRow {
        v1::NodeRow {
            node_id: name.into(),
            state: NodeState::Reporting.into(),
            cpu_utilization_ratio: Some(cpu),
            ..Default::default()
        }
    }

    fn table(tick: u32, nodes: Vec<v1::NodeRow>) -> [v1::NodesUpdate; 1] {
        [update(&v1::NodeTable { tick, nodes, ..Default::default() })]
    }

    #[test]
    fn the_dictionary_rises_only_with_names_and_labels() {
        let mut fleet = ShownFleet::default();
        assert_eq!(fleet.apply(&table(1, vec![row("b", 0.1), row("a", 0.1)])), Ok(true));
        assert_eq!(fleet.hosts()[0].id(), "a");
        assert_eq!(fleet.dictionary_version(), 1);
        assert_eq!(fleet.apply(&table(2, vec![row("a", 0.9), row("b", 0.2)])), Ok(true));
        assert_eq!(fleet.dictionary_version(), 1);
        let mut moved = row("b", 0.2);
        moved.aggregator_id = "two".into();
        assert_eq!(fleet.apply(&table(3, vec![row("a", 0.9), moved])), Ok(true));
        assert_eq!((fleet.dictionary_version(), fleet.host("b").unwrap().aggregator()), (1, "two"));
        let mut labelled = row("a", 0.9);
        labelled.labels.insert("zone".into(), "z".into());
        fleet.apply(&table(4, vec![labelled, row("b", 0.2)])).unwrap();
        assert_eq!(fleet.dictionary_version(), 2);
    }

    #[test]
    fn a_second_of_numbers_touches_no_name() {
        let mut fleet = ShownFleet::default();
        fleet.apply(&table(10, vec![row("b", 0.1), row("a", 0.1), row("c", 0.3)])).unwrap();
        let [whole] = table(11, vec![row("b", 0.7), row("a", 0.6), row("c", 0.5)]);
        let mut next = v1::NodesUpdate { reset: false, entries: Vec::new(), ..whole };
        // One of the three is silent: it is not in the columns.
        if let Some(columns) = &mut next.columns {
            columns.numbers.pop();
            columns.ages.pop();
            columns.delays_ms.pop();
            columns.cpu.pop();
        }
        let reading = fleet.table().cloned().unwrap();
        assert_eq!(fleet.apply(std::slice::from_ref(&next)), Ok(true));
        let cpu = |fleet: &ShownFleet, name| fleet.host(name).unwrap().value(Measure::Cpu);
        assert_eq!((cpu(&fleet, "a"), cpu(&fleet, "b"), cpu(&fleet, "c")), (Some(0.6), Some(0.7), Some(0.3)));
        assert_eq!(reading.hosts[0].value(Measure::Cpu), Some(0.1), "an answer that is being written stays as it was");
        assert_eq!(fleet.apply(&[v1::NodesUpdate { columns: None, ..next.clone() }]), Ok(false), "nothing new");
        for tick in 12..16 {
            assert_eq!(fleet.apply(&[v1::NodesUpdate { tick, columns: None, ..next.clone() }]), Ok(true));
        }
        assert_eq!(fleet.host("a").unwrap().state(), NodeState::Silent);
    }

    #[test]
    fn after_a_gap_everything_is_asked_for_again() {
        let mut fleet = ShownFleet::default();
        let [whole] = table(10, vec![row("a", 0.1)]);
        fleet.apply(std::slice::from_ref(&whole)).unwrap();
        assert_eq!(fleet.position(), (whole.generation, whole.revision));
        let lost = v1::NodesUpdate { generation: whole.generation + 1, reset: false, ..whole.clone() };
        assert!(fleet.apply(&[lost]).is_err());
        assert_eq!((fleet.position(), fleet.hosts().len()), ((0, 0), 1), "what is shown stays");
        // From an aggregator that is a second behind.
        assert_eq!(fleet.apply(&table(9, vec![row("a", 0.4)])), Ok(true));
        assert_eq!((fleet.table().unwrap().tick, fleet.hosts()[0].value(Measure::Cpu)), (10, Some(0.4)));
    }

    #[test]
    fn medians_and_neighbours() {
        let mut fleet = ShownFleet::default();
        fleet.apply(&table(1, vec![row("a", 0.1), row("b", 0.9)])).unwrap();
        assert_eq!(fleet.medians(), None);
        fleet.apply(&table(2, vec![row("a", 0.1), row("b", 0.9), row("c", 0.3), row("d", 0.5)])).unwrap();
        let medians = fleet.medians().unwrap();
        assert_eq!(medians.cpu, Some(0.4));
        assert_eq!(medians.p99_micros, None);
        assert_eq!(fleet.neighbours("a"), (String::new(), "b".into()));
        assert_eq!(fleet.neighbours("d"), ("c".into(), String::new()));
        assert_eq!(fleet.neighbours("x"), Default::default());
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
    }
}
