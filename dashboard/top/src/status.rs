//! One look: whether all is well, in words and as an exit code.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use starling_dashboard::harmless;
use starling_proto::{
    live::{self, View, server_message::Body},
    v1,
};
use tokio::time::{Instant, timeout_at};

use crate::source::{Arrival, Source, subscribe};

/// Numbers of the views that are asked for.
const OVERVIEW: u32 = 1;
const HOSTS: u32 = 2;
const AGGREGATORS: u32 = 3;

/// What a script acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// All nodes report and nothing is beyond its limit.
    Healthy,
    /// An alert is open, or nodes are silent.
    Wrong,
    /// No aggregator is reached, nothing new comes, no node has reported, or limits are not judged.
    Unknown,
}

impl State {
    /// The exit code: 0, 1, 2.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Wrong => "wrong",
            Self::Unknown => "unknown",
        }
    }
}

/// What was seen.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// What a script acts on.
    pub state: State,
    /// As the page says it; of what cannot be told "No data" and why.
    pub verdict: live::Verdict,
    cluster: String,
    answered_by: String,
    overview: live::Overview,
}

impl Status {
    /// Lines for people, with their ends.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("{}: {}\n", self.verdict.word, sentence(&self.verdict));
        let completeness = self.overview.completeness.clone().unwrap_or_default();
        if completeness.tick > 0 {
            let second = time(completeness.tick).strftime("%Y-%m-%d %H:%M:%S UTC");
            let (reporting, expected) = (completeness.nodes_reporting(), completeness.nodes_expected());
            let cluster = if self.cluster.is_empty() { String::new() } else { format!("cluster {}, ", self.cluster) };
            let alerts = match &self.overview.alerts {
                Some(alerts) if alerts.unavailable.is_empty() => format!("{} open", alerts.open),
                _ => "not known".to_owned(),
            };
            text += &format!("{cluster}{second}: {reporting} of {expected} nodes report; alerts: {alerts}\n");
        }
        text.split_inclusive('\n').map(|line| harmless(line.trim_end_matches('\n')) + "\n").collect()
    }

    /// One document for programs, with the names and units of the REST API.
    #[must_use]
    pub fn json(&self) -> Value {
        let completeness = self.overview.completeness.clone().unwrap_or_default();
        let alerts = self.overview.alerts.as_ref().filter(|alerts| alerts.unavailable.is_empty());
        let nodes: Vec<_> = self.verdict.parts.iter().map(|part| &part.node_id).filter(|id| !id.is_empty()).collect();
        json!({
            "state": self.state.name(),
            "exitCode": self.state.code(),
            "verdict": {
                "word": self.verdict.word,
                "severity": severity(self.verdict.severity().as_str_name()),
                "text": sentence(&self.verdict),
                "nodes": nodes,
            },
            "cluster": text(&self.cluster),
            "answeredBy": text(&self.answered_by),
            "timestamp": (completeness.tick > 0).then(|| time(completeness.tick).to_string()),
            "completeness": {
                "nodesReporting": completeness.nodes_reporting,
                "nodesExpected": completeness.nodes_expected,
            },
            "alertsOpen": alerts.map(|alerts| alerts.open),
            "alerts": alerts.map(|alerts| alerts.alerts.iter().map(alert).collect::<Vec<_>>()),
        })
    }
}

fn alert(alert: &v1::Alert) -> Value {
    let episode = alert.episode.clone().unwrap_or_default();
    json!({
        "id": episode.episode_id,
        "severity": severity(episode.severity().as_str_name()),
        "metric": episode.rule,
        "subject": text(&episode.subject),
        "node": (episode.scope() == v1::AlertScope::Node).then_some(&episode.subject),
        "since": time(episode.since_tick).to_string(),
        "sentence": alert.sentence,
        "acknowledgedBy": alert.acknowledgement.as_ref().map(|is| &is.author),
        "silenced": !alert.silenced_by.is_empty(),
    })
}

/// The word for it in the REST API.
fn severity(name: &str) -> String {
    match name.rsplit('_').next() {
        None | Some("UNSPECIFIED") => "unknown".to_owned(),
        Some(word) => word.to_ascii_lowercase(),
    }
}

fn text(from: &str) -> Option<&str> {
    Some(from).filter(|text| !text.is_empty())
}

/// The sentence of a verdict.
fn sentence(verdict: &live::Verdict) -> String {
    verdict.parts.iter().map(|part| part.text.as_str()).collect()
}

fn time(tick: u32) -> Timestamp {
    Timestamp::from_second(i64::from(tick)).unwrap_or_default()
}

/// Looks until there is a verdict, for as long as `within`; usually that takes a second or two: it is the verdict on a second
/// that came while we looked, so that what has stopped is not taken for healthy.
pub async fn look(source: &mut Source, within: Duration) -> Status {
    let (mut seen, until) = (Seen::default(), Instant::now() + within);
    while let Ok(arrival) = timeout_at(until, source.next()).await {
        let body = match arrival {
            Arrival::Message(body) => *body,
            Arrival::Lost(why) => {
                seen.lost = Some(format!("the dashboard is not reached ({why})"));
                continue;
            }
        };
        if matches!(body, Body::Hello(_)) {
            source.send(subscribe(AGGREGATORS, View::Aggregators, "", 0));
            source.send(subscribe(HOSTS, View::Hosts, "", 0));
            source.send(subscribe(OVERVIEW, View::Overview, "", 0));
        }
        if let Some(status) = seen.take(body) {
            return Status { cluster: source.cluster(), ..status };
        }
    }
    Status { cluster: source.cluster(), ..seen.give_up(within) }
}

/// What was seen so far.
#[derive(Debug, Default)]
struct Seen {
    /// The aggregator that is followed; empty for none.
    answered_by: String,
    /// Why there is none, in words.
    lost: Option<String>,
    /// The table of nodes is part of the verdict.
    hosts: bool,
    newest: Option<live::Overview>,
}

impl Seen {
    /// Takes a message; the answer once there is one.
    fn take(&mut self, body: Body) -> Option<Status> {
        match body {
            Body::Hello(_) => {}
            Body::Error(error) => self.lost = Some(error.message),
            Body::GoingAway(_) => self.lost = Some("the dashboard stops".to_owned()),
            Body::Snapshot(snapshot) => self.state(snapshot.state),
            Body::Tick(tick) => {
                let is_of_now = tick.id == OVERVIEW && tick.state.is_some();
                self.state(tick.state);
                let alerts = self.newest.as_ref().and_then(|newest| newest.alerts.as_ref());
                let told = alerts.is_some_and(|alerts| alerts.unavailable.is_empty());
                if is_of_now && self.hosts && told {
                    return self.status();
                }
            }
        }
        None
    }

    fn state(&mut self, state: Option<live::State>) {
        use live::state::Body as Of;
        match state.and_then(|state| state.body) {
            Some(Of::Overview(overview)) => self.newest = Some(overview),
            Some(Of::Hosts(hosts)) => self.hosts |= hosts.completeness.is_some(),
            Some(Of::Aggregators(seen)) => {
                self.lost = seen.connected_to.is_empty().then(|| format!("no aggregator is reached ({})", seen.reason));
                self.answered_by = seen.connected_to;
            }
            Some(Of::Node(_)) | None => {}
        }
    }

    /// What the newest second says.
    fn status(&self) -> Option<Status> {
        let overview = self.newest.clone()?;
        let verdict = overview.judged.as_ref()?.verdict.clone()?;
        let judged = overview.alerts.as_ref().is_some_and(|alerts| alerts.unavailable.is_empty());
        let state = match verdict.word.as_str() {
            "Degraded" => State::Wrong,
            "Healthy" if judged => State::Healthy,
            "Partial" if judged => State::Wrong,
            _ => State::Unknown,
        };
        Some(Status { state, verdict, cluster: String::new(), answered_by: self.answered_by.clone(), overview })
    }

    /// What can be said when time is up.
    fn give_up(&self, within: Duration) -> Status {
        let waited = within.as_secs_f64();
        let alerts = self.newest.as_ref().and_then(|newest| newest.alerts.as_ref());
        let unjudged = alerts.is_some_and(|alerts| !alerts.unavailable.is_empty());
        if let Some(status) = self.status().filter(|_| self.lost.is_none() && self.hosts && unjudged) {
            return status;
        }
        let newest = self.newest.clone().unwrap_or_default();
        let since = newest.completeness.as_ref().map_or(0, |is| is.tick);
        let why = match (&self.lost, since) {
            (Some(why), _) => format!("{why}."),
            (None, 0) => format!("no second came within {waited} s."),
            (None, tick) => {
                format!("no new second came within {waited} s; the last is of {}.", time(tick).strftime("%H:%M:%S UTC"))
            }
        };
        let parts = vec![live::VerdictPart { text: why, ..Default::default() }];
        let verdict = live::Verdict { severity: live::Severity::Unspecified.into(), word: "No data".to_owned(), parts };
        let answered_by = self.answered_by.clone();
        Status { state: State::Unknown, verdict, cluster: String::new(), answered_by, overview: newest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overview(word: &str, unavailable: &str) -> live::state::Body {
        live::state::Body::Overview(live::Overview {
            completeness: Some(v1::Completeness {
                nodes_reporting: Some(2),
                nodes_expected: Some(3),
                tick: 1_700_000_000,
                ..Default::default()
            }),
            judged: Some(live::Judged {
                verdict: Some(live::Verdict {
                    word: word.into(),
                    severity: live::Severity::Warning.into(),
                    parts: vec![
                        live::VerdictPart { text: "web\u{1b}[2J".into(), node_id: "web".into(), ..Default::default() },
                        live::VerdictPart { text: " is full.".into(), ..Default::default() },
                    ],
                }),
                ..Default::default()
            }),
            alerts: Some(live::OpenAlerts {
                open: 1,
                unavailable: unavailable.into(),
                alerts: vec![v1::Alert { sentence: "web is full".into(), ..Default::default() }],
                ..Default::default()
            }),
            ..Default::default()
        })
    }

    fn tick(id: u32, body: live::state::Body) -> Body {
        Body::Tick(live::Tick { id, state: Some(live::State { body: Some(body) }), ..Default::default() })
    }

    fn hosts() -> Body {
        let completeness = Some(v1::Completeness::default());
        tick(HOSTS, live::state::Body::Hosts(live::Hosts { completeness, ..Default::default() }))
    }

    fn aggregators(connected_to: &str, reason: &str) -> Body {
        let body = live::Aggregators { connected_to: connected_to.into(), reason: reason.into(), ..Default::default() };
        tick(AGGREGATORS, live::state::Body::Aggregators(body))
    }

    const WAITED: Duration = Duration::from_secs(5);

    #[test]
    fn the_words_of_the_page_are_exit_codes() {
        for (word, unavailable, code) in [
            ("Healthy", "", 0),
            ("Degraded", "", 1),
            ("Partial", "", 1),
            ("No data", "", 2),
            ("of a newer server", "", 2),
        ] {
            let mut seen = Seen::default();
            assert_eq!(seen.take(hosts()), None);
            let status = seen.take(tick(OVERVIEW, overview(word, unavailable))).unwrap();
            assert_eq!((status.state.code(), status.verdict.word.as_str()), (code, word));
        }
    }

    #[test]
    fn a_second_is_not_judged_before_nodes_and_alerts_are_known() {
        let mut seen = Seen::default();
        assert_eq!(seen.take(tick(OVERVIEW, overview("Healthy", ""))), None, "without the table of nodes");
        seen.take(hosts());
        assert_eq!(seen.take(tick(OVERVIEW, overview("Healthy", "not yet"))), None, "without alerts");
        assert_eq!(seen.give_up(WAITED).state, State::Unknown, "limits are not judged");
        assert_eq!(seen.take(tick(OVERVIEW, overview("Healthy", ""))).unwrap().state, State::Healthy);
        let wrong = tick(OVERVIEW, overview("Degraded", "not yet"));
        assert_eq!(seen.take(wrong), None);
        assert_eq!(seen.give_up(WAITED).state, State::Wrong, "what is wrong is wrong all the same");
    }

    #[test]
    fn what_was_well_and_has_stopped_is_not_healthy() {
        let mut seen = Seen::default();
        seen.take(hosts());
        let old = live::State { body: Some(overview("Healthy", "")) };
        seen.take(Body::Snapshot(live::Snapshot { id: OVERVIEW, tick: 9, state: Some(old), ..Default::default() }));
        let status = seen.give_up(WAITED);
        assert_eq!(status.state.code(), 2);
        assert!(status.text().starts_with("No data: no new second came within 5 s; the last is of 22:13:20 UTC"));
        seen.take(aggregators("", "127.0.0.1:7400: Connection refused"));
        let text = seen.give_up(WAITED).text();
        assert!(text.contains("no aggregator is reached (127.0.0.1:7400: Connection refused)"), "{text}");
        assert!(Seen::default().give_up(WAITED).text().contains("no second came within 5 s"));
    }

    #[test]
    fn text_is_harmless_and_documents_are_exact() {
        let mut seen = Seen::default();
        seen.take(aggregators("agg-1", ""));
        seen.take(hosts());
        let status = seen.take(tick(OVERVIEW, overview("Degraded", ""))).unwrap();
        let status = Status { cluster: "shop".into(), ..status };
        let lines = "Degraded: web\u{fffd}[2J is full.\n\
                     cluster shop, 2023-11-14 22:13:20 UTC: 2 of 3 nodes report; alerts: 1 open\n";
        assert_eq!(status.text(), lines);
        let json = status.json();
        assert_eq!((&json["state"], &json["exitCode"]), (&json!("wrong"), &json!(1)));
        assert_eq!(json["verdict"]["text"], "web\u{1b}[2J is full.");
        assert_eq!(json["verdict"]["severity"], "warning");
        assert_eq!((&json["answeredBy"], &json["timestamp"]), (&json!("agg-1"), &json!("2023-11-14T22:13:20Z")));
        assert_eq!(json["alerts"][0]["sentence"], "web is full");
        let nothing = Seen::default().give_up(WAITED).json();
        assert_eq!(
            (&nothing["timestamp"], &nothing["alertsOpen"]),
            (&Value::Null, &Value::Null),
            "missing is not zero"
        );
    }
}
