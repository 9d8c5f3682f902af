//! The nodes that are known, written down: those which are silent when all aggregators restart stay expected.
//!
//! The logs of the peers say the same and more; what the file adds is what no log held here speaks of. It is a picture,
//! not a part of the books: a file that cannot be read or written is reported, and nothing else depends on it.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use starling_ledger::{KnownStream, limits::ROSTER_MAX};
use starling_proto::ids::{NodeId, StreamId};
use starling_service::state_folder;
use tokio_util::sync::CancellationToken;

use crate::{
    clock::now_ms,
    ledger_task::LedgerHandle,
    membership::{Membership, State},
    metrics::Metrics,
};

/// Name of the file in the state folder.
const FILE: &str = "nodes";
/// First line: the form of the others, "node stream first last ended", with "-" for a stream that goes on.
const HEAD: &str = "starling nodes 1";
/// Bytes of the largest file: [`ROSTER_MAX`] lines of at most 131 bytes. A longer one is not read.
const BYTES_MAX: u64 = 131 * ROSTER_MAX as u64 + 64;
/// It is written this often, and at the stop: a node that was first seen later than that before a crash is forgotten.
const EVERY: Duration = Duration::from_secs(10);
/// What was known is recalled when the logs of the peers had the time to come, at the latest after this.
const RECALL_WITHIN: Duration = Duration::from_secs(10);

/// Recalls what was written down before the start, then writes down what is known, until the stop and once more then.
pub(crate) async fn run(
    state_dir: PathBuf,
    ledger: LedgerHandle,
    membership: Membership,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) {
    let path = state_dir.join(FILE);
    let known = off_thread({
        let path = path.clone();
        move || read(&path)
    });
    let known = known.await.unwrap_or_else(|error| {
        metrics.roster_failed(&path, &error);
        Vec::new()
    });
    let mut view = membership.subscribe();
    tokio::select! {
        biased;
        () = stop.cancelled() => return,
        _ = tokio::time::timeout(RECALL_WITHIN, view.wait_for(|view| view.me.state == State::Ready)) => {}
    }
    ledger.recall(known).await;
    loop {
        let stopping = tokio::select! {
            biased;
            () = stop.cancelled() => true,
            () = tokio::time::sleep(EVERY) => false,
        };
        // An ended ledger knows nothing more.
        let Ok(known) = ledger.ask(|ledger| ledger.known_streams(now_ms())).await else { return };
        let to = path.clone();
        if let Err(error) = off_thread(move || write(&to, &known)).await {
            metrics.roster_failed(&path, &error);
        }
        if stopping {
            return;
        }
    }
}

async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// What was written down; nothing without a file.
fn read(path: &Path) -> io::Result<Vec<KnownStream>> {
    state_folder::lines(path, HEAD, BYTES_MAX, |line| {
        parse(line).ok_or_else(|| format!("{line:?} is no stream of a node"))
    })
}

fn parse(line: &str) -> Option<KnownStream> {
    let mut words = line.split(' ');
    let node = NodeId::parse(words.next()?).ok()?;
    let stream = StreamId::from_hex(words.next()?)?;
    let (first_tick, last_tick) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let ended = match words.next()? {
        "-" => None,
        tick => Some(tick.parse().ok()?),
    };
    words.next().is_none().then_some(KnownStream { node, stream, first_tick, last_tick, ended })
}

fn write(path: &Path, known: &[KnownStream]) -> io::Result<()> {
    let mut text = format!("{HEAD}\n");
    for KnownStream { node, stream, first_tick, last_tick, ended } in known {
        let ended = ended.map_or_else(|| "-".to_owned(), |tick| tick.to_string());
        text.push_str(&format!("{node} {stream} {first_tick} {last_tick} {ended}\n"));
    }
    state_folder::replace(path, text.as_bytes(), state_folder::OPEN)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn known(name: &str, ended: Option<u32>) -> KnownStream {
        let node = NodeId::parse(name).unwrap();
        KnownStream { node, stream: StreamId::new([7; 16]), first_tick: 5, last_tick: u32::MAX, ended }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        assert_eq!(read(&path).unwrap(), []);
        let longest = "x".repeat(64);
        let all: Vec<KnownStream> =
            (0..ROSTER_MAX).map(|_| known(&longest, Some(u32::MAX))).chain([known("web-1", None)]).collect();
        write(&path, &all[1..]).unwrap();
        assert_eq!(read(&path).unwrap(), all[1..], "the largest one has room");
        write(&path, &[known("web-1", None)]).unwrap();
        assert_eq!(read(&path).unwrap(), [known("web-1", None)]);
    }

    #[test]
    fn what_is_no_roster_is_refused_in_words() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        for (text, wanted) in [
            ("", "line 1 is not"),
            ("starling nodes 1\nweb-1 07 1 2 -\n", "line 2: "),
            ("starling nodes 1\nWeb 1\n", "is no stream of a node"),
        ] {
            fs::write(&path, text).unwrap();
            let error = read(&path).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
        fs::write(&path, vec![b'x'; BYTES_MAX as usize + 1]).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("more than"));
    }
}
