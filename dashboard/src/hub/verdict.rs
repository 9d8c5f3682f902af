//! The one sentence about the state and its cause.
//!
//! | word | when |
//! |---|---|
//! | No data | no node is expected and no alert is open, or the node asked for is silent or stopped |
//! | Degraded | an alert of warning or worse is open, or two machines have one name |
//! | Partial | nodes are silent, missing in this second, or cannot read their host, or limits are not judged |
//! | Healthy | none of these |
//!
//! What is too high or too low, and for how long, is judged by the aggregators: for the cluster the sentence is theirs, for a
//! group and a node it is made of its open alerts by the same rule. What is said beside them are facts of this second. A
//! fact that an open alert is about is not said twice.

use std::{collections::HashSet, sync::Arc};

use starling_proto::{live, v1};

use super::{
    alerts::{OfSource, Standing, severity, shown_severity},
    faults,
    fleet::{Host, ShownFleet},
};

/// Nodes, or alerts, named before "and n more".
const NAMES_MAX: usize = 3;
/// What alerts about these facts compute, whatever their rules are called.
const SILENT: &str = "node.silent_seconds";
const NAME_CLASH: &str = "node.name_clash";
const COLLECTOR_FAULTS: &str = "node.collector_faults";
/// Seconds of a day.
const DAY: u32 = 86_400;

/// The verdict on the cluster, or on the nodes for which `member` holds. `said` is what the aggregator says of the whole
/// cluster; without it the alerts are put into words here.
pub(crate) fn of_cluster(
    completeness: Option<&v1::Completeness>,
    fleet: &ShownFleet,
    member: impl Fn(&Host) -> bool,
    alerts: &OfSource,
    said: Option<&v1::AlertVerdict>,
) -> live::Verdict {
    let rows: Vec<_> = fleet.hosts().iter().filter(|row| member(row)).collect();
    let expected = completeness.map_or(0, |is| is.nodes_expected());
    let reporting = completeness.map_or(0, |is| is.nodes_reporting());
    // Alerts outlive the nodes they are about: one that is gone is no silence.
    let is_told = || alerts.open().any(|alert| severity(alert) >= v1::AlertSeverity::Warning);
    if expected == 0 && reporting == 0 && !is_told() {
        return Draft::default().no_data(live::Severity::Info, "no node has reported in the last 15 minutes.");
    }
    let mut draft = Draft::default();
    match said {
        Some(said) => draft.said(said),
        None => draft.alerts(alerts, ""),
    }
    let over = |is: &dyn Fn(&Host) -> bool| -> Vec<String> {
        rows.iter().filter(|row| is(row)).map(|row| row.id().to_owned()).collect()
    };
    let beside = |names: Vec<String>, what: &str| -> Vec<String> {
        let told = told(alerts, what);
        names.into_iter().filter(|name| !told.contains(name.as_str())).collect()
    };
    let namesakes = beside(over(&|row| row.clash().is_some()), NAME_CLASH);
    if !namesakes.is_empty() {
        draft.cause(Word::Degraded, live::Severity::Error, "two machines call themselves ".to_owned());
        draft.name(&namesakes);
    }
    let silent = over(&|row| row.state() == v1::NodeState::Silent);
    let any_silent = !silent.is_empty();
    let silent = beside(silent, SILENT);
    if !silent.is_empty() {
        draft.cause(
            Word::Partial,
            live::Severity::Warning,
            format!("{} of {expected} {} silent: ", silent.len(), are(silent.len(), expected)),
        );
        draft.name(&silent);
    } else if reporting < expected && !any_silent {
        let text = format!("{reporting} of {expected} nodes are in this second");
        draft.cause(Word::Partial, live::Severity::Info, text);
        let missing = completeness.map_or(&[][..], |is| &is.nodes_missing);
        if !missing.is_empty() {
            draft.text(", without ");
            draft.name(missing);
        }
    }
    let blind = over(&|row| row.state() == v1::NodeState::Reporting && !row.entry().collector_faults.is_empty());
    let blind = beside(blind, COLLECTOR_FAULTS);
    if !blind.is_empty() {
        let lead =
            if blind.len() == 1 { "a node that cannot read its host: " } else { "nodes that cannot read their host: " };
        draft.cause(Word::Partial, live::Severity::Warning, lead.to_owned());
        draft.name(&blind);
    }
    draft.unjudged(alerts);
    draft.finish(match expected {
        1 => "the node reports, nothing is beyond its limit.".to_owned(),
        _ => format!("all {expected} nodes report, nothing is beyond its limit."),
    })
}

/// The verdict on one node. `row` is absent when the table does not have it.
pub(crate) fn of_node(row: Option<&Host>, table_tick: u32, alerts: &OfSource) -> live::Verdict {
    let Some(row) = row else {
        return Draft::default().no_data(live::Severity::Info, "the node has not reported in the last 15 minutes.");
    };
    let age = table_tick.saturating_sub(row.last_tick());
    match row.state() {
        v1::NodeState::Silent => {
            let why = match row.entry().silent_reason.as_str() {
                "" => String::new(),
                reason => format!(": {reason}"),
            };
            return Draft::default().no_data(live::Severity::Warning, &format!("silent for {age} s{why}."));
        }
        v1::NodeState::Stopped => {
            return Draft::default().no_data(live::Severity::Info, &format!("its daemon was stopped {age} s ago."));
        }
        v1::NodeState::Reporting | v1::NodeState::Unspecified => {}
    }
    let mut draft = Draft::default();
    draft.alerts(alerts, row.id());
    if row.clash().is_some() && told(alerts, NAME_CLASH).is_empty() {
        draft.cause(Word::Degraded, live::Severity::Error, faults::clash_in_words(row));
    }
    if !row.entry().collector_faults.is_empty() && told(alerts, COLLECTOR_FAULTS).is_empty() {
        draft.cause(Word::Partial, live::Severity::Warning, faults::in_words(&row.entry().collector_faults));
    }
    draft.unjudged(alerts);
    draft.finish("the node reports, nothing is beyond its limit.".to_owned())
}

/// Nodes that open alerts about `what` name.
fn told<'a>(alerts: &'a OfSource, what: &str) -> HashSet<&'a str> {
    let about = |alert: &&Arc<v1::Alert>| alert.expression.contains(what);
    alerts.open().filter(about).filter_map(|alert| Some(alert.episode.as_ref()?.subject.as_str())).collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
enum Word {
    #[default]
    Healthy,
    Partial,
    Degraded,
}

impl Word {
    const ALL: [(&'static str, Self); 3] =
        [("Healthy", Self::Healthy), ("Partial", Self::Partial), ("Degraded", Self::Degraded)];

    fn as_str(self) -> &'static str {
        Self::ALL[self as usize].0
    }

    /// Of an alert: what is only to be known is no fault.
    fn of(severity: v1::AlertSeverity) -> Self {
        if severity >= v1::AlertSeverity::Warning { Self::Degraded } else { Self::Healthy }
    }
}

/// A sentence being written.
#[derive(Default)]
struct Draft {
    word: Word,
    severity: Option<live::Severity>,
    parts: Vec<live::VerdictPart>,
}

impl Draft {
    fn text(&mut self, text: impl Into<String>) {
        self.parts.push(live::VerdictPart { text: text.into(), ..Default::default() });
    }

    fn worse(&mut self, word: Word, severity: live::Severity) {
        self.word = self.word.max(word);
        self.severity = self.severity.max(Some(severity));
    }

    fn cause(&mut self, word: Word, severity: live::Severity, text: String) {
        let text = if self.parts.is_empty() { text } else { format!("; {text}") };
        self.text(text);
        self.worse(word, severity);
    }

    /// What the aggregator says of its open alerts; nothing when none is.
    fn said(&mut self, said: &v1::AlertVerdict) {
        if said.severity() == v1::AlertSeverity::Unspecified {
            return;
        }
        // A word that is not known here is of a newer aggregator.
        let word = Word::ALL.iter().find(|(word, _)| *word == said.word).map_or(Word::of(said.severity()), |is| is.1);
        self.worse(word, shown_severity(said.severity()));
        self.parts.extend(said.parts.iter().map(|part| live::VerdictPart {
            text: part.text.clone(),
            node_id: part.node_id.clone(),
            episode_id: part.episode_id.clone(),
        }));
        // What is added goes on in the same sentence.
        if let Some(last) = self.parts.last_mut() {
            last.text.truncate(last.text.trim_end_matches(['.', ' ']).len());
        }
        self.parts.retain(|part| !part.text.is_empty());
    }

    /// The worst open alerts, each with what, where and since when. Those that are quiet, or stand under another one, are
    /// not among them. `page` is the node whose page it is: its name is no link there.
    fn alerts(&mut self, alerts: &OfSource, page: &str) {
        let ids: HashSet<&str> =
            alerts.open().filter_map(|is| Some(is.episode.as_ref()?.episode_id.as_str())).collect();
        let loud: Vec<_> = alerts
            .open()
            .filter(|is| is.silenced_by.is_empty() && (is.parent.is_empty() || !ids.contains(is.parent.as_str())))
            .collect();
        // Worst first whether somebody looks after them or not: the list is stable, and so is this.
        let mut worst = loud.clone();
        worst.sort_by_key(|is| std::cmp::Reverse(severity(is)));
        for alert in worst.iter().take(NAMES_MAX) {
            let Some(episode) = &alert.episode else { continue };
            let about = |text: String, node_id: &str| live::VerdictPart {
                text,
                node_id: node_id.to_owned(),
                episode_id: episode.episode_id.clone(),
            };
            if !self.parts.is_empty() {
                self.text("; ");
            }
            self.worse(Word::of(severity(alert)), shown_severity(severity(alert)));
            let since = since(episode.since_tick, alerts.judged_tick);
            let node = (episode.scope() == v1::AlertScope::Node && episode.subject != page).then_some(&episode.subject);
            match node.and_then(|node| Some((node, alert.sentence.strip_prefix(node.as_str())?))) {
                Some((node, rest)) => {
                    self.parts.push(about(node.clone(), node));
                    self.parts.push(about(format!("{rest} {since}"), ""));
                }
                None => self.parts.push(about(format!("{} {since}", alert.sentence), "")),
            }
        }
        if worst.len() > NAMES_MAX {
            self.text(format!("; {} more", worst.len() - NAMES_MAX));
        }
    }

    /// Says that limits are not judged, when they are not: that nothing is open means nothing then.
    fn unjudged(&mut self, alerts: &OfSource) {
        match &alerts.standing {
            Standing::Followed => {}
            Standing::Waiting => {
                self.cause(Word::Partial, live::Severity::Info, "alerts are not known yet".to_owned());
            }
            Standing::Absent(reason) => {
                self.cause(Word::Partial, live::Severity::Info, format!("limits are not judged: {reason}"));
            }
        }
    }

    fn name(&mut self, names: &[String]) {
        for (place, name) in names.iter().take(NAMES_MAX).enumerate() {
            if place > 0 {
                self.text(", ");
            }
            let part = live::VerdictPart { text: name.clone(), node_id: name.clone(), ..Default::default() };
            self.parts.push(part);
        }
        if names.len() > NAMES_MAX {
            self.text(format!(" and {} more", names.len() - NAMES_MAX));
        }
    }

    fn finish(mut self, healthy: String) -> live::Verdict {
        let nothing = self.parts.is_empty();
        self.text(if nothing { healthy } else { ".".to_owned() });
        live::Verdict {
            severity: self.severity.unwrap_or(live::Severity::Ok).into(),
            word: self.word.as_str().to_owned(),
            parts: self.parts,
        }
    }

    fn no_data(mut self, severity: live::Severity, text: &str) -> live::Verdict {
        self.text(text);
        live::Verdict { severity: severity.into(), word: "No data".to_owned(), parts: self.parts }
    }
}

/// "since 15:01 UTC", or for how many days when that is another day's.
fn since(tick: u32, now: u32) -> String {
    let days = now.saturating_sub(tick) / DAY;
    match days {
        0 => format!("since {:02}:{:02} UTC", tick / 3_600 % 24, tick / 60 % 60),
        1 => "for a day".to_owned(),
        _ => format!("for {days} days"),
    }
}

/// The noun goes with all nodes, the verb with those that are meant: "1 of 4 nodes is".
fn are(meant: usize, nodes: u32) -> &'static str {
    match (meant, nodes) {
        (1, 1) => "node is",
        (1, _) => "nodes is",
        _ => "nodes are",
    }
}

/// The sentence as plain text.
pub(crate) fn text(verdict: &live::Verdict) -> String {
    verdict.parts.iter().map(|part| part.text.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::{Source, alerts::Alerts, alerts::tests::alert};
    use starling_proto::{group::Group, ids::NodeId};
    use starling_testkit::update;

    fn row(name: &str, state: v1::NodeState) -> v1::NodeRow {
        v1::NodeRow { node_id: name.into(), state: state.into(), ..Default::default() }
    }

    fn fleet(rows: &[v1::NodeRow]) -> ShownFleet {
        let mut fleet = ShownFleet::default();
        fleet.apply(&[update(&v1::NodeTable { tick: 105, nodes: rows.to_vec(), ..Default::default() })]).unwrap();
        fleet
    }

    fn known(open: &[v1::Alert]) -> Alerts {
        let mut alerts = Alerts::default();
        alerts.apply(v1::AlertsUpdate {
            whole: true,
            changed: open.to_vec(),
            judged_tick: 54_100,
            ..Default::default()
        });
        alerts
    }

    /// The verdict on a group of all nodes, whose sentence is made here.
    fn judge(rows: &[v1::NodeRow], reporting: u32, open: &[v1::Alert]) -> live::Verdict {
        let fleet = fleet(rows);
        let alerts = known(open).of(&Source::Cluster(Group::cluster()), &fleet);
        of_cluster(Some(&completeness(rows, reporting)), &fleet, |_| true, &alerts, None)
    }

    fn completeness(rows: &[v1::NodeRow], reporting: u32) -> v1::Completeness {
        v1::Completeness {
            nodes_reporting: Some(reporting),
            nodes_expected: Some(u32::try_from(rows.len()).unwrap()),
            ..Default::default()
        }
    }

    fn of(name: &str, rows: &[v1::NodeRow], open: &[v1::Alert]) -> live::Verdict {
        let fleet = fleet(rows);
        let alerts = known(open).of(&Source::Node(NodeId::parse(name).unwrap()), &fleet);
        of_node(fleet.host(name), 105, &alerts)
    }

    use v1::AlertSeverity::{Critical, Error, Info, Warning};
    use v1::NodeState::{Reporting, Silent};

    #[test]
    fn all_is_well() {
        let verdict = judge(&[row("a", Reporting), row("b", Reporting)], 2, &[]);
        assert_eq!((verdict.word.as_str(), verdict.severity()), ("Healthy", live::Severity::Ok));
        assert_eq!(text(&verdict), "all 2 nodes report, nothing is beyond its limit.");
    }

    #[test]
    fn a_node_that_is_gone_for_good_is_no_silence() {
        let gone = alert("1", "node-gone", "a", Error);
        let verdict = judge(&[], 0, &[gone]);
        assert_eq!((verdict.word.as_str(), verdict.severity()), ("Degraded", live::Severity::Error));
        assert_eq!(judge(&[], 0, &[alert("1", "new-node", "a", Info)]).word, "No data");
        assert_eq!(judge(&[], 0, &[]).word, "No data");
    }

    #[test]
    fn the_worst_open_alerts_say_what_where_and_since_when() {
        let rows = [row("a", Reporting), row("b", Reporting)];
        let open = [
            alert("1", "cpu-busy", "a", Warning),
            alert("2", "node-slow", "b", Error),
            alert("3", "latency", "", Critical),
            alert("4", "load-high", "a", Warning),
        ];
        let verdict = judge(&rows, 2, &open);
        assert_eq!((verdict.word.as_str(), verdict.severity()), ("Degraded", live::Severity::Critical));
        assert_eq!(
            text(&verdict),
            "the cluster has its CPU 97 % busy since 15:01 UTC; b has its CPU 97 % busy since 15:01 UTC; a has its CPU \
             97 % busy since 15:01 UTC; 1 more."
        );
        let links: Vec<_> = verdict.parts.iter().filter(|part| !part.node_id.is_empty()).collect();
        assert_eq!(
            links.iter().map(|part| (part.text.as_str(), part.episode_id.as_str())).collect::<Vec<_>>(),
            [("b", "2"), ("a", "1")]
        );
        let on_a = of("a", &rows, &open);
        assert!(on_a.parts.iter().all(|part| part.node_id.is_empty()), "no link from a page to itself");
        assert_eq!((on_a.word.as_str(), on_a.severity()), ("Degraded", live::Severity::Warning));
        assert_eq!(of("b", &rows, &open[..1]).word, "Healthy");
    }

    #[test]
    fn quiet_ones_and_children_are_not_named() {
        let rows = [row("a", Reporting)];
        let silenced = v1::Alert { silenced_by: vec!["s".into()], ..alert("1", "cpu-busy", "a", Critical) };
        assert_eq!(judge(&rows, 1, &[silenced]).word, "Healthy");
        let parent = alert("p", "many-nodes-gone", "", Error);
        let child = v1::Alert { parent: "p".into(), ..alert("1", "node-gone", "a", Error) };
        let orphan = v1::Alert { parent: "gone".into(), ..alert("2", "cpu-busy", "a", Warning) };
        let verdict = judge(&rows, 1, &[parent, child, orphan]);
        let about: HashSet<_> = verdict.parts.iter().map(|part| part.episode_id.as_str()).collect();
        assert!(about.contains("p") && about.contains("2") && !about.contains("1"), "{about:?}");
        assert_eq!(judge(&rows, 1, &[alert("1", "new-node", "a", Info)]).word, "Healthy", "to be known is no fault");
    }

    #[test]
    fn of_the_cluster_the_aggregator_has_the_words() {
        let rows = [row("a", Reporting), row("b", Silent)];
        let (fleet, completeness) = (fleet(&rows), completeness(&rows, 1));
        let gone = v1::Alert { expression: SILENT.into(), ..alert("g", "node-gone", "b", Error) };
        let alerts = known(&[gone]).of(&Source::Cluster(Group::cluster()), &fleet);
        let part = |text: &str, node: &str| v1::AlertVerdictPart {
            text: text.into(),
            node_id: node.into(),
            episode_id: "g".into(),
        };
        let said = v1::AlertVerdict {
            severity: Error.into(),
            word: "Degraded".into(),
            parts: vec![
                part("b", "b"),
                part(" is gone since 15:01", ""),
                v1::AlertVerdictPart { text: ".".into(), ..Default::default() },
            ],
        };
        let verdict = of_cluster(Some(&completeness), &fleet, |_| true, &alerts, Some(&said));
        assert_eq!((verdict.word.as_str(), verdict.severity()), ("Degraded", live::Severity::Error));
        assert_eq!(text(&verdict), "b is gone since 15:01.", "that b is silent is not said twice");
        assert_eq!((verdict.parts[0].node_id.as_str(), verdict.parts[1].episode_id.as_str()), ("b", "g"));

        let nothing = known(&[]).of(&Source::Cluster(Group::cluster()), &fleet);
        let verdict = of_cluster(Some(&completeness), &fleet, |_| true, &nothing, Some(&v1::AlertVerdict::default()));
        assert_eq!(text(&verdict), "1 of 2 nodes is silent: b.", "a fact stands until an alert is about it");
    }

    #[test]
    fn without_alerts_nothing_is_healthy() {
        let (fleet, completeness) = (fleet(&[row("a", Reporting)]), completeness(&[row("a", Reporting)], 1));
        let judge = |alerts: &Alerts| {
            let alerts = alerts.of(&Source::Cluster(Group::cluster()), &fleet);
            let verdict =
                of_cluster(Some(&completeness), &fleet, |_| true, &alerts, Some(&v1::AlertVerdict::default()));
            (verdict.word.clone(), text(&verdict))
        };
        let mut alerts = Alerts::default();
        assert_eq!(judge(&alerts), ("Partial".to_owned(), "alerts are not known yet.".to_owned()));
        alerts.absent("aggregator a1 is older".into());
        assert_eq!(judge(&alerts).1, "limits are not judged: aggregator a1 is older.");
    }

    #[test]
    fn silent_nodes_are_named_and_linked() {
        let rows: Vec<_> = (0..10).map(|i| row(&format!("n{i}"), if i < 4 { Silent } else { Reporting })).collect();
        let verdict = judge(&rows, 6, &[]);
        assert_eq!((verdict.word.as_str(), verdict.severity()), ("Partial", live::Severity::Warning));
        assert_eq!(text(&verdict), "4 of 10 nodes are silent: n0, n1, n2 and 1 more.");
        let links: Vec<_> =
            verdict.parts.iter().filter(|part| !part.node_id.is_empty()).map(|p| p.text.as_str()).collect();
        assert_eq!(links, ["n0", "n1", "n2"]);
    }

    #[test]
    fn a_missing_frame_is_partial_and_quiet() {
        let verdict = judge(&[row("a", Reporting), row("b", Reporting)], 1, &[]);
        assert_eq!((verdict.word.as_str(), verdict.severity()), ("Partial", live::Severity::Info));
        assert_eq!(text(&verdict), "1 of 2 nodes are in this second.");
    }

    #[test]
    fn two_machines_of_one_name_are_an_error() {
        let clash = v1::NameClash { node_id: "a".into(), address: "10.0.0.2:7".into(), ..Default::default() };
        let rows = [v1::NodeRow { name_clash: Some(clash), ..row("a", Reporting) }, row("b", Reporting)];
        let verdict = judge(&rows, 2, &[]);
        assert_eq!((verdict.word.as_str(), verdict.severity()), ("Degraded", live::Severity::Error));
        assert_eq!(text(&verdict), "two machines call themselves a.");
        assert!(text(&of("a", &rows, &[])).contains("at 10.0.0.2:7"));
        let told = v1::Alert { expression: NAME_CLASH.into(), ..alert("1", "mine", "a", Error) };
        assert!(!text(&judge(&rows, 2, &[told])).contains("two machines"), "an alert is about it");
        let mut fleet = fleet(&rows);
        let over = [row("a", Reporting), row("b", Reporting)].to_vec();
        fleet.apply(&[update(&v1::NodeTable { tick: 200, nodes: over, ..Default::default() })]).unwrap();
        assert!(fleet.hosts().iter().all(|host| host.clash().is_none()), "what is not said again is over");
    }

    #[test]
    fn what_lacks_is_named() {
        let rows = [row("a", Reporting), row("b", Reporting)];
        let lacking = v1::Completeness { nodes_missing: vec!["b".into()], ..completeness(&rows, 1) };
        let alerts = known(&[]).of(&Source::Cluster(Group::cluster()), &fleet(&rows));
        let verdict = of_cluster(Some(&lacking), &fleet(&rows), |_| true, &alerts, None);
        assert_eq!(text(&verdict), "1 of 2 nodes are in this second, without b.");
        let fault = v1::CollectorFault {
            collector: "memory".into(),
            trouble: v1::CollectorTrouble::Failed.into(),
            reason: "permission denied".into(),
            since_unix_s: 1,
        };
        let rows = [row("a", Reporting), v1::NodeRow { collector_faults: vec![fault], ..row("b", Reporting) }];
        let verdict = judge(&rows, 2, &[]);
        assert_eq!((verdict.word.as_str(), verdict.severity()), ("Partial", live::Severity::Warning));
        assert_eq!(text(&verdict), "a node that cannot read its host: b.");
        assert_eq!(text(&of("b", &rows, &[])), "memory cannot be read (permission denied).");
        let told = v1::Alert { expression: COLLECTOR_FAULTS.into(), ..alert("1", "mine", "b", Warning) };
        assert!(!text(&of("b", &rows, &[told])).contains("memory"), "an alert is about it");
        let lost = [v1::NodeRow { silent_reason: "its clock is 3600 s ahead".into(), ..row("a", Silent) }];
        assert_eq!(text(&of("a", &lost, &[])), "silent for 38 s: its clock is 3600 s ahead.");
    }

    #[test]
    fn no_node_is_no_data() {
        assert_eq!(judge(&[], 0, &[]).word, "No data");
        assert_eq!(of_cluster(None, &ShownFleet::default(), |_| true, &OfSource::default(), None).word, "No data");
        let rows = [row("b", Silent)];
        assert_eq!(
            (of("b", &rows, &[]).word.as_str(), text(&of("b", &rows, &[])).as_str()),
            ("No data", "silent for 38 s.")
        );
        assert_eq!(of("x", &rows, &[]).word, "No data");
    }

    #[test]
    fn a_moment_is_said_by_the_clock_and_then_by_days() {
        assert_eq!(since(54_060, 54_100), "since 15:01 UTC");
        assert_eq!(since(0, DAY), "for a day");
        assert_eq!(since(0, 5 * DAY + 7), "for 5 days");
    }
}
