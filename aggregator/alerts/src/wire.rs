//! Episodes as they travel between aggregators and stand on the disk.

use starling_proto::v1;

use super::{Episode, EpisodeId, Outcome, Scope, Severity, State, Subject};

/// Longest name, key or value.
const TEXT_MAX: usize = 1_024;
/// Longest list.
const LIST_MAX: usize = 32;

/// Why an episode from elsewhere is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an episode with a bad {0}")]
pub struct WireError(&'static str);

impl From<Severity> for v1::AlertSeverity {
    fn from(severity: Severity) -> Self {
        match severity {
            Severity::Info => Self::Info,
            Severity::Warning => Self::Warning,
            Severity::Error => Self::Error,
            Severity::Critical => Self::Critical,
        }
    }
}

impl TryFrom<v1::AlertSeverity> for Severity {
    type Error = WireError;

    fn try_from(severity: v1::AlertSeverity) -> Result<Self, WireError> {
        match severity {
            v1::AlertSeverity::Info => Ok(Self::Info),
            v1::AlertSeverity::Warning => Ok(Self::Warning),
            v1::AlertSeverity::Error => Ok(Self::Error),
            v1::AlertSeverity::Critical => Ok(Self::Critical),
            v1::AlertSeverity::Unspecified => Err(WireError("severity")),
        }
    }
}

/// The word for a severity from elsewhere.
#[must_use]
pub fn severity_word(severity: v1::AlertSeverity) -> &'static str {
    Severity::try_from(severity).map_or("unknown", Severity::as_str)
}

/// The word for a scope from elsewhere.
#[must_use]
pub fn scope_word(scope: v1::AlertScope) -> &'static str {
    Scope::try_from(scope).map_or("unknown", Scope::as_str)
}

impl TryFrom<v1::AlertScope> for Scope {
    type Error = WireError;

    fn try_from(scope: v1::AlertScope) -> Result<Self, WireError> {
        match scope {
            v1::AlertScope::Cluster => Ok(Self::Cluster),
            v1::AlertScope::Group => Ok(Self::Group),
            v1::AlertScope::Node => Ok(Self::Node),
            v1::AlertScope::Unspecified => Err(WireError("scope")),
        }
    }
}

impl From<Scope> for v1::AlertScope {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::Cluster => Self::Cluster,
            Scope::Group => Self::Group,
            Scope::Node => Self::Node,
        }
    }
}

impl From<State> for v1::AlertState {
    fn from(state: State) -> Self {
        match state {
            State::Pending => Self::Pending,
            State::Firing => Self::Firing,
            State::Cleared => Self::Cleared,
        }
    }
}

impl From<Outcome> for v1::AlertOutcome {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Recovered => Self::Recovered,
            Outcome::Passed => Self::Passed,
            Outcome::RuleChanged => Self::RuleChanged,
            Outcome::Left => Self::Left,
            Outcome::Forgotten => Self::Forgotten,
            Outcome::Merged => Self::Merged,
        }
    }
}

impl From<&Episode> for v1::AlertEpisode {
    fn from(episode: &Episode) -> Self {
        let attribute = |(key, value): &(String, String)| v1::AlertAttribute { key: key.clone(), value: value.clone() };
        let severity = |(tick, severity): &(u32, Severity)| v1::AlertSeveritySince {
            tick: *tick,
            severity: v1::AlertSeverity::from(*severity).into(),
        };
        Self {
            episode_id: episode.id.to_string(),
            rule: episode.rule.clone(),
            rule_fingerprint: episode.fingerprint,
            scope: v1::AlertScope::from(episode.subject.scope()).into(),
            subject: episode.subject.name().to_owned(),
            attributes: episode.attributes.iter().map(attribute).collect(),
            state: v1::AlertState::from(episode.state).into(),
            severity: v1::AlertSeverity::from(episode.severity).into(),
            severities: episode.severities.iter().map(severity).collect(),
            since_tick: episode.since,
            fired_tick: episode.fired,
            ended_tick: episode.ended.map(|(tick, _)| tick),
            outcome: episode.ended.map_or(v1::AlertOutcome::Unspecified, |(_, outcome)| outcome.into()).into(),
            judged_tick: episode.judged,
            value: Some(episode.value),
            value_low: episode.between.map(|(low, _)| low),
            value_high: episode.between.map(|(_, high)| high),
            value_at_firing: Some(episode.value_at_firing),
            worst: Some(episode.worst),
            limit: Some(episode.limit.0),
            clear: Some(episode.limit.1),
            good_since_tick: episode.good_since,
            absent_since_tick: episode.absent_since,
            unseen_seconds: episode.unseen,
            detail: episode.detail.clone(),
            crossings: episode.crossings,
            fires: episode.fires.clone(),
            nodes_reporting: Some(episode.coverage.0),
            nodes_expected: Some(episode.coverage.1),
            sequence: episode.sequence,
        }
    }
}

impl TryFrom<v1::AlertEpisode> for Episode {
    type Error = WireError;

    fn try_from(wire: v1::AlertEpisode) -> Result<Self, WireError> {
        let bounded = |text: &str| text.len() <= TEXT_MAX;
        if !bounded(&wire.rule) || wire.rule.is_empty() {
            return Err(WireError("rule"));
        }
        if wire.attributes.len() > LIST_MAX
            || !wire.attributes.iter().all(|one| bounded(&one.key) && bounded(&one.value))
        {
            return Err(WireError("attribute"));
        }
        if !bounded(&wire.detail) {
            return Err(WireError("detail"));
        }
        if wire.severities.len() > LIST_MAX || wire.fires.len() > LIST_MAX {
            return Err(WireError("list"));
        }
        let scope = wire.scope().try_into()?;
        let state = match wire.state() {
            v1::AlertState::Pending => State::Pending,
            v1::AlertState::Firing => State::Firing,
            v1::AlertState::Cleared => State::Cleared,
            v1::AlertState::Unspecified => return Err(WireError("state")),
        };
        let outcome = Outcome::ALL.into_iter().find(|one| v1::AlertOutcome::from(*one) == wire.outcome());
        let ended = match (state, wire.ended_tick, outcome) {
            (State::Cleared, Some(tick), Some(outcome)) => Some((tick, outcome)),
            (State::Cleared, ..) => return Err(WireError("end")),
            _ => None,
        };
        let number = |value: Option<f64>| value.filter(|value| value.is_finite()).ok_or(WireError("value"));
        let severities = wire.severities.iter();
        let severities = severities.map(|one| Ok((one.tick, one.severity().try_into()?))).collect::<Result<_, _>>()?;
        Ok(Self {
            id: EpisodeId::parse(&wire.episode_id).ok_or(WireError("id"))?,
            fingerprint: wire.rule_fingerprint,
            subject: Subject::of(scope, &wire.subject).map_err(|_| WireError("subject"))?,
            state,
            severity: wire.severity().try_into()?,
            severities,
            since: wire.since_tick,
            fired: wire.fired_tick,
            ended,
            judged: wire.judged_tick,
            value: number(wire.value)?,
            between: wire.value_low.zip(wire.value_high).filter(|(low, high)| low.is_finite() && high.is_finite()),
            value_at_firing: number(wire.value_at_firing)?,
            worst: number(wire.worst)?,
            limit: (number(wire.limit)?, number(wire.clear)?),
            good_since: wire.good_since_tick,
            absent_since: wire.absent_since_tick,
            unseen: wire.unseen_seconds,
            crossings: wire.crossings,
            coverage: (wire.nodes_reporting.unwrap_or(0), wire.nodes_expected.unwrap_or(0)),
            sequence: wire.sequence,
            rule: wire.rule,
            detail: wire.detail,
            attributes: wire.attributes.into_iter().map(|one| (one.key, one.value)).collect(),
            fires: wire.fires,
        })
    }
}
