//! What was given: the layers of all sources, one value a key.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use toml::{
    Table, Value,
    de::{DeTable, DeValue},
};

use super::{Mistakes, Origin, Row, Sources, given::Given};

/// A name this close (Jaro-Winkler, 0 to 1) to an unknown one is offered instead of it: one or two letters off.
const CLOSE: f64 = 0.85;

/// What programs are called in the names of variables.
const PROGRAMS: [&str; 4] = ["NODE", "AGGREGATOR", "DASHBOARD", "UP"];

/// The name that a variable was to have whose program is almost one of ours. Others are left alone: they are not ours.
fn other_program(name: &str) -> Option<String> {
    let (program, key) = name.strip_prefix("STARLING_")?.split_once("__")?;
    let close = |known: &&str| strsim::jaro_winkler(known, program);
    let nearest = PROGRAMS.into_iter().max_by(|a, b| close(a).total_cmp(&close(b)))?;
    let misspelt = !PROGRAMS.contains(&program) && close(&nearest) > CLOSE;
    misspelt.then(|| format!("STARLING_{nearest}__{key}"))
}

/// All given values by dotted key. Tables are taken apart, so that `labels.zone` of one source and `labels.role` of
/// another stand side by side.
#[derive(Debug, Default)]
pub(super) struct Document {
    given: BTreeMap<String, Given>,
    taken: BTreeSet<String>,
}

impl Document {
    /// Values without an origin.
    pub(super) fn of(values: impl Iterator<Item = (String, Value)>) -> Self {
        let mut document = Self::default();
        for (key, value) in values {
            document.set(&key, Given::plain(value));
        }
        document
    }

    /// Lays the sources on each other.
    pub(super) fn read(program: &str, sources: &Sources, rows: &[Row], mistakes: &mut Mistakes) -> Self {
        let mut document = Self::default();
        if let Some(path) = &sources.file {
            document.read_file(path, mistakes);
        }
        let prefix = format!("STARLING_{}__", program.to_uppercase());
        let mut variables: Vec<_> = sources.environment.iter().collect();
        variables.sort();
        for (name, value) in variables {
            if let Some(meant) = other_program(name) {
                mistakes.add_source(format!("{name}: there is no such program, did you mean {meant}? (environment)"));
            }
            if let Some(key) = name.strip_prefix(&prefix) {
                let key = key.to_lowercase().replace("__", ".");
                document.set_written(&key, value, Origin::Environment(name.clone()));
            } else if let Some(rest) = name.strip_prefix(&prefix[..prefix.len() - 1]) {
                // One underscore too few. Other names that begin so are left alone: orchestrators make some.
                let meant = rows.iter().find(|row| row.key.replace('.', "_") == rest.to_lowercase());
                if let Some(row) = meant {
                    let right = row.key.replace('.', "__").to_uppercase();
                    mistakes.add_source(format!("{name}: did you mean {prefix}{right}? (environment)"));
                }
            }
        }
        for flag in &sources.overrides {
            match flag.split_once('=') {
                Some((key, value)) => document.set_written(key.trim(), value, Origin::Flag(flag.clone())),
                None => mistakes.add_source(format!("--set {flag:?} is not KEY=VALUE")),
            }
        }
        document
    }

    fn read_file(&mut self, path: &Path, mistakes: &mut Mistakes) {
        let shown = path.display().to_string();
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => return mistakes.add_source(format!("cannot read the settings file {shown}: {error}")),
        };
        let line = |at: usize| 1 + text.bytes().take(at).filter(|&byte| byte == b'\n').count();
        let (spanned, errors) = DeTable::parse_recoverable(&text);
        for error in &errors {
            let at = error.span().map_or(1, |span| line(span.start));
            mistakes.add_source(format!("{shown} line {at} is not TOML: {}", error.message()));
        }
        let (true, Ok(table)) = (errors.is_empty(), text.parse::<Table>()) else { return };
        let mut lines = BTreeMap::new();
        find_lines("", spanned.get_ref(), &line, &mut lines);
        for (key, value) in table {
            self.flatten(&key, value, &|key| {
                let line = lines.get(key).copied().unwrap_or(1);
                Given {
                    value: Value::Boolean(false),
                    written: None,
                    origin: Some(Origin::File { path: shown.clone(), line }),
                }
            });
        }
    }

    fn set_written(&mut self, key: &str, written: &str, origin: Origin) {
        let value = as_toml(written).unwrap_or_else(|| Value::String(written.to_owned()));
        self.set(key, Given { value, written: Some(written.to_owned()), origin: Some(origin) });
    }

    /// Replaces what earlier sources gave under `key`.
    fn set(&mut self, key: &str, given: Given) {
        let below = format!("{key}.");
        self.given.retain(|other, _| other != key && !other.starts_with(&below));
        let Given { value, written, origin } = given;
        self.flatten(key, value, &|_| Given {
            value: Value::Boolean(false),
            written: written.clone(),
            origin: origin.clone(),
        });
    }

    /// Puts a value in place, tables key by key. `about` gives what surrounds the value of a key.
    fn flatten(&mut self, key: &str, value: Value, about: &dyn Fn(&str) -> Given) {
        match value {
            Value::Table(table) => {
                for (name, value) in table {
                    self.flatten(&format!("{key}.{name}"), value, about);
                }
            }
            value => drop(self.given.insert(key.to_owned(), Given { value, ..about(key) })),
        }
    }

    /// What was given for `key`; a table of what was given below it.
    pub(super) fn take(&mut self, key: &str) -> Option<Given> {
        if let Some(given) = self.given.get(key) {
            self.taken.insert(key.to_owned());
            return Some(given.clone());
        }
        let below = format!("{key}.");
        let mut table = Table::new();
        let mut origin = None;
        for (name, given) in self.given.iter().filter(|(name, _)| name.starts_with(&below)) {
            self.taken.insert(name.clone());
            // In a table of texts, what a flag or variable said is text.
            let value = given.text().map_or_else(|| given.value.clone(), |text| Value::String(text.to_owned()));
            table.insert(name[below.len()..].to_owned(), value);
            origin.clone_from(&given.origin);
        }
        (!table.is_empty()).then_some(Given { value: Value::Table(table), written: None, origin })
    }

    /// Notes every key that no setting took, with the one that may have been meant.
    pub(super) fn report_unknown(&self, rows: &[Row], mistakes: &mut Mistakes) {
        for (key, given) in self.given.iter().filter(|(key, _)| !self.taken.contains(*key)) {
            let close = |row: &&Row| strsim::jaro_winkler(&row.key, key);
            let nearest = rows.iter().max_by(|a, b| close(a).total_cmp(&close(b))).filter(|row| close(row) > CLOSE);
            let hint = match nearest {
                Some(row) => format!("did you mean {}?", row.key),
                None => {
                    let known: Vec<&str> = rows.iter().map(|row| row.key.as_str()).collect();
                    format!("the keys are {}", known.join(", "))
                }
            };
            mistakes.add_from(key, format_args!("unknown key, {hint}"), given.origin.as_ref());
        }
    }
}

/// On which line each key stands.
fn find_lines(prefix: &str, table: &DeTable<'_>, line: &dyn Fn(usize) -> usize, lines: &mut BTreeMap<String, usize>) {
    for (key, value) in table {
        let name = format!("{prefix}{}", key.get_ref());
        lines.insert(name.clone(), line(key.span().start));
        if let DeValue::Table(inner) = value.get_ref() {
            find_lines(&format!("{name}."), inner, line, lines);
        }
    }
}

fn as_toml(text: &str) -> Option<Value> {
    let mut table = format!("v = {text}").parse::<Table>().ok()?;
    if table.len() == 1 { table.remove("v") } else { None }
}
