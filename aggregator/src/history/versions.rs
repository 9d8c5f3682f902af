//! Blocks that speak of the same seconds: versions that were written one after the other, and pieces.

use starling_history::{Block, Versions};
use starling_store::BlockRef;

use super::Disk;
use crate::metrics::Metrics;

/// Such a run as one, to read some series of it; without those that cannot be read, which are counted. `None` when none can.
pub(crate) fn versions_of(disk: &Disk, together: &[BlockRef], metrics: &Metrics) -> Option<Versions> {
    let blocks = read(disk, together, metrics);
    let last = blocks.last()?.clone();
    let all =
        Versions::of(blocks).inspect_err(|error| metrics.history_failed("put versions of a block together", error));
    all.or_else(|_| Versions::of(vec![last])).ok()
}

/// One block of such a run; without those that cannot be read, which are counted. `None` when none can.
pub(super) fn one_of(disk: &Disk, together: &[BlockRef], metrics: &Metrics) -> Option<Block> {
    let blocks = read(disk, together, metrics);
    match &blocks[..] {
        [] => None,
        [only] => Some(only.clone()),
        several => Block::join(several)
            .inspect_err(|error| metrics.history_failed("join versions of a block", error))
            .ok()
            .or_else(|| several.last().cloned()),
    }
}

fn read(disk: &Disk, together: &[BlockRef], metrics: &Metrics) -> Vec<Block> {
    let mut blocks = Vec::with_capacity(together.len());
    for block in together {
        match disk.store().read(block) {
            Ok(bytes) => match Block::decode(bytes) {
                Ok(block) => blocks.push(block),
                Err(error) => metrics.history_failed("decode a block", &error),
            },
            Err(error) => metrics.history_failed("read a block", &error),
        }
    }
    blocks
}
