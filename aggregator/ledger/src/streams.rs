//! Streams and nodes known to this process, by dense local numbers.

use std::collections::HashMap;

use roaring::RoaringBitmap;
use starling_proto::ids::{NodeId, StreamId};

use super::{limits::STREAMS_MAX, types::NodeStatus};

/// A daemon start on one node.
#[derive(Debug)]
struct Stream {
    id: StreamId,
    /// Number of its node.
    node: u32,
    /// First tick seen in a log; `u32::MAX` before.
    first: u32,
    /// Last tick seen in a log.
    last: u32,
    /// Last tick by its own end of stream.
    ended: Option<u32>,
}

#[derive(Debug)]
struct NodeStreams {
    id: NodeId,
    /// Numbers of those that are kept, the newest last.
    streams: Vec<u32>,
}

/// All streams and their nodes. Numbers of forgotten streams are used again, once nothing refers to them.
#[derive(Debug)]
pub(super) struct StreamTable {
    streams: Vec<Option<Stream>>,
    free: Vec<u32>,
    by_id: HashMap<(StreamId, u32), u32>,
    nodes: Vec<Option<NodeStreams>>,
    free_nodes: Vec<u32>,
    by_name: HashMap<NodeId, u32>,
    silent_seconds: u32,
}

impl StreamTable {
    /// `silent_seconds`: how long a silent node stays expected.
    pub(super) fn new(silent_seconds: u32) -> Self {
        Self {
            streams: Vec::new(),
            free: Vec::new(),
            by_id: HashMap::new(),
            nodes: Vec::new(),
            free_nodes: Vec::new(),
            by_name: HashMap::new(),
            silent_seconds,
        }
    }

    /// Number of a stream, a new one if need be; `None` when full.
    pub(super) fn intern(&mut self, node: &NodeId, id: StreamId) -> Option<u32> {
        let known = self.by_name.get(node).copied();
        if let Some(&number) = known.and_then(|node| self.by_id.get(&(id, node))) {
            return Some(number);
        }
        if self.by_id.len() >= STREAMS_MAX {
            return None;
        }
        let node = known.unwrap_or_else(|| {
            let number =
                put(&mut self.nodes, &mut self.free_nodes, NodeStreams { id: node.clone(), streams: Vec::new() });
            self.by_name.insert(node.clone(), number);
            number
        });
        let stream = Stream { id, node, first: u32::MAX, last: 0, ended: None };
        let number = put(&mut self.streams, &mut self.free, stream);
        self.by_id.insert((id, node), number);
        if let Some(Some(node)) = self.nodes.get_mut(node as usize) {
            node.streams.push(number);
        }
        Some(number)
    }

    /// Whether all of `wanted` have a number or can get one.
    ///
    /// # Errors
    /// That they cannot, in words.
    pub(super) fn room_for<'a>(
        &self,
        wanted: impl ExactSizeIterator<Item = (&'a NodeId, StreamId)>,
    ) -> Result<(), String> {
        if self.by_id.len() + wanted.len() <= STREAMS_MAX {
            return Ok(());
        }
        let known = |(node, id): &(&NodeId, StreamId)| {
            self.by_name.get(*node).is_some_and(|&node| self.by_id.contains_key(&(*id, node)))
        };
        let new = wanted.filter(|stream| !known(stream)).count();
        if self.by_id.len() + new <= STREAMS_MAX { Ok(()) } else { Err(format!("more than {STREAMS_MAX} streams")) }
    }

    fn get(&self, stream: u32) -> Option<&Stream> {
        self.streams.get(stream as usize)?.as_ref()
    }

    /// Notes that a log holds a frame of `stream` for `tick`.
    pub(super) fn seen(&mut self, stream: u32, tick: u32) {
        if let Some(Some(stream)) = self.streams.get_mut(stream as usize) {
            stream.first = stream.first.min(tick);
            stream.last = stream.last.max(tick);
        }
    }

    /// Notes that a log holds the end of `stream`.
    pub(super) fn ended(&mut self, stream: u32, last_tick: u32) {
        if let Some(Some(stream)) = self.streams.get_mut(stream as usize) {
            stream.ended = Some(stream.ended.map_or(last_tick, |known| known.max(last_tick)));
        }
    }

    /// Identity of a stream: its node's name and its id.
    pub(super) fn identity(&self, stream: u32) -> Option<(&NodeId, StreamId)> {
        let stream = self.get(stream)?;
        Some((&self.nodes.get(stream.node as usize)?.as_ref()?.id, stream.id))
    }

    /// Nodes with a stream in `reporting`, and nodes expected at `tick`, which includes them.
    ///
    /// A stream is expected from its first tick until it ended, a later stream of its node began, or it was silent
    /// for `silent_seconds`.
    pub(super) fn coverage(&self, tick: u32, reporting: &RoaringBitmap) -> (u32, u32) {
        let (mut nodes_reporting, mut nodes_expected) = (0, 0);
        for node in self.nodes.iter().flatten() {
            let reports = node.streams.iter().any(|&stream| reporting.contains(stream));
            nodes_reporting += u32::from(reports);
            nodes_expected += u32::from(reports || self.is_expected(node, tick));
        }
        (nodes_reporting, nodes_expected)
    }

    fn is_expected(&self, node: &NodeStreams, tick: u32) -> bool {
        // The stream that began last, at or before the tick, speaks for the node.
        let begun = node.streams.iter().filter_map(|&stream| self.get(stream)).filter(|stream| stream.first <= tick);
        begun.max_by_key(|stream| (stream.first, stream.id)).is_some_and(|stream| {
            stream.last.saturating_add(self.silent_seconds) >= tick && stream.ended.is_none_or(|ended| tick <= ended)
        })
    }

    /// Every node with a tick in some log, by name.
    pub(super) fn statuses(&self) -> Vec<NodeStatus> {
        let mut nodes: Vec<_> = self.nodes.iter().flatten().filter_map(|node| self.status(node)).collect();
        nodes.sort_unstable_by(|a, b| a.node.cmp(&b.node));
        nodes
    }

    fn status(&self, node: &NodeStreams) -> Option<NodeStatus> {
        let streams =
            || node.streams.iter().filter_map(|&stream| self.get(stream)).filter(|stream| stream.first != u32::MAX);
        let latest = streams().max_by_key(|stream| (stream.first, stream.id))?;
        Some(NodeStatus {
            node: node.id.clone(),
            first_tick: streams().map(|stream| stream.first).min()?,
            last_tick: streams().map(|stream| stream.last).max()?,
            ended: latest.ended.is_some_and(|ended| latest.last <= ended),
        })
    }

    /// Forgets streams that are not `needed` and were last seen so long before `floor` that no tick kept expects
    /// their node because of them.
    pub(super) fn forget(&mut self, floor: u32, needed: &RoaringBitmap) {
        for number in 0..self.streams.len() as u32 {
            let slot = &mut self.streams[number as usize];
            let expired = |stream: &Stream| stream.last.saturating_add(self.silent_seconds) < floor;
            if needed.contains(number) || !slot.as_ref().is_some_and(expired) {
                continue;
            }
            let Some(stream) = slot.take() else { continue };
            self.free.push(number);
            self.by_id.remove(&(stream.id, stream.node));
            let Some(place) = self.nodes.get_mut(stream.node as usize) else { continue };
            let Some(node) = place else { continue };
            node.streams.retain(|&other| other != number);
            if node.streams.is_empty() {
                self.by_name.remove(&node.id);
                *place = None;
                self.free_nodes.push(stream.node);
            }
        }
    }

    /// Streams known.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }
}

/// Puts `value` in a free place or a new one.
fn put<T>(places: &mut Vec<Option<T>>, free: &mut Vec<u32>, value: T) -> u32 {
    if let Some(number) = free.pop() {
        places[number as usize] = Some(value);
        return number;
    }
    places.push(Some(value));
    places.len() as u32 - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> NodeId {
        NodeId::parse(name).unwrap()
    }

    #[test]
    fn a_node_is_expected_until_it_ends_or_falls_silent() {
        let mut table = StreamTable::new(900);
        let stream = table.intern(&node("a"), StreamId::new([1; 16])).unwrap();
        let none = RoaringBitmap::new();
        assert_eq!(table.coverage(100, &none), (0, 0));
        table.seen(stream, 100);
        table.seen(stream, 110);
        assert_eq!(table.coverage(99, &none), (0, 0));
        assert_eq!(table.coverage(105, &none), (0, 1));
        assert_eq!(table.coverage(1010, &none), (0, 1));
        assert_eq!(table.coverage(1011, &none), (0, 0));
        table.ended(stream, 110);
        assert_eq!(table.coverage(110, &none), (0, 1));
        assert_eq!(table.coverage(111, &none), (0, 0));
    }

    #[test]
    fn a_restarted_node_is_one_node() {
        let mut table = StreamTable::new(900);
        let first = table.intern(&node("a"), StreamId::new([1; 16])).unwrap();
        let second = table.intern(&node("a"), StreamId::new([2; 16])).unwrap();
        assert_eq!(table.intern(&node("a"), StreamId::new([1; 16])), Some(first));
        table.seen(first, 100);
        table.seen(second, 105);
        table.ended(second, 110);
        // Both report: one node. After the end of stream of the second nothing of the first keeps the node expected.
        assert_eq!(table.coverage(105, &RoaringBitmap::from_iter([first, second])), (1, 1));
        assert_eq!(table.coverage(111, &RoaringBitmap::new()), (0, 0));
        assert_eq!(table.statuses().len(), 1);
    }

    #[test]
    fn forgotten_numbers_are_used_again() {
        let mut table = StreamTable::new(900);
        let stream = table.intern(&node("a"), StreamId::new([1; 16])).unwrap();
        table.seen(stream, 100);
        table.forget(900, &RoaringBitmap::new());
        assert_eq!(table.len(), 1);
        table.forget(1001, &RoaringBitmap::from_iter([stream]));
        assert_eq!(table.len(), 1);
        table.forget(1001, &RoaringBitmap::new());
        assert_eq!(table.len(), 0);
        assert_eq!(table.intern(&node("b"), StreamId::new([2; 16])), Some(stream));
    }
}
