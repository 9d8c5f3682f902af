//! Alertmanager's API v2: what is open with an end that lies ahead, what is over with the end it had.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Map, Value as Json, json};
use starling_alerts::severity_word;
use starling_proto::v1::{AlertSeverity, AlertState};

use super::{Speaker, webhook::link};
use crate::{
    message::{Item, Message},
    text::{cut, fired, time},
};

/// What is not heard of for so many resends is over: as Prometheus does.
const RESENDS: u32 = 4;
/// An alert of a severity that an episode no longer has is ended for so long, in seconds.
const ENDED_RESENT: u32 = 900;
/// Longest annotation, in bytes.
const ANNOTATION_MAX: usize = 2_000;

pub(super) fn body(message: &Message, speaker: &Speaker, now: u32, resend: u32) -> Json {
    if message.test {
        let labels = json!({"alertname": "StarlingTest", "severity": "info", "cluster": speaker.cluster});
        let annotations = json!({"summary": "Messages of this notifier arrive"});
        let alert =
            json!({"labels": labels, "annotations": annotations, "startsAt": time(now), "endsAt": time(now + 60)});
        return Json::Array(vec![alert]);
    }
    Json::Array(message.items.iter().flat_map(|item| alerts(item, speaker, now, resend)).collect())
}

/// The alert of an episode; before it those of the severities that it had and no longer has: to an Alertmanager each is
/// another alert.
fn alerts(item: &Item, speaker: &Speaker, now: u32, resend: u32) -> Vec<Json> {
    let episode = item.episode();
    let current = episode.severity();
    let mut all = Vec::new();
    let mut seen = HashSet::from([current]);
    for pair in episode.severities.windows(2).rev() {
        let ([before, after], Some(fired)) = (pair, episode.fired_tick) else { continue };
        let recent = after.tick > fired && after.tick.saturating_add(ENDED_RESENT) > now;
        if recent && seen.insert(before.severity()) {
            all.push(alert(item, speaker, before.severity(), after.tick));
        }
    }
    let ended = episode.ended_tick.filter(|_| episode.state() == AlertState::Cleared);
    let end = match (item.firing, ended) {
        (true, _) => now.saturating_add(RESENDS * resend),
        (false, Some(ended)) => ended,
        // It is open and no longer so bad that this receiver is to hear of it.
        (false, None) => now,
    };
    all.push(alert(item, speaker, current, end));
    all
}

/// A name of a label as Alertmanager takes it.
fn name(key: &str) -> String {
    let fits = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' };
    let name: String = key.chars().map(fits).collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) { format!("_{name}") } else { name }
}

fn alert(item: &Item, speaker: &Speaker, of: AlertSeverity, end: u32) -> Json {
    let (alert, episode) = (&*item.alert, item.episode());
    let set = |labels: &mut BTreeMap<String, String>, key: &str, value: &str| {
        if !value.is_empty() {
            labels.insert(key.to_owned(), value.to_owned());
        }
    };
    let mut labels = BTreeMap::new();
    for (key, value) in &*item.labels {
        set(&mut labels, &name(key), value);
    }
    labels.remove("rule");
    set(&mut labels, "alertname", &episode.rule);
    set(&mut labels, "severity", severity_word(of));
    set(&mut labels, "cluster", &speaker.cluster);
    let coverage = match (episode.nodes_reporting, episode.nodes_expected) {
        (Some(reporting), Some(expected)) => format!("{reporting} of {expected}"),
        _ => String::new(),
    };
    let annotations: Map<String, Json> = [
        ("summary", &alert.sentence),
        ("description", &alert.description),
        ("resolution", &alert.resolution),
        ("runbook_url", &alert.runbook),
        ("value", &alert.value_text),
        ("threshold", &alert.limit_text),
        ("since", &time(episode.since_tick)),
        ("coverage", &coverage),
        ("episode_key", &item.id.to_string()),
        ("sequence", &item.sequence.to_string()),
        ("acknowledged_by", &alert.acknowledgement.as_ref().map(|one| one.author.clone()).unwrap_or_default()),
    ]
    .into_iter()
    .filter(|(_, text)| !text.is_empty())
    .map(|(key, text)| (key.to_owned(), Json::String(cut(text, ANNOTATION_MAX))))
    .collect();
    let start = fired(episode);
    json!({
        "labels": labels,
        "annotations": annotations,
        "startsAt": time(start.min(end)),
        "endsAt": time(end),
        "generatorURL": link(speaker, episode),
    })
}
