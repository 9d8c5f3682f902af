//! The API for people: the same description as for programs, as a page. Pure.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::paper::{escaped, table};

/// Where a shape is described.
const SHAPES: &str = "#/components/schemas/";

/// The body of the page, of the OpenAPI document. `base` stands before every path.
pub(super) fn page(openapi: &Value, base: &str) -> String {
    let empty = Map::new();
    let map = |of: &'static str| openapi.pointer(of).and_then(Value::as_object).unwrap_or(&empty);
    let mut body = format!(
        "<p>Version {0}. {1}</p>\n<p><a href=\"{2}/api/v1/openapi.json\">openapi.json</a> says the same to programs. The paths are \
         below; behind them <a href=\"#shapes\">what they answer</a>. WebSockets under <code>/ws</code> send the same each \
         second; <a href=\"{2}/\">the page</a> is made of all this.</p>\n<h2>Paths</h2>\n",
        text(openapi, "/info/version"),
        text(openapi, "/info/description"),
        escaped(base)
    );
    for (path, operations) in map("/paths") {
        for (method, operation) in operations.as_object().unwrap_or(&empty) {
            body.push_str(&one(path, method, operation));
        }
    }
    body.push_str("<h2 id=\"shapes\">What they answer</h2>\n");
    for (name, shape) in map("/components/schemas") {
        let fields = shape.get("properties").and_then(Value::as_object).unwrap_or(&empty);
        let _ = write!(body, "<h3 id=\"{0}\">{0}</h3>\n<p>", escaped(name));
        let listed = fields.iter().map(|(field, of)| format!("<code>{}</code>&nbsp;{}", escaped(field), kind(of)));
        body.push_str(&listed.collect::<Vec<_>>().join(", "));
        body.push_str("</p>\n");
    }
    body
}

fn text(of: &Value, pointer: &str) -> String {
    escaped(of.pointer(pointer).and_then(Value::as_str).unwrap_or_default())
}

fn one(path: &str, method: &str, operation: &Value) -> String {
    let mut out = format!(
        "<h3><code>{} {}</code></h3>\n<p>{}</p>\n",
        escaped(&method.to_ascii_uppercase()),
        escaped(path),
        text(operation, "/summary")
    );
    let parameters = operation.get("parameters").and_then(Value::as_array);
    let rows: Vec<_> = parameters.into_iter().flatten().collect();
    if !rows.is_empty() {
        let row = |is: &&Value| vec![format!("<code>{}</code>", text(is, "/name")), text(is, "/description")];
        out.push_str(&table(&["Parameter", "Takes"], &[], rows.iter().map(row)));
    }
    let body = operation.pointer("/requestBody/content/application~1json/schema/properties").and_then(Value::as_object);
    if let Some(body) = body {
        let fields: Vec<_> = body.keys().map(|field| format!("<code>{}</code>", escaped(field))).collect();
        let _ = writeln!(out, "<p>Body: {}</p>", fields.join(", "));
    }
    let answers = operation.pointer("/responses/200/content").and_then(Value::as_object);
    for (form, answer) in answers.into_iter().flatten() {
        let _ = writeln!(out, "<p class=\"faint\">{}: {}</p>", escaped(form), kind(&answer["schema"]));
    }
    out
}

/// The type of a field in words, with a link to a shape.
fn kind(of: &Value) -> String {
    if let Some(name) = of.get("$ref").and_then(Value::as_str).and_then(|is| is.strip_prefix(SHAPES)) {
        return format!("<a href=\"#{0}\">{0}</a>", escaped(name));
    }
    if let Some(any) = of.get("anyOf").and_then(Value::as_array) {
        return any.iter().map(kind).collect::<Vec<_>>().join(" or ");
    }
    let words: Vec<&str> = match of.get("type") {
        Some(Value::String(word)) => vec![word],
        Some(Value::Array(words)) => words.iter().filter_map(Value::as_str).collect(),
        _ => vec!["anything"],
    };
    let word = |word: &&str| match (*word, of.get("items"), of.get("additionalProperties")) {
        ("array", Some(items), _) => format!("list of {}", kind(items)),
        ("object", _, Some(values)) if values.is_object() => format!("map to {}", kind(values)),
        ("string", ..) if of.get("format").is_some() => "time".to_owned(),
        ("string", ..) => "text".to_owned(),
        (other, ..) => escaped(other),
    };
    words.iter().map(word).collect::<Vec<_>>().join(" or ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn types_are_said_in_words() {
        let kinds = [
            (json!({ "type": ["number", "null"] }), "number or null"),
            (json!({ "type": "array", "items": { "$ref": "#/components/schemas/A" } }), "list of <a href=\"#A\">A</a>"),
            (json!({ "type": "object", "additionalProperties": { "type": "string" } }), "map to text"),
            (json!({ "type": "string", "format": "date-time" }), "time"),
            (json!({ "anyOf": [{ "type": "integer" }, { "type": "null" }] }), "integer or null"),
        ];
        for (schema, words) in kinds {
            assert_eq!(kind(&schema), words);
        }
    }

    #[test]
    fn a_path_has_its_parameters_body_and_answer() {
        let operation = json!({
            "summary": "it <is>",
            "parameters": [{ "name": "id", "description": "which" }],
            "requestBody": { "content": { "application/json": { "schema": { "properties": { "who": {} } } } } },
            "responses": { "200": { "content": { "application/json": { "schema": { "$ref": "#/components/schemas/A" } } } } },
        });
        let page = page(
            &json!({
                "info": { "version": "1" },
                "paths": { "/a/{id}": { "post": operation } },
                "components": { "schemas": { "A": { "properties": { "x": { "type": "integer" } } } } },
            }),
            "/starling",
        );
        for part in [
            "href=\"/starling/api/v1/openapi.json\"",
            "<code>POST /a/{id}</code>",
            "it &lt;is&gt;",
            "<td>which</td>",
            "Body: <code>who</code>",
            "application/json: <a href=\"#A\">A</a>",
            "<h3 id=\"A\">A</h3>",
            "<code>x</code>&nbsp;integer",
        ] {
            assert!(page.contains(part), "{part} is not in {page}");
        }
    }
}
