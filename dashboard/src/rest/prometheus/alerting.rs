//! `rules` and `alerts` in Prometheus's form, for what lists alerts of a data source: Grafana's alert list among them.

use std::collections::BTreeMap;

use axum::extract::{Query, State};
use serde_json::{Map, Value, json};
use starling_proto::v1;

use super::{Outcome, Refused, json_of, unreached};
use crate::{
    hub::{OfSource, Source, alert_state},
    rest::{
        alerts::{self, severity},
        parameters::Parameters,
        readers::Readers,
        time::{rfc3339, rfc3339_ms},
    },
};
use starling_proto::group::Group;

/// The group of rules that stand in no file.
const DEFAULTS: &str = "default";

fn fires(alert: &v1::Alert) -> bool {
    alert_state(alert) == v1::AlertState::Firing
}

/// Prometheus knows pending and firing only.
fn listed(of: &OfSource) -> impl Iterator<Item = &v1::Alert> {
    let open = |alert: &&v1::Alert| fires(alert) || alert_state(alert) == v1::AlertState::Pending;
    of.list.iter().map(|alert| &**alert).filter(open)
}

/// An alert: its labels are those of its rule, its subject and its attributes, with the underscores that Prometheus wants.
fn alert(from: &v1::Alert) -> Value {
    let episode = from.episode.clone().unwrap_or_default();
    let mut labels: BTreeMap<String, String> =
        from.labels.iter().map(|(key, value)| (plain(key), value.clone())).collect();
    labels.extend(episode.attributes.iter().map(|is| (plain(&is.key), is.value.clone())));
    match episode.scope() {
        v1::AlertScope::Node => drop(labels.insert("node".to_owned(), episode.subject.clone())),
        v1::AlertScope::Group => drop(labels.insert("group".to_owned(), episode.subject.clone())),
        v1::AlertScope::Cluster | v1::AlertScope::Unspecified => {}
    }
    labels.insert("alertname".to_owned(), episode.rule.clone());
    labels.insert("severity".to_owned(), severity(episode.severity()).to_owned());
    json!({
        "labels": labels,
        "annotations": annotations(&from.sentence, &from.description, &from.resolution, &from.runbook),
        "state": if fires(from) { "firing" } else { "pending" },
        "activeAt": rfc3339(episode.since_tick),
        // A text, as Prometheus has it.
        "value": format!("{:e}", episode.value.unwrap_or(f64::NAN)),
    })
}

/// A name as Prometheus allows it.
fn plain(key: &str) -> String {
    let ok = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let name: String = key.chars().map(|c| if ok(c) { c } else { '_' }).collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) { format!("_{name}") } else { name }
}

fn annotations(summary: &str, description: &str, resolution: &str, runbook: &str) -> Value {
    let texts =
        [("summary", summary), ("description", description), ("resolution", resolution), ("runbook_url", runbook)];
    let texts: Map<String, Value> =
        texts.into_iter().filter(|(_, text)| !text.is_empty()).map(|(key, text)| (key.into(), text.into())).collect();
    Value::Object(texts)
}

async fn known(readers: &Readers) -> Result<OfSource, Refused> {
    let source = Source::Cluster(Group::cluster());
    readers.wait(|hub| Ok(Some(hub.alerts(&source)))).await.map_err(|error| unreached(&error))
}

/// What is pending or firing.
pub(super) async fn alerts(State(readers): State<Readers>) -> Outcome {
    let known = known(&readers).await?;
    Ok(json_of(&json!({ "alerts": listed(&known).map(alert).collect::<Vec<_>>() })))
}

/// The rules by the file they stand in, each with its alerts. `type=record` has none.
pub(super) async fn rules(State(readers): State<Readers>, Query(query): Query<Parameters>) -> Outcome {
    let known = known(&readers).await?;
    let answer = alerts::ask(&readers, async |mut client| client.list_rules(v1::ListRulesRequest {}).await).await;
    let answer = answer.map_err(|error| unreached(&error))?;
    let mut of_rule: BTreeMap<&str, Vec<&v1::Alert>> = BTreeMap::new();
    for alert in listed(&known) {
        of_rule.entry(alert.episode.as_ref().map_or("", |is| &is.rule)).or_default().push(alert);
    }
    let judged = rfc3339_ms(u64::from(known.judged_tick) * 1_000);
    // Those of a file that are judged each second, and those that are asked in one period.
    let mut files: BTreeMap<(&str, u32), Vec<Value>> = BTreeMap::new();
    if query.get("type") != Some("record") {
        for from in &answer.rules {
            let open = of_rule.get(from.name.as_str()).map_or(&[][..], Vec::as_slice);
            files.entry((&from.file, from.every_seconds.unwrap_or(1))).or_default().push(rule(from, open, &judged));
        }
    }
    let groups: Vec<_> = files
        .into_iter()
        .map(|((file, every), rules)| {
            let name = if file.is_empty() { DEFAULTS } else { file };
            json!({
                "name": if every == 1 { name.to_owned() } else { format!("{name}, every {every} s") },
                "file": file,
                "interval": every,
                "limit": 0,
                "rules": rules,
                "evaluationTime": 0,
                "lastEvaluation": judged,
            })
        })
        .collect();
    Ok(json_of(&json!({ "groups": groups })))
}

fn rule(from: &v1::AlertRule, open: &[&v1::Alert], judged: &str) -> Value {
    let state = match () {
        () if open.iter().any(|is| fires(is)) => "firing",
        () if !open.is_empty() => "pending",
        () => "inactive",
    };
    let mut labels: BTreeMap<String, String> =
        from.labels.iter().map(|(key, value)| (plain(key), value.clone())).collect();
    // Of several levels the least: an alert has its own.
    if let Some(level) = from.levels.first() {
        labels.insert("severity".to_owned(), severity(level.severity()).to_owned());
    }
    json!({
        "state": state,
        "name": from.name,
        "query": from.expression,
        "duration": from.for_seconds(),
        "keepFiringFor": from.hold_seconds(),
        "labels": labels,
        "annotations": annotations(&from.summary, &from.description, &from.resolution, &from.runbook),
        "alerts": open.iter().map(|is| alert(is)).collect::<Vec<_>>(),
        "health": if from.last_error.is_empty() { "ok" } else { "err" },
        "lastError": from.last_error,
        "evaluationTime": f64::from(from.evaluation_ms.unwrap_or(0)) / 1e3,
        "lastEvaluation": from.evaluated_tick.map_or_else(|| judged.to_owned(), rfc3339),
        "type": "alerting",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_prometheus_allows() {
        for (is, wanted) in [
            ("system.filesystem.mountpoint", "system_filesystem_mountpoint"),
            ("9a", "_9a"),
            ("ok_1", "ok_1"),
            ("é", "_"),
        ] {
            assert_eq!(plain(is), wanted);
        }
    }

    #[test]
    fn a_query_that_fails_is_no_healthy_rule() {
        let query = v1::AlertRule { name: "q".into(), every_seconds: Some(30), ..Default::default() };
        let well = v1::AlertRule { evaluated_tick: Some(1_800_000_000), evaluation_ms: Some(1_500), ..query.clone() };
        let json = rule(&well, &[], "judged");
        assert_eq!(
            (&json["health"], &json["lastError"], &json["evaluationTime"]),
            (&json!("ok"), &json!(""), &json!(1.5))
        );
        assert_eq!(json["lastEvaluation"], rfc3339(1_800_000_000));
        let json = rule(&v1::AlertRule { last_error: "execution: too much".into(), ..query }, &[], "judged");
        assert_eq!((&json["health"], &json["lastError"]), (&json!("err"), &json!("execution: too much")));
    }

    #[test]
    fn an_alert_has_its_subject_among_its_labels() {
        let attribute = v1::AlertAttribute { key: "a.b".into(), value: "c".into() };
        let episode = v1::AlertEpisode {
            rule: "cpu-busy".into(),
            scope: v1::AlertScope::Node.into(),
            subject: "web-1".into(),
            attributes: vec![attribute],
            state: v1::AlertState::Pending.into(),
            severity: v1::AlertSeverity::Warning.into(),
            value: Some(0.97),
            ..Default::default()
        };
        let json = alert(&v1::Alert { episode: Some(episode), ..Default::default() });
        let labels = json!({"alertname": "cpu-busy", "severity": "warning", "node": "web-1", "a_b": "c"});
        assert_eq!((&json["labels"], &json["state"], &json["value"]), (&labels, &json!("pending"), &json!("9.7e-1")));
    }
}
