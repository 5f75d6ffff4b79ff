//! Columns of backup codes.

use mfa_domain::account::{BackupCodes, CodeHash, HashedCode};

use crate::{ColumnError, Row};

/// Reads a set of backup codes. `codes` has each hash, in the order of places, and the time at which it was
/// spent.
///
/// # Errors
/// [`ColumnError::Undecodable`].
pub fn backup_codes(
    row: Row,
    scheme: String,
    issued_at: i64,
    codes: impl IntoIterator<Item = (Vec<u8>, Option<i64>)>,
) -> Result<BackupCodes, ColumnError> {
    let code = |(hash, spent_at)| {
        let spent_at = row.optional_time("spent_at", spent_at)?;
        Ok(HashedCode { hash: CodeHash(hash), spent_at })
    };
    Ok(BackupCodes {
        scheme,
        codes: codes.into_iter().map(code).collect::<Result<_, ColumnError>>()?,
        issued_at: row.time("issued_at", issued_at)?,
    })
}
