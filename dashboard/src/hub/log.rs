//! What a view published lately, and where each client is in it.
//!
//! A client is a [`Cursor`]: it has no queue. What it has not been sent yet stays here, once for all clients, and what
//! falls out of the log before a client reaches it is answered with a snapshot.

use std::{collections::VecDeque, sync::Arc};

use super::{UnixMillis, frame::SharedFrame};

/// New seconds a client may be behind before it jumps to the newest: one missed wake-up is no reason to lose a point,
/// ten seconds of drawing the past are.
pub(crate) const BEHIND_MAX: usize = 3;
/// What it is behind must also have been here for as long as these seconds last. After a change of the aggregator many
/// seconds come at once, and no client is to blame for that.
pub(crate) const BEHIND_MAX_MS: UnixMillis = 1_000 * BEHIND_MAX as UnixMillis;

/// One message to every client of a view.
#[derive(Debug)]
pub(crate) struct Publication {
    /// The second it is for.
    pub(crate) tick: u32,
    /// Above 0: it corrects a second.
    pub(crate) revision: u32,
    /// Rises when the columns or the dictionary grow. The publication that raises it carries what is new.
    pub(crate) layout: u32,
    /// When it was published.
    pub(crate) at: UnixMillis,
    /// The message.
    pub(crate) frame: SharedFrame,
}

/// Where a client is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cursor {
    /// Number of the next publication to send; `None` before the first snapshot.
    next: Option<u64>,
    /// Publications before this one are sent even when the client is behind: it asked to resume.
    replay_until: u64,
    /// Newest second sent.
    tick: u32,
    layout: u32,
    /// New seconds left out since the last one sent.
    skipped: u32,
}

/// What to send next.
#[derive(Debug)]
pub(crate) enum Next {
    /// Nothing for now.
    Wait,
    /// The whole view.
    Snapshot,
    /// A publication, and how many seconds were left out before it.
    Send(Arc<Publication>, u32),
}

/// The last publications of a view, numbered.
#[derive(Debug)]
pub(crate) struct Log {
    /// Number of the first item.
    first: u64,
    items: VecDeque<Arc<Publication>>,
    capacity: usize,
}

impl Log {
    /// An empty log of at most `capacity` publications.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { first: 0, items: VecDeque::new(), capacity }
    }

    /// Number of the next publication.
    pub(crate) fn end(&self) -> u64 {
        self.first + self.items.len() as u64
    }

    /// Appends a publication and forgets the oldest beyond the capacity.
    pub(crate) fn push(&mut self, publication: Publication) {
        self.items.push_back(Arc::new(publication));
        if self.items.len() > self.capacity {
            self.items.pop_front();
            self.first += 1;
        }
    }

    /// Forgets everything, so that every client gets a snapshot.
    pub(crate) fn clear(&mut self) {
        // The number grows by one even for an empty log: a client at its end must be behind too.
        self.first = self.end() + 1;
        self.items.clear();
    }

    /// A cursor behind the newest publication, after a snapshot was sent.
    pub(crate) fn after_snapshot(&self, tick: u32, layout: u32) -> Cursor {
        Cursor { next: Some(self.end()), replay_until: 0, tick, layout, skipped: 0 }
    }

    /// A cursor behind the first publication of `tick`; before everything when it is not here or its columns are not
    /// the present ones.
    pub(crate) fn resume(&self, tick: u32, layout: u32) -> Cursor {
        let found = self.items.iter().position(|is| is.tick == tick && is.revision == 0 && is.layout == layout);
        match found {
            Some(index) => {
                Cursor { next: Some(self.first + index as u64 + 1), replay_until: self.end(), tick, layout, skipped: 0 }
            }
            None => Cursor::default(),
        }
    }

    /// Lets a client that paused have everything it missed, as far as it is still here.
    pub(crate) fn replay(&self, cursor: &mut Cursor) {
        cursor.replay_until = self.end();
    }

    /// The next message for a client; moves its cursor. After [`Next::Snapshot`] the caller sets the cursor again.
    pub(crate) fn next(&self, cursor: &mut Cursor, now: UnixMillis) -> Next {
        let Some(next) = cursor.next else { return Next::Snapshot };
        let Some(start) = next.checked_sub(self.first) else { return Next::Snapshot };
        let pending = self.items.range((start as usize).min(self.items.len())..);
        let behind = pending.clone().filter(|is| is.revision == 0).count();
        let waited = pending.clone().next().map_or(0, |oldest| now.saturating_sub(oldest.at));
        let jump = behind > BEHIND_MAX && waited > BEHIND_MAX_MS && next >= cursor.replay_until;
        let newest = pending.clone().rposition(|is| is.revision == 0);

        for (index, publication) in pending.enumerate() {
            let is_new = publication.revision == 0;
            // In a jump only the newest second counts, and corrections of seconds the client has.
            if !jump || (is_new && Some(index) == newest) || (!is_new && publication.tick <= cursor.tick) {
                return Self::deliver(cursor, next + index as u64 + 1, publication);
            }
            if is_new {
                cursor.skipped += 1;
            }
        }
        Next::Wait
    }

    fn deliver(cursor: &mut Cursor, next: u64, publication: &Arc<Publication>) -> Next {
        // What the new columns or names are was in a message that this client was not sent.
        let passed_layout = publication.layout != cursor.layout && cursor.skipped > 0;
        if passed_layout {
            return Next::Snapshot;
        }
        cursor.next = Some(next);
        cursor.layout = publication.layout;
        let skipped = if publication.revision == 0 { std::mem::take(&mut cursor.skipped) } else { 0 };
        cursor.tick = cursor.tick.max(publication.tick);
        Next::Send(Arc::clone(publication), skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use starling_proto::live;

    fn publish(log: &mut Log, tick: u32, revision: u32, layout: u32) {
        log.push(Publication {
            tick,
            revision,
            layout,
            at: 0,
            frame: SharedFrame::tick(&live::Tick { tick, ..Default::default() }),
        });
    }

    /// Long after everything was published.
    const LATER: UnixMillis = 60_000;

    fn log_with(ticks: std::ops::RangeInclusive<u32>) -> Log {
        let mut log = Log::new(120);
        ticks.for_each(|tick| publish(&mut log, tick, 0, 1));
        log
    }

    /// What a client is sent until there is nothing more: (tick, revision, skipped).
    fn drain(log: &Log, cursor: &mut Cursor) -> Vec<(u32, u32, u32)> {
        let mut sent = Vec::new();
        loop {
            match log.next(cursor, LATER) {
                Next::Send(is, skipped) => sent.push((is.tick, is.revision, skipped)),
                Next::Wait => return sent,
                Next::Snapshot => {
                    sent.push((0, 0, 0));
                    *cursor = log.after_snapshot(0, 1);
                }
            }
        }
    }

    #[test]
    fn a_client_that_keeps_up_gets_every_second() {
        let mut log = log_with(1..=5);
        let mut cursor = log.after_snapshot(5, 1);
        assert!(drain(&log, &mut cursor).is_empty());
        for tick in 6..=8 {
            publish(&mut log, tick, 0, 1);
        }
        assert_eq!(drain(&log, &mut cursor), [(6, 0, 0), (7, 0, 0), (8, 0, 0)]);
    }

    #[test]
    fn a_slow_client_jumps_and_is_notified() {
        let mut log = log_with(1..=5);
        let mut cursor = log.after_snapshot(5, 1);
        for tick in 6..=10 {
            publish(&mut log, tick, 0, 1);
        }
        assert_eq!(drain(&log, &mut cursor), [(10, 0, 4)]);
        publish(&mut log, 11, 0, 1);
        assert_eq!(drain(&log, &mut cursor), [(11, 0, 0)]);
    }

    #[test]
    fn seconds_that_came_at_once_are_all_sent() {
        let mut log = log_with(1..=5);
        let mut cursor = log.after_snapshot(5, 1);
        for tick in 6..=20 {
            publish(&mut log, tick, 0, 1);
        }
        let Next::Send(publication, skipped) = log.next(&mut cursor, BEHIND_MAX_MS) else { panic!() };
        assert_eq!((publication.tick, skipped), (6, 0));
    }

    #[test]
    fn a_jump_keeps_corrections_of_what_the_client_has() {
        let mut log = log_with(1..=5);
        let mut cursor = log.after_snapshot(5, 1);
        publish(&mut log, 6, 0, 1);
        publish(&mut log, 4, 1, 1);
        publish(&mut log, 7, 0, 1);
        publish(&mut log, 6, 1, 1);
        for tick in 8..=10 {
            publish(&mut log, tick, 0, 1);
        }
        // 6 is left out; the correction of 4 is sent; then the client is 4 behind, so 7, 8 and 9 are left out too.
        assert_eq!(drain(&log, &mut cursor), [(4, 1, 0), (10, 0, 4)]);
    }

    #[test]
    fn a_resumed_client_gets_what_it_missed() {
        let log = log_with(1..=50);
        let mut cursor = log.resume(10, 1);
        let sent = drain(&log, &mut cursor);
        assert_eq!(sent.len(), 40);
        assert!(sent.iter().all(|&(_, _, skipped)| skipped == 0));
    }

    #[test]
    fn what_is_gone_is_answered_with_a_snapshot() {
        let mut log = log_with(1..=500);
        assert!(matches!(log.next(&mut Cursor::default(), LATER), Next::Snapshot));
        assert!(matches!(log.next(&mut log.resume(10, 1), LATER), Next::Snapshot), "fell out of the log");
        assert!(matches!(log.next(&mut log.resume(499, 2), LATER), Next::Snapshot), "other columns");
        let mut cursor = log.after_snapshot(500, 1);
        log.clear();
        assert!(matches!(log.next(&mut cursor, LATER), Next::Snapshot), "cleared");
    }

    #[test]
    fn a_jump_over_new_columns_is_a_snapshot() {
        let mut log = log_with(1..=5);
        let mut cursor = log.after_snapshot(5, 1);
        for tick in 6..=10 {
            publish(&mut log, tick, 0, if tick < 7 { 1 } else { 2 });
        }
        assert!(matches!(log.next(&mut cursor, LATER), Next::Snapshot));
    }

    #[test]
    fn a_log_is_bounded() {
        assert_eq!(log_with(1..=1_000).items.len(), 120);
    }
}
