//! The key that signs checkpoints: in a file beside the key ring, created once and never printed.

use mfa_domain::ports::SystemEntropy;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use mfa_crypto::{PublicKey, SigningKey};
use tracing::info;

use crate::config::Config;
use crate::data_dir;
use crate::failure::{Misuse, Refusal};

/// Reads the signing key; creates it at first use.
pub(crate) fn open(config: &Config) -> Result<SigningKey> {
    let settings = &config.settings;
    let path = data_dir::inside(&settings.data_dir, &settings.audit.signing_key_file)?;
    if let Some(key) = read(&path)? {
        return Ok(key);
    }
    data_dir::make(&settings.data_dir)?;
    // Two processes that start at the same time must not create two keys.
    let _turn = data_dir::lock(&settings.data_dir)?;
    if let Some(key) = read(&path)? {
        return Ok(key);
    }
    let key = SigningKey::generate(&SystemEntropy)?;
    data_dir::replace(&path, key.to_pem().as_bytes())?;
    // The id shows whether servers that share a checkpoint folder have the same key.
    info!(key = key.public_key().id(), file = %path.display(), "a key that signs checkpoints was created");
    Ok(key)
}

/// The key that verifies checkpoints: from a file, or the public key of this server's signing key.
pub(crate) fn public(config: &Config, file: Option<&Path>) -> Result<PublicKey> {
    let Some(file) = file else {
        let settings = &config.settings;
        let path = data_dir::inside(&settings.data_dir, &settings.audit.signing_key_file)?;
        let key = read(&path)?.ok_or_else(|| {
            let text =
                format!("there is no signing key {}; give its public key with --public-key", path.display());
            Misuse(text)
        })?;
        return Ok(key.public_key());
    };
    let text = fs::read_to_string(file)
        .with_context(|| format!("the public key {} cannot be read", file.display()))?;
    PublicKey::from_pem(&text).with_context(|| format!("the public key {}", file.display()))
}

/// Reads the key; `None` if the file does not exist.
pub(crate) fn read(path: &Path) -> Result<Option<SigningKey>> {
    let Some(text) = data_dir::read_key_file(path, "signing key")? else { return Ok(None) };
    let key = SigningKey::from_pem(&text).map_err(|error| {
        let what = format!("the signing key {} is damaged: {error}", path.display());
        Refusal::new(what, "restore it from its backup, or move it away, so that a new one is created")
    })?;
    Ok(Some(key))
}
