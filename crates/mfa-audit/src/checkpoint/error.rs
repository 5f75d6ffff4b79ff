//! Why a checkpoint is refused.

use mfa_domain::timestamp::InvalidTime;
use thiserror::Error;

use super::FORMAT;
use crate::LineError;

/// Why a checkpoint could not be read or must not be trusted.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// A line could not be read.
    #[error(transparent)]
    Line(#[from] LineError),
    /// The file is empty.
    #[error("it is empty")]
    Empty,
    /// The first line is not that of a checkpoint.
    #[error("it is not a checkpoint")]
    NotACheckpoint,
    /// Its format is unknown to this version. Holds the name of the format.
    #[error("its format is {0}, but this version supports {FORMAT}")]
    OtherForm(String),
    /// Another key has signed it.
    #[error("it is signed with key {signed_by}, not {expected}")]
    OtherKey {
        /// The id of the key that the checkpoint names.
        signed_by: String,
        /// The id of the expected key.
        expected: String,
    },
    /// The signature does not match the file.
    #[error("its signature is invalid: it was altered")]
    Altered,
    /// It belongs to another installation.
    #[error("it belongs to installation {found}, not {expected}")]
    OtherInstallation {
        /// The installation that the checkpoint names.
        found: String,
        /// The expected installation.
        expected: String,
    },
    /// The time at which it was begun is invalid.
    #[error(transparent)]
    Time(#[from] InvalidTime),
    /// It ends after this line, before the number of accounts.
    #[error("it ends after line {0}, and has no signature: it was cut off")]
    CutOff(u64),
    /// It ends before the signature.
    #[error("it has no signature: it was cut off")]
    Unsigned,
    /// The number of account lines differs from the stated number.
    #[error("it has {counted} accounts, but states {said}")]
    Miscounted {
        /// The number of account lines.
        counted: u64,
        /// The stated number.
        said: u64,
    },
    /// Data follows the signature.
    #[error("data follows its signature")]
    Lengthened,
    /// The file changed after its signature was checked.
    #[error("it was changed while it was read")]
    Changed,
}
