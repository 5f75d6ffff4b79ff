//! Checkpoints: the signed heads of all chains at one time.
//!
//! A checkpoint is JSON Lines: a header, a line for each account in key order, a line with their number, and
//! a signature over every byte before it. It is written and read as a stream, so it can be larger than
//! memory.

use std::fmt;
use std::io::{self, ErrorKind, Read};

use data_encoding::{BASE64, HEXLOWER};
use mfa_domain::ports::{AccountEntry, Signature};
use mfa_domain::{AccountKey, AuditHead, TenantId, UserId};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

mod error;
mod read;
mod write;

pub use error::CheckpointError;
pub use read::Checkpoint;
pub use write::{Plan, WriteError, Written, write};

pub(crate) use read::Accounts;

/// The name of the format.
const FORMAT: &str = "mfa-checkpoint-1";

/// SHA-256 of a whole checkpoint, signature included. `Display` prints it as `sha256sum` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileHash([u8; 32]);

impl FileHash {
    /// Hashes a checkpoint to its end without checking it.
    ///
    /// # Errors
    /// If reading fails.
    pub fn of(mut checkpoint: impl Read) -> io::Result<Self> {
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 1 << 16];
        loop {
            match checkpoint.read(&mut buffer) {
                Ok(0) => return Ok(Self(hash.finalize().into())),
                Ok(read) => hash.update(&buffer[..read]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl fmt::Display for FileHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: String,
    /// The operator's name for this installation.
    installation: String,
    /// The id of the signing key.
    signed_by: String,
    begun_at: String,
    /// The [`FileHash`] of the previous checkpoint.
    previous: Option<String>,
}

/// The line of an account: the head of its chain.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    tenant: String,
    user: String,
    sequence: u64,
    hash: String,
    /// How many of its events retention had removed.
    removed: u64,
}

/// An account at the time of the checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Then {
    pub(crate) key: AccountKey,
    pub(crate) head: AuditHead,
    /// How many of its events retention had removed.
    pub(crate) removed: u64,
}

/// The last line but one.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    /// The number of account lines.
    accounts: u64,
    /// The number of accounts without a line, because they could not be read.
    unreadable: u64,
    ended_at: String,
}

/// The last line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signed {
    /// Ed25519 over [`message`], in base64.
    signature: String,
}

impl Line {
    fn of(account: &AccountEntry) -> Self {
        Self {
            tenant: account.key.tenant.to_string(),
            user: account.key.user.as_str().to_owned(),
            sequence: account.audit_head.sequence,
            hash: account.audit_head.hash.to_string(),
            removed: account.audit_base.sequence,
        }
    }

    fn read(&self) -> Option<Then> {
        let tenant = TenantId::new(&self.tenant).ok()?;
        let key = AccountKey::new(tenant, UserId::new(&self.user).ok()?);
        let head = AuditHead { sequence: self.sequence, hash: self.hash.parse().ok()? };
        Some(Then { key, head, removed: self.removed })
    }
}

/// The signed message: the name of the format, a space, and the hexadecimal SHA-256 of all lines before the
/// signature. It is short, so that tools that cannot sign streams can check it.
fn message(digest: &[u8]) -> Vec<u8> {
    format!("{FORMAT} {}", HEXLOWER.encode(digest)).into_bytes()
}

/// The signature as text.
fn encode(signature: &Signature) -> String {
    BASE64.encode(signature)
}

fn decode(text: &str) -> Option<Signature> {
    BASE64.decode(text.as_bytes()).ok()?.try_into().ok()
}
