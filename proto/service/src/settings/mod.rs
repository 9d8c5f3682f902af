//! Settings of a program, from one table: file < environment < flags.
//!
//! [`settings!`](crate::settings!) makes of one table the struct, its defaults, the documentation of every key, its
//! range, and how it is read and shown. The example files in `deploy/config` and `--print-config` come from the same
//! table.
//!
//! The file is TOML. A variable `STARLING_NODE__LABELS__ZONE=a` is the key `labels.zone` of the program `node`; a flag
//! `--set labels.zone=a` the same. Values outside the file are read as TOML when they are TOML (`7`, `true`,
//! `["a", "b"]`) and as text otherwise; a list may be written `a,b`. Everything that is wrong is reported at once, each
//! mistake with its key, what was wanted, and where it came from.

mod document;
mod given;
pub mod kind;
mod table;

use std::{collections::BTreeMap, fmt, net::SocketAddr, path::PathBuf};

use document::Document;
pub use given::Given;
use kind::Kind;
pub use table::{Row, example, example_uncommented};

/// Everything that is wrong with a set of settings, a line each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct SettingsError(Vec<String>);

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The settings file.
    File {
        /// Path as given.
        path: String,
        /// Line, from 1.
        line: usize,
    },
    /// An environment variable, by name.
    Environment(String),
    /// A `--set` flag, as written.
    Flag(String),
}

impl SettingsError {
    /// A line a mistake.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{path} line {line}"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag(flag) => write!(f, "flag --set {flag}"),
        }
    }
}

/// A set of settings that [`settings!`](crate::settings!) made.
pub trait Settings: Default {
    /// Lists every key in order, with its value. `prefix` is empty or ends with '.'.
    fn rows(&self, prefix: &str, rows: &mut Vec<Row>);
    /// Takes the values that were given. A value that is wrong leaves the default and a mistake.
    fn read(&mut self, prefix: &str, reader: &mut Reader);
    /// Checks what one value alone cannot show.
    fn check_together(&self, prefix: &str, mistakes: &mut Mistakes);

    /// Checks settings that were made in code by the rules of the table.
    ///
    /// # Errors
    /// Every mistake at once.
    fn check(&self) -> Result<(), SettingsError> {
        let mut rows = Vec::new();
        self.rows("", &mut rows);
        let given = rows.into_iter().filter_map(|row| Some((row.key, row.value?)));
        read_document::<Self>(Document::of(given), Mistakes::default()).map(drop)
    }
}

/// Settings as read, and where each came from.
#[derive(Debug, Clone)]
pub struct Loaded<S> {
    /// The settings, checked.
    pub settings: S,
    /// Per key that was set anywhere. The others have their defaults.
    origins: BTreeMap<String, Origin>,
}

impl<S: Settings> Loaded<S> {
    /// A settings file with every value and its origin.
    #[must_use]
    pub fn print(&self) -> String {
        table::print(&self.settings, &self.origins)
    }
}

/// The sources of settings.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The settings file.
    pub file: Option<PathBuf>,
    /// Names and values of environment variables; those of other programs are skipped.
    pub environment: Vec<(String, String)>,
    /// `key=value`, later ones win.
    pub overrides: Vec<String>,
}

impl Sources {
    /// `file`, the environment of this process, and `overrides`.
    #[must_use]
    pub fn of_process(file: Option<PathBuf>, overrides: Vec<String>) -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self { file, environment: std::env::vars_os().filter_map(text).collect(), overrides }
    }
}

/// Reads the settings of `program` ("node", "aggregator", "dashboard", "up") from all sources.
///
/// # Errors
/// Every mistake at once, each with key, what was wanted, and origin.
pub fn load<S: Settings>(program: &str, sources: &Sources) -> Result<Loaded<S>, SettingsError> {
    let mut mistakes = Mistakes::default();
    let mut rows = Vec::new();
    S::default().rows("", &mut rows);
    let document = Document::read(program, sources, &rows, &mut mistakes);
    read_document(document, mistakes)
}

/// Reads settings from one table of a file that holds several of a kind, such as a list of routes.
///
/// # Errors
/// Every mistake at once, each with its key and what was wanted.
pub fn of_table<S: Settings>(table: &toml::Table) -> Result<S, SettingsError> {
    let given = table.iter().map(|(key, value)| (key.clone(), value.clone()));
    read_document::<S>(Document::of(given), Mistakes::default()).map(|loaded| loaded.settings)
}

fn read_document<S: Settings>(document: Document, mistakes: Mistakes) -> Result<Loaded<S>, SettingsError> {
    let mut rows = Vec::new();
    let mut settings = S::default();
    settings.rows("", &mut rows);
    let mut reader = Reader { document, mistakes, origins: BTreeMap::new() };
    settings.read("", &mut reader);
    let Reader { document, mut mistakes, origins } = reader;
    document.report_unknown(&rows, &mut mistakes);
    settings.check_together("", &mut mistakes);
    mistakes.finish(Loaded { settings, origins })
}

/// Hands the given values to the rows of a table.
#[derive(Debug)]
pub struct Reader {
    document: Document,
    mistakes: Mistakes,
    origins: BTreeMap<String, Origin>,
}

impl Reader {
    /// The value of `key` when it was given and is right.
    pub fn value<K: Kind>(&mut self, key: &str, kind: &K) -> Option<K::Value> {
        let given = self.document.take(key)?;
        let mut wrong = Vec::new();
        let value = kind.read(&given, &mut wrong);
        for what in wrong {
            self.mistakes.add_from(key, what, given.origin.as_ref());
        }
        if let Some(origin) = given.origin {
            self.origins.insert(key.to_owned(), origin);
        }
        value
    }
}

/// Collects everything that is wrong with a set of settings, to report it in one go.
#[derive(Debug, Default)]
pub struct Mistakes(Vec<String>);

impl Mistakes {
    /// Notes that `key` is wrong: what it is and what was wanted.
    pub fn add(&mut self, key: &str, what: impl fmt::Display) {
        self.add_from(key, what, None);
    }

    fn add_from(&mut self, key: &str, what: impl fmt::Display, origin: Option<&Origin>) {
        self.0.push(match origin {
            Some(origin) => format!("{key}: {what} ({origin})"),
            None => format!("{key}: {what}"),
        });
    }

    fn add_source(&mut self, what: String) {
        self.0.push(what);
    }

    /// Notes listeners of one transport that would have to share an address. Port 0 takes a free one and is never
    /// shared.
    pub fn distinct(&mut self, listeners: &[(&str, SocketAddr)]) {
        for (i, (key, address)) in listeners.iter().enumerate() {
            let same = listeners[..i].iter().find(|(_, other)| other == address && address.port() != 0);
            if let Some((other, _)) = same {
                self.add(key, format_args!("{address} is the address of {other} too, each wants its own"));
            }
        }
    }

    fn finish<T>(self, value: T) -> Result<T, SettingsError> {
        if self.0.is_empty() { Ok(value) } else { Err(SettingsError(self.0)) }
    }
}

#[cfg(test)]
mod tests;
