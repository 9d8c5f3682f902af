//! Shapes of services that take webhooks, within their limits.

use serde_json::{Value as Json, json};

use super::Speaker;
use crate::{
    message::{Item, Message},
    text::{body, cut, line, one_line, title, worse},
};
use starling_alerts::severity_word;

/// Slack takes 40,000 characters of text and shows some 4,000 of them.
const SLACK_BYTES_MAX: usize = 4_000;
/// Teams takes messages of 28 KB; escaping at most doubles what is text.
const TEAMS_BYTES_MAX: usize = 10_000;
/// PagerDuty takes a summary of 1,024 characters.
const PAGERDUTY_SUMMARY_MAX: usize = 1_024;
/// PagerDuty takes events of 512 KB. Episodes that are listed, of some 1 KB at most.
const PAGERDUTY_LISTED: usize = 100;

/// `&`, `<` and `>` begin what Slack reads as links and mentions.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

pub(super) fn slack(message: &Message, speaker: &Speaker) -> Json {
    // Escaping makes it up to five times as long.
    let text = escaped(&body(message, &speaker.page_url, SLACK_BYTES_MAX));
    json!({"text": format!("*{}* {text}", escaped(&one_line(&speaker.cluster, 100)))})
}

pub(super) fn teams(message: &Message, speaker: &Speaker) -> Json {
    let text = body(message, &speaker.page_url, TEAMS_BYTES_MAX);
    let (head, rest) = text.split_once('\n').unwrap_or((&text, ""));
    let block = |text: &str, weight: &str| json!({"type": "TextBlock", "text": text, "wrap": true, "weight": weight});
    // In a text block a single line break is none.
    let lines = rest.lines().filter(|line| !line.is_empty()).map(|line| block(line, "Default"));
    let blocks: Vec<Json> = std::iter::once(block(&format!("{}: {head}", one_line(&speaker.cluster, 100)), "Bolder"))
        .chain(lines)
        .collect();
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "content": {"type": "AdaptiveCard", "version": "1.4", "body": blocks},
        }],
    })
}

/// Events API v2: an incident a key, opened by "trigger", closed by "resolve".
pub(super) fn pagerduty(message: &Message, speaker: &Speaker, key: &str) -> Json {
    let mut items: Vec<&Item> = message.items.iter().collect();
    items.sort_by(|one, other| worse(one, other));
    let worst = items.iter().find(|item| item.firing).or(items.first()).copied();
    let of = worst.map_or("info", |item| severity_word(item.episode().severity()));
    let source = worst.map_or(speaker.cluster.as_str(), |item| match item.episode().subject.as_str() {
        "" => speaker.cluster.as_str(),
        subject => subject,
    });
    let listed = |item: &&Item| {
        let episode = item.episode();
        json!({
            "episode_key": item.id.to_string(), "sequence": item.sequence, "state": item.what.as_str(),
            "subject": cut(&episode.subject, 200), "text": one_line(&line(item), 300),
        })
    };
    json!({
        "routing_key": key,
        "dedup_key": message.dedup_key(),
        "event_action": if message.is_firing() && !message.test { "trigger" } else { "resolve" },
        "client": format!("starling {}", one_line(&speaker.cluster, 100)),
        "client_url": speaker.page_url,
        "payload": {
            "summary": one_line(&title(message), PAGERDUTY_SUMMARY_MAX),
            "source": one_line(source, 200),
            "severity": of,
            "component": worst.map_or("", |item| item.episode().rule.as_str()),
            "custom_details": {
                "cluster": speaker.cluster,
                "aggregator": speaker.aggregator,
                "text": body(message, &speaker.page_url, SLACK_BYTES_MAX),
                "episodes": items.iter().take(PAGERDUTY_LISTED).map(listed).collect::<Vec<_>>(),
                "episodes_in_all": items.len(),
            },
        },
    })
}
