//! Processors, run queue, pressure, disks and network many times a second, as histograms of the second.
//!
//! A mean of a second hides what lasts a tenth of one. A thread of its own looks at the host ten times a second, or as
//! often as the settings say, and each second is the histogram of what it saw: merged over nodes like any other, so that
//! the 99th percentile of all tenths of a second of all nodes exists. Beside it stands how much busier the busiest look
//! was than the mean. A look that hangs keeps this thread and nothing else.

mod busy;
mod counted;
mod disks;
mod grain;
mod sources;

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use super::{CollectConfig, CollectError, Collected, Collector, self_cost, sink::Sink};
use grain::{Names, Second};
use sources::Sources;

/// Stack of the thread; its buffers are on the heap.
const STACK_BYTES: usize = 256 * 1024;
/// Without a look for this long it hangs, or the machine has no time for it.
const SILENT_AFTER: Duration = Duration::from_secs(2);

/// The collector.
pub(super) struct Fine {
    config: CollectConfig,
    shared: Option<Arc<Shared>>,
    names: Names,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    ends: Condvar,
}

#[derive(Default)]
struct State {
    second: Second,
    /// Of the newest look, when it failed.
    error: Option<CollectError>,
    looked: Option<Instant>,
    /// Time of processors, since it was asked for.
    cost: Duration,
    ended: bool,
}

impl Fine {
    pub(super) fn new(config: &CollectConfig) -> Self {
        Self { config: config.clone(), shared: None, names: Names::new() }
    }

    fn start(&mut self) -> Result<Arc<Shared>, CollectError> {
        if let Some(shared) = &self.shared {
            return Ok(Arc::clone(shared));
        }
        let shared = Arc::<Shared>::default();
        shared.lock().looked = Some(Instant::now());
        let (theirs, mut sources) = (Arc::clone(&shared), Sources::new(&self.config));
        let period = Duration::from_secs(1) / u32::try_from(self.config.fine_hz).unwrap_or(1).max(1);
        let thread = thread::Builder::new().name("fine".to_owned()).stack_size(STACK_BYTES);
        // It ends when the collector goes, and by itself with a panic: the collector is silent then.
        thread.spawn(move || theirs.look_until_the_end(&mut sources, period)).map_err(CollectError::Thread)?;
        self.shared = Some(Arc::clone(&shared));
        Ok(shared)
    }
}

impl Drop for Fine {
    fn drop(&mut self) {
        if let Some(shared) = &self.shared {
            shared.lock().ended = true;
            shared.ends.notify_all();
        }
    }
}

impl Collector for Fine {
    fn collect(&mut self, _: Duration, sink: &mut Sink<'_>) -> Result<Collected, CollectError> {
        let shared = self.start()?;
        let mut state = shared.lock();
        let second = std::mem::take(&mut state.second);
        let (error, silent) =
            (state.error.take(), state.looked.map(|at| at.elapsed()).filter(|time| *time > SILENT_AFTER));
        drop(state);
        if let Some(silent) = silent {
            // A new thread would hang as well, and one is enough; after a panic there is none any more.
            if Arc::strong_count(&shared) < 3 {
                self.shared = None;
            }
            return Err(CollectError::Silent { seconds: silent.as_secs() });
        }
        second.give(&self.names, sink);
        match error {
            // What else was seen in the second stays.
            Some(error) => {
                sink.left_out(|| starling_service::parts::chain(&error));
                Ok(Collected::Present)
            }
            None => Ok(Collected::Present),
        }
    }

    fn beside(&mut self) -> Duration {
        self.shared.as_ref().map_or(Duration::ZERO, |shared| std::mem::take(&mut shared.lock().cost))
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock can panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look_until_the_end(&self, sources: &mut Sources, period: Duration) {
        let (mut before, mut spent) = (None, Duration::ZERO);
        let mut next = Instant::now();
        loop {
            let (look, error) = sources.look();
            let cost = self_cost::of_thread();
            let mut state = self.lock();
            state.cost += cost.saturating_sub(spent);
            spent = cost;
            if let Some(before) = &before {
                state.second.add(before, &look);
            }
            state.looked = Some(look.at);
            if error.is_some() {
                state.error = error;
            }
            before = Some(look);
            // What was missed is not made up for: looks in a row would see nothing new.
            next = (next + period).max(Instant::now());
            while !state.ended {
                let Some(wait) = next.checked_duration_since(Instant::now()).filter(|wait| !wait.is_zero()) else {
                    break;
                };
                state = self.ends.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
            }
            if state.ended {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use starling_proto::{
        catalogue,
        series::{Sample, Value},
    };

    use super::*;

    /// Longer than any test machine stands still.
    const LONG: Duration = Duration::from_secs(60);

    fn collect(fine: &mut Fine) -> (Result<Collected, CollectError>, Vec<Sample>, Option<String>) {
        let mut samples = Vec::new();
        let mut sink = Sink::new(&mut samples);
        let collected = fine.collect(Duration::from_secs(1), &mut sink);
        let left_out = sink.end().1;
        (collected, samples, left_out)
    }

    #[test]
    fn looks_come_by_themselves_and_end_with_the_collector() {
        let proc = tempfile::tempdir().unwrap();
        fs::write(proc.path().join("stat"), "cpu 0 0 0 100\nprocs_running 4\n").unwrap();
        let config = CollectConfig { procfs: proc.path().into(), fine_hz: 100, ..CollectConfig::default() };
        let mut fine = Fine::new(&config);
        let began = Instant::now();
        let mut queue = 0;
        while queue < 3 {
            let (collected, samples, left_out) = collect(&mut fine);
            assert!(collected.is_ok() && left_out.is_none() && began.elapsed() < LONG, "{left_out:?}");
            for sample in samples {
                assert!(sample.series.is(&catalogue::FINE_RUN_QUEUE), "{}", sample.series);
                let Value::Histogram(histogram) = sample.value else { panic!("{}", sample.series) };
                assert_eq!(histogram.max(), 3, "without the one that looks");
                queue += histogram.count();
            }
            thread::park_timeout(Duration::from_millis(10));
        }
        fs::remove_file(proc.path().join("stat")).unwrap();
        fs::create_dir(proc.path().join("stat")).unwrap();
        // The file that is open still answers; a new collector finds the folder.
        let mut other = Fine::new(&config);
        loop {
            let (collected, _, left_out) = collect(&mut other);
            assert!(collected.is_ok() && began.elapsed() < LONG);
            if left_out.is_some_and(|why| why.contains("stat")) {
                break;
            }
            thread::park_timeout(Duration::from_millis(10));
        }
        let shared = fine.shared.clone().unwrap();
        drop(fine);
        while Arc::strong_count(&shared) > 1 {
            assert!(began.elapsed() < LONG);
            thread::park_timeout(Duration::from_millis(1));
        }
    }

    #[test]
    fn one_that_hangs_is_said_to_be_silent() {
        let mut fine = Fine::new(&CollectConfig::default());
        let shared = Arc::<Shared>::default();
        let thread = Arc::clone(&shared);
        shared.lock().looked = Instant::now().checked_sub(Duration::from_secs(5));
        fine.shared = Some(shared);
        for _ in 0..2 {
            assert!(matches!(collect(&mut fine).0, Err(CollectError::Silent { seconds: 5.. })));
            assert!(fine.shared.is_some(), "it may still return");
        }
        drop(thread);
        assert!(collect(&mut fine).0.is_err());
        assert!(fine.shared.is_none(), "the next call starts another");
    }
}
