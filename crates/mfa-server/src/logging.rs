//! The log: standard error, as text or JSON.

use std::env;
use std::io::{self, IsTerminal};

use anyhow::{Context, Result, anyhow};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::config::{LogFormat, Settings};

/// Starts logging. Colours are off if standard error is not a terminal or `NO_COLOR` is set (no-color.org).
pub(crate) fn start(settings: &Settings) -> Result<()> {
    let colours = io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter(&settings.log).context("log: not a valid filter")?)
        .with_writer(io::stderr)
        // A line that cannot be written is lost. Reporting that would panic, since standard error has just failed.
        .log_internal_errors(false)
        .with_ansi(colours);
    match settings.log_format {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    }
    .map_err(|error| anyhow!(error))
}

/// Its lines hold challenges and whole responses of browsers.
const SILENT: &str = "webauthn_rs_core=off";

/// Parses a filter: one level, then levels of modules. `EnvFilter` alone takes a misspelt level for the name of a
/// module and silences everything, including errors.
pub(crate) fn filter(text: &str) -> Option<EnvFilter> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let (modules, levels): (Vec<_>, Vec<_>) = parts.partition(|part| part.contains('='));
    let one = levels.len() == 1 && levels.iter().all(|level| level.parse::<LevelFilter>().is_ok());
    let parts = levels.into_iter().chain([SILENT]).chain(modules).collect::<Vec<_>>();
    EnvFilter::try_new(parts.join(",")).ok().filter(|_| one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_has_one_level_and_modules_with_theirs() {
        for good in
            ["info", "ERROR", "off", "info,mfa_actix=debug", "mfa=trace, warn", "info,[span{a=1}]=debug"]
        {
            assert!(filter(good).is_some(), "{good}");
        }
        for bad in
            ["", "warning", "debg", "info,debg", "mfa_actix", "mfa_actix=debug", "info,mfa=debg", "info,warn"]
        {
            assert!(filter(bad).is_none(), "{bad}");
        }
    }
}
