//! The names a node may bring: here a name enters the process, and here it is limited.
//!
//! A name that the process knows is free. Each further one takes a token of its node's bucket. A node without tokens has
//! its new series added up in one of the same metric whose attribute values are all `_other`, or where that is new too
//! and the bucket is deep in debt, in a series called `_other` of the same kind, scale and scope. Both are series like
//! any other: shown, merged and counted.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use starling_proto::{
    catalogue,
    interner::{Interned, Interner, Layout, Resolve, Resolved},
    limits::SERIES_PER_NODE_MAX,
    series::{OTHER, Series},
};

/// New names a node may bring at once: as many as it may have.
const NAMES_BURST: f64 = SERIES_PER_NODE_MAX as f64;
/// New names a second of one node in the long run: at the limit of a frame they last for about 17 minutes, the time in
/// which the names before them are forgotten.
const NAMES_PER_SECOND: f64 = 4.0;
/// Metrics of one node that may get their `_other` series beyond the quota.
const OTHERS_BURST: f64 = 64.0;

/// New names of one node, over all its connections. A token bucket.
#[derive(Debug)]
pub(super) struct NameQuota {
    /// At most [`NAMES_BURST`], at least minus [`OTHERS_BURST`].
    tokens: f64,
    at: Option<Instant>,
}

impl Default for NameQuota {
    fn default() -> Self {
        Self { tokens: NAMES_BURST, at: None }
    }
}

impl NameQuota {
    /// Takes a token if at least `floor` and it are left.
    fn take(&mut self, now: Instant, floor: f64) -> bool {
        let gained = self.at.map_or(0.0, |at| now.saturating_duration_since(at).as_secs_f64() * NAMES_PER_SECOND);
        self.tokens = (self.tokens + gained).min(NAMES_BURST);
        self.at = Some(now);
        let enough = self.tokens >= floor + 1.0;
        if enough {
            self.tokens -= 1.0;
        }
        enough
    }
}

/// The names of the process within the quota of one node.
pub(super) struct NodeNames<'a> {
    pub(super) names: &'a Interner,
    /// Plain mutex; taken for a new name only.
    pub(super) quota: &'a Mutex<NameQuota>,
    pub(super) now: Instant,
}

impl NodeNames<'_> {
    fn take(&self, floor: f64) -> bool {
        self.quota.lock().unwrap_or_else(PoisonError::into_inner).take(self.now, floor)
    }

    /// What counts the values of `series`, which has no place of its own.
    fn other(&self, series: &Series) -> Option<Interned> {
        let of_metric = (!series.attributes().is_empty()).then(|| series.other());
        if let Some(of_metric) = of_metric {
            if let Some(known) = self.names.get(&of_metric) {
                return Some(known);
            }
            if self.take(-OTHERS_BURST)
                && let Some(new) = self.names.intern(&of_metric)
            {
                return Some(new);
            }
        }
        // At most one per kind, scale and scope in the whole process.
        let any = Series::application(OTHER, &[], series.kind(), "", series.scale(), series.scope()).ok()?;
        self.names.intern(&any)
    }
}

impl Resolve for NodeNames<'_> {
    fn resolve(&self, series: &Series) -> Resolved {
        if let Some(known) = self.names.get(series) {
            return Resolved::Own(known);
        }
        // Metrics of the catalogue without attributes are as many as the catalogue has.
        let free = series.attributes().is_empty() && catalogue::find(series.name()).is_some();
        if (free || self.take(0.0))
            && let Some(new) = self.names.intern(series)
        {
            return Resolved::Own(new);
        }
        self.other(series).map_or(Resolved::LeftOut, Resolved::Other)
    }

    fn layout(&self, series: Vec<Interned>) -> Arc<Layout> {
        self.names.layout(series)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use starling_proto::catalogue::{Kind, Scope};

    use super::*;

    fn app(name: &str, attributes: &[(&str, &str)]) -> Series {
        Series::application(name, attributes, Kind::Counter, "1", 0, Scope::Cluster).unwrap()
    }

    #[test]
    fn names_beyond_the_quota_count_together() {
        let (names, quota, start) = (Interner::default(), Mutex::default(), Instant::now());
        let at = |seconds| NodeNames { names: &names, quota: &quota, now: start + Duration::from_secs(seconds) };
        let burst = NAMES_BURST as usize;
        for n in 0..burst {
            assert!(matches!(at(0).resolve(&app("jobs", &[("id", &n.to_string())])), Resolved::Own(_)));
        }
        let Resolved::Other(other) = at(0).resolve(&app("jobs", &[("id", "new")])) else { panic!("beyond the quota") };
        assert_eq!(other.to_string(), "jobs{id=_other}");
        // A name that somebody else brought is free, and so are the host's own.
        names.intern(&app("jobs", &[("id", "known")])).unwrap();
        assert!(matches!(at(0).resolve(&app("jobs", &[("id", "known")])), Resolved::Own(_)));
        assert!(matches!(at(0).resolve(&Series::of(&catalogue::LOAD_1M, &[])), Resolved::Own(_)));
        // Metrics that never repeat get one series for all of them.
        let others: Vec<String> = (0..100)
            .map(|n| match at(0).resolve(&app(&format!("metric.{n}"), &[("id", "1")])) {
                Resolved::Other(other) => other.to_string(),
                resolved => panic!("{resolved:?}"),
            })
            .collect();
        assert_eq!(others.iter().filter(|name| *name == OTHER).count(), 100 - (OTHERS_BURST as usize - 1));
        assert!(names.len() <= burst + 200);
        // The debt is paid back first.
        assert!(matches!(at(16).resolve(&app("jobs", &[("id", "soon")])), Resolved::Other(_)));
        assert!(matches!(at(17).resolve(&app("jobs", &[("id", "later")])), Resolved::Own(_)));
        assert!(matches!(at(17).resolve(&app("plain", &[])), Resolved::Own(_) | Resolved::Other(_)));
    }

    #[test]
    fn a_full_table_leaves_out() {
        let (names, quota) = (Interner::new(1), Mutex::default());
        let node = NodeNames { names: &names, quota: &quota, now: Instant::now() };
        assert!(matches!(node.resolve(&app("a", &[])), Resolved::Own(_)));
        assert_eq!(node.resolve(&app("b", &[])), Resolved::LeftOut);
    }
}
