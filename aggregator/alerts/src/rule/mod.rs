//! Rules.

mod placeholders;
mod read;
mod table;

use std::{collections::BTreeMap, fmt, sync::Arc};

use starling_proto::catalogue::Unit;
use xxhash_rust::xxh3::xxh3_64;

use super::{
    Scope,
    expression::{Condition, Expression},
    facts,
};

/// Most rules in force at once.
pub const RULES_MAX: usize = 500;
/// Largest file of rules.
pub const FILE_BYTES_MAX: usize = 1024 * 1024;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// To be known.
    Info,
    /// To be looked at in working hours.
    Warning,
    /// To be looked at now.
    Error,
    /// Users are hurt.
    Critical,
}

impl Severity {
    /// All of them, least first, with the words for them.
    pub const ALL: [(&'static str, Self); 4] =
        [("info", Self::Info), ("warning", Self::Warning), ("error", Self::Error), ("critical", Self::Critical)];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
        }
    }
}

/// What a rule says of a second in which nodes are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnPartial {
    /// The same as of any other.
    Evaluate,
    /// Nothing while fewer than nine tenths of the expected nodes are in it: all stays as it is.
    Hold,
    /// Nothing while half of the expected nodes or fewer are in it.
    Majority,
}

impl OnPartial {
    const ALL: [(&'static str, Self); 3] =
        [("evaluate", Self::Evaluate), ("hold", Self::Hold), ("majority_only", Self::Majority)];

    /// Whether a second with so many of the expected nodes is judged.
    #[must_use]
    pub fn judges(self, reporting: u32, expected: u32) -> bool {
        let (reporting, expected) = (u64::from(reporting), u64::from(expected));
        match self {
            Self::Evaluate => true,
            Self::Hold => reporting * 10 >= expected * 9,
            Self::Majority => reporting * 2 > expected,
        }
    }

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Evaluate => "evaluate",
            Self::Hold => "hold",
            Self::Majority => "majority_only",
        }
    }
}

/// From where on it is how bad, and back to where it must go to be over.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Level {
    /// How bad.
    pub severity: Severity,
    /// Beyond this it begins.
    pub fire: f64,
    /// At this or on the other side of it, it is over.
    pub clear: f64,
}

/// One rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Unique.
    pub name: String,
    /// The file it stands in; empty for one of the default set.
    pub file: Arc<str>,
    /// Whom it judges.
    pub scope: Scope,
    /// The expression or the query as written.
    pub text: String,
    /// Of a query in PromQL the seconds between two evaluations; `None`: it is an expression, judged every second.
    pub every: Option<u32>,
    /// Of a query one that reads nothing.
    pub(crate) expression: Expression,
    /// Attributes of the first metric of the expression that make subjects of their own: one for each filesystem, say.
    pub by: Vec<String>,
    /// The condition without which it says nothing, as written; empty for none.
    pub when_text: String,
    pub(crate) when: Option<Condition>,
    /// Bad is above the thresholds; else below.
    pub above: bool,
    /// At least one, least severity first.
    pub levels: Vec<Level>,
    /// Seconds a value must be bad without a break.
    pub pending: u32,
    /// Seconds it must be good without a break.
    pub hold: u32,
    /// See there.
    pub on_partial: OnPartial,
    /// How values are written.
    pub unit: Unit,
    /// Handed on with every episode, for routes.
    pub labels: BTreeMap<String, String>,
    /// What is wrong, in a few words that follow the subject: "has little memory left".
    pub summary: String,
    /// More of it.
    pub description: String,
    /// What to do.
    pub resolution: String,
    /// Link to more.
    pub runbook: String,
    /// The rules of narrower scopes whose episodes stand under those of this one, see [`crate::family`].
    pub children: Vec<String>,
    /// See [`Rule::fingerprint`].
    fingerprint: u64,
}

impl Rule {
    /// What decides whether an episode of a former version of the rule goes on: whom and what it judges, from where on.
    #[must_use]
    pub const fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// The rule with its fingerprint.
    fn finished(mut self) -> Self {
        let Self { name, scope, text, by, when_text, above, levels, pending, hold, on_partial, labels, .. } = &self;
        let judged = format!(
            "{name:?}{scope:?}{text:?}{by:?}{when_text:?}{above}{levels:?}{pending} {hold}{on_partial:?}{labels:?}"
        );
        let every = self.every.map_or_else(String::new, |every| format!(" every {every}"));
        self.fingerprint = xxh3_64((judged + &every).as_bytes());
        self
    }

    /// The same with another `for` and hold, to be tried.
    #[must_use]
    pub(crate) fn lasting(&self, pending: u32, hold: u32) -> Self {
        Self { pending, hold, ..self.clone() }.finished()
    }

    /// Whether it tells that alerting itself fails.
    #[must_use]
    pub fn is_of_alerting(&self) -> bool {
        self.expression.facts().any(|name| facts::OF_ALERTING.contains(&name))
    }

    /// Whether it judges for how long a node is silent, and nothing else.
    #[must_use]
    pub fn is_of_silence(&self) -> bool {
        self.expression.fact() == Some(facts::NODE_SILENT)
    }

    /// The metrics it reads.
    pub fn metrics(&self) -> impl Iterator<Item = &str> {
        let inputs = self.expression.inputs.iter().chain(self.when.iter().flat_map(|when| &when.expression.inputs));
        inputs.filter_map(|input| Some(input.selector()?.name.as_str()))
    }

    /// The most severe level that `value` is beyond.
    pub(crate) fn level(&self, value: f64) -> Option<&Level> {
        self.levels.iter().rev().find(|level| if self.above { value > level.fire } else { value < level.fire })
    }

    /// Whether `value` is good enough to end what is of `severity`.
    pub(crate) fn is_clear(&self, value: f64, severity: Severity) -> bool {
        let level = self.levels.iter().find(|level| level.severity == severity).or(self.levels.first());
        level.is_none_or(|level| if self.above { value <= level.clear } else { value >= level.clear })
    }

    /// The level of `severity`; the lowest when there is none.
    #[must_use]
    pub fn level_of(&self, severity: Severity) -> Option<&Level> {
        self.levels.iter().find(|level| level.severity == severity).or(self.levels.first())
    }

    /// The worse of two values.
    #[must_use]
    pub fn worse(&self, a: f64, b: f64) -> f64 {
        if self.above { a.max(b) } else { a.min(b) }
    }
}

/// The rules in force.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    rules: Vec<Arc<Rule>>,
    fingerprint: u64,
}

/// What is wrong with a file of rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Which file.
    pub file: String,
    /// Name of the rule, or "rule 3" of one without a name; empty when it is about the whole file.
    pub rule: String,
    /// Which key; empty when it is about the whole rule.
    pub key: String,
    /// What is wrong, and what is wanted.
    pub what: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, rule, key, what } = self;
        for part in [file, rule, key].into_iter().filter(|part| !part.is_empty()) {
            write!(f, "{part}: ")?;
        }
        f.write_str(what)
    }
}

impl Rules {
    /// Reads files, each by its name and text. Rules of later files stand beside those of former ones.
    ///
    /// # Errors
    /// All mistakes of all files; then none of the rules is taken.
    pub fn read(files: &[(&str, &str)]) -> Result<Self, Vec<Mistake>> {
        read::read(files).map(Self::of)
    }

    /// The rules of `defaults` that are not in `off` and not replaced by one of `files`, then those of `files`.
    ///
    /// # Errors
    /// As [`Rules::read`], and of names in `off` that no default rule has.
    pub(crate) fn with_defaults(defaults: &str, files: &[(&str, &str)], off: &[String]) -> Result<Self, Vec<Mistake>> {
        read::with_defaults(defaults, files, off).map(Self::of)
    }

    fn of(rules: Vec<Rule>) -> Self {
        let all: Vec<u8> = rules.iter().flat_map(|rule| rule.fingerprint().to_le_bytes()).collect();
        Self { rules: rules.into_iter().map(Arc::new).collect(), fingerprint: xxh3_64(&all) }
    }

    /// No rule.
    #[must_use]
    pub fn none() -> Self {
        Self::of(Vec::new())
    }

    /// All of them, in the order of the files.
    #[must_use]
    pub fn all(&self) -> &[Arc<Rule>] {
        &self.rules
    }

    /// The rule called `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<Rule>> {
        self.rules.iter().find(|rule| rule.name == name)
    }

    /// Two sets with the same one judge alike.
    #[must_use]
    pub const fn fingerprint(&self) -> u64 {
        self.fingerprint
    }
}

#[cfg(test)]
mod tests;
