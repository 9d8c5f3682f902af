//! The one sentence about the state and its cause.
//!
//! | word | when |
//! |---|---|
//! | No data | no node is expected, or the node asked for is silent or stopped |
//! | Degraded | a limit below is broken |
//! | Partial | nodes are silent, missing in this second, or cannot read their host |
//! | Healthy | none of these |
//!
//! The worst word stands in front; the sentence names every cause. These are simple rules over live data; they are not
//! alerts, and have no state but the count of seconds in a row that the fleet keeps.

use starling_proto::{live, v1};

use super::{
    faults,
    fleet::{Host, ShownFleet},
    limits::{ERROR_RATIO_MAX, ERROR_RATIO_SEVERE, HOLD_SECONDS, SILENT_SEVERE},
    minute::Errors,
};

/// Nodes named before "and n more".
const NAMES_MAX: usize = 3;

/// The verdict on the cluster, or on the nodes for which `member` holds.
pub(crate) fn of_cluster(
    completeness: Option<&v1::Completeness>,
    fleet: &ShownFleet,
    member: impl Fn(&Host) -> bool,
    errors: Errors,
) -> live::Verdict {
    let rows: Vec<_> = fleet.hosts().iter().filter(|row| member(row)).collect();
    let expected = completeness.map_or(0, |is| is.nodes_expected());
    let reporting = completeness.map_or(0, |is| is.nodes_reporting());
    if expected == 0 && reporting == 0 {
        return Draft::default().no_data(live::Severity::Info, "no node has reported in the last 15 minutes.");
    }
    let mut draft = Draft::default();
    let over = |is: &dyn Fn(&Host) -> bool| -> Vec<String> {
        rows.iter().filter(|row| is(row)).map(|row| row.id().to_owned()).collect()
    };
    let namesakes = over(&|row| row.clash().is_some());
    if !namesakes.is_empty() {
        draft.cause(Word::Degraded, live::Severity::Error, "two machines call themselves ".to_owned());
        draft.name(&namesakes);
    }
    draft.nodes("CPU above 95% on ", &over(&|row| row.hot().cpu >= HOLD_SECONDS));
    draft.nodes("memory above 95% on ", &over(&|row| row.hot().memory >= HOLD_SECONDS));
    draft.errors(errors);

    let silent = over(&|row| row.state() == v1::NodeState::Silent);
    if !silent.is_empty() {
        let share = silent.len() as f64 / f64::from(expected.max(1));
        let severity = if share >= SILENT_SEVERE { live::Severity::Error } else { live::Severity::Warning };
        draft.cause(
            Word::Partial,
            severity,
            format!("{} of {expected} {} silent: ", silent.len(), are(silent.len(), expected)),
        );
        draft.name(&silent);
    } else if reporting < expected {
        let text = format!("{reporting} of {expected} nodes are in this second");
        draft.cause(Word::Partial, live::Severity::Info, text);
        let missing = completeness.map_or(&[][..], |is| &is.nodes_missing);
        if !missing.is_empty() {
            draft.text(", without ");
            draft.name(missing);
        }
    }
    let blind = over(&|row| row.state() == v1::NodeState::Reporting && !row.entry().collector_faults.is_empty());
    if !blind.is_empty() {
        let lead =
            if blind.len() == 1 { "a node that cannot read its host: " } else { "nodes that cannot read their host: " };
        draft.cause(Word::Partial, live::Severity::Warning, lead.to_owned());
        draft.name(&blind);
    }
    draft.finish(match expected {
        1 => "the node reports, nothing is above its limit.".to_owned(),
        _ => format!("all {expected} nodes report, nothing is above its limit."),
    })
}

/// The verdict on one node. `row` is absent when the table does not have it.
pub(crate) fn of_node(row: Option<&Host>, table_tick: u32, errors: Errors) -> live::Verdict {
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
    if row.clash().is_some() {
        draft.cause(Word::Degraded, live::Severity::Error, faults::clash_in_words(row));
    }
    let hot = row.hot();
    if hot.cpu >= HOLD_SECONDS {
        draft.cause(Word::Degraded, live::Severity::Warning, format!("CPU above 95% for {} s", hot.cpu));
    }
    if hot.memory >= HOLD_SECONDS {
        draft.cause(Word::Degraded, live::Severity::Warning, format!("memory above 95% for {} s", hot.memory));
    }
    draft.errors(errors);
    if !row.entry().collector_faults.is_empty() {
        draft.cause(Word::Partial, live::Severity::Warning, faults::in_words(&row.entry().collector_faults));
    }
    draft.finish("the node reports, nothing is above its limit.".to_owned())
}

/// The state of one protocol: its failed share over a minute. With too few requests to say all is well.
pub(crate) fn of_protocol(errors: Errors) -> live::Severity {
    match errors.ratio() {
        Some(ratio) if ratio > ERROR_RATIO_SEVERE => live::Severity::Error,
        Some(ratio) if ratio > ERROR_RATIO_MAX => live::Severity::Warning,
        _ => live::Severity::Ok,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
enum Word {
    #[default]
    Healthy,
    Partial,
    Degraded,
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
        self.parts.push(live::VerdictPart { text: text.into(), node_id: String::new() });
    }

    fn cause(&mut self, word: Word, severity: live::Severity, text: String) {
        let text = if self.parts.is_empty() { text } else { format!("; {text}") };
        self.text(text);
        self.word = self.word.max(word);
        self.severity = self.severity.max(Some(severity));
    }

    fn nodes(&mut self, lead: &str, names: &[String]) {
        if !names.is_empty() {
            self.cause(Word::Degraded, live::Severity::Warning, lead.to_owned());
            self.name(names);
        }
    }

    fn errors(&mut self, errors: Errors) {
        if let Some(ratio) = errors.ratio().filter(|&ratio| ratio > ERROR_RATIO_MAX) {
            let severity = if ratio > ERROR_RATIO_SEVERE { live::Severity::Error } else { live::Severity::Warning };
            let text = format!("{:.1}% of the requests of the last minute failed", ratio * 100.0);
            self.cause(Word::Degraded, severity, text);
        }
    }

    fn name(&mut self, names: &[String]) {
        for (place, name) in names.iter().take(NAMES_MAX).enumerate() {
            if place > 0 {
                self.text(", ");
            }
            self.parts.push(live::VerdictPart { text: name.clone(), node_id: name.clone() });
        }
        if names.len() > NAMES_MAX {
            self.text(format!(" and {} more", names.len() - NAMES_MAX));
        }
    }

    fn finish(mut self, healthy: String) -> live::Verdict {
        let word = match self.word {
            Word::Healthy => "Healthy",
            Word::Partial => "Partial",
            Word::Degraded => "Degraded",
        };
        self.text(if self.word == Word::Healthy { healthy } else { ".".to_owned() });
        live::Verdict {
            severity: self.severity.unwrap_or(live::Severity::Ok).into(),
            word: word.to_owned(),
            parts: self.parts,
        }
    }

    fn no_data(mut self, severity: live::Severity, text: &str) -> live::Verdict {
        self.text(text);
        live::Verdict { severity: severity.into(), word: "No data".to_owned(), parts: self.parts }
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
    use starling_testkit::update;

    fn row(name: &str, state: v1::NodeState, cpu: f64) -> v1::NodeRow {
        v1::NodeRow {
            node_id: name.into(),
            state: state.into(),
            cpu_utilization_ratio: Some(cpu),
            ..Default::default()
        }
    }

    fn fleet(rows: &[v1::NodeRow]) -> ShownFleet {
        let mut fleet = ShownFleet::default();
        for tick in 101..=100 + HOLD_SECONDS {
            fleet.apply(&[update(&v1::NodeTable { tick, nodes: rows.to_vec(), ..Default::default() })]).unwrap();
        }
        fleet
    }

    fn judge(rows: &[v1::NodeRow], reporting: u32, errors: Errors) -> live::Verdict {
        let completeness = v1::Completeness {
            nodes_reporting: Some(reporting),
            nodes_expected: Some(u32::try_from(rows.len()).unwrap()),
            ..Default::default()
        };
        of_cluster(Some(&completeness), &fleet(rows), |_| true, errors)
    }

    use v1::NodeState::{Reporting, Silent};

    #[test]
    fn all_is_well() {
        let verdict = judge(&[row("a", Reporting, 0.2), row("b", Reporting, 0.2)], 2, Errors::default());
        assert_eq!((verdict.word.as_str(), verdict.severity()), ("Healthy", live::Severity::Ok));
        assert_eq!(text(&verdict), "all 2 nodes report, nothing is above its limit.");
    }

    #[test]
    fn silent_nodes_are_named_and_linked() {
        let rows: Vec<_> =
            (0..10).map(|i| row(&format!("n{i}"), if i < 4 { Silent } else { Reporting }, 0.1)).collect();
        let verdict = judge(&rows, 6, Errors::default());
        assert_eq!((verdict.word.as_str(), verdict.severity()), ("Partial", live::Severity::Warning));
        assert_eq!(text(&verdict), "4 of 10 nodes are silent: n0, n1, n2 and 1 more.");
        let links: Vec<_> =
            verdict.parts.iter().filter(|part| !part.node_id.is_empty()).map(|p| p.text.as_str()).collect();
        assert_eq!(links, ["n0", "n1", "n2"]);
        let verdict = judge(&rows[..5], 1, Errors::default());
        assert_eq!(verdict.severity(), live::Severity::Error, "4 of 5 are silent");
    }

    #[test]
    fn a_missing_frame_is_partial_and_quiet() {
        let verdict = judge(&[row("a", Reporting, 0.2), row("b", Reporting, 0.2)], 1, Errors::default());
        assert_eq!((verdict.word.as_str(), verdict.severity()), ("Partial", live::Severity::Info));
        assert_eq!(text(&verdict), "1 of 2 nodes are in this second.");
    }

    #[test]
    fn two_machines_of_one_name_are_an_error() {
        let clash = v1::NameClash { node_id: "a".into(), address: "10.0.0.2:7".into(), ..Default::default() };
        let rows = [v1::NodeRow { name_clash: Some(clash), ..row("a", Reporting, 0.2) }, row("b", Reporting, 0.2)];
        let verdict = judge(&rows, 2, Errors::default());
        assert_eq!((verdict.word.as_str(), verdict.severity()), ("Degraded", live::Severity::Error));
        assert_eq!(text(&verdict), "two machines call themselves a.");
        assert!(text(&of_node(fleet(&rows).host("a"), 105, Errors::default())).contains("at 10.0.0.2:7"));
        let mut fleet = fleet(&rows);
        let over = [row("a", Reporting, 0.2), row("b", Reporting, 0.2)].to_vec();
        fleet.apply(&[update(&v1::NodeTable { tick: 200, nodes: over, ..Default::default() })]).unwrap();
        assert!(fleet.hosts().iter().all(|host| host.clash().is_none()), "what is not said again is over");
    }

    #[test]
    fn what_lacks_is_named() {
        let rows = [row("a", Reporting, 0.2), row("b", Reporting, 0.2)];
        let completeness = v1::Completeness {
            nodes_reporting: Some(1),
            nodes_expected: Some(2),
            nodes_missing: vec!["b".into()],
            ..Default::default()
        };
        let verdict = of_cluster(Some(&completeness), &fleet(&rows), |_| true, Errors::default());
        assert_eq!(text(&verdict), "1 of 2 nodes are in this second, without b.");
        let fault = v1::CollectorFault {
            collector: "memory".into(),
            trouble: v1::CollectorTrouble::Failed.into(),
            reason: "permission denied".into(),
            since_unix_s: 1,
        };
        let rows =
            [row("a", Reporting, 0.2), v1::NodeRow { collector_faults: vec![fault], ..row("b", Reporting, 0.2) }];
        let verdict = judge(&rows, 2, Errors::default());
        assert_eq!((verdict.word.as_str(), verdict.severity()), ("Partial", live::Severity::Warning));
        assert_eq!(text(&verdict), "a node that cannot read its host: b.");
        let of_b = of_node(fleet(&rows).host("b"), 100, Errors::default());
        assert_eq!(text(&of_b), "memory cannot be read (permission denied).");
        let lost = [v1::NodeRow { silent_reason: "its clock is 3600 s ahead".into(), ..row("a", Silent, 0.0) }];
        assert_eq!(
            text(&of_node(fleet(&lost).host("a"), 138, Errors::default())),
            "silent for 71 s: its clock is 3600 s ahead."
        );
    }

    #[test]
    fn limits_degrade_and_every_cause_is_reported() {
        let rows = [row("a", Reporting, 0.99), row("b", Silent, 0.0), row("c", Reporting, 0.1)];
        let verdict = judge(&rows, 2, Errors { requests: 1_000.0, errors: 23.0 });
        assert_eq!((verdict.word.as_str(), verdict.severity()), ("Degraded", live::Severity::Warning));
        assert_eq!(
            text(&verdict),
            "CPU above 95% on a; 2.3% of the requests of the last minute failed; 1 of 3 nodes is silent: b."
        );
        let verdict = judge(&rows, 2, Errors { requests: 1_000.0, errors: 51.0 });
        assert_eq!(verdict.severity(), live::Severity::Error);
    }

    #[test]
    fn few_requests_say_nothing() {
        let rows = [row("a", Reporting, 0.1)];
        assert_eq!(judge(&rows, 1, Errors { requests: 5.0, errors: 5.0 }).word, "Healthy");
    }

    #[test]
    fn no_node_is_no_data() {
        assert_eq!(judge(&[], 0, Errors::default()).word, "No data");
        assert_eq!(of_cluster(None, &ShownFleet::default(), |_| true, Errors::default()).word, "No data");
    }

    #[test]
    fn one_node() {
        let rows = [row("a", Reporting, 0.99), row("b", Silent, 0.0)];
        let fleet = fleet(&rows);
        let of = |name: &str| of_node(fleet.host(name), 100 + HOLD_SECONDS, Errors::default());
        assert_eq!(text(&of("a")), "CPU above 95% for 5 s.");
        assert_eq!(text(&of("b")), "silent for 38 s.");
        assert_eq!(of("b").word, "No data");
        assert_eq!(of("x").word, "No data");
    }

    #[test]
    fn protocols_are_judged_by_their_failures() {
        let of = |requests, errors| of_protocol(Errors { requests, errors });
        assert_eq!(of(0.0, 0.0), live::Severity::Ok);
        assert_eq!(of(100.0, 1.0), live::Severity::Ok);
        assert_eq!(of(100.0, 2.0), live::Severity::Warning);
        assert_eq!(of(100.0, 6.0), live::Severity::Error);
        assert_eq!(of(20.0, 1.0), live::Severity::Ok, "one failure of twenty is no ratio");
    }
}
