//! Alerts: rules judged second by second, and the records that all aggregators share.
//!
//! - [`Alerts`]: the records and the rules, for all who read or write them;
//! - [`files`]: the rules from their files, again when these change;
//! - [`sight`]: what expressions read of a second;
//! - [`around`]: what is known beside the second of the cluster;
//! - [`evaluator`]: the part that judges: brings the seconds to the rules;
//! - [`queries`]: the part that asks rules which are queries;
//! - [`messages`]: what notifiers need to know;
//! - [`disk`]: the records over a restart.

mod around;
mod disk;
mod evaluator;
mod files;
mod messages;
mod queries;
mod sight;

use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use starling_alerts::{
    Book, Mistake, Put, Record, Rules,
    clocks::{Clocks, Skew},
    control::Label,
    shown::Shown,
};
use starling_proto::{ids::NodeId, v1};
use starling_service::clock;
use tokio::sync::watch;

use self::files::Files;
pub(crate) use self::{
    around::Parts,
    evaluator::Evaluator,
    messages::{Messages, read as read_notifiers},
    queries::{Asks, Queries, Standing},
};
use crate::{
    Config,
    clock::{now_ms, tick_of},
    fleet::ClusterFleet,
    membership::{Member, MembershipView},
    metrics::Metrics,
};

/// The name of what is merged, for who takes care of it.
const MERGED: &str = "alerts of the cluster";
/// Name of the file in the state folder.
const FILE: &str = "alerts";
/// Name of the folder in the state folder with the rules that were in force last.
const RULES: &str = "alert-rules";
/// What a person said is known to another aggregator within this time, or answered without.
const SHARED_WITHIN: Duration = Duration::from_secs(1);
/// Longest time that the records of others are waited for.
const CATCH_UP: Duration = Duration::from_secs(10);

/// The records and the rules of an aggregator that starts.
///
/// # Errors
/// When the work ends without an answer.
pub(crate) async fn open(config: &Config, metrics: Arc<Metrics>) -> anyhow::Result<(Alerts, Files)> {
    let (settings, path, kept) = (config.alerts.clone(), config.state_dir.join(FILE), config.state_dir.join(RULES));
    let opened = tokio::task::spawn_blocking(move || {
        let (files, in_force) = files::read(&settings, kept, tick_of(now_ms()));
        metrics.alert_rules(&in_force.rules, &in_force.mistakes);
        (Alerts::open(path, in_force, metrics), files)
    });
    Ok(opened.await?)
}

/// Records in one message.
pub(crate) const RECORDS_MAX: usize = 1_024;

/// The rules, and what is wrong with the files that were read last.
#[derive(Debug, Clone)]
pub(crate) struct InForce {
    /// In force.
    pub(crate) rules: Arc<Rules>,
    /// Why files were refused; none when they are in force.
    pub(crate) mistakes: Arc<[Mistake]>,
    /// Since which second they are.
    pub(crate) refused_since: Option<u32>,
}

/// See the module. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Alerts(Arc<Shared>);

struct Shared {
    /// Plain mutex; the longest section is one pass over the records.
    book: Mutex<Book>,
    /// Plain mutex, short sections.
    in_force: Mutex<InForce>,
    /// The revision of the book.
    changed: watch::Sender<u64>,
    /// The revision up to which another aggregator has everything; `None` while there is no other.
    shared: watch::Sender<Option<u64>>,
    /// The last second that was judged.
    judged: AtomicU32,
    /// What queries came to.
    answers: queries::Answers,
    path: PathBuf,
    /// Held while the file is written: two would write into one beside it.
    saving: Mutex<()>,
    /// Plain mutex, short sections.
    clocks: Mutex<Clocks>,
    /// Nodes that were lost here at once, while there is none.
    blind: AtomicU32,
    opened: Instant,
    caught_up: AtomicBool,
    notifiers_refused: AtomicBool,
    metrics: Arc<Metrics>,
}

impl Alerts {
    /// What `path` holds, judged by `in_force`. Blocks.
    pub(crate) fn open(path: PathBuf, in_force: InForce, metrics: Arc<Metrics>) -> Self {
        let mut book = Book::default();
        match disk::read(&path) {
            Ok(records) => {
                let now = now_ms();
                records.into_iter().for_each(|record| drop(book.put(record, now)));
                book.expire((now / 1_000) as u32);
            }
            Err(error) => metrics.alerts_not_read(&path, &error),
        }
        let changed = watch::Sender::new(book.revision());
        Self(Arc::new(Shared {
            book: Mutex::new(book),
            in_force: Mutex::new(in_force),
            changed,
            shared: watch::Sender::new(None),
            judged: AtomicU32::new(0),
            answers: queries::Answers::default(),
            path,
            saving: Mutex::default(),
            clocks: Mutex::default(),
            blind: AtomicU32::new(0),
            opened: Instant::now(),
            caught_up: AtomicBool::new(false),
            notifiers_refused: AtomicBool::new(false),
            metrics,
        }))
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the records.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Book) -> T) -> T {
        read(&self.book())
    }

    /// Reads with everything that an alert is shown with.
    pub(crate) fn shown<T>(&self, fleet: &ClusterFleet, read: impl FnOnce(&Shown<'_>) -> T) -> T {
        let rules = self.in_force().rules;
        let labels = |node: &str| -> Vec<Label> {
            NodeId::parse(node).map_or_else(|_| Vec::new(), |node| fleet.labels_of(&node))
        };
        self.read(|book| read(&Shown::new(&rules, book, &labels, tick_of(now_ms()))))
    }

    /// Takes records, counts those that are refused, and wakes all who follow.
    pub(crate) fn put(&self, records: impl IntoIterator<Item = Record>) {
        let (now, mut refused) = (now_ms(), Vec::new());
        let revision = {
            let mut book = self.book();
            for record in records {
                if let Put::Refused(why) = book.put(record, now) {
                    refused.push(why);
                }
            }
            book.revision()
        };
        refused.iter().for_each(|why| self.0.metrics.alert_record_refused(why));
        self.0.changed.send_if_modified(|known| std::mem::replace(known, revision) != revision);
    }

    /// Takes what a peer sent. Returns the digest of all records.
    pub(crate) fn put_wire(&self, records: Vec<v1::AlertRecord>) -> u64 {
        let records = records
            .into_iter()
            .filter_map(|wire| Record::try_from(wire).map_err(|why| self.0.metrics.alert_record_refused(&why)).ok());
        self.put(records);
        self.read(Book::digest)
    }

    /// The revision of the records, now and from now on.
    pub(crate) fn changed(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }

    /// The revision up to which another aggregator has everything, now and from now on; `None` while there is no other.
    pub(crate) fn shared(&self) -> watch::Receiver<Option<u64>> {
        self.0.shared.subscribe()
    }

    /// Whether there are other aggregators.
    pub(crate) fn set_alone(&self, alone: bool) {
        self.0.shared.send_if_modified(|shared| {
            let next = (!alone).then(|| shared.unwrap_or(0));
            std::mem::replace(shared, next) != next
        });
    }

    /// Another aggregator has everything up to `revision`.
    pub(crate) fn set_shared(&self, revision: u64) {
        self.0.shared.send_if_modified(|shared| {
            let more = shared.is_some_and(|shared| shared < revision);
            if more {
                *shared = Some(revision);
            }
            more
        });
    }

    /// The rules.
    pub(crate) fn in_force(&self) -> InForce {
        self.0.in_force.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_in_force(&self, in_force: InForce) {
        *self.0.in_force.lock().unwrap_or_else(PoisonError::into_inner) = in_force;
    }

    /// The last second that was judged; 0 before the first.
    pub(crate) fn judged(&self) -> u32 {
        self.0.judged.load(Ordering::Relaxed)
    }

    /// How the last evaluations of queries went, by the name of the rule; of those that are asked from here.
    pub(crate) fn queries(&self) -> BTreeMap<String, Standing> {
        self.0.answers.standing()
    }

    /// Writes the records down. Blocks.
    ///
    /// # Errors
    /// Of the file system; it is counted.
    pub(crate) fn save(&self) -> io::Result<()> {
        let _one_at_a_time = self.0.saving.lock().unwrap_or_else(PoisonError::into_inner);
        let records = self.read(|book| book.since(0));
        disk::write(&self.0.path, records).inspect_err(|error| self.0.metrics.alerts_not_kept(&self.0.path, error))
    }

    /// Puts what a person said, and waits until it is on the disk here and another aggregator has it, if there is one that answers
    /// within [`SHARED_WITHIN`].
    ///
    /// # Errors
    /// That it is not on the disk. It is in force all the same, as long as an aggregator lives.
    pub(crate) async fn keep(&self, control: v1::AlertControl) -> Result<(), String> {
        self.put([Record::Control(control)]);
        let (revision, alerts) = (*self.changed().borrow(), self.clone());
        let saved = tokio::task::spawn_blocking(move || alerts.save()).await.map_err(|error| error.to_string())?;
        saved.map_err(|error| format!("it is in force, but not on the disk of this aggregator: {error}"))?;
        let mut shared = self.shared();
        let has_it = shared.wait_for(|shared| shared.is_none_or(|shared| shared >= revision));
        // Without an answer the others get it once they are there.
        let _ = tokio::time::timeout(SHARED_WITHIN, has_it).await;
        Ok(())
    }

    /// Another aggregator gave all that it has.
    pub(crate) fn set_caught_up(&self) {
        self.0.caught_up.store(true, Ordering::Relaxed);
    }

    /// Whether what others know is known here: they gave it, there is nobody else, or nobody answered for [`CATCH_UP`]. Before that
    /// what is silenced or told already would be told.
    pub(crate) fn is_caught_up(&self, is_alone: bool) -> bool {
        is_alone || self.0.caught_up.load(Ordering::Relaxed) || self.0.opened.elapsed() >= CATCH_UP
    }

    /// Another aggregator showed the first clock in its answer, a round trip after it was asked; the second one is ours then.
    pub(crate) fn measured(&self, other: &NodeId, clocks: (u64, u64), round_trip: Duration) {
        let now = clock::millis(self.0.opened.elapsed());
        let mut all = self.0.clocks.lock().unwrap_or_else(PoisonError::into_inner);
        all.measured(other.as_str(), clocks, clock::millis(round_trip), now);
    }

    /// Whose clock is wrong, as it is seen from `me`.
    fn skew(&self, me: &NodeId) -> Skew {
        let now = clock::millis(self.0.opened.elapsed());
        self.0.clocks.lock().unwrap_or_else(PoisonError::into_inner).skew(me.as_str(), now)
    }

    /// Whether this aggregator is the one to judge what is merged: the first of those whose clocks are right.
    fn is_first(&self, view: &MembershipView) -> bool {
        let skew = self.skew(&view.me.id);
        let right = |member: &&Member| !skew.off.iter().any(|name| name == member.id.as_str());
        view.ranked(MERGED).into_iter().find(right).is_some_and(|member| member.id == view.me.id)
    }

    /// So many nodes were lost here at once, and there is none since.
    pub(crate) fn blind(&self) -> u32 {
        self.0.blind.load(Ordering::Relaxed)
    }

    /// Whether the file of notifiers is refused.
    pub(crate) fn set_notifiers_refused(&self, refused: bool) {
        self.0.notifiers_refused.store(refused, Ordering::Relaxed);
    }

    /// Whether a file of rules or of notifiers is refused here.
    pub(crate) fn is_refused(&self) -> bool {
        self.0.notifiers_refused.load(Ordering::Relaxed) || !self.in_force().mistakes.is_empty()
    }
}
