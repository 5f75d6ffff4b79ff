//! The OpenAPI document: checked in, whole, and with names of its own for every type.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use mfa_actix::openapi_json;
use serde_json::Value;

use crate::document::{document, operations, resolved, validator};

/// Set by `cargo xtask openapi`.
const WRITE: &str = "MFA_WRITE_OPENAPI";

fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_document_is_the_one_that_is_checked_in() {
    let path = folder().join("../../docs/openapi.json");
    let generated = format!("{}\n", openapi_json());
    if std::env::var_os(WRITE).is_some() {
        fs::write(&path, &generated).unwrap();
    }
    let checked_in = fs::read_to_string(&path).unwrap();
    // As JSON: a dependency of other tests keeps the order of members.
    let [generated, checked_in] =
        [generated, checked_in].map(|text| serde_json::from_str::<Value>(&text).unwrap());
    assert!(
        generated == checked_in,
        "docs/openapi.json is not what the code says; `cargo xtask openapi` writes it anew"
    );
}

/// Generated clients name their methods so.
#[test]
fn every_call_has_an_id_of_its_own() {
    let document = document();
    let mut ids = BTreeSet::new();
    for (name, operation) in operations(&document) {
        let id = operation["operationId"].as_str().unwrap_or_default();
        assert!(id.contains('_'), "{name}: {id:?} is not a verb and what it is done to");
        assert!(ids.insert(id), "{name}: another call is {id} too");
    }
}

#[test]
fn every_answer_has_a_description_and_an_example_that_its_schema_allows() {
    let document = document();
    for (name, operation) in operations(&document) {
        for (status, response) in operation["responses"].as_object().unwrap() {
            let response = resolved(&document, response);
            assert!(!response["description"].as_str().unwrap_or_default().is_empty(), "{name} {status}");
            if status == "204" {
                assert!(response["content"].is_null(), "{name} {status}");
                continue;
            }
            for (media_type, content) in response["content"].as_object().unwrap() {
                let examples = examples(&document, content);
                assert!(!examples.is_empty(), "{name} {status} {media_type} has no example");
                let validator = validator(&document, &content["schema"]);
                for example in examples {
                    if let Err(error) = validator.validate(example) {
                        panic!("the example of {name} {status}: {error} at {}", error.instance_path());
                    }
                }
            }
        }
    }
}

fn examples<'a>(document: &'a Value, content: &'a Value) -> Vec<&'a Value> {
    let named = content["examples"].as_object().into_iter().flatten();
    let named = named.map(|(_, example)| &resolved(document, example)["value"]);
    let of_schema = &resolved(document, &content["schema"])["example"];
    named.chain([&content["example"], of_schema]).filter(|example| !example.is_null()).collect()
}

#[test]
fn no_two_types_share_a_name_in_the_document() {
    let mut seen = BTreeMap::new();
    for file in sources(&folder().join("src")) {
        let text = fs::read_to_string(&file).unwrap();
        let implemented = ["ToSchema)]", "impl ToSchema for "].iter().flat_map(|how| text.match_indices(how));
        for (before, item) in implemented.map(|(at, _)| text.split_at(at)) {
            let line = before.lines().count();
            let name = schema_name(item).unwrap_or_else(|| panic!("{}:{line}: no type", file.display()));
            let place = format!("{}:{line}", file.display());
            if let Some(other) = seen.insert(name.clone(), place.clone()) {
                panic!("{name} is the schema of two types: {other} and {place}");
            }
        }
    }
    let document = document();
    for name in document["components"]["schemas"].as_object().unwrap().keys() {
        assert!(seen.contains_key(name), "{name} is the schema of no type that this test found");
    }
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    folders.iter().flat_map(|folder| sources(folder)).chain(files).collect()
}

/// The name of the type whose derivations or implementation come first in `text`: what `#[schema(as = …)]` says, or its own.
fn schema_name(text: &str) -> Option<String> {
    let keyword = ["struct ", "enum ", "impl ToSchema for "]
        .iter()
        .filter_map(|word| Some((text.find(word)?, word.len())));
    let (at, length) = keyword.min()?;
    let (_, name) = text[..at].split_once("(as = ").unwrap_or(("", &text[at + length..]));
    Some(name.chars().take_while(|c| c.is_alphanumeric()).collect())
}
