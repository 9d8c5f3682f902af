//! Where the floor of the ledger is, written down: the process after this one goes on from there.
//!
//! It may say less than is true, by the seconds between two writes: fewer than the ledger keeps below its floor.

use std::{io, path::Path, path::PathBuf, sync::Arc, time::Duration};

use starling_ledger::Ledger;
use starling_service::state_folder;
use tokio_util::sync::CancellationToken;

use crate::{ledger_task::LedgerHandle, metrics::Metrics};

/// Name of the file in the state folder.
const FILE: &str = "floor";
/// First line; the second one is Unix seconds.
const HEAD: &str = "starling floor 1";
/// Bytes of the largest file.
const BYTES_MAX: u64 = 64;
/// It is written this often, and at the stop. Meanwhile the floor moves by 25 s at most, and 60 are kept below it.
const EVERY: Duration = Duration::from_secs(5);

/// What the process before wrote down; `None` without a file. Blocking.
///
/// # Errors
/// Of the file system, or what is wrong with the file.
pub(crate) fn read(state_dir: &Path) -> io::Result<Option<u32>> {
    let lines: Vec<u32> = state_folder::lines(&state_dir.join(FILE), HEAD, BYTES_MAX, |line| {
        line.parse::<u32>().map_err(|_| format!("{line:?} is no second"))
    })?;
    Ok(lines.into_iter().next())
}

/// Writes it down until the stop, and once more then.
pub(crate) async fn run(state_dir: PathBuf, ledger: LedgerHandle, metrics: Arc<Metrics>, stop: CancellationToken) {
    let path = state_dir.join(FILE);
    let mut written = None;
    loop {
        // An ended ledger knows nothing more.
        let Ok(floor) = ledger.ask(Ledger::floor_to_keep).await else { return };
        if let Some(floor) = floor.filter(|_| floor != written) {
            let to = path.clone();
            let text = format!("{HEAD}\n{floor}\n");
            let done =
                tokio::task::spawn_blocking(move || state_folder::replace(&to, text.as_bytes(), state_folder::OPEN));
            match done.await.map_err(io::Error::other).flatten() {
                Ok(()) => written = Some(floor),
                Err(error) => metrics.floor_failed(&path, &error),
            }
        }
        if stop.is_cancelled() {
            return;
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path()).unwrap(), None);
        state_folder::replace(
            &folder.path().join(FILE),
            format!("{HEAD}\n1700000000\n").as_bytes(),
            state_folder::OPEN,
        )
        .unwrap();
        assert_eq!(read(folder.path()).unwrap(), Some(1_700_000_000));
    }
}
