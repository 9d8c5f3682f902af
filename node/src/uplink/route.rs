//! Which aggregator to dial next.

use std::{collections::HashSet, time::Duration};

use starling_proto::{address::is_host_port, v1};
use starling_service::backoff::Backoff;

/// Redirects followed before the next hello says that the aggregator must accept.
pub(super) const REDIRECTS_MAX: u32 = 3;
/// Ranked addresses kept from one answer: more than an aggregator names.
const RANKED_MAX: usize = 8;
/// Known addresses kept from one answer: more aggregators than a cluster has.
const KNOWN_MAX: usize = 64;
/// Addresses dialled in one round at most, whatever the answers name.
const ROUND_MAX: usize = 128;
/// Pause after every address failed, and how far it grows; half of it up or down.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(3));

/// The aggregators this node knows, and what became of dialling them.
///
/// A round tries each address once: the ranked ones in order, then the known ones, then the seeds. When all failed
/// the caller pauses for [`Route::pause`] and begins a new round.
#[derive(Debug)]
pub(super) struct Route {
    seeds: Vec<String>,
    ranked: Vec<String>,
    known: Vec<String>,
    failed: HashSet<String>,
    rounds_failed: u32,
    pauses: Backoff,
    hops: u32,
    random: SplitMix,
}

impl Route {
    /// Starts from the seeds. `seed` decides their order and every jitter, so that a thousand nodes that start at
    /// once do not dial the same aggregator in step.
    pub(super) fn new(mut seeds: Vec<String>, seed: u64) -> Self {
        let mut random = SplitMix(seed);
        for i in (1..seeds.len()).rev() {
            seeds.swap(i, random.below(i + 1));
        }
        Self {
            seeds,
            ranked: vec![],
            known: vec![],
            failed: HashSet::new(),
            rounds_failed: 0,
            pauses: Backoff::new(PAUSE.0, PAUSE.1),
            hops: 0,
            random,
        }
    }

    /// The best address not yet tried in this round.
    pub(super) fn next(&self) -> Option<&str> {
        if self.failed.len() >= ROUND_MAX {
            return None;
        }
        let all = self.ranked.iter().chain(&self.known).chain(&self.seeds);
        all.map(String::as_str).find(|&address| !self.failed.contains(address))
    }

    /// The address did not serve; it is not tried again in this round.
    pub(super) fn failed(&mut self, address: &str) {
        self.failed.insert(address.to_owned());
    }

    /// Takes what an aggregator advertised: where this node belongs, and who else there is. Addresses that are none are
    /// left out, and so is what goes beyond the bounds.
    pub(super) fn learn(&mut self, ranked: &[v1::Endpoint], known: &[v1::Endpoint]) {
        let addresses = |endpoints: &[v1::Endpoint], max| -> Vec<String> {
            let good = endpoints.iter().map(|endpoint| &endpoint.address).filter(|address| is_host_port(address));
            good.take(max).cloned().collect()
        };
        self.ranked = addresses(ranked, RANKED_MAX);
        self.known = addresses(known, KNOWN_MAX);
        if !self.known.is_empty() {
            let at = self.random.below(self.known.len());
            self.known.rotate_left(at);
        }
    }

    /// Counts a redirect. False when the aggregator had to accept and did not.
    pub(super) fn redirected(&mut self) -> bool {
        self.hops += 1;
        self.hops <= REDIRECTS_MAX
    }

    /// True when the next aggregator must accept.
    pub(super) const fn final_hop(&self) -> bool {
        self.hops >= REDIRECTS_MAX
    }

    /// A link has proved itself: what failed before it is forgotten.
    pub(super) fn settled(&mut self) {
        self.failed.clear();
        (self.rounds_failed, self.hops) = (0, 0);
        self.pauses.reset();
    }

    /// Every address failed: begins a new round and says how long to wait before it.
    pub(super) fn pause(&mut self) -> Duration {
        self.failed.clear();
        self.hops = 0;
        self.rounds_failed = self.rounds_failed.saturating_add(1);
        self.pauses.wait(self.random.fraction())
    }

    /// Rounds in a row in which every address failed.
    pub(super) const fn rounds_failed(&self) -> u32 {
        self.rounds_failed
    }

    /// `duration` changed by up to a fifth, either way.
    pub(super) fn jittered(&mut self, duration: Duration) -> Duration {
        duration.mul_f64(0.8 + 0.4 * self.random.fraction())
    }
}

/// The splitmix64 generator (Steele, Lea, Flood 2014): good enough to spread retries, and the same for the same seed.
#[derive(Debug)]
pub(crate) struct SplitMix(pub(crate) u64);

impl SplitMix {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    /// In 0..1.
    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints(addresses: &[&str]) -> Vec<v1::Endpoint> {
        addresses.iter().map(|&a| v1::Endpoint { aggregator_id: "a".into(), address: a.into() }).collect()
    }

    #[test]
    fn ranked_come_before_known_and_seeds() {
        let mut route = Route::new(vec!["seed:1".into()], 7);
        assert_eq!(route.next(), Some("seed:1"));
        route.learn(&endpoints(&["owner:1", "second:1"]), &endpoints(&["other:1"]));
        let mut order = Vec::new();
        while let Some(address) = route.next().map(str::to_owned) {
            route.failed(&address);
            order.push(address);
        }
        assert_eq!(order, ["owner:1", "second:1", "other:1", "seed:1"]);
        let pause = route.pause();
        assert!(pause >= PAUSE.0 / 2 && route.next() == Some("owner:1"));
    }

    #[test]
    fn pauses_grow_to_a_bound_and_differ_by_seed() {
        let pauses = |seed| {
            let mut route = Route::new(vec!["a:1".into()], seed);
            (0..50).map(|_| route.pause()).collect::<Vec<_>>()
        };
        let some = pauses(1);
        assert!(some.iter().all(|&p| (PAUSE.0 / 2..=PAUSE.1 * 3 / 2).contains(&p)));
        assert!(some[0] <= PAUSE.0 * 3 / 2 && some[10..].iter().any(|&p| p > Duration::from_secs(2)));
        assert_eq!(some, pauses(1));
        assert_ne!(some, pauses(2));
    }

    #[test]
    fn foreign_addresses_are_checked_and_bounded() {
        let mut route = Route::new(vec![], 1);
        let many: Vec<String> = (1..500).map(|i| format!("h{i}:1")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        route.learn(&endpoints(&["", "no-port", "a b:1", "http://x:1", "good:7400"]), &endpoints(&many));
        assert_eq!(route.ranked, ["good:7400"]);
        assert_eq!(route.known.len(), KNOWN_MAX);
    }

    #[test]
    fn redirects_end() {
        let mut route = Route::new(vec!["a:1".into()], 1);
        for hop in 1..=REDIRECTS_MAX {
            assert!(!route.final_hop() && route.redirected(), "hop {hop}");
        }
        assert!(route.final_hop() && !route.redirected());
        route.settled();
        assert!(!route.final_hop());
    }
}
