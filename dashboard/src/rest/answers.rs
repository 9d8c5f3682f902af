//! The shapes of all answers, as JSON Schema: written down in `answers.txt` and read here. Pure.
//!
//! A test holds what the server really answers against them; what is not in the text, or more than it, fails there.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

const TEXT: &str = include_str!("answers.txt");

/// What is written down.
pub(super) struct Answers {
    /// By name: the schema of a shape.
    pub(super) shapes: Map<String, Value>,
    /// By method and path, such as "GET /api/v1/nodes".
    of: BTreeMap<String, Value>,
}

impl Answers {
    pub(super) fn read() -> Self {
        Self::of_text(TEXT)
    }

    /// The schema of what a path answers; `None` when nothing is written down.
    pub(super) fn schema(&self, method: &str, path: &str) -> Option<&Value> {
        self.of.get(&format!("{} {path}", method.to_ascii_uppercase()))
    }

    fn of_text(text: &str) -> Self {
        let mut entries: Vec<String> = Vec::new();
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
            match entries.last_mut() {
                Some(last) if line.starts_with(' ') => last.push_str(line),
                _ => entries.push(line.to_owned()),
            }
        }
        let (mut shapes, mut of) = (Map::new(), BTreeMap::new());
        let mut fields: BTreeMap<&str, Vec<(&str, &str)>> = BTreeMap::new();
        for (name, right) in entries.iter().filter_map(|entry| entry.split_once(" = ")) {
            if name.contains(' ') {
                let all: Vec<_> = right.split(" | ").map(schema).collect();
                of.insert(name.to_owned(), if all.len() == 1 { all[0].clone() } else { json!({ "anyOf": all }) });
                continue;
            }
            let mut own = Vec::new();
            for field in right.split_whitespace() {
                match field.strip_prefix("...") {
                    // Shapes stand behind those they are made of.
                    Some(other) => own.extend(fields.get(other).into_iter().flatten().copied()),
                    None => own.extend(field.split_once(':')),
                }
            }
            shapes.insert(name.to_owned(), object(&own));
            fields.insert(name, own);
        }
        Self { shapes, of }
    }
}

fn object(fields: &[(&str, &str)]) -> Value {
    let required: Vec<_> = fields.iter().map(|(name, _)| *name).filter(|name| !name.ends_with('?')).collect();
    let properties: Map<String, Value> =
        fields.iter().map(|(name, kind)| (name.trim_end_matches('?').to_owned(), schema(kind))).collect();
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

fn schema(kind: &str) -> Value {
    if let Some(kind) = kind.strip_suffix('?') {
        let mut schema = schema(kind);
        return match schema.get("type").cloned() {
            Some(Value::String(word)) => {
                schema["type"] = json!([word, "null"]);
                schema
            }
            _ => json!({ "anyOf": [schema, { "type": "null" }] }),
        };
    }
    let within = |open: char, close: char| kind.strip_prefix(open)?.strip_suffix(close);
    if let Some(items) = within('[', ']') {
        return json!({ "type": "array", "items": schema(items) });
    }
    if let Some(values) = within('{', '}') {
        return json!({ "type": "object", "additionalProperties": schema(values) });
    }
    match kind {
        "int" => json!({ "type": "integer" }),
        "num" => json!({ "type": "number" }),
        "text" => json!({ "type": "string" }),
        "time" => json!({ "type": "string", "format": "date-time" }),
        "wide" => json!({ "type": "string", "pattern": "^-?[0-9]+$" }),
        "bool" => json!({ "type": "boolean" }),
        "any" => json!({}),
        name => json!({ "$ref": format!("#/components/schemas/{name}") }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_is_read_with_what_it_includes() {
        let text = "# a comment\nA = x:int y?:[num?]\nB = ...A z:A?\n  w:{text}\nGET /b = B | [A]\n";
        let read = Answers::of_text(text);
        assert_eq!(
            read.shapes["B"],
            json!({
                "type": "object",
                "properties": {
                    "x": { "type": "integer" },
                    "y": { "type": "array", "items": { "type": ["number", "null"] } },
                    "z": { "anyOf": [{ "$ref": "#/components/schemas/A" }, { "type": "null" }] },
                    "w": { "type": "object", "additionalProperties": { "type": "string" } },
                },
                "required": ["x", "z", "w"],
                "additionalProperties": false,
            })
        );
        assert_eq!(read.schema("get", "/b").unwrap()["anyOf"][1]["items"]["$ref"], "#/components/schemas/A");
        assert!(read.schema("get", "/c").is_none());
    }

    #[test]
    fn every_name_stands_for_a_shape() {
        let answers = Answers::read();
        let all = answers.shapes.values().chain(answers.of.values()).map(Value::to_string).collect::<String>();
        for part in all.split("#/components/schemas/").skip(1) {
            let name = part.split('"').next().unwrap();
            assert!(answers.shapes.contains_key(name), "{name} is no shape");
        }
    }
}
