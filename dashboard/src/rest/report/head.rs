//! What every report begins with. Pure.

use serde_json::{Map, Value};

use super::{Material, form::Report};
use crate::{hub::verdict_text, rest::time::rfc3339};

/// A report without tables. `fields` are those of an endpoint.
pub(super) fn head(of: &Material, fields: Value) -> Report {
    let (second, verdict) = (&of.reading.second, &of.reading.verdict);
    let complete = second.completeness().map_or_else(
        || "one node".to_owned(),
        |is| format!("{} of {} nodes", is.nodes_reporting(), is.nodes_expected()),
    );
    Report {
        title: "",
        file: "",
        timestamp: rfc3339(second.tick()),
        of: of.of.clone(),
        verdict: format!("{}: {}", verdict.word, verdict_text(verdict)),
        complete,
        fields: match fields {
            Value::Object(fields) => fields,
            _ => Map::new(),
        },
        tables: Vec::new(),
    }
}
