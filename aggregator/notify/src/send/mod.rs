//! One message to one receiver.

mod http;
mod mail;

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value as Json, json};
use starling_service::clock;
use tokio::time::Instant;

use crate::{
    config::Notifier,
    desk::Outcome,
    encode::{self, Speaker},
    heartbeat::Pulse,
    message::Message,
    settings::Kind,
    text::time,
};

/// Where PagerDuty takes events.
const PAGERDUTY_URL: &str = "https://events.pagerduty.com/v2/enqueue";
/// Where an Alertmanager takes alerts, below its URL.
const ALERTMANAGER_PATH: &str = "/api/v2/alerts";

fn retry(what: String) -> Outcome {
    Outcome::Retry { what, after: None, slower: false }
}

fn seconds_now() -> u32 {
    u32::try_from(clock::unix().as_secs()).unwrap_or(u32::MAX)
}

/// Sends a message, in at most the time that the settings give it.
pub(crate) async fn message(notifier: &Notifier, message: &Message, speaker: &Speaker) -> Outcome {
    let settings = &notifier.settings;
    let deadline = Instant::now() + settings.timeout;
    let sending = async {
        if settings.kind == Kind::Email {
            return mail::send(settings, message, speaker).await;
        }
        let key = match &settings.routing_key {
            Some(secret) => match secret.read().await {
                Ok(key) => key,
                Err(what) => return retry(what),
            },
            None => String::new(),
        };
        let resend = u32::try_from(settings.resend.as_secs()).unwrap_or(60);
        let body = encode::json(settings.kind, message, speaker, (seconds_now(), resend), &key);
        post(notifier, &body, deadline).await
    };
    within(settings.timeout, sending).await
}

/// Sends a sign of life.
pub(crate) async fn heartbeat(notifier: &Notifier, pulse: Pulse, speaker: &Speaker) -> Outcome {
    let settings = &notifier.settings;
    // A late beat is overtaken by the next one.
    let timeout = settings.timeout.min(settings.every);
    let body = json!({
        "version": 1,
        "cluster": speaker.cluster,
        "aggregator": speaker.aggregator,
        "sent": time(seconds_now()),
        "judged": time(pulse.judged_tick),
        "rules": pulse.rules,
        "open": pulse.open,
        "quiet": pulse.quiet,
        "coverage": {"nodes_reporting": pulse.nodes_reporting, "nodes_expected": pulse.nodes_expected},
    });
    within(timeout, post(notifier, &body, Instant::now() + timeout)).await
}

async fn within(timeout: Duration, sending: impl Future<Output = Outcome>) -> Outcome {
    let late = || retry(format!("did not answer within {:.1} s", timeout.as_secs_f64()));
    tokio::time::timeout(timeout, sending).await.unwrap_or_else(|_| late())
}

async fn post(notifier: &Notifier, body: &Json, deadline: Instant) -> Outcome {
    let settings = &notifier.settings;
    let url = match (&settings.url, &settings.url_from) {
        (Some(url), _) => url.clone(),
        (None, Some(secret)) => match secret.read().await {
            Ok(url) => url,
            Err(what) => return retry(what),
        },
        (None, None) => PAGERDUTY_URL.to_owned(),
    };
    let url = match settings.kind {
        Kind::Alertmanager => format!("{}{ALERTMANAGER_PATH}", url.trim_end_matches('/')),
        _ => url,
    };
    http::post(settings, &url, Bytes::from(body.to_string()), deadline).await
}
