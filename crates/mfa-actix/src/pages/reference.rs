//! The API reference: the OpenAPI document in reading order.

use std::collections::BTreeSet;

use mfa_domain::ports::Scope;
use serde::Serialize;
use serde_json::{Map, Value};

use super::fields::{Field, example, limits, members, parameters, text, type_name};
use crate::routes::{Access, Row, TABLE};

/// The areas in order: the tags of the document, and their headings.
const AREAS: [(&str, &str); 7] = [
    ("users", "Users"),
    ("factors", "Factors"),
    ("verification", "Verification"),
    ("challenges", "Challenges"),
    ("administration", "Administration"),
    ("audit", "Audit trail"),
    ("operation", "Operation"),
];

/// The contents of the page.
#[derive(Serialize)]
pub(super) struct Contents<'a> {
    title: &'a str,
    version: &'a str,
    description: &'a str,
    /// The form of an API key.
    key_format: &'a str,
    areas: Vec<Area<'a>>,
    types: Vec<Type<'a>>,
    problems: Vec<KnownProblem<'a>>,
}

#[derive(Serialize)]
struct Area<'a> {
    id: &'static str,
    title: &'static str,
    calls: Vec<Call<'a>>,
}

#[derive(Serialize)]
struct Call<'a> {
    id: &'a str,
    method: &'static str,
    path: &'static str,
    summary: &'a str,
    description: &'a str,
    /// Which API key it needs.
    access: String,
    parameters: Vec<Field<'a>>,
    body: Option<RequestBody<'a>>,
    answers: Vec<Answer<'a>>,
}

#[derive(Serialize)]
struct RequestBody<'a> {
    /// The name of its type.
    name: Option<&'a str>,
    description: &'a str,
    /// The alternatives.
    forms: Vec<Form<'a>>,
}

#[derive(Serialize)]
struct Form<'a> {
    fields: Vec<Field<'a>>,
    example: String,
}

#[derive(Serialize)]
struct Answer<'a> {
    status: &'a str,
    description: &'a str,
    /// The name of the type of its body, if there is one.
    of: Option<&'a str>,
    headers: Vec<&'a str>,
    /// The codes of its possible problems.
    problems: Vec<&'a str>,
    examples: Vec<String>,
}

#[derive(Serialize)]
struct Type<'a> {
    name: &'a str,
    description: &'a str,
    limits: String,
    fields: Vec<Field<'a>>,
}

#[derive(Serialize)]
struct KnownProblem<'a> {
    code: &'a str,
    status: &'a Value,
    title: &'a str,
    example: String,
}

impl<'a> Contents<'a> {
    /// Reads the contents from an OpenAPI document of the routes.
    pub(super) fn of(document: &'a Value) -> Self {
        let (info, components) = (&document["info"], &document["components"]);
        let area = |(id, title)| Area { id, title, calls: calls(document, id) };
        let areas: Vec<_> = AREAS.into_iter().map(area).collect();
        // Request bodies are shown with their calls.
        let calls = areas.iter().flat_map(|area| &area.calls);
        let bodies: BTreeSet<_> = calls.filter_map(|call| call.body.as_ref()?.name).collect();
        let types = entries(&components["schemas"]).filter(|(name, _)| !bodies.contains(name));
        let types = types.map(|(name, schema)| Type {
            name,
            description: text(&schema["description"]),
            limits: limits(schema),
            fields: members(schema),
        });
        let problems = entries(&components["examples"]).map(|(code, example)| KnownProblem {
            code,
            status: &example["value"]["status"],
            title: text(&example["summary"]),
            example: shown(&example["value"]),
        });
        Self {
            title: text(&info["title"]),
            version: text(&info["version"]),
            description: text(&info["description"]),
            key_format: text(&components["securitySchemes"]["api_key"]["bearerFormat"]),
            types: types.collect(),
            problems: problems.collect(),
            areas,
        }
    }
}

/// The calls of one area, in the order of the table.
fn calls<'a>(document: &'a Value, area: &str) -> Vec<Call<'a>> {
    let of_area = |row: &'static Row| {
        let operation = &document["paths"][row.path][row.method.as_str().to_ascii_lowercase()];
        (operation["tags"][0] == area).then(|| call(document, row, operation))
    };
    TABLE.iter().filter_map(of_area).collect()
}

fn call<'a>(document: &'a Value, row: &'static Row, operation: &'a Value) -> Call<'a> {
    let content = &operation["requestBody"]["content"]["application/json"];
    Call {
        id: text(&operation["operationId"]),
        method: row.method.as_str(),
        path: row.path,
        summary: text(&operation["summary"]),
        description: text(&operation["description"]),
        access: access(row),
        parameters: parameters(operation),
        body: content.is_object().then(|| body(document, &content["schema"])),
        answers: entries(&operation["responses"])
            .map(|(status, response)| answer(document, status, response))
            .collect(),
    }
}

fn access(row: &Row) -> String {
    match row.access {
        Access::Open => "no API key".to_owned(),
        Access::Key(scopes, _) if scopes.len() == Scope::ALL.len() => "an API key".to_owned(),
        Access::Key(scopes, _) => {
            let scopes: Vec<_> = scopes.iter().map(|scope| format!("`{}`", scope.as_str())).collect();
            format!("an API key with the scope {}", scopes.join(" or "))
        }
    }
}

fn body<'a>(document: &'a Value, schema: &'a Value) -> RequestBody<'a> {
    let name = type_name(schema);
    let schema = resolved(document, schema);
    let forms = schema["oneOf"].as_array().map_or(std::slice::from_ref(schema), Vec::as_slice);
    let form = |form: &'a Value| Form { fields: members(form), example: shown(&smallest(document, form)) };
    RequestBody { name, description: text(&schema["description"]), forms: forms.iter().map(form).collect() }
}

fn answer<'a>(document: &'a Value, status: &'a str, response: &'a Value) -> Answer<'a> {
    let response = resolved(document, response);
    let contents = || entries(&response["content"]).map(|(_, content)| content);
    let problems: Vec<_> =
        contents().flat_map(|content| entries(&content["examples"])).map(|(code, _)| code).collect();
    let own =
        |content: &'a Value| example(content).or_else(|| example(resolved(document, &content["schema"])));
    // Problems are shown once, below all calls.
    let examples = contents().filter(|_| problems.is_empty()).filter_map(own).map(shown);
    Answer {
        status,
        description: text(&response["description"]),
        of: contents().find_map(|content| type_name(&content["schema"])),
        headers: entries(&response["headers"]).map(|(name, _)| name).collect(),
        examples: examples.collect(),
        problems,
    }
}

/// The example of a schema, or an object of its required members' examples.
fn smallest(document: &Value, schema: &Value) -> Value {
    let schema = resolved(document, schema);
    if let Some(example) = example(schema) {
        return example.clone();
    }
    let needed = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let member = |name: &str| (name.to_owned(), smallest(document, &schema["properties"][name]));
    Value::Object(needed.map(member).collect::<Map<_, _>>())
}

/// The target of a reference; `value` itself if it is none.
fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    let reference = value["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
    reference.and_then(|pointer| document.pointer(pointer)).unwrap_or(value)
}

/// The members of an object; empty for any other value.
fn entries(object: &Value) -> impl Iterator<Item = (&str, &Value)> {
    object.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value))
}

/// A text unchanged, any other value as JSON.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        value => serde_json::to_string_pretty(value).unwrap_or_default(),
    }
}
