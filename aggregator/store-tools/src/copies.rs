//! `store snapshot` and `store restore`.

use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use indicatif::HumanBytes;
use starling_store::{Copied, CopyProgress, restore, snapshot};

use crate::{place, progress::Progress};

/// Where to.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct SnapshotArgs {
    /// Folder for the snapshot, which must not exist or be empty; it becomes like the state folder of an aggregator
    #[arg(value_name = "TO")]
    to: PathBuf,
}

/// Where from.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct RestoreArgs {
    /// Folder of the snapshot
    #[arg(value_name = "FROM")]
    from: PathBuf,
}

pub(crate) fn take(folder: &Path, args: &SnapshotArgs, quiet: bool) -> anyhow::Result<()> {
    let to = args.to.join("history");
    let made = !args.to.exists();
    std::fs::create_dir_all(&args.to)?;
    let mut progress = Progress::new("snapshot", quiet);
    let copied = snapshot(folder, &to, |state| show(&mut progress, state));
    drop(progress);
    if copied.is_err() && made {
        // The error that is told is that of the snapshot.
        let _ = std::fs::remove_dir(&args.to);
    }
    tell("snapshot", copied?, &args.to, quiet);
    Ok(())
}

pub(crate) fn put_back(folder: &Path, args: &RestoreArgs, quiet: bool) -> anyhow::Result<()> {
    let from = std::path::absolute(place::store_in(&args.from))?;
    let mut progress = Progress::new("restore", quiet);
    let copied = restore(&from, folder, |state| show(&mut progress, state));
    drop(progress);
    tell("restored to", copied?, folder, quiet);
    Ok(())
}

fn show(progress: &mut Progress, state: &CopyProgress) -> ControlFlow<()> {
    progress.at(state.bytes, 0);
    ControlFlow::Continue(())
}

fn tell(what: &str, copied: Copied, folder: &Path, quiet: bool) {
    if !quiet {
        let Copied { files, bytes, linked } = copied;
        println!(
            "{what} {}: {files} files, {} ({linked} shared with the original)",
            folder.display(),
            HumanBytes(bytes)
        );
    }
}
