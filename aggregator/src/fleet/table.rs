//! The table itself: the newest row of every node of the cluster, with what is asked of it kept at hand. Pure.
//!
//! Rows come from this process and from its peers; the newest second of a node wins. Every change has a revision, so
//! that a reader who remembers the last one it saw is given what changed since (see [`super::delta`]).

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Bound,
    sync::Arc,
};

use starling_proto::{
    group::Group,
    ids::{NodeId, WriterId},
    limits::NODE_FORGOTTEN_AFTER,
    nodes::{self, Entry, Row, SILENT_AFTER},
    v1::{self, NodeState},
};

use super::groups::Groups;

/// Rows kept of all aggregators together; further nodes are left out and counted.
pub(crate) const ROWS_MAX: usize = 100_000;
/// A row further ahead of our clock than this is not believed.
const AHEAD_MAX: u32 = 60;
/// Where a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The process that published the newest row of it.
    pub(crate) writer: WriterId,
    /// The name it gave for the aggregator that holds the stream; empty when none does.
    pub(crate) aggregator_id: String,
}

/// Who publishes rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Source {
    /// The process.
    pub(super) writer: WriterId,
    /// It is this one.
    pub(super) own: bool,
}

/// The row that won.
#[derive(Debug)]
pub(super) struct Held {
    /// As its source says.
    published: Arc<Entry>,
    /// As it is shown: without the aggregator when the source is gone.
    pub(super) entry: Arc<Entry>,
    pub(super) row: Row,
    source: Source,
    /// Of [`Groups::join`].
    groups: Vec<u32>,
    row_changed: u64,
    /// Our own second at which its row last changed.
    heard: u32,
}

/// A number. When no node has it, readers who knew the last one hear of it.
#[derive(Debug, Default)]
pub(super) struct Slot {
    pub(super) held: Option<Held>,
    /// When the node, or who it is, last changed.
    pub(super) entry_changed: u64,
}

impl Slot {
    /// When anything of it last changed.
    pub(super) fn changed(&self) -> u64 {
        self.held.as_ref().map_or(0, |held| held.row_changed).max(self.entry_changed)
    }
}

/// Which nodes a reader wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Filter {
    /// Those of a group; [`Group::cluster`] for all.
    Group(Group),
    /// Those whose newest row is this process's own.
    Own,
}

impl Filter {
    pub(super) fn holds(&self, held: &Held) -> bool {
        match self {
            Self::Group(group) => group.holds(&held.entry.labels),
            Self::Own => held.source.own,
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Table {
    slots: Vec<Slot>,
    free: Vec<u32>,
    names: BTreeMap<NodeId, u32>,
    groups: Groups,
    /// Processes whose streams are believed to be held.
    live: BTreeSet<WriterId>,
    revision: u64,
    most: usize,
}

/// One page of rows.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Page {
    /// Rows by name.
    pub(crate) rows: Vec<v1::NodeRow>,
    /// Name of the last row when there are more.
    pub(crate) last: Option<NodeId>,
    /// Nodes on all pages.
    pub(crate) total: u32,
    /// Of those, the ones that report.
    pub(crate) reporting: u32,
    /// Of those, the ones that report or are silent.
    pub(crate) expected: u32,
}

impl Table {
    /// An empty table whose groups are the values of the labels `group_by`.
    pub(super) fn new(group_by: Vec<String>, most: usize) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            names: BTreeMap::new(),
            groups: Groups::new(group_by),
            live: BTreeSet::new(),
            revision: 0,
            most,
        }
    }

    /// State after the last change.
    pub(super) const fn revision(&self) -> u64 {
        self.revision
    }

    /// All numbers.
    pub(super) fn slots(&self) -> impl Iterator<Item = (u32, &Slot)> {
        (0..).zip(&self.slots)
    }

    /// Begins a set of changes: they have one revision.
    pub(super) fn begin(&mut self) {
        self.revision += 1;
    }

    /// Takes in a row. `hint` is where it was last time, kept by the caller. Returns false when the table is full.
    pub(super) fn merge(&mut self, source: Source, entry: &Arc<Entry>, row: &Row, now: u32, hint: &mut u32) -> bool {
        if row.tick == 0 || row.tick > now.saturating_add(AHEAD_MAX) || forgotten(row, now) {
            return true;
        }
        let Some(number) = self.find(&entry.id, *hint) else {
            let Some(number) = self.insert(source, entry, row, now) else { return false };
            *hint = number;
            return true;
        };
        *hint = number;
        let shown = self.shown(source, entry);
        let Some(held) = self.slots[number as usize].held.as_mut() else { return true };
        if held.source != source && !wins((source, row, entry), held) {
            return true;
        }
        if held.row != *row {
            held.row = *row;
            (held.row_changed, held.heard) = (self.revision, now);
        }
        if held.source == source && (Arc::ptr_eq(&held.published, entry) || held.published == *entry) {
            return true;
        }
        let (moved, regrouped) = (held.source.own != source.own, held.entry.labels != shown.labels);
        let (changed, stopped) = (moved || held.entry != shown, held.entry.stopped != shown.stopped);
        (held.published, held.source) = (entry.clone(), source);
        if regrouped || stopped {
            self.leave(number);
            self.join(number, &shown);
        }
        let slot = &mut self.slots[number as usize];
        if changed {
            slot.entry_changed = self.revision;
        }
        if let Some(held) = &mut slot.held {
            held.entry = shown;
        }
        true
    }

    /// The number of a node, looked for at `hint` first.
    fn find(&self, id: &NodeId, hint: u32) -> Option<u32> {
        let at_hint = self.slots.get(hint as usize).and_then(|slot| slot.held.as_ref());
        if at_hint.is_some_and(|held| held.published.id == *id) {
            return Some(hint);
        }
        self.names.get(id).copied()
    }

    fn insert(&mut self, source: Source, entry: &Arc<Entry>, row: &Row, now: u32) -> Option<u32> {
        if self.names.len() >= self.most {
            return None;
        }
        let number = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() as u32 - 1
        });
        let shown = self.shown(source, entry);
        self.names.insert(entry.id.clone(), number);
        self.slots[number as usize] = Slot {
            held: Some(Held {
                published: entry.clone(),
                entry: shown.clone(),
                row: *row,
                source,
                groups: Vec::new(),
                row_changed: self.revision,
                heard: now,
            }),
            entry_changed: self.revision,
        };
        self.join(number, &shown);
        Some(number)
    }

    fn shown(&self, source: Source, entry: &Arc<Entry>) -> Arc<Entry> {
        if entry.aggregator.is_none() || source.own || self.live.contains(&source.writer) {
            return entry.clone();
        }
        Arc::new(Entry { aggregator: None, ..Entry::clone(entry) })
    }

    /// Says whose streams are believed to be held. Rows of others are shown without an aggregator.
    pub(super) fn set_live(&mut self, live: BTreeSet<WriterId>) {
        if self.live == live {
            return;
        }
        self.live = live;
        for number in 0..self.slots.len() {
            let Some(held) = &self.slots[number].held else { continue };
            let shown = self.shown(held.source, &held.published);
            let slot = &mut self.slots[number];
            if let Some(held) = slot.held.as_mut().filter(|held| held.entry.aggregator != shown.aggregator) {
                held.entry = shown;
                slot.entry_changed = self.revision;
            }
        }
    }

    /// Forgets nodes that were not seen for long.
    pub(super) fn prune(&mut self, now: u32) {
        for number in 0..self.slots.len() as u32 {
            let slot = &self.slots[number as usize];
            if slot.held.as_ref().is_some_and(|held| forgotten(&held.row, now)) {
                self.leave(number);
                let slot = &mut self.slots[number as usize];
                slot.entry_changed = self.revision;
                if let Some(held) = slot.held.take() {
                    self.names.remove(&held.entry.id);
                    self.free.push(number);
                }
            }
        }
    }

    fn join(&mut self, number: u32, entry: &Entry) {
        let groups = self.groups.join(number, entry);
        if let Some(held) = &mut self.slots[number as usize].held {
            held.groups = groups;
        }
    }

    fn leave(&mut self, number: u32) {
        if let Some(held) = &mut self.slots[number as usize].held {
            self.groups.leave(number, std::mem::take(&mut held.groups));
        }
    }

    fn held(&self, number: u32) -> Option<&Held> {
        self.slots.get(number as usize)?.held.as_ref()
    }

    /// Whether `node` is known to be in `group`.
    pub(super) fn is_in(&self, node: &NodeId, group: &Group) -> bool {
        let number = self.names.get(node);
        number.and_then(|&number| self.held(number)).is_some_and(|held| group.holds(&held.entry.labels))
    }

    /// Nodes of `group` that are expected at second `tick`: seen lately, and not stopped before.
    pub(super) fn expected(&self, group: &Group, tick: u32) -> u32 {
        let then = |number| self.held(number).is_some_and(|held| held.row.tick >= tick);
        count(self.groups.expected(group, then))
    }

    /// The nodes of `group` whose newest second is `from` or later, by name.
    pub(super) fn known(&self, group: &Group, from: u32) -> Vec<NodeId> {
        let wanted = |held: &Held| held.row.tick >= from && group.holds(&held.entry.labels);
        let known = self.names.iter().filter(|(_, number)| self.held(**number).is_some_and(wanted));
        known.map(|(node, _)| node.clone()).collect()
    }

    /// The values of label `key` among all nodes, as groups ("label:value"), sorted. Only of labels that nodes are
    /// grouped by.
    pub(super) fn groups_of(&self, key: &str) -> Vec<String> {
        self.groups.of_label(key)
    }

    /// Every group that has a node, sorted.
    pub(super) fn groups(&self) -> Vec<Group> {
        self.groups.all()
    }

    /// The operator's labels of every node.
    pub(super) fn labels(&self) -> BTreeMap<NodeId, Vec<(String, String)>> {
        let held = self.names.iter().filter_map(|(node, number)| Some((node, self.held(*number)?)));
        let labels = |held: &Held| held.entry.labels.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        held.map(|(node, held)| (node.clone(), labels(held))).collect()
    }

    /// How many of `nodes` are in each group, without the whole cluster and groups of none.
    pub(super) fn by_group(&self, nodes: &[NodeId]) -> HashMap<Group, u32> {
        let mut counts = HashMap::<u32, u32>::new();
        for held in nodes.iter().filter_map(|node| self.held(*self.names.get(node)?)) {
            held.groups.iter().for_each(|place| *counts.entry(*place).or_default() += 1);
        }
        let named = counts.into_iter().filter_map(|(place, count)| Some((self.groups.at(place)?.clone(), count)));
        named.filter(|(group, _)| !group.is_cluster()).collect()
    }

    /// The operator's labels of a node; none of one that is not known.
    pub(super) fn labels_of(&self, node: &NodeId) -> Vec<(String, String)> {
        let held = self.names.get(node).and_then(|&number| self.held(number));
        held.into_iter().flat_map(|held| &held.entry.labels).map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    /// Whether some node is in `group`.
    pub(super) fn has_group(&self, group: &Group) -> bool {
        self.groups.contains(group)
    }

    /// Where `node` is; `None` when it was not seen lately.
    pub(super) fn place(&self, node: &NodeId) -> Option<Place> {
        let held = self.held(*self.names.get(node)?)?;
        let aggregator_id = held.published.aggregator.as_ref().map_or_else(String::new, ToString::to_string);
        Some(Place { writer: held.source.writer, aggregator_id })
    }

    /// From where the stream of `node` comes that another aggregator holds, if it reported within `alive_for` seconds
    /// before `now`.
    pub(super) fn held_elsewhere(&self, node: &NodeId, now: u32, alive_for: u32) -> Option<Arc<Entry>> {
        let held = self.held(*self.names.get(node)?)?;
        let alive = !held.source.own && held.heard.saturating_add(alive_for) > now;
        (alive && held.entry.aggregator.is_some()).then(|| held.entry.clone())
    }

    /// Names that look like `node`, for an error message, and how many nodes there are.
    pub(super) fn similar(&self, node: &str) -> (Vec<String>, usize) {
        let close = |name: &&NodeId| {
            let name = name.as_str();
            let same_start = name.get(..3).is_some_and(|start| node.starts_with(start));
            !node.is_empty() && (name.contains(node) || node.contains(name) || same_start)
        };
        (self.names.keys().filter(close).take(3).map(ToString::to_string).collect(), self.names.len())
    }

    /// Of the nodes of `group` at second `tick`: all, those that report, and those that report or are silent.
    pub(super) fn count(&self, group: &Group, tick: u32) -> (u32, u32, u32) {
        let (mut total, mut reporting, mut expected) = (0, 0, 0);
        for held in
            self.slots.iter().filter_map(|slot| slot.held.as_ref()).filter(|held| group.holds(&held.entry.labels))
        {
            total += 1;
            let state = nodes::state(&held.entry, &held.row, tick);
            reporting += u32::from(state == NodeState::Reporting);
            expected += u32::from(state != NodeState::Stopped);
        }
        (total, reporting, expected)
    }

    /// At most `most` rows of `group` by name, from behind `after` on, as they are at second `tick`. Ends early
    /// before the rows exceed `bytes`, but never without one.
    pub(super) fn page(&self, group: &Group, after: Option<&NodeId>, most: usize, bytes: usize, tick: u32) -> Page {
        use prost::Message as _;
        let (total, reporting, expected) = self.count(group, tick);
        let mut page = Page { total, reporting, expected, ..Page::default() };
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut left = bytes;
        for (id, number) in self.names.range::<NodeId, _>((from, Bound::Unbounded)) {
            let Some(held) = &self.slots[*number as usize].held else { continue };
            if !group.holds(&held.entry.labels) {
                continue;
            }
            let row = wire_row(&held.entry, &held.row, tick);
            // Key and length of the field take at most 6 bytes.
            let size = row.encoded_len() + 6;
            if page.rows.len() >= most || (size > left && !page.rows.is_empty()) {
                break;
            }
            left = left.saturating_sub(size);
            page.last = Some(id.clone());
            page.rows.push(row);
        }
        if page.rows.len() < total as usize && self.more_after(group, page.last.as_ref()) {
            return page;
        }
        page.last = None;
        page
    }

    fn more_after(&self, group: &Group, last: Option<&NodeId>) -> bool {
        let from = last.map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest = self.names.range::<NodeId, _>((from, Bound::Unbounded)).map(|(_, number)| *number);
        rest.any(|number| self.held(number).is_some_and(|held| group.holds(&held.entry.labels)))
    }
}

/// Whether a node with this row has been silent for so long that it goes.
fn forgotten(row: &Row, now: u32) -> bool {
    row.tick.saturating_add(NODE_FORGOTTEN_AFTER) < now
}

/// The row of a node that moved: the one with the newer second, of equal ones that with a stream. A stream that is open
/// here and not silent is not outdone by another one of the same name: peers must hear of both.
fn wins((source, row, entry): (Source, &Row, &Entry), held: &Held) -> bool {
    let (here, was_here) = (source.own, held.source.own && held.published.aggregator.is_some());
    if here && entry.aggregator.is_some() && row.tick.saturating_add(SILENT_AFTER) >= held.row.tick {
        return true;
    }
    if was_here && held.row.tick.saturating_add(SILENT_AFTER) >= row.tick {
        return false;
    }
    (row.tick, entry.aggregator.is_some()) > (held.row.tick, held.published.aggregator.is_some())
}

/// A row as people are shown it.
pub(super) fn wire_row(entry: &Entry, row: &Row, tick: u32) -> v1::NodeRow {
    use starling_proto::nodes::Measure::{Connections, Cpu, Errors, Load1, Memory, P99, Requests};
    let core = |(core, utilization)| v1::CoreUtilization {
        node_id: String::new(),
        core: Some(core),
        utilization_ratio: Some(utilization),
    };
    v1::NodeRow {
        node_id: entry.id.to_string(),
        state: nodes::state(entry, row, tick).into(),
        last_tick: row.tick,
        aggregator_id: entry.aggregator.as_ref().map_or_else(String::new, ToString::to_string),
        labels: entry.labels.clone().into_iter().collect(),
        simulated: entry.simulated,
        cpu_utilization_ratio: row.value(Cpu),
        memory_used_ratio: row.value(Memory),
        requests_per_second: row.value(Requests),
        errors_per_second: row.value(Errors),
        p99_micros: row.value(P99),
        load1: row.value(Load1),
        connections: row.value(Connections),
        cores: entry.cores,
        busiest: row.busiest().map(core).collect(),
        delay_ms: row.delay_ms,
        collector_faults: entry.collector_faults.clone(),
        silent_reason: if nodes::state(entry, row, tick) == NodeState::Silent {
            entry.silent_reason.clone()
        } else {
            String::new()
        },
        address: if entry.aggregator.is_some() { entry.origin.address.clone() } else { String::new() },
        name_clash: None,
        host_name: entry.host_name.clone(),
    }
}

fn count(nodes: usize) -> u32 {
    u32::try_from(nodes).unwrap_or(u32::MAX)
}
