//! Which parts are at work, and since when: a future whose `poll` does not return holds a thread of the runtime, and
//! nothing else shows it.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{
        Arc, LazyLock, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// Of this process, as its watchdog is. One entry a part, a dozen at most in a program.
static TURNS: Mutex<Vec<Weak<Turns>>> = Mutex::new(Vec::new());
static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);
/// No poll is under way.
const IDLE: u64 = 0;

struct Turns {
    name: &'static str,
    /// Microseconds from [`EPOCH`] to the begin of the poll that is under way, or [`IDLE`].
    since: AtomicU64,
}

/// Ends a turn, also when the part panics.
struct Turn<'a>(&'a Turns);

impl Turns {
    fn begin(&self) -> Turn<'_> {
        self.since.store(now().max(IDLE + 1), Ordering::Relaxed);
        Turn(self)
    }

    fn lasts(&self) -> Duration {
        match self.since.load(Ordering::Relaxed) {
            IDLE => Duration::ZERO,
            since => Duration::from_micros(now().saturating_sub(since)),
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.since.store(IDLE, Ordering::Relaxed);
    }
}

fn now() -> u64 {
    u64::try_from(EPOCH.elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// The same future, seen by [`stuck`].
pub(super) fn seen<F: Future>(name: &'static str, part: F) -> impl Future<Output = F::Output> {
    let turns = Arc::new(Turns { name, since: AtomicU64::new(IDLE) });
    let mut all = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
    all.retain(|turns| turns.strong_count() > 0);
    all.push(Arc::downgrade(&turns));
    drop(all);
    async move {
        let mut part = pin!(part);
        poll_fn(|context| {
            let _turn = turns.begin();
            part.as_mut().poll(context)
        })
        .await
    }
}

/// The parts of this process that have held a thread without a break for longer than `limit`: they loop, or wait where they
/// must not. A part that awaits something is not among them, however long that takes.
#[must_use]
pub fn stuck(limit: Duration) -> Vec<&'static str> {
    let all = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
    all.iter().filter_map(Weak::upgrade).filter(|turns| turns.lasts() > limit).map(|turns| turns.name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{sync::mpsc, thread};

    /// Looks from a thread of its own, as the watchdog does: a part that blocks may hold the timers of its runtime as well.
    #[test]
    fn a_part_that_holds_its_thread_is_seen_and_one_that_waits_is_not() {
        let limit = Duration::from_millis(20);
        let ours = || stuck(limit).into_iter().filter(|name| name.ends_with("of turns")).collect::<Vec<_>>();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        let waits = runtime.spawn(seen("waiter of turns", std::future::pending::<()>()));
        let (go_on, block) = mpsc::channel::<()>();
        let (ends, ended) = mpsc::channel();
        let blocks = seen("blocker of turns", async move {
            tokio::task::yield_now().await;
            let _ = block.recv();
        });
        runtime.spawn(async move {
            blocks.await;
            ends.send(()).unwrap();
        });
        let mut waited = 0;
        while ours() != ["blocker of turns"] && waited < 1000 {
            thread::park_timeout(limit);
            waited += 1;
        }
        assert_eq!(ours(), ["blocker of turns"]);
        drop(go_on);
        ended.recv_timeout(Duration::from_secs(60)).unwrap();
        waits.abort();
        let panics = seen("panic of turns", async { panic!("as meant") });
        assert!(runtime.block_on(runtime.spawn(panics)).is_err());
        thread::park_timeout(limit * 2);
        assert!(ours().is_empty());
    }
}
