//! Parameters and object members in the API reference.

use serde::Serialize;
use serde_json::Value;

/// A parameter, or a member of an object.
#[derive(Serialize)]
pub(super) struct Field<'a> {
    name: &'a str,
    /// `path`, `query` or `header`; empty for a member.
    place: &'a str,
    required: bool,
    kind: String,
    /// The name of its type, or of the type of its items, if there is one.
    of: Option<&'a str>,
    nullable: bool,
    limits: String,
    description: &'a str,
    pattern: &'a str,
    example: Option<String>,
}

impl<'a> Field<'a> {
    fn new(name: &'a str, schema: &'a Value) -> Self {
        let (schema, nullable) = without_null(schema);
        let (kind, of) = kind(schema);
        Self {
            name,
            place: "",
            required: false,
            kind,
            of,
            nullable,
            limits: limits(schema),
            description: text(&schema["description"]),
            pattern: text(&schema["pattern"]),
            example: example(schema).map(on_a_line),
        }
    }
}

/// The parameters of a call.
pub(super) fn parameters<'a>(operation: &'a Value) -> Vec<Field<'a>> {
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    let field = |parameter: &'a Value| Field {
        place: text(&parameter["in"]),
        required: parameter["required"] == true,
        description: text(&parameter["description"]),
        example: example(parameter).map(on_a_line),
        ..Field::new(text(&parameter["name"]), &parameter["schema"])
    };
    parameters.map(field).collect()
}

/// The members of an object, required ones first.
pub(super) fn members<'a>(schema: &'a Value) -> Vec<Field<'a>> {
    let needed = schema["required"].as_array().map(Vec::as_slice).unwrap_or_default();
    let members = schema["properties"].as_object().into_iter().flatten();
    let field = |(name, schema): (&'a String, &'a Value)| Field {
        required: needed.iter().any(|needed| needed == name),
        ..Field::new(name, schema)
    };
    let mut members: Vec<_> = members.map(field).collect();
    members.sort_by_key(|member| !member.required);
    members
}

/// Ranges, choices and default.
pub(super) fn limits(schema: &Value) -> String {
    let ranges = [
        ("length ", "minLength", "maxLength"),
        ("", "minimum", "maximum"),
        ("length ", "minItems", "maxItems"),
    ];
    let ranges = ranges.into_iter().filter_map(|(of, least, most)| range(of, &schema[least], &schema[most]));
    let mut words: Vec<_> = ranges.collect();
    if schema["items"].is_object() {
        let items = limits(&schema["items"]);
        words.extend((!items.is_empty()).then(|| format!("each of {items}")));
    }
    if let Some(choices) = schema["enum"].as_array() {
        let choices: Vec<_> = choices.iter().map(|choice| format!("`{}`", on_a_line(choice))).collect();
        words.push(format!("one of {}", choices.join(", ")));
    }
    if !schema["default"].is_null() {
        words.push(format!("default `{}`", on_a_line(&schema["default"])));
    }
    words.join(", ")
}

fn range(of: &str, least: &Value, most: &Value) -> Option<String> {
    match (least.as_u64(), most.as_u64()) {
        (None, None) => None,
        (Some(least), None) => Some(format!("{of}at least {least}")),
        (None, Some(most)) => Some(format!("{of}at most {most}")),
        (Some(least), Some(most)) if least == most => Some(format!("{of}{least}")),
        (Some(least), Some(most)) => Some(format!("{of}{least} to {most}")),
    }
}

/// A schema without `null`, and whether it allows `null`.
fn without_null(schema: &Value) -> (&Value, bool) {
    match schema["oneOf"].as_array().map(Vec::as_slice) {
        Some([schema, null]) if null["type"] == "null" => (schema, true),
        _ => {
            let types = schema["type"].as_array().map(Vec::as_slice).unwrap_or_default();
            (schema, types.iter().any(|name| name == "null"))
        }
    }
}

/// The kind of a value, and the name of its type or of the type of its items.
fn kind(schema: &Value) -> (String, Option<&str>) {
    if let Some(name) = type_name(schema) {
        return (String::new(), Some(name));
    }
    let name = match &schema["type"] {
        Value::Array(names) => names.iter().filter_map(Value::as_str).find(|name| *name != "null"),
        name => name.as_str(),
    };
    match (name.unwrap_or_default(), schema["format"].as_str()) {
        ("array", _) => {
            let (items, of) = kind(&schema["items"]);
            (format!("array of {items}").trim_end().to_owned(), of)
        }
        ("string", Some("date-time")) => ("string (date-time)".to_owned(), None),
        (name, _) => (name.to_owned(), None),
    }
}

/// The name of the type that a schema refers to.
pub(super) fn type_name(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str()?.rsplit('/').next()
}

/// The own example of a schema, a parameter or a body.
pub(super) fn example(of: &Value) -> Option<&Value> {
    [&of["example"], &of["examples"][0]].into_iter().find(|example| !example.is_null())
}

/// A text; empty if there is none.
pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn on_a_line(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn limits_are_words() {
        for (schema, expected) in [
            (json!({ "type": "string", "minLength": 1, "maxLength": 64 }), "length 1 to 64"),
            (json!({ "type": "string", "minLength": 1 }), "length at least 1"),
            (json!({ "type": "integer", "minimum": 0, "maximum": 25, "default": 3 }), "0 to 25, default `3`"),
            (json!({ "type": "integer", "maximum": 25 }), "at most 25"),
            (
                json!({ "minItems": 2, "maxItems": 2, "items": { "maxLength": 9 } }),
                "length 2, each of length at most 9",
            ),
            (json!({ "type": "string", "enum": ["hex", "base32"] }), "one of `hex`, `base32`"),
            (json!({ "type": "string" }), ""),
        ] {
            assert_eq!(limits(&schema), expected, "{schema}");
        }
    }

    #[test]
    fn a_type_is_named_with_and_without_null() {
        let reference = json!({ "$ref": "#/components/schemas/Factor" });
        for (schema, kind, of, nullable) in [
            (json!({ "type": "boolean" }), "boolean", None, false),
            (json!({ "type": ["string", "null"], "format": "date-time" }), "string (date-time)", None, true),
            (reference.clone(), "", Some("Factor"), false),
            (json!({ "oneOf": [reference, { "type": "null" }] }), "", Some("Factor"), true),
            (json!({ "type": "array", "items": reference }), "array of", Some("Factor"), false),
            (json!({ "type": "array", "items": { "type": "string" } }), "array of string", None, false),
        ] {
            let field = Field::new("a", &schema);
            assert_eq!((field.kind.as_str(), field.of, field.nullable), (kind, of, nullable), "{schema}");
        }
    }
}
