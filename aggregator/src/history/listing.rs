//! Which blocks of nodes are on a disk, as aggregators say it to each other.

use std::{collections::BTreeMap, ops::Range};

use starling_history::{Subject, Tier};
use starling_proto::{ids::NodeId, v1};
use starling_store::{BlockRef, FileError, Subjects};

use super::Disk;

/// Blocks in one message: some 100 KB.
const MESSAGE_BLOCKS: usize = 4_096;
/// Blocks in one list: those of an hour of 20,000 nodes.
pub(crate) const LIST_MAX: usize = 262_144;

/// A block of some node, as far as an index knows it. Two that are equal are byte for byte the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Listed {
    /// First second.
    pub(crate) start: u32,
    /// Seconds of its window.
    pub(crate) seconds: u32,
    /// The highest one of its steps.
    pub(crate) revision: u64,
    /// CRC-32 of its bytes.
    pub(crate) checksum: u32,
    /// Its length.
    pub(crate) bytes: u32,
}

impl Listed {
    /// Its seconds.
    pub(crate) fn window(&self) -> Range<u32> {
        self.start..self.start.saturating_add(self.seconds)
    }
}

/// Blocks by node.
pub(crate) type Inventory = BTreeMap<NodeId, Vec<Listed>>;

/// Why a list of another aggregator is not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListingError {
    /// A name that is none.
    #[error("a list of blocks of a node that is none: {0}")]
    Node(#[from] starling_proto::ids::IdError),
    /// Its lists differ in length.
    #[error("a list of blocks whose columns differ in length")]
    Columns,
    /// More than it may have.
    #[error("a list of more than {LIST_MAX} blocks")]
    Long,
}

/// Seconds in which the blocks of `tier` lie, on the grid of Unix time: no block goes beyond one such span.
pub(crate) const fn span_seconds(tier: Tier) -> u32 {
    match tier {
        Tier::Second | Tier::TenSeconds => 3_600,
        Tier::Minute => 24 * 3_600,
        Tier::Hour => 30 * 24 * 3_600,
    }
}

/// The span that holds `tick`.
pub(crate) fn span_of(tier: Tier, tick: u32) -> Range<u32> {
    let seconds = span_seconds(tier);
    let start = tick - tick % seconds;
    start..start.saturating_add(seconds)
}

/// How an index knows a block.
pub(crate) fn listed(block: &BlockRef) -> Listed {
    let Range { start, end } = block.window();
    let bytes = u32::try_from(block.bytes()).unwrap_or(u32::MAX);
    Listed { start, seconds: end - start, revision: block.revision(), checksum: block.checksum(), bytes }
}

/// The number of the newest segment of a disk; 0 without one.
pub(crate) fn newest_segment(disk: &Disk) -> u32 {
    let of_tier = |tier: Tier| disk.store().segments(tier.code()).into_iter().map(|segment| segment.id.number()).max();
    Tier::ALL.into_iter().filter_map(of_tier).max().unwrap_or(0)
}

/// The blocks of nodes of `tier` that hold a second of `range` and were written after segment `after`, by node. Reads
/// indexes only.
///
/// # Errors
/// When the disk does not give the index of a segment.
pub(crate) fn blocks_of_nodes(
    disk: &Disk,
    tier: Tier,
    range: Range<u32>,
    after: u32,
) -> Result<BTreeMap<NodeId, Vec<BlockRef>>, FileError> {
    let mut nodes = BTreeMap::<NodeId, Vec<BlockRef>>::new();
    let newer = |segment: &starling_store::SegmentInfo| segment.id.number() > after;
    if after > 0 && !disk.store().segments(tier.code()).iter().any(newer) {
        return Ok(nodes);
    }
    let found = disk.store().find(tier.code(), Subjects::Prefix(Subject::NODES), range);
    if let Some(unreadable) = found.unreadable.into_iter().next() {
        return Err(unreadable.error);
    }
    for block in found.blocks.into_iter().filter(|block| block.segment().number() > after) {
        if let Ok(Subject::Node(node)) = Subject::parse(block.subject()) {
            nodes.entry(node).or_default().push(block);
        }
    }
    Ok(nodes)
}

/// Messages with all of `inventory`; at least one.
pub(crate) fn messages(inventory: &Inventory) -> Vec<v1::BlockList> {
    let mut messages = vec![v1::BlockList::default()];
    let mut room = MESSAGE_BLOCKS;
    for (node, blocks) in inventory {
        for some in blocks.chunks(MESSAGE_BLOCKS) {
            if some.len() > room {
                messages.push(v1::BlockList::default());
                room = MESSAGE_BLOCKS;
            }
            room -= some.len();
            if let Some(message) = messages.last_mut() {
                message.nodes.push(v1::NodeBlocks {
                    node_id: node.to_string(),
                    starts: some.iter().map(|block| block.start).collect(),
                    seconds: some.iter().map(|block| block.seconds).collect(),
                    revisions: some.iter().map(|block| block.revision).collect(),
                    checksums: some.iter().map(|block| block.checksum).collect(),
                    bytes: some.iter().map(|block| block.bytes).collect(),
                });
            }
        }
    }
    messages
}

/// Adds what a message lists to `inventory`, of which `count` are there before.
///
/// # Errors
/// [`ListingError`]; what was added before stays.
pub(crate) fn take(inventory: &mut Inventory, count: &mut usize, message: v1::BlockList) -> Result<(), ListingError> {
    for v1::NodeBlocks { node_id, starts, seconds, revisions, checksums, bytes } in message.nodes {
        let lengths = [seconds.len(), revisions.len(), checksums.len(), bytes.len()];
        if lengths.iter().any(|length| *length != starts.len()) {
            return Err(ListingError::Columns);
        }
        *count = count.saturating_add(starts.len());
        if *count > LIST_MAX {
            return Err(ListingError::Long);
        }
        let blocks = starts.into_iter().enumerate().map(|(at, start)| Listed {
            start,
            seconds: seconds[at],
            revision: revisions[at],
            checksum: checksums[at],
            bytes: bytes[at],
        });
        inventory.entry(NodeId::parse(&node_id)?).or_default().extend(blocks);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_come_over_the_wire_and_are_bounded() {
        let block = |start| Listed { start, seconds: 300, revision: 7, checksum: start * 3, bytes: 9 };
        let node = |at: u32| NodeId::parse(&format!("web-{at}")).unwrap();
        let all: Inventory = (0..5).map(|at| (node(at), (0..3_000).map(block).collect())).collect();
        let messages = messages(&all);
        assert_eq!(messages.len(), 5);
        let (mut read, mut count) = (Inventory::new(), 0);
        for message in messages.clone() {
            take(&mut read, &mut count, message).unwrap();
        }
        assert_eq!((&read, count), (&all, 15_000));
        assert_eq!(super::messages(&Inventory::new()), [v1::BlockList::default()]);
        let mut count = LIST_MAX - 10;
        assert!(matches!(take(&mut read, &mut count, messages[0].clone()), Err(ListingError::Long)));
        let mut odd = messages[0].clone();
        odd.nodes[0].checksums.pop();
        assert!(matches!(take(&mut read, &mut 0, odd.clone()), Err(ListingError::Columns)));
        odd.nodes[0] = v1::NodeBlocks { node_id: "no name".into(), ..v1::NodeBlocks::default() };
        assert!(matches!(take(&mut read, &mut 0, odd), Err(ListingError::Node(_))));
    }

    #[test]
    fn each_span_holds_whole_blocks() {
        for tier in Tier::ALL {
            assert_eq!(span_seconds(tier) % tier.block_seconds(), 0);
            assert!(span_of(tier, 1_700_000_001).contains(&1_700_000_001));
        }
        assert_eq!(span_of(Tier::Second, 3_601), 3_600..7_200);
    }
}
