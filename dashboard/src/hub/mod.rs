//! What the server knows, without sockets, tasks or a clock: upstream messages and the time in, publications out.
//!
//! - a [`Track`] per upstream series holds 15 minutes of what is charted and the last whole seconds;
//! - the [`ShownFleet`] holds the table of nodes;
//! - a view has a [`log::Log`] of its last publications, each encoded once; a client is a [`Cursor`] into it.
//!
//! Everything is bounded: rings by [`limits::PAGE_WINDOW`](starling_proto::limits::PAGE_WINDOW), logs by
//! [`view::CHARTED_LOG_MAX`] and [`view::TABLE_LOG_MAX`], the number of views by the caller, who opens and closes those that are not permanent.

mod alerts;
mod columns;
mod distribution;
mod faults;
mod fleet;
mod frame;
mod grid;
mod judged;
mod key;
mod log;
mod minute;
mod sections;
mod states;
mod track;
mod verdict;
mod view;

use std::{collections::HashMap, sync::Arc};

use starling_proto::{group::Group, live, nodes::UpdateError, v1};

pub(crate) use alerts::{OfSource, Standing, state as alert_state};
pub(crate) use columns::RPS_TOTAL;
pub use columns::{MinuteChart, OF_A_MINUTE};
pub(crate) use distribution::distribution;
pub(crate) use fleet::{Host, ShownFleet, Table};
pub(crate) use frame::SharedFrame;
pub(crate) use key::{Source, ViewKey};
pub(crate) use log::{Cursor, Publication};
pub(crate) use minute::LastMinute;
pub(crate) use sections::Second;
pub(crate) use verdict::text as verdict_text;

use alerts::Alerts;
use log::Next;
use track::{Change, Track};
use view::HubView;

/// Milliseconds since the Unix epoch.
pub(crate) type UnixMillis = u64;

/// After a change of the aggregator this many seconds of a node are asked for again: the new one may hold late frames that
/// the old one did not.
const OVERLAP_SECONDS: u32 = 5;

/// Whether and where the server is connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Link {
    /// To the aggregator of this name.
    Up { name: String },
    /// To none: why, in words.
    Down {
        /// What was tried and what came of it.
        reason: String,
    },
}

impl Default for Link {
    fn default() -> Self {
        Self::Down { reason: "no aggregator was asked yet".to_owned() }
    }
}

impl Link {
    /// Name of the aggregator, while connected.
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Self::Up { name } => Some(name),
            Self::Down { .. } => None,
        }
    }
}

/// What a client is sent.
#[derive(Debug)]
pub(crate) enum Message {
    /// The whole view.
    Snapshot(Arc<SharedFrame>),
    /// One more second, with the number of seconds left out before it.
    Tick(Arc<Publication>, u32),
    /// The aggregator refused the view: why.
    Refused(String),
}

/// A second and what belongs to it, for the JSON endpoints.
#[derive(Debug, Clone)]
pub(crate) struct Reading {
    pub(crate) second: Arc<Second>,
    /// The verdict on it.
    pub(crate) verdict: live::Verdict,
    /// Alerts of who it is of.
    pub(crate) alerts: OfSource,
    /// The minute up to the newest second.
    pub(crate) minute: LastMinute,
}

/// All views.
#[derive(Debug)]
pub(crate) struct Hub {
    views: HashMap<ViewKey, HubView>,
    fleet: ShownFleet,
    alerts: Alerts,
    aggregators: Vec<v1::Aggregator>,
    cluster: String,
    link: Link,
}

impl Hub {
    /// A hub that knows nothing yet, with the permanent views open.
    pub(crate) fn new() -> Self {
        let permanent = [ViewKey::Overview(Group::cluster()), ViewKey::Hosts(Group::cluster()), ViewKey::Aggregators];
        Self {
            views: permanent.into_iter().map(|key| (key.clone(), HubView::new(&key))).collect(),
            fleet: ShownFleet::default(),
            alerts: Alerts::default(),
            aggregators: Vec::new(),
            cluster: String::new(),
            link: Link::default(),
        }
    }

    /// Opens a view; does nothing when it is open.
    pub(crate) fn open(&mut self, key: &ViewKey) {
        if !self.views.contains_key(key) {
            self.views.insert(key.clone(), HubView::new(key));
            self.publish_table(key, 0);
        }
    }

    /// Closes a view that is not permanent and forgets what it held.
    pub(crate) fn close(&mut self, key: &ViewKey) {
        if !key.is_permanent() {
            self.views.remove(key);
        }
    }

    /// Takes in a second of a series. Returns whether there is something to send.
    pub(crate) fn apply(&mut self, source: &Source, second: Second, now: UnixMillis) -> bool {
        let key = ViewKey::from(source);
        if let (Second::Cluster(view), true) = (&second, key.is_permanent()) {
            self.cluster.clone_from(&view.cluster);
        }
        let Some(view) = self.views.get_mut(&key) else { return false };
        let Some(track) = &mut view.track else { return false };
        view.refused = None;
        let second = Arc::new(second);
        match track.apply(&second, now) {
            Change::Nothing | Change::Backlog => false,
            Change::CaughtUp => {
                view.log.clear();
                true
            }
            Change::Published { revision, newest, new_columns } => {
                // What comes after all for a second that was reported as silent corrects it.
                let revision = revision.max(u32::from(second.tick() <= view.silent_until));
                let tick = live::Tick {
                    tick: second.tick(),
                    revision,
                    point: columns::point(&second, matches!(source, Source::Node(_))),
                    // What the page shows beside the charts is of the newest second only.
                    state: newest.then(|| state_of(source, &second, &self.fleet, &self.alerts, &view.minute(), now)),
                    new_columns,
                    ..Default::default()
                };
                if !tick.new_columns.is_empty() {
                    view.layout += 1;
                }
                view.publish(&tick, now);
                true
            }
        }
    }

    /// Ends catching up with history for series that have no more of it. Returns whether there is something to send.
    pub(crate) fn settle(&mut self, now: UnixMillis) -> bool {
        let mut changed = false;
        for view in self.views.values_mut() {
            if view.track.as_mut().is_some_and(|track| track.settle(now)) {
                view.log.clear();
                changed = true;
            }
        }
        changed
    }

    /// Takes in an update of the table of nodes. Returns whether there is something to send.
    ///
    /// # Errors
    /// [`UpdateError`] when the table has to be sent again.
    pub(crate) fn apply_fleet(&mut self, parts: &[v1::NodesUpdate], now: UnixMillis) -> Result<bool, UpdateError> {
        let changed = self.fleet.apply(parts)?;
        if changed {
            let tables: Vec<_> = self.views.keys().filter(|key| matches!(key, ViewKey::Hosts(_))).cloned().collect();
            tables.iter().for_each(|key| self.publish_table(key, now));
            self.publish_silence();
        }
        Ok(changed)
    }

    /// Publishes that nodes are silent or stopped: their own streams bring nothing.
    fn publish_silence(&mut self) {
        let Some(now) = self.fleet.table().map(|table| table.tick) else { return };
        for (key, view) in &mut self.views {
            let (ViewKey::Node(node), Some(track)) = (key, &view.track) else { continue };
            let Some(newest) = track.newest() else { continue };
            let silent = self.fleet.host(node.as_str()).is_none_or(|host| host.state() != v1::NodeState::Reporting);
            if !silent || track.is_catching_up() || now <= newest.tick().max(view.silent_until) {
                continue;
            }
            let last = match &**newest {
                Second::Node(last) => {
                    v1::NodeView { row: last.row.clone(), facts: last.facts.clone(), ..Default::default() }
                }
                Second::Cluster(_) => v1::NodeView::default(),
            };
            let nothing = Second::Node(Box::new(v1::NodeView { tick: now, ..last }));
            let tick = live::Tick {
                tick: now,
                point: vec![f32::NAN; track.names().len()],
                state: Some(state_of(
                    &Source::Node(node.clone()),
                    &nothing,
                    &self.fleet,
                    &self.alerts,
                    &LastMinute::default(),
                    0,
                )),
                ..Default::default()
            };
            view.silent_until = now;
            view.publish(&tick, u64::from(now) * 1000);
        }
    }

    /// Takes in what is new of alerts. Pages are sent it with the next second. Returns how many there was no room for.
    pub(crate) fn apply_alerts(&mut self, update: v1::AlertsUpdate) -> u32 {
        self.alerts.apply(update)
    }

    /// The aggregator has no alerts.
    pub(crate) fn no_alerts(&mut self, reason: String) {
        self.alerts.absent(reason);
    }

    /// How many rules are in force; `None` when that is not known.
    pub(crate) fn set_rules(&mut self, rules: Option<u32>) {
        self.alerts.set_rules(rules);
    }

    /// Alerts of the cluster, of a group or of a node.
    pub(crate) fn alerts(&self, source: &Source) -> OfSource {
        self.alerts.of(source, &self.fleet)
    }

    /// Whether anything is known of alerts.
    pub(crate) fn alerts_standing(&self) -> &Standing {
        self.alerts.standing()
    }

    /// How many seconds a node's series is behind what the table says the node last reported.
    pub(crate) fn lag(&self, source: &Source) -> u32 {
        let Source::Node(node) = source else { return 0 };
        let reported = self.fleet.host(node.as_str()).map_or(0, Host::last_tick);
        let known = self.track(source).and_then(|track| track.grid().newest()).unwrap_or(0);
        reported.saturating_sub(known)
    }

    /// Takes in the members of the cluster.
    pub(crate) fn apply_aggregators(&mut self, answer: v1::ListAggregatorsResponse, now: UnixMillis) {
        self.cluster.clone_from(&answer.cluster);
        self.aggregators = answer.aggregators;
        self.link = Link::Up { name: answer.answered_by };
        self.publish_table(&ViewKey::Aggregators, now);
    }

    /// Publishes that no aggregator is reached. Returns true when that is news: after a connection, and the first time.
    pub(crate) fn disconnected(&mut self, reason: &str, now: UnixMillis) -> bool {
        let news = self.link.name().is_some() || self.link == Link::default();
        self.link = Link::Down { reason: reason.to_owned() };
        self.publish_table(&ViewKey::Aggregators, now);
        news
    }

    /// Publishes that the aggregator refused a series.
    pub(crate) fn refuse(&mut self, source: &Source, reason: String) {
        if let Some(view) = self.views.get_mut(&ViewKey::from(source)) {
            view.refused = Some(reason);
        }
    }

    /// One more message of a view without charts.
    fn publish_table(&mut self, key: &ViewKey, now: UnixMillis) {
        let (tick, state) = match key {
            ViewKey::Hosts(group) => {
                let Some(table) = self.fleet.table() else { return };
                let version = self.fleet.dictionary_version();
                let with_dictionary = self.views.get(key).is_some_and(|view| view.dictionary != version);
                (table.tick, states::hosts(&self.fleet, group, with_dictionary, now))
            }
            ViewKey::Aggregators => (seconds(now), states::aggregators(&self.aggregators, &self.link, now)),
            ViewKey::Overview(_) | ViewKey::Node(_) => return,
        };
        let version = self.fleet.dictionary_version();
        let Some(view) = self.views.get_mut(key) else { return };
        if matches!(key, ViewKey::Hosts(_)) && view.dictionary != version {
            view.dictionary = version;
            view.layout += 1;
        }
        view.publish(&live::Tick { tick, state: Some(state), ..Default::default() }, now);
    }

    /// First second to ask an aggregator for, so that nothing is missing and late frames are seen again. Any second of a
    /// sum over nodes may have changed while nobody was followed, and an aggregator corrects only what it sent: all that
    /// is shown is asked for again, as at the start. What is the same reaches no client.
    pub(crate) fn resume_from(&self, source: &Source, now: UnixMillis) -> u32 {
        let oldest = seconds(now).saturating_sub(starling_proto::limits::PAGE_WINDOW - 1).max(1);
        let Source::Node(_) = source else { return oldest };
        let known = self.track(source).and_then(|track| track.grid().newest());
        known.map_or(oldest, |newest| (newest + 1).saturating_sub(OVERLAP_SECONDS).max(oldest))
    }

    /// A cursor for a client that has a view up to `tick`; 0 for one that has nothing.
    pub(crate) fn cursor(&self, key: &ViewKey, tick: u32) -> Cursor {
        match self.views.get(key) {
            // A table is a page of its own: what the client holds of another server's dictionary cannot be known.
            Some(view) if view.track.is_some() && tick > 0 => view.log.resume(tick, view.layout),
            _ => Cursor::default(),
        }
    }

    /// Lets a client that paused have what it missed.
    pub(crate) fn replay(&self, key: &ViewKey, cursor: &mut Cursor) {
        if let Some(view) = self.views.get(key) {
            view.log.replay(cursor);
        }
    }

    /// What a client is to be sent next, if anything. Moves its cursor.
    pub(crate) fn next(&mut self, key: &ViewKey, cursor: &mut Cursor, now: UnixMillis) -> Option<Message> {
        let view = self.views.get(key)?;
        if let Some(reason) = &view.refused {
            return Some(Message::Refused(reason.clone()));
        }
        match view.log.next(cursor, now) {
            Next::Wait => None,
            Next::Send(publication, skipped) => Some(Message::Tick(publication, skipped)),
            // Half a history would be replaced at once: the client waits for the whole.
            Next::Snapshot if view.track.as_ref().is_some_and(|is| is.is_catching_up() && is.newest().is_some()) => {
                None
            }
            Next::Snapshot => Some(Message::Snapshot(self.snapshot(key, cursor, now)?)),
        }
    }

    fn snapshot(&mut self, key: &ViewKey, cursor: &mut Cursor, now: UnixMillis) -> Option<Arc<SharedFrame>> {
        let view = self.views.get(key)?;
        let end = view.log.end();
        let (tick, layout) = (self.newest_tick(key, now), view.layout);
        let made = view.snapshot.as_ref().filter(|(made_for, _)| *made_for == end).map(|(_, frame)| Arc::clone(frame));
        let frame = made.unwrap_or_else(|| Arc::new(SharedFrame::snapshot(&self.make_snapshot(key, view, tick, now))));
        let view = self.views.get_mut(key)?;
        view.snapshot = Some((end, Arc::clone(&frame)));
        *cursor = view.log.after_snapshot(tick, layout);
        Some(frame)
    }

    fn make_snapshot(&self, key: &ViewKey, view: &HubView, tick: u32, now: UnixMillis) -> live::Snapshot {
        let state = match (key, &view.track) {
            (ViewKey::Hosts(group), _) => self.fleet.table().map(|_| states::hosts(&self.fleet, group, true, now)),
            (ViewKey::Aggregators, _) => Some(states::aggregators(&self.aggregators, &self.link, now)),
            (_, Some(track)) => track
                .newest()
                .zip(key.source())
                .map(|(second, source)| state_of(&source, second, &self.fleet, &self.alerts, &view.minute(), now)),
            (_, None) => None,
        };
        let history = view.track.as_ref().map(|track| track.grid().history(track.names()));
        live::Snapshot { id: 0, tick, history, state }
    }

    fn newest_tick(&self, key: &ViewKey, now: UnixMillis) -> u32 {
        match key {
            ViewKey::Hosts(_) => self.fleet.table().map_or(0, |table| table.tick),
            ViewKey::Aggregators => seconds(now),
            ViewKey::Overview(_) | ViewKey::Node(_) => {
                self.views.get(key).and_then(|view| view.track.as_ref()?.grid().newest()).unwrap_or(0)
            }
        }
    }

    fn track(&self, source: &Source) -> Option<&Track> {
        self.views.get(&ViewKey::from(source))?.track.as_ref()
    }

    /// The newest second of a series, once its history is complete.
    pub(crate) fn reading(&self, source: &Source) -> Option<Reading> {
        let track = self.track(source).filter(|track| !track.is_catching_up())?;
        Some(self.read(source, track.newest()?))
    }

    /// The second of a series to send after `tick`, if there is one; see [`Track::after`].
    pub(crate) fn second_after(&self, source: &Source, tick: u32, now: UnixMillis) -> Option<Arc<Second>> {
        let track = self.track(source).filter(|track| !track.is_catching_up())?;
        track.after(tick, now).map(Arc::clone)
    }

    /// A second of a series, with the verdict on it.
    pub(crate) fn read(&self, source: &Source, second: &Arc<Second>) -> Reading {
        let minute = self.views.get(&ViewKey::from(source)).map(HubView::minute).unwrap_or_default();
        let alerts = self.alerts.of(source, &self.fleet);
        let verdict = verdict_of(source, second, &self.fleet, &alerts, &self.alerts);
        Reading { second: Arc::clone(second), verdict, alerts, minute }
    }

    /// Values of charted columns since `from`, oldest first. `NaN` where there is none.
    pub(crate) fn history(&self, source: &Source, columns: &[&str], from: u32) -> Option<(u32, Vec<Vec<f32>>)> {
        let track = self.track(source)?;
        let first = track.grid().first()?.max(from);
        let values = |name: &&str| track.column(name, first).map(|(_, value)| value).collect();
        Some((first, columns.iter().map(values).collect()))
    }

    /// Why the aggregator refused a series, if it did.
    pub(crate) fn refusal(&self, source: &Source) -> Option<&str> {
        self.views.get(&ViewKey::from(source))?.refused.as_deref()
    }

    /// The table of nodes, once there is one.
    pub(crate) fn fleet(&self) -> &ShownFleet {
        &self.fleet
    }

    /// The members of the cluster, as last reported.
    pub(crate) fn aggregators(&self) -> &[v1::Aggregator] {
        &self.aggregators
    }

    /// Name of the cluster; empty until an aggregator advertised it.
    pub(crate) fn cluster(&self) -> &str {
        &self.cluster
    }

    /// Whether and where the server is connected.
    pub(crate) fn link(&self) -> &Link {
        &self.link
    }
}

/// Milliseconds from the end of a second to `now`; 0 when our clock is behind.
pub(crate) fn age_ms(tick: u32, now: UnixMillis) -> u32 {
    u32::try_from(now.saturating_sub(u64::from(tick) * 1000)).unwrap_or(u32::MAX)
}

fn seconds(now: UnixMillis) -> u32 {
    u32::try_from(now / 1000).unwrap_or(u32::MAX)
}

fn state_of(
    source: &Source,
    second: &Second,
    fleet: &ShownFleet,
    alerts: &Alerts,
    minute: &LastMinute,
    now: UnixMillis,
) -> live::State {
    let own = alerts.of(source, fleet);
    let verdict = verdict_of(source, second, fleet, &own, alerts);
    match (source, second) {
        (Source::Cluster(_), Second::Cluster(_)) => states::overview(second, &own, verdict, minute, now),
        (Source::Node(node), Second::Node(view)) => states::node(view, second, node, fleet, (&own, verdict), minute),
        // The feed pairs them.
        (Source::Cluster(_), Second::Node(_)) | (Source::Node(_), Second::Cluster(_)) => live::State::default(),
    }
}

/// `own` are the alerts of the source.
fn verdict_of(source: &Source, second: &Second, fleet: &ShownFleet, own: &OfSource, all: &Alerts) -> live::Verdict {
    match source {
        Source::Cluster(group) => {
            let said = group.is_cluster().then(|| all.verdict());
            verdict::of_cluster(second.completeness(), fleet, |host| group.holds(host.labels()), own, said)
        }
        Source::Node(node) => {
            let tick = fleet.table().map_or(second.tick(), |table| table.tick);
            verdict::of_node(fleet.host(node.as_str()), tick, own)
        }
    }
}

#[cfg(test)]
mod tests;
