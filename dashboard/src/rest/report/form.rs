//! A report as JSON, as CSV and as a page to print. Pure.

use axum::{
    Json,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value};

use crate::{
    error::ApiError,
    rest::{
        csv::{line, quoted},
        paper,
    },
};

/// Rows of one table on paper; JSON and CSV have all of them.
const PRINTED_MAX: usize = 200;

/// What a report is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Json,
    Csv,
    Html,
}

impl Form {
    pub(super) fn asked(text: Option<&str>) -> Result<Self, ApiError> {
        match text {
            None | Some("json") => Ok(Self::Json),
            Some("csv") => Ok(Self::Csv),
            Some("html") => Ok(Self::Html),
            Some(other) => Err(ApiError::invalid("format", format!("{other:?} is not known; known: json, csv, html"))),
        }
    }
}

/// How the values of a column are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// A text of our own.
    Text,
    /// A name or sentence that others chose.
    Name,
    Number,
    /// 0 to 1, printed in percent.
    Share,
    /// Microseconds, printed in milliseconds.
    Micros,
}

/// A column: its name in JSON and CSV, its heading on paper.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column(pub(super) &'static str, pub(super) &'static str, pub(super) Shown);

/// One table. The first column names the rows.
#[derive(Debug)]
pub(super) struct Table {
    /// Such as "ports".
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) columns: &'static [Column],
    pub(super) rows: Vec<Vec<Value>>,
    /// What stands below it on paper.
    pub(super) note: &'static str,
}

/// A report of one second.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) title: &'static str,
    /// Such as "connections", for the name of a file.
    pub(super) file: &'static str,
    /// RFC 3339.
    pub(super) timestamp: String,
    /// Whose.
    pub(super) of: String,
    /// One sentence about the state, which may name nodes.
    pub(super) verdict: String,
    /// How complete it is, in words.
    pub(super) complete: String,
    /// Further fields in JSON.
    pub(super) fields: Map<String, Value>,
    pub(super) tables: Vec<Table>,
}

impl Report {
    pub(super) fn answer(&self, form: Form) -> Response {
        let file = |kind: &str| {
            let name = format!("attachment; filename=\"starling-{}.{kind}\"", self.file);
            HeaderValue::from_str(&name).unwrap_or(HeaderValue::from_static("attachment"))
        };
        match form {
            Form::Json => Json(self.json()).into_response(),
            Form::Csv => {
                let form = HeaderValue::from_static("text/csv; charset=utf-8; header=present");
                ([(header::CONTENT_TYPE, form), (header::CONTENT_DISPOSITION, file("csv"))], self.csv()).into_response()
            }
            Form::Html => paper::page(self.title, &self.html()),
        }
    }

    fn json(&self) -> Value {
        let mut all = Map::new();
        all.insert("timestamp".to_owned(), self.timestamp.clone().into());
        all.insert("of".to_owned(), self.of.clone().into());
        all.extend(self.fields.clone());
        for table in &self.tables {
            let object = |row: &Vec<Value>| -> Value {
                let names = table.columns.iter().map(|column| column.0.to_owned());
                Value::Object(names.zip(row.iter().cloned()).collect())
            };
            all.insert(table.name.to_owned(), table.rows.iter().map(object).collect());
        }
        Value::Object(all)
    }

    /// One row a line, of all tables: what a column is not of stays empty.
    fn csv(&self) -> String {
        let mut names: Vec<&str> = Vec::new();
        for column in self.tables.iter().flat_map(|table| &table.columns[1..]) {
            if !names.contains(&column.0) {
                names.push(column.0);
            }
        }
        let head = ["timestamp", "of", "part", "name"].into_iter().chain(names.iter().copied());
        let mut text = line(head.map(quoted));
        for table in &self.tables {
            for row in &table.rows {
                let value = |name: &&str| {
                    let place = table.columns.iter().skip(1).position(|column| column.0 == *name);
                    place.and_then(|place| row.get(place + 1)).map(field).unwrap_or_default()
                };
                let first = row.first().map(field).unwrap_or_default();
                let fields = [quoted(&self.timestamp), quoted(&self.of), quoted(table.name), first];
                text.push_str(&line(fields.into_iter().chain(names.iter().map(value))));
            }
        }
        text
    }

    fn html(&self) -> String {
        let mut body = format!(
            "<p>{}, second {}, {}.</p>\n<p>{}</p>\n",
            paper::apart(&self.of),
            paper::escaped(&self.timestamp),
            paper::escaped(&self.complete),
            paper::apart(&self.verdict)
        );
        for table in &self.tables {
            body.push_str(&format!("<h2>{}</h2>\n", paper::escaped(table.title)));
            if table.rows.is_empty() {
                body.push_str("<p class=\"faint\">None.</p>\n");
                continue;
            }
            let head: Vec<_> = table.columns.iter().map(|column| column.1).collect();
            let right: Vec<_> =
                table.columns.iter().map(|column| !matches!(column.2, Shown::Text | Shown::Name)).collect();
            let rows = table.rows.iter().take(PRINTED_MAX).map(|row| {
                row.iter().zip(table.columns).map(|(value, column)| printed(value, column.2)).collect::<Vec<_>>()
            });
            body.push_str(&paper::table(&head, &right, rows));
            let more = table.rows.len().saturating_sub(PRINTED_MAX);
            if more > 0 {
                body.push_str(&format!("<p class=\"faint\">And {more} more: format=csv has all of them.</p>\n"));
            }
            if !table.note.is_empty() {
                body.push_str(&format!("<p class=\"faint\">{}</p>\n", paper::escaped(table.note)));
            }
        }
        body
    }
}

/// A field of CSV; empty when nothing is known.
fn field(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        // A spreadsheet would run it.
        Value::String(text) if text.starts_with(['=', '+', '-', '@']) => quoted(format!("'{text}")),
        Value::String(text) => quoted(text),
        other => quoted(other.to_string()),
    }
}

fn printed(value: &Value, shown: Shown) -> String {
    let number = |factor: f64, after: &str| match value.as_f64() {
        Some(number) => format!("{}{after}", figures(number * factor)),
        None => "–".to_owned(),
    };
    match (shown, value) {
        (Shown::Text, Value::String(text)) => paper::escaped(text),
        (Shown::Name, Value::String(text)) => paper::apart(text),
        (Shown::Share, _) => number(100.0, "%"),
        (Shown::Micros, _) => number(1e-3, "\u{202f}ms"),
        _ => number(1.0, ""),
    }
}

/// Three figures at least, and thousands apart.
fn figures(number: f64) -> String {
    let digits = match number.abs() {
        is if is >= 100.0 || is.fract() == 0.0 => 0,
        is if is >= 10.0 => 1,
        is if is >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{number:.digits$}");
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut grouped = String::new();
    for (place, digit) in whole.chars().enumerate() {
        let left = whole.len() - place;
        if place > 0 && left.is_multiple_of(3) && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + rest
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn report() -> Report {
        let states = Table {
            name: "states",
            title: "By state",
            columns: &[Column("state", "State", Shown::Text), Column("sockets", "Sockets", Shown::Number)],
            rows: vec![vec![json!("established"), json!(1_234_567)]],
            note: "",
        };
        let nodes = Table {
            name: "nodes",
            title: "By node",
            columns: &[
                Column("node", "Node", Shown::Name),
                Column("warningRatio", "Warning", Shown::Share),
                Column("sockets", "Sockets", Shown::Number),
            ],
            rows: vec![vec![json!("<i>,"), json!(0.1234), json!(null)]],
            note: "Said below.",
        };
        Report {
            title: "Connections",
            file: "connections",
            timestamp: "2026-11-29T10:00:00.000Z".into(),
            of: "zone:a".into(),
            verdict: "Healthy".into(),
            complete: "2 of 2 nodes".into(),
            fields: Map::from_iter([("more".to_owned(), json!(1))]),
            tables: vec![states, nodes],
        }
    }

    #[test]
    fn json_has_each_table_by_its_name() {
        let json = report().json();
        assert_eq!((&json["of"], &json["more"]), (&json!("zone:a"), &json!(1)));
        assert_eq!(json["states"], json!([{ "state": "established", "sockets": 1_234_567 }]));
        assert_eq!(json["nodes"][0]["sockets"], Value::Null);
    }

    #[test]
    fn csv_has_one_line_a_row_and_all_columns() {
        assert_eq!(
            report().csv(),
            "timestamp,of,part,name,sockets,warningRatio\r\n\
             2026-11-29T10:00:00.000Z,zone:a,states,established,1234567,\r\n\
             2026-11-29T10:00:00.000Z,zone:a,nodes,\"<i>,\",,0.1234\r\n"
        );
    }

    #[test]
    fn no_spreadsheet_runs_a_name() {
        assert_eq!(["=1+1", "-x", "a=b"].map(|text| field(&json!(text))), ["'=1+1", "'-x", "a=b"]);
        assert_eq!(field(&json!(-3)), "-3");
    }

    #[test]
    fn paper_has_names_as_text_and_numbers_for_people() {
        let html = report().html();
        for part in
            ["<td class=\"n\">1,234,567</td>", "<bdi>&lt;i&gt;,</bdi>", "<td class=\"n\">12.3%</td>", "Said below."]
        {
            assert!(html.contains(part), "{part} is not in {html}");
        }
        assert!(!html.contains("<i>"), "{html}");
    }

    #[test]
    fn numbers_have_three_figures() {
        let all = [0.0, 0.01234, 1.234, 56.78, 999.6, -1_000.0, -123_456.7];
        assert_eq!(all.map(figures), ["0", "0.012", "1.23", "56.8", "1,000", "-1,000", "-123,457"]);
    }

    #[test]
    fn an_unknown_form_is_refused() {
        assert!(Form::asked(Some("pdf")).is_err());
        assert_eq!(Form::asked(None), Ok(Form::Json));
    }
}
