//! The flags that set options; they may stand before or after any command.

use std::path::PathBuf;

use clap::Args;

use super::keys::KnownKeys;
use super::{Given, Source};

#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Configuration")]
pub(crate) struct Flags {
    /// Read options from this TOML file
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Listen on this address and port; port 0 picks a free one [default: 127.0.0.1:8080]
    #[arg(long, global = true, value_name = "ADDRESS")]
    listen: Option<String>,

    /// Store the database and the key ring in this directory [default: ./mfa-data]
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<String>,

    /// Store accounts in sqlite:PATH, postgres://…, redis://… or memory: [default: sqlite:mfa.db in the data
    /// directory]
    #[arg(long, global = true, value_name = "URL")]
    store: Option<String>,

    /// Read the key ring from this file [default: keyring.toml in the data directory]
    #[arg(long, global = true, value_name = "FILE")]
    key_ring_file: Option<String>,

    /// Create and print no API key at the first start; `api-key create --init` creates one
    #[arg(long, global = true)]
    no_key: bool,

    /// Log level: error, warn, info, debug, trace or off, then levels of modules [default: info]
    #[arg(long, global = true, value_name = "FILTER")]
    log: Option<String>,

    /// Log format: text or json [default: text]
    #[arg(long, global = true, value_name = "FORMAT")]
    log_format: Option<String>,

    /// Set an option by its key, such as lockout.failures=3; `config dump` lists all options
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl Flags {
    /// The options that the flags give, `--set` first.
    pub(super) fn given(&self, known: &KnownKeys, problems: &mut Vec<String>) -> Vec<Given> {
        let mut all = Vec::new();
        for text in &self.set {
            match text.split_once('=') {
                Some((key, value)) if may_be_a_key(key) => all.push(Given {
                    key: key.to_owned(),
                    value: known.value_of(key, value),
                    source: Source::Flag("--set".to_owned()),
                }),
                // The text is not shown, as it may be a URL with a password.
                _ => problems.push("--set: must be KEY=VALUE, such as lockout.failures=3".to_owned()),
            }
        }
        let no_key = self.no_key.then(|| "true".to_owned());
        let flags = [
            ("listen", &self.listen),
            ("data_dir", &self.data_dir),
            ("store", &self.store),
            ("key_ring_file", &self.key_ring_file),
            ("no_key", &no_key),
            ("log", &self.log),
            ("log_format", &self.log_format),
        ];
        all.extend(flags.into_iter().filter_map(|(key, value)| {
            Some(Given {
                key: key.to_owned(),
                value: known.value_of(key, value.as_ref()?),
                source: Source::Flag(format!("--{}", key.replace('_', "-"))),
            })
        }));
        all
    }
}

fn may_be_a_key(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}
