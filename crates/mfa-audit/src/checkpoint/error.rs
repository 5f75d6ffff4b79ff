//! Why a checkpoint is refused.

use mfa_domain::timestamp::InvalidTime;
use thiserror::Error;

use super::FORMAT;
use crate::LineError;

/// Why a checkpoint could not be read, or is not to be believed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// A line could not be read.
    #[error(transparent)]
    Line(#[from] LineError),
    /// There is nothing in it.
    #[error("it is empty")]
    Empty,
    /// The first line is not that of a checkpoint.
    #[error("it is no checkpoint")]
    NotACheckpoint,
    /// It is of a form that this version does not know. Holds the name of the form.
    #[error("its form is {0}, and this version knows {FORMAT}")]
    OtherForm(String),
    /// Another key has signed it.
    #[error("it is signed with key {signed_by}, and not with {expected}")]
    OtherKey {
        /// The id of the key that it names.
        signed_by: String,
        /// The id of the key to check with.
        expected: String,
    },
    /// The signature is not that of these bytes.
    #[error("its signature is not right: it was altered")]
    Altered,
    /// It is of another installation.
    #[error("it is of the installation {found}, and not of {expected}")]
    OtherInstallation {
        /// The installation that it names.
        found: String,
        /// The installation that was asked for.
        expected: String,
    },
    /// The time when it was begun is none.
    #[error(transparent)]
    Time(#[from] InvalidTime),
    /// It ends after the line of that number, before the number of accounts.
    #[error("it ends after line {0}, and has no signature: it was cut off")]
    CutOff(u64),
    /// It ends before the signature.
    #[error("it has no signature: it was cut off")]
    Unsigned,
    /// Accounts are missing, or too many.
    #[error("it has {counted} accounts and says that they are {said}")]
    Miscounted {
        /// How many there are.
        counted: u64,
        /// How many it says there are.
        said: u64,
    },
    /// Something follows the signature.
    #[error("there is more after its signature")]
    Lengthened,
    /// It was another one when its signature was checked.
    #[error("it was changed while it was read")]
    Changed,
}
