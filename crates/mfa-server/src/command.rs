//! The commands, one per file.

use std::env;

use anyhow::Result;
use mfa_domain::Actor;
use mfa_domain::ports::{ClockBeforeEpoch, SystemClock};
use rustix::process::getuid;

mod api_key;
mod audit;
mod config;
mod email;
mod healthcheck;
mod keys;
mod reference;
mod serve;
mod signing_keys;
mod trial;
mod user;
mod webhook;

use crate::cli::{Cli, Command};
use crate::config::Config;
use crate::failure::{Exit, Refusal};

/// Runs the command.
pub(crate) fn run(cli: Cli) -> Result<Exit> {
    let command = cli.command.unwrap_or_default();
    if let Some(done) = reference::run(&command) {
        return done.map(|()| Exit::Done);
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
        |error: ClockBeforeEpoch| Refusal::new(error.to_string(), "set the clock; codes depend on it");
    Ok(SystemClock.check().map(|_| ()).map_err(refused)?)
}

async fn dispatch(command: Command, config: &Config) -> Result<Exit> {
    match command {
        Command::Serve => serve::run(config).await?,
        Command::Try(arguments) => trial::run(config, arguments).await?,
        Command::ApiKey(command) => api_key::run(config, command).await?,
        Command::Keys(command) => return keys::run(config, command).await,
        Command::SigningKeys(command) => signing_keys::run(config, command).await?,
        Command::User(command) => user::run(config, command).await?,
        Command::Audit(command) => return audit::run(config, command).await,
        Command::Webhook(command) => return webhook::run(config, command).await,
        Command::Email(command) => return email::run(config, command).await,
        Command::Config(command) => config::run(config, &command)?,
        Command::Healthcheck(arguments) => healthcheck::run(config, &arguments)?,
        // These ran before the configuration was read.
        Command::Completions { .. } | Command::Man { .. } => {}
    }
    Ok(Exit::Done)
}

/// The actor that the audit trail records for commands: the user's name, which is not authenticated. Anyone who can
/// run commands can write to the database anyway.
fn operator() -> Actor {
    let user = ["SUDO_USER", "USER", "LOGNAME"].into_iter().find_map(|name| env::var(name).ok());
    Actor::admin(&format!("cli:{}", user.unwrap_or_else(|| getuid().as_raw().to_string())))
}
