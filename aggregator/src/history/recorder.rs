//! Writes the seconds that are not sealed yet to the log, once a second and before anything is answered from them.
//!
//! The names of an epoch stand in the log once; it is over after 300 seconds. A log file goes when all the epochs in it are
//! over and none of the windows of 300 seconds that they speak of waits for the disk any more.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use starling_store::{LogError, Position};

use super::{
    disk::{Disk, LogPart},
    record::{RecordWriter, Written, WrittenRow},
};
use crate::{
    blocks::{BLOCK_SECONDS, LogPlace, LogRows},
    ingest::{IngestNode, Registry},
    ledger_task::LedgerHandle,
    metrics::Metrics,
};

/// Rows are appended in pieces of so many bytes; the store takes up to 32 MiB between two syncs.
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// Seconds of the cluster written in one step: those of a minute that peers brought at once, and more in the next steps.
const VIEWS_A_STEP: usize = 60;
/// Settled seconds that may still change: as long as frames are taken, and some.
pub(super) const CHANGES_FOR: u32 = starling_proto::limits::LATE_WINDOW + 60;

/// See the module.
pub(super) struct Recorder {
    disk: Arc<Disk>,
    registry: Arc<Registry>,
    ledger: LedgerHandle,
    metrics: Arc<Metrics>,
    writer: RecordWriter,
    /// Number of the epoch that is written.
    epoch: u64,
    /// Oldest first; the last one is written.
    epochs: VecDeque<Epoch>,
    /// The revision of each second of the cluster that is in the log.
    views: BTreeMap<u32, u32>,
    /// The newest settled second that is in the log.
    settled: u32,
    /// Rows that were appended and not synced yet: memory holds them until then. At most what the store takes between two
    /// syncs.
    unsynced: Vec<Logged>,
    /// Syncs of the log that had failed before these were appended.
    failed_syncs: u64,
}

/// Rows of one block that the log has, from number `first` on.
struct Logged {
    node: Arc<IngestNode>,
    start: u32,
    first: u32,
    rows: Vec<(Arc<[u8]>, LogPlace)>,
}

/// A piece of the log.
struct Epoch {
    /// Where it begins.
    began: Position,
    /// Starts of the windows that it speaks of.
    windows: BTreeSet<u32>,
}

/// What was taken from the nodes for one append.
#[derive(Default)]
struct Taken {
    /// Rows of one block each, without the rows.
    rows: Vec<Logged>,
    /// How many rows each of them has.
    counts: Vec<usize>,
    views: Vec<(u32, u32)>,
    settled: u32,
    bytes: usize,
}

impl Recorder {
    /// Goes on after a log that speaks of `windows`.
    pub(super) fn new(
        disk: Arc<Disk>,
        registry: Arc<Registry>,
        ledger: LedgerHandle,
        metrics: Arc<Metrics>,
        windows: BTreeSet<u32>,
    ) -> Self {
        let before = Epoch { began: Position::default(), windows };
        Self {
            disk,
            registry,
            ledger,
            metrics,
            writer: RecordWriter::new(0),
            epoch: 0,
            epochs: VecDeque::from([before]),
            views: BTreeMap::new(),
            settled: 0,
            unsynced: Vec::new(),
            failed_syncs: 0,
        }
    }

    /// Appends all that is new; with `sync` it survives a power loss afterwards. A disk that does not take it is reported,
    /// and it is tried again with the next call.
    pub(super) fn step(&mut self, now_ms: u64, sync: bool) {
        let recorded = self.record(now_ms);
        let synced = recorded.and_then(|()| if sync { self.sync() } else { Ok(()) });
        if let Err(error) = &synced {
            self.metrics.history_not_logged(error);
        }
        self.metrics.history_paused(self.disk.paused().as_ref());
    }

    /// What survives a power loss now is read from the disk from now on. After a failed sync records stand elsewhere than
    /// where they were appended: those stay in memory until their block is sealed.
    fn sync(&mut self) -> Result<(), LogError> {
        let unsynced = std::mem::take(&mut self.unsynced);
        self.disk.store().sync()?;
        let failed_syncs = self.disk.store().log_stats().failed_syncs;
        if failed_syncs == self.failed_syncs {
            for Logged { node, start, first, rows } in unsynced {
                node.now_logged(start, first, &rows);
            }
        }
        Ok(())
    }

    fn record(&mut self, now_ms: u64) -> Result<(), LogError> {
        if now_ms >= self.epoch + u64::from(BLOCK_SECONDS) * 1_000 {
            self.begin(now_ms)?;
        }
        let mut taken = Taken::default();
        let nodes = self.registry.holders();
        for node in &nodes {
            for rows in node.unlogged() {
                let LogRows { start, first, .. } = rows;
                self.writer.node(&node.id, &rows);
                taken.bytes += rows.rows.iter().map(|row| row.bytes.len() + 16).sum::<usize>();
                taken.rows.push(Logged { node: node.clone(), start, first, rows: Vec::new() });
                taken.counts.push(rows.rows.len());
            }
            if taken.bytes >= BATCH_BYTES {
                self.append(std::mem::take(&mut taken), now_ms)?;
            }
        }
        // After what nodes have: a second of theirs that is answered is settled.
        let settled = self.ledger.published().borrow().settled;
        // The newest first: those of an outage come by the dozen.
        let held = self.ledger.held(settled);
        if let Some((oldest, _)) = held.last() {
            self.views = self.views.split_off(oldest);
        }
        for (tick, revision) in held {
            if self.views.get(&tick) == Some(&revision) {
                continue;
            }
            if let Some(view) = self.ledger.view(tick).filter(|view| view.revision > 0) {
                self.writer.cluster(&view);
                taken.views.push((tick, view.revision));
                if taken.views.len() >= VIEWS_A_STEP {
                    break;
                }
            }
        }
        taken.settled = taken.views.iter().map(|(tick, _)| *tick).max().unwrap_or(0);
        // A second without any stream is settled with nothing in it, and nodes that come back then bring theirs: it is answered
        // of them before the cluster has it, and is to be answered after a restart too.
        if settled > taken.settled.max(self.settled) && nodes.iter().any(|node| node.newest() >= settled) {
            self.writer.settled(settled);
            taken.settled = settled;
        }
        self.append(taken, now_ms)
    }

    /// Begins an epoch: names are written again.
    fn begin(&mut self, now_ms: u64) -> Result<(), LogError> {
        let began = self.disk.store().append(&[])?;
        self.epoch = now_ms.max(self.epoch + 1);
        self.writer = RecordWriter::new(self.epoch);
        self.epochs.push_back(Epoch { began, windows: BTreeSet::new() });
        Ok(())
    }

    fn append(&mut self, taken: Taken, now_ms: u64) -> Result<(), LogError> {
        let Written { records, rows } = self.writer.take();
        if records.is_empty() {
            return Ok(());
        }
        if self.unsynced.is_empty() {
            self.failed_syncs = self.disk.store().log_stats().failed_syncs;
        }
        let windows = taken.rows.iter().map(|logged| logged.start);
        let windows = windows.chain(taken.views.iter().map(|(tick, _)| tick - tick % BLOCK_SECONDS));
        if let Some(epoch) = self.epochs.back_mut() {
            epoch.windows.extend(windows);
        }
        let records: Vec<(u8, &[u8])> = records.iter().map(|(kind, bytes)| (*kind as u8, &bytes[..])).collect();
        match self.disk.store().append(&records) {
            Ok(end) => {
                let lengths: Vec<usize> = records.iter().map(|(_, bytes)| bytes.len()).collect();
                let (payloads, mut rows) = (end.payloads(&lengths), rows.into_iter());
                let place = |row: WrittenRow| {
                    let at = payloads.get(row.record)?;
                    Some((row.bytes, LogPlace { file: at.file, offset: at.offset + row.offset as u64 }))
                };
                self.unsynced.extend(taken.rows.into_iter().zip(taken.counts).map(|(logged, count)| {
                    let rows = rows.by_ref().take(count).filter_map(place).collect();
                    Logged { rows, ..logged }
                }));
                self.views.extend(taken.views);
                self.settled = self.settled.max(taken.settled);
                self.metrics.history_logged_bytes.add(records.iter().map(|(_, bytes)| bytes.len() as u64).sum());
                Ok(())
            }
            Err(error) => {
                for Logged { node, start, first, .. } in taken.rows {
                    node.log_again(start, first);
                }
                // Names may have been among what was not written.
                self.epoch = self.epoch.max(now_ms);
                self.writer = RecordWriter::new(self.epoch + 1);
                self.epoch += 1;
                Err(error)
            }
        }
    }

    /// Lets log files go that speak only of windows which do not wait.
    pub(super) fn forget(&mut self, waiting: &BTreeSet<u32>) {
        let before = self.epochs.len();
        while self.epochs.len() > 1 && self.epochs.front().is_some_and(|epoch| epoch.windows.is_disjoint(waiting)) {
            self.epochs.pop_front();
        }
        let (Some(oldest), true) = (self.epochs.front(), self.epochs.len() < before) else { return };
        if let Err(error) = self.disk.needs_from(LogPart::History, oldest.began) {
            self.metrics.history_failed("delete a log file", &error);
        }
    }
}

#[cfg(test)]
mod tests {
    use starling_ledger::LedgerLimits;
    use starling_proto::{
        catalogue,
        frame::{Content, Second},
        ids::NodeId,
        interner::Interner,
        series::{Sample, Series, Value},
    };
    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::{
        blocks::{History, sparse},
        clock::{now_ms, tick_of},
        history::replay::Replay,
        ledger_task::tests::task_limited,
    };

    #[tokio::test]
    async fn what_was_answered_of_a_node_alone_is_settled_after_a_restart_too() {
        let (tasks, state, metrics) = (TaskTracker::new(), tempfile::tempdir().unwrap(), Metrics::of_a_test());
        let ledger = task_limited(&tasks, &state, LedgerLimits::default()).await;
        let registry = Arc::new(Registry::new(Vec::new(), 10, 10, metrics.clone()));
        let opened = || Disk::open(state.path(), &[LogPart::History, LogPart::Ledger]).unwrap();
        let (disk, _) = opened();
        let windows = BTreeSet::new();
        let mut recorder = Recorder::new(disk.clone(), registry.clone(), ledger.clone(), metrics.clone(), windows);
        recorder.step(now_ms(), true);
        assert_eq!(recorder.settled, 0, "without nodes nothing is answered, and nothing written");

        // It ended for the cluster without anything: the node came later.
        let tick = tick_of(now_ms());
        let mut of_node = History::default();
        let names = Interner::default();
        for tick in tick..tick + 10 {
            let sample = Sample { series: Series::of(&catalogue::UPTIME, &[]), value: Value::Gauge(1) };
            let second = Second::of_content(&names, &Content { tick, samples: vec![sample], dropped: 0 }).0;
            assert!(of_node.push(&second, &sparse(&second)));
        }
        for rows in of_node.unlogged() {
            registry.restore(&NodeId::parse("web-1").unwrap(), rows);
        }
        let mut published = ledger.published();
        published.wait_for(|published| published.settled >= tick).await.unwrap();
        assert!(ledger.held(tick).is_empty());
        recorder.step(now_ms(), true);
        drop((recorder, disk, registry));

        let registry = Registry::new(Vec::new(), 10, 10, metrics.clone());
        let replay = Replay::run(opened().1, &registry, &metrics);
        assert!(replay.recalled.settled() >= Some(tick), "{:?} and {tick}", replay.recalled.settled());
    }
}
