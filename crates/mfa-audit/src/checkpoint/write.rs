//! Writing a checkpoint.

use std::io::{self, Write};

use mfa_domain::ports::{AccountStore, Clock, Signer, SignerError, StoreError};
use serde::Serialize;
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::{End, FORMAT, FileHash, Header, Line, Signed, encode, message};
use crate::walk::{Found, Walk};

/// Which checkpoint is to be written.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// What the operator calls this installation, so that the checkpoint of one is not taken for that of another.
    pub installation: &'a str,
    /// The checkpoint before it, to tie them together: whoever has the last one can tell that none is missing.
    pub previous: Option<FileHash>,
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Accounts that are in the checkpoint.
    pub accounts: u64,
    /// Accounts that were left out, since they cannot be read.
    pub unreadable: u64,
}

/// Why a checkpoint could not be written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The store failed.
    #[error("accounts cannot be read")]
    Accounts(#[source] StoreError),
    /// The signer failed.
    #[error("the checkpoint cannot be signed")]
    Signer(#[source] SignerError),
    /// Writing failed.
    #[error("the checkpoint cannot be written")]
    Io(#[from] io::Error),
}

/// Writes a checkpoint, and calls `each` for every account.
///
/// Many small pieces are written without waiting, so `to` is best a buffer. It is flushed at the end. Keep what was
/// written where whoever can write the database cannot.
///
/// # Errors
/// [`WriteError`] if the store, the signer or `to` fails. What was written until then has no signature, and is refused
/// by [`Checkpoint::open`](super::Checkpoint::open).
pub async fn write(
    accounts: &dyn AccountStore,
    signer: &dyn Signer,
    clock: &dyn Clock,
    plan: Plan<'_>,
    to: &mut (dyn Write + Send),
    mut each: impl FnMut(&Found),
) -> Result<Written, WriteError> {
    let mut lines = Lines { to, hash: Sha256::new() };
    lines.put(&Header {
        format: FORMAT.to_owned(),
        installation: plan.installation.to_owned(),
        signed_by: signer.key_id(),
        begun_at: clock.now().to_string(),
        previous: plan.previous.map(|hash| hash.to_string()),
    })?;
    let mut written = Written::default();
    let mut walk = Walk::over(accounts);
    while let Some(found) = walk.next().await.map_err(WriteError::Accounts)? {
        if let Ok(account) = &found {
            lines.put(&Line::of(account))?;
            written.accounts += 1;
        } else {
            written.unreadable += 1;
        }
        each(&found);
    }
    let Written { accounts, unreadable } = written;
    lines.put(&End { accounts, unreadable, ended_at: clock.now().to_string() })?;
    let message = message(&lines.hash.clone().finalize());
    let signature = signer.sign(&message).await.map_err(WriteError::Signer)?;
    lines.put(&Signed { signature: encode(&signature) })?;
    lines.to.flush()?;
    Ok(written)
}

struct Lines<'a> {
    to: &'a mut (dyn Write + Send),
    hash: Sha256,
}

impl Lines<'_> {
    fn put(&mut self, line: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(line)?;
        line.push(b'\n');
        self.hash.update(&line);
        self.to.write_all(&line)
    }
}
