//! A condition on a label of an episode: what a silence covers, and a route.

use std::collections::BTreeMap;

use regex::{Regex, RegexBuilder};
use starling_proto::v1;

/// Bytes a compiled regular expression may take.
const REGEX_BYTES_MAX: usize = 64 * 1024;

/// A condition on one label, checked.
#[derive(Debug, Clone)]
pub struct Matcher {
    wire: v1::AlertMatcher,
    regex: Option<Regex>,
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        self.wire == other.wire
    }
}

impl Matcher {
    /// Of what was asked for.
    ///
    /// # Errors
    /// What of it is no regular expression, or that there is no key.
    pub fn new(wire: v1::AlertMatcher) -> Result<Self, String> {
        if wire.key.is_empty() {
            return Err("no label stands before the sign".to_owned());
        }
        let compiled = |text: &str| {
            let built = RegexBuilder::new(&format!("^(?:{text})$")).size_limit(REGEX_BYTES_MAX).build();
            built.map_err(|error| {
                let error = error.to_string();
                let last = error.lines().last().unwrap_or_default();
                format!("{text:?} is no regular expression: {}", last.trim_start_matches("error: "))
            })
        };
        let regex = if wire.regex { Some(compiled(&wire.value)?) } else { None };
        Ok(Self { wire, regex })
    }

    /// Of "key=value", "key!=value", "key=~regex" or "key!~regex".
    ///
    /// # Errors
    /// What of it is not so.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wanted = || format!("{text:?} is not \"key=value\", \"key!=value\", \"key=~regex\" or \"key!~regex\"");
        let at = text.find(['=', '!']).ok_or_else(wanted)?;
        let (key, rest) = text.split_at(at);
        let signs = [("=~", true, false), ("!~", true, true), ("!=", false, true), ("=", false, false)];
        let found = signs.iter().find_map(|(sign, regex, negate)| Some((rest.strip_prefix(sign)?, *regex, *negate)));
        let (value, regex, negate) = found.ok_or_else(wanted)?;
        let (key, value) = (key.trim().to_owned(), value.trim().to_owned());
        Self::new(v1::AlertMatcher { key, value, regex, negate }).map_err(|what| format!("{text:?}: {what}"))
    }

    /// Whether it says which rules are meant: not one that also means a rule of any other name.
    #[must_use]
    pub fn names_rules(&self) -> bool {
        // No rule is called so.
        let any = BTreeMap::from([("rule".to_owned(), "no rule at all".to_owned())]);
        self.wire.key == "rule" && !self.wire.negate && !self.matches(&any)
    }

    /// That it wants one value of a label, and which.
    fn wanted(&self) -> Option<(&str, &str)> {
        (!self.wire.regex && !self.wire.negate).then_some((self.wire.key.as_str(), self.wire.value.as_str()))
    }

    /// Whether no labels can match both, as far as that can be told: one of them wants one value, and the other one does not.
    #[must_use]
    pub fn excludes(&self, other: &Self) -> bool {
        let one_way = |one: &Self, other: &Self| {
            let Some((key, value)) = one.wanted() else { return false };
            let labels = BTreeMap::from([(key.to_owned(), value.to_owned())]);
            other.wire.key == key && !other.matches(&labels)
        };
        one_way(self, other) || one_way(other, self)
    }

    /// Whether it holds of `labels`. A label that is not there is empty.
    #[must_use]
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.wire.key).map_or("", String::as_str);
        let is = self.regex.as_ref().map_or_else(|| value == self.wire.value, |regex| regex.is_match(value));
        is != self.wire.negate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matcher_covers_whole_values_and_names_what_is_wrong() {
        let labels = BTreeMap::from([("severity".to_owned(), "critical".to_owned())]);
        for (text, wanted) in [
            ("severity=critical", true),
            ("severity = critical", true),
            ("severity=~crit", false),
            ("severity=~error|critical", true),
            ("severity!~info|warning", true),
            ("severity!=critical", false),
            ("zone=", true),
            ("zone!=a", true),
        ] {
            assert_eq!(Matcher::parse(text).unwrap().matches(&labels), wanted, "{text}");
        }
        for text in ["severity", "=x", "severity=~(", "a!b"] {
            assert!(Matcher::parse(text).is_err(), "{text}");
        }
    }
}
