//! The configuration: defaults, then a TOML file, then `MFA_…` variables, then flags.
//!
//! Each layer is a list of [`Given`] values with dotted keys; a later layer wins. Every value is checked
//! separately, so that all problems are reported at once, with key and source.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;
use thiserror::Error;
use toml::{Table, Value};

mod advice;
mod assertions;
mod commented;
mod dump;
mod duration;
mod environment;
mod file;
mod flags;
mod invocation;
mod keys;
mod meanings;
mod quota;
mod retention;
mod rules;
mod service_links;
pub(crate) mod settings;
mod throttle;
mod urls;
pub(crate) mod webauthn;
mod webhook;

pub(crate) use assertions::Assertions;
pub(crate) use commented::Commented;
pub(crate) use flags::Flags;
pub(crate) use settings::{LogFormat, Settings};
pub(crate) use urls::{EphemeralUrl, StoreUrl};
pub(crate) use webauthn::Webauthn;
pub(crate) use webhook::{Start, Webhook};

use crate::secret::SecretText;
use crate::webauthn::{Unusable, unusable};
use environment::Environment;
use keys::KnownKeys;

/// The effective configuration, with the source of each value.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) settings: Settings,
    /// The content of a key ring, from `MFA_KEY_RING`.
    pub(crate) key_ring: Option<SecretText>,
    /// Warnings about unwise options and ignored variables. They prevent nothing.
    pub(crate) warnings: Vec<String>,
    sources: BTreeMap<String, Source>,
}

/// A value as one layer gives it. It has no `Debug`, since a URL may contain a password.
struct Given {
    key: String,
    value: Value,
    source: Source,
}

/// The source of a value.
#[derive(Clone, Debug)]
enum Source {
    Profile,
    File { path: PathBuf, line: usize },
    Variable(String),
    Flag(String),
}

/// All problems of a configuration.
#[derive(Debug, Error)]
pub(crate) struct Problems(pub(crate) Vec<String>);

impl Config {
    /// Reads and merges the layers.
    pub(crate) fn load(
        flags: &Flags,
        variables: impl Iterator<Item = (OsString, OsString)>,
    ) -> Result<Self, Problems> {
        let known = KnownKeys::of(&Settings::default());
        let mut problems = Vec::new();
        let environment = Environment::read(variables, &known, &mut problems);

        let mut given = Vec::new();
        if let Some(path) = flags.config.as_ref().or(environment.config.as_ref()) {
            match file::read(path) {
                Ok(values) => given.extend(values),
                Err(problem) => problems.push(problem),
            }
        }
        given.extend(environment.given);
        given.extend(flags.given(&known, &mut problems));
        given.retain(|value| match known.check(value) {
            Ok(()) => true,
            Err(problem) => {
                problems.push(problem);
                false
            }
        });

        let (settings, sources) = match merge(given) {
            Ok(merged) => merged,
            Err(error) => return Err(Problems(vec![error.to_string()])),
        };
        let broken = rules::broken(&settings);
        // What a rule refuses may contain a password, which the relying party could show.
        if !broken.iter().any(|broken| broken.key.starts_with("webauthn.")) {
            problems.extend(unusable(&settings).iter().map(|unusable| told(&sources, unusable)));
        }
        let broken = broken.into_iter();
        problems.extend(
            broken.map(|broken| format!("{}: must be {}", named(&sources, &broken.key), broken.rule)),
        );
        let unwise = advice::unwise(&settings).into_iter();
        let unwise = unwise.map(|(key, why)| format!("{}: {why}", named(&sources, key)));
        let warnings = service_links::warning(&environment.service_links).into_iter().chain(unwise).collect();
        if problems.is_empty() {
            Ok(Self { settings, key_ring: environment.key_ring, warnings, sources })
        } else {
            Err(Problems(problems))
        }
    }
}

impl Config {
    /// The name of an option in messages, with its source.
    pub(crate) fn name(&self, key: &str) -> String {
        named(&self.sources, key)
    }

    /// These problems, with the source of each option.
    pub(crate) fn problems(&self, unusable: &[Unusable]) -> Problems {
        Problems(unusable.iter().map(|unusable| told(&self.sources, unusable)).collect())
    }

    /// Whether an option was set, not left at its default.
    pub(crate) fn is_given(&self, key: &str) -> bool {
        self.sources.contains_key(key)
    }
}

fn named(sources: &BTreeMap<String, Source>, key: &str) -> String {
    sources.get(key).map_or_else(|| key.to_owned(), |source| format!("{key} ({source})"))
}

fn told(sources: &BTreeMap<String, Source>, Unusable { key, why }: &Unusable) -> String {
    format!("{}: {why}", named(sources, key))
}

/// Applies the values, which were checked separately, to the defaults of the chosen profile.
fn merge(given: Vec<Given>) -> Result<(Settings, BTreeMap<String, Source>), toml::de::Error> {
    let mut sources = BTreeMap::new();
    let profile = given.iter().rfind(|value| value.key == "verification.profile");
    let mut table = table_of(&Settings::default());
    if profile.is_some_and(|profile| profile.value.as_str() == Some("strict")) {
        let strict = Settings { verification: settings::Verification::strict(), ..Settings::default() };
        for (key, value) in keys::flatten(&table_of(&strict)) {
            if keys::get(&table, &key) != Some(&value) {
                sources.insert(key.clone(), Source::Profile);
                keys::set(&mut table, &key, value);
            }
        }
    }
    for Given { key, value, source } in given {
        keys::set(&mut table, &key, value);
        sources.insert(key, source);
    }
    Ok((Settings::deserialize(table)?, sources))
}

fn table_of(settings: &Settings) -> Table {
    Table::try_from(settings).unwrap_or_default()
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Profile => f.write_str("verification.profile"),
            Self::File { path, line } => write!(f, "{}, line {line}", path.display()),
            Self::Variable(name) => write!(f, "environment, {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [only] => write!(f, "the configuration is not valid: {only}"),
            all => {
                write!(f, "the configuration is not valid, for {} reasons:", all.len())?;
                all.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
            }
        }
    }
}

#[cfg(test)]
mod tests;
