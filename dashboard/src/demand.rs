//! Which views beside the permanent ones are looked at, by how many, and since when no longer.
//!
//! Pure: time comes in. A view that is not looked at stays for [`LINGER_MS`], so that a reload or a click back costs
//! nothing.

use std::collections::HashMap;

use crate::hub::{Source, UnixMillis, ViewKey};

/// How long a view stays after its last client went.
pub(crate) const LINGER_MS: u64 = 30_000;

/// Every view is taken: say what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} nodes and groups are being looked at, which is the limit (limits.watches); close one and try again")]
pub(crate) struct Full(usize);

#[derive(Debug)]
struct Entry {
    leases: u32,
    /// When the last lease ended; meaningful at 0 leases.
    idle_since: UnixMillis,
}

/// The views on demand. At most `max` at once.
#[derive(Debug)]
pub(crate) struct Demand {
    entries: HashMap<ViewKey, Entry>,
    max: usize,
}

/// What a lease changed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Leased {
    /// The view was there.
    Known,
    /// The view is new; another one that was not looked at may have made place.
    New {
        /// The view that was given up.
        evicted: Option<ViewKey>,
    },
}

impl Demand {
    /// Nothing yet, at most `max` at once.
    pub(crate) fn new(max: usize) -> Self {
        Self { entries: HashMap::new(), max }
    }

    /// One more client looks at a view.
    pub(crate) fn lease(&mut self, key: &ViewKey) -> Result<Leased, Full> {
        if key.is_permanent() {
            return Ok(Leased::Known);
        }
        if let Some(entry) = self.entries.get_mut(key) {
            entry.leases += 1;
            return Ok(Leased::Known);
        }
        let mut evicted = None;
        if self.entries.len() >= self.max {
            let idle = self.entries.iter().filter(|(_, entry)| entry.leases == 0);
            let oldest = idle.min_by_key(|(_, entry)| entry.idle_since).map(|(key, _)| key.clone());
            let oldest = oldest.ok_or(Full(self.entries.len()))?;
            self.entries.remove(&oldest);
            evicted = Some(oldest);
        }
        self.entries.insert(key.clone(), Entry { leases: 1, idle_since: 0 });
        Ok(Leased::New { evicted })
    }

    /// One client less.
    pub(crate) fn release(&mut self, key: &ViewKey, now: UnixMillis) {
        if let Some(entry) = self.entries.get_mut(key) {
            debug_assert!(entry.leases > 0, "every release has its lease");
            entry.leases = entry.leases.saturating_sub(1);
            entry.idle_since = now;
        }
    }

    /// Takes out the views that were not looked at for long.
    pub(crate) fn expire(&mut self, now: UnixMillis) -> Vec<ViewKey> {
        let over = |entry: &Entry| entry.leases == 0 && now.saturating_sub(entry.idle_since) >= LINGER_MS;
        let expired: Vec<_> =
            self.entries.iter().filter(|(_, entry)| over(entry)).map(|(key, _)| key.clone()).collect();
        for key in &expired {
            self.entries.remove(key);
        }
        expired
    }

    /// Upstream series to follow, beside the whole cluster.
    pub(crate) fn sources(&self) -> Vec<Source> {
        self.entries.keys().filter_map(ViewKey::source).collect()
    }

    /// Views on demand.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use starling_proto::{group::Group, ids::NodeId};

    fn node(name: &str) -> ViewKey {
        ViewKey::Node(NodeId::parse(name).unwrap())
    }

    #[test]
    fn a_view_outlives_its_last_client_for_a_while() {
        let mut demand = Demand::new(2);
        assert_eq!(demand.lease(&node("a")), Ok(Leased::New { evicted: None }));
        assert_eq!(demand.lease(&node("a")), Ok(Leased::Known));
        demand.release(&node("a"), 1_000);
        assert!(demand.expire(1_000_000).is_empty(), "one client is left");
        demand.release(&node("a"), 2_000);
        assert!(demand.expire(2_000 + LINGER_MS - 1).is_empty());
        assert_eq!(demand.expire(2_000 + LINGER_MS), [node("a")]);
        assert_eq!(demand.len(), 0);
    }

    #[test]
    fn the_limit_gives_up_the_longest_idle_and_then_refuses() {
        let mut demand = Demand::new(2);
        for (name, released) in [("a", 5), ("b", 3)] {
            demand.lease(&node(name)).unwrap();
            demand.release(&node(name), released);
        }
        assert_eq!(demand.lease(&node("c")), Ok(Leased::New { evicted: Some(node("b")) }));
        demand.lease(&node("a")).unwrap();
        assert_eq!(demand.lease(&node("d")), Err(Full(2)));
        assert_eq!(demand.lease(&node("a")), Ok(Leased::Known), "what is there stays open to all");
    }

    #[test]
    fn permanent_views_cost_nothing_and_tables_need_no_stream() {
        let mut demand = Demand::new(1);
        assert_eq!(demand.lease(&ViewKey::Overview(Group::cluster())), Ok(Leased::Known));
        assert_eq!(demand.len(), 0);
        demand.lease(&ViewKey::Hosts(Group::parse("zone:a").unwrap())).unwrap();
        assert!(demand.sources().is_empty());
        assert_eq!(demand.len(), 1);
    }
}
