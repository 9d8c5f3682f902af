//! The alerts of doubles: what a test wrote down is listed and watched; acknowledgements and silences are taken down and
//! shown. Nothing is judged.

use std::collections::BTreeMap;

use starling_proto::v1;
use tonic::Status;

/// Alerts, silences and rules of one script.
#[derive(Debug, Default)]
pub(crate) struct AlertBook {
    /// The aggregator is of a version without alerts.
    pub(crate) missing: bool,
    updates: Vec<v1::AlertsUpdate>,
    open: BTreeMap<String, v1::Alert>,
    silences: Vec<v1::AlertSilence>,
    pub(crate) rules: Vec<v1::AlertRule>,
    /// What a receiver did not take.
    pub(crate) letters: Vec<v1::DeadLetter>,
}

/// The worst one, in its own words.
fn verdict(open: &BTreeMap<String, v1::Alert>) -> v1::AlertVerdict {
    let episode = |alert: &v1::Alert| alert.episode.clone().unwrap_or_default();
    let firing: Vec<_> = open.values().filter(|is| episode(is).state() == v1::AlertState::Firing).collect();
    let Some(worst) = firing.iter().max_by_key(|is| episode(is).severity) else {
        return v1::AlertVerdict { word: "Healthy".into(), ..Default::default() };
    };
    let text = format!("{}.", worst.sentence);
    let parts = vec![v1::AlertVerdictPart { text, episode_id: episode(worst).episode_id, ..Default::default() }];
    v1::AlertVerdict { severity: episode(worst).severity, word: "Degraded".into(), parts }
}

impl AlertBook {
    /// One more update with `changed` and `removed`.
    pub(crate) fn push(&mut self, changed: Vec<v1::Alert>, removed: Vec<String>, judged_tick: u32) {
        for id in &removed {
            self.open.remove(id);
        }
        for alert in &changed {
            let id = alert.episode.as_ref().map(|is| is.episode_id.clone()).unwrap_or_default();
            self.open.insert(id, alert.clone());
        }
        let verdict = Some(verdict(&self.open));
        self.updates.push(v1::AlertsUpdate { whole: false, changed, removed, judged_tick, verdict });
    }

    /// What is watched: nothing is open at first.
    pub(crate) fn watched(&self) -> Vec<v1::AlertsUpdate> {
        let verdict = Some(v1::AlertVerdict { word: "Healthy".into(), ..Default::default() });
        let first = v1::AlertsUpdate { whole: true, verdict, ..Default::default() };
        [first].into_iter().chain(self.updates.iter().cloned()).collect()
    }

    pub(crate) fn get(&self, id: &str) -> Result<v1::Alert, Status> {
        self.open.get(id).cloned().ok_or_else(|| Status::not_found(format!("episode_id: no episode is called {id:?}")))
    }

    /// Every alert that is listed.
    pub(crate) fn all(&self) -> Vec<v1::Alert> {
        self.open.values().cloned().collect()
    }

    pub(crate) fn acknowledge(&mut self, request: v1::AcknowledgeRequest) -> Result<v1::Alert, Status> {
        if request.author.is_empty() {
            return Err(Status::invalid_argument("author: say who you are"));
        }
        let mut alert = self.get(&request.episode_id)?;
        let until_tick = (request.for_seconds > 0).then_some(1_700_000_000 + request.for_seconds);
        alert.acknowledgement = Some(v1::AlertAcknowledgement {
            author: request.author,
            comment: request.comment,
            at_unix_ms: 1_700_000_000_000,
            until_tick,
        });
        self.push(vec![alert.clone()], Vec::new(), 0);
        Ok(alert)
    }

    pub(crate) fn unacknowledge(&mut self, id: &str) -> Result<v1::Alert, Status> {
        let alert = v1::Alert { acknowledgement: None, ..self.get(id)? };
        self.push(vec![alert.clone()], Vec::new(), 0);
        Ok(alert)
    }

    /// Covers alerts whose subject or rule is named.
    pub(crate) fn silence(&mut self, request: &v1::SilenceRequest) -> Result<v1::SilenceResponse, Status> {
        if request.matchers.is_empty() {
            return Err(Status::invalid_argument("matchers: at least one is needed"));
        }
        let matches = |alert: &v1::Alert| {
            let episode = alert.episode.clone().unwrap_or_default();
            request.matchers.iter().all(|is| match is.key.as_str() {
                "rule" => is.value == episode.rule,
                "subject" => is.value == episode.subject,
                _ => false,
            })
        };
        let covers: Vec<_> = self.open.values().filter(|is| matches(is)).cloned().collect();
        let starts_tick = if request.starts_tick == 0 { 1_700_000_000 } else { request.starts_tick };
        let mut silence = v1::AlertSilence {
            silence_id: String::new(),
            matchers: request.matchers.clone(),
            author: request.author.clone(),
            comment: request.comment.clone(),
            starts_tick,
            ends_tick: starts_tick + request.for_seconds,
            at_unix_ms: 1_700_000_000_000,
        };
        if !request.preview {
            silence.silence_id = format!("s{}", self.silences.len() + 1);
            self.silences.push(silence.clone());
            let id = silence.silence_id.clone();
            let quiet = covers.iter().map(|is| v1::Alert { silenced_by: vec![id.clone()], ..is.clone() }).collect();
            self.push(quiet, Vec::new(), 0);
        }
        Ok(v1::SilenceResponse { silence: Some(silence), covers })
    }

    pub(crate) fn unsilence(&mut self, id: &str) -> Result<v1::AlertSilence, Status> {
        let at = self.silences.iter().position(|is| is.silence_id == id);
        let at = at.ok_or_else(|| Status::not_found(format!("silence_id: no silence is called {id:?}")))?;
        let mut loud = self.all();
        loud.retain(|is| is.silenced_by.iter().any(|by| by == id));
        loud.iter_mut().for_each(|is| is.silenced_by.retain(|by| by != id));
        self.push(loud, Vec::new(), 0);
        Ok(self.silences.remove(at))
    }

    pub(crate) fn silences(&self) -> Vec<v1::AlertSilence> {
        self.silences.clone()
    }
}
