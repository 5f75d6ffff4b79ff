//! Converts errors to messages for people and exit codes for scripts.

use std::process::ExitCode;

use anyhow::Error;
use mfa_store_postgres::PostgresError;
use mfa_store_redis::RedisError;
use mfa_store_sqlite::SqliteError;
use thiserror::Error;

use crate::config::Problems;

/// The exit codes, as `--help` explains them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Done = 0,
    Failed = 1,
    Misused = 2,
    Refused = 3,
}

/// The program refuses to continue, to protect data.
#[derive(Debug, Error)]
#[error("{what}\n  {advice}")]
pub(crate) struct Refusal {
    what: String,
    advice: String,
}

/// The command or an argument is wrong.
#[derive(Debug, Error)]
#[error("{0}")]
pub(crate) struct Misuse(pub(crate) String);

impl Refusal {
    pub(crate) fn new(what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { what: what.into(), advice: advice.into() }
    }
}

/// The message of an error and its causes.
pub(crate) fn describe(error: &Error) -> String {
    let mut line = String::from("mfa-server: ");
    let mut last = String::new();
    for cause in error.chain() {
        let text = cause.to_string();
        // Transparent and wrapping errors repeat the text of what they wrap.
        if last.contains(&text) {
            continue;
        }
        if !last.is_empty() {
            line.push_str(": ");
        }
        line.push_str(&text);
        last = text;
    }
    line
}

/// The exit code of an error.
pub(crate) fn exit_of(error: &Error) -> Exit {
    if error.is::<Problems>() || error.is::<Misuse>() {
        return Exit::Misused;
    }
    let unfit = error.chain().any(|cause| {
        cause.downcast_ref().is_some_and(is_unfit)
            || cause.downcast_ref().is_some_and(is_unfit_postgres)
            || cause.downcast_ref().is_some_and(is_unfit_redis)
    });
    if error.is::<Refusal>() || unfit { Exit::Refused } else { Exit::Failed }
}

/// Whether the database itself is unusable, so that another attempt cannot succeed and may do harm.
const fn is_unfit(error: &SqliteError) -> bool {
    matches!(
        error,
        SqliteError::NotADatabase
            | SqliteError::Foreign
            | SqliteError::TooNew { .. }
            | SqliteError::Corrupt(_)
            | SqliteError::Undecodable { .. }
    )
}

const fn is_unfit_postgres(error: &PostgresError) -> bool {
    matches!(
        error,
        PostgresError::Foreign
            | PostgresError::Encoding { .. }
            | PostgresError::TooNew { .. }
            | PostgresError::Corrupt(_)
            | PostgresError::Undecodable { .. }
    )
}

const fn is_unfit_redis(error: &RedisError) -> bool {
    matches!(
        error,
        RedisError::Foreign { .. }
            | RedisError::TooNew { .. }
            | RedisError::NotDurable(_)
            | RedisError::Evicting { .. }
            | RedisError::Undecodable { .. }
    )
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn the_line_has_the_causes_and_repeats_none() {
        let inner = std::io::Error::other("no space left");
        let error = Err::<(), _>(inner).context("cannot write").context("cannot add a key").unwrap_err();
        assert_eq!(describe(&error), "mfa-server: cannot add a key: cannot write: no space left");
        assert_eq!(exit_of(&error), Exit::Failed);
    }

    #[test]
    fn a_refusal_stays_one_under_context() {
        let error = Error::new(Refusal::new("no", "do that")).context("while starting");
        assert_eq!(exit_of(&error), Exit::Refused);
        assert_eq!(exit_of(&Misuse("x".to_owned()).into()), Exit::Misused);
        let damaged = Error::new(SqliteError::NotADatabase).context("the database cannot be opened");
        assert_eq!(exit_of(&damaged), Exit::Refused);
    }
}
