//! Refused attempts of one source: a few, then a wait. Pure.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    time::{Duration, Instant},
};

/// Refused attempts of one source that cost no wait: a fleet behind one address that has an old token among them.
const FREE: u32 = 20;
/// After so long a source is new again.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);
/// Sources that are known; beyond, the one that was refused longest ago goes.
const SOURCES_MAX: usize = 4_096;

/// The attempts.
#[derive(Debug, Default)]
pub(super) struct Tries(HashMap<IpAddr, (u32, Instant)>);

impl Tries {
    /// How long a source has to wait before it may try again.
    pub(super) fn wait(&self, source: IpAddr, now: Instant) -> Option<Duration> {
        let (refused, last) = self.0.get(&net(source))?;
        let left = FORGOTTEN_AFTER.checked_sub(now.saturating_duration_since(*last))?;
        (*refused >= FREE && !left.is_zero()).then_some(left)
    }

    /// An attempt of a source was refused.
    pub(super) fn refused(&mut self, source: IpAddr, now: Instant) {
        self.0.retain(|_, (_, last)| now.saturating_duration_since(*last) < FORGOTTEN_AFTER);
        if self.0.len() >= SOURCES_MAX
            && !self.0.contains_key(&net(source))
            && let Some(oldest) = self.0.iter().min_by_key(|(_, (_, last))| *last).map(|(source, _)| *source)
        {
            self.0.remove(&oldest);
        }
        let (refused, last) = self.0.entry(net(source)).or_insert((0, now));
        *refused = refused.saturating_add(1);
        *last = now;
    }
}

/// Addresses that one host can choose at will are one.
fn net(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_waits_after_many_refusals_and_is_forgotten() {
        let (start, source) = (Instant::now(), "10.0.0.1".parse().unwrap());
        let mut tries = Tries::default();
        for _ in 0..FREE {
            assert_eq!(tries.wait(source, start), None);
            tries.refused(source, start);
        }
        assert_eq!(tries.wait(source, start + Duration::from_secs(10)), Some(Duration::from_secs(50)));
        assert_eq!(tries.wait("::ffff:10.0.0.1".parse().unwrap(), start), Some(FORGOTTEN_AFTER), "the same host");
        assert_eq!(tries.wait("10.0.0.2".parse().unwrap(), start), None);
        assert_eq!(tries.wait(source, start + FORGOTTEN_AFTER), None);
    }

    #[test]
    fn a_source_that_changes_its_address_is_one_and_the_table_is_bounded() {
        let start = Instant::now();
        let mut tries = Tries::default();
        for host in 0..FREE {
            tries.refused(Ipv6Addr::new(0xfd90, 0, 0, 1, 0, 0, 0, host as u16).into(), start);
        }
        assert!(tries.wait("fd90:0:0:1::ffff".parse().unwrap(), start).is_some());
        for net in 0..2 * SOURCES_MAX as u16 {
            tries.refused(Ipv6Addr::new(0xfd91, net, 0, 0, 0, 0, 0, 1).into(), start);
        }
        assert_eq!(tries.0.len(), SOURCES_MAX);
    }
}
