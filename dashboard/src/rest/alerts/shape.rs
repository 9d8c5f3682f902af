//! Alerts, silences, rules and episodes as JSON.

use serde_json::{Map, Value, json};
use starling_proto::v1;

use crate::{
    hub::{OfSource, Standing},
    rest::{
        number::{Number, wide},
        time::{rfc3339, rfc3339_ms},
    },
};

/// "info", "warning", "error", "critical".
pub(in crate::rest) fn severity(from: v1::AlertSeverity) -> &'static str {
    match from {
        v1::AlertSeverity::Unspecified => "unknown",
        v1::AlertSeverity::Info => "info",
        v1::AlertSeverity::Warning => "warning",
        v1::AlertSeverity::Error => "error",
        v1::AlertSeverity::Critical => "critical",
    }
}

/// "cluster", "group", "node".
fn scope(from: v1::AlertScope) -> &'static str {
    match from {
        v1::AlertScope::Unspecified => "unknown",
        v1::AlertScope::Cluster => "cluster",
        v1::AlertScope::Group => "group",
        v1::AlertScope::Node => "node",
    }
}

/// Where an alert stands, for people: one that fires is "silenced" or "acknowledged" when it is quiet.
pub(in crate::rest) fn state(alert: &v1::Alert) -> &'static str {
    match alert.episode.as_ref().map_or(v1::AlertState::Unspecified, v1::AlertEpisode::state) {
        v1::AlertState::Unspecified => "unknown",
        v1::AlertState::Pending => "pending",
        v1::AlertState::Cleared => "cleared",
        v1::AlertState::Firing if !alert.silenced_by.is_empty() => "silenced",
        v1::AlertState::Firing if alert.acknowledgement.is_some() => "acknowledged",
        v1::AlertState::Firing => "firing",
    }
}

/// Words of [`state`], in the order an alert goes through them.
pub(in crate::rest) const STATES: [&str; 5] = ["pending", "firing", "acknowledged", "silenced", "cleared"];

fn outcome(from: v1::AlertOutcome) -> Option<&'static str> {
    match from {
        v1::AlertOutcome::Unspecified => None,
        v1::AlertOutcome::Recovered => Some("recovered"),
        v1::AlertOutcome::Passed => Some("passed"),
        v1::AlertOutcome::RuleChanged => Some("ruleChanged"),
        v1::AlertOutcome::Left => Some("left"),
        v1::AlertOutcome::Forgotten => Some("forgotten"),
        v1::AlertOutcome::Merged => Some("merged"),
    }
}

fn number(from: Option<f64>) -> Option<Number> {
    from.map(Number)
}

fn text(from: &str) -> Option<&str> {
    Some(from).filter(|text| !text.is_empty())
}

fn time(tick: u32) -> Option<String> {
    (tick > 0).then(|| rfc3339(tick))
}

/// The fields of the seed, and what a reader asks next. Numbers are in the base unit of their rule: shares 0 to 1, seconds,
/// bytes.
pub(in crate::rest) fn performance(alert: &v1::Alert) -> Value {
    Value::Object(short(alert))
}

fn short(alert: &v1::Alert) -> Map<String, Value> {
    let episode = alert.episode.clone().unwrap_or_default();
    let node = (episode.scope() == v1::AlertScope::Node).then_some(&episode.subject);
    let attributes: Map<String, Value> =
        episode.attributes.iter().map(|is| (is.key.clone(), is.value.clone().into())).collect();
    let value = json!({
        "id": episode.episode_id,
        "severity": severity(episode.severity()),
        "metric": episode.rule,
        "threshold": number(episode.limit),
        "currentValue": number(episode.value),
        "timestamp": rfc3339(episode.fired_tick.unwrap_or(episode.since_tick)),
        "description": alert.description,
        "resolution": text(&alert.resolution),
        "state": state(alert),
        "acknowledgedBy": alert.acknowledgement.as_ref().map(|is| &is.author),
        "sentence": alert.sentence,
        "scope": scope(episode.scope()),
        "subject": text(&episode.subject),
        "node": node,
        "attributes": attributes,
        "since": rfc3339(episode.since_tick),
        "worst": number(episode.worst),
        "unit": alert.unit,
    });
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// All that is known.
pub(in crate::rest) fn alert(from: &v1::Alert) -> Value {
    let episode = from.episode.clone().unwrap_or_default();
    let mut all = short(from);
    let more = json!({
        "firedAt": episode.fired_tick.and_then(time),
        "endedAt": episode.ended_tick.and_then(time),
        "outcome": outcome(episode.outcome()),
        "judgedAt": time(episode.judged_tick),
        "valueAtFiring": number(episode.value_at_firing),
        "valueBetween": episode.value_low.zip(episode.value_high).map(|(low, high)| [Number(low), Number(high)]),
        "clearThreshold": number(episode.clear),
        "direction": if from.above { "above" } else { "below" },
        "currentText": text(&from.value_text),
        "worstText": text(&from.worst_text),
        "thresholdText": text(&from.limit_text),
        "goodSince": episode.good_since_tick.and_then(time),
        "noDataSince": episode.absent_since_tick.and_then(time),
        "severities": episode
            .severities
            .iter()
            .map(|is| json!({ "since": rfc3339(is.tick), "severity": severity(is.severity()) }))
            .collect::<Vec<_>>(),
        "detail": text(&episode.detail),
        "crossings": episode.crossings,
        "nodesReporting": episode.nodes_reporting,
        "nodesExpected": episode.nodes_expected,
        "sequence": episode.sequence,
        "expression": from.expression,
        "runbook": text(&from.runbook),
        "labels": from.labels,
        "acknowledgement": from.acknowledgement.as_ref().map(|is| json!({
            "who": is.author,
            "comment": is.comment,
            "at": rfc3339_ms(is.at_unix_ms),
            "until": is.until_tick.map(rfc3339),
        })),
        "silencedBy": from.silenced_by,
        "children": from.children,
        "heldBackBy": text(&from.held_back_by),
        "chart": from.chart.as_ref().map(chart),
        "parent": text(&from.parent),
        "ruleFingerprint": wide(episode.rule_fingerprint),
    });
    if let Value::Object(more) = more {
        all.extend(more);
    }
    Value::Object(all)
}

/// The history that a value is made of.
fn chart(from: &v1::AlertChart) -> Value {
    let series =
        |is: &v1::AlertChartSeries| json!({ "name": is.name, "attributes": is.attributes, "statistic": is.statistic });
    json!({
        "series": from.series.iter().map(series).collect::<Vec<_>>(),
        "limit": number(from.limit),
        "unit": from.unit,
    })
}

/// What is open, whether that is known, and as of when.
pub(in crate::rest) fn standing(of: &OfSource) -> Map<String, Value> {
    let unavailable = match &of.standing {
        Standing::Followed => None,
        Standing::Waiting => Some("the aggregator has not reported them yet".to_owned()),
        Standing::Absent(reason) => Some(reason.clone()),
    };
    let fields = json!({
        "judgedAt": time(of.judged_tick),
        "rules": of.rules,
        "open": of.open().count(),
        "leftOut": of.left_out,
        "unavailable": unavailable,
    });
    match fields {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// A silence.
pub(super) fn silence(from: &v1::AlertSilence) -> Value {
    json!({
        "id": text(&from.silence_id),
        "matchers": from.matchers.iter().map(|is| json!({
            "key": is.key, "value": is.value, "regex": is.regex, "negate": is.negate,
        })).collect::<Vec<_>>(),
        "who": from.author,
        "comment": from.comment,
        "starts": rfc3339(from.starts_tick),
        "ends": rfc3339(from.ends_tick),
        "at": rfc3339_ms(from.at_unix_ms),
    })
}

/// A message that a receiver did not take.
pub(super) fn letter(from: &v1::DeadLetter) -> Value {
    let item = |is: &v1::DeadLetterItem| json!({ "id": is.episode_id, "what": is.what, "sentence": is.sentence });
    json!({
        "aggregator": from.aggregator_id,
        "notifier": from.notifier,
        "id": from.letter_id,
        "givenUpAt": rfc3339_ms(from.at_unix_ms),
        "reason": from.reason,
        "attempts": from.attempts,
        "episodes": from.episodes,
        "alerts": from.items.iter().map(item).collect::<Vec<_>>(),
    })
}

/// Who had dead letters sent again.
pub(super) fn resend(from: &v1::DeadLetterResend) -> Value {
    json!({
        "who": from.author,
        "at": rfc3339_ms(from.at_unix_ms),
        "notifier": from.notifier,
        "aggregator": text(&from.aggregator_id),
        "id": (from.letter_id > 0).then_some(from.letter_id),
        "resent": from.resent,
    })
}

/// A rule.
pub(super) fn rule(from: &v1::AlertRule) -> Value {
    let levels: Vec<_> = from
        .levels
        .iter()
        .map(|is| json!({ "severity": severity(is.severity()), "fire": number(is.fire), "clear": number(is.clear) }))
        .collect();
    json!({
        "name": from.name,
        "file": text(&from.file),
        "scope": scope(from.scope()),
        "expression": from.expression,
        "when": text(&from.when),
        "by": from.by,
        "direction": if from.above { "above" } else { "below" },
        "levels": levels,
        "everySeconds": from.every_seconds,
        "lastError": from.last_error,
        "evaluationsMissed": from.evaluations_missed,
        "forSeconds": from.for_seconds,
        "holdSeconds": from.hold_seconds,
        "onPartial": from.on_partial,
        "labels": from.labels,
        "summary": from.summary,
        "description": from.description,
        "resolution": text(&from.resolution),
        "runbook": text(&from.runbook),
        "open": from.open,
        "unit": from.unit,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_has_the_fields_of_the_seed() {
        let episode = v1::AlertEpisode {
            episode_id: "0123456789abcdef".into(),
            rule: "cpu-busy".into(),
            scope: v1::AlertScope::Node.into(),
            subject: "web-1".into(),
            state: v1::AlertState::Firing.into(),
            severity: v1::AlertSeverity::Warning.into(),
            since_tick: 1_700_000_000,
            fired_tick: Some(1_700_000_060),
            value: Some(0.97),
            worst: Some(1.0),
            limit: Some(0.95),
            ..Default::default()
        };
        let acknowledgement = v1::AlertAcknowledgement { author: "op-1".into(), ..Default::default() };
        let alert = v1::Alert {
            episode: Some(episode),
            unit: "share".into(),
            acknowledgement: Some(acknowledgement),
            ..Default::default()
        };
        let json = performance(&alert);
        for (field, wanted) in [
            ("id", json!("0123456789abcdef")),
            ("severity", json!("warning")),
            ("metric", json!("cpu-busy")),
            ("threshold", json!(0.95)),
            ("currentValue", json!(0.97)),
            ("timestamp", json!("2023-11-14T22:14:20.000Z")),
            ("resolution", Value::Null),
            ("state", json!("acknowledged")),
            ("acknowledgedBy", json!("op-1")),
            ("node", json!("web-1")),
            ("since", json!("2023-11-14T22:13:20.000Z")),
            ("worst", json!(1)),
        ] {
            assert_eq!(json[field], wanted, "{field}: {json}");
        }
        let silenced = v1::Alert { silenced_by: vec!["s1".into()], ..alert };
        assert_eq!(performance(&silenced)["state"], "silenced");
    }
}
