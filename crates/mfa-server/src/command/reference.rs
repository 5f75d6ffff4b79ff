//! `completions`, `man` and `config dump --commented`: they need no configuration.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::{Cli, Command, ConfigCommand};
use crate::config::Commented;
use crate::output;

/// Runs the command if it is one of these.
pub(super) fn run(command: &Command) -> Option<Result<()>> {
    match command {
        Command::Completions { shell } => Some(completions(*shell)),
        Command::Man { dir } => Some(man(dir)),
        Command::Config(ConfigCommand::Dump { commented: true }) => {
            Some(output::say(Commented.to_string().trim_end()))
        }
        _ => None,
    }
}

fn completions(shell: Shell) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "mfa-server", &mut script);
    output::say(String::from_utf8_lossy(&script).trim_end())
}

/// Writes `mfa-server.1` and a page for each command, such as `mfa-server-api-key-create.1`.
fn man(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), dir))
        .with_context(|| format!("the manual pages cannot be written to {}", dir.display()))
}
