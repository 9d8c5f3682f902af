//! The command line.

use std::{
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::{
    check::{self, CheckArgs},
    copies::{self, RestoreArgs, SnapshotArgs},
    export::{self, ExportArgs},
    import::{self, ImportArgs},
    place,
    stats::{self, StatsArgs},
};

/// It did its work and found something that a person must see: damage, or lines that were refused.
const FOUND: u8 = 1;
/// It could not do its work.
const CANNOT: u8 = 2;

/// Looks into the history that an aggregator keeps on its disk, and moves it.
///
/// Exit codes: 0 done and nothing wrong, 1 done and something is wrong (damage, lines that were refused), 2 not done.
#[derive(Debug, Clone, clap::Args)]
pub struct StoreArgs {
    /// The `state_dir` of an aggregator, or the folder `history` in it; of `starling up` aggregator-1 in its state folder
    #[arg(long, value_name = "DIR", global = true, default_value = ".")]
    state: PathBuf,
    /// No progress and no summary
    #[arg(long, short, global = true)]
    quiet: bool,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum What {
    /// Read every block, index and record and name what is not as it was written; a running aggregator may have the store
    Check(CheckArgs),
    /// Say what there is, by tier; a running aggregator may have the store
    Stats(StatsArgs),
    /// Write what there is as OpenMetrics, CSV or JSON; a running aggregator may have the store
    Export(ExportArgs),
    /// Put samples with times into the store, also a new one; no aggregator may run on it
    Import(ImportArgs),
    /// Copy the store to a folder, by hard links where possible; a running aggregator may have the store
    Snapshot(SnapshotArgs),
    /// Put a snapshot into an empty state folder; an interrupted one is finished by the same command
    Restore(RestoreArgs),
}

impl StoreArgs {
    /// Does it; the exit code.
    #[must_use]
    pub fn run(&self) -> u8 {
        match self.done() {
            Ok(true) => 0,
            Ok(false) => FOUND,
            Err(error) => {
                eprintln!("starling store: {error:#}");
                CANNOT
            }
        }
    }

    /// False when something is wrong.
    fn done(&self) -> anyhow::Result<bool> {
        let folder = place::store_in(&self.state);
        match &self.what {
            What::Check(args) => check::run(&folder, args, self.quiet),
            What::Stats(args) => stats::run(&folder, args, self.quiet, now()),
            What::Export(args) => export::run(&folder, args, self.quiet),
            What::Import(args) => import::run(&folder, args, self.quiet, now()),
            What::Snapshot(args) => copies::take(&folder, args, self.quiet).map(|()| true),
            What::Restore(args) => copies::put_back(&folder, args, self.quiet).map(|()| true),
        }
    }
}

/// Unix seconds.
fn now() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
}
