//! Blocks of a store that another process may write to meanwhile.

use std::{
    collections::BTreeSet,
    io,
    ops::Range,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use starling_history::{Block, Tier};
use starling_store::{BlockRef, Found, ReadError, SegmentId, Store, Subjects, overlapping};

use crate::{damages::Damages, place};

/// Openings of one window before it is given up.
const TRIES: usize = 20;

/// See the module.
pub(crate) struct Reader {
    folder: PathBuf,
    pub(crate) store: Store,
    pub(crate) damages: Damages,
}

/// A block with the newest segment that it comes from, and its bytes in all versions.
pub(crate) struct Piece {
    pub(crate) block: Block,
    pub(crate) segment: SegmentId,
    pub(crate) bytes: u64,
    pub(crate) versions: u64,
}

/// Seconds of which no block crosses the ends: what is joined is joined within them.
pub(crate) const fn grid(tier: Tier) -> u32 {
    match tier {
        Tier::Second | Tier::TenSeconds => 3_600,
        Tier::Minute => 86_400,
        Tier::Hour => 30 * 86_400,
    }
}

impl Reader {
    pub(crate) fn open(folder: &Path) -> anyhow::Result<Self> {
        let (store, _) = place::to_read(folder)?;
        Ok(Self { folder: folder.to_owned(), store, damages: Damages::default() })
    }

    /// The windows of [`grid`] in which `tier` has something of `range`, ascending.
    pub(crate) fn windows(&self, tier: Tier, range: &Range<u32>) -> Vec<Range<u32>> {
        let seconds = grid(tier);
        let mut starts = BTreeSet::new();
        for segment in self.store.segments(tier.code()) {
            let Range { start, end } = segment.window;
            if start < range.end && end > range.start {
                let (first, last) = (start.max(range.start), end.min(range.end) - 1);
                starts.extend((first - first % seconds..=last).step_by(seconds as usize));
            }
        }
        starts.into_iter().map(|start| start..start.saturating_add(seconds)).collect()
    }

    /// Subjects of `tier` with blocks in `window`, in order.
    pub(crate) fn subjects(&mut self, tier: Tier, window: &Range<u32>) -> anyhow::Result<BTreeSet<Box<str>>> {
        let found = self.find(tier, Subjects::All, window)?;
        Ok(found.blocks.iter().map(|block| block.subject().into()).collect())
    }

    /// The blocks of `subject` in `window`, of each second the version that counts. What is corrupt is left out and named.
    pub(crate) fn pieces(&mut self, tier: Tier, subject: &str, window: &Range<u32>) -> anyhow::Result<Vec<Piece>> {
        for _ in 0..TRIES {
            let found = self.find(tier, Subjects::One(subject), window)?;
            if let Some(pieces) = self.read(&found)? {
                return Ok(pieces);
            }
            self.again()?;
        }
        anyhow::bail!("segments of {} change faster than they are read; try again", self.folder.display())
    }

    fn find(&mut self, tier: Tier, subjects: Subjects<'_>, window: &Range<u32>) -> anyhow::Result<Found> {
        let mut found = Found::default();
        for _ in 0..TRIES {
            found = self.store.find(tier.code(), subjects, window.clone());
            if !found.unreadable.iter().any(|one| one.error.error.kind() == io::ErrorKind::NotFound) {
                break;
            }
            self.again()?;
        }
        for bad in &found.bad {
            self.damages.block(bad);
        }
        for unreadable in &found.unreadable {
            self.damages.add(unreadable.error.to_string());
        }
        Ok(found)
    }

    /// `None` when a segment was deleted meanwhile.
    fn read(&mut self, found: &Found) -> anyhow::Result<Option<Vec<Piece>>> {
        let mut pieces = Vec::new();
        for run in overlapping(&found.blocks) {
            let (mut blocks, mut bytes) = (Vec::with_capacity(run.len()), 0);
            for version in run {
                let body = match self.store.read(version) {
                    Err(ReadError::Disk(error)) if error.error.kind() == io::ErrorKind::NotFound => return Ok(None),
                    Err(ReadError::Corrupt(bad)) => {
                        self.damages.block(&bad);
                        continue;
                    }
                    Err(error) => {
                        self.damages.add(error.to_string());
                        continue;
                    }
                    Ok(body) => body,
                };
                bytes += body.len() as u64;
                match Block::decode(body).and_then(|block| block.check().map(|()| block)) {
                    Ok(block) => blocks.push(block),
                    Err(error) => self.damages.not_understood(version, &error),
                }
            }
            let versions = blocks.len() as u64;
            let segment = run.iter().map(BlockRef::segment).max();
            let block = match &blocks[..] {
                [] => continue,
                [only] => only.clone(),
                several => Block::join(several).context("versions of a block cannot be joined")?,
            };
            pieces.extend(segment.map(|segment| Piece { block, segment, bytes, versions }));
        }
        Ok(Some(pieces))
    }

    fn again(&mut self) -> anyhow::Result<()> {
        self.store = place::to_read(&self.folder)?.0;
        Ok(())
    }
}
