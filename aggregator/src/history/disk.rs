//! The one store of the process. Its log has several writers: history, and the ledger.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use crate::blocks::Lost;
use bytes::Bytes;
use starling_history::{Block, Tier};
use starling_store::{BlockKey, FileError, OpenError, Options, Paused, Position, Recovered, Removed, Store};

/// Folder of the store in the state folder.
pub(crate) const FOLDER: &str = "history";

/// A block as the store takes it.
pub(super) type Row = (BlockKey, u64, Bytes);

/// A block for the store.
pub(crate) fn row(block: &Block) -> Row {
    let key = BlockKey { subject: block.subject().to_string().into(), start: block.start(), seconds: block.seconds() };
    (key, block.revision(), block.encode())
}

/// Who writes to the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum LogPart {
    /// The open seconds.
    History,
    /// The logs of the ledger.
    Ledger,
}

/// What the work on the store says of itself.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Progress {
    /// Windows to seal, hours to roll up, segments to join.
    pub(crate) due: [usize; 3],
    /// What memory forgot before the disk took it, since the start.
    pub(crate) lost: Lost,
    /// Bytes that each tier may have.
    pub(crate) bytes_max: [u64; 4],
}

/// See the module. Shared.
pub(crate) struct Disk {
    store: Store,
    /// Plain mutex, short sections.
    progress: Mutex<Progress>,
    /// From where on each of the writers needs the log. Plain mutex.
    needed: Mutex<BTreeMap<LogPart, Position>>,
}

impl Disk {
    /// Opens the store in `state_dir` for the writers `parts`, each of which needs all of the log at first.
    ///
    /// # Errors
    /// When another process has it, or the disk refuses; the text names the setting.
    pub(crate) fn open(state_dir: &Path, parts: &[LogPart]) -> anyhow::Result<(Arc<Self>, Recovered)> {
        let folder = state_dir.join(FOLDER);
        let options = Options::new(Tier::ALL.map(Tier::name));
        let (store, recovered) = Store::open(&folder, &options).map_err(|error| {
            let hint = match &error {
                OpenError::InUse(_) => "; each aggregator wants a `state_dir` of its own",
                _ => "; set another `state_dir`, or `history.enabled` to false",
            };
            anyhow::Error::new(error)
                .context(format!("state_dir: no history can be kept in {}{hint}", folder.display()))
        })?;
        let needed = parts.iter().map(|part| (*part, Position::default())).collect();
        Ok((Arc::new(Self { store, progress: Mutex::default(), needed: Mutex::new(needed) }), recovered))
    }

    /// The store.
    pub(crate) const fn store(&self) -> &Store {
        &self.store
    }

    /// How far the work on the store is.
    pub(crate) fn progress(&self) -> Progress {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The work on the store went on.
    pub(super) fn progresses(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut self.progress.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Since when and why the disk takes neither the log nor segments.
    pub(crate) fn paused(&self) -> Option<Paused> {
        // The time only tells which tiers hold what.
        let stats = self.store.stats(u32::MAX);
        stats.log.paused.or(stats.paused)
    }

    /// `part` needs nothing of the log that is before `from`: files that nobody needs go.
    ///
    /// # Errors
    /// When a file cannot be removed; the next call tries again.
    pub(crate) fn needs_from(&self, part: LogPart, from: Position) -> Result<Removed, FileError> {
        let least = {
            let mut needed = self.needed.lock().unwrap_or_else(PoisonError::into_inner);
            needed.insert(part, from);
            needed.values().min().copied().unwrap_or_default()
        };
        self.store.checkpoint(least)
    }
}
