//! What is known and what is looked at. Pure: messages, keys and the time in, what is to be done out.
//!
//! - [`view`]: the views that are followed, and the moment that is looked at;
//! - [`table`]: which nodes, in which order, and which of them is meant;
//! - `keys`: what keys do.

mod keys;
mod table;
mod view;

use std::rc::Rc;

use starling_proto::{
    live::{self, View, client_message, server_message::Body, state},
    v1,
};

use crate::{
    fleet::{Fleet, Measure},
    fresh::{self, Freshness, freshness},
    older::{Older, Range, SPANS},
    past::Past,
    source::subscribe,
};

pub(crate) use keys::{HELP, Key};
pub(crate) use table::Table;
pub(crate) use view::{Charted, Moment};

/// Numbers of the views that are always followed.
const OVERVIEW: u32 = 1;
const HOSTS: u32 = 2;
const AGGREGATORS: u32 = 3;
/// Views of nodes have the numbers from here on.
const NODES_FROM: u32 = 10;
/// A node that is not known is asked for again after this time, while it is looked at.
const REFUSED_RETRY_MS: u64 = 5_000;
/// Shapes of hours and days are asked for again after this time: a point of an hour is 30 s.
const OLDER_EVERY_MS: u64 = 30_000;
/// Seconds that the table of nodes may be older than the second that is looked at: it comes by itself.
const TABLE_SLACK: u32 = 3;

/// What happens.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Event {
    /// A message came.
    Arrived(Box<Body>),
    /// The connection is lost: why.
    Lost(String),
    /// A key was pressed.
    Key(Key),
    /// Time passed: milliseconds that only grow, and since 1970.
    Clock { monotonic_ms: u64, unix_ms: u64 },
    /// An aggregator answered for hours or days, or why not.
    Older(Result<Older, String>),
    /// The terminal has so many columns and lines.
    Size(u16, u16),
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Action {
    /// To the source.
    Send(client_message::Body),
    /// Ask for hours or days; one question at a time.
    Ask(Range),
    /// Stop until the shell says otherwise.
    Suspend,
    /// The end.
    Quit,
}

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Page {
    #[default]
    Overview,
    Nodes,
    Map,
    Alerts,
}

impl Page {
    /// All, in the order of their keys.
    pub(crate) const ALL: [(Self, &'static str); 4] =
        [(Self::Overview, "Overview"), (Self::Nodes, "Nodes"), (Self::Map, "Map"), (Self::Alerts, "Alerts")];
}

/// A node that is looked at.
#[derive(Debug)]
pub(crate) struct NodePage {
    pub(crate) name: String,
    id: u32,
    pub(crate) view: Charted<live::NodeDetail>,
    /// Why it is not known, and when that was said.
    refused: Option<(String, u64)>,
}

impl NodePage {
    /// Why nothing is known of it.
    pub(crate) fn refused(&self) -> Option<&str> {
        self.refused.as_ref().map(|(why, _)| why.as_str())
    }
}

/// All of it.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) page: Page,
    pub(crate) node: Option<NodePage>,
    pub(crate) cluster: String,
    pub(crate) aggregators: Option<live::Aggregators>,
    pub(crate) overview: Charted<live::Overview>,
    fleet: Past<Fleet>,
    fleet_tick: u32,
    /// The second that is looked at; `None` for the newest.
    pub(crate) at: Option<Moment>,
    pub(crate) table: Table,
    pub(crate) fill: Measure,
    /// The label by which the map is grouped.
    pub(crate) group: Option<String>,
    /// The alert that is meant, by its episode.
    pub(crate) alert: Option<String>,
    pub(crate) alert_open: bool,
    /// What is being written as a filter.
    pub(crate) input: Option<String>,
    pub(crate) help: bool,
    /// What a key led to, until the next one.
    pub(crate) notice: Option<String>,
    /// How far back shapes go, as a place among [`SPANS`]; `None`: as far as seconds reach.
    span: Option<usize>,
    older: Option<Older>,
    /// What was asked for last, and when.
    asked: Option<(Range, u64)>,
    size: (u16, u16),
    now: (u64, u64),
    arrived_ms: u64,
    /// The clock of who sends less ours, milliseconds.
    ahead_ms: i64,
    epoch: u32,
    lost: Option<String>,
    next_id: u32,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            page: Page::default(),
            node: None,
            cluster: String::new(),
            aggregators: None,
            overview: Charted::default(),
            fleet: Past::default(),
            fleet_tick: 0,
            at: None,
            table: Table::default(),
            fill: Measure::Cpu,
            group: None,
            alert: None,
            alert_open: false,
            input: None,
            help: false,
            notice: None,
            span: None,
            older: None,
            asked: None,
            size: (80, 24),
            now: (0, 0),
            arrived_ms: 0,
            ahead_ms: 0,
            epoch: 0,
            lost: None,
            next_id: NODES_FROM,
        }
    }
}

impl Model {
    /// Takes what happened; what is to be done about it.
    pub(crate) fn apply(&mut self, event: Event) -> Vec<Action> {
        match event {
            Event::Arrived(body) => self.arrived(*body),
            Event::Lost(why) => {
                self.lost = Some(why);
                Vec::new()
            }
            Event::Key(key) => {
                let mut actions = self.pressed(key);
                actions.extend(self.ask_older());
                actions
            }
            Event::Older(answer) => {
                match answer {
                    Ok(older) => self.older = Some(older),
                    Err(why) => self.notice = Some(why),
                }
                Vec::new()
            }
            Event::Clock { monotonic_ms, unix_ms } => {
                self.now = (monotonic_ms, unix_ms);
                let mut actions = self.ask_again();
                actions.extend(self.ask_older());
                actions
            }
            Event::Size(columns, lines) => {
                self.size = (columns, lines);
                Vec::new()
            }
        }
    }

    fn arrived(&mut self, body: Body) -> Vec<Action> {
        match body {
            Body::Hello(hello) => return self.greeted(&hello),
            Body::Snapshot(snapshot) => {
                if snapshot.id == OVERVIEW && snapshot.tick > 0 {
                    self.arrived_ms = self.now.0;
                }
                let history = snapshot.history.unwrap_or_default();
                self.take(snapshot.id, snapshot.tick, snapshot.state, |rings| rings.load(&history));
            }
            Body::Tick(tick) => {
                if tick.id == OVERVIEW {
                    self.arrived_ms = self.now.0;
                }
                let (point, new) = (tick.point, tick.new_columns);
                self.take(tick.id, tick.tick, tick.state, |rings| rings.push(tick.tick, &point, &new));
            }
            Body::Error(error) => match &mut self.node {
                Some(node) if node.id == error.id => node.refused = Some((error.message, self.now.0)),
                // That no aggregator is reached is said by the view of aggregators.
                _ if error.code == "unavailable" => {}
                _ => self.notice = Some(error.message),
            },
            Body::GoingAway(_) => self.lost = Some("the dashboard stops".to_owned()),
        }
        Vec::new()
    }

    /// A connection begins: all views are asked for.
    fn greeted(&mut self, hello: &live::Hello) -> Vec<Action> {
        // A restarted server may order columns again, so only the same one can go on from a second.
        let same = hello.epoch == self.epoch;
        self.epoch = hello.epoch;
        self.lost = None;
        self.set_server_clock(hello.server_time_unix_ms);
        if !hello.cluster.is_empty() {
            self.cluster.clone_from(&hello.cluster);
        }
        let resume = |newest: u32| if same { newest } else { 0 };
        let mut sends = vec![
            subscribe(AGGREGATORS, View::Aggregators, "", 0),
            subscribe(OVERVIEW, View::Overview, "", resume(self.overview.newest())),
            subscribe(HOSTS, View::Hosts, "", 0),
        ];
        if let Some(node) = &self.node {
            sends.push(subscribe(node.id, View::Node, &node.name, resume(node.view.newest())));
        }
        sends.into_iter().map(Action::Send).collect()
    }

    fn take(&mut self, id: u32, tick: u32, state: Option<live::State>, rings: impl FnOnce(&mut crate::rings::Rings)) {
        let state = state.and_then(|state| state.body);
        match (id, state) {
            (OVERVIEW, state) => {
                let state = match state {
                    Some(state::Body::Overview(overview)) => Some(overview),
                    _ => None,
                };
                self.overview.take(tick, state, rings);
            }
            (HOSTS, Some(state::Body::Hosts(hosts))) => {
                // Without who they are nothing is known of them; the dictionary comes with the next snapshot.
                if let Some(fleet) = Fleet::of(hosts, self.fleet.newest().map(|fleet| &**fleet)) {
                    let bytes = fleet.bytes();
                    self.fleet.push(tick, fleet, bytes);
                    self.fleet_tick = tick;
                    self.set_rows();
                }
            }
            (AGGREGATORS, Some(state::Body::Aggregators(seen))) => {
                self.set_server_clock(seen.server_time_unix_ms);
                self.aggregators = Some(seen);
            }
            (id, state) => {
                if let Some(node) = self.node.as_mut().filter(|node| node.id == id) {
                    let state = match state {
                        Some(state::Body::Node(detail)) => Some(detail),
                        _ => None,
                    };
                    node.refused = None;
                    node.view.take(tick, state, rings);
                }
            }
        }
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)] // milliseconds since 1970
    fn set_server_clock(&mut self, server_ms: f64) {
        if server_ms > 0.0 {
            self.ahead_ms = server_ms as i64 - self.now.1 as i64;
        }
    }

    /// A node that was not known is asked for again.
    fn ask_again(&mut self) -> Vec<Action> {
        let now = self.now.0;
        let Some(node) = &mut self.node else { return Vec::new() };
        match &mut node.refused {
            Some((_, at)) if now.saturating_sub(*at) >= REFUSED_RETRY_MS => {
                *at = now;
                vec![Action::Send(subscribe(node.id, View::Node, &node.name, 0))]
            }
            _ => Vec::new(),
        }
    }

    /// What of hours or days is to be asked for, if anything is.
    fn ask_older(&mut self) -> Option<Action> {
        let range = self.range()?;
        let is_new = self.asked.as_ref().is_none_or(|(asked, at)| {
            // The end moves with each second, and is asked for again when that is worth it.
            let other =
                (asked.span, &asked.node) != (range.span, &range.node) || self.at.is_some() && asked.to != range.to;
            other || self.now.0.saturating_sub(*at) >= OLDER_EVERY_MS
        });
        is_new.then(|| {
            self.asked = Some((range.clone(), self.now.0));
            Action::Ask(range)
        })
    }

    /// The range of the shapes; `None` where they show seconds.
    fn range(&self) -> Option<Range> {
        let (_, span) = SPANS[self.span?];
        let node = self.node.as_ref().map(|node| node.name.clone());
        Some(Range { node, to: self.tick(), span }).filter(|range| range.to > 0)
    }

    /// How far back shapes go, in words, and the shapes once they are known; `None` where they show seconds.
    pub(crate) fn older(&self) -> Option<(&'static str, Option<&Older>)> {
        let (words, span) = SPANS[self.span?];
        let node = self.node.as_ref().map(|node| &node.name);
        let of = |older: &&Older| older.range.span == span && older.range.node.as_ref() == node;
        Some((words, self.older.as_ref().filter(of)))
    }

    /// Looks at a node.
    fn open(&mut self, name: &str) -> Vec<Action> {
        let mut actions = self.close();
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1).max(NODES_FROM);
        self.node = Some(NodePage { name: name.to_owned(), id, view: Charted::default(), refused: None });
        actions.push(Action::Send(subscribe(id, View::Node, name, 0)));
        actions
    }

    /// No longer looks at a node.
    fn close(&mut self) -> Vec<Action> {
        let Some(node) = self.node.take() else { return Vec::new() };
        vec![Action::Send(client_message::Body::Unsubscribe(live::Unsubscribe { id: node.id }))]
    }

    /// Looks at a second, or at the newest.
    fn look_at(&mut self, tick: Option<u32>) {
        self.at = tick.map(|tick| Moment {
            tick,
            overview: self.overview.past().at(tick, 0).cloned(),
            fleet: self.fleet.at(tick, TABLE_SLACK).cloned(),
            node: self.node.as_ref().and_then(|node| node.view.past().at(tick, TABLE_SLACK).cloned()),
        });
        self.set_rows();
    }

    fn set_rows(&mut self) {
        let fleet = self.at.as_ref().map_or_else(|| self.fleet.newest(), |at| at.fleet.as_ref()).cloned();
        self.table.set(fleet.as_deref());
    }

    /// The second that is looked at; 0 when there is none.
    pub(crate) fn tick(&self) -> u32 {
        self.at.as_ref().map_or(self.overview.newest(), |at| at.tick)
    }

    /// The cluster at that second; `None` when it is not known.
    pub(crate) fn cluster_state(&self) -> Option<&Rc<live::Overview>> {
        match &self.at {
            Some(at) => at.overview.as_ref(),
            None => self.overview.past().newest(),
        }
    }

    /// The nodes at that second.
    pub(crate) fn fleet(&self) -> Option<&Rc<Fleet>> {
        match &self.at {
            Some(at) => at.fleet.as_ref(),
            None => self.fleet.newest(),
        }
    }

    /// The node that is looked at, at that second.
    pub(crate) fn node_state(&self) -> Option<&Rc<live::NodeDetail>> {
        match &self.at {
            Some(at) => at.node.as_ref(),
            None => self.node.as_ref()?.view.past().newest(),
        }
    }

    /// Alerts that are open at that second.
    pub(crate) fn alerts(&self) -> Option<&live::OpenAlerts> {
        self.cluster_state()?.alerts.as_ref()
    }

    /// The alert that is meant: the one that was chosen, else the first.
    pub(crate) fn chosen_alert(&self) -> Option<(usize, &v1::Alert)> {
        let alerts = &self.alerts()?.alerts;
        let at = alerts.iter().position(|alert| Some(episode_id(alert)) == self.alert.as_deref()).unwrap_or(0);
        alerts.get(at).map(|alert| (at, alert))
    }

    /// How much can be trusted what is newest.
    pub(crate) fn freshness(&self) -> Freshness {
        let (monotonic, unix) = self.now;
        let newest_ms = u64::from(self.overview.newest()) * 1_000;
        let age = unix.saturating_add_signed(self.ahead_ms).saturating_sub(newest_ms);
        freshness(monotonic.saturating_sub(self.arrived_ms), age)
    }

    /// Why the newest is missing or old.
    pub(crate) fn lack(&self) -> Option<String> {
        fresh::lack(self.lost.as_deref(), self.aggregators.as_ref(), self.overview.newest(), self.freshness())
    }

    /// First second from which anything can be shown, and from which nodes can; 0 for none.
    pub(crate) fn kept_from(&self) -> (u32, u32) {
        (self.overview.rings().first(), self.fleet.first())
    }
}

/// By what an alert is known.
pub(crate) fn episode_id(alert: &v1::Alert) -> &str {
    alert.episode.as_ref().map_or("", |episode| &episode.episode_id)
}

#[cfg(test)]
pub(crate) mod tests;
