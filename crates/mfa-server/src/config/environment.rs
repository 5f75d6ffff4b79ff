//! `MFA_…` variables: `lockout.failures` is `MFA_LOCKOUT_FAILURES`.
//!
//! An unknown name that begins with `MFA_` is an error, so that a misspelt limit is noticed. Empty variables and
//! those of Kubernetes are ignored.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

use super::keys::{KnownKeys, nearest};
use super::{Given, Source, service_links};
use crate::secret::SecretText;

const PREFIX: &str = "MFA_";
const CONFIG: &str = "MFA_CONFIG";
const KEY_RING: &str = "MFA_KEY_RING";
const KEY_RING_FILE: &str = "MFA_KEY_RING_FILE";

/// Options that may hold a password: the variable that names a file with the value, and the option.
const IN_FILES: [(&str, &str); 3] =
    [("MFA_STORE_FILE", "store"), ("MFA_EPHEMERAL_FILE", "ephemeral"), ("MFA_EMAIL_URL_FILE", "email.url")];

/// The values of the environment.
#[derive(Default)]
pub(super) struct Environment {
    pub(super) config: Option<PathBuf>,
    pub(super) key_ring: Option<SecretText>,
    pub(super) given: Vec<Given>,
    /// Variables that are ignored because Kubernetes sets them.
    pub(super) service_links: Vec<String>,
}

impl Environment {
    pub(super) fn read(
        variables: impl Iterator<Item = (OsString, OsString)>,
        known: &KnownKeys,
        problems: &mut Vec<String>,
    ) -> Self {
        let mut all = Self::default();
        for (name, value) in variables {
            let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else { continue };
            match value.into_string() {
                Ok(value) if value.is_empty() => {}
                Ok(value) => {
                    if let Err(problem) = all.take(name, value, known) {
                        problems.push(problem);
                    }
                }
                Err(_) => problems.push(format!("{name} (environment): not valid UTF-8")),
            }
        }
        for (file, key) in IN_FILES {
            if all.given.iter().filter(|given| given.key == key).count() > 1 {
                let name = variable(key);
                problems.push(format!("{name} and {file} (environment): only one of them can be given"));
            }
        }
        if all.key_ring.is_some() && all.given.iter().any(|given| given.key == "key_ring_file") {
            problems
                .push(format!("{KEY_RING} and {KEY_RING_FILE} (environment): only one of them can be given"));
        }
        all
    }

    fn take(&mut self, name: &str, value: String, known: &KnownKeys) -> Result<(), String> {
        match name {
            CONFIG => self.config = Some(value.into()),
            KEY_RING => self.key_ring = Some(SecretText::from(value)),
            _ => {
                if let Some((_, key)) = IN_FILES.iter().find(|(file, _)| *file == name) {
                    let content = fs::read_to_string(&value).map_err(|error| {
                        format!("{name} (environment): {} cannot be read: {error}", file(&value))
                    })?;
                    self.give(key, content.trim(), name, known);
                    return Ok(());
                }
                let Some(key) = known.names().find(|key| variable(key) == name) else {
                    if service_links::is_one(name, &value) {
                        self.service_links.push(name.to_owned());
                        return Ok(());
                    }
                    let files = IN_FILES.map(|(file, _)| file);
                    let others = [CONFIG, KEY_RING].into_iter().chain(files).map(str::to_owned);
                    let names: Vec<_> = known.names().map(variable).chain(others).collect();
                    let near = nearest(name, names.iter().map(String::as_str));
                    let near =
                        near.map_or(String::new(), |near| format!("; the nearest known variable is {near}"));
                    return Err(format!("{name} (environment): unknown{near}"));
                };
                self.give(key, &value, name, known);
            }
        }
        Ok(())
    }

    fn give(&mut self, key: &str, text: &str, variable: &str, known: &KnownKeys) {
        let value = known.value_of(key, text);
        let source = Source::Variable(variable.to_owned());
        self.given.push(Given { key: key.to_owned(), value, source });
    }
}

/// The name of a file for messages, unless it is a misplaced URL, which may contain a password.
pub(super) fn file(value: &str) -> &str {
    if value.contains("://") { "the file that it names" } else { value }
}

/// The name of the variable of a key.
fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "_").to_uppercase())
}
