//! What waits to be sent, in a log on the disk: requests as they are sent, with up to which second each subject is in them.
//!
//! A request keeps its bounds over restarts: a receiver that has it is sent the same again, or nothing. All in here blocks.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use starling_history::Subject;
use starling_out::write::{Backlog, Batch, Gone, Protocol, Waiting};
use starling_proto::varint::{self, Reader, VarintError};
use starling_store::{LogError, OpenError, Options, Position, Replay, Replayed, Store};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// Folder in the state folder.
const FOLDER: &str = "remote_write";
/// Files of the queue: the oldest goes when the queue is full.
const FILES: u64 = 16;
/// Largest file.
const FILE_MAX: u64 = 64 * 1024 * 1024;
/// Longest name of a subject: a group's label and its value.
const SUBJECT_MAX: usize = 1_024;
/// Subjects in one record, before a list is allocated for them: more than nodes and groups can be known.
const SUBJECTS_MAX: usize = 1 << 20;

/// Kinds of records.
mod kind {
    /// A request.
    pub(super) const REQUEST: u8 = 1;
    /// All that is to be known of earlier records: up to where they are done, and what is taken.
    pub(super) const STATE: u8 = 2;
    /// Up to where requests are done.
    pub(super) const DONE: u8 = 3;
}

/// A request that waits, with its body.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) end: Position,
    pub(super) protocol: Protocol,
    pub(super) samples: u64,
    pub(super) seconds: (u32, u32),
    /// Compressed.
    pub(super) body: Bytes,
}

/// Up to which second each subject is in the queue.
pub(super) type Taken = BTreeMap<Subject, u32>;

/// See the module. Shared.
pub(super) struct Queue {
    store: Store,
    bytes_max: u64,
    state: Mutex<State>,
    metrics: Arc<Metrics>,
    /// Something waits.
    pub(super) filled: Notify,
}

struct State {
    backlog: Backlog<Position>,
    /// All requests that end at or before it are done.
    done: Position,
}

/// A queue that is ours, with what a former process left, not read yet.
pub(super) struct Opened {
    store: Store,
    log: Replay,
    bytes_max: u64,
}

impl Opened {
    /// The queue in `state_dir`. Takes no longer when much waits in it.
    ///
    /// # Errors
    /// When another process has it, or the disk refuses.
    pub(super) fn of(state_dir: &Path, bytes_max: u64) -> Result<Self, OpenError> {
        let options = Options { log_file_bytes: (bytes_max / FILES).min(FILE_MAX), ..Options::new([]) };
        let (store, recovered) = Store::open(&state_dir.join(FOLDER), &options)?;
        Ok(Self { store, log: recovered.log, bytes_max })
    }

    /// Reads all of it: the queue, and what is taken. `None` when `stop` came before.
    pub(super) fn read(self, metrics: Arc<Metrics>, stop: &CancellationToken) -> Option<(Arc<Queue>, Taken)> {
        let Self { store, log, bytes_max } = self;
        let (mut backlog, mut done, mut taken) = (Backlog::default(), Position::default(), Taken::new());
        for replayed in log {
            if stop.is_cancelled() {
                return None;
            }
            let record = match replayed {
                Replayed::Record(record) => record,
                Replayed::Damage(damage) => {
                    metrics.remote_write_damaged(&damage);
                    continue;
                }
            };
            let read = match record.kind {
                kind::REQUEST => read_request(&record.payload).map(|(request, of_request)| {
                    let (samples, seconds) = (request.samples, request.seconds);
                    // One without samples only says what is taken.
                    if samples > 0 {
                        backlog.push(Waiting { end: record.end, samples, seconds });
                    }
                    taken.extend(of_request);
                }),
                kind::STATE => read_state(&record.payload).map(|(up_to, all)| {
                    done = done.max(up_to);
                    taken = all;
                }),
                kind::DONE => read_position(&mut Reader::new(&record.payload)).map(|up_to| done = done.max(up_to)),
                // Of a later version.
                _ => Ok(()),
            };
            if read.is_err() {
                metrics.remote_write_unreadable();
            }
        }
        backlog.done(done);
        metrics.remote_write_queued.add(backlog.samples());
        metrics.remote_write_recovered(backlog.len(), backlog.samples());
        let state = Mutex::new(State { backlog, done });
        let queue = Queue { store, bytes_max, state, metrics, filled: Notify::new() };
        queue.show();
        queue.filled.notify_one();
        Some((Arc::new(queue), taken))
    }
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self) {
        let state = self.state();
        self.metrics.remote_write_waiting.set(state.backlog.samples() as f64);
        self.metrics.remote_write_oldest.set(state.backlog.first().map_or(0.0, |first| f64::from(first.seconds.0)));
        drop(state);
        self.metrics.remote_write_queue_bytes.set(self.store.log_stats().bytes as f64);
    }

    /// Appends `batch` as a request with this compressed `body`: it survives the end of the process from then on. One that is
    /// longer than a record can be is dropped and counted: it would never fit, and all behind it would wait.
    ///
    /// # Errors
    /// When the disk does not take it; nothing of it is there then.
    pub(super) fn put(&self, protocol: Protocol, batch: &Batch, body: &[u8]) -> Result<(), LogError> {
        let record = write_request(protocol, batch, body);
        let (samples, seconds) = (batch.samples(), batch.seconds.unwrap_or_default());
        let end = match self.store.append(&[(kind::REQUEST, &record)]) {
            Ok(end) => end,
            Err(error @ LogError::TooLong { .. }) => {
                self.metrics.remote_write_queued.add(samples);
                self.metrics.remote_write_dropped_long(&error, samples, seconds);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        if samples > 0 {
            self.state().backlog.push(Waiting { end, samples, seconds });
            self.metrics.remote_write_queued.add(samples);
        }
        Ok(())
    }

    /// Makes all that was put survive a power loss, and keeps to the bound: the oldest goes, as a whole file. `taken` is all
    /// that is taken; it is written again before a file goes that may be the only one to say it.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(super) fn settle(&self, taken: &Taken) -> Result<(), LogError> {
        self.store.sync()?;
        loop {
            let stats = self.store.log_stats();
            let Some(oldest) = stats.oldest.filter(|_| stats.bytes > self.bytes_max && stats.files > 1) else { break };
            // All of the oldest file: the next one begins behind it.
            let up_to = Position { file: oldest + 1, offset: 0 };
            let gone = {
                let mut state = self.state();
                state.done = state.done.max(up_to);
                state.backlog.done(up_to)
            };
            if let Some(gone) = gone {
                self.metrics.remote_write_dropped_full(&gone);
            }
            self.give_back(taken)?;
            if self.store.log_stats().oldest == stats.oldest {
                // The disk does not let it go; it is tried again with the next round.
                break;
            }
        }
        self.give_back(taken)?;
        self.filled.notify_one();
        self.show();
        Ok(())
    }

    /// Deletes the files of which all requests are done.
    fn give_back(&self, taken: &Taken) -> Result<(), LogError> {
        let (done, first) = {
            let state = self.state();
            (state.done, state.backlog.first().map(|first| first.end))
        };
        let stats = self.store.log_stats();
        let needed = first.map_or(stats.written, |first| first.min(stats.written));
        if stats.oldest.is_some_and(|oldest| oldest < needed.file) {
            self.store.append(&[(kind::STATE, &write_state(done, taken))])?;
            self.store.sync()?;
            if let Err(error) = self.store.checkpoint(Position { file: needed.file, offset: 0 }) {
                self.metrics.remote_write_not_kept(&error);
            }
        }
        Ok(())
    }

    /// The oldest request that waits; `None` when none does. What cannot be read any more is dropped and counted.
    pub(super) fn next(&self, cursor: &mut Cursor) -> Option<Request> {
        loop {
            let first = *self.state().backlog.first()?;
            match cursor.read(&self.store, first.end) {
                Some(request) => return Some(request),
                None => {
                    self.metrics.remote_write_unreadable();
                    if let Some(gone) = self.state().backlog.done(first.end) {
                        self.metrics.remote_write_dropped.of("damaged").add(gone.samples);
                    }
                }
            }
        }
    }

    /// Whether the request that ends at `end` went, because the queue was full.
    pub(super) fn is_gone(&self, end: Position) -> bool {
        self.state().backlog.first().is_none_or(|first| first.end > end)
    }

    /// The request that ends at `end`, and all before it, are done. `None` when it went meanwhile, because the queue was
    /// full: it is counted there.
    pub(super) fn done(&self, end: Position) -> Option<Gone> {
        let gone = {
            let mut state = self.state();
            state.done = state.done.max(end);
            state.backlog.done(end)
        };
        let mut record = Vec::new();
        write_position(&mut record, end);
        // Not written, it is sent once more after a restart: the same request.
        if let Err(error) = self.store.append(&[(kind::DONE, &record)]) {
            self.metrics.remote_write_not_kept(&error);
        }
        self.show();
        gone
    }
}

/// Where reading goes on.
#[derive(Default)]
pub(super) struct Cursor {
    /// What is read of the log, with the end of the last record.
    reading: Option<Replay>,
    at: Position,
}

impl Cursor {
    /// The request that ends at `end`.
    fn read(&mut self, store: &Store, end: Position) -> Option<Request> {
        for attempt in 0..3 {
            if self.reading.is_none() || self.at >= end {
                // From where the last one ended; from the beginning when it is not behind that.
                let from = if attempt < 2 && self.at < end { self.at } else { Position::default() };
                self.reading = Some(store.replay_log(from));
            }
            while let Some(replayed) = self.reading.as_mut().and_then(Iterator::next) {
                let Replayed::Record(record) = replayed else { continue };
                self.at = record.end;
                if record.end == end {
                    let (request, _) = read_request(&record.payload).ok()?;
                    return Some(Request { end, ..request });
                }
                if record.end > end {
                    break;
                }
            }
            // The end of what was written when reading began, or beyond what is wanted.
            self.reading = None;
        }
        None
    }
}

fn write_position(out: &mut Vec<u8>, position: Position) {
    varint::put(out, position.file);
    varint::put(out, position.offset);
}

fn read_position(reader: &mut Reader<'_>) -> Result<Position, VarintError> {
    Ok(Position { file: reader.u64()?, offset: reader.u64()? })
}

fn write_taken<'a>(out: &mut Vec<u8>, taken: impl ExactSizeIterator<Item = (&'a Subject, u32)>) {
    varint::put(out, taken.len() as u64);
    for (subject, tick) in taken {
        varint::put_bytes(out, subject.to_string().as_bytes());
        varint::put(out, tick.into());
    }
}

fn read_taken(reader: &mut Reader<'_>) -> Result<Vec<(Subject, u32)>, VarintError> {
    let count = reader.u64()?;
    let mut taken = Vec::new();
    for _ in 0..count.min(SUBJECTS_MAX as u64) {
        let name = reader.bytes(SUBJECT_MAX)?;
        let tick = u32::try_from(reader.u64()?).unwrap_or(u32::MAX);
        let subject = std::str::from_utf8(name).ok().and_then(|name| Subject::parse(name).ok());
        taken.extend(subject.map(|subject| (subject, tick)));
    }
    Ok(taken)
}

fn write_state(done: Position, taken: &Taken) -> Vec<u8> {
    let mut out = Vec::new();
    write_position(&mut out, done);
    write_taken(&mut out, taken.iter().map(|(subject, tick)| (subject, *tick)));
    out
}

fn read_state(bytes: &[u8]) -> Result<(Position, Taken), VarintError> {
    let mut reader = Reader::new(bytes);
    Ok((read_position(&mut reader)?, read_taken(&mut reader)?.into_iter().collect()))
}

fn write_request(protocol: Protocol, batch: &Batch, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + 64);
    varint::put(&mut out, if protocol == Protocol::V1 { 1 } else { 2 });
    varint::put(&mut out, batch.samples());
    let (first, last) = batch.seconds.unwrap_or_default();
    varint::put(&mut out, first.into());
    varint::put(&mut out, last.into());
    write_taken(&mut out, batch.taken.iter().map(|(subject, tick)| (subject, *tick)));
    out.extend_from_slice(body);
    out
}

fn read_request(bytes: &[u8]) -> Result<(Request, Vec<(Subject, u32)>), VarintError> {
    let mut reader = Reader::new(bytes);
    let protocol = if reader.u64()? == 1 { Protocol::V1 } else { Protocol::V2 };
    let samples = reader.u64()?;
    let tick = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    let seconds = (tick(reader.u64()?), tick(reader.u64()?));
    let taken = read_taken(&mut reader)?;
    let body = Bytes::copy_from_slice(reader.rest());
    Ok((Request { end: Position::default(), protocol, samples, seconds, body }, taken))
}

#[cfg(test)]
mod tests {
    use starling_proto::ids::NodeId;

    use super::*;

    fn batch(tick: u32, samples: u64) -> Batch {
        let node = Subject::Node(NodeId::parse("web-1").unwrap());
        Batch {
            taken: vec![(Subject::Cluster, tick), (node, tick)],
            numbers: samples,
            seconds: Some((tick, tick)),
            ..Batch::default()
        }
    }

    fn open(dir: &Path, bytes: u64) -> (Arc<Queue>, Taken) {
        Opened::of(dir, bytes).unwrap().read(Metrics::of_a_test(), &CancellationToken::new()).unwrap()
    }

    fn all(queue: &Queue, cursor: &mut Cursor) -> Vec<(u32, Vec<u8>)> {
        let mut found = Vec::new();
        while let Some(request) = queue.next(cursor) {
            found.push((request.seconds.0, request.body.to_vec()));
            queue.done(request.end);
        }
        found
    }

    /// Scenario 22: not only the newest file, and not only what comes after the start.
    #[test]
    fn what_waits_is_there_after_any_end_of_the_process() {
        let dir = tempfile::tempdir().unwrap();
        let (mut sent, mut produced) = (Vec::new(), 0);
        for process in 0..4u32 {
            let (queue, taken) = open(dir.path(), 4 << 20);
            assert_eq!(taken.get(&Subject::Cluster).copied(), (process > 0).then(|| process * 100 - 1));
            let mut cursor = Cursor::default();
            for n in 0..100 {
                let tick = process * 100 + n;
                // 4 KiB each, in files of 256 KiB.
                queue.put(Protocol::V1, &batch(tick, 10), &[tick as u8; 4_096]).unwrap();
                produced += 10;
                let known = Taken::from([(Subject::Cluster, tick)]);
                queue.settle(&known).unwrap();
                // Some are sent by each process.
                if n % 5 == 0 {
                    let request = queue.next(&mut cursor).unwrap();
                    sent.push((request.seconds.0, request.body.to_vec()));
                    queue.done(request.end);
                }
            }
            let waiting = queue.state().backlog.samples();
            assert_eq!(sent.len() as u64 * 10 + waiting, produced);
        }
        let (queue, _) = open(dir.path(), 4 << 20);
        sent.extend(all(&queue, &mut Cursor::default()));
        let ticks: Vec<u32> = sent.iter().map(|one| one.0).collect();
        assert_eq!(ticks, (0..400).collect::<Vec<_>>());
        assert!(sent.iter().all(|(tick, body)| body[..] == [*tick as u8; 4_096]));
    }

    #[test]
    fn a_full_queue_drops_the_oldest_and_counts_it() {
        let dir = tempfile::tempdir().unwrap();
        let (queue, _) = open(dir.path(), 160 * 1_024);
        for tick in 0..100u32 {
            queue.put(Protocol::V2, &batch(tick, 10), &[7; 4_096]).unwrap();
            queue.settle(&Taken::from([(Subject::Cluster, tick)])).unwrap();
            assert!(queue.store.log_stats().bytes <= (160 + 16) * 1_024);
        }
        let dropped = queue.metrics.remote_write_dropped.of("full").get();
        let mut cursor = Cursor::default();
        let left = all(&queue, &mut cursor);
        assert_eq!(dropped + 10 * left.len() as u64, 1_000);
        assert!((25..=40).contains(&left.len()) && left.last().unwrap().0 == 99, "{}", left.len());
        assert_eq!(queue.metrics.remote_write_queued.get(), 1_000);
        // All done: the files go with the next round, and what is taken is still known.
        queue.put(Protocol::V2, &batch(100, 0), &[]).unwrap();
        queue.settle(&Taken::from([(Subject::Cluster, 100)])).unwrap();
        assert!(queue.store.log_stats().files <= 2);
        drop(queue);
        let (queue, taken) = open(dir.path(), 160 * 1_024);
        assert_eq!((taken.get(&Subject::Cluster), queue.next(&mut Cursor::default()).is_none()), (Some(&100), true));
    }

    #[test]
    fn a_request_that_no_record_holds_is_dropped_and_the_next_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let (queue, _) = open(dir.path(), 64 << 20);
        queue.put(Protocol::V1, &batch(1, 10), &vec![7; starling_store::RECORD_MAX + 1]).unwrap();
        queue.put(Protocol::V1, &batch(2, 10), &[7]).unwrap();
        assert_eq!(queue.metrics.remote_write_dropped.of("too_long").get(), 10);
        assert_eq!(queue.metrics.remote_write_queued.get(), 20);
        assert_eq!(all(&queue, &mut Cursor::default()), [(2, vec![7])]);
    }
}
