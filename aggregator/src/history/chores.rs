//! Work of others on the thread of the history, within its budget: done when nothing of its own is due.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    time::{Duration, Instant},
};

use starling_history::Tier;
use tokio::sync::oneshot;

use super::pace::Pace;

/// Chores that wait: whoever has some hands over the next one when the last one is done.
const WAITING: usize = 4;
/// A stop is noticed within this time.
const NOTICED: Duration = Duration::from_millis(100);

/// The thread, as a chore sees it.
pub(crate) struct Shift<'a> {
    pub(super) pace: &'a mut Pace,
    pub(super) stop: &'a AtomicBool,
}

impl Shift<'_> {
    /// To be called between two pieces of work of some milliseconds: sleeps as the budget wants. False when the process
    /// stops and the chore is to end.
    pub(crate) fn pause(&mut self) -> bool {
        self.pace.pause(self.stop);
        !self.stop.load(Ordering::Relaxed)
    }
}

type Chore = Box<dyn FnOnce(&mut Shift<'_>) + Send>;

/// Hands chores over. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Chores(SyncSender<Chore>);

/// The other end of [`Chores`].
#[derive(Debug)]
pub(crate) struct ChoreQueue(Receiver<Chore>);

/// Why a chore was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the work on the history has ended, or has as much to do as it takes")]
pub(crate) struct NotDone;

impl Chores {
    /// Both ends.
    pub(crate) fn new() -> (Self, ChoreQueue) {
        let (sender, receiver) = sync_channel(WAITING);
        (Self(sender), ChoreQueue(receiver))
    }

    /// Has `work` done, after what is more urgent.
    ///
    /// # Errors
    /// [`NotDone`] when the thread has ended, or too many chores wait.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Shift<'_>) -> T + Send + 'static,
    ) -> Result<T, NotDone> {
        let (done, answer) = oneshot::channel();
        let chore: Chore = Box::new(move |shift| {
            // Whoever asked may have gone.
            let _ = done.send(work(shift));
        });
        self.0.try_send(chore).map_err(|_| NotDone)?;
        answer.await.map_err(|_| NotDone)
    }
}

impl ChoreQueue {
    /// The next one, within `time`.
    pub(super) fn next(&self, stop: &AtomicBool, time: Duration) -> Option<Chore> {
        let began = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            let left = time.checked_sub(began.elapsed())?;
            match self.0.recv_timeout(left.min(NOTICED)) {
                Ok(chore) => return Some(chore),
                Err(RecvTimeoutError::Timeout) => {}
                // Nobody has chores any more.
                Err(RecvTimeoutError::Disconnected) => super::pace::sleep(left.min(NOTICED)),
            }
        }
        None
    }
}

/// What sealing and copying know of each other. Shared.
#[derive(Debug, Default)]
pub(crate) struct Copying {
    restoring: AtomicBool,
    kept_from: [AtomicU32; 4],
}

impl Copying {
    /// Nothing is copied.
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Whether copies of all times come: what is made of seconds waits for them.
    pub(super) fn is_restoring(&self) -> bool {
        self.restoring.load(Ordering::Relaxed)
    }

    /// Copies of all times come now, or no longer.
    pub(crate) fn restores(&self, restores: bool) {
        self.restoring.store(restores, Ordering::Relaxed);
    }

    /// The first second of each tier that is kept.
    pub(super) fn kept_from(&self, ticks: [u32; 4]) {
        self.kept_from.iter().zip(ticks).for_each(|(kept, tick)| kept.store(tick, Ordering::Relaxed));
    }

    /// The first second of `tier` that is kept: copies of what ends before it would go at once.
    pub(crate) fn wanted_from(&self, tier: Tier) -> u32 {
        self.kept_from[usize::from(tier.code())].load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn chores_are_done_one_after_the_other_and_those_of_a_thread_that_ended_are_not() {
        let (chores, queue) = Chores::new();
        let stop = Arc::new(AtomicBool::new(false));
        let worker = {
            let stop = stop.clone();
            tokio::task::spawn_blocking(move || {
                let mut pace = Pace::new(100);
                while !stop.load(Ordering::Relaxed) {
                    if let Some(chore) = queue.next(&stop, Duration::from_secs(1)) {
                        chore(&mut Shift { pace: &mut pace, stop: &stop });
                    }
                }
            })
        };
        assert_eq!(chores.run(|shift| if shift.pause() { 5 } else { 6 }).await, Ok(5));
        assert_eq!(chores.run(|_| "next").await, Ok("next"));
        stop.store(true, Ordering::Relaxed);
        worker.await.unwrap();
        assert_eq!(chores.run(|_| 1).await, Err(NotDone));
    }
}
