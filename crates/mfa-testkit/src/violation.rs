//! Errors of the suites.

use std::error::Error;
use std::fmt;

use mfa_domain::Undecided;
use mfa_domain::mfa::{ChangeError, EnrolError};
use mfa_domain::ports::{EntropyError, SignerError, StoreError};

/// A part of a contract that does not hold, or an unexpected error.
///
/// `Debug` prints the message, so that a test that returns it reads well.
#[derive(Clone, PartialEq, Eq)]
pub struct Violation(String);

impl Violation {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }

    /// Prefixes the message with the name of the check.
    pub(crate) fn found_by(self, check: &str) -> Self {
        Self(format!("{check}: {}", self.0))
    }
}

/// Fails a check unless a condition holds.
macro_rules! ensure {
    ($holds:expr, $($message:tt)+) => {
        if !$holds {
            return Err($crate::Violation::new(format!($($message)+)));
        }
    };
}
pub(crate) use ensure;

/// Runs checks in turn, and names the one that fails.
macro_rules! run {
    ($($check:ident($($store:expr),+)),+ $(,)?) => {{
        $($check($($store),+).await.map_err(|violation| violation.found_by(stringify!($check)))?;)+
        Ok(())
    }};
}
pub(crate) use run;

macro_rules! from_errors {
    ($($error:ty),+) => {$(
        impl From<$error> for Violation {
            fn from(error: $error) -> Self {
                Self(format!("an unexpected error: {}", chain(&error)))
            }
        }
    )+};
}

from_errors!(
    StoreError,
    EntropyError,
    SignerError,
    Undecided,
    EnrolError,
    ChangeError,
    tokio::task::JoinError
);

/// An error and its sources. The text of a port's error alone says nothing.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut below = error.source();
    while let Some(source) = below {
        text = format!("{text}: {source}");
        below = source.source();
    }
    text
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Violation {}
