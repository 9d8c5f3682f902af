//! What is to be said to whom, when, and what was taken. Pure: time and outcomes come in, messages and records go out.
//!
//! For each notifier and episode there is a pair of what the receiver took last and what is so now. A message follows from
//! the difference, so that nothing piles up behind a receiver that fails, and whatever was missed is found by comparing.
//!
//! Every aggregator that judges has a desk. The one of rank 0 speaks at once; rank k waits 5 k seconds of event time, and speaks
//! only when no record says that it was said. A desk that fails at a receiver claims it by a record, so that others do not
//! try beside it.

#[cfg(test)]
mod flapping;
mod lane;
mod letters;
mod need;
#[cfg(test)]
mod simulator;
#[cfg(test)]
mod tests;

use std::{
    cmp::Ordering,
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use starling_alerts::{EpisodeId, TROUBLE_ID};
use starling_proto::v1::{Alert, AlertDelivery, AlertEpisode, AlertState};
use xxhash_rust::xxh3::xxh3_64;

pub use self::lane::DeadLetter;
use self::lane::{Lane, Need, Pair, Told};
use crate::{
    config::Plan,
    labels::labels,
    message::{Group, Item, Message, What},
    settings::Kind,
};

/// Episodes that are known: ten thousand at once and as many that are just over. Further ones are not told, and counted.
const EPISODES_MAX: usize = 20_000;
/// Episodes of one message; the others of a group follow in the next one. 500 of them are some 200 KiB of JSON.
const ITEMS_MAX: usize = 500;
/// Episodes that one request of an Alertmanager holds.
const BATCH_MAX: usize = 100;
/// Still open episodes that a message of a group names.
const STILL_MAX: usize = 10;
/// What is over is remembered for so long, in seconds.
const OVER_KEPT: u32 = 3_600;
/// What receivers took of episodes that are not known is remembered for so long, in milliseconds.
const TOLD_KEPT: u64 = 24 * 3_600_000;
/// Between two looks for what can be forgotten, in milliseconds.
const PURGE_EVERY: u64 = 60_000;
/// A desk that was not asked for longer than this slept, in milliseconds.
const SLEPT: u64 = 3_000;
/// It says nothing for so long afterwards: what others said meanwhile arrives first.
const GUARD: u64 = 5_000;
/// A desk that gets a better place says nothing for so long, in milliseconds.
const PROMOTED: u64 = 2_000;
/// And so much longer for each place before it, in milliseconds: who has that now may have been promoted in the same moment, and
/// what it says is heard first.
const PROMOTED_BEHIND: u64 = 3_000;
/// A message that was not begun within this time is given back, in milliseconds.
const BEGIN_WITHIN: u64 = 1_500;
/// A receiver that takes longer than this is claimed, in milliseconds: before rank 1 would try.
const CLAIM_AFTER: u64 = 1_500;
/// A claim holds for so long beyond what it is for: a record takes that long at most, in milliseconds.
const CLAIM_SLACK: u64 = 5_000;
/// What each rank waits longer than the one before, in seconds.
const RANK_WAIT: u32 = 5;
/// The id in a record that claims a notifier.
const CLAIM_ID: EpisodeId = EpisodeId(0);

/// What is to be done.
#[derive(Debug, Clone)]
pub enum Action {
    /// To be sent, and its outcome reported.
    Send(Message),
    /// For the other aggregators, and for the next start.
    Record(AlertDelivery),
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver took it.
    Accepted,
    /// It failed in a way that may pass.
    Retry {
        /// What went wrong.
        what: String,
        /// How long the receiver asks to wait.
        after: Option<Duration>,
        /// The receiver had too many messages.
        slower: bool,
    },
    /// It will never be taken.
    Refused(String),
    /// It was not begun in time.
    Stale,
}

/// Which of two records of one episode and notifier is the newer.
#[must_use]
pub fn newer(one: &AlertDelivery, other: &AlertDelivery) -> Ordering {
    let order = |one: &AlertDelivery| (one.sequence, !one.firing, one.at_unix_ms);
    order(one).cmp(&order(other))
}

/// An episode as it was said last by who judges.
struct Known {
    alert: Arc<Alert>,
    labels: Arc<BTreeMap<String, String>>,
    /// Acknowledged, silenced, or told by an alert of a wider scope.
    quiet: bool,
    /// Silenced: its end is not told either, before the silence is over.
    silenced: bool,
    /// From this second on it is no longer quiet.
    loud_since: u32,
}

impl Known {
    fn episode(&self) -> Option<&AlertEpisode> {
        self.alert.episode.as_ref()
    }

    fn is_firing(&self) -> bool {
        self.episode().is_some_and(|episode| episode.state() == AlertState::Firing)
    }

    fn ended(&self) -> Option<u32> {
        self.episode().filter(|episode| episode.state() == AlertState::Cleared)?.ended_tick
    }
}

/// A message on its way.
struct Flight {
    message: Message,
    began: u64,
    claimed: bool,
}

/// What a lane did since it was asked last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Messages that found no place, or whose letter did not.
    pub(crate) dropped: u64,
    /// Messages that became dead letters.
    pub(crate) dead: u64,
}

/// See the module. All times are milliseconds since 1970 of a clock that never steps.
pub struct Desk {
    plan: Arc<Plan>,
    rank: Option<u32>,
    /// It had a place before.
    ranked: bool,
    judged: u32,
    /// The second that was judged first: what was before is not waited for.
    floor: u32,
    known: HashMap<EpisodeId, Known>,
    lanes: Vec<Lane>,
    flights: HashMap<u64, Flight>,
    records: Vec<AlertDelivery>,
    now: u64,
    polled: u64,
    guard_until: u64,
    purged: u64,
    next_id: u64,
    left_out: u64,
    /// By route: whether it is quiet now, and the second that was judged last when it ceased to be.
    muted: Vec<(bool, u32)>,
    /// The second for which that was found out.
    muted_at: u64,
    /// A mistake that the simulator must find.
    #[cfg(test)]
    planted: Option<simulator::Planted>,
}

impl Desk {
    /// With nothing to say yet, and no rank: it says nothing before it has one.
    #[must_use]
    pub fn new(plan: Arc<Plan>, now: u64) -> Self {
        let lanes = plan.notifiers.iter().map(Lane::new).collect();
        Self {
            plan,
            rank: None,
            ranked: false,
            judged: 0,
            floor: 0,
            known: HashMap::new(),
            lanes,
            flights: HashMap::new(),
            records: Vec::new(),
            now,
            polled: now,
            guard_until: 0,
            purged: now,
            next_id: 1,
            left_out: 0,
            muted: Vec::new(),
            muted_at: 0,
            #[cfg(test)]
            planted: None,
        }
    }

    /// Other notifiers and routes. What is known of those that stay is kept.
    pub fn replace(&mut self, plan: Arc<Plan>) {
        let before = std::mem::take(&mut self.lanes);
        let mut by_name: HashMap<Arc<str>, Lane> = before.into_iter().map(|lane| (lane.name.clone(), lane)).collect();
        self.lanes = plan
            .notifiers
            .iter()
            .map(|notifier| match by_name.remove(&notifier.name) {
                Some(lane) => lane.with(notifier),
                None => Lane::new(notifier),
            })
            .collect();
        // What is on its way came from places that may be others now: its outcome is not known, and it is said again.
        self.flights.clear();
        self.plan = plan;
        self.muted.clear();
        self.muted_at = 0;
        self.floor = self.judged;
        let ids: Vec<EpisodeId> = self.known.keys().copied().collect();
        for id in ids {
            self.update(id);
        }
    }

    /// Notifiers and routes.
    pub(crate) fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// This desk's place among those that judge; `None`: it judges nothing and says nothing.
    pub fn rank(&mut self, rank: Option<u32>) {
        if rank != self.rank {
            // Who had the place before may have spoken just now: its records arrive first.
            if let Some(rank) = rank.filter(|rank| self.ranked && self.rank.is_none_or(|before| *rank < before)) {
                let waits = PROMOTED + u64::from(rank) * PROMOTED_BEHIND;
                self.guard_until = self.guard_until.max(self.now + waits);
            }
            self.ranked |= rank.is_some();
            self.rank = rank;
            self.weigh_all();
        }
    }

    /// Seconds up to this one are judged.
    pub fn judged(&mut self, tick: u32) {
        if self.judged == 0 {
            self.floor = tick;
        }
        self.judged = tick;
    }

    /// An episode is new or changed, or is acknowledged or silenced, or no longer so.
    pub fn changed(&mut self, alert: Alert, node_labels: &BTreeMap<String, String>) {
        let Some(episode) = &alert.episode else { return };
        let Some(id) = EpisodeId::parse(&episode.episode_id) else { return };
        if [CLAIM_ID, TROUBLE_ID].contains(&id) {
            return;
        }
        if !matches!(episode.state(), AlertState::Firing | AlertState::Cleared) {
            return;
        }
        let silenced = !alert.silenced_by.is_empty();
        let quiet = alert.acknowledgement.is_some() || silenced || !alert.held_back_by.is_empty();
        let mut loud_since = 0;
        match self.known.get(&id) {
            // A reading that is behind what was said here.
            Some(known) if known.episode().is_some_and(|known| known.sequence > episode.sequence) => return,
            Some(known) => loud_since = if known.quiet && !quiet { self.judged } else { known.loud_since },
            None if self.known.len() >= EPISODES_MAX => {
                self.left_out += 1;
                return;
            }
            // Nobody was told of it here, and there is nothing to say.
            None if episode.state() == AlertState::Cleared && !self.is_told(id) => return,
            None => {}
        }
        let labels = Arc::new(labels(&alert, node_labels));
        self.known.insert(id, Known { alert: Arc::new(alert), labels, quiet, silenced, loud_since });
        self.update(id);
    }

    fn is_told(&self, id: EpisodeId) -> bool {
        self.lanes.iter().any(|lane| lane.pairs.contains_key(&id))
    }

    /// Routes an episode and finds out what is to be said of it.
    fn update(&mut self, id: EpisodeId) {
        let Some(known) = self.known.get(&id) else { return };
        let (firing, quiet, labels) = (known.is_firing(), known.quiet, known.labels.clone());
        let sequence = known.episode().map_or(0, |episode| episode.sequence);
        let routed = self.plan.routed(&labels);
        for (n, route) in routed.into_iter().enumerate() {
            let lane = &mut self.lanes[n];
            if route.is_none() && !lane.pairs.contains_key(&id) {
                continue;
            }
            let full = lane.is_full();
            let pair = lane.pairs.entry(id).or_default();
            if firing {
                pair.routed = route.is_some();
                let muted = route.is_some_and(|at| self.muted.get(at).is_some_and(|(muted, _)| *muted));
                let owed = pair.routed && !quiet && !muted && pair.unsaid(sequence);
                let drops = owed && !pair.owed && full;
                if drops && pair.dropped != Some(sequence) {
                    pair.dropped = Some(sequence);
                    lane.counts.dropped += 1;
                }
                pair.owed = owed && !drops;
                if let Some(at) = route {
                    let group = group_of(&self.plan, at, lane.kind, &labels);
                    lane.enter(id, at, group);
                }
            }
            self.weigh(n, id);
        }
    }

    /// A record of another aggregator, or one that was kept.
    pub fn delivery(&mut self, record: &AlertDelivery) {
        let Some(n) = self.lanes.iter().position(|lane| *lane.name == *record.notifier) else { return };
        let Some(id) = EpisodeId::parse(&record.episode_id).filter(|id| *id != TROUBLE_ID) else { return };
        #[cfg(test)]
        if self.planted == Some(simulator::Planted::DeafToRecords) {
            return;
        }
        let sequence = self.known.get(&id).and_then(Known::episode).map_or(0, |episode| episode.sequence);
        let lane = &mut self.lanes[n];
        if id == CLAIM_ID {
            lane.claimed(record.at_unix_ms);
        } else if lane.take(id, record, sequence) {
            self.weigh(n, id);
        }
    }

    /// Finds out when what is to be said to a notifier of an episode is due.
    fn weigh(&mut self, n: usize, id: EpisodeId) {
        let need = self.need(n, id);
        // What waits for the end of a silence keeps its group: by the key of that a receiver knows it.
        let muted = self.lanes[n].pairs.get(&id).is_some_and(|pair| self.mute_of(pair).0);
        let is_over = |known: &Known| !known.is_firing() && !known.silenced && !muted;
        let (now, over) = (self.now, self.known.get(&id).is_none_or(is_over));
        let lag = need.map_or(0, |need| self.lag(&need));
        let plan = self.plan.clone();
        let lane = &mut self.lanes[n];
        lane.schedule(id, need.map(|need| (need, lag)), &plan, now);
        if over && need.is_none() {
            lane.leave(id);
        }
    }

    /// Whether the route of a pair is quiet now, and the second in which it ceased to be.
    fn mute_of(&self, pair: &Pair) -> (bool, u32) {
        pair.route.and_then(|route| self.muted.get(route).copied()).unwrap_or_default()
    }

    /// Looks which routes are quiet, once a second, and at all that goes by one that was not or no longer is.
    fn look_at_hours(&mut self) {
        let second = self.now / 1_000;
        if second == self.muted_at {
            return;
        }
        let is_first = self.muted_at == 0;
        self.muted_at = second;
        let tick = u32::try_from(second).unwrap_or(u32::MAX);
        self.muted.resize(self.plan.routes.len(), (false, 0));
        let mut changed = false;
        for (route, held) in self.plan.routes.iter().zip(&mut self.muted) {
            let muted = route.is_muted(tick);
            if muted != held.0 {
                *held = (muted, if muted || is_first { 0 } else { self.judged });
                changed = true;
            }
        }
        if changed {
            let ids: Vec<EpisodeId> = self.known.keys().copied().collect();
            ids.into_iter().for_each(|id| self.update(id));
        }
    }

    fn weigh_all(&mut self) {
        for n in 0..self.lanes.len() {
            let ids: Vec<EpisodeId> = self.lanes[n].pairs.keys().copied().collect();
            for id in ids {
                self.weigh(n, id);
            }
        }
    }

    /// How long this rank waits still, in milliseconds.
    fn lag(&self, need: &Need) -> u64 {
        let Some(rank) = self.rank else { return 0 };
        match need.at {
            Some(_) => u64::from(rank * RANK_WAIT) * 1_000,
            None if rank == 0 => 0,
            None => {
                let speaks = need.event.max(self.floor).saturating_add(rank * RANK_WAIT);
                u64::from(speaks.saturating_sub(self.judged)) * 1_000
            }
        }
    }

    /// What is to be done now. Asked several times a second.
    pub fn poll(&mut self, now: u64) -> Vec<Action> {
        if now.saturating_sub(self.polled) > SLEPT && self.judged > 0 {
            self.guard_until = now + GUARD;
        }
        self.polled = now;
        self.now = now.max(self.now);
        #[cfg(test)]
        if self.planted == Some(simulator::Planted::NoGuard) {
            self.guard_until = 0;
        }
        if now >= self.purged + PURGE_EVERY {
            self.purged = now;
            self.purge();
        }
        self.look_at_hours();
        self.claim_slow();
        if self.rank.is_some() {
            self.records.extend(self.lanes.iter_mut().filter_map(|lane| lane.trouble(now)));
        }
        let mut actions = Vec::new();
        if let Some(rank) = self.rank.filter(|_| now >= self.guard_until) {
            for n in 0..self.lanes.len() {
                self.poll_lane(n, rank, &mut actions);
            }
        }
        actions.extend(self.records.drain(..).map(Action::Record));
        actions
    }

    fn poll_lane(&mut self, n: usize, rank: u32, actions: &mut Vec<Action>) {
        let now = self.now;
        while self.lanes[n].may_begin(now, rank) {
            let message = match self.again(n) {
                Some(message) => message,
                None => {
                    let Some(id) = self.lanes[n].next_due(now) else { break };
                    let Some(message) = self.message(n, id) else { continue };
                    message
                }
            };
            self.lanes[n].begin(&message, now);
            self.flights.insert(message.id, Flight { message: message.clone(), began: now, claimed: false });
            actions.push(Action::Send(message));
        }
    }

    /// The message that begins with what is due of `id`.
    fn message(&mut self, n: usize, id: EpisodeId) -> Option<Message> {
        let need = self.need(n, id)?;
        let lane = &self.lanes[n];
        let pair = lane.pairs.get(&id)?;
        let group = pair.group.filter(|_| need.what.is_news()).and_then(|key| Some((key, lane.groups.get(&key)?)));
        let ready = |id: &EpisodeId| self.need(n, *id).is_some_and(|need| need.what.is_news() && self.lag(&need) == 0);
        let ids: Vec<EpisodeId> = match group {
            Some((_, group)) => {
                let others = group.members.iter().filter(|other| **other != id && ready(other)).copied();
                std::iter::once(id).chain(others).take(ITEMS_MAX).collect()
            }
            None if lane.kind == Kind::Alertmanager => {
                let others = lane.due.iter().take_while(|(due, _)| *due <= self.now).map(|(_, other)| *other);
                std::iter::once(id).chain(others).take(BATCH_MAX).collect()
            }
            None => vec![id],
        };
        let items: Vec<Item> = ids.iter().filter_map(|id| self.item(n, *id)).collect();
        let group = group.map(|(key, group)| {
            let open = |id: &&EpisodeId| {
                let said = lane.pairs.get(id).and_then(|pair| pair.told).is_some_and(|told| told.firing);
                said && self.known.get(id).is_some_and(Known::is_firing)
            };
            let new = items.iter().filter(|item| item.what == What::Firing && self.known[&item.id].is_firing()).count();
            let told: Vec<&EpisodeId> = group.members.iter().filter(open).collect();
            let others = told.iter().filter(|id| !ids.contains(id)).take(STILL_MAX);
            let still = others.filter_map(|id| Some(self.known.get(id)?.alert.clone())).collect();
            Group { key, by: group.by.clone(), open: told.len() + new, still }
        });
        let attempts = pair.attempts;
        self.next_id += 1;
        let begin_until = self.now + BEGIN_WITHIN;
        Some(Message { id: self.next_id, notifier: n, items, group, attempts, test: false, begin_until })
    }

    fn item(&self, n: usize, id: EpisodeId) -> Option<Item> {
        let need = self.need(n, id)?;
        let known = self.known.get(&id)?;
        let episode = known.episode()?;
        let told = self.lanes[n].pairs.get(&id)?.told;
        let firing = match need.what {
            What::Firing | What::Changed | What::Repeat => true,
            What::Refresh => told.is_some_and(|told| told.firing),
            What::Cleared | What::Left => false,
        };
        // The beginning of what is over already stands before its end.
        let late = need.what == What::Firing && !known.is_firing();
        let sequence = episode.sequence - u32::from(late && episode.sequence > 0);
        Some(Item { id, alert: known.alert.clone(), labels: known.labels.clone(), what: need.what, firing, sequence })
    }

    /// What became of a message. `random` is in 0..1.
    pub fn outcome(&mut self, id: u64, outcome: Outcome, now: u64, random: f64) {
        self.now = now.max(self.now);
        let Some(Flight { message, began, .. }) = self.flights.remove(&id) else { return };
        let (n, now) = (message.notifier, self.now);
        let lane = &mut self.lanes[n];
        lane.land(&message);
        match outcome {
            Outcome::Accepted => {
                lane.works(now, &message);
                for item in &message.items {
                    let told =
                        Told { sequence: item.sequence, firing: item.firing, at: now, given_up: false, own: true };
                    if lane.tell(item.id, told) {
                        self.records.push(record(&lane.name, item.id, &told));
                    }
                }
            }
            Outcome::Retry { what, after, slower } => {
                lane.fails((began, now), after, slower, random);
                let claim = lane.claim(now);
                self.records.push(claim);
                if lane.gives_up(&message, now) {
                    self.bury(message.clone(), what);
                }
            }
            Outcome::Refused(what) => {
                lane.refuses(now);
                self.bury(message.clone(), what);
            }
            Outcome::Stale => {}
        }
        let members = message.group.as_ref().and_then(|group| self.lanes[n].groups.get(&group.key));
        let mut ids: Vec<EpisodeId> = members.map(|group| group.members.iter().copied().collect()).unwrap_or_default();
        ids.extend(message.items.iter().map(|item| item.id));
        for id in ids {
            self.weigh(n, id);
        }
    }

    /// Receivers that have not answered for a while are claimed.
    fn claim_slow(&mut self) {
        let now = self.now;
        for flight in self.flights.values_mut().filter(|flight| !flight.claimed && now >= flight.began + CLAIM_AFTER) {
            flight.claimed = true;
            self.records.push(self.lanes[flight.message.notifier].claim(now));
        }
    }

    /// Forgets what nobody asks for.
    fn purge(&mut self) {
        let (judged, now) = (self.judged, self.now);
        let lanes = &self.lanes;
        self.known.retain(|id, known| {
            let busy = |lane: &Lane| lane.pairs.get(id).is_some_and(|pair| pair.is_busy() || pair.owes_end());
            known.ended().is_none_or(|ended| ended.saturating_add(OVER_KEPT) > judged) || lanes.iter().any(busy)
        });
        for lane in &mut self.lanes {
            let known = &self.known;
            let kept = |id: &EpisodeId, pair: &Pair| {
                known.contains_key(id) || pair.told.is_some_and(|told| told.at.saturating_add(TOLD_KEPT) > now)
            };
            lane.retain(kept);
        }
    }

    /// Messages of notifier `n` that wait for it.
    pub(crate) fn queued(&self, n: usize) -> usize {
        self.lanes[n].queued + self.lanes[n].again.len()
    }

    /// What notifier `n` did since it was asked last.
    pub(crate) fn take_counts(&mut self, n: usize) -> Counts {
        std::mem::take(&mut self.lanes[n].counts)
    }

    /// Episodes that found no place since this was asked last.
    pub(crate) fn take_left_out(&mut self) -> u64 {
        std::mem::take(&mut self.left_out)
    }

    /// How often in a row notifier `n` failed.
    pub(crate) fn failures(&self, n: usize) -> u32 {
        self.lanes[n].failures
    }
}

/// The key and the labels of the group that an episode belongs to, of a route that groups.
fn group_of(
    plan: &Plan,
    route: usize,
    kind: Kind,
    labels: &BTreeMap<String, String>,
) -> Option<(u64, Vec<(String, String)>)> {
    let by = &plan.routes[route].group_by;
    // An Alertmanager groups by its own settings.
    if by.is_empty() || kind == Kind::Alertmanager {
        return None;
    }
    let values = by.iter().map(|key| (key.clone(), labels.get(key).cloned().unwrap_or_default()));
    let values: Vec<(String, String)> = values.collect();
    Some((xxh3_64(format!("{values:?}").as_bytes()), values))
}

fn record(notifier: &str, id: EpisodeId, told: &Told) -> AlertDelivery {
    AlertDelivery {
        notifier: notifier.to_owned(),
        episode_id: id.to_string(),
        sequence: told.sequence,
        firing: told.firing,
        at_unix_ms: told.at,
        given_up: told.given_up,
    }
}
