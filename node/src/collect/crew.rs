//! Jobs that may never return, done one after the other by one thread.
//!
//! A read of the kernel or of a file behind it can hang for ever: a dead disk in `statvfs`, a stuck FUSE server behind
//! `/proc/stat`, a hung driver behind a file of sysfs. It cannot be interrupted, so it keeps its thread; another thread
//! goes on with the jobs that wait. As long as all return, one thread does them all and waits for the next round:
//! starting one each second costs more than most of what it reads.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// Stack of a thread. Collectors keep their buffers on the heap; the default of 8 MiB would only show as virtual memory.
const STACK_BYTES: usize = 512 * 1024;

/// Something that is done again and again.
pub(super) trait Job: Send + 'static {
    /// What it brings.
    type Output: Send;
    /// Distinguishes it from the others.
    type Key: Clone + PartialEq + Send;

    /// See [`Job::Key`].
    fn key(&self) -> Self::Key;

    /// Does it. May hang.
    fn run(&mut self) -> Self::Output;
}

/// A job that came back.
pub(super) enum Returned<J: Job> {
    /// With what it brought.
    Done(J, J::Output),
    /// It panicked, which is a bug; the job is gone.
    Panicked(J::Key),
}

/// See the module.
pub(super) struct Crew<J: Job> {
    shared: Arc<Shared<J>>,
    /// Threads at once. When all hang, nothing is done until one of them returns.
    threads_max: usize,
    /// How long a job may hold up the others.
    patience: Duration,
}

struct Shared<J: Job> {
    state: Mutex<State<J>>,
    /// Nothing waits any more, or a thread that had been given up returned.
    changed: Condvar,
    /// Something waits, or nothing ever will again.
    work: Condvar,
}

struct State<J: Job> {
    waiting: VecDeque<J>,
    running: Vec<Running<J::Key>>,
    returned: Vec<Returned<J>>,
    /// The thread that takes the jobs that wait.
    active: Option<u64>,
    threads: usize,
    /// Number of the last thread.
    last: u64,
    /// The crew is gone.
    ended: bool,
}

struct Running<K> {
    key: K,
    thread: u64,
    since: Instant,
}

impl<J: Job> Crew<J> {
    pub(super) fn new(threads_max: usize, patience: Duration) -> Self {
        let state = State {
            waiting: VecDeque::new(),
            running: Vec::new(),
            returned: Vec::new(),
            active: None,
            threads: 0,
            last: 0,
            ended: false,
        };
        let shared = Shared { state: Mutex::new(state), changed: Condvar::new(), work: Condvar::new() };
        Self { shared: Arc::new(shared), threads_max, patience }
    }

    /// Does `jobs`, for at most `limit`. Those that came back are in [`Crew::returned`], those that did not in
    /// [`Crew::out`]; those that were not begun are handed back.
    pub(super) fn round(&self, jobs: impl IntoIterator<Item = J>, limit: Duration) -> Vec<J> {
        let begun = Instant::now();
        let deadline = begun + limit;
        let mut state = self.shared.lock();
        state.waiting.extend(jobs);
        if !state.waiting.is_empty() {
            self.shared.work.notify_all();
        }
        loop {
            let now = Instant::now();
            let of_active = state.running.iter().find(|running| Some(running.thread) == state.active);
            let impatient = of_active.map(|running| running.since + self.patience);
            let someone_waits = !state.waiting.is_empty();
            if !someone_waits && state.running.iter().all(|running| running.since < begun) {
                break;
            }
            if now >= deadline {
                break;
            }
            let mut until = deadline;
            if someone_waits {
                match impatient {
                    // A thread without a job is about to take one, and may hang with it.
                    None if state.active.is_some() => until = until.min(now + self.patience),
                    Some(at) if at > now => until = until.min(at),
                    _ if state.threads < self.threads_max => {
                        if !self.start(&mut state) {
                            break;
                        }
                        continue;
                    }
                    None => break,
                    // As many threads as there may be: the one that is late may still return.
                    Some(_) => {}
                }
            }
            let wait = self.shared.changed.wait_timeout(state, until - now);
            state = wait.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.waiting.drain(..).collect()
    }

    /// The jobs that came back since the last call, late ones too.
    pub(super) fn returned(&self) -> Vec<Returned<J>> {
        std::mem::take(&mut self.shared.lock().returned)
    }

    /// The jobs that have not come back, and since when they are out.
    pub(super) fn out(&self) -> Vec<(J::Key, Instant)> {
        self.shared.lock().running.iter().map(|running| (running.key.clone(), running.since)).collect()
    }

    /// Starts a thread that takes the jobs that wait. False when the system gives none.
    fn start(&self, state: &mut State<J>) -> bool {
        state.last += 1;
        let (number, shared) = (state.last, Arc::clone(&self.shared));
        let thread = thread::Builder::new().name("collect".to_owned()).stack_size(STACK_BYTES);
        let started = thread.spawn(move || shared.work(number)).is_ok();
        if started {
            state.threads += 1;
            state.active = Some(number);
        }
        started
    }
}

impl<J: Job> Drop for Crew<J> {
    /// Its threads end, those that hang once they return.
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.shared.work.notify_all();
    }
}

impl<J: Job> Shared<J> {
    fn lock(&self) -> MutexGuard<'_, State<J>> {
        // No job runs under the lock, and what is done under it cannot panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self, number: u64) {
        let mut state = self.lock();
        while state.active == Some(number) {
            let Some(mut job) = state.waiting.pop_front() else {
                if state.ended {
                    break;
                }
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let key = job.key();
            state.running.push(Running { key: key.clone(), thread: number, since: Instant::now() });
            drop(state);
            // What a panic leaves half-done goes with the job.
            let done = catch_unwind(AssertUnwindSafe(move || {
                let output = job.run();
                Returned::Done(job, output)
            }));
            state = self.lock();
            state.running.retain(|running| running.thread != number);
            state.returned.push(done.unwrap_or(Returned::Panicked(key)));
            if state.waiting.is_empty() || state.active != Some(number) {
                self.changed.notify_all();
            }
        }
        if state.active == Some(number) {
            state.active = None;
        }
        state.threads -= 1;
        drop(state);
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Longer than any test machine stands still.
    const LONG: Duration = Duration::from_secs(60);

    enum Way {
        Returns,
        Panics,
        /// Until something is sent, or the sender is gone.
        Hangs(mpsc::Receiver<()>),
    }

    struct Sample {
        name: &'static str,
        way: Way,
        runs: u32,
    }

    impl Job for Sample {
        type Output = u32;
        type Key = &'static str;

        fn key(&self) -> &'static str {
            self.name
        }

        fn run(&mut self) -> u32 {
            match &self.way {
                Way::Returns => {}
                Way::Panics => panic!("as the test wants it"),
                Way::Hangs(until) => drop(until.recv()),
            }
            self.runs += 1;
            self.runs
        }
    }

    fn job(name: &'static str, way: Way) -> Sample {
        Sample { name, way, runs: 0 }
    }

    fn names(crew: &Crew<Sample>) -> (Vec<&'static str>, Vec<&'static str>) {
        let mut returned: Vec<_> = crew
            .returned()
            .iter()
            .map(|returned| match returned {
                Returned::Done(job, _) => job.name,
                Returned::Panicked(name) => *name,
            })
            .collect();
        returned.sort_unstable();
        (returned, crew.out().into_iter().map(|(name, _)| name).collect())
    }

    fn threads(crew: &Crew<Sample>) -> usize {
        crew.shared.lock().threads
    }

    #[test]
    fn jobs_that_return_are_done_by_one_thread_that_ends_with_the_crew() {
        let crew = Crew::new(4, LONG);
        let mut jobs: Vec<_> = ["a", "b", "c"].map(|name| job(name, Way::Returns)).into();
        for round in 1..=20 {
            assert!(crew.round(jobs.drain(..), LONG).is_empty());
            for returned in crew.returned() {
                let Returned::Done(job, runs) = returned else { panic!("none panics") };
                assert_eq!(runs, round);
                jobs.push(job);
            }
            assert_eq!(jobs.len(), 3);
            assert!(threads(&crew) <= 1, "one at a time");
        }
        let shared = Arc::clone(&crew.shared);
        assert_eq!(shared.lock().last, 1, "threads started");
        drop(crew);
        while shared.lock().threads > 0 {
            thread::yield_now();
        }
    }

    #[test]
    fn one_that_hangs_holds_nobody_up_and_is_taken_back_when_it_returns() {
        let crew = Crew::new(3, Duration::from_millis(20));
        let (release, until) = mpsc::channel();
        let hangs = job("hangs", Way::Hangs(until));
        let began = Instant::now();
        let jobs = [job("a", Way::Returns), hangs, job("b", Way::Returns), job("c", Way::Returns)];
        assert!(crew.round(jobs, Duration::from_millis(200)).is_empty());
        assert_eq!(names(&crew), (vec!["a", "b", "c"], vec!["hangs"]));
        assert!(began.elapsed() < LONG);

        // It is not waited for again, however long the limit.
        assert!(crew.round([job("d", Way::Returns)], LONG).is_empty());
        assert_eq!(names(&crew), (vec!["d"], vec!["hangs"]));
        assert!(threads(&crew) <= 2);

        release.send(()).unwrap();
        while !crew.out().is_empty() {
            thread::yield_now();
        }
        assert_eq!(names(&crew), (vec!["hangs"], vec![]));
    }

    #[test]
    fn as_many_threads_hang_as_there_may_be_and_the_rest_is_handed_back() {
        let crew = Crew::new(2, Duration::from_millis(5));
        let (mut senders, mut jobs) = (Vec::new(), Vec::new());
        for name in ["one", "two", "three"] {
            let (release, until) = mpsc::channel();
            senders.push(release);
            jobs.push(job(name, Way::Hangs(until)));
        }
        let left: Vec<_> = crew.round(jobs, Duration::from_millis(100)).iter().map(|job| job.name).collect();
        assert_eq!((left, threads(&crew)), (vec!["three"], 2));
        let left = crew.round([job("late", Way::Returns)], Duration::from_millis(50));
        assert_eq!(left.len(), 1, "nobody is left to do it");
        senders.clear();
        while threads(&crew) > 1 {
            thread::yield_now();
        }
        assert!(crew.round(left, LONG).is_empty());
        // Two were let go at once, and one thread is enough to do what is late.
        while !crew.out().is_empty() {
            thread::yield_now();
        }
        assert_eq!(names(&crew), (vec!["late", "one", "two"], vec![]));
    }

    #[test]
    fn one_that_panics_is_named_and_the_others_are_done() {
        let crew = Crew::new(2, LONG);
        assert!(crew.round([job("bad", Way::Panics), job("good", Way::Returns)], LONG).is_empty());
        assert_eq!(names(&crew), (vec!["bad", "good"], vec![]));
    }
}
