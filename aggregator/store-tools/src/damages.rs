//! What a tool could not read, in words, each once. One rule for all tools: it is named and counted, and the exit code says so.

use std::{collections::BTreeSet, fmt::Display};

use starling_history::Tier;
use starling_store::{BadBlock, BlockRef};

/// Damages that are named one by one. Further ones are counted; of these one that is met again counts again.
const NAMED_MAX: usize = 1_000;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Damages {
    named: BTreeSet<String>,
    more: u64,
}

impl Damages {
    pub(crate) fn add(&mut self, what: String) {
        if self.named.len() < NAMED_MAX {
            self.named.insert(what);
        } else if !self.named.contains(&what) {
            self.more += 1;
        }
    }

    /// A block whose bytes are not those that were written, found now or set aside before.
    pub(crate) fn block(&mut self, bad: &BadBlock) {
        self.add(of_block(bad));
    }

    /// A block of which the bytes are as they were written, and cannot be read.
    pub(crate) fn not_understood(&mut self, block: &BlockRef, error: &dyn Display) {
        let (path, subject, window) = (block.path().display(), block.subject(), block.window());
        let tier = Tier::from_code(block.tier()).map_or("?", Tier::name);
        let (start, last) = (window.start, window.end - 1);
        self.add(format!("{path}: the block of {subject} of {tier}, {start} to {last}, cannot be read: {error}"));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.named.is_empty()
    }

    pub(crate) fn count(&self) -> u64 {
        self.named.len() as u64 + self.more
    }

    /// The first ones, and how many more there are.
    pub(crate) fn lines(&self) -> impl Iterator<Item = String> + '_ {
        let more = (self.more > 0).then(|| format!("{} more", self.more));
        self.named.iter().cloned().chain(more)
    }
}

/// Where a corrupt block is, whose it is and which seconds are gone with it.
pub(crate) fn of_block(bad: &BadBlock) -> String {
    let (key, tier) = (&bad.key, Tier::from_code(bad.tier).map_or("?", Tier::name));
    format!(
        "{}: the block at offset {} ({} bytes) is corrupt: {} of {tier}, {} to {}",
        bad.path.display(),
        bad.offset,
        bad.bytes,
        key.subject,
        key.start,
        key.end() - 1
    )
}
