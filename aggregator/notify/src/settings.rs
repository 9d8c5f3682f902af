//! The keys of a notifier and of a route, each from one table.

use std::{collections::HashMap, path::PathBuf, time::Duration};

use starling_alerts::Matcher;
use starling_service::{
    secret::Secret,
    settings::{
        Mistakes,
        kind::{self, Word},
    },
};

use crate::{
    destination::{Network, Target},
    hours::Hours,
};

/// Longest URL.
const URL_LEN_MAX: usize = 2_048;
/// Longest matcher.
const MATCHER_LEN_MAX: usize = 1_000;

/// Who is told, and in which shape.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Kind {
    /// JSON of our own, signed.
    #[default]
    Webhook,
    /// Alertmanager, by its API v2.
    Alertmanager,
    /// Mail.
    Email,
    /// An incoming webhook of Slack, or of what understands the same.
    Slack,
    /// A workflow of Teams that posts cards.
    Teams,
    /// The Events API v2 of PagerDuty.
    Pagerduty,
    /// A sign of life while alerts are judged, for a dead man's switch.
    Heartbeat,
}

impl Word for Kind {
    const ALL: &'static [(&'static str, Self)] = &[
        ("webhook", Self::Webhook),
        ("alertmanager", Self::Alertmanager),
        ("email", Self::Email),
        ("slack", Self::Slack),
        ("teams", Self::Teams),
        ("pagerduty", Self::Pagerduty),
        ("heartbeat", Self::Heartbeat),
    ];
}

/// How a connection to a mail server is protected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Protection {
    /// It begins in the clear and must become TLS before anything is said.
    #[default]
    Starttls,
    /// In the clear: for a server on this machine.
    Clear,
}

impl Word for Protection {
    const ALL: &'static [(&'static str, Self)] = &[("starttls", Self::Starttls), ("none", Self::Clear)];
}

starling_service::settings! {
    /// One notifier. Secrets stand elsewhere: "file:/path" (its first line) or "env:NAME".
    pub struct NotifierSettings {
        /// Who is told: "webhook", "alertmanager", "email", "slack", "teams", "pagerduty", "heartbeat".
        pub kind: Kind = Kind::Webhook, kind::word();
        /// Where to. Of an Alertmanager without the path of its API.
        pub url: Option<String> = None, kind::optional(kind::text(1..=URL_LEN_MAX)), example "\"https://hooks.example.org/starling\"";
        /// Where the URL stands, when it is a secret itself, as those of Slack and Teams are.
        pub url_from: Option<Secret> = None, kind::optional(kind::secret()), example "\"file:/etc/starling/slack-url\"";
        /// With this a webhook is signed: `X-Starling-Signature: t=SECONDS,v1=HEX`, HMAC-SHA256 over `SECONDS.BODY`.
        pub signature_secret: Option<Secret> = None, kind::optional(kind::secret()), example "\"file:/etc/starling/hook-key\"";
        /// Sent as `Authorization: Bearer`, or with `user` the password of basic authentication or of the mail server.
        pub secret: Option<Secret> = None, kind::optional(kind::secret()), example "\"env:HOOK_TOKEN\"";
        /// A name that goes with `secret`.
        pub user: Option<String> = None, kind::optional(kind::text(1..=200)), example "\"starling\"";
        /// The key of the integration of PagerDuty.
        pub routing_key: Option<Secret> = None, kind::optional(kind::secret()), example "\"file:/etc/starling/pager-key\"";
        /// Headers that are sent with every request.
        pub headers: HashMap<String, String> = HashMap::new(), kind::headers();
        /// The certificates of the CAs (PEM) by which a receiver proves who it is over TLS, and no others. Without it those that this
        /// host trusts. Read for each connection: it is renewed in place.
        pub ca_file: Option<PathBuf> = None, kind::optional(kind::absolute_path()), example "\"/etc/starling/hooks-ca.pem\"";
        /// Networks and addresses within this machine or its network that may be connected to. Others there are refused.
        pub allow_networks: Vec<String> = Vec::new(), kind::list(0..=32, kind::text(1..=50));
        /// How long a receiver may take for one message.
        pub timeout: Duration = Duration::from_secs(10), kind::seconds(1..=60), key "timeout_secs";
        /// What could not be delivered for so long goes to the dead letters.
        pub give_up: Duration = Duration::from_secs(900), kind::seconds(10..=86_400), key "give_up_secs";
        /// An Alertmanager is told so often what is open, and for 15 minutes what ended.
        pub resend: Duration = Duration::from_secs(60), kind::seconds(10..=600), key "resend_secs";
        /// A heartbeat comes so often.
        pub every: Duration = Duration::from_secs(10), kind::seconds(1..=3_600), key "every_secs";
        /// The mail server, "host:port".
        pub server: Option<String> = None, kind::optional(kind::text(1..=300)), example "\"mail.example.org:587\"";
        /// How the connection to the mail server is protected: "starttls", or "none" for one on this machine.
        pub protection: Protection = Protection::Starttls, kind::word();
        /// Who a mail is from.
        pub from: Option<String> = None, kind::optional(kind::text(3..=320)), example "\"starling@example.org\"";
        /// Whom a mail goes to.
        pub to: Vec<String> = Vec::new(), kind::list(0..=50, kind::text(3..=320));
    }
    together notifier_together;
}

starling_service::settings! {
    /// One route: what matches goes to its notifiers. Routes are gone through in their order until one matches.
    pub struct RouteSettings {
        /// Names of notifiers.
        pub notifiers: Vec<String> = Vec::new(), kind::list(0..=32, kind::text(1..=64));
        /// Conditions, all of which must hold: "severity=critical", "zone=~a|b", "rule!=node_gone". None: all matches.
        pub matchers: Vec<String> = Vec::new(), kind::list(0..=16, kind::text(1..=MATCHER_LEN_MAX)), key "match";
        /// Episodes with the same values of these labels go into one message. Empty: each has messages of its own, at once.
        pub group_by: Vec<String> = Vec::new(), kind::list(0..=8, kind::text(1..=128));
        /// So long is waited for more of a group.
        pub group_wait: Duration = Duration::from_secs(2), kind::seconds(0..=600), key "group_wait_secs";
        /// Between two messages about a group.
        pub group_interval: Duration = Duration::from_secs(30), kind::seconds(1..=3_600), key "group_interval_secs";
        /// What is still open is said again after so long.
        pub repeat: Duration = Duration::from_secs(14_400), kind::seconds(60..=604_800), key "repeat_secs";
        /// Hours in which this route is quiet, such as "22:00-06:00 Europe/Berlin" or "sat,sun 00:00-24:00" (UTC without a zone; a day is
        /// the one on which they begin). At their end it is told what is open still, and what ended meanwhile and was told before.
        pub mute: Vec<String> = Vec::new(), kind::list(0..=16, kind::text(1..=200));
        /// Later routes are gone through too.
        pub goes_on: bool = false, kind::flag(), key "continue";
    }
    together route_together;
}

impl NotifierSettings {
    /// What may be connected to although it is inside; what cannot be read is named by [`notifier_together`].
    pub(crate) fn allowed(&self) -> Vec<Network> {
        self.allow_networks.iter().filter_map(|text| Network::parse(text).ok()).collect()
    }

    /// Host and port of the mail server.
    pub(crate) fn mail_server(&self) -> Result<(String, u16), String> {
        let allowed = self.allowed();
        let text = self.server.as_deref().unwrap_or_default();
        let wanted = || format!("{text:?} is not \"host:port\"");
        let (_, port) = text.rsplit_once(':').ok_or_else(wanted)?;
        port.parse::<u16>().map_err(|_| wanted())?;
        let target = Target::parse(&format!("http://{text}/"), &allowed)?;
        Ok((target.host, target.port))
    }
}

fn notifier_together(settings: &NotifierSettings, mistakes: &mut Mistakes) {
    for text in &settings.allow_networks {
        if let Err(what) = Network::parse(text) {
            mistakes.add("allow_networks", what);
        }
    }
    let allowed = settings.allowed();
    if let Some(what) = settings.url.as_ref().and_then(|url| Target::parse(url, &allowed).err()) {
        mistakes.add("url", what);
    }
    let kind = settings.kind.word();
    if settings.kind == Kind::Email {
        if let Err(what) = settings.mail_server() {
            mistakes.add("server", what);
        }
        let addresses = settings.from.iter().map(|from| ("from", from)).chain(settings.to.iter().map(|to| ("to", to)));
        for (key, text) in addresses {
            if text.parse::<lettre::message::Mailbox>().is_err() {
                mistakes.add(key, format!("{text:?} is not an address of mail"));
            }
        }
        if settings.from.is_none() || settings.to.is_empty() {
            mistakes.add("to", "a mail wants from and to");
        }
    } else {
        match (settings.kind, &settings.url, &settings.url_from) {
            (Kind::Pagerduty, None, None) | (_, Some(_), None) | (_, None, Some(_)) => {}
            (_, None, None) => mistakes.add("url", format!("{kind} wants url or url_from")),
            (_, Some(_), Some(_)) => mistakes.add("url_from", "url stands there too, only one of them is wanted"),
        }
    }
    if settings.kind == Kind::Pagerduty && settings.routing_key.is_none() {
        mistakes.add("routing_key", "pagerduty wants one");
    }
    if settings.user.is_some() && settings.secret.is_none() {
        mistakes.add("user", "it wants a password: set secret too");
    }
    if settings.ca_file.is_some() && settings.kind == Kind::Email && settings.protection == Protection::Clear {
        mistakes.add("ca_file", "with protection = \"none\" nobody proves who it is");
    }
    if settings.ca_file.is_some() && settings.url.as_ref().is_some_and(|url| url.starts_with("http://")) {
        mistakes.add("ca_file", "over http:// nobody proves who it is: write https://");
    }
    if settings.kind == Kind::Email && settings.secret.is_some() && settings.protection == Protection::Clear {
        mistakes.add("secret", "with protection = \"none\" it would be sent in the clear");
    }
}

fn route_together(settings: &RouteSettings, mistakes: &mut Mistakes) {
    for text in &settings.matchers {
        if let Err(what) = Matcher::parse(text) {
            mistakes.add("match", what);
        }
    }
    for text in &settings.mute {
        if let Err(what) = Hours::parse(text) {
            mistakes.add("mute", what);
        }
    }
    if settings.notifiers.is_empty() {
        mistakes.add("notifiers", "a route names at least one");
    }
}
