//! What keys do.

use starling_proto::{limits::PAGE_WINDOW, v1};

use super::{Action, Model, Page, SPANS, episode_id};
use crate::{
    fleet::Measure,
    map::{Direction, layout},
};

/// A key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    Char(char),
    Up,
    Down,
    Left,
    Right,
    PageUp,
    PageDown,
    Home,
    End,
    Enter,
    Escape,
    Tab,
    BackTab,
    Backspace,
    /// With Control.
    Control(char),
}

/// All that is shown of them: keys, and what they do.
pub(crate) const HELP: [(&str, &str); 15] = [
    ("1 2 3 4, Tab", "overview, nodes, map, alerts"),
    ("arrows, j k, PgUp PgDn, Home End", "move"),
    ("Enter", "open the node or alert; Esc goes back"),
    ("/", "filter nodes: zone:b p99>50ms state:silent web; Esc clears"),
    ("s", "sort by the next column"),
    ("r", "turn the order"),
    ("f", "map: what fills the cells"),
    ("g", "map: group by the next label"),
    ("n", "alert: open its node"),
    ("Space", "pause; go on with the newest second"),
    (", .", "one second back, forward"),
    ("< >", "a minute back, forward"),
    ("[ ]", "shapes over 1 h, 6 h, 24 h, 7 d; and back to seconds"),
    ("?", "this help"),
    ("q, Ctrl-C", "quit; Ctrl-Z suspends"),
];

/// Seconds of a long step.
const MINUTE: u32 = 60;
/// Longest filter: as long as a line of a wide terminal.
const FILTER_LEN_MAX: usize = 200;

impl Model {
    pub(super) fn pressed(&mut self, key: Key) -> Vec<Action> {
        self.notice = None;
        match key {
            Key::Control('c') => return vec![Action::Quit],
            Key::Control('z') => return vec![Action::Suspend],
            _ => {}
        }
        if let Some(text) = self.input.take() {
            self.written(text, key);
            return Vec::new();
        }
        if std::mem::take(&mut self.help) {
            return Vec::new();
        }
        match key {
            Key::Char('q') => return vec![Action::Quit],
            Key::Char('?') => self.help = true,
            Key::Char(' ') => {
                self.look_at(if self.at.is_some() { None } else { Some(self.tick()).filter(|tick| *tick > 0) });
            }
            Key::Char(',') => self.step(-1),
            Key::Char('.') => self.step(1),
            Key::Char('<') => self.step(-i64::from(MINUTE)),
            Key::Char('>') => self.step(i64::from(MINUTE)),
            Key::Char('[') => self.span = Some(self.span.map_or(0, |span| (span + 1).min(SPANS.len() - 1))),
            Key::Char(']') => self.span = self.span.and_then(|span| span.checked_sub(1)),
            Key::Char(digit @ '1'..='4') => {
                let at = digit as usize - '1' as usize;
                return self.turn_to(Page::ALL[at].0);
            }
            Key::Tab => return self.turn_by(1),
            Key::BackTab => return self.turn_by(Page::ALL.len() - 1),
            _ if self.node.is_some() => return self.on_node(key),
            _ => {
                return match self.page {
                    Page::Overview => self.on_overview(key),
                    Page::Nodes => self.on_nodes(key),
                    Page::Map => self.on_map(key),
                    Page::Alerts => self.on_alerts(key),
                };
            }
        }
        Vec::new()
    }

    fn turn_to(&mut self, page: Page) -> Vec<Action> {
        self.page = page;
        self.alert_open = false;
        self.close()
    }

    fn turn_by(&mut self, by: usize) -> Vec<Action> {
        let at = Page::ALL.iter().position(|(page, _)| *page == self.page).unwrap_or(0);
        self.turn_to(Page::ALL[(at + by) % Page::ALL.len()].0)
    }

    /// Looks at a second that is so many later.
    fn step(&mut self, by: i64) {
        let newest = self.overview.newest();
        if newest == 0 {
            return;
        }
        let first = self.kept_from().0.max(newest.saturating_sub(PAGE_WINDOW - 1));
        let wanted = u32::try_from((i64::from(self.tick()) + by).max(0)).unwrap_or(u32::MAX);
        if wanted > newest {
            self.look_at(None);
        } else {
            if wanted < first {
                self.notice = Some("that is the first second that is kept here".to_owned());
            }
            self.look_at(Some(wanted.max(first)));
        }
    }

    /// A filter is being written.
    fn written(&mut self, mut text: String, key: Key) {
        match key {
            Key::Enter | Key::Down | Key::Tab => return,
            Key::Escape => text.clear(),
            Key::Backspace => {
                text.pop();
                self.input = Some(text.clone());
            }
            Key::Char(character) => {
                if text.chars().count() < FILTER_LEN_MAX {
                    text.push(character);
                }
                self.input = Some(text.clone());
            }
            _ => self.input = Some(text.clone()),
        }
        if self.table.filter != text {
            self.table.filter = text;
            self.set_rows();
        }
    }

    fn on_overview(&mut self, key: Key) -> Vec<Action> {
        if key == Key::Enter && self.alerts().is_some_and(|alerts| !alerts.alerts.is_empty()) {
            return self.turn_to(Page::Alerts);
        }
        Vec::new()
    }

    fn on_node(&mut self, key: Key) -> Vec<Action> {
        match key {
            Key::Escape | Key::Backspace | Key::Left => self.close(),
            _ => Vec::new(),
        }
    }

    fn on_nodes(&mut self, key: Key) -> Vec<Action> {
        let (at, page) = (self.table.at, self.page_lines());
        match key {
            Key::Up | Key::Char('k') => self.choose(at.saturating_sub(1)),
            Key::Down | Key::Char('j') => self.choose(at + 1),
            Key::PageUp => self.choose(at.saturating_sub(page)),
            Key::PageDown => self.choose(at + page),
            _ => return self.on_any_nodes(key),
        }
        Vec::new()
    }

    /// Keys of the table and the map.
    fn on_any_nodes(&mut self, key: Key) -> Vec<Action> {
        match key {
            Key::Home => self.choose(0),
            Key::End => self.choose(usize::MAX),
            Key::Char('/') => self.input = Some(self.table.filter.clone()),
            Key::Char('s') => {
                self.table.sort = self.table.sort.next();
                self.set_rows();
            }
            Key::Char('r') => {
                self.table.sort.descending = !self.table.sort.descending;
                self.set_rows();
            }
            Key::Escape if !self.table.filter.is_empty() => {
                self.table.filter.clear();
                self.set_rows();
            }
            Key::Enter => {
                // Nothing is opened that is not shown.
                let name = self.table.meant(self.fleet().map(|fleet| &**fleet)).map(ToOwned::to_owned);
                if let Some(name) = name {
                    return self.open(&name);
                }
            }
            _ => {}
        }
        Vec::new()
    }

    fn on_map(&mut self, key: Key) -> Vec<Action> {
        match key {
            Key::Char('f') => {
                const FILLS: [Measure; 5] =
                    [Measure::Cpu, Measure::P99, Measure::Requests, Measure::Errors, Measure::Memory];
                let at = FILLS.iter().position(|fill| *fill == self.fill).map_or(0, |at| at + 1);
                self.fill = FILLS[at % FILLS.len()];
            }
            Key::Char('g') => {
                let keys: Vec<String> =
                    self.fleet().map(|fleet| fleet.label_keys().map(ToOwned::to_owned).collect()).unwrap_or_default();
                let after = match &self.group {
                    None => 0,
                    Some(group) => keys.iter().position(|key| key == group).map_or(0, |at| at + 1),
                };
                self.group = keys.into_iter().nth(after);
            }
            Key::Left => self.move_on_map(Direction::Left),
            Key::Right => self.move_on_map(Direction::Right),
            Key::Up | Key::Char('k') => self.move_on_map(Direction::Up),
            Key::Down | Key::Char('j') => self.move_on_map(Direction::Down),
            _ => return self.on_any_nodes(key),
        }
        Vec::new()
    }

    fn on_alerts(&mut self, key: Key) -> Vec<Action> {
        let Some((at, alert)) = self.chosen_alert() else { return Vec::new() };
        let node = alert.episode.as_ref().filter(|episode| episode.scope() == v1::AlertScope::Node);
        let node = node.map(|episode| episode.subject.clone());
        let page = self.page_lines();
        match key {
            Key::Enter => self.alert_open = !self.alert_open,
            Key::Escape | Key::Backspace => self.alert_open = false,
            Key::Char('n') => return node.map_or_else(Vec::new, |node| self.open(&node)),
            Key::Up | Key::Char('k') => self.choose_alert(at.saturating_sub(1)),
            Key::Down | Key::Char('j') => self.choose_alert(at + 1),
            Key::PageUp => self.choose_alert(at.saturating_sub(page)),
            Key::PageDown => self.choose_alert(at + page),
            Key::Home => self.choose_alert(0),
            Key::End => self.choose_alert(usize::MAX),
            _ => {}
        }
        Vec::new()
    }

    fn choose_alert(&mut self, at: usize) {
        let id = self.alerts().and_then(|alerts| {
            let last = alerts.alerts.len().checked_sub(1)?;
            alerts.alerts.get(at.min(last)).map(|alert| episode_id(alert).to_owned())
        });
        self.alert = id;
    }

    fn choose(&mut self, at: usize) {
        let fleet = self.fleet().cloned();
        self.table.choose(fleet.as_deref(), at);
    }

    /// To the next cell, or to the one above or below.
    fn move_on_map(&mut self, to: Direction) {
        let Some(fleet) = self.fleet().cloned() else { return };
        let map = layout(&fleet, &self.table.rows, self.group.as_deref(), self.size.0, self.page_lines());
        let next = map.moved(self.table.at, to);
        self.choose(next);
    }

    /// Lines of the body of a page.
    pub(crate) fn page_lines(&self) -> usize {
        usize::from(self.size.1).saturating_sub(8).max(1)
    }
}
