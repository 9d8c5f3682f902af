//! How often somebody may do something: a bucket for each that fills with what is done and leaks at a steady pace. Pure.

use std::{
    collections::HashMap,
    hash::Hash,
    time::{Duration, Instant},
};

/// Buckets that are kept. One costs some 60 bytes; when there is no room the emptier half goes, which forgets the least.
const BUCKETS_MAX: usize = 10_000;

/// See the module.
#[derive(Debug)]
pub(crate) struct Buckets<K> {
    /// What fits into one at once.
    most: f64,
    /// How long one such takes to leak out.
    each: Duration,
    of: HashMap<K, Bucket>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    level: f64,
    at: Instant,
}

impl<K: Hash + Eq + Clone> Buckets<K> {
    /// `most` at once, and one more after each `each`.
    pub(crate) fn new(most: u32, each: Duration) -> Self {
        Self { most: f64::from(most), each, of: HashMap::new() }
    }

    fn level(&self, key: &K, now: Instant) -> f64 {
        let Some(bucket) = self.of.get(key) else { return 0.0 };
        let leaked = now.saturating_duration_since(bucket.at).as_secs_f64() / self.each.as_secs_f64();
        (bucket.level - leaked).max(0.0)
    }

    /// How long `key` has to wait; `None` when it need not.
    pub(crate) fn wait(&self, key: &K, now: Instant) -> Option<Duration> {
        let over = self.level(key, now) + 1.0 - self.most;
        (over > 0.0).then(|| self.each.mul_f64(over))
    }

    /// Adds one, if there is room for it.
    ///
    /// # Errors
    /// How long to wait; nothing is added then, so that who goes on trying gets in as soon as who waits.
    pub(crate) fn add(&mut self, key: &K, now: Instant) -> Result<(), Duration> {
        if let Some(wait) = self.wait(key, now) {
            return Err(wait);
        }
        let level = self.level(key, now) + 1.0;
        if self.of.len() >= BUCKETS_MAX && !self.of.contains_key(key) {
            self.make_room(now);
        }
        self.of.insert(key.clone(), Bucket { level, at: now });
        Ok(())
    }

    /// Takes one back: it was none of those that are counted.
    pub(crate) fn take_back(&mut self, key: &K, now: Instant) {
        let level = (self.level(key, now) - 1.0).max(0.0);
        if level > 0.0 {
            self.of.insert(key.clone(), Bucket { level, at: now });
        } else {
            self.of.remove(key);
        }
    }

    /// Forgets those that are empty by now, or else the emptier half: seldom, so that a flood of keys costs little each.
    fn make_room(&mut self, now: Instant) {
        let each = self.each.as_secs_f64();
        let level = |bucket: &Bucket| bucket.level - now.saturating_duration_since(bucket.at).as_secs_f64() / each;
        self.of.retain(|_, bucket| level(bucket) > 0.0);
        if self.of.len() >= BUCKETS_MAX {
            let mut levels: Vec<f64> = self.of.values().map(level).collect();
            let (_, median, _) = levels.select_nth_unstable_by(BUCKETS_MAX / 2, f64::total_cmp);
            let median = *median;
            self.of.retain(|_, bucket| level(bucket) > median);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EACH: Duration = Duration::from_secs(30);

    #[test]
    fn a_burst_passes_then_one_at_a_time() {
        let (mut buckets, start) = (Buckets::new(3, EACH), Instant::now());
        assert!((0..3).all(|_| buckets.add(&"a", start).is_ok()));
        assert_eq!(buckets.add(&"a", start), Err(EACH));
        assert_eq!(buckets.add(&"b", start), Ok(()), "another has its own");
        // Trying again does not put it off.
        assert_eq!(buckets.add(&"a", start + EACH / 2), Err(EACH / 2));
        assert_eq!(buckets.add(&"a", start + EACH), Ok(()));
        assert!(buckets.add(&"a", start + EACH).is_err());
        assert!((0..3).all(|_| buckets.add(&"a", start + 10 * EACH).is_ok()), "empty again");
    }

    #[test]
    fn what_is_taken_back_was_not() {
        let (mut buckets, start) = (Buckets::new(1, EACH), Instant::now());
        for _ in 0..5 {
            buckets.add(&"a", start).unwrap();
            buckets.take_back(&"a", start);
        }
        assert!(buckets.of.is_empty());
        buckets.take_back(&"nobody", start);
        assert_eq!(buckets.wait(&"nobody", start), None);
    }

    #[test]
    fn a_flood_of_keys_forgets_the_emptier() {
        let (mut buckets, start) = (Buckets::new(5, EACH), Instant::now());
        (0..5).for_each(|_| buckets.add(&u32::MAX, start).unwrap());
        for key in 0..2 * BUCKETS_MAX as u32 {
            buckets.add(&key, start).unwrap();
        }
        assert!((1..=BUCKETS_MAX).contains(&buckets.of.len()));
        assert!(buckets.wait(&u32::MAX, start).is_some(), "the fullest stays");
        let mut buckets = Buckets::new(5, EACH);
        (0..BUCKETS_MAX as u32).for_each(|key| buckets.add(&key, start).unwrap());
        buckets.add(&u32::MAX, start + 100 * EACH).unwrap();
        assert_eq!(buckets.of.len(), 1, "those that are empty go when there is no room");
    }
}
