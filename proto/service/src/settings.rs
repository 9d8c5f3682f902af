//! Where settings come from: file < environment < flags.
//!
//! The file is TOML. A variable `STARLING_NODE__LABELS__ZONE=a` is the key `labels.zone` of the program `node`; a flag
//! `--set labels.zone=a` the same. Values outside the file are read as TOML when they are TOML (`7`, `true`,
//! `["a", "b"]`) and as text otherwise. Unknown keys are errors that name the key and where it came from.

use std::{fmt, path::Path};

use serde::de::DeserializeOwned;
use toml::{Table, Value};

/// Why settings were not taken.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file could not be read.
    #[error("cannot read the settings file {path}")]
    Read {
        /// Path as given.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("the settings file {path} is not TOML: {detail}")]
    Syntax {
        /// Path as given.
        path: String,
        /// Line, column and what was expected.
        detail: String,
    },
    /// A flag is not `key=value`.
    #[error("--set {0:?} is not KEY=VALUE")]
    Flag(String),
    /// A key names a table and a value at once.
    #[error("{origin} sets {key:?}, which is already a plain value")]
    Shape {
        /// Which source.
        origin: Origin,
        /// The key.
        key: String,
    },
    /// A key is unknown, or its value is of the wrong type.
    #[error("{0}")]
    Value(String),
    /// Values that do not make sense, all of them.
    #[error("{}", .0.join("\n"))]
    Invalid(Vec<String>),
}

/// One source of settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The settings file.
    File(String),
    /// An environment variable.
    Environment(String),
    /// A `--set` flag.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "the settings file {path}"),
            Self::Environment(name) => write!(f, "the environment variable {name}"),
            Self::Flag(flag) => write!(f, "the flag --set {flag}"),
        }
    }
}

/// Reads the settings of `program` ("node", "aggregator", "dashboard", "up") from all sources.
///
/// # Errors
/// [`SettingsError`], naming the source, the key and what was wanted.
pub fn load<T: DeserializeOwned>(program: &str, file: Option<&Path>, overrides: &[String]) -> Result<T, SettingsError> {
    load_from(
        program,
        file,
        std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))),
        overrides,
    )
}

fn load_from<T: DeserializeOwned>(
    program: &str,
    file: Option<&Path>,
    environment: impl Iterator<Item = (String, String)>,
    overrides: &[String],
) -> Result<T, SettingsError> {
    let mut layers: Vec<(Origin, Table)> = Vec::new();
    if let Some(path) = file {
        let shown = path.display().to_string();
        let text =
            std::fs::read_to_string(path).map_err(|source| SettingsError::Read { path: shown.clone(), source })?;
        // Checked alone first: the parser then points at line and column.
        toml::from_str::<T>(&text).map_err(|e| SettingsError::Syntax { path: shown.clone(), detail: e.to_string() })?;
        let table =
            text.parse::<Table>().map_err(|e| SettingsError::Syntax { path: shown.clone(), detail: e.to_string() })?;
        layers.push((Origin::File(shown), table));
    }
    let prefix = format!("STARLING_{}__", program.to_uppercase());
    let mut variables: Vec<_> = environment.filter(|(name, _)| name.starts_with(&prefix)).collect();
    variables.sort();
    for (name, value) in variables {
        let key = name[prefix.len()..].to_lowercase().replace("__", ".");
        layers.push((Origin::Environment(name), Table::from_iter([(key, plain(&value))])));
    }
    for flag in overrides {
        let (key, value) = flag.split_once('=').ok_or_else(|| SettingsError::Flag(flag.clone()))?;
        layers.push((Origin::Flag(flag.clone()), Table::from_iter([(key.trim().to_owned(), plain(value))])));
    }

    let mut merged = Table::new();
    for (origin, layer) in layers {
        let mut next = merged.clone();
        for (key, value) in layer {
            if matches!(origin, Origin::File(_)) {
                next.insert(key, value);
            } else {
                set(&mut next, &key, value)
                    .ok_or_else(|| SettingsError::Shape { origin: origin.clone(), key: key.clone() })?;
            }
        }
        // Each layer is checked as it is laid on, so that a mistake is named with its source.
        Value::Table(next.clone())
            .try_into::<T>()
            .map_err(|error| SettingsError::Value(format!("{origin}: {}", error.message())))?;
        merged = next;
    }
    Value::Table(merged).try_into().map_err(|error: toml::de::Error| SettingsError::Value(error.message().to_owned()))
}

fn plain(text: &str) -> Value {
    format!("v = {text}")
        .parse::<Table>()
        .ok()
        .and_then(|mut t| t.remove("v"))
        .unwrap_or_else(|| Value::String(text.to_owned()))
}

/// Sets a dotted key, making tables on the way; `None` when a part of the way is a plain value.
fn set(table: &mut Table, key: &str, value: Value) -> Option<()> {
    match key.split_once('.') {
        None => {
            table.insert(key.to_owned(), value);
            Some(())
        }
        Some((head, rest)) => {
            set(table.entry(head).or_insert_with(|| Value::Table(Table::new())).as_table_mut()?, rest, value)
        }
    }
}

/// Collects everything that is wrong with a set of settings, to report it in one go.
#[derive(Debug, Default)]
pub struct Mistakes(Vec<String>);

impl Mistakes {
    /// Notes that `key` is wrong: what it is and what was wanted.
    pub fn add(&mut self, key: &str, what: impl fmt::Display) {
        self.0.push(format!("{key}: {what}"));
    }

    /// Takes `result`, or notes its error under `key`.
    pub fn take<T, E: fmt::Display>(&mut self, key: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.add(key, error)).ok()
    }

    /// `value`, unless a mistake was noted.
    ///
    /// # Errors
    /// [`SettingsError::Invalid`] with every mistake.
    pub fn finish<T>(self, value: Option<T>) -> Result<T, SettingsError> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(SettingsError::Invalid(self.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[derive(Debug, serde::Deserialize, PartialEq, Default)]
    #[serde(deny_unknown_fields, default)]
    struct Settings {
        name: String,
        port: u16,
        labels: BTreeMap<String, String>,
        seeds: Vec<String>,
    }

    fn load(file: Option<&str>, environment: &[(&str, &str)], flags: &[&str]) -> Result<Settings, String> {
        let directory =
            std::env::temp_dir().join(format!("starling-settings-{}-{:p}", std::process::id(), environment));
        let path = directory.with_extension("toml");
        if let Some(text) = file {
            std::fs::write(&path, text).unwrap();
        }
        let environment = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        let flags: Vec<String> = flags.iter().map(|f| (*f).to_owned()).collect();
        let result = load_from("node", file.map(|_| path.as_path()), environment, &flags).map_err(|e| e.to_string());
        let _ = std::fs::remove_file(path);
        result
    }

    #[test]
    fn later_sources_win() {
        let file = "name = 'file'\nport = 1\nlabels.zone = 'a'\nlabels.role = 'web'";
        let environment =
            [("STARLING_NODE__PORT", "2"), ("STARLING_NODE__LABELS__ZONE", "b"), ("STARLING_OTHER__PORT", "9")];
        let settings = load(Some(file), &environment, &["port=3", "seeds=[\"x:1\"]"]).unwrap();
        assert_eq!((settings.name.as_str(), settings.port), ("file", 3));
        assert_eq!(settings.labels, BTreeMap::from([("zone".into(), "b".into()), ("role".into(), "web".into())]));
        assert_eq!(settings.seeds, ["x:1"]);
    }

    #[test]
    fn mistakes_name_key_and_source() {
        let file = load(Some("nmae = 'x'"), &[], &[]).unwrap_err();
        assert!(file.contains("nmae") && file.contains("line 1"), "{file}");
        let environment = load(None, &[("STARLING_NODE__PROT", "2")], &[]).unwrap_err();
        assert!(environment.contains("STARLING_NODE__PROT") && environment.contains("prot"), "{environment}");
        let flag = load(None, &[], &["port=many"]).unwrap_err();
        assert!(flag.contains("--set port=many") && flag.contains("u16"), "{flag}");
        assert!(load(None, &[], &["port"]).unwrap_err().contains("KEY=VALUE"));
        assert!(load(Some("port = 1"), &[], &["port.x=1"]).unwrap_err().contains("plain value"));
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let mut mistakes = Mistakes::default();
        mistakes.add("a", "is 0, at least 1 is wanted");
        let parsed = mistakes.take("b", "x".parse::<u8>());
        let error = mistakes.finish(parsed).unwrap_err().to_string();
        assert_eq!(error.lines().count(), 2);
    }
}
