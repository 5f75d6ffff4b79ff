//! A client may send whatever the document allows: it is taken, or refused for something else than its form.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::{LazyLock, Mutex, PoisonError};

use actix_web::rt::System;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::string::string_regex;
use serde_json::{Map, Value, json};

use crate::document::{Described, document, operations, resolved, validator};
use crate::world::world;

/// A call that the document allows.
#[derive(Clone, Debug)]
struct Request {
    operation: String,
    /// By their names.
    parameters: BTreeMap<String, Value>,
    query: Vec<String>,
    /// Which of the factors that there are by then.
    factor: Index,
    body: Option<Value>,
}

/// What a schema allows, and now and then the ends of it.
fn allowed(document: &Value, schema: &Value) -> BoxedStrategy<Value> {
    let schema = resolved(document, schema).clone();
    if let Some(choices) = schema["oneOf"].as_array() {
        let choices: Vec<_> = choices.iter().map(|choice| allowed(document, choice)).collect();
        return proptest::strategy::Union::new(choices).boxed();
    }
    if let Some(values) = schema["enum"].as_array() {
        return select(values.clone()).boxed();
    }
    match &schema["type"] {
        Value::Array(types) => {
            let of_type = |name: &Value| {
                let mut one = schema.clone();
                one["type"] = name.clone();
                allowed(document, &one)
            };
            proptest::strategy::Union::new(types.iter().map(of_type)).boxed()
        }
        Value::String(name) => match name.as_str() {
            "null" => Just(Value::Null).boxed(),
            "boolean" => any::<bool>().prop_map(Value::from).boxed(),
            "integer" => integers(&schema),
            "string" => texts(&schema),
            "array" => {
                let [least, most] = ["minItems", "maxItems"]
                    .map(|end| usize::try_from(schema[end].as_u64().unwrap()).unwrap());
                vec(allowed(document, &schema["items"]), least..=most).prop_map(Value::from).boxed()
            }
            "object" => objects(document, &schema),
            other => panic!("what is {other}?"),
        },
        other => panic!("a schema without a type: {other}"),
    }
}

fn integers(schema: &Value) -> BoxedStrategy<Value> {
    let [least, most] = ["minimum", "maximum"].map(|end| schema[end].as_u64());
    let least = least.unwrap_or_default();
    let most = most.unwrap_or_else(|| panic!("a number without an end: {schema}"));
    prop_oneof![least..=most, Just(least), Just(most)].prop_map(Value::from).boxed()
}

thread_local! {
    /// The texts of a schema, which many operations have: a pattern takes long to compile.
    static TEXTS: RefCell<HashMap<String, BoxedStrategy<Value>>> = RefCell::default();
}

fn texts(schema: &Value) -> BoxedStrategy<Value> {
    let mut undescribed = schema.clone();
    undescribed["description"] = Value::Null;
    let name = undescribed.to_string();
    if let Some(known) = TEXTS.with_borrow(|texts| texts.get(&name).cloned()) {
        return known;
    }
    let made = texts_of(schema);
    TEXTS.with_borrow_mut(|texts| texts.insert(name, made.clone()));
    made
}

fn texts_of(schema: &Value) -> BoxedStrategy<Value> {
    let length = |end: &str| schema[end].as_u64().map(|length| usize::try_from(length).unwrap());
    let most = length("maxLength").unwrap_or(100);
    let pattern = schema["pattern"].as_str().unwrap_or(r"^\PC+$");
    // Patterns that look around cannot be turned into texts; then texts are tried of which some match.
    let by_pattern = string_regex(pattern.trim_matches(['^', '$']))
        .unwrap_or_else(|_| string_regex("[ -}]{1,32}").unwrap());
    let examples = [&schema["example"], &schema["examples"][0]];
    let example = examples.into_iter().find_map(Value::as_str).unwrap_or("a").to_owned();
    // White space at its end would not count.
    let longest: String = example.chars().filter(|c| *c != ' ').cycle().take(most).collect();
    let is_allowed = validator(&json!({}), schema);
    // Where the document says so the length is in bytes; it always counts characters.
    prop_oneof![3 => by_pattern, 2 => Just(example), 1 => Just(longest)]
        .prop_filter("a length", move |text| text.len() <= most)
        // Patterns of every dialect cannot name these.
        .prop_filter("a tag", |text| !text.contains(|c| matches!(c, '\u{E0000}'..='\u{E007F}')))
        .prop_map(Value::from)
        .prop_filter("a schema", move |text| is_allowed.is_valid(text))
        .boxed()
}

fn objects(document: &Value, schema: &Value) -> BoxedStrategy<Value> {
    let required: Vec<_> = schema["required"].as_array().into_iter().flatten().collect();
    let members = schema["properties"].as_object().into_iter().flatten().map(|(name, member)| {
        let values = allowed(document, member);
        let needed = required.iter().any(|required| *required == name);
        let value = if needed { values.prop_map(Some).boxed() } else { option::of(values).boxed() };
        (Just(name.clone()), value)
    });
    members
        .collect::<Vec<_>>()
        .prop_map(|members| {
            let given = members.into_iter().filter_map(|(name, value)| Some((name, value?)));
            Value::Object(given.collect::<Map<_, _>>())
        })
        .boxed()
}

fn requests(document: &Value) -> impl Strategy<Value = Vec<Request>> + use<> {
    let of_operation = |(name, operation): (String, &Value)| {
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        let query = parameters.iter().filter(|parameter| parameter["in"] == "query");
        let query = query.map(|parameter| parameter["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
        let parameters = parameters.into_iter().map(|parameter| {
            let name = parameter["name"].as_str().unwrap().to_owned();
            let mut schema = parameter["schema"].clone();
            schema["example"] = parameter["example"].clone();
            (Just(name), allowed(document, &schema))
        });
        let body = &operation["requestBody"]["content"]["application/json"]["schema"];
        let body =
            if body.is_null() { Just(None).boxed() } else { allowed(document, body).prop_map(Some).boxed() };
        let values = (parameters.collect::<Vec<_>>(), any::<Index>(), body);
        values.prop_map(move |(parameters, factor, body)| Request {
            operation: name.clone(),
            parameters: parameters.into_iter().collect(),
            query: query.clone(),
            factor,
            body,
        })
    };
    let calls = operations(document).map(of_operation).map(Strategy::boxed).collect::<Vec<_>>();
    vec(proptest::strategy::Union::new(calls), 1..20)
}

/// The path and query of a request.
fn address(request: &Request, factors: &[String]) -> String {
    let (_, path) = request.operation.split_once(' ').unwrap();
    let mut path = format!("/mfa{path}");
    let mut query = Vec::new();
    for (name, value) in &request.parameters {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let text = if name == "id" && !factors.is_empty() { request.factor.get(factors) } else { &text };
        let text = text.bytes().fold(String::new(), |text, byte| format!("{text}%{byte:02X}"));
        if request.query.contains(name) {
            query.push(format!("{name}={text}"));
        } else {
            path = path.replace(&format!("{{{name}}}"), &text);
        }
    }
    if query.is_empty() { path } else { format!("{path}?{}", query.join("&")) }
}

/// What no schema says: which members belong together, what a secret is worth, and which ids were given out.
fn is_of_the_form(error: &Value) -> bool {
    let message = error["message"].as_str().unwrap();
    let field = error["field"].as_str().unwrap();
    if field.starts_with("credential") {
        // Its bytes have a form of their own.
        return false;
    }
    let needed = ["reason", "address", "label"].contains(&field);
    let together = message.contains("is only for") || (needed && message == "is missing");
    !together && message != "is not the id of an event of this tenant" && field != "secret"
}

/// One for all cases, since it takes longer to make than to use.
static DESCRIBED: LazyLock<Mutex<Described>> = LazyLock::new(|| Mutex::new(Described::new()));

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_the_document_allows_is_not_refused_for_its_form_and_answered_as_it_says(
        requests in requests(&document())
    ) {
        let mut described = DESCRIBED.lock().unwrap_or_else(PoisonError::into_inner);
        System::new().block_on(async {
            let world = world().await;
            let mut factors = Vec::new();
            for request in &requests {
                let (method, _) = request.operation.split_once(' ').unwrap();
                let path = address(request, &factors);
                let answer = world.call(method, &path, request.body.clone()).await;
                described.hold(&request.operation, &answer);
                if answer.status == 201 && answer.body.contains("\"factor\"") {
                    factors.push(answer.json()["factor"]["id"].as_str().unwrap().to_owned());
                }
                if answer.status == 422 && answer.problem() == "invalid-request" {
                    let answer = answer.json();
                    let errors = answer["errors"].as_array().unwrap();
                    assert!(!errors.iter().any(is_of_the_form), "{request:?} at {path}: {answer}");
                }
            }
        });
    }
}
