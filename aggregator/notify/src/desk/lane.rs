//! One notifier: what its receiver took, what waits for it, and how it works.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use starling_alerts::{EpisodeId, TROUBLE_ID};
use starling_proto::v1::AlertDelivery;
use starling_service::backoff::Backoff;

use super::{CLAIM_ID, CLAIM_SLACK, Counts, newer, record};
use crate::{
    config::{Notifier, Plan},
    message::{Message, What},
    settings::Kind,
};

/// Episodes that wait for one notifier: those of 10,000 nodes at once. Further beginnings are not told, and counted; their
/// ends then are not either.
const QUEUE_MAX: usize = 10_000;
/// What receivers took that is remembered beside what is known.
const PAIRS_MAX: usize = 60_000;
/// Messages on their way to one receiver: one that answers slowly still takes four a round trip.
const FLYING_MAX: usize = 4;
/// The first wait after a failure and the longest one, in the first twelve minutes; with jitter of a quarter at most 9.4 s,
/// so that what waits is there 10 s after the receiver is well again.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(2), Duration::from_millis(7_500));
/// After so many failures in a row the waits are of half a minute.
const LONG_AFTER: u32 = 100;
const BACKOFF_LONG: Duration = Duration::from_secs(30);
/// A receiver may ask to wait for so long.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);
/// Between two messages to a receiver that had too many, at first and at most, in milliseconds.
const SPACING: (u64, u64) = (1_100, 10_000);
/// It is tried faster again after so long, in milliseconds.
const SPACING_KEPT: u64 = 300_000;

/// One that refused a message counts as failing for so long, or until it takes one, in milliseconds.
const REFUSED_KEPT: u64 = 900_000;
/// Those who judge are told so often that it fails, in milliseconds.
const TROUBLE_EVERY: u64 = 10_000;

/// What is to be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Need {
    pub(super) what: What,
    /// The second that it is about: from there stand-ins wait.
    pub(super) event: u32,
    /// Not before, in milliseconds, of what is said again. `None`: at once.
    pub(super) at: Option<u64>,
}

/// A message that was not taken.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// Name of the notifier.
    pub notifier: String,
    /// By which it is sent again.
    pub id: u64,
    /// When it was given up, in milliseconds since 1970.
    pub at_unix_ms: u64,
    /// What went wrong last.
    pub reason: String,
    /// How often it was tried.
    pub attempts: u32,
    /// What it says.
    pub message: Message,
}

/// What a receiver took last of an episode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) sequence: u32,
    /// As open; else as over.
    pub(super) firing: bool,
    pub(super) at: u64,
    /// It did not take it, and is not asked again.
    pub(super) given_up: bool,
    /// By this desk.
    pub(super) own: bool,
}

/// An episode and a notifier.
#[derive(Debug, Default)]
pub(super) struct Pair {
    pub(super) told: Option<Told>,
    /// A route leads here, as the episode is now.
    pub(super) routed: bool,
    /// The route that led here last.
    pub(super) route: Option<usize>,
    pub(super) group: Option<u64>,
    /// The beginning is to be told, even if the end comes first.
    pub(super) owed: bool,
    /// The receiver may have taken an older message last.
    pub(super) doubt: bool,
    pub(super) flying: bool,
    /// The transition whose beginning found no place.
    pub(super) dropped: Option<u32>,
    pub(super) attempts: u32,
    /// Since when there is something to say.
    since: Option<u64>,
    due: Option<u64>,
    queued: bool,
    failed_since: Option<u64>,
}

impl Pair {
    /// The receiver does not know that it is open, up to transition `sequence`.
    pub(super) fn unsaid(&self, sequence: u32) -> bool {
        self.told.is_none_or(|told| (!told.firing || told.given_up) && told.sequence < sequence)
    }

    /// The receiver was told that it is open, and not yet more.
    pub(super) fn owes_end(&self) -> bool {
        self.told.is_some_and(|told| told.firing && !told.given_up)
    }

    pub(super) fn is_busy(&self) -> bool {
        self.flying || self.queued
    }
}

/// Episodes that are told together.
#[derive(Debug, Default)]
pub(super) struct Grouped {
    pub(super) members: BTreeSet<EpisodeId>,
    pub(super) by: Vec<(String, String)>,
    last_sent: Option<u64>,
    flying: bool,
}

/// See the module.
pub(super) struct Lane {
    pub(super) name: Arc<str>,
    pub(super) kind: Kind,
    pub(super) resend: u64,
    timeout: u64,
    give_up: u64,
    pub(super) pairs: HashMap<EpisodeId, Pair>,
    pub(super) groups: HashMap<u64, Grouped>,
    /// When something is to be said of which episode.
    pub(super) due: BTreeSet<(u64, EpisodeId)>,
    pub(super) queued: usize,
    pub(super) letters: VecDeque<DeadLetter>,
    /// Dead letters that are sent again.
    pub(super) again: VecDeque<Message>,
    pub(super) counts: Counts,
    pub(super) failures: u32,
    flying: usize,
    failed_at: u64,
    backoff: Backoff,
    wait_until: u64,
    spacing: u64,
    spaced_at: u64,
    next_free: u64,
    /// Another desk looks after it until then.
    claim: u64,
    own_claim: u64,
    /// It refused a message, and counts as one that fails until then.
    refused_until: u64,
    /// When it was said last that it fails; `None` when it was not, or when it was said that it works.
    trouble_told: Option<u64>,
}

impl Lane {
    pub(super) fn new(notifier: &Notifier) -> Self {
        let settings = &notifier.settings;
        Self {
            name: notifier.name.clone(),
            kind: settings.kind,
            resend: settings.resend.as_millis() as u64,
            timeout: settings.timeout.as_millis() as u64,
            give_up: settings.give_up.as_millis() as u64,
            pairs: HashMap::new(),
            groups: HashMap::new(),
            due: BTreeSet::new(),
            queued: 0,
            letters: VecDeque::new(),
            again: VecDeque::new(),
            counts: Counts::default(),
            failures: 0,
            flying: 0,
            failed_at: 0,
            backoff: Backoff::new(BACKOFF.0, BACKOFF.1),
            wait_until: 0,
            spacing: 0,
            spaced_at: 0,
            next_free: 0,
            claim: 0,
            own_claim: 0,
            refused_until: 0,
            trouble_told: None,
        }
    }

    /// The same with other settings: what was taken is kept, what was on its way is not known.
    pub(super) fn with(self, notifier: &Notifier) -> Self {
        let mut next = Self { letters: self.letters, counts: self.counts, ..Self::new(notifier) };
        for (id, pair) in self.pairs {
            next.pairs.insert(id, Pair { told: pair.told, owed: pair.owed, doubt: pair.doubt, ..Pair::default() });
        }
        next
    }

    pub(super) fn is_full(&self) -> bool {
        self.queued >= QUEUE_MAX
    }

    /// Route `route` leads here, by way of a group.
    pub(super) fn enter(&mut self, id: EpisodeId, route: usize, group: Option<(u64, Vec<(String, String)>)>) {
        let key = group.as_ref().map(|(key, _)| *key);
        if self.pairs.get(&id).is_some_and(|pair| pair.group.is_some() && pair.group != key) {
            self.leave(id);
        }
        if let Some((key, by)) = group {
            let group = self.groups.entry(key).or_default();
            group.by = by;
            group.members.insert(id);
        }
        if let Some(pair) = self.pairs.get_mut(&id) {
            (pair.route, pair.group) = (Some(route), key);
        }
    }

    /// Nothing is to be said of it: its group goes on without it.
    pub(super) fn leave(&mut self, id: EpisodeId) {
        let Some(key) = self.pairs.get_mut(&id).filter(|pair| !pair.flying).and_then(|pair| pair.group.take()) else {
            return;
        };
        if let Some(group) = self.groups.get_mut(&key) {
            group.members.remove(&id);
            if group.members.is_empty() && !group.flying {
                self.groups.remove(&key);
            }
        }
    }

    /// Another desk fails here, and looks after it until then.
    pub(super) fn claimed(&mut self, until: u64) {
        if until != self.own_claim {
            self.claim = self.claim.max(until);
        }
    }

    /// The record by which this desk claims it.
    pub(super) fn claim(&mut self, now: u64) -> AlertDelivery {
        self.own_claim = self.wait_until.max(now) + self.timeout + CLAIM_SLACK;
        let told = Told { sequence: 0, firing: false, at: self.own_claim, given_up: false, own: true };
        record(&self.name, CLAIM_ID, &told)
    }

    /// Takes in a record; the episode is known up to transition `behind_of`. `false`: it says nothing new.
    pub(super) fn take(&mut self, id: EpisodeId, new: &AlertDelivery, behind_of: u32) -> bool {
        if !self.pairs.contains_key(&id) && self.pairs.len() >= PAIRS_MAX {
            return false;
        }
        let pair = self.pairs.entry(id).or_default();
        if pair.told.is_some_and(|told| newer(new, &record(&self.name, id, &told)).is_le()) {
            return false;
        }
        // This desk may have said that it is open after another one had said that it is over.
        pair.doubt = !new.firing && pair.told.is_some_and(|told| told.own && told.firing && told.at > new.at_unix_ms);
        let AlertDelivery { sequence, firing, at_unix_ms: at, given_up, .. } = *new;
        pair.told = Some(Told { sequence, firing, at, given_up, own: false });
        if firing || given_up || sequence >= behind_of {
            pair.owed = false;
        }
        true
    }

    /// Says when something is to be said of an episode, if anything.
    pub(super) fn schedule(&mut self, id: EpisodeId, need: Option<(Need, u64)>, plan: &Plan, now: u64) {
        // What is on its way is weighed again when it has arrived.
        let Some(pair) = self.pairs.get_mut(&id).filter(|pair| !pair.flying) else { return };
        if let Some(due) = pair.due.take() {
            self.due.remove(&(due, id));
        }
        let news = need.is_some_and(|(need, _)| need.what.is_news() && need.at.is_none());
        self.queued = self.queued + usize::from(news) - usize::from(pair.queued);
        pair.queued = news;
        pair.since = pair.since.or(Some(now)).filter(|_| news);
        let Some((need, lag)) = need else { return };
        // What waits longest comes first, also after a failure.
        let begins = if lag == 0 { pair.since.unwrap_or(now) } else { now };
        let mut due = need.at.unwrap_or(begins).saturating_add(lag);
        if news && let (Some(route), Some(group)) = (pair.route, pair.group.and_then(|key| self.groups.get(&key))) {
            if group.flying {
                // Weighed again when the message that is on its way has arrived.
                return;
            }
            if let Some(route) = plan.routes.get(route) {
                let waited = pair.since.unwrap_or(now) + route.wait;
                due = due.max(group.last_sent.map_or(waited, |sent| waited.max(sent + route.interval)));
            }
        }
        pair.due = Some(due);
        self.due.insert((due, id));
    }

    /// The first of what is due.
    pub(super) fn next_due(&mut self, now: u64) -> Option<EpisodeId> {
        let (due, id) = self.due.first().copied().filter(|(due, _)| *due <= now)?;
        self.due.remove(&(due, id));
        if let Some(pair) = self.pairs.get_mut(&id) {
            pair.due = None;
        }
        Some(id)
    }

    /// Whether a message may be sent now by the desk of this rank.
    pub(super) fn may_begin(&self, now: u64, rank: u32) -> bool {
        let most = if self.failures > 0 || self.spacing > 0 { 1 } else { FLYING_MAX };
        let claimed = self.claim > 0 && now < self.claim.saturating_add(u64::from(rank * super::RANK_WAIT) * 1_000);
        self.flying < most && now >= self.wait_until.max(self.next_free) && !claimed
    }

    /// A message is on its way.
    pub(super) fn begin(&mut self, message: &Message, now: u64) {
        self.flying += 1;
        if now > self.spaced_at + SPACING_KEPT {
            self.spacing = 0;
        }
        self.next_free = now + self.spacing;
        for item in &message.items {
            if let Some(pair) = self.pairs.get_mut(&item.id) {
                pair.flying = true;
                if let Some(due) = pair.due.take() {
                    self.due.remove(&(due, item.id));
                }
            }
        }
        if let Some(group) = message.group.as_ref().and_then(|group| self.groups.get_mut(&group.key)) {
            group.flying = true;
            let others: Vec<EpisodeId> = group.members.iter().copied().collect();
            for id in others {
                let pair = self.pairs.get_mut(&id).filter(|pair| pair.queued);
                if let Some(due) = pair.and_then(|pair| pair.due.take()) {
                    self.due.remove(&(due, id));
                }
            }
        }
    }

    /// A message is no longer on its way.
    pub(super) fn land(&mut self, message: &Message) {
        self.flying = self.flying.saturating_sub(1);
        for item in &message.items {
            if let Some(pair) = self.pairs.get_mut(&item.id) {
                pair.flying = false;
                pair.attempts += 1;
            }
        }
        if let Some(group) = message.group.as_ref().and_then(|group| self.groups.get_mut(&group.key)) {
            group.flying = false;
        }
    }

    /// The receiver took a message.
    pub(super) fn works(&mut self, now: u64, message: &Message) {
        self.failures = 0;
        self.refused_until = 0;
        self.wait_until = 0;
        self.backoff = Backoff::new(BACKOFF.0, BACKOFF.1);
        if let Some(group) = message.group.as_ref().and_then(|group| self.groups.get_mut(&group.key)) {
            group.last_sent = Some(now);
        }
    }

    /// A message that began then failed now.
    pub(super) fn fails(&mut self, (began, now): (u64, u64), after: Option<Duration>, slower: bool, random: f64) {
        let after = after.map_or(0, |after| after.min(RETRY_AFTER_MAX).as_millis() as u64);
        // Of messages that were on their way together the first to fail says it all.
        if self.failures == 0 || began > self.failed_at {
            self.failures += 1;
            self.failed_at = now;
            if slower {
                self.spacing = (self.spacing * 2).clamp(SPACING.0, SPACING.1);
                self.spaced_at = now;
            }
            if self.failures == LONG_AFTER {
                self.backoff = Backoff::new(BACKOFF_LONG, BACKOFF_LONG);
            }
            let wait = self.backoff.wait(0.25 + random.clamp(0.0, 1.0) / 2.0);
            self.wait_until = now + wait.as_millis() as u64;
        }
        self.wait_until = self.wait_until.max(now + after);
    }

    /// It will never take what it was sent.
    pub(super) const fn refuses(&mut self, now: u64) {
        self.refused_until = now + REFUSED_KEPT;
    }

    /// The note that it fails, or works again, for those who judge; `None` when nothing is to be said.
    pub(super) fn trouble(&mut self, now: u64) -> Option<AlertDelivery> {
        let fails = self.failures > 0 || self.refused_until > now;
        let is_due = self.trouble_told.map_or(fails, |told| !fails || now >= told + TROUBLE_EVERY);
        if !is_due {
            return None;
        }
        self.trouble_told = fails.then_some(now);
        // The newer note is the one with the greater sequence.
        let sequence = u32::try_from(now / 1_000).unwrap_or(u32::MAX);
        Some(record(&self.name, TROUBLE_ID, &Told { sequence, firing: fails, at: now, given_up: false, own: true }))
    }

    /// Whether what a failed message says was tried for long enough.
    pub(super) fn gives_up(&mut self, message: &Message, now: u64) -> bool {
        let mut since = now;
        for item in &message.items {
            if let Some(pair) = self.pairs.get_mut(&item.id) {
                since = since.min(*pair.failed_since.get_or_insert(now));
            }
        }
        now >= since + self.give_up
    }

    /// What the receiver took, or will not take. `false`: it is behind what is known.
    pub(super) fn tell(&mut self, id: EpisodeId, told: Told) -> bool {
        let Some(pair) = self.pairs.get_mut(&id) else { return true };
        (pair.attempts, pair.failed_since, pair.since) = (0, None, None);
        let behind = pair
            .told
            .is_some_and(|known| !known.firing && !known.given_up && told.firing && known.sequence >= told.sequence);
        if behind {
            // It was told meanwhile that it is over, by another desk.
            pair.doubt = true;
            pair.owed = false;
            return false;
        }
        if told.firing || told.given_up {
            pair.owed = false;
        }
        if !told.firing {
            pair.doubt = false;
        }
        pair.told = Some(told);
        true
    }

    /// Forgets the pairs that are not kept.
    pub(super) fn retain(&mut self, kept: impl Fn(&EpisodeId, &Pair) -> bool) {
        let gone: Vec<EpisodeId> =
            self.pairs.iter().filter(|(id, pair)| !pair.is_busy() && !kept(id, pair)).map(|(id, _)| *id).collect();
        for id in gone {
            self.leave(id);
            if let Some(due) = self.pairs.remove(&id).and_then(|pair| pair.due) {
                self.due.remove(&(due, id));
            }
        }
    }
}
