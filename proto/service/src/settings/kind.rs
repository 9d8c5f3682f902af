//! What a key of the settings may hold: how it is read, in which range, and how it is shown.
//!
//! Each kind says once what is wanted; the example file, the checks and the texts of mistakes use the same words.

use std::{collections::HashMap, fmt::Display, net::SocketAddr, ops::RangeInclusive, path::PathBuf, time::Duration};

use starling_proto::{
    address,
    ids::NodeId,
    label,
    limits::{LABELS_MAX, NODE_ID_LEN_MAX},
};
use toml::{Table, Value};

use super::given::Given;
use crate::{http_client, secret::Secret};

/// What a key may hold.
pub trait Kind {
    /// The type in the settings.
    type Value;
    /// What is wanted, in words that follow "wanted:".
    fn wanted(&self) -> String;
    /// The value, or `None` and what is wrong with it.
    fn read(&self, given: &Given, wrong: &mut Vec<String>) -> Option<Self::Value>;
    /// The value as it stands in a file; `None` when it is not set.
    fn show(&self, value: &Self::Value) -> Option<Value>;
}

fn found(given: &Given) -> String {
    match &given.value {
        Value::String(text) => format!("{text:?} is text"),
        Value::Table(_) => "is a table".to_owned(),
        Value::Array(_) => format!("{} is a list", given.value),
        Value::Integer(number) => format!("{number} is a whole number"),
        Value::Float(number) => format!("{number} is a number with a fraction"),
        Value::Boolean(truth) => format!("{truth} is not in quotes"),
        Value::Datetime(time) => format!("{time} is a time"),
    }
}

fn refuse<T>(kind: &impl Kind, given: &Given, wrong: &mut Vec<String>) -> Option<T> {
    wrong.push(format!("{}, wanted: {}", found(given), kind.wanted()));
    None
}

/// True or false.
#[must_use]
pub const fn flag() -> Flag {
    Flag
}

/// See [`flag`].
#[derive(Debug)]
pub struct Flag;

impl Kind for Flag {
    type Value = bool;

    fn wanted(&self) -> String {
        "true or false".to_owned()
    }

    fn read(&self, given: &Given, wrong: &mut Vec<String>) -> Option<bool> {
        given.value.as_bool().or_else(|| refuse(self, given, wrong))
    }

    fn show(&self, value: &bool) -> Option<Value> {
        Some(Value::Boolean(*value))
    }
}

/// A whole number within a range.
#[must_use]
pub const fn number<T>(range: RangeInclusive<T>) -> Number<T> {
    Number { range, unit: "" }
}

/// A whole number of `unit` within a range.
#[must_use]
pub const fn number_of<T>(unit: &'static str, range: RangeInclusive<T>) -> Number<T> {
    Number { range, unit }
}

/// See [`number`].
#[derive(Debug)]
pub struct Number<T> {
    range: RangeInclusive<T>,
    unit: &'static str,
}

impl<T: Copy + PartialOrd + Display + TryFrom<i64> + TryInto<i64>> Kind for Number<T> {
    type Value = T;

    fn wanted(&self) -> String {
        let space = if self.unit.is_empty() { "" } else { " " };
        format!("a whole number from {} to {}{space}{}", self.range.start(), self.range.end(), self.unit)
    }

    fn read(&self, given: &Given, wrong: &mut Vec<String>) -> Option<T> {
        let Some(number) = given.value.as_integer() else { return refuse(self, given, wrong) };
        let value = T::try_from(number).ok().filter(|value| self.range.contains(value));
        if value.is_none() {
            wrong.push(format!("{number} is out of range, wanted: {}", self.wanted()));
        }
        value
    }

    fn show(&self, value: &T) -> Option<Value> {
        // A number beyond i64 is beyond every range here; shown as the largest, it is refused by the range.
        Some(Value::Integer((*value).try_into().unwrap_or(i64::MAX)))
    }
}

/// A number of seconds within a range; the key ends in `_secs`.
#[must_use]
pub const fn seconds(range: RangeInclusive<u64>) -> Seconds {
    Seconds(number_of("seconds", range))
}

/// See [`seconds`].
#[derive(Debug)]
pub struct Seconds(Number<u64>);

impl Kind for Seconds {
    type Value = Duration;

    fn wanted(&self) -> String {
        self.0.wanted()
    }

    fn read(&self, given: &Given, wrong: &mut Vec<String>) -> Option<Duration> {
        self.0.read(given, wrong).map(Duration::from_secs)
    }

    fn show(&self, value: &Duration) -> Option<Value> {
        self.0.show(&value.as_secs())
    }
}

/// A number above 0, with or without a fraction, of `unit`.
#[must_use]
pub const fn positive(unit: &'static str) -> Positive {
    Positive(unit)
}

/// See [`positive`].
#[derive(Debug)]
pub struct Positive(&'static str);

impl Kind for Positive {
    type Value = f64;

    fn wanted(&self) -> String {
        format!("a number of {} above 0", self.0)
    }

    fn read(&self, given: &Given, wrong: &mut Vec<String>) -> Option<f64> {
        // Whole numbers up to 2^53 are exact; targets are far below.
        let number = given.value.as_float().or_else(|| given.value.as_integer().map(|whole| whole as f64));
        let Some(number) = number else { return refuse(self, given, wrong) };
        if number.is_finite() && number > 0.0 {
            return Some(number);
        }
        wrong.push(format!("{number} is out of range, wanted: {}", self.wanted()));
        None
    }

    fn show(&self, value: &f64) -> Option<Value> {
        Some(Value::Float(*value))
    }
}

/// A text checked by a rule.
#[derive(Debug)]
pub struct Checked<T> {
    wanted: fn() -> String,
    check: fn(&str) -> Result<T, String>,
    show: fn(&T) -> String,
}

impl<T> Kind for Checked<T> {
    type Value = T;

    fn wanted(&self) -> String {
        (self.wanted)()
    }

    fn read(&self, given: &Given, wrong: &mut Vec<String>) -> Option<T> {
        let Some(text) = given.text() else { return refuse(self, given, wrong) };
        (self.check)(text).map_err(|what| wrong.push(what)).ok()
    }

    fn show(&self, value: &T) -> Option<Value> {
        Some(Value::String((self.show)(value)))
    }
}

/// A text that means something to one program: what is wanted, how it is read, and how it is shown.
#[must_use]
pub const fn parsed<T>(
    wanted: fn() -> String,
    check: fn(&str) -> Result<T, String>,
    show: fn(&T) -> String,
) -> Checked<T> {
    Checked { wanted, check, show }
}

/// A text of a number of characters within a range.
#[must_use]
pub const fn text(range: RangeInclusive<usize>) -> Text {
    Text(range)
}

/// See [`text`].
#[derive(Debug)]
pub struct Text(RangeInclusive<usize>);

impl Kind for Text {
    type Value = String;

    fn wanted(&self) -> String {
        match self.0.start() {
            0 => format!("a text of at most {} characters", self.0.end()),
            least => format!("a text of {least} to {} characters", self.0.end()),
        }
    }

    fn read(&self, given: &Given, wrong: &mut Vec<String>) -> Option<String> {
        let Some(text) = given.text() else { return refuse(self, given, wrong) };
        if self.0.contains(&text.chars().count()) && !text.chars().any(char::is_control) {
            return Some(text.to_owned());
        }
        let start: String = text.chars().take(NODE_ID_LEN_MAX).collect();
        wrong.push(format!("{start:?} is not taken, wanted: {} without control characters", self.wanted()));
        None
    }

    fn show(&self, value: &String) -> Option<Value> {
        Some(Value::String(value.clone()))
    }
}

/// The name of a host or an aggregator.
#[must_use]
pub const fn name() -> Checked<NodeId> {
    Checked {
        wanted: || format!("a name of 1 to {NODE_ID_LEN_MAX} characters of a-z, 0-9, '.', '_' and '-'"),
        check: |text| NodeId::parse(text).map_err(|error| format!("{text:?}: {error}")),
        show: NodeId::to_string,
    }
}

/// A value that is one of some words.
pub trait Word: Copy + PartialEq + 'static {
    /// All of them, each with its word.
    const ALL: &'static [(&'static str, Self)];

    /// Its word.
    #[must_use]
    fn word(&self) -> &'static str {
        Self::ALL.iter().find(|(_, value)| value == self).map_or("", |(word, _)| word)
    }

    /// By its word.
    #[must_use]
    fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().find(|(word, _)| *word == text).map(|(_, value)| *value)
    }
}

fn words<T: Word>() -> String {
    let words: Vec<String> = T::ALL.iter().map(|(word, _)| format!("{word:?}")).collect();
    words.join(" or ")
}

/// One of the words of `T`.
#[must_use]
pub const fn word<T: Word>() -> Checked<T> {
    Checked {
        wanted: words::<T>,
        check: |text| T::parse(text).ok_or_else(|| format!("{text:?} is not {}", words::<T>())),
        show: |value| value.word().to_owned(),
    }
}

/// An address and port to listen on or to be reached at. What may be open to other hosts is checked together with the
/// rest ([`Exposure`](crate::credentials::Exposure)).
#[must_use]
pub const fn listen() -> Checked<SocketAddr> {
    Checked {
        wanted: || "an address and a port. Port 0 takes a free one".to_owned(),
        check: |text| {
            text.parse().map_err(|_| format!("{text:?} is not an address and a port, such as \"127.0.0.1:7400\""))
        },
        show: SocketAddr::to_string,
    }
}

/// "host:port".
#[must_use]
pub const fn host_port() -> Checked<String> {
    Checked {
        wanted: || "\"host:port\"".to_owned(),
        check: |text| address::host_port(text).map(|_| text.to_owned()).map_err(|error| error.to_string()),
        show: String::clone,
    }
}

/// "http://host:port".
#[must_use]
pub const fn http_endpoint() -> Checked<String> {
    Checked {
        wanted: || "\"http://host:port\"".to_owned(),
        check: |text| {
            let wanted = || format!("{text:?} does not start with http://; write \"http://127.0.0.1:4317\"");
            address::host_port(text.strip_prefix("http://").ok_or_else(wanted)?).map_err(|error| error.to_string())?;
            Ok(text.to_owned())
        },
        show: String::clone,
    }
}

/// "http://host:port/path".
#[must_use]
pub const fn http_url() -> Checked<String> {
    Checked {
        wanted: || "\"http://host:port\", with a path or without".to_owned(),
        check: |text| {
            let wanted = || format!("{text:?} does not start with http://; write \"http://127.0.0.1:9090\"");
            let rest = text.strip_prefix("http://").ok_or_else(wanted)?;
            let (address, path) = rest.split_once('/').unwrap_or((rest, ""));
            address::host_port(address).map_err(|error| error.to_string())?;
            if path.chars().any(|c| !c.is_ascii_graphic() || matches!(c, '?' | '#')) {
                return Err(format!("{text:?} has a path with a blank, '?', '#' or what is not ASCII"));
            }
            Ok(text.to_owned())
        },
        show: String::clone,
    }
}

/// A host name without scheme, port or path.
#[must_use]
pub const fn host() -> Checked<String> {
    Checked {
        wanted: || "a host name such as \"dash.example.org\"".to_owned(),
        check: |text| {
            let wanted = "write \"dash.example.org\", without scheme, port or path";
            if address::is_host(text) {
                Ok(text.to_owned())
            } else {
                Err(format!("{text:?} is not a host name; {wanted}"))
            }
        },
        show: String::clone,
    }
}

/// The key of a label.
#[must_use]
pub const fn label_key() -> Checked<String> {
    Checked {
        wanted: || "the key of a label".to_owned(),
        check: |text| label::check_key(text).map(|()| text.to_owned()).map_err(|error| error.to_string()),
        show: String::clone,
    }
}

/// Where a secret stands: "file:/path" or "env:NAME". What else stands there is not repeated: it may be the secret itself.
#[must_use]
pub const fn secret() -> Checked<Secret> {
    Checked {
        wanted: || "where the secret stands: \"file:/path\" or \"env:NAME\"".to_owned(),
        check: |text| {
            Secret::parse(text)
                .ok_or_else(|| "is not \"file:/path\" or \"env:NAME\"; a secret never stands here itself".to_owned())
        },
        show: Secret::to_string,
    }
}

/// An absolute path.
#[must_use]
pub const fn absolute_path() -> Checked<PathBuf> {
    Checked {
        wanted: || "an absolute path".to_owned(),
        check: |text| {
            let path = PathBuf::from(text);
            if path.is_absolute() { Ok(path) } else { Err(format!("{text:?} is not an absolute path")) }
        },
        show: |path| path.display().to_string(),
    }
}

/// A path to a folder; a relative one is taken from where the program was started.
#[must_use]
pub const fn folder() -> Checked<PathBuf> {
    Checked {
        wanted: || "a path to a folder".to_owned(),
        check: |text| {
            if text.is_empty() {
                Err("is empty, wanted: a path to a folder".to_owned())
            } else {
                Ok(PathBuf::from(text))
            }
        },
        show: |path| path.display().to_string(),
    }
}

/// A value that may be absent; absent is the default.
#[must_use]
pub const fn optional<K>(kind: K) -> Optional<K> {
    Optional(kind)
}

/// See [`optional`].
#[derive(Debug)]
pub struct Optional<K>(K);

impl<K: Kind> Kind for Optional<K> {
    type Value = Option<K::Value>;

    fn wanted(&self) -> String {
        self.0.wanted()
    }

    fn read(&self, given: &Given, wrong: &mut Vec<String>) -> Option<Self::Value> {
        self.0.read(given, wrong).map(Some)
    }

    fn show(&self, value: &Self::Value) -> Option<Value> {
        value.as_ref().and_then(|value| self.0.show(value))
    }
}

/// A list with a number of entries within a range.
#[must_use]
pub const fn list<K>(range: RangeInclusive<usize>, kind: K) -> List<K> {
    List { range, kind }
}

/// See [`list`].
#[derive(Debug)]
pub struct List<K> {
    range: RangeInclusive<usize>,
    kind: K,
}

impl<K: Kind> Kind for List<K> {
    type Value = Vec<K::Value>;

    fn wanted(&self) -> String {
        let (least, most) = (self.range.start(), self.range.end());
        let count = if *least == 0 { format!("at most {most}") } else { format!("{least} to {most}") };
        format!("a list of {count}, each {}", self.kind.wanted())
    }

    fn read(&self, given: &Given, wrong: &mut Vec<String>) -> Option<Self::Value> {
        let entries: Vec<Given> = match (&given.value, &given.written) {
            (Value::Array(entries), _) => entries.iter().cloned().map(Given::plain).collect(),
            // From a flag or variable: a,b.
            (_, Some(written)) => {
                let texts = written.split(',').map(str::trim).filter(|text| !text.is_empty());
                texts.map(|text| Given::plain(Value::String(text.to_owned()))).collect()
            }
            _ => return refuse(self, given, wrong),
        };
        if !self.range.contains(&entries.len()) {
            wrong.push(format!("{} entries, wanted: {}", entries.len(), self.wanted()));
            return None;
        }
        entries.iter().map(|entry| self.kind.read(entry, wrong)).collect::<Vec<_>>().into_iter().collect()
    }

    fn show(&self, value: &Self::Value) -> Option<Value> {
        Some(Value::Array(value.iter().filter_map(|entry| self.kind.show(entry)).collect()))
    }
}

/// Most headers that are sent with each request of a client.
const HEADERS_MAX: usize = 16;

/// Headers that are sent with each request of a client.
#[must_use]
pub const fn headers() -> Headers {
    Headers
}

/// See [`headers`].
#[derive(Debug)]
pub struct Headers;

impl Kind for Headers {
    type Value = HashMap<String, String>;

    fn wanted(&self) -> String {
        format!("a table of at most {HEADERS_MAX} texts, by the name of the header")
    }

    fn read(&self, given: &Given, wrong: &mut Vec<String>) -> Option<Self::Value> {
        let Value::Table(table) = &given.value else { return refuse(self, given, wrong) };
        if table.len() > HEADERS_MAX {
            wrong.push(format!("{} headers, wanted: {}", table.len(), self.wanted()));
        }
        let mut headers = HashMap::new();
        for (name, value) in table {
            match value.as_str().map(|value| (http_client::header(name, value), value)) {
                Some((Ok(_), value)) => drop(headers.insert(name.clone(), value.to_owned())),
                Some((Err(error), _)) => wrong.push(error),
                None => wrong.push(format!("the header {name:?} has the value {value}, wanted: a text")),
            }
        }
        Some(headers)
    }

    fn show(&self, value: &Self::Value) -> Option<Value> {
        let table: Table = value.iter().map(|(key, value)| (key.clone(), Value::String(value.clone()))).collect();
        Some(Value::Table(table))
    }
}

/// Labels of a host.
#[must_use]
pub const fn labels() -> Labels {
    Labels
}

/// See [`labels`].
#[derive(Debug)]
pub struct Labels;

impl Kind for Labels {
    type Value = HashMap<String, String>;

    fn wanted(&self) -> String {
        format!(
            "a table of at most {LABELS_MAX} texts; keys of 1 to {} characters without ':', values of 1 to {}",
            starling_proto::limits::LABEL_KEY_LEN_MAX,
            starling_proto::limits::LABEL_VALUE_LEN_MAX
        )
    }

    fn read(&self, given: &Given, wrong: &mut Vec<String>) -> Option<Self::Value> {
        let Value::Table(table) = &given.value else { return refuse(self, given, wrong) };
        if table.len() > LABELS_MAX {
            wrong.push(format!("{} labels, wanted: {}", table.len(), self.wanted()));
        }
        let mut labels = HashMap::new();
        for (key, value) in table {
            match value.as_str().map(|value| (label::check(key, value), value)) {
                Some((Ok(()), value)) => drop(labels.insert(key.clone(), value.to_owned())),
                Some((Err(error), _)) => wrong.push(error.to_string()),
                None => wrong.push(format!("the label {key:?} has the value {value}, wanted: a text")),
            }
        }
        Some(labels)
    }

    fn show(&self, value: &Self::Value) -> Option<Value> {
        let table: Table = value.iter().map(|(key, value)| (key.clone(), Value::String(value.clone()))).collect();
        Some(Value::Table(table))
    }
}
