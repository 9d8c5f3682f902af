//! Our own JSON. `docs/alerts.md` describes it.

use serde_json::{Value as Json, json};
use starling_alerts::{scope_word, severity_word};
use starling_proto::v1::{Alert, AlertEpisode, AlertOutcome, AlertState};

use super::Speaker;
use crate::{
    message::{Item, Message},
    text::{cut, time, title},
};

/// Longest text of one episode, in bytes: 500 episodes with four of them stay below 1 MiB with what else they hold.
const TEXT_MAX: usize = 400;
/// Of a message about few episodes.
const LONG_TEXT_MAX: usize = 4_000;
/// Episodes whose texts may be long.
const FEW: usize = 20;

pub(super) fn body(message: &Message, speaker: &Speaker, now: u32) -> Json {
    let text_max = if message.items.len() <= FEW { LONG_TEXT_MAX } else { TEXT_MAX };
    let alerts: Vec<Json> = message.items.iter().map(|item| alert(item, speaker, text_max)).collect();
    let still = |alert: &std::sync::Arc<Alert>| {
        let episode = alert.episode.clone().unwrap_or_default();
        json!({"episode_key": episode.episode_id, "subject": episode.subject, "rule": episode.rule})
    };
    let group = message.group.as_ref().map(|group| {
        json!({
            "by": group.by.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
            "open": group.open,
            "still_open": group.still.iter().map(still).collect::<Vec<_>>(),
        })
    });
    json!({
        "version": 1,
        "cluster": speaker.cluster,
        "aggregator": speaker.aggregator,
        "key": message.dedup_key(),
        "state": if message.is_firing() { "firing" } else { "cleared" },
        "title": cut(&title(message), 1_000),
        "sent": time(now),
        "test": message.test,
        "attempt": message.attempts + 1,
        "page_url": speaker.page_url,
        "group": group,
        "alerts": alerts,
    })
}

const fn outcome(outcome: AlertOutcome) -> Option<&'static str> {
    Some(match outcome {
        AlertOutcome::Unspecified => return None,
        AlertOutcome::Recovered => "recovered",
        AlertOutcome::Passed => "passed",
        AlertOutcome::RuleChanged => "rule_changed",
        AlertOutcome::Left => "left",
        AlertOutcome::Forgotten => "forgotten",
        AlertOutcome::Merged => "merged",
    })
}

/// Where the page shows an episode.
pub(super) fn link(speaker: &Speaker, episode: &AlertEpisode) -> String {
    if speaker.page_url.is_empty() {
        String::new()
    } else {
        format!("{}/alerts/{}", speaker.page_url, episode.episode_id)
    }
}

fn alert(item: &Item, speaker: &Speaker, text_max: usize) -> Json {
    let (alert, episode) = (&*item.alert, item.episode());
    let until = (episode.state() == AlertState::Cleared).then_some(episode.ended_tick).flatten();
    json!({
        "episode_key": item.id.to_string(),
        "sequence": item.sequence,
        "state": if item.firing { "firing" } else { "cleared" },
        "what": item.what.as_str(),
        "repeat": !item.what.is_news(),
        "rule": episode.rule,
        "severity": severity_word(episode.severity()),
        "scope": scope_word(episode.scope()),
        "subject": episode.subject,
        "labels": *item.labels,
        "sentence": cut(&alert.sentence, text_max),
        "description": cut(&alert.description, text_max),
        "resolution": cut(&alert.resolution, text_max),
        "runbook": cut(&alert.runbook, text_max),
        "value_now": episode.value,
        "value_between": episode.value_low.zip(episode.value_high).map(|(low, high)| [low, high]),
        "value_text": alert.value_text,
        "value_at_firing": episode.value_at_firing,
        "worst": episode.worst,
        "worst_text": alert.worst_text,
        "threshold": {"fire": episode.limit, "clear": episode.clear, "text": alert.limit_text, "above": alert.above},
        "unit": alert.unit,
        "since": time(episode.since_tick),
        "since_unix": episode.since_tick,
        "fired": episode.fired_tick.map(time),
        "until": until.map(time),
        "until_unix": until,
        "outcome": outcome(episode.outcome()),
        "detail": Some(&episode.detail).filter(|detail| !detail.is_empty()),
        "crossings": episode.crossings,
        "coverage": {"nodes_reporting": episode.nodes_reporting, "nodes_expected": episode.nodes_expected},
        "acknowledged_by": alert.acknowledgement.as_ref().map(|one| cut(&one.author, 200)),
        "children": alert.children.len(),
        "parent": Some(&alert.parent).filter(|parent| !parent.is_empty()),
        "link": link(speaker, episode),
    })
}
