//! Alerts as the aggregator that is followed reports them: which are kept, whose they are, in which order they are shown,
//! and what they say of a protocol. Nothing is judged here.

use std::{cmp::Reverse, collections::HashMap, sync::Arc};

use starling_proto::{live, v1};

use super::{Source, fleet::ShownFleet};

/// Alerts kept at once, pending ones and those that are just over among them: all that one aggregator lists in an answer,
/// and some 10 MB. What comes beyond is left out and counted; what is kept stays.
const ALERTS_MAX: usize = 10_000;
/// Alerts of one view that a page is sent each second, some 500 bytes each; it says how many there are beside them.
const SHOWN_MAX: usize = 50;
/// Rules of the default set that judge the failures of one protocol, of the cluster or a group, and of a node.
const PROTOCOL_RULES: [&str; 2] = ["errors", "node-errors"];
/// The attribute that says of which protocol.
const PROTOCOL: &str = "protocol";

/// Whether anything is known of alerts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nothing came yet.
    #[default]
    Waiting,
    /// They are followed.
    Followed,
    /// The aggregator has none: why.
    Absent(String),
}

/// What is known of alerts.
#[derive(Debug, Default)]
pub(crate) struct Alerts {
    standing: Standing,
    by_id: HashMap<String, Arc<v1::Alert>>,
    /// In the order they are shown in.
    sorted: Vec<Arc<v1::Alert>>,
    verdict: v1::AlertVerdict,
    judged_tick: u32,
    rules: Option<u32>,
    /// In the last update, beyond [`ALERTS_MAX`].
    left_out: u32,
}

impl Alerts {
    /// Takes in what an aggregator says is new. Returns how many alerts were left out.
    pub(super) fn apply(&mut self, update: v1::AlertsUpdate) -> u32 {
        if update.whole {
            self.by_id.clear();
            self.left_out = 0;
        }
        for id in &update.removed {
            self.by_id.remove(id);
        }
        let mut left_out = 0;
        for alert in update.changed {
            let Some(id) = alert.episode.as_ref().map(|is| is.episode_id.clone()) else { continue };
            if self.by_id.len() < ALERTS_MAX || self.by_id.contains_key(&id) {
                self.by_id.insert(id, Arc::new(alert));
            } else {
                left_out += 1;
            }
        }
        self.left_out = self.left_out.saturating_add(left_out);
        self.standing = Standing::Followed;
        self.judged_tick = update.judged_tick;
        self.verdict = update.verdict.unwrap_or_default();
        self.sorted = self.by_id.values().cloned().collect();
        self.sorted.sort_unstable_by(|a, b| order(a).cmp(&order(b)));
        left_out
    }

    /// The aggregator has no alerts.
    pub(super) fn absent(&mut self, reason: String) {
        *self = Self { standing: Standing::Absent(reason), ..Self::default() };
    }

    /// How many rules are in force.
    pub(super) fn set_rules(&mut self, rules: Option<u32>) {
        self.rules = rules;
    }

    /// The state in words, as the aggregator says it of the whole cluster.
    pub(super) fn verdict(&self) -> &v1::AlertVerdict {
        &self.verdict
    }

    /// Whether anything is known.
    pub(crate) fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Those of the whole cluster, of a group or of a node. The cluster has all; a group those of its nodes and its own; a
    /// node its own.
    pub(crate) fn of(&self, source: &Source, fleet: &ShownFleet) -> OfSource {
        let list = self.sorted.iter().filter(|alert| is_of(alert, source, fleet)).cloned().collect();
        OfSource {
            standing: self.standing.clone(),
            list,
            judged_tick: self.judged_tick,
            rules: self.rules,
            left_out: self.left_out,
        }
    }
}

/// The alerts of one source.
#[derive(Debug, Clone, Default)]
pub(crate) struct OfSource {
    pub(crate) standing: Standing,
    /// Those that somebody looks after behind the others; then worst first, then oldest.
    pub(crate) list: Vec<Arc<v1::Alert>>,
    /// The second that was judged last; 0 for none.
    pub(crate) judged_tick: u32,
    /// Rules in force; `None` when that is not known.
    pub(crate) rules: Option<u32>,
    /// Alerts that are in no list, because there are too many.
    pub(crate) left_out: u32,
}

impl OfSource {
    /// Those that fire.
    pub(crate) fn open(&self) -> impl Iterator<Item = &Arc<v1::Alert>> {
        self.list.iter().filter(|alert| state(alert) == v1::AlertState::Firing)
    }

    /// How a protocol is doing: the worst open alert about its failures.
    pub(crate) fn protocol(&self, name: &str) -> live::Severity {
        if self.standing != Standing::Followed {
            return live::Severity::Unspecified;
        }
        let about = |alert: &&Arc<v1::Alert>| {
            alert.episode.as_ref().is_some_and(|episode| {
                PROTOCOL_RULES.contains(&episode.rule.as_str())
                    && episode.attributes.iter().any(|is| is.key == PROTOCOL && is.value == name)
            })
        };
        self.open().filter(about).map(|alert| severity(alert)).max().map_or(live::Severity::Ok, shown_severity)
    }

    /// What a page is sent.
    pub(crate) fn for_page(&self) -> live::OpenAlerts {
        let open = self.open().count();
        live::OpenAlerts {
            alerts: self.open().take(SHOWN_MAX).map(|alert| short(alert)).collect(),
            open: u32::try_from(open).unwrap_or(u32::MAX).saturating_add(self.left_out),
            rules: self.rules,
            unavailable: match &self.standing {
                Standing::Followed => String::new(),
                Standing::Waiting => "the aggregator has not reported them yet".to_owned(),
                Standing::Absent(reason) => reason.clone(),
            },
        }
    }
}

/// Without what only its details show.
fn short(alert: &v1::Alert) -> v1::Alert {
    let episode = alert.episode.clone().map(|episode| v1::AlertEpisode {
        severities: Vec::new(),
        fires: Vec::new(),
        rule_fingerprint: 0,
        ..episode
    });
    v1::Alert {
        episode,
        expression: String::new(),
        runbook: String::new(),
        labels: HashMap::new(),
        children: Vec::new(),
        ..alert.clone()
    }
}

fn is_of(alert: &v1::Alert, source: &Source, fleet: &ShownFleet) -> bool {
    let Some(episode) = &alert.episode else { return false };
    match (source, episode.scope()) {
        (Source::Cluster(group), _) if group.is_cluster() => true,
        (Source::Cluster(group), v1::AlertScope::Group) => episode.subject == group.name(),
        (Source::Cluster(group), v1::AlertScope::Node) => {
            fleet.host(&episode.subject).is_some_and(|host| group.holds(host.labels()))
        }
        (Source::Node(node), v1::AlertScope::Node) => episode.subject == node.as_str(),
        _ => false,
    }
}

/// Where an episode stands.
pub(crate) fn state(alert: &v1::Alert) -> v1::AlertState {
    alert.episode.as_ref().map_or(v1::AlertState::Unspecified, v1::AlertEpisode::state)
}

/// How bad it is.
pub(crate) fn severity(alert: &v1::Alert) -> v1::AlertSeverity {
    alert.episode.as_ref().map_or(v1::AlertSeverity::Unspecified, v1::AlertEpisode::severity)
}

/// How bad, among what can also be well.
pub(crate) fn shown_severity(from: v1::AlertSeverity) -> live::Severity {
    match from {
        v1::AlertSeverity::Unspecified => live::Severity::Unspecified,
        v1::AlertSeverity::Info => live::Severity::Info,
        v1::AlertSeverity::Warning => live::Severity::Warning,
        v1::AlertSeverity::Error => live::Severity::Error,
        v1::AlertSeverity::Critical => live::Severity::Critical,
    }
}

/// Those that nobody is to look at now stand behind.
fn order(alert: &v1::Alert) -> (bool, Reverse<i32>, u32, &str) {
    let attended = alert.acknowledgement.is_some() || !alert.silenced_by.is_empty();
    let episode = alert.episode.as_ref();
    let worst = Reverse(severity(alert) as i32);
    (attended, worst, episode.map_or(0, |is| is.since_tick), episode.map_or("", |is| &is.episode_id))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use starling_proto::{group::Group, ids::NodeId};

    /// A firing alert about a node, or about the cluster when `node` is empty.
    pub(crate) fn alert(id: &str, rule: &str, node: &str, severity: v1::AlertSeverity) -> v1::Alert {
        let scope = if node.is_empty() { v1::AlertScope::Cluster } else { v1::AlertScope::Node };
        let whom = if node.is_empty() { "the cluster" } else { node };
        v1::Alert {
            episode: Some(v1::AlertEpisode {
                episode_id: id.into(),
                rule: rule.into(),
                scope: scope.into(),
                subject: node.into(),
                state: v1::AlertState::Firing.into(),
                severity: severity.into(),
                since_tick: 54_060,
                ..Default::default()
            }),
            sentence: format!("{whom} has its CPU 97 % busy"),
            ..Default::default()
        }
    }

    fn of_protocol(id: &str, rule: &str, node: &str, severity: v1::AlertSeverity) -> v1::Alert {
        let mut alert = alert(id, rule, node, severity);
        let attribute = v1::AlertAttribute { key: PROTOCOL.into(), value: "grpc".into() };
        alert.episode.as_mut().unwrap().attributes.push(attribute);
        alert
    }

    fn update(changed: Vec<v1::Alert>) -> v1::AlertsUpdate {
        v1::AlertsUpdate { whole: true, changed, ..Default::default() }
    }

    fn node(name: &str) -> Source {
        Source::Node(NodeId::parse(name).unwrap())
    }

    fn ids(of: &OfSource) -> Vec<&str> {
        of.list.iter().map(|is| is.episode.as_ref().unwrap().episode_id.as_str()).collect()
    }

    use v1::AlertSeverity::{Critical, Error, Warning};

    #[test]
    fn worst_first_and_what_somebody_looks_after_behind() {
        let mut alerts = Alerts::default();
        let attended = v1::Alert {
            acknowledgement: Some(v1::AlertAcknowledgement::default()),
            ..alert("a", "cpu-busy", "n1", Critical)
        };
        alerts.apply(update(vec![alert("b", "cpu-busy", "n2", Warning), attended, alert("c", "latency", "", Error)]));
        let all = Source::Cluster(Group::cluster());
        assert_eq!(ids(&alerts.of(&all, &ShownFleet::default())), ["c", "b", "a"]);
        assert_eq!(ids(&alerts.of(&node("n2"), &ShownFleet::default())), ["b"]);
        alerts.apply(v1::AlertsUpdate { removed: vec!["c".into()], ..Default::default() });
        let left = alerts.of(&all, &ShownFleet::default());
        assert_eq!(ids(&left), ["b", "a"]);
        assert_eq!(left.for_page().open, 2);
        alerts.apply(update(Vec::new()));
        assert!(alerts.of(&all, &ShownFleet::default()).list.is_empty(), "the whole replaces what was");
    }

    #[test]
    fn a_protocol_is_as_bad_as_its_worst_open_alert() {
        let mut alerts = Alerts::default();
        let of = |alerts: &Alerts, source: &Source| alerts.of(source, &ShownFleet::default()).protocol("grpc");
        let cluster = Source::Cluster(Group::cluster());
        assert_eq!(of(&alerts, &cluster), live::Severity::Unspecified, "nothing is known");
        let mut pending = of_protocol("p", "errors", "", Critical);
        pending.episode.as_mut().unwrap().set_state(v1::AlertState::Pending);
        alerts.apply(update(vec![
            of_protocol("a", "node-errors", "n1", Warning),
            of_protocol("b", "errors", "", Error),
            of_protocol("c", "requests-fell", "", Critical),
            pending,
        ]));
        assert_eq!(of(&alerts, &cluster), live::Severity::Error);
        assert_eq!(of(&alerts, &node("n1")), live::Severity::Warning);
        assert_eq!(of(&alerts, &node("n2")), live::Severity::Ok);
        assert_eq!(alerts.of(&cluster, &ShownFleet::default()).protocol("http1"), live::Severity::Ok);
        alerts.absent("of an older version".into());
        assert_eq!(of(&alerts, &cluster), live::Severity::Unspecified);
    }

    #[test]
    fn what_is_kept_and_shown_is_bounded() {
        let mut alerts = Alerts::default();
        let many = |from: usize, to: usize| (from..to).map(|i| alert(&format!("{i:05}"), "x", "n1", Warning)).collect();
        assert_eq!(alerts.apply(update(many(0, ALERTS_MAX))), 0);
        let more = v1::AlertsUpdate { changed: many(ALERTS_MAX - 1, ALERTS_MAX + 3), ..Default::default() };
        assert_eq!(alerts.apply(more), 3, "one of them was known");
        let page = alerts.of(&node("n1"), &ShownFleet::default()).for_page();
        assert_eq!((page.alerts.len(), page.open as usize), (SHOWN_MAX, ALERTS_MAX + 3));
    }
}
