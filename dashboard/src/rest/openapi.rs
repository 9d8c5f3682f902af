//! The description of this API for programs: OpenAPI 3.1, made of the lists that the router is made of. Pure.

use serde_json::{Map, Value, json};

use super::answers::Answers;

/// A parameter without its description is one that nobody can use: this one says so.
const UNDESCRIBED: &str = "see /api/v1";

/// Forms beside JSON, by `format`.
const FORMS: &[(&str, &str)] = &[
    ("text/csv", "/api/v1/connections/report"),
    ("text/html", "/api/v1/connections/report"),
    ("text/csv", "/api/v1/report"),
    ("text/html", "/api/v1/report"),
    ("text/csv", "/api/v1/export"),
    ("application/vnd.apache.parquet", "/api/v1/export"),
];

/// One operation.
pub(super) struct Operation<'a> {
    /// Such as "get".
    pub(super) method: String,
    /// Its path; parts in braces are parameters.
    pub(super) path: &'a str,
    /// What it does, in words.
    pub(super) about: &'a str,
    /// Names of its parameters in the query.
    pub(super) parameters: Vec<&'a str>,
    /// Fields of its body.
    pub(super) body: Option<&'a [&'a str]>,
}

/// The document. `described`: what each parameter takes. `text`: paths that answer with plain text.
pub(super) fn document(operations: &[Operation<'_>], described: &Value, text: &[&str]) -> Value {
    let answers = Answers::read();
    let mut paths: Map<String, Value> = Map::new();
    for of in operations {
        let path = paths.entry(of.path.to_owned()).or_insert_with(|| json!({}));
        let schema = answers.schema(&of.method, of.path).cloned();
        path[&of.method] = operation(of, described, schema, text.contains(&of.path));
    }
    let mut schemas = answers.shapes;
    schemas.insert("Problem".to_owned(), problem());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Starling dashboard",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Names end with their unit: PerSecond, Micros, Bytes, Ms, Ratio (0 to 1); without one they are counts. \
                null: not known. Whole numbers beyond 53 bits are texts.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": {
                "Problem": {
                    "description": "Why there is no answer, and which parameter is wrong (RFC 9457)",
                    "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } },
                },
            },
        },
    })
}

fn operation(of: &Operation<'_>, described: &Value, answer: Option<Value>, plain: bool) -> Value {
    let in_path = of.path.split(['{', '}']).skip(1).step_by(2).map(
        |name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string", "minLength": 1 } }),
    );
    let in_query = of.parameters.iter().map(|name| {
        let about = described.get(*name).and_then(Value::as_str).unwrap_or(UNDESCRIBED);
        json!({ "name": name, "in": "query", "required": false, "description": about, "schema": { "type": "string" } })
    });
    let schema = answer.unwrap_or_else(|| json!({}));
    let mut content = match plain {
        true => json!({ "text/plain": { "schema": schema } }),
        false => json!({ "application/json": { "schema": schema } }),
    };
    // The same as a file or on paper.
    for (form, path) in FORMS {
        if of.path == *path {
            content[form] = json!({ "schema": { "type": "string" } });
        }
    }
    let mut operation = json!({
        "operationId": identifier(&of.method, of.path),
        "summary": of.about,
        "parameters": in_path.chain(in_query).collect::<Vec<_>>(),
        "responses": {
            "200": { "description": of.about, "content": content },
            "default": { "$ref": "#/components/responses/Problem" },
        },
    });
    if let Some(fields) = of.body {
        let properties: Map<String, Value> = fields.iter().map(|field| ((*field).to_owned(), json!({}))).collect();
        let schema = json!({ "type": "object", "properties": properties, "additionalProperties": false });
        operation["requestBody"] = json!({ "content": { "application/json": { "schema": schema } } });
    }
    operation
}

fn problem() -> Value {
    let text = || json!({ "type": "string" });
    json!({
        "type": "object",
        "required": ["type", "title", "status", "detail", "code"],
        "properties": {
            "type": text(),
            "title": text(),
            "status": { "type": "integer" },
            "detail": text(),
            "code": text(),
            "parameter": { "type": ["string", "null"] },
            "error": { "type": "object", "description": "the same as it was called before" },
        },
    })
}

/// "getNodesId" of GET and `/api/v1/nodes/{id}`.
fn identifier(method: &str, path: &str) -> String {
    let mut name = method.to_owned();
    for part in path.trim_start_matches("/api/v1").split(|c: char| !c.is_ascii_alphanumeric()) {
        let mut letters = part.chars();
        name.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        name.extend(letters);
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_has_its_parameters_its_body_and_a_name_of_its_own() {
        let of = |method: &str, path, parameters, body| Operation {
            method: method.into(),
            path,
            about: "it",
            parameters,
            body,
        };
        let operations = [
            of("get", "/api/v1/alerts/{id}", vec!["state"], None),
            of("delete", "/api/v1/alerts/{id}", vec![], None),
            of("post", "/api/v1/alerts/{id}/ack", vec![], Some(&["who", "comment"][..])),
            of("get", "/api/v1/verdict", vec![], None),
        ];
        let made = document(&operations, &json!({ "state": "open" }), &["/api/v1/verdict"]);
        let get = &made["paths"]["/api/v1/alerts/{id}"]["get"];
        assert_eq!((&get["operationId"], &get["parameters"][0]["in"]), (&json!("getAlertsId"), &json!("path")));
        assert_eq!(
            (&get["parameters"][1]["name"], &get["parameters"][1]["description"]),
            (&json!("state"), &json!("open"))
        );
        assert!(made["paths"]["/api/v1/alerts/{id}"]["delete"].is_object());
        let body =
            &made["paths"]["/api/v1/alerts/{id}/ack"]["post"]["requestBody"]["content"]["application/json"]["schema"];
        assert!(body["properties"]["comment"].is_object());
        assert!(made["paths"]["/api/v1/verdict"]["get"]["responses"]["200"]["content"]["text/plain"].is_object());
    }
}
