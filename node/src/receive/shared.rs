//! The one receiver of the daemon, shared by the servers that fill it and the sampler that empties it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use starling_proto::series::Sample;
use starling_service::clock;

use super::{AppReceiver, Moment, ReceiverLimits, ReceiverSize};

/// The receiver that servers fill and the sampler empties. The lock is held for one metric or one cut, never across an
/// await.
#[derive(Debug, Clone)]
pub(crate) struct SharedReceiver {
    receiver: Arc<Mutex<AppReceiver>>,
    started: Instant,
}

impl SharedReceiver {
    /// A receiver that begins now.
    pub(crate) fn new(limits: ReceiverLimits) -> Self {
        let started = Instant::now();
        let now = Moment { unix_ns: clock::unix_ns(), monotonic: Duration::ZERO };
        Self { receiver: Arc::new(Mutex::new(AppReceiver::new(limits, now))), started }
    }

    /// Takes out what came since the last cut, and how many points were refused.
    pub(crate) fn cut(&self, samples: &mut Vec<Sample>) -> (u64, ReceiverSize) {
        let now = self.now();
        let mut receiver = self.lock();
        (receiver.cut(now, samples), receiver.size())
    }

    pub(super) fn now(&self) -> Moment {
        Moment { unix_ns: clock::unix_ns(), monotonic: self.started.elapsed() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, AppReceiver> {
        // A panic inside is a bug; what was counted before it is still right.
        self.receiver.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
