//! Checkpoints as files.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use mfa_audit::checkpoint::{self, Checkpoint, FileHash, Plan, Written};
use mfa_audit::walk::Found;
use mfa_crypto::{PublicKey, SigningKey};
use mfa_domain::ports::{AccountStore, SystemClock};
use tokio::task::spawn_blocking;

use crate::data_dir::Replacement;

/// Writes a checkpoint atomically and links it to the checkpoint in the file `previous`. Calls `each` for every
/// account.
pub(crate) async fn write(
    accounts: &dyn AccountStore,
    key: &SigningKey,
    installation: &str,
    previous: Option<PathBuf>,
    mut to: Replacement,
    each: impl FnMut(&Found),
) -> Result<Written> {
    let previous = match previous {
        Some(previous) => Some(spawn_blocking(move || hash(&previous)).await??),
        None => None,
    };
    let plan = Plan { installation, previous };
    let written = checkpoint::write(accounts, key, &SystemClock, plan, &mut to, each).await?;
    // Waiting for the disk must not block other tasks.
    spawn_blocking(move || to.commit()).await??;
    Ok(written)
}

/// Reads a checkpoint, and verifies its signature and that it belongs to `installation`.
pub(crate) fn open(path: &Path, key: &PublicKey, installation: &str) -> Result<Checkpoint> {
    let open = || -> Result<Checkpoint> {
        Ok(Checkpoint::open(BufReader::new(File::open(path)?), key, installation)?)
    };
    open().with_context(|| named(path))
}

/// The beginning of errors about a checkpoint.
pub(crate) fn named(path: &Path) -> String {
    format!("the checkpoint {}", path.display())
}

fn hash(path: &Path) -> Result<FileHash> {
    let hash = || -> io::Result<FileHash> { FileHash::of(File::open(path)?) };
    hash().with_context(|| format!("{} cannot be read", named(path)))
}
