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

/// Writes a checkpoint, whole or not at all, and ties it to the one in the file `previous`. `each` is called for every
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
    // Waiting for the disk must hold up nothing else that runs here.
    spawn_blocking(move || to.commit()).await??;
    Ok(written)
}

/// Reads a checkpoint, and checks its signature and that it is of `installation`.
pub(crate) fn open(path: &Path, key: &PublicKey, installation: &str) -> Result<Checkpoint> {
    let open = || -> Result<Checkpoint> {
        Ok(Checkpoint::open(BufReader::new(File::open(path)?), key, installation)?)
    };
    open().with_context(|| named(path))
}

/// How errors about a checkpoint begin.
pub(crate) fn named(path: &Path) -> String {
    format!("the checkpoint {}", path.display())
}

fn hash(path: &Path) -> Result<FileHash> {
    let hash = || -> io::Result<FileHash> { FileHash::of(File::open(path)?) };
    hash().with_context(|| format!("{} cannot be read", named(path)))
}
