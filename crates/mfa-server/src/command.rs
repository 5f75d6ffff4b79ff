//! The commands, one a file.

use std::env;

use anyhow::Result;
use clap::CommandFactory;
use mfa_domain::Actor;
use mfa_domain::ports::{ClockBeforeEpoch, SystemClock};
use rustix::process::getuid;

mod api_key;
mod audit;
mod config;
mod email;
mod healthcheck;
mod keys;
mod serve;
mod trial;
mod user;
mod webhook;

use crate::cli::{Cli, Command};
use crate::config::Config;
use crate::failure::{Exit, Refusal};
use crate::output;

/// Does what the command line says.
pub(crate) fn run(cli: Cli) -> Result<Exit> {
    let command = cli.command.unwrap_or_default();
    if let Command::Completions { shell } = command {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "mfa-server", &mut script);
        output::say(String::from_utf8_lossy(&script))?;
        return Ok(Exit::Done);
    }
    let config = Config::load(&cli.flags, env::vars_os())?;
    if !matches!(command, Command::Config(_) | Command::Healthcheck(_)) {
        check_clock()?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(dispatch(command, &config))
}

fn check_clock() -> Result<()> {
    let refused =
        |error: ClockBeforeEpoch| Refusal::new(error.to_string(), "set it first; no code is right by it");
    Ok(SystemClock.check().map(|_| ()).map_err(refused)?)
}

async fn dispatch(command: Command, config: &Config) -> Result<Exit> {
    match command {
        Command::Serve => serve::run(config).await?,
        Command::Try(arguments) => trial::run(config, arguments).await?,
        Command::ApiKey(command) => api_key::run(config, command).await?,
        Command::Keys(command) => return keys::run(config, command).await,
        Command::User(command) => user::run(config, command).await?,
        Command::Audit(command) => return audit::run(config, command).await,
        Command::Webhook(command) => return webhook::run(config, command).await,
        Command::Email(command) => return email::run(config, command).await,
        Command::Config(command) => config::run(config, &command)?,
        Command::Healthcheck(arguments) => healthcheck::run(config, &arguments)?,
        Command::Completions { .. } => {}
    }
    Ok(Exit::Done)
}

/// Who the audit trail names for what is done here. Whoever can run these commands can write to the
/// database, so the name is for the honest.
fn operator() -> Actor {
    let user = ["SUDO_USER", "USER", "LOGNAME"].into_iter().find_map(|name| env::var(name).ok());
    Actor::admin(&format!("cli:{}", user.unwrap_or_else(|| getuid().as_raw().to_string())))
}
