//! Lines of the text formats of Prometheus, taken apart: version 0.0.4 (prometheus/docs: "Exposition formats") and
//! OpenMetrics 1.0, with names in quotes as Prometheus 3 writes them.

use std::borrow::Cow;

use super::labels::Labels;
use crate::receive::{Refusal, decimal, observation::Number};

/// Labels of one sample at most, before those that find no place in a series are left out.
const LABELS_MAX: usize = 64;

/// One line.
#[derive(Debug, PartialEq)]
pub(super) enum Line<'a> {
    /// `# TYPE`.
    Type { name: Cow<'a, str>, kind: &'a str },
    /// `# UNIT`.
    Unit { name: Cow<'a, str>, unit: &'a str },
    /// A sample.
    Sample { name: Cow<'a, str>, labels: Labels<'a>, value: Number },
    /// A comment, help, the end, or nothing.
    Nothing,
}

const NO_NAME: Refusal = Refusal::Malformed("a line has no name");
const NO_VALUE: Refusal = Refusal::Malformed("a line has no value that is a number");
const NO_LABELS: Refusal = Refusal::Malformed("the labels of a line are not closed, or none");

impl<'a> Line<'a> {
    /// Takes `line`, without its end, apart.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(super) fn parse(line: &'a str) -> Result<Self, Refusal> {
        let line = line.trim_matches([' ', '\t', '\r']);
        if let Some(comment) = line.strip_prefix('#') {
            return Ok(Self::comment(comment).unwrap_or(Self::Nothing));
        }
        if line.is_empty() {
            return Ok(Self::Nothing);
        }
        let end = line.find(['{', ' ', '\t']).ok_or(NO_VALUE)?;
        let (name, rest) = (&line[..end], line[end..].trim_start_matches([' ', '\t']));
        let (quoted, labels, rest) = match rest.strip_prefix('{') {
            Some(rest) => labels(rest)?,
            None => (None, Labels::new(), rest),
        };
        let name = match quoted {
            Some(quoted) if name.is_empty() => quoted,
            Some(_) => return Err(NO_LABELS),
            None if name.is_empty() => return Err(NO_NAME),
            None => Cow::Borrowed(name),
        };
        // After it may stand a time, and an exemplar after '#'. Neither is used: what was measured before the last scrape
        // counts now, and exemplars are of traces.
        let text = rest.trim_start_matches([' ', '\t']).split([' ', '\t']).next().unwrap_or_default();
        let value = decimal::number(text.as_bytes()).ok_or(NO_VALUE)?;
        Ok(Self::Sample { name, labels, value })
    }

    fn comment(comment: &'a str) -> Option<Self> {
        let comment = comment.trim_start_matches([' ', '\t']);
        let (keyword, rest) = comment.split_once([' ', '\t'])?;
        let rest = rest.trim_start_matches([' ', '\t']);
        let (name, rest) = match rest.strip_prefix('"') {
            Some(rest) => text(rest)?,
            None => {
                let (name, rest) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
                (Cow::Borrowed(name), rest)
            }
        };
        let word = rest.trim_matches([' ', '\t']);
        match keyword {
            "TYPE" => Some(Self::Type { name, kind: word }),
            "UNIT" => Some(Self::Unit { name, unit: word }),
            _ => None,
        }
    }
}

/// Labels up to their `}`, a name in quotes among them, and what stands after it.
fn labels(mut rest: &str) -> Result<(Option<Cow<'_, str>>, Labels<'_>, &str), Refusal> {
    let (mut name, mut labels) = (None, Labels::new());
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if let Some(rest) = rest.strip_prefix('}') {
            return Ok((name, labels, rest));
        }
        let (key, after) = match rest.strip_prefix('"') {
            Some(quoted) => text(quoted).ok_or(NO_LABELS)?,
            None => {
                let end = rest.find(['=', ' ', '\t', '}', '"']).ok_or(NO_LABELS)?;
                (Cow::Borrowed(&rest[..end]), &rest[end..])
            }
        };
        let after = after.trim_start_matches([' ', '\t']);
        let Some(value) = after.strip_prefix('=') else {
            // A name in quotes stands alone, first.
            if !rest.starts_with('"') || name.is_some() || !labels.is_empty() {
                return Err(NO_LABELS);
            }
            (name, rest) = (Some(key), after);
            continue;
        };
        let value = value.trim_start_matches([' ', '\t']).strip_prefix('"').ok_or(NO_LABELS)?;
        let (value, after) = text(value).ok_or(NO_LABELS)?;
        if key.is_empty() || labels.len() >= LABELS_MAX {
            return Err(NO_LABELS);
        }
        labels.push((key, value));
        rest = after;
    }
}

/// A text up to its closing quote, with what stands after it. `\\`, `\"` and `\n` are what they stand for.
fn text(quoted: &str) -> Option<(Cow<'_, str>, &str)> {
    let end = quoted.find(['"', '\\'])?;
    if quoted[end..].starts_with('"') {
        return Some((Cow::Borrowed(&quoted[..end]), &quoted[end + 1..]));
    }
    let mut unescaped = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((Cow::Owned(unescaped), &quoted[at + 1..])),
            '\\' => match characters.next()?.1 {
                'n' => unescaped.push('\n'),
                other => unescaped.push(other),
            },
            other => unescaped.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample(line: &str) -> String {
        match Line::parse(line) {
            Ok(Line::Sample { name, labels, value }) => {
                let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value:?}")).collect();
                format!("{name} [{}] {value:?}", labels.join(","))
            }
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn samples_are_taken_apart() {
        for (line, wanted) in [
            ("up 1", "up [] Integer(1)"),
            ("  a_total{code=\"200\",le=\"+Inf\",} 5.0 1395066363000", "a_total [code=\"200\",le=\"+Inf\"] Integer(5)"),
            ("a { x = \"1\" , y=\"2\" } 2.5", "a [x=\"1\",y=\"2\"] Decimal { value: 25, scale: 1 }"),
            ("a{p=\"C:\\\\DIR\\n\\\"q\\\"\"}\t-1 # {trace_id=\"x\"} 1", "a [p=\"C:\\\\DIR\\n\\\"q\\\"\"] Integer(-1)"),
            ("{\"my.name\",\"odd key\"=\"v\"} 1e3", "my.name [odd key=\"v\"] Double(1000.0)"),
            ("a{} NaN", "a [] Double(NaN)"),
            ("# HELP a b", "Ok(Nothing)"),
            ("# EOF", "Ok(Nothing)"),
            ("", "Ok(Nothing)"),
            ("#", "Ok(Nothing)"),
        ] {
            assert_eq!(sample(line), wanted, "{line}");
        }
        assert_eq!(Line::parse("# TYPE a counter"), Ok(Line::Type { name: "a".into(), kind: "counter" }));
        assert_eq!(Line::parse("#\tTYPE \"a b\" gauge"), Ok(Line::Type { name: "a b".into(), kind: "gauge" }));
        assert_eq!(
            Line::parse("# UNIT a_seconds seconds"),
            Ok(Line::Unit { name: "a_seconds".into(), unit: "seconds" })
        );
    }

    #[test]
    fn what_is_no_sample_is_refused() {
        for line in [
            "a",
            "a{",
            "a{x}",
            "a{x=1} 1",
            "a{x=\"1} 1",
            "a{x=\"1\" 1",
            "a one",
            "{} 1",
            "a{\"b\"} 1",
            "{\"a\",\"b\"} 1",
            "<html>",
            "a{=\"x\"} 1",
        ] {
            assert!(Line::parse(line).is_err(), "{line}");
        }
        let many: Vec<String> = (0..=LABELS_MAX).map(|i| format!("l{i}=\"v\"")).collect();
        assert!(Line::parse(&format!("a{{{}}} 1", many.join(","))).is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in any::<String>(), near in "[a-b{}=\",\\\\ #0-9.\u{e9}]{0,40}") {
            let _ = Line::parse(&text);
            let _ = Line::parse(&near);
        }

        #[test]
        fn values_of_labels_are_read_as_they_were(value in any::<String>()) {
            let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let line = format!("a{{x=\"{escaped}\"}} 1");
            prop_assume!(!line.trim_matches([' ', '\t', '\r']).is_empty());
            let Ok(Line::Sample { labels, .. }) = Line::parse(&line) else { panic!("{line}") };
            prop_assert_eq!(&*labels[0].1, &value);
        }
    }
}
