//! Writing a checkpoint.

use std::io::{self, Write};

use mfa_domain::ports::{AccountStore, Clock, Signer, SignerError, StoreError};
use serde::Serialize;
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::{End, FORMAT, FileHash, Header, Line, Signed, encode, message};
use crate::walk::{Found, Walk};

/// What a new checkpoint states about itself.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// The operator's name for this installation, so that checkpoints of different installations cannot be
    /// confused.
    pub installation: &'a str,
    /// The previous checkpoint. The chain of hashes shows to the owner of the latest one that none is
    /// missing.
    pub previous: Option<FileHash>,
}

/// The result of writing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Number of accounts in the checkpoint.
    pub accounts: u64,
    /// Number of accounts that were left out because they cannot be read.
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
/// It makes many small blocking writes, so `to` should be buffered. It is flushed at the end. Keep the
/// checkpoint where an attacker who can write to the database cannot change it.
///
/// # Errors
/// [`WriteError`] if the store, the signer or `to` fails. The unfinished file has no signature, so
/// [`Checkpoint::open`](super::Checkpoint::open) refuses it.
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
