//! Messages of hostile and of large size are well formed and within the limits of their receivers.

use std::{collections::BTreeMap, sync::Arc};

use starling_alerts::EpisodeId;
use starling_proto::v1::AlertSeverity;

use super::*;
use crate::{
    labels::labels,
    message::{Group, Item, What},
    samples::{alert, cleared, hostile_texts, message, severe},
};

const T0: u32 = 1_800_000_000;

fn speaker() -> Speaker {
    let page_url = "https://dash.example.org".to_owned();
    Speaker { cluster: "prod".to_owned(), aggregator: "agg-1".to_owned(), page_url }
}

fn item(alert: starling_proto::v1::Alert, what: What) -> Item {
    let (id, sequence) = alert.episode.as_ref().map(|one| (one.episode_id.clone(), one.sequence)).unwrap();
    let labels = Arc::new(labels(&alert, &BTreeMap::new()));
    let firing = !matches!(what, What::Cleared | What::Left);
    Item { id: EpisodeId::parse(&id).unwrap(), alert: Arc::new(alert), labels, what, firing, sequence }
}

fn of(items: Vec<Item>) -> Message {
    Message { items, ..message("x") }
}

#[test]
fn a_webhook_has_all_that_is_promised() {
    let one = alert(7, "web-1", AlertSeverity::Critical, T0);
    let body = json(Kind::Webhook, &of(vec![item(one.clone(), What::Firing)]), &speaker(), (T0 + 1, 60), "");
    assert_eq!(
        (&body["cluster"], &body["aggregator"], &body["state"]),
        (&"prod".into(), &"agg-1".into(), &"firing".into())
    );
    let first = &body["alerts"][0];
    for (key, wanted) in [
        ("episode_key", "0000000000000007"),
        ("rule", "cpu_high"),
        ("severity", "critical"),
        ("state", "firing"),
        ("subject", "web-1"),
        ("since", "2027-01-15T08:00:00Z"),
        ("unit", "share"),
    ] {
        assert_eq!(first[key], wanted, "{key}");
    }
    assert_eq!((&first["labels"]["node"], &first["sequence"]), (&"web-1".into(), &1.into()));
    assert_eq!((&first["value_now"], &first["threshold"]["fire"]), (&0.97.into(), &0.9.into()));
    assert_eq!(first["coverage"]["nodes_expected"], 4);
    let body =
        json(Kind::Webhook, &of(vec![item(cleared(one, T0 + 70), What::Cleared)]), &speaker(), (T0 + 71, 60), "");
    let first = &body["alerts"][0];
    assert_eq!(
        (&first["value_now"], &first["value_at_firing"], &first["worst"]),
        (&0.12.into(), &0.95.into(), &0.97.into())
    );
    assert_eq!((&first["state"], &first["until"]), (&"cleared".into(), &"2027-01-15T08:01:10Z".into()));
}

#[test]
fn four_hundred_nodes_fit_every_receiver() {
    let items: Vec<Item> = (1..=400_u64)
        .map(|id| {
            let mut one = alert(id, &format!("{id:0>58}-😀"), AlertSeverity::Critical, T0);
            one.description = "größe ".repeat(83);
            one.sentence = format!("{} is busy", one.episode.as_ref().unwrap().subject);
            let episode = one.episode.as_mut().unwrap();
            (episode.worst, episode.nodes_expected) = (Some(0.9 + id as f64 / 1_000.0), Some(412));
            item(one, What::Firing)
        })
        .collect();
    let group = Group { key: 5, by: vec![("rule".to_owned(), "cpu_high".to_owned())], open: 400, still: Vec::new() };
    let message = Message { group: Some(group), ..of(items) };
    for (kind, most) in
        [(Kind::Slack, 40_000), (Kind::Teams, 28_000), (Kind::Pagerduty, 512_000), (Kind::Webhook, 4 << 20)]
    {
        let body = json(kind, &message, &speaker(), (T0, 60), "key");
        let text = body.to_string();
        assert!(text.len() <= most, "{kind:?}: {}", text.len());
        assert!(text.contains("400 of 412 nodes"), "{kind:?}: {text:.500}");
        if kind != Kind::Webhook {
            // The worst ten are named, the others counted, with a link.
            assert!(text.contains(&format!("{:0>58}", 400)) && text.contains(&format!("{:0>58}", 391)), "{kind:?}");
            assert!(text.contains("390 more") && text.contains("https://dash.example.org/alerts"), "{kind:?}");
        }
        match kind {
            Kind::Slack => assert!(body["text"].as_str().unwrap().chars().count() < 5_000),
            Kind::Pagerduty => {
                assert!(body["payload"]["summary"].as_str().unwrap().chars().count() <= 1_024);
                assert_eq!(
                    (&body["event_action"], &body["dedup_key"]),
                    (&"trigger".into(), &"group-0000000000000005".into())
                );
            }
            Kind::Webhook => assert_eq!(body["alerts"].as_array().unwrap().len(), 400),
            _ => {}
        }
    }
}

#[test]
fn hostile_texts_break_no_shape() {
    for text in hostile_texts() {
        let message = message(&text);
        for (_, kind) in <Kind as starling_service::settings::kind::Word>::ALL {
            let body = json(*kind, &message, &speaker(), (T0, 60), "key").to_string();
            assert!(body.parse::<Json>().is_ok() && !body.contains('\n'), "{kind:?} {text:?}");
        }
        let slack = json(Kind::Slack, &message, &speaker(), (T0, 60), "")["text"].as_str().unwrap().to_owned();
        assert!(!slack.contains("<!") && !slack.contains("<s"), "{slack}");
    }
}

#[test]
fn an_alertmanager_gets_the_end_of_a_severity_that_is_left() {
    let one = severe(alert(7, "web-1", AlertSeverity::Critical, T0), AlertSeverity::Error, T0 + 60);
    let body = json(Kind::Alertmanager, &of(vec![item(one.clone(), What::Changed)]), &speaker(), (T0 + 61, 60), "");
    let all = body.as_array().unwrap();
    assert_eq!(
        (all.len(), &all[0]["labels"]["severity"], &all[1]["labels"]["severity"]),
        (2, &"critical".into(), &"error".into())
    );
    assert_eq!(
        (&all[0]["endsAt"], &all[1]["endsAt"]),
        (&"2027-01-15T08:01:00Z".into(), &"2027-01-15T08:05:01Z".into())
    );
    assert_eq!(all[0]["startsAt"], all[1]["startsAt"]);
    assert_eq!((&all[1]["labels"]["alertname"], &all[1]["labels"]["node"]), (&"cpu_high".into(), &"web-1".into()));
    assert!(all[1]["generatorURL"].as_str().unwrap().ends_with("/alerts/0000000000000007"));
    let late = json(Kind::Alertmanager, &of(vec![item(one, What::Refresh)]), &speaker(), (T0 + 2_000, 60), "");
    assert_eq!(late.as_array().unwrap().len(), 1);
}
