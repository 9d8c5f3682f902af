//! The thread that writes a stream down. Nobody waits for it: what is not written yet when the process ends was lost
//! by it, and what was sent without being written down is recognised by its name.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, RecvTimeoutError, TryRecvError},
    },
    thread,
    time::{Duration, Instant},
};

use starling_proto::frame::Content;
use tokio::sync::watch;

use super::{
    super::pin::Pin,
    BYTES_MAX,
    files::{self, Aside, Change, Files, Kept},
    record::Head,
};

/// Changes that the thread has not read: a disk that hangs for a minute. When full the spool is begun anew.
const CHANGES_MAX: usize = 1_024;
/// After an error the spool is begun anew so often.
const AGAIN_AFTER: Duration = Duration::from_secs(10);
/// Frames that wait this long for an acknowledgement shall survive the loss of power.
const SYNC_FROM: Duration = Duration::from_secs(10);
/// How often they are brought to the disk.
const SYNC_EVERY: Duration = Duration::from_secs(5);

/// What the thread says of frames that are on the disk alone.
#[derive(Debug, Clone)]
pub(in crate::uplink) enum Answer {
    /// Those that were to be read back, but for those that cannot be.
    Read(Vec<Arc<Content>>),
    /// They are not there any more.
    Lost(Vec<u32>),
    /// None is there any more.
    AllLost,
}

/// Answers that nobody has read. When full the thread waits: it reads back nothing meanwhile, and changes queue up.
const ANSWERS_MAX: usize = 4;

/// How a spool does.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::uplink) struct SpoolHealth {
    /// Why nothing is written down at present.
    pub(in crate::uplink) trouble: Option<String>,
    /// Times that it could not be written.
    pub(in crate::uplink) failures: u64,
    /// Bytes on the disk.
    pub(in crate::uplink) bytes: usize,
}

/// Feeds the thread.
#[derive(Debug)]
pub(in crate::uplink) struct Writer {
    changes: mpsc::SyncSender<Change>,
    health: watch::Receiver<SpoolHealth>,
    thread: thread::JoinHandle<()>,
    /// Something found the queue full.
    overflowed: Arc<AtomicBool>,
}

impl Writer {
    /// Begins with what is kept of the stream so far, and its newest second.
    ///
    /// # Errors
    /// That there is no thread for it.
    pub(in crate::uplink) fn start(
        folder: PathBuf,
        head: Head,
        (kept, last_tick): (impl Iterator<Item = (Arc<Content>, Pin)>, u32),
        aside: Aside,
    ) -> std::io::Result<(Self, tokio::sync::mpsc::Receiver<Answer>)> {
        let (changes, receiver) = mpsc::sync_channel(CHANGES_MAX);
        let (answers, answered) = tokio::sync::mpsc::channel(ANSWERS_MAX);
        let (health, watch) = watch::channel(SpoolHealth::default());
        let kept = kept.map(|(content, pin)| (content.tick, Kept { content, pin })).collect();
        let overflowed = Arc::default();
        let work = Work {
            folder,
            head,
            kept,
            aside,
            fetch: None,
            last_tick,
            ended: false,
            files: None,
            health,
            answers,
            failed: None,
        };
        let thread = thread::Builder::new().name("spool".to_owned()).stack_size(256 * 1024).spawn({
            let overflowed = Arc::clone(&overflowed);
            move || work.run(&receiver, &overflowed)
        })?;
        Ok((Self { changes, health: watch, thread, overflowed }, answered))
    }

    /// Hands over what happened; never waits.
    pub(in crate::uplink) fn push(&self, change: Change) {
        if self.changes.try_send(change).is_err() {
            self.overflowed.store(true, Ordering::Release);
        }
    }

    /// How it does. A thread that is gone writes nothing more, whatever it said last.
    pub(in crate::uplink) fn health(&self) -> SpoolHealth {
        let mut health = self.health.borrow().clone();
        if self.thread.is_finished() {
            health.trouble = Some("the thread that writes frames to the disk is gone, which is a bug".to_owned());
        }
        health
    }

    /// Ends the thread once all is written. Blocking.
    pub(in crate::uplink) fn end(self) {
        let Self { changes, thread, .. } = self;
        drop(changes);
        // One that panicked has nothing more to say.
        let _ = thread.join();
    }
}

struct Work {
    folder: PathBuf,
    head: Head,
    kept: BTreeMap<u32, Kept>,
    aside: Aside,
    /// What is to be read back, and was not yet.
    fetch: Option<Vec<u32>>,
    last_tick: u32,
    ended: bool,
    answers: tokio::sync::mpsc::Sender<Answer>,
    /// `None` before the first and after an error.
    files: Option<Files>,
    failed: Option<Instant>,
    health: watch::Sender<SpoolHealth>,
}

impl Work {
    fn run(mut self, changes: &mpsc::Receiver<Change>, overflowed: &AtomicBool) {
        let (mut batch, mut synced) = (Vec::new(), Instant::now());
        self.begin();
        if self.files.is_none() {
            // What was there took the room of its copy on a disk that is full, and has been taken away.
            self.begin();
        }
        loop {
            let over = match changes.recv_timeout(AGAIN_AFTER) {
                Ok(change) => {
                    batch.push(change);
                    loop {
                        match changes.try_recv() {
                            Ok(change) => batch.push(change),
                            Err(TryRecvError::Empty) => break false,
                            Err(TryRecvError::Disconnected) => break true,
                        }
                    }
                }
                Err(RecvTimeoutError::Timeout) => false,
                Err(RecvTimeoutError::Disconnected) => true,
            };
            if overflowed.swap(false, Ordering::AcqRel) {
                // What is missing is not known: what comes now is kept again.
                self.lose_all();
                self.fail("the disk did not keep up");
                self.kept.clear();
            }
            let (mut lost, mut dropped) = (Vec::new(), Vec::new());
            batch.iter().for_each(|change| self.note(change, &mut lost));
            let is_long = self.is_long();
            if let Some(files) = &mut self.files {
                let mut done = files.write(&batch);
                if done.is_ok() && files.bytes() > BYTES_MAX {
                    done = files.drop_oldest().map(|lost| dropped = lost);
                }
                if done.is_ok() && is_long && (synced.elapsed() >= SYNC_EVERY || over) {
                    synced = Instant::now();
                    done = files.sync();
                }
                let bytes = files.bytes();
                match done {
                    Ok(()) => self.show(bytes),
                    Err(error) => self.fail(&error.to_string()),
                }
            } else if over || self.failed.is_none_or(|failed| failed.elapsed() >= AGAIN_AFTER) {
                self.begin();
            }
            for tick in dropped {
                self.kept.remove(&tick);
                lost.extend(self.aside.frames.remove(&tick).map(|_| tick));
            }
            if !lost.is_empty() {
                self.answer(Answer::Lost(lost));
            }
            batch.clear();
            // Without files it waits for the next.
            if let Some(files) = &self.files
                && let Some(ticks) = self.fetch.take()
            {
                let read = files.fetch(&ticks);
                // What is not among them is lost, and counted; the log says why.
                if let Err(error) = &read {
                    self.fail(&error.to_string());
                }
                self.answer(Answer::Read(read.unwrap_or_default()));
            }
            if over {
                break;
            }
        }
        if self.kept.is_empty() && self.aside.frames.is_empty() && self.ended {
            // What is left of it is read by the next start, which finds nothing in it.
            let _ = fs::remove_dir_all(&self.folder);
        }
    }

    /// `lost` gets what was put aside and is not on the disk.
    fn note(&mut self, change: &Change, lost: &mut Vec<u32>) {
        match change {
            Change::Cut(content) => {
                self.last_tick = self.last_tick.max(content.tick);
                self.kept.insert(content.tick, Kept { content: Arc::clone(content), pin: Pin::Free });
            }
            Change::Offered { tick, writer } => {
                if let Some(kept) = self.kept.get_mut(tick) {
                    kept.pin = Pin::To(*writer);
                } else if let Some((pin, _)) = self.aside.frames.get_mut(tick) {
                    *pin = Pin::To(*writer);
                }
            }
            // One that was read back is aside already.
            Change::Aside { tick } if self.aside.frames.contains_key(tick) => {}
            Change::Aside { tick } => match self.kept.remove(tick).filter(|_| self.files.is_some()) {
                Some(kept) => drop(self.aside.frames.insert(*tick, (kept.pin, 0))),
                None => lost.push(*tick),
            },
            Change::Fetch { ticks } => self.fetch = Some(ticks.clone()),
            Change::Gone { ticks } => {
                for tick in ticks {
                    self.kept.remove(tick);
                    let place = self.aside.frames.remove(tick).map(|(_, place)| place);
                    if self.files.is_none() {
                        self.aside.unwanted.extend(place.map(|place| (*tick, place)));
                    }
                }
            }
            Change::Ended => self.ended = true,
        }
    }

    /// Nothing is on the disk alone any more, and whoever waits for some of it knows.
    fn lose_all(&mut self) {
        (self.aside, self.fetch) = (Aside::default(), None);
        self.answer(Answer::AllLost);
    }

    fn answer(&self, answer: Answer) {
        // Nobody reads it any more when the uplink has ended.
        let _ = self.answers.blocking_send(answer);
    }

    /// Whether something is kept for long.
    fn is_long(&self) -> bool {
        if !self.aside.frames.is_empty() {
            return true;
        }
        let span = self.kept.keys().next().zip(self.kept.keys().next_back()).map_or(0, |(first, last)| last - first);
        Duration::from_secs(span.into()) >= SYNC_FROM
    }

    fn begin(&mut self) {
        match Files::begin(&self.folder, &self.head, (&self.kept, &self.aside), self.last_tick) {
            Ok(files) => {
                self.show(files.bytes());
                self.files = Some(files);
                self.failed = None;
            }
            Err(error) => self.fail(&error.to_string()),
        }
    }

    fn show(&self, bytes: usize) {
        self.health.send_if_modified(|health| {
            let before = std::mem::replace(&mut health.bytes, bytes);
            let trouble = health.trouble.take();
            before != bytes || trouble.is_some()
        });
    }

    /// Writes nothing for a while. What is there is taken away as far as that can be: it says less than what was sent. But what
    /// is aside is nowhere else.
    fn fail(&mut self, why: &str) {
        self.failed = Some(Instant::now());
        let left = match self.files.take() {
            _ if self.aside.frames.is_empty() => Err(()),
            Some(files) => files.cut_short(&mut self.aside).map_err(drop),
            None => files::cut_short(&self.folder, &self.aside).map_err(drop),
        };
        if left.is_err() {
            let _ = fs::remove_dir_all(&self.folder);
            if !self.aside.frames.is_empty() {
                self.lose_all();
            }
        }
        let why = format!("{}: {why}", self.folder.display());
        self.health.send_modify(|health| {
            health.failures += 1;
            health.bytes = 0;
            health.trouble = Some(why);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_is_gone_is_told() {
        let (changes, receiver) = mpsc::sync_channel(1);
        let (_health, watch) = watch::channel(SpoolHealth::default());
        let gone = thread::spawn(move || drop(receiver));
        while !gone.is_finished() {
            thread::yield_now();
        }
        let writer = Writer { changes, health: watch, thread: gone, overflowed: Arc::default() };
        writer.push(Change::Ended);
        assert!(writer.health().trouble.is_some_and(|trouble| trouble.contains("a bug")));
        writer.end();
    }
}
