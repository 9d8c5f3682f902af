//! The ring of this process: where it comes from, on the disk, and what gossip uses of it.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Context as _;
use starling_service::state_folder::{self, SECRET};
use starling_service::{clock, secret};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

use super::{
    file,
    in_use::{InUse, NO_KEY},
    keyring::KeyId,
    state::{Ring, RingStatus, Sealing, Step},
};

/// The file in the folder for state.
const FILE: &str = "gossip.ring";

/// Where the keys come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeySource {
    /// Nowhere: gossip is open.
    Open,
    /// A file that an operator looks after.
    File(PathBuf),
    /// Other aggregators, over mutual TLS.
    Others {
        /// Open gossip is allowed beyond this host: a first ring leaves it open.
        may_be_open: bool,
        /// Nobody else can have a ring: make the first one at once.
        alone: bool,
    },
}

/// The ring of this process. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Rings(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    source: KeySource,
    path: PathBuf,
    /// Held while a change is written to the disk, on threads that may block: of two one is after the other.
    changing: Mutex<()>,
    /// The ring that was handed to us.
    handed: watch::Sender<Option<Ring>>,
    in_use: InUses,
    /// Ends the reading of the file.
    stop: CancellationToken,
}

#[derive(Debug)]
enum InUses {
    File(watch::Receiver<InUse>),
    Handed(watch::Sender<InUse>),
}

impl Rings {
    /// Follows the file no longer: who has left needs no new keys.
    pub(crate) fn end(&self) {
        self.0.stop.cancel();
    }

    /// Reads what there is. A first ring is made when nobody else can have one.
    ///
    /// # Errors
    /// When a file cannot be read, or the folder for state not be written.
    pub(crate) async fn open(source: KeySource, state_dir: &Path, tasks: &TaskTracker) -> anyhow::Result<Self> {
        let path = state_dir.join(FILE);
        let (mut ring, mut in_use) = (None, None);
        let stop = CancellationToken::new();
        let mut may_be_open = false;
        match &source {
            KeySource::Open => {}
            KeySource::File(file) => {
                in_use = Some(InUses::File(file::follow(file.clone(), tasks, stop.clone()).await?));
            }
            KeySource::Others { may_be_open: may, .. } => {
                may_be_open = *may;
                let (folder, file) = (state_dir.to_owned(), path.clone());
                ring = tokio::task::spawn_blocking(move || read(&folder, &file)).await??;
            }
        }
        let in_use =
            in_use.unwrap_or_else(|| InUses::Handed(watch::Sender::new(InUse::of_ring(ring.as_ref(), may_be_open))));
        let rings = Self(Arc::new(Inner {
            source,
            path,
            changing: Mutex::new(()),
            handed: watch::Sender::new(ring),
            in_use,
            stop,
        }));
        if matches!(rings.0.source, KeySource::Others { alone: true, .. }) && rings.handed().is_none() {
            rings.make_first().await.map_err(anyhow::Error::msg)?;
        }
        Ok(rings)
    }

    /// What gossip uses; `None` when it is open and no key is known.
    pub(in crate::membership) fn in_use(&self) -> Option<watch::Receiver<InUse>> {
        match (&self.0.source, &self.0.in_use) {
            (KeySource::Open, _) => None,
            (_, InUses::File(receiver)) => Some(receiver.clone()),
            (_, InUses::Handed(sender)) => Some(sender.subscribe()),
        }
    }

    /// Whether aggregators hand each other the keys.
    pub(crate) fn are_handed_out(&self) -> bool {
        matches!(self.0.source, KeySource::Others { .. })
    }

    /// What others may know of the ring here; `None` without one.
    pub(crate) fn status(&self) -> Option<RingStatus> {
        self.in_use().and_then(|in_use| in_use.borrow().status.clone())
    }

    /// The ring for another aggregator, which may be newer than what it has; `None` without one.
    pub(crate) fn to_hand_out(&self) -> Option<Ring> {
        match &self.0.in_use {
            InUses::File(in_use) => in_use.borrow().keys.clone().map(Ring::of_file),
            InUses::Handed(_) => self.handed(),
        }
    }

    fn handed(&self) -> Option<Ring> {
        self.0.handed.borrow().clone()
    }

    /// Takes a ring that another aggregator has, when it is newer than the one here. With keys in a file nothing is taken.
    ///
    /// # Errors
    /// When it cannot be written to the disk: the ring before stays.
    pub(crate) async fn take(&self, other: Ring) -> Result<(), String> {
        if !self.are_handed_out() || self.handed().is_some_and(|own| !own.is_before(&other)) {
            return Ok(());
        }
        self.change(|own| match own {
            Some(own) if !own.is_before(&other) => Ok((None, ())),
            _ => Ok((Some(other), ())),
        })
        .await
    }

    /// Says why there is no ring yet.
    pub(crate) fn wants(&self, why: &str) {
        if let InUses::Handed(in_use) = &self.0.in_use {
            in_use.send_if_modified(|in_use| {
                let wanting = Some(format!("{NO_KEY}: {why}"));
                let differs = in_use.status.is_none() && in_use.wanting != wanting;
                if differs {
                    in_use.wanting = wanting;
                }
                differs
            });
        }
    }

    /// Makes the first ring, unless one came meanwhile.
    ///
    /// # Errors
    /// As [`Rings::take`].
    pub(crate) async fn make_first(&self) -> Result<(), String> {
        let KeySource::Others { may_be_open, .. } = self.0.source else { return Ok(()) };
        self.change(move |own| {
            if own.is_some() {
                return Ok((None, ()));
            }
            let sealing = if may_be_open { Sealing::Open } else { Sealing::Require };
            if may_be_open {
                warn!("gossip is open because insecure is set: `starling gossip seal send` begins to seal it");
            }
            Ok((Some(Ring::first(clock::unix_ms(), sealing)?), ()))
        })
        .await
    }

    /// Takes a step. Returns the name of a key that was made.
    ///
    /// # Errors
    /// Why it cannot be.
    pub(crate) async fn step(&self, step: Step) -> Result<Option<KeyId>, String> {
        self.change(move |own| {
            let (ring, made) = own.ok_or("there is no ring yet")?.step(step)?;
            Ok((Some(ring), made))
        })
        .await
    }

    /// Decides on a change and makes it, one after the other.
    async fn change<T: Send + 'static>(
        &self,
        decide: impl FnOnce(Option<&Ring>) -> Result<(Option<Ring>, T), String> + Send + 'static,
    ) -> Result<T, String> {
        let rings = self.clone();
        let changed = tokio::task::spawn_blocking(move || {
            let _one_at_a_time = rings.0.changing.lock().unwrap_or_else(PoisonError::into_inner);
            let (ring, value) = decide(rings.handed().as_ref())?;
            ring.map_or(Ok(()), |ring| rings.put(ring))?;
            Ok(value)
        });
        changed.await.map_err(|error| error.to_string())?
    }

    /// Onto the disk, then in use: what others may have from us is not lost by a restart.
    fn put(&self, ring: Ring) -> Result<(), String> {
        state_folder::replace(&self.0.path, ring.text().as_bytes(), SECRET)
            .map_err(|error| format!("the ring is not kept: {error}"))?;
        let before = self.handed().map(|ring| ring.status(false).fact()).unwrap_or_default();
        info!(before, now = ring.status(false).fact(), "keys of gossip: version, sealing, and names, the first seals");
        if let (InUses::Handed(in_use), KeySource::Others { may_be_open, .. }) = (&self.0.in_use, &self.0.source) {
            in_use.send_replace(InUse::of_ring(Some(&ring), *may_be_open));
        }
        self.0.handed.send_replace(Some(ring));
        Ok(())
    }
}

fn read(folder: &Path, path: &Path) -> anyhow::Result<Option<Ring>> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create the state folder {}", folder.display()))?;
    if !path.try_exists().with_context(|| format!("cannot look for {}", path.display()))? {
        return Ok(None);
    }
    let what = match secret::text(path) {
        Ok(text) => match Ring::parse(&text) {
            Ok(ring) => return Ok(Some(ring)),
            Err(what) => what,
        },
        Err(what) => what,
    };
    anyhow::bail!("{} {what}; remove it to be handed the ring again by another aggregator", path.display())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn others(may_be_open: bool, alone: bool) -> KeySource {
        KeySource::Others { may_be_open, alone }
    }

    #[tokio::test]
    async fn a_ring_outlives_its_process_and_nobody_else_can_read_it() {
        let (state, tasks) = (tempfile::tempdir().unwrap(), TaskTracker::new());
        let rings = Rings::open(others(false, true), state.path(), &tasks).await.unwrap();
        let made = rings.step(Step::Install).await.unwrap().unwrap();
        let mode = std::fs::metadata(state.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let again = Rings::open(others(false, false), state.path(), &tasks).await.unwrap();
        assert_eq!(again.to_hand_out(), rings.to_hand_out());
        assert_eq!(again.status().unwrap().ids[1], made);
        std::fs::write(state.path().join(FILE), "nonsense").unwrap();
        let error = Rings::open(others(false, false), state.path(), &tasks).await.unwrap_err().to_string();
        assert!(error.contains("gossip.ring has no line"), "{error}");
    }

    #[tokio::test]
    async fn the_newer_ring_is_taken_and_what_does_not_fit_the_disk_is_not() {
        let (state, other, tasks) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), TaskTracker::new());
        let one = Rings::open(others(false, true), state.path(), &tasks).await.unwrap();
        let two = Rings::open(others(false, false), other.path(), &tasks).await.unwrap();
        let in_use = two.in_use().unwrap();
        assert!(in_use.borrow().keys.is_none() && in_use.borrow().wanting.is_some() && two.status().is_none());
        assert!(two.step(Step::Install).await.unwrap_err().contains("no ring yet"));
        let old = one.to_hand_out().unwrap();
        two.take(old.clone()).await.unwrap();
        one.step(Step::Install).await.unwrap();
        two.take(one.to_hand_out().unwrap()).await.unwrap();
        two.take(old).await.unwrap();
        assert_eq!(two.to_hand_out(), one.to_hand_out());
        drop(other);
        one.step(Step::Install).await.unwrap();
        let kept = two.to_hand_out();
        assert!(two.take(one.to_hand_out().unwrap()).await.unwrap_err().contains("not kept"));
        assert_eq!(two.to_hand_out(), kept);
    }

    #[tokio::test]
    async fn open_gossip_is_for_those_who_allow_it() {
        let tasks = TaskTracker::new();
        let open = |may_be_open: bool, alone: bool| {
            let tasks = tasks.clone();
            async move {
                let state = tempfile::tempdir().unwrap();
                let rings = Rings::open(others(may_be_open, alone), state.path(), &tasks).await.unwrap();
                (rings, state)
            }
        };
        let ((one, _a), (two, _b)) = (open(true, true).await, open(false, false).await);
        let sees = |rings: &Rings| {
            let in_use = rings.in_use().unwrap().borrow().clone();
            (in_use.keys.is_some(), in_use.sends_sealed, in_use.believes_open)
        };
        two.take(one.to_hand_out().unwrap()).await.unwrap();
        assert_eq!((sees(&one), sees(&two)), ((true, false, true), (false, true, false)));
        for (sealing, believes) in [(Sealing::Send, true), (Sealing::Require, false)] {
            one.step(Step::Seal(sealing)).await.unwrap();
            two.take(one.to_hand_out().unwrap()).await.unwrap();
            assert_eq!((sees(&one), sees(&two)), ((true, true, believes), (true, true, false)));
        }
    }

    #[tokio::test]
    async fn keys_of_a_file_are_handed_out_and_none_are_taken() {
        let (state, tasks) = (tempfile::tempdir().unwrap(), TaskTracker::new());
        let file = state.path().join("keyring");
        state_folder::replace(&file, "ab".repeat(32).as_bytes(), SECRET).unwrap();
        let one = Rings::open(KeySource::File(file), state.path(), &tasks).await.unwrap();
        let (other, made) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let two = Rings::open(others(false, false), other.path(), &tasks).await.unwrap();
        two.take(one.to_hand_out().unwrap()).await.unwrap();
        let status = one.status().unwrap();
        assert!(status.from_file && status.ids == two.status().unwrap().ids);
        let third = Rings::open(others(false, true), made.path(), &tasks).await.unwrap();
        one.take(third.to_hand_out().unwrap()).await.unwrap();
        assert_eq!(one.status().unwrap(), status);
    }
}
