//! The OpenAPI document, as tests read it.

use std::collections::{BTreeSet, HashMap};

use jsonschema::Validator;
use mfa_actix::openapi_json;
use serde_json::Value;

use crate::world::Answer;

pub(crate) fn document() -> Value {
    serde_json::from_str(openapi_json()).unwrap()
}

/// Each call of the document: method and path, and what it says of it.
pub(crate) fn operations(document: &Value) -> impl Iterator<Item = (String, &Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    paths.flat_map(|(path, methods)| {
        let methods = methods.as_object().unwrap().iter();
        methods.map(move |(method, operation)| (format!("{} {path}", method.to_uppercase()), operation))
    })
}

/// What `value` refers to, if it is a reference.
pub(crate) fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    let Some(reference) = value["$ref"].as_str() else { return value };
    document.pointer(reference.trim_start_matches('#')).unwrap_or_else(|| panic!("{reference} is not there"))
}

/// Of answers: a member that the document does not name is an error here, as a client need not expect it.
pub(crate) fn validator(document: &Value, schema: &Value) -> Validator {
    let mut root = schema.clone();
    root["components"] = document["components"].clone();
    close(&mut root);
    jsonschema::options().should_validate_formats(true).build(&root).unwrap()
}

/// Allows no member that is not named, in all objects within.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            members.values_mut().for_each(close);
            if members.contains_key("properties") {
                members.entry("additionalProperties").or_insert(Value::Bool(false));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

/// Holds answers to what the document says of them.
pub(crate) struct Described {
    pub(crate) document: Value,
    /// By their schemas, which many answers share.
    validators: HashMap<String, Validator>,
    /// What was answered so far: operation and status.
    pub(crate) answered: BTreeSet<String>,
}

impl Described {
    pub(crate) fn new() -> Self {
        Self { document: document(), validators: HashMap::new(), answered: BTreeSet::new() }
    }

    /// Panics if the document does not tell of that status, media type or body.
    pub(crate) fn hold(&mut self, operation: &str, answer: &Answer) {
        let Self { document, validators, answered } = self;
        let (_, described) = operations(document).find(|(name, _)| name == operation).unwrap();
        let response = &described["responses"][answer.status.to_string()];
        assert!(!response.is_null(), "{operation} is not said to answer so: {answer:?}");
        let response = resolved(document, response);
        let place = format!("{operation} {}", answer.status);
        if !response["headers"]["Retry-After"].is_null() {
            let seconds = answer.retry_after.as_deref().map(str::parse::<u64>);
            assert!(matches!(seconds, Some(Ok(1..))), "{place}: {answer:?}");
        }
        let content = &response["content"][&answer.media_type];
        if content.is_null() {
            assert!(response["content"].is_null() && answer.body.is_empty(), "{place}: {answer:?}");
        } else {
            let validator = validators
                .entry(content["schema"].to_string())
                .or_insert_with(|| validator(document, &content["schema"]));
            let json = answer.media_type.ends_with("json");
            let body = if json { answer.json() } else { Value::String(answer.body.clone()) };
            if let Err(error) = validator.validate(&body) {
                panic!("{place}: {error} at {}: {answer:?}", error.instance_path());
            }
        }
        answered.insert(place);
    }
}
