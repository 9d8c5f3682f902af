//! The cluster: who answers, whose clock differs, who reaches whom, and which versions there are.

use std::collections::{BTreeMap, BTreeSet};

use starling_proto::{
    limits::EARLY_SECONDS,
    v1::{Aggregator, AggregatorState, ListAggregatorsResponse},
};

use crate::doctor::{
    facts::{Answer, ClockDifference, Dialled},
    finding::Finding,
};

/// Seconds are those of wall clocks: beyond this a node's come too late for the first view of them.
const CLOCK_NEAR_MS: i64 = 500;
/// Frames that are further ahead are refused.
const CLOCK_MOST_MS: i64 = EARLY_SECONDS as i64 * 1_000;

/// Everything that follows from what aggregators answered.
pub(crate) fn cluster(dialled: &[Dialled]) -> Vec<Finding> {
    let mut findings: Vec<Finding> = dialled.iter().flat_map(one).collect();
    let answers: BTreeMap<&str, &ListAggregatorsResponse> = dialled
        .iter()
        .filter_map(|one| one.answer.as_ref().ok()?.cluster.as_ref())
        .map(|list| (list.answered_by.as_str(), list))
        .collect();
    if answers.is_empty() {
        if dialled.iter().any(|one| one.answer.is_ok()) {
            let what = "who reaches whom was not asked: the certificate of a node may not";
            let text = format!("{what}. Run this on the host of an aggregator, or with --tls FOLDER");
            findings.push(Finding::ok("cluster", "members", text));
        }
        return findings;
    }
    findings.extend(names(&answers));
    findings.extend(links(&answers, dialled));
    findings.extend(versions(&answers));
    findings
}

fn one(dialled: &Dialled) -> Vec<Finding> {
    let subject = format!("{} as {}", dialled.address, dialled.by);
    let Answer { serving, clock, .. } = match &dialled.answer {
        Ok(answer) => answer,
        Err(error) => {
            let next = "is it running, does the address lead there, does a firewall stand between \
                        (docs/operations/security.md, \"Ports\")?";
            return vec![Finding::fault("aggregator", subject, format!("not reached: {error}"), next)];
        }
    };
    let took = format!("{:.0} ms", dialled.took.as_secs_f64() * 1_000.0);
    let mut findings = vec![match serving {
        Some(Ok(true)) => Finding::ok("aggregator", &subject, format!("serves, answered in {took}")),
        Some(Ok(false)) => Finding::fault(
            "aggregator",
            &subject,
            "answers and is not ready",
            "run this on its host, or ask its /ready for the reason",
        ),
        Some(Err(error)) => {
            Finding::fault("aggregator", &subject, format!("its health is not told: {error}"), "run this on its host")
        }
        None => Finding::warning("aggregator", &subject, "connected, and was not asked in time", "try again"),
    }];
    findings.extend(clock.map(|difference| clock_of(&subject, difference)));
    findings
}

fn clock_of(subject: &str, difference: ClockDifference) -> Finding {
    let ClockDifference { low_ms, high_ms } = difference;
    let least = low_ms.max(-high_ms).max(0);
    let side = if low_ms > 0 { "ahead of" } else { "behind" };
    let what = match least {
        0 => format!("in step with ours, within {:.1} s", (high_ms - low_ms) as f64 / 2_000.0),
        least => format!("differs by {:.1} s or more: it is {side} ours", least as f64 / 1_000.0),
    };
    let next = "set both hosts by NTP (chronyc tracking, timedatectl); seconds are those of wall clocks";
    match least {
        least if least > CLOCK_MOST_MS => {
            Finding::fault("clock", subject, format!("{what}; frames beyond {EARLY_SECONDS} s are not taken"), next)
        }
        least if least > CLOCK_NEAR_MS => Finding::warning("clock", subject, what, next),
        _ => Finding::ok("clock", subject, what),
    }
}

/// All must be of one cluster.
fn names(answers: &BTreeMap<&str, &ListAggregatorsResponse>) -> Option<Finding> {
    let names: BTreeSet<&str> = answers.values().map(|list| list.cluster.as_str()).collect();
    (names.len() > 1).then(|| {
        let each = answers.iter().map(|(who, list)| format!("{who}: {}", list.cluster));
        Finding::fault(
            "cluster",
            "names",
            format!("aggregators of several clusters answer: {}", each.collect::<Vec<_>>().join(", ")),
            "give all one `cluster`, and take the others out of `aggregators`",
        )
    })
}

fn state(member: &Aggregator) -> AggregatorState {
    AggregatorState::try_from(member.state).unwrap_or(AggregatorState::Unspecified)
}

/// Whether it is worth dialling.
pub(crate) fn is_there(member: &Aggregator) -> bool {
    !member.self_ && !member.grpc_address.is_empty()
}

/// Who reaches whom. Each pair is named once, by the one that can say why.
fn links(answers: &BTreeMap<&str, &ListAggregatorsResponse>, dialled: &[Dialled]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut cut: BTreeMap<(&str, &str), (&str, String)> = BTreeMap::new();
    let mut dead: BTreeMap<&str, (Vec<&str>, &Aggregator)> = BTreeMap::new();
    for (&who, list) in answers {
        for member in list.aggregators.iter().filter(|member| !member.self_) {
            let other = member.aggregator_id.as_str();
            if state(member) == AggregatorState::Dead {
                dead.entry(other).or_insert_with(|| (Vec::new(), member)).0.push(who);
            } else if member.linked == Some(false) {
                let known = cut.entry((who.min(other), who.max(other))).or_insert((who, member.link_error.clone()));
                if known.1.is_empty() && !member.link_error.is_empty() {
                    *known = (who, member.link_error.clone());
                }
            }
        }
        for &other in answers.keys().filter(|&&other| other != who) {
            if !list.aggregators.iter().any(|member| member.aggregator_id == other) {
                let what = format!("{who} does not know it, though it answers here: the cluster is split");
                let next = "gossip (UDP, gossip_listen) does not pass between them, or `cluster`, `seeds` or \
                            keys (`starling gossip keys list`) differ";
                findings.push(Finding::fault("link", other, what, next));
            }
        }
    }
    for ((one, two), (who, why)) in &cut {
        let why = if why.is_empty() { "no reason is known there" } else { why };
        findings.push(Finding::fault(
            "link",
            format!("{one} - {two}"),
            format!("{who} has no stream to the other: {why}"),
            "open grpc_listen (TCP) between both hosts, in the direction from the one whose name comes first",
        ));
    }
    for (other, (by, member)) in &dead {
        let by = by.join(", ");
        let answers_here = answers.contains_key(other)
            || dialled.iter().any(|one| one.answer.is_ok() && one.address == member.grpc_address);
        findings.push(match answers_here {
            true => Finding::fault(
                "link",
                *other,
                format!("{by} calls it dead, though it answers here"),
                format!(
                    "gossip does not pass: open {} (UDP) in both directions, compare `starling gossip keys list`",
                    member.gossip_address
                ),
            ),
            false => Finding::warning(
                "link",
                *other,
                format!("is gone, says {by}; it is listed for 15 minutes"),
                "start it again, or see docs/operations/runbooks.md, \"An aggregator is lost\"",
            ),
        });
    }
    if findings.is_empty() {
        let mut all: BTreeSet<&str> = answers.keys().copied().collect();
        all.extend(answers.values().flat_map(|list| &list.aggregators).map(|member| member.aggregator_id.as_str()));
        let list = all.into_iter().collect::<Vec<_>>().join(", ");
        findings.push(Finding::ok("link", list, "each sees and reaches the others, as far as they were asked"));
    }
    findings
}

/// Mixed versions are meant during an upgrade only.
fn versions(answers: &BTreeMap<&str, &ListAggregatorsResponse>) -> Option<Finding> {
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for member in answers.values().flat_map(|list| &list.aggregators) {
        if state(member) != AggregatorState::Dead && !member.version.is_empty() {
            versions.entry(member.version.as_str()).or_default().insert(member.aggregator_id.as_str());
        }
    }
    let list = |of: &BTreeSet<&str>| of.iter().copied().collect::<Vec<_>>().join(", ");
    match versions.len() {
        0 => None,
        1 => versions.first_key_value().map(|(version, of)| Finding::ok("version", list(of), *version)),
        _ => {
            let each = versions.iter().map(|(version, of)| format!("{version} ({})", list(of))).collect::<Vec<_>>();
            Some(Finding::warning(
                "version",
                "aggregators",
                format!("several versions: {}", each.join(", ")),
                "right during an upgrade; else upgrade the older ones (docs/operations/upgrade.md)",
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Level;
    use std::time::Duration;

    fn member(name: &str, me: bool) -> Aggregator {
        Aggregator {
            aggregator_id: name.into(),
            state: AggregatorState::Ready.into(),
            grpc_address: format!("{name}:7400"),
            gossip_address: format!("{name}:7401"),
            version: "1.0.0".into(),
            self_: me,
            linked: (!me).then_some(true),
            ..Aggregator::default()
        }
    }

    fn answered(name: &str, members: Vec<Aggregator>) -> Dialled {
        let cluster = ListAggregatorsResponse {
            aggregators: members,
            answered_by: name.into(),
            cluster: "c".into(),
            clock_unix_ms: 0,
        };
        let answer = Answer { serving: Some(Ok(true)), clock: None, cluster: Some(cluster) };
        Dialled {
            by: "starling-aggregator".into(),
            address: format!("{name}:7400"),
            answer: Ok(answer),
            took: Duration::ZERO,
        }
    }

    fn of<'a>(findings: &'a [Finding], check: &str) -> Vec<&'a Finding> {
        findings.iter().filter(|one| one.check == check).collect()
    }

    #[test]
    fn a_cluster_that_is_well_is_one_line() {
        let all = |me: &str| ["a", "b"].map(|name| member(name, name == me)).to_vec();
        let findings = cluster(&[answered("a", all("a")), answered("b", all("b"))]);
        assert!(findings.iter().all(|one| one.level == Level::Ok), "{findings:?}");
        assert_eq!(of(&findings, "link").len(), 1);
        assert_eq!(of(&findings, "version")[0].what, "1.0.0");
    }

    #[test]
    fn a_cut_pair_is_named_once_with_the_reason() {
        let cut =
            |name: &str, why: &str| Aggregator { linked: Some(false), link_error: why.into(), ..member(name, false) };
        let a = answered("a", vec![member("a", true), member("b", false), cut("c", "connection refused")]);
        let c = answered("c", vec![cut("a", ""), member("b", false), member("c", true)]);
        let findings = cluster(&[c, a]);
        let links = of(&findings, "link");
        assert_eq!(links.len(), 1, "{links:?}");
        assert_eq!((links[0].subject.as_str(), links[0].level), ("a - c", Level::Fault));
        assert!(links[0].what.contains("a has no stream") && links[0].what.contains("refused"), "{}", links[0]);
    }

    #[test]
    fn one_that_is_called_dead_and_answers_is_a_fault_of_gossip() {
        let dead = Aggregator { state: AggregatorState::Dead.into(), linked: None, ..member("b", false) };
        let a = answered("a", vec![member("a", true), dead]);
        let gone = cluster(std::slice::from_ref(&a));
        assert_eq!(of(&gone, "link")[0].level, Level::Warning);
        let b = answered("b", vec![member("a", false), member("b", true)]);
        let cut = cluster(&[a, b]);
        assert!(of(&cut, "link")[0].next.contains("b:7401 (UDP)"), "{:?}", of(&cut, "link"));
        assert_eq!(of(&cut, "link")[0].level, Level::Fault);
    }

    #[test]
    fn a_split_and_two_clusters_are_faults() {
        let mut b = answered("b", vec![member("b", true)]);
        let findings = cluster(&[answered("a", vec![member("a", true)]), b.clone()]);
        assert_eq!(of(&findings, "link").len(), 2, "each does not know the other");
        if let Ok(Answer { cluster: Some(list), .. }) = &mut b.answer {
            list.cluster = "other".into();
        }
        let findings = cluster(&[answered("a", vec![member("a", true)]), b]);
        assert_eq!(of(&findings, "cluster")[0].level, Level::Fault);
    }

    #[test]
    fn one_that_is_not_reached_is_a_fault_and_mixed_versions_a_warning() {
        let lost = Dialled { answer: Err("connection refused".into()), ..answered("c", Vec::new()) };
        let newer = Aggregator { version: "1.1.0".into(), ..member("b", false) };
        let findings = cluster(&[lost, answered("a", vec![member("a", true), newer])]);
        assert!(
            of(&findings, "aggregator")[0].to_string().starts_with("fault    aggregator: c:7400 as"),
            "{findings:?}"
        );
        let version = of(&findings, "version")[0];
        assert!(version.level == Level::Warning && version.what.contains("1.0.0 (a), 1.1.0 (b)"), "{version}");
    }

    #[test]
    fn clocks_are_compared_by_what_is_sure() {
        for (low_ms, high_ms, level, words) in [
            (-20, 30, Level::Ok, "in step"),
            (-900, 300, Level::Ok, "in step"),
            (400, 600, Level::Ok, "0.4 s or more: it is ahead of"),
            (900, 1_200, Level::Warning, "ahead of ours"),
            (-46_000, -45_000, Level::Fault, "45.0 s or more: it is behind ours"),
        ] {
            let finding = clock_of("a", ClockDifference { low_ms, high_ms });
            assert!(finding.level == level && finding.what.contains(words), "{finding}");
        }
    }

    #[test]
    fn a_node_alone_is_told_that_more_can_be_asked() {
        let answer = Answer { serving: Some(Ok(true)), ..Answer::default() };
        let findings = cluster(&[Dialled { answer: Ok(answer), ..answered("a", Vec::new()) }]);
        assert!(of(&findings, "cluster")[0].what.contains("--tls"), "{findings:?}");
    }
}
