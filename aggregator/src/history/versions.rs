//! Blocks that speak of the same seconds: versions that were written one after the other, and pieces.

use starling_history::Block;
use starling_store::BlockRef;

use super::Disk;
use crate::metrics::Metrics;

/// One block of such a run; without those that cannot be read, which are counted. `None` when none can.
pub(crate) fn one_of(disk: &Disk, together: &[BlockRef], metrics: &Metrics) -> Option<Block> {
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
    match &blocks[..] {
        [] => None,
        [only] => Some(only.clone()),
        several => Block::join(several)
            .inspect_err(|error| metrics.history_failed("join versions of a block", error))
            .ok()
            .or_else(|| several.last().cloned()),
    }
}
