//! What a check found, and how it is said.

use std::fmt;

use serde_json::{Value, json};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// As it should be.
    Ok,
    /// It works, and somebody should look at it.
    Warning,
    /// Something does not work, or will not.
    Fault,
}

impl Level {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Fault => "fault",
        }
    }
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// How bad it is.
    pub(crate) level: Level,
    /// Which check, one word.
    pub(crate) check: &'static str,
    /// What was looked at: a program, a file, an address.
    pub(crate) subject: String,
    /// What was found.
    pub(crate) what: String,
    /// What to do; empty when there is nothing to do.
    pub(crate) next: String,
}

impl Finding {
    /// As it should be.
    pub(crate) fn ok(check: &'static str, subject: impl Into<String>, what: impl Into<String>) -> Self {
        Self { level: Level::Ok, check, subject: subject.into(), what: what.into(), next: String::new() }
    }

    /// It works, and somebody should look at it.
    pub(crate) fn warning(
        check: &'static str,
        subject: impl Into<String>,
        what: impl Into<String>,
        next: impl Into<String>,
    ) -> Self {
        Self { level: Level::Warning, check, subject: subject.into(), what: what.into(), next: next.into() }
    }

    /// Something does not work, or will not.
    pub(crate) fn fault(
        check: &'static str,
        subject: impl Into<String>,
        what: impl Into<String>,
        next: impl Into<String>,
    ) -> Self {
        Self { level: Level::Fault, ..Self::warning(check, subject, what, next) }
    }
}

impl fmt::Display for Finding {
    /// One line, whatever an error of somebody else contains.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        write!(f, "{:<8} {}: {}: {}", self.level.as_str(), self.check, self.subject, one_line(&self.what))?;
        if self.next.is_empty() { Ok(()) } else { write!(f, " -> {}", one_line(&self.next)) }
    }
}

/// Everything that was found.
#[derive(Debug, Default)]
pub(crate) struct Report(pub(crate) Vec<Finding>);

impl Report {
    /// How many are of this level.
    pub(crate) fn count(&self, level: Level) -> usize {
        self.0.iter().filter(|finding| finding.level == level).count()
    }

    /// A line a finding, in the order of the checks, and the sum.
    pub(crate) fn text(&self) -> String {
        let lines = self.0.iter().map(|finding| format!("{finding}\n")).collect::<String>();
        let (faults, warnings) = (self.count(Level::Fault), self.count(Level::Warning));
        format!("{lines}{} checks: {faults} at fault, {warnings} with a warning\n", self.0.len())
    }

    /// The same for programs.
    pub(crate) fn json(&self) -> Value {
        let finding = |one: &Finding| {
            json!({
                "level": one.level.as_str(),
                "check": one.check,
                "subject": one.subject,
                "what": one.what,
                "next": one.next,
            })
        };
        json!({
            "checks": self.0.len(),
            "faults": self.count(Level::Fault),
            "warnings": self.count(Level::Warning),
            "findings": self.0.iter().map(finding).collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_one_line_whatever_it_says() {
        let fault = Finding::fault("settings", "a.toml", "one\n  two", "do this");
        assert_eq!(fault.to_string(), "fault    settings: a.toml: one two -> do this");
        assert_eq!(Finding::ok("clock", "a:7400", "in step").to_string(), "ok       clock: a:7400: in step");
    }

    #[test]
    fn the_sums_are_those_of_the_lines() {
        let report = Report(vec![
            Finding::ok("a", "x", "y"),
            Finding::warning("b", "x", "y", "z"),
            Finding::fault("c", "x", "y", "z"),
        ]);
        assert!(report.text().ends_with("\n3 checks: 1 at fault, 1 with a warning\n"), "{}", report.text());
        let json = report.json();
        assert_eq!(
            (json["checks"].as_u64(), json["faults"].as_u64(), json["warnings"].as_u64()),
            (Some(3), Some(1), Some(1))
        );
        assert_eq!(json["findings"][1]["level"], "warning");
    }
}
