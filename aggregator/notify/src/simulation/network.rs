//! Messages between aggregators, and who sees whom.

use starling_alerts::{Exchange, Offer, Record};

use super::STEP;

/// Gossip takes an aggregator that is not heard for dead after so long, in milliseconds.
const DEAD_AFTER: u64 = 2_700;
/// It is alive again once it is heard for so long.
const ALIVE_AFTER: u64 = 400;
/// One that is dead for so long is no longer counted on.
const LEAVES_AFTER: u64 = 3_000;
/// One that is alive for so long is counted on.
const JOINS_AFTER: u64 = 2_500;
/// As in `peer/alerts.rs` of the aggregator.
const COMPARE_EVERY: u64 = 1_000;
const RETRY_AFTER: u64 = 300;
const ANSWER: u64 = 1_000;

/// A message on its way.
pub(super) struct Packet {
    pub(super) due: u64,
    pub(super) from: usize,
    pub(super) to: usize,
    /// Of which process it comes, and to which it goes.
    pub(super) lives: (u32, u32),
    pub(super) body: Body,
}

pub(super) enum Body {
    Records { records: Vec<Record>, number: u64 },
    Taken { digest: u64, number: u64 },
    Ask { number: u64 },
    All { records: Vec<Record>, number: u64 },
}

/// What a link waits for.
enum Waits {
    Nothing,
    Taken(Offer),
    All,
}

/// How one aggregator sees another, and what it gives it.
pub(super) struct Link {
    /// The process that is heard.
    life: u32,
    heard: bool,
    since: u64,
    /// Gossip hears it.
    pub(super) live: bool,
    /// It is counted on.
    pub(super) counted: bool,
    /// It was alive once, and vanished.
    pub(super) lost: bool,
    pub(super) exchange: Exchange,
    waits: Waits,
    number: u64,
    deadline: u64,
    next: u64,
    offered: u64,
    failed: bool,
}

impl Link {
    pub(super) fn new() -> Self {
        Self {
            life: 0,
            heard: false,
            since: 0,
            live: false,
            counted: false,
            lost: false,
            exchange: Exchange::default(),
            waits: Waits::Nothing,
            number: 0,
            deadline: 0,
            next: 0,
            offered: 0,
            failed: false,
        }
    }

    /// Whether the other one is heard now, as process `life`, and is ready.
    pub(super) fn hear(&mut self, now: u64, heard: bool, life: u32, ready: bool) {
        if heard != self.heard || (heard && life != self.life) {
            (self.heard, self.since) = (heard, now);
            if heard && life != self.life {
                // Another process: it is told everything.
                (self.live, self.life) = (false, life);
            }
        }
        let lasted = now - self.since;
        let live = if self.heard { self.live || lasted >= ALIVE_AFTER } else { self.live && lasted < DEAD_AFTER };
        if live && !self.live {
            *self = Self {
                heard,
                life,
                since: self.since,
                counted: self.counted,
                lost: false,
                number: self.number,
                ..Self::new()
            };
            self.live = true;
        } else if !live && self.live {
            (self.live, self.lost) = (false, true);
        }
        self.counted = match self.counted {
            true => self.heard && ready || !self.heard && lasted < DEAD_AFTER + LEAVES_AFTER,
            false => self.live && self.heard && ready && lasted >= JOINS_AFTER,
        };
    }

    /// Whether something is to be sent now, when the book is at `revision`.
    pub(super) fn wants(&mut self, now: u64, revision: u64) -> bool {
        if !matches!(self.waits, Waits::Nothing) && now >= self.deadline {
            (self.waits, self.failed, self.next) = (Waits::Nothing, true, now + RETRY_AFTER);
        }
        let new = revision != self.offered && !self.failed;
        self.live && matches!(self.waits, Waits::Nothing) && (now >= self.next || new)
    }

    pub(super) fn offered(&mut self, now: u64, offer: Offer, revision: u64) -> u64 {
        (self.waits, self.offered, self.failed) = (Waits::Taken(offer), revision, false);
        self.expects(now)
    }

    fn expects(&mut self, now: u64) -> u64 {
        (self.number, self.deadline) = (self.number + 1, now + ANSWER);
        self.number
    }

    /// The other one took what was offered. Returns the number of a question for everything, if there is one.
    pub(super) fn taken(&mut self, now: u64, digest: u64, number: u64) -> Option<u64> {
        if number != self.number {
            return None;
        }
        let Waits::Taken(offer) = std::mem::replace(&mut self.waits, Waits::Nothing) else { return None };
        self.next = now + COMPARE_EVERY;
        self.exchange.taken(&offer, digest).then(|| {
            self.waits = Waits::All;
            self.expects(now)
        })
    }

    pub(super) fn asked(&mut self, now: u64, number: u64) {
        if number == self.number && matches!(self.waits, Waits::All) {
            self.exchange.asked();
            (self.waits, self.next) = (Waits::Nothing, now + STEP);
        }
    }
}
