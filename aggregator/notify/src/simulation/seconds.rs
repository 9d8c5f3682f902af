//! What nodes report, and how an aggregator reads it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use starling_alerts::{ReadGroup, Sources, Stream, Values};
use starling_proto::{catalogue::Statistic, group::Group, histogram::Histogram, ids::NodeId};

use super::{Cause, Schedule, T0};

pub(super) fn node_name(node: usize) -> String {
    format!("node-{node}")
}

pub(super) fn zone_name(zone: usize) -> String {
    format!("zone:{zone}")
}

/// The zone of a node.
pub(super) const fn zone_of(node: usize) -> usize {
    node % 2
}

pub(super) fn node_of(id: &NodeId) -> Option<usize> {
    id.as_str().strip_prefix("node-")?.parse().ok()
}

impl Schedule {
    /// Whether a cause is bad in second `tick`.
    pub(super) fn is_bad(&self, cause: Cause, tick: u32) -> bool {
        let mut spans = self.bad.iter().filter(|(other, _)| *other == cause);
        spans.any(|(_, span)| (T0 + span.from..T0 + span.end()).contains(&tick))
    }

    fn value(&self, cause: Cause, tick: u32) -> f64 {
        if self.is_bad(cause, tick) { 5.0 } else { 0.5 }
    }
}

/// Values by name.
pub(super) struct Given(Vec<(&'static str, f64)>);

impl Given {
    fn of_node(schedule: &Schedule, node: usize, tick: u32) -> Self {
        let of = |cause| schedule.value(cause, tick);
        Self(vec![
            ("system.cpu.utilization", of(Cause::Busy(node))),
            ("system.memory.utilization", of(Cause::Slow(node))),
        ])
    }

    /// The cluster, of which some node reported.
    pub(super) fn of_cluster(schedule: &Schedule, held: bool, tick: u32) -> Self {
        let of = |cause| schedule.value(cause, tick);
        let all = vec![("traffic.errors", of(Cause::Errors)), ("traffic.requests", of(Cause::Load))];
        Self(if held { all } else { Vec::new() })
    }
}

impl Values for Given {
    fn statistic(&self, name: &str, _: &[(&str, &str)], statistic: Statistic) -> Option<f64> {
        match statistic {
            Statistic::Nodes => Some(1.0),
            _ => self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| *value),
        }
    }

    fn histogram(&self, _: &str, _: &[(&str, &str)]) -> Option<Histogram> {
        None
    }

    fn nodes_above(&self, _: &str, _: &[(&str, &str)], _: f64) -> Option<f64> {
        None
    }

    fn attributes(&self, _: &str, _: &[String]) -> Vec<Vec<String>> {
        vec![Vec::new()]
    }

    fn fact(&self, _: &str) -> Option<f64> {
        None
    }
}

/// What an aggregator holds of what nodes reported.
#[derive(Default)]
pub(super) struct Frames {
    /// The nodes of each second.
    seconds: BTreeMap<u32, BTreeSet<usize>>,
    /// The last second of each node.
    pub(super) last: BTreeMap<usize, u32>,
}

impl Frames {
    pub(super) fn take(&mut self, node: usize, tick: u32) {
        self.seconds.entry(tick).or_default().insert(node);
        let last = self.last.entry(node).or_default();
        *last = tick.max(*last);
        while self.seconds.len() > 60 {
            self.seconds.pop_first();
        }
    }

    pub(super) fn of(&self, tick: u32) -> BTreeSet<usize> {
        self.seconds.get(&tick).cloned().unwrap_or_default()
    }
}

/// What an aggregator knows beside the second of the cluster.
pub(super) struct Around<'a> {
    pub(super) schedule: &'a Schedule,
    pub(super) tick: u32,
    pub(super) frames: &'a Frames,
    /// Nodes whose stream is open here.
    pub(super) streams: BTreeSet<usize>,
    /// Nodes without one that are judged here.
    pub(super) cares: BTreeSet<usize>,
}

impl Sources for Around<'_> {
    type Latest = (usize, u32);

    fn stream(&self, node: &NodeId) -> Stream<(usize, u32)> {
        let node = node_of(node).unwrap();
        let connected = self.streams.contains(&node);
        let last = self.frames.last.get(&node).copied().filter(|_| connected);
        Stream { connected, latest: last.map(|tick| (tick, (node, tick))) }
    }

    fn takes_care(&self, node: &NodeId) -> bool {
        self.cares.contains(&node_of(node).unwrap())
    }

    fn facts(&self, _: &NodeId) -> BTreeMap<&'static str, f64> {
        BTreeMap::new()
    }

    fn read(&self, (node, tick): &(usize, u32), read: &mut dyn FnMut(&dyn Values)) {
        read(&Given::of_node(self.schedule, *node, *tick));
    }

    fn by_group(&self, _: &[NodeId]) -> HashMap<Group, u32> {
        HashMap::new()
    }

    fn groups(&self) -> Vec<Group> {
        let zones: BTreeSet<usize> = self.frames.last.keys().map(|node| zone_of(*node)).collect();
        zones.into_iter().map(|zone| Group::parse(&zone_name(zone)).unwrap()).collect()
    }

    fn read_group(&self, group: &Group, _: u32, read: &mut ReadGroup<'_>) {
        let zone = (0..2).find(|zone| zone_name(*zone) == group.name()).unwrap();
        let nodes = self.frames.of(self.tick).into_iter().filter(|node| zone_of(*node) == zone).count() as u32;
        let values = vec![("traffic.errors", self.schedule.value(Cause::Zone(zone), self.tick))];
        read(&Given(if nodes > 0 { values } else { Vec::new() }), (nodes, 2));
    }
}
