//! How often names and passwords may be tried, by address and by name. Pure.

use std::{
    collections::HashSet,
    net::IpAddr,
    time::{Duration, Instant},
};

use super::{bucket::Buckets, client::bucket};

/// Wrong attempts from one address: ten at once, as somebody makes who looks for the right one, then one each half a minute.
const OF_ADDRESS: (u32, Duration) = (10, Duration::from_secs(30));
/// Wrong attempts at one name from everywhere: beyond it guessing is not one person's. Who has signed in with the name from the same
/// address before is not held up by it: no one locks another out of the own desk.
const OF_NAME: (u32, Duration) = (30, Duration::from_secs(10));
/// API tokens that are not known, from one address: nobody guesses one; this ends the noise of one that was revoked.
const OF_TOKENS: (u32, Duration) = (60, Duration::from_secs(1));
/// Names with addresses that are remembered. Beyond it all are forgotten, which only means that the bound on a name holds for them.
const KNOWN_MAX: usize = 10_000;
/// Bytes of a name that count: longer ones are nobody's.
const NAME_LEN_MAX: usize = 64;

/// See the module.
#[derive(Debug)]
pub(super) struct Attempts {
    by_address: Buckets<IpAddr>,
    by_name: Buckets<String>,
    tokens: Buckets<IpAddr>,
    known: HashSet<(String, IpAddr)>,
}

impl Default for Attempts {
    fn default() -> Self {
        Self {
            by_address: Buckets::new(OF_ADDRESS.0, OF_ADDRESS.1),
            by_name: Buckets::new(OF_NAME.0, OF_NAME.1),
            tokens: Buckets::new(OF_TOKENS.0, OF_TOKENS.1),
            known: HashSet::new(),
        }
    }
}

fn key(name: &str, from: IpAddr) -> (String, IpAddr) {
    let end = (0..=name.len().min(NAME_LEN_MAX)).rev().find(|&end| name.is_char_boundary(end)).unwrap_or(0);
    (name[..end].to_owned(), bucket(from))
}

impl Attempts {
    /// Counts an attempt before it is looked at, so that many at once are counted too.
    ///
    /// # Errors
    /// How long to wait when there were too many.
    pub(super) fn begin(&mut self, name: &str, from: IpAddr, now: Instant) -> Result<(), Duration> {
        let key = key(name, from);
        if let Some(wait) = self.by_address.wait(&key.1, now) {
            return Err(wait);
        }
        if !self.known.contains(&key) {
            self.by_name.add(&key.0, now)?;
        }
        self.by_address.add(&key.1, now)
    }

    /// The attempt was none: it was not looked at.
    pub(super) fn take_back(&mut self, name: &str, from: IpAddr, now: Instant) {
        let key = key(name, from);
        self.by_address.take_back(&key.1, now);
        if !self.known.contains(&key) {
            self.by_name.take_back(&key.0, now);
        }
    }

    /// The attempt was right.
    pub(super) fn succeeded(&mut self, name: &str, from: IpAddr, now: Instant) {
        self.take_back(name, from, now);
        if self.known.len() >= KNOWN_MAX {
            self.known.clear();
        }
        self.known.insert(key(name, from));
    }

    /// A token was not known.
    ///
    /// # Errors
    /// How long to wait when there were too many.
    pub(super) fn unknown_token(&mut self, from: IpAddr, now: Instant) -> Result<(), Duration> {
        self.tokens.add(&bucket(from), now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(last: u8) -> IpAddr {
        IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, last))
    }

    #[test]
    fn one_guesser_is_slowed_and_another_gets_in() {
        let (mut attempts, now) = (Attempts::default(), Instant::now());
        let taken = (0..50).filter(|_| attempts.begin("admin", at(1), now).is_ok()).count();
        assert_eq!(taken, 10);
        assert_eq!(attempts.begin("viewer", at(1), now), Err(OF_ADDRESS.1), "whatever the name");
        assert_eq!(attempts.begin("admin", at(2), now), Ok(()));
    }

    #[test]
    fn many_guessers_of_one_name_do_not_lock_out_who_was_there() {
        let (mut attempts, now) = (Attempts::default(), Instant::now());
        attempts.begin("admin", at(200), now).unwrap();
        attempts.succeeded("admin", at(200), now);
        let taken = (1..100).filter(|&last| attempts.begin("admin", at(last), now).is_ok()).count();
        assert_eq!(taken, 30);
        assert!(attempts.begin("admin", at(201), now).is_err());
        assert_eq!(attempts.begin("admin", at(200), now), Ok(()));
        assert_eq!(attempts.begin("other", at(201), now), Ok(()));
    }

    #[test]
    fn right_ones_do_not_count() {
        let (mut attempts, now) = (Attempts::default(), Instant::now());
        for _ in 0..100 {
            attempts.begin("ada", at(1), now).unwrap();
            attempts.succeeded("ada", at(1), now);
        }
        let long = "ä".repeat(500);
        attempts.begin(&long, at(1), now).unwrap();
        attempts.take_back(&long, at(1), now);
    }
}
