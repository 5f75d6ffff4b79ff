//! The command line with which another command uses the same installation.

use std::path::{self, Path};

use super::{Config, Source, StoreUrl};
use crate::config::settings::Case;

impl Config {
    /// The program, with `--config` and what variables and flags say of the installation, so that it does not create
    /// another one. It contains no URL of a server, which may contain a password.
    pub(crate) fn invocation(&self) -> String {
        let file = self.sources.values().find_map(|source| match source {
            Source::File { path, .. } => Some(path.as_path()),
            _ => None,
        });
        // What the file says needs no flag, as `--config` names the file.
        let given = |key| matches!(self.sources.get(key), Some(Source::Variable(_) | Source::Flag(_)));
        let settings = &self.settings;
        let mut line = "mfa-server".to_owned();
        let mut add = |flag: &str, value: &str| {
            line.extend([" ", flag, " "]);
            line.push_str(&quoted(value));
        };
        if let Some(file) = file {
            add("--config", &absolute(file));
        }
        // The default depends on the working directory.
        if given("data_dir") || !self.sources.contains_key("data_dir") {
            add("--data-dir", &absolute(&settings.data_dir));
        }
        if given("store") && matches!(settings.store, StoreUrl::Sqlite(_)) {
            add("--store", &settings.store.to_string());
        }
        if given("key_ring_file") {
            add("--key-ring-file", &settings.key_ring_file.to_string_lossy());
        }
        if given("users.case") && settings.users.case == Case::Fold {
            add("--set", "users.case=fold");
        }
        line
    }
}

fn absolute(path: &Path) -> String {
    path::absolute(path).as_deref().unwrap_or(path).display().to_string()
}

/// A text as one shell word.
fn quoted(text: &str) -> String {
    if text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-:=".contains(c)) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}
