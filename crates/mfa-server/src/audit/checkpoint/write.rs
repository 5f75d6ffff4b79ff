//! Writing a checkpoint.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use data_encoding::HEXLOWER;
use mfa_crypto::SigningKey;
use mfa_domain::ports::{AccountStore, Clock, SystemClock};
use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::task::spawn_blocking;

use super::{End, FORMAT, Header, Line, Signed, encode, message};
use crate::data_dir::Replacement;
use crate::walk::{Found, Walk};

/// Which checkpoint is to be written.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) installation: String,
    /// The file of the checkpoint before it.
    pub(crate) previous: Option<PathBuf>,
    pub(crate) to: Replacement,
}

/// What was written.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Written {
    pub(crate) accounts: u64,
    /// Accounts that were left out, since they cannot be read.
    pub(crate) unreadable: u64,
}

/// Writes a checkpoint, whole or not at all. `each` is called for every account.
pub(crate) async fn write(
    accounts: &dyn AccountStore,
    key: &SigningKey,
    plan: Plan,
    mut each: impl FnMut(&Found),
) -> Result<Written> {
    let Plan { installation, previous, to } = plan;
    let previous = match previous {
        Some(previous) => Some(spawn_blocking(move || digest(&previous)).await??),
        None => None,
    };
    let mut lines = Lines { to, hash: Sha256::new() };
    lines.put(&Header {
        format: FORMAT.to_owned(),
        installation,
        signed_by: key.public_key().id(),
        begun_at: SystemClock.now().to_string(),
        previous,
    })?;
    let mut written = Written::default();
    let mut walk = Walk::over(accounts);
    while let Some(found) = walk.next().await? {
        if let Ok(account) = &found {
            lines.put(&Line::of(account))?;
            written.accounts += 1;
        } else {
            written.unreadable += 1;
        }
        each(&found);
    }
    let Written { accounts, unreadable } = written;
    lines.put(&End { accounts, unreadable, ended_at: SystemClock.now().to_string() })?;
    let signature = key.sign(&message(&lines.hash.clone().finalize()));
    lines.put(&Signed { signature: encode(&signature) })?;
    // Waiting for the disk must hold up nothing else that runs here.
    spawn_blocking(move || lines.to.commit()).await??;
    Ok(written)
}

struct Lines {
    to: Replacement,
    hash: Sha256,
}

impl Lines {
    fn put(&mut self, line: &impl Serialize) -> Result<()> {
        let mut line = serde_json::to_vec(line)?;
        line.push(b'\n');
        self.hash.update(&line);
        self.to.write_all(&line).context("the checkpoint cannot be written")
    }
}

/// SHA-256 of a file in hexadecimal, as `sha256sum` prints it.
fn digest(path: &Path) -> Result<String> {
    let digest = || -> std::io::Result<String> {
        let mut file = File::open(path)?;
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 1 << 16];
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(HEXLOWER.encode(&hash.finalize())),
                read => hash.update(&buffer[..read]),
            }
        }
    };
    digest().with_context(|| format!("the checkpoint {} cannot be read", path.display()))
}
