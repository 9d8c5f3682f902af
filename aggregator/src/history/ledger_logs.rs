//! Keeps the logs of the ledger on disk, beside its task: fetches what the store lacks, writes it, makes it safe, and says
//! so. Only then does it count as a copy.
//!
//! The seconds of nodes are in frames that the entries only sum up. They are written to the log first, so that the sync of the
//! entries makes both safe: what is acknowledged is there of its node, too.
//!
//! Nothing is handed over in a queue, so a slow or full disk costs no memory and loses nothing that the ledger still holds:
//! when the disk takes writes again, what it missed is fetched. While it takes none for long, what is in memory counts as a
//! copy, and every answer says that no disk is behind it: the live view goes on.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use prost::Message as _;
use starling_ledger::{Ledger, Saved, Unsaved};
use starling_proto::ids::WriterId;
use starling_store::{LogError, Position};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    disk::{Disk, LogPart},
    record::RecordKind,
    recording::{LogHandle, LogRequests, Request},
};
use crate::{
    ledger_task::{Ended, LedgerHandle},
    metrics::Metrics,
};

/// From one write to the next, at least: what comes meanwhile shares the sync. The wait of an acknowledgement is longer by it.
const WRITE_EVERY: Duration = Duration::from_millis(50);
/// Payloads fetched at once: the ledger hands out handles, not copies.
const FETCH_BYTES: usize = 8 << 20;
/// How often the store is told where the logs begin by now, so that older files may go.
const HEADS_EVERY: Duration = Duration::from_secs(60);
/// After a write that failed.
const RETRY_EVERY: Duration = Duration::from_secs(1);
/// So long a node waits for a disk that takes nothing; then memory counts.
const MEMORY_COUNTS_AFTER: Duration = Duration::from_secs(5);
/// The last entries at a stop.
const LAST_ROUNDS: usize = 8;

/// See the module.
pub(crate) struct LedgerLogs {
    ledger: LedgerHandle,
    disk: Arc<Disk>,
    metrics: Arc<Metrics>,
    saved: Saved,
    /// By which the seconds of nodes are written.
    log: LogHandle,
    /// Answers that wait until the entries behind them are in the log.
    requests: mpsc::Receiver<Request>,
    /// Appended, and not synced yet: where each log ends.
    appended: BTreeMap<WriterId, u64>,
    /// What was written, by the place in the store's log before it, and where the logs ended then. At most one for each
    /// write of the [`starling_proto::limits::LATE_WINDOW`] and some more: 30,000 of some ten bytes.
    written: VecDeque<(Position, Vec<(WriterId, u64)>)>,
    /// End of what was written so far.
    end: Position,
    /// Since when the disk takes nothing.
    paused: Option<Instant>,
}

impl LedgerLogs {
    /// Goes on from what was `saved`: all that the log of `disk` holds.
    pub(crate) fn new(
        ledger: LedgerHandle,
        disk: Arc<Disk>,
        (log, LogRequests(requests)): (LogHandle, LogRequests),
        metrics: Arc<Metrics>,
        saved: Saved,
    ) -> Self {
        let written = VecDeque::from([(Position::default(), saved.lengths().collect())]);
        let (appended, end) = (BTreeMap::new(), Position::default());
        Self { ledger, disk, metrics, saved, log, requests, appended, written, end, paused: None }
    }

    /// Keeps what comes until `stop`, and then the rest.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut heads_at = Instant::now();
        while !stop.is_cancelled() {
            let began = Instant::now();
            let wait = match self.round(&mut heads_at).await {
                Ok(true) => WRITE_EVERY.saturating_sub(began.elapsed()),
                Ok(false) => {
                    tokio::select! {
                        () = stop.cancelled() => break,
                        () = self.ledger.unsaved() => {}
                        () = tokio::time::sleep(HEADS_EVERY) => {}
                        Some(request) = self.requests.recv() => {
                            self.answer(request).await;
                        }
                    }
                    continue;
                }
                Err(Failed::Ended) => return,
                Err(Failed::Disk(error)) => {
                    self.pause(&error).await;
                    RETRY_EVERY
                }
            };
            let next = tokio::time::sleep(wait);
            tokio::pin!(next);
            loop {
                tokio::select! {
                    () = stop.cancelled() => break,
                    () = &mut next => break,
                    Some(request) = self.requests.recv() => self.answer(request).await,
                }
            }
        }
        for _ in 0..LAST_ROUNDS {
            if !matches!(self.round(&mut heads_at).await, Ok(true)) {
                break;
            }
        }
    }

    /// Appends what is lacking for whoever waits; the next round makes it safe. A disk that does not take it is told then.
    async fn answer(&mut self, first: Request) {
        let mut waiting = vec![first];
        while let Ok(more) = self.requests.try_recv() {
            waiting.push(more);
        }
        for _ in 0..LAST_ROUNDS {
            if !matches!(self.append_lacking().await, Ok(true)) {
                break;
            }
        }
        for request in waiting {
            // Whoever asked may have gone.
            let _ = request.try_send(());
        }
    }

    /// Writes what is lacking and makes it safe. False when nothing was.
    async fn round(&mut self, heads_at: &mut Instant) -> Result<bool, Failed> {
        self.append_lacking().await?;
        let any = !self.appended.is_empty();
        if any {
            self.sync().await?;
            let up_to = std::mem::take(&mut self.appended).into_iter().collect();
            self.ledger.stored(up_to).await?;
            self.resume();
        }
        if heads_at.elapsed() >= HEADS_EVERY {
            self.begin_later().await?;
            *heads_at = Instant::now();
        }
        Ok(any)
    }

    /// Appends what is lacking, up to [`FETCH_BYTES`]. False when nothing was.
    async fn append_lacking(&mut self) -> Result<bool, Failed> {
        let persists = self.ledger.persists();
        let saved = self.saved.clone();
        let lacking = self.ledger.ask(move |ledger| ledger.unsaved(&saved, FETCH_BYTES)).await?;
        if lacking.is_empty() {
            self.ledger.now_in_log(persists);
            return Ok(false);
        }
        let end = self.append(&lacking).await?;
        let up_to: Vec<_> = lacking.iter().map(|run| (run.writer(), run.up_to())).collect();
        lacking.iter().for_each(|run| self.saved.keep(run));
        self.appended.extend(up_to.iter().copied());
        self.written.push_back((self.end, up_to));
        self.end = end;
        let fetched: usize = lacking.iter().flat_map(|run| &run.run.payloads).map(Bytes::len).sum();
        if fetched < FETCH_BYTES {
            self.ledger.now_in_log(persists);
        }
        Ok(true)
    }

    /// Writes where the logs begin by now, and lets go what stands before.
    async fn begin_later(&mut self) -> Result<(), Failed> {
        let heads = self.ledger.ask(Ledger::heads).await?;
        let before = self.end;
        self.end = self.append(&heads).await?;
        self.sync().await?;
        self.saved.retain(&heads);
        let first = |writer| heads.iter().find(|head| head.writer() == writer).map(|head| head.up_to() + 1);
        let past = |(writer, up_to): &(WriterId, u64)| first(*writer).is_none_or(|first| *up_to < first);
        while self.written.pop_front_if(|(_, logs)| logs.iter().all(past)).is_some() {}
        let needed = self.written.front().map_or(before, |(place, _)| *place);
        let disk = self.disk.clone();
        let removed = tokio::task::spawn_blocking(move || disk.needs_from(LogPart::Ledger, needed)).await;
        if let Err(error) = removed.map_err(|_| Failed::Ended)? {
            // The next heads let them go.
            self.metrics.ledger_store_failed(&error);
        }
        Ok(())
    }

    async fn append(&self, runs: &[Unsaved]) -> Result<Position, Failed> {
        let records: Vec<Vec<u8>> = runs.iter().map(|run| run.run.encode_to_vec()).collect();
        let (disk, bytes) = (self.disk.clone(), records.iter().map(Vec::len).sum::<usize>());
        let appended = tokio::task::spawn_blocking(move || {
            let kind = RecordKind::LedgerEntry as u8;
            let records: Vec<(u8, &[u8])> = records.iter().map(|record| (kind, record.as_slice())).collect();
            disk.store().append(&records)
        });
        // A panic in there is not the disk's: the part ends, and the process with it.
        let end = appended.await.map_err(|_| Failed::Ended)?.map_err(Failed::Disk)?;
        self.metrics.ledger_appended(bytes);
        Ok(end)
    }

    /// Makes what was appended safe, and with it the seconds of nodes behind it.
    async fn sync(&self) -> Result<(), Failed> {
        let (disk, log) = (self.disk.clone(), self.log.clone());
        let began = Instant::now();
        let synced = tokio::task::spawn_blocking(move || {
            log.seconds_written();
            disk.store().sync()
        });
        synced.await.map_err(|_| Failed::Ended)?.map_err(Failed::Disk)?;
        self.metrics.ledger_synced(began.elapsed());
        Ok(())
    }

    async fn pause(&mut self, error: &LogError) {
        let since = *self.paused.get_or_insert_with(Instant::now);
        self.metrics.ledger_store_failed(error);
        if since.elapsed() >= MEMORY_COUNTS_AFTER && self.ledger.count_disk_only(false) {
            self.metrics.ledger_memory_counts(true);
            let held =
                self.ledger.ask(|ledger| ledger.logs().into_iter().map(|log| (log.writer, log.length)).collect());
            if let Ok(held) = held.await {
                // An ended ledger acknowledges nothing.
                let _ = self.ledger.stored(held).await;
            }
        }
    }

    fn resume(&mut self) {
        if self.paused.take().is_some() && self.ledger.count_disk_only(true) {
            self.metrics.ledger_memory_counts(false);
        }
    }
}

/// Why a round ended early.
enum Failed {
    Ended,
    Disk(LogError),
}

impl From<Ended> for Failed {
    fn from(Ended: Ended) -> Self {
        Self::Ended
    }
}
