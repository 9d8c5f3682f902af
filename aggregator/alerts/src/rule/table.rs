//! A table of TOML that is read key by key, with every mistake noted.

use std::collections::BTreeMap;

use starling_promql::parse_duration;
use toml::{Table, Value};

use super::Mistake;
use crate::expression::number;

/// Longest text of a key.
const TEXT_MAX: usize = 1_000;

/// One table of a file.
pub(super) struct Reader<'a> {
    pub(super) file: &'a str,
    pub(super) rule: String,
    table: Table,
    pub(super) mistakes: &'a mut Vec<Mistake>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(file: &'a str, rule: String, table: Table, mistakes: &'a mut Vec<Mistake>) -> Self {
        Self { file, rule, table, mistakes }
    }

    /// Notes a mistake.
    pub(super) fn wrong(&mut self, key: &str, what: impl Into<String>) {
        self.mistakes.push(Mistake {
            file: self.file.to_owned(),
            rule: self.rule.clone(),
            key: key.to_owned(),
            what: what.into(),
        });
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// The value of `key`, which is then read.
    pub(super) fn take(&mut self, key: &str) -> Option<Value> {
        self.table.remove(key)
    }

    /// A text of at most [`TEXT_MAX`] characters; empty when it is not there.
    pub(super) fn text(&mut self, key: &str) -> String {
        match self.take(key) {
            None => String::new(),
            Some(Value::String(text))
                if text.chars().count() <= TEXT_MAX && !text.contains(|c: char| c.is_control()) =>
            {
                text
            }
            Some(Value::String(_)) => {
                self.wrong(key, format!("wanted is a text of at most {TEXT_MAX} characters in one line"));
                String::new()
            }
            Some(other) => {
                self.wrong(key, format!("{} stands here, wanted is a text in quotes", other.type_str()));
                String::new()
            }
        }
    }

    /// A text of at most `most` bytes, of any number of lines.
    pub(super) fn lines(&mut self, key: &str, most: usize) -> String {
        match self.take(key) {
            Some(Value::String(text)) if text.len() <= most => text,
            _ => {
                self.wrong(key, format!("wanted is a text of at most {most} bytes"));
                String::new()
            }
        }
    }

    /// A text that must be there.
    pub(super) fn needed(&mut self, key: &str, wanted: &str) -> String {
        if !self.has(key) {
            self.wrong(key, format!("is missing, wanted is {wanted}"));
        }
        self.text(key)
    }

    /// One of some words.
    pub(super) fn word<T: Copy>(&mut self, key: &str, words: &[(&str, T)], default: Option<T>) -> Option<T> {
        let all = || words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
        if !self.has(key) {
            if default.is_none() {
                self.wrong(key, format!("is missing, wanted is one of {}", all()));
            }
            return default;
        }
        let before = self.mistakes.len();
        let text = self.text(key);
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() && self.mistakes.len() == before {
            self.wrong(key, format!("{:?} is none of {}", text.chars().take(32).collect::<String>(), all()));
        }
        found
    }

    /// Seconds up to `most`, written like "30s" or "5m"; 0 when it is not there.
    pub(super) fn seconds(&mut self, key: &str, most: u32) -> u32 {
        let found = match self.take(key) {
            None => return 0,
            Some(Value::String(text)) if text == "0s" => Ok(0),
            Some(Value::String(text)) => parse_duration(&text),
            Some(Value::Integer(0)) => Ok(0),
            Some(other) => Err(format!("{} stands here, wanted is a length of time such as \"30s\"", other.type_str())),
        };
        let checked = found.and_then(|ms| match u32::try_from(ms / 1_000) {
            Ok(seconds) if ms % 1_000 == 0 && seconds <= most => Ok(seconds),
            _ => Err(format!("wanted are whole seconds, at most {most}")),
        });
        match checked {
            Ok(seconds) => seconds,
            Err(what) => {
                self.wrong(key, what);
                0
            }
        }
    }

    /// A number, plain or as a text with a unit.
    pub(super) fn number(&mut self, key: &str, value: &Value) -> Option<f64> {
        let found = match value {
            Value::Integer(value) => Ok(*value as f64),
            Value::Float(value) if value.is_finite() => Ok(*value),
            Value::String(text) => number(text).map_err(|error| error.what),
            other => Err(format!("{} stands here, wanted is a number such as 0.9 or \"90%\"", other.type_str())),
        };
        found.map_err(|what| self.wrong(key, what)).ok()
    }

    /// Texts by key.
    pub(super) fn texts(&mut self, key: &str, most: usize) -> BTreeMap<String, String> {
        match self.take(key) {
            None => BTreeMap::new(),
            Some(Value::Table(table)) if table.len() <= most => {
                let mut texts = BTreeMap::new();
                for (name, value) in table {
                    match value {
                        Value::String(text) if starling_proto::label::check(&name, &text).is_ok() => {
                            texts.insert(name, text);
                        }
                        _ => self.wrong(&format!("{key}.{name}"), "is no label: wanted is a short text"),
                    }
                }
                texts
            }
            Some(_) => {
                self.wrong(key, format!("wanted is a table of at most {most} texts"));
                BTreeMap::new()
            }
        }
    }

    /// A list of texts.
    pub(super) fn list(&mut self, key: &str, most: usize) -> Vec<String> {
        let wrong = |reader: &mut Self| {
            reader.wrong(key, format!("wanted is a list of at most {most} texts"));
            Vec::new()
        };
        match self.take(key) {
            None => Vec::new(),
            Some(Value::Array(all)) if all.len() <= most => {
                let texts: Option<Vec<String>> = all.into_iter().map(|one| one.as_str().map(str::to_owned)).collect();
                texts.unwrap_or_else(|| wrong(self))
            }
            Some(_) => wrong(self),
        }
    }

    /// Notes every key that was not read. Returns how many mistakes there are now.
    pub(super) fn end(mut self, known: &[&str]) -> usize {
        let left: Vec<String> = self.table.keys().cloned().collect();
        for key in left {
            self.wrong(&key, format!("is no key of a rule; there are {}", known.join(", ")));
        }
        self.mistakes.len()
    }
}
