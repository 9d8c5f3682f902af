//! Rows of CSV, as `store export` writes them; of its columns only `time`, `name` and a value must be there.

use std::collections::HashMap;

use starling_history::Subject;
use starling_proto::catalogue::Kind;

use super::{
    json::{exact, scope},
    said::{Amount, Meant, Part, Reading, by_parts, histogram_scale, number},
};

use crate::times::ms;

/// Series whose spelling is remembered.
const SPELLINGS_MAX: usize = 1_000_000;
/// All columns that are known.
const COLUMNS: [&str; 14] = [
    "time",
    "subject",
    "name",
    "attributes",
    "kind",
    "unit",
    "scale",
    "scope",
    "value",
    "total",
    "nodes",
    "min",
    "max",
    "histogram",
];

/// Reads row by row.
#[derive(Debug, Default)]
pub(crate) struct Csv {
    /// Where each column is; empty before the first row.
    columns: HashMap<&'static str, usize>,
    spellings: HashMap<Vec<String>, Meant>,
}

impl Csv {
    /// Reads a row; `None` for the first one, which names the columns.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(crate) fn read(&mut self, line: &str, reading: &Reading) -> Result<Option<(Meant, i64, Amount)>, String> {
        let fields = fields(line)?;
        if self.columns.is_empty() {
            for (at, field) in fields.iter().enumerate() {
                let known = COLUMNS.iter().find(|name| *name == field);
                self.columns.insert(
                    known.ok_or_else(|| {
                        format!("the first row names the columns; {field:?} is none of {}", COLUMNS.join(", "))
                    })?,
                    at,
                );
            }
            if !self.columns.contains_key("time") || !self.columns.contains_key("name") {
                self.columns.clear();
                return Err("the first row names the columns; `time` and `name` are missing".to_owned());
            }
            return Ok(None);
        }
        let field = |name: &str| self.columns.get(name).and_then(|at| fields.get(*at)).map_or("", String::as_str);
        let time = field("time");
        let ms = ms(time).ok_or_else(|| format!("{time:?} is no time"))?;
        let part = match (field("kind"), field("total"), field("histogram")) {
            (_, total, _) if !total.is_empty() => Part::Total,
            ("histogram", ..) => Part::Exact,
            ("counter", ..) => Part::Increment,
            ("gauge" | "", ..) => Part::Level,
            (other, ..) => return Err(format!("kind is {other:?}; known are counter, gauge, histogram")),
        };
        let key: Vec<String> = ["subject", "name", "attributes", "unit", "scale", "scope", "kind"]
            .map(|name| field(name).to_owned())
            .into_iter()
            .chain([format!("{part:?}")])
            .collect();
        let meant = match self.spellings.get(&key) {
            Some(known) => known.clone(),
            None => {
                let meant = meant(&field, part, reading)?;
                if self.spellings.len() < SPELLINGS_MAX {
                    self.spellings.insert(key, meant.clone());
                }
                meant
            }
        };
        let value = |name: &str| match field(name) {
            "" => Ok(None),
            text => number(text).map(Some).ok_or_else(|| format!("{name} is no number: {text:?}")),
        };
        let nodes = match field("nodes") {
            "" => None,
            text => Some(text.parse::<u32>().map_err(|_| format!("nodes is no number: {text:?}"))?),
        };
        let amount = match (part, nodes) {
            (Part::Exact, nodes) => Amount::Histogram(exact(field("histogram"))?, nodes.unwrap_or(1)),
            (_, nodes) => {
                let name = if part == Part::Total { "total" } else { "value" };
                let number = value(name)?.ok_or_else(|| format!("{name} is empty"))?;
                match nodes {
                    None => Amount::One(number),
                    Some(nodes) => {
                        Amount::Over(number, nodes, value("min")?.unwrap_or(number), value("max")?.unwrap_or(number))
                    }
                }
            }
        };
        Ok(Some((meant, ms, amount)))
    }
}

fn meant<'a>(field: &impl Fn(&str) -> &'a str, part: Part, reading: &Reading) -> Result<Meant, String> {
    let subject = match field("subject") {
        "" => reading.subject.clone(),
        subject => Subject::parse(subject).map_err(|error| error.to_string())?,
    };
    let kind = match part {
        Part::Level => Kind::Gauge,
        Part::Exact => Kind::Histogram,
        _ => Kind::Counter,
    };
    let attributes = attributes(field("attributes"))?;
    let attributes: Vec<_> = attributes.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let unit = field("unit");
    let scale = match field("scale") {
        "" if kind == Kind::Histogram => histogram_scale(unit),
        "" => 0,
        text => text.parse().map_err(|_| format!("scale is no digit: {text:?}"))?,
    };
    let series = by_parts(field("name"), &attributes, kind, unit, scale, scope(field("scope"))?)?;
    Ok(Meant { subject, series, part })
}

/// `key=value;key=value`, where a backslash stands before `=`, `;` and itself.
pub(crate) fn attributes(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut all = Vec::new();
    let (mut key, mut part, mut escaped) = (None, String::new(), false);
    for c in text.chars().chain([';']) {
        match c {
            _ if escaped => {
                part.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            '=' if key.is_none() => key = Some(std::mem::take(&mut part)),
            ';' => match key.take() {
                Some(key) => all.push((key, std::mem::take(&mut part))),
                None if part.is_empty() => {}
                None => return Err(format!("attributes are key=value;key=value, not {text:?}")),
            },
            c => part.push(c),
        }
    }
    Ok(all)
}

/// The fields of a row (RFC 4180).
fn fields(line: &str) -> Result<Vec<String>, String> {
    let (mut all, mut field, mut quoted) = (Vec::new(), String::new(), false);
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => all.push(std::mem::take(&mut field)),
            c => field.push(c),
        }
    }
    if quoted {
        return Err("a quoted field is not closed".to_owned());
    }
    all.push(field);
    Ok(all)
}
