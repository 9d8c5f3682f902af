//! A message as a receiver of each kind takes it.

mod alertmanager;
mod presets;
mod webhook;

use serde_json::Value as Json;

use crate::{message::Message, settings::Kind};

/// Who speaks, and what it links to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Speaker {
    /// Name of the cluster.
    pub(crate) cluster: String,
    /// Name of this aggregator.
    pub(crate) aggregator: String,
    /// The address of the page; empty for none.
    pub(crate) page_url: String,
}

/// The body of a request. `now` is in Unix seconds; `key` the routing key of PagerDuty.
pub(crate) fn json(kind: Kind, message: &Message, speaker: &Speaker, (now, resend): (u32, u32), key: &str) -> Json {
    match kind {
        Kind::Webhook | Kind::Heartbeat | Kind::Email => webhook::body(message, speaker, now),
        Kind::Alertmanager => alertmanager::body(message, speaker, now, resend),
        Kind::Slack => presets::slack(message, speaker),
        Kind::Teams => presets::teams(message, speaker),
        Kind::Pagerduty => presets::pagerduty(message, speaker, key),
    }
}

#[cfg(test)]
mod tests;
