//! The file of notifiers and routes.

use std::{collections::BTreeMap, sync::Arc};

use starling_alerts::Matcher;
use starling_proto::v1::Alert;
use starling_service::settings::{Settings, of_table};
use toml::{Table, Value};

use crate::{
    hours::Hours,
    labels::labels,
    settings::{Kind, NotifierSettings, RouteSettings},
};

/// Most notifiers: each has a place in every episode's memory and may have four connections.
const NOTIFIERS_MAX: usize = 32;
/// Most routes: each is gone through for each change of an episode.
const ROUTES_MAX: usize = 64;
/// Largest file.
const FILE_BYTES_MAX: usize = 1024 * 1024;
/// Longest name of a notifier.
const NAME_LEN_MAX: usize = 64;
/// Longest address of the page.
const PAGE_LEN_MAX: usize = 500;

/// A file of notifiers, checked.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Config {
    /// By name, in the order of their names.
    pub notifiers: Vec<(String, NotifierSettings)>,
    /// In their order.
    pub routes: Vec<RouteSettings>,
    /// The address of the page, for links in messages; empty for none.
    pub page_url: String,
}

impl Config {
    /// Reads a file. `name` stands before each mistake.
    ///
    /// # Errors
    /// Every mistake at once: "file: notifier or route: key: what, and what was wanted".
    pub fn read(name: &str, text: &str) -> Result<Self, Vec<String>> {
        if text.len() > FILE_BYTES_MAX {
            return Err(vec![format!("{name}: {} bytes, at most {FILE_BYTES_MAX} are read", text.len())]);
        }
        // The error of a parser shows the line, which may hold a secret: only its place is told.
        let file: Table = toml::from_str(text).map_err(|error: toml::de::Error| {
            let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].lines().count().max(1));
            vec![format!("{name}: line {line}: {}", error.message())]
        })?;
        let (mut config, mut mistakes) = (Self::default(), Vec::new());
        for (key, value) in file {
            match (key.as_str(), value) {
                ("notifier", Value::Table(all)) => config.read_notifiers(all, &mut mistakes),
                ("route", Value::Array(all)) => config.read_routes(all, &mut mistakes),
                ("page_url", Value::String(url)) if url.starts_with("http") && url.len() <= PAGE_LEN_MAX => {
                    config.page_url = url.trim_end_matches('/').to_owned();
                }
                ("page_url", _) => mistakes.push("page_url: wanted: the address of the page".to_owned()),
                ("notifier", _) => mistakes.push("notifier: wanted: tables such as [notifier.NAME]".to_owned()),
                ("route", _) => mistakes.push("route: wanted: a list of tables, [[route]]".to_owned()),
                _ => mistakes.push(format!("{key}: unknown key, the keys are notifier, page_url, route")),
            }
        }
        for (at, route) in config.routes.iter().enumerate() {
            let unknown =
                route.notifiers.iter().filter(|name| config.notifiers.iter().all(|(other, _)| other != *name));
            mistakes.extend(unknown.map(|name| format!("route {}: notifiers: there is no {name:?}", at + 1)));
        }
        if config.notifiers.len() > NOTIFIERS_MAX || config.routes.len() > ROUTES_MAX {
            mistakes.push(format!("at most {NOTIFIERS_MAX} notifiers and {ROUTES_MAX} routes are taken"));
        }
        if mistakes.is_empty() {
            Ok(config)
        } else {
            Err(mistakes.into_iter().map(|what| format!("{name}: {what}")).collect())
        }
    }

    fn read_notifiers(&mut self, all: Table, mistakes: &mut Vec<String>) {
        for (name, value) in all {
            let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
            if !(1..=NAME_LEN_MAX).contains(&name.len()) || !name.chars().all(is_name) {
                mistakes.push(format!("notifier {name:?}: wanted: a name of a-z, 0-9, '-' and '_'"));
            }
            let read = table::<NotifierSettings>(value, &format!("notifier {name}"), mistakes);
            self.notifiers.extend(read.map(|settings| (name, settings)));
        }
        self.notifiers.sort_by(|(one, _), (other, _)| one.cmp(other));
    }

    fn read_routes(&mut self, all: Vec<Value>, mistakes: &mut Vec<String>) {
        for (at, value) in all.into_iter().enumerate() {
            self.routes.extend(table::<RouteSettings>(value, &format!("route {}", at + 1), mistakes));
        }
    }
}

fn table<S: Settings>(value: Value, of: &str, mistakes: &mut Vec<String>) -> Option<S> {
    let Value::Table(table) = value else {
        mistakes.push(format!("{of}: wanted: a table"));
        return None;
    };
    match of_table(&table) {
        Ok(settings) => Some(settings),
        Err(error) => {
            mistakes.extend(error.lines().iter().map(|line| format!("{of}: {line}")));
            None
        }
    }
}

/// What the desk knows of a notifier.
#[derive(Debug, Clone, PartialEq)]
pub struct Notifier {
    /// Its name.
    pub name: Arc<str>,
    /// Its settings.
    pub settings: NotifierSettings,
}

/// A route, ready.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// Places of notifiers.
    notifiers: Vec<usize>,
    matchers: Vec<Matcher>,
    /// Labels; empty for none.
    pub(crate) group_by: Vec<String>,
    /// In milliseconds, as all below.
    pub(crate) wait: u64,
    pub(crate) interval: u64,
    pub(crate) repeat: u64,
    goes_on: bool,
    mute: Vec<Hours>,
}

impl Route {
    /// Whether it is quiet in second `tick`.
    pub(crate) fn is_muted(&self, tick: u32) -> bool {
        self.mute.iter().any(|hours| hours.has(tick))
    }
}

/// Notifiers and routes, ready.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// In the order of their names. Heartbeats too, which no route reaches.
    pub notifiers: Vec<Notifier>,
    /// In their order.
    pub routes: Vec<Route>,
}

impl Plan {
    /// Of a file that was read.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let notifier = |(name, settings): &(String, NotifierSettings)| Notifier {
            name: name.as_str().into(),
            settings: settings.clone(),
        };
        let place = |name: &String| config.notifiers.iter().position(|(other, _)| other == name);
        let route = |one: &RouteSettings| Route {
            notifiers: one.notifiers.iter().filter_map(place).collect(),
            matchers: one.matchers.iter().filter_map(|text| Matcher::parse(text).ok()).collect(),
            group_by: one.group_by.clone(),
            wait: one.group_wait.as_millis() as u64,
            interval: one.group_interval.as_millis() as u64,
            repeat: one.repeat.as_millis() as u64,
            goes_on: one.goes_on,
            mute: one.mute.iter().filter_map(|text| Hours::parse(text).ok()).collect(),
        };
        Self {
            notifiers: config.notifiers.iter().map(notifier).collect(),
            routes: config.routes.iter().map(route).collect(),
        }
    }

    /// By notifier the first route that leads to it, of those that an episode with these labels takes.
    pub(crate) fn routed(&self, labels: &BTreeMap<String, String>) -> Vec<Option<usize>> {
        let mut found = vec![None; self.notifiers.len()];
        for (at, route) in self.routes.iter().enumerate() {
            if !route.matchers.iter().all(|matcher| matcher.matches(labels)) {
                continue;
            }
            for notifier in &route.notifiers {
                if self.notifiers[*notifier].settings.kind != Kind::Heartbeat {
                    found[*notifier].get_or_insert(at);
                }
            }
            if !route.goes_on {
                break;
            }
        }
        found
    }

    /// Names of the notifiers that an alert of these labels would reach.
    #[must_use]
    pub fn reached(&self, alert: &Alert, node_labels: &BTreeMap<String, String>) -> Vec<&str> {
        let routed = self.routed(&labels(alert, node_labels));
        self.notifiers.iter().zip(routed).filter(|(_, route)| route.is_some()).map(|(one, _)| &*one.name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
        page_url = "https://dash.example.org/"
        [notifier.ops]
        url = "https://hooks.example.org/starling"
        signature_secret = "file:/etc/starling/hook-key"
        [notifier.pager]
        kind = "pagerduty"
        routing_key = "env:PAGER_KEY"
        [[route]]
        notifiers = ["pager"]
        match = ["severity=critical"]
        continue = true
        [[route]]
        notifiers = ["ops"]
        group_by = ["rule"]
    "#;

    #[test]
    fn a_file_is_read_and_routes_lead_where_it_says() {
        let config = Config::read("n.toml", FILE).unwrap();
        assert_eq!((config.notifiers.len(), config.page_url.as_str()), (2, "https://dash.example.org"));
        let plan = Plan::new(&config);
        let with = |severity: &str| BTreeMap::from([("severity".to_owned(), severity.to_owned())]);
        assert_eq!(plan.routed(&with("critical")), [Some(1), Some(0)]);
        assert_eq!(plan.routed(&with("warning")), [Some(1), None]);
    }

    #[test]
    fn every_mistake_is_named_and_no_secret_is() {
        let text = r#"
            [notifier.a]
            url = "http://169.254.169.254/T0/s3cret"
            signature_secret = "s3cret"
            [notifier.b]
            kind = "email"
            to = ["x@example.org\nBcc: y"]
            [notifier.c]
            kind = "slak"
            [notifier.d]
            kind = "pagerduty"
            rooting_key = "env:X"
            [[route]]
            notifiers = ["nobody"]
            match = ["severity"]
            [[route]]
            mute = ["22:00-24:30 UTC"]
        "#;
        let mistakes = Config::read("n.toml", text).unwrap_err();
        let all = mistakes.join("\n");
        for wanted in [
            "n.toml: notifier a: url: destination refused: 169.254.169.254 is link-local",
            "n.toml: notifier a: signature_secret: is not \"file:/path\"",
            "n.toml: notifier b: to",
            "n.toml: notifier c: kind: \"slak\" is not",
            "n.toml: notifier d: rooting_key: unknown key, did you mean routing_key?",
            "n.toml: route 1: match",
            "n.toml: route 2: notifiers: a route names at least one",
            "n.toml: route 2: mute: \"22:00-24:30 UTC\": \"24:30\" is no time of the day",
        ] {
            assert!(all.contains(wanted), "{wanted}\n{all}");
        }
        assert!(!all.contains("s3cret"), "{all}");
        let broken = Config::read("n.toml", "[notifier.a]\nurl = \"s3cret").unwrap_err();
        assert!(broken[0].starts_with("n.toml: line 2") && !broken[0].contains("s3cret"), "{broken:?}");
    }
}
