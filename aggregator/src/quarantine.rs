//! Aggregators whose word counts no more here, as operators said: kept in the state folder, so that a restart does not
//! believe them again.
//!
//! Each aggregator is told by itself, by an operator's certificate, and none believes another one in this: a liar could
//! else have an honest one taken out.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Context as _;
use starling_ledger::{Ledger, Quarantine, limits::QUARANTINED_WRITERS_MAX};
use starling_proto::ids::{NodeId, WriterId};
use starling_service::state_folder;
use tokio::sync::Semaphore;
use tracing::warn;

use crate::{
    clock::now_ms,
    ledger_task::{Ended, LedgerHandle, TakenOut},
    membership::Membership,
    metrics::Metrics,
};

/// Name of the file in the state folder.
const FILE: &str = "quarantine";
/// First line: the form of the others, fields with a tab between: name, since in Unix milliseconds, first and last second
/// of what was taken out, writers with commas between or "-", why.
const HEAD: &str = "starling quarantine 1";
/// Aggregators in quarantine; a further one is refused. More than there are peers.
const AGGREGATORS_MAX: usize = 64;
/// Processes that one call may name.
pub(crate) const WRITERS_PER_CALL_MAX: usize = 1_024;
/// Characters kept of why.
pub(crate) const REASON_LEN_MAX: usize = 200;
/// Bytes of the largest file that is read.
const BYTES_MAX: u64 = (QUARANTINED_WRITERS_MAX * 33 + AGGREGATORS_MAX * 1_024) as u64;

/// One of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Processes whose logs are refused for its sake.
    pub(crate) writers: BTreeSet<WriterId>,
    /// Since when, in Unix milliseconds.
    pub(crate) since_ms: u64,
    /// First and last second its logs spoke of when they were taken out.
    pub(crate) span: Option<(u32, u32)>,
    /// Why.
    pub(crate) reason: String,
}

/// All of them by name.
pub(crate) type Entries = BTreeMap<String, Entry>;

/// Why one cannot be put there, or taken out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// It is this process itself.
    #[error("{0} is this aggregator: it cannot take its own word out")]
    Own(String),
    /// It is not there.
    #[error("{0} is not in quarantine here")]
    Unknown(String),
    /// As many as there may be.
    #[error("{AGGREGATORS_MAX} aggregators are in quarantine here, as many as there may be: lift one first")]
    Full,
    /// As many processes as there may be.
    #[error(
        "with these, {0} processes would be in quarantine here, at most {QUARANTINED_WRITERS_MAX} may be: lift an aggregator first"
    )]
    Writers(usize),
    /// Another change is under way.
    #[error("another change of the quarantine is under way: try again")]
    Busy,
    /// The file was not written: what counts here is as it was before.
    #[error("nothing has changed, cannot write {path}: {error}")]
    Disk {
        /// Which file.
        path: String,
        /// Why.
        error: io::Error,
    },
    /// The process is about to end.
    #[error(transparent)]
    Ended(#[from] Ended),
}

/// See the module.
pub(crate) struct Quarantines {
    path: PathBuf,
    own: NodeId,
    membership: Membership,
    metrics: Arc<Metrics>,
    /// Plain mutex, short sections.
    entries: Mutex<Entries>,
    /// One change at a time.
    change: Semaphore,
}

impl Quarantines {
    /// Reads who was there before the start.
    ///
    /// # Errors
    /// The file is there and cannot be read: what it names would be believed again.
    pub(crate) fn open(
        state_dir: &Path,
        own: NodeId,
        membership: Membership,
        metrics: Arc<Metrics>,
    ) -> anyhow::Result<Self> {
        let path = state_dir.join(FILE);
        let wrong = || {
            let place = path.display();
            format!("{place}: who is in quarantine cannot be read; mend it, or remove it and quarantine them again")
        };
        let entries = read(&path).with_context(wrong)?;
        let opened = Self { path, own, membership, metrics, entries: Mutex::new(entries), change: Semaphore::new(1) };
        opened.tell_membership();
        Ok(opened)
    }

    /// Everybody there.
    pub(crate) fn entries(&self) -> Entries {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// As the ledger takes it.
    pub(crate) fn of_ledger(&self) -> Quarantine {
        of_ledger(&self.entries())
    }

    fn tell_membership(&self) {
        let names: BTreeSet<String> = self.entries().into_keys().collect();
        self.metrics.quarantined.set(names.len() as f64);
        self.membership.refuse(names);
    }

    /// Puts an aggregator there, with processes that are refused for its sake. Returns the logs that were taken out.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(crate) async fn put(
        &self,
        ledger: &LedgerHandle,
        name: &NodeId,
        writers: BTreeSet<WriterId>,
        reason: &str,
    ) -> Result<Vec<TakenOut>, Refusal> {
        if *name == self.own {
            return Err(Refusal::Own(name.to_string()));
        }
        let _one = self.change.try_acquire().map_err(|_| Refusal::Busy)?;
        let mut next = self.entries();
        if !next.contains_key(name.as_str()) && next.len() >= AGGREGATORS_MAX {
            return Err(Refusal::Full);
        }
        let entry = next.entry(name.to_string()).or_insert_with(|| Entry { since_ms: now_ms(), ..Entry::default() });
        entry.writers.extend(writers.into_iter().filter(|writer| *writer != ledger.writer()));
        if !reason.is_empty() {
            entry.reason = reason.chars().filter(|c| !c.is_control()).take(REASON_LEN_MAX).collect();
        }
        let reason = entry.reason.clone();
        match writers_len(&next) {
            few if few <= QUARANTINED_WRITERS_MAX => {}
            many => return Err(Refusal::Writers(many)),
        }
        // Written before it counts, and once more with what came of it.
        let out = self.bring_in(ledger, &next).await?;
        self.metrics.quarantine_changed(name.as_str(), &reason, true);
        let known = ledger.ask(|ledger: &Ledger| ledger.quarantine().clone()).await?;
        for (writer, of) in known.writers {
            if let Some(entry) = next.get_mut(&of) {
                entry.writers.insert(writer);
            }
        }
        for log in &out {
            if let Some((entry, (first, last))) = next.get_mut(&log.aggregator).zip(log.span) {
                let (from, to) = entry.span.unwrap_or((first, last));
                entry.span = Some((from.min(first), to.max(last)));
            }
        }
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&next);
        if let Err(error) = self.write(&next).await {
            // It counts, and the file says so: the processes are found again by their name.
            warn!(%error, "which processes were put in quarantine is not kept over a restart");
        }
        Ok(out)
    }

    /// Lets the word of an aggregator count again.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(crate) async fn lift(&self, ledger: &LedgerHandle, name: &NodeId) -> Result<(), Refusal> {
        let _one = self.change.try_acquire().map_err(|_| Refusal::Busy)?;
        let mut next = self.entries();
        next.remove(name.as_str()).ok_or_else(|| Refusal::Unknown(name.to_string()))?;
        self.bring_in(ledger, &next).await?;
        self.metrics.quarantine_changed(name.as_str(), "", false);
        Ok(())
    }

    async fn bring_in(&self, ledger: &LedgerHandle, next: &Entries) -> Result<Vec<TakenOut>, Refusal> {
        self.write(next).await?;
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).clone_from(next);
        self.tell_membership();
        Ok(ledger.quarantine(of_ledger(next)).await?)
    }

    async fn write(&self, next: &Entries) -> Result<(), Refusal> {
        let (path, text) = (self.path.clone(), written(next));
        let write =
            tokio::task::spawn_blocking(move || state_folder::replace(&path, text.as_bytes(), state_folder::OPEN));
        let written = write.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        written.map_err(|error| Refusal::Disk { path: self.path.display().to_string(), error })
    }
}

fn of_ledger(entries: &Entries) -> Quarantine {
    let writers = |(name, entry): (&String, &Entry)| {
        let name = name.clone();
        entry.writers.clone().into_iter().map(move |writer| (writer, name.clone()))
    };
    Quarantine { aggregators: entries.keys().cloned().collect(), writers: entries.iter().flat_map(writers).collect() }
}

fn written(entries: &Entries) -> String {
    let mut text = format!("{HEAD}\n");
    for (name, Entry { writers, since_ms, span, reason }) in entries {
        let writers: Vec<String> = writers.iter().map(ToString::to_string).collect();
        let writers = if writers.is_empty() { "-".to_owned() } else { writers.join(",") };
        let (first, last) = span.unwrap_or_default();
        text += &format!("{name}\t{since_ms}\t{first}\t{last}\t{writers}\t{reason}\n");
    }
    text
}

fn read(path: &Path) -> io::Result<Entries> {
    let parsed = |line: &str| entry(line).map_err(|error| format!("{error:#}"));
    let entries: Entries = state_folder::lines(path, HEAD, BYTES_MAX, parsed)?;
    let writers = writers_len(&entries);
    if entries.len() > AGGREGATORS_MAX || writers > QUARANTINED_WRITERS_MAX {
        let what = format!(
            "it names {} aggregators and {writers} processes, at most {AGGREGATORS_MAX} and {QUARANTINED_WRITERS_MAX}",
            entries.len()
        );
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    Ok(entries)
}

fn writers_len(entries: &Entries) -> usize {
    entries.values().map(|entry| entry.writers.len()).sum()
}

fn entry(line: &str) -> anyhow::Result<(String, Entry)> {
    let mut fields = line.splitn(6, '\t');
    let mut next = |what: &str| fields.next().with_context(|| format!("{what} is missing"));
    let name = NodeId::parse(next("the name")?)?.to_string();
    let since_ms = next("since when")?.parse()?;
    let (first, last) = (next("the first second")?.parse()?, next("the last second")?.parse()?);
    let writers = match next("the writers")? {
        "-" => BTreeSet::new(),
        all => all
            .split(',')
            .map(WriterId::from_hex)
            .collect::<Option<_>>()
            .context("a writer is not 32 hexadecimal digits")?,
    };
    let reason = next("why")?.to_owned();
    Ok((name, Entry { writers, since_ms, span: (first != 0).then_some((first, last)), reason }))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn some() -> Entries {
        let of = |writers: &[u8], span, reason: &str| Entry {
            writers: writers.iter().map(|n| WriterId::new([*n; 16])).collect(),
            since_ms: 1_700_000_000_123,
            span,
            reason: reason.to_owned(),
        };
        Entries::from([
            ("agg-1".to_owned(), of(&[], None, "")),
            ("agg-2".to_owned(), of(&[1, 2], Some((5, 9)), "stolen key, see ticket 7")),
        ])
    }

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        assert_eq!(read(&path).unwrap(), Entries::new(), "without a file nobody is there");
        fs::write(&path, written(&some())).unwrap();
        assert_eq!(read(&path).unwrap(), some());
        let ledger = of_ledger(&some());
        assert_eq!((ledger.aggregators.len(), ledger.writers.len()), (2, 2));
        assert_eq!(ledger.writers[&WriterId::new([2; 16])], "agg-2");
    }

    #[test]
    fn a_file_that_is_not_whole_is_an_error_that_says_where() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        for (text, wanted) in [
            ("", "line 1"),
            ("starling quarantine 1\nagg-1\t5\t0\t0\t-\t\nagg-2\t5\n", "line 3"),
            ("starling quarantine 1\nagg-1\t5\t0\t0\tzz\t\n", "32 hexadecimal"),
        ] {
            fs::write(&path, text).unwrap();
            let error = format!("{:#}", read(&path).unwrap_err());
            assert!(error.contains(wanted), "{error}");
        }
    }
}
