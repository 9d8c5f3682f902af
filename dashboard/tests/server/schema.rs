//! Holds answers against the JSON Schema that the server describes them by: the part of it that the description uses.

use serde_json::Value;

/// What of `value` is not as `schema` says, with its place; empty when all is.
pub(crate) fn faults(document: &Value, schema: &Value, value: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    check(document, schema, value, "$", &mut faults);
    faults
}

fn check(document: &Value, schema: &Value, value: &Value, place: &str, faults: &mut Vec<String>) {
    if let Some(name) = schema["$ref"].as_str() {
        let shape = document.pointer(name.trim_start_matches('#')).unwrap_or_else(|| panic!("no {name}"));
        return check(document, shape, value, place, faults);
    }
    if let Some(any) = schema["anyOf"].as_array() {
        let tried: Vec<_> = any.iter().map(|one| self::faults(document, one, value)).collect();
        if tried.iter().all(|one| !one.is_empty()) {
            faults.push(format!("{place}: none of {tried:?}"));
        }
        return;
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_i64() || number.is_u64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let allowed = |word: &Value| *word == kind || (*word == "number" && kind == "integer");
    let is_allowed = match &schema["type"] {
        Value::Array(words) => words.iter().any(allowed),
        Value::Null => true,
        word => allowed(word),
    };
    if !is_allowed {
        faults.push(format!("{place}: {kind}, wanted {}", schema["type"]));
    }
    if let (Some(items), Some(values)) = (schema.get("items"), value.as_array()) {
        for (at, value) in values.iter().enumerate() {
            check(document, items, value, &format!("{place}[{at}]"), faults);
        }
    }
    let Some(fields) = value.as_object() else { return };
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    faults
        .extend(required.filter(|name| !fields.contains_key(*name)).map(|name| format!("{place}.{name}: is missing")));
    for (name, value) in fields {
        let place = format!("{place}.{name}");
        match (schema["properties"].get(name), &schema["additionalProperties"]) {
            (Some(own), _) => check(document, own, value, &place, faults),
            (None, Value::Bool(false)) => faults.push(format!("{place}: is not described")),
            (None, values) => check(document, values, value, &place, faults),
        }
    }
}
