//! Alerts of tests.

use std::{collections::BTreeMap, sync::Arc};

use starling_alerts::EpisodeId;
use starling_proto::v1::{Alert, AlertEpisode, AlertScope, AlertSeverity, AlertSeveritySince, AlertState};

use crate::{
    labels::labels,
    message::{Item, Message, What},
};

/// Names and texts that break headers, lines, JSON, or the direction of text.
pub(crate) fn hostile_texts() -> Vec<String> {
    let mut all: Vec<String> = [
        "web\r\nBcc: x@example.test",
        "web\nSubject: y",
        "a\n.\nQUIT",
        "bare\rreturn",
        "nul\0byte",
        "line\u{2028}separator",
        "\u{202e}right to left",
        "\"quoted\" \\ back",
        "<script>alert(1)</script> & <!channel>",
        "😀 größe 日本語",
        "\u{feff}mark",
        "=?utf-8?q?x?=",
        "",
    ]
    .map(str::to_owned)
    .to_vec();
    all.push("é".repeat(2_000));
    all.push("long ".repeat(400));
    all.push("😀".repeat(2_000));
    all
}

/// An episode of a node that fires.
pub(crate) fn alert(id: u64, node: &str, severity: AlertSeverity, tick: u32) -> Alert {
    let mut episode = AlertEpisode {
        episode_id: EpisodeId(id).to_string(),
        rule: "cpu_high".to_owned(),
        subject: node.to_owned(),
        since_tick: tick,
        fired_tick: Some(tick),
        judged_tick: tick,
        value: Some(0.97),
        value_at_firing: Some(0.95),
        worst: Some(0.97),
        limit: Some(0.9),
        clear: Some(0.8),
        nodes_reporting: Some(3),
        nodes_expected: Some(4),
        sequence: 1,
        ..AlertEpisode::default()
    };
    episode.set_scope(AlertScope::Node);
    episode.set_state(AlertState::Firing);
    episode.set_severity(severity);
    let mut since = AlertSeveritySince { tick, ..AlertSeveritySince::default() };
    since.set_severity(severity);
    episode.severities.push(since);
    Alert {
        episode: Some(episode),
        sentence: format!("{node} is busy: 97 %"),
        description: "its CPUs do nothing else".to_owned(),
        value_text: "97 %".to_owned(),
        above: true,
        unit: "share".to_owned(),
        ..Alert::default()
    }
}

/// The same at another severity.
pub(crate) fn severe(mut alert: Alert, severity: AlertSeverity, tick: u32) -> Alert {
    if let Some(episode) = &mut alert.episode {
        episode.sequence += 1;
        episode.set_severity(severity);
        let mut since = AlertSeveritySince { tick, ..AlertSeveritySince::default() };
        since.set_severity(severity);
        episode.severities.push(since);
    }
    alert
}

/// The same, over.
pub(crate) fn cleared(mut alert: Alert, tick: u32) -> Alert {
    if let Some(episode) = &mut alert.episode {
        episode.sequence += 1;
        episode.set_state(AlertState::Cleared);
        episode.ended_tick = Some(tick);
        episode.value = Some(0.12);
    }
    alert
}

/// A message about one episode whose texts all are `text`.
pub(crate) fn message(text: &str) -> Message {
    let mut alert = alert(7, text, AlertSeverity::Critical, 1_800_000_000);
    alert.description = text.to_owned();
    alert.sentence = text.to_owned();
    let labels = Arc::new(labels(&alert, &BTreeMap::from([("zone".to_owned(), text.to_owned())])));
    let item = Item { id: EpisodeId(7), alert: Arc::new(alert), labels, what: What::Firing, firing: true, sequence: 1 };
    Message { id: 1, notifier: 0, items: vec![item], group: None, attempts: 0, test: false, begin_until: u64::MAX }
}
