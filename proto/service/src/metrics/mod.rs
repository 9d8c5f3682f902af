//! What a program counts of itself: a registry per service, from one table with name, help and unit.
//!
//! [`metrics!`](crate::metrics!) makes the struct of a service's metrics; rooms are handed that struct, nothing is
//! global, so that two services in one process have numbers of their own. Every registry also shows the build and the
//! process.

mod process;
mod table;

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError, atomic::AtomicU64},
};

pub use prometheus_client::registry::Unit;
use prometheus_client::{
    encoding::prometheus_text,
    metrics::{counter, family::Family, gauge, histogram, info::Info},
    registry,
};

use crate::version::COMMIT;
use process::Process;
pub use table::{Row, reference};

/// Upper bounds of the buckets of durations, in seconds. Among them are the goals: 20 ms for whatever others wait for,
/// 0.4 s and 0.8 s for a settled second of 1,000 and 10,000 nodes.
const DURATION_BUCKETS: [f64; 17] =
    [0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 2.0, 5.0, 10.0, 20.0];

/// The metrics of one service.
#[derive(Debug)]
pub struct Registry {
    inner: registry::Registry,
}

impl Default for Registry {
    fn default() -> Self {
        Self::new(registry::Registry::default())
    }
}

impl Registry {
    /// Of one of several services in a process: every line says of which, by `service` and `name`.
    #[must_use]
    pub fn of_service(service: &'static str, name: &str) -> Self {
        let labels =
            [(Cow::Borrowed("service"), Cow::Borrowed(service)), (Cow::Borrowed("name"), Cow::Owned(name.to_owned()))];
        Self::new(registry::Registry::with_labels(labels.into_iter()))
    }

    fn new(mut inner: registry::Registry) -> Self {
        let build = Info::new([("version", env!("CARGO_PKG_VERSION")), ("commit", COMMIT)]);
        inner.register("starling_build", "What was built", build);
        inner.register_collector(Box::new(Process));
        Self { inner }
    }

    /// Adds a metric; for [`metrics!`](crate::metrics!).
    pub fn add<M: Metric>(&mut self, row: &Row, metric: &M) {
        metric.register(&mut self.inner, row);
    }

    /// Everything in the Prometheus text format, version 0.0.4.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail; a metric that refuses is left out together with those after it.
        let _ = prometheus_text::encode(&mut text, &self.inner);
        text
    }
}

/// One row of the table, made and registered.
pub trait Metric: Clone + Send + Sync {
    /// "counter", "gauge" or "histogram".
    const TYPE: &'static str;
    /// A metric at zero. `label` is the name of its label, for those that have one.
    fn create(label: &'static str) -> Self;
    /// Adds it to a registry.
    fn register(&self, registry: &mut registry::Registry, row: &Row);
}

fn register(registry: &mut registry::Registry, row: &Row, metric: impl registry::Metric) {
    let help = row.help.trim_end_matches('.');
    match row.unit.clone() {
        Some(unit) => registry.register_with_unit(row.name, help, unit, metric),
        None => registry.register(row.name, help, metric),
    }
}

/// Counts up. Cheap to clone; clones count together.
#[derive(Debug, Clone, Default)]
pub struct Counter(counter::Counter);

impl Counter {
    /// One more.
    pub fn inc(&self) {
        self.0.inc();
    }

    /// `n` more.
    pub fn add(&self, n: u64) {
        self.0.inc_by(n);
    }

    /// The count so far.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.get()
    }
}

impl Metric for Counter {
    const TYPE: &'static str = "counter";

    fn create(_: &'static str) -> Self {
        Self::default()
    }

    fn register(&self, registry: &mut registry::Registry, row: &Row) {
        register(registry, row, self.0.clone());
    }
}

/// Goes up and down. Cheap to clone; clones are the same gauge.
#[derive(Debug, Clone, Default)]
pub struct Gauge(gauge::Gauge<f64, AtomicU64>);

impl Gauge {
    /// Shows `value`.
    pub fn set(&self, value: f64) {
        self.0.set(value);
    }

    /// Shows `by` more, or less.
    pub fn add(&self, by: f64) {
        self.0.inc_by(by);
    }

    /// What it shows.
    #[must_use]
    pub fn get(&self) -> f64 {
        self.0.get()
    }
}

impl Metric for Gauge {
    const TYPE: &'static str = "gauge";

    fn create(_: &'static str) -> Self {
        Self::default()
    }

    fn register(&self, registry: &mut registry::Registry, row: &Row) {
        register(registry, row, self.0.clone());
    }
}

/// Durations, in buckets. Cheap to clone; clones record together.
#[derive(Debug, Clone)]
pub struct Durations(histogram::Histogram);

impl Durations {
    /// Records one.
    pub fn record(&self, took: std::time::Duration) {
        self.0.observe(took.as_secs_f64());
    }
}

impl Metric for Durations {
    const TYPE: &'static str = "histogram";

    fn create(_: &'static str) -> Self {
        Self(histogram::Histogram::new(DURATION_BUCKETS))
    }

    fn register(&self, registry: &mut registry::Registry, row: &Row) {
        register(registry, row, self.0.clone());
    }
}

/// One metric for each value of a label. Values come from a closed list of the program, never from input.
#[derive(Debug, Clone)]
pub struct By<M: ByLabel> {
    label: &'static str,
    family: Family<[(&'static str, &'static str); 1], M::Inner>,
}

/// A metric that may have a label.
pub trait ByLabel: Metric {
    /// What the registry holds of it.
    type Inner: registry::Metric + prometheus_client::metrics::TypedMetric + Clone + Default;
    /// The metric of one value.
    fn wrap(inner: Self::Inner) -> Self;
}

impl ByLabel for Counter {
    type Inner = counter::Counter;

    fn wrap(inner: Self::Inner) -> Self {
        Self(inner)
    }
}

impl ByLabel for Gauge {
    type Inner = gauge::Gauge<f64, AtomicU64>;

    fn wrap(inner: Self::Inner) -> Self {
        Self(inner)
    }
}

impl<M: ByLabel> By<M> {
    /// The metric of one value; it appears with its first use.
    #[must_use]
    pub fn of(&self, value: &'static str) -> M {
        M::wrap(self.family.get_or_create_owned(&[(self.label, value)]))
    }
}

impl<M: ByLabel> Metric for By<M> {
    const TYPE: &'static str = M::TYPE;

    fn create(label: &'static str) -> Self {
        Self { label, family: Family::default() }
    }

    fn register(&self, registry: &mut registry::Registry, row: &Row) {
        register(registry, row, self.family.clone());
    }
}

/// One gauge for each entry of a list that is replaced as a whole. The values of its label come from files of the operator: at
/// most [`LISTED_MAX`] are shown.
#[derive(Debug, Clone)]
pub struct Listed {
    label: &'static str,
    family: Family<[(&'static str, String); 1], gauge::Gauge<f64, AtomicU64>>,
    shown: Arc<Mutex<BTreeSet<String>>>,
}

/// Entries of a [`Listed`] that are shown: of a list that is longer the first ones.
pub const LISTED_MAX: usize = 32;

impl Listed {
    /// Shows these, and what was there before no more.
    pub fn set(&self, entries: impl IntoIterator<Item = (String, f64)>) {
        let entries: BTreeMap<String, f64> = entries.into_iter().take(LISTED_MAX).collect();
        // Short section, and nothing in it waits.
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        for gone in shown.iter().filter(|one| !entries.contains_key(*one)) {
            self.family.remove(&[(self.label, gone.clone())]);
        }
        for (entry, value) in &entries {
            self.family.get_or_create(&[(self.label, entry.clone())]).set(*value);
        }
        *shown = entries.into_keys().collect();
    }
}

impl Metric for Listed {
    const TYPE: &'static str = Gauge::TYPE;

    fn create(label: &'static str) -> Self {
        Self { label, family: Family::default(), shown: Arc::default() }
    }

    fn register(&self, registry: &mut registry::Registry, row: &Row) {
        register(registry, row, self.family.clone());
    }
}

#[cfg(test)]
mod tests;
