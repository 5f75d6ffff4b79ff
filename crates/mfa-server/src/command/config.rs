//! `config check`, `config dump`

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::audit::signing_key;
use crate::cli::ConfigCommand;
use crate::config::{Config, Problems, Settings, StoreUrl};
use crate::key_ring::RingSource;
use crate::{data_dir, email, output, storage, webauthn, webhooks};

pub(super) fn run(config: &Config, command: &ConfigCommand) -> Result<()> {
    match command {
        ConfigCommand::Check => check(config),
        ConfigCommand::Dump { .. } => output::say(config.to_string().trim_end()),
    }
}

/// Checks the configuration and the files that it names.
fn check(config: &Config) -> Result<()> {
    let mut found = Found { config, problems: Vec::new(), warnings: config.warnings.clone() };
    found.folders();
    found.key_ring();
    found.signing_key();
    found.webhooks();
    found.email();
    found.attestation();
    found.certificates();
    let Found { problems, warnings, .. } = found;
    for warning in warnings {
        output::complain(&format!("warning: {warning}"));
    }
    if problems.is_empty() { output::say("OK") } else { Err(Problems(problems).into()) }
}

struct Found<'a> {
    config: &'a Config,
    problems: Vec<String>,
    warnings: Vec<String>,
}

impl Found<'_> {
    const fn settings(&self) -> &Settings {
        &self.config.settings
    }

    fn problem(&mut self, key: &str, what: impl std::fmt::Display) {
        // A refusal has its advice on a separate line.
        let what = what.to_string().replace("\n  ", "; ");
        self.problems.push(format!("{}: {what}", self.config.name(key)));
    }

    fn folders(&mut self) {
        let Settings { data_dir, audit, .. } = self.settings();
        let folders =
            [("data_dir", data_dir.clone()), ("audit.checkpoint_dir", data_dir.join(&audit.checkpoint_dir))];
        for (key, folder) in folders {
            if folder.exists() && !folder.is_dir() {
                self.problem(key, format_args!("{} is not a folder", folder.display()));
            }
        }
        if let Ok(Some(database)) = storage::database(self.settings()) {
            self.folder_of("store", &database);
        }
    }

    /// Checks that the folder of a file exists. The first start creates the data directory, and no other folder.
    fn folder_of(&mut self, key: &str, file: &Path) -> bool {
        let folder = data_dir::folder(file);
        let there = folder == self.settings().data_dir || folder.is_dir();
        if !there {
            self.problem(key, format_args!("the folder {} does not exist", folder.display()));
        }
        there
    }

    fn key_ring(&mut self) {
        let key = "key_ring_file";
        let source = match RingSource::of(self.config) {
            Ok(source) => source,
            Err(error) => return self.problem(key, format_args!("{error:#}")),
        };
        match (source.read(), &source) {
            (Err(error), _) => self.problem(key, format_args!("{error:#}")),
            (Ok(None), RingSource::File(path)) => {
                let database = storage::database(self.settings()).ok().flatten();
                if database.is_some_and(|database| database.exists()) {
                    let what = format!("there is a database, but no key ring {}", path.display());
                    self.problem(key, what);
                } else {
                    self.absent(key, path);
                }
            }
            (Ok(_), _) => {}
        }
    }

    fn signing_key(&mut self) {
        let key = "audit.signing_key_file";
        let file = &self.settings().audit.signing_key_file;
        let path = match data_dir::inside(&self.settings().data_dir, file) {
            Ok(path) => path,
            Err(error) => return self.problem(key, format_args!("{error:#}")),
        };
        match signing_key::read(&path) {
            Err(error) => self.problem(key, format_args!("{error:#}")),
            Ok(None) => self.absent(key, &path),
            Ok(Some(_)) => {}
        }
    }

    /// A missing file that the server creates when needed. Warns if the configuration names it, since then it was
    /// probably expected to exist.
    fn absent(&mut self, key: &str, path: &Path) {
        if self.settings().store == StoreUrl::Memory {
            return;
        }
        if self.folder_of(key, path) && self.config.is_given(key) {
            let warning = "does not exist; it is created when first needed";
            self.warnings.push(format!("{}: {} {warning}", self.config.name(key), path.display()));
        }
    }

    fn webhooks(&mut self) {
        for webhook in &self.config.settings.webhook {
            if let Err(error) = webhooks::endpoint(self.settings(), webhook) {
                self.problem("webhook", format_args!("{error:#}"));
            }
        }
    }

    fn email(&mut self) {
        if let Err(error) = email::mailer(self.settings()) {
            self.problem("email.url", format_args!("{error:#}"));
        }
    }

    fn attestation(&mut self) {
        let unusable = webauthn::unusable_files(&self.settings().webauthn);
        let Problems(problems) = self.config.problems(&unusable);
        self.problems.extend(problems);
    }

    /// The certificates and keys that the URLs of databases name.
    fn certificates(&mut self) {
        let Settings { store, ephemeral, .. } = self.settings();
        let named: [(&str, Vec<PathBuf>); 2] = [("store", store.files()), ("ephemeral", ephemeral.files())];
        for (key, files) in named {
            for file in files {
                if let Err(error) = File::open(&file) {
                    self.problem(key, format_args!("{} cannot be read: {error}", file.display()));
                }
            }
        }
    }
}
