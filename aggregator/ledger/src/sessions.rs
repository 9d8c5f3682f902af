//! The streams connected here, and how far they have reported: asked per frame, so answered without a walk.

use std::collections::BTreeMap;

use roaring::RoaringBitmap;

use super::{limits::IDLE_SECONDS, names::Numbers};

/// A connected stream.
#[derive(Debug)]
struct StreamSession {
    /// The connection it came on.
    key: u64,
    /// Unix seconds.
    opened: u32,
    /// Highest tick offered; 0 before the first.
    high: u32,
}

/// How many sessions stand at each tick.
type Standing = BTreeMap<u32, u32>;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    by_stream: Numbers<StreamSession>,
    /// Sessions that reported since they were opened, by their highest tick.
    reporting: Standing,
    /// Sessions that did not, by the second they were opened in and their highest tick.
    fresh: BTreeMap<u32, Standing>,
}

impl Sessions {
    /// A connection `key` of a stream begins, or takes the place of the one before.
    pub(super) fn open(&mut self, now: u32, stream: u32, key: u64) {
        let high = self.take(stream).map_or(0, |session| session.high);
        self.put(stream, StreamSession { key, opened: now, high });
    }

    /// The connection `key` of a stream ends. False when another one took its place, or none is open.
    pub(super) fn close(&mut self, stream: u32, key: u64) -> bool {
        let current = self.is_open(stream, key);
        if current {
            self.take(stream);
        }
        current
    }

    /// True while `key` is the connection of the stream.
    pub(super) fn is_open(&self, stream: u32, key: u64) -> bool {
        self.by_stream.get(&stream).is_some_and(|session| session.key == key)
    }

    /// True while the stream has a connection.
    pub(super) fn contains(&self, stream: u32) -> bool {
        self.by_stream.contains_key(&stream)
    }

    /// A frame of the stream was offered.
    pub(super) fn offered(&mut self, stream: u32, tick: u32) {
        if self.by_stream.get(&stream).is_some_and(|session| session.high < tick)
            && let Some(session) = self.take(stream)
        {
            self.put(stream, StreamSession { high: tick, ..session });
        }
    }

    /// The tick that every stream has reported. Streams that lag by more than [`IDLE_SECONDS`] are not waited for;
    /// `None` without streams to wait for.
    pub(super) fn reported_by_all(&self, now: u32) -> Option<u32> {
        let since = now.saturating_sub(IDLE_SECONDS);
        let reporting = self.reporting.range(since..).next().map(|(&high, _)| high);
        // Opened within the last seconds: a handful of them at most.
        let fresh = self.fresh.range(since..).filter_map(|(_, standing)| standing.keys().next().copied());
        reporting.into_iter().chain(fresh).min()
    }

    /// Connected streams.
    pub(super) fn len(&self) -> usize {
        self.by_stream.len()
    }

    /// Connected streams, by number.
    pub(super) fn streams(&self) -> RoaringBitmap {
        self.by_stream.keys().copied().collect()
    }

    fn standing(&mut self, session: &StreamSession) -> &mut Standing {
        if session.high >= session.opened { &mut self.reporting } else { self.fresh.entry(session.opened).or_default() }
    }

    fn put(&mut self, stream: u32, session: StreamSession) {
        *self.standing(&session).entry(session.high).or_default() += 1;
        self.by_stream.insert(stream, session);
    }

    fn take(&mut self, stream: u32) -> Option<StreamSession> {
        let session = self.by_stream.remove(&stream)?;
        let standing = self.standing(&session);
        if let Some(count) = standing.get_mut(&session.high) {
            *count -= 1;
            if *count == 0 {
                standing.remove(&session.high);
            }
        }
        if standing.is_empty() {
            self.fresh.remove(&session.opened);
        }
        Some(session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_stream_counts_until_it_lags_too_far() {
        let mut sessions = Sessions::default();
        assert_eq!(sessions.reported_by_all(100), None);
        sessions.open(100, 1, 0);
        sessions.open(100, 2, 0);
        sessions.offered(1, 100);
        assert_eq!(sessions.reported_by_all(100), Some(0), "a new stream is waited for");
        sessions.offered(2, 99);
        assert_eq!(sessions.reported_by_all(100), Some(99), "an old second is no report of this one");
        sessions.offered(2, 100);
        sessions.offered(1, 101);
        assert_eq!(sessions.reported_by_all(105), Some(100));
        assert_eq!(sessions.reported_by_all(106), Some(101), "stream 2 lags by six seconds");
        assert_eq!(sessions.reported_by_all(107), None);
        assert_eq!(sessions.len(), 2);
    }

    #[test]
    fn the_end_of_a_connection_never_closes_the_next_one() {
        let mut sessions = Sessions::default();
        sessions.open(100, 1, 7);
        sessions.open(101, 1, 8);
        assert!(!sessions.close(1, 7));
        assert!(sessions.contains(1) && sessions.is_open(1, 8));
        assert!(sessions.close(1, 8));
        assert!(!sessions.contains(1) && sessions.fresh.is_empty() && sessions.reporting.is_empty());
    }
}
