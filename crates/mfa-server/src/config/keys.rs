//! The known keys, written with dots. Each option has a default, so these are the keys of the defaults.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::{Table, Value};

use super::{Given, Settings, table_of};

/// Every key, with its default.
#[derive(Debug)]
pub(super) struct KnownKeys {
    defaults: Table,
    flat: BTreeMap<String, Value>,
}

impl KnownKeys {
    pub(super) fn of(defaults: &Settings) -> Self {
        let defaults = table_of(defaults);
        Self { flat: flatten(&defaults).into_iter().collect(), defaults }
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.flat.keys().map(String::as_str)
    }

    /// Checks a value by itself: its key must be known, and its type and format must be right.
    pub(super) fn check(&self, given: &Given) -> Result<(), String> {
        let Given { key, value, source } = given;
        if key == "key_ring" {
            return Err(format!(
                "{key} ({source}): a secret, which must not be set here; name its file in key_ring_file, or set MFA_KEY_RING"
            ));
        }
        let Some(default) = self.flat.get(key) else {
            let near = nearest(key, self.names());
            let near = near.map_or(String::new(), |near| format!("; the nearest known key is {near}"));
            return Err(format!("{key} ({source}): unknown{near}"));
        };
        if key == "webhook" && !is_list_of_tables(value) {
            // The usual error about a wrong type shows the value, in which a URL may contain a token.
            return Err(format!(
                "{key} ({source}): must be a list of tables: [{{name = …, url = …, secret_file = …}}]"
            ));
        }
        if default.is_array() && !value.is_array() {
            return Err(format!("{key} ({source}): must be a list; the default is {default}"));
        }
        let mut trial = self.defaults.clone();
        set(&mut trial, key, value.clone());
        match Settings::deserialize(trial) {
            Ok(_) => Ok(()),
            // The usual error shows the value, which may be a misplaced URL with a password.
            Err(error) if error.message().contains("://") && !is_url(key) => {
                Err(format!("{key} ({source}): must not be a URL; the default is {default}"))
            }
            Err(error) => {
                Err(format!("{key} ({source}): {}; the default is {default}", error.message().trim()))
            }
        }
    }

    /// Parses the text of a variable or flag by the type of the key's default.
    pub(super) fn value_of(&self, key: &str, text: &str) -> Value {
        let text = text.to_owned();
        match self.flat.get(key) {
            Some(Value::Integer(_)) => text.parse().map_or(Value::String(text), Value::Integer),
            Some(Value::Boolean(_)) => text.parse().map_or(Value::String(text), Value::Boolean),
            // Brackets are optional if no element contains a comma.
            Some(Value::Array(_)) if text.trim_start().starts_with('[') => {
                let array = format!("array = {text}").parse::<Table>().ok();
                array.and_then(|mut table| table.remove("array")).unwrap_or(Value::String(text))
            }
            Some(Value::Array(_)) => {
                let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
                Value::Array(parts.map(|part| Value::String(part.to_owned())).collect())
            }
            _ => Value::String(text),
        }
    }
}

/// Whether the option is a URL. Errors of these options never show the value.
fn is_url(key: &str) -> bool {
    matches!(key, "store" | "ephemeral" | "webhook" | "email.url")
}

fn is_list_of_tables(value: &Value) -> bool {
    value.as_array().is_some_and(|list| list.iter().all(Value::is_table))
}

/// The most similar of the names. `None` if more than one letter in three differs, not counting the `MFA_` of
/// variables.
pub(super) fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let distances = names.map(|known| (strsim::damerau_levenshtein(name, known), known));
    let own = name.trim_start_matches("MFA_").chars().count();
    distances
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, _)| distance * 3 <= own)
        .map(|(_, known)| known)
}

/// All values that are not tables, with their dotted keys.
pub(super) fn flatten(table: &Table) -> Vec<(String, Value)> {
    let mut flat = Vec::new();
    for (name, value) in table {
        match value {
            Value::Table(inner) => {
                flat.extend(flatten(inner).into_iter().map(|(key, value)| (format!("{name}.{key}"), value)));
            }
            value => flat.push((name.clone(), value.clone())),
        }
    }
    flat
}

pub(super) fn get<'a>(table: &'a Table, key: &str) -> Option<&'a Value> {
    match key.split_once('.') {
        None => table.get(key),
        Some((section, rest)) => get(table.get(section)?.as_table()?, rest),
    }
}

pub(super) fn set(table: &mut Table, key: &str, value: Value) {
    match key.split_once('.') {
        None => {
            table.insert(key.to_owned(), value);
        }
        Some((section, rest)) => {
            let inner = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
            if let Some(inner) = inner.as_table_mut() {
                set(inner, rest, value);
            }
        }
    }
}
