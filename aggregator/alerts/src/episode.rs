//! One incident: a rule, a subject, from the first bad second to its end.

use std::{cmp::Ordering, fmt};

use xxhash_rust::xxh3::xxh3_64;

use super::{Rule, Severity, Subject};

/// Changes of severity that are remembered.
const SEVERITIES_MAX: usize = 16;

/// Name of an episode, the same at every aggregator: of the rule, the subject and the first bad second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EpisodeId(pub u64);

impl fmt::Display for EpisodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl EpisodeId {
    /// The name as it is written: 16 hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == 16).then(|| u64::from_str_radix(text, 16).ok()).flatten().map(Self)
    }

    fn of(rule: &str, subject: &Subject, attributes: &[(String, String)], since: u32) -> Self {
        let key = format!("{rule:?} {} {:?} {attributes:?} {since}", subject.scope().as_str(), subject.name());
        Self(xxh3_64(key.as_bytes()))
    }
}

/// Where an episode stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Bad, and not yet for as long as the rule wants.
    Pending,
    /// Open.
    Firing,
    /// Over.
    Cleared,
}

impl State {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Firing => "firing",
            Self::Cleared => "cleared",
        }
    }
}

/// Why an episode is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// The value is good again.
    Recovered,
    /// The value was good again before the rule fired.
    Passed,
    /// The rule was changed or removed.
    RuleChanged,
    /// The node left as planned.
    Left,
    /// The subject, or the series that was judged, is no longer known.
    Forgotten,
    /// An episode of the same cause began earlier, and goes on: they were begun on two sides of a partition.
    Merged,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Recovered, Self::Passed, Self::RuleChanged, Self::Left, Self::Forgotten, Self::Merged];

    /// In words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Recovered => "recovered",
            Self::Passed => "passed before it fired",
            Self::RuleChanged => "rule changed",
            Self::Left => "left as planned",
            Self::Forgotten => "no longer known",
            Self::Merged => "goes on in an earlier alert of the same cause",
        }
    }
}

/// See the module. Seconds are Unix time.
#[derive(Debug, Clone, PartialEq)]
pub struct Episode {
    /// Its name.
    pub id: EpisodeId,
    /// Name of the rule.
    pub rule: String,
    /// [`Rule::fingerprint`] of the rule as it was.
    pub fingerprint: u64,
    /// Whom it is about.
    pub subject: Subject,
    /// The attributes of [`Rule::by`] it is about.
    pub attributes: Vec<(String, String)>,
    /// Where it stands.
    pub state: State,
    /// How bad it is; how bad it was last, of one that is over.
    pub severity: Severity,
    /// The severities it had, each with the second from which on; the newest 16.
    pub severities: Vec<(u32, Severity)>,
    /// The first bad second; of a node that is silent the last that was heard of it ([`Rule::is_of_silence`]).
    pub since: u32,
    /// When it fired.
    pub fired: Option<u32>,
    /// When it was over, and why.
    pub ended: Option<(u32, Outcome)>,
    /// The second that was judged last.
    pub judged: u32,
    /// The value then; of the last second that had one.
    pub value: f64,
    /// Between which values that lies, of a trend.
    pub between: Option<(f64, f64)>,
    /// The value when it fired.
    pub value_at_firing: f64,
    /// The worst value.
    pub worst: f64,
    /// What it is beyond, and where it is over.
    pub limit: (f64, f64),
    /// The first of the good seconds that were judged last.
    pub good_since: Option<u32>,
    /// The first of the seconds without a verdict that came last.
    pub absent_since: Option<u32>,
    /// Seconds in which it was open and nothing was known: there was no value, or nobody judged.
    pub unseen: u32,
    /// Whom or what it is about beside its subject, in words that came with the facts of the rule; empty for nothing.
    pub detail: String,
    /// How often it went from bad to good and back.
    pub crossings: u32,
    /// When the same rule fired for the same subject, in the ten minutes before it fired last and then.
    pub fires: Vec<u32>,
    /// Nodes that were in the second judged last, and that were expected.
    pub coverage: (u32, u32),
    /// Grows with each transition.
    pub sequence: u32,
}

impl Episode {
    /// One that begins with `value` in second `tick`.
    pub(crate) fn begin(
        rule: &Rule,
        subject: &Subject,
        attributes: &[(String, String)],
        (tick, value): (u32, f64),
        severity: Severity,
    ) -> Self {
        let limit = rule.level_of(severity).map_or((0.0, 0.0), |level| (level.fire, level.clear));
        // Only the name is of the second in which it began: another rule may judge the same silence later.
        let since = if rule.is_of_silence() { tick.saturating_sub(value as u32) } else { tick };
        Self {
            id: EpisodeId::of(&rule.name, subject, attributes, tick),
            rule: rule.name.clone(),
            fingerprint: rule.fingerprint(),
            subject: subject.clone(),
            attributes: attributes.to_vec(),
            state: State::Pending,
            severity,
            severities: vec![(tick, severity)],
            since,
            fired: None,
            ended: None,
            judged: tick,
            value,
            between: None,
            value_at_firing: value,
            worst: value,
            limit,
            good_since: None,
            absent_since: None,
            unseen: 0,
            detail: String::new(),
            crossings: 0,
            fires: Vec::new(),
            coverage: (0, 0),
            sequence: 0,
        }
    }

    /// Firing or pending.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        !matches!(self.state, State::Cleared)
    }

    /// Whether anybody was to hear of it: it fired.
    #[must_use]
    pub const fn has_fired(&self) -> bool {
        self.fired.is_some()
    }

    /// Seconds from the first bad one to the end, or to the one that was judged last.
    #[must_use]
    pub fn seconds(&self) -> u32 {
        self.ended.map_or(self.judged, |(end, _)| end).saturating_sub(self.since)
    }

    /// What it is about whatever the time: of the rule, the subject and the attributes.
    #[must_use]
    pub fn cause(&self) -> u64 {
        EpisodeId::of(&self.rule, &self.subject, &self.attributes, 0).0
    }

    /// How far it went: whether it fired, and its transitions. One that fired is ahead of one that did not: on one side of a partition
    /// it may be over as one that passed, when the other side told of it.
    #[must_use]
    pub const fn progress(&self) -> (bool, u32) {
        (self.has_fired(), self.sequence)
    }

    /// Which of two readings of one episode is the newer: the one that went farther, then the one that judged later. Of equal ones
    /// they are ordered all the same, so that all who compare agree.
    #[must_use]
    pub fn newer(&self, other: &Self) -> Ordering {
        let key = |one: &Self| (one.progress(), one.judged, one.state, one.severity, one.value.to_bits());
        key(self).cmp(&key(other))
    }

    /// Ends it.
    pub(crate) fn end(&mut self, tick: u32, outcome: Outcome) {
        self.state = State::Cleared;
        self.ended = Some((tick, outcome));
        self.judged = self.judged.max(tick);
        self.sequence += 1;
    }

    /// Gives it another severity.
    pub(crate) fn become_severity(&mut self, rule: &Rule, tick: u32, severity: Severity) {
        self.severity = severity;
        if let Some(level) = rule.level_of(severity) {
            self.limit = (level.fire, level.clear);
        }
        if self.severities.len() == SEVERITIES_MAX {
            self.severities.remove(0);
        }
        self.severities.push((tick, severity));
        self.sequence += 1;
    }
}
