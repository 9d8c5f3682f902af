//! Segments of what is made of other blocks: coarser tiers, and joined ones.

use std::{collections::BTreeMap, ops::Range};

use bytes::Bytes;
use starling_history::{Block, BlockError, Tier};
use starling_store::{BlockKey, BlockRef, FileError, ReadError, SegmentId, Subjects, WriteError};

use super::{
    chores::Shift,
    disk::{Disk, Row, row},
};
use crate::metrics::Metrics;

/// Writes a segment of what `make` makes of the blocks of each subject in `window`, in the place of `old` ones. Where it makes
/// a coarser tier nothing is lost of what was in these: each step stays in the version that knows more, and so do blocks of which
/// nothing finer is here, copies for instance. How many blocks.
///
/// # Errors
/// When the disk refuses, or the shift ends: all is as before.
pub(super) fn remake(
    disk: &Disk,
    metrics: &Metrics,
    shift: &mut Shift<'_>,
    (from, to): (Tier, Tier),
    window: Range<u32>,
    old: &[SegmentId],
    make: impl Fn(&[Block]) -> Result<Vec<Block>, BlockError>,
) -> Result<u64, WriteError> {
    let find = |tier: Tier| {
        let found = disk.store().find(tier.code(), Subjects::All, window.clone());
        // What cannot be read now may be read later: nothing takes its place until then.
        match found.unreadable.into_iter().next() {
            Some(unreadable) => Err(WriteError::from(unreadable.error)),
            None => Ok(found.blocks),
        }
    };
    let found = find(from)?;
    let before = if from == to || old.is_empty() { Vec::new() } else { find(to)? };
    let before: Vec<BlockRef> = before.into_iter().filter(|block| old.contains(&block.segment())).collect();
    let mut failed = None;
    let rows = by_subject(&found, &before).into_iter().flat_map(|(blocks, before)| {
        if !shift.pause() || failed.is_some() {
            return vec![no_row()];
        }
        let (blocks, before) = match read_all(disk, blocks).and_then(|blocks| Ok((blocks, read_all(disk, before)?))) {
            Ok(read) => read,
            Err(error) => {
                failed = Some(error);
                return vec![no_row()];
            }
        };
        let mut made = match if blocks.is_empty() { Ok(Vec::new()) } else { make(&blocks) } {
            Ok(made) => made,
            Err(error) => {
                metrics.history_failed("make a coarser block", &error);
                Vec::new()
            }
        };
        if !before.is_empty() {
            made.extend(before);
            made = Block::join(&made).map_or(made, |joined| vec![joined]);
        }
        made.iter().map(row).collect()
    });
    let mut count = 0;
    let written = disk.store().replace(old, to.code(), window, rows.inspect(|_| count += 1));
    if let Some(error) = failed {
        return Err(error.into());
    }
    match written {
        Ok(_) => Ok(count),
        Err(WriteError::NoBlocks) => Ok(0),
        Err(error) => Err(error),
    }
}

/// The blocks of each subject in both lists, which are sorted by it.
fn by_subject<'a>(a: &'a [BlockRef], b: &'a [BlockRef]) -> Vec<(&'a [BlockRef], &'a [BlockRef])> {
    let mut subjects = BTreeMap::<&str, (&[BlockRef], &[BlockRef])>::new();
    let same = |a: &BlockRef, b: &BlockRef| a.subject() == b.subject();
    for blocks in a.chunk_by(same) {
        subjects.entry(blocks[0].subject()).or_default().0 = blocks;
    }
    for blocks in b.chunk_by(same) {
        subjects.entry(blocks[0].subject()).or_default().1 = blocks;
    }
    subjects.into_values().collect()
}

/// A row that no store takes: the segment is given up, and nothing of it is left.
fn no_row() -> Row {
    (BlockKey { subject: "".into(), start: 0, seconds: 0 }, 0, Bytes::new())
}

/// The blocks, without those that are corrupt: these are set aside by the store.
pub(super) fn read_all(disk: &Disk, blocks: &[BlockRef]) -> Result<Vec<Block>, FileError> {
    let mut read = Vec::with_capacity(blocks.len());
    for block in blocks {
        match disk.store().read(block) {
            Ok(bytes) => read.extend(Block::decode(bytes)),
            Err(ReadError::Corrupt(_)) => {}
            Err(ReadError::Disk(error)) => return Err(error),
        }
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use starling_history::{BlockBuilder, Coverage, SecondValue, Subject, roll_up};
    use starling_proto::{catalogue, ids::NodeId, series::Series};

    use super::{
        super::{disk::LogPart, pace::Pace},
        *,
    };

    const HOUR: u32 = 36_000;

    fn block(node: &str, seconds: Range<u32>, revision: u64) -> Block {
        let mut builder = BlockBuilder::new(Subject::Node(NodeId::parse(node).unwrap()), HOUR);
        let series = Series::of(&catalogue::LOAD_1M, &[]);
        for second in seconds {
            let value = SecondValue::Gauge { sum: 1, nodes: 1, min: 1, max: 1, distribution: None };
            builder.push(HOUR + second, revision, Coverage::second(1, 1, 0), [(&series, value)]).unwrap();
        }
        builder.seal().unwrap()
    }

    #[test]
    fn an_hour_that_is_made_again_loses_nothing_of_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let (disk, _) = Disk::open(folder.path(), &[LogPart::History]).unwrap();
        let window = HOUR..HOUR + 3_600;
        let coarse = |block: Block| roll_up(&[block], Tier::TenSeconds, HOUR).unwrap();
        // Copies: of a node of which no second is here, and of one of which fewer are here than were there.
        let copies =
            [coarse(block("copied", 0..300, 4)), coarse(block("full", 0..300, 4)), coarse(block("poor", 0..20, 4))];
        let write = |tier: Tier, blocks: &[Block]| {
            disk.store().write_segment(tier.code(), window.clone(), blocks.iter().map(row)).unwrap()
        };
        let old = write(Tier::TenSeconds, &copies);
        write(Tier::Second, &[block("full", 0..95, 9), block("new", 0..300, 9), block("poor", 0..300, 9)]);
        let (mut pace, stop) = (Pace::new(100), AtomicBool::new(false));
        let mut make = || {
            let mut shift = Shift { pace: &mut pace, stop: &stop };
            let make = |blocks: &[Block]| Ok(vec![roll_up(blocks, Tier::TenSeconds, HOUR)?]);
            let tiers = (Tier::Second, Tier::TenSeconds);
            remake(&disk, &Metrics::of_a_test(), &mut shift, tiers, window.clone(), &[old], make)
        };
        assert_eq!(make().unwrap(), 4);
        let found = disk.store().find(Tier::TenSeconds.code(), Subjects::All, window.clone()).blocks;
        let held: BTreeMap<String, u32> = found
            .iter()
            .map(|block| {
                let read = Block::decode(disk.store().read(block).unwrap()).unwrap();
                (block.subject().to_owned(), read.steps().map(|(_, step)| step.seconds).sum())
            })
            .collect();
        let of = |node: &str| held[&format!("node/{node}")];
        assert_eq!((found.len(), of("copied"), of("full"), of("new"), of("poor")), (4, 300, 300, 300, 300));
        assert!(matches!(make(), Err(WriteError::NotReplaceable(_))), "it is gone");
    }
}
