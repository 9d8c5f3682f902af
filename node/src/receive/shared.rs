//! The one receiver of the daemon, shared by the servers that fill it and the sampler that empties it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use starling_proto::series::Sample;
use starling_service::clock;

use super::{AppReceiver, Mapping, Merged, Moment, Promotion, ReceiverLimits, ReceiverSize};

/// Which part of the time is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WhichCut {
    /// So many seconds, mostly one: more when some were missed.
    Seconds(u32),
    /// The rest, with everything that was still to be counted: the daemon stops.
    Last,
}

/// What one cut says beside its samples.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReceiverCut {
    /// Points that were refused.
    pub(crate) refused: u64,
    /// Increments counted at once because too much waits to be played out.
    pub(crate) unplayed: u64,
    /// Requests counted in a route or service `_other`.
    pub(crate) in_other: u64,
    /// Points whose series lacks attributes.
    pub(crate) merged: Merged,
    /// How large the tables are.
    pub(crate) size: ReceiverSize,
}

/// The time of the daemon's start: what was measured before it has a time too.
const BEFORE: Duration = Duration::from_secs(3_600);

/// The receiver that servers fill and the sampler empties. The lock is held for one metric or one cut, never across an
/// await.
#[derive(Debug, Clone)]
pub(crate) struct SharedReceiver {
    receiver: Arc<Mutex<AppReceiver>>,
    started: Instant,
}

impl SharedReceiver {
    /// A receiver that begins now; see [`AppReceiver::new`] and [`AppReceiver::promoting`].
    pub(crate) fn new(limits: ReceiverLimits, mappings: Vec<Mapping>, promotions: Vec<Promotion>) -> Self {
        let started = Instant::now();
        let now = Moment { unix_ns: clock::unix_ns(), monotonic: BEFORE };
        let receiver = AppReceiver::new(limits, mappings, now).promoting(promotions);
        Self { receiver: Arc::new(Mutex::new(receiver)), started }
    }

    /// Takes out what belongs to the second that ends now.
    pub(crate) fn cut(&self, which: WhichCut, samples: &mut Vec<Sample>) -> ReceiverCut {
        let now = self.now();
        let mut receiver = self.lock();
        let refused = match which {
            WhichCut::Seconds(seconds) => receiver.cut(now, seconds, samples),
            WhichCut::Last => receiver.last_cut(now, samples),
        };
        ReceiverCut {
            refused,
            unplayed: receiver.take_unplayed(),
            in_other: receiver.take_in_other(),
            merged: receiver.take_merged(),
            size: receiver.size(),
        }
    }

    pub(super) fn now(&self) -> Moment {
        Moment { unix_ns: clock::unix_ns(), monotonic: BEFORE + self.started.elapsed() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, AppReceiver> {
        // A panic inside is a bug; what was counted before it is still right.
        self.receiver.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
