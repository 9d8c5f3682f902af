//! The hub behind its lock, and how the tasks around it hear of changes.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use starling_proto::{nodes::UpdateError, v1};
use starling_service::clock;
use tokio::sync::watch;
use tonic::transport::Channel;

use crate::{
    demand::{Demand, Full, Leased},
    hub::{Hub, Second, Source, UnixMillis, ViewKey, age_ms},
    metrics::Metrics,
};

/// Wall time: the seconds that data is for are wall-clock seconds.
pub(crate) fn now() -> UnixMillis {
    clock::unix_ms()
}

/// What feed, clients and endpoints share.
pub(crate) struct Shared {
    /// A plain mutex: every section under it is memory work of well under a millisecond, and none awaits.
    state: Mutex<State>,
    /// Rises with every publication.
    published: watch::Sender<u64>,
    /// Series to follow, beside the whole cluster.
    wanted: watch::Sender<HashSet<Source>>,
    /// The aggregator we are connected to.
    upstream: watch::Sender<Option<Channel>>,
    metrics: Metrics,
}

struct State {
    hub: Hub,
    demand: Demand,
}

impl Shared {
    /// An empty hub that takes at most `watches_max` views on demand.
    pub(crate) fn new(watches_max: usize, metrics: Metrics) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State { hub: Hub::new(), demand: Demand::new(watches_max) }),
            published: watch::Sender::new(0),
            wanted: watch::Sender::new(HashSet::new()),
            upstream: watch::Sender::new(None),
            metrics,
        })
    }

    /// What the server counts.
    pub(crate) const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under the lock is a bug that was reported; what it left is still the best there is.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the hub. Must not block.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut Hub) -> T) -> T {
        look(&mut self.lock().hub)
    }

    /// Hears of publications.
    pub(crate) fn published(&self) -> watch::Receiver<u64> {
        self.published.subscribe()
    }

    /// Hears of what is to be followed.
    pub(crate) fn wanted(&self) -> watch::Receiver<HashSet<Source>> {
        self.wanted.subscribe()
    }

    /// The connection to the present aggregator, if there is one.
    pub(crate) fn upstream(&self) -> Option<Channel> {
        self.upstream.borrow().clone()
    }

    fn notify(&self) {
        self.published.send_modify(|count| *count += 1);
    }

    /// Takes in a second.
    pub(crate) fn apply(&self, source: &Source, second: Second) {
        let (started, now, tick) = (Instant::now(), now(), second.tick());
        if self.with(|hub| hub.apply(source, second, now)) {
            self.metrics.applied(started.elapsed(), age_ms(tick, now));
            self.notify();
        }
    }

    /// Takes in an update of the table of nodes.
    ///
    /// # Errors
    /// [`UpdateError`] when the table has to be sent again.
    pub(crate) fn apply_fleet(&self, parts: &[v1::NodesUpdate]) -> Result<(), UpdateError> {
        if self.with(|hub| hub.apply_fleet(parts, now()))? {
            self.notify();
        }
        Ok(())
    }

    /// Takes in what is new of alerts. Clients get it with the next second.
    pub(crate) fn apply_alerts(&self, update: v1::AlertsUpdate) {
        let left_out = self.with(|hub| hub.apply_alerts(update));
        self.metrics.alerts_left_out(left_out);
        self.notify();
    }

    /// The aggregator has no alerts.
    pub(crate) fn no_alerts(&self, reason: String) {
        self.with(|hub| hub.no_alerts(reason));
        self.notify();
    }

    /// How many rules are in force; `None` when that is not known.
    pub(crate) fn set_rules(&self, rules: Option<u32>) {
        self.with(|hub| hub.set_rules(rules));
    }

    /// Takes in the members of the cluster.
    pub(crate) fn apply_aggregators(&self, answer: v1::ListAggregatorsResponse) {
        self.with(|hub| hub.apply_aggregators(answer, now()));
        self.notify();
    }

    /// An aggregator was reached.
    pub(crate) fn connected(&self, channel: Channel, answer: v1::ListAggregatorsResponse) {
        self.metrics.upstream_connections.inc();
        self.upstream.send_replace(Some(channel));
        self.apply_aggregators(answer);
    }

    /// No aggregator is reached. Returns true when that is news: after a connection, and the first time.
    pub(crate) fn disconnected(&self, reason: &str) -> bool {
        self.metrics.upstream_losses.inc();
        self.upstream.send_replace(None);
        let news = self.with(|hub| hub.disconnected(reason, now()));
        self.notify();
        news
    }

    /// The aggregator refused a series.
    pub(crate) fn refuse(&self, source: &Source, reason: String) {
        self.with(|hub| hub.refuse(source, reason));
        self.notify();
    }

    /// Ends what is over: catching up with history, and views that are not looked at.
    pub(crate) fn tidy(&self) {
        let now = now();
        let settled = {
            let mut state = self.lock();
            let State { hub, demand } = &mut *state;
            let expired = demand.expire(now);
            expired.iter().for_each(|key| hub.close(key));
            if !expired.is_empty() {
                self.follow(demand);
            }
            hub.settle(now)
        };
        if settled {
            self.notify();
        }
    }

    /// Keeps a view open for as long as the lease lives.
    pub(crate) fn lease(self: &Arc<Self>, key: ViewKey) -> Result<Lease, Full> {
        let mut state = self.lock();
        let State { hub, demand } = &mut *state;
        if let Leased::New { evicted } = demand.lease(&key)? {
            if let Some(evicted) = evicted {
                hub.close(&evicted);
            }
            hub.open(&key);
            self.follow(demand);
        }
        drop(state);
        Ok(Lease { shared: Arc::clone(self), key })
    }

    /// Sets what the feed follows. Called under the lock, so that the last word is the latest.
    fn follow(&self, demand: &Demand) {
        self.metrics.watches.set(demand.len() as f64);
        self.wanted.send_replace(demand.sources().into_iter().collect());
    }
}

/// A view that stays open.
pub(crate) struct Lease {
    shared: Arc<Shared>,
    key: ViewKey,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.shared.lock().demand.release(&self.key, now());
    }
}
