//! The log: standard error, as text or JSON.

use std::env;
use std::io::{self, IsTerminal};

use anyhow::{Result, anyhow};
use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, Settings};

/// Starts logging. No colours off a terminal, or where `NO_COLOR` is set (no-color.org).
pub(crate) fn start(settings: &Settings) -> Result<()> {
    let colours = io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let log = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_new(&settings.log)?)
        .with_writer(io::stderr)
        // A line that cannot be written is lost. Told on standard error, which is what failed, it is a panic.
        .log_internal_errors(false)
        .with_ansi(colours);
    match settings.log_format {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    }
    .map_err(|error| anyhow!(error))
}
