//! Conditions on texts, as Prometheus has them.

use std::fmt;

use regex::{Regex, RegexBuilder};

/// Longest pattern, in bytes: a list of 500 names of nodes still fits.
pub const PATTERN_LEN_MAX: usize = 32 * 1024;
/// Bytes of a compiled pattern, and of the cache it matches with. Beyond it is a bomb such as `(a{1000}){1000}`.
const COMPILED_BYTES_MAX: usize = 1 << 20;
/// Deepest nesting of a pattern: the compiler recurses.
const NESTING_MAX: u32 = 100;

/// Why a pattern was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MatcherError {
    /// Longer than [`PATTERN_LEN_MAX`].
    #[error("a pattern of {0} bytes, at most {PATTERN_LEN_MAX} are taken")]
    Length(usize),
    /// Not a regular expression, or one that takes too much memory.
    #[error("{pattern:?} is no regular expression: {reason}")]
    Pattern {
        /// The start of the pattern.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// A condition on a text. What is absent is the empty text. Patterns are anchored at both ends, and `.` matches a line
/// break too (as in Prometheus 3).
#[derive(Debug, Clone)]
pub struct Matcher(Condition);

#[derive(Debug, Clone)]
enum Condition {
    Equal(Box<str>),
    NotEqual(Box<str>),
    Pattern(Pattern),
    NotPattern(Pattern),
}

#[derive(Debug, Clone)]
struct Pattern {
    given: Box<str>,
    regex: Regex,
}

impl Matcher {
    /// Exactly this text.
    #[must_use]
    pub fn equal(text: &str) -> Self {
        Self(Condition::Equal(text.into()))
    }

    /// Any other text.
    #[must_use]
    pub fn not_equal(text: &str) -> Self {
        Self(Condition::NotEqual(text.into()))
    }

    /// A text that the pattern matches as a whole.
    ///
    /// # Errors
    /// [`MatcherError`].
    pub fn regex(pattern: &str) -> Result<Self, MatcherError> {
        Ok(Self(Condition::Pattern(Pattern::compile(pattern)?)))
    }

    /// A text that the pattern does not match as a whole.
    ///
    /// # Errors
    /// [`MatcherError`].
    pub fn not_regex(pattern: &str) -> Result<Self, MatcherError> {
        Ok(Self(Condition::NotPattern(Pattern::compile(pattern)?)))
    }

    /// Whether the condition holds for `text`; give the empty text for what is absent.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        match &self.0 {
            Condition::Equal(wanted) => **wanted == *text,
            Condition::NotEqual(other) => **other != *text,
            Condition::Pattern(pattern) => pattern.regex.is_match(text),
            Condition::NotPattern(pattern) => !pattern.regex.is_match(text),
        }
    }

    /// The only text it can hold for, when there is only one and it is known without trying.
    #[must_use]
    pub fn only(&self) -> Option<&str> {
        match &self.0 {
            Condition::Equal(text) => Some(text),
            _ => None,
        }
    }
}

impl Pattern {
    fn compile(pattern: &str) -> Result<Self, MatcherError> {
        if pattern.len() > PATTERN_LEN_MAX {
            return Err(MatcherError::Length(pattern.len()));
        }
        let build = |text: &str| {
            RegexBuilder::new(text)
                .dot_matches_new_line(true)
                .size_limit(COMPILED_BYTES_MAX)
                .dfa_size_limit(COMPILED_BYTES_MAX)
                .nest_limit(NESTING_MAX)
                .build()
        };
        // By itself first: "a)|(b" would be one only between the brackets of the anchors.
        let regex = build(pattern).and_then(|_| build(&format!("^(?:{pattern})$")));
        regex.map(|regex| Self { given: pattern.into(), regex }).map_err(|error| MatcherError::Pattern {
            pattern: excerpt(pattern),
            reason: match error {
                regex::Error::CompiledTooBig(_) => format!("it takes more than {COMPILED_BYTES_MAX} bytes of memory"),
                // The last line says what is wrong; the ones before repeat the pattern.
                other => excerpt(other.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ")),
            },
        })
    }
}

fn excerpt(text: &str) -> String {
    text.chars().take(128).collect()
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl Eq for Matcher {}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Condition::Equal(text) => write!(f, "={text:?}"),
            Condition::NotEqual(text) => write!(f, "!={text:?}"),
            Condition::Pattern(pattern) => write!(f, "=~{:?}", pattern.given),
            Condition::NotPattern(pattern) => write!(f, "!~{:?}", pattern.given),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario 32.
    #[test]
    fn patterns_are_anchored_and_absent_is_empty() {
        const TEXTS: [&str; 6] = ["web-1", "web-10", "xweb-1", "Web-1", "a\nb", ""];
        let matched = |matcher: &Matcher| TEXTS.into_iter().filter(|text| matcher.matches(text)).collect::<Vec<_>>();
        for (pattern, wanted) in [
            ("web-1", &["web-1"][..]),
            ("web-1|", &["web-1", ""]),
            (".+|^$", &TEXTS),
            ("()", &[""]),
            ("", &[""]),
            ("(?i)web-1", &["web-1", "Web-1"]),
            (".*", &TEXTS),
            (".+", &TEXTS[..5]),
            ("web-1|web-10", &["web-1", "web-10"]),
        ] {
            assert_eq!(matched(&Matcher::regex(pattern).unwrap()), wanted, "{pattern}");
            let others: Vec<_> = TEXTS.into_iter().filter(|text| !wanted.contains(text)).collect();
            assert_eq!(matched(&Matcher::not_regex(pattern).unwrap()), others, "not {pattern}");
        }
        assert_eq!(matched(&Matcher::equal("")), [""]);
        assert_eq!(matched(&Matcher::not_equal("web-1")), TEXTS[1..]);
    }

    #[test]
    fn bombs_and_broken_patterns_are_refused_by_name() {
        for pattern in ["(", "*", "a)|(b", "a{1000}{1000}{1000}", "(a{500}){500}", &"(".repeat(200), "\\p{"] {
            let error = Matcher::regex(pattern).unwrap_err().to_string();
            assert!(error.contains("regular expression") && error.len() < 500, "{pattern}: {error}");
        }
        let nested = format!("{}{}", "(".repeat(150), ")".repeat(150));
        assert!(Matcher::regex(&nested).is_err(), "150 brackets in each other");
        assert_eq!(Matcher::regex(&"a".repeat(40_000)), Err(MatcherError::Length(40_000)));
        let names: Vec<String> = (0..500).map(|n| format!("web-{n}.example")).collect();
        assert!(Matcher::regex(&names.join("|")).unwrap().matches("web-499.example"));
    }

    #[test]
    fn it_is_written_as_prometheus_does() {
        assert_eq!(Matcher::not_regex("a\"b").unwrap().to_string(), "!~\"a\\\"b\"");
        assert_eq!(Matcher::equal("a").only(), Some("a"));
        assert_eq!(Matcher::regex("a").unwrap().only(), None);
    }
}
