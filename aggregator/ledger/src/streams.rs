//! Streams and nodes known to this process, by dense local numbers.

use std::collections::HashMap;

use roaring::RoaringBitmap;
use starling_proto::ids::{NodeId, StreamId};

use super::{
    limits::{MISSING_MAX, RESTART_SECONDS, STREAMS_MAX},
    types::{Coverage, KnownStream, NodeStatus},
};

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
    /// First tick of any stream of it; `u32::MAX` before.
    first: u32,
    /// Last tick of any.
    last: u32,
}

impl NodeStreams {
    const fn of(id: NodeId) -> Self {
        Self { id, streams: Vec::new(), first: u32::MAX, last: 0 }
    }

    /// It was seen in two different seconds.
    const fn is_admitted(&self) -> bool {
        self.first < self.last
    }
}

/// Ticks at which other nodes may be expected than before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Touched {
    /// Because streams began earlier than was known.
    between: Option<(u32, u32)>,
    /// Because nodes became known, or streams ended.
    begun: Option<(u32, u32)>,
    /// Because they were seen later: mostly ticks that are still to come.
    last: Option<(u32, u32)>,
}

impl Touched {
    fn between(&mut self, from: u32, to: u32) {
        widen(&mut self.between, from, to);
    }

    pub(super) fn begun(&mut self, from: u32, to: u32) {
        widen(&mut self.begun, from, to);
    }

    fn last(&mut self, from: u32, to: u32) {
        widen(&mut self.last, from, to);
    }

    /// They, which may overlap.
    pub(super) fn ranges(&self) -> impl Iterator<Item = std::ops::RangeInclusive<u32>> {
        [self.between, self.begun, self.last].into_iter().flatten().map(|(from, to)| from..=to)
    }
}

/// The smallest range that holds a range and `from..=to`.
fn widen(range: &mut Option<(u32, u32)>, from: u32, to: u32) {
    if from > to {
        return;
    }
    *range = Some(range.map_or((from, to), |(first, last)| (first.min(from), last.max(to))));
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
            let number = put(&mut self.nodes, &mut self.free_nodes, NodeStreams::of(node.clone()));
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

    /// Notes that a log holds a frame of `stream` for `tick`, and at which ticks other nodes may be expected now.
    pub(super) fn seen(&mut self, stream: u32, tick: u32, touched: &mut Touched) {
        let Some(Some(stream)) = self.streams.get_mut(stream as usize) else { return };
        let (first, last) = (stream.first, stream.last);
        stream.first = first.min(tick);
        stream.last = last.max(tick);
        let Some(Some(node)) = self.nodes.get_mut(stream.node as usize) else { return };
        let was_admitted = node.is_admitted();
        node.first = node.first.min(tick);
        node.last = node.last.max(tick);
        if !node.is_admitted() {
            return;
        }
        // At `tick` itself the node reports.
        if tick < first {
            // The stream speaks for its node from here on.
            touched.between(tick.saturating_add(1), first - 1);
        }
        if last != 0 && tick > last {
            let silent = |last: u32| last.saturating_add(self.silent_seconds);
            touched.last(silent(last).saturating_add(1), silent(tick));
        }
        if !was_admitted {
            touched.between(node.first.saturating_add(1), node.last - 1);
            touched.begun(node.last.saturating_add(1), u32::MAX);
        }
    }

    /// Notes that a log holds the end of `stream`, and at which ticks other nodes may be expected now.
    pub(super) fn ended(&mut self, stream: u32, last_tick: u32, touched: &mut Touched) {
        if let Some(Some(stream)) = self.streams.get_mut(stream as usize) {
            stream.ended = Some(stream.ended.map_or(last_tick, |known| known.max(last_tick)));
            touched.begun(last_tick.saturating_add(RESTART_SECONDS + 1), u32::MAX);
        }
    }

    /// The streams of a node that were seen and have not ended, with their last ticks.
    pub(super) fn going_on(&self, node: &NodeId) -> Vec<(u32, u32)> {
        let number = self.by_name.get(node);
        let node = number.and_then(|&number| self.nodes.get(number as usize)?.as_ref());
        let streams = node.map_or(&[][..], |node| &node.streams);
        let going_on = streams.iter().filter_map(|&number| Some((number, self.get(number)?)));
        going_on
            .filter(|(_, stream)| stream.last != 0 && stream.ended.is_none_or(|ended| ended < stream.last))
            .map(|(number, stream)| (number, stream.last))
            .collect()
    }

    /// No stream was seen in any log: they are to be gone through again.
    pub(super) fn forget_seen(&mut self) {
        for stream in self.streams.iter_mut().flatten() {
            (stream.first, stream.last, stream.ended) = (u32::MAX, 0, None);
        }
        for node in self.nodes.iter_mut().flatten() {
            (node.first, node.last) = (u32::MAX, 0);
        }
    }

    /// Whether some log holds a frame of a node.
    pub(super) fn has_reported(&self, node: &NodeId) -> bool {
        let number = self.by_name.get(node);
        number.and_then(|&number| self.nodes.get(number as usize)?.as_ref()).is_some_and(|node| node.last != 0)
    }

    /// Identity of a stream: its node's name and its id.
    pub(super) fn identity(&self, stream: u32) -> Option<(&NodeId, StreamId)> {
        let stream = self.get(stream)?;
        Some((&self.nodes.get(stream.node as usize)?.as_ref()?.id, stream.id))
    }

    /// Nodes with a stream in `reporting`, nodes expected at `tick`, which includes them, and the first of those that
    /// are missing, by name.
    ///
    /// A node is expected once it was seen in two different seconds: a name alone is cheap. Of its streams the one that
    /// began last speaks for it, from its first tick until [`RESTART_SECONDS`] after its end or until it was silent for
    /// `silent_seconds`.
    pub(super) fn coverage(&self, tick: u32, reporting: &RoaringBitmap) -> (Coverage, Vec<NodeId>) {
        let mut coverage = Coverage::default();
        let mut missing: Vec<&NodeId> = Vec::new();
        for node in self.nodes.iter().flatten() {
            if node.streams.iter().any(|&stream| reporting.contains(stream)) {
                coverage.reporting += 1;
                coverage.expected += 1;
            } else if node.is_admitted() && self.is_expected(node, tick) {
                coverage.expected += 1;
                missing.push(&node.id);
            }
        }
        if missing.len() > MISSING_MAX {
            missing.select_nth_unstable(MISSING_MAX);
            missing.truncate(MISSING_MAX);
        }
        missing.sort_unstable();
        (coverage, missing.into_iter().cloned().collect())
    }

    /// The stream of a node that speaks for it at `tick`.
    fn speaker(&self, node: &NodeStreams, tick: u32) -> Option<&Stream> {
        let begun = node.streams.iter().filter_map(|&stream| self.get(stream)).filter(|stream| stream.first <= tick);
        begun.max_by_key(|stream| (stream.first, stream.id))
    }

    fn is_expected(&self, node: &NodeStreams, tick: u32) -> bool {
        self.speaker(node, tick).is_some_and(|stream| {
            stream.last.saturating_add(self.silent_seconds) >= tick
                && stream.ended.is_none_or(|ended| tick <= ended.saturating_add(RESTART_SECONDS))
        })
    }

    /// The stream that speaks at `now` for each node that is expected then.
    pub(super) fn known(&self, now: u32) -> Vec<KnownStream> {
        let expected = self.nodes.iter().flatten().filter(|node| node.is_admitted() && self.is_expected(node, now));
        let known = expected.filter_map(|node| {
            let stream = self.speaker(node, now)?;
            Some(KnownStream {
                node: node.id.clone(),
                stream: stream.id,
                // That it was seen in two seconds is part of what is known of it.
                first_tick: node.first.min(stream.first),
                last_tick: stream.last,
                ended: stream.ended,
            })
        });
        known.collect()
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

    fn seen(table: &mut StreamTable, stream: u32, ticks: impl IntoIterator<Item = u32>) -> Touched {
        let mut touched = Touched::default();
        ticks.into_iter().for_each(|tick| table.seen(stream, tick, &mut touched));
        touched
    }

    fn counts(table: &StreamTable, tick: u32, reporting: &RoaringBitmap) -> (u32, u32) {
        let (coverage, missing) = table.coverage(tick, reporting);
        assert_eq!(missing.len(), (coverage.expected - coverage.reporting).min(MISSING_MAX as u32) as usize);
        (coverage.reporting, coverage.expected)
    }

    #[test]
    fn a_node_is_expected_until_it_ends_or_falls_silent() {
        let mut table = StreamTable::new(900);
        let stream = table.intern(&node("a"), StreamId::new([1; 16])).unwrap();
        let none = RoaringBitmap::new();
        assert_eq!(counts(&table, 100, &none), (0, 0));
        seen(&mut table, stream, [100, 110]);
        assert_eq!(counts(&table, 99, &none), (0, 0));
        assert_eq!(counts(&table, 105, &none), (0, 1));
        assert_eq!(counts(&table, 1010, &none), (0, 1));
        assert_eq!(counts(&table, 1011, &none), (0, 0));
        let mut touched = Touched::default();
        table.ended(stream, 110, &mut touched);
        assert!(touched.ranges().any(|range| range.contains(&141)));
        assert_eq!(counts(&table, 140, &none), (0, 1), "it may be starting again");
        assert_eq!(counts(&table, 141, &none), (0, 0));
    }

    #[test]
    fn a_name_alone_is_not_expected() {
        let mut table = StreamTable::new(900);
        let stream = table.intern(&node("ghost"), StreamId::new([1; 16])).unwrap();
        let none = RoaringBitmap::new();
        seen(&mut table, stream, [100, 100]);
        assert_eq!(counts(&table, 100, &RoaringBitmap::from_iter([stream])), (1, 1), "it reports");
        assert_eq!(counts(&table, 101, &none), (0, 0), "one second is not a node");
        assert!(table.known(101).is_empty());
        // The second one may come from another start of the daemon.
        let again = table.intern(&node("ghost"), StreamId::new([2; 16])).unwrap();
        let touched = seen(&mut table, again, [103]);
        assert!(touched.ranges().any(|range| range.contains(&101)), "{touched:?}");
        assert_eq!(counts(&table, 101, &none), (0, 1), "now it was missing there");
    }

    #[test]
    fn a_restarted_node_is_one_node() {
        let mut table = StreamTable::new(900);
        let first = table.intern(&node("a"), StreamId::new([1; 16])).unwrap();
        let second = table.intern(&node("a"), StreamId::new([2; 16])).unwrap();
        assert_eq!(table.intern(&node("a"), StreamId::new([1; 16])), Some(first));
        seen(&mut table, first, [100]);
        seen(&mut table, second, [105]);
        table.ended(second, 110, &mut Touched::default());
        // Both report: one node. Long after the end of the second nothing of the first keeps the node expected.
        assert_eq!(counts(&table, 105, &RoaringBitmap::from_iter([first, second])), (1, 1));
        assert_eq!(counts(&table, 141, &RoaringBitmap::new()), (0, 0));
        assert_eq!(table.statuses().len(), 1);
    }

    #[test]
    fn missing_nodes_are_named_in_order_and_bounded() {
        let mut table = StreamTable::new(900);
        for n in 0..MISSING_MAX as u8 + 10 {
            let stream = table.intern(&node(&format!("n-{:02}", 99 - n)), StreamId::new([n; 16])).unwrap();
            seen(&mut table, stream, [100, 101]);
        }
        let (coverage, missing) = table.coverage(102, &RoaringBitmap::from_iter([0]));
        assert_eq!((coverage.reporting, coverage.expected), (1, MISSING_MAX as u32 + 10));
        assert!(missing.len() == MISSING_MAX && missing.is_sorted() && missing[0].as_str() == "n-58", "{missing:?}");
    }

    #[test]
    fn what_is_remembered_is_what_speaks_for_an_expected_node() {
        let mut table = StreamTable::new(900);
        let [a, b, gone] = [("a", 1), ("b", 2), ("gone", 3)]
            .map(|(name, id)| table.intern(&node(name), StreamId::new([id; 16])).unwrap());
        seen(&mut table, a, [100, 101]);
        seen(&mut table, b, [90, 95]);
        seen(&mut table, gone, [10, 20]);
        table.ended(b, 95, &mut Touched::default());
        table.ended(gone, 20, &mut Touched::default());
        let known = table.known(110);
        let of = |known: &KnownStream| (known.node.to_string(), known.first_tick, known.last_tick, known.ended);
        let of_all: Vec<_> = known.iter().map(of).collect();
        assert_eq!(of_all, [("a".to_owned(), 100, 101, None), ("b".to_owned(), 90, 95, Some(95))]);
        assert!(table.has_reported(&node("a")) && !table.has_reported(&node("c")));
    }

    #[test]
    fn forgotten_numbers_are_used_again() {
        let mut table = StreamTable::new(900);
        let stream = table.intern(&node("a"), StreamId::new([1; 16])).unwrap();
        seen(&mut table, stream, [100]);
        table.forget(900, &RoaringBitmap::new());
        assert_eq!(table.len(), 1);
        table.forget(1001, &RoaringBitmap::from_iter([stream]));
        assert_eq!(table.len(), 1);
        table.forget(1001, &RoaringBitmap::new());
        assert_eq!(table.len(), 0);
        assert_eq!(table.intern(&node("b"), StreamId::new([2; 16])), Some(stream));
    }
}
