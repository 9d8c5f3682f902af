//! How much questions over time may cost: how many are worked on at once, how long one takes, and when it stops.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use super::super::off_thread;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::{Status, metadata::MetadataMap};

use crate::{
    metrics::Metrics,
    select::{Stop, time_of},
};

/// Questions that are worked on at once: each takes a thread and some megabytes; live views have threads of their own.
const RUNNING_MAX: usize = 8;
/// Questions that wait for their turn; a further one is refused and counted.
const WAITING_MAX: usize = 64;
/// How long an answer takes at most when the request does not say (`grpc-timeout`).
const DEADLINE: Duration = Duration::from_secs(2);
/// How long an answer takes at most, whatever the request says.
const DEADLINE_MAX: Duration = Duration::from_secs(60);
/// Part of the time that is left to put the answer together and to send it.
const RESERVE: u32 = 10;

/// Held by whoever waits for an answer: the work stops when it is dropped.
#[derive(Debug)]
struct Waiting(Stop);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// The right to work on a question, as long as it is held.
#[derive(Debug)]
pub(crate) struct Turn {
    waiting: Waiting,
    permit: Arc<OwnedSemaphorePermit>,
}

/// See the module. Shared.
pub(crate) struct Work {
    running: Arc<Semaphore>,
    waiting: AtomicUsize,
    metrics: Arc<Metrics>,
}

impl Work {
    /// Nothing runs yet.
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        Self { running: Arc::new(Semaphore::new(RUNNING_MAX)), waiting: AtomicUsize::new(0), metrics }
    }

    /// Waits for a turn. `kind` is counted; `metadata` says how long the asker waits.
    ///
    /// # Errors
    /// `RESOURCE_EXHAUSTED` when too many wait, `DEADLINE_EXCEEDED` when the turn does not come in time.
    pub(crate) async fn turn(&self, kind: &'static str, metadata: &MetadataMap) -> Result<Turn, Status> {
        self.metrics.history_questions.of(kind).inc();
        let within = time_of(metadata).unwrap_or(DEADLINE).min(DEADLINE_MAX);
        let stop = Stop::at(Instant::now() + (within - within / RESERVE));
        let permit = match Arc::clone(&self.running).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => self.wait(&stop).await?,
        };
        Ok(Turn { waiting: Waiting(stop), permit: Arc::new(permit) })
    }

    async fn wait(&self, stop: &Stop) -> Result<OwnedSemaphorePermit, Status> {
        let refused = |reason| {
            self.metrics.history_questions_refused.of(reason).inc();
            Err(Status::resource_exhausted(format!(
                "{RUNNING_MAX} questions over time are being answered {} more wait: ask again later",
                self.waiting.load(Ordering::Relaxed)
            )))
        };
        // Counted down when it is dropped, also while it waits.
        struct Counted<'a>(&'a AtomicUsize);
        impl Drop for Counted<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::Relaxed);
            }
        }
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let _counted = Counted(&self.waiting);
        if before >= WAITING_MAX {
            return refused("too_many");
        }
        match tokio::time::timeout_at(stop.until().into(), Arc::clone(&self.running).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => refused("too_late"),
        }
    }

    /// Counts a request that was refused for what it says.
    pub(crate) fn refused(&self, status: Status) -> Status {
        self.metrics.history_questions_refused.of("bad_request").inc();
        status
    }
}

impl Turn {
    /// What the work looks at.
    pub(crate) fn stop(&self) -> Stop {
        self.waiting.0.clone()
    }

    /// Runs `work` on a thread for work that blocks. The turn lasts as long as the work, also when nobody waits for it
    /// any more.
    ///
    /// # Errors
    /// `INTERNAL` when it did not end by itself.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Stop) -> T + Send + 'static,
    ) -> Result<T, Status> {
        let (stop, permit) = (self.stop(), Arc::clone(&self.permit));
        off_thread(move || {
            let done = work(&stop);
            drop(permit);
            done
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(timeout: &str) -> MetadataMap {
        let mut metadata = MetadataMap::new();
        metadata.insert("grpc-timeout", timeout.parse().unwrap());
        metadata
    }

    #[tokio::test]
    async fn work_stops_when_nobody_waits_and_keeps_its_turn_until_then() {
        let work = Work::new(Metrics::of_a_test());
        let (began, has_begun) = tokio::sync::oneshot::channel();
        let (ended, has_ended) = std::sync::mpsc::channel();
        let turn = work.turn("range", &MetadataMap::new()).await.unwrap();
        let asker = tokio::spawn(async move {
            turn.run(move |stop| {
                began.send(()).unwrap();
                while !stop.is_due() {
                    std::thread::yield_now();
                }
                ended.send((stop.is_cancelled(), Instant::now())).unwrap();
            })
            .await
        });
        has_begun.await.unwrap();
        let gone = Instant::now();
        asker.abort();
        let (cancelled, at) = tokio::task::spawn_blocking(move || has_ended.recv().unwrap()).await.unwrap();
        assert!(cancelled && at.saturating_duration_since(gone) < Duration::from_millis(100), "{:?}", at - gone);
    }

    #[tokio::test]
    async fn what_has_no_turn_in_time_is_refused() {
        let work = Work::new(Metrics::of_a_test());
        let mut turns = Vec::new();
        for _ in 0..RUNNING_MAX {
            turns.push(work.turn("range", &MetadataMap::new()).await.unwrap());
        }
        let refused = work.turn("range", &asked("20m")).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
        assert_eq!(work.waiting.load(Ordering::Relaxed), 0);
        let patient = asked("5S");
        let (next, ()) = tokio::join!(work.turn("range", &patient), async { drop(turns.pop()) });
        assert!(next.is_ok());
    }
}
