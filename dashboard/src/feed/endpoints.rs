//! Whom to ask next, and after what delay. Pure.

use std::time::Duration;

use starling_proto::{address::is_host_port, v1};
use starling_service::backoff::Backoff;

/// Pause after a round over all addresses that failed, and how far it grows; half of it up or down.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(3));
/// Addresses learnt from aggregators: more than any cluster has.
const LEARNT_MAX: usize = 64;

/// Addresses of aggregators, asked in turn.
#[derive(Debug)]
pub(crate) struct Endpoints {
    configured: Vec<String>,
    learnt: Vec<String>,
    last: Option<String>,
    /// Attempts of this round that failed.
    failures: usize,
    pauses: Backoff,
}

impl Endpoints {
    /// Starts with the configured ones; there is at least one.
    pub(crate) fn new(configured: Vec<String>) -> Self {
        debug_assert!(!configured.is_empty(), "the settings are checked");
        Self { configured, learnt: Vec::new(), last: None, failures: 0, pauses: Backoff::new(PAUSE.0, PAUSE.1) }
    }

    fn all(&self) -> Vec<&String> {
        let learnt = self.learnt.iter().filter(|learnt| !self.configured.contains(learnt));
        self.configured.iter().chain(learnt).collect()
    }

    /// The address after the one asked last.
    pub(crate) fn next(&mut self) -> String {
        let all = self.all();
        let after = self.last.as_ref().and_then(|last| all.iter().position(|is| *is == last)).map_or(0, |at| at + 1);
        let next = all.get(after).or(all.first()).map(|&address| address.clone()).unwrap_or_default();
        self.last = Some(next.clone());
        next
    }

    /// Takes the addresses of the members that serve. Those reported before and no longer named are forgotten.
    pub(crate) fn learn(&mut self, members: &v1::ListAggregatorsResponse) {
        use v1::AggregatorState::{Joining, Ready};
        self.learnt = members
            .aggregators
            .iter()
            .filter(|member| matches!(member.state(), Ready | Joining))
            .map(|member| member.grpc_address.clone())
            .filter(|address| is_host_port(address))
            .take(LEARNT_MAX)
            .collect();
    }

    /// The present address works.
    pub(crate) fn connected(&mut self) {
        self.failures = 0;
        self.pauses.reset();
    }

    /// The present address failed: how long to wait before the next. `random` is in 0..1.
    ///
    /// A round over all addresses goes without delay, so that the death of one aggregator costs no second; it is
    /// followed by a pause that grows.
    pub(crate) fn failed(&mut self, random: f64) -> Duration {
        self.failures += 1;
        if self.failures < self.all().len() {
            return Duration::ZERO;
        }
        self.failures = 0;
        self.pauses.wait(random)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(addresses: &[(&str, v1::AggregatorState)]) -> v1::ListAggregatorsResponse {
        let aggregators = addresses
            .iter()
            .map(|(address, state)| v1::Aggregator {
                grpc_address: (*address).into(),
                state: (*state).into(),
                ..Default::default()
            })
            .collect();
        v1::ListAggregatorsResponse { aggregators, ..Default::default() }
    }

    #[test]
    fn addresses_go_round_and_grow() {
        use v1::AggregatorState::{Dead, Ready};
        let mut endpoints = Endpoints::new(vec!["a:1".into(), "b:1".into()]);
        assert_eq!([endpoints.next(), endpoints.next(), endpoints.next()], ["a:1", "b:1", "a:1"]);
        endpoints.learn(&members(&[("b:1", Ready), ("c:1", Ready), ("d:1", Dead), ("nonsense", Ready)]));
        assert_eq!([endpoints.next(), endpoints.next(), endpoints.next()], ["b:1", "c:1", "a:1"]);
        endpoints.learn(&members(&[]));
        assert_eq!([endpoints.next(), endpoints.next()], ["b:1", "a:1"]);
    }

    #[test]
    fn the_next_is_asked_at_once_and_a_round_is_followed_by_a_pause() {
        let mut endpoints = Endpoints::new(vec!["a:1".into(), "b:1".into()]);
        assert_eq!(endpoints.failed(0.5), Duration::ZERO);
        let delays: Vec<_> = (0..40).map(|_| endpoints.failed(0.5)).collect();
        assert_eq!(delays[..4], [PAUSE.0, Duration::ZERO, PAUSE.0 * 2, Duration::ZERO]);
        assert_eq!(delays[38..], [PAUSE.1, Duration::ZERO]);
        endpoints.connected();
        assert_eq!([endpoints.failed(0.5), endpoints.failed(0.5)], [Duration::ZERO, PAUSE.0]);
    }

    #[test]
    fn one_address_is_not_hammered() {
        let mut endpoints = Endpoints::new(vec!["a:1".into()]);
        assert!(endpoints.failed(0.0) >= PAUSE.0 / 2);
    }
}
